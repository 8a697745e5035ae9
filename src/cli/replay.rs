//! `ahm replay`: recorded ticks are published at their recorded times.
//!
//! The schedule is an open loop: a message is due at the start of the pass plus its recorded time
//! divided by the speed, whatever happened to the ones before it. So a server that stalls meets
//! the whole backlog afterwards, as it would with a real feed, and a long replay does not drift.

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::base::time::{Instant, Span};
use crate::cli::merge::{Merge, MergeError, Naming, Tick};
use crate::cli::papers::PaperArgs;
use crate::cli::serving::{ServedSink, Serving};
use crate::cli::ticks::TickError;
use crate::reactor::clock::Clock;
use crate::reactor::url::Server;
use crate::resource::outcome::Fate;
use crate::resource::post::{Publisher, Settings};
use crate::wire::resource::Terms;

/// Payload bytes of one batch at most; what is due beyond that goes in the next.
const BATCH_PAYLOAD_MAX: usize = 256 * 1024;
/// Messages of one batch at most.
const BATCH_TICKS_MAX: usize = 2_000;
/// How often the progress line is printed.
const PROGRESS_EVERY: Span = Span::from_secs(1);
/// Between two passes of `--loop`.
const PAUSE_BETWEEN_PASSES: Span = Span::from_secs(1);

const EXAMPLES: &str = "\
Examples:
  ahm replay usdm_btcusdt_20240808.txt.gz
  ahm replay --speed 10 --loop feeds/*.gz
  ahm replay --copies 50 --shift 0.4 usdm_btcusdt_20240808.txt.gz
  ahm replay --url http://127.0.0.1:8081 fxcm_eurusd.csv.gz oanda_eurusd.csv.gz
  ahm replay --registry 127.0.0.1:8082 --loop feeds/*.gz   as a resource server of its own

Topics:
  usdm_btcusdt_20240808.txt.gz  crypto/usdm.BTCUSDT   payload: the line's JSON, unchanged
  fxcm_eurusd.csv.gz            fx/EURUSD             payload: `BID ASK`
  a second file of EURUSD       fx/oanda.EURUSD       (with --venue: all quote files so)
  copy 2 of an instrument       crypto/usdm.BTCUSDT.2";

/// Publishes recorded ticks at their recorded times.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Replay {
    /// Recorded ticks: the raw exchange format (`<ns> <JSON>`) or quote CSV (`ms,bid,ask`), gzip
    /// or plain; several files are merged by time
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The private listener of the server, http://, https://HOST:PORT or unix:/PATH
    #[arg(long, default_value = "http://127.0.0.1:8081", conflicts_with = "served")]
    pub url: String,
    /// How many times faster than recorded; 0 is as fast as the server takes them
    #[arg(long, default_value_t = 1.0, value_name = "N", value_parser = parse_speed)]
    pub speed: f64,
    /// Begin again at the end, until interrupted
    #[arg(long = "loop")]
    pub endless: bool,
    /// Make N instruments of each one: itself and time-shifted copies NAME.2, NAME.3, ...
    #[arg(long, default_value_t = 1, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub copies: u32,
    /// Each copy runs this much later than the one before
    #[arg(long, default_value = "1", value_name = "SECONDS", value_parser = parse_shift)]
    pub shift: Span,
    /// Publish everything on this resource instead of `crypto` and `fx`
    #[arg(long)]
    pub resource: Option<String>,
    /// Name every quote file with its venue: `fxcm.EURUSD`
    #[arg(long)]
    pub venue: bool,
    /// Where it is a resource server itself.
    #[command(flatten)]
    pub serving: Serving,
    /// What proves whom it speaks to.
    #[command(flatten)]
    pub papers: PaperArgs,
}

impl Replay {
    /// How the files' topics are to be named.
    pub fn naming(&self) -> Naming {
        Naming {
            resource: self.resource.clone(),
            venue: self.venue,
            copies: self.copies,
            shift: self.shift,
        }
    }
}

fn parse_speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if speed.is_finite() && (0.0..=1e6).contains(&speed) => Ok(speed),
        _ => Err("a number from 0 to 1000000".into()),
    }
}

fn parse_shift(text: &str) -> Result<Span, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => {
            Ok(Span::from_nanos((seconds * 1e9) as u64))
        }
        _ => Err("seconds from 0 to 86400".into()),
    }
}

/// Where ticks go.
pub trait Sink {
    /// Publishes `batch` in its order and waits until it was taken.
    ///
    /// # Errors
    /// What went wrong, for the operator; the replay ends.
    fn publish(&mut self, batch: &[Tick]) -> Result<(), String>;
}

/// The time that a schedule is kept by.
pub trait Pacer {
    /// Time since the replay began.
    fn now(&mut self) -> Span;
    /// Returns when `now` has reached `at`.
    fn wait_until(&mut self, at: Span);
}

/// The real time.
#[derive(Debug)]
pub struct WallPacer(Clock);

impl WallPacer {
    /// Begins now.
    pub fn start() -> Self {
        Self(Clock::start())
    }
}

impl Pacer for WallPacer {
    fn now(&mut self) -> Span {
        self.0.now().since(Instant::ZERO)
    }

    fn wait_until(&mut self, at: Span) {
        let wait = at - self.now();
        if wait > Span::ZERO {
            // pause: not to synchronise with anything; the wait is the product.
            std::thread::sleep(wait.to_std());
        }
    }
}

/// What a replay has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Messages published.
    pub messages: u64,
    /// Payload bytes published.
    pub bytes: u64,
    /// Batches they went in.
    pub batches: u64,
    /// How late the newest batch was sent.
    pub late: Span,
    /// How late the latest batch was sent.
    pub late_max: Span,
    /// Recorded time that was replayed.
    pub recorded: Span,
    /// Real time it took.
    pub took: Span,
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_nanos().max(1) as f64 / 1e9;
        write!(
            f,
            "{} messages in {} batches, {:.1} MB, {:.0} messages/s, {:.1} s of the recording in \
             {seconds:.1} s, late {:.1} ms (at most {:.1} ms)",
            self.messages,
            self.batches,
            self.bytes as f64 / 1e6,
            self.messages as f64 / seconds,
            self.recorded.as_nanos() as f64 / 1e9,
            self.late.as_nanos() as f64 / 1e6,
            self.late_max.as_nanos() as f64 / 1e6,
        )
    }
}

/// Why a replay ended early.
#[derive(Debug)]
pub enum ReplayError {
    /// The recording could not be read.
    Merge(MergeError),
    /// The server did not take a batch.
    Sink(String),
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Merge(error) => error.fmt(f),
            Self::Sink(error) => write!(f, "publishing failed: {error}"),
        }
    }
}

impl std::error::Error for ReplayError {}

impl From<TickError> for ReplayError {
    fn from(error: TickError) -> Self {
        Self::Merge(error.into())
    }
}

impl From<MergeError> for ReplayError {
    fn from(error: MergeError) -> Self {
        Self::Merge(error)
    }
}

/// Publishes `ticks` at their times; those due within one millisecond go in one batch.
///
/// # Errors
/// If a tick cannot be read or a batch is not taken.
pub fn play(
    ticks: impl Iterator<Item = Result<Tick, TickError>>,
    speed: f64,
    pacer: &mut impl Pacer,
    sink: &mut impl Sink,
    mut progress: impl FnMut(&Stats),
) -> Result<Stats, ReplayError> {
    let began = pacer.now();
    let due_at = |tick: &Tick| {
        let scaled = tick.at.as_nanos() as f64 / speed;
        began + if speed > 0.0 { Span::from_nanos(scaled as u64) } else { Span::ZERO }
    };
    let mut ticks = ticks.peekable();
    let mut stats = Stats::default();
    let mut printed = began;
    let mut batch = Vec::new();
    while let Some(first) = ticks.next().transpose()? {
        let due = due_at(&first);
        pacer.wait_until(due);
        let now = pacer.now();
        // Everything that is overdue, and the rest of the millisecond that has begun.
        let end = Span::from_millis(now.as_millis().max(due.as_millis()) + 1);
        let mut bytes = first.payload.len();
        stats.recorded = first.at;
        batch.push(first);
        while bytes < BATCH_PAYLOAD_MAX && batch.len() < BATCH_TICKS_MAX {
            let in_time =
                |next: &Result<Tick, TickError>| next.as_ref().is_ok_and(|tick| due_at(tick) < end);
            let Some(Ok(tick)) = ticks.next_if(in_time) else { break };
            bytes += tick.payload.len();
            stats.recorded = tick.at;
            batch.push(tick);
        }
        sink.publish(&batch).map_err(ReplayError::Sink)?;
        stats.messages += batch.len() as u64;
        stats.bytes += bytes as u64;
        stats.batches += 1;
        batch.clear();
        stats.late = if speed > 0.0 { now - due } else { Span::ZERO };
        stats.late_max = stats.late_max.max(stats.late);
        stats.took = now - began;
        if now - printed >= PROGRESS_EVERY {
            printed = now;
            progress(&stats);
        }
    }
    stats.took = pacer.now() - began;
    Ok(stats)
}

/// A server's private listener.
#[derive(Debug)]
pub struct PostSink {
    publisher: Publisher,
    line: u64,
}

impl PostSink {
    /// A sink for the listener at `url`; it is connected to when there is something to publish.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn new(url: &str) -> Result<Self, String> {
        Self::proving(url, &PaperArgs::default())
    }

    /// The same where the listener may be spoken to by TLS.
    ///
    /// # Errors
    /// What is wrong with the URL, or the files of TLS.
    pub fn proving(url: &str, papers: &PaperArgs) -> Result<Self, String> {
        let server = Server::parse(url, "/").map_err(|error| format!("{url}: {error}"))?;
        let trust = papers.trust([&server])?;
        let seed = u64::from(std::process::id());
        let publisher = Publisher::new(server, Settings::default(), seed).trusting(trust);
        Ok(Self { publisher, line: 0 })
    }
}

impl Sink for PostSink {
    fn publish(&mut self, batch: &[Tick]) -> Result<(), String> {
        for tick in batch {
            self.line += 1;
            let pushed = self.publisher.push(self.line, tick.name.as_str(), &tick.payload);
            pushed.map_err(|error| error.to_string())?;
        }
        self.publisher.flush().map_err(|error| error.to_string())?;
        for outcome in self.publisher.take_outcomes() {
            let message = outcome.line;
            match outcome.fate {
                Fate::Taken(_) => {}
                Fate::Refused { error, detail } => {
                    return Err(format!("message {message} was refused: {error}, {detail}"));
                }
                Fate::Unknown(why) => {
                    return Err(format!("nobody knows whether message {message} was taken: {why}"));
                }
            }
        }
        Ok(())
    }
}

/// Runs the subcommand.
pub fn run(replay: &Replay) -> ExitCode {
    let mut pacer = WallPacer::start();
    let result = if replay.serving.is_wanted() {
        serve(replay, &mut pacer)
    } else {
        PostSink::proving(&replay.url, &replay.papers)
            .map_err(ReplayError::Sink)
            .and_then(|mut sink| play_files(replay, &mut pacer, &mut sink))
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ahm replay: {error}");
            ExitCode::FAILURE
        }
    }
}

/// As a resource server: what is due goes to whoever reads it.
fn serve(replay: &Replay, pacer: &mut impl Pacer) -> Result<(), ReplayError> {
    let resources = match &replay.resource {
        Some(resource) => vec![resource.clone()],
        None => vec!["crypto".to_string(), "fx".to_string()],
    };
    let terms = Terms { state: true, latest: true, ..Terms::default() };
    let publisher = replay.serving.start(&resources, terms, &replay.papers);
    let publisher = publisher.map_err(ReplayError::Sink)?;
    let mut sink = ServedSink::new(publisher);
    let played = play_files(replay, pacer, &mut sink);
    replay.serving.end(sink.into_publisher());
    played
}

fn play_files(
    replay: &Replay,
    pacer: &mut impl Pacer,
    sink: &mut impl Sink,
) -> Result<(), ReplayError> {
    loop {
        let merge = Merge::open(&replay.files, &replay.naming())?;
        let stats = play(merge, replay.speed, pacer, sink, |stats| eprintln!("{stats}"))?;
        eprintln!("done: {stats}");
        if !replay.endless {
            return Ok(());
        }
        let next = pacer.now() + PAUSE_BETWEEN_PASSES;
        pacer.wait_until(next);
    }
}

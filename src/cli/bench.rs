//! `ahm bench`: a load driver for any AHM server, and for others beside it ([`peer`]).
//!
//! All subscribers live on one thread ([`swarm`]), the publisher on another ([`publisher`]), and
//! streams that stall or are cut on a third ([`side`]). Each
//! message carries the moment it was due; latency is the time from then to when its frame was
//! parsed, so a stall anywhere, the driver included, shows in the figures.

pub mod address;
pub mod copies;
pub mod dial;
pub mod feeder;
pub mod flow;
pub mod frame;
pub mod kill;
pub mod lines;
pub mod outcome;
pub mod pace;
pub mod peer;
pub mod plan;
pub mod plot;
pub mod process;
pub mod profile;
pub mod publisher;
pub mod record;
pub mod roles;
pub mod run;
pub mod sampler;
pub mod scenario;
pub mod side;
pub mod sink;
pub mod stamp;
pub mod swarm;
pub mod table;
pub mod tally;
pub mod timeline;
pub mod tls;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::FromArgMatches as _;
use clap::builder::ArgPredicate;
use hdrhistogram::Histogram;

use crate::cli::bench::feeder::Feeder;
use crate::cli::bench::peer::Peer;
use crate::cli::bench::plan::Plan;
use crate::cli::bench::plot::svg;
use crate::cli::bench::publisher::Progress;
use crate::cli::bench::record::Record;
use crate::cli::bench::run::Run;
use crate::cli::bench::side::Watch;
use crate::cli::bench::table::{hgrm, table};
use crate::cli::bench::tally::Mode;
use crate::cli::papers::PaperArgs;
use crate::link::address::Address;
use crate::reactor::clock::Clock;
use crate::reactor::rlimit::raise_open_files;

/// Descriptors that a run needs besides its streams: pollers, publisher, terminal, `/proc`.
const FILES_BESIDES: u64 = 32;

const EXAMPLES: &str = "\
Examples:
  One topic, 1,000 subscribers, 100 messages a second, with the server's CPU and memory:
    ahm bench --url http://127.0.0.1:8080 --private http://127.0.0.1:8081 --pid $(pidof ahm)

  100 topics, ten for each subscriber, 1,000 messages a second, which may wait 20 ms:
    ahm bench --private http://127.0.0.1:8081 --topics 100 --topics-per-subscriber 10 \\
              --rate 1000 --flush 20

  The recorded bursts of a market to 1,000 readers of all its instruments, at twice the speed:
    ahm bench --private http://127.0.0.1:8081 --profile crypto --speed 2 --seconds 60

  Memory of 10,000 idle streams:
    ahm bench --private http://127.0.0.1:8081 --subscribers 10000 --idle --pid $(pidof ahm)

  10,000 readers that stall beside 100 that do not, with the server's and TCP's memory:
    ahm bench --private http://127.0.0.1:8081 --subscribers 100 --stalled 10000 --rate 1000 \\
              --receive-buffer 4096 --pid $(pidof ahm)

  10,000 streams that are cut at once and come back within 3 s, beside 500 that go on:
    ahm bench --private http://127.0.0.1:8081 --subscribers 500 --storm 10000 --spread 3 \\
              --topics 100 --rate 200

  Two servers that carry the same, one of which is killed in the middle:
    ahm bench --url http://127.0.0.1:8080 --private http://127.0.0.1:8081 \\
              --dup http://127.0.0.1:9080 --dup-private http://127.0.0.1:9081 --kill 12345

  The publisher as a resource server, which the server finds at a registry (serve prints where):
    ahm bench --registry 127.0.0.1:8082 --topics 1000 --subscribers 100 --rate 10000

  The same without a server between, for the difference:
    ahm bench --straight --topics 1000 --subscribers 100 --rate 10000

  The same load on another server, by WebSocket; its publisher speaks its own protocol:
    ahm bench --peer nats-ws --url ws://127.0.0.1:8080 --private tcp://127.0.0.1:4222

  A record, its percentiles and its picture as files:
    ahm bench --private http://127.0.0.1:8081 --json --hdr latency.hgrm --plot run.svg > record.json

The exit code is 1 if anything was lost, repeated, out of order or refused, or if the run could
not be carried out.";

/// Drives a server with many subscribers and a publisher that never waits, and measures it.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// What the server is: all others than `ahm` for comparison with it
    #[arg(long, value_enum, default_value_t, value_name = "SERVER", help_heading = "Servers")]
    pub peer: Peer,
    /// Where the subscribers connect; without a path, /ahm is added. Other servers: tcp:// or
    /// ws:// for what is no HTTP
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    #[arg(help_heading = "Servers")]
    pub url: String,
    /// The private listener, where messages are published; http:// or https://
    #[arg(long, value_name = "URL", help_heading = "Servers")]
    pub private: Option<String>,
    /// Instead of that: publish as a resource server that registers there, IP:PORT, IP:PORT:tls or
    /// unix:/PATH; the server must know the registry, and no such resource of its own
    #[arg(long, value_name = "ADDRESS", help_heading = "Servers")]
    #[arg(conflicts_with_all = ["private", "dup", "peer"])]
    pub registry: Option<Address>,
    /// No server at all: publish as a resource server that the readers connect to. The difference
    /// to a run with --registry is what the way through a server costs
    #[arg(long, help_heading = "Servers")]
    #[arg(conflicts_with_all = ["url", "private", "registry", "dup", "peer", "heartbeat"])]
    pub straight: bool,
    /// What proves whom the publisher speaks to.
    #[command(flatten)]
    pub papers: PaperArgs,
    /// Resource whose subjects t0, t1, ... are the topics
    #[arg(long, value_name = "NAME", default_value = "bench", help_heading = "Servers")]
    pub resource: String,
    /// Streams whose deliveries are counted
    #[arg(long, value_name = "N", default_value_t = 1000, help_heading = "Readers")]
    pub subscribers: u32,
    /// Further streams that are opened and then not read
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Readers")]
    pub stalled: u32,
    /// Seconds after the first message when stalled streams begin to read, one after another
    #[arg(long, value_name = "S", help_heading = "Readers")]
    pub wake_after: Option<f64>,
    /// Receive buffer of the stalled streams [default: the kernel's]
    #[arg(long, value_name = "BYTES", help_heading = "Readers")]
    pub receive_buffer: Option<usize>,
    /// Heartbeat interval that the stalled streams ask for [default: the server's]
    #[arg(long, value_name = "MS", help_heading = "Readers")]
    pub heartbeat: Option<u64>,
    /// Further streams that are all reset at once in the middle of --seconds, and come back
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Readers")]
    pub storm: u32,
    /// Seconds within which the streams of the storm try to come back, each at a random moment
    #[arg(long, value_name = "S", default_value_t = 3.0, help_heading = "Readers")]
    pub spread: f64,
    /// A second server: each subscriber holds a stream there too, and the first copy counts
    #[arg(long, value_name = "URL", help_heading = "Servers")]
    pub dup: Option<String>,
    /// The private listener of the second server: each message is published there too
    #[arg(long, value_name = "URL", help_heading = "Servers")]
    pub dup_private: Option<String>,
    /// Process of one of the two servers, killed with SIGKILL in the middle of --seconds; it must
    /// be a process of the same user that listens where --url or --dup lead
    #[arg(long, value_name = "PID", help_heading = "Servers")]
    pub kill: Option<u32>,
    /// Topics
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Messages")]
    pub topics: u32,
    /// Topics that each subscriber reads; 0 is all of them, as is usual with --profile
    #[arg(long, value_name = "K", default_value_t = 1)]
    #[arg(default_value_if("profile", ArgPredicate::IsPresent, "0"), help_heading = "Messages")]
    pub topics_per_subscriber: u32,
    /// Messages a second, over all topics
    #[arg(long, value_name = "R", default_value_t = 100.0, help_heading = "Messages")]
    pub rate: f64,
    /// Bytes of a message, 32 or more
    #[arg(long, value_name = "B", default_value_t = 100, help_heading = "Messages")]
    pub size: usize,
    /// Instead of --topics, --rate and --size: recorded ticks at their true times, again and again
    /// where --seconds is longer. Files as `ahm replay` takes them, packed ones, or the names
    /// `crypto` and `fx` of the recordings inside this program
    #[arg(long, value_name = "FILE", num_args = 1..)]
    #[arg(conflicts_with_all = ["topics", "rate", "size"], help_heading = "Messages")]
    pub profile: Vec<PathBuf>,
    /// How many times faster than recorded the ticks are published
    #[arg(long, value_name = "X", default_value_t = 1.0, requires = "profile")]
    #[arg(help_heading = "Messages")]
    pub speed: f64,
    /// Seconds measured
    #[arg(long, value_name = "S", default_value_t = 10.0, help_heading = "Time")]
    pub seconds: f64,
    /// Seconds of messages before that; latency, rate and CPU leave them out, errors do not
    #[arg(long, value_name = "S", default_value_t = 2.0, help_heading = "Time")]
    pub warmup: f64,
    /// Seconds without a delivery after which missing messages are lost
    #[arg(long, value_name = "S", default_value_t = 5.0, help_heading = "Time")]
    pub drain: f64,
    /// What a subscriber that is behind wants: `queue`, every message; `latest`, the newest
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        default_value = "queue",
        help_heading = "Readers"
    )]
    pub mode: Mode,
    /// Milliseconds that messages may wait at the server, so that one write carries several; 0: not
    /// at all; without it as long as the server likes
    #[arg(long, value_name = "MS", help_heading = "Readers")]
    pub flush: Option<u64>,
    /// Publish nothing: open the streams and measure memory, then hold them for --seconds
    #[arg(long, help_heading = "Readers")]
    pub idle: bool,
    /// Connections begun a second
    #[arg(long, value_name = "N", default_value_t = 10_000.0, help_heading = "Readers")]
    pub connect_rate: f64,
    /// Source addresses 127.0.0.2, ... to connect from [default: one for 25,000 streams]
    #[arg(long, value_name = "N", help_heading = "Readers")]
    pub sources: Option<u32>,
    /// Process of the server, for its CPU and memory; its child processes count too
    #[arg(long, value_name = "PID", help_heading = "Servers")]
    pub pid: Option<u32>,
    /// Print the record as JSON instead of a table
    #[arg(long, help_heading = "Results")]
    pub json: bool,
    /// Write the latency percentiles to a file: a table in milliseconds, as the plotters of
    /// HdrHistogram read it (usually named .hgrm)
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub hdr: Option<PathBuf>,
    /// Draw the run to a file, an SVG: latency by percentile, rates over time
    #[arg(long, value_name = "FILE.svg", help_heading = "Results")]
    pub plot: Option<PathBuf>,
    /// No line of progress each second
    #[arg(long, help_heading = "Results")]
    pub quiet: bool,
}

impl Default for Args {
    /// What the command line without any option means.
    fn default() -> Self {
        let command = <Self as clap::Args>::augment_args(clap::Command::new("bench"));
        let matches = command.get_matches_from(["bench"]);
        Self::from_arg_matches(&matches).expect("every option has a default or is optional")
    }
}

/// Carries out a run; lines of progress go to `report`. The histogram is that of the latencies in
/// nanoseconds.
///
/// ```no_run
/// use ahm::cli::bench::{Args, measure};
/// let private = Some("http://127.0.0.1:8081".to_owned());
/// let args = Args { private, subscribers: 100, seconds: 5.0, ..Args::default() };
/// let (record, latency) = measure(&args, std::io::stderr())?;
/// assert_eq!(record.failures(), [""; 0]);
/// println!("p99 {} ns", latency.value_at_quantile(0.99));
/// # Ok::<(), String>(())
/// ```
///
/// # Errors
/// A sentence: the run could not be carried out. What a finished run found wrong is in
/// [`Record::failures`].
pub fn measure(args: &Args, report: impl Write) -> Result<(Record, Histogram<u64>), String> {
    let clock = Clock::start();
    // Two runs on the same topics one after the other start in different microseconds.
    let mut plan = Plan::new(args, clock.unix_micros_at_start() as u16)?;
    files(plan.streams())?;
    let feeder = Feeder::of(&mut plan)?;
    let (progress, watch) = (Progress::default(), Watch::default());
    let mut run = Run::new(&plan, clock, (&progress, &watch), report)?;
    run.feeder = feeder;
    run.carry_out()
}

/// `ahm bench`: carries out a run, tells its progress on stderr and its result on stdout.
///
/// # Errors
/// What to tell the person at the terminal, also where a finished run found something lost,
/// repeated, out of order or refused.
pub fn run(args: &Args) -> Result<(), String> {
    args.hdr.iter().chain(&args.plot).try_for_each(|path| writable(path))?;
    let (record, latency) = if args.quiet {
        measure(args, std::io::sink())?
    } else {
        measure(args, std::io::stderr())?
    };
    let text = if args.json {
        let json = serde_json::to_string_pretty(&record);
        json.map_err(|error| format!("record: {error}"))? + "\n"
    } else {
        table(&record)
    };
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| format!("stdout: {error}"))?;
    if let Some(path) = &args.hdr {
        write(path, &hgrm(&latency))?;
    }
    if let Some(path) = &args.plot {
        write(path, &svg(&record, &latency))?;
    }
    let failures = record.failures();
    if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
}

/// Whether a file can be written is told before the run, not after it.
fn writable(path: &Path) -> Result<(), String> {
    let opened = OpenOptions::new().append(true).create(true).open(path);
    opened.map(drop).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// Makes room for `streams` sockets.
fn files(streams: usize) -> Result<(), String> {
    let limit = raise_open_files().map_err(|error| format!("limit of open files: {error}"))?;
    let needed = streams as u64 + FILES_BESIDES;
    if needed <= limit.soft {
        return Ok(());
    }
    Err(format!(
        "{streams} streams need {needed} open files, and this process may have {}; start several \
         drivers, each with a --resource of its own",
        limit.soft
    ))
}

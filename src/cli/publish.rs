//! `ahm publish`: sends lines of the standard input as messages.

use std::fmt;
use std::io::{self, BufRead, BufWriter, Write};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crate::base::hidden::Hidden;
use crate::base::name::{TopicName, check_resource};
use crate::base::time::Span;
use crate::cli::papers::PaperArgs;
use crate::cli::publish_served;
use crate::cli::serving::Serving;
use crate::cli::terminal::{complain, fail};
use crate::reactor::clock::Clock;
use crate::reactor::url::Server;
use crate::resource::outcome::{Fate, PostError};
use crate::resource::post::{Publisher, Settings};

/// Lines read ahead of the server.
pub(crate) const LINES_AHEAD: usize = 4_096;
/// Lines that went wrong are told one by one up to this many; the rest is counted.
const TOLD_MAX: u64 = 20;

const EXAMPLES: &str = "\
Examples:
  echo 'hello' | ahm publish board --subject lobby
  printf 'EURUSD\\t1.09214 1.09217\\nUSDJPY\\t157.1 157.2\\n' | ahm publish fx
  tail -f prices.tsv | ahm publish fx --url http://127.0.0.1:8081
  tail -f prices.tsv | ahm publish fx --url unix:/run/ahm/private   by a socket in the file system
  ahm publish fx --url https://10.0.0.5:8443 --ca ca.pem --cert a.pem --key a.key < prices.tsv
  ahm publish fx --print-offsets < prices.tsv > offsets.tsv
  tail -f prices.tsv | ahm publish fx --registry 127.0.0.1:8082   as a resource server of its own
  tail -f prices.tsv | ahm publish fx --dial 10.0.0.5:8083   the same, where the server cannot dial
  ahm publish fx --registry 10.0.0.5:8082:tls --at 10.0.0.7:0:tls --ca ca.pem --cert a.pem \\
      --key a.key --client-ca ca.pem < prices.tsv   by TLS, who is there and who comes is proved

Input, one line a message:
  SUBJECT <TAB> payload     the payload is the rest of the line
  payload                   with --subject

Lines that are there go together in one request; a line that comes alone goes at once. The order of
lines is the order of messages. While the server is pressed or not there, publish waits and tries
again for as long as --retry-for allows. What was sent and not answered when a connection broke may
have been taken: it is reported and not sent again. The summary is printed on the standard error;
exit code 1 if a line was refused or its fate is unknown.";

/// Publishes lines of the standard input.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The resource to publish on
    #[arg(value_name = "RESOURCE")]
    pub resource: String,
    /// The private listener of the server, http://, https://HOST:PORT or unix:/PATH
    #[arg(long, default_value = "http://127.0.0.1:8081", conflicts_with = "served")]
    pub url: String,
    /// Every line is a payload for this subject
    #[arg(long, short)]
    pub subject: Option<String>,
    /// Sent as bearer token; else that of the environment's AHM_PRIVATE_TOKEN
    #[arg(long)]
    pub token: Option<Shown>,
    /// Requests written ahead of their answers; with more than 1 the order of lines is not kept
    /// when the server is pressed
    #[arg(long, default_value_t = 1, value_name = "N")]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=16))]
    pub pipeline: u8,
    /// For how long one request is tried while the server is pressed or not there
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    pub retry_for: u64,
    /// Print `LINE <TAB> EP:N` for each message taken
    #[arg(long)]
    pub print_offsets: bool,
    /// No summary
    #[arg(long, short)]
    pub quiet: bool,
    /// With --registry or --dial: each message is the whole present state, with which a new reader
    /// begins
    #[arg(long, requires = "served")]
    pub state: bool,
    /// With --registry or --dial: readers that are behind may jump to the newest message
    #[arg(long, requires = "served")]
    pub latest: bool,
    /// Where it is a resource server itself.
    #[command(flatten)]
    pub serving: Serving,
    /// What proves whom it speaks to.
    #[command(flatten)]
    pub papers: PaperArgs,
}

/// A token, never printed.
#[derive(Clone)]
pub struct Shown(String);

impl std::str::FromStr for Shown {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.into()))
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hidden.fmt(f)
    }
}

fn token_of_environment() -> Option<String> {
    std::env::var("AHM_PRIVATE_TOKEN").ok()
}

/// Runs the subcommand.
pub fn run(args: &Args) -> ExitCode {
    let server = match check(args) {
        Ok(server) => server,
        Err(problem) => return complain("publish", &problem),
    };
    let outcome = match args.serving.is_wanted() {
        true => publish_served::run(args),
        false => publish(args, server),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => fail("publish", &problem),
    }
}

fn check(args: &Args) -> Result<Server, String> {
    check_resource(&args.resource).map_err(|error| format!("{:?}: {error}", args.resource))?;
    if let Some(subject) = &args.subject {
        let name = TopicName::new(&args.resource, subject);
        name.map_err(|error| format!("{subject:?}: {error}"))?;
    }
    Server::parse(&args.url, "/").map_err(|error| format!("{}: {error}", args.url))
}

fn publish(args: &Args, server: Server) -> Result<(), String> {
    let settings = Settings {
        depth: usize::from(args.pipeline),
        retry_for: Span::from_secs(args.retry_for),
        token: args.token.clone().map(|shown| shown.0).or_else(token_of_environment),
        ..Settings::default()
    };
    let seed = getrandom::u64().map_err(|error| error.to_string())?;
    let trust = args.papers.trust([&server])?;
    let publisher = Publisher::new(server, settings, seed).trusting(trust);
    let publisher = publisher.for_resource(&args.resource);
    let (sender, lines) = sync_channel(LINES_AHEAD);
    // Reading blocks; while a request is on its way the next lines are being read. The thread ends
    // with its input or with the process.
    thread::spawn(move || read_lines(io::stdin().lock(), &sender));
    let out = BufWriter::new(io::stdout().lock());
    let mut job = Job {
        publisher,
        subject: args.subject.clone(),
        print_offsets: args.print_offsets,
        tally: Tally::default(),
        out,
    };
    let clock = Clock::start();
    let result = job.run(&lines);
    if !args.quiet {
        let seconds = clock.now().as_nanos() as f64 / 1e9;
        job.tally.summarise(seconds, job.publisher.repeated());
    }
    result?;
    match job.tally.refused + job.tally.unknown {
        0 => Ok(()),
        bad => Err(format!("{bad} of {} lines were not certainly published", job.tally.all())),
    }
}

pub(crate) type Line = io::Result<Vec<u8>>;

pub(crate) fn read_lines(mut input: impl BufRead, sender: &SyncSender<Line>) {
    loop {
        let mut line = Vec::new();
        let read = input.read_until(b'\n', &mut line);
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        let message = match read {
            Ok(0) => return,
            Ok(_) => Ok(line),
            Err(error) => Err(error),
        };
        let failed = message.is_err();
        if sender.send(message).is_err() || failed {
            return;
        }
    }
}

/// Subject and payload of a line, where not all lines have one `subject`.
pub(crate) fn split<'l>(
    subject: Option<&'l str>,
    line: &'l [u8],
) -> Result<(&'l str, &'l [u8]), &'static str> {
    match (subject, memchr::memchr(b'\t', line)) {
        (Some(subject), _) => Ok((subject, line)),
        (None, Some(tab)) => {
            let subject = std::str::from_utf8(&line[..tab]);
            Ok((subject.map_err(|_| "the subject is not UTF-8")?, &line[tab + 1..]))
        }
        (None, None) => Err("no TAB: a line is SUBJECT, a TAB and the payload"),
    }
}

/// What became of the lines.
#[derive(Debug, Default)]
struct Tally {
    taken: u64,
    refused: u64,
    unknown: u64,
    /// Told one by one.
    told: u64,
}

impl Tally {
    fn all(&self) -> u64 {
        self.taken + self.refused + self.unknown
    }

    fn refuse(&mut self, line: u64, why: &str) {
        self.refused += 1;
        self.tell(line, why);
    }

    fn tell(&mut self, line: u64, why: &str) {
        self.told += 1;
        if self.told <= TOLD_MAX {
            let _ = writeln!(io::stderr(), "ahm publish: line {line}: {why}");
        } else if self.told == TOLD_MAX + 1 {
            let _ = writeln!(io::stderr(), "ahm publish: further such lines are only counted");
        }
    }

    fn summarise(&self, seconds: f64, repeated: u64) {
        let rate = self.taken as f64 / seconds.max(0.001);
        let mut text = format!("{} taken in {seconds:.1} s ({rate:.0} a second)", self.taken);
        for (count, what) in [(self.refused, "refused"), (self.unknown, "unknown")] {
            if count > 0 {
                text += &format!(", {count} {what}");
            }
        }
        if repeated > 0 {
            text += &format!("; {repeated} requests were repeated");
        }
        let _ = writeln!(io::stderr(), "ahm publish: {text}");
    }
}

struct Job<O> {
    publisher: Publisher,
    subject: Option<String>,
    print_offsets: bool,
    tally: Tally,
    out: O,
}

impl<O: Write> Job<O> {
    fn run(&mut self, lines: &Receiver<Line>) -> Result<(), String> {
        let mut number = 0;
        let mut failed = None;
        // Waits for a line, takes what else is there, and sends all of it together.
        while let Ok(first) = lines.recv() {
            for line in std::iter::once(first).chain(lines.try_iter()) {
                number += 1;
                match line {
                    Ok(line) => self.push(number, &line)?,
                    Err(error) => failed = Some(format!("standard input: {error}")),
                }
            }
            let sent = self.publisher.send();
            self.check(sent)?;
            self.tell()?;
        }
        let flushed = self.publisher.flush();
        self.check(flushed)?;
        self.tell()?;
        failed.map_or(Ok(()), Err)
    }

    fn push(&mut self, number: u64, line: &[u8]) -> Result<(), String> {
        let (name, payload) = match split(self.subject.as_deref(), line) {
            Ok(parts) => parts,
            Err(what) => {
                self.tally.refuse(number, what);
                return Ok(());
            }
        };
        match self.publisher.push(number, name, payload) {
            Err(PostError::Input(what)) => {
                self.tally.refuse(number, what);
                Ok(())
            }
            other => self.check(other),
        }
    }

    /// Adds to an error which lines it concerns.
    fn check(&mut self, result: Result<(), PostError>) -> Result<(), String> {
        let Err(error) = result else { return Ok(()) };
        self.tell()?;
        let mut open = self.publisher.open_lines();
        let lines = open.next().map(|first| {
            let last = open.last().unwrap_or(first);
            format!("; lines {first} to {last} were not sent")
        });
        Err(format!("{error}{}", lines.unwrap_or_default()))
    }

    fn tell(&mut self) -> Result<(), String> {
        for outcome in self.publisher.take_outcomes() {
            let line = outcome.line;
            match outcome.fate {
                Fate::Taken(place) => {
                    self.tally.taken += 1;
                    if self.print_offsets {
                        let written = writeln!(self.out, "{line}\t{place}");
                        written.map_err(|error| format!("standard output: {error}"))?;
                    }
                }
                Fate::Refused { error, detail } => {
                    self.tally.refuse(line, &format!("{error}: {detail}"));
                }
                Fate::Unknown(why) => {
                    self.tally.unknown += 1;
                    self.tally.tell(line, &format!("may or may not be published: {why}"));
                }
            }
        }
        self.out.flush().map_err(|error| format!("standard output: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_with_a_line_feed_alone() {
        let (sender, lines) = sync_channel(10);
        read_lines(&b"a\tb\r\n\nlast"[..], &sender);
        drop(sender);
        let lines: Vec<_> = lines.iter().map(Result::unwrap).collect();
        assert_eq!(lines, [&b"a\tb\r"[..], b"", b"last"]);
    }
}

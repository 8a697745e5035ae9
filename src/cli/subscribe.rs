//! `ahm subscribe`: prints messages as they come, and survives cuts and restarts of the server.

use std::collections::HashMap;
use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use crate::base::limits::DOCUMENTS_MAX;
use crate::base::name::TopicName;
use crate::base::time::Span;
use crate::cli::papers::PaperArgs;
use crate::cli::passes::PassArgs;
use crate::cli::print::{Format, Printer};
use crate::cli::terminal::{complain, fail};
use crate::client::event::{ChannelKey, Event, parse_topic};
use crate::client::link::{Link, ROUTES_MAX};
use crate::client::settings::Settings;
use crate::reactor::url::Server;
use crate::seal::key::Algorithm;
use crate::wire::command::{Mode, OpenRequest, Position};

const EXAMPLES: &str = "\
Examples:
  ahm subscribe http://127.0.0.1:8080 board/lobby
  ahm subscribe http://127.0.0.1:8080 fx/EURUSD fx/USDJPY --with-offsets
  ahm subscribe http://[::1]:8080 fx/EURUSD --mode latest --rate 2
  ahm subscribe http://127.0.0.1:8080 fx/EURUSD --json | jq .payload
  ahm subscribe http://127.0.0.1:8080 fx/EURUSD --since 9f3a71:1041 --count 100
  ahm subscribe http://example.org/live/ahm/ fx/EURUSD --raw
  ahm subscribe tcp://127.0.0.1:9000 fx/EURUSD             a listener with :raw, without HTTP
  ahm subscribe http://a:8080 fx/EURUSD --dup http://b:8080    both at once, the first copy counts
  ahm subscribe http://a:8080 fx/EURUSD --or http://b:8080     b where a cannot be reached
  ahm subscribe https://example.org fx/EURUSD --user anna --password-file ~/.ahm
  ahm subscribe https://example.org fx/EURUSD --token-file /run/token
  ahm subscribe tls://10.0.0.5:9443 fx/EURUSD --ca ca.pem --cert me.pem --key me.key
  ahm subscribe http://a:8080 fx/EURUSD --seal aes --login https://a:8443    sealed over plain HTTP

Output, one line a message:
  RESOURCE/SUBJECT <TAB> payload              with \\ LF CR as \\\\ \\n \\r, and what else is
                                              no text as \\xNN
  RESOURCE/SUBJECT <TAB> EP:N <TAB> payload   with --with-offsets
  payload                                     with --raw, every byte as it came
  {\"name\":..,\"ep\":..,\"n\":..,\"payload\":..}   with --json; \"base64\":true where the
                                              payload is not UTF-8, \"folded\":K where
                                              K messages were folded into this one;
                                              gaps and ends have an \"event\"

Every message comes once and in order, over cuts, refreshes and restarts of the server. Where
messages are missing, a line on the standard error says so (with --json also one among the
messages). Ctrl-C ends the session at the server.";

/// Prints messages as they come.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The server: https://HOST or http://HOST, with :PORT and the prefix of its commands where
    /// those are not the usual ones; tls://HOST:PORT or tcp://HOST:PORT for a listener of raw TCP
    #[arg(value_name = "URL")]
    pub url: String,
    /// What to subscribe to
    #[arg(required = true, value_name = "RESOURCE/SUBJECT")]
    pub topics: Vec<String>,
    /// Read the same from this server (or over this other way to the first one) as well, up to
    /// three times: the end of one stream loses nothing and is not noticed
    #[arg(long, value_name = "URL2")]
    pub dup: Vec<String>,
    /// Go to this server where the others cannot be reached
    #[arg(long = "or", value_name = "URL2")]
    pub or: Vec<String>,
    /// `queue`: every message; `latest`: who is behind goes on with the newest
    #[arg(long, default_value = "queue", value_parser = parse_mode)]
    pub mode: Mode,
    /// At most N messages a second, the newest each time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// End the channel rather than go on after a gap
    #[arg(long)]
    pub strict: bool,
    /// Tell the resource something about the request: a name of letters, digits, `-` and `_`, and
    /// any text; up to 16 times
    #[arg(long, value_name = "NAME=VALUE")]
    pub parameter: Vec<String>,
    /// Seal the session, so that nobody on the way can read or change what is said: `aes`
    /// (AES-256-GCM) or `chacha` (ChaCha20-Poly1305). A server that does not seal is not spoken to
    #[arg(long, value_name = "HOW", value_parser = parse_seal)]
    pub seal: Option<Algorithm>,
    /// Log in here, over TLS, where documents and commands go to URL, sealed over plain HTTP or raw
    /// TCP, or over tls://; as often as there are servers
    #[arg(long, value_name = "URL2")]
    pub login: Vec<String>,
    /// Begin after this place (epoch and offset); for one topic
    #[arg(long, value_name = "EP:N", value_parser = parse_place)]
    pub since: Option<Position>,
    /// End after N messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// One JSON object a line
    #[arg(long, conflicts_with = "raw")]
    pub json: bool,
    /// The payload alone, every byte as it came, and a line end
    #[arg(long, conflicts_with = "with_offsets")]
    pub raw: bool,
    /// Print epoch and offset of each message
    #[arg(long)]
    pub with_offsets: bool,
    /// The heartbeat interval to ask the server for
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=600))]
    pub heartbeat: Option<u64>,
    /// Let messages wait at the server for up to so many milliseconds, so that one write carries
    /// several; 0: not at all; without it they wait as long as the server likes
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(..=60_000))]
    pub flush: Option<u64>,
    /// Do not tell of connections and sessions on the standard error; of gaps it is told
    #[arg(long, short)]
    pub quiet: bool,
    /// Who logs in.
    #[command(flatten)]
    pub pass: PassArgs,
    /// TLS.
    #[command(flatten)]
    pub papers: PaperArgs,
}

fn parse_mode(word: &str) -> Result<Mode, String> {
    let modes = [Mode::Queue, Mode::Latest];
    let found = modes.into_iter().find(|mode| mode.word() == word);
    found.ok_or_else(|| "`queue` or `latest`".into())
}

fn parse_seal(word: &str) -> Result<Algorithm, String> {
    match word {
        "aes" => Ok(Algorithm::Aes256Gcm),
        "chacha" => Ok(Algorithm::ChaCha20Poly1305),
        _ => Algorithm::from_word(word).ok_or_else(|| "`aes` or `chacha`".into()),
    }
}

fn parse_place(text: &str) -> Result<Position, String> {
    Position::parse(text).ok_or_else(|| "EP:N as --with-offsets prints it".into())
}

/// Runs the subcommand.
pub fn run(args: &Args) -> ExitCode {
    let checked = check(args).and_then(|(servers, requests)| {
        let logins = logins(args, servers.len())?;
        Ok((servers, logins, requests))
    });
    let (servers, logins, requests) = match checked {
        Ok(checked) => checked,
        Err(problem) => return complain("subscribe", &problem),
    };
    match subscribe(args, (servers, logins), requests) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => fail("subscribe", &problem),
    }
}

/// Where to go, in the order of preference.
fn urls(args: &Args) -> Vec<String> {
    [std::slice::from_ref(&args.url), &args.dup, &args.or].concat()
}

/// Where to log in, if elsewhere than at the servers themselves.
fn logins(args: &Args, servers: usize) -> Result<Vec<Server>, String> {
    if !args.login.is_empty() && args.login.len() != servers {
        let given = args.login.len();
        return Err(format!("--login: one for each server is wanted: {servers}, not {given}"));
    }
    let parse = |url: &String| Server::parse(url, "/ahm/").map_err(|e| format!("{url}: {e}"));
    args.login.iter().map(parse).collect()
}

fn check(args: &Args) -> Result<(Vec<Server>, Vec<OpenRequest>), String> {
    let urls = urls(args);
    if args.dup.len() >= DOCUMENTS_MAX {
        return Err(format!("--dup: at most {}", DOCUMENTS_MAX - 1));
    }
    if urls.len() > ROUTES_MAX {
        return Err(format!("at most {ROUTES_MAX} servers"));
    }
    let parse =
        |url: &String| Server::parse_stream(url, "/ahm/").map_err(|e| format!("{url}: {e}"));
    let servers = urls.iter().map(parse).collect::<Result<_, _>>()?;
    if args.since.is_some() && args.topics.len() > 1 {
        return Err("--since is for one topic: epochs differ between topics".into());
    }
    let requests = args.topics.iter().map(|topic| {
        Ok(OpenRequest {
            mode: args.mode,
            rate: args.rate,
            strict: args.strict,
            since: args.since,
            parameters: args.parameter.clone(),
            ..OpenRequest::new(parse_topic(topic)?)
        })
    });
    if args.parameter.iter().any(|pair| !pair.contains('=')) {
        return Err("--parameter: NAME=VALUE is wanted".into());
    }
    let checked = |request: Result<OpenRequest, String>| {
        let request = request?;
        let read = OpenRequest::parse(&request.to_string());
        read.map(|_| request).map_err(|error| format!("--parameter: {error}"))
    };
    Ok((servers, requests.map(checked).collect::<Result<_, String>>()?))
}

fn subscribe(
    args: &Args,
    (servers, logins): (Vec<Server>, Vec<Server>),
    requests: Vec<OpenRequest>,
) -> Result<(), String> {
    let settings = Settings {
        heartbeat: args.heartbeat.map(Span::from_secs),
        flush: args.flush.map(Span::from_millis),
        duplicates: args.dup.len() as u8,
        seal: args.seal,
        script: args.pass.script.clone(),
        in_clear: args.pass.in_clear,
        ..Settings::default()
    };
    let seed = getrandom::u64().map_err(|error| error.to_string())?;
    let all = [&servers[..], &logins].concat();
    let mut link = Link::over(servers, settings, seed).map_err(|error| error.to_string())?;
    if !logins.is_empty() {
        link.log_in_at(logins).map_err(|error| error.to_string())?;
    }
    args.pass.equip(&args.papers, &all, &mut link)?;
    link.watch_signals().map_err(|error| error.to_string())?;
    let topics: Vec<TopicName> = requests.iter().map(|request| request.name.clone()).collect();
    let now = link.now();
    let keys = link.agent().subscribe_all(requests, now).map_err(|error| error.to_string())?;
    let names: HashMap<ChannelKey, TopicName> = keys.into_iter().zip(topics).collect();
    let format = match (args.json, args.raw) {
        (true, _) => Format::Json,
        (_, true) => Format::Raw,
        _ => Format::Text { offsets: args.with_offsets },
    };
    let out = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    let printer = Printer::new(format, args.quiet, names, out, io::stderr().lock());
    let mut printer = printer.over_routes(urls(args));
    let result = pump(&mut link, &mut printer, args, &all);
    // Whatever ended it, the session at the server need not linger.
    let _ = link.close(Span::from_secs(1));
    result
}

fn pump<O: Write, E: Write>(
    link: &mut Link,
    printer: &mut Printer<O, E>,
    args: &Args,
    servers: &[Server],
) -> Result<(), String> {
    let count = args.count.unwrap_or(u64::MAX);
    loop {
        let now = link.now();
        while let Some(event) = link.agent().poll_event() {
            match printer.print(&event, now) {
                // Whoever read our output has left, as `head` does.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(format!("standard output: {error}")),
                Ok(()) => {}
            }
            if matches!(event, Event::Expiring { .. } | Event::NotRenewed { .. })
                && let Err(problem) = args.papers.renew(servers, link)
            {
                printer.tell(&problem);
            }
            if printer.messages() >= count {
                return printer.flush();
            }
        }
        if let Err(error) = printer.flush() {
            return if printer.is_broken_pipe() { Ok(()) } else { Err(error) };
        }
        if link.was_interrupted() {
            return Ok(());
        }
        if let Some(reason) = printer.over() {
            return Err(reason);
        }
        link.turn(None).map_err(|error| error.to_string())?;
    }
}

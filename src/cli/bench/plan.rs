//! A run, settled: every option checked once, every number derived from them in one place.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::sync::Arc;

use crate::base::limits;
use crate::base::name::TopicName;
use crate::base::time::{Instant, Span};
use crate::cli::bench::Args;
use crate::cli::bench::address::Server;
use crate::cli::bench::kill::Victim;
use crate::cli::bench::pace::{Pace, recorded};
use crate::cli::bench::peer::Peer;
use crate::cli::bench::peer::feed::Feed;
use crate::cli::bench::peer::straight;
use crate::cli::bench::profile::Profile;
use crate::cli::bench::stamp::STAMP_BYTES;
use crate::cli::bench::tally::Mode;
use crate::cli::bench::tls::Tls;
use crate::link::address::Address;

/// Connections from one source address; Linux has about 28,000 ports for them by default.
const PORTS_PER_SOURCE: usize = 25_000;
/// Path that the commands of a server have by default.
const PREFIX: &str = "/ahm";
const TOO_MANY: &str = "--topics-per-subscriber: too many for one request";

/// What becomes of a stream once it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It reads to the end of the run.
    Running,
    /// It is not read, or not for a while.
    Stalled,
    /// It is cut in the middle of the run and comes back.
    Storm,
}

/// A second server that is fed with the same messages under the same numbers.
#[derive(Clone, Debug)]
pub struct Twin {
    /// Where each subscriber holds its second document.
    pub server: Server,
    /// Where each message is published too.
    pub private: Option<Server>,
}

/// What a run does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is spoken with the servers.
    pub peer: Peer,
    /// Where the subscribers connect.
    pub server: Server,
    /// Where messages are published.
    pub private: Option<Server>,
    /// Where the publisher registers, if it is a resource server.
    pub registry: Option<Address>,
    /// TLS of the publisher.
    pub tls: Tls,
    /// The publisher is a resource server, and the readers connect to it.
    pub straight: bool,
    /// A second server, where each subscriber has one.
    pub twin: Option<Twin>,
    /// The server that is killed in the middle of what is measured.
    pub victim: Option<Victim>,
    /// The resource of all topics.
    pub resource: String,
    /// Subscribers whose deliveries are counted.
    pub subscribers: usize,
    /// Further streams that are opened and then not read.
    pub stalled: usize,
    /// How long after the first message they read again; none: never.
    pub wake_after: Option<Span>,
    /// Further streams that are all cut at once in the middle of what is measured.
    pub storm: usize,
    /// How long after that the last of them tries to come back at the latest.
    pub spread: Span,
    /// Receive buffer of the stalled streams in bytes; none: the kernel's own.
    pub receive_buffer: Option<usize>,
    /// Milliseconds of the heartbeat interval that the stalled streams ask for.
    pub heartbeat: Option<u64>,
    /// Topics of the run.
    pub topics: usize,
    /// Topics that each stream opens.
    pub per: usize,
    /// When messages are due, and where they go.
    pub pace: Pace,
    /// How long messages flow before anything is measured.
    pub warmup: Span,
    /// How long is measured.
    pub measured: Span,
    /// How long the last deliveries may keep us waiting.
    pub drain: Span,
    /// What is asked of the server for readers that are behind.
    pub mode: Mode,
    /// Milliseconds that messages may wait at the server.
    pub flush: Option<u64>,
    /// Nothing is published; only memory is measured.
    pub idle: bool,
    /// Connections begun a second.
    pub connect_rate: f64,
    /// Source addresses taken in turn; none: the kernel chooses.
    pub sources: Vec<IpAddr>,
    /// The server's process, where it can be looked at.
    pub pid: Option<u32>,
    /// Tells this run's messages from another's.
    pub run: u16,
}

impl Plan {
    /// Checks `args`; `run` is the tag of this run.
    ///
    /// # Errors
    /// A sentence that names the option that cannot be.
    pub fn new(args: &Args, run: u16) -> Result<Self, String> {
        let peer = args.peer;
        peer.check(args)?;
        let (mut server, private) = peer.servers(args)?;
        if server.path.is_empty() && peer == Peer::Ahm {
            PREFIX.clone_into(&mut server.path);
        }
        let publishes = private.is_some() || args.registry.is_some() || args.straight;
        check(publishes || args.idle, "--private or --registry is needed (--idle: only to open)")?;
        let twin = twin(args)?;
        let copies = if twin.is_some() { 2 } else { 1 };
        let readers = args.subscribers as usize * copies;
        let streams = readers + args.stalled as usize + args.storm as usize;
        check_options(args)?;
        let sources = sources(args.sources, streams, server.address.ip())?;
        let servers = [Some(&server), twin.as_ref().map(|twin| &twin.server)];
        let addresses = servers.map(|server| server.map(|server| server.address));
        let victim = args.kill.map(|pid| Victim::find(pid, &addresses)).transpose()?;
        let (pace, topics) = pace(args)?;
        let per = match args.topics_per_subscriber as usize {
            0 => topics,
            per => per,
        };
        check(per <= topics, "--topics-per-subscriber must be at most the topics there are")?;
        let plan = Self {
            peer,
            server,
            tls: Tls::new(args, private.as_ref(), twin.as_ref())?,
            private,
            registry: args.registry.clone(),
            straight: args.straight,
            twin,
            victim,
            resource: args.resource.clone(),
            subscribers: args.subscribers as usize,
            stalled: args.stalled as usize,
            wake_after: args.wake_after.map(|after| span(after, "--wake-after")).transpose()?,
            storm: args.storm as usize,
            spread: span(args.spread, "--spread")?,
            receive_buffer: args.receive_buffer,
            heartbeat: args.heartbeat,
            topics,
            per,
            pace,
            warmup: span(args.warmup, "--warmup")?,
            measured: span(args.seconds, "--seconds")?,
            drain: span(args.drain, "--drain")?,
            mode: args.mode,
            flush: args.flush,
            idle: args.idle,
            connect_rate: args.connect_rate,
            sources,
            pid: args.pid,
            run,
        };
        check(plan.measured > Span::ZERO, "--seconds must be above 0")?;
        check(plan.messages() > 0, "--profile: no tick falls into --warmup and --seconds")?;
        check(args.straight || plan.hello_bytes_max() < limits::TARGET_BYTES_MAX, TOO_MANY)?;
        Ok(plan)
    }

    /// Bytes of the longest of all first words of a stream, about.
    fn hello_bytes_max(&self) -> usize {
        let numbers = [0, self.subscribers - 1];
        numbers.map(|number| self.peer.hello(self, number).len()).into_iter().fold(0, usize::max)
    }

    /// What is said for stream `number` when its connection stands.
    pub fn hello(&self, number: usize) -> Vec<u8> {
        if self.straight { straight::hello(self, number) } else { self.peer.hello(self, number) }
    }

    /// The decoder of a stream that does not begin with the head of an HTTP answer.
    pub fn feed(&self) -> Option<Feed> {
        if self.straight { Some(Feed::Frames(straight::decoder())) } else { self.peer.feed() }
    }

    /// All streams, those that stall or are cut at the end.
    pub fn streams(&self) -> usize {
        self.running() + self.stalled + self.storm
    }

    /// Streams that are read to the end: one for each subscriber and server.
    fn running(&self) -> usize {
        self.subscribers * self.copies()
    }

    /// Servers that each subscriber has a stream to.
    pub fn copies(&self) -> usize {
        1 + usize::from(self.twin.is_some())
    }

    /// The subscriber that `stream` is of: with two servers the second streams of all follow the
    /// first ones of all.
    pub fn reader(&self, stream: usize) -> usize {
        if self.twin.is_some() { stream % self.subscribers } else { stream }
    }

    /// The server that `stream` goes to.
    pub fn server_of(&self, stream: usize) -> &Server {
        match &self.twin {
            Some(twin) if stream >= self.subscribers => &twin.server,
            _ => &self.server,
        }
    }

    /// The numbers of the streams of `role`.
    pub fn numbers(&self, role: Role) -> Range<usize> {
        let (count, running) = match role {
            Role::Running => return 0..self.running(),
            Role::Stalled => (self.stalled, self.running()),
            Role::Storm => (self.storm, self.running() + self.stalled),
        };
        running..running + count
    }

    /// What the streams beside the running ones do; none: there are none.
    pub fn side(&self) -> Option<Role> {
        let roles = [Role::Stalled, Role::Storm];
        roles.into_iter().find(|role| !self.numbers(*role).is_empty())
    }

    /// When the storm breaks, or a server is killed, in a run that starts at `start`: in the middle
    /// of what is measured.
    pub fn cut_at(&self, start: Instant) -> Instant {
        start + self.warmup + self.measured.fraction(1, 2)
    }

    /// The topic that is channel `at` of stream `stream`: topics are dealt out in turn.
    pub fn topic(&self, stream: usize, at: usize) -> usize {
        (self.reader(stream) * self.per + at) % self.topics
    }

    /// Which channel of `stream` reads `topic`, if one does.
    pub fn channel(&self, stream: usize, topic: usize) -> Option<usize> {
        let first = self.topic(stream, 0);
        let at = (topic + self.topics - first) % self.topics;
        (at < self.per).then_some(at)
    }

    /// The request target of `stream`.
    pub fn target(&self, stream: usize) -> String {
        let mut target = format!("{}/mux.html?mid=0&scs=0", self.server_of(stream).path);
        if let Some(flush) = self.flush {
            target += &format!("&flush={flush}");
        }
        if let Some(heartbeat) = self.heartbeat
            && self.numbers(Role::Stalled).contains(&stream)
        {
            target += &format!("&h={heartbeat}");
        }
        for at in 0..self.per {
            target += &format!("&open={}/t{}", self.resource, self.topic(stream, at));
            if self.mode == Mode::Latest {
                target += ";mode=latest";
            }
        }
        target
    }

    /// The request target of a stream that comes back to the session that `session` names, with
    /// the positions `last`.
    pub fn target_again(&self, session: &str, last: &str) -> String {
        let mut target = format!("{}/mux.html?{session}&last={last}", self.server.path);
        if let Some(flush) = self.flush {
            target += &format!("&flush={flush}");
        }
        target
    }

    /// The topic that a name of an opened frame (`RESOURCE/tNUMBER`) means.
    pub fn named(&self, name: &str) -> Option<usize> {
        let number = name.strip_prefix(self.resource.as_str())?.strip_prefix("/t")?;
        number.parse().ok().filter(|topic| *topic < self.topics)
    }

    /// Messages of the whole run, warm-up included.
    pub fn messages(&self) -> u64 {
        self.pace.count(self.warmup + self.measured)
    }

    /// When message `k` (from 0) is due in a run that starts at `start`.
    pub fn due(&self, start: Instant, k: u64) -> Instant {
        start + self.pace.message(k).due
    }
}

/// What can be said of each option by itself, or of two together.
fn check_options(args: &Args) -> Result<(), String> {
    check(args.subscribers > 0, "--subscribers must be at least 1")?;
    check(args.topics > 0, "--topics must be at least 1")?;
    check(args.rate > 0.0 && args.rate <= 1e8, "--rate must be above 0")?;
    check(args.connect_rate > 0.0, "--connect-rate must be above 0")?;
    check(args.storm == 0 || args.stalled == 0, "--storm and --stalled are two scenarios")?;
    check(args.storm == 0 || !args.idle, "--storm needs messages, not --idle")?;
    check(args.storm == 0 || !args.straight, "--storm needs a server to come back to")?;
    check(args.mode == Mode::Queue || !args.straight, "--mode latest needs a server between")?;
    check(args.flush.is_none() || !args.straight, "--flush needs a server between")?;
    check(args.wake_after.is_none() || args.stalled > 0, "--wake-after needs --stalled")?;
    check(args.kill.is_none() || args.kill != args.pid, "--pid must outlive --kill")?;
    let sizes = STAMP_BYTES..=limits::PAYLOAD_BYTES_MAX;
    check(sizes.contains(&args.size), "--size must be 32 (the stamp) to 65536")?;
    TopicName::new(&args.resource, "").map_err(|error| format!("--resource: {error}"))?;
    Ok(())
}

/// The course of the messages that `args` ask for, and how many topics it has.
fn pace(args: &Args) -> Result<(Pace, usize), String> {
    if args.profile.is_empty() {
        let topics = args.topics as usize;
        return Ok((Pace::Fixed { rate: args.rate, size: args.size, topics }, topics));
    }
    check(args.speed > 0.0 && args.speed <= 1e6, "--speed must be above 0, at most 1000000")?;
    let span = span(args.warmup, "--warmup")? + span(args.seconds, "--seconds")?;
    let profile = Profile::read(&args.profile, recorded(span, args.speed))?;
    let topics = profile.topics.len();
    Ok((Pace::Recorded { profile: Arc::new(profile), speed: args.speed }, topics))
}

/// The second server that `args` ask for.
fn twin(args: &Args) -> Result<Option<Twin>, String> {
    let Some(url) = &args.dup else {
        check(args.dup_private.is_none(), "--dup-private needs --dup")?;
        check(args.kill.is_none(), "--kill needs --dup: nothing would be left")?;
        return Ok(None);
    };
    let mut server = Server::parse(url)?;
    if server.path.is_empty() {
        PREFIX.clone_into(&mut server.path);
    }
    let private =
        args.dup_private.as_deref().map(|url| Server::parse_private("http", url)).transpose()?;
    check(private.is_some() || args.idle, "--dup needs --dup-private to publish there too")?;
    check(args.stalled == 0 && args.storm == 0, "--dup goes with neither --stalled nor --storm")?;
    check(args.mode == Mode::Queue, "--dup needs --mode queue: what is passed over differs")?;
    check(args.kill.is_none() || !args.idle, "--kill needs messages, not --idle")?;
    Ok(Some(Twin { server, private }))
}

/// Refuses what does not hold, with a sentence.
pub(crate) fn check(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

fn span(seconds: f64, option: &str) -> Result<Span, String> {
    check((0.0..=1e6).contains(&seconds), &format!("{option} must be 0 to a million seconds"))?;
    Ok(Span::from_nanos((seconds * 1e9) as u64))
}

/// Loopback addresses to connect from: one address has too few ports for very many streams.
fn sources(asked: Option<u32>, streams: usize, server: IpAddr) -> Result<Vec<IpAddr>, String> {
    let count = asked.map_or_else(|| streams.div_ceil(PORTS_PER_SOURCE), |count| count as usize);
    if count <= 1 {
        return Ok(Vec::new());
    }
    let loopback = matches!(server, IpAddr::V4(address) if address.is_loopback());
    check(loopback, "several source addresses need a server on 127.0.0.1")?;
    check(count <= 250, "--sources must be at most 250")?;
    let address = |last: usize| IpAddr::V4(Ipv4Addr::new(127, 0, 0, last as u8));
    Ok((2..2 + count).map(address).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(change: impl FnOnce(&mut Args)) -> Result<Plan, String> {
        let mut args = Args { private: Some("http://127.0.0.1:1".into()), ..Args::default() };
        change(&mut args);
        Plan::new(&args, 7)
    }

    #[test]
    fn topics_are_dealt_out_evenly_and_found_again() {
        let plan = plan(|args| (args.topics, args.topics_per_subscriber) = (7, 3)).unwrap();
        for stream in 0..20 {
            let mine: Vec<usize> = (0..3).map(|at| plan.topic(stream, at)).collect();
            for topic in 0..7 {
                let at = mine.iter().position(|own| *own == topic);
                assert_eq!(plan.channel(stream, topic), at);
            }
        }
        assert_eq!(plan.named("bench/t6"), Some(6));
        assert_eq!(plan.named("bench/t7"), None);
        assert_eq!(
            plan.target(1),
            "/ahm/mux.html?mid=0&scs=0&open=bench/t3&open=bench/t4&open=bench/t5"
        );
    }

    #[test]
    fn streams_with_another_role_come_after_the_running_ones() {
        let plan = plan(|args| {
            (args.subscribers, args.stalled, args.heartbeat) = (10, 5, Some(500));
        });
        let plan = plan.unwrap();
        assert_eq!((plan.streams(), plan.side()), (15, Some(Role::Stalled)));
        assert_eq!(plan.numbers(Role::Running), 0..10);
        assert_eq!(plan.numbers(Role::Stalled), 10..15);
        assert!(plan.numbers(Role::Storm).is_empty());
        assert!(!plan.target(9).contains("h=500") && plan.target(10).contains("&h=500&"));
        assert_eq!(plan.target_again("mid=3&k=x", "7:a:9"), "/ahm/mux.html?mid=3&k=x&last=7:a:9");
    }

    #[test]
    fn second_streams_read_what_the_first_ones_read() {
        let plan = plan(|args| {
            (args.subscribers, args.topics) = (5, 3);
            args.dup = Some("http://127.0.0.1:9/x".into());
            args.dup_private = Some("http://127.0.0.1:8".into());
        });
        let plan = plan.unwrap();
        assert_eq!((plan.copies(), plan.streams(), plan.numbers(Role::Running)), (2, 10, 0..10));
        assert_eq!(
            (plan.server_of(4).path.as_str(), plan.server_of(5).path.as_str()),
            ("/ahm", "/x")
        );
        assert_eq!((plan.topic(4, 0), plan.topic(9, 0), plan.reader(9)), (1, 1, 4));
        assert_eq!(plan.target(9), "/x/mux.html?mid=0&scs=0&open=bench/t1");
    }

    #[test]
    fn many_streams_leave_from_several_addresses() {
        assert!(plan(|args| args.subscribers = 25_000).unwrap().sources.is_empty());
        let three = plan(|args| args.subscribers = 50_001).unwrap().sources;
        assert_eq!(three.len(), 3);
        assert_eq!(three[2].to_string(), "127.0.0.4");
        assert!(
            plan(|args| (args.sources, args.url) = (Some(2), "http://[::1]:1".into())).is_err()
        );
    }

    #[test]
    fn impossible_options_are_named() {
        let named = |change: fn(&mut Args), name: &str| {
            let error = plan(change).unwrap_err();
            assert!(error.contains(name), "{error}");
        };
        named(|args| args.private = None, "--private");
        named(|args| args.subscribers = 0, "--subscribers");
        named(|args| args.topics_per_subscriber = 2, "--topics-per-subscriber");
        named(|args| args.rate = f64::NAN, "--rate");
        named(|args| args.size = 31, "--size");
        named(|args| (args.storm, args.stalled) = (1, 1), "--storm");
        named(|args| (args.storm, args.idle) = (1, true), "--storm");
        named(|args| args.wake_after = Some(1.0), "--wake-after");
        named(|args| args.kill = Some(1), "--kill");
        named(|args| args.dup = Some("http://127.0.0.1:9".into()), "--dup-private");
        named(
            |args| {
                args.dup = Some("http://127.0.0.1:9".into());
                (args.dup_private, args.storm) = (args.dup.clone(), 1);
            },
            "--storm",
        );
        named(|args| args.seconds = 0.0, "--seconds");
        named(|args| (args.profile, args.speed) = (vec!["fx".into()], 0.0), "--speed");
        named(
            |args| (args.profile, args.topics_per_subscriber) = (vec!["fx".into()], 6),
            "--topics-per-subscriber",
        );
        named(
            |args| {
                (args.profile, args.warmup, args.seconds) = (vec!["fx".into()], 0.0, 1e-4);
            },
            "--profile",
        );
        named(|args| args.resource = "a b".into(), "--resource");
    }

    #[test]
    fn all_topics_of_a_recording_are_read_or_some() {
        let profile = || vec!["fx".into()];
        let all = plan(|args| (args.profile, args.topics_per_subscriber) = (profile(), 0));
        let all = all.unwrap();
        assert_eq!((all.topics, all.per), (5, 5));
        let some = plan(|args| (args.profile, args.topics_per_subscriber) = (profile(), 2));
        let some = some.unwrap();
        assert_eq!(some.target(2), "/ahm/mux.html?mid=0&scs=0&open=bench/t4&open=bench/t0");
    }

    #[test]
    fn messages_are_due_at_a_fixed_rate() {
        let plan =
            plan(|args| (args.rate, args.seconds, args.warmup) = (1000.0, 2.0, 1.0)).unwrap();
        assert_eq!(plan.messages(), 3000);
        assert_eq!(plan.due(Instant::ZERO, 1500), Instant::ZERO + Span::from_millis(1500));
    }
}

//! The load driver against a small server that can be told to misbehave. The server speaks the
//! protocol by hand, on plain threads, so that it shares no mistake with the house.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ahm::cli::bench::copies::Doubled;
use ahm::cli::bench::plot::svg;
use ahm::cli::bench::record::Record;
use ahm::cli::bench::scenario::{Scenario, Stalled, Storm};
use ahm::cli::bench::table::table;
use ahm::cli::bench::tally::Mode;
use ahm::cli::bench::{Args, measure};
use socket2::SockRef;

/// What the server does wrong with one message, for every reader of its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// The message never comes.
    Lose,
    /// The message never comes and a gap frame says so.
    Gap,
    Repeat,
    /// The message comes after its successor.
    Swap,
    /// The payloads of two messages change places, offsets do not.
    SwapPayloads,
    /// An offset that no message has.
    Skip,
    /// The publisher is told 503.
    Refuse,
    /// The first stream is cut.
    Cut,
    /// Every second message is passed over.
    Fold,
    /// Opening is refused.
    Deny,
    /// The publisher's connection is cut instead of an answer.
    HangUp,
    /// The last stream is reset.
    Drop,
    /// Who comes back is told what he has already.
    TellTwice,
    /// Who comes back goes on at the head, and nothing says so.
    Forget,
    /// Who comes back is refused the first time.
    Busy,
}

/// The message of each topic, counted by the server, that the fault happens to.
const AT: u64 = 20;
const CID_FIRST: u64 = 1 << 20;

struct Topic {
    cid: u64,
    n: u64,
    /// Messages published here.
    count: u64,
    held: Option<(u64, String)>,
    readers: Vec<TcpStream>,
    /// Offset and payload of every message.
    past: Vec<(u64, String)>,
}

struct World {
    fault: Fault,
    topics: HashMap<String, Topic>,
    peers: BTreeSet<IpAddr>,
    /// Requests of those who came back.
    returns: u64,
}

impl World {
    fn topic(&mut self, name: &str) -> &mut Topic {
        let cid = CID_FIRST + self.topics.len() as u64;
        let fresh =
            Topic { cid, n: 1000, count: 0, held: None, readers: Vec::new(), past: Vec::new() };
        self.topics.entry(name.to_owned()).or_insert(fresh)
    }

    /// Publishes; the answer's status.
    fn publish(&mut self, name: &str, payload: String) -> u16 {
        let fault = self.fault;
        let topic = self.topic(name);
        // The first message creates the topic: the driver's own numbering begins after it.
        let number = topic.count;
        topic.count += 1;
        if fault == Fault::Refuse && number == AT {
            return 503;
        }
        topic.n += if fault == Fault::Skip && number == AT { 2 } else { 1 };
        let n = topic.n;
        topic.past.push((n, payload.clone()));
        let here = number == AT;
        match fault {
            Fault::Lose if here => {}
            Fault::Gap if here => topic.send(&format!("<p g c={} ep=1 n={n} m=1>", topic.cid)),
            Fault::Fold if number % 2 == 1 => {}
            Fault::Swap | Fault::SwapPayloads if here => topic.held = Some((n, payload)),
            Fault::Cut if here => {
                let _ = topic.readers[0].shutdown(Shutdown::Both);
                topic.message(n, &payload);
            }
            Fault::Drop if here => {
                let last = topic.readers.pop().unwrap();
                SockRef::from(&last).set_linger(Some(Duration::ZERO)).unwrap();
                topic.message(n, &payload);
            }
            _ => match topic.held.take() {
                Some((before, held)) if fault == Fault::SwapPayloads => {
                    topic.message(before, &payload);
                    topic.message(n, &held);
                }
                held => {
                    topic.message(n, &payload);
                    if fault == Fault::Repeat && here {
                        topic.message(n, &payload);
                    }
                    held.iter().for_each(|(n, held)| topic.message(*n, held));
                }
            },
        }
        200
    }
}

impl Topic {
    fn message(&mut self, n: u64, payload: &str) {
        let flags = if n.is_multiple_of(3) { " s" } else { "" };
        self.send(&format!("<p c={} n={n}{flags}>{payload}", self.cid));
    }

    fn send(&mut self, line: &str) {
        let bytes = chunks(&format!("{line}\n"));
        for reader in &mut self.readers {
            // A reader that is gone is the driver's to notice.
            let _ = reader.write_all(&bytes);
        }
    }
}

/// `text` as chunks that end in awkward places.
fn chunks(text: &str) -> Vec<u8> {
    let (first, rest) = text.as_bytes().split_at(text.len().min(9));
    let mut out = Vec::new();
    for piece in [first, rest].into_iter().filter(|piece| !piece.is_empty()) {
        out.extend(format!("{:x}\r\n", piece.len()).bytes());
        out.extend(piece);
        out.extend(b"\r\n");
    }
    out
}

struct Fake {
    public: SocketAddr,
    private: SocketAddr,
    world: Arc<Mutex<World>>,
}

impl Fake {
    fn start(fault: Fault) -> Self {
        let topics = HashMap::new();
        let world =
            Arc::new(Mutex::new(World { fault, topics, peers: BTreeSet::new(), returns: 0 }));
        let public = listen(&world, subscriber);
        let private = listen(&world, publisher);
        Self { public, private, world }
    }

    fn args(&self) -> Args {
        Args {
            url: format!("http://{}", self.public),
            private: Some(format!("http://{}", self.private)),
            subscribers: 12,
            rate: 500.0,
            seconds: 0.3,
            warmup: 0.1,
            drain: 0.2,
            ..Args::default()
        }
    }
}

type Handler = fn(TcpStream, SocketAddr, &Mutex<World>);

fn listen(world: &Arc<Mutex<World>>, handler: Handler) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let world = Arc::clone(world);
    std::thread::spawn(move || {
        while let Ok((stream, peer)) = listener.accept() {
            let world = Arc::clone(&world);
            std::thread::spawn(move || handler(stream, peer, &world));
        }
    });
    address
}

/// The first line of a request and the length of its body; `None` at the end.
fn request(input: &mut impl BufRead) -> Option<(String, usize)> {
    let mut first = String::new();
    input.read_line(&mut first).ok().filter(|count| *count > 0)?;
    let mut length = 0;
    loop {
        let mut field = String::new();
        input.read_line(&mut field).ok()?;
        if field == "\r\n" {
            return Some((first, length));
        }
        if let Some(value) = field.strip_prefix("Content-Length: ") {
            length = value.trim().parse().unwrap();
        }
    }
}

fn subscriber(mut stream: TcpStream, peer: SocketAddr, world: &Mutex<World>) {
    let mut input = BufReader::new(stream.try_clone().unwrap());
    let Some((first, _)) = request(&mut input) else { return };
    let mut world = world.lock().unwrap();
    world.peers.insert(peer.ip());
    if world.fault == Fault::Deny {
        let body = r#"{"ok":false,"error":"no-resource"}"#;
        let length = body.len();
        let head = "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length:";
        write!(stream, "{head} {length}\r\n\r\n{body}").unwrap();
        return;
    }
    let target = first.split(' ').nth(1).unwrap().strip_prefix("/ahm/mux.html?").unwrap();
    if let Some((_, last)) = target.split_once("&last=") {
        return resume(stream, target, last, &mut world);
    }
    let mut text = "<!doctype html><meta charset=utf-8><title>mux</title><body>\n\
                    <p i scs=fake mid=77 d=1 k=0123456789012345678901 h=15000 r=240000 v=1>\n"
        .to_owned();
    for open in target.split('&').filter_map(|pair| pair.strip_prefix("open=")) {
        let name = open.split(';').next().unwrap();
        let topic = world.topic(name);
        topic.readers.push(stream.try_clone().unwrap());
        let (c, n) = (topic.cid, topic.n);
        text += &format!("<p o c={c} u={name} ep=1 n={n} head={n}>\n<p h=15000 t=1>\n");
    }
    answer(stream, &text);
}

fn answer(mut stream: TcpStream, text: &str) {
    stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n").unwrap();
    stream.write_all(b"Content-Type: text/html; charset=utf-8\r\n\r\n").unwrap();
    stream.write_all(&chunks(text)).unwrap();
}

/// A stream that comes back with the position `last`, as `CID:EP:N`.
fn resume(mut stream: TcpStream, target: &str, last: &str, world: &mut World) {
    assert!(target.starts_with("mid=77&scs=fake&k=0123456789012345678901&last="), "{target}");
    world.returns += 1;
    if world.fault == Fault::Busy && world.returns <= 3 {
        stream.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").unwrap();
        return;
    }
    let fault = world.fault;
    let [cid, epoch, n] = last.split(':').collect::<Vec<_>>()[..] else { panic!("{last}") };
    let (cid, mut n): (u64, u64) = (cid.parse().unwrap(), n.parse().unwrap());
    assert_eq!(epoch, "1");
    let (name, topic) = world.topics.iter_mut().find(|(_, topic)| topic.cid == cid).unwrap();
    match fault {
        Fault::Forget => n = topic.n,
        Fault::TellTwice => n -= 1,
        _ => {}
    }
    let mut text = "<p i scs=fake mid=77 d=2 h=15000 r=240000 v=1>\n".to_owned();
    text += &format!("<p o c={cid} u={name} ep=1 n={n} head={}>\n", topic.n);
    for (n, payload) in topic.past.iter().filter(|(past, _)| *past > n) {
        text += &format!("<p c={cid} n={n}>{payload}\n");
    }
    topic.readers.push(stream.try_clone().unwrap());
    answer(stream, &text);
}

fn publisher(mut stream: TcpStream, _: SocketAddr, world: &Mutex<World>) {
    let mut input = BufReader::new(stream.try_clone().unwrap());
    while let Some((first, length)) = request(&mut input) {
        let mut body = vec![0; length];
        input.read_exact(&mut body).unwrap();
        let name = first.strip_prefix("POST /publish/").unwrap().split(' ').next().unwrap();
        let mut world = world.lock().unwrap();
        if world.fault == Fault::HangUp && world.topic(name).count == AT {
            return stream.shutdown(Shutdown::Both).unwrap();
        }
        let status = world.publish(name, String::from_utf8(body).unwrap());
        drop(world);
        let answer = format!(r#"{{"ok":{}}}"#, status == 200);
        let length = answer.len();
        write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n{answer}").unwrap();
    }
}

fn run(fault: Fault, change: impl FnOnce(&mut Args)) -> Record {
    let fake = Fake::start(fault);
    let mut args = fake.args();
    change(&mut args);
    measure(&args, std::io::sink()).unwrap().0
}

/// A run of 12 readers of one topic, with one fault.
fn faulty(fault: Fault) -> Record {
    let record = run(fault, |_| {});
    assert!(!record.failures().is_empty(), "{record:?}");
    assert_eq!(record.delivery.expected, record.publishing.accepted * 12);
    record
}

#[test]
fn a_faultless_server_is_found_faultless() {
    let record = run(Fault::None, |args| args.pid = Some(std::process::id()));
    assert_eq!(record.failures(), [""; 0]);
    let delivery = record.delivery;
    assert_eq!((record.publishing.accepted, delivery.expected), (200, 2400));
    assert_eq!((delivery.tally.unique, delivery.tally.deliveries), (2400, 2400));
    // What was due in the warm-up is not in the latencies.
    assert_eq!(record.latency_ms.count, 150 * 12);
    assert_eq!(record.publishing.late_ms.count, 150);
    assert!(record.latency_ms.p50 > 0.0 && record.latency_ms.p50 <= record.latency_ms.max);
    assert!(delivery.rate > 0.0);
    assert!(record.server.unwrap().before.rss > 0);
    let table = table(&record);
    for row in ["deliveries           2,400 of 2,400", "lost                 0\n", "machine  "] {
        assert!(table.contains(row), "{table}");
    }
    assert!(!table.contains("FAILED"));
    let json = serde_json::to_value(&record).unwrap();
    assert_eq!(json["delivery"]["deliveries"], 2400);
    assert_eq!(json["delivery"]["lost"], 0);
    assert_eq!(json["timeline"][0]["published"], 200);
    assert_eq!(json["timeline"][0]["deliveries"], 2400);
}

#[test]
fn a_run_is_drawn_with_its_figures_and_its_failures() {
    let drawn = |fault, seconds| {
        let fake = Fake::start(fault);
        let args = Args { seconds, warmup: 0.4, topics: 3, ..fake.args() };
        let (record, latency) = measure(&args, std::io::sink()).unwrap();
        (svg(&record, &latency), record)
    };
    let (picture, record) = drawn(Fault::None, 1.1);
    assert!(picture.starts_with("<svg xmlns=") && picture.ends_with("</svg>\n"), "{picture}");
    for text in [
        ">12 readers of 1 of 3 topics each, 500 msg/s of 100 B, mode queue<",
        ">3,000 deliveries, nothing lost",
        ">99.9<",
        ">warm-up<",
        ">deliveries a second<",
    ] {
        assert!(picture.contains(text), "{text}: {picture}");
    }
    assert_eq!(record.timeline.len(), 2, "{:?}", record.timeline);
    assert_eq!(record.timeline.iter().map(|second| second.published).sum::<u64>(), 750);
    assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
    let (picture, _) = drawn(Fault::Lose, 0.3);
    assert!(picture.contains(">FAILED: 12 deliveries lost"), "{picture}");
}

#[test]
fn every_reader_gets_every_one_of_its_topics() {
    let record = run(Fault::None, |args| {
        (args.topics, args.topics_per_subscriber) = (7, 3);
        args.size = 5000;
    });
    assert_eq!(record.failures(), [""; 0]);
    assert_eq!(record.publishing.accepted, 200);
    assert!(record.delivery.expected > 200 * 4);
    assert_eq!(record.delivery.tally.unique, record.delivery.expected);
}

#[test]
fn a_lost_message_is_reported() {
    let delivery = faulty(Fault::Lose).delivery;
    assert_eq!((delivery.lost, delivery.tally.silent), (12, 12));
    assert_eq!((delivery.tally.out_of_order, delivery.tally.repeated), (0, 0));
}

#[test]
fn a_message_lost_with_a_gap_frame_is_lost_and_declared() {
    let delivery = faulty(Fault::Gap).delivery;
    assert_eq!((delivery.lost, delivery.tally.silent), (12, 0));
    assert_eq!((delivery.tally.gap_frames, delivery.tally.gap_messages), (12, 12));
}

#[test]
fn a_repeated_message_is_reported() {
    let delivery = faulty(Fault::Repeat).delivery;
    assert_eq!((delivery.lost, delivery.tally.repeated), (0, 12));
    assert_eq!(delivery.tally.deliveries, delivery.expected + 12);
}

#[test]
fn messages_out_of_order_are_reported_whatever_their_offsets_say() {
    for fault in [Fault::Swap, Fault::SwapPayloads] {
        let delivery = faulty(fault).delivery;
        assert_eq!((delivery.lost, delivery.tally.out_of_order), (0, 12), "{fault:?}");
        assert_eq!((delivery.tally.repeated, delivery.tally.silent), (0, 0), "{fault:?}");
    }
}

#[test]
fn an_offset_without_a_message_is_reported() {
    let delivery = faulty(Fault::Skip).delivery;
    assert_eq!((delivery.lost, delivery.tally.misnumbered), (0, 12));
}

#[test]
fn a_refused_publish_is_reported_and_not_called_lost() {
    let record = faulty(Fault::Refuse);
    assert_eq!((record.publishing.accepted, record.publishing.refused), (199, 1));
    assert!(record.publishing.refusal.unwrap().starts_with("503 "));
    assert_eq!((record.delivery.lost, record.delivery.tally.misnumbered), (0, 0));
}

#[test]
fn a_stream_that_ends_early_is_reported_and_the_others_go_on() {
    let record = faulty(Fault::Cut);
    assert_eq!(record.delivery.tally.ended, 1);
    assert!(record.problem.as_ref().unwrap().starts_with("stream "));
    // The cut stream had 19 messages, the others all of theirs.
    assert_eq!(record.delivery.lost, 200 - (AT - 1));
}

#[test]
fn mode_latest_may_pass_over_messages_but_not_over_the_newest() {
    let record = run(Fault::Fold, |args| args.mode = Mode::Latest);
    assert_eq!(record.failures(), [""; 0]);
    assert_eq!(record.delivery.tally.folded, 100 * 12);
    // One message more, and the newest is one of those passed over.
    let record = run(Fault::Fold, |args| (args.mode, args.rate) = (Mode::Latest, 502.5));
    assert_eq!((record.publishing.accepted, record.delivery.lost), (201, 12));
}

/// What a run came to that plays five recorded minutes of currencies, or what else is asked for.
fn recorded(fault: Fault, change: impl FnOnce(&mut Args)) -> Record {
    let record = run(fault, |args| {
        (args.profile, args.speed) = (vec!["fx".into()], 400.0);
        args.topics_per_subscriber = 0;
        (args.warmup, args.seconds) = (0.25, 0.5);
        change(args);
    });
    assert_eq!(record.delivery.expected, record.publishing.accepted * 12);
    record
}

#[test]
fn recorded_ticks_reach_every_reader_of_all_instruments() {
    let record = recorded(Fault::None, |_| {});
    assert_eq!(record.failures(), [""; 0]);
    // A quarter of twenty minutes.
    let played = record.settings.profile.as_ref().unwrap();
    assert_eq!((played.topics.len(), played.ticks, played.passes), (5, 60_520, 0.25));
    assert_eq!(record.settings.topics_per_subscriber, 5);
    let published = record.publishing.accepted;
    assert!(published > 10_000 && published < 20_000, "{published}");
    assert_eq!(record.delivery.tally.unique, 12 * published);
    // What was due in the warm-up is not in the latencies.
    assert!(record.latency_ms.count > 0 && record.latency_ms.count < 12 * published);
    assert!(
        table(&record).contains("profile              fx: 60,520 ticks in 1200.0 s; 0.25 passes")
    );
}

#[test]
fn recorded_ticks_are_played_again_where_the_run_is_longer() {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ticks/oanda_xauusd.csv.gz");
    let once = recorded(Fault::None, |args| {
        (args.profile, args.speed) = (vec![sample.into()], 1000.0);
    });
    let played = once.settings.profile.as_ref().unwrap();
    assert_eq!(played.topics, ["fx/XAUUSD"]);
    assert_eq!(once.failures(), [""; 0]);
    let passes = played.passes;
    assert!(passes > 1.0, "{passes}");
    let expected = passes * played.ticks as f64;
    let published = once.publishing.accepted as f64;
    assert!((published - expected).abs() < played.ticks as f64, "{published} of {expected}");
}

#[test]
fn of_recorded_ticks_too_what_is_passed_over_is_folded_and_what_is_missing_is_lost() {
    let lost = recorded(Fault::Lose, |_| {});
    // One message of each topic, for every reader.
    assert_eq!((lost.delivery.lost, lost.delivery.tally.silent), (5 * 12, 5 * 12));
    let folded = recorded(Fault::Fold, |args| args.mode = Mode::Latest);
    let tally = folded.delivery.tally;
    assert_eq!((tally.silent, tally.out_of_order), (0, 0));
    assert!(tally.folded > 0 && tally.folded + tally.unique <= folded.delivery.expected);
    // Where the newest message of a topic is one that was passed over, all its readers miss it.
    assert_eq!(folded.delivery.lost % 12, 0);
    assert!(folded.delivery.lost <= 5 * 12, "{}", folded.delivery.lost);
}

#[test]
fn a_refused_open_ends_the_run_with_the_servers_words() {
    let fake = Fake::start(Fault::Deny);
    let error = measure(&fake.args(), std::io::sink()).unwrap_err();
    assert!(error.contains("404") && error.contains("no-resource"), "{error}");
}

#[test]
fn streams_that_read_nothing_are_opened_and_not_counted() {
    let record = run(Fault::None, |args| args.stalled = 5);
    assert_eq!(record.failures(), [""; 0]);
    assert_eq!((record.opening.streams, record.delivery.expected), (17, 2400));
}

fn stalled(record: &Record) -> Stalled {
    let Some(Scenario::Stalled(stalled)) = record.scenario else { panic!("{record:?}") };
    stalled
}

#[test]
fn memory_is_watched_while_streams_stall() {
    let record = run(Fault::None, |args| {
        (args.stalled, args.receive_buffer) = (5, Some(4096));
        // Also where other tests keep the server's threads waiting for a tenth of a second.
        args.warmup = 0.5;
        args.pid = Some(std::process::id());
    });
    let (first, last) = (record.samples[0], record.samples.last().unwrap());
    assert!(first.seconds < last.seconds && first.server.unwrap().rss > 0);
    assert!(last.tcp.sockets >= 34, "{last:?}");
    let table = table(&record);
    for row in ["stalled 5 (receive buffer 4096 B)", "stalled, dropped     0 of 5", "memory over"] {
        assert!(table.contains(row), "{table}");
    }
    // The small receive buffers are full after some ten messages, long before the warm-up ends.
    let unread = stalled(&record).unread.unwrap();
    assert_eq!((unread.connected, unread.connected_at_end, unread.moved), (5, 5, 0));
    assert!(unread.bytes_min > 0 && unread.bytes >= 5 * unread.bytes_min, "{unread:?}");
    assert!(table.contains("5 connected, 0 of them received more"), "{table}");
}

#[test]
fn stalled_streams_that_the_server_drops_are_counted_and_no_failure() {
    let record = run(Fault::Drop, |args| args.stalled = 5);
    assert_eq!(record.failures(), [""; 0]);
    let stalled = stalled(&record);
    assert_eq!((stalled.streams, stalled.dropped, stalled.dropped_ms.count), (5, 1, 1));
    assert_eq!(record.samples.last().unwrap().dropped, 1);
}

#[test]
fn stalled_streams_wake_up_and_tell_how_fresh_the_news_is() {
    let record = run(Fault::None, |args| {
        (args.stalled, args.wake_after) = (5, Some(0.3));
        args.mode = Mode::Latest;
    });
    assert_eq!(record.failures(), [""; 0]);
    let woken = stalled(&record).woken.unwrap();
    assert_eq!((woken.streams, woken.fresh, woken.never), (5, 5, 0));
    assert!(woken.first_age_ms.p50 > 200.0 && woken.bytes_max > 0, "{woken:?}");
    assert!(woken.fresh_age_ms.count == 5 && woken.fresh_age_ms.max < 200.0, "{woken:?}");
    assert!(table(&record).contains("fresh within 256 KiB 5, never 0"));
}

/// A run of 12 readers of two topics, and of 20 more that are cut and come back.
fn storm(fault: Fault) -> (Record, Storm) {
    let record = run(fault, |args| {
        (args.storm, args.spread, args.topics) = (20, 0.1, 2);
        args.seconds = 0.6;
    });
    let Some(Scenario::Storm(storm)) = record.scenario else { panic!("{record:?}") };
    assert_eq!((storm.streams, storm.back), (20, 20));
    assert_eq!((storm.expected, record.delivery.expected), (350 * 10, 350 * 6));
    (record, storm)
}

#[test]
fn streams_of_a_storm_come_back_with_nothing_lost_or_repeated() {
    let (record, storm) = storm(Fault::None);
    assert_eq!(record.failures(), [""; 0]);
    assert_eq!((storm.tally.unique, storm.attempts_failed), (3500, 0));
    assert_eq!(storm.reopen_ms.count, 20);
    let seconds = storm.seconds.unwrap();
    assert!((0.05..2.0).contains(&seconds), "{seconds}");
    let parts = [storm.before_ms, storm.during_ms, storm.after_ms].map(|part| part.count);
    assert_eq!(parts.iter().sum::<u64>(), record.latency_ms.count);
    assert_eq!(parts[0], 150 * 6, "the storm breaks in the middle");
    assert!(storm.returning_ms.count > 0 && storm.returning_ms.count <= parts[1], "{storm:?}");
    assert!(table(&record).contains("20 of 20 back after"));
}

#[test]
fn what_is_told_twice_to_those_who_come_back_is_found() {
    let (record, storm) = storm(Fault::TellTwice);
    assert_eq!((storm.lost, storm.tally.repeated, record.delivery.tally.repeated), (0, 20, 0));
    assert_eq!(record.failures(), ["20 deliveries repeated on streams of the storm"]);
}

#[test]
fn what_those_who_come_back_never_hear_of_is_found() {
    let (record, storm) = storm(Fault::Forget);
    assert!(storm.lost > 0 && storm.tally.silent == storm.lost, "{storm:?}");
    assert_eq!(record.failures().len(), 2, "{:?}", record.failures());
}

#[test]
fn streams_that_are_refused_try_again() {
    let (record, storm) = storm(Fault::Busy);
    assert_eq!(record.failures(), [""; 0]);
    assert_eq!(storm.attempts_failed, 3);
}

/// The real server, where a fake that lives in this process will not do.
struct Real {
    child: Child,
    public: String,
    private: String,
}

impl Real {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ahm"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--private", "127.0.0.1:0"]);
        command.args(["--shards", "1", "--log-level", "error"]);
        command.args(["--set", "registry.listen=off"]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut url = |name| lines.next().unwrap().strip_prefix(name).unwrap().to_owned();
        let (public, private) = (url("listening "), url("private "));
        Self { child, public, private }
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A run of 12 readers of two topics, each on two servers, of which `killed` is killed.
fn doubled(killed: Option<usize>) -> (Record, Doubled) {
    let servers = [Real::start(), Real::start()];
    let args = Args {
        url: servers[0].public.clone(),
        private: Some(servers[0].private.clone()),
        dup: Some(servers[1].public.clone()),
        dup_private: Some(servers[1].private.clone()),
        kill: killed.map(|server| servers[server].child.id()),
        subscribers: 12,
        topics: 2,
        rate: 500.0,
        seconds: 1.6,
        warmup: 0.1,
        ..Args::default()
    };
    let record = measure(&args, std::io::sink()).unwrap().0;
    assert_eq!(record.failures(), [""; 0]);
    assert_eq!((record.publishing.accepted, record.opening.streams), (850, 24));
    assert_eq!((record.delivery.expected, record.delivery.lost), (850 * 6, 0));
    let Some(Scenario::Doubled(doubled)) = record.scenario else { panic!("{record:?}") };
    assert_eq!(doubled.first, 850 * 6);
    // Whatever was due before 0.4 s and after 1.4 s of 1.7 s, less the warm-up.
    let parts = [doubled.before_ms, doubled.through_ms, doubled.after_ms].map(|part| part.count);
    assert_eq!(parts, [150 * 6, 500 * 6, 150 * 6]);
    assert_eq!(record.latency_ms.count, 800 * 6);
    (record, doubled)
}

#[test]
fn of_two_servers_the_first_copy_counts_and_the_second_is_dropped() {
    let (record, doubled) = doubled(None);
    assert_eq!((doubled.dropped, doubled.killed, doubled.cut), (850 * 6, None, 0));
    assert!(table(&record).contains("second copies        5,100, dropped by their number"));
}

#[test]
fn a_server_that_is_killed_takes_its_streams_along_and_no_message() {
    for server in [0, 1] {
        let (record, doubled) = doubled(Some(server));
        assert_eq!((doubled.killed, doubled.cut), (Some(server + 1), 12));
        assert!(doubled.dropped < 850 * 6 && record.delivery.tally.ended == 0, "{doubled:?}");
        let row = format!("killed               server {}; streams cut 12 of 12", server + 1);
        assert!(table(&record).contains(&row), "{}", table(&record));
    }
}

#[test]
fn a_server_that_is_not_of_the_run_is_not_killed() {
    let servers = [Real::start(), Real::start()];
    let fake = Fake::start(Fault::None);
    let mut args = fake.args();
    (args.dup, args.dup_private) = (args.url.clone().into(), args.private.clone());
    args.kill = Some(servers[0].child.id());
    let error = measure(&args, std::io::sink()).unwrap_err();
    assert!(error.contains("does not listen"), "{error}");
    for mut server in servers {
        assert!(server.child.try_wait().unwrap().is_none(), "it goes on");
    }
}

#[test]
fn idle_streams_come_from_several_addresses_and_are_weighed() {
    let fake = Fake::start(Fault::None);
    let mut args = fake.args();
    (args.idle, args.subscribers, args.sources) = (true, 40, Some(2));
    args.pid = Some(std::process::id());
    let record = measure(&args, std::io::sink()).unwrap().0;
    assert_eq!(record.failures(), [""; 0]);
    assert_eq!((record.opening.streams, record.delivery.tally.deliveries), (40, 0));
    assert_eq!(record.delivery.tally.heartbeats, 40);
    let usage = record.server.unwrap();
    assert!(usage.open.rss > 0 && usage.cpu_us_per_delivery.is_none());
    let peers: Vec<String> =
        fake.world.lock().unwrap().peers.iter().map(IpAddr::to_string).collect();
    assert_eq!(peers, ["127.0.0.2", "127.0.0.3"]);
    assert!(table(&record).contains("bytes a stream"));
}

#[test]
fn a_publisher_that_loses_its_server_ends_the_run_at_once() {
    let fake = Fake::start(Fault::HangUp);
    let mut args = fake.args();
    args.seconds = 3600.0;
    let error = measure(&args, std::io::sink()).unwrap_err();
    assert!(error.starts_with("publisher: "), "{error}");
}

#[test]
fn more_streams_than_files_are_refused_before_anything_is_opened() {
    let fake = Fake::start(Fault::None);
    let mut args = fake.args();
    (args.subscribers, args.sources) = (2_000_000_000, Some(1));
    let error = measure(&args, std::io::sink()).unwrap_err();
    assert!(error.contains("open files"), "{error}");
    assert!(fake.world.lock().unwrap().peers.is_empty());
}

//! A source frame by frame, at the other ends of its connections.

use std::sync::Mutex;

use super::*;
use crate::base::id::{Cid, Mid};
use crate::link::address::Address;
use crate::link::handler::{Actions, Consumer, Decision, Message, Metrics, Skipped};
use crate::link::source_log::{Entry, History};
use crate::wire::resource::{Alias, InstanceId, Terms, Who};
use crate::wire::resource_decode::Decoder;
use crate::wire::resource_encode::put_frame;

const HISTORY: History = History { messages: 4, bytes: 1 << 20, age: Span::from_secs(60) };
const HEARTBEAT: Span = Span::from_secs(5);

/// Writes down what it is told; the subject says what it decides.
#[derive(Debug, Default)]
struct Desk(Mutex<Vec<String>>);

impl Desk {
    fn note(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    fn noted(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Handler for Desk {
    fn open(&self, subject: &str, consumer: &Consumer) -> Decision {
        match subject {
            "me" => Decision::Private,
            "old" => Decision::Other("new".into()),
            "closed" => Decision::deny(format!("not for {}", consumer.user)),
            _ => Decision::Shared,
        }
    }

    fn terms(&self, subject: &str) -> Terms {
        let is = |word| subject.starts_with(word);
        Terms { state: is("state"), changed: is("change"), ..Terms::default() }
    }

    fn opened(&self, _: Channel, subject: &str, consumer: &Consumer, actions: &mut Actions) {
        self.note(format!("opened {subject} {}", consumer.session));
        actions.reply("hello");
    }

    fn closed(&self, _: Channel, subject: &str, consumer: &Consumer) {
        self.note(format!("closed {subject} {}", consumer.session));
    }

    fn message(&self, message: &Message<'_>, actions: &mut Actions) {
        let text = String::from_utf8_lossy(message.payload).into_owned();
        self.note(format!("{} {} {:?} {text}", message.subject, message.n, message.id));
        actions.reply(format!("re {text}"));
        actions.publish("heard", message.payload);
        if text == "end" {
            actions.end();
        }
    }

    fn skipped(&self, skipped: &Skipped<'_>) {
        self.note(format!("{} skipped {} {}", skipped.subject, skipped.from, skipped.to));
    }

    fn demand_begins(&self, subject: &str, actions: &mut Actions) {
        self.note(format!("begins {subject}"));
        if subject == "eager" {
            actions.publish(subject, "at once");
        }
    }

    fn demand_ends(&self, subject: &str) {
        self.note(format!("ends {subject}"));
    }

    fn metrics(&self, metrics: &Metrics<'_>) {
        let private = metrics.channel.is_some();
        self.note(format!("{} has {}, private: {private}", metrics.subject, metrics.consumers));
    }
}

/// The other end of one connection.
struct Line {
    decoder: Decoder,
    heard: Vec<String>,
    /// The epoch of the last `Accept`.
    ep: Epoch,
    /// Bytes that the socket still takes.
    room: usize,
    writes: usize,
    closed: bool,
}

impl Line {
    fn new() -> Self {
        Self {
            decoder: Decoder::new(1 << 20),
            heard: Vec::new(),
            ep: Epoch(0),
            room: usize::MAX,
            writes: 0,
            closed: false,
        }
    }

    fn take(&mut self, bytes: &[u8]) -> (usize, bool) {
        let taken = bytes.len().min(self.room);
        self.room = self.room.saturating_sub(taken);
        self.writes += 1;
        let Self { decoder, heard, ep, .. } = self;
        let outcome = decoder.push(&bytes[..taken], |frame| {
            if let Frame::Accept { ep: accepted, .. } = &frame {
                *ep = *accepted;
            }
            heard.extend(words(&frame));
        });
        outcome.unwrap();
        (taken, taken < bytes.len())
    }
}

fn words(frame: &Frame<'_>) -> Option<String> {
    Some(match frame {
        Frame::Accept { alias, grant, next, .. } => format!("accept {} {grant:?} {next}", alias.0),
        Frame::Deny { alias, code, .. } => format!("deny {} {code}", alias.0),
        Frame::Publish { alias, n, snapshot, payload } => {
            let mark = if *snapshot { "s" } else { "" };
            format!("{}:{n}{mark} {}", alias.0, String::from_utf8_lossy(payload))
        }
        Frame::Begin { alias, next, .. } => format!("begin {} {next}", alias.0),
        Frame::Close { alias, end } => format!("close {} {}", alias.0, end.word()),
        Frame::Taken { count } => format!("taken {count}"),
        Frame::Bye { reason } => format!("bye: {reason}"),
        Frame::Register { resource, handle } => {
            format!("register {resource} {} at {:?}", handle.weight, handle.addresses)
        }
        Frame::Withdraw { resource } => format!("withdraw {resource}"),
        Frame::Load { resource, consumers } => format!("load {resource} {consumers}"),
        Frame::Part { part } => format!("part {part}"),
        _ => return None,
    })
}

struct Rig {
    source: Source,
    now: Instant,
    desk: Arc<Desk>,
    lines: BTreeMap<Key, Line>,
    dialled: Vec<(Key, Address)>,
}

impl Rig {
    fn new(served: Served, settings: Settings) -> Self {
        let me = Me {
            role: Role::Resource,
            instance: InstanceId(1),
            name: "test".into(),
            heartbeat: HEARTBEAT,
            key: String::new(),
            demands: String::new(),
        };
        let now = Instant::from_nanos(1);
        let settings = Settings { history: HISTORY, ..settings };
        let mut source = Source::new(me, settings, Random::from_number(1), now);
        let desk = Arc::new(Desk::default());
        source.serve(served, desk.clone()).unwrap();
        Self { source, now, desk, lines: BTreeMap::new(), dialled: Vec::new() }
    }

    fn plain() -> Self {
        let served = Served { takes_messages: true, ..Served::new("r") };
        Self::new(served, Settings::default())
    }

    fn run(&mut self) {
        while let Some(output) = self.source.poll_output() {
            match output {
                Output::Dial(key, address) => self.dialled.push((key, address)),
                Output::Send(key) => {
                    let line = self.lines.entry(key).or_insert_with(Line::new);
                    self.source.transmit(key, self.now, &mut |bytes| line.take(bytes));
                }
                Output::Close(key) => {
                    self.lines.entry(key).or_insert_with(Line::new).closed = true;
                }
            }
        }
    }

    fn pass(&mut self, span: Span) {
        let end = self.now + span;
        while let Some(at) = self.source.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.source.handle_timeout(self.now);
            self.run();
        }
        self.now = end;
    }

    fn say(&mut self, link: Key, frames: &[Frame<'_>]) {
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| put_frame(&mut bytes, frame));
        self.source.handle_received(link, &bytes, self.now);
        self.run();
    }

    fn greet(&mut self, link: Key, role: Role) {
        let hello = Frame::Hello {
            version: 1,
            role,
            instance: InstanceId(2),
            // It need not be heard for as long as a test lasts.
            heartbeat: Span::from_secs(1_000_000),
            name: "other",
            key: "",
        };
        self.say(link, &[hello]);
    }

    fn consumer(&mut self) -> Key {
        let link = self.source.handle_accepted(self.now);
        self.greet(link, Role::Consumer);
        link
    }

    fn open(&mut self, link: Key, alias: u32, subject: &str, last: Option<(Epoch, u64)>) {
        let frame = open(alias, "r", subject, last);
        self.say(link, &[frame]);
    }

    fn publish(&mut self, subject: &str, payload: &str) -> Outcome {
        let publication = Publication::new("r", subject, payload);
        self.source.publish(publication, self.now).unwrap()
    }

    fn heard(&mut self, link: Key) -> Vec<String> {
        self.run();
        std::mem::take(&mut self.lines.get_mut(&link).unwrap().heard)
    }

    fn line(&mut self, link: Key) -> &mut Line {
        self.lines.get_mut(&link).unwrap()
    }
}

fn open<'a>(
    alias: u32,
    resource: &'a str,
    subject: &'a str,
    last: Option<(Epoch, u64)>,
) -> Frame<'a> {
    let who = Who {
        session: Mid::from_number(u64::from(alias)).unwrap(),
        cid: Cid(1),
        address: "10.0.0.1:5",
        user: "ann",
        parameters: vec!["a=b"],
    };
    let last = last.map(|(ep, n)| (ep, Offset(n)));
    Frame::Open { alias: Alias(alias), resource, subject, last, who }
}

fn send<'a>(alias: u32, n: u64, payload: &'a str) -> Frame<'a> {
    let session = Mid::from_number(9).unwrap();
    let (alias, payload) = (Alias(alias), payload.as_bytes());
    Frame::Send { alias, session, cid: Cid(1), n, id: Some("x"), payload }
}

fn close(alias: u32) -> Frame<'static> {
    Frame::Close { alias: Alias(alias), end: ChannelEnd::Closed }
}

fn metrics(alias: u32, consumers: u64) -> Frame<'static> {
    Frame::Metrics { alias: Alias(alias), consumers, round_trip: 5, behind: 0 }
}

#[test]
fn messages_come_in_order_and_a_reader_goes_on_where_it_was() {
    let mut rig = Rig::plain();
    rig.publish("a", "zero");
    let link = rig.consumer();
    rig.open(link, 1, "a", None);
    rig.open(link, 2, "b", None);
    for text in ["one", "two"] {
        rig.publish("a", text);
        rig.publish("b", text);
    }
    let before = rig.line(link).writes;
    let heard = rig.heard(link);
    let expected =
        ["accept 1 Shared 2", "accept 2 Shared 1", "1:2 one", "1:3 two", "2:1 one", "2:2 two"];
    assert_eq!(heard, expected);
    assert_eq!(rig.line(link).writes, before + 1, "all in one write");
    rig.say(link, &[close(1)]);
    assert_eq!(rig.heard(link), ["close 1 closed"]);
    rig.publish("a", "three");
    assert_eq!(rig.heard(link), [""; 0]);
    // The epoch of `a` from a new open.
    rig.open(link, 1, "a", None);
    let ep = rig.line(link).ep;
    rig.say(link, &[close(1)]);
    rig.open(link, 1, "a", Some((ep, 2)));
    rig.open(link, 3, "a", Some((ep, 9)));
    let heard = rig.heard(link);
    let expected = [
        "accept 1 Shared 5",
        "close 1 closed",
        "accept 1 Shared 3",
        "1:3 two",
        "1:4 three",
        "accept 3 Shared 5",
    ];
    assert_eq!(heard, expected);
}

#[test]
fn who_falls_out_of_the_history_is_told() {
    let mut rig = Rig::plain();
    let link = rig.consumer();
    rig.open(link, 1, "a", None);
    let ep = rig.line(link).ep;
    assert_eq!(rig.heard(link), ["accept 1 Shared 1"]);
    rig.line(link).room = 0;
    rig.publish("a", "1");
    rig.run();
    // What is on the connection stays there; the rest is read when that is gone.
    rig.source.settings.waiting_bytes = 1;
    for n in 2..=9 {
        rig.publish("a", &n.to_string());
        rig.run();
    }
    rig.line(link).room = usize::MAX;
    rig.source.handle_writable(link, rig.now);
    let heard = rig.heard(link);
    assert_eq!(heard, ["1:1 1", "begin 1 6", "1:6 6", "1:7 7", "1:8 8", "1:9 9"]);
    rig.open(link, 2, "a", Some((ep, 3)));
    assert_eq!(rig.heard(link)[..2], ["accept 2 Shared 6", "2:6 6"]);
    // Age: the newest stays.
    rig.pass(Span::from_secs(61));
    rig.open(link, 3, "a", Some((ep, 3)));
    assert_eq!(rig.heard(link), ["accept 3 Shared 9", "3:9 9"]);
    assert_eq!(rig.source.history_bytes(), size_of::<Entry>() + 1);
    assert_eq!(rig.source.counts().gaps, 1);
}

#[test]
fn a_burst_reaches_who_keeps_up_also_beyond_the_history() {
    let mut rig = Rig::plain();
    let link = rig.consumer();
    rig.open(link, 1, "a", None);
    for n in 0..20_000 {
        rig.publish("a", &format!("{n:0100}"));
    }
    let heard = rig.heard(link);
    assert_eq!(heard.len(), 20_001);
    assert_eq!((rig.source.counts().gaps, rig.source.counts().sent), (0, 20_000));
    let kept = 4 * (size_of::<Entry>() + 100);
    assert_eq!(rig.source.history_bytes(), kept);
}

#[test]
fn a_slow_consumer_costs_a_bounded_number_of_bytes_and_holds_up_nobody() {
    let mut rig = Rig::plain();
    let (slow, fast) = (rig.consumer(), rig.consumer());
    for alias in 1..=5 {
        rig.open(slow, alias, &format!("s{alias}"), None);
        rig.open(fast, alias, &format!("s{alias}"), None);
    }
    rig.heard(slow);
    rig.heard(fast);
    rig.line(slow).room = 10_000;
    let payload = "x".repeat(1_000);
    for round in 0..2_000 {
        for alias in 1..=5 {
            rig.publish(&format!("s{alias}"), &payload);
        }
        assert_eq!(rig.heard(fast).len(), 5, "round {round}");
    }
    let bound = rig.source.settings.waiting_bytes + 20 * 1024;
    assert!(rig.source.links.waiting(slow) <= bound, "{}", rig.source.links.waiting(slow));
    assert!(rig.source.history_bytes() <= 5 * 4 * (1_000 + size_of::<Entry>()));
    rig.line(slow).room = usize::MAX;
    rig.source.handle_writable(slow, rig.now);
    let heard = rig.heard(slow);
    let begins = heard.iter().filter(|line| line.starts_with("begin")).count();
    assert_eq!((begins, rig.source.counts().gaps), (5, 5));
    for alias in 1..=5 {
        let of = |line: &&String| line.starts_with(&format!("{alias}:"));
        let last = heard.iter().rfind(of).unwrap();
        assert!(last.starts_with(&format!("{alias}:2000 ")));
    }
}

#[test]
fn subscriptions_of_a_connection_take_turns() {
    let mut rig = Rig::plain();
    let link = rig.consumer();
    rig.open(link, 1, "loud", None);
    rig.open(link, 2, "soft", None);
    rig.heard(link);
    for _ in 0..200 {
        rig.publish("loud", &"x".repeat(1_000));
    }
    rig.publish("soft", "hm");
    let heard = rig.heard(link);
    let at = heard.iter().position(|line| line == "2:1 hm").unwrap();
    assert!(at < 20, "behind {at} of the other");
    assert_eq!(heard.len(), 201);
}

#[test]
fn whoever_is_new_begins_at_the_state() {
    let mut rig = Rig::plain();
    for text in ["1", "2", "3"] {
        rig.publish("state", text);
        rig.publish("a", text);
    }
    let snapshot = Publication { snapshot: true, ..Publication::new("r", "a", "all") };
    rig.source.publish(snapshot, rig.now).unwrap();
    rig.publish("a", "change");
    let link = rig.consumer();
    rig.open(link, 1, "state", None);
    rig.open(link, 2, "state", Some((Epoch(5), 1)));
    rig.open(link, 3, "state9", None);
    rig.open(link, 4, "a", None);
    rig.publish("state", "4");
    let heard = rig.heard(link);
    let expected = [
        "accept 1 Shared 3",
        "1:3s 3",
        "accept 2 Shared 3",
        "2:3s 3",
        "accept 3 Shared 1",
        "accept 4 Shared 4",
        "4:4s all",
        "4:5 change",
        "1:4 4",
        "2:4 4",
    ];
    assert_eq!(heard, expected);
}

#[test]
fn only_changes_take_an_offset_where_that_was_said() {
    let mut rig = Rig::plain();
    let ep = match rig.publish("change", "a") {
        Outcome::Published(ep, Offset(1)) => ep,
        other => panic!("{other:?}"),
    };
    assert_eq!(rig.publish("change", "a"), Outcome::Unchanged);
    assert_eq!(rig.publish("change", "b"), Outcome::Published(ep, Offset(2)));
    assert_eq!(rig.publish("change", "a"), Outcome::Published(ep, Offset(3)));
    rig.publish("all", "a");
    assert!(matches!(rig.publish("all", "a"), Outcome::Published(_, Offset(2))));
    let counts = rig.source.counts();
    assert_eq!((counts.published, counts.unchanged), (5, 1));
}

#[test]
fn offsets_may_be_given_and_the_numbering_may_go_on_elsewhere() {
    let served = Served { epoch: Some(Epoch(77)), replicas: true, ..Served::new("r") };
    let mut rig = Rig::new(served, Settings::default());
    let link = rig.consumer();
    rig.open(link, 1, "a", None);
    let mut at = |n, text: &str| {
        let publication = Publication { at: Some(Offset(n)), ..Publication::new("r", "a", text) };
        rig.source.publish(publication, rig.now)
    };
    assert_eq!(at(5, "five"), Ok(Outcome::Published(Epoch(77), Offset(5))));
    assert_eq!(at(6, "six"), Ok(Outcome::Published(Epoch(77), Offset(6))));
    assert_eq!(at(6, "again"), Ok(Outcome::Repeated));
    assert_eq!(at(0, "none"), Err(SourceError::Offset(0)));
    assert_eq!(at(Offset::END, "none"), Err(SourceError::Offset(Offset::END)));
    assert_eq!(at(9, "nine"), Ok(Outcome::Published(Epoch(77), Offset(9))));
    let heard = rig.heard(link);
    let expected =
        ["accept 1 Shared 1", "begin 1 5", "1:5 five", "1:6 six", "begin 1 9", "1:9 nine"];
    assert_eq!(heard, expected);
    rig.source.begin(("r", "a"), (Epoch(78), Offset(40)), rig.now).unwrap();
    rig.publish("a", "other");
    assert_eq!(rig.heard(link), ["begin 1 40", "1:40 other"]);
    rig.open(link, 2, "a", Some((Epoch(77), 9)));
    assert_eq!(rig.heard(link), ["accept 2 Shared 41"]);
    assert_eq!(rig.line(link).ep, Epoch(78));
}

#[test]
fn beyond_its_capacity_it_takes_nobody() {
    let served = Served { capacity: 4, ..Served::new("r") };
    let mut rig = Rig::new(served, Settings::default());
    let link = rig.consumer();
    rig.open(link, 1, "a", None);
    rig.open(link, 2, "me", None);
    rig.say(link, &[metrics(1, 3), metrics(2, 7), metrics(99, 7)]);
    assert_eq!(rig.source.counts().consumers, 4, "a private channel has one");
    rig.open(link, 3, "b", None);
    rig.say(link, &[metrics(1, 2)]);
    rig.open(link, 3, "b", None);
    let other = rig.consumer();
    rig.open(other, 1, "a", None);
    assert_eq!(rig.heard(other), ["deny 1 no-instance"]);
    rig.source.handle_failed(link, rig.now);
    assert_eq!(rig.source.counts().consumers, 0);
    rig.open(other, 1, "a", None);
    assert_eq!(rig.heard(other), ["accept 1 Shared 1"]);
    let heard = &rig.line(link).heard;
    assert_eq!(heard[..2], ["accept 1 Shared 1", "accept 2 Private 1"]);
    assert_eq!(heard[3..], ["deny 3 no-instance", "accept 3 Shared 1"]);
    let noted = rig.desk.noted();
    assert!(noted.contains(&"a has 3, private: false".into()), "{noted:?}");
    assert!(noted.contains(&"me has 7, private: true".into()), "{noted:?}");
}

#[test]
fn a_private_channel_is_a_conversation() {
    let mut rig = Rig::plain();
    let link = rig.consumer();
    rig.open(link, 1, "me", Some((Epoch(3), 8)));
    rig.open(link, 2, "me", None);
    let skipped = Frame::Skipped {
        alias: Alias(1),
        session: Mid::from_number(9).unwrap(),
        cid: Cid(1),
        from: 2,
        to: 4,
    };
    rig.say(link, &[send(1, 1, "hi"), skipped, send(1, 5, "end"), send(1, 6, "late")]);
    let heard = rig.heard(link);
    let expected = [
        "accept 1 Private 1",
        "1:1 hello",
        "accept 2 Private 1",
        "2:1 hello",
        "taken 3",
        "1:2 re hi",
        "1:3 re end",
        "close 1 gone",
        // What came too late was not taken: its count comes behind the `Close`.
        "taken 4",
    ];
    assert_eq!(heard, expected);
    let noted = rig.desk.noted();
    let expected = [
        "opened me 1",
        "opened me 2",
        "me 1 Some(\"x\") hi",
        "me skipped 2 4",
        "me 5 Some(\"x\") end",
        "closed me 1",
    ];
    assert_eq!(noted, expected);
    // What crosses the `Close` is counted; the alias is free behind the other end's own.
    rig.say(link, &[send(1, 7, "later"), close(1)]);
    rig.open(link, 1, "me", None);
    assert_eq!(rig.heard(link), ["taken 5", "accept 1 Private 1", "1:1 hello"]);
    let counts = rig.source.counts();
    assert_eq!((counts.messages, counts.skipped, counts.strays), (2, 3, 2));
    rig.source.handle_failed(link, rig.now);
    rig.run();
    assert_eq!(rig.desk.noted(), ["opened me 1", "closed me 1", "closed me 2"]);
    assert_eq!(rig.source.counts().topics, 1, "what was published to `heard` stays");
}

#[test]
fn what_a_private_channel_has_sent_is_not_kept() {
    let mut rig = Rig::plain();
    let link = rig.consumer();
    rig.open(link, 1, "me", None);
    rig.say(link, &[send(1, 1, "a"), send(1, 2, "b"), send(1, 3, "c")]);
    let channel = Channel(rig.source.lanes[&link].cursor(Alias(1)).unwrap().topic);
    rig.source.reply(channel, "more", rig.now).unwrap();
    rig.run();
    assert_eq!(rig.source.topics.get(channel.0).unwrap().log.len(), 1);
    rig.source.end(channel, rig.now);
    rig.run();
    assert_eq!(rig.source.reply(channel, "late", rig.now), Err(SourceError::NoChannel));
    assert_eq!(rig.heard(link).last().unwrap(), "close 1 gone");
}

#[test]
fn the_handler_learns_which_subjects_somebody_reads() {
    let mut rig = Rig::plain();
    let (one, two) = (rig.consumer(), rig.consumer());
    rig.open(one, 1, "eager", None);
    rig.open(two, 1, "eager", None);
    assert_eq!(rig.heard(one), ["accept 1 Shared 1", "1:1 at once"]);
    assert_eq!(rig.heard(two), ["accept 1 Shared 2"]);
    assert!(rig.source.is_demanded("r", "eager") && !rig.source.is_demanded("r", "b"));
    rig.say(one, &[close(1)]);
    rig.source.handle_failed(two, rig.now);
    assert_eq!(rig.desk.noted(), ["begins eager", "ends eager"]);
    rig.open(one, 1, "idle", None);
    rig.say(one, &[close(1)]);
    assert_eq!(rig.desk.noted(), ["begins idle", "ends idle"]);
    assert_eq!(rig.source.counts().topics, 1, "nobody misses a subject without a message");
    rig.open(one, 1, "eager", None);
    rig.source.close("r", "eager", rig.now).unwrap();
    rig.heard(one);
    rig.say(one, &[close(1)]);
    assert_eq!(rig.desk.noted(), ["begins eager", "ends eager"]);
    assert_eq!(rig.source.counts().topics, 0);
}

#[test]
fn a_subject_that_is_closed_ends_behind_its_last_message_and_begins_anew_in_another_epoch() {
    let served = Served { epoch: Some(Epoch(77)), ..Served::new("r") };
    let mut rig = Rig::new(served, Settings::default());
    let link = rig.consumer();
    rig.open(link, 1, "a", None);
    rig.publish("a", "last");
    rig.source.close("r", "a", rig.now).unwrap();
    assert_eq!(rig.publish("a", "first"), Outcome::Published(Epoch(78), Offset(1)));
    assert_eq!(rig.heard(link), ["accept 1 Shared 1", "1:1 last", "close 1 gone"]);
    rig.say(link, &[close(1)]);
    rig.open(link, 1, "a", Some((Epoch(77), 1)));
    assert_eq!(rig.heard(link), ["accept 1 Shared 2"]);
}

#[test]
fn what_cannot_be_read_is_denied() {
    let mut rig = Rig::plain();
    let link = rig.consumer();
    rig.say(link, &[open(1, "no", "a", None), open(2, "r", "closed", None)]);
    rig.say(link, &[open(3, "r", "a\nb", None), open(4, "r", "old", None)]);
    rig.publish("new", "x");
    rig.say(link, &[close(1)]);
    let heard = rig.heard(link);
    let expected = [
        "deny 1 no-resource",
        "deny 2 forbidden",
        "deny 3 bad-request",
        "accept 4 Other(\"new\") 1",
        "4:1 x",
    ];
    assert_eq!(heard, expected);
    assert_eq!((rig.source.counts().accepted, rig.source.counts().denied), (1, 3));
    let no_message = Publication::new("no", "a", "x");
    let error = rig.source.publish(no_message, rig.now).unwrap_err();
    assert_eq!(error.to_string(), "there is no resource no here");
    let large = Publication::new("r", "a", vec![0; PAYLOAD_BYTES_MAX + 1]);
    let error = rig.source.publish(large, rig.now).unwrap_err();
    assert_eq!(error.to_string(), "a payload is at most 65536 bytes, not 65537");
}

#[test]
fn what_is_not_of_the_protocol_ends_the_connection() {
    let doubled = [open(1, "r", "a", None), open(1, "r", "a", None)];
    let wrong = [Frame::Taken { count: 1 }];
    let cases: [(&[Frame<'_>], &str); 2] = [
        (&doubled[..], "bye: an alias that is in use"),
        (&wrong[..], "bye: that is not for a consumer to say"),
    ];
    for (frames, bye) in cases {
        let mut rig = Rig::plain();
        let link = rig.consumer();
        rig.say(link, frames);
        assert_eq!(rig.heard(link).last().unwrap(), bye);
        assert!(rig.line(link).closed);
        assert_eq!((rig.source.counts().consumers, rig.source.counts().connections), (0, 0));
    }
    let mut rig = Rig::plain();
    let link = rig.source.handle_accepted(rig.now);
    rig.greet(link, Role::Registry);
    assert!(rig.heard(link)[0].starts_with("bye: neither"));
}

fn registered() -> (Rig, Key, Key) {
    let settings = Settings {
        registries: vec!["127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()],
        dial: vec!["127.0.0.1:3".parse().unwrap()],
        addresses: vec!["unix:/run/r".parse().unwrap()],
        retry: Span::from_millis(250),
        ..Settings::default()
    };
    let mut rig = Rig::new(Served { weight: 7, ..Served::new("r") }, settings);
    rig.run();
    let keys: Vec<_> = rig.dialled.drain(..).map(|(key, _)| key).collect();
    rig.source.handle_connected(keys[0], rig.now);
    rig.greet(keys[0], Role::Registry);
    rig.source.handle_connected(keys[2], rig.now);
    rig.greet(keys[2], Role::Consumer);
    rig.source.handle_failed(keys[1], rig.now);
    assert_eq!(rig.heard(keys[2]), ["part 0", "register r 7 at []"]);
    (rig, keys[0], keys[2])
}

#[test]
fn registries_and_consumers_are_dialled_for_ever() {
    let (mut rig, registry, consumer) = registered();
    assert_eq!(rig.heard(registry), ["register r 7 at [\"unix:/run/r\"]"]);
    rig.open(consumer, 1, "a", None);
    assert_eq!(rig.heard(consumer), ["accept 1 Shared 1"]);
    for _ in 0..20 {
        rig.pass(Span::from_millis(250));
        let (key, address) = rig.dialled.pop().unwrap();
        assert_eq!((address.to_string().as_str(), rig.dialled.len()), ("127.0.0.1:2", 0));
        rig.source.handle_failed(key, rig.now);
    }
    rig.source.handle_failed(registry, rig.now);
    rig.source.handle_failed(consumer, rig.now);
    rig.pass(Span::from_millis(250));
    assert_eq!(rig.dialled.len(), 3);
    assert_eq!(rig.source.counts().registries, 0);
}

#[test]
fn registries_learn_how_many_read_once_in_a_heartbeat() {
    let (mut rig, registry, consumer) = registered();
    rig.heard(registry);
    rig.open(consumer, 1, "a", None);
    assert_eq!(rig.heard(registry), ["load r 1"]);
    for count in [5, 6, 7] {
        rig.say(consumer, &[metrics(1, count)]);
    }
    assert_eq!(rig.heard(registry), [""; 0]);
    rig.pass(HEARTBEAT - Span::from_millis(1));
    assert_eq!(rig.heard(registry), [""; 0]);
    rig.pass(Span::from_millis(1));
    assert_eq!(rig.heard(registry), ["load r 7"]);
    rig.pass(HEARTBEAT.times(3));
    assert_eq!(rig.heard(registry), [""; 0]);
    rig.source.set_addresses(&["127.0.0.1:9".parse().unwrap()], rig.now);
    let served = Served::new("s");
    rig.source.serve(served.clone(), rig.desk.clone()).unwrap();
    let again = rig.source.serve(served, rig.desk.clone()).unwrap_err();
    assert_eq!(again, SourceError::Doubled("s".into()));
    let at = "at [\"127.0.0.1:9\"]";
    assert_eq!(rig.heard(registry), [format!("register r 7 {at}"), format!("register s 1 {at}")]);
}

#[test]
fn a_resource_that_is_withdrawn_serves_on_until_its_consumers_had_time_to_move() {
    let (mut rig, registry, consumer) = registered();
    rig.open(consumer, 1, "a", None);
    rig.open(consumer, 2, "b", None);
    rig.source.withdraw("r", rig.now).unwrap();
    rig.publish("a", "on");
    rig.open(consumer, 3, "c", None);
    let heard = rig.heard(consumer);
    assert_eq!(heard[2..], ["withdraw r", "deny 3 no-instance", "1:1 on"]);
    rig.say(consumer, &[close(2)]);
    rig.heard(consumer);
    rig.pass(Span::from_secs(11));
    assert_eq!(rig.heard(consumer), ["close 1 gone"]);
    assert_eq!(
        rig.heard(registry),
        ["register r 7 at [\"unix:/run/r\"]", "load r 1", "withdraw r"]
    );
}

#[test]
fn a_source_that_stops_takes_leave_when_nobody_reads_any_more() {
    let (mut rig, registry, consumer) = registered();
    rig.open(consumer, 1, "a", None);
    rig.source.leave(Span::from_secs(10), rig.now);
    rig.run();
    assert!(!rig.source.is_over());
    rig.say(consumer, &[close(1)]);
    let bye = "bye: this resource server stops";
    assert_eq!(rig.heard(consumer).last().unwrap(), bye);
    assert_eq!(rig.heard(registry).last().unwrap(), bye);
    assert!(rig.source.is_over());
    rig.pass(Span::from_secs(60));
    assert!(rig.dialled.is_empty(), "nobody is dialled any more");
    let late = Publication::new("r", "a", "x");
    assert_eq!(rig.source.publish(late, rig.now), Err(SourceError::Stopped));

    let (mut rig, _, consumer) = registered();
    rig.open(consumer, 1, "a", None);
    rig.publish("a", "last words");
    rig.source.leave(Span::ZERO, rig.now);
    let heard = rig.heard(consumer);
    assert_eq!(heard[1..], ["withdraw r", "1:1 last words", bye]);
    assert_eq!(rig.desk.noted(), ["begins a", "ends a"]);
    assert_eq!(rig.source.counts().consumers, 0);
}

/// A source that has dialled a consumer; the connection of part 0.
fn dialled() -> (Rig, Key) {
    let settings = Settings {
        dial: vec!["127.0.0.1:3".parse().unwrap()],
        retry: Span::from_millis(250),
        ..Settings::default()
    };
    let mut rig = Rig::new(Served::new("r"), settings);
    rig.run();
    let (key, _) = rig.dialled.pop().unwrap();
    rig.reach(key);
    assert_eq!(rig.heard(key), ["part 0", "register r 1 at []"]);
    (rig, key)
}

impl Rig {
    fn reach(&mut self, key: Key) {
        self.source.handle_connected(key, self.now);
        self.greet(key, Role::Consumer);
    }

    /// The connections that were dialled since, by part.
    fn parts(&mut self) -> Vec<Key> {
        self.run();
        self.dialled.drain(..).map(|(key, _)| key).collect()
    }
}

#[test]
fn each_part_of_a_consumer_that_was_dialled_has_a_connection_of_its_own() {
    let (mut rig, first) = dialled();
    rig.say(first, &[Frame::Parts { parts: 3 }]);
    let parts = rig.parts();
    assert_eq!(parts.len(), 2);
    for (part, key) in (1..).zip(&parts) {
        rig.reach(*key);
        assert_eq!(rig.heard(*key), [format!("part {part}"), "register r 1 at []".into()]);
        rig.say(*key, &[Frame::Parts { parts: 3 }]);
    }
    assert!(rig.parts().is_empty());
    // A resource that is served later on is told to all of them, and so is another handle.
    rig.source.serve(Served::new("s"), rig.desk.clone()).unwrap();
    for key in [first, parts[0], parts[1]] {
        assert_eq!(rig.heard(key), ["register s 1 at []"]);
    }
    // One that is lost is dialled again, alone.
    rig.source.handle_failed(parts[1], rig.now);
    rig.pass(Span::from_millis(250));
    let again = rig.parts();
    assert_eq!(again.len(), 1);
    rig.reach(again[0]);
    let heard = rig.heard(again[0]);
    assert_eq!(heard, ["part 2", "register r 1 at []", "register s 1 at []"]);
    assert_eq!(rig.source.counts().connections, 3);
}

#[test]
fn a_consumer_that_was_started_anew_may_have_other_parts() {
    let (mut rig, mut first) = dialled();
    for (before, after) in [(1, 3), (3, 2), (2, 1), (1, 2)] {
        rig.say(first, &[Frame::Parts { parts: before }]);
        for key in rig.parts() {
            rig.reach(key);
        }
        let links: Vec<Key> = rig.source.lanes.keys().copied().collect();
        assert_eq!(links.len(), before as usize);
        links.iter().for_each(|link| rig.source.handle_failed(*link, rig.now));
        // It is away for a while: one attempt at a time.
        for _ in 0..3 {
            rig.pass(Span::from_millis(250));
            let key = rig.parts();
            assert_eq!(key.len(), 1);
            rig.source.handle_failed(key[0], rig.now);
        }
        rig.pass(Span::from_millis(250));
        first = rig.parts()[0];
        rig.reach(first);
        assert_eq!(rig.heard(first)[0], "part 0");
        rig.say(first, &[Frame::Parts { parts: after }]);
    }
}

#[test]
fn a_part_that_there_is_no_longer_is_left() {
    let (mut rig, first) = dialled();
    rig.say(first, &[Frame::Parts { parts: 3 }]);
    let parts = rig.parts();
    rig.reach(parts[0]);
    rig.say(first, &[Frame::Parts { parts: 1 }]);
    assert_eq!(rig.heard(parts[0]).last().unwrap(), "bye: there is no such part any more");
    rig.pass(Span::from_secs(60));
    assert_eq!((rig.parts().len(), rig.source.counts().connections), (0, 1));
    // Nobody else says of how many parts it consists.
    let other = rig.consumer();
    rig.say(other, &[Frame::Parts { parts: 2 }]);
    assert_eq!(rig.heard(other), ["bye: parts are for who has dialled"]);
}

#[test]
fn a_connection_that_was_attached_begins_like_one_that_was_dialled_and_ends_for_good() {
    let mut rig = Rig::plain();
    let link = rig.source.handle_attached(4, rig.now);
    rig.greet(link, Role::Consumer);
    assert_eq!(rig.heard(link), ["part 4", "register r 1 at []"]);
    rig.say(link, &[Frame::Parts { parts: 9 }]);
    rig.open(link, 1, "a", None);
    assert_eq!(rig.heard(link), ["accept 1 Shared 1"]);
    rig.source.handle_failed(link, rig.now);
    rig.pass(Span::from_secs(60));
    assert_eq!((rig.parts().len(), rig.source.counts().connections), (0, 0));
}

#[test]
fn a_consumer_that_is_about_to_end_is_served_on_and_its_successor_dialled() {
    let (mut rig, first) = dialled();
    rig.open(first, 1, "a", None);
    rig.say(first, &[Frame::Parts { parts: 0 }]);
    assert!(rig.parts().is_empty(), "it still listens, maybe");
    rig.pass(Span::from_millis(250));
    let next = rig.parts();
    assert_eq!(next.len(), 1);
    rig.reach(next[0]);
    rig.publish("a", "both");
    assert_eq!(rig.heard(first), ["accept 1 Shared 1", "1:1 both"]);
    assert_eq!(rig.source.counts().connections, 2);
    rig.source.handle_failed(first, rig.now);
    rig.pass(Span::from_secs(60));
    assert_eq!((rig.parts().len(), rig.source.counts().connections), (0, 1));
}

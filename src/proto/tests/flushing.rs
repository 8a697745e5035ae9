//! Documents whose messages wait for more, or for their rate.

use std::sync::Arc;

use crate::base::time::Span;
use crate::proto::connection::{Door, Gate};
use crate::proto::directory::Directory;
use crate::proto::resource::{Actions, Consumer, Decision, Message, Resource, TopicOptions};
use crate::proto::settings::{History, Settings};
use crate::proto::tests::sends::Desk;
use crate::proto::tests::{Pack, frames};

fn millis(n: u64) -> Span {
    Span::from_millis(n)
}

fn gate(flush: u64) -> Gate {
    Gate { flush: Some(millis(flush).into()), ..Door::Public.into() }
}

/// Is read as its readers like.
#[derive(Debug)]
pub struct Quotes;

impl Resource for Quotes {
    fn open(&self, subject: &str, _: &Consumer) -> Decision {
        Decision::Shared(self.options(subject))
    }

    fn message(&self, _: &Message<'_>, _: &mut Actions) {}

    fn options(&self, _: &str) -> TopicOptions {
        TopicOptions { latest: true, ..TopicOptions::default() }
    }
}

/// The flush span that an identity frame tells.
fn told(frames: &[String]) -> u64 {
    let identity = frames.iter().find(|frame| frame.starts_with("<p i ")).unwrap();
    identity
        .split(" f=")
        .nth(1)
        .map_or(0, |rest| rest.split([' ', '>']).next().unwrap().parse().unwrap())
}

/// The payloads of messages.
fn payloads(frames: &[String]) -> Vec<&str> {
    let messages = frames.iter().filter(|frame| frame.starts_with("<p c="));
    messages.map(|frame| frame.split_once('>').unwrap().1).collect()
}

/// A pack with a publisher and a first message on `fx/A`, and a document that reads it.
fn reading(settings: Settings, query: &str) -> (Pack, usize, usize, String) {
    let mut directory = Directory::default();
    directory.add("desk", Arc::new(Desk::default())).unwrap();
    directory.add("fx", Arc::new(Quotes)).unwrap();
    let mut pack = Pack::new(1, settings, directory);
    let publisher = pack.connect(0, Door::Private);
    pack.post(publisher, "/publish/fx/A", "0");
    let (reader, seen, me) = pack.document(0, query);
    assert!(seen.iter().any(|frame| frame.contains(" u=fx/A ")), "{seen:?}");
    pack.fresh(reader);
    (pack, publisher, reader, me)
}

#[test]
fn the_request_wins_over_the_session_over_the_listener_over_the_server() {
    let settings = |flush| Settings { flush: millis(flush), ..Settings::default() };
    // (server, listener, query) and what is told.
    let cases = [
        (0, None, "", 0),
        (30, None, "", 30),
        (30, Some(40), "", 40),
        (30, Some(0), "", 0),
        (30, Some(40), "flush=50", 50),
        (30, Some(40), "flush=0", 0),
        // Within the limit, and half of the interval in force.
        (0, None, "flush=1001", 1_000),
        (0, None, "flush=18446744073709551615", 1_000),
        (0, None, "flush=900&h=1000", 500),
        (0, None, "flush=900&h=1", 250),
        (900, None, "h=501", 250),
        (0, Some(900), "h=1000", 500),
    ];
    for (server, listener, query, expected) in cases {
        let mut pack = Pack::new(2, settings(server), Directory::default());
        let peer = match listener {
            Some(flush) => pack.connect(0, gate(flush)),
            None => pack.connect(0, Door::Public),
        };
        let seen = frames(&pack.get(peer, &format!("/ahm/mux.html?{query}")));
        assert_eq!(told(&seen), expected, "{server} {listener:?} {query}");
    }
    let none = Settings { flush_max: Span::ZERO, ..settings(0) };
    let seen = Pack::new(1, none, Directory::default()).document(0, "flush=50").1;
    assert_eq!(told(&seen), 0);
}

#[test]
fn a_session_keeps_what_it_asked_for_and_documents_without_a_word_their_listeners() {
    let mut pack = Pack::new(2, Settings::default(), Directory::default());
    let (_, seen, me) = pack.document(1, "h=500");
    assert_eq!(told(&seen), 0);
    let mut next = |gate: Gate, command: &str| {
        // The session lives on shard 1, and the connection walks there with what it brings.
        let peer = pack.connect(0, gate);
        told(&frames(&pack.get(peer, &format!("/ahm/{command}&{me}&last="))))
    };
    let plain = Gate::from(Door::Public);
    assert_eq!(next(gate(40), "mux.html?dup=1"), 40);
    assert_eq!(next(plain, "refresh.html?"), 0, "the session itself has named none");
    assert_eq!(next(gate(40), "refresh.html?flush=300"), 250);
    assert_eq!(next(gate(40), "refresh.html?"), 250);
    assert_eq!(next(plain, "refresh.html?dup=1&d=2"), 250);
    // What was asked for is kept, not what its bounds made of it.
    assert_eq!(next(plain, "refresh.html?h=1000"), 300);
    assert_eq!(next(gate(40), "refresh.html?flush=0"), 0);
    assert_eq!(next(gate(40), "refresh.html?"), 0);
}

#[test]
fn messages_go_out_together_when_the_first_has_waited_for_the_span() {
    let (mut pack, publisher, reader, _) = reading(Settings::default(), "open=fx/A&flush=100");
    for round in 0..3 {
        for n in ["1", "2", "3"] {
            pack.post(publisher, "/publish/fx/A", n);
            pack.pass(millis(33));
            // The socket says that it takes bytes, which nobody has doubted.
            pack.give_room(reader, None);
            assert_eq!(pack.text(reader), "", "round {round}: {n} waits");
        }
        pack.pass(millis(2));
        // A chunk is a line with its size, the frames, and an empty line.
        assert_eq!(pack.text(reader).matches("\r\n").count(), 2, "{}", pack.text(reader));
        assert_eq!(payloads(&pack.fresh(reader)), ["1", "2", "3"]);
        pack.hubs[0].check_invariants().unwrap();
    }
}

#[test]
fn what_concerns_one_document_goes_out_at_once_and_takes_along_what_waits() {
    let cases = [
        ("open?resource=fx&subject=B", "<p o "),
        ("close?cid=1", "<p x c=1 "),
        ("ping?h=20000", "<p h=20000 "),
        // The second number is held; the first releases it, and that is told.
        ("send?cid=2&n=1&data=x", "<p a c=2 n=2 e=taken>"),
    ];
    for (command, frame) in cases {
        let query = "open=fx/A&open=fx/C;cid=1&open=desk/;cid=2&flush=1000";
        let (mut pack, publisher, reader, me) = reading(Settings::default(), query);
        let line = pack.connect(0, Door::Public);
        pack.get(line, &format!("/ahm/send?cid=2&n=2&data=y&{me}"));
        pack.fresh(reader);
        pack.post(publisher, "/publish/fx/A", "1");
        assert_eq!(pack.fresh(reader).len(), 0);
        pack.get(line, &format!("/ahm/{command}&{me}"));
        let seen = pack.fresh(reader);
        assert!(seen.iter().any(|seen| seen.starts_with(frame)), "{command}: {seen:?}");
        assert_eq!(payloads(&seen), ["1"], "{command}: {seen:?}");
    }
}

#[test]
fn whoever_goes_or_must_go_leaves_with_what_waits() {
    type End = fn(&mut Pack);
    let ends: [(&str, End); 2] = [
        ("<p z e=shutdown ", |pack| pack.handle_all(|hub, now| hub.handle_shutdown(now))),
        ("<p m e=drain ", |pack| pack.handle_all(|hub, now| hub.handle_drain(millis(9_000), now))),
    ];
    for (frame, end) in ends {
        let (mut pack, publisher, reader, _) = reading(Settings::default(), "open=fx/A&flush=1000");
        pack.post(publisher, "/publish/fx/A", "1");
        end(&mut pack);
        let seen = pack.fresh(reader);
        assert!(seen.iter().any(|seen| seen.starts_with(frame)), "{seen:?}");
        assert_eq!(payloads(&seen), ["1"]);
    }
    // The predecessor of a refreshed document, when its time is over.
    let (mut pack, publisher, reader, me) =
        reading(Settings::default(), "open=fx/A&h=2000&flush=1000");
    let line = pack.connect(0, Door::Public);
    pack.get(line, &format!("/ahm/refresh.html?{me}&last="));
    pack.fresh(reader);
    pack.pass(millis(1_900));
    pack.fresh(reader);
    pack.post(publisher, "/publish/fx/A", "1");
    pack.pass(millis(110));
    let seen = pack.fresh(reader);
    assert_eq!((payloads(&seen), seen.last().unwrap().as_str()), (vec!["1"], "<p z e=refreshed>"));
}

#[test]
fn heartbeats_are_in_time_whatever_waits() {
    // Every 300 ms a message that may wait for 250: the stream is never quiet for an interval.
    let (mut pack, publisher, reader, _) =
        reading(Settings::default(), "open=fx/A&h=500&flush=1000");
    let (mut heard, mut beat, mut waited) = (pack.now, pack.now, 0);
    for step in 0..2_000 {
        if step % 30 == 0 {
            pack.post(publisher, "/publish/fx/A", "x");
        }
        pack.pass(millis(10));
        let seen = pack.fresh(reader);
        waited += usize::from(!seen.is_empty());
        if !seen.is_empty() {
            heard = pack.now;
        }
        if seen.iter().any(|frame| frame.starts_with("<p h=")) {
            beat = pack.now;
        }
        assert!(pack.now.since(heard) <= millis(510), "silent since {heard:?}");
        assert!(pack.now.since(beat) <= millis(2_010), "no heartbeat since {beat:?}");
    }
    assert!((60..100).contains(&waited), "{waited} writes for 67 messages");
}

#[test]
fn a_shorter_interval_shortens_the_wait_and_a_longer_one_brings_it_back() {
    let (mut pack, publisher, reader, me) =
        reading(Settings::default(), "open=fx/A&h=2000&flush=900");
    let line = pack.connect(0, Door::Public);
    for (h, wait) in [(500, 250), (1_000, 500), (60_000, 900)] {
        pack.get(line, &format!("/ahm/ping?{me}&h={h}"));
        pack.fresh(reader);
        pack.post(publisher, "/publish/fx/A", "x");
        pack.pass(millis(wait - 1));
        assert_eq!(payloads(&pack.fresh(reader)).len(), 0, "{h}");
        pack.pass(millis(2));
        assert_eq!(payloads(&pack.fresh(reader)).len(), 1, "{h}");
    }
}

/// What a reader whose messages may wait for a second sees of `batches`, published 10 ms apart.
fn read_slowly(history: History, channel: &str, batches: &[usize]) -> (Vec<String>, usize) {
    let settings = Settings { history, ..Settings::default() };
    let (mut pack, publisher, reader, _) = reading(settings, &format!("{channel}&flush=1000"));
    let (mut seen, mut total, mut writes) = (Vec::new(), 0, 0);
    for &batch in batches {
        let lines: Vec<_> = (0..batch).map(|n| format!("A\t{}", total + n + 1)).collect();
        total += batch;
        pack.post(publisher, "/publish?resource=fx", &lines.join("\n"));
        for _ in 0..2 {
            let fresh = pack.fresh(reader);
            writes += usize::from(!fresh.is_empty());
            seen.extend(fresh);
            pack.pass(millis(5));
        }
        pack.hubs[0].check_invariants().unwrap();
    }
    pack.pass(millis(1_000));
    seen.extend(pack.fresh(reader));
    (seen, writes)
}

#[test]
fn who_waits_loses_nothing_that_who_does_not_would_have() {
    let roomy = History::default();
    let histories = [
        History { messages_max: 1, ..roomy },
        History { messages_max: 8, ..roomy },
        History { bytes_max: 400, ..roomy },
        History { age_max: Span::ZERO, ..roomy },
        History { age_max: millis(30), ..roomy },
    ];
    // Trickles, and bursts that are larger than all that is kept, upon something that waits.
    let batches = [vec![1; 60], [1, 1, 30, 1, 2, 1, 40, 30, 1].repeat(3)];
    for history in histories {
        for (batches, strict) in batches.iter().flat_map(|b| [(b, ""), (b, ";strict=1")]) {
            let (seen, _) = read_slowly(history, &format!("open=fx/A{strict}"), batches);
            let total: usize = batches.iter().sum();
            let expected: Vec<_> = (1..=total).map(|n| n.to_string()).collect();
            assert_eq!(payloads(&seen), expected, "{history:?}");
            let told =
                seen.iter().any(|frame| frame.starts_with("<p g") || frame.starts_with("<p x"));
            assert!(!told, "{history:?}");
        }
    }
}

#[test]
fn half_of_what_the_history_keeps_is_as_much_as_waits() {
    let history = History { messages_max: 20, ..History::default() };
    let (seen, writes) = read_slowly(history, "open=fx/A", &[1; 95]);
    assert_eq!((payloads(&seen).len(), writes), (95, 9));
    // Who passes over messages has no need to hurry.
    for channel in ["open=fx/A;mode=latest", "open=fx/A;rate=1000"] {
        let (seen, writes) = read_slowly(history, channel, &[1; 95]);
        assert_eq!((payloads(&seen), writes), (vec!["95"], 0), "{channel}");
    }
}

#[test]
fn many_short_waits_leave_nothing_behind() {
    for query in ["open=fx/A&flush=20", "open=fx/A;rate=50", "open=fx/A;rate=50&flush=20"] {
        let (mut pack, publisher, reader, _) = reading(Settings::default(), query);
        let mut run = |posts| {
            for _ in 0..posts {
                pack.post(publisher, "/publish/fx/A", "x");
                pack.pass(millis(10));
                pack.received[reader].clear();
            }
            pack.hubs[0].check_invariants().unwrap();
            pack.hubs[0].memory()
        };
        let (early, late) = (run(400), run(2_000));
        assert!(late < early + 1_000, "{query}: {early} bytes, and then {late}");
    }
}

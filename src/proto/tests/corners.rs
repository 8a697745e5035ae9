//! Opening a channel twice, opens that are refused late, strict channels that history has passed.

use std::sync::Arc;

use crate::base::name::TopicName;
use crate::base::time::Span;
use crate::proto::connection::Door;
use crate::proto::directory::Directory;
use crate::proto::resource::{Actions, Consumer, Decision, Message, Resource, TopicOptions};
use crate::proto::settings::{History, Settings};
use crate::proto::tests::{Pack, attribute, frames};

/// Two shards, the shard that is not the home of `fx/A`, and a publisher.
fn away_from_home() -> (Pack, usize, usize) {
    let mut pack = Pack::new(2, Settings::default(), Directory::default());
    let home = pack.hubs[0].home_of(&TopicName::new("fx", "A").unwrap()).index();
    let publisher = pack.connect(0, Door::Private);
    for name in ["A", "B"] {
        pack.post(publisher, &format!("/publish/fx/{name}"), "1");
    }
    (pack, 1 - home, publisher)
}

/// The bodies of the answers to requests that arrive together, before any home is asked.
fn together(pack: &mut Pack, line: usize, me: &str, commands: &[&str]) -> Vec<String> {
    pack.get(line, &format!("/ahm/ping?{me}"));
    pack.received[line].clear();
    let (shard, conn) = pack.conns[line].unwrap();
    let get = |what: &&str| format!("GET /ahm/{what}&{me} HTTP/1.1\r\nHost: x\r\n\r\n");
    let requests: String = commands.iter().map(get).collect();
    pack.hubs[shard].handle_received(conn, requests.as_bytes(), pack.now);
    pack.drain();
    let text = pack.text(line);
    let answers = text.split("HTTP/1.1 ").skip(1);
    answers.map(|answer| answer.split("\r\n\r\n").nth(1).unwrap().to_string()).collect()
}

#[test]
fn the_same_open_twice_before_the_home_has_ruled_is_one_channel() {
    let (mut pack, shard, publisher) = away_from_home();
    let twice = "open=fx/A;cid=5&open=fx/A;cid=5&open=fx/B&open=fx/B";
    let (reader, seen, me) = pack.document(shard, twice);
    assert_eq!(seen.iter().filter(|frame| frame.starts_with("<p o ")).count(), 2, "{seen:?}");
    assert!(!seen.iter().any(|frame| frame.starts_with("<p x ")), "{seen:?}");
    pack.fresh(reader);
    pack.post(publisher, "/publish/fx/A", "2");
    assert_eq!(pack.fresh(reader), ["<p c=5 n=2>2"]);
    // By commands each is answered, and with the same.
    let line = pack.connect(shard, Door::Public);
    let open = "open?resource=fx&subject=A&cid=6";
    let answers = together(&mut pack, line, &me, &[open, open, open]);
    assert_eq!(answers.len(), 3);
    assert!(answers.iter().all(|answer| answer.contains("\"cid\":6,")), "{answers:?}");
    assert!(answers[0] == answers[1] && answers[1] == answers[2], "{answers:?}");
    assert_eq!(pack.fresh(reader).len(), 1, "it is opened once");
}

#[test]
fn another_topic_on_a_number_that_is_being_opened_is_a_conflict() {
    let (mut pack, shard, _) = away_from_home();
    let (reader, seen, me) = pack.document(shard, "open=fx/A;cid=5&open=fx/B;cid=5");
    assert!(seen.contains(&"<p x c=5 u=fx/B e=denied>".into()), "{seen:?}");
    assert!(seen.iter().any(|frame| frame.starts_with("<p o c=5 u=fx/A ")), "{seen:?}");
    pack.fresh(reader);
    let line = pack.connect(shard, Door::Public);
    let [a, b] = ["A", "B"].map(|name| format!("open?resource=fx&subject={name}&cid=6"));
    let answers = together(&mut pack, line, &me, &[&a, &b, &a]);
    assert!(answers[0].contains("\"cid\":6,") && answers[2] == answers[0], "{answers:?}");
    assert!(answers[1].contains("\"error\":\"conflict\""), "{answers:?}");
}

#[test]
fn all_who_wait_for_an_open_hear_that_it_failed_or_was_called_off() {
    let (mut pack, shard, _) = away_from_home();
    let (_, _, me) = pack.document(shard, "");
    let line = pack.connect(shard, Door::Public);
    let none = "open?resource=none&subject=A&cid=6";
    for (commands, code) in [
        (vec![none, none], "no-resource"),
        (
            vec![
                "open?resource=fx&subject=A&cid=6",
                "open?resource=fx&subject=A&cid=6",
                "close?cid=6",
            ],
            "no-channel",
        ),
    ] {
        let answers = together(&mut pack, line, &me, &commands);
        assert_eq!(answers.len(), commands.len(), "{answers:?}");
        for answer in &answers[..2] {
            assert!(answer.contains(&format!("\"error\":\"{code}\"")), "{answers:?}");
        }
    }
    let answers = together(&mut pack, line, &me, &["open?resource=fx&subject=A&cid=6"]);
    assert!(answers[0].contains("\"cid\":6,"), "{answers:?}");
}

#[test]
fn a_document_that_falls_behind_takes_no_strict_channel_from_another() {
    for (query, end) in [("dup=1&", "stale"), ("", "refreshed")] {
        let (mut pack, publisher) = short_history();
        let (slow, _, me) = pack.document(0, "open=fx/A;cid=5;strict=1");
        let fast = pack.connect(0, Door::Public);
        let seen = frames(&pack.get(fast, &format!("/ahm/mux.html?{query}{me}&last=5:e:9")));
        assert_eq!(seen.len(), 2, "{seen:?}");
        pack.fresh(slow);
        pack.fresh(fast);
        pack.rooms[slow] = Some(0);
        for n in 10..=20 {
            pack.post(publisher, &format!("/publish/fx/A?epoch=e&n={n}"), "x");
        }
        pack.give_room(slow, None);
        let seen = pack.fresh(slow);
        assert_eq!(seen.last().unwrap(), &format!("<p z e={end}>"), "{seen:?}");
        assert!(!seen.iter().any(|frame| frame.starts_with("<p x ")), "{seen:?}");
        pack.post(publisher, "/publish/fx/A?epoch=e&n=21", "x");
        let seen = pack.fresh(fast);
        assert_eq!(seen.len(), 12, "{seen:?}");
        assert_eq!(pack.stats().overruns, 0);
        // Alone, it is the channel that ends.
        pack.rooms[fast] = Some(0);
        for n in 22..=30 {
            pack.post(publisher, &format!("/publish/fx/A?epoch=e&n={n}"), "x");
        }
        pack.give_room(fast, None);
        assert_eq!(pack.fresh(fast).last().unwrap(), "<p x c=5 e=overrun>");
        assert_eq!(pack.stats().overruns, 1);
    }
}

/// A server that keeps three messages of a topic; `fx/A` has had nine of epoch `e`.
fn short_history() -> (Pack, usize) {
    let history = History { messages_max: 3, ..History::default() };
    let settings = Settings { history, ..Settings::default() };
    let mut pack = Pack::new(2, settings, Directory::default());
    let publisher = pack.connect(0, Door::Private);
    for n in 1..=9 {
        pack.post(publisher, &format!("/publish/fx/A?epoch=e&n={n}"), &n.to_string());
    }
    (pack, publisher)
}

#[test]
fn a_strict_channel_that_history_has_passed_ends_overrun_and_no_other() {
    for shard in 0..2 {
        for (since, strict, passed) in [
            ("e:9", 1, false),
            ("e:6", 1, false),
            ("e:5", 1, true),
            ("e:0", 1, true),
            ("e:5", 0, true),
            // Of an epoch that nobody knows it cannot be said that nothing was missed.
            ("f:3", 1, true),
            ("f:3", 0, true),
        ] {
            let (mut pack, publisher) = short_history();
            let open = format!("open=fx/A;cid=5;since={since};strict={strict}");
            let (reader, mut seen, _) = pack.document(shard, &open);
            seen.extend(pack.fresh(reader));
            pack.post(publisher, "/publish/fx/A?epoch=e&n=10", "10");
            seen.extend(pack.fresh(reader));
            let has = |start: &str| seen.iter().any(|frame| frame.starts_with(start));
            let told = format!("{since} strict={strict}: {seen:?}");
            assert!(has("<p o c=5 "), "{told}");
            assert_eq!(has("<p g c=5 "), passed && strict == 0, "{told}");
            assert_eq!(has("<p x c=5 e=overrun>"), passed && strict == 1, "{told}");
            assert_eq!(has("<p c=5 n=10>10"), !(passed && strict == 1), "{told}");
            assert_eq!(pack.stats().overruns, u64::from(passed && strict == 1));
        }
    }
}

#[test]
fn an_epoch_that_is_over_is_followed_while_its_end_is_known() {
    let (mut pack, publisher) = short_history();
    pack.post(publisher, "/publish/fx/A?epoch=f&n=1", "f1");
    // Everything of the epoch before was read: the next one follows in order.
    let (_, seen, _) = pack.document(0, "open=fx/A;cid=5;since=e:9;strict=1");
    assert!(seen.last().unwrap() == "<p c=5 n=1>f1", "{seen:?}");
    for n in 2..=9 {
        pack.post(publisher, &format!("/publish/fx/A?epoch=f&n={n}"), "x");
    }
    let (_, seen, _) = pack.document(0, "open=fx/A;cid=5;since=e:9;strict=1");
    assert_eq!(seen.last().unwrap(), "<p x c=5 e=overrun>", "{seen:?}");
}

#[test]
fn a_strict_channel_that_is_resumed_too_late_ends_overrun_on_every_document() {
    let (mut pack, publisher) = short_history();
    let (first, _, me) = pack.document(0, "open=fx/A;cid=5;strict=1");
    let second = pack.connect(0, Door::Public);
    let seen = frames(&pack.get(second, &format!("/ahm/mux.html?{me}&dup=1&last=5:e:9")));
    assert_eq!(seen.len(), 2, "{seen:?}");
    pack.fresh(first);
    let third = pack.connect(0, Door::Public);
    let seen = frames(&pack.get(third, &format!("/ahm/mux.html?{me}&dup=1&last=5:e:2")));
    assert_eq!(seen.last().unwrap(), "<p x c=5 e=overrun>", "{seen:?}");
    for peer in [first, second] {
        assert_eq!(pack.fresh(peer).last().unwrap(), "<p x c=5 e=overrun>");
    }
    // A document that does not say what it has begins at the head by its own choice.
    let (_, _, me) = pack.document(0, "open=fx/A;cid=5;strict=1;since=e:7");
    pack.post(publisher, "/publish/fx/A?epoch=e&n=10", "10");
    let late = pack.connect(0, Door::Public);
    let seen = frames(&pack.get(late, &format!("/ahm/mux.html?{me}&dup=1")));
    assert!(seen.last().unwrap().starts_with("<p g c=5 "), "{seen:?}");
}

#[test]
fn a_strict_open_without_a_document_is_told_by_the_first_one() {
    let (mut pack, _) = short_history();
    let line = pack.connect(0, Door::Public);
    let login = pack.get(line, "/ahm/login");
    let value = |name: &str| {
        let rest = login.split(&format!("\"{name}\":\"")).nth(1).unwrap();
        rest.split('"').next().unwrap().to_string()
    };
    let me = format!("mid={}&k={}", value("mid"), value("k"));
    let target = format!("/ahm/open?{me}&resource=fx&subject=A&cid=5&strict=1&since=e:2");
    assert!(pack.get(line, &target).contains("\"cid\":5,"));
    let reader = pack.connect(0, Door::Public);
    let seen = frames(&pack.get(reader, &format!("/ahm/mux.html?{me}")));
    assert_eq!(attribute(&seen, "c"), "5");
    assert_eq!(seen.last().unwrap(), "<p x c=5 e=overrun>", "{seen:?}");
}

#[test]
fn a_channel_is_told_from_its_predecessors_of_the_same_number() {
    let (mut pack, shard, _) = away_from_home();
    let (reader, seen, me) = pack.document(shard, "open=fx/A");
    let cid = attribute(&seen, "c");
    assert!(!seen.iter().any(|frame| frame.contains(" l=")), "{seen:?}");
    pack.fresh(reader);
    let line = pack.connect(shard, Door::Public);
    let close = |pack: &mut Pack, which: &str| {
        pack.get(line, &format!("/ahm/close?{me}&cid={cid}{which}")).contains("\"ok\":true")
    };
    let open = |pack: &mut Pack| {
        pack.get(line, &format!("/ahm/open?{me}&resource=fx&subject=A&since=0:0"))
    };
    assert!(!open(&mut pack).contains("\"l\""));
    assert!(!close(&mut pack, "&l=1"), "there is none of that life");
    assert!(close(&mut pack, "&l=0"));
    assert_eq!(pack.fresh(reader), [format!("<p x c={cid} e=closed>")]);
    assert!(open(&mut pack).ends_with(",\"l\":1}"));
    let again = pack.fresh(reader);
    assert!(again[0].starts_with(&format!("<p o c={cid} l=1 u=fx/A ")), "{again:?}");
    assert!(!close(&mut pack, "&l=0"), "its predecessor is over");
    assert!(close(&mut pack, ""), "whichever there is");
    pack.cut(reader);
    let next = pack.connect(shard, Door::Public);
    let seen = frames(&pack.get(next, &format!("/ahm/mux.html?{me}&last={cid}:other:1")));
    assert!(seen.contains(&format!("<p x c={cid} l=1 e=closed>")), "{seen:?}");
}

#[test]
fn a_request_that_moves_is_answered_however_late_its_last_bytes_came() {
    let mut pack = Pack::new(2, Settings::default(), Directory::default());
    let (_, _, me) = pack.document(1, "h=1000");
    let line = pack.connect(0, Door::Public);
    pack.send(line, &format!("GET /ahm/ping?{me} HTTP/1.1\r\n"));
    // A machine that slept: the rest is there, and the time for it is over, in the same turn.
    pack.now += pack.hubs[0].settings.head_timeout + Span::from_secs(1);
    let (shard, conn) = pack.conns[line].unwrap();
    pack.hubs[shard].handle_received(conn, b"Host: x\r\n\r\n", pack.now);
    pack.hubs[shard].handle_timeout(pack.now);
    pack.drain();
    assert_eq!(pack.conns[line].unwrap().0, 1, "it has moved");
    assert!(pack.text(line).starts_with("HTTP/1.1 200 "), "{:?}", pack.text(line));
}

/// Gives each consumer a topic of its own, which is read whole.
#[derive(Debug)]
struct Whole;

impl Resource for Whole {
    fn open(&self, _: &str, _: &Consumer) -> Decision {
        Decision::Private(TopicOptions::default())
    }

    fn message(&self, _: &Message<'_>, _: &mut Actions) {}
}

#[test]
fn a_topic_that_was_made_for_an_open_that_is_refused_goes_with_it() {
    let mut directory = Directory::default();
    directory.add("whole", Arc::new(Whole)).unwrap();
    let mut pack = Pack::new(2, Settings::default(), directory);
    let (_, _, me) = pack.document(0, "h=1000");
    let line = pack.connect(0, Door::Public);
    let topics = |pack: &Pack| -> usize {
        pack.hubs.iter().map(|hub| hub.topics.slots.keys().count()).sum()
    };
    for newest in ["mode=latest", "rate=5"] {
        let open = format!("/ahm/open?{me}&resource=whole&subject=a&{newest}");
        assert!(pack.get(line, &open).contains("queue only"));
        assert_eq!(topics(&pack), 0, "{newest}");
    }
    assert!(pack.get(line, &format!("/ahm/open?{me}&resource=whole&subject=a")).contains("true"));
    assert_eq!(topics(&pack), 1);
}

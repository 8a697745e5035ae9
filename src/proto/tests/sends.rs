//! Numbered sends, as the protocol promises them.

use std::sync::{Arc, Mutex};

use crate::base::time::Span;
use crate::proto::connection::Door;
use crate::proto::directory::Directory;
use crate::proto::resource::{Actions, Consumer, Decision, Message, Resource, TopicOptions};
use crate::proto::settings::Settings;
use crate::proto::tests::{Once, Pack, frames};

/// Writes down what reaches it.
#[derive(Debug, Default)]
pub(super) struct Desk {
    pub(super) heard: Mutex<Vec<String>>,
}

impl Resource for Desk {
    fn open(&self, _: &str, _: &Consumer) -> Decision {
        Decision::Private(TopicOptions::default())
    }

    fn message(&self, message: &Message<'_>, _: &mut Actions) {
        let payload = String::from_utf8_lossy(message.payload);
        let cid = message.consumer.cid;
        self.heard.lock().unwrap().push(format!("{cid}:{}={payload}", message.n));
    }

    fn skipped(&self, _: &str, consumer: &Consumer, from: u64, to: u64) {
        self.heard.lock().unwrap().push(format!("{}:{from}-{to} skipped", consumer.cid));
    }
}

/// A client with channels 7 and 8 to a desk.
struct Bench {
    pack: Pack,
    desk: Arc<Desk>,
    reader: usize,
    line: usize,
    me: String,
}

impl Bench {
    fn new(settings: Settings) -> Self {
        let desk = Arc::new(Desk::default());
        let mut directory = Directory::default();
        directory.add("desk", desk.clone()).unwrap();
        let mut pack = Pack::new(2, settings, directory);
        let (reader, _, me) = pack.document(1, "open=desk/x;cid=7&open=desk/x;cid=8&h=120000");
        let line = pack.connect(0, Door::Public);
        pack.fresh(reader);
        Self { pack, desk, reader, line, me }
    }

    fn command(&mut self, what: &str) -> String {
        let answer = self.pack.get(self.line, &format!("/ahm/{what}&{}", self.me));
        answer.split("\r\n\r\n").nth(1).unwrap().to_string()
    }

    /// The outcome or error of a send.
    fn send(&mut self, cid: u32, n: u64, payload: &str) -> String {
        let answer = self.command(&format!("send?cid={cid}&n={n}&data={payload}"));
        let member = |name: &str| answer.split(&format!("\"{name}\":\"")).nth(1);
        let word = member("outcome").or_else(|| member("error")).unwrap();
        word.split('"').next().unwrap().to_string()
    }

    fn heard(&self) -> Vec<String> {
        std::mem::take(&mut *self.desk.heard.lock().unwrap())
    }

    fn told(&mut self) -> Vec<String> {
        self.pack.fresh(self.reader)
    }

    fn pass(&mut self, millis: u64) {
        self.pack.pass(Span::from_millis(millis));
    }
}

#[test]
fn each_number_has_one_fate() {
    let mut bench = Bench::new(Settings::default());
    for (n, payload, outcome, heard, told) in [
        (1, "a", "taken", &["7:1=a"][..], &[][..]),
        (1, "a", "dup", &[], &[]),
        (1, "other", "dup", &[], &[]),
        (3, "c", "held", &[], &[]),
        (3, "other", "held", &[], &[]),
        (4, "d", "held", &[], &[]),
        (
            2,
            "b",
            "taken",
            &["7:2=b", "7:3=c", "7:4=d"],
            &["<p a c=7 n=3 e=taken>", "<p a c=7 n=4 e=taken>"],
        ),
        (3, "late", "dup", &[], &[]),
        (5, "e", "taken", &["7:5=e"], &[]),
        (71, "far", "out-of-window", &[], &[]),
    ] {
        assert_eq!(bench.send(7, n, payload), outcome, "{n} {payload}");
        assert_eq!(bench.heard(), heard, "{n} {payload}");
        assert_eq!(bench.told(), told, "{n} {payload}");
    }
    let answer = bench.command("send?cid=7&n=72&data=x");
    assert!(answer.contains("\"sn\":6"), "{answer}");
    assert_eq!(bench.send(8, 1, "a"), "taken", "each channel counts by itself");
}

#[test]
fn what_is_held_is_released_at_most_skip_after_it_came() {
    let mut bench = Bench::new(Settings::default());
    assert_eq!(bench.send(7, 3, "c"), "held");
    bench.pass(1_000);
    assert_eq!(bench.send(7, 5, "e"), "held");
    bench.pass(1_000);
    assert_eq!(bench.send(7, 8, "h"), "held");
    assert_eq!(bench.send(7, 1, "a"), "taken");
    // Another channel's numbers are not held up by these.
    assert_eq!(bench.send(8, 1, "a"), "taken");
    bench.heard();
    bench.pass(2_990);
    assert_eq!(bench.heard(), [""; 0]);
    bench.pass(20);
    assert_eq!(bench.heard(), ["7:2-2 skipped", "7:3=c"]);
    assert_eq!(bench.told(), ["<p a c=7 n=2 e=skipped>", "<p a c=7 n=3 e=taken>"]);
    bench.pass(980);
    assert_eq!(bench.heard(), [""; 0]);
    bench.pass(20);
    assert_eq!(bench.heard(), ["7:4-4 skipped", "7:5=e"]);
    bench.told();
    // What comes in the last moment is taken still.
    bench.pass(950);
    assert_eq!(bench.send(7, 6, "f"), "taken");
    bench.heard();
    bench.pass(50);
    assert_eq!(bench.heard(), ["7:7-7 skipped", "7:8=h"]);
    for (n, outcome) in [(2, "skipped"), (4, "skipped"), (6, "dup"), (7, "skipped"), (8, "dup")] {
        assert_eq!(bench.send(7, n, "late"), outcome, "{n}");
    }
    assert_eq!(bench.send(7, 9, "i"), "taken");
    assert_eq!(bench.pack.stats().sends_skipped, 3);
}

#[test]
fn what_came_first_is_released_first_with_all_that_stands_before_it() {
    let mut bench = Bench::new(Settings::default());
    assert_eq!(bench.send(7, 6, "f"), "held");
    bench.pass(4_000);
    assert_eq!(bench.send(7, 2, "b"), "held");
    assert_eq!(bench.send(7, 4, "d"), "held");
    assert_eq!(bench.send(7, 8, "h"), "held");
    bench.pass(1_010);
    let heard = ["7:1-1 skipped", "7:2=b", "7:3-3 skipped", "7:4=d", "7:5-5 skipped", "7:6=f"];
    assert_eq!(bench.heard(), heard);
    bench.pass(3_980);
    assert_eq!(bench.heard(), [""; 0]);
    bench.pass(20);
    assert_eq!(bench.heard(), ["7:7-7 skipped", "7:8=h"]);
}

#[test]
fn the_window_is_one_for_the_session_by_count_and_by_bytes() {
    let settings = Settings { send_window: 4, send_window_bytes: 100, ..Settings::default() };
    let mut bench = Bench::new(settings);
    let payload = "x".repeat(45);
    assert_eq!(bench.send(7, 6, "far"), "out-of-window");
    assert_eq!(bench.send(7, 3, &payload), "held");
    assert_eq!(bench.send(8, 3, &payload), "held");
    assert_eq!(bench.send(8, 4, &payload), "out-of-window");
    assert_eq!(bench.send(8, 4, "small"), "held");
    assert_eq!(bench.send(8, 5, ""), "held");
    assert_eq!(bench.send(7, 2, ""), "out-of-window", "four are held");
    // What is in turn needs no place, and makes room.
    assert_eq!(bench.send(8, 1, &payload), "taken");
    assert_eq!(bench.send(8, 2, &payload), "taken");
    assert_eq!(bench.send(7, 2, &payload), "held");
    // The answer to one that is held already does not change when nothing has room.
    assert_eq!(bench.send(7, 3, &payload), "held");
    // So what is given up at once, and told of, is never more than a window.
    bench.told();
    bench.pass(5_010);
    assert_eq!(bench.told().len(), 3, "one skipped, two taken");
}

#[test]
fn the_widest_gap_of_the_widest_window_is_told_number_by_number() {
    let settings = Settings { send_window: 10_000, ..Settings::default() };
    let mut bench = Bench::new(settings);
    // The largest window that can be configured; a gap can be no wider.
    assert_eq!(bench.send(7, 10_002, "x"), "out-of-window");
    assert_eq!(bench.send(7, 10_001, "x"), "held");
    bench.pass(5_010);
    assert_eq!(bench.told().len(), 10_001);
    // And not even a stalled document holds what comes of it again and again without a bound.
    bench.pack.rooms[bench.reader] = Some(0);
    for round in 2..40 {
        if bench.pack.conns[bench.reader].is_none() {
            break;
        }
        bench.send(7, round * 10_001, "x");
        bench.pass(5_010);
        bench.pack.hubs[1].check_invariants().unwrap();
    }
    assert_eq!(bench.pack.stats().documents_stale, 1);
    assert_eq!(bench.pack.hubs[1].stalled_bytes(), 0);
}

#[test]
fn what_is_held_when_its_channel_or_session_ends_is_unknown() {
    let mut bench = Bench::new(Settings::default());
    assert_eq!(bench.send(7, 1, "a"), "taken");
    assert_eq!(bench.send(7, 3, "c"), "held");
    bench.told();
    bench.command("close?cid=7");
    let mut told = bench.told();
    told.sort();
    assert_eq!(told, ["<p a c=7 n=3 e=unknown>", "<p x c=7 e=closed>"]);
    assert_eq!(bench.send(7, 2, "b"), "no-channel");
    // A channel of the same number goes on with the numbers, and what was unknown may come anew.
    let answer = bench.command("open?resource=desk&subject=y&cid=7");
    assert!(answer.contains("\"sn\":2"), "{answer}");
    bench.heard();
    for (n, outcome) in [(1, "dup"), (3, "held"), (2, "taken"), (3, "dup")] {
        assert_eq!(bench.send(7, n, "again"), outcome, "{n}");
    }
    assert_eq!(bench.heard(), ["7:2=again", "7:3=again"]);
    assert_eq!(bench.send(7, 6, "f"), "held");
    assert_eq!(bench.send(8, 2, "b"), "held");
    bench.told();
    bench.command("logout?x=1");
    let told = bench.told();
    assert!(told.contains(&"<p a c=7 n=6 e=unknown>".into()), "{told:?}");
    assert!(told.contains(&"<p a c=8 n=2 e=unknown>".into()), "{told:?}");
    assert_eq!(told.last().unwrap(), "<p z e=logout>");
    bench.pass(10_000);
    assert_eq!(bench.heard(), [""; 0], "nobody hears of it afterwards");
}

#[test]
fn a_conversation_that_is_over_takes_no_more() {
    let mut directory = Directory::default();
    directory.add("once", Arc::new(Once)).unwrap();
    let mut pack = Pack::new(1, Settings::default(), directory);
    let (reader, _, me) = pack.document(0, "open=once/x;cid=7");
    pack.cut(reader);
    let line = pack.connect(0, Door::Public);
    let mut send = |n: u32| pack.get(line, &format!("/ahm/send?{me}&cid=7&n={n}&data=x"));
    assert!(send(1).contains("\"outcome\":\"taken\""));
    // Nobody has read the end yet.
    let answer = send(2);
    assert!(answer.contains("\"error\":\"no-channel\""), "{answer}");
    // What was held when it ended comes to nobody, and its client hears so.
    let (reader, _, me) = pack.document(0, "open=once/x;cid=7");
    pack.fresh(reader);
    let taken = pack.stats().sends_taken;
    for n in [3, 2, 1] {
        pack.get(line, &format!("/ahm/send?{me}&cid=7&n={n}&data=x"));
    }
    let seen = pack.fresh(reader);
    let expected = [
        "<p a c=7 n=2 e=unknown>",
        "<p a c=7 n=3 e=unknown>",
        "<p c=7 n=1>that was all",
        "<p x c=7 e=gone>",
    ];
    assert_eq!(seen, expected);
    assert_eq!(pack.stats().sends_taken, taken + 1);
    // The end is read by whoever comes, also by who wants nothing of the past.
    for (last, before) in [("&last=", ">that was all"), ("", " n=1>")] {
        let (reader, _, me) = pack.document(0, "open=once/x;cid=7");
        pack.cut(reader);
        pack.get(line, &format!("/ahm/send?{me}&cid=7&n=1&data=x"));
        let next = pack.connect(0, Door::Public);
        let seen = frames(&pack.get(next, &format!("/ahm/mux.html?{me}{last}")));
        let after = seen.iter().skip_while(|frame| !frame.ends_with(before));
        assert_eq!(after.skip(1).collect::<Vec<_>>(), ["<p x c=7 e=gone>"], "{seen:?}");
    }
}

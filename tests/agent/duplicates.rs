//! Lasting duplicates, by script: when they are asked for and replaced, and what several documents
//! make of gaps and epochs.

use ahm::base::time::Span;
use ahm::client::event::{ChannelKey, Output, StreamId};
use ahm::client::settings::Settings;
use ahm::wire::command::Mode;

use crate::desk::{Desk, IDENTITY, both};

fn identity(d: u32) -> String {
    format!("<p i scs=a mid=7 d={d} h=1000 r=60000 v=1>\n")
}

fn opened(n: u32) -> String {
    format!("<p o c=9 u=a/b ep=e1 n={n} head={n}>\n")
}

/// A main document and `duplicates` more, all on channel 9 at the start of epoch `e1`.
fn desk(duplicates: u8, whole: bool) -> (Desk, Vec<StreamId>) {
    let mut desk = Desk::with(Settings { duplicates, ..Settings::default() }, whole);
    desk.subscribe("a/b", Mode::Queue);
    let (main, _) = desk.stream();
    assert_eq!(desk.outputs, [], "the main document comes first");
    desk.begin(main, IDENTITY);
    desk.feed(main, &opened(0));
    let mut streams = vec![main];
    for d in 0..u32::from(duplicates) {
        let (stream, request) = desk.stream();
        assert!(request.target.starts_with("mux.html?scs=a&mid=7&last="), "{}", request.target);
        assert!(request.target.ends_with("&dup=1"), "{}", request.target);
        desk.begin(stream, &identity(d + 2));
        desk.feed(stream, &opened(0));
        streams.push(stream);
    }
    assert_eq!(desk.outputs, []);
    desk.take();
    (desk, streams)
}

#[test]
fn the_first_copy_counts() {
    both(|whole| {
        let (mut desk, streams) = desk(1, whole);
        desk.feed(streams[0], "<p c=9 n=1>a\n");
        desk.feed(streams[1], "<p c=9 n=1>a\n<p c=9 n=2>b\n");
        desk.feed(streams[0], "<p c=9 n=2>b\n<p c=9 n=3>c\n");
        assert_eq!(desk.take(), ["1:1 a", "1:2 b", "1:3 c"]);
        assert_eq!(desk.agent.counters().duplicates, 2);
    });
}

#[test]
fn what_is_said_of_a_channel_that_was_left_is_not_of_its_successor() {
    both(|whole| {
        let (mut desk, streams) = desk(1, whole);
        desk.feed(streams[0], "<p c=9 n=1>a\n<p c=9 n=2>b\n");
        assert_eq!(desk.take(), ["1:1 a", "1:2 b"]);
        desk.agent.unsubscribe(ChannelKey(1), desk.now).unwrap();
        desk.subscribe("a/b", Mode::Queue);
        let Output::Call { request, .. } = desk.output() else { panic!() };
        assert_eq!(request.target, "close?scs=a&mid=7&cid=9&l=0");
        let Output::Call { call, request, .. } = desk.output() else { panic!() };
        assert_eq!(request.target, "open?scs=a&mid=7&resource=a&subject=b&mode=queue");
        // The open has overtaken the close, and found what was left.
        let found = br#"{"ok":true,"cid":9,"ep":"e1","n":0,"sn":1}"#;
        desk.agent.handle_answer(call, 200, None, found, desk.now);
        desk.drain();
        let Output::Call { request, .. } = desk.output() else { panic!() };
        assert_eq!(request.target, "close?scs=a&mid=7&cid=9&l=0");
        desk.wait(300);
        let Output::Call { call, .. } = desk.output() else { panic!() };
        let opened = br#"{"ok":true,"cid":9,"l":1,"ep":"e1","n":4,"sn":1}"#;
        desk.agent.handle_answer(call, 200, None, opened, desk.now);
        // The second document is behind, and has an epoch that nobody reads any more.
        desk.feed(streams[0], "<p x c=9 e=closed>\n<p o c=9 l=1 u=a/b ep=e1 n=4 head=4>\n");
        desk.feed(streams[1], "<p c=9 n=3>c\n<p o c=9 u=a/b ep=e2 n=0 head=0>\n<p c=9 n=1>no\n");
        desk.feed(streams[0], "<p c=9 n=5>e\n");
        desk.feed(streams[1], "<p x c=9 e=closed>\n<p o c=9 l=1 u=a/b ep=e1 n=4 head=4>\n");
        desk.feed(streams[1], "<p c=9 n=5>e\n<p c=9 n=6>f\n");
        assert_eq!(desk.take(), ["opened 2 e1:4 4", "2:5 e", "2:6 f"]);
        assert_eq!(desk.outputs, []);
    });
}

#[test]
fn whichever_dies_nothing_is_lost_and_it_is_asked_for_again() {
    for dead in 0..3 {
        let (mut desk, streams) = desk(2, true);
        for stream in &streams {
            desk.feed(*stream, "<p c=9 n=1>a\n");
        }
        desk.end(streams[dead]);
        for (at, stream) in streams.iter().enumerate().filter(|(at, _)| *at != dead) {
            let n = 2 + u32::from(at > 1 || (at == 1 && dead == 0));
            desk.feed(*stream, &format!("<p c=9 n=2>b\n<p c=9 n=3>c\n<p h={n}000 t=1>\n"));
        }
        assert_eq!(desk.take(), ["1:1 a", "lost broken", "1:2 b", "1:3 c"]);
        desk.wait(300);
        let (again, request) = desk.stream();
        let expected = match dead {
            0 => "refresh.html?scs=a&mid=7&last=9:e1:3",
            _ => "mux.html?scs=a&mid=7&last=9:e1:3&dup=1",
        };
        assert_eq!(request.target, expected);
        desk.begin(again, &identity(4));
        desk.feed(again, &opened(3));
        assert_eq!(desk.outputs, []);
        assert_eq!(desk.agent.documents_running(), 3);
    }
}

#[test]
fn each_is_replaced_before_it_ends_and_one_at_a_time() {
    let (mut desk, streams) = desk(3, true);
    desk.agent.refresh(desk.now);
    desk.drain();
    let (main, request) = desk.stream();
    assert_eq!(request.target, "refresh.html?scs=a&mid=7&last=9:e1:0");
    assert_eq!(desk.outputs, [], "the main document comes first");
    desk.begin(main, &identity(5));
    assert_eq!(desk.outputs, []);
    desk.feed(main, &opened(0));
    assert_eq!(desk.output(), Output::CloseStream { stream: streams[0] });
    for (number, old) in (2..5).zip(&streams[1..]) {
        let (new, request) = desk.stream();
        let target = format!("refresh.html?scs=a&mid=7&last=9:e1:0&dup=1&d={number}");
        assert_eq!(request.target, target);
        // The server may have ended it at once to make room.
        if number == 3 {
            desk.end(*old);
        }
        desk.begin(new, &identity(number + 4));
        desk.feed(new, &opened(0));
        if number != 3 {
            assert_eq!(desk.output(), Output::CloseStream { stream: *old });
        }
    }
    assert_eq!((&desk.outputs[..], desk.agent.documents_running()), (&[][..], 4));
    // Each has its own time.
    desk.wait(700);
    assert_eq!(desk.outputs, []);
}

#[test]
fn a_duplicate_that_the_server_asks_to_leave_has_its_successor_alone() {
    let (mut desk, streams) = desk(1, true);
    desk.feed(streams[1], "<p m e=route w=0>\n");
    let (new, request) = desk.stream();
    assert_eq!(request.target, "refresh.html?scs=a&mid=7&last=9:e1:0&dup=1&d=2");
    desk.feed(streams[1], "<p c=9 n=1>a\n");
    desk.begin(new, &identity(3));
    desk.feed(new, &opened(0));
    assert_eq!(desk.output(), Output::CloseStream { stream: streams[1] });
    assert_eq!(desk.outputs, []);
}

#[test]
fn a_duplicate_that_is_refused_is_tried_again_and_ends_nothing() {
    let mut desk = Desk::with(Settings { duplicates: 1, ..Settings::default() }, true);
    desk.subscribe("a/b", Mode::Queue);
    let (main, _) = desk.stream();
    desk.begin(main, IDENTITY);
    desk.feed(main, &opened(0));
    let mut waits = Vec::new();
    for (code, status) in [("too-many", 429), ("wrong-server", 421), ("busy", 503)] {
        let (duplicate, _) = desk.stream();
        desk.refuse(duplicate, status, code);
        assert_eq!(desk.outputs, []);
        let before = desk.now;
        while desk.outputs.is_empty() {
            desk.wait(10);
            desk.feed(main, "<p h=1000 t=1>\n");
        }
        waits.push(desk.now.since(before));
    }
    assert!(waits.iter().all(|wait| *wait >= Span::from_millis(50)), "{waits:?}");
    // One that belongs to a session that is over is of no use.
    let (duplicate, _) = desk.stream();
    desk.begin(duplicate, "<p i scs=a mid=8 d=2 h=1000 r=60000 v=1>\n");
    assert_eq!(desk.output(), Output::CloseStream { stream: duplicate });
    desk.feed(main, "<p c=9 n=1>a\n");
    assert_eq!(desk.take().pop().unwrap(), "1:1 a");
}

#[test]
fn both_cut_at_once_wait_before_they_come_back() {
    let (mut desk, streams) = desk(1, true);
    desk.feed(streams[0], "<p z e=shutdown w=60000>\n");
    desk.feed(streams[1], "<p z e=shutdown w=60000>\n");
    let lost = r#"lost ended("shutdown")"#;
    assert_eq!(desk.take(), [lost, lost, "waiting"]);
    assert_eq!(desk.outputs.len(), 2, "closed, and nothing is asked for");
    let wait = desk.agent.poll_timeout().unwrap().since(desk.now);
    assert!(wait > Span::from_millis(250) && wait <= Span::from_secs(60), "{wait}");
}

#[test]
fn the_narrower_of_two_gaps_is_declared_and_the_wider_filled() {
    both(|whole| {
        let (mut desk, streams) = desk(1, whole);
        desk.feed(streams[0], "<p c=9 n=1>a\n<p g c=9 ep=e1 n=3 m=2>\n<p c=9 n=4>d\n");
        desk.feed(streams[0], "<p c=9 n=5>e\n");
        assert_eq!(desk.take(), ["1:1 a"]);
        desk.feed(streams[1], "<p c=9 n=1>a\n<p c=9 n=2>b\n<p g c=9 ep=e1 n=5 m=3>\n");
        assert_eq!(desk.take(), ["1:2 b", "gap 1 e1:3 1", "1:4 d", "1:5 e"]);
        desk.feed(streams[1], "<p c=9 n=6>f\n");
        assert_eq!(desk.take(), ["1:6 f"]);
    });
}

#[test]
fn what_a_dead_document_held_back_is_not_missing() {
    both(|whole| {
        let (mut desk, streams) = desk(1, whole);
        desk.feed(streams[0], "<p g c=9 ep=e1 n=3 m=3>\n<p c=9 n=4>d\n<p c=9 n=5>e\n");
        desk.end(streams[0]);
        assert_eq!(desk.take(), ["lost broken"]);
        desk.feed(streams[1], "<p c=9 n=1>a\n<p g c=9 ep=e1 n=5 m=4>\n<p c=9 n=6>f\n");
        assert_eq!(desk.take(), ["1:1 a", "gap 1 e1:3 2", "1:4 d", "1:5 e", "1:6 f"]);
    });
}

/// A server starts anew without history: until the first message is published it has an epoch of
/// its own, and then it has that of the publisher, on the same document.
fn restarted(whole: bool, duplicates: u8) -> (Desk, StreamId) {
    let (mut desk, streams) = desk(duplicates, whole);
    for stream in &streams {
        desk.feed(*stream, "<p c=9 n=1>a\n<p c=9 n=2>b\n");
    }
    for stream in &streams {
        desk.end(*stream);
    }
    desk.wait(300);
    let (main, _) = desk.stream();
    desk.take();
    desk.begin(main, &identity(7));
    desk.feed(main, "<p o c=9 u=a/b ep=zz n=0 head=0>\n<p g c=9 ep=zz n=0>\n");
    assert_eq!(desk.take(), ["live", "session 7.7 false"]);
    (desk, main)
}

#[test]
fn an_epoch_without_a_message_is_not_believed_at_once() {
    both(|whole| {
        for duplicates in 0..2 {
            let (mut desk, main) = restarted(whole, duplicates);
            desk.feed(main, "<p o c=9 u=a/b ep=e1 n=1 head=1>\n<p c=9 n=2>b\n<p c=9 n=3>c\n");
            assert_eq!(desk.take(), ["1:3 c"], "nothing is missing, and nothing is said");
        }
        let (mut desk, main) = restarted(whole, 0);
        desk.feed(main, "<p c=9 n=1>x\n");
        assert_eq!(desk.take(), ["opened 1 zz:0 0", "gap 1 zz:0", "1:1 x"]);
        let (mut desk, _) = restarted(whole, 0);
        desk.wait(1_000);
        assert_eq!(desk.take(), ["opened 1 zz:0 0", "gap 1 zz:0"]);
    });
}

#[test]
fn an_epoch_may_come_back_on_the_document_that_left_it() {
    both(|whole| {
        for duplicates in 0..2 {
            let (mut desk, main) = restarted(whole, duplicates);
            desk.wait(1_000);
            assert_eq!(desk.take(), ["opened 1 zz:0 0", "gap 1 zz:0"]);
            desk.feed(main, "<p o c=9 u=a/b ep=e1 n=1 head=1>\n<p c=9 n=2>b\n<p c=9 n=3>c\n");
            assert_eq!(desk.take(), ["opened 1 e1:2 2", "gap 1 e1:2", "1:3 c"]);
        }
    });
}

#[test]
fn where_a_document_begins_explains_the_gap_frame_behind_it() {
    both(|whole| {
        // The duplicate is asked for before the channel has its number, and so without its place.
        let mut desk = Desk::with(Settings { duplicates: 1, ..Settings::default() }, whole);
        desk.subscribe("a/b", Mode::Queue);
        let (main, _) = desk.stream();
        desk.begin(main, IDENTITY);
        let (duplicate, request) = desk.stream();
        assert_eq!(request.target, "mux.html?scs=a&mid=7&last=&dup=1");
        desk.feed(main, &opened(0));
        desk.feed(main, "<p c=9 n=1>a\n<p c=9 n=2>b\n");
        desk.take();
        desk.begin(duplicate, &identity(2));
        desk.feed(duplicate, "<p o c=9 u=a/b ep=e1 n=2 head=2>\n<p g c=9 ep=e1 n=2 m=2>\n");
        desk.feed(duplicate, "<p c=9 n=3>c\n");
        assert_eq!(desk.take()[1..], ["1:3 c"], "the consumer has what is missing there");
    });
}

#[test]
fn what_a_waiting_document_has_in_hand_is_not_passed_over() {
    both(|whole| {
        let (mut desk, streams) = desk(1, whole);
        desk.end(streams[1]);
        desk.wait(300);
        let (duplicate, _) = desk.stream();
        desk.take();
        desk.begin(duplicate, &identity(3));
        // It is in the next epoch already, and waits for the others.
        let held = "<p o c=9 u=a/b ep=e2 n=5 head=7>\n<p c=9 n=6>f\n<p c=9 n=7>g\n";
        desk.feed(duplicate, held);
        desk.feed(streams[0], "<p o c=9 u=a/b ep=e2 n=0 head=0>\n<p c=9 n=1>a\n<p c=9 n=2>b\n");
        desk.feed(streams[0], "<p g c=9 ep=e2 n=6 m=4>\n<p c=9 n=7>g\n");
        let told = ["opened 1 e2:0 0", "1:1 a", "1:2 b", "gap 1 e2:5 3", "1:6 f", "1:7 g"];
        assert_eq!(desk.take()[1..], told);
        assert_eq!(desk.agent.counters().messages, 4);
    });
}

#[test]
fn a_document_that_jumps_within_an_epoch_that_is_over_has_not_followed() {
    both(|whole| {
        let (mut desk, streams) = desk(1, whole);
        desk.feed(streams[0], "<p c=9 n=1>a\n<p o c=9 u=a/b ep=e2 n=0 head=0>\n<p c=9 n=1>A\n");
        assert_eq!(desk.take(), ["1:1 a", "opened 1 e2:0 0", "gap 1 e2:0", "1:1 A"]);
        // The other one is behind, and history has passed it.
        desk.feed(streams[1], "<p o c=9 u=a/b ep=e1 n=4 head=6>\n<p g c=9 ep=e1 n=4>\n");
        desk.feed(streams[1], "<p c=9 n=5>e\n");
        assert_eq!(desk.take(), [""; 0]);
        desk.feed(streams[1], "<p o c=9 u=a/b ep=e2 n=0 head=2>\n<p c=9 n=1>A\n<p c=9 n=2>B\n");
        desk.feed(streams[0], "<p c=9 n=2>B\n");
        assert_eq!(desk.take(), ["1:2 B"]);
    });
}

#[test]
fn what_a_late_document_has_kept_is_of_the_epoch_it_was_in() {
    both(|whole| {
        let (mut desk, streams) = desk(1, whole);
        desk.feed(streams[0], "<p c=9 n=1>a\n<p o c=9 u=a/b ep=e2 n=0 head=0>\n<p c=9 n=1>A\n");
        desk.feed(streams[1], "<p c=9 n=1>a\n<p c=9 n=2>b\n<p g c=9 ep=e3 n=0>\n");
        assert_eq!(desk.take(), ["1:1 a", "opened 1 e2:0 0", "gap 1 e2:0", "1:1 A"]);
        desk.feed(streams[0], "<p o c=9 u=a/b ep=e3 n=0 head=0>\n<p c=9 n=1>X\n");
        assert_eq!(desk.take(), ["opened 1 e3:0 0", "gap 1 e3:0", "1:1 X"]);
    });
}

#[test]
fn what_another_document_holds_is_not_passed_over_by_a_change_of_epoch() {
    both(|whole| {
        let (mut desk, streams) = desk(2, whole);
        desk.feed(streams[0], "<p c=9 n=1>a\n<p c=9 n=5>e\n");
        desk.wait(100);
        let queue = "<p c=9 n=3>c\n<p c=9 n=4>d\n<p o c=9 u=a/b ep=e2 n=0 head=0>\n<p c=9 n=1>x\n";
        desk.feed(streams[1], queue);
        assert_eq!(desk.take(), ["1:1 a"], "the third document may bring what is missing");
        desk.wait(950);
        let within = ["gap 1 e1:2 1", "1:3 c", "1:4 d", "1:5 e"];
        assert_eq!(
            desk.take(),
            [&within[..], &["opened 1 e2:0 0", "gap 1 e2:0", "1:1 x"]].concat()
        );
    });
}

//! Scripted documents, each fed whole and one byte at a time, and what the agent makes of them.

use ahm::base::id::{Epoch, Offset};
use ahm::base::time::Span;
use ahm::client::event::{ChannelKey, Fate, Output, SendId, StreamId, StreamState, parse_topic};
use ahm::client::settings::Settings;
use ahm::wire::command::{Mode, OpenRequest, Position};

use crate::desk::{Desk, IDENTITY, both};

const ONE: ChannelKey = ChannelKey(1);

#[test]
fn frames_of_one_document() {
    both(|whole| {
        let (mut desk, stream) = Desk::open(whole);
        desk.feed(stream, "<p o c=9 u=a/b ep=e1 n=3 head=5>\n<p c=9 n=4 s>x &amp; y\n");
        desk.feed(stream, "<p c=9 n=5 b>AAE=\n<p nonsense=1>?\n<p h=1000 t=1>\n<p c=9 n=5>again\n");
        let zeros = "1:5 \0\u{1}".to_string();
        assert_eq!(desk.take(), ["opened 1 e1:3 5".into(), "1:4s x & y".into(), zeros]);
        // A gap in numbers; the same said once more; one that has no numbers; a jump unannounced.
        desk.feed(stream, "<p g c=9 ep=e1 n=8 m=3>\n<p g c=9 ep=e1 n=8 m=3>\n<p c=9 n=9>i\n");
        desk.feed(stream, "<p g c=9 ep=e1 n=9>\n<p c=9 n=10>j\n<p c=9 n=12>k\n");
        let told = ["gap 1 e1:8 3", "1:9 i", "gap 1 e1:9", "1:10 j", "gap 1 e1:11 1", "1:12 k"];
        assert_eq!(desk.take(), told);
        // A new epoch is a gap of unknown size, however high its numbers are.
        desk.feed(stream, "<p o c=9 u=a/b ep=e2 n=50 head=50>\n<p c=9 n=51>l\n");
        assert_eq!(desk.take(), ["opened 1 e2:50 50", "gap 1 e2:50", "1:51 l"]);
        desk.feed(stream, "<p x c=9 e=denied>\n<p c=9 n=52>ghost\n");
        assert_eq!(desk.take(), ["closed 1 denied"]);
        let counters = desk.agent.counters();
        assert_eq!((counters.messages, counters.duplicates, counters.heartbeats), (6, 1, 1));
        assert_eq!((counters.gaps, counters.missing, counters.strays), (4, 4, 1));
    });
}

#[test]
fn latest_says_how_many_a_message_stands_for() {
    both(|whole| {
        let mut desk = Desk::new(whole);
        desk.subscribe("a/b", Mode::Latest);
        let (stream, request) = desk.stream();
        assert_eq!(request.target, "mux.html?mid=0&scs=0&open=a/b;mode=latest");
        desk.begin(stream, IDENTITY);
        desk.feed(stream, "<p o c=9 u=a/b ep=e1 n=3 head=3>\n<p c=9 n=4>x\n<p c=9 n=9>y\n");
        assert_eq!(desk.take()[3..], ["opened 1 e1:3 3", "1:4 x", "1:9+4 y"]);
        assert_eq!(desk.agent.counters().folded, 4);
    });
}

#[test]
fn a_successor_takes_over_before_the_old_one_is_closed() {
    both(|whole| {
        let (mut desk, old) = Desk::open(whole);
        desk.feed(old, "<p o c=9 u=a/b ep=e1 n=0 head=0>\n<p c=9 n=1>x\n");
        desk.agent.refresh(desk.now);
        desk.drain();
        let (new, request) = desk.stream();
        assert_eq!(request.target, "refresh.html?scs=a&mid=7&last=9:e1:1");
        assert_eq!(request.key.as_deref(), Some("s3cret"));
        desk.feed(old, "<p c=9 n=2>y\n");
        desk.begin(new, "<p i scs=a mid=7 d=2 h=1000 r=60000 v=1>\n");
        assert_eq!(desk.outputs, [], "the channel is not there yet");
        desk.feed(new, "<p o c=9 u=a/b ep=e1 n=1 head=2>\n");
        assert_eq!(desk.output(), Output::CloseStream { stream: old });
        desk.feed(new, "<p c=9 n=2>y\n<p c=9 n=3>z\n");
        let told = ["opened 1 e1:0 0", "1:1 x", "1:2 y", "session 7.2 false", "1:3 z"];
        assert_eq!(desk.take(), told);
        desk.end(old);
        assert_eq!((desk.take(), desk.agent.counters().refreshes), (vec![], 1));
    });
}

/// Two documents of one session on channel 9, the old one at 1, the new one before a gap to 4.
fn at_a_gap(whole: bool) -> (Desk, StreamId, StreamId) {
    let (mut desk, old) = Desk::open(whole);
    desk.feed(old, "<p o c=9 u=a/b ep=e1 n=0 head=0>\n<p c=9 n=1>a\n");
    desk.agent.refresh(desk.now);
    desk.drain();
    let (new, _) = desk.stream();
    desk.begin(new, "<p i scs=a mid=7 d=2 h=1000 r=60000 v=1>\n");
    desk.feed(new, "<p o c=9 u=a/b ep=e1 n=4 head=5>\n<p g c=9 ep=e1 n=4 m=3>\n<p c=9 n=5>e\n");
    desk.take();
    assert_eq!(desk.outputs, [], "the old one is kept while it may fill the gap");
    (desk, old, new)
}

#[test]
fn a_gap_waits_for_the_other_document() {
    both(|whole| {
        let (mut desk, old, _) = at_a_gap(whole);
        desk.feed(old, "<p c=9 n=2>b\n<p c=9 n=3>c\n<p c=9 n=4>d\n");
        assert_eq!(desk.take(), ["1:2 b", "1:3 c", "1:4 d", "1:5 e"]);
        assert_eq!(desk.output(), Output::CloseStream { stream: old });
        assert_eq!(desk.agent.counters().gaps_healed, 1);
    });
}

#[test]
fn a_gap_is_declared_when_the_other_document_ends() {
    both(|whole| {
        let (mut desk, old, _) = at_a_gap(whole);
        desk.feed(old, "<p c=9 n=2>b\n");
        desk.end(old);
        assert_eq!(desk.take(), ["1:2 b", "lost broken", "gap 1 e1:4 2", "1:5 e"]);
    });
}

#[test]
fn a_gap_is_declared_after_a_heartbeat_interval() {
    both(|whole| {
        let (mut desk, old, new) = at_a_gap(whole);
        desk.wait(999);
        assert_eq!(desk.take(), Vec::<String>::new());
        desk.feed(old, "<p h=1000 t=1>\n");
        desk.feed(new, "<p h=1000 t=1>\n");
        desk.wait(1);
        assert_eq!(desk.take(), ["gap 1 e1:4 3", "1:5 e"]);
    });
}

#[test]
fn silence_is_warned_of_and_then_left() {
    let (mut desk, old) = Desk::open(true);
    desk.feed(old, "<p o c=9 u=a/b ep=e1 n=0 head=0>\n<p c=9 n=1>x\n");
    desk.take();
    desk.wait(1_999);
    assert_eq!(desk.take(), Vec::<String>::new());
    desk.wait(1);
    assert_eq!(desk.take(), ["quiet"]);
    desk.feed(old, "<p h=1000 t=1>\n");
    assert_eq!(desk.take(), ["live"]);
    desk.wait(3_999);
    assert_eq!((desk.take(), &desk.outputs[..]), (vec!["quiet".into()], &[][..]));
    desk.wait(300);
    assert_eq!(desk.output(), Output::CloseStream { stream: old });
    assert_eq!(desk.take(), ["lost silent", "waiting", "connecting"]);
    let (_, request) = desk.stream();
    assert_eq!(request.target, "mux.html?scs=a&mid=7&last=9:e1:1");
}

#[test]
fn a_document_is_refreshed_in_its_time_and_when_the_server_asks() {
    let (mut desk, old) = Desk::open(true);
    desk.feed(old, "<p o c=9 u=a/b ep=e1 n=0 head=0>\n<p m e=route w=2000>\n");
    assert_eq!(desk.outputs, []);
    desk.wait(1_500);
    let (new, request) = desk.stream();
    assert_eq!(request.target, "refresh.html?scs=a&mid=7&last=9:e1:0");
    desk.begin(
        new,
        "<p i scs=a mid=7 d=2 h=20000 r=60000 v=1>\n<p o c=9 u=a/b ep=e1 n=0 head=0>\n",
    );
    assert_eq!(desk.output(), Output::CloseStream { stream: old });
    desk.wait(53_999);
    assert_eq!(desk.outputs, [], "at most a tenth early");
    desk.wait(6_001);
    assert!(desk.stream().1.target.starts_with("refresh.html"));
}

#[test]
fn after_a_shutdown_the_client_waits_its_turn() {
    let (mut desk, old) = Desk::open(true);
    desk.feed(old, "<p o c=9 u=a/b ep=e1 n=0 head=0>\n<p z e=shutdown w=60000>\n");
    assert_eq!(desk.output(), Output::CloseStream { stream: old });
    assert_eq!(desk.take()[1..], [r#"lost ended("shutdown")"#, "waiting"]);
    let wait = desk.agent.poll_timeout().unwrap().since(desk.now);
    assert!(wait > Span::from_millis(250) && wait <= Span::from_secs(60), "{wait}");
}

#[test]
fn a_lost_session_is_replaced_and_every_channel_goes_on_where_it_was() {
    both(|whole| {
        for (code, status) in [("no-session", 404), ("wrong-server", 421)] {
            let (mut desk, old) = Desk::open(whole);
            desk.feed(old, "<p o c=9 u=a/b ep=e1 n=0 head=0>\n<p c=9 n=1>x\n");
            desk.end(old);
            desk.wait(300);
            let (resumed, request) = desk.stream();
            assert_eq!(request.target, "mux.html?scs=a&mid=7&last=9:e1:1");
            desk.take();
            desk.refuse(resumed, status, code);
            assert_eq!(desk.take(), [format!("lost {code}")]);
            let (new, request) = desk.stream();
            assert_eq!(request.target, "mux.html?mid=0&scs=0&open=a/b;since=e1:1");
            desk.begin(new, "<p i scs=b mid=8 d=1 k=other h=1000 r=60000 v=1>\n");
            desk.feed(new, "<p o c=5 u=a/b ep=e1 n=1 head=2>\n<p c=5 n=2>y\n");
            assert_eq!(desk.take(), ["live", "session 8.1 true", "1:2 y"]);
            // The next server counts for itself: low numbers of a new epoch are new messages.
            desk.end(new);
            desk.wait(300);
            let (resumed, _) = desk.stream();
            desk.refuse(resumed, status, code);
            let (new, request) = desk.stream();
            assert_eq!(request.target, "mux.html?mid=0&scs=0&open=a/b;since=e1:2");
            desk.take();
            desk.begin(new, "<p i scs=c mid=9 d=1 k=other h=1000 r=60000 v=1>\n");
            desk.feed(new, "<p o c=5 u=a/b ep=e2 n=0 head=1>\n<p c=5 n=1>z\n");
            let told = ["live", "session 9.1 true", "opened 1 e2:0 1", "gap 1 e2:0", "1:1 z"];
            assert_eq!(desk.take(), told);
        }
    });
}

/// What has come was read before anything was given up: the server may not have it any more.
#[test]
fn a_document_that_comes_at_its_last_moment_is_read() {
    both(|whole| {
        let mut desk = Desk::new(whole);
        desk.subscribe("a/b", Mode::Queue);
        let (stream, _) = desk.stream();
        desk.now += Settings::default().connect_timeout;
        desk.begin(stream, IDENTITY);
        desk.feed(stream, "<p o c=9 u=a/b ep=e1 n=0 head=0>\n<p c=9 n=1>one\n");
        desk.wait(1);
        assert_eq!(desk.take()[2..], ["session 7.1 true", "opened 1 e1:0 0", "1:1 one"]);
    });
}

#[test]
fn a_missing_resource_does_not_keep_the_others_away() {
    let mut desk = Desk::new(true);
    let names = ["a/b", "no/c"].map(|name| OpenRequest::new(parse_topic(name).unwrap()));
    let keys = desk.agent.subscribe_all(names, desk.now).unwrap();
    desk.drain();
    let (first, request) = desk.stream();
    assert_eq!(request.target, "mux.html?mid=0&scs=0&open=a/b&open=no/c");
    desk.refuse(first, 404, "no-resource");
    desk.wait(300);
    let (stream, request) = desk.stream();
    assert_eq!(request.target, "mux.html?mid=0&scs=0", "one by one, to learn which it is");
    desk.begin(stream, IDENTITY);
    let Output::Call { call, request, .. } = desk.output() else { panic!() };
    assert_eq!(request.target, "batch?scs=a&mid=7");
    let lines = "open?resource=a&subject=b&mode=queue\nopen?resource=no&subject=c&mode=queue\n";
    assert_eq!(request.body.as_deref(), Some(lines.as_bytes()));
    let body =
        "{\"ok\":true,\"cid\":9,\"ep\":\"e1\",\"n\":4}\n{\"ok\":false,\"error\":\"no-resource\"}\n";
    desk.take();
    desk.agent.handle_answer(call, 200, None, body.as_bytes(), desk.now);
    desk.drain();
    assert_eq!(desk.take(), ["refused 2 true"]);
    let place = Position { ep: Epoch::parse("e1").unwrap(), n: Offset(4) };
    assert_eq!(desk.agent.position(keys[0]), Some(place));
    desk.wait(300);
    let Output::Call { request, .. } = desk.output() else { panic!() };
    assert_eq!(request.target, "open?scs=a&mid=7&resource=no&subject=c&mode=queue");
    // `gone` is tried again too, `denied` is not.
    desk.feed(stream, "<p o c=9 u=a/b ep=e1 n=4 head=4>\n<p x c=9 e=gone>\n");
    desk.wait(300);
    let Output::Call { request, .. } = desk.output() else { panic!() };
    let target = "open?scs=a&mid=7&resource=a&subject=b&mode=queue&since=e1:4";
    assert_eq!(request.target, target);
    desk.feed(stream, "<p o c=9 l=1 u=a/b ep=e1 n=4 head=4>\n<p x c=9 e=denied>\n");
    desk.wait(900);
    assert_eq!(desk.outputs, []);
}

#[test]
fn a_channel_refused_in_the_document_is_asked_for_by_itself() {
    both(|whole| {
        let (mut desk, stream) = Desk::open(whole);
        desk.feed(stream, "<p x u=a/b e=gone>\n<p x u=o/ther e=denied>\n");
        let Output::Call { call, request, .. } = desk.output() else { panic!() };
        assert_eq!(request.target, "open?scs=a&mid=7&resource=a&subject=b&mode=queue");
        let body = br#"{"ok":false,"error":"forbidden","detail":"not you"}"#;
        desk.agent.handle_answer(call, 403, None, body, desk.now);
        desk.drain();
        assert_eq!(desk.take(), ["refused 1 false"]);
        desk.wait(900);
        assert_eq!(desk.outputs, []);
    });
}

#[test]
fn a_channel_that_ended_while_nobody_read_is_asked_for_again() {
    both(|whole| {
        let (mut desk, stream) = Desk::open(whole);
        desk.feed(stream, "<p o c=9 u=a/b ep=e1 n=4 head=4>\n");
        desk.end(stream);
        desk.wait(300);
        let (stream, _) = desk.stream();
        desk.take();
        desk.begin(stream, "<p i scs=a mid=7 d=2 h=1000 r=60000 v=1>\n<p x c=9 e=closed>\n");
        assert_eq!(desk.take()[2..], ["closed 1 closed"]);
        desk.wait(300);
        let Output::Call { request, .. } = desk.output() else { panic!() };
        let target = "open?scs=a&mid=7&resource=a&subject=b&mode=queue&since=e1:4";
        assert_eq!(request.target, target);
    });
}

#[test]
fn many_positions_travel_in_the_body() {
    let mut desk = Desk::new(true);
    let names = (0..200).map(|at| OpenRequest::new(parse_topic(&format!("a/{at}")).unwrap()));
    desk.agent.subscribe_all(names, desk.now).unwrap();
    desk.drain();
    let (stream, request) = desk.stream();
    assert!(request.target.len() < 8000, "a target has its limit; the rest follows by command");
    desk.begin(stream, IDENTITY);
    let opened = |at| format!("<p o c={} u=a/{at} ep=e1zzzzzzzz n=1 head=1>\n", 1000 + at);
    desk.feed(stream, &(0..200).map(opened).collect::<String>());
    desk.outputs.clear();
    desk.end(stream);
    desk.wait(300);
    let (_, request) = desk.stream();
    assert_eq!(request.target, "mux.html?scs=a&mid=7");
    let body = String::from_utf8(request.body.unwrap()).unwrap();
    assert!(body.starts_with("1000:e1zzzzzzzz:1,") && body.split(',').count() == 200);
}

#[test]
fn sends_are_repeated_under_their_number_and_end_unknown_with_the_session() {
    let (mut desk, stream) = Desk::open(true);
    desk.feed(stream, "<p o c=9 u=a/b ep=e1 n=0 head=0>\n");
    desk.take();
    let first = desk.agent.send(ONE, b"hi".to_vec(), Some("w 1".into()), desk.now).unwrap();
    let second = desk.agent.send(ONE, b"ho".to_vec(), None, desk.now).unwrap();
    desk.drain();
    let Output::Call { call, request, .. } = desk.output() else { panic!() };
    assert_eq!(request.target, "send?scs=a&mid=7&cid=9&n=1&id=w%201");
    assert_eq!(request.body.as_deref(), Some(&b"hi"[..]));
    let Output::Call { call: held, .. } = desk.output() else { panic!() };
    desk.agent.handle_failure(call, desk.now);
    desk.agent.handle_answer(held, 200, None, br#"{"ok":true,"e":"held"}"#, desk.now);
    desk.wait(600);
    let Output::Call { request, .. } = desk.output() else { panic!() };
    assert_eq!(request.target, "send?scs=a&mid=7&cid=9&n=1&id=w%201");
    desk.feed(stream, "<p a c=9 n=2 e=taken>\n");
    assert_eq!(desk.take(), [format!("sent 1 {} Taken", second.0)]);
    desk.end(stream);
    desk.wait(300);
    let (resumed, _) = desk.stream();
    desk.take();
    desk.refuse(resumed, 404, "no-session");
    let unknown = format!("sent 1 {} {:?}", SendId(first.0).0, Fate::Unknown);
    assert_eq!(desk.take(), [unknown, "lost no-session".into()]);
}

#[test]
fn what_is_not_the_protocol_is_given_up_and_tried_again() {
    both(|whole| {
        let mut desk = Desk::new(whole);
        desk.subscribe("a/b", Mode::Queue);
        let (stream, _) = desk.stream();
        desk.begin(stream, "<html>hello\n");
        desk.end(stream);
        assert_eq!(desk.output(), Output::CloseStream { stream });
        assert_eq!(desk.take(), ["connecting", "lost broken", "waiting"]);
        desk.wait(300);
        let (stream, _) = desk.stream();
        desk.agent.handle_head(stream, 502, Some(Span::from_secs(7)), desk.now);
        desk.feed(stream, "<html>bad gateway</html>");
        desk.end(stream);
        desk.wait(6_000);
        assert_eq!(desk.outputs, [], "the server said how long to stay away");
        desk.wait(1_000);
        let (stream, _) = desk.stream();
        desk.take();
        // No answer at all.
        desk.wait(9_999);
        assert_eq!(desk.take(), Vec::<String>::new());
        desk.wait(1);
        assert_eq!(desk.take(), ["lost broken", "waiting"]);
        assert_eq!(desk.output(), Output::CloseStream { stream });
    });
}

#[test]
fn a_stopped_agent_says_farewell_and_does_nothing_more() {
    let (mut desk, stream) = Desk::open(true);
    desk.agent.stop(desk.now);
    desk.drain();
    let Output::Call { request, .. } = desk.output() else { panic!() };
    assert_eq!(request.target, "logout?scs=a&mid=7");
    assert_eq!(desk.output(), Output::CloseStream { stream });
    desk.end(stream);
    desk.wait(60_000);
    assert_eq!((desk.take(), desk.outputs.len()), (vec!["stopped".to_string()], 0));
}

#[test]
fn an_answer_that_cannot_change_stops_the_agent() {
    let mut desk = Desk::new(true);
    desk.subscribe("a/b", Mode::Queue);
    let (stream, _) = desk.stream();
    desk.refuse(stream, 401, "auth-required");
    assert_eq!(desk.agent.state(), StreamState::Stopped);
}

#[test]
fn how_long_messages_may_wait_is_asked_for_on_every_document() {
    for (flush, asked) in [(None, ""), (Some(0), "&flush=0"), (Some(20), "&flush=20")] {
        let settings = Settings { flush: flush.map(Span::from_millis), ..Settings::default() };
        let mut desk = Desk::with(settings, true);
        desk.subscribe("a/b", Mode::Queue);
        let (stream, request) = desk.stream();
        assert_eq!(request.target, format!("mux.html?mid=0&scs=0{asked}&open=a/b"));
        desk.begin(stream, "<p i scs=a mid=7 d=1 k=s3cret h=1000 r=60000 v=1 f=20 hc>\n");
        desk.feed(stream, "<p o c=9 u=a/b ep=e1 n=3 head=3>\n");
        desk.agent.refresh(desk.now);
        desk.drain();
        let (_, request) = desk.stream();
        assert_eq!(request.target, format!("refresh.html?scs=a&mid=7&last=9:e1:3{asked}"));
    }
}

#[test]
fn a_server_that_demands_it_hears_of_the_client_in_every_interval() {
    let mut desk = Desk::new(true);
    desk.subscribe("a/b", Mode::Queue);
    let (stream, _) = desk.stream();
    desk.begin(stream, "<p i scs=a mid=7 d=1 k=s3cret h=1000 r=60000 v=1 hc>\n");
    desk.feed(stream, "<p o c=9 u=a/b ep=e1 n=0 head=0>\n");
    desk.wait(749);
    assert_eq!(desk.outputs, []);
    desk.wait(1);
    let Output::Call { call, request, .. } = desk.output() else { panic!() };
    assert_eq!(request.target, "ping?scs=a&mid=7");
    desk.agent.handle_answer(call, 200, None, br#"{"ok":true,"h":1000}"#, desk.now);
    // Any other command will do as well.
    desk.wait(500);
    desk.feed(stream, "<p h=1000 t=1>\n");
    desk.agent.ping(desk.now);
    desk.drain();
    desk.output();
    desk.wait(749);
    assert_eq!(desk.outputs, []);
    // The interval is the server's latest word.
    desk.feed(stream, "<p h=400 t=1>\n");
    desk.wait(1);
    let Output::Call { .. } = desk.output() else { panic!() };
    desk.wait(300);
    let Output::Call { .. } = desk.output() else { panic!() };
}

#[test]
fn another_interval_is_asked_for_in_the_middle_of_a_document() {
    let (mut desk, stream) = Desk::open(true);
    desk.feed(stream, "<p o c=9 u=a/b ep=e1 n=0 head=0>\n");
    desk.agent.set_heartbeat(Span::from_millis(300), desk.now);
    desk.drain();
    let Output::Call { request, .. } = desk.output() else { panic!() };
    assert_eq!(request.target, "ping?scs=a&mid=7&h=300");
    desk.feed(stream, "<p h=300 t=1>\n");
    desk.take();
    desk.wait(600);
    assert_eq!(desk.take(), ["quiet"], "two intervals of the new length");
    desk.wait(600);
    assert_eq!(desk.take()[..1], ["lost silent"]);
}

#[test]
fn numbers_that_were_given_up_do_not_lock_the_window_for_ever() {
    let (mut desk, old) = Desk::open(true);
    desk.feed(old, "<p o c=9 u=a/b ep=e1 n=0 head=0>\n");
    let first = ahm::client::event::ChannelKey(1);
    for number in 0..9 {
        desk.agent.send(first, vec![number], None, desk.now).unwrap();
    }
    desk.drain();
    desk.outputs.clear();
    // All that bears a number is lost with the channel that is left.
    desk.agent.unsubscribe(first, desk.now).unwrap();
    let again = desk.subscribe("a/b", Mode::Queue);
    desk.feed(old, "<p x c=9 e=closed>\n<p o c=9 l=1 u=a/b ep=e1 n=0 head=0>\n");
    desk.agent.send(again, b"x".to_vec(), None, desk.now).unwrap();
    desk.outputs.clear();
    desk.drain();
    let (mut tries, mut asked) = (0, None);
    while asked.is_none() {
        match desk.outputs.pop() {
            Some(Output::Call { call, request, .. }) if request.target.starts_with("send") => {
                assert_eq!(request.target, "send?scs=a&mid=7&cid=9&n=10");
                tries += 1;
                let refused = br#"{"ok":false,"error":"out-of-window","detail":"","sn":1}"#;
                desk.agent.handle_answer(call, 409, None, refused, desk.now);
                desk.drain();
            }
            Some(Output::OpenStream { stream, request, .. }) => asked = Some((stream, request)),
            Some(_) => {}
            None => {
                desk.wait(100);
                desk.feed(old, "<p h=1000 t=1>\n");
            }
        }
    }
    let (new, request) = asked.unwrap();
    assert_eq!((tries, request.target.as_str()), (4, "mux.html?mid=0&scs=0&open=a/b;since=e1:0"));
    desk.agent.send(again, b"y".to_vec(), None, desk.now).unwrap();
    desk.outputs.clear();
    desk.begin(new, "<p i scs=a mid=8 d=1 k=other h=1000 r=60000 v=1>\n");
    desk.feed(new, "<p o c=9 u=a/b ep=e1 n=0 head=0>\n");
    let sends = desk.outputs.iter().filter_map(|output| match output {
        Output::Call { request, .. } => Some(request.target.as_str()),
        _ => None,
    });
    assert_eq!(sends.collect::<Vec<_>>(), ["send?scs=a&mid=8&cid=9&n=1"]);
}

#[test]
fn a_channel_that_was_open_before_its_publisher_begins_without_a_gap() {
    both(|whole| {
        let (mut desk, stream) = Desk::open(whole);
        desk.feed(stream, "<p o c=9 u=a/b ep=e1 n=0 head=0>\n");
        desk.feed(stream, "<p o c=9 u=a/b ep=e2 n=0 head=0>\n<p c=9 n=1>a\n");
        let told = desk.take();
        assert_eq!(told[told.len() - 3..], ["opened 1 e1:0 0", "opened 1 e2:0 0", "1:1 a"]);
        // Something was said in this one, and the next does not begin at its beginning.
        desk.feed(stream, "<p o c=9 u=a/b ep=e3 n=0 head=0>\n");
        desk.feed(stream, "<p o c=9 u=a/b ep=e4 n=7 head=7>\n");
        let told = ["opened 1 e3:0 0", "gap 1 e3:0", "opened 1 e4:7 7", "gap 1 e4:7"];
        assert_eq!(desk.take(), told);
    });
}

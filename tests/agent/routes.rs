//! Several routes, by script: to one server or to two, which carry the same at the same time or
//! take each other's place.

use ahm::base::time::Span;
use ahm::client::event::{CallId, ChannelKey, Output, Request, RouteId, StreamId, parse_topic};
use ahm::client::settings::Settings;
use ahm::wire::command::{Mode, OpenRequest};

use crate::desk::{Desk, IDENTITY, both};

const OPENED: &str = "<p o c=9 u=a/b ep=e1 n=0 head=0>\n";
/// The session that the second server makes; it numbers channels for itself.
const OTHER: &str = "<p i scs=b mid=8 d=1 k=other h=1000 r=60000 v=1>\n";
const OTHER_OPENED: &str = "<p o c=5 u=a/b ep=e1 n=0 head=0>\n";

fn settings(routes: u8, duplicates: u8) -> Settings {
    Settings { routes, duplicates, ..Settings::default() }
}

fn stream(desk: &mut Desk) -> (StreamId, u8, String) {
    match desk.output() {
        Output::OpenStream { stream, route, request } => (stream, route.0, request.target),
        other => panic!("{other:?}"),
    }
}

fn call(desk: &mut Desk) -> (CallId, u8, Request) {
    match desk.output() {
        Output::Call { call, route, request } => (call, route.0, request),
        other => panic!("{other:?}"),
    }
}

/// A document on each of two servers; the route to the second one was found to lead elsewhere.
fn two_servers(whole: bool) -> (Desk, StreamId, StreamId) {
    let mut desk = Desk::with(settings(2, 1), whole);
    desk.subscribe("a/b", Mode::Queue);
    let (first, route, _) = stream(&mut desk);
    assert_eq!((route, &desk.outputs[..]), (0, &[][..]));
    desk.begin(first, IDENTITY);
    desk.feed(first, OPENED);
    let (probe, route, target) = stream(&mut desk);
    assert_eq!((route, target.as_str()), (1, "mux.html?scs=a&mid=7&last=&dup=1"));
    desk.refuse(probe, 421, "wrong-server");
    let (second, route, target) = stream(&mut desk);
    assert_eq!((route, target.as_str()), (1, "mux.html?mid=0&scs=0&open=a/b;since=e1:0"));
    desk.begin(second, OTHER);
    desk.feed(second, OTHER_OPENED);
    assert_eq!(desk.outputs, []);
    assert_eq!(
        desk.take(),
        ["connecting", "live", "session 7.1 true", "opened 1 e1:0 0", "session 8.1 true"]
    );
    (desk, first, second)
}

#[test]
fn two_servers_carry_the_same_and_either_may_die() {
    both(|whole| {
        for dead in 0..2 {
            let (mut desk, first, second) = two_servers(whole);
            desk.feed(first, "<p c=9 n=1>a\n");
            desk.feed(second, "<p c=5 n=1>a\n<p c=5 n=2>b\n");
            desk.feed(first, "<p c=9 n=2>b\n");
            assert_eq!(desk.take(), ["1:1 a", "1:2 b"]);
            let (cut, other, cid) = [(first, second, 5), (second, first, 9)][dead];
            desk.end(cut);
            desk.feed(other, &format!("<p c={cid} n=3>c\n"));
            assert_eq!(desk.take(), ["lost broken", "1:3 c"], "and the state is still live");
            desk.wait(300);
            let (again, route, target) = stream(&mut desk);
            assert_eq!(route, dead as u8);
            let expected = ["mux.html?scs=a&mid=7&last=9:e1:3", "mux.html?scs=b&mid=8&last=5:e1:3"];
            assert_eq!(target, expected[dead], "its session is found again");
            desk.begin(
                again,
                [
                    "<p i scs=a mid=7 d=2 h=1000 r=60000 v=1>\n",
                    "<p i scs=b mid=8 d=2 h=1000 r=60000 v=1>\n",
                ][dead],
            );
            assert_eq!(desk.agent.documents_running(), 2);
        }
    });
}

#[test]
fn a_send_goes_to_the_main_server_and_to_the_other_one_only_after_it() {
    let (mut desk, first, second) = two_servers(true);
    let key = ahm::client::event::ChannelKey(1);
    desk.agent.send(key, b"one".to_vec(), None, desk.now).unwrap();
    desk.drain();
    let (sent, route, request) = call(&mut desk);
    assert_eq!((route, request.target.as_str()), (0, "send?scs=a&mid=7&cid=9&n=1"));
    assert_eq!(desk.outputs, []);
    desk.end(first);
    desk.agent.handle_failure(sent, desk.now);
    desk.agent.send(key, b"two".to_vec(), None, desk.now).unwrap();
    desk.drain();
    assert_eq!(desk.take(), ["lost broken"]);
    // Twice it cannot be reached: what was on the wire there is not sent again anywhere.
    for _ in 0..2 {
        while !desk.outputs.iter().any(|output| matches!(output, Output::OpenStream { .. })) {
            desk.wait(10);
            desk.feed(second, "<p h=1000 t=1>\n");
        }
        let (again, route, _) = stream(&mut desk);
        assert_eq!(route, 0);
        desk.end(again);
    }
    let (_, route, request) = call(&mut desk);
    assert_eq!((route, request.target.as_str()), (1, "send?scs=b&mid=8&cid=5&n=1"));
    assert_eq!(request.body.as_deref(), Some(&b"two"[..]));
    assert_eq!(desk.take(), ["lost broken", "lost broken", "sent 1 6 Unknown"]);
    assert_eq!(desk.agent.route(), RouteId(1));
}

#[test]
fn numbers_go_on_where_a_session_becomes_the_main_one_again() {
    let (mut desk, first, second) = two_servers(true);
    let key = ahm::client::event::ChannelKey(1);
    let send = |desk: &mut Desk| {
        desk.agent.send(key, b"x".to_vec(), None, desk.now).unwrap();
        desk.drain();
        let (sent, route, request) = call(desk);
        desk.agent.handle_answer(sent, 200, None, br#"{"ok":true,"outcome":"taken"}"#, desk.now);
        desk.drain();
        (route, request.target)
    };
    assert_eq!(send(&mut desk), (0, "send?scs=a&mid=7&cid=9&n=1".into()));
    desk.agent.change_route(RouteId(1), desk.now);
    desk.drain();
    assert_eq!(desk.outputs, [], "the other leg runs already");
    assert_eq!(send(&mut desk), (1, "send?scs=b&mid=8&cid=5&n=1".into()));
    desk.feed(first, "<p c=9 n=1>a\n");
    desk.feed(second, "<p c=5 n=1>a\n");
    desk.agent.change_route(RouteId(0), desk.now);
    desk.drain();
    assert_eq!(send(&mut desk), (0, "send?scs=a&mid=7&cid=9&n=2".into()));
}

#[test]
fn what_two_servers_number_for_themselves_is_read_from_one_at_a_time() {
    both(|whole| {
        let mut desk = Desk::with(settings(2, 1), whole);
        desk.subscribe("a/b", Mode::Queue);
        let (first, ..) = stream(&mut desk);
        desk.begin(first, IDENTITY);
        desk.feed(first, "<p o c=9 u=a/b ep=aa n=4 head=4>\n");
        let (probe, ..) = stream(&mut desk);
        desk.refuse(probe, 404, "no-session");
        let (second, _, target) = stream(&mut desk);
        assert_eq!(target, "mux.html?mid=0&scs=0&open=a/b;since=aa:4");
        desk.begin(second, OTHER);
        desk.feed(second, "<p o c=5 u=a/b ep=bb n=70 head=70>\n<p g c=5 ep=bb n=70>\n");
        desk.take();
        desk.feed(first, "<p c=9 n=5>x\n");
        desk.feed(second, "<p c=5 n=71>x\n<p c=5 n=72>y\n");
        desk.feed(first, "<p c=9 n=6>y\n");
        for _ in 0..5 {
            desk.wait(1_000);
            desk.feed(first, "<p h=1000 t=1>\n");
            desk.feed(second, "<p h=1000 t=1>\n");
        }
        assert_eq!(desk.take(), ["1:5 x", "1:6 y"]);
        assert_eq!(desk.agent.counters().strange, 2);
        desk.end(first);
        desk.feed(second, "<p c=5 n=73>z\n");
        let told = ["lost broken", "opened 1 bb:72 72", "gap 1 bb:72", "1:73 z"];
        assert_eq!(desk.take(), told, "how they go together nobody knows");
        desk.wait(300);
        let (again, ..) = stream(&mut desk);
        desk.begin(again, "<p i scs=a mid=7 d=2 h=1000 r=60000 v=1>\n");
        desk.feed(again, "<p o c=9 u=a/b ep=aa n=7 head=7>\n<p c=9 n=8>q\n");
        desk.feed(second, "<p c=5 n=74>q\n");
        assert_eq!(desk.take(), ["session 7.2 false", "1:74 q"]);
        desk.end(second);
        assert_eq!(desk.take(), ["lost broken", "opened 1 aa:7 7", "gap 1 aa:7", "1:8 q"]);
    });
}

#[test]
fn two_routes_to_one_server_share_the_session_and_may_both_carry_a_send() {
    let mut desk = Desk::with(Settings { double_sends: true, ..settings(2, 1) }, true);
    desk.subscribe("a/b", Mode::Queue);
    let (first, ..) = stream(&mut desk);
    desk.begin(first, IDENTITY);
    desk.feed(first, OPENED);
    let (second, route, _) = stream(&mut desk);
    assert_eq!(route, 1);
    desk.begin(second, "<p i scs=a mid=7 d=2 h=1000 r=60000 v=1>\n");
    desk.feed(second, OPENED);
    desk.take();
    let key = ahm::client::event::ChannelKey(1);
    desk.agent.send(key, b"x".to_vec(), None, desk.now).unwrap();
    desk.drain();
    let (copy, over_copy, request) = call(&mut desk);
    let (sent, over, same) = call(&mut desk);
    assert_eq!((over_copy, over), (1, 0));
    assert_eq!(request, same);
    desk.agent.handle_failure(copy, desk.now);
    desk.agent.handle_answer(sent, 200, None, br#"{"ok":true,"outcome":"taken"}"#, desk.now);
    desk.drain();
    assert_eq!(desk.take(), ["sent 1 5 Taken"]);
    assert_eq!(desk.outputs, []);
}

#[test]
fn a_route_that_fails_leads_to_the_next_and_the_session_is_kept_as_long_as_it_may_live() {
    let mut desk = Desk::with(settings(3, 0), true);
    desk.subscribe("a/b", Mode::Queue);
    let (first, ..) = stream(&mut desk);
    desk.begin(first, IDENTITY);
    desk.feed(first, OPENED);
    desk.end(first);
    let mut tried = Vec::new();
    let mut next = |desk: &mut Desk| {
        while desk.outputs.is_empty() {
            desk.wait(10);
        }
        let (attempt, route, target) = stream(desk);
        tried.push((route, target.split_once('&').unwrap().0.to_owned()));
        attempt
    };
    // Over its own way first, then over the others; the second leads to another server.
    let attempt = next(&mut desk);
    desk.end(attempt);
    let attempt = next(&mut desk);
    desk.refuse(attempt, 421, "wrong-server");
    for _ in 0..3 {
        let attempt = next(&mut desk);
        desk.end(attempt);
    }
    let expected = [
        (0, "mux.html?scs=a"),
        (1, "mux.html?scs=a"),
        (2, "mux.html?scs=a"),
        (1, "mux.html?mid=0"),
        (0, "mux.html?scs=a"),
    ];
    assert_eq!(tried, expected.map(|(route, target)| (route, target.to_owned())));
}

#[test]
fn a_server_that_drains_is_left_for_another_before_it_ends() {
    both(|whole| {
        let mut desk = Desk::with(settings(2, 0), whole);
        desk.subscribe("a/b", Mode::Queue);
        let (old, ..) = stream(&mut desk);
        desk.begin(old, IDENTITY);
        desk.feed(old, OPENED);
        let key = ahm::client::event::ChannelKey(1);
        desk.agent.send(key, b"one".to_vec(), None, desk.now).unwrap();
        desk.drain();
        let (sent, ..) = call(&mut desk);
        desk.take();
        desk.feed(old, "<p m e=drain w=4000>\n");
        desk.agent.send(key, b"two".to_vec(), None, desk.now).unwrap();
        desk.feed(old, "<p c=9 n=1>a\n");
        assert_eq!(desk.outputs, [], "nothing new is begun in a session that is left");
        // What is on the wire is waited for, and then no longer.
        for _ in 0..5 {
            desk.wait(500);
            desk.feed(old, "<p h=1000 t=1>\n");
        }
        assert_eq!(desk.outputs, []);
        desk.agent.handle_answer(sent, 200, None, br#"{"ok":true,"outcome":"taken"}"#, desk.now);
        desk.drain();
        desk.wait(500);
        let (new, route, target) = stream(&mut desk);
        assert_eq!((route, target.as_str()), (1, "mux.html?mid=0&scs=0&open=a/b;since=e1:1"));
        desk.feed(old, "<p c=9 n=2>b\n");
        desk.begin(new, OTHER);
        assert_eq!(desk.agent.documents_running(), 2, "both carry everything");
        desk.feed(new, "<p o c=5 u=a/b ep=e1 n=1 head=2>\n<p c=5 n=2>b\n<p c=5 n=3>c\n");
        let close = desk.outputs.iter().position(|o| *o == Output::CloseStream { stream: old });
        desk.outputs.remove(close.expect("the old one is closed"));
        let (_, route, request) = call(&mut desk);
        assert_eq!((route, request.target.as_str()), (1, "send?scs=b&mid=8&cid=5&n=1"));
        let told = ["1:1 a", "sent 1 3 Taken", "1:2 b", "session 8.1 true", "1:3 c"];
        assert_eq!(desk.take(), told);
    });
}

#[test]
fn behind_a_load_balancer_the_same_route_leads_elsewhere() {
    let mut desk = Desk::with(settings(1, 0), true);
    desk.subscribe("a/b", Mode::Queue);
    let (old, ..) = stream(&mut desk);
    desk.begin(old, IDENTITY);
    desk.feed(old, OPENED);
    desk.feed(old, "<p m e=drain w=0>\n");
    let (refused, route, target) = stream(&mut desk);
    assert_eq!((route, target.as_str()), (0, "mux.html?mid=0&scs=0&open=a/b;since=e1:0"));
    desk.refuse(refused, 503, "draining");
    desk.wait(300);
    let (new, ..) = stream(&mut desk);
    desk.begin(new, OTHER);
    desk.feed(new, OTHER_OPENED);
    assert_eq!(desk.output(), Output::CloseStream { stream: old });
    assert_eq!(desk.agent.documents_running(), 1);
}

#[test]
fn a_change_of_route_has_no_instant_without_a_document() {
    let mut desk = Desk::with(settings(2, 0), true);
    desk.subscribe("a/b", Mode::Queue);
    let (old, ..) = stream(&mut desk);
    desk.begin(old, IDENTITY);
    desk.feed(old, OPENED);
    // The other route is dead: nothing changes.
    desk.agent.change_route(RouteId(1), desk.now);
    desk.drain();
    let (attempt, route, target) = stream(&mut desk);
    assert_eq!((route, target.as_str()), (1, "refresh.html?scs=a&mid=7&last=9:e1:0"));
    desk.end(attempt);
    assert_eq!((desk.agent.route(), desk.agent.documents_running()), (RouteId(0), 1));
    desk.feed(old, "<p c=9 n=1>a\n");
    desk.agent.change_route(RouteId(1), desk.now);
    desk.drain();
    let (new, ..) = stream(&mut desk);
    desk.begin(new, "<p i scs=a mid=7 d=2 h=1000 r=60000 v=1>\n");
    assert_eq!(desk.agent.documents_running(), 2);
    desk.feed(new, "<p o c=9 u=a/b ep=e1 n=1 head=1>\n");
    assert_eq!(desk.output(), Output::CloseStream { stream: old });
    assert_eq!(desk.agent.route(), RouteId(1));
}

#[test]
fn a_channel_that_one_server_has_no_more_goes_on_with_the_other() {
    let (mut desk, first, second) = two_servers(true);
    desk.feed(first, "<p c=9 n=1>a\n<p x c=9 e=gone>\n");
    desk.feed(second, "<p c=5 n=1>a\n<p c=5 n=2>b\n");
    assert_eq!(desk.take(), ["1:1 a", "1:2 b"]);
    desk.wait(300);
    let (_, route, request) = call(&mut desk);
    assert_eq!(route, 0, "it is asked for again");
    assert!(request.target.contains("&since=e1:2"), "{}", request.target);
    desk.feed(first, "<p h=1000 t=1>\n");
    desk.feed(second, "<p x c=5 e=denied>\n");
    assert_eq!(desk.take(), ["closed 1 denied"]);
    assert!(Span::ZERO < desk.agent.poll_timeout().unwrap().since(desk.now));
}

#[test]
fn what_the_main_server_numbers_for_itself_is_followed() {
    let mut desk = Desk::with(settings(2, 1), true);
    desk.subscribe("a/b", Mode::Queue);
    let (first, ..) = stream(&mut desk);
    desk.begin(first, IDENTITY);
    let (probe, ..) = stream(&mut desk);
    desk.refuse(probe, 421, "wrong-server");
    let (second, ..) = stream(&mut desk);
    // The other server is faster.
    desk.begin(second, OTHER);
    desk.feed(second, "<p o c=5 u=a/b ep=bb n=70 head=70>\n<p c=5 n=71>x\n");
    desk.take();
    desk.feed(first, "<p o c=9 u=a/b ep=aa n=4 head=4>\n<p c=9 n=5>x\n");
    assert_eq!(desk.take(), [""; 0]);
    desk.wait(1_000);
    assert_eq!(desk.take(), ["opened 1 aa:4 4", "gap 1 aa:4", "1:5 x"]);
    desk.feed(second, "<p c=5 n=72>y\n");
    desk.feed(first, "<p c=9 n=6>y\n");
    assert_eq!(desk.take(), ["1:6 y"], "there what we send is heard");
    desk.agent.change_route(RouteId(1), desk.now);
    desk.drain();
    assert_eq!(desk.take(), [""; 0]);
    desk.wait(1_000);
    desk.feed(first, "<p c=9 n=7>z\n");
    desk.feed(second, "<p c=5 n=73>z\n<p c=5 n=74>q\n");
    desk.feed(first, "<p c=9 n=8>q\n");
    let told = ["1:7 z", "opened 1 bb:72 72", "gap 1 bb:72", "1:73 z", "1:74 q"];
    assert_eq!(desk.take(), told);
}

#[test]
fn a_conversation_is_held_on_the_main_server_alone() {
    let mut desk = Desk::with(settings(2, 1), true);
    desk.subscribe("a/b", Mode::Queue);
    let (first, ..) = stream(&mut desk);
    desk.begin(first, IDENTITY);
    desk.feed(first, "<p o c=1073741824 u=a/b ep=aa n=0 head=0>\n");
    let (probe, ..) = stream(&mut desk);
    desk.refuse(probe, 421, "wrong-server");
    let (second, ..) = stream(&mut desk);
    desk.begin(second, OTHER);
    desk.feed(second, "<p o c=1073741824 u=a/b ep=bb n=0 head=0>\n");
    let (_, route, request) = call(&mut desk);
    assert_eq!((route, request.target.as_str()), (1, "close?scs=b&mid=8&cid=1073741824&l=0"));
    desk.feed(second, "<p x c=1073741824 e=closed>\n");
    desk.feed(first, "<p c=1073741824 n=1>hello\n");
    assert_eq!(desk.take().last().unwrap(), "1:1 hello");
    assert_eq!(desk.outputs, []);
    desk.agent.change_route(RouteId(1), desk.now);
    desk.drain();
    let (_, route, request) = call(&mut desk);
    assert_eq!((route, request.target.as_str()), (0, "close?scs=a&mid=7&cid=1073741824&l=0"));
    let (_, route, request) = call(&mut desk);
    assert_eq!(route, 1);
    assert!(request.target.starts_with("open?scs=b&mid=8&resource=a"), "{}", request.target);
    desk.feed(first, "<p x c=1073741824 e=closed>\n");
    desk.feed(second, "<p o c=1073741825 u=a/b ep=cc n=0 head=0>\n<p c=1073741825 n=1>again\n");
    assert_eq!(desk.take(), ["opened 1 cc:0 0", "gap 1 cc:0", "1:1 again"]);
}

#[test]
fn a_strict_channel_that_ends_while_the_session_moves_says_so() {
    let mut desk = Desk::with(settings(1, 0), true);
    let request = OpenRequest { strict: true, ..OpenRequest::new(parse_topic("a/b").unwrap()) };
    desk.agent.subscribe(request, desk.now).unwrap();
    desk.drain();
    let (old, ..) = stream(&mut desk);
    desk.begin(old, IDENTITY);
    desk.feed(old, OPENED);
    desk.feed(old, "<p m e=drain w=0>\n");
    let (new, _, target) = stream(&mut desk);
    assert_eq!(target, "mux.html?mid=0&scs=0&open=a/b;since=e1:0;strict=1");
    desk.take();
    desk.begin(new, OTHER);
    desk.feed(new, "<p o c=5 u=a/b ep=e1 n=0 head=9>\n<p x c=5 e=overrun>\n");
    assert_eq!(desk.take(), ["session 8.1 true", "closed 1 overrun"]);
}

#[test]
fn nobody_hears_what_is_sent_on_a_channel_that_the_main_server_has_no_more() {
    both(|whole| {
        let (mut desk, first, second) = two_servers(whole);
        let x = desk.agent.send(ChannelKey(1), b"x".to_vec(), None, desk.now).unwrap().0;
        desk.outputs.clear();
        desk.feed(first, "<p x c=9 e=overrun>\n");
        desk.feed(second, "<p c=5 n=1>a\n");
        assert_eq!(desk.take(), [format!("sent 1 {x} Unknown"), "1:1 a".into()]);
        let y = desk.agent.send(ChannelKey(1), b"y".to_vec(), None, desk.now).unwrap().0;
        desk.drain();
        assert_eq!(desk.take(), [format!("sent 1 {y} Refused(Ended(\"the channel ended\"))")]);
        // The other server's word is the last one.
        desk.feed(second, "<p x c=5 e=overrun>\n");
        assert_eq!(desk.take(), ["closed 1 overrun"]);
    });
}

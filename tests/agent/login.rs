//! Sessions that begin with a login, and what becomes of them when the proof behind it ends.

use ahm::base::time::Span;
use ahm::client::event::{CallId, Failure, Output, Request, StreamId};
use ahm::client::settings::Settings;
use ahm::wire::command::Mode;

use crate::desk::{Desk, both};

fn desk(whole: bool) -> Desk {
    let settings = Settings { login: true, script: Some("site".into()), ..Settings::default() };
    let mut desk = Desk::with(settings, whole);
    desk.subscribe("a/b", Mode::Queue);
    desk
}

/// What is asked for next; what is closed before is passed over.
fn output(desk: &mut Desk) -> Output {
    for _ in 0..400 {
        desk.outputs.retain(|output| !matches!(output, Output::CloseStream { .. }));
        if !desk.outputs.is_empty() {
            break;
        }
        desk.wait(50);
    }
    desk.output()
}

fn login(desk: &mut Desk) -> (CallId, Request) {
    match output(desk) {
        Output::Login { call, request, .. } => (call, request),
        other => panic!("a login, and not {other:?}"),
    }
}

fn answer(desk: &mut Desk, call: CallId, status: u16, body: &str) {
    desk.agent.handle_answer(call, status, None, body.as_bytes(), desk.now);
    desk.drain();
}

/// An agent with one channel, open in a session whose proof ends at `expires`.
fn open(whole: bool, expires: u64) -> (Desk, StreamId) {
    let mut desk = desk(whole);
    let (call, request) = login(&mut desk);
    assert_eq!((request.target.as_str(), request.key), ("login?auth=site", None));
    let user = format!(r#""user":"anna","expires":{expires},"key":"app""#);
    let made = format!(r#"{{"ok":true,"scs":"a","mid":"7","k":"s3cret",{user}}}"#);
    answer(&mut desk, call, 200, &made);
    let (stream, request) = desk.stream();
    assert_eq!(request.target, "mux.html?scs=a&mid=7");
    assert_eq!(request.key.as_deref(), Some("s3cret"));
    desk.begin(stream, "<p i scs=a mid=7 d=1 h=1000 r=600000 v=1>\n");
    let Output::Call { request, .. } = desk.output() else { panic!("the channel is opened") };
    assert!(request.target.starts_with("open?scs=a&mid=7&resource=a"), "{}", request.target);
    desk.feed(stream, "<p o c=9 u=a/b ep=e n=0 head=0>\n");
    let told = desk.take();
    assert!(told.contains(&format!("known anna {expires} app")), "{told:?}");
    (desk, stream)
}

/// Lets time pass up to the next login or renewal, while the document beats.
fn next_proof(desk: &mut Desk, stream: StreamId, within: Span) -> (CallId, Request) {
    let until = desk.now + within;
    while desk.outputs.is_empty() && desk.now < until {
        desk.wait(100);
        desk.feed(stream, "<p h=1000 t=1>\n");
    }
    login(desk)
}

#[test]
fn a_session_is_renewed_when_the_server_warns_and_goes_on() {
    both(|whole| {
        let (mut desk, stream) = open(whole, 1_000);
        desk.feed(stream, "<p m e=expiry w=8000>\n");
        assert_eq!(desk.take(), ["expiring 8s"]);
        let (call, request) = next_proof(&mut desk, stream, Span::from_secs(1));
        assert_eq!(request.target, "renew?scs=a&mid=7&auth=site");
        assert_eq!(request.key.as_deref(), Some("s3cret"));
        // A further document says so again, and nothing follows from that.
        desk.feed(stream, "<p m e=expiry w=7500>\n");
        answer(&mut desk, call, 200, r#"{"ok":true,"user":"anna","expires":2000}"#);
        assert_eq!(desk.take(), ["known anna 2000 -"]);
        for _ in 0..100 {
            desk.wait(100);
            desk.feed(stream, "<p h=1000 t=1>\n");
        }
        assert!(desk.outputs.is_empty(), "{:?}", desk.outputs);
        // The next warning is a new one.
        desk.feed(stream, "<p m e=expiry w=8000>\n<p c=9 n=1>on\n");
        assert_eq!(desk.take(), ["expiring 8s", "1:1 on"]);
        next_proof(&mut desk, stream, Span::from_secs(1));
    });
}

#[test]
fn a_proof_that_is_no_newer_is_tried_again_while_there_is_time() {
    both(|whole| {
        let (mut desk, stream) = open(whole, 1_000);
        desk.feed(stream, "<p m e=expiry w=8000>\n");
        desk.take();
        let mut at = Vec::new();
        let end = desk.now + Span::from_secs(8);
        let (mut call, _) = next_proof(&mut desk, stream, Span::from_secs(1));
        loop {
            at.push(desk.now);
            let body = match at.len() % 3 {
                0 => r#"{"ok":true,"user":"anna","expires":1000}"#,
                1 => r#"{"ok":false,"error":"auth-required","detail":"the token has expired"}"#,
                _ => "",
            };
            match at.len() % 3 {
                0 => answer(&mut desk, call, 200, body),
                1 => answer(&mut desk, call, 401, body),
                _ => {
                    let lost = Failure::Broken("reset".into());
                    desk.agent.handle_lost(call, lost, desk.now);
                    desk.drain();
                }
            }
            let told = desk.take();
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].starts_with("not renewed"), "{told:?}");
            while desk.outputs.is_empty() && desk.now < end {
                desk.wait(50);
                desk.feed(stream, "<p h=1000 t=1>\n");
            }
            if desk.outputs.is_empty() {
                break;
            }
            call = login(&mut desk).0;
        }
        assert!((4..30).contains(&at.len()), "{at:?}");
        // The session is over, and the channel goes on in the next one, from where it was.
        desk.feed(stream, "<p c=9 n=1>last\n<p x c=9 e=expired>\n<p z e=logout>\n");
        let told = desk.take();
        assert!(told.contains(&"closed 1 expired".into()), "{told:?}");
        let (call, request) = login(&mut desk);
        assert_eq!(request.target, "login?auth=site");
        answer(&mut desk, call, 200, r#"{"ok":true,"scs":"a","mid":"8","k":"other"}"#);
        let (stream, request) = desk.stream();
        assert_eq!(request.key.as_deref(), Some("other"));
        desk.begin(stream, "<p i scs=a mid=8 d=1 h=1000 r=600000 v=1>\n");
        let Output::Call { request, .. } = desk.output() else { panic!("the channel is opened") };
        assert!(request.target.contains("&since=e:1"), "{}", request.target);
    });
}

#[test]
fn whoever_cannot_prove_anything_is_told_once_and_for_all() {
    both(|whole| {
        let mut desk = desk(whole);
        let (call, _) = login(&mut desk);
        answer(&mut desk, call, 401, r#"{"ok":false,"error":"auth-required","detail":"no"}"#);
        assert_eq!(desk.take(), ["connecting", "lost auth-required", "stopped"]);
        desk.wait(60_000);
        assert!(desk.outputs.is_empty(), "{:?}", desk.outputs);
    });
}

#[test]
fn a_server_that_does_not_prove_itself_ends_it_and_one_that_is_away_does_not() {
    both(|whole| {
        let mut away = desk(whole);
        let (call, _) = login(&mut away);
        away.agent.handle_lost(call, Failure::Broken("refused".into()), away.now);
        away.drain();
        assert_eq!(away.take(), ["connecting", "lost broken", "waiting"]);
        let (call, _) = login(&mut away);
        away.agent.handle_lost(call, Failure::Untrusted("who is that".into()), away.now);
        away.drain();
        let told = away.take();
        assert_eq!(told.last().unwrap(), "stopped", "{told:?}");
        assert!(told.iter().any(|what| what.contains("untrusted")), "{told:?}");
        // So it is without a login.
        let mut desk = Desk::new(whole);
        desk.subscribe("a/b", Mode::Queue);
        let (stream, _) = desk.stream();
        desk.agent.handle_untrusted(stream, "who is that", desk.now);
        desk.drain();
        assert_eq!(desk.take().last().unwrap(), "stopped");
        // A session that runs is not given up for it: the certificate may be mended meanwhile.
        let (mut desk, stream) = Desk::open(whole);
        desk.end(stream);
        desk.wait(5_000);
        let (stream, _) = desk.stream();
        desk.agent.handle_untrusted(stream, "who is that", desk.now);
        desk.drain();
        assert_eq!(desk.take().last().unwrap(), "waiting");
    });
}

#[test]
fn another_way_is_tried_where_one_does_not_prove_itself() {
    both(|whole| {
        let settings = Settings { routes: 2, ..Settings::default() };
        let mut desk = Desk::with(settings, whole);
        desk.subscribe("a/b", Mode::Queue);
        let Output::OpenStream { stream, route, .. } = desk.output() else { panic!() };
        assert_eq!(route.0, 0);
        desk.agent.handle_untrusted(stream, "who is that", desk.now);
        desk.drain();
        assert_eq!(desk.take().last().unwrap(), "waiting");
        desk.wait(5_000);
        let Output::OpenStream { stream, route, .. } = desk.output() else { panic!() };
        assert_eq!(route.0, 1);
        desk.agent.handle_untrusted(stream, "who is that either", desk.now);
        desk.drain();
        assert_eq!(desk.take().last().unwrap(), "stopped");
    });
}

#[test]
fn a_document_of_another_session_than_was_made_is_none() {
    both(|whole| {
        let mut desk = desk(whole);
        let (call, _) = login(&mut desk);
        answer(&mut desk, call, 200, r#"{"ok":true,"scs":"a","mid":"7","k":"s3cret"}"#);
        let (stream, _) = desk.stream();
        desk.begin(stream, "<p i scs=a mid=8 d=1 k=theirs h=1000 r=600000 v=1>\n");
        let told = desk.take();
        assert!(told.contains(&"lost broken".into()), "{told:?}");
        assert!(!told.iter().any(|what| what.starts_with("session")), "{told:?}");
    });
}

#[test]
fn the_application_renews_whenever_it_likes() {
    both(|whole| {
        let (mut desk, _stream) = open(whole, 1_000);
        desk.agent.renew(desk.now);
        desk.drain();
        let (call, request) = login(&mut desk);
        assert_eq!(request.target, "renew?scs=a&mid=7&auth=site");
        answer(&mut desk, call, 403, r#"{"ok":false,"error":"forbidden","detail":"not you"}"#);
        assert_eq!(desk.take(), ["not renewed forbidden"]);
        // The session has no end that anybody has warned of.
        desk.wait(300);
        assert!(desk.outputs.is_empty(), "{:?}", desk.outputs);
        // A balancer has led to another server: the next connection may lead to ours.
        desk.agent.renew(desk.now);
        desk.drain();
        let (call, _) = login(&mut desk);
        answer(&mut desk, call, 421, r#"{"ok":false,"error":"wrong-server","detail":"b"}"#);
        let (_, request) = login(&mut desk);
        assert_eq!(request.target, "renew?scs=a&mid=7&auth=site");
    });
}

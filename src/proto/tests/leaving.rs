//! A drain and the shutdown behind it.

use std::sync::Arc;

use crate::base::time::Span;
use crate::proto::connection::Door;
use crate::proto::directory::Directory;
use crate::proto::resource::{Actions, Consumer, Decision, Message, Resource, TopicOptions};
use crate::proto::settings::Settings;
use crate::proto::tests::{Pack, attribute, frames};

fn drained(pack: &mut Pack, within: Span) {
    pack.handle_all(|hub, now| hub.handle_drain(within, now));
}

fn refused(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 503 ")
        && answer.contains("\r\nRetry-After: 1\r\n")
        && answer.contains("\"error\":\"draining\"")
}

#[test]
fn documents_are_told_to_move_and_go_on_until_the_end() {
    for shards in 1..=2 {
        let mut pack = Pack::new(shards, Settings::default(), Directory::default());
        let publisher = pack.connect(0, Door::Private);
        pack.post(publisher, "/publish/fx/A", "1");
        let (first, opened, _) = pack.document(0, "open=fx/A");
        let (second, ..) = pack.document(usize::from(shards) - 1, "open=fx/A");
        let cid = attribute(&opened, "c");
        pack.fresh(first);
        pack.fresh(second);
        pack.pass(Span::from_millis(10));
        drained(&mut pack, Span::from_millis(5_000));
        for peer in [first, second] {
            assert_eq!(pack.text(peer), "15\r\n<p m e=drain w=5000>\n\r\n");
            pack.fresh(peer);
        }
        // Told once, and not again by a drain that would end no earlier.
        pack.pass(Span::from_millis(1_000));
        drained(&mut pack, Span::from_millis(4_000));
        assert_eq!(pack.fresh(first), [""; 0]);
        drained(&mut pack, Span::from_millis(3_000));
        assert_eq!(pack.fresh(first), ["<p m e=drain w=3000>"]);
        pack.fresh(second);
        pack.post(publisher, "/publish/fx/A", "2");
        for peer in [first, second] {
            assert_eq!(pack.fresh(peer), [format!("<p c={cid} n=2>2")]);
        }
        pack.handle_all(|hub, now| hub.handle_shutdown(now));
        for peer in [first, second] {
            assert_eq!(pack.fresh(peer), ["<p z e=shutdown w=3000>"]);
        }
    }
}

#[test]
fn nothing_new_begins_while_sessions_go_on() {
    let mut directory = Directory::default();
    directory.add("board", Arc::new(Board)).unwrap();
    let mut pack = Pack::new(2, Settings::default(), directory);
    let publisher = pack.connect(0, Door::Private);
    let (reader, opened, me) = pack.document(0, "open=board/a");
    let line = pack.connect(0, Door::Public);
    let login = pack.get(line, "/ahm/login");
    assert!(login.contains("\"mid\""), "{login}");
    drained(&mut pack, Span::from_secs(5));
    for target in ["login", "mux.html", "mux.html?mid=0&scs=0", "ping", "ping?t=1"] {
        let answer = pack.get(line, &format!("/ahm/{target}"));
        assert!(refused(&answer), "{target}: {answer}");
    }
    // The session has a live document: its successor belongs elsewhere.
    for target in ["mux.html", "refresh.html"] {
        let answer = pack.get(line, &format!("/ahm/{target}?{me}"));
        assert!(refused(&answer), "{target}: {answer}");
    }
    assert_eq!(pack.stats().drain_refused, 7);
    // Its commands go on, and so does publishing.
    let cid = attribute(&opened, "c");
    for (target, member) in [
        (format!("send?{me}&cid={cid}&n=1&data=x"), "\"outcome\":\"taken\""),
        (format!("open?{me}&resource=board&subject=b"), "\"cid\":"),
        (format!("ping?{me}"), "\"time\":"),
        ("history?resource=board&subject=a".into(), " n=1>x"),
    ] {
        let answer = pack.get(line, &format!("/ahm/{target}"));
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(member), "{answer}");
    }
    let answer = pack.post(publisher, "/publish/board/b", "y");
    assert!(answer.contains("\"n\":1"), "{answer}");
    let seen = pack.fresh(reader);
    assert!(seen.iter().any(|frame| frame.ends_with(" n=1>x")), "{seen:?}");
    assert!(seen.last().unwrap().ends_with(" n=1>y"), "{seen:?}");
    assert!(pack.get(line, &format!("/ahm/logout?{me}")).contains("\"ok\":true"));
}

#[test]
fn a_session_that_lost_its_document_may_come_back_until_the_end() {
    let mut pack = Pack::new(1, Settings::default(), Directory::default());
    let publisher = pack.connect(0, Door::Private);
    pack.post(publisher, "/publish/fx/A", "1");
    let (first, opened, me) = pack.document(0, "open=fx/A");
    let (cid, ep) = (attribute(&opened, "c"), attribute(&opened, "ep"));
    let kept = pack.connect(0, Door::Public);
    drained(&mut pack, Span::from_millis(5_000));
    pack.pass(Span::from_millis(1_200));
    pack.cut(first);
    pack.post(publisher, "/publish/fx/A", "2");
    let seen = frames(&pack.get(kept, &format!("/ahm/mux.html?{me}&last={cid}:{ep}:1")));
    assert_eq!(seen.len(), 4, "{seen:?}");
    assert!(seen[0].starts_with("<p i ") && seen[0].contains(" d=2 "), "{seen:?}");
    assert!(seen[1].starts_with("<p o "), "{seen:?}");
    assert_eq!(seen[2], "<p m e=drain w=3800>");
    assert!(seen[3].ends_with(" n=2>2"), "{seen:?}");
    // A second one would be one too many.
    let other = pack.connect(0, Door::Public);
    assert!(refused(&pack.get(other, &format!("/ahm/mux.html?{me}"))));
    // Once the server stops, nobody comes back.
    pack.handle_all(|hub, now| hub.handle_shutdown(now));
    assert!(pack.fresh(kept).last().unwrap().starts_with("<p z e=shutdown"));
}

/// Passes on what anybody says.
#[derive(Debug)]
struct Board;

impl Resource for Board {
    fn open(&self, _: &str, _: &Consumer) -> Decision {
        Decision::Shared(TopicOptions::default())
    }

    fn message(&self, message: &Message<'_>, actions: &mut Actions) {
        actions.publish(message.subject, message.payload);
    }
}

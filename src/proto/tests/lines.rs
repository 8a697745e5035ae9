//! Commands as lines, and documents without HTTP.

use std::sync::Arc;

use crate::base::limits;
use crate::base::reason::CloseReason;
use crate::base::time::Span;
use crate::proto::connection::Door;
use crate::proto::directory::Directory;
use crate::proto::settings::Settings;
use crate::proto::tests::flushing::Quotes;
use crate::proto::tests::{Pack, attribute};

/// What a timer may be late.
const TICK: Span = Span::from_millis(5);

fn pack(shards: u8) -> Pack {
    let mut directory = Directory::default();
    directory.add("fx", Arc::new(Quotes)).unwrap();
    Pack::new(shards, Settings::default(), directory)
}

impl Pack {
    /// Sends lines, and gives those that have come back.
    fn say(&mut self, peer: usize, lines: &str) -> Vec<String> {
        self.received[peer].clear();
        self.send(peer, lines);
        self.heard(peer)
    }

    /// The lines that have come since the last time.
    fn heard(&mut self, peer: usize) -> Vec<String> {
        let text = String::from_utf8(std::mem::take(&mut self.received[peer])).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
        text.lines().map(str::to_string).collect()
    }

    fn close_reason(&self, peer: usize) -> Option<CloseReason> {
        self.closed.iter().find(|(closed, _)| *closed == peer).map(|(_, reason)| *reason)
    }
}

/// The value of a member of a JSON answer that is text.
fn member(answer: &str, name: &str) -> String {
    let value: serde_json::Value = serde_json::from_str(answer).unwrap();
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {answer}")).to_string()
}

#[test]
fn answers_are_lines_in_order_with_the_id_of_their_command() {
    let mut pack = pack(1);
    let peer = pack.connect(0, Door::Raw);
    let heard = pack.say(peer, "ping?t=1&id=a\r\n\nnosuch?id=b%22\nping?t=x y&id=c\nopen?id=d\n");
    let expected = [
        "{\"ok\":true,\"t\":\"1\",\"time\":1700000000000000,\"id\":\"a\"}",
        "{\"ok\":false,\"error\":\"no-command\",\"detail\":\"no such command\",\"id\":\"b\\\"\"}",
    ];
    assert_eq!(heard[..2], expected);
    assert!(heard[2].contains("bad-request") && heard[2].ends_with("\"id\":\"c\"}"), "{heard:?}");
    assert!(heard[3].contains("bad-request") && heard[3].ends_with("\"id\":\"d\"}"), "{heard:?}");
    // In any pieces.
    for byte in "ping?t=7\n".chars() {
        assert!(pack.heard(peer).is_empty());
        pack.send(peer, &byte.to_string());
    }
    assert_eq!(pack.heard(peer), ["{\"ok\":true,\"t\":\"7\",\"time\":1700000000000000}"]);
    for unfit in ["batch\n", "client.js\n"] {
        assert!(pack.say(peer, unfit)[0].contains("bad-request"));
    }
    assert_eq!(pack.close_reason(peer), None);
}

#[test]
fn commands_that_name_no_session_are_the_connections() {
    let mut pack = pack(2);
    let peer = pack.connect(0, Door::Raw);
    assert!(pack.say(peer, "open?resource=fx&subject=A\n")[0].contains("no-session"));
    let login = pack.say(peer, "login\n").remove(0);
    let (mid, key) = (member(&login, "mid"), member(&login, "k"));
    let opened = pack.say(peer, "open?resource=fx&subject=A&cid=5\n");
    assert!(opened[0].contains("\"cid\":5"), "{opened:?}");
    // A second session does not take its place, and one that is named is the one meant.
    let second = pack.say(peer, "login\n").remove(0);
    let (other, other_key) = (member(&second, "mid"), member(&second, "k"));
    assert!(pack.say(peer, "close?cid=5\n")[0].contains("\"ok\":true"));
    let wrong = pack.say(peer, &format!("close?cid=5&mid={other}&k={key}\n"));
    assert!(wrong[0].contains("no-session"), "{wrong:?}");
    let other = pack.say(peer, &format!("close?cid=5&mid={other}&k={other_key}\n"));
    assert!(other[0].contains("no-channel"), "{other:?}");

    // From another shard: the connection goes home with the first session that it names, and a
    // wrong key binds it to nothing.
    let far = pack.connect(1, Door::Raw);
    let answers = [
        &*format!("ping?mid={mid}&k=nonsense\n"),
        "logout\n",
        &*format!("ping?mid={mid}&k={key}\n"),
        "open?resource=fx&subject=B\n",
        "logout\n",
        "ping\n",
        "ping?mid=0\n",
    ];
    let answers = answers.map(|line| pack.say(far, line).concat());
    assert_eq!(pack.conns[far].unwrap().0, 0, "it has moved");
    let outcomes: Vec<bool> = answers.iter().map(|line| line.contains("\"ok\":true")).collect();
    assert_eq!(outcomes, [false, false, true, true, true, false, true], "{answers:?}");
    assert!(answers[5].contains("no-session"), "{answers:?}");
}

#[test]
fn a_document_is_lines_and_commands_go_on_beside_it() {
    let mut pack = pack(2);
    let publisher = pack.connect(0, Door::Private);
    pack.post(publisher, "/publish/fx/A", "before");
    let peer = pack.connect(1, Door::Raw);
    let frames = pack.say(peer, "mux.html?open=fx/A&h=2000&id=x\n");
    assert!(frames[0].starts_with("<p i scs=ahm mid="), "{frames:?}");
    assert!(frames[0].contains(" k=") && frames[0].contains(" h=2000 "));
    assert!(frames[1].starts_with("<p o c=") && frames[1].contains(" u=fx/A "));
    let cid = attribute(&frames, "c");

    pack.post(publisher, "/publish/fx/A", "one");
    assert_eq!(pack.heard(peer), [format!("<p c={cid} n=2>one")]);
    let answer = pack.say(peer, "ping?t=5&id=p\nopen?resource=fx&subject=B&id=o\nping?id=q\n");
    let answers: Vec<_> = answer.iter().filter(|line| line.starts_with('{')).collect();
    let ids: Vec<_> = answers.iter().map(|answer| member(answer, "id")).collect();
    assert_eq!(ids, ["p", "o", "q"], "{answer:?}");
    assert!(answer.iter().any(|line| line.starts_with("<p o ") && line.contains(" u=fx/B ")));

    for refused in ["mux.html?mid=0\n", "refresh.html\n", "history?resource=fx&subject=A\n"] {
        let answer = pack.say(peer, refused);
        assert!(answer.len() == 1 && answer[0].contains("bad-request"), "{answer:?}");
    }
    let out = pack.say(peer, "logout?id=z\n");
    assert_eq!(out.iter().filter(|line| *line == "<p z e=logout>").count(), 1, "{out:?}");
    assert!(out.iter().any(|line| line == "{\"ok\":true,\"id\":\"z\"}"), "{out:?}");
    // The connection is free again.
    let again = pack.say(peer, "mux.html?mid=0&open=fx/A\n");
    assert!(again[0].starts_with("<p i "), "{again:?}");
    pack.pass(Span::from_secs(100));
    assert!(pack.heard(peer).iter().all(|line| line.starts_with("<p h=15000 t=")));
    assert_eq!(pack.close_reason(peer), None);
}

#[test]
fn refresh_resume_and_duplicates_take_a_second_connection() {
    let mut pack = pack(2);
    let publisher = pack.connect(0, Door::Private);
    pack.post(publisher, "/publish/fx/A", "1");
    let first = pack.connect(0, Door::Raw);
    let frames = pack.say(first, "mux.html?open=fx/A\n");
    let (mid, key) = (attribute(&frames, "mid"), attribute(&frames, "k"));
    let (cid, ep) = (attribute(&frames[1..], "c"), attribute(&frames[1..], "ep"));
    let me = format!("scs=ahm&mid={mid}&k={key}");

    let second = pack.connect(1, Door::Raw);
    let frames = pack.say(second, &format!("refresh.html?{me}&last={cid}:{ep}:0\n"));
    let tail: Vec<_> = frames.iter().skip(1).map(String::as_str).collect();
    assert!(frames[0].contains(" d=2 ") && !frames[0].contains(" k="), "{frames:?}");
    assert_eq!(tail.last(), Some(&&*format!("<p c={cid} n=1>1")), "{frames:?}");
    let third = pack.connect(0, Door::Raw);
    pack.say(third, &format!("mux.html?{me}&dup=1&last={cid}:{ep}:1\n"));
    pack.heard(first);
    pack.heard(second);
    pack.post(publisher, "/publish/fx/A", "2");
    for peer in [first, second, third] {
        assert_eq!(pack.heard(peer), [format!("<p c={cid} n=2>2")], "{peer}");
    }
    pack.pass(Span::from_secs(5) + TICK);
    assert_eq!(pack.heard(first), ["<p z e=refreshed>"]);
    pack.cut(second);
    pack.cut(third);
    pack.post(publisher, "/publish/fx/A", "3");
    // Without HTTP, with it, and back: the session is the same.
    let web = pack.connect(1, Door::Public);
    let text = pack.get(web, &format!("/ahm/mux.html?{me}&last={cid}:{ep}:2"));
    assert!(text.contains(&format!("<p c={cid} n=3>3\n")), "{text}");
    pack.cut(web);
    // The first connection carries nothing now, and asks in its own name.
    let frames = pack.say(first, &format!("mux.html?last={cid}:{ep}:1\n"));
    assert_eq!(frames[frames.len() - 2..].len(), 2);
    assert!(frames.ends_with(&[format!("<p c={cid} n=2>2"), format!("<p c={cid} n=3>3")]));
}

#[test]
fn history_is_frames_and_then_its_answer() {
    let mut pack = pack(2);
    let publisher = pack.connect(0, Door::Private);
    for text in ["1", "2", "3"] {
        pack.post(publisher, "/publish/fx/A", text);
    }
    let peer = pack.connect(1, Door::Raw);
    let lines = pack.say(peer, "history?resource=fx&subject=A&limit=2&id=h\nping?id=i\n");
    assert!(lines[0].starts_with("<p o c="), "{lines:?}");
    assert!(lines[1].ends_with(">2") && lines[2].ends_with(">3"), "{lines:?}");
    assert_eq!(lines[3], "{\"ok\":true,\"id\":\"h\"}");
    assert_eq!(member(&lines[4], "id"), "i");
    let none = pack.say(peer, "history?resource=fx&subject=none\n");
    assert!(none.len() == 1 && none[0].contains("no-resource"), "{none:?}");
}

#[test]
fn numbered_sends_are_taken_once_over_any_connection() {
    let mut pack = pack(2);
    let peer = pack.connect(0, Door::Raw);
    let frames = pack.say(peer, "mux.html?open=fx/A;cid=3\n");
    let (mid, key) = (attribute(&frames, "mid"), attribute(&frames, "k"));
    let lines = pack.say(peer, "send?cid=3&n=2&data=b&id=2\nsend?cid=3&n=1&data=a%0A&id=1\n");
    let outcomes: Vec<_> = lines
        .iter()
        .filter(|line| line.starts_with('{'))
        .map(|line| (member(line, "id"), member(line, "outcome")))
        .collect();
    let expected = [("2", "held"), ("1", "taken")].map(|(a, b)| (a.to_string(), b.to_string()));
    assert_eq!(outcomes, expected);
    assert!(lines.contains(&"<p a c=3 n=2 e=taken>".to_string()), "{lines:?}");
    let other = pack.connect(1, Door::Raw);
    let again = pack.say(other, &format!("send?mid={mid}&k={key}&cid=3&n=2&data=b\n"));
    assert_eq!(member(&again[0], "outcome"), "dup");
    assert!(pack.say(other, "send?cid=3&n=3\n")[0].contains("needs a payload"));
}

#[test]
fn what_is_no_command_is_answered_and_nothing_behind_it_is_read() {
    let long = format!("ping?t={}", "x".repeat(limits::TARGET_BYTES_MAX));
    let cases = [
        ("POST / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"),
        ("ping /?x HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request\r\n"),
        ("\u{16}\u{3}\u{1}", "{\"ok\":false,\"error\":\"bad-request\","),
        (&long, "{\"ok\":false,\"error\":\"too-large\","),
    ];
    for (foreign, answer) in cases {
        let mut pack = pack(1);
        let peer = pack.connect(0, Door::Raw);
        pack.send(peer, &format!("ping?t=1\n{foreign}\nlogin\nlogin\n"));
        pack.send(peer, "login\n");
        let text = pack.text(peer);
        let (first, rest) = text.split_once('\n').unwrap();
        assert!(first.contains("\"t\":\"1\"") && rest.starts_with(answer), "{text}");
        assert_eq!(pack.stats().sessions, 0, "{foreign:?}");
        pack.pass(Span::from_secs(1) + TICK);
        assert_eq!(pack.close_reason(peer), Some(CloseReason::Finished));

        // Beside a document too: the answer is a whole line behind whole frames, and the last.
        let peer = pack.connect(0, Door::Raw);
        pack.say(peer, "mux.html?open=fx/A\n");
        let heard = pack.say(peer, &format!("{foreign}\nlogout\n"));
        assert!(heard.len() == 1 && heard[0].starts_with("{\"ok\":false,"), "{heard:?}");
        pack.pass(Span::from_secs(1) + TICK);
        assert_eq!(pack.close_reason(peer), Some(CloseReason::BadRequest));
        assert_eq!((pack.hubs[0].document_count(), pack.hubs[0].session_count()), (0, 1));
    }
    let mut pack = pack(1);
    let peer = pack.connect(0, Door::Raw);
    let (shard, conn) = pack.conns[peer].unwrap();
    pack.hubs[shard].handle_received(conn, b"ping?t=\xff\nlogin\n", pack.now);
    pack.drain();
    assert!(pack.heard(peer)[0].contains("not UTF-8"));
    assert_eq!(pack.stats().sessions, 0);
}

#[test]
fn who_says_nothing_or_half_a_line_is_let_go() {
    let mut pack = pack(1);
    let settings = Settings::default();
    let idle = pack.connect(0, Door::Raw);
    pack.pass(settings.idle_timeout + TICK);
    assert_eq!(pack.close_reason(idle), Some(CloseReason::Idle));
    let slow = pack.connect(0, Door::Raw);
    pack.send(slow, "ping?");
    pack.pass(settings.head_timeout - TICK);
    pack.send(slow, "t=1");
    assert!(pack.heard(slow).is_empty());
    pack.pass(TICK + TICK);
    assert!(pack.heard(slow)[0].contains("did not arrive in time"));
    // Beside a document too, and only then: a document may last without a line.
    let reader = pack.connect(0, Door::Raw);
    pack.say(reader, "mux.html?open=fx/A\nping?t=");
    pack.pass(Span::from_secs(9));
    pack.send(reader, "1\n");
    pack.pass(Span::from_secs(300));
    assert_eq!(pack.close_reason(reader), None);
    pack.say(reader, "ping?");
    pack.pass(settings.head_timeout + TICK);
    assert!(pack.heard(reader).iter().any(|line| line.contains("did not arrive in time")));
    assert_eq!(pack.close_reason(reader), None, "it may read the answer first");
    pack.pass(Span::from_secs(1) + TICK);
    assert_eq!(pack.close_reason(reader), Some(CloseReason::BadRequest));
}

#[test]
fn answers_wait_in_bounds_while_a_reader_takes_nothing() {
    let mut pack = pack(1);
    let publisher = pack.connect(0, Door::Private);
    let peer = pack.connect(0, Door::Raw);
    let frames = pack.say(peer, "mux.html?open=fx/A\n");
    let cid = attribute(&frames[1..], "c");
    pack.give_room(peer, Some(3));
    pack.post(publisher, "/publish/fx/A", "one");
    let wide = "x".repeat(60);
    let lines = 20_000;
    for number in 0..lines {
        pack.send(peer, &format!("ping?t={wide}&id={number}\n"));
    }
    pack.hubs[0].check_invariants().unwrap();
    let (shard, conn) = pack.conns[peer].unwrap();
    assert!(!pack.hubs[shard].wants_input(conn), "it is read no further");
    // A few bytes at a time: every line comes whole, the answers in their order.
    while !pack.hubs[0].wants_input(conn) {
        pack.give_room(peer, Some(1_000));
        pack.hubs[0].check_invariants().unwrap();
    }
    pack.give_room(peer, None);
    let heard = pack.heard(peer);
    assert_eq!(heard[0], format!("<p c={cid} n=1>one"));
    let ids: Vec<String> = heard[1..].iter().map(|line| member(line, "id")).collect();
    let expected: Vec<String> = (0..lines).map(|number| number.to_string()).collect();
    assert_eq!(ids, expected);
    pack.post(publisher, "/publish/fx/A", "two");
    assert_eq!(pack.heard(peer), [format!("<p c={cid} n=2>two")]);
}

#[test]
fn a_server_that_stops_says_so_on_its_documents() {
    let mut pack = pack(1);
    let reader = pack.connect(0, Door::Raw);
    pack.say(reader, "mux.html?open=fx/A\n");
    let line = pack.connect(0, Door::Raw);
    pack.handle_all(|hub, now| hub.handle_drain(Span::from_secs(9), now));
    assert_eq!(pack.heard(reader), ["<p m e=drain w=9000>"]);
    let refused = pack.say(line, "login?id=1\n");
    assert!(refused[0].contains("\"draining\""), "{refused:?}");
    assert!(refused[0].ends_with(",\"retry_after\":1,\"id\":\"1\"}"), "{refused:?}");
    pack.handle_all(|hub, now| hub.handle_shutdown(now));
    assert_eq!(pack.heard(reader), ["<p z e=shutdown w=3000>"]);
    assert_eq!(pack.close_reason(line), Some(CloseReason::Shutdown));
}

//! Heartbeats both ways, and documents whose sockets make no progress.

use crate::base::reason::CloseReason;
use crate::base::time::Span;
use crate::proto::connection::Door;
use crate::proto::directory::Directory;
use crate::proto::settings::{History, Settings};
use crate::proto::tests::{Pack, attribute, frames};

fn millis(n: u64) -> Span {
    Span::from_millis(n)
}

fn pack(shards: u8) -> Pack {
    Pack::new(shards, Settings::default(), Directory::default())
}

/// How many heartbeats with interval `h` there are, and that there is nothing else.
fn beats(frames: &[String], h: u64) -> usize {
    let start = format!("<p h={h} t=17");
    assert!(frames.iter().all(|frame| frame.starts_with(&start)), "{frames:?}");
    frames.len()
}

#[test]
fn the_interval_changes_mid_stream_at_once_and_both_ways() {
    let mut pack = pack(2);
    let (reader, opened, me) = pack.document(1, "h=1000");
    assert_eq!(attribute(&opened, "h"), "1000");
    assert_eq!(pack.patience, [(reader, 5_000)]);
    pack.fresh(reader);
    let line = pack.connect(0, Door::Public);
    // Shorter, and within the server's bounds.
    let answer = pack.get(line, &format!("/ahm/ping?{me}&h=200&t=x"));
    assert!(answer.contains("\"t\":\"x\"") && answer.contains("\"h\":500"), "{answer}");
    assert_eq!(beats(&pack.fresh(reader), 500), 1, "told at once");
    assert_eq!(pack.patience.last(), Some(&(reader, 2_500)));
    pack.pass(millis(3_000));
    assert!((6..=8).contains(&beats(&pack.fresh(reader), 500)));
    // Longer.
    pack.get(line, &format!("/ahm/ping?{me}&h=4000"));
    assert_eq!(beats(&pack.fresh(reader), 4_000), 1);
    assert_eq!(pack.patience.last(), Some(&(reader, 20_000)));
    pack.pass(millis(2_990));
    assert_eq!(beats(&pack.fresh(reader), 4_000), 0);
    pack.pass(millis(1_020));
    assert_eq!(beats(&pack.fresh(reader), 4_000), 1);
    // The same again changes nothing, and none at all tells what is in force.
    let told = pack.patience.len();
    for query in ["&h=4000", ""] {
        let answer = pack.get(line, &format!("/ahm/ping?{me}{query}"));
        assert!(answer.contains("\"h\":4000"), "{answer}");
    }
    assert_eq!((pack.fresh(reader).len(), pack.patience.len()), (0, told));
    assert!(!pack.get(line, "/ahm/ping?h=4000").contains("\"h\""), "there is no session");
}

#[test]
fn successors_inherit_the_interval_or_say_their_own() {
    let mut pack = pack(1);
    let (first, _, me) = pack.document(0, "h=2000");
    let line = pack.connect(0, Door::Public);
    pack.get(line, &format!("/ahm/ping?{me}&h=3000"));
    pack.fresh(first);
    let second = pack.connect(0, Door::Public);
    let seen = frames(&pack.get(second, &format!("/ahm/mux.html?{me}&dup=1&last=")));
    assert_eq!(attribute(&seen, "h"), "3000");
    assert_eq!(pack.fresh(first), [""; 0]);
    let third = pack.connect(0, Door::Public);
    let seen = frames(&pack.get(third, &format!("/ahm/refresh.html?{me}&h=1000&last=")));
    assert_eq!((seen.len(), attribute(&seen, "h")), (1, "1000".into()));
    // What lives keeps what it has told, until the client says otherwise.
    pack.fresh(second);
    pack.pass(millis(2_990));
    assert_eq!(beats(&pack.fresh(second), 3_000), 1);
    pack.fresh(third);
    pack.get(line, &format!("/ahm/ping?{me}&h=1000"));
    assert_eq!((beats(&pack.fresh(second), 1_000), pack.fresh(third).len()), (1, 0));
    // A session without a document agrees as well.
    let login = pack.get(line, "/ahm/login");
    let value = |name: &str| {
        let rest = login.split(&format!("\"{name}\":\"")).nth(1).unwrap();
        rest.split('"').next().unwrap().to_string()
    };
    let me = format!("mid={}&k={}", value("mid"), value("k"));
    assert!(pack.get(line, &format!("/ahm/ping?{me}")).contains("\"h\":15000"));
    pack.get(line, &format!("/ahm/ping?{me}&h=700"));
    let late = pack.connect(0, Door::Public);
    let seen = frames(&pack.get(late, &format!("/ahm/mux.html?{me}")));
    assert_eq!(attribute(&seen, "h"), "700");
}

#[test]
fn a_refresh_with_a_tiny_interval_still_overlaps() {
    for h in ["0", "1", "499"] {
        let mut pack = pack(1);
        let publisher = pack.connect(0, Door::Private);
        pack.post(publisher, "/publish/fx/A", "1");
        let (first, opened, me) = pack.document(0, "open=fx/A&h=1000");
        let (cid, ep) = (attribute(&opened, "c"), attribute(&opened, "ep"));
        let second = pack.connect(0, Door::Public);
        let target = format!("/ahm/refresh.html?{me}&h={h}&last={cid}:{ep}:1");
        let seen = frames(&pack.get(second, &target));
        assert_eq!(attribute(&seen, "h"), "500");
        pack.fresh(first);
        pack.pass(millis(450));
        pack.post(publisher, "/publish/fx/A", "2");
        let seen = pack.fresh(first);
        assert!(seen.last().unwrap().ends_with(" n=2>2"), "h={h}: {seen:?}");
        pack.pass(millis(51));
        assert_eq!(pack.fresh(first).last().unwrap(), "<p z e=refreshed>");
    }
}

#[test]
fn a_reader_that_is_always_behind_sees_the_clock_in_time() {
    let history = History { messages_max: 100_000, bytes_max: 1 << 28, ..History::default() };
    let settings = Settings { history, ..Settings::default() };
    let mut pack = Pack::new(1, settings, Directory::default());
    let publisher = pack.connect(0, Door::Private);
    pack.post(publisher, "/publish/fx/A", "0");
    let (reader, ..) = pack.document(0, "open=fx/A&h=500");
    let (payload, mut written) = ("x".repeat(20_000), Vec::new());
    pack.rooms[reader] = Some(0);
    for _ in 0..200 {
        pack.post(publisher, "/publish/fx/A", &payload);
        pack.pass(millis(50));
        pack.give_room(reader, Some(8_000));
        written.append(&mut pack.received[reader]);
    }
    let text = String::from_utf8(written).unwrap();
    assert!(text.contains(" n=40>") && !text.contains(" n=150>"), "it is behind, and goes on");
    let stamps = text.lines().filter_map(|line| line.strip_prefix("<p h=500 t="));
    let stamps: Vec<u64> = stamps.map(|t| t.trim_end_matches('>').parse().unwrap()).collect();
    assert!(stamps.len() >= 4, "{stamps:?}");
    // Four intervals, and the chunk that was under way.
    assert!(stamps.windows(2).all(|pair| pair[1] - pair[0] < 2_350_000), "{stamps:?}");
}

#[test]
fn a_reader_that_is_in_time_sees_the_clock_under_constant_data_too() {
    let mut pack = pack(1);
    let publisher = pack.connect(0, Door::Private);
    pack.post(publisher, "/publish/fx/A", "0");
    let (reader, ..) = pack.document(0, "open=fx/A&h=1000");
    pack.fresh(reader);
    for _ in 0..1_200 {
        pack.post(publisher, "/publish/fx/A", "x");
        pack.pass(millis(10));
    }
    let seen = pack.fresh(reader);
    let stamps = seen.iter().filter_map(|frame| frame.strip_prefix("<p h=1000 t="));
    let stamps: Vec<u64> = stamps.map(|t| t.trim_end_matches('>').parse().unwrap()).collect();
    assert_eq!(stamps.len(), 3, "{stamps:?}");
    assert!(stamps.windows(2).all(|pair| pair[1] - pair[0] <= 4_000_000), "{stamps:?}");
}

#[test]
fn a_socket_that_makes_some_progress_is_kept_and_one_that_makes_none_is_reset() {
    let mut pack = pack(1);
    let publisher = pack.connect(0, Door::Private);
    pack.post(publisher, "/publish/fx/A", "0");
    let (reader, ..) = pack.document(0, "open=fx/A&h=1000");
    pack.rooms[reader] = Some(100);
    pack.post(publisher, "/publish/fx/A", &"x".repeat(50_000));
    // One chunk, in small steps: each of them counts.
    for _ in 0..5 {
        pack.pass(millis(3_900));
        assert!(pack.conns[reader].is_some());
        pack.give_room(reader, Some(10));
    }
    pack.pass(millis(3_990));
    assert!(pack.conns[reader].is_some());
    // An edge without progress does not count.
    pack.give_room(reader, Some(0));
    pack.pass(millis(20));
    assert_eq!(pack.closed, [(reader, CloseReason::Stale)]);
    assert_eq!(pack.stats().documents_stale, 1);
}

#[test]
fn a_client_heartbeat_that_is_demanded_and_does_not_come_costs_the_documents() {
    let settings =
        Settings { client_heartbeat: true, linger: millis(10_000), ..Settings::default() };
    let mut pack = Pack::new(1, settings, Directory::default());
    let (reader, opened, me) = pack.document(0, "h=1000");
    let (other, ..) = {
        let peer = pack.connect(0, Door::Public);
        (peer, pack.get(peer, &format!("/ahm/mux.html?{me}&dup=1")))
    };
    assert!(opened[0].ends_with(" v=1 hc>"), "{opened:?}");
    let line = pack.connect(0, Door::Public);
    let counts = |pack: &Pack| {
        let stats = pack.stats();
        (stats.clients_quiet, stats.clients_dropped, stats.documents_stale)
    };
    // Any command of the session is a sign of life, also one that fails.
    for target in ["ping?t=1", "close?cid=9", "send?cid=9&n=1&data=x", "open?resource=none"] {
        pack.pass(millis(1_990));
        assert_eq!(counts(&pack), (0, 0, 0), "before {target}");
        pack.get(line, &format!("/ahm/{target}&{me}"));
    }
    // A wrong key is none.
    pack.pass(millis(1_500));
    pack.get(line, &format!("/ahm/ping?{}x", me));
    pack.pass(millis(510));
    assert_eq!(counts(&pack), (1, 0, 0));
    // Heard again in time, counted again later.
    pack.pass(millis(1_900));
    pack.get(line, &format!("/ahm/ping?{me}"));
    pack.pass(millis(1_990));
    assert_eq!(counts(&pack), (1, 0, 0));
    pack.pass(millis(2_000));
    assert_eq!(counts(&pack), (2, 0, 0));
    assert!(pack.closed.is_empty(), "{:?}", pack.closed);
    pack.pass(millis(20));
    assert_eq!(counts(&pack), (2, 1, 2));
    assert_eq!(pack.closed, [(reader, CloseReason::Stale), (other, CloseReason::Stale)]);
    // The session lingers from now on, and its client may come back.
    pack.pass(millis(9_000));
    let late = pack.connect(0, Door::Public);
    let seen = frames(&pack.get(late, &format!("/ahm/mux.html?{me}")));
    assert_eq!(attribute(&seen, "d"), "3");
    pack.pass(millis(3_900));
    assert!(pack.conns[late].is_some(), "a document that begins is a sign of life");
    pack.pass(millis(200));
    assert_eq!(counts(&pack), (3, 2, 3));
    pack.pass(millis(10_000));
    assert_eq!(pack.hubs[0].session_count(), 0);
}

#[test]
fn a_shorter_interval_is_demanded_from_the_moment_it_is_agreed_on() {
    let settings = Settings { client_heartbeat: true, ..Settings::default() };
    let mut pack = Pack::new(1, settings, Directory::default());
    let (reader, _, me) = pack.document(0, "h=60000");
    let line = pack.connect(0, Door::Public);
    pack.get(line, &format!("/ahm/ping?{me}&h=500"));
    for _ in 0..201 {
        pack.pass(millis(10));
        pack.hubs[0].check_invariants().unwrap();
    }
    assert_eq!(pack.closed, [(reader, CloseReason::Stale)]);
}

#[test]
fn without_the_demand_a_client_need_not_speak() {
    let mut pack = pack(1);
    let (reader, opened, _) = pack.document(0, "h=1000");
    assert!(opened[0].ends_with(" v=1>"), "{opened:?}");
    pack.pass(Span::from_secs(100));
    assert!(pack.conns[reader].is_some());
    assert_eq!(pack.stats().clients_quiet, 0);
}

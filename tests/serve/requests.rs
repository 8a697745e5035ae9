//! Requests: answers, refusals, and that nobody else suffers from a bad one.

use std::io::{Error, ErrorKind};
use std::net::{Shutdown, TcpStream};

use crate::support::{Peer, attribute, server};

#[test]
fn pipelined_commands_are_answered_in_order() {
    let server = server(2, |_| {});
    let mut peer = Peer::connect(server.public_addrs()[0]);
    for t in 0..200 {
        peer.send(format!("GET /ahm/ping?t={t} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    for t in 0..200 {
        let answer = peer.answer();
        assert!(answer.body.contains(&format!("\"t\":\"{t}\"")), "{answer:?}");
    }
}

/// The read that takes the request does not fill its buffer, and whatever is behind it must be
/// found: whether it came before the read, or after.
#[test]
fn a_request_and_the_end_behind_it_are_both_seen() {
    let server = server(1, |_| {});
    for round in 0..300 {
        let stream = TcpStream::connect(server.public_addrs()[0]).unwrap();
        let mut peer = Peer::over(stream.try_clone().unwrap());
        peer.send(format!("GET /ahm/ping?t={round} HTTP/1.1\r\nHost: a\r\n\r\n"));
        if round % 3 > 0 {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        if round % 3 < 2 {
            let answer = peer.answer();
            assert!(answer.body.contains(&format!("\"t\":\"{round}\"")), "{answer:?}");
        }
        if round % 3 == 0 {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        // The server closes its side too, or resets what was not read.
        let ended = peer.rest_or_error();
        let reset = |error: &Error| error.kind() == ErrorKind::ConnectionReset;
        assert!(ended.as_ref().is_ok() || ended.as_ref().is_err_and(reset), "{ended:?}");
    }
    let stats = server.stop();
    assert_eq!(stats.accepted, 300);
    assert!(stats.turn_longest_us > 0);
}

#[test]
fn a_connection_that_names_two_sessions_serves_both() {
    let server = server(2, |_| {});
    let mut sessions = Vec::new();
    for _ in 0..6 {
        let mut reader = Peer::connect(server.public_addrs()[0]);
        reader.document("/ahm/mux.html");
        let identity = reader.frame();
        sessions.push((attribute(&identity, "mid"), attribute(&identity, "k"), reader));
    }
    let mut proxy = Peer::connect(server.public_addrs()[0]);
    for round in 1..=20 {
        for (mid, key, _) in &sessions {
            let n = round;
            proxy.send(format!(
                "GET /ahm/open?mid={mid}&k={key}&resource=echo&subject=s{n}&cid={n} HTTP/1.1\r\n\
                 Host: a\r\n\r\n"
            ));
        }
        for _ in &sessions {
            let answer = proxy.answer();
            assert!(answer.body.contains(&format!("\"cid\":{round},")), "{answer:?}");
        }
    }
}

#[test]
fn bad_commands_get_their_code_and_the_server_goes_on() {
    let server = server(2, |_| {});
    let mut bystander = Peer::connect(server.public_addrs()[0]);
    bystander.document("/ahm/mux.html?open=board/x");
    let identity = bystander.frame();
    let cid = attribute(&bystander.frame(), "c");
    let (mid, key) = (attribute(&identity, "mid"), attribute(&identity, "k"));
    let session = format!("mid={mid}&k={key}");
    let mut peer = Peer::connect(server.public_addrs()[0]);
    for (target, status, code) in [
        ("/ahm/nothing".to_string(), 404, "no-command"),
        (format!("/ahm/open?{session}&resource=no%20name"), 400, "bad-request"),
        (format!("/ahm/open?{session}&resource=nowhere&subject=x"), 404, "no-resource"),
        (format!("/ahm/open?{session}&resource=echo&mode=latest"), 403, "forbidden"),
        (format!("/ahm/send?{session}&cid=77&n=1&data=x"), 404, "no-channel"),
        (format!("/ahm/send?{session}&cid={cid}&n=900&data=x"), 409, "out-of-window"),
        (format!("/ahm/send?{session}&cid={cid}&n=1"), 400, "bad-request"),
        (format!("/ahm/close?{session}&cid=77"), 404, "no-channel"),
        (format!("/ahm/close?mid={mid}&k=wrong&cid={cid}"), 404, "no-session"),
        (format!("/ahm/close?mid={mid}&cid={cid}"), 404, "no-session"),
        ("/ahm/logout?mid=9007199254740991&k=x".into(), 404, "no-session"),
        (format!("/ahm/ping?{session}&scs=other"), 421, "wrong-server"),
        (format!("/ahm/mux.html?mid={mid}&k=wrong"), 404, "no-session"),
        ("/ahm/refresh.html".into(), 404, "no-session"),
        ("/ahm/history?resource=fx&subject=none".into(), 404, "no-resource"),
        ("/ahm/login?resource=nowhere".into(), 404, "no-resource"),
    ] {
        let answer = peer.get(&target);
        assert_eq!(answer.status, status, "{target}: {answer:?}");
        assert!(answer.body.contains(&format!("\"error\":\"{code}\"")), "{target}: {answer:?}");
    }
    let answer = peer.get(&format!("/ahm/send?{session}&cid={cid}&n=1&data=still%20here"));
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(bystander.frame().ends_with(">still here"));
}

#[test]
fn broken_http_is_refused_and_closed() {
    let server = server(1, |_| {});
    let long = "x".repeat(20_000);
    for (request, status) in [
        ("garbage\r\n\r\n".to_string(), 400),
        ("GET / HTTP/1.1\r\n\r\n".into(), 400),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n".into(), 505),
        (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), 414),
        (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"), 431),
        ("POST /ahm/send HTTP/1.1\r\nHost: a\r\n\r\n".into(), 411),
        ("POST /ahm/send HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n".into(), 413),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: x\r\n\r\n".into(), 417),
        ("CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n".into(), 501),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n".into(), 400),
    ] {
        let mut peer = Peer::connect(server.public_addrs()[0]);
        peer.send(format!("{request}GET /ahm/ping HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = peer.answer();
        assert_eq!(answer.status, status, "{request:.60}: {answer:?}");
        assert!(answer.head.contains("Connection: close\r\n"), "{answer:?}");
        // Pitfall 8: what follows a refusal is never parsed as a request.
        assert_eq!(peer.rest(), "", "{request:.60}");
    }
}

#[test]
fn continue_is_said_before_a_body_that_waits_for_it() {
    let server = server(1, |_| {});
    let mut peer = Peer::connect(server.private_addrs()[0]);
    peer.send(
        "POST /publish/fx/A HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
    );
    assert_eq!(peer.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    peer.send("3\r\nabc\r\n0\r\n\r\n");
    assert!(peer.answer().body.contains("\"n\":1"));
    let history = peer_history(&server);
    assert!(history.contains(" n=1>abc\n"), "{history}");
}

fn peer_history(server: &ahm::server::builder::Server) -> String {
    let mut reader = Peer::connect(server.public_addrs()[0]);
    reader.get("/ahm/history?resource=fx&subject=A").body
}

#[test]
fn the_private_listener_refuses_browsers_and_foreign_names() {
    let server = server(1, |_| {});
    for field in ["Host: evil.example\r\n", "Host: localhost\r\nOrigin: http://localhost\r\n"] {
        let mut peer = Peer::connect(server.private_addrs()[0]);
        let request = format!("POST /publish/fx/A HTTP/1.1\r\n{field}Content-Length: 1\r\n\r\nx");
        peer.send(request);
        assert_eq!(peer.answer().status, 403, "{field}");
    }
    assert_eq!(Peer::connect(server.public_addrs()[0]).post("/publish/fx/A", "x").status, 404);
}

#[test]
fn metrics_are_the_sum_of_all_shards() {
    let server = server(2, |_| {});
    let mut publisher = Peer::connect(server.private_addrs()[0]);
    // Their homes are on both shards, most likely; they count wherever they are.
    for subject in 0..20 {
        let target = format!("POST /publish/fx/s{subject} HTTP/1.1");
        publisher.send(format!("{target}\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx"));
        assert_eq!(publisher.answer().status, 200);
    }
    let mut refused = Peer::connect(server.public_addrs()[0]);
    refused.send("NONSENSE\r\n\r\n");
    assert_eq!(refused.answer().status, 400);
    drop(refused);
    let closed = "\nahm_connections_closed_total{reason=\"peer-closed\"} 1\n";
    let asked = std::iter::repeat_with(|| {
        publisher.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        publisher.answer()
    });
    // The server has to see first that it has gone.
    let answer = asked.take(100_000).find(|answer| answer.body.contains(closed)).unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("\r\nContent-Type: text/plain; charset=utf-8\r\n"));
    for line in [
        "# TYPE ahm_published_total counter",
        "ahm_published_total 20",
        "ahm_topics 20",
        "ahm_relay_requests_total 0",
    ] {
        assert!(answer.body.lines().any(|told| told == line), "{line}: {}", answer.body);
    }
    publisher.send("POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    assert_eq!(publisher.answer().status, 405);
    // Not for everybody.
    let mut client = Peer::connect(server.public_addrs()[0]);
    client.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.answer().status, 404);
}

#[test]
fn a_batch_of_messages_has_an_outcome_for_each_line() {
    let server = server(2, |_| {});
    let mut publisher = Peer::connect(server.private_addrs()[0]);
    let big = "x".repeat(70_000);
    let body = format!("A\t1\nB\t2\nno tab\nA\t3\nC\t{big}\nD\t\n");
    let answer = publisher.post("/publish?resource=fx", body);
    let json: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(json["taken"], 4, "{answer:?}");
    let lines = json["lines"].as_array().unwrap();
    assert_eq!((&lines[0]["n"], &lines[1]["n"], &lines[3]["n"]), (&1.into(), &1.into(), &2.into()));
    assert_eq!(lines[2]["error"], "bad-request");
    assert_eq!(lines[4]["error"], "too-large");
    assert_eq!(lines[5]["n"], 1);
}

#[test]
fn numbers_of_a_publisher_are_kept_and_repeated_ones_taken_once() {
    let server = server(2, |_| {});
    let mut publisher = Peer::connect(server.private_addrs()[0]);
    for (target, status, member) in [
        ("/publish/n/s?epoch=k1&n=5", 200, "\"n\":5"),
        ("/publish/n/s?epoch=k1&n=5", 200, "\"dup\":true"),
        ("/publish/n/s", 409, "\"error\":\"conflict\""),
        ("/publish/n/s?epoch=k1&n=8", 200, "\"n\":8"),
        ("/publish/n/s?epoch=k2&n=1", 200, "\"ep\":\"k2\""),
        ("/publish/n/s?epoch=k1&n=9", 409, "\"n\":1"),
        ("/publish/n/s?epoch=k2", 400, "\"error\":\"bad-request\""),
    ] {
        let answer = publisher.post(target, "x");
        assert_eq!(answer.status, status, "{target}: {answer:?}");
        assert!(answer.body.contains(member), "{target}: {answer:?}");
    }
    let mut reader = Peer::connect(server.public_addrs()[0]);
    reader.document("/ahm/mux.html?open=n/s;since=k1:4");
    reader.frame();
    let seen: Vec<String> = (0..5).map(|_| reader.frame()).collect();
    assert!(seen[0].contains(" ep=k1 n=4 "), "{seen:?}");
    assert!(seen[1].contains(" n=5>x"), "{seen:?}");
    assert!(seen[2].starts_with("<p g ") && seen[2].contains(" ep=k1 n=7 m=2"), "{seen:?}");
    assert!(seen[3].contains(" n=8>x"), "{seen:?}");
    assert!(seen[4].starts_with("<p o ") && seen[4].contains(" ep=k2 n=0 "), "{seen:?}");
}

#[test]
fn sessions_of_before_a_restart_and_dead_ones_are_no_sessions() {
    let before = server(2, |config| config.protocol.scs = "same".into());
    let mut reader = Peer::connect(before.public_addrs()[0]);
    reader.document("/ahm/mux.html?open=board/x");
    let identity = reader.frame();
    let session = format!("mid={}&k={}", attribute(&identity, "mid"), attribute(&identity, "k"));
    before.stop();
    let after = server(2, |config| config.protocol.scs = "same".into());
    let mut peer = Peer::connect(after.public_addrs()[0]);
    let mut others: Vec<_> = (0..8).map(|_| Peer::connect(after.public_addrs()[0])).collect();
    for other in &mut others {
        other.document("/ahm/mux.html?open=board/x");
    }
    for command in ["ping?t=1&", "send?cid=1048576&n=1&data=x&", "mux.html?", "logout?"] {
        let answer = peer.get(&format!("/ahm/{command}{session}"));
        assert_eq!(answer.status, 404, "{command}: {answer:?}");
        assert!(answer.body.contains("\"error\":\"no-session\""), "{command}: {answer:?}");
    }
    let identity = others[0].frame();
    let own = format!("mid={}&k={}", attribute(&identity, "mid"), attribute(&identity, "k"));
    assert_eq!(peer.get(&format!("/ahm/logout?{own}")).status, 200);
    assert_eq!(peer.get(&format!("/ahm/logout?{own}")).status, 404, "it is dead now");
    while !others[0].frame().starts_with("<p z e=logout") {}
}

#[test]
fn slow_heads_and_bodies_get_408_and_a_close() {
    let server = server(1, |config| {
        config.protocol.head_timeout = ahm::base::time::Span::from_millis(100);
        config.protocol.body_timeout = ahm::base::time::Span::from_millis(100);
    });
    // Pitfall 12.
    for part in
        ["GET /ahm/pi", "POST /publish/fx/A HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx"]
    {
        let mut peer = Peer::connect(server.public_addrs()[0]);
        peer.send(part);
        let answer = peer.answer();
        assert_eq!(answer.status, 408, "{part}: {answer:?}");
        assert_eq!(peer.rest(), "");
    }
}

#[test]
fn pages_of_other_origins_need_to_be_on_the_list() {
    let server = server(1, |config| config.protocol.origins = vec!["https://good.example".into()]);
    let mut peer = Peer::connect(server.public_addrs()[0]);
    let mut ask = |method: &str, target: &str, origin: &str| {
        peer.send(format!(
            "{method} {target} HTTP/1.1\r\nHost: a:8080\r\nOrigin: {origin}\r\n\r\n"
        ));
        peer.answer()
    };
    let own = ask("GET", "/ahm/ping", "http://a:8080");
    assert_eq!(own.status, 200, "{own:?}");
    assert!(!own.head.contains("Access-Control"), "{own:?}");
    let listed = ask("GET", "/ahm/ping", "https://good.example");
    let field = "Access-Control-Allow-Origin: https://good.example\r\nVary: Origin\r\n";
    assert!(listed.head.contains(field), "{listed:?}");
    let asked = ask("OPTIONS", "/ahm/send", "https://good.example");
    assert_eq!(asked.status, 204, "{asked:?}");
    assert!(asked.head.contains("Access-Control-Allow-Headers: AHM-Key"), "{asked:?}");
    for foreign in ["https://evil.example", "null", "http://a:8081", "http://good.example"] {
        for target in ["/ahm/ping", "/ahm/login", "/ahm/mux.html"] {
            let refused = ask("GET", target, foreign);
            assert_eq!(refused.status, 403, "{foreign} {target}: {refused:?}");
            assert!(!refused.head.contains("Access-Control"), "{refused:?}");
        }
    }
}

#[test]
fn head_and_prefetch_create_nothing() {
    let server = server(1, |_| {});
    let mut peer = Peer::connect(server.public_addrs()[0]);
    peer.send("HEAD /ahm/mux.html?open=board/x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(peer.head().starts_with("HTTP/1.1 200 "));
    peer.send("GET /ahm/mux.html HTTP/1.1\r\nHost: a\r\nSec-Purpose: prefetch;prerender\r\n\r\n");
    assert_eq!(peer.answer().status, 403);
    peer.send("HEAD /ahm/login HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(peer.head().starts_with("HTTP/1.1 405 "));
    let stats = server.stop();
    assert_eq!((stats.sessions, stats.documents), (0, 0));
}

#[test]
fn a_batch_for_another_server_is_refused_as_a_whole() {
    let server = server(2, |_| {});
    let mut peer = Peer::connect(server.public_addrs()[0]);
    let lines = "open?resource=echo&subject=a\nopen?resource=echo&subject=b\n";
    let answer = peer.post("/ahm/batch?scs=another&mid=7&k=x", lines);
    // The status tells a client that this connection leads astray; lines with errors would not.
    assert_eq!(answer.status, 421, "{answer:?}");
    assert!(answer.body.contains("wrong-server"), "{answer:?}");
    assert_eq!(answer.body.trim().lines().count(), 1, "{answer:?}");
}

#[test]
fn a_batch_of_commands_is_answered_line_by_line() {
    let server = server(2, |_| {});
    let mut reader = Peer::connect(server.public_addrs()[0]);
    reader.document("/ahm/mux.html?open=board/x");
    let identity = reader.frame();
    let cid = attribute(&reader.frame(), "c");
    let session = format!("mid={}&k={}", attribute(&identity, "mid"), attribute(&identity, "k"));
    let lines = format!(
        "ping?t=1\nsend?cid={cid}&n=2&data=two\nsend?cid={cid}&n=1&data=one\nnothing?\nmux.html\n"
    );
    let answer =
        Peer::connect(server.public_addrs()[0]).post(&format!("/ahm/batch?{session}"), lines);
    let lines: Vec<&str> = answer.body.lines().collect();
    assert_eq!(lines.len(), 5, "{answer:?}");
    for (line, member) in lines.iter().zip([
        "\"t\":\"1\"",
        "\"outcome\":\"held\"",
        "\"outcome\":\"taken\"",
        "\"error\":\"no-command\"",
        "\"error\":\"bad-request\"",
    ]) {
        assert!(line.contains(member), "{line} {member}");
    }
    let mut seen: Vec<String> = (0..3).map(|_| reader.frame()).collect();
    seen.sort();
    assert!(seen[0].starts_with(&format!("<p a c={cid} n=2 e=taken>")), "{seen:?}");
    assert!(seen[1].ends_with(">one") && seen[2].ends_with(">two"), "{seen:?}");
}

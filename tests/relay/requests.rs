//! Hostile and odd requests, with the verdict for each: the web server sees exactly the requests
//! that we believe we sent, or the client gets an error. The number at the head of each row is the
//! line of `ahm::manual::http_pitfalls` that it covers (0: none of them).

use crate::recorder::Recorder;
use crate::support::{Client, server};

/// The line, what the client sends, the statuses that it gets (`x`: and then the connection
/// closes), and the requests that the web server sees, with their bodies. `{}` stands for a Host
/// field and the empty line, `{h}` for a Host field.
const ROWS: &[(u8, &str, &str, &[&str])] = &[
    // Plain.
    (0, "GET /a HTTP/1.1\r\n{}", "200", &["GET /a"]),
    (0, "GET /a?b=c&d HTTP/1.1\r\n{}", "200", &["GET /a?b=c&d"]),
    (0, "GET /a? HTTP/1.1\r\n{}", "200", &["GET /a?"]),
    (0, "GET //a//b/../c/./d;x=%2e%2F HTTP/1.1\r\n{}", "200", &["GET //a//b/../c/./d;x=%2e%2F"]),
    (0, "GET /%61hm/login HTTP/1.1\r\n{}", "200", &["GET /%61hm/login"]),
    (0, "GET /x/../ahm/login HTTP/1.1\r\n{}", "200", &["GET /x/../ahm/login"]),
    (0, "GET /ahm/nothing HTTP/1.1\r\n{}", "404", &[]),
    (0, "GET /ahm HTTP/1.1\r\n{}", "200", &["GET /ahm"]),
    (0, "PURGE /a HTTP/1.1\r\n{}", "200", &["PURGE /a"]),
    (0, "get /a HTTP/1.1\r\n{}", "200", &["get /a"]),
    (0, "OPTIONS * HTTP/1.1\r\n{}", "200", &["OPTIONS *"]),
    (0, "POST /a HTTP/1.1\r\n{}", "200", &["POST /a"]),
    (0, "POST /a HTTP/1.1\r\nContent-Length: 3\r\n{}abc", "200", &["POST /a abc"]),
    (0, "GET /a HTTP/1.1\r\nContent-Length: 3\r\n{}abc", "200", &["GET /a abc"]),
    (0, "GET http://h/a HTTP/1.1\r\nHost: h\r\n\r\n", "200", &["GET /a"]),
    (0, "GET http://h HTTP/1.1\r\nHost: h\r\n\r\n", "200", &["GET /"]),
    (0, "GET https://h?a HTTP/1.1\r\nHost: h\r\n\r\n", "200", &["GET /?a"]),
    (0, "\r\n\r\nGET /a HTTP/1.1\r\n{}", "200", &["GET /a"]),
    // Host.
    (1, "GET /a HTTP/1.1\r\n\r\n", "400x", &[]),
    (1, "GET /a HTTP/1.1\r\n{h}{}", "400x", &[]),
    (1, "GET /a HTTP/1.1\r\nHost:\r\n\r\n", "400x", &[]),
    (1, "GET /a HTTP/1.1\r\nHost: a, b\r\n\r\n", "400x", &[]),
    (1, "GET /a HTTP/1.1\r\nHost: u@a\r\n\r\n", "400x", &[]),
    (1, "GET /a HTTP/1.1\r\nHost: a/b\r\n\r\n", "400x", &[]),
    (1, "GET /a HTTP/1.0\r\n\r\n", "200x", &["GET /a"]),
    (1, "GET http://h/a HTTP/1.1\r\nHost: other\r\n\r\n", "400x", &[]),
    // Transfer-Encoding.
    (
        2,
        "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{}1\r\na\r\n0\r\n\r\n",
        "200",
        &["POST /a a"],
    ),
    (2, "POST /a HTTP/1.1\r\nTransfer-Encoding: CHUNKED\r\n{}0\r\n\r\n", "200", &["POST /a"]),
    (
        2,
        "POST /a HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n{}0\r\n\r\n",
        "400x",
        &[],
    ),
    (
        2,
        "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n{}0\r\n\r\n",
        "400x",
        &[],
    ),
    (2, "POST /a HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n{}0\r\n\r\n", "400x", &[]),
    (2, "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked, identity\r\n{}0\r\n\r\n", "400x", &[]),
    (2, "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked,\r\n{}0\r\n\r\n", "400x", &[]),
    (2, "POST /a HTTP/1.1\r\nTransfer-Encoding:\r\n{}0\r\n\r\n", "400x", &[]),
    (2, "POST /a HTTP/1.1\r\nTransfer-Encoding: \"chunked\"\r\n{}0\r\n\r\n", "400x", &[]),
    (2, "POST /a HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n{}0\r\n\r\n", "501x", &[]),
    (2, "POST /a HTTP/1.1\r\nTransfer-Encoding: identity\r\n{}0\r\n\r\n", "501x", &[]),
    (
        2,
        "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-encoding: x\r\n{}0\r\n\r\n",
        "400x",
        &[],
    ),
    (2, "POST /a HTTP/1.1\r\nTransfer-Encoding : chunked\r\n{}0\r\n\r\n", "400x", &[]),
    (2, "POST /a HTTP/1.1\r\nTransfer-Encoding\t: chunked\r\n{}0\r\n\r\n", "400x", &[]),
    (2, "POST /a HTTP/1.1\r\nTransfer-Encoding:\x0bchunked\r\n{}0\r\n\r\n", "400x", &[]),
    (2, "POST /a HTTP/1.1\r\nX: y\r\n Transfer-Encoding: chunked\r\n{}0\r\n\r\n", "400x", &[]),
    (2, "POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n{}0\r\n\r\n", "400x", &[]),
    (
        2,
        "POST /a HTTP/1.1\r\nTransfer_Encoding: chunked\r\nContent-Length: 3\r\n{}0\r\n",
        "200",
        &["POST /a 0\r\n"],
    ),
    // Content-Length.
    (3, "POST /a HTTP/1.1\r\nContent-Length: 0003\r\n{}abc", "200", &["POST /a abc"]),
    (3, "POST /a HTTP/1.1\r\nContent-Length: +3\r\n{}abc", "400x", &[]),
    (3, "POST /a HTTP/1.1\r\nContent-Length: -3\r\n{}abc", "400x", &[]),
    (3, "POST /a HTTP/1.1\r\nContent-Length: 0x3\r\n{}abc", "400x", &[]),
    (3, "POST /a HTTP/1.1\r\nContent-Length: 3 3\r\n{}abc", "400x", &[]),
    (3, "POST /a HTTP/1.1\r\nContent-Length: 3, 3\r\n{}abc", "400x", &[]),
    (3, "POST /a HTTP/1.1\r\nContent-Length:\r\n{}abc", "400x", &[]),
    (3, "POST /a HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n{}abc", "400x", &[]),
    (3, "POST /a HTTP/1.1\r\nContent-Length: 3\r\nContent-length: 0\r\n{}abc", "400x", &[]),
    (3, "POST /a HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n{}abc", "400x", &[]),
    (3, "POST /a HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n{}abc", "413x", &[]),
    (
        3,
        "POST /a HTTP/1.1\r\nContent_Length: 9\r\nContent-Length: 3\r\n{}abc",
        "200",
        &["POST /a abc"],
    ),
    // Chunks. A head that went out already is never ended.
    (4, "POST /a HTTP/1.1\r\n{c}1;a=b;c=\"d\"\r\nx\r\n0;e\r\n\r\n", "200", &["POST /a x"]),
    (4, "POST /a HTTP/1.1\r\n{c}000001\r\nx\r\n000\r\n\r\n", "200", &["POST /a x"]),
    (4, "POST /a HTTP/1.1\r\n{c}0x1\r\nx\r\n0\r\n\r\n", "400x", &[]),
    (4, "POST /a HTTP/1.1\r\n{c}+1\r\nx\r\n0\r\n\r\n", "400x", &[]),
    (4, "POST /a HTTP/1.1\r\n{c}-1\r\nx\r\n0\r\n\r\n", "400x", &[]),
    (4, "POST /a HTTP/1.1\r\n{c}1_0\r\nx\r\n0\r\n\r\n", "400x", &[]),
    (4, "POST /a HTTP/1.1\r\n{c} 1\r\nx\r\n0\r\n\r\n", "400x", &[]),
    (4, "POST /a HTTP/1.1\r\n{c}1\nx\r\n0\r\n\r\n", "400x", &[]),
    (4, "POST /a HTTP/1.1\r\n{c}1\r\nx\n0\r\n\r\n", "400x", &[]),
    (4, "POST /a HTTP/1.1\r\n{c}1\r\nxy\r\n0\r\n\r\n", "400x", &[]),
    (4, "POST /a HTTP/1.1\r\n{c}1;\0\r\nx\r\n0\r\n\r\n", "400x", &[]),
    (4, "POST /a HTTP/1.1\r\n{c}1;a\nb\r\nx\r\n0\r\n\r\n", "400x", &[]),
    (4, "POST /a HTTP/1.1\r\n{c}FFFFFFFFFFFFFFFFF\r\nx\r\n0\r\n\r\n", "400x", &[]),
    (4, "POST /a HTTP/1.1\r\n{c}FFFFFFFFFFFFFFFF\r\nx\r\n0\r\n\r\n", "413x", &[]),
    (4, "POST /a HTTP/1.1\r\n{c}\r\nx\r\n0\r\n\r\n", "400x", &[]),
    // Trailers.
    (5, "POST /a HTTP/1.1\r\n{c}1\r\nx\r\n0\r\nSum: 1\r\n\r\n", "200", &["POST /a x Sum: 1"]),
    (5, "POST /a HTTP/1.1\r\n{c}0\r\nContent-Length: 9\r\nHost: b\r\n\r\n", "200", &["POST /a"]),
    (5, "POST /a HTTP/1.1\r\n{c}0\r\nAuthorization: b\r\n\r\n", "200", &["POST /a"]),
    (5, "POST /a HTTP/1.1\r\n{c}0\r\nX-Forwarded-For: b\r\n\r\n", "200", &["POST /a"]),
    (5, "POST /a HTTP/1.1\r\n{c}0\r\nX : b\r\n\r\n", "400x", &[]),
    (5, "POST /a HTTP/1.1\r\n{c}0\r\n X: b\r\n\r\n", "400x", &[]),
    (5, "POST /a HTTP/1.1\r\n{c}0\r\nX: b\nY: c\r\n\r\n", "400x", &[]),
    (5, "POST /a HTTP/1.1\r\n{c}0\r\nGET /b HTTP/1.1\r\n\r\n", "400x", &[]),
    // Lines.
    (6, "GET /a HTTP/1.1\nHost: a\n\n", "400x", &[]),
    (6, "GET /a HTTP/1.1\r\nX: a\nY: b\r\n{}", "400x", &[]),
    (6, "GET /a HTTP/1.1\r\nX: a\rY: b\r\n{}", "400x", &[]),
    (6, "GET /a HTTP/1.1\r\nX: a\r\n b\r\n{}", "400x", &[]),
    (6, "GET /a HTTP/1.1\r\n X: a\r\n{}", "400x", &[]),
    (6, "GET /a HTTP/1.1\r\nX : a\r\n{}", "400x", &[]),
    (6, "GET /a HTTP/1.1\r\nX: \0\r\n{}", "400x", &[]),
    (6, "GET /a HTTP/1.1\r\nX: \x7f\r\n{}", "400x", &[]),
    (6, "GET /a HTTP/1.1\r\n: a\r\n{}", "400x", &[]),
    (6, "GET /a HTTP/1.1\r\nX\r\n{}", "400x", &[]),
    (6, "GET /a HTTP/1.1\r\nX(: a\r\n{}", "400x", &[]),
    (6, "GET /a HTTP/1.1\r\nX: ä\r\n{}", "200", &["GET /a"]),
    // The request line.
    (7, "GET /a HTTP/1.10\r\n{}", "505x", &[]),
    (7, "GET /a HTTP/2.0\r\n{}", "505x", &[]),
    (7, "GET /a\r\n{}", "400x", &[]),
    (7, "GET * HTTP/1.1\r\n{}", "400x", &[]),
    (7, "GET /a b HTTP/1.1\r\n{}", "400x", &[]),
    (7, "GET /a\tb HTTP/1.1\r\n{}", "400x", &[]),
    (7, "GET  /a HTTP/1.1\r\n{}", "400x", &[]),
    (7, "GET /a#b HTTP/1.1\r\n{}", "400x", &[]),
    (7, "GET a HTTP/1.1\r\n{}", "400x", &[]),
    (7, "GET /ä HTTP/1.1\r\n{}", "400x", &[]),
    (7, "GET ftp://h/a HTTP/1.1\r\n{}", "400x", &[]),
    // After a refusal.
    (8, "GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n{}", "400x", &[]),
    (8, "POST /a HTTP/1.1\r\n{c}zz\r\nGET /b HTTP/1.1\r\n{}", "400x", &[]),
    (8, "GET /a HTTP/1.1\r\nConnection: close\r\n{}GET /b HTTP/1.1\r\n{}", "200x", &["GET /a"]),
    // CONNECT and TRACE.
    (9, "CONNECT h:80 HTTP/1.1\r\n{}", "501x", &[]),
    (9, "TRACE /a HTTP/1.1\r\n{}", "501x", &[]),
    // Expect.
    (
        10,
        "POST /a HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n{}x",
        "200",
        &["POST /a x"],
    ),
    (10, "POST /a HTTP/1.1\r\nExpect: 200-ok\r\nContent-Length: 1\r\n{}x", "417x", &[]),
    (10, "GET /a HTTP/1.1\r\nExpect: 100-continue\r\n{}", "200", &["GET /a"]),
    // Pipelines.
    (
        11,
        "GET /a HTTP/1.1\r\n{}GET /ahm/no HTTP/1.1\r\n{}GET /b HTTP/1.1\r\n{}",
        "200 404 200",
        &["GET /a", "GET /b"],
    ),
    (
        11,
        "POST /a HTTP/1.1\r\nContent-Length: 1\r\n{}xGET /b HTTP/1.1\r\n{}",
        "200 200",
        &["POST /a x", "GET /b"],
    ),
    (11, "POST /a HTTP/1.1\r\n{c}0\r\n\r\nGET /b HTTP/1.1\r\n\r\n", "200 400x", &["POST /a"]),
    // Fields between two ends.
    (
        13,
        "GET /a HTTP/1.1\r\nConnection: Host, Content-Length, X-A\r\nX-A: b\r\n{}",
        "200",
        &["GET /a"],
    ),
    (
        13,
        "POST /a HTTP/1.1\r\nConnection: content-length\r\nContent-Length: 1\r\n{}x",
        "200",
        &["POST /a x"],
    ),
    (14, "GET /a HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n{}", "200", &["GET /a"]),
    (14, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505x", &[]),
];

fn expand(row: &str) -> String {
    row.replace("{c}", "Transfer-Encoding: chunked\r\nHost: example.org\r\n\r\n")
        .replace("{h}", "Host: example.org\r\n")
        .replace("{}", "Host: example.org\r\n\r\n")
}

/// Sends a row in pieces, and compares what comes back.
fn run(client: &mut Client, request: &str, statuses: &str, piece: usize) {
    for piece in request.as_bytes().chunks(piece) {
        if std::io::Write::write_all(client.stream(), piece).is_err() {
            break; // It was refused before its end.
        }
    }
    for wanted in statuses.trim_end_matches('x').split(' ') {
        let answer = client.answer();
        assert_eq!(answer.status.to_string(), wanted, "{request:?}: {answer:?}");
        let says_close = answer.field("Connection") == Some("close");
        let closes = statuses.ends_with(&format!("{wanted}x"));
        assert_eq!(says_close, closes, "{request:?}: {answer:?}");
    }
    if statuses.ends_with('x') {
        let rest = client.rest().unwrap_or_default();
        assert_eq!(String::from_utf8_lossy(&rest), "", "{request:?}");
    }
}

#[test]
fn the_web_server_sees_what_we_believe_that_we_sent() {
    assert!(ROWS.len() >= 80, "{}", ROWS.len());
    let recorder = Recorder::start();
    let server = server(&[recorder.address], |_| ());
    let address = server.public_addrs()[0];
    for (line, request, statuses, wanted) in ROWS {
        let request = expand(request);
        for piece in [request.len(), 1, 7] {
            let mut client = Client::connect(address);
            run(&mut client, &request, statuses, piece);
            // Whatever was left over on a connection to the web server would stand before this.
            assert_eq!(Client::connect(address).get("/end").status, 200);
            let mut seen = recorder.take();
            assert_eq!(seen.pop().as_deref(), Some("GET /end"), "{line}: {request:?}");
            assert_eq!(seen, *wanted, "{line}: {request:?}");
        }
    }
    let stats = server.stop();
    assert!(stats.relay.reused > 0 && stats.relay.failed == 0, "{stats}");
}

#[test]
fn pitfall_12_sizes_are_bounded() {
    let recorder = Recorder::start();
    let server = server(&[recorder.address], |config| config.relay.body_bytes_max = 1_000);
    let address = server.public_addrs()[0];
    let long = "x".repeat(20_000);
    let many: String = (0..200).map(|n| format!("X-{n}: a\r\n")).collect();
    let tokens = "a,".repeat(100);
    for (request, status) in [
        (format!("GET /{long} HTTP/1.1\r\n{{}}"), "414x"),
        (format!("GET / HTTP/1.1\r\nX: {long}\r\n{{}}"), "431x"),
        (format!("GET / HTTP/1.1\r\n{many}{{}}"), "431x"),
        (format!("GET / HTTP/1.1\r\nConnection: {tokens}\r\n{{}}"), "400x"),
        (format!("POST / HTTP/1.1\r\n{{c}}1;{long}\r\nx\r\n0\r\n\r\n"), "400x"),
        (format!("POST / HTTP/1.1\r\n{{c}}0\r\nX: {long}\r\n\r\n"), "431x"),
        ("POST / HTTP/1.1\r\nContent-Length: 1001\r\n{}".into(), "413x"),
        ("POST / HTTP/1.1\r\n{c}3e9\r\n".into(), "413x"),
    ] {
        let request = expand(&request);
        run(&mut Client::connect(address), &request, status, request.len());
        assert_eq!(Client::connect(address).get("/end").status, 200);
        assert_eq!(recorder.take(), ["GET /end"]);
    }
}

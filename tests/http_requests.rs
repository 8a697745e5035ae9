//! Requests and bodies as tables, through the public interface. The number at the head of each row
//! is the line of `ahm::manual::http_pitfalls` that the row covers (0: none of them, plain HTTP).
//! Every row is also fed one byte at a time, and every body in pieces of every size.

use ahm::base::limits;
use ahm::http::body::BodyDecoder;
use ahm::http::chunk;
use ahm::http::request::{Framing, Head, Limits, Method, Version, parse_head};
use ahm::http::response::{ResponseError, ResponseFraming, ResponseParts, parse_response};
use ahm::http::status::Refusal;
use proptest::prelude::*;

/// Everything a head says, for comparison.
fn summary((head, consumed): &(Head<'_>, usize)) -> String {
    let fields: Vec<_> = head.fields().map(|field| (field.name, field.value)).collect();
    format!("{head:?} {:?} {fields:?} {consumed}", head.target.query)
}

/// Parses `bytes`, and every prefix of them: a prefix must ask for more until the verdict of the
/// whole is known, and then give just that.
fn parse_in_drips<'b>(
    bytes: &'b [u8],
    limits: &Limits,
) -> Result<Option<(Head<'b>, usize)>, Refusal> {
    let whole = parse_head(bytes, limits);
    let mut decided = false;
    for len in 0..bytes.len() {
        let part = parse_head(&bytes[..len], limits);
        match (&part, &whole) {
            (Ok(None), _) => assert!(!decided, "took its verdict back at {len}: {whole:?}"),
            (Err(part), Err(whole)) => assert_eq!(part, whole, "at {len}"),
            (Ok(Some(part)), Ok(Some(whole))) => {
                assert_eq!(summary(part), summary(whole), "at {len}");
                assert!(len >= part.1);
            }
            _ => panic!("at {len}: {part:?}, but of the whole {whole:?}"),
        }
        decided |= !matches!(part, Ok(None));
    }
    whole
}

fn status_of(bytes: &[u8]) -> u16 {
    match parse_in_drips(bytes, &Limits::default()) {
        Ok(Some(_)) => 200,
        Ok(None) => 0,
        Err(refusal) => refusal.status(),
    }
}

/// `{}` of a row stands for a valid rest: a Host field and the empty line.
fn expand(row: &str) -> Vec<u8> {
    row.replace("{}", "Host: a\r\n\r\n").into_bytes()
}

const REFUSED: &[(u8, u16, &str)] = &[
    // Host.
    (1, 400, "GET / HTTP/1.1\r\n\r\n"),
    (1, 400, "GET / HTTP/1.1\r\nAccept: */*\r\n\r\n"),
    (1, 400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
    (1, 400, "GET / HTTP/1.1\r\nHost: a\r\nhOST: b\r\n\r\n"),
    (1, 400, "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
    (1, 400, "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    (1, 400, "GET / HTTP/1.1\r\nHost: \t \r\n\r\n"),
    (1, 400, "GET / HTTP/1.1\r\nHost: u:p@a\r\n\r\n"),
    (1, 400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    (1, 400, "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    (1, 400, "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n"),
    (1, 400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    (1, 400, "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n"),
    (1, 400, "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n"),
    (1, 400, "GET / HTTP/1.1\r\nHost: :80\r\n\r\n"),
    (1, 400, "GET / HTTP/1.1\r\nHost: http://a\r\n\r\n"),
    (1, 400, "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"),
    (1, 400, "GET / HTTP/1.1\r\nHost: ::1\r\n\r\n"),
    (1, 400, "GET / HTTP/1.1\r\nHost: a#b\r\n\r\n"),
    (1, 400, "GET / HTTP/1.1\r\nHost: \u{e9}\r\n\r\n"),
    (1, 400, "GET / HTTP/1.0\r\nHost: a?b\r\n\r\n"),
    // Transfer-Encoding.
    (2, 400, "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n{}"),
    (2, 400, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n{}"),
    (2, 400, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n{}"),
    (2, 400, "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\nContent-Length: 0\r\n{}"),
    (2, 400, "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n{}"),
    (2, 400, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r\n{}"),
    (2, 400, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked, identity\r\n{}"),
    (2, 400, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked,\r\n{}"),
    (2, 400, "POST / HTTP/1.1\r\nTransfer-Encoding: ,chunked\r\n{}"),
    (2, 400, "POST / HTTP/1.1\r\nTransfer-Encoding:\r\n{}"),
    (2, 400, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked;q=1\r\n{}"),
    (2, 400, "POST / HTTP/1.1\r\nTransfer-Encoding: \"chunked\"\r\n{}"),
    (2, 400, "POST / HTTP/1.1\r\nTransfer-Encoding: \x0bchunked\r\n{}"),
    (2, 400, "POST / HTTP/1.1\r\nTransfer-Encoding: chu\u{e9}nked\r\n{}"),
    (2, 400, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n{}"),
    (2, 400, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\ntransfer-encoding: x\r\n{}"),
    (2, 400, "POST / HTTP/1.1\r\nTransfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n{}"),
    (2, 400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n{}"),
    (2, 400, "POST / HTTP/1.0\r\nTransfer-Encoding: gzip\r\n{}"),
    (2, 400, "POST / HTTP/1.1\r\nTransfer-Encoding : chunked\r\n{}"),
    (2, 501, "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n{}"),
    (2, 501, "POST / HTTP/1.1\r\nTransfer-Encoding: identity\r\n{}"),
    (2, 501, "POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n{}"),
    (2, 501, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked-x\r\n{}"),
    // Content-Length.
    (3, 400, "POST / HTTP/1.1\r\nContent-Length: +5\r\n{}"),
    (3, 400, "POST / HTTP/1.1\r\nContent-Length: -5\r\n{}"),
    (3, 400, "POST / HTTP/1.1\r\nContent-Length: 0x5\r\n{}"),
    (3, 400, "POST / HTTP/1.1\r\nContent-Length: 5a\r\n{}"),
    (3, 400, "POST / HTTP/1.1\r\nContent-Length: 5 5\r\n{}"),
    (3, 400, "POST / HTTP/1.1\r\nContent-Length: 1_0\r\n{}"),
    (3, 400, "POST / HTTP/1.1\r\nContent-Length: 1e3\r\n{}"),
    (3, 400, "POST / HTTP/1.1\r\nContent-Length: 5.0\r\n{}"),
    (3, 400, "POST / HTTP/1.1\r\nContent-Length: \"5\"\r\n{}"),
    (3, 400, "POST / HTTP/1.1\r\nContent-Length:\r\n{}"),
    (3, 400, "POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n{}"),
    (3, 400, "POST / HTTP/1.1\r\nContent-Length: 5,\r\n{}"),
    (3, 400, "POST / HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n{}"),
    (3, 400, "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999999\r\n{}"),
    (3, 400, "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n{}"),
    (3, 400, "POST / HTTP/1.1\r\nContent-Length: 5\r\ncontent-length: 5\r\n{}"),
    (3, 400, "POST / HTTP/1.1\r\nContent-Length : 5\r\n{}"),
    (3, 400, "POST / HTTP/1.1\r\nContent-Length: \u{665}\r\n{}"),
    // Line breaks, white space, control characters.
    (6, 400, "GET / HTTP/1.1\nHost: a\n\n"),
    (6, 400, "GET / HTTP/1.1\r\nHost: a\n\r\n"),
    (6, 400, "GET / HTTP/1.1\r\nHost: a\r\n\n"),
    (6, 400, "GET / HTTP/1.1\rHost: a\r\r"),
    (6, 400, "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n"),
    (6, 400, "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n"),
    (6, 400, "GET / HTTP/1.1\r\nX: a\nTransfer-Encoding: chunked\r\n{}"),
    (6, 400, "\nGET / HTTP/1.1\r\n{}"),
    (6, 400, "\rGET / HTTP/1.1\r\n{}"),
    (6, 400, "\r\n\nGET / HTTP/1.1\r\n{}"),
    (6, 400, "\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n{}"),
    (6, 400, "GET / HTTP/1.1\r\nX: a\r\n b\r\n{}"),
    (6, 400, "GET / HTTP/1.1\r\nX: a\r\n\tb\r\n{}"),
    (6, 400, "GET / HTTP/1.1\r\nX: a\r\n \r\n{}"),
    (6, 400, "GET / HTTP/1.1\r\nX:\r\n b\r\n{}"),
    (6, 400, "GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    (6, 400, "GET / HTTP/1.1\r\n X: a\r\n{}"),
    (6, 400, "GET / HTTP/1.1\r\n\tX: a\r\n{}"),
    (6, 400, "GET / HTTP/1.1\r\n X"),
    (6, 400, "GET / HTTP/1.1\r\nHost : a\r\n\r\n"),
    (6, 400, "GET / HTTP/1.1\r\nHost\t: a\r\n\r\n"),
    (6, 400, "GET / HTTP/1.1\r\nX Y: a\r\n{}"),
    (6, 400, "GET / HTTP/1.1\r\n: a\r\n{}"),
    (6, 400, "GET / HTTP/1.1\r\nX\r\n{}"),
    (6, 400, "GET / HTTP/1.1\r\nX\0: a\r\n{}"),
    (6, 400, "GET / HTTP/1.1\r\nX\x7f: a\r\n{}"),
    (6, 400, "GET / HTTP/1.1\r\n\u{e9}: a\r\n{}"),
    (6, 400, "GET / HTTP/1.1\r\nX(: a\r\n{}"),
    (6, 400, "GET / HTTP/1.1\r\nX: a\0b\r\n{}"),
    (6, 400, "GET / HTTP/1.1\r\nX: \x01\r\n{}"),
    (6, 400, "GET / HTTP/1.1\r\nX: a\x08\r\n{}"),
    (6, 400, "GET / HTTP/1.1\r\nX: a\x0bb\r\n{}"),
    (6, 400, "GET / HTTP/1.1\r\nX: a\x1fb\r\n{}"),
    (6, 400, "GET / HTTP/1.1\r\nX: a\x7fb\r\n{}"),
    (6, 400, "GET / HTTP/1.1\r\nX: 0123456789012345678901234567890123456789\x7f\r\n{}"),
    (6, 400, "GET / HTTP/1.1\r\nX: 0123456789012345678901234567890123456789\0\r\n{}"),
    // Request line.
    (7, 505, "GET / HTTP/1.10\r\n{}"),
    (7, 505, "GET / HTTP/1.2\r\n{}"),
    (7, 505, "GET / HTTP/2.0\r\n{}"),
    (7, 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    (7, 505, "GET / HTTP/1\r\n{}"),
    (7, 505, "GET / HTTP/1.\r\n{}"),
    (7, 505, "GET / HTTP/01.1\r\n{}"),
    (7, 505, "GET / HTTP/0.9\r\n{}"),
    (7, 505, "GET / http/1.1\r\n{}"),
    (7, 505, "GET / HTTPS/1.1\r\n{}"),
    (7, 505, "GET / HTTP/1.1x\r\n{}"),
    (7, 400, "GET / HTTP/1.1 \r\n{}"),
    (7, 400, "GET / HTTP/1.1\t\r\n{}"),
    (7, 400, "GET / HTTP/ 1.1\r\n{}"),
    (7, 400, "GET /\r\n"),
    (7, 400, "GET / \r\n{}"),
    (7, 400, "GET\r\n{}"),
    (7, 400, "GET \r\n{}"),
    (7, 400, "GET  HTTP/1.1\r\n{}"),
    (7, 400, " GET / HTTP/1.1\r\n{}"),
    (7, 400, "GET  / HTTP/1.1\r\n{}"),
    (7, 400, "GET /  HTTP/1.1\r\n{}"),
    (7, 400, "GET\t/\tHTTP/1.1\r\n{}"),
    (7, 400, "GET /a b HTTP/1.1\r\n{}"),
    (7, 400, "GET /a\tb HTTP/1.1\r\n{}"),
    (7, 400, "GET /a\0b HTTP/1.1\r\n{}"),
    (7, 400, "GET /a\x7fb HTTP/1.1\r\n{}"),
    (7, 400, "GET /\u{e9} HTTP/1.1\r\n{}"),
    (7, 400, "GET /?\u{e9} HTTP/1.1\r\n{}"),
    (7, 400, "GET /a#b HTTP/1.1\r\n{}"),
    (7, 400, "GET a HTTP/1.1\r\n{}"),
    (7, 400, "GET ?a HTTP/1.1\r\n{}"),
    (7, 400, "GET a:80 HTTP/1.1\r\n{}"),
    (7, 400, "GET * HTTP/1.1\r\n{}"),
    (7, 400, "OPTIONS *x HTTP/1.1\r\n{}"),
    (7, 400, "OPTIONS *?x HTTP/1.1\r\n{}"),
    (7, 400, "G(T / HTTP/1.1\r\n{}"),
    (7, 400, "G\0T / HTTP/1.1\r\n{}"),
    (7, 400, "{ / HTTP/1.1\r\n"),
    (7, 400, "GET http://b/ HTTP/1.1\r\n{}"),
    (7, 400, "GET http://a:81/ HTTP/1.1\r\n{}"),
    (7, 400, "GET https://a:80/ HTTP/1.1\r\n{}"),
    (7, 400, "GET http://a/ HTTP/1.1\r\n\r\n"),
    (7, 400, "GET http:/// HTTP/1.1\r\n{}"),
    (7, 400, "GET http://u@a/ HTTP/1.1\r\n{}"),
    (7, 400, "GET http:a HTTP/1.1\r\n{}"),
    (7, 400, "GET ftp://a/ HTTP/1.1\r\n{}"),
    (7, 400, "GET ://a/ HTTP/1.1\r\n{}"),
    // Methods that are never served.
    (9, 501, "CONNECT a:443 HTTP/1.1\r\n{}"),
    (9, 501, "CONNECT / HTTP/1.1\r\n{}"),
    (9, 501, "CONNECT a:443 HTTP/1.0\r\n\r\n"),
    (9, 501, "TRACE / HTTP/1.1\r\n{}"),
    (9, 501, "TRACE * HTTP/1.1\r\n{}"),
    // Expectations.
    (10, 417, "POST / HTTP/1.1\r\nExpect: something\r\nContent-Length: 5\r\n{}"),
    (10, 417, "POST / HTTP/1.1\r\nExpect: 100-continue, x\r\nContent-Length: 5\r\n{}"),
    (10, 417, "POST / HTTP/1.1\r\nExpect:\r\nContent-Length: 5\r\n{}"),
    (10, 417, "POST / HTTP/1.1\r\nExpect: 100-continue=1\r\n{}"),
    // TLS on a plain port, and other things that are no HTTP at all.
    (23, 400, "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03"),
    (0, 400, "\0"),
    (0, 400, "{\"json\":1}\r\n"),
    (0, 400, "hello\r\n"),
];

#[test]
fn refused_requests() {
    for (line, status, row) in REFUSED {
        assert_eq!(status_of(&expand(row)), *status, "line {line}: {row:?}");
    }
}

type Check = fn(&Head<'_>) -> bool;

const ACCEPTED: &[(u8, &str, Check)] = &[
    (0, "GET / HTTP/1.1\r\n{}", |h| {
        h.method == Method::Get
            && (h.target.path, h.target.query, h.target.authority) == ("/", "", None)
            && (h.version, h.framing, h.persistent) == (Version::Http11, Framing::None, true)
            && !h.expect_continue
    }),
    (0, "GET /a/%2F?b=c&d=?e HTTP/1.1\r\n{}", |h| {
        (h.target.path, h.target.query) == ("/a/%2F", "b=c&d=?e")
    }),
    (0, "GET //a HTTP/1.1\r\n{}", |h| h.target.path == "//a"),
    (0, "GET /? HTTP/1.1\r\n{}", |h| (h.target.path, h.target.query) == ("/", "")),
    (0, "get / HTTP/1.1\r\n{}", |h| h.method == Method::Other("get")),
    (0, "PROPFIND / HTTP/1.1\r\n{}", |h| h.method == Method::Other("PROPFIND")),
    (0, "HEAD / HTTP/1.1\r\n{}", |h| h.method == Method::Head),
    (0, "GET / HTTP/1.1\r\nX:a\r\nY:\t a b \t\r\nZ:\r\n{}", |h| {
        (h.field("x"), h.field("Y"), h.field("z")) == (Some("a"), Some("a b"), Some(""))
            && h.fields().map(|f| f.name).eq(["X", "Y", "Z", "Host"])
            && h.field("w").is_none()
    }),
    (0, "GET / HTTP/1.1\r\nX: 1\r\nX: 2\r\n{}", |h| h.field("X") == Some("1")),
    (0, "GET / HTTP/1.1\r\nX: \u{e9}\r\n{}", |h| h.field("X") == Some("\u{e9}")),
    (0, "GET / HTTP/1.1\r\n!#$%&'*+-.^_`|~: a\r\n{}", |h| h.field("!#$%&'*+-.^_`|~").is_some()),
    (1, "GET / HTTP/1.1\r\nHost: a.example:8080\r\n\r\n", |h| h.host == Some("a.example:8080")),
    (1, "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", |h| h.host == Some("[::1]:80")),
    (1, "GET / HTTP/1.0\r\n\r\n", |h| h.host.is_none()),
    (2, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n{}", |h| h.framing == Framing::Chunked),
    (2, "POST / HTTP/1.1\r\ntransfer-encoding:  CHUNKED \r\n{}", |h| h.framing == Framing::Chunked),
    (3, "POST / HTTP/1.1\r\nContent-Length: 0\r\n{}", |h| h.framing == Framing::Length(0)),
    (3, "POST / HTTP/1.1\r\nContent-Length: 0042\r\n{}", |h| h.framing == Framing::Length(42)),
    (3, "POST / HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n{}", |h| {
        h.framing == Framing::Length(u64::MAX)
    }),
    (6, "\r\n\r\nGET / HTTP/1.1\r\n{}", |h| h.method == Method::Get),
    (7, "OPTIONS * HTTP/1.1\r\n{}", |h| h.target.path == "*"),
    (7, "OPTIONS http://a HTTP/1.1\r\n{}", |h| h.target.path == "*"),
    (7, "OPTIONS http://a/ HTTP/1.1\r\n{}", |h| h.target.path == "/"),
    (7, "GET http://a/x?y HTTP/1.1\r\n{}", |h| {
        (h.target.path, h.target.query, h.target.authority) == ("/x", "y", Some("a"))
    }),
    (7, "GET HTTP://A:80?y HTTP/1.1\r\n{}", |h| {
        (h.target.path, h.target.query, h.host) == ("/", "y", Some("A:80"))
    }),
    (7, "GET https://a:443/ HTTP/1.1\r\n{}", |h| h.host == Some("a:443")),
    (7, "GET http://b:81/ HTTP/1.0\r\n\r\n", |h| h.host == Some("b:81")),
    (10, "POST / HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n{}", |h| {
        h.expect_continue
    }),
    (10, "POST / HTTP/1.1\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n{}", |h| {
        h.expect_continue
    }),
    (10, "POST / HTTP/1.1\r\nExpect: 100-continue\r\n{}", |h| !h.expect_continue),
    (10, "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 0\r\n{}", |h| {
        !h.expect_continue
    }),
    (10, "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n{}", |h| {
        !h.expect_continue
    }),
    (14, "GET / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n{}", |h| {
        h.persistent
    }),
    (0, "GET / HTTP/1.1\r\nConnection: close\r\n{}", |h| !h.persistent),
    (0, "GET / HTTP/1.1\r\nConnection: x ,\tCLOSE\r\n{}", |h| !h.persistent),
    (0, "GET / HTTP/1.1\r\nConnection: x\r\nConnection: close\r\n{}", |h| !h.persistent),
    (0, "GET / HTTP/1.1\r\nConnection: keep-alive, close\r\n{}", |h| !h.persistent),
    (0, "GET / HTTP/1.1\r\nConnection: closed\r\n{}", |h| h.persistent),
    (0, "GET / HTTP/1.1\r\nConnection:\r\n{}", |h| h.persistent),
    (0, "GET / HTTP/1.0\r\n\r\n", |h| !h.persistent && h.version == Version::Http10),
    (0, "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", |h| h.persistent),
    (0, "GET / HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n", |h| !h.persistent),
    (0, "GET / HTTP/1.0\r\nProxy-Connection: keep-alive\r\n\r\n", |h| !h.persistent),
];

#[test]
fn accepted_requests() {
    for (line, row, check) in ACCEPTED {
        let mut bytes = expand(row);
        let head_len = bytes.len();
        // Line 11: what follows in the pipeline does not matter.
        bytes.extend_from_slice(b"\0GET / HTTP/1.1\n");
        let parsed = parse_in_drips(&bytes, &Limits::default());
        let Ok(Some((head, consumed))) = parsed else {
            panic!("line {line}: {row:?}: {parsed:?}");
        };
        assert_eq!(consumed, head_len, "line {line}: {row:?}");
        assert!(check(&head), "line {line}: {row:?}: {head:?}");
    }
}

#[test]
fn a_value_that_is_not_utf8_is_kept_but_not_text() {
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\nX: \xff\r\n\r\n";
    let (head, _) = parse_in_drips(bytes, &Limits::default()).unwrap().unwrap();
    assert_eq!(head.field("X"), None);
    assert_eq!(head.fields().nth(1).unwrap().value, b"\xff");
}

#[test]
fn pitfall_12_oversized_heads_and_targets() {
    let limits = Limits { head_bytes_max: 300, target_bytes_max: 100 };
    let status = |bytes: &[u8]| match parse_in_drips(bytes, &limits) {
        Ok(Some((_, consumed))) => Ok(consumed),
        Ok(None) => Err(0),
        Err(refusal) => Err(refusal.status()),
    };
    let get = |target: usize, field: usize| {
        let (target, field) = ("t".repeat(target - 1), "f".repeat(field));
        format!("GET /{target} HTTP/1.1\r\nHost: a\r\nX: {field}\r\n\r\n").into_bytes()
    };
    // To the byte, whole and with an end that never comes.
    assert_eq!(status(&get(100, 10)), Ok(141));
    assert_eq!(status(&get(101, 10)), Err(414));
    assert_eq!(status(&get(1, 268)), Ok(300));
    assert_eq!(status(&get(1, 269)), Err(431));
    assert_eq!(status(format!("GET /{}", "t".repeat(99)).as_bytes()), Err(0));
    assert_eq!(status(format!("GET /{}", "t".repeat(100)).as_bytes()), Err(414));
    assert_eq!(status(&get(1, 400)[..299]), Err(0));
    assert_eq!(status(&get(1, 400)[..300]), Err(431));
    assert_eq!(status(format!("GET / {}", "v".repeat(300)).as_bytes()), Err(431));
    // The first fault from the left decides, also far beyond the limits.
    assert_eq!(status(format!("GET /{}\n", "t".repeat(99)).as_bytes()), Err(400));
    assert_eq!(status(format!("GET /{}\n", "t".repeat(100)).as_bytes()), Err(414));
    assert_eq!(status(format!("GET / HTTP/1.1\r\nX: {}\n", "f".repeat(279)).as_bytes()), Err(400));
    assert_eq!(status(format!("GET / HTTP/1.1\r\nX: {}\n", "f".repeat(281)).as_bytes()), Err(431));
    // A method longer than any that is known.
    assert_eq!(status(&expand(&format!("{} / HTTP/1.1\r\n{{}}", "M".repeat(32)))), Ok(56));
    assert_eq!(status("M".repeat(33).as_bytes()), Err(501));
    assert_eq!(status("M".repeat(32).as_bytes()), Err(0));
}

#[test]
fn pitfall_12_the_number_of_fields_is_bounded() {
    let fields = |n: usize| {
        let more = "X: y\r\n".repeat(n - 1);
        format!("GET / HTTP/1.1\r\n{more}Host: a\r\n\r\n").into_bytes()
    };
    assert_eq!(status_of(&fields(limits::FIELDS_MAX)), 200);
    assert_eq!(status_of(&fields(limits::FIELDS_MAX + 1)), 431);
    let bytes = fields(limits::FIELDS_MAX);
    let (head, _) = parse_head(&bytes, &Limits::default()).unwrap().unwrap();
    assert_eq!(head.fields().count(), limits::FIELDS_MAX);
    assert_eq!(head.field("host"), Some("a"));
}

#[test]
fn pitfall_12_default_limits_bound_a_head_that_drips_for_ever() {
    let mut bytes = b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec();
    let mut last = Ok(());
    while last.is_ok() && bytes.len() <= limits::HEAD_BYTES_MAX {
        bytes.push(b'x');
        last = parse_head(&bytes, &Limits::default()).map(|head| assert!(head.is_none()));
    }
    assert_eq!(last, Err(Refusal::HeadTooLarge));
    assert_eq!(bytes.len(), limits::HEAD_BYTES_MAX);
}

#[test]
fn pitfall_11_a_pipeline_is_read_in_order() {
    let mut bytes = Vec::new();
    for number in 0..100 {
        bytes.extend_from_slice(format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    }
    let mut rest = &bytes[..];
    for number in 0..100 {
        let (head, consumed) = parse_head(rest, &Limits::default()).unwrap().unwrap();
        assert_eq!(head.target.path, format!("/{number}"));
        rest = &rest[consumed..];
    }
    assert!(rest.is_empty());
}

/// How a body came out: refusal or whether it is whole, its bytes, and how much was consumed.
type Decoded = (Result<bool, Refusal>, Vec<u8>, usize);

/// Decodes `input` given in pieces of `piece` bytes.
fn decode(framing: Framing, bytes_max: u64, input: &[u8], piece: usize) -> Decoded {
    let mut out = Vec::new();
    let mut consumed = 0;
    let mut decoder = match BodyDecoder::new(framing, bytes_max) {
        Ok(decoder) => decoder,
        Err(refusal) => return (Err(refusal), out, 0),
    };
    for part in input.chunks(piece) {
        match decoder.decode(part, &mut out) {
            Ok(n) => consumed += n,
            // What was consumed of a refused body means nothing.
            Err(refusal) => return (Err(refusal), out, 0),
        }
        if decoder.is_done() {
            break;
        }
    }
    (Ok(decoder.is_done()), out, consumed)
}

fn decode_in_every_piece(framing: Framing, bytes_max: u64, input: &[u8]) -> Decoded {
    let whole = decode(framing, bytes_max, input, input.len().max(1));
    for piece in 1..input.len() {
        assert_eq!(decode(framing, bytes_max, input, piece), whole, "in pieces of {piece}");
    }
    whole
}

const REFUSED_CHUNKS: &[(u8, u16, &str)] = &[
    (4, 400, "\r\n"),
    (4, 400, "\n"),
    (4, 400, ";a\r\n"),
    (4, 400, " 5\r\nhello\r\n0\r\n\r\n"),
    (4, 400, "0x5\r\nhello\r\n0\r\n\r\n"),
    (4, 400, "0X5\r\nhello\r\n0\r\n\r\n"),
    (4, 400, "+5\r\nhello\r\n0\r\n\r\n"),
    (4, 400, "-5\r\nhello\r\n0\r\n\r\n"),
    (4, 400, "1_0\r\nhello\r\n0\r\n\r\n"),
    (4, 400, "5h\r\nhello\r\n0\r\n\r\n"),
    (4, 400, "5,\r\nhello\r\n0\r\n\r\n"),
    (4, 400, "5\0\r\nhello\r\n0\r\n\r\n"),
    (4, 400, "5 \r\nhello\r\n0\r\n\r\n"),
    (4, 400, "5 5\r\nhello\r\n0\r\n\r\n"),
    (4, 400, "5\nhello\r\n0\r\n\r\n"),
    (4, 400, "5\rhello\r\n0\r\n\r\n"),
    (4, 400, "5\r\rhello\r\n0\r\n\r\n"),
    (4, 413, "ffffffffffffffff\r\n"),
    (4, 400, "10000000000000000\r\n"),
    (4, 400, "10000000000000005\r\nhello\r\n0\r\n\r\n"),
    (4, 400, "00000000000000005\r\nhello\r\n0\r\n\r\n"),
    (4, 400, "5\r\nhello\n0\r\n\r\n"),
    (4, 400, "5\r\nhello\r0\r\n\r\n"),
    (4, 400, "5\r\nhello0\r\n\r\n"),
    (4, 400, "5\r\nhello!\r\n0\r\n\r\n"),
    (4, 400, "5\r\nhell\r\n0\r\n\r\n"),
    (4, 400, "5\r\nhello\r\n\r\n"),
    (4, 400, "5;a\nb\r\nhello\r\n0\r\n\r\n"),
    (4, 400, "5;a\rb\r\nhello\r\n0\r\n\r\n"),
    (4, 400, "5;a\0b\r\nhello\r\n0\r\n\r\n"),
    (4, 400, "5;a=\"\r\n\"\r\nhello\r\n0\r\n\r\n"),
    (4, 400, "5;\x7f\r\nhello\r\n0\r\n\r\n"),
    (4, 400, "5;\n\r\nhello\r\n0\r\n\r\n"),
    (4, 400, "0\r\n\n"),
    (4, 400, "0\r\n\r\r"),
    (4, 400, "0\n\r\n"),
    (4, 400, "0\r\n\rX"),
    (5, 400, "0\r\nX: y\n\r\n"),
    (5, 400, "0\r\nX: y\r\n\n"),
    (5, 400, "0\r\nX\r\n\r\n"),
    (5, 400, "0\r\nX : y\r\n\r\n"),
    (5, 400, "0\r\n: y\r\n\r\n"),
    (5, 400, "0\r\n X: y\r\n\r\n"),
    (5, 400, "0\r\nX: y\r\n z\r\n\r\n"),
    (5, 400, "0\r\nX: \0\r\n\r\n"),
    (5, 400, "0\r\nX: a\rb\r\n\r\n"),
    (12, 413, "65\r\n"),
    (12, 413, "32\r\n12345678901234567890123456789012345678901234567890\r\n33\r\n"),
];

#[test]
fn refused_chunked_bodies() {
    for (line, status, row) in REFUSED_CHUNKS {
        let (verdict, _, _) = decode_in_every_piece(Framing::Chunked, 100, row.as_bytes());
        assert_eq!(verdict.map_err(Refusal::status), Err(*status), "line {line}: {row:?}");
    }
}

const ACCEPTED_CHUNKS: &[(u8, &str, &str)] = &[
    (0, "0\r\n\r\n", ""),
    (0, "5\r\nhello\r\n0\r\n\r\n", "hello"),
    (0, "5\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\n\r\n", "hello world"),
    (0, "2\r\n\r\n\r\n0\r\n\r\n", "\r\n"),
    (0, "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"),
    (4, "0000000000000005\r\nhello\r\n0000\r\n\r\n", "hello"),
    (4, "5;a\r\nhello\r\n0;b=c\r\n\r\n", "hello"),
    (4, "5;\r\nhello\r\n0\r\n\r\n", "hello"),
    (4, "5 \t;a=\"b;c\";d\r\nhello\r\n0\r\n\r\n", "hello"),
    (5, "5\r\nhello\r\n0\r\nX: y\r\n\r\n", "hello"),
    (5, "5\r\nhello\r\n0\r\nContent-Length: 9\r\nHost: b\r\n\r\n", "hello"),
    (5, "5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\nAuthorization: x\r\n\r\n", "hello"),
    (5, "0\r\nX:\r\nY:z\r\n\r\n", ""),
];

#[test]
fn accepted_chunked_bodies() {
    for (line, row, body) in ACCEPTED_CHUNKS {
        let whole = Ok(true);
        let expected = (whole, body.as_bytes().to_vec(), row.len());
        let decoded = decode_in_every_piece(Framing::Chunked, 100, row.as_bytes());
        assert_eq!(decoded, expected, "line {line}: {row:?}");
        // It stops exactly at its end, whatever follows.
        let more = format!("{row}\r\n5\r\nhello");
        let decoded = decode_in_every_piece(Framing::Chunked, 100, more.as_bytes());
        assert_eq!(decoded, expected, "line {line}: {row:?}");
        // Cut short it is neither whole nor refused.
        for end in 0..row.len() {
            let (verdict, _, consumed) = decode(Framing::Chunked, 100, &row.as_bytes()[..end], 1);
            assert_eq!((verdict, consumed), (Ok(false), end), "line {line}: {row:?} cut at {end}");
        }
    }
}

#[test]
fn pitfall_4_and_12_extensions_and_trailers_are_bounded() {
    let extension = |n: usize| format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(n));
    let most = limits::CHUNK_EXTENSION_BYTES_MAX;
    let verdict = |input: String| decode(Framing::Chunked, 100, input.as_bytes(), input.len()).0;
    assert_eq!(verdict(extension(most)), Ok(true));
    assert_eq!(verdict(extension(most + 1)).map_err(Refusal::status), Err(400));
    assert_eq!(verdict(format!("1 {}", " ".repeat(most + 1))).map_err(Refusal::status), Err(400));
    let most = limits::TRAILER_BYTES_MAX;
    assert_eq!(verdict(format!("0\r\n{}", "t".repeat(most))), Ok(false));
    assert_eq!(verdict(format!("0\r\n{}", "t".repeat(most + 1))), Err(Refusal::HeadTooLarge));
    assert_eq!(verdict(format!("0\r\n{}", "X: y\r\n".repeat(most))), Err(Refusal::HeadTooLarge));
}

#[test]
fn bodies_by_length() {
    let decode = |framing, input: &str| decode_in_every_piece(framing, 10, input.as_bytes());
    assert_eq!(decode(Framing::None, "GET"), (Ok(true), vec![], 0));
    assert_eq!(decode(Framing::Length(0), "GET"), (Ok(true), vec![], 0));
    assert_eq!(decode(Framing::Length(5), "helloGET"), (Ok(true), b"hello".to_vec(), 5));
    assert_eq!(decode(Framing::Length(5), "hell"), (Ok(false), b"hell".to_vec(), 4));
    assert_eq!(decode(Framing::Length(10), "0123456789"), (Ok(true), b"0123456789".to_vec(), 10));
    // Line 12: refused before a byte of it is read.
    assert_eq!(decode(Framing::Length(11), ""), (Err(Refusal::BodyTooLarge), vec![], 0));
}

/// [`parse_in_drips`] for answers.
fn parse_response_in_drips(
    bytes: &[u8],
) -> Result<Option<(ResponseParts<'_>, usize)>, ResponseError> {
    let whole = parse_response(bytes);
    for len in 0..bytes.len() {
        match (parse_response(&bytes[..len]), &whole) {
            (Ok(None), _) => {}
            (Err(part), Err(whole)) => assert_eq!(part, *whole, "at {len}"),
            (Ok(Some(part)), Ok(Some(whole))) => {
                assert_eq!(format!("{part:?}"), format!("{whole:?}"), "at {len}");
            }
            (part, whole) => panic!("at {len}: {part:?}, but of the whole {whole:?}"),
        }
    }
    whole
}

const REFUSED_ANSWERS: &[(u8, &str)] = &[
    (16, "garbage"),
    (16, "\r\nHTTP/1.1 200 OK\r\n\r\n"),
    (16, "HTTP/2 200\r\n\r\n"),
    (16, "HTTP/1.2 200 OK\r\n\r\n"),
    (16, "HTTP/1.1 20 OK\r\n\r\n"),
    (16, "HTTP/1.1 2000 OK\r\n\r\n"),
    (16, "HTTP/1.1 099 OK\r\n\r\n"),
    (16, "HTTP/1.1 600 OK\r\n\r\n"),
    (16, "HTTP/1.1  200 OK\r\n\r\n"),
    (16, "HTTP/1.1 200 OK\n\n"),
    (16, "HTTP/1.1 200 O\0K\r\n\r\n"),
    (16, "HTTP/1.1 200 OK\r\nX : y\r\n\r\n"),
    (16, "HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n"),
    (17, "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"),
    (17, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n"),
    (17, "HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n"),
    (17, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    (17, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"),
    (17, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
    (18, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
];

#[test]
fn refused_answers() {
    for (line, row) in REFUSED_ANSWERS {
        let parsed = parse_response_in_drips(row.as_bytes());
        assert!(parsed.is_err(), "line {line}: {row:?}: {parsed:?}");
    }
}

#[test]
fn accepted_answers() {
    use ResponseFraming::{Chunked, Length, None as NoBody, UntilClose};
    let rows: &[(u8, &str, u16, ResponseFraming, bool)] = &[
        (0, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, Length(5), true),
        (0, "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\n", 200, Length(5), true),
        (0, "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", 200, Length(0), true),
        (0, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, Chunked, true),
        (0, "HTTP/1.1 200 OK\r\n\r\n", 200, UntilClose, false),
        (0, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", 200, UntilClose, false),
        (
            0,
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n",
            200,
            Length(1),
            true,
        ),
        (
            0,
            "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 1\r\n\r\n",
            404,
            Length(1),
            false,
        ),
        (10, "HTTP/1.1 100 Continue\r\n\r\n", 100, NoBody, true),
        (15, "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", 204, NoBody, true),
        (15, "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", 304, NoBody, true),
    ];
    for (line, row, status, framing, persistent) in rows {
        let bytes = format!("{row}\0\n");
        let (parts, consumed) = parse_response_in_drips(bytes.as_bytes()).unwrap().unwrap();
        assert_eq!(
            (parts.status, parts.framing, parts.persistent, consumed),
            (*status, *framing, *persistent, row.len()),
            "line {line}: {row:?}"
        );
    }
}

/// Bytes that look enough like HTTP to get far.
fn http_like() -> impl Strategy<Value = Vec<u8>> {
    const WORDS: &[&str] = &[
        "GET ",
        "POST ",
        "/",
        "*",
        "http://a",
        " HTTP/1.1\r\n",
        " HTTP/1.0\r\n",
        "HTTP/1.1 200 ",
        "Host: a\r\n",
        "Content-Length: ",
        "5",
        "Transfer-Encoding: ",
        "chunked",
        "Connection: ",
        "close",
        "Expect: 100-continue\r\n",
        "\r\n",
        "\r\n\r\n",
        "\r",
        "\n",
        " ",
        ":",
        ",",
        "\0",
        "\t",
        "x",
        "0",
        "ff",
        ";",
        "\u{e9}",
    ];
    let word = prop_oneof![
        8 => prop::sample::select(WORDS).prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    prop::collection::vec(word, 0..24).prop_map(|words| words.concat())
}

/// A row of the table of accepted requests with a few bytes overwritten, put in or left out.
fn nearly_valid() -> impl Strategy<Value = Vec<u8>> {
    let edit = (any::<prop::sample::Index>(), 0..3u8, any::<u8>());
    (0..ACCEPTED.len(), prop::collection::vec(edit, 0..4)).prop_map(|(row, edits)| {
        let mut bytes = expand(ACCEPTED[row].1);
        for (at, kind, byte) in edits {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        bytes
    })
}

/// What must hold of whatever was accepted.
fn check_accepted(bytes: &[u8], head: &Head<'_>, consumed: usize) {
    let text = &bytes[..consumed];
    assert!(text.ends_with(b"\r\n\r\n"));
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'\r' => assert_eq!(text[at + 1], b'\n'),
            b'\n' => assert_eq!(text[at - 1], b'\r'),
            b'\t' => {}
            _ => assert!(!byte.is_ascii_control(), "{byte:#x}"),
        }
    }
    let count = |name: &str| head.fields().filter(|f| f.name.eq_ignore_ascii_case(name)).count();
    assert!(count("content-length") + count("transfer-encoding") <= 1);
    assert!(count("host") <= 1 && (count("host") == 1 || head.version == Version::Http10));
    assert!(head.target.path.starts_with('/') || head.target.path == "*");
}

proptest! {
    #[test]
    fn arbitrary_bytes_get_one_verdict(bytes in prop_oneof![
        http_like(), nearly_valid(), prop::collection::vec(any::<u8>(), 0..200)
    ]) {
        if let Ok(Some((head, consumed))) = parse_in_drips(&bytes, &Limits::default()) {
            check_accepted(&bytes, &head, consumed);
        }
        let small = Limits { head_bytes_max: 64, target_bytes_max: 16 };
        let _ = parse_in_drips(&bytes, &small);
        let _ = parse_response_in_drips(&bytes);
        let _ = parse_response_in_drips(&[b"HTTP/1.1 200 OK\r\n", &bytes[..]].concat());
    }

    #[test]
    fn arbitrary_bodies_do_not_depend_on_their_pieces(bytes in prop_oneof![
        http_like(), prop::collection::vec(any::<u8>(), 0..100)
    ], bytes_max in 0..50u64) {
        let _ = decode_in_every_piece(Framing::Chunked, bytes_max, &bytes);
        let _ = decode_in_every_piece(Framing::Length(20), bytes_max, &bytes);
    }

    #[test]
    fn valid_heads_come_back_as_they_were(
        method in "[A-Z]{1,32}", path in "/[!-\"$->@-~]{0,40}", query in "[!-\"$-~]{0,40}",
        host in "[a-z0-9.-]{1,20}(:[0-9]{1,4})?", old in any::<bool>(),
        length in proptest::option::of(any::<u64>()), close in any::<bool>(),
        fields in prop::collection::vec(
            ("[A-Za-z0-9!#$%&'*+.^_`|~-]{1,20}", "([!-~]([ -~]{0,30}[!-~])?)?"), 0..20
        ),
    ) {
        let known = ["host", "content-length", "transfer-encoding", "connection", "expect"];
        let known = |name: &str| known.contains(&name.to_ascii_lowercase().as_str());
        let fields: Vec<_> = fields.into_iter().filter(|(name, _)| !known(name)).collect();
        prop_assume!(method != "CONNECT" && method != "TRACE");
        let version = if old { "1.0" } else { "1.1" };
        let mut text = format!("{method} {path}?{query} HTTP/{version}\r\nHost: {host}\r\n");
        for (name, value) in &fields {
            text += &format!("{name}: {value}\r\n");
        }
        if let Some(length) = length {
            text += &format!("Content-Length: {length}\r\n");
        }
        if close {
            text += "Connection: close\r\n";
        }
        text += "\r\n";
        let parsed = parse_in_drips(text.as_bytes(), &Limits::default());
        let (head, consumed) = parsed.unwrap().unwrap();
        prop_assert_eq!(consumed, text.len());
        prop_assert_eq!(head.method.as_str(), method);
        prop_assert_eq!((head.target.path, head.target.query), (&path[..], &query[..]));
        prop_assert_eq!(head.host, Some(&host[..]));
        prop_assert_eq!(head.framing, length.map_or(Framing::None, Framing::Length));
        prop_assert_eq!(head.persistent, !close && !old);
        let read: Vec<_> = head.fields().skip(1).take(fields.len())
            .map(|f| (f.name.to_owned(), String::from_utf8(f.value.to_vec()).unwrap())).collect();
        prop_assert_eq!(read, fields);
    }

    #[test]
    fn chunks_come_back_as_they_were(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..8),
        piece in 1..50usize,
    ) {
        let mut coded = Vec::new();
        for bytes in &chunks {
            chunk::put_header(bytes.len(), &mut coded);
            coded.extend_from_slice(bytes);
            coded.extend_from_slice(chunk::TRAILING);
        }
        coded.extend_from_slice(chunk::LAST);
        let len = coded.len();
        coded.extend_from_slice(b"next");
        let decoded = decode(Framing::Chunked, u64::MAX, &coded, piece);
        prop_assert_eq!(decoded, (Ok(true), chunks.concat(), len));
    }
}

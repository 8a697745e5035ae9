//! Frames and commands through the public interface: exact bytes, every split, any input.

use std::borrow::Cow;

use ahm::base::id::{Cid, Epoch, Mid, Offset};
use ahm::base::name::TopicName;
use ahm::base::reason::{ChannelEnd, DocumentEnd, ErrorCode, SendOutcome};
use ahm::base::time::Span;
use ahm::html::escape::{attribute, escape, is_text, put_attribute, unescape};
use ahm::html::frame::{self, Identity};
use ahm::html::scan::{Frame, FrameError, Scanner, parse_line};
use ahm::wire::command::{
    Command, DocumentRequest, Mode, OpenRequest, Position, Positions, Request, encode_query, parse,
    split_batch,
};
use proptest::prelude::*;

const KEY: &str = "AAECAwQFBgcICQoLDA0ODw";

fn topic(resource: &str, subject: &str) -> TopicName {
    TopicName::new(resource, subject).expect("a legal name")
}

const SECOND: Span = Span::from_secs(1);

fn identity(key: Option<&str>) -> Identity<'_> {
    Identity {
        scs: "ldn1",
        mid: Mid::parse("4398046511105").expect("a legal mid"),
        d: 1,
        key,
        heartbeat: Span::from_secs(15),
        refresh: Span::from_secs(240),
        flush: Span::ZERO,
        client_heartbeat: false,
    }
}

fn message(n: u64, snapshot: bool, payload: &[u8]) -> Frame<'static> {
    let payload = Cow::Owned(payload.to_vec());
    Frame::Message { c: Cid(1_048_633), n: Offset(n), snapshot, payload }
}

/// Every frame: how it stands on the line, and what it means.
fn frames() -> Vec<(&'static str, Frame<'static>)> {
    let mut frames = opening_frames();
    frames.extend(message_frames());
    frames.extend(other_frames());
    frames
}

fn opening_frames() -> Vec<(&'static str, Frame<'static>)> {
    let c = Cid(1_048_633);
    let ep = Epoch::parse("9f3a71").expect("a legal epoch");
    vec![
        (
            "<p i scs=ldn1 mid=4398046511105 d=1 k=AAECAwQFBgcICQoLDA0ODw h=15000 r=240000 v=1>",
            Frame::Identity { identity: identity(Some(KEY)), version: 1 },
        ),
        (
            "<p i scs=ldn1 mid=4398046511105 d=1 h=15000 r=240000 v=1>",
            Frame::Identity { identity: identity(None), version: 1 },
        ),
        (
            "<p i scs=ldn1 mid=4398046511105 d=1 h=15000 r=240000 v=1 f=1000 hc>",
            Frame::Identity {
                identity: Identity { flush: SECOND, client_heartbeat: true, ..identity(None) },
                version: 1,
            },
        ),
        (
            "<p o c=1048633 u=quotes/EURUSD ep=9f3a71 n=1041 head=1041>",
            Frame::Opened {
                c,
                life: None,
                name: topic("quotes", "EURUSD"),
                ep,
                n: Offset(1041),
                head: Offset(1041),
            },
        ),
        (
            "<p o c=1048633 l=4294967295 u=a%24b/100%25%20%C3%A9/x ep=0 n=0 head=9007199254740991>",
            Frame::Opened {
                c,
                life: Some(u32::MAX),
                name: topic("a$b", "100% \u{e9}/x"),
                ep: Epoch(0),
                n: Offset(0),
                head: Offset(Offset::END - 1),
            },
        ),
        (
            "<p o c=1048633 u=quotes/ ep=9f3a71 n=0 head=0>",
            Frame::Opened {
                c,
                life: None,
                name: topic("quotes", ""),
                ep,
                n: Offset(0),
                head: Offset(0),
            },
        ),
    ]
}

fn message_frames() -> Vec<(&'static str, Frame<'static>)> {
    vec![
        ("<p c=1048633 n=1042>1.09214 1.09217", message(1042, false, b"1.09214 1.09217")),
        ("<p c=1048633 n=1043>", message(1043, false, b"")),
        ("<p c=1048633 n=1044 s>a\t&amp;&lt;&gt;&#10;&#13;", message(1044, true, b"a\t&<>\n\r")),
        ("<p c=1048633 n=1045 b>AP8=", message(1045, false, b"\0\xff")),
        ("<p c=1048633 n=1046 b s>f39/", message(1046, true, b"\x7f\x7f\x7f")),
        ("<p c=1048633 n=1047>&amp;amp; \u{e9}", message(1047, false, "&amp; \u{e9}".as_bytes())),
    ]
}

fn other_frames() -> Vec<(&'static str, Frame<'static>)> {
    let c = Cid(1_048_633);
    let ep = Epoch::parse("9f3a71").expect("a legal epoch");
    let closed = |e| Frame::Closed { c, life: None, e };
    let outcome = |e| Frame::Outcome { c: Cid(7), n: 12, e };
    let wait = |millis| Some(Span::from_millis(millis));
    vec![
        ("<p x c=1048633 e=closed>", closed(ChannelEnd::Closed)),
        ("<p x c=1048633 e=gone>", closed(ChannelEnd::Gone)),
        ("<p x c=1048633 l=0 e=closed>", Frame::Closed { c, life: Some(0), e: ChannelEnd::Closed }),
        ("<p x c=1048633 e=denied>", closed(ChannelEnd::Denied)),
        ("<p x c=1048633 e=overrun>", closed(ChannelEnd::Overrun)),
        ("<p x c=1048633 e=expired>", closed(ChannelEnd::Expired)),
        (
            "<p g c=1048633 ep=9f3a71 n=1100 m=58>",
            Frame::Gap { c, ep, n: Offset(1100), missing: Some(58) },
        ),
        ("<p g c=1048633 ep=9f3a71 n=1100>", Frame::Gap { c, ep, n: Offset(1100), missing: None }),
        ("<p a c=7 n=12 e=taken>", outcome(SendOutcome::Taken)),
        ("<p a c=7 n=12 e=skipped>", outcome(SendOutcome::Skipped)),
        ("<p a c=7 n=12 e=unknown>", outcome(SendOutcome::Unknown)),
        (
            "<p h=15000 t=1764000000123456>",
            Frame::Heartbeat { interval: Span::from_secs(15), unix_micros: 1_764_000_000_123_456 },
        ),
        ("<p m e=drain w=5000>", Frame::Move { e: "drain".into(), within: wait(5000) }),
        ("<p m e=route>", Frame::Move { e: "route".into(), within: None }),
        ("<p z e=refreshed>", Frame::End { e: DocumentEnd::Refreshed, spread: None }),
        ("<p z e=stale>", Frame::End { e: DocumentEnd::Stale, spread: None }),
        ("<p z e=logout>", Frame::End { e: DocumentEnd::Logout, spread: None }),
        ("<p z e=shutdown w=3000>", Frame::End { e: DocumentEnd::Shutdown, spread: wait(3000) }),
        ("<p y>[{\"port\":1}]", Frame::Routes { json: "[{\"port\":1}]".into() }),
    ]
}

/// What a writer makes of a frame.
fn encode(frame: &Frame<'_>, out: &mut Vec<u8>) {
    match frame {
        Frame::Message { c, n, snapshot, payload } => {
            frame::message(out, *c, *n, *snapshot, payload);
        }
        Frame::Identity { identity, .. } => frame::identity(out, identity),
        Frame::Opened { c, life, name, ep, n, head } => {
            frame::opened(out, (*c, *life), name, (*ep, *n), *head);
        }
        Frame::Closed { c, life, e } => frame::closed(out, *c, *life, *e),
        Frame::Refused { c, name, e } => frame::refused(out, *c, name, *e),
        Frame::Gap { c, ep, n, missing } => frame::gap(out, *c, *ep, *n, *missing),
        Frame::Outcome { c, n, e } => frame::outcome(out, *c, *n, *e),
        Frame::Heartbeat { interval, unix_micros } => {
            frame::heartbeat(out, *interval, *unix_micros);
        }
        Frame::Move { e, within } => frame::moved(out, e, *within),
        Frame::End { e, spread } => frame::end(out, *e, *spread),
        Frame::Routes { json } => frame::routes(out, json),
        Frame::Unknown { .. } => panic!("no writer makes these"),
    }
}

/// A whole document with every frame, a piece of padding, and a frame of a later version.
fn document() -> Vec<u8> {
    let mut document = frame::PREAMBLE.to_vec();
    frame::padding(&mut document, 40);
    for (line, _) in frames() {
        document.extend_from_slice(line.as_bytes());
        document.push(b'\n');
    }
    document.extend_from_slice(b"\n<p later x=1>anything\n");
    document
}

/// What a scanner says of `pieces`, in a form that can be kept.
fn scan<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<String>, FrameError> {
    let mut scanner = Scanner::new(4096);
    let mut seen = Vec::new();
    for piece in pieces {
        scanner.push(piece, |frame| seen.push(format!("{frame:?}")))?;
    }
    assert_eq!(scanner.residue_len(), 0);
    Ok(seen)
}

fn expected() -> Vec<String> {
    let mut expected: Vec<_> = frames().iter().map(|(_, frame)| format!("{frame:?}")).collect();
    expected.push(format!("{:?}", Frame::Unknown { kind: "later" }));
    expected
}

#[test]
fn every_frame_has_exactly_these_bytes() {
    assert_eq!(frame::PREAMBLE, b"<!doctype html><meta charset=utf-8><title>mux</title><body>\n");
    for (line, frame) in frames() {
        let mut out = b"before".to_vec();
        encode(&frame, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), format!("before{line}\n"));
    }
}

#[test]
fn every_line_means_its_frame() {
    for (line, frame) in frames() {
        assert_eq!(parse_line(line.as_bytes()), Ok(Some(frame.clone())), "{line}");
        assert_eq!(parse_line(format!("{line}\n").as_bytes()), Ok(Some(frame)), "{line}");
    }
}

#[test]
fn a_document_in_any_two_pieces_is_the_same_document() {
    let document = document();
    for cut in 0..=document.len() {
        let (first, second) = document.split_at(cut);
        assert_eq!(scan([first, second]), Ok(expected()), "cut at {cut}");
    }
}

#[test]
fn a_document_in_pieces_of_any_size_is_the_same_document() {
    let document = document();
    for size in [1, 2, 3, 5, 7, 64, 1000] {
        assert_eq!(scan(document.chunks(size)), Ok(expected()), "{size} bytes a piece");
    }
}

#[test]
fn what_a_later_version_adds_is_passed_over() {
    let heartbeat = Frame::Heartbeat { interval: Span::from_millis(1), unix_micros: 2 };
    for line in ["<p h=1 t=2 new=3>", "<p h=1 flag t=2>", "<p h=1 t=2>payload", "<p h=1 z=%zz t=2>"]
    {
        assert_eq!(parse_line(line.as_bytes()), Ok(Some(heartbeat.clone())), "{line}");
    }
    let reordered = parse_line(b"<p c=1048633 s new n=7>x");
    assert_eq!(reordered, Ok(Some(message(7, true, b"x"))));
    for (line, kind) in [("<p q=17>AAAA", "q"), ("<p p=2 x>&<\u{7f}", "p"), ("<p b c=7 n=1>", "b")]
    {
        assert_eq!(parse_line(line.as_bytes()), Ok(Some(Frame::Unknown { kind })), "{line}");
    }
    for line in ["", "\n", "<!-- -->", "<!doctype html>"] {
        assert_eq!(parse_line(line.as_bytes()), Ok(None), "{line}");
    }
}

const BAD_TEXT: &str = "is not UTF-8 text without control characters";
const BAD_REFERENCE: &str = "holds a `&` that begins no known reference";
const BARE: &str = "holds a bare `<`, `>` or line end";
const BAD_BASE64: &str = "is not the base64 it is marked as";

/// Lines that are no frames, and what is wrong with each.
const MALFORMED: &[(&[u8], FrameError)] = &[
    (b"x", FrameError::NoParagraph),
    (b" <p h=1 t=1>", FrameError::NoParagraph),
    (b"<p>", FrameError::NoParagraph),
    (b"<P h=1 t=1>", FrameError::NoParagraph),
    (b"</body>", FrameError::NoParagraph),
    (b"<p ", FrameError::Unclosed),
    (b"<p h=1 t=1", FrameError::Unclosed),
    (b"<p >", FrameError::Syntax),
    (b"<p  h=1 t=1>", FrameError::Syntax),
    (b"<p h=1 t=1 >", FrameError::Syntax),
    (b"<p =1>", FrameError::Syntax),
    (b"<p h= t=1>", FrameError::Syntax),
    (b"<p h=\"1\" t=1>", FrameError::Syntax),
    (b"<p h=1\tt=1>", FrameError::Syntax),
    (b"<p h=1 t=\xff>", FrameError::Syntax),
    (b"<p h=1>", FrameError::Missing("t")),
    (b"<p h t=1>", FrameError::Missing("h")),
    (b"<p h=1 t=1 t=1>", FrameError::Twice("t")),
    (b"<p h=1 t=-1>", FrameError::Value("t")),
    (b"<p h=01 t=1>", FrameError::Value("h")),
    (b"<p h=1 t=18446744073709551616>", FrameError::Value("t")),
    (b"<p c n=1>", FrameError::Missing("c")),
    (b"<p c=1>", FrameError::Missing("n")),
    (b"<p c=0 n=1>", FrameError::Value("c")),
    (b"<p c=4294967296 n=1>", FrameError::Value("c")),
    (b"<p c=1 n=0>", FrameError::Value("n")),
    (b"<p c=1 n=9007199254740992>", FrameError::Value("n")),
    (b"<p c=1 n=1 s s>", FrameError::Twice("s")),
    (b"<p c=1 n=1>\xff", FrameError::Payload(BAD_TEXT)),
    (b"<p c=1 n=1>\x00", FrameError::Payload(BAD_TEXT)),
    (b"<p c=1 n=1>\x7f", FrameError::Payload(BAD_TEXT)),
    (b"<p c=1 n=1>&", FrameError::Payload(BAD_REFERENCE)),
    (b"<p c=1 n=1>&nbsp;", FrameError::Payload(BAD_REFERENCE)),
    (b"<p c=1 n=1>a<p c=1 n=2>b", FrameError::Payload(BARE)),
    (b"<p c=1 n=1>a\r", FrameError::Payload(BARE)),
    (b"<p c=1 n=1 b>AP8", FrameError::Payload(BAD_BASE64)),
    (b"<p c=1 n=1 b>AP9=", FrameError::Payload(BAD_BASE64)),
    (b"<p c=1 n=1 b>AP8=\r", FrameError::Payload(BAD_BASE64)),
    (b"<p i scs=a.b mid=1 d=1 h=1 r=1 v=1>", FrameError::Value("scs")),
    (b"<p i scs=a mid=0 d=1 h=1 r=1 v=1>", FrameError::Value("mid")),
    (b"<p i scs=a mid=1 d=0 h=1 r=1 v=1>", FrameError::Value("d")),
    (b"<p i scs=a mid=1 d=1 h=1 r=1>", FrameError::Missing("v")),
    (b"<p o c=1 u=quotes ep=a n=1 head=1>", FrameError::Value("u")),
    (b"<p o c=1 u=%zz/a ep=a n=1 head=1>", FrameError::Value("u")),
    (b"<p o c=1 u=q/%0A ep=a n=1 head=1>", FrameError::Value("u")),
    (b"<p o c=1 u=q/a ep=0a n=1 head=1>", FrameError::Value("ep")),
    (b"<p x c=1 e=later>", FrameError::Value("e")),
    (b"<p x c=1>", FrameError::Missing("e")),
    (b"<p a c=1 n=0 e=taken>", FrameError::Value("n")),
    (b"<p z e=later>", FrameError::Value("e")),
    (b"<p z e=stale w=x>", FrameError::Value("w")),
];

#[test]
fn a_malformed_line_says_what_is_wrong() {
    for (line, error) in MALFORMED {
        assert_eq!(parse_line(line), Err(*error), "{}", String::from_utf8_lossy(line));
        // No trick of splitting makes a fault pass.
        let whole = [line, &b"\n"[..]].concat();
        for cut in 0..whole.len() {
            let (first, second) = whole.split_at(cut);
            assert_eq!(scan([first, second]), Err(*error), "{}", String::from_utf8_lossy(line));
        }
    }
}

fn plain(command: Command<'_>) -> Request<'_> {
    Request { command, scs: None, mid: None, key: None, id: None, q: None, mac: None }
}

fn open(resource: &str, subject: &str) -> OpenRequest {
    OpenRequest::new(topic(resource, subject))
}

fn since(text: &str) -> Option<Position> {
    Some(Position::parse(text).expect("a legal position"))
}

#[test]
fn commands_of_one_session() {
    let of_session = |command| Request {
        command,
        scs: Some("ldn1".into()),
        mid: Mid::parse("4398046511105"),
        key: Some(KEY.into()),
        id: None,
        q: Some(7),
        mac: Some("x".into()),
    };
    let session = format!("scs=ldn1&mid=4398046511105&k={KEY}&q=7&mac=x");
    let table = [
        ("logout", "", Command::Logout),
        ("close", "cid=7", Command::Close { cid: Cid(7), life: None }),
        ("close", "cid=7&l=3", Command::Close { cid: Cid(7), life: Some(3) }),
        ("ping", "", Command::Ping { t: None, h: None }),
        (
            "ping",
            "t=a%2Bb+c&h=15000",
            Command::Ping { t: Some("a+b+c".into()), h: Some(Span::from_secs(15)) },
        ),
        (
            "send",
            "cid=1048633&n=1",
            Command::Send { cid: Cid(1_048_633), n: 1, id: None, data: None },
        ),
        (
            "send",
            "cid=7&n=9007199254740991&data=%00%FFa+b%26",
            Command::Send {
                cid: Cid(7),
                n: Offset::END - 1,
                id: None,
                data: Some(b"\0\xffa+b&".to_vec()),
            },
        ),
        (
            "send",
            "cid=7&n=2&data=",
            Command::Send { cid: Cid(7), n: 2, id: None, data: Some(Vec::new()) },
        ),
        ("batch", "", Command::Batch),
    ];
    for (name, query, command) in table {
        let first = format!("{session}&{query}");
        let last = format!("{query}&&{session}&unknown=%zz&unknown=2");
        assert_eq!(parse(name, &first), Ok(of_session(command.clone())), "{name}?{query}");
        assert_eq!(parse(name, &last), Ok(of_session(command)), "{name}?{query}");
    }
}

#[test]
fn commands_without_a_session() {
    let name = topic("fx", "EUR/USD");
    let table = [
        ("login", "", Command::Login { resource: None, auth: None, seal: None }),
        (
            "login",
            "resource=fx&auth=x&seal=aes-256-gcm",
            Command::Login {
                resource: Some("fx".into()),
                auth: Some("x".into()),
                seal: Some("aes-256-gcm".into()),
            },
        ),
        ("renew", "auth=x-1", Command::Renew { auth: Some("x-1".into()) }),
        ("logout", "mid=0&scs=0", Command::Logout),
        ("client.js", "v=3", Command::ClientJs),
        (
            "history",
            "resource=fx&subject=EUR/USD",
            Command::History { name: name.clone(), since: None, limit: None },
        ),
        (
            "history",
            "resource=fx&subject=EUR%2FUSD&since=9f3a71%3A5&limit=10",
            Command::History { name, since: since("9f3a71:5"), limit: Some(10) },
        ),
        ("open", "resource=board", Command::Open(open("board", ""))),
        (
            "open",
            "resource=fx&subject=EUR*&cid=1048575&mode=latest&rate=5&strict=0&since=a:0",
            Command::Open(OpenRequest {
                cid: Some(Cid(1_048_575)),
                mode: Mode::Latest,
                rate: Some(5),
                since: since("a:0"),
                ..open("fx", "EUR*")
            }),
        ),
    ];
    for (name, query, command) in table {
        assert_eq!(parse(name, query), Ok(plain(command)), "{name}?{query}");
    }
    let sent = parse("send", "cid=7&n=1&id=order%207").expect("a send");
    assert_eq!(sent.id.as_deref(), Some("order 7"));
    assert!(matches!(sent.command, Command::Send { id: Some(id), .. } if id == "order 7"));
}

#[test]
fn documents() {
    let none = DocumentRequest::default;
    let table = [
        ("mux.html", "", none()),
        ("mux.html", "mid=0&scs=0", none()),
        ("refresh.html", "", DocumentRequest { refresh: true, ..none() }),
        (
            "mux.html",
            "dup=1&length=large",
            DocumentRequest { dup: true, length_large: true, ..none() },
        ),
        (
            "refresh.html",
            "dup=1&d=3",
            DocumentRequest { refresh: true, dup: true, succeeds: Some(3), ..none() },
        ),
        ("refresh.html", "d=3", DocumentRequest { refresh: true, ..none() }),
        ("mux.html", "dup=1&d=x", DocumentRequest { dup: true, ..none() }),
        (
            "mux.html",
            "h=500&flush=20&pad=65536",
            DocumentRequest {
                heartbeat: Some(Span::from_millis(500)),
                flush: Some(Span::from_millis(20)),
                pad: Some(65_536),
                ..none()
            },
        ),
        ("mux.html", "last=", DocumentRequest { last: Some(Positions::default()), ..none() }),
        (
            "mux.html",
            "last=7:a:1,8%3Ab%3A2",
            DocumentRequest {
                last: Some(Positions::parse("7:a:1,8:b:2").expect("legal positions")),
                ..none()
            },
        ),
        (
            "mux.html",
            "open=fx/EURUSD&dup=0&open=board",
            DocumentRequest { opens: vec![open("fx", "EURUSD"), open("board", "")], ..none() },
        ),
    ];
    for (name, query, document) in table {
        assert_eq!(parse(name, query), Ok(plain(Command::Document(document))), "{name}?{query}");
    }
}

#[test]
fn an_open_is_divided_before_it_is_decoded() {
    let table = [
        ("fx/EURUSD", open("fx", "EURUSD")),
        ("fx", open("fx", "")),
        ("fx/", open("fx", "")),
        ("fx//a/b", open("fx", "/a/b")),
        ("a%24b/x%2Fy%3Bz%26+", open("a$b", "x/y;z&+")),
        ("fx/a=b;;later=1;later=2", open("fx", "a=b")),
        (
            "fx/E;since=9f3a71:5;mode=latest;rate=5;strict=1;cid=7",
            OpenRequest {
                cid: Some(Cid(7)),
                mode: Mode::Latest,
                rate: Some(5),
                strict: true,
                since: since("9f3a71:5"),
                ..open("fx", "E")
            },
        ),
        ("fx/E;mode=queue;strict=0", open("fx", "E")),
    ];
    for (raw, request) in table {
        assert_eq!(OpenRequest::parse(raw), Ok(request.clone()), "{raw}");
        assert_eq!(OpenRequest::parse(&request.to_string()), Ok(request), "{raw}");
    }
    let full = "fx/E;since=9f3a71:5;mode=latest;rate=5;strict=1;cid=7";
    assert_eq!(OpenRequest::parse(full).map(|open| open.to_string()).as_deref(), Ok(full));
}

/// Commands that are refused as `bad-request`, and how the detail begins.
const FAULTY: &[(&str, &str, &str)] = &[
    ("ping", "mid=1&mid=1", "`mid` is given twice"),
    ("ping", "t=1&t=2", "`t` is given twice"),
    ("ping", "t=a%20b", "`t` must be"),
    ("ping", "t=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "`t` must be"),
    ("ping", "h=1.5", "`h` must be"),
    ("ping", "k=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "`k` must be"),
    ("ping", "k=", "`k` must be"),
    (
        "ping",
        "id=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "`id` must be",
    ),
    ("ping", "id=%0A", "`id` must be"),
    ("ping", "id=%", "in `id` a `%`"),
    ("ping", "mid=9007199254740992", "`mid` must be"),
    ("ping", "mid", "`mid` must be"),
    ("ping", "scs=a.b", "`scs` must be"),
    ("login", "resource=a/b", "a resource name is"),
    ("close", "", "`cid` is missing"),
    ("close", "cid=0", "`cid` must be"),
    ("close", "cid=%31%3", "in `cid` a `%`"),
    ("send", "cid=7", "`n` is missing"),
    ("send", "cid=7&n=0", "`n` must be"),
    ("send", "cid=7&n=9007199254740992", "`n` must be"),
    ("send", "cid=7&n=1&data=%f", "in `data` a `%`"),
    ("send", "cid=7&n=1&data=1&data=2", "`data` is given twice"),
    ("open", "subject=x", "`resource` is missing"),
    ("open", "resource=a&subject=%00", "a subject is"),
    ("open", "resource=a&subject=%ff", "`subject` is not UTF-8"),
    ("open", "resource=a&resource=a", "`resource` is given twice"),
    ("open", "resource=a&rate=0", "`rate` must be"),
    ("open", "resource=a&mode=newest", "`mode` must be"),
    ("open", "resource=a&since=5", "`since` must be"),
    ("open", "resource=a&since=05:1", "`since` must be"),
    ("open", "resource=a&cid=1048576", "`cid` must be"),
    ("open", "resource=a&strict=yes", "`strict` must be"),
    ("mux.html", "open=", "a resource name is"),
    ("mux.html", "open=a%2Fb", "a resource name is"),
    ("mux.html", "open=a/b;cid=1;cid=1", "`cid` is given twice"),
    ("mux.html", "open=a/%", "in `open` a `%`"),
    ("mux.html", "last=7:a", "`last` must be"),
    ("mux.html", "last=7:a:1,7:a:2", "`last` names a channel twice"),
    ("mux.html", "length=huge", "`length` must be"),
    ("mux.html", "pad=65537", "`pad` must be"),
    ("refresh.html", "dup=1&d=0", "`d` must be"),
    ("refresh.html", "dup=2", "`dup` must be"),
    ("history", "subject=x", "`resource` is missing"),
    ("history", "resource=a&limit=x", "`limit` must be"),
];

#[test]
fn a_faulty_command_says_what_is_wrong() {
    for (name, query, detail) in FAULTY {
        let error = parse(name, query).expect_err(query);
        assert_eq!(error.code, ErrorCode::BadRequest, "{name}?{query}");
        assert!(error.detail.starts_with(detail), "{name}?{query}: {}", error.detail);
    }
    for name in ["", "Ping", "ping/", "mux", "poll.html", "events", "ws", "report", "../ping"] {
        let error = parse(name, "").expect_err(name);
        assert_eq!(error.code, ErrorCode::NoCommand, "{name}");
    }
}

#[test]
fn a_key_is_not_shown() {
    let query = format!("k={KEY}");
    let request = parse("ping", &query).expect("a ping");
    assert!(!format!("{request:?}").contains(KEY));
    let line = format!("<p i scs=a mid=1 d=1 k={KEY} h=1 r=1 v=1>");
    assert!(!format!("{:?}", parse_line(line.as_bytes())).contains(KEY));
}

#[test]
fn a_batch_is_lines() {
    let body = "ping?t=1\n\r\n\nsend?cid=7&n=1&data=a?b\r\nlogout\n?x";
    let lines: Vec<_> = split_batch(body).collect();
    let expected = [("ping", "t=1"), ("send", "cid=7&n=1&data=a?b"), ("logout", ""), ("", "x")];
    assert_eq!(lines, expected);
    assert!(parse("ping", "").expect("a ping").command.is_short());
    for name in ["mux.html", "refresh.html", "batch", "client.js"] {
        assert!(!parse(name, "").expect(name).command.is_short(), "{name}");
    }
}

/// Text in which what must be escaped is common.
fn spicy() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[&<>\n\r\ta;#0-9ampltg \u{e9}]{0,60}"]
}

/// Bytes that are nearly a document or a query.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let lines =
        "(<p [cnhioxgamzybs]( [cnhtebsmkdrvu]{1,2}(=[0-9a-z%/]{0,3})?){0,4}>?.{0,5}\n){0,4}";
    let lines = prop::string::string_regex(lines).expect("a legal pattern");
    prop_oneof![any::<Vec<u8>>(), lines.prop_map(String::into_bytes)]
}

proptest! {
    #[test]
    fn escaped_text_comes_back(text in spicy()) {
        let (mut line, mut back) = (Vec::new(), Vec::new());
        escape(text.as_bytes(), &mut line);
        prop_assert!(!line.iter().any(|byte| b"<>\n\r".contains(byte)));
        prop_assert_eq!(unescape(&line, &mut back), Ok(()));
        prop_assert_eq!(back, text.as_bytes());
    }

    #[test]
    fn attributes_come_back(text in spicy()) {
        let mut line = Vec::new();
        put_attribute(&text, &mut line);
        let line = String::from_utf8(line).expect("ASCII");
        prop_assert!(line.bytes().all(|byte| byte.is_ascii_graphic()));
        prop_assert!(!line.bytes().any(|byte| b"<>=\"'&".contains(&byte)));
        prop_assert_eq!(attribute(&line), Some(Cow::Owned(text)));
    }

    #[test]
    fn any_payload_survives(
        payload in prop_oneof![any::<Vec<u8>>(), spicy().prop_map(String::into_bytes)],
        c in 1u32.., n in 1..Offset::END, snapshot: bool, cut: prop::sample::Index,
    ) {
        let mut line = Vec::new();
        frame::message(&mut line, Cid(c), Offset(n), snapshot, &payload);
        prop_assert_eq!(memchr::memchr(b'\n', &line), Some(line.len() - 1));
        if !is_text(&payload) {
            prop_assert!(line.is_ascii());
        }
        let (c, n, payload) = (Cid(c), Offset(n), Cow::Owned(payload));
        let expected = Frame::Message { c, n, snapshot, payload };
        prop_assert_eq!(parse_line(&line), Ok(Some(expected.clone())));
        let (first, second) = line.split_at(cut.index(line.len()));
        let mut scanner = Scanner::new(line.len());
        let mut seen = 0;
        for piece in [first, second] {
            let each = |frame: Frame<'_>| seen += usize::from(frame == expected);
            prop_assert_eq!(scanner.push(piece, each), Ok(()));
        }
        prop_assert_eq!(seen, 1);
    }

    #[test]
    fn a_clean_payload_is_not_copied(payload in "[a-z \t]{0,80}") {
        let mut line = Vec::new();
        frame::message(&mut line, Cid(1), Offset(1), false, payload.as_bytes());
        let Ok(Some(Frame::Message { payload: Cow::Borrowed(_), .. })) = parse_line(&line) else {
            return Err(TestCaseError::fail("copied"));
        };
    }

    #[test]
    fn a_scanner_never_panics_and_splits_change_nothing(bytes in nearly(), size in 1usize..9) {
        let run = |pieces: Vec<&[u8]>| {
            let mut scanner = Scanner::new(48);
            let mut seen = Vec::new();
            let mut result = Ok(());
            for piece in pieces {
                result = scanner.push(piece, |frame| seen.push(format!("{frame:?}")));
            }
            (seen, result, scanner.residue_len())
        };
        prop_assert_eq!(run(vec![&bytes[..]]), run(bytes.chunks(size).collect()));
    }

    #[test]
    fn the_command_parser_never_panics(
        name in prop_oneof![
            any::<String>(),
            prop::sample::select(vec!["login", "mux.html", "open", "send", "history", "ping"])
                .prop_map(str::to_owned),
        ],
        query in prop_oneof![
            any::<String>(),
            "((open|last|cid|n|data|since|t|mid|k|resource)=[a-z0-9%;:/,=+\u{e9}]{0,9}&?){0,4}",
        ],
    ) {
        let _ = parse(&name, &query);
        let _ = OpenRequest::parse(&query);
        let _ = Positions::parse_body(query.as_bytes());
        for (name, query) in split_batch(&query) {
            let _ = parse(name, query);
        }
    }

    #[test]
    fn opens_come_back_through_a_query(
        resource in "[A-Za-z0-9_.$-]{1,64}",
        subject in "[^\\p{Cc}]{0,60}",
        cid in prop::option::of(1u32..1 << 20),
        latest: bool, strict: bool,
        rate in prop::option::of(1u32..),
        at in prop::option::of((any::<u64>(), 0..Offset::END)),
        told in prop::collection::btree_map("[a-z0-9_-]{1,32}", "\\PC{0,20}", 0..4),
    ) {
        let request = OpenRequest {
            name: topic(&resource, &subject),
            cid: cid.map(Cid),
            mode: if latest { Mode::Latest } else { Mode::Queue },
            rate,
            strict,
            since: at.map(|(ep, n)| Position { ep: Epoch(ep), n: Offset(n) }),
            parameters: told.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        };
        let query = encode_query(&[("mid", "0"), ("open", &request.to_string())]);
        prop_assert!(query.bytes().all(|byte| byte.is_ascii_graphic()));
        let expected = DocumentRequest { opens: vec![request], ..DocumentRequest::default() };
        prop_assert_eq!(parse("mux.html", &query), Ok(plain(Command::Document(expected))));
    }

    #[test]
    fn values_come_back_through_a_query(
        data in spicy(),
        last in prop::collection::btree_map(1u32.., (any::<u64>(), 0..Offset::END), 0..5),
    ) {
        let query = encode_query(&[("cid", "7"), ("data", &data), ("n", "1")]);
        let send = Command::Send { cid: Cid(7), n: 1, id: None, data: Some(data.into_bytes()) };
        prop_assert_eq!(parse("send", &query), Ok(plain(send)));
        let position = |(ep, n)| Position { ep: Epoch(ep), n: Offset(n) };
        let last = last.into_iter().map(|(cid, at)| (Cid(cid), position(at))).collect();
        let last = Positions(last);
        prop_assert_eq!(Positions::parse(&last.to_string()), Ok(last));
    }
}

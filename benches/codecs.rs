//! What codecs cost, by themselves: `cargo bench --bench codecs`.
#![allow(missing_docs, reason = "criterion's macros make public functions without any")]

use std::hint::black_box;

use ahm::base::id::{Cid, Offset};
use ahm::html::escape::{escape, is_text, unescape};
use ahm::html::frame;
use ahm::html::scan::{Scanner, parse_line};
use ahm::http::request::{Limits, parse_head};
use ahm::wire::command;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// A payload without anything to escape, one that is full of it, and a long clean one.
fn payloads() -> [(&'static str, String); 3] {
    [
        ("clean", "1.09214 1.09217 ".repeat(6)),
        ("markup", "<b>&</b> 1.09217\n".repeat(6)),
        ("clean, 4 KiB", "1.09214 1.09217 ".repeat(256)),
    ]
}

fn escapes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("escape");
    for (name, payload) in payloads() {
        let payload = payload.as_bytes();
        group.throughput(Throughput::Bytes(payload.len() as u64));
        let mut escaped = Vec::new();
        group.bench_function(format!("is text, {name}"), |bencher| {
            bencher.iter(|| is_text(black_box(payload)));
        });
        group.bench_function(format!("escape, {name}"), |bencher| {
            bencher.iter(|| {
                escaped.clear();
                escape(black_box(payload), &mut escaped);
            });
        });
        let mut out = Vec::new();
        group.bench_function(format!("unescape, {name}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                unescape(black_box(&escaped), &mut out).is_ok()
            });
        });
    }
    group.finish();
}

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("frame");
    for (name, payload) in payloads() {
        group.throughput(Throughput::Bytes(payload.len() as u64));
        let mut out = Vec::new();
        group.bench_function(format!("message, {name}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                let payload = black_box(&payload).as_bytes();
                frame::message(&mut out, Cid(1 << 20), Offset(123_456), false, payload);
            });
        });
        group.bench_function(format!("parse, {name}"), |bencher| {
            bencher.iter(|| parse_line(black_box(&out)).is_ok());
        });
    }
    group.finish();
}

/// A document of a thousand messages, as a client takes it in pieces.
fn scans(criterion: &mut Criterion) {
    const MESSAGES: u64 = 1_000;
    let [(_, payload), ..] = payloads();
    let mut document = Vec::new();
    for n in 1..=MESSAGES {
        frame::message(&mut document, Cid(1 << 20), Offset(n), false, payload.as_bytes());
    }
    let mut group = criterion.benchmark_group("scan");
    group.throughput(Throughput::Elements(MESSAGES));
    for piece in [1_400, 64 * 1024] {
        group.bench_function(format!("1,000 messages in pieces of {piece} bytes"), |bencher| {
            bencher.iter(|| {
                let mut scanner = Scanner::new(64 * 1024);
                let mut frames = 0;
                for piece in black_box(&document).chunks(piece) {
                    let pushed = scanner.push(piece, |_| frames += 1);
                    pushed.expect("the document is one of the house");
                }
                assert_eq!(frames, MESSAGES);
            });
        });
    }
    group.finish();
}

fn requests(criterion: &mut Criterion) {
    const FIELDS: &str = "Host: example.org\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n\
        Accept: */*\r\nAHM-Key: abcdefghijklmnopqrstuv\r\nAccept-Encoding: gzip, br\r\n";
    let send = "GET /ahm/send?mid=4398046511105&cid=1048633&n=17&data=1.09214%201.09217";
    let opens: String = (0..10).map(|at| format!("&open=fx/instrument{at};mode=latest")).collect();
    let mut group = criterion.benchmark_group("request");
    for (name, command, text) in [
        ("a send", "send", format!("{send} HTTP/1.1\r\n{FIELDS}\r\n")),
        (
            "ten opens",
            "mux.html",
            format!("GET /ahm/mux.html?mid=0&scs=0{opens} HTTP/1.1\r\n{FIELDS}\r\n"),
        ),
    ] {
        let bytes = text.as_bytes();
        group.bench_function(format!("head, {name}"), |bencher| {
            bencher.iter(|| parse_head(black_box(bytes), &Limits::default()).is_ok());
        });
        group.bench_function(format!("head and command, {name}"), |bencher| {
            bencher.iter(|| {
                let (head, _) = parse_head(black_box(bytes), &Limits::default())
                    .expect("the bench is set up right")
                    .expect("the bench is set up right");
                let parsed = command::parse(command, head.target.query);
                assert!(parsed.is_ok());
            });
        });
    }
    group.finish();
}

criterion_group!(benches, escapes, frames, scans, requests);
criterion_main!(benches);

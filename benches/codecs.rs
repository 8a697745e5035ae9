//! What codecs and deliveries cost, by themselves: `cargo bench`.
#![allow(missing_docs, reason = "criterion's macros make public functions without any")]

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;

use ahm::base::id::{Cid, ConnKey, Offset, ShardId};
use ahm::base::time::{Instant, Span};
use ahm::html::frame;
use ahm::html::scan::parse_line;
use ahm::http::request::{Limits, parse_head};
use ahm::mem::wheel::Wheel;
use ahm::proto::connection::Door;
use ahm::proto::directory::Directory;
use ahm::proto::hub::{Hub, Setup};
use ahm::proto::output::{Output, Written};
use ahm::proto::settings::Settings;
use ahm::wire::command;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

fn frames(criterion: &mut Criterion) {
    let clean = "1.09214 1.09217 ".repeat(6);
    let markup = "<b>&</b> 1.09217\n".repeat(6);
    let mut group = criterion.benchmark_group("frame");
    for (name, payload) in [("clean", &clean), ("markup", &markup)] {
        group.throughput(Throughput::Bytes(payload.len() as u64));
        let mut out = Vec::new();
        group.bench_function(format!("message, {name}"), |bencher| {
            bencher.iter(|| {
                out.clear();
                let payload = black_box(payload).as_bytes();
                frame::message(&mut out, Cid(1 << 20), Offset(123_456), false, payload);
            });
        });
        group.bench_function(format!("parse, {name}"), |bencher| {
            bencher.iter(|| parse_line(black_box(&out)).is_ok());
        });
    }
    group.finish();
}

fn requests(criterion: &mut Criterion) {
    let request =
        b"GET /ahm/send?mid=4398046511105&cid=1048633&n=17&data=1.09214%201.09217 HTTP/1.1\r\n\
        Host: example.org\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: */*\r\n\
        AHM-Key: abcdefghijklmnopqrstuv\r\nAccept-Encoding: gzip, br\r\n\r\n";
    criterion.bench_function("request, head and command", |bencher| {
        bencher.iter(|| {
            let (head, _) = parse_head(black_box(request), &Limits::default())
                .expect("the bench is set up right")
                .expect("the bench is set up right");
            command::parse("send", head.target.query).is_ok()
        });
    });
}

fn timers(criterion: &mut Criterion) {
    criterion.bench_function("timer, set and fired", |bencher| {
        let mut wheel = Wheel::new(Instant::ZERO, Span::from_millis(1));
        let mut now = Instant::ZERO;
        bencher.iter(|| {
            wheel.insert(now + Span::from_secs(15), 7u32);
            now += Span::from_millis(1);
            wheel.pop(now)
        });
    });
}

struct World {
    hub: Hub,
    now: Instant,
    publisher: ConnKey,
}

fn world(readers: usize) -> World {
    let now = Instant::from_nanos(1);
    let mut hub = Hub::new(Setup {
        settings: Arc::new(Settings::default()),
        directory: Arc::new(Directory::default()),
        shard: ShardId(0),
        shards: 1,
        seed: [1; 32],
        unix_micros_at_zero: 0,
        now,
    });
    let peer: SocketAddr = "127.0.0.1:9".parse().expect("the bench is set up right");
    let publisher =
        hub.handle_accepted(peer, Door::Private, now).expect("the bench is set up right");
    let mut world = World { hub, now, publisher };
    world.publish();
    for _ in 0..readers {
        let conn =
            world.hub.handle_accepted(peer, Door::Public, now).expect("the bench is set up right");
        let request = b"GET /ahm/mux.html?open=fx/A HTTP/1.1\r\nHost: a\r\n\r\n";
        world.hub.handle_received(conn, request, now);
        world.drain();
    }
    world
}

impl World {
    fn publish(&mut self) {
        const REQUEST: &[u8] = b"POST /publish/fx/A HTTP/1.1\r\nHost: localhost\r\n\
            Content-Length: 15\r\n\r\n1.09214 1.09217";
        self.now += Span::from_micros(10);
        self.hub.handle_received(self.publisher, REQUEST, self.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.hub.poll_output() {
            let Output::Send(conn) = output else { continue };
            self.hub.transmit(conn, self.now, |slices| {
                let bytes = slices.iter().map(|slice| slice.len()).sum();
                Written { bytes, blocked: false }
            });
        }
    }
}

fn deliveries(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("deliver, without the system call");
    for readers in [100, 1_000, 10_000] {
        group.throughput(Throughput::Elements(readers as u64));
        let mut world = world(readers);
        group.bench_function(format!("{readers} readers"), |bencher| {
            bencher.iter_batched(|| (), |()| world.publish(), BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, frames, requests, timers, deliveries);
criterion_main!(benches);

//! What the hub costs, without system calls: `cargo bench --bench hub`.
#![allow(missing_docs, reason = "criterion's macros make public functions without any")]

#[path = "../perf/hub/world.rs"]
mod world;

use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use world::{World, get, post, post_many};

const PAYLOAD: &str = "1.09214 1.09217";

/// A hub in which so many read one topic.
fn world(readers: usize) -> World {
    let mut world = World::new(readers);
    world.publish(&post("fx/A", PAYLOAD));
    (0..readers).for_each(|_| world.open("/ahm/mux.html?open=fx/A"));
    world
}

/// One write for each of 100 documents that has so many messages to take, without what it took to
/// publish them.
fn pulls(criterion: &mut Criterion) {
    const READERS: u32 = 100;
    let mut group = criterion.benchmark_group("pull");
    for messages in [1, 10, 1_000] {
        group.throughput(Throughput::Elements(messages as u64));
        let mut world = world(READERS as usize);
        let request = post_many("fx/A", PAYLOAD, messages);
        group.bench_function(format!("messages: {messages}"), |bencher| {
            bencher.iter_custom(|count| {
                let mut total = Duration::ZERO;
                for _ in 0..count {
                    world.publish_unwritten(&request);
                    let before = world.writes;
                    let began = Instant::now();
                    world.write_named();
                    total += began.elapsed();
                    // More than one chunk holds is written in another turn.
                    world.settle();
                    assert!(world.writes - before >= u64::from(READERS));
                }
                total / READERS
            });
        });
    }
    group.finish();
}

fn deliveries(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("deliver");
    let request = post("fx/A", PAYLOAD);
    for readers in [100, 1_000, 10_000] {
        group.throughput(Throughput::Elements(readers as u64));
        let mut world = world(readers);
        group.bench_function(format!("{readers} readers"), |bencher| {
            bencher.iter_batched(|| (), |()| world.publish(&request), BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn commands(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("command");
    let mut world = world(10);
    let conn = world.accept();
    let request = get("/ahm/ping?t=1");
    group.bench_function("ping", |bencher| {
        bencher.iter(|| world.request(conn, &request));
    });
    // Each publish is refused or taken by itself; nobody reads it.
    let request = post("fx/B", PAYLOAD);
    group.bench_function("publish, nobody reads", |bencher| {
        bencher.iter(|| world.publish(&request));
    });
    group.finish();
}

criterion_group!(benches, pulls, deliveries, commands);
criterion_main!(benches);

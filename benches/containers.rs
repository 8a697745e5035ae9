//! What containers and mailboxes cost, by themselves: `cargo bench --bench containers`.
#![allow(missing_docs, reason = "criterion's macros make public functions without any")]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ahm::base::time::{Instant, Span};
use ahm::mem::slab::Slots;
use ahm::mem::wheel::Wheel;
use ahm::mem::window::{Offer, Window};
use ahm::shard::mailbox::{Wake, mailbox};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn wheels(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wheel");
    // As many as fire are set, so that their number stays.
    for waiting in [1_000, 100_000, 1_000_000] {
        let mut wheel = Wheel::new(Instant::ZERO, Span::from_millis(1));
        let mut now = Instant::ZERO;
        let step = Span::from_nanos(Span::from_secs(15).as_nanos() / waiting);
        for at in 1..=waiting {
            wheel.insert(now + step.times(at), at);
        }
        group.bench_function(format!("set and fired, {waiting} wait"), |bencher| {
            bencher.iter(|| {
                now += step;
                while let Some(timer) = wheel.pop(now) {
                    wheel.insert(now + Span::from_secs(15), black_box(timer));
                }
            });
        });
        assert_eq!(wheel.len() as u64, waiting);
        group.bench_function(format!("when is the next, {waiting} wait"), |bencher| {
            bencher.iter(|| black_box(&wheel).next());
        });
    }
    group.finish();
}

fn windows(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("window");
    let now = Instant::ZERO;
    group.bench_function("in order", |bencher| {
        let mut window = Window::new();
        bencher.iter(|| window.offer(window.expected(), black_box(7u32), now));
    });
    group.bench_function("two that changed places", |bencher| {
        let mut window = Window::new();
        bencher.iter(|| {
            let next = window.expected();
            assert_eq!(window.offer(next + 1, black_box(7u32), now).0, Offer::Held);
            assert_eq!(window.offer(next, black_box(7u32), now).0, Offer::Taken);
            window.next_ready()
        });
    });
    group.bench_function("64 backwards", |bencher| {
        let mut window = Window::new();
        bencher.iter(|| {
            let next = window.expected();
            for n in (next..next + 64).rev() {
                window.offer(n, black_box(7u32), now);
            }
            while window.next_ready().is_some() {}
            assert_eq!(window.expected(), next + 64);
        });
    });
    group.bench_function("repeated", |bencher| {
        let mut window = Window::new();
        for n in 1..=100 {
            window.offer(n, 7u32, now);
        }
        bencher.iter(|| window.offer(black_box(50), 7, now));
    });
    group.finish();
}

/// Counts instead of waking anybody: the system call is not what is measured here.
#[derive(Default)]
struct Count(AtomicU64);

impl Wake for Count {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn mailboxes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mailbox");
    let waker = Arc::new(Count::default());
    let (sender, mut receiver) = mailbox::<[u64; 8]>(1_024, waker.clone());
    group.bench_function("to one that is awake", |bencher| {
        bencher.iter(|| {
            sender.push(black_box([7; 8])).expect("there is room");
            receiver.pop()
        });
    });
    assert_eq!(waker.0.load(Ordering::Relaxed), 0);
    group.bench_function("to one that sleeps", |bencher| {
        bencher.iter(|| {
            assert!(receiver.prepare_sleep());
            sender.push(black_box([7; 8])).expect("there is room");
            receiver.awake();
            receiver.pop()
        });
    });
    assert!(waker.0.load(Ordering::Relaxed) > 0);
    group.throughput(Throughput::Elements(256));
    group.bench_function("256 at once", |bencher| {
        bencher.iter(|| {
            for _ in 0..256 {
                sender.push(black_box([7; 8])).expect("there is room");
            }
            while receiver.pop().is_some() {}
        });
    });
    group.finish();
}

fn slabs(criterion: &mut Criterion) {
    let mut slots = Slots::new(7);
    let keys: Vec<_> = (0..100_000u64).map(|at| slots.insert(at)).collect();
    let mut at = 0;
    criterion.bench_function("slab, found by its key among 100,000", |bencher| {
        bencher.iter(|| {
            at = (at + 7_919) % keys.len();
            slots.get(black_box(keys[at]))
        });
    });
}

criterion_group!(benches, wheels, windows, mailboxes, slabs);
criterion_main!(benches);

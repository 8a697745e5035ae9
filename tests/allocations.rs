//! Steady state: what a message costs in allocations does not depend on how many read it.

#![expect(clippy::unwrap_used, reason = "what fails here has failed the test")]

use std::alloc::System;
use std::net::SocketAddr;
use std::sync::Arc;

use ahm::base::id::{ConnKey, ShardId};
use ahm::base::time::{Instant, Span};
use ahm::proto::connection::Door;
use ahm::proto::directory::Directory;
use ahm::proto::hub::{Hub, Setup};
use ahm::proto::output::{Output, Written};
use ahm::proto::settings::Settings;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Messages before the count begins, and messages counted.
const WARM_UP: usize = 500;
const COUNTED: usize = 200;

struct World {
    hub: Hub,
    now: Instant,
    publisher: ConnKey,
    request: Vec<u8>,
    delivered: u64,
}

impl World {
    fn new(readers: usize, payload: usize) -> Self {
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
        let peer: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let publisher = hub.handle_accepted(peer, Door::Private, now).unwrap();
        let head = "POST /publish/fx/A HTTP/1.1\r\nHost: localhost\r\nContent-Length:";
        let request = format!("{head} {payload}\r\n\r\n{}", "x".repeat(payload)).into_bytes();
        let mut world = Self { hub, now, publisher, request, delivered: 0 };
        world.publish();
        for _ in 0..readers {
            let conn = world.hub.handle_accepted(peer, Door::Public, now).unwrap();
            let request = b"GET /ahm/mux.html?open=fx/A HTTP/1.1\r\nHost: a\r\n\r\n";
            world.hub.handle_received(conn, request, now);
            world.drain();
        }
        world
    }

    fn publish(&mut self) {
        self.now += Span::from_millis(1);
        self.hub.handle_received(self.publisher, &self.request, self.now);
        self.drain();
        self.hub.handle_timeout(self.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.hub.poll_output() {
            let Output::Send(conn) = output else { continue };
            let delivered = &mut self.delivered;
            self.hub.transmit(&[conn], self.now, |_, slices| {
                *delivered += 1;
                let bytes = slices.iter().map(|slice| slice.len()).sum();
                Written { bytes, blocked: false }
            });
        }
    }
}

/// Allocations while `COUNTED` messages are published to `readers`.
fn allocations(readers: usize, payload: usize) -> usize {
    let mut world = World::new(readers, payload);
    (0..WARM_UP).for_each(|_| world.publish());
    let before = world.delivered;
    let region = Region::new(ALLOCATOR);
    (0..COUNTED).for_each(|_| world.publish());
    let change = region.change();
    let writes = world.delivered - before;
    assert!(writes as usize >= COUNTED * readers, "everything was delivered: {writes}");
    change.allocations + change.reallocations
}

#[test]
fn a_delivery_allocates_nothing() {
    // One test in this file, so that no other thread allocates meanwhile.
    for payload in [100, 2_000] {
        let few = allocations(10, payload);
        let many = allocations(1_000, payload);
        println!("{payload} bytes: {few} allocations to 10 readers, {many} to 1,000");
        assert_eq!(few, many, "990 more readers, {COUNTED} messages of {payload} bytes");
    }
}

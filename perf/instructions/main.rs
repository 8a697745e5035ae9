//! Work whose instructions are counted, one piece a run: `instructions CASE`.
//! `scripts/instructions` runs it under callgrind, which counts only what happens inside
//! [`counted`].

#[path = "../hub/world.rs"]
mod world;

use std::hint::black_box;
use std::process::ExitCode;

use ahm::base::id::ConnKey;
use ahm::base::time::Span;
use world::{World, get, post, post_many};

const READERS: usize = 1_000;
/// Messages before the count begins: histories are full, buffers have grown.
const WARM_UP: usize = 300;
const PAYLOAD: &str = "1.09214 1.09217 1.09214 1.09217 1.09214 1.09217 1.09214 1.09217 1.09214 \
                       1.09217 1.09214 1.092";

/// Everything that is done here is counted, and nothing else.
#[inline(never)]
fn counted(world: &mut World, work: &mut dyn FnMut(&mut World)) {
    work(black_box(world));
}

/// A piece of work: its name, what it is, and how it is done.
type Case = (&'static str, fn() -> u64);

const CASES: [Case; 8] = [
    ("publish", publish),
    ("publish-latest", publish_latest),
    ("publish-100", publish_many),
    ("publish-none", publish_to_none),
    ("open", open),
    ("heartbeats", heartbeats),
    ("ping", ping),
    ("close-expire", close_and_expire),
];

/// A hub with 1,000 readers of `fx/A`, warm.
fn readers(target: &str) -> World {
    let mut world = World::new(READERS);
    world.publish(&post("fx/A", PAYLOAD));
    (0..READERS).for_each(|_| world.open(target));
    let request = post("fx/A", PAYLOAD);
    for _ in 0..WARM_UP {
        world.publish(&request);
        pass(&mut world);
    }
    world
}

fn pass(world: &mut World) {
    let mut once = true;
    world.pass(Span::from_millis(1), |_| std::mem::take(&mut once));
}

/// Counts `work` in a world; the writes that it made, which must be `expected`: what was counted is
/// what was meant.
fn count(mut world: World, expected: usize, mut work: impl FnMut(&mut World)) -> u64 {
    let before = world.writes;
    counted(&mut world, &mut work);
    let writes = world.writes - before;
    assert_eq!(writes, expected as u64, "the work was another than it should be");
    writes
}

/// One message to 1,000 streams.
fn publish() -> u64 {
    let request = post("fx/A", PAYLOAD);
    count(readers("/ahm/mux.html?open=fx/A"), READERS + 1, |world| world.publish(&request))
}

/// The same where all read in mode `latest`.
fn publish_latest() -> u64 {
    let request = post("fx/A", PAYLOAD);
    let world = readers("/ahm/mux.html?open=fx/A;mode=latest");
    count(world, READERS + 1, |world| world.publish(&request))
}

/// A hundred messages in one turn, gathered into one write for each of 1,000 streams.
fn publish_many() -> u64 {
    let mut world = readers("/ahm/mux.html?open=fx/A");
    let request = post_many("fx/A", PAYLOAD, 100);
    world.publish(&request);
    count(world, READERS + 1, |world| world.publish(&request))
}

/// One message that nobody reads.
fn publish_to_none() -> u64 {
    let mut world = readers("/ahm/mux.html?open=fx/A");
    let request = post("fx/B", PAYLOAD);
    (0..WARM_UP).for_each(|_| world.publish(&request));
    count(world, 1, |world| world.publish(&request))
}

/// One more stream, from the request to the first bytes of its document.
fn open() -> u64 {
    let mut world = readers("/ahm/mux.html?open=fx/A");
    let gone: Vec<ConnKey> = world.readers.split_off(READERS - 10);
    for conn in gone {
        world.hub.handle_peer_closed(conn, world.now);
    }
    world.settle();
    count(world, 1, |world| world.open("/ahm/mux.html?open=fx/A"))
}

/// Time passes until each of 1,000 streams has had a heartbeat.
fn heartbeats() -> u64 {
    let mut world = readers("/ahm/mux.html?open=fx/A");
    let rounds = |world: &mut World| {
        let end = world.writes + READERS as u64;
        world.pass(Span::from_millis(50), |world| world.writes < end);
    };
    rounds(&mut world);
    count(world, READERS, rounds)
}

/// One short command and its answer.
fn ping() -> u64 {
    let mut world = readers("/ahm/mux.html?open=fx/A");
    let request = get("/ahm/ping?t=1");
    let conn = world.readers.pop().expect("there are readers");
    world.hub.handle_peer_closed(conn, world.now);
    world.settle();
    let conn = world.accept();
    world.request(conn, &request);
    count(world, 1, |world| world.request(conn, &request))
}

/// 1,000 connections close, and a minute later their sessions expire.
fn close_and_expire() -> u64 {
    count(readers("/ahm/mux.html?open=fx/A"), 0, |world| {
        world.close_all();
        world.pass(Span::from_millis(500), |world| world.hub.session_count() > 0);
    })
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let case = CASES.iter().find(|(name, _)| words == [*name]);
    match case {
        Some((name, work)) => println!("{name}\t{} writes", work()),
        None if words == ["--list"] => CASES.iter().for_each(|(name, _)| println!("{name}")),
        None => {
            eprintln!("usage: instructions CASE, or --list for the cases");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

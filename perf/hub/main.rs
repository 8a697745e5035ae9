//! The hub by itself with very many sessions: bytes for each, and what it costs to open them, to
//! publish to them, to keep them alive and to lose them. `scripts/hub` runs it.
//!
//! Each phase is a function of its own, never inlined: a profiler can be told to look at one.

mod world;

use std::alloc::System;
use std::fmt::Write as _;
use std::process::ExitCode;

use ahm::base::time::{Instant, Span};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};
use world::{World, post};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Topics that one reader in a hundred reads.
const GROUPS: usize = 100;
/// Topics that few read.
const SINGLES: usize = 10_000;
const PAYLOAD: &str = "1.09214 1.09217 1.09214 1.09217 1.09214 1.09217 1.09214 1.09217 1.09214 \
                       1.09217 1.09214 1.092";
const HELP: &str = "\
The hub by itself, without sockets, with very many sessions of three channels.

Usage: hub [SESSIONS]     1,000,000 unless it is said; from 1,000

Prints a table in Markdown: CPU time, writes and allocations of each phase, and the memory after.";

/// What one phase took.
struct Phase {
    name: &'static str,
    /// What its cost is divided by, and what that is.
    count: usize,
    unit: &'static str,
    cpu: Span,
    writes: u64,
    bytes: u64,
    allocations: usize,
    /// Bytes allocated and not given back when it was over.
    live: usize,
}

/// A phase on its way.
struct Watch<'a> {
    region: Region<'a, System>,
    cpu: Span,
    writes: u64,
    bytes: u64,
}

impl Watch<'_> {
    fn start(world: &World) -> Self {
        let (writes, bytes) = (world.writes, world.bytes);
        Self { region: Region::new(ALLOCATOR), cpu: cpu_time(), writes, bytes }
    }

    fn stop(self, world: &World, name: &'static str, of: (usize, &'static str)) -> Phase {
        let cpu = cpu_time() - self.cpu;
        let change = self.region.change();
        Phase {
            name,
            count: of.0,
            unit: of.1,
            cpu,
            writes: world.writes - self.writes,
            bytes: world.bytes - self.bytes,
            allocations: change.allocations + change.reallocations,
            live: live(ALLOCATOR.stats()),
        }
    }
}

fn live(stats: Stats) -> usize {
    stats.bytes_allocated - stats.bytes_deallocated
}

/// What this process has used of the processor: other programs on the machine do not count.
fn cpu_time() -> Span {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to the structure that it is given, and to nothing else.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0, "every Linux has this clock");
    Span::from_secs(time.tv_sec as u64) + Span::from_nanos(time.tv_nsec as u64)
}

/// All topics get their first message.
#[inline(never)]
fn phase_topics(world: &mut World) {
    let groups = (0..GROUPS).map(|at| format!("fx/g{at}"));
    let singles = (0..SINGLES).map(|at| format!("fx/s{at}"));
    for topic in groups.chain(singles).chain(["fx/all".to_owned()]) {
        world.publish(&post(&topic, PAYLOAD));
    }
}

#[inline(never)]
fn phase_open(world: &mut World, sessions: usize) {
    for at in 0..sessions {
        let (group, single) = (at % GROUPS, at % SINGLES);
        let target = format!("/ahm/mux.html?open=fx/all&open=fx/g{group}&open=fx/s{single}");
        // A thousand a millisecond would be too many for any machine.
        if at % 100 == 0 {
            world.now += Span::from_millis(1);
        }
        world.open(&target);
    }
}

#[inline(never)]
fn phase_publish_to_all(world: &mut World) {
    world.publish(&post("fx/all", PAYLOAD));
}

#[inline(never)]
fn phase_publish_to_few(world: &mut World) {
    world.publish(&post("fx/g0", PAYLOAD));
}

/// Time passes until each has had a heartbeat.
#[inline(never)]
fn phase_heartbeats(world: &mut World, sessions: usize) {
    let end = world.writes + sessions as u64;
    world.pass(Span::from_millis(1), |world| world.writes < end);
}

#[inline(never)]
fn phase_close(world: &mut World) {
    world.close_all();
}

/// Time passes until the last session has expired.
#[inline(never)]
fn phase_expire(world: &mut World) {
    world.pass(Span::from_millis(100), |world| world.hub.session_count() > 0);
}

fn phases(sessions: usize) -> Result<(Vec<Phase>, usize, usize), String> {
    let mut world = World::new(sessions);
    phase_topics(&mut world);
    let mut phases = Vec::new();
    let before = live(ALLOCATOR.stats());
    let watch = Watch::start(&world);
    phase_open(&mut world, sessions);
    phases.push(watch.stop(&world, "open", (sessions, "session")));
    let own = world.hub.memory();
    if world.hub.document_count() != sessions {
        return Err(format!("only {} of {sessions} are open", world.hub.document_count()));
    }
    let few = sessions / GROUPS;
    for (name, of, run) in [
        ("publish to all, the first", sessions, phase_publish_to_all as fn(&mut World)),
        ("publish to all, again", sessions, phase_publish_to_all),
        ("publish to 1 %", few, phase_publish_to_few),
        ("publish to 1 %, again", few, phase_publish_to_few),
    ] {
        let watch = Watch::start(&world);
        run(&mut world);
        let phase = watch.stop(&world, name, (of, "reader"));
        if phase.writes < of as u64 {
            return Err(format!("{name}: {} writes for {of} readers", phase.writes));
        }
        phases.push(phase);
    }
    // What was published is a heartbeat too, so that the first round would not find all silent.
    phase_publish_to_all(&mut world);
    for name in ["a round of heartbeats", "a round of heartbeats, again"] {
        let watch = Watch::start(&world);
        let from = world.now;
        phase_heartbeats(&mut world, sessions);
        let took = world.now.since(from);
        phases.push(watch.stop(&world, name, (sessions, "session")));
        if took > Span::from_secs(16) {
            return Err(format!("{name} took {took} of the hub's time"));
        }
    }
    let watch = Watch::start(&world);
    phase_close(&mut world);
    phases.push(watch.stop(&world, "all connections close", (sessions, "session")));
    let watch = Watch::start(&world);
    phase_expire(&mut world);
    phases.push(watch.stop(&world, "all sessions expire", (sessions, "session")));
    if world.now == Instant::ZERO || world.hub.connection_count() > 1 {
        return Err("a connection was left over".to_owned());
    }
    Ok((phases, before, own))
}

fn table(sessions: usize, phases: &[Phase], before: usize, own: usize) -> String {
    let mut text = String::new();
    let mib = |bytes: usize| bytes as f64 / (1024.0 * 1024.0);
    let grown = phases.first().map_or(0, |open| open.live.saturating_sub(before));
    let each = grown as f64 / sessions as f64;
    let topics = GROUPS + SINGLES + 1;
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{sessions} sessions of three channels, one document each, {topics} topics, messages of \
         {} bytes: **{each:.0} bytes a session** (the allocator's count; the hub's own is {:.0}, \
         topics included). Without sockets, the kernel's memory and system calls.\n",
        PAYLOAD.len(),
        own as f64 / sessions as f64,
    );
    text += "| phase | CPU, ms | ns each | writes | bytes each | allocations | live after, MiB |\n";
    text += "| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n";
    for phase in phases {
        let Phase { name, count, unit, cpu, writes, bytes, allocations, live } = phase;
        let _ = writeln!(
            text,
            "| {name} | {:.1} | {:.0} a {unit} | {writes} | {:.0} | {allocations} | {:.1} |",
            cpu.as_nanos() as f64 / 1e6,
            cpu.as_nanos() as f64 / *count as f64,
            *bytes as f64 / (*writes).max(1) as f64,
            mib(*live),
        );
    }
    text
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let sessions = match &words[..] {
        [] => Some(1_000_000),
        [number] => number.parse().ok().filter(|number| (1_000..=2_000_000).contains(number)),
        _ => None,
    };
    let Some(sessions) = sessions else {
        let asked = words.iter().any(|word| word == "--help" || word == "-h");
        println!("{HELP}");
        return if asked { ExitCode::SUCCESS } else { ExitCode::from(2) };
    };
    match phases(sessions) {
        Ok((phases, before, own)) => {
            print!("{}", table(sessions, &phases, before, own));
            ExitCode::SUCCESS
        }
        Err(problem) => {
            eprintln!("hub: {problem}");
            ExitCode::FAILURE
        }
    }
}

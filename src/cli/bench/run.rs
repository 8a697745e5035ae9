//! One run from the first connection to the record: open, warm up, measure, drain.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::ScopedJoinHandle;

use hdrhistogram::Histogram;

use crate::base::time::{Instant, Span};
use crate::cli::bench::outcome::micros;
use crate::cli::bench::plan::{Plan, Role};
use crate::cli::bench::process::{self, Memory};
use crate::cli::bench::publisher::{Progress, Published, Publisher};
use crate::cli::bench::record::{Opening, Percentiles, Record, Usage, seconds};
use crate::cli::bench::sampler::{Sample, Sampler};
use crate::cli::bench::scenario::Scenario;
use crate::cli::bench::side::{Counts, Side, Watch};
use crate::cli::bench::sink::Split;
use crate::cli::bench::swarm::Swarm;
use crate::reactor::clock::Clock;

/// How long no stream may open before the run is given up.
const OPEN_PATIENCE: Span = Span::from_secs(10);
/// From the start of the publisher's thread to its first message.
const HEAD_START: Span = Span::from_millis(20);
/// The longest wait of a turn, so that marks and progress come in time.
const TURN: Span = Span::from_millis(10);
/// The streams must be silent this long after the last expected delivery, so that what comes twice
/// at the very end is seen.
const SILENCE: Span = Span::from_millis(50);
/// What is waited for silence at most.
const SILENCE_MAX: Span = Span::from_millis(500);

/// Where the counters stood at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mark {
    pub(crate) at: Instant,
    pub(crate) deliveries: u64,
    pub(crate) server: Span,
    pub(crate) driver: Span,
}

/// A run on its way.
#[derive(Debug)]
pub struct Run<'p, W> {
    pub(crate) plan: &'p Plan,
    pub(crate) clock: Clock,
    /// The running streams.
    pub(crate) swarm: Swarm<'p>,
    /// The others, until their thread takes them, and when it has given them back.
    side: Option<(Role, Swarm<'p>)>,
    watch: &'p Watch,
    pub(crate) progress: &'p Progress,
    report: W,
    told: Mark,
    pub(crate) usage: Option<Usage>,
    pub(crate) opening: Opening,
    pub(crate) marks: [Mark; 2],
    pub(crate) published: Option<Published>,
    pub(crate) scenario: Option<Scenario>,
    pub(crate) samples: Vec<Sample>,
}

impl<'p, W: Write> Run<'p, W> {
    /// A run of `plan` that tells `report` once a second how it goes.
    ///
    /// # Errors
    /// A sentence: no poller, or `--pid` names no process that can be read.
    pub fn new(
        plan: &'p Plan,
        clock: Clock,
        (progress, watch): (&'p Progress, &'p Watch),
        report: W,
    ) -> Result<Self, String> {
        let swarm =
            |role| Swarm::new(plan, role, clock).map_err(|error| format!("poller: {error}"));
        let side = plan.side().map(|role| Ok::<_, String>((role, swarm(role)?))).transpose()?;
        let mut run = Self {
            plan,
            clock,
            swarm: swarm(Role::Running)?,
            side,
            watch,
            progress,
            report,
            told: Mark::default(),
            usage: None,
            opening: Opening::default(),
            marks: [Mark::default(); 2],
            published: None,
            scenario: None,
            samples: Vec::new(),
        };
        run.told = run.mark()?;
        Ok(run)
    }

    /// Does all of it. The histogram is that of the latencies in nanoseconds.
    ///
    /// # Errors
    /// A sentence: the run could not be carried out. What a finished run found wrong is in its
    /// record.
    pub fn carry_out(mut self) -> Result<(Record, Histogram<u64>), String> {
        let begun = self.clock.now();
        if let Some(server) = &self.plan.private {
            Publisher::connect(self.plan, server, self.clock)?.prime(self.progress)?;
        }
        if let Some(pid) = self.plan.pid {
            let before = Memory::of(pid)?;
            self.usage = Some(Usage { pid, before, ..Usage::default() });
        }
        self.open()?;
        if self.plan.idle {
            self.idle()?;
        } else {
            self.flow()?;
        }
        if let Some(usage) = &mut self.usage {
            let streams = self.plan.streams() as u64;
            usage.after = Memory::of(usage.pid)?;
            usage.bytes_per_stream_after = usage.after.each(usage.before, streams);
        }
        Ok(self.record(begun))
    }

    fn open(&mut self) -> Result<(), String> {
        let from = self.mark()?;
        self.open_streams()?;
        // The others open in the same way, while the running ones are read.
        if let Some((_, side)) = &mut self.side {
            std::mem::swap(&mut self.swarm, side);
            let opened = self.open_streams();
            if let Some((_, side)) = &mut self.side {
                std::mem::swap(&mut self.swarm, side);
            }
            opened?;
        }
        let to = self.mark()?;
        let took = seconds(to.at.since(from.at)).max(1e-9);
        let streams = self.plan.streams() as u64;
        let cpu = self.usage.is_some().then(|| micros(to.server - from.server, streams));
        let mut opening = self.swarm.opening.clone();
        if let Some((_, side)) = &self.side {
            opening.add(&side.opening).map_err(|error| format!("histogram: {error}"))?;
        }
        let latency_ms = Percentiles::of(&opening);
        let rate = streams as f64 / took;
        self.opening = Opening { streams, seconds: took, rate, latency_ms, cpu_us_per_stream: cpu };
        if let Some(usage) = &mut self.usage {
            usage.open = Memory::of(usage.pid)?;
            usage.bytes_per_stream = usage.open.each(usage.before, streams);
        }
        Ok(())
    }

    /// Opens the streams of `self.swarm`.
    fn open_streams(&mut self) -> Result<(), String> {
        let begun = self.clock.now();
        let (mut open, mut since) = (0, begun);
        while !self.swarm.is_open() {
            let now = self.clock.now();
            let due = seconds(now.since(begun)) * self.plan.connect_rate;
            self.swarm.dial(due as usize + 1)?;
            self.swarm.turn(Span::from_millis(1))?;
            if let Some((_, other)) = &mut self.side {
                other.turn(Span::ZERO)?;
            }
            if let Some(problem) = self.swarm.problem.take() {
                return Err(problem);
            }
            if self.swarm.open() > open {
                (open, since) = (self.swarm.open(), now);
            } else if now.since(since) > OPEN_PATIENCE {
                let streams = self.swarm.count();
                return Err(format!("{open} of {streams} streams opened, then no more"));
            }
            self.tell("opening")?;
        }
        Ok(())
    }

    fn idle(&mut self) -> Result<(), String> {
        self.marks[0] = self.mark()?;
        let end = self.marks[0].at + self.plan.measured;
        while self.clock.now() < end {
            self.turn("idle", end)?;
            if let Some((_, side)) = &mut self.side {
                side.turn(Span::ZERO)?;
            }
        }
        self.marks[1] = self.mark()?;
        Ok(())
    }

    fn flow(&mut self) -> Result<(), String> {
        let (plan, clock, progress) = (self.plan, self.clock, self.progress);
        let Some(server) = &plan.private else { return Err("--private is missing".to_owned()) };
        let publisher = Publisher::connect(plan, server, clock)?;
        let start = clock.now() + HEAD_START;
        self.swarm.gauge.from = start + plan.warmup;
        let (watch, side) = (self.watch, self.side.take());
        if plan.storm > 0 {
            self.swarm.gauge.split = Some(Box::new(Split::new(plan.cut_at(start))));
        }
        let over = AtomicBool::new(false);
        let span = plan.warmup + plan.measured;
        let sampler = Sampler { clock, start, span, pid: plan.pid, watch };
        let published = std::thread::scope(|scope| {
            let publisher = scope.spawn(move || publisher.run(start, progress));
            let (tell, told) = mpsc::channel();
            let sampler = side.is_some().then(|| scope.spawn(|| sampler.run(&over)));
            let side = side.map(|(role, swarm)| {
                let side = Side::new(plan, role, clock, watch, swarm, start);
                scope
                    .spawn(move || side.run(&told).map(|(scenario, swarm)| (role, scenario, swarm)))
            });
            let watched = self.watch(&publisher);
            // Whatever happened here, the other threads must come to an end.
            progress.stop.store(watched.is_err(), Ordering::Relaxed);
            let panicked = |_| Err("the publisher panicked".to_owned());
            let joined = publisher.join().unwrap_or_else(panicked);
            let published = watched.and(joined);
            let drained = published.as_ref().map_err(Clone::clone).and_then(|published| {
                let Published { accepted, newest, .. } = published;
                // Without a thread beside this one nobody listens.
                let _ = tell.send(Counts { accepted: accepted.clone(), newest: newest.clone() });
                self.drain(published)
            });
            drop(tell);
            let side = side.map(|side| side.join().map_err(|_| "a thread panicked".to_owned()));
            over.store(true, Ordering::Release);
            if let Some(sampler) = sampler {
                sampler.thread().unpark();
                self.samples = sampler.join().map_err(|_| "a thread panicked".to_owned())?;
            }
            drained?;
            if let Some(side) = side {
                let (role, scenario, swarm) = side??;
                (self.scenario, self.side) = (Some(scenario), Some((role, swarm)));
            }
            published
        })?;
        self.published = Some(published);
        self.silence()
    }

    /// Reads while the publisher is at work, and takes the marks.
    fn watch<T>(&mut self, publisher: &ScopedJoinHandle<'_, T>) -> Result<(), String> {
        let ends = [self.swarm.gauge.from, self.swarm.gauge.from + self.plan.measured];
        let phases = ["warm-up", "measuring", "draining"];
        let mut passed = 0;
        // Both marks are taken even if the publisher has its last answer a moment before.
        while !publisher.is_finished() || (passed < 2 && self.all_answered()) {
            self.turn(phases[passed], *ends.get(passed).unwrap_or(&Instant::NEVER))?;
            if passed < 2 && self.clock.now() >= ends[passed] {
                self.marks[passed] = self.mark()?;
                passed += 1;
            }
            if self.swarm.gauge.tally.ended as usize >= self.plan.subscribers {
                let problem = self.swarm.problem.take().unwrap_or_default();
                return Err(format!("no stream is left: {problem}"));
            }
        }
        Ok(())
    }

    /// True once no message is left to publish: a publisher that ends before that has failed.
    fn all_answered(&self) -> bool {
        let Progress { accepted, refused, .. } = self.progress;
        let answered = accepted.load(Ordering::Relaxed) + refused.load(Ordering::Relaxed);
        answered >= self.plan.messages()
    }

    /// Reads until everything has arrived, or nothing has for too long.
    fn drain(&mut self, published: &Published) -> Result<(), String> {
        let (mut deliveries, mut since) = (0, self.clock.now());
        while self.swarm.missing(&published.accepted, &published.newest) > 0 {
            let next = self.clock.now() + TURN;
            while self.clock.now() < next {
                self.turn("draining", next)?;
            }
            if self.swarm.gauge.tally.deliveries > deliveries {
                (deliveries, since) = (self.swarm.gauge.tally.deliveries, next);
            } else if next.since(since) >= self.plan.drain {
                return Ok(());
            }
        }
        Ok(())
    }

    fn silence(&mut self) -> Result<(), String> {
        let begun = self.clock.now();
        let end = begun + SILENCE_MAX;
        let quiet = |run: &Self| run.swarm.heard.max(begun) + SILENCE;
        while self.clock.now() < quiet(self).min(end) {
            self.turn("draining", quiet(self))?;
        }
        Ok(())
    }

    /// One turn of the swarm, not past `end`, and a line of progress where one is due.
    fn turn(&mut self, phase: &str, end: Instant) -> Result<(), String> {
        let left = end.since(self.clock.now()).min(TURN);
        self.swarm.turn(left)?;
        if let Some(split) = &mut self.swarm.gauge.split
            && split.back == Instant::NEVER
            && let back @ 1.. = self.watch.back.load(Ordering::Relaxed)
        {
            split.back = Instant::from_nanos(back);
        }
        self.tell(phase)
    }

    fn mark(&self) -> Result<Mark, String> {
        Ok(Mark {
            at: self.clock.now(),
            deliveries: self.swarm.gauge.tally.deliveries,
            server: self.plan.pid.map_or(Ok(Span::ZERO), process::cpu)?,
            driver: process::cpu(std::process::id())?,
        })
    }

    fn tell(&mut self, phase: &str) -> Result<(), String> {
        if self.clock.now().since(self.told.at) < Span::from_secs(1) {
            return Ok(());
        }
        let (now, before) = (self.mark()?, self.told);
        let took = now.at.since(before.at).as_nanos() as f64;
        let gauge = &self.swarm.gauge;
        let ms = |quantile| gauge.latency.value_at_quantile(quantile) as f64 / 1e6;
        let mut line = format!(
            "{:4} s  {phase:9}  open {}  published {}  delivered {} ({:.0}/s)  \
             p50 {:.2} ms  p99 {:.2} ms",
            now.at.as_nanos() / 1_000_000_000,
            self.swarm.open(),
            self.progress.written.load(Ordering::Relaxed),
            now.deliveries,
            (now.deliveries - before.deliveries) as f64 * 1e9 / took,
            ms(0.5),
            ms(0.99),
        );
        let wrong = gauge.tally.silent + gauge.tally.repeated + gauge.tally.out_of_order;
        if wrong > 0 {
            line += &format!("  WRONG {wrong}");
        }
        let cores = |now: Span, before: Span| (now - before).as_nanos() as f64 / took;
        line += &format!("  driver {:.2} cores", cores(now.driver, before.driver));
        if self.plan.pid.is_some() {
            line += &format!("  server {:.2}", cores(now.server, before.server));
        }
        self.told = now;
        // A terminal that has gone away is no reason to lose the record.
        let _ = writeln!(self.report, "{line}");
        Ok(())
    }
}

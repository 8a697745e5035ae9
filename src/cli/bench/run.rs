//! One run from the first connection to the record: open, warm up, measure, drain.

use std::io::Write;
use std::sync::atomic::Ordering;

use hdrhistogram::Histogram;

use crate::base::time::{Instant, Span};
use crate::cli::bench::feeder::Feeder;
use crate::cli::bench::outcome::micros;
use crate::cli::bench::plan::{Plan, Role};
use crate::cli::bench::process::{self, Memory};
use crate::cli::bench::publisher::{Progress, Published, Publisher};
use crate::cli::bench::record::{Opening, Percentiles, Record, Usage, seconds};
use crate::cli::bench::sampler::Sample;
use crate::cli::bench::scenario::Scenario;
use crate::cli::bench::side::Watch;
use crate::cli::bench::swarm::Swarm;
use crate::cli::bench::timeline::Timeline;
use crate::reactor::clock::Clock;

/// How long no stream may open before the run is given up.
const OPEN_PATIENCE: Span = Span::from_secs(10);
/// The longest wait of a turn, so that marks and progress come in time.
pub(crate) const TURN: Span = Span::from_millis(10);

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
    pub(crate) side: Option<(Role, Swarm<'p>)>,
    pub(crate) watch: &'p Watch,
    pub(crate) progress: &'p Progress,
    report: W,
    told: Mark,
    pub(crate) usage: Option<Usage>,
    pub(crate) opening: Opening,
    pub(crate) marks: [Mark; 2],
    pub(crate) published: Option<Published>,
    pub(crate) scenario: Option<Scenario>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) timeline: Timeline,
    /// Packets that the machine had dropped when the run began.
    pub(crate) packets_dropped: u64,
    /// A server was killed in the middle.
    pub(crate) killed: bool,
    /// The publisher, where it is a resource server; it lives as long as the run.
    pub(crate) feeder: Option<Feeder>,
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
            timeline: Timeline::default(),
            packets_dropped: process::packets_dropped(),
            killed: false,
            feeder: None,
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
        let twin = self.plan.twin.as_ref().and_then(|twin| twin.private.as_ref());
        for server in self.plan.private.iter().chain(twin) {
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

    /// One turn of the swarm, not past `end`, and a line of progress where one is due.
    pub(crate) fn turn(&mut self, phase: &str, end: Instant) -> Result<(), String> {
        let left = end.since(self.clock.now()).min(TURN);
        self.swarm.turn(left)?;
        if let Some(split) = &mut self.swarm.gauge.split {
            let Watch { cut, back, .. } = self.watch;
            for (moment, told) in [(&mut split.returning_from, cut), (&mut split.back, back)] {
                if *moment == Instant::NEVER
                    && let told @ 1.. = told.load(Ordering::Relaxed)
                {
                    *moment = Instant::from_nanos(told);
                }
            }
        }
        self.timeline.note(self.clock.now(), self.counts());
        self.tell(phase)
    }

    /// Messages published, and those that have arrived.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let written = self.progress.written.load(Ordering::Relaxed);
        (written, self.swarm.gauge.tally.deliveries)
    }

    pub(crate) fn mark(&self) -> Result<Mark, String> {
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

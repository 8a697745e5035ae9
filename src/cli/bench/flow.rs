//! Messages flow: the threads of one run beside that of the subscribers, from the first message to
//! the silence after the last.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::ScopedJoinHandle;

use crate::base::time::{Instant, Span};
use crate::cli::bench::feeder::Feeder;
use crate::cli::bench::plan::Plan;
use crate::cli::bench::publisher::{Progress, Published, Publisher};
use crate::cli::bench::run::{Run, TURN};
use crate::cli::bench::sampler::Sampler;
use crate::cli::bench::side::{Counts, Side};
use crate::cli::bench::sink::Split;
use crate::reactor::clock::Clock;

/// From the start of the publisher's thread to its first message.
const HEAD_START: Span = Span::from_millis(20);
/// The streams must be silent this long after the last expected delivery, so that what comes twice
/// at the very end is seen.
const SILENCE: Span = Span::from_millis(50);
/// What is waited for silence at most.
const SILENCE_MAX: Span = Span::from_millis(500);
/// What is due so long before a server is killed, or after, is due around it.
const AROUND_KILL: Span = Span::from_millis(500);

/// How messages leave the driver.
enum Feed<'p> {
    /// To a private listener.
    Posts(Box<Publisher<'p>>),
    /// As a resource server.
    Serves(Feeder, &'p Plan, Clock),
}

impl Feed<'_> {
    fn run(self, start: Instant, progress: &Progress) -> Result<Published, String> {
        match self {
            Self::Posts(publisher) => publisher.run(start, progress),
            Self::Serves(feeder, plan, clock) => feeder.run(plan, (clock, start), progress),
        }
    }
}

/// Publishers to the servers of `plan`: the one that counts first, then that of the other server,
/// which is the one that may be killed.
fn publishers<'p>(
    plan: &'p Plan,
    feeder: Option<&Feeder>,
    clock: Clock,
) -> Result<(Feed<'p>, Option<Feed<'p>>), String> {
    if let Some(feeder) = feeder {
        feeder.wait_until_wanted(plan.topics.min(plan.subscribers * plan.per))?;
        return Ok((Feed::Serves(feeder.clone(), plan, clock), None));
    }
    let Some(server) = &plan.private else { return Err("--private is missing".to_owned()) };
    let first = Feed::Posts(Box::new(Publisher::connect(plan, server, clock)?));
    let Some(twin) = plan.twin.as_ref().and_then(|twin| twin.private.as_ref()) else {
        return Ok((first, None));
    };
    let second = Feed::Posts(Box::new(Publisher::connect(plan, twin, clock)?));
    let first_dies = plan.victim.is_some_and(|victim| victim.server == 0);
    Ok(if first_dies { (second, Some(first)) } else { (first, Some(second)) })
}

/// What a publisher's thread came to.
fn joined(thread: ScopedJoinHandle<'_, Result<Published, String>>) -> Result<Published, String> {
    thread.join().unwrap_or_else(|_| Err("the publisher panicked".to_owned()))
}

/// What was published, where `second` went to a second server, which may have been killed.
fn with_second(
    mut published: Published,
    second: Result<Published, String>,
    killed: bool,
) -> Result<Published, String> {
    match second {
        Err(_) if killed => {}
        Err(problem) => return Err(problem),
        Ok(second) => {
            published.refused += second.refused;
            published.refusal = published.refusal.or(second.refusal);
        }
    }
    Ok(published)
}

impl<W: Write> Run<'_, W> {
    /// Has messages flow, and reads them, to the end.
    pub(crate) fn flow(&mut self) -> Result<(), String> {
        let (plan, clock, progress) = (self.plan, self.clock, self.progress);
        let (publisher, second) = publishers(plan, self.feeder.as_ref(), clock)?;
        let start = clock.now() + HEAD_START;
        let (watch, side) = (self.watch, self.side.take());
        self.set_moments(start);
        let aside = Progress::default();
        let over = AtomicBool::new(false);
        let span = plan.warmup + plan.measured;
        let sampler = Sampler { clock, start, span, pid: plan.pid, watch };
        let published = std::thread::scope(|scope| {
            let publisher = scope.spawn(move || publisher.run(start, progress));
            let second = second.map(|second| scope.spawn(|| second.run(start, &aside)));
            let killer = plan.victim.map(|victim| {
                let (at, over) = (plan.cut_at(start), &over);
                scope.spawn(move || victim.kill_at(at, clock, over))
            });
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
            aside.stop.store(watched.is_err(), Ordering::Relaxed);
            over.store(watched.is_err(), Ordering::Release);
            self.killed = killer.is_some_and(|killer| {
                killer.thread().unpark();
                killer.join().unwrap_or(false)
            });
            let first = joined(publisher);
            let published = watched.and(first).and_then(|published| match second {
                Some(second) => with_second(published, joined(second), self.killed),
                None => Ok(published),
            });
            let drained = published.as_ref().map_err(Clone::clone).and_then(|published| {
                // Without a thread beside this one nobody listens.
                let _ = tell.send(Counts::of(published));
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

    /// Sets what depends on when the first message is due.
    fn set_moments(&mut self, start: Instant) {
        let plan = self.plan;
        self.timeline.begin(start, self.counts());
        self.swarm.gauge.from = start + plan.warmup;
        let cut = plan.cut_at(start);
        if plan.twin.is_some() {
            let before = Span::from_nanos(cut.as_nanos()) - AROUND_KILL;
            let split = Split::new(Instant::from_nanos(before.as_nanos()));
            let split = Split { back: cut + AROUND_KILL, ..split };
            self.swarm.gauge.split = Some(Box::new(split));
            self.swarm.breaks_from = cut;
        } else if plan.storm > 0 {
            self.swarm.gauge.split = Some(Box::new(Split::new(cut)));
        }
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
            let ended = self.swarm.gauge.tally.ended + self.swarm.copies.cut;
            if ended as usize >= self.swarm.count() {
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
        // Nothing is missing any more, or nothing more will come: the last second ends here.
        self.timeline.finish(self.swarm.heard, self.counts());
        let begun = self.clock.now();
        let end = begun + SILENCE_MAX;
        let quiet = |run: &Self| run.swarm.heard.max(begun) + SILENCE;
        while self.clock.now() < quiet(self).min(end) {
            self.turn("draining", quiet(self))?;
        }
        Ok(())
    }
}

//! The publisher as a resource server: it registers, is asked for what the subscribers read, and
//! sends messages when they are due, whatever has become of the ones before.

use std::sync::atomic::Ordering;

use crate::base::time::{Instant, Span};
use crate::cli::bench::pace::Message;
use crate::cli::bench::plan::Plan;
use crate::cli::bench::publisher::{Progress, Published};
use crate::cli::bench::sink::record;
use crate::cli::bench::stamp::Stamp;
use crate::link::address::Address;
use crate::link::source_settings::Counts;
use crate::reactor::clock::Clock;
use crate::resource::publisher::Publisher;
use crate::wire::resource::Terms;

/// Messages handed over at once at most.
const BATCH_MAX: usize = 1_000;
/// How long the registry, and then the servers, may take to ask.
const PATIENCE: Span = Span::from_secs(10);
/// Between two looks at whether they have.
const LOOK: Span = Span::from_millis(10);
/// What a server should keep of each topic, for readers that fall behind for a moment.
const HISTORY: (u32, u32, Span) = (8_192, 4 * 1024 * 1024, Span::from_secs(60));

/// A resource server of the run's topics.
#[derive(Clone, Debug)]
pub struct Feeder {
    publisher: Publisher,
    subjects: Vec<String>,
}

impl Feeder {
    /// The publisher of a run that has one of this kind: registered where `plan` says, or, where
    /// readers connect to it, at the address that `plan` has from then on.
    ///
    /// # Errors
    /// A sentence: it cannot listen, or the registry does not take it.
    pub fn of(plan: &mut Plan) -> Result<Option<Self>, String> {
        let registry = plan.registry.clone();
        if registry.is_none() && !plan.straight {
            return Ok(None);
        }
        let feeder = Self::start(plan, registry)?;
        if plan.straight
            && let Some(Address::Tcp(address)) = feeder.publisher.addresses().first()
        {
            plan.server.address = *address;
        }
        Ok(Some(feeder))
    }

    fn start(plan: &Plan, registry: Option<Address>) -> Result<Self, String> {
        let here = Address::Tcp(([127, 0, 0, 1], 0).into());
        let mut builder = Publisher::builder(plan.resource.as_str()).listen(here);
        let registries = u64::from(registry.is_some());
        builder.settings.registries.extend(registry);
        builder.tls = plan.tls.registry.clone();
        let terms = Terms { history: Some(HISTORY), latest: true, ..Terms::default() };
        let publisher = builder.start(terms).map_err(|error| format!("publisher: {error}"))?;
        let subjects = (0..plan.topics).map(|topic| format!("t{topic}")).collect();
        let feeder = Self { publisher, subjects };
        let problem = "the registry does not answer";
        feeder.wait_until(|counts| counts.registries >= registries, problem)?;
        Ok(feeder)
    }

    /// Waits until a server has asked for so many topics.
    ///
    /// # Errors
    /// A sentence: none has.
    pub fn wait_until_wanted(&self, topics: usize) -> Result<(), String> {
        let problem = "the server does not ask for the topics: does it know the registry \
                       (registry.ask), and has it no such resource of its own?";
        self.wait_until(|counts| counts.accepted >= topics as u64, problem)
    }

    fn wait_until(&self, done: impl Fn(&Counts) -> bool, problem: &str) -> Result<(), String> {
        for _ in 0..PATIENCE.as_millis() / LOOK.as_millis() {
            let counts = self.publisher.counts().map_err(|error| format!("publisher: {error}"))?;
            if done(&counts) {
                return Ok(());
            }
            // pause: others have to do something, and nothing here would tell that they have
            std::thread::sleep(LOOK.to_std());
        }
        Err(format!("publisher: {problem}"))
    }

    /// Publishes every message of the run, the first at `start`.
    ///
    /// # Errors
    /// A sentence: the publisher has stopped.
    pub fn run(
        &self,
        plan: &Plan,
        (clock, start): (Clock, Instant),
        progress: &Progress,
    ) -> Result<Published, String> {
        let mut published = Published::none(plan.topics);
        let measured = start + plan.warmup;
        let (mut next, count) = (0, plan.messages());
        let mut batch = Vec::new();
        while next < count && !progress.stop.load(Ordering::Relaxed) {
            let now = clock.now();
            while next < count && batch.len() < BATCH_MAX {
                let Message { due, topic, seq, size } = plan.pace.message(next);
                let due = start + due;
                if due > now {
                    break;
                }
                if due >= measured {
                    record(&mut published.late, now.since(due));
                }
                let mut payload = Vec::with_capacity(size);
                Stamp { due, seq, run: plan.run }.put(size, &mut payload);
                batch.push((self.subjects[topic].as_str(), payload));
                published.accepted[topic] += 1;
                published.newest[topic] = seq;
                next += 1;
            }
            let handed = self.publisher.publish_many(batch.drain(..));
            handed.map_err(|error| format!("publisher: {error}"))?;
            progress.written.store(next, Ordering::Relaxed);
            progress.accepted.store(next, Ordering::Relaxed);
            if next < count {
                // pause: not to synchronise with anything; an open loop waits for the clock
                std::thread::park_timeout(plan.due(start, next).since(clock.now()).to_std());
            }
        }
        Ok(published)
    }
}

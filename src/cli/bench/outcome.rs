//! From the counters of a finished run to its record.

use std::io::Write;

use hdrhistogram::Histogram;

use crate::base::time::{Instant, Span};
use crate::cli::bench::copies::Doubled;
use crate::cli::bench::process::{Machine, packets_dropped};
use crate::cli::bench::record::{Delivery, Percentiles, Publishing, Record, Settings, seconds};
use crate::cli::bench::run::Run;
use crate::cli::bench::sampler::Growth;
use crate::cli::bench::scenario::Scenario;

impl<W: Write> Run<'_, W> {
    /// The record of the run, which began at `begun`, and the histogram of its latencies.
    pub(crate) fn record(mut self, begun: Instant) -> (Record, Histogram<u64>) {
        let [from, to] = self.marks;
        let took = seconds(to.at.since(from.at)).max(1e-9);
        let deliveries = to.deliveries - from.deliveries;
        if let Some(usage) = &mut self.usage {
            let used = to.server - from.server;
            usage.cpu_seconds = seconds(used);
            usage.cores = seconds(used) / took;
            let some = deliveries > 0;
            usage.cpu_us_per_delivery = some.then(|| micros(used, deliveries));
        }
        let unix = self.clock.unix_micros(begun) / 1_000_000;
        let (delivery, publishing) = self.flowed(deliveries as f64 / took);
        if let Some(Scenario::Storm(storm)) = &mut self.scenario
            && let Some(split) = &self.swarm.gauge.split
        {
            storm.set_parts(split);
        }
        if self.plan.twin.is_some() {
            self.scenario = Some(Scenario::Doubled(Doubled::of(&self.swarm, self.killed)));
        }
        let warm = seconds(self.plan.warmup);
        let growth = Growth::of(&self.samples, warm, warm + seconds(self.plan.measured));
        let record = Record {
            tool: concat!("ahm bench ", env!("CARGO_PKG_VERSION")),
            unix_time: unix,
            settings: Settings::of(self.plan),
            opening: self.opening,
            publishing,
            delivery,
            latency_ms: Percentiles::of(&self.swarm.gauge.latency),
            server: self.usage,
            scenario: self.scenario,
            samples: self.samples,
            timeline: self.timeline.seconds,
            growth,
            driver_cores: seconds(to.driver - from.driver) / took,
            packets_dropped: packets_dropped().saturating_sub(self.packets_dropped),
            machine: Machine::describe(),
            problem: self.swarm.problem,
        };
        (record, self.swarm.gauge.latency)
    }

    fn flowed(&self, rate: f64) -> (Delivery, Publishing) {
        let tally = self.swarm.gauge.tally;
        let Some(published) = &self.published else {
            return (Delivery { tally, rate, ..Delivery::default() }, Publishing::default());
        };
        let lost = self.swarm.missing(&published.accepted, &published.newest);
        let publishing = Publishing {
            accepted: published.accepted.iter().sum(),
            refused: published.refused,
            refusal: published.refusal.clone(),
            late_ms: Percentiles::of(&published.late),
        };
        let expected = self.swarm.expected(&published.accepted);
        (Delivery { expected, lost, tally, rate }, publishing)
    }
}

/// `span` in microseconds for each of `count`.
pub(crate) fn micros(span: Span, count: u64) -> f64 {
    span.as_nanos() as f64 / 1e3 / count.max(1) as f64
}

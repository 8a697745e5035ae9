//! The record of a run: what `--json` prints and the table is made of.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::base::time::Span;
use crate::cli::bench::peer::Peer;
use crate::cli::bench::plan::Plan;
use crate::cli::bench::process::{Machine, Memory, MemoryEach};
use crate::cli::bench::profile::Played;
use crate::cli::bench::sampler::{Growth, Sample};
use crate::cli::bench::scenario::Scenario;
use crate::cli::bench::tally::{Mode, Tally};
use crate::cli::bench::timeline::Second;

/// The options of the run that its figures depend on.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    /// What the server is.
    pub peer: Peer,
    /// Subscribers counted.
    pub subscribers: usize,
    /// Streams that were not read.
    pub stalled: usize,
    /// Seconds after which they were.
    pub wake_after: Option<f64>,
    /// Bytes of receive buffer asked for on them.
    pub receive_buffer: Option<usize>,
    /// Milliseconds of the heartbeat interval asked for on them.
    pub heartbeat: Option<u64>,
    /// Streams that were cut at once.
    pub storm: usize,
    /// Servers that each subscriber had a stream to.
    pub servers: usize,
    /// Topics.
    pub topics: usize,
    /// Topics of each subscriber.
    pub topics_per_subscriber: usize,
    /// Messages a second over all topics; of recorded ticks the mean.
    pub rate: f64,
    /// Bytes of a payload; of recorded ticks the mean.
    pub size: usize,
    /// The recorded ticks that were published, if they were any.
    pub profile: Option<Played>,
    /// Seconds measured.
    pub seconds: f64,
    /// Seconds before that.
    pub warmup: f64,
    /// What was asked for readers that are behind.
    pub mode: Mode,
    /// Milliseconds of the flush window asked for.
    pub flush: Option<u64>,
    /// Nothing was published.
    pub idle: bool,
    /// Source addresses the streams came from.
    pub sources: usize,
}

impl Settings {
    /// The settings of `plan`.
    pub fn of(plan: &Plan) -> Self {
        let span = plan.warmup + plan.measured;
        Self {
            peer: plan.peer,
            subscribers: plan.subscribers,
            stalled: plan.stalled,
            wake_after: plan.wake_after.map(seconds),
            receive_buffer: plan.receive_buffer,
            heartbeat: plan.heartbeat,
            storm: plan.storm,
            servers: plan.copies(),
            topics: plan.topics,
            topics_per_subscriber: plan.per,
            rate: plan.pace.rate(span),
            size: plan.pace.size(span),
            profile: plan.pace.played(span),
            seconds: seconds(plan.measured),
            warmup: seconds(plan.warmup),
            mode: plan.mode,
            flush: plan.flush,
            idle: plan.idle,
            sources: plan.sources.len().max(1),
        }
    }
}

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// Values there are.
    pub count: u64,
    /// Half of the values are at most this.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p99_9: f64,
    /// 99.99 %.
    pub p99_99: f64,
    /// The largest.
    pub max: f64,
}

impl Percentiles {
    /// The percentiles of a histogram of nanoseconds.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e6;
        Self {
            count: histogram.len(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: histogram.max() as f64 / 1e6,
        }
    }
}

/// How the streams were opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Opening {
    /// Streams open.
    pub streams: u64,
    /// Seconds from the first connect to the last opened frame.
    pub seconds: f64,
    /// Streams a second.
    pub rate: f64,
    /// From connect to the last opened frame of a stream.
    pub latency_ms: Percentiles,
    /// CPU microseconds of the server for each stream, where its process is known.
    pub cpu_us_per_stream: Option<f64>,
}

/// What the publisher did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Publishing {
    /// Messages that the server took.
    pub accepted: u64,
    /// Messages that it refused.
    pub refused: u64,
    /// The first refusal.
    pub refusal: Option<String>,
    /// How much later than due messages were given to the socket: the driver's own delay, which is
    /// part of every latency.
    pub late_ms: Percentiles,
}

/// What the subscribers got.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Delivery {
    /// Deliveries there should have been: one for each accepted message and reader of its topic.
    pub expected: u64,
    /// Of those, the ones that never arrived, declared or not. In mode `latest`: readers that
    /// never got the newest message.
    pub lost: u64,
    /// Everything counted on arrival.
    #[serde(flatten)]
    pub tally: Tally,
    /// Deliveries a second while it was measured.
    pub rate: f64,
}

/// What the server's process used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Usage {
    /// Its number.
    pub pid: u32,
    /// CPU seconds while it was measured.
    pub cpu_seconds: f64,
    /// Cores busy while it was measured.
    pub cores: f64,
    /// CPU microseconds for each message delivered while it was measured.
    pub cpu_us_per_delivery: Option<f64>,
    /// Memory before the first stream.
    pub before: Memory,
    /// Memory with all streams open and nothing sent.
    pub open: Memory,
    /// Memory at the end, streams still open.
    pub after: Memory,
    /// Growth from before the first stream to all streams open, for each stream.
    pub bytes_per_stream: MemoryEach,
    /// The same up to the end of the run.
    pub bytes_per_stream_after: MemoryEach,
}

/// Everything about one run.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Name and version of the driver.
    pub tool: &'static str,
    /// When the run began, in seconds since 1970.
    pub unix_time: u64,
    /// What was asked for.
    pub settings: Settings,
    /// The streams.
    pub opening: Opening,
    /// The messages.
    pub publishing: Publishing,
    /// The deliveries.
    pub delivery: Delivery,
    /// From when a message was due to when its frame was parsed.
    pub latency_ms: Percentiles,
    /// The server, where its process is known.
    pub server: Option<Usage>,
    /// What the streams beside the running ones did.
    pub scenario: Option<Scenario>,
    /// Memory over time, in runs with such streams.
    pub samples: Vec<Sample>,
    /// What was published and arrived, second by second, the warm-up included.
    pub timeline: Vec<Second>,
    /// How memory grew from the end of the warm-up to the last message.
    pub growth: Option<Growth>,
    /// Cores that the driver itself used while it was measured. Near 1 for the subscribers' thread
    /// the driver is the bottleneck.
    pub driver_cores: f64,
    /// Packets that the machine dropped meanwhile because a core had too much to do.
    pub packets_dropped: u64,
    /// The machine of the driver.
    pub machine: Machine,
    /// The first thing that went wrong with a stream.
    pub problem: Option<String>,
}

impl Record {
    /// What makes the run a failure, one sentence each; empty if it is none.
    pub fn failures(&self) -> Vec<String> {
        let Delivery { lost, tally, .. } = &self.delivery;
        let counts = [
            (*lost, "deliveries lost"),
            (tally.repeated, "deliveries repeated"),
            (tally.out_of_order, "deliveries out of order"),
            (tally.misnumbered, "deliveries with a wrong offset"),
            (tally.silent, "offsets passed over without a gap frame"),
            (tally.stray, "frames for channels that are not open"),
            (tally.closed, "channels closed by the server"),
            (tally.ended, "streams ended early"),
            (self.publishing.refused, "publishes refused"),
        ];
        let wrong = counts.iter().filter(|(count, _)| *count > 0);
        let mut failures: Vec<String> = wrong.map(|(count, of)| format!("{count} {of}")).collect();
        if !self.settings.idle && tally.deliveries == 0 {
            failures.push("nothing was delivered".to_owned());
        }
        failures.extend(self.scenario.iter().flat_map(Scenario::failures));
        failures.extend(self.problem.clone());
        failures.extend(self.publishing.refusal.as_ref().map(|text| format!("refusal: {text}")));
        failures
    }
}

/// `span` in seconds.
pub fn seconds(span: Span) -> f64 {
    span.as_nanos() as f64 / 1e9
}

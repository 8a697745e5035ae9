//! What is compared, and which figures of it are shown.

/// How a figure is made of those of the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Made {
    Median,
    Sum,
    /// The median of the quotients by this server's figure in the same round.
    Ratio(&'static str),
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    pub title: &'static str,
    pub figure: &'static str,
    pub made: Made,
    pub decimals: usize,
}

const fn column(title: &'static str, figure: &'static str, decimals: usize) -> Column {
    Column { title, figure, made: Made::Median, decimals }
}

const fn sum(title: &'static str, figure: &'static str) -> Column {
    Column { title, figure, made: Made::Sum, decimals: 0 }
}

const fn ratio(title: &'static str, figure: &'static str, to: &'static str) -> Column {
    Column { title, figure, made: Made::Ratio(to), decimals: 2 }
}

/// What a half of a chart shows of each server.
#[derive(Clone, Copy, Debug)]
pub enum Half {
    /// A bar.
    Bar { title: &'static str, figure: &'static str, decimals: usize, log: bool },
    /// A line from the median latency to the 99th percentile.
    Latency,
}

/// A scenario.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub title: &'static str,
    /// In groups, of which several scenarios have one.
    pub columns: &'static [&'static [Column]],
    pub halves: [Half; 2],
}

const DELIVERIES: Column = sum("deliveries", "deliveries");
const LOST: Column = sum("lost", "lost");
const REPEATED: Column = sum("repeated", "repeated");
const DISORDER: Column = sum("out of order", "out_of_order");
const P50: Column = column("p50, ms", "p50", 2);
const P99: Column = column("p99, ms", "p99", 2);
const P99_9: Column = column("p99.9, ms", "p99_9", 2);
const CPU: Column = column("CPU, us a delivery", "cpu", 2);
const TO_EACH: Column = ratio("to floor-each", "cpu", "floor-each");
const TO_BATCH: Column = ratio("to floor-batch", "cpu", "floor-batch");
const BYTES: Column = column("bytes a stream, open", "bytes", 0);
const BYTES_AFTER: Column = column("bytes a stream, at the end", "bytes_after", 0);
const DRIVER: Column = column("driver, cores", "driver_cores", 2);

/// What every run with messages shows.
const DELIVERY: [Column; 9] = [LOST, REPEATED, DISORDER, P50, P99, P99_9, CPU, TO_EACH, TO_BATCH];

/// What most scenarios show.
const FLOW: [&[Column]; 3] =
    [&[DELIVERIES], &DELIVERY, &[BYTES_AFTER, column("streams/s", "opening_rate", 0), DRIVER]];

const HELD: [&[Column]; 1] = [&[
    column("held, messages/s", "published_rate", 0),
    column("held, deliveries/s", "rate", 0),
    ratio("to floor-each", "rate", "floor-each"),
    ratio("to floor-batch", "rate", "floor-batch"),
    LOST,
    REPEATED,
    DISORDER,
    P50,
    P99,
    CPU,
    column("server, cores", "cores", 2),
    DRIVER,
]];

const IDLE: [&[Column]; 1] = [&[
    column("streams", "streams", 0),
    BYTES,
    column("opened/s", "opening_rate", 0),
    column("CPU, us to open one", "opening_cpu", 1),
    ratio("to floor-each", "opening_cpu", "floor-each"),
    column("packets dropped", "packets_dropped", 0),
]];

const TICKS: [&[Column]; 3] = [
    &[DELIVERIES, sum("passed over", "folded")],
    &DELIVERY,
    &[column("server, cores", "cores", 3), DRIVER],
];

const STALLED: [&[Column]; 4] = [
    &[DELIVERIES],
    &DELIVERY,
    &[
        ratio("CPU to ahm-alone", "cpu", "ahm-alone"),
        ratio("p50 to it", "p50", "ahm-alone"),
        ratio("p99 to it", "p99", "ahm-alone"),
    ],
    &[sum("stalled streams", "stalled"), sum("of those dropped", "stalled_dropped"), BYTES_AFTER],
];

const CPU_BAR: Half =
    Half::Bar { title: "server CPU, us a delivery", figure: "cpu", decimals: 2, log: false };

const fn flow(name: &'static str, title: &'static str) -> Scenario {
    Scenario { name, title, columns: &FLOW, halves: [CPU_BAR, Half::Latency] }
}

const fn idle(name: &'static str, title: &'static str) -> Scenario {
    let bytes =
        Half::Bar { title: "bytes of memory a stream", figure: "bytes", decimals: 0, log: true };
    let rate = Half::Bar {
        title: "streams opened a second",
        figure: "opening_rate",
        decimals: 0,
        log: false,
    };
    Scenario { name, title, columns: &IDLE, halves: [bytes, rate] }
}

/// All of them, in the order of the report.
pub const SCENARIOS: [Scenario; 8] = [
    flow("A", "1,000 readers of one topic, 100 messages of 100 bytes a second"),
    Scenario {
        name: "B",
        title: "the same, at the highest rate that was held",
        columns: &HELD,
        halves: [
            Half::Bar { title: "deliveries a second", figure: "rate", decimals: 0, log: true },
            Half::Latency,
        ],
    },
    idle("C-10", "10,000 idle streams"),
    idle("C-19", "19,000 idle streams"),
    flow("D", "100 readers of one topic, 10 messages a second"),
    flow("E", "100 topics, 1,000 readers of 10 each, 1,000 messages a second"),
    Scenario {
        name: "F",
        title: "recorded ticks of a market at their own times, 1,000 readers of all instruments",
        columns: &TICKS,
        halves: [CPU_BAR, Half::Latency],
    },
    Scenario {
        name: "G",
        title: "as A, beside 1,000 readers that read nothing",
        columns: &STALLED,
        halves: [CPU_BAR, Half::Latency],
    },
];

//! Looks at memory while a run goes on: the server's own, and what TCP holds for everybody.

use std::fs::read_to_string;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::base::time::{Instant, Span};
use crate::cli::bench::process::{Memory, kilobytes};
use crate::cli::bench::record::seconds;
use crate::cli::bench::side::Watch;
use crate::reactor::clock::Clock;

/// Samples of a run, about.
const SAMPLES: u64 = 20;
/// The shortest time between two samples.
const INTERVAL_MIN: Span = Span::from_secs(1);

/// What TCP holds on this machine, both ends of every loopback connection included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TcpMemory {
    /// Bytes of queued data, in whole pages, with their overhead.
    pub bytes: u64,
    /// Sockets allocated.
    pub sockets: u64,
    /// Sockets that no process has any more and that still have something to send.
    pub orphans: u64,
}

impl TcpMemory {
    /// The machine's now; nothing where the kernel does not tell.
    pub fn now() -> Self {
        let read = |path| read_to_string(path).unwrap_or_default();
        let page = kilobytes(&read("/proc/self/smaps"), "KernelPageSize:").unwrap_or(4096);
        Self::parse(&read("/proc/net/sockstat"), page).unwrap_or_default()
    }

    fn parse(text: &str, page: u64) -> Option<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix("TCP:"))?;
        let value = |name: &str| {
            let mut words = line.split_ascii_whitespace();
            words.find(|word| *word == name)?;
            words.next()?.parse::<u64>().ok()
        };
        Some(Self {
            bytes: value("mem")? * page,
            sockets: value("alloc")?,
            orphans: value("orphan")?,
        })
    }
}

/// Memory at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Sample {
    /// Seconds since the first message was due.
    pub seconds: f64,
    /// The server's, where its process is known.
    pub server: Option<Memory>,
    /// TCP's.
    pub tcp: TcpMemory,
    /// Stalled streams that the server has dropped so far.
    pub dropped: u64,
}

/// How memory grew from one moment of the run to another. Below zero where it shrank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Growth {
    /// The first moment, in seconds since the first message was due.
    pub from: f64,
    /// The other.
    pub to: f64,
    /// Bytes of the server's resident pages.
    pub rss: i64,
    /// Bytes of its proportional pages.
    pub pss: i64,
    /// Bytes that TCP holds.
    pub tcp: i64,
}

impl Growth {
    /// Between the first of `samples` that was taken `from` or later, and the last one taken `to`
    /// or before.
    pub fn of(samples: &[Sample], from: f64, to: f64) -> Option<Self> {
        let first = samples.iter().find(|sample| sample.seconds >= from)?;
        let last = samples.iter().rfind(|sample| sample.seconds <= to)?;
        let grown = |of: fn(&Sample) -> u64| of(last) as i64 - of(first) as i64;
        (first.seconds < last.seconds).then(|| Self {
            from: first.seconds,
            to: last.seconds,
            rss: grown(|sample| sample.server.map_or(0, |memory| memory.rss)),
            pss: grown(|sample| sample.server.map_or(0, |memory| memory.pss)),
            tcp: grown(|sample| sample.tcp.bytes),
        })
    }
}

/// Takes samples on a thread of its own, so that nobody waits for `/proc`.
#[derive(Clone, Copy, Debug)]
pub struct Sampler<'w> {
    /// The clock of the run.
    pub clock: Clock,
    /// When the first message is due.
    pub start: Instant,
    /// How long messages flow.
    pub span: Span,
    /// The server's process.
    pub pid: Option<u32>,
    /// How the streams beside the running ones fare.
    pub watch: &'w Watch,
}

impl Sampler<'_> {
    /// Takes a sample about every twentieth of the run, and one at the end, when `over` is set.
    pub fn run(self, over: &AtomicBool) -> Vec<Sample> {
        let interval = self.span.fraction(1, SAMPLES).max(INTERVAL_MIN);
        let mut samples = Vec::new();
        let mut due = self.start;
        loop {
            let ended = over.load(Ordering::Acquire);
            let now = self.clock.now();
            if now >= due || ended {
                samples.push(self.sample(now));
                due += interval;
            }
            if ended {
                return samples;
            }
            // Whoever sets `over` ends the wait.
            std::thread::park_timeout(due.since(self.clock.now()).to_std());
        }
    }

    fn sample(&self, now: Instant) -> Sample {
        Sample {
            seconds: seconds(now.since(self.start)),
            server: self.pid.and_then(|pid| Memory::of(pid).ok()),
            tcp: TcpMemory::now(),
            dropped: self.watch.dropped.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_tcp_is_read_and_no_other() {
        let text = "sockets: used 12\nTCP: inuse 1 orphan 2 tw 0 alloc 31 mem 195\nUDP: mem 4\n";
        let memory = TcpMemory::parse(text, 4096).unwrap();
        assert_eq!(memory, TcpMemory { bytes: 195 * 4096, sockets: 31, orphans: 2 });
        assert_eq!(TcpMemory::parse("UDP: inuse 0 mem 0", 4096), None);
    }

    #[test]
    fn growth_is_told_between_two_moments() {
        let sample = |seconds: u32| Sample {
            seconds: f64::from(seconds),
            server: Some(Memory { rss: 100 - u64::from(seconds), pss: 7, private: 0 }),
            tcp: TcpMemory { bytes: u64::from(seconds * seconds), ..TcpMemory::default() },
            dropped: 0,
        };
        let samples: Vec<Sample> = (0..10).map(sample).collect();
        let growth = Growth::of(&samples, 1.5, 5.5).unwrap();
        assert_eq!((growth.from, growth.to), (2.0, 5.0));
        assert_eq!((growth.rss, growth.pss, growth.tcp), (-3, 0, 21));
        assert_eq!(Growth::of(&samples, 5.0, 5.0), None);
        assert_eq!(Growth::of(&[], 0.0, 9.0), None);
    }

    #[test]
    fn this_machine_can_be_read() {
        let _listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(TcpMemory::now().sockets > 0);
    }
}

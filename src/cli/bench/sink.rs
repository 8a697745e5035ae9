//! Where the lines of a document end: in the accounts of the stream they came on.

use std::collections::HashMap;

use hdrhistogram::Histogram;

use crate::base::time::{Instant, Span};
use crate::cli::bench::copies::Pairing;
use crate::cli::bench::frame;
use crate::cli::bench::plan::Plan;
use crate::cli::bench::stamp::{Stamp, addressee};
use crate::cli::bench::tally::{Slot, Tally};
use crate::html::frame::Identity;
use crate::html::scan::{Frame, parse_line};
use crate::reactor::clock::Clock;

/// Messages that may share one look at the clock. A look costs as much as taking a message apart;
/// 32 messages are taken apart in about two microseconds.
const MESSAGES_PER_LOOK: u32 = 32;

/// Latencies above this are shown as this: ten minutes.
const LATENCY_MAX: Span = Span::from_secs(600);

/// A histogram of nanoseconds with three significant digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_MAX.as_nanos(), 3).expect("constant, valid bounds")
}

/// Adds `span` to `histogram`, which then holds it to three digits.
pub fn record(histogram: &mut Histogram<u64>, span: Span) {
    histogram.saturating_record(span.as_nanos().max(1));
}

/// Latencies before, during and after the storm, by when their messages were due.
#[derive(Debug)]
pub struct Split {
    /// The first message due during the storm is due from here on.
    pub cut: Instant,
    /// The last one is due before this: all streams are back.
    pub back: Instant,
    /// Before, during, after.
    pub parts: [Histogram<u64>; 3],
    /// From here on all are cut, and only come back.
    pub returning_from: Instant,
    /// Of those during the storm, the ones due while streams only came back.
    pub returning: Histogram<u64>,
}

impl Split {
    /// A storm that breaks at `cut` and has no end yet.
    pub fn new(cut: Instant) -> Self {
        let (back, returning_from) = (Instant::NEVER, Instant::NEVER);
        let parts = [histogram(), histogram(), histogram()];
        Self { cut, back, parts, returning_from, returning: histogram() }
    }

    fn measure(&mut self, due: Instant, span: Span) {
        let part = usize::from(due >= self.cut) + usize::from(due >= self.back);
        record(&mut self.parts[part], span);
        if due >= self.returning_from && due < self.back {
            record(&mut self.returning, span);
        }
    }
}

/// What is measured over all streams.
#[derive(Debug)]
pub struct Gauge {
    /// Everything that arrived.
    pub tally: Tally,
    /// Time from when a message was due to when its frame was parsed, of measured messages.
    pub latency: Histogram<u64>,
    /// Messages due before this are warm-up.
    pub from: Instant,
    /// In a run with a storm: the same latencies by their part of it.
    pub split: Option<Box<Split>>,
    /// Of the messages since somebody last put [`Instant::NEVER`] here: when the oldest was due.
    pub oldest: Instant,
    /// Of the messages since somebody last put [`Instant::ZERO`] here: when the youngest was due.
    pub youngest: Instant,
    clock: Clock,
    now: Instant,
    looks: u32,
}

impl Gauge {
    /// A gauge that measures nothing yet.
    pub fn new(clock: Clock) -> Self {
        let now = clock.now();
        let from = Instant::NEVER;
        let (oldest, youngest) = (Instant::NEVER, Instant::ZERO);
        let (tally, latency, split) = (Tally::default(), histogram(), None);
        Self { tally, latency, from, split, oldest, youngest, clock, now, looks: 0 }
    }

    /// Bytes have just been read: what they hold arrives now. The moment is returned.
    pub fn look(&mut self) -> Instant {
        self.now = self.clock.now();
        self.looks = 0;
        self.now
    }

    fn measure(&mut self, due: Instant) {
        self.oldest = self.oldest.min(due);
        self.youngest = self.youngest.max(due);
        if due < self.from {
            return;
        }
        self.looks += 1;
        if self.looks > MESSAGES_PER_LOOK {
            self.look();
        }
        let span = self.now.since(due);
        record(&mut self.latency, span);
        if let Some(split) = &mut self.split {
            split.measure(due, span);
        }
    }
}

/// Topics by channel number. Shared topics have the same number on every stream, so this finds a
/// channel at once on streams that have many.
pub type Topics = HashMap<u32, usize>;

/// The accounts of one stream, open for the lines of one read.
#[derive(Debug)]
pub struct Sink<'s> {
    /// The run.
    pub plan: &'s Plan,
    /// The number of the stream.
    pub stream: usize,
    /// One slot for each of its channels.
    pub slots: &'s mut [Slot],
    /// Where its subscriber has another stream: what both came to.
    pub pairing: Option<Pairing<'s>>,
    /// The channel that is likely to be next.
    pub hint: &'s mut u32,
    /// Channels that are open.
    pub open: &'s mut u32,
    /// Names its session in a target, once the server has told it.
    pub session: &'s mut Option<Box<str>>,
    /// Shared by all streams.
    pub topics: &'s mut Topics,
    /// Shared by all streams.
    pub gauge: &'s mut Gauge,
    /// The first thing that cannot be gone on with.
    pub problem: Option<String>,
}

impl Sink<'_> {
    /// Takes one line without its LF.
    pub fn line(&mut self, line: &[u8]) {
        if let Some(message) = frame::message(line) {
            self.message(message.cid, message.n, message.payload);
            return;
        }
        match parse_line(line) {
            Ok(Some(frame)) => self.frame(frame),
            Ok(None) => {}
            Err(error) => self.fail(|| {
                let line = String::from_utf8_lossy(&line[..line.len().min(120)]);
                format!("not a frame: {error:?}: {line}")
            }),
        }
    }

    /// Takes a message of a server that numbers nothing: the payload says the topic, and the
    /// publisher's own number stands for the offset.
    pub fn payload(&mut self, payload: &[u8]) {
        let stamp = Stamp::parse(payload).filter(|stamp| stamp.run == self.plan.run);
        let (Some(stamp), Some(topic)) = (stamp, addressee(payload)) else {
            self.gauge.tally.foreign += 1;
            return;
        };
        let known = topic < self.plan.topics && *self.open > 0;
        let at = self.plan.channel(self.stream, topic).filter(|_| known);
        let Some(at) = at else {
            self.gauge.tally.stray += 1;
            return;
        };
        let Gauge { tally, .. } = self.gauge;
        self.slots[at].message(stamp.seq, stamp.seq, self.plan.mode, tally);
        if stamp.seq > 0 {
            self.gauge.measure(stamp.due);
        }
    }

    /// All topics of the stream are subscribed to, on a server that does not say so of each.
    pub fn subscribed(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.opened(1, 0, 0));
        *self.open = self.slots.len() as u32;
    }

    fn frame(&mut self, frame: Frame<'_>) {
        match frame {
            Frame::Message { c, n, payload, .. } => self.message(c.0, n.0, &payload),
            Frame::Identity { identity: Identity { scs, mid, key: Some(key), .. }, .. } => {
                *self.session = Some(format!("mid={mid}&scs={scs}&k={key}").into());
            }
            Frame::Opened { c, name, ep, n, .. } => self.opened(c.0, name.as_str(), ep.0, n.0),
            Frame::Gap { c, n, .. } => self.gap(c.0, n.0),
            Frame::Closed { c, e, .. } => {
                self.gauge.tally.closed += 1;
                self.fail(|| format!("the server closed channel {c}: {e:?}"));
            }
            Frame::Refused { name, e, .. } => {
                self.fail(|| format!("the server did not open {}: {e:?}", name.as_str()));
            }
            Frame::End { e, .. } => self.fail(|| format!("the server ended the document: {e:?}")),
            Frame::Heartbeat { .. } => self.gauge.tally.heartbeats += 1,
            _ => {}
        }
    }

    /// What comes next on a channel is after `n`.
    pub(crate) fn gap(&mut self, cid: u32, n: u64) {
        match self.slot(cid) {
            Some(at) => self.slots[at].gap(n, &mut self.gauge.tally),
            None => self.gauge.tally.stray += 1,
        }
    }

    /// A message of a channel, with its offset.
    pub(crate) fn message(&mut self, cid: u32, n: u64, payload: &[u8]) {
        let Some(at) = self.slot(cid) else {
            self.gauge.tally.stray += 1;
            return;
        };
        let tally = &mut self.gauge.tally;
        let slot = &mut self.slots[at];
        match Stamp::parse(payload).filter(|stamp| stamp.run == self.plan.run) {
            Some(stamp) => {
                slot.message(n, stamp.seq, self.plan.mode, tally);
                let pairing = self.pairing.as_mut();
                let first = pairing.is_none_or(|pairing| pairing.message(at, n, stamp.seq));
                if stamp.seq > 0 && first {
                    self.gauge.measure(stamp.due);
                }
            }
            None => slot.foreign(n, tally),
        }
    }

    /// A channel is open: its messages come after `n`.
    pub(crate) fn opened(&mut self, cid: u32, name: &str, epoch: u64, n: u64) {
        let topic = self.plan.named(name);
        let Some(at) = topic.and_then(|topic| self.plan.channel(self.stream, topic)) else {
            self.fail(|| format!("the server opened {name}, which was not asked for"));
            return;
        };
        if !self.slots[at].open {
            *self.open += 1;
        }
        self.slots[at].opened(cid, epoch, n);
        let pairing = self.pairing.as_mut();
        if !pairing.is_none_or(|pairing| pairing.opened(at, epoch, n)) {
            self.fail(|| format!("the two servers do not number {name} alike"));
        }
        self.topics.extend(topic.map(|topic| (cid, topic)));
    }

    /// The channel `cid` of this stream. Messages of one topic come in a row, and topics in turn.
    fn slot(&mut self, cid: u32) -> Option<usize> {
        let hint = *self.hint as usize;
        let next = if hint + 1 < self.slots.len() { hint + 1 } else { 0 };
        let is = |at: &usize| self.slots[*at].cid == cid;
        let known = || self.plan.channel(self.stream, *self.topics.get(&cid)?);
        let at = Some(hint)
            .filter(is)
            .or_else(|| Some(next).filter(is))
            .or_else(|| known().filter(is))
            .or_else(|| self.slots.iter().position(|slot| slot.cid == cid))?;
        *self.hint = at as u32;
        (cid != 0).then_some(at)
    }

    fn fail(&mut self, what: impl FnOnce() -> String) {
        if self.problem.is_none() {
            self.problem = Some(what());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::Args;
    use crate::cli::bench::copies::Copies;

    /// What stream 1 of three topics, two each (t2 and t0), makes of `lines`.
    fn taken(lines: &[&str]) -> (Tally, u32, Option<String>) {
        let (topics, idle) = (3, true);
        let args = Args { topics, topics_per_subscriber: 2, idle, ..Args::default() };
        let plan = Plan::new(&args, 0xab).unwrap();
        let mut gauge = Gauge::new(Clock::start());
        let (mut hint, mut open, mut topics) = (0, 0, Topics::new());
        let mut session = None;
        let mut sink = Sink {
            session: &mut session,
            pairing: None,
            plan: &plan,
            stream: 1,
            slots: &mut [Slot::default(); 2],
            hint: &mut hint,
            open: &mut open,
            topics: &mut topics,
            gauge: &mut gauge,
            problem: None,
        };
        lines.iter().for_each(|line| sink.line(line.as_bytes()));
        let problem = sink.problem;
        (gauge.tally, open, problem)
    }

    #[test]
    fn the_second_copy_of_a_message_is_dropped_whichever_stream_brings_it() {
        let url = Some("http://127.0.0.1:1".to_owned());
        let (private, dup, dup_private) = (url.clone(), url.clone(), url);
        let args = Args { subscribers: 1, private, dup, dup_private, ..Args::default() };
        let plan = Plan::new(&args, 0xab).unwrap();
        let (mut gauge, mut copies) = (Gauge::new(Clock::start()), Copies::new(&plan));
        gauge.from = Instant::ZERO;
        let mut slots = [Slot::default(); 2];
        let mut problems = Vec::new();
        for (stream, line) in [
            (0, "<p o c=7 u=bench/t0 ep=1 n=1 head=1>"),
            (1, "<p o c=9 u=bench/t0 ep=1 n=1 head=1>"),
            (0, "<p c=7 n=2>0000000000000001 0000000001 00ab"),
            (1, "<p c=9 n=2>0000000000000001 0000000001 00ab"),
            (1, "<p c=9 n=3>0000000000000002 0000000002 00ab"),
            (1, "<p c=9 n=4>0000000000000003 0000000003 00ab"),
            (0, "<p c=7 n=3>0000000000000002 0000000002 00ab"),
            (1, "<p o c=9 u=bench/t0 ep=2 n=1 head=1>"),
        ] {
            let mut sink = Sink {
                plan: &plan,
                stream,
                slots: &mut slots[stream..=stream],
                pairing: copies.of(plan.reader(stream), plan.per),
                session: &mut None,
                hint: &mut 0,
                open: &mut 0,
                topics: &mut Topics::new(),
                gauge: &mut gauge,
                problem: None,
            };
            sink.line(line.as_bytes());
            problems.extend(sink.problem);
        }
        assert_eq!((copies.tally.unique, copies.tally.repeated, gauge.latency.len()), (3, 2, 3));
        assert_eq!((gauge.tally.unique, gauge.tally.repeated), (5, 0));
        assert_eq!(problems, ["the two servers do not number bench/t0 alike"]);
    }

    #[test]
    fn latencies_are_split_by_when_their_messages_were_due() {
        let mut gauge = Gauge::new(Clock::start());
        let at = Instant::from_nanos;
        (gauge.from, gauge.split) = (at(10), Some(Box::new(Split::new(at(20)))));
        [5, 15, 25, 35].into_iter().for_each(|due| gauge.measure(at(due)));
        let split = gauge.split.as_mut().unwrap();
        (split.back, split.returning_from) = (at(40), at(39));
        [39, 40, 41].into_iter().for_each(|due| gauge.measure(at(due)));
        let split = gauge.split.unwrap();
        assert_eq!(split.parts.each_ref().map(Histogram::len), [1, 3, 2]);
        assert_eq!(split.returning.len(), 1);
        assert_eq!((gauge.oldest, gauge.youngest), (at(5), at(41)));
    }

    #[test]
    fn messages_of_servers_without_offsets_are_counted_by_the_publishers_numbers() {
        let args = Args { topics: 3, topics_per_subscriber: 2, idle: true, ..Args::default() };
        let plan = Plan::new(&args, 0xab).unwrap();
        let mut gauge = Gauge::new(Clock::start());
        let mut sink = Sink {
            session: &mut None,
            pairing: None,
            plan: &plan,
            stream: 1,
            slots: &mut [Slot::default(); 2],
            hint: &mut 0,
            open: &mut 0,
            topics: &mut Topics::new(),
            gauge: &mut gauge,
            problem: None,
        };
        sink.payload(b"0000000000000001 0000000001 00ab 0002.");
        sink.subscribed();
        assert_eq!(*sink.open, 2);
        for (seq, run, topic) in
            [(0, "ab", 2), (1, "ab", 2), (1, "ab", 0), (3, "ab", 2), (3, "ab", 2), (4, "ac", 2)]
        {
            sink.payload(format!("0000000000000001 {seq:010x} 00{run} {topic:04x}.").as_bytes());
        }
        sink.payload(b"0000000000000001 0000000001 00ab 0001.");
        sink.payload(b"0000000000000001 0000000001 00ab 00ff.");
        let (deliveries, unique, repeated, silent) = (4, 3, 1, 1);
        let (foreign, stray) = (1, 3);
        let wanted =
            Tally { deliveries, unique, repeated, silent, foreign, stray, ..Tally::default() };
        assert_eq!(gauge.tally, wanted);
    }

    const OPENED: [&str; 4] = [
        "<!doctype html><meta charset=utf-8><title>mux</title><body>",
        "<p i scs=a mid=77 d=1 h=15000 r=240000 v=1>",
        "<p o c=1048577 u=bench/t2 ep=1 n=4 head=4>",
        "<p o c=1048578 u=bench/t0 ep=1 n=9 head=9>",
    ];

    fn taken_open(lines: &[&str]) -> (Tally, Option<String>) {
        let (tally, open, problem) = taken(&[&OPENED[..], lines].concat());
        assert_eq!(open, 2);
        (tally, problem)
    }

    #[test]
    fn messages_of_both_channels_are_counted_in_any_turn() {
        let (tally, problem) = taken_open(&[
            "<p c=1048577 n=5>0000000000000001 0000000001 00ab",
            "<p c=1048577 n=6>0000000000000001 0000000002 00ab....",
            "<p h=15000 t=1>",
            "<p c=1048578 n=10 s>0000000000000001 0000000001 00ab",
            "<p c=1048577 n=7 later=1>0000000000000001 0000000003 00ab",
            "<p g c=1048578 ep=1 n=11 m=1>",
            "<p c=1048578 n=12>0000000000000001 0000000003 00ab",
            "<p y>[]",
        ]);
        assert_eq!(problem, None);
        let (heartbeats, gap_frames, gap_messages) = (1, 1, 1);
        let rest = Tally { heartbeats, gap_frames, gap_messages, ..Tally::default() };
        assert_eq!(tally, Tally { deliveries: 5, unique: 5, ..rest });
    }

    #[test]
    fn messages_of_other_runs_and_of_others_are_foreign() {
        let (tally, problem) = taken_open(&[
            "<p c=1048577 n=5>0000000000000001 0000000001 00ac",
            "<p c=1048577 n=6>hello",
            "<p c=1048577 n=7 b>AAAA",
            "<p c=1048577 n=8>0000000000000001 0000000001 00ab",
        ]);
        assert_eq!((tally.foreign, tally.deliveries, tally.misnumbered), (3, 1, 0));
        assert_eq!(problem, None);
    }

    #[test]
    fn frames_of_no_channel_are_stray() {
        let lines = ["<p c=1048579 n=5>x", "<p g c=3 ep=1 n=4>", "<p c=0 n=5>x"];
        assert_eq!(taken_open(&lines).0.stray, 3);
        let (tally, open, _) = taken(&["<p c=0 n=5>x", "<p c=1048577 n=5>x"]);
        assert_eq!((tally.stray, open), (2, 0));
    }

    #[test]
    fn what_ends_a_stream_is_its_problem() {
        let problem = |line| taken_open(&[line]).1.unwrap_or_default();
        assert!(problem("<p x c=1048577 e=denied>").contains("closed channel 1048577"));
        assert!(problem("<p x c=7 u=bench/t0 e=denied>").contains("did not open bench/t0"));
        assert!(problem("<p z e=shutdown>").contains("ended the document"));
        assert!(problem("no frame").contains("no frame"));
        assert!(problem("<p o c=1048579 u=bench/t1 ep=1 n=4 head=4>").contains("bench/t1"));
    }
}

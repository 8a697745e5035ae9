//! The accounts: what each subscriber got of each topic, and what was wrong with it.

use serde::Serialize;

use crate::base::id::Epoch;

/// What the subscribers ask of the server when they fall behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Every message.
    Queue,
    /// The newest message; the ones between may be passed over.
    Latest,
}

/// Counts over all subscribers, from the first message to the last, warm-up included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Messages that arrived, repeated ones included.
    pub deliveries: u64,
    /// Messages that arrived for the first time on their subscriber and topic.
    pub unique: u64,
    /// Messages that had arrived before.
    pub repeated: u64,
    /// Messages that arrived after a later one.
    pub out_of_order: u64,
    /// Messages whose offset does not go with their place in the publisher's sequence.
    pub misnumbered: u64,
    /// Offsets passed over in mode `queue` without a gap frame.
    pub silent: u64,
    /// Offsets passed over in mode `latest`.
    pub folded: u64,
    /// Gap frames that declared something missing.
    pub gap_frames: u64,
    /// Messages that gap frames declared missing.
    pub gap_messages: u64,
    /// Messages of somebody else on the same topics.
    pub foreign: u64,
    /// Frames for a channel that was never opened on their stream.
    pub stray: u64,
    /// Channels that the server closed.
    pub closed: u64,
    /// Streams that ended before the run did.
    pub ended: u64,
    /// Heartbeat frames.
    pub heartbeats: u64,
}

/// One subscriber's place in one topic.
#[derive(Clone, Copy, Debug, Default)]
pub struct Slot {
    /// The channel's number on this stream; 0 until it is open.
    pub cid: u32,
    /// Whether it is open on the present document.
    pub open: bool,
    /// The epoch of its offsets.
    epoch: u64,
    /// Highest offset seen, at first the one that the opened frame names.
    pub last_n: u64,
    /// A gap frame declared everything up to here missing.
    gap_to: u64,
    /// Highest sequence number seen.
    pub last_seq: u64,
    /// Bit `i`: the message `last_seq - i` has arrived.
    seen: u64,
    /// Different messages that arrived.
    pub unique: u64,
}

impl Slot {
    /// Notes an opened frame: the channel `cid` goes on after offset `n` of `epoch`. On a document
    /// that resumes, what came before still counts: an offset that it passes over is missing.
    pub fn opened(&mut self, cid: u32, epoch: u64, n: u64) {
        let resumed = self.cid != 0 && self.epoch == epoch;
        (self.cid, self.epoch, self.open) = (cid, epoch, true);
        if resumed {
            return;
        }
        self.last_n = n;
        self.gap_to = n;
    }

    /// Whether its offsets are of `epoch`.
    pub fn is_of(&self, epoch: u64) -> bool {
        self.epoch == epoch
    }

    /// Where the reader stands, as `CID:EP:N`: everything up to there has come or was declared
    /// missing. `None` if it was never open.
    pub fn position(&self) -> Option<String> {
        let n = self.last_n.max(self.gap_to);
        (self.cid != 0).then(|| format!("{}:{}:{n}", self.cid, Epoch(self.epoch)))
    }

    /// Notes a gap frame: the next message is after `n`.
    pub fn gap(&mut self, n: u64, tally: &mut Tally) {
        let known = self.last_n.max(self.gap_to);
        if n > known {
            tally.gap_frames += 1;
            // Nobody misses what was there before the run's first message.
            tally.gap_messages += if self.last_seq > 0 { n - known } else { 0 };
            self.gap_to = n;
        }
    }

    /// Notes a message that is not of this run: only its offset counts.
    pub fn foreign(&mut self, n: u64, tally: &mut Tally) {
        tally.foreign += 1;
        self.last_n = self.last_n.max(n);
    }

    /// Notes the message `seq` of this run at offset `n`.
    ///
    /// Order and repetition are judged by the publisher's sequence, which no server can touch;
    /// the offsets must then agree with it.
    pub fn message(&mut self, n: u64, seq: u64, mode: Mode, tally: &mut Tally) {
        if seq == 0 {
            // The message that created the topic, shown as a snapshot or as history.
            self.last_n = self.last_n.max(n);
            return;
        }
        tally.deliveries += 1;
        if seq > self.last_seq {
            self.forward(n, seq, mode, tally);
        } else {
            self.backward(n, seq, mode, tally);
        }
    }

    fn forward(&mut self, n: u64, seq: u64, mode: Mode, tally: &mut Tally) {
        let step = seq - self.last_seq;
        if n <= self.last_n || n - self.last_n > step {
            tally.misnumbered += 1;
        }
        let passed = n.saturating_sub(1).saturating_sub(self.last_n.max(self.gap_to));
        match mode {
            Mode::Queue => tally.silent += passed,
            Mode::Latest => tally.folded += passed,
        }
        self.seen = if step < 64 { self.seen << step | 1 } else { 1 };
        self.last_seq = seq;
        self.last_n = self.last_n.max(n);
        self.unique += 1;
        tally.unique += 1;
    }

    fn backward(&mut self, n: u64, seq: u64, mode: Mode, tally: &mut Tally) {
        let back = self.last_seq - seq;
        if back >= 64 || self.seen >> back & 1 == 1 {
            tally.repeated += 1;
            return;
        }
        self.seen |= 1 << back;
        self.unique += 1;
        tally.unique += 1;
        tally.out_of_order += 1;
        if n < self.last_n && mode == Mode::Queue {
            // It was taken for lost when the later one came.
            tally.silent = tally.silent.saturating_sub(1);
        }
        self.last_n = self.last_n.max(n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds (offset, sequence number) pairs to a slot opened after offset 10.
    fn fed(mode: Mode, messages: &[(u64, u64)]) -> (Slot, Tally) {
        let mut slot = Slot::default();
        let mut tally = Tally::default();
        slot.opened(7, 35, 10);
        for (n, seq) in messages {
            slot.message(*n, *seq, mode, &mut tally);
        }
        (slot, tally)
    }

    #[test]
    fn a_clean_run_has_nothing_to_report() {
        let (slot, tally) = fed(Mode::Queue, &[(10, 0), (11, 1), (12, 2), (13, 3)]);
        assert_eq!(tally, Tally { deliveries: 3, unique: 3, ..Tally::default() });
        assert_eq!((slot.unique, slot.last_seq, slot.last_n), (3, 3, 13));
    }

    #[test]
    fn a_missing_message_is_silent_unless_a_gap_frame_declares_it() {
        let (_, tally) = fed(Mode::Queue, &[(11, 1), (13, 3)]);
        assert_eq!((tally.silent, tally.unique, tally.misnumbered), (1, 2, 0));
        let (mut slot, mut tally) = fed(Mode::Queue, &[(11, 1)]);
        slot.gap(12, &mut tally);
        slot.gap(12, &mut tally);
        slot.message(13, 3, Mode::Queue, &mut tally);
        assert_eq!((tally.silent, tally.gap_frames, tally.gap_messages), (0, 1, 1));
    }

    #[test]
    fn a_reader_that_comes_back_is_owed_what_it_had_not() {
        let (mut slot, mut tally) = fed(Mode::Queue, &[(11, 1), (12, 2)]);
        assert_eq!(slot.position().as_deref(), Some("7:z:12"));
        slot.open = false;
        slot.opened(7, 35, 13);
        assert!(slot.open);
        slot.message(12, 2, Mode::Queue, &mut tally);
        slot.message(14, 4, Mode::Queue, &mut tally);
        assert_eq!((tally.silent, tally.repeated, tally.unique), (1, 1, 3));
        // The offsets of another epoch say nothing about the ones before.
        slot.opened(7, 36, 100);
        assert_eq!(slot.position().as_deref(), Some("7:10:100"));
        assert_eq!(Slot::default().position(), None);
    }

    #[test]
    fn latest_may_pass_over_messages() {
        let (_, tally) = fed(Mode::Latest, &[(11, 1), (19, 9)]);
        assert_eq!((tally.folded, tally.silent, tally.misnumbered), (7, 0, 0));
    }

    #[test]
    fn repeated_and_late_messages_are_told_apart() {
        let (_, tally) = fed(Mode::Queue, &[(11, 1), (13, 3), (12, 2), (12, 2), (14, 4)]);
        assert_eq!((tally.out_of_order, tally.repeated, tally.silent), (1, 1, 0));
        assert_eq!((tally.deliveries, tally.unique), (5, 4));
    }

    #[test]
    fn payloads_in_the_wrong_order_under_good_offsets_are_found() {
        let (_, tally) = fed(Mode::Queue, &[(11, 1), (12, 3), (13, 2), (14, 4)]);
        assert_eq!((tally.out_of_order, tally.unique), (1, 4));
    }

    #[test]
    fn offsets_that_no_message_has_used_are_found() {
        let (_, tally) = fed(Mode::Queue, &[(11, 1), (13, 2)]);
        assert_eq!(tally.misnumbered, 1);
        let (_, tally) = fed(Mode::Queue, &[(11, 1), (11, 2)]);
        assert_eq!(tally.misnumbered, 1);
    }

    #[test]
    fn messages_of_others_move_the_offset_only() {
        let (mut slot, mut tally) = fed(Mode::Queue, &[(11, 1)]);
        slot.foreign(12, &mut tally);
        slot.message(13, 2, Mode::Queue, &mut tally);
        assert_eq!((tally.foreign, tally.silent, tally.misnumbered), (1, 0, 0));
    }
}

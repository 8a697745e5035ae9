//! What one shard has counted since its start.

use crate::base::reason::CloseReason;

/// Counters of one shard; every drop is here under its reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections closed, in the order of [`CloseReason::ALL`].
    pub closed: [u64; CloseReason::ALL.len()],
    /// Sessions begun.
    pub sessions: u64,
    /// Sessions that ended because no document came within the linger time.
    pub sessions_expired: u64,
    /// Documents begun.
    pub documents: u64,
    /// Messages published at this home.
    pub published: u64,
    /// Messages written into documents.
    pub delivered: u64,
    /// Messages passed over by `latest` and `rate`.
    pub folded: u64,
    /// Gaps declared to readers.
    pub gaps: u64,
    /// Runs dropped because all histories together were too large.
    pub histories_cut: u64,
    /// Numbered sends passed to resources.
    pub sends_taken: u64,
    /// Numbers of sends that were given up.
    pub sends_skipped: u64,
    /// Replies of a resource that no private channel could carry.
    pub replies_dropped: u64,
}

impl Stats {
    /// Counts a closed connection.
    pub fn count_close(&mut self, reason: CloseReason) {
        self.closed[reason as usize] += 1;
    }

    /// Adds another shard's counts.
    pub fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        for (mine, theirs) in self.closed.iter_mut().zip(other.closed) {
            *mine += theirs;
        }
        self.sessions += other.sessions;
        self.sessions_expired += other.sessions_expired;
        self.documents += other.documents;
        self.published += other.published;
        self.delivered += other.delivered;
        self.folded += other.folded;
        self.gaps += other.gaps;
        self.histories_cut += other.histories_cut;
        self.sends_taken += other.sends_taken;
        self.sends_skipped += other.sends_skipped;
        self.replies_dropped += other.replies_dropped;
    }
}

impl std::fmt::Display for Stats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "accepted={} sessions={} sessions_expired={} documents={} published={} delivered={} \
             folded={} gaps={} histories_cut={} sends_taken={} sends_skipped={} replies_dropped={}",
            self.accepted,
            self.sessions,
            self.sessions_expired,
            self.documents,
            self.published,
            self.delivered,
            self.folded,
            self.gaps,
            self.histories_cut,
            self.sends_taken,
            self.sends_skipped,
            self.replies_dropped
        )?;
        for (reason, count) in CloseReason::ALL.iter().zip(self.closed) {
            if count > 0 {
                write!(f, " closed_{}={count}", reason.word())?;
            }
        }
        Ok(())
    }
}

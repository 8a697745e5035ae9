//! What one shard has counted since its start.

use crate::auth::verdict;
use crate::base::reason::CloseReason;
use crate::proto::access::Refusals;
use crate::proto::limiting::Met;
use crate::proto::private::PrivateCounts;
use crate::proto::seal_counts::Counts as SealCounts;
use crate::relay::counts::Counts;

/// Counters of one shard; every drop is here under its reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections on which TLS was set up.
    pub handshakes: u64,
    /// Connections on which that has failed.
    pub handshakes_failed: u64,
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
    /// Numbered sends that no instance of a resource was there to take.
    pub sends_lost: u64,
    /// Numbers of sends that were given up.
    pub sends_skipped: u64,
    /// Replies of a resource that no private channel could carry.
    pub replies_dropped: u64,
    /// Documents that ended because another took their place.
    pub documents_refreshed: u64,
    /// Documents that were dropped because their socket made no progress, or their client was not
    /// heard.
    pub documents_stale: u64,
    /// Clients that were not heard for `warn_intervals`, where that is demanded.
    pub clients_quiet: u64,
    /// Clients that were not heard for `drop_intervals` and lost their documents.
    pub clients_dropped: u64,
    /// Strict channels that ended because history had moved past them.
    pub overruns: u64,
    /// Sessions, documents and pings that were refused because the server drains or stops.
    pub drain_refused: u64,
    /// Documents that were dropped because all stalled ones together held too much.
    pub stalled_cut: u64,
    /// The most that stalled documents ever held of what a socket would not take, in bytes.
    pub stalled_bytes_peak: u64,
    /// Turns of a shard that took longer than the bounds of their steps add up to; whoever drives
    /// the hub knows of it, as of the next.
    pub turns_long: u64,
    /// The longest turn of any shard, in microseconds.
    pub turn_longest_us: u64,
    /// What has happened to sealed sessions.
    pub seal: SealCounts,
    /// How often limits against abuse were met.
    pub met: Met,
    /// What happened at the private listener.
    pub private: PrivateCounts,
    /// What became of relayed requests; the hub gives it out by itself.
    pub relay: Counts,
    /// What became of those who had to prove who they are; likewise.
    pub auth: verdict::Counts,
    /// What access lists have refused.
    pub access: Refusals,
}

impl Stats {
    /// Counts a closed connection.
    pub fn count_close(&mut self, reason: CloseReason) {
        self.closed[reason as usize] += 1;
    }

    /// Counts a document that has ended, where the reason is one of ours.
    pub fn count_document(&mut self, reason: CloseReason) {
        match reason {
            CloseReason::Refreshed => self.documents_refreshed += 1,
            CloseReason::Stale => self.documents_stale += 1,
            _ => {}
        }
    }

    /// Adds another shard's counts.
    pub fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.handshakes += other.handshakes;
        self.handshakes_failed += other.handshakes_failed;
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
        self.sends_lost += other.sends_lost;
        self.sends_skipped += other.sends_skipped;
        self.replies_dropped += other.replies_dropped;
        self.documents_refreshed += other.documents_refreshed;
        self.documents_stale += other.documents_stale;
        self.clients_quiet += other.clients_quiet;
        self.clients_dropped += other.clients_dropped;
        self.overruns += other.overruns;
        self.drain_refused += other.drain_refused;
        self.stalled_cut += other.stalled_cut;
        self.stalled_bytes_peak += other.stalled_bytes_peak;
        self.turns_long += other.turns_long;
        self.turn_longest_us = self.turn_longest_us.max(other.turn_longest_us);
        self.seal.add(&other.seal);
        self.met.add(&other.met);
        self.private.add(&other.private);
        self.relay.add(&other.relay);
        self.auth.add(&other.auth);
        self.access.add(&other.access);
    }
}

/// How a figure is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It grows by one with each event, or with each byte.
    Count,
    /// It is the highest value so far.
    Peak,
}

impl Stats {
    /// Every figure with its name, closed connections left out.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64, Kind)> {
        let counts = [
            ("accepted", self.accepted),
            ("tls_handshakes", self.handshakes),
            ("tls_handshakes_failed", self.handshakes_failed),
            ("sessions_begun", self.sessions),
            ("sessions_expired", self.sessions_expired),
            ("documents_begun", self.documents),
            ("published", self.published),
            ("delivered", self.delivered),
            ("folded", self.folded),
            ("gaps", self.gaps),
            ("histories_cut", self.histories_cut),
            ("sends_taken", self.sends_taken),
            ("sends_lost", self.sends_lost),
            ("sends_skipped", self.sends_skipped),
            ("replies_dropped", self.replies_dropped),
            ("documents_refreshed", self.documents_refreshed),
            ("documents_stale", self.documents_stale),
            ("clients_quiet", self.clients_quiet),
            ("clients_dropped", self.clients_dropped),
            ("overruns", self.overruns),
            ("drain_refused", self.drain_refused),
            ("stalled_cut", self.stalled_cut),
            ("turns_long", self.turns_long),
        ];
        let peaks = [
            ("stalled_bytes_peak", self.stalled_bytes_peak),
            ("turn_longest_us", self.turn_longest_us),
        ];
        let counts = counts.into_iter().chain(self.met.named()).chain(self.private.named());
        let counts = counts.chain(self.access.named()).chain(self.relay.named());
        let counts = counts.chain(self.auth.named()).chain(self.seal.named());
        let counts = counts.map(|(name, value)| (name, value, Kind::Count));
        counts.chain(peaks.map(|(name, value)| (name, value, Kind::Peak)))
    }
}

/// Figures that are told even where they are 0.
const ALWAYS: [&str; 7] = [
    "accepted",
    "sessions_begun",
    "documents_begun",
    "published",
    "delivered",
    "turn_longest_us",
    "turns_long",
];

impl std::fmt::Display for Stats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut gap = "";
        for (name, value, _) in self.named() {
            if value > 0 || ALWAYS.contains(&name) {
                write!(f, "{gap}{name}={value}")?;
                gap = " ";
            }
        }
        for (reason, count) in CloseReason::ALL.iter().zip(self.closed) {
            if count > 0 {
                write!(f, " closed_{}={count}", reason.word())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_told_and_what_did_not_is_left_out() {
        let mut stats = Stats { clients_dropped: 2, ..Stats::default() };
        stats.count_close(CloseReason::Stale);
        let other = Stats { turn_longest_us: 7, turns_long: 1, ..Stats::default() };
        stats.add(&Stats { clients_dropped: 1, overruns: 5, ..other.clone() });
        stats.add(&Stats { turn_longest_us: 3, ..other });
        let told = stats.to_string();
        let wanted = "accepted=0 sessions_begun=0 documents_begun=0 published=0 delivered=0 \
            clients_dropped=3 overruns=5 turns_long=2 turn_longest_us=7 closed_stale=1";
        assert_eq!(told, wanted);
    }
}

//! `GET /metrics` on the private listener: what all shards have counted, in the text format that
//! Prometheus reads (its "exposition format", version 0.0.4).

use std::fmt;

use crate::base::reason::CloseReason;
use crate::proto::answer::{Answer, Content};
use crate::proto::exchange::Gather;
use crate::proto::hub::Hub;
use crate::proto::parcel::{Parcel, ReplyTo};
use crate::proto::stats::{Kind, Stats};

/// What a shard, or all of them together, have counted, and what they hold at present.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Since the start.
    pub stats: Stats,
    /// Connections of clients and publishers.
    pub connections: u64,
    /// Sessions.
    pub sessions: u64,
    /// Documents.
    pub documents: u64,
    /// Topics, on each shard that reads them.
    pub topics: u64,
    /// Bytes of all histories.
    pub history_bytes: u64,
    /// Requests that are being relayed.
    pub relayed: u64,
    /// Connections to web servers.
    pub upstreams: u64,
}

impl Counted {
    /// Adds another shard's.
    pub fn add(&mut self, other: &Self) {
        self.stats.add(&other.stats);
        self.connections += other.connections;
        self.sessions += other.sessions;
        self.documents += other.documents;
        self.topics += other.topics;
        self.history_bytes += other.history_bytes;
        self.relayed += other.relayed;
        self.upstreams += other.upstreams;
    }
}

/// The text for Prometheus.
///
/// ```
/// use ahm::proto::metrics::Counted;
/// let text = Counted { sessions: 7, ..Counted::default() }.to_string();
/// assert!(text.contains("# TYPE ahm_sessions gauge\nahm_sessions 7\n"));
/// assert!(text.contains("# TYPE ahm_published_total counter\nahm_published_total 0\n"));
/// ```
impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in [
            ("connections", self.connections),
            ("sessions", self.sessions),
            ("documents", self.documents),
            ("topics", self.topics),
            ("history_bytes", self.history_bytes),
            ("relay_requests", self.relayed),
            ("relay_connections", self.upstreams),
        ] {
            writeln!(f, "# TYPE ahm_{name} gauge\nahm_{name} {value}")?;
        }
        for (name, value, kind) in self.stats.named() {
            match kind {
                Kind::Count => {
                    writeln!(f, "# TYPE ahm_{name}_total counter\nahm_{name}_total {value}")?;
                }
                Kind::Peak => writeln!(f, "# TYPE ahm_{name} gauge\nahm_{name} {value}")?,
            }
        }
        writeln!(f, "# TYPE ahm_connections_closed_total counter")?;
        for (reason, value) in CloseReason::ALL.iter().zip(self.stats.closed) {
            let reason = reason.word();
            writeln!(f, "ahm_connections_closed_total{{reason=\"{reason}\"}} {value}")?;
        }
        Ok(())
    }
}

impl Hub {
    /// Asks all shards what they have counted; the answer comes when all have said it.
    pub(crate) fn serve_metrics(&mut self, reply: ReplyTo) {
        let Some(connection) = self.conns.get_mut(reply.conn) else { return };
        let shards = self.shards;
        connection.exchanges().gather(reply.exchange, Gather::Metrics, usize::from(shards));
        for index in 0..shards {
            let part = ReplyTo { part: Some(u32::from(index)), ..reply };
            self.post(crate::base::id::ShardId(index), Parcel::Metrics(part));
        }
    }

    /// Somebody asks what this shard has counted.
    pub(crate) fn tell_metrics(&mut self, reply: ReplyTo) {
        let counted = Box::new(self.counted());
        self.give(reply, Answer { status: 200, content: Content::Counted(counted), field: None });
    }

    /// What was counted here, by those as well who count for themselves.
    pub fn all_stats(&self) -> Stats {
        let (relay, auth) = (self.relay_counts(), self.auth_counts());
        Stats { relay, auth, ..self.stats.clone() }
    }

    fn counted(&self) -> Counted {
        let relay = self.relay.as_ref();
        Counted {
            stats: self.all_stats(),
            connections: self.conns.len() as u64,
            sessions: self.sessions.len() as u64,
            documents: self.documents.len() as u64,
            topics: self.topics.slots.len() as u64,
            history_bytes: self.history_bytes as u64,
            relayed: relay.map_or(0, |relay| relay.exchange_count() as u64),
            upstreams: relay.map_or(0, |relay| relay.upstream_count() as u64),
        }
    }

    /// How long the shard's turns have taken so far: how many were long, and microseconds of the
    /// longest.
    pub fn note_turns(&mut self, long: u64, longest_us: u64) {
        (self.stats.turns_long, self.stats.turn_longest_us) = (long, longest_us);
    }
}

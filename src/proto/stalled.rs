//! What documents hold whose sockets take nothing: counted, bounded, and given up in order.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use crate::base::id::{ConnKey, Key};
use crate::base::reason::CloseReason;
use crate::base::time::Instant;
use crate::proto::connection::Phase;
use crate::proto::document::{Piece, Unfinished};
use crate::proto::hub::Hub;
use crate::proto::run::Run;

/// The accounts of one shard. A run that many unfinished chunks keep alive is there once.
#[derive(Debug, Default)]
pub struct Stalled {
    /// How many pieces point into a run, by its address, which is its own while they do.
    runs: HashMap<usize, u32>,
    run_bytes: usize,
    own_bytes: usize,
}

impl Stalled {
    /// Bytes of runs that would be free but for unfinished chunks, or are in a history still.
    pub fn run_bytes(&self) -> usize {
        self.run_bytes
    }

    /// Everything that is held, in bytes.
    pub fn bytes(&self) -> usize {
        self.run_bytes + self.own_bytes
    }

    /// A write was cut short.
    pub fn hold(&mut self, left: &Unfinished) {
        self.own_bytes += left.own;
        for piece in &left.pieces {
            if let Piece::Shared(run, ..) = piece {
                let pieces = self.runs.entry(address(run)).or_default();
                *pieces += 1;
                if *pieces == 1 {
                    self.run_bytes += run.memory();
                }
            }
        }
    }

    /// A piece of an unfinished chunk is out, or nobody wants it any more.
    pub fn let_go(&mut self, piece: &Piece) {
        let Piece::Shared(run, ..) = piece else { return };
        let Some(pieces) = self.runs.get_mut(&address(run)) else { return };
        *pieces -= 1;
        if *pieces == 0 {
            self.runs.remove(&address(run));
            self.run_bytes -= run.memory();
        }
    }

    /// An unfinished chunk is over; what is left of it goes.
    pub fn release(&mut self, left: &Unfinished) {
        self.own_bytes -= left.own;
        left.pieces.iter().for_each(|piece| self.let_go(piece));
    }

    /// Frames that wait for a socket are `now` so many bytes and were `before`.
    pub fn note(&mut self, before: u32, now: u32) {
        self.own_bytes = self.own_bytes + now as usize - before as usize;
    }
}

fn address(run: &Arc<Run>) -> usize {
    Arc::as_ptr(run).addr()
}

impl Hub {
    /// The socket takes bytes again. Edges come unasked too, one with every document that begins:
    /// they must not take out what waits for more.
    pub fn handle_writable(&mut self, conn: ConnKey, now: Instant) {
        self.now = now;
        let Some(connection) = self.conns.get_mut(conn) else { return };
        let mut blocked = std::mem::take(&mut connection.blocked);
        if let Phase::Stream(slot) = connection.phase
            && let Some(document) = self.documents.at_mut(slot)
        {
            blocked |= std::mem::take(&mut document.blocked);
        }
        if blocked {
            self.name(conn);
        }
    }

    /// What documents hold whose sockets take nothing, in bytes.
    pub fn stalled_bytes(&self) -> usize {
        self.stalled.bytes()
    }

    /// While stalled documents hold too much, drops those that have made no progress for longest;
    /// says whether it dropped any.
    pub(crate) fn relieve(&mut self) -> bool {
        let limit = self.settings.stalled_bytes_max / usize::from(self.shards);
        let peak = &mut self.stats.stalled_bytes_peak;
        *peak = (*peak).max(self.stalled.bytes() as u64);
        if self.stalled.bytes() <= limit {
            return false;
        }
        // Well below, so that not each further byte makes us look through all of them.
        let target = limit - limit / 16;
        let holders = self.documents.keys().filter_map(|key: Key| {
            let document = self.documents.get(key)?;
            let holds = document.unfinished.is_some() || document.noted > 0;
            (document.blocked && holds).then_some(Reverse((document.sent_at, document.conn)))
        });
        let mut oldest: BinaryHeap<_> = holders.collect();
        let mut any = false;
        while self.stalled.bytes() > target
            && let Some(Reverse((_, conn))) = oldest.pop()
        {
            self.stats.stalled_cut += 1;
            self.close(conn, CloseReason::Stale);
            any = true;
        }
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::{Cid, Epoch, Offset};
    use crate::base::time::Instant;
    use crate::proto::run::{Place, RunBuilder};

    fn run() -> Arc<Run> {
        let mut builder = RunBuilder::default();
        builder.add(Cid(1 << 20), Offset(1), false, &[b'x'; 1_000]);
        let place = Place { place: 0, epoch: Epoch(1), offset: Offset(1) };
        Arc::new(builder.seal(&place, Instant::ZERO))
    }

    fn chunk(runs: &[&Arc<Run>]) -> Unfinished {
        let shared = |run: &&Arc<Run>| Piece::Shared(Arc::clone(run), 0, 1_000);
        let pieces = runs.iter().map(shared).collect();
        Unfinished { bytes: vec![0; 10], pieces, own: 10 }
    }

    #[test]
    fn a_run_counts_once_for_as_long_as_anybody_holds_it() {
        let (a, b) = (run(), run());
        let memory = a.memory();
        let mut stalled = Stalled::default();
        let (first, mut second) = (chunk(&[&a, &b]), chunk(&[&b, &b]));
        stalled.hold(&first);
        stalled.hold(&second);
        assert_eq!((stalled.run_bytes(), stalled.bytes()), (2 * memory, 2 * memory + 20));
        stalled.release(&first);
        assert_eq!(stalled.bytes(), memory + 10);
        let out = second.advance(1_000, |piece| stalled.let_go(piece));
        assert_eq!((out, stalled.bytes()), (false, memory + 10), "its second piece holds it still");
        assert!(second.advance(1_000, |piece| stalled.let_go(piece)));
        assert_eq!(stalled.run_bytes(), 0);
        stalled.release(&second);
        assert_eq!(stalled.bytes(), 0);
    }
}

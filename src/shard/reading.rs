//! Reading connections, a bounded number of times each.

use crate::base::id::ConnKey;
use crate::reactor::transport::Io;
use crate::shard::budget::Budget;
use crate::shard::turn::Shard;
use crate::shard::wires::Input;

/// Reads of one connection in one turn.
const READS_PER_TURN: usize = 4;

impl Shard {
    /// Reads a connection, within bounds; what is left is read in the next turn.
    pub(crate) fn read(&mut self, conn: ConnKey, budget: &mut Budget) {
        let Some(wire) = self.wires.get(conn) else { return };
        wire.queued = false;
        for _ in 0..READS_PER_TURN {
            if !self.hub.wants_input(conn) {
                return;
            }
            let Some(wire) = self.wires.get(conn) else { return };
            let outcome = wire.transport.read(&mut self.buffer);
            let drained = outcome.is_all();
            match outcome {
                Io::Bytes(count) | Io::All(count) => {
                    let all = drained && wire.input == Input::Bytes;
                    if all {
                        wire.input = Input::None;
                    }
                    self.hub.handle_received(conn, &self.buffer[..count], self.now);
                    if all {
                        return;
                    }
                    budget.weigh(count);
                    if budget.is_spent(|| self.clock.now()) {
                        break;
                    }
                }
                Io::Blocked => {
                    wire.input = Input::None;
                    return;
                }
                Io::Closed => {
                    wire.input = Input::None;
                    return self.hub.handle_peer_closed(conn, self.now);
                }
                Io::Failed(error) => {
                    return self.fail(conn, "read", &error);
                }
            }
        }
        self.queue_read(conn);
    }

    /// Has a connection read in this turn that was just accepted: whoever had to wait for that has
    /// mostly sent its request meanwhile.
    pub(crate) fn try_to_read(&mut self, conn: ConnKey) {
        if let Some(wire) = self.wires.get(conn) {
            wire.input = Input::Bytes;
            self.queue_read(conn);
        }
    }

    /// Queues a connection to be read in the next turn.
    pub(crate) fn queue_read(&mut self, conn: ConnKey) {
        let Some(wire) = self.wires.get(conn) else { return };
        if wire.input != Input::None && !wire.queued {
            wire.queued = true;
            self.to_read.push(conn, wire.is_publisher());
        }
    }
}

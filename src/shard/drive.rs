//! Doing what the core asks for.

use std::io::IoSlice;

use crate::base::id::{ConnKey, ShardId};
use crate::base::reason::CloseReason;
use crate::base::time::Span;
use crate::proto::connection::Door;
use crate::proto::output::{Output, Traveller, Written};
use crate::reactor::transport::{Io, Transport};
use crate::shard::mail::Mail;
use crate::shard::turn::Shard;
use crate::shard::wires::token_of;

impl Shard {
    /// Step 5 of a turn: drains the core's outputs to the end. Only readers that are to be told of
    /// something new may have to wait for the next turn.
    pub(crate) fn drain(&mut self, waking: Span) {
        let (mut budget, clock) = (self.budget(waking), self.clock);
        let mut goes_on = || !budget.is_spent(|| clock.now());
        while let Some(output) = self.hub.poll_output_while(&mut goes_on) {
            match output {
                Output::Send(conn) => self.to_write.push_back(conn),
                Output::Receive(conn) => self.queue_read(conn),
                Output::Stream(conn, millis) => self.become_document(conn, millis),
                Output::Finish(conn) => {
                    if let Some(wire) = self.wires.get(conn)
                        && let Err(error) = wire.transport.shutdown_write()
                    {
                        log::debug!("shutdown: {error}");
                    }
                    self.queue_read(conn);
                }
                Output::Close(conn, reason) => {
                    log::debug!("connection {} closed: {}", conn.slot, reason.word());
                    if let Some(wire) = self.wires.remove(conn) {
                        if reason == CloseReason::Stale {
                            // Nobody takes what the kernel still holds for it.
                            wire.transport.discard();
                        }
                        self.closed.push_back(wire);
                    }
                }
                Output::Post(shard, parcel) => self.post(shard, Mail::Parcel(parcel)),
                Output::Move(conn, shard) => self.send_away(conn, shard),
            }
        }
    }

    /// Writes what one connection has to send, in one system call.
    pub(crate) fn write(&mut self, conn: ConnKey) {
        let Some(wire) = self.wires.get(conn) else { return };
        let mut failed = None;
        self.hub.transmit(conn, self.now, |slices| {
            let total: usize = slices.iter().map(|slice| slice.len()).sum();
            write_all(&mut wire.transport, slices, total, &mut failed)
        });
        if let Some(error) = failed {
            self.fail(conn, "write", &error);
        }
    }

    /// A system call on the connection has failed.
    pub(crate) fn fail(&mut self, conn: ConnKey, call: &str, error: &std::io::Error) {
        log::debug!("{call}: {error}");
        match error.kind() {
            std::io::ErrorKind::TimedOut => self.hub.handle_timed_out(conn, self.now),
            _ => self.hub.handle_failed(conn, self.now),
        }
    }

    fn become_document(&mut self, conn: ConnKey, millis: u32) {
        let first = self.first_patience;
        let Some(wire) = self.wires.get(conn) else { return };
        let patience = Span::from_millis(u64::from(millis));
        if wire.inherits && patience == first {
            return;
        }
        wire.inherits = false;
        // Finds half-open connections while bytes are on the way; heartbeats see to it that they
        // are.
        if let Err(error) = wire.transport.set_user_timeout(patience) {
            log::debug!("socket options: {error}");
        }
    }

    /// Keeps an accepted or arrived socket and has its edges reported.
    pub(crate) fn keep(&mut self, conn: ConnKey, transport: Transport, door: Door, fresh: bool) {
        let wire = self.wires.insert(conn, transport, door == Door::Private);
        // What has come from another shard may have carried a document there.
        wire.inherits &= fresh;
        if let Err(error) = wire.transport.register(self.poller.registry(), token_of(conn)) {
            log::warn!("register: {error}");
            self.hub.handle_failed(conn, self.now);
        }
    }

    pub(crate) fn take_arrival(&mut self, transport: Transport, traveller: Traveller) {
        if let Some(conn) = self.hub.handle_arrived(traveller, self.now) {
            self.keep(conn, transport, Door::Public, false);
        }
    }

    fn send_away(&mut self, conn: ConnKey, shard: ShardId) {
        let Some(traveller) = self.hub.depart(conn) else { return };
        let Some(mut wire) = self.wires.remove(conn) else { return };
        if let Err(error) = wire.transport.deregister(self.poller.registry()) {
            log::warn!("deregister: {error}");
            return;
        }
        self.post(shard, Mail::Arrival(Box::new((wire.transport, traveller))));
    }

    /// Posts mail in order; it waits here while the other mailbox is full.
    pub(crate) fn post(&mut self, shard: ShardId, mail: Mail) {
        let outbox = &mut self.outbox[shard.index()];
        if !outbox.is_empty() {
            outbox.push_back(mail);
        } else if let Err(mail) = self.peers[shard.index()].push(mail) {
            outbox.push_back(mail);
        }
    }

    /// Posts what had to wait.
    pub(crate) fn post_waiting(&mut self) {
        for (outbox, peer) in self.outbox.iter_mut().zip(&self.peers) {
            while let Some(mail) = outbox.pop_front() {
                if let Err(mail) = peer.push(mail) {
                    outbox.push_front(mail);
                    break;
                }
            }
        }
    }
}

fn write_all(
    transport: &mut Transport,
    slices: &[IoSlice<'_>],
    total: usize,
    failed: &mut Option<std::io::Error>,
) -> Written {
    match transport.write_vectored(slices) {
        // Less than all means that the socket is full; an edge tells when it is not.
        Io::Bytes(bytes) => Written { bytes, blocked: bytes < total },
        Io::Blocked => Written { bytes: 0, blocked: true },
        Io::Closed => {
            *failed = Some(std::io::ErrorKind::WriteZero.into());
            Written { bytes: 0, blocked: true }
        }
        Io::Failed(error) => {
            *failed = Some(error);
            Written { bytes: 0, blocked: true }
        }
    }
}

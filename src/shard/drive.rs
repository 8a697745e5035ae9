//! Doing what the core asks for.

use std::io;

use crate::base::id::{ConnKey, ShardId};
use crate::base::limits;
use crate::base::reason::CloseReason;
use crate::base::time::Span;
use crate::proto::connection::Door;
use crate::proto::output::{Output, Traveller, Written};
use crate::reactor::transport::Transport;
use crate::shard::mail::Mail;
use crate::shard::turn::Shard;
use crate::shard::wires::{Owner, token_of};

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
                        if matches!(reason, CloseReason::Stale | CloseReason::CutShort) {
                            // Nobody takes what the kernel still holds for it, or an orderly end
                            // would tell a lie.
                            wire.transport.discard();
                        }
                        self.closed.push_back(wire);
                    }
                }
                Output::Post(shard, parcel) => self.post(shard, Mail::Parcel(parcel)),
                Output::Move(conn, shard) => self.send_away(conn, shard),
                Output::Measure(conn, topic) => {
                    let wire = self.wires.get(conn);
                    let round_trip = wire.and_then(|wire| wire.transport.round_trip());
                    self.hub.handle_round_trip(topic, round_trip, self.now);
                }
                Output::Ask(question) => self.ask(question),
                Output::Link(output) => self.link(output),
                Output::Relay(output) => self.relay(output),
            }
        }
    }

    /// Step 6 of a turn: writes what named connections have to send, one system call each; first
    /// come, first served across turns.
    pub(crate) fn write_named(&mut self, span: Span) {
        let mut budget = self.budget(span);
        let mut left = limits::WRITES_PER_TURN;
        while left > 0 && !self.to_write.is_empty() && !budget.is_spent(|| self.clock.now()) {
            let count = self.to_write.len().min(left).min(limits::WRITES_AT_ONCE);
            self.write_some(count);
            budget.charge(count);
            left -= count;
        }
    }

    fn write_some(&mut self, count: usize) {
        let Self { hub, wires, to_write, writing, .. } = self;
        writing.extend(to_write.drain(..count));
        let mut failed = Vec::new();
        hub.transmit(writing, self.now, |conn, slices| match wires.get(conn) {
            Some(wire) => match wire.transport.send(slices) {
                Ok((bytes, blocked)) => Written { bytes, blocked },
                Err(error) => {
                    failed.push((conn, error));
                    Written { bytes: 0, blocked: true }
                }
            },
            None => Written { bytes: 0, blocked: true },
        });
        writing.clear();
        for (conn, error) in failed {
            self.fail(conn, "write", &error);
        }
    }

    /// A system call on the connection has failed.
    pub(crate) fn fail(&mut self, conn: ConnKey, call: &str, error: &io::Error) {
        log::debug!("{call}: {error}");
        match error.kind() {
            io::ErrorKind::TimedOut => self.hub.handle_timed_out(conn, self.now),
            _ => self.hub.handle_failed(conn, self.now),
        }
    }

    fn become_document(&mut self, conn: ConnKey, millis: u32) {
        let first = self.first_patience;
        let Some(wire) = self.wires.get(conn) else { return };
        let patience = Span::from_millis(u64::from(millis));
        if wire.owner == Owner::Client && patience == first {
            return;
        }
        wire.owner = Owner::Reader;
        // Finds half-open connections while bytes are on the way; heartbeats see to it that they
        // are.
        if let Err(error) = wire.transport.set_user_timeout(patience) {
            log::debug!("socket options: {error}");
        }
    }

    /// Keeps an accepted or arrived socket and has its edges reported.
    pub(crate) fn keep(&mut self, conn: ConnKey, transport: Transport, door: Door, fresh: bool) {
        let wire = self.wires.insert(conn, transport, door.is_private());
        // What has come from another shard may have carried a document there.
        if !fresh && wire.owner == Owner::Client {
            wire.owner = Owner::Reader;
        }
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

    /// Posts mail in order; it waits here while the other mailbox is full, and is dropped where the
    /// other shard has stopped.
    pub(crate) fn post(&mut self, shard: ShardId, mail: Mail) {
        let (outbox, peer) = (&mut self.outbox[shard.index()], &self.peers[shard.index()]);
        if !outbox.is_empty() {
            outbox.push_back(mail);
        } else if let Err(mail) = peer.push(mail)
            && !peer.is_closed()
        {
            outbox.push_back(mail);
        }
    }

    /// Posts what had to wait.
    pub(crate) fn post_waiting(&mut self) {
        for (outbox, peer) in self.outbox.iter_mut().zip(&self.peers) {
            if peer.is_closed() {
                outbox.clear();
            }
            while let Some(mail) = outbox.pop_front() {
                if let Err(mail) = peer.push(mail) {
                    outbox.push_front(mail);
                    break;
                }
            }
        }
    }
}

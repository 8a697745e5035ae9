//! Connections that carry commands: pipelined, cut at any byte, shared by several clients.

use std::collections::VecDeque;

use crate::proto::connection::Door;
use crate::testing::decode::{Decoder, Part};
use crate::testing::net::Side;
use crate::testing::world::World;

/// An answer, or that none will come.
#[derive(Debug)]
pub enum Fate<T> {
    /// Status and body.
    Answer(T, u16, Vec<u8>),
    /// The connection went before the answer came.
    Lost(T),
}

/// One connection that carries commands; dialled again when it is gone. `T` is what the asker
/// remembers of a request.
#[derive(Debug)]
pub struct Line<T> {
    door: Door,
    wire: Option<usize>,
    decoder: Decoder,
    pending: VecDeque<T>,
    lost: Vec<T>,
    current: Option<(u16, Vec<u8>)>,
}

impl<T> Line<T> {
    /// A line that is not dialled yet.
    pub fn new(door: Door) -> Self {
        let decoder = Decoder::default();
        let (pending, lost) = (VecDeque::new(), Vec::new());
        Self { door, wire: None, decoder, pending, lost, current: None }
    }

    /// Sends a request; `what` comes back with its fate.
    pub fn ask(&mut self, world: &mut World, bytes: &[u8], what: T) {
        let wire = match self.wire {
            Some(wire) => wire,
            None => {
                self.decoder = Decoder::default();
                self.current = None;
                *self.wire.insert(world.connect(self.door))
            }
        };
        world.send(wire, bytes);
        self.pending.push_back(what);
    }

    /// How many answers are waited for.
    pub fn waiting(&self) -> usize {
        self.pending.len() + self.lost.len()
    }

    /// The client lets go of it.
    pub fn cut(&mut self, world: &mut World, side: Side) {
        if let Some(wire) = self.wire.take() {
            world.leave(wire, side);
        }
        self.lost.extend(self.pending.drain(..));
    }

    /// What became of requests since the last call.
    ///
    /// # Panics
    ///
    /// If an answer comes that nobody asked for.
    pub fn take(&mut self, world: &mut World) -> Vec<Fate<T>> {
        let mut fates = Vec::new();
        if let Some(wire) = self.wire {
            let mut broken = false;
            for segment in world.read(wire, usize::MAX) {
                let Self { decoder, pending, current, .. } = self;
                decoder.push(&segment.bytes, |part| match part {
                    Part::Head { status, .. } => *current = Some((status, Vec::new())),
                    Part::Body(bytes) => {
                        if let Some((_, body)) = current {
                            body.extend_from_slice(bytes);
                        }
                    }
                    Part::End => {
                        let Some((status, body)) = current.take() else { return };
                        if status == 408 {
                            // The request dribbled too slowly: it counts as lost.
                            broken = true;
                            return;
                        }
                        let what = pending.pop_front();
                        let what = what.expect("an answer belongs to a request");
                        fates.push(Fate::Answer(what, status, body));
                    }
                });
            }
            if broken || world.wire(wire).is_read_out() {
                world.leave(wire, Side::Closed);
                self.wire = None;
            }
        }
        if self.wire.is_none() {
            self.lost.extend(self.pending.drain(..));
        }
        fates.extend(self.lost.drain(..).map(Fate::Lost));
        fates
    }
}

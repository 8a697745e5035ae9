//! The connection of one document. Where there is no HTTP commands go beside it, over the same.

use std::collections::VecDeque;

use mio::{Registry, Token};

use crate::base::time::Instant;
use crate::client::agent::Agent;
use crate::client::event::{CallId, Failure, Request, RouteId, StreamId};
use crate::client::flight::{Done, Flight};
use crate::client::pipe::{Peer, Pipe, Read, put_request};
use crate::client::reader::Got;
use crate::http::exchange::Part;
use crate::reactor::url::Server;

/// A document's connection.
#[derive(Debug)]
pub(crate) struct Stream {
    /// The way that it takes.
    pub(crate) route: RouteId,
    pipe: Pipe,
    flight: Flight,
}

impl Stream {
    /// Begins to connect, and asks for the document.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn dial(
        (route, peer): (RouteId, Peer<'_>),
        wait: (&Registry, Token),
        request: &Request,
        now: Instant,
    ) -> Result<Self, Failure> {
        let pipe = Pipe::dial(peer, wait, u64::MAX);
        let mut pipe = pipe.map_err(|error| Failure::Broken(error.to_string()))?;
        put_request(pipe.out(), peer.server, request);
        pipe.flush()?;
        Ok(Self { route, pipe, flight: Flight::new(now) })
    }

    /// Whether commands of that way go over it.
    pub(crate) fn takes_calls(&self, route: RouteId) -> bool {
        self.route == route && self.pipe.has_begun_raw()
    }

    /// Whether the answer to a command is waited for.
    pub(crate) fn is_waiting(&self) -> bool {
        self.flight.is_waiting()
    }

    /// When the next answer to a command must have come.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        self.flight.timeout()
    }

    /// The commands that have no answer; nobody waits for one any more.
    pub(crate) fn give_up(&mut self) -> Vec<CallId> {
        self.flight.give_up()
    }

    /// Puts commands on the wire, as many as may be there at a time.
    ///
    /// # Errors
    /// Why the connection is over.
    pub(crate) fn send(
        &mut self,
        waiting: &mut VecDeque<(CallId, Request)>,
        server: &Server,
        now: Instant,
    ) -> Result<(), Failure> {
        while !self.flight.is_full()
            && let Some((call, request)) = waiting.pop_front()
        {
            let answers = put_request(self.pipe.out(), server, &request);
            self.flight.push(call, answers, now);
        }
        self.pipe.flush()
    }

    /// See [`Pipe::ready`].
    ///
    /// # Errors
    /// Why the connection is over.
    pub(crate) fn ready(&mut self, ready: (bool, bool)) -> Result<bool, Failure> {
        self.pipe.ready(ready)
    }

    /// Reads what there is, with `buffer` as scratch, and gives it to the agent as that stream.
    pub(crate) fn read(
        &mut self,
        stream: StreamId,
        buffer: &mut [u8],
        agent: &mut Agent,
        now: Instant,
    ) -> Read {
        let Self { pipe, flight, .. } = self;
        let mut whole = false;
        let read = pipe.read(buffer, |got| match got {
            Got::Part(Part::Head { status, retry_after, .. }) => {
                agent.handle_head(stream, status, retry_after, now);
            }
            Got::Part(Part::Body(bytes)) => agent.handle_bytes(stream, bytes, now),
            Got::Part(Part::End) => whole = true,
            Got::Beside { status, retry_after, body } => {
                if let Some(Done { call, batch }) = flight.answered(body, now) {
                    let status = if batch.is_some() { 200 } else { status };
                    let body = batch.as_deref().unwrap_or(body);
                    agent.handle_answer(call, status, retry_after, body, now);
                }
            }
        });
        if whole { Read::Over(Failure::Broken("the document ended".into())) } else { read }
    }
}

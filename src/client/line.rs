//! The kept connection over which a route's commands go. Answers come in their order.

use std::collections::VecDeque;

use mio::{Registry, Token};

use crate::base::reason::ErrorCode;
use crate::base::time::{Instant, Span};
use crate::client::event::{CallId, Failure, Request};
use crate::client::flight::{Done, Flight};
use crate::client::pipe::{Peer, Pipe, Read, put_request};
use crate::client::reader::Got;
use crate::http::exchange::Part;
use crate::reactor::url::Server;

/// Bytes of an answer to a command.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;

/// The answer to a command.
#[derive(Debug)]
pub(crate) struct Answered<'a> {
    pub(crate) call: CallId,
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Span>,
    pub(crate) body: &'a [u8],
}

/// One kept connection for commands.
#[derive(Debug)]
pub(crate) struct Line {
    pipe: Pipe,
    flight: Flight,
    /// The answer that is being read.
    status: u16,
    retry_after: Option<Span>,
    persistent: bool,
    body: Vec<u8>,
}

impl Line {
    /// Begins to connect.
    ///
    /// # Errors
    /// From the operating system.
    pub(crate) fn dial(
        peer: Peer<'_>,
        wait: (&Registry, Token),
        now: Instant,
    ) -> std::io::Result<Self> {
        Ok(Self {
            pipe: Pipe::dial(peer, wait, ANSWER_BYTES_MAX)?,
            flight: Flight::new(now),
            status: 0,
            retry_after: None,
            persistent: true,
            body: Vec::new(),
        })
    }

    /// Whether an answer is waited for.
    pub(crate) fn is_waiting(&self) -> bool {
        self.flight.is_waiting()
    }

    /// When the next answer must have come.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        self.flight.timeout()
    }

    /// The commands that have no answer.
    pub(crate) fn unanswered(mut self) -> Vec<CallId> {
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

    /// Writes and reads as far as the socket lets it, with `buffer` as scratch, and gives each
    /// answer to `each`.
    pub(crate) fn ready(
        &mut self,
        ready: (bool, bool),
        buffer: &mut [u8],
        now: Instant,
        mut each: impl FnMut(Answered<'_>),
    ) -> Read {
        match self.pipe.ready(ready) {
            Ok(true) => {}
            Ok(false) => return Read::Blocked,
            Err(failure) => return Read::Over(failure),
        }
        let Self { pipe, flight, status, retry_after, persistent, body } = self;
        let mut misled = false;
        let read = pipe.read(buffer, |got| match got {
            Got::Part(Part::Head { status: code, retry_after: wait, persistent: kept }) => {
                (*status, *retry_after, *persistent) = (code, wait, kept);
                body.clear();
            }
            Got::Part(Part::Body(bytes)) => body.extend_from_slice(bytes),
            Got::Part(Part::End) => {
                misled |= *status == ErrorCode::WrongServer.status();
                if let Some(Done { call, batch }) = flight.answered(body, now) {
                    let status = if batch.is_some() { 200 } else { *status };
                    let body = batch.as_ref().unwrap_or(body);
                    each(Answered { call, status, retry_after: *retry_after, body });
                }
            }
            // There is no document on it.
            Got::Beside { .. } => {}
        });
        // Kept no longer than the answer that says so.
        if !*persistent && pipe.is_idle() {
            return over("the server keeps the connection no longer");
        }
        // Behind it is a server without our session: another connection may come to the one that
        // has it (RFC 9110, 15.5.20).
        if misled {
            return over("the connection leads to another server");
        }
        read
    }
}

fn over(what: &str) -> Read {
    Read::Over(Failure::Broken(what.to_owned()))
}

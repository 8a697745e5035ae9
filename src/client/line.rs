//! The kept connection over which a route's commands go. Answers come in their order.

use std::collections::VecDeque;
use std::net::SocketAddr;

use mio::{Registry, Token};

use crate::base::reason::ErrorCode;
use crate::base::time::{Instant, Span};
use crate::client::event::{CallId, Request};
use crate::client::pipe::{Pipe, Read, put_request};
use crate::http::exchange::Part;
use crate::reactor::url::Server;

/// Commands on the wire at a time.
const CALLS_MAX: usize = 32;
/// Bytes of an answer to a command.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;
/// A command must be answered within this span after the last answer.
const ANSWER_TIMEOUT: Span = Span::from_secs(10);

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
    in_flight: VecDeque<CallId>,
    /// The answer that is being read.
    status: u16,
    retry_after: Option<Span>,
    persistent: bool,
    body: Vec<u8>,
    /// The last command that found the line empty, or the last answer.
    since: Instant,
}

impl Line {
    /// Begins to connect.
    ///
    /// # Errors
    /// From the operating system.
    pub(crate) fn dial(
        address: SocketAddr,
        registry: &Registry,
        token: Token,
        now: Instant,
    ) -> std::io::Result<Self> {
        Ok(Self {
            pipe: Pipe::dial(address, registry, token, ANSWER_BYTES_MAX)?,
            in_flight: VecDeque::new(),
            status: 0,
            retry_after: None,
            persistent: true,
            body: Vec::new(),
            since: now,
        })
    }

    /// Whether an answer is waited for.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// When the next answer must have come.
    pub(crate) fn timeout(&self) -> Option<Instant> {
        self.is_waiting().then(|| self.since + ANSWER_TIMEOUT)
    }

    /// The commands that have no answer.
    pub(crate) fn unanswered(self) -> VecDeque<CallId> {
        self.in_flight
    }

    /// Puts commands on the wire, as many as may be there at a time; says whether the connection
    /// still stands.
    pub(crate) fn send(
        &mut self,
        waiting: &mut VecDeque<(CallId, Request)>,
        server: &Server,
        now: Instant,
    ) -> bool {
        while self.in_flight.len() < CALLS_MAX
            && let Some((call, request)) = waiting.pop_front()
        {
            if self.in_flight.is_empty() {
                self.since = now;
            }
            put_request(self.pipe.out(), server, &request);
            self.in_flight.push_back(call);
        }
        self.pipe.flush().is_ok()
    }

    /// Writes and reads as far as the socket lets it, with `buffer` as scratch, and gives each
    /// answer to `each`.
    pub(crate) fn ready(
        &mut self,
        (readable, writable): (bool, bool),
        buffer: &mut [u8],
        now: Instant,
        mut each: impl FnMut(Answered<'_>),
    ) -> Read {
        if writable && let Err(detail) = self.pipe.flush() {
            return Read::Over(detail);
        }
        if !readable {
            return Read::Blocked;
        }
        let Self { pipe, in_flight, status, retry_after, persistent, body, since } = self;
        let mut misled = false;
        let read = pipe.read(buffer, |part| match part {
            Part::Head { status: code, retry_after: wait, persistent: kept } => {
                (*status, *retry_after, *persistent) = (code, wait, kept);
                body.clear();
            }
            Part::Body(bytes) => body.extend_from_slice(bytes),
            Part::End => {
                *since = now;
                misled |= *status == ErrorCode::WrongServer.status();
                if let Some(call) = in_flight.pop_front() {
                    each(Answered { call, status: *status, retry_after: *retry_after, body });
                }
            }
        });
        // Kept no longer than the answer that says so.
        if !*persistent && pipe.is_idle() {
            return Read::Over("the server keeps the connection no longer".into());
        }
        // Behind it is a server without our session: another connection may come to the one that
        // has it (RFC 9110, 15.5.20).
        if misled {
            return Read::Over("the connection leads to another server".into());
        }
        read
    }
}

//! How an agent behaves.

use crate::base::backoff::Backoff;
use crate::base::limits;
use crate::base::time::Span;
use crate::seal::key::Algorithm;

/// The settings of one agent; the default suits a consumer on the open internet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The heartbeat interval to ask for; `None`: the server's own.
    pub heartbeat: Option<Span>,
    /// How long messages may wait at the server for more, so that one write carries them all; zero:
    /// not at all; `None`: as long as the server likes.
    pub flush: Option<Span>,
    /// The refresh period; `None`: what the server says in its identity frame.
    pub refresh: Option<Span>,
    /// Seal every session: what is said can be read and changed by nobody on the way, whatever
    /// carries it. The login goes over TLS, as it hands out the secret; a server that does not seal
    /// is not spoken to.
    pub seal: Option<Algorithm>,
    /// Begin each session with a login, to which whoever drives the agent adds what proves who the
    /// client is. A link that was given such proof sets it by itself.
    pub login: bool,
    /// The script or program of the server that is to say who the client is, by the name that its
    /// configuration gives it (`auth=` of a login).
    pub script: Option<String>,
    /// Whether a password or token may go where everybody on the way can read it.
    pub in_clear: bool,
    /// Ways to servers that there are, at least 1. A document that cannot be had over one is asked
    /// for over the next, and duplicates are spread over all.
    pub routes: u8,
    /// Documents to keep beside the main one, 0 to 3: each carries everything, and each message is
    /// delivered at its first copy.
    pub duplicates: u8,
    /// After this many heartbeat intervals without a byte the consumer is warned.
    pub warn_intervals: u32,
    /// After this many heartbeat intervals without a byte the document is abandoned.
    pub drop_intervals: u32,
    /// A document must have begun this long after it was asked for.
    pub connect_timeout: Span,
    /// A channel asked for together with a document must be opened this long after the document's
    /// first frame; else it is asked for by a command, whose answer tells what is wrong.
    pub open_timeout: Span,
    /// A document that lived this long was a success: the next wait is a short one.
    pub settled_after: Span,
    /// The waits between attempts.
    pub backoff: Backoff,
    /// Bytes of one frame at most; beyond, the document is given up.
    pub line_bytes_max: usize,
    /// Numbered sends of one channel that may be undecided at a time; the rest wait here.
    pub send_window: usize,
    /// Put each send on the wire over a second way as well, where two lead to the session's server:
    /// the server takes the first copy.
    pub double_sends: bool,
    /// A send that is held at the server for this long is asked about again.
    pub held_timeout: Span,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            heartbeat: None,
            flush: None,
            refresh: None,
            seal: None,
            login: false,
            script: None,
            in_clear: false,
            routes: 1,
            duplicates: 0,
            warn_intervals: 2,
            drop_intervals: 4,
            connect_timeout: Span::from_secs(10),
            open_timeout: Span::from_secs(5),
            settled_after: Span::from_secs(2),
            backoff: Backoff::default(),
            // The longest escape is five bytes for one.
            line_bytes_max: 5 * limits::PAYLOAD_BYTES_MAX + 4096,
            send_window: 32,
            double_sends: false,
            held_timeout: Span::from_secs(10),
        }
    }
}

//! Why things end: closed lists, each reason with its word on the wire and in the metrics.

use std::fmt;

/// An error code of a command's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// 400: the command or its parameters are not of the grammar.
    BadRequest,
    /// 401: the client must authenticate first.
    AuthRequired,
    /// 403: not allowed.
    Forbidden,
    /// 404: no such session, or a wrong key.
    NoSession,
    /// 404: no such channel in this session.
    NoChannel,
    /// 404: no such resource.
    NoResource,
    /// 404: no such command.
    NoCommand,
    /// 405: the command is not served with this HTTP method.
    BadMethod,
    /// 409: a numbered send lies beyond the window.
    OutOfWindow,
    /// 409: a second numberer: the epoch or offset is not the topic's.
    Conflict,
    /// 410: this number was given up.
    Skipped,
    /// 413: the payload is larger than allowed.
    TooLarge,
    /// 421: the session lives on another communication server.
    WrongServer,
    /// 429: a limit on number or rate was reached.
    TooMany,
    /// 503: no instance of the resource is there.
    NoInstance,
    /// 503: this server is being drained.
    Draining,
    /// 503: a queue inside the server is full; try again.
    Busy,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [Self; 17] = [
        Self::BadRequest,
        Self::AuthRequired,
        Self::Forbidden,
        Self::NoSession,
        Self::NoChannel,
        Self::NoResource,
        Self::NoCommand,
        Self::BadMethod,
        Self::OutOfWindow,
        Self::Conflict,
        Self::Skipped,
        Self::TooLarge,
        Self::WrongServer,
        Self::TooMany,
        Self::NoInstance,
        Self::Draining,
        Self::Busy,
    ];

    /// The code of that word.
    ///
    /// ```
    /// use ahm::base::reason::ErrorCode;
    /// assert_eq!(ErrorCode::from_word("busy"), Some(ErrorCode::Busy));
    /// assert_eq!(ErrorCode::from_word("tired"), None);
    /// ```
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.word() == word)
    }

    /// The word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::AuthRequired => "auth-required",
            Self::Forbidden => "forbidden",
            Self::NoSession => "no-session",
            Self::NoChannel => "no-channel",
            Self::NoResource => "no-resource",
            Self::NoCommand => "no-command",
            Self::BadMethod => "bad-method",
            Self::OutOfWindow => "out-of-window",
            Self::Conflict => "conflict",
            Self::Skipped => "skipped",
            Self::TooLarge => "too-large",
            Self::WrongServer => "wrong-server",
            Self::TooMany => "too-many",
            Self::NoInstance => "no-instance",
            Self::Draining => "draining",
            Self::Busy => "busy",
        }
    }

    /// The HTTP status of an answer with this code.
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::AuthRequired => 401,
            Self::Forbidden => 403,
            Self::NoSession | Self::NoChannel | Self::NoResource | Self::NoCommand => 404,
            Self::BadMethod => 405,
            Self::OutOfWindow | Self::Conflict => 409,
            Self::Skipped => 410,
            Self::TooLarge => 413,
            Self::WrongServer => 421,
            Self::TooMany => 429,
            Self::NoInstance | Self::Draining | Self::Busy => 503,
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why a channel ended: the `e` of an `x` frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChannelEnd {
    /// The client closed it.
    Closed,
    /// The topic or its resource is gone.
    Gone,
    /// The resource did not accept the open.
    Denied,
    /// A `strict` reader fell behind the history.
    Overrun,
    /// The right to read it ran out.
    Expired,
}

impl ChannelEnd {
    /// Every end.
    pub const ALL: [Self; 5] =
        [Self::Closed, Self::Gone, Self::Denied, Self::Overrun, Self::Expired];

    /// The end of that word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|end| end.word() == word)
    }

    /// The word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Gone => "gone",
            Self::Denied => "denied",
            Self::Overrun => "overrun",
            Self::Expired => "expired",
        }
    }
}

/// What became of a numbered send: the `e` of an `a` frame, or the answer to `send`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SendOutcome {
    /// Passed on to the resource in its turn.
    Taken,
    /// Waits for the numbers before it.
    Held,
    /// Was taken before.
    Dup,
    /// Given up: a number before it, or itself, did not come in time.
    Skipped,
    /// Session or instance died before it was acknowledged.
    Unknown,
}

impl SendOutcome {
    /// Every outcome.
    pub const ALL: [Self; 5] = [Self::Taken, Self::Held, Self::Dup, Self::Skipped, Self::Unknown];

    /// The outcome of that word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.word() == word)
    }

    /// The word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Held => "held",
            Self::Dup => "dup",
            Self::Skipped => "skipped",
            Self::Unknown => "unknown",
        }
    }
}

/// Why a document ended: the `e` of a `z` frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DocumentEnd {
    /// A successor has taken over.
    Refreshed,
    /// Its socket made no progress.
    Stale,
    /// The session was ended.
    Logout,
    /// The server stops.
    Shutdown,
}

impl DocumentEnd {
    /// The word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Refreshed => "refreshed",
            Self::Stale => "stale",
            Self::Logout => "logout",
            Self::Shutdown => "shutdown",
        }
    }
}

/// Why the server closed a connection; each is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CloseReason {
    /// The peer closed its side.
    PeerClosed,
    /// Reading or writing failed.
    TransportError,
    /// The peer has acknowledged nothing for so long that TCP gave it up: it is gone, or reads
    /// nothing.
    TimedOut,
    /// The exchange asked for it (`Connection: close`, HTTP/1.0).
    Finished,
    /// The peer broke HTTP; it got the status first.
    BadRequest,
    /// A head or body did not arrive in time.
    RequestTimeout,
    /// Nothing was asked on a kept connection for too long.
    Idle,
    /// The document on it made no progress.
    Stale,
    /// Another document took the place of the one on it.
    Refreshed,
    /// The session on it was ended.
    Logout,
    /// The server stops.
    Shutdown,
    /// A limit on connections was reached.
    TooMany,
    /// The answer of a web server was cut short.
    CutShort,
}

impl CloseReason {
    /// Every reason, in the order of the metrics.
    pub const ALL: [Self; 13] = [
        Self::PeerClosed,
        Self::TransportError,
        Self::TimedOut,
        Self::Finished,
        Self::BadRequest,
        Self::RequestTimeout,
        Self::Idle,
        Self::Stale,
        Self::Refreshed,
        Self::Logout,
        Self::Shutdown,
        Self::TooMany,
        Self::CutShort,
    ];

    /// The word in logs and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::PeerClosed => "peer-closed",
            Self::TransportError => "transport-error",
            Self::TimedOut => "timed-out",
            Self::Finished => "finished",
            Self::BadRequest => "bad-request",
            Self::RequestTimeout => "request-timeout",
            Self::Idle => "idle",
            Self::Stale => "stale",
            Self::Refreshed => "refreshed",
            Self::Logout => "logout",
            Self::Shutdown => "shutdown",
            Self::TooMany => "too-many",
            Self::CutShort => "cut-short",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_close_reason_has_its_own_word() {
        let mut words: Vec<_> = CloseReason::ALL.iter().map(|reason| reason.word()).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), CloseReason::ALL.len());
    }
}

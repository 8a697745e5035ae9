//! Status codes: their phrases, and the refusals that the codec itself gives.

use std::fmt;

/// Why a request is refused by the codec, before anybody looked at what it asks for.
///
/// After a refusal the connection is answered and closed: nobody can tell where the next request
/// would begin.
///
/// ```
/// use ahm::http::status::Refusal;
/// let refusal = Refusal::BadRequest("more than one Host");
/// assert_eq!((refusal.status(), refusal.detail()), (400, "more than one Host"));
/// assert_eq!(refusal.to_string(), "400 Bad Request: more than one Host");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// 400: it breaks the grammar or is ambiguous; says what was wrong.
    BadRequest(&'static str),
    /// 408: a head or a body did not arrive in time.
    Timeout,
    /// 411: a body is required and nothing says where it ends.
    LengthRequired,
    /// 413: the body is larger than allowed.
    BodyTooLarge,
    /// 414: the target is longer than allowed.
    TargetTooLong,
    /// 417: an expectation other than `100-continue`.
    ExpectationFailed,
    /// 429: there are as many connections as one address may have.
    TooMany,
    /// 431: head or trailers are larger than allowed, or have too many fields.
    HeadTooLarge,
    /// 501: a method or transfer coding that the server does not know; says which kind.
    NotImplemented(&'static str),
    /// 505: a version other than HTTP/1.0 and HTTP/1.1.
    Version,
}

impl Refusal {
    /// The status of the answer.
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequest(_) => 400,
            Self::Timeout => 408,
            Self::LengthRequired => 411,
            Self::BodyTooLarge => 413,
            Self::TargetTooLong => 414,
            Self::ExpectationFailed => 417,
            Self::TooMany => 429,
            Self::HeadTooLarge => 431,
            Self::NotImplemented(_) => 501,
            Self::Version => 505,
        }
    }

    /// One sentence for the peer, without anything that the peer sent.
    pub const fn detail(self) -> &'static str {
        match self {
            Self::BadRequest(detail) | Self::NotImplemented(detail) => detail,
            Self::Timeout => "the request did not arrive in time",
            Self::LengthRequired => "a body with Content-Length or chunked coding is required",
            Self::BodyTooLarge => "the body is larger than allowed",
            Self::TargetTooLong => "the request target is longer than allowed",
            Self::ExpectationFailed => "the only expectation met here is 100-continue",
            Self::TooMany => "too many connections from this address",
            Self::HeadTooLarge => "the fields are larger or more than allowed",
            Self::Version => "the versions spoken here are HTTP/1.0 and HTTP/1.1",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.status(), reason_phrase(self.status()), self.detail())
    }
}

impl std::error::Error for Refusal {}

/// The customary phrase of a status; empty, which HTTP allows, for one that is not used here.
pub const fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_a_phrase_and_a_sentence() {
        let all = [
            Refusal::BadRequest("x"),
            Refusal::Timeout,
            Refusal::LengthRequired,
            Refusal::BodyTooLarge,
            Refusal::TargetTooLong,
            Refusal::ExpectationFailed,
            Refusal::TooMany,
            Refusal::HeadTooLarge,
            Refusal::NotImplemented("x"),
            Refusal::Version,
        ];
        for refusal in all {
            assert!(!reason_phrase(refusal.status()).is_empty(), "{refusal:?}");
            assert!(!refusal.detail().is_empty(), "{refusal:?}");
        }
    }
}

//! Reads the JSON answers of short commands.

use std::fmt;

use serde_json::Value;

use crate::base::id::{Cid, Epoch, Offset, parse_decimal};
use crate::base::reason::{ErrorCode, SendOutcome};
use crate::client::channel::Which;
use crate::client::event::Failure;
use crate::wire::command::Position;

/// An error answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The HTTP status.
    pub status: u16,
    /// The code, where the answer is one of the protocol.
    pub code: Option<ErrorCode>,
    /// The words of the server.
    pub detail: String,
    /// Of a send beyond the window: the number that the server expects next.
    pub expected: Option<u64>,
}

impl Refused {
    /// Whether the same may work later.
    pub const fn is_passing(&self) -> bool {
        match self.code {
            Some(code) => matches!(
                code,
                ErrorCode::NoResource
                    | ErrorCode::NoInstance
                    | ErrorCode::TooMany
                    | ErrorCode::Draining
                    | ErrorCode::Busy
                    | ErrorCode::OutOfWindow
            ),
            None => true,
        }
    }

    /// Whether it is the session that the server does not know.
    pub const fn is_of_session(&self) -> bool {
        matches!(self.code, Some(ErrorCode::NoSession | ErrorCode::WrongServer))
    }

    /// The same for the consumer.
    pub fn into_failure(self) -> Failure {
        Failure::Refused { code: self.code, status: self.status, detail: self.detail }
    }
}

/// An answer, or one line of a batch's answer.
#[derive(Clone, PartialEq)]
pub struct Answer(Value);

impl fmt::Debug for Answer {
    /// Without what it says: it may be the secret of a session.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer(..)")
    }
}

impl Answer {
    /// Reads the answer with `status` and `body`.
    ///
    /// # Errors
    /// The refusal in it; what is not JSON of the protocol is a refusal without a code.
    pub fn parse(status: u16, body: &[u8]) -> Result<Self, Refused> {
        let value = serde_json::from_slice(body).unwrap_or(Value::Null);
        let word = |name: &str| value.get(name).and_then(Value::as_str);
        if (status == 200 || status == 202) && value.get("ok") == Some(&Value::Bool(true)) {
            return Ok(Self(value));
        }
        let code = word("error").and_then(ErrorCode::from_word);
        let said = || String::from_utf8_lossy(&body[..body.len().min(200)]).trim().to_owned();
        let detail = word("detail").map_or_else(said, str::to_owned);
        let expected = Self(value).number("sn");
        Err(Refused { status, code, detail, expected })
    }

    /// A text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// A number below 2^53, written as a number or as text.
    pub fn number(&self, name: &str) -> Option<u64> {
        let value = self.0.get(name)?;
        value.as_u64().or_else(|| parse_decimal(value.as_str()?))
    }

    /// The channel: its number, and which of the channels of that number it is.
    pub fn channel(&self) -> Option<Which> {
        let small = |name| self.number(name).and_then(|number| u32::try_from(number).ok());
        let cid = small("cid").filter(|cid| *cid > 0).map(Cid)?;
        Some((cid, small("l").unwrap_or(0)))
    }

    /// Where a channel starts.
    pub fn position(&self) -> Option<Position> {
        let ep = Epoch::parse(self.0.get("ep")?.as_str()?)?;
        let n = self.number("n").filter(|n| *n < Offset::END).map(Offset)?;
        Some(Position { ep, n })
    }

    /// What became of a send: the one value that is an outcome's word.
    pub fn outcome(&self) -> Option<SendOutcome> {
        let words = self.0.as_object()?.values().filter_map(Value::as_str);
        words.filter_map(SendOutcome::from_word).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_refusals_are_told_apart() {
        let opened = Answer::parse(200, br#"{"ok":true,"cid":7,"n":"12","sn":1}"#).unwrap();
        assert_eq!((opened.channel(), opened.number("n")), (Some((Cid(7), 0)), Some(12)));
        let taken = Answer::parse(200, br#"{"ok":true,"n":1,"e":"taken"}"#).unwrap();
        assert_eq!(taken.outcome(), Some(SendOutcome::Taken));
        let refused = Answer::parse(404, br#"{"ok":false,"error":"no-session","detail":"x"}"#);
        let refused = refused.unwrap_err();
        assert!(refused.is_of_session() && !refused.is_passing());
        let foreign = Answer::parse(502, b"<html>bad gateway</html>").unwrap_err();
        assert_eq!((foreign.code, foreign.is_passing()), (None, true));
        assert!(Answer::parse(200, b"[1]").is_err());
    }

    #[test]
    fn every_code_has_its_word() {
        assert!(
            ErrorCode::ALL.into_iter().all(|code| ErrorCode::from_word(code.word()) == Some(code))
        );
    }
}

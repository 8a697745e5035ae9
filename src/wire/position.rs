//! Places in topics, as clients name them.

use std::fmt;

use crate::base::id::{Cid, Epoch, Offset};
use crate::base::limits;
use crate::wire::error::CommandError;

/// A place in a topic: everything up to `n` of epoch `ep` was received. Written `EP:N`.
///
/// ```
/// use ahm::wire::position::Position;
/// let position = Position::parse("9f3a71:1042").unwrap();
/// assert_eq!(position.n.0, 1042);
/// assert_eq!(position.to_string(), "9f3a71:1042");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The epoch; offsets of different epochs cannot be compared.
    pub ep: Epoch,
    /// The last message received; zero stands before the first.
    pub n: Offset,
}

impl Position {
    /// Reads `EP:N`, decoded; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (ep, n) = text.split_once(':')?;
        Some(Self { ep: Epoch::parse(ep)?, n: Offset::parse(n)? })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.ep, self.n)
    }
}

/// What a client has, channel by channel: the value of `last`, written `CID:EP:N` joined by commas.
/// Empty is a value too: the client has nothing, so every channel resumes where it was opened.
///
/// ```
/// use ahm::wire::position::Positions;
/// let positions = Positions::parse("7:9f3a71:1042,1048633:k2:5").unwrap();
/// assert_eq!(positions.0.len(), 2);
/// assert_eq!(positions.to_string(), "7:9f3a71:1042,1048633:k2:5");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions(pub Vec<(Cid, Position)>);

impl Positions {
    /// Reads the value of `last`, decoded.
    ///
    /// # Errors
    ///
    /// `bad-request` if an entry is not `CID:EP:N`, a channel is named twice, or more channels are
    /// named than a session can have.
    pub fn parse(text: &str) -> Result<Self, CommandError> {
        let mut positions = Vec::new();
        for entry in text.split(',').filter(|_| !text.is_empty()) {
            if positions.len() == limits::CHANNELS_MAX {
                return Err(CommandError::bad("`last` names more channels than a session has"));
            }
            let position = entry
                .split_once(':')
                .and_then(|(cid, position)| Some((Cid::parse(cid)?, Position::parse(position)?)));
            positions.push(position.ok_or_else(|| {
                CommandError::value("last", "CID:EP:N, several joined by commas")
            })?);
        }
        let mut cids: Vec<Cid> = positions.iter().map(|(cid, _)| *cid).collect();
        cids.sort_unstable();
        if cids.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(CommandError::bad("`last` names a channel twice"));
        }
        Ok(Self(positions))
    }

    /// Reads the body of a POST: the value of `last` as it is, not percent-encoded; one line end
    /// may follow it.
    ///
    /// # Errors
    ///
    /// As [`Positions::parse`].
    pub fn parse_body(body: &[u8]) -> Result<Self, CommandError> {
        let body = body.strip_suffix(b"\n").unwrap_or(body);
        let body = body.strip_suffix(b"\r").unwrap_or(body);
        let text = std::str::from_utf8(body)
            .map_err(|_| CommandError::bad("the positions in the body are not text"))?;
        Self::parse(text)
    }
}

impl fmt::Display for Positions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (cid, position)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{cid}:{position}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_strict() {
        assert_eq!(Positions::parse(""), Ok(Positions::default()));
        assert_eq!(Positions::parse_body(b"1:a:0\r\n"), Positions::parse("1:a:0"));
        for bad in [",", "1:a:0,", "1:a", "0:a:1", "1:A:1", "1:0a:1", "1:a:01", "1:a:1:1", " 1:a:1"]
        {
            assert!(Positions::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Positions::parse("1:a:1,2:a:1,1:a:2").is_err());
        assert!(Positions::parse_body(b"\xff").is_err());
    }

    #[test]
    fn more_channels_than_a_session_has_are_refused() {
        let list = |count: usize| {
            let entries: Vec<_> = (1..=count).map(|cid| format!("{cid}:a:1")).collect();
            entries.join(",")
        };
        assert!(Positions::parse(&list(limits::CHANNELS_MAX)).is_ok());
        assert!(Positions::parse(&list(limits::CHANNELS_MAX + 1)).is_err());
    }
}

//! What becomes of published messages, and how the private listener says it.

use std::fmt;

use serde_json::{Map, Value};

use crate::base::id::{Epoch, Offset};
use crate::resource::caller::Response;
use crate::wire::command::Position;

/// What became of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is in its topic's log.
    Taken(Position),
    /// It was not taken.
    Refused {
        /// The server's code, or `http-STATUS`.
        error: String,
        /// The server's words.
        detail: String,
    },
    /// Nobody knows; the reason in words.
    Unknown(String),
}

/// The fate of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The caller's number for it.
    pub line: u64,
    /// What became of it.
    pub fate: Fate,
}

/// Why publishing came to an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostError {
    /// Tried for as long as allowed; the last reason. Nothing of it was taken.
    GaveUp(String),
    /// The message was refused.
    Refused {
        /// The server's code, or `http-STATUS`.
        error: String,
        /// The server's words.
        detail: String,
        /// The place of the topic's last message, where another numbers it (`conflict`).
        last: Option<Position>,
    },
    /// The message may or may not have been taken; the reason in words.
    Unknown(String),
    /// It cannot be written as a line of a batch: what is wrong with it.
    Input(&'static str),
}

impl fmt::Display for PostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GaveUp(why) => write!(f, "gave up: {why}"),
            Self::Refused { error, detail, .. } => write!(f, "{error}: {detail}"),
            Self::Unknown(why) => write!(f, "it may or may not have been taken: {why}"),
            Self::Input(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for PostError {}

/// An answer of the private listener.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The JSON; null where it is none.
    pub(crate) value: Value,
    /// Code and words, unless it is a yes.
    pub(crate) refusal: Option<(String, String)>,
    /// Whether the server itself speaks; a refusal of its own is given before a line is taken.
    pub(crate) ours: bool,
    /// Whether it has too much to do just now.
    pub(crate) pressed: bool,
}

impl Reply {
    /// Reads an answer.
    pub(crate) fn parse(response: &Response) -> Self {
        let status = response.status;
        let value: Value = serde_json::from_slice(&response.body).unwrap_or(Value::Null);
        let ok = value.get("ok").and_then(Value::as_bool);
        let word = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let error = word("error").unwrap_or_else(|| format!("http-{status}"));
        let detail = word("detail").unwrap_or_else(|| {
            let said = String::from_utf8_lossy(&response.body);
            format!("answered {status}: {}", said.chars().take(200).collect::<String>())
        });
        let yes = ok == Some(true) && status == 200;
        // What is no yes and no refusal of ours: below 500 nothing was done, above nobody knows.
        let ours = ok == Some(false) || (400..500).contains(&status);
        let pressed = ok == Some(false) && (status == 429 || status == 503);
        Self { refusal: (!yes).then_some((error, detail)), value, ours, pressed }
    }
}

/// The place that an object names.
pub(crate) fn position(object: &Map<String, Value>) -> Option<Position> {
    let ep = Epoch::parse(object.get("ep")?.as_str()?)?;
    let n = object.get("n")?.as_u64().filter(|n| *n < Offset::END)?;
    Some(Position { ep, n: Offset(n) })
}

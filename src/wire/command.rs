//! Commands: one enum, one grammar for every carriage (section 2 of `wire::protocol`).
//!
//! A command is a name and a query string. Who the client is may stand in the query string or come
//! with the carriage (a field of the request, the session of a batch); so the grammar demands no
//! session here, and whoever executes the command does.

use std::borrow::Cow;
use std::fmt;

use crate::base::id::{Cid, Mid, Offset, parse_decimal};
use crate::base::name::{TopicName, check_resource};
use crate::base::reason::ErrorCode;
use crate::base::time::Span;
pub use crate::wire::error::CommandError;
use crate::wire::open::topic_name;
pub use crate::wire::open::{Mode, OpenRequest};
pub use crate::wire::position::{Position, Positions};
pub use crate::wire::query::encode_query;
use crate::wire::query::{Params, bytes, pairs, text};

/// Bytes that `pad` may ask for; beyond: 400.
pub const PAD_BYTES_MAX: u32 = 64 * 1024;
/// Bytes of an `id`, a `k` and a `t`; beyond: 400.
pub const WORD_BYTES_MAX: usize = 64;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'q> {
    /// Make a session without a document.
    Login {
        /// Say at once whether this user may open it.
        resource: Option<Cow<'q, str>>,
        /// The script or program that says who the client is.
        auth: Option<Cow<'q, str>>,
        /// How the session is to be sealed, in the word of the request.
        seal: Option<Cow<'q, str>>,
    },
    /// Go on with what is proved anew.
    Renew {
        /// As for `Login`.
        auth: Option<Cow<'q, str>>,
    },
    /// Open a document: `mux.html` or `refresh.html`.
    Document(DocumentRequest),
    /// Open a channel.
    Open(OpenRequest),
    /// Pass a message to the resource in order of `n`.
    Send {
        /// The channel.
        cid: Cid,
        /// Its number, from 1, below 2^53.
        n: u64,
        /// What the resource can recognise it by: the request's `id`.
        id: Option<Cow<'q, str>>,
        /// The payload, if it stands in `data=`; else it is the body.
        data: Option<Vec<u8>>,
    },
    /// End a channel.
    Close {
        /// The channel.
        cid: Cid,
        /// Which of the channels of this number; absent: the one that there is.
        life: Option<u32>,
    },
    /// End the session.
    Logout,
    /// Send what a topic's log holds as a finite document.
    History {
        /// The topic.
        name: TopicName,
        /// Start after this place.
        since: Option<Position>,
        /// Messages at most: the first after `since`, without `since` the newest.
        limit: Option<u32>,
    },
    /// Answer at once; with a session, the client's heartbeat.
    Ping {
        /// To be given back: at most 64 of visible ASCII.
        t: Option<Cow<'q, str>>,
        /// The interval at which the client means to send these.
        h: Option<Span>,
    },
    /// The body is commands, one a line.
    Batch,
    /// The browser client.
    ClientJs,
}

impl Command<'_> {
    /// Whether it has a short JSON answer, and so may stand on a line of a batch.
    pub const fn is_short(&self) -> bool {
        !matches!(self, Self::Document(_) | Self::History { .. } | Self::Batch | Self::ClientJs)
    }
}

/// What kind of document is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DocumentRequest {
    /// `refresh.html`: it succeeds the session's document.
    pub refresh: bool,
    /// Channels to be opened at once.
    pub opens: Vec<OpenRequest>,
    /// What the client has; `None` if it did not say, which is not the same as nothing. May also
    /// come as the body.
    pub last: Option<Positions>,
    /// The heartbeat interval asked for.
    pub heartbeat: Option<Span>,
    /// How long a frame may wait for more.
    pub flush: Option<Span>,
    /// Bytes of padding after the preamble, at most [`PAD_BYTES_MAX`].
    pub pad: Option<u32>,
    /// Delimit by a very large `Content-Length` instead of chunks.
    pub length_large: bool,
    /// A lasting duplicate, not a successor of the session's document.
    pub dup: bool,
    /// The number of the duplicate that this duplicate succeeds; the others go on.
    pub succeeds: Option<u32>,
    /// The script or program that says who the client of a new session is.
    pub auth: Option<String>,
}

/// A command with what says whose it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Request<'q> {
    /// What is to be done.
    pub command: Command<'q>,
    /// The server that the session lives on; `None` for absent or `0`.
    pub scs: Option<String>,
    /// The session; `None` for absent or `0`.
    pub mid: Option<Mid>,
    /// The session key, if it stands in the target; any text of at most 64 bytes.
    pub key: Option<String>,
    /// What answers are told apart by where they do not come in order: at most 64 bytes without
    /// control characters.
    pub id: Option<String>,
    /// In a sealed session: the command's number.
    pub q: Option<u64>,
    /// The same: what proves the command; any text of at most 64 bytes.
    pub mac: Option<String>,
}

impl fmt::Debug for Request<'_> {
    /// Without the key, which must never reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("command", &self.command)
            .field("scs", &self.scs)
            .field("mid", &self.mid)
            .field("key", &self.key.as_ref().map(|_| "(secret)"))
            .field("id", &self.id)
            .field("q", &self.q)
            .field("mac", &self.mac.as_ref().map(|_| "(code)"))
            .finish()
    }
}

impl Request<'_> {
    /// The script or program by which the client wants to prove who it is, where that matters: in a
    /// session that there is already, only for `renew`.
    pub fn way(&self) -> Option<&str> {
        match &self.command {
            Command::Login { auth, .. } | Command::Renew { auth } => auth.as_deref(),
            Command::Document(document) if self.mid.is_none() => document.auth.as_deref(),
            _ => None,
        }
    }
}

/// Reads a command: its name (what follows the prefix in the path) and its raw query string.
///
/// # Errors
///
/// `no-command` for a name that is not known; `bad-request` for a parameter that is missing, given
/// twice, badly encoded, or not of its form.
///
/// ```
/// use ahm::base::id::Cid;
/// use ahm::wire::command::{Command, parse};
/// let request = parse("send", "mid=4398046511105&cid=7&n=1&data=a%20b").unwrap();
/// let Command::Send { cid, n, data, .. } = request.command else { panic!("a send") };
/// assert_eq!((cid, n, data.as_deref()), (Cid(7), 1, Some(&b"a b"[..])));
/// assert!(parse("mux.html", "mid=1&mid=2").is_err());
/// ```
pub fn parse<'q>(name: &str, query: &'q str) -> Result<Request<'q>, CommandError> {
    let own = parameters(name).ok_or_else(|| CommandError {
        code: ErrorCode::NoCommand,
        detail: "no such command".into(),
    })?;
    let params = Params::read(query, '&', own)?;
    let id = params.text("id")?;
    if id.as_ref().is_some_and(|id| !is_word(id) || id.chars().any(char::is_control)) {
        let expected = "1 to 64 bytes of text without control characters";
        return Err(CommandError::value("id", expected));
    }
    let command = match name {
        "login" => login(&params)?,
        "mux.html" => Command::Document(document(&params, query, false)?),
        "refresh.html" => Command::Document(document(&params, query, true)?),
        "open" => Command::Open(OpenRequest::parse_command(query)?),
        "send" => send(&params, id.clone())?,
        "close" => Command::Close {
            cid: params.required("cid", CID, Cid::parse)?,
            life: params.optional("l", "a number below 2^32", small)?,
        },
        "renew" => Command::Renew { auth: way(&params)? },
        "logout" => Command::Logout,
        "history" => history(&params)?,
        "ping" => ping(&params)?,
        "batch" => Command::Batch,
        _ => Command::ClientJs,
    };
    Ok(Request {
        command,
        scs: params
            .optional("scs", "1 to 32 of A-Z a-z 0-9 _ -", server_id)?
            .filter(|scs| scs != "0"),
        mid: params.optional("mid", "a session's number or 0", session)?.flatten(),
        key: params.optional("k", "a session key", |text| is_word(text).then(|| text.into()))?,
        q: params.optional("q", "a number from 1, below 2^53", number)?,
        mac: params.optional("mac", "a code", |text| is_word(text).then(|| text.into()))?,
        id: id.map(Cow::into_owned),
    })
}

/// The `id` of a command that could not be read, if that can be made out.
///
/// ```
/// use ahm::wire::command::id_of;
/// assert_eq!(id_of("cid=x&id=a%201").as_deref(), Some("a 1"));
/// assert_eq!((id_of("id=%"), id_of("cid=x")), (None, None));
/// ```
pub fn id_of(query: &str) -> Option<String> {
    let (_, value) = pairs(query, '&').find(|(name, _)| *name == "id")?;
    let id = text("id", value).ok()?;
    (is_word(&id) && !id.chars().any(char::is_control)).then(|| id.into_owned())
}

/// The lines of a batch, each a name and a raw query string, for [`parse`]. Empty lines are passed
/// over; a line may end with CR LF.
///
/// ```
/// use ahm::wire::command::split_batch;
/// let lines: Vec<_> = split_batch("ping?t=1\r\n\nlogout").collect();
/// assert_eq!(lines, [("ping", "t=1"), ("logout", "")]);
/// ```
pub fn split_batch(body: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = body.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    lines.filter(|line| !line.is_empty()).map(|line| line.split_once('?').unwrap_or((line, "")))
}

const CID: &str = "a channel's number";
const MILLIS: &str = "a number of milliseconds";

/// The parameters that a command knows, beside those of every command; `None`: no such command.
fn parameters(name: &str) -> Option<&'static [&'static str]> {
    Some(match name {
        "login" => &["resource", "auth", "seal"],
        "renew" => &["auth"],
        "mux.html" => &["last", "h", "flush", "pad", "length", "dup", "auth"],
        "refresh.html" => &["last", "h", "flush", "pad", "length", "dup", "d"],
        "send" => &["cid", "n", "data"],
        "close" => &["cid", "l"],
        "history" => &["resource", "subject", "since", "limit"],
        "ping" => &["t", "h"],
        // `open` reads its own parameters, as it does those of `open=`.
        "open" | "logout" | "batch" | "client.js" => &[],
        _ => return None,
    })
}

fn login<'q>(params: &Params<'q>) -> Result<Command<'q>, CommandError> {
    let resource = params.text("resource")?;
    if let Some(resource) = &resource {
        check_resource(resource).map_err(|error| CommandError::bad(error.to_string()))?;
    }
    Ok(Command::Login { resource, auth: way(params)?, seal: params.text("seal")? })
}

/// Which script or program says who the client is.
fn way<'q>(params: &Params<'q>) -> Result<Option<Cow<'q, str>>, CommandError> {
    let auth = params.text("auth")?;
    if auth.as_ref().is_some_and(|auth| server_id(auth).is_none()) {
        return Err(CommandError::value("auth", "1 to 32 of A-Z a-z 0-9 _ -"));
    }
    Ok(auth)
}

fn document(
    params: &Params<'_>,
    query: &str,
    refresh: bool,
) -> Result<DocumentRequest, CommandError> {
    let opens = pairs(query, '&').filter(|(name, _)| *name == "open");
    let last = params.text("last")?;
    let length = params.optional("length", "`large`", |word| (word == "large").then_some(()))?;
    let pad_expected = "a number of bytes up to 65536";
    let dup = params.switch("dup")?;
    let succeeds = if refresh {
        let number = |text: &str| small(text).filter(|number| *number > 0);
        params.optional("d", "a document's number", number)?
    } else {
        None
    };
    Ok(DocumentRequest {
        refresh,
        opens: opens.map(|(_, value)| OpenRequest::parse(value)).collect::<Result<_, _>>()?,
        last: last.map(|last| Positions::parse(&last)).transpose()?,
        heartbeat: params.optional("h", MILLIS, millis)?,
        flush: params.optional("flush", MILLIS, millis)?,
        pad: params.optional("pad", pad_expected, |text| {
            small(text).filter(|bytes| *bytes <= PAD_BYTES_MAX)
        })?,
        length_large: length.is_some(),
        dup,
        succeeds: succeeds.filter(|_| dup),
        auth: if refresh { None } else { way(params)?.map(Cow::into_owned) },
    })
}

fn send<'q>(params: &Params<'q>, id: Option<Cow<'q, str>>) -> Result<Command<'q>, CommandError> {
    let data = params.raw("data").map(|raw| bytes("data", raw)).transpose()?;
    Ok(Command::Send {
        cid: params.required("cid", CID, Cid::parse)?,
        n: params.required("n", "a number from 1, below 2^53", number)?,
        id,
        data: data.map(Cow::into_owned),
    })
}

fn history<'q>(params: &Params<'q>) -> Result<Command<'q>, CommandError> {
    let resource = params.required("resource", "text", |text| Some(text.to_owned()))?;
    let subject = params.text("subject")?.unwrap_or_default();
    Ok(Command::History {
        name: topic_name(&resource, &subject)?,
        since: params.optional("since", "EP:N", Position::parse)?,
        limit: params.optional("limit", "a number of messages", small)?,
    })
}

fn ping<'q>(params: &Params<'q>) -> Result<Command<'q>, CommandError> {
    let t = params.text("t")?;
    let visible =
        |t: &str| t.len() <= WORD_BYTES_MAX && t.bytes().all(|byte| byte.is_ascii_graphic());
    if t.as_ref().is_some_and(|t| !visible(t)) {
        return Err(CommandError::value("t", "at most 64 visible ASCII characters"));
    }
    Ok(Command::Ping { t, h: params.optional("h", MILLIS, millis)? })
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.len() <= WORD_BYTES_MAX
}

fn number(text: &str) -> Option<u64> {
    Offset::parse(text).map(|n| n.0).filter(|n| *n > 0)
}

fn server_id(text: &str) -> Option<String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    ((1..=32).contains(&text.len()) && text.bytes().all(legal)).then(|| text.to_owned())
}

fn session(text: &str) -> Option<Option<Mid>> {
    if text == "0" { Some(None) } else { Mid::parse(text).map(Some) }
}

fn millis(text: &str) -> Option<Span> {
    parse_decimal(text).map(Span::from_millis)
}

fn small(text: &str) -> Option<u32> {
    parse_decimal(text).and_then(|number| u32::try_from(number).ok())
}

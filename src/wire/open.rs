//! What a client asks for when it opens a channel.

use std::fmt;

use percent_encoding::utf8_percent_encode;

use crate::base::id::{Cid, parse_decimal};
use crate::base::name::TopicName;
use crate::wire::error::CommandError;
use crate::wire::position::Position;
use crate::wire::query::{Params, VALUE, text};

/// The options of an `open`, as parameters of the command or after semicolons in `open=`.
const OPTIONS: &[&str] = &["since", "mode", "rate", "strict", "cid"];

/// How a channel reads on when it is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Every message.
    #[default]
    Queue,
    /// A reader that is behind jumps to the newest.
    Latest,
}

impl Mode {
    /// The word on the wire.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Latest => "latest",
        }
    }
}

/// One channel to be opened.
///
/// Its `Display` is the value of an `open=` parameter, percent-encoded where it must be:
///
/// ```
/// use ahm::wire::open::{Mode, OpenRequest};
/// let open = OpenRequest::parse("fx/EUR%3BUSD/spot;mode=latest;rate=5").unwrap();
/// assert_eq!(open.name.as_str(), "fx/EUR;USD/spot");
/// assert_eq!((open.mode, open.rate), (Mode::Latest, Some(5)));
/// assert_eq!(open.to_string(), "fx/EUR%3BUSD/spot;mode=latest;rate=5");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenRequest {
    /// The topic; a subject that ends in `*` is a standing order.
    pub name: TopicName,
    /// The number that the client wants for the channel, below 2^20.
    pub cid: Option<Cid>,
    /// How it reads on when it is behind.
    pub mode: Mode,
    /// Messages a second at most, from 1; the newest each time.
    pub rate: Option<u32>,
    /// Whether the channel rather ends than misses a message.
    pub strict: bool,
    /// Start after this place.
    pub since: Option<Position>,
}

impl OpenRequest {
    /// A request for every message of `name` from now on.
    pub fn new(name: TopicName) -> Self {
        Self { name, cid: None, mode: Mode::Queue, rate: None, strict: false, since: None }
    }

    /// Reads the raw value of an `open=` parameter. It is divided at semicolons, and what stands
    /// before the first of them at its first slash, before anything is percent-decoded: so a
    /// subject may hold both, a semicolon as `%3B`. Without a slash the subject is empty.
    ///
    /// # Errors
    ///
    /// `bad-request` for a name that is not of the grammar, an option given twice or with a wrong
    /// value. Unknown options are passed over.
    pub fn parse(raw: &str) -> Result<Self, CommandError> {
        let (topic, options) = raw.split_once(';').unwrap_or((raw, ""));
        let (resource, subject) = topic.split_once('/').unwrap_or((topic, ""));
        let name = topic_name(&text("open", resource)?, &text("open", subject)?)?;
        if options.is_empty() {
            return Ok(Self::new(name));
        }
        Self::with_options(name, &Params::read(options, ';', OPTIONS)?)
    }

    /// Reads the query string of the command `open`.
    pub(crate) fn parse_command(query: &str) -> Result<Self, CommandError> {
        let names = Params::read(query, '&', &["resource", "subject"])?;
        let resource = names.required("resource", "text", |text| Some(text.to_owned()))?;
        let subject = names.text("subject")?.unwrap_or_default();
        let name = topic_name(&resource, &subject)?;
        Self::with_options(name, &Params::read(query, '&', OPTIONS)?)
    }

    fn with_options(name: TopicName, params: &Params<'_>) -> Result<Self, CommandError> {
        let mode = params.optional("mode", "`queue` or `latest`", |word| match word {
            "queue" => Some(Mode::Queue),
            "latest" => Some(Mode::Latest),
            _ => None,
        })?;
        Ok(Self {
            name,
            cid: params.optional("cid", "a number from 1 to 1048575", |text| {
                Cid::parse(text).filter(|cid| cid.is_clients_choice())
            })?,
            mode: mode.unwrap_or_default(),
            rate: params.optional("rate", "a number of messages a second, from 1", |text| {
                let rate = u32::try_from(parse_decimal(text)?).ok()?;
                (rate > 0).then_some(rate)
            })?,
            strict: params.switch("strict")?,
            since: params.optional("since", "EP:N", Position::parse)?,
        })
    }
}

impl fmt::Display for OpenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = utf8_percent_encode(self.name.subject(), VALUE);
        write!(f, "{}/{subject}", utf8_percent_encode(self.name.resource(), VALUE))?;
        if let Some(since) = self.since {
            write!(f, ";since={since}")?;
        }
        if self.mode != Mode::Queue {
            write!(f, ";mode={}", self.mode.word())?;
        }
        if let Some(rate) = self.rate {
            write!(f, ";rate={rate}")?;
        }
        if self.strict {
            f.write_str(";strict=1")?;
        }
        if let Some(cid) = self.cid {
            write!(f, ";cid={cid}")?;
        }
        Ok(())
    }
}

/// Checks both parts of a topic's name.
pub(crate) fn topic_name(resource: &str, subject: &str) -> Result<TopicName, CommandError> {
    TopicName::new(resource, subject).map_err(|error| CommandError::bad(error.to_string()))
}

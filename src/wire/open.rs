//! What a client asks for when it opens a channel.

use std::fmt;

use percent_encoding::utf8_percent_encode;

use crate::base::id::{Cid, parse_decimal};
use crate::base::name::TopicName;
use crate::wire::error::CommandError;
use crate::wire::position::Position;
use crate::wire::query::{Params, VALUE, pairs, text};

/// The options of an `open`, as parameters of the command or after semicolons in `open=`.
const OPTIONS: &[&str] = &["since", "mode", "rate", "strict", "cid"];

/// What an option is called that is for the resource alone.
const FOR_RESOURCE: &str = "x-";
/// Such options of one request.
const PARAMETERS_MAX: usize = 16;
/// Bytes of their names and values together.
const PARAMETER_BYTES_MAX: usize = 1_024;
/// Bytes of a name.
const PARAMETER_NAME_MAX: usize = 32;

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
    /// What the resource is told, as `NAME=VALUE`: the options `x-NAME`, at most 16 and 1,024 bytes
    /// of names and values. Names are of letters, digits, `-` and `_`, at most 32 of them.
    pub parameters: Vec<String>,
}

impl OpenRequest {
    /// A request for every message of `name` from now on.
    pub fn new(name: TopicName) -> Self {
        let (cid, mode, rate, since) = (None, Mode::Queue, None, None);
        Self { name, cid, mode, rate, strict: false, since, parameters: Vec::new() }
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
        let parameters = parameters(options, ';')?;
        Self::with_options(name, &Params::read(options, ';', OPTIONS)?, parameters)
    }

    /// Reads the query string of the command `open`.
    pub(crate) fn parse_command(query: &str) -> Result<Self, CommandError> {
        let names = Params::read(query, '&', &["resource", "subject"])?;
        let resource = names.required("resource", "text", |text| Some(text.to_owned()))?;
        let subject = names.text("subject")?.unwrap_or_default();
        let name = topic_name(&resource, &subject)?;
        let parameters = parameters(query, '&')?;
        Self::with_options(name, &Params::read(query, '&', OPTIONS)?, parameters)
    }

    fn with_options(
        name: TopicName,
        params: &Params<'_>,
        parameters: Vec<String>,
    ) -> Result<Self, CommandError> {
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
            parameters,
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
        for (name, value) in self.parameters.iter().filter_map(|pair| pair.split_once('=')) {
            write!(f, ";{FOR_RESOURCE}{name}={}", utf8_percent_encode(value, VALUE))?;
        }
        Ok(())
    }
}

/// What options say that are for the resource.
fn parameters(options: &str, separator: char) -> Result<Vec<String>, CommandError> {
    let mut found: Vec<String> = Vec::new();
    let mut bytes = 0;
    for (option, value) in pairs(options, separator) {
        let Some(name) = option.strip_prefix(FOR_RESOURCE) else { continue };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !(1..=PARAMETER_NAME_MAX).contains(&name.len()) || !name.bytes().all(is_plain) {
            let what = "what follows `x-` is 1 to 32 letters, digits, `-` and `_`";
            return Err(CommandError::bad(what));
        }
        let value = text(option, value)?;
        bytes += name.len() + value.len();
        let is_same = |pair: &String| pair.split_once('=').is_some_and(|(other, _)| other == name);
        if found.iter().any(is_same) {
            return Err(CommandError::bad(format!("`{option}` is given twice")));
        }
        if found.len() == PARAMETERS_MAX || bytes > PARAMETER_BYTES_MAX {
            let what = "at most 16 options `x-NAME`, with 1,024 bytes of names and values";
            return Err(CommandError::bad(what));
        }
        found.push(format!("{name}={value}"));
    }
    Ok(found)
}

/// Checks both parts of a topic's name.
pub(crate) fn topic_name(resource: &str, subject: &str) -> Result<TopicName, CommandError> {
    TopicName::new(resource, subject).map_err(|error| CommandError::bad(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_the_resource_goes_there_and_back() {
        let raw = "deal/;x-account=A%3B1%26;rate=5;x-desk=;y=1";
        let open = OpenRequest::parse(raw).unwrap();
        assert_eq!(open.parameters, ["account=A;1&", "desk="]);
        assert_eq!(OpenRequest::parse(&open.to_string()).unwrap(), open);
        let command = "resource=deal&x-account=A%3B1%26&rate=5&x-desk=&x=1";
        assert_eq!(OpenRequest::parse_command(command).unwrap(), open);
        assert_eq!(OpenRequest::parse("deal").unwrap().parameters, [""; 0]);
    }

    #[test]
    fn what_is_for_the_resource_is_bounded_and_named() {
        let many: String = (0..=PARAMETERS_MAX).map(|at| format!(";x-{at}=")).collect();
        let long = format!(";x-a={}", "y".repeat(PARAMETER_BYTES_MAX));
        let name = format!(";x-{}=", "n".repeat(PARAMETER_NAME_MAX + 1));
        for (options, wanted) in [
            (many.as_str(), "at most 16"),
            (&long, "1,024 bytes"),
            (&name, "1 to 32"),
            (";x-=1", "1 to 32"),
            (";x-a%20b=1", "1 to 32"),
            (";x-a=1;x-a=2", "given twice"),
            (";x-a=%zz", "hexadecimal"),
            (";x-a=%ff", "not UTF-8"),
        ] {
            let error = OpenRequest::parse(&format!("deal{options}")).unwrap_err();
            assert!(error.to_string().contains(wanted), "{options}: {error}");
        }
    }
}

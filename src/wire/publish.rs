//! What publishers say on the private listener: targets and lines.

use crate::base::id::{Epoch, Offset};
use crate::base::name::TopicName;
use crate::wire::error::CommandError;
use crate::wire::open::topic_name;
use crate::wire::position::Position;
use crate::wire::query::{Params, text};

const SINGLE: &[&str] = &["epoch", "n", "snapshot"];
const BATCH: &[&str] = &["resource"];

/// The target of `POST /publish/RESOURCE/SUBJECT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishTarget {
    /// The topic.
    pub name: TopicName,
    /// Epoch and offset, where the publisher numbers.
    pub position: Option<Position>,
    /// Whether the publisher calls the message a snapshot.
    pub snapshot: bool,
}

impl PublishTarget {
    /// Reads what follows `/publish/` in the path, raw, and the raw query.
    ///
    /// # Errors
    ///
    /// `bad-request` for a name that is not of the grammar, `epoch` without `n` or the reverse, or
    /// a value that is not of its form.
    ///
    /// ```
    /// use ahm::wire::publish::PublishTarget;
    /// let target = PublishTarget::parse("fx/EUR%2FUSD", "epoch=k2&n=7").unwrap();
    /// assert_eq!(target.name.as_str(), "fx/EUR/USD");
    /// assert_eq!(target.position.unwrap().to_string(), "k2:7");
    /// assert!(PublishTarget::parse("fx/EURUSD", "n=7").is_err());
    /// ```
    pub fn parse(path: &str, query: &str) -> Result<Self, CommandError> {
        let (resource, subject) = path.split_once('/').unwrap_or((path, ""));
        let name = topic_name(&text("resource", resource)?, &text("subject", subject)?)?;
        let params = Params::read(query, '&', SINGLE)?;
        let epoch = params.optional("epoch", "1 to 13 of 0-9 a-z", Epoch::parse)?;
        let n = params
            .optional("n", "a number from 1", |text| Offset::parse(text).filter(|n| n.0 > 0))?;
        let snapshot = params.optional("snapshot", "0 or 1", flag)?.unwrap_or(false);
        let position = match (epoch, n) {
            (Some(ep), Some(n)) => Some(Position { ep, n }),
            (None, None) => None,
            _ => return Err(CommandError::bad("`epoch` and `n` go together")),
        };
        Ok(Self { name, position, snapshot })
    }
}

/// The `resource` of `POST /publish?resource=R`: the lines name subjects of it.
///
/// # Errors
///
/// `bad-request` if it is given twice or badly encoded.
pub fn batch_resource(query: &str) -> Result<Option<String>, CommandError> {
    let params = Params::read(query, '&', BATCH)?;
    Ok(params.text("resource")?.map(|resource| resource.into_owned()))
}

/// The lines of a batch of messages: each a name, a TAB, and the payload; an empty line at the end
/// is none. The name is `RESOURCE/SUBJECT`, or the subject where the batch is for one `resource`.
///
/// # Errors
///
/// Each line has its own: `bad-request` without a TAB or for a name that is not of the grammar.
///
/// ```
/// use ahm::wire::publish::batch_lines;
/// let lines: Vec<_> = batch_lines(b"fx/EURUSD\t1.09 1.10\nno tab\n", None).collect();
/// assert_eq!(lines[0].as_ref().unwrap().1, b"1.09 1.10");
/// assert!(lines[1].is_err());
/// ```
pub fn batch_lines<'b>(
    body: &'b [u8],
    resource: Option<&'b str>,
) -> impl Iterator<Item = Result<(TopicName, &'b [u8]), CommandError>> + 'b {
    let body = body.strip_suffix(b"\n").unwrap_or(body);
    let lines = body.split(|&byte| byte == b'\n');
    let empty = body.is_empty();
    lines.filter(move |_| !empty).map(move |line| {
        let tab = memchr::memchr(b'\t', line)
            .ok_or_else(|| CommandError::bad("a line is a name, a TAB and the payload"))?;
        let name = std::str::from_utf8(&line[..tab])
            .map_err(|_| CommandError::bad("the name is not UTF-8"))?;
        let name = match (resource, name.split_once('/')) {
            (Some(resource), _) => topic_name(resource, name)?,
            (None, Some((resource, subject))) => topic_name(resource, subject)?,
            (None, None) => topic_name(name, "")?,
        };
        Ok((name, &line[tab + 1..]))
    })
}

fn flag(text: &str) -> Option<bool> {
    match text {
        "1" | "" => Some(true),
        "0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_that_are_refused() {
        for (path, query) in [
            ("", ""),
            ("a b/x", ""),
            ("r/%zz", ""),
            ("r/x", "epoch=A&n=1"),
            ("r/x", "epoch=a"),
            ("r/x", "epoch=a&n=0"),
            ("r/x", "snapshot=yes"),
            ("r/x", "n=1&n=2&epoch=a"),
        ] {
            assert!(PublishTarget::parse(path, query).is_err(), "{path} {query}");
        }
    }

    #[test]
    fn lines_keep_what_is_not_a_line_feed() {
        let body = b"a\tone\ttwo\r\n\tempty\nb\t";
        let lines: Vec<_> = batch_lines(body, Some("r")).map(Result::unwrap).collect();
        let lines: Vec<_> = lines.iter().map(|(name, text)| (name.as_str(), *text)).collect();
        assert_eq!(lines, [("r/a", &b"one\ttwo\r"[..]), ("r/", b"empty"), ("r/b", b"")]);
        assert_eq!(batch_lines(b"", None).count(), 0);
        assert_eq!(batch_lines(b"\n", None).count(), 0);
    }
}

//! What is wrong with a line of a document.

use std::fmt;

/// Why a line is not a frame, said precisely enough to find the fault in the writer.
///
/// A reader that gets one must not go on with the document: a frame may have been lost in it, and
/// a successor that starts from the last known positions brings it again.
///
/// ```
/// use ahm::html::scan::parse_line;
/// let error = parse_line(b"<p c=7>payload").unwrap_err();
/// assert_eq!(error.to_string(), "the frame lacks its attribute `n`");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// The line is longer than the reader's limit.
    TooLong {
        /// The limit, in bytes without the line end.
        line_bytes_max: usize,
    },
    /// The line does not begin with `<p` and a space.
    NoParagraph,
    /// No `>` ends the attributes.
    Unclosed,
    /// What stands between `<p` and `>` is not attributes, each after one space.
    Syntax,
    /// The frame lacks an attribute, or the attribute has no value.
    Missing(&'static str),
    /// An attribute is given twice.
    Twice(&'static str),
    /// An attribute's value is not of its form, or out of its range.
    Value(&'static str),
    /// The payload is not what the writer promises; says how.
    Payload(&'static str),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { line_bytes_max } => {
                write!(f, "the line is longer than {line_bytes_max} bytes")
            }
            Self::NoParagraph => f.write_str("the line does not begin with `<p `"),
            Self::Unclosed => f.write_str("no `>` ends the attributes"),
            Self::Syntax => {
                f.write_str("the attributes are not of the form ` name` or ` name=value`")
            }
            Self::Missing(name) => write!(f, "the frame lacks its attribute `{name}`"),
            Self::Twice(name) => write!(f, "the attribute `{name}` is given twice"),
            Self::Value(name) => {
                write!(f, "the value of the attribute `{name}` is not of its form")
            }
            Self::Payload(what) => write!(f, "the payload {what}"),
        }
    }
}

impl std::error::Error for FrameError {}

//! What a source of data cannot do.

use std::fmt;

use crate::auth::list::ListError;
use crate::base::limits::PAYLOAD_BYTES_MAX;
use crate::base::name::NameError;

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceError {
    /// The name of a resource or subject.
    Name(NameError),
    /// There is no resource of that name here.
    NoResource(String),
    /// There is a resource of that name already.
    Doubled(String),
    /// No weight.
    Weight(u32),
    /// Replicas without an epoch that they share.
    Replicas(String),
    /// What is wrong with the access list.
    Access(ListError),
    /// A payload of so many bytes.
    Large(usize),
    /// No offset.
    Offset(u64),
    /// The private channel is over.
    NoChannel,
    /// The source has stopped.
    Stopped,
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::NoResource(name) => write!(f, "there is no resource {name} here"),
            Self::Doubled(name) => write!(f, "there is a resource {name} here already"),
            Self::Weight(weight) => write!(f, "a weight is 1 to 1,000, not {weight}"),
            Self::Replicas(name) => {
                write!(f, "instances of {name} that are replicas need an epoch that they share")
            }
            Self::Access(error) => write!(f, "the access list: {error}"),
            Self::Large(bytes) => {
                write!(f, "a payload is at most {PAYLOAD_BYTES_MAX} bytes, not {bytes}")
            }
            Self::Offset(n) => write!(f, "an offset is 1 to 2^53-1, not {n}"),
            Self::NoChannel => f.write_str("the private channel is over"),
            Self::Stopped => f.write_str("the source has stopped"),
        }
    }
}

impl std::error::Error for SourceError {}

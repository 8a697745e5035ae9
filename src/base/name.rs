//! The name of a topic: resource and subject.

use std::fmt;
use std::sync::Arc;

/// Bytes of the longest resource.
const RESOURCE_BYTES_MAX: usize = 64;
/// Bytes of the longest subject.
const SUBJECT_BYTES_MAX: usize = 255;

/// Why a resource or subject name was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// A resource is 1 to 64 of `[A-Za-z0-9_.$-]`.
    Resource,
    /// A subject is at most 255 bytes of UTF-8 without control characters.
    Subject,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resource => "a resource name is 1 to 64 of A-Z a-z 0-9 _ . $ -",
            Self::Subject => "a subject is at most 255 bytes of UTF-8 without control characters",
        })
    }
}

impl std::error::Error for NameError {}

/// A topic's name, `RESOURCE/SUBJECT`, checked once where it enters and shared after that.
///
/// ```
/// use ahm::base::name::TopicName;
/// let name = TopicName::new("quotes", "EUR/USD").unwrap();
/// assert_eq!((name.resource(), name.subject()), ("quotes", "EUR/USD"));
/// assert_eq!(name.as_str(), "quotes/EUR/USD");
/// assert!(TopicName::new("no spaces", "x").is_err());
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// Joins a resource and a subject after checking both.
    pub fn new(resource: &str, subject: &str) -> Result<Self, NameError> {
        check_resource(resource)?;
        check_subject(subject)?;
        // Joined here, so that the name itself is the only memory that is asked for.
        let mut room = [0; RESOURCE_BYTES_MAX + 1 + SUBJECT_BYTES_MAX];
        let (slash, length) = (resource.len(), resource.len() + 1 + subject.len());
        room[..slash].copy_from_slice(resource.as_bytes());
        room[slash] = b'/';
        room[slash + 1..length].copy_from_slice(subject.as_bytes());
        let joined = std::str::from_utf8(&room[..length]);
        joined.map(|joined| Self(joined.into())).map_err(|_| NameError::Subject)
    }

    /// The resource: everything before the first slash.
    pub fn resource(&self) -> &str {
        self.0.split_once('/').map_or("", |(resource, _)| resource)
    }

    /// The subject: everything after the first slash; may be empty and may hold slashes.
    pub fn subject(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, subject)| subject)
    }

    /// `RESOURCE/SUBJECT`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Checks the name of a resource: 1 to 64 of `[A-Za-z0-9_.$-]`.
pub fn check_resource(name: &str) -> Result<(), NameError> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"_.$-".contains(&byte);
    if name.is_empty() || name.len() > RESOURCE_BYTES_MAX || !name.bytes().all(legal) {
        return Err(NameError::Resource);
    }
    Ok(())
}

/// Checks a subject: at most 255 bytes of UTF-8 without control characters.
pub fn check_subject(subject: &str) -> Result<(), NameError> {
    let plain = |byte: u8| (0x20..0x7f).contains(&byte);
    let legal = subject.bytes().all(plain) || !subject.chars().any(char::is_control);
    if subject.len() > SUBJECT_BYTES_MAX || !legal {
        return Err(NameError::Subject);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_where_they_enter() {
        assert_eq!(TopicName::new("", "x"), Err(NameError::Resource));
        assert_eq!(TopicName::new("a/b", "x"), Err(NameError::Resource));
        assert_eq!(TopicName::new(&"r".repeat(65), "x"), Err(NameError::Resource));
        assert_eq!(TopicName::new("r", "a\nb"), Err(NameError::Subject));
        assert_eq!(TopicName::new("r", "a\u{85}b"), Err(NameError::Subject));
        assert_eq!(TopicName::new("r", &"s".repeat(256)), Err(NameError::Subject));
        assert_eq!(TopicName::new("r", "").map(|name| name.to_string()), Ok("r/".to_string()));
    }
}

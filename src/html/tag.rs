//! The attributes of one frame, checked as a whole and looked up by name.

use std::borrow::Cow;

use crate::html::error::FrameError;
use crate::html::escape::{attribute, is_plain};

/// What stands between `<p` and `>`. A frame has few attributes, so that looking each up from the
/// left is cheaper than any table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tag<'a> {
    /// The name of the first attribute.
    pub(crate) kind: &'a str,
    text: &'a str,
}

impl<'a> Tag<'a> {
    /// Takes the bytes between `<p` with its space and `>`; checks that all of them are attributes,
    /// known or not.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let text = std::str::from_utf8(bytes).map_err(|_| FrameError::Syntax)?;
        for (name, value) in attributes(text) {
            let name_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
            let value_byte = |byte: u8| is_plain(byte) || byte == b'%';
            let fits = value.is_none_or(|value| !value.is_empty() && value.bytes().all(value_byte));
            if name.is_empty() || !name.bytes().all(name_byte) || !fits {
                return Err(FrameError::Syntax);
            }
        }
        let kind = attributes(text).next().map_or("", |(name, _)| name);
        Ok(Self { kind, text })
    }

    /// Looks an attribute up: absent, without value, or with one.
    fn find(&self, name: &'static str) -> Result<Option<Option<&'a str>>, FrameError> {
        let mut values = attributes(self.text).filter(|(found, _)| *found == name);
        let value = values.next().map(|(_, value)| value);
        if values.next().is_some() {
            return Err(FrameError::Twice(name));
        }
        Ok(value)
    }

    /// Whether the flag `name` stands there.
    pub(crate) fn flag(&self, name: &'static str) -> Result<bool, FrameError> {
        Ok(self.find(name)?.is_some())
    }

    /// The value of `name` as it stands on the line.
    pub(crate) fn raw(&self, name: &'static str) -> Result<Option<&'a str>, FrameError> {
        match self.find(name)? {
            None => Ok(None),
            Some(None) => Err(FrameError::Missing(name)),
            Some(value) => Ok(value),
        }
    }

    /// The value of `name`, percent-decoded.
    pub(crate) fn text(&self, name: &'static str) -> Result<Cow<'a, str>, FrameError> {
        let raw = self.raw(name)?.ok_or(FrameError::Missing(name))?;
        attribute(raw).ok_or(FrameError::Value(name))
    }

    /// The value of `name` as `parse` reads it; absent is no error.
    pub(crate) fn optional<T>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<Option<T>, FrameError> {
        match self.raw(name)? {
            None => Ok(None),
            Some(raw) => parse(raw).map(Some).ok_or(FrameError::Value(name)),
        }
    }

    /// The value of `name` as `parse` reads it.
    pub(crate) fn value<T>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<T, FrameError> {
        self.optional(name, parse)?.ok_or(FrameError::Missing(name))
    }
}

fn attributes(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    text.split(' ').map(|item| match item.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (item, None),
    })
}

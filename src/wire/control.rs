//! What a web server says on the private listener of sessions: who is to have one, and whose end.

use std::net::IpAddr;

use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::base::id::{Mid, parse_decimal};
use crate::base::limits::USER_BYTES_MAX;
use crate::wire::error::CommandError;

/// Groups, or rights, of one session.
const LIST_MAX: usize = 64;
/// Bytes of one right.
const RIGHT_BYTES_MAX: usize = 512;
/// What is smaller than this counts from now, and is not a moment: 2001-09-09 and before.
const FROM_NOW_BELOW: u64 = 1_000_000_000;

/// What a web server asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Control {
    /// Who the client is.
    pub user: Option<String>,
    /// The groups that it belongs to.
    pub groups: Vec<String>,
    /// Patterns of what it may open at all; `None` leaves that to the access lists.
    pub rights: Option<Vec<String>>,
    /// When that ends: seconds since 1970, or, below 1,000,000,000, from now.
    pub expires: Option<u64>,
    /// A resource that it wants to open.
    pub resource: Option<String>,
    /// The address of the client, where a list of that resource asks for it.
    pub address: Option<IpAddr>,
    /// How the session is to be sealed.
    pub seal: Option<String>,
    /// The session that is meant.
    pub mid: Option<Mid>,
}

impl Control {
    /// Reads the query, and then the body: one JSON object, or a form as pages send it
    /// (`application/x-www-form-urlencoded`). `groups` and `rights` are arrays in the one, and in
    /// the other texts that commas divide, or several. Unknown names are passed over.
    ///
    /// # Errors
    ///
    /// `bad-request`, and what of it was wrong; never with a value.
    ///
    /// ```
    /// use ahm::wire::control::Control;
    /// let form = Control::read("", b"user=anna+k&groups=desk,vip&expires=3600").unwrap();
    /// assert_eq!((form.user.as_deref(), form.expires), (Some("anna k"), Some(3600)));
    /// let json = br#"{"user":"anna k","groups":["desk","vip"],"expires":3600}"#;
    /// assert_eq!(Control::read("", json).unwrap(), form);
    /// assert!(Control::read("user=a", b"user=b").is_err(), "twice");
    /// ```
    pub fn read(query: &str, body: &[u8]) -> Result<Self, CommandError> {
        let mut control = Self::default();
        control.form(query)?;
        let text = std::str::from_utf8(body).map_err(|_| CommandError::bad("not UTF-8"))?;
        match text.trim_start().starts_with('{') {
            true => control.json(text)?,
            false => control.form(text.trim_end_matches(['\r', '\n']))?,
        }
        Ok(control)
    }

    /// When it ends, in seconds since 1970.
    ///
    /// # Errors
    ///
    /// `bad-request` if that was before now.
    pub fn expires_at(&self, now: u64) -> Result<Option<u64>, CommandError> {
        let Some(given) = self.expires else { return Ok(None) };
        let at = if given < FROM_NOW_BELOW { now.saturating_add(given) } else { given };
        match at > now {
            true => Ok(Some(at)),
            false => Err(CommandError::bad("`expires` is past")),
        }
    }

    fn form(&mut self, text: &str) -> Result<(), CommandError> {
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = value.replace('+', " ");
            let value = percent_decode_str(&value).decode_utf8();
            let value = value.map_err(|_| CommandError::bad("a value is not UTF-8"))?;
            match name {
                "groups" | "rights" => {
                    for item in value.split(',').filter(|item| !item.is_empty()) {
                        self.add(name, item)?;
                    }
                    // Given and empty is not the same as not given.
                    if name == "rights" {
                        self.rights.get_or_insert_default();
                    }
                }
                "expires" => {
                    let seconds = parse_decimal(&value).ok_or_else(|| wrong("expires"))?;
                    put(&mut self.expires, name, seconds)?;
                }
                _ => self.text(name, &value)?,
            }
        }
        Ok(())
    }

    fn json(&mut self, text: &str) -> Result<(), CommandError> {
        let Ok(Value::Object(members)) = serde_json::from_str(text) else {
            return Err(CommandError::bad("the body is neither a form nor one JSON object"));
        };
        for (name, value) in &members {
            match (name.as_str(), value) {
                (_, Value::Null) => {}
                ("groups" | "rights", Value::Array(items)) => {
                    for item in items {
                        self.add(name, item.as_str().ok_or_else(|| wrong(name))?)?;
                    }
                    if name == "rights" {
                        self.rights.get_or_insert_default();
                    }
                }
                ("expires", Value::Number(number)) => {
                    let seconds = number.as_u64().ok_or_else(|| wrong(name))?;
                    put(&mut self.expires, name, seconds)?;
                }
                ("mid", Value::Number(number)) => self.text(name, &number.to_string())?,
                (_, Value::String(text)) => self.text(name, text)?,
                (
                    "user" | "groups" | "rights" | "expires" | "resource" | "address" | "seal"
                    | "mid",
                    _,
                ) => return Err(wrong(name)),
                _ => {}
            }
        }
        Ok(())
    }

    fn text(&mut self, name: &str, value: &str) -> Result<(), CommandError> {
        match name {
            "user" => put(&mut self.user, name, checked(name, value, USER_BYTES_MAX)?.into()),
            "resource" => put(&mut self.resource, name, value.into()),
            "address" => {
                let address = value.parse().map_err(|_| wrong(name))?;
                put(&mut self.address, name, address)
            }
            "seal" => put(&mut self.seal, name, value.into()),
            "mid" => {
                let mid = parse_decimal(value).and_then(Mid::from_number);
                put(&mut self.mid, name, mid.ok_or_else(|| wrong(name))?)
            }
            "groups" | "rights" | "expires" => Err(wrong(name)),
            _ => Ok(()),
        }
    }

    fn add(&mut self, name: &str, item: &str) -> Result<(), CommandError> {
        let (list, bytes_max) = match name {
            "groups" => (&mut self.groups, USER_BYTES_MAX),
            _ => (self.rights.get_or_insert_default(), RIGHT_BYTES_MAX),
        };
        if list.len() >= LIST_MAX {
            return Err(CommandError::bad(format!("`{name}` has more than {LIST_MAX}")));
        }
        list.push(checked(name, item, bytes_max)?.into());
        Ok(())
    }
}

fn checked<'t>(name: &str, text: &'t str, bytes_max: usize) -> Result<&'t str, CommandError> {
    let fits = !text.is_empty() && text.len() <= bytes_max && !text.chars().any(char::is_control);
    fits.then_some(text).ok_or_else(|| {
        CommandError::bad(format!(
            "in `{name}` are 1 to {bytes_max} bytes without control characters"
        ))
    })
}

fn put<T>(place: &mut Option<T>, name: &str, value: T) -> Result<(), CommandError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(CommandError::bad(format!("`{name}` is given twice"))),
    }
}

fn wrong(name: &str) -> CommandError {
    let wanted = match name {
        "groups" | "rights" => "a list of texts",
        "expires" => "whole seconds, since 1970 or from now",
        "mid" => "a session's number",
        "address" => "an address such as 10.1.2.3 or 2001:db8::1",
        _ => "text",
    };
    CommandError::bad(format!("`{name}` is not {wanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forms_and_objects_say_the_same() {
        for (form, json) in [
            ("user=a%2Bb&mid=7", r#"{"user":"a+b","mid":"7"}"#),
            ("address=::1", r#"{"address":"::1"}"#),
            ("mid=7\r\n", r#" {"mid":7,"other":[1]}"#),
            ("rights=", r#"{"rights":[]}"#),
            ("rights=fx/*,q/%2A&rights=x", r#"{"rights":["fx/*","q/*","x"],"groups":null}"#),
            (
                "resource=fx&seal=aes&groups=a+b",
                r#"{"resource":"fx","seal":"aes","groups":["a b"]}"#,
            ),
            ("", "{}"),
        ] {
            let read = |body: &str| Control::read("", body.as_bytes()).unwrap();
            assert_eq!(read(form), read(json), "{form}");
        }
        assert_eq!(Control::read("rights=", b"").unwrap().rights, Some(vec![]));
    }

    #[test]
    fn what_is_wrong_is_named_and_never_repeated() {
        for (body, wanted) in [
            ("user=", "in `user` are 1 to 128 bytes"),
            ("user=a%0Ab", "in `user` are 1 to 128 bytes"),
            ("user=a&user=b", "`user` is given twice"),
            ("expires=soon", "`expires` is not whole seconds"),
            ("mid=x", "`mid` is not a session's number"),
            ("address=here", "`address` is not an address"),
            ("mid=0", "`mid` is not a session's number"),
            ("user=%ff", "a value is not UTF-8"),
            ("{", "the body is neither"),
            (r#"{"user":5}"#, "`user` is not text"),
            (r#"{"groups":"a"}"#, "`groups` is not a list"),
            (r#"{"rights":[1]}"#, "`rights` is not a list"),
            (r#"{"expires":-1}"#, "`expires` is not whole"),
            (r#"{"expires":"60"}"#, "`expires` is not whole"),
        ] {
            let said = Control::read("", body.as_bytes()).unwrap_err().detail;
            assert!(said.starts_with(wanted), "{body}: {said}");
        }
        let many = format!("groups={}", "a,".repeat(65));
        assert!(Control::read("", many.as_bytes()).is_err());
    }

    #[test]
    fn an_end_is_a_moment_or_from_now() {
        let at = |expires| Control { expires, ..Control::default() }.expires_at(1_800_000_000);
        assert_eq!(at(None).unwrap(), None);
        assert_eq!(at(Some(60)).unwrap(), Some(1_800_000_060));
        assert_eq!(at(Some(1_800_000_001)).unwrap(), Some(1_800_000_001));
        assert!(at(Some(1_800_000_000)).is_err() && at(Some(0)).is_err());
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(query: String, body: Vec<u8>) {
            let _ = Control::read(&query, &body);
        }
    }
}

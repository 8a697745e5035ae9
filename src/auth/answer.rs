//! What a script or a program says of a client.
//!
//! One JSON object, or the same members as the fields of a form, divided by `&` or line breaks.
//! A member that is not known refuses the whole answer: a slip in the name of `rights` must not
//! give more than was meant.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::auth::identity::{Identity, Means};
use crate::auth::secret::Secret;
use crate::auth::token::GROUPS_MAX;

/// Bytes of an answer at most.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Patterns of rights of one user at most.
const RIGHTS_MAX: usize = 1_024;
/// Bytes of one of them, of a reason, or of a key.
const TEXT_BYTES_MAX: usize = 512;
/// A smaller `expires` counts from now, a greater one from 1970.
const RELATIVE_BELOW: u64 = 1_000_000_000;

/// What was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Who it is.
    User {
        /// The user, with groups, rights and end.
        identity: Identity,
        /// A password that is still to be proved for that user.
        password: Option<Secret>,
        /// What the client gets along.
        key: Option<Secret>,
    },
    /// Why it is not let in.
    Refused(String),
    /// Why it is not known: it may try again with something else. No text says so; that of an
    /// answer with status 401 is meant so.
    Unproved(String),
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Members {
    user: Option<String>,
    groups: Option<Vec<String>>,
    rights: Option<Vec<String>>,
    expires: Option<u64>,
    password: Option<Secret>,
    key: Option<Secret>,
    refuse: Option<String>,
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(Self::from)
    }
}

/// Reads an answer, `unix_seconds` after 1970.
///
/// # Errors
///
/// What is wrong with it, without what stands in it.
///
/// ```
/// use ahm::auth::answer::{Answer, parse};
/// let text = br#"{"user":"anna","groups":["traders"],"rights":["quotes/*"],"expires":3600}"#;
/// let Ok(Answer::User { identity, .. }) = parse(text, 1_900_000_000) else { panic!() };
/// assert_eq!((identity.user.as_str(), identity.expires), ("anna", Some(1_900_003_600)));
/// assert_eq!(parse(b"user=anna\ngroups=a&groups=b", 0).is_ok(), true);
/// assert_eq!(parse(b"refuse=no+contract", 0), Ok(Answer::Refused("no contract".into())));
/// ```
pub fn parse(bytes: &[u8], unix_seconds: u64) -> Result<Answer, String> {
    if bytes.len() > ANSWER_BYTES_MAX {
        return Err("it is too long".into());
    }
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8")?.trim();
    let members = if text.starts_with('{') {
        serde_json::from_str(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            format!("it is no JSON object of the known members (line {line}, column {column})")
        })?
    } else {
        form(text)?
    };
    judge(members, unix_seconds)
}

fn form(text: &str) -> Result<Members, String> {
    let mut members = Members::default();
    let twice = |name: &str| Err(format!("{name} is there twice"));
    let fields = text.split(['&', '\n']).map(|field| field.trim_end_matches('\r'));
    for field in fields.filter(|field| !field.is_empty()) {
        let (name, value) = field.split_once('=').ok_or("a field has no =")?;
        let value = decode(value)?;
        let given = match name {
            "user" => members.user.replace(value).is_some(),
            "groups" => {
                members.groups.get_or_insert_default().extend(listed(value));
                false
            }
            "rights" => {
                members.rights.get_or_insert_default().extend(listed(value));
                false
            }
            "expires" => {
                let seconds = value.parse().map_err(|_| "expires is no whole number")?;
                members.expires.replace(seconds).is_some()
            }
            "password" => members.password.replace(value.into()).is_some(),
            "key" => members.key.replace(value.into()).is_some(),
            "refuse" => members.refuse.replace(value).is_some(),
            _ => return Err("it has a member that is not known".into()),
        };
        if given {
            return twice(name);
        }
    }
    Ok(members)
}

/// An empty value is an empty list, which is not the same as none.
fn listed(value: String) -> Option<String> {
    Some(value).filter(|value| !value.is_empty())
}

fn decode(text: &str) -> Result<String, String> {
    let text: Cow<'_, str> =
        if text.contains('+') { text.replace('+', " ").into() } else { text.into() };
    let decoded = percent_decode_str(&text).decode_utf8().map_err(|_| "a field is not UTF-8")?;
    Ok(decoded.into_owned())
}

fn judge(members: Members, unix_seconds: u64) -> Result<Answer, String> {
    let is_text =
        |text: &String| text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control);
    if let Some(reason) = members.refuse {
        return match is_text(&reason) {
            true => Ok(Answer::Refused(reason)),
            false => Ok(Answer::Refused("refused".into())),
        };
    }
    let user = members.user.ok_or("it has neither user nor refuse")?;
    let identity = Identity::new(user, Means::Script).ok_or("user is no name")?;
    let groups = members.groups.unwrap_or_default();
    let named = |name: &String| Identity::new(name.as_str(), Means::Script).is_some();
    if groups.len() > GROUPS_MAX || !groups.iter().all(named) {
        return Err(format!("groups is no list of up to {GROUPS_MAX} names"));
    }
    let is_right = |right: &String| is_text(right) && right.contains('/');
    let rights = members.rights;
    if rights.as_ref().is_some_and(|all| all.len() > RIGHTS_MAX || !all.iter().all(is_right)) {
        return Err(format!("rights is no list of up to {RIGHTS_MAX} RESOURCE/SUBJECT"));
    }
    let fits = |secret: &Secret| {
        secret.expose().len() <= TEXT_BYTES_MAX && !secret.expose().chars().any(char::is_control)
    };
    if ![&members.password, &members.key].into_iter().flatten().all(fits) {
        return Err("password or key is too long, or has control characters".into());
    }
    let expires = members.expires.map(|seconds| match seconds < RELATIVE_BELOW {
        true => unix_seconds.saturating_add(seconds),
        false => seconds,
    });
    if expires.is_some_and(|at| at <= unix_seconds) {
        return Err("expires lies in the past".into());
    }
    let identity = Identity { groups, rights, expires, ..identity };
    Ok(Answer::User { identity, password: members.password, key: members.key })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_900_000_000;

    #[test]
    fn both_forms_say_the_same() {
        let json = br#" {"user":"an na","groups":["a","b"],"rights":["q/*","r/"],
            "expires":1900000009,"password":"p+","key":"k&"} "#;
        let form = b"user=an+na&groups=a&groups=b&rights=q/*&rights=r%2F&expires=9\r\n\
            password=p%2B\nkey=k%26\n";
        let said = parse(json, NOW).unwrap();
        assert_eq!(said, parse(form, NOW).unwrap());
        let Answer::User { identity, password, key } = &said else { panic!() };
        assert_eq!((identity.user.as_str(), identity.expires), ("an na", Some(NOW + 9)));
        assert_eq!(identity.rights.as_deref(), Some(&["q/*".into(), "r/".into()][..]));
        assert_eq!(password.as_ref().unwrap().expose(), "p+");
        assert_eq!(key.as_ref().unwrap().expose(), "k&");
        assert!(!format!("{said:?}").contains("p+"));
    }

    #[test]
    fn no_rights_are_not_all_rights() {
        for (text, rights) in [
            (&b"user=a"[..], None),
            (b"user=a&rights=", Some(vec![])),
            (br#"{"user":"a"}"#, None),
            (br#"{"user":"a","rights":null}"#, None),
            (br#"{"user":"a","rights":[]}"#, Some(vec![])),
        ] {
            let Ok(Answer::User { identity, .. }) = parse(text, NOW) else { panic!() };
            assert_eq!(identity.rights, rights);
        }
    }

    #[test]
    fn what_is_not_understood_lets_nobody_in() {
        for bad in [
            "",
            "anna",
            "user=",
            "user=a&user=b",
            "user=a&right=q/*",
            "user=a&expires=soon",
            "user=a&expires=0",
            "user=a&expires=1899999999",
            "user=a&expires=-5",
            "user=a&rights=quotes",
            "user=%FF",
            "user=a%00b",
            "user=a&key=%0a",
            "{",
            "{}",
            "{\"user\":\"a\"} x",
            "{\"user\":\"a\",\"user\":\"b\"}",
            "{\"user\":\"a\",\"right\":[\"q/*\"]}",
            "{\"user\":\"a\",\"rights\":\"q/*\"}",
            "{\"user\":\"a\",\"expires\":\"9\"}",
            "{\"user\":\"a\",\"expires\":1.5}",
            "{\"user\":7}",
            "<html>login</html>",
        ] {
            let what = parse(bad.as_bytes(), NOW);
            assert!(what.is_err(), "{bad}: {what:?}");
        }
        let both = "{\"user\":\"a\",\"refuse\":\"no\"}";
        assert_eq!(parse(both.as_bytes(), NOW), Ok(Answer::Refused("no".into())));
    }

    proptest! {
        #[test]
        fn any_answer_is_read_or_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            text in "(user|groups|rights|expires|key|refuse|[=&%+\n{}\":,\\[\\]a-z0-9/*]){0,60}",
        ) {
            let _ = parse(&bytes, NOW);
            let _ = parse(text.as_bytes(), NOW);
        }
    }
}

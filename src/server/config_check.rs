//! Whether a text may be the value of a key.

use crate::auth::list::List;
use crate::auth::rule::Scope;
use crate::base::name::check_resource;
use crate::link::address::Address;

pub(crate) fn check_scs(text: &str) -> Result<(), String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    // On the wire 0 says that there is none yet.
    let fits = text.len() <= 32 && text.bytes().all(legal) && text != "0";
    fits.then_some(()).ok_or_else(|| format!("{text:?} is not 1 to 32 of A-Z a-z 0-9 _ -"))
}

pub(crate) fn check_prefix(text: &str) -> Result<(), String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"/_.~-".contains(&byte);
    let shape = text.len() >= 2 && text.len() <= 64 && text.starts_with('/') && text.ends_with('/');
    let fits = shape && text.bytes().all(legal) && !text.contains("//");
    fits.then_some(()).ok_or_else(|| format!("{text:?} does not look like \"/ahm/\""))
}

pub(crate) fn check_origin(text: &str) -> Result<(), String> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let legal = |byte: u8| byte.is_ascii_graphic() && !b"/?#@,".contains(&byte);
    let fits = text == "*" || host.is_some_and(|host| !host.is_empty() && host.bytes().all(legal));
    fits.then_some(()).ok_or_else(|| {
        format!("{text:?} is not \"*\" or an origin such as \"https://example.org\" (no path)")
    })
}

/// The rules of the server.
pub(crate) fn check_rules(rules: &[&str]) -> Result<(), String> {
    check_list(rules, Scope::Server)
}

/// The rules of one resource.
pub(crate) fn check_own_rules(rules: &[&str]) -> Result<(), String> {
    check_list(rules, Scope::Resource)
}

fn check_list(rules: &[&str], scope: Scope) -> Result<(), String> {
    let checked = List::parse(rules.iter().copied(), scope);
    checked.map(drop).map_err(|error| {
        let rule = rules.get(error.rule - 1).copied().unwrap_or_default();
        format!("rule {} ({rule:?}), {}", error.rule, error.error)
    })
}

/// An address of a registry.
pub(crate) fn check_address(text: &str) -> Result<(), String> {
    text.parse::<Address>().map(drop).map_err(|error| error.to_string())
}

pub(crate) fn check_host(text: &str) -> Result<(), String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    let fits = !text.is_empty() && text.bytes().all(legal);
    fits.then_some(()).ok_or_else(|| format!("{text:?} is not a host name"))
}

pub(crate) fn check_path(text: &str) -> Result<(), String> {
    let legal = !text.chars().any(char::is_control);
    legal.then_some(()).ok_or_else(|| format!("{text:?} is no path of a file"))
}

pub(crate) fn check_name(text: &str) -> Result<(), String> {
    check_resource(text).map_err(|error| format!("{text:?}: {error}"))
}

/// The permissions of a socket's file.
pub(crate) fn check_mode(text: &str) -> Result<(), String> {
    read_mode(text)
        .map(drop)
        .ok_or_else(|| format!("{text:?} is no mode of a file such as \"0600\" or \"0660\""))
}

/// A mode in octal digits, as `chmod` takes it; the user itself may do both.
pub(crate) fn read_mode(text: &str) -> Option<u32> {
    let is_octal =
        (3..=4).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    let mode = u32::from_str_radix(text, 8).ok().filter(|_| is_octal)?;
    (mode & 0o600 == 0o600 && mode <= 0o777).then_some(mode)
}

/// The name of a user or a group, or none.
pub(crate) fn check_account(text: &str) -> Result<(), String> {
    let legal = |c: char| !c.is_control() && !c.is_whitespace() && c != ':' && c != '/';
    text.chars()
        .all(legal)
        .then_some(())
        .ok_or_else(|| format!("{text:?} is no name of an account"))
}

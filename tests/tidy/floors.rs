//! Floors: a file imports only from floors below its own or from its own floor, by full path.

use crate::code::{Token, is_word};
use crate::tree::{File, Finding};

/// A room of `src`: its name, its floor, and the rooms it must not see although their floor would
/// allow it.
struct Room {
    name: &'static str,
    floor: u8,
    blind: &'static [&'static str],
}

const fn room(name: &'static str, floor: u8, blind: &'static [&'static str]) -> Room {
    Room { name, floor, blind }
}

const ROOMS: [Room; 19] = [
    room("base", 0, &[]),
    room("mem", 1, &[]),
    room("http", 2, &["html", "wire", "seal"]),
    room("html", 2, &["http", "wire", "seal"]),
    room("wire", 2, &["http", "html", "seal"]),
    room("seal", 2, &["http", "html", "wire"]),
    room("auth", 3, &["proto", "relay", "reactor", "link", "html", "seal"]),
    room("link", 3, &["proto", "relay", "reactor", "http", "html", "seal"]),
    room("relay", 3, &["proto", "reactor", "html", "wire", "seal"]),
    room("proto", 3, &["reactor"]),
    room("reactor", 3, &["proto", "link", "relay", "auth", "http", "html", "wire", "seal"]),
    room("resource", 4, &[]),
    room("files", 4, &["resource", "client", "proto", "link"]),
    room("client", 4, &["resource", "proto"]),
    room("shard", 5, &[]),
    room("server", 6, &[]),
    room("cli", 7, &[]),
    room("manual", 8, &[]),
    room("testing", 8, &[]),
];

fn room_named(name: &str) -> Option<&'static Room> {
    ROOMS.iter().find(|room| room.name == name)
}

/// What is wrong with the imports of one file.
pub fn check(file: &File) -> Vec<Finding> {
    let Some(path) = file.path.strip_prefix("src/") else { return Vec::new() };
    let Some(code) = &file.code else { return Vec::new() };
    let tokens = code.tokens();
    let name = path.split('/').next().unwrap_or_default().trim_end_matches(".rs");
    match name {
        "lib" => return Vec::new(),
        "main" => return check_main(file, &tokens),
        _ => {}
    }
    let Some(room) = room_named(name) else {
        return vec![file.find(0, format!("{name} is on no floor: give it one in tests/tidy"))];
    };
    (0..tokens.len()).filter_map(|at| check_at(file, room, &tokens, at)).collect()
}

fn check_at(file: &File, room: &Room, tokens: &[Token<'_>], at: usize) -> Option<Finding> {
    let line = tokens[at].line;
    let text = |ahead: usize| tokens.get(at + ahead).map_or("", |token| token.text);
    let is_test = line >= file.test_from();
    match text(0) {
        "super" if text(1) == "::" && !is_test => {
            let what = "name the path from the crate: crate::floor::file::Name instead of super::";
            Some(file.find(line, what))
        }
        "crate" if at > 0 && tokens[at - 1].text == "in" => None,
        "crate" if text(1) == "::" => {
            let what = check_path(room, [text(2), text(3), text(4)])
                .or_else(|| glob(&tokens[at..]).filter(|_| !is_test))?;
            Some(file.find(line, what))
        }
        _ => None,
    }
}

/// What is wrong with `crate::` followed by these tokens.
fn check_path(from: &Room, [floor, colons, inner]: [&str; 3]) -> Option<String> {
    if !is_word(floor) {
        return Some("import from one floor a line: use crate::floor::file::Name".into());
    }
    let Some(to) = room_named(floor) else {
        return Some(format!("crate::{floor} is no floor: use crate::floor::file::Name"));
    };
    if colons != "::" || !(is_word(inner) || inner == "{") {
        return Some(format!("name the file: use crate::{floor}::file::Name"));
    }
    if to.name == from.name {
        return None;
    }
    if from.blind.contains(&to.name) {
        return Some(format!("{} must not see {}: move what both need down", from.name, to.name));
    }
    (to.floor > from.floor).then(|| {
        let (here, there) = (from.floor, to.floor);
        format!(
            "{} (floor {here}) imports from {} (floor {there}): imports go down, \
             so move the item down or the user up",
            from.name, to.name
        )
    })
}

/// Whether the path that begins here ends in `*`.
fn glob(tokens: &[Token<'_>]) -> Option<String> {
    let path = tokens.iter().take_while(|token| token.text == "::" || is_word(token.text));
    let end = path.count();
    let is_glob =
        tokens.get(end).is_some_and(|token| token.text == "*") && tokens[end - 1].text == "::";
    is_glob.then(|| "import by name, not by *".into())
}

fn check_main(file: &File, tokens: &[Token<'_>]) -> Vec<Finding> {
    let uses = tokens
        .windows(3)
        .filter(|three| three[0].text == "ahm" && three[1].text == "::" && three[2].text != "cli");
    uses.map(|three| file.find(three[0].line, "main calls ahm::cli and nothing else")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        check(&File::sample(path, text)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn down_and_sideways_is_fine() {
        for (path, text) in [
            ("src/http/request.rs", "use crate::base::limits::HEAD_BYTES_MAX;"),
            ("src/http/request.rs", "use crate::http::status::Refusal;"),
            ("src/base/name.rs", "use crate::base::limits;\npub(in crate::base) fn a() {}"),
            ("src/client/link.rs", "fn a() { crate::reactor::clock::Clock::start(); }"),
            ("src/cli/serve.rs", "use crate::server::config::{Config, Level};"),
            ("src/cli/serve.rs", "use crate::http::{date, status};"),
            (
                "src/mem/slab.rs",
                "pub(super) fn a() {}\n#[cfg(test)]\nmod tests {\n use super::*;\n}",
            ),
            ("src/proto/hub.rs", "// use crate::reactor::clock::Clock;"),
            ("src/main.rs", "fn main() { ahm::cli::run(); }"),
        ] {
            assert_eq!(findings(path, text), [""; 0], "{path}: {text}");
        }
    }

    #[test]
    fn everything_else_is_found() {
        for (path, text, wanted) in [
            (
                "src/base/id.rs",
                "use crate::mem::slab::Slab;",
                "floor 0) imports from mem (floor 1)",
            ),
            ("src/proto/hub.rs", "\nuse crate::reactor::clock::Clock;", "rs:2: proto must not see"),
            ("src/reactor/clock.rs", "fn a() { crate::proto::hub::f() }", "reactor must not see"),
            ("src/http/a.rs", "use crate::html::frame::b;", "http must not see html"),
            ("src/client/a.rs", "use crate::proto::hub::b;", "client must not see proto"),
            ("src/mem/slab.rs", "use crate::ConnKey;", "crate::ConnKey is no floor"),
            ("src/cli/mod.rs", "use crate::{base::id::Cid};", "one floor a line"),
            ("src/cli/mod.rs", "use crate::base;", "name the file"),
            ("src/cli/mod.rs", "use crate::base as words;", "name the file"),
            ("src/cli/mod.rs", "use crate::base::id::*;", "not by *"),
            ("src/cli/mod.rs", "use super::base::id::Cid;", "instead of super::"),
            ("src/shop/mod.rs", "", "shop is on no floor"),
            ("src/main.rs", "use ahm::server::a;", "nothing else"),
            (
                "src/base/id.rs",
                "#[cfg(test)]\nmod tests {\n use crate::mem::a::B;\n}",
                "rs:3: base",
            ),
        ] {
            let found = findings(path, text);
            assert!(found.len() == 1 && found[0].contains(wanted), "{path}: {text}: {found:?}");
        }
    }
}

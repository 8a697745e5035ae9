//! Words: what code must not say, and what no file may say about the machine it was written on.

use crate::code::Token;
use crate::tree::{File, Finding};

/// Where system calls are wrapped, and keys wiped. Tests may measure with unsafe means, such as an
/// allocator.
const UNSAFE_ROOMS: [&str; 6] =
    ["src/ffi/", "src/shard/affinity.rs", "src/reactor/", "src/seal/wiped.rs", "tests/", "perf/"];

/// Unfinished work; written in two halves, so that this file may stand beside the others.
const UNFINISHED: &str = concat!("FIX", "ME");

/// Paths of a machine, hosts of package registries, and folders outside the house.
const OUTSIDE: [&str; 12] = [
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("/ho", "me/"),
    concat!("../sha", "red"),
    concat!("crates", ".io"),
    concat!("registry.npm", "js.org"),
    concat!("npm", "js.com"),
    concat!("registry.yarn", "pkg.com"),
    concat!("py", "pi.org"),
    concat!("pythonhos", "ted.org"),
    concat!("proxy.gol", "ang.org"),
    concat!("deb.deb", "ian.org"),
];

/// What must not be said in Rust.
pub fn check_rust(file: &File) -> Vec<Finding> {
    let Some(code) = &file.code else { return Vec::new() };
    let tokens = code.tokens();
    let mut findings: Vec<_> =
        (0..tokens.len()).filter_map(|at| check_at(file, &tokens, at)).collect();
    for (line, text) in (1..).zip(&code.comments) {
        if text.contains(UNFINISHED) {
            findings.push(file.find(line, format!("{UNFINISHED}: finish it or leave it out")));
        }
    }
    findings
}

fn check_at(file: &File, tokens: &[Token<'_>], at: usize) -> Option<Finding> {
    let line = tokens[at].line;
    let is_test = line >= file.test_from();
    let text = |ahead: usize| tokens.get(at + ahead).map_or("", |token| token.text);
    let before = |back: usize| at.checked_sub(back).map_or("", |at| tokens[at].text);
    let what = match text(0) {
        "unwrap" | "unwrap_err" if before(1) == "." && !is_test => {
            "no unwrap outside tests: handle it, or expect(\"why it cannot be\")".into()
        }
        word @ ("todo" | "unimplemented" | "dbg") if text(1) == "!" => {
            format!("{word}!: finish it or leave it out")
        }
        "ignore" if before(1) == "[" && before(2) == "#" => {
            "an ignored test tests nothing: run it or delete it".into()
        }
        "sleep" if is_pause(tokens, at) => return check_pause(file, line, is_test),
        "unsafe" if text(1) != "_" => return check_unsafe(file, line),
        _ => return None,
    };
    Some(file.find(line, what))
}

/// Whether the word here is the standard library's, called or imported.
fn is_pause(tokens: &[Token<'_>], at: usize) -> bool {
    let before = at.checked_sub(1).map_or("", |at| tokens[at].text);
    let is_called = tokens.get(at + 1).is_some_and(|token| token.text == "(");
    match before {
        "::" => at >= 2 && tokens[at - 2].text == "thread",
        "." | "fn" => false,
        _ => is_called,
    }
}

fn check_pause(file: &File, line: usize, is_test: bool) -> Option<Finding> {
    if is_test {
        return Some(file.find(line, "tests wait for what happens, never for time to pass"));
    }
    let what = "say why the thread may sleep in a comment above: // pause: ...";
    (!has_note(file, line, "// pause:")).then(|| file.find(line, what))
}

fn check_unsafe(file: &File, line: usize) -> Option<Finding> {
    if !UNSAFE_ROOMS.iter().any(|room| file.path.starts_with(room)) {
        let what = "unsafe is for system calls, in src/reactor/ and src/shard/affinity.rs only";
        return Some(file.find(line, what));
    }
    let what = "say why this is sound in a comment above: // SAFETY: ...";
    (!has_note(file, line, "SAFETY:")).then(|| file.find(line, what))
}

/// Whether `note` stands in a comment on `line`, or in the comments and attributes right above the
/// statement that `line` is part of.
fn has_note(file: &File, line: usize, note: &str) -> bool {
    let Some(code) = &file.code else { return false };
    if code.comments[line - 1].contains(note) {
        return true;
    }
    for above in (0..line - 1).rev() {
        let said = code.code[above].trim();
        if code.comments[above].contains(note) {
            return true;
        }
        let ends_statement = said.ends_with([';', '}', '{', ',']) && !said.starts_with('#');
        let is_empty = said.is_empty() && code.comments[above].trim().is_empty();
        if ends_statement || is_empty {
            return false;
        }
    }
    false
}

/// What must not be said in any file.
pub fn check_outside(file: &File) -> Vec<Finding> {
    let is_lock_file = file.path == "Cargo.lock";
    let mut findings = Vec::new();
    for (line, text) in file.lines().filter(|_| !is_lock_file) {
        if let Some(word) = OUTSIDE.iter().find(|word| names(text, word)) {
            findings.push(file.find(line, format!("{word} lies outside the house: leave it out")));
        }
    }
    findings
}

/// Whether `text` has `word` where no longer path or name runs into it.
fn names(text: &str, word: &str) -> bool {
    let is_free = |(at, _): (usize, &str)| {
        let before = text[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '-' || c == '}')
    };
    text.match_indices(word).any(is_free)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        let file = File::sample(path, text);
        let all = check_rust(&file).into_iter().chain(check_outside(&file));
        all.map(|finding| finding.to_string()).collect()
    }

    #[test]
    fn good_manners_pass() {
        for (path, text) in [
            (
                "src/base/id.rs",
                "fn a() { b.expect(\"c\"); }\n#[cfg(test)]\nmod t {\n b.unwrap();\n}",
            ),
            ("src/base/id.rs", "// b.unwrap() and todo!() in words\nlet a = \"dbg!(unsafe)\";"),
            ("src/base/id.rs", "fn unwrap() {} struct Todo; net.sleep(3); fn sleep() {}"),
            ("tests/a.rs", "b.unwrap();"),
            ("src/reactor/a.rs", "// SAFETY: b is open.\nlet c = unsafe { d(b) };"),
            ("src/reactor/a.rs", "// SAFETY: b is open.\n#[inline]\nlet c =\n    unsafe { d(b) };"),
            ("src/reactor/a.rs", "let c = unsafe { d(b) }; // SAFETY: b is open."),
            ("src/cli/replay.rs", "// pause: until the next row is due\nthread::sleep(b);"),
            (
                "Cargo.lock",
                concat!("source = \"registry+https://github.com/x/crates", ".io-index\""),
            ),
            ("src/a/a.rs", concat!("//! https://example.org/framewo", "rk/ and netwo", "rk/")),
        ] {
            assert_eq!(findings(path, text), [""; 0], "{path}: {text}");
        }
    }

    #[test]
    fn bad_manners_are_found() {
        for (path, text, wanted) in [
            ("src/base/id.rs", "\nb.unwrap();", "id.rs:2: no unwrap"),
            ("src/base/id.rs", "b\n.unwrap_err();", "id.rs:2: no unwrap"),
            ("tests/a.rs", "todo!()", "todo!: finish"),
            ("src/a/b.rs", "unimplemented!(\"x\")", "unimplemented!: finish"),
            ("src/a/b.rs", "let a = dbg!(b);", "dbg!: finish"),
            ("src/a/b.rs", concat!("// FIX", "ME: later"), "finish it"),
            ("tests/a.rs", "#[ignore]\nfn a() {}", "a.rs:1: an ignored test"),
            ("tests/a.rs", "#[ignore = \"slow\"]\nfn a() {}", "an ignored test"),
            ("tests/a.rs", "std::thread::sleep(b);", "never for time to pass"),
            ("tests/a.rs", "sleep(b);", "never for time to pass"),
            (
                "src/a/b.rs",
                "#[cfg(test)]\nmod t {\n// pause: x\nthread::sleep(b);\n}",
                "b.rs:4: tests",
            ),
            ("src/a/b.rs", "thread::sleep(b);", "say why the thread may sleep"),
            ("src/proto/hub.rs", "// SAFETY: no.\nunsafe { a() }", "unsafe is for system calls"),
            ("src/reactor/a.rs", "unsafe { a() }", "say why this is sound"),
            ("src/reactor/a.rs", "// SAFETY: a.\na();\nunsafe { b() }", "a.rs:3: say why"),
            ("src/reactor/a.rs", "// SAFETY: a.\n\nunsafe { b() }", "a.rs:3: say why"),
            ("README.md", concat!("\nsee /wo", "rk/here"), "README.md:2: "),
            ("scripts/a", concat!("cp ../sha", "red/x ."), "outside the house"),
            ("a.json", concat!("\"https://registry.npm", "js.org/x\""), "outside the house"),
            ("src/a/b.rs", concat!("//! see crates", ".io"), "outside the house"),
        ] {
            let found = findings(path, text);
            assert!(found.len() == 1 && found[0].contains(wanted), "{path}: {text}: {found:?}");
        }
    }
}

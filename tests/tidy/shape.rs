//! Shape: small files, small functions, short lines, a sentence at the head of each file.

use crate::tree::{File, Finding};

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 60;
const COLUMNS_MAX: usize = 100;

/// What is held to the width; prose, markup, data and generated files are not.
const NARROW: [&str; 8] = ["rs", "js", "mjs", "ts", "css", "toml", "sh", "py"];

/// Head, length, functions and the place of test code of a Rust file.
pub fn check_rust(file: &File) -> Vec<Finding> {
    let Some(code) = &file.code else { return Vec::new() };
    let mut findings = Vec::new();
    let begins_with_words = file.lines().next().is_some_and(|(_, line)| line.starts_with("//!"));
    if !begins_with_words {
        findings.push(file.find(1, "begin with a //! sentence that says what the file is for"));
    }
    let lines = file.lines().count().min(file.test_from() - 1);
    if lines > FILE_LINES_MAX {
        let what = format!("{lines} lines before the tests, at most {FILE_LINES_MAX}: split it");
        findings.push(file.find(FILE_LINES_MAX + 1, what));
    }
    for function in code.functions() {
        let lines = function.last - function.first + 1;
        if lines > FUNCTION_LINES_MAX {
            let name = &function.name;
            let what = format!("fn {name} has {lines} lines, at most {FUNCTION_LINES_MAX}");
            findings.push(file.find(function.first, what));
        }
    }
    findings.extend(after_tests(file));
    findings
}

/// Code that follows the inline tests and is none.
fn after_tests(file: &File) -> Option<Finding> {
    let code = file.code.as_ref().filter(|_| !file.is_test)?;
    let rest = (1..).zip(&code.code).skip(file.test_from().saturating_sub(1));
    let at_margin = rest.filter(|(_, line)| line.starts_with(|c: char| !c.is_whitespace()));
    let mut others = at_margin.filter(|(_, line)| {
        let allowed = ["#[", "mod ", "pub mod ", "pub(crate) mod ", "}"];
        !allowed.iter().any(|start| line.starts_with(start))
    });
    let (line, _) = others.next()?;
    Some(file.find(line, "only test modules stand after the first #[cfg(test)]: move this up"))
}

/// Lines that are too wide.
pub fn columns(file: &File) -> Vec<Finding> {
    let is_script = file.text.as_ref().is_some_and(|text| text.starts_with("#!"));
    if !is_script && !file.has_extension(&NARROW) {
        return Vec::new();
    }
    let wide = file.lines().filter(|(_, line)| line.chars().count() > COLUMNS_MAX);
    wide.map(|(line, text)| {
        let what = format!("{} columns, at most {COLUMNS_MAX}: break it", text.chars().count());
        file.find(line, what)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        let file = File::sample(path, text);
        let all = check_rust(&file).into_iter().chain(columns(&file));
        all.map(|finding| finding.to_string()).collect()
    }

    #[test]
    fn a_file_in_shape_passes() {
        let tests = "#[cfg(test)]\nmod tests {\n".to_owned() + &"    // x\n".repeat(500) + "}\n";
        let long = "//! Words.\n".to_owned() + &"const A: u8 = 0;\n".repeat(399);
        assert_eq!(findings("src/base/id.rs", &(long + &tests)), [""; 0]);
        let function = format!("//! Words.\nfn a() {{\n{}}}\n", "    b();\n".repeat(58));
        assert_eq!(findings("src/base/id.rs", &function), [""; 0]);
        assert_eq!(findings("tests/a.rs", &("//! W.\n".to_owned() + &"\n".repeat(900))), [""; 0]);
        assert_eq!(findings("src/manual/a.md", &"x".repeat(300)), [""; 0]);
        assert_eq!(findings("src/web/a.css", &"ä".repeat(100)), [""; 0]);
    }

    #[test]
    fn a_file_out_of_shape_is_found() {
        let long = "//! Words.\n".to_owned() + &"const A: u8 = 0;\n".repeat(400);
        let function = format!("//! Words.\nfn a() {{\n{}}}\n", "    b();\n".repeat(59));
        let after = "//! Words.\n#[cfg(test)]\nmod tests {\n}\nfn late() {}\n";
        for (path, text, wanted) in [
            ("src/base/id.rs", "use a::B;\n", "id.rs:1: begin with a //!"),
            ("src/base/id.rs", "", "id.rs:1: begin with a //!"),
            ("src/base/id.rs", &long, "id.rs:401: 401 lines before the tests"),
            ("src/base/id.rs", &function, "id.rs:2: fn a has 61 lines"),
            ("src/base/id.rs", after, "id.rs:5: only test modules"),
            ("src/web/a.js", &("\n".to_owned() + &"x".repeat(101)), "a.js:2: 101 columns"),
            ("scripts/a", &("#!/bin/sh\n".to_owned() + &"x".repeat(101)), "a:2: 101 columns"),
        ] {
            let found = findings(path, text);
            assert!(found.len() == 1 && found[0].contains(wanted), "{path}: {found:?}");
        }
    }
}

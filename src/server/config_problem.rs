//! What is wrong with a configuration, where, and what was probably meant.

use std::fmt;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody gave one.
    Default,
    /// A line of the file, counted from 1, with its text.
    Line {
        /// The file's name as the operator gave it.
        file: String,
        /// The line, from 1.
        line: usize,
        /// What stands there.
        text: String,
    },
    /// A variable of the environment.
    Variable(String),
    /// A flag of the command line.
    Flag(String),
}

impl Origin {
    /// The line of `file` that holds the byte `at` of `source`.
    pub fn line(file: &str, source: &str, at: usize) -> Self {
        let before = source.get(..at.min(source.len())).unwrap_or(source);
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        let text = source[start..].lines().next().unwrap_or_default();
        Self::Line {
            file: file.into(),
            line: before.matches('\n').count() + 1,
            text: text.trim_end().into(),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub origin: Origin,
    /// What, in words.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = &self.what;
        match &self.origin {
            Origin::Default => f.write_str(what),
            Origin::Line { file, line, text } => {
                write!(f, "{file}:{line}: {what}\n  {line} | {}", hide_secret(text))
            }
            Origin::Variable(name) => write!(f, "{name}: {what}"),
            Origin::Flag(name) => write!(f, "{name}: {what}"),
        }
    }
}

/// The line as it may be shown: what follows the word `token` is left out.
fn hide_secret(text: &str) -> String {
    match text.split_once("token") {
        Some((before, _)) => format!("{before}token ..."),
        None => text.into(),
    }
}

/// Everything that is wrong with a configuration; at least one problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The word that was probably meant: the nearest of `known`, if it is near.
///
/// ```
/// use ahm::server::config_problem::nearest;
/// assert_eq!(nearest("heartbeet", ["heartbeat", "linger"]), Some("heartbeat"));
/// assert_eq!(nearest("colour", ["heartbeat", "linger"]), None);
/// ```
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let near = |name: &&str| distance(word, name) <= (name.len().max(word.len()) / 3).max(1);
    known.into_iter().filter(near).min_by_key(|name| distance(word, name))
}

/// How many letters must be added, removed or changed to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_letters() {
        for (a, b, far) in [("", "", 0), ("", "ab", 2), ("shards", "shard", 1), ("abc", "xyz", 3)] {
            assert_eq!((distance(a, b), distance(b, a)), (far, far), "{a} {b}");
        }
    }

    #[test]
    fn a_place_is_a_line_with_its_text() {
        let source = "one = 1\ntwo = 2\n\nfour = 4";
        let Origin::Line { line, text, .. } = Origin::line("f", source, 8) else { panic!() };
        assert_eq!((line, text.as_str()), (2, "two = 2"));
        let Origin::Line { line, text, .. } = Origin::line("f", source, 999) else { panic!() };
        assert_eq!((line, text.as_str()), (4, "four = 4"));
    }

    #[test]
    fn a_secret_is_never_shown() {
        for text in ["token = \"hush\"", "private = { token = \"hush\" }"] {
            let origin = Origin::line("ahm.toml", text, 3);
            let shown = Problem { origin, what: "too short".into() }.to_string();
            assert!(!shown.contains("hush"), "{shown}");
        }
    }
}

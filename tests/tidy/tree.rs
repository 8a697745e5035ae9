//! The files of the house, and what is found in them.

use std::fmt;
use std::fs;
use std::path::Path;

use crate::code::Code;

/// Folders that are made by tools and are no part of the house.
const NOT_OURS: [&str; 3] = [".git", "target", "node_modules"];

/// One thing to put right.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    pub path: String,
    /// From 1; 0 for the file as a whole.
    pub line: usize,
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.what),
            line => write!(f, "{}:{line}: {}", self.path, self.what),
        }
    }
}

/// A file, read.
#[derive(Debug)]
pub struct File {
    /// From the top of the house, with slashes.
    pub path: String,
    pub bytes: u64,
    /// Whether its owner may run it.
    pub executable: bool,
    /// What it says, unless it is no UTF-8.
    pub text: Option<String>,
    /// For `.rs` files: code and comments apart.
    pub code: Option<Code>,
    /// Whether another file includes it under `#[cfg(test)]`, or it lies in `tests/`.
    pub is_test: bool,
}

impl File {
    /// A file for samples and from the disk alike.
    pub fn new(path: &str, bytes: &[u8], executable: bool) -> Self {
        let text = String::from_utf8(bytes.to_vec()).ok();
        let code = match &text {
            Some(text) if path.ends_with(".rs") => Some(Code::read(text)),
            _ => None,
        };
        let is_test = path.starts_with("tests/");
        Self { path: path.into(), bytes: bytes.len() as u64, executable, text, code, is_test }
    }

    /// A Rust file for samples.
    #[cfg(test)]
    pub fn sample(path: &str, text: &str) -> Self {
        Self::new(path, text.as_bytes(), false)
    }

    pub fn find(&self, line: usize, what: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, what: what.into() }
    }

    /// The line, from 1, from which on everything is test code; past the end if none is.
    pub fn test_from(&self) -> usize {
        match &self.code {
            _ if self.is_test => 1,
            Some(code) => code.test_from(),
            None => usize::MAX,
        }
    }

    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.as_deref().unwrap_or_default().lines())
    }

    fn extension(&self) -> &str {
        self.path.rsplit('/').next().and_then(|name| name.rsplit_once('.')).map_or("", |(_, e)| e)
    }

    pub fn has_extension(&self, any: &[&str]) -> bool {
        any.contains(&self.extension())
    }
}

/// All files of the house.
#[derive(Debug)]
pub struct Tree {
    pub files: Vec<File>,
    /// The names at the top.
    pub top: Vec<String>,
}

impl Tree {
    pub fn read(root: &Path) -> Self {
        let mut tree = Self { files: Vec::new(), top: Vec::new() };
        tree.walk(root, "");
        let out_of_line: Vec<String> = tree.rust().flat_map(test_files).collect();
        for file in &mut tree.files {
            file.is_test |= out_of_line.contains(&file.path);
        }
        tree
    }

    pub fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.code.is_some())
    }

    fn walk(&mut self, folder: &Path, prefix: &str) {
        let mut entries: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()).collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let name = entry.file_name().into_string().unwrap();
            if NOT_OURS.contains(&name.as_str()) {
                continue;
            }
            if prefix.is_empty() {
                self.top.push(name.clone());
            }
            let path = format!("{prefix}{name}");
            if entry.file_type().unwrap().is_dir() {
                self.walk(&entry.path(), &format!("{path}/"));
            } else {
                let bytes = fs::read(entry.path()).unwrap();
                let executable = is_executable(&entry.path());
                self.files.push(File::new(&path, &bytes, executable));
            }
        }
    }
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).unwrap().permissions().mode() & 0o100 != 0
}

/// The files that `file` includes by `#[cfg(test)] mod name;`.
fn test_files(file: &File) -> Vec<String> {
    let Some(code) = &file.code else { return Vec::new() };
    let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
    let stem = name.trim_end_matches(".rs");
    let beside = matches!(stem, "mod" | "lib" | "main");
    let folder = if beside { folder.to_owned() } else { format!("{folder}/{stem}") };
    let modules = code.test_modules_out_of_line();
    modules.flat_map(|m| [format!("{folder}/{m}.rs"), format!("{folder}/{m}/mod.rs")]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_files_are_found_where_the_compiler_finds_them() {
        let text = "#[cfg(test)]\nmod tests;\npub mod other;\n";
        let beside = test_files(&File::sample("src/proto/mod.rs", text));
        assert!(beside.contains(&"src/proto/tests.rs".to_owned()), "{beside:?}");
        let below = test_files(&File::sample("src/proto/hub.rs", text));
        assert!(below.contains(&"src/proto/hub/tests.rs".to_owned()), "{below:?}");
        assert_eq!(below.len(), 2);
    }

    #[test]
    fn findings_name_file_and_line() {
        let file = File::sample("src/base/id.rs", "");
        assert_eq!(file.find(7, "do this").to_string(), "src/base/id.rs:7: do this");
        assert_eq!(file.find(0, "do this").to_string(), "src/base/id.rs: do this");
    }
}

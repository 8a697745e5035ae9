//! From the path of a request to a file, and never out of the directory.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;

/// What stands for a directory.
const INDEX: &str = "index.html";
/// The one name with a leading dot that is served: RFC 8615.
const WELL_KNOWN: &str = ".well-known";

/// What a path leads to.
#[derive(Debug)]
pub enum Found {
    /// This file.
    File(PathBuf, Metadata),
    /// A directory whose path lacks the slash at its end.
    Directory,
    /// Nothing that is served.
    Nothing,
}

/// What `path` of a request leads to under `root`, which must be canonical.
///
/// Segments that are empty, that begin with a dot (but for `.well-known`), or that hold a slash or
/// a NUL when they are decoded lead nowhere. Symbolic links are followed where they stay under the
/// root. A path that ends in a slash means the `index.html` there.
pub fn find(root: &Path, path: &str) -> Found {
    let Some(relative) = relative(path) else { return Found::Nothing };
    let Ok(mut full) = root.join(relative).canonicalize() else { return Found::Nothing };
    let Ok(mut metadata) = fs::metadata(&full) else { return Found::Nothing };
    let as_directory = path.ends_with('/');
    if metadata.is_dir() {
        if !full.starts_with(root) {
            return Found::Nothing;
        }
        if !as_directory {
            return Found::Directory;
        }
        let Ok(index) = full.join(INDEX).canonicalize() else { return Found::Nothing };
        let Ok(of_index) = fs::metadata(&index) else { return Found::Nothing };
        (full, metadata) = (index, of_index);
    } else if as_directory {
        return Found::Nothing;
    }
    // Anything but a file may block whoever opens it.
    let is_served = metadata.is_file() && full.starts_with(root);
    if is_served { Found::File(full, metadata) } else { Found::Nothing }
}

/// The path below the root, segment by segment.
fn relative(path: &str) -> Option<PathBuf> {
    let mut relative = PathBuf::new();
    let inner = path.strip_prefix('/')?;
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if inner.is_empty() {
        return (path == "/").then_some(relative);
    }
    for segment in inner.split('/') {
        let segment = percent_decode_str(segment).decode_utf8().ok()?;
        let is_hidden = segment.starts_with('.') && segment != WELL_KNOWN;
        if segment.is_empty() || is_hidden || segment.contains(['/', '\0']) {
            return None;
        }
        relative.push(segment.as_ref());
    }
    Some(relative)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of this test; it goes with it.
    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// A directory `root` with files, beside a secret that links lead to.
    fn folder() -> (Folder, PathBuf) {
        let base = std::env::temp_dir().join(format!("ahm-path-{}", std::process::id()));
        let root = base.join("root");
        for inner in ["a/b", ".git", ".well-known", "sp ace"] {
            fs::create_dir_all(root.join(inner)).unwrap();
        }
        for (name, text) in [
            ("root/index.html", "home"),
            ("root/a/index.html", "a"),
            ("root/a/ü.txt", "u"),
            ("root/.git/config", "hidden"),
            ("root/.well-known/x", "known"),
            ("root/sp ace/f", "f"),
            ("secret", "secret"),
        ] {
            fs::write(base.join(name), text).unwrap();
        }
        std::os::unix::fs::symlink(base.join("secret"), root.join("out")).unwrap();
        std::os::unix::fs::symlink(&base, root.join("up")).unwrap();
        std::os::unix::fs::symlink("a/ü.txt", root.join("in")).unwrap();
        let root = root.canonicalize().unwrap();
        (Folder(base), root)
    }

    fn text(root: &Path, path: &str) -> String {
        match find(root, path) {
            Found::File(file, metadata) => {
                let text = fs::read_to_string(file).unwrap();
                assert_eq!(metadata.len(), text.len() as u64);
                text
            }
            Found::Directory => "directory".into(),
            Found::Nothing => "nothing".into(),
        }
    }

    #[test]
    fn what_is_under_the_root_is_found_and_nothing_else() {
        let (_folder, root) = folder();
        let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
        for (path, expected) in [
            ("/", "home"),
            ("/index.html", "home"),
            ("/a", "directory"),
            ("/a/", "a"),
            ("/a/%C3%BC.txt", "u"),
            ("/in", "u"),
            ("/sp%20ace/f", "f"),
            ("/.well-known/x", "known"),
            ("/%2ewell-known/x", "known"),
        ] {
            assert_eq!(text(&root, path), expected, "{path}");
        }
        let nothing = "* a // //a/ /a// /a//b /a/b/ /../secret /%2e%2e/secret /..%2fsecret \
            /a/../index.html /./index.html /.git/config /out /up/ /up /up/secret /index.html/ \
            /index.html/x /in%00 /%FF /socket /nothing /a%2findex.html /a\\index.html";
        for path in nothing.split_whitespace().chain([""]) {
            assert_eq!(text(&root, path), "nothing", "{path}");
        }
    }
}

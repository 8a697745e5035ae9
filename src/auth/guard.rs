//! Paths of the web site behind the server that only some may see.
//!
//! A web server may read a path in more ways than one: it decodes, it joins slashes, it walks dots.
//! So a path is guarded if it is in any of the forms that it may be read in; what then turns out to
//! lie elsewhere was only asked for in vain.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// How often a path is decoded at most; who decodes more often than the web server does little
/// harm, who decodes less often lets somebody in.
const DECODED_MAX: usize = 4;

/// Whether a path of a request lies under a prefix that begins and ends with a slash.
///
/// ```
/// use ahm::auth::guard::is_under;
/// for path in ["/private/", "/private/a", "/private", "/a/../private/", "//private//a",
///     "/%70rivate/a", "/private;x=1/a", "/./private/a", "/public\\..\\private/a"] {
///     assert!(is_under(path, "/private/"), "{path}");
/// }
/// for path in ["/", "/privately", "/public/private/", "/a/private"] {
///     assert!(!is_under(path, "/private/"), "{path}");
/// }
/// ```
pub fn is_under(path: &str, prefix: &str) -> bool {
    let mut form = Cow::Borrowed(path);
    for _ in 0..DECODED_MAX {
        if reaches(&form, prefix) {
            return true;
        }
        let decoded = percent_decode_str(&form).decode_utf8_lossy();
        if decoded == form {
            return false;
        }
        form = decoded.into_owned().into();
    }
    // Whoever encodes so often wants to be misread.
    true
}

/// The same for one form of it: as it stands, or with its dots walked.
fn reaches(path: &str, prefix: &str) -> bool {
    let plain = path.replace('\\', "/");
    let plain = plain.split(['?', '#']).next().unwrap_or_default();
    let mut walked: Vec<&str> = Vec::new();
    let mut kept: Vec<&str> = Vec::new();
    for part in plain.split('/') {
        // Some servers know parameters of each part.
        let part = part.split(';').next().unwrap_or_default();
        match part {
            "" | "." => {}
            ".." => {
                walked.pop();
            }
            part => {
                walked.push(part);
                kept.push(part);
            }
        }
    }
    let wanted: Vec<&str> = prefix.split('/').filter(|part| !part.is_empty()).collect();
    walked.starts_with(&wanted) || kept.starts_with(&wanted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_spelling_gets_around_a_guard() {
        for path in [
            "/private/x/../../private/y",
            "/%2e%2e/private/a",
            "/a/%2e%2e/private/a",
            "/a/..%2fprivate/a",
            "/a%5c..%5cprivate/a",
            "/%2570rivate/",
            "/private%3bx/a",
            "/private%2fa",
            "/private/../public",
            "/private%00/",
            "/%25252525252570rivate/a",
        ] {
            // A part that is more than its name is another name, to all who can tell.
            let is_another = path.contains("%00");
            assert_eq!(is_under(path, "/private/"), !is_another, "{path}");
        }
        assert!(is_under("/anything", "/"));
        assert!(is_under("/a/b/c", "/a/b/"));
        assert!(!is_under("/a/c/b", "/a/b/"));
    }

    proptest! {
        #[test]
        fn any_path_is_judged(path in "\\PC{0,60}", parts in "[/.%2eEfF5cC;a-z\\\\]{0,40}") {
            is_under(&path, "/private/");
            is_under(&parts, "/private/");
            let inside = format!("/private/{}", parts.replace("..", ""));
            prop_assert!(is_under(&inside, "/private/"), "{}", inside);
        }
    }
}

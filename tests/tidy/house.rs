//! The house as a whole: what lies at the top, how large files are, which can be run.

use crate::tree::{File, Finding};

const TOP: [&str; 8] =
    ["Cargo.toml", "Cargo.lock", "README.md", "src", "benches", "perf", "tests", "scripts"];
const BYTES_MAX: u64 = 2 * 1024 * 1024;

/// Size and executable bit of one file.
pub fn check(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    if file.bytes > BYTES_MAX {
        let what = format!("{} bytes, at most {BYTES_MAX}: make it smaller", file.bytes);
        findings.push(file.find(0, what));
    }
    let has_interpreter = file.text.as_ref().is_some_and(|text| text.starts_with("#!/"));
    let in_scripts = file.path.starts_with("scripts/") && !file.path.contains('.');
    if in_scripts && !has_interpreter {
        findings.push(file.find(1, "a script names its interpreter: #!/usr/bin/env bash"));
    }
    if (in_scripts || has_interpreter) && !file.executable {
        findings.push(file.find(0, "make it executable: chmod +x, and git add --chmod=+x"));
    }
    findings
}

/// Names at the top that do not belong there.
pub fn top_level(names: &[String]) -> Vec<Finding> {
    let strangers = names.iter().filter(|name| !name.starts_with('.') && !TOP.contains(&&***name));
    strangers
        .map(|name| {
            let what = format!("does not belong at the top, which holds {}", TOP.join(", "));
            Finding { path: name.clone(), line: 0, what }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(file: &File) -> Vec<String> {
        check(file).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn order_passes() {
        let script = b"#!/usr/bin/env bash\n";
        assert_eq!(findings(&File::new("scripts/test", script, true)), [""; 0]);
        assert_eq!(findings(&File::new("src/web/demo.js", b"x", false)), [""; 0]);
        assert_eq!(findings(&File::new("scripts/note.md", b"x", false)), [""; 0]);
        let data = vec![0xff; BYTES_MAX as usize];
        assert_eq!(findings(&File::new("src/web/data.gz", &data, false)), [""; 0]);
        assert!(top_level(&[".ci".into(), "src".into(), "README.md".into()]).is_empty());
    }

    #[test]
    fn disorder_is_found() {
        let large = vec![b'x'; BYTES_MAX as usize + 1];
        for (file, wanted) in [
            (File::new("scripts/test", b"#!/bin/sh\n", false), "make it executable"),
            (File::new(".ci/run", b"#!/bin/sh\n", false), "make it executable"),
            (File::new("scripts/test", b"true\n", true), "names its interpreter"),
            (File::new("perf/a.csv", &large, false), "make it smaller"),
        ] {
            let found = findings(&file);
            assert!(found.len() == 1 && found[0].contains(wanted), "{found:?}");
        }
        let found = top_level(&["build.rs".into(), "docs".into(), "src".into()]);
        assert_eq!(found.len(), 2);
        assert!(found[0].to_string().starts_with("build.rs: does not belong at the top"));
    }
}

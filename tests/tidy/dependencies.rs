//! Dependencies: no async runtime gets in, not even by way of another crate.

use std::process::Command;

use crate::tree::Finding;

const RUNTIMES: [&str; 12] = [
    "tokio",
    "tokio-util",
    "async-std",
    "async-executor",
    "async-global-executor",
    "async-io",
    "smol",
    "futures-executor",
    "actix-rt",
    "glommio",
    "monoio",
    "compio-runtime",
];

/// What `cargo tree` says about the crates that the product is built of with default features.
pub fn cargo_tree() -> String {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--edges", "normal", "--prefix", "none", "--offline", "--locked"])
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo tree failed: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Runtimes in the output of `cargo tree --prefix none`.
pub fn check(tree: &str) -> Vec<Finding> {
    let names = tree.lines().filter_map(|line| line.split(' ').next());
    let mut runtimes: Vec<_> = names.filter(|name| RUNTIMES.contains(name)).collect();
    runtimes.sort_unstable();
    runtimes.dedup();
    let what = "is an async runtime: find the dependency that brings it with cargo tree -i";
    let finding = |name: &str| Finding { path: name.into(), line: 0, what: what.into() };
    runtimes.into_iter().map(finding).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runtime_is_found_by_its_name_alone() {
        assert!(check("ahm v0.1.0 (.)\nmio v1.2.5\nsmolder v1.0.0\nserde v1 (*)\n").is_empty());
        let found = check("ahm v0.1.0 (.)\nhyper v1.0.0\ntokio v1.0.0\ntokio v1.0.0 (*)\n");
        assert_eq!(found.len(), 1);
        assert!(found[0].to_string().starts_with("tokio: is an async runtime"));
    }

    #[test]
    fn the_tree_is_that_of_the_house() {
        assert!(cargo_tree().starts_with("ahm v"));
    }
}

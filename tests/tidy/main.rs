//! Reads the sources and holds them to the rules of the house. Each rule is a function from a file
//! to findings, with samples beside it that show it passing and failing.

#![expect(clippy::unwrap_used, reason = "a test that cannot read the house has failed")]

mod code;
mod dependencies;
mod floors;
mod house;
mod shape;
mod tree;
mod words;

use std::path::Path;

use tree::{Finding, Tree};

fn house() -> Tree {
    Tree::read(Path::new(env!("CARGO_MANIFEST_DIR")))
}

fn hold(findings: Vec<Finding>) {
    let lines: Vec<_> = findings.iter().map(ToString::to_string).collect();
    assert!(lines.is_empty(), "\n{}\n", lines.join("\n"));
}

#[test]
fn imports_go_down_the_floors() {
    hold(house().rust().flat_map(floors::check).collect());
}

#[test]
fn files_and_functions_are_small_and_lines_short() {
    let house = house();
    let mut findings: Vec<_> = house.rust().flat_map(shape::check_rust).collect();
    findings.extend(house.files.iter().flat_map(shape::columns));
    hold(findings);
}

#[test]
fn code_keeps_its_manners() {
    hold(house().rust().flat_map(words::check_rust).collect());
}

#[test]
fn no_file_names_what_lies_outside() {
    hold(house().files.iter().flat_map(words::check_outside).collect());
}

#[test]
fn top_level_sizes_and_scripts_are_in_order() {
    let house = house();
    let mut findings: Vec<_> = house.files.iter().flat_map(house::check).collect();
    findings.extend(house::top_level(&house.top));
    hold(findings);
}

#[test]
fn no_async_runtime_is_a_dependency() {
    hold(dependencies::check(&dependencies::cargo_tree()));
}

//! Changes to something that was right.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

/// One change of a run of bytes.
#[derive(Clone, Debug)]
pub enum Edit {
    /// These bytes stand over those that are there.
    Over(Index, Vec<u8>),
    /// These come between.
    Between(Index, Vec<u8>),
    /// A piece is left out.
    Without(Index, Index),
    /// A piece stands once more, somewhere else.
    Again(Index, Index, Index),
    /// Only the beginning is there.
    Cut(Index),
}

/// A few changes, in bytes that the format may know.
pub fn edits(alphabet: &'static [u8]) -> impl Strategy<Value = Vec<Edit>> {
    let byte = prop_oneof![3 => prop::sample::select(alphabet), 1 => any::<u8>()];
    let piece = prop::collection::vec(byte, 1..5);
    let at = any::<Index>;
    let edit = prop_oneof![
        4 => (at(), piece.clone()).prop_map(|(at, piece)| Edit::Over(at, piece)),
        2 => (at(), piece).prop_map(|(at, piece)| Edit::Between(at, piece)),
        2 => (at(), at()).prop_map(|(from, to)| Edit::Without(from, to)),
        2 => (at(), at(), at()).prop_map(|(from, to, at)| Edit::Again(from, to, at)),
        1 => at().prop_map(Edit::Cut),
    ];
    prop::collection::vec(edit, 1..4)
}

/// What becomes of `bytes`; an edit of a piece changes at most 40 of them.
pub fn edited(bytes: &[u8], edits: &[Edit]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for edit in edits {
        let places = out.len() + 1;
        let range = |from: &Index, to: &Index| {
            let from = from.index(places);
            from..out.len().min(from + to.index(40))
        };
        match edit {
            Edit::Over(at, piece) => {
                for (old, new) in out.iter_mut().skip(at.index(places)).zip(piece) {
                    *old = *new;
                }
            }
            Edit::Between(at, piece) => {
                let at = at.index(places);
                out.splice(at..at, piece.iter().copied());
            }
            Edit::Without(from, to) => drop(out.drain(range(from, to))),
            Edit::Again(from, to, at) => {
                let (piece, at) = (out[range(from, to)].to_vec(), at.index(places));
                out.splice(at..at, piece);
            }
            Edit::Cut(at) => out.truncate(at.index(places)),
        }
    }
    out
}

/// The same of text; what is no UTF-8 any more is replaced.
pub fn edited_text(text: &str, edits: &[Edit]) -> String {
    String::from_utf8_lossy(&edited(text.as_bytes(), edits)).into_owned()
}

/// At least so many cases; more if `PROPTEST_CASES` says so.
pub fn at_least(cases: u32) -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig { cases: config.cases.max(cases), ..config }
}

/// How often each verdict falls on what a generator makes: a reader that refuses all changed things
/// at its first byte would be tested by none of them.
pub fn verdicts<T: std::fmt::Debug>(
    what: impl Strategy<Value = T>,
    verdict: impl Fn(T) -> &'static str,
) -> BTreeMap<&'static str, usize> {
    let mut runner = TestRunner::deterministic();
    let mut counts = BTreeMap::new();
    for _ in 0..1_000 {
        *counts.entry(verdict(what.new_tree(&mut runner).unwrap().current())).or_default() += 1;
    }
    counts
}

#[test]
fn each_edit_does_what_it_says() {
    let counts = verdicts(edits(b"ab"), |edits| match edited(b"0123456789", &edits) {
        out if out.len() < 10 => "shorter",
        out if out.len() > 10 => "longer",
        out if out == b"0123456789" => "same",
        _ => "other",
    });
    assert!(["shorter", "longer", "other"].iter().all(|what| counts[what] > 20), "{counts:?}");
    assert!(counts["same"] < 200, "{counts:?}");
}

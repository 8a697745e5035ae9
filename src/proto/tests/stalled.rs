//! What stalled documents may hold.

use crate::base::reason::CloseReason;
use crate::base::time::Span;
use crate::proto::connection::Door;
use crate::proto::directory::Directory;
use crate::proto::settings::{History, Settings};
use crate::proto::tests::Pack;

/// A server that keeps one message of a topic, and whose stalled documents may hold 100 kB.
fn narrow() -> (Pack, usize) {
    let history = History { messages_max: 1, ..History::default() };
    let settings = Settings { history, stalled_bytes_max: 100_000, ..Settings::default() };
    let mut pack = Pack::new(1, settings, Directory::default());
    let publisher = pack.connect(0, Door::Private);
    pack.post(publisher, "/publish/fx/A", "first");
    (pack, publisher)
}

#[test]
fn who_has_stalled_for_longest_goes_first_when_all_hold_too_much() {
    let (mut pack, publisher) = narrow();
    let payload = "x".repeat(20_000);
    let mut readers = Vec::new();
    for _ in 0..7 {
        let (reader, ..) = pack.document(0, "open=fx/A");
        pack.rooms[reader] = Some(100);
        // The reader before holds a run that the history has dropped.
        pack.post(publisher, "/publish/fx/A", &payload);
        pack.pass(Span::from_millis(10));
        readers.push(reader);
        assert!(pack.hubs[0].stalled_bytes() <= 100_000);
        pack.hubs[0].check_invariants().unwrap();
    }
    assert_eq!(
        pack.closed,
        [
            (readers[0], CloseReason::Stale),
            (readers[1], CloseReason::Stale),
            (readers[2], CloseReason::Stale)
        ][..pack.closed.len()]
    );
    let cut = pack.closed.len();
    assert!((2..=3).contains(&cut), "{:?}", pack.closed);
    let stats = pack.stats();
    assert_eq!((stats.stalled_cut, stats.documents_stale), (cut as u64, cut as u64));
    assert!((100_000..140_000).contains(&stats.stalled_bytes_peak), "{stats}");
    // The others read on, with a gap where history has moved past them.
    for &reader in &readers[cut..] {
        pack.give_room(reader, None);
        let text = pack.text(reader);
        assert!(text.contains(" n=8>xxx"), "{text:.200}");
    }
    assert_eq!(pack.hubs[0].stalled_bytes(), 0);
}

#[test]
fn a_run_that_many_hold_is_held_once() {
    let (mut pack, publisher) = narrow();
    let mut readers = Vec::new();
    for _ in 0..200 {
        let (reader, ..) = pack.document(0, "open=fx/A");
        pack.rooms[reader] = Some(100);
        readers.push(reader);
    }
    let payload = "x".repeat(30_000);
    pack.post(publisher, "/publish/fx/A", &payload);
    let held = pack.hubs[0].stalled_bytes();
    assert!((30_000..90_000).contains(&held), "{held}");
    assert!(pack.closed.is_empty());
    pack.hubs[0].check_invariants().unwrap();
    // Half of them go, the others read on.
    for (index, &reader) in readers.iter().enumerate() {
        match index % 2 {
            0 => pack.cut(reader),
            _ => pack.give_room(reader, None),
        }
    }
    assert_eq!(pack.hubs[0].stalled_bytes(), 0);
}

#[test]
fn frames_of_its_own_that_a_stalled_document_piles_up_count_too() {
    let (mut pack, publisher) = narrow();
    let (reader, _, me) = pack.document(0, "open=fx/A");
    pack.rooms[reader] = Some(0);
    pack.post(publisher, "/publish/fx/A", "x");
    let line = pack.connect(0, Door::Public);
    for cid in 1..2_000 {
        if pack.conns[reader].is_none() {
            break;
        }
        pack.get(line, &format!("/ahm/open?{me}&resource=fx&subject=A&cid={cid}"));
        pack.get(line, &format!("/ahm/close?{me}&cid={cid}"));
        pack.hubs[0].check_invariants().unwrap();
    }
    assert_eq!(pack.closed, [(reader, CloseReason::Stale)]);
    assert_eq!((pack.stats().stalled_cut, pack.hubs[0].stalled_bytes()), (1, 0));
}

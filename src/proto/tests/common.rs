//! Readers at the same place are sent the same bytes, gathered once; all others their own.

use std::sync::Arc;

use crate::base::random::Random;
use crate::base::time::Span;
use crate::proto::connection::Door;
use crate::proto::directory::Directory;
use crate::proto::settings::Settings;
use crate::proto::tests::Pack;
use crate::proto::tests::flushing::Quotes;

/// What a reader asks for, and whether it may pass over messages.
const KINDS: [(&str, bool); 5] = [
    ("open=fx/A", false),
    ("open=fx/A;mode=latest", true),
    ("open=fx/A;cid=7", false),
    ("open=fx/A&open=fx/B", false),
    ("open=fx/A;rate=1000", true),
];

/// Publishes to readers of all kinds, whose sockets take a few bytes or all; gives what each was
/// sent, with its kind.
fn world(seed: u64, count: usize) -> (Pack, Vec<(usize, bool)>) {
    let mut random = Random::from_number(seed);
    let mut directory = Directory::default();
    directory.add("fx", Arc::new(Quotes)).unwrap();
    let mut pack = Pack::new(1, Settings::default(), directory);
    let publisher = pack.connect(0, Door::Private);
    pack.post(publisher, "/publish/fx/A", "first");
    let mut readers = Vec::new();
    for at in 0..60 {
        let (open, passes) = KINDS[at % KINDS.len()];
        let (peer, ..) = pack.document(0, open);
        pack.received[peer].clear();
        readers.push((peer, passes));
    }
    let mut next = 0;
    while next < count {
        for &(peer, _) in &readers {
            if random.below(4) == 0 {
                pack.rooms[peer] = Some(random.below(150) as usize);
            } else if pack.rooms[peer].take().is_some()
                && let Some((shard, conn)) = pack.conns[peer]
            {
                pack.hubs[shard].handle_writable(conn, pack.now);
            }
        }
        pack.drain();
        let lines: String = (0..random.below(40) + 1)
            .filter_map(|_| {
                next += 1;
                (next <= count).then(|| format!("A\t{next}\n"))
            })
            .collect();
        pack.post(publisher, "/publish?resource=fx", &lines);
        pack.pass(Span::from_millis(random.below(2_000)));
    }
    for &(peer, _) in &readers {
        pack.rooms[peer] = None;
        if let Some((shard, conn)) = pack.conns[peer] {
            pack.hubs[shard].handle_writable(conn, pack.now);
        }
    }
    pack.drain();
    pack.pass(Span::from_millis(10));
    pack.hubs[0].check_invariants().unwrap();
    (pack, readers)
}

#[test]
fn every_reader_gets_its_own_messages_whoever_stands_beside_it() {
    for seed in 0..20 {
        let (mut pack, readers) = world(seed, 200);
        let mut delivered = 0;
        for (at, (peer, passes)) in readers.into_iter().enumerate() {
            let bytes = std::mem::take(&mut pack.received[peer]);
            let frames = content(&bytes);
            let messages: Vec<usize> = frames
                .lines()
                .filter(|line| line.starts_with("<p c="))
                .map(|line| line.split_once('>').unwrap().1.parse().unwrap())
                .collect();
            delivered += messages.len() as u64;
            assert_eq!(messages.last(), Some(&200), "seed {seed}, reader {at}");
            assert!(messages.is_sorted_by(|a, b| a < b), "seed {seed}, reader {at}: {messages:?}");
            assert!(passes || messages.len() == 200, "seed {seed}, reader {at}: {messages:?}");
            let own = frames.lines().filter(|line| line.starts_with("<p c=7 ")).count();
            assert_eq!(
                own,
                if at % KINDS.len() == 2 { 200 } else { 0 },
                "seed {seed}, reader {at}"
            );
        }
        assert_eq!(pack.hubs[0].stats().delivered, delivered, "seed {seed}");
    }
}

#[test]
fn who_is_named_twice_is_written_once() {
    let mut pack = Pack::new(1, Settings::default(), Directory::default());
    let publisher = pack.connect(0, Door::Private);
    pack.post(publisher, "/publish/fx/A", "0");
    let (reader, ..) = pack.document(0, "open=fx/A");
    pack.received[reader].clear();
    // More than a chunk takes, for a socket that is just full.
    pack.rooms[reader] = Some(0);
    let lines = |from: usize| -> String {
        (from..from + 60).map(|at| format!("A\t{at}{}\n", ".".repeat(1_000))).collect()
    };
    pack.post(publisher, "/publish?resource=fx", &lines(0));
    let (shard, conn) = pack.conns[reader].unwrap();
    for from in [60, 120] {
        pack.post(publisher, "/publish?resource=fx", &lines(from));
        for room in [100, 50_000, 1_000] {
            pack.rooms[reader] = Some(room);
            pack.hubs[shard].handle_writable(conn, pack.now);
            while pack.poll_output(shard).is_some() {}
            pack.write(shard, &[conn, conn, conn]);
        }
    }
    pack.rooms[reader] = None;
    pack.hubs[shard].handle_writable(conn, pack.now);
    pack.drain();
    let seen = content(&pack.received[reader]);
    let seen: Vec<usize> = seen
        .lines()
        .map(|line| line.split_once('>').unwrap().1.trim_matches('.').parse().unwrap())
        .collect();
    assert_eq!(seen, (0..180).collect::<Vec<_>>());
}

/// What the chunks of a body hold; each must be as long as it says.
fn content(mut bytes: &[u8]) -> String {
    let mut text = String::new();
    while !bytes.is_empty() {
        let end = bytes.windows(2).position(|two| two == b"\r\n").unwrap();
        let digits = std::str::from_utf8(&bytes[..end]).unwrap();
        let length = usize::from_str_radix(digits, 16).unwrap();
        let chunk = &bytes[end + 2..];
        text.push_str(std::str::from_utf8(&chunk[..length]).unwrap());
        assert_eq!(&chunk[length..length + 2], b"\r\n");
        bytes = &chunk[length + 2..];
    }
    text
}

//! Recorded ticks: reading, merging, copying and playing them.
//!
//! The samples in `tests/ticks` are real lines. With `TEST_TICKS=FOLDER` the whole of every
//! recording in that folder is compared as well.

#![expect(clippy::unwrap_used, reason = "a test ends at the first thing that is wrong")]

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use ahm::base::time::Span;
use ahm::cli::merge::{Merge, MergeError, Naming, Tick};
use ahm::cli::replay::{Pacer, Sink, Stats, play};
use ahm::cli::ticks::TickError;

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ticks").join(name)
}

/// A file of its own for each test, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let folder =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left behind lies in the target folder and harms nobody.
        let _ = self.0.parent().map(fs::remove_dir_all);
    }
}

fn unpacked(path: &Path) -> Vec<u8> {
    let mut text = Vec::new();
    flate2::read::MultiGzDecoder::new(fs::File::open(path).unwrap())
        .read_to_end(&mut text)
        .unwrap();
    text
}

fn lines(path: &Path) -> Vec<String> {
    let text = String::from_utf8(unpacked(path)).unwrap();
    text.lines().map(str::to_string).collect()
}

fn merged(paths: &[PathBuf], naming: &Naming) -> Vec<Tick> {
    Merge::open(paths, naming).unwrap().map(|tick| tick.unwrap()).collect()
}

fn texts(ticks: &[Tick]) -> Vec<(String, String)> {
    let text = |tick: &Tick| String::from_utf8(tick.payload.to_vec()).unwrap();
    ticks.iter().map(|tick| (tick.name.to_string(), text(tick))).collect()
}

#[test]
fn every_raw_row_comes_once_in_order_and_unchanged() {
    let path = sample("usdm_ethusdt_20240808.txt.gz");
    let ticks = merged(std::slice::from_ref(&path), &Naming::default());
    let expected: Vec<_> = lines(&path)
        .iter()
        .map(|line| {
            ("crypto/usdm.ETHUSDT".to_string(), line.split_once(' ').unwrap().1.to_string())
        })
        .collect();
    assert_eq!(texts(&ticks), expected);
    assert_eq!(ticks[0].at, Span::ZERO);
    assert_eq!(
        ticks[1].at,
        Span::from_nanos(1_723_161_255_088_165_267 - 1_723_161_255_088_156_767)
    );
}

#[test]
fn gzip_and_plain_and_windows_line_ends_read_alike() {
    let path = sample("spot_ethusdt_20240808.txt.gz");
    let text = unpacked(&path);
    let plain = Scratch::new("spot_ethusdt_20240808.txt", &text);
    let windows = String::from_utf8(text).unwrap().replace('\n', "\r\n");
    let windows = Scratch::new("spot_ethusdt.dat", windows.trim_end().as_bytes());
    let expected = merged(&[path], &Naming::default());
    assert_eq!(merged(std::slice::from_ref(&plain.0), &Naming::default()), expected);
    assert_eq!(merged(std::slice::from_ref(&windows.0), &Naming::default()), expected);
}

#[test]
fn several_files_merge_by_time_and_quotes_of_fxcm_are_brought_to_utc() {
    let files = ["oanda_eurusd.csv.gz", "fxcm_eurusd.csv.gz", "oanda_xauusd.csv.gz"].map(sample);
    let ticks = merged(&files, &Naming::default());
    assert!(ticks.is_sorted_by_key(|tick| tick.at));
    assert_eq!(ticks.len(), files.iter().map(|file| lines(file).len()).sum::<usize>());
    let first = |name: &str| ticks.iter().find(|tick| tick.name.as_str() == name).unwrap().at;
    // The first file of EURUSD keeps the plain name; gold came first, 42.4312 ms after midnight.
    assert_eq!(first("fx/XAUUSD"), Span::ZERO);
    let after_gold = |ms: u64| Span::from_nanos(ms * 1_000_000 - 42_431_200);
    assert_eq!(first("fx/EURUSD"), after_gold(8_715));
    assert_eq!(first("fx/fxcm.EURUSD"), after_gold(17_007 + 18_000_000));

    let venue = Naming { venue: true, resource: Some("rates".into()), ..Naming::default() };
    let merge = Merge::open(&files, &venue).unwrap();
    let names: Vec<_> = merge.names().map(ToString::to_string).collect();
    assert_eq!(names, ["rates/oanda.EURUSD", "rates/fxcm.EURUSD", "rates/oanda.XAUUSD"]);
}

#[test]
fn files_of_different_clocks_begin_together() {
    let files = ["oanda_xauusd.csv.gz", "spot_ethusdt_20240808.txt.gz"].map(sample);
    let ticks = merged(&files, &Naming::default());
    let starts = ticks.iter().take_while(|tick| tick.at == Span::ZERO);
    assert_eq!(starts.count(), 2);
}

#[test]
fn copies_are_the_same_ticks_later_under_other_names() {
    let path = sample("spot_ethusdt_20240808.txt.gz");
    let shift = Span::from_millis(700);
    let naming = Naming { copies: 4, shift, ..Naming::default() };
    let ticks = merged(std::slice::from_ref(&path), &naming);
    assert!(ticks.is_sorted_by_key(|tick| tick.at));
    let alone = merged(&[path], &Naming::default());
    assert_eq!(ticks.len(), 4 * alone.len());
    for copy in 1..=4u64 {
        let name = match copy {
            1 => "crypto/spot.ETHUSDT".to_string(),
            _ => format!("crypto/spot.ETHUSDT.{copy}"),
        };
        let of_copy: Vec<_> = ticks.iter().filter(|tick| tick.name.as_str() == name).collect();
        assert_eq!(of_copy.len(), alone.len());
        for (tick, original) in of_copy.iter().zip(&alone) {
            assert_eq!(tick.at, original.at + shift.times(copy - 1));
            assert_eq!(tick.payload, original.payload);
        }
    }
}

#[test]
fn a_malformed_line_is_named_and_nothing_comes_after_it() {
    for (name, text, line, expected) in [
        ("spot_a.txt", "1 {}\n2 {}\n3 {\n4 {}\n", 3, "JSON after the receive time"),
        ("spot_b.txt", "1 {}\n\n", 2, "`<ns since 1970> <JSON>`"),
        ("fxcm_c.csv", "1,1.5,1.6\n2,1.5\n", 2, "`<ms since midnight>,<bid>,<ask>`"),
        ("fxcm_d.csv", "1,1.5,1.6\n2,1.5,abc", 2, "decimal prices in the second and third column"),
    ] {
        let file = Scratch::new(name, text.as_bytes());
        // The line may be met while the files are opened or while they are read.
        let error = match Merge::open(std::slice::from_ref(&file.0), &Naming::default()) {
            Err(MergeError::Tick(error)) => error,
            Err(error) => panic!("{error}"),
            Ok(mut merge) => {
                let error = merge.by_ref().find_map(Result::err).unwrap();
                assert!(merge.next().is_none());
                error
            }
        };
        let said = error.to_string();
        assert!(said.ends_with(&format!("{name} line {line}: expected {expected}")), "{said}");
    }
    for (name, text) in [("spot_e.txt", ""), ("spot_f.txt", "hello\n"), ("spot_g.txt", "12\n")] {
        let file = Scratch::new(name, text.as_bytes());
        assert!(Merge::open(std::slice::from_ref(&file.0), &Naming::default()).is_err(), "{name}");
    }
    let truncated = &fs::read(sample("oanda_eurusd.csv.gz")).unwrap()[..900];
    let file = Scratch::new("oanda_cut.csv.gz", truncated);
    let mut merge = Merge::open(std::slice::from_ref(&file.0), &Naming::default()).unwrap();
    assert!(matches!(merge.find_map(Result::err), Some(TickError::Io { .. })));
}

#[test]
fn a_file_given_twice_is_refused() {
    let path = sample("usdm_ethusdt_20240808.txt.gz");
    let opened = Merge::open(&[path.clone(), path], &Naming::default());
    assert!(matches!(opened, Err(MergeError::Twice(..))));
}

/// A clock that moves only when it is waited for or when publishing takes time.
#[derive(Default)]
struct World {
    now: Span,
    batches: Vec<(Span, Vec<Tick>)>,
    stall: Option<(usize, Span)>,
}

struct Shared<'a>(&'a std::cell::RefCell<World>);

impl Pacer for Shared<'_> {
    fn now(&mut self) -> Span {
        self.0.borrow().now
    }
    fn wait_until(&mut self, at: Span) {
        let mut world = self.0.borrow_mut();
        world.now = world.now.max(at);
    }
}

impl Sink for Shared<'_> {
    fn publish(&mut self, batch: &[Tick]) -> Result<(), String> {
        let mut world = self.0.borrow_mut();
        let now = world.now;
        world.batches.push((now, batch.to_vec()));
        if let Some((at, span)) = world.stall
            && world.batches.len() == at
        {
            world.now = now + span;
        }
        Ok(())
    }
}

fn played(ticks: &[Tick], speed: f64, stall: Option<(usize, Span)>) -> (World, Stats) {
    let world = std::cell::RefCell::new(World { stall, ..World::default() });
    let source = ticks.iter().cloned().map(Ok);
    let (mut pacer, mut sink) = (Shared(&world), Shared(&world));
    let stats = play(source, speed, &mut pacer, &mut sink, |_| {}).unwrap();
    (world.into_inner(), stats)
}

#[test]
fn the_schedule_batches_by_the_millisecond_and_does_not_drift() {
    let ticks = merged(&[sample("usdm_ethusdt_20240808.txt.gz")], &Naming::default());
    for speed in [1.0, 4.0] {
        let (world, stats) = played(&ticks, speed, Some((10, Span::from_millis(40))));
        let sent: Vec<Tick> = world.batches.iter().flat_map(|(_, batch)| batch.clone()).collect();
        assert_eq!(sent, ticks, "every row once and in order");
        assert_eq!(stats.messages, ticks.len() as u64);
        assert!(world.batches.len() < ticks.len());
        for (sent_at, batch) in &world.batches {
            for tick in batch {
                let due = Span::from_nanos((tick.at.as_nanos() as f64 / speed) as u64);
                assert!(due.as_millis() <= sent_at.as_millis(), "sent before its millisecond");
            }
        }
        // After the stall the schedule is caught up with, not moved.
        assert!(stats.late_max > Span::ZERO && stats.late == Span::ZERO, "{stats}");
        let last = ticks.last().unwrap().at.as_nanos() as f64 / speed;
        assert!(stats.took.as_millis() <= (last / 1e6) as u64 + 1);
    }
}

#[test]
fn speed_zero_does_not_wait() {
    let ticks = merged(&[sample("oanda_eurusd.csv.gz")], &Naming::default());
    let (world, stats) = played(&ticks, 0.0, None);
    assert_eq!((world.now, stats.messages), (Span::ZERO, ticks.len() as u64));
}

#[test]
fn whole_recordings_come_unchanged_where_they_are_at_hand() {
    let Some(folder) = std::env::var_os("TEST_TICKS") else { return };
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "gz") {
            continue;
        }
        let text = unpacked(&path);
        let mut rows = text.split(|&byte| byte == b'\n').filter(|row| !row.is_empty());
        for tick in Merge::open(std::slice::from_ref(&path), &Naming::default()).unwrap() {
            let tick = tick.unwrap();
            let row = rows.next().unwrap().trim_ascii_end();
            let at = row.iter().position(|byte| b" ,".contains(byte)).unwrap();
            let expected: Vec<u8> = match row[at] {
                b' ' => row[at + 1..].to_vec(),
                _ => row[at + 1..]
                    .iter()
                    .map(|&byte| if byte == b',' { b' ' } else { byte })
                    .collect(),
            };
            assert!(*tick.payload == *expected, "{}", path.display());
        }
        assert_eq!(rows.next(), None);
    }
}

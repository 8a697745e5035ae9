//! Recorded ticks as a load: when which topic has a message, and of how many bytes.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::base::limits::PAYLOAD_BYTES_MAX;
use crate::base::name::TopicName;
use crate::base::time::Span;
use crate::cli::bench::stamp::STAMP_BYTES;
use crate::cli::demo_feed::SHIPPED;
use crate::cli::merge::{Merge, Naming};
use crate::cli::packed::{FIRST_LINE, PackedError, Recording};
use crate::cli::ticks::unpacked;

/// One recorded tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beat {
    /// When it is due, counted from the beginning of the recording.
    pub at: Span,
    /// The number of its topic.
    pub topic: u32,
    /// Its number within one pass among those of its topic, from 1.
    pub seq: u32,
    /// Bytes of its payload, at least those of a stamp.
    pub size: u32,
}

/// A recording in order of time. It can be played again and again: the next pass begins where the
/// one before has ended.
#[derive(Clone, Debug)]
pub struct Profile {
    /// What it is called.
    pub name: String,
    /// The topics as they were recorded.
    pub topics: Vec<String>,
    beats: Vec<Beat>,
    /// How many there are of each topic.
    counts: Vec<u64>,
    span: Span,
}

/// What is recorded of a profile that was played.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Played {
    /// What it is called.
    pub name: String,
    /// How many times faster than recorded.
    pub speed: f64,
    /// Ticks of one pass; of a long recording only as many as the run is long.
    pub ticks: usize,
    /// Recorded seconds of one pass.
    pub seconds: f64,
    /// Most messages that any second of the run has.
    pub second_max: usize,
    /// Passes that the run is long.
    pub passes: f64,
    /// The topics as they were recorded; they are published as t0, t1, ...
    pub topics: Vec<String>,
}

impl Profile {
    /// Reads recordings, played together: files, or `crypto` and `fx` for those inside the binary.
    /// Of unpacked ones only as much as `until` needs is read.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn read(files: &[PathBuf], until: Span) -> Result<Self, String> {
        let mut reading = Reading::default();
        let mut feeds = Vec::new();
        for path in files {
            let shipped = SHIPPED.iter().find(|(name, _)| path == Path::new(name));
            if let Some((_, packed)) = shipped {
                reading.packed(path, Recording::open(packed))?;
                continue;
            }
            let failed = |error| format!("{}: {error}", path.display());
            let mut reader = File::open(path).and_then(unpacked).map_err(failed)?;
            if reader.fill_buf().map_err(failed)?.starts_with(FIRST_LINE.as_bytes()) {
                reading.packed(path, Recording::of_lines(reader))?;
            } else {
                feeds.push(path);
            }
        }
        if !feeds.is_empty() {
            reading.feeds(&feeds, until)?;
        }
        reading.profile(files)
    }

    /// Ticks of one pass.
    pub fn ticks(&self) -> usize {
        self.beats.len()
    }

    /// When tick `k` of an endless loop is due at the recorded speed; its topic, its number there
    /// and its size.
    pub fn beat(&self, k: u64) -> (Span, usize, u64, usize) {
        let count = self.beats.len() as u64;
        let (pass, at) = (k / count, (k % count) as usize);
        let Beat { at, topic, seq, size } = self.beats[at];
        let seq = pass * self.counts[topic as usize] + u64::from(seq);
        (self.span.times(pass) + at, topic as usize, seq, size as usize)
    }

    /// Ticks of the first `span` of an endless loop.
    pub fn count(&self, span: Span) -> u64 {
        let (passes, rest) = self.passes(span);
        let rest = self.beats.partition_point(|beat| beat.at < rest);
        passes * self.beats.len() as u64 + rest as u64
    }

    /// What is recorded of a run of `span` at `speed`; the span is that of the recording.
    pub fn played(&self, speed: f64, span: Span) -> Played {
        let seconds = |span: Span| span.as_nanos() as f64 / 1e9;
        Played {
            name: self.name.clone(),
            speed,
            ticks: self.beats.len(),
            seconds: seconds(self.span),
            second_max: self.most_within(Span::from_nanos((1e9 * speed) as u64), span),
            passes: seconds(span) / seconds(self.span),
            topics: self.topics.clone(),
        }
    }

    /// Bytes of all payloads of the first `span` of an endless loop.
    pub fn bytes(&self, span: Span) -> u64 {
        let (passes, rest) = self.passes(span);
        let of = |beats: &[Beat]| beats.iter().map(|beat| u64::from(beat.size)).sum::<u64>();
        let rest = self.beats.partition_point(|beat| beat.at < rest);
        passes * of(&self.beats) + of(&self.beats[..rest])
    }

    /// Whole passes of `span`, and what is left.
    fn passes(&self, span: Span) -> (u64, Span) {
        let passes = span.as_nanos() / self.span.as_nanos();
        (passes, span - self.span.times(passes))
    }

    /// Most ticks in any `window` among the first `span`.
    fn most_within(&self, window: Span, span: Span) -> usize {
        // The second pass repeats the first, but for what lies across the seam.
        let count = self.count(span).min(2 * self.beats.len() as u64);
        let mut first = 0;
        let mut most = 0;
        for last in 0..count {
            while self.beat(last).0 - self.beat(first).0 >= window {
                first += 1;
            }
            most = most.max(last - first + 1);
        }
        most as usize
    }
}

/// Recordings on their way into a profile.
#[derive(Default)]
struct Reading {
    beats: Vec<Beat>,
    topics: Vec<String>,
    numbers: HashMap<TopicName, u32>,
    /// The end of the recording that ends last, where recordings say so.
    span: Span,
}

impl Reading {
    fn packed(
        &mut self,
        path: &Path,
        recording: Result<Recording, PackedError>,
    ) -> Result<(), String> {
        let failed = |error: PackedError| format!("{}: {error}", path.display());
        let mut recording = recording.map_err(failed)?;
        while let Some(row) = recording.read().map_err(failed)? {
            self.add(row.at, row.name, row.payload.len())?;
        }
        self.span = self.span.max(recording.span());
        Ok(())
    }

    fn feeds(&mut self, files: &[&PathBuf], until: Span) -> Result<(), String> {
        let merge = Merge::open(files, &Naming::default()).map_err(|error| error.to_string())?;
        for tick in merge {
            let tick = tick.map_err(|error| error.to_string())?;
            self.add(tick.at, &tick.name, tick.payload.len())?;
            // One more than is needed: the recording is then longer than the run.
            if tick.at > until {
                break;
            }
        }
        Ok(())
    }

    fn add(&mut self, at: Span, name: &TopicName, size: usize) -> Result<(), String> {
        if size > PAYLOAD_BYTES_MAX {
            return Err(format!(
                "--profile: a tick of {name} has {size} bytes; a message has at most \
                 {PAYLOAD_BYTES_MAX}"
            ));
        }
        let size = size.max(STAMP_BYTES) as u32;
        let topic = match self.numbers.get(name) {
            Some(topic) => *topic,
            None => {
                let topic = self.topics.len() as u32;
                self.numbers.insert(name.clone(), topic);
                self.topics.push(name.to_string());
                topic
            }
        };
        self.beats.push(Beat { at, topic, seq: 0, size });
        Ok(())
    }

    fn profile(self, files: &[PathBuf]) -> Result<Profile, String> {
        let Self { mut beats, topics, span, .. } = self;
        let names: Vec<String> = files
            .iter()
            .map(|path| path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into())
            .collect();
        let name = names.join(", ");
        beats.sort_by_key(|beat| beat.at);
        let Some(last) = beats.last() else { return Err(format!("{name}: no ticks in it")) };
        // A recording that does not say how long it is ends one mean distance after its last tick.
        let mean = last.at.fraction(1, (beats.len() as u64 - 1).max(1)).max(Span::from_millis(1));
        let span = span.max(last.at + mean);
        let mut counts = vec![0; topics.len()];
        for beat in &mut beats {
            counts[beat.topic as usize] += 1;
            beat.seq = counts[beat.topic as usize] as u32;
        }
        Ok(Profile { name, topics, beats, counts, span })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &[&str]) -> Result<Profile, String> {
        let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
        Profile::read(&files, Span::from_secs(3600))
    }

    #[test]
    fn the_shipped_recordings_are_profiles() {
        let crypto = read(&["crypto"]).unwrap();
        assert_eq!((crypto.ticks(), crypto.topics.len()), (114_175, 12));
        assert_eq!(crypto.span, Span::from_secs(120));
        let played = crypto.played(1.0, Span::from_secs(60));
        assert!((5_540..8_000).contains(&played.second_max), "{}", played.second_max);
        assert_eq!(played.passes, 0.5);
        let both = read(&["crypto", "fx"]).unwrap();
        assert_eq!((both.ticks(), both.topics.len()), (114_175 + 60_520, 17));
        // A copy in a file is the same.
        let file = read(&[concat!(env!("CARGO_MANIFEST_DIR"), "/src/web/ticks/crypto.gz")]);
        let file = file.unwrap();
        assert_eq!((file.beats, file.name.as_str()), (crypto.beats, "crypto.gz"));
    }

    #[test]
    fn a_loop_goes_on_where_the_pass_before_has_ended() {
        let crypto = read(&["crypto"]).unwrap();
        let count = crypto.ticks() as u64;
        let (first, second) = (crypto.beat(0), crypto.beat(count));
        assert_eq!(second.0, Span::from_secs(120) + first.0);
        assert_eq!((second.1, second.3), (first.1, first.3));
        assert_eq!(second.2, crypto.counts[first.1] + 1);
        // Each topic counts without a hole, across the seam too.
        let mut seen = vec![0; crypto.topics.len()];
        for k in 0..2 * count {
            let (_, topic, seq, _) = crypto.beat(k);
            seen[topic] += 1;
            assert_eq!(seq, seen[topic]);
        }
        for seconds in [0, 1, 119, 120, 121, 250] {
            let span = Span::from_secs(seconds);
            let due = (0..3 * count).take_while(|k| crypto.beat(*k).0 < span).count() as u64;
            assert_eq!(crypto.count(span), due);
        }
    }

    #[test]
    fn raw_feeds_and_quotes_are_read_as_far_as_needed() {
        let sample = |name| format!("{}/tests/ticks/{name}", env!("CARGO_MANIFEST_DIR"));
        let files = ["usdm_ethusdt_20240808.txt.gz", "fxcm_eurusd.csv.gz"].map(sample);
        let files = files.map(PathBuf::from);
        let all = Profile::read(&files, Span::from_secs(1_000_000)).unwrap();
        assert_eq!(all.topics.len(), 2);
        assert!(all.beats.iter().any(|beat| beat.size > STAMP_BYTES as u32));
        assert!(all.beats.iter().all(|beat| beat.size >= STAMP_BYTES as u32));
        let half = all.beats[all.beats.len() / 2].at;
        let part = Profile::read(&files, half).unwrap();
        assert!(part.span > half && part.ticks() < all.ticks());
        assert_eq!(part.count(half), all.count(half));
        assert_eq!(all.bytes(all.span.times(2)), 2 * all.bytes(all.span));
    }

    #[test]
    fn what_is_no_recording_is_named() {
        for (file, wanted) in [
            ("/nowhere/ticks.gz", "/nowhere/ticks.gz: "),
            (concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"), "Cargo.toml line 1: expected"),
        ] {
            let error = read(&[file]).unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
    }
}

//! What `ahm demo` publishes: real ticks from inside the binary at the times they were recorded.
//!
//! Two recordings play at once, each in its own endless loop: 120 seconds of crypto feeds and 20
//! minutes of foreign exchange. **The seam**: at the end of a recording the next pass begins at
//! once, and prices jump back to where they began. Nobody need guess: once a second
//! `replay/crypto` and `replay/fx` say `PASS START SPAN AT` (passes are counted from 1; the others
//! are milliseconds: the start since 1970, the length, and how far the pass has come), so that a
//! page can show the recorded time. Offsets simply go on.
//!
//! Every quote is a whole quote, so it is published as a snapshot: who opens a topic later sees
//! its newest quote at once. Trades are not.

use std::ops::ControlFlow;

use crate::base::name::TopicName;
use crate::base::time::Span;
use crate::cli::packed::{Kind, PackedError, Recording};
use crate::cli::replay::Pacer;

/// The packed recordings with the subject that announces their passes.
pub(crate) const SHIPPED: [(&str, &[u8]); 2] = [
    ("crypto", include_bytes!("../web/ticks/crypto.gz")),
    ("fx", include_bytes!("../web/ticks/fx.gz")),
];

/// A feed that is later than this (the machine slept) goes on from where it is.
const LATE_MAX: Span = Span::from_secs(1);

/// How often a recording tells where it is.
const ANNOUNCE_EVERY: Span = Span::from_secs(1);

/// What is to be published next.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Due {
    at: Span,
    name: TopicName,
    payload: Vec<u8>,
    snapshot: bool,
}

impl Due {
    /// A message without payload on `name`, a snapshot as announcements are.
    fn new(name: &TopicName) -> Self {
        Self { at: Span::ZERO, name: name.clone(), payload: Vec::new(), snapshot: true }
    }
}

/// One recording in its endless loop.
#[derive(Debug)]
struct Player {
    packed: &'static [u8],
    recording: Recording,
    announced: TopicName,
    pass: u64,
    /// When this pass began.
    began: Span,
    next: Due,
    /// The row that has been read but must wait for an announcement.
    row: Option<Due>,
    /// When the next announcement is due.
    announce_at: Span,
}

impl Player {
    fn new(set: &str, packed: &'static [u8]) -> Result<Self, PackedError> {
        let recording = Recording::open(packed)?;
        let announced = TopicName::new("replay", set)
            .map_err(|_| PackedError { line: 0, expected: "a legal name of the recording" })?;
        let next = Due::new(&announced);
        let mut player = Self {
            packed,
            recording,
            announced,
            pass: 1,
            began: Span::ZERO,
            next,
            row: None,
            announce_at: Span::ZERO,
        };
        player.announce();
        Ok(player)
    }

    /// Says which pass this is and how far it has come.
    fn announce(&mut self) {
        let at = (self.announce_at - self.began).as_millis();
        let start = self.recording.start_unix_ms();
        let span = self.recording.span().as_millis();
        self.next = Due::new(&self.announced);
        self.next.at = self.announce_at;
        self.next.payload = format!("{} {start} {span} {at}", self.pass).into_bytes();
        self.announce_at = self.announce_at + ANNOUNCE_EVERY;
    }

    /// Puts what comes after `next` into its place.
    fn advance(&mut self) -> Result<(), PackedError> {
        if self.row.is_none() {
            self.row = self.recording.read()?.map(|row| Due {
                at: self.began + row.at,
                name: row.name.clone(),
                payload: row.payload.to_vec(),
                snapshot: row.kind == Kind::Quote,
            });
        }
        let end = self.began + self.recording.span();
        let due = self.row.as_ref().map_or(end, |row| row.at);
        if self.announce_at <= due && self.announce_at < end {
            self.announce();
        } else if let Some(row) = self.row.take() {
            self.next = row;
        } else {
            self.pass += 1;
            self.began = end;
            self.announce_at = end;
            self.recording = Recording::open(self.packed)?;
            self.announce();
        }
        Ok(())
    }
}

/// The shipped recordings, merged by time, without end.
///
/// ```
/// use ahm::cli::demo_feed::DemoFeed;
/// let feed = DemoFeed::shipped().unwrap();
/// assert!(feed.quotes().any(|name| name.as_str() == "fx/EURUSD"));
/// ```
#[derive(Debug)]
pub struct DemoFeed {
    players: Vec<Player>,
}

impl DemoFeed {
    /// The recordings inside the binary.
    ///
    /// # Errors
    /// If they are not of their form, which a test excludes.
    pub fn shipped() -> Result<Self, PackedError> {
        let players = SHIPPED.iter().map(|(set, packed)| Player::new(set, packed));
        Ok(Self { players: players.collect::<Result<_, _>>()? })
    }

    /// The topics of all quotes.
    pub fn quotes(&self) -> impl Iterator<Item = &TopicName> {
        self.players.iter().flat_map(|player| player.recording.quotes())
    }

    /// Publishes until `publish` breaks: it gets topic, payload and whether the message is a
    /// snapshot, at the recorded times as `pacer` keeps them.
    ///
    /// # Errors
    /// If a recording is not of its form, which a test excludes.
    pub fn run(
        mut self,
        pacer: &mut impl Pacer,
        mut publish: impl FnMut(&TopicName, &[u8], bool) -> ControlFlow<()>,
    ) -> Result<(), PackedError> {
        let mut began = pacer.now();
        loop {
            let earliest = self.players.iter_mut().min_by_key(|player| player.next.at);
            let Some(player) = earliest else { return Ok(()) };
            let due = began + player.next.at;
            let now = pacer.now();
            if due > now {
                pacer.wait_until(due);
            } else if now - due > LATE_MAX {
                began = began + (now - due);
            }
            let Due { name, payload, snapshot, .. } = &player.next;
            if publish(name, payload, *snapshot).is_break() {
                return Ok(());
            }
            player.advance()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// A clock that jumps to where it is told to wait for.
    struct Jump(Span);

    impl Pacer for Jump {
        fn now(&mut self) -> Span {
            self.0
        }
        fn wait_until(&mut self, at: Span) {
            assert!(at > self.0);
            self.0 = at;
        }
    }

    #[test]
    fn every_shipped_row_is_played_and_the_loop_goes_on() {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        let mut passes = Vec::new();
        let mut clock = Jump(Span::ZERO);
        let feed = DemoFeed::shipped().unwrap();
        let played = feed.run(&mut clock, |name, payload, snapshot| {
            let text = std::str::from_utf8(payload).unwrap();
            if name.resource() == "replay" {
                passes.push(format!("{} {text}", name.subject()));
                return match text.starts_with('2') {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                };
            }
            let words = text.split(' ').count();
            let is_trade = name.subject().ends_with(".trades");
            assert_eq!(snapshot, !is_trade);
            assert_eq!(
                words,
                if is_trade { 3 } else { 4 - 2 * usize::from(name.resource() == "fx") }
            );
            *counts.entry(name.to_string()).or_default() += 1;
            ControlFlow::Continue(())
        });
        played.unwrap();
        // Both tell where they are once a second, until the shorter one begins anew.
        assert_eq!(passes[0], "crypto 1 1723161450000 120000 0");
        assert_eq!(passes[5], "fx 1 1399552170000 1200000 2000");
        assert_eq!(passes.last().unwrap(), "crypto 2 1723161450000 120000 0");
        assert!((2 * 120..=2 * 120 + 2).contains(&passes.len()));
        assert_eq!(clock.0, Span::from_secs(120));
        let crypto = |name: &String| name.starts_with("crypto/");
        assert_eq!(
            counts.iter().filter(|(name, _)| crypto(name)).map(|(_, n)| n).sum::<u64>(),
            114_175
        );
        assert_eq!(counts.keys().filter(|name| crypto(name)).count(), 12);
        assert_eq!(counts.keys().filter(|name| name.starts_with("fx/")).count(), 5);
    }

    #[test]
    fn both_recordings_are_of_their_form_to_the_end() {
        for (set, packed) in SHIPPED {
            let mut recording = Recording::open(packed).unwrap();
            let (mut rows, mut newest) = (0, Span::ZERO);
            while let Some(row) = recording.read().unwrap() {
                rows += 1;
                newest = row.at;
            }
            assert_eq!(rows, if set == "fx" { 60_520 } else { 114_175 });
            assert!(newest < recording.span());
        }
    }

    #[test]
    fn a_feed_that_slept_does_not_hurry() {
        struct Sleeper(Span, u32);
        impl Pacer for Sleeper {
            fn now(&mut self) -> Span {
                self.1 += 1;
                if self.1 == 50 {
                    self.0 = self.0 + Span::from_secs(3_600);
                }
                self.0
            }
            fn wait_until(&mut self, at: Span) {
                self.0 = at;
            }
        }
        let mut clock = Sleeper(Span::ZERO, 0);
        let mut published = 0;
        let feed = DemoFeed::shipped().unwrap();
        feed.run(&mut clock, |_, _, _| {
            published += 1;
            if published == 200 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
        assert!(clock.0 > Span::from_secs(3_600) && clock.0 < Span::from_secs(3_602));
    }
}

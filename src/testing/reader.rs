//! What one document says of one channel, checked frame by frame against the model.

use crate::base::id::Epoch;
use crate::base::time::{Instant, Span};
use crate::testing::model::{At, Model};

/// How a channel is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Every message.
    Queue,
    /// Every message, or the end of the channel.
    Strict,
    /// The newest.
    Latest,
    /// The newest, so many times a second.
    Rate(u32),
}

impl Kind {
    /// Whether messages may be passed over in silence.
    pub fn conflates(self) -> bool {
        matches!(self, Self::Latest | Self::Rate(_))
    }
}

/// Where a reader stands before the first frame.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// What the client has, if it has told.
    pub has: Option<At>,
    /// Whether that comes from an earlier life of the server.
    pub foreign: bool,
}

/// One channel on one document.
#[derive(Clone, Debug)]
pub struct Reader {
    /// The topic.
    pub topic: String,
    kind: Kind,
    /// The last place that it can account for.
    base: Option<At>,
    /// Where the last frame put it.
    have: Option<At>,
    foreign: bool,
    owed: bool,
    behind: bool,
    opened: bool,
    claim: Option<(At, At)>,
    /// Nothing is known of where it began, so that the first gap counts from an unknown place.
    adrift: bool,
    first_at: Instant,
    count: u64,
    /// The last payload.
    pub last_payload: Vec<u8>,
}

impl Reader {
    /// A reader of which no frame was seen.
    pub fn new(topic: &str, kind: Kind, start: Start, asked_at: Instant) -> Self {
        Self {
            topic: topic.to_string(),
            kind,
            base: start.has,
            have: start.has,
            foreign: start.foreign,
            owed: false,
            behind: false,
            opened: false,
            claim: None,
            adrift: false,
            first_at: asked_at,
            count: 0,
            last_payload: Vec::new(),
        }
    }

    /// Where it stands.
    pub fn have(&self) -> Option<At> {
        if self.owed { self.base } else { self.have }
    }

    /// Whether it was led on without the gap frame that must follow.
    pub fn owes(&self) -> bool {
        self.owed
    }

    /// An `o` frame.
    ///
    /// # Panics
    ///
    /// If it cannot be true.
    pub fn opened(&mut self, ep: Epoch, n: u64, head: u64) {
        let topic = &self.topic;
        assert!(n <= head, "{topic}: opened after {n}, but the head is {head}");
        let first = !self.opened;
        self.opened = true;
        if let Some(claimed) = self.claim.as_mut()
            && claimed.1.0 == ep
        {
            // The same epoch again before its first message.
            claimed.1 = (ep, n);
            self.have = Some((ep, n));
            return;
        }
        match self.have {
            None => {
                self.base = Some((ep, n));
                self.adrift = true;
            }
            Some(_) if self.kind.conflates() => self.base = Some((ep, n)),
            Some(have) if have.0 == ep && have.1 == n => {}
            Some(have) if have.0 == ep && n < have.1 => {
                // Only a server that does not know the place yet may begin before it.
                let may = self.behind || head <= have.1;
                assert!(may, "{topic}: set back from {have:?} to {n} with head {head}");
                self.behind = true;
                return;
            }
            Some(have) if have.0 == ep => self.owed = true,
            Some(_) if first => self.owed = true,
            Some(have) if !self.owed => self.claim = Some((have, (ep, n))),
            Some(_) => {}
        }
        self.have = Some((ep, n));
    }

    /// A `g` frame.
    ///
    /// # Panics
    ///
    /// If it declares a gap that is none.
    pub fn gap(&mut self, ep: Epoch, n: u64, missing: Option<u64>, model: &Model) {
        let topic = &self.topic;
        let (Some(have), Some(base)) = (self.have, self.base) else {
            panic!("{topic}: a gap before the channel was opened");
        };
        if self.behind && base.0 == ep && n <= base.1 {
            // What is missing here the client has from elsewhere.
            return;
        }
        assert_eq!(have.0, ep, "{topic}: a gap in another epoch than the one before");
        let base = self.claim.take().map_or(base, |(left, _)| left);
        if self.adrift {
            let from = n - missing.unwrap_or_default();
            if from < n {
                model.check_gap(topic, ep, from, n);
            }
        } else if !self.kind.conflates() && base.0 == ep {
            assert!(n >= base.1, "{topic}: a gap back from {base:?} to {n}");
            if let Some(missing) = missing.filter(|_| !self.behind) {
                assert_eq!(
                    base.1 + missing,
                    n,
                    "{topic}: {missing} missing up to {n}, but {base:?} was the last"
                );
            }
            if !self.foreign && n > base.1 {
                model.check_gap(topic, ep, base.1, n);
            }
            // Who does not say what it has is told of a gap whenever there may be one.
            assert!(n > base.1 || missing.is_none(), "{topic}: a gap of nothing at {n}");
        }
        self.owed = false;
        self.behind = false;
        self.adrift = false;
        self.foreign = false;
        self.have = Some((ep, n));
        self.base = self.have;
    }

    /// A message.
    ///
    /// # Panics
    ///
    /// If it is not the next, or not what was published.
    pub fn message(&mut self, n: u64, snapshot: bool, payload: &[u8], model: &mut Model) {
        let topic = &self.topic;
        assert!(self.opened, "{topic}: a message before the channel was opened");
        assert!(!self.owed, "{topic}: led from {:?} to {:?} without a gap", self.base, self.have);
        let Some(have) = self.have else { panic!("{topic}: no place") };
        model.observe(topic, (have.0, n), payload, Some(snapshot));
        if self.behind && n <= have.1 {
            return;
        }
        if self.kind.conflates() {
            assert!(n > have.1, "{topic}: {n} after {have:?}");
        } else {
            assert_eq!(n, have.1 + 1, "{topic}: not the message after {have:?}");
        }
        if let Some((left, entered)) = self.claim.take()
            && !self.kind.conflates()
        {
            model.claim(topic, left, entered);
        }
        self.foreign = false;
        self.behind = false;
        self.adrift = false;
        self.have = Some((have.0, n));
        self.base = self.have;
        self.count += 1;
        self.last_payload = payload.to_vec();
        if let Kind::Rate(rate) = self.kind {
            let least = Span::from_nanos(1_000_000_000 / u64::from(rate)).times(self.count - 1);
            let passed = model.now.since(self.first_at) + Span::from_millis(1);
            assert!(passed >= least, "{topic}: {} messages in {passed} at {rate}/s", self.count);
        }
    }
}

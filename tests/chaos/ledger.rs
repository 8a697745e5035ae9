//! What one channel of one client received, against what it should have.

use crate::feed;

/// What was found on channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Channels.
    pub channels: u64,
    /// Messages that came for the first time.
    pub messages: u64,
    /// Messages passed over as mode `latest` may.
    pub folded: u64,
    /// Numbers that never came, whoever said so.
    pub lost: u64,
    /// Messages that gaps declare missing.
    pub declared: u64,
    /// Gaps declared.
    pub gaps: u64,
    /// Gaps that declare more, less or something else than is missing, or something that came.
    pub wrong_gaps: u64,
    /// Messages that had come before.
    pub repeated: u64,
    /// Messages that came for the first time, after a later one or after their gap.
    pub out_of_order: u64,
    /// Messages that say what their publisher never said at this place.
    pub wrong: u64,
    /// Times that the channel was opened in an epoch which is not the publisher's.
    pub other_epochs: u64,
}

impl Found {
    /// Adds what was found elsewhere.
    pub fn add(&mut self, other: &Self) {
        self.channels += other.channels;
        self.messages += other.messages;
        self.folded += other.folded;
        self.lost += other.lost;
        self.declared += other.declared;
        self.gaps += other.gaps;
        self.wrong_gaps += other.wrong_gaps;
        self.repeated += other.repeated;
        self.out_of_order += other.out_of_order;
        self.wrong += other.wrong;
        self.other_epochs += other.other_epochs;
    }

    /// Whether the promise holds: each message once, in order, or declared missing.
    pub fn holds(&self) -> bool {
        let wrong = self.wrong_gaps + self.repeated + self.out_of_order + self.wrong;
        self.lost == self.declared && wrong + self.other_epochs == 0
    }
}

/// The account of one channel.
#[derive(Debug)]
pub struct Ledger {
    /// The topic of the feed; `None`: a topic whose messages are not known beforehand.
    pub topic: Option<usize>,
    /// Whether messages may be passed over silently.
    folds: bool,
    /// The last place; `None` until the channel was opened.
    pub at: Option<u64>,
    came: Vec<bool>,
    pub found: Found,
}

impl Ledger {
    /// A channel that begins after `at`, or where it is opened.
    pub fn new(topic: Option<usize>, folds: bool, at: Option<u64>) -> Self {
        let found = Found { channels: 1, ..Found::default() };
        Self { topic, folds, at, came: Vec::new(), found }
    }

    /// The channel was opened after `n`.
    pub fn opened(&mut self, n: u64) {
        self.at.get_or_insert(n);
    }

    /// `missing` messages up to `n` are declared missing.
    pub fn gap(&mut self, n: u64, missing: Option<u64>) {
        let at = self.at.unwrap_or(n);
        self.found.gaps += 1;
        self.found.declared += missing.unwrap_or(0);
        if n <= at || missing != Some(n - at) {
            self.found.wrong_gaps += 1;
        }
        self.found.lost += n.saturating_sub(at);
        self.at = Some(n.max(at));
    }

    /// Message `n` came; `folded` before it were passed over.
    pub fn message(&mut self, n: u64, folded: u64, payload: &[u8]) {
        let at = self.at.unwrap_or(n - 1);
        if self.topic.is_some_and(|topic| payload != feed::payload(topic, n)) {
            self.found.wrong += 1;
        }
        if self.came.len() <= n as usize {
            self.came.resize(n as usize + 1, false);
        }
        if std::mem::replace(&mut self.came[n as usize], true) {
            self.found.repeated += 1;
            return;
        }
        self.found.messages += 1;
        if n <= at {
            self.found.out_of_order += 1;
            return;
        }
        let passed = n - at - 1;
        if self.folds && passed == folded {
            self.found.folded += folded;
        } else {
            self.found.lost += passed;
        }
        self.at = Some(n);
    }
}

/// The ledger finds what it is there to find. Called before each run: this test has no harness.
pub fn check_the_ledger() {
    let taken = |steps: &[(u64, Option<u64>)]| {
        let mut ledger = Ledger::new(Some(1), false, Some(0));
        for (n, gap) in steps {
            match gap {
                None => ledger.message(*n, 0, &feed::payload(1, *n)),
                Some(missing) => ledger.gap(*n, Some(*missing)),
            }
        }
        ledger.found
    };
    let good = taken(&[(1, None), (4, Some(3)), (5, None)]);
    assert!(good.holds() && good.lost == 3 && good.messages == 2, "{good:?}");
    for (steps, what) in [
        (&[(1, None), (3, None)][..], "lost"),
        (&[(1, None), (3, Some(1)), (4, None)], "a gap too small"),
        (&[(1, None), (3, Some(2)), (3, Some(2))], "declared twice"),
        (&[(1, None), (2, None), (2, None)], "repeated"),
        (&[(1, None), (3, Some(2)), (2, None)], "late"),
    ] {
        assert!(!taken(steps).holds(), "{what}");
    }
    let mut ledger = Ledger::new(Some(1), false, Some(0));
    ledger.message(1, 0, &feed::payload(2, 1));
    assert!(!ledger.found.holds(), "of another topic");
}

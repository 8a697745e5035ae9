//! What came of looking at what a client shows.

use std::sync::Arc;

use crate::auth::identity::Identity;
use crate::auth::secret::Secret;

/// Who a client has proved to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Who it is.
    pub identity: Arc<Identity>,
    /// A key of the application, from the script that was asked: handed to the client as it is.
    pub key: Option<Secret>,
}

impl From<Identity> for Proof {
    fn from(identity: Identity) -> Self {
        Self { identity: Arc::new(identity), key: None }
    }
}

impl From<Arc<Identity>> for Proof {
    fn from(identity: Arc<Identity>) -> Self {
        Self { identity, key: None }
    }
}

/// Why a client is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 401: what it shows proves nothing, or it shows nothing; with the challenge and the reason.
    Unproved {
        /// The value of `WWW-Authenticate`.
        challenge: String,
        /// The reason.
        detail: String,
    },
    /// 403: it is known, or could be, and may not; with the reason.
    Forbidden(String),
    /// 400: it asks for something that there is not.
    Unknown(String),
    /// 503: too many others wait to be looked at.
    Busy,
    /// 503: whoever must say it has not, in time or at all.
    Silent(&'static str),
}

/// One or the other.
pub type Verdict = Result<Proof, Refusal>;

/// What happened, for the counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Proved by a certificate, a password, a token, a script or program.
    pub proved: [u64; 4],
    /// Passwords that were proved a while ago and not hashed again.
    pub remembered: u64,
    /// Answers 401 to what proved nothing, or to those who showed nothing.
    pub unproved: u64,
    /// Answers 403: who was known and may not, or is another than the session's user.
    pub forbidden: u64,
    /// Answers 503 because too many others waited.
    pub busy: u64,
    /// Answers 503 because nobody said it in time.
    pub silent: u64,
    /// Sessions whose identity was renewed.
    pub renewed: u64,
    /// Sessions that ended because their identity had.
    pub expired: u64,
}

impl Counts {
    /// Adds another shard's.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.proved.iter_mut().zip(other.proved) {
            *mine += theirs;
        }
        self.remembered += other.remembered;
        self.unproved += other.unproved;
        self.forbidden += other.forbidden;
        self.busy += other.busy;
        self.silent += other.silent;
        self.renewed += other.renewed;
        self.expired += other.expired;
    }

    /// Every figure with its name.
    pub fn named(&self) -> [(&'static str, u64); 11] {
        let [certificate, basic, token, script] = self.proved;
        [
            ("auth_proved_certificate", certificate),
            ("auth_proved_basic", basic),
            ("auth_proved_token", token),
            ("auth_proved_script", script),
            ("auth_remembered", self.remembered),
            ("auth_unproved", self.unproved),
            ("auth_forbidden", self.forbidden),
            ("auth_busy", self.busy),
            ("auth_silent", self.silent),
            ("auth_renewed", self.renewed),
            ("auth_expired", self.expired),
        ]
    }

    /// Counts a refusal.
    pub fn refused(&mut self, why: &Refusal) {
        match why {
            Refusal::Unproved { .. } => self.unproved += 1,
            Refusal::Forbidden(_) => self.forbidden += 1,
            Refusal::Unknown(_) => {}
            Refusal::Busy => self.busy += 1,
            Refusal::Silent(_) => self.silent += 1,
        }
    }
}

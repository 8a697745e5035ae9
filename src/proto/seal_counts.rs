//! What has happened to sealed sessions, in numbers.

/// What has happened to sealed sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sealed sessions begun.
    pub sessions: u64,
    /// Sealed documents begun.
    pub documents: u64,
    /// Commands that came again and got the answer that was remembered.
    pub repeated: u64,
    /// Logins that wanted a seal where whoever listens would have had the secret.
    pub refused_login: u64,
    /// Commands without a number or a code.
    pub refused_bare: u64,
    /// Commands whose code is wrong.
    pub refused_forged: u64,
    /// Commands with a number that was used, or lies too far back.
    pub refused_replayed: u64,
    /// Commands with a payload that is not sealed, or with another number.
    pub refused_payload: u64,
}

impl Counts {
    /// Adds another shard's.
    pub fn add(&mut self, other: &Self) {
        self.sessions += other.sessions;
        self.documents += other.documents;
        self.repeated += other.repeated;
        self.refused_login += other.refused_login;
        self.refused_bare += other.refused_bare;
        self.refused_forged += other.refused_forged;
        self.refused_replayed += other.refused_replayed;
        self.refused_payload += other.refused_payload;
    }

    /// Every figure with its name.
    pub fn named(&self) -> [(&'static str, u64); 8] {
        [
            ("seal_sessions_begun", self.sessions),
            ("seal_documents_begun", self.documents),
            ("seal_answers_repeated", self.repeated),
            ("seal_refused_login", self.refused_login),
            ("seal_refused_bare", self.refused_bare),
            ("seal_refused_forged", self.refused_forged),
            ("seal_refused_replayed", self.refused_replayed),
            ("seal_refused_payload", self.refused_payload),
        ]
    }
}

//! What a relay has counted.

/// Counters of relayed requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that were to be relayed.
    pub requests: u64,
    /// Answers of web servers that were passed on whole.
    pub answered: u64,
    /// Requests answered with 502: no web server gave an answer that can be understood.
    pub failed: u64,
    /// Requests answered with 503: no connection to a web server was free.
    pub busy: u64,
    /// Requests answered with 504: a web server did not answer in time.
    pub late: u64,
    /// Requests that were broken or too large once their body came, or did not come to an end.
    pub refused: u64,
    /// Answers that were cut short by the web server.
    pub cut: u64,
    /// Clients that left before their answer was whole.
    pub left: u64,
    /// Clients that took nothing of their answer for too long.
    pub stale: u64,
    /// Requests that were sent again because a kept connection had died.
    pub retried: u64,
    /// Connections that were upgraded.
    pub tunnels: u64,
    /// Connections that were passed on encrypted, as they came.
    pub passed: u64,
    /// Connections to web servers that were begun.
    pub dialed: u64,
    /// Requests that went over a connection that was kept.
    pub reused: u64,
    /// Bytes sent to web servers.
    pub bytes_up: u64,
    /// Bytes received from web servers.
    pub bytes_down: u64,
}

impl Counts {
    /// Every counter with its name.
    pub const fn named(&self) -> [(&'static str, u64); 16] {
        [
            ("relay_requests", self.requests),
            ("relay_answered", self.answered),
            ("relay_failed", self.failed),
            ("relay_busy", self.busy),
            ("relay_late", self.late),
            ("relay_refused", self.refused),
            ("relay_cut", self.cut),
            ("relay_left", self.left),
            ("relay_stale", self.stale),
            ("relay_retried", self.retried),
            ("relay_tunnels", self.tunnels),
            ("relay_passed", self.passed),
            ("relay_dialed", self.dialed),
            ("relay_reused", self.reused),
            ("relay_bytes_up", self.bytes_up),
            ("relay_bytes_down", self.bytes_down),
        ]
    }

    /// Adds another shard's counts.
    pub const fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.answered += other.answered;
        self.failed += other.failed;
        self.busy += other.busy;
        self.late += other.late;
        self.refused += other.refused;
        self.cut += other.cut;
        self.left += other.left;
        self.stale += other.stale;
        self.retried += other.retried;
        self.tunnels += other.tunnels;
        self.passed += other.passed;
        self.dialed += other.dialed;
        self.reused += other.reused;
        self.bytes_up += other.bytes_up;
        self.bytes_down += other.bytes_down;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adding_forgets_none() {
        let mut one = Counts { requests: 1, bytes_down: 2, ..Counts::default() };
        one.add(&one.clone());
        one.add(&Counts { stale: 5, ..Counts::default() });
        let told: Vec<_> = one.named().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(told, [("relay_requests", 2), ("relay_stale", 5), ("relay_bytes_down", 4)]);
    }
}

//! What a run came to, as a table, and whether what is promised was kept.

use std::fmt;
use std::time::Duration;

use ahm::client::event::Counters;

use crate::audit::Taken;
use crate::client::{Account, KINDS, Kind};
use crate::faults::Counts;
use crate::feed::Published;
use crate::ledger::Found;
use crate::proxy::Proxy;
use crate::run::{Plan, TOPICS};

/// What a run came to.
#[derive(Debug)]
pub struct Report {
    pub plan: Plan,
    pub connections: u64,
    /// Before the public listeners.
    pub faults: Counts,
    /// Before the private ones.
    pub faults_private: Counts,
    /// Where a server was killed: connections made to its place while it was away.
    pub after_kill: Option<u64>,
    pub published: Vec<Published>,
    pub accounts: Vec<Account>,
    pub sends: Taken,
    /// From the last message to the last client that had everything.
    pub settled: Duration,
    pub problems: Vec<String>,
}

impl Report {
    /// Of a run that has just begun.
    pub fn new(plan: &Plan) -> Self {
        Self {
            plan: plan.clone(),
            connections: 0,
            faults: Counts::default(),
            faults_private: Counts::default(),
            after_kill: None,
            published: Vec::new(),
            accounts: Vec::new(),
            sends: Taken::default(),
            settled: Duration::ZERO,
            problems: Vec::new(),
        }
    }

    /// Adds what two proxies have done.
    pub fn add_proxies(&mut self, public: &Proxy, private: &Proxy) {
        self.connections += public.connections() + private.connections();
        self.faults.merge(public.counts());
        self.faults_private.merge(private.counts());
    }

    fn found(&self, kind: Option<usize>) -> (u64, Found) {
        let mut sum = Found::default();
        let is =
            |account: &&Account| kind.is_none_or(|kind| Kind::of(account.number).index() == kind);
        let accounts = self.accounts.iter().filter(is);
        accounts.clone().for_each(|account| sum.add(&account.found));
        (accounts.count() as u64, sum)
    }

    fn count(&self, of: fn(&Counters) -> u64) -> u64 {
        self.accounts.iter().map(|account| of(&account.counters)).sum()
    }

    fn put_sends(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sends = &self.sends;
        writeln!(
            f,
            "sends        {}: taken {}, unknown {}, not taken {}, open {}; lost {}, repeated {}, \
             out of order {}, wrong {}; put on the wire again {}",
            sends.sends,
            sends.taken,
            sends.unknown,
            sends.not_taken,
            sends.open,
            sends.lost,
            sends.repeated,
            sends.out_of_order,
            sends.wrong,
            self.count(|counters| counters.resends),
        )
    }

    fn put_channels(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<11} {:>7} {:>8} {:>9} {:>7} {:>7} {:>8} {:>6} {:>10} {:>8} {:>12} {:>13} \
             {:>12}",
            "",
            "clients",
            "channels",
            "messages",
            "folded",
            "lost",
            "declared",
            "gaps",
            "wrong gaps",
            "repeated",
            "out of order",
            "wrong payload",
            "other epochs",
        )?;
        for (at, kind) in KINDS.iter().enumerate() {
            let (clients, found) = self.found(Some(at));
            row(f, kind, clients, &found)?;
        }
        let (clients, found) = self.found(None);
        row(f, "all", clients, &found)
    }

    /// What was promised and not kept; empty: all of it was.
    pub fn violations(&self) -> Vec<String> {
        let Plan { seconds, rate, clients, lossy, servers, .. } = self.plan;
        let mut violations = self.problems.clone();
        let bad = self.accounts.iter().filter(|account| !account.found.holds());
        violations.extend(bad.map(|Account { number, found, .. }| {
            format!("client {number}, {:?}: {found:?}", Kind::of(*number))
        }));
        let (_, found) = self.found(None);
        let mut hold = |holds: bool, what: &str| {
            if !holds {
                violations.push(what.to_owned());
            }
        };
        let taken: u64 = self.published.iter().map(|topic| topic.taken).sum();
        let all = rate * seconds * (TOPICS * servers) as u64;
        hold(taken == all, "not all was published");
        hold(self.sends.holds(), "sends were lost, repeated, out of order or left open");
        hold(found.messages > 0, "nothing was received");
        hold(servers > 1 || self.sends.taken > 0, "nothing was sent");
        hold(self.faults.total() as usize >= clients, "fewer faults than clients prove nothing");
        // Each had a document on the server that was killed.
        let cuts = self.accounts.iter().filter(|account| account.counters.cuts > 0).count();
        hold(servers == 1 || cuts == clients, "the death of a server was not felt by all");
        if lossy {
            hold(found.lost > 0, "nothing was lost: the histories are not short");
        } else {
            hold(found.lost == 0 && found.gaps == 0, "messages are missing");
            hold(self.sends.taken == self.sends.sends, "a send was not taken");
        }
        violations
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, clients: u64, found: &Found) -> fmt::Result {
    writeln!(
        f,
        "{name:<11} {clients:>7} {:>8} {:>9} {:>7} {:>7} {:>8} {:>6} {:>10} {:>8} {:>12} {:>13} \
         {:>12}",
        found.channels,
        found.messages,
        found.folded,
        found.lost,
        found.declared,
        found.gaps,
        found.wrong_gaps,
        found.repeated,
        found.out_of_order,
        found.wrong,
        found.other_epochs,
    )
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { title, clients, seconds, seed, rate, history, linger, .. } = &self.plan;
        writeln!(f, "\n{title}: {clients} clients for {seconds} s, seed {seed}")?;
        writeln!(f, "server       histories of {history} messages, sessions linger {linger} ms")?;
        writeln!(f, "faults       {}", self.faults)?;
        writeln!(f, "  publisher  {}", self.faults_private)?;
        if let Some(connections) = self.after_kill {
            writeln!(
                f,
                "killed       one of 2 servers; {connections} connections while it was away"
            )?;
        }
        let sum = |of: fn(&Published) -> u64| self.published.iter().map(of).sum::<u64>();
        let late = self.published.iter().map(|topic| topic.late).max().unwrap_or_default();
        writeln!(
            f,
            "published    {} at {rate}/s and topic, {} of them repeated, {} ms late at worst",
            sum(|topic| topic.taken),
            sum(|topic| topic.repeats),
            late.as_millis(),
        )?;
        writeln!(
            f,
            "connections  {}: documents {}, cut {}, replaced {}; sessions {}; copies dropped {}; \
             gaps healed {}",
            self.connections,
            self.count(|counters| counters.documents),
            self.count(|counters| counters.cuts),
            self.count(|counters| counters.refreshes),
            self.count(|counters| counters.sessions),
            self.count(|counters| counters.duplicates),
            self.count(|counters| counters.gaps_healed),
        )?;
        self.put_sends(f)?;
        writeln!(f, "settled      {} ms after the last message", self.settled.as_millis())?;
        self.put_channels(f)
    }
}

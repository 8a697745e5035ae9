//! Runs a plan, and makes one that fails as small as it gets: deeds are left out one after the
//! other, as long as the same check still fails.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::time::{Duration, Instant as Moment};

use crate::base::time::Instant;
use crate::testing::deed::What;
use crate::testing::plan::Plan;
use crate::testing::realm::{Realm, Tally};
use crate::testing::sabotage::Sabotage;

/// Lines of the trace that a report shows.
const LINES_MAX: usize = 40;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
    static WHY: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
}

/// A check that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where it stands in the source: what makes two failures the same.
    pub check: String,
    /// What it says.
    pub message: String,
    /// When it failed.
    pub at: Instant,
    /// The agent at work, and its channel.
    pub who: String,
    /// The last that happened to that agent, where it was asked for.
    pub trace: String,
}

/// Runs a plan to its end.
///
/// # Errors
/// The check that failed.
pub fn attempt(plan: &Plan, sabotage: Option<Sabotage>, trace: usize) -> Result<Tally, Failure> {
    hush();
    QUIET.set(true);
    WHY.take();
    let made = catch_unwind(AssertUnwindSafe(|| Realm::new(plan, sabotage)));
    let outcome = made.map(|mut realm| {
        if trace > 0 {
            realm.keep_trace();
        }
        let run = catch_unwind(AssertUnwindSafe(|| realm.run()));
        run.map(|()| realm.tally()).map_err(|_| Box::new(realm))
    });
    QUIET.set(false);
    let (check, message) = WHY.take().unwrap_or_default();
    match outcome {
        Ok(Ok(tally)) => Ok(tally),
        Ok(Err(realm)) => Err(Failure {
            check,
            message,
            at: realm.now,
            who: format!("agent {} {}", realm.focus, realm.focus_name()),
            trace: realm.trace(trace),
        }),
        Err(_) => {
            let (who, trace) = (String::new(), String::new());
            Err(Failure { check, message, at: Instant::ZERO, who, trace })
        }
    }
}

/// Panics of this room's runs are collected and not printed.
fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                return before(info);
            }
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            let text = info.payload_as_str().unwrap_or("a panic without words").to_string();
            WHY.with_borrow_mut(|why| _ = why.get_or_insert((place, text)));
        }));
    });
}

/// A failing plan with as few deeds as could be found.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The plan.
    pub plan: Plan,
    /// How it fails.
    pub failure: Failure,
    /// Runs that it took.
    pub runs: u32,
    /// Deeds that there were before.
    pub before: usize,
}

/// Makes a failing plan smaller for at most about `within`.
pub fn shrink(
    plan: &Plan,
    failure: &Failure,
    sabotage: Option<Sabotage>,
    within: Duration,
) -> Shrunk {
    let until = Moment::now() + within;
    let (plan, failure) = (plan.clone(), failure.clone());
    let mut best = Shrunk { before: plan.deeds.len(), plan, failure, runs: 0 };
    // What comes after the failure has no part in it; then faults, then everything.
    let later: Vec<bool> = best.plan.deeds.iter().map(|d| d.at > best.failure.at).collect();
    best.try_without(&later, sabotage);
    for agent in 0..best.plan.agents.len() {
        best.try_group(|what| what.agent() == Some(agent), sabotage);
    }
    for topic in 0..best.plan.topics.len() {
        best.try_group(|what| what.topic() == Some(topic), sabotage);
    }
    best.try_group(What::is_fault, sabotage);
    for faults_only in [true, false] {
        let mut chunk = best.plan.deeds.len();
        while chunk > 0 && Moment::now() < until {
            let mut from = 0;
            while from < best.candidates(faults_only).len() && Moment::now() < until {
                let candidates = best.candidates(faults_only);
                let mut left_out = vec![false; best.plan.deeds.len()];
                for at in candidates.iter().skip(from).take(chunk) {
                    left_out[*at] = true;
                }
                if !best.try_without(&left_out, sabotage) {
                    from += chunk;
                }
            }
            chunk /= 2;
        }
    }
    if let Err(failure) = attempt(&best.plan, sabotage, LINES_MAX) {
        best.failure = failure;
    }
    best
}

impl Shrunk {
    fn candidates(&self, faults_only: bool) -> Vec<usize> {
        let deeds = self.plan.deeds.iter().enumerate();
        let wanted = deeds.filter(|(_, deed)| !faults_only || deed.what.is_fault());
        wanted.map(|(at, _)| at).collect()
    }

    fn try_group(&mut self, of: impl Fn(What) -> bool, sabotage: Option<Sabotage>) {
        let left_out: Vec<bool> = self.plan.deeds.iter().map(|deed| of(deed.what)).collect();
        self.try_without(&left_out, sabotage);
    }

    fn try_without(&mut self, left_out: &[bool], sabotage: Option<Sabotage>) -> bool {
        if !left_out.contains(&true) {
            return false;
        }
        self.runs += 1;
        let plan = self.plan.without(left_out);
        match attempt(&plan, sabotage, 0) {
            Err(failure) if failure.check == self.failure.check => {
                (self.plan, self.failure) = (plan, failure);
                true
            }
            _ => false,
        }
    }
}

impl fmt::Display for Shrunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure { check, message, at, who, trace } = &self.failure;
        writeln!(f, "seed {}: {message}", self.plan.seed)?;
        let micros = at.as_nanos() / 1_000;
        writeln!(f, "check {check}, at {micros}us, {who}")?;
        writeln!(f, "{}", self.plan.summary())?;
        let (left, before) = (self.plan.deeds.len(), self.before);
        writeln!(f, "{left} of {before} deeds are needed ({} runs):", self.runs)?;
        for deed in &self.plan.deeds {
            writeln!(f, "{:>10}us {:?}", deed.at.as_nanos() / 1_000, deed.what)?;
        }
        writeln!(f, "the last of {who}:")?;
        write!(f, "{trace}")
    }
}

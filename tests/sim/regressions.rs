//! Worlds that are named after what they found: a few deeds where that is enough, else the seed.

use ahm::base::time::{Instant, Span};
use ahm::testing::deed::{Deed, What};
use ahm::testing::plan::{ChannelPlan, DAWN, Plan, RoutePlan};
use ahm::testing::shrink::attempt;
use ahm::wire::open::Mode;

const BOARD: usize = 5;
const ECHO: usize = 6;

/// A calm world of `sites` servers behind one balancer, with one agent that has a channel on each
/// of `topics`; what the servers and the network are like follows from `seed`.
fn world(seed: u64, sites: usize, topics: &[usize]) -> Plan {
    let mut plans = (seed * 1_000..).map(Plan::new);
    let mut plan = plans.find(|plan| plan.sites.len() == sites).expect("seeds without end");
    plan.long = false;
    plan.routes = vec![RoutePlan { sites: (0..sites).collect(), sticky: false, raw: false }];
    plan.agents.truncate(1);
    let agent = &mut plan.agents[0];
    agent.settings.routes = 1;
    let channel = |&topic| ChannelPlan { topic, mode: Mode::Queue, rate: None, strict: false };
    agent.channels = topics.iter().map(channel).collect();
    plan.deeds.retain(|deed| deed.at < DAWN);
    for channel in 0..topics.len() {
        plan.add(0, What::Subscribe { agent: 0, channel });
    }
    plan
}

trait Script {
    fn add(&mut self, millis: u64, what: What);
    fn holds(self);
}

impl Script for Plan {
    /// `millis` after the beginning; in order.
    fn add(&mut self, millis: u64, what: What) {
        let at = DAWN + Span::from_millis(millis);
        self.deeds.push(Deed { at, what, dice: millis });
        self.end = self.end.max(at + Span::from_secs(1));
    }

    fn holds(mut self) {
        self.deeds.sort_by_key(|deed| deed.at);
        assert!(self.deeds.iter().all(|deed| deed.at < Instant::NEVER));
        if let Err(failure) = attempt(&self, None, 60) {
            let trace = &failure.trace;
            panic!("seed {}: {} ({})\n{trace}", self.seed, failure.message, failure.check);
        }
    }
}

fn send(count: u64, bye: bool) -> What {
    What::Send { agent: 0, channel: 0, count, bye }
}

/// The resource ends a private channel while sends are on the wire; the agent opens it again, under
/// another number, and counted on: sends were told as refused that had been taken, or never ended.
#[test]
fn numbers_begin_anew_with_a_new_channel_number() {
    for seed in 1..=12 {
        let mut plan = world(seed, 1, &[ECHO]);
        plan.agents[0].latency = Span::from_millis(20);
        for round in 0..5 {
            plan.add(1_000 + 500 * round, send(6, true));
            for cut in 0..4 {
                plan.add(1_020 + 500 * round + 15 * cut, What::Cut { agent: 0 });
            }
        }
        plan.holds();
    }
}

/// A channel is left and asked for again in one session; its `o` frame is faster than the answer
/// that says which number the server expects: the first send was taken for one sent before.
#[test]
fn a_number_is_not_used_twice_in_a_session() {
    for seed in 1..=4 {
        let mut plan = world(seed, 1, &[BOARD]);
        for round in 0..3 {
            plan.add(1_000 + 900 * round, send(2, false));
            plan.add(1_300 + 900 * round, What::Unsubscribe { agent: 0, channel: 0 });
            plan.add(1_301 + 900 * round, What::Subscribe { agent: 0, channel: 0 });
            plan.add(1_302 + 900 * round, send(1, false));
        }
        plan.holds();
    }
}

/// Behind a balancer the line for commands may lead to another server than the session's: it was
/// kept, and no channel asked for by command ever opened; in a batch not even the status told.
#[test]
fn a_line_that_leads_astray_is_left() {
    for seed in 1..=6 {
        let mut plan = world(seed, 3, &[BOARD, ECHO, 0, 3]);
        plan.agents[0].settings.duplicates = (seed % 4) as u8;
        plan.add(1_500, send(2, false));
        plan.add(2_000, What::Unsubscribe { agent: 0, channel: 2 });
        plan.add(2_000, What::Unsubscribe { agent: 0, channel: 3 });
        plan.add(2_400, What::Subscribe { agent: 0, channel: 2 });
        plan.add(2_400, What::Subscribe { agent: 0, channel: 3 });
        plan.holds();
    }
}

/// The answer to a send is lost, its channel ends, and the repetition is refused: it was told as
/// refused although it had been taken.
#[test]
fn a_refused_repetition_may_have_arrived() {
    Plan::new(46).holds();
}

/// A document that fell behind says where it goes on, and then what it has missed, for an epoch in
/// which it was before: what others had brought was told as missing.
#[test]
fn a_gap_frame_that_explains_a_jump_is_no_gap() {
    for seed in [11, 59, 65, 78, 80] {
        Plan::new(seed).holds();
    }
}

/// A channel's gap frame explained where a document that had stood apart began, and was told as a
/// gap of its own when the consumer came to its epoch.
#[test]
fn a_gap_frame_that_was_kept_is_told_by_its_place() {
    for seed in [164, 1_497] {
        Plan::new(seed).holds();
    }
}

/// Its socket took bytes again and a message came, within one turn: it was gathered twice before it
/// was written, and what came second took the place of what was left of the first.
#[test]
fn a_document_that_is_named_twice_is_gathered_once() {
    for seed in [401, 516, 1_131] {
        Plan::new(seed).holds();
    }
}

/// Others led the consumer to a new epoch and back: what a document that was late had brought of
/// the old one meanwhile was dropped, and told as missing.
#[test]
fn what_a_late_document_brings_is_kept() {
    for seed in [1_930, 1_999, 2_452, 3_344, 3_900, 5_030, 5_286] {
        Plan::new(seed).holds();
    }
}

/// A strict channel had ended on one server and went on with another: sends had no fate, or the
/// channel was waited for for ever when the other went too.
#[test]
fn a_channel_that_no_server_has_ends() {
    for seed in [117, 226, 239, 650, 1_115, 1_421] {
        Plan::new(seed).holds();
    }
}

/// A document that waited came to life again with a strict channel that had ended on the main
/// server: messages followed the end, and then under the numbers of an epoch that was left.
#[test]
fn nothing_follows_the_end_of_a_channel() {
    Plan::new(7_825).holds();
}

/// Two documents waited with long queues, and one was let go as a whole, through changes of epoch:
/// what the other held before them was passed over, and told as missing.
#[test]
fn what_waits_is_let_go_message_by_message() {
    Plan::new(7_738).holds();
}

/// A document that came at the last moment was given up unread, and what it had brought was soon
/// nowhere else.
#[test]
fn what_has_come_late_is_read_first() {
    Plan::new(7_842).holds();
}

/// The world's own mistake: a message that only a former process of the server had was given again,
/// and began an epoch that was over.
#[test]
fn only_what_a_server_has_is_given_to_it_again() {
    Plan::new(7_053).holds();
}

/// A session ended while a channel of it waited for the home, and the client was told that there
/// was no channel: it did not ask again.
#[test]
fn an_open_that_the_end_of_its_session_called_off_is_tried_again() {
    Plan::new(9_338).holds();
}

/// A document waited for the others to follow it into an epoch, and when one had, it gave up at
/// once what that one was about to bring.
#[test]
fn what_waited_for_a_change_of_epoch_waits_anew_at_a_gap() {
    Plan::new(11_385).holds();
}

/// The world's own mistake: it took the order of publishing for that of a server which numbers, of
/// whose publisher a connection was cut.
#[test]
fn what_overtook_a_message_does_not_push_it_out() {
    Plan::new(14_947).holds();
}

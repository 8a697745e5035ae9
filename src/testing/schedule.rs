//! Draws the deeds of a plan: which kinds there are at all, how often, when, and to whom.

use crate::base::random::Random;
use crate::base::time::{Instant, Span};
use crate::testing::deed::{Deed, What};
use crate::testing::plan::{DAWN, Numberer, Plan, loses};

/// Kinds of faults.
const FAULTS: u64 = 15;

/// All deeds of `plan`, in order of time.
pub fn deeds(plan: &Plan, random: &mut Random) -> Vec<Deed> {
    let mut deeds = Vec::new();
    begin(plan, &mut deeds, random);
    consumers(plan, &mut deeds, random);
    publishers(plan, &mut deeds, random);
    faults(plan, &mut deeds, random);
    deeds.sort_by_key(|deed| deed.at);
    deeds
}

fn when(plan: &Plan, random: &mut Random) -> Instant {
    DAWN + Span::from_nanos(random.below(plan.end.since(DAWN).as_nanos()))
}

fn push(deeds: &mut Vec<Deed>, at: Instant, what: What, random: &mut Random) {
    deeds.push(Deed { at, what, dice: random.next() });
}

/// Every agent asks for its channels, most of them at the beginning.
fn begin(plan: &Plan, deeds: &mut Vec<Deed>, random: &mut Random) {
    for (agent, has) in plan.agents.iter().enumerate() {
        let start = DAWN + Span::from_millis(random.below(1_000));
        for channel in 0..has.channels.len() {
            let late = random.below(4) == 0;
            let at = if late { when(plan, random) } else { start };
            push(deeds, at, What::Subscribe { agent, channel }, random);
        }
    }
}

fn consumers(plan: &Plan, deeds: &mut Vec<Deed>, random: &mut Random) {
    for (agent, has) in plan.agents.iter().enumerate() {
        for (channel, wants) in has.channels.iter().enumerate() {
            let numberer = plan.topics[wants.topic].numberer;
            if matches!(numberer, Numberer::Board | Numberer::Echo) {
                for _ in 0..random.below(14) {
                    let count = if random.below(6) == 0 { 12 } else { 1 + random.below(3) };
                    let bye = numberer == Numberer::Echo && random.below(12) == 0;
                    let at = when(plan, random);
                    push(deeds, at, What::Send { agent, channel, count, bye }, random);
                }
            }
            if random.below(6) == 0 {
                let leaves = when(plan, random);
                push(deeds, leaves, What::Unsubscribe { agent, channel }, random);
                let back = leaves + Span::from_millis(random.below(800));
                push(deeds, back.min(plan.end), What::Subscribe { agent, channel }, random);
            }
        }
        for _ in 0..random.below(3) {
            let at = when(plan, random);
            let what = match random.below(2) {
                0 => What::Refresh { agent },
                _ => What::Ping { agent },
            };
            push(deeds, at, what, random);
        }
    }
}

fn publishers(plan: &Plan, deeds: &mut Vec<Deed>, random: &mut Random) {
    for (topic, about) in plan.topics.iter().enumerate() {
        if !matches!(about.numberer, Numberer::Source | Numberer::Site) {
            continue;
        }
        push(deeds, Instant::from_nanos(1), What::Publish { topic, count: 1 }, random);
        for _ in 0..20 + random.below(100) {
            let count = if random.below(15) == 0 { 5 + random.below(20) } else { 1 };
            let at = when(plan, random);
            push(deeds, at, What::Publish { topic, count }, random);
        }
        if about.numberer == Numberer::Source && !plan.long {
            for _ in 0..random.below(3) {
                let at = when(plan, random);
                push(deeds, at, What::NewEpoch { topic }, random);
            }
            for _ in 0..random.below(4) {
                let (at, count) = (when(plan, random), 1 + random.below(4));
                push(deeds, at, What::Hole { topic, count }, random);
            }
        }
    }
}

/// A world has some kinds of faults and not others, so that some have many of one kind.
fn faults(plan: &Plan, deeds: &mut Vec<Deed>, random: &mut Random) {
    let kinds: Vec<u64> = (0..FAULTS).filter(|_| random.below(2) == 0).collect();
    if kinds.is_empty() {
        return;
    }
    for _ in 0..random.below(50) {
        let kind = kinds[random.below(kinds.len() as u64) as usize];
        let rare = matches!(kind, 8 | 9 | 10 | 11 | 13 | 14);
        let (at, what) = (when(plan, random), fault(kind, plan, random));
        if (rare && random.below(4) > 0) || (plan.long && loses(what)) {
            continue;
        }
        push(deeds, at, what, random);
    }
}

fn fault(kind: u64, plan: &Plan, random: &mut Random) -> What {
    let agent = random.below(plan.agents.len() as u64) as usize;
    let site = random.below(plan.sites.len() as u64) as usize;
    let topic = random.below(plan.topics.len() as u64) as usize;
    let mut millis = |from, to| Span::from_millis(from + random.below(to - from));
    match kind {
        0 | 1 => What::Cut { agent },
        2 => What::ClientVanishes { agent },
        3 | 4 => What::ServerVanishes { agent },
        5 => What::Stall { agent, span: millis(20, 3_000) },
        6 => What::Lag { agent, span: millis(0, 400) },
        7 => What::Twice { agent },
        8 => {
            let down = millis(0, 3_000);
            let (graceful, dark) = (random.below(2) == 0, random.below(3) == 0);
            What::Restart { site, graceful, down, dark, again: random.below(12) }
        }
        9 => What::Partition { site, span: millis(100, 4_000), dark: random.below(2) == 0 },
        10 => What::SiteJump { site, span: millis(1_000, 200_000) },
        11 => What::AgentJump { agent, span: millis(1_000, 200_000) },
        12 => What::PublishTwice { topic },
        14 => {
            let (within, down) = (millis(500, 4_000), millis(0, 3_000));
            What::Drain { site, within, down, again: random.below(12) }
        }
        _ => What::CutPublisher { site },
    }
}

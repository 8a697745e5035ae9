//! The shadow of one agent's consumer: what it was told, and whether it may be told the next.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::base::id::{Cid, Epoch, Offset};
use crate::client::channel::Which;
use crate::client::event::{ChannelKey, Event, Request, SendId, StreamState};
use crate::testing::inbound::Inbound;
use crate::testing::ledger::{Ledger, Life};
use crate::testing::model::At;
use crate::testing::plan::Numberer;

/// A channel as its consumer knows it.
#[derive(Debug)]
pub struct Seen {
    /// The topic.
    pub topic: &'static str,
    /// Who numbers it.
    pub numberer: Numberer,
    /// Whether a jump in numbers is conflation and no gap.
    pub folds: bool,
    /// Whether nothing may be missing, and no epoch may change.
    pub long: bool,
    /// Whether all routes lead to one server. Of several that number for themselves the consumer
    /// follows one: what another brings meanwhile is dropped, and told as missing where the
    /// consumer comes back to its numbering.
    pub alone: bool,
    /// The last message, or where the channel starts.
    pub place: Option<At>,
    /// Whether it has ended for good.
    pub over: bool,
    /// The last message's payload.
    pub payload: Vec<u8>,
    /// What was answered to own sends.
    pub heard: BTreeSet<Vec<u8>>,
    /// How often it was asked for before it had a place, and where each session began it.
    fresh_asks: u32,
    starts: BTreeMap<(Life, u64), At>,
    /// Nothing but `Opened` was told.
    first: bool,
    /// `Opened` led from the beginning of one epoch to that of another; a gap may follow.
    blank: bool,
    /// `Opened` told of another epoch; the gap must follow.
    turning: Option<At>,
    /// The last message delivered, of each epoch.
    reached: HashMap<Epoch, u64>,
    /// Messages of which some document has brought a copy.
    copies: BTreeSet<At>,
}

impl Seen {
    /// A channel that was just asked for.
    pub fn new(topic: &'static str, numberer: Numberer, folds: bool, long: bool) -> Self {
        Self {
            topic,
            numberer,
            folds,
            long,
            alone: false,
            place: None,
            over: false,
            payload: Vec::new(),
            heard: BTreeSet::new(),
            fresh_asks: 0,
            starts: BTreeMap::new(),
            first: true,
            blank: false,
            turning: None,
            reached: HashMap::new(),
            copies: BTreeSet::new(),
        }
    }

    fn opened(&mut self, ep: Epoch, n: Offset, head: Offset) {
        let topic = self.topic;
        assert!(!self.over, "{topic}: opened at {n}, and the channel is over");
        assert!(head >= n, "{topic}: opened at {n} behind the head {head}");
        assert!(self.turning.is_none(), "{topic}: no gap after a new epoch");
        match self.place {
            None => self.place = Some((ep, n.0)),
            Some(place) if place.0 == ep => {}
            // Of an epoch that nobody has said anything in nothing is missing.
            Some(place) if place.1 == 0 && n.0 == 0 => {
                self.place = Some((ep, 0));
                self.blank = true;
            }
            Some(place) => {
                let numbered = self.numberer == Numberer::Source;
                assert!(!(self.long && numbered), "{topic}: led from {place:?} to {ep}:{n}");
                self.turning = Some((ep, n.0));
            }
        }
    }

    fn gap(&mut self, to: At, missing: Option<u64>, ledger: &Ledger, visited: &[Life]) {
        let topic = self.topic;
        if let Some(turning) = self.turning.take() {
            assert_eq!((to, missing), (turning, None), "{topic}: the gap after a new epoch");
            let reached = self.reached.get(&to.0).copied().unwrap_or(0);
            assert!(to.1 >= reached, "{topic}: back to {to:?}, after {reached} of that epoch");
            self.place = Some(to);
            return;
        }
        let place = self.place.expect("a gap comes after `Opened`");
        if std::mem::take(&mut self.blank) && to == place && missing.is_none() {
            return;
        }
        assert_eq!(to.0, place.0, "{topic}: another epoch without `Opened`");
        // The place where a document opens may lie behind what is missing since the channel was
        // opened: that is told once, before anything else.
        let first = std::mem::replace(&mut self.first, false);
        if first && to.1 == place.1 {
            return;
        }
        assert!(to.1 > place.1, "{topic}: a gap from {place:?} to {to:?}");
        let exact = Some(to.1 - place.1);
        assert_eq!(missing, exact, "{topic}: what is missing from {place:?} to {to:?}");
        if self.fresh_asks > 1 && self.starts.values().any(|start| *start == to) {
            // Asked for in two sessions before either had answered, it began in both at the head.
            self.place = Some(to);
            return;
        }
        let numbered = self.numberer == Numberer::Source;
        assert!(!(self.long && numbered), "{topic}: a gap from {place:?} to {to:?}");
        let mut copies = self.copies.range((to.0, place.1 + 1)..=to);
        let copy =
            copies.next().filter(|_| !self.folds && self.alone && self.numberer != Numberer::Echo);
        assert!(copy.is_none(), "{topic}: {copy:?} came and is missing, {place:?} to {to:?}");
        if self.numberer != Numberer::Echo {
            ledger.check_gap(topic, to.0, (place.1, to.1), visited);
        }
        self.place = Some(to);
    }

    fn message(&mut self, at: At, folded: u64, payload: Vec<u8>) {
        let topic = self.topic;
        assert!(!self.over, "{topic}: {at:?} of a channel that is over");
        assert!(self.turning.is_none(), "{topic}: no gap after a new epoch");
        let place = self.place.expect("a message comes after `Opened`");
        assert_eq!(at.0, place.0, "{topic}: another epoch without a gap");
        assert!(at.1 == place.1 + folded + 1, "{topic}: {at:?} after {place:?}, {folded} folded");
        assert!(self.folds || folded == 0, "{topic}: {folded} were folded in mode queue");
        let reached = self.reached.entry(at.0).or_default();
        assert!(at.1 > *reached, "{topic}: {at:?} again");
        *reached = at.1;
        (self.first, self.blank) = (false, false);
        self.place = Some(at);
        if payload.starts_with(b"heard ") {
            self.heard.insert(payload.clone());
        }
        self.payload = payload;
    }
}

/// What an agent's consumer was told.
#[derive(Debug, Default)]
pub struct Shadow {
    /// Every channel that there ever was.
    pub channels: BTreeMap<ChannelKey, Seen>,
    /// Sends without a fate.
    pub undecided: BTreeMap<SendId, (ChannelKey, Vec<u8>)>,
    /// The last state.
    pub state: Option<StreamState>,
    /// Events so far.
    pub events: u64,
    /// Gaps within an epoch, and changes of epoch.
    pub gaps: (u64, u64),
    /// Sessions that began.
    pub sessions: u64,
    /// Channels of sessions that have ended or were left.
    over: HashMap<(u64, Cid), u32>,
}

impl Shadow {
    /// The agent asks for something: a channel that has a place is asked for from there.
    ///
    /// # Panics
    ///
    /// If it asks for a channel as if it had nothing of it.
    pub fn asks(&mut self, request: &Request) {
        let body = request.body.as_deref().map(String::from_utf8_lossy).unwrap_or_default();
        let pairs = request.target.split(['?', '&']).filter(|pair| pair.starts_with("open="));
        if let Some(query) = request.target.strip_prefix("close?") {
            let value = |name| {
                let mut values = query.split('&').filter_map(|pair| pair.split_once('='));
                values.find(|(key, _)| *key == name)?.1.parse::<u64>().ok()
            };
            if let (Some(mid), Some(cid), Some(life)) = (value("mid"), value("cid"), value("l")) {
                self.end(mid, (Cid(cid as u32), life as u32));
            }
        }
        let lines = body.lines().filter(|line| line.starts_with("open?"));
        let whole = Some(request.target.as_str()).filter(|target| target.starts_with("open?"));
        for ask in pairs.chain(lines).chain(whole).filter(|ask| !ask.contains("since=")) {
            let names = |seen: &Seen| {
                let (resource, subject) = seen.topic.split_once('/').unwrap_or_default();
                ask.starts_with(&format!("open={}", seen.topic))
                    || ask.contains(&format!("resource={resource}&subject={subject}"))
            };
            let newest = self.channels.iter().rev().find(|(_, seen)| names(seen));
            let newest = newest.map(|(key, _)| *key);
            if let Some(seen) = newest.and_then(|key| self.channels.get_mut(&key)) {
                seen.fresh_asks += 1;
                assert!(seen.place.is_none(), "{} is asked for without its place", seen.topic);
            }
        }
    }

    /// A channel of a session has ended or is left, and all of its number before it.
    pub fn end(&mut self, mid: u64, (cid, life): Which) {
        let over = self.over.entry((mid, cid)).or_insert(life);
        *over = life.max(*over);
    }

    fn is_over(&self, mid: u64, (cid, life): Which) -> bool {
        self.over.get(&(mid, cid)).is_some_and(|over| life <= *over)
    }

    /// A document has an `o` frame.
    pub fn start(&mut self, topic: &str, at: At, session: (Life, u64), which: Which) {
        if self.is_over(session.1, which) {
            return;
        }
        let mut seen = self.channels.values_mut().rev();
        if let Some(seen) = seen.find(|seen| seen.topic == topic) {
            seen.starts.entry(session).or_insert(at);
        }
    }

    /// A document has brought a copy of a message.
    pub fn copy(&mut self, topic: &str, at: At, mid: u64, which: Which) {
        if self.is_over(mid, which) {
            return;
        }
        let mut seen = self.channels.values_mut().rev();
        if let Some(seen) = seen.find(|seen| seen.topic == topic) {
            seen.copies.insert(at);
        }
    }

    /// The consumer is told something.
    ///
    /// # Panics
    ///
    /// If it cannot be so.
    pub fn take(&mut self, agent: usize, event: Event, ledger: &mut Ledger, visited: &[Life]) {
        self.events += 1;
        match event {
            Event::Opened { channel, ep, n, head } => self.seen(channel).opened(ep, n, head),
            Event::Gap { channel, ep, n, missing } => {
                let seen = self.seen(channel);
                let within = seen.turning.is_none();
                seen.gap((ep, n.0), missing, ledger, visited);
                if within {
                    self.gaps.0 += 1;
                } else {
                    self.gaps.1 += 1;
                }
            }
            Event::Message { channel, ep, n, folded, payload, .. } => {
                let seen = self.seen(channel);
                let (topic, at) = (seen.topic, (ep, n.0));
                match seen.numberer {
                    Numberer::Echo => ledger.inbound.observe(topic, agent, at, &payload),
                    _ => ledger.observe(topic, at, &payload),
                }
                self.seen(channel).message(at, folded, payload);
            }
            Event::Closed { channel, end } => {
                use crate::base::reason::ChannelEnd::{Closed, Gone, Overrun};
                let seen = self.seen(channel);
                seen.copies.clear();
                let topic = seen.topic;
                assert!(matches!(end, Closed | Gone | Overrun), "{topic} ended {end:?}");
                seen.over |= end == Overrun;
            }
            Event::Refused { channel, failure, retry_in } => {
                let topic = self.seen(channel).topic;
                assert!(retry_in.is_some(), "{topic} was refused for good: {failure:?}");
            }
            Event::Sent { channel, id, fate } => self.fate(channel, id, fate, &mut ledger.inbound),
            Event::State(state) => self.state = Some(state),
            Event::Session { new, .. } => self.sessions += u64::from(new),
            Event::Lost { .. }
            | Event::RoundTrip(_)
            | Event::Known { .. }
            | Event::Expiring { .. }
            | Event::NotRenewed { .. } => {}
        }
    }

    fn fate(
        &mut self,
        channel: ChannelKey,
        id: SendId,
        fate: crate::client::event::Fate,
        inbound: &mut Inbound,
    ) {
        let Some((of, payload)) = self.undecided.remove(&id) else {
            panic!("{id:?} has no open send: {fate:?}");
        };
        assert_eq!(of, channel, "the fate of another channel's send");
        inbound.tell(&payload, fate);
    }

    fn seen(&mut self, channel: ChannelKey) -> &mut Seen {
        self.channels.get_mut(&channel).expect("a channel that was asked for")
    }
}

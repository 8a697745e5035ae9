//! A leg: the session that the agent has on one server, and the way there.
//!
//! The first leg is the main one: what consumers send goes over it, and the duplicates that its
//! server can carry belong to its session. Where a further document is to live on another server,
//! that server knows nothing of the session; the document then has a leg of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::base::backoff::Backoff;
use crate::base::id::{Cid, Mid};
use crate::base::time::Instant;
use crate::client::channel::{Seat, Status, Which};
use crate::client::document::Document;
use crate::client::event::{ChannelKey, RouteId};
use crate::client::login::Renewal;
use crate::client::sealed::Sealed;
use crate::client::settings::Settings;

/// The session of now.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) scs: String,
    pub(crate) mid: Mid,
    pub(crate) key: Option<String>,
    /// Where it is sealed.
    pub(crate) seal: Option<Sealed>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whoever has the key has the session: it is not for logs.
        f.debug_struct("Session").field("scs", &self.scs).field("mid", &self.mid).finish()
    }
}

/// One leg of one agent, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LegId(pub u32);

/// A session on one server.
#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) id: LegId,
    /// The way that its main document and its commands take.
    pub(crate) route: RouteId,
    pub(crate) session: Option<Session>,
    /// Which of all sessions of the agent it is: what belongs to an earlier one is known by it.
    pub(crate) number: u32,
    /// Ways that do not lead to the server of its session.
    pub(crate) foreign: BTreeSet<RouteId>,
    /// Attempts in a row that came to nothing.
    pub(crate) failed: u32,
    /// Its server asks to be left; sends may still be decided there until this moment.
    pub(crate) leaving: Option<Instant>,
    /// The way that its next main document is to take, come what may.
    pub(crate) moving: Option<RouteId>,
    /// When the next main document is asked for: the first, the next after a loss, the successor
    /// of the one that runs.
    pub(crate) document_at: Instant,
    pub(crate) backoff: Backoff,
    pub(crate) call_backoff: Backoff,
    /// A document with channels was refused as a whole: ask for them one by one, to learn which.
    pub(crate) singly: bool,
    /// No channel is due before this moment.
    pub(crate) channels_at: Instant,
    /// When its session ends unless it is renewed.
    pub(crate) renewal: Renewal,
    /// When the server must hear of the client again, where it demands that.
    pub(crate) beat_at: Instant,
    /// Whether a command was put out since that moment was set.
    pub(crate) spoke: bool,
    /// The agent's channels in this session.
    pub(crate) seats: BTreeMap<ChannelKey, Seat>,
    /// Of the channels of each number, all up to this one have ended or were left: what documents
    /// that are behind still say of them is not of their successor.
    pub(crate) over: BTreeMap<Cid, u32>,
    /// The last number of each channel in this session, whether it is open or not.
    pub(crate) last_cids: BTreeMap<ChannelKey, Cid>,
    /// The next number of a send, for each channel number of the session: the numbers go on when a
    /// channel is closed and opened again, and begin anew with a new channel number.
    pub(crate) numbers: BTreeMap<Cid, u64>,
}

impl Leg {
    /// A leg that has not been asked for yet.
    pub(crate) fn new(id: LegId, route: RouteId, settings: &Settings, now: Instant) -> Self {
        Self {
            id,
            route,
            session: None,
            number: 0,
            foreign: BTreeSet::new(),
            failed: 0,
            leaving: None,
            moving: None,
            document_at: now,
            backoff: settings.backoff,
            call_backoff: settings.backoff,
            singly: false,
            channels_at: Instant::NEVER,
            renewal: Renewal::default(),
            beat_at: Instant::NEVER,
            spoke: false,
            seats: BTreeMap::new(),
            over: BTreeMap::new(),
            last_cids: BTreeMap::new(),
            numbers: BTreeMap::new(),
        }
    }

    /// Whether that channel has ended or was left.
    pub(crate) fn is_over(&self, (cid, life): Which) -> bool {
        self.over.get(&cid).is_some_and(|over| life <= *over)
    }

    /// That channel, and all of the same number before it, have ended or were left.
    pub(crate) fn set_over(&mut self, (cid, life): Which) {
        let over = self.over.entry(cid).or_insert(life);
        *over = life.max(*over);
    }

    /// The session calls the channel `cid` from now on; says whether it had another number before,
    /// of which sends may be on the wire.
    pub(crate) fn name(&mut self, key: ChannelKey, (cid, life): Which) -> bool {
        if let Some(before) = life.checked_sub(1) {
            self.set_over((cid, before));
        }
        let Some(seat) = self.seats.get_mut(&key) else { return false };
        seat.status = Status::Open;
        seat.backoff.reset();
        let before = self.last_cids.insert(key, cid);
        (seat.cid, seat.life) = (Some(cid), life);
        before.is_some_and(|before| before != cid)
    }

    /// The server says which number it expects next on `cid`. Numbers that were given already are
    /// not given again, even if none of them has arrived.
    pub(crate) fn expect(&mut self, cid: Cid, n: u64) {
        let next = self.numbers.entry(cid).or_insert(1);
        *next = n.max(*next);
    }

    /// A document of it has begun; the channels asked for with it must be open at `open_until`.
    pub(crate) fn begin(&mut self, document: &mut Document, open_until: Instant, now: Instant) {
        self.beat_at = match document.demands {
            true => self.beat_at.min(now + document.beat()),
            false => Instant::NEVER,
        };
        for key in std::mem::take(&mut document.opens) {
            if let Some(seat) = self.seats.get_mut(&key)
                && matches!(seat.status, Status::Wanted(_) | Status::Asked(_))
            {
                seat.status = Status::Asked(open_until);
            }
        }
        self.channels_at = now;
    }

    /// Adds a channel, to be opened.
    pub(crate) fn seat(&mut self, key: ChannelKey, backoff: Backoff, now: Instant) {
        self.seats.insert(key, Seat::new(backoff, now));
        self.channels_at = self.channels_at.min(now);
    }

    /// The channel is to be asked for (again) at `at`, unless it is open.
    pub(crate) fn want(&mut self, key: ChannelKey, at: Instant) {
        if let Some(seat) = self.seats.get_mut(&key)
            && matches!(seat.status, Status::Asked(_) | Status::Wanted(_))
        {
            seat.status = Status::Wanted(at);
            self.channels_at = self.channels_at.min(at);
        }
    }

    /// Whether the channel is not to be had here.
    pub(crate) fn has_given_up(&self, key: ChannelKey) -> bool {
        let status = self.seats.get(&key).map(|seat| seat.status);
        matches!(status, None | Some(Status::Refused | Status::Elsewhere))
    }

    /// The channel that the session calls `cid`.
    pub(crate) fn channel(&self, cid: Cid) -> Option<ChannelKey> {
        self.seats.iter().find(|(_, seat)| seat.cid == Some(cid)).map(|(key, _)| *key)
    }

    /// Forgets the session: every channel is to be opened anew. Says whether there was one.
    pub(crate) fn forget_session(&mut self, number: u32) -> bool {
        self.number = number;
        self.leaving = None;
        self.beat_at = Instant::NEVER;
        self.renewal = Renewal::default();
        self.channels_at = Instant::ZERO;
        self.seats.values_mut().for_each(Seat::forget);
        self.over.clear();
        self.last_cids.clear();
        self.numbers.clear();
        self.session.take().is_some()
    }

    /// The way that the next attempt takes, of `routes` that there are: first those that may lead
    /// to the session, from the last good one on, then, where `strange` ones will do, the others.
    /// Each failure leads to the next.
    pub(crate) fn way(&self, routes: u8, strange: bool) -> RouteId {
        let from = self.route.0;
        let all = (0..routes)
            .map(|step| RouteId(((u16::from(from) + u16::from(step)) % u16::from(routes)) as u8));
        let (mut ways, others): (Vec<_>, Vec<_>) =
            all.partition(|route| !self.foreign.contains(route));
        if strange || ways.is_empty() {
            ways.extend(others);
        }
        ways.get(self.failed as usize % ways.len().max(1)).copied().unwrap_or(self.route)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_lead_round_all_ways_and_to_strange_ones_last() {
        let mut leg = Leg::new(LegId(1), RouteId(1), &Settings::default(), Instant::ZERO);
        let ways = |leg: &mut Leg, strange| -> Vec<u8> {
            let way = |failed| {
                leg.failed = failed;
                leg.way(3, strange).0
            };
            (0..4).map(way).collect()
        };
        assert_eq!(ways(&mut leg, false), [1, 2, 0, 1]);
        leg.foreign.insert(RouteId(2));
        assert_eq!(ways(&mut leg, false), [1, 0, 1, 0]);
        assert_eq!(ways(&mut leg, true), [1, 0, 2, 1]);
        leg.foreign.extend([RouteId(0), RouteId(1)]);
        assert_eq!(ways(&mut leg, false), [1, 2, 0, 1], "all are strange");
    }
}

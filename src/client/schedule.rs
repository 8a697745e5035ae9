//! When documents are asked for, and when those that were replaced are closed.
//!
//! A leg has one main document, and the main leg as many lasting duplicates as the settings want
//! beyond the other legs. The main one comes first: while none runs, or one is being asked for or
//! replaced, no duplicate is asked for, so that a session never needs more places at the server
//! than there are. A document is replaced by one more of its kind, and closed when that one carries
//! every channel.

use crate::base::limits::DOCUMENTS_MAX;
use crate::base::time::{Instant, Span};
use crate::client::agent::Agent;
use crate::client::document::{Document, Purpose};
use crate::client::event::{Failure, RouteId, StreamId};
use crate::client::leg::Leg;

impl Agent {
    /// After every input: whatever is due now is put out.
    pub(crate) fn drive(&mut self, now: Instant) {
        if self.stopped {
            return;
        }
        self.retire(now);
        self.arrange(now);
        for id in self.leg_ids() {
            if let Some(leg) = self.legs.iter().find(|leg| leg.id == id)
                && self.main_at(leg) <= now
            {
                let (route, purpose) = self.next_main(leg);
                self.ask((id, route), purpose, None, now);
            }
        }
        if let Some((at, succeeds)) = self.next_duplicate()
            && at <= now
        {
            let route = self.duplicate_route(succeeds);
            self.ask((self.legs[0].id, route), Purpose::Duplicate, succeeds, now);
        }
        for id in self.leg_ids() {
            if self.legs.iter().any(|leg| leg.id == id && self.can_call(leg)) {
                self.call_opens(id, now);
            }
        }
        if self.can_call(&self.legs[0]) {
            self.call_sends(now);
        }
        for id in self.leg_ids() {
            if self.legs.iter().any(|leg| leg.id == id && self.can_call(leg)) {
                self.call_renew(id, now);
                self.call_beat(id, now);
            }
        }
        self.tell_state();
    }

    /// When [`Agent::handle_timeout`] must be called at the latest, if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.stopped {
            return None;
        }
        let mut at = self.merge.poll_timeout().unwrap_or(Instant::NEVER);
        for document in &self.documents {
            at = at.min(document.drop_at(&self.settings));
            at = at.min(document.warn_at(&self.settings).unwrap_or(Instant::NEVER));
            at = at.min(self.heir(document).map_or(Instant::NEVER, |heir| heir.settled_at()));
        }
        at = at.min(self.next_duplicate().map_or(Instant::NEVER, |(at, _)| at));
        for leg in &self.legs {
            at = at.min(self.main_at(leg));
            if self.can_call(leg) {
                at = at.min(leg.channels_at).min(leg.beat_at).min(leg.renewal.at);
            }
        }
        if self.can_call(&self.legs[0]) {
            at = at.min(self.sends_at());
        }
        (at != Instant::NEVER).then_some(at)
    }

    /// When the leg's next main document is asked for.
    fn main_at(&self, leg: &Leg) -> Instant {
        if self.channels.is_empty() || self.is_asking_main(leg) {
            return Instant::NEVER;
        }
        // Sends that are on the wire can be decided only by the session that they were numbered in.
        let undecided = leg.id == self.legs[0].id && self.runs(leg) && self.has_undecided();
        leg.leaving.filter(|_| undecided).map_or(leg.document_at, |at| at.max(leg.document_at))
    }

    /// Which way the leg's next main document takes, and what for.
    fn next_main(&self, leg: &Leg) -> (RouteId, Purpose) {
        let routes = self.settings.routes;
        let (runs, is_main) = (self.runs(leg), leg.id == self.legs[0].id);
        let route = match leg.moving {
            Some(route) => route,
            None if !is_main => leg.route,
            // Elsewhere first; behind a load balancer the same way leads there too.
            None if leg.leaving.is_some() => {
                let step = (u32::from(leg.route.0) + 1 + leg.failed) % u32::from(routes);
                RouteId(step as u8)
            }
            // Where another leg is, it takes this one's place instead.
            None => leg.way(routes, !runs && self.legs.len() == 1),
        };
        let apart = leg.leaving.is_some() || leg.foreign.contains(&route);
        let purpose = match (&leg.session, runs) {
            (None, _) => Purpose::Session,
            (Some(_), _) if apart => Purpose::Session,
            (Some(_), false) => Purpose::Resume,
            (Some(_), true) => Purpose::Refresh,
        };
        (route, purpose)
    }

    /// Duplicates that the main leg's own session is to carry.
    fn duplicates_wanted(&self) -> usize {
        let all = usize::from(self.settings.duplicates).min(DOCUMENTS_MAX - 1);
        all.saturating_sub(self.legs.len() - 1)
    }

    /// When the next duplicate is asked for, and which one it succeeds.
    fn next_duplicate(&self) -> Option<(Instant, Option<StreamId>)> {
        let main = &self.legs[0];
        let mine = |d: &&Document| d.leg == main.id;
        let mut mains = self.documents.iter().filter(mine).filter(|d| !d.is_duplicate());
        let asking = self.documents.iter().filter(mine).any(|document| !document.is_running());
        let overlaps = self.documents.iter().filter(mine).any(|d| self.heir(d).is_some());
        let wanted = self.duplicates_wanted();
        let leaves = main.leaving.is_some() || main.moving.is_some();
        if wanted == 0 || asking || overlaps || leaves || self.channels.is_empty() {
            return None;
        }
        mains.find(|document| document.is_of(main))?;
        let duplicates = self.documents.iter().filter(mine).filter(|d| d.is_duplicate());
        if duplicates.clone().count() < wanted {
            return Some((self.duplicate_at, None));
        }
        let next = duplicates.min_by_key(|document| document.replace_at)?;
        Some((next.replace_at.max(self.duplicate_at), Some(next.stream)))
    }

    /// The way for the next duplicate: another than the session's other documents take, if there
    /// is one. Each failure leads to the next.
    fn duplicate_route(&self, succeeds: Option<StreamId>) -> RouteId {
        let main = &self.legs[0];
        let routes = self.settings.routes;
        let all = (1..=routes).map(|step| {
            RouteId(((u16::from(main.route.0) + u16::from(step)) % u16::from(routes)) as u8)
        });
        let mut ways: Vec<RouteId> = all.filter(|route| !main.foreign.contains(route)).collect();
        let users = |route: RouteId| {
            let others = self.documents.iter().filter(|d| Some(d.stream) != succeeds);
            others.filter(|d| d.leg == main.id && d.route == route).count()
        };
        ways.sort_by_key(|route| users(*route));
        let at = self.duplicate_backoff.failed as usize % ways.len().max(1);
        ways.get(at).copied().unwrap_or(main.route)
    }

    /// Whether a main document of the leg was asked for and does not run yet.
    fn is_asking_main(&self, leg: &Leg) -> bool {
        let mut mine = self.documents.iter().filter(|document| document.leg == leg.id);
        mine.any(|document| !document.is_running() && !document.is_duplicate())
    }

    /// The running document that takes the place of `old`.
    fn heir(&self, old: &Document) -> Option<&Document> {
        let running = self.documents.iter().rev().filter(|document| document.is_running());
        let mut running = running.filter(|document| document.leg == old.leg);
        if !old.is_running() {
            return None;
        }
        let main = running.clone().find(|document| !document.is_duplicate());
        let newer = main.filter(|main| main.stream > old.stream);
        match old.is_duplicate() {
            false => newer,
            true => running
                .find(|document| document.succeeds == Some(old.stream))
                .or_else(|| newer.filter(|main| main.session != old.session)),
        }
    }

    /// Closes documents that a newer one has replaced: as soon as that one carries all their
    /// channels, and an interval after its beginning whatever it carries.
    fn retire(&mut self, now: Instant) {
        let replaced = |old: &Document| {
            let heir = self.heir(old)?;
            let over = self.merge.covers(heir.stream, old.stream) || heir.settled_at() <= now;
            over.then_some(old.stream)
        };
        let replaced: Vec<StreamId> = self.documents.iter().filter_map(replaced).collect();
        for old in replaced {
            self.counters.refreshes += 1;
            self.drop_document(old, true, now);
        }
    }

    /// Warns about documents that are silent, and abandons those that are so for too long. Not
    /// after other inputs: what has come late, but is there, is read first.
    pub(crate) fn watch(&mut self, now: Instant) {
        let settings = &self.settings;
        for document in &mut self.documents {
            if document.warn_at(settings).is_some_and(|at| at <= now) {
                document.quiet = true;
            }
        }
        let due = |document: &&Document| document.drop_at(settings) <= now;
        let dead: Vec<_> =
            self.documents.iter().filter(due).map(|d| (d.stream, d.is_running())).collect();
        for (stream, running) in dead {
            let failure = match running {
                true => Failure::Silent,
                false => Failure::Broken("no answer in time".into()),
            };
            self.abandon(stream, failure, now);
        }
    }

    /// A document is lost and was told to stay away for `at_least`: the next attempt is set.
    pub(crate) fn set_next(&mut self, lost: &Document, at_least: Span, now: Instant) {
        let lived = if lost.is_running() { now.since(lost.since) } else { Span::ZERO };
        let settled = lived >= self.settings.settled_after;
        let newer = |other: &Document| {
            !other.is_duplicate() && other.leg == lost.leg && other.stream > lost.stream
        };
        if self.documents.iter().any(|heir| heir.succeeds == Some(lost.stream)) {
            return; // its place is being taken
        }
        if lost.is_duplicate() {
            if settled {
                self.duplicate_backoff.reset();
            }
            let wait = self.duplicate_backoff.wait(&mut self.random).max(at_least);
            self.duplicate_at = now + wait;
        } else if !self.documents.iter().any(newer) {
            let random = &mut self.random;
            let Some(leg) = self.legs.iter_mut().find(|leg| leg.id == lost.leg) else { return };
            if settled {
                leg.backoff.reset();
            }
            if !lost.is_running() {
                leg.failed += 1;
                leg.moving = None;
            }
            leg.document_at = now + leg.backoff.wait(random).max(at_least);
        }
    }

    /// Whether `stream` is followed by another document of its kind that runs.
    pub(crate) fn is_followed(&self, stream: StreamId) -> bool {
        let document = self.documents.iter().find(|document| document.stream == stream);
        document.is_some_and(|document| self.heir(document).is_some())
    }
}

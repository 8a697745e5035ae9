//! Which legs there are to be, and which of them is the main one.

use crate::base::limits::DOCUMENTS_MAX;
use crate::base::time::Instant;
use crate::client::agent::Agent;
use crate::client::channel::{Channel, Status};
use crate::client::event::RouteId;
use crate::client::leg::{Leg, LegId};

/// Attempts of the main leg that come to nothing before another that runs takes its place.
const FAILED_MAX: u32 = 2;

impl Agent {
    /// Sees to it that every route which leads to another server, and is to carry a duplicate, has
    /// a leg, and that the main leg is one that runs where any does.
    pub(crate) fn arrange(&mut self, now: Instant) {
        if self.settings.routes < 2 || self.channels.is_empty() {
            return;
        }
        if let Some(heir) = self.heir_of_main(now) {
            self.promote(heir, now);
        }
        let wanted = self.routes_apart();
        let surplus: Vec<LegId> = self.legs[1..]
            .iter()
            .filter(|leg| !wanted.contains(&leg.route))
            .map(|leg| leg.id)
            .collect();
        for id in surplus {
            self.drop_leg(id, now);
        }
        for route in wanted {
            if self.legs.iter().all(|leg| leg.route != route) {
                self.add_leg(route, now);
            }
        }
    }

    /// The leg that is to be the main one from now on, if another than now.
    fn heir_of_main(&self, now: Instant) -> Option<usize> {
        let main = &self.legs[0];
        let stranded = !self.runs(main) && (main.session.is_none() || main.failed >= FAILED_MAX);
        let left = main.leaving.is_some_and(|at| at <= now || !self.has_undecided());
        let fit = |leg: &Leg| {
            let meant = main.moving == Some(leg.route) && !self.has_undecided();
            leg.leaving.is_none() && self.runs(leg) && (stranded || left || meant)
        };
        self.legs.iter().skip(1).position(fit).map(|at| at + 1)
    }

    /// Makes the leg at `at` the main one. What was on the wire in the session of the old one may
    /// have been taken or not.
    fn promote(&mut self, at: usize, now: Instant) {
        self.leave_conversations(now);
        self.legs.swap(0, at);
        let routes: Vec<RouteId> = self.legs.iter().map(|leg| leg.route).collect();
        for leg in &mut self.legs {
            leg.failed = 0;
            leg.moving = None;
            leg.foreign.extend(routes.iter().filter(|route| **route != leg.route));
        }
        self.forsake_sends();
        self.sending = self.channels.keys().copied().collect();
        for seat in self.legs[0].seats.values_mut().filter(|s| s.status == Status::Elsewhere) {
            seat.status = Status::Wanted(now);
        }
        self.legs[0].channels_at = now;
        self.follow_main(now);
    }

    /// The main leg is to be so no longer: conversations with resources end there.
    fn leave_conversations(&mut self, now: Instant) {
        let id = self.legs[0].id;
        let mut left = Vec::new();
        for (key, seat) in &mut self.legs[0].seats {
            if let Some(which) = seat.which().filter(|(cid, _)| cid.is_private()) {
                (seat.cid, seat.status) = (None, Status::Elsewhere);
                left.push((*key, which));
            }
        }
        let streams: Vec<_> =
            self.documents.iter().filter(|d| d.leg == id).map(|d| d.stream).collect();
        for (key, channel) in left {
            self.call_close(id, channel);
            let (merge, mut sink) = self.merging(now);
            streams.iter().for_each(|stream| merge.leave(key, *stream, &mut sink));
        }
    }

    /// What the main leg's server numbers for itself is followed, wherever it differs.
    pub(crate) fn follow_main(&mut self, now: Instant) {
        let site = self.legs[0].number;
        let (merge, sink) = self.merging(now);
        merge.set_main(site, &sink);
    }

    /// Routes that are to have a leg beside the main one.
    fn routes_apart(&self) -> Vec<RouteId> {
        let main = &self.legs[0];
        if !self.runs(main) || main.leaving.is_some() || main.moving.is_some() {
            return self.legs[1..].iter().map(|leg| leg.route).collect();
        }
        let routes = u16::from(self.settings.routes);
        let places = u16::from(self.settings.duplicates).min(DOCUMENTS_MAX as u16 - 1);
        let all = (1..=places.min(routes - 1))
            .map(|step| RouteId(((u16::from(main.route.0) + step) % routes) as u8));
        all.filter(|route| main.foreign.contains(route)).collect()
    }

    fn add_leg(&mut self, route: RouteId, now: Instant) {
        self.last_leg += 1;
        let mut leg = Leg::new(LegId(self.last_leg), route, &self.settings, now);
        let backoff = self.channel_backoff();
        let open = |(_, channel): &(_, &Channel)| !channel.over;
        for (key, _) in self.channels.iter().filter(open) {
            leg.seat(*key, backoff, now);
        }
        self.legs.push(leg);
    }

    /// Gives up a leg with its session.
    fn drop_leg(&mut self, id: LegId, now: Instant) {
        self.call_logout(id);
        let streams: Vec<_> =
            self.documents.iter().filter(|d| d.leg == id).map(|d| d.stream).collect();
        for stream in streams {
            self.drop_document(stream, true, now);
        }
        self.legs.retain(|leg| leg.id != id);
        self.ask_main_again(now);
    }

    /// Channels that only a leg had which is no more: the main server would not have them, and is
    /// asked once again, so that it ends them or has them.
    fn ask_main_again(&mut self, now: Instant) {
        let lives = |(_, channel): &(_, &Channel)| !channel.over;
        let keys: Vec<_> = self.channels.iter().filter(lives).map(|(key, _)| *key).collect();
        for key in keys {
            if self.legs.iter().all(|leg| leg.has_given_up(key))
                && let Some(seat) = self.legs[0].seats.get_mut(&key)
            {
                seat.status = Status::Wanted(now);
                self.legs[0].channels_at = now;
            }
        }
    }
}

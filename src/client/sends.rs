//! The agent's numbered sends: on the wire until their fate is known.

use crate::base::id::Cid;
use crate::base::reason::{ErrorCode, SendOutcome};
use crate::base::time::{Instant, Span};
use crate::client::agent::Agent;
use crate::client::answer::{Answer, Refused};
use crate::client::calls::Kind;
use crate::client::channel::{Seat, Status};
use crate::client::event::{CallId, ChannelKey, Fate, RouteId, SendId};
use crate::client::outbox::Due;
use crate::wire::command::encode_query;

impl Agent {
    /// When the next send is due.
    pub(crate) fn sends_at(&self) -> Instant {
        let window = self.settings.send_window;
        let main = &self.legs[0];
        let fresh = main.leaving.is_none();
        let ready = self
            .sending
            .iter()
            .filter(|key| main.seats.get(key).is_some_and(|seat| seat.cid.is_some()));
        let sends = ready.filter_map(|key| self.channels.get(key));
        let next = sends.filter_map(|channel| channel.outbox.next_at(window, fresh)).min();
        next.unwrap_or(Instant::NEVER)
    }

    /// Whether a send has a number in the main leg's session, and no fate yet.
    pub(crate) fn has_undecided(&self) -> bool {
        self.channels.values().any(|channel| channel.outbox.has_numbered())
    }

    /// Puts the sends that are due on the wire.
    pub(crate) fn call_sends(&mut self, now: Instant) {
        let main = self.legs[0].id;
        for key in std::mem::take(&mut self.sending) {
            self.refuse_sends(key);
            while let Some((cid, call, due)) = self.next_send(key, now) {
                self.counters.sends += 1;
                self.counters.resends += u64::from(due.again);
                let (cid, n) = (cid.to_string(), due.n.to_string());
                let mut pairs = vec![("cid", cid.as_str()), ("n", n.as_str())];
                pairs.extend(due.word.as_deref().map(|word| ("id", word)));
                let query = encode_query(&pairs);
                if let Some(route) = self.second_route() {
                    let copy = CallId(self.next_id());
                    if let Some(channel) = self.channels.get_mut(&key) {
                        channel.outbox.double(call, copy);
                    }
                    let what = (Kind::Send(key), copy, route);
                    self.call_over(main, what, ("send", &query), Some(due.payload.clone()));
                }
                let what = (Kind::Send(key), call, self.legs[0].route);
                self.call_over(main, what, ("send", &query), Some(due.payload));
            }
            if self.channels.get(&key).is_some_and(|channel| !channel.outbox.is_empty()) {
                self.sending.insert(key);
            }
        }
    }

    /// Where the main leg's server will not have the channel, though another may, nobody hears what
    /// is sent on it.
    fn refuse_sends(&mut self, key: ChannelKey) {
        let refused = |seat: &Seat| seat.status == Status::Refused;
        if self.legs[0].seats.get(&key).is_some_and(refused)
            && let Some(channel) = self.channels.get_mut(&key)
        {
            let fates = channel.outbox.end();
            self.tell_fates(key, fates);
        }
    }

    /// Another way to the main leg's server than its own, that is known to lead there: one of its
    /// documents takes it.
    fn second_route(&self) -> Option<RouteId> {
        let main = &self.legs[0];
        let mut documents = self.documents.iter().filter(|d| d.is_running() && d.is_of(main));
        let other = documents.find(|document| document.route != main.route);
        other.filter(|_| self.settings.double_sends).map(|document| document.route)
    }

    fn next_send(&mut self, key: ChannelKey, now: Instant) -> Option<(Cid, CallId, Due)> {
        let call = CallId(self.next_id());
        let main = &mut self.legs[0];
        let fresh = main.leaving.is_none();
        let cid = main.seats.get(&key)?.cid?;
        let next = main.numbers.entry(cid).or_insert(1);
        let outbox = &mut self.channels.get_mut(&key)?.outbox;
        let due = outbox.next_due(call, (self.settings.send_window, fresh), next, now)?;
        Some((cid, call, due))
    }

    pub(crate) fn answer_send(
        &mut self,
        key: ChannelKey,
        call: CallId,
        answer: Result<Answer, Refused>,
        wait: Span,
        now: Instant,
    ) {
        let main = self.legs[0].id;
        let at = now + self.call_wait(main).max(wait);
        let Some(channel) = self.channels.get_mut(&key) else { return };
        let fate = match answer.map(|answer| answer.outcome()) {
            Ok(Some(SendOutcome::Held)) => {
                channel.outbox.hold(call, now + self.settings.held_timeout);
                return;
            }
            Ok(outcome) => Fate::from_outcome(outcome.unwrap_or(SendOutcome::Taken)),
            Err(refused) if refused.is_of_session() => {
                self.doubt_session(main, now);
                None
            }
            Err(Refused { expected: Some(expected), .. })
                if channel.outbox.is_out_of_reach(call, expected) =>
            {
                self.renew_session(now);
                None
            }
            Err(refused) if refused.is_passing() => None,
            Err(Refused { code: Some(ErrorCode::Skipped), .. }) => Some(Fate::Skipped),
            Err(_) if channel.outbox.may_have_arrived(call) => Some(Fate::Unknown),
            Err(refused) => Some(Fate::Refused(refused.into_failure())),
        };
        match fate {
            None => self.retry_send(key, call, at),
            Some(fate) => {
                self.main().call_backoff.reset();
                self.settle_call(key, call, fate);
            }
        }
    }

    fn settle_call(&mut self, key: ChannelKey, call: CallId, fate: Fate) {
        let settled = self.channels.get_mut(&key).and_then(|c| c.outbox.settle_call(call));
        let fates: Vec<(SendId, Fate)> = settled.map(|id| (id, fate)).into_iter().collect();
        self.tell_fates(key, fates);
        self.sending.insert(key);
    }

    /// Begins a new session beside the main one, which is left when the new one carries everything.
    fn renew_session(&mut self, now: Instant) {
        let main = self.main();
        main.moving = Some(main.route);
        main.leaving = Some(now);
        main.document_at = now;
    }

    pub(crate) fn retry_send(&mut self, key: ChannelKey, call: CallId, at: Instant) {
        if let Some(channel) = self.channels.get_mut(&key) {
            channel.outbox.retry(call, at);
            self.sending.insert(key);
        }
    }
}

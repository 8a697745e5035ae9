//! The agent reads its documents: each frame finds its channel.

use crate::base::id::Cid;
use crate::base::name::TopicName;
use crate::base::reason::{ChannelEnd, DocumentEnd, SendOutcome};
use crate::base::time::{Instant, Span};
use crate::client::agent::Agent;
use crate::client::channel::{Status, comes_back};
use crate::client::document::{Phase, Purpose};
use crate::client::event::{ChannelKey, Event, Failure, Fate, SendId, StreamId};
use crate::client::leg::{LegId, Session};
use crate::client::login::Renewal;
use crate::client::track::Item;
use crate::html::frame::Identity;
use crate::html::scan::Frame;

/// Bytes that are kept of an error answer.
const REFUSAL_BYTES_MAX: usize = 4096;

impl Agent {
    /// Takes bytes of a document.
    pub(crate) fn read(&mut self, stream: StreamId, bytes: &[u8], now: Instant) {
        let Some(document) = self.document(stream) else { return };
        if document.unsealer.is_none() {
            document.hear(now);
        }
        if let Phase::Refused(_) = document.phase {
            let room = REFUSAL_BYTES_MAX.saturating_sub(document.refusal.len());
            document.refusal.extend_from_slice(&bytes[..bytes.len().min(room)]);
            return;
        }
        let mut opened = Vec::new();
        let mut fault = None;
        if let Some(unsealer) = &mut document.unsealer {
            let before = unsealer.opened();
            fault = unsealer.push(bytes, &mut opened).err();
            if unsealer.opened() > before {
                // Anybody on the way can send bytes; that the server lives, its lines alone tell.
                document.hear(now);
            }
        }
        let lines = if document.unsealer.is_some() { &opened[..] } else { bytes };
        let Some(mut scanner) = document.scanner.take() else { return };
        self.counters.bytes += bytes.len() as u64;
        let result = scanner.push(lines, |frame| self.take_frame(stream, frame, now));
        let Some(document) = self.document(stream) else { return };
        document.scanner = Some(scanner);
        let failure = match (fault, result) {
            (Some(fault), _) => {
                self.counters.seal_faults += 1;
                fault.to_string()
            }
            (None, Err(error)) => error.to_string(),
            (None, Ok(())) => return,
        };
        self.abandon(stream, Failure::Broken(failure), now);
    }

    fn take_frame(&mut self, stream: StreamId, frame: Frame<'_>, now: Instant) {
        // A frame before it may have ended the document.
        let Some(document) = self.document(stream) else { return };
        if let Frame::Identity { identity, .. } = frame {
            if !document.is_running() {
                self.begin(stream, &identity, now);
            }
            return;
        }
        if !document.is_running() {
            return; // the first frame is the identity; what comes before belongs to nobody
        }
        match frame {
            Frame::Message { c, n, snapshot, payload } => {
                self.take_item((stream, c), Item::Message { n, snapshot, payload }, now);
            }
            Frame::Gap { c, ep, n, missing } => {
                self.take_item((stream, c), Item::Gap { ep, n, missing }, now);
            }
            Frame::Closed { c, life, e } => {
                let life = life.unwrap_or_else(|| document.life(c));
                self.take_closed((stream, c), life, e, now);
            }
            Frame::Opened { c, life, name, ep, n, head } => {
                let life = document.carry(c, life);
                self.take_opened((stream, c), (life, &name), Item::Opened { ep, n, head }, now);
            }
            Frame::Refused { name, .. } => self.take_refused(stream, &name, now),
            Frame::Outcome { c, n, e } => self.take_outcome(stream, c, n, e),
            Frame::Heartbeat { interval, .. } => {
                document.heartbeat = interval.max(Span::from_millis(1));
                let (demands, beat) = (document.demands, document.beat());
                self.counters.heartbeats += 1;
                if demands && let Some(leg) = self.current_leg(stream) {
                    leg.beat_at = leg.beat_at.min(now + beat);
                }
            }
            Frame::Move { e, within } => {
                self.take_move(stream, &e, within.unwrap_or(Span::ZERO), now);
            }
            Frame::End { e, spread } => self.take_end(stream, e, spread, now),
            Frame::Identity { .. } | Frame::Routes { .. } | Frame::Unknown { .. } => {}
        }
    }

    fn begin(&mut self, stream: StreamId, identity: &Identity<'_>, now: Instant) {
        let Some(document) = self.documents.iter().find(|d| d.stream == stream) else { return };
        let (id, route, purpose) = (document.leg, document.route, document.purpose);
        let Some(leg) = self.legs.iter().find(|leg| leg.id == id) else { return };
        let held = leg.session.as_ref();
        let same = held.is_some_and(|held| held.scs == identity.scs && held.mid == identity.mid);
        if document.is_strange(identity, same) {
            let what = "a document of another session".to_owned();
            return self.abandon(stream, Failure::Broken(what), now);
        }
        if purpose == Purpose::Duplicate && !same {
            // The session that it was asked for is over.
            return self.drop_document(stream, true, now);
        }
        let new = purpose == Purpose::Session || !same;
        if new {
            self.lose_session(id);
            self.counters.sessions += 1;
        }
        let period = self.settings.refresh.unwrap_or(identity.refresh);
        // A client that refreshes a little early at random does not meet all others doing so.
        let replace_at = now + (period - self.random_below(period.fraction(1, 10)));
        let open_until = now + self.settings.open_timeout;
        let Self { legs, documents, .. } = self;
        let Some(leg) = legs.iter_mut().find(|leg| leg.id == id) else { return };
        let Some(document) = documents.iter_mut().find(|d| d.stream == stream) else { return };
        if new {
            let told = || Session {
                scs: identity.scs.to_owned(),
                mid: identity.mid,
                key: identity.key.map(str::to_owned),
                seal: None,
            };
            leg.session = Some(document.made.take().unwrap_or_else(told));
            leg.renewal = Renewal::new(document.expires);
        }
        document.begin(identity, leg.number, now);
        leg.begin(document, open_until, now);
        if purpose == Purpose::Duplicate {
            document.replace_at = replace_at;
        } else {
            leg.document_at = replace_at;
            (leg.route, leg.failed, leg.moving) = (route, 0, None);
        }
        let number = leg.number;
        self.merge.begin_site(stream, number);
        self.follow_main(now);
        self.tell_state();
        self.events.push_back(Event::Session {
            scs: identity.scs.to_owned(),
            mid: identity.mid,
            d: identity.d,
            new,
            route,
        });
    }

    /// The server asks that the document have a successor within `within`.
    fn take_move(&mut self, stream: StreamId, why: &str, within: Span, now: Instant) {
        if why == "expiry" {
            // A successor would not help.
            return self.take_expiry(stream, within, now);
        }
        // Not all at once; three quarters leave time for the successor to begin.
        let latest = within.fraction(3, 4);
        let at = now + self.random_below(latest);
        let Some(document) = self.document(stream) else { return };
        if document.is_duplicate() && why != "drain" {
            document.replace_at = document.replace_at.min(at);
        } else if let Some(leg) = self.current_leg(stream) {
            leg.document_at = leg.document_at.min(at);
            if why == "drain" {
                leg.leaving.get_or_insert(now + latest);
            }
        }
    }

    fn take_item(&mut self, id: (StreamId, Cid), item: Item<'_>, now: Instant) {
        let (merge, mut sink) = self.merging(now);
        merge.handle(id, item, &mut sink);
        if !self.ended.is_empty() {
            self.end_channels(now);
        }
    }

    fn take_opened(
        &mut self,
        id: (StreamId, Cid),
        (life, name): (u32, &TopicName),
        item: Item<'_>,
        now: Instant,
    ) {
        let key = self.names.get(name).copied();
        if let Some(leg) = self.current_leg(id.0) {
            let (leg_id, over) = (leg.id, leg.is_over((id.1, life)));
            if key.is_none() {
                // The consumer has left before the channel was there, or its word was lost.
                self.call_close(leg_id, (id.1, life));
            }
            if over {
                return self.pass_over(id, now);
            }
            if let Some(key) = key
                && !self.name_channel(leg_id, key, (id.1, life))
            {
                return;
            }
        }
        let Some(key) = key else {
            self.counters.strays += 1;
            return;
        };
        let (merge, mut sink) = self.merging(now);
        merge.handle_opened(id, key, item, &mut sink);
        if !self.ended.is_empty() {
            self.end_channels(now);
        }
    }

    /// What the document says of a channel is of one that is over.
    fn pass_over(&mut self, id: (StreamId, Cid), now: Instant) {
        self.counters.strays += 1;
        let (merge, mut sink) = self.merging(now);
        merge.drop_lane(id, &mut sink);
        if !self.ended.is_empty() {
            self.end_channels(now);
        }
    }

    fn take_closed(&mut self, id: (StreamId, Cid), life: u32, end: ChannelEnd, now: Instant) {
        let current = match self.current_leg(id.0) {
            Some(leg) if leg.is_over((id.1, life)) => return self.pass_over(id, now),
            Some(leg) => {
                leg.set_over((id.1, life));
                Some(leg.id)
            }
            None => None,
        };
        let Some(key) = self.channel_of(id.0, id.1) else {
            self.counters.strays += 1;
            return;
        };
        let lives = self.channels.get(&key).is_some_and(|channel| !channel.over);
        let Some(leg) = current else {
            // Where it ended in a session left behind, the one of now will say so itself.
            if !lives {
                let (merge, mut sink) = self.merging(now);
                merge.handle_closed(id, key, end, &mut sink);
            }
            return;
        };
        let others = self.streams_beside(leg, key);
        if lives && self.merge.lives_on(key, &others) {
            // This server has it no more, and another has.
            let (merge, mut sink) = self.merging(now);
            merge.leave(key, id.0, &mut sink);
            return self.end_seat(leg, key, end, now);
        }
        let (merge, mut sink) = self.merging(now);
        merge.handle_closed(id, key, end, &mut sink);
        if !self.ended.is_empty() {
            self.end_channels(now);
        }
    }

    /// The documents of other legs, of their sessions of now, that may carry the channel on.
    fn streams_beside(&self, leg: LegId, key: ChannelKey) -> Vec<StreamId> {
        let legs = self.legs.iter().filter(|other| other.id != leg && !other.has_given_up(key));
        let documents = legs.flat_map(|leg| self.documents.iter().filter(|d| d.is_of(leg)));
        documents.map(|document| document.stream).collect()
    }

    /// A channel asked for with the document was not opened. The answer to a command says why.
    fn take_refused(&mut self, stream: StreamId, name: &TopicName, now: Instant) {
        let Some(key) = self.names.get(name).copied() else { return };
        if let Some(leg) = self.current_leg(stream)
            && let Some(seat) = leg.seats.get(&key)
            && matches!(seat.status, Status::Asked(until) if until != Instant::NEVER)
        {
            leg.want(key, now);
        }
    }

    /// Acts on the channels that the merge has seen end.
    pub(crate) fn end_channels(&mut self, now: Instant) {
        for (key, end) in std::mem::take(&mut self.ended) {
            for leg in self.leg_ids() {
                self.end_seat(leg, key, end, now);
            }
            if !comes_back(end) && self.channels.contains_key(&key) {
                self.end_channel(key);
            }
        }
    }

    /// The channel has ended in the leg's session. Whoever wants it still asks anew, and learns.
    fn end_seat(&mut self, leg: LegId, key: ChannelKey, end: ChannelEnd, now: Instant) {
        let Self { legs, random, .. } = self;
        let Some(leg) = legs.iter_mut().find(|other| other.id == leg) else { return };
        let Some(seat) = leg.seats.get_mut(&key) else { return };
        seat.cid = None;
        if seat.status == Status::Elsewhere {
            return;
        }
        if comes_back(end) {
            let at = now + seat.backoff.wait(random);
            seat.status = Status::Wanted(at);
            leg.channels_at = leg.channels_at.min(at);
        } else {
            seat.status = Status::Refused;
        }
    }

    /// The channel is over; its name may be subscribed to again.
    pub(crate) fn end_channel(&mut self, key: ChannelKey) {
        let Some(channel) = self.channels.get_mut(&key) else { return };
        channel.over = true;
        self.merge.end(key);
        self.names.remove(&channel.request.name);
        let fates = channel.outbox.end();
        self.sending.remove(&key);
        for leg in &mut self.legs {
            if let Some(seat) = leg.seats.get_mut(&key) {
                (seat.cid, seat.status) = (None, Status::Refused);
            }
        }
        self.tell_fates(key, fates);
    }

    /// Tells the consumer what became of sends.
    pub(crate) fn tell_fates(&mut self, channel: ChannelKey, fates: Vec<(SendId, Fate)>) {
        self.counters.sends_done += fates.len() as u64;
        let told = fates.into_iter().map(|(id, fate)| Event::Sent { channel, id, fate });
        self.events.extend(told);
    }

    fn take_outcome(&mut self, stream: StreamId, cid: Cid, n: u64, outcome: SendOutcome) {
        let main = self.legs[0].id;
        let leg = self.current_leg(stream).filter(|leg| leg.id == main);
        let (Some(fate), Some(key)) =
            (Fate::from_outcome(outcome), leg.and_then(|leg| leg.channel(cid)))
        else {
            return;
        };
        let Some(channel) = self.channels.get_mut(&key) else { return };
        if let Some(id) = channel.outbox.settle(n) {
            self.tell_fates(key, vec![(id, fate)]);
        }
    }

    fn take_end(&mut self, stream: StreamId, end: DocumentEnd, spread: Option<Span>, now: Instant) {
        if end == DocumentEnd::Logout
            && let Some(leg) = self.current_leg(stream).map(|leg| leg.id)
        {
            self.lose_session(leg);
        }
        let wait = self.random_below(spread.unwrap_or(Span::ZERO));
        if end == DocumentEnd::Refreshed && self.is_followed(stream) {
            self.counters.refreshes += 1;
            self.drop_document(stream, true, now);
            return;
        }
        if let Some(document) = self.document(stream) {
            document.retry_after = wait;
        }
        self.abandon(stream, Failure::Ended(end.word()), now);
    }

    pub(crate) fn random_below(&mut self, span: Span) -> Span {
        Span::from_nanos(self.random.below(span.as_nanos().saturating_add(1)))
    }
}

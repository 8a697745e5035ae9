//! The agent reads its documents: each frame finds its channel.

use crate::base::id::{Cid, Epoch, Offset};
use crate::base::name::TopicName;
use crate::base::reason::{ChannelEnd, DocumentEnd, SendOutcome};
use crate::base::time::{Instant, Span};
use crate::client::agent::{Agent, Session};
use crate::client::channel::{Channel, Status};
use crate::client::document::{Phase, Purpose};
use crate::client::event::{ChannelKey, Event, Failure, Fate, SendId, StreamId};
use crate::client::track::Item;
use crate::html::frame::Identity;
use crate::html::scan::Frame;

/// Bytes that are kept of an error answer.
const REFUSAL_BYTES_MAX: usize = 4096;

impl Agent {
    /// Takes bytes of a document.
    pub(crate) fn read(&mut self, stream: StreamId, bytes: &[u8], now: Instant) {
        let Some(document) = self.document(stream) else { return };
        document.last_byte = now;
        document.quiet = false;
        if let Phase::Refused(_) = document.phase {
            let room = REFUSAL_BYTES_MAX.saturating_sub(document.refusal.len());
            document.refusal.extend_from_slice(&bytes[..bytes.len().min(room)]);
            return;
        }
        let Some(mut scanner) = document.scanner.take() else { return };
        self.counters.bytes += bytes.len() as u64;
        let result = scanner.push(bytes, |frame| self.take_frame(stream, frame, now));
        if let Some(document) = self.document(stream) {
            document.scanner = Some(scanner);
            if let Err(error) = result {
                self.abandon(stream, Failure::Broken(error.to_string()), now);
            }
        }
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
            Frame::Closed { c, e } => self.take_closed((stream, c), e, now),
            Frame::Opened { c, name, ep, n, head } => {
                self.take_opened((stream, c), &name, (ep, n, head), now);
            }
            Frame::Refused { name, .. } => self.take_refused(stream, &name, now),
            Frame::Outcome { c, n, e } => self.take_outcome(c, n, e),
            Frame::Heartbeat { interval, .. } => {
                document.heartbeat = interval.max(Span::from_millis(1));
                self.counters.heartbeats += 1;
            }
            Frame::Move { within, .. } => {
                // Not all at once; three quarters leave time for the successor to begin.
                let wait = self.random_below(within.unwrap_or(Span::ZERO).fraction(3, 4));
                self.replace_by(stream, now + wait);
            }
            Frame::End { e, spread } => self.take_end(stream, e, spread, now),
            Frame::Identity { .. } | Frame::Routes { .. } | Frame::Unknown { .. } => {}
        }
    }

    fn begin(&mut self, stream: StreamId, identity: &Identity<'_>, now: Instant) {
        let held = self.session.as_ref().map(|session| session.mid);
        let Some(document) = self.document(stream) else { return };
        if document.is_duplicate() && held != Some(identity.mid) {
            // The session that it was asked for is over.
            return self.drop_document(stream, true, now);
        }
        let new = document.purpose == Purpose::Session || held != Some(identity.mid);
        document.phase = Phase::Running;
        document.since = now;
        document.d = identity.d;
        document.heartbeat = identity.heartbeat.max(Span::from_millis(1));
        let opens = std::mem::take(&mut document.opens);
        if new {
            self.lose_session();
            self.counters.sessions += 1;
            self.session = Some(Session {
                scs: identity.scs.to_owned(),
                mid: identity.mid,
                key: identity.key.map(str::to_owned),
            });
        }
        let count = self.session_count;
        if let Some(document) = self.document(stream) {
            document.session = count;
        }
        let until = now + self.settings.open_timeout;
        for key in &opens {
            if let Some(channel) = self.channels.get_mut(key)
                && matches!(channel.status, Status::Wanted(_) | Status::Asked(_))
            {
                channel.status = Status::Asked(until);
            }
        }
        self.channels_at = now;
        // A client that refreshes a little early at random does not meet all others doing so.
        let period = self.settings.refresh.unwrap_or(identity.refresh);
        let early = self.random_below(period.fraction(1, 10));
        if let Some(document) = self.document(stream).filter(|document| document.is_duplicate()) {
            document.replace_at = now + (period - early);
        } else {
            self.document_at = now + (period - early);
        }
        self.tell_state();
        self.events.push_back(Event::Session {
            scs: identity.scs.to_owned(),
            mid: identity.mid,
            d: identity.d,
            new,
        });
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
        name: &TopicName,
        (ep, n, head): (Epoch, Offset, Offset),
        now: Instant,
    ) {
        let current = self.is_current(id.0);
        let Some(&key) = self.names.get(name) else {
            // The consumer has left before the channel was there.
            self.counters.strays += 1;
            if current {
                self.call_close(id.1);
            }
            return;
        };
        if current && let Some(channel) = self.channels.get_mut(&key) {
            channel.status = Status::Open;
            channel.backoff.reset();
            self.name_channel(key, id.1, 1);
        }
        let (merge, mut sink) = self.merging(now);
        merge.handle_opened(id, key, Item::Opened { ep, n, head }, &mut sink);
        if !self.ended.is_empty() {
            self.end_channels(now);
        }
    }

    fn take_closed(&mut self, id: (StreamId, Cid), end: ChannelEnd, now: Instant) {
        let current = self.is_current(id.0);
        let named = self.merge.channel(id.0, id.1);
        let Some(key) = named.or_else(|| self.channel_of(id.1).filter(|_| current)) else {
            self.counters.strays += 1;
            return;
        };
        let lives = |channel: &Channel| channel.status != Status::Ended;
        if !current && self.channels.get(&key).is_some_and(lives) {
            return; // it ended in a session left behind; the one of now will say so itself
        }
        let (merge, mut sink) = self.merging(now);
        merge.handle_closed(id, key, end, &mut sink);
        if !self.ended.is_empty() {
            self.end_channels(now);
        }
    }

    /// A channel asked for with the document was not opened. The answer to a command says why.
    fn take_refused(&mut self, stream: StreamId, name: &TopicName, now: Instant) {
        let Some(key) = self.names.get(name).copied().filter(|_| self.is_current(stream)) else {
            return;
        };
        if let Some(channel) = self.channels.get_mut(&key)
            && matches!(channel.status, Status::Asked(until) if until != Instant::NEVER)
        {
            channel.status = Status::Wanted(now);
            self.channels_at = now;
        }
    }

    fn is_current(&self, stream: StreamId) -> bool {
        let mut documents = self.documents.iter();
        documents.any(|d| d.stream == stream && d.session == self.session_count)
    }

    /// Acts on the channels that the merge has seen end.
    pub(crate) fn end_channels(&mut self, now: Instant) {
        for (key, end) in std::mem::take(&mut self.ended) {
            let Some(channel) = self.channels.get_mut(&key) else { continue };
            channel.cid = None;
            // `closed` without our asking: it ended while no document told of it, as it may when
            // a session is found again. Whoever wants it still asks anew, and learns.
            if matches!(end, ChannelEnd::Gone | ChannelEnd::Closed) {
                let at = now + channel.backoff.wait(&mut self.random);
                channel.status = Status::Wanted(at);
                self.channels_at = self.channels_at.min(at);
            } else {
                self.end_channel(key);
            }
        }
    }

    /// The channel is over; its name may be subscribed to again.
    pub(crate) fn end_channel(&mut self, key: ChannelKey) {
        let Some(channel) = self.channels.get_mut(&key) else { return };
        channel.status = Status::Ended;
        channel.cid = None;
        self.names.remove(&channel.request.name);
        let fates = channel.outbox.end();
        self.sending.remove(&key);
        self.tell_fates(key, fates);
    }

    /// Tells the consumer what became of sends.
    pub(crate) fn tell_fates(&mut self, channel: ChannelKey, fates: Vec<(SendId, Fate)>) {
        self.counters.sends_done += fates.len() as u64;
        let told = fates.into_iter().map(|(id, fate)| Event::Sent { channel, id, fate });
        self.events.extend(told);
    }

    fn take_outcome(&mut self, cid: Cid, n: u64, outcome: SendOutcome) {
        let (Some(fate), Some(key)) = (Fate::from_outcome(outcome), self.channel_of(cid)) else {
            return;
        };
        let Some(channel) = self.channels.get_mut(&key) else { return };
        if let Some(id) = channel.outbox.settle(n) {
            self.tell_fates(key, vec![(id, fate)]);
        }
    }

    fn take_end(&mut self, stream: StreamId, end: DocumentEnd, spread: Option<Span>, now: Instant) {
        if end == DocumentEnd::Logout && self.is_current(stream) {
            self.lose_session();
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

    /// The document is to have a successor at `at` or before.
    fn replace_by(&mut self, stream: StreamId, at: Instant) {
        let Some(document) = self.document(stream) else { return };
        if document.is_duplicate() {
            document.replace_at = document.replace_at.min(at);
        } else {
            self.document_at = self.document_at.min(at);
        }
    }

    pub(crate) fn random_below(&mut self, span: Span) -> Span {
        Span::from_nanos(self.random.below(span.as_nanos().saturating_add(1)))
    }
}

//! What the consumer asks of the agent.

use std::fmt;

use crate::base::backoff::Backoff;
use crate::base::limits;
use crate::base::time::{Instant, Span};
use crate::client::agent::Agent;
use crate::client::channel::Channel;
use crate::client::event::{ChannelKey, RouteId, SendId};
use crate::client::leg::Leg;
use crate::wire::command::OpenRequest;

/// A channel whose resource is not there is asked for again at least this often: the question is
/// short, and whoever starts the resource wants to see its consumers.
const CHANNEL_WAIT_MAX: Span = Span::from_secs(5);

/// Why a command to the agent was not taken: the caller's mistake, or the agent has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misuse {
    /// The agent has a channel on this topic; one is enough.
    AlreadySubscribed(ChannelKey),
    /// The agent has no such channel, or it has ended.
    NoChannel,
    /// The payload is larger than any server takes.
    TooLarge,
    /// The word sent along is not 1 to 64 bytes without control characters.
    Word,
    /// The agent was stopped.
    Stopped,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AlreadySubscribed(_) => "there is a channel on this topic already",
            Self::NoChannel => "there is no such channel, or it has ended",
            Self::TooLarge => "the payload is larger than 64 KiB",
            Self::Word => "the word is not 1 to 64 bytes without control characters",
            Self::Stopped => "the agent was stopped",
        })
    }
}

impl std::error::Error for Misuse {}

impl Agent {
    /// Asks for a channel. The agent opens its session by itself with the first.
    ///
    /// # Errors
    /// [`Misuse`] if there is one on this topic, or the agent was stopped.
    pub fn subscribe(&mut self, request: OpenRequest, now: Instant) -> Result<ChannelKey, Misuse> {
        let key = self.subscribe_quietly(request, now)?;
        self.drive(now);
        Ok(key)
    }

    /// As [`Agent::subscribe`] for each of `requests`, so that one request to the server asks for
    /// all of them.
    ///
    /// # Errors
    /// The first [`Misuse`]; the channels before it were asked for.
    pub fn subscribe_all(
        &mut self,
        requests: impl IntoIterator<Item = OpenRequest>,
        now: Instant,
    ) -> Result<Vec<ChannelKey>, Misuse> {
        let all = requests.into_iter().map(|request| self.subscribe_quietly(request, now));
        let keys = all.collect();
        self.drive(now);
        keys
    }

    fn subscribe_quietly(
        &mut self,
        request: OpenRequest,
        now: Instant,
    ) -> Result<ChannelKey, Misuse> {
        if self.stopped {
            return Err(Misuse::Stopped);
        }
        if let Some(key) = self.names.get(&request.name) {
            return Err(Misuse::AlreadySubscribed(*key));
        }
        self.last_channel += 1;
        let key = ChannelKey(self.last_channel);
        self.merge.add(key, Channel::folds(&request), request.since);
        self.names.insert(request.name.clone(), key);
        let backoff = self.channel_backoff();
        self.channels.insert(key, Channel::new(request));
        for leg in &mut self.legs {
            leg.seat(key, backoff, now);
        }
        Ok(key)
    }

    /// The waits between attempts to open a channel.
    pub(crate) fn channel_backoff(&self) -> Backoff {
        let cap = self.settings.backoff.cap.min(CHANNEL_WAIT_MAX);
        Backoff { cap, ..self.settings.backoff }
    }

    /// Ends a channel. Nothing more is told of it, but the fate of its sends.
    ///
    /// # Errors
    /// [`Misuse::NoChannel`].
    pub fn unsubscribe(&mut self, key: ChannelKey, now: Instant) -> Result<(), Misuse> {
        let mut channel = self.channels.remove(&key).ok_or(Misuse::NoChannel)?;
        if self.names.get(&channel.request.name) == Some(&key) {
            self.names.remove(&channel.request.name);
        }
        self.merge.remove(key);
        self.sending.remove(&key);
        let fates = channel.outbox.end();
        self.tell_fates(key, fates);
        let mut left = Vec::new();
        for leg in &mut self.legs {
            let which = leg.seats.remove(&key).and_then(|seat| seat.which());
            left.extend(which.map(|which| (leg.id, which)));
        }
        for (leg, channel) in left {
            self.call_close(leg, channel);
        }
        self.drive(now);
        Ok(())
    }

    /// Sends `payload` to the channel's resource, numbered, so that it is taken once however often
    /// it must be put on the wire; [`Event::Sent`] tells its fate. `word` reaches the resource with
    /// it, which can recognise a send by it beyond the life of a session.
    ///
    /// [`Event::Sent`]: crate::client::event::Event::Sent
    ///
    /// # Errors
    /// [`Misuse`] if there is no such channel, or the payload or the word is too long.
    pub fn send(
        &mut self,
        key: ChannelKey,
        payload: Vec<u8>,
        word: Option<String>,
        now: Instant,
    ) -> Result<SendId, Misuse> {
        if self.stopped {
            return Err(Misuse::Stopped);
        }
        let open = |channel: &&mut Channel| !channel.over;
        let channel = self.channels.get_mut(&key).filter(open).ok_or(Misuse::NoChannel)?;
        if payload.len() > limits::PAYLOAD_BYTES_MAX {
            return Err(Misuse::TooLarge);
        }
        let legal =
            |word: &String| (1..=64).contains(&word.len()) && !word.chars().any(char::is_control);
        if !word.as_ref().is_none_or(legal) {
            return Err(Misuse::Word);
        }
        self.last_id += 1;
        let id = SendId(self.last_id);
        channel.outbox.push(id, word, payload);
        self.sending.insert(key);
        self.drive(now);
        Ok(id)
    }

    /// Opens successors of the documents that run now, one after the other.
    pub fn refresh(&mut self, now: Instant) {
        for document in self.documents.iter_mut().filter(|document| document.is_running()) {
            document.replace_at = now;
            if !document.is_duplicate()
                && let Some(leg) = self.legs.iter_mut().find(|leg| leg.id == document.leg)
            {
                leg.document_at = now;
            }
        }
        self.drive(now);
    }

    /// Moves to another route without an instant in which no document runs: the successor begins
    /// over `route`, in the same session where that leads to the same server, and only then the
    /// old document is closed. Where `route` does not work, everything stays as it is.
    pub fn change_route(&mut self, route: RouteId, now: Instant) {
        let running = self.runs(&self.legs[0]);
        if running && route.0 < self.settings.routes && route != self.legs[0].route {
            let running_there = |leg: &Leg| leg.route == route && self.runs(leg);
            let there = self.legs[1..].iter().any(running_there);
            let main = self.main();
            main.moving = Some(route);
            if !there {
                main.document_at = now;
            }
            self.drive(now);
        }
    }

    /// The route of the main document, and of commands.
    pub fn route(&self) -> RouteId {
        self.legs[0].route
    }

    /// Asks for another heartbeat interval, for the documents that run and for those to come. The
    /// server keeps it within its bounds; each heartbeat says what is in force.
    pub fn set_heartbeat(&mut self, interval: Span, now: Instant) {
        self.settings.heartbeat = Some(interval);
        for leg in self.leg_ids() {
            self.call_heartbeat(leg, interval);
        }
        self.drive(now);
    }

    /// Measures the time of a command's round trip: [`Event::RoundTrip`].
    ///
    /// [`Event::RoundTrip`]: crate::client::event::Event::RoundTrip
    pub fn ping(&mut self, now: Instant) {
        self.call_ping(now);
        self.drive(now);
    }

    /// Ends the session and everything else. What is still to be done is told by `poll_output`.
    pub fn stop(&mut self, now: Instant) {
        if self.stopped {
            return;
        }
        for leg in self.leg_ids() {
            self.call_logout(leg);
        }
        self.give_up(now);
    }
}

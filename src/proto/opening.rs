//! Opening a channel: the topic's home is asked, then the channel's cursors are set.

use std::net::SocketAddr;

use crate::auth::access::Asking;
use crate::base::id::{Cid, Key, Mid};
use crate::base::name::TopicName;
use crate::base::reason::{ChannelEnd, ErrorCode};
use crate::html::frame;
use crate::proto::answer::Answer;
use crate::proto::document::Cursor;
use crate::proto::hub::Hub;
use crate::proto::log::{Located, Missed};
use crate::proto::parcel::{Ask, Parcel, ReplyTo};
use crate::proto::resource::Consumer;
use crate::proto::session::{Channel, ChannelState, Strict};
use crate::proto::topic::{Role, Subscriber};
use crate::wire::open::{Mode, OpenRequest};
use crate::wire::position::Position;

const NO_STANDING_ORDERS: &str = "this server takes no standing orders (a subject that ends in *)";

/// What is wrong with an open, whoever asks.
fn check_request(request: &OpenRequest) -> Result<(), &'static str> {
    if request.cid.is_some_and(|cid| !cid.is_clients_choice()) {
        return Err("a client chooses cid from 1 to 1048575");
    }
    if request.name.subject().ends_with('*') {
        return Err(NO_STANDING_ORDERS);
    }
    Ok(())
}

/// The channel that an open asks for, before its topic is known.
fn channel_of(request: &OpenRequest, ask: Key, life: u32) -> Channel {
    Channel {
        cid: request.cid.unwrap_or(Cid(0)),
        state: ChannelState::Opening(ask),
        mode: request.mode,
        strict: if request.strict { Strict::Yes } else { Strict::No },
        // So many a second are as good as all.
        rate: u16::try_from(request.rate.unwrap_or(0)).unwrap_or(u16::MAX),
        life,
        opened: 0,
    }
}

/// An open that waits for the topic's home.
#[derive(Debug)]
pub struct Opening {
    pub(crate) session: Key,
    /// The channel's index in its session.
    channel: usize,
    pub(crate) chosen: Option<Cid>,
    pub(crate) name: TopicName,
    since: Option<Position>,
    pub(crate) consumer: Consumer,
    /// What access lists look at.
    pub(crate) asking: Asking,
    /// What the client tells the resource.
    pub(crate) parameters: Vec<String>,
    /// What the client has asked for, where the resource has named another subject.
    pub(crate) asked: Option<TopicName>,
    /// How often the resource has named another subject.
    pub(crate) hops: u8,
    /// Whether a document's `open=` asked for it, whose failure is told in the documents.
    pub(crate) in_document: bool,
    /// The commands that wait for it.
    pub(crate) replies: Vec<ReplyTo>,
}

impl Hub {
    /// Opens a channel; the answer, where one is wanted, comes now or when the home has ruled.
    pub(crate) fn open_channel(
        &mut self,
        session_key: Key,
        request: &OpenRequest,
        reply: Option<ReplyTo>,
        (address, asking): (SocketAddr, Asking),
    ) {
        let fail = |hub: &mut Self, code, detail: &str| {
            hub.open_failed(session_key, request.cid, &request.name, code, detail, reply);
        };
        if let Err(why) = check_request(request) {
            return fail(self, ErrorCode::BadRequest, why);
        }
        if let Err((code, detail)) = self.admit(&asking, &request.name, None) {
            return fail(self, code, &detail);
        }
        if let Some(index) = self.same_channel(session_key, request) {
            return self.open_again(session_key, index, reply);
        }
        if let Some(opening) = self.same_opening(session_key, request) {
            opening.in_document |= reply.is_none();
            opening.replies.extend(reply);
            return;
        }
        let Some(session) = self.sessions.get_mut(session_key) else { return };
        if request.cid.is_some_and(|cid| session.find_channel(cid).is_some()) {
            return fail(self, ErrorCode::Conflict, "this cid is another channel's");
        }
        if session.channel_count() >= self.settings.channels_max {
            return self.refuse_channel(session_key, request, reply);
        }
        let Some(mid) = Mid::new(self.shard, session_key) else { return };
        let (cid, identity) = (request.cid.unwrap_or(Cid(0)), asking.identity.clone());
        let consumer = Consumer { session: mid, cid, address, identity };
        let ask = self.openings.insert(Opening {
            session: session_key,
            channel: 0,
            chosen: request.cid,
            name: request.name.clone(),
            asked: None,
            since: request.since,
            consumer,
            asking,
            parameters: request.parameters.clone(),
            hops: 0,
            in_document: reply.is_none(),
            replies: reply.into_iter().collect(),
        });
        let index = session.add_channel(channel_of(request, ask, session.channels_ended));
        if let Some(opening) = self.openings.get_mut(ask) {
            opening.channel = index;
        }
        self.ask_home(ask, request);
    }

    /// The channel that an open without a new `cid` means, where it exists already.
    fn same_channel(&self, session: Key, request: &OpenRequest) -> Option<usize> {
        let session = self.sessions.get(session)?;
        session.channels.iter().position(|channel| {
            let same_topic = channel.topic().is_some_and(|slot| {
                self.topics.slots.at(slot).is_some_and(|topic| topic.name == request.name)
            });
            same_topic && request.cid.is_none_or(|cid| cid == channel.cid)
        })
    }

    /// The open of the same topic, under the same number, that waits for the home already.
    fn same_opening(&mut self, session: Key, request: &OpenRequest) -> Option<&mut Opening> {
        let session = self.sessions.get(session)?;
        let asks = session.channels.iter().filter_map(|channel| match channel.state {
            ChannelState::Opening(ask) => Some(ask),
            ChannelState::Vacant | ChannelState::Open(_) => None,
        });
        let same = |opening: &Opening| {
            let number = request.cid.is_none() || request.cid == opening.chosen;
            number && opening.name == request.name
        };
        let mut asks = asks.filter(|ask| self.openings.get(*ask).is_some_and(same));
        let ask = asks.next()?;
        self.openings.get_mut(ask)
    }

    /// The channel was closed, or its session has ended, before the home has ruled: only the latter
    /// is worth another try.
    pub(crate) fn call_off(&mut self, ask: Key, ended: bool) {
        let Some(opening) = self.openings.remove(ask) else { return };
        let (code, detail) = match ended {
            true => (ErrorCode::NoSession, "the session ended before the channel was open"),
            false => (ErrorCode::NoChannel, "the channel was closed before it was open"),
        };
        for reply in opening.replies {
            self.give(reply, Answer::error(code, detail));
        }
    }

    fn open_again(&mut self, session: Key, index: usize, reply: Option<ReplyTo>) {
        if let (Some(reply), Some(answer)) = (reply, self.open_answer(session, index)) {
            self.give(reply, answer);
        }
    }

    fn ask_home(&mut self, ask: Key, request: &OpenRequest) {
        let found = self.topics.find(&request.name);
        if let Some(slot) = found
            && let Some(topic) = self.topics.slots.at(slot)
            && !topic.options.ask_each
            && !topic.log.ended()
        {
            return self.settle_opening(ask, Ok(slot));
        }
        let Some(opening) = self.openings.get(ask) else { return };
        let (consumer, asking) = (opening.consumer.clone(), opening.asking.clone());
        let home = self.home_of(&request.name);
        *self.asks.entry(request.name.clone()).or_default() += 1;
        let (shard, parameters) = (self.shard, request.parameters.clone());
        let ask = Ask { shard, ask, name: request.name.clone(), consumer, asking, parameters };
        self.post(home, Parcel::Ask(Box::new(ask)));
    }

    /// The channel's topic is known, or why it has none.
    pub(crate) fn settle_opening(&mut self, ask: Key, outcome: Result<u32, (ErrorCode, String)>) {
        let Some(opening) = self.openings.remove(ask) else { return };
        let is_waiting = self.sessions.get(opening.session).is_some_and(|session| {
            session.channels[opening.channel].state == ChannelState::Opening(ask)
        });
        let slot = outcome.as_ref().ok().copied();
        if !is_waiting {
            return self.discard_private(slot);
        }
        // The list of its resource server is known only now; it may bound the rate.
        let outcome = outcome
            .and_then(|slot| self.admit_to(&opening.asking, slot).map(|bounds| (slot, bounds)));
        let Some(session) = self.sessions.get_mut(opening.session) else { return };
        let channel = &mut session.channels[opening.channel];
        let outcome = outcome.map(|(slot, bounds)| {
            channel.rate = bounds.limit(channel.rate);
            slot
        });
        let wants_newest = channel.mode == Mode::Latest || channel.rate > 0;
        let outcome = outcome.and_then(|slot| match self.topics.slots.at(slot) {
            Some(topic) if topic.options.latest || !wants_newest => Ok((slot, topic.number)),
            _ => Err((ErrorCode::Forbidden, "this topic is read in mode queue only".to_string())),
        });
        match outcome {
            Ok((slot, number)) => {
                let cid = opening.chosen.unwrap_or(number);
                let mut index = opening.channel;
                channel.state = ChannelState::Vacant;
                match session.find_channel(cid) {
                    // The same was asked for twice before the home had ruled.
                    Some(other) => index = other,
                    None => {
                        session.channels[index].cid = cid;
                        session.channels[index].state = ChannelState::Open(slot);
                        if let Some(topic) = self.topics.slots.at_mut(slot) {
                            topic.channels += 1;
                        }
                        self.attach(opening.session, index, slot, opening.since);
                    }
                }
                // A document's `open=` has no answer, and none is made.
                if !opening.replies.is_empty()
                    && let Some(answer) = self.open_answer(opening.session, index)
                {
                    for reply in opening.replies {
                        self.give(reply, answer.clone());
                    }
                }
                self.end_overrun(opening.session, index);
            }
            Err((code, detail)) => {
                channel.state = ChannelState::Vacant;
                self.discard_private(slot);
                self.opening_failed(opening, code, &detail);
            }
        }
    }

    fn discard_private(&mut self, slot: Option<u32>) {
        let Some(slot) = slot else { return };
        if let Some(topic) = self.topics.slots.at(slot)
            && topic.role == Role::Private
        {
            self.remove_topic(slot);
        }
    }

    /// Sets the new channel's place, and a cursor on each document.
    fn attach(&mut self, session: Key, index: usize, slot: u32, since: Option<Position>) {
        let Some(topic) = self.topics.slots.at(slot) else { return };
        let located = match since {
            Some(position) => topic.log.locate(position),
            None => {
                Located { place: topic.log.fresh(topic.options.state), missed: Missed::Nothing }
            }
        };
        let Some(session) = self.sessions.get_mut(session) else { return };
        let channel = &mut session.channels[index];
        channel.opened = located.place;
        let overrun = channel.strict != Strict::No && located.missed != Missed::Nothing;
        if overrun {
            channel.strict = Strict::Overrun;
        }
        for document in session.document_slots() {
            match overrun {
                true => self.tell_overrun(document, index, located),
                false => self.add_cursor(document, index, located),
            }
        }
    }

    /// Tells a document of a strict channel that history has passed: it was opened and has ended.
    pub(crate) fn tell_overrun(&mut self, slot: u32, index: usize, located: Located) {
        let Some(document) = self.documents.at_mut(slot) else { return };
        let Some(session) = self.sessions.at(document.session) else { return };
        let channel = &session.channels[index];
        let Some(topic) = channel.topic().and_then(|slot| self.topics.slots.at(slot)) else {
            return;
        };
        let located = Located { missed: Missed::Nothing, ..located };
        topic.put_opened(document.notes.get_mut(), (channel.cid, channel.life), located);
        frame::closed(document.notes.get_mut(), channel.cid, None, ChannelEnd::Overrun);
        self.name_document(slot);
    }

    /// Frees a strict channel that history has passed, once it was told; a session without a
    /// document keeps it until its first one comes.
    fn end_overrun(&mut self, session_key: Key, index: usize) {
        let Some(session) = self.sessions.get(session_key) else { return };
        let overrun = session.channels[index].strict == Strict::Overrun;
        if overrun && session.document_slots().next().is_some() {
            self.stats.overruns += 1;
            self.vacate(session_key, index, false);
        }
    }

    /// Sets a cursor of a document, and writes the frames that tell where it stands.
    pub(crate) fn add_cursor(&mut self, slot: u32, index: usize, located: Located) {
        let Some(document) = self.documents.at_mut(slot) else { return };
        let Some(session) = self.sessions.at(document.session) else { return };
        let channel = &session.channels[index];
        let Some(topic_slot) = channel.topic() else { return };
        let Some(topic) = self.topics.slots.at_mut(topic_slot) else { return };
        // A strict channel that has fallen behind ends when it is read, as it would have otherwise.
        let strict = channel.strict != Strict::No;
        let located = if strict { located } else { topic.log.still(located) };
        document.cursors.extend_to(index + 1, Cursor::VACANT);
        let own_number = channel.cid == topic.number;
        document.cursors[index] = Cursor {
            topic: topic_slot,
            subscriber: topic.subscribers.len() as u32,
            place: located.place,
            due: crate::base::time::Instant::ZERO,
            cid: if own_number { Cid(0) } else { channel.cid },
            rate: channel.rate,
            latest: channel.mode == Mode::Latest,
            strict,
        };
        document.rated |= channel.rate > 0;
        topic.subscribers.push(Subscriber { document: slot, cursor: index as u32 });
        topic.put_opened(document.notes.get_mut(), (channel.cid, channel.life), located);
        if located.missed != Missed::Nothing {
            self.stats.gaps += 1;
        }
        if located.place < topic.log.end().place {
            document.ready.set(index as u32);
        }
        self.name_document(slot);
    }

    /// The answer to `open`: `cid ep n head sn`, and `l` where channels have ended before.
    fn open_answer(&self, session: Key, index: usize) -> Option<Answer> {
        let session = self.sessions.get(session)?;
        let channel = session.channels.get(index)?;
        let topic = self.topics.slots.at(channel.topic()?)?;
        let before = topic.log.position_before(channel.opened);
        let next = session.inboxes.as_ref().map_or(1, |inboxes| inboxes.expected(channel.cid));
        let life = match channel.life {
            0 => String::new(),
            life => format!(",\"l\":{life}"),
        };
        Some(Answer::ok(&format!(
            ",\"cid\":{},\"ep\":\"{}\",\"n\":{},\"head\":{},\"sn\":{next}{life}",
            channel.cid,
            before.ep,
            before.n,
            topic.head_of(before)
        )))
    }

    /// The session has as many channels as it may.
    fn refuse_channel(&mut self, session: Key, request: &OpenRequest, reply: Option<ReplyTo>) {
        self.stats.met.channels += 1;
        let (code, detail) = (ErrorCode::TooMany, "too many channels in this session");
        self.open_failed(session, request.cid, &request.name, code, detail, reply);
    }
}

//! What a scripted client makes of the frames of its documents.

use crate::base::reason::{ChannelEnd, SendOutcome};
use crate::testing::channel::State;
use crate::testing::document::Seen;
use crate::testing::model::At;
use crate::testing::peer::Peer;
use crate::testing::reader::{Kind, Reader, Start};
use crate::testing::world::World;

impl Peer {
    /// A frame has come on the document at `index`.
    pub(crate) fn see(&mut self, index: usize, frame: Seen, world: &mut World) {
        world
            .note(|| format!("peer {} document {:?}: {frame:?}", self.id, self.docs[index].number));
        match frame {
            Seen::Identity(mid, _, _, key) => {
                self.docs[index].live_at = world.now;
                match (&self.session, key) {
                    (Some(session), _) => assert_eq!(session.mid, mid.get(), "another session"),
                    (None, Some(key)) => {
                        let asked_at = self.docs[index].asked_at;
                        self.begin_session(mid.get(), key, asked_at, world.life);
                    }
                    (None, None) => panic!("a new session without its key"),
                }
            }
            Seen::Opened(c, topic, ep, n, head) => {
                self.opened(index, c, &topic, (ep, n), head, world)
            }
            Seen::Closed(c, end) => self.closed(index, c, end, world),
            Seen::Refused(cid, topic, end) => self.refused(index, cid, &topic, end),
            Seen::Gap(c, ep, n, missing) => {
                let model = self.model.lock();
                self.docs[index].reader(c).gap(ep, n, missing, &model);
                drop(model);
                self.advance(index, c);
            }
            Seen::Message(c, n, snapshot, payload) => {
                let mut model = self.model.lock();
                self.docs[index].reader(c).message(n, snapshot, &payload, &mut model);
                drop(model);
                self.advance(index, c);
            }
            Seen::Outcome(c, n, outcome) => {
                let Some(session) = &mut self.session else { panic!("an outcome for nobody") };
                match outcome {
                    SendOutcome::Unknown => session.again.push((c, n)),
                    SendOutcome::Taken | SendOutcome::Skipped => {
                        self.model.lock().told(session.mid, c, n, outcome.word());
                    }
                    _ => panic!("an `a` frame says {outcome:?}"),
                }
            }
            Seen::End(_) => {}
        }
    }

    fn opened(&mut self, doc: usize, c: u32, topic: &str, at: At, head: u64, world: &World) {
        let found = self
            .channels
            .iter()
            .position(|channel| channel.cid == Some(c) && channel.topic == topic);
        let asked = || {
            let mut channels = self.channels.iter();
            channels.position(|channel| {
                channel.topic == topic
                    && channel.state == State::Asked
                    && channel.chosen.is_none_or(|chosen| chosen == c)
            })
        };
        let Some(channel) = found.or_else(asked) else {
            panic!("peer {}: channel {c} on {topic}, which nobody asked for", self.id);
        };
        let life = world.life;
        let document = &mut self.docs[doc];
        let state = &mut self.channels[channel];
        assert_eq!(state.topic, topic, "channel {c} is on another topic");
        if !document.readers.contains_key(&c) {
            let first_ask = state.asks == 1 && document.live_at < state.asked_at;
            let of_this = document.opens.contains(&channel) && state.asks == 1;
            let has = match document.named.remove(&c) {
                Some(named) => Some((named, life)),
                None if first_ask || of_this => state.since,
                None => None,
            };
            let foreign = has.is_some_and(|(_, of)| of != life);
            let start = Start { has: has.map(|(at, _)| at), foreign };
            document.readers.insert(c, Reader::new(topic, state.kind, start, document.asked_at));
        }
        document.reader(c).opened(at.0, at.1, head);
        if state.state == State::Asked {
            state.cid = Some(c);
            state.state = State::Open;
            state.open_at = world.now;
        }
        if state.state == State::Open && state.opened.is_none() {
            state.opened = Some(at);
        }
        self.advance(doc, c);
    }

    /// The client has what this document's reader has.
    fn advance(&mut self, doc: usize, c: u32) {
        let Some(at) = self.docs[doc].reader(c).have() else { return };
        let found = self.channels.iter_mut().find(|channel| channel.cid == Some(c));
        let Some(channel) = found.filter(|channel| channel.state == State::Open) else { return };
        match channel.pos {
            Some(pos) if pos.0 == at.0 => channel.pos = Some((at.0, pos.1.max(at.1))),
            Some(_) if channel.epochs.contains(&at.0) => {}
            _ => {
                channel.epochs.push(at.0);
                channel.pos = Some(at);
            }
        }
    }

    fn closed(&mut self, doc: usize, c: u32, end: ChannelEnd, world: &World) {
        let document = &mut self.docs[doc];
        document.told_ended.insert(c);
        let named = document.named.remove(&c).is_some();
        let reader = document.readers.remove(&c);
        let found = self.channels.iter_mut().find(|channel| channel.cid == Some(c));
        let Some(channel) = found.filter(|channel| channel.state == State::Open) else { return };
        if reader.is_none() && (!named || channel.asked_at > document.asked_at) {
            // It was opened again since.
            return;
        }
        let byes = self.session.as_ref().is_some_and(|session| session.has_bye(c));
        match end {
            // It ended on a document that the client did not read to its end.
            ChannelEnd::Closed if reader.is_none() && (channel.kind == Kind::Strict || byes) => {}
            ChannelEnd::Gone if byes => {}
            ChannelEnd::Overrun => assert_eq!(channel.kind, Kind::Strict, "{}", channel.topic),
            ChannelEnd::Closed | ChannelEnd::Gone => {
                assert!(channel.ending, "peer {}: {} ended {end:?}", self.id, channel.topic);
            }
            _ => panic!("{} ended {end:?}", channel.topic),
        }
        channel.stop(world.now, world.life);
    }

    fn refused(&mut self, doc: usize, cid: Option<u32>, topic: &str, end: ChannelEnd) {
        let found = self.channels.iter().position(|channel| {
            channel.topic == topic && cid.is_none_or(|cid| channel.chosen == Some(cid))
        });
        let Some(index) = found else { panic!("{topic} was refused to nobody") };
        let known = topic.starts_with("raw/");
        assert!(known && end == ChannelEnd::Gone, "peer {}: {topic} was refused {end:?}", self.id);
        // Every document tells it, and early or late: it counts once, on the one that asked.
        let asked_here = self.docs[doc].opens.remove(&index);
        let channel = &mut self.channels[index];
        if asked_here && channel.state == State::Asked {
            channel.asks -= 1;
            if channel.asks == 0 {
                channel.state = State::Idle;
            }
        }
    }
}

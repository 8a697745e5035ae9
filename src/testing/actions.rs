//! What a scripted client does: documents, channels, sends, and things that must fail.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::time::Span;
use crate::proto::connection::Door;
use crate::testing::channel::State;
use crate::testing::document::Doc;
use crate::testing::lines::Line;
use crate::testing::model::At;
use crate::testing::net::Side;
use crate::testing::peer::{Asked, Peer, What};
use crate::testing::reader::Kind;
use crate::testing::requests::Ask;
use crate::testing::world::World;

impl Peer {
    /// Does something, perhaps.
    pub fn act(&mut self, shared: &mut [Line<Asked>], world: &mut World) {
        self.trouble(world);
        if self.session.is_none() {
            if world.chance(20) {
                self.start(shared, world);
            }
            return;
        }
        let live = self.docs.iter().filter(|doc| !doc.dup).count();
        if live == 0 && !self.apart && world.chance(15) {
            self.ask_document(false, world);
        }
        if live == 1 && world.chance(300) {
            self.ask_document(false, world);
        }
        if self.docs.len() < 3 && world.chance(1_500) {
            self.ask_document(true, world);
        }
        if world.chance(800) {
            self.apart = !self.apart;
        }
        if world.chance(60) {
            self.open_some(shared, world);
        }
        if world.chance(30) {
            self.send_some(shared, world);
        }
        if world.chance(500) {
            self.close_some(shared, world);
        }
        if world.chance(150) {
            self.ask_about(shared, world);
        }
        if world.chance(4_000) {
            let ask = Ask { name: "logout", ..Ask::default() };
            self.command(ask, What::Logout, shared, world);
            if let Some(session) = &mut self.session {
                session.leaving = true;
            }
        }
    }

    fn trouble(&mut self, world: &mut World) {
        if self.docs.is_empty() {
            return;
        }
        let index = world.random.below(self.docs.len() as u64) as usize;
        if world.chance(300) {
            let side = [Side::Closed, Side::Reset, Side::Vanished];
            let side = side[world.random.below(3) as usize];
            self.drop_doc(index, side, world);
        } else if world.chance(200) {
            let span = Span::from_millis(world.pick(10, 3_000));
            self.docs[index].stalled_until = world.now + span;
        }
        if world.chance(300) {
            self.line.cut(world, Side::Reset);
        }
    }

    fn start(&mut self, shared: &mut [Line<Asked>], world: &mut World) {
        if !self.docs.is_empty() || self.logging_in {
            return;
        }
        if world.chance(3) {
            self.logging_in = true;
            let ask = Ask { name: "login", ..Ask::default() };
            self.command(ask, What::Login, shared, world);
        } else {
            self.ask_document(false, world);
        }
    }

    /// Sees to it that there is a session, a document on it, and every channel that was asked for.
    pub fn settle(&mut self, shared: &mut [Line<Asked>], world: &mut World) {
        self.apart = false;
        if self.session.is_none() {
            return self.start(shared, world);
        }
        if self.docs.is_empty() {
            self.ask_document(false, world);
        }
        for channel in 0..self.channels.len() {
            let state = &self.channels[channel];
            let old = world.now.since(state.asked_at) > Span::from_millis(1_500);
            if state.state == State::Asked && old {
                self.channels[channel].asks += 1;
                self.channels[channel].asked_at = world.now;
                self.ask_open(channel, shared, world);
            }
        }
    }

    /// Sends a command over its own line or a shared one.
    pub fn command(
        &mut self,
        mut ask: Ask<'_>,
        what: What,
        shared: &mut [Line<Asked>],
        world: &mut World,
    ) {
        let mid = self.session.as_ref().map_or(0, |session| session.mid);
        if let Some(session) = &self.session {
            ask.session = Some((mid.to_string(), session.key.clone()));
        }
        let bytes = ask.bytes(&mut world.random);
        let asked = Asked { who: self.id, mid, at: world.now, what };
        let line = match world.random.below(1 + shared.len() as u64) {
            0 => &mut self.line,
            other => &mut shared[other as usize - 1],
        };
        line.ask(world, &bytes, asked);
    }

    /// Asks for a document, in a new session if there is none.
    pub fn ask_document(&mut self, dup: bool, world: &mut World) {
        let mut pairs: Vec<(&str, String)> = Vec::new();
        let mut opens = BTreeSet::new();
        for channel in 0..self.channels.len() {
            if self.may_open(channel, world) && world.chance(3) {
                opens.insert(channel);
                pairs.push(("open", self.open_value(channel, world)));
            }
        }
        if world.chance(2) {
            pairs.push(("h", world.pick(100, 1_500).to_string()));
        }
        if world.chance(6) {
            pairs.push(("flush", world.pick(0, 300).to_string()));
        }
        if world.chance(8) {
            pairs.push(("pad", world.pick(0, 600).to_string()));
        }
        if world.chance(8) {
            pairs.push(("length", "large".into()));
        }
        if dup {
            pairs.push(("dup", "1".into()));
        }
        let mut named = BTreeMap::new();
        let mut ask = Ask { name: "mux.html", pairs, ..Ask::default() };
        if let Some(session) = &self.session {
            ask.session = Some((session.mid.to_string(), session.key.clone()));
            if !world.chance(12) {
                named = self.positions(world);
                let last: Vec<_> =
                    named.iter().map(|(cid, (ep, n))| format!("{cid}:{ep}:{n}")).collect();
                if world.chance(3) && !last.is_empty() {
                    ask.body = Some(last.join(",").into_bytes());
                } else {
                    ask.pairs.push(("last", last.join(",")));
                }
                if !dup && world.chance(2) {
                    ask.name = "refresh.html";
                }
            }
        }
        let wire = world.connect(Door::Public);
        let bytes = ask.bytes(&mut world.random);
        world.send(wire, &bytes);
        let mut doc = Doc::new(wire, named, opens, world.now);
        doc.dup = dup;
        self.docs.push(doc);
    }

    fn positions(&mut self, world: &mut World) -> BTreeMap<u32, At> {
        let mut named = BTreeMap::new();
        for channel in &self.channels {
            if let (State::Open, Some(cid), Some(pos)) = (channel.state, channel.cid, channel.pos)
                && !world.chance(15)
            {
                named.insert(cid, pos);
            }
        }
        named
    }

    /// Whether a channel stands still, and every document knows that.
    fn may_open(&self, channel: usize, world: &World) -> bool {
        let state = &self.channels[channel];
        if state.state != State::Idle {
            return false;
        }
        let Some(cid) = state.cid else { return true };
        let knows = |doc: &Doc| {
            doc.asked_at > state.over_at
                || (doc.told_ended.contains(&cid) && !doc.readers.contains_key(&cid))
        };
        world.now > state.over_at && self.docs.iter().all(knows)
    }

    /// The value of `open=` for a channel, which counts as asked for from now on.
    fn open_value(&mut self, channel: usize, world: &mut World) -> String {
        let topic = self.channels[channel].topic.clone();
        let options = self.open_options(channel, world);
        let options: Vec<_> =
            options.iter().map(|(name, value)| format!(";{name}={value}")).collect();
        format!("{topic}{}", options.concat())
    }

    fn open_options(&mut self, channel: usize, world: &mut World) -> Vec<(&'static str, String)> {
        let state = &mut self.channels[channel];
        for doc in &mut self.docs {
            if let Some(cid) = state.cid {
                doc.told_ended.remove(&cid);
            }
            if state.asks == 0 {
                doc.opens.remove(&channel);
            }
        }
        if state.asks == 0 {
            state.asked_at = world.now;
            state.cid = state.chosen;
            state.since = state.resume.filter(|_| !world.chance(5));
            if state.is_private() {
                state.since = None;
            }
        }
        state.asks += 1;
        state.state = State::Asked;
        let mut options = Vec::new();
        match state.kind {
            Kind::Queue => {}
            Kind::Strict => options.push(("strict", "1".to_string())),
            Kind::Latest => options.push(("mode", "latest".to_string())),
            Kind::Rate(rate) => options.push(("rate", rate.to_string())),
        }
        if let Some(((ep, n), _)) = state.since {
            options.push(("since", format!("{ep}:{n}")));
        }
        if let Some(cid) = state.chosen {
            options.push(("cid", cid.to_string()));
        }
        options
    }

    fn open_some(&mut self, shared: &mut [Line<Asked>], world: &mut World) {
        let channel = world.random.below(self.channels.len() as u64) as usize;
        if self.may_open(channel, world) {
            self.ask_open(channel, shared, world);
        }
    }

    /// Asks for a channel by the command `open`.
    pub fn ask_open(&mut self, channel: usize, shared: &mut [Line<Asked>], world: &mut World) {
        let topic = self.channels[channel].topic.clone();
        let (resource, subject) = topic.split_once('/').unwrap_or_default();
        let mut pairs = vec![("resource", resource.to_string()), ("subject", subject.to_string())];
        pairs.extend(self.open_options(channel, world));
        let ask = Ask { name: "open", pairs, ..Ask::default() };
        self.command(ask, What::Open(channel), shared, world);
    }

    fn close_some(&mut self, shared: &mut [Line<Asked>], world: &mut World) {
        let channel = world.random.below(self.channels.len() as u64) as usize;
        let state = &self.channels[channel];
        let (State::Open, Some(cid)) = (state.state, state.cid) else { return };
        if state.ending {
            return;
        }
        let polite = state.is_private() && world.chance(2);
        self.channels[channel].ending = true;
        if polite && let Some(session) = &mut self.session {
            let number = session.numbers.entry(cid).or_insert(1);
            let n = *number;
            *number += 1;
            session.byes.insert((cid, n));
            self.send_one(cid, n, shared, world);
        } else {
            let pairs = vec![("cid", cid.to_string())];
            let ask = Ask { name: "close", pairs, ..Ask::default() };
            self.command(ask, What::Close(channel), shared, world);
        }
    }
}

impl Peer {
    /// Leaves: some say so, some close, some just go.
    pub fn leave(&mut self, shared: &mut [Line<Asked>], world: &mut World) {
        if self.session.is_some() && world.chance(2) {
            let ask = Ask { name: "logout", ..Ask::default() };
            self.command(ask, What::Logout, &mut shared[..0], world);
        }
        while !self.docs.is_empty() {
            let side = [Side::Closed, Side::Reset, Side::Vanished];
            let side = side[world.random.below(3) as usize];
            self.drop_doc(0, side, world);
        }
    }
}

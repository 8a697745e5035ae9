//! What a scripted client sends and asks: numbered messages in any order, history, and things that
//! must fail.

use crate::testing::channel::State;
use crate::testing::lines::Line;
use crate::testing::peer::{Asked, Peer, What};
use crate::testing::probe::{BYE, sent_payload};
use crate::testing::requests::Ask;
use crate::testing::world::World;

impl Peer {
    fn payload(&self, cid: u32, n: u64) -> Vec<u8> {
        match &self.session {
            Some(session) if session.byes.contains(&(cid, n)) => BYE.to_vec(),
            Some(session) => sent_payload(session.mid, cid, n),
            None => Vec::new(),
        }
    }

    /// Sends one numbered message.
    pub fn send_one(&mut self, cid: u32, n: u64, shared: &mut [Line<Asked>], world: &mut World) {
        let payload = self.payload(cid, n);
        let mut pairs = vec![("cid", cid.to_string()), ("n", n.to_string())];
        let mut body = None;
        if world.chance(2) {
            body = Some(payload);
        } else {
            pairs.push(("data", String::from_utf8_lossy(&payload).into_owned()));
        }
        let ask = Ask { name: "send", pairs, body, ..Ask::default() };
        self.command(ask, What::Send(cid, n), shared, world);
    }

    /// A few numbered messages: in any order, some twice, some over other lines, some in a batch.
    pub(crate) fn send_some(&mut self, shared: &mut [Line<Asked>], world: &mut World) {
        let channel = world.random.below(self.channels.len() as u64) as usize;
        let state = &self.channels[channel];
        let (State::Open, Some(cid)) = (state.state, state.cid) else { return };
        if !state.takes_messages() || state.ending {
            return;
        }
        let Some(session) = &mut self.session else { return };
        let mut numbers: Vec<(u32, u64)> = Vec::new();
        if world.chance(2) {
            numbers.append(&mut session.again);
        }
        let next = session.numbers.entry(cid).or_insert(1);
        for _ in 0..world.pick(1, 6) {
            numbers.push((cid, *next));
            *next += 1;
        }
        if world.chance(25) {
            // Never sent: it is given up when others have waited for it.
            numbers.remove(0);
        }
        if world.chance(4) && !numbers.is_empty() {
            let from = world.random.below(numbers.len() as u64) as usize;
            numbers.extend_from_within(from..);
        }
        if world.chance(2) {
            for at in (1..numbers.len()).rev() {
                numbers.swap(at, world.random.below(at as u64 + 1) as usize);
            }
        }
        if world.chance(4) && !numbers.is_empty() {
            return self.send_batch(numbers, shared, world);
        }
        for (cid, n) in numbers {
            self.send_one(cid, n, shared, world);
        }
    }

    fn send_batch(
        &mut self,
        numbers: Vec<(u32, u64)>,
        shared: &mut [Line<Asked>],
        world: &mut World,
    ) {
        let mut body = String::new();
        for &(cid, n) in &numbers {
            let data = String::from_utf8_lossy(&self.payload(cid, n)).into_owned();
            let pairs = vec![("cid", cid.to_string()), ("n", n.to_string()), ("data", data)];
            body.push_str(&Ask { name: "send", pairs, ..Ask::default() }.line());
        }
        let ask = Ask { name: "batch", body: Some(body.into_bytes()), ..Ask::default() };
        self.command(ask, What::Batch(numbers), shared, world);
    }

    /// One more send on a private channel, after those that may have been lost, so that its last
    /// answer is known.
    pub fn last_word(&mut self, channel: usize, shared: &mut [Line<Asked>], world: &mut World) {
        let state = &self.channels[channel];
        let (State::Open, Some(cid)) = (state.state, state.cid) else { return };
        if !state.is_private() || state.ending {
            return;
        }
        let Some(session) = &mut self.session else { return };
        let number = session.numbers.entry(cid).or_insert(1);
        let n = *number;
        *number += 1;
        // The line keeps the order of what is sent now, so that no window is too narrow for it.
        for n in 1..=n {
            self.send_one(cid, n, &mut shared[..0], world);
        }
    }

    /// A question, or a command that must fail.
    pub(crate) fn ask_about(&mut self, shared: &mut [Line<Asked>], world: &mut World) {
        let ping = |t: String| Ask { name: "ping", pairs: vec![("t", t)], ..Ask::default() };
        match world.random.below(6) {
            0 | 1 => {
                let channel = world.random.below(self.channels.len() as u64) as usize;
                self.ask_history(channel, shared, world);
            }
            2 => {
                let words = format!("t{}", world.random.below(1_000_000));
                self.command(ping(words.clone()), What::Ping(words), shared, world);
            }
            3 => {
                let pairs = vec![("cid", "999999".to_string()), ("n", "1".to_string())];
                let ask = Ask { name: "send", pairs, body: Some(b"x".to_vec()), ..Ask::default() };
                self.command(ask, What::Probe("no-channel"), shared, world);
            }
            4 => {
                let pairs = vec![("resource", "nothing".to_string())];
                let ask = Ask { name: "open", pairs, ..Ask::default() };
                self.command(ask, What::Probe("no-resource"), shared, world);
            }
            _ => {
                let Some(session) = &mut self.session else { return };
                let key = std::mem::replace(&mut session.key, "x".repeat(22));
                let mid = session.mid;
                self.command(ping("1".into()), What::Probe("no-session"), shared, world);
                if let Some(session) = self.session.as_mut().filter(|session| session.mid == mid) {
                    session.key = key;
                }
            }
        }
    }

    fn ask_history(&mut self, channel: usize, shared: &mut [Line<Asked>], world: &mut World) {
        let state = &self.channels[channel];
        if state.is_private() {
            return;
        }
        let (resource, subject) = state.topic.split_once('/').unwrap_or_default();
        let limit = world.random.below(20);
        let mut pairs = vec![
            ("resource", resource.to_string()),
            ("subject", subject.to_string()),
            ("limit", limit.to_string()),
        ];
        let life = self.session.as_ref().map_or(world.life, |session| session.life);
        let since = match (state.pos, state.resume) {
            (Some(pos), _) => Some((pos, life)),
            (None, resume) => resume,
        };
        let since = since.filter(|_| world.random.below(2) == 0);
        if let Some(((ep, n), _)) = since {
            pairs.push(("since", format!("{ep}:{n}")));
        }
        let ask = Ask { name: "history", pairs, ..Ask::default() };
        self.command(ask, What::History(channel, since, limit), shared, world);
    }
}

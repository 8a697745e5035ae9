//! What a scripted client sends: numbered messages, repeated and out of order.

use crate::testing::lines::Line;
use crate::testing::peer::{Asked, Peer, State, What};
use crate::testing::probe::{BYE, sent_payload};
use crate::testing::requests::Ask;
use crate::testing::world::World;

impl Peer {
    pub(crate) fn payload(&self, cid: u32, n: u64) -> Vec<u8> {
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

    pub(crate) fn send_batch(
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
}

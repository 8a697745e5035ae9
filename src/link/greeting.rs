//! How connections begin: who dials, what each end says first, and whom it takes.

use crate::base::id::Key;
use crate::link::address::Address;
use crate::link::links::{Links, PATIENCE, Seen};
use crate::link::peer::{Me, Other, Peer, Phase, decoder, is_same};
use crate::wire::resource::{Frame, VERSION};

impl Links {
    /// Dials the first of `addresses` that answers.
    pub fn dial(&mut self, addresses: impl IntoIterator<Item = Address>) -> Key {
        self.dial_as(addresses, None)
    }

    /// The same for a part of a consumer, which is told right behind the greeting that it is meant.
    pub fn dial_part(&mut self, address: Address, part: u32) -> Key {
        self.dial_as([address], Some(part))
    }

    fn dial_as(&mut self, addresses: impl IntoIterator<Item = Address>, part: Option<u32>) -> Key {
        let mut peer = Peer::new(Phase::Dialing, decoder(), self.now() + PATIENCE);
        peer.addresses = addresses.into_iter().collect();
        peer.part = part;
        let key = self.peers.insert(peer);
        self.dial_next(key);
        key
    }

    /// Somebody has dialled this process.
    pub fn accept(&mut self) -> Key {
        self.begin(None, false)
    }

    /// This process was connected to that part of a consumer by whoever runs both; no key is asked
    /// for.
    pub fn adopt(&mut self, part: u32) -> Key {
        self.begin(Some(part), true)
    }

    fn begin(&mut self, part: Option<u32>, is_adopted: bool) -> Key {
        let mut peer = Peer::new(Phase::Greeting, decoder(), self.now() + PATIENCE);
        (peer.part, peer.is_adopted) = (part, is_adopted);
        let key = self.peers.insert(peer);
        self.greet(key);
        key
    }

    pub(crate) fn greet(&mut self, key: Key) {
        let Me { role, instance, name, heartbeat, key: shown, .. } = self.me().clone();
        let (name, shown) = (name.as_str(), shown.as_str());
        let version = VERSION;
        self.put(key, &Frame::Hello { version, role, instance, heartbeat, name, key: shown });
        if let Some(part) = self.peers.get(key).and_then(|peer| peer.part) {
            self.put(key, &Frame::Part { part });
        }
        self.arm(key);
    }

    pub(crate) fn take_hello(&mut self, key: Key, frame: &Frame<'_>) -> Seen {
        let Frame::Hello { version, role, instance, heartbeat, name, key: shown } = *frame else {
            return Seen::Nothing;
        };
        // Whoever has attached a connection vouches for its other end.
        let is_known = self.peers.get(key).is_some_and(|peer| peer.is_adopted);
        let demands = if is_known { "" } else { self.me().demands.as_str() };
        if let Err(why) = check_hello(version, shown, demands) {
            self.break_off(key, why);
            return Seen::Nothing;
        }
        let Some(peer) = self.peers.get_mut(key) else { return Seen::Nothing };
        peer.phase = Phase::Open;
        peer.other = Some(Other { role, instance, name: name.to_string() });
        self.hear(key, heartbeat);
        Seen::Greeted
    }
}

/// Whether somebody is let in who has said `version` and shown that key, where `demands` is the key
/// that must be shown; empty for none.
///
/// # Errors
///
/// Why not.
pub fn check_hello(version: u32, shown: &str, demands: &str) -> Result<(), &'static str> {
    if version == 0 {
        return Err("there is no version 0");
    }
    if !demands.is_empty() && !is_same(shown.as_bytes(), demands.as_bytes()) {
        return Err("the key is not the one that is demanded here");
    }
    Ok(())
}

//! The sockets of a shard's connections, found by the core's key.

use mio::Token;

use crate::base::id::ConnKey;
use crate::reactor::transport::Transport;

/// What a read may find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Input {
    /// Nothing, until an edge tells.
    None,
    /// Bytes that no edge will tell of, maybe.
    Bytes,
    /// The same, and then an end.
    End,
}

/// The socket of one connection.
#[derive(Debug)]
pub struct Wire {
    /// The socket.
    pub transport: Transport,
    generation: u32,
    /// What a read may find.
    pub input: Input,
    /// Whether it waits among those to be read, or to shake hands.
    pub queued: bool,
    /// Whether TLS is still being set up on it.
    pub shaking: bool,
    /// Whose it is.
    pub owner: Owner,
}

/// Whose a connection is, and with it who has set TCP's patience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A publisher's: it came through the private listener.
    Publisher,
    /// A client's; TCP's patience is what the public listener gave it.
    Client,
    /// A client's whose document has set TCP's patience.
    Reader,
}

/// The sockets of a shard, at the slots of their connections.
#[derive(Debug, Default)]
pub struct Wires {
    wires: Vec<Option<Wire>>,
}

impl Wire {
    /// Whether it came through the private listener.
    pub fn is_publisher(&self) -> bool {
        self.owner == Owner::Publisher
    }
}

impl Wires {
    /// Keeps the socket of `conn`.
    pub fn insert(&mut self, conn: ConnKey, transport: Transport, publisher: bool) -> &mut Wire {
        let owner = if publisher { Owner::Publisher } else { Owner::Client };
        let slot = conn.slot as usize;
        if slot >= self.wires.len() {
            self.wires.resize_with(slot + 1, || None);
        }
        let generation = conn.generation;
        let (input, queued) = (Input::None, false);
        let shaking = matches!(transport, Transport::Tls(_));
        let wire = Wire { transport, generation, input, queued, shaking, owner };
        self.wires[slot].insert(wire)
    }

    /// The socket of `conn`.
    pub fn get(&mut self, conn: ConnKey) -> Option<&mut Wire> {
        let wire = self.wires.get_mut(conn.slot as usize)?.as_mut()?;
        (wire.generation == conn.generation).then_some(wire)
    }

    /// Takes out the socket of `conn`.
    pub fn remove(&mut self, conn: ConnKey) -> Option<Wire> {
        self.get(conn)?;
        self.wires.get_mut(conn.slot as usize)?.take()
    }

    /// Memory that the table holds, in bytes.
    pub fn bytes(&self) -> usize {
        self.wires.capacity() * size_of::<Option<Wire>>()
    }
}

/// The token of a connection: slot and generation, so that a late edge finds nothing.
pub fn token_of(conn: ConnKey) -> Token {
    Token((conn.generation as usize) << 32 | conn.slot as usize)
}

/// The connection of a token.
pub fn conn_of(token: Token) -> ConnKey {
    ConnKey { slot: token.0 as u32, generation: (token.0 >> 32) as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::Mid;

    #[test]
    fn a_wire_stays_small() {
        assert_eq!(size_of::<Option<Wire>>(), size_of::<Transport>() + 8);
    }

    #[test]
    fn a_token_is_its_connection() {
        let conn = ConnKey { slot: u32::MAX - 1, generation: Mid::GENERATION_END - 1 };
        assert_eq!(conn_of(token_of(conn)), conn);
    }
}

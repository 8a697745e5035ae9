//! What an edge means to a connection of a driven station, and the setting up of TLS on it.

use crate::base::id::Key;
use crate::link::station::Station;
use crate::reactor::dialer;
use crate::reactor::poller::Ready;
use crate::reactor::tls_shake::Shaken;
use crate::reactor::transport::Transport;
use crate::resource::driver_loop::{Engine, WORK, key_of};

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Waits for the outcome of a connect.
    Dialing,
    /// TLS is being set up; true: this process has dialled.
    Shaking(bool),
    Open,
    /// A write has failed. What came before is read, as it may say why; then it is lost.
    Broken,
    /// Forgotten by the station; waits for the other end's.
    Lingering,
}

/// The socket of a connection.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) transport: Transport,
    pub(crate) state: State,
    /// Whether it waits among those to be read.
    pub(crate) queued: bool,
    /// Whether an end is there to be read, maybe behind bytes.
    pub(crate) ends: bool,
}

impl<S: Station> Engine<S> {
    /// Something has become possible on a socket.
    pub(crate) fn take_edge(&mut self, ready: Ready) {
        if ready.token == WORK {
            return;
        }
        if let Some(entrance) = self.doors.get_mut(WORK.0 - 1 - ready.token.0) {
            entrance.waiting = true;
            return;
        }
        let key = key_of(ready.token);
        let Some(wire) = self.wires.get_mut(&key) else { return };
        wire.ends |= ready.closed;
        match wire.state {
            State::Dialing => match dialer::finish(&wire.transport) {
                Ok(true) if matches!(wire.transport, Transport::Tls(_)) => {
                    wire.state = State::Shaking(true);
                    return self.shake(key);
                }
                Ok(true) => {
                    wire.state = State::Open;
                    self.station.handle_connected(key, self.now);
                }
                Ok(false) => return,
                Err(error) => {
                    log::debug!("connect: {error}");
                    return self.lose(key);
                }
            },
            State::Shaking(_) => return self.shake(key),
            State::Open | State::Broken | State::Lingering if ready.writable => {
                match wire.transport.flush() {
                    Ok(true) => self.station.handle_writable(key, self.now),
                    Ok(false) => {}
                    Err(error) => log::debug!("write: {error}"),
                }
            }
            State::Open | State::Broken | State::Lingering => {}
        }
        if ready.readable {
            self.queue_read(key);
        }
    }

    /// Goes on with the setting up of TLS.
    fn shake(&mut self, key: Key) {
        let Some(wire) = self.wires.get_mut(&key) else { return };
        let Transport::Tls(secure) = &mut wire.transport else { return };
        let dialled = wire.state == State::Shaking(true);
        match secure.shake() {
            Ok(Shaken::Pending) => {}
            Ok(Shaken::Done(_)) => {
                wire.state = State::Open;
                if dialled {
                    self.station.handle_connected(key, self.now);
                }
                // What could not be sent before now can, and what came behind is here already.
                self.station.handle_writable(key, self.now);
                self.queue_read(key);
            }
            // Nobody is passed on from here.
            Ok(Shaken::Passed(_)) => self.lose(key),
            Err(error) => {
                match dialled {
                    true => self.tls.note_failed(&wire.transport, &error),
                    false => log::debug!("TLS handshake: {error}"),
                }
                self.lose(key);
            }
        }
    }
}

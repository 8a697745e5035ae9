//! One step of the TLS protocol, on either side: from what rustls asks for to bytes in buffers.

use rustls::Error;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
};

/// Where plaintext goes: into the buffer, and what has no room there behind the rest.
pub struct Plain<'b> {
    /// The buffer.
    pub buffer: &'b mut [u8],
    /// How much of it holds something.
    pub filled: usize,
    /// What had no room.
    pub rest: &'b mut Vec<u8>,
}

impl Plain<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let count = bytes.len().min(self.buffer.len() - self.filled);
        self.buffer[self.filled..self.filled + count].copy_from_slice(&bytes[..count]);
        self.filled += count;
        self.rest.extend_from_slice(&bytes[count..]);
    }
}

/// What is to be sent once application data may be.
#[derive(Clone, Copy)]
pub enum Write<'w> {
    /// These bytes.
    Data(&'w [u8]),
    /// That no more will come.
    End,
}

/// What became of a step.
pub enum Step {
    /// There is more to do at once.
    Again,
    /// There is not.
    Reached(Reached),
}

/// What the protocol has come to.
pub enum Reached {
    /// More of the peer must come before anything else.
    Starved,
    /// Application data may be sent, and what was given was.
    Traffic,
    /// Plaintext waits to be taken away.
    Full,
    /// The peer has ended its side in order.
    PeerClosed,
}

/// Does what `status` asks for; also says how many bytes of what came in were used.
pub fn step<D>(
    status: UnbufferedStatus<'_, '_, D>,
    plain: &mut Plain<'_>,
    out: &mut Vec<u8>,
    write: &mut Option<Write<'_>>,
) -> (Result<Step, Error>, usize) {
    let UnbufferedStatus { mut discard, state } = status;
    let outcome = match state {
        Err(error) => Err(error),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
            match traffic.next_record() {
                Some(Ok(record)) => {
                    discard += record.discard;
                    plain.put(record.payload);
                }
                Some(Err(error)) => break Err(error),
                None => break Ok(Step::Again),
            }
        },
        Ok(ConnectionState::EncodeTlsData(mut data)) => put(out, |room| match data.encode(room) {
            Ok(count) => Ok(count),
            Err(EncodeError::InsufficientSize(needed)) => Err(Some(needed)),
            Err(EncodeError::AlreadyEncoded) => Err(None),
        })
        .map(|()| Step::Again),
        Ok(ConnectionState::TransmitTlsData(data)) => {
            // It is in `out`, which is sent, or kept until it is.
            data.done();
            Ok(Step::Again)
        }
        Ok(ConnectionState::WriteTraffic(mut traffic)) => {
            let written = match write.take() {
                None => Ok(()),
                Some(Write::Data(bytes)) => put(out, |room| sized(traffic.encrypt(bytes, room))),
                Some(Write::End) => put(out, |room| sized(traffic.queue_close_notify(room))),
            };
            written.map(|()| Step::Reached(Reached::Traffic))
        }
        Ok(ConnectionState::PeerClosed) => Ok(Step::Reached(Reached::PeerClosed)),
        Ok(ConnectionState::BlockedHandshake | ConnectionState::Closed) => {
            Ok(Step::Reached(Reached::Starved))
        }
        // Data before the handshake is done could be a repetition, and is not asked for.
        Ok(_) => Err(Error::HandshakeNotComplete),
    };
    (outcome, discard)
}

fn sized(outcome: Result<usize, EncryptError>) -> Result<usize, Option<InsufficientSizeError>> {
    outcome.map_err(|error| match error {
        EncryptError::InsufficientSize(needed) => Some(needed),
        EncryptError::EncryptExhausted => None,
    })
}

/// Appends what `fill` writes into room that it asks for.
fn put(
    out: &mut Vec<u8>,
    mut fill: impl FnMut(&mut [u8]) -> Result<usize, Option<InsufficientSizeError>>,
) -> Result<(), Error> {
    let start = out.len();
    // Without room it says how much it needs.
    let mut room = 0;
    for _ in 0..2 {
        out.resize(start + room, 0);
        match fill(&mut out[start..]) {
            Ok(count) => {
                out.truncate(start + count);
                return Ok(());
            }
            Err(Some(needed)) => room = needed.required_size,
            Err(None) => break,
        }
    }
    out.truncate(start);
    Err(Error::EncryptError)
}

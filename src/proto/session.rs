//! Sessions: a client's state, its channels and its documents.

use std::fmt;
use std::sync::Arc;

use subtle::ConstantTimeEq;

use crate::auth::identity::Identity;
use crate::base::id::{Cid, Key};
use crate::base::limits::DOCUMENTS_MAX;
use crate::base::time::{Instant, Millis, Span};
use crate::mem::bucket::Bucket;
use crate::mem::few::Few;
use crate::proto::inbox::Inboxes;
use crate::proto::sealing::SessionSeal;
use crate::wire::open::Mode;

/// No slot.
pub const NONE: u32 = u32::MAX;

/// Where a channel stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ChannelState {
    /// Its place may be taken by a new channel.
    Vacant,
    /// The topic's home was asked; the key of the open that waits.
    Opening(Key),
    /// It reads the topic in this slot.
    Open(u32),
}

/// Whether nothing may be missing on a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strict {
    /// What is missing is told, and the channel goes on.
    No,
    /// The channel ends instead.
    Yes,
    /// History had passed what it wanted: its documents are told, and it ends.
    Overrun,
}

/// One logical stream between a consumer and a resource. In this order, so that a list of them
/// takes no more than one: it tells what it holds in the bytes of `mode`, beside those of a `Vec`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Channel {
    /// The first place of the topic's log that it reads.
    pub opened: u64,
    /// Where it stands.
    pub state: ChannelState,
    /// Its number; 0 while a server-given one is not yet known.
    pub cid: Cid,
    /// How many channels of its session had ended before it: tells it from its predecessors of the
    /// same number.
    pub life: u32,
    /// Messages a second at most; 0 for no bound.
    pub rate: u16,
    /// Whether it ends when history moves past it.
    pub strict: Strict,
    /// `queue` or `latest`.
    pub mode: Mode,
}

impl Channel {
    /// The slot of its topic, once it is open.
    pub fn topic(&self) -> Option<u32> {
        match self.state {
            ChannelState::Open(slot) => Some(slot),
            ChannelState::Vacant | ChannelState::Opening(_) => None,
        }
    }
}

/// A client's state on this communication server.
pub struct Session {
    /// What every later command proves.
    pub key: [u8; 16],
    /// The slots of its documents; [`NONE`] where there is none.
    pub documents: [u32; DOCUMENTS_MAX],
    /// The number of the last document.
    pub last_document: u32,
    /// Its channels; a document's cursors stand at the same indexes.
    pub channels: Few<Channel>,
    /// How many channels it had that have ended.
    pub channels_ended: u32,
    /// How many private topics it was given.
    pub privates: u32,
    /// The heartbeat interval of its documents, present and to come.
    pub heartbeat: Millis,
    /// The flush span that its last document asked for that named one.
    pub flush: Option<Millis>,
    /// Who its client is; `None` where nobody has asked.
    pub identity: Option<Arc<Identity>>,
    /// What seals it, where it is sealed; its key counts for nothing then.
    pub seal: Option<Box<SessionSeal>>,
    /// What is left of its rate of commands.
    pub pace: Bucket,
    /// When its client was last heard.
    pub heard_at: Instant,
    /// Whether its silence was counted already.
    pub quiet: bool,
    /// Whether its documents were told that its user is known only for a while more.
    pub warned: bool,
    /// Numbered sends, from the first one on.
    pub inboxes: Option<Box<Inboxes>>,
    /// Since when it has had no document.
    pub idle_since: Instant,
    /// The moment of its timer that counts; others are stale.
    pub timer_at: Instant,
}

/// Without its key, and what it has sent.
impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("documents", &self.documents)
            .field("channels", &self.channels)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// A session without documents and channels.
    pub fn new(key: [u8; 16], heartbeat: Span, now: Instant) -> Self {
        Self {
            key,
            heartbeat: heartbeat.into(),
            flush: None,
            identity: None,
            seal: None,
            pace: Bucket::default(),
            heard_at: now,
            quiet: false,
            warned: false,
            documents: [NONE; DOCUMENTS_MAX],
            last_document: 0,
            channels: Few::default(),
            channels_ended: 0,
            privates: 0,
            inboxes: None,
            idle_since: now,
            timer_at: Instant::NEVER,
        }
    }

    /// Whether `text` is the session's key; takes the same time whatever differs.
    pub fn is_key(&self, text: &str) -> bool {
        let mut expected = [0u8; 22];
        encode_key(&self.key, &mut expected);
        bool::from(expected.as_slice().ct_eq(text.as_bytes()))
    }

    /// The slots of its documents.
    pub fn document_slots(&self) -> impl Iterator<Item = u32> + use<> {
        self.documents.into_iter().filter(|&slot| slot != NONE)
    }

    /// The index of the channel with that number.
    pub fn find_channel(&self, cid: Cid) -> Option<usize> {
        self.channels
            .iter()
            .position(|channel| channel.cid == cid && channel.state != ChannelState::Vacant)
    }

    /// The same, if it is the one of that life: its successor of the same number is not what a
    /// client means that leaves it.
    pub fn find_life(&self, cid: Cid, life: Option<u32>) -> Option<usize> {
        let index = self.find_channel(cid)?;
        life.is_none_or(|life| self.channels[index].life == life).then_some(index)
    }

    /// Memory beside the struct itself, in bytes; what waits in the inboxes is left out.
    pub fn bytes(&self) -> usize {
        self.channels.bytes()
            + self.inboxes.as_ref().map_or(0, |_| size_of::<Inboxes>())
            + self.seal.as_ref().map_or(0, |seal| seal.bytes())
    }

    /// How many channels are open or opening.
    pub fn channel_count(&self) -> usize {
        self.channels.iter().filter(|channel| channel.state != ChannelState::Vacant).count()
    }

    /// Puts a channel into the first free place and returns its index.
    pub fn add_channel(&mut self, channel: Channel) -> usize {
        let vacant = self.channels.iter().position(|c| c.state == ChannelState::Vacant);
        match vacant {
            Some(index) => {
                self.channels[index] = channel;
                index
            }
            None => {
                self.channels.push(channel);
                self.channels.len() - 1
            }
        }
    }
}

/// Writes a key as 22 characters of base64url.
pub fn encode_key(key: &[u8; 16], out: &mut [u8; 22]) {
    use base64::Engine as _;
    let written = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode_slice(key, out);
    debug_assert_eq!(written, Ok(22));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_itself_and_nothing_else() {
        let session = Session::new([0xfb; 16], Span::ZERO, Instant::ZERO);
        let mut text = [0; 22];
        encode_key(&session.key, &mut text);
        let text = std::str::from_utf8(&text).unwrap().to_string();
        assert_eq!(text.len(), 22);
        assert!(session.is_key(&text));
        assert!(!session.is_key(&text[..21]));
        assert!(!session.is_key(&text.replace('-', "+")));
        assert!(!session.is_key(""));
    }

    #[test]
    fn a_vacant_place_is_used_again() {
        let mut session = Session::new([0; 16], Span::ZERO, Instant::ZERO);
        let channel = Channel {
            cid: Cid(5),
            state: ChannelState::Open(0),
            mode: Mode::Queue,
            strict: Strict::No,
            rate: 0,
            life: 0,
            opened: 0,
        };
        assert_eq!(session.add_channel(channel), 0);
        session.channels[0].state = ChannelState::Vacant;
        assert_eq!(session.find_channel(Cid(5)), None);
        assert_eq!(session.add_channel(channel), 0);
    }
}

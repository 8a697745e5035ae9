//! What the bytes of a document have brought, and what an agent asks for, as the pilot sees it.

use std::collections::HashMap;

use crate::base::id::{Cid, Epoch};
use crate::client::channel::Which;
use crate::client::event::{ChannelKey, Event, Request};
use crate::client::pipe::put_request;
use crate::html::scan::Frame;
use crate::reactor::url::Server;
use crate::testing::model::At;

/// What some bytes of a document have brought.
#[derive(Debug, Default)]
pub struct News {
    /// The session.
    pub mid: Option<u64>,
    /// Topics, and where they begin, each on which channel.
    pub starts: Vec<(String, At, Which)>,
    /// Copies of messages.
    pub copies: Vec<(String, At, Which)>,
    /// Channels that have ended.
    pub ends: Vec<Which>,
}

/// What a document carries: topic, epoch, and which of the channels of a number.
pub type Names = HashMap<Cid, (String, Epoch, u32)>;

/// Remembers what has come with a document.
pub fn note(frame: Frame<'_>, names: &mut Names, news: &mut News) {
    match frame {
        Frame::Identity { identity, .. } => news.mid = Some(identity.mid.get()),
        Frame::Opened { c, life, name, ep, n, .. } => {
            let carried = names.get(&c).map_or(0, |(_, _, life)| *life);
            let life = life.unwrap_or(carried);
            news.starts.push((name.as_str().to_string(), (ep, n.0), (c, life)));
            names.insert(c, (name.as_str().to_string(), ep, life));
        }
        Frame::Closed { c, life, .. } => {
            let carried = names.remove(&c).map_or(0, |(_, _, life)| life);
            news.ends.push((c, life.unwrap_or(carried)));
        }
        Frame::Gap { c, ep, .. } => {
            if let Some((_, epoch, _)) = names.get_mut(&c) {
                *epoch = ep;
            }
        }
        Frame::Message { c, n, .. } => {
            if let Some((name, ep, life)) = names.get(&c) {
                news.copies.push((name.clone(), (*ep, n.0), (c, *life)));
            }
        }
        _ => {}
    }
}

/// A request as the agent's link writes it: as lines if `raw`, else in HTTP; and how many answers
/// it will have.
///
/// # Panics
///
/// Never: the place is legal.
pub fn bytes_of(request: &Request, raw: bool) -> (Vec<u8>, usize) {
    let url = if raw { "tcp://localhost:80" } else { "http://localhost:80" };
    let server = Server::parse_stream(url, "/ahm/").expect("a legal place");
    let mut bytes = Vec::new();
    let answers = put_request(&mut bytes, &server, request);
    (bytes, answers)
}

/// The channel that an event is about.
pub fn channel_of(event: &Event) -> Option<ChannelKey> {
    match event {
        Event::Opened { channel, .. }
        | Event::Message { channel, .. }
        | Event::Gap { channel, .. }
        | Event::Closed { channel, .. }
        | Event::Refused { channel, .. }
        | Event::Sent { channel, .. } => Some(*channel),
        Event::State(_)
        | Event::Lost { .. }
        | Event::Session { .. }
        | Event::RoundTrip(_)
        | Event::Known { .. }
        | Event::Expiring { .. }
        | Event::NotRenewed { .. } => None,
    }
}

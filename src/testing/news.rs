//! What the bytes of a document have brought, and what an agent asks for, as the pilot sees it.

use std::collections::HashMap;

use crate::base::id::{Cid, Epoch};
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
    /// Topics, and where they begin.
    pub starts: Vec<(String, At)>,
    /// Copies of messages.
    pub copies: Vec<(String, At)>,
}

/// Remembers what has come with a document.
pub fn note(frame: Frame<'_>, names: &mut HashMap<Cid, (String, Epoch)>, news: &mut News) {
    match frame {
        Frame::Identity { identity, .. } => news.mid = Some(identity.mid.get()),
        Frame::Opened { c, name, ep, n, .. } => {
            news.starts.push((name.as_str().to_string(), (ep, n.0)));
            names.insert(c, (name.as_str().to_string(), ep));
        }
        Frame::Closed { c, .. } => drop(names.remove(&c)),
        Frame::Gap { c, ep, .. } => {
            if let Some((_, epoch)) = names.get_mut(&c) {
                *epoch = ep;
            }
        }
        Frame::Message { c, n, .. } => {
            if let Some((name, ep)) = names.get(&c) {
                news.copies.push((name.clone(), (*ep, n.0)));
            }
        }
        _ => {}
    }
}

/// A request as the agent's link writes it.
///
/// # Panics
///
/// Never: the place is legal.
pub fn bytes_of(request: &Request) -> Vec<u8> {
    let server = Server::parse("http://localhost:80", "/ahm/").expect("a legal place");
    let mut bytes = Vec::new();
    put_request(&mut bytes, &server, request);
    bytes
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
        Event::State(_) | Event::Lost { .. } | Event::Session { .. } | Event::RoundTrip(_) => None,
    }
}

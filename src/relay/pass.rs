//! Connections that are passed on as they came, encrypted from end to end: to whom, was read from
//! the client's first message.

use std::net::SocketAddr;

use crate::base::id::{ConnKey, Key};
use crate::base::time::Instant;
use crate::http::head::Version;
use crate::http::request::Framing;
use crate::relay::entry::{Entry, RequestId};
use crate::relay::exchange::{Exchange, Stage};
use crate::relay::outgoing::Outgoing;
use crate::relay::site::AccessLog;
use crate::relay::station::Relay;
use crate::relay::transcode::Transcoder;

/// A connection that is to be passed on.
#[derive(Debug)]
pub struct Passing {
    /// The connection.
    pub client: ConnKey,
    /// Where it comes from.
    pub peer: SocketAddr,
    /// Which of the site's targets it goes to.
    pub target: usize,
    /// The name that the client has asked for.
    pub name: String,
    /// What it has sent so far.
    pub heard: Vec<u8>,
}

impl Relay {
    /// Passes a connection on; returns the key of its exchange. `None` where there is no such
    /// target.
    pub fn handle_passing(&mut self, passing: Passing, now: Instant) -> Option<Key> {
        self.now = now;
        let Passing { client, peer, target, name, heard } = passing;
        let index = self.site.servers.len() + target;
        let backend = self.backends.get(index).filter(|_| target < self.site.passes.len())?;
        let told = self.site.log != AccessLog::Off;
        let entry = told.then(|| Box::new(Entry::passed(name, peer)));
        log::trace!("a connection is passed on to {}", backend.address);
        let exchange = Exchange {
            client,
            stage: Stage::Connecting,
            pass: true,
            head_len: 0,
            up: Outgoing::new(heard),
            request: Transcoder::of_request(Framing::None, 0).ok()?,
            upstream: None,
            id: self.next_id(None),
            version: Version::Http11,
            upgrade: None,
            // There is no other.
            tried: !(1 << index),
            server: None,
            head_only: false,
            repeatable: false,
            expects: false,
            close: true,
            retried: false,
            begun: false,
            answered: false,
            kept: false,
            ends_above: false,
            until_close: true,
            starved: false,
            client_ended: false,
            deadline: now + self.site.connect_timeout,
            began: now,
            status: 0,
            tunnelled: 0,
            entry,
            journey: None,
        };
        self.counts.passed += 1;
        let key = self.exchanges.insert(exchange);
        self.acquire(key);
        Some(key)
    }

    pub(crate) fn next_id(&mut self, theirs: Option<&str>) -> RequestId {
        RequestId::of(self.random.next(), theirs)
    }
}

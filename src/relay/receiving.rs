//! What comes from web servers: heads of answers, their bodies, the bytes of tunnels.

use crate::base::id::Key;
use crate::base::time::Instant;
use crate::http::head::Version;
use crate::http::response::{ResponseFraming, ResponseParts, parse_response};
use crate::relay::answer::{Passage, put_head, put_interim, put_switch};
use crate::relay::exchange::Stage;
use crate::relay::output::Event;
use crate::relay::paging::Mapping;
use crate::relay::station::Relay;

/// What a head that was read asks for.
enum Next {
    /// Another head follows.
    Head,
    /// The body follows.
    Body,
    /// The tunnel is open.
    Tunnel,
}

impl Relay {
    /// Bytes have come from a web server. What goes to the client is appended to `down`.
    pub fn handle_received(
        &mut self,
        upstream: Key,
        bytes: &[u8],
        down: &mut Vec<u8>,
        now: Instant,
    ) {
        self.now = now;
        self.counts.bytes_down += bytes.len() as u64;
        let Some(connection) = self.upstreams.get_mut(upstream) else { return };
        let exchange =
            connection.exchange.and_then(|key| Some((key, self.exchanges.get_mut(key)?)));
        let Some((key, exchange)) = exchange else {
            // Nobody has asked for anything: whatever it is, it must not become an answer.
            return self.close_upstream(upstream);
        };
        match &mut exchange.stage {
            Stage::Answering(_) => self.take_body(key, upstream, bytes, down),
            Stage::Tunnel => {
                down.extend_from_slice(bytes);
                exchange.tunnelled += bytes.len() as u64;
                self.touch(key);
            }
            _ => {
                let mut held = connection.head.take();
                if held.is_empty() {
                    self.take_heads(key, upstream, bytes, down);
                } else {
                    held.extend_from_slice(bytes);
                    self.take_heads(key, upstream, &held, down);
                }
            }
        }
    }

    /// Reads heads up to the final one, and what follows it.
    fn take_heads(&mut self, key: Key, upstream: Key, mut bytes: &[u8], down: &mut Vec<u8>) {
        loop {
            let Some(exchange) = self.exchanges.get_mut(key) else { return };
            exchange.answered |= !bytes.is_empty();
            let (parts, len) = match parse_response(bytes) {
                Ok(Some(parsed)) => parsed,
                Ok(None) => {
                    if let Some(connection) = self.upstreams.get_mut(upstream) {
                        connection.head = bytes.to_vec().into();
                    }
                    return;
                }
                Err(error) => return self.spoil(key, &error.to_string()),
            };
            bytes = &bytes[len..];
            match self.take_head(key, &parts, down) {
                Ok(Next::Head) => {}
                Ok(Next::Body) => return self.take_body(key, upstream, bytes, down),
                Ok(Next::Tunnel) => {
                    down.extend_from_slice(bytes);
                    return;
                }
                Err(what) => return self.spoil(key, what),
            }
        }
    }

    fn take_head(
        &mut self,
        key: Key,
        parts: &ResponseParts<'_>,
        down: &mut Vec<u8>,
    ) -> Result<Next, &'static str> {
        let unix_seconds = self.unix_micros() / 1_000_000;
        let Some(exchange) = self.exchanges.get_mut(key) else { return Ok(Next::Head) };
        let journey = exchange.journey.take();
        let mapping = Mapping { journey: journey.as_deref(), pages: self.site.map_pages };
        if parts.is_interim() {
            // Those who speak HTTP/1.0 know none, and 100 is for those who wait for it.
            let wanted =
                exchange.version == Version::Http11 && (parts.status != 100 || exchange.expects);
            if wanted {
                put_interim(down, parts, mapping)?;
            }
            exchange.journey = journey;
            return Ok(Next::Head);
        }
        exchange.status = parts.status;
        if let Some(server) = exchange.server {
            self.backends[server].succeed();
        }
        if parts.status == 101 {
            let Some(index) = exchange.upgrade else {
                return Err("it switches protocols although nobody has asked for that");
            };
            put_switch(down, parts, &self.site.upgrades[index])?;
            exchange.stage = Stage::Tunnel;
            exchange.close = true;
            exchange.starved = false;
            self.counts.tunnels += 1;
            self.events.push_back(Event::Input(exchange.client));
            self.touch(key);
            return Ok(Next::Tunnel);
        }
        let Passage { body, close, until_close } =
            put_head(down, parts, exchange.terms(unix_seconds), mapping)?;
        exchange.stage = Stage::Answering(body);
        exchange.close = close;
        exchange.until_close = until_close;
        exchange.ends_above = parts.framing == ResponseFraming::UntilClose;
        exchange.kept = parts.persistent;
        Ok(Next::Body)
    }

    fn take_body(&mut self, key: Key, upstream: Key, bytes: &[u8], down: &mut Vec<u8>) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let Stage::Answering(body) = &mut exchange.stage else { return };
        let taken = match body.push(bytes, down) {
            Ok(taken) => taken,
            Err(refusal) => return self.cut(key, refusal.detail()),
        };
        if body.is_done() {
            let surplus = taken < bytes.len();
            self.complete(key, upstream, !surplus);
        } else {
            self.touch(key);
        }
    }

    /// The answer is whole. `clean`: nothing came behind it.
    pub(crate) fn complete(&mut self, key: Key, upstream: Key, clean: bool) {
        let Some(exchange) = self.exchanges.remove(key) else { return };
        self.counts.answered += 1;
        let close = exchange.close || !exchange.request.is_done();
        self.events.push_back(Event::Done { client: exchange.client, close });
        self.tell(&exchange, "whole");
        if clean && exchange.kept && exchange.is_sent() {
            self.release(upstream);
        } else {
            self.close_upstream(upstream);
        }
        self.recycle(exchange);
    }
}

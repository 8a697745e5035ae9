//! What goes wrong on the way: connections that are lost, answers that cannot be understood, and
//! what takes too long.

use crate::base::id::Key;
use crate::base::time::Instant;
use crate::http::status::Refusal;
use crate::relay::exchange::Stage;
use crate::relay::output::Event;
use crate::relay::page;
use crate::relay::station::Relay;

impl Relay {
    /// A connect has failed, or a connection is lost: `orderly` if the web server has ended its
    /// side. What that adds to the answer is appended to `down`.
    pub fn handle_lost(&mut self, upstream: Key, orderly: bool, down: &mut Vec<u8>, now: Instant) {
        self.now = now;
        let Some(connection) = self.upstreams.get(upstream) else { return };
        let (dialing, reused) = (connection.dialing, connection.reused);
        let exchange =
            connection.exchange.and_then(|key| Some((key, self.exchanges.get_mut(key)?)));
        let Some((key, exchange)) = exchange else { return self.close_upstream(upstream) };
        if dialing {
            return self.go_elsewhere(key, 502, "the connect has failed");
        }
        let is_end = orderly && exchange.ends_above;
        let again = reused && exchange.may_repeat();
        let untouched = !exchange.begun && !exchange.answered;
        match &mut exchange.stage {
            Stage::Answering(body) if is_end => match body.finish(down) {
                Ok(()) => self.complete(key, upstream, false),
                Err(refusal) => self.cut(key, refusal.detail()),
            },
            Stage::Answering(_) => self.cut(key, "the connection ended before its end"),
            Stage::Tunnel => {
                exchange.close = true;
                self.complete(key, upstream, false);
            }
            _ if again => self.repeat(key),
            _ if untouched => self.go_elsewhere(key, 502, "the connection was lost"),
            _ => self.spoil(key, "the connection ended before the head of the answer was whole"),
        }
    }

    /// Sends a request again, over a connection of its own.
    fn repeat(&mut self, key: Key) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        exchange.retried = true;
        exchange.up.rewind();
        self.counts.retried += 1;
        if let Some(upstream) = exchange.upstream.take() {
            self.close_upstream(upstream);
        }
        self.acquire(key);
    }

    /// Nothing of the request was sent to that web server: the next one has its turn.
    fn go_elsewhere(&mut self, key: Key, status: u16, what: &str) {
        let now = self.now;
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        if let Some(server) = exchange.server {
            self.backends[server].fail(now);
        }
        let all_tried = exchange.tried == u64::MAX;
        if all_tried {
            return self.fail(key, status, what);
        }
        if let Some(upstream) = exchange.upstream.take() {
            self.close_upstream(upstream);
        }
        self.acquire(key);
    }

    /// The web server's answer, of which nothing was given out, is none.
    pub(crate) fn spoil(&mut self, key: Key, what: &str) {
        self.blame(key);
        self.fail(key, 502, what);
    }

    fn blame(&mut self, key: Key) {
        let now = self.now;
        let server = self.exchanges.get(key).and_then(|exchange| exchange.server);
        if let Some(server) = server {
            self.backends[server].fail(now);
        }
    }

    /// Answers ourselves.
    pub(crate) fn fail(&mut self, key: Key, status: u16, what: &str) {
        let unix_seconds = self.unix_micros() / 1_000_000;
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        match status {
            503 => self.counts.busy += 1,
            504 => self.counts.late += 1,
            _ => self.counts.failed += 1,
        }
        exchange.status = status;
        let server = exchange.server.map(|index| &self.backends[index].address);
        let server = server.map_or_else(|| "-".to_owned(), ToString::to_string);
        log::warn!("request {}: {status}: {what} (web server {server})", exchange.id);
        if exchange.pass {
            // There is nobody who could read a page.
            self.events.push_back(Event::Cut { client: exchange.client, reset: true });
            return self.end(key, "failed");
        }
        let terms = exchange.terms(unix_seconds);
        let bytes = page::answer(status, &exchange.id, terms);
        let (client, close) = (exchange.client, terms.close);
        self.events.push_back(Event::Answer { client, bytes, close });
        self.end(key, "failed");
    }

    /// The rest of an answer will not come.
    pub(crate) fn cut(&mut self, key: Key, what: &str) {
        let Some(exchange) = self.exchanges.get(key) else { return };
        self.counts.cut += 1;
        log::warn!("request {}: the answer is cut short: {what}", exchange.id);
        let (client, reset) = (exchange.client, exchange.until_close);
        self.events.push_back(Event::Cut { client, reset });
        self.end(key, "cut");
    }

    /// The present stage of an exchange may have taken too long.
    pub fn handle_deadline(&mut self, key: Key, now: Instant) {
        self.now = now;
        let Some(exchange) = self.exchanges.get(key) else { return };
        if exchange.deadline > now {
            return;
        }
        let upstream = exchange.upstream.and_then(|upstream| self.upstreams.get(upstream));
        let held = upstream.is_some_and(|upstream| upstream.held);
        let client_owes = !exchange.request.is_done() && exchange.up.unsent().is_empty();
        match exchange.stage {
            Stage::Gathering => self.refuse_late(key),
            Stage::Asking if client_owes => self.refuse_late(key),
            Stage::Waiting => self.fail(key, 503, "no connection to a web server became free"),
            Stage::Connecting => self.go_elsewhere(key, 504, "the connect takes too long"),
            Stage::Asking => {
                self.blame(key);
                self.fail(key, 504, "no answer came in time");
            }
            Stage::Answering(_) | Stage::Tunnel if held => {
                self.counts.stale += 1;
                self.events.push_back(Event::Stale(exchange.client));
                self.end(key, "stale");
            }
            Stage::Answering(_) | Stage::Tunnel => self.cut(key, "nothing moves any more"),
        }
    }

    /// The client's body does not come.
    fn refuse_late(&mut self, key: Key) {
        let Some(exchange) = self.exchanges.get(key) else { return };
        self.counts.refused += 1;
        self.events.push_back(Event::Refused(exchange.client, Refusal::Timeout));
        self.end(key, "refused");
    }
}

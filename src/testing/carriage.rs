//! The documents of a pilot's agent on their connections, and the commands that go beside them.

use crate::base::time::Instant;
use crate::client::event::{CallId, RouteId, StreamId};
use crate::client::flight::{Done, Flight};
use crate::client::reader::{Got, Reader};
use crate::client::sealed::Unsealer;
use crate::html::scan::Scanner;
use crate::http::exchange::Part;
use crate::testing::cable::Cable;
use crate::testing::keyring::meddle;
use crate::testing::network::Network;
use crate::testing::news::{Names, News, note};
use crate::testing::phrase;
use crate::testing::pilot::Pilot;
use crate::testing::sabotage::Sabotage;
use crate::testing::tamper::Tamper;

/// A document on its way.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) cable: Cable,
    pub(crate) route: RouteId,
    pub(crate) reader: Reader,
    /// Commands beside it.
    pub(crate) flight: Flight,
    pub(crate) tamper: Tamper,
    /// Reads what the agent is given, to know what has come; behind this, where it is sealed.
    pub(crate) scanner: Scanner,
    pub(crate) unsealer: Option<Unsealer>,
    pub(crate) names: Names,
    /// Its session.
    pub(crate) mid: u64,
}

impl Pilot {
    /// Bytes of a document move.
    pub(crate) fn turn_stream(&mut self, id: StreamId, net: &mut Network, now: Instant) {
        // Out of the table while it is at work; the agent may close it meanwhile.
        let Some(mut stream) = self.streams.remove(&id) else { return };
        let site = stream.cable.site;
        stream.cable.step(&mut net.sites[site], &mut self.random, now);
        while let Some(bytes) = stream.cable.take(now) {
            self.trace.note(now, || format!("s{} < {:?}", id.0, phrase::text(&bytes)));
            let mut news = News::default();
            let whole = self.feed(id, &mut stream, &bytes, &mut news, now);
            stream.mid = news.mid.unwrap_or(stream.mid);
            for (topic, at, which) in news.starts {
                let life = (site, stream.cable.life);
                self.shadow.start(&topic, at, (life, stream.mid), which);
            }
            let closed = self.drain(net, now);
            for which in news.ends {
                self.shadow.end(stream.mid, which);
            }
            for (topic, at, which) in news.copies {
                self.shadow.copy(&topic, at, stream.mid, which);
            }
            if closed.contains(&id) {
                stream.cable.close(&mut net.sites[site], &mut self.random);
                return self.lose_calls(stream.flight.give_up(), net, now);
            }
            if let Some(why) = whole {
                return self.end(id, stream, &why, net, now);
            }
        }
        if stream.flight.timeout().is_some_and(|at| at <= now) {
            self.lose_calls(stream.flight.give_up(), net, now);
        }
        match stream.cable.ended(now) {
            Some(why) => self.end(id, stream, why, net, now),
            None => drop(self.streams.insert(id, stream)),
        }
    }

    /// The connection of a document is over, and the agent is told.
    fn end(&mut self, id: StreamId, mut s: Stream, why: &str, net: &mut Network, now: Instant) {
        self.trace.note(now, || format!("s{} ends: {why}", id.0));
        let site = s.cable.site;
        s.cable.close(&mut net.sites[site], &mut self.random);
        let clock = self.clock(now);
        let body = s.tamper.is_refusal();
        if !(body && self.sabotage == Some(Sabotage::SessionLossIgnored)) {
            self.agent.handle_end(id, why, clock);
        }
        self.drain(net, now);
        self.lose_calls(s.flight.give_up(), net, now);
    }

    /// Commands were lost with their connection.
    fn lose_calls(&mut self, calls: Vec<CallId>, net: &mut Network, now: Instant) {
        for call in calls {
            self.lose_call(call, now);
            self.drain(net, now);
        }
    }

    pub(crate) fn lose_call(&mut self, call: CallId, now: Instant) {
        if self.sabotage != Some(Sabotage::FailureIgnored) {
            self.trace.note(now, || format!("c{} is lost", call.0));
            self.agent.handle_failure(call, self.clock(now));
        }
    }

    /// Gives bytes to the agent; says why the document is over, if it is.
    fn feed(
        &mut self,
        id: StreamId,
        stream: &mut Stream,
        bytes: &[u8],
        news: &mut News,
        now: Instant,
    ) -> Option<String> {
        let clock = self.clock(now);
        let Stream { reader, flight, tamper, scanner, unsealer, names, cable, .. } = stream;
        let life = (cable.site, cable.life);
        let (agent, visits) = (&mut self.agent, &mut self.visits);
        let (attacks, random) = (&mut self.attacks, &mut self.random);
        let mut whole = false;
        let result = reader.push(bytes, |got| match got {
            Got::Part(Part::Head { status, retry_after, .. }) => {
                tamper.begin(status);
                if status == 200 {
                    visits.insert(life, now);
                }
                agent.handle_head(id, status, retry_after, clock);
            }
            Got::Part(Part::Body(body)) => {
                visits.insert(life, now);
                let mut body = tamper.pass(body);
                if unsealer.is_some() && *attacks > 0 && random.below(30) == 0 {
                    *attacks -= 1;
                    meddle(&mut body, random);
                }
                if !tamper.is_refusal() {
                    // A fault in it is the agent's to find.
                    let mut lines = Vec::new();
                    let _ = unsealer.as_mut().map(|unsealer| unsealer.push(&body, &mut lines));
                    let lines = if unsealer.is_some() { &lines } else { &body };
                    let _ = scanner.push(lines, |frame| note(frame, names, news));
                }
                agent.handle_bytes(id, &body, clock);
            }
            Got::Part(Part::End) => whole = true,
            Got::Beside { status, retry_after, body } => {
                if let Some(Done { call, batch }) = flight.answered(body, now) {
                    let status = if batch.is_some() { 200 } else { status };
                    let body = batch.as_deref().unwrap_or(body);
                    agent.handle_answer(call, status, retry_after, body, clock);
                }
            }
        });
        match result {
            Err(why) => Some(why),
            Ok(()) => whole.then(|| "the document ended".to_string()),
        }
    }

    /// Puts a command on the wire: beside a document where that goes, else on the route's own line.
    pub(crate) fn call(
        &mut self,
        route: RouteId,
        call: CallId,
        (bytes, answers): (Vec<u8>, usize),
        now: Instant,
    ) {
        let mut streams = self.streams.values_mut().rev();
        let takes = |s: &&mut Stream| s.route == route && s.reader.has_begun_raw();
        match streams.find(takes).filter(|stream| !stream.flight.is_full()) {
            Some(stream) => {
                stream.cable.send(bytes, now);
                stream.flight.push(call, answers, now);
            }
            None => self.callers.entry((route, false)).or_default().call(call, (bytes, answers)),
        }
    }
}

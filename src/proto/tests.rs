//! The core by itself: one hub or two, requests in, bytes out.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::auth::office::Question;
use crate::base::id::{ConnKey, ShardId};
use crate::base::name::TopicName;
use crate::base::reason::CloseReason;
use crate::base::time::{Instant, Span};
use crate::proto::connection::{Door, Gate};
use crate::proto::directory::Directory;
use crate::proto::hub::{Hub, Setup};
use crate::proto::output::{Output, Written};
use crate::proto::resource::{Actions, Consumer, Decision, Message, Resource, TopicOptions};
use crate::proto::settings::Settings;
use crate::proto::stats::Stats;

#[cfg(test)]
mod access;
#[cfg(test)]
mod asking;
#[cfg(test)]
mod beating;
#[cfg(test)]
mod common;
#[cfg(test)]
mod corners;
#[cfg(test)]
mod flushing;
#[cfg(test)]
mod hidden;
#[cfg(test)]
mod leaving;
#[cfg(test)]
mod lines;
#[cfg(test)]
mod sealed_lines;
#[cfg(test)]
mod sealing;
#[cfg(test)]
mod sends;
#[cfg(test)]
mod stalled;
#[cfg(test)]
mod storm;
#[cfg(test)]
mod waking;

/// Some hubs whose parcels and moves are carried at once.
struct Pack {
    hubs: Vec<Hub>,
    now: Instant,
    /// (shard, connection) of each peer, by its number.
    conns: Vec<Option<(usize, ConnKey)>>,
    received: Vec<Vec<u8>>,
    /// Nothing is drained after a write to this peer.
    drains_until: Option<usize>,
    /// How often readers may still be told of what is new; `None` for any number.
    strides: Option<u32>,
    /// How many bytes each peer still takes; `None` for any number.
    rooms: Vec<Option<usize>>,
    /// The patience that TCP was told to have with a peer, as often as it was told.
    patience: Vec<(usize, u32)>,
    closed: Vec<(usize, CloseReason)>,
    /// What was asked about clients, with the shard that waits, and has no answer yet.
    questions: Vec<(usize, Box<Question>)>,
}

impl Pack {
    fn new(shards: u8, settings: Settings, directory: Directory) -> Self {
        let (settings, directory) = (Arc::new(settings), Arc::new(directory));
        let now = Instant::from_nanos(1);
        let hub = |shard| {
            Hub::new(Setup {
                settings: settings.clone(),
                directory: directory.clone(),
                shard: ShardId(shard),
                shards,
                seed: [5; 32],
                unix_micros_at_zero: 1_700_000_000_000_000,
                now,
            })
        };
        let hubs = (0..shards).map(hub).collect();
        Self {
            hubs,
            now,
            conns: Vec::new(),
            received: Vec::new(),
            drains_until: None,
            strides: None,
            rooms: Vec::new(),
            patience: Vec::new(),
            closed: Vec::new(),
            questions: Vec::new(),
        }
    }

    fn connect(&mut self, shard: usize, gate: impl Into<Gate>) -> usize {
        let peer: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let conn = self.hubs[shard].handle_accepted(peer, gate, self.now).unwrap();
        self.conns.push(Some((shard, conn)));
        self.received.push(Vec::new());
        self.rooms.push(None);
        self.conns.len() - 1
    }

    /// A document of a new session: its peer, its first frames, and what later commands need.
    fn document(&mut self, shard: usize, query: &str) -> (usize, Vec<String>, String) {
        let peer = self.connect(shard, Door::Public);
        let seen = frames(&self.get(peer, &format!("/ahm/mux.html?{query}")));
        let (mid, key) = (attribute(&seen, "mid"), attribute(&seen, "k"));
        (peer, seen, format!("scs=ahm&mid={mid}&k={key}"))
    }

    /// What a peer has received since it was last asked, as frames.
    fn fresh(&mut self, peer: usize) -> Vec<String> {
        let text = String::from_utf8_lossy(&std::mem::take(&mut self.received[peer])).into_owned();
        text.split('\n').filter(|line| line.starts_with("<p ")).map(str::to_string).collect()
    }

    /// The peer goes without a word.
    fn cut(&mut self, peer: usize) {
        if let Some((shard, conn)) = self.conns[peer].take() {
            self.hubs[shard].handle_failed(conn, self.now);
            self.drain();
        }
    }

    /// The peer takes so many bytes more, and then nothing.
    fn give_room(&mut self, peer: usize, room: Option<usize>) {
        self.rooms[peer] = room;
        if let Some((shard, conn)) = self.conns[peer] {
            self.hubs[shard].handle_writable(conn, self.now);
            self.drain();
        }
    }

    fn handle_all(&mut self, each: impl Fn(&mut Hub, Instant)) {
        for hub in &mut self.hubs {
            each(hub, self.now);
        }
        self.drain();
    }

    /// What all hubs have counted.
    fn stats(&self) -> Stats {
        let mut stats = Stats::default();
        self.hubs.iter().for_each(|hub| stats.add(hub.stats()));
        stats
    }

    fn send(&mut self, peer: usize, bytes: &str) {
        let (shard, conn) = self.conns[peer].unwrap();
        self.hubs[shard].handle_received(conn, bytes.as_bytes(), self.now);
        self.drain();
    }

    fn get(&mut self, peer: usize, target: &str) -> String {
        self.received[peer].clear();
        self.send(peer, &format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        self.text(peer)
    }

    fn post(&mut self, peer: usize, target: &str, body: &str) -> String {
        self.received[peer].clear();
        let length = body.len();
        let head = format!(
            "POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
        );
        self.send(peer, &format!("{head}{body}"));
        self.text(peer)
    }

    fn text(&self, peer: usize) -> String {
        String::from_utf8_lossy(&self.received[peer]).into_owned()
    }

    fn pass(&mut self, span: Span) {
        let end = self.now + span;
        while let Some(next) =
            self.hubs.iter().filter_map(Hub::poll_timeout).min().filter(|next| *next <= end)
        {
            self.now = self.now.max(next);
            for hub in &mut self.hubs {
                hub.handle_timeout(self.now);
            }
            self.drain();
        }
        self.now = end;
    }

    fn drain(&mut self) {
        let mut any = true;
        while any {
            any = false;
            for shard in 0..self.hubs.len() {
                let mut named = Vec::new();
                while let Some(output) = self.poll_output(shard) {
                    any = true;
                    match output {
                        Output::Send(conn) => named.push(conn),
                        other => self.obey(shard, other),
                    }
                }
                self.write(shard, &named);
                let until = self.drains_until.map(|peer| &self.received[peer]);
                if until.is_some_and(|received| !received.is_empty()) {
                    return;
                }
            }
        }
    }

    fn poll_output(&mut self, shard: usize) -> Option<Output> {
        let strides = &mut self.strides;
        self.hubs[shard].poll_output_while(|| {
            let left = strides.is_none_or(|strides| strides > 0);
            *strides = strides.map(|strides| strides.saturating_sub(1));
            left
        })
    }

    fn write(&mut self, shard: usize, named: &[ConnKey]) {
        let Self { hubs, conns, received, rooms, .. } = self;
        hubs[shard].transmit(named, self.now, |conn, slices| {
            let peer = conns.iter().position(|at| *at == Some((shard, conn)));
            let Some(peer) = peer else { return Written { bytes: 0, blocked: true } };
            let (received, room) = (&mut received[peer], &mut rooms[peer]);
            let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            let taken = room.map_or(bytes.len(), |room| room.min(bytes.len()));
            received.extend_from_slice(&bytes[..taken]);
            *room = room.map(|room| room - taken);
            Written { bytes: taken, blocked: taken < bytes.len() }
        });
    }

    fn obey(&mut self, shard: usize, output: Output) {
        let peer_of = |conns: &[Option<(usize, ConnKey)>], conn| {
            conns.iter().position(|at| *at == Some((shard, conn)))
        };
        match output {
            Output::Close(conn, reason) => {
                if let Some(peer) = peer_of(&self.conns, conn) {
                    self.conns[peer] = None;
                    self.closed.push((peer, reason));
                }
            }
            Output::Ask(question) => self.questions.push((shard, question)),
            Output::Post(to, parcel) => self.hubs[to.index()].handle_parcel(parcel, self.now),
            Output::Move(conn, to) => {
                let peer = peer_of(&self.conns, conn).unwrap();
                let traveller = self.hubs[shard].depart(conn).unwrap();
                let conn = self.hubs[to.index()].handle_arrived(traveller, self.now).unwrap();
                self.conns[peer] = Some((to.index(), conn));
            }
            Output::Stream(conn, millis) => {
                if let Some(peer) = peer_of(&self.conns, conn) {
                    self.patience.push((peer, millis));
                }
            }
            Output::Send(_)
            | Output::Receive(_)
            | Output::Finish(_)
            | Output::Measure(..)
            | Output::Link(_)
            | Output::Relay(_) => {}
        }
    }
}

/// The frames of a chunked document.
fn frames(text: &str) -> Vec<String> {
    let body = text.split_once("\r\n\r\n").map_or(text, |(_, body)| body);
    let lines = body.split('\n').filter(|line| line.starts_with("<p "));
    lines.map(str::to_string).collect()
}

/// The value of an attribute of the first frame that has it.
fn attribute(frames: &[String], name: &str) -> String {
    let start = format!(" {name}=");
    let frame = frames.iter().find(|frame| frame.contains(&start)).unwrap();
    let rest = &frame[frame.find(&start).unwrap() + start.len()..];
    rest.split([' ', '>']).next().unwrap().to_string()
}

#[test]
fn one_get_is_enough_to_read_a_topic_on_any_number_of_shards() {
    for shards in 1..=3 {
        let mut pack = Pack::new(shards, Settings::default(), Directory::default());
        let publisher = pack.connect(0, Door::Private);
        for name in ["EURUSD", "NZDUSD", "XAUUSD"] {
            let answer = pack.post(publisher, &format!("/publish/fx/{name}"), "1.0 <1.1>");
            assert!(answer.contains("\"n\":1}"), "{answer}");
        }
        for (shard, name) in (0..shards).zip(["EURUSD", "NZDUSD", "XAUUSD"]) {
            let reader = pack.connect(usize::from(shard), Door::Public);
            let target = format!("/ahm/mux.html?open=fx/{name};since=0:0");
            let seen = frames(&pack.get(reader, &target));
            assert!(seen[0].starts_with("<p i scs=ahm mid="), "{seen:?}");
            assert!(seen[1].contains(&format!(" u=fx/{name} ")), "{seen:?}");
            assert!(seen[2].starts_with("<p g "), "an epoch nobody knows: {seen:?}");
            assert!(seen[3].ends_with(">1.0 &lt;1.1&gt;"), "{seen:?}");
            pack.received[reader].clear();
            pack.post(publisher, &format!("/publish/fx/{name}"), "2");
            pack.post(publisher, &format!("/publish/fx/{name}"), "3");
            let seen = frames(&pack.text(reader));
            assert_eq!(seen.len(), 2, "{seen:?}");
            assert!(seen[1].contains(" n=3>3"), "{seen:?}");
        }
    }
}

#[test]
fn a_document_beats_is_refreshed_and_its_session_lingers() {
    let mut pack = Pack::new(2, Settings::default(), Directory::default());
    let publisher = pack.connect(0, Door::Private);
    pack.post(publisher, "/publish/fx/A", "1");
    let first = pack.connect(0, Door::Public);
    let opened = frames(&pack.get(first, "/ahm/mux.html?open=fx/A&h=1000"));
    let (mid, key) = (attribute(&opened, "mid"), attribute(&opened, "k"));
    pack.received[first].clear();
    pack.pass(Span::from_secs(3));
    let beats = frames(&pack.text(first));
    assert!((3..=4).contains(&beats.len()), "{beats:?}");
    assert!(beats.iter().all(|beat| beat.starts_with("<p h=1000 t=17")), "{beats:?}");
    let (cid, ep) = (attribute(&opened, "c"), attribute(&opened, "ep"));
    let target = format!("/ahm/refresh.html?scs=ahm&mid={mid}&k={key}&h=1000&last={cid}:{ep}:0");
    let second = pack.connect(1, Door::Public);
    let again = frames(&pack.get(second, &target));
    assert!(!again.is_empty(), "{}", pack.text(second));
    assert_eq!(attribute(&again, "d"), "2");
    assert!(!again[0].contains(" k="), "the key is shown once");
    assert!(again[2].ends_with(" n=1>1"), "{again:?}");
    pack.received[first].clear();
    pack.received[second].clear();
    pack.post(publisher, "/publish/fx/A", "2");
    assert_eq!(frames(&pack.text(first)), frames(&pack.text(second)), "both carry everything");
    pack.pass(Span::from_millis(1_010));
    assert!(pack.text(first).contains("<p z e=refreshed>"), "{}", pack.text(first));
    let (shard, conn) = pack.conns[second].take().unwrap();
    pack.hubs[shard].handle_failed(conn, pack.now);
    assert_eq!(pack.hubs[shard].session_count(), 1);
    pack.pass(Span::from_secs(61));
    assert_eq!(pack.hubs[shard].session_count(), 0);
    let third = pack.connect(0, Door::Public);
    assert!(pack.get(third, &target).contains("\"error\":\"no-session\""));
}

#[test]
fn a_lingering_sessions_topics_stay() {
    for shards in [1, 3] {
        let grace = Span::from_secs(1);
        let settings = Settings { topic_grace: grace, ..Settings::default() };
        let mut pack = Pack::new(shards, settings, Directory::default());
        let publisher = pack.connect(0, Door::Private);
        pack.post(publisher, "/publish/fx/A", "1");
        for shard in 0..usize::from(shards) {
            let first = pack.connect(shard, Door::Public);
            let opened = frames(&pack.get(first, "/ahm/mux.html?open=fx/A"));
            let (mid, key) = (attribute(&opened, "mid"), attribute(&opened, "k"));
            let (cid, ep) = (attribute(&opened, "c"), attribute(&opened, "ep"));
            let n: u32 = attribute(&opened, "n").parse().unwrap();
            let (at, conn) = pack.conns[first].take().unwrap();
            pack.hubs[at].handle_failed(conn, pack.now);
            pack.pass(Span::from_secs(20));
            let second = pack.connect(shard, Door::Public);
            let target = format!("/ahm/mux.html?mid={mid}&k={key}&last={cid}:{ep}:{n}");
            let again = frames(&pack.get(second, &target));
            assert!(again.iter().any(|frame| frame.contains(" u=fx/A ")), "{again:?}");
            pack.post(publisher, "/publish/fx/A", "next");
            let seen = frames(&pack.text(second));
            assert!(seen.last().unwrap().ends_with(&format!(" n={}>next", n + 1)), "{seen:?}");
        }
    }
}

/// Answers once and ends the channel.
#[derive(Debug)]
struct Once;

impl Resource for Once {
    fn open(&self, _: &str, _: &Consumer) -> Decision {
        Decision::Private(TopicOptions::default())
    }

    fn message(&self, _: &Message<'_>, actions: &mut Actions) {
        actions.reply("that was all");
        actions.end();
    }
}

#[test]
fn a_document_in_a_used_slot_keeps_its_channels() {
    let mut directory = Directory::default();
    directory.add("once", Arc::new(Once)).unwrap();
    let mut pack = Pack::new(1, Settings::default(), directory);
    let publisher = pack.connect(0, Door::Private);
    pack.post(publisher, "/publish/fx/A", "1");
    let other = pack.connect(0, Door::Public);
    let opened = frames(&pack.get(other, "/ahm/mux.html?open=fx/A"));
    let (mid, key) = (attribute(&opened, "mid"), attribute(&opened, "k"));
    let talk = pack.connect(0, Door::Public);
    let opened = frames(&pack.get(talk, "/ahm/mux.html?open=once/x;cid=7"));
    let (talk_mid, talk_key) = (attribute(&opened, "mid"), attribute(&opened, "k"));
    let line = pack.connect(0, Door::Public);
    let target = format!("/ahm/send?mid={talk_mid}&k={talk_key}&cid=7&n=1&data=x");
    pack.received[talk].clear();
    pack.drains_until = Some(talk);
    pack.get(line, &target);
    pack.drains_until = None;
    assert!(pack.text(talk).contains("<p x c=7 e=gone>"), "{}", pack.text(talk));
    // Before anything else is drained the document goes, and another takes its slot.
    let (_, conn) = pack.conns[talk].take().unwrap();
    pack.hubs[0].handle_failed(conn, pack.now);
    let successor = pack.connect(0, Door::Public);
    pack.get(successor, &format!("/ahm/mux.html?mid={mid}&k={key}&last="));
    pack.post(publisher, "/publish/fx/A", "2");
    assert!(pack.text(successor).contains(">2"), "{}", pack.text(successor));
}

#[test]
fn an_open_that_is_called_off_is_answered() {
    for (calls_off, code) in [("close?cid=5", "no-channel"), ("logout?x=1", "no-session")] {
        let mut pack = Pack::new(2, Settings::default(), Directory::default());
        let name = TopicName::new("fx", "A").unwrap();
        let home = pack.hubs[0].home_of(&name).index();
        let publisher = pack.connect(0, Door::Private);
        pack.post(publisher, "/publish/fx/A", "1");
        // A session away from the topic's home, so that its open has to wait.
        let reader = pack.connect(1 - home, Door::Public);
        let opened = frames(&pack.get(reader, "/ahm/mux.html?h=1000"));
        let session = format!("mid={}&k={}", attribute(&opened, "mid"), attribute(&opened, "k"));
        let line = pack.connect(1 - home, Door::Public);
        pack.get(line, &format!("/ahm/ping?{session}"));
        pack.received[line].clear();
        let (shard, conn) = pack.conns[line].unwrap();
        let get = |what: &str| format!("GET /ahm/{what}&{session} HTTP/1.1\r\nHost: x\r\n\r\n");
        let both = get("open?resource=fx&subject=A&cid=5") + &get(calls_off);
        pack.hubs[shard].handle_received(conn, both.as_bytes(), pack.now);
        pack.drain();
        let text = pack.text(line);
        assert_eq!(text.matches("HTTP/1.1 ").count(), 2, "{text}");
        assert!(text.contains(&format!("\"error\":\"{code}\"")), "{text}");
        assert!(text.ends_with("{\"ok\":true}"), "{text}");
    }
}

#[test]
fn a_duplicate_is_succeeded_by_its_number_and_four_places_are_enough() {
    let mut pack = Pack::new(1, Settings::default(), Directory::default());
    let publisher = pack.connect(0, Door::Private);
    pack.post(publisher, "/publish/fx/A", "1");
    let mut documents = vec![pack.connect(0, Door::Public)];
    let opened = frames(&pack.get(documents[0], "/ahm/mux.html?open=fx/A&h=1000"));
    let (mid, key) = (attribute(&opened, "mid"), attribute(&opened, "k"));
    let rest = format!("scs=ahm&mid={mid}&k={key}&h=1000");
    for number in 2..=4 {
        let conn = pack.connect(0, Door::Public);
        let seen = frames(&pack.get(conn, &format!("/ahm/mux.html?{rest}&dup=1")));
        assert_eq!(attribute(&seen, "d"), number.to_string());
        documents.push(conn);
    }
    let conn = pack.connect(0, Door::Public);
    let refused = pack.get(conn, &format!("/ahm/mux.html?{rest}&dup=1"));
    assert!(refused.contains("too-many"), "{refused}");
    // A successor of the third has room: that one goes at once, and no other.
    let seen = frames(&pack.get(conn, &format!("/ahm/refresh.html?{rest}&dup=1&d=3")));
    assert_eq!(attribute(&seen, "d"), "5");
    assert!(pack.conns[documents[2]].is_none(), "no place is left for an overlap");
    for number in [1, 2, 4] {
        assert!(pack.conns[documents[number - 1]].is_some(), "document {number}");
    }
    // One that has gone already is succeeded by one more; there is a place for it no longer.
    let late = pack.connect(0, Door::Public);
    let refused = pack.get(late, &format!("/ahm/refresh.html?{rest}&dup=1&d=3"));
    assert!(refused.contains("too-many"), "{refused}");
    // The first is no duplicate, and no duplicate takes its place.
    let refused = pack.get(late, &format!("/ahm/refresh.html?{rest}&dup=1&d=1"));
    assert!(refused.contains("too-many"), "{refused}");
    // With a place left both carry everything for the time of the overlap.
    let (shard, gone) = pack.conns[documents[1]].take().unwrap();
    pack.hubs[shard].handle_failed(gone, pack.now);
    let seen = frames(&pack.get(late, &format!("/ahm/refresh.html?{rest}&dup=1&d=4")));
    assert_eq!(attribute(&seen, "d"), "6");
    pack.received[documents[3]].clear();
    pack.received[late].clear();
    pack.post(publisher, "/publish/fx/A", "2");
    assert_eq!(frames(&pack.text(documents[3])), frames(&pack.text(late)));
    // What has its successor gives way to one more duplicate before its time.
    let more = pack.connect(0, Door::Public);
    let seen = frames(&pack.get(more, &format!("/ahm/mux.html?{rest}&dup=1")));
    assert_eq!(attribute(&seen, "d"), "7");
    assert!(pack.conns[documents[3]].is_none());
    pack.pass(Span::from_secs(3));
    for conn in [documents[0], conn, late, more] {
        let text = pack.text(conn);
        assert!(!text.contains("<p z") && text.contains("<p h=1000 t=17"), "{text}");
    }
}

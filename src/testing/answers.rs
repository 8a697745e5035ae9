//! What a scripted client makes of answers to its commands.

use serde_json::Value;

use crate::base::id::{Cid, Epoch};
use crate::html::scan::{Frame, Scanner};
use crate::testing::channel::State;
use crate::testing::lines::Fate;
use crate::testing::model::At;
use crate::testing::peer::{Asked, Peer, What, error_of};
use crate::testing::reader::{Kind, Reader, Start};
use crate::testing::world::World;

impl Peer {
    /// What became of a command.
    ///
    /// # Panics
    ///
    /// If the answer cannot be right.
    pub fn hear(&mut self, fate: Fate<Asked>, world: &mut World) {
        match fate {
            Fate::Lost(asked) => self.lost(asked),
            Fate::Answer(asked, status, body) => {
                let text = String::from_utf8_lossy(&body).into_owned();
                world.note(|| format!("peer {} {asked:?}: {status} {text}", self.id));
                self.answered(asked, status, &body, world);
            }
        }
    }

    /// Whether the command was for the session that the client has now.
    fn is_present(&self, asked: &Asked) -> bool {
        self.session.as_ref().is_some_and(|session| session.mid == asked.mid)
    }

    fn lost(&mut self, asked: Asked) {
        let present = self.is_present(&asked);
        match asked.what {
            What::Login => self.logging_in = false,
            What::Send(cid, n) if present => self.send_again(&[(cid, n)]),
            What::Batch(numbers) if present => self.send_again(&numbers),
            What::Close(channel) if present && self.channels[channel].ending => {
                // It may have ended or not; its documents will say.
            }
            _ => {}
        }
    }

    fn send_again(&mut self, numbers: &[(u32, u64)]) {
        if let Some(session) = &mut self.session {
            session.again.extend_from_slice(numbers);
        }
    }

    fn answered(&mut self, asked: Asked, status: u16, body: &[u8], world: &mut World) {
        let text = String::from_utf8_lossy(body).into_owned();
        let error = error_of(body);
        if let What::History(channel, since, limit) = asked.what {
            // It asks as its session, which may be over by now.
            let ended = !self.is_present(&asked) || self.may_be_gone(world);
            if ended && error == "no-session" {
                return;
            }
            return self.check_history(channel, since, limit, status, body, world);
        }
        if let What::Probe(code) = asked.what {
            let ended = !self.is_present(&asked) || self.may_be_gone(world);
            let gone = ended && matches!(&error[..], "no-session" | "no-channel");
            assert!(error == code || gone, "a {code} got {status} {text}");
            return;
        }
        if let What::Batch(numbers) = &asked.what {
            assert_eq!(status, 200, "{text}");
            let lines: Vec<&str> = text.lines().collect();
            assert_eq!(lines.len(), numbers.len(), "{text}");
            for (&(cid, n), line) in numbers.iter().zip(lines) {
                let one = Asked { what: What::Send(cid, n), ..asked.clone() };
                self.answered_in_session(one, line.as_bytes(), world);
            }
            return;
        }
        let value: Value = serde_json::from_slice(body).expect("an answer in JSON");
        assert_eq!(value["ok"] == true, status == 200, "{status} {text}");
        match &asked.what {
            What::Ping(words) if status == 200 => assert_eq!(value["t"], words.as_str()),
            What::Login => {
                self.logging_in = false;
                let mid = value["mid"].as_str().and_then(|mid| mid.parse().ok());
                let key = value["k"].as_str().unwrap_or_default().to_string();
                let mid = mid.expect("a session has a number");
                self.begin_session(mid, key, asked.at, world.life);
            }
            _ => self.answered_in_session(asked, body, world),
        }
    }

    fn answered_in_session(&mut self, asked: Asked, body: &[u8], world: &mut World) {
        let value: Value = serde_json::from_slice(body).expect("an answer in JSON");
        let error = error_of(body);
        if !self.is_present(&asked) {
            // The session that it was for is over.
            if let (What::Send(cid, n), true) = (&asked.what, error.is_empty()) {
                self.told(asked.mid, *cid, *n, &value);
            }
            return;
        }
        if error == "no-session" {
            assert!(self.may_be_gone(world), "peer {}: {value}", self.id);
            self.forget_session(world);
            return;
        }
        match asked.what {
            // Of a channel that is over; its successor was asked for by itself.
            What::Open(channel) if self.channels[channel].over_at > asked.at => {}
            What::Open(channel) => self.open_answered(channel, &error, &value, world),
            What::Send(cid, n) => self.send_answered(cid, n, &error, &value, &asked),
            What::Close(channel) => {
                assert!(matches!(&error[..], "" | "no-channel"), "{value}");
                let channel = &mut self.channels[channel];
                if channel.ending && channel.state == State::Open {
                    channel.stop(world.now, world.life);
                }
            }
            What::Logout => {
                assert_eq!(error, "", "{value}");
                self.forget_session(world);
            }
            other => assert_eq!(error, "", "{other:?}: {value}"),
        }
    }

    fn open_answered(&mut self, channel: usize, error: &str, value: &Value, world: &World) {
        if error == "no-channel" && self.may_be_gone(world) {
            // It was called off with the session.
            return;
        }
        let state = &mut self.channels[channel];
        match error {
            "" => {}
            "no-resource" if state.topic.starts_with("raw/") => {
                if state.state == State::Asked {
                    state.asks -= 1;
                    if state.asks == 0 {
                        state.stop(world.now, world.life);
                    }
                }
                return;
            }
            "conflict" | "no-channel" if state.asks > 1 || state.state != State::Asked => return,
            _ => panic!("peer {}: open of {}: {value}", self.id, state.topic),
        }
        let cid = value["cid"].as_u64().and_then(|cid| u32::try_from(cid).ok());
        let cid = cid.expect("an open channel has a number");
        let place = value["ep"].as_str().and_then(Epoch::parse).zip(value["n"].as_u64());
        let place = place.expect("an open channel has a place");
        assert!(place.1 <= value["head"].as_u64().unwrap_or_default(), "{value}");
        assert!(state.chosen.is_none_or(|chosen| chosen == cid), "{value}");
        if state.chosen.is_none() {
            assert!((Cid::SHARED_FIRST..Cid::PRIVATE_FIRST).contains(&cid), "{value}");
        }
        if let Some(session) = &self.session {
            let next = session.numbers.get(&cid).copied().unwrap_or(1);
            let expected = value["sn"].as_u64().unwrap_or_default();
            assert!((1..=next).contains(&expected), "{value}, but {next} is the next");
        }
        if state.state == State::Asked {
            state.state = State::Open;
            state.open_at = world.now;
            state.cid = Some(cid);
        }
    }

    fn told(&mut self, mid: u64, cid: u32, n: u64, value: &Value) {
        let outcome = value["outcome"].as_str().unwrap_or_default();
        assert!(matches!(outcome, "taken" | "held" | "dup"), "{value}");
        assert_eq!(value["n"], n, "{value} answers another send");
        if outcome != "held" {
            self.model.lock().told(mid, cid, n, outcome);
        }
    }

    fn send_answered(&mut self, cid: u32, n: u64, error: &str, value: &Value, asked: &Asked) {
        match error {
            "" => self.told(asked.mid, cid, n, value),
            "skipped" => self.model.lock().told(asked.mid, cid, n, "skipped"),
            "out-of-window" => {
                let next = value["sn"].as_u64().unwrap_or_default();
                assert!(next > 0 && next < n, "{value} for {n}");
                self.send_again(&[(cid, n)]);
            }
            "no-channel" => {
                let channel = self.channels.iter().find(|channel| channel.cid == Some(cid));
                let ended = channel.is_none_or(|channel| {
                    channel.state != State::Open
                        || channel.ending
                        || channel.over_at >= asked.at
                        || channel.open_at >= asked.at
                        || channel.kind == Kind::Strict
                }) || self.session.as_ref().is_some_and(|session| session.has_bye(cid));
                assert!(ended, "peer {}: channel {cid} is open: {value}", self.id);
                self.send_again(&[(cid, n)]);
            }
            _ => panic!("peer {}: send {cid}/{n}: {value}", self.id),
        }
    }

    fn check_history(
        &mut self,
        channel: usize,
        since: Option<(At, u32)>,
        limit: u64,
        status: u16,
        body: &[u8],
        world: &World,
    ) {
        let topic = &self.channels[channel].topic;
        if status != 200 {
            let error = error_of(body);
            assert_eq!(error, "no-resource", "history of {topic}");
            return;
        }
        let foreign = since.is_some_and(|(_, life)| life != world.life);
        let start = Start { has: since.map(|(at, _)| at), foreign };
        let mut reader = Reader::new(topic, Kind::Queue, start, world.now);
        let mut model = self.model.lock();
        let mut count = 0;
        let mut scanner = Scanner::new(200_000);
        let scanned = scanner.push(body, |frame| match frame {
            Frame::Opened { ep, n, head, .. } => reader.opened(ep, n.0, head.0),
            Frame::Gap { ep, n, missing, .. } => reader.gap(ep, n.0, missing, &model),
            Frame::Message { n, snapshot, payload, .. } => {
                reader.message(n.0, snapshot, &payload, &mut model);
                count += 1;
            }
            other => panic!("history of {topic} holds {other:?}"),
        });
        scanned.expect("well-formed frames");
        assert!(count <= limit, "{count} messages of {topic}, {limit} asked for");
    }
}

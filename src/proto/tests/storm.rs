//! Everything at once, from a seed: what must hold holds after every step.

use std::sync::Arc;

use crate::base::random::Random;
use crate::base::time::Span;
use crate::proto::connection::Door;
use crate::proto::directory::Directory;
use crate::proto::settings::{History, Settings};
use crate::proto::stats::Stats;
use crate::proto::tests::{Once, Pack, attribute, frames};

struct Storm {
    pack: Pack,
    random: Random,
    publisher: usize,
    /// What proves each session.
    sessions: Vec<String>,
    /// Peers that were given a document.
    readers: Vec<usize>,
}

impl Storm {
    fn new(seed: u64) -> Self {
        let mut random = Random::from_number(seed);
        let history = History { messages_max: 1 + random.below(5) as u32, ..History::default() };
        let settings = Settings {
            history,
            client_heartbeat: random.below(2) == 0,
            linger: Span::from_secs(random.below(10)),
            stalled_bytes_max: 60_000,
            send_window: 8,
            ..Settings::default()
        };
        let mut directory = Directory::default();
        directory.add("once", Arc::new(Once)).unwrap();
        let mut pack = Pack::new(1 + random.below(3) as u8, settings, directory);
        let publisher = pack.connect(0, Door::Private);
        Self { pack, random, publisher, sessions: Vec::new(), readers: Vec::new() }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.random.below(end)
    }

    fn line(&mut self) -> usize {
        let shard = self.below(self.pack.hubs.len() as u64) as usize;
        self.pack.connect(shard, Door::Public)
    }

    fn session(&mut self) -> String {
        let end = self.sessions.len() as u64;
        if end == 0 {
            "mid=5&k=x".into()
        } else {
            self.sessions[self.random.below(end) as usize].clone()
        }
    }

    fn reader(&mut self) -> Option<usize> {
        let end = self.readers.len() as u64;
        (end > 0).then(|| self.readers[self.random.below(end) as usize])
    }

    fn open(&mut self) -> String {
        let name = ["fx/A", "fx/B", "once/x", "none/x"][self.below(4) as usize];
        let cid = 1 + self.below(4);
        let strict = self.below(2);
        let since = ["", ";since=e:3", ";since=0:0"][self.below(3) as usize];
        format!("{name};cid={cid};strict={strict}{since}")
    }

    fn succeed(&mut self) {
        let (peer, me, open) = (self.line(), self.session(), self.open());
        let kind = ["mux.html?dup=1&", "refresh.html?", "mux.html?last=&"];
        let kind = kind[self.below(3) as usize];
        let twice = format!("open={open}&open={open}");
        self.pack.get(peer, &format!("/ahm/{kind}{me}&{twice}"));
        self.readers.push(peer);
    }

    fn step(&mut self) {
        let strides = [None, Some(self.below(3) as u32)];
        self.pack.strides = strides[self.below(2) as usize];
        match self.below(12) {
            0 | 1 => {
                let (peer, open) = (self.line(), self.open());
                let h = self.below(4) * 700;
                let target = format!("/ahm/mux.html?h={h}&open={open}");
                let seen = frames(&self.pack.get(peer, &target));
                if !seen.is_empty() {
                    let (mid, key) = (attribute(&seen, "mid"), attribute(&seen, "k"));
                    self.sessions.push(format!("mid={mid}&k={key}"));
                    self.readers.push(peer);
                }
            }
            2 => self.succeed(),
            3 | 4 => {
                let name = ["A", "B"][self.below(2) as usize];
                let size = self.below(12_000) as usize;
                let (publisher, body) = (self.publisher, "x".repeat(size));
                self.pack.post(publisher, &format!("/publish/fx/{name}"), &body);
            }
            5 => {
                let (peer, me, h) = (self.line(), self.session(), self.below(5) * 600);
                self.pack.get(peer, &format!("/ahm/ping?{me}&h={h}"));
            }
            6 => {
                let (peer, me) = (self.line(), self.session());
                let (cid, n) = (1 + self.below(4), 1 + self.below(6));
                self.pack.get(peer, &format!("/ahm/send?{me}&cid={cid}&n={n}&data=x"));
            }
            7 => {
                let (peer, me, cid) = (self.line(), self.session(), 1 + self.below(4));
                let what = ["close", "logout"][usize::from(self.below(8) == 0)];
                self.pack.get(peer, &format!("/ahm/{what}?{me}&cid={cid}"));
            }
            8 => {
                if let Some(reader) = self.reader() {
                    self.pack.rooms[reader] = Some(self.random.below(3_000) as usize);
                }
            }
            9 => {
                if let Some(reader) = self.reader() {
                    let room = [None, Some(self.random.below(9_000) as usize)];
                    self.pack.give_room(reader, room[self.random.below(2) as usize]);
                }
            }
            10 => {
                if let Some(reader) = self.reader() {
                    self.pack.cut(reader);
                }
            }
            _ => {
                let span = Span::from_millis(self.below(2_000));
                self.pack.pass(span);
            }
        }
    }

    fn check(&self, what: &str) {
        for hub in &self.pack.hubs {
            hub.check_invariants().unwrap_or_else(|error| panic!("{what}: {error}"));
        }
    }
}

#[test]
fn what_must_hold_holds_after_every_step_and_nothing_is_left_at_the_end() {
    let mut all = Stats::default();
    for seed in 0..32 {
        let mut storm = Storm::new(seed);
        for step in 0..250 {
            if step == 200 && seed % 2 == 0 {
                storm.pack.handle_all(|hub, now| hub.handle_drain(Span::from_secs(5), now));
            }
            storm.step();
            storm.check(&format!("seed {seed}, step {step}"));
        }
        storm.pack.strides = None;
        for reader in storm.readers.clone() {
            storm.pack.cut(reader);
        }
        storm.pack.pass(Span::from_secs(400));
        storm.check(&format!("seed {seed}, at the end"));
        for hub in &storm.pack.hubs {
            assert_eq!((hub.document_count(), hub.session_count()), (0, 0), "seed {seed}");
            assert_eq!(hub.stalled_bytes(), 0, "seed {seed}");
        }
        all.add(&storm.pack.stats());
    }
    // Each of these has happened, or the storm was none.
    for name in [
        "documents_refreshed",
        "documents_stale",
        "clients_quiet",
        "clients_dropped",
        "overruns",
        "drain_refused",
        "stalled_cut",
    ] {
        assert!(all.to_string().contains(&format!(" {name}=")), "no {name}: {all}");
    }
    assert!(all.gaps > 0 && all.sends_skipped > 0 && all.sends_taken > 0, "{all}");
}

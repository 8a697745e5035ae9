//! One seed's story: a server, its clients and publishers, everything that goes wrong, and what
//! must be true at the end.

use crate::base::time::{Instant, Span};
use crate::proto::connection::Door;
use crate::proto::settings::{History, Settings};
use crate::testing::channel::{Channel, State};
use crate::testing::lines::{Fate, Line};
use crate::testing::model::Shared;
use crate::testing::net::Side;
use crate::testing::peer::{Asked, Peer};
use crate::testing::probe::{directory, heard_payload};
use crate::testing::publisher::Publisher;
use crate::testing::reader::Kind;
use crate::testing::world::World;

/// Topics of the world and whether their publisher numbers them.
const TOPICS: [(&str, bool); 7] = [
    ("feed/s1", false),
    ("feed/p1", false),
    ("feed/s2", true),
    ("feed/p2", true),
    ("raw/a", false),
    ("raw/b", true),
    ("board/x", false),
];

/// All that takes part.
#[derive(Debug)]
pub struct Swarm {
    /// Server and network.
    pub world: World,
    model: Shared,
    peers: Vec<Peer>,
    lines: Vec<Line<Asked>>,
    publisher: Publisher,
    restarts: Vec<Instant>,
    end: Instant,
}

impl Swarm {
    /// A swarm; all about it follows from `seed`.
    pub fn new(seed: u64) -> Self {
        let mut plan = crate::base::random::Random::from_number(!seed);
        let shards = 1 + plan.below(4) as u8;
        let settings = settings(&mut plan);
        let model = Shared::default();
        model.lock().history = settings.history;
        model.lock().cut = settings.history_bytes_max < 1 << 20;
        let mut world = World::new(seed, shards, settings, directory(&model));
        model.lock().life = world.life;
        let names: Vec<_> = TOPICS.iter().map(|(name, _)| (*name).to_string()).collect();
        let numbered: Vec<_> = TOPICS.iter().map(|(_, numbered)| *numbered).collect();
        let publisher = Publisher::new(&names, &numbered, model.clone(), &mut world.random);
        let count = world.pick(2, 9) as usize;
        let peers =
            (0..count).map(|id| Peer::new(id, channels(&mut world), model.clone())).collect();
        let lines = (0..2).map(|_| Line::new(Door::Public)).collect();
        let end = Instant::ZERO + Span::from_millis(world.pick(6_000, 15_000));
        let mut restarts = Vec::new();
        for _ in 0..plan.below(3) {
            restarts.push(Instant::from_nanos(plan.below(end.as_nanos())));
        }
        Self { world, model, peers, lines, publisher, restarts, end }
    }

    /// Tells the whole story.
    ///
    /// # Panics
    ///
    /// If anything is not as it must be.
    pub fn run(&mut self) {
        while self.world.now < self.end {
            let now = self.world.now;
            let due = self.restarts.iter().position(|at| *at <= now);
            if let Some(due) = due {
                self.restarts.swap_remove(due);
                self.restart();
            }
            self.step(true);
        }
        self.settle();
        self.check();
        self.farewell();
    }

    fn restart(&mut self) {
        self.calm_for(Span::from_millis(900), false);
        // What was given up for lost a moment ago may have let others go.
        while self.world.delivers() {
            self.step(false);
        }
        self.model.lock().check_life();
        let graceful = self.world.chance(2);
        self.world.restart(graceful);
        self.model.lock().life = self.world.life;
        self.publisher.listen(&mut self.world);
        self.publisher.restarted(&mut self.world);
    }

    /// Time passes; who acts, acts.
    fn step(&mut self, active: bool) {
        let span =
            if self.world.chance(10) { self.world.pick(5, 40) } else { self.world.pick(0, 8) };
        let span = Span::from_micros(span * 1_000 + self.world.random.below(1_000));
        self.world.step(span);
        self.model.lock().now = self.world.now;
        self.publisher.listen(&mut self.world);
        for peer in &mut self.peers {
            peer.read(&mut self.world);
        }
        self.hear();
        if active {
            if self.world.chance(3) {
                self.publisher.act(&mut self.world);
            }
            for peer in &mut self.peers {
                peer.act(&mut self.lines, &mut self.world);
            }
            if self.world.chance(500) {
                let line = self.world.random.below(self.lines.len() as u64) as usize;
                let side = if self.world.chance(2) { Side::Reset } else { Side::Closed };
                self.lines[line].cut(&mut self.world, side);
            }
        }
    }

    fn hear(&mut self) {
        let mut fates: Vec<Fate<Asked>> = Vec::new();
        for line in &mut self.lines {
            fates.append(&mut line.take(&mut self.world));
        }
        for peer in &mut self.peers {
            fates.append(&mut peer.line.take(&mut self.world));
        }
        for fate in fates {
            let who = match &fate {
                Fate::Answer(asked, ..) | Fate::Lost(asked) => asked.who,
            };
            self.peers[who].hear(fate, &mut self.world);
        }
    }

    fn calm_for(&mut self, span: Span, settle: bool) {
        let until = self.world.now + span;
        while self.world.now < until {
            self.step(false);
            if settle {
                for peer in &mut self.peers {
                    peer.settle(&mut self.lines, &mut self.world);
                }
            }
        }
    }

    /// All links heal, everybody comes back, one last message on every topic.
    fn settle(&mut self) {
        self.world.note(|| "CALM".into());
        self.world.calm();
        self.calm_for(Span::from_millis(4_000), true);
        for round in 0.. {
            self.calm_for(Span::from_millis(300), true);
            if self.publisher.finish(&mut self.world) {
                break;
            }
            assert!(round < 100, "a publisher gets no answers: {:?}", self.publisher);
        }
        for peer in &mut self.peers {
            for channel in 0..peer.channels.len() {
                peer.last_word(channel, &mut self.lines, &mut self.world);
            }
        }
        self.calm_for(Span::from_millis(3_500), true);
        assert!(!self.publisher.is_waiting(), "a publisher waits for an answer");
    }

    fn check(&mut self) {
        self.model.lock().check_life();
        for peer in &self.peers {
            assert_eq!(peer.line.waiting(), 0, "peer {} waits for an answer", peer.id);
            assert!(peer.session.is_some(), "peer {} has no session", peer.id);
            for doc in &peer.docs {
                for channel in &peer.channels {
                    check_channel(peer, doc, channel, &self.model, &self.world);
                }
            }
        }
        for line in &self.lines {
            assert_eq!(line.waiting(), 0, "somebody waits for an answer");
        }
    }

    /// Everybody leaves, one way or the other; nothing must stay behind.
    fn farewell(&mut self) {
        self.world.note(|| "FAREWELL".into());
        for peer in &mut self.peers {
            peer.leave(&mut self.lines, &mut self.world);
        }
        let settings = &self.world.settings;
        let span = settings.idle_timeout + settings.linger + settings.heartbeat_max.times(4);
        let until = self.world.now + span + Span::from_millis(4_000);
        while self.world.now < until {
            self.world.step(Span::from_millis(50));
            for peer in &mut self.peers {
                peer.line.take(&mut self.world);
            }
            for line in &mut self.lines {
                line.take(&mut self.world);
            }
            self.publisher.listen(&mut self.world);
        }
        for (shard, hub) in self.world.hubs.iter().enumerate() {
            let counts = (hub.connection_count(), hub.session_count(), hub.document_count());
            assert_eq!(
                counts,
                (0, 0, 0),
                "connections, sessions, documents of shard {shard}: {hub:?}"
            );
            let memory = hub.memory();
            assert!(memory < 4 << 20, "shard {shard} holds {memory} bytes for nobody");
        }
    }
}

fn check_channel(
    peer: &Peer,
    doc: &crate::testing::document::Doc,
    channel: &Channel,
    model: &Shared,
    world: &World,
) {
    if channel.state == State::Idle {
        return;
    }
    let who = format!("peer {} document {:?} {}", peer.id, doc.number, channel.topic);
    assert_eq!(channel.state, State::Open, "{who} is not open");
    if !doc.is_live() || world.wire(doc.wire).over || doc.wire_is_left(world) {
        return;
    }
    let Some(cid) = channel.cid else { panic!("{who} has no number") };
    let Some(reader) = doc.readers.get(&cid) else {
        // It may have ended on a document that was cut before its client read so.
        let byes = peer.session.as_ref().is_some_and(|session| session.has_bye(cid));
        let ended = channel.kind == Kind::Strict || channel.ending || byes;
        assert!(ended, "{who}: channel {cid} is missing");
        return;
    };
    if channel.is_private() {
        let mid = peer.session.as_ref().map_or(0, |session| session.mid);
        let last = model.lock().last_received(mid, cid);
        if !channel.ending {
            let expected = heard_payload("echo", mid, cid, last);
            let got = String::from_utf8_lossy(&reader.last_payload).into_owned();
            assert_eq!(got, String::from_utf8_lossy(&expected), "{who}: the last answer");
        }
        return;
    }
    let head = model.lock().head(&channel.topic);
    let server = world.describe(doc.wire);
    assert_eq!(reader.have(), head, "{who} has not reached the head: {server}");
}

fn settings(plan: &mut crate::base::random::Random) -> Settings {
    let mut pick = |options: &[u64]| options[plan.below(options.len() as u64) as usize];
    let history = History {
        messages_max: pick(&[1, 3, 8, 30, 128]) as u32,
        bytes_max: pick(&[300, 5_000, 64_000, 64_000, 1 << 20]) as u32,
        age_max: Span::from_millis(pick(&[200, 5_000, 60_000, 60_000])),
    };
    Settings {
        scs: "sim".into(),
        heartbeat: Span::from_millis(pick(&[300, 800, 1_500])),
        heartbeat_min: Span::from_millis(300),
        heartbeat_max: Span::from_millis(1_500),
        flush: Span::from_millis(pick(&[0, 0, 0, 10, 200])),
        flush_max: Span::from_millis(pick(&[0, 100, 1_000])),
        linger: Span::from_millis(pick(&[2_000, 4_000])),
        topic_grace: Span::from_millis(pick(&[1_200, 3_000, 60_000])),
        idle_timeout: Span::from_millis(pick(&[3_000, 8_000])),
        head_timeout: Span::from_millis(2_500),
        body_timeout: Span::from_millis(2_500),
        skip: Span::from_millis(pick(&[300, 1_000])),
        send_window: pick(&[3, 8, 64]) as u32,
        history_bytes_max: pick(&[20_000, 1 << 28, 1 << 28, 1 << 28]) as usize,
        history,
        ..Settings::default()
    }
}

/// A client's channels: each topic at most once, read in one of the ways that it allows.
fn channels(world: &mut World) -> Vec<Channel> {
    let mut channels = Vec::new();
    for (index, (topic, _)) in TOPICS.iter().enumerate() {
        if world.chance(3) {
            continue;
        }
        let kinds = [Kind::Queue, Kind::Queue, Kind::Strict, Kind::Latest, Kind::Rate(4)];
        let ways = if topic.starts_with("feed") { 5 } else { 3 };
        let kind = kinds[world.random.below(ways) as usize];
        let chosen = world.chance(3).then_some(100 + index as u32);
        channels.push(Channel::new(topic, kind, chosen));
    }
    for (index, subject) in ["u", "v"].iter().enumerate() {
        if world.chance(2) || channels.is_empty() {
            let topic = format!("echo/{subject}");
            channels.push(Channel::new(&topic, Kind::Queue, Some(200 + index as u32)));
        }
    }
    channels
}

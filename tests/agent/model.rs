//! A seeded run: one agent, one model server, faults between them, and a check of every event.

use std::collections::{BTreeMap, HashMap, HashSet};

use ahm::base::id::{Cid, Epoch, Key, Mid, Offset, ShardId};
use ahm::base::name::TopicName;
use ahm::base::random::Random;
use ahm::base::reason::{ChannelEnd, DocumentEnd, SendOutcome};
use ahm::base::time::{Instant, Span};
use ahm::client::agent::Agent;
use ahm::client::channel::Channel;
use ahm::client::event::{
    CallId, ChannelKey, Event, Fate, Output, Request, SendId, StreamId, StreamState, parse_topic,
};
use ahm::client::settings::Settings;
use ahm::html::frame;
use ahm::html::scan::{Frame, Scanner};
use ahm::wire::command::{self, Command, DocumentRequest, Mode, OpenRequest, Position, Positions};

/// One life of a topic's numbering.
struct Life {
    ep: Epoch,
    /// Offsets up to this are gone from history.
    trimmed: u64,
    payloads: Vec<Vec<u8>>,
}

impl Life {
    fn head(&self) -> u64 {
        self.payloads.len() as u64
    }
}

/// A topic; of its lives the first `gone` are no longer in history.
struct Topic {
    lives: Vec<Life>,
    gone: usize,
}

impl Topic {
    fn life(&self, ep: Epoch) -> Option<usize> {
        self.lives.iter().position(|life| life.ep == ep)
    }

    fn head(&self) -> Position {
        let life = self.lives.last().unwrap();
        Position { ep: life.ep, n: Offset(life.head()) }
    }

    fn restart(&mut self, random: &mut Random) {
        let ep = Epoch(random.next());
        self.lives.push(Life { ep, trimmed: 0, payloads: Vec::new() });
    }
}

#[derive(Clone)]
struct Opened {
    name: TopicName,
    life: u32,
    from: Position,
    folds: bool,
}

#[derive(Default)]
struct Session {
    channels: BTreeMap<Cid, Opened>,
    channels_ended: u32,
    expected: HashMap<Cid, u64>,
    held: BTreeMap<(Cid, u64), Vec<u8>>,
    documents: u32,
}

struct Document {
    mid: Mid,
    number: u32,
    dup: bool,
    /// Reads what the agent was given, to know what has arrived.
    scanner: Scanner,
    epochs: HashMap<Cid, Epoch>,
    cursors: BTreeMap<Cid, Position>,
    /// Written, not yet received.
    bytes: Vec<u8>,
    begun: bool,
    stalled: bool,
    beat_at: Instant,
    end_at: Instant,
    ended: bool,
}

impl Document {
    fn new(mid: Mid, number: u32, dup: bool, now: Instant) -> Self {
        Self {
            mid,
            number,
            dup,
            scanner: Scanner::new(1 << 20),
            epochs: HashMap::new(),
            cursors: BTreeMap::new(),
            bytes: frame::PREAMBLE.to_vec(),
            begun: false,
            stalled: false,
            beat_at: now + BEAT.fraction(9, 10),
            end_at: Instant::NEVER,
            ended: false,
        }
    }

    /// Whether its successor has begun.
    fn is_succeeded(&self) -> bool {
        self.end_at != Instant::NEVER || self.ended
    }

    fn hear(&mut self, bytes: &[u8], heard: &mut HashSet<(TopicName, Epoch, u64)>) {
        let epochs = &mut self.epochs;
        let note = |frame: Frame<'_>| match frame {
            Frame::Opened { c, ep, .. } | Frame::Gap { c, ep, .. } => drop(epochs.insert(c, ep)),
            Frame::Message { c, n, .. } => drop(heard.insert((topic_name(c), epochs[&c], n.0))),
            _ => {}
        };
        self.scanner.push(bytes, note).unwrap();
    }
}

struct Server {
    scs: String,
    topics: BTreeMap<TopicName, Topic>,
    sessions: HashMap<Mid, Session>,
    documents: BTreeMap<StreamId, Document>,
    /// Documents that were closed, of which the agent does not know yet.
    cut: Vec<StreamId>,
    /// Payloads that the resource got, in order.
    taken: Vec<Vec<u8>>,
    generation: u32,
}

const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAA";
const BEAT: Span = Span::from_secs(1);
const RESOURCES: [&str; 3] = ["fx/EURUSD", "fx/USDJPY", "crypto/BTC/USD"];

fn cid(topics: &BTreeMap<TopicName, Topic>, name: &TopicName) -> Cid {
    let index = topics.keys().position(|other| other == name).unwrap() as u32;
    Cid(Cid::SHARED_FIRST + index)
}

impl Server {
    fn mint(&mut self) -> Mid {
        self.generation += 1;
        let mid = Mid::new(ShardId(0), Key { slot: 3, generation: self.generation }).unwrap();
        self.sessions.insert(mid, Session::default());
        mid
    }

    fn open(&mut self, mid: Mid, request: &OpenRequest) -> Result<Cid, &'static str> {
        let topic = self.topics.get(&request.name).ok_or("no-resource")?;
        let number = cid(&self.topics, &request.name);
        let head = topic.head();
        let session = self.sessions.get_mut(&mid).unwrap();
        session.channels.entry(number).or_insert_with(|| Opened {
            name: request.name.clone(),
            life: session.channels_ended,
            from: request.since.unwrap_or(head),
            folds: Channel::folds(request),
        });
        let opened = session.channels[&number].clone();
        for document in self.documents.values_mut().filter(|document| document.mid == mid) {
            if !document.cursors.contains_key(&number) {
                let topic = &self.topics[&request.name];
                begin_channel(document, topic, number, &opened, opened.from, false);
            }
        }
        Ok(number)
    }

    fn ask(
        &mut self,
        stream: StreamId,
        request: &Request,
        random: &mut Random,
        now: Instant,
    ) -> (u16, Vec<u8>) {
        let (name, query) = request.target.split_once('?').unwrap();
        let parsed = command::parse(name, query).expect("the agent keeps to the grammar");
        let Command::Document(asked) = parsed.command else { panic!("{}", request.target) };
        let new = parsed.mid.is_none();
        let mid = match parsed.mid {
            Some(_) if parsed.scs.as_deref() != Some(&self.scs) => return refusal("wrong-server"),
            Some(mid) if !self.sessions.contains_key(&mid) => return refusal("no-session"),
            Some(mid) => {
                assert_eq!(request.key.as_deref(), Some(KEY), "the session is proved");
                mid
            }
            None => self.mint(),
        };
        if let Err(error) = self.make_room(mid, &asked, now) {
            return refusal(error);
        }
        for open in &asked.opens {
            if let Err(error) = self.open(mid, open) {
                return refusal(error);
            }
        }
        let body = request.body.as_deref().map(|body| Positions::parse_body(body).unwrap());
        let last: HashMap<Cid, Position> =
            asked.last.or(body).unwrap_or_default().0.into_iter().collect();
        let session = self.sessions.get_mut(&mid).unwrap();
        session.documents += 1;
        let mut document = Document::new(mid, session.documents, asked.dup, now);
        let identity = frame::Identity {
            scs: &self.scs,
            mid,
            d: session.documents,
            key: new.then_some(KEY),
            heartbeat: BEAT,
            refresh: Span::from_secs(8),
            flush: Span::ZERO,
            client_heartbeat: false,
        };
        frame::identity(&mut document.bytes, &identity);
        for (number, opened) in &session.channels {
            let from = last.get(number).copied().unwrap_or(opened.from);
            let jump = random.below(2) == 0;
            begin_channel(&mut document, &self.topics[&opened.name], *number, opened, from, jump);
        }
        self.documents.insert(stream, document);
        (200, Vec::new())
    }

    /// Ends what the new document succeeds; where all four places are taken, such a one goes at
    /// once, and only where there is none the new one is refused.
    fn make_room(
        &mut self,
        mid: Mid,
        asked: &DocumentRequest,
        now: Instant,
    ) -> Result<(), &'static str> {
        let of_session = |document: &&mut Document| document.mid == mid && !document.ended;
        for document in self.documents.values_mut().filter(of_session) {
            let succeeded = match asked.dup {
                false => !document.dup,
                true => document.dup && asked.succeeds == Some(document.number),
            };
            if succeeded {
                document.end_at = document.end_at.min(now + Span::from_secs(1));
            }
        }
        let mut documents = self.documents.iter().filter(|(_, document)| document.mid == mid);
        if documents.clone().count() == 4 {
            let gives_way = documents.find(|(_, document)| document.is_succeeded());
            let (stream, _) = gives_way.ok_or("too-many")?;
            let stream = *stream;
            self.documents.remove(&stream);
            self.cut.push(stream);
        }
        Ok(())
    }

    /// Writes what each document has not got, as far as it likes.
    fn pull(&mut self, random: &mut Random, now: Instant) {
        for document in self.documents.values_mut().filter(|document| !document.ended) {
            let Some(session) = self.sessions.get(&document.mid) else { continue };
            for (number, opened) in &session.channels {
                let topic = &self.topics[&opened.name];
                for _ in 0..random.below(6) {
                    pull_one(document, topic, *number, opened.folds);
                }
            }
            if now >= document.beat_at {
                frame::heartbeat(&mut document.bytes, BEAT, now.as_nanos() / 1000);
                document.beat_at = now + BEAT.fraction(9, 10);
            }
            if now >= document.end_at {
                frame::end(&mut document.bytes, DocumentEnd::Refreshed, None);
                document.ended = true;
            }
        }
    }

    fn call(&mut self, request: &Request, random: &mut Random) -> (u16, Vec<u8>) {
        let (name, query) = request.target.split_once('?').unwrap();
        let parsed = command::parse(name, query).expect("the agent keeps to the grammar");
        let Some(mid) = parsed.mid.filter(|mid| self.sessions.contains_key(mid)) else {
            return refusal("no-session");
        };
        if parsed.scs.as_deref() != Some(&self.scs) {
            return refusal("wrong-server");
        }
        if random.below(20) == 0 {
            return refusal("busy");
        }
        match parsed.command {
            Command::Batch => {
                let body = request.body.as_deref().unwrap();
                let body = std::str::from_utf8(body).unwrap();
                let mut answers = Vec::new();
                for (name, query) in command::split_batch(body) {
                    let Ok(line) = command::parse(name, query) else { panic!("{query}") };
                    let Command::Open(open) = line.command else { panic!("{name}") };
                    answers.extend(self.answer_open(mid, &open).1);
                    answers.push(b'\n');
                }
                (200, answers)
            }
            Command::Open(open) => self.answer_open(mid, &open),
            Command::Send { cid, n, .. } => self.take(mid, cid, n, request.body.clone().unwrap()),
            Command::Close { cid, life } => self.close(mid, cid, life.unwrap()),
            other => panic!("{other:?}"),
        }
    }

    fn close(&mut self, mid: Mid, number: Cid, life: u32) -> (u16, Vec<u8>) {
        let session = self.sessions.get_mut(&mid).unwrap();
        if session.channels.get(&number).is_none_or(|opened| opened.life != life) {
            return refusal("no-channel");
        }
        session.channels.remove(&number);
        session.channels_ended += 1;
        for document in self.documents.values_mut().filter(|document| document.mid == mid) {
            if document.cursors.remove(&number).is_some() {
                frame::closed(&mut document.bytes, number, None, ChannelEnd::Closed);
            }
        }
        (200, br#"{"ok":true}"#.to_vec())
    }

    fn answer_open(&mut self, mid: Mid, open: &OpenRequest) -> (u16, Vec<u8>) {
        match self.open(mid, open) {
            Ok(number) => {
                let session = &self.sessions[&mid];
                let sn = session.expected.get(&number).copied().unwrap_or(1);
                let Opened { from: Position { ep, n }, life, .. } = session.channels[&number];
                let answer = format!(
                    r#"{{"ok":true,"cid":{number},"ep":"{ep}","n":{n},"sn":{sn},"l":{life}}}"#
                );
                (200, answer.into_bytes())
            }
            Err(error) => refusal(error),
        }
    }

    fn take(&mut self, mid: Mid, number: Cid, n: u64, payload: Vec<u8>) -> (u16, Vec<u8>) {
        let session = self.sessions.get_mut(&mid).unwrap();
        if !session.channels.contains_key(&number) {
            return refusal("no-channel");
        }
        let expected = session.expected.entry(number).or_insert(1);
        let outcome = if n < *expected {
            SendOutcome::Dup
        } else if n > *expected {
            session.held.insert((number, n), payload);
            SendOutcome::Held
        } else {
            self.taken.push(payload);
            *expected += 1;
            while let Some(payload) = session.held.remove(&(number, *expected)) {
                self.taken.push(payload);
                for document in self.documents.values_mut().filter(|d| d.mid == mid && !d.ended) {
                    frame::outcome(&mut document.bytes, number, *expected, SendOutcome::Taken);
                }
                *expected += 1;
            }
            SendOutcome::Taken
        };
        (200, format!(r#"{{"ok":true,"e":"{}"}}"#, outcome.word()).into_bytes())
    }
}

fn refusal(code: &str) -> (u16, Vec<u8>) {
    let status = match code {
        "no-session" | "no-resource" | "no-channel" => 404,
        "wrong-server" => 421,
        _ => 503,
    };
    (status, format!(r#"{{"ok":false,"error":"{code}","detail":"model"}}"#).into_bytes())
}

/// The `o` frame of a channel that starts after `from`. `jump`: the frame itself tells the place
/// behind what is missing, and the gap frame only explains it.
fn begin_channel(
    document: &mut Document,
    topic: &Topic,
    number: Cid,
    opened: &Opened,
    from: Position,
    jump: bool,
) {
    let at = topic.life(from.ep).filter(|at| *at >= topic.gone);
    let (life, n) = match at {
        Some(at) => (&topic.lives[at], from.n.0),
        None => (&topic.lives[topic.gone], topic.lives[topic.gone].trimmed),
    };
    let oldest = life.trimmed.max(n);
    let start = if jump { oldest } else { n };
    let head = Offset(life.head());
    let at = (life.ep, Offset(start));
    frame::opened(&mut document.bytes, (number, Some(opened.life)), &opened.name, at, head);
    if n < oldest {
        let missing = Some(oldest - n);
        frame::gap(&mut document.bytes, number, life.ep, Offset(oldest), missing);
    }
    document.cursors.insert(number, Position { ep: life.ep, n: Offset(oldest) });
}

fn pull_one(document: &mut Document, topic: &Topic, number: Cid, folds: bool) {
    let Some(cursor) = document.cursors.get_mut(&number) else { return };
    let out = &mut document.bytes;
    let mut at = topic.life(cursor.ep).unwrap();
    let over =
        at < topic.gone || (cursor.n.0 >= topic.lives[at].head() && at + 1 < topic.lives.len());
    if over {
        at = topic.gone.max(at + 1);
        let life = &topic.lives[at];
        *cursor = Position { ep: life.ep, n: Offset(life.trimmed) };
        let name = topic_name(number);
        let head = Offset(life.head());
        frame::opened(out, (number, None), &name, (life.ep, cursor.n), head);
        return;
    }
    let life = &topic.lives[at];
    if cursor.n.0 < life.trimmed {
        let missing = life.trimmed - cursor.n.0;
        cursor.n = Offset(life.trimmed);
        if !folds {
            frame::gap(out, number, life.ep, cursor.n, Some(missing));
        }
    }
    if cursor.n.0 < life.head() {
        cursor.n = if folds { Offset(life.head()) } else { cursor.n.next() };
        let payload = &life.payloads[cursor.n.0 as usize - 1];
        frame::message(out, number, cursor.n, false, payload);
    }
}

fn topic_name(number: Cid) -> TopicName {
    let mut names: Vec<_> = RESOURCES.iter().map(|name| parse_topic(name).unwrap()).collect();
    names.sort();
    names[(number.0 - Cid::SHARED_FIRST) as usize].clone()
}

/// What the consumer knows of one channel, and what it checks.
struct Seen {
    name: TopicName,
    folds: bool,
    place: Option<Position>,
    /// Nothing came since the first `Opened`.
    first: bool,
}

struct World {
    random: Random,
    now: Instant,
    agent: Agent,
    duplicates: u8,
    server: Server,
    /// Whether anybody listens.
    up: bool,
    calls: Vec<(CallId, Request)>,
    seen: BTreeMap<ChannelKey, Seen>,
    fates: BTreeMap<SendId, Fate>,
    sent: BTreeMap<SendId, Vec<u8>>,
    /// Messages of which a copy came with some document.
    heard: HashSet<(TopicName, Epoch, u64)>,
    faults: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::from_number(seed);
        let mut topics = BTreeMap::new();
        for name in RESOURCES {
            let mut topic = Topic { lives: Vec::new(), gone: 0 };
            topic.restart(&mut random);
            topics.insert(parse_topic(name).unwrap(), topic);
        }
        let server = Server {
            scs: "model".into(),
            topics,
            sessions: HashMap::new(),
            documents: BTreeMap::new(),
            cut: Vec::new(),
            taken: Vec::new(),
            generation: 7,
        };
        let duplicates = (seed % 4) as u8;
        let settings = Settings { heartbeat: Some(BEAT), duplicates, ..Settings::default() };
        let agent = Agent::new(settings, random.next());
        Self {
            random,
            now: Instant::from_nanos(1),
            agent,
            duplicates,
            server,
            up: true,
            calls: Vec::new(),
            seen: BTreeMap::new(),
            fates: BTreeMap::new(),
            sent: BTreeMap::new(),
            heard: HashSet::new(),
            faults: true,
        }
    }

    fn chance(&mut self, one_in: u64) -> bool {
        self.random.below(one_in) == 0
    }

    fn subscribe(&mut self, name: &str, mode: Mode) -> ChannelKey {
        let name = parse_topic(name).unwrap();
        let request = OpenRequest { mode, ..OpenRequest::new(name.clone()) };
        let key = self.agent.subscribe(request.clone(), self.now).unwrap();
        self.seen
            .insert(key, Seen { name, folds: Channel::folds(&request), place: None, first: true });
        self.drain();
        key
    }

    fn drain(&mut self) {
        while let Some(output) = self.agent.poll_output() {
            match output {
                Output::OpenStream { stream, request, .. } => {
                    let (status, body) = if self.up {
                        let (random, now) = (&mut self.random, self.now);
                        self.server.ask(stream, &request, random, now)
                    } else {
                        self.agent.handle_end(stream, "connection refused", self.now);
                        continue;
                    };
                    if status != 200 {
                        self.agent.handle_head(stream, status, None, self.now);
                        self.agent.handle_bytes(stream, &body, self.now);
                        self.agent.handle_end(stream, "", self.now);
                    }
                }
                Output::CloseStream { stream } => {
                    self.server.documents.remove(&stream);
                }
                Output::Login { call, request, .. } | Output::Call { call, request, .. } => {
                    self.calls.push((call, request))
                }
            }
        }
        while let Some(event) = self.agent.poll_event() {
            self.check(event);
        }
    }

    fn check(&mut self, event: Event) {
        match event {
            Event::Opened { channel, ep, n, .. } => {
                let seen = self.seen.get_mut(&channel).unwrap();
                let blank = n.0 == 0 && seen.place.is_some_and(|place| place.n.0 == 0);
                if seen.place.is_none() || blank {
                    seen.place = Some(Position { ep, n });
                }
            }
            Event::Message { channel, ep, n, folded, payload, .. } => {
                let seen = self.seen.get_mut(&channel).unwrap();
                let place = seen.place.expect("opened before the first message");
                assert_eq!(ep, place.ep, "an epoch changes with a gap");
                assert_eq!(n.0, place.n.0 + folded + 1, "each once, in order, on {}", seen.name);
                assert!(seen.folds || folded == 0);
                let topic = &self.server.topics[&seen.name];
                let life = &topic.lives[topic.life(ep).unwrap()];
                assert_eq!(payload, life.payloads[n.0 as usize - 1]);
                seen.place = Some(Position { ep, n });
                seen.first = false;
            }
            Event::Gap { channel, ep, n, missing } => {
                let seen = self.seen.get_mut(&channel).unwrap();
                let place = seen.place.expect("opened before the first gap");
                if n.0 == 0 && place == (Position { ep, n }) {
                    return; // it was entered at its beginning, from another one's
                }
                let topic = &self.server.topics[&seen.name];
                let (old, new) = (topic.life(place.ep).unwrap(), topic.life(ep).unwrap());
                if old == new {
                    // The first document may begin behind what is missing already.
                    assert!(n > place.n || (n == place.n && seen.first), "a gap goes forward");
                    assert!(missing == Some(n.0 - place.n.0) || seen.first);
                    assert!(n.0 <= topic.lives[new].trimmed, "no gap that was not one");
                    let mut missing = place.n.0 + 1..=n.0;
                    let heard = |n| self.heard.contains(&(seen.name.clone(), ep, n));
                    assert!(seen.folds || !missing.any(heard), "what came is not missing");
                } else {
                    assert!(new > old, "epochs go forward");
                    assert_eq!(missing, None);
                }
                seen.place = Some(Position { ep, n });
                seen.first = false;
            }
            Event::Sent { id, fate, .. } => {
                assert!(self.fates.insert(id, fate).is_none(), "one fate for each send");
            }
            Event::Refused { retry_in: Some(_), .. } => {}
            Event::Closed { .. } | Event::Refused { .. } => panic!("{event:?}"),
            Event::State(_)
            | Event::Lost { .. }
            | Event::Session { .. }
            | Event::RoundTrip(_)
            | Event::Known { .. }
            | Event::Expiring { .. }
            | Event::NotRenewed { .. } => {}
        }
    }

    fn publish(&mut self) {
        let at = self.random.below(RESOURCES.len() as u64) as usize;
        let number = self.random.next();
        let topic = self.server.topics.values_mut().nth(at).unwrap();
        let life = topic.lives.last_mut().unwrap();
        // Some have to be escaped, some are not text.
        let text = format!("{}\n<{number}>", life.head() + 1).into_bytes();
        life.payloads.push(if number.is_multiple_of(5) {
            number.to_le_bytes().to_vec()
        } else {
            text
        });
    }

    fn carry(&mut self) {
        let streams: Vec<StreamId> = self.server.documents.keys().copied().collect();
        for stream in streams {
            let part = self.random.below(400);
            let Some(document) = self.server.documents.get_mut(&stream) else { continue };
            if document.stalled {
                continue;
            }
            let begun = std::mem::replace(&mut document.begun, true);
            let len = document.bytes.len().min(part as usize);
            let bytes: Vec<u8> = document.bytes.drain(..len).collect();
            document.hear(&bytes, &mut self.heard);
            let over = document.ended && document.bytes.is_empty();
            if over {
                self.server.documents.remove(&stream);
            }
            if !begun {
                self.agent.handle_head(stream, 200, None, self.now);
            }
            self.agent.handle_bytes(stream, &bytes, self.now);
            if over {
                self.agent.handle_end(stream, "closed", self.now);
            }
            self.drain();
        }
        if !self.calls.is_empty() && self.chance(3) {
            // Over several routes they may even overtake each other.
            let at =
                if self.faults { self.random.below(self.calls.len() as u64) as usize } else { 0 };
            let (call, request) = self.calls.remove(at);
            let lost = self.faults && self.chance(10);
            if self.up && !(lost && self.chance(2)) {
                let (status, body) = self.server.call(&request, &mut self.random);
                if !lost {
                    self.agent.handle_answer(call, status, None, &body, self.now);
                }
            }
            if lost || !self.up {
                self.agent.handle_failure(call, self.now);
            }
            self.drain();
        }
    }

    fn harm(&mut self) {
        let count = self.server.documents.len() as u64;
        let one = |random: &mut Random, server: &Server| {
            let at = random.below(count.max(1)) as usize;
            server.documents.keys().nth(at).copied()
        };
        match self.random.below(900) {
            0..8 => {
                if let Some(stream) = one(&mut self.random, &self.server) {
                    self.server.documents.remove(&stream);
                    self.agent.handle_end(stream, "reset", self.now);
                }
            }
            8..11 => {
                if let Some(stream) = one(&mut self.random, &self.server) {
                    self.server.documents.get_mut(&stream).unwrap().stalled = true;
                }
            }
            11..17 => self.agent.refresh(self.now),
            17..20 => self.restart(),
            20..22 => self.server.sessions.clear(),
            22..30 => {
                let at = self.random.below(RESOURCES.len() as u64) as usize;
                let keep = self.random.below(4);
                let topic = self.server.topics.values_mut().nth(at).unwrap();
                let life = topic.lives.last_mut().unwrap();
                life.trimmed = life.trimmed.max(life.head().saturating_sub(keep));
            }
            30..34 => {
                let at = self.random.below(RESOURCES.len() as u64) as usize;
                let topic = self.server.topics.values_mut().nth(at).unwrap();
                topic.restart(&mut self.random);
                if self.random.below(2) == 0 {
                    topic.gone = topic.lives.len() - 1;
                }
            }
            34..37 => {
                for document in self.server.documents.values_mut().filter(|d| !d.ended) {
                    let within = Some(Span::from_millis(500));
                    frame::moved(&mut document.bytes, "drain", within);
                }
            }
            37 => self.up = !self.up,
            _ => {}
        }
        if !self.up && self.chance(60) {
            self.up = true;
        }
        self.drain();
    }

    /// The process dies and another takes its place; what numbers for itself begins a new epoch.
    fn restart(&mut self) {
        let streams: Vec<StreamId> = self.server.documents.keys().copied().collect();
        self.server.documents.clear();
        self.server.sessions.clear();
        if self.chance(2) {
            self.server.scs = format!("model{}", self.random.below(100));
        }
        for topic in self.server.topics.values_mut() {
            if self.random.below(2) == 0 {
                topic.restart(&mut self.random);
                topic.gone = topic.lives.len() - 1;
            }
        }
        for stream in streams {
            self.agent.handle_end(stream, "reset", self.now);
        }
    }

    fn send(&mut self, channels: &[ChannelKey]) {
        let at = self.random.below(channels.len() as u64) as usize;
        let payload = format!("{}:{}", channels[at].0, self.sent.len()).into_bytes();
        let id = self.agent.send(channels[at], payload.clone(), None, self.now).unwrap();
        self.sent.insert(id, payload);
        self.drain();
    }

    fn step(&mut self) {
        self.now += Span::from_millis(1 + self.random.below(30));
        if self.agent.poll_timeout().is_some_and(|at| at <= self.now) {
            self.agent.handle_timeout(self.now);
            self.drain();
            let next = self.agent.poll_timeout();
            assert!(next.is_none_or(|at| at > self.now), "a timer that fires does something");
        }
        for stream in std::mem::take(&mut self.server.cut) {
            self.agent.handle_end(stream, "closed", self.now);
            self.drain();
        }
        if self.up {
            self.server.pull(&mut self.random, self.now);
            self.carry();
        } else if let Some((call, _)) = self.calls.pop() {
            self.agent.handle_failure(call, self.now);
            self.drain();
        }
    }

    /// Whether the main document and every duplicate runs.
    fn has_all_documents(&self) -> bool {
        let wanted = 1 + usize::from(self.duplicates);
        self.agent.documents_running() == wanted && self.agent.state() == StreamState::Live
    }

    fn is_caught_up(&self) -> bool {
        let all = |(_, seen): (&ChannelKey, &Seen)| {
            seen.place == Some(self.server.topics[&seen.name].head())
        };
        self.seen.iter().all(all) && self.fates.len() == self.sent.len()
    }
}

fn run(seed: u64) -> World {
    let mut world = World::new(seed);
    let mut channels = vec![world.subscribe(RESOURCES[0], Mode::Queue)];
    for step in 0..4000 {
        if step == 50 {
            channels.push(world.subscribe(RESOURCES[1], Mode::Queue));
            channels.push(world.subscribe(RESOURCES[2], Mode::Latest));
        }
        if world.chance(3) {
            world.publish();
        }
        if world.chance(40) {
            world.send(&channels);
        }
        world.harm();
        world.step();
    }
    world.faults = false;
    world.up = true;
    for _ in 0..4000 {
        if world.is_caught_up() && world.has_all_documents() {
            break;
        }
        world.step();
    }
    assert!(world.is_caught_up(), "nothing is lost for good: {:?}", world.agent.state());
    assert_eq!(world.agent.state(), StreamState::Live);
    assert!(world.has_all_documents(), "{} documents", world.agent.documents_running());
    check_sends(&world, &channels);
    world
}

/// Taken once; whoever was told `Taken` was, and in order for each channel. One of unknown fate may
/// come when the session that it was sent in was left behind.
fn check_sends(world: &World, channels: &[ChannelKey]) {
    for (id, fate) in &world.fates {
        let payload = &world.sent[id];
        let times = world.server.taken.iter().filter(|taken| *taken == payload).count();
        match fate {
            Fate::Taken => assert_eq!(times, 1),
            Fate::Unknown => assert!(times <= 1),
            other => panic!("{other:?}"),
        }
    }
    for channel in channels {
        let prefix = format!("{}:", channel.0);
        let known = |taken: &&Vec<u8>| {
            world.fates.iter().any(|(id, fate)| *fate == Fate::Taken && world.sent[id] == **taken)
        };
        let numbers: Vec<u64> = world
            .server
            .taken
            .iter()
            .filter(known)
            .filter_map(|taken| String::from_utf8_lossy(taken).strip_prefix(&prefix)?.parse().ok())
            .collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
    }
}

#[test]
fn nothing_is_lost_repeated_or_out_of_order_whatever_breaks() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let one = number("AHM_SEED");
    let seeds = one.map_or_else(|| 0..number("AHM_SEEDS").unwrap_or(64), |seed| seed..seed + 1);
    let mut total = ahm::client::event::Counters::default();
    for seed in seeds {
        let result = std::panic::catch_unwind(|| run(seed).agent.counters());
        let counters = result.unwrap_or_else(|cause| {
            eprintln!("seed {seed} fails; replay: AHM_SEED={seed} cargo test --test agent");
            std::panic::resume_unwind(cause)
        });
        total.messages += counters.messages;
        total.duplicates += counters.duplicates;
        total.gaps += counters.gaps;
        total.gaps_healed += counters.gaps_healed;
        total.folded += counters.folded;
        total.late += counters.late;
        total.refreshes += counters.refreshes;
        total.sessions += counters.sessions;
        total.resends += counters.resends;
    }
    if one.is_none() {
        // The run means something only if all of this happened.
        assert!(total.messages > 10_000 && total.duplicates > 100, "{total:?}");
        assert!(total.gaps > 100 && total.gaps_healed > 0 && total.folded > 0, "{total:?}");
        assert!(total.refreshes > 100 && total.sessions > 100 && total.resends > 0, "{total:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    assert_eq!(run(5).agent.counters(), run(5).agent.counters());
}

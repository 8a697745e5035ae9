//! Registries, instances of resources and servers with clients, in one thread.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use ahm::base::id::{Epoch, Offset};
use ahm::base::name::TopicName;
use ahm::base::random::Random;
use ahm::base::time::Span;
use ahm::link::address::Address;
use ahm::link::handler::Handler;
use ahm::link::peer::Me;
use ahm::link::registry::Registry;
use ahm::link::source::Source;
use ahm::link::source_settings::{Publication, Settings as SourceSettings};
use ahm::link::source_topic::Served;
use ahm::link::upstream::Seek;
use ahm::proto::settings::Settings;
use ahm::testing::gateway::Gateway;
use ahm::testing::house::House;
use ahm::testing::switchboard::Switchboard;
use ahm::wire::resource::{InstanceId, Role};

/// The resource that everybody reads.
pub const RESOURCE: &str = "rates";

type Shared<T> = Rc<RefCell<T>>;

/// Everything that talks to each other.
pub struct World {
    pub board: Switchboard,
    /// By number: its station, while it lives.
    pub registries: Vec<(usize, Option<Shared<Registry>>)>,
    pub instances: Vec<(usize, Option<Shared<Source>>)>,
    pub servers: Vec<Shared<Gateway>>,
    /// Of each server.
    shards: u8,
    /// Where on the board the servers are that resources dial, each of several of `servers`.
    pub houses: Vec<usize>,
    /// Parts of each of them; 0: servers dial resources.
    parts: usize,
    /// Whether the instances number alike.
    pub replicas: bool,
    handler: Arc<dyn Handler>,
    /// What instances that are started from now on take; 0 for any number.
    pub capacity: u64,
    /// Messages published so far, by subject.
    pub published: BTreeMap<String, u64>,
    /// Processes started so far.
    started: u64,
}

fn address(kind: u16, number: usize) -> Address {
    format!("127.0.0.1:{}", kind + number as u16).parse().unwrap()
}

impl World {
    /// So many registries, instances, servers, and shards of each server.
    pub fn new(seed: u64, counts: [usize; 4], replicas: bool, handler: Arc<dyn Handler>) -> Self {
        Self::with_parts(seed, counts, 0, replicas, handler)
    }

    /// The same with servers of so many parts, each of one shard, which the instances dial, and
    /// which cannot dial them.
    pub fn with_parts(
        seed: u64,
        [registries, instances, servers, shards]: [usize; 4],
        parts: usize,
        replicas: bool,
        handler: Arc<dyn Handler>,
    ) -> Self {
        let mut world = Self {
            board: Switchboard::new(seed),
            registries: vec![(usize::MAX, None); registries],
            instances: (0..instances).map(|_| (usize::MAX, None)).collect(),
            servers: Vec::new(),
            shards: shards as u8,
            houses: vec![usize::MAX; if parts > 0 { servers } else { 0 }],
            parts,
            replicas,
            handler,
            capacity: 0,
            published: BTreeMap::new(),
            started: 0,
        };
        (0..registries).for_each(|at| world.start_registry(at));
        (0..instances).for_each(|at| world.start_instance(at));
        for at in 0..servers {
            world.start_server(at);
        }
        world.pass(500);
        world
    }

    fn me(&mut self, role: Role, name: String) -> Me {
        self.started += 1;
        let heartbeat = Span::from_millis(200);
        let (key, demands) = (String::new(), String::new());
        Me { role, instance: InstanceId(self.started), name, heartbeat, key, demands }
    }

    pub fn start_registry(&mut self, at: usize) {
        let me = self.me(Role::Registry, format!("registry-{at}"));
        let registry = Rc::new(RefCell::new(Registry::new(me, self.board.now)));
        let station = self.board.add(registry.clone(), Some(address(9_000, at)));
        self.registries[at] = (station, Some(registry));
    }

    pub fn start_instance(&mut self, at: usize) {
        let me = self.me(Role::Resource, format!("{RESOURCE}-{at}"));
        let listens = (self.parts == 0).then(|| address(9_100, at));
        let settings = SourceSettings {
            registries: (0..self.registries.len()).map(|at| address(9_000, at)).collect(),
            dial: (0..self.houses.len()).map(|at| address(9_200, at)).collect(),
            addresses: listens.iter().cloned().collect(),
            retry: Span::from_millis(300),
            ..SourceSettings::default()
        };
        let random = Random::from_number(self.started);
        let mut source = Source::new(me, settings, random, self.board.now);
        let served = Served {
            takes_messages: true,
            capacity: self.capacity,
            replicas: self.replicas,
            epoch: self.replicas.then_some(Epoch(77)),
            ..Served::new(RESOURCE)
        };
        source.serve(served, self.handler.clone()).unwrap();
        let source = Rc::new(RefCell::new(source));
        let station = self.board.add(source.clone(), listens);
        self.instances[at] = (station, Some(source));
    }

    /// Starts a server, maybe in the place of one of the same address that was killed; its parts
    /// are the last of all.
    pub fn start_server(&mut self, at: usize) {
        let me = self.me(Role::Consumer, format!("server-{at}"));
        if self.parts == 0 {
            let gateway = self.gateway(me);
            self.board.add(gateway, None);
            return;
        }
        let parts = (0..self.parts).map(|_| self.gateway(me.clone())).collect();
        let house = Rc::new(RefCell::new(House::new(parts)));
        self.houses[at] = self.board.add(house, Some(address(9_200, at)));
    }

    fn gateway(&mut self, me: Me) -> Shared<Gateway> {
        let seek = Seek {
            registries: (0..self.registries.len()).map(|at| address(9_000, at)).collect(),
            guests: self.parts > 0,
            parts: self.parts.max(1) as u32,
            retry: Span::from_millis(300),
            patience: Span::from_secs(5),
        };
        let settings = Settings {
            heartbeat: Span::from_secs(5),
            topic_grace: Span::from_secs(2),
            ..Settings::default()
        };
        let gateway = Gateway::new(settings, self.shards, &me, &seek, self.board.now);
        let gateway = Rc::new(RefCell::new(gateway));
        self.servers.push(gateway.clone());
        gateway
    }

    /// The process ends without a word.
    pub fn kill_registry(&mut self, at: usize) {
        if self.registries[at].1.take().is_some() {
            self.board.kill(self.registries[at].0);
        }
    }

    pub fn kill_instance(&mut self, at: usize) {
        if self.instances[at].1.take().is_some() {
            self.board.kill(self.instances[at].0);
        }
    }

    /// The instances that live.
    pub fn living(&self) -> impl Iterator<Item = &Shared<Source>> {
        self.instances.iter().filter_map(|(_, source)| source.as_ref())
    }

    /// Every instance that lives publishes the next message of a subject.
    pub fn publish(&mut self, subject: &str) {
        let count = self.published.entry(subject.to_string()).or_default();
        *count += 1;
        let text = format!("{subject} {count}");
        for (_, source) in &self.instances {
            let Some(source) = source else { continue };
            let mut publication = Publication::new(RESOURCE, subject, text.clone().into_bytes());
            publication.at = self.replicas.then_some(Offset(*count));
            source.borrow_mut().publish(publication, self.board.now).unwrap();
        }
    }

    /// Lets so many milliseconds pass.
    pub fn pass(&mut self, millis: u64) {
        self.board.pass(Span::from_millis(millis));
    }

    /// A client of a server, reading those subjects.
    pub fn client(&mut self, server: usize, subjects: &[String]) -> Client {
        let opens: Vec<String> =
            subjects.iter().map(|subject| format!("open={RESOURCE}/{subject}")).collect();
        let target = format!("/ahm/mux.html?{}", opens.join("&"));
        let conn = self.servers[server].borrow_mut().request(&target);
        Client { server, conn, text: String::new() }
    }

    /// The same with a session that is not on the home shard of that subject.
    pub fn stranger(&mut self, server: usize, subject: &str) -> Client {
        let mut gateway = self.servers[server].borrow_mut();
        let home = gateway.home_of(&TopicName::new(RESOURCE, subject).unwrap());
        let shard = (home + 1) % gateway.hubs.len();
        assert_ne!(shard, home);
        let target = format!("/ahm/mux.html?open={RESOURCE}/{subject}");
        let conn = gateway.request_at(shard, &target);
        Client { server, conn, text: String::new() }
    }

    /// What must hold of all servers.
    pub fn check(&self) {
        for server in &self.servers {
            server.borrow().hubs.iter().for_each(|hub| hub.check_invariants().unwrap());
        }
    }
}

/// A client: what its document has brought.
#[derive(Debug)]
pub struct Client {
    pub server: usize,
    pub conn: usize,
    text: String,
}

impl Client {
    /// The frames of the document so far.
    pub fn frames(&mut self, world: &World) -> Vec<String> {
        self.text.push_str(&world.servers[self.server].borrow_mut().take(self.conn));
        let lines = self.text.lines().filter(|line| line.starts_with("<p "));
        lines.map(str::to_string).collect()
    }

    /// `scs`, `mid` and `k` of the session, as parameters.
    pub fn me(&mut self, world: &World) -> String {
        let frames = self.frames(world);
        let identity = frames.iter().find(|frame| frame.starts_with("<p i ")).unwrap();
        let value = |name: &str| attribute(identity, name);
        format!("scs={}&mid={}&k={}", value("scs"), value("mid"), value("k"))
    }

    /// Sends a command on another connection; its answer.
    pub fn command(&mut self, world: &mut World, command: &str) -> String {
        let conn = self.fire(world, command);
        world.pass(50);
        world.servers[self.server].borrow_mut().take(conn)
    }

    /// Sends a command and does not wait for the answer; the connection that it will come on.
    pub fn fire(&mut self, world: &World, command: &str) -> usize {
        let me = self.me(world);
        let separator = if command.contains('?') { '&' } else { '?' };
        let target = format!("/ahm/{command}{separator}{me}");
        world.servers[self.server].borrow_mut().request(&target)
    }
}

/// The value of an attribute of a frame.
pub fn attribute(frame: &str, name: &str) -> String {
    let start = format!(" {name}=");
    let value = frame.split(&start).nth(1).unwrap_or_else(|| panic!("no {name} in {frame}"));
    value.split([' ', '>']).next().unwrap().to_string()
}

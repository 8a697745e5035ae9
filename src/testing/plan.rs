//! What a seed decides before anything runs: servers, routes, topics, agents and all deeds.

use crate::base::backoff::Backoff;
use crate::base::random::Random;
use crate::base::time::{Instant, Span};
use crate::client::settings::Settings as AgentSettings;
use crate::proto::settings::{History, Settings};
use crate::seal::key::Algorithm;
use crate::testing::deed::{Deed, What};
use crate::testing::schedule;
use crate::wire::open::Mode;

/// The world begins here; what stands before is for the publishers.
pub const DAWN: Instant = Instant::from_nanos(1_000_000_000);

/// One server.
#[derive(Clone, Debug)]
pub struct SitePlan {
    /// Its seed.
    pub seed: u64,
    /// Its threads.
    pub shards: u8,
    /// Its settings.
    pub settings: Settings,
    /// Whether parcels are held up at times, and writes cut short.
    pub rough: bool,
    /// How far its clock is ahead.
    pub ahead: Span,
}

/// A way that agents may go: a server, or a balancer in front of several.
#[derive(Clone, Debug)]
pub struct RoutePlan {
    /// The servers behind it.
    pub sites: Vec<usize>,
    /// Whether an agent comes to the same one as long as that one is there.
    pub sticky: bool,
    /// Whether it leads to their listeners without HTTP.
    pub raw: bool,
}

/// Who numbers a topic's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numberer {
    /// Its publisher, alike on every server.
    Source,
    /// Each server by itself; a publisher writes.
    Site,
    /// Each server by itself; consumers write, all read.
    Board,
    /// Each server by itself, for each channel.
    Echo,
}

/// One topic.
#[derive(Clone, Debug)]
pub struct TopicPlan {
    /// Resource and subject.
    pub name: &'static str,
    /// Who numbers.
    pub numberer: Numberer,
}

/// A channel of an agent.
#[derive(Clone, Debug)]
pub struct ChannelPlan {
    /// The topic.
    pub topic: usize,
    /// How it reads on when it is behind.
    pub mode: Mode,
    /// Messages a second at most.
    pub rate: Option<u32>,
    /// Whether it rather ends than misses a message.
    pub strict: bool,
}

/// One agent.
#[derive(Clone, Debug)]
pub struct AgentPlan {
    /// Its seed.
    pub seed: u64,
    /// Its settings.
    pub settings: AgentSettings,
    /// How far its clock is ahead.
    pub ahead: Span,
    /// The latency of its connections, each way.
    pub latency: Span,
    /// Its channels; each is subscribed to by a deed.
    pub channels: Vec<ChannelPlan>,
}

/// Everything that a seed decides before anything runs.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// Whether nothing that is published may ever be missing: histories are long, no process ends,
    /// and publishers neither begin epochs nor pass over numbers.
    pub long: bool,
    /// The servers.
    pub sites: Vec<SitePlan>,
    /// The ways to them.
    pub routes: Vec<RoutePlan>,
    /// The topics.
    pub topics: Vec<TopicPlan>,
    /// The agents.
    pub agents: Vec<AgentPlan>,
    /// What is done, in order of time.
    pub deeds: Vec<Deed>,
    /// When nothing is done any more.
    pub end: Instant,
}

/// What plans have in common; there are worlds of every kind.
const TOPICS: [(&str, Numberer); 8] = [
    ("feed/n1", Numberer::Source),
    ("raw/n2", Numberer::Source),
    ("quote/n3", Numberer::Source),
    ("feed/l1", Numberer::Site),
    ("raw/l2", Numberer::Site),
    ("board/x", Numberer::Board),
    ("echo/u", Numberer::Echo),
    ("echo/v", Numberer::Echo),
];

impl Plan {
    /// The plan of a seed.
    pub fn new(seed: u64) -> Self {
        let mut random = Random::from_number(seed ^ 0x5eed_0fa1_a29e);
        let long = random.below(3) == 0;
        let count = 1 + random.below(3) as usize;
        let sites: Vec<_> = (0..count).map(|index| site(index, long, &mut random)).collect();
        let mut routes = routes(count, &mut random);
        for (index, route) in (0..).zip(&mut routes) {
            // No draw of its own, so that all else in a seed's world is what it would be.
            route.raw = (seed + index).is_multiple_of(3);
        }
        let topics = TOPICS.map(|(name, numberer)| TopicPlan { name, numberer }).to_vec();
        let most = pick(&mut random, &[4, 4, 11]);
        let agents = 2 + random.below(most);
        // A strict channel ends where something is missing, as it may be after a restart.
        let strict = !long;
        let agents = (0..agents).map(|_| agent(routes.len(), strict, &mut random)).collect();
        let end = DAWN + Span::from_millis(6_000 + random.below(6_000));
        let mut plan = Self { seed, long, sites, routes, topics, agents, deeds: Vec::new(), end };
        plan.deeds = schedule::deeds(&plan, &mut random);
        plan
    }

    /// The deeds that remain where those in `left_out` are left out.
    pub fn without(&self, left_out: &[bool]) -> Self {
        let kept = self.deeds.iter().zip(left_out).filter(|(_, out)| !**out);
        Self { deeds: kept.map(|(deed, _)| *deed).collect(), ..self.clone() }
    }

    /// How many of the deeds are faults.
    pub fn faults(&self) -> usize {
        self.deeds.iter().filter(|deed| deed.what.is_fault()).count()
    }

    /// The world in a few words.
    pub fn summary(&self) -> String {
        let shards: Vec<_> = self.sites.iter().map(|site| site.shards).collect();
        let routes: Vec<_> = self
            .routes
            .iter()
            .map(|route| (route.sites.clone(), route.sticky, route.raw))
            .collect();
        let duplicates: Vec<_> =
            self.agents.iter().map(|agent| agent.settings.duplicates).collect();
        let kind = if self.long { "long" } else { "mixed" };
        format!("{kind}: shards {shards:?}, routes {routes:?}, duplicates {duplicates:?}")
    }
}

fn pick<T: Copy>(random: &mut Random, options: &[T]) -> T {
    options[random.below(options.len() as u64) as usize]
}

fn site(index: usize, long: bool, random: &mut Random) -> SitePlan {
    let history = if long {
        History { messages_max: 1 << 20, bytes_max: 1 << 30, age_max: Span::from_secs(1 << 20) }
    } else {
        History {
            messages_max: pick(random, &[2, 10, 60, 500]),
            bytes_max: pick(random, &[3_000, 100_000, 1 << 22]),
            age_max: Span::from_millis(pick(random, &[400, 4_000, 60_000])),
        }
    };
    let settings = Settings {
        scs: format!("site{index}"),
        heartbeat: Span::from_millis(pick(random, &[300, 600, 1_000])),
        heartbeat_min: Span::from_millis(200),
        heartbeat_max: Span::from_millis(1_500),
        flush: Span::from_millis(pick(random, &[0, 0, 0, 10, 200])),
        flush_max: Span::from_millis(pick(random, &[0, 100, 1_000])),
        refresh: Span::from_millis(pick(random, &[1_500, 4_000, 10_000])),
        linger: Span::from_millis(pick(random, &[1_000, 3_000, 6_000])),
        topic_grace: Span::from_millis(pick(random, &[1_000, 60_000])),
        idle_timeout: Span::from_millis(pick(random, &[3_000, 8_000])),
        head_timeout: Span::from_millis(4_000),
        body_timeout: Span::from_millis(4_000),
        skip: Span::from_millis(pick(random, &[400, 1_500])),
        send_window: 64,
        return_spread: Span::from_millis(pick(random, &[50, 800])),
        seal_without_tls: true,
        history,
        ..Settings::default()
    };
    SitePlan {
        seed: random.next(),
        shards: 1 + random.below(4) as u8,
        settings,
        rough: random.below(3) > 0,
        ahead: Span::from_millis(random.below(100_000)),
    }
}

fn routes(sites: usize, random: &mut Random) -> Vec<RoutePlan> {
    let sticky = random.below(2) == 0;
    let all = RoutePlan { sites: (0..sites).collect(), sticky, raw: false };
    match random.below(4) {
        // One balancer, or one that is known by several names.
        0 => vec![all],
        1 => vec![all.clone(), all],
        // One way to each, and perhaps a second to the first.
        shape => {
            let one = |site| RoutePlan { sites: vec![site], sticky: true, raw: false };
            let mut routes: Vec<_> = (0..sites).map(one).collect();
            if shape == 3 && sites < 3 {
                routes.push(one(0));
            }
            routes
        }
    }
}

fn agent(routes: usize, strict: bool, random: &mut Random) -> AgentPlan {
    let millis = |random: &mut Random, from, to| Span::from_millis(from + random.below(to - from));
    let heartbeat = millis(random, 200, 900);
    let mut settings = AgentSettings {
        heartbeat: Some(heartbeat),
        flush: (random.below(5) == 0).then(|| millis(random, 0, 80)),
        refresh: (random.below(3) > 0).then(|| millis(random, 800, 5_000)),
        routes: 1 + random.below(routes as u64) as u8,
        duplicates: pick(random, &[0, 0, 1, 1, 2, 3]),
        warn_intervals: 2,
        drop_intervals: 3 + random.below(2) as u32,
        connect_timeout: millis(random, 1_000, 3_000),
        open_timeout: millis(random, 400, 2_000),
        settled_after: Span::from_secs(1),
        backoff: Backoff {
            floor: Span::from_millis(20),
            base: Span::from_millis(100),
            cap: Span::from_millis(1_500),
            failed: 0,
        },
        send_window: pick(random, &[2, 8, 32]),
        held_timeout: millis(random, 1_000, 4_000),
        ..AgentSettings::default()
    };
    let mut channels = Vec::new();
    for topic in 0..TOPICS.len() {
        if random.below(3) > 0 {
            channels.push(channel(topic, strict, random));
        }
    }
    if channels.is_empty() {
        channels.push(channel(0, strict, random));
    }
    let seed = random.next();
    // Some sessions are sealed, and somebody on the way meddles with them.
    settings.seal = match seed % 7 {
        0 => Some(Algorithm::Aes256Gcm),
        1 => Some(Algorithm::ChaCha20Poly1305),
        _ => None,
    };
    AgentPlan {
        seed,
        settings,
        ahead: Span::from_millis(random.below(1_000_000)),
        latency: Span::from_millis(pick(random, &[0, 1, 5, 30])),
        channels,
    }
}

fn channel(topic: usize, strict: bool, random: &mut Random) -> ChannelPlan {
    let folds = TOPICS[topic].0.starts_with("feed") || TOPICS[topic].0.starts_with("quote");
    let (mut mode, mut rate) = (Mode::Queue, None);
    match random.below(8) {
        0 if folds => mode = Mode::Latest,
        1 if folds => rate = Some(4),
        _ => {}
    }
    let plain = mode == Mode::Queue && rate.is_none();
    let strict = strict && plain && random.below(12) == 0;
    ChannelPlan { topic, mode, rate, strict }
}

/// Whether a deed has no place in a world where nothing may be missing.
pub fn loses(what: What) -> bool {
    use What::{Drain, Hole, NewEpoch, Restart};
    matches!(what, Restart { .. } | Drain { .. } | NewEpoch { .. } | Hole { .. })
}

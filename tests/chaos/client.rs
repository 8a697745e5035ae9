//! One real client: a link of its own on a thread of its own, and the accounts of its channels.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ahm::base::backoff::Backoff;
use ahm::base::id::Offset;
use ahm::base::time::Span;
use ahm::client::event::{ChannelKey, Counters, Event, Fate, SendId, parse_topic};
use ahm::client::link::Link;
use ahm::client::settings::Settings;
use ahm::reactor::url::Server;
use ahm::wire::command::{Mode, OpenRequest, Position};

use crate::feed;
use crate::ledger::{Found, Ledger};

/// Kinds of clients, in the order of [`Kind::of`].
pub const KINDS: [&str; 5] = ["plain", "duplicates", "latest", "refreshing", "sending"];

/// What a client does, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One document.
    Plain,
    /// So many lasting duplicates.
    Duplicates(u8),
    /// One of its channels is read `latest`.
    Latest,
    /// Its documents are replaced again and again.
    Refreshing,
    /// It sends to the echo and to the board.
    Sending,
}

impl Kind {
    /// The kind of client `number`.
    pub fn of(number: usize) -> Self {
        match number % 10 {
            0 | 5 => Self::Plain,
            1 | 6 => Self::Sending,
            2 | 7 => Self::Latest,
            3 => Self::Duplicates(1),
            8 => Self::Duplicates(2 + (number / 10 % 2) as u8),
            _ => Self::Refreshing,
        }
    }

    /// Its place in [`KINDS`].
    pub fn index(self) -> usize {
        match self {
            Self::Plain => 0,
            Self::Duplicates(_) => 1,
            Self::Latest => 2,
            Self::Refreshing => 3,
            Self::Sending => 4,
        }
    }
}

/// What all clients of a run share.
#[derive(Debug)]
pub struct Course {
    /// Where they connect: one for each server.
    pub addresses: Vec<SocketAddr>,
    /// Whether some of them send.
    pub sends: bool,
    /// Topics that there are.
    pub topics: usize,
    /// The last message of each topic.
    pub last: u64,
    /// Nothing more is published, nothing more is broken: what is left is to be read.
    pub over: AtomicBool,
    /// Whoever is not through by then has failed.
    pub until: Instant,
}

/// Sends of one client to one resource.
#[derive(Clone, Debug, Default)]
pub struct Sends {
    /// By their number, from 0: the fate, once it is known.
    pub fates: Vec<Option<Fate>>,
    /// The numbers that came back, in order.
    pub seen: Vec<u64>,
    /// Whether a gap may have swallowed some of those.
    pub gap: bool,
}

impl Sends {
    fn is_settled(&self) -> bool {
        let taken = self.fates.iter().filter(|fate| **fate == Some(Fate::Taken)).count();
        self.fates.iter().all(Option::is_some) && (self.gap || self.seen.len() >= taken)
    }
}

/// What became of one client.
#[derive(Clone, Debug, Default)]
pub struct Account {
    pub number: usize,
    pub found: Found,
    pub counters: Counters,
    pub echo: Sends,
    pub board: Sends,
    /// It has not received the end of everything.
    pub unfinished: Option<String>,
}

/// Between two sends of a client.
const SEND_EVERY: Duration = Duration::from_millis(150);

struct Client<'c> {
    course: &'c Course,
    link: Link,
    ledgers: HashMap<ChannelKey, Ledger>,
    account: Account,
    echo: Option<ChannelKey>,
    board: Option<ChannelKey>,
    /// Which send is which.
    sends: HashMap<SendId, (bool, usize)>,
    send_at: Instant,
}

fn settings(kind: Kind, servers: usize) -> Settings {
    // A document on each server, at least.
    let least = servers as u8 - 1;
    let cap = Span::from_secs(1);
    Settings {
        heartbeat: Some(Span::from_millis(500)),
        connect_timeout: Span::from_secs(4),
        backoff: Backoff { cap, ..Backoff::default() },
        refresh: (kind == Kind::Refreshing).then_some(Span::from_millis(1500)),
        duplicates: match kind {
            Kind::Duplicates(count) => count.max(least),
            Kind::Refreshing => 1,
            _ => least,
        },
        ..Settings::default()
    }
}

/// Runs client `number` to its end.
pub fn run(course: &Course, number: usize, seed: u64) -> Account {
    let kind = Kind::of(number);
    let url = |address| Server::parse(&format!("http://{address}"), "/ahm/").unwrap();
    let mut servers: Vec<Server> = course.addresses.iter().map(url).collect();
    // Each is the first choice of as many clients as any other.
    servers.rotate_left(number / 10 % course.addresses.len());
    let settings = settings(kind, servers.len());
    let link = Link::over(servers, settings, seed.wrapping_add(number as u64)).unwrap();
    let mut client = Client {
        course,
        link,
        ledgers: HashMap::new(),
        account: Account { number, ..Account::default() },
        echo: None,
        board: None,
        sends: HashMap::new(),
        send_at: Instant::now(),
    };
    client.subscribe(kind);
    client.read_to_the_end();
    let _ = client.link.close(Span::from_millis(500));
    let Client { ledgers, mut account, mut link, .. } = client;
    ledgers.values().for_each(|ledger| account.found.add(&ledger.found));
    account.counters = link.agent().counters();
    account
}

impl Client<'_> {
    fn subscribe(&mut self, kind: Kind) {
        let now = self.link.now();
        let number = self.account.number;
        let topics = self.course.topics;
        let first = number % topics;
        let second = (first + 1 + number / topics % (topics - 1)) % topics;
        for (at, topic) in [first, second].into_iter().enumerate() {
            let latest = kind == Kind::Latest && at == 0;
            let mode = if latest { Mode::Latest } else { Mode::Queue };
            // From the first message on; mode `latest` begins where it is.
            let since = (!latest).then(|| Position { ep: feed::epoch(topic), n: Offset(0) });
            let request = OpenRequest { mode, since, ..OpenRequest::new(feed::name(topic)) };
            let key = self.link.agent().subscribe(request, now).unwrap();
            let ledger = Ledger::new(Some(topic), latest, since.map(|_| 0));
            self.ledgers.insert(key, ledger);
        }
        if kind == Kind::Sending && self.course.sends {
            let mut open = |name: &str| {
                let request = OpenRequest::new(parse_topic(name).unwrap());
                Some(self.link.agent().subscribe(request, now).unwrap())
            };
            (self.echo, self.board) = (open("echo/me"), open("board/audit"));
            self.ledgers.extend(self.board.map(|key| (key, Ledger::new(None, false, None))));
        }
    }

    fn read_to_the_end(&mut self) {
        loop {
            while let Some(event) = self.link.agent().poll_event() {
                self.take(event);
            }
            let over = self.course.over.load(Ordering::Acquire);
            if over && self.is_through() {
                return;
            }
            let now = Instant::now();
            if now >= self.course.until {
                self.account.unfinished = Some(self.whereabouts());
                return;
            }
            if !over {
                self.send(now);
            }
            self.link.turn(Some(Span::from_millis(100))).unwrap();
        }
    }

    fn is_through(&self) -> bool {
        let last = Some(self.course.last);
        let read = |ledger: &Ledger| ledger.topic.is_none() || ledger.at == last;
        let settled = self.account.board.fates.iter().all(Option::is_some);
        self.ledgers.values().all(read) && self.account.echo.is_settled() && settled
    }

    fn whereabouts(&mut self) -> String {
        let places: Vec<_> = self.ledgers.values().map(|ledger| ledger.at).collect();
        let Account { number, echo, board, .. } = &self.account;
        let open = |sends: &Sends| sends.fates.iter().filter(|fate| fate.is_none()).count();
        format!(
            "client {number}, {:?}: at {places:?} of {}; {} and {} fates not known, {} of {} \
             echoed; {:?}, {:?}",
            Kind::of(*number),
            self.course.last,
            open(echo),
            open(board),
            echo.seen.len(),
            echo.fates.len(),
            self.link.agent().state(),
            self.link.agent().counters(),
        )
    }

    fn send(&mut self, now: Instant) {
        let (Some(echo), Some(board)) = (self.echo, self.board) else { return };
        if now < self.send_at {
            return;
        }
        self.send_at = now + SEND_EVERY;
        let at = self.link.now();
        for (key, to_board) in [(echo, false), (board, true)] {
            let sends = if to_board { &mut self.account.board } else { &mut self.account.echo };
            let number = sends.fates.len();
            let payload = format!("{} {number}", self.account.number).into_bytes();
            if let Ok(id) = self.link.agent().send(key, payload, None, at) {
                sends.fates.push(None);
                self.sends.insert(id, (to_board, number));
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Opened { channel, ep, n, .. } => {
                if let Some(ledger) = self.ledgers.get_mut(&channel) {
                    let known = ledger.topic.is_none_or(|topic| feed::epoch(topic) == ep);
                    ledger.found.other_epochs += u64::from(!known);
                    ledger.opened(n.0);
                }
            }
            Event::Message { channel, n, folded, payload, .. } => {
                if Some(channel) == self.echo {
                    let number = own(&payload, self.account.number);
                    self.account.echo.seen.push(number.unwrap_or(u64::MAX));
                } else if let Some(ledger) = self.ledgers.get_mut(&channel) {
                    ledger.message(n.0, folded, &payload);
                }
            }
            Event::Gap { channel, n, missing, .. } => {
                if Some(channel) == self.echo {
                    self.account.echo.gap = true;
                } else if let Some(ledger) = self.ledgers.get_mut(&channel) {
                    ledger.gap(n.0, missing);
                }
            }
            Event::Closed { channel, .. } if Some(channel) == self.echo => {
                self.account.echo.gap = true;
            }
            Event::Sent { id, fate, .. } => {
                let Some((to_board, number)) = self.sends.remove(&id) else { return };
                let sends = if to_board { &mut self.account.board } else { &mut self.account.echo };
                sends.fates[number] = Some(fate);
            }
            _ => {}
        }
    }
}

/// The number of the send that `payload` was, if `client` sent it.
pub fn own(payload: &[u8], client: usize) -> Option<u64> {
    let (sender, number) = parse_send(payload)?;
    (sender == client).then_some(number)
}

/// Who sent `payload`, and as which of its sends.
pub fn parse_send(payload: &[u8]) -> Option<(usize, u64)> {
    let (sender, number) = std::str::from_utf8(payload).ok()?.split_once(' ')?;
    Some((sender.parse().ok()?, number.parse().ok()?))
}

//! One run: a server, two proxies, a publisher, many clients, and what came of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::audit::{self, Board, Taken};
use crate::client::{self, Account, Course};
use crate::faults::Profile;
use crate::feed::{self, Pace, Published};
use crate::proxy::Proxy;
use crate::report::Report;
use crate::server::Server;

/// Topics that every run has.
pub const TOPICS: usize = 4;
/// Nothing that a run waits for at its beginning takes so long.
const PATIENCE: Duration = Duration::from_secs(30);
/// After the last message and the last fault clients have so long to come to the end.
const SETTLE: Duration = Duration::from_secs(45);

/// How a run goes.
#[derive(Clone, Debug)]
pub struct Plan {
    pub title: &'static str,
    pub clients: usize,
    pub seconds: u64,
    pub seed: u64,
    /// Messages a second of each topic.
    pub rate: u64,
    pub profile: Profile,
    /// Messages that the server keeps of each topic.
    pub history: u64,
    /// How long it keeps a session without a document, in milliseconds.
    pub linger: u64,
    /// Whether histories are too short for the cuts.
    pub lossy: bool,
}

impl Plan {
    fn server(&self) -> Server {
        let feed = format!("feed:feed:history.messages={}", self.history);
        let long = "history.messages=1000000:history.bytes=64MiB";
        let resources = [feed, format!("echo:echo:{long}"), format!("board:board:{long}")];
        let settings = [
            format!("protocol.linger={}ms", self.linger),
            "protocol.history.age=1h".into(),
            "protocol.history.bytes=64MiB".into(),
        ];
        Server::start(&settings, &resources)
    }
}

/// A thread that publishes, and how it is stopped: by dropping the second.
type Feeding = (JoinHandle<Result<Published, String>>, Sender<()>);

fn publish(proxy: &Proxy, pace: Pace) -> Vec<Feeding> {
    let (began, begun) = mpsc::channel();
    let address = proxy.address;
    let threads: Vec<_> = (0..TOPICS)
        .map(|topic| {
            let (stop, stopped) = mpsc::channel();
            let began = began.clone();
            let work = move || feed::run(address, topic, pace, &began, &stopped);
            (thread::spawn(work), stop)
        })
        .collect();
    for _ in 0..TOPICS {
        begun.recv_timeout(PATIENCE).expect("each topic begins");
    }
    threads
}

fn start_clients(plan: &Plan, course: &Arc<Course>) -> Vec<JoinHandle<Account>> {
    let start = |number| {
        let (course, seed) = (Arc::clone(course), plan.seed);
        // Five hundred threads: small stacks.
        let thread = thread::Builder::new().stack_size(512 * 1024);
        let work = move || client::run(&course, number, seed);
        thread.name(format!("client {number}")).spawn(work).unwrap()
    };
    (0..plan.clients).map(start).collect()
}

/// A thread that reads the board; it has begun to.
fn watch_board(server: &Server, until: Instant) -> JoinHandle<Result<Board, String>> {
    let (open, opened) = mpsc::channel();
    let address = server.public;
    let thread = thread::spawn(move || audit::read(address, &open, until));
    opened.recv_timeout(PATIENCE).expect("the board is open");
    thread
}

/// Carries `plan` out.
pub fn run(plan: &Plan) -> Report {
    let began = Instant::now();
    let mut server = plan.server();
    let public = Proxy::start(server.public, plan.profile, plan.seed).unwrap();
    let private = Proxy::start(server.private, plan.profile, plan.seed ^ 0xfeed).unwrap();
    let pace = Pace { rate: plan.rate, count: plan.rate * plan.seconds };
    let until = began + Duration::from_secs(plan.seconds) + SETTLE;
    let board = watch_board(&server, until + SETTLE);
    let feeds = publish(&private, pace);
    let course = Arc::new(Course {
        address: public.address,
        topics: TOPICS,
        last: pace.count,
        over: AtomicBool::new(false),
        until,
    });
    let clients = start_clients(plan, &course);
    let mut problems = Vec::new();
    let mut published = Vec::new();
    for (thread, stop) in feeds {
        match thread.join().expect("the publisher does not panic") {
            Ok(of_topic) => published.push(of_topic),
            Err(problem) => problems.push(problem),
        }
        drop(stop);
    }
    public.calm();
    private.calm();
    let calm = Instant::now();
    course.over.store(true, Ordering::Release);
    let mut accounts: Vec<Account> = Vec::new();
    for thread in clients {
        match thread.join() {
            Ok(account) => accounts.push(account),
            Err(_) => problems.push("a client has panicked".into()),
        }
    }
    let settled = calm.elapsed();
    problems.extend(audit::end(server.private).err());
    let board = board.join().expect("the reader of the board does not panic");
    let board = board.unwrap_or_else(|problem| {
        problems.push(problem);
        Board::new()
    });
    if !server.is_alive() {
        problems.push("the server has died".into());
    }
    problems.extend(accounts.iter().filter_map(|account| account.unfinished.clone()));
    Report {
        plan: plan.clone(),
        connections: public.connections() + private.connections(),
        faults: [&public, &private].map(|proxy| proxy.counts().to_string()),
        fault_count: public.counts().total(),
        published,
        sends: Taken::of(&accounts, &board),
        accounts,
        settled,
        problems,
    }
}

//! One run: servers, a proxy before each of their listeners, publishers, many clients, and what
//! came of it.

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
/// From when clients find a server that was started again to when its publisher does.
const FEED_BEHIND: Duration = Duration::from_millis(700);
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
    /// Servers that are fed with the same; of two, one is killed in the middle and started again.
    pub servers: usize,
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

    fn pace(&self) -> Pace {
        Pace { rate: self.rate, count: self.rate * self.seconds }
    }
}

/// A thread that publishes, and how it is stopped: by dropping the second.
type Feeding = (JoinHandle<Result<Published, String>>, Sender<()>);

/// One server with what stands before it.
struct Site {
    server: Server,
    public: Proxy,
    private: Proxy,
    feeds: Vec<Feeding>,
}

impl Site {
    fn start(plan: &Plan, number: u64) -> Self {
        let server = plan.server();
        let seed = plan.seed.wrapping_add(number << 32);
        let public = Proxy::start(server.public, plan.profile, seed).unwrap();
        let private = Proxy::start(server.private, plan.profile, seed ^ 0xfeed).unwrap();
        Self { server, public, private, feeds: Vec::new() }
    }

    /// Begins to publish; every topic is there when this returns.
    fn publish(&mut self, pace: Pace) {
        let (began, begun) = mpsc::channel();
        let address = self.private.address;
        for topic in 0..TOPICS {
            let (stop, stopped) = mpsc::channel();
            let began = began.clone();
            let work = move || feed::run(address, topic, pace, &began, &stopped);
            self.feeds.push((thread::spawn(work), stop));
        }
        for _ in 0..TOPICS {
            begun.recv_timeout(PATIENCE).expect("each topic begins");
        }
    }

    /// Kills the server, and starts another in its place after `pause`. Clients find it before
    /// their feed does, and open channels on topics that nobody has numbered yet.
    fn replace(&mut self, plan: &Plan, pause: Duration) {
        self.server.kill();
        wait(pause);
        self.server = plan.server();
        self.public.lead_to(self.server.public);
        wait(FEED_BEHIND);
        self.private.lead_to(self.server.private);
    }

    fn calm(&self) {
        self.public.calm();
        self.private.calm();
    }
}

/// Lets `span` pass; what happens at a moment of its own is part of the plan, and waits for nobody.
fn wait(span: Duration) {
    let (_open, never) = mpsc::channel::<()>();
    let _ = never.recv_timeout(span);
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

/// Waits for all publishers, and for those clients that then have everything.
fn finish(
    sites: &mut [Site],
    course: &Course,
    clients: Vec<JoinHandle<Account>>,
    report: &mut Report,
) {
    for (thread, stop) in sites.iter_mut().flat_map(|site| site.feeds.drain(..)) {
        match thread.join().expect("the publisher does not panic") {
            Ok(of_topic) => report.published.push(of_topic),
            Err(problem) => report.problems.push(problem),
        }
        drop(stop);
    }
    sites.iter().for_each(Site::calm);
    let calm = Instant::now();
    course.over.store(true, Ordering::Release);
    for thread in clients {
        match thread.join() {
            Ok(account) => report.accounts.push(account),
            Err(_) => report.problems.push("a client has panicked".into()),
        }
    }
    report.settled = calm.elapsed();
    let unfinished = report.accounts.iter().filter_map(|account| account.unfinished.clone());
    report.problems.extend(unfinished);
}

/// Carries `plan` out.
pub fn run(plan: &Plan) -> Report {
    let until = Instant::now() + Duration::from_secs(plan.seconds) + SETTLE;
    let mut sites: Vec<Site> =
        (0..plan.servers as u64).map(|number| Site::start(plan, number)).collect();
    // A send goes to one server: where that is killed nothing is promised about it.
    let sends = plan.servers == 1;
    let board = sends.then(|| watch_board(&sites[0].server, until + SETTLE));
    sites.iter_mut().for_each(|site| site.publish(plan.pace()));
    let course = Arc::new(Course {
        addresses: sites.iter().map(|site| site.public.address).collect(),
        sends,
        topics: TOPICS,
        last: plan.pace().count,
        over: AtomicBool::new(false),
        until,
    });
    let clients = start_clients(plan, &course);
    let mut report = Report::new(plan);
    if plan.servers > 1 {
        wait(Duration::from_secs(plan.seconds) / 2);
        let before = sites[0].public.connections();
        sites[0].replace(plan, Duration::from_secs(plan.seconds) / 8);
        report.after_kill = Some(sites[0].public.connections() - before);
    }
    finish(&mut sites, &course, clients, &mut report);
    if let Some(board) = board {
        report.problems.extend(audit::end(sites[0].server.private).err());
        match board.join().expect("the reader of the board does not panic") {
            Ok(board) => report.sends = Taken::of(&report.accounts, &board),
            Err(problem) => report.problems.push(problem),
        }
    }
    for site in &mut sites {
        if !site.server.is_alive() {
            report.problems.push("a server has died".into());
        }
        report.add_proxies(&site.public, &site.private);
    }
    report
}

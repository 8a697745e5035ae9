//! The processes of a test: registries, servers, and instances of a resource fed by their input.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use ahm::base::time::Span;
use ahm::link::peer::Me;
use ahm::link::registry::Registry;
use ahm::resource::consumer::{Consumer, Event, Subscription};
use ahm::resource::driver::{Driver, Setup};
use ahm::wire::resource::{InstanceId, Role};

pub const SUBJECTS: usize = 100;
/// Nothing here takes so long unless it is stuck.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A process; dropping it kills it.
pub struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn ahm(args: &[&str], variables: &[(&str, &str)]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ahm"));
    command.args(args).envs(variables.iter().copied()).stdout(Stdio::piped());
    command.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Starts a process that tells where it listens in a line that begins with `word`.
fn listening(args: &[&str], variables: &[(&str, &str)], word: &str) -> (Process, String) {
    let mut child = ahm(args, variables);
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let process = Process(child);
    let line = lines.map(Result::unwrap).find(|line| line.starts_with(word)).unwrap();
    (process, line[word.len()..].trim().trim_start_matches("http://").to_string())
}

pub fn registry(listen: &str) -> (Process, String) {
    listening(&["registry", "--listen", listen], &[], "registry ")
}

pub fn server(registries: &[String]) -> (Process, String) {
    let registries = registries.join(",");
    let variables = [
        ("AHM_REGISTRY_LISTEN", "off"),
        ("AHM_REGISTRY_ASK", registries.as_str()),
        ("AHM_REGISTRY_RETRY", "100ms"),
        ("AHM_REGISTRY_PATIENCE", "3s"),
    ];
    let args = ["serve", "--listen", "127.0.0.1:0", "--private", "127.0.0.1:0", "--shards", "2"];
    listening(&args, &variables, "listening ")
}

/// Waits until each of the registries knows so many instances.
pub fn wait_for_instances(registries: &[String], instances: usize) {
    let mut args = vec!["registry", "list", "--json"];
    args.extend(registries.iter().map(String::as_str));
    let began = Instant::now();
    loop {
        let output = ahm(&args, &[]).wait_with_output().unwrap();
        let known = output.stdout.iter().filter(|&&byte| byte == b'\n').count();
        if output.status.success() && known == registries.len() * instances {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{known} instances are registered");
    }
}

/// One instance of the resource as the test sees it, past all servers: at a registry of its own,
/// where nothing else is registered.
pub struct Watch {
    consumer: Consumer,
    /// What it publishes last in each round.
    last: Subscription,
    registry: Driver<Registry>,
}

impl Watch {
    fn new() -> Self {
        let me = Me {
            role: Role::Registry,
            instance: InstanceId(1),
            name: "watch".into(),
            heartbeat: Span::from_secs(5),
            key: String::new(),
            demands: String::new(),
        };
        let listen = vec!["127.0.0.1:0".parse().unwrap()];
        let setup = Setup { listen, ..Setup::new("watch") };
        let now = setup.clock.now();
        let registry = Driver::start(setup, |_| Registry::new(me, now)).unwrap();
        let mut builder = Consumer::builder().registry(registry.addresses()[0].clone());
        builder.seek.retry = Span::from_millis(20);
        let consumer = builder.start().unwrap();
        let last = Self::subscribe(&consumer, SUBJECTS - 1);
        Self { consumer, last, registry }
    }

    /// The instance may not be there yet: asks until it is.
    fn subscribe(consumer: &Consumer, subject: usize) -> Subscription {
        consumer.subscribe("rates", &format!("s{subject}")).unwrap()
    }

    fn address(&self) -> String {
        self.registry.addresses()[0].to_string()
    }

    /// Waits until the instance has published a round.
    fn until(&mut self, round: usize) {
        let round = round.to_string();
        loop {
            match self.last.next_within(PATIENCE).unwrap() {
                Event::Message { payload, .. } if payload == round.as_bytes() => return,
                Event::Denied(..) => self.last = Self::subscribe(&self.consumer, SUBJECTS - 1),
                Event::Message { .. } | Event::Opened { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// The epochs in which it numbers the subjects.
    pub fn epochs(&self) -> Vec<String> {
        let subscribe = |subject| Self::subscribe(&self.consumer, subject);
        let all: Vec<Subscription> = (0..SUBJECTS).map(subscribe).collect();
        let epoch = |one: &Subscription| match one.next_within(PATIENCE) {
            Some(Event::Opened { ep, .. }) => ep.to_string(),
            other => panic!("{other:?}"),
        };
        all.iter().map(epoch).collect()
    }
}

/// An instance of the resource, fed by its standard input.
pub struct Instance {
    _process: Process,
    input: ChildStdin,
    pub watch: Watch,
}

/// The feed, and the instances that carry it.
pub struct Feed {
    registries: Vec<String>,
    /// The epoch that all instances number in; `None`: each has its own.
    epoch: Option<&'static str>,
    pub instances: Vec<Option<Instance>>,
    lines: Vec<u8>,
    pub rounds: usize,
}

impl Feed {
    pub fn new(registries: &[String], epoch: Option<&'static str>) -> Self {
        let instances = vec![None, None, None];
        let registries = registries.to_vec();
        let mut feed = Self { registries, epoch, instances, lines: Vec::new(), rounds: 0 };
        (0..3).for_each(|at| feed.start(at));
        feed
    }

    /// Starts an instance, which is given all that was published before.
    pub fn start(&mut self, at: usize) {
        let watch = Watch::new();
        let own = watch.address();
        let mut args = vec!["publish", "rates", "--state", "--quiet", "--registry", &own];
        args.extend(self.registries.iter().flat_map(|registry| ["--registry", registry]));
        args.extend(self.epoch.iter().flat_map(|epoch| ["--replicas", epoch]));
        let mut child = ahm(&args, &[]);
        let mut input = child.stdin.take().unwrap();
        input.write_all(&self.lines).unwrap();
        self.instances[at] = Some(Instance { _process: Process(child), input, watch });
    }

    /// So many rounds of a message for every subject.
    pub fn publish(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.rounds += 1;
            let lines: String =
                (0..SUBJECTS).map(|at| format!("s{at}\t{}\n", self.rounds)).collect();
            self.give(&lines);
        }
    }

    /// Lines for all instances.
    pub fn give(&mut self, lines: &str) {
        self.lines.extend_from_slice(lines.as_bytes());
        for instance in self.instances.iter_mut().flatten() {
            instance.input.write_all(lines.as_bytes()).unwrap();
        }
    }

    /// Waits until all instances have published everything.
    pub fn settle(&mut self) {
        for instance in self.instances.iter_mut().flatten() {
            instance.watch.until(self.rounds);
        }
    }

    /// How the last message of each subject ends.
    pub fn end(&self) -> String {
        format!(">{}\n", self.rounds)
    }
}

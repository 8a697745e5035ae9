//! Real processes: instances of a resource that number alike, registries, servers and many readers.
//! Instances and a registry are killed and started anew; no reader misses anything.

#![expect(clippy::unwrap_used, reason = "what fails here has failed the test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

const SUBJECTS: usize = 100;
const READERS: usize = 1_000;
/// Nothing here takes so long unless it is stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process; dropping it kills it.
struct Process(Child);

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

fn registry(listen: &str) -> (Process, String) {
    listening(&["registry", "--listen", listen], &[], "registry ")
}

fn server(registries: &str) -> (Process, String) {
    let variables = [
        ("AHM_REGISTRY_LISTEN", "off"),
        ("AHM_REGISTRY_ASK", registries),
        ("AHM_REGISTRY_RETRY", "100ms"),
    ];
    let args = ["serve", "--listen", "127.0.0.1:0", "--private", "127.0.0.1:0", "--shards", "2"];
    listening(&args, &variables, "listening ")
}

/// An instance of the resource, fed by its standard input.
struct Instance {
    _process: Process,
    input: ChildStdin,
}

/// The feed, and the instances that carry it.
struct Feed {
    registries: Vec<String>,
    instances: Vec<Option<Instance>>,
    lines: Vec<u8>,
    rounds: usize,
}

impl Feed {
    /// Starts an instance, which is given all that was published before.
    fn start(&mut self, at: usize) {
        let mut args = vec!["publish", "rates", "--state", "--quiet", "--replicas", "e1"];
        for registry in &self.registries {
            args.extend(["--registry", registry]);
        }
        let mut child = ahm(&args, &[]);
        let mut input = child.stdin.take().unwrap();
        input.write_all(&self.lines).unwrap();
        self.instances[at] = Some(Instance { _process: Process(child), input });
    }

    /// So many rounds of a message for every subject.
    fn publish(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.rounds += 1;
            let lines: String =
                (0..SUBJECTS).map(|at| format!("s{at}\t{}\n", self.rounds)).collect();
            self.lines.extend_from_slice(lines.as_bytes());
            for instance in self.instances.iter_mut().flatten() {
                instance.input.write_all(lines.as_bytes()).unwrap();
            }
        }
    }
}

/// A document with one subject, and what it has brought.
struct Reader {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl Reader {
    fn open(server: &str, subject: usize) -> Self {
        let mut stream = TcpStream::connect(server).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request =
            format!("GET /ahm/mux.html?open=rates/s{subject} HTTP/1.1\r\nHost: a\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        Self { stream, bytes: Vec::new() }
    }

    /// Reads until `end` has come.
    fn until(&mut self, end: &str) {
        let mut buffer = [0; 16 * 1024];
        let mut from = 0;
        while !self.bytes[from..].windows(end.len()).any(|part| part == end.as_bytes()) {
            from = self.bytes.len().saturating_sub(end.len());
            let count = self.stream.read(&mut buffer).unwrap();
            assert!(count > 0, "it has ended: {}", String::from_utf8_lossy(&self.bytes));
            self.bytes.extend_from_slice(&buffer[..count]);
        }
    }

    /// Offset and round of all messages so far.
    fn messages(&self) -> Vec<(u64, usize)> {
        let text = String::from_utf8_lossy(&self.bytes);
        assert!(!text.contains("<p g ") && !text.contains("<p x "), "{text}");
        let messages = text.lines().filter(|line| line.starts_with("<p c="));
        messages
            .map(|line| {
                let (head, payload) = line.split_once('>').unwrap();
                let n = head.split(" n=").nth(1).unwrap().split(' ').next().unwrap();
                (n.parse().unwrap(), payload.parse().unwrap())
            })
            .collect()
    }
}

/// Waits until a server finds the resource: an open before that is refused.
fn wait_for(server: &str) {
    let found = |reader: Reader| String::from_utf8_lossy(&reader.bytes).contains("<p c=");
    let mut tries = std::iter::repeat_with(|| {
        let mut reader = Reader::open(server, 0);
        reader.until("u=rates/s0");
        reader.until("\n\r\n");
        reader
    });
    assert!(tries.by_ref().take(100_000).any(found), "nobody serves it");
}

#[test]
fn nobody_misses_anything_when_instances_and_a_registry_die() {
    let (first, a) = registry("127.0.0.1:0");
    let (_second, b) = registry("127.0.0.1:0");
    let mut first = Some(first);
    let servers = [server(&format!("{a},{b}")), server(&format!("{a},{b}"))];
    let (registries, instances) = (vec![a.clone(), b], vec![None, None, None]);
    let mut feed = Feed { registries, instances, lines: Vec::new(), rounds: 0 };
    (0..3).for_each(|at| feed.start(at));
    feed.publish(50);
    servers.iter().for_each(|(_, address)| wait_for(address));
    let mut readers: Vec<Reader> =
        (0..READERS).map(|at| Reader::open(&servers[at % 2].1, at / 2 % SUBJECTS)).collect();
    readers.iter_mut().for_each(|reader| reader.until("<p c="));
    feed.publish(50);
    // What a reader of one subject that moves waits for at most.
    let mut slowest = Duration::ZERO;
    for killed in 0..2 {
        let mut watch: Vec<Reader> =
            (0..SUBJECTS).map(|at| Reader::open(&servers[0].1, at)).collect();
        watch.iter_mut().for_each(|reader| reader.until("<p c="));
        feed.instances[killed] = None;
        let began = Instant::now();
        feed.publish(1);
        let end = format!(">{}\n", feed.rounds);
        watch.iter_mut().for_each(|reader| reader.until(&end));
        slowest = slowest.max(began.elapsed());
        feed.publish(30);
        first = match killed {
            0 => {
                drop(first.take());
                feed.publish(30);
                Some(registry(&a).0)
            }
            _ => first,
        };
        feed.start(killed);
        feed.publish(30);
    }
    drop(first);
    let end = format!(">{}\n", feed.rounds);
    let mut messages = 0;
    for (at, reader) in readers.iter_mut().enumerate() {
        reader.until(&end);
        let seen = reader.messages();
        assert!(
            seen.is_sorted_by(|a, b| a.0 + 1 == b.0 && a.1 + 1 == b.1),
            "reader {at}: {seen:?}"
        );
        assert!(seen[0].1 <= 50, "reader {at} began with {:?}", seen[0]);
        messages += seen.len();
    }
    println!("{messages} messages; all subjects were there again after {slowest:?}");
}

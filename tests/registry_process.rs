//! `ahm registry` as a process: resources register, `ahm registry list` shows them, and what dies
//! is gone at once.

#![expect(clippy::unwrap_used, reason = "what fails here has failed the test")]

use std::io::{BufRead, BufReader, Lines, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use ahm::base::id::Key;
use ahm::base::time::Span;
use ahm::link::address::Address;
use ahm::link::links::Links;
use ahm::link::peer::{End, Me, Other};
use ahm::link::station::Station;
use ahm::resource::driver::{Driver, Setup};
use ahm::wire::resource::{Frame, Handle, InstanceId, Role};
use ahm::wire::resource_encode::put_frame;
use serde_json::Value;

/// Nothing here takes so long unless it is stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// A process that tells where its registry is. Dropping it kills it.
struct Process {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    registry: Address,
    /// Where clients connect, if it is a server.
    public: String,
}

impl Process {
    fn start(args: &[&str]) -> Self {
        let mut child = ahm(args).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut public = String::new();
        let registry = loop {
            let line = lines.next().expect("it says where it is").unwrap();
            if let Some(address) = line.strip_prefix("listening http://") {
                public = address.into();
            }
            if let Some(address) = line.strip_prefix("registry ") {
                break address.parse().unwrap();
            }
        };
        Self { child, lines, registry, public }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id();
        let sent = Command::new("sh").args(["-c", &format!("kill -{name} {id}")]).status();
        assert!(sent.unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ahm(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ahm"));
    command.args(args).stdin(Stdio::null()).stderr(Stdio::piped());
    command
}

fn run(args: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = ahm(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

/// What is registered there.
fn listed(args: &[&str]) -> Vec<Value> {
    let (code, printed, complaint) = run(&[&["registry", "list", "--json"][..], args].concat());
    assert_eq!(code, 0, "{complaint}");
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Registers a resource, or asks for it, and tells what it hears.
struct Resource {
    links: Links,
    resource: &'static str,
    heard: Sender<String>,
}

impl Station for Resource {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }

    fn on_greeted(&mut self, link: Key) {
        let (resource, addresses) = (self.resource, vec!["127.0.0.1:9000", "unix:/run/fx"]);
        if self.links.me().role == Role::Resource {
            let (capacity, weight, labels) = (500, 100, vec!["zone=a"]);
            let handle = Handle { addresses, capacity, weight, labels, ..Handle::default() };
            self.links.send(link, &Frame::Register { resource, handle });
            self.links.send(link, &Frame::Load { resource, consumers: 7 });
        } else {
            self.ask(link);
        }
        self.tell("greeted");
    }

    fn on_frame(&mut self, link: Key, frame: &Frame<'_>) {
        match frame {
            Frame::Resolved { instance, handle, .. } => {
                self.tell(&format!("{} at {}", instance.0, handle.addresses.join(" ")));
            }
            Frame::Unresolved { code, .. } => self.tell(code.word()),
            Frame::Changed { resource } => {
                self.tell(&format!("changed {resource}"));
                if *resource == "raw" {
                    self.ask(link);
                }
            }
            other => panic!("{other:?}"),
        }
    }

    fn on_over(&mut self, _link: Key, _other: Option<Other>, end: End) {
        self.tell(&end.to_string());
    }
}

impl Resource {
    fn ask(&mut self, link: Key) {
        let (ask, subject, private, without) = (1, "EURUSD", false, Vec::new());
        let resource = self.resource;
        self.links.send(link, &Frame::Resolve { ask, resource, subject, private, without });
    }

    fn tell(&self, what: &str) {
        // The test may have heard enough.
        let _ = self.heard.send(what.into());
    }
}

/// A station, and what it hears.
type Running = (Driver<Resource>, Receiver<String>);

fn dial(role: Role, instance: u64, registry: &Address, key: &str) -> Running {
    dial_for("fx", role, instance, registry, key)
}

fn dial_for(
    resource: &'static str,
    role: Role,
    instance: u64,
    registry: &Address,
    key: &str,
) -> Running {
    let (heard, told) = channel();
    let me = Me {
        role,
        instance: InstanceId(instance),
        name: format!("rates-{instance}"),
        heartbeat: Span::from_secs(5),
        key: key.into(),
        demands: String::new(),
    };
    let setup = Setup::new("resource");
    let mut links = Links::new(me, setup.clock.now());
    links.dial([registry.clone()]);
    (Driver::start(setup, |_| Resource { links, resource, heard }).unwrap(), told)
}

fn next(told: &Receiver<String>) -> String {
    told.recv_timeout(PATIENCE).unwrap()
}

fn scratch(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("ahm-registry-{name}-{}", std::process::id()))
}

#[test]
fn what_registers_is_listed_and_gone_when_it_dies() {
    let socket = scratch("socket");
    let socket = format!("unix:{}", socket.display());
    let mut registry =
        Process::start(&["registry", "--listen", "127.0.0.1:0", "--listen", &socket]);
    let address = registry.registry.to_string();
    let other = registry.lines.next().unwrap().unwrap();
    assert_eq!(other, format!("registry {socket}"));
    let nothing = (0, "Nothing is registered.\n".to_string(), String::new());
    assert_eq!(run(&["registry", "list", &address]), nothing);

    let (consumer, heard) = dial(Role::Consumer, 9, &registry.registry, "");
    assert_eq!(["greeted", "no-resource"].map(String::from), [next(&heard), next(&heard)]);
    let (resource, told) = dial(Role::Resource, 71, &socket.parse().unwrap(), "");
    assert_eq!(next(&told), "greeted");
    assert_eq!(next(&heard), "changed fx");

    let [one]: [Value; 1] = listed(&[&address]).try_into().unwrap();
    assert!(one["resource"] == "fx" && one["registry"] == address.as_str(), "{one}");
    assert!(one["instance"] == "1z" && one["name"] == "rates-71", "{one}");
    assert!(one["capacity"] == 500 && one["weight"] == 100, "{one}");
    assert!(one["addresses"][1] == "unix:/run/fx" && one["labels"][0] == "zone=a", "{one}");
    let (code, table, _) = run(&["registry", "list", &socket, &address]);
    assert_eq!((code, table.lines().count()), (0, 3), "{table}");
    let line = table.lines().nth(2).unwrap();
    assert!(line.starts_with(&address) && line.contains(" fx "), "{table}");

    // It dies; what was known of it is not so at once.
    let (again, hears) = dial(Role::Consumer, 10, &registry.registry, "");
    assert_eq!(next(&hears), "greeted");
    assert_eq!(next(&hears), "71 at 127.0.0.1:9000 unix:/run/fx");
    drop(resource);
    assert_eq!(next(&hears), "changed fx");
    assert!(listed(&[&address]).is_empty());

    registry.signal("TERM");
    let bye = "it ended the connection: this process ends";
    assert_eq!([next(&heard), next(&hears)], [bye, bye]);
    assert!(registry.child.wait().unwrap().success());
    drop((consumer, again));
    let (code, _, complaint) = run(&["registry", "list", &address]);
    let told = format!("ahm registry list: {address}: nobody answers there\n");
    assert_eq!((code, complaint), (1, told));
}

/// A process that is killed says nothing; the kernel closes its connections.
#[test]
fn a_killed_resource_is_gone_at_once() {
    let socket = scratch("silent");
    let socket_address = format!("unix:{}", socket.display());
    let registry = Process::start(&["registry", "--listen", &socket_address]);
    let mut bytes = Vec::new();
    let (instance, heartbeat, name, key) = (InstanceId(5), Span::from_secs(60), "raw", "");
    let role = Role::Resource;
    put_frame(&mut bytes, &Frame::Hello { version: 1, role, instance, heartbeat, name, key });
    let handle = Handle { weight: 1, ..Handle::default() };
    put_frame(&mut bytes, &Frame::Register { resource: "raw", handle });
    let (watcher, watches) = dial_for("raw", Role::Consumer, 11, &registry.registry, "");
    assert_eq!(["greeted", "no-resource"].map(String::from), [next(&watches), next(&watches)]);
    let mut stream = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    stream.write_all(&bytes).unwrap();
    assert_eq!([next(&watches), next(&watches)], ["changed raw", "5 at "]);
    assert_eq!(listed(&[&socket_address])[0]["name"], "raw");
    drop(stream);
    assert_eq!([next(&watches), next(&watches)], ["changed raw", "no-resource"]);
    drop((watcher, registry));
    // It was killed, and could not take it along.
    std::fs::remove_file(&socket).unwrap();
}

#[test]
fn a_killed_registry_is_noticed_at_once() {
    let mut registry = Process::start(&["registry", "--listen", "127.0.0.1:0"]);
    let (_resource, told) = dial(Role::Resource, 1, &registry.registry, "");
    assert_eq!(next(&told), "greeted");
    registry.child.kill().unwrap();
    registry.child.wait().unwrap();
    assert_eq!(next(&told), "the connection was lost");
}

#[test]
fn who_does_not_show_the_key_is_turned_away() {
    let file = scratch("key");
    std::fs::write(&file, "correct-horse-battery\n").unwrap();
    let key = file.to_str().unwrap();
    let registry = Process::start(&["registry", "--listen", "127.0.0.1:0", "--key-file", key]);
    let address = registry.registry.to_string();
    let (code, printed, complaint) = run(&["registry", "list", &address]);
    assert_eq!((code, printed.as_str()), (1, ""));
    assert!(complaint.contains("the key is not the one that is demanded here"), "{complaint}");
    let (_resource, told) = dial(Role::Resource, 1, &registry.registry, "another-horse-battery");
    assert_eq!(next(&told), "greeted", "the registry has greeted, and then it has read the key");
    assert!(next(&told).contains("the key is not the one that is demanded here"));
    let (resource, told) = dial(Role::Resource, 1, &registry.registry, "correct-horse-battery");
    assert_eq!(next(&told), "greeted");
    // Its registration was sent at once; the answer to a later question comes after it.
    let (consumer, heard) = dial(Role::Consumer, 2, &registry.registry, "correct-horse-battery");
    assert_eq!(next(&heard), "greeted");
    assert!(next(&heard).ends_with("unix:/run/fx") || next(&heard) == "changed fx");
    let args = [address.as_str(), "--key-file", key];
    assert_eq!(listed(&args).len(), 1);
    drop((resource, consumer));
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn wrong_use_and_what_cannot_be_had_are_told_apart() {
    // Bound, so that nobody else gets the port, but not listening.
    let holder = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    holder.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    let closed = holder.local_addr().unwrap().as_socket().unwrap().to_string();
    let registry = Process::start(&["registry", "--listen", "127.0.0.1:0"]);
    let held = registry.registry.to_string();
    let told = format!("ahm registry: {held}: somebody listens there already\n");
    assert_eq!(run(&["registry", "--listen", &held]), (1, String::new(), told));
    let missing = scratch("missing");
    let socket = format!("unix:{}/socket", missing.display());
    let told = format!("ahm registry: {socket}: there is no directory {}\n", missing.display());
    assert_eq!(run(&["registry", "--listen", &socket]), (1, String::new(), told));
    for (args, wanted) in [
        (&["registry", "--listen", "0.0.0.0:0"][..], "other machines can reach it"),
        (&["registry", "--listen", "here"], "is not an address: give IP:PORT, IP:PORT:tls"),
        (&["registry", "--key-file", "no/such"], "--key-file: no/such: No such file"),
        (&["registry", "list", "--key-file", "no/such"], "--key-file: no/such: No such file"),
        (&["registry", "list", "here"], "is not an address"),
        (&["registry", "lst"], "unrecognized subcommand"),
    ] {
        let (code, printed, complaint) = run(args);
        assert_eq!((code, printed.as_str()), (2, ""), "{args:?}: {complaint}");
        assert!(complaint.contains(wanted), "{args:?}: {complaint}");
    }
    let (code, printed, complaint) = run(&["registry", "list", &closed, &held]);
    assert_eq!((code, printed.as_str()), (1, ""), "nothing there, and nobody to ask");
    assert_eq!(complaint, format!("ahm registry list: {closed}: nobody answers there\n"));
}

/// `ahm serve` runs one too, and says clearly where it cannot.
#[test]
fn a_server_runs_a_registry_beside_its_shards() {
    let anywhere = ["--listen", "127.0.0.1:0", "--private", "127.0.0.1:0", "--set", "drain=60s"];
    let serve = |registry: &str| {
        let set = format!("registry.listen={registry}");
        let args = [&["serve"][..], &anywhere, &["--set", &set]].concat();
        args.into_iter().map(String::from).collect::<Vec<_>>()
    };
    let words = serve("127.0.0.1:0");
    let mut server = Process::start(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let held = server.registry.to_string();
    let (_resource, told) = dial(Role::Resource, 1, &server.registry, "");
    assert_eq!(next(&told), "greeted");
    let (_consumer, heard) = dial(Role::Consumer, 2, &server.registry, "");
    assert_eq!(next(&heard), "greeted");

    let words = serve(&held);
    let (code, _, complaint) = run(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let wanted = format!(
        "ahm serve: registry: {held}: somebody listens there already (set registry.listen to \
         another address, or to off for no registry)\n"
    );
    assert!(code == 1 && complaint.ends_with(&wanted), "{complaint}");

    // While it drains the address is free already: whoever comes next has it.
    let mut document = TcpStream::connect(&server.public).unwrap();
    document.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(document, "GET /ahm/mux.html HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut frames = BufReader::new(document).lines().map(Result::unwrap);
    assert!(frames.any(|line| line.starts_with("<p i ")));
    server.signal("TERM");
    assert_eq!(next(&told), "it ended the connection: this process ends");
    let successor = Process::start(&["registry", "--listen", &held]);
    assert_eq!(successor.registry, server.registry);
    assert!(frames.any(|line| line.starts_with("<p m e=drain ")), "its stream goes on");
    assert!(server.child.try_wait().unwrap().is_none());
    server.signal("INT");
    assert!(server.child.wait().unwrap().success());
}

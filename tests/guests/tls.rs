//! The resource protocol over TLS, in both directions: whoever proves who it is comes in, and what
//! travels is the same as without.

use std::process::{Command, Stdio};
use std::time::Duration;

use ahm::base::time::Span;
use ahm::link::address::Address;
use ahm::link::source_topic::Served;
use ahm::reactor::beyond::Papers;
use ahm::resource::consumer::{Consumer, Event};
use ahm::resource::protection::Protection;
use ahm::resource::publisher::Publisher;
use ahm::resource::publisher_builder::Builder as PublisherBuilder;
use ahm::server::builder::{Builder, Server};
use ahm::server::config::Config;
use ahm::server::registry::RegistryConfig;
use ahm::wire::resource::Terms;

use crate::authority::Authority;
use crate::reader::Reader;
use crate::{Loud, Process, ahm, converse, loud};

fn tls() -> Address {
    "127.0.0.1:0:tls".parse().unwrap()
}

/// A server of two shards whose registry, and whose address for guests, are protected.
fn server(authority: &Authority, change: impl FnOnce(&mut Config)) -> Server {
    let (chain, key) = authority.issue("server", "127.0.0.1");
    let mut config = Config {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        private_listen: vec![],
        resources: vec![],
        shards: 2,
        registry: RegistryConfig {
            listen: vec![tls()],
            guests: vec![tls()],
            client_authorities: authority.file(),
            authorities: authority.file(),
            certificate: format!("{chain} {key}"),
            retry: Span::from_millis(50),
            ..RegistryConfig::off()
        },
        ..Config::default()
    };
    config.tls.certificates = vec![format!("{chain} {key}")];
    change(&mut config);
    Builder::new(config).start().unwrap()
}

/// Much more than a connection holds at a time arrives as it was said.
fn flood(server: &Server, publisher: &Publisher) {
    let subjects: Vec<String> = (0..100).map(|at| format!("s{at}")).collect();
    let opens: Vec<String> = subjects.iter().map(|name| format!("open=flood/{name}")).collect();
    let target = format!("mux.html?{}", opens.join("&"));
    let mut reader = Reader::open(server.public_addrs()[0], &target);
    reader.until(|text| text.matches("<p o ").count() == subjects.len());
    let page = "x".repeat(60_000);
    let says = |name: &String| format!("{name} {page}");
    publisher.publish_many(subjects.iter().map(|name| (name.as_str(), says(name)))).unwrap();
    reader.until(|text| text.len() > subjects.len() * page.len());
    for name in &subjects {
        reader.until_says(&says(name));
    }
}

fn terms() -> Terms {
    Terms { state: true, ..Terms::default() }
}

#[test]
fn a_resource_registers_and_is_dialled_by_tls() {
    let authority = Authority::new();
    let server = server(&authority, |_| {});
    let registry = server.registry_addrs()[0].clone();
    assert!(registry.is_secure(), "{registry}");
    let loud = Publisher::builder("loud")
        .tls(authority.protection("127.0.0.1"))
        .listen(tls())
        .registry(registry.clone())
        .takes_messages()
        .also(Served::new("flood"), terms())
        .start(Loud)
        .unwrap();
    assert!(loud.addresses()[0].is_secure());
    for _ in 0..4 {
        converse(&server);
    }
    flood(&server, &loud.for_resource("flood"));
    assert_eq!(loud.counts().unwrap().registries, 1);
    // And a program reads it without a server.
    let consumer = Consumer::builder()
        .registry(registry)
        .tls(authority.protection("somebody"))
        .start()
        .unwrap();
    let all = consumer.subscribe("flood", "s99").unwrap();
    let payload = loop {
        match all.next_within(Duration::from_secs(30)) {
            Some(Event::Message { payload, .. }) => break payload,
            Some(Event::Opened { .. }) => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(payload.starts_with(b"s99 x"));
    server.stop();
}

#[test]
fn a_resource_that_dials_the_server_does_so_by_tls() {
    let authority = Authority::new();
    let server = server(&authority, |config| config.registry.listen = vec![]);
    let dial = server.guest_addrs().iter().cloned();
    let builder = dial.fold(Publisher::builder("loud"), PublisherBuilder::dial);
    let builder = builder.tls(authority.protection("anybody")).takes_messages();
    let loud = builder.also(Served::new("flood"), terms()).start(Loud).unwrap();
    for _ in 0..4 {
        converse(&server);
    }
    flood(&server, &loud.for_resource("flood"));
    assert_eq!(loud.counts().unwrap().connections, 2, "one for each shard");
    server.stop();
}

#[test]
fn who_cannot_prove_who_it_is_gets_nowhere() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let server = server(&ours, |_| {});
    let (chain, key) = theirs.issue("stranger", "127.0.0.1");
    let trusting = |authority: &Authority| Papers {
        authorities: Some(authority.file().into()),
        ..Papers::default()
    };
    let stranger =
        Papers { certificate: Some(chain.into()), key: Some(key.into()), ..trusting(&ours) };
    let elsewhere = Papers { server_name: Some("registry.example".into()), ..trusting(&ours) };
    let read = |papers: &Papers| Protection::read(papers, None).unwrap();
    let protections = [
        // Without a certificate, with one of a stranger, and those whom the server cannot convince.
        read(&trusting(&ours)),
        read(&stranger),
        read(&trusting(&theirs)),
        read(&elsewhere),
        // And who knows no authority at all.
        Protection::default(),
    ];
    let strangers = protections.map(|tls| {
        loud(&server, |builder| {
            builder.tls = tls;
            builder.settings.registries = server.registry_addrs().to_vec();
            builder.served.takes_messages = true;
        })
    });
    // Plain words to a protected address, and HTTP in TLS, are answered in their own way.
    let address = server.registry_addrs()[0].socket().unwrap();
    let curl = |url: &str, more: &[&str]| {
        let mut curl = Command::new("curl");
        let args = ["-sS", "--max-time", "20", "--cacert", &ours.file()];
        curl.args(args).args(more).arg(url).stdin(Stdio::null());
        let output = curl.output().expect("curl");
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
    };
    let said = curl(&format!("http://{address}/"), &[]);
    assert!(said.contains("this port speaks TLS"), "{said}");
    let (chain, key) = ours.issue("curl", "curl");
    let said = curl(&format!("https://{address}/"), &["--cert", &chain, "--key", &key]);
    assert!(said.to_lowercase().contains("alpn") || said.contains("alert"), "{said}");

    let friend = loud(&server, |builder| {
        builder.tls = ours.protection("127.0.0.1");
        builder.settings.registries = server.registry_addrs().to_vec();
    });
    converse(&server);
    while friend.counts().unwrap().registries < 1 {
        std::thread::yield_now();
    }
    for stranger in &strangers {
        let counts = stranger.counts().unwrap();
        assert_eq!((counts.connections, counts.registries), (0, 0), "{counts:?}");
    }
    server.stop();
}

#[test]
fn certificates_are_read_again_and_connections_stay() {
    let (before, after) = (Authority::new(), Authority::new());
    let server = server(&before, |config| {
        config.tls.watch = Span::ZERO;
        config.registry.listen = vec![];
        config.registry.client_authorities = String::new();
    });
    let old = loud(&server, |builder| builder.tls = before.protection("old"));
    converse(&server);
    std::fs::write(before.path("server.key"), "rubbish").unwrap();
    assert!(server.handle().reload().unwrap_err().to_string().contains("server.key"));
    converse(&server);
    let (chain, key) = after.issue("server", "127.0.0.1");
    std::fs::copy(chain, before.path("server.pem")).unwrap();
    std::fs::copy(key, before.path("server.key")).unwrap();
    server.handle().reload().unwrap();
    let new = loud(&server, |builder| builder.tls = after.protection("new"));
    while new.counts().unwrap().connections < 2 {
        std::thread::yield_now();
    }
    assert_eq!(old.counts().unwrap().connections, 2, "nobody has noticed");
    server.stop();
}

#[test]
fn what_cannot_be_protected_is_told_at_the_start() {
    let authority = Authority::new();
    let start = |address: &str, change: &dyn Fn(&mut RegistryConfig)| {
        let mut config = Config {
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            private_listen: vec![],
            registry: RegistryConfig {
                listen: vec![address.parse().unwrap()],
                ..RegistryConfig::off()
            },
            ..Config::default()
        };
        change(&mut config.registry);
        Builder::new(config).start().map(Server::stop).unwrap_err().to_string()
    };
    let said = start("127.0.0.1:0:tls", &|_| {});
    assert_eq!(said, "tls.certificates: a listener with TLS needs a certificate");
    let said = start("127.0.0.1:0", &|registry| registry.authorities = "/no/such".into());
    assert!(said.starts_with("registry: /no/such: "), "{said}");
    let papers = Papers { authorities: Some(authority.file().into()), ..Papers::default() };
    let tls = Protection::read(&papers, None).unwrap();
    let refused = Publisher::builder("a").tls(tls).listen(self::tls()).start(Terms::default());
    let said = refused.map(drop).unwrap_err().to_string();
    assert_eq!(said, "127.0.0.1:0:tls: TLS needs a certificate and its key");
    let said = Protection::read(&papers, Some(authority.file().as_ref())).unwrap_err().to_string();
    assert!(said.contains("needs one of its own"), "{said}");
}

/// The lines that a process prints, until one begins so; what follows that.
fn told(process: &mut Process, start: &str) -> String {
    use std::io::{BufRead, BufReader};
    let mut lines = BufReader::new(process.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let found = lines.find_map(|line| line.strip_prefix(start).map(str::to_string));
    found.expect("it says where it is")
}

#[test]
fn processes_find_each_other_by_tls() {
    let authority = Authority::new();
    let (chain, key) = authority.issue("all", "127.0.0.1");
    let ca = authority.file();
    let shown = ["--cert", &chain, "--key", &key];
    let listen = ["registry", "--listen", "127.0.0.1:0:tls", "--client-ca", &ca];
    let mut registry = Process(ahm(&[&listen[..], &shown].concat()));
    let registry = (told(&mut registry, "registry "), registry);
    assert!(registry.0.ends_with(":tls"), "{}", registry.0);
    let place = ["--registry", &registry.0, "--at", "127.0.0.1:0:tls", "--client-ca", &ca];
    let flags = ["publish", "rates", "--state", "--stay", "60", "--ca", &ca];
    let mut publisher = Process(ahm(&[&flags[..], &place, &shown].concat()));
    {
        use std::io::Write;
        let mut input = publisher.0.stdin.take().unwrap();
        input.write_all(b"EURUSD\t1.09214\n").unwrap();
    }
    let list = |more: &[&str]| {
        let args = [&["registry", "list", "--json", &registry.0, "--ca", &ca][..], more].concat();
        let output = ahm(&args).wait_with_output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let mut tries = 0..500;
    while !list(&shown).1.contains("\"rates\"") {
        assert!(tries.next().is_some(), "it never registers");
    }
    assert!(!list(&[]).0, "without a certificate nothing is told");
    let ask = format!("registry.ask={}", registry.0);
    let authorities = format!("registry.authorities={ca}");
    let certificate = format!("registry.certificate={chain} {key}");
    let keys = ["registry.listen=off", &ask, &authorities, &certificate];
    let serve = ["serve", "--listen", "127.0.0.1:0", "--private", "127.0.0.1:0"];
    let keys = keys.iter().flat_map(|key| ["--set", key]).collect::<Vec<_>>();
    let mut server = Process(ahm(&[&serve[..], &keys].concat()));
    let public = told(&mut server, "listening http://");
    let mut reader = Reader::open(public, "mux.html?open=rates/EURUSD");
    reader.until_says("1.09214");
}

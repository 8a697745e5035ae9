//! Access lists over a real server: whichever way a topic is asked for it is refused alike, and
//! a resource server's own list is asked before the resource server.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;

use ahm::link::address::Address;
use ahm::link::handler::{Consumer, Decision, Handler};
use ahm::resource::publisher::Publisher;
use ahm::server::builder::Server;
use ahm::server::config::Config;
use ahm::server::registry::RegistryConfig;

use crate::support::{PATIENCE, Peer, attribute, server};

/// How an address answers the opens of a topic: by a command, a history, a batch and a document.
fn ways(address: SocketAddr, topic: &str) -> [String; 4] {
    let mut line = Peer::connect(address);
    let login = line.get("/ahm/login").body;
    let field = |name: &str| {
        let start = format!("\"{name}\":\"");
        let at = login.find(&start).unwrap() + start.len();
        login[at..].split('"').next().unwrap().to_string()
    };
    let me = format!("scs={}&mid={}&k={}", field("scs"), field("mid"), field("k"));
    let (resource, subject) = topic.split_once('/').unwrap();
    let query = format!("resource={resource}&subject={subject}");
    let open = line.get(&format!("/ahm/open?{query}&{me}"));
    let history = line.get(&format!("/ahm/history?{query}&{me}"));
    let batch = line.post(&format!("/ahm/batch?{me}"), format!("open?{query}"));
    let mut reader = Peer::connect(address);
    reader.document(&format!("/ahm/mux.html?open={topic}"));
    reader.frame();
    let error = |status: u16, body: &str| match body.split("\"error\":\"").nth(1) {
        Some(rest) => format!("{status} {}", rest.split('"').next().unwrap()),
        None => format!("{status} ok"),
    };
    let told = reader.frame();
    let document =
        if told.starts_with("<p o ") { "opened" } else { told.rsplit("e=").next().unwrap() };
    [
        error(open.status, &open.body),
        error(history.status, &history.body),
        error(batch.status, &batch.body),
        document.trim_end_matches('>').to_string(),
    ]
}

#[test]
fn every_way_to_read_is_refused_alike_over_both_families_of_addresses() {
    let server = server(2, |config| {
        config.access = vec![
            "allow fx/four from:127.0.0.0/8".into(),
            "allow fx/six from:::1".into(),
            "more fx/*".into(),
        ];
    });
    let [four, six] = [server.public_addrs()[0], server.public_addrs()[1]];
    let mut publisher = Peer::connect(server.private_addrs()[0]);
    for subject in ["four", "six", "more"] {
        assert_eq!(publisher.post(&format!("/publish/fx/{subject}"), "1").status, 200);
    }
    let yes = ["200 ok", "200 ok", "200 ok", "opened"];
    let more = ["401 auth-required", "401 auth-required", "200 auth-required", "denied"];
    let no = ["403 forbidden", "403 forbidden", "200 forbidden", "denied"];
    for (address, topic, wanted) in [
        (four, "fx/four", yes),
        (four, "fx/six", more),
        (six, "fx/four", more),
        (six, "fx/six", yes),
        (four, "fx/more", more),
        (six, "board/lobby", no),
        (four, "nobody/x", no),
    ] {
        assert_eq!(ways(address, topic), wanted, "{topic} at {address}");
    }
    let metrics = publisher.get("/metrics").body;
    for line in ["ahm_access_denied_by_list_total 8", "ahm_access_auth_required_total 12"] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    server.stop();
}

/// Notes what it is asked for.
#[derive(Debug)]
struct Notes(Mutex<Sender<String>>);

impl Handler for Notes {
    fn open(&self, subject: &str, consumer: &Consumer) -> Decision {
        // A test that has heard enough has gone.
        let _ = self.0.lock().unwrap().send(format!("{subject} {:?}", consumer.user));
        match subject {
            "private" => Decision::Private,
            "led" => Decision::Other("secret".into()),
            _ => Decision::Shared,
        }
    }
}

fn with_registry(config: &mut Config) {
    config.registry = RegistryConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        ..RegistryConfig::default()
    };
}

fn rates(server: &Server, rules: &[&str]) -> (Publisher, Receiver<String>) {
    let (sender, notes) = channel();
    let any: Address = "127.0.0.1:0".parse().unwrap();
    let mut builder = Publisher::builder("rates").listen(any).access(rules.iter().copied());
    for registry in server.registry_addrs() {
        builder = builder.registry(registry.clone());
    }
    (builder.start(Notes(Mutex::new(sender))).unwrap(), notes)
}

/// Opens a topic as soon as the registry knows its resource: the first frame about it.
fn open(address: SocketAddr, topic: &str) -> (Peer, String) {
    let until = Instant::now() + PATIENCE;
    loop {
        let mut reader = Peer::connect(address);
        reader.document(&format!("/ahm/mux.html?open={topic}"));
        reader.frame();
        let told = reader.frame();
        if !told.contains("e=gone") {
            return (reader, told);
        }
        assert!(Instant::now() < until, "{told}");
    }
}

#[test]
fn the_list_of_a_resource_server_is_asked_before_the_resource_server() {
    let server = server(2, with_registry);
    let rules = ["more EUR*", "allow six from:::1", "allow led", "allow private", "allow s1"];
    let (publisher, notes) = rates(&server, &rules);
    let [four, six] = [server.public_addrs()[0], server.public_addrs()[1]];
    let (mut reader, told) = open(four, "rates/s1");
    assert!(told.starts_with("<p o ") && told.contains(" u=rates/s1 "), "{told}");
    for topic in ["rates/EURUSD", "rates/secret", "rates/six", "rates/x"] {
        let (_, told) = open(four, topic);
        assert_eq!(told, format!("<p x u={topic} e=denied>"));
    }
    // It leads to what may not be read.
    assert_eq!(open(four, "rates/led").1, "<p x u=rates/led e=denied>");
    assert!(open(four, "rates/private").1.starts_with("<p o "));
    assert!(open(six, "rates/six").1.starts_with("<p o "));
    // The topic is open here by now, on one shard or both; that helps nobody.
    for _ in 0..8 {
        assert_eq!(open(four, "rates/six").1, "<p x u=rates/six e=denied>");
        assert_eq!(
            ways(four, "rates/six")[..3],
            ["403 forbidden", "403 forbidden", "200 forbidden"]
        );
        assert!(open(six, "rates/six").1.starts_with("<p o "));
    }
    let (code, told) = (&ways(four, "rates/EURUSD")[0], &ways(four, "rates/x")[0]);
    assert_eq!((code.as_str(), told.as_str()), ("401 auth-required", "403 forbidden"));
    publisher.publish("s1", "1.09").unwrap();
    let frame = reader.frame();
    assert!(attribute(&frame, "n") == "1" && frame.ends_with(">1.09"), "{frame}");
    let heard: Vec<String> = notes.try_iter().collect();
    let wanted = ["s1 \"\"", "led \"\"", "private \"\"", "six \"\""];
    assert!(wanted.iter().all(|one| heard.contains(&one.to_string())), "{heard:?}");
    assert!(heard.iter().all(|one| wanted.contains(&one.as_str())), "{heard:?}");
    server.stop();
}

#[test]
fn an_instance_with_another_list_ends_what_it_does_not_allow() {
    let server = server(2, with_registry);
    let (first, _) = rates(&server, &["allow s*"]);
    let address = server.public_addrs()[0];
    let mut readers = Vec::new();
    for topic in ["rates/s1", "rates/s2", "rates/s1", "rates/s2"] {
        let (reader, told) = open(address, topic);
        assert!(told.starts_with("<p o "), "{told}");
        readers.push(reader);
    }
    // It is gone, and another comes that lets everybody read one of them.
    drop(first);
    let (second, _) = rates(&server, &["allow s1"]);
    for at in [1, 3] {
        // Its next instance may have told where it begins before that.
        let mut frame = readers[at].frame();
        while frame.starts_with("<p o ") || frame.starts_with("<p g ") {
            frame = readers[at].frame();
        }
        assert!(frame.starts_with("<p x ") && frame.ends_with("e=denied>"), "{frame}");
    }
    let until = Instant::now() + PATIENCE;
    for at in [0, 2] {
        second.publish("s1", "on").unwrap();
        loop {
            let frame = readers[at].frame();
            assert!(!frame.contains("e=denied") && Instant::now() < until, "{frame}");
            if frame.ends_with(">on") {
                break;
            }
        }
    }
    server.stop();
}

#[test]
fn a_resource_server_with_a_rule_that_is_none_does_not_start() {
    let builder = Publisher::builder("rates").listen("127.0.0.1:0".parse().unwrap());
    let (sender, _notes) = channel();
    let error =
        builder.access(["allow EUR* usr:anna"]).start(Notes(Mutex::new(sender))).unwrap_err();
    let wanted = "the access list: rule 1, column 12: \"usr:anna\" is no condition";
    assert!(error.to_string().starts_with(wanted), "{error}");
}

#[test]
fn a_server_with_a_rule_that_is_none_does_not_start() {
    let change = |config: &mut Config| config.resources[0].access = vec!["allow".into()];
    let error = crate::support::try_server(1, change).unwrap_err();
    let wanted = "access of the resource fx: rule 1, column 6: after allow the topics are named";
    assert!(error.to_string().starts_with(wanted), "{error}");
}

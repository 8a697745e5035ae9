//! Limits against abuse, on a running server: each is met, told and counted, and nobody else
//! notices.

#![expect(clippy::unwrap_used, reason = "what fails here has failed the test")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use ahm::base::time::Span;
use ahm::server::builder::{Builder, Server};
use ahm::server::config::{Config, RegistryConfig, ResourceConfig, ResourceKind};

const PATIENCE: Duration = Duration::from_secs(20);

/// A server that exempts nobody.
fn server(change: impl FnOnce(&mut Config)) -> Server {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let mut config = Config {
        listen: vec![any.into(), "127.0.0.1:0:proxy".parse().unwrap()],
        private_listen: vec![any.into()],
        registry: RegistryConfig::off(),
        shards: 2,
        resources: vec![ResourceConfig::new("fx", ResourceKind::Feed)],
        ..Config::default()
    };
    config.protocol.limits.exempt.clear();
    change(&mut config);
    Builder::new(config).start().unwrap()
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Asks, and reads an answer with `Content-Length`.
fn ask(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    answer(stream)
}

fn answer(stream: &mut TcpStream) -> String {
    let (mut text, mut byte) = (String::new(), [0]);
    while !text.ends_with("\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "ended within {text:?}");
        text.push(char::from(byte[0]));
    }
    let length = text.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).unwrap();
    text + &String::from_utf8(body).unwrap()
}

fn get(stream: &mut TcpStream, target: &str) -> String {
    ask(stream, &format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
}

fn is_ok(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 200 ")
}

fn is_too_many(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 429 ") && answer.contains("\r\nRetry-After: ")
}

fn counter(server: &Server, name: &str) -> u64 {
    let body = get(&mut connect(server.private_addrs()[0]), "/metrics");
    let line = body.lines().find_map(|line| line.strip_prefix(&format!("ahm_{name} ")));
    line.unwrap_or_else(|| panic!("no {name} in {body}")).parse().unwrap()
}

/// Asks until the answer is as it should be: another thread has something to do first.
fn until(mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE);
        std::thread::yield_now();
    }
}

fn session(stream: &mut TcpStream) -> String {
    let said = get(stream, "/ahm/login");
    let field = |name: &str| {
        let at = said.find(&format!("\"{name}\":\"")).unwrap() + name.len() + 4;
        said[at..].split('"').next().unwrap().to_string()
    };
    format!("scs={}&mid={}&k={}", field("scs"), field("mid"), field("k"))
}

#[test]
fn an_address_has_so_many_connections_on_all_shards_together() {
    let server = server(|config| config.protocol.limits.connections = 6);
    let address = server.public_addrs()[0];
    let mut kept: Vec<_> = (0..6).map(|_| connect(address)).collect();
    for stream in &mut kept {
        assert!(is_ok(&get(stream, "/ahm/ping")));
    }
    for _ in 0..4 {
        // Turned away with a word, before anything was asked.
        let mut text = String::new();
        let read = connect(address).read_to_string(&mut text);
        let reset = |error: &std::io::Error| error.kind() == ErrorKind::ConnectionReset;
        assert!(read.as_ref().is_ok() || read.as_ref().is_err_and(reset), "{read:?}");
        assert!(is_too_many(&text), "{text:?}");
    }
    assert_eq!(counter(&server, "limits_connections_total"), 4);
    // Publishers are not counted among clients; whoever leaves makes room.
    assert!(counter(&server, "connections") >= 6);
    drop(kept.pop());
    until(|| {
        let mut stream = connect(address);
        let sent = stream.write_all(b"GET /ahm/ping HTTP/1.1\r\nHost: a\r\n\r\n");
        let mut text = [0; 12];
        sent.is_ok() && stream.read_exact(&mut text).is_ok() && text.ends_with(b" 200")
    });
}

#[test]
fn who_is_exempt_has_as_many_as_there_is_room_for() {
    let server = server(|config| {
        config.protocol.limits.connections = 1;
        config.protocol.limits.commands = 1;
        config.protocol.limits.logins = 1;
        config.protocol.limits.exempt = vec!["127.0.0.0/8".into()];
    });
    let mut kept: Vec<_> = (0..40).map(|_| connect(server.public_addrs()[0])).collect();
    for stream in &mut kept {
        for target in ["/ahm/ping", "/ahm/login", "/ahm/client.js"] {
            assert!(!is_too_many(&get(stream, target)), "{target}");
        }
    }
}

/// Behind a load balancer it is the client's address that counts, not that of the balancer.
#[test]
fn the_address_that_a_load_balancer_introduces_is_the_one_that_counts() {
    let server = server(|config| config.protocol.limits.connections = 2);
    let address = server.public_addrs()[1];
    let introduced = |client: &str| {
        let mut stream = connect(address);
        let line = format!("PROXY TCP4 {client} 192.0.2.99 5000 80\r\n");
        stream.write_all(line.as_bytes()).unwrap();
        let said = get(&mut stream, "/ahm/ping");
        (stream, said)
    };
    let kept: Vec<_> = ["192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.3"].map(introduced).into();
    assert!(kept.iter().all(|(_, said)| is_ok(said)));
    let (_, said) = introduced("192.0.2.1");
    assert!(said.starts_with("HTTP/1.1 429 ") && said.contains("too many connections from this"));
    assert!(is_ok(&introduced("192.0.2.2").1));
    drop(kept);
    until(|| is_ok(&introduced("192.0.2.1").1));
    until(|| counter(&server, "connections") == 1);
}

#[test]
fn an_address_begins_so_many_sessions_a_second() {
    let server = server(|config| config.protocol.limits.logins = 2);
    let mut stream = connect(server.public_addrs()[0]);
    let said: Vec<_> = (0..30).map(|_| get(&mut stream, "/ahm/login")).collect();
    let made = said.iter().filter(|said| is_ok(said)).count();
    assert!((10..30).contains(&made), "{made}");
    let refused = said.iter().find(|said| !is_ok(said)).unwrap();
    assert!(is_too_many(refused), "{refused}");
    assert!(refused.contains("\"too-many\",\"detail\":\"too many new sessions from this address"));
    // A document without a session is one more, on any connection.
    until(|| !is_ok(&get(&mut stream, "/ahm/login")));
    let mut document = connect(server.public_addrs()[0]);
    assert!(is_too_many(&get(&mut document, "/ahm/mux.html?open=fx/A")));
    assert!(counter(&server, "limits_logins_total") >= 2);
    // A while later there is room again.
    until(|| is_ok(&get(&mut stream, "/ahm/login")));
}

#[test]
fn a_session_has_so_many_commands_a_second_over_all_connections() {
    let server = server(|config| config.protocol.limits.commands = 4);
    let mut one = connect(server.public_addrs()[0]);
    let mut other = connect(server.public_addrs()[0]);
    let (mine, theirs) = (session(&mut one), session(&mut other));
    let mut taken = 0;
    for at in 0..50 {
        let stream = if at % 2 == 0 { &mut one } else { &mut other };
        let said = get(stream, &format!("/ahm/ping?{mine}"));
        assert!(is_ok(&said) || is_too_many(&said), "{said}");
        taken += usize::from(is_ok(&said));
    }
    assert!((20..50).contains(&taken), "{taken}");
    // Another session is not held back, and lines of a batch count one by one.
    let lines = "ping?t=1\n".repeat(60);
    let head = format!("POST /ahm/batch?{theirs} HTTP/1.1\r\nHost: a\r\nContent-Length: ");
    let said = ask(&mut one, &format!("{head}{}\r\n\r\n{lines}", lines.len()));
    let refused = said.matches("\"too many commands a second in this session\"").count();
    assert!((1..=40).contains(&refused) && is_ok(&said), "{said}");
    let mut third = connect(server.public_addrs()[0]);
    let said: Vec<_> =
        (0..60).map(|_| get(&mut third, "/ahm/history?resource=fx&subject=A")).collect();
    // There is no such topic, and that is said as often as it is allowed to ask.
    let made = said.iter().filter(|said| !is_too_many(said)).count();
    assert!((20..60).contains(&made), "{made}");
    assert!(said.iter().any(|said| said.contains("too many commands a second from this addr")));
    assert!(counter(&server, "limits_commands_total") > 2);
}

#[test]
fn channels_beyond_the_last_are_counted() {
    let server = server(|config| config.protocol.channels_max = 2);
    let mut stream = connect(server.public_addrs()[0]);
    let me = session(&mut stream);
    for (subject, ok) in [("A", true), ("B", true), ("C", false)] {
        let said = get(&mut stream, &format!("/ahm/open?{me}&resource=fx&subject={subject}"));
        assert_eq!(is_ok(&said), ok, "{said}");
    }
    assert_eq!(counter(&server, "limits_channels_total"), 1);
}

/// Sends a byte now and then until the server has had enough; says how long that took.
fn drip(mut stream: TcpStream, first: &str, every: Duration) -> (Duration, String) {
    let began = Instant::now();
    stream.write_all(first.as_bytes()).unwrap();
    stream.set_read_timeout(Some(every)).unwrap();
    let (mut said, mut buffer) = (Vec::new(), [0; 1024]);
    loop {
        assert!(began.elapsed() < PATIENCE, "nobody minds");
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => said.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if said.is_empty() && stream.write_all(b"x").is_err() {
                    break;
                }
            }
            Err(_) => break,
        }
        if said.ends_with(b"\n") {
            break;
        }
    }
    (began.elapsed(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn heads_and_bodies_that_drip_in_are_not_waited_for() {
    let server = server(|config| {
        config.protocol.head_timeout = Span::from_millis(600);
        config.protocol.body_timeout = Span::from_millis(600);
        config.protocol.limits.body_bytes = 1_000;
    });
    let address = server.public_addrs()[0];
    // Each byte comes long before a time-out that every byte would begin anew.
    let every = Duration::from_millis(50);
    let head = "GET /ahm/ping HTTP/1.1\r\nHost: a\r\nX-Slow: ";
    let body = "POST /ahm/batch HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n";
    let chunks =
        "POST /ahm/batch HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n";
    for first in [head, body, chunks] {
        let (took, said) = drip(connect(address), first, every);
        assert!(said.starts_with("HTTP/1.1 408 "), "{said:?}");
        assert!((500..5_000).contains(&took.as_millis()), "{took:?}");
    }
    assert_eq!(counter(&server, "limits_heads_total"), 1);
    assert_eq!(counter(&server, "limits_bodies_total"), 2);
    // What comes as fast as it must is waited for, though it takes longer than the time-out.
    let mut stream = connect(address);
    let lines = "ping?t=1\n".repeat(400);
    let head = "POST /ahm/batch HTTP/1.1\r\nHost: a\r\nContent-Length: ";
    stream.write_all(format!("{head}{}\r\n\r\n", lines.len()).as_bytes()).unwrap();
    let began = Instant::now();
    // Twenty parts, 50 ms apart: 3.6 KB a second.
    stream.set_read_timeout(Some(every)).unwrap();
    let (parts, last) = lines.as_bytes().split_at(lines.len() - 1);
    for part in parts.chunks(180) {
        stream.write_all(part).unwrap();
        let said = stream.read(&mut [0; 1]);
        assert!(said.is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "too early");
    }
    stream.write_all(last).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert!(began.elapsed() > Duration::from_millis(900));
    assert!(is_ok(&answer(&mut stream)));
}

/// Handshakes are counted where TLS begins them.
#[test]
fn handshakes_are_counted_by_address() {
    use ahm::base::id::ShardId;
    use ahm::base::time::Instant;
    use ahm::proto::hub::{Hub, Setup};
    use ahm::proto::limits::{Bounds, Limits};
    use std::sync::Arc;
    let limits = Arc::new(Limits::new(Bounds { handshakes: 3, ..Bounds::default() }));
    let hubs = (0..2).map(|shard| {
        let mut hub = Hub::new(Setup {
            settings: Arc::default(),
            directory: Arc::default(),
            shard: ShardId(shard),
            shards: 2,
            seed: [1; 32],
            unix_micros_at_zero: 0,
            now: Instant::ZERO,
        });
        hub.limit_by(Arc::clone(&limits));
        hub
    });
    let mut hubs: Vec<_> = hubs.collect();
    let mut allowed = |client: &str| {
        let client = client.parse().unwrap();
        let one = |at: usize| hubs[at % 2].allow_handshake(client, Instant::ZERO);
        (0..100).map(one).filter(|allowed| *allowed).count()
    };
    assert_eq!(allowed("192.0.2.1:5000"), 15);
    assert_eq!(allowed("192.0.2.2:5000"), 15);
    assert_eq!(allowed("127.0.0.1:5000"), 100);
    let refused: u64 = hubs.iter().map(|hub| hub.stats().met.handshakes).sum();
    assert_eq!(refused, 2 * 85);
}

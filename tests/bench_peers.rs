//! The load driver against servers that are not ours: small fakes of them, on plain threads, which
//! deliver everything or forget one message.
#![expect(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use ahm::cli::bench::peer::Peer;
use ahm::cli::bench::record::Record;
use ahm::cli::bench::{Args, measure};

/// The message of the whole run, the ones that make the topics included, that a fake may forget.
const AT: usize = 30;

#[derive(Default)]
struct World {
    readers: Vec<(String, TcpStream)>,
    published: usize,
    forgets: bool,
}

impl World {
    fn publish(&mut self, topic: &str, bytes: &[u8]) {
        self.published += 1;
        if self.forgets && self.published == AT {
            return;
        }
        for (_, reader) in self.readers.iter_mut().filter(|(name, _)| name == topic) {
            // A reader that is gone is the driver's to notice.
            let _ = reader.write_all(bytes);
        }
    }
}

type Serve = fn(TcpStream, &Mutex<World>);

fn listen(serve: Serve, forgets: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let world = Arc::new(Mutex::new(World { forgets, ..World::default() }));
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let world = Arc::clone(&world);
            std::thread::spawn(move || serve(stream, &world));
        }
    });
    address
}

/// A line without its end; empty at the end of the stream.
fn line(input: &mut impl BufRead) -> String {
    let mut line = String::new();
    input.read_line(&mut line).unwrap_or(0);
    line.trim_end().to_owned()
}

/// As nats-server: lines, payloads of a length that is told, and a PING of its own.
fn nats(mut stream: TcpStream, world: &Mutex<World>) {
    stream.write_all(b"INFO {}\r\nPING\r\n").unwrap();
    let mut input = BufReader::new(stream.try_clone().unwrap());
    loop {
        let said = line(&mut input);
        let words: Vec<&str> = said.split(' ').collect();
        match words[..] {
            ["SUB", topic, _] => {
                let reader = (topic.to_owned(), stream.try_clone().unwrap());
                world.lock().unwrap().readers.push(reader);
            }
            ["PUB", topic, size] => {
                let mut bytes = vec![0; size.parse::<usize>().unwrap() + 2];
                input.read_exact(&mut bytes).unwrap();
                let message = [format!("MSG {topic} 1 {size}\r\n").as_bytes(), &bytes].concat();
                world.lock().unwrap().publish(topic, &message);
            }
            ["PING"] => {
                let _locked = world.lock().unwrap();
                stream.write_all(b"PONG\r\n").unwrap();
            }
            ["CONNECT", ..] | ["PONG"] => {}
            _ => return,
        }
    }
}

/// As the floor and nchan: a stream of lines, in chunks where the driver asks for them.
fn lines(mut stream: TcpStream, world: &Mutex<World>) {
    let mut input = BufReader::new(stream.try_clone().unwrap());
    loop {
        let first = line(&mut input);
        let Some(target) = first.split(' ').nth(1).map(str::to_owned) else { return };
        let mut length = 0;
        loop {
            let field = line(&mut input);
            if let Some(value) = field.strip_prefix("Content-Length: ") {
                length = value.parse().unwrap();
            }
            if field.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        input.read_exact(&mut body).unwrap();
        let mut world = world.lock().unwrap();
        if let Some(topics) = target.strip_prefix("/sub/") {
            let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(head).unwrap();
            for topic in topics.split(',') {
                world.readers.push((topic.to_owned(), stream.try_clone().unwrap()));
            }
            return;
        }
        let chunk = [format!("{length:x}\r\n").as_bytes(), &body, b"\r\n"].concat();
        world.publish(target.strip_prefix("/pub/").unwrap(), &chunk);
        stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").unwrap();
    }
}

/// A web server to which what it is told makes no sense.
fn refuses(mut stream: TcpStream, _: &Mutex<World>) {
    stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
}

fn run(peer: Peer, serve: Serve, forgets: bool) -> Record {
    let address = listen(serve, forgets);
    let scheme = peer.schemes()[0];
    let args = Args {
        peer,
        url: format!("{scheme}://{address}"),
        private: Some(format!("{scheme}://{address}")),
        subscribers: 9,
        topics: 3,
        topics_per_subscriber: 2,
        rate: 500.0,
        seconds: 0.3,
        warmup: 0.1,
        drain: 0.2,
        ..Args::default()
    };
    measure(&args, std::io::sink()).unwrap().0
}

const PEERS: [(Peer, Serve); 2] = [(Peer::Nats, nats), (Peer::Nchan, lines)];

#[test]
fn everything_arrives_once_and_is_counted() {
    for (peer, serve) in PEERS {
        let record = run(peer, serve, false);
        assert_eq!(record.failures(), [""; 0], "{peer:?}");
        // Nine readers of two topics out of three: each topic has six.
        assert_eq!((record.publishing.accepted, record.delivery.expected), (200, 1200), "{peer:?}");
        let tally = record.delivery.tally;
        assert_eq!((tally.unique, tally.deliveries, tally.stray), (1200, 1200, 0), "{peer:?}");
        assert_eq!(record.latency_ms.count, 150 * 6, "{peer:?}");
    }
}

#[test]
fn a_message_that_never_comes_is_lost_for_each_of_its_readers() {
    for (peer, serve) in PEERS {
        let record = run(peer, serve, true);
        assert_eq!((record.delivery.lost, record.delivery.tally.repeated), (6, 0), "{peer:?}");
        assert!(record.failures()[0].contains("6 deliveries lost"), "{peer:?}");
    }
}

#[test]
fn a_server_that_speaks_something_else_is_told_at_once() {
    let address = listen(refuses, false);
    let url = format!("tcp://{address}");
    let private = Some(url.clone());
    let args = Args { peer: Peer::Nats, url, private, subscribers: 1, ..Args::default() };
    let problem = measure(&args, std::io::sink()).unwrap_err();
    assert_eq!(problem, "publisher: nats: HTTP/1.1 400 Bad Request");
}

#[test]
fn readers_without_a_server_between_get_everything_from_the_publisher() {
    let args = Args {
        straight: true,
        subscribers: 3,
        topics: 6,
        topics_per_subscriber: 4,
        rate: 600.0,
        seconds: 0.4,
        warmup: 0.1,
        ..Args::default()
    };
    let record = measure(&args, std::io::sink()).unwrap().0;
    assert_eq!(record.failures(), [""; 0]);
    assert_eq!((record.publishing.accepted, record.delivery.tally.unique), (300, 600));
}

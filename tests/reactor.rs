//! The reactor against the real kernel, over loopback, in both address families. Each test waits
//! for readiness and for nothing else; a readiness that never comes fails it after a while.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use ahm::base::time::{Instant, Span};
use ahm::reactor::clock::Clock;
use ahm::reactor::dialer;
use ahm::reactor::listener::{DOCUMENT_UNSENT_BYTES, Listener};
use ahm::reactor::poller::{Poller, Ready};
use ahm::reactor::rlimit;
use ahm::reactor::transport::{Io, Transport};
use mio::Token;
use socket2::{Domain, SockRef, Socket, Type};

const LISTENER: Token = Token(0);
const SERVER: Token = Token(1);
const CLIENT: Token = Token(2);

const LOOPBACKS: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];
const PATIENCE: Span = Span::from_secs(20);

/// Tries `attempt` again after every edge until it gives something.
fn wait<T>(poller: &mut Poller, mut attempt: impl FnMut(&[Ready]) -> Option<T>) -> T {
    let clock = Clock::start();
    let mut edges = Vec::new();
    loop {
        if let Some(outcome) = attempt(&edges) {
            return outcome;
        }
        let left = PATIENCE - clock.now().since(Instant::ZERO);
        assert!(left > Span::ZERO, "nothing became ready");
        poller.poll(Some(left)).unwrap();
        edges = poller.events().collect();
    }
}

fn listen(poller: &Poller, address: &str) -> (Listener, SocketAddr) {
    let listener = Listener::bind(address.parse().unwrap(), 128).unwrap();
    registered(poller, listener)
}

fn registered(poller: &Poller, mut listener: Listener) -> (Listener, SocketAddr) {
    listener.register(poller.registry(), LISTENER).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// The server's side, registered, of a connection whose client is a plain blocking socket.
fn pair(poller: &mut Poller, address: &str) -> (Transport, TcpStream) {
    let listener = listen(poller, address);
    accepted(poller, listener)
}

fn accepted(
    poller: &mut Poller,
    (mut listener, address): (Listener, SocketAddr),
) -> (Transport, TcpStream) {
    let client = TcpStream::connect(address).unwrap();
    let (mut server, peer) = wait(poller, |_| listener.accept().unwrap());
    assert_eq!(peer, client.local_addr().unwrap());
    server.register(poller.registry(), SERVER).unwrap();
    (server, client)
}

fn tcp(transport: &Transport) -> &mio::net::TcpStream {
    let Transport::Plain(stream) = transport else { panic!("a Unix socket") };
    stream
}

fn nodelay(transport: &Transport) -> bool {
    tcp(transport).nodelay().unwrap()
}

#[test]
fn bytes_go_both_ways_between_dialer_and_listener() {
    for address in LOOPBACKS {
        let mut poller = Poller::new(16).unwrap();
        let (mut listener, address) = listen(&poller, address);
        let mut client = dialer::dial(address).unwrap();
        client.register(poller.registry(), CLIENT).unwrap();
        wait(&mut poller, |_| dialer::finish(&client).unwrap().then_some(()));
        let (mut server, peer) = wait(&mut poller, |_| listener.accept().unwrap());
        assert_eq!(peer, client.local_addr().unwrap());
        assert_eq!(server.peer_addr().unwrap(), peer);
        assert!(listener.accept().unwrap().is_none());
        assert!(nodelay(&server) && nodelay(&client));
        server.register(poller.registry(), SERVER).unwrap();

        let slices = [IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"line")];
        assert!(matches!(client.write_vectored(&slices), Io::Bytes(8)));
        assert!(matches!(client.write_vectored(&[]), Io::Bytes(0)));
        let mut buffer = [0; 64];
        let count = wait(&mut poller, |_| match server.read(&mut buffer) {
            Io::All(count) => Some(count),
            Io::Blocked => None,
            other => panic!("{other:?}"),
        });
        assert_eq!(&buffer[..count], b"one line");
        assert!(matches!(server.read(&mut buffer), Io::Blocked));
        assert!(matches!(server.read(&mut []), Io::Bytes(0)));

        client.shutdown_write().unwrap();
        wait(&mut poller, |_| matches!(server.read(&mut buffer), Io::Closed).then_some(()));
        assert!(matches!(server.write_vectored(&[IoSlice::new(b"answer")]), Io::Bytes(6)));
        let count = wait(&mut poller, |_| match client.read(&mut buffer) {
            Io::All(count) => Some(count),
            Io::Blocked => None,
            other => panic!("{other:?}"),
        });
        assert_eq!(&buffer[..count], b"answer");
    }
}

#[test]
fn a_connection_comes_from_the_address_it_is_told() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = listener.local_addr().unwrap();
    let connect = |source: &str| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        dialer::bind_source(&socket, source.parse().unwrap()).unwrap();
        socket.connect(&peer.into()).unwrap();
        let own = socket.local_addr().unwrap().as_socket().unwrap();
        assert_eq!(listener.accept().unwrap().1, own);
        own.ip().to_string()
    };
    assert_eq!(connect("127.0.0.2"), "127.0.0.2");
    assert_eq!(connect("127.0.0.3"), "127.0.0.3");
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let error = dialer::bind_source(&socket, "192.0.2.1".parse().unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
}

#[test]
fn a_document_is_blocked_early_and_an_edge_tells_of_room() {
    let mut poller = Poller::new(16).unwrap();
    let (address, patience) = ("127.0.0.1:0".parse().unwrap(), Span::from_secs(60));
    let listener = Listener::bind_for_documents(address, 8, patience).unwrap();
    let listener = registered(&poller, listener);
    let (mut server, mut client) = accepted(&mut poller, listener);
    let seconds = |server: &Transport| {
        SockRef::from(tcp(server)).tcp_user_timeout().unwrap().unwrap().as_secs()
    };
    let unsent = SockRef::from(tcp(&server)).tcp_notsent_lowat().unwrap();
    assert_eq!(unsent, DOCUMENT_UNSENT_BYTES);
    assert_eq!((seconds(&server), nodelay(&server)), (60, true));
    server.set_user_timeout(Span::from_secs(7)).unwrap();
    assert_eq!(seconds(&server), 7);
    let block = [7; 8192];
    let slices = [IoSlice::new(&block); 4];
    let mut written = 0;
    let mut fill = |server: &mut Transport| loop {
        match server.write_vectored(&slices) {
            Io::Bytes(count) => written += count,
            Io::Blocked => return written,
            other => panic!("{other:?}"),
        }
    };
    let first = fill(&mut server);
    assert!(first < 1 << 20, "{first} bytes went to a reader that does not read");
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).unwrap();
        bytes
    });
    wait(&mut poller, |edges| {
        let room = edges.iter().any(|ready| ready.token == SERVER && ready.writable);
        (room && fill(&mut server) > first + (4 << 20)).then_some(())
    });
    server.shutdown_write().unwrap();
    let bytes = reader.join().unwrap();
    assert_eq!(bytes.len(), written);
    assert!(bytes.iter().all(|&byte| byte == 7));
}

#[test]
fn a_reset_is_an_error_and_not_an_end() {
    let mut poller = Poller::new(16).unwrap();
    let (server, mut client) = pair(&mut poller, "[::1]:0");
    server.reset();
    let error = client.read(&mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);

    let (mut server, client) = pair(&mut poller, "[::1]:0");
    SockRef::from(&client).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(client);
    let error = wait(&mut poller, |_| match server.read(&mut [0; 8]) {
        Io::Blocked => None,
        Io::Failed(error) => Some(error),
        other => panic!("{other:?}"),
    });
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    // Into a connection that is gone: an error, no signal, and a single slice takes another path.
    assert!(matches!(server.write_vectored(&[IoSlice::new(b"x")]), Io::Failed(_)));
    assert!(matches!(server.write_vectored(&[IoSlice::new(b"x"); 2]), Io::Failed(_)));
}

#[test]
fn a_connection_moves_to_another_poller_with_what_is_unread() {
    let mut old = Poller::new(16).unwrap();
    let (mut server, mut client) = pair(&mut old, "127.0.0.1:0");
    client.write_all(b"before the move").unwrap();
    wait(&mut old, |edges| edges.iter().any(|ready| ready.readable).then_some(()));
    server.deregister(old.registry()).unwrap();
    let moved = std::thread::spawn(move || {
        let mut new = Poller::new(16).unwrap();
        server.register(new.registry(), CLIENT).unwrap();
        wait(&mut new, |edges| {
            edges.iter().any(|ready| ready.token == CLIENT && ready.readable).then_some(())
        });
        let mut buffer = [0; 64];
        let Io::All(count) = server.read(&mut buffer) else { panic!("nothing to read") };
        buffer[..count].to_vec()
    });
    assert_eq!(moved.join().unwrap(), b"before the move");
}

#[test]
fn a_dial_that_nobody_answers_is_refused() {
    for address in LOOPBACKS {
        let mut poller = Poller::new(16).unwrap();
        // Bound, so that nobody else gets the port, but not listening.
        let address: SocketAddr = address.parse().unwrap();
        let holder = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        holder.bind(&address.into()).unwrap();
        let address = holder.local_addr().unwrap().as_socket().unwrap();
        let error = match dialer::dial(address) {
            Err(error) => error,
            Ok(mut client) => {
                client.register(poller.registry(), CLIENT).unwrap();
                wait(&mut poller, |_| match dialer::finish(&client) {
                    Ok(done) => {
                        assert!(!done);
                        None
                    }
                    Err(error) => Some(error),
                })
            }
        };
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
}

#[test]
fn a_connection_that_met_itself_counts_as_refused() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    socket.connect(&socket.local_addr().unwrap()).unwrap();
    socket.set_nonblocking(true).unwrap();
    let itself = Transport::Plain(mio::net::TcpStream::from_std(socket.into()));
    let error = dialer::finish(&itself).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn shards_share_a_port_and_a_stranger_is_told() {
    for address in LOOPBACKS {
        let first = Listener::bind(address.parse().unwrap(), 8).unwrap();
        let address = first.local_addr().unwrap();
        let second = Listener::bind(address, 8).unwrap();
        assert_eq!(second.local_addr().unwrap(), address);
        assert_eq!(Listener::probe(address).unwrap_err().kind(), ErrorKind::AddrInUse);
        drop((first, second));
        Listener::probe(address).unwrap();
        Listener::bind(address, 8).unwrap();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn room_for_descriptors_is_made_at_once() {
    let room = rlimit::make_room(3_000).unwrap();
    assert!(room > 0);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("FDSize:")).unwrap();
    let size: u64 = size.trim().parse().unwrap();
    assert!(size >= room, "room for {size}, not {room}");
    assert_eq!(rlimit::make_room(0).unwrap(), 0);
    let soft = rlimit::open_files().unwrap().soft;
    assert_eq!(rlimit::make_room(u64::MAX).unwrap(), soft.min(i32::MAX as u64));
}

const CHILD: &str = "AHM_TEST_CHILD";

/// Runs in a process of its own, since the limit on descriptors holds for all threads.
#[test]
fn out_of_descriptors_connections_are_reset_and_later_ones_served() {
    if std::env::var_os(CHILD).is_some() {
        run_out_of_descriptors();
        return;
    }
    let name = "out_of_descriptors_connections_are_reset_and_later_ones_served";
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

fn run_out_of_descriptors() {
    let mut poller = Poller::new(16).unwrap();
    let (mut listener, address) = listen(&poller, "127.0.0.1:0");
    let mut clients: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
    wait(&mut poller, |edges| (!edges.is_empty()).then_some(()));
    rlimit::lower_open_files(64).unwrap();
    let mut hoard = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        hoard.push(file);
    }

    assert!(listener.accept().unwrap().is_none(), "there was a descriptor left");
    assert_eq!(listener.shed(), 3);
    for client in &mut clients {
        let error = client.read(&mut [0; 8]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    assert!(listener.accept().unwrap().is_none(), "with none waiting none is shed");
    assert_eq!(listener.shed(), 3);

    // Once there is room again, connections are served again.
    clients.clear();
    hoard.truncate(hoard.len() - 2);
    let mut client = TcpStream::connect(address).unwrap();
    let (mut server, _) = wait(&mut poller, |_| listener.accept().unwrap());
    assert!(matches!(server.write_vectored(&[IoSlice::new(b"hello")]), Io::Bytes(5)));
    drop(server);
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), listener.shed()), ("hello", 3));
}

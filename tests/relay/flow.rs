//! Bodies of any size stream both ways, nobody waits for anybody in memory, and who leaves leaves.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use ahm::base::reason::CloseReason;
use ahm::base::time::Span;
use socket2::{Domain, Socket, Type};

use crate::recorder::{Recorder, Seen};
use crate::support::{Client, PATIENCE, server};

const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A web server that is one function of one connection, which is run for each.
fn web_server(serve: impl Fn(TcpStream, usize) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for (at, stream) in listener.incoming().enumerate() {
            let (Ok(stream), serve) = (stream, Arc::clone(&serve)) else { return };
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream.set_nodelay(true).unwrap();
            std::thread::spawn(move || serve(stream, at));
        }
    });
    address
}

/// Reads up to the end of a head, byte by byte.
fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte).is_ok_and(|count| count == 0) {
            break;
        }
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

#[test]
fn pitfall_19_the_first_bytes_of_a_stream_are_there_at_once() {
    let (go_on, wait) = channel::<&[u8]>();
    let wait = Mutex::new(wait);
    let web = web_server(move |mut stream, _| {
        read_head(&mut stream);
        stream.write_all(CHUNKED).unwrap();
        for piece in wait.lock().unwrap().iter() {
            stream.write_all(piece).unwrap();
        }
    });
    let server = server(&[web], |_| ());
    let mut client = Client::connect(server.public_addrs()[0]);
    client.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(client.head().starts_with("HTTP/1.1 200 OK\r\n"));
    for event in ["data: 1\n\n", "data: 22\n\n"] {
        let chunk = format!("{:x}\r\n{event}\r\n", event.len());
        go_on.send(chunk.leak().as_bytes()).unwrap();
        assert_eq!(client.chunk().unwrap().unwrap(), event.as_bytes());
    }
    go_on.send(b"0\r\n\r\n").unwrap();
    assert_eq!(client.chunk().unwrap(), None);
}

#[test]
fn a_client_that_is_slow_makes_the_web_server_wait_and_is_dropped_in_the_end() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let (tell, told) = channel();
    let web = web_server(move |mut stream, _| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n").unwrap();
        let piece = [7; 64 * 1024];
        while let Ok(count) = stream.write(&piece) {
            counted.fetch_add(count, Ordering::Relaxed);
        }
        tell.send(()).unwrap();
    });
    let server = server(&[web], |config| config.relay.idle_timeout = Span::from_millis(500));
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&server.public_addrs()[0].into()).unwrap();
    let mut client = Client::over(socket.into());
    client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n");
    client.head();
    client.exactly(100_000);
    // Then it takes no more: the web server is let go of after the time for that.
    told.recv_timeout(PATIENCE).unwrap();
    assert!(client.rest().is_err(), "an answer cut short is no whole one");
    let stats = server.stop();
    assert_eq!((stats.relay.stale, stats.closed[CloseReason::Stale as usize]), (1, 1), "{stats}");
    // What the kernel holds for two connections, and what we hold, is all that was ever sent.
    assert!(sent.load(Ordering::Relaxed) < 16 << 20, "{sent:?}");
}

#[test]
fn pitfall_20_a_client_that_leaves_frees_the_web_server_at_once() {
    let (tell, told) = channel();
    let web = web_server(move |mut stream, _| {
        read_head(&mut stream);
        stream.write_all(CHUNKED).unwrap();
        // The end of the connection.
        let end = stream.read(&mut [0]);
        tell.send(end.unwrap_or(0)).unwrap();
    });
    let server = server(&[web], |_| ());
    let mut client = Client::connect(server.public_addrs()[0]);
    client.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n");
    client.head();
    drop(client);
    assert_eq!(told.recv_timeout(PATIENCE), Ok(0));
    let stats = server.stop();
    assert_eq!(stats.relay.left, 1, "{stats}");
}

#[test]
fn pitfall_21_an_early_answer_reaches_a_client_that_is_still_sending() {
    let web = web_server(|mut stream, _| {
        read_head(&mut stream);
        stream.read_exact(&mut [0; 1_000]).unwrap();
        stream.write_all(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno").unwrap();
        // It closes with much unread, so that its end is a reset.
    });
    let server = server(&[web], |_| ());
    // More than the kernel holds on the way.
    let body = vec![7; 32_000_000];
    for _ in 0..5 {
        let mut client = Client::connect(server.public_addrs()[0]);
        client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 32000000\r\n\r\n");
        client.stream().set_write_timeout(Some(PATIENCE)).unwrap();
        // Whatever becomes of it: the answer is what counts.
        let _ = client.stream().write_all(&body);
        let answer = client.answer();
        assert_eq!((answer.status, answer.text()), (413, "no"));
        assert_eq!(answer.field("Connection"), Some("close"));
    }
}

#[test]
fn a_slow_upload_bothers_no_web_server_before_it_is_here() {
    let recorder = Recorder::start();
    let server = server(&[recorder.address], |config| config.relay.connections_max = 1);
    let mut slow = Client::connect(server.public_addrs()[0]);
    slow.send("POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab");
    // There is one connection, and it is free.
    assert_eq!(Client::connect(server.public_addrs()[0]).get("/quick").status, 200);
    slow.send("cd");
    assert_eq!(slow.answer().status, 200);
    assert_eq!(recorder.take(), ["GET /quick", "POST /slow abcd"]);
}

#[test]
fn a_large_upload_streams_and_comes_back() {
    let web = web_server(|mut stream, _| {
        let head = read_head(&mut stream);
        assert!(head.contains("\r\nExpect: 100-continue\r\n"));
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 20000000\r\n\r\n").unwrap();
        let mut echo = stream.try_clone().unwrap();
        std::io::copy(&mut stream.take(20_000_000), &mut echo).unwrap();
    });
    let server = server(&[web], |_| ());
    let mut client = Client::connect(server.public_addrs()[0]);
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 20000000\r\n\r\n",
    );
    assert!(client.head().starts_with("HTTP/1.1 100 Continue\r\n"));
    let mut stream = client.stream().try_clone().unwrap();
    let bytes: Vec<u8> = (0..20_000_000u32).map(|n| (n % 251) as u8).collect();
    let sent = bytes.clone();
    let writer = std::thread::spawn(move || stream.write_all(&sent));
    let answer = client.answer();
    writer.join().unwrap().unwrap();
    assert!(answer.body == bytes, "what came back is not what went");
}

#[test]
fn an_upgraded_connection_is_a_tunnel_with_an_end_on_each_side() {
    let (tell, told) = channel();
    let web = web_server(move |mut stream, _| {
        let head = read_head(&mut stream);
        assert!(head.contains("\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"), "{head}");
        let switch = "HTTP/1.1 101 Go\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nfirst";
        stream.write_all(switch.as_bytes()).unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        tell.send(all).unwrap();
        stream.write_all(b"last").unwrap();
    });
    let server = server(&[web], |_| ());
    let mut client = Client::connect(server.public_addrs()[0]);
    let ask = "GET /s HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    client.send(ask.to_owned() + "early");
    assert!(client.head().starts_with("HTTP/1.1 101 Go\r\n"));
    assert_eq!(client.exactly(5), b"first");
    client.send("GET /ahm/login HTTP/1.1\r\n\r\n");
    client.stream().shutdown(std::net::Shutdown::Write).unwrap();
    let through = told.recv_timeout(PATIENCE).unwrap();
    assert_eq!(String::from_utf8(through).unwrap(), "earlyGET /ahm/login HTTP/1.1\r\n\r\n");
    assert_eq!(client.rest().unwrap(), b"last");
}

#[test]
fn a_kept_connection_that_has_died_costs_nobody_an_answer() {
    // Each connection serves one request and is closed when the second has been read.
    let web = web_server(|mut stream, _| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        read_head(&mut stream);
    });
    let server = server(&[web], |_| ());
    let mut client = Client::connect(server.public_addrs()[0]);
    for _ in 0..5 {
        assert_eq!(client.get("/").text(), "ok");
    }
    client.send("POST /once HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
    let answer = client.answer();
    assert_eq!(answer.status, 502, "it may have been carried out: {answer:?}");
    let id = answer.field("X-Request-Id").unwrap();
    assert!(id.len() == 16 && answer.text().contains(id), "{answer:?}");
    assert_eq!(client.get("/").text(), "ok", "the connection goes on");
    let stats = server.stop();
    assert!(stats.relay.retried >= 2 && stats.relay.failed == 1, "{stats}");
}

#[test]
fn web_servers_share_the_work_and_the_dead_are_passed_over() {
    let (one, two) = (Recorder::start(), Recorder::start());
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = server(&[one.address, dead, two.address], |_| ());
    let mut client = Client::connect(server.public_addrs()[0]);
    for n in 0..20 {
        assert_eq!(client.get(&format!("/{n}")).status, 200);
    }
    let (first, second) = (one.take().len(), two.take().len());
    assert_eq!(first + second, 20);
    assert!(first >= 5 && second >= 5, "{first} and {second}");
}

#[test]
fn what_takes_too_long_or_has_no_place_is_told_in_words() {
    let (tell, told) = channel();
    let web = web_server(move |mut stream, _| {
        let head = read_head(&mut stream);
        tell.send(()).unwrap();
        // It says nothing, until it is left.
        let _ = stream.read(&mut [0]);
        drop(head);
    });
    let server = server(&[web], |config| {
        config.relay.answer_timeout = Span::from_millis(1_500);
        (config.relay.connections_max, config.relay.waiting_max) = (1, 0);
    });
    let mut first = Client::connect(server.public_addrs()[0]);
    first.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    told.recv_timeout(PATIENCE).unwrap();
    let busy = Client::connect(server.public_addrs()[0]).get("/");
    assert_eq!((busy.status, busy.field("Retry-After")), (503, Some("2")));
    let late = first.answer();
    assert_eq!(late.status, 504);
    assert!(late.text().contains("This takes too long"), "{late:?}");
    let stats = server.stop();
    assert_eq!((stats.relay.busy, stats.relay.late), (1, 1), "{stats}");
}

#[test]
fn an_answer_that_is_under_way_when_the_server_stops_is_given() {
    let (go_on, wait) = channel::<()>();
    let (tell, told) = channel();
    let wait = Mutex::new(wait);
    let web = web_server(move |mut stream, _| {
        read_head(&mut stream);
        tell.send(()).unwrap();
        wait.lock().unwrap().recv().unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
    });
    let server = server(&[web], |_| ());
    let mut client = Client::connect(server.public_addrs()[0]);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    told.recv_timeout(PATIENCE).unwrap();
    let stopping = std::thread::spawn(move || server.stop());
    go_on.send(()).unwrap();
    assert_eq!(client.answer().text(), "ok");
    assert_eq!(client.rest().unwrap(), b"");
    assert_eq!(stopping.join().unwrap().relay.answered, 1);
}

#[test]
fn pitfall_11_a_deep_pipeline_is_answered_in_order() {
    let recorder = Recorder::answering(|head, stream| {
        let target = head.split(' ').nth(1).unwrap();
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}", target.len());
        stream.write_all(answer.as_bytes()).is_ok()
    });
    let server = server(&[recorder.address], |_| ());
    let mut client = Client::connect(server.public_addrs()[0]);
    let ask = |n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut writer = client.stream().try_clone().unwrap();
    let all: String = (0..2_000).map(ask).collect();
    let sending = std::thread::spawn(move || writer.write_all(all.as_bytes()));
    for n in 0..2_000 {
        assert_eq!(client.answer().text(), format!("/{n}"));
    }
    sending.join().unwrap().unwrap();
    assert_eq!(recorder.take().len(), 2_000);
}

#[test]
fn a_connection_that_was_cut_within_a_request_shows_the_web_server_no_whole_one() {
    let recorder = Recorder::start();
    let server = server(&[recorder.address], |_| ());
    let mut client = Client::connect(server.public_addrs()[0]);
    client.send("POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n");
    client.send("Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n");
    assert_eq!(recorder.next(), Seen::Connection);
    drop(client);
    // The client may leave before anything of its request was sent on.
    let seen = recorder.next();
    assert!(seen == Seen::End || seen == Seen::Cut("POST /a HTTP/1.1".into()), "{seen:?}");
}

//! Which requests go which way, and what a web server is told of where they came from.

use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use ahm::server::config::Listen;

use crate::recorder::Recorder;
use crate::support::{Client, server};

#[test]
fn commands_stay_and_all_else_goes_to_the_web_server() {
    let recorder = Recorder::start();
    let server = server(&[recorder.address], |_| ());
    let mut client = Client::connect(server.public_addrs()[0]);
    assert!(client.get("/ahm/ping?t=1").text().contains("\"t\""));
    assert_eq!(client.get("/ahm/nothing").status, 404);
    assert_eq!(client.get("/").text(), "ok");
    assert!(client.get("/ahm/login").text().contains("\"mid\""));
    assert_eq!(client.get("/favicon.ico").text(), "ok");
    // A page of another origin may ask the web site what it likes: that is the web site's to judge.
    client.send("GET /api HTTP/1.1\r\nHost: a\r\nOrigin: http://elsewhere\r\n\r\n");
    assert_eq!(client.answer().text(), "ok");
    let mut private = Client::connect(server.private_addrs()[0]);
    private.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(private.answer().status, 404);
    assert_eq!(recorder.take(), ["GET /", "GET /favicon.ico", "GET /api"]);
}

#[test]
fn a_document_and_relayed_requests_share_a_server_and_a_connection() {
    let recorder = Recorder::start();
    let server = server(&[recorder.address], |_| ());
    let address = server.public_addrs()[0];
    let mut reader = Client::connect(address);
    assert_eq!(reader.get("/page").text(), "ok");
    reader.send("GET /ahm/mux.html?open=board/lobby HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(reader.head().contains("text/html"));
    reader.chunk().unwrap();
    let mut publisher = Client::connect(server.private_addrs()[0]);
    let post =
        "POST /publish/board/lobby HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi";
    publisher.send(post);
    assert_eq!(publisher.answer().status, 200);
    let text = String::from_utf8(reader.chunk().unwrap().unwrap()).unwrap();
    assert!(text.contains(">hi\n"), "{text}");
    assert_eq!(Client::connect(address).get("/other").text(), "ok");
}

#[test]
fn without_web_servers_nothing_is_relayed() {
    let server = server(&[], |_| ());
    assert_eq!(Client::connect(server.public_addrs()[0]).get("/").status, 404);
}

#[test]
fn a_web_server_is_told_who_asks_for_what() {
    let recorder = Recorder::start();
    let server = server(&[recorder.address], |_| ());
    let mut client = Client::connect(server.public_addrs()[0]);
    client.send(
        "GET / HTTP/1.1\r\nHost: Example.org:81\r\nX-Forwarded-For: 6.6.6.6\r\n\
         X_Forwarded_For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\nForwarded: for=6.6.6.6\r\n\
         X-Real-IP: 6.6.6.6\r\nVia: 1.1 other\r\nCookie: a=b\r\n\r\n",
    );
    assert_eq!(client.answer().status, 200);
    let seen = recorder.request();
    for (name, wanted) in [
        ("Host", Some("Example.org:81")),
        ("X-Forwarded-For", Some("127.0.0.1")),
        ("X-Forwarded-Proto", Some("http")),
        ("X-Forwarded-Host", Some("Example.org:81")),
        ("Forwarded", Some("for=127.0.0.1;host=\"Example.org:81\";proto=http")),
        ("X_Forwarded_For", None),
        ("X-Real-IP", None),
        ("Via", Some("1.1 other")),
        ("Cookie", Some("a=b")),
    ] {
        assert_eq!(seen.field(name), wanted, "{name}: {seen:?}");
    }
    assert!(format!("{seen:?}").contains("Via: 1.1 ahm"));
}

#[test]
fn host_is_what_the_operator_says() {
    let recorder = Recorder::start();
    let server = server(&[recorder.address], |config| config.relay.host = "inside:80".into());
    assert_eq!(Client::connect(server.public_addrs()[0]).get("/").status, 200);
    let seen = recorder.request();
    assert_eq!(seen.field("Host"), Some("inside:80"));
    assert_eq!(seen.field("X-Forwarded-Host"), Some("example.org"));
}

#[test]
fn a_load_balancer_says_who_the_client_is_where_the_listener_asks_for_that() {
    let recorder = Recorder::start();
    let server = server(&[recorder.address], |config| {
        let listen = Listen { proxy: true, ..config.listen[0] };
        config.listen.push(listen);
    });
    let behind = server.public_addrs()[1];
    let ask = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut binary = b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24".to_vec();
    binary.extend([0; 36]);
    binary[31] = 9;
    for (introduction, wanted) in [
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 41000 80\r\n".to_vec(), "192.0.2.7"),
        (binary, "::9"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
    ] {
        let mut client = Client::connect(behind);
        client.send([&introduction[..], ask.as_bytes()].concat());
        assert_eq!(client.answer().status, 200);
        assert_eq!(recorder.request().field("X-Forwarded-For"), Some(wanted));
        client.send(ask);
        assert_eq!(client.answer().status, 200, "once a connection");
        assert_eq!(recorder.request().field("X-Forwarded-For"), Some(wanted));
    }
    let mut client = Client::connect(behind);
    client.send(ask);
    assert_eq!(client.rest().unwrap_or_default(), b"", "nobody is introduced");
    // And nobody can introduce himself where it is not asked for.
    let mut client = Client::connect(server.public_addrs()[0]);
    client.send(format!("PROXY TCP4 192.0.2.7 198.51.100.1 41000 80\r\n{ask}"));
    assert_eq!(client.answer().status, 400);
    recorder.take();
}

#[test]
fn a_web_server_may_listen_on_a_unix_socket() {
    let path = std::env::temp_dir().join(format!("ahm-relay-{}", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nunix").unwrap();
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let server = server(&[], |config| config.relay.to.push(format!("unix:{}", path.display())));
    assert_eq!(Client::connect(server.public_addrs()[0]).get("/").text(), "unix");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn where_no_web_server_is_the_client_is_told() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = server(&[nobody], |_| ());
    let mut client = Client::connect(server.public_addrs()[0]);
    let answer = client.get("/");
    assert_eq!(answer.status, 502);
    assert_eq!(answer.field("Content-Type"), Some("text/html; charset=utf-8"));
    assert_eq!(client.get("/ahm/nothing").status, 404, "the connection goes on");
}

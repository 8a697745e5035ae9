//! The link over real sockets, against a server that follows a script.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::ControlFlow;
use std::thread;

use ahm::base::time::Span;
use ahm::client::event::{Event, StreamState, parse_topic};
use ahm::client::link::Link;
use ahm::client::settings::Settings;
use ahm::reactor::url::Server;
use ahm::wire::command::OpenRequest;

/// Accepts a connection and reads one request: its line, and its `AHM-Key`.
fn accept(listener: &TcpListener) -> (TcpStream, String, Option<String>) {
    let (stream, _) = listener.accept().unwrap();
    let (line, key) = request(&stream);
    (stream, line, key)
}

fn request(stream: &TcpStream) -> (String, Option<String>) {
    let mut reader = BufReader::new(stream);
    let (mut line, mut key, mut length) = (String::new(), None, 0);
    reader.read_line(&mut line).unwrap();
    loop {
        let mut field = String::new();
        reader.read_line(&mut field).unwrap();
        let Some((name, value)) = field.split_once(": ") else { break };
        match name {
            "AHM-Key" => key = Some(value.trim().to_owned()),
            "Content-Length" => length = value.trim().parse().unwrap(),
            _ => {}
        }
    }
    reader.read_exact(&mut vec![0; length]).unwrap();
    (line.trim().to_owned(), key)
}

fn document(mut stream: &TcpStream, lines: &str) {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = format!("{head}{:x}\r\n{lines}\r\n", lines.len());
    stream.write_all(chunk.as_bytes()).unwrap();
}

#[test]
fn a_cut_is_survived_and_the_session_is_ended() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (stream, line, key) = accept(&listener);
        assert_eq!(line, "GET /ahm/mux.html?mid=0&scs=0&open=a/b HTTP/1.1");
        assert_eq!(key, None);
        let begin = "<p i scs=a mid=7 d=1 k=s3cret h=15000 r=60000 v=1>\n";
        let first = "<p o c=9 u=a/b ep=e1 n=0 head=0>\n<p c=9 n=1>x\n<p c=9 n=2>y\n<p c=9 n=3>cut";
        document(&stream, &format!("{begin}{first}"));
        drop(stream);
        let (document_stream, line, key) = accept(&listener);
        assert_eq!(line, "GET /ahm/mux.html?scs=a&mid=7&last=9:e1:2 HTTP/1.1");
        assert_eq!(key.as_deref(), Some("s3cret"));
        let second = "<p o c=9 u=a/b ep=e1 n=2 head=3>\n<p c=9 n=3>z\n";
        document(&document_stream, &format!("{}{second}", begin.replace(" k=s3cret", "")));
        let (mut calls, line, key) = accept(&listener);
        assert_eq!(line, "POST /ahm/send?scs=a&mid=7&cid=9&n=1 HTTP/1.1");
        assert_eq!(key.as_deref(), Some("s3cret"));
        let answer =
            |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        calls.write_all(answer(r#"{"ok":true,"e":"taken"}"#).as_bytes()).unwrap();
        let (line, _) = request(&calls);
        assert_eq!(line, "GET /ahm/logout?scs=a&mid=7 HTTP/1.1");
        calls.write_all(answer(r#"{"ok":true}"#).as_bytes()).unwrap();
    });
    let mut link =
        Link::new(Server::parse(&url, "/ahm/").unwrap(), Settings::default(), 1).unwrap();
    let now = link.now();
    let topic = parse_topic("a/b").unwrap();
    let channel = link.agent().subscribe(OpenRequest::new(topic), now).unwrap();
    let mut seen = Vec::new();
    link.run(|agent, event| {
        match event {
            Event::Message { payload, n, .. } => {
                seen.push(format!("{n}{}", String::from_utf8(payload).unwrap()));
                if n.0 == 3 {
                    agent.send(channel, b"hi".to_vec(), None, now).unwrap();
                }
            }
            Event::Sent { .. } => return ControlFlow::Break(()),
            _ => {}
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(seen, ["1x", "2y", "3z"]);
    server.join().unwrap();
}

#[test]
fn a_server_that_is_not_there_is_tried_again_and_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut link =
        Link::new(Server::parse(&url, "/ahm/").unwrap(), Settings::default(), 1).unwrap();
    let now = link.now();
    link.agent().subscribe(OpenRequest::new(parse_topic("a/b").unwrap()), now).unwrap();
    let mut lost = 0;
    link.run(|_, event| {
        lost += u32::from(matches!(event, Event::Lost { .. }));
        if lost < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })
    .unwrap();
    assert!(link.agent().counters().documents >= 3);
}

#[test]
fn a_turn_waits_for_nothing_while_there_is_something_to_tell() {
    let server = Server::parse("http://127.0.0.1:9", "/ahm/").unwrap();
    let mut link = Link::new(server, Settings::default(), 1).unwrap();
    let start = link.now();
    // As where a connection fails while it is being begun: nothing else will ever happen.
    link.agent().stop(start);
    link.turn(Some(Span::from_secs(60))).unwrap();
    assert!(link.now().since(start) < Span::from_secs(30));
    assert_eq!(link.agent().poll_event(), Some(Event::State(StreamState::Stopped)));
}

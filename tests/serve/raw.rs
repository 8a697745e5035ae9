//! The protocol without HTTP: lines over a plain socket, as a script with `nc` has them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use ahm::server::builder::Server;

use crate::support::{PATIENCE, Peer, attribute, server};

/// A server with a listener of the usual kind and one for lines; their addresses.
fn serve(shards: usize, options: &str) -> (Server, SocketAddr, SocketAddr) {
    let server = server(shards, |config| {
        let raw = format!("127.0.0.1:0:raw{options}");
        config.listen = vec!["127.0.0.1:0".parse().unwrap(), raw.parse().unwrap()];
    });
    let (web, raw) = (server.public_addrs()[0], server.public_addrs()[1]);
    (server, web, raw)
}

struct Script(BufReader<TcpStream>);

impl Script {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(BufReader::new(stream))
    }

    fn say(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.0.get_mut().write_all(bytes.as_ref()).unwrap();
        self
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.0.read_line(&mut line).unwrap() > 0, "the connection has ended");
        line.strip_suffix('\n').unwrap().to_string()
    }

    /// The next line that begins so; whatever comes before is passed over.
    fn next(&mut self, start: &str) -> String {
        loop {
            let line = self.line();
            if line.starts_with(start) {
                return line;
            }
        }
    }

    fn hang_up(&mut self) -> &mut Self {
        self.0.get_ref().shutdown(Shutdown::Write).unwrap();
        self
    }

    fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        // A reset is an end too.
        let _ = self.0.read_to_end(&mut bytes);
        String::from_utf8(bytes).unwrap()
    }
}

#[test]
fn one_script_opens_reads_and_sends_over_one_connection() {
    for shards in 1..=3 {
        let (server, _, raw) = serve(shards, "");
        let mut script = Script::connect(raw);
        script.say(
            "login?id=1\nopen?resource=board&subject=lobby&cid=7&id=2\r\nmux.html\n\
             send?cid=7&n=1&data=good%20morning&id=3\n",
        );
        assert!(script.line().starts_with("{\"ok\":true,\"scs\":"));
        assert!(script.line().ends_with(",\"id\":\"2\"}"));
        assert!(script.line().starts_with("<p i scs="));
        assert!(script.next("<p o ").contains(" c=7 u=board/lobby "));
        // The answer and the message come in either order: the board may be at home elsewhere.
        let mut two = [script.line(), script.line()];
        two.sort();
        assert_eq!(two[0], "<p c=7 n=1>good morning");
        assert_eq!(two[1], "{\"ok\":true,\"outcome\":\"taken\",\"n\":1,\"id\":\"3\"}");
        script.say("history?resource=board&subject=lobby\nlogout\n");
        assert!(script.next("{\"ok\":false").contains("a history needs another one"));
        script.next("<p z e=logout>");
        let mut asks = Script::connect(raw);
        asks.say("history?resource=board&subject=lobby&id=h\n").hang_up();
        let text = asks.rest();
        assert!(text.ends_with("n=1>good morning\n{\"ok\":true,\"id\":\"h\"}\n"), "{text}");
        server.stop();
    }
}

#[test]
fn refreshes_lose_nothing_while_messages_come() {
    let (server, web, raw) = serve(3, "");
    let publisher_at = server.private_addrs()[0];
    let mut publisher = Peer::connect(publisher_at);
    assert_eq!(publisher.post("/publish/fx/A", "1").status, 200);
    let mut script = Script::connect(raw);
    script.say("mux.html?open=fx/A\n");
    let identity = script.line();
    let opened = script.line();
    let (mid, key) = (attribute(&identity, "mid"), attribute(&identity, "k"));
    let (cid, epoch) = (attribute(&opened, "c"), attribute(&opened, "ep"));
    let start = format!("<p c={cid} n=");
    let mut seen: Vec<u64> = Vec::new();
    assert_eq!(script.next(&start), format!("{start}1>1"), "the state of the topic");
    let mut place = 1;
    for round in 0..20 {
        for _ in 0..10 {
            let number = place + 1;
            let answer = publisher.post("/publish/fx/A", number.to_string());
            assert!(answer.status == 200, "{answer:?}");
            let line = script.next(&start);
            place = attribute(&line, "n").parse().unwrap();
            seen.push(place);
        }
        let target = format!("mid={mid}&last={cid}:{epoch}:{}", place - 5);
        if round % 5 == 4 {
            // Over HTTP in between: it is the same session.
            let mut peer = Peer::connect(web);
            peer.document(&format!("/ahm/refresh.html?{target}&k={key}"));
            while peer.frame() != format!("{start}{place}>{place}") {}
        }
        let mut next = Script::connect(raw);
        next.say(format!("refresh.html?k={key}&{target}\n"));
        for again in place - 4..=place {
            assert_eq!(next.next(&start), format!("{start}{again}>{again}"));
        }
        script = next;
    }
    let first = seen[0];
    assert_eq!(seen, (first..first + 200).collect::<Vec<_>>());
    server.stop();
}

#[test]
fn nothing_of_another_protocol_is_taken_for_a_command() {
    let (server, web, raw) = serve(2, "");
    // What a page can make a browser send: a request whose body it chooses.
    let body = "login\nlogin\nmux.html?open=fx/A\n";
    let length = body.len();
    let posts = ["POST / HTTP/1.1", "login /?x HTTP/1.1", "get /ahm/login HTTP/1.1"];
    for line in posts {
        let mut script = Script::connect(raw);
        script.say(format!("{line}\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}"));
        let text = script.rest();
        assert!(text.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{text}");
        assert!(text.contains("Connection: close\r\n"), "{text}");
        assert!(text.ends_with("takes commands as lines, `NAME?params`, and no HTTP\n"), "{text}");
        assert!(!text.contains("\"ok\""), "{text}");
    }
    let hello: &[u8] = b"\x16\x03\x01\x00\x0alogin\nlogin\n";
    let stun: &[u8] = b"\x00\x01\x00\x00\x21\x12\xa4\x42\nlogin\n";
    for bytes in [hello, stun, b"EHLO login\r\n", b"login\xff\nlogin\n", b"send?\xff\nlogin\n"] {
        let mut script = Script::connect(raw);
        script.say(bytes);
        let text = script.rest();
        assert_eq!(text.matches("\"mid\"").count(), 0, "{text}");
    }
    let mut private = Peer::connect(server.private_addrs()[0]);
    let metrics = private.get("/metrics").body;
    let made = metrics.lines().find(|line| line.starts_with("ahm_sessions ")).unwrap();
    assert_eq!(made, "ahm_sessions 0");
    // And the other way round: lines are no HTTP.
    let mut script = Script::connect(web);
    script.say("login\nlogin\n\n");
    assert!(script.rest().starts_with("HTTP/1.1 400 "));
    server.stop();
}

#[test]
fn answers_reach_a_script_that_has_hung_up_and_a_long_line_ends_its_connection() {
    let (server, _, raw) = serve(2, "");
    let mut script = Script::connect(raw);
    let lines: String = (0..1_000).map(|number| format!("ping?t={number}\n")).collect();
    script.say(&lines).hang_up();
    let text = script.rest();
    assert_eq!(text.lines().count(), 1_000);
    for (number, line) in text.lines().enumerate() {
        assert!(line.contains(&format!("\"t\":\"{number}\"")), "{line}");
    }
    let mut script = Script::connect(raw);
    script.say(format!("login?x={}\nlogin\n", "x".repeat(10_000)));
    let text = script.rest();
    assert!(text.starts_with("{\"ok\":false,\"error\":\"too-large\","), "{text}");
    assert_eq!(text.lines().count(), 1);
    // A payload may be as long as over HTTP, however it is encoded.
    let mut script = Script::connect(raw);
    script.say("mux.html?open=board/b;cid=1&id=x\n");
    script.next("<p o ");
    script.say(format!("send?cid=1&n=1&data={}\n", "%20".repeat(64 * 1024)));
    assert_eq!(script.next("<p c=1 n=1>").len(), "<p c=1 n=1>".len() + 64 * 1024);
    server.stop();
}

#[test]
fn a_load_balancer_may_stand_before_it() {
    let (server, _, raw) = serve(2, ":proxy");
    let mut script = Script::connect(raw);
    script.say("PROXY TCP4 192.0.2.1 192.0.2.2 4000 443\r\nping?t=1\n");
    assert!(script.line().starts_with("{\"ok\":true,\"t\":\"1\","));
    server.stop();
}

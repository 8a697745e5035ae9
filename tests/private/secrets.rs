//! Keys, tokens, passwords and cookies go through every command and every mistake, and are found in
//! no message, no figure and no refusal.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use crate::support::{Answer, Folder, Peer};

/// Part of everything secret that a client or a publisher brings.
const SECRET: &str = "Sesame7Open";

/// Every command, also those that are not served yet.
const COMMANDS: [&str; 16] = [
    "login",
    "mux.html",
    "refresh.html",
    "open",
    "send",
    "close",
    "history",
    "report",
    "ping",
    "poll.html",
    "events",
    "ws",
    "client.js",
    "batch",
    "renew",
    "logout",
];

struct Server {
    child: Child,
    public: String,
    private: String,
    messages: std::thread::JoinHandle<String>,
}

impl Server {
    fn start(settings: &[String]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ahm"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--private", "127.0.0.1:0"]);
        command.args(["--log-level", "trace", "--shards", "2", "--set", "relay.log=text"]);
        settings.iter().for_each(|setting| {
            command.args(["--set", setting]);
        });
        command.env("AHM_REGISTRY_LISTEN", "off").env("AHM_PRIVATE_TOKEN", token("main"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut line = |start: &str| lines.next().unwrap().unwrap().split_off(start.len());
        let (public, private) = (line("listening http://"), line("private http://"));
        let mut stderr = child.stderr.take().unwrap();
        let messages = std::thread::spawn(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).unwrap();
            text
        });
        Self { child, public, private, messages }
    }

    /// Stops it; all that it has told.
    fn stop(mut self) -> String {
        let id = self.child.id();
        let sent = Command::new("sh").args(["-c", &format!("kill -INT {id}")]).status();
        assert!(sent.unwrap().success() && self.child.wait().unwrap().success());
        self.messages.join().unwrap()
    }
}

fn token(of: &str) -> String {
    format!("{SECRET}-{of}-token")
}

fn bearer(of: &str) -> String {
    format!("Authorization: Bearer {}\r\n", token(of))
}

/// What was found where it must not be.
fn search(place: &str, text: &str, secrets: &[String]) {
    for secret in secrets {
        assert!(!text.contains(secret.as_str()), "{place}: {secret} in {text}");
    }
}

/// Everything that a client shows in fields.
fn fields(key: &str) -> String {
    format!(
        "AHM-Key: {key}\r\nCookie: id={SECRET}\r\nAuthorization: Basic {SECRET}\r\n\
         Proxy-Authorization: Bearer {SECRET}\r\nX-Request-Id: 7\r\n"
    )
}

/// Every command of a session, rightly and wrongly, over and over; what was refused.
fn try_commands(public: SocketAddr, (scs, mid, key): &(String, String, String)) -> Vec<Answer> {
    let mut refused = Vec::new();
    let me = format!("scs={scs}&mid={mid}&k={key}");
    let other = format!("scs=elsewhere&mid={mid}&k={key}");
    let wrong = format!("scs={scs}&mid={mid}&k={SECRET}");
    let more = "cid=1&n=1&resource=board&subject=a&open=board/a&data=x&last=&h=500";
    for command in COMMANDS {
        for query in [&me, &other, &wrong] {
            for target in [
                format!("/ahm/{command}?{query}&{more}"),
                format!("/ahm/{command}?{query}&{query}"),
                format!("/ahm/{command}?{query}&cid=%zz"),
                format!("/ahm/{command};k={key}?{query}"),
                format!("/ahm/{command}/{key}?{query}"),
                format!("/elsewhere/{command}?{query}&%6B={SECRET}"),
            ] {
                for method in ["GET", "POST", "DELETE"] {
                    let body = (method == "POST").then_some("ping?t=1\n");
                    // Of a document only the head is looked at.
                    let answer = Peer::connect(public).ask(method, &target, &fields(key), body);
                    refused.extend(Some(answer).filter(|answer| answer.status >= 300));
                }
            }
        }
    }
    refused
}

/// Heads that break HTTP; what was refused.
fn try_heads(public: SocketAddr, key: &str) -> Vec<Answer> {
    let heads = [
        format!("GET /ahm/ping?k={key} HTTP/9.9\r\n\r\n"),
        format!("GET /ahm/ping?k={key}\0 HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("GET /ahm/ping?k={key} HTTP/1.1\r\nAHM-Key : {key}\r\n\r\n"),
        format!("GET /ahm/ping?k={key} HTTP/1.1\r\nHost: {key} {key}\r\n\r\n"),
        format!("{key} {key} {key}\r\n\r\n"),
        format!("GET /?k={key} HTTP/1.1\r\nHost: a\r\nCookie: {}\r\n\r\n", SECRET.repeat(3_000)),
        format!("GET /ahm/ping?k={} HTTP/1.1\r\nHost: a\r\n\r\n", key.repeat(500)),
    ];
    let asked = heads.map(|head| {
        let mut peer = Peer::connect(public);
        peer.send(&head);
        peer.answer()
    });
    asked.into()
}

/// Publishers and web servers, rightly and wrongly; all answers.
fn try_private(script: &mut Peer) -> Vec<Answer> {
    let orders = [
        ("POST", "/publish/fx/A", "rates", "x"),
        ("POST", "/publish/no/A", "rates", "x"),
        ("POST", "/publish/fx/A", "wrong", "x"),
        ("POST", "/publish", "web", "fx/A\tx\n"),
        ("POST", "/control/session", "web", "user=%zz&k=Sesame7Open"),
        ("POST", "/control/session", "web", "{\"user\":\"anna\",\"mid\":\"Sesame7Open\"}"),
        ("POST", "/control/logout", "web", "mid=7&token=Sesame7Open"),
        ("GET", "/control/sessions?k=Sesame7Open", "web", ""),
        ("GET", "/metrics?token=Sesame7Open", "rates", ""),
        ("GET", "/nix/Sesame7Open", "main", ""),
        ("GET", "/metrics", "main", ""),
    ];
    let asked = orders
        .map(|(method, target, of, body)| script.ask(method, target, &bearer(of), Some(body)));
    // The one that shows a key, as it must, makes a session.
    asked.into_iter().filter(|answer| answer.status != 201).collect()
}

#[test]
fn nothing_secret_is_told_anywhere() {
    let folder = Folder::new();
    let lines = format!("rates {} publish:fx/*\nweb {} control\n", token("rates"), token("web"));
    std::fs::create_dir(folder.0.join("site")).unwrap();
    let server = Server::start(&[
        format!("private.token_file={}", folder.file("tokens", &lines)),
        format!("relay.root={}", folder.0.join("site").display()),
    ]);
    let public: SocketAddr = server.public.parse().unwrap();
    let private: SocketAddr = server.private.parse().unwrap();
    // Of two sessions, one made by a client and one by a web server.
    let mut script = Peer::connect(private);
    let made = [
        Peer::connect(public).get("/ahm/login"),
        script.ask("POST", "/control/session", &bearer("web"), Some("user=anna")),
    ];
    let mut secrets = vec![SECRET.to_string()];
    let mut refused = Vec::new();
    for answer in &made {
        let said = answer.json();
        let text = |name: &str| said[name].as_str().unwrap().to_string();
        let session = (text("scs"), text("mid"), text("k"));
        refused.extend(try_commands(public, &session));
        refused.extend(try_heads(public, &session.2));
        secrets.push(session.2);
    }
    assert!(refused.len() > 500 && refused.iter().any(|answer| answer.status == 404));
    refused.extend(try_private(&mut script));
    for answer in &refused {
        search("an answer", &format!("{} {}", answer.head, answer.body), &secrets);
    }
    let messages = server.stop();
    // It was told at length, with relayed requests among it.
    assert!(messages.lines().count() > 1_000, "{messages}");
    assert!(messages.contains("k=*&%6B=*"), "{messages}");
    search("the messages", &messages, &secrets);
}

#[test]
fn a_configuration_is_printed_without_what_is_secret() {
    let folder = Folder::new();
    let lines = format!("rates {} all\n", token("rates"));
    for arguments in [&["check-config", "--print"][..], &["check-config"], &["serve", "--help"]] {
        let out = Command::new(env!("CARGO_BIN_EXE_ahm"))
            .args(arguments)
            .env("AHM_PRIVATE_TOKEN", token("main"))
            .env("AHM_PRIVATE_TOKEN_FILE", folder.file("tokens", &lines))
            .output()
            .unwrap();
        assert!(out.status.success(), "{out:?}");
        let said = String::from_utf8(out.stdout).unwrap() + &String::from_utf8_lossy(&out.stderr);
        search("what is printed", &said, &[SECRET.to_string()]);
    }
}

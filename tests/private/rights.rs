//! Who may come in, and what it may.

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::process::{Command, Stdio};

use ahm::proto::token::Token;
use ahm::server::builder::Builder;
use ahm::server::config::{Config, RegistryConfig};

use crate::support::{Folder, Peer, counter, server};

const TOKENS: &str = "\
    rates   rates-rates-rates-1   publish:fx/EUR* publish:board/*\n\
    website website-website-web   control\n\
    watch   watch-watch-watch-w   metrics # and nothing else\n";

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

#[test]
fn a_token_may_do_what_its_line_says_and_the_answer_says_what_is_missing() {
    let folder = Folder::new();
    let file = folder.file("tokens", TOKENS);
    let server = server(2, |config| {
        config.token_file = file;
        config.token = Some(Token::new("all-all-all-all-all").unwrap());
    });
    let mut peer = Peer::connect(server.private_addrs()[0]);
    let (rates, website) = (bearer("rates-rates-rates-1"), bearer("website-website-web"));
    let (watch, all) = (bearer("watch-watch-watch-w"), bearer("all-all-all-all-all"));
    for (method, target, body, may) in [
        ("POST", "/publish/fx/EURUSD", Some("1"), [true, false, false]),
        ("POST", "/publish/fx/USDEUR", Some("1"), [false, false, false]),
        ("POST", "/control/session", Some("user=anna"), [false, true, false]),
        ("GET", "/control/sessions", None, [false, true, false]),
        ("GET", "/metrics", None, [false, false, true]),
    ] {
        let holders = [(&rates, "rates"), (&website, "website"), (&watch, "watch")];
        for ((fields, name), may) in holders.into_iter().zip(may) {
            let answer = peer.ask(method, target, fields, body);
            assert_eq!(answer.status / 100 == 2, may, "{name} {target}: {answer:?}");
            if !may {
                let right = match target.strip_prefix("/publish/") {
                    Some(topic) => format!("publish:{topic}"),
                    None if target == "/metrics" => "metrics".into(),
                    None => "control".into(),
                };
                let said = answer.json();
                assert_eq!((answer.status, &said["error"]), (403, &"forbidden".into()));
                assert_eq!(said["detail"], format!("{name:?} has not the right {right}"));
            }
        }
        assert_eq!(peer.ask(method, target, &all, body).status / 100, 2, "{target}");
    }
    // A batch is judged line by line.
    let batch = "fx/EURUSD\t1\nfx/USDEUR\t2\nboard/a\t3\n";
    let said = peer.ask("POST", "/publish", &rates, Some(batch)).json();
    assert_eq!(said["taken"], 2, "{said}");
    assert_eq!(said["lines"][1]["error"], "forbidden");
    assert_eq!(said["lines"][1]["detail"], "\"rates\" has not the right publish:fx/USDEUR");
    assert!(said["lines"][1].get("ok").is_none());
    for (fields, challenge) in [
        (String::new(), "Bearer realm=\"ahm private listener\""),
        (bearer("rates-rates-rates-2"), "Bearer realm=\"ahm private listener\", error=\"invalid"),
        ("Authorization: Basic cmF0ZXM6cmF0ZXM=\r\n".into(), "Bearer realm="),
    ] {
        let answer = peer.ask("POST", "/publish/fx/EURUSD", &fields, Some("1"));
        assert_eq!(answer.status, 401, "{answer:?}");
        assert!(answer.head.contains(&format!("\r\nWWW-Authenticate: {challenge}")), "{answer:?}");
        assert!(!answer.body.contains("rates-2"));
    }
    assert_eq!(counter(&server, "private_unknown", &all), 3);
    assert_eq!(counter(&server, "private_denied", &all), 11 + 1);
}

#[test]
fn the_scheme_is_written_in_any_case() {
    let server = server(1, |config| config.token = Some(Token::new("0123456789abcdef").unwrap()));
    let mut peer = Peer::connect(server.private_addrs()[0]);
    for scheme in ["Bearer", "bearer", "BEARER"] {
        let field = format!("Authorization: {scheme} 0123456789abcdef\r\n");
        assert_eq!(peer.ask("GET", "/metrics", &field, None).status, 200, "{scheme}");
    }
    assert_eq!(peer.get("/metrics").status, 401);
}

#[test]
fn browsers_and_foreign_names_are_refused_whatever_they_show() {
    let folder = Folder::new();
    let socket = folder.0.join("private");
    let server = server(1, |config| {
        config.token = Some(Token::new("0123456789abcdef").unwrap());
        config.private_sockets = vec![socket.clone()];
        config.private_hosts = vec!["ahm.internal".into()];
    });
    let token = bearer("0123456789abcdef");
    let mut peers = [Peer::connect(server.private_addrs()[0]), Peer::open(&socket)];
    for (fields, status) in [
        ("Host: evil.example\r\n", 403),
        ("Host: localhost.evil.example\r\n", 403),
        ("Host: 127.0.0.1.evil.example:8081\r\n", 403),
        ("Origin: http://localhost:8081\r\n", 403),
        ("Origin: null\r\n", 403),
        ("Sec-Fetch-Site: none\r\n", 403),
        ("Sec-Fetch-Site: same-origin\r\n", 403),
        ("Host: AHM.internal\r\n", 200),
        ("Host: 192.0.2.1:8081\r\n", 200),
        ("Host: [::1]:8081\r\n", 200),
        ("", 200),
    ] {
        for peer in &mut peers {
            for (method, target, body) in [
                ("POST", "/publish/fx/A", Some("x")),
                ("POST", "/control/session", Some("user=a")),
                ("GET", "/metrics", None),
            ] {
                let answer = peer.ask(method, target, &format!("{fields}{token}"), body);
                let fits = answer.status == status || (status == 200 && answer.status == 201);
                assert!(fits, "{fields} {target}: {answer:?}");
            }
        }
    }
    assert_eq!(counter(&server, "private_refused", &token), 7 * 2 * 3);
}

#[test]
fn whoever_may_open_the_socket_may_do_everything_unless_everybody_may() {
    let folder = Folder::new();
    for (mode, status) in [("0600", 200), ("660", 200), ("0666", 401)] {
        let socket = folder.0.join(mode);
        let server = server(2, |config| {
            config.private_sockets = vec![socket.clone()];
            config.private_mode = mode.into();
            config.token = Some(Token::new("0123456789abcdef").unwrap());
        });
        assert_eq!(server.private_sockets(), std::slice::from_ref(&socket));
        let file = std::fs::metadata(&socket).unwrap();
        let wanted = u32::from_str_radix(mode, 8).unwrap();
        assert!(file.file_type().is_socket());
        assert_eq!(file.permissions().mode() & 0o7777, wanted, "{mode}");
        for _ in 0..8 {
            // Whichever shard takes it.
            let mut peer = Peer::open(&socket);
            assert_eq!(peer.post("/publish/fx/EURUSD", "1").status, status, "{mode}");
        }
        let mut peer = Peer::connect(server.private_addrs()[0]);
        assert_eq!(peer.post("/publish/fx/EURUSD", "1").status, 401, "{mode}");
        server.stop();
        assert!(!socket.exists(), "its file goes with it");
    }
}

fn start(sockets: &std::path::Path) -> std::io::Result<ahm::server::builder::Server> {
    Builder::new(Config {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        private_listen: Vec::new(),
        private_sockets: vec![sockets.into()],
        registry: RegistryConfig::off(),
        shards: 1,
        ..Config::default()
    })
    .start()
}

#[test]
fn a_stale_socket_is_replaced_and_anything_else_stays() {
    let folder = Folder::new();
    let path = folder.0.join("private");
    // What a process leaves that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let server = start(&path).unwrap();
    assert_eq!(Peer::open(&path).get("/metrics").status, 200);
    let said = start(&path).unwrap_err().to_string();
    let wanted = format!("private.listen: {}: somebody listens there already", path.display());
    assert_eq!(said, wanted);
    assert_eq!(Peer::open(&path).get("/metrics").status, 200);
    server.stop();
    std::fs::write(&path, "kept").unwrap();
    let said = start(&path).unwrap_err().to_string();
    assert!(said.ends_with("there is a file of that name, and it is no socket"), "{said}");
    assert_eq!(std::fs::read(&path).unwrap(), b"kept");
    let said = start(&folder.0.join("no/such")).unwrap_err().to_string();
    assert!(said.ends_with(&format!("there is no directory {}/no", folder.0.display())), "{said}");
}

#[test]
fn publish_and_curl_go_through_the_socket() {
    let folder = Folder::new();
    let path = folder.0.join("private");
    let server = server(2, |config| config.private_sockets = vec![path.clone()]);
    let url = format!("unix:{}", path.display());
    let mut child = Command::new(env!("CARGO_BIN_EXE_ahm"))
        .args(["publish", "fx", "--subject", "A", "--print-offsets", "--url", &url])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    use std::io::Write as _;
    child.stdin.take().unwrap().write_all(b"one\ntwo\n").unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{out:?}");
    assert_eq!(String::from_utf8(out.stdout).unwrap().lines().count(), 2);
    let out = Command::new("curl")
        .args(["--silent", "--fail", "--data", "three", "--unix-socket"])
        .arg(&path)
        .arg("http://localhost/publish/fx/A")
        .output()
        .unwrap();
    assert!(out.status.success(), "{out:?}");
    let history = Peer::connect(server.public_addrs()[0]).get("/ahm/history?resource=fx&subject=A");
    assert!(history.body.contains(" n=3>three\n"), "{history:?}");
    let gone = format!("{url}-gone");
    let out = Command::new(env!("CARGO_BIN_EXE_ahm"))
        .args(["publish", "fx", "--subject", "A", "--retry-for", "0", "--url", &gone])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(out.status.success(), "nothing to send needs no server: {out:?}");
}

#[test]
fn a_file_of_tokens_that_is_wrong_is_told_with_its_line_and_without_the_token() {
    let folder = Folder::new();
    let path = folder.file("tokens", "a sesame-open-sesame all\nb sesame-sesame-sesame publsh\n");
    for subcommand in ["serve", "check-config"] {
        let out = Command::new(env!("CARGO_BIN_EXE_ahm"))
            .args([subcommand, "--listen", "127.0.0.1:0", "--private", "127.0.0.1:0"])
            .args(["--set", &format!("private.token_file={path}")])
            .env("AHM_REGISTRY_LISTEN", "off")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8(out.stderr).unwrap();
        let wanted = format!("private.token_file: {path}: line 2: a right is publish:");
        assert!(!out.status.success() && said.contains(&wanted), "{subcommand}: {said}");
        assert!(!said.contains("sesame"), "{said}");
    }
}

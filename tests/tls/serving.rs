//! Servers with TLS.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use ahm::base::name::TopicName;
use ahm::base::time::Span;
use ahm::server::builder::{Builder, Server};
use ahm::server::config::{Config, Listen, RegistryConfig, ResourceConfig, ResourceKind};

use crate::authority::Authority;
use crate::peers::{Typist, curl, openssl, text};

pub fn server(listen: &[&str], change: impl FnOnce(&mut Config)) -> Server {
    try_server(listen, change).unwrap()
}

fn try_server(listen: &[&str], change: impl FnOnce(&mut Config)) -> std::io::Result<Server> {
    let mut feed = ResourceConfig::new("fx", ResourceKind::Feed);
    feed.state = true;
    let mut config = Config {
        listen: listen.iter().map(|text| text.parse::<Listen>().unwrap()).collect(),
        private_listen: vec!["127.0.0.1:0".parse().unwrap()],
        registry: RegistryConfig::off(),
        shards: 2,
        resources: vec![feed],
        ..Config::default()
    };
    change(&mut config);
    Builder::new(config).start()
}

pub fn publish(server: &Server, text: &str) {
    let name = TopicName::new("fx", "EURUSD").unwrap();
    while server.handle().publish(&name, text.as_bytes(), false).is_err() {
        std::thread::yield_now();
    }
}

/// Says it in plain words and reads whatever comes.
pub fn plain(address: SocketAddr, said: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(said.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    // A reset is an end too.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn curl_and_openssl_read_a_document() {
    let authority = Authority::new("Ours");
    let certificates = vec![authority.server("a", &["a.example"])];
    let server = server(&["127.0.0.1:0:tls"], |config| config.tls.certificates = certificates);
    let (address, ca) = (server.public_addrs()[0], authority.file());
    for version in [&["--tls-max", "1.2"][..], &["--tlsv1.3"][..]] {
        let said = curl(address, "a.example", &ca, "/ahm/ping?t=7", version);
        assert!(text(&said).contains("\"t\":\"7\""), "{version:?}: {}", text(&said));
    }
    for version in ["-tls1_2", "-tls1_3"] {
        let mut typist = Typist::new(address, "a.example", &[version]);
        typist.send("GET /ahm/mux.html?open=fx/EURUSD HTTP/1.1\r\nHost: a.example\r\n\r\n");
        typist.line_with("<p o ");
        for n in 1..=3 {
            publish(&server, &format!("{version} {n}"));
            typist.line_with(&format!(">{version} {n}"));
        }
    }
    // A certificate of somebody else is none.
    let other = Authority::new("Theirs");
    let said = curl(address, "a.example", &other.file(), "/ahm/ping", &[]);
    assert_eq!(said.status.code(), Some(60), "{}", text(&said));
    server.stop();
}

#[test]
fn pitfall_23_what_is_old_or_unknown_or_plain_is_refused() {
    let authority = Authority::new("Ours");
    let certificates = vec![authority.server("a", &["a.example"])];
    let listen = ["127.0.0.1:0:tls", "127.0.0.1:0", "127.0.0.1:0:raw"];
    let server = server(&listen, |config| config.tls.certificates = certificates);
    let address = server.public_addrs()[0];
    let said = openssl(address, "a.example", &["-tls1_1", "-cipher", "ALL@SECLEVEL=0"]);
    assert!(said.contains("SSL alert number"), "{said}");
    let said = openssl(address, "a.example", &["-alpn", "h2"]);
    assert!(said.contains("alert no application protocol"), "{said}");
    let said = openssl(address, "a.example", &["-alpn", "h2,http/1.1"]);
    assert!(said.contains("ALPN protocol: http/1.1"), "{said}");
    let said = plain(address, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert!(
        said.starts_with("HTTP/1.1 400 Bad Request\r\n") && said.contains("https://"),
        "{said}"
    );
    // TLS where none is spoken harms nobody either.
    for at in [1, 2] {
        let said = openssl(server.public_addrs()[at], "a.example", &[]);
        assert!(said.contains("no peer certificate available"), "{said}");
    }
    let said = plain(server.public_addrs()[1], "GET /ahm/ping HTTP/1.0\r\n\r\n");
    assert!(said.starts_with("HTTP/1.1 200 OK"), "{said}");
    let said = curl(address, "a.example", &authority.file(), "/ahm/ping", &[]);
    assert!(said.status.success(), "{}", text(&said));
    let stats = server.stop();
    assert_eq!((stats.handshakes, stats.handshakes_failed), (2, 3), "{stats}");
}

#[test]
fn lines_without_http_go_over_tls_too() {
    let authority = Authority::new("Ours");
    let certificates = vec![authority.server("a", &["a.example"])];
    let server = server(&["127.0.0.1:0:raw:tls"], |config| config.tls.certificates = certificates);
    let mut typist = Typist::new(server.public_addrs()[0], "a.example", &[]);
    typist.send("login?id=1\nmux.html?open=fx/EURUSD\n");
    assert!(typist.line_with("\"id\":\"1\"").contains("\"ok\":true"));
    typist.line_with("<p o ");
    publish(&server, "over both");
    assert!(typist.line_with("<p c=").ends_with(">over both"));
    server.stop();
}

#[test]
fn a_session_is_resumed_by_a_ticket() {
    let authority = Authority::new("Ours");
    let certificates = vec![authority.server("a", &["a.example"])];
    let server = server(&["127.0.0.1:0:tls"], |config| config.tls.certificates = certificates);
    let address = server.public_addrs()[0];
    for version in ["-tls1_2", "-tls1_3"] {
        let ticket = authority.path("ticket");
        let mut typist = Typist::new(address, "a.example", &[version, "-sess_out", &ticket]);
        // Tickets of TLS 1.3 come behind the handshake.
        typist.send("GET /ahm/ping HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
        assert!(typist.rest().contains("\"ok\":true"));
        let said = openssl(address, "a.example", &[version, "-sess_in", &ticket]);
        assert!(said.contains("Reused, TLSv1."), "{version}: {said}");
    }
    server.stop();
}

#[test]
fn the_name_that_is_asked_for_chooses_the_certificate() {
    let authority = Authority::new("Ours");
    let certificates = vec![
        authority.server("a", &["a.example"]),
        authority.server("b", &["*.b.example", "b.example"]),
    ];
    let server = server(&["127.0.0.1:0:tls"], |config| config.tls.certificates = certificates);
    let (address, ca) = (server.public_addrs()[0], authority.file());
    for host in ["a.example", "b.example", "www.b.example"] {
        let said = curl(address, host, &ca, "/ahm/ping", &[]);
        assert!(said.status.success(), "{host}: {}", text(&said));
    }
    for host in ["c.example", "a.www.b.example"] {
        let said = curl(address, host, &ca, "/ahm/ping", &[]);
        assert_eq!(said.status.code(), Some(60), "{host}: {}", text(&said));
    }
    server.stop();
}

#[test]
fn clients_show_certificates_where_they_are_asked_for() {
    let authority = Authority::new("Ours");
    let certificates = vec![authority.server("a", &["a.example"])];
    let anna = authority.client("anna", "anna", 7);
    let eve = authority.client("eve", "eve", 8);
    let stranger = Authority::new("Theirs").client("anna", "anna", 7);
    let revoked = authority.revoke(&[8]);
    let listen = ["127.0.0.1:0:tls", "127.0.0.1:0:tls=optional", "127.0.0.1:0:tls=required"];
    let server = server(&listen, |config| {
        config.tls.certificates = certificates;
        config.tls.client_authorities = authority.file();
        config.tls.client_revoked = revoked;
    });
    let works = |at: usize, files: Option<&str>| {
        let files = files.and_then(|files| files.split_once(' '));
        let more = files.map(|(chain, key)| vec!["--cert", chain, "--key", key]);
        let more = more.unwrap_or_default();
        let address = server.public_addrs()[at];
        let said = curl(address, "a.example", &authority.file(), "/ahm/ping", &more);
        said.status.success()
    };
    assert_eq!([works(0, None), works(1, None), works(2, None)], [true, true, false]);
    assert_eq!([works(1, Some(&anna)), works(2, Some(&anna))], [true, true]);
    assert_eq!([works(1, Some(&eve)), works(2, Some(&eve))], [false, false]);
    assert!(!works(2, Some(&stranger)));
    assert!(works(0, Some(&eve)), "nobody has asked for it");
    server.stop();
}

#[test]
fn certificates_are_replaced_and_nobody_notices() {
    let authority = Authority::new("Ours");
    let certificates = vec![authority.server("a", &["a.example"])];
    let server = server(&["127.0.0.1:0:tls"], |config| {
        config.tls.certificates = certificates;
        config.tls.watch = Span::from_millis(20);
    });
    let (address, ca) = (server.public_addrs()[0], authority.file());
    let mut typist = Typist::new(address, "a.example", &[]);
    typist.send("GET /ahm/mux.html?open=fx/EURUSD HTTP/1.1\r\nHost: a.example\r\n\r\n");
    typist.line_with("<p o ");
    let is_served = |host: &str| curl(address, host, &ca, "/ahm/ping", &[]).status.success();
    assert!(!is_served("new.example"));
    // Files that are no certificates change nothing.
    std::fs::write(authority.path("a.pem"), "rubbish").unwrap();
    assert!(server.handle().reload().unwrap_err().to_string().contains("a.pem"));
    assert!(is_served("a.example"));
    authority.server("a", &["new.example"]);
    let mut patience = 0..200;
    while !is_served("new.example") {
        assert!(patience.next().is_some(), "the new one is never served");
    }
    publish(&server, "still there");
    assert!(typist.line_with("<p c=").ends_with(">still there"));
    server.stop();
}

#[test]
fn names_of_others_are_passed_on_untouched() {
    let (ours, theirs) = (Authority::new("Ours"), Authority::new("Theirs"));
    let behind = {
        let certificates = vec![theirs.server("www", &["www.example"])];
        server(&["127.0.0.1:0:tls"], |config| config.tls.certificates = certificates)
    };
    let target = behind.public_addrs()[0];
    let certificates = vec![ours.server("ahm", &["ahm.example"])];
    let (listen, dead) = (["127.0.0.1:0:tls"], free_port());
    let front = server(&listen, |config| {
        config.tls.certificates = certificates;
        config.tls.pass = vec![format!("www.example={target}"), format!("gone.example={dead}")];
    });
    let address = front.public_addrs()[0];
    let said = curl(address, "ahm.example", &ours.file(), "/ahm/ping?t=1", &[]);
    assert!(text(&said).contains("\"t\":\"1\""), "{}", text(&said));
    // The certificate is the other's own, and so is the stream.
    let mut typist =
        Typist::new(address, "www.example", &["-verify_return_error", "-CAfile", &theirs.file()]);
    typist.send("GET /ahm/mux.html?open=fx/EURUSD HTTP/1.1\r\nHost: www.example\r\n\r\n");
    typist.line_with("<p o ");
    publish(&behind, "through");
    assert!(typist.line_with("<p c=").ends_with(">through"));
    let said = curl(address, "www.example", &ours.file(), "/ahm/ping", &[]);
    assert_eq!(said.status.code(), Some(60), "{}", text(&said));
    let said = curl(address, "gone.example", &theirs.file(), "/", &[]);
    assert!(!said.status.success());
    drop(typist);
    let stats = front.stop();
    assert_eq!((stats.handshakes, stats.relay.passed), (1, 3), "{stats}");
    behind.stop();
}

fn free_port() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[test]
fn web_servers_are_spoken_to_by_tls_and_must_prove_their_name() {
    let (theirs, other) = (Authority::new("Theirs"), Authority::new("Other"));
    let files = theirs.path("site");
    std::fs::create_dir(&files).unwrap();
    let page = "x".repeat(300_000);
    std::fs::write(format!("{files}/page.txt"), &page).unwrap();
    let certificates = vec![theirs.server("web", &["web.example", "127.0.0.1"])];
    let web = server(&["127.0.0.1:0:tls"], |config| {
        config.tls.certificates = certificates;
        config.relay.root = files;
    });
    let to = format!("https://{}", web.public_addrs()[0]);
    let ask = |name: &str, authorities: &str| {
        let front = server(&["127.0.0.1:0"], |config| {
            config.relay.to = vec![to.clone()];
            config.relay.server_name = name.into();
            config.relay.authorities = authorities.into();
        });
        let address = front.public_addrs()[0];
        let get = "GET /page.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        let said = plain(address, get);
        let again = plain(address, get);
        let stats = front.stop();
        assert_eq!(said.starts_with("HTTP/1.1 200 OK"), again.starts_with("HTTP/1.1 200 OK"));
        (said, stats)
    };
    for name in ["", "web.example"] {
        let (said, stats) = ask(name, &theirs.file());
        assert!(said.ends_with(&page), "{name}: {}", &said[..said.len().min(500)]);
        assert_eq!(stats.relay.answered, 2, "{stats}");
    }
    for (name, authorities) in [("web.example", &other), ("else.example", &theirs)] {
        let (said, _) = ask(name, &authorities.file());
        assert!(said.starts_with("HTTP/1.1 502 "), "{said}");
    }
    web.stop();
}

#[test]
fn a_web_server_behind_tls_hears_that_the_client_used_it() {
    let authority = Authority::new("Ours");
    let recorder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let to = format!("http://{}", recorder.local_addr().unwrap());
    let certificates = vec![authority.server("a", &["a.example"])];
    let server = server(&["127.0.0.1:0:tls"], |config| {
        config.tls.certificates = certificates;
        config.relay.to = vec![to];
    });
    let web = std::thread::spawn(move || {
        let (mut stream, _) = recorder.accept().unwrap();
        let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
        while !seen.ends_with(b"\r\n\r\n") {
            let count = stream.read(&mut buffer).unwrap();
            seen.extend_from_slice(&buffer[..count]);
        }
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        String::from_utf8(seen).unwrap()
    });
    let address = server.public_addrs()[0];
    let said = curl(address, "a.example", &authority.file(), "/shop", &[]);
    assert!(said.status.success(), "{}", text(&said));
    let seen = web.join().unwrap();
    assert!(seen.contains("X-Forwarded-Proto: https\r\n"), "{seen}");
    assert!(seen.contains(";proto=https\r\n"), "{seen}");
    server.stop();
}

#[test]
fn a_load_balancer_speaks_before_tls_does() {
    let authority = Authority::new("Ours");
    let certificates = vec![authority.server("a", &["a.example"])];
    let server =
        server(&["127.0.0.1:0:proxy:tls"], |config| config.tls.certificates = certificates);
    let (address, ca) = (server.public_addrs()[0], authority.file());
    let said = curl(address, "a.example", &ca, "/ahm/ping?t=1", &["--haproxy-protocol"]);
    assert!(text(&said).contains("\"t\":\"1\""), "{}", text(&said));
    let said = curl(address, "a.example", &ca, "/ahm/ping?t=1", &[]);
    assert!(!said.status.success());
    server.stop();
}

#[test]
fn handshakes_at_once_are_all_made() {
    let authority = Authority::new("Ours");
    let certificates = vec![authority.server("a", &["a.example"])];
    let server = server(&["127.0.0.1:0:tls"], |config| config.tls.certificates = certificates);
    let address = server.public_addrs()[0];
    let ca = Arc::new(authority.file());
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let ca = Arc::clone(&ca);
            std::thread::spawn(move || {
                (0..5).all(|_| curl(address, "a.example", &ca, "/ahm/ping", &[]).status.success())
            })
        })
        .collect();
    assert!(clients.into_iter().all(|client| client.join().unwrap()));
    let stats = server.stop();
    assert_eq!((stats.handshakes, stats.handshakes_failed), (40, 0), "{stats}");
}

#[test]
fn what_cannot_be_used_is_told_at_the_start() {
    let authority = Authority::new("Ours");
    let (a, b) = (authority.server("a", &["a.example"]), authority.server("b", &["b.example"]));
    let (a_chain, b_key) = (a.split_once(' ').unwrap().0, b.split_once(' ').unwrap().1);
    let mixed = format!("{a_chain} {b_key}");
    let missing = format!("{} {b_key}", authority.path("missing.pem"));
    let cases: [(Vec<String>, &str, &str); 4] = [
        (vec![], "127.0.0.1:0:tls", "tls.certificates: a listener with TLS needs a certificate"),
        (vec![missing], "127.0.0.1:0:tls", "missing.pem"),
        (vec![mixed], "127.0.0.1:0:tls", "it is no key of the certificate in"),
        (vec![a.clone()], "127.0.0.1:0:tls=required", "tls.client_authorities: listeners that ask"),
    ];
    for (certificates, listen, wanted) in cases {
        let refused = try_server(&[listen], |config| config.tls.certificates = certificates);
        let said = refused.map(Server::stop).unwrap_err().to_string();
        assert!(said.contains(wanted), "{said}");
    }
}

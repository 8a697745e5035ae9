//! Files of a directory, where there is no web server.

use std::fs;
use std::path::PathBuf;

use ahm::server::builder::Builder;
use ahm::server::config::{Config, RegistryConfig};

use crate::support::{Client, server};

/// A directory of one test; it goes with it.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn files_are_served_beside_the_stream() {
    let folder = Folder(std::env::temp_dir().join(format!("ahm-root-{}", std::process::id())));
    fs::create_dir_all(&folder.0).unwrap();
    fs::write(folder.0.join("index.html"), "<h1>here</h1>").unwrap();
    let large: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 253) as u8).collect();
    fs::write(folder.0.join("large.bin"), &large).unwrap();
    let root = folder.0.to_string_lossy().into_owned();
    let server = server(&[], |config| config.relay.root = root);
    let mut client = Client::connect(server.public_addrs()[0]);
    let home = client.get("/");
    assert_eq!((home.status, home.text()), (200, "<h1>here</h1>"));
    assert_eq!(home.field("Content-Type"), Some("text/html; charset=utf-8"));
    let whole = client.get("/large.bin");
    assert!(whole.body == large, "{}", whole.head);
    let tag = whole.field("ETag").unwrap();
    let again = format!("GET /large.bin HTTP/1.1\r\nHost: a\r\nIf-None-Match: {tag}\r\n\r\n");
    client.send(again);
    assert_eq!(client.answer().status, 304);
    client.send("GET /large.bin HTTP/1.1\r\nHost: a\r\nRange: bytes=100-199\r\n\r\n");
    let part = client.answer();
    assert_eq!((part.status, &part.body[..]), (206, &large[100..200]));
    for (target, status) in [("/none", 404), ("/%2e%2e/etc/passwd", 404), ("/ahm/none", 404)] {
        assert_eq!(client.get(target).status, status, "{target}");
    }
    // Commands are what they were.
    assert!(client.get("/ahm/ping").text().contains("\"ok\":true"));
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
    assert_eq!(client.answer().status, 405);
}

#[test]
fn a_directory_that_is_not_there_is_told_at_the_start() {
    let any = "127.0.0.1:0".parse().unwrap();
    let mut config = Config {
        listen: vec![any],
        private_listen: Vec::new(),
        registry: RegistryConfig::off(),
        ..Config::default()
    };
    config.relay.root = "/none/such".into();
    let error = Builder::new(config).start().unwrap_err().to_string();
    assert!(error.contains("relay.root: /none/such: No such file"), "{error}");
}

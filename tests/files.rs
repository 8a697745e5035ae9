//! Files over a real socket: whole, in parts, large, to a reader that is slow, and never from
//! outside the directory.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use ahm::files::server::FileServer;

/// A directory of one test; it goes with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ahm-files-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn put(&self, name: &str, content: &[u8]) {
        fs::write(self.0.join(name), content).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What comes of requests on one connection, the last of which closes it.
fn ask(server: &FileServer, requests: &str) -> String {
    let mut stream = UnixStream::connect(server.path()).unwrap();
    stream.write_all(requests.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(server: &FileServer, path: &str, fields: &str) -> String {
    let rest = format!("HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n");
    ask(server, &format!("GET {path} {rest}"))
}

fn field<'a>(answer: &'a str, name: &str) -> &'a str {
    let line = answer.lines().find(|line| line.starts_with(&format!("{name}: ")));
    line.unwrap_or_else(|| panic!("no {name} in {answer}")).split_once(": ").unwrap().1
}

#[test]
fn files_come_whole_in_parts_or_not_at_all() {
    let folder = Folder::new("parts");
    folder.put("a.txt", b"0123456789");
    let server = FileServer::start(&folder.0).unwrap();
    let answer = get(&server, "/a.txt", "");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n0123456789"));
    assert_eq!(field(&answer, "Content-Type"), "text/plain; charset=utf-8");
    assert_eq!(field(&answer, "Content-Length"), "10");
    let (tag, changed) = (field(&answer, "ETag"), field(&answer, "Last-Modified"));

    let answer = get(&server, "/a.txt", "Range: bytes=3-5\r\n");
    assert!(answer.starts_with("HTTP/1.1 206 ") && answer.ends_with("\r\n\r\n345"), "{answer}");
    assert_eq!(field(&answer, "Content-Range"), "bytes 3-5/10");
    let answer = get(&server, "/a.txt", "Range: bytes=10-\r\n");
    assert!(answer.starts_with("HTTP/1.1 416 "), "{answer}");
    assert_eq!(field(&answer, "Content-Range"), "bytes */10");
    let answer = get(&server, "/a.txt", "Range: bytes=3-5\r\nIf-Range: \"other\"\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");

    for fields in [format!("If-None-Match: {tag}\r\n"), format!("If-Modified-Since: {changed}\r\n")]
    {
        let answer = get(&server, "/a.txt", &fields);
        assert!(answer.starts_with("HTTP/1.1 304 ") && answer.ends_with("\r\n\r\n"), "{answer}");
        assert_eq!(field(&answer, "ETag"), tag);
    }
    let answer = get(&server, "/a.txt", "If-Match: \"other\"\r\n");
    assert!(answer.starts_with("HTTP/1.1 412 "), "{answer}");
    folder.put("a.txt", b"changed");
    let answer = get(&server, "/a.txt", &format!("If-None-Match: {tag}\r\n"));
    assert!(answer.ends_with("\r\n\r\nchanged"), "{answer}");
}

#[test]
fn what_is_no_file_is_told() {
    let folder = Folder::new("told");
    fs::create_dir(folder.0.join("inner")).unwrap();
    folder.put(".secret", b"x");
    let server = FileServer::start(&folder.0).unwrap();
    for path in ["/nothing", "/.secret", "/%2esecret", "/../etc/passwd", "/inner/", "/"] {
        let answer = get(&server, path, "");
        assert!(answer.starts_with("HTTP/1.1 404 "), "{path}: {answer}");
    }
    let answer = get(&server, "/inner?a=1", "");
    assert!(answer.starts_with("HTTP/1.1 301 "), "{answer}");
    assert_eq!(field(&answer, "Location"), "/inner/?a=1");
    let post = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\nGET /.secret HTTP/1.1\r\n";
    let answer = ask(&server, post);
    assert!(answer.starts_with("HTTP/1.1 405 ") && answer.matches("HTTP/1.1").count() == 1);
    assert_eq!(field(&answer, "Allow"), "GET, HEAD");
    let answer = ask(&server, "GET / HTTP/1.1\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");

    let missing = FileServer::start(&folder.0.join("none")).unwrap_err().to_string();
    assert!(missing.contains("none: No such file"), "{missing}");
    let file = FileServer::start(&folder.0.join(".secret")).unwrap_err().to_string();
    assert!(file.contains("not a directory"), "{file}");
}

#[test]
fn one_connection_carries_many_requests_and_heads_have_no_body() {
    let folder = Folder::new("many");
    folder.put("a", b"aaa");
    folder.put("empty", b"");
    let server = FileServer::start(&folder.0).unwrap();
    let one = |method: &str, path: &str| format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let last = "GET /a HTTP/1.0\r\n\r\n".to_string();
    let requests = [one("GET", "/a"), one("HEAD", "/a"), one("GET", "/empty"), last].concat();
    let answer = ask(&server, &requests);
    let bodies: Vec<_> =
        answer.split("HTTP/1.1 200 OK").skip(1).map(|a| a.split("\r\n\r\n").nth(1)).collect();
    assert_eq!(bodies, [Some("aaa"), Some(""), Some(""), Some("aaa")]);
}

#[test]
fn a_large_file_reaches_readers_that_are_slow_while_others_go_on() {
    let folder = Folder::new("large");
    let large: Vec<u8> = (0..20_000_000_u32).map(|at| (at % 251) as u8).collect();
    folder.put("large", &large);
    folder.put("small", b"small");
    let server = FileServer::start(&folder.0).unwrap();
    let request = b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut slow: Vec<UnixStream> = (0..3)
        .map(|_| {
            let mut stream = UnixStream::connect(server.path()).unwrap();
            stream.write_all(request).unwrap();
            stream
        })
        .collect();
    // None of them reads yet, and somebody else is answered.
    assert!(get(&server, "/small", "").ends_with("\r\n\r\nsmall"));
    for stream in &mut slow {
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.ends_with(&large) && answer.len() < large.len() + 1_000);
    }
    // One that leaves in the middle, and the end of the server, hurt nobody.
    let mut left = UnixStream::connect(server.path()).unwrap();
    left.write_all(request).unwrap();
    drop(left);
    assert!(get(&server, "/small", "").ends_with("\r\n\r\nsmall"));
    let path = server.path().to_path_buf();
    drop(server);
    assert!(!path.exists() && !path.parent().unwrap().exists());
}

//! The access log of the binary.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use crate::recorder::Recorder;
use crate::support::Client;

/// What the binary writes to the standard error while it relays one request.
fn told(form: &str, recorder: &Recorder) -> String {
    let to = format!("relay.to=http://{}", recorder.address);
    let mut child = Command::new(env!("CARGO_BIN_EXE_ahm"))
        .args(["serve", "--listen", "127.0.0.1:0", "--private", "127.0.0.1:0", "--set", &to])
        .args(["--set", &format!("relay.log={form}"), "--log-level", "warn"])
        .env("AHM_REGISTRY_LISTEN", "off")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim_end().strip_prefix("listening http://").unwrap();
    let mut client = Client::connect(address.parse().unwrap());
    client.send(
        "GET /a?b=c&k=sesame HTTP/1.1\r\nHost: h\r\nCookie: sesame\r\n\
         Authorization: sesame\r\n\r\n",
    );
    assert_eq!(client.answer().text(), "ok");
    assert!(client.get("/ahm/ping").status == 200, "a command has no line");
    let id = child.id();
    let sent = Command::new("sh").args(["-c", &format!("kill -INT {id}")]).status();
    assert!(sent.unwrap().success());
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success());
    said
}

#[test]
fn relayed_requests_are_told_without_what_is_secret() {
    let recorder = Recorder::start();
    assert_eq!(told("off", &recorder), "");
    let text = told("text", &recorder);
    let words: Vec<_> = text.split(' ').collect();
    assert_eq!(words[3..8], ["GET", "h", "/a?b=c&k=*", "200", "whole"], "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    let json = told("json", &recorder);
    let read: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&read["target"], &read["bytes_down"]), (&"/a?b=c&k=*".into(), &2.into()));
    // The web server was told of the same id.
    let ids: Vec<_> = (0..3).map(|_| recorder.request()).collect();
    assert_eq!(ids[1].field("X-Request-Id"), Some(words[1]));
    assert_eq!(ids[2].field("X-Request-Id"), read["id"].as_str());
    assert!(!text.contains("sesame") && !json.contains("sesame"));
}

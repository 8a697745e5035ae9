//! Sealed sessions: what the agent asks, what it believes, and when it gives a document up.

use ahm::base::id::Mid;
use ahm::base::random::Random;
use ahm::client::event::{Output, Request, StreamId};
use ahm::client::settings::Settings;
use ahm::seal::key::{Algorithm, Keys, Secret};
use ahm::seal::line::Sealer;
use ahm::seal::mac::{self, Command};
use ahm::wire::command::Mode;
use proptest::prelude::*;

use crate::desk::{Desk, both};

const SECRET: [u8; 32] = [9; 32];

fn keys(mid: &str) -> Keys {
    Keys::new(Algorithm::Aes256Gcm, Secret::new(SECRET), Mid::parse(mid).unwrap())
}

/// The number of a command, which must have proved itself.
fn number(request: &Request, mid: &str) -> u64 {
    assert_eq!(request.key, None);
    let (target, code) = mac::divide(&request.target).unwrap();
    let method = if request.body.is_some() { "POST" } else { "GET" };
    let body = request.body.as_deref().unwrap_or_default();
    let command = Command { method, target, body };
    assert!(keys(mid).command().proves(&command, code).is_some(), "{target}");
    target.rsplit_once("&q=").unwrap().1.parse().unwrap()
}

fn payload(request: &Request, mid: &str) -> String {
    let mut body = request.body.clone().unwrap();
    let text = keys(mid).payload().open(number(request, mid), &mut body).unwrap().to_vec();
    String::from_utf8(text).unwrap()
}

/// The server's side of one document.
struct Sheet {
    sealer: Sealer,
    identity: String,
}

impl Sheet {
    fn new(mid: &str, d: u32, q: u64) -> Self {
        let identity = format!("<p i scs=a mid={mid} d={d} h=1000 r=60000 v=1>");
        let sealer = Sealer::new(keys(mid).document(d, q, identity.as_bytes()));
        Self { sealer, identity }
    }

    fn begin(&mut self) -> String {
        let proof = self.seal("<p h=1000 t=1>\n");
        format!("<!doctype html>\n{}\n<!-- -->\n{proof}", self.identity)
    }

    fn seal(&mut self, lines: &str) -> String {
        let mut out = Vec::new();
        assert!(self.sealer.seal_lines(lines.as_bytes(), &mut Vec::new(), &mut out));
        String::from_utf8(out).unwrap()
    }
}

fn login(desk: &mut Desk, mid: &str) {
    let Output::Login { call, request, .. } = desk.output() else { panic!("a login") };
    assert_eq!(request.target, "login?seal=aes-256-gcm");
    let secret = Secret::new(SECRET);
    let secret = secret.text();
    let answer = format!(
        r#"{{"ok":true,"scs":"a","mid":"{mid}","seal":"aes-256-gcm","secret":"{}"}}"#,
        secret.as_str()
    );
    desk.agent.handle_answer(call, 200, None, answer.as_bytes(), desk.now);
    desk.drain();
}

fn sealing(whole: bool) -> Desk {
    let settings = Settings { seal: Some(Algorithm::Aes256Gcm), ..Settings::default() };
    Desk::with(settings, whole)
}

/// An agent with one channel on `a/b`, open in a sealed session.
fn open(whole: bool) -> (Desk, StreamId, Sheet) {
    let mut desk = sealing(whole);
    desk.subscribe("a/b", Mode::Queue);
    login(&mut desk, "7");
    let (stream, request) = desk.stream();
    assert!(request.target.starts_with("mux.html?scs=a&mid=7&q=1&mac="), "{}", request.target);
    let mut sheet = Sheet::new("7", 1, number(&request, "7"));
    desk.begin(stream, &sheet.begin());
    let Output::Call { request, .. } = desk.output() else { panic!("the channel is opened") };
    assert!(request.target.starts_with("batch?scs=a&mid=7&q=2&mac="), "{}", request.target);
    assert_eq!(payload(&request, "7"), "open?resource=a&subject=b&mode=queue\n");
    let lines = sheet.seal("<p o c=9 u=a/b ep=e n=0 head=0>\n<p c=9 n=1>one\n");
    desk.feed(stream, &lines);
    (desk, stream, sheet)
}

#[test]
fn a_session_begins_with_a_login_and_names_no_topic_on_the_way() {
    both(|whole| {
        let (mut desk, stream, mut sheet) = open(whole);
        let told = desk.take();
        assert!(told.contains(&"session 7.1 true".into()), "{told:?}");
        assert_eq!(told.last().unwrap(), "1:1 one");
        desk.feed(stream, &sheet.seal("<p c=9 n=2>two\n<p h=1000 t=1>\n"));
        assert_eq!(desk.take(), ["1:2 two"]);
        // Its successor belongs to the same session, and has keys of its own.
        desk.agent.refresh(desk.now);
        desk.drain();
        let (next, request) = desk.stream();
        assert!(request.target.contains("last=9:e:2"), "{}", request.target);
        let mut second = Sheet::new("7", 2, number(&request, "7"));
        desk.begin(next, &second.begin());
        desk.feed(next, &second.seal("<p o c=9 u=a/b ep=e n=2 head=2>\n<p c=9 n=3>three\n"));
        assert_eq!(desk.take(), ["session 7.2 false", "1:3 three"]);
        assert_eq!(desk.agent.counters().seal_faults, 0);
    });
}

#[test]
fn whatever_is_not_the_next_line_ends_the_document_and_nothing_is_lost() {
    let spoil: [fn(&mut Vec<String>, &str); 8] = [
        |lines, _| drop(lines.remove(1)),
        |lines, _| lines.swap(1, 2),
        |lines, _| lines.insert(2, lines[1].clone()),
        |lines, _| lines[1] = "<p c=9 n=3>forged\n".into(),
        |lines, own| lines[1] = own.into(),
        |lines, _| {
            let other = if &lines[1][9..10] == "A" { "B" } else { "A" };
            lines[1].replace_range(9..10, other);
        },
        |lines, _| lines[1].replace_range(20..24, ""),
        |lines, _| lines[1] = lines[0].replace("q=4>", "q=5>"),
    ];
    for (at, spoil) in spoil.into_iter().enumerate() {
        both(|whole| {
            let (mut desk, stream, mut sheet) = open(whole);
            desk.take();
            let mut other = Sheet::new("7", 2, 1);
            let other = other.seal(&"<p c=9 n=3>x\n".repeat(5));
            let other = other.split_inclusive('\n').nth(4).unwrap().to_string();
            let lines = sheet.seal("<p c=9 n=2>2\n<p c=9 n=3>3\n<p c=9 n=4>4\n<p c=9 n=5>5\n");
            let mut lines: Vec<String> = lines.split_inclusive('\n').map(str::to_string).collect();
            spoil(&mut lines, &other);
            desk.feed(stream, &lines.concat());
            let told = desk.take();
            assert_eq!(told[0], "1:2 2", "{at}: what came before is good");
            assert!(told.contains(&"lost broken".into()), "{at}: {told:?}");
            // One that comes twice is good the first time.
            let good = if at == 2 { 3 } else { 2 };
            let next_told = format!("1:{} ", good + 1);
            assert!(told.iter().all(|said| !said.starts_with(&next_told)), "{at}: {told:?}");
            assert_eq!(desk.agent.counters().seal_faults, 1);
            desk.wait(2_000);
            let closed = Output::CloseStream { stream };
            assert!(desk.outputs.contains(&closed), "{at}");
            desk.outputs.retain(|output| matches!(output, Output::OpenStream { .. }));
            let (next, request) = desk.stream();
            assert!(
                request.target.contains(&format!("&last=9:e:{good}&")),
                "{at}: {}",
                request.target
            );
            let mut again = Sheet::new("7", 3, number(&request, "7"));
            desk.begin(next, &again.begin());
            let rest = "<p o c=9 u=a/b ep=e n=2 head=5>\n<p c=9 n=3>3\n<p c=9 n=4>4\n";
            desk.feed(next, &again.seal(rest));
            assert_eq!(desk.take().last().unwrap(), "1:4 4", "{at}");
        });
    }
}

#[test]
fn another_document_than_the_one_asked_for_is_found_out() {
    both(|whole| {
        // An older one that was recorded, and one whose first line was changed.
        for (q_off, from, to) in [(1, "", ""), (0, "h=1000", "h=9000"), (0, "d=2", "d=3")] {
            let (mut desk, stream, _) = open(whole);
            desk.take();
            desk.end(stream);
            desk.wait(2_000);
            let (next, request) = desk.stream();
            let mut sheet = Sheet::new("7", 2, number(&request, "7") - q_off);
            desk.begin(next, &sheet.begin().replace(from, to));
            desk.feed(next, &sheet.seal("<p o c=9 u=a/b ep=e n=1 head=1>\n<p c=9 n=2>two\n"));
            let told = desk.take();
            assert!(told.iter().all(|said| !said.contains("two")), "{told:?}");
            assert_eq!(desk.agent.counters().seal_faults, 1, "{from}");
        }
    });
}

#[test]
fn bytes_that_are_not_the_servers_are_no_sign_of_life() {
    let (mut desk, stream, mut sheet) = open(true);
    desk.take();
    for _ in 0..3 {
        desk.wait(900);
        desk.feed(stream, &sheet.seal("<p h=1000 t=1>\n"));
    }
    assert_eq!(desk.take(), [""; 0]);
    for _ in 0..8 {
        desk.feed(stream, "<!-- still here -->\n\n");
        desk.wait(600);
    }
    let told = desk.take();
    assert!(told.iter().any(|said| said == "quiet"), "{told:?}");
    assert!(told.iter().any(|said| said.starts_with("lost ")), "{told:?}");
}

#[test]
fn an_answer_that_the_server_has_not_signed_is_none() {
    let (mut desk, _, _) = open(true);
    desk.take();
    let channel = ahm::client::event::ChannelKey(1);
    desk.agent.send(channel, b"hello".to_vec(), None, desk.now).unwrap();
    desk.drain();
    let Output::Call { call, request, .. } = desk.output() else { panic!("a send") };
    assert!(request.target.starts_with("send?scs=a&mid=7&cid=9&n=1&"), "{}", request.target);
    assert_eq!(payload(&request, "7"), "hello");
    let forged = br#"{"ok":true,"outcome":"taken","n":1}"#;
    desk.agent.handle_answer(call, 200, None, forged, desk.now);
    desk.drain();
    assert_eq!(desk.take(), [""; 0], "nobody knows what became of it");
    desk.wait(5_000);
    let calls = std::mem::take(&mut desk.outputs).into_iter();
    let mut sends = calls.filter_map(|output| match output {
        Output::Call { call, request, .. } if request.target.starts_with("send?") => {
            Some((call, request))
        }
        _ => None,
    });
    let (call, request) = sends.next().unwrap();
    let mut answer = r#"{"ok":true,"outcome":"dup","n":1}"#.to_string();
    keys("7").answer().sign_answer(number(&request, "7"), 0, &mut answer);
    desk.agent.handle_answer(call, 200, None, answer.as_bytes(), desk.now);
    desk.drain();
    let told = desk.take();
    assert!(told.iter().any(|said| said.starts_with("sent 1 ") && said.ends_with(" Taken")));
    assert_eq!(desk.agent.counters().seal_unproved, 1);
}

#[test]
fn a_refusal_from_nobody_knows_whom_does_not_end_the_agent() {
    both(|whole| {
        let mut desk = sealing(whole);
        desk.subscribe("a/b", Mode::Queue);
        login(&mut desk, "7");
        let (stream, _) = desk.stream();
        desk.refuse(stream, 403, "forbidden");
        assert!(desk.take().iter().all(|said| said != "stopped"));
        desk.wait(3_000);
        login(&mut desk, "8");
        let (stream, request) = desk.stream();
        let q = number(&request, "8");
        desk.agent.handle_head(stream, 403, None, desk.now);
        let mut refusal = r#"{"ok":false,"error":"forbidden","detail":"no"}"#.to_string();
        keys("8").answer().sign_answer(q, 0, &mut refusal);
        desk.feed(stream, &refusal);
        desk.end(stream);
        assert!(desk.take().contains(&"stopped".into()), "what the server has signed counts");
    });
}

#[test]
fn a_server_that_does_not_seal_is_not_spoken_to() {
    for answer in [
        r#"{"ok":true,"scs":"a","mid":"7","k":"AAAAAAAAAAAAAAAAAAAAAA"}"#,
        r#"{"ok":true,"scs":"a","mid":"7","seal":"chacha20-poly1305",
            "secret":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#,
        r#"{"ok":true,"scs":"a","mid":"7","seal":"aes-256-gcm","secret":"short"}"#,
        r#"{"ok":true}"#,
        "<html>",
    ] {
        let mut desk = sealing(true);
        desk.subscribe("a/b", Mode::Queue);
        let Output::Login { call, .. } = desk.output() else { panic!("a login") };
        desk.agent.handle_answer(call, 200, None, answer.as_bytes(), desk.now);
        desk.drain();
        assert!(desk.take().iter().any(|said| said.starts_with("lost ")), "{answer}");
        let spoken = |output: &Output| matches!(output, Output::OpenStream { .. });
        desk.wait(100_000);
        assert!(!desk.outputs.iter().any(spoken), "{answer}");
    }
}

/// Writes down the messages that the consumer was told, which must be what was said.
fn note(desk: &mut Desk, heard: &mut Vec<u64>) {
    for told in desk.take() {
        assert!(!told.starts_with("gap"), "{told}");
        if let Some((n, text)) = told.strip_prefix("1:").and_then(|it| it.split_once(' ')) {
            assert_eq!(if n == "1" { "one" } else { n }, text);
            heard.push(n.parse().unwrap());
        }
    }
}

/// Changes the bytes, or gives those of another moment, or leaves them as they are.
fn spoil(bytes: &mut Vec<u8>, recorded: &[Vec<u8>], random: &mut Random) {
    let at = random.below(bytes.len() as u64) as usize;
    match random.below(8) {
        0 => bytes[at] ^= 1 + random.below(255) as u8,
        1 => bytes.truncate(at),
        2 => drop(bytes.remove(at)),
        3 => *bytes = recorded[random.below(recorded.len() as u64) as usize].clone(),
        4 => bytes.insert(at, random.below(256) as u8),
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever happens to the bytes on the way: what the consumer is told is what was said, once
    /// and in order.
    #[test]
    fn nothing_that_was_changed_is_ever_told(seed in any::<u64>()) {
        let mut random = Random::from_number(seed);
        let (mut desk, mut stream, mut sheet) = open(true);
        let (mut d, mut said, mut recorded) = (1, 1, Vec::new());
        let mut heard: Vec<u64> = Vec::new();
        note(&mut desk, &mut heard);
        for _ in 0..30 {
            let from = said + 1;
            said += 1 + random.below(3);
            let frames: String = (from..=said).map(|n| format!("<p c=9 n={n}>{n}\n")).collect();
            let mut bytes = sheet.seal(&frames).into_bytes();
            recorded.push(bytes.clone());
            spoil(&mut bytes, &recorded, &mut random);
            desk.agent.handle_bytes(stream, &bytes, desk.now);
            desk.drain();
            note(&mut desk, &mut heard);
            if random.below(4) == 0 {
                desk.end(stream);
            }
            desk.wait(6_000);
            note(&mut desk, &mut heard);
            let mut asked = None;
            for output in std::mem::take(&mut desk.outputs) {
                if let Output::OpenStream { stream, request, .. } = output {
                    asked = Some((stream, request));
                }
            }
            if let Some((next, request)) = asked {
                d += 1;
                stream = next;
                sheet = Sheet::new("7", d, number(&request, "7"));
                let last = request.target.split_once("last=9:e:").unwrap().1;
                let place: u64 = last.split_once('&').unwrap().0.parse().unwrap();
                prop_assert_eq!(Some(&place), heard.last());
                desk.begin(stream, &sheet.begin());
                let missed: String =
                    (place + 1..=said).map(|n| format!("<p c=9 n={n}>{n}\n")).collect();
                let opened = format!("<p o c=9 u=a/b ep=e n={place} head={said}>\n");
                desk.feed(stream, &sheet.seal(&(opened + &missed)));
                note(&mut desk, &mut heard);
            }
        }
        let told = heard.len() as u64;
        prop_assert_eq!(heard, (1..=told).collect::<Vec<_>>());
        prop_assert!(told * 2 > said, "{} of {}", told, said);
    }
}

//! Sealed sessions where they meet other parts: commands as lines, access lists, sessions that a
//! web server asks for.

use std::sync::Arc;

use crate::auth::access::Lists;
use crate::base::id::Mid;
use crate::proto::connection::Door;
use crate::proto::directory::Directory;
use crate::proto::settings::Settings;
use crate::proto::tests::sealing::{Client, body, member, send_bytes, settings};
use crate::proto::tests::sends::Desk;
use crate::proto::tests::{Pack, attribute};
use crate::seal::key::{Algorithm, Keys, Secret};
use crate::seal::line::Opener;
use crate::seal::mac;

/// A command as a line, and its number.
fn line(client: &mut Client, what: &str, payload: Option<&[u8]>) -> (String, u64) {
    client.q += 1;
    let method = if payload.is_some() { "POST" } else { "GET" };
    let mut body = payload.map(<[u8]>::to_vec);
    if let Some(body) = &mut body {
        client.keys.payload().seal(client.q, body);
    }
    let target = format!("{what}&scs=ahm&mid={}&q={}", client.mid, client.q);
    let bytes = body.as_deref().unwrap_or_default();
    let proved = client.keys.command().prove(method, &target, bytes);
    let proved = if body.is_some() { mac::add_body(&proved, bytes) } else { proved };
    (format!("{proved}\n"), client.q)
}

/// What answers it, which must prove itself.
fn say(pack: &mut Pack, peer: usize, client: &mut Client, what: &str) -> String {
    let (line, q) = line(client, what, None);
    let answer = send_bytes(pack, peer, line.as_bytes());
    let answer = answer.strip_suffix('\n').unwrap();
    assert!(client.keys.answer().is_answer(q, 0, answer.as_bytes()), "{answer}");
    answer.to_string()
}

/// A desk and a market, and a client whose session is sealed, on a connection without HTTP.
fn house() -> (Pack, Arc<Desk>, usize, Client) {
    let desk = Arc::new(Desk::default());
    let mut directory = Directory::default();
    directory.add("desk", desk.clone()).unwrap();
    let mut pack = Pack::new(2, settings(), directory);
    let publisher = pack.connect(0, Door::Private);
    pack.post(publisher, "/publish/fx/A", "one");
    pack.post(publisher, "/publish/fx/B", "one");
    let peer = pack.connect(1, Door::Raw);
    let login = send_bytes(&mut pack, peer, b"login?seal=aes-256-gcm&id=a\n");
    assert_eq!(member(&login, "id"), "a", "this answer is not signed");
    let (mid, secret) = (member(&login, "mid"), Secret::parse(&member(&login, "secret")).unwrap());
    let keys = Keys::new(Algorithm::Aes256Gcm, secret, Mid::parse(&mid).unwrap());
    (pack, desk, peer, Client { keys, mid, q: 0 })
}

#[test]
fn lines_are_proved_like_requests() {
    let (mut pack, _, peer, mut client) = house();
    // The connection is the session's, but that proves nothing.
    for bare in ["open?resource=fx&subject=A\n", "logout\n", "mux.html\n", "send?cid=7&n=1\n"] {
        let answer = send_bytes(&mut pack, peer, bare.as_bytes());
        assert!(answer.contains("forbidden"), "{answer}");
    }
    assert!(say(&mut pack, peer, &mut client, "ping?t=x&id=b").contains("\"t\":\"x\""));
    // The same line once more, here or as a request, has the same answer.
    let (ping, q) = line(&mut client, "ping?t=y", None);
    let first = send_bytes(&mut pack, peer, ping.as_bytes());
    assert!(client.keys.answer().is_answer(q, 0, first.trim_end().as_bytes()));
    assert_eq!(send_bytes(&mut pack, peer, ping.as_bytes()), first);
    let web = pack.connect(0, Door::Public);
    let request = pack.get(web, &format!("/ahm/{}", ping.trim_end()));
    assert_eq!(body(&request), first.trim_end());
    // What is wrong with the body of a line is told, and nothing happens.
    let (send, _) = line(&mut client, "send?cid=7&n=1", Some(b"hello"));
    for (wrong, word) in [("&body=*", "bad-request"), ("&body=AAAA", "forbidden")] {
        let answer = send_bytes(&mut pack, peer, send.replace("&body=", wrong).as_bytes());
        assert!(answer.contains(word), "{answer}");
    }
    assert!(send_bytes(&mut pack, peer, b"batch?mid=0\n").contains("bad-request"));
}

#[test]
fn a_document_without_http_is_sealed_and_so_is_what_goes_beside_it() {
    let (mut pack, desk, peer, mut client) = house();
    let (open, q) = line(&mut client, "mux.html?open=desk/x;cid=7&open=fx/A;cid=8", None);
    let text = send_bytes(&mut pack, peer, open.as_bytes());
    let identity = text.lines().next().unwrap();
    assert!(identity.starts_with("<p i ") && !identity.contains(" k="), "{text}");
    let d = attribute(&[identity.to_string()], "d").parse().unwrap();
    let mut opener = Opener::new(client.keys.document(d, q, identity.as_bytes()));
    let mut opened = Vec::new();
    let mut open_all = |lines: &[&str]| {
        for line in lines {
            let line = opener.open(line.as_bytes()).unwrap();
            opened.push(String::from_utf8(line.to_vec()).unwrap());
        }
        opened.clone()
    };
    open_all(&text.lines().skip(1).collect::<Vec<_>>());
    let (send, q) = line(&mut client, "send?cid=7&n=1", Some(b"hello"));
    let answer = send_bytes(&mut pack, peer, send.as_bytes());
    let answer = answer.lines().find(|line| line.starts_with('{')).unwrap();
    assert!(client.keys.answer().is_answer(q, 0, answer.as_bytes()), "{answer}");
    assert_eq!(*desk.heard.lock().unwrap(), ["7:1=hello"]);
    // A batch, the answers to which are one line.
    let asked = b"open?resource=fx&subject=B&cid=9\nping?t=z\n";
    let (batch, q) = line(&mut client, "batch?", Some(asked));
    let answer = send_bytes(&mut pack, peer, batch.as_bytes());
    let (answers, frames): (Vec<&str>, Vec<&str>) =
        answer.lines().partition(|line| line.starts_with('{'));
    open_all(&frames);
    let parts: Vec<&str> = answers[0].split('\t').collect();
    assert_eq!((answers.len(), parts.len()), (1, 2), "{answer}");
    for (at, part) in parts.iter().enumerate() {
        assert!(client.keys.answer().is_answer(q, at + 1, part.as_bytes()), "{part}");
    }
    pack.received[peer].clear();
    let publisher = pack.connect(0, Door::Private);
    pack.post(publisher, "/publish/fx/A", "two");
    let text = pack.text(peer);
    let opened = open_all(&text.lines().collect::<Vec<_>>());
    assert!(opened.iter().any(|line| line.ends_with(">two")), "{opened:?}");
    assert!(opened.iter().any(|line| line.contains(" u=fx/B ")), "{opened:?}");
}

#[test]
fn where_a_rule_asks_for_a_seal_nothing_goes_out_without() {
    let lists = Lists::parse(&["allow fx/* seal", "allow news/*"], []);
    let settings = Settings { access: Arc::new(lists.unwrap()), ..settings() };
    let mut pack = Pack::new(1, settings, Directory::default());
    let publisher = pack.connect(0, Door::Private);
    pack.post(publisher, "/publish/fx/A", "secret news");
    pack.post(publisher, "/publish/news/A", "news");
    let (_, frames, me) = pack.document(0, "open=fx/A&open=news/A");
    assert_eq!(frames.iter().filter(|frame| frame.contains(" e=denied")).count(), 1, "{frames:?}");
    let peer = pack.connect(0, Door::Public);
    let open = pack.get(peer, &format!("/ahm/open?{me}&resource=fx&subject=A"));
    assert!(open.starts_with("HTTP/1.1 403 "), "{open}");
    for who in ["", &format!("{me}&")] {
        let history = pack.get(peer, &format!("/ahm/history?{who}resource=fx&subject=A"));
        assert!(history.starts_with("HTTP/1.1 403 "), "{history}");
    }
    let mut client = Client::login(&mut pack, 0, Algorithm::ChaCha20Poly1305);
    let mut reading = client.document(&mut pack, 0, "mux.html?open=fx/A");
    pack.post(publisher, "/publish/fx/A", "secret news");
    let (opened, _) = reading.read(&mut pack);
    assert!(opened.iter().any(|line| line.ends_with(">secret news")), "{opened:?}");
    // A history goes out as it is, so a sealed session has none.
    for subject in ["fx&subject=A", "news&subject=A"] {
        let history = client.command(&mut pack, peer, &format!("history?resource={subject}"), None);
        assert!(history.contains("forbidden") && !history.contains("<p c="), "{history}");
    }
}

#[test]
fn a_web_server_can_ask_for_a_sealed_session() {
    let mut pack = Pack::new(3, Settings::default(), Directory::default());
    let private = pack.connect(0, Door::Private);
    let asked = "{\"user\":\"anna\",\"seal\":\"aes-256-gcm\"}";
    let answer = pack.post(private, "/control/session", asked);
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
    let json = body(&answer);
    assert!(!json.contains("\"k\"") && member(&json, "user") == "anna", "{json}");
    let mid = member(&json, "mid");
    let secret = Secret::parse(&member(&json, "secret")).unwrap();
    let keys = Keys::new(Algorithm::Aes256Gcm, secret, Mid::parse(&mid).unwrap());
    let mut client = Client { keys, mid, q: 0 };
    let peer = pack.connect(1, Door::Public);
    assert!(client.command(&mut pack, peer, "ping?", None).contains("\"ok\":true"));
    let wrong = pack.post(private, "/control/session", "user=anna&seal=rot13");
    assert!(wrong.starts_with("HTTP/1.1 400 "), "{wrong}");
}

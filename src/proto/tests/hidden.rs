//! What is printed for debugging shows no key, no token and nothing that a client has sent.

use std::sync::Arc;

use crate::auth::passes::Passes;
use crate::proto::connection::Door;
use crate::proto::directory::Directory;
use crate::proto::parcel::{Forwarded, Parcel, ReplyTo};
use crate::proto::settings::Settings;
use crate::proto::tests::Pack;
use crate::proto::token::Token;

#[test]
fn nothing_that_is_printed_shows_a_key() {
    const SECRET: &str = "sesame-sesame-sesame";
    let settings = Settings {
        private_token: Some(Token::new(SECRET).unwrap()),
        private_passes: Arc::new(Passes::parse(&format!("a {SECRET} all")).unwrap()),
        ..Settings::default()
    };
    let mut pack = Pack::new(1, settings, Directory::default());
    let (_, frames, me) = pack.document(0, "open=board/a");
    let key = me.rsplit('=').next().unwrap().to_string();
    assert!(key.len() == 22 && frames.iter().any(|frame| frame.contains(&key)));
    // A head and a body on their way, and an answer that nobody has read yet.
    for begun in
        ["GET /ahm/ping?k=", "POST /ahm/batch HTTP/1.1\r\nContent-Length: 99\r\n\r\nping?k="]
    {
        let peer = pack.connect(0, Door::Public);
        pack.send(peer, &format!("{begun}{SECRET}"));
    }
    let peer = pack.connect(0, Door::Public);
    pack.rooms[peer] = Some(0);
    pack.send(peer, "GET /ahm/login HTTP/1.1\r\nHost: a\r\n\r\n");
    let hub = &pack.hubs[0];
    let mut printed = format!("{hub:?} {:?} ", hub.settings);
    for key in hub.sessions.keys() {
        printed += &format!("{:?} ", hub.sessions.get(key));
    }
    for key in hub.conns.keys() {
        printed += &format!("{:?} ", hub.conns.get(key));
    }
    let session = hub.sessions.keys().find_map(|key| hub.sessions.get(key)).unwrap();
    let bytes = format!("{:?}", session.key);
    let reply = ReplyTo {
        shard: hub.shard,
        conn: hub.conns.keys().next().unwrap(),
        exchange: 0,
        part: None,
    };
    let forwarded = Forwarded {
        reply,
        method: "GET",
        proved: None,
        name: "ping".into(),
        query: format!("k={SECRET}"),
        key: Some(SECRET.into()),
        address: "127.0.0.1:9".parse().unwrap(),
        proof: None,
        secured: None,
        body: Some(SECRET.into()),
    };
    printed += &format!("{:?}", Parcel::Command(Box::new(forwarded)));
    for secret in [SECRET, &key, &bytes, "\"k\""] {
        assert!(!printed.contains(secret), "{secret}: {printed}");
    }
    // Bytes are shown as lists of numbers where somebody has not thought of it.
    let as_list = format!("{:?}", SECRET.as_bytes());
    assert!(!printed.contains(as_list.trim_matches(['[', ']'])), "{printed}");
}

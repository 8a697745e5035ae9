//! A web server makes sessions for those whom it knows, and ends them.

use std::collections::HashMap;

use crate::support::{Answer, Peer, counter, server};

/// A session that was made, as its client names it.
fn named(answer: &Answer) -> String {
    assert_eq!(answer.status, 201, "{answer:?}");
    let said = answer.json();
    let text = |name: &str| said[name].as_str().unwrap().to_string();
    format!("scs={}&mid={}&k={}", text("scs"), text("mid"), text("k"))
}

fn shard(answer: &Answer) -> u64 {
    answer.json()["mid"].as_str().unwrap().parse::<u64>().unwrap() & 0xff
}

#[test]
fn a_session_of_a_web_server_is_a_session_like_any_other() {
    let server = server(2, |_| {});
    let mut script = Peer::connect(server.private_addrs()[0]);
    let json = r#"{"user":"anna","groups":["desk"],"rights":["fx/*"],"expires":3600}"#;
    for body in ["user=anna&groups=desk&rights=fx/*&expires=3600", json] {
        let answer = script.post("/control/session", body);
        let said = answer.json();
        assert_eq!((&said["ok"], &said["user"]), (&true.into(), &"anna".into()), "{said}");
        assert!(said["expires"].as_u64().unwrap() > 1_700_000_000, "{said}");
        let me = named(&answer);
        let mut client = Peer::connect(server.public_addrs()[0]);
        let opened = client.get(&format!("/ahm/open?{me}&resource=fx&subject=A"));
        assert_eq!(opened.status, 200, "{opened:?}");
        let wrong = me.replace("&k=", "&k=x");
        assert_eq!(client.get(&format!("/ahm/ping?{wrong}")).status, 404);
        client.send(&format!("GET /ahm/mux.html?{me} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        assert!(client.frame().starts_with("<p i "));
        assert!(client.frame().contains(" u=fx/A "));
        script.post("/publish/fx/A", "hello");
        assert!(client.frame().ends_with(">hello"));
    }
    assert_eq!(counter(&server, "private_sessions", ""), 2);
}

/// One kept connection, as of a web server: its sessions are on all shards, and clients find them.
#[test]
fn sessions_of_one_connection_are_spread_over_the_shards() {
    let server = server(4, |_| {});
    let mut script = Peer::connect(server.private_addrs()[0]);
    let mut count: HashMap<u64, u32> = HashMap::new();
    let mut client = Peer::connect(server.public_addrs()[0]);
    for number in 0..200 {
        let answer = script.post("/control/session", &format!("user=u{number}"));
        *count.entry(shard(&answer)).or_default() += 1;
        let me = named(&answer);
        assert_eq!(client.get(&format!("/ahm/ping?{me}")).status, 200);
    }
    assert!(count.len() == 4 && count.values().all(|count| *count > 20), "{count:?}");
}

#[test]
fn what_is_wrong_with_an_order_is_said() {
    let server = server(2, |_| {});
    let mut script = Peer::connect(server.private_addrs()[0]);
    for (method, target, body, status, detail) in [
        ("POST", "/control/session", "", 400, "`user` is needed"),
        ("POST", "/control/session", "user=", 400, "in `user` are 1 to 128 bytes"),
        ("POST", "/control/session", "{\"user\":", 400, "the body is neither a form"),
        ("POST", "/control/session", "user=a&expires=1600000000", 400, "`expires` is past"),
        ("POST", "/control/session", "user=a&resource=nix", 404, "no such resource"),
        ("POST", "/control/logout", "", 400, "give `mid`, or `user`"),
        ("POST", "/control/logout", "mid=1&user=a", 400, "give `mid`, or `user`"),
        ("POST", "/control/logout", "mid=4398046511105", 404, "no such session"),
        ("POST", "/control/logout", "mid=4398046511300", 404, "no such session"),
        ("DELETE", "/control/session?mid=77", "", 404, "no such session"),
        ("PUT", "/control/session", "user=a", 405, "not served with this method"),
        ("GET", "/control/logout", "", 405, "not served with this method"),
        ("POST", "/control/nix", "", 404, "here are POST /control/session"),
        ("POST", "/nix", "", 404, "here are POST /publish/RESOURCE/SUBJECT"),
    ] {
        let answer = script.ask(method, target, "", Some(body));
        assert_eq!(answer.status, status, "{method} {target} {body}: {answer:?}");
        let said = answer.json()["detail"].as_str().unwrap().to_string();
        assert!(said.contains(detail), "{method} {target} {body}: {said}");
    }
    // Nothing of it is for clients.
    let mut client = Peer::connect(server.public_addrs()[0]);
    assert_eq!(client.post("/control/session", "user=anna").status, 404);
    assert_eq!(client.get("/control/sessions").status, 404);
}

#[test]
fn a_web_server_ends_one_session_or_all_of_a_user() {
    let server = server(3, |_| {});
    let mut script = Peer::connect(server.private_addrs()[0]);
    let mut sessions = Vec::new();
    for user in ["anna", "anna", "anna", "anna", "bert"] {
        sessions.push(named(&script.post("/control/session", &format!("user={user}"))));
    }
    let list = |script: &mut Peer, user: &str| {
        let said = script.get(&format!("/control/sessions?user={user}")).json();
        said["sessions"].as_array().unwrap().len()
    };
    assert_eq!((list(&mut script, "anna"), list(&mut script, "bert")), (4, 1));
    let all = script.get("/control/sessions").json();
    assert_eq!(all["sessions"].as_array().unwrap().len(), 5);
    assert!(!all.to_string().contains("\"k\""), "{all}");
    let mut reader = Peer::connect(server.public_addrs()[0]);
    reader.send(&format!("GET /ahm/mux.html?{} HTTP/1.1\r\nHost: a\r\n\r\n", sessions[0]));
    assert!(reader.frame().starts_with("<p i "));
    let mid = sessions[0].split(['=', '&']).nth(3).unwrap();
    for status in [200, 404] {
        let gone = script.ask("DELETE", &format!("/control/session?mid={mid}"), "", None);
        assert_eq!(gone.status, status);
    }
    assert!(reader.frame().starts_with("<p z e=logout"));
    let ended = script.post("/control/logout", r#"{"user":"anna"}"#).json();
    assert_eq!(ended["ended"].as_array().unwrap().len(), 3, "{ended}");
    assert_eq!((list(&mut script, "anna"), list(&mut script, "bert")), (0, 1));
    let mut client = Peer::connect(server.public_addrs()[0]);
    let statuses: Vec<_> =
        sessions.iter().map(|me| client.get(&format!("/ahm/ping?{me}")).status).collect();
    assert_eq!(statuses, [404, 404, 404, 404, 200]);
    assert_eq!(counter(&server, "private_ended", ""), 4);
}

#[test]
fn a_user_has_so_many_sessions_and_no_more() {
    let server = server(2, |config| config.protocol.limits.sessions = 3);
    let mut script = Peer::connect(server.private_addrs()[0]);
    let mut begin = |user: &str| script.post("/control/session", &format!("user={user}"));
    let mut mids = Vec::new();
    for _ in 0..3 {
        mids.push(begin("anna").json()["mid"].as_str().unwrap().to_string());
    }
    let refused = begin("anna");
    assert_eq!((refused.status, refused.json()["error"].as_str()), (429, Some("too-many")));
    assert_eq!(begin("bert").status, 201);
    let mut other = Peer::connect(server.private_addrs()[0]);
    assert_eq!(other.post("/control/logout", &format!("mid={}", mids[1])).status, 200);
    assert_eq!(begin("anna").status, 201);
    assert_eq!(begin("anna").status, 429);
    assert_eq!(counter(&server, "limits_sessions", ""), 2);
}

#[test]
fn a_session_that_nobody_takes_up_lingers_and_ends() {
    let server = server(1, |config| {
        config.protocol.linger = ahm::base::time::Span::from_millis(200);
    });
    let mut script = Peer::connect(server.private_addrs()[0]);
    let begun = script.post("/control/session", "user=anna");
    assert_eq!(begun.status, 201);
    let asked = std::iter::repeat_with(|| script.get("/control/sessions").json());
    let mut left = asked.map(|said| said["sessions"].as_array().unwrap().len());
    assert!(left.by_ref().take(1_000_000).any(|left| left == 0));
}

/// What `login?resource=` says to a client, a web server hears for it.
#[test]
fn a_web_server_hears_at_once_whether_its_user_may_open_a_resource() {
    let server = server(2, |config| {
        config.access =
            vec!["allow fx/* group:desk from:10.0.0.0/8".into(), "allow board/* user:*".into()];
    });
    let mut script = Peer::connect(server.private_addrs()[0]);
    for (body, status, words) in [
        ("user=anna&groups=desk&resource=fx&address=10.1.2.3", 201, "\"user\":\"anna\""),
        ("user=anna&groups=desk&resource=fx&address=11.1.2.3", 403, "you may not read fx"),
        ("user=anna&groups=desk&resource=fx", 403, "you may not read fx"),
        ("user=anna&resource=fx&address=10.1.2.3", 403, "you may not read fx"),
        ("user=anna&resource=board", 201, "\"user\":\"anna\""),
        ("user=anna&resource=board&rights=fx/*", 403, "you may not read board"),
        ("user=anna&resource=board&address=here", 400, "`address` is not an address"),
    ] {
        let answer = script.post("/control/session", body);
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        assert!(answer.body.contains(words), "{body}: {answer:?}");
    }
    assert_eq!(counter(&server, "private_sessions", ""), 2);
}

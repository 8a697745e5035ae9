//! Who may open what: every way in is refused alike, and what has changed is looked at again.

use std::sync::{Arc, Mutex};

use crate::auth::access::Lists;
use crate::auth::certificate::Secured;
use crate::auth::identity::{Identity, Means};
use crate::base::id::{Cid, Mid};
use crate::base::time::Span;
use crate::proto::connection::Door;
use crate::proto::directory::Directory;
use crate::proto::resource::{Actions, Consumer, Decision, Message, Resource, TopicOptions};
use crate::proto::settings::Settings;
use crate::proto::tests::Pack;

fn lists(server: &[&str], fx: &[&str]) -> Arc<Lists> {
    Arc::new(Lists::parse(server, [("fx", fx)]).unwrap())
}

/// Notes who opens and who sends.
#[derive(Debug, Default)]
struct Desk(Arc<Mutex<Vec<String>>>);

impl Resource for Desk {
    fn open(&self, subject: &str, consumer: &Consumer) -> Decision {
        self.0.lock().unwrap().push(format!("open {subject} {:?}", consumer.user()));
        Decision::Shared(TopicOptions { latest: true, ask_each: true, ..TopicOptions::default() })
    }

    fn message(&self, message: &Message<'_>, _: &mut Actions) {
        self.0.lock().unwrap().push(format!(
            "send {} {:?}",
            message.subject,
            message.consumer.user()
        ));
    }
}

/// Gives each consumer a topic of its own, which is read whole.
#[derive(Debug)]
struct Alone;

impl Resource for Alone {
    fn open(&self, _: &str, _: &Consumer) -> Decision {
        Decision::Private(TopicOptions::default())
    }

    fn message(&self, _: &Message<'_>, _: &mut Actions) {}
}

struct House {
    pack: Pack,
    heard: Arc<Mutex<Vec<String>>>,
}

fn house(shards: u8, server: &[&str], fx: &[&str]) -> House {
    let mut directory = Directory::default();
    let heard = Arc::default();
    directory.add("desk", Arc::new(Desk(Arc::clone(&heard)))).unwrap();
    let settings = Settings { access: lists(server, fx), ..Settings::default() };
    let mut pack = Pack::new(shards, settings, directory);
    let publisher = pack.connect(0, Door::Private);
    for name in ["fx/EUR", "fx/USD", "news/a", "board/x"] {
        pack.post(publisher, &format!("/publish/{name}"), "1");
    }
    House { pack, heard }
}

/// Makes the session of `me` somebody else's.
fn become_user(pack: &mut Pack, me: &str, identity: Identity) {
    let mid = me.split("mid=").nth(1).unwrap().split('&').next().unwrap();
    let mid = Mid::parse(mid).unwrap();
    let hub = &mut pack.hubs[mid.shard().index()];
    hub.sessions.get_mut(mid.key()).unwrap().identity = Some(Arc::new(identity));
    hub.recheck_session(mid.key());
    pack.drain();
}

fn user(name: &str) -> Identity {
    Identity::new(name, Means::Basic).unwrap()
}

#[test]
fn every_way_to_read_is_refused_alike() {
    for shards in [1, 3] {
        let rules = ["allow fx/EUR", "more news/*", "allow board/* user:anna"];
        let mut house = house(shards, &rules, &["allow EUR"]);
        let pack = &mut house.pack;
        let (reader, _, me) = pack.document(0, "h=1000");
        let line = pack.connect(usize::from(shards) - 1, Door::Public);
        for (topic, status, code) in [
            ("fx&subject=USD", 403, "forbidden"),
            ("news&subject=a", 401, "auth-required"),
            ("news&subject=none", 401, "auth-required"),
            ("board&subject=x", 403, "forbidden"),
            ("nothing&subject=x", 403, "forbidden"),
        ] {
            let refused = |text: &str| {
                let head = format!("HTTP/1.1 {status} ");
                let wanted = format!("\"error\":\"{code}\"");
                assert!(text.starts_with(&head) && text.contains(&wanted), "{topic}: {text}");
            };
            refused(&pack.get(line, &format!("/ahm/open?{me}&resource={topic}")));
            refused(&pack.get(line, &format!("/ahm/history?resource={topic}")));
            refused(&pack.get(line, &format!("/ahm/history?resource={topic}&{me}")));
            let lines = format!("open?resource={topic}\nopen?resource=fx&subject=EUR\n");
            let answer = pack.post(line, &format!("/ahm/batch?{me}"), &lines);
            let wanted = format!("{{\"ok\":false,\"error\":\"{code}\"");
            assert!(
                answer.contains(&wanted) && answer.contains("{\"ok\":true,\"cid\""),
                "{answer}"
            );
            let name = topic.replace("&subject=", "/");
            let (_, seen, _) = pack.document(0, &format!("open={name}&open=fx/EUR"));
            let wanted = format!("<p x u={name} e=denied>");
            assert!(seen.contains(&wanted), "{seen:?}");
            assert!(seen.iter().any(|frame| frame.starts_with("<p o ")), "{seen:?}");
        }
        pack.pass(Span::from_millis(10));
        let seen = pack.fresh(reader);
        assert!(seen.iter().all(|frame| !frame.contains("u=news")), "{seen:?}");
        let stats = pack.stats().access;
        assert_eq!((stats.by_list, stats.more, stats.by_rights), (3 * 5, 2 * 5, 0));
        // A history that is asked for by a session which is none.
        let answer = pack.get(line, "/ahm/history?resource=fx&subject=EUR&mid=77&k=x");
        assert!(answer.contains("no-session"), "{answer}");
        let answer = pack.get(line, &format!("/ahm/history?resource=fx&subject=EUR&{me}"));
        assert!(answer.contains(" n=1>1"), "{answer}");
    }
}

#[test]
fn login_says_at_once_whether_a_resource_may_be_opened() {
    let mut house = house(1, &["allow fx/*", "more news/*"], &["allow EUR* user:anna"]);
    let pack = &mut house.pack;
    let line = pack.connect(0, Door::Public);
    for (resource, wanted) in
        [("fx", "forbidden"), ("news", "auth-required"), ("desk", "forbidden")]
    {
        let answer = pack.get(line, &format!("/ahm/login?resource={resource}"));
        assert!(answer.contains(&format!("\"error\":\"{wanted}\"")), "{answer}");
    }
    assert_eq!(pack.hubs[0].session_count(), 0, "who is refused gets no session");
    pack.hubs[0].set_access(lists(&["allow desk/x"], &[]), pack.now);
    assert!(pack.get(line, "/ahm/login?resource=desk").contains("{\"ok\":true,\"scs\""));
    assert!(pack.get(line, "/ahm/login?resource=fx").contains("forbidden"));
}

#[test]
fn a_session_that_becomes_somebody_else_loses_what_that_one_may_not_read() {
    let rules = ["allow fx/EUR", "allow fx/USD user:anna", "allow board/* user:*", "deny *"];
    let mut house = house(2, &rules, &[]);
    let pack = &mut house.pack;
    let (reader, _, me) = pack.document(1, "open=fx/EUR;cid=1");
    become_user(pack, &me, user("anna"));
    let line = pack.connect(0, Door::Public);
    for (cid, topic) in [(2, "fx&subject=USD"), (3, "board&subject=x")] {
        let answer = pack.get(line, &format!("/ahm/open?{me}&cid={cid}&resource={topic}"));
        assert!(answer.contains("\"ok\":true"), "{answer}");
    }
    pack.fresh(reader);
    become_user(pack, &me, user("bert"));
    assert_eq!(pack.fresh(reader), ["<p x c=2 e=denied>"]);
    let rights = Some(vec!["board/*".to_string()]);
    become_user(pack, &me, Identity { rights, ..user("bert") });
    assert_eq!(pack.fresh(reader), ["<p x c=1 e=denied>"]);
    let answer = pack.get(line, &format!("/ahm/open?{me}&cid=1&resource=fx&subject=EUR"));
    assert!(answer.contains("forbidden"), "{answer}");
    let stats = pack.stats().access;
    assert_eq!((stats.by_rights, stats.ended), (1, 2));
}

#[test]
fn other_lists_end_what_is_open_and_bound_what_goes_on() {
    for shards in [1, 2] {
        let mut house = house(shards, &[], &[]);
        let pack = &mut house.pack;
        let mut readers = Vec::new();
        for at in 0..600 {
            let shard = at % usize::from(shards);
            readers.push(pack.document(shard, "open=fx/EUR;cid=1&open=desk/a;cid=2").0);
        }
        readers.iter().for_each(|&reader| drop(pack.fresh(reader)));
        let (slow, now) = (lists(&["allow desk/* rate:1"], &[]), pack.now);
        pack.handle_all(|hub, _| hub.set_access(Arc::clone(&slow), now));
        pack.pass(Span::from_millis(20));
        for &reader in &readers {
            assert_eq!(pack.fresh(reader), ["<p x c=1 e=denied>"]);
        }
        assert_eq!(pack.stats().access.ended, 600);
        // A message each 100 ms, of which one a second is read.
        let publisher = pack.connect(0, Door::Private);
        for n in 0..30 {
            pack.post(publisher, "/publish/desk/a", &n.to_string());
            pack.pass(Span::from_millis(100));
        }
        for &reader in &readers {
            let seen = pack.fresh(reader);
            let messages = seen.iter().filter(|frame| frame.starts_with("<p c=2 ")).count();
            assert!((3..=4).contains(&messages), "{seen:?}");
        }
    }
}

#[test]
fn who_may_only_read_may_not_send_and_resources_know_who_does() {
    let rules = ["allow desk/a user:anna", "allow desk/a read", "allow desk/b rate:2"];
    let mut house = house(1, &rules, &[]);
    let (pack, heard) = (&mut house.pack, &house.heard);
    let (_, _, me) = pack.document(0, "open=desk/a;cid=1&open=desk/b;cid=2;rate=9");
    let line = pack.connect(0, Door::Public);
    let send = |pack: &mut Pack| pack.get(line, &format!("/ahm/send?{me}&cid=1&n=1&data=x"));
    assert!(send(pack).contains("you may read here, and not send"));
    become_user(pack, &me, user("anna"));
    assert!(send(pack).contains("\"outcome\":\"taken\""));
    let wanted = ["open a \"\"", "open b \"\"", "send a \"anna\""];
    assert_eq!(*heard.lock().unwrap(), wanted);
    let mid = Mid::parse(me.split("mid=").nth(1).unwrap().split('&').next().unwrap()).unwrap();
    let session = pack.hubs[0].sessions.get(mid.key()).unwrap();
    assert_eq!(session.channels[session.find_channel(Cid(2)).unwrap()].rate, 2);
}

#[test]
fn a_bounded_rate_is_none_for_a_topic_that_is_read_whole() {
    let mut directory = Directory::default();
    directory.add("alone", Arc::new(Alone)).unwrap();
    let settings = Settings { access: lists(&["allow * rate:5"], &[]), ..Settings::default() };
    let mut pack = Pack::new(1, settings, directory);
    let (_, seen, _) = pack.document(0, "open=alone/x;cid=1");
    assert!(seen.contains(&"<p x c=1 u=alone/x e=denied>".to_string()), "{seen:?}");
}

#[test]
fn tls_is_asked_of_the_command_and_of_the_documents() {
    let mut house = house(1, &["allow fx/EUR tls", "allow fx/USD"], &[]);
    let pack = &mut house.pack;
    let secure = |pack: &mut Pack, peer: usize| {
        let (shard, conn) = pack.conns[peer].unwrap();
        let now = pack.now;
        pack.hubs[shard].handle_secured(conn, Arc::new(Secured::default()), now);
    };
    let plain = pack.connect(0, Door::Public);
    let seen = pack.get(plain, "/ahm/mux.html?open=fx/EUR");
    assert!(seen.contains("<p x u=fx/EUR e=denied>"), "{seen}");
    let stream = pack.connect(0, Door::Public);
    secure(pack, stream);
    let seen = pack.get(stream, "/ahm/mux.html?open=fx/EUR;cid=1&open=fx/USD;cid=2");
    assert!(seen.contains("<p o c=1 ") && seen.contains("<p o c=2 "), "{seen}");
    let value = |name: &str| {
        let at = seen.find(&format!(" {name}=")).unwrap() + name.len() + 2;
        seen[at..].split([' ', '>']).next().unwrap().to_string()
    };
    let me = format!("scs=ahm&mid={}&k={}", value("mid"), value("k"));
    let line = pack.connect(0, Door::Public);
    let open = format!("/ahm/open?{me}&resource=fx&subject=EUR&cid=3");
    assert!(pack.get(line, &open).contains("forbidden"));
    secure(pack, line);
    assert!(pack.get(line, &open).contains("\"ok\":true"));
    pack.fresh(stream);
    // One more document over a plain connection takes away what needs TLS, from all of them.
    let second = pack.connect(0, Door::Public);
    let seen = pack.get(second, &format!("/ahm/mux.html?{me}&dup=1&last="));
    assert!(!seen.contains("u=fx/EUR") && seen.contains("<p o c=2 "), "{seen}");
    assert_eq!(pack.fresh(stream), ["<p x c=1 e=denied>", "<p x c=3 e=denied>"]);
    assert!(pack.get(line, &open).contains("forbidden"), "what it opens would go out in the clear");
}

#[test]
fn refusals_are_told_to_a_measure() {
    let mut house = house(1, &["deny *"], &[]);
    let pack = &mut house.pack;
    let line = pack.connect(0, Door::Public);
    for _ in 0..50 {
        pack.get(line, "/ahm/history?resource=fx&subject=EUR");
    }
    assert_eq!(pack.hubs[0].access.untold(), 30);
    pack.pass(Span::from_secs(1));
    pack.get(line, "/ahm/history?resource=fx&subject=EUR");
    assert_eq!(pack.hubs[0].access.untold(), 0);
    assert_eq!(pack.stats().access.by_list, 51);
}

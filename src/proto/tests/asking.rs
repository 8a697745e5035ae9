//! Clients that must prove who they are: what waits, what goes on, and what runs out.

use std::sync::Arc;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::*;
use crate::auth::answer::{Answer, parse};
use crate::auth::basic::Basic;
use crate::auth::htpasswd::Htpasswd;
use crate::auth::identity::{Identity, Means};
use crate::auth::office::{Finding, Guard, Helper, HelperKind, Matter, Office, Way};
use crate::auth::token::Tokens;
use crate::auth::token_key::TokenKey;
use crate::auth::verdict::{Proof, Refusal, Verdict};
use crate::proto::tests::flushing::Quotes;

const SECRET: &[u8] = b"a secret of thirty-two bytes, or more";
/// The second at which the hubs' time begins.
const START: u64 = 1_700_000_000;
/// anna:secret, berta:secret, anna:wrong
const ANNA: &str = "Authorization: Basic YW5uYTpzZWNyZXQ=\r\n";
const BERTA: &str = "Authorization: Basic YmVydGE6c2VjcmV0\r\n";
const WRONG: &str = "Authorization: Basic YW5uYTp3cm9uZw==\r\n";

fn office(required: bool) -> Arc<Office> {
    let hash = bcrypt::hash("secret", 4).unwrap();
    Arc::new(Office {
        required,
        realm: "ahm".into(),
        users: Some(Htpasswd::parse(&format!("anna:{hash}\nberta:{hash}")).unwrap()),
        tokens: Some(Tokens {
            keys: vec![TokenKey::parse_file(SECRET).unwrap()],
            issuer: None,
            audience: vec![],
            leeway: 0,
            user_claim: "sub".into(),
            groups_claim: "groups".into(),
        }),
        helpers: vec![Helper {
            name: "site".into(),
            kind: HelperKind::Script { target: "/who".into(), post: true },
        }],
        guards: vec![Guard { prefix: "/private/".into(), ways: vec![Way::Basic] }],
        patience: Span::from_secs(5),
        warning: Span::from_secs(60),
        remember: Span::from_secs(300),
        remember_max: 10,
        ..Office::default()
    })
}

fn pack(shards: u8, required: bool) -> Pack {
    let mut directory = Directory::default();
    directory.add("fx", Arc::new(Quotes)).unwrap();
    let mut pack = Pack::new(shards, Settings::default(), directory);
    let office = office(required);
    pack.handle_all(|hub, now| hub.authenticate(Arc::clone(&office), now));
    pack
}

fn bearer(user: &str, expires: u64) -> String {
    let claims = json!({"sub": user, "exp": START + expires, "groups": ["traders"]});
    let key = EncodingKey::from_secret(SECRET);
    let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).unwrap();
    format!("Authorization: Bearer {token}\r\n")
}

impl Pack {
    /// A request with further fields; what came of it so far.
    fn ask(&mut self, peer: usize, target: &str, fields: &str) -> String {
        self.received[peer].clear();
        self.send(peer, &format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"));
        self.text(peer)
    }

    /// Answers the oldest question as it should be.
    fn find(&mut self) -> Question {
        let (shard, question) = self.questions.remove(0);
        let verdict = match &question.matter {
            Matter::Password(shown, _) => question.office.prove(shown),
            Matter::Helper(..) => Err(Refusal::Forbidden("by nobody".into())),
        };
        self.tell(shard, question.found(verdict));
        *question
    }

    fn find_as(&mut self, verdict: Verdict) -> Question {
        let (shard, question) = self.questions.remove(0);
        self.tell(shard, question.found(verdict));
        *question
    }

    fn tell(&mut self, shard: usize, finding: Finding) {
        self.hubs[shard].handle_finding(finding, self.now);
        self.drain();
        self.hubs[shard].check_invariants().unwrap();
    }

    /// A session by token, and what later commands need.
    fn session_of(&mut self, user: &str, expires: u64) -> String {
        let peer = self.connect(0, Door::Public);
        let answer = json_of(&self.ask(peer, "/ahm/login", &bearer(user, expires)));
        assert_eq!(answer["user"], user);
        assert_eq!(answer["expires"], START + expires);
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        format!("scs={}&mid={}&k={}", text("scs"), text("mid"), text("k"))
    }
}

fn json_of(answer: &str) -> Value {
    let body = answer.rsplit_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}")).1;
    serde_json::from_str(body).unwrap_or_else(|_| panic!("{answer}"))
}

fn refused(answer: &str, status: &str, words: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(answer.contains(words), "{answer}");
}

#[test]
fn a_request_waits_for_its_user_and_others_go_on() {
    let mut pack = pack(1, false);
    let (peer, other) = (pack.connect(0, Door::Public), pack.connect(0, Door::Public));
    assert_eq!(pack.ask(peer, "/ahm/login?resource=fx", ANNA), "");
    let (shard, conn) = pack.conns[peer].unwrap();
    assert!(!pack.hubs[shard].wants_input(conn), "nothing is read meanwhile");
    // What has come already waits too, whatever it is.
    pack.send(peer, "GET /ahm/ping?t=after HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(pack.text(peer), "");
    assert!(pack.get(other, "/ahm/ping?t=beside").contains("beside"));
    let question = pack.find();
    assert!(matches!(question.matter, Matter::Password(Basic { user, .. }, _) if user == "anna"));
    let text = pack.text(peer);
    let (user, after) = (text.find("\"user\":\"anna\"").unwrap(), text.find("after").unwrap());
    assert!(user < after, "{text}");
    assert!(pack.hubs[shard].wants_input(conn));
    // The same again needs nobody's time, from whichever connection.
    let again = pack.ask(other, "/ahm/login", ANNA);
    assert_eq!(json_of(&again)["user"], "anna");
    assert!(pack.questions.is_empty());
    let counts = pack.hubs[0].all_stats().auth;
    assert_eq!((counts.proved[1], counts.remembered), (1, 1));
}

#[test]
fn what_proves_nothing_is_told_and_the_connection_goes_on() {
    let mut pack = pack(1, false);
    let peer = pack.connect(0, Door::Public);
    pack.ask(peer, "/ahm/login", WRONG);
    pack.find();
    let answer = pack.text(peer);
    refused(&answer, "401", "\r\nWWW-Authenticate: Basic realm=\"ahm\", charset=\"UTF-8\"\r\n");
    assert_eq!(json_of(&answer)["error"], "auth-required");
    // A wrong password is not remembered as a right one.
    pack.ask(peer, "/ahm/login", WRONG);
    pack.find();
    refused(&pack.text(peer), "401", "name or password is wrong");
    let answer = pack.ask(peer, "/ahm/login", &bearer("anna", 0));
    refused(&answer, "401", "error=\"invalid_token\", error_description=\"the token has expired\"");
    refused(&pack.ask(peer, "/ahm/login?auth=moon", ""), "400", "no script or program");
    refused(&pack.ask(peer, "/ahm/login?auth=a%20b", ""), "400", "auth");
    assert_eq!(pack.hubs[0].session_count(), 0);
    assert_eq!(pack.hubs[0].all_stats().auth.unproved, 3);
    assert!(json_of(&pack.ask(peer, "/ahm/login", "")).get("user").is_none());
}

#[test]
fn nobody_gets_in_unknown_where_that_is_demanded() {
    let mut pack = pack(1, true);
    let peer = pack.connect(0, Door::Public);
    for target in ["/ahm/login", "/ahm/mux.html?open=fx/A", "/ahm/history?resource=fx&subject=A"] {
        let answer = pack.ask(peer, target, "");
        refused(
            &answer,
            "401",
            "Basic realm=\"ahm\", charset=\"UTF-8\", Bearer realm=\"ahm\", AHM",
        );
        refused(&answer, "401", "auth-required");
    }
    let batch = pack.post(peer, "/ahm/batch", "login\nping?t=1\n");
    assert!(batch.contains("auth-required") && batch.contains("\"t\":\"1\""), "{batch}");
    assert!(pack.get(peer, "/ahm/ping?t=2").contains("\"t\":\"2\""));
    assert_eq!(pack.hubs[0].session_count(), 0);
    let token = bearer("anna", 100);
    let history = pack.ask(peer, "/ahm/history?resource=fx&subject=A", &token);
    assert!(!history.is_empty() && !history.contains("auth-required"), "{history}");
    let (reader, fields) = (pack.connect(0, Door::Public), bearer("anna", 100));
    assert!(pack.ask(reader, "/ahm/mux.html?open=fx/A", &fields).contains("<p i "));
    let body = "login\nlogin?auth=site\n";
    let length = body.len();
    pack.received[peer].clear();
    pack.send(
        peer,
        &format!(
            "POST /ahm/batch HTTP/1.1\r\nHost: localhost\r\n{token}Content-Length: {length}\r\n\
             \r\n{body}"
        ),
    );
    let batch = pack.text(peer);
    assert!(batch.contains("\"user\":\"anna\"") && batch.contains("auth stands in no batch"));
}

#[test]
fn a_session_belongs_to_its_user_on_every_shard() {
    for shards in [1, 2] {
        let mut pack = pack(shards, false);
        let me = pack.session_of("anna", 100);
        for shard in 0..usize::from(shards) {
            let peer = pack.connect(shard, Door::Public);
            // Another session, named first, pins the connection to this shard.
            let other = json_of(&pack.get(peer, "/ahm/login"));
            let (mid, key) = (other["mid"].as_str().unwrap(), other["k"].as_str().unwrap());
            pack.get(peer, &format!("/ahm/ping?scs=ahm&mid={mid}&k={key}"));
            let open = format!("/ahm/open?{me}&resource=fx&subject=A");
            let answer = pack.ask(peer, &open, &bearer("berta", 100));
            refused(&answer, "403", "this session is another user's");
            let answer = pack.ask(peer, &open, &bearer("anna", 50));
            assert!(answer.contains("\"ok\":true"), "{answer}");
            let answer = pack.ask(peer, &open, "");
            assert!(answer.contains("\"ok\":true"), "the key is enough: {answer}");
            pack.ask(peer, &open, BERTA);
            pack.find();
            refused(&pack.text(peer), "403", "another user's");
            let reader = pack.connect(shard, Door::Public);
            let document = format!("/ahm/mux.html?{me}");
            refused(&pack.ask(reader, &document, &bearer("berta", 9)), "403", "another user's");
            assert!(pack.ask(reader, &document, &bearer("anna", 9)).contains("<p i "));
        }
    }
}

#[test]
fn who_has_expired_is_warned_and_then_out() {
    let mut pack = pack(1, true);
    let me = pack.session_of("anna", 100);
    let peer = pack.connect(0, Door::Public);
    pack.get(peer, &format!("/ahm/mux.html?{me}&open=fx/A&open=fx/B;cid=7"));
    pack.fresh(peer);
    pack.pass(Span::from_secs(39));
    assert!(pack.fresh(peer).iter().all(|frame| frame.starts_with("<p h")));
    pack.pass(Span::from_secs(2));
    let warnings: Vec<_> =
        pack.fresh(peer).into_iter().filter(|frame| frame.starts_with("<p m")).collect();
    let [warning] = &warnings[..] else { panic!("{warnings:?}") };
    let (_, left) = warning.split_once("e=expiry w=").unwrap();
    let left: u64 = left.trim_end_matches('>').parse().unwrap();
    assert!((59_900..=60_000).contains(&left), "{warning}");
    // A document that begins now is told too.
    let late = pack.connect(0, Door::Public);
    let text = pack.get(late, &format!("/ahm/refresh.html?{me}"));
    assert!(text.contains("<p m e=expiry w=5"), "{text}");
    pack.pass(Span::from_secs(40));
    pack.fresh(late);
    pack.pass(Span::from_secs(20));
    let seen = pack.fresh(late);
    let ended: Vec<_> = seen
        .iter()
        .filter(|frame| frame.starts_with("<p x") || frame.starts_with("<p z"))
        .collect();
    assert_eq!(ended.len(), 3, "{seen:?}");
    assert!(ended[..2].iter().all(|frame| frame.ends_with(" e=expired>")), "{ended:?}");
    assert!(ended[2].starts_with("<p z e=logout"), "{ended:?}");
    let command = pack.connect(0, Door::Public);
    refused(&pack.get(command, &format!("/ahm/ping?{me}")), "404", "no-session");
    assert_eq!(pack.hubs[0].all_stats().auth.expired, 1);
    assert_eq!(pack.hubs[0].session_count(), 0);
}

#[test]
fn renewal_goes_on_without_a_cut_and_for_nobody_else() {
    let mut pack = pack(2, true);
    let me = pack.session_of("anna", 100);
    let peer = pack.connect(0, Door::Public);
    pack.get(peer, &format!("/ahm/mux.html?{me}&open=fx/A"));
    pack.pass(Span::from_secs(50));
    assert!(pack.fresh(peer).iter().any(|frame| frame.starts_with("<p m e=expiry")));
    let renew = format!("/ahm/renew?{me}");
    // Commands of a session whose document is elsewhere come through any shard.
    let command = pack.connect(1, Door::Public);
    refused(&pack.get(command, &renew), "401", "auth-required");
    refused(&pack.ask(command, &renew, &bearer("berta", 900)), "403", "another user's");
    refused(&pack.ask(command, "/ahm/renew", &bearer("anna", 900)), "404", "no-session");
    let answer = json_of(&pack.ask(command, &renew, &bearer("anna", 200)));
    assert_eq!((&answer["user"], &answer["expires"]), (&json!("anna"), &json!(START + 200)));
    pack.pass(Span::from_secs(80));
    let seen = pack.fresh(peer);
    assert!(seen.iter().all(|frame| frame.starts_with("<p h")), "no word at 100 s: {seen:?}");
    pack.pass(Span::from_secs(15));
    let seen = pack.fresh(peer);
    assert_eq!(seen.iter().filter(|frame| frame.starts_with("<p m e=expiry")).count(), 1);
    // A password has no end; the session then has none either.
    let command = pack.connect(1, Door::Public);
    pack.ask(command, &renew, ANNA);
    pack.find();
    assert!(json_of(&pack.text(command)).get("expires").is_none());
    pack.pass(Span::from_secs(600));
    assert!(pack.fresh(peer).iter().all(|frame| frame.starts_with("<p h")));
    // And a shorter one is as good as it is.
    let command = pack.connect(1, Door::Public);
    pack.ask(command, &renew, &bearer("anna", 800));
    pack.pass(Span::from_secs(60));
    assert!(pack.fresh(peer).iter().any(|frame| frame.starts_with("<p z e=logout")));
    assert_eq!(pack.hubs.iter().map(|hub| hub.all_stats().auth.renewed).sum::<u64>(), 3);
}

#[test]
fn a_script_is_told_what_there_is_and_its_word_counts() {
    let mut pack = pack(1, true);
    let peer = pack.connect(0, Door::Public);
    let fields = "Cookie: sid=1\r\nUser-Agent: test\r\n";
    assert_eq!(pack.ask(peer, "/ahm/login?auth=site&resource=fx", fields), "");
    let said = br#"{"user":"anna","rights":["fx/*"],"expires":50,"key":"k1"}"#;
    let Ok(Answer::User { identity, key, .. }) = parse(said, START) else { panic!() };
    let proof = Proof { identity: Arc::new(identity), key };
    let question = pack.find_as(Ok(proof));
    let Matter::Helper(0, evidence) = &question.matter else { panic!() };
    let form = evidence.form();
    assert_eq!(
        form.as_str(),
        "address=127.0.0.1&port=9&transport=plain&host=localhost&agent=test&resource=fx\
         &cookie=sid%3D1"
    );
    let answer = json_of(&pack.text(peer));
    assert_eq!((&answer["user"], &answer["key"]), (&json!("anna"), &json!("k1")));
    // One GET is enough for a stream here too.
    let reader = pack.connect(0, Door::Public);
    assert_eq!(pack.ask(reader, "/ahm/mux.html?auth=site&open=fx/A", ANNA), "");
    let berta = Identity::new("berta", Means::Script).unwrap();
    let question = pack.find_as(Ok(berta.into()));
    let Matter::Helper(0, evidence) = &question.matter else { panic!() };
    assert_eq!(evidence.basic.as_ref().unwrap().user, "anna", "scripts see passwords");
    assert!(pack.text(reader).contains("<p i "));
    let last = pack.connect(0, Door::Public);
    pack.ask(last, "/ahm/login?auth=site", fields);
    pack.find_as(Err(Refusal::Forbidden("no contract".into())));
    refused(&pack.text(last), "403", "no contract");
    assert_eq!(pack.hubs[0].session_count(), 2);
}

#[test]
fn nobody_waits_for_ever() {
    let mut pack = pack(1, true);
    let peer = pack.connect(0, Door::Public);
    pack.ask(peer, "/ahm/login", ANNA);
    pack.find_as(Err(Refusal::Busy));
    refused(&pack.text(peer), "503", "\r\nRetry-After: 1\r\n");
    pack.ask(peer, "/ahm/login", ANNA);
    pack.pass(Span::from_secs(9));
    assert_eq!(pack.text(peer), "");
    pack.pass(Span::from_secs(2));
    refused(&pack.text(peer), "503", "nobody has said in time");
    // What comes late, or for somebody who has gone, changes nothing; but it is no news either.
    pack.find();
    assert_eq!(pack.hubs[0].session_count(), 0);
    pack.ask(peer, "/ahm/login?auth=site", "");
    pack.pass(Span::from_secs(11));
    pack.ask(peer, "/ahm/login?auth=site", "");
    let (shard, old) = pack.questions.remove(0);
    let forged = Identity::new("old", Means::Script).unwrap();
    pack.tell(shard, old.found(Ok(forged.into())));
    assert_eq!(pack.text(peer), "", "the answer to an older question");
    pack.cut(peer);
    pack.find();
    assert_eq!(pack.hubs[0].session_count(), 0);
    let counts = pack.hubs[0].all_stats().auth;
    assert_eq!((counts.busy, counts.silent), (1, 2));
    assert_eq!(pack.hubs[0].connection_count(), 0);
}

#[test]
fn a_body_comes_behind_the_proof() {
    let mut pack = pack(1, true);
    let peer = pack.connect(0, Door::Public);
    let head = |fields: &str| {
        format!("POST /ahm/login HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: 4\r\n\r\n")
    };
    pack.send(peer, &head(&format!("{ANNA}Expect: 100-continue\r\n")));
    assert_eq!(pack.text(peer), "", "nobody wants the body yet");
    pack.find();
    assert_eq!(pack.text(peer), "HTTP/1.1 100 Continue\r\n\r\n");
    pack.send(peer, "body");
    assert_eq!(json_of(&pack.text(peer))["user"], "anna");
    pack.received[peer].clear();
    pack.send(peer, &head(WRONG));
    pack.find();
    pack.send(peer, "bodyGET /ahm/ping?t=next HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let text = pack.text(peer);
    assert!(text.starts_with("HTTP/1.1 401") && text.contains("\"t\":\"next\""), "{text}");
}

#[test]
fn pages_that_may_not_and_questions_that_change_nothing_ask_nobody() {
    let mut pack = pack(1, true);
    let peer = pack.connect(0, Door::Public);
    let foreign = format!("{ANNA}Origin: https://evil.example\r\n");
    refused(&pack.ask(peer, "/ahm/login", &foreign), "403", "pages of this origin");
    for fields in [format!("{ANNA}Sec-Purpose: prefetch\r\n"), ANNA.to_owned()] {
        let target = if fields == ANNA { "/ahm/ping?t=1" } else { "/ahm/login" };
        assert!(!pack.ask(peer, target, &fields).is_empty());
    }
    pack.send(peer, &format!("HEAD /ahm/login HTTP/1.1\r\nHost: localhost\r\n{ANNA}\r\n"));
    assert!(pack.questions.is_empty());
}

#[test]
fn with_other_rules_old_passwords_are_forgotten() {
    let mut pack = pack(1, true);
    let peer = pack.connect(0, Door::Public);
    pack.ask(peer, "/ahm/login", ANNA);
    pack.find();
    let other = Office { users: Some(Htpasswd::default()), ..Office::default() };
    let other = Arc::new(other);
    pack.handle_all(|hub, now| hub.authenticate(Arc::clone(&other), now));
    pack.ask(peer, "/ahm/login", ANNA);
    pack.find();
    refused(&pack.text(peer), "401", "name or password is wrong");
    assert_eq!(pack.hubs[0].all_stats().auth.proved[1], 1, "what was counted stays");
}

/// Somebody with these rights, by the word of a script.
fn with_rights(rights: &str) -> Verdict {
    let said = parse(format!("user=anna&rights={rights}").as_bytes(), START);
    let Ok(Answer::User { identity, .. }) = said else { panic!("{said:?}") };
    Ok(identity.into())
}

#[test]
fn rights_hold_from_the_login_on_and_shrink_with_a_renewal() {
    let mut pack = pack(1, true);
    let peer = pack.connect(0, Door::Public);
    let login = "/ahm/login?auth=site&resource=fx";
    pack.ask(peer, login, "");
    pack.find_as(with_rights("board/*"));
    refused(&pack.text(peer), "403", "forbidden");
    assert_eq!(pack.hubs[0].session_count(), 0);
    pack.ask(peer, login, "");
    pack.find_as(with_rights("fx/*"));
    let answer = json_of(&pack.text(peer));
    let (mid, key) = (answer["mid"].as_str().unwrap(), answer["k"].as_str().unwrap());
    let me = format!("scs=ahm&mid={mid}&k={key}");
    let reader = pack.connect(0, Door::Public);
    pack.get(reader, &format!("/ahm/mux.html?{me}&open=fx/A;cid=1&open=fx/B;cid=2"));
    pack.fresh(reader);
    pack.ask(peer, &format!("/ahm/renew?{me}&auth=site"), "");
    pack.find_as(with_rights("fx/B"));
    assert_eq!(json_of(&pack.text(peer))["user"], "anna");
    pack.pass(Span::from_secs(1));
    let ended: Vec<_> =
        pack.fresh(reader).into_iter().filter(|frame| frame.starts_with("<p x")).collect();
    assert_eq!(ended, ["<p x c=1 e=denied>"]);
}

#[test]
fn lines_show_who_sends_them() {
    let mut pack = pack(2, true);
    let peer = pack.connect(0, Door::Raw);
    let say = |pack: &mut Pack, line: &str| {
        pack.received[peer].clear();
        pack.send(peer, line);
        pack.text(peer)
    };
    let basic = |fields: &str| fields.trim().split_once(": ").unwrap().1.replace(' ', "%20");
    assert!(say(&mut pack, "login\n").contains("auth-required"));
    let none = say(&mut pack, "login?authorization=Basic%20%zz\n");
    assert!(none.contains("bad-request"), "{none}");
    // A password takes time; what comes behind it waits, in its order.
    let lines = format!("login?authorization={}&id=a\nping?id=b\n", basic(ANNA));
    assert_eq!(say(&mut pack, &lines), "");
    pack.find();
    let text = pack.text(peer);
    let answers: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&answers[0]["id"], &answers[1]["id"]), (&json!("a"), &json!("b")), "{text}");
    assert_eq!((&answers[0]["ok"], &answers[0]["user"]), (&json!(true), &json!("anna")));
    let wrong = format!("login?authorization={}\n", basic(WRONG));
    assert_eq!(say(&mut pack, &wrong), "");
    pack.find();
    assert!(pack.text(peer).contains("auth-required"), "{}", pack.text(peer));
    // Beside a document only what takes no time is looked at; a session is renewed by a token.
    assert!(say(&mut pack, "mux.html?open=fx/A\n").contains("<p i "));
    let token = basic(&bearer("anna", 7_200));
    let renewed = say(&mut pack, &format!("renew?authorization={token}\n"));
    assert!(renewed.contains("\"ok\":true") && renewed.contains("\"expires\""), "{renewed}");
    let slow = say(&mut pack, &format!("renew?authorization={}\n", basic(BERTA)));
    assert!(slow.contains("bad-request") && slow.contains("another connection"), "{slow}");
    // Another's token, as everywhere.
    let other = basic(&bearer("berta", 7_200));
    let other = say(&mut pack, &format!("ping?t=1&authorization={other}\n"));
    assert!(other.contains("forbidden"), "{other}");
    assert!(pack.questions.is_empty());
}

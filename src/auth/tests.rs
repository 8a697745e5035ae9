//! Access lists as a whole: a table of decisions, and a second evaluator that thinks of nothing
//! but the grammar.

use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;

use crate::auth::access::{Asking, By, Decision, Lists, Origin};
use crate::auth::identity::{Identity, Means};
use crate::auth::list::List;
use crate::auth::rule::{Bounds, Scope, Verdict};
use crate::base::name::TopicName;

/// `USER:GROUP,GROUP ADDRESS [tls] [seal]`; `-` is nobody.
fn asking(text: &str) -> Asking {
    let mut words = text.split(' ');
    let who = words.next().unwrap();
    let address: IpAddr = words.next().unwrap().parse().unwrap();
    let rest: Vec<&str> = words.collect();
    let (user, groups) = who.split_once(':').unwrap_or((who, ""));
    let identity = Identity::new(user, Means::Basic).filter(|_| user != "-").map(|identity| {
        let groups = groups.split(',').filter(|group| !group.is_empty());
        Arc::new(Identity { groups: groups.map(Into::into).collect(), ..identity })
    });
    let (tls, seal) = (rest.contains(&"tls"), rest.contains(&"seal"));
    Asking { identity, address, tls, seal }
}

/// What is decided, in a word or two.
fn told(decision: Decision<'_>) -> String {
    match decision {
        Decision::Allowed(Bounds { rate: 0, sends: true }) => "yes".into(),
        Decision::Allowed(Bounds { rate: 0, sends: false }) => "read".into(),
        Decision::Allowed(Bounds { rate, sends: true }) => format!("{rate}/s"),
        Decision::Allowed(Bounds { rate, sends: false }) => format!("read {rate}/s"),
        Decision::More(_) => "more".into(),
        Decision::Denied(By::Rights) => "rights".into(),
        Decision::Denied(_) => "no".into(),
    }
}

const SERVER: [&str; 11] = [
    "deny */secret* ",
    "allow fx/EUR* user:anna,bert*",
    "allow fx/* group:desk,traders from:10.0.0.0/8,2001:db8::/32 tls",
    "allow fx/* from:192.0.2.7 rate:5",
    "more fx/*",
    "allow board/* user:* read",
    "allow board/lobby",
    "allow orders/* seal",
    "allow orders/open%2A%20x tls seal",
    "deny *",
    "allow *",
];

const FX: [&str; 4] =
    ["deny EURCHF", "allow EUR* rate:10", "allow * from:10.0.0.0/8", "allow USD*"];

const TABLE: [(&str, &str, &str); 64] = [
    // Names and patterns of users.
    ("anna 192.0.2.1", "fx/EURUSD", "10/s"),
    ("anna 192.0.2.1", "fx/EUR", "10/s"),
    ("anna 192.0.2.1", "fx/EUR/spot", "10/s"),
    ("anna 192.0.2.1", "fx/eurusd", "more"),
    ("anna 192.0.2.1", "fx/EURCHF", "no"),
    ("Anna 192.0.2.1", "fx/EURUSD", "more"),
    ("annabel 192.0.2.1", "fx/EURUSD", "more"),
    ("bert 192.0.2.1", "fx/EURUSD", "10/s"),
    ("bertram 192.0.2.1", "fx/EURUSD", "10/s"),
    ("ber 192.0.2.1", "fx/EURUSD", "more"),
    ("- 192.0.2.1", "fx/EURUSD", "more"),
    ("desk 10.1.1.1 tls", "fx/EURUSD", "more"),
    // Groups, addresses and TLS together.
    ("carl:desk 10.1.1.1 tls", "fx/USDJPY", "yes"),
    ("carl:desk 10.1.1.1 tls", "fx/EURUSD", "10/s"),
    ("carl:traders 10.255.255.255 tls", "fx/USDJPY", "yes"),
    ("carl:sales,desk 10.1.1.1 tls", "fx/GBP", "yes"),
    ("carl:sales 10.1.1.1 tls", "fx/GBP", "more"),
    ("carl 10.1.1.1 tls", "fx/GBP", "more"),
    ("carl:desk 10.1.1.1", "fx/GBP", "more"),
    ("carl:desk 11.1.1.1 tls", "fx/USDJPY", "more"),
    ("carl:desk 2001:db8::1 tls", "fx/USDJPY", "yes"),
    ("carl:desk 2001:db8:ffff::1 tls", "fx/USDJPY", "yes"),
    ("carl:desk 2001:db9::1 tls", "fx/USDJPY", "more"),
    ("carl:desk 2001:db8::1", "fx/USDJPY", "more"),
    ("carl:desk 2001:db8::1 tls", "fx/GBP", "no"),
    // An IPv4 address that is written as IPv6 is one of IPv4.
    ("carl:desk ::ffff:10.1.1.1 tls", "fx/GBP", "yes"),
    ("carl:desk ::ffff:11.1.1.1 tls", "fx/GBP", "more"),
    ("carl:desk ::10.1.1.1 tls", "fx/GBP", "more"),
    ("- ::ffff:192.0.2.7", "fx/USDJPY", "5/s"),
    ("- 192.0.2.7", "fx/USDJPY", "5/s"),
    ("- 192.0.2.7", "fx/EURUSD", "5/s"),
    ("- 192.0.2.7 tls seal", "fx/USDJPY", "5/s"),
    ("- 192.0.2.7", "fx/GBP", "no"),
    ("- 192.0.2.8", "fx/USDJPY", "more"),
    ("anna 192.0.2.7", "fx/EURUSD", "10/s"),
    ("anna 192.0.2.7", "fx/USDJPY", "5/s"),
    // The first match wins.
    ("anna 192.0.2.1", "fx/secret", "no"),
    ("anna 192.0.2.1", "fx/secrets/EUR", "no"),
    ("anna 192.0.2.1", "fx/EUR/secret", "no"),
    ("anna 192.0.2.1", "fx/EURsecret", "10/s"),
    ("anna 192.0.2.1", "board/secret", "no"),
    ("carl:desk 10.1.1.1 tls", "fx/", "yes"),
    ("- 10.1.1.1", "fx/", "more"),
    // Everybody who has proved a name, and bounds.
    ("anna 192.0.2.1", "board/lobby", "read"),
    ("- 192.0.2.1", "board/lobby", "yes"),
    ("- 192.0.2.1", "board/hall", "no"),
    ("anna 192.0.2.1", "board/hall", "read"),
    ("- 192.0.2.1", "board/lobby2", "no"),
    ("- 192.0.2.1", "board/", "no"),
    ("anna ::1", "board/", "read"),
    // Seal.
    ("- 192.0.2.1 seal", "orders/1", "yes"),
    ("- 192.0.2.1 tls", "orders/1", "no"),
    ("- 192.0.2.1 tls seal", "orders/1", "yes"),
    ("anna 192.0.2.1", "orders/1", "no"),
    ("- 192.0.2.1 tls", "orders/open* x", "no"),
    ("- 192.0.2.1 seal", "orders/open* x", "yes"),
    // Other resources, some of which begin alike.
    ("anna 192.0.2.1", "fxx/EURUSD", "no"),
    ("anna 192.0.2.1", "f/EURUSD", "no"),
    ("anna:desk 10.1.1.1 tls seal", "other/x", "no"),
    ("- 10.1.1.1", "fx.spot/EURUSD", "no"),
    ("carl:desk 10.1.1.1 tls", "FX/EURUSD", "no"),
    ("anna 192.0.2.1", "fx/EURköln", "10/s"),
    ("carl:desk 10.1.1.1 tls", "fx/a b", "yes"),
    ("carl:desk 10.1.1.1 tls", "fx//", "yes"),
];

#[test]
fn a_table_of_decisions() {
    let lists = Lists::parse(&SERVER, [("fx", &FX[..])]).unwrap();
    for (who, topic, wanted) in TABLE {
        let (resource, subject) = topic.split_once('/').unwrap();
        let name = TopicName::new(resource, subject).unwrap();
        let decided = told(lists.decide(&asking(who), &name, None));
        assert_eq!(decided, wanted, "{who} asks for {topic}");
    }
}

#[test]
fn where_no_list_exists_everything_is_allowed_and_else_all_must_allow() {
    let none: [&str; 0] = [];
    let name = TopicName::new("fx", "EUR").unwrap();
    let nobody = asking("- 192.0.2.1");
    let open = Lists::parse(&none, [("fx", &none[..])]).unwrap();
    assert_eq!(open, Lists::default());
    assert_eq!(open.decide(&nobody, &name, None), Decision::Allowed(Bounds::NONE));
    let theirs = |rule| List::parse([rule], Scope::Resource).unwrap();
    let more = theirs("more EUR");
    let by = By::Rule(Origin::Resource, "more EUR");
    assert_eq!(open.decide(&nobody, &name, Some(&more)), Decision::More(by));
    let closed = List::closed();
    let by = By::NoRule(Origin::Resource);
    assert_eq!(open.decide(&nobody, &name, Some(&closed)), Decision::Denied(by));
    // The list of one resource closes no other.
    let one = Lists::parse(&none, [("fx", &["allow EUR rate:9"][..])]).unwrap();
    let other = TopicName::new("board", "x").unwrap();
    assert_eq!(told(one.decide(&nobody, &other, None)), "yes");
    assert_eq!(told(one.decide(&nobody, &name, None)), "9/s");
    let slow = theirs("allow * rate:3 read");
    assert_eq!(told(one.decide(&nobody, &name, Some(&slow))), "read 3/s");
    // The server's own list comes first.
    let both = Lists::parse(&["more fx/*", "deny *"], [("fx", &["deny *"][..])]).unwrap();
    assert_eq!(told(both.decide(&nobody, &name, Some(&closed))), "more");
}

#[test]
fn the_rights_of_a_session_must_allow_too() {
    let with = |rights: &[&str]| {
        let identity = Identity::new("anna", Means::Control).unwrap();
        let rights = Some(rights.iter().map(ToString::to_string).collect());
        let identity = Some(Arc::new(Identity { rights, ..identity }));
        Asking { identity, ..asking("- 192.0.2.1") }
    };
    let lists = Lists::parse(&["allow fx/*", "deny *"], [("fx", &["allow EUR*"][..])]).unwrap();
    let cases: [(&[&str], &str, &str); 7] = [
        (&["fx/*"], "EURUSD", "yes"),
        (&["fx/EUR*"], "EURUSD", "yes"),
        (&["*"], "EURUSD", "yes"),
        (&["board/*", "fx/EURUSD"], "EURUSD", "yes"),
        (&["fx/USD*"], "EURUSD", "rights"),
        (&[], "EURUSD", "rights"),
        (&["fx/*"], "USDJPY", "no"),
    ];
    for (rights, subject, wanted) in cases {
        let name = TopicName::new("fx", subject).unwrap();
        assert_eq!(told(lists.decide(&with(rights), &name, None)), wanted, "{rights:?} {subject}");
    }
    let any = |rights: &[&str]| told(lists.decide_resource(&with(rights), "fx", None));
    assert_eq!(any(&["board/*", "fx/EUR*"]), "yes");
    assert_eq!(any(&["board/*", "fxx/*"]), "rights");
}

#[test]
fn whether_any_topic_of_a_resource_may_be_read() {
    let cases: [(&[&str], &str, &str); 11] = [
        (&["allow fx/EUR* user:anna"], "anna ::1", "yes"),
        (&["allow fx/EUR* user:anna"], "bert ::1", "no"),
        (&["allow fx/EUR* user:anna", "more fx/*"], "bert ::1", "more"),
        (&["deny fx/EUR*", "allow fx/*"], "- ::1", "yes"),
        (&["deny fx/*", "allow fx/EUR"], "- ::1", "no"),
        (&["deny *", "allow fx/EUR"], "- ::1", "no"),
        (&["more fx/EUR*", "deny fx/*"], "- ::1", "more"),
        (&["more fx/EUR*", "allow fx/USD*"], "- ::1", "yes"),
        (&["allow board/*"], "- ::1", "no"),
        (&["allow *USD"], "- ::1", "yes"),
        (&["deny fx/* user:bert", "allow fx/*"], "bert ::1", "no"),
    ];
    for (rules, who, wanted) in cases {
        let lists = Lists::parse(rules, []).unwrap();
        assert_eq!(
            told(lists.decide_resource(&asking(who), "fx", None)),
            wanted,
            "{rules:?} {who}"
        );
    }
    let lists = Lists::parse(&[], [("fx", &["allow EUR* user:anna"][..])]).unwrap();
    assert_eq!(told(lists.decide_resource(&asking("anna ::1"), "fx", None)), "yes");
    assert_eq!(told(lists.decide_resource(&asking("- ::1"), "fx", None)), "no");
    assert_eq!(told(lists.decide_resource(&asking("- ::1"), "board", None)), "yes");
}

/// Whether a pattern means a text, by trying everything.
fn naive_pattern(pattern: &[u8], text: &[u8]) -> bool {
    match pattern.first() {
        None => text.is_empty(),
        Some(b'*') => (0..=text.len()).any(|from| naive_pattern(&pattern[1..], &text[from..])),
        Some(byte) => text.first() == Some(byte) && naive_pattern(&pattern[1..], &text[1..]),
    }
}

fn naive_network(network: &str, address: IpAddr) -> bool {
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => (32, u128::from(u32::from(v4))),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => (32, u128::from(u32::from(v4))),
            None => (128, u128::from(v6)),
        },
    };
    let (wanted, length) = network.split_once('/').unwrap();
    let (wanted, length) = (bits(wanted.parse().unwrap()), length.parse::<u32>().unwrap());
    let address = bits(address);
    wanted.0 == address.0
        && (0..length).all(|at| {
            let bit = |value: u128| value >> (wanted.0 - 1 - at) & 1;
            bit(wanted.1) == bit(address.1)
        })
}

/// What a list says, rule by rule from its text.
fn naive(rules: &[String], asking: &Asking, name: &str) -> (Verdict, Option<usize>) {
    for (index, rule) in rules.iter().enumerate() {
        let words: Vec<&str> = rule.split(' ').collect();
        let holds = words[2..].iter().all(|word| match word.split_once(':') {
            Some(("user", list)) => asking.identity.as_ref().is_some_and(|who| {
                list.split(',').any(|one| naive_pattern(one.as_bytes(), who.user.as_bytes()))
            }),
            Some(("group", list)) => asking.identity.as_ref().is_some_and(|who| {
                list.split(',').any(|one| {
                    who.groups.iter().any(|own| naive_pattern(one.as_bytes(), own.as_bytes()))
                })
            }),
            Some(("from", list)) => list.split(',').any(|one| naive_network(one, asking.address)),
            _ => match *word {
                "tls" => asking.tls,
                "seal" => asking.seal,
                _ => true,
            },
        });
        if holds && naive_pattern(words[1].as_bytes(), name.as_bytes()) {
            let rate = words.iter().find_map(|word| word.strip_prefix("rate:"));
            let bounds = Bounds {
                rate: rate.map_or(0, |rate| rate.parse().unwrap()),
                sends: !words.contains(&"read"),
            };
            let verdict = match words[0] {
                "allow" => Verdict::Allow(bounds),
                "deny" => Verdict::Deny,
                _ => Verdict::More,
            };
            return (verdict, Some(index));
        }
    }
    (Verdict::Deny, None)
}

fn one_of(all: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(all).prop_map(str::to_string)
}

fn some_of(all: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::collection::vec(one_of(all), 1..3).prop_map(|chosen| chosen.join(","))
}

fn rules() -> impl Strategy<Value = String> {
    let verdict = one_of(&["allow", "allow", "deny", "more"]);
    let pattern =
        prop_oneof!["[ab*]{0,2}/[ab/*]{0,5}", one_of(&["*", "a/*", "*/a", "*b", "a*b/*a", "b*"]),];
    let users =
        prop::option::of(some_of(&["u", "v", "*", "u*", "*v"]).prop_map(|l| format!("user:{l}")));
    let groups = prop::option::of(some_of(&["g", "h", "g*"]).prop_map(|l| format!("group:{l}")));
    let nets = some_of(&[
        "10.0.0.0/8",
        "10.1.0.0/16",
        "2001:db8::/32",
        "::/0",
        "0.0.0.0/0",
        "::ffff:10.0.0.0/104",
    ]);
    // The length of a mapped network counts from the beginning of IPv6.
    let from = prop::option::of(nets.prop_map(|l| format!("from:{l}")));
    let ends = (any::<bool>(), any::<bool>(), any::<bool>(), prop::option::of(1u16..9));
    (verdict, pattern, users, groups, from, ends).prop_map(
        |(verdict, pattern, users, groups, from, (tls, seal, read, rate))| {
            let allows = verdict == "allow";
            let bounds = [
                (read && allows).then(|| "read".to_string()),
                rate.filter(|_| allows).map(|rate| format!("rate:{rate}")),
            ];
            let plain = [tls.then(|| "tls".to_string()), seal.then(|| "seal".to_string())];
            let words = [Some(verdict), Some(pattern), users, groups, from];
            let all = words.into_iter().chain(plain).chain(bounds).flatten();
            all.collect::<Vec<_>>().join(" ")
        },
    )
}

fn clients() -> impl Strategy<Value = Asking> {
    let who = prop::option::of((
        one_of(&["u", "v", "w", "uv"]),
        prop::collection::vec(one_of(&["g", "h", "gh"]), 0..3),
    ));
    let address =
        one_of(&["10.1.2.3", "10.2.2.3", "11.0.0.1", "::ffff:10.1.0.1", "2001:db8::5", "::1"]);
    (who, address, any::<bool>(), any::<bool>()).prop_map(|(who, address, tls, seal)| {
        let identity = who.map(|(user, groups)| {
            Arc::new(Identity { groups, ..Identity::new(user, Means::Token).unwrap() })
        });
        Asking { identity, address: address.parse().unwrap(), tls, seal }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn a_list_says_what_a_naive_reader_reads(
        rules in prop::collection::vec(rules(), 0..8),
        client in clients(),
        resource in "[ab]{1,2}",
        subject in "[ab/]{0,5}",
    ) {
        let name = format!("{resource}/{subject}");
        let list = List::parse(rules.iter().map(String::as_str), Scope::Server).unwrap();
        // The naive reader knows lengths of mapped networks as those of IPv4.
        let plain: Vec<String> =
            rules.iter().map(|rule| rule.replace("::ffff:10.0.0.0/104", "10.0.0.0/8")).collect();
        let (verdict, index) = naive(&plain, &client, &name);
        let (said, rule) = list.decide(&client, &name);
        prop_assert_eq!(said, verdict);
        let wanted = index.map(|at| rules[at].clone());
        prop_assert_eq!(rule.map(|rule| rule.text().to_string()), wanted);
        // Who may read one of its topics may read any.
        if matches!(verdict, Verdict::Allow(_)) {
            let (any, _) = list.decide_any(&client, &format!("{resource}/"));
            prop_assert!(matches!(any, Verdict::Allow(_)), "{:?}", any);
        }
        // And the same of subjects.
        let own = List::parse(rules.iter().map(String::as_str), Scope::Resource).unwrap();
        prop_assert_eq!(own.decide(&client, &name).0, verdict);
    }

    #[test]
    fn whatever_is_written_is_read_or_refused(text in ".{0,60}", name in "[a-c]/.{0,9}") {
        if let Ok(list) = List::parse([text.as_str()], Scope::Resource) {
            list.decide(&asking("- ::1"), &name);
        }
        crate::auth::pattern::matches(&text, &name);
        crate::auth::pattern::reaches(&text, &name);
    }
}

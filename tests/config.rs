//! Configuration as an operator meets it: file, environment, flags, and clear words for mistakes.

use std::sync::Arc;

use ahm::auth::access::Asking;
use ahm::auth::identity::{Identity, Means};
use ahm::base::name::TopicName;
use ahm::base::time::Span;
use ahm::proto::settings::History;
use ahm::server::config::{Config, Level, LogFormat, ResourceConfig, ResourceKind};
use ahm::server::config_key::Key;
use ahm::server::config_keys::{RESOURCE_KEYS, keys};
use ahm::server::config_load::{Flag, Sources, check, load};
use ahm::server::config_print::{key_list, print};
use ahm::server::explain::explain;

fn file(text: &str) -> Sources {
    Sources { file: Some(("ahm.toml".into(), text.into())), ..Sources::default() }
}

fn flag(key: &str, value: &str) -> Flag {
    Flag { flag: format!("--{key}"), key: key.into(), value: value.into() }
}

fn problem(text: &str) -> String {
    load(&file(text)).map(|_| ()).expect_err("a mistake").to_string()
}

#[test]
fn nothing_given_is_the_default() {
    assert_eq!(load(&Sources::default()).unwrap(), Config::default());
    assert_eq!(load(&file("")).unwrap(), Config::default());
}

#[test]
fn the_printed_defaults_read_back_as_the_default() {
    let printed = print(&Config::default());
    assert_eq!(load(&file(&printed)).unwrap(), Config::default(), "{printed}");
}

#[test]
fn what_is_printed_of_any_configuration_reads_back() {
    let mut config = Config::default();
    config.protocol.origins = vec!["https://example.org".into(), "*".into()];
    config.protocol.heartbeat = Span::from_millis(1500);
    config.log.format = LogFormat::Json;
    config.access = vec!["allow fx/* user:a,b from:10.0.0.0/8".into(), "more *".into()];
    let history = History { messages_max: 5, bytes_max: 1000, age_max: Span::from_secs(90) };
    let feed = ResourceConfig::new("fx", ResourceKind::Feed);
    config.resources.push(ResourceConfig {
        history: Some(history),
        state: true,
        latest: false,
        access: vec!["deny x;y".into(), "allow *".into()],
        ..feed
    });
    assert_eq!(load(&file(&print(&config))).unwrap(), config);
}

#[test]
fn every_key_is_printed_listed_and_has_a_variable_of_its_own() {
    let (printed, listed) = (print(&Config::default()), key_list());
    let mut variables: Vec<_> = keys().map(Key::variable).collect();
    variables.sort_unstable();
    variables.dedup();
    assert_eq!(variables.len(), keys().count());
    for key in keys() {
        assert!(printed.contains(&format!("\n{} = ", key.name())), "{}", key.path);
        assert!(listed.contains(key.path) && listed.contains(key.meaning), "{}", key.path);
        assert!(!key.meaning.ends_with('.') && key.meaning.len() < 90, "{}", key.path);
    }
    for key in &RESOURCE_KEYS {
        assert!(printed.contains(key.path) && listed.contains(key.path), "{}", key.path);
    }
}

#[test]
fn every_default_is_within_its_own_range() {
    for key in keys() {
        let text = format!("{} = {}\n", key.path, key.show(&mut Config::default()));
        assert_eq!(load(&file(&text)).unwrap(), Config::default(), "{text}");
    }
}

#[test]
fn a_file_is_read_to_its_types() {
    let config = load(&file(
        r#"
        listen = ["127.0.0.1:0", "[::1]:0"]
        shards = 0x2
        [private]
        listen = ["0.0.0.0:9000"]
        token = "0123456789abcdef"
        [log]
        level = "debug"
        [protocol]
        heartbeat = "5s"
        send_window_bytes = "128KiB"
        payload_bytes_max = 1000
        history = { messages = 7, age = "2m" }
        [[resource]]
        name = "fx"
        kind = "feed"
        state = true
        history.bytes = "1MiB"
        [[resource]]
        name = "talk"
        kind = "board"
        "#,
    ))
    .unwrap();
    assert_eq!(config.listen.len(), 2);
    assert!(config.listen[1].address.is_ipv6());
    assert_eq!((config.shards, config.log.level), (2, Level::Debug));
    assert!(config.token.unwrap().matches(b"0123456789abcdef"));
    assert_eq!(config.protocol.heartbeat, Span::from_secs(5));
    assert_eq!(config.protocol.send_window_bytes, 128 * 1024);
    assert_eq!(config.protocol.payload_bytes_max, 1000);
    assert_eq!(config.protocol.history.messages_max, 7);
    let fx = &config.resources[0];
    assert_eq!(
        (fx.name.as_str(), fx.kind, fx.state, fx.latest),
        ("fx", ResourceKind::Feed, true, true)
    );
    let history = fx.history.unwrap();
    assert_eq!((history.messages_max, history.bytes_max), (7, 1 << 20), "the rest is inherited");
    assert_eq!(config.resources[1], ResourceConfig::new("talk", ResourceKind::Board));
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let mut sources = file("shards = 1\npin = true\nprotocol.scs = \"file\"\n");
    sources.variables = vec![
        ("AHM_SHARDS".into(), "2".into()),
        ("AHM_PROTOCOL_SCS".into(), "environment".into()),
        ("AHM_PROTOCOL_ORIGINS".into(), "https://a.example, https://b.example".into()),
        ("AHM_RESOURCE".into(), "fx:feed:state board:board".into()),
        ("AHM_CONFIG".into(), "read elsewhere".into()),
        ("HOME".into(), "not ours".into()),
    ];
    sources.flags = vec![flag("shards", "3"), flag("listen", "127.0.0.1:0,[::1]:0")];
    let config = load(&sources).unwrap();
    assert_eq!((config.shards, config.pin), (3, true));
    assert_eq!(config.protocol.scs, "environment");
    assert_eq!(config.protocol.origins, ["https://a.example", "https://b.example"]);
    assert_eq!(config.listen.len(), 2);
    assert_eq!(config.resources.len(), 2);
    assert!(config.resources[0].state);
    sources.flags =
        vec![flag("resource", "one:feed:history.messages=9"), flag("resource", "two:echo")];
    let resources = load(&sources).unwrap().resources;
    assert_eq!(resources[0].history.unwrap().messages_max, 9);
    assert_eq!(resources[1].kind, ResourceKind::Echo);
}

#[test]
fn mistakes_name_their_line_and_what_was_meant() {
    let cases = [
        ("shard = 2", "ahm.toml:1: unknown key shard; did you mean shards?\n  1 | shard = 2"),
        (
            "\n\nheartbeat = \"5s\"",
            "ahm.toml:3: unknown key heartbeat; did you mean protocol.heartbeat?\n  3 | heartbeat",
        ),
        ("[colours]\nred = 1", "ahm.toml:1: unknown key colours\n  1 | [colours]"),
        ("shards = \"2\"", "ahm.toml:1: shards: \"2\" is not a whole number such as 4\n"),
        ("shards = 65", "ahm.toml:1: shards: 65 is not between 0 and 64\n"),
        ("shards = -1", "ahm.toml:1: shards: -1 is not a whole number such as 4\n"),
        ("shards = 1.5", "ahm.toml:1: shards: a number with a fraction stands where"),
        ("pin = 1", "ahm.toml:1: pin: 1 is not true or false\n"),
        ("listen = \"127.0.0.1:1\"", "ahm.toml:1: listen: \"127.0.0.1:1\" is not a list such as"),
        ("listen = [\"localhost:1\"]", "ahm.toml:1: listen: \"localhost:1\" is not an address"),
        ("listen = []", "ahm.toml:1: listen: at least one address"),
        (
            "\nlisten = [\"127.0.0.1:1:flush=20\"]",
            "ahm.toml:2: listen: \"127.0.0.1:1:flush=20\": flush: \"20\" is not a length of time",
        ),
        (
            "listen = [\"127.0.0.1:1:flushh=1s\"]",
            "ahm.toml:1: listen: \"127.0.0.1:1:flushh=1s\": a listener knows flush=SPAN,",
        ),
        ("[private]\nlisten = [\"[::1]:1:flush=1s\"]", "ahm.toml:2: private.listen: \"[::1]:1:f"),
        ("[protocol]\nflush = 20", "ahm.toml:2: protocol.flush: 20 is not a length of time"),
        ("[protocol]\nflush = \"2m\"", "ahm.toml:2: protocol.flush: 2m is not between 0s and 1m"),
        (
            "[protocol]\nflush_max = \"1500us\"",
            "ahm.toml:2: protocol.flush_max: 1500us is no whole number of milliseconds",
        ),
        ("protocol = 1", "ahm.toml:1: protocol is a table: write [protocol]"),
        (
            "[protocol]\nheartbeat = 15",
            "ahm.toml:2: protocol.heartbeat: 15 is not a length of time",
        ),
        ("[protocol]\nheartbeat = \"2h\"", "ahm.toml:2: protocol.heartbeat: 2h is not between"),
        ("[protocol]\nprefix = \"ahm\"", "ahm.toml:2: protocol.prefix: \"ahm\" does not look like"),
        ("[protocol]\nscs = \"a b\"", "ahm.toml:2: protocol.scs: \"a b\" is not 1 to 32 of"),
        (
            "[protocol]\norigins = [\"https://a/b\"]",
            "ahm.toml:2: protocol.origins: \"https://a/b\" is not \"*\" or an origin",
        ),
        ("[log]\nlevel = \"loud\"", "ahm.toml:2: log.level: \"loud\" is none of off, error"),
        ("[[resource]]\nname = \"a\"", "ahm.toml:1: a resource needs a kind\n  1 | [[resource]]"),
        (
            "[[resource]]\nname = \"a\"\nkind = \"feed\"\nlastest = true",
            "ahm.toml:4: unknown key lastest of a resource; did you mean latest?",
        ),
        ("[resource]\nname = \"a\"", "ahm.toml:1: resources are written [[resource]]"),
        ("shards = ", "ahm.toml:1: "),
        ("shards = 1\nshards = 2", "ahm.toml:2: duplicate key"),
    ];
    for (text, wanted) in cases {
        let shown = problem(text);
        assert!(shown.starts_with(wanted), "{text}\n--- said:\n{shown}\n--- wanted:\n{wanted}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let shown = problem("shard = 1\n[protocol]\nheartbeat = 1\nlinger = 2\n");
    assert_eq!(shown.matches("ahm.toml:").count(), 3, "{shown}");
}

#[test]
fn values_that_do_not_go_together_name_the_line_of_one_of_them() {
    let shown =
        problem("[protocol]\nlinger = \"1s\"\nheartbeat = \"119s\"\nheartbeat_max = \"1m\"");
    let wanted = "ahm.toml:3: protocol.heartbeat must not be above protocol.heartbeat_max";
    assert!(shown.starts_with(wanted), "{shown}");
    let twice =
        "[[resource]]\nname = \"a\"\nkind = \"feed\"\n[[resource]]\nname = \"a\"\nkind = \"echo\"";
    assert!(problem(twice).starts_with("ahm.toml:4: resource \"a\" is there twice"));
    let taken = problem("listen = [\"127.0.0.1:9\"]\n[private]\nlisten = [\"127.0.0.1:9\"]");
    assert!(taken.starts_with("ahm.toml:3: 127.0.0.1:9 is listened on twice"), "{taken}");
    let taken = problem("listen = [\"127.0.0.1:9\"]\nregistry.listen = [\"127.0.0.1:9\"]");
    assert!(taken.contains("127.0.0.1:9 is listened on twice"), "{taken}");
}

#[test]
fn the_registry_is_where_it_is_told_to_be() {
    let default = &Config::default().registry.listen;
    assert_eq!(default.iter().map(ToString::to_string).collect::<Vec<_>>(), ["127.0.0.1:8082"]);
    for text in ["registry.listen = \"off\"", "registry.listen = []"] {
        let config = load(&file(text)).unwrap();
        assert!(config.registry.listen.is_empty(), "{text}");
        assert!(print(&config).contains("\nlisten = \"off\"\n"));
        assert_eq!(load(&file(&print(&config))).unwrap(), config);
    }
    let config = load(&file(
        "[registry]\nlisten = [\"0.0.0.0:9\", \"unix:/run/ahm\"]\n\
         key_file = \"key\"\nheartbeat = \"1s\"",
    ));
    let registry = config.unwrap().registry;
    assert_eq!((registry.listen.len(), registry.key_file.as_str()), (2, "key"));
    assert_eq!(registry.heartbeat, Span::from_secs(1));
    let of = |text: &str| {
        let variables = vec![("AHM_REGISTRY_LISTEN".into(), text.into())];
        load(&Sources { variables, ..Sources::default() }).unwrap().registry.listen
    };
    let text = "[registry]\nguests = [\"0.0.0.0:9\", \"unix:/a\"]\nkey_file = \"key\"";
    let config = load(&file(text)).unwrap();
    assert_eq!(config.registry.guests.len(), 2);
    assert_eq!(load(&file(&print(&config))).unwrap(), config);
    assert_eq!((of("off").len(), of("[::1]:1 unix:/a").len()), (0, 2));
    for (text, wanted) in [
        (
            "[registry]\nlisten = \"no\"",
            "ahm.toml:2: registry.listen: \"no\" is not a list such as",
        ),
        (
            "[registry]\nlisten = [\"rates:1\"]",
            "ahm.toml:2: registry.listen: \"rates:1\" is not an address: give IP:PORT,",
        ),
        (
            "[registry]\nlisten = [\"[::]:1\"]",
            "ahm.toml:2: registry.listen: [::]:1 can be reached from other machines",
        ),
        (
            "[registry]\nguests = [\"127.0.0.1:1\", \"0.0.0.0:1\"]",
            "ahm.toml:2: registry.guests: 0.0.0.0:1 can be reached from other machines",
        ),
        (
            "[registry]\nlisten = [\"[::1]:7\"]\nguests = [\"[::1]:7\"]",
            "ahm.toml:2: [::1]:7 is listened on twice",
        ),
        ("[registry]\nheartbeat = \"1ms\"", "ahm.toml:2: registry.heartbeat: 1ms is not between"),
        ("registry = \"off\"", "ahm.toml:1: registry is a table: write [registry]"),
    ] {
        let shown = problem(text);
        assert!(shown.starts_with(wanted), "{text}: {shown}");
    }
    // Who takes the registry's default address has it: the server then runs without one.
    load(&file("listen = [\"127.0.0.1:8082\"]")).unwrap();
}

#[test]
fn flush_spans_stay_within_what_is_allowed_and_may_differ_between_listeners() {
    let config = load(&file(
        "listen = [\"127.0.0.1:1\", \"[::1]:2:flush=0s\", \"0.0.0.0:3:flush=2s\"]\n\
         [protocol]\nflush = \"20ms\"\nflush_max = \"2s\"",
    ))
    .unwrap();
    let flush = config.listen.iter().map(|listen| listen.flush).collect::<Vec<_>>();
    assert_eq!(flush, [None, Some(Span::ZERO), Some(Span::from_secs(2))]);
    assert_eq!(config.protocol.flush, Span::from_millis(20));
    assert_eq!(load(&file(&print(&config))).unwrap(), config);
    let variables = vec![("AHM_LISTEN".into(), "127.0.0.1:1, [::1]:2:flush=5ms".into())];
    let sources = Sources { variables, ..Sources::default() };
    let told = load(&sources).unwrap().listen.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(told, ["127.0.0.1:1", "[::1]:2:flush=5ms"]);
    for (text, wanted) in [
        ("listen = [\"[::1]:2:flush=2s\"]", "ahm.toml:1: listen: flush=2s must not be above"),
        (
            "listen = [\"[::1]:2:flush=2s\"]\n[protocol]\nflush_max = \"1s\"",
            "ahm.toml:1: listen: flush=2s must not be above protocol.flush_max (1s)",
        ),
        ("[protocol]\nflush = \"2s\"", "ahm.toml:2: protocol.flush must not be above protocol.f"),
        (
            "[protocol]\nlinger = \"1s\"\nflush_max = \"0s\"\nflush = \"1ms\"",
            "ahm.toml:4: protocol.flush must not be above protocol.flush_max",
        ),
        (
            "listen = [\"[::1]:2:flush=1500us\"]",
            "ahm.toml:1: listen: flush=1500us is no whole number of milliseconds",
        ),
        (
            "listen = [\"127.0.0.1:9\", \"127.0.0.1:9:flush=1s\"]",
            "ahm.toml:1: 127.0.0.1:9 is listened on twice",
        ),
    ] {
        let shown = problem(text);
        assert!(shown.starts_with(wanted), "{text}\n--- said:\n{shown}");
    }
}

#[test]
fn the_web_site_is_where_it_is_told_to_be() {
    let text = "listen = [\"127.0.0.1:0:proxy\"]\n[relay]\nto = [\"http://127.0.0.1:3000\", \
        \"unix:/run/site\"]\nhost = \"site:80\"\ntrust = [\"10.0.0.0/8\"]\nlog = \"json\"\n";
    let config = load(&file(text)).unwrap();
    assert!(config.listen[0].proxy && config.relay.is_on());
    assert_eq!(config.relay.to, ["http://127.0.0.1:3000", "unix:/run/site"]);
    assert_eq!(load(&file(&print(&config))).unwrap(), config);
    assert!(!Config::default().relay.is_on());
    for (text, wanted) in [
        ("to = [\"http://web\"]", "relay.to: \"http://web\" is no web server"),
        ("to = [\"https://a:1\", \"http://b:1\"]", "are spoken to by https:// all, or none"),
        ("to = [\"https://a:1\", \"https://b:1\"]", "say by relay.server_name what"),
        ("server_name = \"a b\"", "relay.server_name: \"a b\" is neither the name"),
        ("to = [\"unix:/a\", \"unix:/a\"]", "relay.to: \"unix:/a\" is there twice"),
        ("host = \"a/b\"", "relay.host: \"a/b\" is neither \"keep\" nor a host name"),
        ("trust = [\"10.0.0.1/8\"]", "relay.trust: \"10.0.0.1/8\": bits behind the first 8"),
        ("upgrade = [\"h2c\"]", "relay.upgrade: \"h2c\": through that would travel"),
        ("log = \"loud\"", "relay.log: \"loud\" is none of off, text, json"),
    ] {
        let said = problem(&format!("[relay]\n{text}\n"));
        assert!(said.starts_with("ahm.toml:2: ") && said.contains(wanted), "{said}");
    }
}

#[test]
fn a_private_listener_knows_tls_and_nothing_else() {
    let load = |text: &str| {
        let file = Some(("ahm.toml".into(), format!("[private]\nlisten = [{text:?}]\n")));
        load(&Sources { file, ..Sources::default() }).map_err(|problems| problems.to_string())
    };
    for good in ["127.0.0.1:0", "[::1]:8443:tls", "127.0.0.1:1:tls=optional"] {
        assert_eq!(load(good).unwrap().private_listen[0].to_string(), good);
    }
    let only = "a private listener knows tls, tls=optional and tls=required, nothing else";
    for (bad, wanted) in [
        ("127.0.0.1:0:raw", only),
        ("127.0.0.1:0:proxy:tls", only),
        ("127.0.0.1:0:flush=1ms", only),
        ("127.0.0.1:0:tls=maybe", "a listener knows"),
        ("localhost:1", "or a socket's file as \"/run/ahm/private\""),
        ("10.0.0.5:8443:tls=required", "set private.token or private.token_file"),
    ] {
        let said = load(bad).unwrap_err();
        assert!(said.contains(wanted), "{bad}: {said}");
    }
}

#[test]
fn an_address_by_tls_needs_to_know_who_certifies_it() {
    let load = |text: &str| {
        let file = Some(("ahm.toml".into(), format!("[registry]\n{text}\n")));
        load(&Sources { file, ..Sources::default() }).map_err(|problems| problems.to_string())
    };
    let all = "ask = [\"10.0.0.5:8082:tls\"]\nauthorities = \"ca.pem\"\n\
        certificate = \"a.pem a.key\"\nserver_name = \"registry.internal\"";
    load(all).unwrap();
    let ours = "client_authorities = \"ca.pem\"\nauthorities = \"ca.pem\"";
    load(&format!("listen = [\"10.0.0.5:8082:tls\"]\n{ours}")).unwrap();
    load(&format!("listen = [\"0.0.0.0:8082:tls\"]\nserver_name = \"a\"\n{ours}")).unwrap();
    let beside = "listen = [\"0.0.0.0:8082:tls\", \"unix:/run/ahm/registry\"]";
    load(&format!("{beside}\nclient_authorities = \"ca.pem\"")).unwrap();
    for (bad, wanted) in [
        ("ask = [\"10.0.0.5:8082:tls\"]", "registry.ask: say by registry.authorities"),
        ("server_name = \"a\"", "registry.server_name: say by registry.authorities"),
        ("certificate = \"a.pem\"", "is not \"CHAIN.pem KEY.pem\""),
        ("listen = [\"10.0.0.5:8082:tls\"]", "can be reached from other machines"),
        ("listen = [\"127.0.0.1:1:tls\"]", "registry.listen: the server itself asks its registry"),
        (
            "listen = [\"0.0.0.0:1:tls\"]\nauthorities = \"a\"\nclient_authorities = \"a\"",
            "registry.listen: the server itself asks its registry, at 0.0.0.0:1:tls",
        ),
        ("listen = [\"127.0.0.1:1:tls\"]\nguests = [\"127.0.0.1:1\"]", "listened on twice"),
    ] {
        let said = load(bad).unwrap_err();
        assert!(said.contains(wanted), "{bad}: {said}");
    }
}

#[test]
fn a_private_listener_that_others_can_reach_needs_a_token() {
    for open in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "[2001:db8::1]:1", "[::ffff:192.0.2.1]:1"] {
        let text = format!("[private]\nlisten = [\"127.0.0.1:2\", \"{open}\"]\n");
        let shown = problem(&text);
        assert!(shown.starts_with("ahm.toml:2: private.listen: "), "{shown}");
        assert!(load(&file(&format!("{text}token = \"0123456789abcdef\""))).is_ok());
    }
    for closed in ["127.0.0.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        assert!(load(&file(&format!("private.listen = [\"{closed}\"]"))).is_ok(), "{closed}");
    }
}

#[test]
fn a_token_is_never_shown() {
    let shown = problem("[private]\ntoken = \"hush hush hush hush\"");
    assert!(shown.contains("private.token") && !shown.contains("hush"), "{shown}");
    let shown = problem("private = { token = \"hush\", port = 1 }");
    assert!(!shown.contains("hush"), "{shown}");
    let config = load(&file("private.token = \"hushhushhushhush\"")).unwrap();
    assert!(!format!("{config:?}{}", print(&config)).contains("hush"));
}

#[test]
fn variables_and_flags_are_named_in_their_own_words() {
    let variables = vec![
        ("AHM_SHARD".into(), "1".into()),
        ("AHM_PROTOCOL_LINGER".into(), "forever".into()),
        ("AHM_LOG_DESTINATION".into(), "paper".into()),
        ("AHM_SERVICE_HOST".into(), "a platform says so".into()),
        ("AHM_RESOURCE".into(), "fx".into()),
    ];
    let flags = vec![flag("shards", "many"), flag("protocol.lingr", "1s")];
    let sources = Sources { variables, flags, ..Sources::default() };
    let shown = load(&sources).unwrap_err().to_string();
    for wanted in [
        "AHM_SHARD: unknown variable; did you mean AHM_SHARDS?",
        "AHM_PROTOCOL_LINGER: protocol.linger: \"forever\" is not a length of time",
        "AHM_LOG_DESTINATION: unknown variable",
        "AHM_RESOURCE: a resource needs a kind",
        "--shards: shards: \"many\" is not a whole number",
        "--protocol.lingr: unknown key protocol.lingr; did you mean linger?",
    ] {
        assert!(shown.contains(wanted), "{shown}\nlacks {wanted}");
    }
    assert!(!shown.contains("AHM_SERVICE_HOST"), "{shown}");
}

#[test]
fn a_configuration_made_in_rust_is_checked_alike() {
    let mut config = Config::default();
    assert!(check(&config).is_ok());
    config.resources.push(ResourceConfig::new("echo", ResourceKind::Feed));
    config.protocol.heartbeat_max = Span::from_secs(1);
    config.listen[0].flush = Some(Span::from_secs(9));
    config.private_listen = vec!["0.0.0.0:0".parse().unwrap()];
    let problems = check(&config).unwrap_err();
    assert_eq!(problems.0.len(), 4, "{problems}");
    config = Config { shards: 1000, ..Config::default() };
    assert_eq!(check(&config).unwrap_err().to_string(), "shards: 1000 is not between 0 and 64");
}

/// Runs the binary without our environment: exit code, output, complaints.
fn ahm(args: &[&str]) -> (i32, String, String) {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_ahm"))
        .args(args)
        .env_clear()
        .env("AHM_SHARDS", "3")
        .output()
        .expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("it speaks UTF-8");
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

#[test]
fn the_binary_prints_its_defaults_and_what_it_would_use() {
    let (code, printed, _) = ahm(&["check-config", "--print-defaults"]);
    assert_eq!(code, 0);
    assert_eq!(load(&file(&printed)).unwrap(), Config::default());
    let (code, printed, _) = ahm(&["check-config", "--print", "--set", "protocol.linger=7s"]);
    assert_eq!(code, 0);
    let used = load(&file(&printed)).unwrap();
    assert_eq!((used.shards, used.protocol.linger), (3, Span::from_secs(7)));
}

#[test]
fn the_binary_ends_with_code_2_where_it_is_used_wrongly() {
    for (args, wanted) in [
        (&["serve", "--shards", "many"][..], "--shards: shards: \"many\" is not a whole number"),
        (&["serve", "--config", "no/such/file.toml"], "no/such/file.toml: No such file"),
        (&["demo", "--private", "0.0.0.0:1"], "can be reached from other machines"),
        (&["check-config", "--set", "shard=1"], "--set shard: unknown key shard; did you mean"),
        (
            &["serve", "--listen", "127.0.0.1:0:flush=2s"],
            "--listen: listen: flush=2s must not be above protocol.flush_max (1s)",
        ),
        (&["serve", "--colour"], "unexpected argument"),
        (&["sreve"], "unrecognized subcommand"),
    ] {
        let (code, printed, complaint) = ahm(args);
        assert_eq!((code, printed.as_str()), (2, ""), "{args:?}: {complaint}");
        assert!(complaint.contains(wanted), "{args:?}: {complaint}");
    }
}

#[test]
fn an_address_that_is_taken_is_told_with_code_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, _, complaint) = ahm(&["serve", "--listen", &address, "--private", "127.0.0.1:0"]);
    assert_eq!(code, 1, "{complaint}");
    assert!(complaint.contains(&address), "{complaint}");
}

#[test]
fn rules_of_access_come_from_file_environment_and_flags() {
    let text = "[access]\nrules = [\"allow fx/* user:a,b\", \"deny *\"]\n\
        [[resource]]\nname = \"fx\"\nkind = \"feed\"\naccess = [\"allow EUR*\"]\n";
    let config = load(&file(text)).unwrap();
    assert_eq!(config.access, ["allow fx/* user:a,b", "deny *"]);
    assert_eq!(config.resources[0].access, ["allow EUR*"]);
    let variables = vec![("AHM_ACCESS_RULES".into(), "allow fx/* user:a,b; more *;".into())];
    let config = load(&Sources { variables, ..Sources::default() }).unwrap();
    assert_eq!(config.access, ["allow fx/* user:a,b", "more *"]);
    let wrong = "[access]\nrules = [\"allow fx/*\", \"allow fx form:::1\"]\n";
    let problems = load(&file(wrong)).unwrap_err().to_string();
    let wanted = "ahm.toml:2: access.rules: rule 2 (\"allow fx form:::1\"), column 7: \"fx\" is no \
        RESOURCE/SUBJECT: write fx/* for all subjects of that resource";
    assert!(problems.starts_with(wanted), "{problems}");
    let own = "[[resource]]\nname = \"fx\"\nkind = \"feed\"\naccess = [\"allow * rate:0\"]\n";
    let problems = load(&file(own)).unwrap_err().to_string();
    assert!(
        problems.contains("ahm.toml:4: access: rule 1 (\"allow * rate:0\"), column 14"),
        "{problems}"
    );
}

#[test]
fn what_decides_is_explained() {
    let text = "[access]\n\
        rules = [\"allow fx/* group:desk tls\", \"more fx/*\", \"allow board/*\"]\n\
        [[resource]]\nname = \"fx\"\nkind = \"feed\"\n\
        access = [\"deny x*\", \"allow * rate:5 read\"]\n";
    let config = load(&file(text)).unwrap();
    let asking = |groups: &[&str], tls| {
        let groups = groups.iter().map(ToString::to_string).collect();
        let identity = Identity { groups, ..Identity::new("anna", Means::Basic).unwrap() };
        let address = "::ffff:10.0.0.1".parse().unwrap();
        Asking { identity: Some(Arc::new(identity)), tls, ..Asking::from_address(address) }
    };
    let told = |config: &Config, asking: &Asking, topic: &str| {
        let (resource, subject) = topic.split_once('/').unwrap();
        let name = TopicName::new(resource, subject).unwrap();
        let told = explain(config, asking, &name).unwrap();
        (told.allowed, told.text)
    };
    let desk = asking(&["desk"], true);
    let wanted = "\
anna of desk, from 10.0.0.1, with TLS, without a seal, asks for fx/EUR
access.rules:
   1  allow fx/* group:desk tls  decides: allowed
access of the [[resource]] fx:
   1  deny x*              another topic
   2  allow * rate:5 read  decides: allowed, to read only, at most 5 messages a second
allowed, to read only, at most 5 messages a second
";
    assert_eq!(told(&config, &desk, "fx/EUR"), (true, wanted.to_string()));
    let (allowed, text) = told(&config, &asking(&["desk"], false), "fx/EUR");
    assert!(!allowed && text.contains("allow fx/* group:desk tls  no TLS\n"), "{text}");
    assert!(
        text.contains("refused by access.rules: \"more fx/*\"\n  as 401 auth-required"),
        "{text}"
    );
    let (allowed, text) = told(&config, &desk, "news/EUR");
    assert!(!allowed && text.contains("no rule is left: denied\n"), "{text}");
    let (allowed, text) = told(&config, &desk, "board/x");
    assert!(allowed && text.contains("a list of its resource server must allow too"), "{text}");
    let (allowed, text) = told(&Config::default(), &desk, "board/x");
    assert!(allowed && text.contains("(no list exists: everybody may read everything)"), "{text}");
}

#[test]
fn certificates_are_given_with_their_keys_also_in_a_flag() {
    let wanted = ["a.pem a.key", "b.pem b.key b.ocsp"];
    let text = "[tls]\ncertificates = [\"a.pem a.key\", \"b.pem b.key b.ocsp\"]\n";
    assert_eq!(load(&file(text)).unwrap().tls.certificates, wanted);
    let sources = Sources {
        flags: vec![Flag {
            flag: "--set tls.certificates".into(),
            key: "tls.certificates".into(),
            value: "a.pem a.key; b.pem b.key b.ocsp".into(),
        }],
        ..Sources::default()
    };
    assert_eq!(load(&sources).unwrap().tls.certificates, wanted);
    let shown = problem("[tls]\ncertificates = [\"a.pem\"]");
    assert!(shown.contains("is not \"CHAIN.pem KEY.pem\""), "{shown}");
    let shown = problem("[tls]\npass = [\"www.example\"]");
    assert!(shown.contains("is not NAME=IP:PORT"), "{shown}");
    let shown = problem("[tls]\noldest = \"1.1\"");
    assert!(shown.contains("neither 1.2 nor 1.3"), "{shown}");
}

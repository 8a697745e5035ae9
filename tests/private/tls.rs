//! Private listeners with TLS: what certificates may do there, asked by curl and OpenSSL.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use ahm::base::name::TopicName;
use ahm::base::time::Span;
use ahm::proto::token::Token;
use ahm::reactor::beyond::{Papers, Trust};
use ahm::reactor::url::Server as Place;
use ahm::resource::outcome::{Fate, PostError};
use ahm::resource::post::{Publisher, Settings};
use ahm::server::builder::Server;

use crate::authority::Authority;
use crate::support::{Folder, Peer, server};

const TOKENS: &str = "\
    rates   cert:rates            publish:fx/EUR*\n\
    watch   cert:watch%20dog      metrics\n\
    bench   cert:bench            publish:fx/t*\n\
    website website-website-web   control\n";

const LISTEN: [&str; 3] =
    ["127.0.0.1:0:tls=required", "127.0.0.1:0:tls=optional", "127.0.0.1:0:tls"];

/// What curl gets: the status, or 0 where there is no connection, and the body.
fn curl(address: SocketAddr, ca: &str, path: &str, more: &[&str]) -> (u16, String) {
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "20", "--cacert", ca, "-w", "\n%{http_code}"])
        .args(more)
        .arg(format!("https://{address}{path}"))
        .stdin(Stdio::null())
        .output()
        .expect("curl");
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.parse().unwrap(), body.into())
}

/// The arguments of curl that show a certificate.
fn shown(files: &str) -> Vec<&str> {
    let (chain, key) = files.split_once(' ').unwrap();
    vec!["--cert", chain, "--key", key]
}

fn secure(folder: &Folder, authority: &Authority) -> Server {
    let file = folder.file("tokens", TOKENS);
    let certificates = vec![authority.server("server", &["127.0.0.1", "ahm.internal"])];
    server(2, |config| {
        config.token_file = file;
        config.private_listen = LISTEN.map(|text| text.parse().unwrap()).into();
        config.tls.certificates = certificates;
        config.tls.client_authorities = authority.file();
        config.tls.client_revoked = authority.revoke(&[9]);
    })
}

#[test]
fn a_certificate_may_do_what_its_line_says() {
    let (folder, authority) = (Folder::new(), Authority::new("Ours"));
    let server = secure(&folder, &authority);
    let [required, optional, tls] = server.private_addrs() else { panic!("three listeners") };
    let urls: Vec<_> = server.private_urls().collect();
    assert_eq!(urls[0], format!("https://{required}"));
    let rates = authority.client("rates", "rates", 1);
    let watch = authority.client("watch", "watch dog", 2);
    let eve = authority.client("eve", "eve", 3);
    let revoked = authority.client("revoked", "rates", 9);
    let stranger = Authority::new("Theirs").client("rates", "rates", 1);
    let ask = |at: &SocketAddr, path: &str, more: &[&str]| {
        let data: &[&str] = if path == "/metrics" { &[] } else { &["--data", "1.1"] };
        curl(*at, &authority.file(), path, &[data, more].concat())
    };
    let token = ["-H", "Authorization: Bearer website-website-web"];
    for at in [required, optional] {
        let (status, said) = ask(at, "/publish/fx/EURUSD", &shown(&rates));
        assert!(status == 200 && said.contains("\"n\":"), "{status} {said}");
        let (status, said) = ask(at, "/publish/fx/USDEUR", &shown(&rates));
        assert_eq!(status, 403);
        assert!(said.contains("has not the right publish:fx/USDEUR"), "{said}");
        assert_eq!(ask(at, "/metrics", &shown(&rates)).0, 403);
        assert_eq!(ask(at, "/metrics", &shown(&watch)).0, 200);
        let (status, said) = ask(at, "/metrics", &shown(&eve));
        assert_eq!(status, 401);
        assert!(said.contains("this certificate is not known"), "{said}");
        for nobody in [&revoked, &stranger] {
            assert_eq!(ask(at, "/metrics", &shown(nobody)).0, 0);
        }
        // Who shows both is who the token says.
        let both = [&shown(&rates)[..], &token].concat();
        assert_eq!(ask(at, "/publish/fx/EURUSD", &both).0, 403);
        assert_eq!(
            ask(at, "/control/session", &[&both[..], &["--data", "user=a"]].concat()).0,
            201
        );
        // And what no program of the private network says is refused whatever is shown.
        for mark in ["Origin: https://a.example", "Sec-Fetch-Site: none", "Host: evil.example"] {
            let fields = [&shown(&watch)[..], &["-H", mark]].concat();
            assert_eq!(ask(at, "/metrics", &fields).0, 403, "{mark}");
        }
    }
    assert_eq!(ask(required, "/control/sessions", &[]).0, 0, "nobody without a certificate");
    for at in [optional, tls] {
        let (status, said) = ask(at, "/publish/fx/EURUSD", &[]);
        assert_eq!(status, 401);
        assert!(said.contains("a bearer token is needed"), "{said}");
        assert_eq!(curl(*at, &authority.file(), "/control/sessions", &token).0, 200);
    }
    assert_eq!(ask(tls, "/metrics", &shown(&watch)).0, 401, "it was not asked for");
    // Plain words get a hint.
    let mut plain = Peer::connect(*required);
    let said = plain.get("/metrics");
    assert!(said.status == 400 && said.body.contains("https://"), "{said:?}");
    server.stop();
}

/// What OpenSSL says of a connection whose session it keeps in a file or takes from there.
fn openssl(address: SocketAddr, more: &[&str]) -> String {
    let output = Command::new("openssl")
        .args(["s_client", "-tls1_2", "-connect", &address.to_string()])
        .args(more)
        .stdin(Stdio::null())
        .output()
        .expect("openssl");
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A ticket is as good as a certificate, so one of a listener that asks for none is worth nothing
/// at a listener that does.
#[test]
fn a_ticket_of_another_listener_proves_nothing() {
    let (folder, authority) = (Folder::new(), Authority::new("Ours"));
    let server = secure(&folder, &authority);
    let [required, _, tls] = server.private_addrs() else { panic!("three listeners") };
    let kept = authority.path("session");
    openssl(*tls, &["-sess_out", &kept]);
    let said = openssl(*tls, &["-sess_in", &kept]);
    assert!(said.contains("Reused, TLSv1.2"), "{said}");
    let said = openssl(*required, &["-sess_in", &kept]);
    assert!(!said.contains("Reused") && said.contains("alert"), "{said}");
    server.stop();
}

#[test]
fn publishers_may_have_an_authority_of_their_own() {
    let (ours, theirs) = (Authority::new("Publishers"), Authority::new("Readers"));
    let folder = Folder::new();
    let file = folder.file("tokens", "watch cert:watch metrics\n");
    let certificates = vec![ours.server("server", &["127.0.0.1"])];
    let server = server(1, |config| {
        config.token_file = file;
        config.listen = vec!["127.0.0.1:0:tls=required".parse().unwrap()];
        config.private_listen = vec!["127.0.0.1:0:tls=required".parse().unwrap()];
        config.tls.certificates = certificates;
        config.tls.client_authorities = theirs.file();
        config.tls.pass = vec!["localhost=127.0.0.1:1".into()];
        config.private_authorities = ours.file();
    });
    let (public, private) = (server.public_addrs()[0], server.private_addrs()[0]);
    let (reader, watch) = (theirs.client("a", "watch", 1), ours.client("b", "watch", 1));
    let ask = |at, path, files| curl(at, &ours.file(), path, &shown(files)).0;
    assert_eq!([ask(private, "/metrics", &watch), ask(private, "/metrics", &reader)], [200, 0]);
    assert_eq!([ask(public, "/ahm/ping", &watch), ask(public, "/ahm/ping", &reader)], [0, 200]);
    // A name that is passed on from a public listener is no way out of here.
    let there = format!("localhost:{}:127.0.0.1", private.port());
    let more = [&shown(&watch)[..], &["-k", "--resolve", &there]].concat();
    let url = format!("https://localhost:{}/metrics", private.port());
    let output = Command::new("curl").args(["-sS"]).args(more).arg(url).output().expect("curl");
    assert!(String::from_utf8_lossy(&output.stdout).contains("ahm_"), "{output:?}");
    server.stop();
}

/// What the publishing end of this house says of a line.
fn post(url: &str, papers: &Papers) -> Result<Fate, PostError> {
    let server = Place::parse(url, "/").unwrap();
    let settings = Settings { timeout: Span::from_secs(10), ..Settings::default() };
    let trust = Trust::new(papers).unwrap();
    let mut publisher = Publisher::new(server, settings, 1).trusting(Some(trust));
    for line in 0..3 {
        publisher.push(line, "fx/EURUSD", b"1.1").unwrap();
        publisher.flush()?;
    }
    let name = TopicName::new("fx", "EURUSD").unwrap();
    publisher.publish(&name, &[b'x'; 60_000], None, true)?;
    Ok(publisher.take_outcomes().remove(0).fate)
}

#[test]
fn our_own_publishers_speak_tls_and_say_what_is_not_proved() {
    let (folder, authority) = (Folder::new(), Authority::new("Ours"));
    let server = secure(&folder, &authority);
    let url = server.private_urls().next().unwrap();
    let rates = authority.client("rates", "rates", 1);
    let (chain, key) = rates.split_once(' ').unwrap();
    let papers = |ca: String, files: Option<(&str, &str)>| Papers {
        authorities: Some(ca.into()),
        server_name: None,
        certificate: files.map(|(chain, _)| chain.into()),
        key: files.map(|(_, key)| key.into()),
    };
    let shown = Some((chain, key));
    let fate = post(&url, &papers(authority.file(), shown)).unwrap();
    assert!(matches!(fate, Fate::Taken(_)), "{fate:?}");
    let named =
        Papers { server_name: Some("ahm.internal".into()), ..papers(authority.file(), shown) };
    assert!(matches!(post(&url, &named), Ok(Fate::Taken(_))));
    // None of these is tried again and again.
    let other = Authority::new("Theirs");
    let misnamed = Papers { server_name: Some("other.example".into()), ..named };
    for (papers, words) in [
        (papers(other.file(), shown), "no authority in"),
        (misnamed, "the certificate of other.example is refused"),
        (papers(authority.file(), None), "demands a certificate of us"),
    ] {
        let said = post(&url, &papers).unwrap_err();
        assert!(matches!(&said, PostError::GaveUp(why) if why.contains(words)), "{said:?}");
    }
    // The command says the same.
    let publish = |more: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_ahm"))
            .args(["publish", "fx", "--subject", "EURUSD", "--url", &url])
            .args(more)
            .stdin(std::fs::File::open(folder.file("lines", "1.2\n1.3\n")).unwrap())
            .output()
            .unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let ca = authority.file();
    let (code, said) = publish(&["--ca", &ca, "--cert", chain, "--key", key]);
    assert!(code == 0 && said.contains("2 taken"), "{said}");
    let (code, said) = publish(&["--ca", &ca]);
    assert!(code == 1 && said.contains("demands a certificate of us"), "{said}");
    assert!(said.contains("lines 1 to 2 were not sent"), "{said}");
    server.stop();
}

#[test]
fn a_load_is_published_by_tls() {
    let (folder, authority) = (Folder::new(), Authority::new("Ours"));
    let server = secure(&folder, &authority);
    let (public, private) = (server.public_addrs()[0], server.private_urls().next().unwrap());
    let bench = |more: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_ahm"))
            .args(["bench", "--url", &format!("http://{public}"), "--private", &private])
            .args(["--resource", "fx", "--subscribers", "5", "--topics", "3", "--rate", "300"])
            .args(["--seconds", "1", "--warmup", "0", "--size", "20000", "--quiet"])
            .args(more)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), text)
    };
    let (ca, files) = (authority.file(), authority.client("bench", "bench", 5));
    let believed = ["--ca", &ca];
    let (code, said) = bench(&[&believed[..], &shown(&files)].concat());
    assert_eq!(code, 0, "{said}");
    let (code, said) = bench(&believed);
    assert!(code == 1 && said.contains("demands a certificate of us"), "{said}");
    server.stop();
}

#[test]
fn tokens_are_read_again_and_a_bad_file_changes_nothing() {
    let folder = Folder::new();
    let file = folder.file("tokens", "watch watch-watch-watch-1 metrics\n");
    let server = server(2, |config| {
        config.token_file = file;
        config.token = Some(Token::new("all-all-all-all-all").unwrap());
    });
    let mut peer = Peer::connect(server.private_addrs()[0]);
    let mut status = |token: &str| {
        peer.ask("GET", "/metrics", &format!("Authorization: Bearer {token}\r\n"), None).status
    };
    // Both shards have the new ones when neither takes the old one any more.
    let mut settled = |wanted: [u16; 2]| {
        let both = |status: &mut dyn FnMut(&str) -> u16| {
            [status("watch-watch-watch-1"), status("watch-watch-watch-2")]
        };
        let mut tries = 0..2_000;
        while both(&mut status) != wanted {
            assert!(tries.next().is_some(), "the tokens never change");
        }
        assert_eq!(status("all-all-all-all-all"), 200);
    };
    settled([200, 401]);
    folder.file("tokens", "watch watch-watch-watch-2 metrics\nwatch again-again-again-1 all\n");
    let said = server.handle().reload().unwrap_err().to_string();
    assert!(said.contains("line 2: this name is there already"), "{said}");
    assert!(!said.contains("again-again"), "{said}");
    settled([200, 401]);
    folder.file("tokens", "watch watch-watch-watch-2 metrics\n");
    server.handle().reload().unwrap();
    settled([401, 200]);
    server.stop();
}

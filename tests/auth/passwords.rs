//! HTTP Basic, as curl speaks it.

use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::time::Duration;

use ahm::server::builder::Server;

use crate::support::{Peer, Place, counter, curl, json, server, session};

/// anna and berta, whose password is `s3cret`; as dear as bcrypt is at its cheapest.
fn htpasswd() -> String {
    let hash = bcrypt::hash("s3cret", 4).unwrap();
    format!("# people\nanna:{hash}\nberta:{hash}\n")
}

fn with_passwords(place: &Place) -> Server {
    let file = place.write("htpasswd", &htpasswd());
    server(|config| {
        config.auth.htpasswd = file;
        config.auth.required = true;
    })
}

#[test]
fn curl_logs_in_and_its_session_is_its_own() {
    let place = Place::new();
    let server = with_passwords(&place);
    let (status, text) = curl(&server, "/ahm/login", &[]);
    assert_eq!((status, &json(&text)["error"]), (401, &"auth-required".into()), "{text}");
    assert!(text.contains("WWW-Authenticate: Basic realm=\"ahm\", charset=\"UTF-8\"\r\n"));
    let (status, text) = curl(&server, "/ahm/login", &["-u", "anna:wrong"]);
    assert_eq!(status, 401, "{text}");
    let (status, text) = curl(&server, "/ahm/login", &["-u", "nobody:s3cret"]);
    assert_eq!(status, 401, "{text}");
    let (status, text) = curl(&server, "/ahm/login", &["-u", "anna:s3cret"]);
    assert_eq!((status, &json(&text)["user"]), (200, &"anna".into()), "{text}");
    // curl asks without credentials first where it is told to find out which are wanted.
    let (status, again) = curl(&server, "/ahm/login", &["--anyauth", "-u", "anna:s3cret"]);
    assert_eq!(status, 200, "{again}");
    let me = session(&text);
    let open = format!("/ahm/open?{me}&resource=fx&subject=EURUSD");
    assert_eq!(curl(&server, &open, &["-u", "berta:s3cret"]).0, 403);
    assert_eq!(curl(&server, &open, &["-u", "anna:s3cret"]).0, 200);
    assert_eq!(curl(&server, &open, &[]).0, 200);
    // One was right and hashed; the others were remembered.
    assert_eq!(counter(&server, "ahm_auth_proved_basic_total"), 2, "anna and berta once each");
    assert_eq!(counter(&server, "ahm_auth_remembered_total"), 2);
    assert_eq!(counter(&server, "ahm_auth_forbidden_total"), 1);
}

#[test]
fn new_passwords_count_when_the_files_are_read_again() {
    let place = Place::new();
    let server = with_passwords(&place);
    let login = |password: &str| {
        let credentials = format!("anna:{password}");
        curl(&server, "/ahm/login", &["-u", &credentials]).0
    };
    let (_, text) = curl(&server, "/ahm/login", &["-u", "anna:s3cret"]);
    let me = session(&text);
    place.write("htpasswd", &format!("anna:{}\n", bcrypt::hash("n3w", 4).unwrap()));
    assert_eq!((login("s3cret"), login("n3w")), (200, 401), "nobody has read it yet");
    server.handle().reload().unwrap();
    assert_eq!((login("s3cret"), login("n3w")), (401, 200));
    assert_eq!(curl(&server, &format!("/ahm/ping?{me}"), &[]).0, 200, "sessions go on");
    place.write("htpasswd", "# nobody\nanna:plain\n");
    let error = server.handle().reload().unwrap_err().to_string();
    assert!(error.contains("htpasswd: line 2: plain text"), "{error}");
    assert_eq!(login("n3w"), 200, "everything stays as it was");
}

#[test]
fn a_page_of_the_site_is_guarded_in_all_its_spellings() {
    let place = Place::new();
    let web = Peer::python(
        &place,
        "def answer(self, fields):\n    user = self.headers.get('X-Forwarded-User')\n    \
         self.say(200, f'{self.path} {user}')",
    );
    let file = place.write("htpasswd", &htpasswd());
    let server = server(|config| {
        config.relay.to = vec![format!("http://{}", web.address)];
        config.auth.htpasswd = file;
        config.auth.guard = vec!["/private/=basic".into()];
    });
    let forged = ["-H", "X-Forwarded-User: root", "-H", "X_Forwarded_User: root"];
    let (status, text) = curl(&server, "/public", &forged);
    assert!(status == 200 && text.ends_with("/public None"), "{text}");
    for path in ["/private/", "/private", "/%70rivate/a", "//private/", "/a/../private/x"] {
        let (status, text) = curl(&server, path, &["--path-as-is"]);
        assert_eq!(status, 401, "{path}: {text}");
        assert!(text.contains("WWW-Authenticate: Basic "), "{text}");
        let known = [&["--path-as-is", "-u", "anna:s3cret"], &forged[..]].concat();
        let (status, text) = curl(&server, path, &known);
        assert!(status == 200 && text.ends_with(" anna"), "{path}: {text}");
    }
    let upload = ["-u", "anna:wrong", "--data", "much"];
    assert_eq!(curl(&server, "/private/upload", &upload).0, 401);
    let upload = ["-u", "anna:s3cret", "--data", "much"];
    assert_eq!(curl(&server, "/private/upload", &upload).0, 200);
}

#[test]
fn who_comes_when_too_many_wait_is_told_to_come_again() {
    // A web server that lets everybody connect and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = server(|config| {
        config.relay.to = vec![format!("http://{}", silent.local_addr().unwrap())];
        config.auth.scripts = vec!["site=/who".into()];
        config.auth.threads = 1;
        config.auth.queue = 1;
        config.auth.timeout = ahm::base::time::Span::from_secs(3);
    });
    let address: SocketAddr = server.public_addrs()[0];
    let (told, hear) = mpsc::channel();
    let clients: Vec<_> = (0..6)
        .map(|_| {
            let told = told.clone();
            std::thread::spawn(move || {
                let (status, text) = crate::support::curl_at(address, "/ahm/login?auth=site", &[]);
                told.send((status, json(&text)["detail"].as_str().unwrap().to_owned())).unwrap();
            })
        })
        .collect();
    let first = hear.recv_timeout(Duration::from_secs(2)).expect("at once, not after the others");
    assert_eq!(first, (503, "too many wait to prove who they are".into()));
    // Meanwhile everybody else is served.
    assert_eq!(curl(&server, "/ahm/login", &[]).0, 200);
    let rest: Vec<_> =
        (1..6).map(|_| hear.recv_timeout(Duration::from_secs(20)).unwrap()).collect();
    assert!(rest.iter().all(|(status, _)| *status == 503), "{rest:?}");
    let silent = |(_, detail): &&(u16, String)| detail.contains("does not answer");
    let given_up = rest.iter().filter(silent).count();
    assert!((1..=2).contains(&given_up), "{rest:?}");
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert!(counter(&server, "ahm_auth_busy_total") >= 4);
    assert_eq!(counter(&server, "ahm_auth_silent_total"), given_up as u64);
}

//! What is secret is written nowhere.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::support::{Peer, Place, curl_at};

/// Everything that is secret is said once, in each way.
fn talk(address: SocketAddr) {
    let token = "Authorization: Bearer sesame.sesame.sesame";
    for (target, arguments, wanted) in [
        ("/ahm/login", &["-u", "anna:sesame-right"][..], 200),
        ("/ahm/login", &["-u", "anna:sesame-wrong"], 401),
        ("/ahm/login", &["-H", "Authorization: Basic sesame!"], 401),
        ("/ahm/login", &["-H", token], 401),
        ("/ahm/login?auth=site", &["-b", "sid=sesame"], 200),
        ("/ahm/login?auth=site", &["-H", token], 503),
        ("/ahm/login?auth=check", &["-u", "anna:sesame-right"], 503),
        ("/private/page", &["-u", "anna:sesame-right"], 200),
        ("/private/page", &["-u", "anna:sesame-wrong"], 401),
    ] {
        let (status, text) = curl_at(address, target, arguments);
        assert_eq!(status, wanted, "{target} {arguments:?}: {text}");
    }
    let (_, metrics) = curl_at(address, "/ahm/ping", &[]);
    assert!(!metrics.contains("sesame"));
}

#[test]
fn the_most_talkative_log_has_no_secret_in_it() {
    let place = Place::new();
    let site = Peer::python(
        &place,
        "def answer(self, fields):\n    self.say(200, '{\"user\":\"anna\",\"key\":\"sesame-key\"}' \
         if 'cookie' in fields else 'sesame-answer')",
    );
    let hash = bcrypt::hash("sesame-right", 4).unwrap();
    let file = place.write("htpasswd", &format!("anna:{hash}\n"));
    let key = place.write("key", "sesame-secret-of-thirty-two-bytes-or-more");
    let program = place.program("check", "echo sesame-output; exit 0");
    let set = |key: &str, value: &str| ["--set".to_owned(), format!("{key}={value}")];
    let mut child = Command::new(env!("CARGO_BIN_EXE_ahm"))
        .args(["serve", "--listen", "127.0.0.1:0", "--private", "127.0.0.1:0"])
        .args(["--log-level", "trace"])
        .args(set("relay.to", &format!("http://{}", site.address)))
        .args(set("auth.htpasswd", &file))
        .args(set("auth.tokens", &key))
        .args(set("auth.scripts", "site=/who:get"))
        .args(set("auth.programs", &format!("check={program}")))
        .args(set("auth.guard", "/private/=any|site"))
        .args(set("relay.log", "text"))
        .env("AHM_REGISTRY_LISTEN", "off")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut errors = child.stderr.take().unwrap();
    let read = std::thread::spawn(move || {
        let mut said = String::new();
        errors.read_to_string(&mut said).unwrap();
        said
    });
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim_end().strip_prefix("listening http://").unwrap().parse().unwrap();
    talk(address);
    let sent = Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())]).status();
    assert!(sent.unwrap().success());
    assert!(child.wait().unwrap().success());
    let said = read.join().unwrap();
    assert!(said.contains("TRACE") || said.contains("DEBUG"), "{said}");
    assert!(said.contains("auth: check: "), "that the program makes no sense is told: {said}");
    // Neither as it is, nor as HTTP Basic has it.
    let encoded = "YW5uYTpzZXNhbWU";
    assert!(!said.contains("sesame") && !said.contains(encoded), "{said}");
}

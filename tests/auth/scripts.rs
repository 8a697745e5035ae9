//! A script on the web server says who a client is.

use std::io::Write as _;
use std::net::TcpListener;

use crate::certificates::certify;
use crate::support::{Peer, Place, counter, curl, json, server};

const SITE: &str = r#"
def answer(self, fields):
    path = self.path.split("?")[0]
    if path == "/page":
        return self.say(200, "page for " + str(self.headers.get("X-Forwarded-User")), "text/plain")
    if path == "/cookie":
        if self.headers.get("Cookie") != fields.get("cookie"):
            return self.say(500, "")
        if fields.get("cookie") == "sid=anna":
            said = '{"user":"anna","groups":["traders"],"rights":["fx/*"],"expires":100,"key":"k1"}'
            return self.say(200, said)
        return self.say(401, '{"refuse":"log in at the site first"}')
    if path == "/password":
        if (fields.get("user"), fields.get("password")) == ("anna", "s3cret&=\u00e4"):
            return self.say(200, "user=anna&groups=a&groups=b", "text/plain")
        return self.say(403, "refuse=wrong+password", "text/plain")
    if path == "/pair":
        return self.say(200, '{"user":"' + fields["agent"] + '","password":"s3cret"}')
    if path == "/html":
        return self.say(200, "<html>please log in</html>", "text/html")
    if path == "/long":
        return self.say(200, "user=a&key=" + "x" * 100000)
    self.say(404, "")
"#;

#[test]
fn what_the_script_says_counts() {
    let place = Place::new();
    let site = Peer::python(&place, SITE);
    let hash = bcrypt::hash("s3cret", 4).unwrap();
    let file = place.write("htpasswd", &format!("pat:{hash}"));
    let server = server(|config| {
        config.relay.to = vec![format!("http://{}", site.address)];
        config.auth.htpasswd = file;
        config.auth.required = true;
        config.auth.scripts = [
            "cookie=/cookie",
            "get=/cookie?x=1:get",
            "password=/password:post",
            "pair=/pair",
            "html=/html",
            "long=/long",
            "none=/none",
        ]
        .map(Into::into)
        .into();
        config.auth.guard = vec!["/page/=cookie".into()];
    });
    let login = |way: &str, arguments: &[&str]| {
        let (status, text) = curl(&server, &format!("/ahm/login?auth={way}"), arguments);
        (status, json(&text), text)
    };
    for way in ["cookie", "get"] {
        let (status, answer, text) = login(way, &["-b", "sid=anna"]);
        assert_eq!(
            (status, &answer["user"], &answer["key"]),
            (200, &"anna".into(), &"k1".into()),
            "{text}"
        );
        let (status, answer, text) = login(way, &["-b", "sid=other"]);
        assert_eq!(
            (status, &answer["detail"]),
            (401, &"log in at the site first".into()),
            "{text}"
        );
        assert!(text.contains(&format!("WWW-Authenticate: AHM realm=\"ahm\", auth=\"{way}\"")));
    }
    let (status, answer, text) = login("password", &["-u", "anna:s3cret&=\u{e4}"]);
    assert_eq!((status, &answer["user"]), (200, &"anna".into()), "{text}");
    let (status, answer, text) = login("password", &["-u", "anna:other"]);
    assert_eq!((status, &answer["detail"]), (403, &"wrong password".into()), "{text}");
    // A script that names user and password leaves the proof to the file.
    assert_eq!(login("pair", &["-A", "pat"]).0, 200);
    assert_eq!(login("pair", &["-A", "anna"]).0, 401);
    for way in ["html", "long", "none"] {
        let (status, answer, text) = login(way, &[]);
        assert_eq!((status, &answer["error"]), (503, &"busy".into()), "{way}: {text}");
    }
    assert_eq!(login("other", &[]).0, 400);
    // The same word lets into a part of the site.
    assert_eq!(curl(&server, "/page", &["-b", "sid=other"]).0, 401);
    let (status, text) = curl(&server, "/page", &["-b", "sid=anna"]);
    assert!(status == 200 && text.ends_with("page for anna"), "{text}");
    assert_eq!(counter(&server, "ahm_auth_proved_script_total"), 5);
    assert_eq!(counter(&server, "ahm_auth_silent_total"), 3);
}

#[test]
fn a_web_server_that_says_nothing_or_nonsense_lets_nobody_in() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let odd = TcpListener::bind("127.0.0.1:0").unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let odd_address = odd.local_addr().unwrap();
    std::thread::spawn(move || {
        let answers: [&[u8]; 3] = [
            b"SSH-2.0-x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nuser=anna",
            b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nContent-Length: 4\r\n\r\nuser=anna",
        ];
        for answer in answers {
            let (mut stream, _) = odd.accept().unwrap();
            let mut request = [0; 4_096];
            let _ = std::io::Read::read(&mut stream, &mut request);
            stream.write_all(answer).unwrap();
        }
    });
    for (address, times) in [(gone, 1), (odd_address, 3), (silent.local_addr().unwrap(), 1)] {
        let server = server(|config| {
            config.relay.to = vec![format!("http://{address}")];
            config.auth.scripts = vec!["site=/who".into()];
            config.auth.timeout = ahm::base::time::Span::from_millis(500);
        });
        for _ in 0..times {
            let (status, text) = curl(&server, "/ahm/login?auth=site", &["-b", "sid=anna"]);
            assert_eq!(status, 503, "{text}");
            assert!(text.contains("does not answer"), "{text}");
        }
    }
}

#[test]
fn a_script_behind_tls_must_prove_its_name() {
    let place = Place::new();
    certify(&place);
    let tls = format!("TLS = ({:?}, {:?})", place.path("server.pem"), place.path("server.key"));
    let site = Peer::python(&place, &format!("{tls}\n{SITE}"));
    let other = Place::new();
    certify(&other);
    let ask = |authorities: String, name: &str, way: &str, arguments: &[&str]| {
        let server = server(|config| {
            config.relay.to = vec![format!("https://{}", site.address)];
            config.relay.authorities = authorities;
            config.relay.server_name = name.into();
            config.auth.scripts =
                ["cookie=/cookie", "get=/cookie?x=1:get", "password=/password", "long=/long"]
                    .map(Into::into)
                    .into();
        });
        curl(&server, &format!("/ahm/login?auth={way}"), arguments)
    };
    let ca = || place.path("ca.out");
    for way in ["cookie", "get"] {
        let (status, text) = ask(ca(), "", way, &["-b", "sid=anna"]);
        assert_eq!(status, 200, "{text}");
        assert_eq!(json(&text)["user"], "anna");
        assert_eq!(ask(ca(), "", way, &["-b", "sid=eve"]).0, 401);
    }
    assert_eq!(ask(ca(), "", "password", &["-u", "anna:s3cret&=\u{e4}"]).0, 200);
    assert_eq!(ask(ca(), "", "long", &[]).0, 503, "an answer is bounded as ever");
    for (authorities, name) in [(other.path("ca.out"), ""), (ca(), "web.example")] {
        let (status, text) = ask(authorities, name, "cookie", &["-b", "sid=anna"]);
        assert_eq!(status, 503, "{text}");
        assert!(text.contains("does not answer"), "{text}");
    }
}

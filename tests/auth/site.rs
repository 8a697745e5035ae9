//! nginx as the web site, with a few lines of Python behind it: the site knows its users by a
//! cookie, and we ask it.

use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{Peer, Place, curl, json, server, session};

/// nginx, on a Unix socket in its own directory.
struct Nginx(Child);

impl Nginx {
    fn start(place: &Place, script: &Peer) -> Self {
        let (at, socket) = (place.path(""), place.path("site.sock"));
        let script = script.address;
        place.write("index.html", "the front page");
        let config = place.write(
            "nginx.conf",
            &format!(
                "daemon off; pid {at}/pid; error_log stderr; worker_processes 1;
                events {{}}
                http {{
                  access_log off;
                  client_body_temp_path {at}/body; proxy_temp_path {at}/proxy;
                  fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;
                  server {{
                    listen unix:{socket};
                    location / {{ root {at}; add_header X-User $http_x_forwarded_user; }}
                    location /auth {{ proxy_pass http://{script}; }}
                  }}
                }}"
            ),
        );
        let child = Command::new("nginx")
            .args(["-c", &config, "-p", &at, "-e", "stderr"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("nginx: {error}"));
        let nginx = Self(child);
        let until = Instant::now() + Duration::from_secs(20);
        // It has no way to say that it listens, but that it does.
        while UnixStream::connect(&socket).is_err() {
            assert!(Instant::now() < until, "nginx does not listen");
            std::thread::yield_now();
        }
        nginx
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // So that it takes its worker along.
        let id = self.0.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        let _ = self.0.wait();
    }
}

const SCRIPT: &str = r#"
users = {"31c5": "anna", "7b02": "berta"}

def answer(self, fields):
    cookies = dict(part.strip().split("=", 1) for part in fields.get("cookie", "=").split(";"))
    user = users.get(cookies.get("sid"))
    if user is None:
        return self.say(401, '{"refuse":"no session of the site"}')
    if fields.get("resource") == "secret" and user != "anna":
        return self.say(403, '{"refuse":"not for ' + user + '"}')
    self.say(200, '{"user":"' + user + '","groups":["site"],"expires":3600}')
"#;

#[test]
fn the_site_behind_nginx_says_who_its_users_are() {
    let place = Place::new();
    let script = Peer::python(&place, SCRIPT);
    let _nginx = Nginx::start(&place, &script);
    let socket = place.path("site.sock");
    for method in ["post", "get"] {
        let server = server(|config| {
            config.relay.to = vec![format!("unix:{socket}")];
            config.auth.scripts = vec![format!("site=/auth/who:{method}")];
            config.auth.guard = vec!["/members/=site".into()];
            config.auth.required = true;
        });
        let anna = ["-b", "lang=de; sid=31c5"];
        let (status, text) = curl(&server, "/ahm/login?auth=site", &anna);
        assert_eq!((status, &json(&text)["user"]), (200, &"anna".into()), "{text}");
        let open = format!("/ahm/open?{}&resource=fx&subject=EURUSD", session(&text));
        assert_eq!(curl(&server, &open, &[]).0, 200);
        let berta = ["-b", "sid=7b02"];
        let (status, text) = curl(&server, "/ahm/login?auth=site&resource=secret", &berta);
        assert_eq!((status, &json(&text)["detail"]), (403, &"not for berta".into()), "{text}");
        let (status, text) = curl(&server, "/ahm/login?auth=site", &["-b", "sid=0000"]);
        assert_eq!((status, &json(&text)["detail"]), (401, &"no session of the site".into()));
        // The site itself, open and guarded.
        let (status, text) = curl(&server, "/index.html", &[]);
        assert!(status == 200 && text.ends_with("the front page"), "{text}");
        assert_eq!(curl(&server, "/members/../index.html", &["--path-as-is"]).0, 401);
        let known = [&["--path-as-is"], &berta[..]].concat();
        let (status, text) = curl(&server, "/members/../index.html", &known);
        assert!(status == 200 && text.contains("X-User: berta\r\n"), "{text}");
    }
}

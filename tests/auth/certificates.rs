//! Certificates of clients, made by OpenSSL and shown by curl.

use ahm::server::builder::Server;

use crate::support::{Place, counter, curl_url, json, output, server, session};

/// An authority, and what it has certified: a server and some clients.
pub fn certify(place: &Place) {
    let file = |name: &str| place.path(name);
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let new = |name: &str, subject: &str, more: &[&str]| {
        let (at, to) = (file(&format!("{name}.key")), file(&format!("{name}.out")));
        output(
            "openssl",
            &[&["req", "-subj", subject, "-keyout", &at, "-out", &to], &key[..], more].concat(),
        );
        to
    };
    let authority = new("ca", "/CN=test authority", &["-x509", "-days", "30"]);
    let authority_key = file("ca.key");
    for (name, subject, names) in [
        ("server", "/CN=server", "IP:127.0.0.1"),
        ("anna", "/O=Example/CN=anna", "email:anna@example.org,DNS:a.example"),
        ("berta", "/CN=berta", "email:berta@example.org"),
    ] {
        let request = new(name, subject, &[]);
        let extensions = place.write("extensions", &format!("subjectAltName={names}\n"));
        let certificate = file(&format!("{name}.pem"));
        output(
            "openssl",
            &[
                "x509",
                "-req",
                "-in",
                &request,
                "-CA",
                &authority,
                "-CAkey",
                &authority_key,
                "-days",
                "20",
                "-extfile",
                &extensions,
                "-out",
                &certificate,
            ],
        );
    }
}

fn with_certificates(place: &Place, naming: &str) -> Server {
    certify(place);
    let program = place.program(
        "check",
        "[ \"$AHM_TRANSPORT\" = tls ] || exit 1\n\
         case $AHM_CERTIFICATE_PEM in *'-----BEGIN CERTIFICATE-----'*) ;; *) exit 1;; esac\n\
         echo \"user=$AHM_CERTIFICATE_EMAIL of $AHM_CERTIFICATE_DNS\"",
    );
    server(|config| {
        config.listen = vec!["127.0.0.1:0:tls=optional".parse().unwrap()];
        let (chain, key) = (place.path("server.pem"), place.path("server.key"));
        config.tls.certificates = vec![format!("{chain} {key}")];
        config.tls.client_authorities = place.path("ca.out");
        let named = ahm::auth::certificate::Naming::ALL.into_iter();
        config.auth.certificates = named.into_iter().find(|one| one.word() == naming).unwrap();
        config.auth.programs = vec![format!("check={program}")];
        config.auth.required = true;
    })
}

#[test]
fn a_certificate_is_enough_and_its_session_is_its_own() {
    let place = Place::new();
    let server = with_certificates(&place, "cn");
    let address = server.public_addrs()[0];
    let authority = place.path("ca.out");
    let ask = |target: &str, who: Option<&str>| {
        let mut arguments = vec!["--cacert".to_owned(), authority.clone()];
        if let Some(who) = who {
            let (certificate, key) = (format!("{who}.pem"), format!("{who}.key"));
            arguments.extend(["--cert".to_owned(), place.path(&certificate)]);
            arguments.extend(["--key".to_owned(), place.path(&key)]);
        }
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        curl_url(&format!("https://{address}{target}"), &arguments)
    };
    let (status, text) = ask("/ahm/login", None);
    assert!(status == 401 && text.contains("WWW-Authenticate: AHM realm=\"ahm\""), "{text}");
    let (status, text) = ask("/ahm/login", Some("anna"));
    assert_eq!((status, &json(&text)["user"]), (200, &"anna".into()), "{text}");
    assert!(json(&text)["expires"].is_u64(), "its end is the certificate's: {text}");
    let ping = format!("/ahm/ping?{}", session(&text));
    assert_eq!(ask(&ping, Some("berta")).0, 403);
    assert_eq!(ask(&ping, Some("anna")).0, 200);
    assert_eq!(ask(&ping, None).0, 200, "the key is enough");
    let (status, text) = ask("/ahm/login?auth=check", Some("anna"));
    let wanted = "anna@example.org of a.example";
    assert_eq!((status, &json(&text)["user"]), (200, &wanted.into()), "{text}");
    assert_eq!(ask("/ahm/login?auth=check", None).0, 403);
    assert_eq!(counter(&server, "ahm_auth_proved_certificate_total"), 3);
}

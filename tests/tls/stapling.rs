//! OCSP answers that go with certificates: made by OpenSSL without a responder on any network,
//! and read by its client.

use std::process::{Command, Stdio};

use crate::authority::Authority;
use crate::peers::{openssl, text};
use crate::serving::server;

/// What the authority says of the certificate in `a.pem`, as a line of OpenSSL's index says it.
fn answer(authority: &Authority, standing: &str) -> String {
    let index = authority.path("index.txt");
    std::fs::write(&index, format!("{standing}\t01\tunknown\t/CN=a.example\n")).unwrap();
    std::fs::write(format!("{index}.attr"), "unique_subject = no\n").unwrap();
    let (request, made) = (authority.path("request.der"), authority.path("made.der"));
    let (ca, key, certificate) =
        (authority.file(), authority.path("ca.key"), authority.path("a.pem"));
    let ask = ["-issuer", &ca, "-cert", &certificate, "-no_nonce", "-reqout", &request];
    let say = ["-index", &index, "-CA", &ca, "-rsigner", &ca, "-rkey", &key, "-ndays", "7"];
    for arguments in [&ask[..], &[&say[..], &["-reqin", &request, "-respout", &made]].concat()] {
        let mut openssl = Command::new("openssl");
        let done = openssl.arg("ocsp").args(arguments).stdin(Stdio::null()).output();
        let done = done.expect("openssl");
        assert!(done.status.success(), "{arguments:?}: {}", text(&done));
    }
    let path = authority.path("a.ocsp");
    std::fs::rename(made, &path).unwrap();
    path
}

const GOOD: &str = "V\t460101000000Z\t";
const REVOKED: &str = "R\t460101000000Z\t260101000000Z";

#[test]
fn an_answer_of_the_authority_is_sent_along_and_replaced() {
    let authority = Authority::new("Ours");
    let plain = authority.server("b", &["b.example"]);
    let files = authority.server("a", &["a.example"]);
    let certificates = vec![format!("{files} {}", answer(&authority, GOOD)), plain];
    let server = server(&["127.0.0.1:0:tls"], |config| config.tls.certificates = certificates);
    let (address, ca) = (server.public_addrs()[0], authority.file());
    let says = |name: &str, version: &str| {
        openssl(address, name, &["-status", "-CAfile", &ca, "-verify_return_error", version])
    };
    let all = |what: &str| {
        for version in ["-tls1_2", "-tls1_3"] {
            let said = says("a.example", version);
            assert!(said.contains("OCSP Response Status: successful"), "{version}: {said}");
            assert!(said.contains(what), "{version}: {said}");
        }
    };
    all("Cert Status: good");
    // It belongs to one certificate; the other has none.
    let said = says("b.example", "-tls1_3");
    assert!(said.contains("OCSP response: no response sent"), "{said}");
    // Nobody is sent what did not ask for it.
    let said = openssl(address, "a.example", &["-CAfile", &ca]);
    assert!(!said.contains("OCSP Response"), "{said}");
    answer(&authority, REVOKED);
    all("Cert Status: good");
    server.handle().reload().unwrap();
    all("Cert Status: revoked");
    // What no client could use is not sent, and everything stays as it was: an answer in PEM, one
    // that is half written, and one by which the authority refuses (tryLater).
    let path = authority.path("a.ocsp");
    let whole = std::fs::read(&path).unwrap();
    let pem = b"-----BEGIN OCSP RESPONSE-----\n".to_vec();
    let half = whole[..whole.len() / 2].to_vec();
    for rubbish in [Vec::new(), pem, half, vec![0x30, 3, 10, 1, 3]] {
        std::fs::write(&path, &rubbish).unwrap();
        let said = server.handle().reload().map_err(|error| error.to_string());
        assert!(said.as_ref().is_err_and(|said| said.contains("a.ocsp: ")), "{said:?}");
    }
    all("Cert Status: revoked");
    // So it does without the file.
    std::fs::remove_file(authority.path("a.ocsp")).unwrap();
    assert!(server.handle().reload().unwrap_err().to_string().contains("a.ocsp"));
    all("Cert Status: revoked");
    server.stop();
}

//! What OpenSSL's client does to the keys of a connection while a stream runs along it.

use crate::authority::Authority;
use crate::peers::Typist;
use crate::serving::{publish, server};

const GET: &str = "GET /ahm/mux.html?open=fx/EURUSD HTTP/1.1\r\nHost: a.example\r\n\r\n";

#[test]
fn keys_are_renewed_under_a_stream() {
    let authority = Authority::new("Ours");
    let certificates = vec![authority.server("a", &["a.example"])];
    let server = server(&["127.0.0.1:0:tls"], |config| config.tls.certificates = certificates);
    let mut typist = Typist::commanding(server.public_addrs()[0], "a.example", &["-tls1_3"]);
    typist.send(GET);
    typist.line_with("<p o ");
    // RFC 8446, 4.6.3: `k` renews the client's own, `K` asks for the server's too.
    for (n, command) in ["K\n", "k\n", "K\n", "K\n", "k\n"].into_iter().enumerate() {
        typist.send(command);
        typist.line_with("KEYUPDATE");
        publish(&server, &format!("after {n}"));
        typist.line_with(&format!(">after {n}"));
    }
    let stats = server.stop();
    assert_eq!((stats.handshakes, stats.handshakes_failed), (1, 0), "{stats}");
}

#[test]
fn nobody_negotiates_anew() {
    let authority = Authority::new("Ours");
    let certificates = vec![authority.server("a", &["a.example"])];
    let server = server(&["127.0.0.1:0:tls"], |config| config.tls.certificates = certificates);
    let mut typist = Typist::commanding(server.public_addrs()[0], "a.example", &["-tls1_2"]);
    typist.send(GET);
    typist.line_with("<p o ");
    typist.send("R\n");
    typist.line_with("RENEGOTIATING");
    typist.line_with("no renegotiation");
    server.stop();
}

//! Hostile and odd answers of web servers, and what a client gets of each. The number at the head
//! of each row is the line of `ahm::manual::http_pitfalls` that it covers (0: none of them).

use std::io::Write as _;

use crate::recorder::Recorder;
use crate::support::{Client, server};

/// How the client asks: by GET, by HEAD, or in HTTP/1.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Get,
    Head,
    Old,
}

/// The line, how the client asks, what the web server answers before it closes, and what the client
/// gets: the status and the body, `cut` where the answer must look cut short.
const ROWS: &[(u8, Ask, &str, &str)] = &[
    (0, Ask::Get, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "200 hi"),
    (0, Ask::Get, "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nhi", "200 hi"),
    (0, Ask::Get, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "200 "),
    (0, Ask::Get, "HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nhi", "500 hi"),
    (
        0,
        Ask::Get,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "200 hi",
    ),
    (0, Ask::Get, "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", "200 hi"),
    (0, Ask::Get, "HTTP/1.0 200 OK\r\n\r\nhi", "200 hi"),
    (0, Ask::Get, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhi", "200 hi"),
    (0, Ask::Get, "HTTP/1.1 200 OK\r\n\r\n", "200 "),
    (
        10,
        Ask::Get,
        "HTTP/1.1 103 E\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        "103 200 hi",
    ),
    (
        10,
        Ask::Old,
        "HTTP/1.1 103 E\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        "200 hi",
    ),
    (
        10,
        Ask::Get,
        "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        "200 hi",
    ),
    (14, Ask::Get, "HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhi", "502"),
    (15, Ask::Head, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", "200 "),
    (15, Ask::Head, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "200 "),
    (15, Ask::Head, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "200 "),
    (15, Ask::Get, "HTTP/1.1 204 N\r\nContent-Length: 2\r\n\r\nhi", "204 "),
    (15, Ask::Get, "HTTP/1.1 204 N\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "204 "),
    (15, Ask::Get, "HTTP/1.1 304 N\r\nContent-Length: 2\r\n\r\nhi", "304 "),
    (16, Ask::Get, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", "200 cut"),
    (16, Ask::Get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", "200 cut"),
    (
        16,
        Ask::Get,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n",
        "200 cut",
    ),
    (16, Ask::Get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhix", "200 cut"),
    (16, Ask::Old, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n", "200 cut"),
    (16, Ask::Get, "", "502"),
    (16, Ask::Get, "HTTP/1.1 20", "502"),
    (16, Ask::Get, "HTTP/1.1 200 OK\r\nContent-Le", "502"),
    (16, Ask::Get, "SSH-2.0-x\r\n\r\n", "502"),
    (16, Ask::Get, "HTTP/1.1 2000 OK\r\n\r\n", "502"),
    (16, Ask::Get, "HTTP/2 200 OK\r\n\r\n", "502"),
    (16, Ask::Get, "HTTP/1.1 200 OK\r\nX y\r\n\r\n", "502"),
    (16, Ask::Get, "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", "502"),
    (16, Ask::Get, "HTTP/1.1 200 OK\nContent-Length: 2\n\nhi", "502"),
    (16, Ask::Get, "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\n\r\n", "502"),
    (16, Ask::Get, "HTTP/1.1 200 OK\r\nX: \0\r\n\r\n", "502"),
    (17, Ask::Get, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi", "502"),
    (17, Ask::Get, "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nhi", "502"),
    (17, Ask::Get, "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nhi", "502"),
    (
        17,
        Ask::Get,
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "502",
    ),
    (17, Ask::Get, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "502"),
    (17, Ask::Get, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "502"),
    (
        17,
        Ask::Get,
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi\
         HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
        "200 hi",
    ),
    (
        18,
        Ask::Old,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "200 hi",
    ),
    (18, Ask::Old, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhi", "200 hi"),
];

fn ask(client: &mut Client, ask: Ask, target: &str) -> String {
    let (method, version) = match ask {
        Ask::Get => ("GET", "1.1"),
        Ask::Head => ("HEAD", "1.1"),
        Ask::Old => ("GET", "1.0"),
    };
    client.send(format!("{method} {target} HTTP/{version}\r\nHost: example.org\r\n\r\n"));
    let mut statuses = Vec::new();
    loop {
        let Ok(head) = client.try_head() else {
            statuses.push("cut".into());
            return statuses.join(" ");
        };
        let status: u16 = head[9..12].parse().unwrap();
        statuses.push(status.to_string());
        if status < 200 {
            continue;
        }
        assert!(ask != Ask::Old || !head.contains("chunked"), "{head}");
        assert!(status != 204 || !head.contains("Content-Length"), "{head}");
        assert_eq!(head.matches("Date: ").count(), 1, "{head}");
        if status == 502 {
            return "502".into();
        }
        let body = client.try_body(head, ask == Ask::Head);
        statuses.push(body.map_or_else(|_| "cut".into(), |answer| answer.text().to_owned()));
        return statuses.join(" ");
    }
}

#[test]
fn a_client_gets_the_answer_or_an_error() {
    let recorder = Recorder::answering(|head, stream| {
        let row = head[5..].split(' ').next().and_then(|row| row.parse::<usize>().ok());
        match row.and_then(|row| ROWS.get(row)) {
            Some((_, _, answer, _)) => {
                // Byte by byte: it must not matter how it comes.
                answer.as_bytes().iter().all(|byte| stream.write_all(&[*byte]).is_ok());
                false
            }
            None => stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").is_ok(),
        }
    });
    let server = server(&[recorder.address], |_| ());
    let address = server.public_addrs()[0];
    let mut wrong = Vec::new();
    for (index, (line, how, answer, wanted)) in ROWS.iter().enumerate() {
        let mut client = Client::connect(address);
        // First another request, so that it is a connection that was kept.
        assert_eq!(client.get("/ok").text(), "ok");
        let got = ask(&mut client, *how, &format!("/{index}"));
        // Where only a reset shows that something is missing, that may come before all else.
        let is_reset = *how == Ask::Old && got == "cut" && wanted.ends_with("cut");
        if got != *wanted && !is_reset {
            wrong.push(format!("{line}: {answer:?}: {got}, not {wanted}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

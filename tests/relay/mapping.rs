//! URLs that clients know and web servers do not: on the way in, and on the way back.

use std::io::Write as _;

use crate::recorder::Recorder;
use crate::support::{Client, server};

const RULES: [&str; 2] = ["/shop/ => inner.example/app/", "partner.example/ => /p/"];

/// A page in two chunks whose border runs through a link, or what the path names.
fn site() -> Recorder {
    Recorder::answering(|head, stream| {
        let path = head.split(' ').nth(1).unwrap();
        let answer: &[u8] = match path {
            "/app/page" => {
                b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nETag: \"1\"\r\n\
                Accept-Ranges: bytes\r\nTransfer-Encoding: chunked\r\n\r\n\
                0d\r\n<a href='/app\r\n15\r\n/next'>/app/next</a>\n\r\n0\r\n\r\n"
            }
            "/app/sized" => {
                b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\
                Content-Length: 18\r\n\r\n<img src='/app/i'>"
            }
            "/app/text" => {
                b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 16\r\n\r\n\
                <a href='/app/'>"
            }
            "/app/part" => {
                b"HTTP/1.1 206 OK\r\nContent-Type: text/html\r\nContent-Range: bytes 0-15/99\r\n\
                Content-Length: 16\r\n\r\n<a href='/app/'>"
            }
            _ => {
                b"HTTP/1.1 302 Found\r\nLocation: http://inner.example/app/in?a=1\r\n\
                Content-Location: /app/here\r\nRefresh: 3; url=/app/later\r\n\
                Link: </app/a.css>; rel=preload, <https://else.example/>; rel=x\r\n\
                Set-Cookie: a=1; Path=/app/; Domain=inner.example; HttpOnly\r\n\
                Set-Cookie: b=2; Path=/other\r\nContent-Length: 0\r\n\r\n"
            }
        };
        stream.write_all(answer).is_ok()
    })
}

#[test]
fn the_web_server_is_asked_for_what_it_knows() {
    let site = Recorder::start();
    let server = server(&[site.address], |config| config.relay.map = RULES.map(Into::into).into());
    let mut client = Client::connect(server.public_addrs()[0]);
    for (target, host, asked, told) in [
        ("/shop/x?y=/shop/", "www.example", "/app/x?y=/shop/", "inner.example"),
        ("/shop", "www.example", "/app", "inner.example"),
        ("/shopping", "www.example", "/shopping", "www.example"),
        ("/x", "Partner.example:8080", "/p/x", "Partner.example:8080"),
    ] {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(client.answer().status, 200);
        let seen = site.request();
        assert_eq!(seen.short(), format!("GET {asked}"));
        assert_eq!(seen.field("Host"), Some(told), "{target}");
        assert_eq!(seen.field("X-Forwarded-Host"), Some(host));
        assert_eq!(seen.field("Accept-Encoding"), None);
    }
}

#[test]
fn what_names_urls_comes_back_as_clients_know_it() {
    let site = site();
    let server = server(&[site.address], |config| config.relay.map = RULES.map(Into::into).into());
    let mut client = Client::connect(server.public_addrs()[0]);
    client.send("GET /shop/go HTTP/1.1\r\nHost: www.example\r\n\r\n");
    let answer = client.answer();
    for (name, value) in [
        ("Location", "http://www.example/shop/in?a=1"),
        ("Content-Location", "/shop/here"),
        ("Refresh", "3; url=/shop/later"),
        ("Link", "</shop/a.css>; rel=preload, <https://else.example/>; rel=x"),
        ("Set-Cookie", "a=1; Path=/shop/; HttpOnly"),
    ] {
        assert_eq!(answer.field(name), Some(value), "{}", answer.head);
    }
    assert!(answer.head.contains("\r\nSet-Cookie: b=2; Path=/other\r\n"), "{}", answer.head);
    // Pages are left alone unless that is asked for.
    client.send("GET /shop/sized HTTP/1.1\r\nHost: www.example\r\n\r\n");
    assert_eq!(client.answer().text(), "<img src='/app/i'>");
}

#[test]
fn links_in_pages_are_mapped_where_that_is_asked_for() {
    let site = site();
    let server = server(&[site.address], |config| {
        config.relay.map = RULES.map(Into::into).into();
        config.relay.map_pages = true;
    });
    let mut client = Client::connect(server.public_addrs()[0]);
    let mut ask = |method: &str, path: &str, version: &str| {
        let fields = "Host: www.example\r\nAccept-Encoding: gzip, br\r\nConnection: keep-alive";
        client.send(format!("{method} {path} {version}\r\n{fields}\r\n\r\n"));
        let head = client.head();
        client.try_body(head, method == "HEAD").unwrap()
    };
    let page = ask("GET", "/shop/page", "HTTP/1.1");
    assert_eq!(page.text(), "<a href=\"/shop/next\">/app/next</a>\n");
    assert_eq!((page.field("ETag"), page.field("Accept-Ranges")), (Some("W/\"1\""), None));
    assert_eq!(site.request().field("Accept-Encoding"), Some("identity"));
    let sized = ask("GET", "/shop/sized", "HTTP/1.1");
    assert_eq!((sized.text(), sized.field("Content-Length")), ("<img src=\"/shop/i\">", None));
    let head = ask("HEAD", "/shop/sized", "HTTP/1.1");
    assert_eq!((head.status, head.field("Content-Length")), (200, None));
    for path in ["/shop/text", "/shop/part"] {
        assert_eq!(ask("GET", path, "HTTP/1.1").text(), "<a href='/app/'>", "{path}");
    }
    // Who knows no chunks gets the page up to the end of the connection.
    let old = ask("GET", "/shop/sized", "HTTP/1.0");
    assert_eq!(old.text(), "<img src=\"/shop/i\">");
    assert_eq!(old.field("Connection"), Some("close"));
}

//! Every request, cut at every byte: the same answers come back.

use ahm::base::id::ConnKey;
use ahm::proto::connection::Door;

use crate::desk::{Desk, attribute};

/// Requests on the public door. `{s}` stands for a session's `mid` and `k`, `{m}` for its `mid`,
/// `{k}` for its key; channel 7 is on `feed/s1`, channel 8 on `echo/x`.
const PUBLIC: &[&str] = &[
    "GET /ahm/ping?t=1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /ahm/ping HTTP/1.0\r\n\r\n",
    "GET /ahm/ping?t=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\n",
    "\r\nGET /ahm/ping?{s} HTTP/1.1\r\nHost: a\r\n\r\nGET /ahm/ping?t=2 HTTP/1.1\r\n\
     Host: a\r\n\r\n",
    "HEAD /ahm/ping HTTP/1.1\r\nHost: a\r\n\r\n",
    "OPTIONS /ahm/send HTTP/1.1\r\nHost: a\r\nOrigin: http://a\r\n\r\n",
    "GET /ahm/login HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /ahm/login?resource=none HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /ahm/mux.html?open=feed/s1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /ahm/mux.html?open=feed/s1;since=0:0&length=large HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /ahm/mux.html?{s}&last= HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /ahm/refresh.html?mid={m} HTTP/1.1\r\nHost: a\r\nAHM-Key: {k}\r\n\
     Content-Length: 5\r\n\r\n7:1:1",
    "GET /ahm/refresh.html HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /ahm/open?resource=feed&subject=p1&cid=9&{s} HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /ahm/open?resource=none&{s} HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /ahm/open?resource=raw&subject=*&{s} HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /ahm/send?cid=8&n=1&data=%66oo&{s} HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /ahm/send?cid=8&n=2&data=later&{s} HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /ahm/send?cid=8&n=900&data=far&{s} HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /ahm/send?cid=7&n=1&data=no&{s} HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /ahm/send?cid=8&n=1&{s} HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /ahm/send?cid=8&n=1&{s} HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /ahm/send?cid=8&n=1&{s} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
     2;x=y\r\nhi\r\n0\r\nTrailer: x\r\n\r\n",
    "POST /ahm/send?cid=8&n=1&{s} HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\
     Content-Length: 2\r\n\r\nhiGET /ahm/ping HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /ahm/batch?{s} HTTP/1.1\r\nHost: a\r\nContent-Length: 47\r\n\r\n\
     ping?t=1\r\n\nclose?cid=99\nmux.html\nsend?cid=8&n=1&data=x",
    "GET /ahm/close?cid=7&{s} HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /ahm/logout?{s} HTTP/1.1\r\nHost: a\r\n\r\nGET /ahm/logout?{s} HTTP/1.1\r\n\
     Host: a\r\n\r\n",
    "GET /ahm/logout?mid={m}&k=wrong HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /ahm/logout?mid={m}&k={k}&scs=other HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /ahm/history?resource=feed&subject=s1&limit=2 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /ahm/history?resource=feed&subject=none HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /ahm/client.js HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /ahm/poll.html HTTP/1.1\r\nHost: a\r\n\r\n",
    "PUT /ahm/ping HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
    "GET /else HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /ahm/ping HTTP/1.1\r\n\r\n",
    "GET /ahm/ping HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "GET /ahm/ping HTTP/2.0\r\nHost: a\r\n\r\n",
    "GET  /ahm/ping HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /ahm/ping HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\
     \r\n0",
    "POST /ahm/batch HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "\u{16}\u{3}\u{1}garbage\r\n\r\n",
];

/// Requests on the private door.
const PRIVATE: &[&str] = &[
    "POST /publish/feed/s1 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\n\r\none\
     POST /publish/feed/s1?snapshot=1 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n",
    "POST /publish/raw/n?epoch=e1&n=7 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx",
    "POST /publish/feed/s1?epoch=e1&n=7 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx",
    "POST /publish/feed/s1?epoch=e1&n=7 HTTP/1.1\r\nHost: [::1]\r\nContent-Length: 1\r\n\r\nx",
    "POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Length: 22\r\n\r\n\
     feed/a\t1\nbad\nfeed/b\t2\n",
    "POST /publish/feed/s1 HTTP/1.1\r\nHost: localhost\r\nOrigin: http://x\r\n\
     Content-Length: 1\r\n\r\nx",
    "POST /publish/feed/s1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /publish/feed/s1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "GET /ahm/ping HTTP/1.1\r\nHost: localhost\r\n\r\n",
];

/// A desk with a session on it, the words for it, and a fresh connection.
fn set_out(door: Door) -> (Desk, [(&'static str, String); 3], [ConnKey; 2]) {
    let mut desk = Desk::new(usize::MAX, false);
    let publisher = desk.connect(Door::Private);
    for payload in [&b"1"[..], b"2 <b>", b"3"] {
        desk.post(publisher, "/publish/feed/s1", payload);
    }
    let reader = desk.connect(Door::Public);
    desk.get(reader, "/ahm/mux.html?open=feed/s1;cid=7&open=echo/x;cid=8");
    let mid = attribute(desk.received(reader), "mid");
    let key = attribute(desk.received(reader), "k");
    let words = [("{s}", format!("mid={mid}&k={key}")), ("{m}", mid), ("{k}", key)];
    let conn = desk.connect(door);
    (desk, words, [reader, conn])
}

/// What the asker and the session's document receive; interim answers depend on the cut alone.
fn answers(row: &str, door: Door, cuts: &[usize]) -> [String; 2] {
    let (mut desk, words, conns) = set_out(door);
    let mut request = row.to_string();
    for (word, meaning) in &words {
        request = request.replace(word, meaning);
    }
    let mut from = 0;
    for &cut in cuts.iter().chain([&request.len()]) {
        let cut = cut.min(request.len());
        if cut > from {
            desk.feed(conns[1], &request.as_bytes()[from..cut]);
            from = cut;
        }
    }
    let asker = String::from_utf8_lossy(desk.received(conns[1])).into_owned();
    // How frames share chunks depends on the cut, too.
    let reader = desk.bodies(conns[0]).concat();
    let reader = String::from_utf8_lossy(&reader).into_owned();
    [reader, asker.replace("HTTP/1.1 100 Continue\r\n\r\n", "")]
}

#[test]
fn every_cut_of_a_request_brings_the_same_answers() {
    let public = PUBLIC.iter().map(|row| (*row, Door::Public));
    let private = PRIVATE.iter().map(|row| (*row, Door::Private));
    for (row, door) in public.chain(private) {
        let whole = answers(row, door, &[]);
        assert!(whole[1].starts_with("HTTP/1.1 "), "{row:?} got {:?}", whole[1]);
        // The words of a session are longer than what stands for them.
        let length = row.len() + 60;
        for cut in 1..length {
            assert_eq!(answers(row, door, &[cut]), whole, "cut at {cut}: {row:?}");
        }
        let bytes: Vec<usize> = (1..length).collect();
        assert_eq!(answers(row, door, &bytes), whole, "byte by byte: {row:?}");
    }
}

//! Every output, taken in writes of every size: the same bytes come out.

use ahm::base::id::ConnKey;
use ahm::base::time::Span;
use ahm::proto::connection::Door;

use crate::desk::{Desk, attribute};

/// Everything that writes: documents of each coding, numbers of one's own, runs that are pointed
/// at and runs that are copied, notes, heartbeats, ends, answers of all kinds.
fn scenario(write_max: usize, blocks: bool) -> (Desk, Vec<ConnKey>) {
    let mut desk = Desk::new(write_max, blocks);
    let publisher = desk.connect(Door::Private);
    desk.post(publisher, "/publish/feed/s1", b"first <&> \r\n");
    desk.post(publisher, "/publish/raw/n?epoch=e1&n=4", &[0, 1, 2, 255]);
    let chunked = desk.connect(Door::Public);
    desk.get(chunked, "/ahm/mux.html?open=feed/s1&open=raw/n;since=e1:3&pad=70");
    let session = format!(
        "mid={}&k={}",
        attribute(desk.received(chunked), "mid"),
        attribute(desk.received(chunked), "k")
    );
    let large = desk.connect(Door::Public);
    desk.get(large, "/ahm/mux.html?open=feed/s1;cid=7&open=echo/x;cid=8&length=large&h=700");
    let talk = format!(
        "mid={}&k={}",
        attribute(desk.received(large), "mid"),
        attribute(desk.received(large), "k")
    );
    let folded = desk.connect(Door::Public);
    desk.get(folded, "/ahm/mux.html?open=feed/s1;rate=3&open=feed/p1;mode=latest&flush=90");
    let old = desk.connect(Door::Public);
    desk.feed(old, b"GET /ahm/mux.html?open=raw/n HTTP/1.0\r\n\r\n");
    let line = desk.connect(Door::Public);
    for round in 0..4_usize {
        for size in [3, 600, 2_000, [40_000, 0, 0, 0][round]] {
            let payload = vec![b'a' + round as u8; size + round];
            desk.post(publisher, "/publish/feed/s1", &payload);
        }
        desk.post(publisher, "/publish", b"feed/p1\tone\nraw/m\ttwo\nno tab\nfeed/p1\tthree\n");
        let n = 5 + round * 2;
        desk.post(publisher, &format!("/publish/raw/n?epoch=e1&n={n}&snapshot=1"), b"gap before");
        desk.get(line, &format!("/ahm/send?{talk}&cid=8&n={}&data=hi", round + 1));
        desk.get(line, "/ahm/history?resource=feed&subject=s1&limit=3");
        desk.get(line, "/ahm/nothing");
        desk.get(line, &format!("/ahm/open?resource=raw&subject=m&{session}"));
        desk.get(line, &format!("/ahm/close?cid=8&{session}"));
        desk.pass(Span::from_millis(1_700));
    }
    let successor = desk.connect(Door::Public);
    desk.get(successor, &format!("/ahm/refresh.html?{session}&last="));
    desk.pass(Span::from_secs(3));
    // The first document has ended; its connection serves on.
    desk.get(chunked, "/ahm/ping?t=again");
    desk.get(line, &format!("/ahm/logout?{session}"));
    desk.post(publisher, "/publish/feed/s1", b"after all");
    (desk, vec![publisher, chunked, large, folded, old, line, successor])
}

#[test]
fn every_size_of_write_brings_the_same() {
    let (whole, conns) = scenario(usize::MAX, false);
    let chunked = whole.bodies(conns[1]);
    assert!(chunked[0].ends_with(b"<p z e=refreshed>\n"), "the scenario reaches its end");
    assert!(chunked[1].starts_with(b"{\"ok\":true,\"t\":\"again\""));
    for size in [1, 2, 3, 5, 7, 16, 100, 1_000, 33_000] {
        for blocks in [false, true] {
            let (short, _) = scenario(size, blocks);
            for (index, &conn) in conns.iter().enumerate() {
                let (expected, got) = (whole.bodies(conn), short.bodies(conn));
                let same = expected == got;
                assert!(same, "connection {index} in writes of {size}, blocking {blocks}");
            }
        }
    }
}

//! Documents whose messages wait for more, or for their rate.

use crate::base::time::Span;
use crate::proto::connection::Door;
use crate::proto::directory::Directory;
use crate::proto::settings::Settings;
use crate::proto::tests::Pack;

fn millis(n: u64) -> Span {
    Span::from_millis(n)
}

#[test]
fn many_short_waits_leave_nothing_behind() {
    for query in ["open=fx/A&flush=20", "open=fx/A;rate=50", "open=fx/A;rate=50&flush=20"] {
        let mut pack = Pack::new(1, Settings::default(), Directory::default());
        let publisher = pack.connect(0, Door::Private);
        pack.post(publisher, "/publish/fx/A", "0");
        let (reader, ..) = pack.document(0, query);
        let mut run = |posts| {
            for _ in 0..posts {
                pack.post(publisher, "/publish/fx/A", "x");
                pack.pass(millis(10));
                pack.received[reader].clear();
            }
            pack.hubs[0].check_invariants().unwrap();
            pack.hubs[0].memory()
        };
        let (early, late) = (run(400), run(2_000));
        assert!(late < early + 1_000, "{query}: {early} bytes, and then {late}");
    }
}

//! Readers are told of what is new a few at a time.

use crate::base::random::Random;
use crate::proto::connection::Door;
use crate::proto::directory::Directory;
use crate::proto::settings::Settings;
use crate::proto::tests::{Pack, attribute};

const TOPICS: usize = 3;
const READERS: usize = 150;

/// The payloads of the messages among `frames`, by the number of their channel.
fn payloads(frames: &[String]) -> Vec<(String, String)> {
    let messages = frames.iter().filter(|frame| frame.starts_with("<p c="));
    let payload = |frame: &String| frame.split_once('>').unwrap().1.to_string();
    messages.map(|frame| (attribute(std::slice::from_ref(frame), "c"), payload(frame))).collect()
}

/// A hub with readers of all topics, who have their first frames.
fn readers(pack: &mut Pack) -> Vec<usize> {
    let opens: Vec<String> = (0..TOPICS).map(|topic| format!("open=fx/{topic}")).collect();
    let opens = opens.join("&");
    (0..READERS)
        .map(|_| {
            let (peer, ..) = pack.document(0, &opens);
            pack.received[peer].clear();
            peer
        })
        .collect()
}

fn publish(pack: &mut Pack, publisher: usize, payload: &str) {
    let lines: String = (0..TOPICS).map(|topic| format!("{topic}\t{payload}\n")).collect();
    let answer = pack.post(publisher, "/publish?resource=fx", &lines);
    assert!(answer.contains("\"taken\":3"), "{answer}");
}

#[test]
fn without_time_nobody_is_told_and_all_else_goes_on() {
    let mut pack = Pack::new(1, Settings::default(), Directory::default());
    let publisher = pack.connect(0, Door::Private);
    publish(&mut pack, publisher, "first");
    let readers = readers(&mut pack);
    pack.strides = Some(0);
    publish(&mut pack, publisher, "one");
    publish(&mut pack, publisher, "two");
    assert!(pack.hubs[0].is_waking());
    assert!(readers.iter().all(|&reader| pack.received[reader].is_empty()));
    // One go tells the readers of one topic, but not all of them.
    pack.strides = Some(1);
    pack.drain();
    let told = readers.iter().filter(|&&reader| !pack.received[reader].is_empty()).count();
    assert!(told > 0 && told < READERS, "{told}");
    pack.strides = None;
    pack.drain();
    assert!(!pack.hubs[0].is_waking());
    for reader in readers {
        let seen = payloads(&pack.fresh(reader));
        assert_eq!(seen.len(), 2 * TOPICS, "{seen:?}");
    }
    pack.hubs[0].check_invariants().unwrap();
}

#[test]
fn whoever_comes_and_goes_meanwhile_everybody_else_gets_everything_once() {
    for seed in 0..20 {
        let mut random = Random::from_number(seed);
        let mut pack = Pack::new(1, Settings::default(), Directory::default());
        let publisher = pack.connect(0, Door::Private);
        publish(&mut pack, publisher, "first");
        let mut stay = readers(&mut pack);
        for message in 0..20 {
            pack.strides = Some(random.below(4) as u32);
            publish(&mut pack, publisher, &message.to_string());
            for _ in 0..random.below(4) {
                let gone = stay.swap_remove(random.below(stay.len() as u64) as usize);
                pack.cut(gone);
                pack.document(0, "open=fx/0&open=fx/2");
            }
            pack.hubs[0].check_invariants().unwrap();
        }
        pack.strides = None;
        pack.drain();
        let expected: Vec<String> = (0..20).map(|message: i32| message.to_string()).collect();
        for reader in stay {
            let seen = payloads(&pack.fresh(reader));
            let mut channels: Vec<&String> = seen.iter().map(|(channel, _)| channel).collect();
            channels.sort();
            channels.dedup();
            assert_eq!(channels.len(), TOPICS, "seed {seed}");
            for channel in channels {
                let of = seen.iter().filter(|(other, _)| other == channel);
                let came: Vec<&String> = of.map(|(_, payload)| payload).collect();
                assert_eq!(came, expected.iter().collect::<Vec<_>>(), "seed {seed}");
            }
        }
    }
}

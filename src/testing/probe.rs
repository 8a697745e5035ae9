//! Resources of the simulated world; what reaches them is checked against the model.

use std::sync::Arc;

use crate::proto::directory::Directory;
use crate::proto::resource::{Actions, Consumer, Decision, Message, Resource, TopicOptions};
use crate::testing::model::Shared;

/// What a consumer sends so that its `echo` channel ends.
pub const BYE: &[u8] = b"bye";

/// The payload of a consumer's send.
pub fn sent_payload(mid: u64, cid: u32, n: u64) -> Vec<u8> {
    format!("send {mid}/{cid}/{n} <&> \u{e9}").into_bytes()
}

/// The payload by which a resource answers or publishes a consumer's message.
pub fn heard_payload(resource: &str, mid: u64, cid: u32, n: u64) -> Vec<u8> {
    format!("{resource} heard {mid}/{cid}/{n}").into_bytes()
}

/// A feed: publishers write, nobody sends; read in every mode. Says of a subject whether each of
/// its messages is the whole state.
#[derive(Debug)]
pub(crate) struct Feed(pub(crate) fn(&str) -> bool);

impl Resource for Feed {
    fn open(&self, subject: &str, _: &Consumer) -> Decision {
        Decision::Shared(self.options(subject))
    }

    fn takes_messages(&self) -> bool {
        false
    }

    fn message(&self, message: &Message<'_>, _: &mut Actions) {
        panic!("a feed takes no messages: {message:?}");
    }

    fn options(&self, subject: &str) -> TopicOptions {
        TopicOptions { state: (self.0)(subject), latest: true, ..TopicOptions::default() }
    }
}

/// Answers each consumer on a channel of its own.
#[derive(Debug)]
struct Echo(Shared);

/// Publishes what anybody sends to all readers of the subject.
#[derive(Debug)]
struct Board(Shared);

fn receive(shared: &Shared, name: &str, message: &Message<'_>) -> Option<Vec<u8>> {
    let (mid, cid) = (message.consumer.session.get(), message.consumer.cid.0);
    let mut model = shared.lock();
    model.receive(mid, cid, message.n);
    if message.payload == BYE {
        return None;
    }
    assert_eq!(message.payload, sent_payload(mid, cid, message.n), "not what was sent");
    let heard = heard_payload(name, mid, cid, message.n);
    model.submit(&format!("{name}/{}", message.subject), &heard, None, false);
    Some(heard)
}

impl Resource for Echo {
    fn open(&self, _: &str, _: &Consumer) -> Decision {
        Decision::Private(TopicOptions::default())
    }

    fn message(&self, message: &Message<'_>, actions: &mut Actions) {
        match receive(&self.0, "echo", message) {
            Some(heard) => actions.reply(heard),
            None => actions.end(),
        }
    }

    fn skipped(&self, _: &str, consumer: &Consumer, from: u64, to: u64) {
        self.0.lock().skip(consumer.session.get(), consumer.cid.0, from, to);
    }
}

impl Resource for Board {
    fn open(&self, _: &str, _: &Consumer) -> Decision {
        Decision::Shared(TopicOptions { ask_each: true, ..TopicOptions::default() })
    }

    fn message(&self, message: &Message<'_>, actions: &mut Actions) {
        if let Some(heard) = receive(&self.0, "board", message) {
            actions.publish(message.subject, heard);
        }
    }

    fn skipped(&self, _: &str, consumer: &Consumer, from: u64, to: u64) {
        self.0.lock().skip(consumer.session.get(), consumer.cid.0, from, to);
    }
}

/// `feed`, `echo` and `board`; `raw` is known to nobody but its publisher.
///
/// # Panics
///
/// Never: the names are of the grammar.
pub fn directory(model: &Shared) -> Directory {
    let mut directory = Directory::default();
    let resources: [(&str, Arc<dyn Resource>); 3] = [
        ("feed", Arc::new(Feed(|subject| subject.starts_with('s')))),
        ("echo", Arc::new(Echo(model.clone()))),
        ("board", Arc::new(Board(model.clone()))),
    ];
    for (name, resource) in resources {
        directory.add(name, resource).expect("a name of the grammar");
    }
    directory
}

//! Resources of the large world; what reaches them is checked against the ledger.

use std::sync::Arc;

use crate::proto::directory::Directory;
use crate::proto::resource::{Actions, Consumer, Decision, Message, Resource, TopicOptions};
use crate::testing::ledger::{Ledger, Shared};
use crate::testing::probe::Feed;
use crate::testing::sabotage::Sabotage;

/// How a send begins that has an `echo` channel end.
pub const BYE: &[u8] = b"bye";

/// Takes numbered sends: `echo` answers each consumer, `board` publishes to all.
#[derive(Debug)]
struct Office {
    site: usize,
    private: bool,
    shared: Shared,
    sabotage: Option<Sabotage>,
}

impl Office {
    fn receive(&self, message: &Message<'_>, ledger: &mut Ledger) {
        let consumer = message.consumer;
        let place = (ledger.life(self.site), consumer.session.get(), consumer.cid.0);
        match self.sabotage {
            Some(Sabotage::TakenUndelivered) if message.n == 2 => {
                return ledger.inbound.skip(place, message.n, message.n);
            }
            Some(Sabotage::DeliveredTwice) if message.n == 2 => {
                ledger.inbound.receive(place, message.n, message.payload);
            }
            _ => {}
        }
        ledger.inbound.receive(place, message.n, message.payload);
    }
}

impl Resource for Office {
    fn open(&self, _: &str, _: &Consumer) -> Decision {
        match self.private {
            true => Decision::Private(TopicOptions::default()),
            false => Decision::Shared(TopicOptions::default()),
        }
    }

    fn message(&self, message: &Message<'_>, actions: &mut Actions) {
        let mut ledger = self.shared.lock();
        self.receive(message, &mut ledger);
        let heard = [b"heard ", message.payload].concat();
        let consumer = message.consumer;
        let place = (ledger.life(self.site), consumer.session.get(), consumer.cid.0);
        if !self.private {
            let topic = format!("board/{}", message.subject);
            ledger.give_local(&topic, self.site, &heard);
            actions.publish(message.subject, heard);
        } else if message.payload.starts_with(BYE) {
            actions.end();
        } else {
            ledger.inbound.reply(place, &heard);
            actions.reply(heard);
        }
    }

    fn skipped(&self, _: &str, consumer: &Consumer, from: u64, to: u64) {
        let mut ledger = self.shared.lock();
        let place = (ledger.life(self.site), consumer.session.get(), consumer.cid.0);
        ledger.inbound.skip(place, from, to);
    }
}

/// `feed`, `quote`, `echo` and `board` of one server; `raw` is known to nobody but its publisher.
///
/// # Panics
///
/// Never: the names are of the grammar.
pub fn directory(site: usize, shared: &Shared, sabotage: Option<Sabotage>) -> Directory {
    let office = |private| Office { site, private, shared: shared.clone(), sabotage };
    let resources: [(&str, Arc<dyn Resource>); 4] = [
        ("feed", Arc::new(Feed(|_| false))),
        ("quote", Arc::new(Feed(|_| true))),
        ("echo", Arc::new(office(true))),
        ("board", Arc::new(office(false))),
    ];
    let mut directory = Directory::default();
    for (name, resource) in resources {
        directory.add(name, resource).expect("a name of the grammar");
    }
    directory
}

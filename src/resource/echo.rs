//! `echo`: gives each consumer its own messages back, on a topic of its own.

use crate::proto::resource::{Actions, Consumer, Decision, Message, Resource, TopicOptions};

/// A conversation with oneself: every channel is private, every message comes back.
///
/// ```
/// use ahm::base::id::{Cid, Key, Mid, ShardId};
/// use ahm::proto::resource::{Actions, Consumer, Message, Resource};
/// use ahm::resource::echo::Echo;
/// let session = Mid::new(ShardId(0), Key { slot: 0, generation: 1 }).unwrap();
/// let consumer = Consumer::new(session, Cid(1), "127.0.0.1:1".parse().unwrap());
/// let message = Message { subject: "", consumer: &consumer, n: 1, id: None, payload: b"hello" };
/// let mut actions = Actions::default();
/// Echo::default().message(&message, &mut actions);
/// let mut expected = Actions::default();
/// expected.reply("hello");
/// assert_eq!(actions, expected);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Echo {
    /// How the private topics are kept and read.
    pub options: TopicOptions,
}

impl Resource for Echo {
    fn open(&self, _subject: &str, _consumer: &Consumer) -> Decision {
        Decision::Private(self.options)
    }

    fn message(&self, message: &Message<'_>, actions: &mut Actions) {
        actions.reply(message.payload);
    }

    fn options(&self, _subject: &str) -> TopicOptions {
        self.options
    }
}

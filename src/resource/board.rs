//! `board`: publishes what anybody sends to all readers of the subject.

use crate::proto::resource::{Actions, Consumer, Decision, Message, Resource, TopicOptions};

/// A message board: every subject is one shared topic, to which its readers may write.
///
/// ```
/// use ahm::base::id::{Cid, Key, Mid, ShardId};
/// use ahm::proto::resource::{Actions, Consumer, Message, Resource};
/// use ahm::resource::board::Board;
/// let session = Mid::new(ShardId(0), Key { slot: 0, generation: 1 }).unwrap();
/// let consumer = Consumer::new(session, Cid(1), "127.0.0.1:1".parse().unwrap());
/// let payload = b"hello";
/// let message = Message { subject: "lobby", consumer: &consumer, n: 1, id: None, payload };
/// let mut actions = Actions::default();
/// Board::default().message(&message, &mut actions);
/// let mut expected = Actions::default();
/// expected.publish("lobby", "hello");
/// assert_eq!(actions, expected);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Board {
    /// How the topics are kept and read.
    pub options: TopicOptions,
}

impl Resource for Board {
    fn open(&self, _subject: &str, _consumer: &Consumer) -> Decision {
        Decision::Shared(self.options)
    }

    fn message(&self, message: &Message<'_>, actions: &mut Actions) {
        actions.publish(message.subject, message.payload);
    }

    fn options(&self, _subject: &str) -> TopicOptions {
        self.options
    }
}

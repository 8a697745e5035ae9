//! `feed`: a resource whose messages come through the private listener or from another thread.

use crate::proto::resource::{Actions, Consumer, Decision, Message, Resource, TopicOptions};

/// Consumers only read; every subject may be opened, also before its first message.
///
/// ```
/// use ahm::proto::resource::{Resource, TopicOptions};
/// use ahm::resource::feed::Feed;
/// let quotes = Feed { options: TopicOptions { state: true, latest: true, ..Default::default() } };
/// assert!(!quotes.takes_messages());
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Feed {
    /// How the topics are kept and read.
    pub options: TopicOptions,
}

impl Resource for Feed {
    fn open(&self, _subject: &str, _consumer: &Consumer) -> Decision {
        Decision::Shared(self.options)
    }

    fn takes_messages(&self) -> bool {
        false
    }

    fn message(&self, _message: &Message<'_>, _actions: &mut Actions) {}

    fn options(&self, _subject: &str) -> TopicOptions {
        self.options
    }
}

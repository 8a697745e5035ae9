//! Questions that take time: they go to threads of their own, and come back as mail.

use std::sync::mpsc::{SyncSender, TrySendError};

use crate::auth::office::{Finding, Question};
use crate::auth::verdict::Refusal;
use crate::base::id::ShardId;
use crate::base::time::Instant;
use crate::shard::mail::Mail;
use crate::shard::turn::Shard;

/// A question on its way, with the shard that waits for its answer.
#[derive(Debug)]
pub struct Errand {
    /// That shard.
    pub shard: ShardId,
    /// When it was asked.
    pub asked: Instant,
    /// What is asked.
    pub question: Box<Question>,
}

impl Errand {
    /// The answer, as it goes back.
    pub fn answer(finding: Finding) -> Mail {
        Mail::Finding(Box::new(finding))
    }
}

/// The queue to those threads, which has a bounded number of places.
pub type Asking = SyncSender<Errand>;

impl Shard {
    /// Passes a question on. Where the queue is full, that is the answer.
    pub(crate) fn ask(&mut self, question: Box<Question>) {
        let errand = Errand { shard: self.hub.shard, asked: self.now, question };
        let back = match &self.asking {
            None => errand,
            Some(asking) => match asking.try_send(errand) {
                Ok(()) => return,
                Err(TrySendError::Full(errand) | TrySendError::Disconnected(errand)) => errand,
            },
        };
        let finding = back.question.found(Err(Refusal::Busy));
        self.hub.handle_finding(finding, self.now);
    }
}

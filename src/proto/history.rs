//! What a log holds, as a finite document.

use crate::base::reason::ErrorCode;
use crate::html::frame;
use crate::proto::answer::{Answer, Content};
use crate::proto::hub::Hub;
use crate::proto::log::{Located, Missed};
use crate::proto::parcel::HistoryAsk;
use crate::proto::run::Kind;
use crate::proto::topic::Topic;

impl Hub {
    /// At the topic's home: gives what the log holds.
    pub(crate) fn take_history(&mut self, ask: HistoryAsk) {
        let slot = self.topics.find(&ask.name);
        let access = slot.and_then(|slot| self.topics.slots.at(slot)?.access.clone());
        if let Err((code, detail)) = self.admit(&ask.asking, &ask.name, access.as_deref()) {
            return self.give(ask.reply, Answer::error(code, &detail));
        }
        if let Some(slot) = slot {
            self.seal(slot);
        }
        let answer = match slot.and_then(|slot| self.topics.slots.at(slot)) {
            Some(topic) => {
                Answer { status: 200, content: Content::Frames(frames(topic, &ask)), field: None }
            }
            None => {
                let detail = format!("nothing is known of {}", ask.name);
                Answer::error(ErrorCode::NoResource, &detail)
            }
        };
        self.give(ask.reply, answer);
    }
}

/// The frames asked for: the first `limit` after `since`, or without it the newest `limit`.
fn frames(topic: &Topic, ask: &HistoryAsk) -> Vec<u8> {
    let log = &topic.log;
    let located = match ask.since {
        Some(position) => log.locate(position),
        None => Located { place: newest(topic, ask.limit), missed: Missed::Nothing },
    };
    let mut out = frame::PREAMBLE.to_vec();
    topic.put_opened(&mut out, (topic.number, 0), located);
    let mut left = ask.limit;
    for run in log.runs_from(located.place) {
        let first = run.first_place.max(located.place);
        let end = match run.kind {
            Kind::Messages => run.end_place().min(first + left),
            Kind::Mark(_) => run.end_place(),
        };
        out.extend_from_slice(&run.bytes()[run.start_of(first)..run.start_of(end)]);
        if run.kind == Kind::Messages {
            left -= end - first;
        }
        if left == 0 {
            break;
        }
    }
    out
}

/// The place from which `limit` messages are left.
fn newest(topic: &Topic, limit: u64) -> u64 {
    let mut left = limit;
    let mut place = topic.log.end().place;
    for run in topic.log.runs().rev() {
        if run.messages() >= left {
            return run.end_place() - left;
        }
        left -= run.messages();
        place = run.first_place;
    }
    place
}

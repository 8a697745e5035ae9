//! What was published, and the handler that looks at it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use ahm::base::id::{Epoch, Offset};
use ahm::link::handler::{Actions, Channel, Consumer, Decision, Handler, Message};
use ahm::wire::resource::Terms;

/// Messages that the source keeps of each subject.
pub const HISTORY: u64 = 8;

/// Shared subjects; the first word says how they are kept.
pub const SUBJECTS: [&str; 5] = ["state.a", "state.b", "change.a", "plain.a", "plain.b"];

/// Everything that was ever published.
#[derive(Debug, Default)]
pub struct Model {
    logs: HashMap<(String, Epoch), Vec<String>>,
    /// The present epoch of each subject.
    epochs: BTreeMap<String, Epoch>,
    /// The offset of the newest message when an open was decided, by its session.
    heads: HashMap<u64, u64>,
    /// The last number that was taken of each session.
    taken: HashMap<u64, u64>,
    made: u64,
}

impl Model {
    /// A payload that there was not before.
    pub fn fresh(&mut self, size: usize) -> String {
        self.made += 1;
        format!("{} {}", self.made, "x".repeat(size))
    }

    pub fn publish(&mut self, subject: &str, ep: Epoch, n: Offset, payload: String) {
        let log = self.logs.entry((subject.to_string(), ep)).or_default();
        log.push(payload);
        assert_eq!(log.len() as u64, n.0, "offsets ascend by one from 1");
        let before = self.epochs.insert(subject.to_string(), ep);
        assert!(before.is_none_or(|before| before == ep));
    }

    /// The process that has published is gone.
    pub fn forget(&mut self) {
        self.epochs.clear();
    }

    /// The newest message of the present epoch.
    pub fn newest(&self, subject: &str) -> Option<String> {
        let ep = self.epochs.get(subject)?;
        self.logs.get(&(subject.to_string(), *ep))?.last().cloned()
    }

    pub fn head(&self, subject: &str, ep: Epoch) -> u64 {
        self.logs.get(&(subject.to_string(), ep)).map_or(0, Vec::len) as u64
    }

    pub fn present_head(&self, subject: &str) -> u64 {
        self.epochs.get(subject).map_or(0, |ep| self.head(subject, *ep))
    }

    /// The head when this session's open was decided.
    pub fn head_at(&self, session: u64) -> u64 {
        self.heads[&session]
    }

    pub fn says(&self, subject: &str, ep: Epoch, n: u64) -> &str {
        &self.logs[&(subject.to_string(), ep)][n as usize - 1]
    }
}

/// The handler: everybody reads together, but `me` is a conversation.
#[derive(Debug)]
pub struct Desk(pub Arc<Mutex<Model>>);

impl Handler for Desk {
    fn open(&self, subject: &str, consumer: &Consumer) -> Decision {
        let mut model = self.0.lock().unwrap();
        let head = model.present_head(subject);
        let before = model.heads.insert(consumer.session.get(), head);
        assert_eq!(before, None, "each open comes once");
        if subject == "me" { Decision::Private } else { Decision::Shared }
    }

    fn terms(&self, subject: &str) -> Terms {
        let is = |word| subject.starts_with(word);
        Terms { state: is("state"), changed: is("change"), ..Terms::default() }
    }

    fn opened(&self, _: Channel, _: &str, _: &Consumer, actions: &mut Actions) {
        actions.reply("hello");
    }

    fn message(&self, message: &Message<'_>, actions: &mut Actions) {
        let session = message.consumer.expect("a private channel").session.get();
        let mut model = self.0.lock().unwrap();
        let last = model.taken.entry(session).or_default();
        assert_eq!(message.n, *last + 1, "each comes once and in order");
        *last = message.n;
        actions.reply(message.payload);
    }
}

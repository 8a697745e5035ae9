//! A handler of the resource protocol as a resource inside a server.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::link::handler::{self, Handler};
use crate::link::source_error::SourceError;
use crate::proto::resource::{Actions, Consumer, Decision, Message, Resource, TopicOptions};
use crate::proto::settings::History;
use crate::resource::publisher::check;
use crate::wire::resource::Terms;

/// Messages that wait for a way into the server, at most.
const EARLY_MAX: usize = 1_024;

/// A way into the server: subject and payload.
type Outlet = Box<dyn Fn(&str, &[u8]) + Send + Sync>;

/// Puts a [`Handler`] into a server's directory, so that the same code serves over the wire, with a
/// `resource::publisher`, and without one.
///
/// A server asks about a subject's first reader and does not tell of its last: the demand for a
/// subject begins once here and does not end. It knows nothing of the private channels of a
/// resource, so `opened`, `closed` and `metrics` are not called, and replies go through the actions
/// of `message`. A consumer cannot be sent to another subject; it is refused.
///
/// ```
/// use std::sync::Arc;
/// use ahm::resource::embedded::Embedded;
/// use ahm::server::builder::Builder;
/// use ahm::server::config::Config;
/// use ahm::base::name::TopicName;
/// use ahm::wire::resource::Terms;
///
/// let listen = vec!["127.0.0.1:0".parse()?];
/// let config = Config { listen, private_listen: vec![], shards: 1, ..Config::default() };
/// let rates = Arc::new(Embedded::new(Terms { state: true, ..Terms::default() }, false));
/// let mut builder = Builder::new(config);
/// builder.resource("rates", rates.clone())?;
/// let server = builder.start()?;
///
/// let handle = server.handle();
/// rates.connect(move |subject, payload| {
///     let name = TopicName::new("rates", subject).expect("checked before");
///     let _ = handle.publish(&name, payload, false); // what a full queue does not take is lost
/// });
/// rates.publish("EURUSD", "1.09214")?;
/// server.stop();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Embedded {
    handler: Arc<dyn Handler>,
    takes_messages: bool,
    outlet: OnceLock<Outlet>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Subjects that somebody has read.
    begun: HashSet<String>,
    /// The newest messages of subjects that publish only changes.
    newest: HashMap<String, Vec<u8>>,
    /// Messages that came before there was a way into the server.
    early: Vec<(String, Vec<u8>)>,
}

impl Embedded {
    /// A resource for which `handler` decides.
    pub fn new(handler: impl Handler + 'static, takes_messages: bool) -> Self {
        Self {
            handler: Arc::new(handler),
            takes_messages,
            outlet: OnceLock::new(),
            state: Mutex::default(),
        }
    }

    /// Gives it its way into the server that has started; the first one counts. What was published
    /// before goes there now.
    pub fn connect(&self, outlet: impl Fn(&str, &[u8]) + Send + Sync + 'static) {
        let outlet = self.outlet.get_or_init(|| Box::new(outlet));
        for (subject, payload) in std::mem::take(&mut self.lock().early) {
            outlet(&subject, &payload);
        }
    }

    /// Publishes a message to all who read a subject.
    ///
    /// # Errors
    ///
    /// If the subject or the message is none, or a thousand wait already for the server.
    pub fn publish(&self, subject: &str, payload: impl Into<Vec<u8>>) -> Result<(), SourceError> {
        let payload = payload.into();
        check(subject, &payload)?;
        if !self.is_news(subject, &payload) {
            return Ok(());
        }
        if let Some(outlet) = self.outlet.get() {
            outlet(subject, &payload);
            return Ok(());
        }
        let mut state = self.lock();
        if state.early.len() >= EARLY_MAX {
            return Err(SourceError::Stopped);
        }
        state.early.push((subject.to_string(), payload));
        Ok(())
    }

    /// Whether a message is to be published: where only changes are, it must differ from the last.
    fn is_news(&self, subject: &str, payload: &[u8]) -> bool {
        if !self.handler.terms(subject).changed {
            return true;
        }
        let mut state = self.lock();
        if state.newest.get(subject).is_some_and(|newest| newest == payload) {
            return false;
        }
        state.newest.insert(subject.to_string(), payload.to_vec());
        true
    }

    fn begin_demand(&self, subject: &str) {
        if !self.lock().begun.insert(subject.to_string()) {
            return;
        }
        let mut actions = handler::Actions::default();
        self.handler.demand_begins(subject, &mut actions);
        for (subject, payload) in actions.publications {
            if let Err(error) = self.publish(&subject, payload) {
                log::warn!("not published: {error}");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").field("handler", &self.handler).finish_non_exhaustive()
    }
}

/// The same in the words of the server.
fn options(terms: Terms) -> TopicOptions {
    let history =
        |(messages, bytes, age)| History { messages_max: messages, bytes_max: bytes, age_max: age };
    TopicOptions {
        history: terms.history.map(history),
        state: terms.state,
        latest: terms.latest,
        ask_each: terms.ask_each,
        takes_messages: false,
    }
}

impl Resource for Embedded {
    fn open(&self, subject: &str, consumer: &Consumer) -> Decision {
        let consumer = handler::Consumer {
            session: consumer.session,
            cid: consumer.cid,
            address: consumer.address.to_string(),
            user: String::new(),
            parameters: Vec::new(),
        };
        match self.handler.open(subject, &consumer) {
            handler::Decision::Shared => {
                self.begin_demand(subject);
                Decision::Shared(options(self.handler.terms(subject)))
            }
            handler::Decision::Private => Decision::Private(options(self.handler.terms(subject))),
            handler::Decision::Deny { detail, .. } => Decision::Deny(detail),
            handler::Decision::Other(other) => {
                Decision::Deny(format!("read {other} instead of {subject}"))
            }
        }
    }

    fn takes_messages(&self) -> bool {
        self.takes_messages
    }

    fn message(&self, message: &Message<'_>, actions: &mut Actions) {
        let mut wanted = handler::Actions::default();
        let said = handler::Message {
            subject: message.subject,
            session: message.consumer.session,
            cid: message.consumer.cid,
            consumer: None,
            channel: None,
            n: message.n,
            id: message.id,
            payload: message.payload,
        };
        self.handler.message(&said, &mut wanted);
        for (subject, payload) in wanted.publications {
            if self.is_news(&subject, &payload) {
                actions.publish(subject, payload);
            }
        }
        for reply in wanted.replies {
            actions.reply(reply);
        }
        if wanted.end {
            actions.end();
        }
    }

    fn skipped(&self, subject: &str, consumer: &Consumer, from: u64, to: u64) {
        let (session, cid) = (consumer.session, consumer.cid);
        self.handler.skipped(&handler::Skipped { subject, session, cid, from, to });
    }

    fn options(&self, subject: &str) -> TopicOptions {
        options(self.handler.terms(subject))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::{Cid, Mid};

    /// Gives back in capitals, tells everybody, and says hello to whoever is first.
    #[derive(Debug)]
    struct Loud(Arc<Mutex<Vec<String>>>);

    impl Handler for Loud {
        fn open(&self, subject: &str, consumer: &handler::Consumer) -> handler::Decision {
            self.0.lock().unwrap().push(format!("{subject} for {}", consumer.address));
            match subject {
                "heard" => handler::Decision::Shared,
                "old" => handler::Decision::Other("heard".into()),
                "closed" => handler::Decision::deny("not here"),
                _ => handler::Decision::Private,
            }
        }

        fn terms(&self, subject: &str) -> Terms {
            let history = Some((3, 4, crate::base::time::Span::from_secs(5)));
            Terms { changed: true, state: subject == "heard", history, ..Terms::default() }
        }

        fn demand_begins(&self, subject: &str, actions: &mut handler::Actions) {
            actions.publish(subject, "hello");
        }

        fn message(&self, message: &handler::Message<'_>, actions: &mut handler::Actions) {
            actions.reply(message.payload.to_ascii_uppercase());
            actions.publish("heard", message.payload);
            actions.end();
        }

        fn skipped(&self, skipped: &handler::Skipped<'_>) {
            self.0.lock().unwrap().push(format!("{} to {}", skipped.from, skipped.to));
        }
    }

    #[test]
    fn a_handler_is_a_resource() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let resource = Embedded::new(Loud(Arc::clone(&heard)), true);
        let session = Mid::from_number(7).unwrap();
        let address = "10.0.0.1:5".parse().unwrap();
        let consumer = Consumer { session, cid: Cid(2), address };
        let Decision::Shared(options) = resource.open("heard", &consumer) else { panic!("shared") };
        assert_eq!(options.history.map(|history| history.messages_max), Some(3));
        assert!(options.state && !options.latest);
        resource.open("heard", &consumer);
        assert!(matches!(resource.open("me", &consumer), Decision::Private(_)));
        assert_eq!(resource.open("closed", &consumer), Decision::Deny("not here".into()));
        let other = Decision::Deny("read heard instead of old".into());
        assert_eq!(resource.open("old", &consumer), other);
        assert_eq!(heard.lock().unwrap()[0], "heard for 10.0.0.1:5");

        let published = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&published);
        resource.connect(move |subject, payload| {
            let payload = String::from_utf8_lossy(payload);
            into.lock().unwrap().push(format!("{subject}: {payload}"));
        });
        for payload in ["a", "a", "b"] {
            resource.publish("heard", payload).unwrap();
        }
        assert_eq!(*published.lock().unwrap(), ["heard: hello", "heard: a", "heard: b"]);
        assert!(resource.publish("a\nb", "").is_err());

        for (payload, news) in [(&b"c"[..], true), (b"c", false)] {
            let mut actions = Actions::default();
            let message = Message { subject: "me", consumer, n: 1, id: None, payload };
            resource.message(&message, &mut actions);
            let mut expected = Actions::default();
            if news {
                expected.publish("heard", "c");
            }
            expected.reply("C");
            expected.end();
            assert_eq!(actions, expected);
        }
        resource.skipped("me", &consumer, 3, 4);
        assert_eq!(heard.lock().unwrap().last().unwrap(), "3 to 4");
    }
}

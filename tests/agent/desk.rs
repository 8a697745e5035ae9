//! A desk to try an agent on: documents are fed by hand, what it does is written down.

use ahm::base::time::{Instant, Span};
use ahm::client::agent::Agent;
use ahm::client::event::{
    ChannelKey, Event, Failure, Output, Request, StreamId, StreamState, parse_topic,
};
use ahm::client::settings::Settings;
use ahm::wire::command::{Mode, OpenRequest};

pub const IDENTITY: &str = "<p i scs=a mid=7 d=1 k=s3cret h=1000 r=60000 v=1>\n";

/// An agent, the time, and what it put out.
pub struct Desk {
    pub agent: Agent,
    pub now: Instant,
    pub whole: bool,
    pub outputs: Vec<Output>,
    pub events: Vec<String>,
}

impl Desk {
    pub fn new(whole: bool) -> Self {
        Self::with(Settings::default(), whole)
    }

    pub fn with(settings: Settings, whole: bool) -> Self {
        let agent = Agent::new(settings, 1);
        Self { agent, now: Instant::ZERO, whole, outputs: Vec::new(), events: Vec::new() }
    }

    /// An agent with one channel on `a/b`, whose first document has begun.
    pub fn open(whole: bool) -> (Self, StreamId) {
        let mut desk = Self::new(whole);
        desk.subscribe("a/b", Mode::Queue);
        let (stream, request) = desk.stream();
        assert_eq!(request.target, "mux.html?mid=0&scs=0&open=a/b");
        desk.begin(stream, IDENTITY);
        desk.take();
        (desk, stream)
    }

    pub fn subscribe(&mut self, name: &str, mode: Mode) -> ChannelKey {
        let request = OpenRequest { mode, ..OpenRequest::new(parse_topic(name).unwrap()) };
        let key = self.agent.subscribe(request, self.now).unwrap();
        self.drain();
        key
    }

    pub fn begin(&mut self, stream: StreamId, text: &str) {
        self.agent.handle_head(stream, 200, None, self.now);
        self.feed(stream, text);
    }

    pub fn feed(&mut self, stream: StreamId, text: &str) {
        let size = if self.whole { text.len().max(1) } else { 1 };
        for part in text.as_bytes().chunks(size) {
            self.agent.handle_bytes(stream, part, self.now);
            self.drain();
        }
    }

    pub fn end(&mut self, stream: StreamId) {
        self.agent.handle_end(stream, "reset", self.now);
        self.drain();
    }

    pub fn refuse(&mut self, stream: StreamId, status: u16, code: &str) {
        self.agent.handle_head(stream, status, None, self.now);
        self.feed(stream, &format!(r#"{{"ok":false,"error":"{code}","detail":"no"}}"#));
        self.end(stream);
    }

    pub fn wait(&mut self, millis: u64) {
        let until = self.now + Span::from_millis(millis);
        while let Some(at) = self.agent.poll_timeout().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.agent.handle_timeout(self.now);
            self.drain();
        }
        self.now = until;
    }

    pub fn drain(&mut self) {
        self.outputs.extend(std::iter::from_fn(|| self.agent.poll_output()));
        let events = std::iter::from_fn(|| self.agent.poll_event());
        self.events.extend(events.map(|event| short(&event)));
    }

    /// What the consumer was told since the last time.
    pub fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.events)
    }

    pub fn output(&mut self) -> Output {
        assert!(!self.outputs.is_empty(), "something is put out");
        self.outputs.remove(0)
    }

    pub fn stream(&mut self) -> (StreamId, Request) {
        match self.output() {
            Output::OpenStream { stream, request, .. } => (stream, request),
            other => panic!("{other:?}"),
        }
    }
}

pub fn short(event: &Event) -> String {
    match event {
        Event::State(StreamState::Waiting(_)) => "waiting".into(),
        Event::State(state) => format!("{state:?}").to_lowercase(),
        Event::Lost { failure: Failure::Refused { code: Some(code), .. }, .. } => {
            format!("lost {code}")
        }
        Event::Lost { failure: Failure::Broken(_), .. } => "lost broken".into(),
        Event::Lost { failure, .. } => format!("lost {failure:?}").to_lowercase(),
        Event::Session { mid, d, new, .. } => format!("session {mid}.{d} {new}"),
        Event::Opened { channel, ep, n, head } => format!("opened {} {ep}:{n} {head}", channel.0),
        Event::Message { channel, n, snapshot, folded, payload, .. } => {
            let mark = if *snapshot { "s" } else { "" };
            let fold = if *folded > 0 { format!("+{folded}") } else { String::new() };
            format!("{}:{n}{mark}{fold} {}", channel.0, String::from_utf8_lossy(payload))
        }
        Event::Gap { channel, ep, n, missing: Some(missing) } => {
            format!("gap {} {ep}:{n} {missing}", channel.0)
        }
        Event::Gap { channel, ep, n, missing: None } => format!("gap {} {ep}:{n}", channel.0),
        Event::Closed { channel, end } => format!("closed {} {}", channel.0, end.word()),
        Event::Refused { channel, retry_in, .. } => {
            format!("refused {} {}", channel.0, retry_in.is_some())
        }
        Event::Sent { channel, id, fate } => format!("sent {} {} {fate:?}", channel.0, id.0),
        Event::RoundTrip(span) => format!("round trip {span}"),
        Event::Known { user, expires, key, .. } => {
            let (user, key) = (user.as_deref(), key.as_ref().map(|key| key.expose()));
            format!("known {} {} {}", user.unwrap_or("-"), expires.unwrap_or(0), key.unwrap_or("-"))
        }
        Event::Expiring { within, .. } => format!("expiring {within}"),
        Event::NotRenewed { failure: Failure::Refused { code: Some(code), .. }, .. } => {
            format!("not renewed {code}")
        }
        Event::NotRenewed { .. } => "not renewed".into(),
    }
}

pub fn both(test: impl Fn(bool)) {
    test(true);
    test(false);
}

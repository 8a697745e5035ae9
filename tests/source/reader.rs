//! A consumer that holds what it reads to the model.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use ahm::base::id::{Cid, Epoch, Key, Mid, Offset};
use ahm::base::reason::ChannelEnd;
use ahm::base::time::{Instant, Span};
use ahm::link::address::Address;
use ahm::link::links::Links;
use ahm::link::peer::{End, Me, Other};
use ahm::link::station::Station;
use ahm::wire::resource::{Alias, Frame, Grant, Who};

use crate::Tally;
use crate::model::{HISTORY, Model, SUBJECTS};

/// One alias.
#[derive(Debug)]
struct Reading {
    subject: String,
    session: u64,
    /// What the open has said.
    last: Option<(Epoch, u64)>,
    /// Set by `Accept`: the epoch, and the offset that comes next.
    next: Option<(Epoch, u64)>,
    /// Whether nothing has come yet.
    is_first: bool,
    /// Whether this end has closed it.
    closing: bool,
    /// What was sent, on a private channel.
    sent: Vec<String>,
}

/// A consumer.
#[derive(Debug)]
pub struct Reader {
    links: Links,
    dials: Option<Address>,
    redial_at: Instant,
    link: Option<Key>,
    model: Arc<Mutex<Model>>,
    wanted: BTreeMap<&'static str, bool>,
    lasts: BTreeMap<String, (Epoch, u64)>,
    readings: BTreeMap<Alias, Reading>,
    next_alias: u32,
    next_session: u64,
    /// Sends on the present connection, and how many of them were taken.
    sends: u64,
    taken: u64,
    tally: Tally,
}

impl Reader {
    pub fn new(
        me: Me,
        number: u64,
        dials: Option<Address>,
        model: Arc<Mutex<Model>>,
        now: Instant,
    ) -> Self {
        Self {
            links: Links::new(me, now),
            dials,
            redial_at: now,
            link: None,
            model,
            wanted: [("me", true), ("state.a", true), ("plain.a", true)].into(),
            lasts: BTreeMap::new(),
            readings: BTreeMap::new(),
            next_alias: 1,
            next_session: 1 + number * 1_000_000,
            sends: 0,
            taken: 0,
            tally: Tally::default(),
        }
    }

    /// Reads the subject, or reads it no more.
    pub fn toggle(&mut self, subject: &'static str, now: Instant) {
        if self.wanted.get(subject) == Some(&true) {
            self.links.set_now(now);
            self.wanted.insert(subject, false);
            let open = self.readings.iter_mut();
            let mut open = open.filter(|(_, one)| one.subject == subject && !one.closing);
            if let (Some(link), Some((alias, reading))) = (self.link, open.next()) {
                reading.closing = true;
                let frame = Frame::Close { alias: *alias, end: ChannelEnd::Closed };
                self.links.send(link, &frame);
            }
        } else {
            self.want(subject, now);
        }
    }

    /// Reads the subject.
    pub fn want(&mut self, subject: &'static str, now: Instant) {
        self.links.set_now(now);
        if self.wanted.insert(subject, true) != Some(true) {
            self.open(subject);
        }
    }

    /// Says something on its private channel.
    pub fn send(&mut self, now: Instant) {
        self.links.set_now(now);
        let mut readings = self.readings.iter_mut();
        let private = readings.find(|(_, one)| one.subject == "me" && one.next.is_some());
        // It is never closed by this end.
        let (Some(link), Some((alias, reading))) = (self.link, private) else { return };
        let text = self.model.lock().unwrap().fresh(10);
        let n = reading.sent.len() as u64 + 1;
        let session = Mid::from_number(reading.session).unwrap();
        let payload = text.as_bytes();
        let frame = Frame::Send { alias: *alias, session, cid: Cid(1), n, id: None, payload };
        self.links.send(link, &frame);
        reading.sent.push(text);
        self.sends += 1;
    }

    /// Everything was read, and all sends were taken.
    pub fn is_at_the_end(&self, tally: &mut Tally) {
        let model = self.model.lock().unwrap();
        assert_eq!(self.readings.len(), SUBJECTS.len() + 1, "{self:?}");
        for reading in self.readings.values() {
            let (ep, next) = reading.next.expect("it was accepted");
            let head = match reading.subject.as_str() {
                "me" => reading.sent.len() as u64 + 1,
                subject => model.head(subject, ep),
            };
            assert_eq!(next, head + 1, "{reading:?}");
        }
        assert_eq!(self.taken, self.sends);
        tally.messages += self.tally.messages;
        tally.gaps += self.tally.gaps;
        tally.resumed += self.tally.resumed;
        tally.states += self.tally.states;
        tally.replies += self.tally.replies;
    }

    fn open(&mut self, subject: &str) {
        let Some(link) = self.link else { return };
        let alias = Alias(self.next_alias);
        let session = self.next_session;
        self.next_alias += 1;
        self.next_session += 1;
        let last = self.lasts.get(subject).copied();
        let who = Who {
            session: Mid::from_number(session).unwrap(),
            cid: Cid(1),
            address: "10.0.0.1:5",
            user: "",
            parameters: Vec::new(),
        };
        let place = last.map(|(ep, n)| (ep, Offset(n)));
        self.links.send(link, &Frame::Open { alias, resource: "r", subject, last: place, who });
        let reading = Reading {
            subject: subject.to_string(),
            session,
            last,
            next: None,
            is_first: true,
            closing: false,
            sent: Vec::new(),
        };
        self.readings.insert(alias, reading);
    }

    fn take(&mut self, alias: Alias, frame: &Frame<'_>) {
        let reading = self.readings.get_mut(&alias).expect("an alias that was opened");
        if reading.closing {
            return;
        }
        let model = self.model.lock().unwrap();
        match *frame {
            Frame::Accept { grant, ep, next, .. } => {
                let private = reading.subject == "me";
                assert_eq!(grant, if private { Grant::Private } else { Grant::Shared });
                check_start(reading, &model, ep, next.0, &mut self.tally);
                assert_eq!(reading.next, None);
                reading.next = Some((ep, next.0));
            }
            Frame::Publish { n, snapshot, payload, .. } => {
                let (ep, next) = reading.next.expect("it was accepted");
                assert_eq!(n.0, next, "{reading:?}");
                let new = reading.is_first && reading.last.is_none_or(|(last, _)| last != ep);
                let may_be = new && reading.subject.starts_with("state");
                assert!(!snapshot || may_be, "{reading:?}");
                let expected = match reading.subject.as_str() {
                    "me" if next == 1 => "hello",
                    "me" => &reading.sent[next as usize - 2],
                    subject => model.says(subject, ep, next),
                };
                assert_eq!(std::str::from_utf8(payload).unwrap(), expected, "{reading:?}");
                (reading.next, reading.is_first) = (Some((ep, next + 1)), false);
                if reading.subject == "me" {
                    self.tally.replies += 1;
                } else {
                    self.lasts.insert(reading.subject.clone(), (ep, next));
                }
                self.tally.messages += 1;
                self.tally.states += u64::from(snapshot);
            }
            Frame::Begin { ep, next, .. } => {
                let (before, expected) = reading.next.expect("it was accepted");
                assert!(ep == before && next.0 > expected, "{reading:?}");
                let head = match reading.subject.as_str() {
                    "me" => reading.sent.len() as u64 + 1,
                    subject => model.head(subject, ep),
                };
                assert!(next.0 + HISTORY <= head + 1, "what is kept was passed over: {reading:?}");
                reading.next = Some((ep, next.0));
                self.tally.gaps += 1;
            }
            _ => panic!("{frame:?}"),
        }
    }
}

/// A reader must begin where the model says.
fn check_start(reading: &Reading, model: &Model, ep: Epoch, next: u64, tally: &mut Tally) {
    let head = model.head_at(reading.session);
    match reading.last {
        _ if reading.subject == "me" => assert_eq!(next, 1),
        Some((last, n)) if last == ep => {
            let kept = (head + 1).saturating_sub(HISTORY).max(1);
            assert!((n + 1..=kept.max(n + 1)).contains(&next), "{next} of {kept}: {reading:?}");
            tally.resumed += 1;
        }
        _ if reading.subject.starts_with("state") && head > 0 => {
            assert_eq!(next, head, "{reading:?}");
        }
        _ => assert_eq!(next, head + 1, "{reading:?}"),
    }
}

impl Station for Reader {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }

    fn on_greeted(&mut self, link: Key) {
        assert!(self.readings.is_empty());
        self.link = Some(link);
        (self.sends, self.taken) = (0, 0);
        let wanted: Vec<_> = self.wanted.iter().filter(|(_, is)| **is).map(|(s, _)| *s).collect();
        wanted.into_iter().for_each(|subject| self.open(subject));
    }

    fn on_frame(&mut self, _link: Key, frame: &Frame<'_>) {
        match frame {
            Frame::Taken { count } => {
                assert!(*count > self.taken && *count <= self.sends);
                self.taken = *count;
            }
            Frame::Close { alias, .. } => {
                let reading = self.readings.remove(alias).expect("it was opened");
                assert!(reading.closing, "{reading:?}");
            }
            Frame::Accept { alias, .. }
            | Frame::Publish { alias, .. }
            | Frame::Begin { alias, .. } => self.take(*alias, frame),
            // It reads from wherever it is connected to.
            Frame::Part { .. } | Frame::Register { .. } => {}
            _ => panic!("{frame:?}"),
        }
    }

    fn on_over(&mut self, link: Key, _other: Option<Other>, end: End) {
        assert!(!matches!(end, End::Broken(_) | End::Bye(_)), "{end}");
        if self.link == Some(link) || self.dials.is_some() {
            self.link = None;
            self.readings.clear();
            self.redial_at = self.links.now() + Span::from_millis(20);
        }
    }

    fn on_time(&mut self) {
        if let Some(address) = self.dials.clone()
            && self.redial_at <= self.links.now()
        {
            self.redial_at = Instant::NEVER;
            self.links.dial([address]);
        }
    }

    fn next_moment(&self) -> Option<Instant> {
        self.dials.as_ref().map(|_| self.redial_at).filter(|at| *at < Instant::NEVER)
    }
}

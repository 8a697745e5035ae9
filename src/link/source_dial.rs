//! What a source dials: registries, which are told what is served here and how many read it, and
//! consumers; and how it takes leave of them.

use crate::base::id::Key;
use crate::base::reason::ChannelEnd;
use crate::base::time::{Instant, Span};
use crate::link::address::Address;
use crate::link::peer::End;
use crate::link::source::Source;
use crate::link::source_error::SourceError;
use crate::link::source_settings::Settings;
use crate::wire::resource::{Frame, Role};

/// No connection is dialled again sooner.
const RETRY_MIN: Span = Span::from_millis(1);

/// Somebody who is dialled whenever there is no connection to it.
#[derive(Debug)]
pub(crate) struct Dial {
    pub(crate) address: Address,
    role: Role,
    /// Which part of a consumer.
    pub(crate) part: u32,
    pub(crate) link: Option<Key>,
    /// When it is dialled again, while there is no connection.
    pub(crate) due: Instant,
    /// The consumers that a registry was told of, by resource; `None` before it has greeted.
    reported: Option<Vec<u64>>,
    /// When it may be told of others.
    report_at: Instant,
    /// Why the last connection or attempt has ended; each reason is told to the operator once.
    trouble: Option<End>,
}

impl Dial {
    /// All that are to be dialled.
    pub(crate) fn all(settings: &Settings, now: Instant) -> Vec<Self> {
        let registries = settings.registries.iter().map(|address| (address, Role::Registry));
        let consumers = settings.dial.iter().map(|address| (address, Role::Consumer));
        let dial = |(address, role): (&Address, Role)| Self::new(address.clone(), role, 0, now);
        registries.chain(consumers).map(dial).collect()
    }

    /// Somebody who is to be dialled now.
    pub(crate) const fn new(address: Address, role: Role, part: u32, now: Instant) -> Self {
        Self {
            address,
            role,
            part,
            link: None,
            due: now,
            reported: None,
            report_at: now,
            trouble: None,
        }
    }

    /// What should be there.
    pub(crate) const fn role(&self) -> Role {
        self.role
    }

    /// The connection, or the attempt.
    pub(crate) const fn link(&self) -> Option<Key> {
        self.link
    }

    /// Whether a registry knows what is served here.
    pub(crate) const fn is_registered(&self) -> bool {
        self.reported.is_some()
    }
}

impl Source {
    /// Dials whoever is to be dialled and is not connected.
    pub(crate) fn dial_due(&mut self) {
        let now = self.links.now();
        for at in 0..self.dials.len() {
            let dial = &self.dials[at];
            if dial.link.is_none() && dial.due <= now && !self.left && self.is_led(dial) {
                let address = dial.address.clone();
                self.dials[at].link = Some(match dial.role {
                    Role::Consumer => self.links.dial_part(address, dial.part),
                    Role::Resource | Role::Registry => self.links.dial([address]),
                });
            }
        }
    }

    /// How long whoever was lost is left alone.
    pub(crate) fn retry(&self) -> Span {
        self.settings.retry.max(RETRY_MIN)
    }

    /// A connection, or an attempt, is over.
    pub(crate) fn dial_over(&mut self, link: Key, end: End) {
        let due = self.links.now() + self.retry();
        let Some(at) = self.dials.iter().position(|dial| dial.link == Some(link)) else { return };
        let address = &self.dials[at].address;
        // What befalls all parts of a consumer is told once.
        let mut there = self.dials.iter().filter(|dial| dial.address == *address);
        if there.all(|dial| dial.trouble.as_ref() != Some(&end)) && !self.left {
            log::warn!("{address}: {end}; it is dialled again");
        }
        let dial = &mut self.dials[at];
        (dial.link, dial.due, dial.reported) = (None, due, None);
        dial.trouble = Some(end);
    }

    /// A registry that was dialled has greeted.
    pub(crate) fn register_all(&mut self, at: usize) {
        self.dials[at].reported = Some(Vec::new());
        self.dials[at].report_at = self.links.now();
        log::info!("registered at {}", self.dials[at].address);
        let Some(link) = self.dials[at].link else { return };
        for office in self.offices.iter().filter(|office| office.withdrawn.is_none()) {
            let (served, addresses) = (&office.served, &self.addresses);
            let handle = served.handle(addresses);
            self.links.send(link, &Frame::Register { resource: &served.name, handle });
        }
        self.moved = true;
    }

    /// All registries are told of a resource, or of its other handle, and so are consumers that
    /// were dialled.
    pub(crate) fn register(&mut self, at: usize) {
        let office = &self.offices[at];
        if office.withdrawn.is_some() {
            return;
        }
        for link in self.hosts() {
            let handle = office.served.handle(&[]);
            self.links.send(link, &Frame::Register { resource: &office.served.name, handle });
        }
        for dial in self.dials.iter().filter(|dial| dial.is_registered()) {
            let Some(link) = dial.link else { continue };
            let handle = office.served.handle(&self.addresses);
            self.links.send(link, &Frame::Register { resource: &office.served.name, handle });
        }
        self.moved = true;
    }

    /// This source is dialled at `addresses` from now on; registries learn it.
    pub fn set_addresses(&mut self, addresses: &[Address], now: Instant) {
        self.links.set_now(now);
        self.addresses = addresses.iter().map(ToString::to_string).collect();
        for at in 0..self.offices.len() {
            self.register(at);
        }
    }

    /// Tells registries of the numbers of consumers that have changed, each at most once in a
    /// heartbeat.
    pub(crate) fn report(&mut self) {
        self.moved = false;
        let (now, heartbeat) = (self.links.now(), self.links.me().heartbeat);
        for dial in &mut self.dials {
            let (Some(link), Some(reported)) = (dial.link, &mut dial.reported) else { continue };
            if dial.report_at > now {
                continue;
            }
            reported.resize(self.offices.len(), 0);
            for (office, reported) in self.offices.iter().zip(reported) {
                if office.withdrawn.is_none() && *reported != office.consumers {
                    let (resource, consumers) = (office.served.name.as_str(), office.consumers);
                    self.links.send(link, &Frame::Load { resource, consumers });
                    *reported = consumers;
                    dial.report_at = now + heartbeat;
                }
            }
        }
    }

    /// When somebody is dialled again, or a registry may be told something.
    pub(crate) fn next_dial(&self) -> Option<Instant> {
        let moments = self.dials.iter().filter_map(|dial| match (&dial.link, &dial.reported) {
            (None, _) => Some(dial.due).filter(|_| !self.left && self.is_led(dial)),
            (Some(_), Some(reported)) => {
                let known = reported.iter().copied().chain(std::iter::repeat(0));
                let mut offices = self.offices.iter().zip(known);
                let differs = offices
                    .any(|(office, known)| office.withdrawn.is_none() && office.consumers != known);
                differs.then_some(dial.report_at)
            }
            (Some(_), None) => None,
        });
        moments.min()
    }

    /// A resource takes nobody new: registries learn it, and all consumers, who move those that
    /// read it to another instance. Who has not moved when the grace is over loses the channel.
    ///
    /// # Errors
    ///
    /// If there is no such resource.
    pub fn withdraw(&mut self, resource: &str, now: Instant) -> Result<(), SourceError> {
        self.links.set_now(now);
        let at = self.office(resource)?;
        self.withdraw_at(at, now + self.settings.grace);
        Ok(())
    }

    fn withdraw_at(&mut self, at: usize, end: Instant) {
        if self.offices[at].withdrawn.is_some() {
            return;
        }
        self.offices[at].withdrawn = Some(end);
        let frame = Frame::Withdraw { resource: &self.offices[at].served.name };
        let registries = self.dials.iter().filter(|dial| dial.is_registered());
        for link in registries.filter_map(Dial::link).chain(self.lanes.keys().copied()) {
            self.links.send(link, &frame);
        }
    }

    /// Resources whose consumers have had time enough to move are gone.
    pub(crate) fn end_withdrawn(&mut self) {
        let now = self.links.now();
        for at in 0..self.offices.len() {
            if self.offices[at].withdrawn.is_none_or(|end| end > now) {
                continue;
            }
            self.offices[at].withdrawn = Some(Instant::NEVER);
            let is_of = |key: &Key| self.topics.get(*key).is_some_and(|topic| topic.office == at);
            let keys: Vec<_> = self.topics.keys().filter(is_of).collect();
            for key in keys {
                // A conversation that may go on elsewhere is not over.
                let topic = self.topics.get(key);
                match topic.is_some_and(|topic| topic.consumer.is_some() && topic.terms.reopen) {
                    true => self.end_topic(key, ChannelEnd::Expired),
                    false => self.close_topic(key),
                }
            }
        }
    }

    /// When consumers have had time enough to move.
    pub(crate) fn next_end(&self) -> Option<Instant> {
        let ends = self.offices.iter().filter_map(|office| office.withdrawn);
        let ends = ends.chain(self.leaving.filter(|_| !self.left));
        ends.filter(|end| *end < Instant::NEVER).min()
    }

    /// Stops: withdraws all resources, and takes leave of everybody when nobody reads any more, or
    /// after `grace`. A consumer that reads then looks for another instance and goes on there.
    pub fn leave(&mut self, grace: Span, now: Instant) {
        self.links.set_now(now);
        for at in 0..self.offices.len() {
            self.withdraw_at(at, Instant::NEVER);
        }
        self.leaving = Some(now + grace);
        // What was published goes first.
        self.pull();
        self.leave_if_due();
    }

    /// Takes leave of everybody, if it is time.
    pub(crate) fn leave_if_due(&mut self) {
        let now = self.links.now();
        let Some(end) = self.leaving.filter(|_| !self.left) else { return };
        if end > now && self.lanes.values().any(|lane| !lane.bindings.is_empty()) {
            return;
        }
        self.left = true;
        let dialled = self.dials.iter().filter_map(Dial::link);
        let lanes = self.lanes.keys().chain(&self.attached).copied();
        let links: Vec<_> = dialled.chain(lanes).collect();
        for link in links {
            self.links.leave(link, "this resource server stops");
        }
    }

    /// Whether it has stopped, and everybody has been told.
    pub fn is_over(&self) -> bool {
        self.left && self.links.is_empty()
    }
}

//! The consumer's end: finds the instances of resources through registries, connects to them, and
//! keeps its subscriptions alive while instances and registries come and go.

use std::collections::{BTreeSet, VecDeque};

use crate::base::id::{Cid, Epoch, Key, Mid, Offset};
use crate::base::reason::{ChannelEnd, ErrorCode};
use crate::base::time::{Instant, Span};
use crate::link::address::Address;
use crate::link::guesses::Guesses;
use crate::link::guests::Guests;
use crate::link::handler::Consumer;
use crate::link::instances::Instances;
use crate::link::links::Links;
use crate::link::listing::{Found, Listings};
use crate::link::news::{Granted, News};
use crate::link::peer::{End, Me, Other};
use crate::link::seeking::Registries;
use crate::link::station::Station;
use crate::mem::slab::Slots;
use crate::wire::resource::{Alias, Frame, Grant, InstanceId, Role};

/// How resources are sought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seek {
    /// The registries, the one to be asked first in front.
    pub registries: Vec<Address>,
    /// Whether resources dial this process, of which some may be on their way.
    pub guests: bool,
    /// The parts of this process, each with a consumer's end of its own, that resources which dial
    /// it connect to; 1 to [`PARTS_MAX`](crate::wire::resource::PARTS_MAX).
    pub parts: u32,
    /// How long a registry that was lost, or a subject that nobody serves, is left alone.
    pub retry: Span,
    /// How long a subject that was served may be without an instance before it is given up, and
    /// how long a new one waits for a registry to answer.
    pub patience: Span,
}

/// Where a want is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Nowhere yet: it waits for a registry, or for the next attempt.
    Nowhere,
    /// A registry was asked: the number of the question.
    Asked(u64),
    /// An instance was found; whether it is asked, who judges by its access list will say.
    Found,
    /// An instance's connection, where it waits to be opened or is open, under an alias.
    At(Key, Option<u32>),
}

/// A subject that is wanted.
#[derive(Debug)]
pub(crate) struct Want {
    pub(crate) resource: String,
    pub(crate) subject: String,
    pub(crate) who: Consumer,
    /// Whether it is known, or believed, to be a private channel.
    pub(crate) private: bool,
    /// Whether the resource says that it is one, so that this is no guess.
    pub(crate) surely: bool,
    /// Whether it goes on with another instance if it is a private channel whose own is lost.
    pub(crate) reopen: bool,
    /// What is there of it already.
    pub(crate) last: Option<(Epoch, Offset)>,
    /// Whether it was ever accepted.
    pub(crate) accepted: bool,
    /// Whether the instance that serves it takes messages.
    pub(crate) takes_messages: bool,
    /// Whether an instance serves it now.
    pub(crate) served: bool,
    pub(crate) place: Place,
    /// The instance that was found, while nobody has judged.
    pub(crate) found: Option<Found>,
    /// Whether the instance that was found last had an access list.
    pub(crate) listed: bool,
    /// Instances that did not answer, or refused.
    pub(crate) without: Vec<InstanceId>,
    /// When it is given up, if nobody serves it until then.
    pub(crate) give_up_at: Instant,
}

/// The consumer's end.
#[derive(Debug)]
pub struct Upstream {
    pub(crate) links: Links,
    pub(crate) seek: Seek,
    pub(crate) registries: Registries,
    pub(crate) instances: Instances,
    guesses: Guesses,
    pub(crate) guests: Guests,
    pub(crate) listings: Listings,
    pub(crate) wants: Slots<Want>,
    /// Wants that wait: when they are looked at again.
    pub(crate) waiting: BTreeSet<(Instant, Key)>,
    pub(crate) news: VecDeque<News>,
    payloads: Vec<u8>,
}

impl Upstream {
    /// Dials the registries; `me` says who this process is (its role is set here).
    pub fn new(me: Me, seek: Seek, now: Instant) -> Self {
        let me = Me { role: Role::Consumer, ..me };
        let mut upstream = Self {
            links: Links::new(me, now),
            registries: Registries::new(&seek.registries),
            seek,
            instances: Instances::default(),
            guesses: Guesses::default(),
            guests: Guests::new(now),
            listings: Listings::default(),
            wants: Slots::new(0),
            waiting: BTreeSet::new(),
            news: VecDeque::new(),
            payloads: Vec::new(),
        };
        upstream.dial_registries();
        upstream
    }

    /// Wants a subject from now on; what comes of it is told by [`Upstream::poll_news`]. `last` is
    /// what is there of it already; `private`: it is known that the consumer will have it alone.
    pub fn want(
        &mut self,
        resource: &str,
        subject: &str,
        who: Consumer,
        last: Option<(Epoch, Offset)>,
        private: bool,
    ) -> Key {
        let private = private || self.guesses.is_private(resource, subject);
        let want = self.wants.insert(Want {
            resource: resource.to_string(),
            subject: subject.to_string(),
            who,
            private,
            surely: false,
            reopen: false,
            last,
            accepted: false,
            takes_messages: false,
            served: false,
            place: Place::Nowhere,
            found: None,
            listed: false,
            without: Vec::new(),
            give_up_at: self.links.now() + self.seek.patience,
        });
        self.seek_for(want);
        want
    }

    /// Wants it no longer; its key means nothing any more.
    pub fn drop_want(&mut self, want: Key) {
        let Some(gone) = self.wants.remove(want) else { return };
        self.leave_place(gone.place, ChannelEnd::Closed);
    }

    /// Passes a consumer's message to the instance that serves its subject; false: nobody serves
    /// it now, or who does takes no messages.
    pub fn send(
        &mut self,
        want: Key,
        (session, cid, n): (Mid, Cid, u64),
        id: Option<&str>,
        payload: &[u8],
    ) -> bool {
        let Some((link, alias)) = self.open_at(want) else { return false };
        if !self.wants.get(want).is_some_and(|wanted| wanted.takes_messages) {
            return false;
        }
        self.instances.note_send(link, alias, (session, cid, n));
        self.links.send(link, &Frame::Send { alias, session, cid, n, id, payload });
        true
    }

    /// Tells the resource that numbers of a consumer were given up.
    pub fn skipped(&mut self, want: Key, (session, cid): (Mid, Cid), from: u64, to: u64) {
        if let Some((link, alias)) = self.open_at(want) {
            self.instances.note_skipped(link);
            self.links.send(link, &Frame::Skipped { alias, session, cid, from, to });
        }
    }

    /// Tells the resource how many read the subject here.
    pub fn metrics(&mut self, want: Key, consumers: u64, round_trip: Span, behind: u64) {
        if let Some((link, alias)) = self.open_at(want) {
            self.instances.note_consumers(link, alias, consumers);
            let round_trip = round_trip.as_micros();
            self.links.send(link, &Frame::Metrics { alias, consumers, round_trip, behind });
        }
    }

    /// What has happened, in order. The payloads of messages are in [`Upstream::payloads`] until
    /// [`Upstream::forget_news`].
    pub fn poll_news(&mut self) -> Option<News> {
        self.news.pop_front()
    }

    /// The payloads of the messages in the news.
    pub fn payloads(&self) -> &[u8] {
        &self.payloads
    }

    /// All news were read: their payloads are forgotten.
    pub fn forget_news(&mut self) {
        self.payloads.clear();
    }

    /// When [`Station::handle_timeout`] is due at the latest.
    pub fn next_due(&self) -> Option<Instant> {
        [self.links.next_timeout(), self.next_moment()].into_iter().flatten().min()
    }

    /// Whether the want is served now.
    pub fn is_served(&self, want: Key) -> bool {
        self.wants.get(want).is_some_and(|want| want.served)
    }

    /// The connection and alias of a want that was opened.
    pub(crate) fn open_at(&self, want: Key) -> Option<(Key, Alias)> {
        match self.wants.get(want)?.place {
            Place::At(link, Some(alias)) => Some((link, Alias(alias))),
            Place::At(_, None) | Place::Nowhere | Place::Asked(_) | Place::Found => None,
        }
    }

    /// Looks at a want again after `span`, or when it is given up, if that is earlier.
    pub(crate) fn wait(&mut self, want: Key, span: Span) {
        let now = self.links.now();
        let Some(waiting) = self.wants.get_mut(want) else { return };
        waiting.place = Place::Nowhere;
        self.waiting.insert(((now + span).min(waiting.give_up_at), want));
    }

    /// The want is over before it was ever served, or for good.
    pub(crate) fn give_up(&mut self, want: Key, code: ErrorCode, detail: &str) {
        let Some(gone) = self.wants.remove(want) else { return };
        self.news.push_back(match gone.accepted {
            true => News::Closed { want, end: ChannelEnd::Gone },
            false => News::Denied { want, code, detail: detail.to_string() },
        });
    }

    /// Takes what an instance says of a want.
    pub(crate) fn hear(&mut self, want: Key, frame: &Frame<'_>) {
        let Some(wanted) = self.wants.get_mut(want) else { return };
        match *frame {
            Frame::Accept { grant, ep, next, terms, .. } => {
                let (private, shared) = (grant == Grant::Private, grant == Grant::Shared);
                if private || shared {
                    self.guesses.learn(&wanted.resource, &wanted.subject, private);
                }
                if shared && wanted.private && !wanted.surely && !wanted.accepted {
                    return self.guessed_wrong(want);
                }
                (wanted.accepted, wanted.served) = (true, true);
                (wanted.private, wanted.reopen) = (private, private && terms.reopen);
                wanted.without.clear();
                wanted.last = next.0.checked_sub(1).map(|n| (ep, Offset(n)));
                let granted = match grant {
                    Grant::Shared => Granted::Shared,
                    Grant::Private => Granted::Private,
                    Grant::Other(subject) => Granted::Other(subject.to_string()),
                };
                let takes_messages = wanted.takes_messages;
                let accepted = News::Accepted { want, granted, ep, next, terms, takes_messages };
                self.news.push_back(accepted);
            }
            Frame::Publish { n, snapshot, payload, .. } => {
                let Some((ep, _)) = wanted.last else { return };
                wanted.last = Some((ep, n));
                let from = self.payloads.len();
                self.payloads.extend_from_slice(payload);
                let payload = from..self.payloads.len();
                self.news.push_back(News::Message { want, ep, n, snapshot, payload });
            }
            Frame::Begin { ep, next, .. } => {
                wanted.last = next.0.checked_sub(1).map(|n| (ep, Offset(n)));
                self.news.push_back(News::Begin { want, ep, next });
            }
            _ => {}
        }
    }

    /// It was believed to be a private channel and is a shared subject, which all read from the
    /// instance that its name leads to.
    fn guessed_wrong(&mut self, want: Key) {
        let Some(wanted) = self.wants.get_mut(want) else { return };
        let place = std::mem::replace(&mut wanted.place, Place::Nowhere);
        wanted.private = false;
        self.leave_alias(place);
        self.seek_for(want);
    }

    /// The questions and wants that are due.
    fn look_again(&mut self) {
        let now = self.links.now();
        while let Some((at, want)) = self.waiting.first().copied()
            && at <= now
        {
            self.waiting.pop_first();
            let Some(waiting) = self.wants.get_mut(want) else { continue };
            if waiting.place != Place::Nowhere {
                continue;
            }
            if waiting.give_up_at <= now {
                self.give_up(want, ErrorCode::NoInstance, "no instance of the resource answers");
                continue;
            }
            waiting.without.clear();
            self.seek_for(want);
        }
    }
}

impl Station for Upstream {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }

    fn on_greeted(&mut self, link: Key) {
        if self.registries.is_one(link) {
            self.registry_is_there(link);
        } else {
            self.instance_is_there(link);
        }
    }

    fn on_frame(&mut self, link: Key, frame: &Frame<'_>) {
        if self.registries.is_one(link) {
            self.hear_registry(link, frame);
        } else {
            self.hear_instance(link, frame);
        }
    }

    fn on_over(&mut self, link: Key, other: Option<Other>, end: End) {
        if self.registries.is_one(link) {
            self.registry_is_gone(link, &end);
        } else {
            self.instance_is_gone(link, other.as_ref(), &end);
        }
    }

    fn on_time(&mut self) {
        self.dial_registries();
        self.look_again();
    }

    fn next_moment(&self) -> Option<Instant> {
        let waiting = self.waiting.first().map(|(at, _)| *at);
        [waiting, self.registries.next_dial()].into_iter().flatten().min()
    }
}

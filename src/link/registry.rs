//! The registry: which instances serve a resource, and which of them an asker should go to.
//!
//! Resources register what they serve over a connection that they keep; what is registered is gone
//! with it. Consumers ask over theirs, and are told when what they were answered is no longer so.
//! Nothing is stored. Several registries know nothing of each other: resources register at each of
//! them, and a consumer may ask any.

use std::collections::{HashMap, VecDeque};

use crate::base::id::Key;
use crate::base::name::{TopicName, check_resource};
use crate::base::time::Instant;
use crate::link::handle::OwnedHandle;
use crate::link::links::Links;
use crate::link::peer::{End, Me, Other};
use crate::link::registry_book::{Book, Place, Question, Registration};
use crate::link::station::Station;
use crate::wire::resource::{Frame, Handle, InstanceId, Role};

/// Bytes that may wait for whoever asks faster than it reads.
const WAITING_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of a listing that are put out ahead of the socket.
const LIST_BYTES: usize = 64 * 1024;
/// Listings that a consumer may have asked for at a time.
const LISTINGS_MAX: usize = 16;
/// Bytes of the name of a process.
const NAME_BYTES_MAX: usize = 255;

/// The listings that a consumer has asked for.
#[derive(Debug, Default)]
struct Listing {
    asks: VecDeque<u64>,
    /// What was told of the first of them last.
    after: Option<Place>,
}

/// A registry.
///
/// ```
/// use ahm::base::time::{Instant, Span};
/// use ahm::link::peer::Me;
/// use ahm::link::registry::Registry;
/// use ahm::link::station::Station;
/// use ahm::wire::resource::{InstanceId, Role};
///
/// let me = Me {
///     role: Role::Registry,
///     instance: InstanceId(1),
///     name: "registry".into(),
///     heartbeat: Span::from_secs(5),
///     key: String::new(),
///     demands: String::new(),
/// };
/// let mut registry = Registry::new(me, Instant::ZERO);
/// // A shell accepts connections and moves bytes; see `resource::driver`.
/// let link = registry.handle_accepted(Instant::ZERO);
/// assert!(registry.poll_output().is_some(), "it greets");
/// registry.handle_failed(link, Instant::ZERO);
/// assert_eq!(registry.instance_count(), 0);
/// ```
#[derive(Debug)]
pub struct Registry {
    links: Links,
    book: Book,
    listings: HashMap<Key, Listing>,
}

impl Registry {
    /// A registry of which nobody knows yet.
    pub fn new(me: Me, now: Instant) -> Self {
        let (book, listings) = (Book::default(), HashMap::new());
        Self { links: Links::new(me, now), book, listings }
    }

    /// Instances of resources that are registered.
    pub const fn instance_count(&self) -> usize {
        self.book.registrations()
    }

    /// What a frame asks for; says why the connection cannot go on after it.
    fn take(&mut self, link: Key, frame: &Frame<'_>) -> Result<(), String> {
        let Some(other) = self.links.other(link).cloned() else { return Ok(()) };
        match (other.role, frame) {
            (Role::Resource, Frame::Register { resource, handle }) => {
                self.register(link, other, resource, handle)?;
            }
            (Role::Resource, Frame::Withdraw { resource }) => {
                if self.book.withdraw(link, resource, other.instance) {
                    log::info!("{resource}: {} was withdrawn", other.name);
                    self.tell(resource);
                }
            }
            (Role::Resource, Frame::Load { resource, consumers }) => {
                let now = self.links.now();
                if self.book.load(link, resource, other.instance, (*consumers, now)) {
                    self.tell(resource);
                }
            }
            (Role::Consumer, Frame::Resolve { ask, resource, subject, private, without }) => {
                TopicName::new(resource, subject).map_err(|error| error.to_string())?;
                let (private, without) = (*private, without.as_slice());
                self.resolve(link, *ask, Question { resource, subject, private, without })?;
            }
            (Role::Consumer, Frame::List { ask }) => {
                let listing = self.listings.entry(link).or_default();
                if listing.asks.len() >= LISTINGS_MAX {
                    return Err("too many listings are asked for at a time".into());
                }
                listing.asks.push_back(*ask);
                self.list(link);
            }
            (_, Frame::Register { .. } | Frame::Withdraw { .. } | Frame::Load { .. }) => {
                return Err("only a resource registers".into());
            }
            (_, Frame::Resolve { .. } | Frame::List { .. }) => {
                return Err("only a consumer asks".into());
            }
            _ => return Err("a registry takes no frame of this kind".into()),
        }
        Ok(())
    }

    fn register(
        &mut self,
        link: Key,
        other: Other,
        resource: &str,
        handle: &Handle<'_>,
    ) -> Result<(), String> {
        check_resource(resource).map_err(|error| format!("{resource:?}: {error}"))?;
        let handle = OwnedHandle::check(handle).map_err(|what| format!("{resource}: {what}"))?;
        let (id, name, now) = (other.instance, other.name, self.links.now());
        let told = format!("{resource}: {name} is registered");
        if self.book.register(resource, id, Registration { link, name, handle, now })? {
            log::info!("{told}");
            self.tell(resource);
        }
        Ok(())
    }

    fn resolve(&mut self, link: Key, ask: u64, asked: Question<'_>) -> Result<(), String> {
        if self.links.waiting(link) > WAITING_BYTES_MAX {
            return Err("the answers are not read".into());
        }
        let no_more = self.book.watch(link, asked.resource)?;
        if let Some(resource) = no_more {
            self.links.send(link, &Frame::Changed { resource: &resource });
        }
        let fills = match self.book.choose(asked, self.links.now()) {
            Ok(choice) => {
                let (instance, handle) = (choice.instance, choice.handle.lend());
                self.links.send(link, &Frame::Resolved { ask, instance, handle });
                choice.fills
            }
            Err(code) => {
                self.links.send(link, &Frame::Unresolved { ask, code });
                false
            }
        };
        if fills {
            self.tell(asked.resource);
        }
        Ok(())
    }

    /// Those who were answered about the resource are told that it is no longer so.
    fn tell(&mut self, resource: &str) {
        for link in self.book.take_watchers(resource) {
            self.links.send(link, &Frame::Changed { resource });
        }
    }

    /// Goes on with the listings of a connection, as far as it reads them.
    fn list(&mut self, link: Key) {
        let Self { links, book, listings } = self;
        let Some(listing) = listings.get_mut(&link) else { return };
        while links.waiting(link) < LIST_BYTES {
            let Some(ask) = listing.asks.front().copied() else {
                listings.remove(&link);
                return;
            };
            let Some((place, one)) = book.next_after(listing.after.as_ref()) else {
                links.send(link, &Frame::ListEnd { ask });
                listing.asks.pop_front();
                listing.after = None;
                continue;
            };
            let now = links.now();
            let heard_at = links.heard_at(one.link).unwrap_or(now);
            let entry = Frame::Entry {
                ask,
                resource: &place.0,
                instance: place.1,
                name: &one.name,
                handle: one.handle.lend(),
                consumers: one.consumers,
                heard: now.since(heard_at),
                since: now.since(one.since),
            };
            links.send(link, &entry);
            listing.after = Some(place);
        }
    }
}

impl Station for Registry {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }

    fn on_greeted(&mut self, link: Key) {
        let Some(other) = self.links.other(link) else { return };
        let (role, name) = (other.role, other.name.as_str());
        if role == Role::Registry {
            self.links.break_off(link, "registries have nothing to say to each other");
        } else if name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            self.links.break_off(link, "a name has at most 255 bytes and no control characters");
        }
    }

    fn on_frame(&mut self, link: Key, frame: &Frame<'_>) {
        if let Err(what) = self.take(link, frame) {
            self.links.break_off(link, &what);
        }
    }

    fn on_over(&mut self, link: Key, other: Option<Other>, end: End) {
        self.listings.remove(&link);
        let (id, name) = other.map_or((InstanceId(0), String::new()), |it| (it.instance, it.name));
        let lost = self.book.leave(link, id);
        match &end {
            End::Broken(_) => log::warn!("a connection was broken off: {name}: {end}"),
            _ => log::debug!("a connection is over: {name}: {end}"),
        }
        for resource in lost {
            log::info!("{resource}: {name} is gone: {end}");
            self.tell(&resource);
        }
    }

    fn on_emptied(&mut self, link: Key) {
        self.list(link);
    }

    fn on_time(&mut self) {
        for resource in self.book.expire(self.links.now()) {
            self.tell(&resource);
        }
    }

    fn next_moment(&self) -> Option<Instant> {
        self.book.next_expiry()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Span;
    use crate::link::links::Output;
    use crate::link::registry_book::{REGISTRATIONS_PER_LINK_MAX, WATCHES_PER_LINK_MAX};
    use crate::wire::resource::VERSION;
    use crate::wire::resource_decode::Decoder;
    use crate::wire::resource_encode::put_frame;

    const BEAT: Span = Span::from_secs(1);

    /// A registry, and the other ends of its connections.
    struct Desk {
        registry: Registry,
        now: Instant,
    }

    /// The other end of one connection.
    struct Caller {
        link: Key,
        decoder: Decoder,
        heard: Vec<String>,
    }

    impl Desk {
        fn new() -> Self {
            let me = Me {
                role: Role::Registry,
                instance: InstanceId(0),
                name: "here".into(),
                heartbeat: BEAT,
                key: String::new(),
                demands: String::new(),
            };
            Self { registry: Registry::new(me, Instant::ZERO), now: Instant::ZERO }
        }

        fn call(&mut self, role: Role, instance: u64) -> Caller {
            let link = self.registry.handle_accepted(self.now);
            let mut caller = Caller { link, decoder: Decoder::new(1 << 20), heard: Vec::new() };
            let (version, heartbeat, key) = (VERSION, BEAT, "");
            let (instance, name) = (InstanceId(instance), format!("process {instance}"));
            let name = name.as_str();
            self.say(&caller, &Frame::Hello { version, role, instance, heartbeat, name, key });
            let mut heard = self.hear(&mut caller);
            assert!(heard.remove(0).starts_with("Hello"));
            caller.heard = heard;
            caller
        }

        fn resource(&mut self, instance: u64) -> Caller {
            self.call(Role::Resource, instance)
        }

        fn consumer(&mut self) -> Caller {
            self.call(Role::Consumer, 99)
        }

        fn say(&mut self, caller: &Caller, frame: &Frame<'_>) {
            let mut bytes = Vec::new();
            put_frame(&mut bytes, frame);
            self.registry.handle_received(caller.link, &bytes, self.now);
        }

        /// What the other end has heard since the last time.
        fn hear(&mut self, caller: &mut Caller) -> Vec<String> {
            loop {
                let mut bytes = Vec::new();
                self.registry.transmit(caller.link, self.now, &mut |some| {
                    bytes.extend_from_slice(some);
                    (some.len(), false)
                });
                if bytes.is_empty() {
                    return std::mem::take(&mut caller.heard);
                }
                let Caller { decoder, heard, .. } = caller;
                decoder.push(&bytes, |frame| heard.push(told(&frame))).unwrap();
            }
        }

        fn register(&mut self, caller: &Caller, resource: &str, capacity: u64, address: &str) {
            let addresses = vec![address];
            let handle = Handle { addresses, capacity, weight: 1, ..Handle::default() };
            self.say(caller, &Frame::Register { resource, handle });
        }

        fn load(&mut self, caller: &Caller, resource: &str, consumers: u64) {
            self.say(caller, &Frame::Load { resource, consumers });
        }

        fn ask(&mut self, caller: &mut Caller, resource: &str, private: bool) -> Vec<String> {
            self.ask_without(caller, resource, private, &[])
        }

        fn ask_without(
            &mut self,
            caller: &mut Caller,
            resource: &str,
            private: bool,
            without: &[u64],
        ) -> Vec<String> {
            let without = without.iter().copied().map(InstanceId).collect();
            let (ask, subject) = (7, "EURUSD");
            self.say(caller, &Frame::Resolve { ask, resource, subject, private, without });
            self.hear(caller)
        }

        fn list(&mut self, caller: &mut Caller) -> Vec<String> {
            self.say(caller, &Frame::List { ask: 8 });
            self.hear(caller)
        }

        fn pass(&mut self, span: Span) {
            self.now += span;
            self.registry.handle_timeout(self.now);
        }
    }

    fn told(frame: &Frame<'_>) -> String {
        match frame {
            Frame::Hello { name, .. } => format!("Hello {name}"),
            Frame::Resolved { ask: 7, instance, handle } => {
                format!("{} at {}", instance.0, handle.addresses.join(" "))
            }
            Frame::Unresolved { ask: 7, code } => code.word().to_string(),
            Frame::Changed { resource } => format!("changed {resource}"),
            Frame::Bye { reason } => format!("bye: {reason}"),
            Frame::Entry { ask: 8, resource, instance, name, consumers, heard, since, .. } => {
                let (heard, since) = (heard.as_millis(), since.as_millis());
                format!("{resource} {} {name}: {consumers}, {heard}, {since}", instance.0)
            }
            Frame::ListEnd { ask: 8 } => "end".to_string(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn what_is_registered_is_found_and_gone_with_its_connection() {
        let mut desk = Desk::new();
        let mut consumer = desk.consumer();
        assert_eq!(desk.ask(&mut consumer, "fx", false), ["no-resource"]);
        let source = desk.resource(1);
        desk.register(&source, "fx", 0, "127.0.0.1:9000");
        assert_eq!(desk.hear(&mut consumer), ["changed fx"]);
        assert_eq!(desk.ask(&mut consumer, "fx", false), ["1 at 127.0.0.1:9000"]);
        assert_eq!(desk.ask_without(&mut consumer, "fx", false, &[1]), ["no-instance"]);
        desk.load(&source, "fx", 3);
        desk.pass(Span::from_millis(40));
        let listed = desk.list(&mut consumer);
        assert_eq!(listed, ["fx 1 process 1: 3, 40, 40", "end"]);
        desk.registry.handle_failed(source.link, desk.now);
        assert_eq!(desk.hear(&mut consumer), ["changed fx"]);
        assert_eq!(desk.ask(&mut consumer, "fx", false), ["no-resource"]);
        assert_eq!(desk.list(&mut consumer), ["end"]);
    }

    #[test]
    fn who_is_silent_is_gone() {
        let mut desk = Desk::new();
        let source = desk.resource(1);
        let mut consumer = desk.consumer();
        desk.register(&source, "fx", 0, "127.0.0.1:9000");
        assert_eq!(desk.ask(&mut consumer, "fx", false), ["1 at 127.0.0.1:9000"]);
        // Only the consumer beats.
        for _ in 0..5 {
            desk.pass(Span::from_millis(550));
            desk.say(&consumer, &Frame::Pong { stamp: 0 });
        }
        assert_eq!(desk.registry.instance_count(), 1);
        desk.pass(Span::from_millis(550));
        assert_eq!(desk.registry.instance_count(), 0);
        assert!(desk.hear(&mut consumer).contains(&"changed fx".to_string()));
    }

    #[test]
    fn changes_are_told_once_and_only_to_those_who_asked() {
        let mut desk = Desk::new();
        let (one, two) = (desk.resource(1), desk.resource(2));
        let (mut asker, mut other) = (desk.consumer(), desk.consumer());
        desk.register(&one, "fx", 0, "127.0.0.1:1");
        desk.register(&one, "news", 0, "127.0.0.1:1");
        assert_eq!(desk.ask(&mut asker, "fx", false), ["1 at 127.0.0.1:1"]);
        assert_eq!(desk.ask(&mut other, "news", false), ["1 at 127.0.0.1:1"]);
        // The same again is no change.
        desk.register(&one, "fx", 0, "127.0.0.1:1");
        assert_eq!(desk.hear(&mut asker), [""; 0]);
        desk.register(&one, "fx", 0, "127.0.0.1:3");
        desk.register(&one, "fx", 0, "127.0.0.1:4");
        assert_eq!(desk.hear(&mut asker), ["changed fx"]);
        assert_eq!(desk.ask(&mut asker, "fx", false), ["1 at 127.0.0.1:4"]);
        desk.register(&two, "fx", 0, "127.0.0.1:2");
        assert_eq!(desk.hear(&mut asker), ["changed fx"]);
        desk.ask(&mut asker, "fx", false);
        desk.say(&one, &Frame::Withdraw { resource: "fx" });
        assert_eq!(desk.hear(&mut asker), ["changed fx"]);
        assert_eq!(desk.ask(&mut asker, "fx", false), ["2 at 127.0.0.1:2"]);
        // Withdrawn is withdrawn: its loads and a second time change nothing.
        desk.load(&one, "fx", 5);
        desk.say(&one, &Frame::Withdraw { resource: "fx" });
        assert_eq!(desk.hear(&mut asker), [""; 0]);
        assert_eq!(desk.hear(&mut other), [""; 0]);
    }

    #[test]
    fn a_full_instance_takes_nobody_until_it_is_free() {
        let mut desk = Desk::new();
        let source = desk.resource(1);
        let mut consumer = desk.consumer();
        desk.register(&source, "fx", 2, "127.0.0.1:1");
        let here = "1 at 127.0.0.1:1";
        assert_eq!(desk.ask(&mut consumer, "fx", true), [here]);
        // The second one fills it, and that is a change for whoever was sent there.
        assert_eq!(desk.ask(&mut consumer, "fx", true), [here, "changed fx"]);
        assert_eq!(desk.ask(&mut consumer, "fx", true), ["no-instance"]);
        assert_eq!(desk.ask(&mut consumer, "fx", false), ["no-instance"]);
        // Both have come, and one has gone again.
        desk.load(&source, "fx", 2);
        assert_eq!(desk.hear(&mut consumer), [""; 0]);
        desk.load(&source, "fx", 1);
        assert_eq!(desk.hear(&mut consumer), ["changed fx"]);
        assert_eq!(desk.ask(&mut consumer, "fx", false), [here]);
        desk.load(&source, "fx", 2);
        assert_eq!(desk.hear(&mut consumer), ["changed fx"]);
        assert_eq!(desk.ask(&mut consumer, "fx", false), ["no-instance"]);
        // More room is a change too.
        desk.register(&source, "fx", 3, "127.0.0.1:1");
        assert_eq!(desk.hear(&mut consumer), ["changed fx"]);
        assert_eq!(desk.ask(&mut consumer, "fx", false), [here]);
    }

    #[test]
    fn where_all_are_conversations_the_least_loaded_is_named_whatever_was_asked() {
        let mut desk = Desk::new();
        for (instance, address) in [(1, "127.0.0.1:9001"), (2, "127.0.0.1:9002")] {
            let (source, addresses) = (desk.resource(instance), vec![address]);
            let handle = Handle { addresses, weight: 1, conversations: true, ..Handle::default() };
            desk.say(&source, &Frame::Register { resource: "desk", handle });
        }
        let mut consumer = desk.consumer();
        let mut named: Vec<_> =
            (0..4).map(|_| desk.ask(&mut consumer, "desk", false).concat()).collect();
        named.sort();
        let [first, second] = ["1 at 127.0.0.1:9001", "2 at 127.0.0.1:9002"];
        assert_eq!(named, [first, first, second, second]);
    }

    #[test]
    fn who_is_on_its_way_when_a_report_comes_still_counts() {
        let mut desk = Desk::new();
        let source = desk.resource(1);
        desk.register(&source, "fx", 3, "127.0.0.1:9000");
        let mut consumer = desk.consumer();
        for _ in 0..3 {
            let answer = desk.ask(&mut consumer, "fx", true);
            assert!(answer.contains(&"1 at 127.0.0.1:9000".to_string()), "{answer:?}");
        }
        desk.load(&source, "fx", 1);
        assert!(desk.ask(&mut consumer, "fx", true).contains(&"no-instance".to_string()));
        desk.load(&source, "fx", 3);
        assert!(desk.ask(&mut consumer, "fx", true).contains(&"no-instance".to_string()));
        desk.load(&source, "fx", 2);
        let answer = desk.ask(&mut consumer, "fx", true);
        assert!(answer.contains(&"1 at 127.0.0.1:9000".to_string()), "{answer:?}");
        // It has not come in all that time, so it does not.
        for _ in 0..2 {
            desk.pass(BEAT);
            for caller in [&source, &consumer] {
                desk.say(caller, &Frame::Pong { stamp: 0 });
            }
        }
        desk.load(&source, "fx", 2);
        let answer = desk.ask(&mut consumer, "fx", true);
        assert!(answer.contains(&"1 at 127.0.0.1:9000".to_string()), "{answer:?}");
    }

    #[test]
    fn answers_that_nobody_came_of_count_for_a_while_only() {
        let mut desk = Desk::new();
        let source = desk.resource(1);
        let mut consumer = desk.consumer();
        desk.register(&source, "fx", 1, "127.0.0.1:1");
        assert_eq!(desk.ask(&mut consumer, "fx", true).len(), 2);
        assert_eq!(desk.ask(&mut consumer, "fx", true), ["no-instance"]);
        let mut told = Vec::new();
        for _ in 0..15 {
            assert!(told.is_empty(), "{told:?}");
            desk.pass(BEAT);
            for caller in [&source, &consumer] {
                desk.say(caller, &Frame::Pong { stamp: 0 });
            }
            told = desk.hear(&mut consumer);
            told.retain(|frame| !frame.starts_with("Ping"));
        }
        assert_eq!(told, ["changed fx"]);
        assert_eq!(desk.ask(&mut consumer, "fx", true)[0], "1 at 127.0.0.1:1");
    }

    #[test]
    fn an_instance_that_dials_anew_takes_its_place() {
        let mut desk = Desk::new();
        let old = desk.resource(1);
        let mut consumer = desk.consumer();
        desk.register(&old, "fx", 0, "127.0.0.1:1");
        assert_eq!(desk.ask(&mut consumer, "fx", false), ["1 at 127.0.0.1:1"]);
        let new = desk.resource(1);
        desk.register(&new, "fx", 0, "127.0.0.1:1");
        // What the old connection says, and its end, concern nobody any more.
        desk.load(&old, "fx", 9);
        desk.say(&old, &Frame::Withdraw { resource: "fx" });
        desk.registry.handle_failed(old.link, desk.now);
        assert_eq!(desk.hear(&mut consumer), [""; 0]);
        assert_eq!(desk.list(&mut consumer), ["fx 1 process 1: 0, 0, 0", "end"]);
        desk.registry.handle_failed(new.link, desk.now);
        assert_eq!(desk.hear(&mut consumer), ["changed fx"]);
    }

    #[test]
    fn what_makes_no_sense_ends_the_connection_with_the_reason() {
        let handle = |address| Handle { addresses: vec![address], weight: 1, ..Handle::default() };
        let register = |resource, address| Frame::Register { resource, handle: handle(address) };
        let resolve = |resource, subject| {
            let (ask, private, without) = (1, false, Vec::new());
            Frame::Resolve { ask, resource, subject, private, without }
        };
        let weight = |weight| {
            let handle = Handle { weight, ..Handle::default() };
            Frame::Register { resource: "fx", handle }
        };
        let cases = [
            (Role::Consumer, register("fx", "127.0.0.1:1"), "only a resource registers"),
            (Role::Resource, resolve("fx", ""), "only a consumer asks"),
            (Role::Resource, Frame::List { ask: 1 }, "only a consumer asks"),
            (Role::Resource, Frame::Taken { count: 1 }, "a registry takes no frame of this kind"),
            (Role::Resource, register("a b", "127.0.0.1:1"), "\"a b\": a resource name is"),
            (Role::Resource, register("fx", "rates:1"), "fx: \"rates:1\" is not an address"),
            (Role::Resource, register("fx", "127.0.0.1:0"), "fx: 127.0.0.1:0 cannot be dialled"),
            (Role::Resource, register("fx", "[::]:1"), "fx: [::]:1 cannot be dialled"),
            (Role::Resource, register("fx", "unix:a"), "fx: \"unix:a\" is not an address"),
            (Role::Resource, weight(0), "no such weight"),
            (Role::Resource, weight(1_001), "no such weight"),
            (Role::Consumer, resolve("", ""), "a resource name is"),
            (Role::Consumer, resolve("fx", "a\nb"), "a subject is"),
        ];
        for (role, frame, wanted) in cases {
            let mut desk = Desk::new();
            let mut caller = desk.call(role, 1);
            desk.say(&caller, &frame);
            let heard = desk.hear(&mut caller);
            let [reason] = heard.as_slice() else { panic!("{frame:?}: {heard:?}") };
            assert!(reason.starts_with(&format!("bye: {wanted}")), "{frame:?}: {reason}");
            let closed = std::iter::from_fn(|| desk.registry.poll_output());
            assert!(closed.last() == Some(Output::Close(caller.link)), "{frame:?}");
            assert_eq!(desk.registry.instance_count(), 0);
        }
        let mut desk = Desk::new();
        let mut other = desk.call(Role::Registry, 1);
        assert_eq!(desk.hear(&mut other), ["bye: registries have nothing to say to each other"]);
    }

    #[test]
    fn there_are_bounds_for_one_connection() {
        let mut desk = Desk::new();
        let mut source = desk.resource(1);
        for n in 0..REGISTRATIONS_PER_LINK_MAX {
            desk.register(&source, &format!("r{n}"), 0, "127.0.0.1:1");
        }
        desk.register(&source, "r0", 0, "127.0.0.1:2");
        assert_eq!(desk.registry.instance_count(), REGISTRATIONS_PER_LINK_MAX);
        let mut consumer = desk.consumer();
        for n in 0..WATCHES_PER_LINK_MAX {
            assert_eq!(desk.ask(&mut consumer, &format!("x{n}"), false), ["no-resource"]);
        }
        // It is told at once of what it would not be told later.
        assert_eq!(desk.ask(&mut consumer, "y", false), ["changed x0", "no-resource"]);
        assert_eq!(desk.list(&mut consumer).len(), REGISTRATIONS_PER_LINK_MAX + 1);
        desk.register(&source, "one-more", 0, "127.0.0.1:1");
        assert_eq!(desk.hear(&mut source), ["bye: a connection registers at most 1000"]);
        assert_eq!(desk.registry.instance_count(), 0);
    }

    #[test]
    fn who_asks_and_does_not_read_is_left() {
        let mut desk = Desk::new();
        let source = desk.resource(1);
        let labels = ["x".repeat(15 * 1024)];
        let labels = labels.iter().map(String::as_str).collect();
        let handle = Handle { weight: 1, labels, ..Handle::default() };
        desk.say(&source, &Frame::Register { resource: "fx", handle });
        let mut consumer = desk.consumer();
        let (ask, resource, subject, private) = (7, "fx", "", false);
        let mut asked = 0;
        while desk.registry.links.is_open(consumer.link) {
            let without = Vec::new();
            desk.say(&consumer, &Frame::Resolve { ask, resource, subject, private, without });
            asked += 1;
            assert!(asked < 1_000, "it is never too much");
        }
        assert_eq!(desk.hear(&mut consumer).pop().unwrap(), "bye: the answers are not read");
    }
}

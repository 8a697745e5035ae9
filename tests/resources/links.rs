//! Connections of the resource protocol: who greets, who is silent, who does not belong here.

use std::cell::RefCell;
use std::rc::Rc;

use ahm::base::id::Key;
use ahm::base::time::{Instant, Span};
use ahm::link::address::Address;
use ahm::link::links::Links;
use ahm::link::peer::{End, Me, Other};
use ahm::link::station::Station;
use ahm::testing::switchboard::Switchboard;
use ahm::wire::resource::{Frame, InstanceId, Role};
use ahm::wire::resource_encode::put_frame;

/// A station that only notes what happens.
#[derive(Debug)]
struct Plain {
    links: Links,
    greeted: Vec<Key>,
    frames: Vec<String>,
    over: Vec<End>,
}

impl Plain {
    fn new(name: &str, key: &str, demands: &str) -> Rc<RefCell<Self>> {
        let me = Me {
            role: Role::Consumer,
            instance: InstanceId(1),
            name: name.into(),
            heartbeat: Span::from_millis(100),
            key: key.into(),
            demands: demands.into(),
        };
        let links = Links::new(me, Instant::ZERO);
        let (greeted, frames, over) = (Vec::new(), Vec::new(), Vec::new());
        Rc::new(RefCell::new(Self { links, greeted, frames, over }))
    }
}

impl Station for Plain {
    fn links(&mut self) -> &mut Links {
        &mut self.links
    }

    fn on_greeted(&mut self, link: Key) {
        self.greeted.push(link);
    }

    fn on_frame(&mut self, _link: Key, frame: &Frame<'_>) {
        self.frames.push(format!("{frame:?}"));
    }

    fn on_over(&mut self, _link: Key, _other: Option<Other>, end: End) {
        self.over.push(end);
    }
}

fn there() -> Address {
    "127.0.0.1:9000".parse().unwrap()
}

fn pair(key: &str, demands: &str) -> (Switchboard, Rc<RefCell<Plain>>, Rc<RefCell<Plain>>) {
    let mut board = Switchboard::new(1);
    let (near, far) = (Plain::new("near", key, ""), Plain::new("far", "", demands));
    board.add(near.clone(), None);
    board.add(far.clone(), Some(there()));
    let nowhere: Address = "127.0.0.1:1".parse().unwrap();
    near.borrow_mut().links.dial([nowhere, there()]);
    (board, near, far)
}

#[test]
fn both_greet_and_go_on_for_ever() {
    let (mut board, near, far) = pair("", "");
    board.pass(Span::from_secs(60));
    let link = near.borrow().greeted[0];
    assert_eq!(far.borrow().greeted.len(), 1);
    assert_eq!(near.borrow().links.other(link).unwrap().name, "far");
    assert!(near.borrow().over.is_empty() && far.borrow().over.is_empty());
    near.borrow_mut().links.send(link, &Frame::List { ask: 7 });
    board.pass(Span::from_millis(10));
    assert_eq!(far.borrow().frames, ["List { ask: 7 }"]);
    near.borrow_mut().links.leave(link, "enough");
    board.pass(Span::from_millis(10));
    assert_eq!(far.borrow().over, [End::Bye("enough".into())]);
    assert_eq!(near.borrow().over, [End::Left]);
    assert!(near.borrow().links.is_empty() && far.borrow().links.is_empty());
}

#[test]
fn a_wrong_key_is_told() {
    let (mut board, near, far) = pair("wrong", "right");
    board.pass(Span::from_millis(100));
    let reason = "the key is not the one that is demanded here".to_string();
    assert_eq!(far.borrow().over, [End::Broken(reason.clone())]);
    assert_eq!(near.borrow().over, [End::Bye(reason)]);
    let (mut board, near, far) = pair("right", "right");
    board.pass(Span::from_millis(100));
    assert_eq!((near.borrow().greeted.len(), far.borrow().greeted.len()), (1, 1));
}

#[test]
fn nobody_answers() {
    let mut board = Switchboard::new(1);
    let near = Plain::new("near", "", "");
    board.add(near.clone(), None);
    near.borrow_mut().links.dial([there()]);
    board.pass(Span::from_millis(100));
    assert_eq!(near.borrow().over, [End::Unreachable]);
}

#[test]
fn who_says_nothing_is_given_up() {
    let station = Plain::new("far", "", "");
    let mut far = station.borrow_mut();
    let link = far.handle_accepted(Instant::ZERO);
    far.handle_timeout(Instant::ZERO + Span::from_secs(4));
    assert!(far.over.is_empty());
    far.handle_timeout(Instant::ZERO + Span::from_secs(6));
    assert_eq!(far.over, [End::Silent]);
    let mut hello = Vec::new();
    let heartbeat = Span::from_millis(100);
    let (role, instance) = (Role::Resource, InstanceId(2));
    let name = "quiet";
    put_frame(&mut hello, &Frame::Hello { version: 1, role, instance, heartbeat, name, key: "" });
    let now = Instant::ZERO + Span::from_secs(7);
    let other = far.handle_accepted(now);
    assert_ne!(link, other);
    far.handle_received(other, &hello, now);
    assert_eq!(far.greeted, [other]);
    far.handle_timeout(now + Span::from_millis(299));
    assert_eq!(far.over.len(), 1, "three of its heartbeats have not passed");
    far.handle_timeout(now + Span::from_millis(301));
    assert_eq!(far.over.len(), 2);
}

#[test]
fn what_is_not_of_the_protocol_ends_the_connection() {
    let list = |out: &mut Vec<u8>| put_frame(out, &Frame::List { ask: 1 });
    let mut early = Vec::new();
    list(&mut early);
    for (bytes, what) in [(early, "the first frame is no Hello"), (vec![0xff; 64], "")] {
        let station = Plain::new("far", "", "");
        let mut far = station.borrow_mut();
        let link = far.handle_accepted(Instant::ZERO);
        far.handle_received(link, &bytes, Instant::ZERO);
        match &far.over[..] {
            [End::Broken(said)] => assert!(said.contains(what), "{said}"),
            other => panic!("{bytes:?}: {other:?}"),
        }
        assert!(far.frames.is_empty());
    }
}

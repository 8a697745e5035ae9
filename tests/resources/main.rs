//! Resources in other processes: found through registries, read through servers, lost and found
//! again.

#![expect(clippy::unwrap_used, reason = "what fails here has failed the test")]

mod dialling;
mod faults;
mod links;
mod private;
mod talkers;
mod world;

use std::sync::{Arc, Mutex};

use ahm::base::time::Span;
use ahm::link::handler::{Actions, Consumer, Decision, Handler, Message, Metrics};
use ahm::wire::resource::Terms;

use crate::world::{World, attribute};

/// Everybody may read; `talk` is a conversation, `alias` leads to `a`, `closed` is nobody's.
#[derive(Debug)]
pub struct Rates;

impl Handler for Rates {
    fn open(&self, subject: &str, consumer: &Consumer) -> Decision {
        match subject {
            "desk" if consumer.parameters != ["desk=7", "account=A;1"] => {
                Decision::deny(format!("not for {:?}", consumer.parameters))
            }
            "alias" => Decision::Other("a".into()),
            "closed" => Decision::deny("not for you"),
            subject if subject.starts_with("talk") => Decision::Private,
            _ => Decision::Shared,
        }
    }

    fn terms(&self, _subject: &str) -> Terms {
        Terms { state: true, latest: true, ..Terms::default() }
    }

    fn message(&self, message: &Message<'_>, actions: &mut Actions) {
        actions.reply(message.payload.to_ascii_uppercase());
        if message.payload == b"bye" {
            actions.end();
        }
        actions.publish("heard", message.payload);
    }
}

/// Converses with everybody, and notes what it hears of the streams.
#[derive(Debug, Default)]
struct Watchful(Mutex<Vec<Heard>>);

/// Subject, whether it is a private channel, consumers, messages behind, round trip.
type Heard = (String, bool, u64, u64, u64);

impl Handler for Watchful {
    fn open(&self, subject: &str, _consumer: &Consumer) -> Decision {
        if subject == "talk" { Decision::Private } else { Decision::Shared }
    }

    fn message(&self, message: &Message<'_>, actions: &mut Actions) {
        actions.reply(message.payload);
    }

    fn metrics(&self, metrics: &Metrics<'_>) {
        let subject = metrics.subject.to_string();
        let Metrics { channel, consumers, behind, round_trip, .. } = *metrics;
        let heard = (subject, channel.is_some(), consumers, behind, round_trip);
        self.0.lock().unwrap().push(heard);
    }
}

fn world([registries, instances, servers]: [usize; 3], replicas: bool) -> World {
    World::new(1, [registries, instances, servers, 1], replicas, Arc::new(Rates))
}

fn subjects(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

fn payloads(frames: &[String]) -> Vec<&str> {
    let messages = frames.iter().filter(|frame| frame.starts_with("<p c="));
    messages.map(|frame| frame.split_once('>').unwrap().1).collect()
}

#[test]
fn a_subject_is_wanted_once_and_read_by_many() {
    let mut world = world([1, 2, 1], false);
    let mut clients: Vec<_> = (0..5).map(|_| world.client(0, &subjects(&["a", "b"]))).collect();
    world.pass(100);
    for _ in 0..3 {
        world.publish("a");
        world.pass(10);
    }
    world.publish("b");
    world.pass(100);
    for client in &mut clients {
        let frames = client.frames(&world);
        assert_eq!(payloads(&frames), ["a 1", "a 2", "a 3", "b 1"], "{frames:#?}");
    }
    let accepted: u64 = world.living().map(|source| source.borrow().counts().accepted).sum();
    assert_eq!(accepted, 2, "one for each subject");
}

#[test]
fn what_nobody_reads_is_no_longer_wanted() {
    let mut world = world([1, 1, 1], false);
    let mut client = world.client(0, &subjects(&["a"]));
    world.pass(100);
    let source = world.living().next().unwrap().clone();
    assert!(source.borrow().is_demanded("rates", "a"));
    let cid = client.frames(&world);
    let cid = attribute(cid.iter().find(|frame| frame.starts_with("<p o ")).unwrap(), "c");
    client.command(&mut world, &format!("close?cid={cid}"));
    world.pass(1_000);
    assert!(source.borrow().is_demanded("rates", "a"), "it may be wanted again at once");
    world.pass(5_000);
    assert!(!source.borrow().is_demanded("rates", "a"));
    world.publish("a");
    world.client(0, &subjects(&["a"]));
    world.pass(100);
    assert!(source.borrow().is_demanded("rates", "a"));
}

#[test]
fn who_comes_later_begins_with_the_state() {
    let mut world = world([1, 1, 1], false);
    world.publish("a");
    world.publish("a");
    let mut first = world.client(0, &subjects(&["a"]));
    world.pass(100);
    assert_eq!(payloads(&first.frames(&world)), ["a 2"]);
    let mut second = world.client(0, &subjects(&["a"]));
    world.pass(100);
    assert_eq!(payloads(&second.frames(&world)), ["a 2"]);
}

#[test]
fn refusals_and_other_subjects_are_passed_on() {
    let mut world = world([1, 1, 1], false);
    let mut client = world.client(0, &subjects(&["alias"]));
    world.pass(100);
    world.publish("a");
    world.pass(100);
    assert_eq!(payloads(&client.frames(&world)), ["a 1"]);
    let answer = client.command(&mut world, "open?resource=rates&subject=closed");
    assert!(answer.contains("403") && answer.contains("not for you"), "{answer}");
    let answer = client.command(&mut world, "open?resource=nobody&subject=a");
    assert!(answer.contains("404") && answer.contains("no-resource"), "{answer}");
}

#[test]
fn the_resource_is_told_what_the_client_says_of_its_request() {
    let mut world = world([1, 1, 1], false);
    let mut client = world.client(0, &subjects(&["a", "desk;x-desk=7;x-account=A%3B1"]));
    world.pass(100);
    let frames = client.frames(&world);
    assert!(frames.iter().any(|frame| frame.contains("u=rates/desk ")), "{frames:#?}");
    let mut other = world.client(0, &subjects(&["a"]));
    world.pass(100);
    let answer = other.command(&mut world, "open?resource=rates&subject=desk&x-desk=8");
    // A shared subject is there already: nobody is asked any more.
    assert!(answer.contains("200 OK"), "{answer}");
    let answer = other.command(&mut world, "open?resource=rates&subject=desk&x-=8");
    assert!(answer.contains("bad-request"), "{answer}");
}

#[test]
fn the_resource_is_told_how_its_streams_get_on() {
    let watchful = Arc::new(Watchful::default());
    let mut world = World::new(1, [1, 1, 1, 1], false, watchful.clone());
    let heard = move || std::mem::take(&mut *watchful.0.lock().unwrap());
    let mut client = world.client(0, &subjects(&["talk", "a"]));
    let mut other = world.client(0, &subjects(&["a"]));
    world.pass(1_500);
    let told = |now: &[Heard], subject: &str| {
        let last = now.iter().rfind(|told| told.0 == subject);
        last.map(|told| (told.1, told.2, told.3, told.4))
    };
    let now = heard();
    assert_eq!(told(&now, "a"), Some((false, 2, 0, 0)), "{now:?}");
    let round_trip = ahm::testing::gateway::ROUND_TRIP.as_micros();
    assert_eq!(told(&now, "talk"), Some((true, 1, 0, round_trip)), "{now:?}");
    let frames = client.frames(&world);
    let opened = |frame: &&String| frame.contains("u=rates/talk ");
    let cid = attribute(frames.iter().find(opened).unwrap(), "c");
    world.servers[0].borrow_mut().stalled.insert(client.conn);
    for n in 1..=3 {
        let answer = client.command(&mut world, &format!("send?cid={cid}&n={n}&data=x"));
        assert!(answer.contains("held"), "{answer}");
    }
    other.command(&mut world, "logout");
    world.pass(1_500);
    let now = heard();
    assert_eq!(told(&now, "talk"), Some((true, 1, 3, round_trip)), "{now:?}");
    assert_eq!(told(&now, "a"), Some((false, 1, 0, 0)), "{now:?}");
    world.servers[0].borrow_mut().go_on(client.conn);
    world.pass(2_500);
    assert_eq!(told(&heard(), "talk"), Some((true, 1, 0, round_trip)));
}

#[test]
fn a_conversation_is_between_two() {
    let mut world = world([1, 1, 1], false);
    let mut clients: Vec<_> = (0..3).map(|_| world.client(0, &subjects(&["talk"]))).collect();
    world.pass(100);
    let mut cids = Vec::new();
    for client in &mut clients {
        let frames = client.frames(&world);
        cids.push(attribute(frames.iter().find(|f| f.starts_with("<p o ")).unwrap(), "c"));
    }
    for (at, (client, cid)) in clients.iter_mut().zip(&cids).enumerate() {
        let answer = client.command(&mut world, &format!("send?cid={cid}&n=1&data=hello{at}"));
        assert!(answer.contains("\"outcome\":\"held\""), "{answer}");
    }
    world.pass(100);
    for (at, client) in clients.iter_mut().enumerate() {
        let frames = client.frames(&world);
        assert_eq!(payloads(&frames), [format!("HELLO{at}")], "{frames:#?}");
        assert!(frames.iter().any(|frame| frame.contains("taken")), "{frames:#?}");
    }
    let answer = clients[0].command(&mut world, &format!("send?cid={}&n=2&data=bye", cids[0]));
    assert!(answer.contains("held"), "{answer}");
    world.pass(100);
    let frames = clients[0].frames(&world);
    assert_eq!(payloads(&frames), ["HELLO0", "BYE"]);
    assert!(frames.iter().any(|frame| frame.contains("gone")), "{frames:#?}");
    world.kill_instance(0);
    world.pass(1_000);
    let frames = clients[1].frames(&world);
    assert!(frames.iter().any(|frame| frame.contains("gone")), "{frames:#?}");
}

#[test]
fn a_send_that_is_repeated_learns_what_became_of_it() {
    let mut world = world([1, 1, 1], false);
    let mut client = world.client(0, &subjects(&["a"]));
    world.pass(100);
    let frames = client.frames(&world);
    let cid = attribute(frames.iter().find(|f| f.starts_with("<p o ")).unwrap(), "c");
    let me = client.me(&world);
    let send = |world: &mut World, n: u64| {
        let target = format!("/ahm/send?cid={cid}&n={n}&data=x&{me}");
        world.servers[0].borrow_mut().request(&target)
    };
    let expect = |world: &World, conn, outcome: &str| {
        let answer = world.servers[0].borrow_mut().take(conn);
        assert!(answer.contains(&format!("\"outcome\":\"{outcome}\"")), "{answer}");
    };
    world.board.delay = Span::from_millis(20);
    for (n, twice, later) in [(1, "held", "dup"), (2, "held", "unknown"), (1, "dup", "dup")] {
        let conns = [send(&mut world, n), send(&mut world, n)];
        if n == 2 {
            // It has left, and its answer has not come.
            world.pass(1);
            world.kill_instance(0);
        }
        world.pass(100);
        conns.into_iter().for_each(|conn| expect(&world, conn, twice));
        let conn = send(&mut world, n);
        world.pass(50);
        expect(&world, conn, later);
    }
}

#[test]
fn a_registry_that_dies_changes_nothing_for_streams() {
    let mut world = world([2, 1, 1], false);
    let mut client = world.client(0, &subjects(&["a"]));
    world.pass(100);
    world.kill_registry(0);
    world.kill_registry(1);
    world.pass(3_000);
    world.publish("a");
    world.pass(100);
    let frames = client.frames(&world);
    assert_eq!(payloads(&frames), ["a 1"]);
    // The other one is asked for what is new.
    world.start_registry(1);
    world.pass(1_000);
    let mut second = world.client(0, &subjects(&["b"]));
    world.pass(100);
    world.publish("b");
    world.pass(100);
    assert_eq!(payloads(&second.frames(&world)), ["b 1"]);
}

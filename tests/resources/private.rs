//! Private channels of servers with several shards: the session is on one, the subject at home on
//! another, and the resource in another process.

use std::sync::{Arc, Mutex};

use ahm::base::time::Span;
use ahm::link::handler::{Actions, Channel, Consumer, Decision, Handler, Message};
use ahm::wire::resource::Terms;

use crate::world::{Client, RESOURCE, World, attribute};
use crate::{Rates, payloads, subjects};

/// Every channel is a conversation; those whose subject begins with `lasting` go on elsewhere.
#[derive(Debug, Default)]
pub struct Desk(Mutex<Vec<Got>>);

/// A message of a consumer that has reached an instance.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Got {
    pub session: u64,
    cid: u32,
    pub n: u64,
    channel: Channel,
}

impl Desk {
    pub fn got(&self) -> Vec<Got> {
        self.0.lock().unwrap().clone()
    }

    fn numbers(&self) -> Vec<u64> {
        self.got().iter().map(|got| got.n).collect()
    }
}

impl Handler for Desk {
    fn open(&self, _subject: &str, _consumer: &Consumer) -> Decision {
        Decision::Private
    }

    fn terms(&self, subject: &str) -> Terms {
        Terms { reopen: subject.starts_with("lasting"), ..Terms::default() }
    }

    fn opened(&self, _: Channel, subject: &str, _consumer: &Consumer, actions: &mut Actions) {
        if !subject.ends_with("silent") {
            actions.reply("hello");
        }
    }

    fn message(&self, message: &Message<'_>, actions: &mut Actions) {
        let Message { session, cid, n, channel, .. } = *message;
        let got = Got { session: session.get(), cid: cid.0, n, channel: channel.unwrap() };
        self.0.lock().unwrap().push(got);
        actions.reply(format!("re {n}"));
        if message.payload == b"bye" {
            actions.end();
        }
    }
}

/// A world of one registry, so many instances, and a server of three shards.
fn world(seed: u64, instances: usize) -> (World, Arc<Desk>) {
    let desk = Arc::new(Desk::default());
    (World::new(seed, [1, instances, 1, 3], false, desk.clone()), desk)
}

pub fn kinds<'f>(frames: &'f [String], kind: &str) -> Vec<&'f String> {
    let start = format!("<p {kind} ");
    frames.iter().filter(|frame| frame.starts_with(&start)).collect()
}

fn cid(frames: &[String]) -> String {
    attribute(kinds(frames, "o")[0], "c")
}

/// What became of the sends that were held: number and word.
pub fn outcomes(frames: &[String]) -> Vec<(u64, String)> {
    let told = |frame: &&String| (attribute(frame, "n").parse().unwrap(), attribute(frame, "e"));
    kinds(frames, "a").iter().map(told).collect()
}

pub fn send(client: &mut Client, world: &World, cid: &str, n: u64, text: &str) -> usize {
    client.fire(world, &format!("send?cid={cid}&n={n}&data={text}"))
}

/// The instance that serves the only channel.
fn serving(world: &World) -> usize {
    let serves = |at: &usize| {
        let source = world.instances[*at].1.as_ref();
        source.is_some_and(|source| source.borrow().counts().consumers > 0)
    };
    (0..world.instances.len()).find(serves).expect("somebody serves it")
}

fn consumers(world: &World) -> u64 {
    world.living().map(|source| source.borrow().counts().consumers).sum()
}

/// Nobody has a channel any more, anywhere.
pub fn assert_nothing_is_left(world: &World) {
    assert_eq!(consumers(world), 0);
    assert_eq!(world.servers.iter().map(|server| server.borrow().wants()).sum::<usize>(), 0);
    world.check();
}

#[test]
fn a_conversation_crosses_the_shards() {
    let (mut world, desk) = world(1, 1);
    let mut client = world.stranger(0, "talk");
    world.pass(100);
    let frames = client.frames(&world);
    let cid = cid(&frames);
    assert_eq!(payloads(&frames), ["hello"]);
    let answer = client.command(&mut world, &format!("send?cid={cid}&n=1&data=one"));
    assert!(answer.contains("\"outcome\":\"held\""), "{answer}");
    let frames = client.frames(&world);
    assert_eq!(outcomes(&frames), [(1, "taken".into())]);
    assert_eq!(payloads(&frames), ["hello", "re 1"]);
    client.command(&mut world, &format!("send?cid={cid}&n=2&data=bye"));
    world.pass(100);
    let frames = client.frames(&world);
    assert_eq!(payloads(&frames), ["hello", "re 1", "re 2"]);
    assert!(frames.last().unwrap().ends_with(" e=gone>"), "{frames:#?}");
    let answer = client.command(&mut world, &format!("send?cid={cid}&n=3&data=late"));
    assert!(answer.contains("no-channel"), "{answer}");
    assert_eq!(desk.numbers(), [1, 2]);
    world.pass(200);
    assert_nothing_is_left(&world);
}

#[test]
fn who_leaves_while_the_resource_answers_leaves_nothing_behind() {
    for seed in 0..30 {
        let (mut world, desk) = world(seed, 1);
        world.servers[0].borrow_mut().delay = Span::from_millis(1 + seed);
        let mut client = world.stranger(0, "talk");
        world.pass(200);
        let cid = cid(&client.frames(&world));
        let sent = send(&mut client, &world, &cid, 1, "one");
        world.pass(seed % 5);
        client.fire(&world, &format!("close?cid={cid}"));
        world.pass(1_000);
        let answer = world.servers[0].borrow_mut().take(sent);
        let told = outcomes(&client.frames(&world));
        match answer.contains("held") {
            true => assert_eq!(told, [(1, "taken".into())], "seed {seed}"),
            false => assert!(answer.contains("no-channel") && told.is_empty(), "{answer}"),
        }
        assert_eq!(desk.numbers().len(), told.len());
        assert_nothing_is_left(&world);
    }
}

/// The shard of the session has not told its home yet which topic it is.
#[test]
fn an_instance_may_be_lost_before_the_channel_is_joined() {
    for (seed, subject) in (0..20).flat_map(|seed| ["talk", "lasting"].map(|it| (seed, it))) {
        let (mut world, _desk) = world(seed, 2);
        world.servers[0].borrow_mut().delay = Span::from_millis(200);
        let mut client = world.stranger(0, subject);
        while consumers(&world) == 0 {
            world.pass(1);
        }
        let at = serving(&world);
        // The home has heard it, and its word to the shard of the session takes longer.
        world.pass(2);
        world.kill_instance(at);
        world.pass(5_000);
        let frames = client.frames(&world);
        let opened = kinds(&frames, "o");
        if subject == "talk" {
            let ended = frames.iter().any(|frame| frame.ends_with(" e=gone>"));
            assert!(ended && opened.len() == 1, "{seed}: {frames:#?}");
            assert_nothing_is_left(&world);
        } else {
            assert!(kinds(&frames, "x").is_empty(), "{seed}: {frames:#?}");
            assert_eq!(payloads(&frames).last(), Some(&"hello"), "{seed}: {frames:#?}");
            let cid = cid(&frames);
            send(&mut client, &world, &cid, 1, "one");
            world.pass(1_000);
            let frames = client.frames(&world);
            assert_eq!(outcomes(&frames), [(1, "taken".into())]);
            assert_eq!(payloads(&frames).last(), Some(&"re 1"), "{seed}: {frames:#?}");
        }
    }
}

#[test]
fn a_lasting_channel_goes_on_with_another_instance() {
    let (mut world, desk) = world(1, 2);
    let mut client = world.stranger(0, "lasting");
    world.pass(100);
    let cid = cid(&client.frames(&world));
    let at = serving(&world);
    world.kill_instance(1 - at);
    // It is sent and not read: nobody can tell.
    world.board.stalled.insert(world.instances[at].0);
    send(&mut client, &world, &cid, 1, "one");
    world.pass(50);
    assert_eq!(outcomes(&client.frames(&world)), []);
    world.kill_instance(at);
    world.pass(50);
    assert_eq!(outcomes(&client.frames(&world)), [(1, "unknown".into())]);
    // What comes while there is no instance waits for one.
    send(&mut client, &world, &cid, 2, "two");
    world.pass(2_000);
    assert_eq!(outcomes(&client.frames(&world)).len(), 1);
    world.start_instance(1 - at);
    world.pass(2_000);
    let frames = client.frames(&world);
    assert_eq!(outcomes(&frames)[1], (2, "taken".into()));
    assert_eq!(desk.numbers(), [2]);
    assert_eq!(payloads(&frames), ["hello", "hello", "re 2"], "{frames:#?}");
    let opened = kinds(&frames, "o");
    let [first, second] = opened[..] else { panic!("{frames:#?}") };
    assert_eq!(attribute(first, "c"), attribute(second, "c"));
    assert_ne!(attribute(first, "ep"), attribute(second, "ep"));
    // Where nobody comes, it is over.
    world.kill_instance(1 - at);
    send(&mut client, &world, &cid, 3, "three");
    world.pass(4_000);
    assert!(kinds(&client.frames(&world), "x").is_empty(), "it may still be found");
    world.pass(3_000);
    let frames = client.frames(&world);
    assert!(frames.iter().any(|frame| frame.ends_with(" e=gone>")), "{frames:#?}");
    assert_eq!(outcomes(&frames)[2], (3, "unknown".into()));
    assert_nothing_is_left(&world);
}

/// A channel on which nothing was said before its instance was lost: something may be missing all
/// the same, and the numbers say so.
#[test]
fn a_new_beginning_is_told_even_where_nothing_was_said() {
    let (mut world, _desk) = world(1, 2);
    let mut client = world.stranger(0, "lasting.silent");
    world.pass(100);
    let at = serving(&world);
    world.kill_instance(at);
    world.pass(2_000);
    let frames = client.frames(&world);
    let positions: Vec<String> = kinds(&frames, "o").iter().map(|o| attribute(o, "n")).collect();
    let [first, second] = &positions[..] else { panic!("{frames:#?}") };
    assert!(first == "0" && second != "0", "{frames:#?}");
    // One that connects anew has nothing of it, and is told so.
    let cid = cid(&frames);
    let epoch = attribute(kinds(&frames, "o")[0], "ep");
    let conn = client.fire(&world, &format!("mux.html?last={cid}:{epoch}:0"));
    world.pass(100);
    let text = world.servers[0].borrow_mut().take(conn);
    assert!(text.contains("<p g "), "{text}");
}

#[test]
fn what_comes_behind_the_end_is_not_taken() {
    let (mut world, desk) = world(1, 1);
    let mut client = world.stranger(0, "talk");
    world.pass(100);
    let cid = cid(&client.frames(&world));
    for (n, text) in [(1, "one"), (2, "bye"), (3, "late"), (4, "later")] {
        send(&mut client, &world, &cid, n, text);
    }
    world.pass(500);
    assert_eq!(desk.numbers(), [1, 2]);
    let mut told = outcomes(&client.frames(&world));
    told.sort();
    let words: Vec<&str> = told.iter().map(|(_, word)| word.as_str()).collect();
    assert_eq!(words, ["taken", "taken", "unknown", "unknown"], "{told:?}");
    assert_nothing_is_left(&world);
}

#[test]
fn what_waits_for_an_instance_is_told_when_the_channel_is_closed() {
    let (mut world, _desk) = world(1, 1);
    let mut client = world.stranger(0, "lasting");
    world.pass(100);
    let cid = cid(&client.frames(&world));
    world.kill_instance(0);
    world.pass(50);
    send(&mut client, &world, &cid, 1, "one");
    world.pass(100);
    client.command(&mut world, &format!("close?cid={cid}"));
    world.pass(100);
    assert_eq!(outcomes(&client.frames(&world)), [(1, "unknown".into())]);
    assert_nothing_is_left(&world);
}

#[test]
fn conversations_outlast_the_withdrawal_of_their_instance_for_its_patience() {
    let (mut world, _desk) = world(1, 2);
    let mut lasting = world.stranger(0, "lasting");
    world.pass(100);
    let at = serving(&world);
    let other = world.instances[1 - at].0;
    // Both are to be at the same one.
    world.kill_instance(1 - at);
    world.pass(100);
    let mut talk = world.stranger(0, "talk");
    world.pass(100);
    assert_eq!(consumers(&world), 2);
    world.start_instance(1 - at);
    assert_ne!(world.instances[1 - at].0, other);
    world.pass(500);
    let source = world.instances[at].1.clone().unwrap();
    source.borrow_mut().withdraw(RESOURCE, world.board.now).unwrap();
    world.pass(9_000);
    assert_eq!(source.borrow().counts().consumers, 2);
    world.pass(2_000);
    assert_eq!(source.borrow().counts().consumers, 0);
    let frames = lasting.frames(&world);
    assert_eq!((kinds(&frames, "o").len(), kinds(&frames, "x").len()), (2, 0), "{frames:#?}");
    let frames = talk.frames(&world);
    assert_eq!(kinds(&frames, "o").len(), 1);
    assert!(frames.iter().any(|frame| frame.ends_with(" e=gone>")), "{frames:#?}");
    // The conversation that the resource ends is over, and does not go on elsewhere.
    let cid = cid(&lasting.frames(&world));
    send(&mut lasting, &world, &cid, 1, "bye");
    world.pass(500);
    let frames = lasting.frames(&world);
    assert!(frames.iter().any(|frame| frame.ends_with(" e=gone>")), "{frames:#?}");
    assert_nothing_is_left(&world);
}

/// Where conversations and shared subjects have one resource, the guess which of both comes next
/// may be wrong; all servers have a shared subject from the same instance for all that.
#[test]
fn a_wrong_guess_leads_nobody_to_another_instance() {
    let mut world = World::new(1, [1, 3, 2, 1], false, Arc::new(Rates));
    let mut readers = Vec::new();
    for round in 0..8 {
        let name = format!("s{round}");
        for server in 0..2 {
            let talks = (0..3).map(|at| format!("talk{round}.{server}.{at}")).collect::<Vec<_>>();
            world.client(server, &talks);
            world.pass(100);
            readers.push((name.clone(), world.client(server, &subjects(&[&name]))));
            world.pass(100);
        }
        let demanded = world.living().filter(|it| it.borrow().is_demanded(RESOURCE, &name));
        assert_eq!(demanded.count(), 1, "{name}");
        world.publish(&name);
    }
    world.pass(100);
    for (name, mut reader) in readers {
        assert_eq!(payloads(&reader.frames(&world)), [format!("{name} 1")]);
    }
    let spread: Vec<u64> = world.living().map(|it| it.borrow().counts().consumers).collect();
    assert!(spread.iter().all(|&has| has > 8), "48 conversations over three: {spread:?}");
}

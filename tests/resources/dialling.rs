//! Resources that can only dial, and servers of several parts that cannot: no registry is needed in
//! between.

use std::sync::Arc;

use ahm::base::time::Span;

use crate::world::{Client, World, attribute};
use crate::{Rates, payloads, subjects};

/// So many registries and instances, and one server of so many parts.
fn world(registries: usize, instances: usize, parts: usize) -> World {
    World::with_parts(1, [registries, instances, 1, 1], parts, false, Arc::new(Rates))
}

fn texts(client: &mut Client, world: &World) -> Vec<String> {
    payloads(&client.frames(world)).into_iter().map(str::to_string).collect()
}

fn talk(client: &mut Client, world: &mut World, n: u64) {
    let frames = client.frames(world);
    let cid = attribute(frames.iter().find(|frame| frame.starts_with("<p o ")).unwrap(), "c");
    let answer = client.command(world, &format!("send?cid={cid}&n={n}&data=hello"));
    assert!(answer.contains("\"outcome\":\"held\""), "{answer}");
    world.pass(100);
}

#[test]
fn every_part_of_a_server_reads_what_dials_it() {
    for registries in [0, 1] {
        let mut world = world(registries, 2, 3);
        let connections = |world: &World| -> Vec<u64> {
            world.living().map(|source| source.borrow().counts().connections).collect()
        };
        assert_eq!(connections(&world), [3, 3]);
        let mut clients: Vec<_> =
            (0..6).map(|at| world.client(at % 3, &subjects(&["a", "b"]))).collect();
        world.pass(100);
        for subject in ["a", "a", "b"] {
            world.publish(subject);
            world.pass(10);
        }
        world.pass(100);
        for client in &mut clients {
            assert_eq!(texts(client, &world), ["a 1", "a 2", "b 1"]);
        }
        // Of two instances each part chooses the same one.
        let accepted: Vec<u64> =
            world.living().map(|source| source.borrow().counts().accepted).collect();
        assert_eq!(accepted.iter().sum::<u64>() % 3, 0, "{accepted:?}");
    }
}

#[test]
fn conversations_go_to_who_has_the_fewest() {
    let mut world = world(0, 2, 1);
    let mut clients: Vec<_> = (0..8).map(|_| world.client(0, &subjects(&["talk"]))).collect();
    world.pass(100);
    for client in &mut clients {
        talk(client, &mut world, 1);
        assert_eq!(texts(client, &world), ["HELLO"]);
    }
    // That a subject is private is known only after it was asked for; one more each is at most what
    // that makes out.
    let consumers: Vec<u64> =
        world.living().map(|source| source.borrow().counts().consumers).collect();
    assert_eq!(consumers.iter().sum::<u64>(), 8);
    assert!(consumers.iter().all(|count| (3..=5).contains(count)), "{consumers:?}");
}

#[test]
fn a_part_whose_connection_is_lost_has_it_again_and_the_others_notice_nothing() {
    let mut world = world(0, 1, 2);
    let mut clients: Vec<_> = (0..2).map(|part| world.client(part, &subjects(&["a"]))).collect();
    world.pass(100);
    world.publish("a");
    world.pass(100);
    let source = world.living().next().unwrap().clone();
    let (station, accepted) = (world.instances[0].0, source.borrow().counts().accepted);
    for lost in 0..2 {
        world.board.cut_one(station, lost);
        world.publish("a");
        world.pass(100);
        world.publish("a");
        world.pass(1_000);
    }
    for client in &mut clients {
        assert_eq!(texts(client, &world), ["a 1", "a 2", "a 3", "a 4", "a 5"]);
    }
    let counts = source.borrow().counts();
    assert_eq!((counts.accepted - accepted, counts.connections), (2, 2));
}

#[test]
fn who_comes_before_the_resource_waits_for_it() {
    let mut world = world(0, 1, 2);
    world.kill_instance(0);
    world.pass(500);
    let mut early = world.client(1, &subjects(&["a", "talk"]));
    world.pass(2_000);
    world.start_instance(0);
    world.pass(200);
    world.publish("a");
    world.pass(100);
    assert_eq!(texts(&mut early, &world), ["a 1"]);
    // One that nobody has ever served is refused, once the server has been there for a while.
    world.pass(5_000);
    let answer = early.command(&mut world, "open?resource=nobody&subject=a");
    assert!(answer.contains("404") && answer.contains("no-resource"), "{answer}");
    // One that was served is waited for, and not for ever.
    world.kill_instance(0);
    world.pass(500);
    let mut late = world.client(0, &subjects(&["b"]));
    world.pass(4_000);
    assert!(!late.frames(&world).iter().any(|frame| frame.starts_with("<p x ")));
    world.pass(2_000);
    let frames = late.frames(&world);
    assert!(frames.iter().any(|frame| frame.starts_with("<p x ")), "{frames:#?}");
}

#[test]
fn a_server_that_was_started_anew_is_dialled_again() {
    let mut world = world(0, 2, 2);
    let mut before = world.client(0, &subjects(&["a"]));
    world.publish("a");
    world.pass(100);
    assert_eq!(texts(&mut before, &world), ["a 1"]);
    world.board.kill(world.houses[0]);
    world.publish("a");
    world.pass(1_000);
    let demanded = |world: &World| {
        let demanded = world.living().map(|source| source.borrow().is_demanded("rates", "a"));
        demanded.filter(|is| *is).count()
    };
    assert_eq!(demanded(&world), 0);
    world.start_server(0);
    // It is asked for at once, before any instance has come.
    let mut after: Vec<_> = (2..4).map(|part| world.client(part, &subjects(&["a"]))).collect();
    world.pass(1_000);
    world.publish("a");
    world.pass(100);
    for client in &mut after {
        assert_eq!(texts(client, &world), ["a 2", "a 3"]);
    }
    // Each part was served by whoever came to it first.
    assert!((1..=2).contains(&demanded(&world)));
}

#[test]
fn whoever_withdraws_gets_nobody_new_and_readers_move() {
    let mut world = World::with_parts(1, [0, 2, 1, 1], 2, true, Arc::new(Rates));
    let mut client = world.client(1, &subjects(&["a"]));
    world.pass(100);
    world.publish("a");
    world.pass(100);
    let reads = |world: &World, at: usize| {
        let source = world.instances[at].1.as_ref().unwrap().borrow();
        source.is_demanded("rates", "a")
    };
    let at = usize::from(reads(&world, 1));
    let source = world.instances[at].1.clone().unwrap();
    source.borrow_mut().withdraw("rates", world.board.now).unwrap();
    world.pass(200);
    assert_eq!((reads(&world, at), reads(&world, 1 - at)), (false, true));
    world.publish("a");
    world.pass(100);
    assert_eq!(texts(&mut client, &world), ["a 1", "a 2"]);
    let denied = source.borrow().counts().denied;
    let mut more = world.client(0, &subjects(&["b", "c", "d"]));
    world.pass(100);
    world.publish("c");
    world.pass(100);
    assert_eq!((texts(&mut more, &world).len(), source.borrow().counts().denied), (1, denied));
}

#[test]
fn whoever_is_full_is_passed_over_and_where_all_are_nobody_waits() {
    let mut world = world(0, 2, 1);
    (0..2).for_each(|at| world.kill_instance(at));
    world.capacity = 2;
    (0..2).for_each(|at| world.start_instance(at));
    world.pass(500);
    let sum = |world: &World| -> (u64, u64) {
        let counts = world.living().map(|source| source.borrow().counts());
        counts.fold((0, 0), |sum, counts| (sum.0 + counts.consumers, sum.1 + counts.denied))
    };
    let (mut clients, mut late) = (Vec::new(), world.client(0, &[]));
    for count in 1..=4 {
        clients.push(world.client(0, &subjects(&["talk"])));
        world.pass(50);
        assert_eq!(sum(&world), (count, 0));
    }
    let answer = late.command(&mut world, "open?resource=rates&subject=talk");
    assert!(answer.contains("no-instance"), "{answer}");
    assert_eq!(sum(&world), (4, 0), "they were not even asked");
    let frames = clients[1].frames(&world);
    let cid = attribute(frames.iter().find(|frame| frame.starts_with("<p o ")).unwrap(), "c");
    clients[1].command(&mut world, &format!("close?cid={cid}"));
    world.pass(100);
    assert_eq!(sum(&world), (3, 0));
    let answer = late.command(&mut world, "open?resource=rates&subject=talk");
    assert!(!answer.contains("no-instance"), "{answer}");
    assert_eq!(sum(&world), (4, 0));
}

#[test]
fn while_a_server_drains_its_resources_dial_the_next_one() {
    let mut world = world(0, 2, 2);
    let mut before = world.client(1, &subjects(&["a"]));
    world.pass(100);
    let now = world.board.now;
    for part in &world.servers {
        part.borrow_mut().hubs[0].handle_drain(Span::from_secs(5), now);
    }
    let drained = world.houses[0];
    world.start_server(0);
    let mut after = world.client(2, &subjects(&["a"]));
    world.pass(1_000);
    world.publish("a");
    world.pass(100);
    assert_eq!(texts(&mut before, &world), ["a 1"]);
    assert_eq!(texts(&mut after, &world), ["a 1"]);
    let connections = |world: &World| -> Vec<u64> {
        world.living().map(|source| source.borrow().counts().connections).collect()
    };
    assert_eq!(connections(&world), [4, 4]);
    world.board.kill(drained);
    world.publish("a");
    world.pass(1_000);
    assert_eq!((connections(&world), texts(&mut after, &world).len()), (vec![2, 2], 2));
}

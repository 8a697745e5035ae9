//! A source and the real registries: it is known wherever it should be, whatever is cut or ends.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use ahm::base::random::Random;
use ahm::base::time::Span;
use ahm::link::registry::Registry;
use ahm::link::source::Source;
use ahm::link::source_settings::Settings;
use ahm::link::source_topic::Served;
use ahm::testing::switchboard::Switchboard;
use ahm::wire::resource::{Role, Terms};

use crate::{address, me};

/// Two registries and a source of two resources.
struct World {
    board: Switchboard,
    /// Where on the board they are, and what they are.
    registries: Vec<(usize, Rc<RefCell<Registry>>)>,
    source: Rc<RefCell<Source>>,
    at: usize,
}

fn registry(board: &mut Switchboard, port: u16) -> (usize, Rc<RefCell<Registry>>) {
    let own = me(Role::Registry, u64::from(port));
    let registry = Rc::new(RefCell::new(Registry::new(own, board.now)));
    (board.add(registry.clone(), Some(address(port))), registry)
}

impl World {
    fn new(seed: u64) -> Self {
        let mut board = Switchboard::new(seed);
        board.short_writes = seed as usize % 5;
        let registries = [11, 12].map(|port| registry(&mut board, port)).into();
        let settings = Settings {
            registries: vec![address(11), address(12)],
            addresses: vec![address(1)],
            retry: Span::from_millis(50),
            ..Settings::default()
        };
        let random = Random::from_number(seed);
        let mut source = Source::new(me(Role::Resource, 1), settings, random, board.now);
        for name in ["r", "s"] {
            source.serve(Served::new(name), Arc::new(Terms::default())).unwrap();
        }
        let source = Rc::new(RefCell::new(source));
        let at = board.add(source.clone(), Some(address(1)));
        Self { board, registries, source, at }
    }

    /// How many instances each registry knows, when what is under way has arrived.
    fn known(&mut self) -> [usize; 2] {
        self.board.pass(Span::from_millis(500));
        [0, 1].map(|at| self.registries[at].1.borrow().instance_count())
    }
}

#[test]
fn a_source_is_known_wherever_it_registers_for_as_long_as_it_is_there() {
    for seed in 0..50 {
        let mut world = World::new(seed);
        assert_eq!(world.known(), [2, 2], "seed {seed}");
        for _ in 0..5 {
            let which = world.board.random.below(2) as usize;
            world.board.cut(world.registries[which].0);
            assert_eq!(world.registries[which].1.borrow().instance_count(), 0);
            assert_eq!(world.known(), [2, 2], "seed {seed}");
        }
        // A registry is started anew, with nothing.
        world.board.kill(world.registries[0].0);
        assert_eq!(world.known()[1], 2);
        world.registries[0] = registry(&mut world.board, 11);
        assert_eq!(world.known(), [2, 2], "seed {seed}");
        assert_eq!(world.source.borrow().counts().registries, 2);
        world.source.borrow_mut().withdraw("r", world.board.now).unwrap();
        assert_eq!(world.known(), [1, 1], "seed {seed}");
        if seed % 2 == 0 {
            world.source.borrow_mut().leave(Span::ZERO, world.board.now);
            assert_eq!(world.known(), [0, 0], "seed {seed}");
            assert!(world.source.borrow().is_over());
        } else {
            world.board.kill(world.at);
            assert_eq!(world.known(), [0, 0], "seed {seed}");
        }
    }
}

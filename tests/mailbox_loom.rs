//! Every interleaving of two senders and a receiver that goes to sleep, and every value that the
//! memory model lets them read: no parcel stays behind with the receiver asleep and nobody about to
//! wake it. Such a state is a deadlock of the model, which the checker reports.
//!
//! The gate is the product's own code over the model's atomics. The queue is a count without any
//! ordering, weaker than the real one, so that the proof leans on nothing but the gate.

use std::sync::Arc; // the checker's own counts into the deadlocks it should report

use ahm::shard::mailbox::{Flag, Gate};
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use loom::thread::{self, Thread};

const SENDERS: usize = 2;

/// What the product does.
struct Sound(AtomicBool);

impl Flag for Sound {
    fn lowered() -> Self {
        Self(AtomicBool::new(false))
    }

    fn load(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn swap(&self, raised: bool) -> bool {
        self.0.swap(raised, Ordering::SeqCst)
    }

    fn fence() {
        fence(Ordering::SeqCst);
    }
}

/// The same without its fences.
struct Fenceless(Sound);

impl Flag for Fenceless {
    fn lowered() -> Self {
        Self(Sound::lowered())
    }

    fn load(&self) -> bool {
        self.0.load()
    }

    fn swap(&self, raised: bool) -> bool {
        self.0.swap(raised)
    }

    fn fence() {}
}

struct Post<F> {
    gate: Gate<F>,
    /// Parcels put down so far.
    put: AtomicUsize,
    /// Parked where the product waits for readiness; a parked thread keeps one wake-up that comes
    /// early, as an eventfd does.
    receiver: Thread,
    /// The test's own count, which the model need not know.
    wakeups: std::sync::atomic::AtomicUsize,
}

impl<F: Flag> Post<F> {
    fn new() -> Self {
        Self {
            gate: Gate::new(),
            put: AtomicUsize::new(0),
            receiver: thread::current(),
            wakeups: std::sync::atomic::AtomicUsize::new(0),
        }
    }

    fn send(&self) {
        self.put.fetch_add(1, Ordering::Relaxed);
        if self.gate.claim_wake() {
            self.wakeups.fetch_add(1, Ordering::Relaxed);
            self.receiver.unpark();
        }
    }

    /// Takes one parcel of each sender, sleeping whenever there is none.
    fn receive_all(&self, looks_again: bool) {
        let mut sleeps = 0;
        loop {
            let taken = self.put.load(Ordering::Relaxed);
            if taken == SENDERS {
                break;
            }
            sleeps += 1;
            let is_empty = || !looks_again || self.put.load(Ordering::Relaxed) == taken;
            if self.gate.prepare_sleep(is_empty) {
                thread::park();
                self.gate.awake();
            }
        }
        assert!(self.wakeups.load(Ordering::Relaxed) <= sleeps, "one wake-up a sleep at most");
    }
}

fn check<F: Flag + Send + Sync + 'static>(looks_again: bool) {
    loom::model(move || {
        let post = Arc::new(Post::<F>::new());
        for _ in 0..SENDERS {
            let post = Arc::clone(&post);
            thread::spawn(move || post.send());
        }
        post.receive_all(looks_again);
    });
}

#[test]
fn no_parcel_is_left_with_a_sleeping_receiver() {
    check::<Sound>(true);
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_fences_the_checker_finds_the_lost_wake_up() {
    check::<Fenceless>(true);
}

#[test]
#[should_panic(expected = "deadlock")]
fn without_the_second_look_the_checker_finds_the_lost_wake_up() {
    check::<Sound>(false);
}

//! How shards talk: a bounded lock-free queue to each, and a gate that decides who wakes it.
//!
//! A wake-up is a system call on both sides, so one is made only for a shard that sleeps, and once
//! a sleep. The danger is the parcel that nobody wakes the shard for. The [`Gate`] rules it out:
//! before it sleeps a receiver says so, fences, and looks at its mail once more; a sender puts its
//! parcel down, fences, and then looks whether the receiver sleeps. Whichever fence is first, the
//! other side sees what was said before it. `tests/mailbox_loom.rs` runs this same code through
//! every interleaving, and shows that it fails without the fences and without the second look.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use crossbeam_queue::ArrayQueue;

/// What ends the sleep of a receiver's thread.
pub trait Wake: Send + Sync {
    /// Makes the wait that is going on, or else the next one, return. Callable from any thread.
    fn wake(&self);
}

impl Wake for mio::Waker {
    fn wake(&self) {
        // The kernel refuses only what cannot happen to a live eventfd; the shard then still wakes
        // for its next timer.
        if let Err(error) = Self::wake(self) {
            log::error!("a shard could not be woken: {error}");
        }
    }
}

/// The one atomic of a [`Gate`]: of the processor in the product, of the model in its test.
pub trait Flag {
    /// The flag, lowered.
    fn lowered() -> Self;
    /// Loads, with any ordering.
    fn load(&self) -> bool;
    /// Swaps, sequentially consistent.
    fn swap(&self, raised: bool) -> bool;
    /// A sequentially consistent fence.
    fn fence();
}

impl Flag for AtomicBool {
    fn lowered() -> Self {
        Self::new(false)
    }

    fn load(&self) -> bool {
        self.load(Ordering::Relaxed)
    }

    fn swap(&self, raised: bool) -> bool {
        self.swap(raised, Ordering::SeqCst)
    }

    fn fence() {
        fence(Ordering::SeqCst);
    }
}

/// Decides which sender wakes the receiver, so that one does when it must and none else does.
///
/// All writes are swaps, though the receiver needs no old value. The price is that of a
/// sequentially consistent store, and the model checker keeps swaps in one order, while beside
/// plain stores it lets a swap take a value that was overwritten.
#[derive(Debug)]
pub struct Gate<F = AtomicBool> {
    /// Raised by the receiver only; lowered by the receiver, or by the sender that will wake it.
    asleep: F,
}

impl<F: Flag> Gate<F> {
    /// A gate whose receiver is awake.
    pub fn new() -> Self {
        Self { asleep: F::lowered() }
    }

    /// The receiver's step before it waits; `is_empty` looks at its mail. True: it may wait, and is
    /// woken by the next parcel. False: there is mail, it must not wait.
    pub fn prepare_sleep(&self, is_empty: impl FnOnce() -> bool) -> bool {
        self.asleep.swap(true);
        F::fence();
        let empty = is_empty();
        if !empty {
            self.awake();
        }
        empty
    }

    /// The receiver's step after it waited, for whatever reason the wait ended.
    pub fn awake(&self) {
        self.asleep.swap(false);
    }

    /// A sender's step after it put a parcel down. True: it is the one that must wake the receiver.
    #[must_use = "the receiver sleeps on unless it is woken"]
    pub fn claim_wake(&self) -> bool {
        F::fence();
        // To look first spares the shards that are awake a contended write to each other's flag.
        self.asleep.load() && self.asleep.swap(false)
    }
}

impl<F: Flag> Default for Gate<F> {
    fn default() -> Self {
        Self::new()
    }
}

struct Shared<T> {
    queue: ArrayQueue<T>,
    gate: Gate,
    /// Raised when the receiver is gone.
    closed: AtomicBool,
    waker: Arc<dyn Wake>,
}

/// Makes a mailbox with places for `capacity` parcels (at least one), whose receiver's thread is
/// woken by `waker`.
///
/// ```
/// use std::sync::Arc;
/// use ahm::reactor::poller::Poller;
/// use ahm::shard::mailbox;
///
/// let mut poller = Poller::new(64)?;
/// let waker = poller.waker(mio::Token(0))?;
/// let (sender, mut receiver) = mailbox::mailbox::<u32>(128, waker);
/// let other = std::thread::spawn(move || sender.push(7));
/// let parcel = loop {
///     if let Some(parcel) = receiver.pop() {
///         break parcel;
///     }
///     if receiver.prepare_sleep() {
///         poller.poll(None)?;
///     }
///     receiver.awake();
/// };
/// assert_eq!(parcel, 7);
/// # other.join().unwrap().unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn mailbox<T: Send>(capacity: usize, waker: Arc<dyn Wake>) -> (Sender<T>, Receiver<T>) {
    let queue = ArrayQueue::new(capacity.max(1));
    let closed = AtomicBool::new(false);
    let shared = Arc::new(Shared { queue, gate: Gate::new(), closed, waker });
    (Sender { shared: Arc::clone(&shared) }, Receiver { shared })
}

/// The end that any number of threads put parcels into.
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T: Send> Sender<T> {
    /// Puts a parcel down and wakes the receiver if it sleeps and nobody else has done so. Parcels
    /// of one sender arrive in its order.
    ///
    /// # Errors
    ///
    /// Gives the parcel back if the queue is full, or if the receiver is gone
    /// ([`Sender::is_closed`] tells which); never waits.
    pub fn push(&self, parcel: T) -> Result<(), T> {
        if self.is_closed() {
            return Err(parcel);
        }
        self.shared.queue.push(parcel)?;
        if self.shared.gate.claim_wake() {
            self.shared.waker.wake();
        }
        Ok(())
    }

    /// Places that are free at this moment; another sender may take them before this one does.
    pub fn free(&self) -> usize {
        self.shared.queue.capacity() - self.shared.queue.len()
    }

    /// Whether the receiver is gone. A parcel that was put down just before is lost with it.
    pub fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Relaxed)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("queue", &self.shared.queue).finish_non_exhaustive()
    }
}

/// The end that one thread takes parcels from.
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Receiver<T> {
    /// Takes the oldest parcel.
    pub fn pop(&mut self) -> Option<T> {
        self.shared.queue.pop()
    }

    /// Parcels that wait at this moment.
    pub fn len(&self) -> usize {
        self.shared.queue.len()
    }

    /// Whether no parcel waits at this moment.
    pub fn is_empty(&self) -> bool {
        self.shared.queue.is_empty()
    }

    /// Call right before waiting for readiness. True: the wait may block, the next parcel ends it.
    /// False: there is mail already, so look for readiness with a time-out of zero.
    pub fn prepare_sleep(&mut self) -> bool {
        self.shared.gate.prepare_sleep(|| self.shared.queue.is_empty())
    }

    /// Call right after waiting: from here on senders need not wake this thread. Harmless where
    /// [`Receiver::prepare_sleep`] said false.
    pub fn awake(&mut self) {
        self.shared.gate.awake();
    }
}

impl<T> Drop for Receiver<T> {
    /// Drops what waits now instead of with the last sender: parcels may own sockets.
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Relaxed);
        while self.shared.queue.pop().is_some() {}
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("queue", &self.shared.queue).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex};

    use super::*;

    /// An eventfd in miniature that counts how often it was written to.
    #[derive(Default)]
    struct Bell {
        rung: Mutex<(bool, u64)>,
        changed: Condvar,
    }

    impl Bell {
        fn wait(&self) {
            let mut rung = self.rung.lock().unwrap();
            while !rung.0 {
                rung = self.changed.wait(rung).unwrap();
            }
            rung.0 = false;
        }

        fn times(&self) -> u64 {
            self.rung.lock().unwrap().1
        }
    }

    impl Wake for Bell {
        fn wake(&self) {
            let mut rung = self.rung.lock().unwrap();
            *rung = (true, rung.1 + 1);
            self.changed.notify_one();
        }
    }

    #[test]
    fn a_receiver_that_is_awake_is_not_woken_and_a_sleeper_once() {
        let bell = Arc::new(Bell::default());
        let (sender, mut receiver) = mailbox(8, Arc::clone(&bell) as Arc<dyn Wake>);
        sender.push(1).unwrap();
        assert_eq!(bell.times(), 0);
        assert!(!receiver.prepare_sleep(), "there is mail");
        sender.push(2).unwrap();
        assert_eq!(bell.times(), 0);
        assert_eq!((receiver.pop(), receiver.pop(), receiver.pop()), (Some(1), Some(2), None));
        assert!(receiver.prepare_sleep());
        for parcel in 3..6 {
            sender.clone().push(parcel).unwrap();
        }
        assert_eq!(bell.times(), 1);
        receiver.awake();
        sender.push(6).unwrap();
        assert_eq!((bell.times(), receiver.len()), (1, 4));
    }

    #[test]
    fn a_full_queue_gives_the_parcel_back() {
        let (sender, mut receiver) = mailbox(2, Arc::new(Bell::default()));
        assert_eq!((sender.push('a'), sender.free()), (Ok(()), 1));
        assert_eq!((sender.push('b'), sender.free()), (Ok(()), 0));
        assert_eq!(sender.push('c'), Err('c'));
        assert_eq!((receiver.pop(), sender.push('c')), (Some('a'), Ok(())));
    }

    #[test]
    fn a_receiver_that_goes_drops_its_mail_and_refuses_more() {
        let (sender, receiver) = mailbox(2, Arc::new(Bell::default()));
        let parcel = Arc::new(());
        sender.push(Arc::clone(&parcel)).unwrap();
        drop(receiver);
        assert_eq!(Arc::strong_count(&parcel), 1);
        assert!(sender.is_closed() && sender.push(parcel).is_err());
    }

    #[test]
    fn threads_lose_nothing_and_keep_their_order() {
        const SENDERS: u32 = 3;
        const EACH: u32 = 20_000;
        let bell = Arc::new(Bell::default());
        let (sender, mut receiver) = mailbox(64, Arc::clone(&bell) as Arc<dyn Wake>);
        let threads: Vec<_> = (0..SENDERS)
            .map(|who| {
                let sender = sender.clone();
                std::thread::spawn(move || {
                    for number in 0..EACH {
                        while sender.push((who, number)).is_err() {
                            std::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        let mut expected = [0; SENDERS as usize];
        let (mut taken, mut sleeps) = (0, 0);
        while taken < SENDERS * EACH {
            while let Some((who, number)) = receiver.pop() {
                assert_eq!(number, expected[who as usize]);
                expected[who as usize] += 1;
                taken += 1;
            }
            sleeps += 1;
            // The last parcel may be taken in the loop above: nobody would wake us after it.
            if taken < SENDERS * EACH && receiver.prepare_sleep() {
                bell.wait();
            }
            receiver.awake();
        }
        for thread in threads {
            thread.join().unwrap();
        }
        assert!(bell.times() <= sleeps, "{} wake-ups in {sleeps} sleeps", bell.times());
    }
}

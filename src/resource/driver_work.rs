//! What other threads want of a driven station: a queue, and a waker.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::base::id::Key;
use crate::base::time::Instant;
use crate::reactor::transport::Transport;

/// Pieces of work that may wait.
const WORK_MAX: usize = 8_192;

/// Something to be done on the station's thread.
pub(crate) enum Work<S> {
    /// With the station.
    Act(Task<S, ()>),
    /// A connection that was made elsewhere becomes one of the station's, which gives its key.
    Adopt(Transport, Task<S, Key>),
}

/// What is to be done with the station.
type Task<S, T> = Box<dyn FnOnce(&mut S, Instant) -> T + Send>;

/// Why work was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too much waits already; try again.
    Full,
    /// The station's thread has ended, or ends.
    Over,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "too much work waits already",
            Self::Over => "the station has stopped",
        })
    }
}

impl std::error::Error for Refused {}

/// The queue of one station.
pub(crate) struct Queue<S> {
    inner: Mutex<Inner<S>>,
    /// There is room again, or never will be.
    room: Condvar,
    waker: Arc<mio::Waker>,
}

struct Inner<S> {
    work: Vec<Work<S>>,
    /// It should end.
    stop: bool,
    /// It has ended.
    over: bool,
}

impl<S> Queue<S> {
    /// An empty queue that wakes the station's thread by `waker`.
    pub(crate) fn new(waker: Arc<mio::Waker>) -> Self {
        let inner = Inner { work: Vec::new(), stop: false, over: false };
        Self { inner: Mutex::new(inner), room: Condvar::new(), waker }
    }

    /// Adds work; `wait`: also where there is no room yet.
    pub(crate) fn push(&self, work: Work<S>, wait: bool) -> Result<(), Refused> {
        let mut inner = self.lock();
        while inner.work.len() >= WORK_MAX && !inner.stop && !inner.over {
            if !wait {
                return Err(Refused::Full);
            }
            inner = self.room.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        if inner.stop || inner.over {
            return Err(Refused::Over);
        }
        inner.work.push(work);
        // The thread takes all there is: who finds something here knows that it was woken for that.
        if inner.work.len() == 1 {
            drop(inner);
            self.wake();
        }
        Ok(())
    }

    /// Has the station end when it has done what waits.
    pub(crate) fn stop(&self) {
        self.lock().stop = true;
        self.room.notify_all();
        self.wake();
    }

    /// Takes all work into `taken`, which is empty; says whether the station should end after it.
    pub(crate) fn take(&self, taken: &mut Vec<Work<S>>) -> bool {
        let mut inner = self.lock();
        std::mem::swap(&mut inner.work, taken);
        let stop = inner.stop;
        drop(inner);
        if taken.len() >= WORK_MAX {
            self.room.notify_all();
        }
        stop
    }

    /// The station has ended; whoever waits for what it asked hears of that.
    pub(crate) fn close(&self) {
        let mut inner = self.lock();
        inner.over = true;
        let undone = std::mem::take(&mut inner.work);
        drop(inner);
        drop(undone);
        self.room.notify_all();
    }

    /// Whether the station has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.lock().over
    }

    fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            log::warn!("a station cannot be woken: {error}");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<S>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! Which processor cores a thread runs on.
//!
//! A shard that stays on one core keeps its caches and its share of the accepted connections. That
//! is an optimisation: a container may forbid it, so errors are for the log, not for the exit.

use std::io;

/// The cores that the calling thread may run on, in ascending order.
///
/// # Errors
///
/// What the operating system says; `Unsupported` where this is not Linux.
pub fn allowed_cores() -> io::Result<Vec<usize>> {
    imp::allowed_cores()
}

/// Makes the calling thread run on `core` only, one of [`allowed_cores`]. Threads that it starts
/// afterwards inherit this.
///
/// # Errors
///
/// `InvalidInput` if there is no such core or this process may not use it; `Unsupported` where this
/// is not Linux.
pub fn pin_to(core: usize) -> io::Result<()> {
    imp::pin_to(core)
}

#[cfg(target_os = "linux")]
mod imp {
    use std::io;
    use std::mem::size_of;

    /// The calling thread, for the calls below.
    const SELF: libc::pid_t = 0;
    /// Cores in a set of the C library.
    const CORES_MAX: usize = libc::CPU_SETSIZE as usize;

    fn empty() -> libc::cpu_set_t {
        // SAFETY: a `cpu_set_t` is an array of integers, for which all zeros is a value: the empty
        // set.
        unsafe { std::mem::zeroed() }
    }

    pub(super) fn allowed_cores() -> io::Result<Vec<usize>> {
        let mut set = empty();
        // SAFETY: `set` is writable for the size that is given, and outlives the call.
        if unsafe { libc::sched_getaffinity(SELF, size_of::<libc::cpu_set_t>(), &raw mut set) } != 0
        {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: every number asked for is below CPU_SETSIZE, so within the set.
        Ok((0..CORES_MAX).filter(|&core| unsafe { libc::CPU_ISSET(core, &set) }).collect())
    }

    pub(super) fn pin_to(core: usize) -> io::Result<()> {
        if core >= CORES_MAX {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        }
        let mut set = empty();
        // SAFETY: `core` is below CPU_SETSIZE, so within the set.
        unsafe { libc::CPU_SET(core, &mut set) };
        // SAFETY: `set` is readable for the size that is given, and outlives the call.
        if unsafe { libc::sched_setaffinity(SELF, size_of::<libc::cpu_set_t>(), &raw const set) }
            != 0
        {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

#[cfg(not(target_os = "linux"))]
mod imp {
    use std::io;

    pub(super) fn allowed_cores() -> io::Result<Vec<usize>> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    pub(super) fn pin_to(_core: usize) -> io::Result<()> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_stays_where_it_was_put() {
        // A thread of its own: the harness's must keep all cores.
        let pinned = std::thread::spawn(|| {
            let core = *allowed_cores().unwrap().last().unwrap();
            pin_to(core).unwrap();
            (core, allowed_cores().unwrap())
        });
        let (core, allowed) = pinned.join().unwrap();
        assert_eq!(allowed, [core]);
    }

    #[test]
    fn a_core_that_is_not_there_is_an_error() {
        for core in [1023, 1024, usize::MAX] {
            assert_eq!(pin_to(core).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{core}");
        }
    }
}

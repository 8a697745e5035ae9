//! How many descriptors the process may have open, which is how many connections.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// The limit on open descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFiles {
    /// What holds now.
    pub soft: u64,
    /// What the process may raise it to.
    pub hard: u64,
}

/// The limit as it is.
///
/// # Errors
///
/// What the operating system says.
pub fn open_files() -> io::Result<OpenFiles> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is writable and outlives the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(OpenFiles { soft: limit.rlim_cur, hard: limit.rlim_max })
}

/// Raises the soft limit to the hard one and tells what holds then. Shells hand down a soft limit
/// of 1,024 for the sake of programs that use `select`; this one does not.
///
/// # Errors
///
/// What the operating system says; the old limit then still holds.
///
/// ```
/// let limit = ahm::reactor::rlimit::raise_open_files()?;
/// assert_eq!(limit.soft, limit.hard);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn raise_open_files() -> io::Result<OpenFiles> {
    let OpenFiles { soft, hard } = open_files()?;
    if soft < hard {
        set_soft(hard, hard)?;
    }
    Ok(OpenFiles { soft: hard, hard })
}

/// Lowers the soft limit to `soft` if it is higher, for an operator (or a test) that wants less.
///
/// # Errors
///
/// What the operating system says; the old limit then still holds.
pub fn lower_open_files(soft: u64) -> io::Result<()> {
    let limit = open_files()?;
    if soft < limit.soft { set_soft(soft, limit.hard) } else { Ok(()) }
}

/// Has the kernel make room for `count` descriptors of this process, or as many as it may have
/// open; says for how many there is room.
///
/// It would make room by itself, twice as much each time. But where the process has several
/// threads, whoever opens the descriptor that no longer fits is held up until all cores have passed
/// through the kernel: five to fifteen milliseconds, in which a shard does nothing else. A server
/// that ten thousand clients come to would go through eight of these.
///
/// # Errors
///
/// What the operating system says; room is then made as it is needed.
///
/// ```
/// let room = ahm::reactor::rlimit::make_room(500)?;
/// assert!(room <= 500);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn make_room(count: u64) -> io::Result<u64> {
    let count = count.min(open_files()?.soft).min(i32::MAX as u64);
    let Some(last) = count.checked_sub(1) else { return Ok(0) };
    let file = File::open("/dev/null")?;
    // SAFETY: `file` is open, and the call takes one number more, which is given.
    let high = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, last as libc::c_int) };
    if high < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call above has made this descriptor, and nobody else knows of it.
    drop(unsafe { OwnedFd::from_raw_fd(high) });
    Ok(count)
}

fn set_soft(soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: `limit` is readable and outlives the call.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

//! Being somebody with fewer rights once everything is open that needs more, and keeping what is in
//! memory out of core files.

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Bytes that an entry of the user database may take.
const ENTRY_BYTES_MAX: usize = 1 << 20;

/// A user and a group of this machine, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// The user.
    pub user: u32,
    /// The group.
    pub group: u32,
}

impl Account {
    /// Looks up a user, and a group; without one it is the user's own. Numbers are taken as they
    /// are, but a user who is only a number needs a group.
    ///
    /// # Errors
    ///
    /// A sentence: there is no such user or group, or it is root.
    ///
    /// ```
    /// use ahm::reactor::privileges::Account;
    /// assert_eq!(Account::find("1234", "56"), Ok(Account { user: 1234, group: 56 }));
    /// assert_eq!(Account::find("root", "").unwrap_err(), "user \"root\" gives up nothing");
    /// assert!(Account::find("no such user", "").is_err());
    /// ```
    pub fn find(user: &str, group: &str) -> Result<Self, String> {
        let (number, own) = match user.parse() {
            Ok(number) => (number, None),
            Err(_) => {
                let (number, own) = user_entry(user)?;
                (number, Some(own))
            }
        };
        let group = match (group, own) {
            ("", Some(own)) => own,
            ("", None) => return Err(format!("user {user:?} is a number, so `group` is needed")),
            (name, _) => name.parse().or_else(|_| group_entry(name))?,
        };
        match number {
            0 => Err(format!("user {user:?} gives up nothing")),
            user => Ok(Self { user, group }),
        }
    }

    /// Who this process is.
    pub fn own() -> Self {
        // SAFETY: these take nothing and cannot fail.
        let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
        Self { user, group }
    }
}

/// Has this process be that account from now on, in all of its threads, with no other group and no
/// way back; what it has open stays open. From then on it leaves no core file either, and nobody
/// but root can look into it.
///
/// The C library does this for every thread of the process; the bare system call would not.
///
/// # Errors
///
/// A sentence: this process is not root, or the kernel refuses.
pub fn become_account(account: Account) -> Result<(), String> {
    let own = Account::own();
    if own.user != 0 {
        return match own == account {
            true => Ok(()),
            false => Err(format!(
                "only root can become another user, and this process is user {}",
                own.user
            )),
        };
    }
    let Account { user, group } = account;
    let check = |what: &str, outcome: libc::c_int| match outcome {
        0 => Ok(()),
        _ => Err(format!("{what}: {}", io::Error::last_os_error())),
    };
    // The user last: whoever is not root may not change groups.
    // SAFETY: `group` is readable for the one entry that is told, and outlives the call.
    check("setgroups", unsafe { libc::setgroups(1, &raw const group) })?;
    // SAFETY: these take numbers.
    check("setgid", unsafe { libc::setgid(group) })?;
    // SAFETY: as above.
    check("setuid", unsafe { libc::setuid(user) })?;
    // SAFETY: as above.
    if unsafe { libc::setuid(0) } == 0 || Account::own() != account {
        return Err("root could be had back".into());
    }
    #[cfg(target_os = "linux")]
    // SAFETY: this takes a number.
    check("prctl", unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0) })?;
    Ok(())
}

/// Gives a file to an account.
///
/// # Errors
///
/// What the operating system says.
pub fn give_file(path: &Path, account: Account) -> io::Result<()> {
    std::os::unix::fs::lchown(path, Some(account.user), Some(account.group))
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
}

/// Has this process leave no core file when it crashes: what is in memory, keys and tokens among
/// it, would lie on the disk.
///
/// # Errors
///
/// What the operating system says.
pub fn forbid_core_files() -> io::Result<()> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `none` is readable and outlives the call.
    match unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Number and group of a user.
fn user_entry(name: &str) -> Result<(u32, u32), String> {
    let wanted = text(name)?;
    let mut entry = MaybeUninit::<libc::passwd>::uninit();
    let found = with_buffer(|buffer| {
        let mut found = std::ptr::null_mut();
        let (into, bytes) = (buffer.as_mut_ptr().cast(), buffer.len());
        // SAFETY: all of these are writable for the length that is told, and outlive the call.
        let error = unsafe {
            libc::getpwnam_r(wanted.as_ptr(), entry.as_mut_ptr(), into, bytes, &raw mut found)
        };
        (error, !found.is_null())
    });
    match found {
        Ok(true) => {
            // SAFETY: it was filled in by the call above, which says that it has found something.
            let entry = unsafe { entry.assume_init() };
            Ok((entry.pw_uid, entry.pw_gid))
        }
        Ok(false) => Err(format!("there is no user {name:?}")),
        Err(error) => Err(format!("user {name:?}: {error}")),
    }
}

/// The number of a group.
fn group_entry(name: &str) -> Result<u32, String> {
    let wanted = text(name)?;
    let mut entry = MaybeUninit::<libc::group>::uninit();
    let found = with_buffer(|buffer| {
        let mut found = std::ptr::null_mut();
        let (into, bytes) = (buffer.as_mut_ptr().cast(), buffer.len());
        // SAFETY: all of these are writable for the length that is told, and outlive the call.
        let error = unsafe {
            libc::getgrnam_r(wanted.as_ptr(), entry.as_mut_ptr(), into, bytes, &raw mut found)
        };
        (error, !found.is_null())
    });
    match found {
        // SAFETY: it was filled in by the call above, which says that it has found something.
        Ok(true) => Ok(unsafe { entry.assume_init() }.gr_gid),
        Ok(false) => Err(format!("there is no group {name:?}")),
        Err(error) => Err(format!("group {name:?}: {error}")),
    }
}

/// Looks something up with more and more room for its texts, until they fit.
fn with_buffer(mut look: impl FnMut(&mut [u8]) -> (libc::c_int, bool)) -> io::Result<bool> {
    let mut buffer = vec![0; 4096];
    loop {
        match look(&mut buffer) {
            (0, found) => return Ok(found),
            (libc::ERANGE, _) if buffer.len() < ENTRY_BYTES_MAX => {
                buffer.resize(buffer.len() * 4, 0);
            }
            // Some systems say so of what is not there.
            (libc::ENOENT | libc::ESRCH, _) => return Ok(false),
            (error, _) => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

fn text(name: &str) -> Result<CString, String> {
    let bytes = std::ffi::OsStr::new(name).as_bytes();
    CString::new(bytes).map_err(|_| format!("{name:?} is no name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_found_by_name_and_number() {
        let nobody = Account::find("nobody", "").unwrap();
        assert_eq!(Account::find(&nobody.user.to_string(), &nobody.group.to_string()), Ok(nobody));
        assert_eq!(Account::find("nobody", "root").map(|account| account.group), Ok(0));
        for (user, group, wanted) in [
            ("ahm-nobody-of-that-name", "", "there is no user \"ahm-nobody-of-that-name\""),
            ("nobody", "ahm-no-group", "there is no group \"ahm-no-group\""),
            ("4711", "", "user \"4711\" is a number, so `group` is needed"),
            ("0", "1", "user \"0\" gives up nothing"),
            ("a\0b", "", "\"a\\0b\" is no name"),
        ] {
            assert_eq!(Account::find(user, group).unwrap_err(), wanted);
        }
    }
}

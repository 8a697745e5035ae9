//! Ending a program together with whatever it has started.

use std::io;
use std::process::Child;

/// Kills all processes of the group that the child leads, and does not wait for them. The child
/// must have been started as the leader of a group (`process_group(0)`) and not be waited for yet,
/// so that its number is still its own.
///
/// ```
/// use std::os::unix::process::CommandExt as _;
/// let mut child = std::process::Command::new("sleep").arg("1000").process_group(0).spawn()?;
/// ahm::reactor::process::kill_group(&mut child)?;
/// assert!(!child.wait()?.success());
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// What the operating system says.
pub fn kill_group(child: &mut Child) -> io::Result<()> {
    let group = libc::pid_t::try_from(child.id()).map_err(io::Error::other)?;
    // SAFETY: the call takes two numbers and touches no memory of ours; the child was not waited
    // for, which `&mut` and the contract above say, so that the number names no other's group.
    if unsafe { libc::kill(-group, libc::SIGKILL) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

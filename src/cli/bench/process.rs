//! What the operating system tells of a process and of the machine, read from `/proc`.

use std::fs::{read_dir, read_to_string};

use serde::Serialize;

use crate::base::time::Span;

/// Length of the ticks in `/proc/PID/stat`: Linux shows 100 a second on every architecture in use.
const TICK: Span = Span::from_millis(10);

/// CPU time that all threads of process `pid` and of its children have used so far, user and
/// system, living and dead ones, in steps of 10 ms.
///
/// # Errors
/// A sentence: there is no such process, or no `/proc`.
pub fn cpu(pid: u32) -> Result<Span, String> {
    let one = |pid: u32| {
        let path = format!("/proc/{pid}/stat");
        let stat = read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        parse_stat(&stat).ok_or_else(|| format!("{path}: not understood"))
    };
    // A child that has just ended is no error.
    let others = children(pid).into_iter().filter_map(|child| one(child).ok());
    Ok(others.fold(one(pid)?, |sum, one| sum + one))
}

/// Children of process `pid`, their children, and so on. None where the kernel does not tell.
fn children(pid: u32) -> Vec<u32> {
    let (mut found, mut from) = (vec![pid], 0);
    while let Some(pid) = found.get(from).copied() {
        from += 1;
        let tasks = read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let text = read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(text.split_ascii_whitespace().filter_map(|word| word.parse::<u32>().ok()));
        }
    }
    found.split_off(1)
}

fn parse_stat(stat: &str) -> Option<Span> {
    // The second field, the program's name, may hold spaces and brackets: count after its end.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(TICK.times(user.checked_add(system)?))
}

/// Memory of a process in bytes, as the kernel counts its pages. Kernel memory (sockets and their
/// buffers) belongs to no process and is not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Resident: every page in memory, shared ones too.
    pub rss: u64,
    /// Proportional: a page shared by n processes counts 1/n.
    pub pss: u64,
    /// Pages of this process alone.
    pub private: u64,
}

impl Memory {
    /// The memory of process `pid` and of its children now.
    ///
    /// # Errors
    /// A sentence: no such process, or it belongs to somebody else.
    pub fn of(pid: u32) -> Result<Self, String> {
        let one = |pid: u32| {
            let path = format!("/proc/{pid}/smaps_rollup");
            let text = read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
            Self::parse(&text).ok_or_else(|| format!("{path}: not understood"))
        };
        let mut sum = one(pid)?;
        for Self { rss, pss, private } in children(pid).into_iter().flat_map(one) {
            sum.rss += rss;
            sum.pss += pss;
            sum.private += private;
        }
        Ok(sum)
    }

    fn parse(text: &str) -> Option<Self> {
        let clean = kilobytes(text, "Private_Clean:")?;
        let dirty = kilobytes(text, "Private_Dirty:")?;
        Some(Self {
            rss: kilobytes(text, "Rss:")?,
            pss: kilobytes(text, "Pss:")?,
            private: clean + dirty,
        })
    }

    /// How much more this is than `before`, for each of `count` things.
    pub fn each(self, before: Self, count: u64) -> MemoryEach {
        let each = |after: u64, before: u64| (after as f64 - before as f64) / count.max(1) as f64;
        MemoryEach {
            rss: each(self.rss, before.rss),
            pss: each(self.pss, before.pss),
            private: each(self.private, before.private),
        }
    }
}

/// A growth of memory divided by what caused it: bytes per stream. Below zero where a process gave
/// more back than it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct MemoryEach {
    /// Of the resident pages.
    pub rss: f64,
    /// Of the proportional pages.
    pub pss: f64,
    /// Of the private pages.
    pub private: f64,
}

/// The number of bytes in the line of `text` that begins with `name` and counts in kB.
pub(crate) fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = value.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    number.checked_mul(1024)
}

/// Packets that the machine's cores have dropped so far because their backlog was full, from
/// `/proc/net/softnet_stat`. On loopback that is a machine with too much to do: whoever waits for
/// such a packet waits for TCP to repeat it, which takes from 0.2 seconds to minutes.
pub fn packets_dropped() -> u64 {
    parse_softnet(&read_to_string("/proc/net/softnet_stat").unwrap_or_default())
}

fn parse_softnet(text: &str) -> u64 {
    let dropped = |line: &str| {
        let field = line.split_ascii_whitespace().nth(1)?;
        u64::from_str_radix(field, 16).ok()
    };
    text.lines().filter_map(dropped).sum()
}

/// The machine a record was taken on. What cannot be read is `unknown` or 0.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Model of the first processor.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Kernel name and release.
    pub kernel: String,
    /// Congestion control of new TCP connections.
    pub congestion: String,
    /// Bytes of memory of the machine.
    pub memory: u64,
}

impl Machine {
    /// Describes the machine this process runs on.
    pub fn describe() -> Self {
        let line = |path: &str| read_to_string(path).unwrap_or_default().trim().to_owned();
        let known = |text: String| if text.is_empty() { "unknown".to_owned() } else { text };
        let info = line("/proc/cpuinfo");
        let model = info.lines().find_map(|line| line.strip_prefix("model name"));
        let model = model.and_then(|text| text.split_once(':')).map_or("", |(_, name)| name.trim());
        let kernel = ["/proc/sys/kernel/ostype", "/proc/sys/kernel/osrelease"].map(line).join(" ");
        Self {
            cpu: known(model.to_owned()),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: known(kernel.trim().to_owned()),
            congestion: known(line("/proc/sys/net/ipv4/tcp_congestion_control")),
            memory: kilobytes(&line("/proc/meminfo"), "MemTotal:").unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "12 (a) b) c) S 1 2 3 4 5 6 7 8 9 10 70 30 5 6 20 0 4";
        assert_eq!(parse_stat(stat), Some(Span::from_secs(1)));
        assert_eq!(parse_stat("12 (a) S 1 2"), None);
    }

    #[test]
    fn dropped_packets_are_added_up_over_the_cores() {
        assert_eq!(parse_softnet("00ea3a6a 000014fe 0000000a\n00ffbb61 00000002 0\n"), 0x1500);
        assert_eq!(parse_softnet(""), 0);
    }

    #[test]
    fn this_process_can_be_read() {
        let pid = std::process::id();
        let memory = Memory::of(pid).unwrap();
        assert!(memory.rss > 0 && memory.private > 0 && memory.pss <= memory.rss);
        assert!(cpu(pid).is_ok());
        assert!(cpu(u32::MAX).is_err());
        let machine = Machine::describe();
        assert!(machine.cores > 0 && machine.memory > 0);
        assert!(machine.kernel.starts_with("Linux "));
    }

    #[test]
    fn children_and_their_children_are_found() {
        let shell = "sleep 60 & echo $!; wait";
        let mut parent = std::process::Command::new("sh")
            .args(["-c", &format!("sh -c '{shell}'; :")])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let out = parent.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(out), &mut line).unwrap();
        let sleeper: u32 = line.trim().parse().unwrap();
        let found = children(parent.id());
        let whole = Memory::of(parent.id()).unwrap();
        let ended = std::process::Command::new("kill").arg(sleeper.to_string()).status().unwrap();
        parent.wait().unwrap();
        assert!(ended.success());
        assert!(found.len() == 2 && found.contains(&sleeper), "{found:?}");
        assert!(whole.rss > 0);
    }

    #[test]
    fn memory_of_each_stream_may_be_negative() {
        let before = Memory { rss: 3000, pss: 10, private: 0 };
        let after = Memory { rss: 1000, pss: 20, private: 4000 };
        let each = after.each(before, 10);
        assert_eq!((each.rss, each.pss, each.private), (-200.0, 1.0, 400.0));
    }
}

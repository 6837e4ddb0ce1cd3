//! What the kernel says about processes (`man 5 proc`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use std::{fs, io};

/// One line of `/proc/PID/stat`, as far as it is of use here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stat {
    parent: i32,
    user_ticks: u64,
    system_ticks: u64,
}

impl Stat {
    /// `None` when the line is not what the kernel writes.
    fn parse(line: &str) -> Option<Self> {
        // The second field is the program's name in parentheses, and may hold
        // spaces and parentheses itself: the rest begins after the last one.
        let (_, rest) = line.rsplit_once(") ")?;
        // Counted from the state, which is field 3 in the manual.
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3);
        Some(Self {
            parent: field(4)?.parse().ok()?,
            user_ticks: field(14)?.parse().ok()?,
            system_ticks: field(15)?.parse().ok()?,
        })
    }

    fn cpu_time(&self) -> Duration {
        let ticks = self.user_ticks + self.system_ticks;
        Duration::from_micros(ticks * 1_000_000 / rustix::param::clock_ticks_per_second())
    }
}

/// The process `root` with all its descendants, as they are now.
///
/// # Errors
/// When `/proc` cannot be listed.
pub(crate) fn process_tree(root: i32) -> io::Result<BTreeSet<i32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        // A process may end between the listing and the reading.
        if let Ok(stat) = read_stat(pid) {
            parents.push((pid, stat.parent));
        }
    }
    Ok(descendants(root, &parents))
}

fn descendants(root: i32, parents: &[(i32, i32)]) -> BTreeSet<i32> {
    let mut tree = BTreeSet::from([root]);
    loop {
        let known = tree.len();
        let children = parents.iter().filter(|(_, parent)| tree.contains(parent));
        let children: Vec<i32> = children.map(|(pid, _)| *pid).collect();
        tree.extend(children);
        if tree.len() == known {
            return tree;
        }
    }
}

/// CPU time that the processes have used, user and system, threads that have
/// ended included.
///
/// The kernel counts in nanoseconds and shows ticks of usually 10 ms, so that
/// over a window of 3 s on a busy core the error is below 0.7 %.
///
/// # Errors
/// When a process is gone.
pub(super) fn cpu_time(pids: &BTreeSet<i32>) -> io::Result<Duration> {
    let mut time = Duration::ZERO;
    for &pid in pids {
        time += read_stat(pid)?.cpu_time();
    }
    Ok(time)
}

/// The same of each thread that the processes have now, by its id.
///
/// # Errors
/// When a process is gone.
pub(super) fn cpu_time_by_thread(pids: &BTreeSet<i32>) -> io::Result<BTreeMap<String, Duration>> {
    let mut times = BTreeMap::new();
    for pid in pids {
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            let thread = thread?;
            let id = thread.file_name().to_string_lossy().into_owned();
            // A thread may end between the listing and the reading.
            let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            if let Some(stat) = Stat::parse(&stat) {
                times.insert(id, stat.cpu_time());
            }
        }
    }
    Ok(times)
}

/// Resident memory of the processes in bytes. Pages that they share count for each.
///
/// # Errors
/// When a process is gone.
pub(crate) fn resident_bytes(pids: &BTreeSet<i32>) -> io::Result<u64> {
    let mut bytes = 0;
    for pid in pids {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        bytes += parse_resident_bytes(&status)
            .ok_or_else(|| io::Error::other(format!("/proc/{pid}/status has no VmRSS")))?;
    }
    Ok(bytes)
}

fn parse_resident_bytes(status: &str) -> Option<u64> {
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = value.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes << 10)
}

/// How often the threads that the processes have now went to sleep by themselves.
///
/// # Errors
/// When a process is gone.
pub(super) fn voluntary_switches(pids: &BTreeSet<i32>) -> io::Result<u64> {
    let mut switches = 0;
    for pid in pids {
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread may end between the listing and the reading.
            let status = fs::read_to_string(thread?.path().join("status")).unwrap_or_default();
            switches += parse_voluntary_switches(&status).unwrap_or_default();
        }
    }
    Ok(switches)
}

fn parse_voluntary_switches(status: &str) -> Option<u64> {
    let name = "voluntary_ctxt_switches:";
    let value = status.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().parse().ok()
}

/// Whether a debugger, such as strace, is attached to the process.
pub(super) fn is_traced(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/status"))
        .is_ok_and(|status| parse_tracer(&status).is_some_and(|tracer| tracer != 0))
}

fn parse_tracer(status: &str) -> Option<i32> {
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix("TracerPid:"))?;
    value.trim().parse().ok()
}

fn read_stat(pid: i32) -> io::Result<Stat> {
    let path = format!("/proc/{pid}/stat");
    Stat::parse(&fs::read_to_string(&path)?)
        .ok_or_else(|| io::Error::other(format!("{path} is not understood")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_whatever_the_program_is_called() {
        let rest = "S 77 1 1 0 -1 4194560 100 0 0 0 250 130 9 9 20 0 4 0 500 1 1";
        let expected = Stat {
            parent: 77,
            user_ticks: 250,
            system_ticks: 130,
        };
        for name in ["nginx", "nginx: worker", "a) b (c", ")"] {
            let line = format!("4242 ({name}) {rest}\n");
            assert_eq!(Stat::parse(&line), Some(expected.clone()), "{name}");
        }
        for line in ["", "4242 (nginx) S 77", "4242 nginx S 77 1"] {
            assert_eq!(Stat::parse(line), None, "{line}");
        }
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        let status = "Name:\tnginx\nVmHWM:\t   9999 kB\nVmRSS:\t   2048 kB\nThreads:\t1\n";
        assert_eq!(parse_resident_bytes(status), Some(2 << 20));
        assert_eq!(parse_resident_bytes("Name:\tkthread\n"), None);
    }

    #[test]
    fn only_voluntary_switches_count() {
        let status = "nonvoluntary_ctxt_switches:\t9\nvoluntary_ctxt_switches:\t42\n";
        assert_eq!(parse_voluntary_switches(status), Some(42));
        assert_eq!(parse_voluntary_switches("Name:\ta\n"), None);
    }

    #[test]
    fn tree_holds_grandchildren_and_no_strangers() {
        let parents = [(5, 4), (4, 2), (2, 1), (3, 1), (6, 3)];
        assert_eq!(descendants(2, &parents), BTreeSet::from([2, 4, 5]));
        assert_eq!(descendants(9, &parents), BTreeSet::from([9]));
    }

    #[test]
    fn own_process_can_be_read() {
        let own = i32::try_from(std::process::id()).unwrap();
        let pids = BTreeSet::from([own]);
        assert!(process_tree(own).unwrap().contains(&own));
        assert!(resident_bytes(&pids).unwrap() > 1 << 20);
        cpu_time(&pids).unwrap();
        let threads = cpu_time_by_thread(&pids).unwrap();
        assert!(threads.contains_key(&own.to_string()), "{threads:?}");
        voluntary_switches(&pids).unwrap();
        assert_eq!(parse_tracer("Name:\ta\nTracerPid:\t7\n"), Some(7));
    }
}

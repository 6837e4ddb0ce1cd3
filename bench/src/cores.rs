//! Which processor core runs what, and the process limits that a load test needs.

use std::io;

use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;

/// Who runs where. The proxy has a core to itself wherever there are two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Placement {
    /// The proxy under test, and nothing else of ours.
    pub(crate) proxy: usize,
    /// The proxy's second worker, where a scenario has two; shared with the load when there
    /// are only two cores.
    pub(crate) second_worker: Option<usize>,
    /// The upstream; shares the client's core when there are only two.
    pub(crate) upstream: usize,
    /// The load generator and the thread that takes the readings.
    pub(crate) client: usize,
}

impl Placement {
    /// Chooses among the cores that this process may use, for proxies of at most so many
    /// workers, 1 or 2.
    ///
    /// # Errors
    /// When the operating system does not say which cores those are.
    pub(crate) fn choose(workers: u16) -> io::Result<Self> {
        let allowed = sched_getaffinity(None)?;
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU)
            .filter(|&core| allowed.is_set(core))
            .collect();
        Ok(Self::among(&cores, workers))
    }

    fn among(cores: &[usize], workers: u16) -> Self {
        let proxy = cores.first().copied().unwrap_or(0);
        let second = cores.get(1).copied().unwrap_or(proxy);
        let second_worker = (workers > 1).then_some(second);
        let rest = cores.get(usize::from(workers)..).unwrap_or_default();
        let upstream = rest.first().copied().unwrap_or(second);
        let client = rest.get(1).copied().unwrap_or(upstream);
        Self {
            proxy,
            second_worker,
            upstream,
            client,
        }
    }

    /// The cores of a proxy with so many workers.
    pub(crate) fn proxy_cores(self, workers: u16) -> Vec<usize> {
        let second = self.second_worker.filter(|_| workers > 1);
        [Some(self.proxy), second].into_iter().flatten().collect()
    }

    /// Whether upstream and client share a core.
    pub(crate) fn shares_client_core(self) -> bool {
        self.upstream == self.client
    }

    /// Whether the proxy shares its core with the load, which spoils the readings.
    pub(crate) fn is_crowded(self) -> bool {
        [Some(self.proxy), self.second_worker].contains(&Some(self.upstream))
    }
}

/// Keeps the calling thread, and every thread and process it starts, on one core.
///
/// # Errors
/// When the core does not exist or is not allowed to this process.
pub(crate) fn pin_current_thread(core: usize) -> io::Result<()> {
    pin_to(&[core])
}

/// The same on several cores.
///
/// # Errors
/// When none of them exists or is allowed to this process.
pub(crate) fn pin_to(cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for &core in cores {
        set.set(core);
    }
    Ok(sched_setaffinity(None, &set)?)
}

/// The most open files that this process and its children ask for: six times
/// what the largest load needs of a proxy, because some size their tables by
/// this limit, and some give up idle connections when near it.
const OPEN_FILES: u64 = 1 << 17;

/// Lifts the soft limit of open files, for this process and its children: the
/// usual 1,024 are less than a proxy needs for 1,000 connections. Where that
/// is refused, running out is reported as a connect error later.
pub(crate) fn raise_open_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(OPEN_FILES).min(OPEN_FILES);
    if limit.current.is_some_and(|current| current < most) {
        limit.current = Some(most);
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

/// Files that this process may have open now.
pub(crate) fn open_file_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxy_has_its_own_core_wherever_there_are_two() {
        for (cores, workers, proxy, upstream, client, is_crowded) in [
            (&[3][..], 1, &[3][..], 3, 3, true),
            (&[0, 1], 1, &[0], 1, 1, false),
            (&[2, 5, 7, 9], 1, &[2], 5, 7, false),
            (&[0, 1], 2, &[0, 1], 1, 1, true),
            (&[2, 5, 7], 2, &[2, 5], 7, 7, false),
            (&[2, 5, 7, 9], 2, &[2, 5], 7, 9, false),
        ] {
            let placement = Placement::among(cores, workers);
            assert_eq!((placement.upstream, placement.client), (upstream, client));
            assert_eq!(placement.proxy_cores(workers), proxy);
            assert_eq!(placement.proxy_cores(1), proxy[..1]);
            assert_eq!(placement.is_crowded(), is_crowded, "{cores:?}");
        }
    }
}

//! System calls for each request, counted by strace under the scenario's own load.
//!
//! It slows the proxy down several times, so it is a pass of its own. But the count of one
//! request hardly depends on that: only the batches of a busy event loop grow with it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

use super::{find_on_path, procfs};
use crate::client::{Ending, Load, Workload};

/// How long calls are counted, and the load before that.
const WINDOW: Duration = Duration::from_secs(2);
const WARMUP: Duration = Duration::from_millis(300);

/// How long strace may take to attach, and how often we look.
const ATTACH_LIMIT: Duration = Duration::from_secs(5);
const ATTACH_POLL: Duration = Duration::from_millis(1);

/// strace, where it is installed.
#[derive(Debug, Clone)]
pub(super) struct Strace(PathBuf);

/// What was counted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct SystemCalls {
    pub(super) per_request: f64,
    /// The same by name, the most frequent first.
    by_name: Vec<(String, f64)>,
}

impl Strace {
    /// # Errors
    /// With the command that installs it.
    pub(super) fn find() -> anyhow::Result<Self> {
        find_on_path("strace")
            .map(Self)
            .context("`strace` is not installed; to add it: apt-get install strace")
    }

    /// Counts the calls of the processes under `workload`; its files go to `directory`.
    ///
    /// # Errors
    /// When strace may not attach, or nothing was answered.
    pub(super) async fn count(
        &self,
        workload: Workload,
        pids: &BTreeSet<i32>,
        directory: &Path,
    ) -> anyhow::Result<SystemCalls> {
        let load = Load::start(Workload {
            warmup: WARMUP,
            duration: WINDOW,
            ..workload
        })?;
        tokio::time::sleep_until(load.opens_at().into()).await;
        let file = directory.join("strace.out");
        let attached = self.attach(pids, &file).await?;
        let before = load.progress().answered;
        tokio::time::sleep_until(load.closes_at().into()).await;
        let answered = load.progress().answered - before;
        attached.finish()?;
        load.finish(Ending::Planned).await?;
        let calls = parse_calls(&fs::read_to_string(&file)?);
        if answered == 0 || calls.is_empty() {
            bail!("strace counted nothing while {answered} requests were answered");
        }
        Ok(SystemCalls::of(calls, answered))
    }

    async fn attach(&self, pids: &BTreeSet<i32>, file: &Path) -> anyhow::Result<Attached> {
        let child = Command::new(&self.0)
            .args(["-c", "-f", "-q", "-o"])
            .arg(file)
            .args(
                pids.iter()
                    .flat_map(|pid| ["-p".to_owned(), pid.to_string()]),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot start strace")?;
        let attached = Attached(Some(child));
        let deadline = Instant::now() + ATTACH_LIMIT;
        while !pids.iter().all(|&pid| procfs::is_traced(pid)) {
            if Instant::now() >= deadline {
                bail!("strace could not attach; that needs root, or kernel.yama.ptrace_scope=0");
            }
            tokio::time::sleep(ATTACH_POLL).await;
        }
        Ok(attached)
    }
}

/// A strace that counts. Dropping it ends it without a result.
struct Attached(Option<Child>);

impl Attached {
    /// Lets the processes go and has the count written.
    fn finish(mut self) -> anyhow::Result<()> {
        let mut child = self.0.take().context("it was already ended")?;
        kill_process(Pid::from_child(&child), Signal::INT)?;
        child.wait()?;
        Ok(())
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl SystemCalls {
    #[expect(clippy::cast_precision_loss, reason = "a ratio needs no 53 bits")]
    fn of(mut calls: Vec<(String, u64)>, answered: u64) -> Self {
        calls.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let per_request = |count: u64| count as f64 / answered as f64;
        Self {
            per_request: per_request(calls.iter().map(|(_, count)| count).sum()),
            by_name: calls
                .into_iter()
                .map(|(name, count)| (name, per_request(count)))
                .collect(),
        }
    }
}

/// The table of `strace -c`: `% time  seconds  usecs/call  calls  [errors]  syscall`.
fn parse_calls(table: &str) -> Vec<(String, u64)> {
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let (name, count) = (fields.last()?, fields.get(3)?.parse().ok()?);
        (*name != "total").then(|| ((*name).to_owned(), count))
    };
    table.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_name_with_and_without_errors() {
        let table = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.000600           3       200           sendto
 40.00    0.000400           1       410        10 recvfrom
------ ----------- ----------- --------- --------- ----------------
100.00    0.001000           1       610        10 total
";
        let calls = SystemCalls::of(parse_calls(table), 100);
        let expected = [("recvfrom".to_owned(), 4.1), ("sendto".to_owned(), 2.0)];
        assert_eq!(calls.by_name, expected);
        assert!((calls.per_request - 6.1).abs() < 1e-9);
        assert_eq!(parse_calls(""), []);
    }
}

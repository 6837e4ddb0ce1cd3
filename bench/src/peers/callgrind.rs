//! Instructions in user space, counted by valgrind: for machines where `perf` has no counter.
//!
//! The proxy runs on a processor that valgrind makes up: slowly, and without AVX-512, so that
//! cryptography takes other paths than on a new real one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::find_on_path;
use super::proxy::StartedProxy;
use crate::client::{Connection, Expected, Failure, Requests};

/// Requests of the shorter and of the longer run: what starting, checking and stopping cost is
/// the same in both, so that their difference is what the requests cost.
const RUNS: [u32; 2] = [500, 2_500];

/// Requests before those, for each of the upstream's addresses, so that few of them are met for
/// the first time in between: of 1,000 drawn at random, seven are left after 5,000 draws.
const VISITS: u32 = 5;

/// Requests of the shorter and of the longer run for a proxy with so many endpoints.
pub(super) fn runs(endpoints: u16) -> [u32; 2] {
    RUNS.map(|requests| requests + VISITS * u32::from(endpoints))
}

/// How long a proxy may take to end and write what was counted.
const STOP_LIMIT: Duration = Duration::from_mins(1);

/// Bound on each request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// What the names of the files with the counts begin with.
const FILE_START: &str = "callgrind.out.";

/// Valgrind, where it is installed.
#[derive(Debug, Clone)]
pub(super) struct Valgrind(PathBuf);

impl Valgrind {
    /// # Errors
    /// With the command that installs it.
    pub(super) fn find() -> anyhow::Result<Self> {
        find_on_path("valgrind")
            .map(Self)
            .context("`valgrind` is not installed; to add it: apt-get install valgrind")
    }

    /// The command that counts what `program` executes, into files in `directory`.
    pub(super) fn wrap(
        &self,
        program: &Path,
        arguments: Vec<String>,
        directory: &Path,
    ) -> (PathBuf, Vec<String>) {
        let files = directory.join(format!("{FILE_START}%p"));
        let mut all = vec![
            "--tool=callgrind".to_owned(),
            format!("--callgrind-out-file={}", files.display()),
            program.display().to_string(),
        ];
        all.extend(arguments);
        (self.0.clone(), all)
    }
}

/// Sends `count` requests over one connection, ends the proxy and gives the instructions that
/// it has executed since its start.
///
/// # Errors
/// When an answer is not the expected one, or valgrind wrote no count.
pub(super) async fn run(
    mut proxy: StartedProxy,
    requests: &Requests,
    count: u32,
    expected: Expected,
) -> anyhow::Result<u64> {
    let mut connection = open(&proxy).await?;
    for _ in 0..count {
        let exchange = connection.exchange(requests.next());
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, exchange)
            .await
            .unwrap_or(Err(Failure::Timeout))
            .map_err(|failure| anyhow::anyhow!("counting failed: {}", failure.as_str()))?;
        if !answer.is_expected(Some(expected)) {
            bail!("counting failed: an answer had status {}", answer.status);
        }
        if !answer.keep_alive {
            connection = open(&proxy).await?;
        }
    }
    drop(connection);
    let processes = proxy.process.tree()?.len();
    proxy.process.stop(STOP_LIMIT)?;
    instructions_in(proxy.directory(), processes)
}

/// What one request costs, by the counts of both runs.
#[expect(clippy::cast_precision_loss, reason = "a ratio needs no 53 bits")]
pub(super) fn per_request([fewer, more]: [u64; 2]) -> f64 {
    more.saturating_sub(fewer) as f64 / f64::from(RUNS[1] - RUNS[0])
}

async fn open(proxy: &StartedProxy) -> anyhow::Result<Connection> {
    Connection::open(proxy.address)
        .await
        .map_err(|failure| anyhow::anyhow!("counting failed: {}", failure.as_str()))
}

/// The counts of all processes: valgrind writes a file for each.
fn instructions_in(directory: &Path, processes: usize) -> anyhow::Result<u64> {
    let mut total = 0;
    let mut files = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(FILE_START) {
            let count = parse_total(&fs::read_to_string(entry.path())?)
                .context("valgrind's file has no count")?;
            total += count;
            files += 1;
        }
    }
    if files < processes {
        bail!("valgrind wrote the counts of {files} of {processes} processes");
    }
    Ok(total)
}

/// The line `totals: COUNT` of the callgrind format.
fn parse_total(text: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix("totals:"))?
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_all_processes_are_added() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        write("access.log", "totals: 9\n");
        write(
            "callgrind.out.1",
            "version: 1\nevents: Ir\n\n\ntotals: 40\n",
        );
        write("callgrind.out.2", "events: Ir\nfn=(1) a\n1 2\ntotals: 2\n");
        assert_eq!(instructions_in(directory.path(), 2).unwrap(), 42);
        assert!(instructions_in(directory.path(), 3).is_err());
        write("callgrind.out.3", "events: Ir\n");
        assert!(instructions_in(directory.path(), 3).is_err());
    }
}

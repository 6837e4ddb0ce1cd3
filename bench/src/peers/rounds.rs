//! The order of the measurements: rounds of scenarios of peers.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;

use super::identity::Identity;
use super::machine::{self, Machine};
use super::measure::{Sample, count_instructions, measure};
use super::proxy::{self, StartedProxy, Surroundings};
use super::report::{Report, Row, Settings};
use super::{BASELINE, Peer, Present, instructions};
use crate::cli::PeersArgs;
use crate::client::{RunsOn, Workload};
use crate::cores::{self, Placement};
use crate::output;
use crate::upstream::{BodySize, ServesOn, Upstream};

/// Bound on each request; one that takes longer makes the row invalid.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// What all measurements of one run share.
struct Bench<'a> {
    arguments: &'a PeersArgs,
    machine: Machine,
    placement: Placement,
    upstream: Upstream,
    identity: Identity,
    counts_instructions: bool,
    // Holds the key files; removed at the end.
    _directory: TempDir,
}

/// Measures every peer in every scenario in every round.
///
/// # Errors
/// When the load or the upstream fails; a peer's own failure is kept in its row.
pub(super) async fn run(arguments: &PeersArgs, present: &[Present]) -> anyhow::Result<Report> {
    let bench = Bench::prepare(arguments).await?;
    let mut rows = bench.empty_rows(present);
    for round in 0..arguments.rounds {
        for body in &arguments.bodies {
            for offset in 0..present.len() {
                // The order rotates, so that no peer always follows the same one.
                let index = (offset + usize::from(round)) % present.len();
                let present = &present[index];
                let row = rows
                    .iter_mut()
                    .find(|row| row.is(present.peer.name, body))
                    .context("every peer has a row for every body")?;
                // What could not even start once is not waited for again.
                if row.has_failed() {
                    continue;
                }
                match bench.measure(present, body, round).await {
                    Ok(sample) => row.samples.push(sample),
                    Err(error) => row.failure = Some(format!("{error:#}")),
                }
                output::note(&progress(round, arguments.rounds, row));
            }
        }
    }
    for row in &mut rows {
        row.sum_up();
    }
    let settings = bench.settings();
    Ok(Report::new(bench.machine, settings, rows, BASELINE))
}

impl<'a> Bench<'a> {
    async fn prepare(arguments: &'a PeersArgs) -> anyhow::Result<Self> {
        let placement = Placement::choose().context("cannot tell which cores are allowed")?;
        if placement.is_crowded() {
            output::note("warning: only one core: the load disturbs the proxy it measures");
        }
        let directory = tempfile::Builder::new()
            .prefix("bench-keys-")
            .tempdir()
            .context("cannot make a directory for the keys")?;
        let identity = Identity::create(directory.path())?;
        let counts_instructions = instructions::are_countable();
        if !counts_instructions {
            output::note("instructions per request: not supported here (perf has no such counter)");
        }
        let machine = Machine::look();
        if machine.is_busy() {
            output::note("warning: other programs are running here: expect noise");
        }
        cores::pin_current_thread(placement.client)
            .with_context(|| format!("cannot stay on core {}", placement.client))?;
        let upstream_serves_on = if placement.shares_client_core() {
            ServesOn::CallersLoop
        } else {
            ServesOn::Core(placement.upstream)
        };
        let upstream = Upstream::start(&arguments.bodies, upstream_serves_on)
            .await
            .context("cannot start the upstream")?;
        Ok(Self {
            arguments,
            machine,
            placement,
            upstream,
            identity,
            counts_instructions,
            _directory: directory,
        })
    }

    fn empty_rows(&self, present: &[Present]) -> Vec<Row> {
        let mut rows = Vec::new();
        for body in &self.arguments.bodies {
            for Present { peer, program } in present {
                let version = peer
                    .proxy
                    .as_ref()
                    .map(|proxy| machine::program_version(program, proxy.version_arguments));
                rows.push(Row::new(body, peer.name, peer.about, version));
            }
        }
        rows
    }

    async fn measure(
        &self,
        present: &Present,
        body: &BodySize,
        round: u16,
    ) -> anyhow::Result<Sample> {
        let proxy = self.start_proxy(present.peer, present, body).await?;
        let address = match &proxy {
            Some(proxy) => proxy.address,
            None => self.upstream.addresses[0],
        };
        let pids = match &proxy {
            Some(proxy) => proxy.process.tree()?,
            None => BTreeSet::new(),
        };
        let workload = Workload {
            address,
            request: proxy::request(address, &body.label, Some(&self.identity.token))?,
            connections: self.arguments.connections.into(),
            // This thread is pinned to the client's core.
            runs_on: RunsOn::CallersLoop,
            warmup: self.arguments.warmup,
            duration: self.arguments.duration,
            timeout: REQUEST_TIMEOUT,
            expected: Some(proxy::expected(body)),
        };
        let mut sample = measure(workload.clone(), &pids, round).await?;
        if self.counts_instructions && !pids.is_empty() {
            sample.instructions_per_request = Some(count_instructions(workload, &pids).await?);
        }
        Ok(sample)
    }

    async fn start_proxy(
        &self,
        peer: &Peer,
        present: &Present,
        body: &BodySize,
    ) -> anyhow::Result<Option<StartedProxy>> {
        let Some(proxy) = &peer.proxy else {
            return Ok(None);
        };
        let surroundings = Surroundings {
            core: self.placement.proxy,
            connections: self.arguments.connections,
            upstream: &self.upstream,
            identity: &self.identity,
        };
        StartedProxy::start(proxy, &present.program, &surroundings, body)
            .await
            .map(Some)
    }

    fn settings(&self) -> Settings {
        Settings {
            rounds: self.arguments.rounds,
            connections: self.arguments.connections,
            window_seconds: self.arguments.duration.as_secs_f64(),
            warmup_seconds: self.arguments.warmup.as_secs_f64(),
            cores: self.placement,
            instructions_supported: self.counts_instructions,
        }
    }
}

/// The line on standard error that follows a measurement.
fn progress(round: u16, rounds: u16, row: &Row) -> String {
    let prefix = format!(
        "round {}/{rounds}  {:<5} {:<13}",
        round + 1,
        row.body.label,
        row.peer
    );
    if let Some(failure) = &row.failure {
        return format!("{prefix} FAILED: {failure}");
    }
    let Some(sample) = row.samples.last() else {
        return prefix;
    };
    let cpu = sample.process.map_or_else(String::new, |process| {
        format!("  {:.1} µs CPU/request", process.cpu_us_per_request)
    });
    let problems = if sample.problems.is_empty() {
        String::new()
    } else {
        format!("  INVALID: {}", sample.problems.join(", "))
    };
    format!(
        "{prefix} {:>7.0} requests/s{cpu}{problems}",
        sample.requests_per_second
    )
}

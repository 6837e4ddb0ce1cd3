//! The order of the measurements: rounds of scenarios of peers.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;

use super::callgrind::{self, Valgrind};
use super::identity::Identities;
use super::machine::{self, Machine};
use super::measure::{Sample, count_instructions, measure};
use super::proxy::{self, StartedProxy, Surroundings};
use super::report::{Report, Row, Settings};
use super::unseen::Unseen;
use super::{BASELINE, Peer, Present, Tokens, instructions};
use crate::cli::PeersArgs;
use crate::client::{Requests, RunsOn, Workload};
use crate::cores::{self, Placement};
use crate::output;
use crate::upstream::{ADDRESSES, BodySize, ServesOn, Upstream};

/// Bound on each request; one that takes longer makes the row invalid.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// What all measurements of one run share.
struct Bench<'a> {
    arguments: &'a PeersArgs,
    machine: Machine,
    placement: Placement,
    upstream: Upstream,
    identities: Identities,
    unseen: Unseen,
    counter: Counter,
    // Holds the key files; removed at the end.
    _directory: TempDir,
}

/// What counts instructions.
enum Counter {
    Nothing,
    /// In every round.
    Perf,
    /// Once for every row, since it is slow and hardly varies.
    Callgrind(Valgrind),
}

impl Counter {
    fn choose(arguments: &PeersArgs) -> anyhow::Result<Self> {
        if arguments.callgrind {
            return Valgrind::find().map(Self::Callgrind);
        }
        if instructions::are_countable() {
            return Ok(Self::Perf);
        }
        output::note(
            "instructions per request: perf has no such counter here; --callgrind counts them",
        );
        Ok(Self::Nothing)
    }
}

/// Measures every peer in every scenario in every round.
///
/// # Errors
/// When the load or the upstream fails; a peer's own failure is kept in its row.
pub(super) async fn run(arguments: &PeersArgs, present: &[Present]) -> anyhow::Result<Report> {
    let baselines = baselines(arguments, present)?;
    let bench = Bench::prepare(arguments, present).await?;
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
    if let Counter::Callgrind(valgrind) = &bench.counter {
        bench.count_all(valgrind, present, &mut rows).await;
    }
    for row in &mut rows {
        row.sum_up();
    }
    let settings = bench.settings();
    Ok(Report::new(bench.machine, settings, rows, baselines))
}

impl<'a> Bench<'a> {
    async fn prepare(arguments: &'a PeersArgs, present: &[Present]) -> anyhow::Result<Self> {
        let counter = Counter::choose(arguments)?;
        let placement = Placement::choose().context("cannot tell which cores are allowed")?;
        if placement.is_crowded() {
            output::note("warning: only one core: the load disturbs the proxy it measures");
        }
        let directory = tempfile::Builder::new()
            .prefix("bench-keys-")
            .tempdir()
            .context("cannot make a directory for the keys")?;
        let identities = Identities::create(directory.path())?;
        // Before this program keeps to one core.
        let load = arguments.warmup + arguments.duration;
        let unseen = Unseen::mint(&identities, present, load).await?;
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
        let addresses = present.iter().map(|present| present.peer.scale.endpoints);
        let addresses = addresses.max().unwrap_or_default().max(ADDRESSES);
        let upstream = Upstream::start(&arguments.bodies, upstream_serves_on, addresses)
            .await
            .context("cannot start the upstream")?;
        Ok(Self {
            arguments,
            machine,
            placement,
            upstream,
            identities,
            unseen,
            counter,
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
        let proxy = self.start_proxy(present, body, None).await?;
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
            requests: self.requests(present.peer, address, body)?,
            connections: self.arguments.connections.into(),
            // This thread is pinned to the client's core.
            runs_on: RunsOn::CallersLoop,
            warmup: self.arguments.warmup,
            duration: self.arguments.duration,
            timeout: REQUEST_TIMEOUT,
            expected: Some(proxy::expected(body)),
        };
        let mut sample = measure(workload.clone(), &pids, round).await?;
        if matches!(self.counter, Counter::Perf) && !pids.is_empty() {
            sample.instructions_per_request = Some(count_instructions(workload, &pids).await?);
        }
        Ok(sample)
    }

    /// Counts the instructions of every row that is sound so far.
    async fn count_all(&self, valgrind: &Valgrind, present: &[Present], rows: &mut [Row]) {
        for row in rows.iter_mut().filter(|row| !row.has_failed()) {
            let Some(present) = present.iter().find(|present| present.peer.name == row.peer) else {
                continue;
            };
            let body = row.body.clone();
            match self.count(valgrind, present, &body).await {
                Ok(count) => {
                    if let Some(sample) = row.samples.first_mut() {
                        sample.instructions_per_request = count;
                    }
                }
                Err(error) => row.failure = Some(format!("{error:#}")),
            }
            output::note(&format!("counted  {:<5} {}", body.label, row.peer));
        }
    }

    /// The instructions of one request; `None` without a proxy.
    async fn count(
        &self,
        valgrind: &Valgrind,
        present: &Present,
        body: &BodySize,
    ) -> anyhow::Result<Option<f64>> {
        let mut counts = [0; 2];
        let runs = callgrind::runs(present.peer.scale.endpoints);
        for (count, requests_sent) in counts.iter_mut().zip(runs) {
            let Some(proxy) = self.start_proxy(present, body, Some(valgrind)).await? else {
                return Ok(None);
            };
            let requests = self.requests(present.peer, proxy.address, body)?;
            *count = callgrind::run(proxy, &requests, requests_sent, proxy::expected(body)).await?;
        }
        Ok(Some(callgrind::per_request(counts)))
    }

    /// What the load sends to a peer, prepared so that nothing is made while it runs.
    fn requests(
        &self,
        peer: &Peer,
        address: SocketAddr,
        body: &BodySize,
    ) -> anyhow::Result<Requests> {
        let request = |token: &str| proxy::request(address, &body.label, Some(token));
        match peer.tokens {
            Tokens::Same(algorithm) => Ok(Requests::one(request(
                &self.identities.of(algorithm).token,
            )?)),
            Tokens::Unseen(algorithm) => {
                let tokens = self.unseen.of(algorithm).iter();
                let requests: anyhow::Result<Vec<_>> = tokens.map(|it| request(it)).collect();
                Requests::in_turn(requests?).context("no token was minted")
            }
        }
    }

    async fn start_proxy(
        &self,
        present: &Present,
        body: &BodySize,
        counted_by: Option<&Valgrind>,
    ) -> anyhow::Result<Option<StartedProxy>> {
        let peer = present.peer;
        let Some(proxy) = &peer.proxy else {
            return Ok(None);
        };
        let surroundings = Surroundings {
            core: self.placement.proxy,
            connections: self.arguments.connections,
            upstream: &self.upstream,
            scale: peer.scale,
            counted_by,
            identity: self.identities.of(peer.tokens.algorithm()),
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
            instructions_counted_by: match self.counter {
                Counter::Nothing => None,
                Counter::Perf => Some("perf"),
                Counter::Callgrind(_) => Some("callgrind"),
            },
        }
    }
}

/// The peers that ratios are taken against: those asked for, which then must be measured.
fn baselines(arguments: &PeersArgs, present: &[Present]) -> anyhow::Result<Vec<&'static str>> {
    if arguments.baseline.is_empty() {
        return Ok(vec![BASELINE]);
    }
    let found = arguments.baseline.iter().map(|name| {
        let peers = present.iter().map(|present| present.peer.name);
        let mut same = peers.filter(|peer| peer == name);
        same.next()
            .with_context(|| format!("`{name}` is not measured in this run; add it to --only"))
    });
    found.collect()
}

/// The line on standard error that follows a measurement.
fn progress(round: u16, rounds: u16, row: &Row) -> String {
    let prefix = format!(
        "round {}/{rounds}  {:<5} {:<22}",
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

//! The order of the measurements: rounds of scenarios of peers.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;

use super::callgrind::{self, Valgrind};
use super::folder::{Fingerprint, Finished, Folder};
use super::identity::Identities;
use super::machine::{self, Machine};
use super::measure::{Sample, count_instructions, fill, measure};
use super::proxy::{self, StartedProxy, Surroundings};
use super::report::{Report, Row, Settings};
use super::system_calls::{Strace, SystemCalls};
use super::unseen::Unseen;
use super::{BASELINE, Peer, Present, Scale, Tokens, admin, instructions, reload, trials};
use crate::cli::PeersArgs;
use crate::client::{Requests, RunsOn, Workload};
use crate::cores::{self, Placement};
use crate::idle::Server;
use crate::output;
use crate::scenario::{Asked, Measure, Scenario};
use crate::upstream::{ADDRESSES, ServesOn, Upstream};

/// Bound on each request; one that takes longer makes the row invalid.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Files beside those of connections.
const SPARE_FILES: u64 = 256;

/// The gateway's count of verified tokens in its caches.
const TOKENS_CACHED: &str = "gateway_tokens_cached";

/// What all measurements of one run share.
pub(super) struct Bench<'a> {
    pub(super) arguments: &'a PeersArgs,
    machine: Machine,
    placement: Placement,
    upstream: Upstream,
    identities: Identities,
    unseen: Unseen,
    counter: Counter,
    strace: Option<Strace>,
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
    let scenarios = bench.scenarios(present).await?;
    let mut rows = empty_rows(&scenarios, present);
    let mut folder = bench.folder(&scenarios, &rows)?;
    if let Some(folder) = &folder {
        take_up(&folder.finished, &mut rows);
    }
    for round in 0..arguments.rounds {
        for scenario in &scenarios {
            for offset in 0..present.len() {
                // The order rotates, so that no peer always follows the same one.
                let index = (offset + usize::from(round)) % present.len();
                let present = &present[index];
                let mut rows = rows.iter_mut();
                let Some(row) = rows.find(|row| row.is(present.peer.name, scenario)) else {
                    continue;
                };
                // What could not even start once is not waited for again.
                if row.has_failed() || row.has_sample_of(round) {
                    continue;
                }
                match bench.measure(present, scenario, round).await {
                    Ok(sample) => {
                        if let Some(folder) = &mut folder {
                            folder.keep(&Finished {
                                scenario: scenario.name.clone(),
                                peer: present.peer.name.to_owned(),
                                sample: sample.clone(),
                            })?;
                        }
                        row.samples.push(sample);
                    }
                    Err(error) => row.failure = Some(format!("{error:#}")),
                }
                output::note(&progress(round, arguments.rounds, row));
            }
        }
    }
    if let Counter::Callgrind(valgrind) = &bench.counter {
        bench.count_all(valgrind, present, &mut rows).await;
    }
    if let Some(strace) = &bench.strace {
        bench.count_all_calls(strace, present, &mut rows).await;
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
        let strace = arguments.syscalls.then(Strace::find).transpose()?;
        let workers = arguments.scenarios.iter().map(Asked::workers).max();
        let placement = Placement::choose(workers.unwrap_or(1))
            .context("cannot tell which cores are allowed")?;
        if placement.is_crowded() {
            output::note("warning: too few cores: the load shares one with a proxy it measures");
        }
        warn_of_open_files(&arguments.scenarios);
        let directory = tempfile::Builder::new()
            .prefix("bench-keys-")
            .tempdir()
            .context("cannot make a directory for the keys")?;
        let identities = Identities::create(directory.path())?;
        // Before this program keeps to one core.
        let load = arguments.warmup + arguments.duration;
        let unseen = Unseen::mint(&identities, present, load, arguments.tokens).await?;
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
        let upstream = Upstream::start(
            &trials::bodies(&arguments.scenarios)?,
            upstream_serves_on,
            addresses,
        )
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
            strace,
            _directory: directory,
        })
    }

    /// Where samples are kept, if anywhere.
    fn folder(&self, scenarios: &[Scenario], rows: &[Row]) -> anyhow::Result<Option<Folder>> {
        let Some(path) = &self.arguments.out else {
            return Ok(None);
        };
        let mut peers: Vec<(String, Option<String>)> = Vec::new();
        for row in rows {
            if !peers.iter().any(|(peer, _)| peer == row.peer) {
                peers.push((row.peer.to_owned(), row.program_version.clone()));
            }
        }
        let fingerprint = Fingerprint {
            scenarios: scenarios.to_vec(),
            peers,
            rounds: self.arguments.rounds,
            connections: self.arguments.connections,
            window_seconds: self.arguments.duration.as_secs_f64(),
            warmup_seconds: self.arguments.warmup.as_secs_f64(),
            settle_seconds: self.arguments.settle.as_secs_f64(),
            tokens: self.arguments.tokens,
            machine: self.machine.name(),
        };
        Folder::open(path, self.arguments.resume, &fingerprint).map(Some)
    }

    fn connections(&self, scenario: &Scenario) -> u16 {
        scenario.connections.unwrap_or(self.arguments.connections)
    }

    pub(super) async fn measure(
        &self,
        present: &Present,
        scenario: &Scenario,
        round: u16,
    ) -> anyhow::Result<Sample> {
        let peer = present.peer;
        let proxy = self.start_proxy(present, scenario, None).await?;
        let address = match &proxy {
            Some(proxy) => proxy.address,
            None => self.upstream.addresses[0],
        };
        let pids = match &proxy {
            Some(proxy) => proxy.process.tree()?,
            None => BTreeSet::new(),
        };
        if scenario.measure == Measure::Idle {
            return self.weigh(peer, scenario, address, pids, round).await;
        }
        let workload = self.workload(peer, scenario, address)?;
        if matches!(peer.tokens, Tokens::Many(_)) {
            fill(workload.clone(), self.arguments.tokens.into()).await?;
        }
        let mut sample = match (&proxy, scenario.measure) {
            (Some(proxy), Measure::Reload) => {
                reload::measure(workload.clone(), proxy, &pids, round).await?
            }
            _ => measure(workload.clone(), &pids, round).await?,
        };
        if let Some(proxy) = proxy.as_ref().filter(|_| peer.fills_a_token_cache()) {
            sample.tokens_cached = Some(tokens_cached(proxy).await?);
        }
        if matches!(self.counter, Counter::Perf) && !pids.is_empty() {
            sample.instructions_per_request = Some(count_instructions(workload, &pids).await?);
        }
        Ok(sample)
    }

    /// What the scenario's connections weigh, at the proxy that has these processes.
    async fn weigh(
        &self,
        peer: &Peer,
        scenario: &Scenario,
        address: SocketAddr,
        processes: BTreeSet<i32>,
        round: u16,
    ) -> anyhow::Result<Sample> {
        let token = &self.identities.of(peer.tokens.algorithm()).token;
        let request = proxy::request(address, scenario, Some(token), &proxy::upload(scenario))?;
        let server = Server {
            address: address.to_string(),
            request: request.as_bytes().to_vec(),
            processes,
        };
        let connections = self.connections(scenario);
        let weights = server.weigh(connections, self.arguments.settle).await?;
        let mut sample = Sample::without_load(round);
        if weights.closed > 0 {
            sample.problems.push(format!(
                "{} connections were closed while they were idle",
                weights.closed
            ));
        }
        sample.answered = weights.connections;
        sample.idle = Some(weights);
        Ok(sample)
    }

    fn workload(
        &self,
        peer: &Peer,
        scenario: &Scenario,
        address: SocketAddr,
    ) -> anyhow::Result<Workload> {
        Ok(Workload {
            address,
            requests: self.requests(peer, address, scenario)?,
            connections: self.connections(scenario).into(),
            pace: scenario.pace,
            // This thread is pinned to the client's core.
            runs_on: RunsOn::CallersLoop,
            warmup: self.arguments.warmup,
            duration: self.arguments.duration,
            timeout: REQUEST_TIMEOUT,
            expected: Some(proxy::expected(scenario)),
        })
    }

    /// Counts the system calls of every row that is sound so far.
    async fn count_all_calls(&self, strace: &Strace, present: &[Present], rows: &mut [Row]) {
        for row in rows.iter_mut().filter(|row| row.can_be_counted()) {
            let Some(present) = present.iter().find(|present| present.peer.name == row.peer) else {
                continue;
            };
            match self.count_calls(strace, present, &row.scenario).await {
                Ok(calls) => row.system_calls = calls,
                Err(error) => output::note(&format!("warning: no system calls: {error:#}")),
            }
            output::note(&format!(
                "counted calls  {:<12} {}",
                row.scenario.name, row.peer
            ));
        }
    }

    /// The system calls of one request; `None` without a proxy.
    async fn count_calls(
        &self,
        strace: &Strace,
        present: &Present,
        scenario: &Scenario,
    ) -> anyhow::Result<Option<SystemCalls>> {
        let Some(proxy) = self.start_proxy(present, scenario, None).await? else {
            return Ok(None);
        };
        let workload = self.workload(present.peer, scenario, proxy.address)?;
        let pids = proxy.process.tree()?;
        let calls = strace.count(workload, &pids, proxy.directory()).await?;
        Ok(Some(calls))
    }

    /// Counts the instructions of every row that is sound so far.
    async fn count_all(&self, valgrind: &Valgrind, present: &[Present], rows: &mut [Row]) {
        for row in rows.iter_mut().filter(|row| row.can_be_counted()) {
            let Some(present) = present.iter().find(|present| present.peer.name == row.peer) else {
                continue;
            };
            let scenario = row.scenario.clone();
            match self.count(valgrind, present, &scenario).await {
                Ok(count) => {
                    if let Some(sample) = row.samples.first_mut() {
                        sample.instructions_per_request = count;
                    }
                }
                Err(error) => row.failure = Some(format!("{error:#}")),
            }
            output::note(&format!("counted  {:<12} {}", scenario.name, row.peer));
        }
    }

    /// The instructions of one request; `None` without a proxy.
    async fn count(
        &self,
        valgrind: &Valgrind,
        present: &Present,
        scenario: &Scenario,
    ) -> anyhow::Result<Option<f64>> {
        let mut counts = [0; 2];
        let runs = callgrind::runs(present.peer.scale.endpoints);
        for (count, requests_sent) in counts.iter_mut().zip(runs) {
            let Some(proxy) = self.start_proxy(present, scenario, Some(valgrind)).await? else {
                return Ok(None);
            };
            let requests = self.requests(present.peer, proxy.address, scenario)?;
            *count =
                callgrind::run(proxy, &requests, requests_sent, proxy::expected(scenario)).await?;
        }
        Ok(Some(callgrind::per_request(counts)))
    }

    /// What the load sends to a peer, prepared so that nothing is made while it runs.
    fn requests(
        &self,
        peer: &Peer,
        address: SocketAddr,
        scenario: &Scenario,
    ) -> anyhow::Result<Requests> {
        let upload = proxy::upload(scenario);
        let request = |token: &str| proxy::request(address, scenario, Some(token), &upload);
        match peer.tokens {
            Tokens::Same(algorithm) => Ok(Requests::one(request(
                &self.identities.of(algorithm).token,
            )?)),
            Tokens::Unseen(algorithm) | Tokens::Many(algorithm) => {
                let tokens = self.unseen.of(algorithm).iter();
                let requests: anyhow::Result<Vec<_>> = tokens.map(|it| request(it)).collect();
                Requests::in_turn(requests?).context("no token was minted")
            }
        }
    }

    async fn start_proxy(
        &self,
        present: &Present,
        scenario: &Scenario,
        counted_by: Option<&Valgrind>,
    ) -> anyhow::Result<Option<StartedProxy>> {
        let peer = present.peer;
        let Some(proxy) = &peer.proxy else {
            return Ok(None);
        };
        let scale = Scale {
            routes: scenario.routes.unwrap_or(peer.scale.routes),
            ..peer.scale
        };
        let surroundings = Surroundings {
            cores: &self.placement.proxy_cores(scenario.workers),
            workers: scenario.workers,
            connections: self.connections(scenario),
            upstream: &self.upstream,
            scale,
            counted_by,
            identity: self.identities.of(peer.tokens.algorithm()),
        };
        StartedProxy::start(proxy, &present.program, &surroundings, scenario)
            .await
            .map(Some)
    }

    fn settings(&self) -> Settings {
        Settings {
            rounds: self.arguments.rounds,
            connections: self.arguments.connections,
            window_seconds: self.arguments.duration.as_secs_f64(),
            warmup_seconds: self.arguments.warmup.as_secs_f64(),
            settle_seconds: self.arguments.settle.as_secs_f64(),
            cores: self.placement,
            instructions_counted_by: match self.counter {
                Counter::Nothing => None,
                Counter::Perf => Some("perf"),
                Counter::Callgrind(_) => Some("callgrind"),
            },
        }
    }
}

/// Gives samples of an earlier start to their rows.
fn take_up(finished: &[Finished], rows: &mut [Row]) {
    for one in finished {
        let mut rows = rows.iter_mut();
        if let Some(row) =
            rows.find(|row| row.peer == one.peer && row.scenario.name == one.scenario)
        {
            row.samples.push(one.sample.clone());
        }
    }
}

fn empty_rows(scenarios: &[Scenario], present: &[Present]) -> Vec<Row> {
    let mut rows = Vec::new();
    for scenario in scenarios {
        let asked = present.iter().filter(|it| it.peer.takes(scenario));
        for Present { peer, program } in asked {
            let version = peer
                .proxy
                .as_ref()
                .map(|proxy| machine::program_version(program, proxy.version_arguments));
            rows.push(Row::new(scenario, peer.name, peer.about, version));
        }
    }
    rows
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

/// Connections and their counterparts need a descriptor each, here and in some proxies.
fn warn_of_open_files(asked: &[Asked]) {
    let idle = asked.iter().filter_map(|asked| match asked {
        Asked::One(scenario) if scenario.measure == Measure::Idle => scenario.connections,
        Asked::One(_) | Asked::Rates(_) => None,
    });
    let limit = cores::open_file_limit();
    let needed = idle
        .max()
        .map_or(0, |most| 2 * u64::from(most) + SPARE_FILES);
    if needed > limit {
        output::note(&format!(
            "warning: {limit} files may be open here, and {needed} are needed by peers that open an \
             upstream connection for each idle one, or keep room for it (relay, haproxy)"
        ));
    }
}

/// Verified tokens that the gateway holds.
async fn tokens_cached(proxy: &StartedProxy) -> anyhow::Result<u64> {
    let metrics = admin::exchange(proxy.admin_address, "GET", "/metrics").await?;
    admin::metric(&String::from_utf8_lossy(&metrics), TOKENS_CACHED)
        .with_context(|| format!("the gateway has no metric `{TOKENS_CACHED}`"))
}

/// The line on standard error that follows a measurement.
fn progress(round: u16, rounds: u16, row: &Row) -> String {
    let prefix = format!(
        "round {}/{rounds}  {:<12} {:<22}",
        round + 1,
        row.scenario.name,
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
    if let Some(weights) = &sample.idle {
        return format!(
            "{prefix} {:>7} bytes each idle connection{problems}",
            weights.idle_bytes_each
        );
    }
    format!(
        "{prefix} {:>7.0} requests/s{cpu}{problems}",
        sample.requests_per_second
    )
}

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
use super::measure::{Sample, count_instructions, measure};
use super::proxy::{self, StartedProxy, Surroundings};
use super::report::{Report, Row, Settings};
use super::system_calls::{Strace, SystemCalls};
use super::unseen::Unseen;
use super::{BASELINE, Peer, Present, Tokens, instructions};
use crate::cli::PeersArgs;
use crate::client::{Pace, Requests, RunsOn, Workload};
use crate::cores::{self, Placement};
use crate::output;
use crate::scenario::{Asked, Scenario};
use crate::upstream::{ADDRESSES, BodySize, ServesOn, Upstream};

/// Bound on each request; one that takes longer makes the row invalid.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The rates of the scenario open-loop, as parts of the slowest peer's throughput.
const FRACTIONS: [f64; 3] = [0.25, 0.5, 0.75];

/// What all measurements of one run share.
struct Bench<'a> {
    arguments: &'a PeersArgs,
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
                let row = rows
                    .iter_mut()
                    .find(|row| row.is(present.peer.name, scenario))
                    .context("every peer has a row for every scenario")?;
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
        let upstream = Upstream::start(
            &bodies(&arguments.scenarios)?,
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
        for row in rows.iter().filter(|row| row.scenario == scenarios[0]) {
            peers.push((row.peer.to_owned(), row.program_version.clone()));
        }
        let fingerprint = Fingerprint {
            scenarios: scenarios.to_vec(),
            peers,
            rounds: self.arguments.rounds,
            connections: self.arguments.connections,
            window_seconds: self.arguments.duration.as_secs_f64(),
            warmup_seconds: self.arguments.warmup.as_secs_f64(),
            machine: self.machine.name(),
        };
        Folder::open(path, self.arguments.resume, &fingerprint).map(Some)
    }

    /// What to measure, with the rates of an open loop found out.
    async fn scenarios(&self, present: &[Present]) -> anyhow::Result<Vec<Scenario>> {
        if let Some(path) = self
            .arguments
            .out
            .as_ref()
            .filter(|_| self.arguments.resume)
        {
            let held = Folder::scenarios(path)?;
            // Rates that were found out then are not found out again.
            if asks_for(&self.arguments.scenarios, &self.arguments.rate, &held) {
                return Ok(held);
            }
        }
        let mut scenarios = Vec::new();
        for asked in &self.arguments.scenarios {
            match asked {
                Asked::One(scenario) => scenarios.push(scenario.clone()),
                Asked::OpenLoop => {
                    for rate in self.rates(present).await? {
                        scenarios.push(Scenario::at_rate(rate)?);
                    }
                }
            }
        }
        scenarios.dedup();
        Ok(scenarios)
    }

    /// The rates asked for, or those that every peer keeps up with: fractions of what the
    /// slowest one answers in a closed loop.
    async fn rates(&self, present: &[Present]) -> anyhow::Result<Vec<u32>> {
        if !self.arguments.rate.is_empty() {
            return Ok(self.arguments.rate.clone());
        }
        let trial: Scenario = "1k".parse()?;
        let mut slowest = f64::INFINITY;
        for present in present.iter().filter(|it| it.peer.proxy.is_some()) {
            output::note(&format!(
                "trial for the rates of open-loop: {}",
                present.peer.name
            ));
            // A peer's failure is told in its row, later.
            if let Ok(sample) = self.measure(present, &trial, 0).await {
                slowest = slowest.min(sample.requests_per_second);
            }
        }
        if !slowest.is_finite() {
            anyhow::bail!(
                "no peer answered in the trial for open-loop; give the rates with --rate"
            );
        }
        Ok(FRACTIONS.map(|part| round_rate(slowest * part)).to_vec())
    }

    fn connections(&self, scenario: &Scenario) -> u16 {
        scenario.connections.unwrap_or(self.arguments.connections)
    }

    async fn measure(
        &self,
        present: &Present,
        scenario: &Scenario,
        round: u16,
    ) -> anyhow::Result<Sample> {
        let proxy = self.start_proxy(present, scenario, None).await?;
        let address = match &proxy {
            Some(proxy) => proxy.address,
            None => self.upstream.addresses[0],
        };
        let pids = match &proxy {
            Some(proxy) => proxy.process.tree()?,
            None => BTreeSet::new(),
        };
        let workload = self.workload(present.peer, scenario, address)?;
        let mut sample = measure(workload.clone(), &pids, round).await?;
        if matches!(self.counter, Counter::Perf) && !pids.is_empty() {
            sample.instructions_per_request = Some(count_instructions(workload, &pids).await?);
        }
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
        for row in rows.iter_mut().filter(|row| !row.has_failed()) {
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
        for row in rows.iter_mut().filter(|row| !row.has_failed()) {
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
        scenario: &Scenario,
        counted_by: Option<&Valgrind>,
    ) -> anyhow::Result<Option<StartedProxy>> {
        let peer = present.peer;
        let Some(proxy) = &peer.proxy else {
            return Ok(None);
        };
        let surroundings = Surroundings {
            cores: &self.placement.proxy_cores(scenario.workers),
            workers: scenario.workers,
            connections: self.connections(scenario),
            upstream: &self.upstream,
            scale: peer.scale,
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

/// Whether `held` is what was asked for, with rates in place of an open loop.
fn asks_for(asked: &[Asked], rates: &[u32], held: &[Scenario]) -> bool {
    let mut held = held.iter().peekable();
    for asked in asked {
        let fits = match asked {
            Asked::One(scenario) => held.next() == Some(scenario),
            Asked::OpenLoop if rates.is_empty() => {
                let is_rate = |it: &&Scenario| matches!(it.pace, Pace::Open { .. });
                (0..FRACTIONS.len()).all(|_| held.next_if(is_rate).is_some())
            }
            Asked::OpenLoop => rates.iter().all(|&rate| {
                held.next()
                    .is_some_and(|it| it.pace == Pace::Open { per_second: rate })
            }),
        };
        if !fits {
            return false;
        }
    }
    held.next().is_none()
}

fn empty_rows(scenarios: &[Scenario], present: &[Present]) -> Vec<Row> {
    let mut rows = Vec::new();
    for scenario in scenarios {
        for Present { peer, program } in present {
            let version = peer
                .proxy
                .as_ref()
                .map(|proxy| machine::program_version(program, proxy.version_arguments));
            rows.push(Row::new(scenario, peer.name, peer.about, version));
        }
    }
    rows
}

/// Every body that the scenarios ask the upstream for, once.
fn bodies(asked: &[Asked]) -> anyhow::Result<Vec<BodySize>> {
    let open_loop = Scenario::at_rate(1)?;
    let mut bodies: Vec<BodySize> = Vec::new();
    for asked in asked {
        let answer = match asked {
            Asked::One(scenario) => &scenario.answer,
            Asked::OpenLoop => &open_loop.answer,
        };
        if !bodies.contains(answer) {
            bodies.push(answer.clone());
        }
    }
    Ok(bodies)
}

/// To two digits, so that it can be said and asked for again.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "far below the bound, and the cast saturates"
)]
fn round_rate(per_second: f64) -> u32 {
    let digits = per_second.max(1.0).log10().floor() - 1.0;
    let unit = 10_f64.powf(digits.max(0.0));
    ((per_second / unit).round() * unit).max(1.0) as u32
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
    format!(
        "{prefix} {:>7.0} requests/s{cpu}{problems}",
        sample.requests_per_second
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_two_digits_and_are_never_none() {
        for (per_second, expected) in [(12_345.6, 12_000), (99_600.0, 100_000), (7.4, 7), (0.1, 1)]
        {
            assert_eq!(round_rate(per_second), expected);
        }
    }

    #[test]
    fn upstream_offers_each_body_once() {
        let asked = ["1k", "open-loop", "headers-4", "chunked"].map(|it| it.parse().unwrap());
        let bodies = bodies(&asked).unwrap();
        let labels: Vec<_> = bodies.iter().map(|body| body.label.as_str()).collect();
        assert_eq!(labels, ["1k", "100k"]);
    }

    #[test]
    fn rates_found_out_before_stand_for_an_open_loop() {
        let held = ["1k", "rate-10", "rate-20", "rate-30"].map(|it| it.parse().unwrap());
        let asks = |names: &[&str], rates: &[u32]| {
            let asked: Vec<Asked> = names.iter().map(|it| it.parse().unwrap()).collect();
            asks_for(&asked, rates, &held)
        };
        assert!(asks(&["1k", "open-loop"], &[]));
        assert!(asks(&["1k", "open-loop"], &[10, 20, 30]));
        assert!(!asks(&["1k", "open-loop"], &[10, 20]));
        assert!(!asks(&["1k"], &[]));
        assert!(!asks(&["100k", "open-loop"], &[]));
        assert!(!asks(&["open-loop"], &[]));
    }
}

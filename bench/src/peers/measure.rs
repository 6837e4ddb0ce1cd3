//! One measurement: a proxy under load, its CPU time read at both ends of the window.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::instructions::Counting;
use super::procfs;
use super::reload::Reloads;
use crate::client::{Ending, Load, Tally, Workload};
use crate::idle::Weights;
use crate::output::{LiveLine, grouped};

/// How long instructions are counted, and the load before that. It is a pass
/// of its own, so that counting cannot slow what is timed; attaching takes
/// some milliseconds of it, which is the error of the count.
const COUNTING_WINDOW: Duration = Duration::from_secs(2);
const COUNTING_WARMUP: Duration = Duration::from_millis(200);

/// How long a proxy may take for all the requests that come before a measurement, and how often
/// they are counted.
const FILL_LIMIT: Duration = Duration::from_mins(15);
const FILL_POLL: Duration = Duration::from_millis(100);

/// The readings of one measurement. Those of a load are 0 where there was none.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Sample {
    /// Counted from 0.
    pub(super) round: u16,
    /// Requests answered in the window.
    pub(super) answered: u64,
    pub(super) requests_per_second: f64,
    pub(super) p50_us: u64,
    pub(super) p99_us: u64,
    pub(super) p999_us: u64,
    /// At a fixed rate: requests that were due and had no answer at the end. They are in the
    /// latencies with the time that they had waited by then.
    pub(super) overdue: u64,
    /// Absent without a process.
    pub(super) process: Option<ProcessSample>,
    /// User-space instructions; absent where they cannot be counted.
    pub(super) instructions_per_request: Option<f64>,
    /// What idle connections weighed, in the scenario about them.
    pub(super) idle: Option<Weights>,
    /// What became of new configurations, in the scenario about them.
    pub(super) reloads: Option<Reloads>,
    /// Verified tokens that the gateway held at the end, where every request had another one.
    pub(super) tokens_cached: Option<u64>,
    /// What went wrong, by kind. A sample with any is not valid.
    pub(super) problems: Vec<String>,
}

impl Sample {
    /// A sample of nothing yet.
    pub(super) fn without_load(round: u16) -> Self {
        Self {
            round,
            answered: 0,
            requests_per_second: 0.0,
            p50_us: 0,
            p99_us: 0,
            p999_us: 0,
            overdue: 0,
            process: None,
            instructions_per_request: None,
            idle: None,
            reloads: None,
            tokens_cached: None,
            problems: Vec::new(),
        }
    }
}

/// The readings of the proxy's processes.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct ProcessSample {
    /// User and system time of all its processes and threads.
    pub(super) cpu_us_per_request: f64,
    /// CPU time over wall time: near 1 the proxy was the bottleneck.
    pub(super) core_busy: f64,
    /// At the end of the window.
    pub(super) resident_bytes: u64,
    /// How often it gave up its core because it had nothing to do: a batch of requests, at best.
    pub(super) voluntary_switches_per_request: f64,
    /// The busiest thread's part of all CPU time: a half where two workers share the load evenly.
    pub(super) busiest_thread_share: f64,
}

/// Runs the workload once. `pids` are the proxy's processes; empty without one.
///
/// # Errors
/// When the load cannot run or a process has gone.
pub(super) async fn measure(
    workload: Workload,
    pids: &BTreeSet<i32>,
    round: u16,
) -> anyhow::Result<Sample> {
    let window = Window::open(workload, pids).await?;
    let (sample, _) = window.close(round).await?;
    Ok(sample)
}

/// A measurement whose window is open.
pub(super) struct Window<'a> {
    load: Load,
    pids: &'a BTreeSet<i32>,
    before: Reading,
}

impl<'a> Window<'a> {
    /// Starts the load and waits until answers count.
    ///
    /// # Errors
    /// When the load cannot run or a process has gone.
    pub(super) async fn open(workload: Workload, pids: &'a BTreeSet<i32>) -> anyhow::Result<Self> {
        let load = Load::start(workload).context("cannot start the load")?;
        tokio::time::sleep_until(load.opens_at().into()).await;
        let before = Reading::take(&load, pids).context("the proxy is gone")?;
        Ok(Self { load, pids, before })
    }

    /// When it opened.
    pub(super) fn opened_at(&self) -> Instant {
        self.load.opens_at()
    }

    /// When it closes.
    pub(super) fn closes_at(&self) -> Instant {
        self.load.closes_at()
    }

    /// Waits for its end and takes the readings.
    ///
    /// # Errors
    /// When a process has gone.
    #[expect(clippy::cast_precision_loss, reason = "rates need no 53 bits")]
    pub(super) async fn close(self, round: u16) -> anyhow::Result<(Sample, Tally)> {
        tokio::time::sleep_until(self.load.closes_at().into()).await;
        let after = Reading::take(&self.load, self.pids).context("the proxy ended under load")?;
        let process = after.since(&self.before, self.pids)?;
        let (tally, window) = self.load.finish(Ending::Planned).await?;

        let mut problems: Vec<String> = tally
            .failures()
            .iter()
            .map(|(failure, count)| format!("{count} × {}", failure.as_str()))
            .collect();
        if tally.answered() == 0 {
            problems.push("nothing was answered".to_owned());
        }
        let latency = tally.latency();
        let sample = Sample {
            answered: tally.answered(),
            requests_per_second: tally.answered() as f64 / window.as_secs_f64(),
            p50_us: latency.p50_us,
            p99_us: latency.p99_us,
            p999_us: latency.p999_us,
            overdue: tally.overdue(),
            process,
            problems,
            ..Sample::without_load(round)
        };
        Ok((sample, tally))
    }
}

/// Puts requests through until so many have been answered, and throws the readings away.
///
/// # Errors
/// When that takes longer than [`FILL_LIMIT`].
pub(super) async fn fill(workload: Workload, requests: u64) -> anyhow::Result<()> {
    let load = Load::start(Workload {
        warmup: Duration::ZERO,
        duration: FILL_LIMIT,
        ..workload
    })?;
    let line = LiveLine::new();
    loop {
        let answered = load.progress().answered;
        if answered >= requests {
            break;
        }
        let [done, all] = [answered, requests].map(grouped);
        line.show(&format!("{done} of {all} requests before the measurement"));
        if Instant::now() >= load.closes_at() {
            let limit = humantime::format_duration(FILL_LIMIT);
            bail!("it did not answer {requests} requests within {limit}");
        }
        tokio::time::sleep(FILL_POLL).await;
    }
    line.clear();
    load.finish(Ending::Now).await.map(drop)
}

/// Counts the proxy's instructions for each request, under a short load of its own.
///
/// # Errors
/// When the load or `perf` fails.
#[expect(clippy::cast_precision_loss, reason = "a ratio needs no 53 bits")]
pub(super) async fn count_instructions(
    workload: Workload,
    pids: &BTreeSet<i32>,
) -> anyhow::Result<f64> {
    let load = Load::start(Workload {
        warmup: COUNTING_WARMUP,
        duration: COUNTING_WINDOW,
        ..workload
    })?;
    tokio::time::sleep_until(load.opens_at().into()).await;
    let counting = Counting::start(pids)?;
    let before = load.progress().answered;
    tokio::time::sleep_until(load.closes_at().into()).await;
    let answered = load.progress().answered - before;
    let instructions = counting.finish()?;
    load.finish(Ending::Planned).await?;
    Ok(instructions as f64 / answered.max(1) as f64)
}

/// The counters, read as close together as can be.
struct Reading {
    at: Instant,
    cpu_time: Duration,
    cpu_time_by_thread: BTreeMap<String, Duration>,
    voluntary_switches: u64,
    answered: u64,
}

impl Reading {
    fn take(load: &Load, pids: &BTreeSet<i32>) -> io::Result<Self> {
        Ok(Self {
            at: Instant::now(),
            cpu_time: procfs::cpu_time(pids)?,
            cpu_time_by_thread: procfs::cpu_time_by_thread(pids)?,
            voluntary_switches: procfs::voluntary_switches(pids)?,
            answered: load.progress().answered,
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "a ratio needs no 53 bits")]
    fn since(&self, before: &Self, pids: &BTreeSet<i32>) -> io::Result<Option<ProcessSample>> {
        let answered = self.answered - before.answered;
        if pids.is_empty() || answered == 0 {
            return Ok(None);
        }
        let cpu_time = self.cpu_time.saturating_sub(before.cpu_time).as_secs_f64();
        // A thread that ended in between takes its count with it.
        let switches = self
            .voluntary_switches
            .saturating_sub(before.voluntary_switches);
        Ok(Some(ProcessSample {
            cpu_us_per_request: cpu_time * 1e6 / answered as f64,
            core_busy: cpu_time / (self.at - before.at).as_secs_f64(),
            resident_bytes: procfs::resident_bytes(pids)?,
            voluntary_switches_per_request: switches as f64 / answered as f64,
            busiest_thread_share: self.busiest_thread(before).as_secs_f64() / cpu_time.max(1e-9),
        }))
    }

    /// The most CPU time that one thread took; threads that began in between count from their
    /// beginning.
    fn busiest_thread(&self, before: &Self) -> Duration {
        let times = self.cpu_time_by_thread.iter().map(|(thread, time)| {
            let earlier = before.cpu_time_by_thread.get(thread);
            time.saturating_sub(earlier.copied().unwrap_or_default())
        });
        times.max().unwrap_or_default()
    }
}

//! `bench load`: a user's load test of one URL.

mod mint;
mod report;
mod target;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use self::report::Report;
use self::target::Target;
use crate::cli::LoadArgs;
use crate::client::{Ending, Load, Pace, RunsOn, Workload};
use crate::output::{self, LiveLine};

/// How often the live line is renewed.
const LIVE_INTERVAL: Duration = Duration::from_secs(1);

/// Runs the load and prints its report.
///
/// # Errors
/// When the target cannot be used at all, or the result cannot be written.
pub(crate) async fn run(arguments: LoadArgs) -> anyhow::Result<ExitCode> {
    let target = Target::prepare(&arguments).await?;
    output::note(&format!(
        "loading {} ({}) from {} connections for {}, after {} of warm-up",
        arguments.url,
        target.address,
        arguments.connections,
        humantime::format_duration(arguments.duration),
        humantime::format_duration(arguments.warmup),
    ));
    let load = Load::start(Workload {
        address: target.address,
        requests: target.requests,
        connections: arguments.connections.into(),
        pace: arguments
            .rate
            .map_or(Pace::Closed, |per_second| Pace::Open { per_second }),
        runs_on: RunsOn::Threads {
            // A thread without a connection would only add a result to merge.
            count: arguments.threads.min(arguments.connections).into(),
            core: None,
        },
        warmup: arguments.warmup,
        duration: arguments.duration,
        timeout: arguments.timeout,
        expected: None,
    })
    .context("cannot start the load")?;
    let ending = watch(&load).await;
    let (tally, window) = load.finish(ending).await?;

    let report = Report::new(&arguments, &tally, window);
    output::report(&report.to_text())?;
    if let Some(path) = &arguments.json {
        output::write_json(path, &report)?;
    }
    Ok(if tally.succeeded() > 0 {
        ExitCode::SUCCESS
    } else {
        output::note(&format!("error: {}", report.nothing_succeeded()));
        ExitCode::FAILURE
    })
}

/// Shows the live line until the window closes or Ctrl-C is pressed.
async fn watch(load: &Load) -> Ending {
    let line = LiveLine::new();
    let ending = tokio::select! {
        () = renew(&line, load) => Ending::Planned,
        _ = tokio::signal::ctrl_c() => Ending::Now,
    };
    line.clear();
    ending
}

async fn renew(line: &LiveLine, load: &Load) {
    let started_at = Instant::now();
    let mut before = load.progress();
    loop {
        let wake_at = (Instant::now() + LIVE_INTERVAL).min(load.closes_at());
        tokio::time::sleep_until(wake_at.into()).await;
        let now = Instant::now();
        if now >= load.closes_at() {
            return;
        }
        let progress = load.progress();
        let phase = if now < load.opens_at() {
            "warm-up"
        } else {
            "counting"
        };
        line.show(&format!(
            "{:>4} s  {phase}  {:>9} requests/s  {} answered  {} failed",
            (now - started_at).as_secs(),
            output::grouped(progress.answered - before.answered),
            output::grouped(progress.answered),
            output::grouped(progress.failed),
        ));
        before = progress;
    }
}

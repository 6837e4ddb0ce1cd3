//! The result of a load, for people and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::cli::LoadArgs;
use crate::client::{Failure, Latency, Tally};
use crate::output::{bytes, grouped, microseconds};

/// Counts up when a field changes its meaning or goes away.
const FORMAT_VERSION: u32 = 2;

/// One second of the window.
#[derive(Debug, Serialize)]
struct Second {
    answered: u64,
    /// Of its answers; absent without any.
    mean_us: Option<f64>,
}

/// The result of a load. The token and the headers are left out: a result is
/// a thing to pass on.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    version: u32,
    url: String,
    method: String,
    /// Requests a second that were asked for; absent in a closed loop.
    rate: Option<u32>,
    paths: Vec<(u16, String)>,
    connections: u16,
    threads: u16,
    /// The window as it was, shorter than asked for after Ctrl-C.
    window_seconds: f64,
    /// Answers in the window, whatever the status.
    answered: u64,
    /// Answers with a status below 400.
    succeeded: u64,
    requests_per_second: f64,
    received_bytes: u64,
    received_bytes_per_second: f64,
    /// Requests that were due by the rate and had no answer at the end; they are in the
    /// latencies with the time that they had waited by then.
    overdue: u64,
    latency: Latency,
    /// The whole seconds of the window, for `bench compare`.
    seconds: Vec<Second>,
    statuses: BTreeMap<u16, u64>,
    failures: BTreeMap<Failure, u64>,
}

impl Report {
    /// Puts together what was asked for and what came of it.
    #[expect(clippy::cast_precision_loss, reason = "rates need no 53 bits")]
    pub(super) fn new(arguments: &LoadArgs, tally: &Tally, window: Duration) -> Self {
        // After a Ctrl-C during the warm-up the window is empty, and so are the rates.
        let per_second = |count: u64| {
            let rate = count as f64 / window.as_secs_f64();
            if rate.is_finite() { rate } else { 0.0 }
        };
        Self {
            version: FORMAT_VERSION,
            url: arguments.url.clone(),
            method: arguments.method.to_string(),
            rate: arguments.rate,
            paths: arguments.paths.clone(),
            connections: arguments.connections,
            threads: arguments.threads,
            window_seconds: window.as_secs_f64(),
            answered: tally.answered(),
            succeeded: tally.succeeded(),
            requests_per_second: per_second(tally.answered()),
            received_bytes: tally.received_bytes(),
            received_bytes_per_second: per_second(tally.received_bytes()),
            overdue: tally.overdue(),
            latency: tally.latency(),
            seconds: whole_seconds(tally, window),
            statuses: tally.statuses().clone(),
            failures: tally.failures().clone(),
        }
    }

    /// The report for people.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rates are positive and far below the bounds"
    )]
    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        let latency = &self.latency;
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "{name:<12} {value}");
        };
        line(
            "requests",
            &format!("{} in {:.2} s", grouped(self.answered), self.window_seconds),
        );
        line(
            "throughput",
            &format!("{} requests/s", grouped(self.requests_per_second as u64)),
        );
        line(
            "transfer",
            &format!("{}/s", bytes(self.received_bytes_per_second as u64)),
        );
        for (name, value) in [
            ("p50", latency.p50_us),
            ("p90", latency.p90_us),
            ("p99", latency.p99_us),
            ("p99.9", latency.p999_us),
            ("max", latency.max_us),
        ] {
            line(&format!("latency {name}"), &microseconds(value));
        }
        if self.rate.is_some() {
            line("overdue", &grouped(self.overdue));
        }
        for (status, count) in &self.statuses {
            line(&format!("status {status}"), &grouped(*count));
        }
        if self.failures.is_empty() {
            line("errors", "none");
        }
        for (failure, count) in &self.failures {
            line(
                "errors",
                &format!("{} {}", grouped(*count), failure.as_str()),
            );
        }
        text
    }

    /// Why the run counts as failed, with what to try.
    pub(super) fn nothing_succeeded(&self) -> String {
        let most = self.statuses.iter().max_by_key(|(_, count)| **count);
        let remedy = match most.map(|(status, _)| *status) {
            Some(401) => "most answers were 401; give a valid token with --token-file".to_owned(),
            Some(403) => {
                "most answers were 403; the token lacks what the route asks for".to_owned()
            }
            Some(404) => "most answers were 404; check the path in --url".to_owned(),
            Some(status) => format!("most answers had status {status}; look at the server's log"),
            None if self.failures.is_empty() => {
                "nothing was answered; ask for a longer --duration, or look at the server's log"
                    .to_owned()
            }
            None => {
                "nothing was answered; look at the errors above and at the server's log".to_owned()
            }
        };
        format!("no request succeeded: {remedy}")
    }
}

/// The last one is left out if the window ended within it.
#[expect(clippy::cast_precision_loss, reason = "a mean needs no 53 bits")]
fn whole_seconds(tally: &Tally, window: Duration) -> Vec<Second> {
    let whole = usize::try_from(window.as_secs()).unwrap_or(usize::MAX);
    let seconds = tally.seconds().iter().take(whole);
    seconds
        .map(|second| Second {
            answered: second.answered,
            mean_us: (second.answered > 0)
                .then(|| second.latency_us as f64 / second.answered as f64),
        })
        .collect()
}

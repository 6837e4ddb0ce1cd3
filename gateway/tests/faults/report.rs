//! What the run found: a table, and what was not as it must be.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use crate::client::Answer;
use crate::journal::Notes;
use crate::load::Outcome;

/// The most that a dead upstream may be asked, as a multiple of what clients asked for.
const TRIES_MAX: f64 = 1.2;

/// What must hold beside that nothing is sent twice and no damaged answer is passed on as whole.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expected {
    /// Every request is served.
    AllServed,
    /// Every idempotent request is served; others may fail, but never happen twice.
    IdempotentServed,
    /// The upstream is dead: retries do not multiply the load on it.
    LoadBounded,
}

/// A scenario that was played.
pub(crate) struct Played {
    pub(crate) outcome: Outcome,
    pub(crate) notes: Notes,
}

const COLUMNS: [&str; 11] = [
    "scenario",
    "expected",
    "requests",
    "failed GET",
    "failed POST",
    "POST twice",
    "tries/request",
    "p50 ms",
    "p99 ms",
    "max ms",
    "failures",
];

/// Rows and complaints; prints itself when dropped, so that a run that breaks off shows how far
/// it came.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<[String; COLUMNS.len()]>,
    requests: usize,
    complaints: Vec<String>,
}

impl Report {
    /// Notes how a scenario went.
    pub(crate) fn scenario(&mut self, name: &str, expected: Expected, played: &Played) {
        let (outcome, notes) = (&played.outcome, &played.notes);
        let ms = |latency: Duration| format!("{:.1}", latency.as_secs_f64() * 1000.0);
        let tries = tries(played);
        self.rows.push([
            name.into(),
            shown(expected).into(),
            outcome.requests().to_string(),
            sum(&outcome.failed_gets).to_string(),
            sum(&outcome.failed_posts).to_string(),
            notes.sent_twice().to_string(),
            format!("{tries:.3}"),
            ms(outcome.quantile(50)),
            ms(outcome.quantile(99)),
            ms(outcome.quantile(100)),
            listed(outcome),
        ]);
        self.requests += outcome.requests();
        self.check_always(name, played);
        if let Some(shortfall) = shortfall(expected, played) {
            self.complain(format!("{name}: {shortfall}"));
        }
    }

    fn check_always(&mut self, name: &str, played: &Played) {
        let (outcome, notes) = (&played.outcome, &played.notes);
        if outcome.requests() == 0 || notes.tries == 0 {
            self.complain(format!("{name}: no request came through"));
        }
        if notes.sent_twice() > 0 {
            let count = notes.sent_twice();
            self.complain(format!("{name}: {count} POSTs reached upstreams twice"));
        }
        let failed = outcome.failed_gets.iter().chain(&outcome.failed_posts);
        for (answer, count) in failed {
            if let Answer::Wrong(what) = answer {
                self.complain(format!("{name}: {count} × 200 with {what}"));
            }
        }
    }

    /// Requests of all scenarios.
    pub(crate) fn requests(&self) -> usize {
        self.requests
    }

    /// Notes what is not as it must be; the run goes on.
    pub(crate) fn complain(&mut self, complaint: String) {
        self.complaints.push(complaint);
    }

    /// Prints the table; whether all is as it must be.
    pub(crate) fn close(self) -> bool {
        self.complaints.is_empty()
    }

    fn table(&self) -> String {
        let headings = COLUMNS.map(str::to_owned);
        let width = |column: usize| {
            let rows = std::iter::once(&headings).chain(&self.rows);
            rows.map(|row| row[column].chars().count()).max()
        };
        let widths: Vec<_> = (0..COLUMNS.len())
            .map(|column| width(column).unwrap_or_default())
            .collect();
        let is_number = |index: usize| (2..=9).contains(&index);
        let line = |row: &[String; COLUMNS.len()]| {
            let cells = row.iter().zip(&widths).enumerate();
            let cells: Vec<_> = cells
                .map(|(index, (text, &width))| {
                    if is_number(index) {
                        format!("{text:>width$}")
                    } else {
                        format!("{text:width$}")
                    }
                })
                .collect();
            format!("| {} |", cells.join(" | "))
        };
        let rules = widths.iter().enumerate().map(|(index, &width)| {
            let dashes = "-".repeat(width.saturating_sub(1));
            if is_number(index) {
                format!("{dashes}:")
            } else {
                format!(":{dashes}")
            }
        });
        let rule = format!("| {} |", rules.collect::<Vec<_>>().join(" | "));
        let rows = self.rows.iter().map(line);
        let lines = [line(&headings), rule].into_iter().chain(rows);
        lines.collect::<Vec<_>>().join("\n")
    }
}

/// Requests at the upstreams for each of a client's.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn tries(played: &Played) -> f64 {
    played.notes.tries as f64 / played.outcome.requests().max(1) as f64
}

/// What of it does not hold.
fn shortfall(expected: Expected, played: &Played) -> Option<String> {
    let (gets, posts) = (
        sum(&played.outcome.failed_gets),
        sum(&played.outcome.failed_posts),
    );
    match expected {
        Expected::AllServed if gets + posts > 0 => {
            Some(format!("{gets} GETs and {posts} POSTs failed"))
        }
        Expected::IdempotentServed if gets > 0 => Some(format!("{gets} GETs failed")),
        Expected::LoadBounded if tries(played) > TRIES_MAX => Some(format!(
            "{:.2} tries a request at a dead upstream; {TRIES_MAX} is the bound",
            tries(played)
        )),
        _ => None,
    }
}

fn shown(expected: Expected) -> &'static str {
    match expected {
        Expected::AllServed => "all served",
        Expected::IdempotentServed => "GETs served",
        Expected::LoadBounded => "load ≤ 1.2 ×",
    }
}

fn sum(failed: &BTreeMap<Answer, u64>) -> u64 {
    failed.values().sum()
}

/// `3 × GET 502 upstream_reset, 1 × …`
fn listed(outcome: &Outcome) -> String {
    let of = |method: &'static str, failed: &BTreeMap<Answer, u64>| {
        let failed = failed.iter();
        let failed = failed.map(move |(answer, count)| {
            let what = match answer {
                Answer::Good => "good",
                Answer::Wrong(what) | Answer::Refused(what) => what,
                Answer::Broken(what) => what,
            };
            format!("{count} × {method} {what}")
        });
        failed.collect::<Vec<_>>()
    };
    let mut all = of("GET", &outcome.failed_gets);
    all.extend(of("POST", &outcome.failed_posts));
    all.join(", ")
}

impl Drop for Report {
    fn drop(&mut self) {
        let lines = self.complaints.iter();
        let lines: Vec<_> = lines.map(|line| format!("FAILED: {line}\n")).collect();
        let (table, requests, lines) = (self.table(), self.requests, lines.concat());
        let _shown = writeln!(
            std::io::stdout(),
            "\n{table}\n\n{requests} requests\n{lines}"
        );
    }
}

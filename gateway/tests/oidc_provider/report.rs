//! What the run found: a table, and what was not as it must be.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use crate::issuer::Counts;
use crate::load::Outcome;

/// Rows and complaints; prints itself when dropped, so that a run that breaks off shows how far
/// it came.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<[String; COLUMNS.len()]>,
    complaints: Vec<String>,
}

const COLUMNS: [&str; 10] = [
    "scenario",
    "requests",
    "refused",
    "p50 ms",
    "p99 ms",
    "max ms",
    "discovery",
    "jwks",
    "bound",
    "strangers' answers",
];

impl Report {
    /// Notes how a scenario went, and complains of valid requests that were refused and of
    /// fetches above the bound.
    pub(crate) fn scenario(
        &mut self,
        name: &str,
        outcome: &Outcome,
        fetched: Counts,
        fetches_max: u64,
        strangers: &BTreeMap<String, u64>,
    ) {
        let ms = |latency: Duration| format!("{:.1}", latency.as_secs_f64() * 1000.0);
        self.rows.push([
            name.into(),
            outcome.requests().to_string(),
            outcome.refused.values().sum::<u64>().to_string(),
            ms(outcome.quantile(50)),
            ms(outcome.quantile(99)),
            ms(outcome.quantile(100)),
            fetched.discovery.to_string(),
            fetched.jwks.to_string(),
            fetches_max.to_string(),
            listed(strangers),
        ]);
        if outcome.requests() == 0 {
            self.complain(format!("{name}: no valid request was sent"));
        }
        if !outcome.refused.is_empty() {
            let refused = listed(&outcome.refused);
            self.complain(format!("{name}: valid requests were refused: {refused}"));
        }
        for (document, fetches) in [("discovery", fetched.discovery), ("jwks", fetched.jwks)] {
            if fetches > fetches_max {
                self.complain(format!(
                    "{name}: {fetches} fetches of {document}; at most {fetches_max} were due"
                ));
            }
        }
        if fetched.elsewhere > 0 {
            self.complain(format!("{name}: keys were fetched from another host"));
        }
    }

    /// Notes what is not as it must be; the run goes on.
    pub(crate) fn complain(&mut self, complaint: String) {
        self.complaints.push(complaint);
    }

    /// Prints the table and fails if there is a complaint.
    pub(crate) fn close(self) {
        let complaints = self.complaints.join("\n");
        drop(self);
        assert!(complaints.is_empty(), "\n{complaints}");
    }

    fn table(&self) -> String {
        let headings = COLUMNS.map(str::to_owned);
        let rows = || std::iter::once(&headings).chain(&self.rows);
        let width = |column: usize| rows().map(|row| row[column].chars().count()).max();
        let widths: Vec<_> = (0..COLUMNS.len())
            .map(|column| width(column).unwrap_or_default())
            .collect();
        let cell = |(index, text): (usize, &String)| match (index, widths[index]) {
            // Words to the left, numbers to the right.
            (0, width) => format!("{text:width$}"),
            (9, _) => text.clone(),
            (_, width) => format!("{text:>width$}"),
        };
        let line = |row: &[String; COLUMNS.len()]| {
            let cells: Vec<_> = row.iter().enumerate().map(cell).collect();
            cells.join("  ").trim_end().to_owned()
        };
        let lines: Vec<_> = rows().map(line).collect();
        lines.join("\n")
    }
}

/// `3 × 401 jwt_key_unknown, 1 × …`
fn listed(counts: &BTreeMap<String, u64>) -> String {
    let counts: Vec<_> = counts
        .iter()
        .map(|(what, count)| format!("{count} × {what}"))
        .collect();
    counts.join(", ")
}

impl Drop for Report {
    fn drop(&mut self) {
        // Not by `println!`, which the test runner keeps to itself when all is well.
        let _shown = writeln!(std::io::stdout(), "\n{}\n", self.table());
    }
}

//! The tables of a comparison, aligned for a terminal or in Markdown.

use std::fmt::Write as _;

use super::goals::{Bound, Judged};
use super::report::{ReloadsSummary, Report, Row, RowSummary, Settings};
use super::scaling::SpeedUp;
use super::statistics::Summary;
use crate::output::bytes;
use crate::scenario::{Measure, Scenario};

const HOW: &str = "\
CPU µs/request is the proxy's user and system time, all its processes and threads, over the \
requests answered in the same window. Every figure is a median over the rounds with the least and \
the greatest. Ratios are taken round by round. Absolute times on a shared or virtual machine mean \
little: only ratios within one run count. Where the core is not fully busy, client and upstream \
were the bottleneck, or other programs took their share: throughput and latency then say little \
about the proxy.";

/// What stands where there is no reading.
const NOTHING: &str = "–";

/// One column of a scenario's table.
struct Column<'a> {
    title: String,
    cell: Box<dyn Fn(&Row) -> String + 'a>,
}

impl<'a> Column<'a> {
    fn new(title: impl Into<String>, cell: impl Fn(&Row) -> String + 'a) -> Self {
        Self {
            title: title.into(),
            cell: Box::new(cell),
        }
    }

    /// A reading of the row, if there is one.
    fn of(
        title: impl Into<String>,
        pick: impl Fn(&RowSummary) -> Option<Summary> + 'a,
        show: impl Fn(Summary) -> String + 'a,
    ) -> Self {
        Self::new(title, move |row| {
            let reading = row.summary.as_ref().and_then(&pick);
            reading.map_or_else(|| NOTHING.to_owned(), &show)
        })
    }

    /// Something of the rows with reloads.
    fn of_reloads(title: impl Into<String>, show: impl Fn(&ReloadsSummary) -> String + 'a) -> Self {
        Self::new(title, move |row| {
            let reloads = row.summary.as_ref().and_then(|all| all.reloads.as_ref());
            reloads.map_or_else(|| NOTHING.to_owned(), &show)
        })
    }
}

impl Report {
    /// Tables for a terminal.
    pub(super) fn to_text(&self) -> String {
        self.render(aligned)
    }

    /// The same tables in Markdown.
    pub(super) fn to_markdown(&self) -> String {
        self.render(markdown)
    }

    fn render(&self, table: fn(&[Vec<String>]) -> String) -> String {
        let mut text = String::new();
        for scenario in self.scenarios() {
            let columns = self.columns(scenario);
            let mut lines = vec![columns.iter().map(|column| column.title.clone()).collect()];
            let rows = self.rows.iter().filter(|row| row.scenario == *scenario);
            lines.extend(rows.map(|row| columns.iter().map(|it| (it.cell)(row)).collect()));
            let _ = writeln!(text, "{}\n\n{}", scenario.describe(), table(&lines));
        }
        if !self.speed_ups.is_empty() {
            let title = "Two workers against one, told from CPU time:";
            let _ = writeln!(text, "{title}\n\n{}", table(&speed_ups(&self.speed_ups)));
        }
        for row in &self.rows {
            for problem in row.problems() {
                let _ = writeln!(
                    text,
                    "INVALID: {} {}: {problem}",
                    row.scenario.name, row.peer
                );
            }
        }
        let _ = writeln!(text, "Goals, by medians:\n\n{}", table(&goals(&self.goals)));
        let _ = writeln!(text, "{}\n\n{HOW}", self.circumstances());
        text
    }

    fn columns<'a>(&'a self, scenario: &Scenario) -> Vec<Column<'a>> {
        let mut columns = vec![Column::new("peer", |row| {
            let invalid = if row.is_valid() { "" } else { " (INVALID)" };
            format!("{}{invalid}", row.peer)
        })];
        match scenario.measure {
            Measure::Idle => columns.extend(idle_columns()),
            Measure::Load => columns.extend(self.load_columns(scenario)),
            Measure::Reload => {
                columns.extend(self.load_columns(scenario));
                columns.extend(reload_columns());
            }
        }
        columns.push(Column::new("does", |row| row.about.to_owned()));
        columns
    }

    fn load_columns<'a>(&'a self, scenario: &Scenario) -> Vec<Column<'a>> {
        let mut columns = vec![Column::of(
            "CPU µs/request",
            |all| all.cpu_us_per_request,
            |it| spread(it, 1),
        )];
        for (nth, baseline) in self.baselines.iter().enumerate() {
            columns.push(Column::new(format!("× {baseline}"), move |row| {
                let ratio = row.ratios.get(nth).and_then(|ratio| ratio.ratio);
                ratio.map_or_else(|| NOTHING.to_owned(), |it| spread(it, 2))
            }));
        }
        let percent = |it: Summary| format!("{:.0} %", it.median * 100.0);
        columns.extend([
            Column::of(
                "requests/s",
                |all| Some(all.requests_per_second),
                |it| spread(it, 0),
            ),
            Column::of("p50", |all| Some(all.p50_us), milliseconds),
            Column::of("p99", |all| Some(all.p99_us), milliseconds),
            Column::of("p99.9", |all| Some(all.p999_us), milliseconds),
            Column::of(
                "resident",
                |all| all.resident_bytes,
                |it| whole_bytes(it.median),
            ),
            Column::of("core busy", |all| all.core_busy, percent),
            Column::of(
                "switches/request",
                |all| all.voluntary_switches_per_request,
                |it| spread(it, 3),
            ),
        ]);
        let rows = || self.rows.iter().filter(|row| row.scenario == *scenario);
        if scenario.workers > 1 {
            columns.push(Column::of(
                "busiest thread",
                |all| all.busiest_thread_share,
                percent,
            ));
        }
        if rows().any(|row| row.samples.iter().any(|it| it.tokens_cached.is_some())) {
            columns.push(Column::of(
                "tokens cached",
                |all| all.tokens_cached,
                |it| format!("{:.0}", it.median),
            ));
        }
        if self.settings.instructions_counted_by.is_some() {
            columns.push(Column::of(
                "instructions/request",
                |all| all.instructions_per_request,
                |it| spread(it, 0),
            ));
        }
        if self.rows.iter().any(|row| row.system_calls.is_some()) {
            columns.push(Column::new("calls/request", |row| {
                let counted = row.system_calls.as_ref();
                let counted = counted.map(|counted| format!("{:.2}", counted.per_request));
                counted.unwrap_or_else(|| NOTHING.to_owned())
            }));
        }
        columns
    }

    fn circumstances(&self) -> String {
        let mut versions: Vec<&str> = Vec::new();
        for version in self
            .rows
            .iter()
            .filter_map(|row| row.program_version.as_deref())
        {
            if !versions.contains(&version) {
                versions.push(version);
            }
        }
        let Settings {
            rounds,
            connections,
            window_seconds,
            warmup_seconds,
            settle_seconds,
            cores,
            instructions_counted_by,
        } = &self.settings;
        let counted = instructions_counted_by.map_or_else(String::new, |by| {
            format!(" Instructions in user space counted by {by}.")
        });
        let is_idle = |row: &Row| row.scenario.measure == Measure::Idle;
        let settled = if self.rows.iter().any(is_idle) {
            format!(" Idle connections were read after {settle_seconds} s.")
        } else {
            String::new()
        };
        format!(
            "{rounds} rounds of {window_seconds} s after {warmup_seconds} s of warm-up, \
             {connections} connections; proxy on core {}, upstream on core {}, client on core {}. \
             {}. {}.{counted}{settled}",
            cores.proxy,
            cores.upstream,
            cores.client,
            self.machine.describe(),
            versions.join("; "),
        )
    }
}

fn idle_columns<'a>() -> [Column<'a>; 4] {
    [
        Column::of(
            "bytes each, never served",
            |all| all.idle.as_ref().map(|it| it.silent_bytes_each),
            |it| spread(it, 0),
        ),
        Column::of(
            "just served once",
            |all| all.idle.as_ref().map(|it| it.served_bytes_each),
            |it| spread(it, 0),
        ),
        Column::of(
            "idle since",
            |all| all.idle.as_ref().map(|it| it.idle_bytes_each),
            |it| spread(it, 0),
        ),
        Column::of(
            "resident before",
            |all| all.idle.as_ref().map(|it| it.resident_bytes_before),
            |it| whole_bytes(it.median),
        ),
    ]
}

fn reload_columns<'a>() -> [Column<'a>; 6] {
    [
        Column::of_reloads("reloads", |all| all.count.to_string()),
        Column::of_reloads("longest reload", |all| {
            format!("{:.0} ms", all.longest_ms.median)
        }),
        Column::of_reloads("failed", |all| all.failed.to_string()),
        Column::of_reloads("p99 with", |all| milliseconds(all.p99_us_with)),
        Column::of_reloads("p99 without", |all| milliseconds(all.p99_us_without)),
        Column::of_reloads("ratio", |all| spread(all.p99_ratio, 2)),
    ]
}

fn speed_ups(all: &[SpeedUp]) -> Vec<Vec<String>> {
    let header = [
        "peer",
        "requests/s of one",
        "of two",
        "CPU µs/request of one",
        "of two",
        "busiest thread of two",
        "speed-up",
    ];
    let mut lines = vec![header.map(str::to_owned).to_vec()];
    lines.extend(all.iter().map(|it| {
        vec![
            it.peer.to_owned(),
            it.rate_of_one.to_string(),
            it.rate_of_two.to_string(),
            spread(it.cpu_us_of_one, 1),
            spread(it.cpu_us_of_two, 1),
            format!("{:.0} %", it.busiest_thread_share.median * 100.0),
            spread(it.times, 2),
        ]
    }));
    lines
}

fn goals(all: &[Judged]) -> Vec<Vec<String>> {
    let mut lines = vec![
        ["goal", "bound", "measured", ""]
            .map(str::to_owned)
            .to_vec(),
    ];
    lines.extend(all.iter().map(|goal| {
        let bound = match goal.bound {
            Bound::AtMost(bound) => format!("≤ {bound}"),
            Bound::AtLeast(bound) => format!("≥ {bound}"),
        };
        let number = |value: f64| format!("{:.*}", goal.decimals, value);
        let measured = goal.measured.map_or_else(|| NOTHING.to_owned(), number);
        let verdict = goal.verdict.as_str().to_owned();
        vec![goal.what.to_owned(), bound, measured, verdict]
    }));
    lines
}

fn milliseconds(summary: Summary) -> String {
    format!("{:.2} ms", summary.median / 1e3)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the median of byte counts is a byte count"
)]
fn whole_bytes(count: f64) -> String {
    bytes(count as u64)
}

fn spread(summary: Summary, decimals: usize) -> String {
    let Summary { median, min, max } = summary;
    format!("{median:.decimals$} ({min:.decimals$}–{max:.decimals$})")
}

fn markdown(lines: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (index, cells) in lines.iter().enumerate() {
        let _ = writeln!(text, "| {} |", cells.join(" | "));
        if index == 0 {
            let _ = writeln!(text, "|{}", "---|".repeat(cells.len()));
        }
    }
    text
}

fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|cells| cells.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for cells in lines {
        let padded: Vec<String> = cells
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        let _ = writeln!(text, "{}", padded.join("  ").trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::idle::Weights;
    use crate::peers::measure::Sample;
    use crate::peers::reload::Reloads;
    use crate::peers::report::fixtures::{report, report_against, row, sample};

    #[test]
    fn idle_connections_and_reloads_have_columns_of_their_own() {
        let mut idle = Sample::without_load(0);
        idle.idle = Some(Weights {
            connections: 10,
            resident_bytes_before: 1 << 20,
            silent_bytes_each: 500,
            served_bytes_each: 900,
            idle_bytes_each: 700,
            closed: 0,
        });
        let mut reloaded = sample(0, 20.0, &[]);
        reloaded.reloads = Some(Reloads {
            count: 2,
            longest_ms: 120,
            failed: 0,
            p99_us_with: 1_500,
            p99_us_without: 1_000,
        });
        let report = report(vec![
            row("idle", "gateway", vec![idle]),
            row("reload-500", "gateway", vec![reloaded]),
        ]);
        let text = report.to_markdown();
        for expected in [
            "| gateway | 500 (500–500) | 900 (900–900) | 700 (700–700) | 1.0 MiB | about |",
            "| 2 | 120 ms | 0 | 1.50 ms | 1.00 ms | 1.50 (1.50–1.50) | about |",
            "| idle, bytes each connection, never served or once | ≤ 4096 | 700 | met |",
        ] {
            assert!(text.contains(expected), "{expected} is missing in:\n{text}");
        }
    }

    #[test]
    fn speed_up_has_a_table_where_it_was_measured() {
        let rows = ["one-worker-50", "two-workers-100"]
            .map(|scenario| row(scenario, "gateway", vec![sample(0, 10.0, &[])]));
        let text = report(rows.into()).to_markdown();
        let expected = "| gateway | 50 | 100 | 10.0 (10.0–10.0) | 10.0 (10.0–10.0) | 100 % | \
                        1.00 (1.00–1.00) |";
        assert!(text.contains(expected), "{text}");
        let expected = "the same load per worker | ≥ 1.85 | 1.00 | MISSED |";
        assert!(text.contains(expected), "{text}");
        let text = report(vec![row("1k", "gateway", vec![sample(0, 10.0, &[])])]).to_markdown();
        assert!(!text.contains("speed-up"), "{text}");
    }

    #[test]
    fn one_wrong_answer_makes_the_row_invalid_and_loses_its_ratio() {
        let report = report(vec![
            row("1k", "haproxy", vec![sample(0, 10.0, &[])]),
            row(
                "1k",
                "gateway",
                vec![sample(0, 5.0, &["1 × connection reset"])],
            ),
        ]);
        assert!(!report.is_valid());
        assert_eq!(report.rows[1].ratios[0].ratio, None);
        let text = report.to_text();
        assert!(text.contains("gateway (INVALID)"), "{text}");
        assert!(
            text.contains("INVALID: 1k gateway: round 1: 1 × connection reset"),
            "{text}"
        );
    }

    #[test]
    fn every_baseline_has_a_column_of_its_own() {
        let rows = vec![
            row("1k", "gateway-open", vec![sample(0, 10.0, &[])]),
            row("1k", "gateway", vec![sample(0, 12.0, &[])]),
        ];
        let report = report_against(vec!["gateway-open", "haproxy"], rows);
        let text = report.to_markdown();
        let expected = "| peer | CPU µs/request | × gateway-open | × haproxy |";
        assert!(text.contains(expected), "{text}");
        let expected = "| gateway | 12.0 (12.0–12.0) | 1.20 (1.20–1.20) | – |";
        assert!(text.contains(expected), "{text}");
    }

    #[test]
    fn markdown_has_a_cell_for_every_column() {
        let report = report(vec![
            row(
                "1k",
                "direct",
                vec![Sample {
                    process: None,
                    ..sample(0, 0.0, &[])
                }],
            ),
            row("1k", "haproxy", vec![sample(0, 10.0, &[])]),
        ]);
        let text = report.to_markdown();
        let (table, _) = text.split_once("Goals").unwrap();
        let lines: Vec<&str> = table.lines().filter(|line| line.starts_with('|')).collect();
        assert_eq!(lines.len(), 4, "{text}");
        let columns = |line: &str| line.matches('|').count();
        assert!(
            lines.iter().all(|line| columns(line) == columns(lines[0])),
            "{text}"
        );
        assert!(
            text.contains("| haproxy | 10.0 (10.0–10.0) | 1.00 (1.00–1.00) |"),
            "{text}"
        );
        assert!(text.contains("| direct | – | – |"), "{text}");
    }
}

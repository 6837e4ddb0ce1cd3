//! The result of a comparison: JSON, and tables for people.

use std::fmt::Write as _;

use serde::Serialize;

use super::machine::Machine;
use super::measure::{ProcessSample, Sample};
use super::plot::{self, Bar, Line};
use super::statistics::Summary;
use super::system_calls::SystemCalls;
use crate::client::Pace;
use crate::cores::Placement;
use crate::output::bytes;
use crate::scenario::Scenario;

/// Counts up when a field changes its meaning or goes away.
const FORMAT_VERSION: u32 = 3;

const HOW: &str = "\
CPU µs/request is the proxy's user and system time, all its processes and threads, over the \
requests answered in the same window. Every figure is a median over the rounds with the least and \
the greatest. Ratios are taken round by round. Absolute times on a shared or virtual machine mean \
little: only ratios within one run count. Where the core is not fully busy, client and upstream \
were the bottleneck, or other programs took their share: throughput and latency then say little \
about the proxy.";

/// A finished comparison.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    version: u32,
    machine: Machine,
    settings: Settings,
    baselines: Vec<&'static str>,
    rows: Vec<Row>,
}

/// How it was measured.
#[derive(Debug, Serialize)]
pub(super) struct Settings {
    pub(super) rounds: u16,
    pub(super) connections: u16,
    pub(super) window_seconds: f64,
    pub(super) warmup_seconds: f64,
    pub(super) cores: Placement,
    /// What counted instructions, if anything did.
    pub(super) instructions_counted_by: Option<&'static str>,
}

/// One peer in one scenario.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) scenario: Scenario,
    pub(super) peer: &'static str,
    about: &'static str,
    pub(super) program_version: Option<String>,
    /// Counted once, if asked for.
    pub(super) system_calls: Option<SystemCalls>,
    /// Why it could not be measured to the end.
    pub(super) failure: Option<String>,
    pub(super) samples: Vec<Sample>,
    summary: Option<RowSummary>,
    /// One for each baseline, in their order.
    ratios: Vec<Ratio>,
}

/// CPU per request over a baseline's in the same round.
#[derive(Debug, Serialize)]
struct Ratio {
    to: &'static str,
    /// Absent when either row has no valid reading.
    ratio: Option<Summary>,
}

/// The readings of all rounds, summed up.
#[derive(Debug, Serialize)]
struct RowSummary {
    cpu_us_per_request: Option<Summary>,
    core_busy: Option<Summary>,
    resident_bytes: Option<Summary>,
    instructions_per_request: Option<Summary>,
    requests_per_second: Summary,
    p50_us: Summary,
    p99_us: Summary,
    p999_us: Summary,
    voluntary_switches_per_request: Option<Summary>,
    overdue: Summary,
}

impl Row {
    /// A row without readings.
    pub(super) fn new(
        scenario: &Scenario,
        peer: &'static str,
        about: &'static str,
        program_version: Option<String>,
    ) -> Self {
        Self {
            scenario: scenario.clone(),
            peer,
            about,
            program_version,
            system_calls: None,
            failure: None,
            samples: Vec::new(),
            summary: None,
            ratios: Vec::new(),
        }
    }

    /// Whether it is this peer's row in this scenario.
    pub(super) fn is(&self, peer: &str, scenario: &Scenario) -> bool {
        self.peer == peer && self.scenario == *scenario
    }

    /// Whether measuring it again is of no use.
    pub(super) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Whether the row was measured in this round, before this start perhaps.
    pub(super) fn has_sample_of(&self, round: u16) -> bool {
        self.samples.iter().any(|sample| sample.round == round)
    }

    /// Sums up the readings taken so far.
    pub(super) fn sum_up(&mut self) {
        self.summary = RowSummary::of(&self.samples);
    }

    /// Everything that went wrong, with the round it happened in.
    fn problems(&self) -> Vec<String> {
        let failure = self.failure.iter().cloned();
        let in_rounds = self.samples.iter().flat_map(|sample| {
            let round = sample.round + 1;
            let problems = sample.problems.iter();
            problems.map(move |problem| format!("round {round}: {problem}"))
        });
        failure.chain(in_rounds).collect()
    }

    fn is_valid(&self) -> bool {
        self.problems().is_empty()
    }

    fn cpu_in_round(&self, round: u16) -> Option<f64> {
        let sample = self.samples.iter().find(|sample| sample.round == round)?;
        sample.process.map(|process| process.cpu_us_per_request)
    }

    /// Round by round, because the machine's pace drifts between rounds.
    fn ratio_to(&self, baseline: &Self) -> Option<Summary> {
        Summary::of(self.samples.iter().filter_map(|sample| {
            let own = self.cpu_in_round(sample.round)?;
            Some(own / baseline.cpu_in_round(sample.round)?)
        }))
    }
}

impl RowSummary {
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn of(samples: &[Sample]) -> Option<Self> {
        let process = |pick: fn(&ProcessSample) -> f64| {
            Summary::of(
                samples
                    .iter()
                    .filter_map(|sample| sample.process.as_ref().map(pick)),
            )
        };
        let every = |pick: fn(&Sample) -> f64| Summary::of(samples.iter().map(pick));
        Some(Self {
            cpu_us_per_request: process(|process| process.cpu_us_per_request),
            core_busy: process(|process| process.core_busy),
            resident_bytes: process(|process| process.resident_bytes as f64),
            instructions_per_request: Summary::of(
                samples
                    .iter()
                    .filter_map(|sample| sample.instructions_per_request),
            ),
            requests_per_second: every(|sample| sample.requests_per_second)?,
            p50_us: every(|sample| sample.p50_us as f64)?,
            p99_us: every(|sample| sample.p99_us as f64)?,
            p999_us: every(|sample| sample.p999_us as f64)?,
            voluntary_switches_per_request: process(|process| {
                process.voluntary_switches_per_request
            }),
            overdue: every(|sample| sample.overdue as f64)?,
        })
    }
}

impl Report {
    /// Puts the rows together and relates them to the baselines'.
    pub(super) fn new(
        machine: Machine,
        settings: Settings,
        mut rows: Vec<Row>,
        baselines: Vec<&'static str>,
    ) -> Self {
        let ratio = |row: &Row, to: &'static str| {
            let baseline = rows.iter().find(|other| other.is(to, &row.scenario));
            // A ratio with an invalid row in it would be quoted as if it were one.
            let valid = baseline.filter(|baseline| row.is_valid() && baseline.is_valid());
            let ratio = valid.and_then(|baseline| row.ratio_to(baseline));
            Ratio { to, ratio }
        };
        let ratios: Vec<Vec<Ratio>> = rows
            .iter()
            .map(|row| baselines.iter().map(|to| ratio(row, to)).collect())
            .collect();
        for (row, ratios) in rows.iter_mut().zip(ratios) {
            row.ratios = ratios;
        }
        Self {
            version: FORMAT_VERSION,
            machine,
            settings,
            baselines,
            rows,
        }
    }

    /// Whether every row can be trusted.
    pub(super) fn is_valid(&self) -> bool {
        self.rows.iter().all(Row::is_valid)
    }

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
            let rows = self.rows.iter().filter(|row| row.scenario == *scenario);
            let mut lines = vec![self.header()];
            lines.extend(rows.map(|row| self.cells(row)));
            let _ = writeln!(text, "{}\n\n{}", scenario.describe(), table(&lines));
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
        let _ = writeln!(text, "{}\n\n{HOW}", self.circumstances());
        text
    }

    fn has_system_calls(&self) -> bool {
        self.rows.iter().any(|row| row.system_calls.is_some())
    }

    fn scenarios(&self) -> Vec<&Scenario> {
        let mut scenarios: Vec<&Scenario> = Vec::new();
        for row in &self.rows {
            if !scenarios.contains(&&row.scenario) {
                scenarios.push(&row.scenario);
            }
        }
        scenarios
    }

    /// The names of files and the plots that they hold; rows that are not valid are left out.
    pub(super) fn plots(&self) -> Vec<(String, String)> {
        let valid = || self.rows.iter().filter(|row| row.is_valid());
        let mut plots = Vec::new();
        for scenario in self.scenarios() {
            let rows = valid().filter(|row| row.scenario == *scenario);
            let bars: Vec<Bar> = rows
                .filter_map(|row| {
                    Some(Bar {
                        name: row.peer.to_owned(),
                        value: row.summary.as_ref()?.cpu_us_per_request?,
                        is_ours: row.peer.starts_with("gateway"),
                    })
                })
                .collect();
            let unit = "CPU µs/request: median, least and greatest of the rounds";
            let svg = plot::bars(&scenario.describe(), unit, &bars);
            plots.push((format!("cpu-{}.svg", scenario.name), svg));
        }
        let mut lines: Vec<Line> = Vec::new();
        for row in valid() {
            let (Pace::Open { per_second }, Some(summary)) = (row.scenario.pace, &row.summary)
            else {
                continue;
            };
            let point = (f64::from(per_second), summary.p99_us.median / 1e3);
            match lines.iter_mut().find(|line| line.name == row.peer) {
                Some(line) => line.points.push(point),
                None => lines.push(Line {
                    name: row.peer.to_owned(),
                    points: vec![point],
                }),
            }
        }
        for line in &mut lines {
            line.points.sort_by(|one, other| one.0.total_cmp(&other.0));
        }
        if !lines.is_empty() {
            let title = "p99 in ms at fixed rates, from when each request was due";
            let svg = plot::lines(title, "requests/s", &lines);
            plots.push(("latency-over-rate.svg".to_owned(), svg));
        }
        plots
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
            cores,
            instructions_counted_by,
        } = &self.settings;
        let counted = instructions_counted_by.map_or_else(String::new, |by| {
            format!(" Instructions in user space counted by {by}.")
        });
        format!(
            "{rounds} rounds of {window_seconds} s after {warmup_seconds} s of warm-up, \
             {connections} connections; proxy on core {}, upstream on core {}, client on core {}. \
             {}. {}.{counted}",
            cores.proxy,
            cores.upstream,
            cores.client,
            self.machine.describe(),
            versions.join("; "),
        )
    }

    fn header(&self) -> Vec<String> {
        let ratios = self
            .baselines
            .iter()
            .map(|baseline| format!("× {baseline}"));
        let mut header = vec!["peer".to_owned(), "CPU µs/request".to_owned()];
        header.extend(ratios);
        let rest = [
            "requests/s",
            "p50",
            "p99",
            "p99.9",
            "resident",
            "core busy",
            "switches/request",
        ];
        header.extend(rest.map(ToOwned::to_owned));
        if self.settings.instructions_counted_by.is_some() {
            header.push("instructions/request".to_owned());
        }
        if self.has_system_calls() {
            header.push("calls/request".to_owned());
        }
        header.push("does".to_owned());
        header
    }

    fn cells(&self, row: &Row) -> Vec<String> {
        let name = if row.is_valid() {
            row.peer.to_owned()
        } else {
            format!("{} (INVALID)", row.peer)
        };
        let mut cells = vec![name];
        let summary = row.summary.as_ref();
        let cell = |summary: Option<Summary>, decimals: usize| {
            summary.map_or_else(|| "–".to_owned(), |summary| spread(summary, decimals))
        };
        let milliseconds = |summary: Summary| {
            let scaled = |value| value / 1e3;
            format!("{:.2} ms", scaled(summary.median))
        };
        cells.push(cell(summary.and_then(|all| all.cpu_us_per_request), 1));
        cells.extend(row.ratios.iter().map(|ratio| cell(ratio.ratio, 2)));
        cells.push(cell(summary.map(|all| all.requests_per_second), 0));
        for latency in [
            summary.map(|all| all.p50_us),
            summary.map(|all| all.p99_us),
            summary.map(|all| all.p999_us),
        ] {
            cells.push(latency.map_or_else(|| "–".to_owned(), milliseconds));
        }
        let resident = summary.and_then(|all| all.resident_bytes);
        cells
            .push(resident.map_or_else(|| "–".to_owned(), |resident| whole_bytes(resident.median)));
        let busy = summary.and_then(|all| all.core_busy);
        let percent = |busy: Summary| format!("{:.0} %", busy.median * 100.0);
        cells.push(busy.map_or_else(|| "–".to_owned(), percent));
        let switches = summary.and_then(|all| all.voluntary_switches_per_request);
        cells.push(cell(switches, 3));
        if self.settings.instructions_counted_by.is_some() {
            cells.push(cell(
                summary.and_then(|all| all.instructions_per_request),
                0,
            ));
        }
        if self.has_system_calls() {
            let counted = row.system_calls.as_ref();
            let counted = counted.map(|counted| format!("{:.2}", counted.per_request));
            cells.push(counted.unwrap_or_else(|| "–".to_owned()));
        }
        cells.push(row.about.to_owned());
        cells
    }
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
    use super::*;

    fn sample(round: u16, cpu_us_per_request: f64, problems: &[&str]) -> Sample {
        Sample {
            round,
            answered: 1_000,
            requests_per_second: 50_000.0,
            p50_us: 900,
            p99_us: 2_000,
            p999_us: 5_000,
            overdue: 0,
            process: Some(ProcessSample {
                cpu_us_per_request,
                core_busy: 0.95,
                resident_bytes: 4 << 20,
                voluntary_switches_per_request: 0.25,
            }),
            instructions_per_request: None,
            problems: problems.iter().map(ToString::to_string).collect(),
        }
    }

    fn row(peer: &'static str, samples: Vec<Sample>) -> Row {
        let mut row = Row::new(&"1k".parse().unwrap(), peer, "about", None);
        row.samples = samples;
        row.sum_up();
        row
    }

    fn report(rows: Vec<Row>) -> Report {
        report_against(vec!["haproxy"], rows)
    }

    fn report_against(baselines: Vec<&'static str>, rows: Vec<Row>) -> Report {
        let settings = Settings {
            rounds: 2,
            connections: 64,
            window_seconds: 3.0,
            warmup_seconds: 1.0,
            cores: Placement {
                proxy: 0,
                second_worker: None,
                upstream: 1,
                client: 1,
            },
            instructions_counted_by: None,
        };
        Report::new(Machine::look(), settings, rows, baselines)
    }

    #[test]
    fn ratio_is_taken_within_each_round() {
        // The machine ran at half its pace in the second round.
        let report = report(vec![
            row("haproxy", vec![sample(0, 10.0, &[]), sample(1, 20.0, &[])]),
            row("gateway", vec![sample(0, 11.0, &[]), sample(1, 22.0, &[])]),
        ]);
        let ratio = report.rows[1].ratios[0].ratio.unwrap();
        for value in [ratio.median, ratio.min, ratio.max] {
            assert!((value - 1.1).abs() < 1e-9, "{ratio:?}");
        }
    }

    #[test]
    fn one_wrong_answer_makes_the_row_invalid_and_loses_its_ratio() {
        let report = report(vec![
            row("haproxy", vec![sample(0, 10.0, &[])]),
            row("gateway", vec![sample(0, 5.0, &["1 × connection reset"])]),
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
            row("gateway-open", vec![sample(0, 10.0, &[])]),
            row("gateway", vec![sample(0, 12.0, &[])]),
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
                "direct",
                vec![Sample {
                    process: None,
                    ..sample(0, 0.0, &[])
                }],
            ),
            row("haproxy", vec![sample(0, 10.0, &[])]),
        ]);
        let text = report.to_markdown();
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
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

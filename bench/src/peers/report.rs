//! The result of a comparison, as it is written as JSON.

use serde::Serialize;

use super::goals::{self, Judged, Verdict};
use super::machine::Machine;
use super::measure::{ProcessSample, Sample};
use super::plot::{self, Bar, Line};
use super::reload::Reloads;
use super::scaling::{self, SpeedUp};
use super::statistics::Summary;
use super::system_calls::SystemCalls;
use crate::client::Pace;
use crate::cores::Placement;
use crate::idle::Weights;
use crate::scenario::{Measure, Scenario};

/// Counts up when a field changes its meaning or goes away.
const FORMAT_VERSION: u32 = 3;

/// A finished comparison.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    version: u32,
    pub(super) machine: Machine,
    pub(super) settings: Settings,
    pub(super) baselines: Vec<&'static str>,
    pub(super) rows: Vec<Row>,
    pub(super) speed_ups: Vec<SpeedUp>,
    pub(super) goals: Vec<Judged>,
}

/// How it was measured.
#[derive(Debug, Serialize)]
pub(super) struct Settings {
    pub(super) rounds: u16,
    pub(super) connections: u16,
    pub(super) window_seconds: f64,
    pub(super) warmup_seconds: f64,
    /// Before each reading of idle connections.
    pub(super) settle_seconds: f64,
    pub(super) cores: Placement,
    /// What counted instructions, if anything did.
    pub(super) instructions_counted_by: Option<&'static str>,
}

/// One peer in one scenario.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    pub(super) scenario: Scenario,
    pub(super) peer: &'static str,
    pub(super) about: &'static str,
    pub(super) program_version: Option<String>,
    /// Counted once, if asked for.
    pub(super) system_calls: Option<SystemCalls>,
    /// Why it could not be measured to the end.
    pub(super) failure: Option<String>,
    pub(super) samples: Vec<Sample>,
    pub(super) summary: Option<RowSummary>,
    /// One for each baseline, in their order.
    pub(super) ratios: Vec<Ratio>,
}

/// CPU per request over a baseline's in the same round.
#[derive(Debug, Serialize)]
pub(super) struct Ratio {
    to: &'static str,
    /// Absent when either row has no valid reading.
    pub(super) ratio: Option<Summary>,
}

/// The readings of all rounds, summed up.
#[derive(Debug, Serialize)]
pub(super) struct RowSummary {
    pub(super) cpu_us_per_request: Option<Summary>,
    pub(super) core_busy: Option<Summary>,
    pub(super) busiest_thread_share: Option<Summary>,
    pub(super) resident_bytes: Option<Summary>,
    pub(super) instructions_per_request: Option<Summary>,
    pub(super) requests_per_second: Summary,
    pub(super) p50_us: Summary,
    pub(super) p99_us: Summary,
    pub(super) p999_us: Summary,
    pub(super) voluntary_switches_per_request: Option<Summary>,
    pub(super) overdue: Summary,
    pub(super) tokens_cached: Option<Summary>,
    pub(super) idle: Option<IdleSummary>,
    pub(super) reloads: Option<ReloadsSummary>,
}

/// Bytes that a connection weighs.
#[derive(Debug, Serialize)]
pub(super) struct IdleSummary {
    pub(super) silent_bytes_each: Summary,
    pub(super) served_bytes_each: Summary,
    pub(super) idle_bytes_each: Summary,
    pub(super) resident_bytes_before: Summary,
}

/// What requests noticed of new configurations.
#[derive(Debug, Serialize)]
pub(super) struct ReloadsSummary {
    pub(super) longest_ms: Summary,
    pub(super) p99_us_with: Summary,
    pub(super) p99_us_without: Summary,
    /// Taken round by round.
    pub(super) p99_ratio: Summary,
    /// In all rounds together.
    pub(super) count: u64,
    pub(super) failed: u64,
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

    /// Whether instructions and system calls of its requests can be counted: there are some, and
    /// they came to a good end.
    pub(super) fn can_be_counted(&self) -> bool {
        !self.has_failed() && self.scenario.measure != Measure::Idle
    }

    /// Everything that went wrong, with the round it happened in.
    pub(super) fn problems(&self) -> Vec<String> {
        let failure = self.failure.iter().cloned();
        let in_rounds = self.samples.iter().flat_map(|sample| {
            let round = sample.round + 1;
            let problems = sample.problems.iter();
            problems.map(move |problem| format!("round {round}: {problem}"))
        });
        failure.chain(in_rounds).collect()
    }

    pub(super) fn is_valid(&self) -> bool {
        self.problems().is_empty()
    }

    fn cpu_in_round(&self, round: u16) -> Option<f64> {
        let sample = self.samples.iter().find(|sample| sample.round == round)?;
        sample.process.map(|process| process.cpu_us_per_request)
    }

    /// CPU per request over another row's, round by round, because the machine's pace drifts
    /// between rounds.
    pub(super) fn ratio_to(&self, baseline: &Self) -> Option<Summary> {
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
            busiest_thread_share: process(|process| process.busiest_thread_share),
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
            tokens_cached: Summary::of(
                samples
                    .iter()
                    .filter_map(|sample| sample.tokens_cached.map(|count| count as f64)),
            ),
            idle: IdleSummary::of(samples),
            reloads: ReloadsSummary::of(samples),
        })
    }
}

impl IdleSummary {
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn of(samples: &[Sample]) -> Option<Self> {
        let bytes = |pick: fn(&Weights) -> u64| {
            let weights = samples.iter().filter_map(|sample| sample.idle.as_ref());
            Summary::of(weights.map(|weights| pick(weights) as f64))
        };
        Some(Self {
            silent_bytes_each: bytes(|it| it.silent_bytes_each)?,
            served_bytes_each: bytes(|it| it.served_bytes_each)?,
            idle_bytes_each: bytes(|it| it.idle_bytes_each)?,
            resident_bytes_before: bytes(|it| it.resident_bytes_before)?,
        })
    }
}

impl ReloadsSummary {
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn of(samples: &[Sample]) -> Option<Self> {
        let all = || samples.iter().filter_map(|sample| sample.reloads.as_ref());
        let every = |pick: fn(&Reloads) -> u64| Summary::of(all().map(|it| pick(it) as f64));
        Some(Self {
            longest_ms: every(|it| it.longest_ms)?,
            p99_us_with: every(|it| it.p99_us_with)?,
            p99_us_without: every(|it| it.p99_us_without)?,
            p99_ratio: Summary::of(all().map(Reloads::p99_ratio))?,
            count: all().map(|it| it.count).sum(),
            failed: all().map(|it| it.failed).sum(),
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
        let mut report = Self {
            version: FORMAT_VERSION,
            machine,
            settings,
            baselines,
            speed_ups: scaling::speed_ups(&rows),
            rows,
            goals: Vec::new(),
        };
        report.goals = goals::judge(&report);
        report
    }

    /// Whether every row can be trusted.
    pub(super) fn is_valid(&self) -> bool {
        self.rows.iter().all(Row::is_valid)
    }

    /// Whether a goal that was measured is missed.
    pub(super) fn misses_goals(&self) -> bool {
        self.goals
            .iter()
            .any(|goal| goal.verdict == Verdict::Missed)
    }

    /// The row of a peer in a scenario, when it can be trusted.
    pub(super) fn valid_row(&self, scenario: &str, peer: &str) -> Option<&Row> {
        let mut rows = self.rows.iter();
        rows.find(|row| row.peer == peer && row.scenario.name == scenario && row.is_valid())
    }

    /// Each scenario once, in the order of the rows.
    pub(super) fn scenarios(&self) -> Vec<&Scenario> {
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
                    let summary = row.summary.as_ref()?;
                    let idle = summary.idle.as_ref().map(|idle| idle.idle_bytes_each);
                    Some(Bar {
                        name: row.peer.to_owned(),
                        value: idle.or(summary.cpu_us_per_request)?,
                        is_ours: row.peer.starts_with("gateway"),
                    })
                })
                .collect();
            let (kind, what) = match scenario.measure {
                Measure::Idle => ("bytes", "bytes each, idle"),
                Measure::Load | Measure::Reload => ("cpu", "CPU µs/request"),
            };
            let unit = format!("{what}: median, least and greatest of the rounds");
            let svg = plot::bars(&scenario.describe(), &unit, &bars);
            plots.push((format!("{kind}-{}.svg", scenario.name), svg));
        }
        let mut lines: Vec<Line> = Vec::new();
        for row in valid().filter(|row| row.scenario.name.starts_with("rate-")) {
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
}

#[cfg(test)]
pub(super) mod fixtures {
    use super::*;

    pub(in crate::peers) fn sample(
        round: u16,
        cpu_us_per_request: f64,
        problems: &[&str],
    ) -> Sample {
        Sample {
            answered: 1_000,
            requests_per_second: 50_000.0,
            p50_us: 900,
            p99_us: 2_000,
            p999_us: 5_000,
            process: Some(ProcessSample {
                cpu_us_per_request,
                core_busy: 0.95,
                resident_bytes: 4 << 20,
                voluntary_switches_per_request: 0.25,
                busiest_thread_share: 1.0,
            }),
            problems: problems.iter().map(ToString::to_string).collect(),
            ..Sample::without_load(round)
        }
    }

    pub(in crate::peers) fn row(scenario: &str, peer: &'static str, samples: Vec<Sample>) -> Row {
        let scenario = scenario.parse().expect("tests name scenarios that exist");
        let mut row = Row::new(&scenario, peer, "about", None);
        row.samples = samples;
        row.sum_up();
        row
    }

    pub(in crate::peers) fn report(rows: Vec<Row>) -> Report {
        report_against(vec!["haproxy"], rows)
    }

    pub(in crate::peers) fn report_against(baselines: Vec<&'static str>, rows: Vec<Row>) -> Report {
        let settings = Settings {
            rounds: 2,
            connections: 64,
            window_seconds: 3.0,
            warmup_seconds: 1.0,
            settle_seconds: 20.0,
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
}

#[cfg(test)]
mod tests {
    use super::fixtures::{report, row, sample};

    #[test]
    fn ratio_is_taken_within_each_round() {
        // The machine ran at half its pace in the second round.
        let report = report(vec![
            row(
                "1k",
                "haproxy",
                vec![sample(0, 10.0, &[]), sample(1, 20.0, &[])],
            ),
            row(
                "1k",
                "gateway",
                vec![sample(0, 11.0, &[]), sample(1, 22.0, &[])],
            ),
        ]);
        let ratio = report.rows[1].ratios[0].ratio.unwrap();
        for value in [ratio.median, ratio.min, ratio.max] {
            assert!((value - 1.1).abs() < 1e-9, "{ratio:?}");
        }
    }
}

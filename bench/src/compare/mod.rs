//! `bench compare`: whether two results differ by more than their noise.

mod mann_whitney;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::cli::CompareArgs;
use crate::output;

/// A difference is one when chance alone would bring it less often than this.
const SIGNIFICANCE: f64 = 0.01;

/// And when it is at least this large, as a part of the old value: a long run finds differences
/// that nobody cares about.
const LEAST_CHANGE: f64 = 0.01;

const HOW: &str = "\
Medians of the readings: of each second of a load, or of each round of a comparison. p is how \
often chance alone would put them so far apart (Mann-Whitney, two-sided); a difference is called \
one below 0.01 and from 1 % on. Seconds that follow each other are alike, and so are runs of one \
hour: when in doubt, run both again, in turn.";

/// What became of a measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Better,
    Worse,
    Noise,
    /// With so few readings nothing could be told apart.
    TooFew,
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "WORSE",
            Self::Noise => "within the noise",
            Self::TooFew => "too few readings to tell",
        }
    }
}

/// One measure of a result, with all of its readings.
#[derive(Debug, PartialEq)]
struct Measure {
    name: String,
    more_is_better: bool,
    readings: Vec<f64>,
}

/// Compares two result files.
///
/// # Errors
/// When a file is no result, or the two have nothing in common.
pub(crate) fn run(arguments: &CompareArgs) -> anyhow::Result<ExitCode> {
    let old = measures(&read(&arguments.old)?).with_context(|| named(&arguments.old))?;
    let new = measures(&read(&arguments.new)?).with_context(|| named(&arguments.new))?;
    let (text, is_worse) = compare(&old, &new)?;
    output::report(&text)?;
    Ok(if is_worse {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn named(path: &Path) -> String {
    format!("`{}`", path.display())
}

fn read(path: &Path) -> anyhow::Result<Value> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", named(path)))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not JSON", named(path)))
}

/// The measures of a result of `bench load` or `bench peers`.
fn measures(result: &Value) -> anyhow::Result<Vec<Measure>> {
    if let Some(seconds) = result["seconds"].as_array() {
        let measure = |name: &str, key, more_is_better| Measure {
            name: name.to_owned(),
            more_is_better,
            readings: seconds.iter().filter_map(|it| it[key].as_f64()).collect(),
        };
        return Ok(vec![
            measure("requests/s", "answered", true),
            measure("mean latency, µs", "mean_us", false),
        ]);
    }
    let Some(rows) = result["rows"].as_array() else {
        bail!("it is no result of `bench load --json` or `bench peers --json` of this version");
    };
    let mut measures = Vec::new();
    for row in rows {
        let (Some(scenario), Some(peer), Some(samples)) = (
            row["scenario"]["name"].as_str(),
            row["peer"].as_str(),
            row["samples"].as_array(),
        ) else {
            bail!("it is a result of another version; measure again");
        };
        for (unit, part, field) in [
            ("CPU µs/request", "process", "cpu_us_per_request"),
            ("bytes each idle", "idle", "idle_bytes_each"),
        ] {
            let reading = |sample: &Value| sample[part][field].as_f64();
            let readings: Vec<f64> = samples.iter().filter_map(reading).collect();
            if !readings.is_empty() {
                measures.push(Measure {
                    name: format!("{scenario} {peer}, {unit}"),
                    more_is_better: false,
                    readings,
                });
            }
        }
    }
    Ok(measures)
}

/// The table, and whether anything became worse.
fn compare(old: &[Measure], new: &[Measure]) -> anyhow::Result<(String, bool)> {
    let mut text = String::new();
    let mut is_worse = false;
    let both = old.iter().filter_map(|old| {
        let other = new.iter().find(|new| new.name == old.name)?;
        Some((old, other))
    });
    for (old, new) in both {
        let [before, after] = [old, new].map(|measure| median(&measure.readings));
        let change = after / before - 1.0;
        let p = mann_whitney::p_value(&old.readings, &new.readings);
        let verdict = judge(old, new, change, p);
        is_worse |= verdict == Verdict::Worse;
        let _ = writeln!(
            text,
            "{:<44} {before:>12.1} → {after:>12.1}  {:>+7.1} %  p = {p:.4}  {}",
            old.name,
            change * 100.0,
            verdict.as_str(),
        );
    }
    if text.is_empty() {
        bail!("the two results have no measure in common");
    }
    Ok((format!("{text}\n{HOW}\n"), is_worse))
}

fn judge(old: &Measure, new: &Measure, change: f64, p: f64) -> Verdict {
    if !can_differ(old.readings.len(), new.readings.len()) {
        Verdict::TooFew
    } else if p >= SIGNIFICANCE || change.abs() < LEAST_CHANGE {
        Verdict::Noise
    } else if (change > 0.0) == old.more_is_better {
        Verdict::Better
    } else {
        Verdict::Worse
    }
}

/// Whether sets of these sizes could be told apart at all: when even two that do not overlap are
/// not rare enough, nothing can.
fn can_differ(old: usize, new: usize) -> bool {
    // Far fewer would do; and the count of orders stays small.
    let [old, new] = [old, new].map(|size| u32::try_from(size.min(10)).unwrap_or(10));
    let low: Vec<f64> = (0..old).map(f64::from).collect();
    let high: Vec<f64> = (old..old + new).map(f64::from).collect();
    mann_whitney::p_value(&low, &high) < SIGNIFICANCE
}

fn median(readings: &[f64]) -> f64 {
    let mut sorted = readings.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn load(rates: impl IntoIterator<Item = u32>) -> Vec<Measure> {
        let seconds: Vec<Value> = rates
            .into_iter()
            .map(|rate| json!({"answered": rate, "mean_us": 1e6 / f64::from(rate)}))
            .collect();
        measures(&json!({ "seconds": seconds })).unwrap()
    }

    #[test]
    fn verdict_follows_direction_size_and_number_of_readings() {
        for (name, old, new, expected) in [
            ("faster", load(100..110), load(120..130), "better"),
            ("slower", load(120..130), load(100..110), "WORSE"),
            ("alike", load(100..110), load(101..111), "within the noise"),
            (
                "small",
                load(100_000..100_010),
                load(100_020..100_030),
                "within the noise",
            ),
            ("few", load(100..103), load(200..203), "too few readings"),
        ] {
            let (text, is_worse) = compare(&old, &new).unwrap();
            assert_eq!(text.matches(expected).count(), 2, "{name}: {text}");
            assert_eq!(is_worse, expected == "WORSE", "{name}");
        }
    }

    #[test]
    fn rows_of_a_comparison_are_found_by_scenario_and_peer() {
        let result = json!({"rows": [
            {"scenario": {"name": "1k"}, "peer": "direct", "samples": [{"process": null}]},
            {"scenario": {"name": "1k"}, "peer": "nginx",
             "samples": [{"process": {"cpu_us_per_request": 12.5}}]},
            {"scenario": {"name": "idle"}, "peer": "nginx",
             "samples": [{"process": null, "idle": {"idle_bytes_each": 500}}]},
        ]});
        let measures = measures(&result).unwrap();
        assert_eq!(measures.len(), 2);
        assert_eq!(measures[1].name, "idle nginx, bytes each idle");
        assert_eq!(measures[1].readings, [500.0]);
        assert_eq!(measures[0].name, "1k nginx, CPU µs/request");
        assert_eq!(measures[0].readings, [12.5]);
        assert!(compare(&measures, &load(1..3)).is_err());
    }

    #[test]
    fn what_is_no_result_is_refused() {
        assert!(measures(&json!({})).is_err());
        assert!(measures(&json!({"rows": [{"body": "1k"}]})).is_err());
    }
}

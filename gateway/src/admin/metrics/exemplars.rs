//! Exemplars of histograms (`OpenMetrics` 1.0, section "Exemplars"): from a slow bucket to a
//! trace. prometheus-client writes only those that its own histograms have gathered, and ours
//! are sums over workers; so they are put into its text.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use crate::telemetry::cells::BUCKETS_MICROS;
use crate::telemetry::exemplars::{ByBucket, Exemplar, Exemplars};
use crate::telemetry::ledger::Ledger;

/// The histogram of requests, and what tells its series apart.
const REQUESTS: (&str, &str) = ("gateway_request_duration_seconds_bucket{", "route");
/// The same of upstreams.
const UPSTREAMS: (&str, &str) = ("gateway_upstream_duration_seconds_bucket{", "upstream");

/// By the beginning of a histogram's lines and the name of the route or upstream.
type Known<'a> = BTreeMap<(&'static str, &'a str), ByBucket>;

/// The same text with exemplars.
pub(super) fn add(text: String, ledger: &Ledger) -> Result<String, fmt::Error> {
    let mut known = Known::new();
    for (route, counts) in ledger.routes() {
        let of_workers = counts.iter().map(|it| &it.duration.exemplars);
        gather(&mut known, (REQUESTS.0, route), of_workers);
    }
    for (upstream, cells) in ledger.upstreams() {
        let of_workers = cells.iter().map(|it| &it.duration.exemplars);
        gather(&mut known, (UPSTREAMS.0, upstream), of_workers);
    }
    if known.is_empty() {
        return Ok(text);
    }
    let mut with = String::with_capacity(text.len() + 4096);
    for line in text.lines() {
        with.push_str(line);
        if let Some(exemplar) = of_line(line, &known) {
            write(&mut with, &exemplar)?;
        }
        with.push('\n');
    }
    Ok(with)
}

fn gather<'a, 'e>(
    known: &mut Known<'a>,
    series: (&'static str, &'a str),
    of_workers: impl Iterator<Item = &'e Exemplars>,
) {
    let mut all = ByBucket::default();
    of_workers.for_each(|exemplars| exemplars.merge_into(&mut all));
    if all.iter().any(Option::is_some) {
        known.insert(series, all);
    }
}

/// The exemplar of a line, where it is that of a bucket that has one. Names of routes and
/// upstreams hold no comma, quote or brace.
fn of_line(line: &str, known: &Known<'_>) -> Option<Exemplar> {
    let families = [REQUESTS, UPSTREAMS];
    let (begin, label) = families.into_iter().find(|it| line.starts_with(it.0))?;
    let (labels, _count) = line[begin.len()..].split_once('}')?;
    let get = |name: &str| {
        let mut pairs = labels.split(',').filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.find(|(known, _)| *known == name)?;
        Some(value.trim_matches('"'))
    };
    let buckets = known.get(&(begin, get(label)?))?;
    buckets[bucket(get("le")?)?]
}

/// The bucket with this upper bound in seconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "bounds are small whole numbers of microseconds"
)]
fn bucket(bound: &str) -> Option<usize> {
    let seconds: f64 = bound.parse().ok()?;
    if seconds.is_infinite() {
        return Some(BUCKETS_MICROS.len());
    }
    let micros = (seconds * 1e6).round();
    let mut bounds = BUCKETS_MICROS.iter();
    bounds.position(|&bound| (bound as f64 - micros).abs() < 0.5)
}

fn write(text: &mut String, exemplar: &Exemplar) -> fmt::Result {
    let Exemplar {
        trace_id,
        micros,
        unix_micros,
    } = exemplar;
    let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
    let (at, at_rest) = (unix_micros / 1_000_000, unix_micros % 1_000_000);
    write!(
        text,
        " # {{trace_id=\"{trace_id:032x}\"}} {seconds}.{rest:06} {at}.{at_rest:06}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_found_by_its_bound_as_it_is_written() {
        for (index, bound) in BUCKETS_MICROS.iter().enumerate() {
            #[expect(clippy::cast_precision_loss, reason = "as above")]
            let written = (*bound as f64 / 1e6).to_string();
            assert_eq!(bucket(&written), Some(index), "{written}");
        }
        assert_eq!(bucket("+Inf"), Some(BUCKETS_MICROS.len()));
        assert_eq!(bucket("0.7"), None);
        assert_eq!(bucket("x"), None);
    }

    #[test]
    fn only_lines_of_buckets_with_an_exemplar_get_one() {
        let mut buckets = ByBucket::default();
        buckets[1] = Some(Exemplar {
            trace_id: 0xabc,
            micros: 1_000,
            unix_micros: 1_700_000_000_000_001,
        });
        let known = Known::from([((REQUESTS.0, "a"), buckets)]);
        let bucket = |name: &str, le: &str| {
            format!("gateway_request_duration_seconds_bucket{{{name},le=\"{le}\"}} 1")
        };
        let found = of_line(&bucket("route=\"a\"", "0.001"), &known).unwrap();
        let mut text = String::new();
        write(&mut text, &found).unwrap();
        assert_eq!(
            text,
            " # {trace_id=\"00000000000000000000000000000abc\"} 0.001000 1700000000.000001"
        );
        for line in [
            bucket("route=\"a\"", "0.0005"),
            bucket("route=\"b\"", "0.001"),
            bucket("upstream=\"a\"", "0.001"),
            "gateway_request_duration_seconds_sum{route=\"a\"} 1".to_owned(),
            "# EOF".to_owned(),
        ] {
            assert_eq!(of_line(&line, &known), None, "{line}");
        }
    }
}

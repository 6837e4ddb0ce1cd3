//! What our gateway is to be, beside its peers, and whether it was in this run.
//!
//! Medians are compared, those of ratios taken round by round. What a run did not measure, or
//! only in rows that are not valid, is *not measured* and not missed.

use serde::Serialize;

use super::report::{Report, Row};
use crate::scenario::{Measure, Scenario};

/// One goal.
struct Goal {
    what: &'static str,
    bound: Bound,
    /// Of the figure in the table: ratios have some, bytes and counts none.
    decimals: usize,
    /// What a run says about it.
    measured: fn(&Report) -> Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

impl Bound {
    fn is_kept_by(self, value: f64) -> bool {
        match self {
            Self::AtMost(bound) => value <= bound,
            Self::AtLeast(bound) => value >= bound,
        }
    }
}

/// What became of a goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Met,
    Missed,
    NotMeasured,
}

impl Verdict {
    /// What the table calls it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Met => "met",
            Self::Missed => "MISSED",
            Self::NotMeasured => "not measured",
        }
    }
}

/// A goal with what this run says about it.
#[derive(Debug, Serialize)]
pub(super) struct Judged {
    pub(super) what: &'static str,
    pub(super) bound: Bound,
    #[serde(skip)]
    pub(super) decimals: usize,
    pub(super) measured: Option<f64>,
    pub(super) verdict: Verdict,
}

const GATEWAY: &str = "gateway";
const GATEWAY_ES256: &str = "gateway-es256";

/// No proxies: what they do is no measure of what a proxy could do.
const NO_PROXIES: [&str; 2] = ["direct", "relay"];

const GOALS: &[Goal] = &[
    Goal {
        what: "1k, cached RS256, CPU/request × the better of haproxy and nginx",
        bound: Bound::AtMost(0.95),
        decimals: 2,
        measured: |report| cpu(report, "1k", GATEWAY, &["haproxy", "nginx"]),
    },
    Goal {
        what: "1k, cached ES256, CPU/request × the better of haproxy and nginx",
        bound: Bound::AtMost(0.95),
        decimals: 2,
        measured: |report| cpu(report, "1k", GATEWAY_ES256, &["haproxy", "nginx"]),
    },
    Goal {
        what: "1k, RS256, CPU/request × haproxy-jwt",
        bound: Bound::AtMost(0.35),
        decimals: 2,
        measured: |report| cpu(report, "1k", GATEWAY, &["haproxy-jwt"]),
    },
    Goal {
        what: "1k, ES256, CPU/request × haproxy-jwt-es256",
        bound: Bound::AtMost(0.18),
        decimals: 2,
        measured: |report| cpu(report, "1k", GATEWAY_ES256, &["haproxy-jwt-es256"]),
    },
    Goal {
        what: "1k, CPU/request × envoy-jwt, both with their token caches",
        bound: Bound::AtMost(0.33),
        decimals: 2,
        measured: |report| cpu(report, "1k", GATEWAY, &["envoy-jwt"]),
    },
    Goal {
        what: "1k, CPU/request × relay",
        bound: Bound::AtMost(1.3),
        decimals: 2,
        measured: |report| cpu(report, "1k", GATEWAY, &["relay"]),
    },
    Goal {
        what: "100k, CPU/request × nginx",
        bound: Bound::AtMost(1.05),
        decimals: 2,
        measured: |report| cpu(report, "100k", GATEWAY, &["nginx"]),
    },
    Goal {
        what: "half-load, p99 × that of the best peer",
        bound: Bound::AtMost(1.0),
        decimals: 2,
        measured: half_load,
    },
    Goal {
        what: "idle, bytes each connection, never served or once",
        bound: Bound::AtMost(4096.0),
        decimals: 0,
        measured: idle,
    },
    Goal {
        what: "1k, CPU/request, 10,000 routes × 10",
        bound: Bound::AtMost(1.03),
        decimals: 2,
        measured: |report| cpu(report, "1k", "gateway-10000-routes", &["gateway-10-routes"]),
    },
    Goal {
        what: "1k, CPU/request, 1,000 endpoints × 2",
        bound: Bound::AtMost(1.05),
        decimals: 2,
        measured: |report| cpu(report, "1k", "gateway-1000-endpoints", &[GATEWAY]),
    },
    Goal {
        what: "reload, failed requests",
        bound: Bound::AtMost(0.0),
        decimals: 0,
        measured: failed_in_reloads,
    },
    Goal {
        what: "reload, p99 of seconds with one × that of the others",
        bound: Bound::AtMost(2.0),
        decimals: 2,
        measured: |report| {
            Some(
                reloaded(report, true)?
                    .summary
                    .as_ref()?
                    .reloads
                    .as_ref()?
                    .p99_ratio
                    .median,
            )
        },
    },
    Goal {
        what: "scaling, two workers × one, at the same load per worker",
        bound: Bound::AtLeast(1.85),
        decimals: 2,
        measured: |report| {
            let mut all = report.speed_ups.iter();
            let ours = all.find(|it| it.peer == GATEWAY && it.is_at_the_same_load_per_worker());
            Some(ours?.times.median)
        },
    },
];

/// Every goal, with what the report says about it.
pub(super) fn judge(report: &Report) -> Vec<Judged> {
    let judged = GOALS.iter().map(|goal| {
        let measured = (goal.measured)(report);
        let kept = measured.map(|value| goal.bound.is_kept_by(value));
        Judged {
            what: goal.what,
            bound: goal.bound,
            decimals: goal.decimals,
            measured,
            verdict: match kept {
                Some(true) => Verdict::Met,
                Some(false) => Verdict::Missed,
                None => Verdict::NotMeasured,
            },
        }
    });
    judged.collect()
}

/// CPU per request over that of whichever of `others` needs least. All of them must have been
/// measured, or the best one might be missing.
fn cpu(report: &Report, scenario: &str, peer: &str, others: &[&str]) -> Option<f64> {
    let mut best: Option<(f64, &Row)> = None;
    for other in others {
        let row = report.valid_row(scenario, other)?;
        let median = row.summary.as_ref()?.cpu_us_per_request?.median;
        if best.is_none_or(|(least, _)| median < least) {
            best = Some((median, row));
        }
    }
    let (_, best) = best?;
    let own = report.valid_row(scenario, peer)?;
    Some(own.ratio_to(best)?.median)
}

fn half_load(report: &Report) -> Option<f64> {
    let scenario = scenario(report, |it| it.name.starts_with("half-load-"))?;
    let p99 = |row: &Row| Some(row.summary.as_ref()?.p99_us.median);
    let is_other = |row: &&Row| {
        row.scenario == *scenario
            && row.is_valid()
            && !row.peer.starts_with(GATEWAY)
            && !NO_PROXIES.contains(&row.peer)
    };
    let others = report.rows.iter().filter(is_other).filter_map(p99);
    let best = others.min_by(f64::total_cmp)?;
    Some(p99(report.valid_row(&scenario.name, GATEWAY)?)? / best)
}

fn idle(report: &Report) -> Option<f64> {
    let scenario = scenario(report, |it| it.measure == Measure::Idle)?;
    let row = report.valid_row(&scenario.name, GATEWAY)?;
    let idle = row.summary.as_ref()?.idle.as_ref()?;
    Some(
        idle.silent_bytes_each
            .median
            .max(idle.idle_bytes_each.median),
    )
}

/// Also where they are what makes the row invalid.
#[expect(clippy::cast_precision_loss, reason = "zero or not is the question")]
fn failed_in_reloads(report: &Report) -> Option<f64> {
    let reloads = reloaded(report, false)?
        .summary
        .as_ref()?
        .reloads
        .as_ref()?;
    Some(reloads.failed as f64)
}

fn reloaded(report: &Report, is_valid: bool) -> Option<&Row> {
    let ours = |row: &&Row| row.peer == GATEWAY && row.scenario.measure == Measure::Reload;
    let row = report.rows.iter().find(ours)?;
    (row.is_valid() || !is_valid).then_some(row)
}

fn scenario(report: &Report, is_it: impl Fn(&Scenario) -> bool) -> Option<&Scenario> {
    report.scenarios().into_iter().find(|it| is_it(it))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idle::Weights;
    use crate::peers::measure::Sample;
    use crate::peers::reload::Reloads;
    use crate::peers::report::fixtures::{report, row, sample};

    fn verdict(report: &Report, what: &str) -> (Verdict, Option<f64>) {
        let mut goals = report
            .goals
            .iter()
            .filter(|goal| goal.what.starts_with(what));
        let goal = goals.next().unwrap();
        assert!(goals.next().is_none(), "{what}");
        (goal.verdict, goal.measured)
    }

    fn cpu_of(scenario: &str, peer: &'static str, cpu: f64) -> Row {
        row(scenario, peer, vec![sample(0, cpu, &[])])
    }

    #[test]
    fn the_better_peer_is_what_counts_and_both_must_be_there() {
        let what = "1k, cached RS256";
        let rows = || vec![cpu_of("1k", "gateway", 9.5), cpu_of("1k", "haproxy", 20.0)];
        assert_eq!(verdict(&report(rows()), what), (Verdict::NotMeasured, None));
        for (nginx, expected) in [(10.0, Verdict::Met), (9.0, Verdict::Missed)] {
            let mut rows = rows();
            rows.push(cpu_of("1k", "nginx", nginx));
            let report = report(rows);
            assert_eq!(verdict(&report, what), (expected, Some(9.5 / nginx)));
            assert_eq!(report.misses_goals(), expected == Verdict::Missed);
        }
    }

    #[test]
    fn rows_that_are_not_valid_are_not_measured() {
        let broken = row("100k", "nginx", vec![sample(0, 10.0, &["1 × timeout"])]);
        let report = report(vec![cpu_of("100k", "gateway", 10.0), broken]);
        assert_eq!(verdict(&report, "100k").0, Verdict::NotMeasured);
        assert!(!report.misses_goals());
    }

    #[test]
    fn best_peer_at_half_load_is_a_proxy_of_others() {
        let at = |peer, p99_us| {
            let sample = Sample {
                p99_us,
                ..sample(0, 10.0, &[])
            };
            row("half-load-500", peer, vec![sample])
        };
        let report = report(vec![
            at("gateway", 500),
            at("gateway-open", 100),
            at("direct", 10),
            at("relay", 20),
            at("nginx", 400),
            at("envoy", 900),
        ]);
        let expected = (Verdict::Missed, Some(1.25));
        assert_eq!(verdict(&report, "half-load"), expected);
    }

    #[test]
    fn failed_requests_miss_the_goal_and_make_the_rest_not_measured() {
        for (failed, problems, expected) in [
            (0, &[][..], [Verdict::Met, Verdict::Met]),
            (
                3,
                &["3 × reset"][..],
                [Verdict::Missed, Verdict::NotMeasured],
            ),
        ] {
            let mut sample = sample(0, 10.0, problems);
            sample.reloads = Some(Reloads {
                count: 2,
                longest_ms: 100,
                failed,
                p99_us_with: 300,
                p99_us_without: 200,
            });
            let report = report(vec![row("reload-500", "gateway", vec![sample])]);
            let found = ["reload, failed", "reload, p99"].map(|it| verdict(&report, it).0);
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn a_connection_weighs_what_it_weighs_at_its_heaviest() {
        let mut sample = Sample::without_load(0);
        sample.idle = Some(Weights {
            connections: 10,
            resident_bytes_before: 1,
            silent_bytes_each: 2_000,
            served_bytes_each: 9_000,
            idle_bytes_each: 5_000,
            closed: 0,
        });
        let report = report(vec![row("idle", "gateway", vec![sample])]);
        assert_eq!(verdict(&report, "idle"), (Verdict::Missed, Some(5_000.0)));
    }

    #[test]
    fn goals_name_peers_that_exist() {
        let names = crate::peers::names();
        for name in [
            "gateway-10-routes",
            "gateway-10000-routes",
            "gateway-1000-endpoints",
        ]
        .iter()
        .chain(&NO_PROXIES)
        .chain(&[GATEWAY, GATEWAY_ES256, "haproxy-jwt-es256", "envoy-jwt"])
        {
            assert!(names.contains(name), "{name}");
        }
    }
}

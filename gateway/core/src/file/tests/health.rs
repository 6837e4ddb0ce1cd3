//! `outlier_detection` and `health_check` of an upstream.

use std::time::Duration;

use expect_test::expect_file;

use super::*;
use crate::cluster::health::{CheckThresholds, OutlierRules, SuccessRateRule};

fn file(keys: &str) -> String {
    format!(
        "version: 1
upstreams:
  users: {{static: [\"127.0.0.1:9001\"], {keys}}}
routes: [{{name: all, match: {{path_prefix: /}}, auth: none, backends: [{{upstream: users}}]}}]
"
    )
}

#[test]
fn outlier_detection_is_on_unless_the_file_says_otherwise() {
    let rules = |keys: &str| compiled(&file(keys)).plan.clusters[0].outliers;
    assert_eq!(rules(""), OutlierRules::default());
    assert_eq!(rules("outlier_detection: {}"), OutlierRules::default());
    let all = "outlier_detection: {consecutive_gateway_failures: 0, consecutive_5xx: 7, \
               success_rate: {threshold: 90%, min_requests: 10, window: 30s}, \
               ejection_time: 2s, max_ejection_time: 1m, max_ejected: 34%, panic_threshold: 0%}";
    assert_eq!(
        rules(all),
        OutlierRules {
            consecutive_gateway_failures: 0,
            consecutive_5xx: 7,
            success_rate: SuccessRateRule {
                percent_min: 90,
                requests_min: 10,
                window_ms: 30_000,
            },
            ejection_ms_min: 2_000,
            ejection_ms_max: 60_000,
            ejected_percent_max: 34,
            panic_percent: 0,
        }
    );
    let long = rules("outlier_detection: {ejection_time: 2m}");
    assert_eq!(long.ejection_ms_max, 120_000, "never below the first one");
}

#[test]
fn checks_are_off_unless_the_file_asks_for_them() {
    let check = |keys: &str| compiled(&file(keys)).settings.health_checks[0].clone();
    assert_eq!(check(""), None);
    let small = check("health_check: {path: /healthz}").unwrap();
    assert_eq!(small.path, "/healthz");
    assert_eq!((small.host.as_ref(), small.jitter_percent), (None, 10));
    assert_eq!(
        (small.interval, small.timeout),
        (Duration::from_secs(5), Duration::from_secs(1))
    );
    let thresholds = CheckThresholds {
        healthy: 2,
        unhealthy: 3,
    };
    assert_eq!(small.thresholds, thresholds);
    let expected = |check: &super::super::HealthCheck| {
        [199, 200, 204, 299, 300, 503].map(|status| check.is_expected(status))
    };
    assert_eq!(expected(&small), [false, true, true, true, false, false]);
    let full = check(
        "health_check: {path: '/up?full=1', host: 'users.internal:80', interval: 200ms, \
         timeout: 50ms, jitter: 0%, healthy_threshold: 1, unhealthy_threshold: 4, \
         expected_status: [204, 503]}",
    );
    let full = full.unwrap();
    assert_eq!(full.path, "/up?full=1");
    assert_eq!(full.host.as_ref().unwrap(), "users.internal:80");
    assert_eq!(
        (full.interval, full.timeout),
        (Duration::from_millis(200), Duration::from_millis(50))
    );
    assert_eq!((full.jitter_percent, full.thresholds.unhealthy), (0, 4));
    assert_eq!(expected(&full), [false, false, true, false, false, true]);
    let short = check("health_check: {path: /, interval: 200ms}").unwrap();
    assert_eq!(short.timeout, short.interval, "never above the interval");
}

#[test]
fn what_is_out_of_range_is_refused_with_its_remedy() {
    let mut report = String::new();
    for keys in [
        "outlier_detection: {consecutive_5x: 5}",
        "outlier_detection: {consecutive_gateway_failures: 1001, consecutive_5xx: 1001}",
        "outlier_detection: {success_rate: {threshold: 80, min_requests: 0, window: 1ms}}",
        "outlier_detection: {success_rate: 80%}",
        "outlier_detection: {ejection_time: 1ms, max_ejection_time: 2h}",
        "outlier_detection: {ejection_time: 20s, max_ejection_time: 10s}",
        "outlier_detection: {max_ejected: 101%, panic_threshold: 0.5}",
        "health_check: {}",
        "health_check: {path: healthz}",
        "health_check: {path: '/a b'}",
        "health_check: {path: /, host: 'a b'}",
        "health_check: {path: /, interval: 1ms}",
        "health_check: {path: /, interval: 1s, timeout: 2s}",
        "health_check: {path: /, timeout: 0s, jitter: 60%}",
        "health_check: {path: /, healthy_threshold: 0, unhealthy_threshold: 101}",
        "health_check: {path: /, expected_status: [100, 600]}",
        "health_check: {path: /, expected_status: [2xx]}",
        "health_check: {path: /, threshold: 2}",
    ] {
        let problems = problems(&file(keys));
        writeln!(report, "{keys}\n{problems}").unwrap();
    }
    assert!(!report.contains("nothing is wrong"), "{report}");
    let has_remedy = |line: &str| !line.ends_with("NO REMEDY");
    assert!(report.lines().all(has_remedy), "{report}");
    expect_file!["broken/health.txt"].assert_eq(&report);
}

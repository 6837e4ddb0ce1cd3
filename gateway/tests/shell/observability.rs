//! The list of metrics, the dashboard and the alert rules are those of the gateway that runs.
//!
//! The queries themselves are parsed by Prometheus's grammar among the real parts
//! (`gateway/tests/operating`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::support::eventually;
use crate::support::lively::Lively;
use crate::support::metric_list::{Listed, alerts, dashboard, listed, repository};

/// What these panels show, as Grafana names it.
const PANELS: [&str; 3] = ["row", "stat", "timeseries"];
/// Grafana's grid.
const COLUMNS: u64 = 24;

#[test]
fn the_list_of_metrics_and_the_gateway_say_the_same() {
    let lively = Lively::start();
    let listed = listed();
    let found = eventually("each metric has a series", || {
        let metrics = lively.gateway.metrics();
        let families = metrics.types.iter().map(|(family, kind)| {
            let suffix = if kind == "counter" { "_total" } else { "" };
            let labels = metrics.labels(family)?;
            let name = format!("{family}{suffix}");
            let labels: BTreeSet<_> = labels.into_iter().map(str::to_owned).collect();
            Some((name, (kind.clone(), labels)))
        });
        families.collect::<Option<BTreeMap<_, _>>>()
    });
    let listed: BTreeMap<_, _> = listed
        .into_iter()
        .map(|(name, it)| (name, (it.kind, it.labels)))
        .collect();
    for (name, found) in &found {
        let help = "add it to docs/metrics.md, or correct its row there";
        assert_eq!(listed.get(name), Some(found), "{name}: {help}");
    }
    for name in listed.keys() {
        assert!(found.contains_key(name), "{name} is listed and not served");
    }
}

#[test]
fn a_metric_s_name_tells_its_type_and_unit() {
    for (name, Listed { kind, unit, .. }) in listed() {
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name}");
        let is_of_seconds = name.contains("_seconds");
        assert_eq!(is_of_seconds, unit.ends_with("seconds"), "{name}: {unit}");
        assert_eq!(name.ends_with("_bytes"), unit == "bytes", "{name}: {unit}");
        let of_process = name.starts_with("process_");
        assert!(of_process || name.starts_with("gateway_"), "{name}");
    }
}

#[test]
fn dashboard_and_alerts_name_no_other_metric() {
    let listed = listed();
    for (file, text) in [("dashboard", dashboard()), ("alerts", alerts())] {
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        let mut count = 0;
        for word in words {
            let is_metric = word.starts_with("gateway_") || word.starts_with("process_");
            if !is_metric {
                continue;
            }
            count += 1;
            let of_histogram = ["_bucket", "_count", "_sum"].iter().any(|suffix| {
                let family = word.strip_suffix(suffix).and_then(|name| listed.get(name));
                family.is_some_and(|it| it.kind == "histogram")
            });
            let is_listed = listed.get(word).is_some_and(|it| it.kind != "histogram");
            assert!(is_listed || of_histogram, "{file}: {word}");
        }
        assert!(count > 20, "{file}: {count} metrics");
    }
}

fn array<'v>(value: &'v Value, at: &str) -> &'v [Value] {
    let found = value[at].as_array();
    found.unwrap_or_else(|| panic!("`{at}` of {value} is no list"))
}

fn text<'v>(value: &'v Value, at: &str) -> &'v str {
    let found = value[at].as_str().filter(|text| !text.is_empty());
    found.unwrap_or_else(|| panic!("`{at}` of {value} is no text"))
}

#[test]
fn the_dashboard_is_one_that_grafana_reads() {
    let dashboard: Value = serde_json::from_str(&dashboard()).expect("it is JSON");
    for at in ["title", "uid", "description", "refresh"] {
        text(&dashboard, at);
    }
    assert!(dashboard["schemaVersion"].as_u64() >= Some(36));
    assert!(text(&dashboard, "uid").len() <= 40);
    assert!(
        dashboard.get("id").is_none_or(Value::is_null),
        "Grafana's own"
    );
    let panels = array(&dashboard, "panels");
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "each has an id of its own");
    assert!(!ids.contains(&None));
    panels.iter().for_each(check_panel);
    check_grid(panels);
    check_variables(&dashboard);
}

fn check_panel(panel: &Value) {
    let title = text(panel, "title");
    let kind = text(panel, "type");
    assert!(PANELS.contains(&kind), "{title}: {kind}");
    if kind == "row" {
        assert_eq!(panel["panels"], Value::Array(vec![]), "{title}");
        return;
    }
    text(panel, "description");
    text(&panel["fieldConfig"]["defaults"], "unit");
    assert_eq!(panel["datasource"]["type"], "prometheus", "{title}");
    let targets = array(panel, "targets");
    let names: BTreeSet<_> = targets.iter().map(|it| text(it, "refId")).collect();
    assert!(
        !targets.is_empty() && names.len() == targets.len(),
        "{title}"
    );
    for target in targets {
        text(target, "expr");
        assert_eq!(target["datasource"], panel["datasource"], "{title}");
        let is_named = kind == "stat" || !text(target, "legendFormat").is_empty();
        assert!(is_named, "{title}");
    }
}

/// Panels lie within the grid, and none upon another.
fn check_grid(panels: &[Value]) {
    let mut taken = BTreeMap::new();
    for panel in panels {
        let title = text(panel, "title");
        let place = &panel["gridPos"];
        let [x, y, width, height] = ["x", "y", "w", "h"].map(|at| place[at].as_u64().expect(at));
        assert!(width > 0 && height > 0 && x + width <= COLUMNS, "{title}");
        for cell in (x..x + width).flat_map(|x| (y..y + height).map(move |y| (x, y))) {
            let below = taken.insert(cell, title);
            assert_eq!(below, None, "{title} lies upon it");
        }
    }
}

/// Variables that queries use are there, and those that are there are used.
fn check_variables(dashboard: &Value) {
    let variables = array(&dashboard["templating"], "list");
    let names: BTreeSet<_> = variables.iter().map(|it| text(it, "name")).collect();
    let panels = dashboard["panels"].to_string();
    let used = panels.split('$').skip(1).map(|rest| {
        let rest = rest.trim_start_matches('{');
        let end = rest.find(|it: char| !it.is_ascii_alphanumeric() && it != '_');
        &rest[..end.unwrap_or(rest.len())]
    });
    // Grafana's own begin with two underscores.
    let used: BTreeSet<_> = used.filter(|name| !name.starts_with("__")).collect();
    assert_eq!(used, names);
}

#[test]
fn each_alert_says_how_bad_it_is_and_what_to_do() {
    let rules: Value = serde_saphyr::from_str(&alerts()).expect("it is YAML");
    let groups = array(&rules, "groups");
    let mut names = Vec::new();
    for rule in groups.iter().flat_map(|group| array(group, "rules")) {
        let name = text(rule, "alert");
        names.push(name);
        text(rule, "expr");
        let severity = text(&rule["labels"], "severity");
        assert!(["page", "ticket"].contains(&severity), "{name}: {severity}");
        for at in ["summary", "description"] {
            text(&rule["annotations"], at);
        }
        let anchor = format!("docs/alerts.md#{}", name.to_lowercase());
        assert_eq!(text(&rule["annotations"], "runbook"), anchor);
    }
    let guide = repository("docs/alerts.md");
    let described: Vec<_> = guide
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .collect();
    assert_eq!(described, names, "in the order of the rules");
}

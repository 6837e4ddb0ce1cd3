//! The queries of the dashboard and the alert rules: they are `PromQL`, and each metric and label in
//! them is one that a running gateway has.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde::Deserialize;
use serde_json::Value;

use crate::installed;
use crate::support::eventually;
use crate::support::lively::Lively;
use crate::support::metric_list::{alerts, dashboard};
use crate::support::metrics::Metrics;

/// Labels that Prometheus adds.
const OF_THE_SCRAPE: [&str; 2] = ["instance", "job"];
/// What Grafana puts in for its own variables, as a length of time.
const RATE_INTERVAL: (&str, &str) = ("$__rate_interval", "5m");

/// A query, and where it stands.
struct Query {
    place: String,
    text: String,
    /// What is said beside it, which may name labels.
    words: String,
}

/// What a query asks for.
#[derive(Deserialize)]
struct Asked {
    /// Names and the labels by which they are selected.
    selectors: Vec<(String, Vec<String>)>,
    /// Labels by which results are put together.
    grouping: Vec<String>,
}

#[test]
fn each_query_is_promql_and_asks_for_what_a_gateway_has() {
    let lively = Lively::start();
    let queries: Vec<_> = of_dashboard().into_iter().chain(of_alerts()).collect();
    assert!(queries.len() > 60, "{} queries", queries.len());
    let asked = parse(&queries);
    assert_eq!(asked.len(), queries.len());
    // What is counted of what goes on by itself may take a moment.
    eventually("each metric has a series", || {
        let metrics = lively.gateway.metrics();
        let mut families = metrics.types.keys();
        families
            .all(|family| metrics.labels(family).is_some())
            .then_some(())
    });
    let metrics = lively.gateway.metrics();
    for (query, asked) in queries.iter().zip(&asked) {
        check(&metrics, query, asked);
    }
}

fn check(metrics: &Metrics, query: &Query, asked: &Asked) {
    let place = &query.place;
    assert!(!asked.selectors.is_empty(), "{place}: asks for nothing");
    let mut all: BTreeSet<&str> = OF_THE_SCRAPE.into();
    for (name, labels) in &asked.selectors {
        let has = labels_of(metrics, name).unwrap_or_else(|| panic!("{place}: no metric {name}"));
        for label in labels {
            let label = label.as_str();
            let is_there = has.contains(label) || OF_THE_SCRAPE.contains(&label);
            assert!(is_there, "{place}: {name} has no label {label}: {has:?}");
        }
        all.extend(has);
    }
    let said = query.words.split("$labels.").skip(1);
    let said = said.map(|rest| rest.split([' ', '}']).next().unwrap_or_default());
    for label in asked.grouping.iter().map(String::as_str).chain(said) {
        assert!(
            all.contains(label),
            "{place}: nothing has the label {label}"
        );
    }
}

/// The labels of a metric by the name that Prometheus stores.
fn labels_of<'m>(metrics: &'m Metrics, name: &str) -> Option<BTreeSet<&'m str>> {
    let is = |family: &str, kind: &str| metrics.types.get(family).is_some_and(|it| it == kind);
    if is(name, "gauge") {
        return metrics.labels(name);
    }
    if let Some(family) = name.strip_suffix("_total").filter(|it| is(it, "counter")) {
        return metrics.labels(family);
    }
    let (family, suffix) = name.rsplit_once('_')?;
    let mut labels = metrics.labels(family).filter(|_| is(family, "histogram"))?;
    match suffix {
        "bucket" => labels.insert("le"),
        "count" | "sum" => true,
        _ => return None,
    };
    Some(labels)
}

fn of_dashboard() -> Vec<Query> {
    let dashboard: Value = serde_json::from_str(&dashboard()).expect("it is JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| {
        let targets = panel["targets"].as_array().map(Vec::as_slice);
        targets
            .unwrap_or_default()
            .iter()
            .map(move |target| (&panel["title"], target))
    });
    let of_panels = targets.map(|(title, target)| Query {
        place: format!("the panel {title}"),
        text: text(&target["expr"]).replace(RATE_INTERVAL.0, RATE_INTERVAL.1),
        words: text(&target["legendFormat"]).replace("{{", "$labels."),
    });
    let variables = dashboard["templating"]["list"].as_array().expect("them");
    let of_variables = variables.iter().filter(|it| it["type"] == "query");
    let of_variables = of_variables.map(|variable| {
        let definition = text(&variable["definition"]);
        let values = definition
            .strip_prefix("label_values(")
            .and_then(|it| it.strip_suffix(')'))
            .and_then(|it| it.split_once(", "));
        let (metric, label) = values.unwrap_or_else(|| panic!("{definition}"));
        Query {
            place: format!("the variable {}", variable["name"]),
            text: metric.to_owned(),
            words: format!("$labels.{label}"),
        }
    });
    of_panels.chain(of_variables).collect()
}

fn of_alerts() -> Vec<Query> {
    let rules: Value = serde_saphyr::from_str(&alerts()).expect("it is YAML");
    let groups = rules["groups"].as_array().expect("groups");
    let rules = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().expect("rules"));
    let queries = rules.map(|rule| Query {
        place: format!("the alert {}", rule["alert"]),
        text: text(&rule["expr"]),
        words: rule["annotations"].to_string(),
    });
    queries.collect()
}

fn text(value: &Value) -> String {
    let text = value.as_str();
    text.unwrap_or_else(|| panic!("{value} is no text")).into()
}

/// Has the queries parsed; panics with the first that is none.
fn parse(queries: &[Query]) -> Vec<Asked> {
    let texts: Vec<_> = queries.iter().map(|query| &query.text).collect();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/operating/promql.py");
    let mut parser = Command::new(installed("PROMQL_PYTHON"))
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the Python that ./copilotw.sh test has installed");
    let input = serde_json::to_vec(&texts).expect("texts are JSON");
    let mut stdin = parser.stdin.take().expect("piped");
    stdin.write_all(&input).expect("it reads");
    drop(stdin);
    let output = parser.wait_with_output().expect("it ends");
    assert!(output.status.success(), "above is the query that is none");
    serde_json::from_slice(&output.stdout).expect("what the script writes")
}

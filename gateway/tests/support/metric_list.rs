//! The list of metrics in the docs, and the files that are made for it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// What the list says of one metric.
#[derive(Debug, PartialEq)]
pub(crate) struct Listed {
    /// `counter`, `gauge` or `histogram`.
    pub(crate) kind: String,
    pub(crate) labels: BTreeSet<String>,
    pub(crate) unit: String,
}

/// A file of the repository.
pub(crate) fn repository(path: &str) -> String {
    let gateway = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let path = gateway.parent().expect("it is in the workspace").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The Grafana dashboard.
pub(crate) fn dashboard() -> String {
    repository("gateway/observability/dashboard.json")
}

/// The alert rules for Prometheus.
pub(crate) fn alerts() -> String {
    repository("gateway/observability/alerts.yaml")
}

/// The rows of `docs/metrics.md`, by the names that Prometheus stores.
pub(crate) fn listed() -> BTreeMap<String, Listed> {
    let mut all = BTreeMap::new();
    for line in repository("docs/metrics.md").lines() {
        let Some(row) = line.strip_prefix("| `") else {
            continue;
        };
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [name, kind, labels, unit, meaning, ""] = cells[..] else {
            panic!("not a row of five cells: {line}");
        };
        let name = name.trim_end_matches('`').to_owned();
        assert!(!meaning.is_empty() && !unit.is_empty(), "{name}");
        let labels = labels.split(", ").map(|label| label.trim_matches('`'));
        let labels = labels.filter(|label| !label.is_empty());
        let listed = Listed {
            kind: kind.to_owned(),
            labels: labels.map(str::to_owned).collect(),
            unit: unit.to_owned(),
        };
        let earlier = all.insert(name, listed);
        assert_eq!(earlier, None, "twice: {line}");
    }
    all
}

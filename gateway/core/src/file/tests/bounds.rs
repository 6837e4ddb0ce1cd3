//! What doc comments say of ranges and defaults is what the checks go by: each end of each range
//! is taken, what lies beyond is refused, and a default that is written changes nothing.

use serde_json::{Map, Value, json};

use super::*;
use crate::file::bounds::{Bounds, Kind};
use crate::file::schema::plain;
use crate::words::units::{ByteSize, HumanDuration};

/// Values that have no range of their own.
const WITHOUT: [&str; 8] = [
    // The one version.
    "version",
    // Between other keys.
    "upstreams.sample.limits.adaptive.initial",
    // Shares from 0% to 100%.
    "access_log.sample.rate",
    "routes[0].access_log.rate",
    "tracing.sampling.rate",
    // Whole ones.
    "upstreams.sample.outlier_detection.max_ejected",
    "upstreams.sample.outlier_detection.panic_threshold",
    "upstreams.sample.outlier_detection.success_rate.threshold",
];
/// Fewer would mean that they are not found any more.
const RANGES_MIN: usize = 60;
const DEFAULTS_MIN: usize = 60;

/// A file into which each value is written in its turn. Where two keys bound each other, the
/// other one leaves room.
const BASE: &str = r#"
version: 1
upgrade: {socket: /run/gateway/upgrade.sock}
jwt_providers:
  sample:
    issuer: https://issuer.example/
    audiences: [api]
    algorithms: [RS256]
    jwks_uri: https://issuer.example/keys
    revocations: {url: "https://issuer.example/revoked"}
upstreams:
  users: {static: ["127.0.0.1:9001"]}
  sample: {static: ["127.0.0.1:9001"], health_check: {path: /}}
routes:
  - {name: sample, match: {path_prefix: /}, auth: none, backends: [{upstream: users}]}
"#;

/// What stands beside a value, by the end of the place of its map.
const BESIDE: [(&str, &str); 5] = [
    (
        ".cloud_map",
        r#"{"namespace": "a.internal", "service": "a"}"#,
    ),
    (".dns", r#"{"name": "a.internal", "port": 80}"#),
    (".static[0]", r#"{"address": "127.0.0.1:9001"}"#),
    (".consistent_hash", r#"{"header": "x-key"}"#),
    (".respond", r#"{"status": 200}"#),
];
/// What must go where this is there.
const INSTEAD: [(&str, &str, &str); 4] = [
    ("upstreams.sample", "cloud_map", "static"),
    ("upstreams.sample", "dns", "static"),
    ("upstreams.sample", "file", "static"),
    ("routes[0]", "respond", "backends"),
];
/// What another key must be for all of a range to be taken, by the end of its place.
const ROOM: [(&str, &str, &str); 8] = [
    ("health_check.timeout", "interval", "10m"),
    ("outlier_detection.ejection_time", "max_ejection_time", "1h"),
    ("sample.max_refresh_interval", "refresh_interval", "10s"),
    ("sample.max_refresh_interval", "max_stale", "30d"),
    ("sample.min_refresh_interval", "refresh_interval", "1d"),
    ("sample.min_refresh_interval", "max_stale", "30d"),
    ("sample.refresh_interval", "max_stale", "30d"),
    ("dns.max_ttl", "min_ttl", "1s"),
];

#[derive(Clone, Debug)]
enum Step {
    Key(String),
    First,
}

#[derive(Clone, Debug)]
struct Bounded {
    steps: Vec<Step>,
    place: String,
    kind: Kind,
    told: Bounds,
}

/// Every number, duration, size and share of a routes file.
fn all() -> Vec<Bounded> {
    let schema = plain().to_value();
    let mut found = Vec::new();
    walk(&schema, &schema, &[], &[], &mut found);
    found
}

fn walk(root: &Value, schema: &Value, steps: &[Step], within: &[&str], found: &mut Vec<Bounded>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.rsplit('/').next().expect("a name");
        if !within.contains(&name) {
            let within = [within, &[name]].concat();
            walk(root, &root["$defs"][name], steps, &within, found);
        }
        return;
    }
    let then = |step| [steps, &[step]].concat();
    for (key, value) in schema["properties"].as_object().into_iter().flatten() {
        let steps = then(Step::Key(key.clone()));
        let map = value.as_object();
        match map.and_then(|map| Some((Kind::of(map)?, map))) {
            Some((kind, map)) => {
                let description = map["description"].as_str().unwrap_or_default();
                found.push(Bounded {
                    place: place(&steps),
                    steps,
                    kind,
                    told: Bounds::told(kind, description),
                });
            }
            None => walk(root, value, &steps, within, found),
        }
    }
    if schema["additionalProperties"].is_object() {
        let steps = then(Step::Key("sample".to_owned()));
        walk(root, &schema["additionalProperties"], &steps, within, found);
    }
    if schema["items"].is_object() {
        walk(root, &schema["items"], &then(Step::First), within, found);
    }
    for forms in ["anyOf", "oneOf"] {
        for form in schema[forms].as_array().into_iter().flatten() {
            walk(root, form, steps, within, found);
        }
    }
}

fn place(steps: &[Step]) -> String {
    steps.iter().fold(String::new(), |place, step| match step {
        Step::Key(key) if place.is_empty() => key.clone(),
        Step::Key(key) => format!("{place}.{key}"),
        Step::First => format!("{place}[0]"),
    })
}

impl Bounded {
    /// The file with this value, or with all that stands beside it.
    fn file(&self, value: Option<&Value>) -> String {
        let mut file: Value = serde_saphyr::from_str(BASE).expect("it is YAML");
        let mut at = &mut file;
        for (index, step) in self.steps.iter().enumerate() {
            let here = place(&self.steps[..index]);
            at = match step {
                Step::First => {
                    if !at.is_array() {
                        *at = json!([null]);
                    }
                    &mut at[0]
                }
                Step::Key(key) => {
                    let map = map_at(at, &here);
                    for (_, _, gone) in INSTEAD.iter().filter(|it| (it.0, it.1) == (&here, key)) {
                        map.remove(*gone);
                    }
                    for (_, other, room) in ROOM.iter().filter(|it| self.place.ends_with(it.0)) {
                        if index + 1 == self.steps.len() {
                            map.insert((*other).to_owned(), (*room).into());
                        }
                    }
                    map.entry(key.as_str()).or_insert(Value::Null)
                }
            };
        }
        match value {
            Some(value) => *at = value.clone(),
            None => remove_nulls(&mut file),
        }
        file.to_string()
    }

    /// What is wrong with this value, in a file where all else is good.
    fn refusal(&self, value: &Value) -> Option<String> {
        let problems = try_read(&self.file(Some(value))).err()?;
        let mut here = problems.iter().filter(|it| it.path == self.place);
        here.next().map(|it| it.message.clone())
    }

    /// The value just beyond an end.
    fn beyond(&self, end: &Value, up: bool) -> Option<Value> {
        let next = |number: u64| {
            if up {
                Some(number + 1)
            } else {
                number.checked_sub(1)
            }
        };
        match self.kind {
            Kind::Number => next(end.as_u64()?).map(Value::from),
            Kind::Size => next(end.as_str()?.parse::<ByteSize>().ok()?.0).map(Value::from),
            Kind::Percent => {
                let share = next(end.as_str()?.strip_suffix('%')?.parse().ok()?)?;
                Some(format!("{share}%").into())
            }
            Kind::Duration => {
                let duration = end.as_str()?.parse::<HumanDuration>().ok()?.0;
                let next = next(u64::try_from(duration.as_millis()).ok()?)?;
                Some(format!("{next}ms").into())
            }
        }
    }
}

fn map_at<'a>(at: &'a mut Value, place: &str) -> &'a mut Map<String, Value> {
    if !at.is_object() {
        let beside = BESIDE.iter().find(|(end, _)| place.ends_with(end));
        let text = beside.map_or("{}", |(_, text)| text);
        *at = serde_json::from_str(text).expect("it is JSON");
    }
    at.as_object_mut().expect("it is a map now")
}

fn remove_nulls(value: &mut Value) {
    if let Value::Object(map) = value {
        map.retain(|_, value| !value.is_null());
    }
    match value {
        Value::Object(map) => map.values_mut().for_each(remove_nulls),
        Value::Array(items) => items.iter_mut().for_each(remove_nulls),
        _ => {}
    }
}

#[test]
fn every_range_says_what_is_taken_and_what_is_not() {
    let mut complaints = Vec::new();
    let mut ranges = 0;
    for bounded in all() {
        let (place, told) = (&bounded.place, &bounded.told);
        let ends = [(&told.least, false), (&told.most, true)];
        let ends: Vec<_> = ends
            .iter()
            .filter_map(|(end, up)| Some((end.as_ref()?, *up)))
            .collect();
        let is_exempt = WITHOUT.contains(&place.as_str());
        if ends.is_empty() != is_exempt {
            complaints.push(format!(
                "{place}: its doc comment says its range, as `1 ms to 60 s; default 1 s` does, or \
                 it is among those WITHOUT"
            ));
        }
        ranges += usize::from(!ends.is_empty());
        for (end, up) in ends {
            if let Some(message) = bounded.refusal(end) {
                complaints.push(format!("{place}: {end} is refused: {message}"));
            }
            let beyond = bounded.beyond(end, up);
            if let Some(beyond) = beyond.filter(|it| bounded.refusal(it).is_none()) {
                complaints.push(format!("{place}: {beyond} is taken, beyond {end}"));
            }
        }
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
    assert!(ranges >= RANGES_MIN, "{ranges}");
}

#[test]
fn a_default_that_is_written_changes_nothing() {
    let mut complaints = Vec::new();
    let mut defaults = 0;
    for bounded in all() {
        let Some(default) = &bounded.told.default else {
            continue;
        };
        let without = bounded.file(None);
        // Some are needed beside another key, or cannot be left out.
        let Ok(without) = try_read(&without) else {
            continue;
        };
        defaults += 1;
        let with = match try_read(&bounded.file(Some(default))) {
            Ok(with) => with,
            Err(problems) => {
                complaints.push(format!("{}: {problems}", bounded.place));
                continue;
            }
        };
        let (with, without) = (shown(&with), shown(&without));
        if with != without {
            complaints.push(format!(
                "{}: {default} is not what holds without it",
                bounded.place
            ));
        }
    }
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
    assert!(defaults >= DEFAULTS_MIN, "{defaults}");
}

fn shown(compiled: &Compiled) -> String {
    format!("{:?} {:?}", compiled.plan, compiled.settings)
}

//! What the doc comment of a value says of its range and its default, for the schema.
//!
//! The comment is the source, in the words that all of them use: `1 ms to 60 s; default 1 s`. That
//! the checks agree with it is tested at both ends of every range (`tests/bounds.rs`).

use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::{Map, Value};

use crate::words::units::ByteSize;

/// Ends of a range that is no range of numbers: editors show them, and validators pass them over.
pub(super) const LEAST: &str = "x-minimum";
pub(super) const MOST: &str = "x-maximum";

const QUANTITY: &str = r"\d[\d,]*(?:\.\d+)?(?:%| ?(?:ms|s|min|m|h|d|B|KiB|MiB|GiB)\b)?";

/// The first that is found counts. The ends are named `least` and `most`; one that another key
/// names is not known here.
static RANGES: LazyLock<[Regex; 4]> = LazyLock::new(|| {
    [
        format!(r"(?<least>{QUANTITY}) to (?<most>{QUANTITY})"),
        format!(r"up to (?<most>{QUANTITY})"),
        format!(r"` to (?<most>{QUANTITY})"),
        format!(r"from (?<least>{QUANTITY})[;.,]"),
    ]
    .map(|pattern| Regex::new(&pattern).expect("it is an expression"))
});
static DEFAULT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(&format!(r"[Dd]efault (?<default>{QUANTITY})")).expect("it is an expression")
});

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Number,
    Duration,
    Size,
    Percent,
}

impl Kind {
    /// The kind of a schema's values; `None` for all that has no range.
    pub(super) fn of(schema: &Map<String, Value>) -> Option<Self> {
        let types = match schema.get("type")? {
            Value::Array(types) => types.clone(),
            one => vec![one.clone()],
        };
        let example = schema.get("examples").and_then(|it| it[0].as_str());
        match example {
            Some("250ms") => Some(Self::Duration),
            Some("64KiB") => Some(Self::Size),
            Some("10%") => Some(Self::Percent),
            Some(_) => None,
            None => types.contains(&"integer".into()).then_some(Self::Number),
        }
    }

    /// What stands in a doc comment, as it stands in a routes file.
    fn written(self, text: &str) -> Value {
        let text = text.replace([',', ' '], "");
        match self {
            Self::Number => text.parse::<u64>().map_or(Value::Null, Value::from),
            Self::Percent | Self::Size => text.into(),
            Self::Duration => match text.replace("min", "m") {
                zero if zero == "0" => "0s".into(),
                text => in_milliseconds(&text).unwrap_or(text).into(),
            },
        }
    }
}

/// `1.5s` as a routes file has it.
fn in_milliseconds(text: &str) -> Option<String> {
    let (whole, tenths) = text.strip_suffix('s')?.split_once('.')?;
    let (whole, tenths) = (whole.parse::<u64>().ok()?, tenths.parse::<u64>().ok()?);
    // Further digits stay as they are, and are refused as the gateway refuses them.
    (tenths < 10).then(|| format!("{}ms", whole * 1000 + tenths * 100))
}

/// What is said of a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) least: Option<Value>,
    pub(super) most: Option<Value>,
    pub(super) default: Option<Value>,
}

impl Bounds {
    pub(super) fn told(kind: Kind, description: &str) -> Self {
        let found = RANGES.iter().find_map(|it| it.captures(description));
        let default = DEFAULT.captures(description);
        let part = |found: &Option<Captures<'_>>, name| {
            let text = found.as_ref()?.name(name)?;
            Some(kind.written(text.as_str())).filter(|it| !it.is_null())
        };
        Self {
            least: part(&found, "least"),
            most: part(&found, "most"),
            default: part(&default, "default"),
        }
    }
}

/// Adds to a schema what its description says.
pub(super) fn add(schema: &mut Map<String, Value>) {
    let Some(kind) = Kind::of(schema) else { return };
    let Some(description) = schema.get("description").and_then(Value::as_str) else {
        return;
    };
    let Bounds {
        least,
        most,
        default,
    } = Bounds::told(kind, description);
    let (least_key, most_key) = match kind {
        Kind::Number | Kind::Size => ("minimum", "maximum"),
        Kind::Duration | Kind::Percent => (LEAST, MOST),
    };
    let mut set = |key: &str, value: Option<Value>| {
        schema.extend(value.map(|value| (key.to_owned(), value)));
    };
    // A size may be a number too, and a bound is one.
    set(least_key, least.map(|it| in_bytes(kind, it)));
    set(most_key, most.map(|it| in_bytes(kind, it)));
    set("default", default);
}

fn in_bytes(kind: Kind, value: Value) -> Value {
    let size = value.as_str().filter(|_| kind == Kind::Size);
    match size.map(str::parse::<ByteSize>) {
        Some(Ok(size)) => size.0.into(),
        _ => value,
    }
}

//! The routes file as a JSON Schema, made from the same types that read it: for completion, hover
//! and checks in an editor. `reference.rs` makes the page for people of it.

use std::borrow::Cow;

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::transform::{RecursiveTransform, Transform, transform_subschemas};
use schemars::{JsonSchema, Schema, json_schema};
use serde_json::{Map, Value, json};

use super::bounds;
use super::load_balancers::Switch;
use super::{AccessLogFormat, Address, NameServer, Network, RetryCondition, RoutesFile};
use crate::auth::claims::Pattern;
use crate::config::TextOr;
use crate::words::percent::Percent;
use crate::words::rate::Rate;
use crate::words::units::{ByteSize, HumanDuration};

/// The dialect that editors know.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// Text with a variable, which stands for a value of any kind.
const VARIABLE: &str = r"\$\{";

/// The JSON Schema (draft 2020-12) of the routes file.
///
/// Whatever it refuses, `gateway check` refuses; ranges of durations and shares, and what refers to
/// something else, are checked by `gateway check` alone. Those ranges stand there all the same, as
/// `x-minimum` and `x-maximum`.
#[must_use]
pub fn schema() -> Value {
    let mut schema = plain();
    // What a file leaves out, another one that includes it or that it includes may have.
    schema.remove("required");
    Variables.transform(&mut schema);
    schema.to_value()
}

/// The same without what variables may stand for.
pub(super) fn plain() -> Schema {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<RoutesFile>();
    let object = schema.ensure_object();
    object.insert("$schema".into(), DIALECT.into());
    object.insert("title".into(), "Routes file of the gateway".into());
    RecursiveTransform(|schema: &mut Schema| {
        join_lines(schema);
        drop_formats(schema);
        schema.as_object_mut().into_iter().for_each(bounds::add);
    })
    .transform(&mut schema);
    schema
}

/// Doc comments are wrapped for the source; editors wrap by themselves. What rustdoc would link
/// is text to others.
fn join_lines(schema: &mut Schema) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        let paragraphs: Vec<_> = text.split("\n\n").map(|it| it.replace('\n', " ")).collect();
        *text = paragraphs.join("\n\n");
    }
}

/// `uint32` is no format that JSON Schema knows.
fn drop_formats(schema: &mut Schema) {
    let is_number = schema.get("type").is_some_and(|it| it != "string");
    if is_number {
        schema.remove("format");
    }
}

/// Where a number, a boolean or a word stands, a variable may stand as well.
struct Variables;

impl Transform for Variables {
    fn transform(&mut self, schema: &mut Schema) {
        let Some(object) = schema.as_object_mut() else {
            return;
        };
        if is_words(object) {
            // The words themselves are what they are.
            or_variable(object);
        } else {
            allow_text(object);
            transform_subschemas(self, schema);
        }
    }
}

fn or_variable(object: &mut Map<String, Value>) {
    let description = object.remove("description");
    let words = Value::Object(std::mem::take(object));
    let variable = json!({ "type": "string", "pattern": VARIABLE });
    object.insert("anyOf".into(), json!([words, variable]));
    object.extend(description.map(|text| ("description".to_owned(), text)));
}

fn allow_text(object: &mut Map<String, Value>) {
    let mut types = match object.get("type") {
        Some(Value::String(one)) => vec![Value::from(one.as_str())],
        Some(Value::Array(several)) => several.clone(),
        _ => return,
    };
    let is_plain = |it: &Value| *it == "integer" || *it == "number" || *it == "boolean";
    if types.iter().any(is_plain) && !types.contains(&"string".into()) {
        types.push("string".into());
        object.insert("type".into(), types.into());
        // A bound on numbers says nothing of text, and a pattern nothing of numbers.
        object.insert("pattern".into(), VARIABLE.into());
    }
}

/// Whether it is one of several words.
fn is_words(schema: &Map<String, Value>) -> bool {
    let is_word = |it: &Value| it.get("const").is_some_and(Value::is_string);
    let alternatives = schema.get("oneOf").and_then(Value::as_array);
    schema.contains_key("enum")
        || alternatives
            .is_some_and(|all| all.iter().all(|it| is_word(it) || it.get("enum").is_some()))
}

/// Text of a certain form, or with a variable.
fn text(pattern: &str, examples: &[&str]) -> Schema {
    json_schema!({
        "type": "string",
        "pattern": format!("{pattern}|{VARIABLE}"),
        "examples": examples,
    })
}

macro_rules! schema_of {
    ($type:ty, $name:literal, $schema:expr) => {
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

schema_of!(
    HumanDuration,
    "duration",
    text("^([0-9]+ *(ms|s|m|h|d) *)+$", &["250ms", "10s", "1m30s"])
);
schema_of!(Percent, "share", text("^[0-9]+%$", &["10%"]));
schema_of!(
    Rate,
    "rate",
    text("^[0-9]+(\\.[0-9]{1,4})?%$", &["10%", "0.5%"])
);
schema_of!(
    AccessLogFormat,
    "format of lines",
    json_schema!({
        "anyOf": [
            { "enum": AccessLogFormat::WORDS },
            { "type": "string", "pattern": format!("%\\{{|{VARIABLE}"),
              "examples": ["%{client} \"%{method} %{path}\" %{status} %{duration_us}"] },
        ],
    })
);
schema_of!(
    Address,
    "address",
    text("^[0-9a-fA-F.:\\[\\]]+:[0-9]+$", &["127.0.0.1:8080"])
);
schema_of!(
    Network,
    "network",
    text("^[0-9a-fA-F.:]+/[0-9]+$", &["10.0.0.0/16"])
);
schema_of!(
    NameServer,
    "name server",
    text("^[0-9a-fA-F.:\\[\\]]+$", &["10.0.0.2", "127.0.0.1:5353"])
);
schema_of!(
    ByteSize,
    "size",
    json_schema!({
        "type": ["string", "integer"],
        "pattern": format!("^[0-9]+ *([kKmMgG][iI]?)?[bB]?$|{VARIABLE}"),
        "minimum": 0,
        "examples": ["64KiB", "10MB", 4096],
    })
);
schema_of!(Switch, "switch", json_schema!({ "type": "boolean" }));
schema_of!(
    Pattern,
    "pattern",
    json_schema!({ "type": "string", "format": "regex" })
);
schema_of!(
    RetryCondition,
    "condition",
    json_schema!({
        "anyOf": [
            { "enum": RetryCondition::WORDS },
            { "type": "integer", "minimum": 429, "maximum": 599 },
        ],
    })
);

impl<T: JsonSchema, M: JsonSchema> JsonSchema for TextOr<T, M> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}_or_{}", T::schema_name(), M::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let text = generator.subschema_for::<T>();
        let other = generator.subschema_for::<M>();
        json_schema!({ "anyOf": [text, other] })
    }
}

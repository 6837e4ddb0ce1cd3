//! The schema that ships is the one of the types, and so is the page for people.
//! `UPDATE_EXPECT=1 cargo test -p gateway-core` writes both anew.

use boon::{Compiler, SchemaIndex, Schemas};
use expect_test::expect_file;
use serde_json::Value;

use super::good::{FULL, SMALLEST};
use crate::file::{reference, schema};

thread_local! {
    /// The schema, ready to judge.
    static JUDGE: (Schemas, SchemaIndex) = judge();
}

fn judge() -> (Schemas, SchemaIndex) {
    let (mut compiler, mut schemas) = (Compiler::new(), Schemas::new());
    compiler
        .add_resource("routes-file", schema())
        .expect("it is a resource");
    let index = compiler
        .compile("routes-file", &mut schemas)
        .expect("it is a schema");
    (schemas, index)
}

/// Why the schema refuses a file; it may take what the gateway refuses, never the other way round.
pub(super) fn refusal(text: &str) -> Option<String> {
    // As editors read it, by YAML 1.2: `off` is a word.
    let options = serde_saphyr::options! { strict_booleans: true };
    let value = match serde_saphyr::from_str_with_options::<Value>(text, options) {
        Ok(value) => value,
        Err(error) => return Some(error.to_string()),
    };
    JUDGE.with(|(schemas, index)| {
        let refused = schemas.validate(&value, *index).err();
        refused.map(|error| format!("{error:#}"))
    })
}

#[test]
fn what_is_no_routes_file_is_refused() {
    for (from, to) in [
        ("version: 1", "version: one"),
        ("upstreams:", "upstream:"),
        ("workers: 2", "workers: 257"),
        ("headers: 50", "headers: 0"),
        ("drain: 15s", "drain: 15 seconds"),
        ("[RS256, ES256]", "[RS255]"),
    ] {
        assert!(FULL.contains(from), "{from}");
        let broken = FULL.replacen(from, to, 1);
        assert!(refusal(&broken).is_some(), "{to}");
    }
    assert_eq!(refusal(SMALLEST), None);
}

#[test]
fn the_schema_that_ships_is_current() {
    let text = serde_json::to_string_pretty(&schema()).expect("it is JSON") + "\n";
    expect_file!["../../../../../docs/routes-file.schema.json"].assert_eq(&text);
}

#[test]
fn the_reference_of_options_is_current() {
    expect_file!["../../../../../docs/routes-file.md"].assert_eq(&reference());
}

#[test]
fn every_key_is_described_and_every_map_refuses_strangers() {
    let schema = schema();
    let types = schema["$defs"].as_object().expect("a map").iter();
    let root = [("RoutesFile", &schema)];
    for (name, one) in types.map(|(name, one)| (name.as_str(), one)).chain(root) {
        let Some(keys) = one["properties"].as_object() else {
            continue;
        };
        assert_eq!(one["additionalProperties"], Value::Bool(false), "{name}");
        for (key, value) in keys {
            assert!(value["description"].is_string(), "{name}.{key}");
        }
    }
}

//! The schema that ships is the one of the types, and so is the page for people.
//! `UPDATE_EXPECT=1 cargo test -p gateway-core` writes both anew.

use expect_test::expect_file;
use serde_json::Value;

use crate::file::{reference, schema};

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

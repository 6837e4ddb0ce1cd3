//! A type with one key of each kind.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::sample::{Algorithm, Auth, Balancer};
use crate::words::units::{ByteSize, HumanDuration};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only decoding matters here")]
pub(super) struct Small {
    port: Option<u16>,
    signed: Option<i32>,
    ratio: Option<f64>,
    flag: Option<bool>,
    name: Option<String>,
    wait: Option<HumanDuration>,
    size: Option<ByteSize>,
    #[serde(default)]
    list: Vec<String>,
    #[serde(default)]
    map: BTreeMap<String, u8>,
    #[serde(default)]
    ports: BTreeMap<u16, String>,
    nested: Option<Nested>,
    pair: Option<(u8, HumanDuration)>,
    algorithm: Option<Algorithm>,
    balancer: Option<Balancer>,
    auth: Option<Auth>,
    any: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only decoding matters here")]
struct Nested {
    a: u8,
    b: String,
    wait: HumanDuration,
}

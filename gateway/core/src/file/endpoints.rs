//! Lists of addresses: `static`, and the files that `file` names.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Address;
use crate::cluster::Instance;
use crate::config::{Bounds, Problems, Source, TextOr, decode_data, item, join};

/// Bytes of one file of endpoints.
pub const ENDPOINT_FILE_BYTES_MAX: usize = 1024 * 1024;

/// Endpoints of one list: ten times what Cloud Map allows a service.
const ENDPOINTS_MAX: usize = 10_000;
/// Scalars, lists and maps of one file: a map of six for each endpoint, with some attributes.
const NODES_MAX: usize = ENDPOINTS_MAX * 16;
/// Attributes of one endpoint; Cloud Map's own bound on an instance's.
pub(super) const ATTRIBUTES_MAX: usize = 30;
/// Bytes of an attribute's name; Cloud Map's own bound.
const ATTRIBUTE_NAME_BYTES_MAX: usize = 255;
/// Bytes of an attribute's value; Cloud Map's own bound.
const ATTRIBUTE_VALUE_BYTES_MAX: usize = 1024;
/// The largest weight, that of SRV records (RFC 2782).
const WEIGHT_MAX: u32 = 65_535;
/// Bytes of a zone's name.
const ZONE_BYTES_MAX: usize = 64;

pub(super) const ZONE_HELP: &str = "write it as AWS does, such as `eu-west-1a`";

/// One endpoint, as written: `127.0.0.1:9001`, or a map that says more of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(from = "TextOr<Address, EndpointMap>")]
pub struct EndpointSpec(EndpointMap);

/// One endpoint, as a map.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointMap {
    /// An IP address and a port: `127.0.0.1:9001`.
    pub address: Address,
    /// Its availability zone; default none.
    #[serde(default)]
    pub zone: Option<String>,
    /// Its share of requests relative to the others of the list, 1 to 65535; default 1.
    #[serde(default)]
    pub weight: Option<u32>,
    /// What else is to be known of it, for subsets: up to 30 names with values.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
}

impl From<TextOr<Address, EndpointMap>> for EndpointSpec {
    fn from(written: TextOr<Address, EndpointMap>) -> Self {
        Self(match written {
            TextOr::Text(address) => EndpointMap {
                address,
                zone: None,
                weight: None,
                attributes: BTreeMap::new(),
            },
            TextOr::Other(map) => map,
        })
    }
}

/// A snapshot of one file of endpoints: a list as that of `static`, YAML or JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointFile {
    /// Its endpoints, at least one.
    pub instances: Vec<Instance>,
}

impl EndpointFile {
    /// Reads a file's text.
    ///
    /// # Errors
    /// Everything that is wrong with it, an empty list included; the caller keeps what it had.
    pub fn parse(source: Source<'_>) -> Result<Self, Problems> {
        let bounds = Bounds {
            bytes: ENDPOINT_FILE_BYTES_MAX,
            nodes: NODES_MAX,
        };
        let (entries, positions) = decode_data::<Vec<EndpointSpec>>(source, bounds)?;
        let mut problems = Problems::new(&source);
        let instances = compile(&entries, "", &mut |place, message, help| {
            problems.add(&positions, place, message, Some(help));
        });
        problems.into_result()?;
        Ok(Self { instances })
    }
}

/// What the entries of a list mean; what is wrong goes to `problem` as place, message and help.
pub(super) fn compile(
    entries: &[EndpointSpec],
    at: &str,
    problem: &mut dyn FnMut(String, String, String),
) -> Vec<Instance> {
    if entries.is_empty() {
        problem(
            at.into(),
            "the list of addresses is empty".into(),
            "write at least one, such as `127.0.0.1:9001`".into(),
        );
    }
    if entries.len() > ENDPOINTS_MAX {
        problem(
            at.into(),
            format!("the list has {} addresses", entries.len()),
            format!("write {ENDPOINTS_MAX} at the most"),
        );
    }
    let mut seen = HashSet::with_capacity(entries.len());
    for (index, EndpointSpec(entry)) in entries.iter().enumerate() {
        let place = item(at, index);
        let address = entry.address.0;
        if address.port() == 0 {
            problem(place.clone(), NO_PORT.into(), PORT_HELP.into());
        }
        if !seen.insert(address) {
            problem(
                place.clone(),
                format!("`{address}` is listed twice"),
                "remove one; an endpoint that is to get more requests has a `weight`".into(),
            );
        }
        check_map(entry, &place, problem);
    }
    entries
        .iter()
        .map(|EndpointSpec(entry)| instance(entry))
        .collect()
}

pub(super) const NO_PORT: &str = "port 0 cannot be connected to";
pub(super) const PORT_HELP: &str = "write the port that the endpoint listens on";

fn check_map(entry: &EndpointMap, at: &str, problem: &mut dyn FnMut(String, String, String)) {
    if let Some(zone) = &entry.zone
        && !is_zone(zone)
    {
        problem(
            join(at, "zone"),
            format!("`{zone}` is not the name of a zone"),
            ZONE_HELP.into(),
        );
    }
    if let Some(weight) = entry.weight
        && !(1..=WEIGHT_MAX).contains(&weight)
    {
        problem(
            join(at, "weight"),
            format!("{weight} is out of range"),
            format!("write a number from 1 to {WEIGHT_MAX}"),
        );
    }
    check_attributes(&entry.attributes, &join(at, "attributes"), problem);
}

/// Names with values, within Cloud Map's own bounds.
pub(super) fn check_attributes(
    attributes: &BTreeMap<String, String>,
    at: &str,
    problem: &mut dyn FnMut(String, String, String),
) {
    if attributes.len() > ATTRIBUTES_MAX {
        problem(
            at.into(),
            format!("there are {} attributes", attributes.len()),
            format!("write {ATTRIBUTES_MAX} at the most"),
        );
    }
    for (name, value) in attributes {
        let is_name = (1..=ATTRIBUTE_NAME_BYTES_MAX).contains(&name.len());
        if !is_name || value.len() > ATTRIBUTE_VALUE_BYTES_MAX {
            problem(
                join(at, name),
                "the attribute is empty or too long".into(),
                format!(
                    "write a name of 1 to {ATTRIBUTE_NAME_BYTES_MAX} bytes, and a value of \
                     {ATTRIBUTE_VALUE_BYTES_MAX} at the most"
                ),
            );
        }
    }
}

pub(super) fn is_zone(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=ZONE_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_plain)
}

fn instance(entry: &EndpointMap) -> Instance {
    let address: SocketAddr = entry.address.0;
    Instance {
        zone: entry.zone.as_deref().map(Arc::from),
        weight: entry.weight.unwrap_or(1),
        attributes: Arc::new(entry.attributes.clone()),
        ..Instance::at(address)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use expect_test::expect;

    use super::*;

    fn parse(text: &str) -> String {
        let name = "endpoints.yaml";
        match EndpointFile::parse(Source { name, text }) {
            Ok(file) => {
                let lines = file.instances.iter().map(|it| {
                    let zone = it.zone.as_deref().unwrap_or("-");
                    format!("{} {zone} {} {:?}\n", it.address, it.weight, it.attributes)
                });
                lines.collect()
            }
            Err(problems) => format!("{}\n", problems.brief(9)),
        }
    }

    #[test]
    fn a_file_is_a_list_of_addresses_or_maps_in_yaml_or_json() {
        let yaml = "- 127.0.0.1:1\n- {address: '[::1]:2', zone: eu-west-1a, weight: 3, \
                    attributes: {version: '2'}}\n";
        let json = r#"["127.0.0.1:1", {"address": "[::1]:2", "zone": "eu-west-1a",
                    "weight": 3, "attributes": {"version": "2"}}]"#;
        let expected = expect![[r#"
            127.0.0.1:1 - 1 {}
            [::1]:2 eu-west-1a 3 {"version": "2"}
        "#]];
        expected.assert_eq(&parse(yaml));
        assert_eq!(parse(json), parse(yaml));
    }

    #[test]
    fn what_is_no_list_of_endpoints_is_refused_whole() {
        let mut report = String::new();
        for text in [
            "",
            "[]",
            "{address: '127.0.0.1:1'}",
            "['127.0.0.1:1', users:80]",
            "['127.0.0.1:0']",
            "['127.0.0.1:1', {address: '127.0.0.1:1', weight: 2}]",
            "[{address: '127.0.0.1:1', weight: 0}]",
            "[{address: '127.0.0.1:1', weight: 65536}]",
            "[{address: '127.0.0.1:1', zone: 'a b'}]",
            "[{address: '127.0.0.1:1', zones: a}]",
            "[{adress: '127.0.0.1:1'}]",
            "[{address: '127.0.0.1:1', attributes: {'': a}}]",
        ] {
            write!(report, "{text}\n  {}", parse(text)).unwrap();
        }
        expect![[r"

              line 1: the file is empty
            []
              line 1: the list of addresses is empty
            {address: '127.0.0.1:1'}
              line 1: expected a list, found a map
            ['127.0.0.1:1', users:80]
              line 1: [1]: `users:80` is not an address
            ['127.0.0.1:0']
              line 1: [0]: port 0 cannot be connected to
            ['127.0.0.1:1', {address: '127.0.0.1:1', weight: 2}]
              line 1: [1]: `127.0.0.1:1` is listed twice
            [{address: '127.0.0.1:1', weight: 0}]
              line 1: [0].weight: 0 is out of range
            [{address: '127.0.0.1:1', weight: 65536}]
              line 1: [0].weight: 65536 is out of range
            [{address: '127.0.0.1:1', zone: 'a b'}]
              line 1: [0].zone: `a b` is not the name of a zone
            [{address: '127.0.0.1:1', zones: a}]
              line 1: [0]: unknown key `zones`
            [{adress: '127.0.0.1:1'}]
              line 1: [0]: unknown key `adress`
            [{address: '127.0.0.1:1', attributes: {'': a}}]
              line 1: [0].attributes: a key is empty
        "]]
        .assert_eq(&report);
    }

    #[test]
    fn more_endpoints_or_attributes_than_the_bound_are_refused() {
        let address = |index: usize| format!("- 10.0.{}.{}:1\n", index / 250, index % 250);
        let many = |count| (0..count).map(address).collect::<String>();
        assert_eq!(parse(&many(ENDPOINTS_MAX)).lines().count(), ENDPOINTS_MAX);
        assert!(parse(&many(ENDPOINTS_MAX + 1)).contains("has 10001 addresses"));
        let pairs = (0..=ATTRIBUTES_MAX).map(|index| format!("a{index}: b"));
        let pairs: Vec<_> = pairs.collect();
        let text = format!(
            "[{{address: '127.0.0.1:1', attributes: {{{}}}}}]",
            pairs.join(", ")
        );
        assert!(parse(&text).contains("there are 31 attributes"));
    }
}

//! Where endpoints come from, and what is known of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::super::{CloudMap, Dns, DnsName, EndpointSource};
use super::compiled;
use super::good::SMALLEST;
use crate::cluster::Instance;

#[test]
fn endpoints_come_with_what_their_source_is_told() {
    let source = |text: &str| {
        let file = SMALLEST.to_owned() + "upstreams:\n  users: " + text + "\n";
        let mut sources = compiled(&file).settings.endpoint_sources;
        sources.remove(0)
    };
    let second = Duration::from_secs;
    let srv = |min_ttl, max_ttl| {
        EndpointSource::Dns(Dns {
            name: DnsName::Srv("_http._tcp.users.internal".into()),
            min_ttl: second(min_ttl),
            max_ttl: second(max_ttl),
        })
    };
    let attributes = BTreeMap::from([("version".to_owned(), "2".to_owned())]);
    let one = Instance {
        zone: Some("eu-west-1a".into()),
        weight: 3,
        attributes: Arc::new(attributes.clone()),
        ..Instance::at("[::1]:9001".parse().unwrap())
    };
    let two = Instance::at("127.0.0.1:9002".parse().unwrap());
    let cloud_map = CloudMap {
        endpoint: None,
        namespace: "a".into(),
        service: "b".into(),
        attributes,
        port: None,
        interval: second(5),
        revision_interval: Duration::from_millis(500),
    };
    for (text, expected) in [
        (
            "{static: [{address: '[::1]:9001', zone: eu-west-1a, weight: 3, attributes: {version: '2'}}, '127.0.0.1:9002']}",
            EndpointSource::Static(vec![one, two]),
        ),
        ("{dns: {srv: _http._tcp.users.internal}}", srv(5, 30)),
        (
            "{dns: {srv: _http._tcp.users.internal, min_ttl: 1m}}",
            srv(60, 60),
        ),
        (
            "{file: {path: /etc/users.yaml}}",
            EndpointSource::File("/etc/users.yaml".into()),
        ),
        (
            "{cloud_map: {namespace: a, service: b, attributes: {version: '2'}, revision_interval: 500ms}}",
            EndpointSource::CloudMap(cloud_map),
        ),
    ] {
        assert_eq!(source(text), expected, "{text}");
    }
}

#[test]
fn the_gateways_zone_is_what_the_file_says_or_nothing() {
    for (zone, expected) in [
        ("", None),
        ("zone: eu-west-1a\n", Some("eu-west-1a")),
        ("zone: '${NOT_SET:-}'\n", None),
    ] {
        let settings = compiled(&format!("{SMALLEST}{zone}")).settings;
        assert_eq!(settings.zone.as_deref(), expected, "{zone}");
    }
}

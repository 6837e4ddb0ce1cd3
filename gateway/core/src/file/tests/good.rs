//! Good files compile to what they say.

use std::num::NonZeroU16;
use std::time::Duration;

use http::{HeaderMap, Method};
use jsonwebtoken::Algorithm;

use super::super::{AccessLogOutput, DnsName, EndpointSource, KeyPlace, SecretEncoding};
use super::*;
use crate::auth::{Auth, Credential, Policy};
use crate::path::CleanPath;
use crate::plan::{Action, Connections, Route};
use crate::route::{Outcome, Request};

pub(super) const SMALLEST: &str = "
version: 1
routes: [{name: all, match: {path_prefix: /}, auth: none, respond: {status: 204}}]
";

pub(super) const FULL: &str = r#"
version: 1
listeners: [{address: "127.0.0.1:${PORT}"}, {address: "[::1]:8081"}]
admin: {address: "127.0.0.1:9191"}
workers: 2
access_log: {format: json, output: ./access.log}
limits:
  head_size: 32KiB
  headers: 50
  target_size: 4KiB
  head_timeout: 5s
  idle_timeout: 1m15s
  send_timeout: 20s
  body_timeout: 25s
  connections: 500
  requests_per_connection: 1000
shutdown: {lame_duck: 1s, drain: 15s}
upgrade: {socket: /run/gateway/upgrade.sock, timeout: 90s}
dns: {servers: [10.0.0.2, "127.0.0.1:5353", "fd00::2", "[fd00::3]:54"], timeout: 500ms}
forwarded: {trusted_proxies: [10.0.0.0/8, "fd00::/8"], send_standard: true}
state_directory: /var/lib/gateway
jwt_providers:
  main:
    issuer: https://issuer.example/
    audiences: [api, admin]
    algorithms: [RS256, ES256]
    jwks_uri: https://issuer.example/.well-known/jwks.json
    clock_skew: 10s
    refresh_interval: 1m
    max_token_size: 8KiB
  local: {issuer: local, audiences: [api], algorithms: [EdDSA], jwks_file: /etc/keys.json}
internal_identity: {issuer: edge, lifetime: 30s, rotation: 12h, header: X-Edge-Token}
api_keys:
  partners: {file: /etc/api-keys.yaml, header: X-Partner-Key}
  robots: {file: robots.json}
upstreams:
  users:    {cloud_map: {namespace: "${NAMESPACE}", service: users, port: 8080, interval: 10s}, identity: users}
  products: {cloud_map: {namespace: "${NAMESPACE}", service: products}}
  legacy:   {static: ["127.0.0.1:9001", "127.0.0.1:9002"], load_balancer: least_request}
  byname:   {dns: {name: api.internal, port: 8080}, connect_timeout: 250ms, connections: {idle: 4, idle_timeout: 5s, lifetime: 1m, user_timeout: 3s, keep_alive: 2s, head_start: 100ms}}
defaults: {timeout: 8s, retries: {attempts: 1, per_try_timeout: 2s}, max_request_body: 1MiB}
routes:
  - name: users
    match: {path_prefix: /users, methods: [GET]}
    auth:
      jwt: main
      require: {scopes: {all: ["users:read"]}, claims: {tenant: {any_of: [a, b]}}}
      claims_to_headers: {sub: x-user-id, tenant: x-tenant}
    timeout: 3s
    retries: {attempts: 0}
    backends: [{upstream: users, weight: 90}, {upstream: legacy, weight: 10}]
  - name: products
    match: {path_prefix: /products}
    auth: {jwt: local}
    retries: {per_try_timeout: 500ms}
    max_request_body: 0
    backends: [{upstream: products}]
  - {name: byname, match: {path_pattern: "/n/{rest...}"}, auth: none, backends: [{upstream: byname}]}
  - {name: status, match: {path: /status}, auth: none, respond: {status: 200, body: '{}', content_type: application/json}}
  - {name: keys, match: {path: /keys}, auth: none, respond: internal_jwks}
"#;

fn policy(route: &Route) -> &Policy {
    match route.auth.policies() {
        [policy] => policy,
        other => panic!("{} has {} policies", route.name, other.len()),
    }
}

/// The backends' clusters by name.
fn backends(compiled: &Compiled, route: usize) -> Vec<&str> {
    let Action::Forward(backends) = &compiled.plan.routes[route].action else {
        panic!("the route answers by itself");
    };
    let clusters = backends.clusters();
    clusters
        .map(|cluster| &*compiled.plan.clusters[cluster].name)
        .collect()
}

#[test]
fn the_smallest_file_has_the_documented_defaults() {
    let Compiled { plan, settings, .. } = compiled(SMALLEST);
    assert_eq!(settings.listeners, ["0.0.0.0:8080".parse().unwrap()]);
    assert_eq!(settings.admin, "127.0.0.1:9090".parse().unwrap());
    assert_eq!(settings.workers, None);
    assert_eq!(settings.access_log, Some(AccessLogOutput::Stdout));
    let limits = &settings.limits;
    assert_eq!(limits.head.head_bytes_max, 64 * 1024);
    assert_eq!(limits.head.headers_max, 100);
    assert_eq!(limits.head.target_bytes_max, 8 * 1024);
    assert_eq!(limits.head_timeout, Duration::from_secs(10));
    assert_eq!(limits.idle_timeout, Duration::from_secs(75));
    assert_eq!(limits.send_timeout, Duration::from_secs(30));
    assert_eq!(limits.body_timeout, Duration::from_secs(30));
    assert_eq!(limits.connections_max, 10_000);
    assert_eq!(limits.requests_per_connection_max, 10_000);
    assert_eq!(settings.shutdown.lame_duck, Duration::from_secs(5));
    assert_eq!(settings.shutdown.drain, Duration::from_secs(20));
    assert_eq!(settings.upgrade, None);
    assert!(settings.name_servers.addresses.is_empty());
    assert_eq!(settings.name_servers.timeout, Duration::from_secs(1));
    assert!(plan.forwarded.trusted_proxies.is_empty() && !plan.forwarded.is_standard_sent);

    let route = &plan.routes[0];
    assert!(matches!(route.auth, Auth::Open));
    assert_eq!(route.timeout, Duration::from_secs(10));
    assert_eq!((route.retries.tries_max, route.per_try_timeout), (3, None));
    assert_eq!(route.body_bytes_max, 10 * 1024 * 1024);
    let Action::Respond(response) = &route.action else {
        panic!("it forwards");
    };
    assert_eq!(response.status.as_u16(), 204);
    assert_eq!(response.content_type, "text/plain; charset=utf-8");
    assert!(response.body.is_empty());
}

#[test]
fn lists_of_api_keys_have_a_file_and_a_header() {
    let Compiled { plan, settings, .. } = compiled(FULL);
    let lists: Vec<_> = plan
        .api_keys
        .iter()
        .map(|list| (&*list.name, list.header.as_str()))
        .collect();
    assert_eq!(
        lists,
        [("partners", "x-partner-key"), ("robots", "x-api-key")]
    );
    assert_eq!(
        settings.api_key_files,
        ["/etc/api-keys.yaml", "robots.json"]
    );
}

#[test]
fn settings_are_those_of_the_file() {
    let settings = compiled(FULL).settings;
    let listeners = ["127.0.0.1:8081", "[::1]:8081"].map(|address| address.parse().unwrap());
    assert_eq!(settings.listeners, listeners);
    assert_eq!(settings.admin, "127.0.0.1:9191".parse().unwrap());
    assert_eq!(settings.workers, Some(2));
    assert_eq!(
        settings.access_log,
        Some(AccessLogOutput::File("./access.log".into()))
    );
    let limits = &settings.limits;
    assert_eq!(limits.head.head_bytes_max, 32 * 1024);
    assert_eq!(limits.head.headers_max, 50);
    assert_eq!(limits.head.target_bytes_max, 4 * 1024);
    assert_eq!(limits.head_timeout, Duration::from_secs(5));
    assert_eq!(limits.idle_timeout, Duration::from_secs(75));
    assert_eq!(limits.send_timeout, Duration::from_secs(20));
    assert_eq!(limits.body_timeout, Duration::from_secs(25));
    assert_eq!(limits.connections_max, 500);
    assert_eq!(limits.requests_per_connection_max, 1000);
    assert_eq!(settings.shutdown.lame_duck, Duration::from_secs(1));
    assert_eq!(settings.shutdown.drain, Duration::from_secs(15));
    let upgrade = settings.upgrade.expect("it is there");
    assert_eq!(upgrade.socket, "/run/gateway/upgrade.sock");
    assert_eq!(upgrade.timeout, Duration::from_secs(90));
    let servers = &settings.name_servers;
    let addresses: Vec<_> = servers.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(
        addresses,
        [
            "10.0.0.2:53",
            "127.0.0.1:5353",
            "[fd00::2]:53",
            "[fd00::3]:54"
        ]
    );
    assert_eq!(servers.timeout, Duration::from_millis(500));
    let none = compiled(&SMALLEST.replace("routes:", "access_log: {format: none}\nroutes:"));
    assert_eq!(none.settings.access_log, None);
}

#[test]
fn connections_to_an_upstream_are_as_the_file_says() {
    let plan = compiled(FULL).plan;
    let connections = |name: &str| {
        let mut clusters = plan.clusters.iter();
        let found = clusters.find(|cluster| &*cluster.name == name);
        found.expect("it is there").connections
    };
    let seconds = Duration::from_secs;
    let given = Connections {
        idle_max: 4,
        idle_timeout: seconds(5),
        lifetime: seconds(60),
        user_timeout: seconds(3),
        keep_alive: seconds(2),
        head_start: Duration::from_millis(100),
    };
    let documented = Connections {
        idle_max: 128,
        idle_timeout: seconds(50),
        lifetime: seconds(600),
        user_timeout: seconds(20),
        keep_alive: seconds(15),
        head_start: Duration::from_millis(250),
    };
    assert_eq!(connections("byname"), given);
    assert_eq!(connections("legacy"), documented);
}

#[test]
fn the_gateways_own_tokens_are_as_the_file_says() {
    let Compiled { plan, settings, .. } = compiled(FULL);
    let identity = settings.internal_identity.unwrap();
    assert_eq!(&*identity.issuer, "edge");
    assert_eq!(identity.lifetime, Duration::from_secs(30));
    assert_eq!(identity.rotation, Duration::from_hours(12));
    assert_eq!(identity.header, "x-edge-token");
    let audiences: Vec<_> = plan
        .clusters
        .iter()
        .map(|it| it.identity.as_deref())
        .collect();
    assert_eq!(audiences, [None, None, None, Some("users")]);
    assert!(plan.identity_headers.covers(&identity.header));
    assert!(matches!(plan.routes[4].action, Action::RespondKeys));

    let least = compiled(
        r#"
version: 1
internal_identity: {}
upstreams: {users: {static: ["127.0.0.1:1"], identity: users-svc}}
routes: [{name: all, match: {path_prefix: /}, auth: none, backends: [{upstream: users}]}]
"#,
    );
    let identity = least.settings.internal_identity.unwrap();
    assert_eq!(&*identity.issuer, "gateway");
    assert_eq!(identity.lifetime, Duration::from_mins(1));
    assert_eq!(identity.rotation, Duration::from_hours(24));
    assert_eq!(identity.header, "x-gateway-token");
    assert!(least.plan.identity_headers.covers(&identity.header));
    assert_eq!(compiled(SMALLEST).settings.internal_identity, None);
}

#[test]
fn providers_and_their_keys_share_their_indices() {
    let Compiled { plan, settings, .. } = compiled(FULL);
    let names: Vec<_> = plan
        .providers
        .iter()
        .map(|provider| &*provider.name)
        .collect();
    assert_eq!(names, ["local", "main"]);
    let [local, main] = &plan.providers[..] else {
        panic!("two providers");
    };
    assert_eq!(&*main.issuer, "https://issuer.example/");
    assert_eq!(main.audiences, ["api".into(), "admin".into()]);
    assert_eq!(main.algorithms, [Algorithm::RS256, Algorithm::ES256]);
    assert_eq!(
        (main.clock_skew_seconds, main.token_bytes_max),
        (10, 8 * 1024)
    );
    assert_eq!(
        (local.clock_skew_seconds, local.token_bytes_max),
        (60, 16 * 1024)
    );
    let [local, main] = &settings.key_sources[..] else {
        panic!("two sources");
    };
    assert_eq!(local.place, KeyPlace::File("/etc/keys.json".into()));
    // A file is looked at every other second, and asked for at once when a key is unknown.
    let policy = local.refresh_policy();
    assert_eq!((policy.interval, policy.cooldown_max), (2_000, 250));
    let uri = "https://issuer.example/.well-known/jwks.json";
    assert_eq!(main.place, KeyPlace::Url(uri.into()));
    assert_eq!(main.refresh_interval, Duration::from_mins(1));
    assert_eq!(main.max_stale, Duration::from_hours(24));
    assert_eq!(main.unknown_key_wait, Duration::from_secs(5));
    assert_eq!(
        settings.state_directory.as_deref(),
        Some("/var/lib/gateway")
    );
}

#[test]
fn the_times_of_keys_have_defaults_that_fit_each_other() {
    let policy = |times: &str| {
        let text = FULL.replace("refresh_interval: 1m", times);
        let policy = compiled(&text).settings.key_sources[1].refresh_policy();
        [
            policy.interval_min,
            policy.interval,
            policy.interval_max,
            policy.cooldown_min,
            policy.cooldown_max,
        ]
        .map(|time| time / 100)
    };
    for (times, expected) in [
        ("allow_http: false", [300, 3_000, 36_000, 10, 25]),
        ("refresh_interval: 10s", [100, 100, 36_000, 10, 25]),
        ("refresh_interval: 2h", [300, 72_000, 72_000, 10, 25]),
        ("max_stale: 10m", [300, 3_000, 3_000, 10, 25]),
        ("max_stale: 4m", [300, 1_200, 1_200, 10, 25]),
        ("unknown_key_wait: 1s", [300, 3_000, 36_000, 5, 5]),
        ("unknown_key_wait: 30s", [300, 3_000, 36_000, 10, 50]),
    ] {
        assert_eq!(policy(times), expected, "{times}");
    }
}

#[test]
fn a_provider_has_its_keys_in_one_of_five_places() {
    let jwks = "{keys: [{kty: OKP, crv: Ed25519, x: 11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo}]}";
    let inline = format!("jwks: {jwks}");
    let secret = |encoding| KeyPlace::SecretFile {
        path: "/run/secrets/jwt".into(),
        encoding,
        algorithms: vec![Algorithm::HS256, Algorithm::HS512],
    };
    let hs = "algorithms: [HS256, HS512]";
    for (issuer, algorithms, place, expected) in [
        (
            "https://issuer.example/",
            "algorithms: [RS256]",
            "discovery: true",
            KeyPlace::Discovery(
                "https://issuer.example/.well-known/openid-configuration".into(),
            ),
        ),
        (
            "https://issuer.example/realms/a",
            "algorithms: [RS256]",
            "discovery: true",
            KeyPlace::Discovery(
                "https://issuer.example/realms/a/.well-known/openid-configuration".into(),
            ),
        ),
        (
            "http://issuer.internal:8080",
            "algorithms: [RS256]",
            "discovery: true\n    allow_http: true",
            KeyPlace::Discovery(
                "http://issuer.internal:8080/.well-known/openid-configuration".into(),
            ),
        ),
        (
            "me",
            "algorithms: [EdDSA]",
            "jwks_uri: http://issuer.internal/keys\n    allow_http: true",
            KeyPlace::Url("http://issuer.internal/keys".into()),
        ),
        (
            "me",
            "algorithms: [EdDSA]",
            &inline,
            KeyPlace::Inline(
                r#"{"keys":[{"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#.into(),
            ),
        ),
        (
            "me",
            hs,
            "secret: {file: /run/secrets/jwt}",
            secret(SecretEncoding::Utf8),
        ),
        (
            "me",
            hs,
            "secret: {file: /run/secrets/jwt, encoding: base64url}",
            secret(SecretEncoding::Base64Url),
        ),
        (
            "me",
            "algorithms: [HS256]",
            "secret: {env: JWT_SECRET, encoding: hex}",
            KeyPlace::Secret(
                SecretEncoding::Hex
                    .decode("0123456789abcdef".repeat(4).as_bytes())
                    .unwrap(),
                vec![Algorithm::HS256],
            ),
        ),
    ] {
        let provider = format!(
            "jwt_providers:\n  main:\n    issuer: {issuer}\n    audiences: [api]\n    \
             {algorithms}\n    {place}\n"
        );
        let source = &compiled(&format!("{SMALLEST}{provider}")).settings.key_sources[0];
        assert_eq!(source.place, expected, "{place}");
        assert_eq!(source.issuer, issuer);
    }
}

#[test]
fn upstreams_and_their_endpoints_share_their_indices() {
    let Compiled { plan, settings, .. } = compiled(FULL);
    let names: Vec<_> = plan.clusters.iter().map(|cluster| &*cluster.name).collect();
    assert_eq!(names, ["byname", "legacy", "products", "users"]);
    assert_eq!(plan.clusters[0].connect_timeout, Duration::from_millis(250));
    assert_eq!(plan.clusters[1].connect_timeout, Duration::from_secs(1));
    let [
        EndpointSource::Dns(dns),
        EndpointSource::Static(instances),
        EndpointSource::CloudMap(products),
        EndpointSource::CloudMap(users),
    ] = &settings.endpoint_sources[..]
    else {
        panic!("{:?}", settings.endpoint_sources);
    };
    let name = DnsName::Addresses {
        name: "api.internal".into(),
        port: NonZeroU16::new(8080).unwrap(),
    };
    assert_eq!(dns.name, name);
    assert_eq!(instances.len(), 2);
    assert_eq!(
        (users.namespace.as_str(), users.service.as_str()),
        ("prod.internal", "users")
    );
    assert_eq!(users.port, NonZeroU16::new(8080));
    assert_eq!(users.endpoint, None);
    assert_eq!(users.interval, Duration::from_secs(10));
    assert_eq!(products.interval, Duration::from_secs(5));
    assert_eq!(products.revision_interval, Duration::from_secs(1));
}

#[test]
fn routes_are_those_of_the_file_with_its_defaults_key_by_key() {
    let compiled = compiled(FULL);
    let [users, products, byname, status, _] = &compiled.plan.routes[..] else {
        panic!("five routes");
    };
    let long = Duration::from_secs(2);
    assert_eq!(users.timeout, Duration::from_secs(3));
    assert_eq!(
        (users.retries.tries_max, users.per_try_timeout),
        (1, Some(long))
    );
    assert_eq!(products.timeout, Duration::from_secs(8));
    let short = Duration::from_millis(500);
    assert_eq!(
        (products.retries.tries_max, products.per_try_timeout),
        (2, Some(short))
    );
    assert_eq!(
        (byname.retries.tries_max, byname.per_try_timeout),
        (2, Some(long))
    );
    assert_eq!(
        (users.body_bytes_max, products.body_bytes_max),
        (1024 * 1024, 0)
    );
    assert_eq!(backends(&compiled, 0), ["users", "legacy"]);
    assert_eq!(backends(&compiled, 1), ["products"]);
    assert!(matches!(byname.auth, Auth::Open));
    let Action::Respond(response) = &status.action else {
        panic!("it forwards");
    };
    assert_eq!(
        (&response.body[..], &response.content_type),
        (&b"{}"[..], &"application/json".parse().unwrap())
    );
}

#[test]
fn authentication_is_that_of_the_file() {
    let plan = compiled(FULL).plan;
    let (users, products) = (policy(&plan.routes[0]), policy(&plan.routes[1]));
    let names = |policy: &Policy| match &policy.credential {
        Credential::Jwt(indices) => {
            let names = indices.iter().map(|&index| &*plan.providers[index].name);
            names.collect::<Vec<_>>().join(" ")
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(names(users), "main");
    assert_eq!(names(products), "local");
    assert_ne!(users.id, products.id, "one cache serves both");
    assert_eq!(users.requirements.scopes.all, ["users:read"]);
    assert!(users.requirements.claims.contains_key("tenant"));
    let headers: Vec<_> = users
        .identity
        .claims
        .iter()
        .map(|(claim, header)| (claim.as_str(), header.as_str()))
        .collect();
    assert_eq!(headers, [("sub", "x-user-id"), ("tenant", "x-tenant")]);
    for (name, is_stripped) in [
        ("x-user-id", true),
        ("x_user_id", true),
        ("x-tenant", true),
        ("accept", false),
    ] {
        let name = name.parse().unwrap();
        assert_eq!(plan.identity_headers.covers(&name), is_stripped, "{name}");
    }
}

#[test]
fn the_table_finds_the_routes_of_the_plan() {
    let plan = compiled(FULL).plan;
    let headers = HeaderMap::new();
    for (method, path, expected) in [
        (Method::GET, "/users/7", Some("users")),
        (Method::POST, "/products", Some("products")),
        (Method::GET, "/n/a/b", Some("byname")),
        (Method::GET, "/status", Some("status")),
        (Method::POST, "/users", None),
        (Method::GET, "/", None),
    ] {
        let request = Request {
            host: None,
            path: &CleanPath::parse(path).unwrap(),
            method: &method,
            headers: &headers,
            query: None,
        };
        let found = match plan.table.find(&request) {
            Outcome::Route { index, .. } => Some(&*plan.routes[index.get()].name),
            _ => None,
        };
        assert_eq!(found, expected, "{method} {path}");
    }
}

#[test]
fn retries_may_leave_out_their_attempts() {
    for (retries, expected) in [
        ("", (3, None)),
        ("retries: {}", (3, None)),
        (
            "retries: {per_try_timeout: 1s}",
            (3, Some(Duration::from_secs(1))),
        ),
        ("retries: {attempts: 0}", (1, None)),
        ("retries: {attempts: 5}", (6, None)),
    ] {
        let auth = format!("auth: none, {retries}");
        let text = SMALLEST.replace("auth: none", auth.trim_end_matches(", "));
        let route = &compiled(&text).plan.routes[0];
        assert_eq!(
            (route.retries.tries_max, route.per_try_timeout),
            expected,
            "{retries}"
        );
    }
}

#[test]
fn port_0_and_one_port_on_two_addresses_do_not_clash() {
    for listeners in [
        r#"[{address: "127.0.0.1:0"}, {address: "127.0.0.1:0"}]"#,
        r#"[{address: "127.0.0.1:80"}, {address: "127.0.0.2:80"}]"#,
        r#"[{address: "127.0.0.2:9090"}]"#,
    ] {
        compiled(&SMALLEST.replace("routes:", &format!("listeners: {listeners}\nroutes:")));
    }
}

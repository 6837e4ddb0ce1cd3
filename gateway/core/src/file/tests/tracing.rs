//! What `tracing:` means, and what is said of wrong ones.

use expect_test::{Expect, expect};

use super::*;
use crate::plan::{Parents, SendB3, Tracing};
use crate::words::rate::Rate;

fn file(tracing: &str) -> String {
    format!(
        "version: 1\n{tracing}\nroutes:\n  - {{name: a, match: {{path_prefix: /a/}}, auth: none, respond: {{status: 200}}}}\n"
    )
}

#[test]
fn nothing_is_traced_unless_the_file_says_so() {
    let compiled = compiled(&file(""));
    assert_eq!(compiled.plan.tracing, None);
    assert_eq!(compiled.settings.tracing, None);
}

#[test]
fn what_is_left_out_has_its_default() {
    let Compiled { plan, settings, .. } =
        compiled(&file("tracing: {endpoint: \"http://127.0.0.1:4318\"}"));
    let expected = Tracing {
        roots: Rate::ONE_PERCENT.threshold(),
        parents: Parents::All,
        reads_b3: true,
        sends_b3: SendB3::None,
    };
    assert_eq!(plan.tracing, Some(expected));
    expect![[r#"
        TraceExport {
            url: "http://127.0.0.1:4318/v1/traces",
            protocol: HttpProtobuf,
            headers: [],
            service_name: "gateway",
            resource_of_environment: "",
            resource: [],
            queue_max: 8192,
            batch_max: 512,
            interval: 1s,
            timeout: 10s,
        }
    "#]]
    .assert_debug_eq(&settings.tracing.unwrap());
}

#[test]
fn what_is_said_counts_and_secrets_are_not_shown() {
    let Compiled { plan, settings, .. } = compiled(&file(
        "tracing:
  endpoint: https://collector.example/otlp/traces
  protocol: http/json
  headers: {authorization: {env: JWT_SECRET}, x-team: {file: /run/team}}
  sampling: {rate: 100%, parent: trusted}
  b3: {read: false, send: multi}
  service_name: edge
  resource: {team: a}
  queue_size: 64
  batch_size: 1
  interval: 10ms
  timeout: 1m",
    ));
    let expected = Tracing {
        roots: Rate::ALL.threshold(),
        parents: Parents::Trusted,
        reads_b3: false,
        sends_b3: SendB3::Multi,
    };
    assert_eq!(plan.tracing, Some(expected));
    expect![[r#"
        TraceExport {
            url: "https://collector.example/otlp/traces",
            protocol: HttpJson,
            headers: [
                (
                    "authorization",
                    Value(
                        Secret(…),
                    ),
                ),
                (
                    "x-team",
                    File {
                        path: "/run/team",
                        encoding: Utf8,
                    },
                ),
            ],
            service_name: "edge",
            resource_of_environment: "",
            resource: [
                (
                    "team",
                    "a",
                ),
            ],
            queue_max: 64,
            batch_max: 1,
            interval: 10ms,
            timeout: 60s,
        }
    "#]]
    .assert_debug_eq(&settings.tracing.unwrap());
}

#[test]
fn the_environment_says_what_the_file_leaves_out() {
    let url = |tracing: &str, variables: &[(&str, &str)]| {
        let text = file(tracing);
        let source = Source {
            name: "routes.yaml",
            text: &text,
        };
        let look_up = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let compiled = read(source, &look_up).unwrap_or_else(|problems| panic!("{problems}"));
        compiled.settings.tracing.unwrap()
    };
    let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://base:4318/");
    let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:1/x");
    let resource = ("OTEL_RESOURCE_ATTRIBUTES", "team=a");
    let name = ("OTEL_SERVICE_NAME", "edge");
    let export = url("tracing: {}", &[base, resource, name]);
    assert_eq!(export.url, "http://base:4318/v1/traces");
    assert_eq!(export.resource_of_environment, "team=a");
    assert_eq!(export.service_name, "edge");
    assert_eq!(url("tracing: {}", &[base, traces]).url, "http://traces:1/x");
    let written = "tracing: {endpoint: \"http://file:2/\", service_name: b}";
    let export = url(written, &[base, traces, name]);
    assert_eq!(export.url, "http://file:2/v1/traces");
    assert_eq!(export.service_name, "b");
}

#[test]
fn a_route_is_called_by_what_says_its_path() {
    for (path, expected) in [
        ("path: /status", "/status"),
        ("path_prefix: /users/", "/users/*"),
        ("path_prefix: /", "/*"),
        ("path_pattern: \"/users/{id}\"", "/users/{id}"),
    ] {
        let text = file("").replace("path_prefix: /a/", path);
        assert_eq!(&*compiled(&text).plan.routes[0].template, expected);
    }
}

fn check(tracing: &str, expected: &Expect) {
    expected.assert_eq(&problems(&file(tracing)));
}

#[test]
fn slips_are_said_with_their_place_and_remedy() {
    check(
        "tracing: {}",
        &expect![[r"
        2:1 tracing: `endpoint` is not given, and `OTEL_EXPORTER_OTLP_ENDPOINT` is not set | say where the collector is, as in `endpoint: http://127.0.0.1:4318`
    "]],
    );
    check(
        "tracing: {endpoint: \"localhost:4318\"}",
        &expect![[r"
        2:21 tracing.endpoint: `localhost:4318` is not an http or https URL | write it in full, such as `http://127.0.0.1:4318`
    "]],
    );
    check(
        "tracing: {endpoint: \"http://c.example\", headers: {authorization: {env: JWT_SECRET}}}",
        &expect![[r"
            2:21 tracing.endpoint: the secrets of `headers` would go to `c.example` over plain http | use https, or a collector on this machine without `headers`
        "]],
    );
    check(
        "tracing: {endpoint: \"http://[::1]:1\", headers: {content-type: {env: JWT_SECRET}, a: {}, b: {env: NONE}, c: {env: EMPTY}, d: {env: JWT_SECRET, encoding: hex}}}",
        &expect![[r"
            2:49 tracing.headers.content-type: `content-type` is not a header that an export can carry | write the name that the collector asks for, such as `authorization`
            2:82 tracing.headers.a: neither `env` nor `file` is given | say one place of the header's value, such as `{env: OTLP_AUTHORIZATION}`
            2:98 tracing.headers.b.env: the variable `NONE` is not set | set it, or name another one
            2:114 tracing.headers.c.env: `EMPTY`: the secret is empty | put a header's value into `EMPTY`
            2:131 tracing.headers.d.env: `JWT_SECRET`: it is not a header value | put a single line of text there
        "]],
    );
    check(
        "tracing: {endpoint: \"http://a:1\", protocol: grpc, sampling: {rate: 101%, parent: some}}",
        &expect![[r"
            2:45 tracing.protocol: unknown value `grpc` | known values: `http/protobuf`, `http/json`
            2:68 tracing.sampling.rate: `101%` is not a share | write percent from `0%` to `100%` with at most 4 decimals, such as `10%` or `0.5%`
            2:82 tracing.sampling.parent: unknown value `some` | known values: `all`, `trusted`, `none`
        "]],
    );
    check(
        "tracing: {endpoint: \"http://a:1\", sampling: {rate: 0.01, ratio: 1}, b3: {send: both}}",
        &expect![[r"
            2:52 tracing.sampling.rate: `0.01` is not a share | write percent from `0%` to `100%` with at most 4 decimals, such as `10%` or `0.5%`
            2:58 tracing.sampling: unknown key `ratio` | known keys: `rate`, `parent`
            2:80 tracing.b3.send: unknown value `both` | known values: `none`, `single`, `multi`
        "]],
    );
    check(
        "tracing: {endpoint: \"http://a:1\", sampling: {rate: -1%}, service_name: \"\"}",
        &expect![[r"
            2:52 tracing.sampling.rate: `-1%` is not a share | write percent from `0%` to `100%` with at most 4 decimals, such as `10%` or `0.5%`
            2:72 tracing.service_name: `service_name` is empty | name the gateway as traces should, or leave it out for `gateway`
        "]],
    );
    check(
        "tracing: {endpoint: \"http://a:1\", sampling: {rate: .nan}}",
        &expect![[r"
            2:52 tracing.sampling.rate: `.nan` is not a share | write percent from `0%` to `100%` with at most 4 decimals, such as `10%` or `0.5%`
        "]],
    );
    check(
        "tracing: {endpoint: \"http://a:1\", queue_size: 1, batch_size: 0, interval: 0s, timeout: 2m, endpont: a}",
        &expect![[r"
            2:47 tracing.queue_size: 1 is out of range | write a number from 64 to 1000000
            2:62 tracing.batch_size: 0 is out of range | write a number from 1 to 10000
            2:75 tracing.interval: 0s is out of range | write a duration from 10ms to 1m
            2:88 tracing.timeout: 2m is out of range | write a duration from 10ms to 1m
            2:92 tracing: unknown key `endpont` | did you mean `endpoint`?
        "]],
    );
}

//! `access_log:` of the file and of its routes.

use std::time::Duration;

use expect_test::expect_file;
use http::StatusCode;

use super::*;
use crate::access_log::{Answered, Field, Format, Query, Sample};

/// Two routes; each case puts its section in, and what its first route says.
fn text(section: &str, route: &str) -> String {
    format!(
        "version: 1
access_log: {section}
jwt_providers:
  main:
    issuer: https://issuer.example/
    audiences: [api]
    algorithms: [RS256]
    jwks_uri: https://issuer.example/jwks.json
    token_from: [{{header: x-session-jwt}}]
api_keys:
  partners: {{file: /etc/keys.yaml, header: x-partner-key}}
routes:
  - {{name: probe, match: {{path: /probe}}, auth: none, {route} respond: {{status: 204}}}}
  - {{name: rest, match: {{path_prefix: /}}, auth: {{jwt: main}}, respond: {{status: 204}}}}
"
    )
}

#[test]
fn every_refusal_names_the_place_and_the_remedy() {
    let sections = [
        "{format: jsn}",
        "{format: xml}",
        "{format: \"\"}",
        "{format: \"%{stauts}\"}",
        "{format: \"%h %l %u\"}",
        "{format: \"%{status\"}",
        "{format: \"no field\"}",
        "{format: \"%{status}\\n%{path}\"}",
        "{format: \"%{query}\"}",
        "{format: \"%{request_header.Authorization}\"}",
        "{format: \"%{response_header.set-cookie}\"}",
        "{format: \"%{request_header.x-partner-key}\"}",
        "{format: \"%{request_header.x_session_jwt}\"}",
        "{format: common, fields: [protocol]}",
        "{format: [json]}",
        "{fields: [status]}",
        "{fields: [protocl]}",
        "{fields: [peer, issuer, peer]}",
        "{fields: [request_header.cookie]}",
        "{fields: [\"request_header.a b\"]}",
        "{fields: [query]}",
        "{fields: [subject_hash]}",
        "{hash_secret: {env: ABSENT}}",
        "{hash_secret: {env: JWT_SECRET_WEAK}}",
        "{hash_secret: {env: JWT_SECRET, encoding: base32}}",
        "{query: redact}",
        "{output: stderr}",
        "{sample: {rate: 0.1}}",
        "{sample: {rate: 101%}}",
        "{sample: {rates: 10%}}",
        "{sample: {slower_than: 0s}}",
        "{sample: {errors: none}}",
        "{sample: {slower_than: 2h}}",
        "{sampel: {rate: 10%}}",
    ];
    let routes = [
        "access_log: of,",
        "access_log: none,",
        "access_log: {rate: 5},",
        "access_log: {slower_than: 2h},",
    ];
    let mut report = String::new();
    let cases = sections.iter().map(|section| (*section, ""));
    for (section, route) in cases.chain(routes.iter().map(|route| ("{}", *route))) {
        let problems = problems(&text(section, route));
        writeln!(report, "{section} {route}\n{problems}").unwrap();
    }
    assert!(!report.contains("nothing is wrong"), "{report}");
    assert!(!report.contains("NO REMEDY"), "{report}");
    expect_file!["broken/access_log.txt"].assert_eq(&report);
}

#[test]
fn a_template_is_compiled_and_so_are_the_named_ones() {
    for (format, pieces) in [
        ("\"%{status}\"", 1),
        ("\"%{client} %{duration_us}us\"", 4),
        ("common", 13),
        ("combined", 18),
    ] {
        let plan = compiled(&text(&format!("{{format: {format}}}"), "")).plan;
        let Some(Format::Text(found)) = plan.access_log.map(|log| log.format) else {
            panic!("{format} is text");
        };
        assert_eq!(found.len(), pieces, "{format}");
    }
    assert!(
        compiled(&text("{format: none}", ""))
            .plan
            .access_log
            .is_none()
    );
}

#[test]
fn lines_say_what_is_asked_for_and_no_query_unless_it_is() {
    let log = compiled(&text("{}", "")).plan.access_log.unwrap();
    assert_eq!(log.query, Query::Never);
    assert!(matches!(&log.format, Format::Json(more) if more.is_empty()));
    assert!(!log.needs.are_any());
    let section = "{query: keys, hash_secret: {env: JWT_SECRET}, \
                   fields: [auth_us, subject_hash, response_header.Age]}";
    let log = compiled(&text(section, "")).plan.access_log.unwrap();
    let Format::Json(more) = &log.format else {
        panic!("JSON is the default");
    };
    let names: Vec<_> = more.iter().map(|(_, name)| &**name).collect();
    assert_eq!(
        names,
        ["auth_us", "subject_hash", "response_header.age", "query"]
    );
    assert_eq!(more[3].0, Field::Query);
    assert!(log.needs.auth_time && !log.needs.times && !log.needs.bytes_received);
    assert_eq!(log.needs.response_headers.len(), 1);
    assert!(log.hash.is_some());
}

#[test]
fn a_route_has_its_own_share_or_no_line_at_all() {
    let wants = |sample: Option<Sample>, status, elapsed| {
        let answered = Answered {
            trace_id: 1,
            status: StatusCode::from_u16(status).unwrap(),
            has_reason: false,
            elapsed: Duration::from_millis(elapsed),
        };
        sample.is_some_and(|sample| sample.wants(&answered))
    };
    let all = "{sample: {rate: 0%, slower_than: 100ms, errors: server}}";
    for (section, route, plain, slow, error) in [
        ("{}", "", true, true, true),
        ("{}", "access_log: off,", false, false, false),
        ("{}", "access_log: {rate: 0%},", false, false, true),
        (all, "", false, true, false),
        (all, "access_log: {rate: 100%},", true, true, true),
        (all, "access_log: {slower_than: 1s},", false, false, false),
        (
            "{format: none}",
            "access_log: {rate: 100%},",
            false,
            false,
            false,
        ),
    ] {
        let plan = compiled(&text(section, route)).plan;
        let sample = plan.routes[0].access_log;
        let found = (
            wants(sample, 200, 0),
            wants(sample, 200, 200),
            wants(sample, 404, 0),
        );
        assert_eq!(found, (plain, slow, error), "{section} {route}");
        if !section.contains("none") {
            let rest = plan.routes[1].access_log;
            assert_eq!(rest, plan.access_log.map(|log| log.sample), "{section}");
        }
    }
}

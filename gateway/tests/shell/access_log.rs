//! What access lines say: fields that are asked for, templates, shares, and no secret.

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt as _;
use serde_json::Value;

use crate::support::backend::{Backend, full};
use crate::support::gateway::{ONE_ROUTE, TestGateway, text_lines};
use crate::support::http_client::Fetch as _;
use crate::support::tokens::{self, AUDIENCE, ISSUER, good_token, rs256};

/// The section, with lines where the test finds them.
fn section(inner: &str) -> String {
    format!("access_log: {{output: \"${{ACCESS_LOG}}\", {inner}}}\n")
}

fn start(inner: &str, backend: &Backend) -> TestGateway {
    TestGateway::with(&section(inner), backend)
}

fn number(line: &Value, field: &str) -> u64 {
    let number = line[field].as_u64();
    number.unwrap_or_else(|| panic!("no {field}: {line}"))
}

#[test]
fn fields_come_where_they_are_asked_for() {
    let backend = Backend::answering(|request| async move {
        let _all = request.into_body().collect().await;
        let mut answer = Response::new(full("four"));
        let headers = answer.headers_mut();
        headers.append("x-shard", "a".parse().expect("a value"));
        headers.append("x-shard", "b".parse().expect("a value"));
        let location = "/next?code=sesame#access_token=x".parse();
        headers.append("location", location.expect("a value"));
        answer
    });
    let gateway = start(
        "fields: [protocol, peer, target, user_agent, referer, span_id, auth_us, connect_us, \
         first_byte_us, last_byte_us, head_ms, bytes_received, subject, time_common, \
         request_header.x-tenant, response_header.x-shard, response_header.location]",
        &backend,
    );
    for body in ["seven77", ""] {
        gateway
            .post("/a?token=sesame&q=1")
            .header("user-agent", "curl/8")
            .header("referer", "https://me:pw@a.example/b?c=sesame#d")
            .header("x-tenant", "t\u{e9}")
            .body(body)
            .fetch();
    }
    let lines = gateway.access_lines(2);
    for (line, bytes) in lines.iter().zip([7, 0]) {
        assert_eq!(line["protocol"], "HTTP/1.1");
        assert_eq!(line["peer"], "127.0.0.1");
        assert_eq!(
            (&line["path"], &line["target"]),
            (&"/a".into(), &"/a".into())
        );
        assert_eq!(line["user_agent"], "curl/8");
        assert_eq!(line["referer"], "https://a.example/b");
        assert_eq!(line["request_header.x-tenant"], "té");
        assert_eq!(line["response_header.x-shard"], "a, b");
        assert_eq!(line["response_header.location"], "/next");
        assert_eq!(line["span_id"].as_str().map(str::len), Some(16));
        assert_eq!(
            (number(line, "bytes_received"), number(line, "bytes_sent")),
            (bytes, 4)
        );
        for absent in ["subject", "query"] {
            assert_eq!(line.get(absent), None, "{line}");
        }
        let [total, first, last] =
            ["duration_us", "first_byte_us", "last_byte_us"].map(|field| number(line, field));
        assert_eq!(first + last, total, "{line}");
        assert!(number(line, "auth_us") <= first, "{line}");
        assert!(number(line, "upstream_us") <= first, "{line}");
        assert!(!line.to_string().contains("sesame"), "{line}");
    }
    // The second request found the connection of the first.
    assert!(number(&lines[0], "connect_us") <= number(&lines[0], "first_byte_us"));
    assert_eq!(lines[1].get("connect_us"), None);
}

#[test]
fn a_head_that_comes_in_pieces_says_how_long_it_took() {
    let backend = Backend::replying("ok");
    let gateway = start("fields: [head_ms]", &backend);
    let mut wire = gateway.wire();
    wire.send("GET /whole HTTP/1.1\r\nhost: a\r\n\r\n");
    wire.receive();
    wire.send("GET /pieces HTTP/1.1\r\nhos");
    // Known only once the gateway has seen the first piece: another connection comes after it.
    gateway.get("/between").fetch();
    wire.send("t: a\r\n\r\n");
    wire.receive();
    let lines = gateway.access_lines(3);
    let head_ms = |path: &str| {
        let line = lines.iter().find(|line| line["path"] == path);
        line.and_then(|line| line["head_ms"].as_u64())
    };
    assert_eq!(head_ms("/whole"), None);
    assert!(head_ms("/pieces").is_some(), "{lines:?}");
}

#[test]
fn no_client_can_forge_a_line_or_a_field_of_a_template() {
    let backend = Backend::replying("ok");
    let gateway = start(
        "format: \"%{status} %{user_agent} [%{request_header.x-note}] \\\"%{referer}\\\" end\"",
        &backend,
    );
    let mut wire = gateway.wire();
    wire.send(
        "GET /a HTTP/1.1\r\nhost: a\r\nuser-agent: 200 \"x\" end\r\n\
         x-note: a\tb] \\\"\u{1b}c\r\nreferer: b\" end\r\n\r\n",
    );
    // A control character in a head is refused before anything is logged of it.
    assert_eq!(wire.receive().status, 400);
    let mut wire = gateway.wire();
    wire.send(
        "GET /a HTTP/1.1\r\nhost: a\r\nuser-agent: 200 \"x\" end\r\n\
         x-note: a\tb] \\\"\u{e9}\r\nreferer: b\" end\r\n\r\n",
    );
    wire.receive();
    let lines = text_lines(gateway.access_log(), 2);
    assert_eq!(lines[0], "400 - [-] \"-\" end");
    let expected = concat!(
        r#"200 200\x20\"x\"\x20end [a\x09b]\x20\\\"\xc3\xa9] "#,
        r#""b\" end" end"#
    );
    assert_eq!(lines[1], expected);
}

#[test]
fn the_formats_of_apache_are_there_by_name() {
    let backend = Backend::replying("four");
    for (format, end) in [
        ("common", "\"GET /a HTTP/1.1\" 200 4"),
        ("combined", "\"GET /a HTTP/1.1\" 200 4 \"-\" \"curl/8\""),
    ] {
        let gateway = start(&format!("format: {format}"), &backend);
        gateway.get("/a?q=1").header("user-agent", "curl/8").fetch();
        let lines = text_lines(gateway.access_log(), 1);
        let (begin, rest) = lines[0].split_once(" [").expect("a time in brackets");
        let (time, rest) = rest.split_once("] ").expect("a time in brackets");
        assert_eq!((begin, rest), ("127.0.0.1 - -", end), "{format}");
        assert!(time.ends_with(" +0000") && time.len() == 26, "{time}");
    }
}

#[test]
fn a_query_is_shown_as_the_file_says() {
    let backend = Backend::replying("ok");
    for (query, expected) in [
        ("none", None),
        ("keys", Some("q=*&access_token=*")),
        ("full", Some("q=1&access_token=*")),
    ] {
        let gateway = start(&format!("query: {query}"), &backend);
        gateway.get("/a?q=1&access_token=sesame").fetch();
        let line = gateway.access_lines(1).remove(0);
        assert_eq!(line["query"].as_str(), expected, "{query}");
        assert_eq!(line["path"], "/a");
    }
}

#[test]
fn a_caller_is_named_or_hashed_only_where_that_is_asked_for() {
    let keys = tempfile::NamedTempFile::new().expect("a file can be made");
    tokens::write_key_set(keys.path(), &[rs256()]);
    let yaml = format!(
        "{}jwt_providers:
  main: {{issuer: \"${{ISSUER}}\", audiences: [\"${{AUDIENCE}}\"], algorithms: [RS256], jwks_file: \"${{KEYS}}\"}}
routes:
  - {{name: all, match: {{path_prefix: /}}, auth: {{jwt: main}}, respond: {{status: 204}}}}
",
        section("fields: [subject, subject_hash, issuer], hash_secret: {env: LOG_KEY}")
    );
    let gateway = TestGateway::start(
        &yaml,
        &[
            ("ISSUER", &ISSUER),
            ("AUDIENCE", &AUDIENCE),
            ("KEYS", &keys.path().display()),
            ("LOG_KEY", &"0123456789abcdef"),
        ],
    );
    for _ in 0..2 {
        gateway.get("/").bearer_auth(good_token()).fetch();
    }
    gateway.get("/").fetch();
    let lines = gateway.access_lines(3);
    assert_eq!(lines[0]["issuer"], ISSUER);
    assert!(lines[0]["subject"].is_string());
    let hash = lines[0]["subject_hash"].as_str().expect("a hash");
    assert_eq!(hash.len(), 32);
    assert_eq!(lines[1]["subject_hash"], hash);
    assert_eq!(lines[2]["status"], 401);
    for absent in ["subject", "subject_hash", "issuer"] {
        assert_eq!(lines[2].get(absent), None);
    }
}

#[test]
fn a_share_is_chosen_by_trace_and_errors_are_always_there() {
    let backend = Backend::answering(|request| async move {
        let mut answer = Response::new(full(Bytes::new()));
        if request.uri().path() == "/broken" {
            *answer.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
        }
        answer
    });
    let gateway = start("sample: {rate: 50%, slower_than: 1h}", &backend);
    let trace = |half: &str, path: &str| {
        let parent = format!("00-11111111111111111{half}1111111111111-1111111111111111-01");
        gateway.get(path).header("traceparent", parent).fetch();
    };
    // The threshold lies in the middle of the last seven bytes.
    trace("17", "/left-out");
    trace("18", "/kept");
    trace("17", "/broken");
    trace("17", "/left-out");
    trace("18", "/kept");
    gateway.wait_for_metric("gateway_access_log_lines_left_out_total", 2);
    let lines = gateway.access_lines(3);
    let paths: Vec<_> = lines.iter().map(|line| line["path"].clone()).collect();
    assert_eq!(paths, ["/kept", "/broken", "/kept"]);
}

#[test]
fn a_route_may_have_no_lines() {
    let backend = Backend::replying("ok");
    let yaml = format!(
        "{ONE_ROUTE}  - {{name: probe, match: {{path: /probe}}, auth: none, access_log: off, \
         respond: {{status: 500}}}}\n"
    );
    let gateway = TestGateway::start(&yaml, &[("BACKEND", &backend.address())]);
    gateway.get("/probe").fetch();
    gateway.get("/a").fetch();
    let lines = gateway.access_lines(1);
    assert_eq!(lines[0]["route"], "all");
    gateway.wait_for_metric("gateway_access_log_lines_left_out_total", 1);
}

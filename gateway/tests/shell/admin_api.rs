//! The admin API: what it says is what its document says, it is true, and no secret is in it.

use http::header::{CONTENT_TYPE, HOST, ORIGIN};
use http::{HeaderName, Method};
use serde_json::{Value, json};

use crate::support::backend::Backend;
use crate::support::gateway::TestGateway;
use crate::support::http_client::{Fetch as _, Reply, client};

const PATHS: [&str; 8] = [
    "/api/openapi.json",
    "/api/v1/status",
    "/api/v1/config",
    "/api/v1/routes",
    "/api/v1/upstreams",
    "/api/v1/keys",
    "/api/v1/limits",
    "/api/v1/refusals",
];

const SECRET: &str = "k3Yf0r-hs256-0123456789-abcdefghij";
const ADMIN_TOKEN: &str = "4dm1n-t0ken-0123456789";

/// Two ways to sign in, two upstreams and an answer of the gateway's own.
const ROUTES: &str = "
admin: {address: \"127.0.0.1:0\", token: {env: ADMIN_TOKEN}}
jwt_providers:
  main: {issuer: me, audiences: [api], algorithms: [HS256], secret: {env: SECRET}}
upstreams:
  backend: {static: [\"${BACKEND}\"]}
  gone: {static: [\"127.0.0.1:1\"]}
routes:
  - name: users
    match: {path_pattern: \"/users/{id}\", methods: [GET]}
    auth: {jwt: main, require: {scopes: {all: [read]}}}
    backends: [{upstream: backend, weight: 3}, {upstream: gone, weight: 1}]
  - {name: open, match: {path_prefix: /open}, auth: none, max_request_body: 10, backends: [{upstream: backend}]}
  - {name: fixed, match: {path: /fixed}, auth: none, respond: {status: 200, body: ok}}
";

fn start(backend: &Backend) -> TestGateway {
    let variables: [(&str, &dyn std::fmt::Display); 3] = [
        ("BACKEND", &backend.address()),
        ("SECRET", &SECRET),
        ("ADMIN_TOKEN", &ADMIN_TOKEN),
    ];
    TestGateway::start(ROUTES, &variables)
}

fn explain(gateway: &TestGateway, question: &Value) -> Reply {
    client()
        .post(format!("http://{}/api/v1/explain", gateway.admin_address()))
        .header(CONTENT_TYPE, "application/json")
        .body(question.to_string())
        .fetch()
}

fn document(gateway: &TestGateway) -> Value {
    let document = gateway.admin("/api/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    document
}

#[test]
fn every_answer_is_as_documented_and_everything_documented_is_served() {
    let backend = Backend::replying("ok");
    let gateway = start(&backend);
    gateway.get("/open").fetch();
    gateway.get("/users/7").fetch();
    let document = document(&gateway);
    let documented: Vec<_> = object(&document["paths"])
        .keys()
        .map(String::as_str)
        .collect();
    let others = ["/api/v1/explain", "/api/v1/log-level"];
    let mut served: Vec<_> = PATHS.into_iter().chain(others).collect();
    served.sort_unstable();
    assert_eq!(documented, served);
    for path in PATHS {
        let answer = gateway.admin(path);
        assert_eq!(answer.status(), 200, "{path}");
        check(&document, &document["paths"][path]["get"], &answer, path);
        let wrong = gateway.admin_request(Method::DELETE, path).fetch();
        assert_eq!(wrong.status(), 405, "DELETE {path}");
    }
    assert_eq!(gateway.admin("/api/v1/elsewhere").status(), 404);
    let operation = &document["paths"]["/api/v1/explain"]["post"];
    for (question, status) in [
        (json!({"method": "GET", "target": "/users/7"}), 200),
        (json!({"method": "GET", "target": "/open"}), 200),
        (json!({"method": "GET", "target": "/a//b"}), 200),
        (json!({"method": "TRACE", "target": "/open"}), 200),
        (json!({"method": "GET", "target": "nonsense"}), 400),
        (json!({"method": "GET"}), 400),
        (
            json!({"method": "GET", "target": "/open", "body_bytes": 7.0}),
            200,
        ),
        (
            json!({"method": "GET", "target": "/open", "body_bytes": 7.5}),
            400,
        ),
        (
            json!({"method": "GET", "target": "/open", "body_bytes": 1_u64 << 53}),
            400,
        ),
        (json!({"method": "GET", "target": "/".repeat(8_001)}), 400),
        (
            json!({"method": "GET", "target": "/%7e", "headers": [{"name": "a", "value": "é\t"}]}),
            200,
        ),
        (json!({"method": "GET", "target": "/", "other": 1}), 400),
        (
            json!({"method": "GET", "target": "/", "headers": [{"name": "a b", "value": ""}]}),
            400,
        ),
    ] {
        let answer = explain(&gateway, &question);
        assert_eq!(answer.status(), status, "{question}: {}", answer.text());
        check(&document, operation, &answer, &question.to_string());
    }
}

#[test]
fn what_is_logged_is_changed_with_the_token_alone() {
    let backend = Backend::replying("ok");
    let gateway = start(&backend);
    let document = document(&gateway);
    let path = "/api/v1/log-level";
    let operations = &document["paths"][path];
    // The log of a test is that of the test.
    let shown = gateway.admin(path);
    assert_eq!(shown.status(), 404);
    check(&document, &operations["get"], &shown, path);
    for (token, body, status) in [
        ("", json!({"level": "debug"}), 401),
        ("wrong-token-0123456789", json!({"level": "debug"}), 401),
        (ADMIN_TOKEN, json!({"level": "debug"}), 404),
    ] {
        let request = gateway.admin_request(Method::PUT, path);
        let request = request.header(CONTENT_TYPE, "application/json");
        let request = match token {
            "" => request,
            token => request.bearer_auth(token),
        };
        let answer = request.body(body.to_string()).fetch();
        assert_eq!(answer.status(), status, "{token} {body}");
        check(&document, &operations["put"], &answer, &body.to_string());
    }
    let deleted = gateway.admin_request(Method::DELETE, path).fetch();
    assert_eq!(deleted.status(), 405);
}

#[test]
fn an_explanation_is_what_the_gateway_then_does() {
    let backend = Backend::replying("ok");
    let gateway = start(&backend);
    for (method, path) in [
        ("GET", "/users/7"),
        ("POST", "/users/7"),
        ("GET", "/open/a"),
        ("GET", "/fixed"),
        ("GET", "/nowhere"),
        ("GET", "/a//b"),
    ] {
        let told = explain(&gateway, &json!({"method": method, "target": path})).json();
        let done = gateway.request(method.parse().unwrap(), path).fetch();
        let expected = match told["answer"]["reason"].as_str() {
            Some(reason) => format!("{} {reason}", told["answer"]["status"]),
            None => "200".into(),
        };
        assert_eq!(done.verdict(), expected, "{method} {path}");
    }
}

#[test]
fn counts_refusals_and_lines_are_those_of_the_running_gateway() {
    let backend = Backend::replying("ok");
    let gateway = start(&backend);
    for _ in 0..3 {
        gateway.get("/open").fetch();
    }
    gateway.get("/users/7").fetch();
    let routes = gateway.admin("/api/v1/routes").json();
    let open = &routes["routes"][1];
    assert_eq!(
        (&open["name"], &open["traffic"]["answers"]["2xx"]),
        (&json!("open"), &json!(3))
    );
    assert_eq!(
        routes["routes"][0]["traffic"]["reasons"],
        json!({"jwt_missing": 1})
    );
    let upstreams = gateway.admin("/api/v1/upstreams").json();
    let endpoint = &upstreams["upstreams"][0]["endpoints"][0];
    assert_eq!(endpoint["address"], backend.address().to_string());
    assert_eq!(endpoint["health"], "healthy");
    assert!(endpoint["expected_ms"].is_number(), "{endpoint}");
    assert_eq!(upstreams["upstreams"][0]["picks"]["any"], 3);
    let refused = &gateway.admin("/api/v1/refusals").json()["refusals"][0];
    assert_eq!(
        (&refused["reason"], &refused["path"], &refused["route"]),
        (&json!("jwt_missing"), &json!("/users/7"), &json!("users"))
    );
    let config = gateway.admin("/api/v1/config").json();
    assert_eq!(config["reloads"]["generation"], 1);
    assert!(config["routes"][0]["line"].as_u64() > Some(10), "{config}");
}

#[test]
fn no_secret_is_in_any_answer() {
    let backend = Backend::replying("ok");
    let gateway = start(&backend);
    let token = "Bearer aaaa.bbbb.s3cret-signature";
    let header = |name: &str, value: &str| json!({"name": name, "value": value});
    let headers = [
        header("authorization", token),
        header("cookie", "session=s3cret-cookie"),
        header("x-plain", "shown"),
    ];
    gateway
        .get("/users/7?key=s3cret-query")
        .header("authorization", token)
        .fetch();
    let mut bodies: Vec<_> = PATHS
        .iter()
        .map(|path| gateway.admin(path).text())
        .collect();
    for target in ["/users/7", "/open?key=s3cret-query"] {
        let question = json!({"method": "GET", "target": target, "headers": headers});
        bodies.push(explain(&gateway, &question).text());
    }
    assert!(
        bodies.iter().any(|body| body.contains("shown")),
        "the search finds what is there"
    );
    for body in bodies {
        for secret in [SECRET, ADMIN_TOKEN, "s3cret"] {
            assert!(!body.contains(secret), "{secret} in {body}");
        }
    }
}

#[test]
fn a_page_of_somebody_else_learns_nothing() {
    let backend = Backend::replying("ok");
    let gateway = start(&backend);
    let right = format!("Bearer {ADMIN_TOKEN}");
    let cases: [(&[(HeaderName, &str)], u16); 6] = [
        (&[(HOST, "localhost:9090")], 200),
        (&[(HOST, "rebound.example:9090")], 403),
        (
            &[
                (HOST, "rebound.example"),
                (http::header::AUTHORIZATION, &right),
            ],
            200,
        ),
        (&[(ORIGIN, "http://evil.example")], 403),
        (&[(ORIGIN, "null")], 403),
        (&[(HOST, "localhost"), (ORIGIN, "http://localhost")], 200),
    ];
    for (headers, status) in cases {
        for path in ["/", "/page.js", "/api/v1/config"] {
            let mut request = gateway.admin_request(Method::GET, path);
            for (name, value) in headers {
                request = request.header(name, *value);
            }
            assert_eq!(request.fetch().status(), status, "{path} {headers:?}");
        }
    }
    // A form or a script of another page can send this type unasked.
    let plain = gateway
        .admin_request(Method::POST, "/api/v1/explain")
        .header(CONTENT_TYPE, "text/plain")
        .body("{\"method\": \"GET\", \"target\": \"/\"}")
        .fetch();
    assert_eq!(plain.status(), 415);
    // Probes and scrapes come by any name.
    let probe = gateway.admin_request(Method::GET, "/healthz");
    assert_eq!(probe.header(HOST, "gateway.internal").fetch().status(), 200);
}

#[test]
fn from_other_machines_an_explanation_needs_the_token() {
    let question = json!({"method": "GET", "target": "/"}).to_string();
    for (token, statuses) in [
        ("", [403, 403]),
        (", token: {env: ADMIN_TOKEN}", [401, 200]),
    ] {
        let yaml = format!(
            "admin: {{address: \"0.0.0.0:0\"{token}}}
routes:
  - {{name: all, match: {{path_prefix: /}}, auth: none, respond: {{status: 200}}}}
"
        );
        let gateway = TestGateway::start(&yaml, &[("ADMIN_TOKEN", &ADMIN_TOKEN)]);
        let port = gateway.admin_address().port();
        for (shown, status) in ["wrong-token-0123456789", ADMIN_TOKEN].iter().zip(statuses) {
            let answer = client()
                .post(format!("http://127.0.0.1:{port}/api/v1/explain"))
                .bearer_auth(shown)
                .header(CONTENT_TYPE, "application/json")
                .body(question.clone())
                .fetch();
            assert_eq!(answer.status(), status, "{token} {shown}");
        }
    }
}

#[test]
fn the_page_is_served_with_a_policy_that_lets_in_nothing_else() {
    let backend = Backend::replying("ok");
    let gateway = TestGateway::in_front_of(&backend);
    for (path, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/page.js", "text/javascript; charset=utf-8"),
        ("/page.css", "text/css; charset=utf-8"),
    ] {
        let answer = gateway.admin(path);
        assert_eq!(answer.header("content-type").as_deref(), Some(kind));
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(
            policy.contains("default-src 'none'") && !policy.contains("unsafe"),
            "{policy}"
        );
    }
    let page = gateway.admin("/").text();
    for inline in [
        "<style",
        " style=",
        " onclick",
        "javascript:",
        "<script>",
        "https://",
    ] {
        assert!(!page.contains(inline), "{inline}");
    }
}

pub(crate) fn check(document: &Value, operation: &Value, answer: &Reply, at: &str) {
    let response = &operation["responses"][answer.status().to_string()];
    let kind = answer.header("content-type").expect("a media type");
    let schema = &response["content"][&kind]["schema"];
    assert!(
        schema.is_object(),
        "{at}: {} as {kind} is not documented",
        answer.status()
    );
    conforms(document, schema, &answer.json(), at);
}

/// Fails unless `value` is as `schema` says, as far as the document uses JSON Schema.
fn conforms(document: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#'));
        return conforms(
            document,
            target.expect("a reference leads somewhere"),
            value,
            at,
        );
    }
    let kinds = match &schema["type"] {
        Value::Array(kinds) => kinds.clone(),
        kind => vec![kind.clone()],
    };
    let is = |kind: &Value| match kind.as_str().expect("every schema has a type") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("{at}: type `{other}` is not known here"),
    };
    assert!(kinds.iter().any(is), "{at}: {value} is not {kinds:?}");
    if let Some(words) = schema["enum"].as_array() {
        assert!(words.contains(value), "{at}: {value} is none of {words:?}");
    }
    for item in value.as_array().into_iter().flatten() {
        conforms(document, &schema["items"], item, &format!("{at}[]"));
    }
    let Some(members) = value.as_object() else {
        return;
    };
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().expect("a name");
        assert!(members.contains_key(name), "{at}: no `{name}`");
    }
    for (name, member) in members {
        let at = format!("{at}.{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (property @ Value::Object(_), _) => conforms(document, property, member, &at),
            (_, others @ Value::Object(_)) => conforms(document, others, member, &at),
            (_, Value::Bool(false)) => panic!("{at} is not documented"),
            _ => {}
        }
    }
}

fn object(value: &Value) -> &serde_json::Map<String, Value> {
    value.as_object().expect("an object")
}

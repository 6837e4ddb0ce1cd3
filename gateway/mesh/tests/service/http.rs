//! What clients see.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode};
use mesh::headers::X_REQUEST_ID;
use mesh::testing::openapi::Failing;
use mesh::testing::{Running, describe_problem, settings};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::notes::{Note, gated, read_until, text};

#[tokio::test]
async fn pages_follow_each_other_by_their_links_and_the_last_has_none() {
    let server = Running::seeded::<Note>().await;
    let mut path = "/notes?limit=2".to_owned();
    let mut pages = Vec::new();
    loop {
        let answer = server.get(&path).await;
        pages.push(text(&answer).to_owned());
        let Some(link) = answer.headers().get("link") else {
            break;
        };
        let link = link.to_str().unwrap();
        path = link
            .strip_prefix('<')
            .unwrap()
            .strip_suffix(">; rel=\"next\"")
            .unwrap()
            .to_owned();
    }
    assert_eq!(
        pages,
        [
            r#"[{"id":1,"text":"a"},{"id":2,"text":"b"}]"#,
            r#"[{"id":3,"text":"c"},{"id":4,"text":"d"}]"#,
            r#"[{"id":5,"text":"e"}]"#,
        ]
    );
    // A page that is just full is the last one, and says so.
    assert_eq!(
        server.get("/notes?limit=5").await.headers().get("link"),
        None
    );
    assert_eq!(server.get("/notes?after=5").await.body(), "[]");
}

#[tokio::test]
async fn every_refusal_is_a_problem_with_a_code_of_its_own() {
    let server = Running::seeded::<Note>().await;
    let get = Method::GET;
    for (method, path, expected) in [
        (&get, "/nothing", "404 no_route: "),
        (&get, "/notes/", "404 no_route: "),
        (&get, "/notes/1/", "404 no_route: "),
        (
            &get,
            "/notes/6",
            "404 not_found: /notes has no row with id 6",
        ),
        (
            &get,
            "/notes/0",
            "404 not_found: /notes has no row with id 0",
        ),
        (
            &get,
            "/notes/x",
            "400 invalid_id: `x` is not an id; an id is a decimal number from 0 to 9223372036854775807",
        ),
        (
            &get,
            "/notes/01",
            "400 invalid_id: `01` is not an id; an id is a decimal number from 0 to 9223372036854775807",
        ),
        (&get, "/notes/%FF", "400 bad_request: "),
        (
            &get,
            "/notes/1?a=b",
            "400 invalid_parameter: `a` is not known here; this path takes no parameters",
        ),
        (
            &get,
            "/notes?limit=0",
            "400 invalid_parameter: `limit` is `0`; it must be a number from 1 to 100",
        ),
        (
            &Method::POST,
            "/notes",
            "405 method_not_allowed: this path answers GET and HEAD",
        ),
        (
            &Method::DELETE,
            "/notes/1",
            "405 method_not_allowed: this path answers GET and HEAD",
        ),
        (
            &Method::OPTIONS,
            "/healthz",
            "405 method_not_allowed: this path answers GET and HEAD",
        ),
        (&Method::POST, "/nothing", "404 no_route: "),
    ] {
        assert_eq!(
            server.problem(method.clone(), path).await,
            expected,
            "{method} {path}"
        );
    }
    let answer = server.send(Method::PUT, "/notes", HeaderMap::new()).await;
    assert_eq!(answer.headers()["allow"], "GET, HEAD");
}

#[tokio::test]
async fn a_body_above_the_bound_is_refused_before_it_is_read() {
    let server = Running::seeded::<Note>().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream
        .write_all(b"GET /notes HTTP/1.1\r\nhost: x\r\ncontent-length: 65537\r\n\r\n")
        .await
        .unwrap();
    let answer = read_until(&mut stream, "}").await;
    assert!(
        answer.starts_with("HTTP/1.1 413 ") && answer.contains("\"code\":\"body_too_large\""),
        "{answer}"
    );
}

#[tokio::test]
async fn an_acceptable_request_id_is_kept_and_any_other_replaced() {
    let server = Running::seeded::<Note>().await;
    for (sent, kept) in [("abc-1", true), ("a b", false), ("", false)] {
        let headers = HeaderMap::from_iter([(X_REQUEST_ID, HeaderValue::from_static(sent))]);
        let answer = server.send(Method::GET, "/notes", headers).await;
        let id = answer.headers()[X_REQUEST_ID].to_str().unwrap();
        assert_eq!(id == sent, kept, "{sent:?}");
        assert!(kept || id.len() == 32, "{sent:?}");
    }
}

#[tokio::test]
async fn a_database_that_fails_is_503_everywhere_but_where_only_the_process_is_asked() {
    let server = Running::start::<Note, _>(settings(), Failing).await;
    for path in ["/notes", "/notes/1", "/readyz"] {
        let answer = server.get(path).await;
        let named = if path == "/readyz" {
            "sqlite::memory:"
        } else {
            ""
        };
        assert_eq!(
            describe_problem(&answer),
            format!("503 database_unavailable: {named}"),
            "{path}"
        );
        assert_eq!(answer.headers()["retry-after"], "1", "{path}");
        assert!(
            !text(&answer).contains("fire"),
            "the cause is for the log: {}",
            text(&answer)
        );
    }
    for path in ["/", "/healthz", "/openapi.json", "/metrics"] {
        assert_eq!(server.get(path).await.status(), StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn a_panic_is_500_and_ends_neither_the_connection_nor_the_process() {
    let (server, _gate) = gated(|_| {}).await;
    assert_eq!(
        server.problem(Method::GET, "/notes/1").await,
        "500 internal_error: "
    );
    assert_eq!(server.get("/healthz").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_request_above_the_concurrency_limit_is_shed_and_probes_are_not() {
    let (server, gate) = gated(|settings| settings.limits.max_concurrent_requests = 1).await;
    let rival = async {
        gate.entered.notified().await;
        assert_eq!(
            server.problem(Method::GET, "/notes").await,
            "503 overloaded: "
        );
        assert_eq!(
            server.problem(Method::GET, "/notes/1").await,
            "503 overloaded: "
        );
        assert_eq!(server.get("/healthz").await.status(), StatusCode::OK);
        assert_eq!(server.get("/readyz").await.status(), StatusCode::OK);
        gate.opened.add_permits(1);
    };
    let (first, ()) = tokio::join!(server.get("/notes"), rival);
    assert_eq!(text(&first), r#"[{"id":1,"text":"late"}]"#);
}

#[tokio::test]
async fn a_request_above_the_time_limit_is_503() {
    let (server, _gate) =
        gated(|settings| settings.limits.request_timeout = Duration::from_millis(20)).await;
    assert_eq!(
        server.problem(Method::GET, "/notes").await,
        "503 timeout: no answer within 20ms"
    );
}

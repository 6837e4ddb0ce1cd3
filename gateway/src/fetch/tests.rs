use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap as Headers;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use reqwest::header::LOCATION;

use super::*;

const TIMEOUT: Duration = Duration::from_secs(20);

fn get_of(url: &str) -> Get<'_> {
    Get {
        url,
        is_http_allowed: false,
        accept: "application/json",
        etag: None,
        bytes_max: 100,
        timeout: TIMEOUT,
    }
}

async fn tagged(State(full): State<Arc<AtomicUsize>>, headers: Headers) -> Response {
    let etag = [(ETAG, "\"a\"")];
    if headers.get(IF_NONE_MATCH).is_some_and(|tag| tag == "\"a\"") {
        return (StatusCode::NOT_MODIFIED, etag).into_response();
    }
    full.fetch_add(1, Ordering::SeqCst);
    (etag, "tagged").into_response()
}

async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
    url
}

/// A server with an answer of each kind, and how often it sent the tagged one in full.
async fn server() -> (String, Arc<AtomicUsize>) {
    let full = Arc::new(AtomicUsize::new(0));
    let elsewhere = serve(Router::new().route("/", get(|| async { "elsewhere" }))).await;
    let to = |status: StatusCode, location: String| {
        get(move || async move { (status, [(LOCATION, location)]).into_response() })
    };
    let router = Router::new()
        .route("/ok", get(|| async { "ok" }))
        .route(
            "/accept",
            get(|headers: Headers| async move {
                headers[ACCEPT].to_str().unwrap_or_default().to_owned()
            }),
        )
        .route("/tagged", get(tagged))
        .route("/large", get(|| async { "x".repeat(101) }))
        .route("/gone", get(|| async { StatusCode::GONE }))
        .route("/moved", get(|| async { Redirect::permanent("/ok") }))
        .route("/loop", get(|| async { Redirect::temporary("/loop") }))
        .route("/port", to(StatusCode::FOUND, elsewhere))
        .route("/host", to(StatusCode::FOUND, "http://localhost:9/".into()))
        .route("/hang", get(std::future::pending::<()>))
        .route("/unasked", get(|| async { StatusCode::NOT_MODIFIED }))
        .with_state(Arc::clone(&full));
    (serve(router).await, full)
}

async fn fetch(get: Get<'_>) -> Result<Fetched, FetchError> {
    Fetcher::new().unwrap().get(get).await
}

fn body(fetched: &Fetched) -> &[u8] {
    match fetched {
        Fetched::Document { body, .. } => body,
        Fetched::NotModified { .. } => b"",
    }
}

#[tokio::test]
async fn a_document_is_fetched_and_a_redirect_on_its_own_host_followed() {
    let (url, _) = server().await;
    for (path, expected) in [
        ("/ok", "ok"),
        ("/moved", "ok"),
        ("/accept", "application/json"),
    ] {
        let fetched = fetch(get_of(&format!("{url}{path}"))).await.expect(path);
        assert_eq!(body(&fetched), expected.as_bytes(), "{path}");
    }
}

#[tokio::test]
async fn what_is_no_document_says_why_and_shows_no_secret() {
    let (url, _) = server().await;
    let (_, address) = url.split_once("//").unwrap();
    for (target, is_http_allowed, message) in [
        ("", false, "is not an http or https URL"),
        ("/keys", false, "is not an http or https URL"),
        ("ftp://a.example/", false, "is not an http or https URL"),
        (
            "http://me:secret@a.example/x?token=secret",
            false,
            "`http://a.example/x` is plain http",
        ),
        ("http://127.0.0.1.a.example/", false, "is plain http"),
        ("URL/gone", false, "/gone` answered with status 410"),
        ("URL/unasked", false, "answered with status 304"),
        ("URL/large", false, "sent more than 100 bytes"),
        ("URL/loop", false, "it redirects more than 3 times"),
        (
            "URL/host?token=secret",
            false,
            "another scheme, host or port",
        ),
        ("URL/host", true, "another scheme, host or port"),
        ("URL/port", false, "another scheme, host or port"),
        ("http://127.0.0.1:1/", false, "refused"),
    ] {
        let target = target.replace("URL", &format!("http://me:secret@{address}"));
        let get = Get {
            is_http_allowed,
            ..get_of(&target)
        };
        let told = fetch(get).await.expect_err(&target).to_string();
        assert!(told.contains(message), "{target}: {told}");
        assert!(!told.contains("secret"), "{target}: {told}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_left() {
    let (url, _) = server().await;
    let url = format!("{url}/hang");
    let get = Get {
        timeout: Duration::from_millis(20),
        ..get_of(&url)
    };
    let told = fetch(get).await.expect_err("it hangs").to_string();
    assert!(told.contains("did not answer within 20ms"), "{told}");
}

#[tokio::test]
async fn a_tag_saves_the_body() {
    let (url, full) = server().await;
    let url = format!("{url}/tagged");
    let first = fetch(get_of(&url)).await.unwrap();
    assert_eq!(body(&first), b"tagged");
    let etag = first.etag();
    assert!(etag.is_some());
    let again = fetch(Get {
        etag,
        ..get_of(&url)
    })
    .await
    .unwrap();
    assert!(matches!(again, Fetched::NotModified { .. }));
    assert_eq!(full.load(Ordering::SeqCst), 1);
    let other = HeaderValue::from_static("\"b\"");
    let etag = Some(&other);
    let changed = fetch(Get {
        etag,
        ..get_of(&url)
    })
    .await
    .unwrap();
    assert_eq!(body(&changed), b"tagged");
}

use std::sync::Mutex;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;

use super::*;

/// Time for anything on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Public keys of RFC 7515 appendix A.3 and RFC 7638 section 3.1.
const EC: &str = r#"{"kid":"ec","kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
const RSA: &str = r#"{"kid":"rsa","kty":"RSA","e":"AQAB","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}"#;

fn key_set(keys: &[&str]) -> String {
    format!("{{\"keys\":[{}]}}", keys.join(","))
}

type Published = Arc<Mutex<(StatusCode, String)>>;

/// A provider that publishes what the test says.
async fn provider(document: String) -> (String, Published) {
    let published: Published = Arc::new(Mutex::new((StatusCode::OK, document)));
    let answer = |State(published): State<Published>| async move {
        let (status, document) = published.lock().unwrap().clone();
        let response: Response = (status, document).into_response();
        response
    };
    let router = Router::new()
        .route("/keys", get(answer))
        .route("/moved", get(|| async { Redirect::permanent("/keys") }))
        .with_state(Arc::clone(&published));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
    (url, published)
}

fn watch(place: KeyPlace) -> KeyWatch {
    let source = KeySource {
        place,
        refresh_interval: Duration::from_millis(20),
    };
    KeyWatch::new(
        "main",
        source,
        Arc::default(),
        Clock::new(),
        http_client().unwrap(),
    )
}

fn ids(trust: &ArcSwap<Trust>) -> Vec<String> {
    trust
        .load()
        .keys()
        .keys()
        .iter()
        .filter_map(|key| key.id.clone())
        .collect()
}

async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test]
async fn a_rotation_is_picked_up_at_the_next_reading_and_says_readiness_once() {
    let (url, published) = provider(key_set(&[EC])).await;
    let watch = watch(KeyPlace::Url(format!("{url}/keys")));
    let (ring, stats) = (Arc::clone(&watch.trust), watch.stats());
    let lifecycle = Arc::new(Lifecycle::default());
    lifecycle.wait_for([waiting_name("main")]);
    let watching = tokio::spawn(watch.run(Arc::clone(&lifecycle)));

    eventually("the first key", || ids(&ring) == ["ec"]).await;
    eventually("readiness", || lifecycle.unready().is_none()).await;
    let generation = ring.load().generation();
    let readings = stats.successes.load(Ordering::Relaxed);
    eventually("two more readings", || {
        stats.successes.load(Ordering::Relaxed) > readings + 1
    })
    .await;
    assert_eq!(
        ring.load().generation(),
        generation,
        "nothing changed, so no token is forgotten"
    );

    published.lock().unwrap().1 = key_set(&[RSA, EC]);
    eventually("both keys", || ids(&ring) == ["rsa", "ec"]).await;
    published.lock().unwrap().1 = key_set(&[RSA]);
    eventually("the old key is gone", || ids(&ring) == ["rsa"]).await;
    assert!(ring.load().generation() > generation);
    assert!(stats.last_success().is_some());
    watching.abort();
}

#[tokio::test]
async fn a_reading_that_fails_keeps_the_keys_at_hand() {
    let (url, published) = provider(key_set(&[EC])).await;
    let watch = watch(KeyPlace::Url(format!("{url}/keys")));
    watch.refresh().await.unwrap();
    for (status, document, message) in [
        (
            StatusCode::BAD_GATEWAY,
            key_set(&[RSA]),
            "answered with status 502",
        ),
        (
            StatusCode::NO_CONTENT,
            String::new(),
            "answered with status 204",
        ),
        (StatusCode::OK, String::new(), "not a JWK set"),
        (StatusCode::OK, "<html>".into(), "not a JWK set"),
        (StatusCode::OK, key_set(&[]), "no key that can verify"),
        (
            StatusCode::OK,
            key_set(&[r#"{"kty":"oct","k":"c2VjcmV0"}"#]),
            "no key that can verify",
        ),
        (
            StatusCode::OK,
            " ".repeat(DOCUMENT_BYTES_MAX + 1),
            "larger than",
        ),
    ] {
        *published.lock().unwrap() = (status, document);
        let error = watch.refresh().await.unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
        assert_eq!(ids(&watch.trust), ["ec"], "{message}");
    }
}

#[tokio::test]
async fn keys_come_from_where_the_file_says_and_nowhere_else() {
    let (url, _) = provider(key_set(&[EC])).await;
    let watch = watch(KeyPlace::Url(format!("{url}/moved")));
    let error = watch.refresh().await.unwrap_err().to_string();
    assert!(error.contains("answered with status 308"), "{error}");
}

#[tokio::test]
async fn a_key_file_is_read_again_too() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), key_set(&[EC])).unwrap();
    let watch = watch(KeyPlace::File(file.path().display().to_string()));
    watch.read_file_now().unwrap();
    let ring = Arc::clone(&watch.trust);
    assert_eq!(ids(&ring), ["ec"]);
    let watching = tokio::spawn(watch.run(Arc::default()));
    std::fs::write(file.path(), key_set(&[RSA])).unwrap();
    eventually("the new key", || ids(&ring) == ["rsa"]).await;
    watching.abort();
}

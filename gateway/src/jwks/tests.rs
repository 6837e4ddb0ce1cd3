//! The places of keys: what each reading brings, and which failures have which names.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use gateway_core::auth::keys::KeyRing;
use gateway_core::file::{KeyPlace, KeySource, SecretEncoding};
use jsonwebtoken::Algorithm;

use super::source::{Reading, Source};
use super::*;
use crate::clock::Clock;

/// Public keys of RFC 7515 appendix A.3 and RFC 7638 section 3.1.
const EC: &str = r#"{"kid":"ec","kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
const RSA: &str = r#"{"kid":"rsa","kty":"RSA","e":"AQAB","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}"#;

fn key_set(keys: &[&str]) -> String {
    format!("{{\"keys\":[{}]}}", keys.join(","))
}

/// What a provider answers at one of its paths.
#[derive(Clone)]
struct Published {
    status: StatusCode,
    cache_control: &'static str,
    document: String,
}

/// A provider that publishes what a test says: `/keys`, `/configuration`, and `/moved/N`, which
/// redirects N times before the keys.
struct Provider {
    url: String,
    keys: Arc<Mutex<Published>>,
    configuration: Arc<Mutex<Published>>,
}

impl Provider {
    async fn start() -> Self {
        let good = |document| {
            Arc::new(Mutex::new(Published {
                status: StatusCode::OK,
                cache_control: "",
                document,
            }))
        };
        let (keys, configuration) = (good(key_set(&[EC])), good(String::new()));
        let answer = |State(published): State<Arc<Mutex<Published>>>| async move {
            let published = published.lock().unwrap().clone();
            let headers = [(header::CACHE_CONTROL, published.cache_control)];
            let response: Response =
                (published.status, headers, published.document).into_response();
            response
        };
        let moved = |Path(times): Path<u32>| async move {
            match times {
                0 | 1 => Redirect::temporary("/keys"),
                more => Redirect::temporary(&format!("/moved/{}", more - 1)),
            }
        };
        let away = |Path(to): Path<String>| async move { Redirect::temporary(&to) };
        let router = Router::new()
            .route("/keys", get(answer).with_state(Arc::clone(&keys)))
            .route(
                "/configuration",
                get(answer).with_state(Arc::clone(&configuration)),
            )
            .route("/moved/{times}", get(moved))
            .route("/away/{*to}", get(away));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        Self {
            url,
            keys,
            configuration,
        }
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    fn configure(&self, issuer: &str, jwks_uri: &str) {
        let document = serde_json::json!({"issuer": issuer, "jwks_uri": jwks_uri, "more": []});
        self.configuration.lock().unwrap().document = document.to_string();
    }
}

fn key_source(place: KeyPlace) -> KeySource {
    let minute = Duration::from_mins(1);
    KeySource {
        place,
        issuer: "https://issuer.example/".into(),
        allow_http: false,
        refresh_interval: minute,
        refresh_interval_min: minute,
        refresh_interval_max: minute,
        max_stale: 60 * minute,
        unknown_key_wait: Duration::from_secs(5),
    }
}

fn stats() -> KeyStats {
    KeyStats::new(KeyClock::new(Clock::new(), 1), 1)
}

fn source(place: KeyPlace) -> Source {
    Source::new(&key_source(place), &Fetcher::new().unwrap())
}

fn ids(ring: &KeyRing) -> Vec<&str> {
    let keys = ring.keys().iter();
    keys.map(|key| key.id.as_deref().unwrap_or("nameless"))
        .collect()
}

/// The ids that a reading brings, or its failure's label and text.
async fn read(source: &mut Source) -> Result<String, (Outcome, String)> {
    match source.read(1, &stats()).await {
        Ok(Reading::New(new)) => Ok(ids(&new.ring).join(",")),
        Ok(Reading::Unchanged) => Ok("unchanged".into()),
        Err(error) => Err((error.outcome(), error.to_string())),
    }
}

#[tokio::test]
async fn every_answer_that_is_no_key_set_is_a_failure_of_its_own() {
    let provider = Provider::start().await;
    let mut source = source(KeyPlace::Url(provider.at("/keys")));
    assert_eq!(read(&mut source).await.unwrap(), "ec");
    let oct = key_set(&[r#"{"kty":"oct","k":"c2VjcmV0"}"#]);
    let ok = StatusCode::OK;
    for (status, document, outcome, message) in [
        (
            StatusCode::BAD_GATEWAY,
            key_set(&[RSA]),
            Outcome::Status,
            "answered with status 502",
        ),
        (
            StatusCode::NO_CONTENT,
            String::new(),
            Outcome::Status,
            "answered with status 204",
        ),
        (ok, String::new(), Outcome::Malformed, "not a JWK set"),
        (ok, "<html>".into(), Outcome::Malformed, "not a JWK set"),
        (ok, key_set(&[]), Outcome::NoKeys, "no key that can verify"),
        (ok, oct, Outcome::NoKeys, "no key that can verify"),
        (
            ok,
            " ".repeat(DOCUMENT_BYTES_MAX + 1),
            Outcome::TooLarge,
            "larger than",
        ),
    ] {
        *provider.keys.lock().unwrap() = Published {
            status,
            cache_control: "",
            document,
        };
        let (found, text) = read(&mut source).await.unwrap_err();
        assert_eq!(found, outcome, "{text}");
        assert!(text.contains(message), "{text}");
    }
}

#[tokio::test]
async fn an_answer_says_for_how_long_it_holds() {
    let provider = Provider::start().await;
    let mut source = source(KeyPlace::Url(provider.at("/keys")));
    for (cache_control, expected) in [
        ("", None),
        ("public, max-age=90", Some(90_000)),
        ("no-store", Some(0)),
    ] {
        provider.keys.lock().unwrap().cache_control = cache_control;
        let Ok(Reading::New(new)) = source.read(1, &stats()).await else {
            panic!("no keys");
        };
        assert_eq!(new.max_age, expected, "{cache_control}");
    }
}

#[tokio::test]
async fn redirects_stay_with_their_host_and_are_few() {
    let provider = Provider::start().await;
    let other = Provider::start().await;
    let port = other.url.rsplit(':').next().unwrap().to_owned();
    for (path, expected) in [
        ("/moved/1".to_owned(), Ok("ec")),
        ("/moved/3".into(), Ok("ec")),
        ("/moved/4".into(), Err("more than 3 times")),
        (
            format!("/away/{}/keys", other.url),
            Err("redirects to `http://127.0.0.1:"),
        ),
        // The same machine by another name, or another scheme, is another place.
        (
            format!("/away/http://localhost:{port}/keys?a=secret"),
            Err("/keys`"),
        ),
        (
            format!("/away/{}/keys", provider.url.replace("http:", "https:")),
            Err("redirects to `https:"),
        ),
    ] {
        let read = read(&mut source(KeyPlace::Url(provider.at(&path)))).await;
        match (read, expected) {
            (Ok(ids), Ok(expected)) => assert_eq!(ids, expected, "{path}"),
            (Err((outcome, text)), Err(message)) => {
                assert_eq!(outcome, Outcome::Redirect, "{path}: {text}");
                assert!(text.contains(message), "{path}: {text}");
            }
            (read, _) => panic!("{path}: {read:?}"),
        }
    }
}

#[tokio::test]
async fn an_issuer_that_cannot_be_reached_is_named() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let url = format!("http://{address}/keys");
    let (outcome, text) = read(&mut source(KeyPlace::Url(url))).await.unwrap_err();
    assert_eq!(outcome, Outcome::Network);
    assert!(text.contains(&address.to_string()), "{text}");
}

#[tokio::test]
async fn an_issuers_document_is_believed_only_if_it_is_the_issuers() {
    let provider = Provider::start().await;
    let issuer = "https://issuer.example/";
    let keys = provider.at("/keys");
    for (document_issuer, jwks_uri, expected) in [
        (issuer, keys.as_str(), Ok("ec")),
        (
            "https://issuer.example",
            &keys,
            Err(Outcome::IssuerMismatch),
        ),
        (
            "https://Issuer.example/",
            &keys,
            Err(Outcome::IssuerMismatch),
        ),
        (issuer, "http://issuer.example/keys", Err(Outcome::Insecure)),
        (issuer, "ftp://127.0.0.1/keys", Err(Outcome::Insecure)),
        (issuer, "file:///etc/passwd", Err(Outcome::Insecure)),
        (issuer, "/keys", Err(Outcome::Insecure)),
    ] {
        provider.configure(document_issuer, jwks_uri);
        let mut source = source(KeyPlace::Discovery(provider.at("/configuration")));
        let read = read(&mut source).await;
        let read = read.as_deref().map_err(|(outcome, _)| *outcome);
        assert_eq!(read, expected, "{document_issuer} {jwks_uri}");
    }
    provider.configuration.lock().unwrap().document = r#"{"issuer":7}"#.into();
    let mut source = source(KeyPlace::Discovery(provider.at("/configuration")));
    let (outcome, text) = read(&mut source).await.unwrap_err();
    assert_eq!(outcome, Outcome::Malformed, "{text}");
}

#[tokio::test]
async fn an_issuers_last_word_holds_while_its_document_cannot_be_read() {
    let provider = Provider::start().await;
    provider.configure("https://issuer.example/", &provider.at("/keys"));
    let mut source = source(KeyPlace::Discovery(provider.at("/configuration")));
    let stats = stats();
    let hour = 3_600_000;
    let counted = |outcome| stats.discoveries(outcome);
    for (now, is_up, good, bad) in [
        (1, true, 1, 0),
        (hour, true, 1, 0),
        (hour + 1, true, 2, 0),
        (2 * hour + 1, false, 2, 1),
        (2 * hour + 2, true, 3, 1),
    ] {
        provider.configuration.lock().unwrap().status = if is_up {
            StatusCode::OK
        } else {
            StatusCode::BAD_GATEWAY
        };
        source.read(now, &stats).await.unwrap();
        let counts = (counted(Outcome::Success), counted(Outcome::Status));
        assert_eq!(counts, (good, bad), "{now}");
    }
    // Keys that cannot be fetched may have moved.
    provider.keys.lock().unwrap().status = StatusCode::NOT_FOUND;
    source.read(2 * hour + 3, &stats).await.unwrap_err();
    provider.configure("https://issuer.example/", &provider.at("/moved/1"));
    provider.keys.lock().unwrap().status = StatusCode::OK;
    source.read(2 * hour + 4, &stats).await.unwrap();
    assert_eq!(counted(Outcome::Success), 4);
}

#[tokio::test]
async fn a_file_is_read_when_it_has_changed_in_whichever_way() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let old = std::time::SystemTime::now() - Duration::from_mins(1);
    let write = |name: &str, keys: &[&str]| {
        std::fs::write(path(name), key_set(keys)).unwrap();
        let file = std::fs::File::options().write(true).open(path(name));
        file.unwrap().set_modified(old).unwrap();
    };
    write("a", &[EC]);
    write("b", &[RSA]);
    std::os::unix::fs::symlink(path("a"), path("keys")).unwrap();
    let mut source = source(KeyPlace::File(path("keys").display().to_string()));
    assert_eq!(read(&mut source).await.unwrap(), "ec");
    assert_eq!(read(&mut source).await.unwrap(), "unchanged");
    // The link points elsewhere, and takes the old one's place by a rename.
    std::os::unix::fs::symlink(path("b"), path("next")).unwrap();
    std::fs::rename(path("next"), path("keys")).unwrap();
    assert_eq!(read(&mut source).await.unwrap(), "rsa");
    assert_eq!(read(&mut source).await.unwrap(), "unchanged");
    // In place, with the same length and time of change.
    write("b", &[&RSA.replace("\"rsa\"", "\"asr\"")]);
    assert_eq!(read(&mut source).await.unwrap(), "asr");
    // A rename over it.
    write("c", &[EC, RSA]);
    std::fs::rename(path("c"), path("b")).unwrap();
    assert_eq!(read(&mut source).await.unwrap(), "ec,rsa");
    // What is not good is looked at again, though it does not change.
    std::fs::write(path("b"), "half of a s").unwrap();
    for _ in 0..2 {
        let (outcome, _) = read(&mut source).await.unwrap_err();
        assert_eq!(outcome, Outcome::Malformed);
    }
    std::fs::remove_file(path("b")).unwrap();
    assert_eq!(read(&mut source).await.unwrap_err().0, Outcome::Unreadable);
    std::fs::create_dir(path("b")).unwrap();
    assert_eq!(read(&mut source).await.unwrap_err().0, Outcome::Unreadable);
}

#[tokio::test]
async fn a_file_that_has_just_been_written_is_read_once_more() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), key_set(&[EC])).unwrap();
    let mut source = source(KeyPlace::File(file.path().display().to_string()));
    assert_eq!(read(&mut source).await.unwrap(), "ec");
    assert_eq!(read(&mut source).await.unwrap(), "ec");
}

#[tokio::test]
async fn a_secret_lies_in_a_file_too() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let place = KeyPlace::SecretFile {
        path: file.path().display().to_string(),
        encoding: SecretEncoding::Hex,
        algorithms: vec![Algorithm::HS256],
    };
    let mut source = source(place);
    std::fs::write(file.path(), "ab".repeat(32) + "\n").unwrap();
    assert_eq!(read(&mut source).await.unwrap(), "nameless");
    for (text, message) in [
        ("xy", "not written as hex"),
        ("abab", "too weak for HS256"),
        ("", "is empty"),
    ] {
        std::fs::write(file.path(), text).unwrap();
        let (_, error) = read(&mut source).await.unwrap_err();
        assert!(error.contains(message), "{error}");
        assert!(!error.contains("xy"), "{error}");
    }
}

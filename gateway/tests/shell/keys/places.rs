//! The places of keys: what is read, when it is read again, and what is remembered of it.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::*;

#[test]
fn cache_control_says_when_keys_are_fetched_again_within_the_bounds() {
    const FACTOR: u32 = 600;
    let times = "refresh_interval: 1d\n    max_stale: 30d\n    min_refresh_interval: 30s\n    \
                 max_refresh_interval: 1d";
    for (mood, least_seconds) in [
        // Without the header a day would pass: longer than this test waits.
        (Mood::Header("cache-control", "max-age=300"), 270),
        (Mood::Header("cache-control", "no-store"), 27),
        (Mood::Header("cache-control", "max-age=1"), 27),
    ] {
        let provider = KeyProvider::with(&[es256()]);
        provider.be(mood);
        let _gateway = start(&provider, times, FACTOR);
        let asked = eventually("it is asked three times", || {
            let asked = provider.asked_for_keys();
            (asked.len() >= 3).then_some(asked)
        });
        for pair in asked.windows(2) {
            let simulated = (pair[1] - pair[0]) * FACTOR;
            // The engine counts in milliseconds of real time, 600 of its own.
            let grain = Duration::from_millis(1200);
            let least = Duration::from_secs(least_seconds);
            assert!(simulated + grain >= least, "{simulated:?}");
        }
    }
}

#[test]
fn keys_that_moved_within_their_host_are_found() {
    let provider = KeyProvider::with(&[es256()]);
    let keys = format!("jwks_uri: {}", provider.url("/moved"));
    let gateway = Setting {
        keys: &keys,
        ..PLAIN
    }
    .start();
    gateway.wait_until_ready();
    assert_eq!(ask(&gateway, &token(es256())).verdict(), "200");
}

#[test]
fn remembered_keys_serve_while_the_provider_is_down_at_the_start() {
    let directory = tempfile::tempdir().expect("a directory");
    let top = format!(
        "state_directory: {}",
        directory.path().join("state").display()
    );
    let provider = KeyProvider::with(&[es256()]);
    let keys = format!("jwks_uri: {}", provider.url("/jwks.json"));
    let setting = Setting {
        top: &top,
        keys: &keys,
        ..PLAIN
    };
    let first = setting.start();
    first.wait_until_ready();
    let file = directory.path().join("state/jwks-main.json");
    eventually("keys are remembered", || file.exists().then_some(()));
    first.join();

    provider.be(Mood::Status(503));
    let second = setting.start();
    assert_eq!(ask(&second, &token(es256())).verdict(), "200", "at once");
    second.wait_until_ready();
    // It goes on asking, and a key that came meanwhile is found.
    let new = Key::es256("new");
    provider.publish(&[es256(), &new]);
    provider.be(Mood::Good);
    eventually("the new key serves", || {
        (ask(&second, &token(&new)).status() == 200).then_some(())
    });
    second.join();

    provider.be(Mood::Status(503));
    std::fs::write(&file, "{\"version\":1,").expect("a file");
    let third = setting.start();
    let reply = ask(&third, &token(es256()));
    assert_eq!(reply.verdict(), "503 jwt_keys_unavailable", "damaged");
    assert_eq!(third.admin("/readyz").status(), 503);
}

#[test]
fn an_issuer_says_by_itself_where_its_keys_are() {
    let provider = KeyProvider::with(&[es256()]);
    let issuer = provider.url("");
    let setting = Setting {
        issuer: &issuer,
        keys: "discovery: true",
        ..PLAIN
    };
    let gateway = setting.start();
    gateway.wait_until_ready();
    let token = es256().sign(&claims(json!({"iss": issuer})));
    assert_eq!(ask(&gateway, &token).verdict(), "200");
    drop(gateway);

    provider.call_itself("https://somebody.example/");
    let gateway = setting.start();
    let mismatches =
        "gateway_jwks_discoveries_total{provider=\"main\",outcome=\"issuer_mismatch\"}";
    eventually("the document is refused", || {
        (gateway.metrics().value(mismatches) > 0).then_some(())
    });
    assert_eq!(gateway.admin("/readyz").status(), 503);
    assert_eq!(ask(&gateway, &token).verdict(), "503 jwt_keys_unavailable");
}

#[test]
fn a_file_of_keys_can_be_replaced_without_refusing_anybody() {
    let (old, new) = (Key::es256("old"), Key::es256("new"));
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("keys.json");
    write_key_set(&path, &[&old]);
    let gateway = Setting {
        keys: &format!("jwks_file: {}", path.display()),
        ..PLAIN
    }
    .start();
    let load = Load::start(&gateway, token(&old));
    load.go_on_for(20);
    load.switch(token(&new), || {
        let next = directory.path().join("next.json");
        write_key_set(&next, &[&new]);
        std::fs::rename(next, &path).expect("a rename");
    });
    load.go_on_for(20);
    assert_eq!(load.end(), [""; 0]);
    assert_eq!(ask(&gateway, &token(&old)).verdict(), "401 jwt_key_unknown");
}

#[test]
fn keys_in_the_routes_file_need_nobody() {
    let set = crate::support::tokens::key_set(&[es256()]);
    let gateway = Setting {
        keys: &format!("jwks: {set}"),
        ..PLAIN
    }
    .start();
    assert_eq!(ask(&gateway, &token(es256())).verdict(), "200", "at once");
    let unknown = es256().sign_as("unknown", &claims(json!({})));
    assert_eq!(ask(&gateway, &unknown).verdict(), "401 jwt_key_unknown");
}

fn hs256(secret: &str, claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).expect("it signs")
}

#[test]
fn a_secret_comes_from_the_environment_or_from_a_file() {
    let (first, second) = ("a".repeat(32), "b".repeat(32));
    let good = |secret: &str| hs256(secret, &claims(json!({})));
    let gateway = Setting {
        algorithms: "[HS256]",
        keys: "secret: {env: JWT_SECRET}",
        variables: &[("JWT_SECRET", &first)],
        ..PLAIN
    }
    .start();
    assert_eq!(ask(&gateway, &good(&first)).verdict(), "200");
    let wrong = ask(&gateway, &good(&second)).verdict();
    assert_eq!(wrong, "401 jwt_signature_invalid");
    assert_eq!(
        ask(&gateway, &token(es256())).verdict(),
        "401 jwt_algorithm_not_allowed"
    );

    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), format!("{first}\n")).expect("it is written");
    let gateway = Setting {
        algorithms: "[HS256]",
        keys: &format!("secret: {{file: {}}}", file.path().display()),
        ..PLAIN
    }
    .start();
    assert_eq!(ask(&gateway, &good(&first)).verdict(), "200");
    std::fs::write(file.path(), format!("{second}\n")).expect("it is written");
    assert_eq!(ask(&gateway, &good(&second)).verdict(), "200");
    let wrong = ask(&gateway, &good(&first)).verdict();
    assert_eq!(wrong, "401 jwt_signature_invalid");
}

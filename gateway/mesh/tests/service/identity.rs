//! A service that demands the gateway's token, behind a gateway that a test holds in its hand.

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use mesh::identity::{Caller, HEADER, ISSUER, Options, Refusal, TOKEN_TYPE, Verifier};
use mesh::testing::{Running, describe_problem, settings};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::notes::{Note, read_until};

/// A key of a gateway, or of somebody who would like to be one.
struct Key {
    id: &'static str,
    pair: EcdsaKeyPair,
}

impl Key {
    fn new(id: &'static str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("random");
        Self { id, pair }
    }

    fn public(&self) -> Value {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        let [x, y] = [x, y].map(|part| URL_SAFE_NO_PAD.encode(part));
        json!({"kty": "EC", "crv": "P-256", "kid": self.id, "x": x, "y": y})
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", encoded(header), encoded(claims));
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(signature.expect("it signs"));
        format!("{message}.{signature}")
    }

    /// A good token with another header.
    fn headed(&self, change: &Value) -> String {
        self.sign(&header(self.id, change), &claims(&json!({})))
    }

    /// A good token with other claims.
    fn claiming(&self, change: &Value) -> String {
        self.sign(&header(self.id, &json!({})), &claims(change))
    }

    fn token(&self) -> String {
        self.claiming(&json!({}))
    }
}

fn encoded(part: &Value) -> String {
    URL_SAFE_NO_PAD.encode(part.to_string())
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

/// The members of a good header or good claims, changed; `null` takes one away.
fn changed(mut good: Value, change: &Value) -> Value {
    let members = good.as_object_mut().expect("an object");
    members.extend(change.as_object().expect("an object").clone());
    members.retain(|_, value| !value.is_null());
    good
}

fn header(id: &str, change: &Value) -> Value {
    changed(
        json!({"alg": "ES256", "typ": TOKEN_TYPE, "kid": id}),
        change,
    )
}

fn claims(change: &Value) -> Value {
    let good = json!({
        "iss": ISSUER, "aud": "notes-svc", "sub": "ann", "scope": "notes:read notes:write",
        "sub_id": {"format": "iss_sub", "iss": "https://issuer.example/", "sub": "ann"},
        "iat": now(), "exp": now() + 60, "jti": "r-1",
    });
    changed(good, change)
}

/// Publishes keys.
struct Gateway {
    url: String,
    set: Arc<Mutex<String>>,
    _serving: JoinSet<()>,
}

impl Gateway {
    async fn publishing(keys: &[&Key]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("port 0 is free");
        let url = format!("http://{}/keys", listener.local_addr().expect("bound"));
        let set = Arc::new(Mutex::new(String::new()));
        let mut serving = JoinSet::new();
        let body = Arc::clone(&set);
        serving.spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.expect("it listens");
                read_until(&mut stream, "\r\n\r\n").await;
                let body = body.lock().expect("not poisoned").clone();
                let length = body.len();
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
                stream.write_all(answer.as_bytes()).await.expect("it reads");
            }
        });
        let gateway = Self {
            url,
            set,
            _serving: serving,
        };
        gateway.publish(keys);
        gateway
    }

    fn publish(&self, keys: &[&Key]) {
        let keys: Vec<_> = keys.iter().map(|key| key.public()).collect();
        *self.set.lock().expect("not poisoned") = json!({"keys": keys}).to_string();
    }

    fn options(&self) -> Options {
        options(&self.url)
    }
}

fn options(url: &str) -> Options {
    Options {
        keys: url.parse().expect("a URL"),
        issuer: ISSUER.into(),
        audience: "notes-svc".into(),
        header: HeaderName::from_static(HEADER),
    }
}

fn with(token: &str) -> HeaderMap {
    let value = HeaderValue::from_str(token).expect("a header value");
    HeaderMap::from_iter([(HeaderName::from_static(HEADER), value)])
}

/// A verifier whose keys are kept current for as long as the set lives.
fn verifier(options: Options) -> (Arc<Verifier>, JoinSet<()>) {
    let (verifier, refresher) = Verifier::new(options);
    let mut refreshing = JoinSet::new();
    refreshing.spawn(refresher.run());
    (Arc::new(verifier), refreshing)
}

async fn service(options: Options) -> Running {
    let mut settings = settings();
    settings.require_gateway = Some(options);
    let store = mesh::testing::seeded_store::<Note>();
    Running::start::<Note, _>(settings, store).await
}

async fn get(server: &Running, token: &str) -> String {
    let answer = server.send(Method::GET, "/notes", with(token)).await;
    match answer.status() {
        StatusCode::OK => "200".into(),
        _ => describe_problem(&answer),
    }
}

const INVALID: &str = "401 gateway_identity_invalid: ";

#[tokio::test]
async fn rows_are_for_requests_through_the_gateway_and_probes_for_everybody() {
    let key = Key::new("k");
    let gateway = Gateway::publishing(&[&key]).await;
    let server = service(gateway.options()).await;
    for path in ["/notes", "/notes/1"] {
        let direct = server.get(path).await;
        assert_eq!(
            describe_problem(&direct),
            "401 gateway_identity_missing: ",
            "{path}"
        );
        assert_eq!(direct.headers()["www-authenticate"], "Gateway", "{path}");
    }
    assert_eq!(get(&server, &key.token()).await, "200");
    for path in ["/", "/healthz", "/readyz", "/openapi.json", "/metrics"] {
        assert_eq!(server.get(path).await.status(), StatusCode::OK, "{path}");
    }
    assert_eq!(server.problem(Method::GET, "/x").await, "404 no_route: ");
}

#[tokio::test]
async fn a_token_that_the_gateway_did_not_sign_for_this_service_is_refused() {
    let key = Key::new("k");
    let gateway = Gateway::publishing(&[&key]).await;
    let server = service(gateway.options()).await;
    let good = key.token();
    let (message, signature) = good.rsplit_once('.').expect("three parts");
    let (first, second) = message.split_once('.').expect("three parts");
    let unsigned = encoded(&header("k", &json!({"alg": "none"})));
    let other = encoded(&claims(&json!({"sub": "root"})));
    let issuer = "https://issuer.example/";
    let cases = [
        ("a foreign key", Key::new("foreign").token()),
        ("a foreign key under a known id", Key::new("k").token()),
        ("expired", key.claiming(&json!({"exp": now() - 12}))),
        ("without an end", key.claiming(&json!({"exp": null}))),
        ("an end in words", key.claiming(&json!({"exp": "tomorrow"}))),
        ("not yet valid", key.claiming(&json!({"nbf": now() + 30}))),
        ("another audience", key.claiming(&json!({"aud": "users"}))),
        ("no audience", key.claiming(&json!({"aud": null}))),
        ("another issuer", key.claiming(&json!({"iss": issuer}))),
        ("no issuer", key.claiming(&json!({"iss": null}))),
        ("no request id", key.claiming(&json!({"jti": null}))),
        ("an access token", key.headed(&json!({"typ": "at+jwt"}))),
        ("any token", key.headed(&json!({"typ": "JWT"}))),
        ("no type", key.headed(&json!({"typ": null}))),
        ("no key id", key.headed(&json!({"kid": null}))),
        ("extensions", key.headed(&json!({"crit": ["exp"]}))),
        ("another algorithm", key.headed(&json!({"alg": "ES384"}))),
        ("a secret's algorithm", key.headed(&json!({"alg": "HS256"}))),
        ("no algorithm", format!("{unsigned}.{second}.")),
        ("other claims", format!("{first}.{other}.{signature}")),
        ("no signature", format!("{message}.")),
        ("a cut signature", format!("{message}.{}", &signature[..80])),
        ("two tokens in one", format!("{good}, {good}")),
        ("a scheme", format!("Bearer {good}")),
        ("no token", "hello".into()),
        ("nothing", String::new()),
        ("too much", "x".repeat(32 * 1024 + 1)),
    ];
    for (name, token) in cases {
        assert_eq!(get(&server, &token).await, INVALID, "{name}");
    }
    let mut twice = with(&good);
    twice.append(HEADER, HeaderValue::from_str(&good).expect("a token"));
    let answer = server.send(Method::GET, "/notes", twice).await;
    assert_eq!(describe_problem(&answer), INVALID);
    for (name, token) in [
        ("ended just now", key.claiming(&json!({"exp": now() - 5}))),
        (
            "a type in capitals",
            key.headed(&json!({"typ": "GATEWAY+JWT"})),
        ),
        ("good", good),
    ] {
        assert_eq!(get(&server, &token).await, "200", "{name}");
    }
}

#[tokio::test]
async fn a_request_waits_for_a_key_that_is_new() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let gateway = Gateway::publishing(&[&old]).await;
    let server = service(gateway.options()).await;
    assert_eq!(get(&server, &old.token()).await, "200");
    assert_eq!(get(&server, &new.token()).await, INVALID);
    gateway.publish(&[&new, &old]);
    assert_eq!(get(&server, &new.token()).await, "200");
    assert_eq!(get(&server, &old.token()).await, "200");
    // A key that was taken back is gone with the next round, which this wish brings about.
    gateway.publish(&[&new]);
    assert_eq!(get(&server, &Key::new("x").token()).await, INVALID);
    assert_eq!(get(&server, &old.token()).await, INVALID);
    assert_eq!(get(&server, &new.token()).await, "200");
}

#[tokio::test]
async fn a_gateway_that_does_not_tell_its_keys_is_503_and_not_401() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("port 0 is free");
    let url = format!("http://{}/keys", nobody.local_addr().expect("bound"));
    drop(nobody);
    let server = service(options(&url)).await;
    let token = with(&Key::new("k").token());
    let answer = server.send(Method::GET, "/notes", token).await;
    assert_eq!(describe_problem(&answer), "503 gateway_keys_unavailable: ");
    assert_eq!(answer.headers()["retry-after"], "1");
    assert_eq!(server.get("/readyz").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_caller_is_told_as_the_gateway_names_it() {
    let key = Key::new("k");
    let gateway = Gateway::publishing(&[&key]).await;
    let (verifier, _refreshing) = verifier(gateway.options());
    let caller = verifier.verify(&with(&key.token())).await.unwrap();
    let expected = Caller {
        subject: Some("ann".into()),
        issuer: Some("https://issuer.example/".into()),
        scopes: "notes:read notes:write".into(),
        request_id: "r-1".into(),
    };
    assert_eq!(caller, expected);
    assert!(caller.has_scope("notes:read") && !caller.has_scope("notes"));
    let open = key.claiming(&json!({"sub": null, "scope": null}));
    let caller = verifier.verify(&with(&open)).await.unwrap();
    assert_eq!((caller.subject, &*caller.scopes), (None, ""));
    assert_eq!(
        verifier.verify(&HeaderMap::new()).await,
        Err(Refusal::Missing)
    );
}

#[tokio::test]
async fn of_a_flood_of_made_up_keys_a_few_wait_and_the_others_are_turned_away() {
    let key = Key::new("k");
    let gateway = Gateway::publishing(&[&key]).await;
    let (verifier, _refreshing) = verifier(gateway.options());
    verifier.verify(&with(&key.token())).await.unwrap();
    let mut flood = JoinSet::new();
    for _ in 0..200 {
        let (verifier, headers) = (Arc::clone(&verifier), with(&Key::new("no").token()));
        flood.spawn(async move { verifier.verify(&headers).await.unwrap_err() });
    }
    let refusals = flood.join_all().await;
    let too_many = Refusal::KeysUnavailable("too many requests wait for keys".into());
    let away = refusals.iter().filter(|refusal| **refusal == too_many);
    assert_eq!(away.count(), 200 - 64);
    verifier.verify(&with(&key.token())).await.unwrap();
}

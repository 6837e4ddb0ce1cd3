//! Requests with tokens that are right in all but one thing: a key that nobody published.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use http::HeaderValue;
use http::header::AUTHORIZATION;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::Client;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::issuer::AUDIENCE;
use crate::load::refusal;
use crate::support::tokens::now;
use crate::support::{PATIENCE, runtime};

/// Key ids are random; this makes them the same in each run.
const SEED: u64 = 3;

/// Values of `Authorization`, each with a random key id of its own.
pub(crate) fn tokens(issuer: &str, count: usize) -> Vec<HeaderValue> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("random numbers");
    let pkcs8 = pair.to_pkcs8v1().expect("a key can be written");
    let key = EncodingKey::from_ec_der(pkcs8.as_ref());
    let claims = json!({
        "iss": issuer,
        "aud": AUDIENCE,
        "sub": "stranger",
        "scope": "users:read",
        "iat": now(),
        "exp": now() + 3600,
    });
    let mut random = fastrand::Rng::with_seed(SEED);
    let token = |_| {
        let mut header = Header::new(Algorithm::ES256);
        header.typ = Some("at+jwt".into());
        header.kid = Some(format!("{:032x}", random.u128(..)));
        let token = jsonwebtoken::encode(&header, &claims, &key).expect("the key signs");
        HeaderValue::try_from(format!("Bearer {token}")).expect("base64url")
    };
    (0..count).map(token).collect()
}

/// Strangers at work.
pub(crate) struct Strangers {
    answers: Arc<Mutex<Answers>>,
    connections: Vec<JoinHandle<()>>,
}

/// What they were told.
#[derive(Default)]
pub(crate) struct Answers {
    /// How many, by status and reason.
    pub(crate) by_refusal: BTreeMap<String, u64>,
    /// The longest that one waited, from when it was sent.
    pub(crate) latency_max: Duration,
}

impl Strangers {
    /// Sends a request for each token, as fast as so many connections can.
    pub(crate) fn start(url: &str, tokens: Vec<HeaderValue>, connections: usize) -> Self {
        // A pool of their own, so that they do not take the connections of valid requests.
        let client = Client::builder().no_proxy().timeout(PATIENCE).build();
        let client = client.expect("a client can be made");
        let tokens: Arc<[HeaderValue]> = tokens.into();
        let next = Arc::new(AtomicUsize::new(0));
        let answers = Arc::new(Mutex::new(Answers::default()));
        let connection = |_| {
            let (client, url) = (client.clone(), url.to_owned());
            let (tokens, next) = (Arc::clone(&tokens), Arc::clone(&next));
            let answers = Arc::clone(&answers);
            runtime().spawn(async move {
                while let Some(token) = tokens.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let sent = Instant::now();
                    let request = client.get(&url).header(AUTHORIZATION, token);
                    let refusal = refusal(request).await;
                    let latency = sent.elapsed();
                    let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
                    let refusal = refusal.unwrap_or_else(|| "200".into());
                    *answers.by_refusal.entry(refusal).or_default() += 1;
                    answers.latency_max = answers.latency_max.max(latency);
                }
            })
        };
        Self {
            connections: (0..connections).map(connection).collect(),
            answers,
        }
    }

    /// Waits until all are answered.
    pub(crate) fn finish(self) -> Answers {
        for connection in self.connections {
            runtime().block_on(connection).expect("no request panics");
        }
        let mut answers = self.answers.lock().expect("no request panics");
        std::mem::take(&mut *answers)
    }
}

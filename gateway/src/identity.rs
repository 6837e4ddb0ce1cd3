//! The gateway's own tokens for upstreams: the keys that sign them, made anew as core's schedule
//! says, and the public halves as they are published.
//!
//! Workers share the keys and swap them without a lock. Private keys are made in this process
//! and never leave it: another process of the fleet has others, so a verifier asks all of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use gateway_core::identity::InternalIdentity;
use gateway_core::identity::rotation::{KeySchedule, Rotation};
use gateway_core::identity::token::{self, Claims, SubjectId};
use gateway_core::words::time::{Millis, UnixSeconds};
use http::{HeaderName, HeaderValue};
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, EllipticCurveKeyParameters,
    EllipticCurveKeyType, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse, ThumbprintHash,
};

use crate::clock::Clock;

/// Media type of a published set (RFC 7517 section 8.5.2).
pub(crate) const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/jwk-set+json");
/// Pause after a key that could not be made.
const PAUSE: Duration = Duration::from_secs(10);

/// No key could be made: the system gave no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("no key can be made for `internal_identity`: the system gives no random numbers")]
pub(crate) struct NoKey;

/// For whom a token is, and about whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) audience: &'a str,
    pub(crate) caller: Option<&'a str>,
    pub(crate) issuer: Option<&'a str>,
    pub(crate) scopes: &'a str,
    pub(crate) request_id: &'a str,
}

/// Signs tokens, and knows what to publish.
#[derive(Debug)]
pub(crate) struct Signer {
    issuer: Box<str>,
    lifetime: Duration,
    header: HeaderName,
    key: ArcSwap<Key>,
    published: ArcSwap<Bytes>,
    cache_control: HeaderValue,
}

/// A private key, and what of it goes into each token.
#[derive(Debug)]
struct Key {
    pair: EcdsaKeyPair,
    header: Box<str>,
    public: Jwk,
}

impl Key {
    fn generate() -> Result<Self, NoKey> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .map_err(|Unspecified| NoKey)?;
        // The uncompressed point: a byte that says so, and two coordinates (SEC 1 section 2.3.3).
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let mut public = Jwk {
            common: CommonParameters {
                public_key_use: Some(PublicKeyUse::Signature),
                key_algorithm: Some(KeyAlgorithm::ES256),
                ..CommonParameters::default()
            },
            algorithm: AlgorithmParameters::EllipticCurve(EllipticCurveKeyParameters {
                key_type: EllipticCurveKeyType::EC,
                curve: EllipticCurve::P256,
                x: URL_SAFE_NO_PAD.encode(x),
                y: URL_SAFE_NO_PAD.encode(y),
            }),
        };
        let thumbprint = public.thumbprint(ThumbprintHash::SHA256);
        let id = thumbprint.expect("a key on a curve has a thumbprint (RFC 7638)");
        let header = token::header(&id);
        public.common.key_id = Some(id);
        Ok(Self {
            pair,
            header,
            public,
        })
    }

    fn id(&self) -> &str {
        self.public.common.key_id.as_deref().unwrap_or_default()
    }
}

impl Signer {
    /// The header that carries a token.
    pub(crate) fn header(&self) -> &HeaderName {
        &self.header
    }

    /// How long a token may be used for the tries of one request: half of what it holds, so that
    /// the last try has time to arrive.
    pub(crate) fn reuse(&self) -> Duration {
        self.lifetime / 2
    }

    /// A token that holds from `now` on. Costs one signature.
    pub(crate) fn sign(&self, subject: Subject<'_>, now: UnixSeconds) -> HeaderValue {
        let key = self.key.load();
        let claims = Claims {
            iss: &self.issuer,
            aud: subject.audience,
            sub: subject.caller,
            sub_id: subject
                .caller
                .zip(subject.issuer)
                .map(|(sub, iss)| SubjectId { iss, sub }),
            scope: subject.scopes,
            iat: now,
            exp: now + self.lifetime.as_secs(),
            jti: subject.request_id,
        };
        let message = claims.message(&key.header);
        let signature = key
            .pair
            .sign(&SystemRandom::new(), message.as_bytes())
            .expect("a sound key signs");
        let token = token::complete(message, signature.as_ref());
        let mut value =
            HeaderValue::from_maybe_shared(Bytes::from(token)).expect("base64url and dots");
        value.set_sensitive(true);
        value
    }

    /// The public keys, as a JWK set.
    pub(crate) fn key_set(&self) -> Bytes {
        Bytes::clone(&self.published.load())
    }

    /// For how long the set may be kept.
    pub(crate) fn cache_control(&self) -> HeaderValue {
        self.cache_control.clone()
    }
}

/// Replaces the keys of a [`Signer`] in time.
#[derive(Debug)]
pub(crate) struct Rotator {
    signer: Arc<Signer>,
    schedule: KeySchedule<Arc<Key>>,
    clock: Clock,
}

impl Rotator {
    /// Makes the first key.
    pub(crate) fn new(settings: &InternalIdentity, clock: Clock) -> Result<Self, NoKey> {
        let rotation = Rotation::new(settings.rotation, settings.lifetime);
        let key = Arc::new(Key::generate()?);
        let schedule = KeySchedule::new(rotation, Arc::clone(&key), clock.now_ms());
        let cache_control = format!("public, max-age={}", rotation.max_age_seconds());
        let signer = Signer {
            issuer: settings.issuer.clone(),
            lifetime: settings.lifetime,
            header: settings.header.clone(),
            key: ArcSwap::new(key),
            published: ArcSwap::from_pointee(key_set(&schedule)),
            cache_control: HeaderValue::from_str(&cache_control).expect("digits and letters"),
        };
        tracing::info!(
            key = signer.key.load().id(),
            "the gateway signs its own tokens"
        );
        Ok(Self {
            signer: Arc::new(signer),
            schedule,
            clock,
        })
    }

    pub(crate) fn signer(&self) -> Arc<Signer> {
        Arc::clone(&self.signer)
    }

    /// Replaces keys until the runtime ends.
    pub(crate) async fn run(mut self) {
        loop {
            let due = self.clock.instant(self.schedule.next_change());
            tokio::time::sleep_until(due.into()).await;
            let now = self.clock.to_ms(Instant::now());
            if let Err(error) = self.advance(now) {
                tracing::error!(%error, "the old key goes on signing");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    fn advance(&mut self, now: Millis) -> Result<(), NoKey> {
        let advanced = self.schedule.advance(now, || Key::generate().map(Arc::new));
        // A key that signs from here on has been in the set since an earlier call.
        self.signer
            .published
            .store(Arc::new(key_set(&self.schedule)));
        let signing = self.schedule.signing();
        if !Arc::ptr_eq(signing, &self.signer.key.load()) {
            tracing::info!(
                key = signing.id(),
                "another key signs the gateway's own tokens"
            );
            self.signer.key.store(Arc::clone(signing));
        }
        advanced.map(|_| ())
    }
}

fn key_set(schedule: &KeySchedule<Arc<Key>>) -> Bytes {
    let keys = schedule.published().map(|key| key.public.clone());
    let set = JwkSet {
        keys: keys.collect(),
    };
    Bytes::from(serde_json::to_vec(&set).expect("text becomes JSON"))
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
    use serde_json::Value;

    use super::*;

    const MINUTE: Millis = 60_000;

    fn rotator() -> Rotator {
        let settings = InternalIdentity {
            issuer: "gateway".into(),
            lifetime: Duration::from_mins(1),
            rotation: Duration::from_mins(10),
            header: HeaderName::from_static("x-gateway-token"),
        };
        Rotator::new(&settings, Clock::new()).unwrap()
    }

    fn token(signer: &Signer) -> String {
        let subject = Subject {
            audience: "users",
            caller: Some("ann"),
            issuer: Some("https://issuer.example/"),
            scopes: "users:read",
            request_id: "r-1",
        };
        let now = jsonwebtoken::get_current_timestamp();
        signer.sign(subject, now).to_str().unwrap().to_owned()
    }

    /// The claims, if the published set holds the token's key and the signature is its own.
    fn verified(signer: &Signer, token: &str) -> Option<Value> {
        let set: JwkSet = serde_json::from_slice(&signer.key_set()).unwrap();
        let id = decode_header(token).unwrap().kid.unwrap();
        let key = DecodingKey::from_jwk(set.find(&id)?).unwrap();
        let mut validation = Validation::new(Algorithm::ES256);
        validation.set_audience(&["users"]);
        validation.set_issuer(&["gateway"]);
        Some(decode::<Value>(token, &key, &validation).unwrap().claims)
    }

    #[test]
    fn a_token_is_verified_by_the_published_keys() {
        let rotator = rotator();
        let signer = rotator.signer();
        let token = token(&signer);
        let claims = verified(&signer, &token).unwrap();
        assert_eq!(claims["sub"], "ann");
        assert_eq!(claims["sub_id"]["iss"], "https://issuer.example/");
        assert_eq!(claims["scope"], "users:read");
        assert_eq!(claims["jti"], "r-1");
        assert_eq!(
            claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
            60
        );
        let header = decode_header(&token).unwrap();
        assert_eq!(header.typ.as_deref(), Some(token::TYPE));
        assert_eq!(signer.cache_control(), "public, max-age=100");
        // `d` would be the private key (RFC 7518 section 6.2.2.1).
        let set: Value = serde_json::from_slice(&signer.key_set()).unwrap();
        let mut members: Vec<_> = set["keys"][0].as_object().unwrap().keys().collect();
        members.sort();
        assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    }

    #[test]
    fn tokens_of_every_key_are_verified_until_they_end() {
        let mut rotator = rotator();
        let signer = rotator.signer();
        let mut tokens: Vec<(Millis, String)> = Vec::new();
        let mut ids = std::collections::BTreeSet::new();
        let start = rotator.clock.now_ms();
        for second in 0..45 * 60 {
            let now = start + second * 1_000;
            rotator.advance(now).unwrap();
            if second % 20 == 0 {
                let token = token(&signer);
                ids.insert(decode_header(&token).unwrap().kid.unwrap());
                tokens.push((now, token));
            }
            tokens.retain(|(signed, _)| now <= signed + MINUTE);
            if second % 7 == 0 {
                for (signed, token) in &tokens {
                    assert!(verified(&signer, token).is_some(), "{signed} at {now}");
                }
            }
        }
        assert_eq!(ids.len(), 5, "four rotations in 45 minutes");
    }
}

//! The check of one request.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName};
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use serde::Deserialize;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;

use super::refresh::{Known, Refresher};
use super::{Caller, Options, Refusal, TOKEN_TYPE};

/// Seconds by which the clocks of gateway and service may differ.
const LEEWAY_SECONDS: u64 = 10;
/// Bytes of a token; the gateway's own are a tenth of that, but for subjects of absurd length.
const TOKEN_BYTES_MAX: usize = 32 * 1024;
/// Time that a request waits for a key that is not known.
const WAIT: Duration = Duration::from_secs(4);
/// Requests that wait for keys at a time; one more is refused at once, so that a flood of
/// made-up key ids holds nothing but itself.
const WAITING_MAX: usize = 64;

/// Checks tokens of the gateway. One for a service; shared by its requests.
pub struct Verifier {
    header: HeaderName,
    validation: Validation,
    known: watch::Receiver<Known>,
    wanted: Arc<Notify>,
    waiting: Semaphore,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Claims {
    sub: Option<Box<str>>,
    sub_id: Option<SubjectId>,
    #[serde(default)]
    scope: Box<str>,
    jti: Box<str>,
}

/// Of the format `iss_sub` (RFC 9493 section 3.2.3).
#[derive(Deserialize)]
struct SubjectId {
    iss: Option<Box<str>>,
}

impl Verifier {
    /// A verifier, and what keeps its keys current while it runs.
    #[must_use]
    pub fn new(options: Options) -> (Self, Refresher) {
        let (refresher, known, wanted) = Refresher::new(options.keys);
        // One algorithm, whatever the token says (RFC 8725 section 3.1).
        let mut validation = Validation::new(Algorithm::ES256);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.set_issuer(&[options.issuer]);
        validation.set_audience(&[options.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        let verifier = Self {
            header: options.header,
            validation,
            known,
            wanted,
            waiting: Semaphore::new(WAITING_MAX),
        };
        (verifier, refresher)
    }

    /// Whom the gateway names as the caller of a request with these headers.
    ///
    /// Waits up to 4 s when the token names a key that is not known: a gateway process may be
    /// new.
    ///
    /// # Errors
    /// [`Refusal`].
    pub async fn verify(&self, headers: &HeaderMap) -> Result<Caller, Refusal> {
        let invalid = |cause: &str| Refusal::Invalid(cause.into());
        let mut values = headers.get_all(&self.header).iter();
        let token = match (values.next(), values.next()) {
            (None, _) => return Err(Refusal::Missing),
            (Some(token), None) if token.len() <= TOKEN_BYTES_MAX => token.as_bytes(),
            (Some(_), None) => return Err(invalid("it is too long")),
            (Some(_), Some(_)) => return Err(invalid("there is more than one")),
        };
        let failed = |error: jsonwebtoken::errors::Error| Refusal::Invalid(error.to_string());
        let header = decode_header(token).map_err(failed)?;
        let key = self.key(key_id(&header)?).await?;
        let claims = decode::<Claims>(token, &key, &self.validation).map_err(failed)?;
        let Claims {
            sub,
            sub_id,
            scope,
            jti,
        } = claims.claims;
        Ok(Caller {
            subject: sub,
            issuer: sub_id.and_then(|id| id.iss),
            scopes: scope,
            request_id: jti,
        })
    }

    async fn key(&self, id: &str) -> Result<Arc<DecodingKey>, Refusal> {
        let arrived = Instant::now();
        if let Some(key) = self.known.borrow().ring.get(id) {
            return Ok(Arc::clone(key));
        }
        let unavailable = |cause: &str| Refusal::KeysUnavailable(cause.into());
        let _waiting = self
            .waiting
            .try_acquire()
            .map_err(|_| unavailable("too many requests wait for keys"))?;
        let mut known = self.known.clone();
        self.wanted.notify_one();
        // What a round does not bring that began before the token came, the next one may.
        let is_news = |known: &Known| {
            known.ring.contains_key(id) || known.began.is_some_and(|began| began >= arrived)
        };
        let news = tokio::time::timeout(WAIT, known.wait_for(is_news)).await;
        let Ok(Ok(known)) = news else {
            return Err(unavailable("no gateway told its keys in time"));
        };
        match known.ring.get(id) {
            Some(key) => Ok(Arc::clone(key)),
            None if known.is_complete => Err(Refusal::Invalid("no gateway has its key".into())),
            None => Err(unavailable("not every gateway told its keys")),
        }
    }
}

/// The key that a header names, if it is one of the gateway's headers.
fn key_id(header: &Header) -> Result<&str, Refusal> {
    let cause = match header {
        Header { crit: Some(_), .. } => "it has critical extensions",
        Header { alg, .. } if *alg != Algorithm::ES256 => "its algorithm is not ES256",
        Header { typ: Some(typ), .. } if typ.eq_ignore_ascii_case(TOKEN_TYPE) => {
            match &header.kid {
                Some(id) => return Ok(id),
                None => "it names no key",
            }
        }
        _ => "its type is not `gateway+jwt`",
    };
    Err(Refusal::Invalid(cause.into()))
}

//! One token provider, and the check of one token (RFC 7519, RFC 7515, RFC 8725).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use jsonwebtoken::errors::ErrorKind;
use serde_json::{Map, Value};

use super::keys::{Key, KeyRing};
use super::object::UniqueObject;
use super::printable;
use crate::words::reason::Reason;
use crate::words::rejection::Rejection;
use crate::words::time::UnixSeconds;

/// Keys tried for a token that names none.
const KEYS_TRIED_MAX: usize = 4;
/// The largest date taken: the year 9999.
const NUMERIC_DATE_MAX: f64 = 253_402_300_799.0;

/// A provider of tokens, as compiled from the routes file.
#[derive(Debug)]
pub struct Provider {
    /// Its name in the routes file.
    pub name: Box<str>,
    /// What `iss` must be.
    pub issuer: Box<str>,
    /// One of these must be in `aud`.
    pub audiences: Vec<Box<str>>,
    /// The allow list; a token's own wish counts for nothing (RFC 8725 section 3.1).
    pub algorithms: Vec<Algorithm>,
    /// Seconds by which clocks may differ.
    pub clock_skew_seconds: u64,
    /// Bytes of a token; longer ones are refused unread.
    pub token_bytes_max: usize,
}

/// A token whose signature and registered claims hold.
#[derive(Debug)]
pub struct Verified {
    /// All claims.
    pub claims: Map<String, Value>,
    /// The second from which it holds no more, clock skew included.
    pub valid_until: UnixSeconds,
    /// The first second in which it holds, clock skew included.
    pub valid_from: UnixSeconds,
}

impl Verified {
    /// The `sub` claim.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.claims.get("sub").and_then(Value::as_str)
    }
}

/// What a token says of itself: the algorithm it wishes for, and the name of a key.
///
/// A key that the header brings along or points to (`jwk`, `jku`, `x5c`, `x5u`) is never looked
/// at (RFC 8725 section 3.10).
struct Header {
    algorithm: String,
    key_id: Option<String>,
}

/// Checks signature, issuer, audience and times of a token in the compact form.
///
/// # Errors
/// A [`Rejection`] whose reason starts with `jwt_`.
pub fn verify(
    provider: &Provider,
    ring: &KeyRing,
    token: &str,
    now: UnixSeconds,
) -> Result<Verified, Rejection> {
    let (message, signature) = token.rsplit_once('.').ok_or(Reason::JwtMalformed)?;
    let (header, payload) = message.split_once('.').ok_or(Reason::JwtMalformed)?;
    // A second dot here is a JWE or worse (RFC 7516 section 9).
    if payload.contains('.') {
        return Err(Reason::JwtMalformed.into());
    }
    let header = read_header(header)?;
    let algorithm = header
        .algorithm
        .parse::<Algorithm>()
        .ok()
        .filter(|algorithm| provider.algorithms.contains(algorithm))
        .ok_or_else(|| {
            Rejection::with_detail(
                Reason::JwtAlgorithmNotAllowed,
                format!("the token names `{}`", printable(&header.algorithm)),
            )
        })?;
    check_signature(
        ring,
        algorithm,
        header.key_id.as_deref(),
        message,
        signature,
    )?;
    check_claims(provider, read_object(payload)?, now)
}

/// The `kid` of a token's header, if that can be read.
pub(super) fn key_id(token: &str) -> Result<Option<Box<str>>, Rejection> {
    let header = read_header(token.split('.').next().unwrap_or_default())?;
    Ok(header.key_id.map(Into::into))
}

fn read_header(part: &str) -> Result<Header, Rejection> {
    let mut header = read_object(part)?;
    // No extension is understood here, so none may be critical (RFC 7515 section 4.1.11).
    if header.contains_key("crit") {
        return Err(malformed(&"the token has critical extensions"));
    }
    let Some(Value::String(algorithm)) = header.remove("alg") else {
        return Err(malformed(&"the header's `alg` is not text"));
    };
    let key_id = match header.remove("kid") {
        None => None,
        Some(Value::String(id)) => Some(id),
        Some(_) => return Err(malformed(&"the header's `kid` is not text")),
    };
    Ok(Header { algorithm, key_id })
}

fn check_signature(
    ring: &KeyRing,
    algorithm: Algorithm,
    key_id: Option<&str>,
    message: &str,
    signature: &str,
) -> Result<(), Rejection> {
    if ring.is_empty() {
        return Err(Reason::JwtKeysUnavailable.into());
    }
    let fitting =
        |key: &&Key| key.fits(algorithm) && key_id.is_none_or(|id| key.id.as_deref() == Some(id));
    let mut tried = 0;
    for key in ring.keys().iter().filter(fitting).take(KEYS_TRIED_MAX) {
        tried += 1;
        let verdict =
            jsonwebtoken::crypto::verify(signature, message.as_bytes(), key.decoding(), algorithm);
        match verdict {
            Ok(true) => return Ok(()),
            // Not a wrong signature, but none at all: padding, another alphabet, loose bits.
            Err(error) if matches!(error.kind(), ErrorKind::Base64(_)) => {
                return Err(malformed(&error));
            }
            Ok(false) | Err(_) => {}
        }
    }
    if tried > 0 {
        return Err(Reason::JwtSignatureInvalid.into());
    }
    Err(Rejection::with_detail(
        Reason::JwtKeyUnknown,
        match key_id {
            Some(id) => format!("no key `{}` for {algorithm:?}", printable(id)),
            None => format!("no key for {algorithm:?}"),
        },
    ))
}

fn check_claims(
    provider: &Provider,
    claims: Map<String, Value>,
    now: UnixSeconds,
) -> Result<Verified, Rejection> {
    let skew = provider.clock_skew_seconds;
    let expiry = numeric_date(&claims, "exp", f64::floor)?.ok_or(Reason::JwtExpiryMissing)?;
    // "on or after" exp the token is dead (RFC 7519 section 4.1.4); the skew moves that second.
    let valid_until = expiry.saturating_add(skew);
    if now >= valid_until {
        return Err(Rejection::with_detail(
            Reason::JwtExpired,
            format!("expired {} s ago", now - expiry.min(now)),
        ));
    }
    let valid_from = numeric_date(&claims, "nbf", f64::ceil)?
        .unwrap_or(0)
        .saturating_sub(skew);
    if now < valid_from {
        return Err(Rejection::with_detail(
            Reason::JwtNotYetValid,
            format!("valid in {} s", valid_from - now),
        ));
    }
    match claims.get("iss") {
        Some(Value::String(issuer)) if **issuer == *provider.issuer => {}
        other => {
            return Err(Rejection::with_detail(
                Reason::JwtIssuerMismatch,
                match other {
                    Some(Value::String(issuer)) => format!("issued by `{}`", printable(issuer)),
                    _ => "the token names no issuer".into(),
                },
            ));
        }
    }
    if !audience_matches(&claims, &provider.audiences) {
        return Err(Reason::JwtAudienceMismatch.into());
    }
    Ok(Verified {
        claims,
        valid_until,
        valid_from,
    })
}

/// `aud` is one string or an array of them (RFC 7519 section 4.1.3).
fn audience_matches(claims: &Map<String, Value>, accepted: &[Box<str>]) -> bool {
    let accepts = |value: &Value| {
        value
            .as_str()
            .is_some_and(|audience| accepted.iter().any(|accepted| **accepted == *audience))
    };
    match claims.get("aud") {
        Some(Value::Array(audiences)) => audiences.iter().any(accepts),
        Some(audience) => accepts(audience),
        None => false,
    }
}

/// A `NumericDate` may have a fraction (RFC 7519 section 2); it is rounded so that the token
/// never holds for longer than it says.
fn numeric_date(
    claims: &Map<String, Value>,
    name: &str,
    round: fn(f64) -> f64,
) -> Result<Option<UnixSeconds>, Rejection> {
    let date = match claims.get(name) {
        None => return Ok(None),
        Some(value) => value.as_f64(),
    };
    match date {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the range is checked in this arm"
        )]
        Some(date) if (0.0..=NUMERIC_DATE_MAX).contains(&date) => {
            Ok(Some(round(date) as UnixSeconds))
        }
        _ => Err(Rejection::with_detail(
            Reason::JwtMalformed,
            format!("`{name}` is not a date"),
        )),
    }
}

fn read_object(part: &str) -> Result<Map<String, Value>, Rejection> {
    let json = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|error| malformed(&error))?;
    serde_json::from_slice::<UniqueObject>(&json)
        .map(|object| object.0)
        .map_err(|error| malformed(&error))
}

fn malformed(error: &dyn std::fmt::Display) -> Rejection {
    Rejection::with_detail(Reason::JwtMalformed, error.to_string())
}

//! From a credential to a [`Caller`], or a refusal that says why.
//!
//! | file | holds |
//! |---|---|
//! | `jwt.rs` | one provider: its specification and the check of one token |
//! | `keys.rs` | the keys of a provider, as one immutable snapshot |
//! | `claims.rs` | scopes, claim rules, claims as headers |
//! | `cache.rs` | verified tokens, one cache a worker |
//! | `object.rs` | JSON objects in which no name comes twice |
//! | `refresh.rs` | when a provider's keys are read |
//! | `max_age.rs` | for how long an answer says that it holds |
//! | `stale.rs` | how old keys may become |
//! | `unknown.rs` | key ids that were asked for in vain, one memory a worker |

pub mod cache;
pub mod claims;
pub mod jwt;
pub mod keys;
pub mod max_age;
mod object;
pub mod refresh;
pub mod stale;
#[cfg(test)]
mod tests;
pub mod unknown;

use std::ops::Deref;
use std::sync::Arc;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::words::reason::Reason;
use crate::words::rejection::Rejection;
use crate::words::time::UnixSeconds;
use cache::TokenCache;
use claims::{ClaimsToHeaders, Requirements};
use jwt::Provider;
use keys::KeyRing;

/// What a route asks of its callers.
#[derive(Debug)]
pub enum Auth {
    /// Nothing: the route says `auth: none`.
    Open,
    /// A bearer token of one provider.
    Jwt(JwtAuth),
}

/// Which token a route accepts, and what it takes from it.
#[derive(Debug)]
pub struct JwtAuth {
    /// Distinguishes this policy from every other one in the token cache.
    pub policy_id: u32,
    /// Index into the plan's providers.
    pub provider: usize,
    /// Scopes and claims that must hold.
    pub requirements: Requirements,
    /// Claims that are sent upstream as headers.
    pub claims_to_headers: ClaimsToHeaders,
}

/// Who sent an authenticated request.
#[derive(Debug)]
pub struct Caller {
    /// The `sub` claim.
    pub subject: Option<Box<str>>,
    /// Identity headers for the upstream, made once per token.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The second from which the token is valid no more, clock skew included.
    pub valid_until: UnixSeconds,
    /// The first second in which the token is valid, clock skew included.
    pub valid_from: UnixSeconds,
}

/// A key that a refused token needs and its provider's keys lack: the provider may have it by now.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WantedKey {
    /// Index into the plan's providers.
    pub provider: usize,
    /// The token's `kid`, where it has one.
    pub id: Option<Box<str>>,
}

/// The key that a refused token wants, where another reading of the keys may bring it.
pub(crate) fn wanted_key(
    auth: &Auth,
    rejection: &Rejection,
    headers: &HeaderMap,
) -> Option<WantedKey> {
    let Auth::Jwt(auth) = auth else { return None };
    let token = std::str::from_utf8(bearer_token(headers).ok()?).ok()?;
    let id = jwt::key_id(token).ok()?;
    let is_wanted = match rejection.reason {
        Reason::JwtKeyUnknown => true,
        Reason::JwtSignatureInvalid => id.is_none(),
        _ => false,
    };
    is_wanted.then_some(WantedKey {
        provider: auth.provider,
        id,
    })
}

/// Checks the credential of one request. Costs one lookup when the token is cached.
///
/// `ring` gives the snapshot of a provider's keys, by the provider's index.
///
/// # Errors
/// A [`Rejection`] with the reason that RFC 6750 section 3.1 and the access log report.
pub fn authenticate<R: Deref<Target = Arc<KeyRing>>>(
    auth: &Auth,
    providers: &[Provider],
    ring: impl FnOnce(usize) -> R,
    headers: &HeaderMap,
    cache: &mut TokenCache,
    now: UnixSeconds,
) -> Result<Option<Arc<Caller>>, Rejection> {
    let Auth::Jwt(auth) = auth else {
        return Ok(None);
    };
    let provider = &providers[auth.provider];
    let ring = ring(auth.provider);
    let token = bearer_token(headers)?;
    if token.len() > provider.token_bytes_max {
        return Err(Reason::JwtTooLarge.into());
    }
    if let Some(caller) = cache.get(auth.policy_id, token, ring.generation(), now) {
        return Ok(Some(caller));
    }
    let text = std::str::from_utf8(token).map_err(|_| Reason::JwtMalformed)?;
    let verified = jwt::verify(provider, &ring, text, now)?;
    auth.requirements.check(&verified.claims)?;
    let caller = Arc::new(Caller {
        subject: verified.subject().map(Into::into),
        headers: auth.claims_to_headers.render(&verified.claims)?,
        valid_until: verified.valid_until,
        valid_from: verified.valid_from,
    });
    cache.insert(
        auth.policy_id,
        token,
        ring.generation(),
        Arc::clone(&caller),
    );
    Ok(Some(caller))
}

/// The token of exactly one `Authorization: Bearer` header (RFC 6750 section 2.1).
fn bearer_token(headers: &HeaderMap) -> Result<&[u8], Rejection> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next().ok_or(Reason::JwtMissing)?;
    if values.next().is_some() {
        return Err(Reason::JwtRepeated.into());
    }
    let value = value.as_bytes();
    // The scheme is case-insensitive (RFC 9110 section 11.1).
    let Some((scheme, token)) = value.split_at_checked(7) else {
        return Err(Reason::JwtMissing.into());
    };
    if !scheme.eq_ignore_ascii_case(b"bearer ") {
        return Err(Rejection::with_detail(
            Reason::JwtMissing,
            "the authorization scheme is not Bearer",
        ));
    }
    match token.trim_ascii() {
        [] => Err(Reason::JwtMissing.into()),
        token => Ok(token),
    }
}

/// What a client chose goes into the log short and without control characters.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

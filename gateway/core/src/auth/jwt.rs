//! One token provider, and the check of one token (RFC 7519, RFC 7515, RFC 8725).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde_json::{Map, Value};

use super::claims::find;
use super::credential::Place;
use super::keys::{Key, KeyRing};
use super::object::{self, ObjectError};
use super::trust::{Proof, Trust};
use super::witness::{Check, Witness};
use super::{Denied, WantedKey, printable};
use crate::words::reason::Reason;
use crate::words::rejection::Rejection;
use crate::words::time::UnixSeconds;

/// Keys tried for a token that names none.
const KEYS_TRIED_MAX: usize = 4;
/// Bytes of a `kid`; real ones are hashes or dates.
const KEY_ID_BYTES_MAX: usize = 256;
/// The largest date taken: the year 9999.
const NUMERIC_DATE_MAX: f64 = 253_402_300_799.0;

/// A provider of tokens, as compiled from the routes file.
#[derive(Debug, PartialEq)]
pub struct Provider {
    /// Distinguishes this provider from every other one, those of earlier plans included.
    pub id: u64,
    /// Its name in the routes file.
    pub name: Box<str>,
    /// What `iss` must be.
    pub issuer: Box<str>,
    /// One of these must be in the audience claim.
    pub audiences: Vec<Box<str>>,
    /// The claim that holds the audience: a name, or a path of names joined with dots.
    pub audience_claim: Box<str>,
    /// The allow list; a token's own wish counts for nothing (RFC 8725 section 3.1).
    pub algorithms: Vec<Algorithm>,
    /// What `typ` must be, without `application/` (RFC 8725 section 3.11).
    pub token_type: Option<Box<str>>,
    /// Where tokens are looked for; the first place that has one counts.
    pub places: Vec<Place>,
    /// Seconds by which clocks may differ.
    pub clock_skew_seconds: u64,
    /// Bytes of a token; longer ones are refused unread.
    pub token_bytes_max: usize,
}

/// A token whose signature and registered claims hold.
#[derive(Debug)]
pub struct Verified<'t> {
    /// All claims.
    pub claims: Map<String, Value>,
    /// The claims as they came, in base64url.
    pub payload: &'t str,
    /// The number of the provider whose token it is.
    pub provider: u64,
    /// The provider's issuer.
    pub issuer: &'t str,
    /// What the verdict rests on beside the time.
    pub proof: Proof,
    /// The generation of the provider's trust under which it was found.
    pub generation: u64,
    /// The second from which it holds no more, clock skew included.
    pub valid_until: UnixSeconds,
    /// The first second in which it holds, clock skew included.
    pub valid_from: UnixSeconds,
}

/// A provider among those that a route takes, and what is believed of it now.
pub(super) struct Candidate<'p, T> {
    /// Its index in the plan.
    pub(super) index: usize,
    pub(super) provider: &'p Provider,
    pub(super) trust: T,
}

/// What a token says of itself.
///
/// A key that the header brings along or points to (`jwk`, `jku`, `x5c`, `x5u`) is never looked
/// at (RFC 8725 section 3.10).
struct Header {
    algorithm: String,
    key_id: Option<Value>,
    kind: Option<Value>,
}

/// The parts of a token in the compact form (RFC 7515 section 3.1).
struct Parts<'t> {
    /// Header and payload: what is signed.
    message: &'t str,
    header: &'t str,
    payload: &'t str,
    signature: &'t str,
}

/// Checks a token in the compact form, by the provider whose issuer it names.
///
/// What is cheap comes first, so that a flood of stale or foreign tokens costs no operation with
/// a public key and no fetch of keys.
///
/// # Errors
/// A rejection whose reason starts with `jwt_`: the first in the order of [`Reason`] that is so
/// for every provider.
pub(super) fn verify<'t, T: AsRef<Trust>>(
    candidates: &[Candidate<'t, T>],
    token: &'t str,
    now: UnixSeconds,
    witness: &mut impl Witness,
) -> Result<Verified<'t>, Denied> {
    let parts = witness.pass(Check::Form, split(token))?;
    let header = witness.pass(Check::Header, read_header(parts.header))?;
    let headers_checked: Vec<_> = candidates
        .iter()
        .map(|candidate| {
            witness.provider(candidate.index);
            (candidate, header.check(candidate.provider, witness))
        })
        .collect();
    let mut denied = None;
    if headers_checked.iter().all(|(_, checked)| checked.is_err()) {
        for rejection in headers_checked.into_iter().filter_map(|(_, it)| it.err()) {
            Denied::keep_later(&mut denied, rejection.into());
        }
        return Err(denied.unwrap_or_else(|| Reason::JwtMissing.into()));
    }
    let claims = witness.pass(Check::Claims, read_object(parts.payload))?;
    let issuer = claims.get("iss").and_then(Value::as_str);
    for (candidate, checked) in headers_checked {
        witness.provider(candidate.index);
        if issuer != Some(&*candidate.provider.issuer) {
            witness.saw(Check::Issuer, Err(&Reason::JwtIssuerMismatch.into()));
            continue;
        }
        witness.saw(Check::Issuer, Ok(()));
        let checked = checked.map_err(Denied::from).and_then(|algorithm| {
            let head = (&header, algorithm);
            check(candidate, head, &parts, &claims, now, witness)
        });
        match checked {
            Ok((proof, times)) => {
                return Ok(Verified {
                    claims,
                    payload: parts.payload,
                    provider: candidate.provider.id,
                    issuer: &candidate.provider.issuer,
                    proof,
                    generation: candidate.trust.as_ref().generation(),
                    valid_until: times.until,
                    valid_from: times.from,
                });
            }
            Err(other) => Denied::keep_later(&mut denied, other),
        }
    }
    Err(denied.unwrap_or_else(|| {
        let detail = match issuer {
            Some(issuer) => format!("issued by `{}`", printable(issuer)),
            None => "the token names no issuer".into(),
        };
        Rejection::with_detail(Reason::JwtIssuerMismatch, detail).into()
    }))
}

/// What one provider says of a token whose issuer it is.
fn check<T: AsRef<Trust>>(
    candidate: &Candidate<'_, T>,
    (header, algorithm): (&Header, Algorithm),
    parts: &Parts<'_>,
    claims: &Map<String, Value>,
    now: UnixSeconds,
    witness: &mut impl Witness,
) -> Result<(Proof, Times), Denied> {
    let audience = audience_matches(claims, candidate.provider);
    let audience = audience.then_some(());
    let audience = audience.ok_or_else(|| Rejection::from(Reason::JwtAudienceMismatch));
    witness.pass(Check::Audience, audience)?;
    let times = check_times(candidate.provider, claims, now, witness)?;
    let trust = candidate.trust.as_ref();
    let key = check_signature(trust.keys(), algorithm, header.key_id(), parts);
    let key = key.map_err(|unproven| unproven.denied(candidate, header));
    let key = witness.pass(Check::Signature, key)?;
    let proof = trust.prove(key, claims, times.issued_at, now);
    Ok((witness.pass(Check::Revocation, proof)?, times))
}

fn split(token: &str) -> Result<Parts<'_>, Rejection> {
    let is_compact = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    // Five parts are a JWE (RFC 7516 section 7.1).
    if token.bytes().filter(|&byte| byte == b'.').count() == 4 && token.bytes().all(is_compact) {
        return Err(Reason::JwtEncrypted.into());
    }
    let (message, signature) = token.rsplit_once('.').ok_or(Reason::JwtMalformed)?;
    let (header, payload) = message.split_once('.').ok_or(Reason::JwtMalformed)?;
    if payload.contains('.') {
        return Err(Reason::JwtMalformed.into());
    }
    Ok(Parts {
        message,
        header,
        payload,
        signature,
    })
}

fn read_header(part: &str) -> Result<Header, Rejection> {
    let mut header = read_object(part)?;
    let is_nested = |kind: &Value| kind.as_str().is_some_and(|kind| is_type(kind, "JWT"));
    // RFC 7516 section 4.1.2; RFC 7519 section 5.2.
    if header.contains_key("enc") || header.get("cty").is_some_and(is_nested) {
        return Err(Reason::JwtEncrypted.into());
    }
    // No extension is understood here, so none may be critical (RFC 7515 section 4.1.11).
    if header.contains_key("crit") {
        return Err(Reason::JwtCriticalUnsupported.into());
    }
    if header.contains_key("b64") {
        return Err(Reason::JwtPayloadUnencoded.into());
    }
    let algorithm = header.get("alg").map(text).transpose()?;
    let algorithm = algorithm.ok_or_else(|| malformed(&"the header has no `alg`"))?;
    Ok(Header {
        algorithm: algorithm.into(),
        key_id: header.remove("kid"),
        kind: header.remove("typ"),
    })
}

fn text(member: &Value) -> Result<&str, Rejection> {
    let text = member.as_str();
    text.ok_or_else(|| malformed(&"`alg`, `kid` or `typ` of the header is not text"))
}

impl Header {
    /// What a provider asks of a header.
    fn check(
        &self,
        provider: &Provider,
        witness: &mut impl Witness,
    ) -> Result<Algorithm, Rejection> {
        let algorithm = witness.pass(Check::Algorithm, self.algorithm(provider))?;
        witness.pass(Check::KeyId, self.check_key_id())?;
        witness.pass(Check::Type, self.check_type(provider))?;
        Ok(algorithm)
    }

    fn algorithm(&self, provider: &Provider) -> Result<Algorithm, Rejection> {
        let allowed = self.algorithm.parse::<Algorithm>().ok();
        let allowed = allowed.filter(|algorithm| provider.algorithms.contains(algorithm));
        allowed.ok_or_else(|| {
            Rejection::with_detail(
                Reason::JwtAlgorithmNotAllowed,
                format!("the token names `{}`", printable(&self.algorithm)),
            )
        })
    }

    fn check_key_id(&self) -> Result<(), Rejection> {
        let key_id = self.key_id.as_ref().map(text).transpose()?;
        if key_id.is_some_and(|id| id.len() > KEY_ID_BYTES_MAX) {
            return Err(malformed(&format!(
                "the header's `kid` is longer than {KEY_ID_BYTES_MAX} bytes"
            )));
        }
        Ok(())
    }

    fn check_type(&self, provider: &Provider) -> Result<(), Rejection> {
        let kind = self.kind.as_ref().map(text).transpose()?;
        let Some(wanted) = &provider.token_type else {
            return Ok(());
        };
        match kind {
            Some(kind) if is_type(kind, wanted) => Ok(()),
            other => Err(Rejection::with_detail(
                Reason::JwtTypeMismatch,
                match other {
                    Some(kind) => format!("the token is of type `{}`", printable(kind)),
                    None => "the token has no `typ`".into(),
                },
            )),
        }
    }

    fn key_id(&self) -> Option<&str> {
        self.key_id.as_ref().and_then(Value::as_str)
    }
}

/// Media types know no case, and `application/` may be left out (RFC 7515 section 4.1.9).
fn is_type(kind: &str, wanted: &str) -> bool {
    const PREFIX: &str = "application/";
    let short = match kind.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) => rest,
        _ => kind,
    };
    short.eq_ignore_ascii_case(wanted)
}

/// Why no key vouches for a token.
enum Unproven {
    NoKeys,
    NoSuchKey(Algorithm),
    /// The keys that were tried have no names, or the token names none: another key may be the
    /// right one.
    NoneOfUnnamed,
    Forged,
    Malformed(Rejection),
}

impl Unproven {
    fn denied<T>(self, candidate: &Candidate<'_, T>, header: &Header) -> Denied {
        let wanted_key = match self {
            Unproven::NoSuchKey(_) | Unproven::NoneOfUnnamed => Some(WantedKey {
                provider: candidate.index,
                number: candidate.provider.id,
                id: header.key_id().map(Into::into),
            }),
            _ => None,
        };
        let rejection = match self {
            Unproven::NoKeys => Reason::JwtKeysUnavailable.into(),
            Unproven::NoSuchKey(algorithm) => Rejection::with_detail(
                Reason::JwtKeyUnknown,
                match header.key_id() {
                    Some(id) => format!("no key `{}` for {algorithm:?}", printable(id)),
                    None => format!("no key for {algorithm:?}"),
                },
            ),
            Unproven::NoneOfUnnamed | Unproven::Forged => Reason::JwtSignatureInvalid.into(),
            Unproven::Malformed(rejection) => rejection,
        };
        Denied {
            rejection,
            wanted_key,
        }
    }
}

/// The serial of the key that made the signature.
fn check_signature(
    ring: &KeyRing,
    algorithm: Algorithm,
    key_id: Option<&str>,
    parts: &Parts<'_>,
) -> Result<u64, Unproven> {
    if ring.is_empty() {
        return Err(Unproven::NoKeys);
    }
    let keys = || {
        let keys = ring.keys().iter();
        keys.filter_map(|key| Some((key, key.verifier(algorithm)?)))
    };
    let is_named = |key: &Key| key_id.is_some() && key.id.as_deref() == key_id;
    // A `kid` is a hint (RFC 7515 section 4.1.4): where no key has it, one without a name may fit.
    let has_named = keys().any(|(key, _)| is_named(key));
    let may_be = |key: &Key| match key_id {
        None => true,
        Some(_) if has_named => is_named(key),
        Some(_) => key.id.is_none(),
    };
    let mut fitting = keys().filter(|(key, _)| may_be(key)).peekable();
    if fitting.peek().is_none() {
        return Err(Unproven::NoSuchKey(algorithm));
    }
    let signature = URL_SAFE_NO_PAD
        .decode(parts.signature)
        .map_err(|error| Unproven::Malformed(malformed(&error)))?;
    let message = parts.message.as_bytes();
    let maker = fitting
        .take(KEYS_TRIED_MAX)
        .find(|(_, verifier)| verifier.accepts(message, &signature));
    match maker {
        Some((key, _)) => Ok(key.serial()),
        None if has_named => Err(Unproven::Forged),
        None => Err(Unproven::NoneOfUnnamed),
    }
}

/// When a token holds, clock skew included.
#[derive(Clone, Copy)]
struct Times {
    from: UnixSeconds,
    until: UnixSeconds,
    issued_at: Option<UnixSeconds>,
}

fn check_times(
    provider: &Provider,
    claims: &Map<String, Value>,
    now: UnixSeconds,
    witness: &mut impl Witness,
) -> Result<Times, Rejection> {
    let skew = provider.clock_skew_seconds;
    let (expiry, not_before, issued_at) = witness.pass(Check::Dates, read_dates(claims))?;
    // "on or after" exp the token is dead (RFC 7519 section 4.1.4); the skew moves that second.
    let until = expiry.saturating_add(skew);
    let expired = (now < until).then_some(()).ok_or_else(|| {
        let detail = format!("expired {} s ago", now - expiry.min(now));
        Rejection::with_detail(Reason::JwtExpired, detail)
    });
    witness.pass(Check::Expiry, expired)?;
    let from = not_before.unwrap_or(0).saturating_sub(skew);
    let early = (now >= from).then_some(()).ok_or_else(|| {
        Rejection::with_detail(Reason::JwtNotYetValid, format!("valid in {} s", from - now))
    });
    witness.pass(Check::NotBefore, early)?;
    Ok(Times {
        from,
        until,
        issued_at,
    })
}

/// `exp`, which there must be, `nbf` and `iat`.
type Dates = (UnixSeconds, Option<UnixSeconds>, Option<UnixSeconds>);

fn read_dates(claims: &Map<String, Value>) -> Result<Dates, Rejection> {
    let expiry = numeric_date(claims, "exp", f64::floor)?;
    let not_before = numeric_date(claims, "nbf", f64::ceil)?;
    let issued_at = numeric_date(claims, "iat", f64::floor)?;
    let expiry = expiry.ok_or(Reason::JwtExpiryMissing)?;
    Ok((expiry, not_before, issued_at))
}

/// `aud` is one string or an array of them (RFC 7519 section 4.1.3).
fn audience_matches(claims: &Map<String, Value>, provider: &Provider) -> bool {
    let accepted = &provider.audiences;
    let accepts = |value: &Value| {
        value
            .as_str()
            .is_some_and(|audience| accepted.iter().any(|accepted| **accepted == *audience))
    };
    match find(claims, &provider.audience_claim) {
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
            Reason::JwtDateInvalid,
            format!("`{name}` is not a number of seconds up to the year 9999"),
        )),
    }
}

fn read_object(part: &str) -> Result<Map<String, Value>, Rejection> {
    let json = URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|error| malformed(&error))?;
    object::parse(&json).map_err(|error| match error {
        ObjectError::Repeated(_) => {
            Rejection::with_detail(Reason::JwtDuplicateMember, error.to_string())
        }
        ObjectError::Malformed(error) => malformed(&error),
    })
}

fn malformed(error: &dyn std::fmt::Display) -> Rejection {
    Rejection::with_detail(Reason::JwtMalformed, error.to_string())
}

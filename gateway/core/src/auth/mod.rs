//! From a credential to a [`Caller`], or a refusal that says why.
//!
//! | file | holds |
//! |---|---|
//! | `credential.rs` | where a request carries a credential |
//! | `jwt.rs` | one provider, and the check of one token |
//! | `keys.rs` | the keys of a provider, as one immutable snapshot |
//! | `signature.rs` | a key in the verifier's own form |
//! | `trust.rs` | what is believed of a provider now, and what an earlier verdict is worth |
//! | `api_keys.rs` | keys that a file lists, and the check of one of them |
//! | `revocation.rs` | tokens that are refused before their time is over |
//! | `claims.rs` | scopes, claim rules, claims as headers |
//! | `cache.rs` | verified tokens, one cache a worker |
//! | `object.rs` | JSON objects in which no name comes twice |
//! | `refresh.rs` | when a provider's keys are read |
//! | `max_age.rs` | for how long an answer says that it holds |
//! | `stale.rs` | how old keys may become |
//! | `witness.rs` | who looks on while a credential is checked |
//! | `unknown.rs` | key ids that were asked for in vain, one memory a worker |

pub mod api_keys;
pub mod cache;
pub mod claims;
pub mod credential;
pub mod jwt;
pub mod keys;
pub mod max_age;
mod object;
pub mod refresh;
pub mod revocation;
pub mod signature;
pub mod stale;
#[cfg(test)]
mod tests;
pub mod trust;
pub mod unknown;
pub mod witness;

use std::net::IpAddr;
use std::ops::Deref;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use ipnet::IpNet;
use serde_json::{Map, Value};

use crate::words::reason::Reason;
use crate::words::rejection::Rejection;
use crate::words::time::UnixSeconds;
use api_keys::{ApiKeyList, ApiKeys};
use cache::TokenCache;
use claims::{IdentityHeaders, Requirement, Requirements, Unmet};
use credential::{One, Place};
use jwt::{Candidate, Provider};
use trust::Trust;
use witness::{Check, Witness};

/// What a route asks of its callers.
#[derive(Debug)]
pub enum Auth {
    /// Nothing: the route says `auth: none`.
    Open,
    /// One of these, in this order; there is at least one.
    AnyOf(Vec<Policy>),
}

impl Auth {
    /// The ways to be let in; none where everybody is.
    #[must_use]
    pub fn policies(&self) -> &[Policy] {
        match self {
            Auth::Open => &[],
            Auth::AnyOf(policies) => policies,
        }
    }
}

/// One way to be let in.
#[derive(Debug, PartialEq)]
pub struct Policy {
    /// Distinguishes this policy from every other one in the token cache, those of earlier plans
    /// included.
    pub id: u64,
    /// What the caller shows.
    pub credential: Credential,
    /// Where the caller must be; anywhere if this is empty.
    pub networks: Vec<IpNet>,
    /// Scopes and claims that must hold.
    pub requirements: Requirements,
    /// What the upstream is told of the caller.
    pub identity: IdentityHeaders,
    /// Places of which nothing goes on to the upstream.
    pub withheld: Arc<[Place]>,
}

/// What a caller shows.
#[derive(Debug, PartialEq)]
pub enum Credential {
    /// A token of one of these providers: indices into the plan's.
    Jwt(Vec<usize>),
    /// A key of this list: an index into the plan's.
    ApiKey(usize),
    /// Nothing: its address is enough.
    Network,
}

/// Who sent an authenticated request.
#[derive(Debug)]
pub struct Caller {
    /// The `sub` claim.
    pub subject: Option<Box<str>>,
    /// Who says so: the token's issuer; none vouches for an API key but the gateway.
    pub issuer: Option<Box<str>>,
    /// Its scopes, with spaces between.
    pub scopes: Box<str>,
    /// Identity headers for the upstream, made once per token.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Places of which nothing goes on to the upstream.
    pub withheld: Arc<[Place]>,
    /// The second from which the credential is valid no more, clock skew included.
    pub valid_until: UnixSeconds,
    /// The first second in which it is valid, clock skew included.
    pub valid_from: UnixSeconds,
}

/// The snapshots that a decision looks at.
pub trait Snapshots {
    /// Keeps a snapshot while it is looked at.
    type Trust: Deref<Target = Arc<Trust>>;
    /// The same for a list of API keys.
    type ApiKeys: Deref<Target = Arc<ApiKeys>>;

    /// What is believed of a provider, by its index in the plan.
    fn trust(&self, provider: usize) -> Self::Trust;

    /// The keys of a list, by its index in the plan.
    fn api_keys(&self, list: usize) -> Self::ApiKeys;
}

/// Who may vouch for callers, from the plan.
#[derive(Clone, Copy, Debug)]
pub struct Known<'p> {
    /// The token providers.
    pub providers: &'p [Provider],
    /// The lists of API keys.
    pub api_keys: &'p [ApiKeyList],
}

/// What of a request authentication looks at.
pub struct Request<'a, C> {
    /// The headers as received.
    pub headers: &'a HeaderMap,
    /// Finds out the client's address.
    pub client: C,
}

/// A refusal, and what might turn it.
#[derive(Clone, Debug)]
pub struct Denied {
    /// Why.
    pub rejection: Rejection,
    /// The key that would be needed to tell.
    pub wanted_key: Option<WantedKey>,
}

/// A key that a provider may have published since its keys were read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WantedKey {
    /// The provider's index in the plan.
    pub provider: usize,
    /// The provider's number: what is remembered of a key outlives the plan.
    pub number: u64,
    /// The key's id, where the token names one.
    pub id: Option<Box<str>>,
}

impl From<Rejection> for Denied {
    fn from(rejection: Rejection) -> Self {
        Self {
            rejection,
            wanted_key: None,
        }
    }
}

impl AsRef<Rejection> for Denied {
    fn as_ref(&self) -> &Rejection {
        &self.rejection
    }
}

impl From<Reason> for Denied {
    fn from(reason: Reason) -> Self {
        Rejection::from(reason).into()
    }
}

impl Denied {
    /// Keeps of two refusals the one that is about the credential nearest to being right: what
    /// was shown and is wrong before what was not shown, and of those the one that came later
    /// in the order of checks.
    fn keep_later(kept: &mut Option<Self>, other: Self) {
        let rank = |denied: &Self| {
            let reason = denied.rejection.reason;
            let is_shown = !is_absence(reason) && reason != Reason::NetworkNotAllowed;
            (is_shown, is_absence(reason), reason as u8)
        };
        if kept.as_ref().is_none_or(|kept| rank(kept) < rank(&other)) {
            *kept = Some(other);
        }
    }
}

/// Whether a reason says that nothing was shown, and not that what was shown is wrong.
fn is_absence(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::JwtMissing | Reason::ApiKeyMissing | Reason::CredentialMissing
    )
}

/// Checks the credential of one request. Costs one lookup when the token is cached.
///
/// # Errors
/// Of several ways to be let in, the refusal of the one that came nearest.
pub fn authenticate<C: Fn() -> IpAddr>(
    auth: &Auth,
    known: Known<'_>,
    snapshots: &impl Snapshots,
    request: &Request<'_, C>,
    cache: &mut TokenCache,
    now: UnixSeconds,
    witness: &mut impl Witness,
) -> Result<Option<Arc<Caller>>, Denied> {
    let Auth::AnyOf(policies) = auth else {
        return Ok(None);
    };
    let mut denied = None;
    let mut missing = 0;
    // One bit a policy; a file may have 16 of them.
    let mut refused = 0_u32;
    for (index, policy) in policies.iter().enumerate() {
        // What was refused for itself is no better where other claims are asked for: a bad token
        // costs one signature for each list of providers, however many policies there are.
        let is_refused = |(earlier, other): (usize, &Policy)| {
            refused & (1 << earlier) != 0 && other.credential == policy.credential
        };
        if policies[..index].iter().enumerate().any(is_refused) {
            witness.passed_over(index);
            continue;
        }
        witness.policy(index);
        let admitted = policy.admit(known, snapshots, request, cache, now, witness);
        witness.ended(admitted.is_ok());
        match admitted {
            Ok(caller) => return Ok(caller),
            Err(other) => {
                let reason = other.rejection.reason;
                missing += u32::from(is_absence(reason));
                if reason.status() == StatusCode::UNAUTHORIZED && !is_absence(reason) {
                    refused |= 1 << index;
                }
                Denied::keep_later(&mut denied, other);
            }
        }
    }
    let denied = denied.expect("a route that is not open has a policy");
    if missing > 1 && is_absence(denied.rejection.reason) {
        return Err(Reason::CredentialMissing.into());
    }
    Err(denied)
}

impl Policy {
    fn admit<C: Fn() -> IpAddr>(
        &self,
        known: Known<'_>,
        snapshots: &impl Snapshots,
        request: &Request<'_, C>,
        cache: &mut TokenCache,
        now: UnixSeconds,
        witness: &mut impl Witness,
    ) -> Result<Option<Arc<Caller>>, Denied> {
        if !self.networks.is_empty() {
            witness.pass(Check::Network, self.check_network((request.client)()))?;
        }
        match &self.credential {
            Credential::Network => Ok(None),
            Credential::Jwt(indices) => {
                let (providers, headers) = (known.providers, request.headers);
                self.admit_token(indices, providers, snapshots, headers, cache, now, witness)
                    .map(Some)
            }
            Credential::ApiKey(index) => {
                let (list, keys) = (&known.api_keys[*index], snapshots.api_keys(*index));
                let caller = self.admit_key(list, &keys, request.headers, now, witness)?;
                Ok(Some(Arc::new(caller)))
            }
        }
    }

    fn check_network(&self, client: IpAddr) -> Result<(), Rejection> {
        if self
            .networks
            .iter()
            .any(|network| network.contains(&client))
        {
            return Ok(());
        }
        Err(Rejection::with_detail(
            Reason::NetworkNotAllowed,
            format!("the client is {client}"),
        ))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "all of them are borrowed from different owners"
    )]
    fn admit_token(
        &self,
        indices: &[usize],
        providers: &[Provider],
        snapshots: &impl Snapshots,
        headers: &HeaderMap,
        cache: &mut TokenCache,
        now: UnixSeconds,
        witness: &mut impl Witness,
    ) -> Result<Arc<Caller>, Denied> {
        if let [index] = *indices {
            // By far the most common: no list is made.
            let provider = &providers[index];
            let token = token(index, provider, headers, witness)?;
            let trust = snapshots.trust(index);
            if let Some(caller) = cache.get(self.id, provider.id, token, &trust, now) {
                return Ok(caller);
            }
            let candidate = Candidate {
                index,
                provider,
                trust: &**trust,
            };
            return self.verify(&[candidate], token, cache, now, witness);
        }
        let mut denied = None;
        let mut candidates = Vec::with_capacity(indices.len());
        let mut shown = None;
        for &index in indices {
            let provider = &providers[index];
            match token(index, provider, headers, witness) {
                // The first place that has a token decides for all providers.
                Ok(token) if shown.is_none_or(|shown| shown == token) => {
                    shown = Some(token);
                    let trust = snapshots.trust(index);
                    if let Some(caller) = cache.get(self.id, provider.id, token, &trust, now) {
                        return Ok(caller);
                    }
                    candidates.push((index, provider, trust));
                }
                Ok(_) => {}
                Err(rejection) => Denied::keep_later(&mut denied, rejection.into()),
            }
        }
        let candidates: Vec<_> = candidates
            .iter()
            .map(|(index, provider, trust)| Candidate {
                index: *index,
                provider,
                trust: &***trust,
            })
            .collect();
        match shown {
            Some(token) => self.verify(&candidates, token, cache, now, witness),
            None => Err(denied.unwrap_or_else(|| Reason::JwtMissing.into())),
        }
    }

    fn verify(
        &self,
        candidates: &[Candidate<'_, &Trust>],
        token: &[u8],
        cache: &mut TokenCache,
        now: UnixSeconds,
        witness: &mut impl Witness,
    ) -> Result<Arc<Caller>, Denied> {
        let text = std::str::from_utf8(token).map_err(|_| Reason::JwtMalformed.into());
        let text = text.or_else(|error: Rejection| witness.pass(Check::Form, Err(error)))?;
        let verified = jwt::verify(candidates, text, now, witness)?;
        let of_token = |unmet| match unmet {
            Unmet::Scope(why) => Rejection::with_detail(Reason::JwtScopeMissing, why),
            Unmet::Claim(why) => Rejection::with_detail(Reason::JwtClaimMismatch, why),
        };
        let claims = &verified.claims;
        self.check_requirements(claims, of_token, witness)?;
        let headers = self.identity.render(claims, Some(verified.payload));
        let headers = witness.pass(Check::IdentityHeaders, headers.map_err(of_token))?;
        let caller = Arc::new(Caller {
            subject: subject(claims),
            issuer: Some(verified.issuer.into()),
            scopes: self.scopes(claims),
            headers,
            withheld: Arc::clone(&self.withheld),
            valid_until: verified.valid_until,
            valid_from: verified.valid_from,
        });
        let kept = cache::Entry {
            policy_id: self.id,
            provider: verified.provider,
            generation: verified.generation,
            proof: verified.proof,
            token: token.into(),
            caller: Arc::clone(&caller),
        };
        cache.insert(kept);
        Ok(caller)
    }

    /// A key costs one hash, so that nothing is kept of it.
    fn admit_key(
        &self,
        list: &ApiKeyList,
        keys: &ApiKeys,
        headers: &HeaderMap,
        now: UnixSeconds,
        witness: &mut impl Witness,
    ) -> Result<Caller, Rejection> {
        let presented: Result<&[u8], Rejection> = match credential::alone(headers, &list.header) {
            One::None => Err(Reason::ApiKeyMissing.into()),
            One::Several => Err(Reason::ApiKeyRepeated.into()),
            One::Some(value) => Ok(value),
        };
        let presented = witness.pass(Check::Credential(None), presented)?;
        let key = witness.pass(Check::ApiKey, keys.find(presented, now))?;
        let of_key = |unmet| match unmet {
            Unmet::Scope(why) => Rejection::with_detail(Reason::ApiKeyScopeMissing, why),
            Unmet::Claim(why) => Rejection::with_detail(Reason::ApiKeyClaimMismatch, why),
        };
        self.check_requirements(&key.claims, of_key, witness)?;
        let headers = self.identity.render(&key.claims, None).map_err(of_key);
        Ok(Caller {
            subject: subject(&key.claims),
            issuer: None,
            scopes: self.scopes(&key.claims),
            headers: witness.pass(Check::IdentityHeaders, headers)?,
            withheld: Arc::clone(&self.withheld),
            valid_until: key.expires.unwrap_or(UnixSeconds::MAX),
            valid_from: 0,
        })
    }

    fn check_requirements(
        &self,
        claims: &Map<String, Value>,
        rejection: impl Fn(Unmet) -> Rejection,
        witness: &mut impl Witness,
    ) -> Result<(), Rejection> {
        for (requirement, outcome) in self.requirements.outcomes(claims) {
            let check = match requirement {
                Requirement::Scopes => Check::Scopes,
                Requirement::Claim(path) => Check::Claim(path),
            };
            witness.pass(check, outcome.map_err(&rejection))?;
        }
        Ok(())
    }

    fn scopes(&self, claims: &Map<String, Value>) -> Box<str> {
        let scopes = self.requirements.scopes.scopes(claims);
        // One scope of an array that has a space in it would be two here.
        let is_one = |scope: &&str| !scope.is_empty() && !scope.contains(char::is_whitespace);
        scopes.filter(is_one).collect::<Vec<_>>().join(" ").into()
    }
}

fn subject(claims: &Map<String, Value>) -> Option<Box<str>> {
    claims.get("sub").and_then(Value::as_str).map(Into::into)
}

/// A provider's token, within its bound.
fn token<'h>(
    index: usize,
    provider: &Provider,
    headers: &'h HeaderMap,
    witness: &mut impl Witness,
) -> Result<&'h [u8], Rejection> {
    witness.provider(index);
    let (place, token) = match credential::token(&provider.places, headers) {
        Ok((place, token)) => (Some(place), Ok(token)),
        Err(rejection) => (None, Err(rejection)),
    };
    let is_short = |token: &&[u8]| token.len() <= provider.token_bytes_max;
    let token = token.and_then(|token| {
        let token = Some(token).filter(is_short);
        token.ok_or_else(|| Reason::JwtTooLarge.into())
    });
    witness.pass(Check::Credential(place), token)
}

/// What a client chose goes into the log short and without control characters.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}

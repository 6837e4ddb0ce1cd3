//! Whoever looks on while a credential is checked.
//!
//! An explanation has to come from the checks themselves, not from a second copy of them. The
//! request path has [`Nobody`] look on, of whom the compiler leaves nothing.

use super::credential::Place;
use crate::words::rejection::Rejection;

/// Sees each check as it is made, in the order in which they are made.
pub trait Witness {
    /// The checks that follow are those of the route's policy of this index.
    fn policy(&mut self, index: usize);

    /// The policy that was looked at lets the request in, or does not.
    fn ended(&mut self, is_admitted: bool);

    /// The policy of this index asks for what an earlier one has refused for itself.
    fn passed_over(&mut self, index: usize);

    /// The checks that follow are those of this provider, by its index in the plan.
    fn provider(&mut self, index: usize);

    /// One check and how it ended.
    fn saw(&mut self, check: Check<'_>, outcome: Result<(), &Rejection>);

    /// The same, with what the check found passed on.
    ///
    /// # Errors
    /// That of the check.
    fn pass<T, E: AsRef<Rejection>>(
        &mut self,
        check: Check<'_>,
        found: Result<T, E>,
    ) -> Result<T, E> {
        self.saw(check, found.as_ref().map(|_| ()).map_err(AsRef::as_ref));
        found
    }
}

/// One check of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check<'a> {
    /// The client's address against the policy's networks.
    Network,
    /// There is exactly one credential; in this place, where there is one.
    Credential(Option<&'a Place>),
    /// The token has the compact form.
    Form,
    /// The token's header can be read, and nothing in it is refused.
    Header,
    /// The algorithm is on the provider's list.
    Algorithm,
    /// The `kid` is text within its bound.
    KeyId,
    /// The `typ` is the provider's.
    Type,
    /// The claims can be read.
    Claims,
    /// The `iss` is the provider's.
    Issuer,
    /// The audience is one of the provider's.
    Audience,
    /// `exp`, `nbf` and `iat` are dates, and there is an `exp`.
    Dates,
    /// The `exp` is not over.
    Expiry,
    /// The `nbf` is over.
    NotBefore,
    /// A key of the provider's made the signature.
    Signature,
    /// No deny list names the token.
    Revocation,
    /// The key is on the list and not expired.
    ApiKey,
    /// The scopes are there.
    Scopes,
    /// The claim at this path satisfies its rule.
    Claim(&'a str),
    /// The claims that become headers can be such.
    IdentityHeaders,
}

impl Check<'_> {
    /// The word for it in explanations.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Check::Network => "network",
            Check::Credential(_) => "credential",
            Check::Form => "form",
            Check::Header => "header",
            Check::Algorithm => "algorithm",
            Check::KeyId => "key_id",
            Check::Type => "type",
            Check::Claims => "claims",
            Check::Issuer => "issuer",
            Check::Audience => "audience",
            Check::Dates => "dates",
            Check::Expiry => "expiry",
            Check::NotBefore => "not_before",
            Check::Signature => "signature",
            Check::Revocation => "revocation",
            Check::ApiKey => "api_key",
            Check::Scopes => "scopes",
            Check::Claim(_) => "claim",
            Check::IdentityHeaders => "identity_headers",
        }
    }
}

/// Nobody looks on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nobody;

impl Witness for Nobody {
    #[inline]
    fn policy(&mut self, _index: usize) {}

    #[inline]
    fn ended(&mut self, _is_admitted: bool) {}

    #[inline]
    fn passed_over(&mut self, _index: usize) {}

    #[inline]
    fn provider(&mut self, _index: usize) {}

    #[inline]
    fn saw(&mut self, _check: Check<'_>, _outcome: Result<(), &Rejection>) {}
}

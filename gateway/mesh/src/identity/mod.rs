//! Who calls, as the gateway says it: a short-lived token that it signs for each request.
//!
//! A service that demands the token refuses whatever did not come through the gateway, and knows
//! the caller without a token of the identity provider's. `docs/internal-identity.md` has the
//! whole picture; these are its parts on the service's side:
//!
//! | file | holds |
//! |---|---|
//! | `verifier.rs` | the check of one request |
//! | `keys.rs` | the public keys of all gateway processes, as far as they are known |
//! | `refresh.rs` | asking for them: in time, and when a token names one that is not known |
//!
//! Every gateway process has keys of its own, so all addresses of the keys' host are asked. The
//! keys come over plain HTTP: whoever can answer in the gateway's place within the network can
//! sign for it, too. The token keeps out what reaches the service, not what owns the network.

mod keys;
mod refresh;
mod verifier;

use std::str::FromStr;

use http::HeaderName;

pub use refresh::Refresher;
pub use verifier::Verifier;

use crate::client::{self, ClientError};

/// The tokens' `typ` (RFC 8725 section 3.11).
pub const TOKEN_TYPE: &str = "gateway+jwt";
/// The tokens' `iss`, unless the gateway is told otherwise.
pub const ISSUER: &str = "gateway";
/// The header with the token, unless the gateway is told otherwise.
pub const HEADER: &str = "x-gateway-token";

/// Which tokens are good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where the gateway publishes its keys; all addresses of the host are asked.
    pub keys: KeysUrl,
    /// What `iss` must be.
    pub issuer: String,
    /// What `aud` must hold.
    pub audience: String,
    /// The header with the token.
    pub header: HeaderName,
}

/// An `http` URL at which gateway processes publish their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysUrl {
    text: String,
    host: String,
    port: u16,
}

impl FromStr for KeysUrl {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Self, ClientError> {
        let (host, port) = client::host_and_port(text)?;
        Ok(Self {
            text: text.to_owned(),
            host,
            port,
        })
    }
}

/// Whom the gateway names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The caller, where the route asks who it is.
    pub subject: Option<Box<str>>,
    /// The issuer that knows the caller by this name; none where it is an API key's.
    pub issuer: Option<Box<str>>,
    /// The caller's scopes, divided by single spaces.
    pub scopes: Box<str>,
    /// The request's id, as the gateway logs it.
    pub request_id: Box<str>,
}

impl Caller {
    /// Whether the caller has this scope.
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scopes.split(' ').any(|have| have == scope)
    }
}

/// Why a request is not served. The causes are for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It has no token.
    #[error("there is no token of the gateway")]
    Missing,
    /// Its token is not one that the gateway signed for this service, or has ended.
    #[error("the token is not good: {0}")]
    Invalid(String),
    /// The key that the token names could not be asked for: it may be good.
    #[error("the token cannot be checked: {0}")]
    KeysUnavailable(String),
}

//! Internal identity: the token by which the gateway tells an upstream who calls, and that the
//! call came through the gateway.
//!
//! | file | holds |
//! |---|---|
//! | `token.rs` | one token up to its signature |
//! | `rotation.rs` | which key signs and which are published, over time |
//!
//! Keys and signatures are the shell's: they need random numbers.

pub mod rotation;
pub mod token;

use std::time::Duration;

use http::HeaderName;

/// `internal_identity:` of the routes file, compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternalIdentity {
    /// The tokens' `iss`.
    pub issuer: Box<str>,
    /// From a token's `iat` to its `exp`, in whole seconds.
    pub lifetime: Duration,
    /// How long one key signs; at least `lifetime`.
    pub rotation: Duration,
    /// The header that carries the token.
    pub header: HeaderName,
}

//! Why keys could not be read.

use gateway_core::auth::keys::KeyRingError;
use gateway_core::file::SecretError;

use super::DOCUMENT_BYTES_MAX;
use crate::cause::chain;

/// Why a reading brought no keys.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("cannot read `{path}`: {source}")]
    File {
        path: String,
        source: std::io::Error,
    },
    #[error("cannot fetch `{url}`: {}", chain(.source))]
    Fetch { url: String, source: reqwest::Error },
    #[error("`{url}` answered with status {status}")]
    Status { url: String, status: u16 },
    #[error("`{place}` is larger than {DOCUMENT_BYTES_MAX} bytes")]
    TooLarge { place: String },
    #[error("`{place}`: {source}")]
    Keys { place: String, source: KeyRingError },
    #[error("`{path}`: {source}")]
    Secret { path: String, source: SecretError },
    #[error("`{url}` is not an issuer's document: {source}")]
    Document {
        url: String,
        source: serde_json::Error,
    },
    #[error(
        "`{url}` is the document of the issuer `{found}`; write it as `issuer`, to the letter, if \
         that is the one you mean"
    )]
    Issuer { url: String, found: String },
    #[error(
        "`{url}` names `{jwks_uri}` for its keys, which is not https; say `allow_http: true` if \
         nobody can listen in on the way"
    )]
    Insecure { url: String, jwks_uri: String },
}

/// How a reading ended, as a label of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Outcome {
    Success,
    NotModified,
    Network,
    Timeout,
    Redirect,
    Status,
    TooLarge,
    Malformed,
    NoKeys,
    IssuerMismatch,
    Insecure,
    Unreadable,
}

impl Outcome {
    /// All, in the order of their discriminants.
    pub(crate) const ALL: [Self; 12] = [
        Self::Success,
        Self::NotModified,
        Self::Network,
        Self::Timeout,
        Self::Redirect,
        Self::Status,
        Self::TooLarge,
        Self::Malformed,
        Self::NoKeys,
        Self::IssuerMismatch,
        Self::Insecure,
        Self::Unreadable,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::NotModified => "not_modified",
            Self::Network => "network",
            Self::Timeout => "timeout",
            Self::Redirect => "redirect",
            Self::Status => "status",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::NoKeys => "no_keys",
            Self::IssuerMismatch => "issuer_mismatch",
            Self::Insecure => "insecure",
            Self::Unreadable => "unreadable",
        }
    }
}

impl KeyError {
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::File { .. } => Outcome::Unreadable,
            Self::Fetch { source, .. } if source.is_timeout() => Outcome::Timeout,
            Self::Fetch { source, .. } if source.is_redirect() => Outcome::Redirect,
            Self::Fetch { .. } => Outcome::Network,
            Self::Status { .. } => Outcome::Status,
            Self::TooLarge { .. } => Outcome::TooLarge,
            Self::Keys {
                source: KeyRingError::Malformed(_),
                ..
            }
            | Self::Secret { .. }
            | Self::Document { .. } => Outcome::Malformed,
            Self::Keys { .. } => Outcome::NoKeys,
            Self::Issuer { .. } => Outcome::IssuerMismatch,
            Self::Insecure { .. } => Outcome::Insecure,
        }
    }
}

//! A refusal: a public reason, and a private cause for the log.

use std::borrow::Cow;

use super::reason::Reason;

/// Why a request is not served.
///
/// The client learns the [`Reason`]; the detail goes to the access log alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// What the client, the log and the metrics see.
    pub reason: Reason,
    /// What only the log sees. Never a credential.
    pub detail: Option<Cow<'static, str>>,
    /// What the client is told beside the reason, so that it can mend its request.
    pub hint: Option<Cow<'static, str>>,
}

impl Rejection {
    /// A rejection with a private cause.
    #[must_use]
    pub fn with_detail(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reason,
            detail: Some(detail.into()),
            hint: None,
        }
    }

    /// A rejection that tells the client how to mend its request.
    #[must_use]
    pub fn with_hint(reason: Reason, hint: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reason,
            detail: None,
            hint: Some(hint.into()),
        }
    }
}

impl AsRef<Rejection> for Rejection {
    fn as_ref(&self) -> &Rejection {
        self
    }
}

impl From<Reason> for Rejection {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            detail: None,
            hint: None,
        }
    }
}

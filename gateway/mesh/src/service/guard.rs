//! The layer that demands a token of the gateway.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::fault::Fault;
use crate::identity::{Refusal, Verifier};

/// Lets requests through that came through the gateway; handlers find the
/// [`Caller`](crate::identity::Caller) among the request's extensions.
pub(super) async fn require_gateway(
    State(verifier): State<Arc<Verifier>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Fault> {
    let caller = verifier.verify(request.headers()).await?;
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Missing => Self::GatewayIdentityMissing,
            Refusal::Invalid(cause) => Self::GatewayIdentityInvalid { cause },
            Refusal::KeysUnavailable(cause) => Self::GatewayKeysUnavailable { cause },
        }
    }
}

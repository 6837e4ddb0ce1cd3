//! What goes wrong with a request: what the client is told, and what the log is told.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

use super::store::StoreError;
use crate::problem::Problem;

/// Seconds after which a client may try again where the fault may have passed.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("1");
/// Every path here can be read and nothing else.
const ALLOWED: HeaderValue = HeaderValue::from_static("GET, HEAD");

/// A 401 must say what would help (RFC 9110 section 15.5.2): the gateway, and no header that a
/// client could send.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Gateway");

/// An answer other than the one asked for.
///
/// As a response it has a status and headers only, and carries itself along; the
/// outermost layer ([`super::observe`]) writes the body, for it knows the request id.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// Nothing lives at this path.
    NoRoute,
    /// The collection has no such row.
    NoRow { collection: &'static str, id: i64 },
    /// Something lives here, but cannot be written.
    MethodNotAllowed,
    /// The path holds something that no id looks like.
    InvalidId { text: String },
    /// A query parameter is not as documented.
    InvalidParameter { detail: String },
    /// The request has no token of the gateway.
    GatewayIdentityMissing,
    /// The request's token is not one that the gateway signed for this service.
    GatewayIdentityInvalid { cause: String },
    /// The gateway's keys are not known, so that its token cannot be checked.
    GatewayKeysUnavailable { cause: String },
    /// The request took longer than allowed.
    Timeout { limit: Duration },
    /// As many requests as allowed are in work.
    Overloaded,
    /// The process is stopping.
    ShuttingDown,
    /// The database did not answer. Only probes are told which one.
    Database {
        cause: String,
        name: Option<Arc<str>>,
    },
    /// A bug of ours.
    Internal { cause: String },
    /// A status that a layer below chose by itself.
    Other(StatusCode),
}

impl Fault {
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::NoRoute | Self::NoRow { .. } => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::InvalidId { .. } | Self::InvalidParameter { .. } => StatusCode::BAD_REQUEST,
            Self::GatewayIdentityMissing | Self::GatewayIdentityInvalid { .. } => {
                StatusCode::UNAUTHORIZED
            }
            Self::GatewayKeysUnavailable { .. }
            | Self::Timeout { .. }
            | Self::Overloaded
            | Self::ShuttingDown
            | Self::Database { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Other(status) => *status,
        }
    }

    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::NoRoute => "no_route",
            Self::NoRow { .. } => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::InvalidId { .. } => "invalid_id",
            Self::InvalidParameter { .. } => "invalid_parameter",
            Self::GatewayIdentityMissing => "gateway_identity_missing",
            Self::GatewayIdentityInvalid { .. } => "gateway_identity_invalid",
            Self::GatewayKeysUnavailable { .. } => "gateway_keys_unavailable",
            Self::Timeout { .. } => "timeout",
            Self::Overloaded => "overloaded",
            Self::ShuttingDown => "shutting_down",
            Self::Database { .. } => "database_unavailable",
            Self::Internal { .. } => "internal_error",
            Self::Other(StatusCode::PAYLOAD_TOO_LARGE) => "body_too_large",
            Self::Other(status) if status.is_server_error() => "internal_error",
            Self::Other(_) => "bad_request",
        }
    }

    fn title(&self) -> &'static str {
        match self {
            Self::NoRoute => "Nothing lives at this path",
            Self::NoRow { .. } => "No such row",
            Self::MethodNotAllowed => "Method not allowed",
            Self::InvalidId { .. } => "Invalid id",
            Self::InvalidParameter { .. } => "Invalid query parameter",
            Self::GatewayIdentityMissing => "The request did not come through the gateway",
            Self::GatewayIdentityInvalid { .. } => "The gateway's token is not good",
            Self::GatewayKeysUnavailable { .. } => "The gateway's token cannot be checked",
            Self::Timeout { .. } => "The request took too long",
            Self::Overloaded => "Too many requests at a time",
            Self::ShuttingDown => "The service is stopping",
            Self::Database { .. } => "The database does not answer",
            Self::Internal { .. } => "Internal error",
            Self::Other(status) => status.canonical_reason().unwrap_or("Error"),
        }
    }

    fn detail(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::NoRow { collection, id } => {
                Some(format!("/{collection} has no row with id {id}").into())
            }
            Self::MethodNotAllowed => Some("this path answers GET and HEAD".into()),
            Self::InvalidId { text } => Some(
                format!(
                    "`{text}` is not an id; an id is a decimal number from 0 to {}",
                    i64::MAX
                )
                .into(),
            ),
            Self::InvalidParameter { detail } => Some(detail.into()),
            Self::Timeout { limit } => Some(format!("no answer within {limit:?}").into()),
            Self::Database { name, .. } => name.as_deref().map(Cow::Borrowed),
            _ => None,
        }
    }

    /// Names the database.
    pub(super) fn about(mut self, database: &Arc<str>) -> Self {
        if let Self::Database { name, .. } = &mut self {
            *name = Some(Arc::clone(database));
        }
        self
    }

    /// What happened inside; for the log, never for the client.
    pub(super) fn cause(&self) -> Option<&str> {
        match self {
            Self::GatewayIdentityInvalid { cause }
            | Self::GatewayKeysUnavailable { cause }
            | Self::Database { cause, .. }
            | Self::Internal { cause } => Some(cause),
            _ => None,
        }
    }

    pub(super) fn problem<'a>(&'a self, request_id: &'a str) -> Problem<'a> {
        Problem {
            status: self.status(),
            code: self.code(),
            title: self.title().into(),
            detail: self.detail(),
            request_id: Some(request_id),
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            response
                .headers_mut()
                .insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, CHALLENGE);
        }
        if self.status() == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(ALLOW, ALLOWED);
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        let mut cause = error.to_string();
        let mut inner = std::error::Error::source(&error);
        while let Some(source) = inner {
            cause = format!("{cause}: {source}");
            inner = source.source();
        }
        Self::Database { cause, name: None }
    }
}

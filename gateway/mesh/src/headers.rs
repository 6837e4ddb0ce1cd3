//! Names of the headers on our wire that `http` has no constant for.

use http::HeaderName;

/// The id that one request carries through every hop; see [`crate::request_id`].
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// W3C trace context, position in the trace; see [`crate::trace`].
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// W3C trace context, vendor data: passed on untouched beside a valid
/// `traceparent`, dropped beside an invalid one (W3C Trace Context, section 3.3).
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Milliseconds that are left for the answer when the request is sent, as a plain decimal number.
/// A span and not a moment, as in `grpc-timeout`: two clocks need not agree.
pub const X_REQUEST_DEADLINE: HeaderName = HeaderName::from_static("x-request-deadline");

//! What both ends of the gateway's wire agree on.
//!
//! Without features this is the small part that the gateway uses too: names of
//! headers, problem+json, the request id, the W3C trace context, a one-shot HTTP
//! client, registration with a local registry, and shutdown. Feature `identity`
//! adds the check of the gateway's own tokens, feature `otlp` the export of spans,
//! feature `tls` TLS to servers of other people, feature `service` everything that two
//! services would otherwise write twice, feature `testing` what their tests share.

pub mod client;
pub mod headers;
#[cfg(feature = "identity")]
pub mod identity;
#[cfg(feature = "otlp")]
pub mod otlp;
pub mod problem;
pub mod registration;
pub mod request_id;
#[cfg(feature = "service")]
pub mod service;
pub mod shutdown;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "tls")]
mod tls;
pub mod trace;

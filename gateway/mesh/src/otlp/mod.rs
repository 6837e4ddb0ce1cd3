//! Spans, and their way to an OpenTelemetry collector (OTLP 1.x over HTTP,
//! <https://opentelemetry.io/docs/specs/otlp/>).
//!
//! ```text
//! span       what was done, as whoever did it knows it
//! queue      bounded: whoever records never waits, what finds it full is dropped and counted
//! exporter   batches, sends, tries again within bounds
//! encode     the wire format, by the types of `opentelemetry-proto`
//! http       one POST, without TLS; another transport can stand in its place
//! https      the same over TLS
//! ```

mod encode;
mod exporter;
mod http;
#[cfg(feature = "tls")]
mod https;
mod queue;
mod span;

pub use encode::Protocol;
pub use exporter::{
    BACKOFF_MAX, BACKOFF_MIN, Exporter, FLUSH_MAX, PostError, SENDS_MAX, Settings, Transport,
};
pub use http::PlainHttp;
#[cfg(feature = "tls")]
pub use https::Https;
pub use queue::{Queue, Stats, channel};
pub use span::{Kind, Resource, Span, TEXT_BYTES_MAX, Value, is_sampled, ratio_threshold};

/// What OTLP adds to an endpoint that names a host alone.
pub const TRACES_PATH: &str = "/v1/traces";

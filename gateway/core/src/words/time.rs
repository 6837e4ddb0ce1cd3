//! Time as an argument: the core reads no clock.

/// Seconds since 1970-01-01T00:00:00Z, as `NumericDate` of RFC 7519 section 2 has them.
pub type UnixSeconds = u64;

/// Milliseconds on a clock that never goes back; its origin means nothing.
pub type Millis = u64;

//! The keys of token providers: read in the background, never on the request path.
//!
//! | file | holds |
//! |---|---|
//! | `watch.rs` | the one loop a provider: when to read, what becomes of the answer |
//! | `source.rs` | the places of keys: URL, an issuer's document, file, none |
//! | `fetch.rs` | HTTP with bounds |
//! | `file.rs` | a file, read when it has changed |
//! | `remembered.rs` | keys on disk, for a start while a provider is down |
//! | `wanted.rs` | requests that wait for a key that is not there |
//! | `stats.rs` | what is counted |
//! | `error.rs` | why keys could not be read |
//! | `time.rs` | the engine's clock, which tests let run faster |
//!
//! When a reading is due, how old keys may become and what an answer says of its lifetime is
//! decided in the core: `auth/refresh.rs`, `auth/stale.rs`, `auth/max_age.rs`.

mod error;
mod fetch;
mod file;
mod remembered;
mod source;
mod stats;
#[cfg(test)]
mod tests;
mod time;
mod wanted;
mod watch;

pub(crate) use error::{KeyError, Outcome};
pub(crate) use fetch::Fetcher;
pub(crate) use remembered::{StateDirectory, StateDirectoryError};
pub(crate) use stats::KeyStats;
pub(crate) use time::KeyClock;
pub(crate) use wanted::{Asked, Found, WantedKeys};
pub(crate) use watch::{KeyWatch, Shared, waiting_name};

/// Bytes of a key set, or of an issuer's document; real ones have a few thousand.
const DOCUMENT_BYTES_MAX: usize = 512 * 1024;

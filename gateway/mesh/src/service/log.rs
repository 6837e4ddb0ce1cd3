//! JSON lines on standard output.

use std::io;

use tracing_subscriber::EnvFilter;

/// Starts logging; `directives` have been checked when they were read.
///
/// A second call changes nothing: a process has one log.
pub(super) fn init(directives: &str) {
    let started = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_env_filter(EnvFilter::new(directives))
        .with_writer(io::stdout)
        .try_init();
    if started.is_err() {
        tracing::debug!("logging was set up before");
    }
}

//! What the gateway tells about itself: an access line a request, counters, spans.

pub(crate) mod access_log;
pub(crate) mod cells;
pub(crate) mod exemplars;
pub(crate) mod export;
pub(crate) mod ledger;
pub(crate) mod line;
pub(crate) mod log_level;
mod log_writer;
pub(crate) mod refusals;
pub(crate) mod spans;
pub(crate) mod value;

pub(crate) use log_writer::Output;

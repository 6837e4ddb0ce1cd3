//! What the gateway tells about itself: an access line a request, counters, spans.

pub(crate) mod access_log;
pub(crate) mod cells;
pub(crate) mod exemplars;
pub(crate) mod export;
pub(crate) mod ledger;
pub(crate) mod line;
pub(crate) mod refusals;
pub(crate) mod spans;

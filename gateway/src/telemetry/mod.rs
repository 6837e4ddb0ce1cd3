//! What the gateway tells about itself: an access line a request, and counters.

pub(crate) mod access_log;
pub(crate) mod cells;
pub(crate) mod ledger;
pub(crate) mod line;
pub(crate) mod refusals;

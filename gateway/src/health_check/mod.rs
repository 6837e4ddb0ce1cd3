//! Health as the shell sees it: checks of its own, and what is written down of changes.
//!
//! What a failure means is decided in core's `cluster::health`; ejection by failures of requests
//! needs nothing from here but a tick.

mod check;
mod checks;
mod watch;

pub(crate) use checks::Checks;
pub(crate) use watch::HealthWatch;

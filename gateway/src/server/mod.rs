//! Sockets: accepting them, handing each to one worker for life, speaking HTTP on it.

mod acceptor;
mod connection;
mod worker_service;

pub(crate) use acceptor::{Acceptor, BindError, bind};
pub(crate) use worker_service::seats;

use std::time::Duration;

/// How often a worker flushes its log buffer and looks at its idle upstream connections.
pub(crate) const TICK: Duration = Duration::from_millis(200);

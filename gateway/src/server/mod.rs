//! Sockets: accepting them, handing each to one worker for life, speaking HTTP/1.1 on it.
//!
//! | file | holds |
//! |---|---|
//! | `acceptor.rs`, `worker_service.rs` | how a connection comes to its worker |
//! | `connection.rs` | what drives it: rest, next head, serve, send |
//! | `manner.rs`, `answer.rs` | how a client is spoken to, and an answer's head |
//! | `sending.rs` | an answer on its way |
//! | `timer.rs` | the one timer of a connection |

mod acceptor;
mod answer;
mod connection;
mod manner;
mod sending;
mod timer;
mod worker_service;

pub(crate) use acceptor::{Acceptor, BindError, bind};
pub(crate) use worker_service::seats;

use std::time::Duration;

/// How often a worker flushes its log buffer and looks at its idle upstream connections.
pub(crate) const TICK: Duration = Duration::from_millis(200);

//! Idle connections without a parser.
//!
//! hyper keeps some 25 KB for each connection of a client: two buffers and a queue of requests.
//! One that has not been used for a while gives them back. What is left is the socket with its
//! framer; a parser between two messages knows nothing that would be lost.

use std::sync::Arc;
use std::task::{Context, Waker};

use futures_util::FutureExt as _;
use gateway_core::cluster::Held;
use gateway_core::words::time::Millis;
use tokio::net::TcpStream;

use super::{Link, handshake};
use crate::io::{Upstream, UpstreamState};

/// What is left of a [`Link`] that rests.
pub(super) struct RestingLink {
    socket: Upstream<TcpStream>,
    state: Arc<UpstreamState>,
    opened_at: Millis,
    held: Held,
}

impl RestingLink {
    /// Takes the parser off. `None` where the connection cannot be used again.
    pub(super) fn of(mut link: Box<Link>) -> Result<Box<Self>, Option<Box<Link>>> {
        if !link.is_reusable() {
            return Err(None);
        }
        // The end of a request that was answered early may still wait to be taken.
        if link.state.is_write_blocked() {
            return Err(Some(link));
        }
        let parts = link.driver.into_parts();
        if !parts.read_buf.is_empty() {
            return Err(None);
        }
        Ok(Box::new(Self {
            socket: parts.io.into_inner(),
            state: link.state,
            opened_at: link.opened_at,
            held: link.held,
        }))
    }

    /// Puts a parser on again. `None` where the connection has ended, or the upstream has sent
    /// what nobody asked for.
    pub(super) fn wake(self: Box<Self>) -> Option<Box<Link>> {
        if !self.is_reusable() {
            return None;
        }
        let shaken = handshake(self.socket).now_or_never();
        let (sender, driver) = shaken.expect("it puts nothing on the wire").ok()?;
        Some(Box::new(Link {
            sender,
            driver,
            state: self.state,
            is_closed: false,
            is_reused: true,
            opened_at: self.opened_at,
            held: self.held,
        }))
    }

    /// Whether nothing has come, the end included. Costs no system call.
    pub(super) fn is_reusable(&self) -> bool {
        let mut unwoken = Context::from_waker(Waker::noop());
        self.socket.poll_readable(&mut unwoken).is_pending()
    }

    pub(super) fn held(&self) -> &Held {
        &self.held
    }
}

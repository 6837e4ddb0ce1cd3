//! A [`Framer`] between the socket of an upstream and hyper.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use gateway_core::framing::{Advance, Framer, HeadLimits, Role};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::violation;

/// What the socket of an upstream and the owner of the connection tell each other.
#[derive(Debug, Default)]
pub(crate) struct UpstreamState {
    answers_head: AtomicBool,
    holds_part: AtomicBool,
    is_write_blocked: AtomicBool,
}

impl UpstreamState {
    /// Set by the owner before each request.
    pub(crate) fn expect_answer_to_head(&self, yes: bool) {
        self.answers_head.store(yes, Ordering::Relaxed);
    }

    /// Whether part of a head has come, which nobody but the socket has seen yet. Between two
    /// requests it belongs to no answer.
    pub(crate) fn holds_part_of_head(&self) -> bool {
        self.holds_part.load(Ordering::Relaxed)
    }

    /// Whether bytes wait that the upstream does not take.
    pub(crate) fn is_write_blocked(&self) -> bool {
        self.is_write_blocked.load(Ordering::Relaxed)
    }
}

/// The socket of an upstream: an invalid answer becomes an error with a [`Violation`] in it.
pub(crate) struct Upstream<S> {
    socket: S,
    framer: Framer,
    state: Arc<UpstreamState>,
    held: Vec<u8>,
    sent: usize,
    cleared: usize,
}

impl<S> Upstream<S> {
    pub(crate) fn new(socket: S, limits: HeadLimits, state: Arc<UpstreamState>) -> Self {
        Self {
            socket,
            framer: Framer::new(Role::Response, limits),
            state,
            held: Vec::new(),
            sent: 0,
            cleared: 0,
        }
    }

    fn deliver(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        if self.sent == self.cleared {
            return false;
        }
        let take = buffer.remaining().min(self.cleared - self.sent);
        buffer.put_slice(&self.held[self.sent..self.sent + take]);
        self.sent += take;
        if self.sent == self.cleared {
            self.held.drain(..self.cleared);
            (self.sent, self.cleared) = (0, 0);
        }
        true
    }
}

impl Upstream<TcpStream> {
    /// Ready when bytes have come, or the end of them; nothing is read.
    pub(crate) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        self.socket.poll_read_ready(context).map(drop)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Upstream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.deliver(buffer) {
                return Poll::Ready(Ok(()));
            }
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.socket).poll_read(context, buffer))?;
            if buffer.filled().len() == before {
                return Poll::Ready(Ok(()));
            }
            let answers_head = this.state.answers_head.load(Ordering::Relaxed);
            this.framer.expect_answer_to_head(answers_head);
            if this.held.is_empty() {
                match this.framer.advance(&buffer.filled()[before..]) {
                    Advance::Pass => return Poll::Ready(Ok(())),
                    Advance::Hold { at } => {
                        this.state.holds_part.store(true, Ordering::Relaxed);
                        this.held.extend_from_slice(&buffer.filled()[before + at..]);
                        buffer.set_filled(before + at);
                        if at > 0 {
                            return Poll::Ready(Ok(()));
                        }
                    }
                    Advance::Refuse { reason, .. } => return Poll::Ready(Err(violation(reason))),
                }
                continue;
            }
            this.held.extend_from_slice(&buffer.filled()[before..]);
            buffer.set_filled(before);
            this.cleared = match this.framer.advance(&this.held) {
                Advance::Pass => this.held.len(),
                Advance::Hold { at } => at,
                Advance::Refuse { reason, .. } => return Poll::Ready(Err(violation(reason))),
            };
            let holds_part = this.cleared < this.held.len();
            this.state.holds_part.store(holds_part, Ordering::Relaxed);
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Upstream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(context, bytes);
        let is_blocked = written.is_pending();
        self.state
            .is_write_blocked
            .store(is_blocked, Ordering::Relaxed);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

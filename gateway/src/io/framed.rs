//! A [`Framer`] between a socket and hyper, in both directions of the gateway.
//!
//! Bytes are read straight into hyper's buffer and looked at there; nothing is copied unless
//! a head arrives in pieces or is refused.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use gateway_core::framing::{Advance, Framer, HeadLimits, Role};
use gateway_core::words::reason::Reason;
use gateway_core::words::time::Millis;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What hyper is given in place of a refused request, so that the refusal is answered in its
/// turn behind pipelined answers, and by the same code as every other one.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

/// Time in which a refused client may read its answer before the socket closes.
const LINGER_MS: Millis = 1_000;
/// Bytes of it that are read and thrown away meanwhile.
const LINGER_BYTES_MAX: usize = 256 * 1024;

/// No deadline.
pub(crate) const NEVER: Millis = u64::MAX;

/// What a connection's parts tell each other: its socket, its requests, its timer.
///
/// All of them run in one task; the atomics are for the type system and cost a plain load.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    deadline: AtomicU64,
    phase: AtomicU8,
    idle_timeout: Millis,
    head_timeout: Millis,
    head_began: AtomicU64,
    has_expired: AtomicBool,
    is_write_blocked: AtomicBool,
    is_overdue: AtomicBool,
    lingers_at_end: AtomicBool,
    refusal: OnceLock<Refusal>,
    pub(crate) bytes_read: AtomicU64,
    pub(crate) bytes_written: AtomicU64,
}

/// Where a connection is with its current request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Between requests, or a head is under way.
    Idle = 0,
    /// A request has come; its answer has not begun.
    Waiting = 1,
    /// The answer is being sent.
    Sending = 2,
    /// The last answer is out; what the client still sends is thrown away.
    Lingering = 3,
}

#[derive(Clone, Copy, Debug)]
struct Refusal {
    /// Which request of the connection the stand-in is, counted from 1.
    ordinal: u64,
    reason: Reason,
}

impl ConnectionState {
    /// A fresh connection. `idle_timeout` runs between requests, `head_timeout` from the first
    /// byte of a head.
    pub(crate) fn new(idle_timeout: Millis, head_timeout: Millis) -> Self {
        Self {
            deadline: AtomicU64::new(NEVER),
            phase: AtomicU8::new(Phase::Idle as u8),
            idle_timeout,
            head_timeout,
            head_began: AtomicU64::new(NEVER),
            has_expired: AtomicBool::new(false),
            is_write_blocked: AtomicBool::new(false),
            is_overdue: AtomicBool::new(false),
            lingers_at_end: AtomicBool::new(false),
            refusal: OnceLock::new(),
            bytes_read: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
        }
    }

    /// Why the request with this ordinal is a stand-in for a refused one, if it is.
    pub(crate) fn refusal_of(&self, ordinal: u64) -> Option<Reason> {
        let refusal = self.refusal.get()?;
        (refusal.ordinal == ordinal).then_some(refusal.reason)
    }

    fn begin_lingering(&self, now: Millis) {
        if self.phase() != Phase::Lingering {
            self.phase.store(Phase::Lingering as u8, Ordering::Relaxed);
            self.set_deadline(now + LINGER_MS);
        }
    }

    /// Whether anything was refused: then unread bytes may be waiting.
    pub(crate) fn has_refused(&self) -> bool {
        self.refusal.get().is_some()
    }

    /// When the connection's timer must look again.
    pub(crate) fn deadline(&self) -> Millis {
        self.deadline.load(Ordering::Relaxed)
    }

    pub(crate) fn set_deadline(&self, at: Millis) {
        self.deadline.store(at, Ordering::Relaxed);
    }

    /// A request begins: until its answer begins, the route's own time limit holds.
    pub(crate) fn begin_answer(&self) {
        self.phase.store(Phase::Waiting as u8, Ordering::Relaxed);
        self.set_deadline(NEVER);
    }

    /// An upstream has until then to answer. The connection's one timer watches this too, so
    /// that a request needs no timer of its own.
    pub(crate) fn wait_until(&self, deadline: Millis) {
        self.is_overdue.store(false, Ordering::Relaxed);
        self.set_deadline(deadline);
    }

    /// Whether the time given to [`ConnectionState::wait_until`] has run out.
    pub(crate) fn is_overdue(&self) -> bool {
        self.is_overdue.load(Ordering::Relaxed)
    }

    pub(crate) fn set_overdue(&self) {
        self.set_deadline(NEVER);
        self.is_overdue.store(true, Ordering::Relaxed);
    }

    /// The answer has a head: from now on the client must take what it is sent.
    pub(crate) fn begin_sending(&self, deadline: Millis) {
        // An answer without a body may be over already.
        if self.phase() == Phase::Waiting {
            self.phase.store(Phase::Sending as u8, Ordering::Relaxed);
            self.set_deadline(deadline);
        }
    }

    /// The answer is over; the connection may idle from now on.
    pub(crate) fn end_answer(&self, now: Millis) {
        self.phase.store(Phase::Idle as u8, Ordering::Relaxed);
        // A head that came behind the last request has its time from now on.
        let limit = if self.is_head_under_way() {
            self.head_timeout
        } else {
            self.idle_timeout
        };
        self.set_deadline(now.saturating_add(limit));
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            1 => Phase::Waiting,
            2 => Phase::Sending,
            3 => Phase::Lingering,
            _ => Phase::Idle,
        }
    }

    /// Whether part of a head has arrived.
    pub(crate) fn is_head_under_way(&self) -> bool {
        self.head_began.load(Ordering::Relaxed) != NEVER
    }

    /// Whether the client takes nothing of what it is sent; else it is the upstream that is slow.
    pub(crate) fn is_write_blocked(&self) -> bool {
        self.is_write_blocked.load(Ordering::Relaxed)
    }

    /// The client may not expect the end: a request of its that crosses it on the wire must not
    /// be answered by a reset, which would take answers with it that the client has not read.
    pub(crate) fn linger_at_end(&self) {
        self.lingers_at_end.store(true, Ordering::Relaxed);
    }

    /// Makes the next read refuse the head under way with 408.
    pub(crate) fn expire_head(&self) {
        self.has_expired.store(true, Ordering::Relaxed);
    }
}

/// The socket of a client.
pub(crate) struct Downstream<S> {
    socket: S,
    framer: Framer,
    state: Arc<ConnectionState>,
    /// An incomplete head, or cleared bytes that did not fit hyper's buffer.
    held: Vec<u8>,
    /// `held[sent..cleared]` may go on.
    sent: usize,
    cleared: usize,
    stand_in_sent: usize,
    /// Why the body under way is broken; said once what came before it has gone on.
    broken: Option<Reason>,
    /// Bytes read after the last answer.
    thrown_away: usize,
    clock: crate::clock::Clock,
}

impl<S> Downstream<S> {
    pub(crate) fn new(
        socket: S,
        limits: HeadLimits,
        state: Arc<ConnectionState>,
        clock: crate::clock::Clock,
    ) -> Self {
        Self {
            socket,
            framer: Framer::new(Role::Request, limits),
            state,
            held: Vec::new(),
            sent: 0,
            cleared: 0,
            stand_in_sent: 0,
            broken: None,
            thrown_away: 0,
            clock,
        }
    }

    /// A broken body fails the request that it belongs to; a broken head is a request by itself.
    fn refuse(&mut self, reason: Reason) {
        if reason == Reason::BodyMalformed {
            self.broken = Some(reason);
            return;
        }
        let ordinal = self.framer.heads() + 1;
        let _already_refused = self.state.refusal.set(Refusal { ordinal, reason });
        self.state.head_began.store(NEVER, Ordering::Relaxed);
    }

    /// Whether the client has not sent the whole of what it began, or something was refused, or
    /// it could not know of the end.
    fn is_more_to_come(&self) -> bool {
        self.state.has_refused()
            || self.state.lingers_at_end.load(Ordering::Relaxed)
            || self.broken.is_some()
            || self.framer.is_in_body()
            || self.thrown_away > 0
    }

    /// Looks at `held` after it grew.
    fn inspect_held(&mut self) {
        match self.framer.advance(&self.held) {
            Advance::Pass => self.cleared = self.held.len(),
            Advance::Hold { at } => self.cleared = at,
            Advance::Refuse { at, reason } => {
                self.cleared = at;
                self.held.truncate(at);
                self.refuse(reason);
            }
        }
        self.mark_head();
    }

    /// Looks at bytes that lie in hyper's buffer, and takes back what must not go on.
    fn inspect_in_place(&mut self, buffer: &mut ReadBuf<'_>, before: usize) {
        let fresh = &buffer.filled()[before..];
        match self.framer.advance(fresh) {
            Advance::Pass => {}
            Advance::Hold { at } => {
                self.held.extend_from_slice(&fresh[at..]);
                buffer.set_filled(before + at);
            }
            Advance::Refuse { at, reason } => {
                buffer.set_filled(before + at);
                self.refuse(reason);
            }
        }
        self.mark_head();
    }

    /// Starts the head's deadline when only part of it is here.
    fn mark_head(&self) {
        let is_partial = !self.held.is_empty() && self.cleared < self.held.len();
        if is_partial && !self.state.is_head_under_way() {
            let now = self.clock.now_ms();
            self.state.head_began.store(now, Ordering::Relaxed);
            if self.state.phase() == Phase::Idle {
                self.state.set_deadline(now + self.state.head_timeout);
            }
        } else if !is_partial && self.state.is_head_under_way() {
            self.state.head_began.store(NEVER, Ordering::Relaxed);
        }
    }

    /// Moves cleared bytes, or the stand-in, into hyper's buffer; whether there were any.
    fn deliver(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        if self.sent < self.cleared {
            let take = buffer.remaining().min(self.cleared - self.sent);
            buffer.put_slice(&self.held[self.sent..self.sent + take]);
            self.sent += take;
            if self.sent == self.cleared {
                self.held.drain(..self.cleared);
                (self.sent, self.cleared) = (0, 0);
                if self.held.is_empty() {
                    self.held = Vec::new();
                }
            }
            return true;
        }
        if self.state.has_refused() && self.stand_in_sent < STAND_IN.len() {
            let take = buffer.remaining().min(STAND_IN.len() - self.stand_in_sent);
            let from = self.stand_in_sent;
            buffer.put_slice(&STAND_IN[from..from + take]);
            self.stand_in_sent += take;
            return true;
        }
        false
    }
}

/// A violation inside a body, or in a response: the message cannot be saved.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.title())]
pub(crate) struct Violation(pub(crate) Reason);

fn violation(reason: Reason) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, Violation(reason))
}

impl<S: AsyncRead + Unpin> AsyncRead for Downstream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.deliver(buffer) {
            return Poll::Ready(Ok(()));
        }
        if let Some(reason) = this.broken {
            return Poll::Ready(Err(violation(reason)));
        }
        if this.state.has_refused() {
            // Nothing after a refused head is read as HTTP.
            return Poll::Pending;
        }
        loop {
            if this.state.has_expired.load(Ordering::Relaxed) {
                this.held.clear();
                this.refuse(Reason::RequestHeadTimeout);
                this.deliver(buffer);
                return Poll::Ready(Ok(()));
            }
            let before = buffer.filled().len();
            ready!(Pin::new(&mut this.socket).poll_read(context, buffer))?;
            let count = buffer.filled().len() - before;
            if count == 0 {
                return Poll::Ready(Ok(()));
            }
            add(&this.state.bytes_read, count);
            if this.held.is_empty() {
                this.inspect_in_place(buffer, before);
            } else {
                this.held.extend_from_slice(&buffer.filled()[before..]);
                buffer.set_filled(before);
                this.inspect_held();
            }
            if buffer.filled().len() > before || this.deliver(buffer) {
                return Poll::Ready(Ok(()));
            }
            if let Some(reason) = this.broken {
                return Poll::Ready(Err(violation(reason)));
            }
        }
    }
}

/// One writer, so no read-modify-write is needed.
fn add(cell: &AtomicU64, count: usize) {
    cell.store(
        cell.load(Ordering::Relaxed) + count as u64,
        Ordering::Relaxed,
    );
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Downstream<S> {
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
        let written = ready!(written)?;
        add(&self.state.bytes_written, written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    /// While the client may still be sending, the socket is read on for a while: closing it with
    /// unread bytes would reset the connection before the client has read its answer
    /// (RFC 9112 section 9.6).
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.socket).poll_shutdown(context))?;
        this.state.begin_lingering(this.clock.now_ms());
        let mut scratch = [0; 4096];
        while this.thrown_away < LINGER_BYTES_MAX {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut this.socket).poll_read(context, &mut buffer)? {
                Poll::Pending if this.is_more_to_come() => return Poll::Pending,
                Poll::Pending => break,
                Poll::Ready(()) if buffer.filled().is_empty() => break,
                Poll::Ready(()) => this.thrown_away += buffer.filled().len(),
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// What the socket of an upstream and the owner of the connection tell each other.
#[derive(Debug, Default)]
pub(crate) struct UpstreamState {
    answers_head: AtomicBool,
    holds_part: AtomicBool,
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
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

//! A [`Framer`] between the socket of a client and hyper.
//!
//! Bytes are read straight into hyper's buffer and looked at there; nothing is copied unless
//! a head arrives in pieces or is refused.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use gateway_core::framing::{Advance, Framer, HeadLimits, Role};
use gateway_core::words::reason::Reason;
use gateway_core::words::time::Millis;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What hyper is given in place of a refused request, so that the refusal is answered in its
/// turn behind pipelined answers, and by the same code as every other one.
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

/// Time in which a refused client may read its answer before the socket closes.
const LINGER_MS: Millis = 1_000;
/// Bytes of it that are read and thrown away meanwhile.
const LINGER_BYTES_MAX: usize = 256 * 1024;

/// Time without a request after which a connection rests: it gives its parser and buffers back.
/// Long enough that a busy connection does not pay for making them again.
const REST_AFTER_MS: Millis = 2_000;

/// No deadline.
pub(crate) const NEVER: Millis = u64::MAX;

/// In place of a number of requests: the last of them has not come whole.
const UNFINISHED: u64 = u64::MAX;

/// What a connection's parts tell each other: its socket, its requests, its timer.
///
/// All of them run in one task; the atomics are for the type system and cost a plain load.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    deadline: AtomicU64,
    /// When it has idled for too long.
    idle_until: AtomicU64,
    phase: AtomicU8,
    idle_timeout: Millis,
    head_timeout: Millis,
    head_began: AtomicU64,
    /// The last request whose head came in pieces, and when its first came.
    pieces_of: AtomicU64,
    pieces_began: AtomicU64,
    has_expired: AtomicBool,
    is_write_blocked: AtomicBool,
    is_overdue: AtomicBool,
    lingers_at_end: AtomicBool,
    refusal: OnceLock<Refusal>,
    /// Requests that have come whole; [`UNFINISHED`] while one is under way.
    requests_read: AtomicU64,
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
            idle_until: AtomicU64::new(NEVER),
            phase: AtomicU8::new(Phase::Idle as u8),
            idle_timeout,
            head_timeout,
            head_began: AtomicU64::new(NEVER),
            pieces_of: AtomicU64::new(0),
            pieces_began: AtomicU64::new(NEVER),
            has_expired: AtomicBool::new(false),
            is_write_blocked: AtomicBool::new(false),
            is_overdue: AtomicBool::new(false),
            lingers_at_end: AtomicBool::new(false),
            refusal: OnceLock::new(),
            requests_read: AtomicU64::new(0),
            bytes_read: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
        }
    }

    /// Why the request with this ordinal is a stand-in for a refused one, if it is.
    pub(crate) fn refusal_of(&self, ordinal: u64) -> Option<Reason> {
        let refusal = self.refusal.get()?;
        (refusal.ordinal == ordinal).then_some(refusal.reason)
    }

    /// When the first piece of a request's head came, where it came in several and no later one
    /// did; requests are counted from 1.
    pub(crate) fn head_began_of(&self, ordinal: u64) -> Option<Millis> {
        let is_it = self.pieces_of.load(Ordering::Relaxed) == ordinal;
        is_it.then(|| self.pieces_began.load(Ordering::Relaxed))
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

    /// A fresh connection, which rests until its first byte.
    pub(crate) fn begin_idling(&self, now: Millis) {
        let until = now.saturating_add(self.idle_timeout);
        self.idle_until.store(until, Ordering::Relaxed);
        self.set_deadline(until);
    }

    /// The answer is over; the connection may idle from now on.
    pub(crate) fn end_answer(&self, now: Millis) {
        self.phase.store(Phase::Idle as u8, Ordering::Relaxed);
        let until = now.saturating_add(self.idle_timeout);
        self.idle_until.store(until, Ordering::Relaxed);
        // A head that came behind the last request has its time from now on.
        let limit = if self.is_head_under_way() {
            self.head_timeout
        } else {
            self.idle_timeout.min(REST_AFTER_MS)
        };
        self.set_deadline(now.saturating_add(limit));
    }

    /// When the connection has idled for too long.
    pub(crate) fn idle_until(&self) -> Millis {
        self.idle_until.load(Ordering::Relaxed)
    }

    /// Whether nothing is under way, between the socket and the `requests` that have begun, that
    /// a parser would take with it: no part of a request, nor of an answer.
    pub(crate) fn is_at_rest(&self, requests: u64) -> bool {
        self.phase() == Phase::Idle
            && self.requests_read.load(Ordering::Relaxed) == requests
            && !self.is_write_blocked()
            && !self.has_refused()
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
            let began = self.state.head_began.swap(NEVER, Ordering::Relaxed);
            let state = &self.state;
            state.pieces_began.store(began, Ordering::Relaxed);
            state
                .pieces_of
                .store(self.framer.heads(), Ordering::Relaxed);
        }
        self.mark_progress();
    }

    /// Tells how many requests have come whole and gone on.
    fn mark_progress(&self) {
        let is_whole =
            self.framer.is_between_messages() && self.held.is_empty() && self.broken.is_none();
        let requests = if is_whole {
            self.framer.heads()
        } else {
            UNFINISHED
        };
        self.state.requests_read.store(requests, Ordering::Relaxed);
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
                self.mark_progress();
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

impl Downstream<TcpStream> {
    /// Waits for bytes, or for the end of them, without a buffer to read them into.
    pub(crate) fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        // What is wrong with the socket is met by whoever reads it.
        self.socket.poll_read_ready(context).map(drop)
    }
}

impl<S> Downstream<S> {
    /// Takes back what a parser has read of it and not used: its next one begins with that.
    pub(crate) fn put_back(&mut self, unread: &Bytes) {
        debug_assert!(
            self.held.is_empty(),
            "only a connection at rest is taken back"
        );
        self.held.extend_from_slice(unread);
        self.cleared = self.held.len();
        self.mark_progress();
    }
}

/// A violation inside a body: the message cannot be saved.
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

//! The socket of a client: its heads, its bodies, and the end of both.

use std::io;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use gateway_core::framing::{Framer, HeadLimits, Role};
use gateway_core::words::reason::Reason;
use socket2::SockRef;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;

use super::input::Socket as _;
use super::{Output, Reader, Sender, with_spares};

/// Bytes that are read and thrown away so that a client can read why it was refused.
const THROWN_AWAY_BYTES_MAX: usize = 256 * 1024;
/// What a client waits for that has announced a body (RFC 9110 section 10.1.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A client's end of a connection.
pub(crate) struct Downstream(Ends);

enum Ends {
    /// Nobody else comes there: no request has had a body yet.
    Alone(Box<Wire>),
    /// What reads a body comes there too, in the same task: the lock is never waited for.
    Shared(Arc<Mutex<Box<Wire>>>),
    /// Neither, on the way from one to the other.
    Moving,
}

/// The socket, for as long as somebody uses it.
enum Held<'a> {
    Alone(&'a mut Wire),
    Locked(MutexGuard<'a, Box<Wire>>),
}

impl Deref for Held<'_> {
    type Target = Wire;

    fn deref(&self) -> &Wire {
        match self {
            Self::Alone(wire) => wire,
            Self::Locked(wire) => wire,
        }
    }
}

impl DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut Wire {
        match self {
            Self::Alone(wire) => wire,
            Self::Locked(wire) => wire,
        }
    }
}

struct Wire {
    socket: TcpStream,
    reader: Reader,
    /// What is still to be written before the client sends the body that it has announced.
    invitation: &'static [u8],
    /// Bytes read after the last answer.
    thrown_away: usize,
}

/// What comes next on a connection.
pub(crate) enum Arrival {
    /// A whole head.
    Head(Bytes),
    /// What can be read in two ways, and is refused.
    Refused(Reason),
    /// The end: the client has closed, or the socket is broken.
    End,
}

/// A request's body as it comes from its client.
pub(crate) struct ClientBody(Option<Arc<Mutex<Box<Wire>>>>);

impl ClientBody {
    /// What follows the head that was read last.
    pub(crate) fn of(downstream: &mut Downstream) -> Self {
        Self(downstream.is_in_body().then(|| downstream.share()))
    }

    /// Whether all of it has been taken.
    pub(crate) fn has_ended(&self) -> bool {
        let wire = self.0.as_deref().map(lock);
        wire.is_none_or(|wire| !wire.reader.is_in_body())
    }

    /// How many bytes are still to come, where that is known.
    pub(crate) fn bytes_left(&self) -> Option<u64> {
        match &self.0 {
            None => Some(0),
            Some(wire) => lock(wire).reader.content_left(),
        }
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// It is malformed, or the client has gone.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Reason>>> {
        match &self.0 {
            None => Poll::Ready(None),
            Some(wire) => lock(wire).poll_content(context),
        }
    }
}

fn lock(wire: &Mutex<Box<Wire>>) -> MutexGuard<'_, Box<Wire>> {
    wire.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Downstream {
    pub(crate) fn new(socket: TcpStream, limits: HeadLimits) -> Self {
        Self(Ends::Alone(Box::new(Wire {
            socket,
            reader: Reader::of_requests(Framer::new(Role::Request, limits)),
            invitation: b"",
            thrown_away: 0,
        })))
    }

    fn wire(&mut self) -> Held<'_> {
        match &mut self.0 {
            Ends::Alone(wire) => Held::Alone(wire),
            Ends::Shared(wire) => Held::Locked(lock(wire)),
            Ends::Moving => unreachable!("it moves within one call"),
        }
    }

    /// Makes it one that somebody else may come to.
    fn share(&mut self) -> Arc<Mutex<Box<Wire>>> {
        let shared = match std::mem::replace(&mut self.0, Ends::Moving) {
            Ends::Alone(wire) => Arc::new(Mutex::new(wire)),
            Ends::Shared(shared) => shared,
            Ends::Moving => unreachable!("it moves within one call"),
        };
        self.0 = Ends::Shared(Arc::clone(&shared));
        shared
    }

    /// Waits for bytes, or for the end of them, without a buffer to read them into.
    pub(crate) fn poll_readable(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.wire().socket.poll_readable(context)
    }

    /// The next request's head; the body before must have been read to its end.
    ///
    /// While nothing comes there is no buffer.
    pub(crate) fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Arrival> {
        let wire = &mut *self.wire();
        if wire.reader.unread().is_empty() {
            with_spares(|spares| wire.reader.rest(spares));
        }
        loop {
            match wire.reader.head() {
                Ok(Some(head)) => return Poll::Ready(Arrival::Head(head)),
                Ok(None) => {}
                Err(reason) => return Poll::Ready(Arrival::Refused(reason)),
            }
            match ready!(wire.reader.poll_read(&mut wire.socket, context)) {
                Ok(0) | Err(_) => return Poll::Ready(Arrival::End),
                Ok(_) => {}
            }
        }
    }

    /// Whether part of a head has come.
    pub(crate) fn is_head_under_way(&mut self) -> bool {
        !self.wire().reader.unread().is_empty()
    }

    /// Whether some of a request's body has not been read.
    pub(crate) fn is_in_body(&mut self) -> bool {
        self.wire().reader.is_in_body()
    }

    /// The client is told to send its body as soon as somebody reads that, unless it comes before.
    pub(crate) fn invite_body(&mut self) {
        self.wire().invitation = CONTINUE;
    }

    /// The final answer comes first: there will be no invitation.
    pub(crate) fn withdraw_invitation(&mut self) {
        self.wire().invitation = b"";
    }

    /// Ready when the client has gone while its request is served. Where it has sent more than the
    /// request, or still sends its body, that is not known.
    pub(crate) fn poll_gone(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let wire = &mut *self.wire();
        if !wire.reader.is_between_messages() {
            return Poll::Pending;
        }
        // Reading takes a buffer, and hardly any client sends more before it has its answer.
        if wire.socket.poll_read_ready(context).is_pending() {
            return Poll::Pending;
        }
        match ready!(wire.reader.poll_read(&mut wire.socket, context)) {
            Ok(0) | Err(_) => Poll::Ready(()),
            Ok(_) => Poll::Pending,
        }
    }

    /// Writes all of it: how many bytes that were.
    ///
    /// # Errors
    /// The client takes nothing more.
    pub(crate) fn poll_write(
        &mut self,
        output: &mut Output,
        context: &mut Context<'_>,
        written: &mut u64,
    ) -> Poll<io::Result<()>> {
        output.poll_write(&mut Sender(&self.wire().socket), context, written)
    }

    /// Reads away what has come of a body that nobody wants: whether that was all of it.
    pub(crate) fn skip_body(&mut self, context: &mut Context<'_>) -> bool {
        let wire = &mut *self.wire();
        let mut skipped = 0;
        while wire.reader.is_in_body() && skipped < THROWN_AWAY_BYTES_MAX {
            match wire.reader.content() {
                Ok(Some(piece)) => skipped += piece.len(),
                Ok(None) if !wire.reader.is_in_body() => break,
                Ok(None) => match wire.reader.poll_read(&mut wire.socket, context) {
                    Poll::Ready(Ok(count)) if count > 0 => {}
                    Poll::Ready(_) | Poll::Pending => break,
                },
                Err(_) => break,
            }
        }
        !wire.reader.is_in_body()
    }

    /// The end of the connection would be taken for the end of an answer that is not whole: it is to
    /// be a reset instead.
    pub(crate) fn reset_at_end(&mut self) {
        let wire = self.wire();
        let _best_effort = SockRef::from(&wire.socket).set_linger(Some(Duration::ZERO));
    }

    /// Says that no more comes from us, and reads what the client still sends: closing the socket
    /// with unread bytes would reset the connection before the client has read its answer (RFC 9112
    /// section 9.6). With `lingers` the client may send more; a caller bounds the time for that.
    pub(crate) fn poll_close(&mut self, lingers: bool, context: &mut Context<'_>) -> Poll<()> {
        let wire = &mut *self.wire();
        let shut_down = Pin::new(&mut wire.socket).poll_shutdown(context);
        if ready!(shut_down).is_err() {
            return Poll::Ready(());
        }
        wire.thrown_away += wire.reader.skip_unread();
        let mut scratch = [0; 4096];
        while wire.thrown_away < THROWN_AWAY_BYTES_MAX {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut wire.socket).poll_read(context, &mut buffer) {
                Poll::Pending if lingers || wire.is_more_to_come() => return Poll::Pending,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                    wire.thrown_away += buffer.filled().len();
                }
                Poll::Pending | Poll::Ready(_) => break,
            }
        }
        Poll::Ready(())
    }
}

impl Wire {
    /// The next piece of a body.
    fn poll_content(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Reason>>> {
        loop {
            if !self.reader.is_in_body() {
                return Poll::Ready(None);
            }
            match self.reader.content() {
                Ok(None) => {}
                Ok(Some(piece)) => {
                    self.invitation = b"";
                    return Poll::Ready(Some(Ok(piece)));
                }
                Err(reason) => return Poll::Ready(Some(Err(reason))),
            }
            if !self.reader.is_in_body() {
                return Poll::Ready(None);
            }
            if !self.invitation.is_empty() && ready!(self.poll_invite(context)).is_err() {
                return Poll::Ready(Some(Err(Reason::ClientClosed)));
            }
            match ready!(self.reader.poll_read(&mut self.socket, context)) {
                Ok(0) | Err(_) => return Poll::Ready(Some(Err(Reason::ClientClosed))),
                Ok(_) => {}
            }
        }
    }

    /// Writes what the client waits for; nothing else is being written meanwhile.
    fn poll_invite(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.invitation.is_empty() {
            let written = Pin::new(&mut self.socket).poll_write(context, self.invitation);
            let count = ready!(written)?;
            self.invitation = &self.invitation[count..];
        }
        Poll::Ready(Ok(()))
    }

    /// Whether the client has not sent the whole of what it began, or sends more than was read.
    fn is_more_to_come(&self) -> bool {
        self.reader.is_broken() || self.reader.is_in_body() || self.thrown_away > 0
    }
}

//! What a client sends, on its way upstream: counted, bounded, and kept only where it may have
//! to be sent again.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use gateway_core::words::reason::Reason;
use tokio::time::{Instant, Sleep};

use crate::io::ClientBody;

/// A body broke off; the reason is for the log, and for the answer where there is none yet.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{}", .0.title())]
pub(crate) struct BodyError(pub(crate) Reason);

/// The longest silence of a peer within a body; the timer exists only while one is waited for.
pub(crate) struct Silence {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    is_running: bool,
}

impl Silence {
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            limit,
            timer: None,
            is_running: false,
        }
    }

    /// Something came.
    pub(crate) fn end(&mut self) {
        self.is_running = false;
    }

    /// Called while nothing comes; ready once that has lasted too long.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        if !self.is_running {
            timer.as_mut().reset(Instant::now() + limit);
            self.is_running = true;
        }
        timer.as_mut().poll(context)
    }
}

/// A request's body.
pub(crate) enum RequestBody {
    /// Nothing.
    Empty,
    /// Whatever comes, up to a bound.
    Stream(Box<RequestStream>),
    /// The same, and what has gone is kept. Boxed as well: a request is moved a dozen times on
    /// its way upstream, and a copy of over 256 bytes costs twice as much.
    Kept(Box<KeptBody>),
}

/// A streamed request body.
pub(crate) struct RequestStream {
    incoming: ClientBody,
    bytes_left: u64,
    silence: Silence,
    received: Option<Arc<AtomicU64>>,
}

/// What a request's body may be, and who counts it.
pub(crate) struct Bounds {
    pub(crate) bytes_max: u64,
    /// The longest silence within it.
    pub(crate) silence_max: Duration,
    /// Bytes that have come so far, where somebody asks for them.
    pub(crate) received: Option<Arc<AtomicU64>>,
}

/// A body for one try, beside its [`Replay`].
pub(crate) struct KeptBody {
    replay: Replay,
    /// What earlier tries have taken from the client already.
    again: Bytes,
}

/// What a body for another try is made from.
///
/// Only the request that it belongs to comes here, and only one of its tries at a time, so the
/// lock is never waited for.
#[derive(Clone)]
pub(crate) struct Replay(Arc<Mutex<Keeping>>);

struct Keeping {
    stream: RequestStream,
    /// All that has been taken from the client; `None` once that was more than may be kept.
    kept: Option<Vec<u8>>,
    bytes_max: usize,
}

impl RequestBody {
    pub(crate) fn stream(incoming: ClientBody, bounds: Bounds) -> Self {
        let stream = RequestStream::new(incoming, bounds);
        Self::Stream(Box::new(stream))
    }

    /// The same, able to be sent again while no more than `kept_bytes_max` of it have gone. One
    /// that says that it is longer is not kept at all.
    pub(crate) fn kept(
        incoming: ClientBody,
        bounds: Bounds,
        kept_bytes_max: usize,
    ) -> (Self, Option<Replay>) {
        if incoming
            .bytes_left()
            .is_some_and(|length| length > kept_bytes_max as u64)
        {
            return (Self::stream(incoming, bounds), None);
        }
        let replay = Replay(Arc::new(Mutex::new(Keeping {
            stream: RequestStream::new(incoming, bounds),
            kept: Some(Vec::new()),
            bytes_max: kept_bytes_max,
        })));
        let body = KeptBody {
            replay: replay.clone(),
            again: Bytes::new(),
        };
        (Self::Kept(Box::new(body)), Some(replay))
    }
}

impl Replay {
    /// The body from its beginning; the one of the try before must be gone. `None` where it was
    /// too long to be kept.
    pub(crate) fn body(&self) -> Option<RequestBody> {
        let again = self.with(|keeping| keeping.kept.as_deref().map(Bytes::copy_from_slice))?;
        let body = KeptBody {
            replay: self.clone(),
            again,
        };
        Some(RequestBody::Kept(Box::new(body)))
    }

    /// A second body beside the one under way; `None` unless all of it has come and is kept, for
    /// only one body can read on.
    pub(crate) fn body_beside(&self) -> Option<RequestBody> {
        let has_ended = self.with(|keeping| keeping.stream.incoming.has_ended());
        has_ended.then(|| self.body())?
    }

    /// Whether all that has gone is kept.
    pub(crate) fn is_whole(&self) -> bool {
        self.with(|keeping| keeping.kept.is_some())
    }

    fn with<T>(&self, with: impl FnOnce(&mut Keeping) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

type Polled = Poll<Option<Result<Bytes, BodyError>>>;

impl RequestStream {
    fn new(incoming: ClientBody, bounds: Bounds) -> Self {
        Self {
            incoming,
            bytes_left: bounds.bytes_max,
            silence: Silence::new(bounds.silence_max),
            received: bounds.received,
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Polled {
        match self.incoming.poll(context) {
            Poll::Pending => match self.silence.poll(context) {
                Poll::Ready(()) => Poll::Ready(Some(Err(BodyError(Reason::RequestBodyTimeout)))),
                Poll::Pending => Poll::Pending,
            },
            Poll::Ready(Some(Ok(piece))) => {
                self.silence.end();
                let length = piece.len() as u64;
                match self.bytes_left.checked_sub(length) {
                    Some(left) => {
                        self.bytes_left = left;
                        if let Some(received) = &self.received {
                            received.fetch_add(length, Ordering::Relaxed);
                        }
                        Poll::Ready(Some(Ok(piece)))
                    }
                    None => Poll::Ready(Some(Err(BodyError(Reason::BodyTooLarge)))),
                }
            }
            Poll::Ready(Some(Err(reason))) => Poll::Ready(Some(Err(BodyError(reason)))),
            Poll::Ready(None) => Poll::Ready(None),
        }
    }
}

impl Keeping {
    fn poll(&mut self, context: &mut Context<'_>) -> Polled {
        let polled = self.stream.poll(context);
        if let Poll::Ready(Some(Ok(piece))) = &polled {
            self.keep(piece);
        }
        polled
    }

    /// Copied, because a piece holds the whole buffer that it was read into.
    fn keep(&mut self, piece: &[u8]) {
        let Some(kept) = &mut self.kept else { return };
        if kept.len() + piece.len() <= self.bytes_max {
            kept.extend_from_slice(piece);
        } else {
            self.kept = None;
        }
    }
}

impl KeptBody {
    fn poll(&mut self, context: &mut Context<'_>) -> Polled {
        if !self.again.is_empty() {
            let bytes = std::mem::take(&mut self.again);
            return Poll::Ready(Some(Ok(bytes)));
        }
        self.replay.with(|keeping| keeping.poll(context))
    }

    fn bytes_left(&self) -> Option<u64> {
        let rest = self
            .replay
            .with(|keeping| keeping.stream.incoming.bytes_left());
        Some(rest? + self.again.len() as u64)
    }
}

impl RequestBody {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// It broke off, is malformed or longer than it may be, or nothing came for too long.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Polled {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Stream(stream) => stream.poll(context),
            Self::Kept(body) => body.poll(context),
        }
    }

    /// How many bytes are still to come, where that is known.
    pub(super) fn bytes_left(&self) -> Option<u64> {
        match self {
            Self::Empty => Some(0),
            Self::Stream(stream) => stream.incoming.bytes_left(),
            Self::Kept(body) => body.bytes_left(),
        }
    }
}

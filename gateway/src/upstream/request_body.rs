//! What a client sends, on its way upstream: counted, bounded, and kept only where it may have
//! to be sent again.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use gateway_core::words::reason::Reason;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

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
    incoming: Incoming,
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
    pub(crate) fn stream(incoming: Incoming, bounds: Bounds) -> Self {
        let stream = RequestStream::new(incoming, bounds);
        Self::Stream(Box::new(stream))
    }

    /// The same, able to be sent again while no more than `kept_bytes_max` of it have gone. One
    /// that says that it is longer is not kept at all.
    pub(crate) fn kept(
        incoming: Incoming,
        bounds: Bounds,
        kept_bytes_max: usize,
    ) -> (Self, Option<Replay>) {
        if incoming.size_hint().lower() > kept_bytes_max as u64 {
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
        let has_ended = self.with(|keeping| keeping.stream.incoming.is_end_stream());
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

type Polled = Poll<Option<Result<Frame<Bytes>, BodyError>>>;

impl RequestStream {
    fn new(incoming: Incoming, bounds: Bounds) -> Self {
        Self {
            incoming,
            bytes_left: bounds.bytes_max,
            silence: Silence::new(bounds.silence_max),
            received: bounds.received,
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Polled {
        match Pin::new(&mut self.incoming).poll_frame(context) {
            Poll::Pending => match self.silence.poll(context) {
                Poll::Ready(()) => Poll::Ready(Some(Err(BodyError(Reason::RequestBodyTimeout)))),
                Poll::Pending => Poll::Pending,
            },
            Poll::Ready(Some(Ok(frame))) => {
                self.silence.end();
                let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                match self.bytes_left.checked_sub(length) {
                    Some(left) => {
                        self.bytes_left = left;
                        if let Some(received) = &self.received {
                            received.fetch_add(length, Ordering::Relaxed);
                        }
                        Poll::Ready(Some(Ok(frame)))
                    }
                    None => Poll::Ready(Some(Err(BodyError(Reason::BodyTooLarge)))),
                }
            }
            Poll::Ready(Some(Err(error))) => {
                let is_malformed = error.is_parse() || has_violation(&error);
                let reason = if is_malformed {
                    Reason::BodyMalformed
                } else {
                    Reason::ClientClosed
                };
                Poll::Ready(Some(Err(BodyError(reason))))
            }
            Poll::Ready(None) => Poll::Ready(None),
        }
    }
}

impl Keeping {
    fn poll(&mut self, context: &mut Context<'_>) -> Polled {
        let polled = self.stream.poll(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.keep(frame);
        }
        polled
    }

    /// Copied, because a frame holds the whole buffer that it was read into.
    fn keep(&mut self, frame: &Frame<Bytes>) {
        let Some(kept) = &mut self.kept else { return };
        match frame.data_ref() {
            Some(bytes) if kept.len() + bytes.len() <= self.bytes_max => {
                kept.extend_from_slice(bytes);
            }
            // Too long, or a trailer, which no other try would have.
            _ => self.kept = None,
        }
    }
}

impl KeptBody {
    fn poll(&mut self, context: &mut Context<'_>) -> Polled {
        if !self.again.is_empty() {
            let bytes = std::mem::take(&mut self.again);
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        self.replay.with(|keeping| keeping.poll(context))
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self
            .replay
            .with(|keeping| keeping.stream.incoming.size_hint());
        let again = self.again.len() as u64;
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower() + again);
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper + again);
        }
        hint
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        match self.get_mut() {
            RequestBody::Empty => Poll::Ready(None),
            RequestBody::Stream(stream) => stream.poll(context),
            RequestBody::Kept(body) => body.poll(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Empty => true,
            RequestBody::Stream(stream) => stream.incoming.is_end_stream(),
            RequestBody::Kept(body) => {
                body.again.is_empty()
                    && body
                        .replay
                        .with(|keeping| keeping.stream.incoming.is_end_stream())
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Empty => SizeHint::with_exact(0),
            RequestBody::Stream(stream) => stream.incoming.size_hint(),
            RequestBody::Kept(body) => body.size_hint(),
        }
    }
}

fn has_violation(error: &hyper::Error) -> bool {
    use std::error::Error as _;
    error
        .source()
        .and_then(|source| source.downcast_ref::<std::io::Error>())
        .and_then(std::io::Error::get_ref)
        .is_some_and(<dyn std::error::Error + Send + Sync>::is::<crate::io::Violation>)
}

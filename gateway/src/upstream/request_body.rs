//! What a client sends, on its way upstream: counted, bounded, never gathered.

use std::pin::Pin;
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
}

/// A streamed request body.
pub(crate) struct RequestStream {
    incoming: Incoming,
    bytes_left: u64,
    silence: Silence,
}

impl RequestBody {
    pub(crate) fn stream(incoming: Incoming, bytes_max: u64, silence_max: Duration) -> Self {
        Self::Stream(Box::new(RequestStream {
            incoming,
            bytes_left: bytes_max,
            silence: Silence::new(silence_max),
        }))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let RequestBody::Stream(stream) = self.get_mut() else {
            return Poll::Ready(None);
        };
        match Pin::new(&mut stream.incoming).poll_frame(context) {
            Poll::Pending => match stream.silence.poll(context) {
                Poll::Ready(()) => Poll::Ready(Some(Err(BodyError(Reason::RequestBodyTimeout)))),
                Poll::Pending => Poll::Pending,
            },
            Poll::Ready(Some(Ok(frame))) => {
                stream.silence.end();
                let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                match stream.bytes_left.checked_sub(length) {
                    Some(left) => {
                        stream.bytes_left = left;
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

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Empty => true,
            RequestBody::Stream(stream) => stream.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Empty => SizeHint::with_exact(0),
            RequestBody::Stream(stream) => stream.incoming.size_hint(),
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

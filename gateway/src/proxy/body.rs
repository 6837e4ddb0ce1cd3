//! Bodies on their way through: counted, bounded, never gathered.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use gateway_core::words::reason::Reason;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::record::Record;
use crate::upstream::{Link, poll_unwoken};

/// A body broke off; the reason is for the log, and for the answer where there is none yet.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("{}", .0.title())]
pub(crate) struct BodyError(pub(crate) Reason);

/// The longest silence of a peer within a body; the timer exists only while one is waited for.
struct Silence {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    is_running: bool,
}

impl Silence {
    fn new(limit: Duration) -> Self {
        Self {
            limit,
            timer: None,
            is_running: false,
        }
    }

    fn end(&mut self) {
        self.is_running = false;
    }

    /// Called while nothing comes; ready once that has lasted too long.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
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

/// What a client sends, on its way upstream.
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
    /// Set with the first byte taken: from then on the request cannot be sent again.
    is_consumed: Arc<AtomicBool>,
}

impl RequestBody {
    pub(crate) fn stream(
        incoming: Incoming,
        bytes_max: u64,
        silence_max: Duration,
        is_consumed: Arc<AtomicBool>,
    ) -> Self {
        Self::Stream(Box::new(RequestStream {
            incoming,
            bytes_left: bytes_max,
            silence: Silence::new(silence_max),
            is_consumed,
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
                Poll::Ready(()) => {
                    Poll::Ready(Some(Err(BodyError(Reason::RequestBodyTimeout))))
                }
                Poll::Pending => Poll::Pending,
            },
            Poll::Ready(Some(Ok(frame))) => {
                stream.silence.end();
                stream.is_consumed.store(true, Ordering::Relaxed);
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

/// What the client gets.
pub(crate) struct ResponseBody {
    source: Source,
    /// Writes the access line and the metrics when the body has ended or is dropped.
    record: Box<Record>,
}

enum Source {
    Own(Bytes),
    Upstream(Box<UpstreamBody>),
    Ended,
}

struct UpstreamBody {
    incoming: Incoming,
    link: Link,
    silence: Silence,
}

impl ResponseBody {
    /// A body of the gateway's own.
    pub(crate) fn own(bytes: Bytes, record: Box<Record>) -> Self {
        let source = if bytes.is_empty() {
            Source::Ended
        } else {
            Source::Own(bytes)
        };
        Self { source, record }
    }

    /// The body of an upstream's answer.
    pub(crate) fn upstream(
        incoming: Incoming,
        link: Link,
        silence_max: Duration,
        record: Box<Record>,
    ) -> Self {
        let mut body = Self {
            source: Source::Upstream(Box::new(UpstreamBody {
                incoming,
                link,
                silence: Silence::new(silence_max),
            })),
            record,
        };
        body.end_if_over();
        body
    }

    /// Gives the connection back as soon as nothing more will come: hyper asks no further
    /// once it has seen the end.
    fn end_if_over(&mut self) {
        if let Source::Upstream(upstream) = &self.source
            && upstream.incoming.is_end_stream()
        {
            self.end();
        }
    }

    fn end(&mut self) {
        if let Source::Upstream(upstream) = std::mem::replace(&mut self.source, Source::Ended) {
            self.record.give_back(upstream.link);
        }
    }

    fn abort(&mut self, reason: Reason) -> BodyError {
        self.source = Source::Ended;
        self.record.abort(reason);
        BodyError(reason)
    }
}

impl UpstreamBody {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Reason>>> {
        let mut poll = poll_unwoken(|unwoken| Pin::new(&mut self.incoming).poll_frame(unwoken));
        if poll.is_pending() {
            // Only the driver brings more, and it holds this task's waker.
            self.link.drive(context);
            poll = poll_unwoken(|unwoken| Pin::new(&mut self.incoming).poll_frame(unwoken));
        }
        match poll {
            Poll::Pending => match self.silence.poll(context) {
                Poll::Ready(()) => Poll::Ready(Some(Err(Reason::UpstreamTimeout))),
                Poll::Pending => Poll::Pending,
            },
            Poll::Ready(frame) => {
                self.silence.end();
                Poll::Ready(frame.map(|frame| frame.map_err(|_| Reason::ResponseAborted)))
            }
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match &mut this.source {
            Source::Ended => Poll::Ready(None),
            Source::Own(bytes) => {
                let bytes = std::mem::take(bytes);
                this.source = Source::Ended;
                this.record.count_sent(bytes.len());
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Source::Upstream(upstream) => match std::task::ready!(upstream.poll(context)) {
                None => {
                    this.end();
                    Poll::Ready(None)
                }
                Some(Ok(frame)) => {
                    this.record.count_sent(frame.data_ref().map_or(0, Bytes::len));
                    this.end_if_over();
                    Poll::Ready(Some(Ok(frame)))
                }
                Some(Err(reason)) => Poll::Ready(Some(Err(this.abort(reason)))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Ended => true,
            Source::Own(_) => false,
            Source::Upstream(upstream) => upstream.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Ended => SizeHint::with_exact(0),
            Source::Own(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Upstream(upstream) => upstream.incoming.size_hint(),
        }
    }
}

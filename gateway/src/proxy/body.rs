//! What the client gets: the upstream's body as it comes, or one of the gateway's own.

use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use gateway_core::words::reason::Reason;

use super::record::Record;
use crate::upstream::{BodyError, HeldBody, Link, Silence};

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
    /// Comes before what `link` still brings.
    held: HeldBody,
    link: Box<Link>,
    silence: Silence,
}

impl ResponseBody {
    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    pub(super) fn record_mut(&mut self) -> &mut Record {
        &mut self.record
    }

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
        held: HeldBody,
        link: Box<Link>,
        silence_max: Duration,
        record: Box<Record>,
    ) -> Self {
        let mut body = Self {
            source: Source::Upstream(Box::new(UpstreamBody {
                held,
                link,
                silence: Silence::new(silence_max),
            })),
            record,
        };
        body.end_if_over();
        body
    }

    /// Gives the connection back as soon as nothing more will come, before the client has taken it.
    fn end_if_over(&mut self) {
        if let Source::Upstream(upstream) = &self.source
            && upstream.is_over()
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
    fn is_over(&self) -> bool {
        self.held.is_empty() && self.link.has_ended()
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Reason>>> {
        if let Some(piece) = self.held.pop() {
            return Poll::Ready(Some(Ok(piece)));
        }
        match self.link.poll_body(context) {
            Poll::Pending => match self.silence.poll(context) {
                Poll::Ready(()) => Poll::Ready(Some(Err(Reason::UpstreamTimeout))),
                Poll::Pending => Poll::Pending,
            },
            Poll::Ready(piece) => {
                self.silence.end();
                Poll::Ready(piece.map(|piece| piece.map_err(|_| Reason::ResponseAborted)))
            }
        }
    }
}

impl ResponseBody {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// The answer broke off.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BodyError>>> {
        match &mut self.source {
            Source::Ended => Poll::Ready(None),
            Source::Own(bytes) => {
                let bytes = std::mem::take(bytes);
                self.source = Source::Ended;
                self.record.count_sent(bytes.len());
                Poll::Ready(Some(Ok(bytes)))
            }
            Source::Upstream(upstream) => match ready!(upstream.poll(context)) {
                None => {
                    self.end();
                    Poll::Ready(None)
                }
                Some(Ok(piece)) => {
                    self.record.count_sent(piece.len());
                    self.end_if_over();
                    Poll::Ready(Some(Ok(piece)))
                }
                Some(Err(reason)) => Poll::Ready(Some(Err(self.abort(reason)))),
            },
        }
    }

    /// How many bytes are still to come, where that is known.
    pub(crate) fn bytes_left(&self) -> Option<u64> {
        match &self.source {
            Source::Ended => Some(0),
            Source::Own(bytes) => Some(bytes.len() as u64),
            Source::Upstream(upstream) => Some(upstream.link.bytes_left()? + upstream.held.bytes()),
        }
    }
}

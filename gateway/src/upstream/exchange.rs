//! One request and its answer on one connection.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use gateway_core::words::reason::Reason;
use http::Method;

use super::answer_head::{AnswerHead, InvalidAnswer};
use super::{BodyError, HeldBody, Link, RequestBody, RequestHead, request_head};
use crate::io::{Output, Sender};

/// Frames of a body that is thrown away.
const DISCARD_FRAMES_MAX: usize = 16;
/// Interim answers to one request (RFC 9110 section 15.2); nobody needs as many.
const INTERIM_ANSWERS_MAX: usize = 16;

/// An answer's head, and the connection that its body will come from. Boxed from the beginning: it
/// is handed up through a dozen calls, and is too large to be copied in each.
pub(crate) struct Reply {
    pub(crate) head: AnswerHead,
    pub(crate) link: Box<Link>,
    /// What of the body has come already.
    pub(crate) held: HeldBody,
}

impl Reply {
    /// How long its body is, where that is known.
    pub(crate) fn bytes_left(&self) -> Option<u64> {
        Some(self.link.bytes_left()? + self.held.bytes())
    }

    /// Throws the answer's body away. The connection, if that has come to its end already: one
    /// that is still sending is cheaper to close than to wait for.
    #[expect(
        clippy::boxed_local,
        reason = "it comes in a box, and is taken apart here"
    )]
    pub(crate) fn discard(mut self: Box<Self>) -> Option<Box<Link>> {
        let mut unwoken = Context::from_waker(Waker::noop());
        for _ in 0..DISCARD_FRAMES_MAX {
            if self.link.has_ended() {
                return Some(self.link);
            }
            match self.link.poll_body(&mut unwoken) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(None) => return Some(self.link),
                Poll::Ready(Some(Err(_))) | Poll::Pending => return None,
            }
        }
        None
    }
}

/// Why there is no answer, or no more of it.
pub(crate) enum ExchangeError {
    /// The connection was closed before anything of the request was written: here is its body.
    NotSent(RequestBody),
    /// The connection broke after that.
    Broken(Broken),
    /// The answer is not valid HTTP/1.1.
    Invalid(InvalidAnswer),
    /// No answer in time.
    Overdue,
    /// The client's body could not be read to its end.
    RequestBody(Reason),
}

/// How a connection broke.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("connection closed before the answer was complete")]
    Closed,
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<Broken> for ExchangeError {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl From<InvalidAnswer> for ExchangeError {
    fn from(invalid: InvalidAnswer) -> Self {
        Self::Invalid(invalid)
    }
}

/// A request's body on its way.
pub(super) struct Sending {
    body: RequestBody,
    is_chunked: bool,
    /// Nothing of it has been taken yet.
    is_untouched: bool,
}

/// Why a request could not be sent to its end.
enum SendError {
    Io(io::Error),
    Body(Reason),
}

impl Link {
    /// Sends a request and waits for the answer's head.
    ///
    /// `is_overdue` is asked whenever there is none yet; the caller sees to it that this is
    /// polled when the time has run out.
    pub(crate) async fn exchange(
        mut self: Box<Self>,
        request: &impl RequestHead,
        body: RequestBody,
        is_overdue: impl Fn() -> bool,
    ) -> Result<Box<Reply>, ExchangeError> {
        self.begin(request, body);
        let mut interim_answers = 0;
        let answer = poll_fn(|context| {
            let sent = self.poll_send(context);
            let failed = match sent {
                Poll::Ready(Err(SendError::Body(reason))) => {
                    return Poll::Ready(Err(ExchangeError::RequestBody(reason)));
                }
                // An answer may have come before the connection broke.
                Poll::Ready(Err(SendError::Io(error))) => Some(error),
                Poll::Ready(Ok(())) | Poll::Pending => None,
            };
            match self.poll_head(context, &mut interim_answers) {
                Poll::Ready(Ok(answer)) => Poll::Ready(Ok(answer)),
                Poll::Ready(Err(ExchangeError::Broken(broken))) => {
                    Poll::Ready(Err(self.broken(broken)))
                }
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Pending => match failed {
                    Some(error) => Poll::Ready(Err(self.broken(error.into()))),
                    None if is_overdue() => Poll::Ready(Err(ExchangeError::Overdue)),
                    None => Poll::Pending,
                },
            }
        })
        .await?;
        self.is_spent |= !answer.keeps_connection();
        let mut held = HeldBody::default();
        if !self.reader.unread().is_empty() {
            self.take_what_came_with_the_head(&mut held)?;
        }
        Ok(Box::new(Reply {
            head: answer,
            link: self,
            held,
        }))
    }

    /// Most answers come whole, in one read. What is wrong with them is known before anything of
    /// them has gone on.
    fn take_what_came_with_the_head(&mut self, held: &mut HeldBody) -> Result<(), ExchangeError> {
        if let Some(content) = self.take_content()? {
            held.push(content);
        }
        if self.has_ended() && !self.reader.unread().is_empty() {
            // Nobody asked for a second answer; less than one makes the first one doubtful.
            self.is_spent = true;
            let unasked = super::framer().step(self.reader.unread());
            unasked.map_err(|_| InvalidAnswer::Framing)?;
        }
        Ok(())
    }

    fn begin(&mut self, head: &impl RequestHead, body: RequestBody) {
        self.reader
            .expect_answer_to_head(head.parts().method == Method::HEAD);
        let size = body.bytes_left();
        request_head::write(self.output.buffer(), head, size);
        self.sent_bytes = 0;
        self.sending = (size != Some(0)).then_some(Sending {
            body,
            is_chunked: size.is_none(),
            is_untouched: true,
        });
    }

    /// A connection that broke before it took anything has done no harm.
    fn broken(&mut self, broken: Broken) -> ExchangeError {
        self.is_spent = true;
        if self.sent_bytes > 0 {
            return ExchangeError::Broken(broken);
        }
        match self.sending.take() {
            None => ExchangeError::NotSent(RequestBody::Empty),
            Some(sending) if sending.is_untouched => ExchangeError::NotSent(sending.body),
            Some(_) => ExchangeError::Broken(broken),
        }
    }

    /// Sends as much as can be sent; ready when all of the request has gone.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        loop {
            let mut waits = false;
            while !self.output.is_full()
                && let Some(sending) = &mut self.sending
            {
                match sending.body.poll(context) {
                    Poll::Pending => {
                        waits = true;
                        break;
                    }
                    Poll::Ready(Some(Err(BodyError(reason)))) => {
                        return Poll::Ready(Err(SendError::Body(reason)));
                    }
                    Poll::Ready(Some(Ok(piece))) => {
                        sending.is_untouched = false;
                        if sending.is_chunked {
                            self.output.push_chunk(piece);
                        } else {
                            self.output.push(piece, b"");
                        }
                    }
                    Poll::Ready(None) => {
                        if sending.is_chunked {
                            self.output.end_chunks();
                        }
                        self.sending = None;
                    }
                }
            }
            let mut socket = Sender(&self.socket);
            let sent = self
                .output
                .poll_write(&mut socket, context, &mut self.sent_bytes);
            ready!(sent).map_err(SendError::Io)?;
            if self.sending.is_none() {
                return Poll::Ready(Ok(()));
            }
            if waits {
                return Poll::Pending;
            }
        }
    }

    fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        interim_answers: &mut usize,
    ) -> Poll<Result<AnswerHead, ExchangeError>> {
        loop {
            match self.reader.head().map_err(|_| InvalidAnswer::Framing)? {
                None => {}
                Some(head) => {
                    let head = AnswerHead::parse(head)?;
                    if !head.is_interim() {
                        return Poll::Ready(Ok(head));
                    }
                    *interim_answers += 1;
                    if *interim_answers > INTERIM_ANSWERS_MAX {
                        return Poll::Ready(Err(InvalidAnswer::Interim.into()));
                    }
                    continue;
                }
            }
            let read = self.reader.poll_read(&mut self.socket, context);
            if ready!(read).map_err(Broken::Io)? == 0 {
                return Poll::Ready(Err(Broken::Closed.into()));
            }
        }
    }

    /// The next piece of the answer's body; `None` at its end.
    ///
    /// # Errors
    /// The answer broke off or is not valid HTTP/1.1: the connection is of no use any more.
    pub(crate) fn poll_body(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, ExchangeError>>> {
        let polled = self.poll_body_unchecked(context);
        if let Poll::Ready(Some(Err(_))) = polled {
            self.is_spent = true;
        }
        polled
    }

    fn poll_body_unchecked(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, ExchangeError>>> {
        if self.sending.is_some() || !self.output.is_empty() {
            match self.poll_send(context) {
                Poll::Ready(Err(SendError::Body(reason))) => {
                    return Poll::Ready(Some(Err(ExchangeError::RequestBody(reason))));
                }
                // It wants no more of the request, and may answer it all the same.
                Poll::Ready(Err(SendError::Io(_))) => {
                    self.is_spent = true;
                    self.sending = None;
                    self.output = Output::default();
                }
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
        }
        loop {
            if self.has_ended() {
                return Poll::Ready(None);
            }
            if let Some(content) = self.take_content()? {
                return Poll::Ready(Some(Ok(content)));
            }
            if self.has_ended() {
                return Poll::Ready(None);
            }
            let read = self.reader.poll_read(&mut self.socket, context);
            if ready!(read).map_err(Broken::Io)? == 0 {
                self.is_spent = true;
                let is_whole = self.reader.finish();
                return Poll::Ready((!is_whole).then(|| Err(Broken::Closed.into())));
            }
        }
    }

    fn take_content(&mut self) -> Result<Option<Bytes>, ExchangeError> {
        let content = self.reader.content();
        content.map_err(|_| InvalidAnswer::Framing.into())
    }

    /// Whether all of the answer has been taken.
    pub(crate) fn has_ended(&self) -> bool {
        !self.reader.is_in_body()
    }

    /// How much of the answer's body is still to come, where that is known.
    pub(crate) fn bytes_left(&self) -> Option<u64> {
        self.reader.content_left()
    }
}

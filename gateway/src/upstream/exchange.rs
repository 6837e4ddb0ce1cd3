//! One request and its answer on one connection.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use gateway_core::framing::{Rest, Step};
use gateway_core::words::reason::Reason;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body::{Body as _, SizeHint};

use super::answer_head::{self, AnswerHead, InvalidAnswer};
use super::{BodyError, HeldBody, Link, RequestBody, request_head};
use crate::io::Output;

/// Frames of a body that is thrown away.
const DISCARD_FRAMES_MAX: usize = 16;
/// Interim answers to one request (RFC 9110 section 15.2); nobody needs as many.
const INTERIM_ANSWERS_MAX: usize = 16;

/// An answer's head, and the connection that its body will come from. Boxed from the beginning: it
/// is handed up through a dozen calls, and is too large to be copied in each.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) link: Box<Link>,
    /// What of the body has come already.
    pub(crate) held: HeldBody,
}

impl Reply {
    /// How long its body is.
    pub(crate) fn size_hint(&self) -> SizeHint {
        self.held.size_with(&self.link.size_hint())
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
        request: Request<RequestBody>,
        is_overdue: impl Fn() -> bool,
    ) -> Result<Box<Reply>, ExchangeError> {
        self.begin(request);
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
        self.is_spent |= !answer.keeps_connection;
        let mut held = HeldBody::default();
        if !self.input.bytes().is_empty() {
            self.take_what_came_with_the_head(&mut held)?;
        }
        Ok(Box::new(Reply {
            status: answer.status,
            headers: answer.headers,
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
        if self.has_ended() && !self.input.bytes().is_empty() {
            // Nobody asked for a second answer; less than one makes the first one doubtful.
            self.is_spent = true;
            let unasked = super::framer().step(self.input.bytes());
            unasked.map_err(|_| InvalidAnswer::Framing)?;
        }
        Ok(())
    }

    fn begin(&mut self, request: Request<RequestBody>) {
        let (parts, body) = request.into_parts();
        self.framer
            .expect_answer_to_head(parts.method == Method::HEAD);
        let size = body.size_hint().exact();
        request_head::write(self.output.buffer(), &parts, size);
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
                match Pin::new(&mut sending.body).poll_frame(context) {
                    Poll::Pending => {
                        waits = true;
                        break;
                    }
                    Poll::Ready(Some(Err(BodyError(reason)))) => {
                        return Poll::Ready(Err(SendError::Body(reason)));
                    }
                    Poll::Ready(Some(Ok(frame))) => {
                        sending.is_untouched = false;
                        request_head::write_frame(&mut self.output, frame, sending.is_chunked);
                    }
                    Poll::Ready(None) => {
                        if sending.is_chunked {
                            self.output.buffer().extend_from_slice(b"0\r\n\r\n");
                        }
                        self.sending = None;
                    }
                }
            }
            let sent = self
                .output
                .poll_write(&mut self.socket, context, &mut self.sent_bytes);
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
            if !self.input.bytes().is_empty() {
                match self.framer.step(self.input.bytes()) {
                    Ok(Step::Head { length }) => {
                        let head = answer_head::parse(&self.input.take(length))?;
                        if !head.is_interim() {
                            return Poll::Ready(Ok(head));
                        }
                        *interim_answers += 1;
                        if *interim_answers > INTERIM_ANSWERS_MAX {
                            return Poll::Ready(Err(InvalidAnswer::Interim.into()));
                        }
                        continue;
                    }
                    Ok(Step::Incomplete) => {}
                    Ok(Step::Data { .. } | Step::Delimiter { .. }) => {
                        unreachable!("no body is under way before the head")
                    }
                    Err(_) => return Poll::Ready(Err(InvalidAnswer::Framing.into())),
                }
            }
            let read = self.input.poll_read(&mut self.socket, context, None);
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
            let known = match self.framer.rest() {
                Rest::Bytes(left) => Some(left),
                Rest::Chunks | Rest::UntilClose | Rest::Nothing => None,
            };
            let read = self.input.poll_read(&mut self.socket, context, known);
            if ready!(read).map_err(Broken::Io)? == 0 {
                self.is_spent = true;
                let is_whole = self.framer.finish();
                return Poll::Ready((!is_whole).then(|| Err(Broken::Closed.into())));
            }
        }
    }

    /// What has come of the body and was not taken, with whatever delimits it behind that: so its
    /// end is known with its last piece.
    fn take_content(&mut self) -> Result<Option<Bytes>, ExchangeError> {
        if self.is_broken_off {
            return Err(InvalidAnswer::Framing.into());
        }
        let mut content = None;
        while !self.input.bytes().is_empty() && !self.has_ended() {
            if content.is_some() && self.framer.is_in_content() {
                break;
            }
            match self.framer.step(self.input.bytes()) {
                Ok(Step::Data { length }) => content = Some(self.input.take(length)),
                Ok(Step::Delimiter { length }) => self.input.skip(length),
                Ok(Step::Head { .. } | Step::Incomplete) => unreachable!("a body is under way"),
                Err(_) if content.is_some() => {
                    // What came before is good.
                    self.is_broken_off = true;
                    break;
                }
                Err(_) => return Err(InvalidAnswer::Framing.into()),
            }
        }
        Ok(content)
    }

    /// Whether all of the answer has been taken.
    pub(crate) fn has_ended(&self) -> bool {
        self.framer.rest() == Rest::Nothing
    }

    /// How much of the answer's body is still to come.
    pub(crate) fn size_hint(&self) -> SizeHint {
        match self.framer.rest() {
            Rest::Nothing => SizeHint::with_exact(0),
            Rest::Bytes(left) => SizeHint::with_exact(left),
            Rest::Chunks | Rest::UntilClose => SizeHint::new(),
        }
    }
}

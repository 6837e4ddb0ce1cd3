//! One request and the head of its answer on one connection.

use std::error::Error as _;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use gateway_core::words::reason::Reason;
use http::{Request, Response};
use hyper::body::{Body as _, Incoming};

use super::{BodyError, HeldBody, Link, RequestBody, poll_unwoken};
use crate::io::Violation;

/// An answer's head, and the connection that its body will come from. Boxed from the beginning: it
/// is handed up through a dozen calls, and is too large to be copied in each.
pub(crate) struct Reply {
    pub(crate) response: Response<Incoming>,
    pub(crate) link: Box<Link>,
    /// What of the body has come already.
    pub(crate) held: HeldBody,
}

/// Frames of a body that is thrown away.
const DISCARD_FRAMES_MAX: usize = 16;

impl Reply {
    /// Throws the answer's body away. The connection, if that has come to its end already: one
    /// that is still sending is cheaper to close than to wait for.
    pub(crate) fn discard(self: Box<Self>) -> Option<Box<Link>> {
        let Self {
            response, mut link, ..
        } = *self;
        let mut body = response.into_body();
        for _ in 0..DISCARD_FRAMES_MAX {
            if body.is_end_stream() {
                return Some(link);
            }
            match poll_unwoken(|context| Pin::new(&mut body).poll_frame(context)) {
                Poll::Ready(None) => return Some(link),
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(_))) => return None,
                Poll::Pending => {
                    link.drive(&mut Context::from_waker(Waker::noop()));
                }
            }
        }
        None
    }
}

/// Why there is no answer.
pub(crate) enum ExchangeError {
    /// The connection was closed before anything of the request was written: here is its body.
    NotSent(RequestBody),
    /// The connection broke after that.
    Broken(hyper::Error),
    /// The answer is not valid HTTP/1.1.
    Invalid(hyper::Error),
    /// No answer in time.
    Overdue,
    /// The client's body could not be read to its end.
    RequestBody(Reason),
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
        self.expect_answer_to(request.method());
        let mut answer = pin!(self.sender.try_send_request(request));
        let answer = poll_fn(|context| {
            self.drive(context);
            // Its progress comes from the driver alone, so a wake-up of its own would only
            // poll this task once more for nothing.
            match poll_unwoken(|context| answer.as_mut().poll(context)) {
                Poll::Pending if self.is_closed() => answer.as_mut().poll(context).map(Some),
                Poll::Pending if is_overdue() => Poll::Ready(None),
                poll => poll.map(Some),
            }
        })
        .await
        .ok_or(ExchangeError::Overdue)?;
        match answer {
            Ok(response) => Ok(Box::new(Reply {
                response,
                link: self,
                held: HeldBody::default(),
            })),
            Err(mut error) => match error.take_message() {
                Some(unsent) => Err(ExchangeError::NotSent(unsent.into_body())),
                None => Err(classify(error.into_error())),
            },
        }
    }
}

pub(super) fn classify(error: hyper::Error) -> ExchangeError {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(BodyError(reason)) = cause.downcast_ref() {
            return ExchangeError::RequestBody(*reason);
        }
        let violation = cause
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref)
            .is_some_and(<dyn std::error::Error + Send + Sync>::is::<Violation>);
        if violation {
            return ExchangeError::Invalid(error);
        }
        source = cause.source();
    }
    if error.is_parse() {
        return ExchangeError::Invalid(error);
    }
    ExchangeError::Broken(error)
}

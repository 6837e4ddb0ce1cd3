//! Answers that are held back until they are whole, so that one that breaks off can be asked for
//! again: once its head was sent, there is no way back.
//!
//! Most answers come whole with their head, in one read. Then nothing waits and nothing is
//! allocated: the body's only frame is taken a moment earlier than it would have been.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use super::exchange::{ExchangeError, Reply, classify};
use super::{Silence, poll_unwoken};

/// Frames of one answer that are held: one that comes in smaller pieces is sent on as it comes.
const FRAMES_MAX: usize = 64;

/// The beginning of a body, or all of it.
#[derive(Default)]
pub(crate) struct HeldBody {
    /// Most bodies are one frame, which needs no list.
    first: Option<Bytes>,
    more: VecDeque<Frame<Bytes>>,
    bytes: u64,
}

impl HeldBody {
    fn push(&mut self, frame: Frame<Bytes>) {
        self.bytes += length(&frame);
        if self.first.is_some() || !self.more.is_empty() {
            self.more.push_back(frame);
            return;
        }
        match frame.into_data() {
            Ok(bytes) => self.first = Some(bytes),
            Err(trailers) => self.more.push_back(trailers),
        }
    }

    /// The next frame.
    pub(crate) fn pop(&mut self) -> Option<Frame<Bytes>> {
        let first = self.first.take().map(Frame::data);
        let frame = first.or_else(|| self.more.pop_front())?;
        self.bytes -= length(&frame);
        Some(frame)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none() && self.more.is_empty()
    }

    /// The size of these bytes and what is still to come.
    pub(crate) fn size_with(&self, rest: &SizeHint) -> SizeHint {
        let mut size = SizeHint::new();
        if let Some(upper) = rest.upper() {
            size.set_upper(upper + self.bytes);
        }
        size.set_lower(rest.lower() + self.bytes);
        size
    }
}

fn length(frame: &Frame<Bytes>) -> u64 {
    frame.data_ref().map_or(0, Bytes::len) as u64
}

impl Reply {
    /// Waits for the end of the body; or until more than `bytes_max` have come or `is_late` says
    /// so, and what has come is all that can be known.
    ///
    /// `is_late` is asked whenever nothing more is there; the caller sees to it that this is
    /// polled when the time has run out.
    ///
    /// # Errors
    /// The answer broke off, is not valid HTTP/1.1, or brought nothing for `silence_max`.
    pub(crate) async fn hold(
        mut self: Box<Self>,
        bytes_max: usize,
        silence_max: Duration,
        is_late: impl Fn() -> bool,
    ) -> Result<Box<Self>, ExchangeError> {
        let Self {
            response,
            link,
            held,
        } = &mut *self;
        let body = response.body_mut();
        let mut silence = Silence::new(silence_max);
        poll_fn(|context| {
            while !body.is_end_stream() {
                let mut poll = poll_unwoken(|unwoken| Pin::new(&mut *body).poll_frame(unwoken));
                if poll.is_pending() {
                    link.drive(context);
                    poll = poll_unwoken(|unwoken| Pin::new(&mut *body).poll_frame(unwoken));
                }
                match poll {
                    Poll::Ready(None) => break,
                    Poll::Ready(Some(frame)) => {
                        silence.end();
                        held.push(frame.map_err(classify)?);
                    }
                    Poll::Pending if is_late() => break,
                    Poll::Pending if silence.poll(context).is_ready() => {
                        return Poll::Ready(Err(ExchangeError::Overdue));
                    }
                    Poll::Pending => return Poll::Pending,
                }
                if held.bytes > bytes_max as u64 || held.more.len() >= FRAMES_MAX {
                    break;
                }
            }
            Poll::Ready(Ok(()))
        })
        .await?;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn frames_leave_in_the_order_in_which_they_came() {
        let data = |text: &'static str| Frame::data(Bytes::from_static(text.as_bytes()));
        let mut held = HeldBody::default();
        assert!(held.is_empty() && held.pop().is_none());
        held.push(data("one"));
        held.push(data("four"));
        held.push(Frame::trailers(HeaderMap::new()));
        let size = held.size_with(&SizeHint::with_exact(3));
        assert_eq!(size.exact(), Some(10));
        for expected in ["one", "four"] {
            let frame = held.pop().unwrap();
            assert_eq!(frame.into_data().unwrap(), expected);
        }
        assert!(!held.is_empty());
        assert!(held.pop().unwrap().is_trailers());
        assert!(held.is_empty());
        assert_eq!(held.size_with(&SizeHint::default()).upper(), None);
    }
}

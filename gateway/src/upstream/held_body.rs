//! Answers that are held back until they are whole, so that one that breaks off can be asked for
//! again: once its head was sent, there is no way back.
//!
//! Most answers come whole with their head, in one read. Then nothing waits and nothing is
//! allocated: the body's only piece is taken a moment earlier than it would have been.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;

use super::Silence;
use super::exchange::{ExchangeError, Reply};

/// Pieces of one answer that are held: one that comes in smaller pieces is sent on as it comes.
const PIECES_MAX: usize = 64;

/// The beginning of a body, or all of it.
#[derive(Default)]
pub(crate) struct HeldBody {
    /// Most bodies are one piece, which needs no list.
    first: Option<Bytes>,
    more: VecDeque<Bytes>,
    bytes: u64,
}

impl HeldBody {
    pub(super) fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len() as u64;
        if self.first.is_some() || !self.more.is_empty() {
            self.more.push_back(piece);
        } else {
            self.first = Some(piece);
        }
    }

    /// The next piece.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let piece = self.first.take().or_else(|| self.more.pop_front())?;
        self.bytes -= piece.len() as u64;
        Some(piece)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none() && self.more.is_empty()
    }

    /// How many bytes these are.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
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
        let Self { link, held, .. } = &mut *self;
        let mut silence = Silence::new(silence_max);
        poll_fn(|context| {
            while !link.has_ended() {
                match link.poll_body(context) {
                    Poll::Ready(None) => break,
                    Poll::Ready(Some(piece)) => {
                        silence.end();
                        held.push(piece?);
                    }
                    Poll::Pending if is_late() => break,
                    Poll::Pending if silence.poll(context).is_ready() => {
                        return Poll::Ready(Err(ExchangeError::Overdue));
                    }
                    Poll::Pending => return Poll::Pending,
                }
                if held.bytes > bytes_max as u64 || held.more.len() >= PIECES_MAX {
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
    use super::*;

    #[test]
    fn pieces_leave_in_the_order_in_which_they_came() {
        let mut held = HeldBody::default();
        assert!(held.is_empty() && held.pop().is_none());
        for text in ["one", "four", "twelve"] {
            held.push(Bytes::from_static(text.as_bytes()));
        }
        assert_eq!(held.bytes(), 13);
        for expected in ["one", "four", "twelve"] {
            assert!(!held.is_empty());
            assert_eq!(held.pop().unwrap(), expected);
        }
        assert!(held.is_empty());
        assert_eq!(held.bytes(), 0);
    }
}

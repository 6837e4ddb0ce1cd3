//! An answer on its way to a client.

use std::task::{Context, Poll, ready};

use super::answer::{Delimiting, write_head};
use super::manner::Manner;
use crate::io::{Downstream, Output, Spares, with_spares};
use crate::proxy::{Answer, ResponseBody, Worker};

/// How sending ended.
pub(super) enum Sent {
    Whole {
        /// Whether the connection may carry another request.
        keeps: bool,
    },
    /// The connection is of no use any more.
    Broken,
}

/// An answer, until all of it has gone.
pub(super) struct Sending {
    output: Output,
    /// Until all of it is in `output`.
    body: Option<ResponseBody>,
    delimiting: Delimiting,
    keeps: bool,
    is_broken: bool,
    is_blocked: bool,
}

impl Sending {
    /// Writes the head into the buffer.
    pub(super) fn begin(answer: Answer, manner: Manner, worker: &Worker) -> Self {
        let mut output = Output::default();
        output.set_buffer(with_spares(Spares::take_output));
        let body_bytes = answer.body.bytes_left();
        let delimiting = Delimiting::of(answer.status, body_bytes, manner);
        let keeps = manner.keeps_connection && delimiting != Delimiting::Close && !answer.closes;
        let date = |buffer: &mut Vec<u8>| worker.write_date(buffer);
        write_head(
            output.buffer(),
            &answer,
            delimiting,
            body_bytes,
            manner,
            keeps,
            date,
        );
        Self {
            output,
            body: (delimiting != Delimiting::Nothing).then_some(answer.body),
            delimiting,
            keeps,
            is_broken: false,
            is_blocked: false,
        }
    }

    /// Whether it is the client that is waited for.
    pub(super) fn is_blocked(&self) -> bool {
        self.is_blocked
    }

    /// Sends what there is, and counts it; ready when that was all.
    pub(super) fn poll(
        &mut self,
        downstream: &mut Downstream,
        context: &mut Context<'_>,
        written: &mut u64,
    ) -> Poll<Sent> {
        loop {
            let waits = self.fill(context);
            let all = downstream.poll_write(&mut self.output, context, written);
            self.is_blocked = all.is_pending();
            if ready!(all).is_err() {
                return Poll::Ready(Sent::Broken);
            }
            if self.body.is_none() {
                return Poll::Ready(self.sent(downstream, context));
            }
            if waits {
                return Poll::Pending;
            }
        }
    }

    /// Takes what there is of the body; whether more of it is waited for.
    fn fill(&mut self, context: &mut Context<'_>) -> bool {
        while !self.output.is_full()
            && let Some(body) = &mut self.body
        {
            match body.poll(context) {
                Poll::Pending => return true,
                Poll::Ready(Some(Ok(piece))) if self.delimiting == Delimiting::Chunks => {
                    self.output.push_chunk(piece);
                }
                Poll::Ready(Some(Ok(piece))) => self.output.push(piece, b""),
                Poll::Ready(Some(Err(_))) => {
                    self.is_broken = true;
                    self.body = None;
                }
                Poll::Ready(None) => {
                    if self.delimiting == Delimiting::Chunks {
                        self.output.end_chunks();
                    }
                    // It counts before the client can see that it is whole.
                    self.body = None;
                }
            }
        }
        false
    }

    /// Gives the buffer back if all has gone.
    pub(super) fn end(mut self) {
        if self.output.is_empty() {
            with_spares(|spares| spares.give_output(self.output.take_buffer()));
        }
    }

    fn sent(&self, downstream: &mut Downstream, context: &mut Context<'_>) -> Sent {
        if self.is_broken {
            if self.delimiting == Delimiting::Close {
                downstream.reset_at_end();
            }
            return Sent::Broken;
        }
        // A body that nobody has read stands before the next request.
        let keeps = self.keeps && (!downstream.is_in_body() || downstream.skip_body(context));
        Sent::Whole { keeps }
    }
}

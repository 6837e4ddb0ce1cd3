//! What comes in on one connection: its bytes, and where its messages begin and end.

use std::io;
use std::task::{Context, Poll};

use bytes::Bytes;
use gateway_core::framing::{Framer, Rest, Step};
use gateway_core::words::reason::Reason;

use super::Spares;
use super::input::{Input, Socket};

/// The messages of one direction of one connection.
#[derive(Debug)]
pub(crate) struct Reader {
    framer: Framer,
    input: Input,
    /// Why what came last of a body cannot be understood; what came before it can.
    broken: Option<Reason>,
}

impl Reader {
    /// Requests: their heads are in use until they have been answered.
    pub(crate) fn of_requests(framer: Framer) -> Self {
        Self::new(framer, Input::new(false))
    }

    /// Answers: they are sent on as they come.
    pub(crate) fn of_answers(framer: Framer) -> Self {
        Self::new(framer, Input::new(true))
    }

    fn new(framer: Framer, input: Input) -> Self {
        Self {
            framer,
            input,
            broken: None,
        }
    }

    /// Tells that the next head answers a `HEAD` request, which has no body.
    pub(crate) fn expect_answer_to_head(&mut self, yes: bool) {
        self.framer.expect_answer_to_head(yes);
    }

    /// Reads once: how many bytes came, none at the end of the stream.
    ///
    /// # Errors
    /// The socket is broken.
    pub(crate) fn poll_read<S: Socket>(
        &mut self,
        socket: &mut S,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let known = self.content_left().filter(|&left| left > 0);
        self.input.poll_read(socket, context, known)
    }

    /// The next head, the empty line at its end included, once all of it has come. The message
    /// before must have ended.
    ///
    /// # Errors
    /// It must not go on, nor anything after it.
    pub(crate) fn head(&mut self) -> Result<Option<Bytes>, Reason> {
        if self.input.bytes().is_empty() {
            return Ok(None);
        }
        match self.framer.step(self.input.bytes())? {
            Step::Head { length } => Ok(Some(self.input.take(length))),
            Step::Incomplete => Ok(None),
            Step::Data { .. } | Step::Delimiter { .. } => {
                unreachable!("no body is under way before the head")
            }
        }
    }

    /// What has come of the body and was not taken, with whatever delimits it behind that: so its
    /// end is known with its last piece.
    ///
    /// # Errors
    /// The body cannot be understood from here on.
    pub(crate) fn content(&mut self) -> Result<Option<Bytes>, Reason> {
        if let Some(reason) = self.broken {
            return Err(reason);
        }
        let mut content = None;
        while !self.input.bytes().is_empty() && self.is_in_body() {
            if content.is_some() && self.framer.is_in_content() {
                break;
            }
            match self.framer.step(self.input.bytes()) {
                Ok(Step::Data { length }) => content = Some(self.input.take(length)),
                Ok(Step::Delimiter { length }) => self.input.skip(length),
                Ok(Step::Head { .. } | Step::Incomplete) => unreachable!("a body is under way"),
                Err(reason) => {
                    self.broken = Some(reason);
                    if content.is_none() {
                        return Err(reason);
                    }
                    break;
                }
            }
        }
        Ok(content)
    }

    /// The stream has ended: whether the message under way, if there is one, is whole.
    pub(crate) fn finish(&mut self) -> bool {
        self.framer.finish()
    }

    /// Whether some of the body under way is still to be taken.
    pub(crate) fn is_in_body(&self) -> bool {
        self.framer.is_in_body()
    }

    /// Whether the body under way cannot be understood to its end.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// Whether nothing is under way, and nothing more has come.
    pub(crate) fn is_between_messages(&self) -> bool {
        self.framer.is_between_messages() && self.input.bytes().is_empty()
    }

    /// How much of the body is still to come, where that is known.
    pub(crate) fn content_left(&self) -> Option<u64> {
        match self.framer.rest() {
            Rest::Nothing => Some(0),
            Rest::Bytes(left) => Some(left),
            Rest::Chunks | Rest::UntilClose => None,
        }
    }

    /// What has come and was not taken.
    pub(crate) fn unread(&self) -> &[u8] {
        self.input.bytes()
    }

    /// Throws that away.
    pub(crate) fn skip_unread(&mut self) -> usize {
        let count = self.input.bytes().len();
        self.input.skip(count);
        count
    }

    /// Gives the buffer back of one that is between messages and has nothing unread.
    pub(crate) fn rest(&mut self, spares: &mut Spares) {
        self.input.rest(spares);
    }

    #[cfg(test)]
    pub(crate) fn has_buffer(&self) -> bool {
        self.input.has_buffer()
    }
}

//! Where one HTTP/1.1 message ends and the next begins (RFC 9112).
//!
//! The parser behind us is lenient where a proxy must not be: it takes a bare LF
//! for a line end, drops `Content-Length` beside `Transfer-Encoding`, and folds
//! equal `Content-Length` headers into one. Whoever reads the same bytes
//! differently than the next hop invites request smuggling, so every byte passes
//! through a [`Framer`] first, which refuses what can be read in two ways.

mod chunked;
mod head;
mod lines;

pub use head::{HeadLimits, METHOD_CHARACTERS};
pub use lines::{HeaderLines, request_head};

use crate::words::reason::Reason;
use chunked::Chunked;
use head::{Body, HeadScanner};

/// Which direction a [`Framer`] watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Requests from a downstream.
    Request,
    /// Responses from an upstream.
    Response,
}

/// What the first of some bytes are; see [`Framer::step`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The beginning of a head: show it again, with more behind it.
    Incomplete,
    /// So many bytes are a whole head.
    Head {
        /// At least 1.
        length: usize,
    },
    /// So many bytes are of the body's content.
    Data {
        /// At least 1.
        length: usize,
    },
    /// So many bytes delimit content: sizes of chunks, and trailers.
    Delimiter {
        /// At least 1.
        length: usize,
    },
}

/// What is still to come of the body under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// None is under way.
    Nothing,
    /// So many bytes, at least 1.
    Bytes(u64),
    /// Chunks until the last one.
    Chunks,
    /// Whatever comes until the connection is closed.
    UntilClose,
}

#[derive(Debug)]
enum State {
    Head(HeadScanner),
    Sized(u64),
    Chunked(Chunked),
    UntilClose,
}

/// Follows the messages of one direction of one connection, without buffering.
#[derive(Debug)]
pub struct Framer {
    role: Role,
    limits: HeadLimits,
    state: State,
    /// Responses to `HEAD` have no body whatever their headers say.
    answers_head: bool,
}

impl Framer {
    /// A framer at the start of a connection.
    #[must_use]
    pub fn new(role: Role, limits: HeadLimits) -> Self {
        Self {
            role,
            limits,
            state: State::Head(HeadScanner::default()),
            answers_head: false,
        }
    }

    /// Tells that the next response answers a `HEAD` request (RFC 9112 section 6.3, rule 1).
    pub fn expect_answer_to_head(&mut self, yes: bool) {
        self.answers_head = yes;
    }

    /// Whether the connection stands between two messages.
    #[must_use]
    pub fn is_between_messages(&self) -> bool {
        matches!(&self.state, State::Head(scanner) if scanner.is_fresh())
    }

    /// Whether a body is under way.
    #[must_use]
    pub fn is_in_body(&self) -> bool {
        !matches!(self.state, State::Head(_))
    }

    /// Whether the next byte is of a body's content.
    #[must_use]
    pub fn is_in_content(&self) -> bool {
        match &self.state {
            State::Head(_) => false,
            State::Sized(_) | State::UntilClose => true,
            State::Chunked(chunked) => chunked.is_in_data(),
        }
    }

    /// The connection was closed: whether the message under way, if there is one, is whole.
    pub fn finish(&mut self) -> bool {
        let is_whole = match &self.state {
            State::Head(scanner) => scanner.is_fresh(),
            State::Sized(_) | State::Chunked(_) => false,
            State::UntilClose => true,
        };
        self.state = State::Head(HeadScanner::default());
        is_whole
    }

    /// What is still to come of the body under way.
    #[must_use]
    pub fn rest(&self) -> Rest {
        match self.state {
            State::Head(_) => Rest::Nothing,
            State::Sized(left) => Rest::Bytes(left),
            State::Chunked(_) => Rest::Chunks,
            State::UntilClose => Rest::UntilClose,
        }
    }

    /// Looks at the first of the bytes that arrived, of which there is at least one.
    ///
    /// The next call must begin behind what this one tells of; after [`Step::Incomplete`] with
    /// the same bytes.
    ///
    /// # Errors
    /// The message that they belong to must not go on, nor anything after it.
    pub fn step(&mut self, bytes: &[u8]) -> Result<Step, Reason> {
        match &mut self.state {
            State::Head(scanner) => match scanner.scan(bytes, self.role, &self.limits)? {
                None => Ok(Step::Incomplete),
                Some((length, body)) => {
                    self.enter_body(body);
                    Ok(Step::Head { length })
                }
            },
            State::Sized(left) => {
                let length = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                *left -= length as u64;
                if *left == 0 {
                    self.state = State::Head(HeadScanner::default());
                }
                Ok(Step::Data { length })
            }
            State::Chunked(chunked) => {
                let (step, is_over) = chunked.step(bytes, &self.limits).map_err(|()| match self
                    .role
                {
                    Role::Request => Reason::BodyMalformed,
                    Role::Response => Reason::UpstreamInvalidResponse,
                })?;
                if is_over {
                    self.state = State::Head(HeadScanner::default());
                }
                Ok(step)
            }
            State::UntilClose => Ok(Step::Data {
                length: bytes.len(),
            }),
        }
    }

    fn enter_body(&mut self, body: Body) {
        let body = match body {
            // An interim response is followed by the final one (RFC 9110 section 15.2).
            Body::Interim => Body::None,
            _ if self.role == Role::Response && self.answers_head => Body::None,
            other => other,
        };
        self.state = match body {
            Body::None | Body::Interim | Body::Sized(0) => State::Head(HeadScanner::default()),
            Body::Sized(length) => State::Sized(length),
            Body::Chunked => State::Chunked(Chunked::default()),
            Body::UntilClose => State::UntilClose,
        };
    }
}

#[cfg(test)]
mod tests;

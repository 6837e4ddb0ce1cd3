//! The access log, decided: which requests get a line, and what is in it.
//!
//! | file | holds |
//! |---|---|
//! | `field.rs` | the fields by their names |
//! | `template.rs` | a line as text with fields in it |
//! | `query.rs` | what is shown of a query, and of URLs in headers |
//!
//! What may be a secret is left out unless the file asks for it; credentials are never shown.

mod field;
mod query;
mod template;

pub use field::{Field, UnknownField};
pub use query::Query;
pub use template::{COMBINED, COMMON, FIELDS_MAX, Piece, TEMPLATE_BYTES_MAX, TemplateError, parse};

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use http::{HeaderName, StatusCode};

use crate::words::rate::{Rate, Threshold};

/// How lines are written. A plan without one writes none.
#[derive(Clone, Debug)]
pub struct AccessLog {
    /// What a line looks like.
    pub format: Format,
    /// What is shown of queries.
    pub query: Query,
    /// Which of the requests that no route takes get one; each route has its own.
    pub sample: Sample,
    /// What must be remembered of a request beyond what is known of it anyway.
    pub needs: Needs,
    /// Turns a caller's subject into a word that says nothing of it.
    pub hash: Option<SubjectHash>,
}

/// What a line looks like.
#[derive(Clone, Debug)]
pub enum Format {
    /// A JSON object: the fields that every line has, and these with their names.
    Json(Box<[(Field, Box<str>)]>),
    /// Text with fields in it.
    Text(Box<[Piece]>),
}

/// What a format needs that costs something to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// A look at the clock between the decision about a request and its way upstream.
    pub auth_time: bool,
    /// When a head that came in pieces began, when the last try was sent, and how long its
    /// connection took.
    pub times: bool,
    /// A counter of the body's bytes.
    pub bytes_received: bool,
    /// These headers of the answer.
    pub response_headers: Box<[HeaderName]>,
}

impl Needs {
    /// What these fields need.
    #[must_use]
    pub fn of<'f>(fields: impl IntoIterator<Item = &'f Field>) -> Self {
        let mut needs = Self::default();
        let mut headers = Vec::new();
        for field in fields {
            match field {
                Field::AuthMicros => needs.auth_time = true,
                Field::HeadMillis
                | Field::ConnectMicros
                | Field::FirstByteMicros
                | Field::LastByteMicros => needs.times = true,
                Field::BytesReceived => needs.bytes_received = true,
                Field::ResponseHeader(name) if !headers.contains(name) => {
                    headers.push(name.clone());
                }
                _ => {}
            }
        }
        needs.response_headers = headers.into();
        needs
    }

    /// Whether there are any.
    #[must_use]
    pub fn are_any(&self) -> bool {
        self.auth_time || self.times || self.bytes_received || !self.response_headers.is_empty()
    }
}

/// Which requests get a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    threshold: Threshold,
    slower_than: Duration,
    errors: Errors,
}

/// Which answers always get a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Errors {
    /// Statuses from 400, and answers that broke off.
    #[default]
    All,
    /// Statuses from 500, and answers that broke off.
    Server,
}

/// What a sample looks at.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// The request's trace.
    pub trace_id: u128,
    /// The answer's status.
    pub status: StatusCode,
    /// Whether there is a reason code: it was refused, or broke off.
    pub has_reason: bool,
    /// From the request's head to the end of its answer.
    pub elapsed: Duration,
}

impl Sample {
    /// This share of all traces, and always what took longer than `slower_than` or is an error.
    #[must_use]
    pub fn new(rate: Rate, slower_than: Duration, errors: Errors) -> Self {
        Self {
            threshold: rate.threshold(),
            slower_than,
            errors,
        }
    }

    /// Whether a request gets a line.
    #[must_use]
    pub fn wants(&self, answered: &Answered) -> bool {
        self.threshold.keeps(answered.trace_id)
            || answered.elapsed > self.slower_than
            || self.errors.include(answered)
    }
}

impl Errors {
    fn include(self, answered: &Answered) -> bool {
        let status = answered.status.as_u16();
        let is_broken_off = answered.has_reason && status < 400;
        let from = match self {
            Self::All => 400,
            Self::Server => 500,
        };
        is_broken_off || status >= from
    }
}

/// Names a subject by a keyed hash: the same subject has the same word, and nobody without the key
/// can try names until one fits.
#[derive(Clone, Debug)]
pub struct SubjectHash(Arc<hmac::Key>);

impl SubjectHash {
    /// By HMAC-SHA256 (RFC 2104) with this key.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        Self(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, key)))
    }

    /// The first 128 bits: enough that no two of a billion subjects share a word.
    #[must_use]
    pub fn of(&self, subject: &str) -> u128 {
        let tag = hmac::sign(&self.0, subject.as_bytes());
        let (first, _) = tag.as_ref().split_at(16);
        u128::from_be_bytes(first.try_into().expect("split after 16 bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_slow_or_an_error_is_always_wanted() {
        let none: Rate = serde_json::from_str("\"0%\"").unwrap();
        let second = Duration::from_secs(1);
        let answered = |status: u16, has_reason, elapsed| Answered {
            trace_id: 7,
            status: StatusCode::from_u16(status).unwrap(),
            has_reason,
            elapsed,
        };
        let quick = Duration::ZERO;
        for (case, all, server) in [
            (answered(200, false, quick), false, false),
            (answered(200, false, second), false, false),
            (answered(200, false, second * 2), true, true),
            // It broke off after its head.
            (answered(200, true, quick), true, true),
            (answered(304, false, quick), false, false),
            (answered(404, false, quick), true, false),
            (answered(401, true, quick), true, false),
            (answered(500, false, quick), true, true),
            (answered(503, true, quick), true, true),
        ] {
            let wants = |errors| Sample::new(none, second, errors).wants(&case);
            assert_eq!(wants(Errors::All), all, "{case:?}");
            assert_eq!(wants(Errors::Server), server, "{case:?}");
        }
        let every = Sample::new(Rate::ALL, second, Errors::All);
        assert!(every.wants(&answered(200, false, quick)));
    }

    #[test]
    fn a_subject_has_one_word_under_one_key() {
        let (one, other) = (SubjectHash::new(b"one"), SubjectHash::new(b"other"));
        assert_eq!(one.of("ann"), one.of("ann"));
        assert_ne!(one.of("ann"), one.of("bob"));
        assert_ne!(one.of("ann"), other.of("ann"));
        // RFC 4231 section 4.3, the first 128 bits.
        let known = SubjectHash::new(b"Jefe").of("what do ya want for nothing?");
        assert_eq!(known, 0x5bdc_c146_bf60_754e_6a04_2426_0895_75c7);
        let shown = format!("{:?}", SubjectHash::new(b"hunter2"));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

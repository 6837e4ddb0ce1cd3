//! An answer on its way to a client: the upstream's, edited, or one of the gateway's own.

use http::{HeaderMap, HeaderValue, StatusCode};
use mesh::headers::X_REQUEST_ID;

use super::body::ResponseBody;
use crate::upstream::AnswerHead;

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(super) head: Head,
    /// Whether the connection is to end with it.
    pub(crate) closes: bool,
    pub(crate) body: ResponseBody,
}

/// Where an answer's header lines come from.
pub(super) enum Head {
    Own(HeaderMap),
    Upstreams(AnswerHead),
}

impl Answer {
    /// Tells the header lines one after the other: all but those about the connection.
    pub(crate) fn lines(&self, mut line: impl FnMut(&[u8], &[u8])) {
        match &self.head {
            Head::Own(headers) => {
                for (name, value) in headers {
                    line(name.as_str().as_bytes(), value.as_bytes());
                }
            }
            Head::Upstreams(head) => {
                for (name, value) in head.lines() {
                    if !ends_here(name) && !head.is_named(name) {
                        line(name, value);
                    }
                }
            }
        }
        let id = &self.body.record().request_id;
        line(X_REQUEST_ID.as_str().as_bytes(), id.as_bytes());
    }

    /// Keeps what the access line is to say of the header lines.
    #[cold]
    pub(super) fn note_headers(&mut self) {
        let plan = &self.body.record().pinned.live.plan;
        let Some(log) = &plan.access_log else { return };
        let wanted = &log.needs.response_headers;
        if wanted.is_empty() {
            return;
        }
        let mut noted = HeaderMap::new();
        self.lines(|name, value| {
            let name = wanted
                .iter()
                .find(|it| name.eq_ignore_ascii_case(it.as_str().as_bytes()));
            if let (Some(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
                noted.append(name.clone(), value);
            }
        });
        self.body.record_mut().note_answer(noted);
    }
}

/// Whether a header of an upstream's answer concerns its connection alone (RFC 9110 section 7.6.1),
/// or we write our own.
fn ends_here(name: &[u8]) -> bool {
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    match name.len() {
        2 => is("te"),
        7 => is("trailer") || is("upgrade"),
        10 => is("connection") || is("keep-alive"),
        12 => is("x-request-id"),
        16 => is("proxy-connection"),
        17 => is("transfer-encoding"),
        18 => is("proxy-authenticate"),
        _ => false,
    }
}

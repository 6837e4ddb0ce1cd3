//! Error answers as RFC 9457 problem+json.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// Media type of a [`Problem`] (RFC 9457, section 6.1).
pub const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/problem+json");

/// One error, as the client sees it.
///
/// The members are `type`, `title`, `status`, `detail`, and as extensions `code`
/// and `request_id`.
///
/// `type` is what RFC 9457 (section 3.1.1) has clients tell problems apart by, and
/// it recommends an absolute URI there. `about:blank` would say "nothing beyond
/// the status", which is wrong for `jwt_expired` beside `jwt_missing`; an https
/// URI promises a page that no deployment of ours serves. So it is
/// `urn:problem:<code>`: absolute, stable, and a promise of nothing to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem<'a> {
    /// The status of the answer, repeated in the body.
    pub status: StatusCode,
    /// Stable reason code in `snake_case`; the same word stands in logs and metrics.
    pub code: &'a str,
    /// Summary of this kind of problem; does not change between occurrences.
    pub title: Cow<'a, str>,
    /// What is wrong this time, and the remedy. Never an internal cause.
    pub detail: Option<Cow<'a, str>>,
    /// The id to look for in the logs.
    pub request_id: Option<&'a str>,
}

impl Problem<'_> {
    /// The body, to be sent with [`CONTENT_TYPE`].
    #[must_use]
    pub fn to_json(&self) -> Bytes {
        let json = serde_json::to_vec(self).expect("a map of strings and one number serializes");
        Bytes::from(json)
    }
}

impl Serialize for Problem<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        members.serialize_entry("type", &format_args!("urn:problem:{}", self.code))?;
        members.serialize_entry("title", &self.title)?;
        members.serialize_entry("status", &self.status.as_u16())?;
        if let Some(detail) = &self.detail {
            members.serialize_entry("detail", detail)?;
        }
        members.serialize_entry("code", self.code)?;
        if let Some(request_id) = self.request_id {
            members.serialize_entry("request_id", request_id)?;
        }
        members.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stand_in_the_order_of_the_rfc_and_absent_ones_are_left_out() {
        let mut problem = Problem {
            status: StatusCode::NOT_FOUND,
            code: "no_route",
            title: "No such route".into(),
            detail: Some("nothing at \"/x\"".into()),
            request_id: Some("r1"),
        };
        assert_eq!(
            problem.to_json(),
            r#"{"type":"urn:problem:no_route","title":"No such route","status":404,"detail":"nothing at \"/x\"","code":"no_route","request_id":"r1"}"#
        );
        problem.detail = None;
        problem.request_id = None;
        assert_eq!(
            problem.to_json(),
            r#"{"type":"urn:problem:no_route","title":"No such route","status":404,"code":"no_route"}"#
        );
    }
}

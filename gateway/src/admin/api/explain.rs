//! `POST /api/v1/explain`: what would become of a request.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use axum::response::Response;
use axum::{Extension, http};
use serde::{Deserialize, Deserializer};
use serde_json::{Number, json};

use super::{Observed, is_json, now, problem};
use crate::admin::access::Access;
use crate::admin::reload::deny;
use crate::proxy::{self, Moment, Question};

/// Headers of a question; a request with more would be refused.
const HEADERS_MAX: usize = 256;

/// Bytes of a question's target: about as many as a request's may have by default.
const TARGET_BYTES_MAX: usize = 8_000;
/// Whole numbers up to here mean the same to all who read JSON (RFC 8259 section 6).
const WHOLE_MAX: u64 = (1 << 53) - 1;

/// A request that somebody asks about.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    method: String,
    /// A path with its query, or a whole URL.
    target: String,
    #[serde(default)]
    headers: Vec<AskedHeader>,
    peer: Option<IpAddr>,
    #[serde(default, deserialize_with = "whole")]
    body_bytes: Option<u64>,
}

/// A whole number, which may be written as 1.0 (JSON Schema 2020-12, section 6.1.1 of validation).
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let Some(number) = Option::<Number>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let whole = number.as_u64().or_else(|| {
        let number = number.as_f64().filter(|it| it.fract() == 0.0 && *it >= 0.0);
        // Without its sign, point and zero it is one that the text form of integers has.
        number.and_then(|it| format!("{:.0}", it.abs()).parse().ok())
    });
    let whole = whole.filter(|whole| *whole <= WHOLE_MAX);
    let words = format!("not a whole number from 0 to {WHOLE_MAX}");
    whole.map(Some).ok_or(serde::de::Error::custom(words))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedHeader {
    name: String,
    value: String,
}

pub(super) async fn explain(
    State(observed): State<Arc<Observed>>,
    Extension(access): Extension<Arc<Access>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    // Whoever may ask can try tokens without any trace of it in the access log.
    if let Err(denied) = access.check_question(&headers).await {
        return deny(denied);
    }
    if !is_json(&headers) {
        let detail = "send `content-type: application/json`";
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return problem(status, "media_type_unsupported", detail, &json!({}));
    }
    let question = serde_json::from_slice::<Asked>(&body).map_err(|error| error.to_string());
    let question = match question.and_then(Asked::into_question) {
        Ok(question) => question,
        Err(detail) => {
            return problem(
                StatusCode::BAD_REQUEST,
                "question_invalid",
                &detail,
                &json!({}),
            );
        }
    };
    let at = Instant::now();
    let moment = Moment {
        civil: observed.clock.to_unix_seconds(at),
        millis: observed.clock.to_ms(at),
    };
    let explanation = proxy::explain(&observed.live.load(), &question, moment);
    now(json!(explanation))
}

impl Asked {
    /// Values are not repeated in what is wrong with them: they may be credentials.
    fn into_question(self) -> Result<Question, String> {
        if self.headers.len() > HEADERS_MAX {
            return Err(format!("more than {HEADERS_MAX} headers"));
        }
        let mut request = Request::new(());
        let method = Method::from_bytes(self.method.as_bytes());
        *request.method_mut() = method.map_err(|_| "`method` is not a method")?;
        if self.target.len() > TARGET_BYTES_MAX {
            return Err(format!("`target` is longer than {TARGET_BYTES_MAX} bytes"));
        }
        let target: Uri = self
            .target
            .parse()
            .map_err(|_| "`target` is not a path or URL")?;
        if target.path_and_query().is_none() {
            return Err("`target` has no path".into());
        }
        let named = target.authority().map_or("localhost", Authority::as_str);
        let host = HeaderValue::from_str(named).map_err(|_| "`target` names no host")?;
        *request.uri_mut() = target;
        for (index, header) in self.headers.into_iter().enumerate() {
            let name = HeaderName::from_bytes(header.name.as_bytes());
            let name = name.map_err(|_| format!("`headers[{index}].name` is not a header name"))?;
            let value = HeaderValue::from_str(&header.value);
            let value = value.map_err(|_| format!("`headers[{index}].value` fits no header"))?;
            request.headers_mut().append(name, value);
        }
        if !request.headers().contains_key(HOST) {
            // As clients do (RFC 9112 section 3.2).
            request.headers_mut().insert(HOST, host);
        }
        let parts: http::request::Parts = request.into_parts().0;
        Ok(Question {
            parts,
            body_bytes: self.body_bytes,
            peer: self.peer.unwrap_or(Ipv4Addr::LOCALHOST.into()),
        })
    }
}

//! One document of a provider over HTTP, and for how long it says that it holds.

use std::time::Duration;

use gateway_core::auth::max_age::max_age;
use gateway_core::words::time::Millis;
use reqwest::header::{AGE, CACHE_CONTROL};

use super::DOCUMENT_BYTES_MAX;
use crate::fetch::{FetchError, Fetched, Fetcher, Get};

/// Time for one fetch: name, connection, TLS, redirects and the whole answer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// A provider's way to its documents.
#[derive(Clone, Debug)]
pub(super) struct Way {
    pub(super) fetcher: Fetcher,
    /// Whether plain http will do where it is not loopback.
    pub(super) is_http_allowed: bool,
}

/// A document, and for how long it says that it holds.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) document: Vec<u8>,
    pub(super) max_age: Option<Millis>,
}

impl Way {
    pub(super) async fn get(&self, url: &str) -> Result<Answer, FetchError> {
        let get = Get {
            url,
            is_http_allowed: self.is_http_allowed,
            accept: "application/jwk-set+json, application/json",
            etag: None,
            bytes_max: DOCUMENT_BYTES_MAX,
            timeout: FETCH_TIMEOUT,
        };
        let fetched = self.fetcher.get(get).await?;
        let headers = fetched.headers();
        let cache_control = headers.get_all(CACHE_CONTROL).iter();
        let age = headers.get(AGE).and_then(|age| age.to_str().ok());
        let max_age = max_age(cache_control.filter_map(|value| value.to_str().ok()), age);
        let document = match fetched {
            Fetched::Document { body, .. } => body,
            Fetched::NotModified { .. } => unreachable!("no `ETag` was sent"),
        };
        Ok(Answer { document, max_age })
    }
}

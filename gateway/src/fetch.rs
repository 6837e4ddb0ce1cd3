//! One bounded GET of a document that the gateway works by: keys, deny lists.
//!
//! - **Where from.** https, or plain http on loopback or where the routes file allows it.
//!   A redirect is followed on the same host only, and never from https to http.
//! - **How much, how long.** The body and the whole exchange are bounded.
//! - **Again.** With the `ETag` of an earlier answer, "not modified" costs no body (RFC 9110
//!   section 13.1.2).

use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{ACCEPT, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{StatusCode, Url};

use crate::cause::chain;

/// Redirects that are followed.
const REDIRECTS_MAX: usize = 3;
/// Time to open a connection, within the time of the whole exchange.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Fetches documents; cheap to clone, its clones share their connections.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    /// Two clients, because a redirect is judged by the client: with and without plain http.
    secure: reqwest::Client,
    open: reqwest::Client,
}

/// What to fetch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Get<'a> {
    pub(crate) url: &'a str,
    /// Whether plain http will do where it is not loopback.
    pub(crate) is_http_allowed: bool,
    /// What the answer may be, for `Accept`.
    pub(crate) accept: &'static str,
    /// The `ETag` of the answer at hand.
    pub(crate) etag: Option<&'a HeaderValue>,
    /// Bytes of the body.
    pub(crate) bytes_max: usize,
    /// Time for the whole exchange, redirects and body included.
    pub(crate) timeout: Duration,
}

/// An answer that can be used.
#[derive(Debug)]
pub(crate) enum Fetched {
    /// 304: what was fetched with this `ETag` is current.
    NotModified { headers: HeaderMap },
    /// 200.
    Document { headers: HeaderMap, body: Vec<u8> },
}

impl Fetched {
    /// The head of the answer, for its `ETag` and `Cache-Control`.
    pub(crate) fn headers(&self) -> &HeaderMap {
        let (Self::NotModified { headers } | Self::Document { headers, .. }) = self;
        headers
    }

    /// The answer's `ETag`, for the next time.
    pub(crate) fn etag(&self) -> Option<&HeaderValue> {
        self.headers().get(ETAG)
    }
}

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("`{0}` is not an http or https URL")]
    NotUrl(String),
    #[error("`{0}` is plain http to another machine; use https, or allow it in the routes file")]
    PlainHttp(Shown),
    #[error("cannot fetch `{url}`: {}", chain(.source))]
    Transport { url: Shown, source: reqwest::Error },
    #[error("`{url}` did not answer within {timeout:?}")]
    Timeout { url: Shown, timeout: Duration },
    #[error("`{url}` answered with status {status}")]
    Status { url: Shown, status: StatusCode },
    #[error("`{url}` sent more than {bytes_max} bytes")]
    TooLarge { url: Shown, bytes_max: usize },
}

/// A URL as logs show it: neither its user nor its query, which may hold a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown(String);

impl Shown {
    fn of(url: &Url) -> Self {
        let origin = url.origin().ascii_serialization();
        Self(format!("{origin}{}", url.path()))
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Fetcher {
    /// Prepares the clients.
    ///
    /// # Errors
    /// When the system's certificates cannot be used.
    pub(crate) fn new() -> Result<Self, reqwest::Error> {
        let client = |policy| {
            reqwest::Client::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .redirect(policy)
                .user_agent(concat!("gateway/", env!("CARGO_PKG_VERSION")))
                .build()
        };
        Ok(Self {
            secure: client(Policy::custom(|attempt| redirect(attempt, false)))?,
            open: client(Policy::custom(|attempt| redirect(attempt, true)))?,
        })
    }

    /// Fetches a document once.
    ///
    /// # Errors
    /// Any [`FetchError`]; nothing of the answer's body is in it.
    pub(crate) async fn get(&self, get: Get<'_>) -> Result<Fetched, FetchError> {
        let url: Url = get
            .url
            .parse()
            .ok()
            .filter(|url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| FetchError::NotUrl(get.url.to_owned()))?;
        let shown = Shown::of(&url);
        if !is_allowed(&url, get.is_http_allowed) {
            return Err(FetchError::PlainHttp(shown));
        }
        let exchange = self.exchange(get, url, &shown);
        match tokio::time::timeout(get.timeout, exchange).await {
            Ok(fetched) => fetched,
            Err(_) => Err(FetchError::Timeout {
                url: shown,
                timeout: get.timeout,
            }),
        }
    }

    async fn exchange(&self, get: Get<'_>, url: Url, shown: &Shown) -> Result<Fetched, FetchError> {
        let failed = |source: reqwest::Error| FetchError::Transport {
            url: shown.clone(),
            source: source.without_url(),
        };
        let client = if get.is_http_allowed {
            &self.open
        } else {
            &self.secure
        };
        let mut request = client.get(url).header(ACCEPT, get.accept);
        if let Some(etag) = get.etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let mut response = request.send().await.map_err(failed)?;
        let headers = std::mem::take(response.headers_mut());
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED if get.etag.is_some() => {
                return Ok(Fetched::NotModified { headers });
            }
            status => {
                let url = shown.clone();
                return Err(FetchError::Status { url, status });
            }
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > get.bytes_max {
                return Err(FetchError::TooLarge {
                    url: shown.clone(),
                    bytes_max: get.bytes_max,
                });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Fetched::Document { headers, body })
    }
}

/// Whether a document may come from here: nobody can change it on the way.
fn is_allowed(url: &Url, is_http_allowed: bool) -> bool {
    url.scheme() == "https" || is_http_allowed || is_loopback(url)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn redirect(attempt: Attempt<'_>, is_http_allowed: bool) -> reqwest::redirect::Action {
    let previous = attempt.previous();
    let (Some(first), Some(last)) = (previous.first(), previous.last()) else {
        return attempt.follow();
    };
    let next = attempt.url();
    let is_same_origin = first.origin() == next.origin();
    let is_upgrade = last.scheme() == "http" && next.scheme() == "https";
    let refusal = if previous.len() > REDIRECTS_MAX {
        "it redirects too often"
    } else if first.host_str() != next.host_str() {
        "it redirects to another host"
    } else if !(is_same_origin || is_upgrade) || !is_allowed(next, is_http_allowed) {
        "it redirects to another port or from https to http"
    } else {
        return attempt.follow();
    };
    attempt.error(Refused(refusal))
}

/// Why a redirect is not followed.
#[derive(Debug)]
struct Refused(&'static str);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Error for Refused {}

#[cfg(test)]
mod tests;

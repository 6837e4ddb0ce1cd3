//! One bounded GET of a document that the gateway works by: keys, deny lists.
//!
//! - **Where from.** https, or plain http on loopback or where the routes file allows it.
//!   A redirect is followed to the same scheme, host and port only.
//! - **How much, how long.** The body and the whole exchange are bounded.
//! - **Again.** With the `ETag` of an earlier answer, "not modified" costs no body (RFC 9110
//!   section 13.1.2).

use std::fmt;
use std::time::Duration;

use gateway_core::file::is_private_way;
use reqwest::header::{ACCEPT, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{StatusCode, Url};

use crate::cause::chain;

/// Redirects that are followed.
const REDIRECTS_MAX: usize = 3;
/// Time to open a connection, within the time of the whole exchange.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Fetches documents; cheap to clone, its clones share their connections.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    /// Takes the proxy of `HTTPS_PROXY`, which sees nothing of what passes.
    https: reqwest::Client,
    /// Takes none: a proxy would carry away what is not to leave the machine, and could change it.
    http: reqwest::Client,
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
        let client = || {
            reqwest::Client::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .redirect(Policy::custom(follow))
                .referer(false)
                // Long times lie between two fetches: a kept connection would be a broken one.
                .pool_max_idle_per_host(0)
                .user_agent(concat!("gateway/", env!("CARGO_PKG_VERSION")))
        };
        Ok(Self {
            https: client().https_only(true).build()?,
            http: client().no_proxy().build()?,
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
        let is_private = is_private_way(url.scheme(), url.host_str().unwrap_or_default());
        if !is_private && !get.is_http_allowed {
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
        let client = match url.scheme() {
            "https" => &self.https,
            _ => &self.http,
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

fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let (previous, next) = (attempt.previous(), attempt.url());
    if previous.iter().any(|url| url.origin() != next.origin()) {
        let elsewhere = Shown::of(next);
        attempt.error(RedirectRefused::Elsewhere(elsewhere))
    } else if previous.len() > REDIRECTS_MAX {
        attempt.error(RedirectRefused::TooMany)
    } else {
        attempt.follow()
    }
}

/// Why a redirect is not followed: a document comes from where the file says, or not at all.
#[derive(Debug, thiserror::Error)]
enum RedirectRefused {
    #[error(
        "it redirects to `{0}`, which is another scheme, host or port; write that URL if it is \
         the right one"
    )]
    Elsewhere(Shown),
    #[error("it redirects more than {REDIRECTS_MAX} times")]
    TooMany,
}

#[cfg(test)]
mod tests;

//! One document over HTTP, bounded in time, size and places.

use std::time::Duration;

use gateway_core::auth::max_age::max_age;
use gateway_core::words::time::Millis;
use reqwest::Url;
use reqwest::header::{AGE, CACHE_CONTROL};
use reqwest::redirect::{Attempt, Policy};

use super::DOCUMENT_BYTES_MAX;
use super::error::KeyError;

/// Time for one fetch: name, connection, TLS, redirects and the whole answer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Redirects followed; all within one scheme, host and port.
const REDIRECTS_MAX: usize = 3;

/// A redirect that is not followed: keys come from where the file says, or not at all.
#[derive(Debug, thiserror::Error)]
enum RedirectRefused {
    #[error("it redirects to `{0}`, and keys come from their own scheme, host and port alone")]
    Elsewhere(String),
    #[error("it redirects more than {REDIRECTS_MAX} times")]
    TooMany,
}

/// Fetches documents for all providers.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    /// Takes the proxy of `HTTPS_PROXY`, which sees nothing of what passes.
    https: reqwest::Client,
    /// Takes none: a proxy would carry away what is not to leave the machine, and could change it.
    http: reqwest::Client,
}

/// A document, and for how long it says that it holds.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) document: Vec<u8>,
    pub(super) max_age: Option<Millis>,
}

impl Fetcher {
    pub(crate) fn new() -> Result<Self, reqwest::Error> {
        let client = || {
            reqwest::Client::builder()
                .timeout(FETCH_TIMEOUT)
                .connect_timeout(CONNECT_TIMEOUT)
                .redirect(Policy::custom(follow))
                .referer(false)
                // Minutes lie between two fetches: a kept connection would be a broken one.
                .pool_max_idle_per_host(0)
                .user_agent(concat!("gateway/", env!("CARGO_PKG_VERSION")))
        };
        Ok(Self {
            https: client().https_only(true).build()?,
            http: client().no_proxy().build()?,
        })
    }

    pub(super) async fn get(&self, url: &str) -> Result<Fetched, KeyError> {
        let failed = |source: reqwest::Error| KeyError::Fetch {
            url: url.into(),
            source: source.without_url(),
        };
        let is_https = Url::parse(url).is_ok_and(|url| url.scheme() == "https");
        let client = if is_https { &self.https } else { &self.http };
        let mut response = client.get(url).send().await.map_err(failed)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(KeyError::Status {
                url: url.into(),
                status: response.status().as_u16(),
            });
        }
        let headers = response.headers();
        let cache_control = headers.get_all(CACHE_CONTROL).iter();
        let age = headers.get(AGE).and_then(|age| age.to_str().ok());
        let max_age = max_age(cache_control.filter_map(|value| value.to_str().ok()), age);
        let mut document = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if document.len() + chunk.len() > DOCUMENT_BYTES_MAX {
                return Err(KeyError::TooLarge { place: url.into() });
            }
            document.extend_from_slice(&chunk);
        }
        Ok(Fetched { document, max_age })
    }
}

fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let first = &attempt.previous()[0];
    if attempt.url().origin() != first.origin() {
        let mut elsewhere = attempt.url().clone();
        // What it would have been asked may be a secret.
        elsewhere.set_query(None);
        return attempt.error(RedirectRefused::Elsewhere(elsewhere.into()));
    }
    if attempt.previous().len() > REDIRECTS_MAX {
        return attempt.error(RedirectRefused::TooMany);
    }
    attempt.follow()
}

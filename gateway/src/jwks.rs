//! The keys of token providers: read in the background, never on the request path.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use gateway_core::auth::keys::{KeyRing, KeyRingError};
use gateway_core::auth::trust::Trust;
use gateway_core::file::{KeyPlace, KeySource};

use crate::cause::chain;
use crate::clock::Clock;
use crate::lifecycle::Lifecycle;

/// Time for one fetch, connecting included.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a key set; real ones have a few thousand.
const DOCUMENT_BYTES_MAX: usize = 512 * 1024;
/// The first pause after a failure; each further one doubles it.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// No pause after a failure is longer.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Refreshes are spread by this share of the interval, so that a fleet does not fetch as one.
const JITTER: f64 = 0.1;

/// Why keys could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error("cannot read `{path}`: {source}")]
    File {
        path: String,
        source: std::io::Error,
    },
    #[error("cannot fetch `{url}`: {}", chain(.source))]
    Fetch { url: String, source: reqwest::Error },
    #[error("`{url}` answered with status {status}")]
    Status { url: String, status: u16 },
    #[error("`{place}` is larger than {DOCUMENT_BYTES_MAX} bytes")]
    TooLarge { place: String },
    #[error("`{place}`: {source}")]
    Keys { place: String, source: KeyRingError },
}

/// What is counted of one provider.
#[derive(Debug, Default)]
pub(crate) struct KeyStats {
    pub(crate) successes: AtomicU64,
    pub(crate) failures: AtomicU64,
    last_success_unix_seconds: AtomicU64,
}

impl KeyStats {
    /// When the keys were last read, in seconds since 1970; `None` if never.
    pub(crate) fn last_success(&self) -> Option<u64> {
        match self.last_success_unix_seconds.load(Ordering::Relaxed) {
            0 => None,
            seconds => Some(seconds),
        }
    }
}

/// Keeps one provider's keys current.
pub(crate) struct KeyWatch {
    provider: Box<str>,
    source: KeySource,
    trust: Arc<ArcSwap<Trust>>,
    stats: Arc<KeyStats>,
    clock: Clock,
    http: reqwest::Client,
}

/// A client that follows no redirect: keys come from where the file says, or not at all.
pub(crate) fn http_client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .timeout(FETCH_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("gateway/", env!("CARGO_PKG_VERSION")))
        .build()
}

impl KeyWatch {
    pub(crate) fn new(
        provider: &str,
        source: KeySource,
        trust: Arc<ArcSwap<Trust>>,
        clock: Clock,
        http: reqwest::Client,
    ) -> Self {
        Self {
            provider: provider.into(),
            source,
            trust,
            stats: Arc::default(),
            clock,
            http,
        }
    }

    pub(crate) fn stats(&self) -> Arc<KeyStats> {
        Arc::clone(&self.stats)
    }

    /// Reads a key file once, so that a wrong path ends the start with an error.
    pub(crate) fn read_file_now(&self) -> Result<(), KeyError> {
        match &self.source.place {
            KeyPlace::File(path) => self.install(&read_file(path)?, path),
            KeyPlace::Url(_) => Ok(()),
        }
    }

    /// Refreshes until the runtime ends. Failures keep the keys that are there.
    pub(crate) async fn run(self, lifecycle: Arc<Lifecycle>) {
        let mut failures = 0;
        loop {
            let pause = match self.refresh().await {
                Ok(()) => {
                    if failures > 0 {
                        tracing::info!(provider = %self.provider, failures, "keys are read again");
                    }
                    failures = 0;
                    lifecycle.arrived(&waiting_name(&self.provider));
                    self.source.refresh_interval
                }
                Err(error) => {
                    self.stats.failures.fetch_add(1, Ordering::Relaxed);
                    if failures == 0 {
                        tracing::warn!(provider = %self.provider, %error, "keys cannot be read; those at hand stay");
                    }
                    let backoff = (BACKOFF_MIN * (1 << failures.min(10))).min(BACKOFF_MAX);
                    failures += 1;
                    backoff
                }
            };
            let jitter = 1.0 + JITTER * (2.0 * fastrand::f64() - 1.0);
            tokio::time::sleep(pause.mul_f64(jitter)).await;
        }
    }

    async fn refresh(&self) -> Result<(), KeyError> {
        match &self.source.place {
            KeyPlace::File(path) => {
                let path = path.clone();
                // A network file system may take its time; this thread has other things to do.
                let read = tokio::task::spawn_blocking(move || {
                    read_file(&path).map(|document| (document, path))
                });
                let (document, path) = read.await.expect("reading a file does not panic")?;
                self.install(&document, &path)
            }
            KeyPlace::Url(url) => {
                let document = self.fetch(url).await?;
                self.install(&document, url)
            }
        }
    }

    async fn fetch(&self, url: &str) -> Result<Vec<u8>, KeyError> {
        let failed = |source: reqwest::Error| KeyError::Fetch {
            url: url.into(),
            source: source.without_url(),
        };
        let mut response = self.http.get(url).send().await.map_err(failed)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(KeyError::Status {
                url: url.into(),
                status: response.status().as_u16(),
            });
        }
        let mut document = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if document.len() + chunk.len() > DOCUMENT_BYTES_MAX {
                return Err(KeyError::TooLarge { place: url.into() });
            }
            document.extend_from_slice(&chunk);
        }
        Ok(document)
    }

    fn install(&self, document: &[u8], place: &str) -> Result<(), KeyError> {
        let ring = KeyRing::from_jwk_set(document).map_err(|source| KeyError::Keys {
            place: place.into(),
            source,
        })?;
        let previous = self.trust.load_full();
        let next = previous.with_keys(ring);
        self.stats.successes.fetch_add(1, Ordering::Relaxed);
        let now = self.clock.to_unix_seconds(std::time::Instant::now());
        self.stats
            .last_success_unix_seconds
            .store(now, Ordering::Relaxed);
        if next.generation() != previous.generation() {
            let ring = next.keys();
            let ids: Vec<_> = ring
                .keys()
                .iter()
                .filter_map(|key| key.id.as_deref())
                .collect();
            tracing::info!(
                provider = %self.provider,
                keys = ring.keys().len(),
                ids = ids.join(","),
                ignored = ring.ignored.join("; "),
                "keys installed"
            );
            self.trust.store(Arc::new(next));
        }
        Ok(())
    }
}

/// What readiness calls a provider that has no keys yet.
pub(crate) fn waiting_name(provider: &str) -> String {
    format!("keys of jwt provider `{provider}`")
}

fn read_file(path: &str) -> Result<Vec<u8>, KeyError> {
    let failed = |source| KeyError::File {
        path: path.into(),
        source,
    };
    let length = Path::new(path).metadata().map_err(failed)?.len();
    if length > DOCUMENT_BYTES_MAX as u64 {
        return Err(KeyError::TooLarge { place: path.into() });
    }
    std::fs::read(path).map_err(failed)
}

#[cfg(test)]
mod tests;

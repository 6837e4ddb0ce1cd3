//! Documents that change while the gateway runs: files of API keys and of endpoints, deny lists.
//!
//! A file is looked at every two seconds; when it is another one, it is read until two readings
//! agree, because a writer may be half-way through. A URL is fetched at its interval. What cannot
//! be read or parsed changes nothing: the last good document stays, and log and metrics say so.

mod source;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gateway_core::auth::api_keys::{self, ApiKeys};
use gateway_core::auth::revocation::{self, Revocations};
use gateway_core::config::{Problems, Source};
use gateway_core::file::{DocumentSource, ENDPOINT_FILE_BYTES_MAX, EndpointFile};

use crate::clock::Clock;
use crate::fetch::{FetchError, Fetcher};
use crate::files::{FILE_INTERVAL, FileError};
use crate::lifecycle::Lifecycle;
use source::{Place, Reading};

/// The first pause after a failed fetch; each further one doubles it.
const BACKOFF_MIN: Duration = Duration::from_secs(1);
/// No pause after a failed fetch is longer, unless the interval is.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Fetches are spread by this share of the interval, so that a fleet does not fetch as one.
const JITTER: f64 = 0.1;
/// Problems of one document that the log names.
const PROBLEMS_TOLD_MAX: usize = 5;

/// What a document is parsed into: an immutable snapshot.
pub(crate) trait Snapshot: Send + Sized + 'static {
    /// What metrics and the log call such a document.
    const KIND: &'static str;
    /// Bytes of one document.
    const BYTES_MAX: usize;

    fn parse(source: Source<'_>) -> Result<Self, Problems>;
    fn entries(&self) -> usize;
}

impl Snapshot for ApiKeys {
    const KIND: &'static str = "api_keys";
    const BYTES_MAX: usize = api_keys::FILE_BYTES_MAX;

    fn parse(source: Source<'_>) -> Result<Self, Problems> {
        Self::parse(source)
    }

    fn entries(&self) -> usize {
        self.len()
    }
}

impl Snapshot for Revocations {
    const KIND: &'static str = "revocations";
    const BYTES_MAX: usize = revocation::LIST_BYTES_MAX;

    fn parse(source: Source<'_>) -> Result<Self, Problems> {
        Self::parse(source)
    }

    fn entries(&self) -> usize {
        self.len()
    }
}

impl Snapshot for EndpointFile {
    const KIND: &'static str = "endpoints";
    const BYTES_MAX: usize = ENDPOINT_FILE_BYTES_MAX;

    fn parse(source: Source<'_>) -> Result<Self, Problems> {
        Self::parse(source)
    }

    fn entries(&self) -> usize {
        self.instances.len()
    }
}

/// Why a document could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DocumentError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("`{place}` is not UTF-8 text")]
    NotText { place: String },
    #[error("`{place}`: {problems}")]
    Problems { place: String, problems: String },
}

/// What is counted of one document.
#[derive(Debug)]
pub(crate) struct DocumentStats {
    /// `api_keys`, `revocations` or `endpoints`.
    pub(crate) kind: &'static str,
    /// The name that the routes file gives it.
    pub(crate) name: Box<str>,
    /// Readings that brought something new.
    pub(crate) changed: AtomicU64,
    /// Looks and fetches that found the document at hand.
    pub(crate) unchanged: AtomicU64,
    /// Those that failed, or brought what cannot be used.
    pub(crate) failed: AtomicU64,
    /// Entries of the document at hand.
    pub(crate) entries: AtomicU64,
    confirmed_unix_seconds: AtomicU64,
}

impl DocumentStats {
    /// The labels of its metrics.
    pub(crate) fn labels(&self) -> [(&str, &str); 2] {
        [("document", self.kind), ("name", &self.name)]
    }

    /// What readiness calls it as long as it is not there.
    pub(crate) fn waiting_name(&self) -> String {
        format!("{} `{}`", self.kind, self.name)
    }

    /// When the document at hand was last seen to be the current one, in seconds since 1970;
    /// `None` if there never was one.
    pub(crate) fn confirmed(&self) -> Option<u64> {
        match self.confirmed_unix_seconds.load(Ordering::Relaxed) {
            0 => None,
            seconds => Some(seconds),
        }
    }
}

/// Keeps one document current.
pub(crate) struct DocumentWatch {
    place: Place,
    parse: Parse,
    stats: Arc<DocumentStats>,
    clock: Clock,
    interval: Duration,
    is_read: bool,
    /// What was read of a file and is not installed yet.
    first: Option<Parsed>,
}

/// What a reading without an error means.
enum Outcome {
    /// The document at hand is the current one.
    Current,
    /// What could not be used is there still: nothing new to tell.
    StillRefused,
}

/// Makes a snapshot of a document's text; anywhere, for it may take long.
type Parse = Arc<dyn Fn(Source<'_>) -> Result<Parsed, Problems> + Send + Sync>;

/// A snapshot that waits to be swapped in, by whoever else swaps what it is part of.
struct Parsed {
    entries: usize,
    install: Box<dyn FnOnce() + Send>,
}

impl DocumentWatch {
    /// Watches `source`; `install` swaps in each snapshot, on the thread on which [`run`] runs.
    ///
    /// [`run`]: Self::run
    pub(crate) fn new<S: Snapshot>(
        name: &str,
        source: &DocumentSource,
        install: impl Fn(S) + Send + Sync + 'static,
        fetcher: &Fetcher,
        clock: Clock,
    ) -> Self {
        let install = Arc::new(install);
        let parse = move |source: Source<'_>| {
            let (snapshot, install) = (S::parse(source)?, Arc::clone(&install));
            Ok(Parsed {
                entries: snapshot.entries(),
                install: Box::new(move || install(snapshot)),
            })
        };
        let interval = match source {
            DocumentSource::File(_) => FILE_INTERVAL,
            DocumentSource::Url {
                refresh_interval, ..
            } => *refresh_interval,
        };
        Self {
            place: Place::new(source, fetcher, S::BYTES_MAX),
            parse: Arc::new(parse),
            stats: Arc::new(DocumentStats {
                kind: S::KIND,
                name: name.into(),
                changed: AtomicU64::default(),
                unchanged: AtomicU64::default(),
                failed: AtomicU64::default(),
                entries: AtomicU64::default(),
                confirmed_unix_seconds: AtomicU64::default(),
            }),
            clock,
            interval,
            is_read: false,
            first: None,
        }
    }

    pub(crate) fn stats(&self) -> Arc<DocumentStats> {
        Arc::clone(&self.stats)
    }

    /// What readiness waits for: a URL that has not been read yet. A file was read at the start.
    pub(crate) fn waiting_name(&self) -> Option<String> {
        (!self.is_read).then(|| self.stats.waiting_name())
    }

    /// Reads a file once, so that a wrong path or a broken file ends the start, or the reload,
    /// with an error. It is installed by [`install_file`](Self::install_file).
    pub(crate) fn read_file_now(&mut self) -> Result<(), DocumentError> {
        if let Some(text) = self.place.read_file_now()? {
            self.first = Some(parse(&self.parse, self.place.shown(), &text)?);
        }
        Ok(())
    }

    /// Swaps in the file that was read.
    pub(crate) fn install_file(&mut self) {
        if let Some(parsed) = self.first.take() {
            self.install(parsed);
        }
    }

    /// Reads again and again until the runtime ends. Failures keep the document at hand.
    pub(crate) async fn run(mut self, lifecycle: Arc<Lifecycle>) {
        let waiting = self.waiting_name();
        if self.is_read {
            tokio::time::sleep(self.interval).await;
        }
        let mut failures = 0;
        loop {
            let outcome = self.refresh().await;
            let DocumentStats { kind, name, .. } = &*self.stats;
            let pause = match outcome {
                Ok(Outcome::StillRefused) => self.interval,
                Ok(Outcome::Current) => {
                    if failures > 0 {
                        tracing::info!(document = kind, %name, failures, "the document is read again");
                    }
                    failures = 0;
                    if let Some(waiting) = &waiting {
                        lifecycle.arrived(waiting);
                    }
                    self.interval
                }
                Err(error) => {
                    self.stats.failed.fetch_add(1, Ordering::Relaxed);
                    // Said once when a run begins: an hour of failures is not 1,800 warnings.
                    if failures == 0 {
                        tracing::warn!(document = kind, %name, %error, "the document cannot be read; the last good one stays");
                    }
                    failures += 1;
                    self.place.pause_after_failure(self.interval, failures)
                }
            };
            let jitter = 1.0 + JITTER * (2.0 * fastrand::f64() - 1.0);
            tokio::time::sleep(pause.mul_f64(jitter)).await;
        }
    }

    async fn refresh(&mut self) -> Result<Outcome, DocumentError> {
        let text = match self.place.read().await? {
            Reading::Unchanged => {
                self.stats.unchanged.fetch_add(1, Ordering::Relaxed);
                self.confirm();
                return Ok(Outcome::Current);
            }
            Reading::Refused => return Ok(Outcome::StillRefused),
            Reading::Text(text) => text,
        };
        let (parser, shown) = (Arc::clone(&self.parse), self.place.shown().to_owned());
        // A document of 16 MiB takes a second, and this thread has other things to do.
        let parsed = tokio::task::spawn_blocking(move || parse(&parser, &shown, &text)).await;
        self.install(parsed.expect("parsing does not panic")?);
        Ok(Outcome::Current)
    }

    fn install(&mut self, parsed: Parsed) {
        let (stats, entries) = (&self.stats, parsed.entries);
        (parsed.install)();
        self.is_read = true;
        self.place.accept();
        stats.changed.fetch_add(1, Ordering::Relaxed);
        stats.entries.store(entries as u64, Ordering::Relaxed);
        tracing::info!(document = stats.kind, name = %stats.name, entries, "document installed");
        self.confirm();
    }

    fn confirm(&self) {
        let now = self.clock.to_unix_seconds(Instant::now());
        self.stats
            .confirmed_unix_seconds
            .store(now, Ordering::Relaxed);
    }
}

fn parse(parse: &Parse, place: &str, bytes: &[u8]) -> Result<Parsed, DocumentError> {
    let text = std::str::from_utf8(bytes).map_err(|_| DocumentError::NotText {
        place: place.into(),
    })?;
    let name = place;
    parse(Source { name, text }).map_err(|problems| DocumentError::Problems {
        place: place.into(),
        problems: problems.brief(PROBLEMS_TOLD_MAX),
    })
}

#[cfg(test)]
mod tests;

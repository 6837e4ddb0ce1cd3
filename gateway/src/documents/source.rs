//! Where a document is, and what was last seen there.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use gateway_core::file::DocumentSource;
use reqwest::header::HeaderValue;

use super::{BACKOFF_MAX, BACKOFF_MIN, DocumentError};
use crate::fetch::{Fetched, Fetcher, Get};
use crate::files::{FileError, Fingerprint, SETTLE_TIME, look, read_file, read_settled};

/// Time for one fetch, redirects and body included.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// What a list may be sent as.
const ACCEPT: &str = "application/json, application/yaml;q=0.9, */*;q=0.1";
/// Doublings of the pause after a failure.
const DOUBLINGS_MAX: u32 = 10;

/// What a look at the place brought.
pub(super) enum Reading {
    /// The document at hand is the current one.
    Unchanged,
    /// What was refused before is there still.
    Refused,
    /// Something else.
    Text(Vec<u8>),
}

pub(super) struct Place {
    kind: Kind,
    bytes_max: usize,
    pub(super) settle_time: Duration,
    /// The document that was last read.
    seen: Option<Seen>,
}

enum Kind {
    File(String),
    Url {
        url: String,
        is_http_allowed: bool,
        fetcher: Fetcher,
    },
}

struct Seen {
    digest: [u8; SHA256_OUTPUT_LEN],
    /// Whether it could be used.
    is_accepted: bool,
    mark: Mark,
}

/// By what the place itself says whether a document is the same; `None` where it does not.
enum Mark {
    File(Option<Fingerprint>),
    Url(Option<HeaderValue>),
}

impl Place {
    pub(super) fn new(source: &DocumentSource, fetcher: &Fetcher, bytes_max: usize) -> Self {
        let kind = match source {
            DocumentSource::File(path) => Kind::File(path.clone()),
            DocumentSource::Url {
                url,
                is_http_allowed,
                ..
            } => Kind::Url {
                url: url.clone(),
                is_http_allowed: *is_http_allowed,
                fetcher: fetcher.clone(),
            },
        };
        Self {
            kind,
            bytes_max,
            settle_time: SETTLE_TIME,
            seen: None,
        }
    }

    /// What messages about the document's content call it.
    pub(super) fn shown(&self) -> &str {
        match &self.kind {
            Kind::File(path) => path,
            Kind::Url { .. } => "the list that was fetched",
        }
    }

    /// The document that was read last can be used.
    pub(super) fn accept(&mut self) {
        if let Some(seen) = &mut self.seen {
            seen.is_accepted = true;
        }
    }

    /// The content of a file, without waiting whether it changes; `None` for a URL.
    pub(super) fn read_file_now(&mut self) -> Result<Option<Vec<u8>>, DocumentError> {
        let Kind::File(path) = &self.kind else {
            return Ok(None);
        };
        let (content, _) = read_file(path, self.bytes_max)?;
        // Without a fingerprint, for a writer may be half-way through: the next look reads again.
        self.see(&content, Mark::File(None));
        Ok(Some(content))
    }

    /// Looks at the place.
    pub(super) async fn read(&mut self) -> Result<Reading, DocumentError> {
        match &self.kind {
            Kind::File(path) => {
                let path = path.clone();
                self.look_at_file(path).await
            }
            Kind::Url {
                url,
                is_http_allowed,
                fetcher,
            } => {
                let etag = match &self.seen {
                    Some(Seen {
                        mark: Mark::Url(etag),
                        ..
                    }) => etag.as_ref(),
                    _ => None,
                };
                let fetched = fetcher
                    .get(Get {
                        url,
                        is_http_allowed: *is_http_allowed,
                        accept: ACCEPT,
                        etag,
                        bytes_max: self.bytes_max,
                        timeout: FETCH_TIMEOUT,
                    })
                    .await?;
                let etag = fetched.etag().cloned();
                Ok(match fetched {
                    Fetched::NotModified { .. } => self.same(),
                    Fetched::Document { body, .. } => self.compare(body, Mark::Url(etag)),
                })
            }
        }
    }

    async fn look_at_file(&mut self, path: String) -> Result<Reading, DocumentError> {
        let known = match &self.seen {
            Some(Seen {
                mark: Mark::File(fingerprint),
                ..
            }) => *fingerprint,
            _ => None,
        };
        let (bytes_max, settle_time) = (self.bytes_max, self.settle_time);
        // A network file system may take its time; this thread has other things to do.
        let read = tokio::task::spawn_blocking(move || {
            if known.is_some_and(|known| look(&path).is_ok_and(|now| now == known)) {
                return Ok::<_, FileError>(None);
            }
            read_settled(&path, bytes_max, settle_time).map(Some)
        });
        Ok(match read.await.expect("reading a file does not panic")? {
            None => self.same(),
            Some((content, fingerprint)) => self.compare(content, Mark::File(Some(fingerprint))),
        })
    }

    /// How long to leave the place alone after so many failures in a row.
    pub(super) fn pause_after_failure(&self, interval: Duration, failures: u32) -> Duration {
        match self.kind {
            Kind::File(_) => interval,
            Kind::Url { .. } => {
                let doublings = failures.saturating_sub(1).min(DOUBLINGS_MAX);
                (BACKOFF_MIN * (1 << doublings)).min(BACKOFF_MAX)
            }
        }
    }

    fn same(&self) -> Reading {
        match &self.seen {
            Some(seen) if !seen.is_accepted => Reading::Refused,
            _ => Reading::Unchanged,
        }
    }

    fn compare(&mut self, content: Vec<u8>, mark: Mark) -> Reading {
        if let Some(seen) = &mut self.seen
            && seen.digest == digest_of(&content)
        {
            seen.mark = mark;
            return self.same();
        }
        self.see(&content, mark);
        Reading::Text(content)
    }

    fn see(&mut self, content: &[u8], mark: Mark) {
        self.seen = Some(Seen {
            digest: digest_of(content),
            is_accepted: false,
            mark,
        });
    }
}

fn digest_of(content: &[u8]) -> [u8; SHA256_OUTPUT_LEN] {
    let digest = digest(&SHA256, content);
    let bytes = digest.as_ref().try_into();
    bytes.expect("SHA-256 has this length")
}

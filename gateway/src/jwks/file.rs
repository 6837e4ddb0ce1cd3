//! A file that is read only when it has changed, in whichever way it was replaced.

use std::time::Duration;

use super::DOCUMENT_BYTES_MAX;
use super::error::KeyError;
use crate::files::{self, FileError, Fingerprint};

/// A file changed so short a time ago may change once more without another time of change.
const CLOCK_GRAIN: Duration = Duration::from_secs(2);

/// What a look at a file found.
#[derive(Debug)]
pub(super) enum Look {
    /// What was there the last time.
    Unchanged,
    /// Its bytes, and its fingerprint where that can be relied on.
    New(Vec<u8>, Option<Fingerprint>),
}

/// Looks at a file; reads it unless it still has this fingerprint.
pub(super) fn look(path: &str, known: Option<Fingerprint>) -> Result<Look, KeyError> {
    let failed = |source| KeyError::File {
        path: path.into(),
        source,
    };
    let now = files::look(path).map_err(failed)?;
    if known == Some(now) {
        return Ok(Look::Unchanged);
    }
    let (bytes, read) =
        files::read_file(path, DOCUMENT_BYTES_MAX).map_err(|error| match error {
            FileError::Io { source, .. } => failed(source),
            FileError::TooLarge { .. } => KeyError::TooLarge { place: path.into() },
            FileError::Unsettled { .. } | FileError::NotText { .. } => {
                unreachable!("it is read once, as bytes")
            }
        })?;
    Ok(Look::New(
        bytes,
        read.is_older_than(CLOCK_GRAIN).then_some(read),
    ))
}

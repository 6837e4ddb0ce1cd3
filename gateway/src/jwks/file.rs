//! A file that is read only when it has changed, in whichever way it was replaced.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime};

use super::DOCUMENT_BYTES_MAX;
use super::error::KeyError;

/// A file changed so short a time ago may change once more without another time of change.
const CLOCK_GRAIN: Duration = Duration::from_secs(2);

/// What tells one state of a path from another. A rename and a symbolic link that points
/// elsewhere show in the inode, what was written in place in the times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// What a look at a file found.
#[derive(Debug)]
pub(super) enum Look {
    /// What was there the last time.
    Unchanged,
    /// Its bytes, and its stamp where that can be relied on.
    New(Vec<u8>, Option<Stamp>),
}

/// Looks at a file; reads it unless it still has this stamp.
pub(super) fn look(path: &str, known: Option<Stamp>) -> Result<Look, KeyError> {
    let failed = |source| KeyError::File {
        path: path.into(),
        source,
    };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if !metadata.is_file() {
        // A pipe or a device would keep its reader for ever.
        return Err(failed(io::Error::other("it is not a file")));
    }
    let stamp = Stamp::of(&metadata);
    if known == Some(stamp) {
        return Ok(Look::Unchanged);
    }
    if metadata.len() > DOCUMENT_BYTES_MAX as u64 {
        return Err(KeyError::TooLarge { place: path.into() });
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    Ok(Look::New(bytes, is_settled(&metadata).then_some(stamp)))
}

fn is_settled(metadata: &Metadata) -> bool {
    let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
    let age = SystemTime::now().duration_since(modified);
    age.is_ok_and(|age| age > CLOCK_GRAIN)
}

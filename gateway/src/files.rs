//! Files that change while the gateway runs: whether one is another one now, and reading it whole.
//!
//! A rename over the file, a symbolic link that points elsewhere (as Kubernetes swaps a config map)
//! and a write in place all show in what the system says of the file behind the path.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time between two looks at a file.
pub(crate) const FILE_INTERVAL: Duration = Duration::from_secs(2);
/// Time in which a file must not have changed to be taken for whole.
pub(crate) const SETTLE_TIME: Duration = Duration::from_millis(250);
/// Readings of a file that changes under them.
pub(crate) const READINGS_MAX: usize = 8;

/// Why a file could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("cannot read `{path}`: {source}")]
    Io { path: String, source: io::Error },
    #[error("`{path}` is larger than {bytes_max} bytes")]
    TooLarge { path: String, bytes_max: usize },
    #[error("`{path}` changes all the time")]
    Unsettled { path: String },
    #[error("`{path}` is not UTF-8 text: line {line} has a byte that belongs to no character")]
    NotText { path: String, line: usize },
}

impl FileError {
    /// What to do about it.
    pub(crate) fn remedy(&self) -> &'static str {
        match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "mend the path, or write the file first"
            }
            Self::Io { .. } => "name a regular file that this process may read",
            Self::TooLarge { .. } => "take out what is generated",
            Self::Unsettled { .. } => "have its writer rename a whole file over it",
            Self::NotText { .. } => "save it as UTF-8",
        }
    }
}

/// What changes when a file is written, replaced, or reached by another link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Fingerprint {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
    /// Whether the file was last written longer ago than this.
    pub(crate) fn is_older_than(&self, age: Duration) -> bool {
        let seconds = u64::try_from(self.modified.0).unwrap_or(0);
        let modified = UNIX_EPOCH + Duration::from_secs(seconds);
        // To the second: one more is needed to be sure.
        let found = SystemTime::now().duration_since(modified);
        found.is_ok_and(|found| found > age + Duration::from_secs(1))
    }
}

/// What the system says of a file.
pub(crate) fn look(path: &str) -> io::Result<Fingerprint> {
    let metadata = Path::new(path).metadata()?;
    // Opening a pipe would wait for its writer.
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    Ok(Fingerprint::of(&metadata))
}

/// Reads a file that is the same before and some time after.
pub(crate) fn read_settled(
    path: &str,
    bytes_max: usize,
    settle_time: Duration,
) -> Result<(Vec<u8>, Fingerprint), FileError> {
    for _ in 0..READINGS_MAX {
        let (content, fingerprint) = read_file(path, bytes_max)?;
        std::thread::sleep(settle_time);
        if look(path).is_ok_and(|now| now == fingerprint) {
            return Ok((content, fingerprint));
        }
    }
    Err(FileError::Unsettled { path: path.into() })
}

/// What was read as text; what is not text is said with its place.
pub(crate) fn text(path: &str, bytes: Vec<u8>) -> Result<String, FileError> {
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + memchr::memchr_iter(b'\n', good).count();
        let path = path.into();
        FileError::NotText { path, line }
    })
}

/// Reads a file as it is.
pub(crate) fn read_file(path: &str, bytes_max: usize) -> Result<(Vec<u8>, Fingerprint), FileError> {
    let failed = |source| FileError::Io {
        path: path.into(),
        source,
    };
    look(path).map_err(failed)?;
    let file = File::open(path).map_err(failed)?;
    let fingerprint = Fingerprint::of(&file.metadata().map_err(failed)?);
    let mut content = Vec::new();
    // The length that a file says to have need not be the one it has when it is read.
    file.take(bytes_max as u64 + 1)
        .read_to_end(&mut content)
        .map_err(failed)?;
    if content.len() > bytes_max {
        let path = path.into();
        return Err(FileError::TooLarge { path, bytes_max });
    }
    Ok((content, fingerprint))
}

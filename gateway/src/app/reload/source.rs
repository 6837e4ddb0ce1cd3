//! Where the configuration comes from, and whether it says something else now.

use std::fmt;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use gateway_core::config::{Problems, Source};
use gateway_core::file::{Compiled, Report, check};
use tempfile::NamedTempFile;

use crate::files::{FileError, Fingerprint, READINGS_MAX, SETTLE_TIME, look, read_file, text};

/// Bytes that are read of one file; that a routes file may have fewer is said by its reader.
const FILE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Warnings that one line of the log shows.
const WARNINGS_LOGGED_MAX: usize = 10;
/// Bytes of the digest that are shown.
const HASH_BYTES_SHOWN: usize = 8;

/// Finds the value of a variable.
type Variables = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// A place of the configuration. Another kind of place is a variant here: it says what it holds
/// now and whether that may have changed since a look.
#[derive(Clone)]
pub enum ConfigSource {
    /// A routes file.
    File(ConfigFile),
}

/// A routes file, and the variables that it may name.
#[derive(Clone)]
pub struct ConfigFile {
    path: PathBuf,
    variables: Variables,
    /// Where the text that was last found good is remembered; `None` where it is not.
    last_good: Option<PathBuf>,
}

/// What a place held at one moment.
pub(crate) struct Held {
    pub(super) look: Look,
    /// The beginning of the SHA-256 of its text; empty where it could not be read.
    pub(crate) hash: Box<str>,
    pub(crate) compiled: Result<Compiled, LoadError>,
    /// What is odd about it, on one line; empty where nothing is.
    warnings: String,
    /// As it was read; empty where it could not be.
    pub(super) text: Vec<u8>,
}

impl Held {
    /// Says in the log what is odd about a configuration that comes into force.
    pub(super) fn warn(&self) {
        let warnings = &self.warnings;
        if self.compiled.is_ok() && !warnings.is_empty() {
            tracing::warn!(
                warnings,
                "the configuration is good, and odd in places; see `gateway check`"
            );
        }
    }
}

/// By what the place itself says whether it may hold something else; `None` where it says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look(Option<Fingerprint>);

/// Why a configuration cannot be used.
#[derive(Debug)]
pub(crate) enum LoadError {
    Read(FileError),
    Problems { path: String, problems: Problems },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::Problems { path, problems } => {
                let plural = if problems.len() == 1 { "" } else { "s" };
                write!(
                    f,
                    "{path} has {} problem{plural}\n\n{problems}",
                    problems.len()
                )
            }
        }
    }
}

impl std::error::Error for LoadError {}

impl ConfigSource {
    /// The routes file at this path, with the variables of the environment.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::file_with(path, |name| std::env::var(name).ok())
    }

    /// The routes file at this path, with these variables.
    #[must_use]
    pub fn file_with(
        path: impl Into<PathBuf>,
        variables: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self::File(ConfigFile {
            path: path.into(),
            variables: Arc::new(variables),
            last_good: None,
        })
    }

    /// The same, and its last good text is remembered at this path: a start with a bad file serves
    /// by that.
    #[must_use]
    pub fn remembered_at(self, path: Option<PathBuf>) -> Self {
        match self {
            Self::File(file) => Self::File(ConfigFile {
                last_good: path,
                ..file
            }),
        }
    }

    /// What was last good, if it is remembered and is good still.
    pub(super) fn load_last_good(&self) -> Option<Held> {
        let Self::File(file) = self;
        let path = file.last_good.clone()?;
        let file = ConfigFile {
            path,
            ..file.clone()
        };
        let held = file.load(|path| read_file(path, FILE_BYTES_MAX));
        held.compiled.is_ok().then_some(held)
    }

    /// Remembers a text that is in force, where that is wanted.
    pub(super) fn remember(&self, text: &[u8]) {
        let Self::File(file) = self;
        let Some(path) = &file.last_good else {
            return;
        };
        if let Err(error) = write(path, text) {
            let path = path.display();
            tracing::warn!(%error, %path, "the configuration in force cannot be remembered");
        }
    }

    /// What it holds now.
    pub(crate) fn load(&self) -> Held {
        match self {
            Self::File(file) => file.load(|path| read_file(path, FILE_BYTES_MAX)),
        }
    }

    /// The same for a start, where a pipe will do: it is read once.
    pub(crate) fn load_first(&self) -> Held {
        match self {
            Self::File(file) => file.load(read_anything),
        }
    }

    /// Everything that can be said of it without running it.
    pub(crate) fn report(&self) -> Result<Report, FileError> {
        let Self::File(file) = self;
        let path = file.path.display().to_string();
        let (bytes, _) = read_anything(&path)?;
        file.report(&path, bytes)
    }

    /// What it says of itself.
    pub(super) fn look(&self) -> Look {
        match self {
            Self::File(file) => Look(look(&file.path.to_string_lossy()).ok()),
        }
    }

    /// Waits until a change that has begun is over, within bounds.
    pub(super) fn settle(&self) {
        let mut last = self.look();
        for _ in 0..READINGS_MAX {
            std::thread::sleep(SETTLE_TIME);
            let now = self.look();
            if now == last {
                return;
            }
            last = now;
        }
    }
}

type Content = Result<(Vec<u8>, Fingerprint), FileError>;

impl ConfigFile {
    fn load(&self, read_bytes: impl Fn(&str) -> Content) -> Held {
        let path = self.path.display().to_string();
        match read_bytes(&path) {
            Ok((bytes, fingerprint)) => {
                let (compiled, warnings) = self.compile(path, bytes.clone());
                Held {
                    look: Look(Some(fingerprint)),
                    hash: hash(&bytes),
                    compiled,
                    warnings,
                    text: bytes,
                }
            }
            Err(error) => Held {
                look: Look(look(&path).ok()),
                hash: Box::default(),
                compiled: Err(LoadError::Read(error)),
                warnings: String::new(),
                text: Vec::new(),
            },
        }
    }

    fn compile(&self, path: String, bytes: Vec<u8>) -> (Result<Compiled, LoadError>, String) {
        let report = match self.report(&path, bytes) {
            Ok(report) => report,
            Err(error) => return (Err(LoadError::Read(error)), String::new()),
        };
        let problems = |problems| LoadError::Problems { path, problems };
        let warnings = report.warnings.brief(WARNINGS_LOGGED_MAX);
        (report.outcome.map_err(problems), warnings)
    }

    fn report(&self, path: &str, bytes: Vec<u8>) -> Result<Report, FileError> {
        let text = text(path, bytes)?;
        let source = Source {
            name: path,
            text: &text,
        };
        Ok(check(source, &*self.variables))
    }
}

/// Reads a file, or a pipe to its end.
fn read_anything(path: &str) -> Content {
    match read_file(path, FILE_BYTES_MAX) {
        Err(FileError::Io { source, .. }) if source.kind() == std::io::ErrorKind::Other => {}
        read => return read,
    }
    let failed = |source| FileError::Io {
        path: path.into(),
        source,
    };
    let pipe = File::open(path).map_err(failed)?;
    let fingerprint = Fingerprint::of(&pipe.metadata().map_err(failed)?);
    let mut content = Vec::new();
    pipe.take(FILE_BYTES_MAX as u64)
        .read_to_end(&mut content)
        .map_err(failed)?;
    Ok((content, fingerprint))
}

/// Replaces a file in one step; readable to this user alone, for a routes file names much.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let directory = path.parent().filter(|it| !it.as_os_str().is_empty());
    let directory = directory.unwrap_or_else(|| Path::new("."));
    let mut file = NamedTempFile::new_in(directory)?;
    file.write_all(bytes)?;
    // A rename must never outrun what it renames.
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

fn hash(bytes: &[u8]) -> Box<str> {
    let digest = digest(&SHA256, bytes);
    let shown: [u8; HASH_BYTES_SHOWN] = digest.as_ref()[..HASH_BYTES_SHOWN]
        .try_into()
        .expect("it is longer");
    format!("{:016x}", u64::from_be_bytes(shown)).into()
}

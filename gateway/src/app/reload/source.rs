//! Where the configuration comes from, and whether it says something else now.

use std::fmt;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use gateway_core::config::{Files, Problems, Source};
use gateway_core::file::{Compiled, Report, check_included};
use tempfile::NamedTempFile;

use super::files::{Bundle, Disk, Look, hash};
use crate::files::{FileError, Fingerprint, READINGS_MAX, SETTLE_TIME, look, read_file, text};

/// Bytes that are read of one file; that a routes file may have fewer is said by its reader.
const FILE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Warnings that one line of the log shows.
const WARNINGS_LOGGED_MAX: usize = 10;
/// Bytes of a configuration that is remembered: each of its files, with all that JSON escapes.
const KEPT_BYTES_MAX: usize = 4 * FILE_BYTES_MAX;

/// Finds the value of a variable.
type Variables = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// A place of the configuration. Another kind of place is a variant here: it says what it holds
/// now and whether that may have changed since a look.
#[derive(Clone)]
pub enum ConfigSource {
    /// A routes file, and those that it includes.
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
    /// The beginning of the SHA-256 of its texts; empty where the first could not be read.
    pub(crate) hash: Box<str>,
    pub(crate) compiled: Result<Compiled, LoadError>,
    /// What is odd about it, on one line; empty where nothing is.
    warnings: String,
    /// What is to be remembered of it; empty where it could not be read.
    pub(super) text: Vec<u8>,
}

impl Held {
    fn of(path: &str, report: Report, look: Look, bundle: &Bundle) -> Self {
        let path = path.to_owned();
        let hash = match &report.outcome {
            // What is wrong may be a file that could not be read and is not a part of the texts.
            Err(problems) if look.is_of_several() => {
                hash(format!("{} {problems}", bundle.hash()).as_bytes())
            }
            _ => bundle.hash(),
        };
        let problems = |problems| LoadError::Problems { path, problems };
        Self {
            look,
            hash,
            warnings: report.warnings.brief(WARNINGS_LOGGED_MAX),
            compiled: report.outcome.map_err(problems),
            text: bundle.to_bytes(),
        }
    }

    /// Where the first file could not be read.
    fn unread(path: &str, error: FileError) -> Self {
        Self {
            look: Look::at(path, look(path).ok()),
            hash: Box::default(),
            compiled: Err(LoadError::Read(error)),
            warnings: String::new(),
            text: Vec::new(),
        }
    }

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
        let held = file.load_kept();
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
            Self::File(file) => file.load(|path| {
                let (bytes, fingerprint) = read_file(path, FILE_BYTES_MAX)?;
                Ok((bytes, Some(fingerprint)))
            }),
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
        let (bytes, fingerprint) = read_anything(&path)?;
        let text = text(&path, bytes)?;
        let disk = Disk::beside(&path, &text, fingerprint);
        Ok(file.report(&path, &text, &disk))
    }

    /// Waits until a change that has begun since this look is over, within bounds.
    pub(super) fn settle(&self, since: &Look) {
        let Self::File(_) = self;
        let mut last = since.again();
        for _ in 0..READINGS_MAX {
            std::thread::sleep(SETTLE_TIME);
            let now = last.again();
            if now == last {
                return;
            }
            last = now;
        }
    }
}

type Content = Result<(Vec<u8>, Option<Fingerprint>), FileError>;

impl ConfigFile {
    /// Files that belong together are read until none of them has changed meanwhile.
    fn load(&self, read_bytes: impl Fn(&str) -> Content) -> Held {
        let path = self.path.display().to_string();
        for _ in 0..READINGS_MAX {
            let held = self.load_once(&path, &read_bytes);
            let look = &held.look;
            if !look.is_of_several() || !look.is_repeatable() || look.again() == *look {
                return held;
            }
            std::thread::sleep(SETTLE_TIME);
        }
        Held::unread(&path, FileError::Unsettled { path: path.clone() })
    }

    fn load_once(&self, path: &str, read_bytes: impl Fn(&str) -> Content) -> Held {
        let (bytes, fingerprint) = match read_bytes(path) {
            Ok(read) => read,
            Err(error) => return Held::unread(path, error),
        };
        let hash = hash(&bytes);
        let text = match text(path, bytes) {
            Ok(text) => text,
            Err(error) => {
                let look = Look::at(path, fingerprint);
                let compiled = Err(LoadError::Read(error));
                return Held {
                    look,
                    hash,
                    compiled,
                    warnings: String::new(),
                    text: Vec::new(),
                };
            }
        };
        let disk = Disk::beside(path, &text, fingerprint);
        let report = self.report(path, &text, &disk);
        let (look, bundle) = disk.into_seen();
        Held::of(path, report, look, &bundle)
    }

    /// What was remembered at this file's path.
    fn load_kept(&self) -> Held {
        let path = self.path.display().to_string();
        let kept = read_file(&path, KEPT_BYTES_MAX);
        let (bytes, fingerprint) = match kept {
            Ok(read) => read,
            Err(error) => return Held::unread(&path, error),
        };
        let look = Look::at(&path, Some(fingerprint));
        let bundle = match Bundle::from_bytes(&bytes) {
            Some(bundle) => bundle,
            None => match text(&path, bytes) {
                Ok(text) => Bundle::of(&path, &text),
                Err(error) => return Held::unread(&path, error),
            },
        };
        let (name, text) = bundle.main().unwrap_or((&path, ""));
        let report = self.report(name, text, &bundle);
        Held::of(name, report, look, &bundle)
    }

    fn report(&self, name: &str, text: &str, files: &dyn Files) -> Report {
        check_included(Source { name, text }, files, &*self.variables)
    }
}

/// Reads a file, or a pipe to its end.
fn read_anything(path: &str) -> Content {
    match read_file(path, FILE_BYTES_MAX) {
        Err(FileError::Io { source, .. }) if source.kind() == std::io::ErrorKind::Other => {}
        read => return read.map(|(bytes, fingerprint)| (bytes, Some(fingerprint))),
    }
    let failed = |source| FileError::Io {
        path: path.into(),
        source,
    };
    let pipe = File::open(path).map_err(failed)?;
    let mut content = Vec::new();
    pipe.take(FILE_BYTES_MAX as u64)
        .read_to_end(&mut content)
        .map_err(failed)?;
    // It says nothing of itself, now and later.
    Ok((content, None))
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

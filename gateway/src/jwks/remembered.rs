//! Keys on disk, so that a gateway that starts while a provider is down has some.
//!
//! One file a provider, replaced as a whole. It is used if it is of the same provider, issuer and
//! URL and not too old; whatever else lies there is left alone with a line in the log.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use gateway_core::auth::keys::KeyRing;
use gateway_core::words::time::UnixSeconds;
use serde::{Deserialize, Serialize};

use super::DOCUMENT_BYTES_MAX;

/// Bytes of a file: a document as JSON text in JSON, where each byte may take six.
const FILE_BYTES_MAX: u64 = 6 * DOCUMENT_BYTES_MAX as u64 + 64 * 1024;
/// The only version of the format so far.
const VERSION: u32 = 1;
/// Keys let whoever writes them sign: only our own user may.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;
/// Bits of a mode that let others write.
const WRITABLE_BY_OTHERS: u32 = 0o022;
/// By how much the clock may have gone back since the file was written.
const CLOCK_SKEW_SECONDS: u64 = 300;

/// The directory of all providers.
#[derive(Clone, Debug)]
pub(crate) struct StateDirectory(PathBuf);

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "`state_directory: {path}` cannot be written: {source}; let the gateway's user write there, \
     name another directory, or leave it out"
)]
pub(crate) struct StateDirectoryError {
    path: String,
    source: io::Error,
}

impl StateDirectory {
    /// Makes the directory where it is missing, and tries to write there.
    pub(crate) fn open(path: &str) -> Result<Self, StateDirectoryError> {
        let directory = PathBuf::from(path);
        let failed = |source| StateDirectoryError {
            path: path.into(),
            source,
        };
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(DIRECTORY_MODE);
        builder.create(&directory).map_err(failed)?;
        let probe = directory.join(format!(".probe.{}", std::process::id()));
        write_new(&probe, b"").map_err(failed)?;
        fs::remove_file(&probe).map_err(failed)?;
        Ok(Self(directory))
    }

    /// What is remembered of one provider; its name has been checked to be a plain one.
    pub(crate) fn provider(&self, name: &str, issuer: &str, url: &str) -> Remembered {
        Remembered {
            path: self.0.join(format!("jwks-{name}.json")),
            provider: name.into(),
            issuer: issuer.into(),
            url: url.into(),
        }
    }
}

/// What is remembered of one provider.
#[derive(Clone, Debug)]
pub(crate) struct Remembered {
    path: PathBuf,
    provider: String,
    issuer: String,
    url: String,
}

/// The file.
#[derive(Deserialize, Serialize)]
struct Saved {
    version: u32,
    provider: String,
    issuer: String,
    url: String,
    /// Seconds since 1970.
    fetched_at: UnixSeconds,
    /// As it came.
    document: String,
}

/// Why a file is left alone.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is larger than {FILE_BYTES_MAX} bytes")]
    TooLarge,
    #[error("others than its owner may write it (mode {0:o})")]
    Mode(u32),
    #[error("it is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    #[error("it is of version {0}")]
    Version(u32),
    #[error("it is of another provider or place of keys")]
    Foreign,
    #[error("its time lies in the future")]
    Future,
    #[error("it is {age_seconds} s old, and `max_stale` is {max_seconds} s")]
    TooOld { age_seconds: u64, max_seconds: u64 },
    #[error("{0}")]
    Keys(#[from] gateway_core::auth::keys::KeyRingError),
}

impl Remembered {
    /// The remembered keys and their age in seconds, if they may be used.
    pub(super) fn load(&self, now: UnixSeconds, max_seconds: u64) -> Option<(KeyRing, u64)> {
        match self.try_load(now, max_seconds) {
            Ok(loaded) => Some(loaded),
            Err(Unusable::Io(error)) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(
                    provider = %self.provider,
                    path = %self.path.display(),
                    %error,
                    "remembered keys are not used"
                );
                None
            }
        }
    }

    fn try_load(&self, now: UnixSeconds, max_seconds: u64) -> Result<(KeyRing, u64), Unusable> {
        let file = File::open(&self.path)?;
        let metadata = file.metadata()?;
        if metadata.mode() & WRITABLE_BY_OTHERS != 0 {
            return Err(Unusable::Mode(metadata.mode() & 0o7777));
        }
        let mut text = Vec::new();
        file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
        if text.len() as u64 > FILE_BYTES_MAX {
            return Err(Unusable::TooLarge);
        }
        let saved: Saved = serde_json::from_slice(&text)?;
        if saved.version != VERSION {
            return Err(Unusable::Version(saved.version));
        }
        if (&saved.provider, &saved.issuer, &saved.url) != (&self.provider, &self.issuer, &self.url)
        {
            return Err(Unusable::Foreign);
        }
        if saved.fetched_at > now + CLOCK_SKEW_SECONDS {
            return Err(Unusable::Future);
        }
        let age_seconds = now.saturating_sub(saved.fetched_at);
        if age_seconds >= max_seconds {
            return Err(Unusable::TooOld {
                age_seconds,
                max_seconds,
            });
        }
        let ring = KeyRing::from_jwk_set(saved.document.as_bytes())?;
        Ok((ring, age_seconds))
    }

    /// Writes a set that was fetched at `fetched_at`.
    pub(super) fn save(&self, document: &[u8], fetched_at: UnixSeconds) -> io::Result<()> {
        let saved = Saved {
            version: VERSION,
            provider: self.provider.clone(),
            issuer: self.issuer.clone(),
            url: self.url.clone(),
            fetched_at,
            document: String::from_utf8_lossy(document).into_owned(),
        };
        let text = serde_json::to_vec(&saved).map_err(io::Error::other)?;
        // Of this process alone: during an upgrade two of them share the directory.
        let temporary = self
            .path
            .with_extension(format!("json.{}", std::process::id()));
        let written =
            write_new(&temporary, &text).and_then(|()| fs::rename(&temporary, &self.path));
        if written.is_err() {
            let _gone_or_never_there = fs::remove_file(&temporary);
        }
        written
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // What an earlier process of the same id left behind.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path)?;
    file.write_all(bytes)?;
    // A rename must never outrun what it renames.
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    const KEYS: &str = r#"{"keys":[{"kid":"ec","kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
    const DAY: u64 = 86_400;

    fn saved() -> (tempfile::TempDir, Remembered) {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(directory.path().to_str().unwrap()).unwrap();
        let remembered = state.provider("main", "issuer", "https://issuer.example/keys");
        remembered.save(KEYS.as_bytes(), 1_000_000).unwrap();
        (directory, remembered)
    }

    fn refusal(remembered: &Remembered, now: u64) -> String {
        assert!(remembered.load(now, DAY).is_none());
        remembered.try_load(now, DAY).unwrap_err().to_string()
    }

    #[test]
    fn what_was_saved_is_there_again_with_its_age() {
        let (directory, remembered) = saved();
        remembered.save(KEYS.as_bytes(), 2_000_000).unwrap();
        let (ring, age) = remembered.load(2_000_100, DAY).unwrap();
        assert_eq!((ring.keys().len(), age), (1, 100));
        assert_eq!(remembered.load(1_999_900, DAY).unwrap().1, 0);
        let mode = fs::metadata(remembered.path()).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        let files = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(files, 1, "no temporary file stays");
    }

    #[test]
    fn nothing_remembered_is_nothing_to_complain_of() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("a/b");
        let state = StateDirectory::open(inner.to_str().unwrap()).unwrap();
        assert!(state.provider("main", "", "").load(0, DAY).is_none());
        assert_eq!(fs::metadata(inner).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn what_is_too_old_foreign_or_damaged_is_left_alone() {
        let (_directory, remembered) = saved();
        for (now, message) in [
            (1_000_000 + DAY, "86400 s old"),
            (1_000_000 - CLOCK_SKEW_SECONDS - 1, "in the future"),
        ] {
            assert!(refusal(&remembered, now).contains(message), "{message}");
        }
        for change in [
            |it: &mut Remembered| it.provider = "other".into(),
            |it: &mut Remembered| it.issuer = "other".into(),
            |it: &mut Remembered| it.url = "https://other.example/keys".into(),
        ] {
            let mut other = remembered.clone();
            change(&mut other);
            assert!(refusal(&other, 1_000_000).contains("another provider"));
        }
        let text = fs::read_to_string(remembered.path()).unwrap();
        for (damaged, message) in [
            (String::new(), "damaged"),
            (text[..text.len() / 2].to_owned(), "damaged"),
            (text.replace("\"version\":1", "\"version\":2"), "version 2"),
            (text.replace("kty", "xty"), "no key that can verify"),
            (" ".repeat(4_000_000), "larger than"),
        ] {
            fs::write(remembered.path(), damaged).unwrap();
            assert!(
                refusal(&remembered, 1_000_000).contains(message),
                "{message}"
            );
        }
        fs::write(remembered.path(), text).unwrap();
        assert!(remembered.load(1_000_000, DAY).is_some());
        fs::set_permissions(remembered.path(), fs::Permissions::from_mode(0o622)).unwrap();
        assert!(refusal(&remembered, 1_000_000).contains("mode 622"));
    }

    #[test]
    fn a_directory_that_cannot_be_one_is_an_error_with_its_remedy() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for path in [file.path().to_path_buf(), file.path().join("below")] {
            let error = StateDirectory::open(path.to_str().unwrap()).unwrap_err();
            assert!(
                error.to_string().contains("name another directory"),
                "{error}"
            );
        }
    }
}

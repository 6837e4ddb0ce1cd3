//! The development issuer's keys: made once, kept in files that only their owner can read.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey};

const RS256_FILE: &str = "rs256.pem";
const ES256_FILE: &str = "es256.pem";
const LOCK_FILE: &str = ".lock";
/// Characters in a line of PEM (RFC 7468, section 2).
const PEM_LINE: usize = 64;
/// Permission bits of anybody but the owner.
const OTHERS: u32 = 0o077;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// A file or the directory could not be read or written.
    #[error("development keys: cannot {verb} `{}`", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Somebody else could read, or replace, a key.
    #[error(
        "development keys: `{path}` is open to others (mode {mode:o}); run: chmod {wanted:o} '{path}'",
        path = path.display()
    )]
    TooOpen {
        /// The file or directory.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
        /// The permissions that are accepted.
        wanted: u32,
    },
    /// The path is a link, or of another kind than it must be.
    #[error("development keys: `{}` must be a plain {kind}, not a link", path.display())]
    WrongKind {
        /// The path.
        path: PathBuf,
        /// `file` or `directory`.
        kind: &'static str,
    },
    /// A file holds something else than the key it is named for.
    #[error(
        "development keys: `{path}` holds no usable key; remove it, and a new one is made",
        path = path.display()
    )]
    Unusable {
        /// The file.
        path: PathBuf,
    },
    /// The system gave no random numbers, or the like.
    #[error("development keys: no key could be made")]
    Generate,
}

/// A private key with its public half as it is published.
#[derive(Debug)]
pub(super) struct SigningKey {
    pub(super) private: EncodingKey,
    /// `kid` is the RFC 7638 thumbprint.
    pub(super) public: Jwk,
}

/// One key for each algorithm.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) rs256: SigningKey,
    pub(super) es256: SigningKey,
}

impl Keys {
    /// Reads the keys in `directory`; makes the directory and the keys that are missing.
    ///
    /// Processes that come at the same time end up with the same keys.
    pub(super) fn load_or_create(directory: &Path) -> Result<Self, KeysError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(io_error("create", directory))?;
        check_private(directory, Kind::Directory)?;
        // Released by the system when this process ends, however it ends.
        let _lock = lock(&directory.join(LOCK_FILE))?;
        Ok(Self {
            rs256: load_or_make(&directory.join(RS256_FILE), Algorithm::RS256)?,
            es256: load_or_make(&directory.join(ES256_FILE), Algorithm::ES256)?,
        })
    }
}

#[derive(Clone, Copy)]
enum Kind {
    File,
    Directory,
}

fn lock(path: &Path) -> Result<File, KeysError> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(io_error("open", path))?;
    file.lock().map_err(io_error("lock", path))?;
    Ok(file)
}

fn load_or_make(path: &Path, algorithm: Algorithm) -> Result<SigningKey, KeysError> {
    match fs::symlink_metadata(path) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            write_whole(path, &make_pem(algorithm)?)?;
        }
        Err(error) => return Err(io_error("read", path)(error)),
    }
    check_private(path, Kind::File)?;
    let pem = fs::read(path).map_err(io_error("read", path))?;
    parse(&pem, algorithm).map_err(|_| KeysError::Unusable {
        path: path.to_owned(),
    })
}

fn check_private(path: &Path, kind: Kind) -> Result<(), KeysError> {
    let metadata = fs::symlink_metadata(path).map_err(io_error("read", path))?;
    let (is_kind, kind, wanted) = match kind {
        Kind::File => (metadata.is_file(), "file", 0o600),
        Kind::Directory => (metadata.is_dir(), "directory", 0o700),
    };
    let path = path.to_owned();
    if !is_kind {
        return Err(KeysError::WrongKind { path, kind });
    }
    let mode = metadata.mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(KeysError::TooOpen { path, mode, wanted });
    }
    Ok(())
}

/// Under the final name there is never half a key: written beside it, then renamed.
fn write_whole(path: &Path, pem: &str) -> Result<(), KeysError> {
    let beside = path.with_extension("new");
    // A run that was killed may have left one; the lock says that nobody writes it now.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(io_error("remove", &beside)(error));
        }
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)
        .map_err(io_error("create", &beside))?;
    file.write_all(pem.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(io_error("write", &beside))?;
    fs::rename(&beside, path).map_err(io_error("rename to", path))
}

fn make_pem(algorithm: Algorithm) -> Result<String, KeysError> {
    let pkcs8 = match algorithm {
        Algorithm::ES256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .and_then(|key| key.to_pkcs8v1())
            .map(|document| document.as_ref().to_vec()),
        _ => RsaKeyPair::generate(KeySize::Rsa2048)
            .and_then(|key| key.as_der())
            .map(|document: Pkcs8V1Der<'_>| document.as_ref().to_vec()),
    };
    let pkcs8 = pkcs8.map_err(|_| KeysError::Generate)?;
    let encoded = STANDARD.encode(pkcs8);
    let mut pem = "-----BEGIN PRIVATE KEY-----\n".to_owned();
    for line in encoded.as_bytes().chunks(PEM_LINE) {
        pem.extend(line.iter().map(|&byte| char::from(byte)));
        pem.push('\n');
    }
    pem.push_str("-----END PRIVATE KEY-----\n");
    Ok(pem)
}

fn parse(pem: &[u8], algorithm: Algorithm) -> Result<SigningKey, jsonwebtoken::errors::Error> {
    let private = match algorithm {
        Algorithm::ES256 => EncodingKey::from_ec_pem(pem),
        _ => EncodingKey::from_rsa_pem(pem),
    }?;
    let mut public = Jwk::from_encoding_key(&private, algorithm)?;
    public.common.key_id = Some(public.thumbprint(ThumbprintHash::SHA256)?);
    public.common.public_key_use = Some(PublicKeyUse::Signature);
    Ok(SigningKey { private, public })
}

fn io_error(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeysError {
    let path = path.to_owned();
    move |source| KeysError::Io { verb, path, source }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::sync::Barrier;

    use super::*;

    fn kids(keys: &Keys) -> [String; 2] {
        [&keys.rs256, &keys.es256].map(|key| key.public.common.key_id.clone().unwrap())
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn keys_are_made_once_and_are_for_their_owner_alone() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("data/keys");
        let first = Keys::load_or_create(&directory).unwrap();
        let second = Keys::load_or_create(&directory).unwrap();
        assert_eq!(kids(&first), kids(&second));
        assert_eq!(mode(&directory), 0o700);
        for file in [RS256_FILE, ES256_FILE] {
            assert_eq!(mode(&directory.join(file)), 0o600, "{file}");
        }
    }

    #[test]
    fn the_key_id_is_the_thumbprint_of_rfc_7638() {
        // The key and its thumbprint are the RFC's own example (section 3.1).
        let jwk: Jwk = serde_json::from_str(
            r#"{"kty":"RSA","e":"AQAB","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}"#,
        )
        .unwrap();
        assert_eq!(
            jwk.thumbprint(ThumbprintHash::SHA256).unwrap(),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
        let home = tempfile::tempdir().unwrap();
        let keys = Keys::load_or_create(&home.path().join("keys")).unwrap();
        for key in [&keys.rs256, &keys.es256] {
            let thumbprint = key.public.thumbprint(ThumbprintHash::SHA256).unwrap();
            assert_eq!(key.public.common.key_id.as_ref(), Some(&thumbprint));
        }
    }

    #[test]
    fn what_others_can_read_is_refused_with_the_remedy() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("keys");
        Keys::load_or_create(&directory).unwrap();
        let check = |path: &Path, open: u32, private: u32| {
            fs::set_permissions(path, Permissions::from_mode(open)).unwrap();
            let error = Keys::load_or_create(&directory).unwrap_err().to_string();
            let remedy = format!("run: chmod {private:o} '{}'", path.display());
            assert!(error.ends_with(&remedy), "{error}");
            fs::set_permissions(path, Permissions::from_mode(private)).unwrap();
            Keys::load_or_create(&directory).unwrap();
        };
        check(&directory, 0o750, 0o700);
        check(&directory.join(RS256_FILE), 0o640, 0o600);
        check(&directory.join(ES256_FILE), 0o604, 0o600);
    }

    #[test]
    fn links_and_rubbish_are_refused() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("keys");
        Keys::load_or_create(&directory).unwrap();
        let rs256 = directory.join(RS256_FILE);
        let es256 = directory.join(ES256_FILE);

        // An EC key where an RSA key must be.
        fs::copy(&es256, &rs256).unwrap();
        let error = Keys::load_or_create(&directory).unwrap_err();
        assert!(matches!(error, KeysError::Unusable { .. }), "{error}");

        fs::remove_file(&rs256).unwrap();
        symlink(&es256, &rs256).unwrap();
        let error = Keys::load_or_create(&directory).unwrap_err();
        assert!(matches!(error, KeysError::WrongKind { .. }), "{error}");
    }

    #[test]
    fn what_a_killed_run_left_behind_is_no_obstacle() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("keys");
        DirBuilder::new().mode(0o700).create(&directory).unwrap();
        fs::write(directory.join(RS256_FILE).with_extension("new"), "half").unwrap();
        Keys::load_or_create(&directory).unwrap();
    }

    #[test]
    fn processes_that_race_end_up_with_the_same_keys() {
        const RACERS: usize = 4;
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("keys");
        let start = Barrier::new(RACERS);
        // File locks belong to the open file, so threads exclude each other as processes do.
        let found = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..RACERS)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        kids(&Keys::load_or_create(&directory).unwrap())
                    })
                })
                .collect();
            racers
                .into_iter()
                .map(|racer| racer.join().unwrap())
                .collect::<Vec<_>>()
        });
        assert!(found.iter().all(|kids| *kids == found[0]), "{found:?}");
    }
}

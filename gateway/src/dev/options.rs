//! What `gateway dev` and `gateway token` are told.

use std::fs::Permissions;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use gateway_core::words::units::{HumanDuration, UnitError};
use serde_json::json;
use tempfile::NamedTempFile;

use super::issuer::{
    DEFAULT_AUDIENCE, DEFAULT_SCOPE, DEFAULT_SUBJECT, Issuer, KeysError, MintError,
    SigningAlgorithm, TokenRequest,
};
use super::{DevError, SERVICES};

/// Options of `gateway dev`.
#[derive(Clone, Debug, clap::Args)]
pub struct DevOptions {
    /// Address that the gateway listens on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Address of the admin listener
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9090")]
    pub admin: SocketAddr,
    /// Directory of the development keys and of the services' databases
    #[arg(long, value_name = "DIRECTORY", default_value = ".local")]
    pub data_dir: PathBuf,
    /// Instances of each service, 1 to 16
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub replicas: u16,
    /// The users service [default: users-svc beside this program]
    #[arg(long, value_name = "FILE")]
    pub users_svc: Option<PathBuf>,
    /// The products service [default: products-svc beside this program]
    #[arg(long, value_name = "FILE")]
    pub products_svc: Option<PathBuf>,
    /// Let the gateway sign a token of its own for each request, and the services refuse requests
    /// without one
    #[arg(long)]
    pub internal_identity: bool,
    /// What the services log, as their own `--log` has it. Their access lines are off: the
    /// gateway's say the same, and a slow terminal must not slow the services down
    #[arg(
        long,
        value_name = "LEVEL",
        env = "LOG",
        default_value = "info,access=off"
    )]
    pub services_log: String,
    /// Command that prints a token, as the ready line shows it [default: this program's own]
    #[arg(long, value_name = "COMMAND", hide = true)]
    pub token_command: Option<String>,
}

impl DevOptions {
    pub(super) fn keys_directory(&self) -> PathBuf {
        keys_directory(&self.data_dir)
    }

    /// The services' executables, in the order of `SERVICES`.
    pub(super) fn programs(&self) -> Result<Vec<PathBuf>, DevError> {
        SERVICES
            .iter()
            .zip([&self.users_svc, &self.products_svc])
            .map(|(service, chosen)| {
                let path = match chosen {
                    Some(path) => path.clone(),
                    None => std::env::current_exe()
                        .map_err(DevError::Executable)?
                        .with_file_name(service.binary),
                };
                if path.is_file() {
                    // `Command` would look for a bare name on PATH.
                    std::path::absolute(path).map_err(DevError::Executable)
                } else {
                    let (binary, flag) = (service.binary, service.flag);
                    Err(DevError::ServiceMissing { path, binary, flag })
                }
            })
            .collect()
    }

    /// A command line that prints a token of this system.
    pub(super) fn token_command(&self) -> String {
        self.token_command.clone().unwrap_or_else(|| {
            let program = std::env::current_exe().unwrap_or_else(|_| "gateway".into());
            let data =
                std::path::absolute(&self.data_dir).unwrap_or_else(|_| self.data_dir.clone());
            format!("{} token --data-dir {}", quoted(&program), quoted(&data))
        })
    }
}

/// Options of `gateway token`.
#[derive(Clone, Debug, clap::Args)]
pub struct TokenOptions {
    /// Subject, the claim `sub`
    #[arg(long, value_name = "SUBJECT", default_value = DEFAULT_SUBJECT)]
    pub sub: String,
    /// Scopes, divided by single spaces; empty leaves the claim out
    #[arg(long, value_name = "SCOPES", default_value = DEFAULT_SCOPE)]
    pub scope: String,
    /// How long the token is valid, 1s to 24h
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse_duration, allow_hyphen_values = true)]
    pub ttl: Duration,
    /// Audience; may be given up to 8 times
    #[arg(long, value_name = "AUDIENCE", default_value = DEFAULT_AUDIENCE)]
    pub audience: Vec<String>,
    /// What signs the token
    #[arg(long, value_enum, default_value_t)]
    pub algorithm: SigningAlgorithm,
    /// Directory of `gateway dev`, which holds the keys
    #[arg(long, value_name = "DIRECTORY", default_value = ".local")]
    pub data_dir: PathBuf,
    /// Write the public keys to this file too: the JWK set that `jwks_file` of a provider reads
    #[arg(long, value_name = "FILE")]
    pub public_keys: Option<PathBuf>,
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The development keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The token that was asked for is out of bounds.
    #[error(transparent)]
    Mint(#[from] MintError),
    /// The public keys could not be written.
    #[error("cannot write the public keys to `{}`", path.display())]
    PublicKeys {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl TokenOptions {
    /// A token that is valid from `now` on; makes the keys when there are none yet.
    ///
    /// Needs no running issuer: it reads the key files.
    ///
    /// # Errors
    /// When the keys cannot be used, or an option is out of its bounds.
    pub fn mint(&self, now: SystemTime) -> Result<String, TokenError> {
        let request = TokenRequest {
            subject: self.sub.clone(),
            scope: self.scope.clone(),
            audiences: self.audience.clone(),
            ttl: self.ttl,
            algorithm: self.algorithm,
        };
        // Before the keys: a wrong option must not make any.
        request.check()?;
        let issuer = Issuer::open(&keys_directory(&self.data_dir))?;
        if let Some(path) = &self.public_keys {
            write_public(path, &issuer).map_err(|source| TokenError::PublicKeys {
                path: path.clone(),
                source,
            })?;
        }
        Ok(issuer.mint(&request, now)?)
    }
}

/// Beside the file, then renamed: a gateway that reads it meanwhile never sees a part.
fn write_public(path: &Path, issuer: &Issuer) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut file = NamedTempFile::new_in(directory)?;
    file.write_all(json!(issuer.jwks()).to_string().as_bytes())?;
    // The gateway that reads it runs as another user.
    file.as_file()
        .set_permissions(Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// As durations in a routes file, so that a sign or a missing unit gets the remedy, too.
fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    text.parse::<HumanDuration>().map(Duration::from)
}

fn keys_directory(data_dir: &Path) -> PathBuf {
    data_dir.join("keys")
}

/// A path as a shell reads it back.
fn quoted(path: &Path) -> String {
    let path = path.to_string_lossy();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte);
    if path.bytes().all(is_plain) {
        path.into_owned()
    } else {
        format!("'{}'", path.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_quoted_when_a_shell_would_misread_it() {
        let check = |path: &str, expected| assert_eq!(quoted(Path::new(path)), expected);
        check("/opt/gateway-1.0/bin", "/opt/gateway-1.0/bin");
        check("/my files/x", "'/my files/x'");
        check("/it's", r"'/it'\''s'");
        check("/$HOME", "'/$HOME'");
    }
}

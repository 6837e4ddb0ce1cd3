//! Secrets that the file names and does not hold: where they lie, and what is wrong with them.
//! `secret:` of a provider is one: what it shares with the gateway, for HS256, HS384 and HS512.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use schemars::JsonSchema;
use serde::Deserialize;

use super::compile::{Checker, split_help};
use super::key_sources::KeyPlace;
use super::providers::ProviderSpec;
use crate::auth::keys::KeyRing;
use crate::config::join;

/// Where a secret lies, and how it is written there.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretSpec {
    /// The name of an environment variable.
    #[serde(default)]
    pub env: Option<String>,
    /// The path of a file, instead of `env`; a line break at its end is no part of the secret.
    /// It is read again when it changes.
    #[serde(default)]
    pub file: Option<String>,
    /// How the bytes are written; default `utf8`.
    #[serde(default)]
    pub encoding: SecretEncoding,
}

/// How the bytes of a secret are written as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SecretEncoding {
    /// The text is the secret.
    #[default]
    Utf8,
    /// RFC 4648 section 4, with padding.
    Base64,
    /// RFC 4648 section 5, without padding, as `k` of a JWK has it.
    Base64Url,
    /// Two digits a byte.
    Hex,
}

/// The bytes of a secret; `Debug` shows none of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// Why text is no secret. Says nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Nothing is there.
    #[error("the secret is empty")]
    Empty,
    /// It is written in another way than said.
    #[error("the secret is not written as {0}; mend it, or say its `encoding`")]
    Encoding(&'static str),
}

/// Where the gateway finds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretPlace {
    /// It was in the environment.
    Value(Secret),
    /// It is in a file.
    File {
        /// Its path.
        path: String,
        /// How it is written there.
        encoding: SecretEncoding,
    },
}

/// What a secret is wanted for.
pub(super) struct Wanted<'a> {
    /// What messages call it, such as `token`.
    pub(super) noun: &'a str,
    /// Why one that was read does not do; what follows the first `; ` is the remedy.
    pub(super) fault: &'a dyn Fn(&Secret) -> Option<String>,
}

impl Secret {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl SecretEncoding {
    /// The secret that this text stands for; one line break at its end does not count.
    ///
    /// # Errors
    /// [`SecretError`] where the text is empty or is written in another way.
    pub fn decode(self, text: &[u8]) -> Result<Secret, SecretError> {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let base64 = |engine: GeneralPurpose, name| {
            let bytes = engine.decode(text);
            bytes.map_err(|_| SecretError::Encoding(name))
        };
        let bytes = match self {
            Self::Utf8 => text.to_vec(),
            Self::Base64 => base64(STANDARD, "base64")?,
            Self::Base64Url => base64(URL_SAFE_NO_PAD, "base64url")?,
            Self::Hex => hex(text).ok_or(SecretError::Encoding("hex"))?,
        };
        if bytes.is_empty() {
            return Err(SecretError::Empty);
        }
        Ok(Secret(bytes))
    }
}

impl SecretSpec {
    /// Where it is; problems with it are told at `at` and below, with a good `example`. What is
    /// there, but does not do, is told and handed back.
    pub(super) fn place(
        &self,
        at: &str,
        example: &str,
        wanted: &Wanted<'_>,
        check: &mut Checker<'_>,
    ) -> Option<SecretPlace> {
        let noun = wanted.noun;
        let message = match (&self.env, &self.file) {
            (Some(name), None) => {
                let secret = wanted.of_variable(&join(at, "env"), name, self.encoding, check);
                return secret.map(SecretPlace::Value);
            }
            (None, Some(path)) => {
                let help = format!("write the path of a file with the {noun}");
                check.not_empty(&join(at, "file"), path, &help);
                return Some(SecretPlace::File {
                    path: path.clone(),
                    encoding: self.encoding,
                });
            }
            (Some(_), Some(_)) => "`env` and `file` exclude each other",
            (None, None) => "neither `env` nor `file` is given",
        };
        let help = format!("say one place of the {noun}, such as `{example}`");
        check.problem(at, message, Some(help));
        None
    }
}

impl Wanted<'_> {
    /// What a variable holds, with problems told at `at`.
    pub(super) fn of_variable(
        &self,
        at: &str,
        name: &str,
        encoding: SecretEncoding,
        check: &mut Checker<'_>,
    ) -> Option<Secret> {
        let Some(text) = check.variable(name) else {
            let message = format!("the variable `{name}` is not set");
            check.problem(at, message, Some("set it, or name another one".into()));
            return None;
        };
        let secret = encoding.decode(text.as_bytes());
        let fault = match &secret {
            Ok(secret) => (self.fault)(secret),
            Err(error) => Some(error.to_string()),
        };
        if let Some(fault) = fault {
            let (message, help) = split_help(&fault);
            let help = help.or_else(|| Some(format!("put a {} into `{name}`", self.noun)));
            check.problem(at, format!("`{name}`: {message}"), help);
        }
        secret.ok()
    }
}

impl ProviderSpec {
    /// The place that `secret` says, at `at`.
    pub(super) fn secret(&self, at: &str, spec: &SecretSpec, check: &mut Checker<'_>) -> KeyPlace {
        let symmetric = self.algorithms.iter().filter(|name| name.is_symmetric());
        let algorithms: Vec<Algorithm> = symmetric.map(|&name| name.into()).collect();
        let wanted = Wanted {
            noun: "secret",
            fault: &|secret| {
                let keys = KeyRing::from_secret(secret.bytes(), &algorithms);
                keys.err().map(|error| error.to_string())
            },
        };
        let (path, encoding) = match spec.place(at, "{env: JWT_SECRET}", &wanted, check) {
            Some(SecretPlace::Value(secret)) => return KeyPlace::Secret(secret, algorithms),
            Some(SecretPlace::File { path, encoding }) => (path, encoding),
            None => (String::new(), spec.encoding),
        };
        KeyPlace::SecretFile {
            path,
            encoding,
            algorithms,
        }
    }
}

fn hex(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, []) = text.as_chunks::<2>() else {
        return None;
    };
    let bytes = pairs.iter().map(|[high, low]| {
        let value = digit(*high)? * 16 + digit(*low)?;
        u8::try_from(value).ok()
    });
    bytes.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_what_its_text_stands_for() {
        use SecretEncoding::{Base64, Base64Url, Hex, Utf8};
        let wrong = |name| Err(SecretError::Encoding(name));
        for (encoding, text, expected) in [
            (Utf8, "a secret", Ok("a secret".as_bytes())),
            (Utf8, "a\n\r\n", Ok(b"a\n")),
            (Utf8, " a ", Ok(b" a ")),
            (Utf8, "\n", Err(SecretError::Empty)),
            (Base64, "_-8=", wrong("base64")),
            (Base64, "/+8=\n", Ok(&[0xff, 0xef])),
            (Base64, "/+8", wrong("base64")),
            (Base64Url, "_-8\r\n", Ok(&[0xff, 0xef])),
            (Base64Url, "_-8=", wrong("base64url")),
            (Base64Url, "", Err(SecretError::Empty)),
            (Hex, "fFeF", Ok(&[0xff, 0xef])),
            (Hex, "fFe", wrong("hex")),
            (Hex, "+f", wrong("hex")),
            (Hex, "0g", wrong("hex")),
        ] {
            let secret = encoding.decode(text.as_bytes());
            let bytes = secret.as_ref().map(Secret::bytes);
            assert_eq!(bytes, expected.as_ref().map(|bytes| *bytes), "{text}");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        let secret = SecretEncoding::Utf8.decode(b"hunter2").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }
}

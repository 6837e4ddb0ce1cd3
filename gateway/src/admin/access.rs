//! Who may change anything through the admin listener.

use std::net::SocketAddr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::http::HeaderMap;
use axum::http::header::{AUTHORIZATION, ORIGIN};
use gateway_core::file::{AdminSpec, Secret, SecretPlace};

use crate::files;

/// Bytes of a file with a token.
const FILE_BYTES_MAX: usize = 4096;

/// What a caller must show.
#[derive(Debug)]
pub(crate) struct Access {
    token: Option<SecretPlace>,
    /// Whether the listener cannot be reached from another machine.
    is_local: bool,
}

/// Why a caller may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// Other machines reach this listener, and no token is configured.
    NotLocal,
    /// A page in a browser asks, and no token is configured.
    Browser,
    Missing,
    Wrong,
    /// The file with the token cannot be used.
    Unreadable,
}

impl Access {
    pub(crate) fn new(token: Option<SecretPlace>, address: SocketAddr) -> Self {
        Self {
            token,
            is_local: address.ip().to_canonical().is_loopback(),
        }
    }

    /// Whether the token is shown.
    pub(super) async fn is_shown(&self, headers: &HeaderMap) -> bool {
        self.token.is_some() && self.check(headers).await.is_ok()
    }

    /// Who may ask what would become of a request: whoever reaches the listener from this machine,
    /// our own page included; from elsewhere the token is needed.
    pub(super) async fn check_question(&self, headers: &HeaderMap) -> Result<(), Denied> {
        if self.is_local {
            return Ok(());
        }
        self.check(headers).await
    }

    pub(super) async fn check(&self, headers: &HeaderMap) -> Result<(), Denied> {
        let Some(token) = &self.token else {
            return match (self.is_local, headers.contains_key(ORIGIN)) {
                (false, _) => Err(Denied::NotLocal),
                // A page of anybody's that a person on this machine has open could ask as well.
                (true, true) => Err(Denied::Browser),
                (true, false) => Ok(()),
            };
        };
        let shown = bearer(headers).ok_or(Denied::Missing)?;
        let token = read(token).await.ok_or(Denied::Unreadable)?;
        verify_slices_are_equal(shown, token.bytes()).map_err(|_unequal| Denied::Wrong)
    }
}

/// The credential of the one `Authorization` header (RFC 6750 section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return None;
    };
    let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

async fn read(token: &SecretPlace) -> Option<Secret> {
    let (path, encoding) = match token {
        SecretPlace::Value(secret) => return Some(secret.clone()),
        SecretPlace::File { path, encoding } => (path.clone(), *encoding),
    };
    let read = tokio::task::spawn_blocking(move || {
        let read = files::read_file(&path, FILE_BYTES_MAX).map_err(|error| error.to_string());
        let secret = read.and_then(|(text, _)| {
            let secret = encoding.decode(&text);
            secret.map_err(|error| format!("`{path}`: {error}"))
        });
        secret.and_then(|secret| {
            let is_long_enough = AdminSpec::is_long_enough(&secret);
            let short = || format!("`{path}`: the token is too short");
            is_long_enough.then_some(secret).ok_or_else(short)
        })
    });
    let read = read.await.expect("reading a file does not panic");
    let warn =
        |error| tracing::warn!(%error, "`admin.token` cannot be read; nobody may change anything");
    read.map_err(warn).ok()
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};
    use gateway_core::file::SecretEncoding;

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    async fn asked(
        token: Option<SecretPlace>,
        address: &str,
        shown: &[(HeaderName, &str)],
    ) -> Result<(), Denied> {
        let headers = shown
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()));
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            all.append(name, value);
        }
        Access::new(token, address.parse().unwrap())
            .check(&all)
            .await
    }

    #[tokio::test]
    async fn without_a_token_only_this_machine_may() {
        for (address, shown, expected) in [
            ("127.0.0.1:9090", vec![], Ok(())),
            ("[::1]:9090", vec![], Ok(())),
            ("[::ffff:127.0.0.1]:9090", vec![], Ok(())),
            ("0.0.0.0:9090", vec![], Err(Denied::NotLocal)),
            ("10.0.0.1:9090", vec![], Err(Denied::NotLocal)),
            (
                "127.0.0.1:9090",
                vec![(ORIGIN, "http://evil.example")],
                Err(Denied::Browser),
            ),
        ] {
            assert_eq!(asked(None, address, &shown).await, expected, "{address}");
        }
    }

    #[tokio::test]
    async fn a_token_that_is_configured_must_be_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let file = SecretPlace::File {
            path: path.display().to_string(),
            encoding: SecretEncoding::Utf8,
        };
        let secret = SecretPlace::Value(SecretEncoding::Utf8.decode(TOKEN.as_bytes()).unwrap());
        let right = format!("Bearer {TOKEN}");
        let shown = || vec![(AUTHORIZATION, right.as_str())];
        let ask = |token: &SecretPlace, shown: Vec<(HeaderName, &'static str)>| {
            let token = token.clone();
            async move { asked(Some(token), "127.0.0.1:9090", &shown).await }
        };
        for token in [&secret, &file] {
            std::fs::write(&path, format!("{TOKEN}\n")).unwrap();
            let good = asked(Some(token.clone()), "0.0.0.0:9090", &shown()).await;
            assert_eq!(good, Ok(()));
            assert_eq!(ask(token, vec![]).await, Err(Denied::Missing));
            let wrong = vec![(AUTHORIZATION, "Bearer 0123456789abcdee")];
            assert_eq!(ask(token, wrong).await, Err(Denied::Wrong));
            let basic = vec![(AUTHORIZATION, "Basic 0123456789abcdef")];
            assert_eq!(ask(token, basic).await, Err(Denied::Missing));
        }
        for content in ["short", ""] {
            std::fs::write(&path, content).unwrap();
            let unusable = asked(Some(file.clone()), "127.0.0.1:9090", &shown()).await;
            assert_eq!(unusable, Err(Denied::Unreadable), "{content}");
        }
    }
}

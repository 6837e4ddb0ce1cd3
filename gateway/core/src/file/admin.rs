//! `admin:` where the process is looked at and told what to do.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Address;
use super::compile::Checker;
use super::secrets::{Secret, SecretPlace, SecretSpec, Wanted};

/// Where health, readiness and metrics are served unless the file says otherwise.
const DEFAULT_ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9090);
/// Bytes of a token that nobody guesses.
const TOKEN_BYTES_MIN: usize = 16;

/// The admin listener.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AdminSpec {
    /// `address:port`; default `127.0.0.1:9090`, which other machines cannot reach.
    #[serde(default = "default_address")]
    pub address: Address,
    /// What `Authorization: Bearer` must show to change anything, such as `POST /reload`; at least
    /// 16 bytes. Default none: then it may be changed from this machine alone, and only where
    /// `address` is of this machine.
    #[serde(default)]
    pub token: Option<SecretSpec>,
}

impl Default for AdminSpec {
    fn default() -> Self {
        Self {
            address: default_address(),
            token: None,
        }
    }
}

fn default_address() -> Address {
    Address(DEFAULT_ADDRESS)
}

impl AdminSpec {
    /// Whether a token has the bytes that it needs.
    #[must_use]
    pub fn is_long_enough(token: &Secret) -> bool {
        token.bytes().len() >= TOKEN_BYTES_MIN
    }

    /// Where the token is that allows changes.
    pub(super) fn token(&self, check: &mut Checker<'_>) -> Option<SecretPlace> {
        let wanted = Wanted {
            noun: "token",
            fault: &|token| {
                let fault = || {
                    format!(
                        "the token is shorter than {TOKEN_BYTES_MIN} bytes; \
                         make one with `openssl rand -hex 32`"
                    )
                };
                (!Self::is_long_enough(token)).then(fault)
            },
        };
        let spec = self.token.as_ref()?;
        spec.place("admin.token", "{env: ADMIN_TOKEN}", &wanted, check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;
    use crate::file::{SecretEncoding, read};

    fn token(spec: &str, value: Option<&str>) -> Result<Option<SecretPlace>, String> {
        let text = format!(
            "version: 1\nadmin: {{token: {spec}}}\nroutes:\n  - {{name: all, \
             match: {{path_prefix: /}}, auth: none, respond: {{status: 204}}}}\n"
        );
        let source = Source {
            name: "the test's file",
            text: &text,
        };
        let variables = |name: &str| (name == "TOKEN").then(|| value.map(str::to_owned))?;
        let compiled = read(source, &variables).map_err(|problems| problems.to_string())?;
        assert_eq!(compiled.settings.admin, DEFAULT_ADDRESS);
        Ok(compiled.settings.admin_token)
    }

    #[test]
    fn a_token_has_one_place_and_is_long_enough() {
        let long = "0123456789abcdef";
        let secret = SecretEncoding::Utf8.decode(long.as_bytes()).unwrap();
        assert_eq!(
            token("{env: TOKEN}", Some(long)),
            Ok(Some(SecretPlace::Value(secret)))
        );
        let file = SecretPlace::File {
            path: "/run/token".into(),
            encoding: SecretEncoding::Hex,
        };
        assert_eq!(
            token("{file: /run/token, encoding: hex}", None),
            Ok(Some(file))
        );
        for (spec, value, told) in [
            ("{env: TOKEN}", Some(&long[1..]), "openssl rand -hex 32"),
            ("{env: TOKEN}", None, "is not set"),
            ("{env: TOKEN}", Some(""), "the secret is empty"),
            ("{env: TOKEN, encoding: hex}", Some("zz"), "hex"),
            ("{env: TOKEN, file: /t}", Some(long), "exclude each other"),
            ("{encoding: hex}", None, "neither `env` nor `file`"),
            ("{file: \"\"}", None, "`file` is empty"),
        ] {
            let refused = token(spec, value).unwrap_err();
            assert!(refused.contains(told), "{spec}: {refused}");
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                assert!(!refused.contains(value), "{refused}");
            }
        }
    }
}

//! `admin:` where the process is looked at and told what to do.

use std::net::SocketAddr;

use schemars::JsonSchema;
use serde::Deserialize;

use super::compile::{Checker, split_help};
use super::{Address, Secret, SecretEncoding, SecretSpec};

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

/// Where the token is that allows changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminToken {
    /// Of the environment.
    Secret(Secret),
    /// In a file, which is read each time that it is asked for.
    File {
        /// Its path.
        path: String,
        /// How it is written there.
        encoding: SecretEncoding,
    },
}

impl AdminToken {
    /// Whether a token has the bytes that it needs.
    #[must_use]
    pub fn is_long_enough(secret: &Secret) -> bool {
        secret.bytes().len() >= TOKEN_BYTES_MIN
    }
}

impl AdminSpec {
    pub(super) fn token(&self, check: &mut Checker<'_>) -> Option<AdminToken> {
        const AT: &str = "admin.token";
        let spec = self.token.as_ref()?;
        match (&spec.env, &spec.file) {
            (Some(name), None) => variable(name, spec.encoding, check),
            (None, Some(path)) => {
                let help = "write the path of a file with the token";
                check.not_empty("admin.token.file", path, help);
                Some(AdminToken::File {
                    path: path.clone(),
                    encoding: spec.encoding,
                })
            }
            (both, _) => {
                let message = match both {
                    Some(_) => "`env` and `file` exclude each other",
                    None => "neither `env` nor `file` is given",
                };
                let remedy = "say one place of the token, such as `{env: ADMIN_TOKEN}`";
                check.problem(AT, message, Some(remedy.into()));
                None
            }
        }
    }
}

fn variable(name: &str, encoding: SecretEncoding, check: &mut Checker<'_>) -> Option<AdminToken> {
    const AT: &str = "admin.token.env";
    let Some(text) = check.variable(name) else {
        let message = format!("the variable `{name}` is not set");
        check.problem(AT, message, Some("set it, or name another one".into()));
        return None;
    };
    match encoding.decode(text.as_bytes()) {
        Ok(secret) if AdminToken::is_long_enough(&secret) => Some(AdminToken::Secret(secret)),
        Ok(_) => {
            check.problem(
                AT,
                format!("the token in `{name}` is shorter than {TOKEN_BYTES_MIN} bytes"),
                Some("make one with `openssl rand -hex 32`".into()),
            );
            None
        }
        Err(error) => {
            let (message, help) = split_help(&error.to_string());
            let help = help.or_else(|| Some(format!("put a token into `{name}`")));
            check.problem(AT, format!("`{name}`: {message}"), help);
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;
    use crate::file::read;

    fn token(spec: &str, value: Option<&str>) -> Result<Option<AdminToken>, String> {
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
            Ok(Some(AdminToken::Secret(secret)))
        );
        let file = AdminToken::File {
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

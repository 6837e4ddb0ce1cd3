//! `revocations:` where a provider's deny list is.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::compile::Checker;
use super::key_sources::is_private_way;
use crate::config::join;
use crate::words::units::HumanDuration;

/// A deny list, as written: a file or a URL.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RevocationsSpec {
    /// A file, read again when it changes.
    #[serde(default)]
    pub file: Option<String>,
    /// A URL, fetched in the background; https, or http on loopback.
    #[serde(default)]
    pub url: Option<String>,
    /// Time between two fetches of `url`, 5 s to 1 h; default 30 s.
    #[serde(default)]
    pub refresh_interval: Option<HumanDuration>,
    /// Whether `url` may be plain http on another host; default false. Whoever can listen in
    /// there can also take entries out of the list.
    #[serde(default)]
    pub allow_http: bool,
}

/// Where a document comes from that may change while the gateway runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DocumentSource {
    /// A file's path.
    File(String),
    /// Fetched over HTTP.
    Url {
        /// Where.
        url: String,
        /// Time between two fetches.
        refresh_interval: Duration,
        /// Whether plain http will do where it is not loopback.
        is_http_allowed: bool,
    },
}

impl RevocationsSpec {
    pub(super) fn compile(&self, at: &str, check: &mut Checker<'_>) -> DocumentSource {
        let refresh_interval = check.duration(
            join(at, "refresh_interval"),
            self.refresh_interval,
            Duration::from_secs(30),
            Duration::from_secs(5)..=Duration::from_hours(1),
        );
        match (&self.file, &self.url) {
            (Some(file), None) => {
                let help = "write the path of a file with a deny list";
                check.not_empty(&join(at, "file"), file, help);
                for (key, is_given) in [
                    ("refresh_interval", self.refresh_interval.is_some()),
                    ("allow_http", self.allow_http),
                ] {
                    if is_given {
                        check.problem(
                            join(at, key),
                            format!("`{key}` means nothing for a file"),
                            Some("take it out: a file is looked at every 2 s".into()),
                        );
                    }
                }
                DocumentSource::File(file.clone())
            }
            (None, Some(url)) => {
                self.check_url(url, &join(at, "url"), check);
                DocumentSource::Url {
                    url: url.clone(),
                    refresh_interval,
                    is_http_allowed: self.allow_http,
                }
            }
            (both, _) => {
                let message = match both {
                    Some(_) => "`file` and `url` exclude each other",
                    None => "neither `file` nor `url` is given",
                };
                let help = "say one place where the deny list is";
                check.problem(at, message, Some(help.into()));
                DocumentSource::File(String::new())
            }
        }
    }

    fn check_url(&self, url: &str, at: &str, check: &mut Checker<'_>) {
        let Some(parsed) = check.url(at, url, "https://issuer.example/revoked.json") else {
            return;
        };
        let host = parsed.host().unwrap_or_default();
        let scheme = parsed.scheme_str().unwrap_or_default();
        if !self.allow_http && !is_private_way(scheme, host) {
            check.problem(
                at,
                format!("the deny list of `{host}` would come over plain http"),
                Some("use https, or say `allow_http: true` if nobody else is on the wire".into()),
            );
        }
    }
}

//! The provider's process, and what a test makes it do.

use std::env;
use std::io::{BufRead as _, BufReader};
use std::ops::Sub;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::load::Batch;
use crate::support::http_client::{self, Fetch as _, client};
use crate::support::{eventually, runtime};

/// Audience of the tokens.
pub(crate) const AUDIENCE: &str = "api";
/// How the provider signs; half of the tokens each.
const RESOURCES: [&str; 2] = ["urn:api:RS256", "urn:api:ES256"];
/// Tokens fetched at a time.
const BATCH_TOKENS: usize = 16;
/// Where to find what `./copilotw.sh test` installs.
const NODE: &str = "OIDC_NODE";
const PACKAGES: &str = "OIDC_PACKAGES";

/// A running provider; it ends when dropped, as its standard input closes.
pub(crate) struct Issuer {
    url: String,
    control: String,
    process: Child,
}

/// Requests that the provider has seen.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Counts {
    pub(crate) discovery: u64,
    pub(crate) jwks: u64,
    /// Requests that went where garbage of some kinds points to.
    pub(crate) elsewhere: u64,
}

impl Sub for Counts {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            discovery: self.discovery - earlier.discovery,
            jwks: self.jwks - earlier.jwks,
            elsewhere: self.elsewhere - earlier.elsewhere,
        }
    }
}

/// A document of the provider, by its name in `provider.mjs`.
pub(crate) const DISCOVERY: &str = "discovery";
pub(crate) const KEY_SET: &str = "jwks";

/// How the provider answers for a document.
pub(crate) enum Answer {
    /// As it does by itself.
    Own,
    /// By itself, this much later.
    After(Duration),
    /// With garbage of this kind.
    Garbage(&'static str),
}

impl Issuer {
    /// Starts the provider; its first keys have the number 1.
    pub(crate) fn start() -> Self {
        let installed = |name: &str| {
            env::var_os(name).unwrap_or_else(|| {
                panic!("{name} is not set; run ./copilotw.sh test, which installs the provider")
            })
        };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oidc_provider/provider.mjs");
        let mut process = Command::new(installed(NODE))
            .arg(script)
            .arg(installed(PACKAGES))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("the program that {NODE} names: {error}"));
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("piped"))
            .read_line(&mut line)
            .expect("the provider writes text");
        let places: Value = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("the provider did not start; above it says why"));
        let place = |name: &str| places[name].as_str().expect("a URL").to_owned();
        Self {
            url: place("issuer"),
            control: place("control"),
            process,
        }
    }

    /// What `iss` is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    fn tell(&self, command: &str, what: &Value) -> Counts {
        let request = client().post(format!("{}/{command}", self.control));
        let reply = request.body(what.to_string()).fetch();
        assert_eq!(reply.status(), 200, "{command}: {}", reply.text());
        serde_json::from_slice(&reply.body).expect("counts")
    }

    /// Publishes the keys of these numbers, and signs with those of `sign`.
    pub(crate) fn publish(&self, numbers: &[u32], sign: u32) {
        self.tell("keys", &json!({"publish": numbers, "sign": sign}));
    }

    /// Refuses connections, or takes them again.
    pub(crate) fn listen(&self, open: bool) {
        self.tell("listen", &json!({"open": open}));
    }

    /// Decides how these documents are answered for; the others come as the provider makes them.
    pub(crate) fn answer(&self, documents: &[&str], answer: &Answer) {
        let how = match answer {
            Answer::Own => json!({"to": []}),
            Answer::After(pause) => json!({"to": documents, "after_ms": pause.as_millis()}),
            Answer::Garbage(kind) => json!({"to": documents, "kind": kind}),
        };
        self.tell("answers", &how);
    }

    pub(crate) fn counts(&self) -> Counts {
        self.tell("counts", &json!({}))
    }

    /// Waits until it has been asked this many times more than it had at `earlier`, by what
    /// `count` counts.
    pub(crate) fn wait_for(&self, earlier: Counts, count: fn(Counts) -> u64, more: u64) {
        eventually("the gateway asks the provider", || {
            (count(self.counts() - earlier) >= more).then_some(())
        });
    }

    /// Fresh tokens from the token endpoint (RFC 6749 section 4.4, RFC 8707).
    pub(crate) fn tokens(&self) -> Arc<Batch> {
        let fetches = (0..BATCH_TOKENS).map(|index| self.token(RESOURCES[index % RESOURCES.len()]));
        let tokens = runtime().block_on(try_join_all(fetches));
        Arc::new(Batch::new(tokens.expect("the token endpoint answers")))
    }

    async fn token(&self, resource: &str) -> Result<HeaderValue, reqwest::Error> {
        let form = format!(
            "grant_type=client_credentials&client_id=load&client_secret=known-to-the-test\
             &scope=users:read&resource={resource}"
        );
        let request = client().post(format!("{}/token", self.url)).body(form);
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let answer = http_client::fetch(request).await?.json();
        let token = answer["access_token"]
            .as_str()
            .unwrap_or_else(|| panic!("no token: {answer}"));
        Ok(HeaderValue::try_from(format!("Bearer {token}")).expect("base64url"))
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        // It may have ended already, which is all that is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

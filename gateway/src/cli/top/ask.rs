//! The admin API, asked.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{HeaderMap, Method};
use mesh::client::Client;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::snapshot::{Refusals, Routes, Snapshot, Upstreams};
use crate::cli::bearer;

/// Bytes of one answer: 2,000 routes or upstreams with their endpoints.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Whom to ask, and as whom.
pub(super) struct Asker {
    client: Client,
    url: String,
    headers: HeaderMap,
    began: Instant,
}

impl Asker {
    pub(super) fn new(url: &str, token: Option<&str>, timeout: Duration) -> anyhow::Result<Self> {
        Ok(Self {
            client: Client {
                timeout,
                max_body_bytes: ANSWER_BYTES_MAX,
            },
            url: url.trim_end_matches('/').to_owned(),
            headers: bearer::headers(token)?,
            began: Instant::now(),
        })
    }

    /// All that is shown, as it is now.
    pub(super) async fn ask(&self) -> anyhow::Result<Snapshot> {
        let routes: Routes = self.get("routes").await?;
        let upstreams: Upstreams = self.get("upstreams").await?;
        let refusals: Refusals = self.get("refusals").await?;
        Ok(Snapshot {
            at: self.began.elapsed(),
            status: self.get("status").await?,
            config: self.get("config").await?,
            limits: self.get("limits").await?,
            keys: self.get("keys").await?,
            routes,
            upstreams,
            refusals,
        })
    }

    async fn get<T: DeserializeOwned>(&self, what: &str) -> anyhow::Result<T> {
        let url = format!("{}/api/v1/{what}", self.url);
        let headers = self.headers.clone();
        let answer = self.client.send(Method::GET, &url, headers, Bytes::new());
        let answer = answer.await?;
        if !answer.status().is_success() {
            let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
            let detail = body["detail"].as_str().unwrap_or_default();
            bail!("{url} answered {}: {detail}", answer.status());
        }
        serde_json::from_slice(answer.body())
            .with_context(|| format!("{url} did not answer as the admin API of a gateway does"))
    }
}

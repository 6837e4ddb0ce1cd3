//! The same POST over TLS: for a collector that is somebody else's.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Response};
use rustls::ClientConfig;

use super::{PostError, Transport};
use crate::client::Client;
use crate::tls::{self, TlsError};

/// Sends to a collector over TLS.
#[derive(Clone, Debug)]
pub struct Https {
    client: Client,
    url: String,
    tls: Arc<ClientConfig>,
}

impl Https {
    /// Within the client's bounds, to an `https:` URL. Trusts the system's root certificates, and
    /// those in the PEM file `ca`, which `setting` names.
    ///
    /// # Errors
    /// [`TlsError`] where nobody can be trusted.
    pub fn new(
        client: Client,
        url: String,
        ca: Option<&Path>,
        setting: &'static str,
    ) -> Result<Self, TlsError> {
        let tls = Arc::new(tls::trusting(ca, setting)?);
        Ok(Self { client, url, tls })
    }
}

impl Transport for Https {
    async fn post(&self, headers: HeaderMap, body: Bytes) -> Result<Response<Bytes>, PostError> {
        let answer = self
            .client
            .post_over_tls(&self.tls, &self.url, headers, body);
        Ok(answer.await?)
    }
}

//! One POST over plain HTTP: for a collector on the same host, or beside the service in its task.

use bytes::Bytes;
use http::{HeaderMap, Response};

use super::{PostError, Transport};
use crate::client::Client;

/// Sends to a collector over plain HTTP.
#[derive(Clone, Debug)]
pub struct PlainHttp {
    /// Its bounds.
    pub client: Client,
    /// As http://HOST:PORT/PATH.
    pub url: String,
}

impl Transport for PlainHttp {
    async fn post(&self, headers: HeaderMap, body: Bytes) -> Result<Response<Bytes>, PostError> {
        Ok(self.client.post(&self.url, headers, body).await?)
    }
}

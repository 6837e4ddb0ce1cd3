//! The zone that the gateway itself runs in, from the task metadata of Amazon
//! ECS.
//!
//! <https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4.html>

use std::{sync::Arc, time::Duration};

use serde::Deserialize;

use crate::fetch::{FetchError, Fetched, Fetcher, Get};

/// The variable in which ECS says where a container finds its metadata.
pub(crate) const METADATA_VARIABLE: &str = "ECS_CONTAINER_METADATA_URI_V4";

/// Time to read it. The start waits for this, and goes on without.
const READ_TIMEOUT: Duration = Duration::from_secs(1);

/// Bytes of a task's metadata: some 2 KiB for each of its containers.
const METADATA_BYTES_MAX: usize = 256 * 1024;

/// Why the zone is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ZoneError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("the task metadata is not what ECS documents: {0}")]
    Content(#[from] serde_json::Error),
    #[error("the task metadata names no availability zone")]
    Missing,
}

#[derive(Deserialize)]
struct Task {
    #[serde(rename = "AvailabilityZone", default)]
    availability_zone: String,
}

/// Asks the metadata endpoint at `base` once.
pub(crate) async fn own_zone(base: &str, fetcher: &Fetcher) -> Result<Arc<str>, ZoneError> {
    let url = format!("{}/task", base.trim_end_matches('/'));
    let answer = fetcher.get(Get {
        url: &url,
        // A link-local address, which no packet leaves the host for.
        is_http_allowed: true,
        accept: "application/json",
        etag: None,
        bytes_max: METADATA_BYTES_MAX,
        timeout: READ_TIMEOUT,
    });
    let Fetched::Document { body, .. } = answer.await? else {
        return Err(ZoneError::Missing);
    };
    let task: Task = serde_json::from_slice(&body)?;
    if task.availability_zone.is_empty() {
        return Err(ZoneError::Missing);
    }
    Ok(task.availability_zone.into())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// Answers one request for `/v4/id/task` with this status and body; the base URL.
    async fn metadata(status: &'static str, body: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 4096];
            let length = stream.read(&mut head).await.unwrap();
            assert!(head[..length].starts_with(b"GET /v4/id/task HTTP/1.1\r\n"));
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        format!("http://{address}/v4/id")
    }

    #[tokio::test]
    async fn the_zone_is_the_one_of_the_task() {
        let task = r#"{"Cluster": "shop", "AvailabilityZone": "eu-west-1b", "Containers": []}"#;
        let cases = [
            ("200 OK", task, "eu-west-1b"),
            (
                "200 OK",
                "{}",
                "the task metadata names no availability zone",
            ),
            (
                "200 OK",
                "<html>",
                "the task metadata is not what ECS documents",
            ),
            ("404 Not Found", "", "answered with status 404"),
        ];
        for (status, body, expected) in cases {
            let base = metadata(status, body).await;
            let got = match own_zone(&base, &Fetcher::new().unwrap()).await {
                Ok(zone) => zone.to_string(),
                Err(error) => error.to_string(),
            };
            assert!(got.contains(expected), "{status} {body}: {got}");
        }
    }
}

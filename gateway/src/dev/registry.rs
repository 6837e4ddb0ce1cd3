//! A local registry that speaks Cloud Map's own protocol (awsJson1.1).
//!
//! `gateway dev` points the gateway's real AWS SDK and the services at it, so
//! that development runs the production path. It serves the operations that
//! those two use, keeps everything in memory and forgets it at the end.

mod directory;

use std::io;
use std::net::SocketAddr;

use http::header::{HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

pub use directory::{
    Attributes, Directory, Found, Health, HealthFilter, MAX_INSTANCES, Query, Refusal,
};

use super::loopback::{Answer, Call, Loopback, text, with_body};

const CONTENT: &str = "application/x-amz-json-1.1";
const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const TARGET_PREFIX: &str = "Route53AutoNaming_v20170314.";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");

/// A running registry; dropping it ends it.
#[derive(Debug)]
pub struct Registry {
    server: Loopback,
}

impl Registry {
    /// Serves `directory` on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(directory: Directory) -> io::Result<Self> {
        let server = Loopback::start(move |call| answer(&directory, &call)).await?;
        Ok(Self { server })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// What `CLOUD_MAP_ENDPOINT` and a routes file's `endpoint` say.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RegisterInstance {
    service_id: String,
    instance_id: String,
    attributes: Attributes,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DeregisterInstance {
    service_id: String,
    instance_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateInstanceCustomHealthStatus {
    service_id: String,
    instance_id: String,
    status: Health,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DiscoverInstancesRevision {
    namespace_name: String,
    service_name: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Discovered {
    instances: Vec<Found>,
    instances_revision: i64,
}

fn answer(directory: &Directory, call: &Call) -> Answer {
    if call.method != Method::POST || call.path != "/" {
        return text(StatusCode::NOT_FOUND, "this is a registry: POST / only");
    }
    let operation = call
        .headers
        .get(&TARGET)
        .and_then(|target| target.to_str().ok())
        .and_then(|target| target.strip_prefix(TARGET_PREFIX))
        .unwrap_or_default();
    let mut answer = match run(directory, operation, &call.body) {
        Ok(body) => with_body(StatusCode::OK, CONTENT, body),
        Err((code, message)) => {
            tracing::debug!(operation, code, message, "registry refused");
            let body = json!({"__type": code, "Message": message}).to_string();
            with_body(StatusCode::BAD_REQUEST, CONTENT, body)
        }
    };
    let request_id = HeaderValue::from_str(&format!("{:032x}", fastrand::u128(..)))
        .expect("hexadecimal digits are a header value");
    answer.headers_mut().insert(REQUEST_ID, request_id);
    answer
}

/// An error's `__type` and its message.
type Failure = (&'static str, String);

fn run(directory: &Directory, operation: &str, body: &[u8]) -> Result<String, Failure> {
    match operation {
        "RegisterInstance" => {
            let input: RegisterInstance = parse(body)?;
            directory
                .register(&input.service_id, &input.instance_id, input.attributes)
                .map_err(failure)?;
            Ok(operation_id())
        }
        "DeregisterInstance" => {
            let input: DeregisterInstance = parse(body)?;
            directory
                .deregister(&input.service_id, &input.instance_id)
                .map_err(failure)?;
            Ok(operation_id())
        }
        "UpdateInstanceCustomHealthStatus" => {
            let input: UpdateInstanceCustomHealthStatus = parse(body)?;
            directory
                .set_health(&input.service_id, &input.instance_id, input.status)
                .map_err(failure)?;
            Ok("{}".to_owned())
        }
        "DiscoverInstances" => {
            let (instances, instances_revision) =
                directory.discover(&parse(body)?).map_err(failure)?;
            Ok(json!(Discovered {
                instances,
                instances_revision
            })
            .to_string())
        }
        "DiscoverInstancesRevision" => {
            let input: DiscoverInstancesRevision = parse(body)?;
            let revision = directory
                .revision(&input.namespace_name, &input.service_name)
                .map_err(failure)?;
            Ok(json!({"InstancesRevision": revision}).to_string())
        }
        _ => Err((
            "UnknownOperationException",
            "this registry knows RegisterInstance, DeregisterInstance, DiscoverInstances, \
             DiscoverInstancesRevision and UpdateInstanceCustomHealthStatus"
                .to_owned(),
        )),
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| ("InvalidInput", error.to_string()))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err takes"
)]
fn failure(refusal: Refusal) -> Failure {
    (refusal.code(), refusal.to_string())
}

/// Changes are done when they are answered, so an operation's id is only a name.
fn operation_id() -> String {
    json!({"OperationId": format!("{:032x}", fastrand::u128(..))}).to_string()
}

#[cfg(test)]
mod tests;

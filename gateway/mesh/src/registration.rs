//! Registers an instance in a registry that speaks AWS Cloud Map's protocol.
//!
//! The requests are not signed: this is for the local registry of `gateway dev`
//! only. On AWS, ECS registers each task itself, and nothing here may be
//! configured.
//!
//! The protocol is awsJson1.1: `POST /`, the operation in `X-Amz-Target`
//! (<https://docs.aws.amazon.com/cloud-map/latest/api/API_RegisterInstance.html>).

use std::net::SocketAddrV4;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use crate::client::{Client, ClientError};
use crate::request_id::RequestId;

/// Times that a registration is tried before it counts as failed: about 20 s in all.
pub const MAX_ATTEMPTS: u32 = 12;
/// Wait after the first failed attempt; it doubles up to [`MAX_BACKOFF`].
pub const FIRST_BACKOFF: Duration = Duration::from_millis(50);
/// Longest wait between two attempts, jitter not counted.
pub const MAX_BACKOFF: Duration = Duration::from_secs(4);
/// Time for one registering request.
pub const REGISTER_TIMEOUT: Duration = Duration::from_secs(2);
/// Time for deregistering, which is tried once: a stop does not wait for a registry.
pub const DEREGISTER_TIMEOUT: Duration = Duration::from_secs(1);

const X_AMZ_TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const AWS_JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");
const REGISTER: HeaderValue =
    HeaderValue::from_static("Route53AutoNaming_v20170314.RegisterInstance");
const DEREGISTER: HeaderValue =
    HeaderValue::from_static("Route53AutoNaming_v20170314.DeregisterInstance");
/// Part of a refusal that an error repeats, in bytes.
const MAX_QUOTED_BYTES: usize = 256;

/// Where and as what to register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The registry, `http://HOST:PORT`.
    pub endpoint: String,
    /// Id of the Cloud Map service, such as `srv-users`.
    pub service_id: String,
    /// Id of this instance, unique within the service.
    pub instance_id: String,
    /// Availability zone of this instance, if it is known.
    pub availability_zone: Option<String>,
}

/// Why the registry does not list us.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    /// No answer.
    #[error("registry {endpoint} does not answer; is it running?")]
    Unreachable {
        /// The registry.
        endpoint: String,
        /// What happened to the request.
        source: ClientError,
    },
    /// The registry answered, and not with 200.
    #[error("registry {endpoint} refused service `{service_id}` with {status}: {answer}")]
    Refused {
        /// The registry.
        endpoint: String,
        /// Id of the Cloud Map service.
        service_id: String,
        /// Status of the answer.
        status: StatusCode,
        /// The beginning of the answer, which names the reason.
        answer: String,
    },
}

impl RegistrationError {
    /// Whether the same request may succeed later.
    fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => !matches!(source, ClientError::Url { .. }),
            Self::Refused { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RegisterInstance<'a> {
    service_id: &'a str,
    instance_id: &'a str,
    creator_request_id: &'a str,
    attributes: Attributes<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
struct Attributes<'a> {
    aws_instance_ipv4: String,
    aws_instance_port: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    availability_zone: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DeregisterInstance<'a> {
    service_id: &'a str,
    instance_id: &'a str,
}

impl Registration {
    /// Registers `address`, which must be listening already.
    ///
    /// Tries [`MAX_ATTEMPTS`] times, with a doubling and jittered wait between; a
    /// refusal that no repetition can change ends it at once.
    ///
    /// # Errors
    /// The last attempt's error.
    pub async fn register(
        &self,
        address: SocketAddrV4,
        rng: &mut Rng,
    ) -> Result<(), RegistrationError> {
        // One id for all attempts, so that the registry can tell a repetition.
        let creator_request_id = RequestId::random(rng);
        let body = to_json(&RegisterInstance {
            service_id: &self.service_id,
            instance_id: &self.instance_id,
            creator_request_id: creator_request_id.as_str(),
            attributes: Attributes {
                aws_instance_ipv4: address.ip().to_string(),
                aws_instance_port: address.port().to_string(),
                availability_zone: self.availability_zone.as_deref(),
            },
        });
        let mut backoff = FIRST_BACKOFF;
        for attempt in 1.. {
            match self.call(REGISTER, body.clone(), REGISTER_TIMEOUT).await {
                Err(error) if attempt < MAX_ATTEMPTS && error.is_transient() => {
                    tracing::debug!(%error, attempt, "registration failed, trying again");
                }
                outcome => return outcome,
            }
            tokio::time::sleep(backoff.mul_f64(0.5 + rng.f64())).await;
            backoff = (backoff * 2).min(MAX_BACKOFF);
        }
        unreachable!("the last attempt returns")
    }

    /// Takes this instance out of the registry; tried once.
    ///
    /// # Errors
    /// When the registry did not confirm within [`DEREGISTER_TIMEOUT`].
    pub async fn deregister(&self) -> Result<(), RegistrationError> {
        let body = to_json(&DeregisterInstance {
            service_id: &self.service_id,
            instance_id: &self.instance_id,
        });
        self.call(DEREGISTER, body, DEREGISTER_TIMEOUT).await
    }

    async fn call(
        &self,
        operation: HeaderValue,
        body: Bytes,
        timeout: Duration,
    ) -> Result<(), RegistrationError> {
        let headers = HeaderMap::from_iter([(X_AMZ_TARGET, operation), (CONTENT_TYPE, AWS_JSON)]);
        let answer = Client::new(timeout)
            .post(&self.endpoint, headers, body)
            .await;
        let answer = answer.map_err(|source| RegistrationError::Unreachable {
            endpoint: self.endpoint.clone(),
            source,
        })?;
        if answer.status() == StatusCode::OK {
            return Ok(());
        }
        let quoted = &answer.body()[..answer.body().len().min(MAX_QUOTED_BYTES)];
        Err(RegistrationError::Refused {
            endpoint: self.endpoint.clone(),
            service_id: self.service_id.clone(),
            status: answer.status(),
            answer: String::from_utf8_lossy(quoted).into_owned(),
        })
    }
}

fn to_json(message: &impl Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec(message).expect("a struct of strings serializes"))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use http_body_util::{BodyExt, Full};
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper::{Request, Response};
    use hyper_util::rt::TokioIo;
    use serde_json::{Value, json};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;

    const ADDRESS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 8081);

    /// A registry that answers with each of `statuses` in turn, and what it was asked.
    async fn registry(
        statuses: &'static [u16],
    ) -> (SocketAddr, mpsc::UnboundedReceiver<(String, Value)>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, questions) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            for status in statuses {
                let (stream, _) = listener.accept().await.unwrap();
                let asked = asked.clone();
                let service = service_fn(async |request: Request<hyper::body::Incoming>| {
                    assert_eq!(request.uri(), "/");
                    assert_eq!(request.headers()[CONTENT_TYPE], AWS_JSON);
                    let target = request.headers()[X_AMZ_TARGET].to_str().unwrap().to_owned();
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    asked
                        .send((target, serde_json::from_slice(&body).unwrap()))
                        .unwrap();
                    let answer = Response::builder().status(*status);
                    answer.body(Full::new(Bytes::from(r#"{"__type":"ServiceNotFound"}"#)))
                });
                // The client hangs up after its answer, in the middle of keep-alive.
                let _ = http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            }
        });
        (address, questions)
    }

    fn registration(address: SocketAddr) -> Registration {
        Registration {
            endpoint: format!("http://{address}"),
            service_id: "srv-users".into(),
            instance_id: "i-1".into(),
            availability_zone: None,
        }
    }

    #[tokio::test]
    async fn a_registration_is_repeated_until_the_registry_takes_it() {
        let (address, mut questions) = registry(&[500, 503, 200, 200]).await;
        let mut registration = registration(address);
        registration.availability_zone = Some("eu-central-1a".into());
        registration
            .register(ADDRESS, &mut Rng::with_seed(1))
            .await
            .unwrap();
        let (target, first) = questions.recv().await.unwrap();
        assert_eq!(target, "Route53AutoNaming_v20170314.RegisterInstance");
        assert_eq!(
            first,
            json!({
                "ServiceId": "srv-users",
                "InstanceId": "i-1",
                "CreatorRequestId": RequestId::random(&mut Rng::with_seed(1)).as_str(),
                "Attributes": {
                    "AWS_INSTANCE_IPV4": "127.0.0.1",
                    "AWS_INSTANCE_PORT": "8081",
                    "AVAILABILITY_ZONE": "eu-central-1a",
                },
            })
        );
        assert_eq!(questions.recv().await.unwrap().1, first);
        assert_eq!(questions.recv().await.unwrap().1, first);

        registration.deregister().await.unwrap();
        let (target, body) = questions.recv().await.unwrap();
        assert_eq!(target, "Route53AutoNaming_v20170314.DeregisterInstance");
        assert_eq!(body, json!({"ServiceId": "srv-users", "InstanceId": "i-1"}));
    }

    #[tokio::test]
    async fn a_refusal_that_no_repetition_can_change_ends_it_at_once() {
        let (address, mut questions) = registry(&[400]).await;
        let error = registration(address)
            .register(ADDRESS, &mut Rng::new())
            .await
            .unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with(r#"400 Bad Request: {"__type":"ServiceNotFound"}"#),
            "{error}"
        );
        assert!(
            questions.recv().await.is_some() && questions.recv().await.is_none(),
            "asked once"
        );

        let mut wrong = registration(address);
        wrong.endpoint = "https://registry".into();
        let error = wrong.register(ADDRESS, &mut Rng::new()).await.unwrap_err();
        assert!(
            matches!(error, RegistrationError::Unreachable { .. }),
            "{error}"
        );
    }
}

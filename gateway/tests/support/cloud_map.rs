//! A registry that does what neither AWS nor an emulator does when asked: throttle, fail, forget.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http::{Response, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::json;

use super::backend::{AnswerBody, Backend, full};

/// How the registry answers.
#[derive(Clone, Debug)]
pub(crate) enum Mood {
    /// With these instances.
    Listing(Vec<SocketAddr>),
    /// With an error of Cloud Map's, by its code.
    Refusing(&'static str),
    /// With 500 and no reason.
    Broken,
}

/// A running registry that speaks Cloud Map's protocol (awsJson 1.1).
pub(crate) struct FakeCloudMap {
    backend: Backend,
    mood: Arc<Mutex<Mood>>,
}

impl FakeCloudMap {
    pub(crate) fn start(mood: Mood) -> Self {
        let mood = Arc::new(Mutex::new(mood));
        let current = Arc::clone(&mood);
        let backend = Backend::answering(move |request| {
            let mood = current
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            async move {
                // The next request must not find the rest of this one.
                let _all = request.into_body().collect().await;
                answer(&mood)
            }
        });
        Self { backend, mood }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.backend.address())
    }

    /// From now on it answers so.
    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }
}

fn answer(mood: &Mood) -> Response<AnswerBody> {
    let (status, body) = match mood {
        Mood::Listing(addresses) => {
            let instances = addresses.iter().map(|address| {
                json!({"InstanceId": address.to_string(), "Attributes": {
                    "AWS_INSTANCE_IPV4": address.ip().to_string(),
                    "AWS_INSTANCE_PORT": address.port().to_string(),
                }})
            });
            let instances: Vec<_> = instances.collect();
            // One body for both operations: the answer about the revision is a part of it.
            let body = json!({"Instances": instances, "InstancesRevision": 1});
            (StatusCode::OK, body.to_string())
        }
        Mood::Refusing(code) => {
            let body = json!({"__type": code, "Message": "as the test says"});
            (StatusCode::BAD_REQUEST, body.to_string())
        }
        Mood::Broken => (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
    };
    let mut response = Response::new(full(body));
    *response.status_mut() = status;
    response
}

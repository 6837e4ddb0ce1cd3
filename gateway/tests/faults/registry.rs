//! A Cloud Map that does what moto cannot: throttle, fail, stay silent, forget.
//!
//! It answers the questions of a gateway (`DiscoverInstances`, `DiscoverInstancesRevision`;
//! awsJson1.1). The suite itself registers instances, without the protocol.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::support::{eventually, runtime};

/// The namespace and the service that it has.
pub(crate) const NAMESPACE: &str = "faults.local";
pub(crate) const SERVICE: &str = "orders";
const CONTENT: &str = "application/x-amz-json-1.1";

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// As Cloud Map does.
    Good,
    /// It has been asked too often.
    Throttled,
    /// An internal failure.
    Failing,
    /// It never answers.
    Silent,
    /// It knows the service, but none of its instances.
    Empty,
}

struct Listing {
    mood: Mood,
    /// Questions since the last change.
    asked: u64,
    revision: i64,
    instances: BTreeMap<SocketAddr, String>,
}

type Shared = Arc<Mutex<Listing>>;

/// A running registry; dropping it ends it.
pub(crate) struct Registry {
    listing: Shared,
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Registry {
    pub(crate) fn start(instances: impl IntoIterator<Item = SocketAddr>) -> Self {
        let listing: Shared = Arc::new(Mutex::new(Listing {
            mood: Mood::Good,
            asked: 0,
            revision: 1,
            instances: BTreeMap::new(),
        }));
        let listen = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = runtime().block_on(listen).expect("port 0 is free");
        let address = listener.local_addr().expect("bound");
        let router = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&listing));
        let serving = runtime().spawn(async move {
            let _never_ends = axum::serve(listener, router).await;
        });
        let registry = Self {
            listing,
            address,
            serving,
        };
        for address in instances {
            registry.register(address);
        }
        registry
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn register(&self, address: SocketAddr) {
        self.change(|listing| {
            listing
                .instances
                .insert(address, format!("task-{}", address.port()));
        });
    }

    pub(crate) fn deregister(&self, address: SocketAddr) {
        self.change(|listing| {
            listing.instances.remove(&address);
        });
    }

    /// From now on it answers so; returns when it has done it once.
    pub(crate) fn turns(&self, mood: Mood) {
        self.change(|listing| listing.mood = mood);
        self.is_asked(1);
    }

    /// Waits until it has been asked so often since the last change.
    pub(crate) fn is_asked(&self, times: u64) {
        eventually("the registry is asked", || {
            (locked(&self.listing).asked >= times).then_some(())
        });
    }

    fn change(&self, change: impl FnOnce(&mut Listing)) {
        let mut listing = locked(&self.listing);
        change(&mut listing);
        listing.revision += 1;
        listing.asked = 0;
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn locked(listing: &Shared) -> MutexGuard<'_, Listing> {
    listing.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Listing {
    fn instances(&self) -> Vec<Value> {
        let instance = |(address, id): (&SocketAddr, &String)| {
            json!({
                "InstanceId": id,
                "NamespaceName": NAMESPACE,
                "ServiceName": SERVICE,
                "HealthStatus": "HEALTHY",
                "Attributes": {
                    "AWS_INSTANCE_IPV4": address.ip().to_string(),
                    "AWS_INSTANCE_PORT": address.port().to_string(),
                },
            })
        };
        self.instances.iter().map(instance).collect()
    }
}

async fn answer(State(listing): State<Shared>, headers: HeaderMap) -> Response {
    let target = headers
        .get("x-amz-target")
        .and_then(|target| target.to_str().ok());
    let operation = target.and_then(|target| target.rsplit('.').next());
    let (mood, revision, instances) = {
        let mut listing = locked(&listing);
        listing.asked += 1;
        (listing.mood, listing.revision, listing.instances())
    };
    let (status, body) = match (mood, operation) {
        (Mood::Silent, _) => std::future::pending().await,
        (Mood::Throttled, _) => {
            let body = json!({"__type": "RequestLimitExceeded", "Message": "slow down"});
            (StatusCode::BAD_REQUEST, body)
        }
        (Mood::Failing, _) => {
            let body = json!({"__type": "InternalFailure", "Message": "our fault"});
            (StatusCode::INTERNAL_SERVER_ERROR, body)
        }
        (_, Some("DiscoverInstancesRevision")) => {
            (StatusCode::OK, json!({"InstancesRevision": revision}))
        }
        (Mood::Empty, _) => {
            let body = json!({"Instances": [], "InstancesRevision": revision});
            (StatusCode::OK, body)
        }
        (Mood::Good, _) => {
            let body = json!({"Instances": instances, "InstancesRevision": revision});
            (StatusCode::OK, body)
        }
    };
    (status, [(CONTENT_TYPE, CONTENT)], body.to_string()).into_response()
}

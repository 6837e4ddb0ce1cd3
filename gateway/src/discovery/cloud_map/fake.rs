//! A server that answers Cloud Map's protocol (awsJson 1.1) as a test says.

use std::{
    convert::Infallible,
    future,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;

/// How the fake treats each request.
#[derive(Clone, Debug)]
pub(super) enum Behaviour {
    Reply { status: u16, body: String },
    Hang,
    Reset,
}

/// What a request looked like.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) host: String,
    pub(super) target: String,
    pub(super) signed: bool,
    pub(super) body: Value,
}

/// A running fake; it ends with the test's runtime.
pub(super) struct Fake {
    pub(super) address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Fake {
    pub(super) async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if matches!(behaviour, Behaviour::Reset) {
                    continue;
                }
                let (behaviour, log) = (behaviour.clone(), Arc::clone(&log));
                let service =
                    service_fn(move |request| answer(request, behaviour.clone(), Arc::clone(&log)));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, seen }
    }

    pub(super) async fn replying(status: u16, body: impl Into<String>) -> Self {
        let body = body.into();
        Self::start(Behaviour::Reply { status, body }).await
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn answer(
    request: Request<Incoming>,
    behaviour: Behaviour,
    log: Arc<Mutex<Vec<Seen>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let header = |name: &str| {
        let value = head.headers.get(name);
        value.map_or(String::new(), |value| value.to_str().unwrap().to_owned())
    };
    log.lock().unwrap().push(Seen {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        host: header("host"),
        target: header("x-amz-target"),
        signed: header("authorization").starts_with("AWS4-HMAC-SHA256 "),
        body: serde_json::from_slice(&body).unwrap(),
    });
    match behaviour {
        Behaviour::Reply { status, body } => Ok(Response::builder()
            .status(status)
            .header("content-type", "application/x-amz-json-1.1")
            .body(Full::new(Bytes::from(body)))
            .unwrap()),
        Behaviour::Hang | Behaviour::Reset => future::pending().await,
    }
}

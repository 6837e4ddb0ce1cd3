//! A server that answers Cloud Map's protocol (awsJson 1.1) as a test says.

use std::{
    future, io,
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

/// What the fake does with the nth call of an operation, from 0.
type Script = dyn Fn(&str, usize) -> Behaviour + Send + Sync;

impl Fake {
    /// The same to every call.
    pub(super) async fn start(behaviour: Behaviour) -> Self {
        Self::playing(move |_, _| behaviour.clone()).await
    }

    /// What the script says to each operation's calls.
    pub(super) async fn playing(
        script: impl Fn(&str, usize) -> Behaviour + Send + Sync + 'static,
    ) -> Self {
        let script: Arc<Script> = Arc::new(script);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, log) = (Arc::clone(&script), Arc::clone(&log));
                let service = service_fn(move |request| {
                    answer(request, Arc::clone(&script), Arc::clone(&log))
                });
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

    /// Calls of one operation so far.
    pub(super) fn calls(&self, operation: &str) -> usize {
        let seen = self.seen.lock().unwrap();
        count(&seen, operation)
    }
}

async fn answer(
    request: Request<Incoming>,
    script: Arc<Script>,
    log: Arc<Mutex<Vec<Seen>>>,
) -> Result<Response<Full<Bytes>>, io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let header = |name: &str| {
        let value = head.headers.get(name);
        value.map_or(String::new(), |value| value.to_str().unwrap().to_owned())
    };
    let target = header("x-amz-target");
    let operation = target.rsplit('.').next().unwrap();
    let behaviour = {
        let mut seen = log.lock().unwrap();
        let behaviour = script(operation, count(&seen, operation));
        seen.push(Seen {
            method: head.method.to_string(),
            path: head.uri.path().to_owned(),
            host: header("host"),
            signed: header("authorization").starts_with("AWS4-HMAC-SHA256 "),
            body: serde_json::from_slice(&body).unwrap(),
            target: target.clone(),
        });
        behaviour
    };
    match behaviour {
        Behaviour::Reply { status, body } => Ok(Response::builder()
            .status(status)
            .header("content-type", "application/x-amz-json-1.1")
            .body(Full::new(Bytes::from(body)))
            .unwrap()),
        Behaviour::Hang => future::pending().await,
        Behaviour::Reset => Err(io::Error::other("as scripted")),
    }
}

fn count(seen: &[Seen], operation: &str) -> usize {
    let is_of = |seen: &&Seen| seen.target.rsplit('.').next() == Some(operation);
    seen.iter().filter(is_of).count()
}

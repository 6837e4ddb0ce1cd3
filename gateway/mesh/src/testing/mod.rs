//! What the tests of the services share.
//!
//! Panics are how a test fails, so they are what these functions do.

#[cfg(feature = "real-parts")]
pub mod databases;
pub mod openapi;
#[cfg(feature = "moto")]
pub mod parts;
pub mod process;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Response};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::client::Client;
use crate::problem;
use crate::service::store::sqlite::{self, SqliteStore};
use crate::service::store::{Bounds, Database, Record, Store};
use crate::service::{Error, Limits, Resource, Server, Settings, Supervision};
use crate::shutdown::Signal;

/// Time that anything in a test may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The defaults, on a free port of the loopback interface, without a lame-duck time.
#[must_use]
pub fn settings() -> Settings {
    Settings {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        database: Database::Sqlite(sqlite::Database::Memory),
        database_bounds: Bounds::default(),
        log: "off".into(),
        drain_limit: PATIENCE,
        lame_duck: Duration::ZERO,
        limits: Limits {
            request_timeout: PATIENCE,
            max_concurrent_requests: 256,
            max_body_bytes: 65536,
        },
        max_connections: 1024,
        require_gateway: None,
        registration: None,
        tracing: None,
        supervision: Supervision::Signals,
    }
}

/// A store in memory, on its own seed data.
#[must_use]
pub fn seeded_store<R: Record>() -> SqliteStore<R> {
    SqliteStore::open(&sqlite::Database::Memory).expect("memory is there")
}

/// A server in a task of its own.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    stop: mpsc::UnboundedSender<Signal>,
    task: JoinHandle<Result<(), Error>>,
}

impl Running {
    /// Starts a service on these settings and this store.
    pub async fn start<R: Resource, S: Store<R>>(settings: Settings, store: S) -> Self {
        let server = Server::bind(settings, store).await.expect("port 0 is free");
        let address = server.address();
        let (stop, mut asked) = mpsc::unbounded_channel();
        // A test that fails drops the sender, and with it what is under way.
        let next_stop = async move || asked.recv().await.unwrap_or(Signal::Interrupt);
        let task = tokio::spawn(server.run(next_stop));
        Self {
            address,
            stop,
            task,
        }
    }

    /// Starts a service on its own seed data.
    pub async fn seeded<R: Record>() -> Self {
        Self::start(settings(), seeded_store::<R>()).await
    }

    /// The URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sends a request without a body.
    pub async fn send(&self, method: Method, path: &str, headers: HeaderMap) -> Response<Bytes> {
        let answer = Client::new(PATIENCE)
            .send(method, &self.url(path), headers, Bytes::new())
            .await;
        answer.expect("the server answers")
    }

    /// Sends a GET.
    pub async fn get(&self, path: &str) -> Response<Bytes> {
        self.send(Method::GET, path, HeaderMap::new()).await
    }

    /// Sends a GET whose answer must be a problem; hands back `status code: detail`.
    pub async fn problem(&self, method: Method, path: &str) -> String {
        describe_problem(&self.send(method, path, HeaderMap::new()).await)
    }

    /// Asks for a stop; the server's result comes from [`Running::ended`].
    #[must_use]
    pub fn stop(self, signal: Signal) -> Stopping {
        self.stop.send(signal).expect("the server runs");
        Stopping {
            address: self.address,
            stop: self.stop,
            task: self.task,
        }
    }

    /// Waits for a server that ends by itself.
    ///
    /// # Errors
    /// What the server ended with.
    pub async fn ended(self) -> Result<(), Error> {
        let Self {
            stop: _stop, task, ..
        } = self;
        join(task).await
    }
}

/// A server that has been asked to stop.
#[derive(Debug)]
pub struct Stopping {
    /// Where it listens, or listened.
    pub address: SocketAddr,
    stop: mpsc::UnboundedSender<Signal>,
    task: JoinHandle<Result<(), Error>>,
}

impl Stopping {
    /// Asks a second time.
    pub fn stop(&self, signal: Signal) {
        // It may have stopped already.
        let _ = self.stop.send(signal);
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// What the server ended with.
    pub async fn ended(self) -> Result<(), Error> {
        // Held: a sender that is gone would ask a second time.
        let Self {
            stop: _stop, task, ..
        } = self;
        join(task).await
    }
}

async fn join(task: JoinHandle<Result<(), Error>>) -> Result<(), Error> {
    let ended = tokio::time::timeout(PATIENCE, task).await;
    ended
        .expect("the server ends")
        .expect("the server does not panic")
}

/// `status code: detail`, of an answer that is problem+json in every part.
#[must_use]
pub fn describe_problem(answer: &Response<Bytes>) -> String {
    let headers = answer.headers();
    assert_eq!(
        headers.get("content-type"),
        Some(&problem::CONTENT_TYPE),
        "{answer:?}"
    );
    let body: Value = serde_json::from_slice(answer.body()).expect("a problem is JSON");
    let code = body["code"].as_str().expect("a problem has a code");
    assert_eq!(body["status"], answer.status().as_u16());
    assert_eq!(body["type"], format!("urn:problem:{code}"));
    assert_eq!(
        body["request_id"],
        headers["x-request-id"].to_str().expect("ASCII")
    );
    let detail = body["detail"].as_str().unwrap_or_default();
    format!("{} {code}: {detail}", answer.status().as_u16())
}

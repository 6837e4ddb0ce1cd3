//! The service under test: notes, from SQLite or from a store that a test holds in
//! its hand.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use mesh::client::{Client, ClientError};
use mesh::service::store::{FieldError, Fields, PoolState, Record, Store, StoreError, Table};
use mesh::service::{Resource, Settings};
use mesh::testing::{PATIENCE, Running, settings};
use serde::Serialize;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;

/// A row of the service under test.
#[derive(Serialize)]
pub(crate) struct Note {
    pub(crate) id: i64,
    text: String,
}

impl Resource for Note {
    const SERVICE: &'static str = "notes-svc";
    const ABOUT: &'static str = "Notes";
    const VERSION: &'static str = "1.2.3";
    const COLLECTION: &'static str = "notes";
    const OPENAPI: &'static str = "{}";

    fn id(&self) -> i64 {
        self.id
    }
}

impl Record for Note {
    const TABLE: Table = Table {
        list: "SELECT id, text FROM notes WHERE id > $1 ORDER BY id LIMIT $2",
        get: "SELECT id, text FROM notes WHERE id = $1",
        sqlite: &[
            "CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT",
            "INSERT INTO notes (text) VALUES ('a'), ('b'), ('c'), ('d'), ('e')",
        ],
        postgres: &[],
        dynamodb: &[],
    };

    fn read(fields: &impl Fields) -> Result<Self, FieldError> {
        Ok(Self {
            id: fields.integer("id")?,
            text: fields.text("text")?,
        })
    }
}

/// A store whose `list` says that it was entered, and returns when it is let go.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) entered: Arc<Notify>,
    pub(crate) opened: Arc<Semaphore>,
}

impl Gate {
    pub(crate) fn closed() -> Self {
        Self {
            entered: Arc::new(Notify::new()),
            opened: Arc::new(Semaphore::new(0)),
        }
    }
}

impl Store<Note> for Gate {
    async fn list(&self, _after: i64, _limit: usize) -> Result<Vec<Note>, StoreError> {
        self.entered.notify_one();
        self.opened.acquire().await.expect("never closed").forget();
        Ok(vec![Note {
            id: 1,
            text: "late".into(),
        }])
    }

    async fn get(&self, _id: i64) -> Result<Option<Note>, StoreError> {
        panic!("the gate has no rows");
    }

    async fn ready(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn pool(&self) -> PoolState {
        PoolState::default()
    }
}

/// A server on a closed gate.
pub(crate) async fn gated(change: impl FnOnce(&mut Settings)) -> (Running, Gate) {
    let mut settings = settings();
    change(&mut settings);
    let gate = Gate::closed();
    let server = Running::start::<Note, _>(settings, gate.clone()).await;
    (server, gate)
}

pub(crate) fn spawn_get(url: String) -> JoinHandle<Result<Response<Bytes>, ClientError>> {
    tokio::spawn(async move { Client::new(PATIENCE).get(&url).await })
}

/// Reads up to these bytes, which must come.
pub(crate) async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        let count = stream
            .read_buf(&mut read)
            .await
            .expect("the other side writes");
        assert_ne!(count, 0, "{}", String::from_utf8_lossy(&read));
    }
    String::from_utf8(read).expect("text")
}

pub(crate) fn text(answer: &Response<Bytes>) -> &str {
    std::str::from_utf8(answer.body()).expect("text")
}

//! The seam to a database. Another one implements [`Store`], in a file beside [`sqlite`].
//!
//! ```text
//! database   which one the user chose     DATABASE_URL, DATABASE_SECRET
//! record     a row and its table, said once for all of them
//! any        the chosen one: sqlite, postgres (feature), dynamodb (feature)
//! backoff    how often one that is away is asked again
//! measure    how long it takes, and how busy its connections are
//! ```

pub mod any;
#[cfg(any(feature = "postgres", test))]
pub mod backoff;
pub mod database;
#[cfg(feature = "dynamodb")]
pub mod dynamodb;
pub(crate) mod measure;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod record;
pub mod sqlite;

pub use any::{AnyStore, OpenError};
pub use database::Database;
pub use record::{FieldError, Fields, Record, Table};

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Resource;

/// Where rows come from.
pub trait Store<R: Resource>: Clone + Send + Sync + 'static {
    /// Up to `limit` rows with an id above `after`, in the order of their ids.
    ///
    /// # Errors
    /// [`StoreError`].
    fn list(
        &self,
        after: i64,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<R>, StoreError>> + Send;

    /// The row with this id, if there is one.
    ///
    /// # Errors
    /// [`StoreError`].
    fn get(&self, id: i64) -> impl Future<Output = Result<Option<R>, StoreError>> + Send;

    /// Whether the next request would succeed: asks the database, caches nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    fn ready(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// How busy its connections are.
    fn pool(&self) -> PoolState;
}

/// Connections to the database, or calls to it where connections are not ours to count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolState {
    /// The most that there may be.
    pub limit: usize,
    /// Open ones.
    pub open: usize,
    /// Those that a request uses now.
    pub in_use: usize,
    /// Requests that wait for one.
    pub waiting: usize,
}

/// Bounds on the use of a database over the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Connections (PostgreSQL), calls at a time (DynamoDB).
    pub pool_size: usize,
    /// Time to open a connection, name lookup, TLS and login included.
    pub connect_timeout: Duration,
    /// Time that a request waits for a free connection.
    pub acquire_timeout: Duration,
    /// Time for one statement (PostgreSQL), for one call with its retries (DynamoDB).
    pub statement_timeout: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            pool_size: 8,
            connect_timeout: Duration::from_secs(2),
            acquire_timeout: Duration::from_secs(1),
            statement_timeout: Duration::from_secs(2),
        }
    }
}

/// Why the database gave no answer. All of these may pass, so the client is told
/// 503 and to try again.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// All connections were in use for too long.
    #[error("no database connection was free within {waited:?}")]
    Busy {
        /// Time waited.
        waited: Duration,
    },
    /// It could not be reached a moment ago, and is not asked again yet.
    #[error("the database is away; it is asked again in {pause:?}")]
    Away {
        /// Time until then.
        pause: Duration,
    },
    /// The database refused or cannot be reached.
    #[error("the database failed")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
}

impl StoreError {
    /// [`StoreError::Failed`] with this cause.
    pub fn failed(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(cause.into())
    }
}

/// Waits for its turn, and is counted among those that do.
async fn acquire(
    permits: &Arc<Semaphore>,
    waiting: &AtomicUsize,
    patience: Duration,
) -> Result<OwnedSemaphorePermit, StoreError> {
    /// Counts down even when the client goes away meanwhile.
    struct Waiting<'a>(&'a AtomicUsize);
    impl Drop for Waiting<'_> {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }

    waiting.fetch_add(1, Ordering::Relaxed);
    let _waiting = Waiting(waiting);
    let permit = tokio::time::timeout(patience, Arc::clone(permits).acquire_owned()).await;
    let permit = permit.map_err(|_| StoreError::Busy { waited: patience })?;
    Ok(permit.expect("the semaphore is never closed"))
}

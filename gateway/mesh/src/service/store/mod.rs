//! The seam to a database. Another one implements [`Store`], in a file beside [`sqlite`].

pub mod sqlite;

pub use sqlite::SqliteRow;

use std::error::Error;
use std::time::Duration;

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
    /// The database refused or cannot be reached.
    #[error("the database failed")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
}

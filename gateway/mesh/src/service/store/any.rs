//! The database that the user chose.

use std::time::Duration;

use super::database::Database;
use super::sqlite::{self, SqliteStore};
use super::{Bounds, PoolState, Record, Store, StoreError};

#[cfg(feature = "dynamodb")]
use super::dynamodb::{self, DynamoDbStore};
#[cfg(feature = "postgres")]
use super::postgres::{self, PostgresStore};

/// Time in which a database must be reached for a service to start. A whole system starts at
/// once, and a serverless database that sleeps needs some seconds to wake up.
pub const START_PATIENCE: Duration = Duration::from_secs(30);

/// A [`Store`] on whichever database was chosen.
pub enum AnyStore<R> {
    /// SQLite.
    Sqlite(SqliteStore<R>),
    /// PostgreSQL.
    #[cfg(feature = "postgres")]
    Postgres(PostgresStore<R>),
    /// DynamoDB.
    #[cfg(feature = "dynamodb")]
    DynamoDb(DynamoDbStore<R>),
}

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// SQLite.
    #[error(transparent)]
    Sqlite(#[from] sqlite::OpenError),
    /// PostgreSQL.
    #[cfg(feature = "postgres")]
    #[error(transparent)]
    Postgres(#[from] postgres::OpenError),
    /// DynamoDB.
    #[cfg(feature = "dynamodb")]
    #[error(transparent)]
    DynamoDb(#[from] dynamodb::OpenError),
    /// The program was built without what the database needs.
    #[error(
        "this program is built without support for `{database}`; build it with the cargo feature `{feature}`, or choose another database"
    )]
    Unsupported {
        /// The database, without user and password.
        database: String,
        /// What is missing.
        feature: &'static str,
    },
}

impl<R> Clone for AnyStore<R> {
    fn clone(&self) -> Self {
        match self {
            Self::Sqlite(store) => Self::Sqlite(store.clone()),
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => Self::Postgres(store.clone()),
            #[cfg(feature = "dynamodb")]
            Self::DynamoDb(store) => Self::DynamoDb(store.clone()),
        }
    }
}

impl<R: Record> AnyStore<R> {
    /// Opens the database and brings it to the newest version. One that is away is waited for,
    /// [`START_PATIENCE`] at most.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(database: &Database, bounds: Bounds) -> Result<Self, OpenError> {
        #[cfg(not(all(feature = "postgres", feature = "dynamodb")))]
        let unsupported = |feature| OpenError::Unsupported {
            database: database.to_string(),
            feature,
        };
        #[cfg(not(any(feature = "postgres", feature = "dynamodb")))]
        let _ = bounds;
        match database {
            Database::Sqlite(database) => {
                let database = database.clone();
                let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&database));
                let opened = opened
                    .await
                    .expect("it does not panic, and nobody aborts it");
                Ok(Self::Sqlite(opened?))
            }
            #[cfg(feature = "postgres")]
            Database::Postgres(options) => {
                Ok(Self::Postgres(PostgresStore::open(options, bounds).await?))
            }
            #[cfg(not(feature = "postgres"))]
            Database::Postgres(_) => Err(unsupported("postgres")),
            #[cfg(feature = "dynamodb")]
            Database::DynamoDb(options) => {
                Ok(Self::DynamoDb(DynamoDbStore::open(options, bounds).await?))
            }
            #[cfg(not(feature = "dynamodb"))]
            Database::DynamoDb(_) => Err(unsupported("dynamodb")),
        }
    }
}

impl<R: Record> Store<R> for AnyStore<R> {
    async fn list(&self, after: i64, limit: usize) -> Result<Vec<R>, StoreError> {
        match self {
            Self::Sqlite(store) => store.list(after, limit).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store.list(after, limit).await,
            #[cfg(feature = "dynamodb")]
            Self::DynamoDb(store) => store.list(after, limit).await,
        }
    }

    async fn get(&self, id: i64) -> Result<Option<R>, StoreError> {
        match self {
            Self::Sqlite(store) => store.get(id).await,
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store.get(id).await,
            #[cfg(feature = "dynamodb")]
            Self::DynamoDb(store) => store.get(id).await,
        }
    }

    async fn ready(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.ready().await,
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store.ready().await,
            #[cfg(feature = "dynamodb")]
            Self::DynamoDb(store) => store.ready().await,
        }
    }

    fn pool(&self) -> PoolState {
        match self {
            Self::Sqlite(store) => store.pool(),
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => store.pool(),
            #[cfg(feature = "dynamodb")]
            Self::DynamoDb(store) => store.pool(),
        }
    }
}

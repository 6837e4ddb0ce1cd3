//! Rows in PostgreSQL, over TLS.
//!
//! ```text
//! connect   connections, and how often one is tried
//! migrate   from any version to the newest
//! ```

mod connect;
mod migrate;

use std::marker::PhantomData;
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{Object, Pool, PoolError, TimeoutType};
use fastrand::Rng;
use tokio::time::Instant;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};

pub use connect::MAX_AGE;
pub use migrate::MigrationError;

use self::connect::{Connection, Connector, Readers};
use super::any::START_PATIENCE;
use super::backoff::Backoff;
use super::database::PostgresOptions;
use super::{Bounds, FieldError, Fields, PoolState, Record, Store, StoreError};
use crate::tls::TlsError;

/// Time for one statement of a migration, the wait for other instances' migrations included.
pub const MIGRATION_TIMEOUT: Duration = Duration::from_mins(1);
/// Time beyond the statement timeout in which the database must say that it has run out;
/// then the connection is given up.
const STATEMENT_GRACE: Duration = Duration::from_millis(250);
/// Tries of one read: a pooled connection may have died unnoticed, and a read can be repeated.
const TRIES: usize = 2;

/// Why PostgreSQL cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nothing to check its certificate with.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// It is away, or refuses us.
    #[error(
        "cannot log in to `{database}`; check host, port, user and password, that the network lets this machine through, and that the database speaks TLS with a certificate for this host (its root in DATABASE_CA)"
    )]
    Connect {
        /// The database, without user and password.
        database: String,
        /// What happened.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It cannot be brought to the newest version.
    #[error("cannot migrate `{database}`")]
    Migration {
        /// The database, without user and password.
        database: String,
        /// Why not.
        source: MigrationError,
    },
}

/// A [`Store`] on PostgreSQL.
pub struct PostgresStore<R> {
    pool: Pool<Readers>,
    bounds: Bounds,
    row: PhantomData<fn() -> R>,
}

impl<R> Clone for PostgresStore<R> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            bounds: self.bounds,
            row: PhantomData,
        }
    }
}

impl<R: Record> PostgresStore<R> {
    /// Brings the database to the newest version; waits for one that is away.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(options: &PostgresOptions, bounds: Bounds) -> Result<Self, OpenError> {
        let connector = Connector::new(options, bounds, R::SERVICE)?;
        let mut client = reach(&connector, options).await?;
        migrate::migrate(&mut client, R::COLLECTION, R::TABLE.postgres)
            .await
            .map_err(|source| OpenError::Migration {
                database: options.to_string(),
                source,
            })?;
        let pool = Pool::builder(Readers::new(connector, R::TABLE))
            .max_size(bounds.pool_size)
            .wait_timeout(Some(bounds.acquire_timeout))
            .runtime(Runtime::Tokio1)
            .build()
            .expect("timeouts come with their runtime");
        Ok(Self {
            pool,
            bounds,
            row: PhantomData,
        })
    }

    /// Reads, on a connection that nobody else uses; one that failed is not used again.
    async fn read(
        &self,
        statement: fn(&Connection) -> &Statement,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<R>, StoreError> {
        let limit = self.bounds.statement_timeout + STATEMENT_GRACE;
        let mut tries = 1;
        loop {
            let connection = self.acquire().await?;
            let query = connection.client.query(statement(&connection), parameters);
            let error = match tokio::time::timeout(limit, query).await {
                Ok(Ok(rows)) => {
                    let rows: Result<_, FieldError> = rows.iter().map(R::read).collect();
                    return rows.map_err(StoreError::failed);
                }
                Ok(Err(error)) => error,
                Err(_) => {
                    drop(Object::take(connection));
                    return Err(StoreError::failed(format!("no answer within {limit:?}")));
                }
            };
            drop(Object::take(connection));
            if tries == TRIES || !is_gone(&error) {
                return Err(StoreError::failed(error));
            }
            tries += 1;
        }
    }

    async fn acquire(&self) -> Result<Object<Readers>, StoreError> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error,
            PoolError::Timeout(TimeoutType::Wait) => StoreError::Busy {
                waited: self.bounds.acquire_timeout,
            },
            other => StoreError::failed(other.to_string()),
        })
    }
}

/// Whether the connection had died before it could answer (class 57P: the database stops).
fn is_gone(error: &tokio_postgres::Error) -> bool {
    let stops = |state: &tokio_postgres::error::SqlState| state.code().starts_with("57P");
    error.is_closed() || error.code().is_some_and(stops)
}

/// Logs in for the migrations, in [`START_PATIENCE`] at most.
async fn reach(
    connector: &Connector,
    options: &PostgresOptions,
) -> Result<tokio_postgres::Client, OpenError> {
    let deadline = Instant::now() + START_PATIENCE;
    let backoff = Backoff::new(Rng::new());
    loop {
        let error = match connector.connect(MIGRATION_TIMEOUT).await {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        backoff.failed(Instant::now());
        let pause = backoff.pause(Instant::now()).unwrap_or_default();
        if !error.may_pass() || Instant::now() + pause >= deadline {
            return Err(OpenError::Connect {
                database: options.to_string(),
                source: error.into(),
            });
        }
        let cause: &dyn std::error::Error = &error;
        tracing::warn!(error = cause, database = %options, "waiting for the database");
        tokio::time::sleep(pause).await;
    }
}

impl<R: Record> Store<R> for PostgresStore<R> {
    async fn list(&self, after: i64, limit: usize) -> Result<Vec<R>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read(|connection| &connection.list, &[&after, &limit])
            .await
    }

    async fn get(&self, id: i64) -> Result<Option<R>, StoreError> {
        let mut rows = self.read(|connection| &connection.get, &[&id]).await?;
        Ok(rows.pop())
    }

    async fn ready(&self) -> Result<(), StoreError> {
        // The very query that requests run: a table that is gone is not ready.
        self.list(0, 1).await.map(drop)
    }

    fn pool(&self) -> PoolState {
        let status = self.pool.status();
        PoolState {
            limit: status.max_size,
            open: status.size,
            in_use: status.size.saturating_sub(status.available),
            waiting: status.waiting,
        }
    }
}

impl Fields for Row {
    fn optional_integer(&self, name: &'static str) -> Result<Option<i64>, FieldError> {
        self.try_get(name)
            .map_err(|error| FieldError::of(name, error))
    }

    fn optional_text(&self, name: &'static str) -> Result<Option<String>, FieldError> {
        self.try_get(name)
            .map_err(|error| FieldError::of(name, error))
    }
}

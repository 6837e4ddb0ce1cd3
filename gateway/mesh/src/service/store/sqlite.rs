//! Rows in SQLite, in a file or in this process's memory.
//!
//! SQLite blocks, so each call runs on a thread of tokio's blocking pool, with one
//! of [`CONNECTIONS`] connections; a call that finds none waits, within a bound.
//!
//! The journal keeps SQLite's default mode (a rollback journal): WAL does not work
//! on a network file system, and after the migrations nothing writes.

use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, TransactionBehavior};
use tokio::sync::Semaphore;

use super::{FieldError, Fields, PoolState, Record, Store, StoreError};
use crate::request_id::RequestId;

/// Connections, and so calls at a time.
pub const CONNECTIONS: usize = 4;
/// Time that a call waits for a connection.
pub const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(1);
/// Time that SQLite waits for a lock that another process holds.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// The same while migrating: all instances start at once, and one goes first.
pub const MIGRATION_BUSY_TIMEOUT: Duration = Duration::from_secs(10);

impl Fields for Row<'_> {
    fn optional_integer(&self, name: &'static str) -> Result<Option<i64>, FieldError> {
        Row::get(self, name).map_err(|error| FieldError::of(name, error))
    }

    fn optional_text(&self, name: &'static str) -> Result<Option<String>, FieldError> {
        Row::get(self, name).map_err(|error| FieldError::of(name, error))
    }
}

/// Which database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    /// In this process, gone with it.
    Memory,
    /// A file, created if absent.
    File(PathBuf),
}

impl From<PathBuf> for Database {
    /// `:memory:` is how SQLite itself spells the one in memory.
    fn from(path: PathBuf) -> Self {
        match path.to_str() {
            Some(":memory:") => Self::Memory,
            _ => Self::File(path),
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str(":memory:"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not there and not to be created, or no database.
    #[error(
        "cannot open database `{database}`; DATABASE_URL or DATABASE names a SQLite file in a writable directory"
    )]
    Open {
        /// The database.
        database: Database,
        /// SQLite's reason.
        source: rusqlite::Error,
    },
    /// A migration failed, and left nothing behind.
    #[error("migration {version} of database `{database}` failed")]
    Migration {
        /// The database.
        database: Database,
        /// The version that it would have led to.
        version: u16,
        /// SQLite's reason.
        source: rusqlite::Error,
    },
    /// A newer program has been here.
    #[error(
        "database `{database}` has version {found}, this program knows {known}; run a newer program"
    )]
    TooNew {
        /// The database.
        database: Database,
        /// Its version.
        found: u16,
        /// The newest version that this program knows.
        known: usize,
    },
}

/// A [`Store`] on SQLite.
pub struct SqliteStore<R> {
    pool: Arc<Pool>,
    row: PhantomData<fn() -> R>,
}

impl<R> Clone for SqliteStore<R> {
    fn clone(&self) -> Self {
        Self {
            pool: Arc::clone(&self.pool),
            row: PhantomData,
        }
    }
}

impl<R: Record> SqliteStore<R> {
    /// Opens the database and brings it to the newest version; blocks.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(database: &Database) -> Result<Self, OpenError> {
        let (path, flags) = match database {
            // Named, so that connections share it; the name is unique in the process.
            // (`cache=shared` would do so too, but its locks ignore the busy timeout.)
            Database::Memory => {
                let name = format!("file:/{}?vfs=memdb", RequestId::random(&mut Rng::new()));
                (PathBuf::from(name), OpenFlags::SQLITE_OPEN_URI)
            }
            Database::File(path) => (path.clone(), OpenFlags::empty()),
        };
        let flags = flags | OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let failed = |source| OpenError::Open {
            database: database.clone(),
            source,
        };
        let mut first = Connection::open_with_flags(&path, flags | OpenFlags::SQLITE_OPEN_CREATE)
            .map_err(failed)?;
        first.busy_timeout(MIGRATION_BUSY_TIMEOUT).map_err(failed)?;
        migrate(&mut first, R::TABLE.sqlite, database)?;
        let pool = Pool {
            path,
            flags,
            permits: Arc::new(Semaphore::new(CONNECTIONS)),
            waiting: AtomicUsize::new(0),
            idle: Mutex::new(Vec::with_capacity(CONNECTIONS)),
            _anchor: Mutex::new(first),
        };
        Ok(Self {
            pool: Arc::new(pool),
            row: PhantomData,
        })
    }
}

impl<R: Record> Store<R> for SqliteStore<R> {
    async fn list(&self, after: i64, limit: usize) -> Result<Vec<R>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let query = move |connection: &Connection| {
            let mut statement = connection.prepare(R::TABLE.list)?;
            let rows = statement.query_map((after, limit), |row| Ok(R::read(row)))?;
            rows.collect::<rusqlite::Result<Result<Vec<R>, FieldError>>>()
        };
        self.pool.run(query).await?.map_err(StoreError::failed)
    }

    async fn get(&self, id: i64) -> Result<Option<R>, StoreError> {
        let query = move |connection: &Connection| {
            connection
                .query_row(R::TABLE.get, [id], |row| Ok(R::read(row)))
                .optional()
        };
        let row = self.pool.run(query).await?;
        row.transpose().map_err(StoreError::failed)
    }

    async fn ready(&self) -> Result<(), StoreError> {
        // The very query that requests run: a table that is gone is not ready.
        self.list(0, 1).await.map(drop)
    }

    fn pool(&self) -> PoolState {
        let free = self.pool.permits.available_permits();
        let idle = self.pool.idle().len();
        let in_use = CONNECTIONS - free;
        PoolState {
            limit: CONNECTIONS,
            open: in_use + idle,
            in_use,
            waiting: self.pool.waiting.load(Ordering::Relaxed),
        }
    }
}

/// Connections that are opened when first needed, and not used again after an error.
struct Pool {
    path: PathBuf,
    flags: OpenFlags,
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// At most [`CONNECTIONS`], since only who holds a permit puts one back.
    idle: Mutex<Vec<Connection>>,
    /// Kept open because a database in memory lives as long as a connection to it.
    _anchor: Mutex<Connection>,
}

impl Pool {
    async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = super::acquire(&self.permits, &self.waiting, ACQUIRE_TIMEOUT).await?;
        let pool = Arc::clone(self);
        let call = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let connection = pool.take()?;
            let answer = query(&connection)?;
            pool.idle().push(connection);
            Ok(answer)
        });
        match call.await {
            Ok(answer) => answer.map_err(|error: rusqlite::Error| StoreError::Failed(error.into())),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is going away.
                Err(error) => Err(StoreError::Failed(error.into())),
            },
        }
    }

    fn take(&self) -> rusqlite::Result<Connection> {
        if let Some(connection) = self.idle().pop() {
            return Ok(connection);
        }
        // Without CREATE: a file that vanished is a failure, not an empty database.
        let connection = Connection::open_with_flags(Path::new(&self.path), self.flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(connection)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs the migrations that are missing, each in a transaction of its own that also
/// counts it; of several processes that start at once, each migration runs in one.
fn migrate(
    connection: &mut Connection,
    migrations: &[&str],
    database: &Database,
) -> Result<(), OpenError> {
    let failed = |source| OpenError::Open {
        database: database.clone(),
        source,
    };
    // As many rounds as there are migrations, and one to see that none is missing.
    for _ in 0..=migrations.len() {
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed)?;
        let found: u16 = transaction
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .map_err(failed)?;
        if usize::from(found) > migrations.len() {
            let (database, known) = (database.clone(), migrations.len());
            return Err(OpenError::TooNew {
                database,
                found,
                known,
            });
        }
        let Some(script) = migrations.get(usize::from(found)) else {
            break;
        };
        let version = found + 1;
        transaction
            .execute_batch(script)
            .and_then(|()| transaction.pragma_update(None, "user_version", version))
            .and_then(|()| transaction.commit())
            .map_err(|source| OpenError::Migration {
                database: database.clone(),
                version,
                source,
            })?;
        tracing::info!(%database, version, "database migrated");
    }
    Ok(())
}

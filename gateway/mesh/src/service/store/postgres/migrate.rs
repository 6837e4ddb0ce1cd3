//! Migrations: each in a transaction of its own that also counts it, under a lock that makes
//! instances which start together take turns. What is killed half-way leaves nothing behind.

use tokio_postgres::{Client, Error};

/// Counts migrations, for each collection: services may share a database.
const LEDGER: &str = "CREATE TABLE mesh_migrations (
    collection TEXT        NOT NULL,
    version    INTEGER     NOT NULL CHECK (version > 0),
    applied_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (collection, version)
)";

/// The lock's number; any would do that nobody else uses: `mesh` in ASCII.
const LOCK: i64 = 0x6d65_7368;

/// Why the database is not at the newest version.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// A newer program has been here.
    #[error("it has version {found}, this program knows {known}; run a newer program")]
    TooNew {
        /// The database's version.
        found: i32,
        /// The newest version that this program knows.
        known: usize,
    },
    /// A migration failed, and left nothing behind.
    #[error("migration {version} failed")]
    Failed {
        /// The version that it would have led to.
        version: usize,
        /// PostgreSQL's reason.
        source: Error,
    },
    /// The count of migrations cannot be read or kept.
    #[error("the table mesh_migrations cannot be used; the role must be allowed to create tables")]
    Ledger(#[source] Error),
}

/// Runs what is missing.
pub(super) async fn migrate(
    client: &mut Client,
    collection: &'static str,
    migrations: &[&str],
) -> Result<(), MigrationError> {
    // As many rounds as there are migrations, and one to see that none is missing.
    for _ in 0..=migrations.len() {
        let transaction = client.transaction().await.map_err(MigrationError::Ledger)?;
        let found = version(&transaction, collection)
            .await
            .map_err(MigrationError::Ledger)?;
        let known = migrations.len();
        let done = usize::try_from(found).ok().filter(|done| *done <= known);
        let Some(done) = done else {
            return Err(MigrationError::TooNew { found, known });
        };
        let Some(script) = migrations.get(done) else {
            // The ledger may be new.
            return transaction.commit().await.map_err(MigrationError::Ledger);
        };
        let version = done + 1;
        let failed = |source| MigrationError::Failed { version, source };
        transaction.batch_execute(script).await.map_err(failed)?;
        transaction
            .execute(
                "INSERT INTO mesh_migrations (collection, version) VALUES ($1, $2)",
                &[&collection, &(found + 1)],
            )
            .await
            .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        tracing::info!(collection, version, "database migrated");
    }
    Ok(())
}

/// The version of this collection's table; the lock is held until the transaction ends.
async fn version(
    transaction: &tokio_postgres::Transaction<'_>,
    collection: &str,
) -> Result<i32, Error> {
    transaction
        .execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK])
        .await?;
    // `CREATE TABLE IF NOT EXISTS` would ask for the right to create also where it has none to.
    let ledger = transaction
        .query_one("SELECT to_regclass('mesh_migrations') IS NOT NULL", &[])
        .await?;
    if !ledger.try_get::<_, bool>(0)? {
        transaction.batch_execute(LEDGER).await?;
    }
    let row = transaction
        .query_one(
            "SELECT coalesce(max(version), 0) FROM mesh_migrations WHERE collection = $1",
            &[&collection],
        )
        .await?;
    row.try_get(0)
}

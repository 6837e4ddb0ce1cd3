//! Connections: how one is made, and how the pool gets it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use fastrand::Rng;
use tokio::time::Instant;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::super::backoff::Backoff;
use super::super::database::{PostgresOptions, Tls};
use super::super::{Bounds, StoreError, Table};
use crate::tls::{self, TlsError};

/// Age at which a connection is not used again, so that a name that leads elsewhere by now is
/// noticed without a restart.
pub const MAX_AGE: Duration = Duration::from_mins(30);
/// Silence after which the kernel asks whether the other side is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
/// Time in which what was sent must be acknowledged; then the kernel gives the connection up.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(10);

/// What makes connections.
pub(super) struct Connector {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    bounds: Bounds,
}

/// A login that did not come about.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("no connection within {limit:?}")]
    Timeout { limit: Duration },
    #[error("cannot connect")]
    Failed(#[from] tokio_postgres::Error),
}

impl ConnectError {
    /// Whether trying again can help: not where the database itself says no, or its
    /// certificate does not hold.
    pub(super) fn may_pass(&self) -> bool {
        let Self::Failed(error) = self else {
            return true;
        };
        if let Some(state) = error.code() {
            // Classes 28 and 3D: who is asking, and for which database.
            return !state.code().starts_with("28") && *state != SqlState::INVALID_CATALOG_NAME;
        }
        if error.is_closed() {
            return true;
        }
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            if let Some(io) = cause.downcast_ref::<std::io::Error>() {
                // What rustls refuses comes as this kind; what the network does, does not.
                return io.kind() != std::io::ErrorKind::InvalidData;
            }
            source = cause.source();
        }
        // No I/O, no answer of the database: it does not speak TLS, or wants another login.
        false
    }
}

impl Connector {
    pub(super) fn new(
        options: &PostgresOptions,
        bounds: Bounds,
        application: &str,
    ) -> Result<Self, TlsError> {
        let mut config = Config::new();
        config
            .host(&options.host)
            .port(options.port)
            .dbname(&options.name)
            .user(&options.user)
            .password(options.password.expose())
            .application_name(application)
            .keepalives_idle(KEEPALIVE_IDLE)
            .tcp_user_timeout(ACKNOWLEDGED_WITHIN);
        let tls = match &options.tls {
            Tls::Disabled => {
                config.ssl_mode(SslMode::Disable);
                None
            }
            Tls::VerifyFull { ca } => {
                config.ssl_mode(SslMode::Require);
                let config = tls::trusting(ca.as_deref(), "DATABASE_CA")?;
                Some(MakeRustlsConnect::new(config))
            }
        };
        Ok(Self {
            config,
            tls,
            bounds,
        })
    }

    /// Opens a connection, whose statements may take this long.
    pub(super) async fn connect(
        &self,
        statement_timeout: Duration,
    ) -> Result<Client, ConnectError> {
        let limit = self.bounds.connect_timeout;
        let login = async {
            let client = if let Some(tls) = self.tls.clone() {
                let (client, connection) = self.config.connect(tls).await?;
                spawn(connection);
                client
            } else {
                let (client, connection) = self.config.connect(NoTls).await?;
                spawn(connection);
                client
            };
            // Not as startup options: poolers between us and the database refuse those.
            let timeout = statement_timeout.as_millis();
            client
                .batch_execute(&format!("SET statement_timeout = {timeout}"))
                .await?;
            Ok(client)
        };
        let login = tokio::time::timeout(limit, login).await;
        login.map_err(|_| ConnectError::Timeout { limit })?
    }
}

/// Drives a connection. It ends with its client: when that is dropped it says goodbye, at the
/// latest after [`ACKNOWLEDGED_WITHIN`].
fn spawn(connection: impl Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static) {
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            let error: &dyn std::error::Error = &error;
            tracing::debug!(error, "connection to the database ended");
        }
    });
}

/// A connection of the pool, ready to read rows.
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) list: Statement,
    pub(super) get: Statement,
}

/// Fills the pool; while the database is away, only as often as [`Backoff`] allows.
pub(super) struct Readers {
    pub(super) connector: Connector,
    table: Table,
    backoff: Backoff,
    /// Connections opened since the start.
    opened: AtomicUsize,
}

impl Readers {
    pub(super) fn new(connector: Connector, table: Table) -> Self {
        Self {
            connector,
            table,
            backoff: Backoff::new(Rng::new()),
            opened: AtomicUsize::new(0),
        }
    }

    async fn connect(&self) -> Result<Connection, ConnectError> {
        let limit = self.connector.bounds.statement_timeout;
        let client = self.connector.connect(limit).await?;
        let prepare = async {
            client
                .batch_execute("SET default_transaction_read_only = on")
                .await?;
            let list = client.prepare(self.table.list).await?;
            let get = client.prepare(self.table.get).await?;
            Ok::<_, tokio_postgres::Error>((list, get))
        };
        let (list, get) = tokio::time::timeout(limit, prepare)
            .await
            .map_err(|_| ConnectError::Timeout { limit })??;
        Ok(Connection { client, list, get })
    }
}

impl Manager for Readers {
    type Type = Connection;
    type Error = StoreError;

    async fn create(&self) -> Result<Connection, StoreError> {
        if let Some(pause) = self.backoff.pause(Instant::now()) {
            return Err(StoreError::Away { pause });
        }
        match self.connect().await {
            Ok(connection) => {
                self.backoff.succeeded();
                let opened = self.opened.fetch_add(1, Ordering::Relaxed) + 1;
                tracing::debug!(opened, "connected to the database");
                Ok(connection)
            }
            Err(error) => {
                self.backoff.failed(Instant::now());
                let failed = StoreError::failed(error);
                let cause: &dyn std::error::Error = &failed;
                tracing::warn!(error = cause, "cannot connect to the database");
                Err(failed)
            }
        }
    }

    async fn recycle(
        &self,
        connection: &mut Connection,
        metrics: &Metrics,
    ) -> RecycleResult<StoreError> {
        if connection.client.is_closed() {
            return Err(RecycleError::message("closed"));
        }
        if metrics.age() > MAX_AGE {
            return Err(RecycleError::message("old"));
        }
        Ok(())
    }
}

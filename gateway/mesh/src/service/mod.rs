//! A service of the mesh: one collection of rows, read over HTTP.
//!
//! A service supplies its row ([`Resource`], and [`store::Record`] for where
//! the rows come from); everything else is here and the same for all of them:
//!
//! ```text
//! cli        what the user said        → Settings
//! server     bind, accept, drain, register
//! stops      what asks the process to stop
//! traces     the service's part of a trace, for an OpenTelemetry collector
//! metrics    the text for Prometheus
//! observe    request id, trace context, access line, problem+json
//! router     paths, and the bounds around them
//! guard      the demand for a token of the gateway
//! rows       list and get     page   limit, after, Link
//! store      the seam to a database     SQLite, PostgreSQL, DynamoDB
//! ```

mod cli;
mod database_args;
mod fault;
mod guard;
mod log;
mod metrics;
mod observe;
mod page;
mod probes;
mod router;
mod rows;
mod server;
mod stops;
pub mod store;
mod traces;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

pub use cli::{Command, HealthCheck, Settings, Supervision, parse};
use router::router;
pub use router::{Endpoint, Limits};
pub use server::{HEAD_TIMEOUT, MAX_HEAD_BYTES, Server};

pub use crate::tls::TlsError;
pub use traces::{Collector, Tracing};

use crate::client::{Client, ClientError};
use crate::registration::RegistrationError;
use stops::Stops;
use store::{AnyStore, Record, sqlite};

/// Time for the whole of `healthcheck`.
pub const HEALTH_CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Threads for blocking calls beside those that SQLite's connections use: lookups of the
/// names of the registry, the gateway and the database.
const SPARE_BLOCKING_THREADS: usize = 2;

/// One row of the collection that a service offers.
pub trait Resource: Serialize + Send + Sync + 'static {
    /// The service, as it calls itself in `--help` and on `/`.
    const SERVICE: &'static str;
    /// One line on what it does.
    const ABOUT: &'static str;
    /// The version of the service.
    const VERSION: &'static str;
    /// The collection, which is also its path: `users` for `/users`.
    const COLLECTION: &'static str;
    /// The OpenAPI document, as JSON.
    ///
    /// Written by hand and not derived: the handlers are generic, so that annotations
    /// would need a copy of each handler in each service. `testing::openapi::check`
    /// holds document and service together.
    const OPENAPI: &'static str;

    /// The key of the row: positive, and the order of the collection.
    fn id(&self) -> i64;
}

/// Why a service did not start, or stopped other than asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else listens there.
    #[error(
        "address {address} is in use; stop the process that holds it, or choose another with --listen or LISTEN (port 0 takes a free one)"
    )]
    AddressInUse {
        /// The address.
        address: SocketAddr,
    },
    /// The system refuses the address.
    #[error("cannot listen on {address}; choose another with --listen or LISTEN")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: io::Error,
    },
    /// The database cannot be used.
    #[error(transparent)]
    Database(#[from] store::OpenError),
    /// No registry lists us, so that nobody would ever call.
    #[error("this instance is not registered")]
    Registration(#[from] RegistrationError),
    /// The system refuses what every process needs.
    #[error("cannot set up the process")]
    Process(#[from] io::Error),
    /// `healthcheck`: no answer.
    #[error("unhealthy")]
    NoAnswer(#[from] ClientError),
    /// `healthcheck`: an answer other than 200.
    #[error("unhealthy: {url} answered {status}")]
    Unhealthy {
        /// What was asked.
        url: String,
        /// What was answered.
        status: http::StatusCode,
    },
}

/// The whole program: reads the command line and the environment, runs the command.
///
/// `--help`, `--version` and wrong arguments end the process from in here.
///
/// # Errors
/// What the exit code 1 stands for.
pub fn main<R: Record>() -> Result<(), Error> {
    match parse::<R>(std::env::args_os()).unwrap_or_else(|error| error.exit()) {
        Command::HealthCheck(check) => block_on(health_check(&check)),
        Command::Serve(settings) => {
            log::init(&settings.log);
            block_on(serve::<R>(*settings))
        }
    }
}

/// Runs to the end on one thread for the network, beside the bounded ones that wait
/// for the database: a task of ours has a quarter of a core or less.
fn block_on<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(sqlite::CONNECTIONS + SPARE_BLOCKING_THREADS)
        .build()?;
    let outcome = runtime.block_on(work);
    // Not dropped, which would wait for a call that hangs in the database for ever.
    runtime.shutdown_background();
    outcome
}

async fn serve<R: Record>(settings: Settings) -> Result<(), Error> {
    let store = AnyStore::<R>::open(&settings.database, settings.database_bounds).await?;
    // Before the address is taken: who sees it listen may ask it to stop.
    let mut stops = Stops::listen(settings.supervision)?;
    let server = Server::bind(settings, store).await?;
    server.run(async || stops.next().await).await
}

async fn health_check(check: &HealthCheck) -> Result<(), Error> {
    let answer = Client::new(HEALTH_CHECK_TIMEOUT).get(&check.url).await?;
    if answer.status() == http::StatusCode::OK {
        return Ok(());
    }
    Err(Error::Unhealthy {
        url: check.url.clone(),
        status: answer.status(),
    })
}

//! Options about the database.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};

use super::store::Bounds;
use super::store::database::{Database, DatabaseError, Said};

/// Connections that one task may open.
const POOL_SIZE: std::ops::RangeInclusive<u16> = 1..=100;
/// What a timeout may be.
const TIMEOUT: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_mins(1);

/// Values of the environment are kept out of `--help`: they hold passwords.
#[derive(Args)]
pub(super) struct DatabaseArgs {
    /// SQLite file, created if absent; `:memory:`, the default, keeps the rows in this process
    #[arg(long, env = "DATABASE", value_name = "PATH", value_parser = path_parser())]
    database: Option<PathBuf>,
    /// The database, instead of --database: sqlite:PATH, postgres://USER:PASSWORD@HOST:PORT/NAME
    /// or dynamodb:TABLE. Better set in the environment: others see command lines
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true)]
    database_url: Option<String>,
    /// The same for PostgreSQL as Secrets Manager's JSON: username, password, host, port, dbname
    #[arg(
        long,
        env = "DATABASE_SECRET",
        value_name = "JSON",
        hide_env_values = true
    )]
    database_secret: Option<String>,
    /// PEM file with roots that PostgreSQL's certificate may come from, beside the system's
    #[arg(long, env = "DATABASE_CA", value_name = "PATH", value_parser = path_parser())]
    database_ca: Option<PathBuf>,
    /// Connections to PostgreSQL, or calls to DynamoDB, at a time; 1 to 100
    #[arg(long, env = "DATABASE_POOL_SIZE", value_name = "COUNT", default_value = "8", value_parser = parse_pool_size)]
    database_pool_size: u16,
    /// Time to open a connection, login included; 10ms to 1m
    #[arg(long, env = "DATABASE_CONNECT_TIMEOUT", value_name = "DURATION", default_value = "2s", value_parser = parse_timeout)]
    database_connect_timeout: Duration,
    /// Time that a request waits for a connection that is free; 10ms to 1m
    #[arg(long, env = "DATABASE_ACQUIRE_TIMEOUT", value_name = "DURATION", default_value = "1s", value_parser = parse_timeout)]
    database_acquire_timeout: Duration,
    /// Time for one statement (PostgreSQL), one call with its retries (DynamoDB); 10ms to 1m
    #[arg(long, env = "DATABASE_STATEMENT_TIMEOUT", value_name = "DURATION", default_value = "2s", value_parser = parse_timeout)]
    database_statement_timeout: Duration,
}

impl DatabaseArgs {
    pub(super) fn database<'a>(&'a self) -> Result<Database, DatabaseError> {
        // An empty variable is how a supervisor takes one away.
        let path =
            |path: &Option<PathBuf>| path.clone().filter(|path| !path.as_os_str().is_empty());
        let text = |text: Option<&'a str>| text.filter(|text| !text.is_empty());
        let said = Said {
            path: path(&self.database),
            url: text(self.database_url.as_deref()),
            secret: text(self.database_secret.as_deref()),
            ca: path(&self.database_ca),
        };
        said.database()
    }

    pub(super) fn bounds(&self) -> Bounds {
        Bounds {
            pool_size: self.database_pool_size.into(),
            connect_timeout: self.database_connect_timeout,
            acquire_timeout: self.database_acquire_timeout,
            statement_timeout: self.database_statement_timeout,
        }
    }
}

/// A path, or nothing, which clap's own parser of paths refuses.
pub(super) fn path_parser() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

fn parse_pool_size(text: &str) -> Result<u16, String> {
    let size = text.parse().ok().filter(|size| POOL_SIZE.contains(size));
    size.ok_or_else(|| "write a whole number from 1 to 100".into())
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    let timeout = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if !TIMEOUT.contains(&timeout) {
        return Err("write a time from 10ms to 1m".into());
    }
    Ok(timeout)
}

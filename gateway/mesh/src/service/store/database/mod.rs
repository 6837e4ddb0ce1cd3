//! Which database: what `DATABASE_URL` and `DATABASE_SECRET` say.
//!
//! No error and no `Display` in here repeats what may be a password: neither URLs nor
//! secrets are quoted, only their harmless parts.

mod secret;
mod url;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;

pub use secret::SecretError;
pub use url::UrlError;

use super::sqlite;

/// Which database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    /// SQLite, in this process.
    Sqlite(sqlite::Database),
    /// PostgreSQL.
    Postgres(Box<PostgresOptions>),
    /// A table of DynamoDB.
    DynamoDb(DynamoDbOptions),
}

/// Where PostgreSQL is, and as whom to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresOptions {
    /// A name or an address; its certificate must be for it.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The database's name.
    pub name: String,
    /// The role.
    pub user: String,
    /// The role's password.
    pub password: Password,
    /// How the connection is kept private.
    pub tls: Tls,
}

/// How a connection to PostgreSQL is kept private.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tls {
    /// `verify-full`: TLS; the certificate is checked, and that it is for the host.
    VerifyFull {
        /// PEM file with roots to trust beside those of the system.
        ca: Option<PathBuf>,
    },
    /// `disable`: none; the host is the loopback interface.
    Disabled,
}

/// Which table of DynamoDB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DynamoDbOptions {
    /// The table's name.
    pub table: String,
    /// The region, if not the one that the SDK finds in its surroundings.
    pub region: Option<String>,
    /// An emulator's URL; the table is created there if it is absent.
    pub endpoint: Option<String>,
}

/// A password, which nothing prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// The password itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Password {
    fn from(password: String) -> Self {
        Self(password)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

impl Database {
    /// What OpenTelemetry calls its kind.
    #[must_use]
    pub fn system(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(_) => "postgresql",
            Self::DynamoDb(_) => "aws.dynamodb",
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(database) => write!(f, "sqlite:{database}"),
            Self::Postgres(options) => options.fmt(f),
            Self::DynamoDb(options) => write!(f, "dynamodb:{}", options.table),
        }
    }
}

/// As a URL without user and password.
impl fmt::Display for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            host, port, name, ..
        } = self;
        if host.contains(':') {
            write!(f, "postgres://[{host}]:{port}/{name}")
        } else {
            write!(f, "postgres://{host}:{port}/{name}")
        }
    }
}

/// What the user said of the database.
#[derive(Debug, Default)]
pub struct Said<'a> {
    /// `DATABASE`: a path, or `:memory:`.
    pub path: Option<PathBuf>,
    /// `DATABASE_URL`.
    pub url: Option<&'a str>,
    /// `DATABASE_SECRET`.
    pub secret: Option<&'a str>,
    /// `DATABASE_CA`.
    pub ca: Option<PathBuf>,
}

/// Why it cannot be told which database is meant.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// Two answers to one question.
    #[error("{first} and {second} both name a database; set one of them")]
    Both {
        /// An option.
        first: &'static str,
        /// Another.
        second: &'static str,
    },
    /// The URL is not good.
    #[error("DATABASE_URL: {0}")]
    Url(#[from] UrlError),
    /// The secret is not good.
    #[error("DATABASE_SECRET: {0}")]
    Secret(#[from] SecretError),
    /// Roots that nothing would use.
    #[error(
        "DATABASE_CA is for a PostgreSQL that is reached over TLS, which {database} is not; remove it"
    )]
    UnusedCa {
        /// The database.
        database: Database,
    },
}

impl Said<'_> {
    /// Decides; SQLite in memory where nothing was said.
    ///
    /// # Errors
    /// [`DatabaseError`].
    pub fn database(self) -> Result<Database, DatabaseError> {
        const PATH: &str = "--database (DATABASE)";
        const URL: &str = "--database-url (DATABASE_URL)";
        const SECRET: &str = "--database-secret (DATABASE_SECRET)";
        let both = |first, second| Err(DatabaseError::Both { first, second });
        let mut database = match (self.path, self.url, self.secret) {
            (Some(_), Some(_), _) => return both(PATH, URL),
            (Some(_), _, Some(_)) => return both(PATH, SECRET),
            (_, Some(_), Some(_)) => return both(URL, SECRET),
            (Some(path), None, None) => Database::Sqlite(path.into()),
            (None, Some(url), None) => url::parse(url)?,
            (None, None, Some(secret)) => Database::Postgres(Box::new(secret::parse(secret)?)),
            (None, None, None) => Database::Sqlite(sqlite::Database::Memory),
        };
        if let Some(path) = self.ca {
            match &mut database {
                Database::Postgres(options) if options.tls != Tls::Disabled => {
                    options.tls = Tls::VerifyFull { ca: Some(path) };
                }
                _ => return Err(DatabaseError::UnusedCa { database }),
            }
        }
        Ok(database)
    }
}

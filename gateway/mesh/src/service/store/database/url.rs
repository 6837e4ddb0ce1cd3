//! `DATABASE_URL`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use http::Uri;
use percent_encoding::percent_decode_str;

use super::{Database, DynamoDbOptions, PostgresOptions, Tls};

/// The port of a URL without one.
const POSTGRES_PORT: u16 = 5432;
/// Length of a table's name, by DynamoDB's own rules.
const TABLE_NAME_LENGTH: std::ops::RangeInclusive<usize> = 3..=255;

/// Why a URL names no database.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum UrlError {
    /// No such kind of database.
    #[error(
        "not a database's URL; write sqlite:PATH, postgres://USER:PASSWORD@HOST:PORT/NAME or dynamodb:TABLE"
    )]
    Scheme,
    /// Not a URL behind the scheme.
    #[error(
        "not a URL of the form postgres://USER:PASSWORD@HOST:PORT/NAME; other characters than letters, digits and -._~ in user and password are written percent-encoded"
    )]
    Form,
    /// A part is not there.
    #[error(
        "the {part} is missing; write postgres://USER:PASSWORD@HOST:PORT/NAME, or sqlite:PATH, or dynamodb:TABLE"
    )]
    Missing {
        /// The part.
        part: &'static str,
    },
    /// A percent-encoded part does not decode to UTF-8 without NUL.
    #[error("the {part} is not text once it is percent-decoded")]
    Encoding {
        /// The part.
        part: &'static str,
    },
    /// A parameter that means nothing here.
    #[error("parameter `{name}` is not known or given twice; this kind of database takes {known}")]
    Parameter {
        /// Its name.
        name: String,
        /// Those that are known.
        known: &'static str,
    },
    /// A mode without the security that is demanded here.
    #[error(
        "sslmode must be verify-full, the default (roots beside the system's come from DATABASE_CA), or disable, for a database on this machine; weaker modes would let anybody answer in the database's name"
    )]
    SslMode,
    /// Plaintext over a network.
    #[error(
        "sslmode=disable is for the loopback interface only, so the host must be an address such as 127.0.0.1, or localhost; leave sslmode out, and give DATABASE_CA if the certificate is not from a public authority"
    )]
    PlaintextHost,
    /// Not a table's name.
    #[error("a table of DynamoDB has 3 to 255 letters, digits and -._ in its name")]
    Table,
    /// Plaintext over a network.
    #[error("the endpoint must be an https URL, or an http URL of the loopback interface")]
    Endpoint,
}

pub(super) fn parse(text: &str) -> Result<Database, UrlError> {
    let (scheme, rest) = text.split_once(':').ok_or(UrlError::Scheme)?;
    match scheme {
        "sqlite" => sqlite(rest),
        "postgres" | "postgresql" => postgres(text).map(Box::new).map(Database::Postgres),
        "dynamodb" => dynamodb(rest).map(Database::DynamoDb),
        _ => Err(UrlError::Scheme),
    }
}

/// `sqlite:PATH`, or with the empty authority of a URL, `sqlite:///PATH`; everything is the path.
fn sqlite(rest: &str) -> Result<Database, UrlError> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() {
        return Err(UrlError::Missing { part: "path" });
    }
    Ok(Database::Sqlite(PathBuf::from(path).into()))
}

fn postgres(text: &str) -> Result<PostgresOptions, UrlError> {
    let missing = |part| UrlError::Missing { part };
    // What `http` takes for a fragment is the rest of somebody's password.
    if text.contains('#') {
        return Err(UrlError::Form);
    }
    let uri: Uri = text.parse().map_err(|_| UrlError::Form)?;
    let authority = uri.authority().ok_or(UrlError::Form)?;
    let (credentials, address) = authority
        .as_str()
        .rsplit_once('@')
        .ok_or(missing("user and password"))?;
    let (user, password) = credentials.split_once(':').ok_or(missing("password"))?;
    let host = authority.host().trim_matches(['[', ']']);
    // `http` reads a port that is none, or too high, as an absent one.
    let port = match address.rsplit_once(':') {
        Some((_, port)) if !address.ends_with(']') => port.parse().map_err(|_| UrlError::Form)?,
        _ => POSTGRES_PORT,
    };
    let mut parameters = parameters(uri.query(), &["sslmode"], "sslmode")?;
    let options = PostgresOptions {
        host: filled(host.to_owned(), "host")?,
        port,
        name: decoded(uri.path().trim_start_matches('/'), "database's name")?,
        user: decoded(user, "user")?,
        password: decoded(password, "password")?.into(),
        tls: match parameters.remove("sslmode").as_deref() {
            None | Some("verify-full") => Tls::VerifyFull { ca: None },
            Some("disable") if is_loopback(host) => Tls::Disabled,
            Some("disable") => return Err(UrlError::PlaintextHost),
            Some(_) => return Err(UrlError::SslMode),
        },
    };
    Ok(options)
}

/// `TABLE?region=…&endpoint=…`, with or without the slashes of a URL.
fn dynamodb(rest: &str) -> Result<DynamoDbOptions, UrlError> {
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (table, query) = match rest.split_once('?') {
        Some((table, query)) => (table, Some(query)),
        None => (rest, None),
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if !TABLE_NAME_LENGTH.contains(&table.len()) || !table.bytes().all(is_name) {
        return Err(UrlError::Table);
    }
    let mut parameters = parameters(query, &["region", "endpoint"], "region and endpoint")?;
    let endpoint = parameters.remove("endpoint");
    if let Some(endpoint) = &endpoint {
        let uri: Uri = endpoint.parse().map_err(|_| UrlError::Endpoint)?;
        let host = uri.host().ok_or(UrlError::Endpoint)?;
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if is_loopback(host.trim_matches(['[', ']'])) => {}
            _ => return Err(UrlError::Endpoint),
        }
    }
    Ok(DynamoDbOptions {
        table: table.to_owned(),
        region: parameters.remove("region"),
        endpoint,
    })
}

/// The query, each parameter known, given once, and not empty.
fn parameters(
    query: Option<&str>,
    names: &[&str],
    known: &'static str,
) -> Result<BTreeMap<String, String>, UrlError> {
    let mut parameters = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        let name = name.into_owned();
        let is_known = names.contains(&name.as_str()) && !value.is_empty();
        if !is_known || parameters.contains_key(&name) {
            return Err(UrlError::Parameter { name, known });
        }
        parameters.insert(name, value.into_owned());
    }
    Ok(parameters)
}

fn decoded(text: &str, part: &'static str) -> Result<String, UrlError> {
    let decoded = percent_decode_str(text).decode_utf8();
    let decoded = decoded.map_err(|_| UrlError::Encoding { part })?;
    // The protocol of PostgreSQL ends its texts with it.
    if decoded.contains('\0') {
        return Err(UrlError::Encoding { part });
    }
    filled(decoded.into_owned(), part)
}

fn filled(text: String, part: &'static str) -> Result<String, UrlError> {
    if text.is_empty() {
        return Err(UrlError::Missing { part });
    }
    Ok(text)
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

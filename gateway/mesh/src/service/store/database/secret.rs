//! `DATABASE_SECRET`: the JSON that Secrets Manager keeps for a database of RDS.
//!
//! Its shape is that of <https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_secret_json_structure.html>.

use serde_json::{Map, Value};

use super::{PostgresOptions, Tls};

/// The port of a secret without one.
const POSTGRES_PORT: u16 = 5432;

/// Why a secret names no database. None of these repeats what the secret holds.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SecretError {
    /// Not JSON; where is told, what stands there is not.
    #[error(
        "not JSON (line {line}, column {column}); it must be the secret's whole value, and neither its ARN nor one of its members"
    )]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// JSON, but not an object.
    #[error("not a JSON object with username, password, host, port and dbname")]
    NotAnObject,
    /// A member is not there, or empty.
    #[error(
        "`{member}` is missing or empty; a secret that is attached to its database (AWS::SecretsManager::SecretTargetAttachment) has username, password, host, port and dbname"
    )]
    Missing {
        /// Its name.
        member: &'static str,
    },
    /// A member is of another type, or out of range.
    #[error("`{member}` is not {expected}")]
    Type {
        /// Its name.
        member: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// Another kind of database.
    #[error("`engine` is neither postgres nor aurora-postgresql; users of others set DATABASE_URL")]
    Engine,
}

pub(super) fn parse(text: &str) -> Result<PostgresOptions, SecretError> {
    // Not into a struct: those errors quote the values that they do not like.
    let value: Value = serde_json::from_str(text).map_err(|error| SecretError::Syntax {
        line: error.line(),
        column: error.column(),
    })?;
    let members = value.as_object().ok_or(SecretError::NotAnObject)?;
    match optional_text(members, "engine")? {
        None | Some("postgres" | "aurora-postgresql") => {}
        Some(_) => return Err(SecretError::Engine),
    }
    Ok(PostgresOptions {
        host: text_member(members, "host")?,
        port: port(members)?,
        name: text_member(members, "dbname")?,
        user: text_member(members, "username")?,
        password: text_member(members, "password")?.into(),
        tls: Tls::VerifyFull { ca: None },
    })
}

fn optional_text<'a>(
    members: &'a Map<String, Value>,
    member: &'static str,
) -> Result<Option<&'a str>, SecretError> {
    match members.get(member) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.contains('\0') => Err(SecretError::Type {
            member,
            expected: "a text without NUL",
        }),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(SecretError::Type {
            member,
            expected: "a text",
        }),
    }
}

fn text_member(members: &Map<String, Value>, member: &'static str) -> Result<String, SecretError> {
    let text = optional_text(members, member)?.unwrap_or_default();
    if text.is_empty() {
        return Err(SecretError::Missing { member });
    }
    Ok(text.to_owned())
}

/// AWS writes a number; people, and other tools, write a text.
fn port(members: &Map<String, Value>) -> Result<u16, SecretError> {
    let port = match members.get("port") {
        None | Some(Value::Null) => Some(POSTGRES_PORT),
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_u64().and_then(|port| port.try_into().ok()),
    };
    port.filter(|port| *port != 0).ok_or(SecretError::Type {
        member: "port",
        expected: "a port, from 1 to 65535",
    })
}

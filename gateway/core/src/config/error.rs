//! Why a type refuses a value.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use super::near::suggest;
use super::problem::Position;

#[derive(Debug)]
pub(super) enum Error {
    /// A problem was noted further down; the next pass gets beyond it.
    Retry,
    /// What was reported before leaves nothing to decode here.
    Hopeless,
    /// A struct lacks this key.
    Missing(&'static str),
    /// Another kind of value is wanted.
    Expected {
        expected: String,
        help: Option<String>,
    },
    /// The type's own words.
    Fault {
        message: String,
        help: Option<String>,
        /// A better place than that of the value.
        position: Option<Position>,
    },
}

impl Error {
    pub(super) fn expected(expected: impl fmt::Display) -> Self {
        let (expected, help) = split(&expected.to_string());
        Self::Expected { expected, help }
    }

    pub(super) fn fault(message: impl Into<String>, help: Option<String>) -> Self {
        Self::Fault {
            message: message.into(),
            help,
            position: None,
        }
    }

    /// Points at another place than the value.
    pub(super) fn at(self, place: Position) -> Self {
        match self {
            Self::Fault { message, help, .. } => Self::Fault {
                message,
                help,
                position: Some(place),
            },
            other => other,
        }
    }

    /// Another line of help below the others.
    pub(super) fn or(self, line: &str) -> Self {
        match self {
            Self::Fault {
                message,
                help: Some(help),
                position,
            } => Self::Fault {
                message,
                help: Some(format!("{help}\n{line}")),
                position,
            },
            other => other,
        }
    }
}

/// By convention a message is `what is wrong; what to do`.
fn split(message: &str) -> (String, Option<String>) {
    match message.split_once("; ") {
        Some((message, help)) => (message.to_owned(), Some(help.to_owned())),
        None => (message.to_owned(), None),
    }
}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let (message, help) = split(&message.to_string());
        Self::fault(message, help)
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::expected(expected)
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::expected(expected)
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::fault(format!("expected {expected}, found {length} items"), None)
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        let message = format!("unknown value `{}`", super::tree::quote(word));
        Self::fault(message, suggest(word, known, "values"))
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Self {
        let message = format!("unknown key `{}`", super::tree::quote(key));
        Self::fault(message, suggest(key, known, "keys"))
    }

    fn missing_field(key: &'static str) -> Self {
        Self::Missing(key)
    }

    fn duplicate_field(key: &'static str) -> Self {
        let help = "one of its other names is in use; keep one of them";
        Self::fault(format!("key `{key}` is given twice"), Some(help.to_owned()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (message, help) = match self {
            Self::Retry | Self::Hopeless => ("a value that was reported already", &None),
            Self::Missing(key) => return write!(f, "missing key `{key}`"),
            Self::Expected { expected, help } => {
                f.write_str("expected ")?;
                (expected.as_str(), help)
            }
            Self::Fault { message, help, .. } => (message.as_str(), help),
        };
        f.write_str(message)?;
        match help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

//! A row and its table, said once for every database.

use std::error::Error;

use crate::service::Resource;

/// What a row needs beside [`Resource`] to live in a database.
pub trait Record: Resource + Sized {
    /// Its table.
    const TABLE: Table;

    /// Reads a row.
    ///
    /// # Errors
    /// When a field is missing, or not of the type that it should be.
    fn read(fields: &impl Fields) -> Result<Self, FieldError>;
}

/// How a table comes about and is read.
///
/// Migrations are scripts that are never changed once released; the n-th takes a database
/// from version n - 1 to n.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Selects at most `$2` rows with an id above `$1`, in the order of their ids. SQLite and
    /// PostgreSQL read the same statement.
    pub list: &'static str,
    /// Selects the row with the id `$1`.
    pub get: &'static str,
    /// SQL for SQLite.
    pub sqlite: &'static [&'static str],
    /// SQL for PostgreSQL, without transactions of its own.
    pub postgres: &'static [&'static str],
    /// Rows for DynamoDB, which has no schema to migrate: each script is a JSON array of at
    /// most [`DYNAMODB_ROWS_MAX`] flat objects with a positive `id`, integers and strings;
    /// a member that is `null` is left out.
    pub dynamodb: &'static [&'static str],
}

/// Rows of one migration for DynamoDB: its transactions hold 100 items, and one counts the
/// migration.
pub const DYNAMODB_ROWS_MAX: usize = 99;

/// The fields of one row, whichever database it came from.
pub trait Fields {
    /// An integer; `None` where the row has none.
    ///
    /// # Errors
    /// [`FieldError::Type`].
    fn optional_integer(&self, name: &'static str) -> Result<Option<i64>, FieldError>;

    /// A text; `None` where the row has none.
    ///
    /// # Errors
    /// [`FieldError::Type`].
    fn optional_text(&self, name: &'static str) -> Result<Option<String>, FieldError>;

    /// An integer that every row has.
    ///
    /// # Errors
    /// [`FieldError`].
    fn integer(&self, name: &'static str) -> Result<i64, FieldError> {
        self.optional_integer(name)?
            .ok_or(FieldError::Missing { name })
    }

    /// A text that every row has.
    ///
    /// # Errors
    /// [`FieldError`].
    fn text(&self, name: &'static str) -> Result<String, FieldError> {
        self.optional_text(name)?
            .ok_or(FieldError::Missing { name })
    }
}

/// A row that somebody else wrote is not as it should be.
#[derive(Debug, thiserror::Error)]
pub enum FieldError {
    /// It is not there.
    #[error("a row has no `{name}`")]
    Missing {
        /// The field.
        name: &'static str,
    },
    /// It is something else.
    #[error("`{name}` of a row is not of its type")]
    Type {
        /// The field.
        name: &'static str,
        /// What the database's library says.
        source: Box<dyn Error + Send + Sync>,
    },
}

impl FieldError {
    pub(super) fn of(name: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let source = source.into();
        Self::Type { name, source }
    }
}

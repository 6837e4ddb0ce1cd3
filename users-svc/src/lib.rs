//! The users service: `GET /users` and `GET /users/{id}`.
//!
//! Only what makes it differ from any other service of the mesh is here: the row,
//! its table, its OpenAPI document. All the rest is [`mesh::service`].

use mesh::service::Resource;
use mesh::service::store::sqlite::{SqliteRow, SqliteTable};
use rusqlite::Row;
use serde::Serialize;

/// A row of `/users`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct User {
    /// Key of the row.
    pub id: i64,
    /// First name.
    pub name: String,
    /// Age in years.
    pub age: i64,
}

impl Resource for User {
    const SERVICE: &'static str = "users-svc";
    const ABOUT: &'static str = env!("CARGO_PKG_DESCRIPTION");
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const COLLECTION: &'static str = "users";
    const OPENAPI: &'static str = include_str!("../openapi.json");

    fn id(&self) -> i64 {
        self.id
    }
}

impl SqliteRow for User {
    const TABLE: SqliteTable = SqliteTable {
        migrations: &[
            include_str!("../migrations/0001_schema.sql"),
            include_str!("../migrations/0002_seed.sql"),
        ],
        list: "SELECT id, name, age FROM users WHERE id > ?1 ORDER BY id LIMIT ?2",
        get: "SELECT id, name, age FROM users WHERE id = ?1",
    };

    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get("id")?,
            name: row.get("name")?,
            age: row.get("age")?,
        })
    }
}

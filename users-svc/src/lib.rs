//! The users service: `GET /users` and `GET /users/{id}`.
//!
//! Only what makes it differ from any other service of the mesh is here: the row,
//! its table, its OpenAPI document. All the rest is [`mesh::service`].

use mesh::service::Resource;
use mesh::service::store::{FieldError, Fields, Record, Table};
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

impl Record for User {
    const TABLE: Table = Table {
        list: "SELECT id, name, age FROM users WHERE id > $1 ORDER BY id LIMIT $2",
        get: "SELECT id, name, age FROM users WHERE id = $1",
        sqlite: &[
            include_str!("../migrations/0001_schema.sql"),
            include_str!("../migrations/0002_seed.sql"),
        ],
        postgres: &[
            include_str!("../migrations/postgres/0001_schema.sql"),
            include_str!("../migrations/postgres/0002_seed.sql"),
        ],
        dynamodb: &[include_str!("../migrations/dynamodb/0001_seed.json")],
    };

    fn read(fields: &impl Fields) -> Result<Self, FieldError> {
        Ok(Self {
            id: fields.integer("id")?,
            name: fields.text("name")?,
            age: fields.integer("age")?,
        })
    }
}

//! The products service: `GET /products` and `GET /products/{id}`.
//!
//! Only what makes it differ from any other service of the mesh is here: the row,
//! its table, its OpenAPI document. All the rest is [`mesh::service`].

use mesh::service::Resource;
use mesh::service::store::{FieldError, Fields, Record, Table};
use serde::Serialize;

/// A row of `/products`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Product {
    /// Key of the row.
    pub id: i64,
    /// Name of the product.
    pub name: String,
    /// Pieces in store.
    pub store: i64,
    /// What there is to say about it.
    pub description: String,
}

impl Resource for Product {
    const SERVICE: &'static str = "products-svc";
    const ABOUT: &'static str = env!("CARGO_PKG_DESCRIPTION");
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const COLLECTION: &'static str = "products";
    const OPENAPI: &'static str = include_str!("../openapi.json");

    fn id(&self) -> i64 {
        self.id
    }
}

impl Record for Product {
    const TABLE: Table = Table {
        list: "SELECT id, name, store, description FROM products WHERE id > $1 ORDER BY id LIMIT $2",
        get: "SELECT id, name, store, description FROM products WHERE id = $1",
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
            store: fields.integer("store")?,
            description: fields.text("description")?,
        })
    }
}

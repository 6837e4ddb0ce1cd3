//! Migrations, and a database that goes and comes back.

use http::{Method, StatusCode};
use mesh::service::store::sqlite::{Database, OpenError, SqliteStore};
use mesh::service::store::{FieldError, Fields, Record, Store, Table};
use mesh::service::{Resource, Settings, store};
use mesh::testing::{Running, settings};
use rusqlite::Connection;
use serde::Serialize;

use crate::notes::Note;

#[tokio::test]
async fn migrations_run_once_even_when_instances_start_together() {
    let directory = tempfile::tempdir().unwrap();
    let database = Database::File(directory.path().join("notes.sqlite"));
    let open = || SqliteStore::<Note>::open(&database).map(drop);
    std::thread::scope(|scope| {
        let openers: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
        for opener in openers {
            opener.join().unwrap().unwrap();
        }
    });
    let store = SqliteStore::<Note>::open(&database).unwrap();
    assert_eq!(store.list(0, 100).await.unwrap().len(), 5, "seeded once");
}

#[test]
fn a_migration_that_fails_leaves_nothing_behind_and_a_newer_database_is_refused() {
    /// A note whose second migration is wrong half-way.
    #[derive(Serialize)]
    struct Broken(Note);
    impl Resource for Broken {
        const SERVICE: &'static str = Note::SERVICE;
        const ABOUT: &'static str = Note::ABOUT;
        const VERSION: &'static str = Note::VERSION;
        const COLLECTION: &'static str = Note::COLLECTION;
        const OPENAPI: &'static str = Note::OPENAPI;
        fn id(&self) -> i64 {
            self.0.id
        }
    }
    impl Record for Broken {
        const TABLE: Table = Table {
            sqlite: &[
                Note::TABLE.sqlite[0],
                "INSERT INTO notes (text) VALUES ('half'); SELECT nonsense",
            ],
            ..Note::TABLE
        };
        fn read(fields: &impl Fields) -> Result<Self, FieldError> {
            Note::read(fields).map(Self)
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.sqlite");
    let database = Database::File(path.clone());
    let error = SqliteStore::<Broken>::open(&database).err().unwrap();
    assert!(
        matches!(error, OpenError::Migration { version: 2, .. }),
        "{error}"
    );
    let connection = Connection::open(&path).unwrap();
    let rows: i64 = connection
        .query_row("SELECT count(*) FROM notes", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 0);

    connection.pragma_update(None, "user_version", 3).unwrap();
    let error = SqliteStore::<Note>::open(&database).err().unwrap();
    assert!(
        matches!(
            error,
            OpenError::TooNew {
                found: 3,
                known: 2,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn readiness_follows_the_database_down_and_up_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes.sqlite");
    let database = Database::File(path.clone());
    let store = SqliteStore::<Note>::open(&database).unwrap();
    let settings = Settings {
        database: store::Database::Sqlite(database),
        ..settings()
    };
    let server = Running::start::<Note, _>(settings, store).await;
    assert_eq!(server.get("/readyz").await.status(), StatusCode::OK);

    let other = Connection::open(&path).unwrap();
    other
        .execute_batch("ALTER TABLE notes RENAME TO elsewhere")
        .unwrap();
    assert_eq!(
        server.problem(Method::GET, "/readyz").await,
        format!("503 database_unavailable: sqlite:{}", path.display())
    );
    assert_eq!(
        server.problem(Method::GET, "/notes").await,
        "503 database_unavailable: "
    );
    other
        .execute_batch("ALTER TABLE elsewhere RENAME TO notes")
        .unwrap();
    assert_eq!(server.get("/readyz").await.status(), StatusCode::OK);
}

//! What must hold for a service on every database.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;
use http::Response;
use serde_json::{Map, Value};
use tokio::task::JoinSet;

use super::process::{Environment, Process};
use super::{PATIENCE, describe_problem};
use crate::client::Client;
use crate::service::Resource;

/// A row, as `Serialize` writes it.
pub type Row = Map<String, Value>;

/// Time from the database's return to the first good answer, at most: the longest pause of the
/// backoff and a connection, on a machine that has much else to do.
pub const NOTICED_WITHIN: Duration = Duration::from_secs(10);

/// Clients at a time of [`Load`].
const CLIENTS: usize = 8;

/// Length of an answer, at most: a page of large rows.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Asks a process for a path.
pub async fn get(process: &Process, path: &str) -> Response<Bytes> {
    let url = format!("http://{}{path}", process.address);
    let client = Client {
        timeout: PATIENCE,
        max_body_bytes: ANSWER_BYTES_MAX,
    };
    let answer = client.get(&url).await;
    answer.unwrap_or_else(|error| panic!("{url}: {error}"))
}

/// Texts that some layer may spoil, beside random ones.
const TEXTS: [&str; 12] = [
    "",
    " ",
    "'; DROP TABLE users; --",
    "\"\\/\u{8}\u{c}\n\r\t",
    "\u{1}\u{1f}\u{7f}\u{80}\u{9f}",
    "ä\u{61}\u{308}",
    "日本語 العربية עברית",
    "👩‍👩‍👧‍👦🏳️‍🌈",
    "\u{feff}\u{200b}\u{202e}\u{2028}\u{2029}",
    "\u{fffd}\u{ffff}\u{10ffff}",
    "$1 ?1 :after %s {} #id",
    "NULL",
];
/// Numbers at the ends, and at those of what a double can hold.
const NUMBERS: [i64; 6] = [
    0,
    1,
    i32::MAX as i64 + 1,
    (1 << 53) + 1,
    i64::MAX - 1,
    i64::MAX,
];

/// Rows with ids far apart, of these columns and kinds, beside the seeded ones.
#[must_use]
pub fn random_rows(rng: &mut Rng, columns: &[(&str, Kind)], count: usize) -> Vec<Row> {
    let mut ids: BTreeSet<i64> = NUMBERS.into_iter().filter(|id| *id > 100).collect();
    while ids.len() < count {
        let magnitude = rng.u32(7..63);
        ids.insert(rng.i64(101..=1 << magnitude));
    }
    let mut ids: Vec<_> = ids.into_iter().collect();
    // No database may rely on the order in which rows came.
    rng.shuffle(&mut ids);
    let row = |id: i64| {
        let fields = columns.iter().map(|(name, kind)| {
            let value = match kind {
                Kind::Integer if rng.bool() => NUMBERS[rng.usize(..NUMBERS.len())].into(),
                Kind::Integer => rng.i64(0..).into(),
                Kind::Text if rng.bool() => TEXTS[rng.usize(..TEXTS.len())].into(),
                Kind::Text => random_text(rng).into(),
            };
            ((*name).to_owned(), value)
        });
        std::iter::once(("id".to_owned(), id.into()))
            .chain(fields)
            .collect()
    };
    ids.into_iter().map(row).collect()
}

/// What a column holds.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// A number from 0.
    Integer,
    /// Text.
    Text,
}

/// Any characters but NUL, which PostgreSQL cannot store.
fn random_text(rng: &mut Rng) -> String {
    let length = rng.usize(..40);
    let mut text = String::new();
    while text.chars().count() < length {
        let character = rng.char(..);
        if character != '\0' {
            text.push(character);
        }
    }
    text
}

/// The rows as one statement that SQLite and PostgreSQL read alike.
#[must_use]
pub fn insert_statement(table: &str, rows: &[Row]) -> String {
    let columns: Vec<_> = rows[0].keys().map(String::as_str).collect();
    let literal = |value: &Value| match value {
        Value::String(text) => format!("'{}'", text.replace('\'', "''")),
        other => other.to_string(),
    };
    let tuples: Vec<_> = rows
        .iter()
        .map(|row| {
            let values: Vec<_> = columns
                .iter()
                .map(|column| literal(&row[*column]))
                .collect();
            format!("({})", values.join(", "))
        })
        .collect();
    let (columns, tuples) = (columns.join(", "), tuples.join(",\n"));
    format!("INSERT INTO {table} ({columns}) VALUES {tuples}")
}

/// A process on SQLite with these rows beside the seeded ones.
#[must_use]
pub fn on_sqlite<R: Resource>(program: &str, directory: &Path, rows: &[Row]) -> Process {
    let file = directory.join("rows.sqlite");
    let path = file.display().to_string();
    // The first start makes the table.
    drop(Process::start(program, &["--database", &path]));
    let connection = rusqlite::Connection::open(&file).expect("it is there");
    let insert = insert_statement(R::COLLECTION, rows);
    connection
        .execute_batch(&insert)
        .expect("SQLite takes them");
    let environment = [("DATABASE_URL", format!("sqlite:{path}"))];
    Process::start_in(program, &[], &environment)
}

/// Fails unless both give the same answers, to the byte, to whatever can be asked.
pub async fn check_same_answers<R: Resource>(reference: &Process, other: &Process, rows: &[Row]) {
    let collection = R::COLLECTION;
    let mut paths = vec![format!("/{collection}"), format!("/{collection}?limit=100")];
    for limit in [1, 2, 3, 7, 50, 99] {
        // All pages, each from the end of the one before.
        let mut next = Some(format!("/{collection}?limit={limit}"));
        while let Some(path) = next {
            let answer = get(reference, &path).await;
            next = answer.headers().get("link").map(|link| {
                let link = link.to_str().expect("ASCII");
                let (_, link) = link.split_once('<').expect("a link");
                link.split_once('>').expect("a link").0.to_owned()
            });
            paths.push(path);
        }
    }
    for id in rows
        .iter()
        .map(|row| row["id"].as_i64().expect("an id"))
        .chain([0, 1, 2, 3, 4, 77])
    {
        paths.push(format!("/{collection}/{id}"));
        paths.push(format!(
            "/{collection}?after={}&limit=2",
            id.saturating_sub(1)
        ));
    }
    assert!(paths.len() > 3 * rows.len(), "all that can be asked");
    for path in paths {
        let (expected, answer) = (get(reference, &path).await, get(other, &path).await);
        assert_eq!(answer.status(), expected.status(), "{path}");
        for header in ["content-type", "link", "content-length"] {
            let value = |answer: &Response<Bytes>| answer.headers().get(header).cloned();
            if answer.status() == 200 {
                assert_eq!(value(&answer), value(&expected), "{path}: {header}");
            }
        }
        if answer.status() == 200 {
            assert_eq!(answer.body(), expected.body(), "{path}");
        } else {
            assert_eq!(
                describe_problem(&answer),
                describe_problem(&expected),
                "{path}"
            );
        }
    }
}

/// Clients that ask without pause, and count what they are told. Anything but the right
/// answer, or 503 with `Retry-After`, fails the test.
#[derive(Debug)]
pub struct Load {
    right: Arc<AtomicUsize>,
    away: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    clients: JoinSet<()>,
}

impl Load {
    /// Starts; each path must be answered as it is now.
    pub async fn start(process: &Process, paths: &[String]) -> Self {
        let mut load = Self {
            right: Arc::default(),
            away: Arc::default(),
            stop: Arc::default(),
            clients: JoinSet::new(),
        };
        let mut expected = Vec::new();
        for path in paths {
            let answer = get(process, path).await;
            assert_eq!(answer.status(), 200, "{path}");
            expected.push((
                format!("http://{}{path}", process.address),
                answer.into_body(),
            ));
        }
        let expected = Arc::new(expected);
        for first in 0..CLIENTS {
            let expected = Arc::clone(&expected);
            let (right, away) = (Arc::clone(&load.right), Arc::clone(&load.away));
            let stop = Arc::clone(&load.stop);
            load.clients.spawn(async move {
                let mut next = first;
                while !stop.load(Ordering::Relaxed) {
                    let (url, body) = &expected[next % expected.len()];
                    next += 1;
                    let answer = Client::new(PATIENCE).get(url).await;
                    let answer = answer.unwrap_or_else(|error| panic!("{url}: {error}"));
                    if answer.status() == 200 {
                        assert_eq!(answer.body(), body, "{url}");
                        right.fetch_add(1, Ordering::Relaxed);
                    } else {
                        assert_eq!(describe_problem(&answer), "503 database_unavailable: ");
                        assert_eq!(answer.headers()["retry-after"], "1");
                        away.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        load
    }

    /// Waits for this many more right answers.
    pub async fn more_right(&self, count: usize) {
        more(&self.right, count).await;
    }

    /// Waits for this many more 503.
    pub async fn more_away(&self, count: usize) {
        more(&self.away, count).await;
    }

    /// Ends it.
    pub async fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(client) = self.clients.join_next().await {
            client.expect("every answer was right, or 503");
        }
    }
}

async fn more(count: &AtomicUsize, more: usize) {
    let goal = count.load(Ordering::Relaxed) + more;
    let deadline = Instant::now() + PATIENCE;
    while count.load(Ordering::Relaxed) < goal {
        assert!(Instant::now() < deadline, "{count:?} of {goal}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until `/readyz` has this status; hands back the answer, and how long that took.
pub async fn until_ready_is(process: &Process, status: u16) -> (Response<Bytes>, Duration) {
    let started = Instant::now();
    loop {
        let answer = get(process, "/readyz").await;
        if answer.status() == status {
            return (answer, started.elapsed());
        }
        assert!(started.elapsed() < PATIENCE, "{answer:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Starts instances together and kills them all after a while, then starts one to the end;
/// hands back its answer to the whole collection.
pub async fn killed_while_starting<R: Resource>(
    program: &str,
    environment: &Environment,
    alive: Duration,
) -> Bytes {
    const TOGETHER: usize = 3;
    let spawn = |_| Process::spawn(program, &[], environment);
    let together: Vec<_> = (0..TOGETHER).map(spawn).collect();
    tokio::time::sleep(alive).await;
    // Dropped processes are killed with SIGKILL.
    drop(together);
    let survivors: Vec<_> = (0..TOGETHER).map(spawn).collect();
    for survivor in &survivors {
        let _ = survivor.wait_for("listening");
    }
    let process = Process::start_in(program, &[], environment);
    get(&process, &format!("/{}", R::COLLECTION))
        .await
        .into_body()
}

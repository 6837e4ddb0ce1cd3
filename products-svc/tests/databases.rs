//! The service on DynamoDB, as moto emulates it, beside SQLite.
//!
//! `./copilotw.sh test` installs moto; by hand, `MOTO_SERVER` names its executable.

use std::time::{Duration, Instant};

use fastrand::Rng;
use mesh::testing::databases::{
    Kind, Load, NOTICED_WITHIN, Row, check_same_answers, get, killed_while_starting, on_sqlite,
    random_rows, until_ready_is,
};
use mesh::testing::parts::dynamodb::DynamoDb;
use mesh::testing::process::{Process, run_in};
use products_svc::Product;

const PROGRAM: &str = env!("CARGO_BIN_EXE_products-svc");
const COLUMNS: [(&str, Kind); 3] = [
    ("name", Kind::Text),
    ("store", Kind::Integer),
    ("description", Kind::Text),
];
const SEEDED: &str = r#"[{"id":1,"name":"Auto","store":20,"description":"Ganz schnell"},{"id":2,"name":"Computer","store":42,"description":"Ganz schnell"},{"id":3,"name":"KVM Switch","store":52,"description":"Ganz teuer"}]"#;

#[tokio::test(flavor = "multi_thread")]
async fn dynamodb_answers_to_the_byte_as_sqlite_does() {
    let seed = 20;
    let mut rows = random_rows(&mut Rng::with_seed(seed), &COLUMNS, 230);
    // More than DynamoDB hands out in one answer.
    for row in rows.iter_mut().take(8) {
        row["description"] = "ä".repeat(150_000).into();
    }
    let directory = tempfile::tempdir().unwrap();
    let sqlite = on_sqlite::<Product>(PROGRAM, directory.path(), &rows);
    let emulator = DynamoDb::start().await;
    emulator.create("table").await;
    emulator.put("table", "products", &rows).await;
    // Neighbours in the table, which are none of ours.
    emulator.put("table", "product", &rows).await;
    emulator.put("table", "products2", &rows).await;
    let dynamodb = Process::start_in(PROGRAM, &[], &emulator.environment("table"));
    check_same_answers::<Product>(&sqlite, &dynamodb, &rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_row_is_lost_or_doubled_when_instances_that_start_together_are_killed() {
    let emulator = DynamoDb::start().await;
    let started = Instant::now();
    drop(Process::start_in(
        PROGRAM,
        &[],
        &emulator.environment("first"),
    ));
    let start = started.elapsed();
    // From before the first connection to after the last write.
    for step in 0..8 {
        let table = format!("table-{step}");
        let alive = start * step / 6;
        let environment = emulator.environment(&table);
        let body = killed_while_starting::<Product>(PROGRAM, &environment, alive).await;
        assert_eq!(body, SEEDED, "killed after {alive:?} of {start:?}");
        assert_eq!(emulator.items(&table).await, 4, "the rows and their count");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_under_load_shows_as_503_and_never_as_a_wrong_answer() {
    let mut emulator = DynamoDb::start().await;
    let environment = emulator.environment("table");
    let process = Process::start_in(PROGRAM, &[], &environment);
    let paths = ["/products", "/products/3", "/products?limit=1&after=1"].map(Into::into);
    let load = Load::start(&process, &paths).await;
    for _ in 0..2 {
        load.more_right(30).await;
        emulator.kill().await;
        load.more_away(20).await;
        let (answer, _) = until_ready_is(&process, 503).await;
        let problem = String::from_utf8_lossy(answer.body()).into_owned();
        assert!(problem.contains("dynamodb:table"), "{problem}");
        emulator.start_again().await;
        emulator.create("table").await;
        let rows: Vec<Row> = [
            (1, "Auto", 20, "Ganz schnell"),
            (2, "Computer", 42, "Ganz schnell"),
            (3, "KVM Switch", 52, "Ganz teuer"),
        ]
        .map(|(id, name, store, description)| {
            [
                ("id".to_owned(), id.into()),
                ("name".to_owned(), name.into()),
                ("store".to_owned(), store.into()),
                ("description".to_owned(), description.into()),
            ]
            .into_iter()
            .collect()
        })
        .to_vec();
        emulator.put("table", "products", &rows).await;
        emulator.open().await;
        let (_, noticed) = until_ready_is(&process, 200).await;
        assert!(noticed < NOTICED_WITHIN, "{noticed:?}");
    }
    load.more_right(30).await;
    load.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_somebody_wrote_otherwise_is_no_answer() {
    let emulator = DynamoDb::start().await;
    let process = Process::start_in(PROGRAM, &[], &emulator.environment("table"));
    let row: Row = [
        ("id".to_owned(), 7.into()),
        ("name".to_owned(), "without the rest".into()),
    ]
    .into_iter()
    .collect();
    emulator.put("table", "products", &[row]).await;
    assert_eq!(get(&process, "/products/7").await.status(), 503);
    assert_eq!(get(&process, "/products/3").await.status(), 200);
}

#[test]
fn what_the_sdk_lacks_is_named_with_the_remedy() {
    let table = ("DATABASE_URL", "dynamodb:products".to_owned());
    let offline = ("AWS_EC2_METADATA_DISABLED", "true".to_owned());
    let region = ("AWS_REGION", "eu-central-1".to_owned());
    for (environment, part) in [
        (vec![table.clone(), offline.clone()], "AWS_REGION"),
        (vec![table, offline, region], "credentials"),
    ] {
        let started = Instant::now();
        let output = run_in(PROGRAM, &["serve", "--listen", "127.0.0.1:0"], &environment);
        assert!(!output.status.success(), "{output:?}");
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.contains(part), "{part}: {message}");
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "{:?}",
            started.elapsed()
        );
    }
}

//! The service on a real PostgreSQL, beside SQLite.
//!
//! `./copilotw.sh test` installs PostgreSQL; by hand, `POSTGRES_BIN` names the folder of its
//! programs:
//!
//! ```text
//! POSTGRES_BIN=/usr/lib/postgresql/15/bin cargo test -p users-svc --features real-parts --test databases
//! ```

use std::time::{Duration, Instant};

use fastrand::Rng;
use mesh::testing::databases::{
    Kind, Load, NOTICED_WITHIN, check_same_answers, get, insert_statement, killed_while_starting,
    on_sqlite, random_rows, until_ready_is,
};
use mesh::testing::parts::postgres::{PASSWORD, Postgres};
use mesh::testing::process::{Process, run_in};
use users_svc::User;

const PROGRAM: &str = env!("CARGO_BIN_EXE_users-svc");
const COLUMNS: [(&str, Kind); 2] = [("name", Kind::Text), ("age", Kind::Integer)];
const SEEDED: &str = r#"[{"id":1,"name":"Tom","age":32},{"id":2,"name":"Jim","age":55},{"id":3,"name":"Luna","age":19}]"#;

#[tokio::test]
async fn postgresql_answers_to_the_byte_as_sqlite_does() {
    let seed = 20;
    let rows = random_rows(&mut Rng::with_seed(seed), &COLUMNS, 230);
    let directory = tempfile::tempdir().unwrap();
    let sqlite = on_sqlite::<User>(PROGRAM, directory.path(), &rows);
    let server = Postgres::start();
    drop(Process::start_in(PROGRAM, &[], &server.environment()));
    server.execute(&insert_statement("users", &rows)).await;
    // From the URL, and from the secret as AWS injects it.
    for environment in [server.environment(), server.secret()] {
        let postgres = Process::start_in(PROGRAM, &[], &environment);
        check_same_answers::<User>(&sqlite, &postgres, &rows).await;
    }
}

#[tokio::test]
async fn a_row_without_an_id_comes_after_the_seeded_ones() {
    let server = Postgres::start();
    let process = Process::start_in(PROGRAM, &[], &server.environment());
    let insert = "INSERT INTO users (name, age) VALUES ('Eva', 1)";
    server.execute(insert).await;
    let body = get(&process, "/users/4").await.into_body();
    assert_eq!(body, r#"{"id":4,"name":"Eva","age":1}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_row_is_lost_or_doubled_when_instances_that_start_together_are_killed() {
    let server = Postgres::start();
    let environment = server.environment();
    let started = Instant::now();
    drop(Process::start_in(PROGRAM, &[], &environment));
    let start = started.elapsed();
    // From before the first connection to after the last commit.
    for step in 0..12 {
        server
            .execute("DROP TABLE IF EXISTS users, mesh_migrations")
            .await;
        let alive = start * step / 9;
        let body = killed_while_starting::<User>(PROGRAM, &environment, alive).await;
        assert_eq!(body, SEEDED, "killed after {alive:?} of {start:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_under_load_shows_as_503_and_never_as_a_wrong_answer() {
    let mut server = Postgres::start();
    let process = Process::start_in(PROGRAM, &[], &server.environment());
    let paths = ["/users", "/users/1", "/users/3", "/users?limit=1&after=1"].map(Into::into);
    let load = Load::start(&process, &paths).await;
    load.more_right(100).await;
    // Fast, immediate, and the crash.
    for signal in ["INT", "QUIT", "KILL"] {
        server.stop(signal);
        load.more_away(20).await;
        let (answer, _) = until_ready_is(&process, 503).await;
        let detail = format!("postgres://localhost:{}/postgres", server.port());
        let problem = String::from_utf8_lossy(answer.body()).into_owned();
        assert!(problem.contains(&detail), "{problem}");
        assert!(!problem.contains("p@ss"), "{problem}");
        server.start_again();
        let (_, noticed) = until_ready_is(&process, 200).await;
        assert!(noticed < NOTICED_WITHIN, "{signal}: {noticed:?}");
        load.more_right(100).await;
    }
    // A restart between two moments: pooled connections died, and nobody was told.
    server.stop("INT");
    server.start_again();
    load.more_right(100).await;
    load.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_comes_later_is_waited_for() {
    let mut server = Postgres::start();
    server.stop("INT");
    let process = Process::spawn(PROGRAM, &[], &server.environment());
    let _ = process.wait_for("waiting for the database");
    server.start_again();
    let _ = process.wait_for("listening");
}

#[tokio::test]
async fn connections_are_bounded_and_waiting_for_one_is_too() {
    let server = Postgres::start();
    let bounds = [
        ("DATABASE_POOL_SIZE", "2".to_owned()),
        ("DATABASE_ACQUIRE_TIMEOUT", "50ms".to_owned()),
        ("DATABASE_STATEMENT_TIMEOUT", "300ms".to_owned()),
    ];
    let environment = [server.environment(), bounds.to_vec()].concat();
    let process = Process::start_in(PROGRAM, &[], &environment);
    assert_eq!(get(&process, "/users/1").await.status(), 200);
    // What reads the table waits until this lock is given back.
    let lock = "BEGIN; LOCK TABLE users; SELECT pg_sleep(1); COMMIT";
    let held = server.execute(lock);
    let asked = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let started = Instant::now();
        let ask = || get(&process, "/users/1");
        let (a, b, c, d) = tokio::join!(ask(), ask(), ask(), ask());
        for answer in [a, b, c, d] {
            assert_eq!(answer.status(), 503, "{answer:?}");
            assert_eq!(answer.headers()["retry-after"], "1");
        }
        assert!(
            started.elapsed() < Duration::from_millis(700),
            "{:?}",
            started.elapsed()
        );
    };
    tokio::join!(held, asked);
    assert_eq!(get(&process, "/users/1").await.status(), 200);
    let metrics = get(&process, "/metrics").await.into_body();
    let metrics = String::from_utf8(metrics.to_vec()).unwrap();
    for line in [
        r#"service_database_connections{state="limit"} 2"#,
        r#"service_database_connections{state="in_use"} 0"#,
        "service_database_waiting 0",
        r#"service_database_operation_duration_seconds_count{operation="get",outcome="busy"} 2"#,
        r#"service_database_operation_duration_seconds_count{operation="get",outcome="failed"} 2"#,
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
}

/// The end of a program that must not start; its message, which repeats no password.
fn refused(environment: &[(&'static str, String)]) -> String {
    let started = Instant::now();
    let output = run_in(PROGRAM, &["serve", "--listen", "127.0.0.1:0"], environment);
    assert!(!output.status.success(), "{output:?}");
    // At once, and not after the patience that a database which is away deserves.
    assert!(started.elapsed() < Duration::from_secs(10));
    let message = String::from_utf8(output.stderr).expect("text");
    let log = String::from_utf8(output.stdout).expect("text");
    for said in [&message, &log] {
        assert!(
            !said.contains(PASSWORD) && !said.contains("p%40ss"),
            "{said}"
        );
    }
    message
}

#[test]
fn a_server_that_cannot_prove_who_it_is_gets_no_password() {
    let server = Postgres::start();
    let good = server.environment();
    let with = |name: &str, value: String| {
        let mut environment = good.clone();
        let variable = environment.iter_mut().find(|(known, _)| *known == name);
        variable.unwrap().1 = value;
        environment
    };
    let foreign = server.foreign_authority().display().to_string();
    let url = &good[0].1;
    let by_address = url.replace("@localhost:", "@127.0.0.1:");
    let plain = Postgres::start_without_tls();
    let wrong_password = url.replace("p%40ss", "p%40ssx");
    let wrong_database = format!("{url}x");
    for (environment, part) in [
        (with("DATABASE_CA", foreign), "UnknownIssuer"),
        (with("DATABASE_URL", by_address), "not valid for name"),
        (plain.environment(), "does not support TLS"),
        (
            with("DATABASE_URL", wrong_password),
            "password authentication failed",
        ),
        (with("DATABASE_URL", wrong_database), "does not exist"),
        (with("DATABASE_CA", "/nowhere.pem".into()), "/nowhere.pem"),
    ] {
        let message = refused(&environment);
        assert!(message.contains(part), "{part}: {message}");
    }
    // Without DATABASE_CA, the system's authorities know nothing of ours.
    let message = refused(&good[..1]);
    assert!(message.contains("DATABASE_CA"), "{message}");
}

#[test]
fn plaintext_has_to_be_asked_for() {
    let server = Postgres::start_without_tls();
    let mut environment = server.environment();
    environment.retain(|(name, _)| *name != "DATABASE_CA");
    environment[0].1.push_str("?sslmode=disable");
    drop(Process::start_in(PROGRAM, &[], &environment));
}

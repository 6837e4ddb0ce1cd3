//! Options and their refusals.

use std::time::Duration;

use mesh::service::store::{Bounds, Database, sqlite};
use mesh::service::{Command, Supervision, parse};

use crate::notes::Note;

#[test]
fn a_command_line_is_read_as_documented() {
    let parse =
        |arguments: &[&str]| parse::<Note>(["notes-svc"].iter().chain(arguments).map(Into::into));
    let url = |arguments: &[&str]| match parse(arguments) {
        Ok(Command::HealthCheck(check)) => check.url,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        url(&["healthcheck", "--listen", "0.0.0.0:8081"]),
        "http://127.0.0.1:8081/healthz"
    );
    assert_eq!(
        url(&["healthcheck", "--listen", "[::]:8081"]),
        "http://[::1]:8081/healthz"
    );
    assert_eq!(url(&["healthcheck", "--url", "http://x/y"]), "http://x/y");

    for arguments in [
        &["--drain-limit", "7s"][..],
        &["serve", "--drain-limit", "7s"],
    ] {
        let Ok(Command::Serve(settings)) = parse(arguments) else {
            panic!("{arguments:?}")
        };
        assert_eq!(settings.drain_limit, Duration::from_secs(7));
    }
    for (arguments, supervision) in [
        (&[][..], Supervision::Signals),
        (&["--exit-on-stdin-eof"], Supervision::SignalsAndStdin),
    ] {
        let Ok(Command::Serve(settings)) = parse(arguments) else {
            panic!("{arguments:?}")
        };
        assert_eq!(settings.supervision, supervision);
    }
    let Ok(Command::Serve(settings)) = parse(&["--require-gateway", "http://gateway:8080/keys"])
    else {
        panic!("a gateway is demanded")
    };
    let demanded = settings.require_gateway.unwrap();
    assert_eq!(demanded.keys, "http://gateway:8080/keys".parse().unwrap());
    assert_eq!(
        (&*demanded.issuer, &*demanded.audience),
        ("gateway", "notes-svc")
    );
    assert_eq!(demanded.header, "x-gateway-token");
    let all = [
        "--require-gateway=http://g/k",
        "--gateway-audience=notes",
        "--gateway-issuer=edge",
        "--gateway-header=x-edge",
    ];
    let Ok(Command::Serve(settings)) = parse(&all) else {
        panic!("{all:?}")
    };
    let demanded = settings.require_gateway.unwrap();
    assert_eq!((&*demanded.issuer, &*demanded.audience), ("edge", "notes"));
    assert_eq!(demanded.header, "x-edge");
    for (arguments, part) in [
        (
            &["--require-gateway", "https://gateway/keys"][..],
            "write http://",
        ),
        (&["--gateway-audience", "x"], "--require-gateway"),
        (&["--gateway-header", "x y"], "--gateway-header"),
        (
            &["--drain-limit", "5s", "--lame-duck", "5s"],
            "leaves nothing",
        ),
        (&["--max-connections", "0"], "0 would serve nobody"),
        (&["--listen", "localhost"], "--listen"),
        (&["--log", "info,=,"], "--log"),
        (
            &["--cloud-map-endpoint", "http://x"],
            "--cloud-map-service-id",
        ),
        (&["healthcheck", "--listen", "0.0.0.0:0"], "--url"),
        (
            &[
                "--listen",
                "[::1]:0",
                "--cloud-map-endpoint",
                "http://x",
                "--cloud-map-service-id",
                "s",
            ],
            "IPv4",
        ),
        (&["sevre"], "serve"),
    ] {
        let error = parse(arguments)
            .err()
            .unwrap_or_else(|| panic!("{arguments:?}"))
            .to_string();
        assert!(error.contains(part), "{arguments:?}: {error}");
    }
}

#[test]
fn the_options_of_the_database_are_read_as_documented() {
    let parse =
        |arguments: &[&str]| parse::<Note>(["notes-svc"].iter().chain(arguments).map(Into::into));
    for (arguments, database) in [
        (&[][..], "sqlite::memory:"),
        (&["--database", "a.db", "--database-url", ""], "sqlite:a.db"),
        (&["--database-url", "dynamodb:rows"], "dynamodb:rows"),
    ] {
        let Ok(Command::Serve(settings)) = parse(arguments) else {
            panic!("{arguments:?}")
        };
        assert_eq!(settings.database.to_string(), database);
        assert_eq!(settings.database_bounds, Bounds::default());
    }
    for (arguments, part) in [
        (
            &["--database", "x", "--database-url", "sqlite:y"][..],
            "both name a database",
        ),
        (&["--database-url", "mysql://h"], "sqlite:PATH"),
        (&["--database-secret", "arn:aws:x"], "not JSON"),
        (&["--database-ca", "x"], "DATABASE_CA is for"),
        (&["--database-pool-size", "0"], "1 to 100"),
        (&["--database-pool-size", "101"], "1 to 100"),
        (&["--database-connect-timeout", "9ms"], "10ms to 1m"),
        (&["--database-statement-timeout", "61s"], "10ms to 1m"),
    ] {
        let error = parse(arguments)
            .err()
            .unwrap_or_else(|| panic!("{arguments:?}"))
            .to_string();
        assert!(error.contains(part), "{arguments:?}: {error}");
    }
}

#[test]
fn an_empty_value_is_none_for_a_supervisor_cannot_unset_a_variable() {
    let arguments = [
        "--database=",
        "--database-url=",
        "--database-secret=",
        "--database-ca=",
    ];
    let command = parse::<Note>(["notes-svc"].iter().chain(&arguments).map(Into::into));
    let settings = match command {
        Ok(Command::Serve(settings)) => settings,
        other => panic!("{other:?}"),
    };
    let expected = Database::Sqlite(sqlite::Database::Memory);
    assert_eq!(settings.database, expected);
}

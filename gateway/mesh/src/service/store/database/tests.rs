use std::path::PathBuf;

use super::*;

/// What no error and no description may repeat.
const PASSWORD: &str = "s3cr3t";

fn url(url: &str) -> Result<Database, String> {
    let said = Said {
        url: Some(url),
        ..Said::default()
    };
    said.database().map_err(|error| error.to_string())
}

fn secret(secret: &str) -> Result<PostgresOptions, String> {
    let said = Said {
        secret: Some(secret),
        ..Said::default()
    };
    match said.database().map_err(|error| error.to_string())? {
        Database::Postgres(options) => Ok(*options),
        other => panic!("{other:?}"),
    }
}

fn postgres(host: &str, port: u16, name: &str, user: &str, password: &str) -> PostgresOptions {
    PostgresOptions {
        host: host.into(),
        port,
        name: name.into(),
        user: user.into(),
        password: password.to_owned().into(),
        tls: Tls::VerifyFull { ca: None },
    }
}

#[test]
fn each_kind_of_database_has_its_url() {
    let file = |path: &str| Database::Sqlite(sqlite::Database::File(path.into()));
    let over_tls = |options| Database::Postgres(Box::new(options));
    let plain = |options| {
        let tls = Tls::Disabled;
        Database::Postgres(Box::new(PostgresOptions { tls, ..options }))
    };
    let table = |table: &str, region: Option<&str>, endpoint: Option<&str>| {
        Database::DynamoDb(DynamoDbOptions {
            table: table.into(),
            region: region.map(Into::into),
            endpoint: endpoint.map(Into::into),
        })
    };
    for (text, expected, shown) in [
        ("sqlite:a/b.db", file("a/b.db"), "sqlite:a/b.db"),
        ("sqlite:///a?b", file("/a?b"), "sqlite:/a?b"),
        (
            "sqlite::memory:",
            Database::Sqlite(sqlite::Database::Memory),
            "sqlite::memory:",
        ),
        (
            "postgres://tom:s3cr3t@db.example/users",
            over_tls(postgres("db.example", 5432, "users", "tom", "s3cr3t")),
            "postgres://db.example:5432/users",
        ),
        (
            "postgresql://t%40m:s3cr3t%2F%3A%40%25%C3%A4@[::1]:1/u%20s?sslmode=verify-full",
            over_tls(postgres("::1", 1, "u s", "t@m", "s3cr3t/:@%ä")),
            "postgres://[::1]:1/u s",
        ),
        (
            "postgres://tom:s3cr3t@127.0.0.9:9/users?sslmode=disable",
            plain(postgres("127.0.0.9", 9, "users", "tom", "s3cr3t")),
            "postgres://127.0.0.9:9/users",
        ),
        (
            "postgres://tom:s3cr3t@localhost/users?sslmode=disable",
            plain(postgres("localhost", 5432, "users", "tom", "s3cr3t")),
            "postgres://localhost:5432/users",
        ),
        (
            "dynamodb:app-test-products",
            table("app-test-products", None, None),
            "dynamodb:app-test-products",
        ),
        (
            "dynamodb://a.b_c?region=eu-central-1&endpoint=http%3A%2F%2F127.0.0.1%3A8000",
            table("a.b_c", Some("eu-central-1"), Some("http://127.0.0.1:8000")),
            "dynamodb:a.b_c",
        ),
    ] {
        let database = url(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(database, expected, "{text}");
        assert_eq!(database.to_string(), shown, "{text}");
        assert!(!format!("{database:?}").contains(PASSWORD), "{text}");
    }
}

#[test]
fn a_url_that_is_not_good_is_refused_with_the_remedy_and_without_the_password() {
    for (text, part) in [
        ("", "postgres://USER"),
        ("users.db", "sqlite:PATH"),
        ("mysql://tom:s3cr3t@h/d", "postgres://USER"),
        ("sqlite:", "path is missing"),
        ("postgres:s3cr3t", "postgres://USER"),
        ("postgres://h/d", "user and password is missing"),
        ("postgres://s3cr3t@h/d", "password is missing"),
        ("postgres://tom:@h/d", "password is missing"),
        ("postgres://:s3cr3t@h/d", "user is missing"),
        ("postgres://tom:s3cr3t@h", "database's name is missing"),
        ("postgres://tom:s3cr3t@h/", "database's name is missing"),
        ("postgres://tom:s3cr3t#x@h/d", "percent-encoded"),
        ("postgres://tom:s3cr3t x@h/d", "percent-encoded"),
        ("postgres://tom:s3cr3t@h:port/d", "percent-encoded"),
        ("postgres://tom:s3cr3t@h:70000/d", "percent-encoded"),
        ("postgres://tom:s3cr3t%FF@h/d", "password is not text"),
        ("postgres://tom:s3cr3t%00@h/d", "password is not text"),
        ("postgres://tom:s3cr3t@h/d?sslmode=require", "verify-full"),
        ("postgres://tom:s3cr3t@h/d?sslmode=Disable", "verify-full"),
        ("postgres://tom:s3cr3t@h/d?sslmode=disable", "loopback"),
        (
            "postgres://tom:s3cr3t@10.0.0.1/d?sslmode=disable",
            "loopback",
        ),
        ("postgres://tom:s3cr3t@h/d?timeout=1", "`timeout`"),
        (
            "postgres://tom:s3cr3t@127.0.0.1/d?sslmode=disable&sslmode=verify-full",
            "given twice",
        ),
        ("dynamodb:", "3 to 255"),
        ("dynamodb:a/b/c", "3 to 255"),
        ("dynamodb:abc?endpoint=http://10.0.0.1", "https"),
        ("dynamodb:abc?endpoint=localhost", "https"),
        ("dynamodb:abc?table=x", "region and endpoint"),
        ("dynamodb:abc?region=", "`region`"),
    ] {
        let error = url(text).expect_err(text);
        assert!(error.contains(part), "{text}: {error}");
        assert!(!error.contains(PASSWORD), "{text}: {error}");
    }
}

#[test]
fn a_secret_is_read_as_aws_injects_it() {
    // As Secrets Manager writes it once the secret is attached to a cluster of Aurora.
    let aurora = r#"{"dbClusterIdentifier":"c","password":"s3cr3t\"'/@:%{}\\ ä","dbname":"users",
        "engine":"postgres","port":5432,"host":"c.cluster-x.eu-central-1.rds.amazonaws.com","username":"tom"}"#;
    let host = "c.cluster-x.eu-central-1.rds.amazonaws.com";
    let expected = postgres(host, 5432, "users", "tom", "s3cr3t\"'/@:%{}\\ ä");
    assert_eq!(secret(aurora).unwrap(), expected);
    for (port, expected) in [
        (r#","port":"6543""#, 6543),
        (r#","port":1,"unknown":{"a":[1]},"engine":null"#, 1),
        ("", 5432),
    ] {
        let text = format!(
            r#"{{"username":"tom","password":"s3cr3t","host":"h","dbname":"users"{port}}}"#
        );
        assert_eq!(secret(&text).unwrap().port, expected, "{text}");
    }
}

#[test]
fn a_secret_that_is_not_good_is_refused_with_the_remedy_and_without_the_password() {
    let good = r#"{"username":"tom","password":"s3cr3t","host":"h","dbname":"d","port":1}"#;
    for (text, part) in [
        (String::new(), "not JSON (line 1"),
        ("arn:aws:secretsmanager:s3cr3t".into(), "ARN"),
        (good.replace('}', ""), "not JSON"),
        ("\"s3cr3t\"".into(), "not a JSON object"),
        (good.replace("username", "user"), "`username`"),
        (good.replace("password", "pass"), "`password`"),
        (good.replace("\"s3cr3t\"", "\"\""), "`password`"),
        (good.replace("\"s3cr3t\"", "[\"s3cr3t\"]"), "`password`"),
        (good.replace("s3cr3t", "s3cr3t\\u0000"), "NUL"),
        (good.replace("host", "hosts"), "SecretTargetAttachment"),
        (good.replace("dbname", "name"), "`dbname`"),
        (good.replace(":1}", ":0}"), "`port`"),
        (good.replace(":1}", ":65536}"), "`port`"),
        (good.replace(":1}", ":\"s3cr3t\"}"), "`port`"),
        (good.replace(":1}", ":1,\"engine\":\"mysql\"}"), "`engine`"),
        (good.replace(":1}", ":1,\"engine\":5}"), "`engine`"),
    ] {
        let error = secret(&text).expect_err(&text);
        assert!(error.contains(part), "{text}: {error}");
        assert!(!error.contains(PASSWORD), "{text}: {error}");
    }
}

#[test]
fn a_database_is_named_once_and_roots_are_for_tls_only() {
    let path = || Some(PathBuf::from("x"));
    let (url, secret) = (Some("sqlite:x"), Some("{}"));
    let plain = Some("postgres://a:b@localhost/d?sslmode=disable");
    for (path, url, secret, ca, parts) in [
        (path(), url, None, None, ["(DATABASE)", "(DATABASE_URL)"]),
        (
            path(),
            None,
            secret,
            None,
            ["(DATABASE)", "DATABASE_SECRET"],
        ),
        (None, url, secret, None, ["DATABASE_URL", "DATABASE_SECRET"]),
        (None, url, None, path(), ["DATABASE_CA", "sqlite:x"]),
        (None, plain, None, path(), ["DATABASE_CA", "localhost"]),
    ] {
        let said = Said {
            path,
            url,
            secret,
            ca,
        };
        let error = said.database().expect_err(parts[0]).to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
    let said = Said {
        url: Some("postgres://a:b@h/d"),
        ca: path(),
        ..Said::default()
    };
    let Database::Postgres(options) = said.database().unwrap() else {
        panic!("not PostgreSQL");
    };
    assert_eq!(options.tls, Tls::VerifyFull { ca: path() });
}

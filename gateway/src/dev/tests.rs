//! The whole system but the gateway, with shell scripts for services.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::SystemTime;

use clap::Parser;
use futures_util::FutureExt as _;
use gateway_core::config::Source;
use gateway_core::file::read;
use jsonwebtoken::jwk::JwkSet;

use super::*;
use crate::lifecycle::Lifecycle;

#[derive(Debug, Parser)]
struct Dev {
    #[command(flatten)]
    options: DevOptions,
}

#[derive(Debug, Parser)]
struct Token {
    #[command(flatten)]
    options: TokenOptions,
}

fn dev(arguments: &[&str]) -> DevOptions {
    let arguments = [&["dev"], arguments].concat();
    Dev::try_parse_from(arguments).unwrap().options
}

fn token(arguments: &[&str]) -> Result<TokenOptions, clap::Error> {
    let arguments = [&["token"], arguments].concat();
    Token::try_parse_from(arguments).map(|token| token.options)
}

/// Options with free ports and with a script as both services.
///
/// The script is part of the sources: a file that a test has just written may
/// still be open in a child that another test is starting, and does not run then.
fn options(home: &Path) -> DevOptions {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/dev/testdata/service.sh");
    DevOptions {
        listen: (Ipv4Addr::LOCALHOST, 0).into(),
        admin: (Ipv4Addr::LOCALHOST, 0).into(),
        data_dir: home.join("data"),
        replicas: 1,
        internal_identity: false,
        users_svc: Some(program.clone()),
        products_svc: Some(program),
        services_log: "info".to_owned(),
        token_command: None,
    }
}

#[test]
fn the_defaults_are_those_of_the_documentation() {
    let options = dev(&[]);
    assert_eq!(options.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(options.admin.to_string(), "127.0.0.1:9090");
    assert_eq!(options.data_dir, Path::new(".local"));
    assert_eq!(options.replicas, 2);
}

#[test]
fn options_out_of_bounds_are_refused() {
    for arguments in [
        ["--replicas", "0"],
        ["--replicas", "17"],
        ["--listen", "8080"],
    ] {
        let arguments = [&["dev"], &arguments[..]].concat();
        Dev::try_parse_from(&arguments).unwrap_err();
    }
    for (ttl, remedy) in [
        ("-5m", "`-5m` is not a duration"),
        ("soon", "such as `1m30s`"),
        ("60", "no unit"),
    ] {
        let error = token(&["--ttl", ttl]).unwrap_err().to_string();
        assert!(error.contains(remedy), "{error}");
    }
    token(&["--algorithm", "none"]).unwrap_err();
}

#[test]
fn a_token_needs_no_running_issuer_and_a_wrong_option_makes_no_keys() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let mint = |arguments: &[&str]| {
        let mut options = token(arguments).unwrap();
        options.data_dir.clone_from(&data);
        options.mint(SystemTime::now())
    };
    mint(&["--ttl", "2d"]).unwrap_err();
    assert!(!data.exists());
    let token = mint(&[
        "--sub",
        "s",
        "--audience",
        "a",
        "--audience",
        "b",
        "--ttl",
        "1s",
    ])
    .unwrap();
    assert_eq!(token.split('.').count(), 3);
    assert!(data.join("keys").exists());
}

#[test]
fn the_public_keys_are_written_for_everybody_and_nothing_private_with_them() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("jwks.json");
    let data_dir = home.path().join("data");
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let arguments = [
        "--public-keys",
        &path(&file),
        "--data-dir",
        &path(&data_dir),
    ];
    let minted = || token(&arguments).unwrap().mint(SystemTime::now());
    let header = jsonwebtoken::decode_header(minted().unwrap()).unwrap();
    let written = fs::read_to_string(&file).unwrap();
    let set: JwkSet = serde_json::from_str(&written).unwrap();
    assert!(set.find(&header.kid.unwrap()).is_some());
    for member in ["\"d\"", "\"p\"", "\"q\"", "PRIVATE"] {
        assert!(!written.contains(member), "{member}");
    }
    assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o644);

    // Once more, over the file that is there; and where none can be.
    minted().unwrap();
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let error = minted().unwrap_err().to_string();
    assert!(error.contains("jwks.json"), "{error}");
}

#[tokio::test]
async fn a_port_in_use_names_the_flag_that_changes_it() {
    let home = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap();
    let started = start(DevOptions {
        listen: address,
        ..options(home.path())
    });
    let error = started.await.unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("{address} is in use")),
        "{error}"
    );
    assert!(
        error.contains("`--listen` (`./copilotw.sh local --port`)"),
        "{error}"
    );
    let started = start(DevOptions {
        admin: address,
        ..options(home.path())
    });
    let error = started.await.unwrap_err().to_string();
    assert!(
        error.contains("`--admin` (`./copilotw.sh local --admin-port`)"),
        "{error}"
    );
}

#[tokio::test]
async fn a_service_that_was_not_built_is_named_with_the_remedy() {
    let home = tempfile::tempdir().unwrap();
    let missing = home.path().join("users-svc");
    let started = start(DevOptions {
        users_svc: Some(missing),
        ..options(home.path())
    });
    let error = started.await.unwrap_err().to_string();
    assert!(
        error.contains("cargo build --release -p users-svc"),
        "{error}"
    );
    assert!(error.contains("`--users-svc`"), "{error}");
}

#[tokio::test]
async fn the_system_is_ready_when_every_instance_has_registered() {
    let home = tempfile::tempdir().unwrap();
    let options = DevOptions {
        replicas: 2,
        ..options(home.path())
    };
    let mut system = start(options).await.unwrap();
    let names: Vec<_> = system
        .instances
        .iter()
        .map(|(_, name)| name.clone())
        .collect();
    assert_eq!(names, ["users-1", "users-2", "products-1", "products-2"]);

    let directory = system.directory.clone();
    let attributes = [
        ("AWS_INSTANCE_IPV4", "127.0.0.1"),
        ("AWS_INSTANCE_PORT", "1"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    for (service, name) in &system.instances {
        directory
            .register(service, name, attributes.clone().into())
            .unwrap();
    }
    system.ready().await.unwrap();
    system.shutdown().await;
    assert_eq!(
        directory.missing(&[("srv-users".to_owned(), "users-1".to_owned())]),
        ["users-1"]
    );
}

#[test]
fn a_child_is_told_where_to_register_and_as_whom() {
    let [users, _] = &SERVICES;
    let mut surroundings = Surroundings {
        registry: "http://127.0.0.1:1".to_owned(),
        gateway_keys: None,
        log: "debug".to_owned(),
    };
    let child = |surroundings: &Surroundings| {
        let (program, database) = (Path::new("/bin/users-svc"), Path::new("/data/users.db"));
        child(users, 2, program, database, surroundings)
    };
    surroundings.gateway_keys = Some("http://127.0.0.1:2/keys".to_owned());
    let env: BTreeMap<_, _> = child(&surroundings).env.into_iter().collect();
    assert_eq!(env["REQUIRE_GATEWAY"], "http://127.0.0.1:2/keys");
    surroundings.gateway_keys = None;
    let child = child(&surroundings);
    assert_eq!(child.name, "users-2");
    assert_eq!(child.args, ["--listen", "127.0.0.1:0"]);
    let env: BTreeMap<_, _> = child.env.into_iter().collect();
    assert_eq!(env["CLOUD_MAP_ENDPOINT"], "http://127.0.0.1:1");
    assert_eq!(env["CLOUD_MAP_SERVICE_ID"], "srv-users");
    assert_eq!(env["CLOUD_MAP_INSTANCE_ID"], "users-2");
    assert_eq!(env["DATABASE"], "/data/users.db");
    assert_eq!(env["LOG"], "debug");
    assert!(!env.contains_key("REQUIRE_GATEWAY"));
    let drain_limit = env["DRAIN_LIMIT"].to_str().unwrap();
    let drain_limit = humantime::parse_duration(drain_limit).unwrap();
    assert!(
        drain_limit < Policy::default().stop_timeout,
        "it ends by itself"
    );
}

#[tokio::test]
async fn a_service_that_cannot_run_ends_the_wait() {
    let home = tempfile::tempdir().unwrap();
    let not_executable = home.path().join("svc");
    fs::write(&not_executable, "").unwrap();
    let mut system = start(DevOptions {
        users_svc: Some(not_executable),
        ..options(home.path())
    })
    .await
    .unwrap();
    let error = system.ready().await.unwrap_err().to_string();
    assert!(error.contains("cannot start"), "{error}");
    system.shutdown().await;
}

#[tokio::test]
async fn the_banner_waits_for_the_gateway() {
    let home = tempfile::tempdir().unwrap();
    let mut system = start(options(home.path())).await.unwrap();
    let lifecycle = Arc::new(Lifecycle::default());
    lifecycle.wait_for(["keys".to_owned(), "endpoints".to_owned()]);
    let readiness = Readiness::of(&lifecycle);
    let mut ready = Box::pin(system.gateway_ready(&readiness));
    lifecycle.arrived("keys");
    assert!((&mut ready).now_or_never().is_none());
    assert_eq!(readiness.waiting_for(), ["endpoints"]);
    lifecycle.arrived("endpoints");
    ready.await.unwrap();
    system.shutdown().await;
}

#[tokio::test]
async fn the_routes_file_uses_the_variables_and_no_others() {
    let home = tempfile::tempdir().unwrap();
    for internal_identity in [false, true] {
        let system = start(DevOptions {
            internal_identity,
            ..options(home.path())
        });
        let system = system.await.unwrap();
        let mut routes = system.routes();
        for (name, value) in system.variables() {
            let variable = format!("${{{name}}}");
            assert!(routes.contains(&variable), "{name} is of no use");
            routes = routes.replace(&variable, &value);
        }
        assert!(!routes.contains("${"), "{routes}");
        assert!(routes.contains(&format!(
            "http://{}/.well-known/jwks.json",
            system.issuer_address()
        )));
        assert!(routes.contains(&format!("http://{}", system.registry_address())));
        let source = Source {
            name: "routes of gateway dev",
            text: &routes,
        };
        let compiled = read(source, &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(
            compiled.settings.internal_identity.is_some(),
            internal_identity
        );
        system.shutdown().await;
    }
}

#[tokio::test]
async fn the_banner_has_a_line_to_paste() {
    let home = tempfile::tempdir().unwrap();
    let mut options = options(home.path());
    options.token_command = Some("./copilotw.sh token".to_owned());
    let system = start(options).await.unwrap();
    let banner = system.banner("0.0.0.0:8080".parse().unwrap());
    let curl = "\n  curl -H \"authorization: Bearer $(./copilotw.sh token)\" http://127.0.0.1:8080/users\n";
    assert!(banner.contains(curl), "{banner}");
    assert!(banner.contains("Ctrl-C stops everything"), "{banner}");
    system.shutdown().await;
}

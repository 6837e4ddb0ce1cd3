//! The routes file of production, as `gateway check` sees it.

use std::process::{Command, Output};

const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../copilot/gateway/routes.yaml"
);
/// What a task must be given; the first is Copilot's own.
const VARIABLES: [(&str, &str); 3] = [
    ("COPILOT_SERVICE_DISCOVERY_ENDPOINT", "test.app.local"),
    ("JWT_ISSUER", "https://issuer.example/"),
    ("JWT_AUDIENCE", "api"),
];

fn check(variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gateway"))
        .args(["check", FILE])
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .expect("the program starts")
}

fn refusal(variables: &[(&str, &str)]) -> String {
    let output = check(variables);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn the_file_is_good_once_its_variables_are_set() {
    let output = check(&VARIABLES);
    assert!(output.status.success(), "{output:?}");
    let summary = String::from_utf8_lossy(&output.stdout);
    assert!(
        summary.contains("4 routes, 2 upstreams, 1 JWT provider"),
        "{summary}"
    );
}

#[test]
fn every_variable_that_is_missing_is_named_at_once() {
    let told = refusal(&[]);
    for (name, _) in VARIABLES {
        assert!(
            told.contains(&format!("variable `{name}` is not set")),
            "{told}"
        );
    }
}

#[test]
fn each_variable_is_needed() {
    for (index, (name, _)) in VARIABLES.iter().enumerate() {
        let mut others = VARIABLES.to_vec();
        others.remove(index);
        let told = refusal(&others);
        assert!(
            told.contains(&format!("variable `{name}` is not set")),
            "{told}"
        );
    }
}

#[test]
fn values_that_cannot_be_meant_are_refused() {
    for (name, value, part) in [
        ("JWT_ISSUER", "http://issuer.example/", "plain http"),
        ("JWT_ISSUER", "", "`issuer` is empty"),
        ("JWT_AUDIENCE_CLAIM", " ", "`audience_claim` is empty"),
        ("JWT_AUDIENCE", "", "`audiences[0]` is empty"),
        (
            "COPILOT_SERVICE_DISCOVERY_ENDPOINT",
            "",
            "`namespace` is empty",
        ),
        ("TRUSTED_PROXIES", "anybody", "trusted_proxies"),
    ] {
        let mut variables = VARIABLES.to_vec();
        variables.retain(|(other, _)| *other != name);
        variables.push((name, value));
        let told = refusal(&variables);
        assert!(told.contains(part), "{name}={value}: {told}");
    }
}

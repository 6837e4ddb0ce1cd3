//! The program, from its start to its end.

use mesh::testing::process;
use users_svc::User;

#[test]
fn the_program_lives_and_dies_as_an_orchestrator_expects() {
    process::check_life_cycle(env!("CARGO_BIN_EXE_users-svc"));
}

#[test]
fn nobody_waits_for_a_program_that_is_asked_twice_or_has_lost_its_supervisor() {
    process::check_hurry(env!("CARGO_BIN_EXE_users-svc"));
}

#[test]
fn a_request_leaves_an_access_line_that_continues_the_callers_trace() {
    process::check_access_line::<User>(env!("CARGO_BIN_EXE_users-svc"));
}

#[test]
fn no_password_is_shown_by_help_or_in_a_refusal() {
    let url = "postgres://tom:s3cr3t@h/d";
    let secret = r#"{"username":"tom","password":"s3cr3t"}"#;
    for (arguments, environment, part) in [
        (&["--help"][..], [("DATABASE_URL", url)], "DATABASE_URL"),
        (
            &["--help"],
            [("DATABASE_SECRET", secret)],
            "DATABASE_SECRET",
        ),
        (&["--listen", "x"], [("DATABASE_URL", url)], "--listen"),
        (&[], [("DATABASE_SECRET", secret)], "`host` is missing"),
        (
            &["--database-secret", "s3cr3t"],
            [("DATABASE_URL", url)],
            "both name a database",
        ),
    ] {
        let environment = environment.map(|(name, value)| (name, value.to_owned()));
        let output = process::run_in(env!("CARGO_BIN_EXE_users-svc"), arguments, &environment);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).expect("text");
        assert!(said.contains(part), "{arguments:?}: {said}");
        assert!(!said.contains("s3cr3t"), "{arguments:?}: {said}");
    }
}

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

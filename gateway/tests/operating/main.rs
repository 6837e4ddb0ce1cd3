//! What operators look at, looked at with what they use: the admin API by a fuzzer, the page in a
//! browser, the queries of dashboard and alerts by a parser of `PromQL`.
//!
//! `./copilotw.sh test` installs all of it and says where it is; a part that is missing is an error.

mod fuzz;
#[path = "../page/page.rs"]
mod page;
mod queries;
#[expect(dead_code, reason = "shared with tests that need more of it")]
#[path = "../support/mod.rs"]
mod support;

use std::process::{Command, Output, Stdio};

/// What `./copilotw.sh test` has put there.
fn installed(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set; run ./copilotw.sh test, which sets it"))
}

/// Runs a program to its end.
fn run(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output();
    output.unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Runs it, and panics with all that it has said if it did not end well.
fn run_well(command: &mut Command) -> String {
    let output = run(command);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}{command:?}");
    said
}

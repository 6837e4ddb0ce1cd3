//! What good files mean, and what is said about bad ones.

mod access_log;
mod bounds;
mod broken;
mod corpus;
mod endpoints;
mod folder;
mod good;
mod health;
mod included;
mod load_balancers;
mod many;
mod overload;
mod resilience;
mod revocations;
mod schema;
mod tracing;
mod warnings;

use std::fmt::Write as _;

use super::{Compiled, read};
use crate::config::{Problems, Source};

fn variables(name: &str) -> Option<String> {
    match name {
        "NAMESPACE" => Some("prod.internal".to_owned()),
        "EMPTY" => Some(String::new()),
        "PORT" => Some("8081".to_owned()),
        "JWT_SECRET" => Some("0123456789abcdef".repeat(4)),
        "JWT_SECRET_WEAK" => Some("hunter2".to_owned()),
        _ => None,
    }
}

fn try_read(text: &str) -> Result<Compiled, Problems> {
    let source = Source {
        name: "routes.yaml",
        text,
    };
    let read = read(source, &variables);
    if read.is_ok() {
        // All that the tests take to be good is, for editors too.
        assert_eq!(schema::refusal(text), None, "{text}");
    }
    read
}

/// What a file means that has nothing wrong.
fn compiled(text: &str) -> Compiled {
    try_read(text).unwrap_or_else(|problems| panic!("{problems}"))
}

/// One line a problem: its place, path and message, and after a bar the remedy. A message that
/// says itself what to write may do without one; those of the match table are tested there.
fn problems(text: &str) -> String {
    let Err(problems) = try_read(text) else {
        return "nothing is wrong\n".to_owned();
    };
    let mut lines = String::new();
    for problem in &problems {
        let at = problem.position.expect("every problem has a place");
        let (path, message) = (&problem.path, problem.message.replace('\n', "\\n"));
        write!(lines, "{}:{} {path}: {message}", at.line, at.column).unwrap();
        match &problem.help {
            Some(help) => writeln!(lines, " | {}", help.lines().next().unwrap_or_default()),
            None if message.starts_with("expected ") || path.contains(".match") => {
                writeln!(lines)
            }
            None => writeln!(lines, " | NO REMEDY"),
        }
        .unwrap();
    }
    lines
}

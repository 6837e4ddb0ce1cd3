//! The decoder with types like those of the routes file.

mod broken_values;
mod broken_yaml;
mod data;
mod mutation;
mod reports;
mod sample;
mod small;

use std::fmt::Write;

use expect_test::Expect;
use serde::de::DeserializeOwned;

use super::{Positions, Problems, Source, decode};

fn variables(name: &str) -> Option<String> {
    match name {
        "NAMESPACE" => Some("prod.internal".to_owned()),
        "WORKERS" => Some("4".to_owned()),
        "SECRET" => Some("hunter22".to_owned()),
        "EMPTY" => Some(String::new()),
        "LONG" => Some("correct horse battery staple ".repeat(9)),
        _ => None,
    }
}

fn read<T: DeserializeOwned>(text: &str) -> Result<(T, Positions), Problems> {
    let source = Source {
        name: "routes.yaml",
        text,
    };
    decode(source, &variables)
}

/// One line a problem: place, path, message, and the help after a bar.
fn problems<T: DeserializeOwned>(text: &str) -> String {
    let Err(problems) = read::<T>(text) else {
        return "decoded".to_owned();
    };
    let mut lines = String::new();
    for problem in &problems {
        if let Some(at) = problem.position {
            write!(lines, "{}:{}-{} ", at.line, at.column, at.length).unwrap();
        }
        write!(lines, "{}: {}", problem.path, problem.message).unwrap();
        let help = problem.help.as_deref().unwrap_or("NONE");
        writeln!(lines, " | {}", help.replace('\n', " / ")).unwrap();
    }
    lines
}

/// Each file, its problems below it.
fn check<T: DeserializeOwned>(files: &[&str], expected: &Expect) {
    let mut report = String::new();
    for file in files {
        writeln!(report, "{file:?}\n{}", problems::<T>(file)).unwrap();
    }
    expected.assert_eq(&report);
}

/// All problems as a person sees them.
fn report<T: DeserializeOwned>(text: &str) -> String {
    match read::<T>(text) {
        Ok(_) => "decoded".to_owned(),
        Err(problems) => problems.to_string(),
    }
}

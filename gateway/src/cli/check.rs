//! `gateway check`: everything that is wrong or odd about routes files, before anybody serves by
//! them. What it prints and its exit codes are an interface: `docs/check.md`.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use gateway_core::auth::api_keys::ApiKeys;
use gateway_core::auth::keys::KeyRing;
use gateway_core::auth::revocation::Revocations;
use gateway_core::config::{Palette, Problem, Problems, Source};
use gateway_core::file::{Compiled, EndpointFile, Holds, NamedFile, Report};
use serde::Serialize;

use super::{count, tell, tell_error};
use crate::app::ConfigSource;
use crate::files::{FileError, read_file, text};

/// Bytes that are read of a file that a routes file names; the largest that the gateway takes.
const NAMED_FILE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The exit code where nothing is wrong, and `--deny-warnings` refuses what is odd.
const WARNINGS_DENIED: u8 = 3;

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The routes files, each by itself.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// `text` for people, on standard error; `json` for programs: one object on standard output.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Exit 3 where there are warnings and nothing worse.
    #[arg(long)]
    deny_warnings: bool,
    /// Leave out the files that a routes file names, such as lists of API keys: where it is
    /// checked they need not be.
    #[arg(long)]
    no_files: bool,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum Format {
    #[default]
    Text,
    Json,
}

/// What there is to say of one routes file.
#[derive(Default)]
struct Checked {
    /// Errors and warnings, each list with the file that it is about.
    found: Vec<Problems>,
    errors: usize,
    warnings: usize,
    /// What it defines, where it is good.
    summary: Option<String>,
}

pub(super) fn run(args: &CheckArgs) -> ExitCode {
    let checked: Vec<_> = args.files.iter().map(|path| check(path, args)).collect();
    match args.format {
        Format::Text => checked.iter().for_each(tell_text),
        Format::Json => tell(&json(checked.iter().flat_map(|it| &it.found))),
    }
    let sum = |of: fn(&Checked) -> usize| checked.iter().map(of).sum::<usize>();
    if sum(|it| it.errors) > 0 {
        ExitCode::FAILURE
    } else if args.deny_warnings && sum(|it| it.warnings) > 0 {
        ExitCode::from(WARNINGS_DENIED)
    } else {
        ExitCode::SUCCESS
    }
}

fn check(path: &PathBuf, args: &CheckArgs) -> Checked {
    let name = path.display().to_string();
    let mut checked = Checked::default();
    let report = match ConfigSource::file(path).report() {
        Ok(report) => report,
        Err(error) => {
            checked.add(unreadable(&name, &error));
            return checked;
        }
    };
    let Report {
        outcome,
        warnings,
        files,
        positions,
        written: _,
    } = report;
    checked.summary = outcome.as_ref().ok().map(|it| summary(&name, it));
    let mut problems = outcome.err().unwrap_or_else(|| warnings.clone().emptied());
    if !args.no_files {
        for named in &files {
            match inspect(named) {
                Ok(()) => {}
                Err(Fault::Unreadable(message)) => {
                    let help = "see to the file or mend its path; `--no-files` leaves it out";
                    problems.add(&positions, &named.path, message, Some(help.into()));
                }
                Err(Fault::Problems(found)) => checked.add(found),
            }
        }
    }
    checked.add(problems);
    checked.add(warnings);
    checked
}

impl Checked {
    fn add(&mut self, found: Problems) {
        let warnings = found.iter().filter(|it| it.warning.is_some()).count();
        self.warnings += warnings;
        self.errors += found.len() - warnings;
        self.found.push(found);
    }
}

/// That there is nothing to look at.
pub(super) fn unreadable(name: &str, error: &FileError) -> Problems {
    let mut problems = Problems::new(&Source { name, text: "" });
    problems.push(Problem {
        position: None,
        path: String::new(),
        message: error.to_string(),
        help: Some(error.remedy().into()),
        warning: None,
    });
    problems
}

fn summary(name: &str, compiled: &Compiled) -> String {
    let plan = &compiled.plan;
    format!(
        "{name} is good: {}, {}, {}",
        count(plan.routes.len(), "route"),
        count(plan.clusters.len(), "upstream"),
        count(plan.providers.len(), "JWT provider"),
    )
}

/// Why a named file would end a start.
enum Fault {
    Unreadable(String),
    Problems(Problems),
}

fn inspect(named: &NamedFile) -> Result<(), Fault> {
    let name = named.file.as_str();
    let unreadable = |error: &dyn std::fmt::Display| Fault::Unreadable(error.to_string());
    let (bytes, _) = read_file(name, NAMED_FILE_BYTES_MAX).map_err(|it| unreadable(&it))?;
    let parsed = match named.holds {
        Holds::Secret if bytes.iter().all(u8::is_ascii_whitespace) => {
            return Err(Fault::Unreadable(format!("`{name}` holds no secret")));
        }
        Holds::Secret => return Ok(()),
        Holds::Keys => {
            let keys = KeyRing::from_jwk_set(&bytes);
            let bad = |error| Fault::Unreadable(format!("`{name}` is no JWK set: {error}"));
            return keys.map(drop).map_err(bad);
        }
        holds => {
            let text = text(name, bytes).map_err(|it| unreadable(&it))?;
            let source = Source { name, text: &text };
            match holds {
                Holds::ApiKeys => ApiKeys::parse(source).map(drop),
                Holds::Revocations => Revocations::parse(source).map(drop),
                _ => EndpointFile::parse(source).map(drop),
            }
        }
    };
    parsed.map_err(Fault::Problems)
}

/// Each list of problems, for people.
pub(super) fn tell_problems(found: &[Problems]) {
    let palette = if is_coloured() {
        Palette::ANSI
    } else {
        Palette::PLAIN
    };
    for problems in found.iter().filter(|it| !it.is_empty()) {
        tell_error(&problems.shown(palette).to_string());
    }
}

fn tell_text(checked: &Checked) {
    tell_problems(&checked.found);
    match (&checked.summary, checked.errors, checked.warnings) {
        (Some(good), 0, 0) => tell(good),
        (Some(good), 0, warnings) => tell(&format!("{good}; {}", count(warnings, "warning"))),
        (_, errors, 0) => tell_error(&count(errors, "error")),
        (_, errors, warnings) => tell_error(&format!(
            "{}, {}",
            count(errors, "error"),
            count(warnings, "warning")
        )),
    }
}

/// Whether a person looks at standard error and does not mind colours (<https://no-color.org>).
fn is_coloured() -> bool {
    let is_refused = std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
    !is_refused && std::io::stderr().is_terminal()
}

/// One problem of `--format json`.
#[derive(Serialize)]
struct Told<'p> {
    severity: &'static str,
    /// Of a warning; `null` for an error.
    code: Option<&'static str>,
    message: &'p str,
    help: Option<&'p str>,
    path: &'p str,
    file: &'p str,
    line: Option<u32>,
    column: Option<u32>,
    end_column: Option<u32>,
}

/// The same for programs.
pub(super) fn json<'p>(found: impl Iterator<Item = &'p Problems>) -> String {
    let problems: Vec<_> = found
        .flat_map(|list| list.iter().map(|it| told(list.name_of(it), it)))
        .collect();
    serde_json::json!({ "problems": problems }).to_string()
}

fn told<'p>(file: &'p str, problem: &'p Problem) -> Told<'p> {
    let at = problem.position;
    Told {
        severity: match problem.warning {
            Some(_) => "warning",
            None => "error",
        },
        code: problem.warning,
        message: &problem.message,
        help: problem.help.as_deref(),
        path: &problem.path,
        file,
        line: at.map(|it| it.line),
        column: at.map(|it| it.column),
        end_column: at.map(|it| it.column + it.length),
    }
}

//! What clients notice when things break: real processes on loopback under constant load, and a
//! table of what came of it. `docs/faults.md` explains the table.
//!
//! ```text
//! cargo test -p gateway --test faults                        all scenarios, in two minutes
//! cargo test -p gateway --test faults -- killed "Cloud Map"  those with such names
//! FAULTS=long cargo test -p gateway --test faults            at least 100,000 requests
//! ```
//!
//! With the feature `real-parts` there are scenarios with moto, which `./copilotw.sh test`
//! installs; `MOTO_SERVER` names its executable.
//!
//! It has a `main` of its own, because the program of the upstream instances is this one too.

mod behaviour;
mod client;
mod instance;
mod journal;
mod load;
mod name_server;
mod order;
#[path = "../support/pacer.rs"]
mod pacer;
mod registry;
mod report;
mod scenarios;
mod stage;
#[expect(dead_code, reason = "shared with tests that need more of it")]
#[path = "../support/mod.rs"]
mod support;
mod upstream;

use std::any::Any;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use report::Report;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use scenarios::Scenario;
use stage::Form;

/// For every change: little, so that everybody runs it.
const SHORT: Form = Form {
    rate: 500,
    beat: Duration::from_millis(600),
};
/// For a release.
const LONG: Form = Form {
    rate: 1_000,
    beat: Duration::from_millis(2_500),
};
/// What the long form is for.
const LONG_REQUESTS_MIN: usize = 100_000;
/// Descriptors of each process, where the system allows that many.
const DESCRIPTORS: u64 = 16_384;

fn main() -> ExitCode {
    if std::env::var_os(upstream::VARIABLE).is_some() {
        upstream::run();
        return ExitCode::SUCCESS;
    }
    // As those of any test: words are parts of names, and flags are for the usual runner.
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words = || arguments.iter().filter(|word| !word.starts_with('-'));
    let is_wanted = |scenario: &Scenario| {
        words().count() == 0 || words().any(|word| scenario.name.contains(word.as_str()))
    };
    let wanted: Vec<_> = scenarios::all().into_iter().filter(is_wanted).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        for scenario in &wanted {
            say(&format!("{}: test", scenario.name));
        }
        return ExitCode::SUCCESS;
    }
    let is_long = match std::env::var("FAULTS").as_deref() {
        Ok("long") => true,
        Ok("short") | Err(_) => false,
        Ok(other) => panic!("FAULTS is `long` or `short`, not `{other}`"),
    };
    if wanted.is_empty() {
        say("no scenario has such a name");
        return ExitCode::SUCCESS;
    }
    raise_descriptor_limit();
    play(&wanted, is_long, words().count() == 0)
}

/// A gateway that stalls has both ends of all that waits; processes started later have the same
/// limit.
fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(DESCRIPTORS).min(DESCRIPTORS);
    if limit.current.is_some_and(|current| current < most) {
        let raised = Rlimit {
            current: Some(most),
            maximum: limit.maximum,
        };
        setrlimit(Resource::Nofile, raised).expect("up to the hard limit anybody may raise it");
    }
}

fn play(wanted: &[Scenario], is_long: bool, are_all: bool) -> ExitCode {
    let form = if is_long { LONG } else { SHORT };
    let mut report = Report::default();
    for scenario in wanted {
        let started = Instant::now();
        // One that breaks off must not hide the others.
        match catch_unwind(AssertUnwindSafe(|| (scenario.play)(form))) {
            Ok(played) => report.scenario(scenario.name, scenario.expected, &played),
            Err(panic) => {
                report.complain(format!("{}: {}", scenario.name, message(panic.as_ref())));
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        say(&format!("played in {seconds:4.1} s: {}", scenario.name));
    }
    let requests = report.requests();
    if is_long && are_all && requests < LONG_REQUESTS_MIN {
        report.complain(format!("{requests} requests are below {LONG_REQUESTS_MIN}"));
    }
    if report.close() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("it panicked")
}

fn say(line: &str) {
    let _told = writeln!(std::io::stdout(), "{line}");
}

//! `gateway diff`: what another routes file changes in meaning, and for whom. What it prints and
//! its exit codes are an interface: `docs/diff.md`.

mod replay;
mod text;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use gateway_core::config::Problems;
use gateway_core::diff::{Differences, Side, compare};
use gateway_core::file::{Compiled, Report};
use serde_json::json;

use super::check::{Format, json as problems_json, tell_problems, unreadable};
use super::{tell, tell_error};
use crate::app::{ConfigSource, needs_restart};
use replay::Replayed;

/// The exit code where something changes.
const CHANGED: u8 = 1;
/// The exit code where that cannot be said.
const BAD: u8 = 2;

#[derive(Debug, Args)]
pub(super) struct DiffArgs {
    /// The routes file in force.
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The one that is to take its place.
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// Decide the requests of an access log in JSON by both, and say for which something changes;
    /// `-` for standard input.
    #[arg(long, value_name = "FILE")]
    replay: Option<PathBuf>,
    /// `text` for people, `json` for programs: one object. Both on standard output.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// A routes file that is good.
struct Loaded {
    compiled: Compiled,
    report: Report,
}

impl Loaded {
    fn side(&self) -> Option<Side<'_>> {
        Some(Side {
            compiled: &self.compiled,
            written: self.report.written.as_ref()?,
            positions: &self.report.positions,
        })
    }
}

/// What there is to say.
struct Told<'a> {
    differences: &'a Differences,
    /// Settings that only a new process goes by.
    needs_restart: Vec<&'static str>,
    replayed: Option<Replayed>,
}

pub(super) fn run(args: &DiffArgs) -> ExitCode {
    let (old, new) = match (load(&args.old), load(&args.new)) {
        (Ok(old), Ok(new)) => (old, new),
        (old, new) => {
            let bad: Vec<_> = [old.err(), new.err()].into_iter().flatten().collect();
            match args.format {
                Format::Text => tell_problems(&bad),
                Format::Json => tell(&problems_json(bad.iter())),
            }
            return ExitCode::from(BAD);
        }
    };
    let (Some(before), Some(after)) = (old.side(), new.side()) else {
        unreachable!("what compiled was read");
    };
    let differences = compare(before, after);
    let plans = (&old.compiled.plan, &new.compiled.plan);
    let replayed = args.replay.as_deref().map(|log| replay::run(log, plans));
    let replayed = match replayed.transpose() {
        Ok(replayed) => replayed,
        Err(error) => {
            tell_error(&format!("error: {error:#}"));
            return ExitCode::from(BAD);
        }
    };
    let told = Told {
        differences: &differences,
        needs_restart: needs_restart(&old.compiled.settings, &new.compiled.settings),
        replayed,
    };
    match args.format {
        Format::Text => tell(text::text(&told).trim_end()),
        Format::Json => tell(&told.json()),
    }
    if differences.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(CHANGED)
    }
}

fn load(path: &Path) -> Result<Loaded, Problems> {
    let name = path.display().to_string();
    let report = ConfigSource::file(path).report();
    let mut report = report.map_err(|error| unreadable(&name, &error))?;
    let nothing = Err(report.warnings.clone().emptied());
    let compiled = std::mem::replace(&mut report.outcome, nothing)?;
    Ok(Loaded { compiled, report })
}

impl Told<'_> {
    fn json(&self) -> String {
        let told = json!({
            "is_same": self.differences.is_empty(),
            "changes": self.differences.things,
            "reordered": self.differences.reordered,
            "needs_restart": self.needs_restart,
            "replay": self.replayed,
        });
        told.to_string()
    }
}

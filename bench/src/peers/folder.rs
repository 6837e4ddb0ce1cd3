//! The folder of one run: what was finished in it stays, so that a run can go on after an end.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::measure::Sample;
use crate::output;
use crate::scenario::Scenario;

const SETTINGS_FILE: &str = "settings.json";
const SAMPLES_FILE: &str = "samples.jsonl";

/// Everything that must be the same for samples to be compared.
#[derive(Debug, Serialize)]
pub(super) struct Fingerprint {
    pub(super) scenarios: Vec<Scenario>,
    /// Each with its program's version.
    pub(super) peers: Vec<(String, Option<String>)>,
    pub(super) rounds: u16,
    pub(super) connections: u16,
    pub(super) window_seconds: f64,
    pub(super) warmup_seconds: f64,
    /// Before each reading of idle connections.
    pub(super) settle_seconds: f64,
    /// Of peers that are asked with many.
    pub(super) tokens: u32,
    pub(super) machine: String,
}

/// A finished measurement.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Finished {
    pub(super) scenario: String,
    pub(super) peer: String,
    pub(super) sample: Sample,
}

/// A folder that samples are added to.
pub(super) struct Folder {
    samples: File,
    /// What it held when it was opened.
    pub(super) finished: Vec<Finished>,
}

impl Folder {
    /// Refuses a folder whose results would be lost, or one without any to go on with.
    ///
    /// # Errors
    /// With what to do instead.
    pub(super) fn check(path: &Path, resume: bool) -> anyhow::Result<()> {
        let shown = path.display();
        match (path.join(SETTINGS_FILE).exists(), resume) {
            (true, false) => bail!(
                "`{shown}` holds a run already; go on with it by --resume, or name another folder"
            ),
            (false, true) => bail!("`{shown}` holds no run to go on with; leave out --resume"),
            _ => Ok(()),
        }
    }

    /// The scenarios of the run in the folder, whose rates were found out when it began.
    ///
    /// # Errors
    /// When its settings cannot be read.
    pub(super) fn scenarios(path: &Path) -> anyhow::Result<Vec<Scenario>> {
        let settings = read_settings(path)?;
        serde_json::from_value(settings["scenarios"].clone())
            .with_context(|| format!("`{}` is of another version", path.display()))
    }

    /// Begins a run in the folder, or goes on with the one that it holds.
    ///
    /// # Errors
    /// When it cannot be written, or the settings of its run are others.
    pub(super) fn open(
        path: &Path,
        resume: bool,
        fingerprint: &Fingerprint,
    ) -> anyhow::Result<Self> {
        fs::create_dir_all(path)
            .with_context(|| format!("cannot make the folder `{}`", path.display()))?;
        let settings = serde_json::to_value(fingerprint)?;
        let mut finished = Vec::new();
        if resume {
            if let Some(name) = difference(&read_settings(path)?, &settings) {
                bail!(
                    "`{}` was begun with another `{name}`, and its samples cannot be mixed with \
                     new ones; ask for the same again, or name another folder",
                    path.display()
                );
            }
            finished = parse_samples(&fs::read_to_string(path.join(SAMPLES_FILE))?)?;
        }
        // Written anew, so that a line that was cut off is gone.
        let mut samples = File::create(path.join(SAMPLES_FILE))
            .with_context(|| format!("cannot write into `{}`", path.display()))?;
        for one in &finished {
            writeln!(samples, "{}", serde_json::to_string(one)?)?;
        }
        output::write_json(&path.join(SETTINGS_FILE), &settings)?;
        let samples = OpenOptions::new()
            .append(true)
            .open(path.join(SAMPLES_FILE))?;
        Ok(Self { samples, finished })
    }

    /// Keeps a sample.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn keep(&mut self, finished: &Finished) -> anyhow::Result<()> {
        let line = format!("{}\n", serde_json::to_string(finished)?);
        self.samples
            .write_all(line.as_bytes())
            .context("cannot write the sample")
    }
}

/// Where the files of a finished report go.
pub(super) fn result_files(path: &Path) -> [PathBuf; 2] {
    ["result.json", "result.md"].map(|name| path.join(name))
}

fn read_settings(path: &Path) -> anyhow::Result<Value> {
    let file = path.join(SETTINGS_FILE);
    let text =
        fs::read_to_string(&file).with_context(|| format!("cannot read `{}`", file.display()))?;
    serde_json::from_str(&text).with_context(|| format!("`{}` is not JSON", file.display()))
}

/// The first setting that differs.
fn difference(old: &Value, new: &Value) -> Option<String> {
    let new = new.as_object()?;
    let differs = |name: &&String| old.get(name.as_str()) != new.get(name.as_str());
    new.keys().find(differs).cloned()
}

/// The samples in a file whose last line may have been cut off.
fn parse_samples(text: &str) -> anyhow::Result<Vec<Finished>> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let parse = |(nth, line)| {
        serde_json::from_str(line).with_context(|| format!("line {} of the samples", nth + 1))
    };
    whole.lines().enumerate().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(rounds: u16) -> Fingerprint {
        Fingerprint {
            scenarios: vec!["rate-500".parse().unwrap()],
            peers: vec![("nginx".to_owned(), None)],
            rounds,
            connections: 64,
            window_seconds: 3.0,
            warmup_seconds: 0.1,
            settle_seconds: 20.0,
            tokens: 1_000_000,
            machine: "some".to_owned(),
        }
    }

    fn finished(round: u16) -> Finished {
        Finished {
            scenario: "rate-500".to_owned(),
            peer: "nginx".to_owned(),
            sample: Sample {
                answered: 3,
                requests_per_second: 0.1 + 0.2,
                ..Sample::without_load(round)
            },
        }
    }

    #[test]
    fn run_goes_on_where_it_was_cut_off() {
        let directory = tempfile::tempdir().unwrap();
        let path = &directory.path().join("out");
        Folder::check(path, false).unwrap();
        let mut folder = Folder::open(path, false, &fingerprint(2)).unwrap();
        folder.keep(&finished(0)).unwrap();
        folder.samples.write_all(b"{\"scenario\":\"ra").unwrap();
        drop(folder);

        Folder::check(path, true).unwrap();
        assert_eq!(Folder::scenarios(path).unwrap(), fingerprint(2).scenarios);
        let mut folder = Folder::open(path, true, &fingerprint(2)).unwrap();
        assert_eq!(folder.finished.len(), 1);
        folder.keep(&finished(1)).unwrap();
        let folder = Folder::open(path, true, &fingerprint(2)).unwrap();
        let rounds = folder.finished.iter().map(|it| it.sample.round);
        assert_eq!(rounds.collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn other_settings_and_wrong_folders_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let refused = |error: anyhow::Error, expected: &str| {
            let error = format!("{error:#}");
            assert!(error.contains(expected), "{error}");
        };
        refused(Folder::check(path, true).unwrap_err(), "leave out --resume");
        Folder::open(path, false, &fingerprint(2)).unwrap();
        refused(Folder::check(path, false).unwrap_err(), "--resume, or name");
        let other = Folder::open(path, true, &fingerprint(3)).err().unwrap();
        refused(other, "another `rounds`");
    }

    #[test]
    fn broken_line_before_the_last_is_an_error() {
        assert!(parse_samples("nonsense\n").is_err());
        assert!(parse_samples("nonsense").unwrap().is_empty());
    }
}

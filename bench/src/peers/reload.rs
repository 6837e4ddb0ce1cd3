//! A load during which all routes of the gateway are replaced, again and again.
//!
//! Each cycle of three seconds begins with one in which nothing is done; with the second one another
//! routes file is asked for, which may take until the end of the third. What a reload costs those who
//! ask something is the difference.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::admin;
use super::measure::{Sample, Window};
use super::proxy::StartedProxy;
use crate::client::{CYCLE_SECONDS, Tally, Workload};

/// The seconds of a cycle: nothing is done, the reload begins, and it goes on if it must.
const QUIET: usize = 0;
const RELOADING: usize = 1;
const AFTER: usize = 2;

/// The shortest window: five cycles, since the p99 of one or two seconds is mostly chance.
const WINDOW_MIN: Duration = Duration::from_secs(5 * CYCLE_SECONDS as u64);

/// A reload must be over before the second without one begins.
const RELOAD_LIMIT: Duration = Duration::from_secs(2);

/// One that is longer than this is felt in the second after, too.
const SECOND: Duration = Duration::from_secs(1);

/// What the template calls the paths of all routes but the one that requests take, and what the
/// other file calls them.
const PATHS: [&str; 2] = ["\"/other-", "\"/another-"];

/// What became of the reloads of one measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Reloads {
    /// How many there were; the file of each came into force.
    pub(super) count: u64,
    /// From asking until it was in force.
    pub(super) longest_ms: u64,
    /// Requests and connection attempts that failed in the window.
    pub(super) failed: u64,
    /// Of requests due in seconds that began with a reload; where one took longer than a second,
    /// of those or of the seconds after, whichever is worse.
    pub(super) p99_us_with: u64,
    /// Of requests due in seconds in which nothing was done.
    pub(super) p99_us_without: u64,
}

/// The answers after which the file is in force: the gateway may have seen by itself that it is
/// another one, just before it was asked.
const IN_FORCE: [&str; 2] = ["applied", "unchanged"];

/// What `POST /reload` answers, as far as it is of use here.
#[derive(Deserialize)]
struct Answer {
    result: String,
}

/// Runs the workload on a gateway whose routes are replaced meanwhile.
///
/// # Errors
/// When the load cannot run, the gateway has gone, or it does not apply a file.
pub(super) async fn measure(
    workload: Workload,
    proxy: &StartedProxy,
    pids: &BTreeSet<i32>,
    round: u16,
) -> anyhow::Result<Sample> {
    let files = Files::prepare(&proxy.config)?;
    let workload = Workload {
        duration: workload.duration.max(WINDOW_MIN),
        ..workload
    };
    let window = Window::open(workload, pids).await?;
    let mut longest = Duration::ZERO;
    let mut count = 0;
    while let Some(due) = next_due(&window, count) {
        tokio::time::sleep_until(due.into()).await;
        let began = Instant::now();
        files.exchange(count)?;
        let answer = admin::exchange(proxy.admin_address, "POST", "/reload").await?;
        let answer: Answer =
            serde_json::from_slice(&answer).context("the answer to POST /reload")?;
        if !IN_FORCE.contains(&answer.result.as_str()) {
            bail!("a reload was answered with `{}`", answer.result);
        }
        longest = longest.max(began.elapsed());
        count += 1;
    }
    let (mut sample, tally) = window.close(round).await?;
    let reloads = Reloads::of(&tally, count, longest);
    if longest > RELOAD_LIMIT {
        sample.problems.push(format!(
            "a reload took {} ms, longer than the two seconds that it counts in",
            reloads.longest_ms
        ));
    }
    sample.reloads = Some(reloads);
    Ok(sample)
}

/// When the reload of this number is due, while its cycle is whole.
fn next_due(window: &Window<'_>, count: u64) -> Option<Instant> {
    let begins = Duration::from_secs(CYCLE_SECONDS as u64 * count);
    let due = window.opened_at() + begins + SECOND;
    (due + RELOAD_LIMIT <= window.closes_at()).then_some(due)
}

impl Reloads {
    fn of(tally: &Tally, count: u64, longest: Duration) -> Self {
        Self {
            count,
            longest_ms: u64::try_from(longest.as_millis()).unwrap_or(u64::MAX),
            failed: tally.failures().values().sum(),
            p99_us_with: if longest > SECOND {
                tally.p99_us_of(RELOADING).max(tally.p99_us_of(AFTER))
            } else {
                tally.p99_us_of(RELOADING)
            },
            p99_us_without: tally.p99_us_of(QUIET),
        }
    }

    /// How many times longer the slowest requests took in seconds with a reload.
    #[expect(clippy::cast_precision_loss, reason = "a ratio needs no 53 bits")]
    pub(super) fn p99_ratio(&self) -> f64 {
        self.p99_us_with as f64 / self.p99_us_without.max(1) as f64
    }
}

/// Two routes files that differ in every route but one, and the link that stands for one of them:
/// exchanging them costs the client's core next to nothing.
struct Files {
    link: PathBuf,
    targets: [PathBuf; 2],
}

impl Files {
    /// Writes both, and leaves the link at the one that is in force.
    fn prepare(config: &std::path::Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(config).context("cannot read the routes file")?;
        let other = text.replace(PATHS[0], PATHS[1]);
        if other == text {
            bail!("the routes file has no routes to replace");
        }
        let files = Self {
            link: config.to_owned(),
            targets: ["a", "b"].map(|name| config.with_extension(name)),
        };
        for (target, text) in files.targets.iter().zip([text, other]) {
            fs::write(target, text).context("cannot write a routes file")?;
        }
        files.point_to(0)?;
        Ok(files)
    }

    /// Puts the other file in place, for the reload of this number.
    fn exchange(&self, number: u64) -> anyhow::Result<()> {
        self.point_to(usize::from(number.is_multiple_of(2)))
    }

    fn point_to(&self, target: usize) -> anyhow::Result<()> {
        // Renamed into place, so that there is a file at any time.
        let new = self.link.with_extension("new");
        symlink(&self.targets[target], &new)
            .and_then(|()| fs::rename(&new, &self.link))
            .context("cannot exchange the routes file")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_take_turns_and_differ_in_all_routes_but_one() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("gateway.yaml");
        let text = "- \"/other-1\"\n- \"/other-2\"\n- /\n";
        fs::write(&config, text).unwrap();
        let files = Files::prepare(&config).unwrap();
        let read = || fs::read_to_string(&config).unwrap();
        assert_eq!(read(), text);
        let other = "- \"/another-1\"\n- \"/another-2\"\n- /\n";
        for (number, expected) in [(0, other), (1, text), (2, other)] {
            files.exchange(number).unwrap();
            assert_eq!(read(), expected, "{number}");
        }
    }

    #[test]
    fn file_without_routes_to_replace_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("gateway.yaml");
        fs::write(&config, "- /\n").unwrap();
        let error = Files::prepare(&config).err().unwrap().to_string();
        assert!(error.contains("no routes to replace"), "{error}");
    }

    #[test]
    fn template_of_the_gateway_has_the_paths_that_are_replaced() {
        let template = include_str!("../../peers/gateway.yaml");
        assert!(template.contains(&format!("{}@OTHER_ROUTE@", PATHS[0])));
    }
}

//! Instructions in user space, counted by the processor, where `perf` can.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

const EVENT: &str = "instructions:u";

/// Whether instructions can be counted here.
///
/// Virtual machines often hide the counters, and containers the system call.
pub(super) fn are_countable() -> bool {
    perf()
        .arg("true")
        .output()
        .is_ok_and(|output| parse_count(&String::from_utf8_lossy(&output.stderr)).is_some())
}

/// A count that is under way. Dropping it ends it without a result.
pub(super) struct Counting {
    perf: Option<Child>,
}

impl Counting {
    /// Begins to count for every thread that the processes have now.
    ///
    /// # Errors
    /// When `perf` cannot be started.
    pub(super) fn start(pids: &BTreeSet<i32>) -> anyhow::Result<Self> {
        let list: Vec<String> = pids.iter().map(ToString::to_string).collect();
        let perf = perf()
            .args(["-p", &list.join(",")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start perf")?;
        Ok(Self { perf: Some(perf) })
    }

    /// Ends the count and gives it.
    ///
    /// # Errors
    /// When `perf` reported no count.
    pub(super) fn finish(mut self) -> anyhow::Result<u64> {
        let perf = self.perf.take().context("the count was already ended")?;
        kill_process(Pid::from_child(&perf), Signal::INT)?;
        let output = perf.wait_with_output()?;
        parse_count(&String::from_utf8_lossy(&output.stderr))
            .context("perf reported no count of instructions")
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        if let Some(perf) = &mut self.perf {
            let _ = perf.kill();
            let _ = perf.wait();
        }
    }
}

fn perf() -> Command {
    let mut command = Command::new("perf");
    command.args(["stat", "-x", ",", "-e", EVENT]);
    command
}

/// The count in `perf stat -x,`: `value,unit,event,…`. Where there is none the
/// value says so in angle brackets.
fn parse_count(output: &str) -> Option<u64> {
    output.lines().find_map(|line| {
        let mut fields = line.split(',');
        let value = fields.next()?;
        (fields.nth(1)? == EVENT).then(|| value.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_is_taken_only_where_perf_has_one() {
        for (output, expected) in [
            (
                "1234567,,instructions:u,2000000,100.00,,\n",
                Some(1_234_567),
            ),
            (
                "warning, of sorts\n42,,instructions:u,1,100.00,,\n",
                Some(42),
            ),
            ("<not supported>,,instructions:u,0,100.00,,\n", None),
            ("<not counted>,,instructions:u,0,0.00,,\n", None),
            ("7,,cycles:u,1,100.00,,\n", None),
            ("", None),
        ] {
            assert_eq!(parse_count(output), expected, "{output}");
        }
    }
}

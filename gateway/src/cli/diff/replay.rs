//! The requests of an access log, decided by two plans.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::Path;

use anyhow::Context as _;
use gateway_core::diff::{Counts, Group, Logged, Replay};
use gateway_core::plan::Plan;
use http::Method;
use serde::{Deserialize, Serialize};

/// Bytes of a line; the gateway's own are shorter by far, for a target has 64 KiB at the most.
const LINE_BYTES_MAX: usize = 128 * 1024;
/// Lines that are read.
const LINES_MAX: u64 = 100_000_000;

/// What became of a log.
#[derive(Debug, Serialize)]
pub(super) struct Replayed {
    /// Requests for which something changes, grouped by what, the largest group first.
    pub(super) groups: Vec<Group>,
    #[serde(flatten)]
    pub(super) counts: Counts,
    #[serde(flatten)]
    pub(super) left_out: LeftOut,
}

/// Lines that tell of no request that could be decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct LeftOut {
    /// Lines that are no JSON object, or whose members are of other kinds.
    pub(super) bad_lines: u64,
    /// Lines of more than [`LINE_BYTES_MAX`].
    pub(super) long_lines: u64,
    /// Lines without method or path: what was refused before it was understood, or no request.
    pub(super) without_request: u64,
    /// Whether lines were left because there are more than [`LINES_MAX`].
    pub(super) is_cut: bool,
}

/// What is read of a line; what else it has does not matter.
#[derive(Deserialize)]
struct Line<'l> {
    #[serde(borrow, default)]
    method: Option<Cow<'l, str>>,
    #[serde(borrow, default)]
    host: Option<Cow<'l, str>>,
    #[serde(borrow, default)]
    path: Option<Cow<'l, str>>,
}

/// Decides all requests of a log; `-` is standard input.
pub(super) fn run(log: &Path, (before, after): (&Plan, &Plan)) -> anyhow::Result<Replayed> {
    let name = log.display();
    let mut lines: Box<dyn BufRead> = if log.as_os_str() == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        let file = File::open(log).with_context(|| format!("cannot read `{name}`"))?;
        Box::new(BufReader::new(file))
    };
    let replay = Replay::new(before, after);
    read(&mut *lines, replay).with_context(|| format!("cannot read `{name}`"))
}

fn read(lines: &mut dyn BufRead, mut replay: Replay<'_>) -> std::io::Result<Replayed> {
    let mut left_out = LeftOut::default();
    let mut line = Vec::new();
    let mut count = 0;
    while let Some(is_whole) = next(lines, &mut line)? {
        count += 1;
        if count > LINES_MAX {
            left_out.is_cut = true;
            break;
        }
        if is_whole {
            decide(&line, &mut replay, &mut left_out);
        } else {
            left_out.long_lines += 1;
        }
    }
    let (groups, counts) = replay.into_groups();
    Ok(Replayed {
        groups,
        counts,
        left_out,
    })
}

/// Reads the next line, without its end; `false` for one that is too long and was passed over.
fn next(lines: &mut dyn BufRead, line: &mut Vec<u8>) -> std::io::Result<Option<bool>> {
    line.clear();
    let mut part = lines.take(LINE_BYTES_MAX as u64 + 1);
    if part.read_until(b'\n', line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        return Ok(Some(true));
    }
    if line.len() <= LINE_BYTES_MAX {
        return Ok(Some(true));
    }
    lines.skip_until(b'\n')?;
    Ok(Some(false))
}

fn decide(line: &[u8], replay: &mut Replay<'_>, left_out: &mut LeftOut) {
    if line.trim_ascii().is_empty() {
        return;
    }
    let Ok(line) = serde_json::from_slice::<Line<'_>>(line) else {
        left_out.bad_lines += 1;
        return;
    };
    let method = line.method.as_deref().map(str::parse::<Method>);
    match (method, line.path.as_deref()) {
        (Some(Ok(method)), Some(path)) => replay.add(&Logged {
            method: &method,
            host: line.host.as_deref(),
            path,
        }),
        (Some(Err(_)), _) => left_out.bad_lines += 1,
        _ => left_out.without_request += 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_is_passed_over_and_the_next_one_read() {
        let long = "x".repeat(LINE_BYTES_MAX + 1);
        let fits = "y".repeat(LINE_BYTES_MAX);
        let text = format!("a\n{long}\n\n{fits}\n{long}{long}\nb");
        let mut lines = text.as_bytes();
        let mut line = Vec::new();
        let mut seen = Vec::new();
        while let Some(is_whole) = next(&mut lines, &mut line).expect("memory can be read") {
            seen.push((is_whole, line.len()));
        }
        let whole: Vec<_> = seen.iter().map(|(is_whole, _)| *is_whole).collect();
        assert_eq!(whole, [true, false, true, true, false, true]);
        assert_eq!(seen[3].1, LINE_BYTES_MAX);
        assert_eq!(seen[5].1, 1);
    }
}

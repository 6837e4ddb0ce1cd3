//! What the figures were measured on.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Serialize;

/// Above this, other programs take a share of the cores that shows in the figures.
const QUIET_LOAD_AVERAGE: f64 = 0.5;

/// The machine, as far as it bears on the figures.
#[derive(Debug, Serialize)]
pub(super) struct Machine {
    cpu: String,
    cores: usize,
    kernel: String,
    /// Of the last minute, before the first measurement; what other programs
    /// do is the noise in the figures.
    load_average: Option<f64>,
}

impl Machine {
    /// Looks around; what cannot be found out is `unknown`.
    pub(super) fn look() -> Self {
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let load = fs::read_to_string("/proc/loadavg").ok();
        Self {
            load_average: load.as_deref().and_then(parse_load_average),
            cpu: parse_cpu_model(&cpus).unwrap_or("unknown").to_owned(),
            cores: std::thread::available_parallelism().map_or(0, Into::into),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned()),
        }
    }

    /// Whether other programs were running when we looked.
    pub(super) fn is_busy(&self) -> bool {
        self.load_average
            .is_some_and(|load| load > QUIET_LOAD_AVERAGE)
    }

    /// What it is, whatever else runs on it.
    pub(super) fn name(&self) -> String {
        format!("{}, {} cores, Linux {}", self.cpu, self.cores, self.kernel)
    }

    /// One line for a report.
    pub(super) fn describe(&self) -> String {
        let load = self.load_average.map_or_else(String::new, |load| {
            format!(", load average {load:.1} before")
        });
        format!("{}{load}", self.name())
    }
}

fn parse_load_average(line: &str) -> Option<f64> {
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn parse_cpu_model(cpus: &str) -> Option<&str> {
    cpus.lines()
        .find_map(|line| line.strip_prefix("model name"))
        .and_then(|rest| rest.split_once(':'))
        .map(|(_, model)| model.trim())
}

/// The first line in which a program says its version, with its name and without its path.
pub(super) fn program_version(program: &Path, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(arguments).output() else {
        return "unknown".to_owned();
    };
    [output.stdout, output.stderr]
        .iter()
        .map(|bytes| String::from_utf8_lossy(bytes))
        .find_map(|text| parse_version(&text, program))
        .unwrap_or_else(|| "unknown".to_owned())
}

fn parse_version(text: &str, program: &Path) -> Option<String> {
    let has_digit = |line: &&str| line.contains(|sign: char| sign.is_ascii_digit());
    let line = text.lines().find(has_digit)?;
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let name = program.file_name()?.to_string_lossy();
    let line = words.join(" ").replace(&*program.to_string_lossy(), &name);
    let is_named = line.to_lowercase().contains(&name.to_lowercase());
    Some(if is_named {
        line
    } else {
        format!("{name} {line}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_average_is_the_last_minutes() {
        assert_eq!(
            parse_load_average("0.22 0.92 0.56 2/90 22653\n"),
            Some(0.22)
        );
        assert_eq!(parse_load_average(""), None);
    }

    #[test]
    fn version_is_told_with_the_name_and_without_the_path() {
        for (text, expected) in [
            ("", None),
            (
                "nginx version: nginx/1.22.1\n",
                Some("nginx version: nginx/1.22.1"),
            ),
            ("\n/opt/a/b  version: 1.2\n", Some("b version: 1.2")),
            ("b   a proxy\nVersion:   3.7\n", Some("b Version: 3.7")),
        ] {
            let version = parse_version(text, Path::new("/opt/a/b"));
            let expected = expected.map(|it| {
                if it.contains("b ") {
                    it.to_owned()
                } else {
                    format!("b {it}")
                }
            });
            assert_eq!(version, expected, "{text}");
        }
    }

    #[test]
    fn cpu_model_is_the_first_one() {
        let cpus =
            "processor\t: 0\nmodel\t\t: 1\nmodel name\t: Some CPU @ 2 GHz\nmodel name\t: Other\n";
        assert_eq!(parse_cpu_model(cpus), Some("Some CPU @ 2 GHz"));
        assert_eq!(parse_cpu_model("processor : 0\n"), None);
    }
}

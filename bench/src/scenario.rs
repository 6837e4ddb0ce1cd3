//! What is asked of every peer: a kind of exchange, from how many connections, at which pace.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::client::Pace;
use crate::upstream::{BodySize, BodySizeError};

/// The answer of scenarios that are not about its size.
const USUAL_ANSWER: &str = "1k";

/// The answer that comes in chunks, unless its size is in the name.
const USUAL_CHUNKED: &str = "100k";

/// Header fields in addition to the usual ones, at most: with its own, `HAProxy` takes 101.
const MAX_EXTRA_HEADERS: u16 = 60;

/// Connections at most, as with `--connections`.
const MAX_CONNECTIONS: u16 = 10_000;

/// Requests a second at most, far above what one core relays.
pub(crate) const MAX_RATE: u32 = 1_000_000;

/// Connections of the scenario idle, unless their count is in the name.
const USUAL_IDLE: u16 = 10_000;

/// Routes of the scenario reload.
const RELOADED_ROUTES: u16 = 10_000;

/// What is measured of a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Measure {
    /// What requests cost, and how long they take.
    Load,
    /// What connections weigh that ask for nothing.
    Idle,
    /// What requests notice of a new configuration, beside what they cost.
    Reload,
}

/// One row of every table: the same for every peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scenario {
    /// What `--scenario` and the report call it.
    pub(crate) name: String,
    /// The answer's body.
    pub(crate) answer: BodySize,
    /// Whether the answer comes in chunks, without a length (RFC 9112, section 7.1).
    pub(crate) chunked: bool,
    /// Bytes of the request's body, which is then a POST; 0 is a GET.
    pub(crate) upload_bytes: usize,
    /// Header fields in addition to the usual ones.
    pub(crate) extra_headers: u16,
    /// Connections of the client; those of `--connections` if the scenario is not about them.
    pub(crate) connections: Option<u16>,
    /// Workers of the proxy.
    pub(crate) workers: u16,
    /// When requests are sent.
    pub(crate) pace: Pace,
    /// Routes of the proxy; as many as the peer's name says if the scenario is not about them.
    pub(crate) routes: Option<u16>,
    /// What is measured.
    pub(crate) measure: Measure,
}

/// What `--scenario` takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A scenario.
    One(Scenario),
    /// Scenarios at rates that are yet to be found.
    Rates(Rates),
}

/// How rates are found in a trial before the first round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rates {
    /// Those of `--rate`, or parts of what the slowest peer answers.
    OpenLoop,
    /// Half of what our gateway answers, asked of every peer.
    HalfLoad,
    /// One worker and two at a rate that both take, and two at twice that.
    Scaling,
    /// Half of what our gateway answers, while its routes are replaced.
    Reload,
}

/// Why the name of a scenario was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScenarioError {
    #[error(
        "`{0}` is not a scenario; there are sizes such as 1k, upload-SIZE, chunked, chunked-SIZE, \
         headers-COUNT, connections-COUNT, idle, idle-COUNT, rate-PER_SECOND, open-loop, half-load, \
         reload, scaling and two-workers"
    )]
    Unknown(String),
    #[error("`{name}`: the number must be 1 to {most}")]
    OutOfRange { name: String, most: u32 },
    #[error(transparent)]
    Size(#[from] BodySizeError),
}

impl Scenario {
    /// Answers of a size, in a closed loop.
    fn usual(name: &str, answer: BodySize) -> Self {
        Self {
            name: name.to_owned(),
            answer,
            chunked: false,
            upload_bytes: 0,
            extra_headers: 0,
            connections: None,
            workers: 1,
            pace: Pace::Closed,
            routes: None,
            measure: Measure::Load,
        }
    }

    /// The scenario `KIND-RATE`.
    ///
    /// # Errors
    /// When there is no such kind, or the rate is out of its range.
    pub(crate) fn at_rate(kind: &str, per_second: u32) -> Result<Self, ScenarioError> {
        format!("{kind}-{per_second}").parse()
    }

    /// The path that answers it at the upstream.
    pub(crate) fn path(&self) -> String {
        let chunked = if self.chunked { "chunked-" } else { "" };
        format!("{chunked}{}", self.answer.label)
    }

    /// The line above its table.
    pub(crate) fn describe(&self) -> String {
        if self.measure == Measure::Idle {
            let connections = self.connections.unwrap_or(USUAL_IDLE);
            return format!(
                "{}: {connections} connections that ask for nothing",
                self.name
            );
        }
        let mut parts = vec![format!("answers of {}", self.answer.label)];
        if self.chunked {
            parts[0].push_str(" in chunks");
        }
        if self.upload_bytes > 0 {
            parts.push(format!("uploads of {} bytes", self.upload_bytes));
        }
        if self.extra_headers > 0 {
            parts.push(format!("{} more request headers", self.extra_headers));
        }
        if let Some(connections) = self.connections {
            parts.push(format!("{connections} connections"));
        }
        if self.workers > 1 {
            parts.push(format!("{} workers on as many cores", self.workers));
        }
        if let Pace::Open { per_second } = self.pace {
            parts.push(format!("{per_second} requests/s whatever comes back"));
        }
        if let Some(routes) = self.routes {
            parts.push(format!("{routes} routes"));
        }
        if self.measure == Measure::Reload {
            parts.push("all of them replaced in every third second".to_owned());
        }
        format!("{}: {}", self.name, parts.join(", "))
    }
}

impl FromStr for Scenario {
    type Err = ScenarioError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let count = |text: &str, most: u32| match text.parse() {
            Ok(count) if (1..=most).contains(&count) => Ok(count),
            Ok(_) => Err(ScenarioError::OutOfRange {
                name: name.to_owned(),
                most,
            }),
            Err(_) => Err(ScenarioError::Unknown(name.to_owned())),
        };
        let small = |text: &str, most: u16| {
            count(text, most.into()).map(|count| u16::try_from(count).unwrap_or(most))
        };
        let mut scenario = Self::usual(name, USUAL_ANSWER.parse()?);
        match name.split_once('-') {
            None if name == "chunked" => {
                scenario.chunked = true;
                scenario.answer = USUAL_CHUNKED.parse()?;
            }
            None if name.starts_with(|first: char| first.is_ascii_digit()) => {
                scenario.answer = name.parse()?;
            }
            Some(("chunked", size)) => {
                scenario.chunked = true;
                scenario.answer = size.parse()?;
            }
            Some(("upload", size)) => scenario.upload_bytes = size.parse::<BodySize>()?.bytes,
            Some(("headers", text)) => scenario.extra_headers = small(text, MAX_EXTRA_HEADERS)?,
            Some(("connections", text)) => {
                scenario.connections = Some(small(text, MAX_CONNECTIONS)?);
            }
            None if name == "idle" => {
                scenario.connections = Some(USUAL_IDLE);
                scenario.measure = Measure::Idle;
            }
            Some(("idle", text)) => {
                scenario.connections = Some(small(text, MAX_CONNECTIONS)?);
                scenario.measure = Measure::Idle;
            }
            _ if name == "two-workers" => scenario.workers = 2,
            _ => {
                let Some((kind, text)) = name.rsplit_once('-') else {
                    return Err(ScenarioError::Unknown(name.to_owned()));
                };
                match kind {
                    "rate" | "half-load" | "one-worker" => {}
                    "two-workers" => scenario.workers = 2,
                    "reload" => {
                        scenario.routes = Some(RELOADED_ROUTES);
                        scenario.measure = Measure::Reload;
                    }
                    _ => return Err(ScenarioError::Unknown(name.to_owned())),
                }
                let per_second = count(text, MAX_RATE)?;
                scenario.pace = Pace::Open { per_second };
            }
        }
        Ok(scenario)
    }
}

impl Rates {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::OpenLoop, Self::HalfLoad, Self::Scaling, Self::Reload];

    /// What `--scenario` calls it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::OpenLoop => "open-loop",
            Self::HalfLoad => "half-load",
            Self::Scaling => "scaling",
            Self::Reload => "reload",
        }
    }
}

impl Asked {
    /// Workers of the proxy.
    pub(crate) fn workers(&self) -> u16 {
        match self {
            Self::One(scenario) => scenario.workers,
            Self::Rates(Rates::Scaling) => 2,
            Self::Rates(_) => 1,
        }
    }
}

impl FromStr for Asked {
    type Err = ScenarioError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match Rates::ALL.into_iter().find(|rates| rates.as_str() == name) {
            Some(rates) => Ok(Self::Rates(rates)),
            None => name.parse().map(Self::One),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_says_what_differs_from_one_kilobyte_in_a_closed_loop() {
        let usual: Scenario = "1k".parse().unwrap();
        assert_eq!(usual.describe(), "1k: answers of 1k");
        for (name, path, expected) in [
            ("100k", "100k", "100k: answers of 100k"),
            (
                "chunked",
                "chunked-100k",
                "chunked: answers of 100k in chunks",
            ),
            (
                "chunked-1k",
                "chunked-1k",
                "chunked-1k: answers of 1k in chunks",
            ),
            (
                "upload-1m",
                "1k",
                "upload-1m: answers of 1k, uploads of 1048576 bytes",
            ),
            (
                "headers-40",
                "1k",
                "headers-40: answers of 1k, 40 more request headers",
            ),
            (
                "connections-1000",
                "1k",
                "connections-1000: answers of 1k, 1000 connections",
            ),
            (
                "rate-5000",
                "1k",
                "rate-5000: answers of 1k, 5000 requests/s whatever comes back",
            ),
            (
                "two-workers",
                "1k",
                "two-workers: answers of 1k, 2 workers on as many cores",
            ),
            (
                "half-load-20",
                "1k",
                "half-load-20: answers of 1k, 20 requests/s whatever comes back",
            ),
            (
                "two-workers-20",
                "1k",
                "two-workers-20: answers of 1k, 2 workers on as many cores, 20 requests/s whatever \
                 comes back",
            ),
            (
                "reload-20",
                "1k",
                "reload-20: answers of 1k, 20 requests/s whatever comes back, 10000 routes, all of \
                 them replaced in every third second",
            ),
            ("idle", "1k", "idle: 10000 connections that ask for nothing"),
            (
                "idle-9000",
                "1k",
                "idle-9000: 9000 connections that ask for nothing",
            ),
        ] {
            let scenario: Scenario = name.parse().unwrap();
            assert_eq!(
                (scenario.path(), scenario.describe()),
                (path.into(), expected.into())
            );
        }
    }

    #[test]
    fn unknown_names_and_numbers_out_of_range_are_refused() {
        for (name, expected) in [
            ("", "is not a scenario"),
            ("upload", "is not a scenario"),
            ("open", "is not a scenario"),
            ("headers-x", "is not a scenario"),
            ("headers-61", "1 to 60"),
            ("connections-0", "1 to 10000"),
            ("rate-1000001", "1 to 1000000"),
            ("half-load-0", "1 to 1000000"),
            ("reload-fast", "is not a scenario"),
            ("three-workers-5", "is not a scenario"),
            ("idle-10001", "1 to 10000"),
            ("upload-1g", "is not a size"),
            ("17m", "above the largest body"),
        ] {
            let error = name.parse::<Scenario>().unwrap_err().to_string();
            assert!(error.contains(expected), "{name}: {error}");
        }
    }
}

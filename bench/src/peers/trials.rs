//! What is measured: scenarios as they were asked for, with rates that a trial finds out before the
//! first round.

use anyhow::{Context as _, bail};

use super::folder::Folder;
use super::rounds::Bench;
use super::{Present, Program};
use crate::client::Pace;
use crate::output;
use crate::scenario::{Asked, Rates, Scenario};
use crate::upstream::BodySize;

/// What is asked for in a trial, and at every rate.
const TRIAL: &str = "1k";

/// Below this part of a core, something else than the gateway bounds what it answers.
const SATURATED: f64 = 0.9;

/// A scenario at a rate that was found out.
struct Part {
    /// What its name begins with.
    kind: &'static str,
    /// How much of what was answered in the trial, rounded.
    of_saturation: f64,
    /// And how many times that.
    times: u32,
}

const fn part(kind: &'static str, of_saturation: f64, times: u32) -> Part {
    Part {
        kind,
        of_saturation,
        times,
    }
}

/// Of the slowest peer's throughput, so that all of them keep up.
const OPEN_LOOP: &[Part] = &[
    part("rate", 0.25, 1),
    part("rate", 0.5, 1),
    part("rate", 0.75, 1),
];
/// The rest of the throughput of our gateway.
const HALF_LOAD: &[Part] = &[part("half-load", 0.5, 1)];
const RELOAD: &[Part] = &[part("reload", 0.5, 1)];
/// Less than a third, because with two cores the load shares the second worker's: what that one,
/// client and upstream take at twice the rate must fit on it.
const SCALING: &[Part] = &[
    part("one-worker", 0.3, 1),
    part("two-workers", 0.3, 1),
    part("two-workers", 0.3, 2),
];

fn parts(rates: Rates) -> &'static [Part] {
    match rates {
        Rates::OpenLoop => OPEN_LOOP,
        Rates::HalfLoad => HALF_LOAD,
        Rates::Scaling => SCALING,
        Rates::Reload => RELOAD,
    }
}

impl Bench<'_> {
    /// What to measure, with the rates found out.
    ///
    /// # Errors
    /// When a trial fails, or the folder of an earlier start cannot be read.
    pub(super) async fn scenarios(&self, present: &[Present]) -> anyhow::Result<Vec<Scenario>> {
        let arguments = self.arguments;
        if let Some(path) = arguments.out.as_ref().filter(|_| arguments.resume) {
            let held = Folder::scenarios(path)?;
            // Rates that were found out then are not found out again.
            if asks_for(&arguments.scenarios, &arguments.rate, &held) {
                return Ok(held);
            }
        }
        let mut scenarios = Vec::new();
        let mut ours = None;
        for asked in &arguments.scenarios {
            let (rates, saturation) = match asked {
                Asked::One(scenario) => {
                    scenarios.push(scenario.clone());
                    continue;
                }
                Asked::Rates(Rates::OpenLoop) if !arguments.rate.is_empty() => {
                    for &rate in &arguments.rate {
                        scenarios.push(Scenario::at_rate("rate", rate)?);
                    }
                    continue;
                }
                Asked::Rates(Rates::OpenLoop) => (Rates::OpenLoop, self.slowest(present).await?),
                Asked::Rates(rates) => match ours {
                    Some(found) => (*rates, found),
                    None => (*rates, *ours.insert(self.saturation(present).await?)),
                },
            };
            for part in parts(rates) {
                let rate = round_rate(saturation * part.of_saturation) * part.times;
                scenarios.push(Scenario::at_rate(part.kind, rate)?);
            }
        }
        scenarios.dedup();
        for scenario in &scenarios {
            if !present.iter().any(|it| it.peer.takes(scenario)) {
                bail!(
                    "`{}` can be asked of none of these peers; add `gateway` to --only",
                    scenario.name
                );
            }
        }
        Ok(scenarios)
    }

    /// What the slowest peer answers in a closed loop.
    async fn slowest(&self, present: &[Present]) -> anyhow::Result<f64> {
        let trial: Scenario = TRIAL.parse()?;
        let mut slowest = f64::INFINITY;
        for present in present.iter().filter(|it| it.peer.proxy.is_some()) {
            output::note(&format!(
                "trial for the rates of open-loop: {}",
                present.peer.name
            ));
            // A peer's failure is told in its row, later.
            if let Ok(sample) = self.measure(present, &trial, 0).await {
                slowest = slowest.min(sample.requests_per_second);
            }
        }
        if !slowest.is_finite() {
            bail!("no peer answered in the trial for open-loop; give the rates with --rate");
        }
        Ok(slowest)
    }

    /// What our gateway answers in a closed loop.
    async fn saturation(&self, present: &[Present]) -> anyhow::Result<f64> {
        let is_ours = |present: &&Present| {
            let proxy = present.peer.proxy.as_ref();
            proxy.is_some_and(|proxy| matches!(proxy.program, Program::Gateway))
        };
        let ours = present.iter().find(is_ours).context(
            "half-load, scaling and reload take their rates from the gateway; add it to --only",
        )?;
        let name = ours.peer.name;
        let sample = self.measure(ours, &TRIAL.parse()?, 0).await?;
        if !sample.problems.is_empty() {
            bail!("the trial of {name} failed: {}", sample.problems.join(", "));
        }
        let per_second = sample.requests_per_second;
        output::note(&format!("trial: {name} answers {per_second:.0} requests/s"));
        if sample
            .process
            .is_some_and(|process| process.core_busy < SATURATED)
        {
            output::note(
                "warning: its core was not busy in the trial: the rates taken from it are too low",
            );
        }
        Ok(per_second)
    }
}

/// Whether `held` is what was asked for, with rates found out.
fn asks_for(asked: &[Asked], rates: &[u32], held: &[Scenario]) -> bool {
    let mut held = held.iter();
    for asked in asked {
        let fits = match asked {
            Asked::One(scenario) => held.next() == Some(scenario),
            Asked::Rates(Rates::OpenLoop) if !rates.is_empty() => rates
                .iter()
                .all(|&rate| held.next().is_some_and(|it| is_at("rate", Some(rate), it))),
            Asked::Rates(rates) => parts(*rates)
                .iter()
                .all(|part| held.next().is_some_and(|it| is_at(part.kind, None, it))),
        };
        if !fits {
            return false;
        }
    }
    held.next().is_none()
}

/// Whether it is the scenario of this kind at the rate, or at any.
fn is_at(kind: &str, rate: Option<u32>, scenario: &Scenario) -> bool {
    let Pace::Open { per_second } = scenario.pace else {
        return false;
    };
    let name = scenario.name.rsplit_once('-');
    name.is_some_and(|(found, _)| found == kind) && rate.is_none_or(|rate| rate == per_second)
}

/// Every body that the scenarios ask the upstream for, once.
///
/// # Errors
/// Never: what is asked for at a rate has a good name.
pub(super) fn bodies(asked: &[Asked]) -> anyhow::Result<Vec<BodySize>> {
    let at_rates: Scenario = TRIAL.parse()?;
    let mut bodies: Vec<BodySize> = Vec::new();
    for asked in asked {
        let answer = match asked {
            Asked::One(scenario) => &scenario.answer,
            Asked::Rates(_) => &at_rates.answer,
        };
        if !bodies.contains(answer) {
            bodies.push(answer.clone());
        }
    }
    Ok(bodies)
}

/// To two digits, so that it can be said and asked for again.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "far below the bound, and the cast saturates"
)]
fn round_rate(per_second: f64) -> u32 {
    let digits = per_second.max(1.0).log10().floor() - 1.0;
    let unit = 10_f64.powf(digits.max(0.0));
    ((per_second / unit).round() * unit).max(1.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_two_digits_and_are_never_none() {
        for (per_second, expected) in [(12_345.6, 12_000), (99_600.0, 100_000), (7.4, 7), (0.1, 1)]
        {
            assert_eq!(round_rate(per_second), expected);
        }
    }

    #[test]
    fn upstream_offers_each_body_once() {
        let asked = ["1k", "open-loop", "headers-4", "chunked", "reload"];
        let bodies = bodies(&asked.map(|it| it.parse().unwrap())).unwrap();
        let labels: Vec<_> = bodies.iter().map(|body| body.label.as_str()).collect();
        assert_eq!(labels, ["1k", "100k"]);
    }

    #[test]
    fn every_part_of_every_kind_has_a_name_that_is_taken() {
        for rates in Rates::ALL {
            for part in parts(rates) {
                let scenario = Scenario::at_rate(part.kind, 7).unwrap();
                assert_eq!(scenario.pace, Pace::Open { per_second: 7 });
            }
        }
    }

    #[test]
    fn rates_found_out_before_stand_for_their_kind() {
        let held = [
            "1k",
            "rate-10",
            "rate-20",
            "rate-30",
            "half-load-9",
            "one-worker-5",
            "two-workers-5",
            "two-workers-10",
            "reload-9",
        ];
        let held = held.map(|it| it.parse().unwrap());
        let asks = |names: &[&str], rates: &[u32], held: &[Scenario]| {
            let asked: Vec<Asked> = names.iter().map(|it| it.parse().unwrap()).collect();
            asks_for(&asked, rates, held)
        };
        assert!(asks(&["1k", "open-loop"], &[], &held[..4]));
        assert!(asks(&["1k", "open-loop"], &[10, 20, 30], &held[..4]));
        assert!(!asks(&["1k", "open-loop"], &[10, 20], &held[..4]));
        assert!(!asks(&["1k"], &[], &held[..4]));
        assert!(!asks(&["100k", "open-loop"], &[], &held[..4]));
        assert!(!asks(&["open-loop"], &[], &held[..4]));
        assert!(asks(&["half-load", "scaling", "reload"], &[], &held[4..]));
        assert!(!asks(&["half-load", "reload", "scaling"], &[], &held[4..]));
    }
}

//! `priority:` and `hedge:` of a route.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::compile::Checker;
use crate::cluster::{Priority, PriorityShares};
use crate::config::join;
use crate::plan::{Action, Cluster, Hedge, Route};
use crate::words::units::HumanDuration;

/// How important a route's requests are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PriorityName {
    /// May fill a limit of its upstream to the end.
    Critical,
    /// Is shed before what is critical.
    High,
    /// Is shed before what is high.
    #[default]
    Normal,
    /// Is shed first.
    Low,
}

impl From<PriorityName> for Priority {
    fn from(name: PriorityName) -> Self {
        match name {
            PriorityName::Critical => Self::Critical,
            PriorityName::High => Self::High,
            PriorityName::Normal => Self::Normal,
            PriorityName::Low => Self::Low,
        }
    }
}

/// A second try at another endpoint while the first is slow. Only for idempotent methods, and
/// within the budget of retries.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HedgeSpec {
    /// Time without an answer's head after which the second try begins, 1 ms to 1 m.
    pub after: HumanDuration,
}

impl HedgeSpec {
    pub(super) fn compile(&self, at: &str, check: &mut Checker<'_>) -> Hedge {
        let range = Duration::from_millis(1)..=Duration::from_mins(1);
        let after = check.duration(join(at, "after"), Some(self.after), self.after.0, range);
        Hedge { after }
    }
}

/// Lets the most important requests of each upstream fill its limits: what is kept for nobody
/// would be lost.
pub(super) fn share_limits(clusters: &mut [Cluster], routes: &[Route]) {
    for (index, cluster) in clusters.iter_mut().enumerate() {
        let uses = |route: &&Route| match &route.action {
            Action::Forward(backends) => backends.clusters().any(|used| used == index),
            Action::Respond(_) | Action::RespondKeys => false,
        };
        let highest = routes.iter().filter(uses).map(|route| route.priority).min();
        cluster.priorities = PriorityShares::below(highest.unwrap_or_default());
    }
}

//! When an endpoint is ejected, and for how long.

use crate::words::time::Millis;

/// Outlier detection of one upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutlierRules {
    /// Resets, timeouts and invalid answers in a row that eject; 0 never does.
    pub consecutive_gateway_failures: u32,
    /// Answers of class 5xx in a row that eject; 0 never does.
    pub consecutive_5xx: u32,
    /// The share of good answers below which an endpoint is ejected.
    pub success_rate: SuccessRateRule,
    /// The first ejection; each further one doubles it.
    pub ejection_ms_min: Millis,
    /// The longest ejection.
    pub ejection_ms_max: Millis,
    /// The share of the set that may be ejected at a time.
    pub ejected_percent_max: u32,
    /// When a smaller share than this is left, health is ignored.
    pub panic_percent: u32,
}

/// When too few answers of an endpoint are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SuccessRateRule {
    /// Below this share of good answers it is ejected; 0 turns the rule off.
    pub percent_min: u32,
    /// Fewer requests to an endpoint within the window say nothing.
    pub requests_min: u64,
    /// How far back the answers are counted, in steps of half of it.
    pub window_ms: Millis,
}

impl Default for OutlierRules {
    fn default() -> Self {
        Self {
            consecutive_gateway_failures: 5,
            consecutive_5xx: 0,
            success_rate: SuccessRateRule::default(),
            ejection_ms_min: 1_000,
            ejection_ms_max: 30_000,
            ejected_percent_max: 50,
            panic_percent: 50,
        }
    }
}

impl Default for SuccessRateRule {
    fn default() -> Self {
        Self {
            percent_min: 80,
            requests_min: 50,
            window_ms: 10_000,
        }
    }
}

impl SuccessRateRule {
    pub(in crate::cluster) fn is_on(self) -> bool {
        self.percent_min != 0
    }

    /// Whether these answers are enough to judge by.
    pub(in crate::cluster) fn is_sample(self, (good, bad): (u64, u64)) -> bool {
        good + bad >= self.requests_min.max(1)
    }

    /// Whether these answers are good enough.
    pub(in crate::cluster) fn is_met(self, (good, bad): (u64, u64)) -> bool {
        good * 100 >= (good + bad) * u64::from(self.percent_min)
    }
}

impl OutlierRules {
    /// How many endpoints of a set may be ejected at a time: the share, rounded down; of a set of
    /// two or more at least one (unless the share is 0), and never all.
    #[must_use]
    pub fn ejected_max(&self, endpoints: u32) -> u32 {
        if self.ejected_percent_max == 0 || endpoints < 2 {
            return 0;
        }
        let share = u64::from(endpoints) * u64::from(self.ejected_percent_max) / 100;
        let share = u32::try_from(share).unwrap_or(u32::MAX);
        share.clamp(1, endpoints - 1)
    }

    /// Whether too few endpoints are left.
    pub(super) fn is_panic(&self, endpoints: u32, left_out: u32) -> bool {
        let usable = u64::from(endpoints.saturating_sub(left_out));
        usable * 100 < u64::from(endpoints) * u64::from(self.panic_percent)
    }

    pub(super) fn ejection_ms(&self, doublings: u32) -> Millis {
        let factor = 1u64.checked_shl(doublings).unwrap_or(u64::MAX);
        let length = self.ejection_ms_min.saturating_mul(factor);
        length.min(self.ejection_ms_max).max(1)
    }
}

/// How many active checks in a row change an endpoint's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckThresholds {
    /// Passed ones that bring it back.
    pub healthy: u32,
    /// Failed ones that leave it out.
    pub unhealthy: u32,
}

/// Why an endpoint was ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EjectionReason {
    /// No connection could be opened.
    ConnectFailure,
    /// Resets, timeouts and invalid answers in a row.
    ConsecutiveGatewayFailures,
    /// Answers of class 5xx in a row.
    Consecutive5xx,
    /// Too few good answers, while those of most others were good.
    SuccessRate,
    /// It was ejected, and its probe failed.
    ProbeFailed,
}

impl EjectionReason {
    /// All reasons, in the order of their discriminants.
    pub const ALL: [Self; 5] = [
        Self::ConnectFailure,
        Self::ConsecutiveGatewayFailures,
        Self::Consecutive5xx,
        Self::SuccessRate,
        Self::ProbeFailed,
    ];

    /// The metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConnectFailure => "connect_failure",
            Self::ConsecutiveGatewayFailures => "consecutive_gateway_failures",
            Self::Consecutive5xx => "consecutive_5xx",
            Self::SuccessRate => "success_rate",
            Self::ProbeFailed => "probe_failed",
        }
    }
}

//! `retries:` of a route and of `defaults`.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use super::compile::Checker;
use super::routes::check_timeout;
use crate::cluster::retry::{Backoff, Conditions, RetryPolicy, StatusMethods};
use crate::config::{item, join};
use crate::words::units::{ByteSize, HumanDuration};

/// Whether to try again.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetrySpec {
    /// Further tries after the first, 0 to 5; default 2.
    pub attempts: Option<u32>,
    /// From the start of one try to its answer's head, 1 ms to 1 h; default the route's timeout.
    pub per_try_timeout: Option<HumanDuration>,
    /// What is tried again: `connect_failure`, `reset` (the connection broke before an answer's
    /// head), `timeout` (`per_try_timeout` ran out), and statuses, 429 and 500 to 599; default
    /// `[connect_failure, reset, timeout]`. After all but the first, the request may have been
    /// carried out: only idempotent methods are tried again.
    pub retry_on: Option<Vec<RetryCondition>>,
    /// For which methods a listed status is tried again: `idempotent`, or `all` where the
    /// upstream promises that it carried out nothing; default `idempotent`.
    pub status_methods: Option<StatusMethodsSpec>,
    /// Retries as a percentage of requests, 0 to 100; default 20. Counted for each upstream, on
    /// each worker.
    pub budget_percent: Option<u32>,
    /// Retries a second, for each upstream and worker, that need no budget: for upstreams with
    /// little traffic. 0 to 1,000; default 3.
    pub min_per_second: Option<u32>,
    /// The pause before another try.
    pub backoff: BackoffSpec,
    /// Bytes of a request's body that are kept while it is sent, so that it can be sent again, up
    /// to 1 MiB; default 64 KiB. Longer ones are not tried again once part of them was taken.
    pub max_body: Option<ByteSize>,
}

/// The pause before another try, drawn between 0 and a bound.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BackoffSpec {
    /// The bound of the first pause, which doubles each time; 0 to 10 s, default 25 ms.
    pub base: Option<HumanDuration>,
    /// The bound of all pauses; 0 to 1 min, default 250 ms. Not below `base`.
    pub max: Option<HumanDuration>,
}

/// For which methods a status is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatusMethodsSpec {
    /// Those that mean the same when repeated.
    Idempotent,
    /// All.
    All,
}

/// One thing that is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryCondition {
    /// No connection could be opened.
    ConnectFailure,
    /// The connection broke before an answer's head.
    Reset,
    /// One try took too long.
    Timeout,
    /// An answer with this status.
    Status(u16),
}

impl RetryCondition {
    const WORDS: &[&str] = &["connect_failure", "reset", "timeout"];
}

impl<'de> Deserialize<'de> for RetryCondition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ConditionVisitor)
    }
}

struct ConditionVisitor;

impl Visitor<'_> for ConditionVisitor {
    type Value = RetryCondition;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`connect_failure`, `reset`, `timeout` or a status such as `503`")
    }

    fn visit_u64<E: Error>(self, status: u64) -> Result<RetryCondition, E> {
        // What is out of range is said with its place when the file is checked.
        Ok(RetryCondition::Status(u16::try_from(status).unwrap_or(0)))
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<RetryCondition, E> {
        match word {
            "connect_failure" => Ok(RetryCondition::ConnectFailure),
            "reset" => Ok(RetryCondition::Reset),
            "timeout" => Ok(RetryCondition::Timeout),
            _ => Err(E::unknown_variant(word, RetryCondition::WORDS)),
        }
    }
}

const RETRIES: u32 = 2;
const RETRIES_MAX: u32 = 5;
const BUDGET_PERCENT: u32 = 20;
/// Finagle's and linkerd's default is 10 a second for a client; a gateway has many workers.
const PER_SECOND_MIN: u32 = 3;
const PER_SECOND_MIN_MAX: u64 = 1_000;
const BACKOFF_BASE: Duration = Duration::from_millis(25);
const BACKOFF_BASE_MAX: Duration = Duration::from_secs(10);
const BACKOFF_MAX: Duration = Duration::from_millis(250);
const BACKOFF_MAX_MAX: Duration = Duration::from_mins(1);
const BODY_BYTES_MAX: u64 = 64 * 1024;
const BODY_BYTES_MAX_MAX: u64 = 1024 * 1024;

impl RetrySpec {
    pub(super) fn check(&self, at: &str, check: &mut Checker<'_>) {
        if let Some(attempts) = self.attempts {
            let range = 0..=u64::from(RETRIES_MAX);
            check.range(join(at, "attempts"), u64::from(attempts), range);
        }
        check_timeout(self.per_try_timeout, &join(at, "per_try_timeout"), check);
        for (index, condition) in self.retry_on.iter().flatten().enumerate() {
            check_condition(*condition, &item(&join(at, "retry_on"), index), check);
        }
        if let Some(percent) = self.budget_percent {
            check.range(join(at, "budget_percent"), u64::from(percent), 0..=100);
        }
        if let Some(retries) = self.min_per_second {
            let range = 0..=PER_SECOND_MIN_MAX;
            check.range(join(at, "min_per_second"), u64::from(retries), range);
        }
        self.backoff.check(&join(at, "backoff"), check);
        if let Some(size) = self.max_body {
            let bytes = usize::try_from(size.0).unwrap_or(usize::MAX);
            let most = usize::try_from(BODY_BYTES_MAX_MAX).unwrap_or(usize::MAX);
            check.size(join(at, "max_body"), Some(size), bytes, 0..=most);
        }
    }

    /// What this leaves out, as `defaults` say.
    pub(super) fn or(&self, defaults: &Self) -> Self {
        Self {
            attempts: self.attempts.or(defaults.attempts),
            per_try_timeout: self.per_try_timeout.or(defaults.per_try_timeout),
            retry_on: self.retry_on.clone().or_else(|| defaults.retry_on.clone()),
            status_methods: self.status_methods.or(defaults.status_methods),
            budget_percent: self.budget_percent.or(defaults.budget_percent),
            min_per_second: self.min_per_second.or(defaults.min_per_second),
            backoff: BackoffSpec {
                base: self.backoff.base.or(defaults.backoff.base),
                max: self.backoff.max.or(defaults.backoff.max),
            },
            max_body: self.max_body.or(defaults.max_body),
        }
    }

    pub(super) fn compile(&self) -> RetryPolicy {
        let body_bytes = self.max_body.map_or(BODY_BYTES_MAX, |it| it.0);
        RetryPolicy {
            tries_max: 1 + self.attempts.unwrap_or(RETRIES).min(RETRIES_MAX),
            on: self
                .retry_on
                .as_deref()
                .map_or_else(Conditions::default, conditions),
            status_methods: match self.status_methods {
                None | Some(StatusMethodsSpec::Idempotent) => StatusMethods::Idempotent,
                Some(StatusMethodsSpec::All) => StatusMethods::All,
            },
            backoff: self.backoff.compile(),
            budget_percent: self.budget_percent.unwrap_or(BUDGET_PERCENT),
            per_second_min: self.min_per_second.unwrap_or(PER_SECOND_MIN),
            body_bytes_max: usize::try_from(body_bytes.min(BODY_BYTES_MAX_MAX))
                .unwrap_or(usize::MAX),
        }
    }
}

impl BackoffSpec {
    fn check(&self, at: &str, check: &mut Checker<'_>) {
        let base = check.duration(
            join(at, "base"),
            self.base,
            BACKOFF_BASE,
            Duration::ZERO..=BACKOFF_BASE_MAX,
        );
        let max = check.duration(
            join(at, "max"),
            self.max,
            BACKOFF_MAX,
            Duration::ZERO..=BACKOFF_MAX_MAX,
        );
        if let (Some(_), Some(_)) = (self.base, self.max)
            && base > max
        {
            check.problem(
                join(at, "max"),
                "`max` is below `base`",
                Some("make it as long as `base`, or longer".into()),
            );
        }
    }

    fn compile(&self) -> Backoff {
        let base = self.base.map_or(BACKOFF_BASE, |it| it.0);
        let max = self.max.map_or(BACKOFF_MAX.max(base), |it| it.0);
        Backoff { base, max }
    }
}

fn check_condition(condition: RetryCondition, at: &str, check: &mut Checker<'_>) {
    let RetryCondition::Status(status) = condition else {
        return;
    };
    if status != 429 && !(500..=599).contains(&status) {
        check.problem(
            at,
            "this status does not say that another try could do better",
            Some("write 429, or a number from 500 to 599".into()),
        );
    }
}

fn conditions(written: &[RetryCondition]) -> Conditions {
    let has = |condition| written.contains(&condition);
    let mut statuses: Vec<u16> = written
        .iter()
        .filter_map(|condition| match condition {
            RetryCondition::Status(status) => Some(*status),
            _ => None,
        })
        .collect();
    statuses.sort_unstable();
    statuses.dedup();
    Conditions {
        connect_failure: has(RetryCondition::ConnectFailure),
        reset: has(RetryCondition::Reset),
        timeout: has(RetryCondition::Timeout),
        statuses,
    }
}

//! `retries:` of a route and of `defaults`.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use super::compile::Checker;
use super::routes::check_timeout;
use crate::cluster::retry::{Backoff, Conditions, Hold, RetryPolicy, StatusMethods};
use crate::config::{item, join};
use crate::words::units::{ByteSize, HumanDuration};

/// Whether to try again.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetrySpec {
    /// Further tries after the first, 0 to 5; default 2.
    pub attempts: Option<u32>,
    /// From the start of one try to its answer's head, 1 ms to 1 h; default the route's timeout.
    pub per_try_timeout: Option<HumanDuration>,
    /// What is tried again: `connect_failure`, `reset` (the connection broke before an answer's
    /// head, or before the end of one that was held), `timeout` (`per_try_timeout` ran out),
    /// `invalid_answer` (what came was not HTTP/1.1), and statuses, 429 and 500 to 599; default
    /// `[connect_failure, reset, timeout, invalid_answer]`. After all but the first, the request
    /// may have been carried out: only idempotent methods are tried again.
    pub retry_on: Option<Vec<RetryCondition>>,
    /// For which methods a listed status is tried again: `idempotent`, or `all` where the
    /// upstream promises that it carried out nothing; default `idempotent`.
    pub status_methods: Option<StatusMethodsSpec>,
    /// Retries as a percentage of the requests of any ten seconds, 0 to 100; default 20. Counted
    /// for each upstream, on each worker.
    pub budget_percent: Option<u32>,
    /// Retries, for each upstream and worker, that are granted before requests have brought them,
    /// and paid back by those that follow: for upstreams with little traffic. 0 to 1,000;
    /// default 3.
    pub budget_reserve: Option<u32>,
    /// The pause before another try.
    pub backoff: BackoffSpec,
    /// Bytes of a request's body that are kept while it is sent, so that it can be sent again, up
    /// to 1 MiB; default 64 KiB. Longer ones are not tried again once part of them was taken.
    pub max_body: Option<ByteSize>,
    /// Which answers to idempotent requests are sent on only when they are whole.
    pub hold_answers: HoldSpec,
}

/// Which answers are held until they are whole, so that one that breaks off can be tried again.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HoldSpec {
    /// Bytes of an answer's body that are held, 0 to 1 MiB; default 16 KiB, 0 for none. Longer
    /// answers are sent on as they come.
    pub max_body: Option<ByteSize>,
    /// How long an answer is held whose length is not declared, 0 to 10 s; default 0: it may be a
    /// stream, and is sent on as it comes.
    pub unknown_length: Option<HumanDuration>,
}

/// The pause before another try, drawn between 0 and a bound.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BackoffSpec {
    /// The bound of the first pause, which doubles each time; 0 to 10 s, default 25 ms.
    pub base: Option<HumanDuration>,
    /// The bound of all pauses; 0 to 1 min, default 250 ms. Not below `base`.
    pub max: Option<HumanDuration>,
}

/// For which methods a status is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
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
    /// What came was not HTTP/1.1.
    InvalidAnswer,
    /// An answer with this status.
    Status(u16),
}

impl RetryCondition {
    pub(super) const WORDS: &[&str] = &["connect_failure", "reset", "timeout", "invalid_answer"];
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
        f.write_str(
            "`connect_failure`, `reset`, `timeout`, `invalid_answer` or a status such as `503`",
        )
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
            "invalid_answer" => Ok(RetryCondition::InvalidAnswer),
            _ => Err(E::unknown_variant(word, RetryCondition::WORDS)),
        }
    }
}

const RETRIES: u32 = 2;
const RETRIES_MAX: u32 = 5;
const BUDGET_PERCENT: u32 = 20;
/// Finagle and linkerd grant 10 a second beside the share, which an upstream that is down and has
/// little traffic gets for as long as it is down.
const BUDGET_RESERVE: u32 = 3;
const BUDGET_RESERVE_MAX: u64 = 1_000;
const BACKOFF_BASE: Duration = Duration::from_millis(25);
const BACKOFF_BASE_MAX: Duration = Duration::from_secs(10);
const BACKOFF_MAX: Duration = Duration::from_millis(250);
const BACKOFF_MAX_MAX: Duration = Duration::from_mins(1);
const BODY_BYTES_MAX: u64 = 64 * 1024;
const BODY_BYTES_MAX_MAX: u64 = 1024 * 1024;
const HOLD_BYTES_MAX: u64 = 16 * 1024;
const HOLD_BYTES_MAX_MAX: u64 = 1024 * 1024;
const HOLD_UNKNOWN_LENGTH_MAX: Duration = Duration::from_secs(10);

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
        if let Some(retries) = self.budget_reserve {
            let range = 0..=BUDGET_RESERVE_MAX;
            check.range(join(at, "budget_reserve"), u64::from(retries), range);
        }
        self.backoff.check(&join(at, "backoff"), check);
        check_size(
            self.max_body,
            BODY_BYTES_MAX_MAX,
            join(at, "max_body"),
            check,
        );
        self.hold_answers.check(&join(at, "hold_answers"), check);
    }

    /// What this leaves out, as `defaults` say.
    pub(super) fn or(&self, defaults: &Self) -> Self {
        Self {
            attempts: self.attempts.or(defaults.attempts),
            per_try_timeout: self.per_try_timeout.or(defaults.per_try_timeout),
            retry_on: self.retry_on.clone().or_else(|| defaults.retry_on.clone()),
            status_methods: self.status_methods.or(defaults.status_methods),
            budget_percent: self.budget_percent.or(defaults.budget_percent),
            budget_reserve: self.budget_reserve.or(defaults.budget_reserve),
            backoff: BackoffSpec {
                base: self.backoff.base.or(defaults.backoff.base),
                max: self.backoff.max.or(defaults.backoff.max),
            },
            max_body: self.max_body.or(defaults.max_body),
            hold_answers: self.hold_answers.or(&defaults.hold_answers),
        }
    }

    pub(super) fn compile(&self) -> RetryPolicy {
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
            budget_reserve: self.budget_reserve.unwrap_or(BUDGET_RESERVE),
            body_bytes_max: bytes(self.max_body, BODY_BYTES_MAX, BODY_BYTES_MAX_MAX),
            hold: self.hold_answers.compile(),
        }
    }
}

impl HoldSpec {
    fn check(&self, at: &str, check: &mut Checker<'_>) {
        check_size(
            self.max_body,
            HOLD_BYTES_MAX_MAX,
            join(at, "max_body"),
            check,
        );
        check.duration(
            join(at, "unknown_length"),
            self.unknown_length,
            Duration::ZERO,
            Duration::ZERO..=HOLD_UNKNOWN_LENGTH_MAX,
        );
    }

    fn or(&self, defaults: &Self) -> Self {
        Self {
            max_body: self.max_body.or(defaults.max_body),
            unknown_length: self.unknown_length.or(defaults.unknown_length),
        }
    }

    fn compile(&self) -> Hold {
        Hold {
            bytes_max: bytes(self.max_body, HOLD_BYTES_MAX, HOLD_BYTES_MAX_MAX),
            unknown_length: self.unknown_length.map_or(Duration::ZERO, |it| it.0),
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

fn check_size(size: Option<ByteSize>, most: u64, at: String, check: &mut Checker<'_>) {
    if let Some(size) = size {
        let bytes = usize::try_from(size.0).unwrap_or(usize::MAX);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        check.size(at, Some(size), bytes, 0..=most);
    }
}

fn bytes(size: Option<ByteSize>, usual: u64, most: u64) -> usize {
    let bytes = size.map_or(usual, |it| it.0).min(most);
    usize::try_from(bytes).unwrap_or(usize::MAX)
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
        invalid_answer: has(RetryCondition::InvalidAnswer),
        statuses,
    }
}

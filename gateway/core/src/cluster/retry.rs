//! Whether a failed try may be made again, on another endpoint, and when.

use std::time::{Duration, UNIX_EPOCH};

use http::Method;

use crate::words::time::UnixSeconds;

/// How far a try had come when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection: nothing was sent.
    Connect,
    /// A pooled connection turned out to be closed before the request was written.
    NotSent,
    /// The connection broke after the request was (partly) sent, before an answer's head, or
    /// before the end of an answer that was held back.
    Broken,
    /// The answer was not valid HTTP: the request may have been carried out.
    Invalid,
    /// No answer within the time of one try. When the time of the whole request has run out,
    /// nobody asks.
    Timeout,
    /// An answer with this status.
    Status(u16),
    /// Not the upstream's doing: there is no endpoint, it is at a limit, or the client's body
    /// could not be read.
    Refused,
}

impl Failure {
    /// Whether another try is load that the upstream would not have had: then it costs a retry
    /// of the budget and comes after a pause. A pooled connection that was closed is neither.
    #[must_use]
    pub fn is_load(self) -> bool {
        self != Failure::NotSent
    }
}

/// Which failures are tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a condition that the routes file lists or not"
)]
pub struct Conditions {
    /// [`Failure::Connect`].
    pub connect_failure: bool,
    /// [`Failure::Broken`].
    pub reset: bool,
    /// [`Failure::Timeout`].
    pub timeout: bool,
    /// [`Failure::Invalid`].
    pub invalid_answer: bool,
    /// [`Failure::Status`].
    pub statuses: Vec<u16>,
}

impl Default for Conditions {
    /// What broke off without an answer, or came to none.
    fn default() -> Self {
        Self {
            connect_failure: true,
            reset: true,
            timeout: true,
            invalid_answer: true,
            statuses: Vec::new(),
        }
    }
}

/// For which methods an answer's status may lead to another try.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StatusMethods {
    /// Those that mean the same when repeated (RFC 9110 section 9.2.2).
    #[default]
    Idempotent,
    /// All: the upstream promises that what it answers with such a status was not carried out.
    All,
}

/// What a route says of retries.
#[derive(Clone, Debug)]
pub struct RetryPolicy {
    /// Tries in all; 1 means no retry.
    pub tries_max: u32,
    /// Which failures are tried again.
    pub on: Conditions,
    /// For which methods a status is.
    pub status_methods: StatusMethods,
    /// The pause before another try.
    pub backoff: Backoff,
    /// What each request adds to the budget of its upstream, in percent of a retry.
    pub budget_percent: u32,
    /// Retries that are granted in advance, and paid back by the requests that follow.
    pub budget_reserve: u32,
    /// Bytes of a request's body that are kept to be sent again.
    pub body_bytes_max: usize,
    /// Which answers are held back until they are whole.
    pub hold: Hold,
}

/// Which answers are held back until they are whole, so that one that breaks off can be asked for
/// again: once part of it was sent, there is no way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Bytes of a body that are held.
    pub bytes_max: usize,
    /// How long one whose length is not declared is waited for; it may be a stream.
    pub unknown_length: Duration,
}

impl Hold {
    /// Whether an answer with a body of this declared length is held.
    #[must_use]
    pub fn covers(&self, declared_length: Option<u64>) -> bool {
        match declared_length {
            Some(length) => length <= self.bytes_max as u64,
            None => self.bytes_max > 0 && !self.unknown_length.is_zero(),
        }
    }
}

impl RetryPolicy {
    /// Whether a request that has been sent, body and all, may ever be sent again: otherwise its
    /// body need not be kept.
    #[must_use]
    pub fn may_repeat(&self, method: &Method) -> bool {
        let on_break = self.on.reset || self.on.timeout || self.on.invalid_answer;
        let on_status = !self.on.statuses.is_empty();
        let is_repeated = if method.is_idempotent() {
            on_break || on_status
        } else {
            on_status && self.status_methods == StatusMethods::All
        };
        is_repeated && self.tries_max > 1
    }
}

/// What is known of the request.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// Tries made so far, the failed one included.
    pub tries: u32,
    /// Whether part of the body has been taken from the client and not been kept: then it cannot
    /// be sent again.
    pub is_body_lost: bool,
}

/// Whether to try again.
///
/// A request that never left may be repeated whatever its method; one that may have been
/// carried out only where repeating it means the same (RFC 9110 section 9.2.2).
#[must_use]
pub fn may_retry(
    policy: &RetryPolicy,
    method: &Method,
    failure: Failure,
    attempt: Attempt,
) -> bool {
    if attempt.tries >= policy.tries_max || attempt.is_body_lost {
        return false;
    }
    match failure {
        Failure::NotSent => true,
        Failure::Connect => policy.on.connect_failure,
        Failure::Broken => policy.on.reset && method.is_idempotent(),
        Failure::Timeout => policy.on.timeout && method.is_idempotent(),
        Failure::Status(status) => {
            policy.on.statuses.contains(&status)
                && (method.is_idempotent() || policy.status_methods == StatusMethods::All)
        }
        Failure::Invalid => policy.on.invalid_answer && method.is_idempotent(),
        Failure::Refused => false,
    }
}

/// The pause before another try: a draw between nothing and a bound that doubles with each try.
///
/// Full jitter spreads those that failed together better than a draw around the bound (Brooker,
/// "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The bound of the first pause.
    pub base: Duration,
    /// The bound of all.
    pub max: Duration,
}

impl Backoff {
    /// The pause after this many tries, 1 and more.
    ///
    /// An upstream that says when to come back (`Retry-After`, RFC 9110 section 10.2.3) is not
    /// asked before. `None` where the pause would use up what is `left` of the request's time:
    /// waiting would only delay the failure.
    #[must_use]
    pub fn pause(
        &self,
        tries: u32,
        random: u64,
        retry_after: Option<Duration>,
        left: Duration,
    ) -> Option<Duration> {
        let doublings = tries.saturating_sub(1).min(16);
        let bound = self.base.saturating_mul(1 << doublings).min(self.max);
        let micros = u64::try_from(bound.as_micros()).unwrap_or(u64::MAX);
        let drawn = (u128::from(micros) * u128::from(random)) >> 64;
        let drawn = Duration::from_micros(u64::try_from(drawn).unwrap_or(micros));
        let pause = drawn.max(retry_after.unwrap_or_default());
        (pause < left).then_some(pause)
    }
}

/// What a `Retry-After` says: seconds, or a date (RFC 9110 section 10.2.3). `None` where it is
/// neither; a date in the past is no time.
#[must_use]
pub fn retry_after(value: &str, now: UnixSeconds) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number holds are longer than any deadline.
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let date = date.duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(Duration::from_secs(date.as_secs().saturating_sub(now)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(statuses: &[u16]) -> RetryPolicy {
        RetryPolicy {
            tries_max: 3,
            on: Conditions {
                statuses: statuses.to_vec(),
                ..Conditions::default()
            },
            status_methods: StatusMethods::Idempotent,
            backoff: BACKOFF,
            budget_percent: 20,
            budget_reserve: 3,
            body_bytes_max: 0,
            hold: Hold {
                bytes_max: 0,
                unknown_length: Duration::ZERO,
            },
        }
    }

    const BACKOFF: Backoff = Backoff {
        base: Duration::from_millis(25),
        max: Duration::from_millis(250),
    };

    #[test]
    fn only_what_is_safe_is_repeated() {
        use Failure::{Broken, Connect, Invalid, NotSent, Refused, Status, Timeout};
        let table = [
            ("GET", Connect, 1, false, true),
            ("POST", Connect, 1, false, true),
            ("POST", NotSent, 1, false, true),
            ("GET", Broken, 1, false, true),
            ("PUT", Broken, 1, false, true),
            ("POST", Broken, 1, false, false),
            ("PATCH", Broken, 1, false, false),
            ("PUT", Broken, 1, true, false),
            ("GET", Connect, 3, false, false),
            ("GET", Timeout, 1, false, true),
            ("POST", Timeout, 1, false, false),
            ("GET", Invalid, 1, false, true),
            ("GET", Invalid, 3, false, false),
            ("PUT", Invalid, 1, true, false),
            ("POST", Invalid, 1, false, false),
            ("GET", Refused, 1, false, false),
            ("GET", Status(503), 1, false, true),
            ("GET", Status(500), 1, false, false),
            ("PUT", Status(503), 1, true, false),
            ("POST", Status(503), 1, false, false),
        ];
        for (method, failure, tries, is_body_lost, expected) in table {
            let method: Method = method.parse().unwrap();
            let attempt = Attempt {
                tries,
                is_body_lost,
            };
            let got = may_retry(&policy(&[503]), &method, failure, attempt);
            assert_eq!(got, expected, "{method} {failure:?} {tries}");
        }
    }

    #[test]
    fn a_condition_that_is_not_listed_is_not_tried_again_but_an_unsent_request_is() {
        let mut policy = policy(&[]);
        policy.on = Conditions {
            connect_failure: false,
            reset: false,
            timeout: false,
            invalid_answer: false,
            statuses: vec![502],
        };
        let attempt = Attempt {
            tries: 1,
            is_body_lost: false,
        };
        for (failure, expected) in [
            (Failure::Connect, false),
            (Failure::Broken, false),
            (Failure::Timeout, false),
            (Failure::Invalid, false),
            (Failure::NotSent, true),
            (Failure::Status(502), true),
        ] {
            let got = may_retry(&policy, &Method::GET, failure, attempt);
            assert_eq!(got, expected, "{failure:?}");
        }
    }

    #[test]
    fn a_body_is_kept_only_for_requests_that_may_be_repeated() {
        let mut policy = policy(&[]);
        assert!(policy.may_repeat(&Method::PUT));
        assert!(!policy.may_repeat(&Method::POST));
        policy.status_methods = StatusMethods::All;
        assert!(
            !policy.may_repeat(&Method::POST),
            "no status is tried again"
        );
        policy.on.statuses = vec![503];
        assert!(policy.may_repeat(&Method::POST));
        policy.tries_max = 1;
        assert!(!policy.may_repeat(&Method::PUT));
    }

    #[test]
    fn what_is_short_is_held_and_what_may_be_a_stream_only_where_asked_for() {
        let hold = |bytes_max, unknown_millis| Hold {
            bytes_max,
            unknown_length: Duration::from_millis(unknown_millis),
        };
        for (hold, length, expected) in [
            (hold(10, 0), Some(10), true),
            (hold(10, 0), Some(11), false),
            (hold(0, 9), Some(1), false),
            (hold(10, 0), None, false),
            (hold(10, 9), None, true),
            (hold(0, 9), None, false),
        ] {
            assert_eq!(hold.covers(length), expected, "{hold:?} {length:?}");
        }
    }

    #[test]
    fn pauses_are_drawn_below_a_bound_that_doubles() {
        let left = Duration::from_secs(10);
        let longest = |tries| BACKOFF.pause(tries, u64::MAX, None, left).unwrap();
        let bounds: Vec<_> = (1..=6).map(|tries| longest(tries).as_millis()).collect();
        assert_eq!(bounds, [24, 49, 99, 199, 249, 249]);
        assert_eq!(BACKOFF.pause(6, 0, None, left), Some(Duration::ZERO));
        let half = BACKOFF.pause(1, u64::MAX / 2, None, left).unwrap();
        assert_eq!(half.as_millis(), 12);
    }

    #[test]
    fn an_upstream_is_not_asked_before_it_says_nor_waited_for_beyond_the_deadline() {
        let second = Duration::from_secs;
        for (after, left, expected) in [
            (Some(2), 3, Some(2)),
            (Some(3), 3, None),
            (Some(u64::MAX), 3600, None),
            (Some(0), 3, Some(0)),
            (None, 3, Some(0)),
            (None, 0, None),
        ] {
            let pause = BACKOFF.pause(1, 0, after.map(second), second(left));
            assert_eq!(pause, expected.map(second), "{after:?} {left}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        for (value, expected) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Fri, 31 Dec 1999 23:59:59 GMT", Some(9)),
            ("Fri, 31 Dec 1999 23:59:40 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("1.5", None),
            ("", None),
        ] {
            let seconds = retry_after(value, 946_684_790).map(|it| it.as_secs());
            assert_eq!(seconds, expected, "{value}");
        }
    }
}

//! Whether a failed try may be made again, on another endpoint.

use http::Method;

/// How far a try had come when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection: nothing was sent.
    Connect,
    /// A pooled connection turned out to be closed before the request was written.
    NotSent,
    /// The connection broke after the request was (partly) sent, before an answer's head.
    Broken,
    /// The answer was not valid HTTP: the request may have been carried out.
    Invalid,
    /// No answer within the time of one try. When the time of the whole request has run out,
    /// nobody asks.
    Timeout,
}

/// What is known of the request.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// Tries made so far, the failed one included.
    pub tries: u32,
    /// Whether any of the body has been taken from the client: then it cannot be sent again.
    pub is_body_consumed: bool,
}

/// Whether to try again.
///
/// A request that never left may be repeated whatever its method; one that may have been
/// carried out only where repeating it means the same (RFC 9110 section 9.2.2).
#[must_use]
pub fn may_retry(tries_max: u32, method: &Method, failure: Failure, attempt: Attempt) -> bool {
    if attempt.tries >= tries_max || attempt.is_body_consumed {
        return false;
    }
    match failure {
        Failure::Connect | Failure::NotSent => true,
        Failure::Broken | Failure::Timeout => method.is_idempotent(),
        Failure::Invalid => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_safe_is_repeated() {
        use Failure::{Broken, Connect, Invalid, NotSent, Timeout};
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
            ("GET", Invalid, 1, false, false),
        ];
        for (method, failure, tries, is_body_consumed, expected) in table {
            let method: Method = method.parse().unwrap();
            let attempt = Attempt {
                tries,
                is_body_consumed,
            };
            let got = may_retry(3, &method, failure, attempt);
            assert_eq!(got, expected, "{method} {failure:?} {tries}");
        }
    }
}

//! Whether an answer is held back until it is whole.

use std::time::Instant;

use gateway_core::cluster::retry::{Attempt, Failure, may_retry};

use super::{Forwarding, Span};
use crate::proxy::record::Record;
use crate::upstream::{ExchangeError, Reply};

impl Forwarding<'_> {
    /// The answer once it is whole, where one that breaks off could be asked for again; or as it
    /// is. What is not whole at the try's deadline is sent on as it comes: a slow answer is one
    /// all the same.
    pub(super) async fn hold(
        &self,
        record: &Record,
        reply: Box<Reply>,
        span: Span,
    ) -> Result<Box<Reply>, ExchangeError> {
        let policy = &self.route.retries;
        let declared_length = reply.bytes_left();
        if reply.link.has_ended() || !policy.hold.covers(declared_length) {
            return Ok(reply);
        }
        let attempt = Attempt {
            tries: record.tries,
            is_body_lost: self.is_body_lost(),
        };
        let is_thrown_away = policy.on.statuses.contains(&reply.head.status.as_u16());
        if is_thrown_away || !may_retry(policy, &record.parts.method, Failure::Broken, attempt) {
            return Ok(reply);
        }
        let connection = &record.connection;
        if declared_length.is_none() {
            let until = Instant::now() + policy.hold.unknown_length;
            connection.wait_until(record.worker.clock.to_ms(until.min(span.deadline)));
        }
        let silence_max = record.connection.body_timeout;
        reply
            .hold(policy.hold.bytes_max, silence_max, || {
                connection.is_overdue()
            })
            .await
    }
}

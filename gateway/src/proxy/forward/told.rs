//! What the span of a try is told of its end.

use super::Ended;
use super::again::{Ending, Failed};
use crate::proxy::spans::{TryOutcome, TrySpan};

impl Ended {
    /// The same, and the try's span is written down.
    pub(super) fn told_to(self, span: Option<Box<TrySpan<'_>>>) -> Self {
        if let Some(span) = span {
            span.end(self.outcome());
        }
        self
    }

    #[cold]
    fn outcome(&self) -> TryOutcome {
        match &self.result {
            Ok(reply) => TryOutcome::Answered(reply.head.status),
            Err(Failed { ending, .. }) => match ending {
                Ending::Pass(reply) => TryOutcome::Answered(reply.head.status),
                Ending::Reject(rejection) => TryOutcome::Failed(rejection.reason),
            },
        }
    }
}

//! The one timer of a connection.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use gateway_core::words::time::Millis;
use tokio::time::Sleep;

use crate::clock::{Clock, NEVER};

/// Waits for one deadline after another, for one task. They move with every request; the timer is
/// touched only when one comes earlier than it is set for, and looks again when it fires.
pub(super) struct Timer {
    clock: Clock,
    sleep: Option<Pin<Box<Sleep>>>,
    armed_for: Millis,
    /// It will wake the task. To tell it so again takes a lock.
    is_awaited: bool,
}

impl Timer {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            sleep: None,
            armed_for: NEVER,
            is_awaited: false,
        }
    }

    /// Ready when `deadline` has passed.
    pub(super) fn poll(&mut self, deadline: Millis, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if deadline < self.armed_for {
                self.arm(deadline);
            }
            let Some(sleep) = &mut self.sleep else {
                return Poll::Pending;
            };
            if self.armed_for == NEVER {
                return Poll::Pending;
            }
            if self.is_awaited && !sleep.is_elapsed() {
                return Poll::Pending;
            }
            self.is_awaited = true;
            ready!(sleep.as_mut().poll(context));
            self.is_awaited = false;
            self.armed_for = NEVER;
            if self.clock.now_ms() >= deadline {
                return Poll::Ready(());
            }
            // It was set for an earlier deadline; the loop sets it again.
        }
    }

    fn arm(&mut self, deadline: Millis) {
        self.armed_for = deadline;
        // A timer counts in whole milliseconds and must not fire before its deadline.
        let at = (self.clock.instant(deadline) + Duration::from_millis(1)).into();
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(at),
            None => self.sleep = Some(Box::pin(tokio::time::sleep_until(at))),
        }
    }
}

//! Something that runs beside the workers until its owner drops it.

use std::sync::{Mutex, PoisonError};

use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;

/// A loop with an owner: it begins when it is started and ends when this is dropped.
pub(super) struct Task(Mutex<State>);

enum State {
    Prepared(BoxFuture<'static, ()>),
    Running(JoinHandle<()>),
    /// For a moment, between the two.
    Starting,
}

impl Task {
    pub(super) fn new(run: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Mutex::new(State::Prepared(Box::pin(run))))
    }

    /// Begins, on the runtime of the caller; nothing happens when it has begun already.
    pub(super) fn start(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = match std::mem::replace(&mut *state, State::Starting) {
            State::Prepared(run) => State::Running(tokio::spawn(run)),
            other => other,
        };
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let state = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let State::Running(handle) = state {
            handle.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_task_ends_with_its_owner_and_begins_once() {
        let (held, ended) = oneshot::channel::<()>();
        let task = Task::new(async move {
            let _held = held;
            std::future::pending::<()>().await;
        });
        task.start();
        task.start();
        drop(task);
        assert!(ended.await.is_err(), "what it held is dropped");
    }
}

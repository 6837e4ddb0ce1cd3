//! A document of a plan, and the loop that keeps it current.

use std::sync::{Arc, Mutex, PoisonError};

use gateway_core::file::DocumentSource;

use super::Cause;
use super::parts::Context;
use super::task::Task;
use crate::documents::{DocumentStats, DocumentWatch, Snapshot};
use crate::lifecycle::Lifecycle;

pub(super) struct DocumentPart {
    source: DocumentSource,
    pub(super) stats: Arc<DocumentStats>,
    lifecycle: Arc<Lifecycle>,
    state: Mutex<State>,
}

enum State {
    /// Read, where it is a file, and not in use yet.
    Read(Box<DocumentWatch>),
    Installed(Task),
    /// For a moment, between the two.
    Installing,
}

impl DocumentPart {
    /// Prepares the loop; a file is read here and now.
    pub(super) async fn read<S: Snapshot>(
        name: &str,
        source: &DocumentSource,
        install: impl Fn(S) + Send + Sync + 'static,
        context: &Context,
    ) -> Result<Self, Cause> {
        let (fetcher, clock) = (&context.fetcher, context.clock.clone());
        let mut watch = DocumentWatch::new(name, source, install, fetcher, clock);
        // A document of 16 MiB takes a second, and this thread may have other things to do.
        let read = tokio::task::spawn_blocking(move || {
            let read = watch.read_file_now();
            (watch, read)
        });
        let (watch, read) = read.await.expect("reading a document does not panic");
        let stats = watch.stats();
        match read {
            Ok(()) => Ok(Self {
                source: source.clone(),
                stats,
                lifecycle: Arc::clone(&context.lifecycle),
                state: Mutex::new(State::Read(Box::new(watch))),
            }),
            Err(source) => Err(Cause::Document {
                kind: stats.kind,
                name: stats.name.to_string(),
                source,
            }),
        }
    }

    pub(super) fn source(&self) -> &DocumentSource {
        &self.source
    }

    pub(super) fn is_file(&self) -> bool {
        matches!(self.source, DocumentSource::File(_))
    }

    /// Whether it is the file at this path, under this name.
    pub(super) fn is_of(&self, name: &str, path: &str) -> bool {
        let is_path =
            |source: &DocumentSource| matches!(source, DocumentSource::File(own) if own == path);
        *self.stats.name == *name && is_path(&self.source)
    }

    /// Swaps in the file that was read, once; from then on it can be started.
    pub(super) fn install(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = match std::mem::replace(&mut *state, State::Installing) {
            State::Read(mut watch) => {
                watch.install_file();
                State::Installed(Task::new(watch.run(Arc::clone(&self.lifecycle))))
            }
            other => other,
        };
    }

    /// Begins to keep it current.
    pub(super) fn start(&self) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Installed(task) = &*state {
            task.start();
        }
    }

    /// What is waited for, as long as there is nothing; a file was read as this was made.
    pub(super) fn unanswered(&self) -> Option<String> {
        let is_there = self.is_file() || self.stats.confirmed().is_some();
        (!is_there).then(|| self.stats.waiting_name())
    }
}

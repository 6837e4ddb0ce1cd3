//! What asks the process to stop: signals, and the end of standard input.

use std::future;
use std::io;
use std::thread;

use tokio::sync::oneshot;

use super::Supervision;
use crate::shutdown::{Signal, Signals};

/// Every request to stop, one after the other.
pub(super) struct Stops {
    signals: Signals,
    /// Taken once standard input has ended, which it does only once.
    stdin: Option<oneshot::Receiver<()>>,
}

impl Stops {
    /// Starts to listen, on a Tokio runtime.
    pub(super) fn listen(supervision: Supervision) -> io::Result<Self> {
        Ok(Self {
            signals: Signals::listen()?,
            stdin: match supervision {
                Supervision::Signals => None,
                Supervision::SignalsAndStdin => Some(watch_stdin()?),
            },
        })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            signal = self.signals.next() => signal,
            () = ended(&mut self.stdin) => {
                tracing::warn!("standard input has ended, the supervisor is gone");
                // As a person would: there is no orchestrator left that has to notice.
                Signal::Interrupt
            }
        }
    }
}

async fn ended(stdin: &mut Option<oneshot::Receiver<()>>) {
    let Some(end) = stdin else {
        return future::pending().await;
    };
    // A watcher that is gone can tell no more than one that has seen the end.
    let _ = end.await;
    *stdin = None;
}

/// Reads on a thread of its own, because a read of standard input cannot be given up: a
/// thread of the runtime would be taken for good. It ends with the input or the process.
fn watch_stdin() -> io::Result<oneshot::Receiver<()>> {
    let (sender, end) = oneshot::channel();
    thread::Builder::new().name("stdin".into()).spawn(move || {
        // What is written there means nothing, and an input that fails has ended too.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        // Too late when the process is leaving already.
        let _ = sender.send(());
    })?;
    Ok(end)
}

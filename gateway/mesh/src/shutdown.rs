//! Why and how far a process is stopping.

use std::io;

use tokio::signal::unix::{self, SignalKind};
use tokio::sync::watch;

/// What asked the process to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: an orchestrator, which has yet to take us out of its lists.
    Terminate,
    /// SIGINT: a person at a terminal, who waits.
    Interrupt,
}

/// SIGTERM and SIGINT, one after the other as they come.
///
/// From its making on, neither signal ends the process by itself any more.
#[derive(Debug)]
pub struct Signals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
}

impl Signals {
    /// Starts to listen. Must be called on a Tokio runtime.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next one; one that came since the last call is not lost.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.interrupt.recv() => Signal::Interrupt,
        }
    }
}

/// Waits for SIGTERM or SIGINT.
///
/// From the first poll on, neither signal ends the process by itself any more.
///
/// # Errors
/// When the handlers cannot be installed.
pub async fn signal() -> io::Result<Signal> {
    Ok(Signals::listen()?.next().await)
}

/// How far the stop has come; a phase never goes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// In service.
    Running,
    /// Not ready any more, but serving those who have not noticed yet.
    LameDuck,
    /// No new connections; those that are open close after their request.
    Stopping,
}

/// The phase, shared: each clone sees and moves the same one.
#[derive(Clone, Debug)]
pub struct Shutdown {
    phase: watch::Sender<Phase>,
}

impl Shutdown {
    /// A process in service.
    #[must_use]
    pub fn new() -> Self {
        Self {
            phase: watch::Sender::new(Phase::Running),
        }
    }

    /// The phase now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Moves on to `phase`; a phase that lies behind changes nothing.
    pub fn advance(&self, phase: Phase) {
        self.phase.send_if_modified(|now| {
            let moves = phase > *now;
            *now = phase.max(*now);
            moves
        });
    }

    /// Waits until `phase` or a later one is reached.
    pub async fn reached(&self, phase: Phase) {
        self.phase
            .subscribe()
            .wait_for(|now| *now >= phase)
            .await
            .expect("this very value holds a sender");
    }
}

impl Default for Shutdown {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_phase_is_seen_by_every_clone_and_never_goes_back() {
        let shutdown = Shutdown::new();
        let clone = shutdown.clone();
        assert_eq!(clone.phase(), Phase::Running);
        shutdown.advance(Phase::Stopping);
        clone.reached(Phase::LameDuck).await;
        clone.advance(Phase::LameDuck);
        assert_eq!(shutdown.phase(), Phase::Stopping);
    }
}

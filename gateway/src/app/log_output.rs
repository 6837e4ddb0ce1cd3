//! Where access lines go: opened at the start, another place by a reload, the same one anew by
//! SIGUSR1.

use std::sync::Arc;
use std::time::Duration;

use gateway_core::file::AccessLogOutput;
use tokio::signal::unix::{SignalKind, signal};

use super::Cause;
use super::endpoints::runtime;
use crate::telemetry::Output;
use crate::telemetry::access_log::{AccessLog, WriterThread};

/// Time in which a reload's output must open; a pipe that nobody reads never does.
const OPEN_MAX: Duration = Duration::from_secs(5);

/// The access log, and where its lines go.
pub(super) struct LogOutput {
    log: Arc<AccessLog>,
    /// That of the last configuration that wrote lines.
    in_force: Option<AccessLogOutput>,
}

/// An output that is open, and not yet in force.
pub(super) struct Opened(AccessLogOutput, Output);

impl LogOutput {
    /// Opens the first output, if there is one, and starts the writer.
    pub(super) fn start(
        first: Option<&AccessLogOutput>,
    ) -> Result<(Arc<AccessLog>, WriterThread), Cause> {
        let output = first.map(open).transpose()?;
        Ok(AccessLog::start(output)?)
    }

    pub(super) fn new(log: Arc<AccessLog>, in_force: Option<AccessLogOutput>) -> Self {
        Self { log, in_force }
    }

    /// Opens what another configuration says, where that is another place. While there is no log
    /// at all, the last one stays open: requests under way may still want it.
    pub(super) async fn open(
        &self,
        wanted: Option<&AccessLogOutput>,
    ) -> Result<Option<Opened>, Cause> {
        let Some(wanted) = wanted.filter(|wanted| self.in_force.as_ref() != Some(*wanted)) else {
            return Ok(None);
        };
        let output = wanted.clone();
        let opening = tokio::task::spawn_blocking(move || open(&output));
        match tokio::time::timeout(OPEN_MAX, opening).await {
            Ok(opened) => {
                let output = opened.expect("opening a file does not panic")?;
                Ok(Some(Opened(wanted.clone(), output)))
            }
            Err(_elapsed) => Err(failed(wanted, std::io::ErrorKind::TimedOut.into())),
        }
    }

    /// Lines go there from now on.
    pub(super) fn put(&mut self, opened: Option<Opened>) {
        if let Some(Opened(wanted, output)) = opened {
            self.log.change(output);
            self.in_force = Some(wanted);
        }
    }
}

fn open(output: &AccessLogOutput) -> Result<Output, Cause> {
    let opened = match output {
        AccessLogOutput::Stdout => Output::stdout(),
        AccessLogOutput::File(path) => Output::file(path.as_ref()),
    };
    opened.map_err(|source| failed(output, source))
}

fn failed(output: &AccessLogOutput, source: std::io::Error) -> Cause {
    let path = match output {
        AccessLogOutput::Stdout => "stdout".to_owned(),
        AccessLogOutput::File(path) => path.clone(),
    };
    Cause::AccessLog { path, source }
}

/// From here on SIGUSR1 does not end the process, though nobody listens for it yet: the file has
/// not been opened.
pub(super) fn survive_reopen_signal() {
    let runtime = runtime();
    let _within = runtime.enter();
    // The handler stays when its first listener is gone.
    if let Err(error) = signal(SignalKind::user_defined1()) {
        tracing::warn!(%error, "SIGUSR1 cannot be received");
    }
}

/// Opens the file anew at each SIGUSR1, without end.
pub(super) async fn reopen_on_signal(log: Arc<AccessLog>) {
    let mut asked = match signal(SignalKind::user_defined1()) {
        Ok(asked) => asked,
        Err(error) => {
            tracing::warn!(%error, "SIGUSR1 cannot be received; the log's file is watched");
            return;
        }
    };
    while asked.recv().await.is_some() {
        log.reopen();
    }
}

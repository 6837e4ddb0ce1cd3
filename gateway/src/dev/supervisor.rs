//! Starts the services, shows what they say, starts them again when they die, stops them.
//!
//! A child never outlives this process: its standard input is a pipe that only
//! this process holds, and `EXIT_ON_STDIN_EOF=1` tells it to stop when that
//! pipe closes, which the system does even after SIGKILL.

mod lines;
mod restarts;

use std::ffi::OsString;
use std::future;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::BufReader;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

pub use restarts::Policy;

use self::restarts::Deaths;
use super::registry::Directory;

/// Time for the last output of a child that has ended: a grandchild may hold the pipe open.
const LAST_OUTPUT_TIMEOUT: Duration = Duration::from_millis(500);

/// One child: what runs, and as whom it registers.
#[derive(Clone, Debug)]
pub struct ChildSpec {
    /// Name before each of its lines, and its instance id in the registry.
    pub name: String,
    /// Id of its service in the registry.
    pub service_id: String,
    /// The executable.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its environment, beside what it inherits.
    pub env: Vec<(&'static str, OsString)>,
}

/// Why the run cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum SuperviseError {
    /// The executable did not start.
    #[error("{name}: cannot start `{}`", program.display())]
    Start {
        /// The child's name.
        name: String,
        /// The executable.
        program: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It dies again and again.
    #[error(
        "{name} died more than {deaths} times within {}, the last time with {status}; \
         its lines above say why",
        humantime::format_duration(*window)
    )]
    DiesTooOften {
        /// The child's name.
        name: String,
        /// Deaths that are borne.
        deaths: u32,
        /// Within this time.
        window: Duration,
        /// How it ended last.
        status: ExitStatus,
    },
}

/// The running children; dropping it kills them.
#[derive(Debug)]
pub struct Supervisor {
    stop: watch::Sender<bool>,
    keepers: JoinSet<Result<(), SuperviseError>>,
}

impl Supervisor {
    /// Starts `children`; whatever they print goes to `lines`.
    ///
    /// A child that dies leaves `directory` at once. Must be called on a Tokio runtime.
    #[must_use]
    pub fn start(
        children: Vec<ChildSpec>,
        policy: Policy,
        directory: &Directory,
        lines: &mpsc::Sender<String>,
    ) -> Self {
        let stop = watch::Sender::new(false);
        let width = children.iter().map(|child| child.name.len()).max();
        let mut keepers = JoinSet::new();
        for spec in children {
            let keeper = Keeper {
                prefix: format!("{:width$} | ", spec.name, width = width.unwrap_or(0)),
                spec,
                policy,
                directory: directory.clone(),
                lines: lines.clone(),
            };
            keepers.spawn(keeper.keep(stop.subscribe()));
        }
        Self { stop, keepers }
    }

    /// Waits until a child cannot be kept running; forever, when all is well.
    pub async fn failed(&mut self) -> SuperviseError {
        while let Some(ended) = self.keepers.join_next().await {
            let ended = ended.expect("a keeper is neither aborted nor does it panic");
            if let Err(error) = ended {
                return error;
            }
        }
        future::pending().await
    }

    /// Stops every child: SIGTERM, and SIGKILL after the policy's limit.
    pub async fn shutdown(mut self) {
        self.stop.send_replace(true);
        while self.keepers.join_next().await.is_some() {}
    }
}

/// Keeps one child running.
struct Keeper {
    spec: ChildSpec,
    policy: Policy,
    directory: Directory,
    prefix: String,
    lines: mpsc::Sender<String>,
}

impl Keeper {
    async fn keep(self, mut stop: watch::Receiver<bool>) -> Result<(), SuperviseError> {
        let mut deaths = Deaths::default();
        loop {
            let mut running = self.start()?;
            let status = tokio::select! {
                status = running.child.wait() => status,
                () = stopped(&mut stop) => {
                    running.stop(self.policy.stop_timeout).await;
                    self.deregister();
                    return Ok(());
                }
            };
            self.deregister();
            running.finish_output().await;
            let status = status.map_err(|source| self.start_error(source))?;
            let Some(pause) = deaths.record(&self.policy, Instant::now()) else {
                return Err(SuperviseError::DiesTooOften {
                    name: self.spec.name,
                    deaths: self.policy.max_deaths,
                    window: self.policy.window,
                    status,
                });
            };
            self.say(&format!(
                "died with {status}; starts again in {}",
                humantime::format_duration(pause)
            ))
            .await;
            tokio::select! {
                () = sleep(pause) => {}
                () = stopped(&mut stop) => return Ok(()),
            }
        }
    }

    fn start(&self) -> Result<Running, SuperviseError> {
        let mut child = Command::new(&self.spec.program)
            .args(&self.spec.args)
            .envs(self.spec.env.iter().map(|(name, value)| (name, value)))
            .env("EXIT_ON_STDIN_EOF", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for the gateway, which stops its services once it has drained.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| self.start_error(source))?;
        let mut output = JoinSet::new();
        let forward = |prefix: &String| (prefix.clone(), self.lines.clone());
        if let Some(stdout) = child.stdout.take() {
            let (prefix, lines) = forward(&self.prefix);
            output.spawn(lines::forward(BufReader::new(stdout), prefix, lines));
        }
        if let Some(stderr) = child.stderr.take() {
            let (prefix, lines) = forward(&self.prefix);
            output.spawn(lines::forward(BufReader::new(stderr), prefix, lines));
        }
        // Taken out because `Child::wait` would close it.
        let stdin = child.stdin.take();
        Ok(Running {
            child,
            _stdin: stdin,
            output,
        })
    }

    /// A child that had not registered yet, or took its leave itself, is no error.
    fn deregister(&self) {
        let _ = self
            .directory
            .deregister(&self.spec.service_id, &self.spec.name);
    }

    async fn say(&self, what: &str) {
        // Nobody reads any more: the run is over.
        let _ = self.lines.send(format!("{}{what}", self.prefix)).await;
    }

    fn start_error(&self, source: io::Error) -> SuperviseError {
        SuperviseError::Start {
            name: self.spec.name.clone(),
            program: self.spec.program.clone(),
            source,
        }
    }
}

struct Running {
    child: Child,
    /// Held open for as long as the child may live.
    _stdin: Option<ChildStdin>,
    output: JoinSet<()>,
}

impl Running {
    async fn stop(mut self, stop_timeout: Duration) {
        // The id is known until the child has been waited for, so it cannot be another process's.
        if let Some(pid) = self.child.id().and_then(|id| i32::try_from(id).ok()) {
            // It may have ended on its own just now.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        if timeout(stop_timeout, self.child.wait()).await.is_err() {
            // SIGKILL, then wait: only a child that has ended makes it fail.
            let _ = self.child.kill().await;
        }
        self.finish_output().await;
    }

    async fn finish_output(&mut self) {
        let all = async { while self.output.join_next().await.is_some() {} };
        if timeout(LAST_OUTPUT_TIMEOUT, all).await.is_err() {
            self.output.abort_all();
        }
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A supervisor that is gone means stop, too.
    let _ = stop.wait_for(|&stop| stop).await;
}

#[cfg(test)]
mod tests;

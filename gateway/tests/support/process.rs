//! The real program.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::PATIENCE;

/// The program with nothing of ours in its environment.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command.env_clear().args(arguments).stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the program starts")
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A running program; killed when dropped.
pub(crate) struct Process {
    child: Child,
    /// Lines of the log on standard error; closed when the process has ended.
    log: Receiver<String>,
    stdout: Option<JoinHandle<String>>,
}

impl Process {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = command(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let (sender, log) = mpsc::channel();
        std::thread::spawn(move || {
            stderr
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| sender.send(line))
        });
        let mut stdout = child.stdout.take().expect("piped");
        let stdout = std::thread::spawn(move || {
            let mut text = String::new();
            let _until_closed = stdout.read_to_string(&mut text);
            text
        });
        Self {
            child,
            log,
            stdout: Some(stdout),
        }
    }

    /// Reads the log up to the line with this message.
    pub(crate) fn wait_for(&self, message: &str) -> Value {
        loop {
            let line = self
                .log
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|error| panic!("no `{message}`: {error}"));
            // What a process that it has started says last is for people.
            if !line.starts_with('{') {
                continue;
            }
            let line: Value = serde_json::from_str(&line)
                .unwrap_or_else(|error| panic!("a line of the log is not JSON: {error}: {line}"));
            if line["message"] == message {
                return line;
            }
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(id), signal).expect("the process is ours");
    }

    /// Waits for the end: the exit code, and what stood on standard output.
    pub(crate) fn ended(mut self) -> (Option<i32>, String) {
        loop {
            match self.log.recv_timeout(PATIENCE) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("the process does not end"),
            }
        }
        let status = self.child.wait().expect("the process is ours");
        let stdout = self
            .stdout
            .take()
            .expect("taken once")
            .join()
            .expect("text");
        (status.code(), stdout)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, which is all that is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

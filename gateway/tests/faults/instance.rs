//! An upstream instance as the suite sees it: a process to be told, stopped and killed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::behaviour::Behaviour;
use crate::support::eventually;
use crate::upstream::VARIABLE;

/// A running instance; killed when dropped.
pub(crate) struct Instance {
    process: Child,
    said: BufReader<ChildStdout>,
    address: SocketAddr,
    journal: PathBuf,
}

impl Instance {
    /// Starts one on a free port.
    pub(crate) fn start(journal: PathBuf) -> Self {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), journal)
    }

    fn start_at(address: SocketAddr, journal: PathBuf) -> Self {
        let program = std::env::current_exe().expect("a running program has a file");
        let mut process = Command::new(program)
            .env_clear()
            .env(VARIABLE, "1")
            .arg(address.to_string())
            .arg(&journal)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program that runs can be started once more");
        let said = BufReader::new(process.stdout.take().expect("piped"));
        let mut instance = Self {
            process,
            said,
            address,
            journal,
        };
        let line = instance.line();
        let (_, address) = line.split_once("listening ").expect("its first line");
        instance.address = address.parse().expect("an address");
        instance
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let size = self.said.read_line(&mut line).expect("a pipe");
        assert!(size > 0, "an upstream ended; see its message above");
        line.trim_end().to_owned()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on it does so; returns when it does.
    pub(crate) fn behave(&mut self, behaviour: Behaviour) {
        let stdin = self.process.stdin.as_mut().expect("piped");
        writeln!(stdin, "{}", behaviour.name()).expect("it reads");
        assert_eq!(self.line(), behaviour.name());
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.process.id()).expect("a process id");
        kill(Pid::from_raw(id), signal).expect("the process is ours");
    }

    /// SIGKILL: no goodbye.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("the process is ours");
        self.process.wait().expect("the process is ours");
    }

    /// A new process on the same port, after the old one was killed.
    pub(crate) fn restart(&mut self) {
        *self = Self::start_at(self.address, self.journal.clone());
    }

    /// Waits until it is sent a request.
    pub(crate) fn is_used(&self) {
        let size = || {
            std::fs::metadata(&self.journal)
                .expect("its own file")
                .len()
        };
        let before = size();
        eventually("an instance is used", || (size() > before).then_some(()));
    }

    /// Waits until it has left in good order.
    pub(crate) fn has_left(&mut self) {
        let status = eventually("an upstream leaves", || {
            self.process.try_wait().expect("the process is ours")
        });
        assert!(status.success(), "an upstream left with {status}");
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // It may have ended already, which is all that is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

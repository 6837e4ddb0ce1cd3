//! A shell for the commands of one page, with what it starts beside them.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use regex::{Captures, Regex};
use tempfile::TempDir;

/// Time that anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// Pause between two looks at a condition.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The ports of the pages, and those that stand for them here.
#[derive(Clone, Debug)]
pub(crate) struct Ports(Vec<(u16, u16)>);

impl Ports {
    /// Free ones for those that the pages use.
    pub(crate) fn free() -> Self {
        // All are held until the last is known, so that they differ.
        let listeners = [8080, 9090, 9001, 9002].map(|port| (port, free_port()));
        let port = |it: &TcpListener| it.local_addr().expect("it is bound").port();
        Self(
            listeners
                .iter()
                .map(|(told, it)| (*told, port(it)))
                .collect(),
        )
    }

    pub(crate) fn real(&self, told: u16) -> u16 {
        let found = self.0.iter().find(|(it, _)| *it == told);
        found.map_or(told, |(_, real)| *real)
    }

    /// As it is run.
    pub(crate) fn to_real(&self, text: &str) -> String {
        replaced(text, &self.0)
    }

    /// As it stands on the page.
    fn to_told(&self, text: &str) -> String {
        let back: Vec<_> = self.0.iter().map(|(told, real)| (*real, *told)).collect();
        replaced(text, &back)
    }
}

/// Below those that systems give to outgoing connections: it may be used minutes later.
fn free_port() -> TcpListener {
    const TRIES_MAX: usize = 1_000;
    let mut tries = (0..TRIES_MAX).map(|_| fastrand::u16(20_000..30_000));
    let found = tries.find_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok());
    found.expect("one of so many is free")
}

fn replaced(text: &str, pairs: &[(u16, u16)]) -> String {
    let number = Regex::new(r"\b\d{4,5}\b").expect("it is an expression");
    let other = |found: &Captures<'_>| {
        let pair = pairs.iter().find(|(from, _)| from.to_string() == found[0]);
        pair.map_or_else(|| found[0].to_owned(), |(_, to)| to.to_string())
    };
    number.replace_all(text, other).into_owned()
}

/// Where a command's standard error goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errors {
    /// Beside its output; and the first command that fails ends the shell.
    Apart,
    /// Among its output, as on a terminal; failures are what the page may be about.
    Among,
}

#[derive(Debug)]
pub(crate) struct Ran {
    /// Whether the shell has come to the end of the commands.
    pub(crate) is_done: bool,
    pub(crate) output: String,
    pub(crate) errors: String,
}

/// It and all that it started are killed when it is dropped.
pub(crate) struct Shell {
    child: Child,
    /// A line for each block of commands that has ended.
    ends: Receiver<String>,
    ports: Ports,
    scratch: TempDir,
    blocks: usize,
}

impl Shell {
    /// `prepare` says where the shell begins and what it finds in its environment.
    pub(crate) fn start(ports: Ports, prepare: impl FnOnce(&mut Command)) -> Self {
        let scratch = tempfile::tempdir().expect("a folder");
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc"]).env_clear();
        let program = Path::new(env!("CARGO_BIN_EXE_gateway"));
        let programs = program.parent().expect("a program has a folder");
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{path}", programs.display()));
        prepare(&mut command);
        let mut child = command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("there is a bash");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, ends) = mpsc::channel();
        std::thread::spawn(move || {
            let mut lines = stdout.lines().map_while(Result::ok);
            lines.try_for_each(|line| sender.send(line))
        });
        Self {
            child,
            ends,
            ports,
            scratch,
            blocks: 0,
        }
    }

    /// Runs commands to their end.
    pub(crate) fn run(&mut self, text: &str, errors: Errors) -> Ran {
        let [commands, output, error] = self.next_files(text);
        let line = match errors {
            Errors::Apart => format!(
                "set -euo pipefail; . {commands} >{output} 2>{error} </dev/null; set +euo pipefail; echo"
            ),
            Errors::Among => format!(". {commands} >{output} 2>&1 </dev/null; echo"),
        };
        self.write(&line);
        let is_done = self.ends.recv_timeout(PATIENCE).is_ok();
        let told = |path: &str| {
            let bytes = fs::read(path).unwrap_or_default();
            self.ports.to_told(&String::from_utf8_lossy(&bytes))
        };
        Ran {
            is_done,
            output: told(&output),
            errors: told(&error),
        }
    }

    /// Runs commands beside the others. What they log if nobody listens at the port in time is
    /// the error.
    pub(crate) fn run_beside(
        &mut self,
        text: &str,
        port: u16,
        patience: Duration,
    ) -> Result<(), String> {
        let [commands, output, error] = self.next_files(text);
        self.write(&format!(
            "( . {commands} ) >{output} 2>{error} </dev/null &"
        ));
        let address = (Ipv4Addr::LOCALHOST, self.ports.real(port));
        let deadline = Instant::now() + patience;
        while TcpStream::connect(address).is_err() {
            if Instant::now() > deadline {
                let told = [output, error].map(|it| fs::read_to_string(it).unwrap_or_default());
                return Err(format!("nobody listens at {port}\n{}", told.concat()));
            }
            sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    /// The commands' own, and where both streams go.
    fn next_files(&mut self, text: &str) -> [String; 3] {
        self.blocks += 1;
        let paths = ["sh", "out", "err"].map(|end| {
            let path = self.scratch.path().join(format!("{}.{end}", self.blocks));
            path.to_str().expect("its name is plain").to_owned()
        });
        fs::write(&paths[0], self.ports.to_real(text)).expect("it can be written");
        paths
    }

    fn write(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        // A shell that has ended is noticed by the end that does not come.
        let _ = writeln!(stdin, "{line}");
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let group = Pid::from_raw(self.child.id().cast_signed());
        // It fails where all have ended already.
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

#[test]
fn a_shell_keeps_its_variables_and_ends_with_the_first_failure() {
    let mut shell = Shell::start(Ports::free(), |_| ());
    let ran = shell.run("A=1\necho a 8080 >&2\n", Errors::Apart);
    assert!(
        ran.is_done && ran.output.is_empty() && ran.errors == "a 8080\n",
        "{ran:?}"
    );
    let ran = shell.run("echo $A\necho b >&2\nfalse\necho c\n", Errors::Among);
    assert!(ran.is_done && ran.output == "1\nb\nc\n", "{ran:?}");
    let ran = shell.run("echo d\nfalse\necho e\n", Errors::Apart);
    assert!(!ran.is_done && ran.output == "d\n", "{ran:?}");
}

#[test]
fn ports_are_replaced_where_they_are_whole_numbers() {
    let ports = Ports(vec![(8080, 40001), (9090, 40002)]);
    let told = "a:8080 18080 80801 [9090]";
    let real = "a:40001 18080 80801 [40002]";
    assert_eq!(ports.to_real(told), real);
    assert_eq!(ports.to_told(real), told);
}

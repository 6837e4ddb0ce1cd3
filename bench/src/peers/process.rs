//! Child processes that cannot outlive us.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};

use super::procfs;
use crate::cli::ChildArgs;
use crate::cores;

/// How long a process may take to end after SIGTERM before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// How often a stopping process is looked at.
const STOP_POLL: Duration = Duration::from_millis(5);

/// Lines of a failed program's output that an error repeats.
const OUTPUT_TAIL_LINES: usize = 10;

/// The file that takes what a child prints.
const OUTPUT_FILE: &str = "output.log";

/// A running child process. Dropping it ends it and its descendants.
pub(super) struct Running {
    child: Child,
    output: PathBuf,
}

impl Running {
    /// Starts `program` in `directory`, on its cores, with its output in a file there.
    ///
    /// It starts as this binary's hidden subcommand `child`, which pins itself
    /// and asks the kernel for SIGTERM should this process die, and then
    /// becomes the program: so even a SIGKILL of ours leaves nothing behind.
    /// Call it from the main thread only: the kernel sends that signal when
    /// the thread that started the child ends.
    ///
    /// # Errors
    /// When the output file or the process cannot be made.
    pub(super) fn start(
        program: &Path,
        arguments: &[String],
        directory: &Path,
        cores: &[usize],
    ) -> anyhow::Result<Self> {
        let output = directory.join(OUTPUT_FILE);
        let log = File::create(&output).context("cannot make the proxy's output file")?;
        let cores: Vec<String> = cores.iter().map(ToString::to_string).collect();
        let child = Command::new("/proc/self/exe")
            .args(["child", "--cores", &cores.join(",")])
            .args(["--parent", &std::process::id().to_string(), "--"])
            .arg(program)
            .args(arguments)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot start `{}`", program.display()))?;
        Ok(Self { child, output })
    }

    /// The process with its descendants, as they are now.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub(super) fn tree(&self) -> io::Result<BTreeSet<i32>> {
        procfs::process_tree(self.pid().as_raw_nonzero().get())
    }

    /// Says why, when the process has ended by itself.
    ///
    /// # Errors
    /// With the exit status and the end of the output.
    pub(super) fn check_alive(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => anyhow::bail!("it ended with {status}{}", self.output_tail()),
        }
    }

    /// The last lines that the process printed, to be put at the end of an error.
    pub(super) fn output_tail(&self) -> String {
        let output = std::fs::read_to_string(&self.output).unwrap_or_default();
        let lines: Vec<&str> = output.trim_end().lines().collect();
        let tail = &lines[lines.len().saturating_sub(OUTPUT_TAIL_LINES)..];
        if tail.is_empty() {
            "; it printed nothing".to_owned()
        } else {
            format!("; it printed:\n    {}", tail.join("\n    "))
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// SIGTERM to the first process, which ends its own; SIGKILL to what is
    /// left of all of them after `limit`.
    ///
    /// # Errors
    /// When `/proc` cannot be read or a signal cannot be sent.
    pub(super) fn stop(&mut self, limit: Duration) -> io::Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        let tree = self.tree()?;
        kill_process(self.pid(), Signal::TERM)?;
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            thread::sleep(STOP_POLL);
        }
        for pid in tree.into_iter().filter_map(Pid::from_raw) {
            // An error means that it ended in the meantime.
            let _ = kill_process(pid, Signal::KILL);
        }
        self.child.wait().map(drop)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.stop(STOP_LIMIT).is_err() {
            // Without /proc or the right to signal, this much remains.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// `bench child`: pins this process, ties its life to its parent's and becomes
/// the program. Returns only when that fails.
pub(crate) fn become_child(arguments: &ChildArgs) -> anyhow::Error {
    match prepare(arguments) {
        Ok(mut command) => {
            let error = command.exec();
            anyhow::Error::new(error).context(format!(
                "cannot run `{}`",
                command.get_program().to_string_lossy()
            ))
        }
        Err(error) => error,
    }
}

fn prepare(arguments: &ChildArgs) -> anyhow::Result<Command> {
    cores::pin_to(&arguments.cores)
        .with_context(|| format!("cannot stay on cores {:?}", arguments.cores))?;
    set_parent_process_death_signal(Some(Signal::TERM))?;
    // Had the parent died before that call, no signal would ever come.
    if getppid() != Pid::from_raw(arguments.parent) {
        anyhow::bail!("the benchmark has ended");
    }
    let (program, rest): (&OsString, _) = arguments
        .program
        .split_first()
        .context("no program was given")?;
    let mut command = Command::new(program);
    command.args(rest);
    Ok(command)
}

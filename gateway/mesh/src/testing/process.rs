//! Runs the real program of a service.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};

use super::PATIENCE;
use crate::service::{HEALTH_CHECK_TIMEOUT, Resource};

/// A service's process, listening on a free port; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Lines of the log; closed when the process has ended.
    log: Receiver<String>,
    /// Where it listens, `127.0.0.1:PORT`.
    pub address: String,
}

/// Variables and their values.
pub type Environment = [(&'static str, String)];

/// The program with these arguments, and nothing else in its environment.
fn command(program: &str, arguments: &[&str], environment: &Environment) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env_clear();
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    command
}

/// Runs the program to its end.
#[must_use]
pub fn run(program: &str, arguments: &[&str]) -> Output {
    run_in(program, arguments, &[])
}

/// Runs the program to its end in this environment.
#[must_use]
pub fn run_in(program: &str, arguments: &[&str], environment: &Environment) -> Output {
    command(program, arguments, environment)
        .output()
        .expect("the program starts")
}

impl Process {
    /// Starts `program serve` with more arguments, and waits until it listens.
    #[must_use]
    pub fn start(program: &str, arguments: &[&str]) -> Self {
        Self::start_in(program, arguments, &[])
    }

    /// The same in this environment.
    #[must_use]
    pub fn start_in(program: &str, arguments: &[&str], environment: &Environment) -> Self {
        let mut process = Self::spawn(program, arguments, environment);
        process.address = process.wait_for("listening")["address"]
            .as_str()
            .expect("an address")
            .into();
        process
    }

    /// The same without waiting, and so without an address.
    #[must_use]
    pub fn spawn(program: &str, arguments: &[&str], environment: &Environment) -> Self {
        let start = ["serve", "--listen", "127.0.0.1:0"];
        let mut child = command(program, &start, environment)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (lines, log) = mpsc::channel();
        thread::spawn(move || {
            stdout
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| lines.send(line))
        });
        Self {
            child,
            log,
            address: String::new(),
        }
    }

    /// Reads the log up to the line with this message.
    #[must_use]
    pub fn wait_for(&self, message: &str) -> Value {
        loop {
            let line = self
                .log
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|error| panic!("no `{message}`: {error}"));
            let line: Value = serde_json::from_str(&line).expect("each line of the log is JSON");
            if line["message"] == message {
                return line;
            }
        }
    }

    /// Sends a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(status.expect("kill(1) is there").success());
    }

    /// Ends its standard input, as the death of a supervisor does.
    pub fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits for the end; hands back the exit code.
    #[must_use]
    pub fn ended(mut self) -> Option<i32> {
        loop {
            match self.log.recv_timeout(PATIENCE) {
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("the process does not end"),
            }
        }
        self.child.wait().expect("the process is ours").code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already, which is all that is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Fails unless the program starts, calls itself healthy and stops with exit code 0 on
/// either signal, and unless its `healthcheck` tells a service that does not answer.
pub fn check_life_cycle(program: &str) {
    for signal in ["TERM", "INT"] {
        let process = Process::start(program, &["--lame-duck", "0s"]);
        let address = &process.address;
        let healthy = run(program, &["healthcheck", "--listen", address]);
        assert!(healthy.status.success(), "{healthy:?}");
        let nowhere = format!("http://{address}/nowhere");
        let not_found = run(program, &["healthcheck", "--url", &nowhere]);
        assert_eq!(not_found.status.code(), Some(1));
        let message = String::from_utf8(not_found.stderr).expect("text");
        assert!(message.contains("/nowhere answered 404"), "{message}");

        let in_use = run(program, &["--listen", address]);
        assert_eq!(in_use.status.code(), Some(1));
        let message = String::from_utf8(in_use.stderr).expect("text");
        assert!(
            message.contains(address) && message.contains("--listen"),
            "{message}"
        );

        process.signal(signal);
        let _ = process.wait_for("stopped");
        assert_eq!(process.ended(), Some(0), "{signal}");
    }
    // The system takes the connection, and then nobody answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("port 0 is free");
    let address = silent.local_addr().expect("bound").to_string();
    let started = Instant::now();
    let unhealthy = run(program, &["healthcheck", "--listen", &address]);
    assert_eq!(unhealthy.status.code(), Some(1));
    assert!(started.elapsed() >= HEALTH_CHECK_TIMEOUT);
}

/// Fails unless the program leaves at once, its lame duck notwithstanding, when it is asked
/// twice and when its supervisor is gone, and unless only a supervised one heeds the latter.
pub fn check_hurry(program: &str) {
    let patient = ["--lame-duck", "1h", "--drain-limit", "2h"];
    let mut process = Process::start(program, &patient);
    process.close_stdin();
    process.signal("TERM");
    assert_eq!(process.wait_for("stopping")["signal"], "Terminate");
    process.signal("TERM");
    assert_eq!(process.ended(), Some(0), "asked twice");

    let supervised = [&patient[..], &["--exit-on-stdin-eof"]].concat();
    let mut process = Process::start(program, &supervised);
    process.close_stdin();
    let _ = process.wait_for("standard input has ended, the supervisor is gone");
    assert_eq!(process.ended(), Some(0), "without a supervisor");
}

/// Fails unless a request's access line says what was asked and how it ended, and
/// continues the trace of the caller.
pub fn check_access_line<R: Resource>(program: &str) {
    let process = Process::start(program, &[]);
    let mut stream = TcpStream::connect(&process.address).expect("it listens");
    let request = format!(
        "GET /{}/9999 HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-request-id: r-1\r\n\
         traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n",
        R::COLLECTION
    );
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut line = process.wait_for("request");
    for member in ["timestamp", "duration_us"] {
        assert!(!line[member].take().is_null(), "{member}");
    }
    let span_id = line["span_id"].take();
    let span_id = span_id.as_str().expect("a span id");
    assert!(
        span_id.len() == 16 && span_id != "00f067aa0ba902b7",
        "{span_id}"
    );
    let expected = json!({
        "timestamp": null,
        "level": "INFO",
        "target": "access",
        "message": "request",
        "method": "GET",
        "route": format!("/{}/{{id}}", R::COLLECTION),
        "status": 404,
        "reason": "not_found",
        "duration_us": null,
        "request_id": "r-1",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "span_id": null,
        "parent_id": "00f067aa0ba902b7",
    });
    assert_eq!(line, expected);
}

//! The program itself: exit codes, streams, signals.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::support::backend::Backend;
use crate::support::gateway::ONE_ROUTE;
use crate::support::process::{Process, run, stderr, stdout};
use crate::support::wire::Wire;

/// A routes file; it goes with its directory.
struct File {
    path: PathBuf,
    _directory: TempDir,
}

impl File {
    fn new(text: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let path = directory.path().join("routes.yaml");
        std::fs::write(&path, text).expect("a file can be written");
        Self {
            path,
            _directory: directory,
        }
    }

    fn path(&self) -> &str {
        self.path.to_str().expect("text")
    }
}

const ON_FREE_PORTS: &str = "
version: 1
listeners: [{address: \"127.0.0.1:0\"}]
admin: {address: \"127.0.0.1:0\"}
shutdown: {lame_duck: 0s}
";

fn good(backend: &str) -> File {
    File::new(&format!(
        "{ON_FREE_PORTS}{}",
        ONE_ROUTE.replace("${BACKEND}", backend)
    ))
}

fn addresses(process: &Process) -> (String, String) {
    let line = process.wait_for("listening");
    let text = |name: &str| line[name].as_str().expect("an address").to_owned();
    (text("address"), text("admin"))
}

#[test]
fn it_runs_answers_logs_and_leaves_on_either_signal() {
    let backend = Backend::replying("ok");
    let file = good(&backend.address().to_string());
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let process = Process::start(&["run", "--config", file.path()]);
        let (address, admin) = addresses(&process);
        let mut wire = Wire::connect(address.parse().expect("an address"));
        wire.send("GET /a HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(wire.receive().text(), "ok");

        let url = format!("http://{admin}/readyz");
        let healthy = run(&["healthcheck", "--url", &url]);
        assert_eq!(healthy.status.code(), Some(0), "{}", stderr(&healthy));
        assert!(healthy.stdout.is_empty() && healthy.stderr.is_empty());

        process.signal(signal);
        assert!(
            wire.rest().is_empty(),
            "the idle connection is closed in order"
        );
        let (code, log) = process.ended();
        assert_eq!(code, Some(0), "{signal}");
        let lines: Vec<serde_json::Value> = log
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(lines.len(), 1, "the access log and nothing else: {log}");
        assert_eq!(
            (&lines[0]["path"], &lines[0]["status"]),
            (&"/a".into(), &200.into())
        );
    }
}

#[test]
fn a_second_signal_ends_the_wait() {
    let backend = Backend::answering(|_request| std::future::pending());
    let file = good(&backend.address().to_string());
    let process = Process::start(&["run", "--config", file.path()]);
    let (address, _) = addresses(&process);
    let mut wire = Wire::connect(address.parse().expect("an address"));
    wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    crate::support::eventually("it is under way", || {
        (backend.in_flight() == 1).then_some(())
    });
    process.signal(Signal::SIGINT);
    let _ = process.wait_for("draining: no new connections");
    let began = Instant::now();
    process.signal(Signal::SIGINT);
    let _ = process.ended();
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn an_address_in_use_is_named_with_its_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("port 0 is free");
    let address = taken.local_addr().expect("bound").to_string();
    for (setting, file) in [
        (
            "listeners",
            ON_FREE_PORTS.replacen("127.0.0.1:0", &address, 1),
        ),
        (
            "admin",
            ON_FREE_PORTS.replace(
                "admin: {address: \"127.0.0.1:0",
                &format!("admin: {{address: \"{address}"),
            ),
        ),
    ] {
        let file = File::new(&(file + &ONE_ROUTE.replace("${BACKEND}", "127.0.0.1:1")));
        let output = run(&["run", "--config", file.path()]);
        assert_eq!(output.status.code(), Some(1), "{setting}");
        assert!(output.stdout.is_empty(), "{setting}");
        let text = stderr(&output);
        assert!(
            text.contains(&address) && text.contains("already in use"),
            "{text}"
        );
        assert!(text.contains(&format!("`{setting}")), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

#[test]
fn check_tells_a_good_file_from_a_bad_one() {
    let file = good("127.0.0.1:1");
    let output = run(&["check", file.path()]);
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
    assert!(
        stdout(&output).ends_with("is good: 1 route, 1 upstream, 0 JWT providers\n"),
        "{}",
        stdout(&output)
    );

    let file = File::new(
        "version: 1\n\
         upstreams: {backend: {static: [\"127.0.0.1:1\"]}}\n\
         routes:\n  \
         - {name: all, match: {path_prefx: /}, auth: none, backends: [{upstream: bakend}]}\n  \
         - {name: open, match: {path: /b}, backends: [{upstream: backend}]}\n",
    );
    for arguments in [
        ["check", file.path()].as_slice(),
        &["run", "--config", file.path()],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        let text = stderr(&output);
        for expected in [
            "path_prefx",
            "did you mean `path_prefix`?",
            "auth",
            ":4:",
            ":5:",
            file.path(),
        ] {
            assert!(text.contains(expected), "{expected}: {text}");
        }
    }
}

#[test]
fn a_file_that_is_not_there_or_not_text_is_said() {
    let output = run(&["check", "/nowhere/routes.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("cannot read `/nowhere/routes.yaml`"),
        "{}",
        stderr(&output)
    );

    let file = File::new("");
    std::fs::write(&file.path, b"version: 1\n# \xff\n").expect("a file can be written");
    let output = run(&["check", file.path()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("line 2"), "{}", stderr(&output));
}

#[test]
fn a_variable_without_a_value_is_said() {
    let file = File::new(&format!("{ON_FREE_PORTS}{ONE_ROUTE}"));
    let output = run(&["check", file.path()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("BACKEND"), "{}", stderr(&output));
}

#[test]
fn healthcheck_fails_where_nobody_answers_well() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("port 0 is free");
    let address = silent.local_addr().expect("bound");
    let url = format!("http://{address}/readyz");
    let output = run(&["healthcheck", "--url", &url, "--timeout", "100ms"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains(&address.to_string()),
        "{}",
        stderr(&output)
    );
    drop(silent);
    let output = run(&["healthcheck", "--url", &url]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("cannot connect"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_misspelt_command_is_an_error_of_use() {
    let output = run(&["chek"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("check"), "{}", stderr(&output));
    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    for command in [
        "run",
        "upgrade",
        "check",
        "dev",
        "token",
        "api-key",
        "healthcheck",
    ] {
        assert!(
            stdout(&output).contains(&format!("\n  {command}")),
            "{}",
            stdout(&output)
        );
    }
}

#[test]
fn a_reader_that_leaves_before_the_end_is_no_error() {
    for (arguments, code) in [
        (&["schema"][..], 0),
        (&["check", "/nowhere/routes.yaml"], 1),
        (&["check", "/nowhere/routes.yaml", "--format", "json"], 1),
    ] {
        let closed = || {
            let (reader, writer) = std::io::pipe().expect("a pipe");
            drop(reader);
            writer
        };
        let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_gateway"));
        program.args(arguments).stdout(closed()).stderr(closed());
        let status = program.status().expect("it starts");
        assert_eq!(status.code(), Some(code), "{arguments:?}");
    }
}

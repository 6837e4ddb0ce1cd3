//! A new process takes over from a running one: nobody notices, or nothing has happened.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::backend::{Backend, Gate, full};
use crate::support::eventually;
use crate::support::gateway::ONE_ROUTE;
use crate::support::http_client::{Fetch as _, client};
use crate::support::metrics::Metrics;
use crate::support::process::{Process, run, stderr, stdout};
use crate::support::wire::Wire;

/// A gateway that is replaced: all its processes write to the same log.
struct Line {
    process: Process,
    /// The ids of the processes that followed the first.
    followers: Vec<i32>,
    file: PathBuf,
    backend: SocketAddr,
    address: SocketAddr,
    admin: SocketAddr,
    directory: TempDir,
}

const STARTED: &str = "a new process has been started";
const TAKEN_OVER: &str = "the new process has taken over";
const GOES_ON: &str = "the new process has not taken over; going on";

impl Line {
    fn start(backend: &Backend) -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let file = directory.path().join("routes.yaml");
        let backend = backend.address();
        write_file(&file, &directory, backend, "");
        let process = Process::start(&["run", "--config", file.to_str().expect("text")]);
        let listening = process.wait_for("listening");
        let address = |name: &str| {
            let text = listening[name].as_str().expect("an address");
            text.parse().expect("an address")
        };
        Self {
            address: address("address"),
            admin: address("admin"),
            process,
            followers: Vec::new(),
            file,
            backend,
            directory,
        }
    }

    /// Adds to the routes file.
    fn add(&self, text: &str) {
        write_file(&self.file, &self.directory, self.backend, text);
    }

    fn file(&self) -> &str {
        self.file.to_str().expect("text")
    }

    /// Signals whichever process serves now.
    fn signal(&self, signal: Signal) {
        match self.followers.last() {
            Some(process) => kill(Pid::from_raw(*process), signal).expect("it runs"),
            None => self.process.signal(signal),
        }
    }

    /// Reads on to the start of the next process.
    fn wait_for_start(&mut self) {
        let line = self.process.wait_for(STARTED);
        let pid = line["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
        self.followers.push(pid.expect("a process id"));
    }

    fn upgrade_by_signal(&mut self) {
        self.signal(Signal::SIGUSR2);
        self.wait_for_start();
        let _ = self.process.wait_for(TAKEN_OVER);
    }

    fn upgrade_by_command(&mut self) {
        let output = run(&["upgrade", "--config", self.file()]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(stdout(&output).contains("it serves"), "{}", stdout(&output));
        self.wait_for_start();
        let _ = self.process.wait_for(TAKEN_OVER);
    }

    /// Has a new process started that does not take over; what the command line says of it.
    fn upgrade_in_vain(&mut self) -> String {
        let output = run(&["upgrade", "--config", self.file()]);
        assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
        let _ = self.process.wait_for(GOES_ON);
        stderr(&output)
    }

    fn metric(&self, series: &str) -> u64 {
        let url = format!("http://{}/metrics", self.admin);
        Metrics::parse(&client().get(url).fetch().text()).value(series)
    }

    fn wait_until_served_by(&self, generation: u64) {
        eventually("the new process answers the admin listener", || {
            (self.metric("gateway_generation") == generation).then_some(())
        });
    }

    /// Ends whichever process serves now; the access log of all of them.
    fn end(mut self) -> Vec<Value> {
        self.signal(Signal::SIGTERM);
        self.followers.clear();
        let process = std::mem::replace(&mut self.process, Process::start(&["--version"]));
        let (_, log) = process.ended();
        let lines = log.lines().map(serde_json::from_str);
        lines.map(|line| line.expect("JSON")).collect()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if let Some(last) = self.followers.last() {
            // Only after a test has failed.
            let _ = kill(Pid::from_raw(*last), Signal::SIGKILL);
        }
    }
}

fn write_file(file: &std::path::Path, directory: &TempDir, backend: SocketAddr, more: &str) {
    let listeners = if more.contains("listeners:") {
        ""
    } else {
        "listeners: [{address: \"127.0.0.1:0\"}]\n"
    };
    let timeout = if more.contains("upgrade_in_1s") {
        ", timeout: 1s"
    } else {
        ""
    };
    let socket = directory.path().join("upgrade.sock");
    let routes = ONE_ROUTE.replace("${BACKEND}", &backend.to_string());
    let text = format!(
        "version: 1\nworkers: 2\n{listeners}admin: {{address: \"127.0.0.1:0\"}}\n\
         shutdown: {{lame_duck: 1s, drain: 20s}}\n\
         upgrade: {{socket: \"{}\"{timeout}}}\n{more}{routes}",
        socket.display()
    );
    std::fs::write(file, text).expect("a file can be written");
}

/// Clients without a pause: some open a connection for each request, some keep theirs.
struct Load {
    is_over: Arc<AtomicBool>,
    good: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    const CLIENTS: usize = 3;

    fn start(address: SocketAddr) -> Self {
        let is_over = Arc::<AtomicBool>::default();
        let good = Arc::<AtomicUsize>::default();
        let clients = (0..2 * Self::CLIENTS).map(|index| {
            let (is_over, good) = (Arc::clone(&is_over), Arc::clone(&good));
            let keeps = index % 2 == 0;
            std::thread::spawn(move || {
                let mut failed = Vec::new();
                let mut kept = None;
                while !is_over.load(Ordering::SeqCst) {
                    match request(address, kept.take(), keeps) {
                        Ok(wire) => {
                            kept = wire;
                            good.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(error) => failed.push(error),
                    }
                }
                failed
            })
        });
        Self {
            clients: clients.collect(),
            is_over,
            good,
        }
    }

    fn good(&self) -> usize {
        self.good.load(Ordering::SeqCst)
    }

    /// Waits until this many more requests were good.
    fn go_on_for(&self, count: usize) {
        let enough = self.good() + count;
        eventually("requests are served", || {
            (self.good() >= enough).then_some(())
        });
    }

    /// All failures.
    fn end(self) -> Vec<String> {
        self.is_over.store(true, Ordering::SeqCst);
        let clients = self.clients.into_iter();
        let failed = clients.map(|client| client.join().expect("it ends"));
        failed.flatten().collect()
    }
}

/// One request; the connection, where it can be kept.
fn request(address: SocketAddr, kept: Option<Wire>, keeps: bool) -> Result<Option<Wire>, String> {
    let is_reused = kept.is_some();
    let mut wire = match kept {
        Some(wire) => wire,
        None => Wire::try_connect(address)?,
    };
    let end = if keeps { "" } else { "connection: close\r\n" };
    if !wire.try_send(format!("GET / HTTP/1.1\r\nhost: a\r\n{end}\r\n")) {
        return Err(format!("cannot write; reused: {is_reused}"));
    }
    let answer = wire
        .try_receive()
        .map_err(|error| format!("{error}; reused: {is_reused}"))?;
    if answer.status != 200 {
        return Err(format!("{} {}", answer.status, answer.text()));
    }
    Ok((keeps && !answer.says_close()).then_some(wire))
}

#[test]
fn several_upgrades_in_a_row_cost_no_request() {
    let backend = Backend::replying("ok");
    let mut line = Line::start(&backend);
    let load = Load::start(line.address);
    load.go_on_for(100);
    for round in 1..=4 {
        if round % 2 == 0 {
            line.upgrade_by_signal();
        } else {
            line.upgrade_by_command();
        }
        load.go_on_for(200);
        line.wait_until_served_by(round);
    }
    let good = load.good();
    let failed = load.end();
    assert!(failed.is_empty(), "{} of {good}: {failed:?}", failed.len());
    let lines = line.end();
    assert!(lines.len() >= good, "{} lines of {good}", lines.len());
    let reasons: Vec<_> = lines
        .iter()
        .filter(|line| !line["reason"].is_null())
        .collect();
    assert!(reasons.is_empty(), "{reasons:?}");
}

#[test]
fn what_is_under_way_ends_in_the_old_process_and_idle_connections_have_one_more_request() {
    let gate = Gate::closed();
    let backend = {
        let gate = gate.clone();
        Backend::answering(move |request| {
            let gate = gate.clone();
            async move {
                if request.uri().path() == "/slow" {
                    gate.pass().await;
                }
                http::Response::new(full("done"))
            }
        })
    };
    let mut line = Line::start(&backend);
    let mut slow = Wire::connect(line.address);
    slow.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut idle = Wire::connect(line.address);
    idle.send("GET /first HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(!idle.receive().says_close());
    let mut silent = Wire::connect(line.address);
    eventually("it is under way", || {
        (backend.in_flight() == 1).then_some(())
    });
    eventually("all are accepted", || {
        (line.metric("gateway_connections") == 3).then_some(())
    });

    line.upgrade_by_signal();
    idle.send("GET /second HTTP/1.1\r\nhost: a\r\n\r\n");
    let answer = idle.last_answer();
    assert_eq!((answer.status, answer.says_close()), (200, true));
    assert!(silent.rest().is_empty(), "a silent one is closed in order");
    drop(silent);
    let mut new = Wire::connect(line.address);
    new.send("GET /new HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(!new.receive().says_close());
    gate.open();
    let answer = slow.last_answer();
    assert_eq!((answer.status, &*answer.text()), (200, "done"));
    let _ = line.process.wait_for("gone");
    drop((slow, idle, new));
    let mut paths: Vec<String> = line
        .end()
        .iter()
        .map(|line| line["path"].as_str().expect("text").to_owned())
        .collect();
    paths.sort();
    assert_eq!(paths, ["/first", "/new", "/second", "/slow"]);
}

#[test]
fn a_new_process_that_cannot_start_changes_nothing() {
    let backend = Backend::replying("ok");
    let mut line = Line::start(&backend);
    let load = Load::start(line.address);
    load.go_on_for(50);
    let taken = TcpListener::bind("127.0.0.1:0").expect("port 0 is free");
    let address = taken.local_addr().expect("bound");
    line.add(&format!(
        "listeners: [{{address: \"127.0.0.1:0\"}}, {{address: \"{address}\"}}]\n"
    ));
    let text = line.upgrade_in_vain();
    assert!(text.contains("ended before it took over"), "{text}");
    assert_eq!(line.metric("gateway_upgrade_failures_total"), 1);
    load.go_on_for(50);

    line.add("");
    line.upgrade_by_command();
    line.wait_until_served_by(1);
    load.go_on_for(50);
    let failed = load.end();
    assert!(failed.is_empty(), "{failed:?}");
    line.end();
}

#[test]
fn a_new_process_that_is_never_ready_or_is_killed_changes_nothing() {
    let backend = Backend::replying("ok");
    let mut line = Line::start(&backend);
    // Accepts nothing, so that no key ever comes.
    let mute = TcpListener::bind("127.0.0.1:0").expect("port 0 is free");
    let provider = format!(
        "jwt_providers: {{mute: {{issuer: a, audiences: [b], algorithms: [RS256], \
         jwks_uri: \"http://{}/\"}}}}\n",
        mute.local_addr().expect("bound")
    );
    let load = Load::start(line.address);
    load.go_on_for(50);
    line.add(&format!("# upgrade_in_1s\n{provider}"));
    let text = line.upgrade_in_vain();
    assert!(text.contains("ended before it took over"), "{text}");
    load.go_on_for(50);

    line.add(&provider);
    line.signal(Signal::SIGUSR2);
    line.wait_for_start();
    let _ = line.process.wait_for("a new process wants to take over");
    // A second one is not started meanwhile.
    let output = run(&["upgrade", "--config", line.file()]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains("another upgrade is under way"), "{text}");
    line.signal(Signal::SIGKILL);
    line.followers.clear();
    let _ = line.process.wait_for(GOES_ON);
    load.go_on_for(50);
    assert_eq!(line.metric("gateway_upgrade_failures_total"), 2);
    assert_eq!(line.metric("gateway_generation"), 0);
    let failed = load.end();
    assert!(failed.is_empty(), "{failed:?}");
    line.end();
}

#[test]
fn a_new_process_serves_when_the_old_one_leaves_before_it_is_ready() {
    let backend = Backend::replying("ok");
    let mut line = Line::start(&backend);
    let mute = TcpListener::bind("127.0.0.1:0").expect("port 0 is free");
    line.add(&format!(
        "jwt_providers: {{mute: {{issuer: a, audiences: [b], algorithms: [RS256], \
         jwks_uri: \"http://{}/\"}}}}\n",
        mute.local_addr().expect("bound")
    ));
    let load = Load::start(line.address);
    load.go_on_for(50);
    line.signal(Signal::SIGUSR2);
    line.wait_for_start();
    let _ = line.process.wait_for("a new process wants to take over");
    load.go_on_for(50);
    line.process.signal(Signal::SIGTERM);
    let _ = line
        .process
        .wait_for("the old process has left before this one was ready");
    load.go_on_for(50);
    let failed = load.end();
    assert!(failed.is_empty(), "{failed:?}");
    line.end();
}

#[test]
fn addresses_may_come_and_go() {
    let backend = Backend::replying("ok");
    let mut line = Line::start(&backend);
    let free = TcpListener::bind("127.0.0.1:0").expect("port 0 is free");
    let added = free.local_addr().expect("bound");
    drop(free);
    let old = line.address;
    line.add(&format!("listeners: [{{address: \"{added}\"}}]\n"));
    line.upgrade_by_command();
    request(added, None, false).expect("the new address is served");
    eventually("the old address is closed", || {
        TcpStream::connect(old).is_err().then_some(())
    });
    // Named by its port now, it is the same socket all the same.
    line.add(&format!(
        "listeners: [{{address: \"127.0.0.1:0\"}}, {{address: \"{added}\"}}]\n"
    ));
    let load = Load::start(added);
    line.upgrade_by_signal();
    load.go_on_for(50);
    let failed = load.end();
    assert!(failed.is_empty(), "{failed:?}");
    line.end();
}

#[test]
fn whom_to_take_over_from_must_be_there() {
    let backend = Backend::replying("ok");
    let directory = tempfile::tempdir().expect("a directory can be made");
    let file = directory.path().join("routes.yaml");
    write_file(&file, &directory, backend.address(), "");
    let path = file.to_str().expect("text");
    for arguments in [
        ["run", "--upgrade", "--config", path].as_slice(),
        &["upgrade", "--config", path],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let text = stderr(&output);
        assert!(text.contains("no gateway is running at"), "{text}");
    }
    let text = std::fs::read_to_string(&file).expect("it is there");
    let without: Vec<_> = text
        .lines()
        .filter(|it| !it.starts_with("upgrade:"))
        .collect();
    std::fs::write(&file, without.join("\n")).expect("a file can be written");
    for arguments in [
        ["run", "--upgrade", "--config", path].as_slice(),
        &["upgrade", "--config", path],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let text = stderr(&output);
        assert!(text.contains("section `upgrade`"), "{text}");
    }
}

//! Connections that wait: they cost little, lose nothing, and end in order.

use std::time::{Duration, Instant};

use mesh::shutdown::Signal;
use nix::sys::signal;
use tempfile::TempDir;

use crate::support::backend::Backend;
use crate::support::eventually;
use crate::support::gateway::{ONE_ROUTE, TestGateway};
use crate::support::process::Process;
use crate::support::wire::Wire;

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const RESTING: &str = "gateway_connections_resting";

/// A connection that has been served once, and rests.
fn rested(gateway: &TestGateway) -> Wire {
    let mut wire = gateway.wire();
    wire.send(GET);
    assert_eq!(wire.receive().status, 200);
    gateway.wait_for_metric(RESTING, 1);
    wire
}

#[test]
fn a_connection_that_rested_goes_on_as_if_it_had_not() {
    let backend = Backend::echo();
    let limits = "limits: {requests_per_connection: 4}";
    let gateway = TestGateway::with(limits, &backend);
    let mut wire = rested(&gateway);
    // All that can come at once: requests behind each other, a body in pieces, part of a head.
    wire.send(format!(
        "{GET}POST /sized HTTP/1.1\r\nhost: a\r\ncontent-length: 8\r\n\r\nfour"
    ));
    assert_eq!(wire.receive().json()["method"], "GET");
    wire.send("five");
    let answer = wire.receive();
    assert_eq!(answer.json()["body"], "fourfive");
    assert!(!answer.says_close());
    gateway.wait_for_metric(RESTING, 1);
    wire.send("GET /last HTTP/1.1\r\nho");
    gateway.wait_for_metric(RESTING, 0);
    wire.send("st: a\r\n\r\n");
    let last = wire.last_answer();
    assert_eq!(last.json()["target"], "/last");
    assert!(last.says_close(), "requests are counted through a rest");
    assert_eq!((backend.connections(), backend.requests()), (1, 4));
    assert_eq!(gateway.access_lines(4).len(), 4);
}

#[test]
fn what_is_refused_after_a_rest_is_answered_in_its_turn() {
    let backend = Backend::replying("ok");
    let gateway = TestGateway::in_front_of(&backend);
    let mut wire = rested(&gateway);
    wire.send(format!("{GET}GET / HTTP/1.1\nhost: a\r\n\r\n"));
    let answers = wire.all_answers();
    assert_eq!((answers[0].status, answers[1].status), (200, 400));
    assert_eq!(answers[1].reason(), "request_line_malformed");
}

#[test]
fn a_part_of_a_head_ends_a_rest_and_has_the_time_of_a_head() {
    let backend = Backend::replying("ok");
    let gateway = TestGateway::with("limits: {head_timeout: 300ms}", &backend);
    for mut wire in [rested(&gateway), gateway.wire()] {
        wire.send("GET / HTTP/1.1\r\nho");
        let answer = wire.last_answer();
        assert_eq!(
            (answer.status, &*answer.reason()),
            (408, "request_head_timeout")
        );
    }
}

#[test]
fn a_rest_ends_with_the_idle_timeout() {
    let backend = Backend::replying("ok");
    let gateway = TestGateway::with("limits: {idle_timeout: 3s}", &backend);
    let mut silent = gateway.wire();
    gateway.wait_for_metric(RESTING, 1);
    let mut served = gateway.wire();
    served.send(GET);
    assert_eq!(served.receive().status, 200);
    let began = Instant::now();
    assert!(silent.rest().is_empty());
    assert!(served.rest().is_empty());
    // It is the answer that the time is counted from, not the beginning of the rest.
    let idled = began.elapsed();
    let bounds = Duration::from_millis(2_800)..Duration::from_millis(4_800);
    assert!(bounds.contains(&idled), "{idled:?}");
    gateway.wait_for_metric("gateway_connections", 0);
    gateway.wait_for_metric(RESTING, 0);
}

#[test]
fn a_client_that_closes_while_its_connection_rests_leaves_nothing() {
    let backend = Backend::replying("ok");
    let gateway = TestGateway::in_front_of(&backend);
    let wire = rested(&gateway);
    let silent = gateway.wire();
    gateway.wait_for_metric(RESTING, 2);
    drop((wire, silent));
    gateway.wait_for_metric("gateway_connections", 0);
    gateway.wait_for_metric(RESTING, 0);
}

#[test]
fn resting_connections_end_as_the_gateway_leaves() {
    let backend = Backend::replying("ok");
    let gateway = TestGateway::with("shutdown: {lame_duck: 0s, drain: 60s}", &backend);
    let mut wires = [rested(&gateway), gateway.wire()];
    gateway.wait_for_metric(RESTING, 2);
    let began = Instant::now();
    gateway.stop(Signal::Terminate);
    gateway.join();
    let left = began.elapsed();
    assert!(left < Duration::from_secs(5), "{left:?}");
    for wire in &mut wires {
        assert!(wire.rest().is_empty(), "it is closed in order");
    }
}

#[test]
fn a_request_that_crosses_the_end_of_a_rest_is_served() {
    let backend = Backend::replying("ok");
    let gateway = TestGateway::with("shutdown: {lame_duck: 500ms, drain: 60s}", &backend);
    let mut wire = rested(&gateway);
    gateway.stop(Signal::Terminate);
    eventually("it leaves", || {
        (gateway.admin("/readyz").status() == 503).then_some(())
    });
    wire.send(GET);
    let answer = wire.last_answer();
    assert_eq!((answer.status, answer.says_close()), (200, true));
}

/// Connections of each kind whose memory is measured.
const MEASURED: usize = 1_000;
/// Connections before those.
const WARMING: usize = 10;
/// Bytes of the process's memory that one may cost: what was promised is 4 KiB.
const BYTES_MAX: u64 = 4 << 10;

/// A gateway in a process of its own, whose memory is nobody else's.
struct Measured {
    process: Process,
    address: String,
    admin: String,
    _directory: TempDir,
}

impl Measured {
    fn start(backend: &Backend) -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let path = directory.path().join("routes.yaml");
        let routes = ONE_ROUTE.replace("${BACKEND}", &backend.address().to_string());
        let yaml = format!(
            "version: 1\nworkers: 1\nlisteners: [{{address: \"127.0.0.1:0\"}}]\n\
             admin: {{address: \"127.0.0.1:0\"}}\nshutdown: {{lame_duck: 0s}}\n\
             access_log: {{output: /dev/null}}\n{routes}"
        );
        std::fs::write(&path, yaml).expect("a file can be written");
        let process = Process::start(&["run", "--config", path.to_str().expect("text")]);
        let line = process.wait_for("listening");
        let text = |name: &str| line[name].as_str().expect("an address").to_owned();
        Self {
            address: text("address"),
            admin: text("admin"),
            process,
            _directory: directory,
        }
    }

    fn connect(&self, count: usize) -> Vec<Wire> {
        let address = self.address.parse().expect("an address");
        (0..count).map(|_| Wire::connect(address)).collect()
    }

    fn wait_for_resting(&self, count: usize) {
        let url = format!("http://{}/metrics", self.admin);
        let line = format!("{RESTING} {count}\n");
        eventually(&format!("{count} rest"), || {
            use crate::support::http_client::{Fetch as _, client};
            let text = client().get(&url).fetch().text();
            text.contains(&line).then_some(())
        });
    }

    /// The allocator gives pages back over some seconds.
    fn wait_for_memory(&self, before: u64, connections: usize) {
        let most = before + BYTES_MAX * connections as u64;
        eventually(
            &format!("{connections} take {BYTES_MAX} bytes each"),
            || (self.resident_bytes() <= most).then_some(()),
        );
    }

    fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.process.id());
        let status = std::fs::read_to_string(path).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kibibytes = line.and_then(|line| line.split_whitespace().nth(1));
        let kibibytes: u64 = kibibytes.expect("a size").parse().expect("a number");
        kibibytes << 10
    }
}

#[test]
fn an_idle_connection_costs_four_kibibytes_at_most() {
    let backend = Backend::replying("ok");
    let gateway = Measured::start(&backend);
    let serve = |wire: &mut Wire| {
        wire.send(GET);
        assert_eq!(wire.receive().status, 200);
    };
    // What the first requests bring is not theirs.
    let mut first = gateway.connect(WARMING);
    first.iter_mut().for_each(serve);
    drop(first);
    gateway.wait_for_resting(0);
    let before = gateway.resident_bytes();
    let silent = gateway.connect(MEASURED);
    gateway.wait_for_resting(MEASURED);
    gateway.wait_for_memory(before, MEASURED);
    let mut served = gateway.connect(MEASURED);
    served.iter_mut().for_each(serve);
    gateway.wait_for_resting(2 * MEASURED);
    gateway.wait_for_memory(before, 2 * MEASURED);
    drop((silent, served));
    gateway.process.signal(signal::Signal::SIGTERM);
    assert_eq!(gateway.process.ended().0, Some(0));
}

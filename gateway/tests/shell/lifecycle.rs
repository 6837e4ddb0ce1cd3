//! Leaving: nothing that was accepted is lost, nothing new is taken, and it ends in time.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use http::Response;
use mesh::shutdown::Signal;

use crate::support::backend::{Backend, Gate, full};
use crate::support::eventually;
use crate::support::gateway::TestGateway;

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

/// Answers at once, but for `/slow`, which waits for the gate.
fn backend(gate: &Gate) -> Backend {
    let gate = gate.clone();
    Backend::answering(move |request| {
        let gate = gate.clone();
        async move {
            if request.uri().path() == "/slow" {
                gate.pass().await;
            }
            Response::new(full("done"))
        }
    })
}

fn refuses(gateway: &TestGateway) -> bool {
    TcpStream::connect(gateway.address()).is_err()
}

/// Waits for the process to leave; how long that took.
fn time_to_leave(gateway: TestGateway) -> Duration {
    let began = Instant::now();
    gateway.join();
    began.elapsed()
}

#[test]
fn on_sigterm_what_is_under_way_ends_and_nothing_new_is_taken() {
    let gate = Gate::closed();
    let backend = backend(&gate);
    let gateway = TestGateway::with("shutdown: {lame_duck: 1s, drain: 60s}", &backend);
    let mut idle = gateway.wire();
    idle.send(GET);
    assert!(!idle.receive().says_close());
    let mut slow = gateway.wire();
    slow.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n");
    eventually("it is under way", || {
        (backend.in_flight() == 1).then_some(())
    });

    gateway.stop(Signal::Terminate);
    let ready = eventually("readiness fails at once", || {
        let ready = gateway.admin("/readyz");
        (ready.status() == 503).then_some(ready)
    });
    assert_eq!(ready.json()["waiting_for"][0], "leaving");
    assert_eq!(gateway.admin("/healthz").status(), 200);

    // The lame-duck time: others have yet to notice.
    let mut late = gateway.wire();
    late.send(GET);
    let answer = late.last_answer();
    assert_eq!((answer.status, answer.says_close()), (200, true));

    eventually("new connections are refused", || {
        refuses(&gateway).then_some(())
    });
    assert!(idle.rest().is_empty(), "idle ones are closed in order");
    gate.open();
    let answer = slow.last_answer();
    assert_eq!((answer.status, &*answer.text()), (200, "done"));
    assert!(answer.says_close());
    let left = time_to_leave(gateway);
    assert!(left < Duration::from_secs(10), "{left:?}");
}

#[test]
fn an_idle_gateway_leaves_as_soon_as_the_lame_duck_time_is_over() {
    let backend = Backend::replying("ok");
    let gateway = TestGateway::with("shutdown: {lame_duck: 100ms, drain: 60s}", &backend);
    let mut idle = [gateway.wire(), gateway.wire()];
    idle[0].send(GET);
    assert_eq!(idle[0].receive().status, 200);
    gateway.stop(Signal::Terminate);
    let left = time_to_leave(gateway);
    assert!(left >= Duration::from_millis(100), "{left:?}");
    assert!(left < Duration::from_secs(5), "{left:?}");
    for wire in &mut idle {
        assert!(wire.rest().is_empty());
    }
}

#[test]
fn a_request_that_hangs_does_not_outlive_the_drain() {
    let gate = Gate::closed();
    let backend = backend(&gate);
    let gateway = TestGateway::with("shutdown: {lame_duck: 0s, drain: 300ms}", &backend);
    let log = gateway.access_log().to_owned();
    let mut slow = gateway.wire();
    slow.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n");
    eventually("it is under way", || {
        (backend.in_flight() == 1).then_some(())
    });
    // The file goes with the gateway; this name stays.
    let kept = tempfile::tempdir().expect("a directory can be made");
    let kept = kept.path().join("access.log");
    std::fs::hard_link(log, &kept).expect("a second name");
    gateway.stop(Signal::Terminate);
    let left = time_to_leave(gateway);
    assert!(
        (Duration::from_millis(300)..Duration::from_secs(5)).contains(&left),
        "{left:?}"
    );
    assert!(slow.try_rest().unwrap_or_default().is_empty());
    let log = std::fs::read_to_string(kept).expect("a log");
    assert!(
        log.contains("\"path\":\"/slow\"") && log.contains("\"reason\":\"gateway_leaving\""),
        "even this one has its line, and it is nobody else's fault: {log}"
    );
}

#[test]
fn a_person_at_a_terminal_waits_for_requests_but_not_for_load_balancers() {
    let gate = Gate::closed();
    let backend = backend(&gate);
    let gateway = TestGateway::with("shutdown: {lame_duck: 60s, drain: 50s}", &backend);
    let mut slow = gateway.wire();
    slow.send("GET /slow HTTP/1.1\r\nhost: a\r\n\r\n");
    eventually("it is under way", || {
        (backend.in_flight() == 1).then_some(())
    });
    gateway.stop(Signal::Interrupt);
    eventually("new connections are refused", || {
        refuses(&gateway).then_some(())
    });
    gate.open();
    assert_eq!(slow.last_answer().status, 200);
    let left = time_to_leave(gateway);
    assert!(left < Duration::from_secs(10), "{left:?}");
}

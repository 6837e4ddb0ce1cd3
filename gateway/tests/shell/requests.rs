//! What the gateway makes of a request before any route sees it.

use std::time::{Duration, Instant};

use crate::support::backend::Step::{AwaitClose, ReadUntil};
use crate::support::backend::{Backend, echoed};
use crate::support::eventually;
use crate::support::gateway::TestGateway;
use crate::support::http_client::Fetch as _;

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

#[test]
fn a_request_names_exactly_one_valid_host() {
    let backend = Backend::replying("reached");
    let gateway = TestGateway::in_front_of(&backend);
    for head in [
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n",
        "GET / HTTP/1.1\r\nhost:\r\n",
        "GET / HTTP/1.1\r\nhost: a b\r\n",
        "GET / HTTP/1.1\r\nhost: a, b\r\n",
        "GET / HTTP/1.1\r\nhost: user@a\r\n",
        "GET / HTTP/1.1\r\nhost: a/b\r\n",
        "GET / HTTP/1.1\r\nhost: a?b\r\n",
        "GET / HTTP/1.1\r\nhost: a%2eb\r\n",
        "GET / HTTP/1.1\r\nhost: a:b\r\n",
        "GET / HTTP/1.1\r\nhost: a:99999\r\n",
        "GET / HTTP/1.1\r\nhost: [::1\r\n",
        "GET / HTTP/1.0\r\nhost: a\r\nhost: b\r\n",
        "GET http://a/ HTTP/1.1\r\n",
        "GET http://user:password@a/ HTTP/1.1\r\nhost: a\r\n",
        "OPTIONS * HTTP/1.1\r\n",
    ] {
        let mut wire = gateway.wire();
        wire.send(format!("{head}\r\n"));
        let answer = wire.receive();
        assert_eq!(
            (answer.status, &*answer.reason()),
            (400, "host_invalid"),
            "{head}"
        );
    }
    assert_eq!(backend.connections(), 0);
    let mut wire = gateway.wire();
    wire.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(
        wire.last_answer().text(),
        "reached",
        "HTTP/1.0 may name none"
    );
}

#[test]
fn the_target_of_the_absolute_form_replaces_the_host() {
    let backend = Backend::echo();
    let gateway = TestGateway::in_front_of(&backend);
    let mut wire = gateway.wire();
    wire.send("GET http://real.example:81/a?b HTTP/1.1\r\nhost: other.example\r\n\r\n");
    let echo = wire.receive().json();
    assert_eq!(echo["target"], "/a?b");
    assert_eq!(echoed(&echo, "host"), ["real.example:81"]);
}

#[test]
fn the_server_itself_can_be_asked_whether_it_is_there() {
    let backend = Backend::replying("reached");
    let gateway = TestGateway::in_front_of(&backend);
    let mut wire = gateway.wire();
    for _ in 0..2 {
        wire.send("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n");
        let answer = wire.receive();
        assert_eq!(
            (answer.status, answer.header("content-length")),
            (204, None)
        );
    }
    assert_eq!(backend.connections(), 0);
}

#[test]
fn methods_that_make_a_tunnel_or_an_echo_are_never_served() {
    let backend = Backend::replying("reached");
    let gateway = TestGateway::in_front_of(&backend);
    for head in [
        "TRACE / HTTP/1.1",
        "CONNECT / HTTP/1.1",
        "CONNECT a:443 HTTP/1.1",
    ] {
        let mut wire = gateway.wire();
        wire.send(format!("{head}\r\nhost: a\r\n\r\n"));
        let answer = wire.receive();
        assert_eq!(
            (answer.status, &*answer.reason()),
            (501, "method_not_supported"),
            "{head}"
        );
    }
    assert_eq!(backend.connections(), 0);
}

#[test]
fn a_client_that_waits_is_told_to_go_on_once_its_body_is_wanted() {
    let backend = Backend::echo();
    let gateway = TestGateway::with("defaults: {max_request_body: 10B}", &backend);
    let ask = |length: usize, expect: &str| {
        format!(
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\nexpect: {expect}\r\n\r\n"
        )
    };

    let mut wire = gateway.wire();
    wire.send(ask(4, "100-Continue"));
    assert_eq!(wire.receive().status, 100);
    wire.send("body");
    let echo = wire.receive().json();
    assert_eq!(echo["body"], "body");
    assert!(echoed(&echo, "expect").is_empty());

    let mut wire = gateway.wire();
    wire.send(ask(11, "100-continue"));
    let answer = wire.last_answer();
    assert_eq!(
        (answer.status, &*answer.reason()),
        (413, "body_too_large"),
        "unasked for"
    );

    for expect in [
        "200-ok",
        "100-continue, 200-ok",
        "100-continue\r\nexpect: 200-ok",
    ] {
        let mut wire = gateway.wire();
        wire.send(ask(4, expect));
        let answer = wire.last_answer();
        assert_eq!(
            (answer.status, &*answer.reason()),
            (417, "expectation_failed"),
            "{expect}"
        );
    }
    assert_eq!(backend.requests(), 1);
}

#[test]
fn an_upgrade_is_neither_forwarded_nor_answered() {
    let backend = Backend::echo();
    let gateway = TestGateway::in_front_of(&backend);
    for offer in [
        "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n",
        "connection: keep-alive, Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: x\r\n",
        // Not even by those who do not name it.
        "upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n",
    ] {
        let mut wire = gateway.wire();
        wire.send(format!("GET / HTTP/1.1\r\nhost: a\r\n{offer}\r\n"));
        let answer = wire.receive();
        assert_eq!(answer.status, 200, "{offer}");
        let echo = answer.json();
        for name in ["connection", "upgrade", "http2-settings"] {
            assert!(echoed(&echo, name).is_empty(), "{offer}: {echo}");
        }
    }
}

#[test]
fn a_path_that_upstreams_read_differently_is_refused_and_the_connection_goes_on() {
    let backend = Backend::echo();
    let gateway = TestGateway::in_front_of(&backend);
    let mut wire = gateway.wire();
    for path in [
        "/a/../b",
        "/a//b",
        "/a%2fb",
        "/a%00",
        "/%2e%2e/a",
        "/a/..;/b",
    ] {
        wire.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
        let answer = wire.receive();
        assert_eq!(
            (answer.status, &*answer.reason()),
            (400, "path_invalid"),
            "{path}"
        );
    }
    assert_eq!(backend.connections(), 0);
    wire.send("GET /%75sers?%75=/../ HTTP/1.1\r\nhost: a\r\n\r\n");
    assert_eq!(wire.receive().json()["target"], "/users?%75=/../");
}

#[test]
fn a_slow_head_is_refused_however_it_trickles() {
    let backend = Backend::replying("reached");
    let gateway = TestGateway::with("limits: {head_timeout: 150ms, idle_timeout: 10s}", &backend);
    let mut wire = gateway.wire();
    let mut trickle = wire.twin();
    let began = Instant::now();
    let trickling = std::thread::spawn(move || {
        let mut bytes = b"GET / HTTP/1.1\r\nhost: a\r\nx: "
            .iter()
            .chain(std::iter::repeat(&b'y'));
        // Until the gateway has had enough.
        while trickle.try_send([*bytes.next().expect("without end")]) {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    let answer = wire.receive();
    assert_eq!(
        (answer.status, &*answer.reason()),
        (408, "request_head_timeout")
    );
    assert!(answer.says_close());
    assert!(
        began.elapsed() >= Duration::from_millis(150),
        "{:?}",
        began.elapsed()
    );
    drop(wire);
    trickling.join().expect("the writer ends");
    assert_eq!(backend.connections(), 0);
}

#[test]
fn a_slow_head_behind_an_answered_request_is_refused_too() {
    let backend = Backend::replying("reached");
    let gateway = TestGateway::with("limits: {head_timeout: 150ms, idle_timeout: 10s}", &backend);
    let mut wire = gateway.wire();
    let began = Instant::now();
    wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nho");
    assert_eq!(wire.receive().text(), "reached");
    let answer = wire.last_answer();
    assert_eq!(
        (answer.status, &*answer.reason()),
        (408, "request_head_timeout")
    );
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
}

#[test]
fn an_idle_connection_closes_without_a_word() {
    let backend = Backend::replying("reached");
    let gateway = TestGateway::with("limits: {idle_timeout: 100ms}", &backend);
    let mut wire = gateway.wire();
    assert!(wire.rest().is_empty(), "before its first request");
    let mut wire = gateway.wire();
    wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let answer = wire.receive();
    assert_eq!(answer.text(), "reached");
    assert!(!answer.says_close());
    assert!(wire.rest().is_empty(), "after one");
}

#[test]
fn a_body_that_stalls_is_refused() {
    let backend = Backend::echo();
    let gateway = TestGateway::with("limits: {body_timeout: 150ms}", &backend);
    for body in [
        "content-length: 10\r\n\r\nhalf",
        "content-length: 10\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let mut wire = gateway.wire();
        wire.send(format!("POST / HTTP/1.1\r\nhost: a\r\n{body}"));
        let answer = wire.last_answer();
        assert_eq!(
            (answer.status, &*answer.reason()),
            (408, "request_body_timeout"),
            "{body}"
        );
        assert!(answer.says_close(), "{body}");
    }
}

#[test]
fn a_body_beyond_the_routes_bound_is_refused() {
    let backend = Backend::echo();
    let gateway = TestGateway::with("defaults: {max_request_body: 10B}", &backend);
    let post = |body: &str| format!("POST / HTTP/1.1\r\nhost: a\r\n{body}");

    let mut wire = gateway.wire();
    wire.send(post("content-length: 11\r\n\r\nhello world"));
    let answer = wire.last_answer();
    assert_eq!((answer.status, &*answer.reason()), (413, "body_too_large"));
    assert!(answer.says_close());
    assert_eq!(backend.connections(), 0, "the head says enough");

    for body in [
        "transfer-encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n",
    ] {
        let mut wire = gateway.wire();
        wire.send(post(body));
        let answer = wire.last_answer();
        assert_eq!(
            (answer.status, &*answer.reason()),
            (413, "body_too_large"),
            "{body}"
        );
    }

    for body in [
        "content-length: 10\r\n\r\nhelloworld",
        "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n",
    ] {
        let mut wire = gateway.wire();
        wire.send(post(body));
        assert_eq!(wire.receive().json()["body"], "helloworld", "{body}");
    }
}

#[test]
fn a_client_that_goes_away_takes_its_request_with_it() {
    let backend = Backend::answering(|_request| std::future::pending());
    let gateway = TestGateway::in_front_of(&backend);
    let mut wire = gateway.wire();
    wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    gateway.wait_for_metric("gateway_requests_in_flight", 1);
    drop(wire);
    gateway.wait_for_metric("gateway_requests_in_flight", 0);
    let line = gateway.access_lines(1).remove(0);
    assert_eq!(
        (line["status"].as_u64(), line["reason"].as_str()),
        (Some(499), Some("client_closed"))
    );
    eventually("the upstream is told", || {
        (backend.in_flight() == 0).then_some(())
    });
}

#[test]
fn an_upload_that_breaks_off_is_never_made_to_look_whole() {
    for head in [
        "content-length: 10\r\n\r\nhalf",
        "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
    ] {
        let backend = Backend::scripted([ReadUntil("half"), AwaitClose]);
        let gateway = TestGateway::in_front_of(&backend);
        let mut wire = gateway.wire();
        wire.send(format!("POST / HTTP/1.1\r\nhost: a\r\n{head}"));
        eventually("it is on its way", || {
            backend.received().contains("half").then_some(())
        });
        drop(wire);
        gateway.wait_for_metric("gateway_requests_in_flight", 0);
        let line = gateway.access_lines(1).remove(0);
        assert_eq!(
            (&line["status"], &line["reason"]),
            (&499.into(), &"client_closed".into())
        );
        assert!(
            !backend.received().contains("\r\n0\r\n"),
            "{}",
            backend.received()
        );
        assert_eq!(backend.connections(), 1, "it is not sent again");
    }
}

#[test]
fn a_request_of_http_1_0_without_a_host_gets_one_for_the_upstream() {
    let backend = Backend::echo();
    let gateway = TestGateway::in_front_of(&backend);
    let mut wire = gateway.wire();
    wire.send("GET / HTTP/1.0\r\n\r\n");
    // RFC 9112 section 3.2: what speaks HTTP/1.1 must send one.
    assert_eq!(
        echoed(&wire.last_answer().json(), "host"),
        [backend.address().to_string()]
    );
}

#[test]
fn answers_of_the_gateways_own_leave_the_connection_in_step() {
    let gateway = TestGateway::start(
        "routes: [{name: fixed, match: {path: /}, auth: none, respond: {status: 200, body: fixed}}]",
        &[],
    );
    for (path, status) in [("/", 200), ("/missing", 404)] {
        let mut wire = gateway.wire();
        wire.send(format!("HEAD {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
        let head = wire.receive_head();
        assert_eq!(head.status, status);
        wire.send(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n"));
        let answer = wire.receive();
        assert_eq!(answer.status, status);
        assert_eq!(
            head.header("content-length"),
            answer.header("content-length")
        );
        wire.send(format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody"
        ));
        let last = wire.receive();
        assert_eq!(
            (last.status, last.says_close()),
            (status, true),
            "its body is not read"
        );
    }
}

#[test]
fn a_body_that_nobody_reads_is_never_taken_for_a_request() {
    let backend = Backend::replying("reached");
    let gateway = TestGateway::in_front_of(&backend);
    for is_in_one_piece in [true, false] {
        let mut wire = gateway.wire();
        let head = format!(
            "POST /a//b HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n",
            GET.len()
        );
        if is_in_one_piece {
            wire.send(head + GET);
        } else {
            wire.send(head);
            wire.send(GET);
        }
        let answer = wire.receive();
        assert_eq!(answer.reason(), "path_invalid");
        assert!(answer.says_close(), "another request would not be served");
        // The connection is over.
        wire.try_send("GET /a//b HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let rest = String::from_utf8(wire.try_rest().unwrap_or_default()).expect("text");
        assert!(rest.matches("HTTP/1.1 ").count() <= 1, "{rest}");
    }
    assert_eq!(backend.requests(), 0);
}

#[test]
fn a_body_that_nobody_reads_ends_the_connection_after_a_whole_answer() {
    let gateway = TestGateway::start(
        "routes: [{name: fixed, match: {path: /}, auth: none, respond: {status: 200, body: fixed}}]",
        &[],
    );
    let mut wire = gateway.wire();
    let mut writing = wire.twin();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n",
        10_000_000
    );
    let writer = std::thread::spawn(move || {
        writing.send(head);
        (0..1000).all(|_| writing.try_send([b'x'; 10_000]))
    });
    let answer = wire.receive();
    assert_eq!(answer.text(), "fixed");
    assert!(answer.says_close());
    writer.join().expect("the writer ends");
}

#[test]
fn a_method_with_a_body_out_of_custom_keeps_it() {
    let backend = Backend::echo();
    let gateway = TestGateway::in_front_of(&backend);
    for method in ["GET", "DELETE", "OPTIONS", "POST"] {
        for body in [
            "content-length: 4\r\n\r\nbody",
            "transfer-encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        ] {
            let mut wire = gateway.wire();
            wire.send(format!("{method} / HTTP/1.1\r\nhost: a\r\n{body}"));
            let echo = wire.receive().json();
            assert_eq!(
                (&echo["method"], &echo["body"]),
                (&method.into(), &"body".into()),
                "{body}"
            );
        }
    }
}

#[test]
fn routes_are_told_apart_and_missing_ones_are_said() {
    let (users, rest) = (Backend::replying("users"), Backend::replying("rest"));
    let gateway = TestGateway::start(
        r#"
upstreams: {users: {static: ["${USERS}"]}, rest: {static: ["${REST}"]}}
routes:
  - {name: users, match: {path_prefix: /users, methods: [GET]}, auth: none, backends: [{upstream: users}]}
  - {name: rest, match: {path_prefix: /rest, hosts: [rest.example]}, auth: none, backends: [{upstream: rest}]}
  - {name: fixed, match: {path: /fixed}, auth: none, respond: {status: 203, body: "{}", content_type: application/json}}
"#,
        &[("USERS", &users.address()), ("REST", &rest.address())],
    );
    assert_eq!(gateway.get("/users/7").fetch().text(), "users");
    assert_eq!(
        gateway
            .get("/rest")
            .header("host", "rest.example")
            .fetch()
            .text(),
        "rest"
    );

    let fixed = gateway.get("/fixed").fetch();
    assert_eq!((fixed.status(), &*fixed.text()), (203, "{}"));
    assert_eq!(
        fixed.header("content-type").as_deref(),
        Some("application/json")
    );
    assert!(fixed.header("x-request-id").is_some());

    let missing = gateway.get("/elsewhere").fetch();
    assert_eq!((missing.status(), &*missing.reason()), (404, "no_route"));
    assert_eq!(
        gateway.get("/rest").fetch().reason(),
        "no_route",
        "another host"
    );

    let wrong = gateway.post("/users").fetch();
    assert_eq!(
        (wrong.status(), &*wrong.reason()),
        (405, "method_not_allowed")
    );
    assert_eq!(wrong.header("allow").as_deref(), Some("GET, HEAD"));
}

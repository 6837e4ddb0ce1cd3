//! What the gateway makes of an upstream's answer: a valid one goes on whole, an invalid one not
//! at all.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use http_body_util::StreamBody;
use hyper::body::Frame;

use crate::support::backend::Step::{AwaitClose, ReadHead, Reset, Wait, Write};
use crate::support::backend::{Backend, Gate, write};
use crate::support::gateway::TestGateway;
use crate::support::http_client::Fetch as _;
use crate::support::{Refusing, header_lines};

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";

/// An upstream that answers each connection's one request with these bytes, and closes.
fn answering(bytes: impl Into<Bytes>) -> Backend {
    Backend::scripted([ReadHead, Write(bytes.into())])
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn an_answer_that_can_be_read_in_two_ways_is_never_passed_on() {
    let long = "a".repeat(70_000);
    let many = header_lines(101);
    for (name, answer) in [
        (
            "CL and TE",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "two lengths",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc",
        ),
        (
            "equal lengths",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nab",
        ),
        (
            "a list of lengths",
            "HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nab",
        ),
        (
            "a negative length",
            "HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nab",
        ),
        (
            "another coding",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nab",
        ),
        (
            "coded twice",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "TE in HTTP/1.0",
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        ("no status", "HTTP/1.1\r\n\r\n"),
        ("a status of two digits", "HTTP/1.1 20 OK\r\n\r\n"),
        ("a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n"),
        ("a status of letters", "HTTP/1.1 abc OK\r\n\r\n"),
        (
            "a status below all",
            "HTTP/1.1 099 OK\r\ncontent-length: 0\r\n\r\n",
        ),
        ("another version", "HTTP/2.0 200 OK\r\n\r\n"),
        ("lower case", "http/1.1 200 OK\r\n\r\n"),
        ("bare LF", "HTTP/1.1 200 OK\ncontent-length: 0\n\n"),
        (
            "bare LF in a header",
            "HTTP/1.1 200 OK\r\na: b\nc: d\r\ncontent-length: 0\r\n\r\n",
        ),
        (
            "bare CR",
            "HTTP/1.1 200 OK\r\na: b\rc\r\ncontent-length: 0\r\n\r\n",
        ),
        (
            "folding",
            "HTTP/1.1 200 OK\r\na: b\r\n c\r\ncontent-length: 0\r\n\r\n",
        ),
        (
            "NUL",
            "HTTP/1.1 200 OK\r\na: b\0c\r\ncontent-length: 0\r\n\r\n",
        ),
        (
            "space before the colon",
            "HTTP/1.1 200 OK\r\ncontent-length : 0\r\n\r\n",
        ),
        (
            "an empty line first",
            "\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        ),
        ("garbage", "\x15\x03\x01\x00\x02\x02\x0a\r\n\r\n"),
        ("a banner", "SSH-2.0-OpenSSH_9.2p1 Debian\r\n"),
        (
            "a head too large",
            &*format!("HTTP/1.1 200 OK\r\na: {long}\r\n\r\n"),
        ),
        (
            "a head without end",
            &*format!("HTTP/1.1 200 OK\r\na: {long}"),
        ),
        (
            "101 headers",
            &*format!("HTTP/1.1 200 OK\r\n{many}content-length: 0\r\n\r\n"),
        ),
        (
            "101 unasked",
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
        ),
        (
            "an invalid one behind an interim one",
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\na: b\0\r\n\r\n",
        ),
        (
            "a first chunk of garbage",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
        ),
        (
            "more than it said",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nabc\r\n",
        ),
    ] {
        let backend = answering(Bytes::copy_from_slice(answer.as_bytes()));
        let gateway = TestGateway::in_front_of(&backend);
        // Whoever may have carried it out is asked again only if that means the same.
        for (method, requests) in [(Method::POST, 1), (Method::GET, 4)] {
            let reply = gateway.request(method, "/").fetch();
            assert_eq!(
                (reply.status(), &*reply.reason()),
                (502, "upstream_invalid_response"),
                "{name}"
            );
            assert_eq!(backend.requests(), requests, "{name}");
        }
    }
}

#[test]
fn a_second_answer_to_one_request_reaches_nobody() {
    let gate = Gate::closed();
    let poison = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    let backend = Backend::scripted([
        ReadHead,
        write("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood"),
        Wait(gate.clone()),
        write(poison),
        ReadHead,
        write(poison),
    ]);
    let gateway = TestGateway::in_front_of(&backend);
    assert_eq!(gateway.get("/").fetch().text(), "good");
    gateway.wait_for_metric("gateway_upstream_connections_idle", 1);
    gate.open();
    gateway.wait_for_metric("gateway_upstream_connections_idle", 0);
    assert_eq!(gateway.get("/").fetch().text(), "good");
    assert_eq!(backend.connections(), 2);
}

#[test]
fn the_beginning_of_a_second_answer_is_not_kept_for_the_next_request() {
    let backend = Backend::scripted([
        ReadHead,
        write("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngoodHTTP/1.1 2"),
        ReadHead,
        write("00 OK\r\ncontent-length: 6\r\n\r\npoison"),
    ]);
    let gateway = TestGateway::in_front_of(&backend);
    for _ in 0..2 {
        assert_eq!(gateway.get("/").fetch().text(), "good");
    }
    assert_eq!(backend.connections(), 2);
}

#[test]
fn an_answer_that_breaks_off_is_never_made_to_look_whole() {
    for (name, answer) in [
        (
            "short of its length",
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        ),
        (
            "nothing of its length",
            "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n",
        ),
        (
            "between chunks",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        ),
        (
            "within a chunk",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n10\r\nhalf",
        ),
        (
            "before the last line",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n",
        ),
    ] {
        let backend = answering(answer);
        let gateway = TestGateway::in_front_of(&backend);
        let mut wire = gateway.wire();
        wire.send(POST);
        // A reset is as good as an end here.
        let text = String::from_utf8_lossy(&wire.try_rest().unwrap_or_default()).into_owned();
        assert!(!text.ends_with("0\r\n\r\n"), "{name}: {text}");
        let result = gateway.request(Method::POST, "/").try_fetch();
        assert!(result.is_err(), "{name}: {result:?}");
        let line = gateway.access_lines(2).remove(0);
        assert_eq!(line["status"], 200, "{name}");
        assert_eq!(line["reason"], "response_aborted", "{name}");
    }
}

#[test]
fn a_broken_chunk_in_the_middle_breaks_the_answer_off() {
    let gate = Gate::closed();
    let backend = Backend::scripted([
        ReadHead,
        write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n"),
        Wait(gate.clone()),
        write("xyz\r\nmore\r\n0\r\n\r\n"),
        AwaitClose,
    ]);
    let gateway = TestGateway::in_front_of(&backend);
    let mut wire = gateway.wire();
    wire.send(GET);
    wire.wait_for("half");
    gate.open();
    let text = String::from_utf8_lossy(&wire.try_rest().unwrap_or_default()).into_owned();
    assert!(
        !text.contains("more") && !text.ends_with("0\r\n\r\n"),
        "{text}"
    );
}

#[test]
fn silence_in_the_middle_breaks_the_answer_off_in_time() {
    let backend = Backend::scripted([
        ReadHead,
        write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"),
        AwaitClose,
    ]);
    let gateway = TestGateway::with("limits: {body_timeout: 150ms}", &backend);
    let result = gateway.request(Method::POST, "/").try_fetch();
    assert!(result.is_err(), "{result:?}");
    let line = gateway.access_lines(1).remove(0);
    assert_eq!(line["reason"], "upstream_timeout");
}

#[test]
fn a_client_is_given_time_while_it_is_the_upstream_that_is_slow() {
    let gate = Gate::closed();
    let backend = Backend::scripted([
        ReadHead,
        write("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nhalf"),
        Wait(gate.clone()),
        write("half"),
    ]);
    let gateway = TestGateway::with(
        "limits: {send_timeout: 50ms, idle_timeout: 300ms}",
        &backend,
    );
    // This one idles for longer than the other's client could have stopped reading.
    let mut clock = gateway.wire();
    let mut wire = gateway.wire();
    wire.send(GET);
    assert!(clock.rest().is_empty());
    gate.open();
    assert_eq!(wire.receive().text(), "halfhalf");
}

#[test]
fn a_client_that_takes_nothing_is_cut() {
    let backend = answering(
        [
            b"HTTP/1.1 200 OK\r\ncontent-length: 67108864\r\n\r\n".as_slice(),
            &vec![b'x'; 64 << 20],
        ]
        .concat(),
    );
    let gateway = TestGateway::with("limits: {send_timeout: 150ms}", &backend);
    let mut wire = gateway.wire();
    wire.send(GET);
    gateway.wait_for_metric("gateway_requests_in_flight", 1);
    gateway.wait_for_metric("gateway_requests_in_flight", 0);
    let line = gateway.access_lines(1).remove(0);
    assert_eq!(line["reason"], "client_closed");
    drop(wire);
}

#[test]
fn an_upstream_that_ends_without_an_answer_is_502() {
    for steps in [
        vec![ReadHead],
        vec![ReadHead, Reset],
        vec![ReadHead, write("HTTP/1.1 200 OK\r\na:")],
    ] {
        let backend = Backend::scripted(steps);
        let gateway = TestGateway::in_front_of(&backend);
        let reply = gateway.get("/").fetch();
        assert_eq!((reply.status(), &*reply.reason()), (502, "upstream_reset"));
        assert_eq!(backend.requests(), 3, "a GET is tried again");
        assert_eq!(gateway.access_lines(1)[0]["tries"], 3);
    }
}

#[test]
fn an_upstream_that_never_answers_is_504_in_time() {
    let one_for_all = "defaults: {timeout: 150ms}";
    let one_a_try = "defaults: {timeout: 10s, retries: {attempts: 2, per_try_timeout: 150ms}}";
    for (settings, method, tries) in [
        (one_for_all, Method::GET, 1),
        (one_a_try, Method::GET, 3),
        (one_a_try, Method::POST, 1),
    ] {
        let backend = Backend::scripted([ReadHead, AwaitClose]);
        let gateway = TestGateway::with(settings, &backend);
        let began = Instant::now();
        let reply = gateway.request(method.clone(), "/").fetch();
        assert_eq!(
            (reply.status(), &*reply.reason()),
            (504, "upstream_timeout")
        );
        let elapsed = began.elapsed();
        assert!(elapsed >= Duration::from_millis(150), "{elapsed:?}");
        assert!(elapsed < Duration::from_secs(5), "{elapsed:?}");
        assert_eq!(backend.requests(), tries, "{settings} {method}");
    }
}

#[test]
fn an_upstream_that_refuses_everywhere_is_502() {
    let (first, second) = (Refusing::new(), Refusing::new());
    let gateway = TestGateway::start(
        r#"
defaults: {retries: {budget_reserve: 10}}
upstreams: {backend: {static: ["${FIRST}", "${SECOND}"]}}
routes:
  - {name: all, match: {path_prefix: /}, auth: none, backends: [{upstream: backend}]}
"#,
        &[("FIRST", &first.address()), ("SECOND", &second.address())],
    );
    for method in [Method::GET, Method::POST] {
        let reply = gateway.request(method, "/").body("body").fetch();
        assert_eq!(
            (reply.status(), &*reply.reason()),
            (502, "upstream_connect_failure")
        );
    }
    let line = gateway.access_lines(1).remove(0);
    assert_eq!(line["tries"], 3);
    assert!(
        line["detail"]
            .as_str()
            .is_some_and(|text| text.contains("refused")),
        "{line}"
    );
    assert_eq!(
        gateway
            .metrics()
            .value("gateway_upstream_connect_failures_total{upstream=\"backend\"}"),
        6
    );
}

#[test]
fn what_the_client_is_told_holds_no_inner_cause() {
    let refusing = Refusing::new();
    let gateway = TestGateway::start(
        r#"
upstreams: {backend: {static: ["${BACKEND}"]}}
routes:
  - {name: all, match: {path_prefix: /}, auth: none, backends: [{upstream: backend}]}
"#,
        &[("BACKEND", &refusing.address())],
    );
    let reply = gateway.get("/").fetch();
    let address = refusing.address().to_string();
    assert!(
        !reply.text().contains(&address) && !reply.text().contains("os error"),
        "{}",
        reply.text()
    );
}

#[test]
fn answers_without_a_body_leave_the_connection_in_step() {
    let backend = Backend::scripted([
        ReadHead,
        write("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
        ReadHead,
        write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
        ReadHead,
        write("HTTP/1.1 204 No Content\r\n\r\n"),
        ReadHead,
        write("HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\ncontent-length: 5\r\n\r\n"),
        ReadHead,
        write("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"),
        write("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nend"),
        AwaitClose,
    ]);
    let gateway = TestGateway::in_front_of(&backend);
    let mut wire = gateway.wire();
    for _ in 0..2 {
        wire.send("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n");
        let head = wire.receive_head();
        assert_eq!(head.status, 200);
        assert!(
            matches!(head.header("content-length").as_deref(), Some("5") | None),
            "{head:?}"
        );
    }
    wire.send(GET);
    let no_content = wire.receive();
    assert_eq!(
        (no_content.status, no_content.header("content-length")),
        (204, None)
    );
    wire.send(GET);
    let not_modified = wire.receive();
    assert_eq!(
        (not_modified.status, not_modified.header("etag").as_deref()),
        (304, Some("\"a\""))
    );
    wire.send(GET);
    let last = wire.receive();
    assert_eq!((last.status, &*last.text()), (200, "end"));
    assert_eq!(backend.connections(), 1);
}

#[test]
fn the_length_of_what_head_would_get_goes_on() {
    let backend = answering("HTTP/1.1 200 OK\r\ncontent-length: 12345\r\n\r\n");
    let gateway = TestGateway::in_front_of(&backend);
    let head = gateway.request(Method::HEAD, "/").fetch();
    assert_eq!(head.header("content-length").as_deref(), Some("12345"));
}

#[test]
fn a_body_until_the_close_comes_whole_and_ends_clearly() {
    for version in ["HTTP/1.1", "HTTP/1.0"] {
        let backend = answering(format!("{version} 200 OK\r\n\r\nhello world"));
        let gateway = TestGateway::in_front_of(&backend);
        assert_eq!(gateway.get("/").fetch().text(), "hello world", "{version}");

        let mut wire = gateway.wire();
        wire.send(GET);
        wire.send("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let text = String::from_utf8(wire.rest()).expect("text");
        assert_eq!(
            text.matches("transfer-encoding: chunked").count(),
            2,
            "{version}: {text}"
        );
        assert!(text.ends_with("0\r\n\r\n"), "{version}: {text}");

        let mut wire = gateway.wire();
        wire.send("GET / HTTP/1.0\r\n\r\n");
        let text = String::from_utf8(wire.rest()).expect("text");
        assert!(
            text.ends_with("\r\n\r\nhello world"),
            "an old client gets no chunks: {text}"
        );
    }
}

#[test]
fn an_old_upstream_may_keep_its_connection() {
    let answer = "HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok";
    let backend = Backend::scripted([ReadHead, write(answer), ReadHead, write(answer)]);
    let gateway = TestGateway::in_front_of(&backend);
    for _ in 0..2 {
        assert_eq!(gateway.get("/").fetch().text(), "ok");
    }
    let backend = Backend::scripted([
        ReadHead,
        write("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok"),
        AwaitClose,
    ]);
    let gateway = TestGateway::in_front_of(&backend);
    for _ in 0..2 {
        assert_eq!(gateway.get("/").fetch().text(), "ok");
    }
    assert_eq!(backend.connections(), 2, "without the word, it closes");
}

/// Bytes that show any loss, repetition or change of order.
fn pattern(length: usize) -> Bytes {
    let mut random = fastrand::Rng::with_seed(length as u64);
    let mut bytes = vec![0; length];
    random.fill(&mut bytes);
    bytes.into()
}

fn in_chunks(bytes: &Bytes) -> reqwest::Body {
    let chunks: Vec<_> = bytes
        .chunks(50_001)
        .map(|chunk| Ok::<_, std::io::Error>(Frame::data(Bytes::copy_from_slice(chunk))))
        .collect();
    reqwest::Body::wrap(StreamBody::new(futures_util::stream::iter(chunks)))
}

#[test]
fn large_bodies_pass_unchanged_in_both_directions() {
    let backend = Backend::mirroring();
    let gateway = TestGateway::in_front_of(&backend);
    let sent = pattern(8 << 20);
    for is_chunked in [false, true] {
        let body = if is_chunked {
            in_chunks(&sent)
        } else {
            sent.clone().into()
        };
        let reply = gateway.post("/").body(body).fetch();
        assert_eq!(reply.status(), 200);
        assert_eq!(reply.body.len(), sent.len());
        assert!(reply.body == sent, "the bytes differ");
        assert_eq!(reply.header("content-length").is_none(), is_chunked);
    }
}

#[test]
fn a_refusal_before_the_body_is_over_is_passed_on() {
    let backend = Backend::scripted([
        ReadHead,
        write(
            "HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbig",
        ),
        AwaitClose,
    ]);
    let gateway = TestGateway::in_front_of(&backend);
    let mut wire = gateway.wire();
    wire.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n");
    wire.send(vec![b'x'; 1000]);
    let answer = wire.receive();
    assert_eq!((answer.status, &*answer.text()), (413, "big"));
    assert!(wire.rest().is_empty());
}

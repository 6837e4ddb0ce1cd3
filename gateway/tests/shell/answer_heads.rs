//! What a client gets of an answer's head, and how it finds the end of the body.

use std::io::ErrorKind;

use crate::support::backend::Step::{ReadHead, Wait};
use crate::support::backend::{Backend, Gate, Step, write};
use crate::support::gateway::TestGateway;
use crate::support::wire::Wire;

/// An answer as it is sent, without what differs every time.
fn without_ids(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").expect("a whole head");
    let lines = head.split("\r\n").filter(|line| {
        let name = line.split(':').next().unwrap_or_default();
        name != "x-request-id" && name != "date"
    });
    format!("{}|{body}", lines.collect::<Vec<_>>().join("|"))
}

#[test]
fn an_answer_goes_on_as_it_came_but_for_what_concerns_one_connection() {
    let get = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let head = "HEAD / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let http_10 = "GET / HTTP/1.0\r\nhost: a\r\n\r\n";
    for (asked, answered, expected) in [
        (
            get,
            "HTTP/1.1 200 Fine\r\nX-One:  a b \t\r\nContent-Length: 2\r\nx-one: c\r\nEmpty:\r\n\r\nok",
            "HTTP/1.1 200 OK|X-One: a b|x-one: c|Empty: |content-length: 2|connection: close|ok",
        ),
        (
            get,
            "HTTP/1.1 200 OK\r\nKeep-Alive: 5\r\nConnection: x-hop, Keep-Alive\r\nX-Hop: 1\r\n\
             Upgrade: h2c\r\nTE: trailers\r\nTrailer: x\r\nProxy-Connection: x\r\n\
             Proxy-Authenticate: x\r\nX-Request-Id: theirs\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK|content-length: 0|connection: close|",
        ),
        (
            // It came whole, so that its length is known.
            get,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK|content-length: 2|connection: close|ok",
        ),
        (
            head,
            "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n",
            "HTTP/1.1 200 OK|content-length: 7|connection: close|",
        ),
        (
            get,
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\netag: \"a\"\r\n\r\n",
            "HTTP/1.1 304 Not Modified|content-length: 7|etag: \"a\"|connection: close|",
        ),
        (
            get,
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 204 No Content|connection: close|",
        ),
        (
            get,
            "HTTP/1.1 299 Whatever\r\ncontent-length: 2\r\n\r\nok",
            "HTTP/1.1 299 |content-length: 2|connection: close|ok",
        ),
        (
            http_10,
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
            "HTTP/1.0 200 OK|content-length: 2|ok",
        ),
    ] {
        let backend = Backend::scripted([ReadHead, write(answered)]);
        let gateway = TestGateway::in_front_of(&backend);
        let mut wire = gateway.wire();
        wire.send(asked);
        assert_eq!(without_ids(&wire.rest()), expected, "{asked}{answered}");
    }
}

#[test]
fn an_answer_has_one_date() {
    let upstreams = "Tue, 15 Nov 1994 08:12:31 GMT";
    let answer =
        "HTTP/1.1 200 OK\r\nDate: Tue, 15 Nov 1994 08:12:31 GMT\r\ncontent-length: 0\r\n\r\n";
    let backend = Backend::scripted([ReadHead, write(answer)]);
    let gateway = TestGateway::in_front_of(&backend);
    for (path, expected) in [("/", Some(upstreams)), ("/a//b", None)] {
        let mut wire = gateway.wire();
        wire.send(format!(
            "GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
        ));
        let answer = String::from_utf8(wire.rest()).expect("text").to_lowercase();
        assert_eq!(answer.matches("\r\ndate: ").count(), 1, "{answer}");
        let (_, rest) = answer.split_once("\r\ndate: ").expect("one");
        let (date, _) = rest.split_once("\r\n").expect("a line");
        match expected {
            Some(expected) => assert_eq!(date, expected.to_lowercase()),
            // `Sun, 06 Nov 1994 08:49:37 GMT`
            None => assert!(date.len() == 29 && date.ends_with(" gmt"), "{date}"),
        }
    }
}

#[test]
fn a_client_of_http_1_0_keeps_its_connection_where_it_asks_for_that() {
    let backend = Backend::replying("ok");
    let gateway = TestGateway::in_front_of(&backend);
    let mut wire = gateway.wire();
    for _ in 0..2 {
        wire.send("GET / HTTP/1.0\r\nhost: a\r\nconnection: Keep-Alive\r\n\r\n");
        let answer = wire.receive();
        assert_eq!(answer.text(), "ok");
        assert_eq!(answer.header("connection").as_deref(), Some("keep-alive"));
    }
    wire.send("GET / HTTP/1.0\r\nhost: a\r\n\r\n");
    assert_eq!(wire.last_answer().text(), "ok");
}

/// Asks for an answer that is not held back, because it may have been carried out; the beginning of
/// it has come.
fn post(gateway: &TestGateway, version: &str) -> Wire {
    let mut wire = gateway.wire();
    let head = format!("POST / {version}\r\nhost: a\r\ncontent-length: 0\r\n\r\n");
    wire.send(head);
    wire.wait_for("hello");
    wire
}

/// The beginning of an answer of unknown length, and the rest of it once the gate opens.
fn streaming(gate: &Gate, rest: impl IntoIterator<Item = Step>) -> Backend {
    let begin = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n";
    let mut steps = vec![ReadHead, write(begin), Wait(gate.clone())];
    steps.extend(rest);
    Backend::scripted(steps)
}

#[test]
fn an_answer_of_unknown_length_is_delimited_as_its_client_can_read_it() {
    for (version, expected) in [
        (
            "HTTP/1.1\r\nconnection: close",
            "HTTP/1.1 200 OK|transfer-encoding: chunked|connection: close|\
             5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n",
        ),
        (
            "HTTP/1.0\r\nconnection: keep-alive",
            "HTTP/1.0 200 OK|helloyou",
        ),
    ] {
        let gate = Gate::closed();
        let backend = streaming(&gate, [write("3\r\nyou\r\n0\r\n\r\n")]);
        let gateway = TestGateway::in_front_of(&backend);
        let mut wire = post(&gateway, version);
        gate.open();
        assert_eq!(without_ids(&wire.rest()), expected, "{version}");
    }
}

#[test]
fn an_answer_that_breaks_off_is_never_made_to_look_whole() {
    for version in ["HTTP/1.1", "HTTP/1.0"] {
        let gate = Gate::closed();
        let backend = streaming(&gate, [Step::Reset]);
        let gateway = TestGateway::in_front_of(&backend);
        let mut wire = post(&gateway, version);
        gate.open();
        match wire.try_rest() {
            Ok(rest) => {
                assert_eq!(version, "HTTP/1.1", "its end is not an orderly one");
                assert!(!rest.ends_with(b"0\r\n\r\n"));
            }
            Err(error) => assert_eq!(error, ErrorKind::ConnectionReset),
        }
        let line = gateway.access_lines(1).remove(0);
        assert_eq!(line["reason"], "response_aborted");
    }
}

//! Headers on their way through: what ends at the gateway, what it adds, whom it believes.

use serde_json::Value;

use crate::support::backend::Step::{AwaitClose, ReadHead};
use crate::support::backend::{Backend, echoed, write};
use crate::support::gateway::TestGateway;
use crate::support::http_client::Fetch as _;
use crate::support::wire::Answer;

/// Sends these header lines, and gives back what the upstream was sent.
fn echo_of(gateway: &TestGateway, lines: &str) -> Value {
    let mut wire = gateway.wire();
    wire.send(format!("GET /a HTTP/1.1\r\nhost: a.example\r\n{lines}\r\n"));
    let answer = wire.receive();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

const TRUSTING: &str = "forwarded: {trusted_proxies: [127.0.0.0/8]}";

#[test]
fn headers_of_one_connection_do_not_reach_the_next() {
    let backend = Backend::echo();
    let gateway = TestGateway::in_front_of(&backend);
    let echo = echo_of(
        &gateway,
        "connection: keep-alive, X-Mine , x-other\r\nconnection: x-third\r\nkeep-alive: timeout=5\r\n\
         proxy-connection: keep-alive\r\nproxy-authorization: Basic eDp5\r\nte: trailers\r\n\
         trailer: x-end\r\nx-mine: 1\r\nX-Other: 2\r\nx-third: 3\r\nx-stays: 4\r\n\
         authorization: Basic eDp5\r\ncookie: a=b\r\ncookie: c=d\r\n",
    );
    for gone in [
        "connection",
        "keep-alive",
        "proxy-connection",
        "proxy-authorization",
        "te",
        "trailer",
        "x-mine",
        "x-other",
        "x-third",
    ] {
        assert!(echoed(&echo, gone).is_empty(), "{gone}: {echo}");
    }
    assert_eq!(echoed(&echo, "x-stays"), ["4"]);
    assert_eq!(echoed(&echo, "authorization"), ["Basic eDp5"]);
    assert_eq!(echoed(&echo, "cookie"), ["a=b", "c=d"]);
    assert_eq!(echoed(&echo, "host"), ["a.example"]);
}

#[test]
fn a_client_cannot_take_away_what_the_gateway_says() {
    let backend = Backend::echo();
    let gateway = TestGateway::in_front_of(&backend);
    let echo = echo_of(
        &gateway,
        "connection: x-forwarded-for, x-request-id, via, traceparent, host, x-forwarded-proto\r\n",
    );
    for stays in [
        "x-forwarded-for",
        "x-request-id",
        "via",
        "traceparent",
        "host",
        "x-forwarded-proto",
    ] {
        assert_eq!(echoed(&echo, stays).len(), 1, "{stays}: {echo}");
    }
}

fn answer_with(lines: &str) -> Answer {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n{lines}\r\nok");
    let backend = Backend::scripted([ReadHead, write(head.leak()), AwaitClose]);
    let gateway = TestGateway::in_front_of(&backend);
    let mut wire = gateway.wire();
    wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let answer = wire.receive();
    assert_eq!((answer.status, &*answer.text()), (200, "ok"), "{lines}");
    answer
}

#[test]
fn headers_of_the_upstreams_connection_do_not_reach_the_client() {
    let answer = answer_with(
        "connection: close, x-mine\r\nx-mine: 1\r\nkeep-alive: timeout=5\r\nproxy-connection: close\r\n\
         upgrade: h2c\r\nproxy-authenticate: Basic\r\nset-cookie: a=b\r\nset-cookie: c=d\r\n\
         server: theirs\r\nx-stays: 2\r\n",
    );
    for gone in [
        "connection",
        "x-mine",
        "keep-alive",
        "proxy-connection",
        "upgrade",
        "proxy-authenticate",
    ] {
        assert_eq!(answer.header(gone), None, "{gone}");
    }
    assert_eq!(answer.header("set-cookie").as_deref(), Some("a=b, c=d"));
    assert_eq!(answer.header("server").as_deref(), Some("theirs"));
    assert_eq!(answer.header("x-stays").as_deref(), Some("2"));
    assert!(answer.header("x-request-id").is_some());
}

#[test]
fn the_answer_carries_the_id_that_the_upstream_was_given() {
    let backend = Backend::echo();
    let gateway = TestGateway::in_front_of(&backend);
    let reply = gateway.get("/").fetch();
    let id = reply.header("x-request-id").expect("an id");
    assert_eq!(echoed(&reply.json(), "x-request-id"), [&*id]);
    assert_eq!(gateway.access_lines(1)[0]["request_id"], *id);
}

#[test]
fn what_a_stranger_says_of_earlier_hops_is_not_believed() {
    let backend = Backend::echo();
    let gateway = TestGateway::in_front_of(&backend);
    let echo = echo_of(
        &gateway,
        "x-forwarded-for: 203.0.113.9\r\nx-forwarded-proto: https\r\nx-forwarded-host: evil.example\r\n\
         x-forwarded-port: 1\r\nx-real-ip: 203.0.113.9\r\nforwarded: for=203.0.113.9\r\n\
         x-request-id: chosen-by-the-client\r\n",
    );
    assert_eq!(echoed(&echo, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(echoed(&echo, "x-forwarded-proto"), ["http"]);
    assert_eq!(echoed(&echo, "x-forwarded-host"), ["a.example"]);
    for gone in ["x-forwarded-port", "x-real-ip", "forwarded"] {
        assert!(echoed(&echo, gone).is_empty(), "{gone}");
    }
    let ids = echoed(&echo, "x-request-id");
    assert!(
        ids.len() == 1 && ids[0] != "chosen-by-the-client",
        "{ids:?}"
    );
    let line = gateway.access_lines(1).remove(0);
    assert_eq!(line["client"], "127.0.0.1");
}

#[test]
fn a_spelling_that_cgi_confuses_is_not_believed_either() {
    let backend = Backend::echo();
    let gateway = TestGateway::in_front_of(&backend);
    let echo = echo_of(
        &gateway,
        "X_Forwarded_For: 203.0.113.9\r\nx-forwarded_proto: https\r\nx_real_ip: 203.0.113.9\r\n\
         x_request_id: mine\r\nproxy_authorization: x\r\ncontent_length: 5\r\ntransfer_encoding: chunked\r\nx_stays: 1\r\n",
    );
    for gone in [
        "x_forwarded_for",
        "x-forwarded_proto",
        "x_real_ip",
        "x_request_id",
        "proxy_authorization",
        "content_length",
        "transfer_encoding",
    ] {
        assert!(echoed(&echo, gone).is_empty(), "{gone}: {echo}");
    }
    assert_eq!(echoed(&echo, "x_stays"), ["1"]);
}

#[test]
fn what_a_trusted_proxy_says_of_earlier_hops_is_continued() {
    let backend = Backend::echo();
    let gateway = TestGateway::with(TRUSTING, &backend);
    let echo = echo_of(
        &gateway,
        "x-forwarded-for: 203.0.113.9\r\nx-forwarded-for: 198.51.100.7, 127.0.0.2\r\n\
         x-forwarded-proto: https\r\nx-forwarded-host: public.example\r\nx-request-id: from-the-edge\r\n",
    );
    assert_eq!(
        echoed(&echo, "x-forwarded-for"),
        ["203.0.113.9, 198.51.100.7, 127.0.0.2, 127.0.0.1"]
    );
    assert_eq!(echoed(&echo, "x-forwarded-proto"), ["https"]);
    assert_eq!(echoed(&echo, "x-forwarded-host"), ["public.example"]);
    assert_eq!(echoed(&echo, "x-request-id"), ["from-the-edge"]);
    let line = gateway.access_lines(1).remove(0);
    assert_eq!(
        (&line["client"], &line["request_id"]),
        (&"198.51.100.7".into(), &"from-the-edge".into())
    );
}

#[test]
fn an_id_that_could_forge_a_log_is_replaced_even_from_a_trusted_proxy() {
    let backend = Backend::echo();
    let gateway = TestGateway::with(TRUSTING, &backend);
    for id in [String::new(), "a b".into(), "a\"b".into(), "x".repeat(500)] {
        let echo = echo_of(&gateway, &format!("x-request-id: {id}\r\n"));
        let ids = echoed(&echo, "x-request-id");
        assert!(
            ids.len() == 1 && ids[0] != id && !ids[0].is_empty(),
            "{ids:?}"
        );
    }
}

#[test]
fn the_standard_header_is_sent_where_the_file_says_so() {
    let backend = Backend::echo();
    let gateway = TestGateway::with("forwarded: {send_standard: true}", &backend);
    let echo = echo_of(&gateway, "forwarded: for=203.0.113.9\r\n");
    assert_eq!(
        echoed(&echo, "forwarded"),
        ["for=127.0.0.1;host=\"a.example\";proto=http"]
    );

    let both = "forwarded: {send_standard: true, trusted_proxies: [127.0.0.1/32]}";
    let gateway = TestGateway::with(both, &backend);
    let echo = echo_of(&gateway, "forwarded: for=203.0.113.9\r\n");
    assert_eq!(
        echoed(&echo, "forwarded"),
        ["for=203.0.113.9, for=127.0.0.1;host=\"a.example\";proto=http"]
    );
}

#[test]
fn via_names_each_hop_and_the_version_it_was_spoken_to_in() {
    let backend = Backend::echo();
    let gateway = TestGateway::in_front_of(&backend);
    assert_eq!(echoed(&echo_of(&gateway, ""), "via"), ["1.1 gateway"]);
    assert_eq!(
        echoed(&echo_of(&gateway, "via: 1.0 a, 2 b\r\n"), "via"),
        ["1.0 a, 2 b, 1.1 gateway"]
    );
    let mut wire = gateway.wire();
    wire.send("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(echoed(&wire.last_answer().json(), "via"), ["1.0 gateway"]);
}

#[test]
fn a_trace_is_continued_and_begun_where_there_is_none() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";
    let backend = Backend::echo();
    let gateway = TestGateway::in_front_of(&backend);

    let echo = echo_of(
        &gateway,
        &format!("traceparent: 00-{TRACE}-{SPAN}-01\r\ntracestate: a=b\r\n"),
    );
    let parent = echoed(&echo, "traceparent")[0];
    let parts: Vec<_> = parent.split('-').collect();
    assert_eq!(
        (parts[0], parts[1], parts[3]),
        ("00", TRACE, "01"),
        "{parent}"
    );
    assert_ne!(parts[2], SPAN, "a span of our own");
    assert_eq!(echoed(&echo, "tracestate"), ["a=b"]);
    assert_eq!(gateway.access_lines(1)[0]["trace_id"], TRACE);

    let zeros = "traceparent: 00-00000000000000000000000000000000-00f067aa0ba902b7-01\r\n";
    for lines in ["", "traceparent: garbage\r\n", zeros] {
        let echo = echo_of(&gateway, lines);
        let parents = echoed(&echo, "traceparent");
        assert_eq!(parents.len(), 1, "{lines}");
        assert!(
            parents[0].len() == 55 && parents[0].starts_with("00-"),
            "{lines}: {parents:?}"
        );
        assert!(
            !parents[0].contains("00000000000000000000000000000000"),
            "{lines}: {parents:?}"
        );
    }
}

//! What the gateway takes for a request: whatever two readers could read in two ways is refused,
//! answered, and ends the connection; nothing behind it ever reaches an upstream.

use crate::support::backend::Backend;
use crate::support::gateway::TestGateway;
use crate::support::header_lines;

/// Follows each refused request: who reads its end elsewhere sends this on.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";

/// A refused request: what it is, its bytes, and what it is answered with.
struct Case(&'static str, String, u16, &'static str);

/// A head with these lines beside the request line and `Host`.
fn post(lines: &str) -> String {
    format!("POST / HTTP/1.1\r\nhost: a\r\n{lines}\r\n")
}

fn get(lines: &str) -> String {
    format!("GET / HTTP/1.1\r\nhost: a\r\n{lines}\r\n")
}

fn check(cases: impl IntoIterator<Item = Case>) {
    let backend = Backend::replying("reached");
    let gateway = TestGateway::in_front_of(&backend);
    for Case(name, bytes, status, reason) in cases {
        let mut wire = gateway.wire();
        // The gateway may close as soon as it has seen enough.
        wire.try_send(bytes + SMUGGLED);
        let answer = wire.last_answer();
        assert_eq!(
            (answer.status, &*answer.reason()),
            (status, reason),
            "{name}"
        );
        assert!(answer.says_close(), "{name}: {answer:?}");
        assert_eq!(backend.requests(), 0, "{name}");
    }
    assert_eq!(backend.connections(), 0);
}

#[test]
fn a_body_whose_length_can_be_read_in_two_ways_is_refused() {
    let chunked = "transfer-encoding: chunked\r\n";
    let both = "framing_conflict";
    let length = "content-length: 4\r\n";
    let odd_length = |value: &str| post(&format!("content-length:{value}\r\n")) + "body";
    let odd_coding = |value: &str| post(&format!("transfer-encoding:{value}\r\n")) + "0\r\n\r\n";
    let mut cases = vec![
        Case(
            "CL.TE",
            post(&format!("{length}{chunked}")) + "0\r\n\r\n",
            400,
            both,
        ),
        Case(
            "TE.CL",
            post(&format!("{chunked}{length}")) + "0\r\n\r\n",
            400,
            both,
        ),
        Case(
            "CL of 0 with TE",
            post(&format!("content-length: 0\r\n{chunked}")) + "0\r\n\r\n",
            400,
            both,
        ),
        Case(
            "CL twice",
            post(&format!("{length}{length}")) + "body",
            400,
            "content_length_invalid",
        ),
        Case(
            "CL twice, unequal",
            post("content-length: 0\r\ncontent-length: 4\r\n") + "body",
            400,
            "content_length_invalid",
        ),
        Case(
            "TE twice",
            post(&format!("{chunked}{chunked}")) + "0\r\n\r\n",
            400,
            "transfer_encoding_invalid",
        ),
        Case(
            "TE in HTTP/1.0",
            format!("POST / HTTP/1.0\r\nhost: a\r\n{chunked}\r\n0\r\n\r\n"),
            400,
            "transfer_encoding_invalid",
        ),
    ];
    for value in [
        "",
        " ",
        " 4, 4",
        " +4",
        " -4",
        " 4 4",
        " 0x4",
        " 4;",
        " four",
        " ٤",
        " 99999999999999999999",
    ] {
        cases.push(Case(
            "odd CL",
            odd_length(value),
            400,
            "content_length_invalid",
        ));
    }
    for value in [
        "",
        " gzip",
        " identity",
        " chunked, chunked",
        " gzip, chunked",
        " chunked, gzip",
        " chunked;q=1",
        " \"chunked\"",
        " xchunked",
        " chunked,",
        " chunked\u{a0}",
    ] {
        cases.push(Case(
            "odd TE",
            odd_coding(value),
            400,
            "transfer_encoding_invalid",
        ));
    }
    check(cases);
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn a_line_that_can_be_read_in_two_ways_is_refused() {
    let malformed = "header_malformed";
    let line = "request_line_malformed";
    let on_line = |text: &str| format!("{text}\r\nhost: a\r\n\r\n");
    check([
        Case("bare LF", get("a: b\nc: d\r\n"), 400, malformed),
        Case("bare CR", get("a: b\rc: d\r\n"), 400, malformed),
        Case("CR CR LF", get("a: b\r\r\n"), 400, malformed),
        Case(
            "bare LF as the end",
            "GET / HTTP/1.1\r\nhost: a\r\n\n".into(),
            400,
            malformed,
        ),
        Case("obs-fold by a space", get("a: b\r\n c\r\n"), 400, malformed),
        Case("obs-fold by a tab", get("a: b\r\n\tc\r\n"), 400, malformed),
        Case(
            "a folded first header",
            "GET / HTTP/1.1\r\n a: b\r\nhost: a\r\n\r\n".into(),
            400,
            malformed,
        ),
        Case("NUL in a value", get("a: b\0c\r\n"), 400, malformed),
        Case("NUL in a name", get("a\0b: c\r\n"), 400, malformed),
        Case("ESC in a value", get("a: \x1b[2J\r\n"), 400, malformed),
        Case("DEL in a value", get("a: b\x7f\r\n"), 400, malformed),
        Case(
            "vertical tab in a value",
            get("a: \x0bb\r\n"),
            400,
            malformed,
        ),
        Case(
            "space before the colon",
            get("content-length : 4\r\n"),
            400,
            malformed,
        ),
        Case(
            "tab before the colon",
            get("content-length\t: 4\r\n"),
            400,
            malformed,
        ),
        Case("no name", get(": b\r\n"), 400, malformed),
        Case("no colon", get("ab\r\n"), 400, malformed),
        Case("a name with a slash", get("a/b: c\r\n"), 400, malformed),
        Case("a name beyond ASCII", get("\u{e4}: c\r\n"), 400, malformed),
        Case(
            "bare LF in the request line",
            on_line("GET / HTTP/1.1\nx: y"),
            400,
            line,
        ),
        Case(
            "bare CR in the request line",
            on_line("GET /\rx HTTP/1.1"),
            400,
            line,
        ),
        Case("NUL in the target", on_line("GET /\0 HTTP/1.1"), 400, line),
        Case("two spaces", on_line("GET  / HTTP/1.1"), 400, line),
        Case("a tab", on_line("GET\t/ HTTP/1.1"), 400, line),
        Case(
            "a space in the target",
            on_line("GET /a b HTTP/1.1"),
            400,
            line,
        ),
        Case(
            "a space behind the version",
            on_line("GET / HTTP/1.1 "),
            400,
            line,
        ),
        Case("a leading space", on_line(" GET / HTTP/1.1"), 400, line),
        Case("an empty method", on_line(" / HTTP/1.1"), 400, line),
        Case("an odd method", on_line("GE(T / HTTP/1.1"), 400, line),
        Case("a relative target", on_line("GET a HTTP/1.1"), 400, line),
        Case("a fragment", on_line("GET /a#b HTTP/1.1"), 400, line),
        Case(
            "a scheme of its own",
            on_line("GET ftp://a/ HTTP/1.1"),
            400,
            line,
        ),
        Case("an asterisk for GET", on_line("GET * HTTP/1.1"), 400, line),
        Case("no version", on_line("GET /"), 400, line),
        Case("lower-case version", on_line("GET / http/1.1"), 400, line),
        Case(
            "HTTP/0.9",
            on_line("GET / HTTP/0.9"),
            505,
            "version_not_supported",
        ),
        Case(
            "HTTP/1.2",
            on_line("GET / HTTP/1.2"),
            505,
            "version_not_supported",
        ),
        Case(
            "HTTP/1.10",
            on_line("GET / HTTP/1.10"),
            505,
            "version_not_supported",
        ),
        Case(
            "the HTTP/2 preface",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(),
            505,
            "version_not_supported",
        ),
        Case(
            "CONNECT",
            on_line("CONNECT a:443 HTTP/1.1"),
            501,
            "method_not_supported",
        ),
        Case("a TLS handshake", "\x16\x03\x01\r\n\r\n".into(), 400, line),
        Case("three empty lines", "\r\n\r\n\r\n".into(), 400, line),
    ]);
}

#[test]
fn a_head_beyond_a_bound_is_refused() {
    let long = |length: usize| "a".repeat(length);
    check([
        Case(
            "one header of 64 KiB",
            get(&format!("a: {}\r\n", long(65_536))),
            431,
            "head_too_large",
        ),
        Case(
            "many long headers",
            get(&format!("a: {}\r\n", long(1_000)).repeat(70)),
            431,
            "head_too_large",
        ),
        Case(
            "101 headers",
            get(&header_lines(100)),
            431,
            "too_many_headers",
        ),
        Case(
            "a target of 8 KiB",
            format!("GET /{} HTTP/1.1\r\n", long(8_192)),
            414,
            "target_too_long",
        ),
        Case(
            "a target without end",
            format!("GET /{}", long(80_000)),
            414,
            "target_too_long",
        ),
    ]);
    // By itself: an upstream has bounds of its own, and is sent a few headers more.
    let gateway = TestGateway::start(
        "routes: [{name: all, match: {path_prefix: /}, auth: none, respond: {status: 200, body: reached}}]",
        &[],
    );
    for within in [
        get(&header_lines(99)),
        format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", long(8_191)),
    ] {
        let mut wire = gateway.wire();
        wire.send(&within);
        let answer = wire.receive();
        assert_eq!(
            (answer.status, &*answer.text()),
            (200, "reached"),
            "{within:.40}"
        );
    }
}

#[test]
fn what_is_odd_but_clear_passes() {
    let backend = Backend::replying("reached");
    let gateway = TestGateway::in_front_of(&backend);
    for bytes in [
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHOST:a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: \t a \t \r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nempty:\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nlatin: \u{e9}\r\n\r\n",
        "GET /?a=[1]&b={2}|3 HTTP/1.1\r\nhost: a\r\n\r\n",
        "PURGE / HTTP/1.1\r\nhost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 004\r\n\r\nbody",
        "POST / HTTP/1.1\r\nhost: a\r\nTransfer-Encoding: CHUNKED\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n04;a=b\r\nbody\r\n0\r\nx: y\r\n\r\n",
    ] {
        let mut wire = gateway.wire();
        wire.send(bytes);
        let answer = wire.receive();
        assert_eq!(
            (answer.status, &*answer.text()),
            (200, "reached"),
            "{bytes}"
        );
        // The next one is read from where this one ended.
        wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(wire.receive().text(), "reached", "{bytes}");
    }
}

#[test]
fn good_requests_before_a_bad_one_are_answered_in_turn() {
    let backend = Backend::echo();
    let gateway = TestGateway::in_front_of(&backend);
    let mut wire = gateway.wire();
    let good =
        |path: &str| format!("POST /{path} HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody");
    let bad = "GET /bad HTTP/1.1\r\nhost : a\r\n\r\n";
    wire.send(good("first") + &good("second") + bad + SMUGGLED);
    let answers = wire.all_answers();
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200, 200, 400]);
    assert_eq!(answers[0].json()["target"], "/first");
    assert_eq!(answers[1].json()["target"], "/second");
    assert_eq!(answers[2].reason(), "header_malformed");
    assert_eq!(backend.requests(), 2);
}

#[test]
fn the_line_of_a_request_that_could_not_be_read_invents_nothing() {
    let backend = Backend::replying("reached");
    let gateway = TestGateway::in_front_of(&backend);
    let mut wire = gateway.wire();
    wire.send("POST /users HTTP/1.1\r\nhost : a\r\n\r\n");
    let id = wire.last_answer().header("x-request-id");
    let line = gateway.access_lines(1).remove(0);
    assert_eq!(line["reason"], "header_malformed");
    assert_eq!(line["request_id"].as_str(), id.as_deref());
    for name in ["method", "path", "host", "route", "upstream"] {
        assert_eq!(line.get(name), None, "{name}");
    }
}

#[test]
fn a_request_may_be_split_between_any_two_bytes() {
    let backend = Backend::echo();
    let gateway = TestGateway::in_front_of(&backend);
    let request = "POST /a?b HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nx-y: z\r\n\r\n\
                   5;e=f\r\nhello\r\n6\r\n world\r\n0\r\nt: r\r\n\r\n";
    let mut wire = gateway.wire();
    let mut other = gateway.wire();
    for at in 1..request.len() {
        wire.send(&request[..at]);
        // Both connections live on one worker: when the second of these is answered, it has
        // read what came before the first.
        for _ in 0..2 {
            other.send("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n");
            assert_eq!(other.receive().status, 204);
        }
        wire.send(&request[at..]);
        let answer = wire.receive();
        assert_eq!(answer.status, 200, "split at {at}");
        assert_eq!(answer.json()["body"], "hello world", "split at {at}");
    }
}

#[test]
fn a_client_that_goes_on_sending_can_still_read_why_it_was_refused() {
    let backend = Backend::replying("reached");
    let gateway = TestGateway::with("defaults: {max_request_body: 1KiB}", &backend);
    let refused: [(&str, String, u16, &str); 4] = [
        ("a bad head", get("a b: c\r\n"), 400, "header_malformed"),
        (
            "a head too large",
            format!("GET / HTTP/1.1\r\na: {}", "b".repeat(70_000)),
            431,
            "head_too_large",
        ),
        (
            "a declared body too large",
            post("content-length: 1000000\r\n"),
            413,
            "body_too_large",
        ),
        (
            "a chunk too large",
            post("transfer-encoding: chunked\r\n") + "f4240\r\n",
            413,
            "body_too_large",
        ),
    ];
    for (name, head, status, reason) in refused {
        let mut wire = gateway.wire();
        wire.send(head);
        // Less than what the gateway reads away, more than what lies in a socket's buffer unread.
        let mut writing = wire.twin();
        let writer = std::thread::spawn(move || {
            for _ in 0..15 {
                if !writing.try_send([b'x'; 10_000]) {
                    return;
                }
            }
        });
        let answer = wire.receive();
        assert_eq!(
            (answer.status, &*answer.reason()),
            (status, reason),
            "{name}"
        );
        assert!(answer.says_close(), "{name}");
        writer.join().expect("the writer ends");
        wire.shut_down_writing();
        assert!(wire.rest().is_empty(), "{name}");
    }
}

#[test]
fn a_malformed_chunk_is_refused_wherever_it_comes() {
    let backend = Backend::replying("reached");
    let gateway = TestGateway::in_front_of(&backend);
    let head = post("transfer-encoding: chunked\r\n");
    for chunks in [
        "x\r\n",
        "-1\r\n",
        "0x5\r\nhello\r\n",
        " 5\r\nhello\r\n",
        "5 \r\nhello\r\n",
        "5\nhello\r\n",
        "5\r\nhelloXX",
        "5\r\nhello\n",
        "5\r\nhello\r\r\n",
        "\r\n",
        "5;a\0b\r\nhello\r\n",
        "1000000000000000\r\n",
        "0\r\n a: b\r\n\r\n",
        "0\r\n: b\r\n\r\n",
        "0\r\na: b\n\r\n",
    ] {
        for earlier in ["", "3\r\nabc\r\n"] {
            for is_in_one_piece in [true, false] {
                let mut wire = gateway.wire();
                if is_in_one_piece {
                    wire.send(format!("{head}{earlier}{chunks}{SMUGGLED}"));
                } else {
                    wire.send(format!("{head}{earlier}"));
                    wire.send(format!("{chunks}{SMUGGLED}"));
                }
                let answer = wire.last_answer();
                let context = format!("{earlier:?} {chunks:?} {is_in_one_piece}");
                assert_eq!(answer.status, 400, "{context}");
                assert_eq!(answer.reason(), "body_malformed", "{context}");
                assert!(answer.says_close(), "{context}");
            }
        }
    }
    assert_eq!(backend.in_flight(), 0);
}

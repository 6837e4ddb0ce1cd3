use bytes::Bytes;

use super::*;

/// What is said of bytes that arrived.
#[derive(Debug, PartialEq)]
enum Advance {
    /// All of them may go on.
    Pass,
    /// `bytes[at..]` begins a head that is not complete.
    Hold { at: usize },
    /// `bytes[at..]` must not go on, nor anything after it.
    Refuse { at: usize, reason: Reason },
}

/// Reads messages as a connection does. After [`Advance::Hold`], the next call must begin with the
/// bytes that were held.
fn advance(framer: &mut Framer, bytes: &[u8]) -> Advance {
    let mut at = 0;
    while at < bytes.len() {
        let step = framer.step(&bytes[at..]).and_then(|step| match step {
            Step::Head { length } if framer.role == Role::Request => {
                let head = Bytes::copy_from_slice(&bytes[at..at + length]);
                request_head(&head).map(|_| step)
            }
            _ => Ok(step),
        });
        match step {
            Ok(Step::Incomplete) => return Advance::Hold { at },
            Ok(Step::Head { length } | Step::Data { length } | Step::Delimiter { length }) => {
                at += length;
            }
            Err(reason) => return Advance::Refuse { at, reason },
        }
    }
    Advance::Pass
}

fn requests(bytes: &[u8]) -> Advance {
    let mut framer = Framer::new(Role::Request, HeadLimits::default());
    advance(&mut framer, bytes)
}

fn reason_of(bytes: &[u8]) -> Option<Reason> {
    match requests(bytes) {
        Advance::Refuse { reason, .. } => Some(reason),
        Advance::Pass | Advance::Hold { .. } => None,
    }
}

/// Feeds the bytes one by one, as a slow client would, and tells what was let through.
fn drip(framer: &mut Framer, bytes: &[u8]) -> (usize, Option<Reason>) {
    let (mut held, mut passed) = (Vec::new(), 0);
    for &byte in bytes {
        held.push(byte);
        match advance(framer, &held) {
            Advance::Pass => {
                passed += held.len();
                held.clear();
            }
            Advance::Hold { at } => {
                passed += at;
                held.drain(..at);
            }
            Advance::Refuse { reason, .. } => return (passed, Some(reason)),
        }
    }
    (passed, None)
}

const GOOD: &[&[u8]] = &[
    b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    b"\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n",
    b"GET /a?b=c%20d HTTP/1.0\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
    b"GET http://a.example/b HTTP/1.1\r\nhost: a.example\r\n\r\n",
    b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello",
    b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length:\t5 \r\n\r\nhelloGET / HTTP/1.1\r\nhost: a\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nA;x=y\r\n0123456789\r\n0\r\nt: v\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nx: caf\xc3\xa9\ttab\r\n\r\n",
    b"GET / HTTP/1.1\r\nx:\r\n\r\n",
];

const BAD: &[(&[u8], Reason)] = {
    use Reason::*;
    &[
        (b"GET / HTTP/1.1\nhost: a\r\n\r\n", RequestLineMalformed),
        (b"\nGET / HTTP/1.1\r\n\r\n", RequestLineMalformed),
        (b"\r\n\r\nGET / HTTP/1.1\r\n\r\n", RequestLineMalformed),
        (b"GET / HTTP/1.1\r\nhost: a\n\r\n", HeaderMalformed),
        (b"GET / HTTP/1.1\r\nhost: a\r\n\n", HeaderMalformed),
        (b"GET / HTTP/1.1\r\nx: a\rb\r\n\r\n", HeaderMalformed),
        (
            b"GET / HTTP/1.1\r\nx: a\r\n folded\r\n\r\n",
            HeaderMalformed,
        ),
        (
            b"GET / HTTP/1.1\r\nx: a\r\n\tfolded\r\n\r\n",
            HeaderMalformed,
        ),
        (b"GET / HTTP/1.1\r\nx: a\0b\r\n\r\n", HeaderMalformed),
        (b"GET / HTTP/1.1\r\nx: a\x7fb\r\n\r\n", HeaderMalformed),
        (b"GET / HTTP/1.1\r\nx : a\r\n\r\n", HeaderMalformed),
        (b"GET / HTTP/1.1\r\n: a\r\n\r\n", HeaderMalformed),
        (b"GET / HTTP/1.1\r\nnocolon\r\n\r\n", HeaderMalformed),
        (b"GET / HTTP/1.1\r\nx\x80: a\r\n\r\n", HeaderMalformed),
        (b"GET  / HTTP/1.1\r\n\r\n", RequestLineMalformed),
        (b"GET /a b HTTP/1.1\r\n\r\n", RequestLineMalformed),
        (b"GET /\0 HTTP/1.1\r\n\r\n", RequestLineMalformed),
        (b"GET /\xc3\xa9 HTTP/1.1\r\n\r\n", RequestLineMalformed),
        (b"GET /#f HTTP/1.1\r\n\r\n", RequestLineMalformed),
        (b"GET a HTTP/1.1\r\n\r\n", RequestLineMalformed),
        (b"GET * HTTP/1.1\r\n\r\n", RequestLineMalformed),
        (b"GET ftp://a/ HTTP/1.1\r\n\r\n", RequestLineMalformed),
        (b"G@T / HTTP/1.1\r\n\r\n", RequestLineMalformed),
        (b" / HTTP/1.1\r\n\r\n", RequestLineMalformed),
        (b"GET /\r\n\r\n", RequestLineMalformed),
        (b"GET / http/1.1\r\n\r\n", RequestLineMalformed),
        (b"GET / HTTP/2.0\r\n\r\n", VersionNotSupported),
        (b"GET / HTTP/1.2\r\n\r\n", VersionNotSupported),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", VersionNotSupported),
        (b"CONNECT a:443 HTTP/1.1\r\n\r\n", MethodNotSupported),
        (
            b"GET / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\n",
            ContentLengthInvalid,
        ),
        (
            b"GET / HTTP/1.1\r\ncontent-length: 1\r\nContent-Length: 2\r\n\r\n",
            ContentLengthInvalid,
        ),
        (
            b"GET / HTTP/1.1\r\ncontent-length: 1, 1\r\n\r\n",
            ContentLengthInvalid,
        ),
        (
            b"GET / HTTP/1.1\r\ncontent-length: +1\r\n\r\n",
            ContentLengthInvalid,
        ),
        (
            b"GET / HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
            ContentLengthInvalid,
        ),
        (
            b"GET / HTTP/1.1\r\ncontent-length: 0x1\r\n\r\n",
            ContentLengthInvalid,
        ),
        (
            b"GET / HTTP/1.1\r\ncontent-length: \r\n\r\n",
            ContentLengthInvalid,
        ),
        (
            b"GET / HTTP/1.1\r\ncontent-length: 1 1\r\n\r\n",
            ContentLengthInvalid,
        ),
        (
            b"GET / HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n",
            ContentLengthInvalid,
        ),
        (
            b"GET / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            FramingConflict,
        ),
        (
            b"GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 1\r\n\r\n",
            FramingConflict,
        ),
        (
            b"GET / HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
            TransferEncodingInvalid,
        ),
        (
            b"GET / HTTP/1.1\r\ntransfer-encoding: identity\r\n\r\n",
            TransferEncodingInvalid,
        ),
        (
            b"GET / HTTP/1.1\r\ntransfer-encoding: xchunked\r\n\r\n",
            TransferEncodingInvalid,
        ),
        (
            b"GET / HTTP/1.1\r\ntransfer-encoding: \x0bchunked\r\n\r\n",
            TransferEncodingInvalid,
        ),
        (
            b"GET / HTTP/1.1\r\ntransfer-encoding: \x0cchunked\r\n\r\n",
            HeaderMalformed,
        ),
        (
            b"GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
            TransferEncodingInvalid,
        ),
        (
            b"GET / HTTP/1.1\r\ntransfer-encoding:\r\n\r\n",
            TransferEncodingInvalid,
        ),
        (
            b"GET / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n",
            TransferEncodingInvalid,
        ),
    ]
};

/// Malformed chunked bodies, behind a good head.
const BAD_CHUNKS: &[&[u8]] = &[
    b"g\r\n",
    b"\r\n",
    b"-1\r\n",
    b"0x1\r\n",
    b"1 \r\n",
    b" 1\r\n",
    b"1\n",
    b"1\r\nab\r\n",
    b"1\r\na\n",
    b"1;a\nb\r\n",
    b"1;a\0b\r\n",
    b"0000000000000001\r\n",
    b"ffffffffffffffff\r\n",
    b"0\r\n folded: x\r\n\r\n",
    b"0\r\n: x\r\n\r\n",
    b"0\r\nx: a\nb\r\n\r\n",
    b"0\r\n\n",
];

#[test]
fn good_messages_pass_whole_and_in_drips() {
    for bytes in GOOD {
        let text = String::from_utf8_lossy(bytes);
        assert_eq!(requests(bytes), Advance::Pass, "{text}");
        let mut framer = Framer::new(Role::Request, HeadLimits::default());
        assert_eq!(drip(&mut framer, bytes), (bytes.len(), None), "{text}");
        assert!(framer.is_between_messages(), "{text}");
    }
}

#[test]
fn what_can_be_read_in_two_ways_is_refused_whole_and_in_drips() {
    for (bytes, reason) in BAD {
        let text = String::from_utf8_lossy(bytes);
        assert_eq!(reason_of(bytes), Some(*reason), "{text:?}");
        let mut framer = Framer::new(Role::Request, HeadLimits::default());
        let (passed, dripped) = drip(&mut framer, bytes);
        assert_eq!(dripped, Some(*reason), "{text:?}");
        assert_eq!(passed, 0, "nothing of a refused head goes on: {text:?}");
    }
}

#[test]
fn a_malformed_chunked_body_is_refused() {
    for chunks in BAD_CHUNKS {
        let mut bytes = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        bytes.extend_from_slice(chunks);
        let text = String::from_utf8_lossy(chunks);
        assert_eq!(reason_of(&bytes), Some(Reason::BodyMalformed), "{text:?}");
    }
}

#[test]
fn a_bad_head_behind_a_good_request_is_refused_at_its_own_start() {
    let good = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut bytes = good.to_vec();
    bytes.extend_from_slice(b"GET / HTTP/1.1\r\nx\r\n\r\n");
    assert_eq!(
        requests(&bytes),
        Advance::Refuse {
            at: good.len(),
            reason: Reason::HeaderMalformed
        }
    );
}

#[test]
fn bounds_have_their_own_reasons() {
    let limits = HeadLimits {
        head_bytes_max: 256,
        headers_max: 3,
        target_bytes_max: 32,
    };
    let check = |text: String, expected: Option<Reason>| {
        let got = match advance(&mut Framer::new(Role::Request, limits), text.as_bytes()) {
            Advance::Refuse { reason, .. } => Some(reason),
            _ => None,
        };
        assert_eq!(got, expected, "{text:?}");
    };
    let a = |count| "a".repeat(count);
    check(format!("GET /{} HTTP/1.1\r\n\r\n", a(31)), None);
    check(
        format!("GET /{} HTTP/1.1\r\n\r\n", a(32)),
        Some(Reason::TargetTooLong),
    );
    check(format!("GET /{}", a(300)), Some(Reason::TargetTooLong));
    check("GET / HTTP/1.1\r\na:\r\nb:\r\nc:\r\n\r\n".into(), None);
    check(
        "GET / HTTP/1.1\r\na:\r\nb:\r\nc:\r\nd:\r\n\r\n".into(),
        Some(Reason::TooManyHeaders),
    );
    check(
        format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", a(250)),
        Some(Reason::HeadTooLarge),
    );
    check(
        format!("GET / HTTP/1.1\r\nx: {}", a(250)),
        Some(Reason::HeadTooLarge),
    );
}

fn response(answers_head: bool, bytes: &[u8]) -> (Advance, bool) {
    let mut framer = Framer::new(Role::Response, HeadLimits::default());
    framer.expect_answer_to_head(answers_head);
    let advanced = advance(&mut framer, bytes);
    (advanced, framer.is_between_messages())
}

#[test]
fn responses_are_framed_by_status_method_and_headers() {
    let whole: &[(bool, &[u8])] = &[
        (false, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
        (false, b"HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n"),
        (true, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"),
        (false, b"HTTP/1.1 204 No Content\r\n\r\n"),
        (false, b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n"),
        (false, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"),
    ];
    for (answers_head, bytes) in whole {
        let text = String::from_utf8_lossy(bytes);
        assert_eq!(
            response(*answers_head, bytes),
            (Advance::Pass, true),
            "{text}"
        );
    }
    let until_close = b"HTTP/1.1 200 OK\r\n\r\nanything\n\nat all";
    assert_eq!(response(false, until_close), (Advance::Pass, false));
}

#[test]
fn ambiguous_responses_are_refused() {
    let bad: &[&[u8]] = &[
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
        b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\r\n folded\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
    ];
    for bytes in bad {
        let text = String::from_utf8_lossy(bytes);
        let refused = Advance::Refuse {
            at: 0,
            reason: Reason::UpstreamInvalidResponse,
        };
        assert_eq!(response(false, bytes).0, refused, "{text:?}");
    }
}

#[test]
fn random_bytes_never_panic_and_split_reads_agree_with_whole_ones() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..20_000 {
        let mut bytes = GOOD[random.usize(..GOOD.len())].to_vec();
        for _ in 0..random.usize(..4) {
            let at = random.usize(..bytes.len());
            bytes[at] = *random.choice(b"\r\n\0 :;,0aZ\x80\tGT").unwrap_or(&0);
        }
        let mut whole = Framer::new(Role::Request, HeadLimits::default());
        let expected = match advance(&mut whole, &bytes) {
            Advance::Refuse { reason, .. } => Some(reason),
            _ => None,
        };
        let mut split = Framer::new(Role::Request, HeadLimits::default());
        let (_, got) = drip(&mut split, &bytes);
        assert_eq!(
            got,
            expected,
            "seed {seed}: {:?}",
            String::from_utf8_lossy(&bytes)
        );
    }
}

#[test]
fn a_head_becomes_what_it_says() {
    let head = b"\r\nPURGE /a?b HTTP/1.0\r\nHost:a\r\nx: \t b c \t\r\nX:\r\nlatin: caf\xe9\r\n\r\n";
    let parts = request_head(&Bytes::from_static(head)).expect("it is good");
    assert_eq!(parts.method, "PURGE");
    assert_eq!(parts.uri, "/a?b");
    assert_eq!(parts.version, http::Version::HTTP_10);
    let headers: Vec<_> = parts.headers.iter().collect();
    let headers = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()));
    let expected: [(&str, &[u8]); 4] = [
        ("host", b"a"),
        ("x", b"b c"),
        ("x", b""),
        ("latin", b"caf\xe9"),
    ];
    assert!(headers.eq(expected), "{:?}", parts.headers);
}

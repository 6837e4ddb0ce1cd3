//! B3, the trace headers of Zipkin (<https://github.com/openzipkin/b3-propagation>): as one
//! header `b3`, or as several `X-B3-…`.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{TraceContext, read_hex, write_hex};

/// The single header.
pub const B3: HeaderName = HeaderName::from_static("b3");
/// Id of the trace, 16 or 32 digits.
pub const X_B3_TRACE_ID: HeaderName = HeaderName::from_static("x-b3-traceid");
/// Id of the span that calls.
pub const X_B3_SPAN_ID: HeaderName = HeaderName::from_static("x-b3-spanid");
/// Id of that one's parent; what a sender writes that knows none is nothing.
pub const X_B3_PARENT_SPAN_ID: HeaderName = HeaderName::from_static("x-b3-parentspanid");
/// `1` or `0`; without it the decision is left to the receiver.
pub const X_B3_SAMPLED: HeaderName = HeaderName::from_static("x-b3-sampled");
/// `1` for debug, which implies sampled.
pub const X_B3_FLAGS: HeaderName = HeaderName::from_static("x-b3-flags");

/// What B3 headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Ids of the trace and of the calling span; `None` where only a decision came.
    pub position: Option<(u128, u64)>,
    /// Whether the trace is sampled; `None` where that is left to us.
    pub is_sampled: Option<bool>,
}

impl Received {
    /// What these headers say: the single one first. `None` where they say nothing, or nothing
    /// that is valid.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        // Hardly any request has one: one look at the names costs less than to ask for five.
        if !headers.keys().any(is_b3) {
            return None;
        }
        match headers.get(B3) {
            Some(value) => Self::parse(value.as_bytes()),
            None => Self::of_several(headers),
        }
    }

    /// Reads a `b3` value.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut parts = value.split(|&byte| byte == b'-');
        let first = parts.next()?;
        if value.len() == 1 {
            return Some(Self {
                position: None,
                is_sampled: Some(state(first)?),
            });
        }
        let position = position(first, parts.next()?)?;
        let is_sampled = match parts.next() {
            Some(text) => Some(state(text)?),
            None => None,
        };
        // The parent's parent, which is of no use here.
        let is_whole = parts.next().is_none_or(|parent| parent.len() == 16);
        (is_whole && parts.next().is_none()).then_some(Self {
            position: Some(position),
            is_sampled,
        })
    }

    fn of_several(headers: &HeaderMap) -> Option<Self> {
        let get = |name| headers.get(name).map(HeaderValue::as_bytes);
        let is_debug = get(X_B3_FLAGS) == Some(b"1");
        let is_sampled = match get(X_B3_SAMPLED) {
            _ if is_debug => Some(true),
            // Some senders of old write words.
            Some(b"1" | b"true") => Some(true),
            Some(b"0" | b"false") => Some(false),
            _ => None,
        };
        let position = match (get(X_B3_TRACE_ID), get(X_B3_SPAN_ID)) {
            (Some(trace_id), Some(span_id)) => Some(position(trace_id, span_id)?),
            _ => None,
        };
        (position.is_some() || is_sampled.is_some()).then_some(Self {
            position,
            is_sampled,
        })
    }
}

/// Whether a header is one of these.
#[must_use]
pub fn is_b3(name: &HeaderName) -> bool {
    let name = name.as_str();
    name == "b3" || name.starts_with("x-b3-")
}

fn state(text: &[u8]) -> Option<bool> {
    match text {
        b"1" | b"d" => Some(true),
        b"0" => Some(false),
        _ => None,
    }
}

fn position(trace_id: &[u8], span_id: &[u8]) -> Option<(u128, u64)> {
    if !matches!(trace_id.len(), 16 | 32) || span_id.len() != 16 {
        return None;
    }
    let trace_id = read_hex(trace_id)?;
    let span_id = u64::try_from(read_hex(span_id)?).ok()?;
    (trace_id != 0 && span_id != 0).then_some((trace_id, span_id))
}

/// Sets the single header; several of a client's are dropped, for they would contradict it.
pub fn set_single(headers: &mut HeaderMap, trace: &TraceContext) {
    remove(headers);
    let mut value = *b"00000000000000000000000000000000-0000000000000000-0";
    write_hex(trace.trace_id, &mut value[..32]);
    write_hex(trace.parent_id.into(), &mut value[33..49]);
    value[50] = sampled_digit(trace);
    headers.insert(B3, value_of(&value));
}

/// Sets the several headers; a client's single one is dropped, for it would contradict them.
pub fn set_several(headers: &mut HeaderMap, trace: &TraceContext) {
    remove(headers);
    let (mut trace_id, mut span_id) = ([0; 32], [0; 16]);
    write_hex(trace.trace_id, &mut trace_id);
    write_hex(trace.parent_id.into(), &mut span_id);
    headers.insert(X_B3_TRACE_ID, value_of(&trace_id));
    headers.insert(X_B3_SPAN_ID, value_of(&span_id));
    headers.insert(X_B3_SAMPLED, value_of(&[sampled_digit(trace)]));
}

fn remove(headers: &mut HeaderMap) {
    for name in [
        B3,
        X_B3_TRACE_ID,
        X_B3_SPAN_ID,
        X_B3_PARENT_SPAN_ID,
        X_B3_SAMPLED,
        X_B3_FLAGS,
    ] {
        headers.remove(name);
    }
}

fn sampled_digit(trace: &TraceContext) -> u8 {
    b'0' + u8::from(trace.is_sampled())
}

fn value_of(digits: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(digits).expect("digits and dashes are a header value")
}

#[cfg(test)]
mod tests {
    use super::super::SAMPLED;
    use super::*;

    const TRACE: u128 = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
    const SPAN: u64 = 0x00f0_67aa_0ba9_02b7;
    const IDS: &str = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7";

    #[test]
    fn the_single_header_is_read_strictly() {
        let at = Some((TRACE, SPAN));
        for (value, expected) in [
            ("0", Some((None, Some(false)))),
            ("1", Some((None, Some(true)))),
            ("d", Some((None, Some(true)))),
            (IDS, Some((at, None))),
            (&format!("{IDS}-1"), Some((at, Some(true)))),
            (&format!("{IDS}-0"), Some((at, Some(false)))),
            (&format!("{IDS}-d"), Some((at, Some(true)))),
            (&format!("{IDS}-1-05e3ac9a4f6e3b90"), Some((at, Some(true)))),
            (
                "a3ce929d0e0e4736-00f067aa0ba902b7-1",
                Some((Some((TRACE & u128::from(u64::MAX), SPAN)), Some(true))),
            ),
            ("", None),
            ("x", None),
            ("0000000000000000-00f067aa0ba902b7-1", None),
            ("a3ce929d0e0e4736-0000000000000000-1", None),
            ("a3ce929d0e0e473-00f067aa0ba902b7-1", None),
            (&format!("{IDS}-x"), None),
            (&format!("{IDS}-1-short"), None),
            (&format!("{IDS}-1-05e3ac9a4f6e3b90-1"), None),
            (&IDS.to_uppercase(), None),
        ] {
            let read = Received::parse(value.as_bytes());
            let read = read.map(|it| (it.position, it.is_sampled));
            assert_eq!(read, expected, "{value}");
        }
    }

    #[test]
    fn what_is_written_is_read_again_and_leaves_no_other_form() {
        for flags in [0, SAMPLED] {
            let trace = TraceContext {
                trace_id: TRACE,
                parent_id: SPAN,
                flags,
            };
            let mut headers = HeaderMap::new();
            for set in [set_single, set_several, set_single] {
                set(&mut headers, &trace);
                let read = Received::of(&headers).unwrap();
                assert_eq!(read.position, Some((TRACE, SPAN)));
                assert_eq!(read.is_sampled, Some(trace.is_sampled()));
                assert!(matches!(headers.len(), 1 | 3), "{headers:?}");
            }
        }
    }

    #[test]
    fn several_headers_may_carry_a_decision_alone() {
        let read = |pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs.iter().map(|(name, value)| {
                let value = HeaderValue::from_static(value);
                (HeaderName::from_static(name), value)
            });
            Received::of(&pairs.collect())
        };
        let decision = |is_sampled| {
            Some(Received {
                position: None,
                is_sampled: Some(is_sampled),
            })
        };
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[("x-b3-sampled", "0")]), decision(false));
        assert_eq!(read(&[("x-b3-sampled", "true")]), decision(true));
        assert_eq!(
            read(&[("x-b3-sampled", "0"), ("x-b3-flags", "1")]),
            decision(true)
        );
        assert_eq!(read(&[("x-b3-traceid", "no"), ("x-b3-spanid", "no")]), None);
        assert_eq!(read(&[("x-b3-traceid", "a3ce929d0e0e4736")]), None);
    }
}

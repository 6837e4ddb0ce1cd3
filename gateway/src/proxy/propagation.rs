//! The place of a request in its trace: as its caller says, or a new one; and what the next hop
//! is told of it.

use fastrand::Rng;
use gateway_core::plan::{SendB3, Tracing};
use http::HeaderMap;
use mesh::headers::TRACEPARENT;
use mesh::trace::{SAMPLED, TraceContext, b3};

/// Where a request stands in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// Its own span, as the next hop is told of it.
    pub(super) trace: TraceContext,
    /// The caller's span.
    pub(super) parent_id: Option<u64>,
}

/// The caller's trace. It is taken from anybody: it links spans and grants nothing.
pub(super) fn traceparent(headers: &HeaderMap) -> Option<TraceContext> {
    TraceContext::parse(headers.get(TRACEPARENT)?.as_bytes())
}

/// The place of a request where traces are made, and whether its trace is sampled.
pub(super) fn position(
    tracing: &Tracing,
    headers: &HeaderMap,
    is_trusted: bool,
    random: &mut Rng,
) -> Position {
    let (caller, wish) = match traceparent(headers) {
        Some(trace) => (
            Some((trace.trace_id, trace.parent_id)),
            Some(trace.is_sampled()),
        ),
        None if tracing.reads_b3 => match b3::Received::of(headers) {
            Some(received) => (received.position, received.is_sampled),
            None => (None, None),
        },
        None => (None, None),
    };
    let trace_id = caller.map_or_else(|| random.u128(1..), |(trace_id, _)| trace_id);
    let wish = wish.filter(|_| tracing.parents.is_followed(is_trusted));
    let is_sampled = wish.unwrap_or_else(|| tracing.roots.keeps(trace_id));
    Position {
        trace: TraceContext {
            trace_id,
            parent_id: random.u64(1..),
            flags: if is_sampled { SAMPLED } else { 0 },
        },
        parent_id: caller.map(|(_, span_id)| span_id),
    }
}

/// What tells the next hop in Zipkin's words, where that is asked for.
pub(super) fn b3(tracing: &Tracing, trace: &TraceContext) -> HeaderMap {
    let mut headers = HeaderMap::new();
    match tracing.sends_b3 {
        SendB3::None => {}
        SendB3::Single => b3::set_single(&mut headers, trace),
        SendB3::Multi => b3::set_several(&mut headers, trace),
    }
    headers
}

#[cfg(test)]
mod tests {
    use gateway_core::plan::Parents;
    use gateway_core::words::rate::Rate;
    use http::{HeaderName, HeaderValue};

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";

    fn headers(lines: &[(&str, String)]) -> HeaderMap {
        let lines = lines.iter().map(|(name, value)| {
            let name: HeaderName = name.parse().unwrap();
            (name, HeaderValue::from_str(value).unwrap())
        });
        lines.collect()
    }

    /// Whether the request goes on with the caller's trace, and whether it is sampled.
    fn decide(tracing: &Tracing, lines: &[(&str, String)], is_trusted: bool) -> (bool, bool) {
        let mut random = Rng::with_seed(7);
        let position = position(tracing, &headers(lines), is_trusted, &mut random);
        let is_callers = position.parent_id == u64::from_str_radix(PARENT, 16).ok();
        assert_eq!(
            is_callers,
            u128::from_str_radix(TRACE, 16) == Ok(position.trace.trace_id)
        );
        (is_callers, position.trace.is_sampled())
    }

    fn tracing(rate: Rate, parents: Parents) -> Tracing {
        Tracing {
            roots: rate.threshold(),
            parents,
            reads_b3: true,
            sends_b3: SendB3::None,
        }
    }

    #[test]
    fn the_callers_decision_is_followed_and_else_the_share_decides() {
        let w3c = |flags| vec![("traceparent", format!("00-{TRACE}-{PARENT}-{flags}"))];
        let b3 = |state| vec![("b3", format!("{TRACE}-{PARENT}{state}"))];
        let none = tracing(Rate::NONE, Parents::All);
        let all = tracing(Rate::ALL, Parents::All);
        for (lines, of_none, of_all) in [
            (vec![], (false, false), (false, true)),
            (w3c("01"), (true, true), (true, true)),
            (w3c("00"), (true, false), (true, false)),
            (b3("-1"), (true, true), (true, true)),
            (b3("-0"), (true, false), (true, false)),
            // The decision is left to us.
            (b3(""), (true, false), (true, true)),
            (vec![("b3", "0".to_owned())], (false, false), (false, false)),
            (
                vec![
                    ("x-b3-traceid", TRACE.to_owned()),
                    ("x-b3-spanid", PARENT.to_owned()),
                    ("x-b3-sampled", "1".to_owned()),
                ],
                (true, true),
                (true, true),
            ),
            // What is not valid was not sent.
            (
                vec![("traceparent", "00-x".to_owned())],
                (false, false),
                (false, true),
            ),
        ] {
            assert_eq!(decide(&none, &lines, false), of_none, "{lines:?}");
            assert_eq!(decide(&all, &lines, false), of_all, "{lines:?}");
        }
        // Of two kinds, W3C's counts.
        let both = [w3c("00"), vec![("b3", "1".to_owned())]].concat();
        assert_eq!(decide(&all, &both, false), (true, false));
    }

    #[test]
    fn whose_decision_counts_is_configured_and_the_ids_are_anybodys() {
        let sampled = [("traceparent", format!("00-{TRACE}-{PARENT}-01"))];
        for (parents, is_trusted, is_sampled) in [
            (Parents::All, false, true),
            (Parents::Trusted, false, false),
            (Parents::Trusted, true, true),
            (Parents::None, true, false),
        ] {
            let decided = decide(&tracing(Rate::NONE, parents), &sampled, is_trusted);
            assert_eq!(decided, (true, is_sampled), "{parents:?} {is_trusted}");
        }
    }

    #[test]
    fn b3_is_read_only_where_that_is_wanted() {
        let without = Tracing {
            reads_b3: false,
            ..tracing(Rate::NONE, Parents::All)
        };
        let lines = [("b3", format!("{TRACE}-{PARENT}-1"))];
        assert_eq!(decide(&without, &lines, false), (false, false));
    }
}

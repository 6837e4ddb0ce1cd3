//! Sends cases over a few connections, and says what came of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::thread;

use super::case::{Case, Expected};
use crate::support::backend::echoed;
use crate::support::wire::{Answer, Wire};

/// Connections at a time.
const CONNECTIONS: usize = 4;

/// A case that was not answered as it should be.
pub(super) struct Mismatch {
    family: &'static str,
    name: String,
    expected: String,
    actual: String,
}

/// Sends all cases; a connection that the gateway closes is replaced by another.
pub(super) fn run(gateway: SocketAddr, cases: &[Case]) -> Vec<Mismatch> {
    let share = cases.len().div_ceil(CONNECTIONS);
    thread::scope(|scope| {
        let threads: Vec<_> = cases
            .chunks(share)
            .map(|cases| scope.spawn(move || run_in_turn(gateway, cases)))
            .collect();
        let results = threads.into_iter();
        results
            .flat_map(|thread| {
                thread
                    .join()
                    .expect("its cases are collected, not asserted")
            })
            .collect()
    })
}

fn run_in_turn(gateway: SocketAddr, cases: &[Case]) -> Vec<Mismatch> {
    let mut mismatches = Vec::new();
    let mut wire = Wire::connect(gateway);
    for case in cases {
        // The gateway may refuse a request before it has read all of it.
        wire.try_send(&case.request);
        let answer = wire.try_receive();
        let actual = match &answer {
            Ok(answer) => shown(answer),
            Err(error) => error.clone(),
        };
        let expected = wanted(case.expected);
        if actual != expected {
            mismatches.push(Mismatch {
                family: case.family,
                name: case.name.clone(),
                expected,
                actual,
            });
        }
        if answer.map_or(true, |answer| answer.says_close()) {
            wire = Wire::connect(gateway);
        }
    }
    mismatches
}

fn wanted(expected: Expected) -> String {
    match expected {
        Expected::Passes(Some(user)) => format!("200 as {user:?}"),
        Expected::Passes(None) => "200 as nobody".to_owned(),
        Expected::Refused(status, code) => format!("{status} {code}"),
    }
}

/// What an answer says, in the words of [`wanted`]; more where it is wrong in itself.
fn shown(answer: &Answer) -> String {
    let Ok(body) = serde_json::from_slice::<serde_json::Value>(&answer.body) else {
        return format!("{} {}", answer.status, answer.text());
    };
    if answer.status == 200 {
        return match echoed(&body, "x-user-id")[..] {
            [] => "200 as nobody".to_owned(),
            [user] => format!("200 as {user:?}"),
            ref users => format!("200 as all of {users:?}"),
        };
    }
    let code = body["code"].as_str().unwrap_or("no code");
    let mut shown = format!("{} {code}", answer.status);
    // RFC 9110 section 15.5.2: a 401 says how to do better.
    let challenge = answer.header("www-authenticate").unwrap_or_default();
    if answer.status == 401 && !challenge.starts_with("Bearer") {
        shown += " without a challenge";
    }
    if answer.status == 401 && answer.header("cache-control").as_deref() != Some("no-store") {
        shown += " that may be cached";
    }
    shown
}

pub(super) fn table(mismatches: &[Mismatch]) -> String {
    let mut table = format!("{} cases were answered wrongly:\n", mismatches.len());
    for mismatch in mismatches {
        let Mismatch {
            family,
            name,
            expected,
            actual,
        } = mismatch;
        let _infallible = writeln!(
            table,
            "| {family} | {name} | expected {expected} | got {actual} |"
        );
    }
    table
}

#[expect(
    clippy::print_stdout,
    reason = "the summary is what `--nocapture` is for"
)]
pub(super) fn print_summary(cases: &[Case]) {
    let mut families: BTreeMap<_, (usize, usize)> = BTreeMap::new();
    for case in cases {
        let (refused, passed) = families.entry(case.family).or_default();
        match case.expected {
            Expected::Passes(_) => *passed += 1,
            Expected::Refused(..) => *refused += 1,
        }
    }
    println!("| {:<26} | refused | passed |", "family");
    for (family, (refused, passed)) in &families {
        println!("| {family:<26} | {refused:>7} | {passed:>6} |");
    }
    let passed: usize = families.values().map(|(_, passed)| passed).sum();
    let refused = cases.len() - passed;
    println!("| {:<26} | {refused:>7} | {passed:>6} |", "all");
}

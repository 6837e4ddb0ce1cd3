//! `bench peers` as a user runs it, with the one peer that is always there: its own relay.
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::process::{Command, Output};

fn peers(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["peers", "--only", "relay", "--rounds", "1"])
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn idle_connections_are_weighed_and_told_in_every_result() {
    let directory = tempfile::tempdir().unwrap();
    let folder = directory.path().join("results");
    let output = peers(&[
        "--scenario",
        "idle-20",
        "--settle",
        "100ms",
        "--goals",
        "--out",
        folder.to_str().unwrap(),
    ]);
    // No goal is about the relay, and what is not measured is not missed.
    assert!(output.status.success(), "{output:?}");

    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let result: serde_json::Value = serde_json::from_str(&read("result.json")).unwrap();
    let weights = &result["rows"][0]["samples"][0]["idle"];
    assert_eq!(weights["connections"], 20);
    assert_eq!(weights["closed"], 0);
    assert!(weights["resident_bytes_before"].as_u64().unwrap() > 1 << 20);
    let goals = result["goals"].as_array().unwrap();
    assert!(goals.iter().all(|goal| goal["verdict"] == "not_measured"));

    let text = String::from_utf8(output.stdout).unwrap();
    for expected in ["bytes each, never served", "Goals", "not measured"] {
        assert!(text.contains(expected), "{expected} is missing in:\n{text}");
        assert!(read("result.md").contains(expected), "{expected}");
    }
    assert!(read("bytes-idle-20.svg").contains("relay"));
}

#[test]
fn rates_of_the_gateway_need_the_gateway() {
    for scenario in ["half-load", "scaling", "reload"] {
        let output = peers(&["--scenario", scenario]);
        assert_eq!(output.status.code(), Some(1), "{scenario}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        let expected = "take their rates from the gateway; add it to --only";
        assert!(stderr.contains(expected), "{scenario}: {stderr}");
    }
}

#[test]
fn scenario_that_no_peer_takes_is_refused() {
    let output = peers(&["--scenario", "reload-500"]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    let expected = "`reload-500` can be asked of none of these peers";
    assert!(stderr.contains(expected), "{stderr}");
}

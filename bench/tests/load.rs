//! `bench load` as a user runs it, against the upstream of this same program.
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn bench() -> Command {
    Command::new(env!("CARGO_BIN_EXE_bench"))
}

/// The hidden upstream; ended when dropped.
struct Upstream {
    child: Child,
    url: String,
}

impl Upstream {
    fn start() -> Self {
        let mut child = bench()
            .args(["upstream", "--bodies", "1k"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut url).unwrap();
        Self {
            child,
            url: url.trim().to_owned(),
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn load(url: &str, arguments: &[&str]) -> Output {
    bench()
        .args(["load", "--url", url, "--connections", "4"])
        .args(["--warmup", "0s", "--duration", "200ms"])
        .args(arguments)
        .output()
        .unwrap()
}

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn every_answer_is_counted_once_in_every_figure() {
    let upstream = Upstream::start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("result.json");
    let file_argument = file.to_str().unwrap();
    let output = load(
        &format!("{}/1k", upstream.url),
        &[
            "--json",
            file_argument,
            "--threads",
            "2",
            "--token",
            "secret",
        ],
    );
    assert!(output.status.success(), "{output:?}");

    let result = json(&file);
    let answered = result["answered"].as_u64().unwrap();
    assert!(answered > 0);
    assert_eq!(result["succeeded"], answered);
    assert_eq!(result["statuses"]["200"], answered);
    assert_eq!(result["failures"], serde_json::json!({}));
    let histogram = result["latency"]["histogram"].as_array().unwrap();
    let counted: u64 = histogram.iter().map(|step| step[1].as_u64().unwrap()).sum();
    assert_eq!(counted, answered);
    assert!(result["received_bytes"].as_u64().unwrap() > answered * 1_024);

    let text = String::from_utf8(output.stdout).unwrap();
    for name in [
        "throughput",
        "latency p99.9",
        "status 200",
        "errors       none",
    ] {
        assert!(text.contains(name), "{name} is missing in:\n{text}");
    }
    assert!(!std::fs::read_to_string(&file).unwrap().contains("secret"));
}

#[test]
fn paths_are_asked_for_in_their_shares_at_the_rate() {
    let upstream = Upstream::start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("result.json");
    let tokens = directory.path().join("tokens");
    std::fs::write(&tokens, "one\n\ntwo\n").unwrap();
    let output = bench()
        .args(["load", "--url", &upstream.url, "--connections", "4"])
        .args(["--warmup", "0s", "--duration", "1s"])
        .args([
            "--rate",
            "200",
            "--path",
            "3:/1k",
            "--path",
            "1:/nowhere",
            "--token-file",
            tokens.to_str().unwrap(),
            "--json",
            file.to_str().unwrap(),
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let result = json(&file);
    let count = |status: &str| result["statuses"][status].as_u64().unwrap();
    let all = count("200") + count("404") + result["overdue"].as_u64().unwrap();
    assert_eq!(all, 200, "{result}");
    // Those that are overdue at the end may be of either path.
    assert!(count("200").abs_diff(3 * count("404")) <= 8, "{result}");
    assert_eq!(result["seconds"].as_array().unwrap().len(), 1);
}

#[test]
fn answers_without_success_are_a_failure_with_a_remedy() {
    let upstream = Upstream::start();
    let output = load(&format!("{}/nowhere", upstream.url), &[]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("no request succeeded: most answers were 404"),
        "{stderr}"
    );
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("status 404")
    );
}

#[test]
fn refused_connection_is_said_before_the_load() {
    // Bound, so that nobody else takes the port, and never listening.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    let output = load(&format!("http://{address}/"), &[]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    let expected = format!("error: nothing listens on {address}; start the server");
    assert!(stderr.contains(&expected), "{stderr}");
}

#[test]
fn url_without_a_scheme_is_refused_with_an_example() {
    let output = load("127.0.0.1:8080/users", &[]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("http://"), "{stderr}");
}

//! Where access lines go: a file that is taken away, another one, one that is full; and what is
//! logged besides, changed for a while.

use std::fs;
use std::path::Path;

use http::header::CONTENT_TYPE;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::admin_api;
use crate::support::eventually;
use crate::support::gateway::{TestGateway, access_lines, text_lines, whole};
use crate::support::http_client::{Fetch as _, client};
use crate::support::load::Load;
use crate::support::process::Process;

/// One route that answers by itself.
const ROUTE: &str = "routes:
  - {name: users, match: {path: /users}, auth: none, respond: {status: 200}}
";

fn file(log: &str) -> String {
    format!("access_log: {log}\n{ROUTE}")
}

fn count(path: &Path) -> usize {
    fs::read_to_string(path).unwrap_or_default().lines().count()
}

#[test]
fn a_file_that_is_moved_under_load_loses_no_line() {
    let gateway = TestGateway::start(ROUTE, &[]);
    let log = gateway.access_log().to_owned();
    let moved = |number: usize| log.with_extension(number.to_string());
    let load = Load::start(&gateway, String::new());
    for number in 0..3 {
        load.go_on_for(200);
        fs::rename(&log, moved(number)).expect("the log is there");
        // Whoever rotates makes a new file, or leaves that to us; or deletes one that is not read.
        if number == 1 {
            fs::write(&log, "").expect("a file can be made");
        }
        let reopened = number as u64 + 1;
        eventually("the file is opened anew", || {
            let counted = gateway.metrics().value("gateway_access_log_reopened_total");
            (counted >= reopened).then_some(())
        });
    }
    load.go_on_for(200);
    assert_eq!(load.end(), Vec::<String>::new());
    let metrics = gateway.metrics();
    let requests = metrics.series("gateway_requests_total");
    let requests: u64 = requests.iter().map(|(_, count)| count).sum();
    for lost in ["dropped", "unwritten"] {
        let lost = format!("gateway_access_log_lines_{lost}_total");
        assert_eq!(metrics.value(&lost), 0);
    }
    eventually("every request has its line", || {
        let lines: usize = (0..3).map(|number| count(&moved(number))).sum();
        (lines + count(&log) == usize::try_from(requests).expect("few")).then_some(())
    });
}

#[test]
fn a_full_disk_costs_lines_and_no_request() {
    let yaml = file("{output: /dev/full}");
    let gateway = TestGateway::start(&yaml, &[]);
    for _ in 0..3 {
        assert_eq!(gateway.get("/users").fetch().status(), 200);
    }
    gateway.wait_for_metric("gateway_access_log_lines_unwritten_total", 3);
    gateway.wait_for_metric("gateway_access_log_failing", 1);
    assert_eq!(gateway.get("/users").fetch().status(), 200);
}

#[test]
fn a_reload_changes_all_of_the_log_but_no_line_of_before() {
    let gateway = TestGateway::start_by_file(ROUTE);
    let other = gateway.routes().with_extension("other");
    gateway.get("/users").fetch();
    gateway.access_lines(1);
    let applied = |section: &str| {
        let answer = gateway.reload_well(&file(section));
        assert_eq!(answer["needs_restart"], json!([]), "{section}");
        gateway.get("/users").fetch();
    };
    applied("{output: \"${ACCESS_LOG}\", fields: [protocol]}");
    assert_eq!(gateway.access_lines(2)[1]["protocol"], "HTTP/1.1");
    applied("{output: \"${ACCESS_LOG}\", format: \"%{status}\"}");
    assert_eq!(text_lines(gateway.access_log(), 3)[2], "200");
    applied("{format: none}");
    applied("{output: \"${ACCESS_LOG}\", sample: {rate: 0%, slower_than: 1h}}");
    gateway.wait_for_metric("gateway_access_log_lines_left_out_total", 1);
    applied(&format!("{{output: {}}}", other.display()));
    assert_eq!(access_lines(&other, 1)[0]["path"], "/users");
    assert_eq!(text_lines(gateway.access_log(), 3).len(), 3);
}

#[test]
fn a_reload_to_an_output_that_cannot_be_opened_is_refused() {
    let gateway = TestGateway::start_by_file(ROUTE);
    let answer = gateway.reload(&file("{output: /nowhere/at/all/access.log}"));
    assert_eq!(answer.status(), 422, "{}", answer.text());
    assert!(answer.text().contains("/nowhere/at/all/access.log"));
    gateway.get("/users").fetch();
    gateway.access_lines(1);
}

/// The program by this section, and where it listens: for clients, and for its operator.
fn program(directory: &Path, section: &str) -> (Process, String, String) {
    let path = directory.join("routes.yaml");
    fs::write(&path, whole(&file(section))).expect("a file can be written");
    let path = path.to_str().expect("a path of text");
    let process = Process::start(&["run", "--config", path]);
    let line = process.wait_for("listening");
    let word = |name: &str| line[name].as_str().expect("text").to_owned();
    let (address, admin) = (word("address"), word("admin"));
    let url = format!("http://{admin}/readyz");
    eventually("it is ready", || {
        let reply = client().get(&url).try_fetch().ok()?;
        (reply.status() == 200).then_some(())
    });
    (process, address, admin)
}

#[test]
fn on_sigusr1_the_file_is_opened_anew() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let log = directory.path().join("access.log");
    let section = format!("{{output: {}}}", log.display());
    let (process, address, _) = program(directory.path(), &section);
    let url = format!("http://{address}/users");
    client().get(&url).fetch();
    access_lines(&log, 1);
    let moved = directory.path().join("moved");
    fs::rename(&log, &moved).expect("the log is there");
    process.signal(Signal::SIGUSR1);
    process.wait_for("the access log's file is opened anew");
    client().get(&url).fetch();
    access_lines(&log, 1);
    assert_eq!(count(&moved), 1);
    process.signal(Signal::SIGINT);
    assert_eq!(process.ended().0, Some(0));
}

#[test]
fn another_log_level_holds_for_its_time() {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let (process, _, admin) = program(directory.path(), "{format: none}");
    let url = format!("http://{admin}/api/v1/log-level");
    let put = |body: Value| {
        let request = client().put(&url).header(CONTENT_TYPE, "application/json");
        request.body(body.to_string()).fetch()
    };
    let shown = || client().get(&url).fetch().json();
    let document = client().get(format!("http://{admin}/api/openapi.json"));
    let document = document.fetch().json();
    let operations = &document["paths"]["/api/v1/log-level"];
    admin_api::check(
        &document,
        &operations["get"],
        &client().get(&url).fetch(),
        "GET",
    );
    let as_at_start = json!({"filter": "info", "started_with": "info", "until": null});
    assert_eq!(shown(), as_at_start);
    let answer = put(json!({"level": "debug", "for": "1s"})).json();
    let filter = "info,gateway=debug,gateway_core=debug,mesh=debug";
    assert_eq!(
        (&answer["filter"], answer["until"].is_u64()),
        (&filter.into(), true)
    );
    process.wait_for("another log filter is in force");
    process.wait_for("the log filter of the start is in force again");
    assert_eq!(shown(), as_at_start);
    for (body, status) in [
        (json!({"level": "loud"}), 400),
        (json!({"filter": "gateway=loud"}), 400),
        (json!({"level": "info", "filter": "info"}), 400),
        (json!({"for": "10m"}), 400),
        (json!({"level": "debug", "for": "25h"}), 400),
        (json!({"level": "debug", "for": "0s"}), 400),
        (json!({"level": "debug", "more": 1}), 400),
        (json!({"filter": "info"}), 200),
    ] {
        let answer = put(body.clone());
        assert_eq!(answer.status(), status, "{body}");
        admin_api::check(&document, &operations["put"], &answer, &body.to_string());
    }
    let plain = client().put(&url).body("{\"level\": \"debug\"}").fetch();
    assert_eq!(plain.status(), 415);
    let page = client().put(&url).header("origin", "http://evil.example");
    assert_eq!(page.body("{}").fetch().status(), 403);
    assert_eq!(shown(), as_at_start);
}

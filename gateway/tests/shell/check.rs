//! `gateway check` as a program: what goes where, exit codes, the JSON, named files.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

const GOOD: &str = "version: 1
routes:
  - {name: status, match: {path: /status}, auth: none, respond: {status: 200}}
";
const ODD: &str = "version: 1
upstreams: {spare: {static: [\"127.0.0.1:9001\"]}}
routes:
  - {name: status, match: {path: /status}, auth: none, respond: {status: 200}}
";
const BROKEN: &str = "version: 1
routes:
  - {name: status, macth: {path: /status}, auth: none, respond: {status: 99}}
";
const NAMES_FILES: &str = "version: 1
api_keys: {partners: {file: KEYS}}
routes:
  - {name: status, match: {path: /status}, auth: {api_key: partners}, respond: {status: 200}}
";

fn check(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gateway"))
        .arg("check")
        .args(arguments)
        .current_dir(directory)
        .output()
        .expect("the program starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, content) in files {
        std::fs::write(directory.path().join(name), content).expect("a file");
    }
    directory
}

#[test]
fn the_exit_code_tells_good_from_broken_and_denied_warnings() {
    let files = [("good", GOOD), ("odd", ODD), ("broken", BROKEN)];
    let directory = directory(&files);
    let cases: [(&[&str], i32); 9] = [
        (&["good"], 0),
        (&["odd"], 0),
        (&["good", "odd", "--deny-warnings"], 3),
        (&["good", "--deny-warnings"], 0),
        (&["broken"], 1),
        (&["odd", "broken", "--deny-warnings"], 1),
        (&["absent"], 1),
        (&[], 2),
        (&["good", "--format", "xml"], 2),
    ];
    for (arguments, code) in cases {
        let output = check(directory.path(), arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?} {output:?}");
    }
}

#[test]
fn people_are_told_on_standard_error_and_without_colours_where_it_is_no_terminal() {
    let directory = directory(&[("good", GOOD), ("odd", ODD), ("broken", BROKEN)]);
    let output = check(directory.path(), &["good", "odd", "broken"]);
    let told = text(&output.stderr);
    for part in [
        "warning[unused-upstream]: no route uses `spare` of `upstreams`",
        " --> odd:2:13 (upstreams.spare)",
        "error: unknown key `macth`",
        "help: did you mean `match`?",
        "error: 99 is out of range",
        "2 errors",
    ] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    assert!(!told.contains('\u{1b}'), "{told}");
    assert_eq!(
        text(&output.stdout),
        "good is good: 1 route, 0 upstreams, 0 JWT providers\n\
         odd is good: 1 route, 1 upstream, 0 JWT providers; 1 warning\n"
    );
}

#[test]
fn programs_get_one_object_with_places() {
    let directory = directory(&[("odd", ODD), ("broken", BROKEN)]);
    let output = check(directory.path(), &["odd", "broken", "--format=json"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "");
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let problems = told["problems"].as_array().expect("a list");
    assert_eq!(problems.len(), 3, "{told}");
    assert_eq!(
        problems[0],
        serde_json::json!({
            "severity": "warning", "code": "unused-upstream",
            "message": "no route uses `spare` of `upstreams`",
            "help": "remove it, or name it in a route: its source is asked all the same",
            "path": "upstreams.spare", "file": "odd", "line": 2, "column": 13, "end_column": 18,
        })
    );
    assert_eq!(problems[1]["severity"], "error");
    assert_eq!(problems[1]["code"], Value::Null);
    assert_eq!(problems[1]["file"], "broken");
    assert_eq!(problems[1]["line"], 3);
}

#[test]
fn what_cannot_be_read_is_told_with_the_remedy() {
    let directory = directory(&[]);
    let folder = directory.path();
    std::fs::create_dir(folder.join("folder")).expect("a directory");
    std::fs::write(folder.join("binary"), [b'a', b'\n', 0xff, 0]).expect("a file");
    std::fs::write(folder.join("large"), vec![b'#'; (16 << 20) + 1]).expect("a file");
    for (name, message, remedy) in [
        ("absent", "cannot read `absent`", "mend the path"),
        ("folder", "cannot read `folder`", "name a regular file"),
        ("binary", "line 2 has a byte", "save it as UTF-8"),
        ("large", "larger than 16777216 bytes", "take out"),
    ] {
        let output = check(folder, &[name]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let told = text(&output.stderr);
        assert!(told.contains(message) && told.contains(remedy), "{told}");
    }
}

#[test]
fn files_that_it_names_are_looked_at_unless_they_are_left_out() {
    let directory = directory(&[("routes", NAMES_FILES)]);
    let output = check(directory.path(), &["routes"]);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.contains("cannot read `KEYS`"), "{told}");
    assert!(
        told.contains("--> routes:2:29 (api_keys.partners.file)"),
        "{told}"
    );
    let output = check(directory.path(), &["routes", "--no-files"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    std::fs::write(directory.path().join("KEYS"), "keys: [{id: 1}]\n").expect("a file");
    let output = check(directory.path(), &["routes"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("--> KEYS:1:"), "{output:?}");
}

#[test]
fn schema_prints_what_ships() {
    let output = Command::new(env!("CARGO_BIN_EXE_gateway"))
        .arg("schema")
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{output:?}");
    let ships = include_str!("../../../docs/routes-file.schema.json");
    assert_eq!(text(&output.stdout), ships);
}

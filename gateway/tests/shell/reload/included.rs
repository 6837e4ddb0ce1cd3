//! A configuration of several files: which of them are watched, and what is said of each.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use gateway::{ConfigSource, Gateway, Handle, Options};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{fixed, forwarded};
use crate::support::eventually;
use crate::support::gateway::whole;
use crate::support::http_client::{Fetch as _, Reply, client};

/// A folder with a routes file that includes all of `routes.d`.
struct Folder(TempDir);

impl Folder {
    fn new(main: &str) -> Self {
        let folder = Self(tempfile::tempdir().expect("a directory"));
        fs::create_dir(folder.path().join("routes.d")).expect("a directory");
        let main = whole(&format!("include: [\"routes.d/*.yaml\"]\n{main}"));
        let main = main.replace("output: \"${ACCESS_LOG}\"", "format: none");
        folder.write("routes.yaml", &main);
        folder
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).expect("a file");
    }

    fn start(&self, options: Options) -> Result<Handle, String> {
        let source = ConfigSource::file_with(self.path().join("routes.yaml"), |_| None);
        let source = source.remembered_at(Some(self.path().join("last-good")));
        let gateway = Gateway::build_from(source, options).map_err(|error| error.to_string())?;
        Ok(gateway.spawn().expect("a thread"))
    }

    fn gateway(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_gateway"))
            .args(arguments)
            .current_dir(self.path())
            .output()
            .expect("the program starts")
    }
}

fn routes(routes: &[String]) -> String {
    format!("routes:\n{}", routes.concat())
}

fn status(gateway: &Handle, path: &str) -> u16 {
    let url = format!("http://{}{path}", gateway.addresses[0]);
    client().get(url).fetch().status()
}

fn reload(gateway: &Handle) -> Reply {
    let url = format!("http://{}/reload", gateway.admin);
    client().post(url).fetch()
}

fn eventually_answers(gateway: &Handle, path: &str, expected: u16) {
    eventually("the files are read again", || {
        (status(gateway, path) == expected).then_some(())
    });
}

#[test]
fn a_file_that_is_changed_added_removed_or_linked_anew_is_seen() {
    let folder = Folder::new(&routes(&[fixed("main", 200)]));
    folder.write("routes.d/a.yaml", &routes(&[fixed("a", 200)]));
    // What editors and Kubernetes leave beside the files is not read.
    folder.write("routes.d/.b.yaml.swp", "not: [yaml");
    folder.write("routes.d/.hidden.yaml", "not: [yaml");
    let gateway = folder.start(Options::default()).unwrap();
    assert_eq!(status(&gateway, "/main"), 200);
    assert_eq!(status(&gateway, "/a"), 200);
    folder.write("routes.d/a.yaml", &routes(&[fixed("a", 201)]));
    eventually_answers(&gateway, "/a", 201);
    folder.write("routes.d/b.yaml", &routes(&[fixed("b", 202)]));
    eventually_answers(&gateway, "/b", 202);
    fs::remove_file(folder.path().join("routes.d/b.yaml")).unwrap();
    eventually_answers(&gateway, "/b", 404);
    // As Kubernetes swaps a config map.
    fs::create_dir(folder.path().join("second")).unwrap();
    folder.write("second/c.yaml", &routes(&[fixed("c", 203)]));
    fs::rename(folder.path().join("routes.d"), folder.path().join("first")).unwrap();
    symlink("second", folder.path().join("routes.d")).unwrap();
    eventually_answers(&gateway, "/c", 203);
    assert_eq!(status(&gateway, "/a"), 404);
}

#[test]
fn a_bad_file_among_good_ones_is_refused_by_name_and_taken_when_it_is_mended() {
    let folder = Folder::new(&routes(&[fixed("main", 200)]));
    let gateway = folder.start(Options::unwatched()).unwrap();
    let hash = |reply: &Reply| reply.json()["hash"].clone();
    let first = reload(&gateway);
    assert_eq!(first.json()["result"], "unchanged");
    let bad = "routes:\n  - {name: a, macth: {path: /a}, auth: none, respond: {status: 200}}\n";
    folder.write("routes.d/a.yaml", bad);
    let refused = reload(&gateway);
    assert_eq!(refused.status(), 422);
    let problem = &refused.json()["problems"][0];
    let file = problem["file"].as_str().unwrap();
    assert!(file.ends_with("routes.d/a.yaml"), "{problem}");
    assert_eq!(problem["line"], 2);
    assert_eq!(status(&gateway, "/a"), 404, "the one before stays in force");
    // A file that is no text is no part of what is in force either.
    fs::write(folder.path().join("routes.d/a.yaml"), [0xff, 0, 1]).unwrap();
    assert_eq!(reload(&gateway).status(), 422);
    folder.write("routes.d/a.yaml", &routes(&[fixed("a", 200)]));
    let applied = reload(&gateway);
    assert_eq!(applied.json()["result"], "applied");
    assert_eq!(applied.json()["changes"]["routes"]["added"], json!(["a"]));
    assert_ne!(hash(&applied), hash(&first));
    assert_eq!(status(&gateway, "/a"), 200);
}

#[test]
fn a_start_with_bad_files_serves_by_all_of_the_last_good_ones() {
    let folder = Folder::new(&routes(&[fixed("main", 200)]));
    folder.write("routes.d/a.yaml", &routes(&[fixed("a", 201)]));
    let gateway = folder.start(Options::unwatched()).unwrap();
    let kept = folder.path().join("last-good");
    eventually("they are remembered", || kept.exists().then_some(()));
    drop(gateway);
    fs::remove_dir_all(folder.path().join("routes.d")).unwrap();
    let bad = whole("include: [absent.yaml]\nroutes: []\n");
    folder.write("routes.yaml", &bad);
    let gateway = folder.start(Options::unwatched()).unwrap();
    assert_eq!(status(&gateway, "/main"), 200);
    assert_eq!(status(&gateway, "/a"), 201);
}

#[test]
fn the_admin_api_names_the_file_and_line_of_every_part() {
    let folder = Folder::new(&routes(&[fixed("main", 200)]));
    let upstreams = "upstreams:\n  u: {static: [\"127.0.0.1:9\"]}\n";
    let included = format!("{upstreams}{}", routes(&[forwarded("a", "u")]));
    folder.write("routes.d/a.yaml", &included);
    let gateway = folder.start(Options::unwatched()).unwrap();
    let get = |path: &str| {
        let url = format!("http://{}/api/v1/{path}", gateway.admin);
        client().get(url).fetch().json()
    };
    let config = get("config");
    let files = config["files"].as_array().unwrap();
    assert_eq!(files.len(), 2);
    let is_included = |part: &Value| {
        let file = part["file"].as_str().unwrap();
        assert!(file.ends_with("routes.d/a.yaml"), "{part}");
        part["line"].clone()
    };
    assert_eq!(config["file"], files[0]);
    assert_eq!(config["routes"][0]["file"], files[0]);
    assert_eq!(is_included(&config["routes"][1]), 4);
    assert_eq!(is_included(&config["upstreams"][0]), 2);
    assert_eq!(is_included(&get("routes")["routes"][1]), 4);
    assert_eq!(is_included(&get("upstreams")["upstreams"][0]), 2);
    let admin = format!("http://{}", gateway.admin);
    let arguments = ["explain", "--admin", &admin, "GET", "/a"];
    let explained = |format: &str| {
        let output = folder.gateway(&[&arguments[..], &["--format", format]].concat());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        output.stdout
    };
    let told: Value = serde_json::from_slice(&explained("json")).expect("JSON");
    let [winner, loser] = &told["candidates"].as_array().unwrap()[..] else {
        panic!("{told}");
    };
    assert_eq!(is_included(&told["route"]), 4);
    assert_eq!(is_included(winner), 4);
    assert_eq!(
        (&loser["route"], &loser["file"], &loser["line"]),
        (&json!("main"), &files[0], &config["routes"][0]["line"])
    );
    assert_eq!(is_included(&told["upstreams"][0]), 2);
    let text = String::from_utf8(explained("text")).unwrap();
    for (line, file, number) in [
        ("> a ", &winner["file"], &winner["line"]),
        ("  main ", &loser["file"], &loser["line"]),
    ] {
        let mut lines = text.lines();
        let line = lines.find(|it| it.starts_with(line)).expect(&text);
        let place = format!("({}:{number})", file.as_str().unwrap());
        assert!(line.ends_with(&place), "{text}");
    }
}

#[test]
fn check_and_explain_read_included_files() {
    let folder = Folder::new(&routes(&[fixed("main", 200)]));
    let empty = folder.gateway(&["check", "routes.yaml", "--deny-warnings"]);
    let told = String::from_utf8(empty.stderr).unwrap();
    assert_eq!(empty.status.code(), Some(3), "{told}");
    assert!(told.contains("warning[include-without-match]"), "{told}");
    folder.write("routes.d/a.yaml", &routes(&[fixed("a", 201)]));
    let good = folder.gateway(&["check", "routes.yaml", "--deny-warnings"]);
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    let arguments = [
        "explain",
        "-c",
        "routes.yaml",
        "GET",
        "/a",
        "--format",
        "json",
    ];
    let explained = folder.gateway(&arguments);
    let explained: Value = serde_json::from_slice(&explained.stdout).expect("JSON");
    assert_eq!(explained["route"]["name"], "a", "{explained}");
    assert_eq!(explained["route"]["file"], "routes.d/a.yaml", "{explained}");
    assert_eq!(explained["route"]["line"], 2, "{explained}");
    folder.write("routes.d/b.yaml", &routes(&[fixed("a", 201)]));
    let twice = folder.gateway(&["check", "routes.yaml", "--format", "json"]);
    assert_eq!(twice.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&twice.stdout).expect("JSON");
    let problem = &report["problems"][0];
    assert_eq!(problem["file"], "routes.d/b.yaml");
    let message = problem["message"].as_str().unwrap();
    assert!(message.contains("(routes.d/a.yaml:2)"), "{message}");
}

#[test]
fn what_no_list_of_files_can_mean_is_refused_with_the_remedy() {
    for (include, message) in [
        ("routes.d/**/*.yaml", "`**` is not known"),
        ("\"routes.d/[a.yaml\"", "this is no pattern"),
        ("routes.d", "it is not a regular file"),
        ("routes.yaml", "files include each other in a circle"),
        (
            "./routes.d/../routes.yaml",
            "files include each other in a circle",
        ),
        ("absent.yaml", "cannot read `absent.yaml`"),
        ("\"a.yaml\", \"./a.yaml\"", "`./a.yaml` is included twice"),
        ("\"[aab].yaml\", link.yaml", "`link.yaml` is included twice"),
    ] {
        let folder = Folder::new("");
        folder.write("a.yaml", &routes(&[fixed("a", 200)]));
        symlink("a.yaml", folder.path().join("link.yaml")).unwrap();
        folder.write(
            "routes.yaml",
            &format!("version: 1\ninclude: [{include}]\n"),
        );
        let output = folder.gateway(&["check", "routes.yaml"]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{include}: {told}");
        assert!(told.contains(message), "{include}: {told}");
        assert!(told.contains("--> routes.yaml:2:"), "{include}: {told}");
        assert!(told.contains("help: "), "{include}: {told}");
    }
}

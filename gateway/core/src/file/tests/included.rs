//! A configuration of several files: what they mean together, and what is said of broken ones.

use expect_test::expect_file;

use super::folder::Folder;
use super::*;
use crate::file::{Report, check_included};
use crate::plan::Line;

const MAIN: &str = "routes.yaml";
const ROUTE: &str = "routes:
  - {name: status, match: {path: /status}, auth: none, respond: {status: 200}}
";
const MORE: &str = "upstreams: {users: {static: [\"127.0.0.1:1\"]}}
routes:
  - {name: users, match: {path: /users}, auth: none, backends: [{upstream: users}]}
";

/// The first file is the one that is asked for.
fn report(files: &[(&str, &str)]) -> Report {
    let (name, text) = files[0];
    check_included(Source { name, text }, &Folder(files), &variables)
}

fn good(files: &[(&str, &str)]) -> Compiled {
    let outcome = report(files).outcome;
    outcome.unwrap_or_else(|problems| panic!("{problems}"))
}

fn including(files: &str, rest: &str) -> String {
    format!("version: 1\ninclude: [{files}]\n{rest}")
}

#[test]
fn files_come_in_the_order_in_which_they_are_named_each_before_what_it_includes() {
    let route = |name: &str| {
        format!(
            "routes:\n  - {{name: {name}, match: {{path: /{name}}}, auth: none, respond: {{status: 200}}}}\n"
        )
    };
    let main = including("b.yaml, \"d/*.yaml\"", &route("first"));
    let b = format!("include: [deep/c.yaml]\n{}", route("b"));
    let deep = format!("include: [../e.yaml]\n{}", route("c"));
    let names = ["d1", "d2", "e"].map(route);
    let compiled = good(&[
        (MAIN, &main),
        ("b.yaml", &b),
        ("deep/c.yaml", &deep),
        ("d/1.yaml", &names[0]),
        ("d/2.yaml", &names[1]),
        ("e.yaml", &names[2]),
    ]);
    let routes = compiled.plan.routes.iter().map(|it| &*it.name);
    let routes: Vec<_> = routes.collect();
    assert_eq!(routes, ["first", "b", "c", "e", "d1", "d2"]);
}

#[test]
fn every_part_leads_back_to_its_file_and_line() {
    let main = including("more.yaml", ROUTE);
    let plan = good(&[(MAIN, &main), ("more.yaml", MORE)]).plan;
    let files: Vec<_> = plan.origins.files.iter().map(|it| &**it).collect();
    assert_eq!(files, [MAIN, "more.yaml"]);
    let at = |file, line| Some(Line { file, line });
    assert_eq!(plan.origins.routes, [at(0, 4), at(1, 3)]);
    assert_eq!(plan.origins.upstreams, [at(1, 1)]);
}

#[test]
fn variables_are_replaced_in_included_files_and_in_their_paths() {
    let main = including("\"${PORT}/*.yaml\"", "");
    let more = MORE.replace("127.0.0.1:1", "127.0.0.1:${PORT}");
    let settings = good(&[(MAIN, &main), ("8081/a.yaml", &more)]).settings;
    let shown = format!("{:?}", settings.endpoint_sources);
    assert!(shown.contains("8081"), "{shown}");
}

#[test]
fn a_file_means_the_same_whole_and_in_pieces() {
    let whole = include_str!("corpus/everything.yaml");
    // Each top-level key with what is below it, and the remarks before the next one.
    let mut pieces: Vec<String> = Vec::new();
    for line in whole.split_inclusive('\n') {
        let begins = line.starts_with(|first: char| first.is_ascii_lowercase());
        match pieces.last_mut().filter(|_| !begins) {
            Some(piece) => piece.push_str(line),
            None => pieces.push(line.to_owned()),
        }
    }
    let is_version = |piece: &String| piece.starts_with("version:");
    let is_remark = |piece: &String| piece.starts_with('#');
    pieces.retain(|piece| !is_version(piece) && !is_remark(piece));
    assert!(pieces.len() > 10, "{pieces:?}");
    let names: Vec<_> = (10..pieces.len() + 10)
        .map(|number| format!("routes.d/{number}.yaml"))
        .collect();
    let main = including("routes.d/*.yaml", "");
    let included = names.iter().zip(&pieces);
    let included = included.map(|(name, piece)| (name.as_str(), piece.as_str()));
    let files: Vec<_> = [(MAIN, main.as_str())]
        .into_iter()
        .chain(included)
        .collect();
    let (in_pieces, whole) = (good(&files), good(&[(MAIN, whole)]));
    assert_eq!(
        in_pieces.outline.changes_since(&whole.outline),
        crate::file::Changes::default()
    );
    let shown = |compiled: &Compiled| format!("{:?}", compiled.settings);
    assert_eq!(shown(&in_pieces), shown(&whole));
}

/// What is wrong, what the file that is asked for says between version and routes, and the others.
type Broken<'b> = (&'b str, &'b str, &'b [(&'b str, &'b str)]);

const BROKEN: &[Broken<'_>] = &[
    (
        "a file that includes itself",
        "include: [routes.yaml]\n",
        &[],
    ),
    (
        "files that include each other",
        "include: [a.yaml]\n",
        &[
            ("a.yaml", "include: [b.yaml]\n"),
            ("b.yaml", "include: [a.yaml]\n"),
        ],
    ),
    (
        "the first file in a circle",
        "include: [a/b.yaml]\n",
        &[("a/b.yaml", "include: [../routes.yaml]\n")],
    ),
    ("a file that is not there", "include: [absent.yaml]\n", &[]),
    (
        "a file that is not there and a problem elsewhere",
        "include: [absent.yaml, a.yaml]\n",
        &[("a.yaml", "routes: [\n")],
    ),
    (
        "a program",
        "include: [a.yaml]\n",
        &[("a.yaml", "\u{7f}ELF\0\0")],
    ),
    (
        "a file that is named twice",
        "include: [a.yaml, \"*.yaml\"]\n",
        &[("a.yaml", MORE)],
    ),
    (
        "an upstream in two files",
        "include: [a.yaml, b.yaml]\n",
        &[
            ("a.yaml", MORE),
            (
                "b.yaml",
                "upstreams:\n  users: {static: [\"127.0.0.1:2\"]}\n",
            ),
        ],
    ),
    (
        "a route in two files",
        "include: [a.yaml, b.yaml]\n",
        &[
            ("a.yaml", MORE),
            (
                "b.yaml",
                "routes:\n  - {name: users, match: {path: /u}, auth: none, respond: {status: 200}}\n",
            ),
        ],
    ),
    (
        "a setting in two files",
        "include: [a.yaml]\nworkers: 2\n",
        &[("a.yaml", "workers: 2\n")],
    ),
    (
        "another version",
        "include: [a.yaml]\n",
        &[("a.yaml", "version: 2\n")],
    ),
    ("a word in place of the list", "include: a.yaml\n", &[]),
    ("nothing in place of the list", "include:\n", &[]),
    ("a map in place of the list", "include: {a: b}\n", &[]),
    ("a list in the list", "include: [[a.yaml]]\n", &[]),
    ("an empty path", "include: [\"\"]\n", &[]),
    ("a pattern taken for an alias", "include: [*.yaml]\n", &[]),
    (
        "a variable that is not set",
        "include: [\"${NOT_SET}\"]\n",
        &[],
    ),
    (
        "a secret in place of a path",
        "include: [\"${JWT_SECRET_WEAK}\"]\n",
        &[],
    ),
    (
        "an included list",
        "include: [a.yaml]\n",
        &[("a.yaml", "- {name: users}\n")],
    ),
    (
        "an empty file",
        "include: [a.yaml]\n",
        &[("a.yaml", "# nothing\n")],
    ),
    (
        "sections of the wrong kind",
        "include: [a.yaml, b.yaml]\n",
        &[
            ("a.yaml", "upstreams: [users]\nroutes: {name: users}\n"),
            ("b.yaml", MORE),
        ],
    ),
    (
        "a misspelt key in an included file",
        "include: [a.yaml]\n",
        &[("a.yaml", "upstream: {}\n")],
    ),
    (
        "a bad value in an included file",
        "include: [a.yaml]\n",
        &[(
            "a.yaml",
            "routes:\n  - {name: a, match: {path: /a}, auth: none, respond: {status: 99}}\n",
        )],
    ),
    (
        "an upstream that no file has",
        "include: [a.yaml]\n",
        &[(
            "a.yaml",
            "routes:\n  - {name: a, match: {path: /a}, auth: none, backends: [{upstream: u}]}\n",
        )],
    ),
];

#[test]
fn what_is_wrong_is_said_with_its_own_file_line_and_remedy() {
    let mut shown = String::new();
    for (name, head, others) in BROKEN {
        let main = format!("version: 1\n{head}{ROUTE}");
        let files: Vec<_> = [(MAIN, main.as_str())]
            .into_iter()
            .chain(others.iter().copied())
            .collect();
        let problems = report(&files).outcome.expect_err(name);
        for problem in &problems {
            assert!(problem.position.is_some(), "{name}: {problem:?}");
            assert!(problem.help.is_some(), "{name}: {problem:?}");
        }
        let text = problems.to_string();
        assert!(!text.contains("hunter2"), "{text}");
        writeln!(shown, "## {name}\n{text}").unwrap();
    }
    expect_file!["included.txt"].assert_eq(&shown);
}

#[test]
fn the_version_stands_in_the_first_file() {
    let files = [
        (MAIN, "include: [a.yaml]\n"),
        ("a.yaml", "version: 1\nroutes: []\n"),
    ];
    let problems = report(&files).outcome.expect_err("it is elsewhere");
    assert!(
        problems.to_string().contains("missing key `version`"),
        "{problems}"
    );
}

#[test]
fn files_nest_eight_deep_and_no_deeper() {
    for (depth, is_good) in [(8, true), (9, false)] {
        let names: Vec<_> = (0..depth).map(|number| format!("{number}.yaml")).collect();
        let texts: Vec<_> = (1..=depth)
            .map(|number| match number {
                number if number == depth => MORE.to_owned(),
                number => format!("include: [{number}.yaml]\n"),
            })
            .collect();
        let main = including("0.yaml", ROUTE);
        let mut files = vec![(MAIN, main.as_str())];
        let included = names.iter().zip(&texts);
        files.extend(included.map(|(name, text)| (name.as_str(), text.as_str())));
        let problems = report(&files).outcome.err();
        let told = problems.map(|it| it.to_string()).unwrap_or_default();
        assert_eq!(told.is_empty(), is_good, "{told}");
        assert!(is_good || told.contains("more than 8 deep"), "{told}");
    }
}

#[test]
fn a_thousand_files_are_included_and_no_more() {
    for (count, is_good) in [(1_000, true), (1_001, false)] {
        let names: Vec<_> = (0..count).map(|it| format!("d/{it:04}.yaml")).collect();
        let main = including("\"d/*.yaml\"", ROUTE);
        let mut files = vec![(MAIN, main.as_str())];
        files.extend(names.iter().map(|it| (it.as_str(), "routes: []\n")));
        let problems = report(&files).outcome.err();
        let told = problems.map(|it| it.to_string()).unwrap_or_default();
        assert_eq!(told.is_empty(), is_good, "{told}");
        assert!(is_good || told.contains("more than 1000 files"), "{told}");
    }
}

#[test]
fn the_bounds_of_one_file_hold_for_all_together() {
    let main = including("a.yaml, b.yaml", ROUTE);
    let remark = format!("{MORE}#{}\n", "x".repeat(crate::config::MAX_FILE_BYTES / 2));
    let many = format!(
        "routes: [{}]\n",
        "[], ".repeat(crate::config::MAX_NODES / 2)
    );
    for (text, wanted) in [
        (
            remark,
            "with `b.yaml` the files are larger than 8192 KiB together",
        ),
        (
            many,
            "this file and those before it have more than 500000 keys and values",
        ),
    ] {
        let files = [(MAIN, main.as_str()), ("a.yaml", &text), ("b.yaml", &text)];
        let problems = report(&files).outcome.expect_err("it is too much");
        let told = problems.iter().any(|it| it.message == wanted);
        assert!(told, "{}", problems.brief(5));
    }
}

#[test]
fn one_file_without_files_beside_it_cannot_include_any() {
    let text = including("a.yaml", ROUTE);
    let problems = try_read(&text).expect_err("nobody reads files here");
    assert!(
        problems.to_string().contains("cannot include files"),
        "{problems}"
    );
}

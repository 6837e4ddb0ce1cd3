//! The shape of the source, checked: who may import whom, and a few rules that no lint knows.
//!
//! The tables below are the map of the house, top floor first. A room is a top-level module. It
//! imports rooms of lower floors only: never one above, never a sibling, so there is no circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms that share a floor.
type Floor = &'static [&'static str];

/// `gateway`, the shell: everything that reads, writes, waits or looks at a clock.
const SHELL: &[Floor] = &[
    &["main"],
    &["cli"],
    &["app"],
    &["server", "admin", "dev"],
    &["proxy"],
    &[
        "upstream",
        "discovery",
        "jwks",
        "documents",
        "health_check",
        "identity",
        "telemetry",
        "upgrade",
    ],
    &["io", "lifecycle", "fetch", "files"],
    &["clock", "cause"],
];

/// `gateway-core`, below all of the shell: what decides. It does no I/O.
const CORE: &[Floor] = &[
    &["explain", "diff"],
    &["file", "pipeline"],
    &["plan"],
    &[
        "access_log",
        "route",
        "auth",
        "identity",
        "cluster",
        "framing",
    ],
    &["config", "path", "words"],
];

/// Our crates: where each stands, and which others of ours it may depend on.
const CRATES: &[(&str, &str, &[&str])] = &[
    ("gateway", "gateway", &["gateway-core", "mesh"]),
    ("gateway-core", "gateway/core", &[]),
    ("mesh", "gateway/mesh", &[]),
    ("users-svc", "users-svc", &["mesh"]),
    ("products-svc", "products-svc", &["mesh"]),
    ("bench", "bench", &[]),
];

/// What `gateway-core` may not depend on: the beginnings of the names of crates that do I/O, keep
/// time or draw random numbers.
const IO_CRATES: &[&str] = &[
    "aws-config",
    "aws-credential",
    "aws-sdk",
    "aws-smithy",
    "async-",
    "axum",
    "fastrand",
    "getrandom",
    "hickory",
    "hyper",
    "mio",
    "nix",
    "pingora",
    "rand",
    "reqwest",
    "rusqlite",
    "rustix",
    "rustls",
    "socket2",
    "tokio",
    "tower",
    "tracing",
];

/// What the source of `gateway-core` may not name.
const IO_NAMES: &[&str] = &[
    "std::fs",
    "std::env",
    "std::io::std",
    "std::process",
    "std::thread",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "UnixListener",
    "UnixStream",
    "ToSocketAddrs",
    "Instant::now",
    "SystemTime::now",
    "RandomState::new",
    "aws_lc_rs::rand",
    "env!(",
    "println!(",
    "eprintln!(",
];

const LINES_MAX: usize = 600;

/// Split, so that this file does not find itself.
const UNFINISHED: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
];

#[test]
fn rooms_of_the_shell_import_lower_floors_only() {
    check_floors("gateway/src", SHELL);
}

#[test]
fn rooms_of_the_core_import_lower_floors_only() {
    check_floors("gateway/core/src", CORE);
}

#[test]
fn the_map_in_the_architecture_page_is_this_one() {
    let floors = |floors: &[Floor]| {
        let floors: Vec<_> = floors.iter().map(|rooms| rooms.join(", ")).collect();
        floors.join(" → ")
    };
    let page = read(&root().join("ARCHITECTURE.md"));
    let words: Vec<_> = page.split_whitespace().collect();
    let page = words.join(" ");
    for line in [
        format!("gateway-core: {} gateway:", floors(CORE)),
        format!("gateway: {} → gateway-core, mesh", floors(SHELL)),
    ] {
        assert!(
            page.contains(&line),
            "ARCHITECTURE.md lacks this map: {line}"
        );
    }
}

#[test]
fn crates_depend_on_those_that_the_map_names() {
    let ours: BTreeSet<&str> = CRATES.iter().map(|(name, ..)| *name).collect();
    let mut complaints = Vec::new();
    for (name, folder, allowed) in CRATES {
        let used = dependencies(folder, |section| !section.starts_with("dev-"));
        for used in used.iter().filter(|used| ours.contains(used.as_str())) {
            if !allowed.contains(&used.as_str()) {
                complaints.push(format!("{folder}/Cargo.toml: `{name}` depends on `{used}`"));
            }
        }
    }
    let remedy = "move what is shared into `mesh` or `gateway-core`, or change CRATES here and the \
                  map in ARCHITECTURE.md";
    none(&complaints, remedy);
}

#[test]
fn every_crate_of_the_workspace_is_on_the_map() {
    let manifest = read(&root().join("Cargo.toml"));
    let members = manifest
        .lines()
        .find_map(|line| line.strip_prefix("members = "));
    let members: BTreeSet<&str> = members
        .expect("the workspace lists its members in one line")
        .split('"')
        .skip(1)
        .step_by(2)
        .collect();
    let known: BTreeSet<&str> = CRATES.iter().map(|(_, folder, _)| *folder).collect();
    assert_eq!(
        members, known,
        "add the crate to CRATES, and to the map in ARCHITECTURE.md"
    );
}

#[test]
fn the_core_does_no_io_and_knows_no_time() {
    let mut complaints = Vec::new();
    for name in dependencies("gateway/core", |section| !section.starts_with("dev-")) {
        if IO_CRATES.iter().any(|start| name.starts_with(start)) {
            complaints.push(format!("gateway/core/Cargo.toml: depends on `{name}`"));
        }
    }
    for path in sources("gateway/core/src")
        .iter()
        .filter(|path| !is_test(path))
    {
        for (number, line) in code(&read(path)).lines().enumerate() {
            for name in IO_NAMES.iter().filter(|name| line.contains(*name)) {
                let path = shown(path);
                complaints.push(format!("{path}:{}: names `{name}`", number + 1));
            }
        }
    }
    let remedy = "take it as an argument (time, randomness, keys, endpoints), and let a room of \
                  the shell do the I/O";
    none(&complaints, remedy);
}

#[test]
fn versions_of_dependencies_stand_in_the_root_manifest_alone() {
    let mut complaints = Vec::new();
    for (_, folder, _) in CRATES {
        let path = root().join(folder).join("Cargo.toml");
        for (section, line) in manifest_lines(&read(&path)) {
            let is_dependency = section.ends_with("dependencies");
            let is_table = section.contains("dependencies.");
            if is_table || is_dependency && !line.contains("workspace = true") {
                complaints.push(format!("{}: [{section}] {line}", shown(&path)));
            }
        }
    }
    let remedy = "write `name.workspace = true`, and the version under [workspace.dependencies] \
                  in the root Cargo.toml";
    none(&complaints, remedy);
}

#[test]
fn no_file_is_too_long_to_read_at_once() {
    let mut complaints = Vec::new();
    for path in all_sources() {
        let lines = read(&path).lines().count();
        if lines > LINES_MAX {
            complaints.push(format!("{}: {lines} lines", shown(&path)));
        }
    }
    let remedy = format!(
        "split it by what its parts are about; {LINES_MAX} lines are the most (tables of \
         expected output go into files of their own, with `expect_file!`)"
    );
    none(&complaints, &remedy);
}

#[test]
fn nothing_is_left_unfinished() {
    let mut complaints = Vec::new();
    for path in all_sources() {
        for (number, line) in read(&path).lines().enumerate() {
            for word in UNFINISHED.iter().filter(|word| line.contains(*word)) {
                let path = shown(&path);
                complaints.push(format!("{path}:{}: says `{word}`", number + 1));
            }
        }
    }
    none(
        &complaints,
        "finish it, or open an issue and take the note out",
    );
}

#[test]
fn every_exception_from_a_lint_has_its_reason() {
    let mut complaints = Vec::new();
    for path in all_sources() {
        for (line, what) in unreasoned(&read(&path)) {
            complaints.push(format!("{}:{line}: {what}", shown(&path)));
        }
    }
    none(
        &complaints,
        "write `#[expect(lint, reason = \"why it is right here\")]`",
    );
}

#[test]
fn the_scanner_sees_what_it_is_for() {
    let floors: &[Floor] = &[&["top"], &["left", "right"], &["low"]];
    for (path, text, expected) in [
        ("left.rs", "use crate::low::A;", ""),
        (
            "top/a.rs",
            "use crate::{low::A, left::{B, C}};\nuse super::b;",
            "",
        ),
        (
            "low/a/b.rs",
            "use super::super::c; use crate::low::D; pub(crate) fn f() {}",
            "",
        ),
        (
            "left.rs",
            "// use crate::top;\n/// [`crate::top`]\nlet x = $crate::top;",
            "",
        ),
        (
            "left.rs",
            "use crate::low;\n#[cfg(test)]\nmod tests {\n use crate::top;",
            "",
        ),
        (
            "left.rs",
            "#[cfg(test)]\nmod tests;\nuse crate::top::A;",
            "left imports top",
        ),
        ("left.rs", "use crate::right::A;", "left imports right"),
        (
            "left.rs",
            "use crate::{\n    low::A,\n    top::B,\n};",
            "left imports top",
        ),
        (
            "left.rs",
            "fn f() -> crate::right::A {}",
            "left imports right",
        ),
        ("left.rs", "use super::right;", "left imports right"),
        ("left/mod.rs", "use super::right;", "left imports right"),
        ("left/a.rs", "use super::right;", ""),
        (
            "left/a.rs",
            "use super::super::{right, low};",
            "left imports right",
        ),
        ("low.rs", "use crate::left::A;", "low imports left"),
        ("attic.rs", "", "`attic` is not on the map"),
    ] {
        let found = file_complaints(Path::new(path), text, floors).join(", ");
        assert_eq!(found, expected, "{path}: {text}");
    }
    for (text, count) in [
        ("#[expect(a, reason = \"b\")]", 0),
        ("#![expect(\n    a,\n    reason = \"b\"\n)]", 0),
        ("#[allow(a)]", 1),
        ("#![allow(a, b)]\n#[expect(c)]", 2),
        ("#[cfg_attr(test, allow(a))]", 1),
        ("fn f() {} // #[allow(a)]", 0),
    ] {
        assert_eq!(unreasoned(text).len(), count, "{text}");
    }
}

fn check_floors(folder: &str, floors: &[Floor]) {
    let base = root().join(folder);
    let mut complaints = Vec::new();
    let mut seen = BTreeSet::new();
    for path in sources(folder).iter().filter(|path| !is_test(path)) {
        let inside = path.strip_prefix(&base).expect("it lies in the folder");
        if inside == Path::new("lib.rs") {
            continue;
        }
        seen.insert(modules(inside).remove(0));
        for complaint in file_complaints(inside, &read(path), floors) {
            complaints.push(format!("{}: {complaint}", shown(path)));
        }
    }
    for room in floors.iter().copied().flatten() {
        if !seen.contains(*room) {
            complaints.push(format!(
                "{folder}: the room `{room}` of the map is not there"
            ));
        }
    }
    let remedy = "move what is shared to a lower floor, or pass it in from above; a new room gets \
                  its place in the table at the top of gateway/tests/tidy.rs, and in the map of \
                  ARCHITECTURE.md";
    none(&complaints, remedy);
}

/// What is wrong with the imports of one file; `path` is relative to the crate's `src`.
fn file_complaints(path: &Path, text: &str, floors: &[Floor]) -> Vec<String> {
    let floor_of: BTreeMap<&str, usize> = floors
        .iter()
        .enumerate()
        .flat_map(|(floor, rooms)| rooms.iter().map(move |room| (*room, floor)))
        .collect();
    let modules = modules(path);
    let room = modules[0].as_str();
    let Some(own) = floor_of.get(room) else {
        return vec![format!("`{room}` is not on the map")];
    };
    imports(&modules, &code(text))
        .into_iter()
        .filter(|other| other != room)
        .filter(|other| {
            floor_of
                .get(other.as_str())
                .is_some_and(|floor| floor <= own)
        })
        .map(|other| format!("{room} imports {other}"))
        .collect()
}

/// The modules that a file stands for: `left/a.rs` is `left::a`, `left/mod.rs` is `left`.
fn modules(path: &Path) -> Vec<String> {
    let path = path.with_extension("");
    let parts = path.iter().map(|part| part.to_string_lossy().into_owned());
    let mut parts: Vec<_> = parts.collect();
    if parts.len() > 1 && parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts
}

/// The names right below the crate's root that a file's code uses.
fn imports(modules: &[String], code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        if !code[..at].ends_with(is_of_name) && !code[..at].ends_with('$') {
            first_names(&code[at + "crate::".len()..], &mut found);
        }
    }
    for (at, _) in code.match_indices("super::") {
        if code[..at].ends_with(is_of_name) || code[..at].ends_with("super::") {
            continue;
        }
        let mut rest = &code[at..];
        let mut depth = modules.len();
        while let Some(shorter) = rest.strip_prefix("super::") {
            (rest, depth) = (shorter, depth.saturating_sub(1));
        }
        if depth == 0 {
            first_names(rest, &mut found);
        }
    }
    found
}

/// `a::b` gives `a`; `{a::b, c::{d, e}}` gives `a` and `c`.
fn first_names(text: &str, found: &mut BTreeSet<String>) {
    let name = |text: &str| -> String { text.chars().take_while(|c| is_of_name(*c)).collect() };
    let Some(list) = text.strip_prefix('{') else {
        found.insert(name(text));
        return;
    };
    let (mut depth, mut is_start) = (0, true);
    for (at, character) in list.char_indices() {
        match character {
            '}' if depth == 0 => return,
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => is_start = true,
            _ if is_start && is_of_name(character) => {
                found.insert(name(&list[at..]));
                is_start = false;
            }
            _ => {}
        }
    }
}

fn is_of_name(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The code of a file without its comments, up to the unit tests that end it.
fn code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let is_mark = line.starts_with("#[cfg(test)]");
        let opens = |next: &&str| next.starts_with("mod ") && next.ends_with('{');
        if is_mark && lines.peek().is_some_and(opens) {
            break;
        }
        // `://` is part of a URL.
        let comment = line
            .match_indices("//")
            .find(|(at, _)| !line[..*at].ends_with(':'));
        code.push_str(comment.map_or(line, |(at, _)| &line[..at]));
        code.push('\n');
    }
    code
}

/// Exceptions from lints that give no reason: their lines and texts.
fn unreasoned(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for word in ["allow(", "expect("] {
        for (at, _) in text.match_indices(word) {
            let line_start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
            let before = text[line_start..at].trim_start();
            let is_attribute = ["#[", "#![", "#[cfg_attr(", "#![cfg_attr("]
                .iter()
                .any(|open| before.starts_with(open))
                && !before.contains(']');
            let end = text[at..].find(']').map_or(text.len(), |end| at + end);
            if is_attribute && !text[at..end].contains("reason = ") {
                let number = text[..at].matches('\n').count() + 1;
                found.push((number, text[line_start..end].trim().to_owned()));
            }
        }
    }
    found
}

/// Names of the dependencies of a crate in the sections that `wanted` takes.
fn dependencies(folder: &str, wanted: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let manifest = read(&root().join(folder).join("Cargo.toml"));
    manifest_lines(&manifest)
        .into_iter()
        .filter(|(section, _)| section.ends_with("dependencies") && wanted(section))
        .filter_map(|(_, line)| line.split(['.', ' ', '=']).next().map(str::to_owned))
        .collect()
}

/// Each line of a manifest that says something, with its section.
fn manifest_lines(manifest: &str) -> Vec<(&str, &str)> {
    let mut section = "";
    let mut lines = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[').filter(|_| line.ends_with(']')) {
            section = header.trim_matches(['[', ']']);
        } else if !line.is_empty() && !line.starts_with('#') {
            lines.push((section, line));
        }
    }
    lines
}

/// The Rust files of all our crates.
fn all_sources() -> Vec<PathBuf> {
    let inside = ["src", "tests", "examples", "benches"];
    let folders = CRATES.iter().flat_map(|(_, folder, _)| {
        inside.map(|inside| Path::new(folder).join(inside).display().to_string())
    });
    folders.flat_map(|folder| sources(&folder)).collect()
}

/// The Rust files below a folder, sorted; none where it does not exist.
fn sources(folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// Whether a file holds unit tests, which may look at every room.
fn is_test(path: &Path) -> bool {
    path.iter()
        .any(|part| part == "tests" || part == "tests.rs")
}

fn root() -> PathBuf {
    let gateway = Path::new(env!("CARGO_MANIFEST_DIR"));
    gateway
        .parent()
        .expect("the crate lies in the workspace")
        .to_owned()
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .display()
        .to_string()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn none(complaints: &[String], remedy: &str) {
    let complaints = complaints.join("\n");
    assert!(complaints.is_empty(), "\n{complaints}\n{remedy}\n");
}

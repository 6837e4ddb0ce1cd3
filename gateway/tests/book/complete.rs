//! Makes a whole routes file of a fragment.

use crate::fence::Of;

/// Keys of which one must be there, and what is written where none of them is.
type Missing = (&'static [&'static str], &'static str);

const FILE: [Missing; 4] = [
    (&["version"], "version: 1"),
    (
        &["jwt_providers"],
        "jwt_providers: {main: {issuer: \"https://issuer.example/\", audiences: [api], algorithms: [RS256], discovery: true}}",
    ),
    (
        &["upstreams"],
        "upstreams: {users: {static: [\"127.0.0.1:9001\"]}, products: {static: [\"127.0.0.1:9002\"]}}",
    ),
    (
        &["routes"],
        "routes: [{name: sample, match: {path: /sample}, auth: none, respond: {status: 200}}]",
    ),
];
const ROUTE: [Missing; 4] = [
    (&["name"], "name: sample"),
    (&["match"], "match: {path_prefix: /sample}"),
    (&["auth"], "auth: none"),
    (&["backends", "respond"], "backends: [{upstream: users}]"),
];
const UPSTREAM: [Missing; 1] = [(
    &["static", "dns", "cloud_map", "file"],
    "static: [\"127.0.0.1:9001\", \"127.0.0.1:9002\"]",
)];
const PROVIDER: [Missing; 4] = [
    (&["issuer"], "issuer: https://issuer.example/"),
    (&["audiences"], "audiences: [api]"),
    (&["algorithms"], "algorithms: [RS256]"),
    (
        &["discovery", "jwks_uri", "jwks_file", "jwks", "secret"],
        "discovery: true",
    ),
];

/// The fragment comes first, so that its lines keep their order.
pub(crate) fn whole(of: Of, fragment: &str) -> String {
    match of {
        Of::File => filled(fragment, &FILE),
        Of::Route => {
            let route = indented(&filled(fragment, &ROUTE), "    ");
            filled(&format!("routes:\n  -\n{route}"), &FILE)
        }
        Of::Upstream => {
            let upstream = indented(&filled(fragment, &UPSTREAM), "    ");
            filled(&format!("upstreams:\n  users:\n{upstream}"), &FILE)
        }
        Of::Provider => {
            let provider = indented(&filled(fragment, &PROVIDER), "    ");
            filled(&format!("jwt_providers:\n  main:\n{provider}"), &FILE)
        }
    }
}

fn filled(fragment: &str, all: &[Missing]) -> String {
    let has = |key: &str| {
        let mut lines = fragment.lines();
        lines.any(|line| {
            line.strip_prefix(key)
                .is_some_and(|rest| rest.starts_with(':'))
        })
    };
    let missing = all
        .iter()
        .filter(|(keys, _)| !keys.iter().any(|key| has(key)));
    missing.fold(fragment.to_owned(), |text, (_, line)| text + line + "\n")
}

fn indented(text: &str, by: &str) -> String {
    let lines = text.lines();
    lines.fold(String::new(), |text, line| text + by + line + "\n")
}

#[test]
fn what_is_there_is_not_added() {
    assert_eq!(
        whole(Of::Route, "auth: {jwt: main}\nmatch:\n  path: /a\n"),
        "routes:\n  -\n    auth: {jwt: main}\n    match:\n      path: /a\n    name: sample\n    \
         backends: [{upstream: users}]\n"
            .to_owned()
            + FILE[0].1
            + "\n"
            + FILE[1].1
            + "\n"
            + FILE[2].1
            + "\n",
    );
}

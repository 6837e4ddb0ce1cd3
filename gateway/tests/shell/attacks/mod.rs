//! Every known attack on a token, sent over the wire: what the gateway answers, and why.
//!
//! The classes are those of Wycheproof's JWS and JWK sets, of RFC 7515, 7520, 7797 and 8037, of
//! RFC 8725, and of the public lists of attacks. Each token is made here, with keys of our own,
//! and differs from a good one in what its name says and in nothing else. Where several checks
//! could refuse one, the gateway's order of checks decides: what is cheap comes first. No case
//! expects a status of 500 or more, so none may come.
//!
//! | file | holds |
//! |---|---|
//! | `case.rs` | one case, and the answers that are possible |
//! | `mint.rs`, `bignum.rs` | keys and numbers, and tokens made with them byte by byte |
//! | `runner.rs` | sends the cases, and prints the tables |
//! | all others | one group of attacks each |

mod algorithms;
mod bignum;
mod case;
mod claims;
mod curves;
mod encoding;
mod forms;
mod good;
mod injection;
mod json;
mod key_sets;
mod mint;
mod providers;
mod pss;
mod published;
mod rsa;
mod runner;
mod transport;
mod types;
mod weak_keys;

use std::collections::HashSet;
use std::fs;

use tempfile::TempDir;

use self::case::{Case, PASSES};
use self::mint::Mint;
use crate::support::backend::Backend;
use crate::support::eventually;
use crate::support::gateway::TestGateway;
use crate::support::tokens::{AUDIENCE, ISSUER};

/// Fewer would mean that a family was lost.
const CASES_MIN: usize = 400;

const ROUTES: &str = r#"
jwt_providers:
  main:
    issuer: "${ISSUER}"
    audiences: ["${AUDIENCE}", other]
    algorithms: [RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA]
    jwks: <KEYS>
    clock_skew: 60s
    max_token_size: 4KiB
  narrow: {issuer: "${ISSUER}", audiences: ["${AUDIENCE}"], algorithms: [RS256], jwks: <KEYS>}
  typed:
    issuer: "${ISSUER}"
    audiences: ["${AUDIENCE}", other]
    algorithms: [RS256, ES256]
    jwks: <KEYS>
    token_type: at+jwt
  carried:
    issuer: "${ISSUER}"
    audiences: ["${AUDIENCE}"]
    algorithms: [ES256]
    jwks: <KEYS>
    token_from: [authorization, {cookie: session}, {header: x-id-token}]
  nameless:
    issuer: "${ISSUER}"
    audiences: ["${AUDIENCE}"]
    algorithms: [RS256, ES256]
    jwks: <NAMELESS>
  zoo:
    issuer: "${ISSUER}"
    audiences: ["${AUDIENCE}"]
    algorithms: [RS256, ES256, EdDSA]
    jwks_file: "${DIRECTORY}/zoo.json"
  secret:
    issuer: "${SECRET_ISSUER}"
    audiences: ["${AUDIENCE}"]
    algorithms: [HS256, HS384, HS512]
    secret: {file: "${DIRECTORY}/secret"}
  joe: {issuer: joe, audiences: ["${AUDIENCE}"], algorithms: [RS256, ES256], jwks: <JOE>}
  joe_secret:
    issuer: joe
    audiences: ["${AUDIENCE}"]
    algorithms: [HS256]
    secret: {file: "${DIRECTORY}/joe-secret", encoding: base64url}
upstreams: {backend: {static: ["${BACKEND}"]}}
routes:
"#;

/// The routes, and the providers whose tokens each takes.
const GUARDED: &[(&str, &str)] = &[
    ("main", "main"),
    ("narrow", "narrow"),
    ("typed", "typed"),
    ("carried", "carried"),
    ("nameless", "nameless"),
    ("zoo", "zoo"),
    ("secret", "secret"),
    ("several", "[main, secret]"),
    ("joe", "joe"),
    ("joe-secret", "joe_secret"),
];

#[test]
fn no_known_attack_on_a_token_succeeds_and_each_is_refused_for_its_reason() {
    let mint = Mint::open();
    let backend = Backend::echo();
    let attacker = Backend::replying("{}");
    let (zoo, unusable) = key_sets::zoo(&mint);
    let mut cases = unusable;
    cases.extend(good::cases(&mint));
    cases.extend(algorithms::cases(&mint));
    cases.extend(injection::cases(&mint, &attacker.address().to_string()));
    cases.extend(rsa::cases(&mint));
    cases.extend(pss::cases(&mint));
    cases.extend(curves::cases(&mint));
    cases.extend(encoding::cases(&mint));
    cases.extend(json::cases(&mint));
    cases.extend(forms::cases(&mint));
    cases.extend(claims::cases(&mint));
    cases.extend(types::cases(&mint));
    cases.extend(transport::cases(&mint));
    cases.extend(providers::cases(&mint));
    cases.extend(published::cases(&mint));
    check_names(&cases);

    let (gateway, _directory) = start(&mint, &zoo, &backend);
    let mismatches = runner::run(gateway.address(), &cases);
    assert!(mismatches.is_empty(), "\n{}", runner::table(&mismatches));

    let passed = cases
        .iter()
        .filter(|case| matches!(case.expected, case::Expected::Passes(_)));
    assert_eq!(
        backend.requests(),
        passed.count(),
        "what is refused goes nowhere"
    );
    assert_eq!(
        attacker.connections(),
        0,
        "no address in a token is ever asked"
    );
    let after_all = runner::run(gateway.address(), &[good_case(&mint)]);
    assert!(after_all.is_empty(), "\n{}", runner::table(&after_all));
    runner::print_summary(&cases);
    assert!(cases.len() >= CASES_MIN, "{} cases", cases.len());
}

fn good_case(mint: &Mint) -> Case {
    let mut family = case::Family::new("after all");
    family.token("a good token", mint.good("RS256"), PASSES);
    family.into_cases().remove(0)
}

fn check_names(cases: &[Case]) {
    let mut names = HashSet::new();
    for case in cases {
        let is_new = names.insert((case.family, &case.name));
        assert!(
            is_new,
            "two cases are called {}: {}",
            case.family, case.name
        );
    }
}

/// A gateway that has read all keys, and the directory in which some of them lie.
fn start(mint: &Mint, zoo: &str, backend: &Backend) -> (TestGateway, TempDir) {
    let directory = tempfile::tempdir().expect("a directory can be made");
    let write = |name: &str, bytes: &[u8]| {
        fs::write(directory.path().join(name), bytes).expect("a file can be written");
    };
    write("zoo.json", zoo.as_bytes());
    write("secret", mint::SECRET);
    write("joe-secret", published::JOE_SECRET.as_bytes());
    let mut yaml = ROUTES
        .replace("<KEYS>", &mint.key_set())
        .replace("<NAMELESS>", &mint.nameless_key_set())
        .replace("<JOE>", &published::key_set());
    let routes = GUARDED.iter().map(|(path, providers)| {
        format!(
            "  - {{name: {path}, match: {{path_prefix: /{path}}}, \
             auth: {{jwt: {providers}, claims_to_headers: {{sub: x-user-id}}}}, \
             backends: [{{upstream: backend}}]}}"
        )
    });
    yaml += &routes.collect::<Vec<_>>().join("\n");
    let gateway = TestGateway::start(
        &yaml,
        &[
            ("ISSUER", &ISSUER),
            ("AUDIENCE", &AUDIENCE),
            ("SECRET_ISSUER", &mint::SECRET_ISSUER),
            ("DIRECTORY", &directory.path().display()),
            ("BACKEND", &backend.address()),
        ],
    );
    eventually("all keys are read", || {
        (gateway.admin("/readyz").status() == 200).then_some(())
    });
    (gateway, directory)
}

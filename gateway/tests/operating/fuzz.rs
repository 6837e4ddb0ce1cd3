//! The admin API, asked by a fuzzer that knows its document.

use std::process::Command;

use crate::support::gateway::TestGateway;
use crate::support::lively::Lively;
use crate::{installed, run_well};

/// Draws the same examples each time; `FUZZ_SEED` draws others.
const SEED: &str = "20260101";
/// Examples of good and of bad requests to each operation: seconds, not minutes.
const EXAMPLES: &str = "150";
/// Where the document says that anybody may ask from here, a credential that nobody knows is as
/// good as none.
const CHECKS_LEFT_OUT: &str = "ignored_auth";

#[test]
fn the_admin_api_does_as_its_document_says_whatever_it_is_asked() {
    let lively = Lively::start();
    let seed = std::env::var("FUZZ_SEED").unwrap_or_else(|_| SEED.into());
    println!("FUZZ_SEED={seed} asks the same again");
    let directory = tempfile::tempdir().expect("a directory can be made");
    let admin = lively.gateway.admin_address();
    let said = run_well(
        Command::new(installed("SCHEMATHESIS_PROGRAM"))
            .args(["run", &format!("http://{admin}/api/openapi.json")])
            .args(["--seed", &seed, "--max-examples", EXAMPLES, "--mode", "all"])
            .args(["--checks", "all", "--exclude-checks", CHECKS_LEFT_OUT])
            .args(["--generation-database", "none", "--no-color"])
            .current_dir(directory.path()),
    );
    println!("{said}");
    // All but the one by which the document itself is fetched.
    assert!(said.contains("Tested: 10"), "{said}");
    still_answers(&lively.gateway);
}

/// And nothing that was asked has changed anything.
fn still_answers(gateway: &TestGateway) {
    let generation = gateway.metrics().value("gateway_config_generation");
    assert_eq!(generation, 1);
    assert_eq!(gateway.admin("/healthz").status(), 200);
}

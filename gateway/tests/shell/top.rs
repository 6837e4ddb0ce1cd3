//! `gateway top --once`: one frame as text, of a gateway that runs.

use std::process::Output;

use crate::support::lively::Lively;
use crate::support::process::{run, stderr, stdout};
use crate::support::{Refusing, eventually};

fn once(url: &str, more: &[&str]) -> Output {
    let arguments = ["top", "--once", "--interval", "200ms", "--admin", url];
    run(&[&arguments, more].concat())
}

#[test]
fn one_frame_shows_what_a_gateway_does() {
    let lively = Lively::start();
    let url = format!("http://{}", lively.gateway.admin_address());
    let output = once(&url, &["--width", "140"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    for words in [
        "not ready: waits for endpoints of upstream `lost`",
        "generation 1",
        "Routes",
        "signed",
        "(no route)",
        "Upstreams",
        "not found yet",
        "Endpoints",
        "healthy",
        "Limits",
        "Refusals",
        // Of refusals in one millisecond a worker remembers the first.
        "jwt_missing",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let keys = text.lines().skip_while(|line| !line.starts_with("Keys "));
    let [main, partners] = ["main", "partners"].map(|name| {
        let row = keys.clone().find(|line| line.starts_with(name));
        row.expect(&text).split_whitespace().collect::<Vec<_>>()
    });
    let [_, "jwt", "1", age, rest, ..] = main[..] else {
        panic!("{text}");
    };
    // Just read; they are good for `max_stale`, a day, after that.
    assert!(age.ends_with('s') && rest == "23h", "{text}");
    assert_eq!(partners[..3], ["partners", "api_key", "0"]);
    assert!(!text.contains('\u{1b}'), "plain text: {text}");
    assert!(text.lines().all(|line| line.chars().count() <= 140));
}

#[test]
fn a_rate_is_that_of_the_requests_between_two_looks() {
    let lively = Lively::start();
    let url = format!("http://{}", lively.gateway.admin_address());
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            eventually("requests fall between two looks", || {
                let text = stdout(&once(&url, &[]));
                let mut rows = text.lines().map(str::split_whitespace);
                let mut row = rows.find(|row| row.clone().next() == Some("fixed"))?;
                let rate: f64 = row.nth(1)?.replace(',', "").parse().ok()?;
                (rate > 0.0).then_some(())
            });
        });
        while !looking.is_finished() {
            lively.ask_for_fixed();
        }
    });
}

#[test]
fn without_a_gateway_or_a_terminal_it_says_so() {
    let refusing = Refusing::new();
    let url = format!("http://{}", refusing.address());
    let output = once(&url, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("cannot connect"), "{output:?}");
    let output = run(&["top", "--once", "--interval", "1ms"]);
    assert_eq!(output.status.code(), Some(2));
    let output = run(&["top", "--admin", &url]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--once"), "{output:?}");
}

//! What is legal but odd: each warning, under its code.

use std::collections::BTreeSet;

use expect_test::expect_file;

use super::folder::Folder;
use super::*;
use crate::file::{Report, WARNING_CODES, check_included};

/// A file of which nothing is odd; each case replaces a piece of it.
const EVEN: &str = include_str!("corpus/everything.yaml");
const DOCUMENTATION: &str = include_str!("../../../../../docs/check.md");

fn report(text: &str) -> Report {
    let source = Source {
        name: "routes.yaml",
        text,
    };
    check_included(source, &Folder(&[]), &variables)
}

/// A piece of the file, and what stands there instead.
const CASES: &[(&str, &str)] = &[
    ("version: 1\n", "version: 1\ninclude: [routes.d/*.yaml]\n"),
    (
        "admin:\n  address: \"127.0.0.1:9090\"",
        "admin:\n  address: \"0.0.0.0:9090\"",
    ),
    ("idle_timeout: 75s", "idle_timeout: 60s"),
    ("drain: 20s", "drain: 25s"),
    (
        "shutdown:",
        "forwarded: {trusted_proxies: [10.0.0.0/8, 0.0.0.0/0, \"::/0\"]}\nshutdown:",
    ),
    (
        "jwks_uri: https://issuer.example/jwks.json",
        "jwks_uri: http://issuer.example/jwks.json\n    allow_http: true\n    revocations: \
         {url: \"http://issuer.example/deny\", allow_http: true}",
    ),
    (
        "upstreams:\n",
        "upstreams:\n  legacy: {static: [\"127.0.0.1:9003\"]}\n",
    ),
    ("auth: {api_key: partners}", "auth: none"),
    (
        "jwt_providers:\n",
        "jwt_providers:\n  other: {issuer: \"https://other.example/\", audiences: [api], \
         algorithms: [RS256], discovery: true}\n",
    ),
    ("timeout: 10s", "timeout: 2m"),
    ("timeout: 3s", "timeout: 61s"),
    ("timeout: 3s", "timeout: 100ms"),
    ("per_try_timeout: 1s", "per_try_timeout: 3s"),
    ("weight: 10", "weight: 0"),
    (
        "{upstream: products, weight: 10}",
        "{upstream: users, weight: 10}",
    ),
    (
        "backends: [{upstream: products}]",
        "backends: [{upstream: products}]\n    sticky: {header: x-key}",
    ),
    (
        "backends: [{upstream: products}]",
        "backends: [{upstream: products}]\n    retries: {retry_on: [503], status_methods: all}",
    ),
    (
        "attempts: 2\n",
        "attempts: 2\n      status_methods: all\n      retry_on: [503]\n",
    ),
    (
        "respond: {status",
        "timeout: 1s\n    hedge: {after: 1s}\n    priority: low\n    respond: {status",
    ),
];

#[test]
fn an_even_file_has_no_warning() {
    let report = report(EVEN);
    assert!(report.outcome.is_ok());
    assert!(report.warnings.is_empty(), "{}", report.warnings);
}

#[test]
fn what_is_odd_is_said_and_the_file_is_good_all_the_same() {
    let mut shown = String::new();
    let mut seen = BTreeSet::new();
    for (piece, odd) in CASES {
        assert_eq!(EVEN.matches(piece).count(), 1, "{piece}");
        let report = report(&EVEN.replace(piece, odd));
        if let Err(problems) = &report.outcome {
            panic!("{odd}\n{problems}");
        }
        seen.extend(report.warnings.iter().filter_map(|it| it.warning));
        writeln!(shown, "## {odd}\n{}", report.warnings).unwrap();
    }
    let codes: BTreeSet<_> = WARNING_CODES.iter().copied().collect();
    assert_eq!(seen, codes, "each code has a case here");
    expect_file!["warnings.txt"].assert_eq(&shown);
}

#[test]
fn every_code_is_documented_and_no_other() {
    let (_, table) = DOCUMENTATION.split_once("## Warnings").expect("a table");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let documented: Vec<_> = rows.filter_map(|row| row.split('`').next()).collect();
    assert_eq!(documented, WARNING_CODES);
}

#[test]
fn the_files_that_a_routes_file_names_are_told_with_their_places() {
    let files = report(EVEN).files;
    let told: Vec<_> = files
        .iter()
        .map(|it| (it.path.as_str(), it.file.as_str()))
        .collect();
    assert_eq!(told, [("api_keys.partners.file", "/etc/keys.yaml")]);
}

#[test]
fn colours_frame_the_report_and_change_none_of_its_words() {
    let warnings = report(&EVEN.replace("timeout: 10s", "timeout: 2m")).warnings;
    let coloured = warnings.shown(crate::config::Palette::ANSI).to_string();
    assert!(
        coloured.contains("\u{1b}[1;33mwarning[timeout-above-load-balancer]"),
        "{coloured}"
    );
    let mut plain = String::new();
    for piece in coloured.split('\u{1b}') {
        plain += piece
            .split_once('m')
            .filter(|_| piece.starts_with('['))
            .map_or(piece, |it| it.1);
    }
    assert_eq!(plain, warnings.to_string());
}

//! `revocations:` of a provider.

use expect_test::expect;

use super::super::compile::Checker;
use super::super::{DocumentSource, RevocationsSpec, RoutesFile};
use super::*;
use crate::config::{decode, decode_partial};

const AT: &str = "jwt_providers.main.revocations";

/// What a section means, or what is wrong with it.
fn compile(section: &str) -> Result<DocumentSource, String> {
    let source = |text| Source {
        name: "routes.yaml",
        text,
    };
    let file =
        "version: 1\nroutes: [{name: all, match: {path: /}, auth: none, respond: {status: 204}}]";
    let partial = decode_partial::<RoutesFile>(source(file), &variables).expect("it is good");
    let (spec, _) = decode::<RevocationsSpec>(source(section), &variables)
        .map_err(|problems| problems.brief(9))?;
    let mut check = Checker::new(&partial, &|_| None);
    let compiled = spec.compile(AT, &mut check);
    let (problems, _) = check.into_problems();
    if problems.is_empty() {
        return Ok(compiled);
    }
    let told = problems.iter().map(|problem| {
        let help = problem.help.as_deref().unwrap_or("NO REMEDY");
        format!("{}: {} | {help}", problem.path, problem.message)
    });
    Err(told.collect::<Vec<_>>().join("\n"))
}

#[test]
fn a_list_comes_from_a_file_or_a_url() {
    let url = |url: &str, seconds, is_http_allowed| DocumentSource::Url {
        url: url.into(),
        refresh_interval: std::time::Duration::from_secs(seconds),
        is_http_allowed,
    };
    for (section, expected) in [
        (
            "{file: /etc/revoked.yaml}",
            DocumentSource::File("/etc/revoked.yaml".into()),
        ),
        (
            "{url: https://a.example/r}",
            url("https://a.example/r", 30, false),
        ),
        (
            "{url: http://127.0.0.1:80/r}",
            url("http://127.0.0.1:80/r", 30, false),
        ),
        (
            "{url: http://a.example/r, allow_http: true, refresh_interval: 5s}",
            url("http://a.example/r", 5, true),
        ),
    ] {
        assert_eq!(compile(section), Ok(expected), "{section}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_its_remedy() {
    let mut report = String::new();
    for section in [
        "{}",
        "{file: a, url: https://a.example/r}",
        "{file: ''}",
        "{file: a, refresh_interval: 30s, allow_http: true}",
        "{url: a.example/r}",
        "{url: http://a.example/r}",
        "{url: https://a.example/r, refresh_interval: 1s}",
        "{url: https://a.example/r, interval: 10s}",
    ] {
        let told = compile(section).expect_err(section);
        assert!(!told.contains("NO REMEDY"), "{told}");
        writeln!(report, "{section}\n{told}\n").unwrap();
    }
    expect![[r"
        {}
        jwt_providers.main.revocations: neither `file` nor `url` is given | say one place where the deny list is

        {file: a, url: https://a.example/r}
        jwt_providers.main.revocations: `file` and `url` exclude each other | say one place where the deny list is

        {file: ''}
        jwt_providers.main.revocations.file: `file` is empty | write the path of a file with a deny list

        {file: a, refresh_interval: 30s, allow_http: true}
        jwt_providers.main.revocations.refresh_interval: `refresh_interval` means nothing for a file | take it out: a file is looked at every 2 s
        jwt_providers.main.revocations.allow_http: `allow_http` means nothing for a file | take it out: a file is looked at every 2 s

        {url: a.example/r}
        jwt_providers.main.revocations.url: `a.example/r` is not an http or https URL | write it in full, such as `https://issuer.example/revoked.json`

        {url: http://a.example/r}
        jwt_providers.main.revocations.url: the deny list of `a.example` would come over plain http | use https, or say `allow_http: true` if nobody else is on the wire

        {url: https://a.example/r, refresh_interval: 1s}
        jwt_providers.main.revocations.refresh_interval: 1s is out of range | write a duration from 5s to 1h

        {url: https://a.example/r, interval: 10s}
        line 1: unknown key `interval`

    "]].assert_eq(&report);
}

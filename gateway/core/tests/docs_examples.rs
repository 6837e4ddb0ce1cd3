//! The files on the pages of `docs/`: each must be one that the gateway takes.

use gateway_core::auth::api_keys::ApiKeys;
use gateway_core::auth::revocation::Revocations;
use gateway_core::config::{Problems, Source};
use gateway_core::file;

/// Each page with how many files it has at least: fewer would mean that they are not found.
const PAGES: [(&str, &str, usize); 8] = [
    (
        "docs/authentication.md",
        include_str!("../../../docs/authentication.md"),
        8,
    ),
    (
        "docs/balancing.md",
        include_str!("../../../docs/balancing.md"),
        1,
    ),
    (
        "docs/api-keys.md",
        include_str!("../../../docs/api-keys.md"),
        2,
    ),
    (
        "docs/revocation.md",
        include_str!("../../../docs/revocation.md"),
        2,
    ),
    (
        "docs/resilience.md",
        include_str!("../../../docs/resilience.md"),
        1,
    ),
    (
        "docs/overload.md",
        include_str!("../../../docs/overload.md"),
        1,
    ),
    (
        "docs/tracing.md",
        include_str!("../../../docs/tracing.md"),
        1,
    ),
    ("docs/health.md", include_str!("../../../docs/health.md"), 1),
];

type Reader = fn(Source<'_>) -> Result<(), Problems>;

/// What reads a whole file, by its first line; other blocks are fragments.
const READERS: [(&str, Reader); 3] = [
    ("version: 1", |source| {
        file::read(source, &variable).map(|_| ())
    }),
    ("keys:", |source| ApiKeys::parse(source).map(|_| ())),
    ("revoked:", |source| Revocations::parse(source).map(|_| ())),
];

/// What the examples ask of the environment.
fn variable(name: &str) -> Option<String> {
    let value = match name {
        "COPILOT_SERVICE_DISCOVERY_ENDPOINT" => "test.app.local",
        // 48 bytes, in base64url.
        "JWT_SECRET" => "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4v",
        _ => return None,
    };
    Some(value.to_owned())
}

/// The whole files of a page, each with the number of its first line.
fn files(page: &str) -> Vec<(usize, String)> {
    let mut files = Vec::new();
    let mut lines = page.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        if line == "```yaml" {
            let block = lines.by_ref().map(|(line, _)| line);
            let block: Vec<_> = block.take_while(|line| *line != "```").collect();
            if READERS
                .iter()
                .any(|(first, _)| block.first() == Some(first))
            {
                files.push((number + 1, block.join("\n")));
            }
        }
    }
    files
}

#[test]
fn every_file_of_the_pages_is_taken() {
    let mut complaints = Vec::new();
    for (path, page, files_min) in PAGES {
        let files = files(page);
        assert!(files.len() >= files_min, "{path}: {} files", files.len());
        for (number, text) in &files {
            let name = format!("{path}, from line {number}");
            let reader = READERS.iter().find(|(first, _)| text.starts_with(first));
            let (_, read) = reader.expect("it was found by its first line");
            if let Err(problems) = read(Source { name: &name, text }) {
                complaints.push(problems.to_string());
            }
        }
    }
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn fragments_are_told_from_whole_files() {
    let page =
        "```yaml\nauth: none\n```\ntext\n```yaml\nversion: 1\na: b\n```\n```sh\nversion: 1\n```\n";
    assert_eq!(files(page), [(6, "version: 1\na: b".to_owned())]);
}

//! The routes files on the pages of `docs/`: each must be one that the gateway takes.

use gateway_core::config::Source;
use gateway_core::file;

const PAGE: &str = include_str!("../../../docs/authentication.md");

/// What the first line of a whole routes file says; other blocks are fragments.
const FIRST_LINE: &str = "version: 1";

/// Fewer would mean that they are no longer found.
const FILES_MIN: usize = 8;

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

/// The whole routes files of a page, each with the number of its first line.
fn files(page: &str) -> Vec<(usize, String)> {
    let mut files = Vec::new();
    let mut lines = page.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        if line == "```yaml" {
            let block = lines.by_ref().map(|(line, _)| line);
            let block: Vec<_> = block.take_while(|line| *line != "```").collect();
            if block.first() == Some(&FIRST_LINE) {
                files.push((number + 1, block.join("\n")));
            }
        }
    }
    files
}

#[test]
fn every_routes_file_of_the_page_is_taken() {
    let files = files(PAGE);
    assert!(files.len() >= FILES_MIN, "{} files found", files.len());
    let mut complaints = Vec::new();
    for (number, text) in &files {
        let name = format!("docs/authentication.md, from line {number}");
        let source = Source { name: &name, text };
        if let Err(problems) = file::read(source, &variable) {
            complaints.push(problems.to_string());
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

//! The pages of `docs/` and the README: nothing in them may be wrong because nobody tried it.
//!
//! - Every page of `docs/` is in `docs/SUMMARY.md`, once. Every link and anchor leads somewhere.
//! - Every block has a tag after its fence that says how it is held to be true:
//!
//! | Fence | Holds because |
//! |---|---|
//! | `yaml` | a whole file: a routes file (`version:` comes first), API keys (`keys:`) or a deny list (`revoked:`); `gateway check` and the schema take it |
//! | `yaml fragment` | keys of the top level; what is missing to a routes file is added |
//! | `yaml fragment=route`, `=upstream`, `=provider` | keys of one of these |
//! | `yaml file=NAME` | a whole file, which the commands of the page find under this name |
//! | `yaml part=NAME` | YAML that is not checked by itself: what whole files of the page name, such as a part that they include |
//! | `yaml broken=NAME` | a file that `gateway check` refuses, for commands that show how |
//! | `yaml manifest` | YAML that is not ours to read, such as a Copilot manifest |
//! | `json` | JSON texts, one after the other |
//! | `json endpoints` | a file of endpoints |
//! | `sh` | run, in order, in one shell for the page; it ends with 0 |
//! | `sh background=PORT` | run beside what follows; the next block waits until somebody listens there |
//! | `console` | each line after `$ ` is run, and what it prints is what follows; `…` stands for any text, on a line of its own for any lines |
//! | `console eventually` | the same, tried again until it is so: for what the gateway does by itself |
//! | `sh local`, `console local` | the same beside `./copilotw.sh local` (feature `real-parts`) |
//! | `json output` | what the `sh` block before it prints |
//! | `sh needs=WORD` | not run, because it needs AWS, Docker, minutes…: the shell understands it, and what it says to our own programs is in their help. [`unrun`] prints the list |
//! | `text`, `js`, `ini`, `promql` | shown, and nobody runs it |
//!
//! Ports of the pages (8080, 9090, 9001, 9002) become free ones, in files, commands and outputs.
//! A shell begins in an empty folder, with `gateway` on its path.
//!
//! `cargo test -p gateway --test book -- --show-output` prints what was not run.

mod compare;
mod complete;
mod fence;
mod links;
mod page;
mod samples;
mod session;
mod shells;
mod unrun;

use fence::Fence;
use page::Page;

/// Panics with all complaints at once.
fn none(complaints: &[String], remedy: &str) {
    assert!(
        complaints.is_empty(),
        "\n{}\n{remedy}\n",
        complaints.join("\n")
    );
}

#[test]
fn every_block_says_how_it_is_held_to_be_true() {
    let mut complaints = Vec::new();
    for page in Page::all() {
        let mut before: Option<&Fence> = None;
        for block in &page.blocks {
            let complaint = match &block.fence {
                Err(complaint) => Some(complaint.as_str()),
                Ok(Fence::Output) if !matches!(before, Some(Fence::Shell(_))) => {
                    Some("an output stands after no `sh` that is run")
                }
                Ok(Fence::Console { .. }) if !block.text.starts_with("$ ") => {
                    Some("a console begins with `$ `")
                }
                Ok(_) => None,
            };
            let complaint = complaint.map(|it| format!("{}:{}: {it}", page.path, block.line));
            complaints.extend(complaint);
            before = block.fence.as_ref().ok();
        }
    }
    let remedy = "the table of tags: gateway/tests/book/main.rs";
    none(&complaints, remedy);
}

//! A page, taken apart: its blocks, links, headings and the commands within its sentences.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use crate::fence::Fence;

/// Pages beside `docs/` whose blocks hold.
const ALSO: [&str; 1] = ["README.md"];
/// Pages of which the links alone are looked at.
const LINKED_ONLY: [&str; 3] = ["ARCHITECTURE.md", "CHANGELOG.md", "bench/README.md"];

pub(crate) struct Page {
    /// From the root of the repository.
    pub(crate) path: String,
    pub(crate) blocks: Vec<Block>,
    /// Targets as they are written, each with its line.
    pub(crate) links: Vec<(usize, String)>,
    pub(crate) anchors: BTreeSet<String>,
    /// What stands between backticks in a sentence, each with its line.
    pub(crate) spans: Vec<(usize, String)>,
}

pub(crate) struct Block {
    /// The line of the fence.
    pub(crate) line: usize,
    pub(crate) fence: Result<Fence, String>,
    pub(crate) text: String,
}

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

impl Page {
    /// The pages whose blocks hold: `docs/` but for the summary, and the README.
    pub(crate) fn all() -> Vec<Self> {
        let paths = in_docs().into_iter().filter(|path| !is_summary(path));
        let paths = paths.chain(ALSO.map(str::to_owned));
        paths.map(|path| Self::read(&path)).collect()
    }

    /// All pages with links.
    pub(crate) fn all_linked() -> Vec<Self> {
        let paths = in_docs().into_iter();
        let paths = paths.chain(ALSO.map(str::to_owned));
        let paths = paths.chain(LINKED_ONLY.map(str::to_owned));
        paths.map(|path| Self::read(&path)).collect()
    }

    pub(crate) fn read(path: &str) -> Self {
        let text = fs::read_to_string(root().join(path));
        Self::parse(
            path,
            &text.unwrap_or_else(|error| panic!("{path}: {error}")),
        )
    }

    pub(crate) fn parse(path: &str, text: &str) -> Self {
        let mut page = Self {
            path: path.to_owned(),
            blocks: Vec::new(),
            links: Vec::new(),
            anchors: BTreeSet::new(),
            spans: Vec::new(),
        };
        let mut heading: Option<String> = None;
        let mut in_block = false;
        for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
            let line = text[..range.start].matches('\n').count() + 1;
            match event {
                Event::Start(Tag::CodeBlock(kind)) => {
                    let info = match &kind {
                        CodeBlockKind::Fenced(info) => info.as_ref(),
                        CodeBlockKind::Indented => "",
                    };
                    in_block = true;
                    page.blocks.push(Block {
                        line,
                        fence: Fence::parse(info),
                        text: String::new(),
                    });
                }
                Event::End(TagEnd::CodeBlock) => in_block = false,
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push((line, dest_url.into_string()));
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    page.add_anchor(&heading.take().unwrap_or_default());
                }
                Event::Text(part) if in_block => {
                    let block = page.blocks.last_mut().expect("it has begun");
                    block.text.push_str(&part);
                }
                Event::Text(part) => heading = heading.map(|text| text + &part),
                Event::Code(part) => {
                    heading = heading.map(|text| text + &part);
                    page.spans.push((line, part.into_string()));
                }
                _ => {}
            }
        }
        page
    }

    /// As GitHub makes it of a heading.
    fn add_anchor(&mut self, heading: &str) {
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, '-' | '_' | ' ');
        let text = heading.to_lowercase();
        let anchor: String = text.chars().filter(kept).collect();
        let anchor = anchor.replace(' ', "-");
        let mut numbered = anchor.clone();
        for number in 1.. {
            if self.anchors.insert(numbered) {
                return;
            }
            numbered = format!("{anchor}-{number}");
        }
    }

    /// The folder that the page stands in, from the root.
    pub(crate) fn folder(&self) -> &Path {
        Path::new(&self.path).parent().expect("a page has a folder")
    }
}

/// Writes a file of a page, in folders of its own where its name has them.
pub(crate) fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text)
}

pub(crate) fn is_summary(path: &str) -> bool {
    path == "docs/SUMMARY.md"
}

/// The pages of `docs/`, in alphabetical order.
fn in_docs() -> Vec<String> {
    let folder = fs::read_dir(root().join("docs")).expect("there are docs");
    let names = folder.map(|entry| entry.expect("it can be read").file_name());
    let names = names.filter_map(|name| name.into_string().ok());
    let mut paths: Vec<_> = names
        .filter(|name| Path::new(name).extension().is_some_and(|it| it == "md"))
        .map(|name| format!("docs/{name}"))
        .collect();
    paths.sort();
    paths
}

#[test]
fn a_page_is_taken_apart() {
    let text = "# A `b` c-d, e\n\n## Twice\n\n## Twice\n\n[x](y.md#z) and `gateway run`\n\n\
                ```sh needs=aws\na\nb\n```\n\n    indented\n";
    let page = Page::parse("docs/a.md", text);
    let anchors: Vec<_> = page.anchors.iter().map(String::as_str).collect();
    assert_eq!(anchors, ["a-b-c-d-e", "twice", "twice-1"]);
    assert_eq!(page.links, [(7, "y.md#z".to_owned())]);
    assert_eq!(page.spans[1], (7, "gateway run".to_owned()));
    let blocks: Vec<_> = page.blocks.iter().map(|it| (it.line, &*it.text)).collect();
    assert_eq!(blocks, [(9, "a\nb\n"), (14, "indented\n")]);
    assert!(
        page.blocks[1].fence.is_err(),
        "an indented block has no tag"
    );
}

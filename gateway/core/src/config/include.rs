//! One configuration in several files: which file includes which, all of them read and parsed.
//!
//! The walk goes depth first: a file comes before those that it includes, and these in the order
//! in which they are named. Each file is read once: one that is named twice is refused, because
//! everything in it would be defined twice.

use std::collections::BTreeMap;

use super::Source;
use super::conceal::conceal;
use super::expand::Expander;
use super::parse::{self, Bounds, Part};
use super::positions::item;
use super::problem::{Position, Problem, Problems};
use super::session::wrong_kind;
use super::tree::{Node, Value, quote};

/// The key of the list of files.
pub const INCLUDE: &str = "include";
/// How deep files may include files; the first includes at depth 1.
pub const MAX_INCLUDE_DEPTH: usize = 8;
/// Files that a configuration may have beside the first.
pub const MAX_INCLUDED_FILES: usize = 1_000;

/// The remedy where the message has none.
const HELP: &str = "see to the file, or mend its path: it is relative to the directory of this one";

/// Where the files are that a file includes: the I/O that this crate does not do.
///
/// Errors are messages for people; what follows the first `"; "` is the help.
pub trait Files {
    /// What tells this file from others: the same for all names of one file.
    fn identity(&self, name: &str) -> String;

    /// The names of the files that `wanted` means in the file `from`, sorted where it is a
    /// pattern; empty only for a pattern that matches nothing. More than [`MAX_INCLUDED_FILES`]
    /// may be cut off one later.
    ///
    /// # Errors
    /// What cannot be a path or a pattern, and a directory that cannot be read.
    fn find(&self, from: &str, wanted: &str) -> Result<Vec<String>, String>;

    /// The text of a file that was found.
    ///
    /// # Errors
    /// It is not there, is no text, or has more than `bytes_max` bytes.
    fn read(&self, name: &str, bytes_max: usize) -> Result<String, String>;
}

/// No file can be included.
#[derive(Clone, Copy, Debug)]
pub struct NoFiles;

impl Files for NoFiles {
    fn identity(&self, name: &str) -> String {
        name.to_owned()
    }

    fn find(&self, _from: &str, _wanted: &str) -> Result<Vec<String>, String> {
        Err("this configuration cannot include files; write out what is included".to_owned())
    }

    fn read(&self, _name: &str, _bytes_max: usize) -> Result<String, String> {
        Err("this configuration cannot include files".to_owned())
    }
}

/// A pattern of `include` that no file matches: legal, and seldom meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmatched {
    /// Where it stands.
    pub position: Position,
    /// As it is written, variables unexpanded.
    pub pattern: String,
}

/// What was read.
pub(super) struct Parts {
    /// The top level of each file; `None` where one is missing or cannot be parsed, since all
    /// that refers to it would be reported as well.
    pub(super) roots: Option<Vec<Node>>,
    pub(super) unmatched: Vec<Unmatched>,
}

/// Reads and parses a file and all that it includes.
pub(super) fn read_all(
    source: Source<'_>,
    files: &dyn Files,
    expander: &mut Expander<'_>,
) -> (Parts, Problems) {
    let mut walk = Walk {
        files,
        expander,
        problems: Problems::new(&source),
        roots: Vec::new(),
        is_whole: true,
        unmatched: Vec::new(),
        known: BTreeMap::new(),
        chain: Vec::new(),
        bytes: 0,
        nodes: 0,
    };
    walk.known.insert(files.identity(source.name), None);
    walk.file(0, source.name, source.text);
    let parts = Parts {
        roots: walk.is_whole.then_some(walk.roots),
        unmatched: walk.unmatched,
    };
    (parts, walk.problems)
}

struct Walk<'w, 'v> {
    files: &'w dyn Files,
    expander: &'w mut Expander<'v>,
    problems: Problems,
    roots: Vec<Node>,
    is_whole: bool,
    unmatched: Vec<Unmatched>,
    /// By identity: where a file is included; `None` for the first.
    known: BTreeMap<String, Option<Position>>,
    /// The files that are open now, the first one first: name and identity.
    chain: Vec<(String, String)>,
    bytes: usize,
    nodes: usize,
}

/// An entry of a list of files.
#[derive(Clone, Copy)]
struct Wanted<'n> {
    node: &'n Node,
    index: usize,
}

impl Walk<'_, '_> {
    /// One file, and then those that it includes. Deep at most [`MAX_INCLUDE_DEPTH`].
    fn file(&mut self, file: u16, name: &str, text: &str) {
        let part = Part {
            file,
            nodes_before: self.nodes,
        };
        self.bytes = self.bytes.saturating_add(text.len());
        let parsed = parse::parse(text, part, Bounds::FILE, self.expander, &mut self.problems);
        let Some(mut root) = parsed else {
            self.is_whole = false;
            return;
        };
        self.nodes = self.nodes.saturating_add(root.size());
        let include = take_include(&mut root);
        if file > 0 && !matches!(root.value, Value::Map(_)) {
            self.wrong_kind(&root, String::new(), "a map");
        }
        self.roots.push(root);
        let Some(include) = include else {
            return;
        };
        let identity = self.files.identity(name);
        self.chain.push((name.to_owned(), identity));
        self.list(name, &include);
        self.chain.pop();
    }

    fn list(&mut self, from: &str, include: &Node) {
        let items = match &include.value {
            Value::List(items) => items,
            Value::Broken => {
                self.is_whole = false;
                return;
            }
            Value::Scalar(_) | Value::Map(_) => {
                return self.wrong_kind(include, INCLUDE.to_owned(), "a list of paths");
            }
        };
        for (index, node) in items.iter().enumerate() {
            let wanted = Wanted { node, index };
            match &node.value {
                Value::Scalar(scalar) if !scalar.text.trim().is_empty() => {
                    self.wanted(from, wanted);
                }
                Value::Broken => self.is_whole = false,
                _ => self.wrong_kind(node, item(INCLUDE, index), "a path"),
            }
        }
    }

    /// The files that one entry means.
    fn wanted(&mut self, from: &str, wanted: Wanted<'_>) {
        let names = match self.files.find(from, wanted.node.text()) {
            Ok(names) => names,
            Err(message) => return self.refuse(wanted, &message),
        };
        if names.is_empty() {
            let scalar = match &wanted.node.value {
                Value::Scalar(scalar) => scalar.written.as_ref().unwrap_or(&scalar.text),
                _ => return,
            };
            self.unmatched.push(Unmatched {
                position: wanted.node.position,
                pattern: quote(scalar),
            });
        }
        if self.chain.len() > MAX_INCLUDE_DEPTH {
            let message = format!(
                "files include files more than {MAX_INCLUDE_DEPTH} deep; include them further up"
            );
            return self.refuse(wanted, &message);
        }
        for name in names {
            if self.known.len() > MAX_INCLUDED_FILES {
                let message = format!(
                    "more than {MAX_INCLUDED_FILES} files are included; put several into one"
                );
                return self.refuse(wanted, &message);
            }
            if let Err(message) = self.found(wanted, &name) {
                self.refuse(wanted, &message);
            }
        }
    }

    fn found(&mut self, wanted: Wanted<'_>, name: &str) -> Result<(), String> {
        let identity = self.files.identity(name);
        if let Some(start) = self.chain.iter().position(|(_, open)| *open == identity) {
            let circle = self.chain[start..].iter().map(|(name, _)| name.as_str());
            let circle: Vec<_> = circle.chain([name]).collect();
            return Err(format!(
                "files include each other in a circle: {}; take one of them out of its `include`",
                circle.join(" includes ")
            ));
        }
        // The first file, which nobody includes, is always open.
        if let Some(Some(first)) = self.known.get(&identity) {
            return Err(format!(
                "`{name}` is included twice; it is included at `{}` already, keep one of them",
                self.problems.shown_place(*first)
            ));
        }
        self.known.insert(identity, Some(wanted.node.position));
        let bytes_max = parse::MAX_FILE_BYTES;
        let bytes_left = bytes_max.saturating_sub(self.bytes);
        let text = self.files.read(name, bytes_left)?;
        if text.len() > bytes_left {
            return Err(format!(
                "with `{name}` the files are larger than {} KiB together; take out what is \
                 generated",
                bytes_max / 1024
            ));
        }
        let source = Source { name, text: &text };
        let file = self.problems.add_file(&source);
        self.file(file, name, &text);
        Ok(())
    }

    fn refuse(&mut self, wanted: Wanted<'_>, message: &str) {
        self.is_whole = false;
        let (message, help) = match message.split_once("; ") {
            Some(parts) => parts,
            None => (message, HELP),
        };
        self.problems.push(Problem {
            position: Some(wanted.node.position),
            path: item(INCLUDE, wanted.index),
            message: conceal(wanted.node, message),
            help: Some(conceal(wanted.node, help)),
            warning: None,
        });
    }

    fn wrong_kind(&mut self, node: &Node, path: String, expected: &str) {
        self.is_whole = false;
        let help = wrong_kind(node, expected);
        let example = || match path.as_str() {
            "" => "write keys of the routes file, such as `routes:`".to_owned(),
            _ => "write a list of paths, as in `include: [routes.d/*.yaml]`".to_owned(),
        };
        self.problems.push(Problem {
            position: Some(node.position),
            message: format!("expected {expected}, found {}", node.found()),
            help: help.or_else(|| Some(example())),
            path,
            warning: None,
        });
    }
}

/// Takes the list out of a file: it is not a part of what the files say together.
fn take_include(root: &mut Node) -> Option<Node> {
    let Value::Map(entries) = &mut root.value else {
        return None;
    };
    let index = entries
        .iter()
        .position(|entry| entry.key.text() == INCLUDE)?;
    Some(entries.remove(index).value)
}

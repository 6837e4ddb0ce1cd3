//! From YAML text to a [`Node`] tree.
//!
//! The events of serde-saphyr's parser are used rather than its `Spanned`
//! values: those stop at the first bad value, ignore tags, and do not say
//! whether a scalar was quoted.

use std::collections::BTreeMap;

use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle, ScanError, Span, Tag};

use super::expand::Expander;
use super::positions::{item, join};
use super::problem::{Position, Problem, Problems};
use super::remedy;
use super::tree::{Entry, Node, Scalar, Value, quote};

/// Bytes that a file may have: room for 10,000 routes with all that a route may say.
pub const MAX_FILE_BYTES: usize = 8 * 1024 * 1024;

/// Lists and maps that may nest, aliases included.
pub const MAX_DEPTH: usize = 32;

/// Keys and values that a file may have, after aliases are replaced.
pub const MAX_NODES: usize = 500_000;

/// How much of a document is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of its text.
    pub bytes: usize,
    /// Keys and values, after aliases are replaced.
    pub nodes: usize,
}

impl Bounds {
    /// Those of a file that people write.
    pub const FILE: Self = Self {
        bytes: MAX_FILE_BYTES,
        nodes: MAX_NODES,
    };
}

/// Which text is parsed, and what was parsed before it.
#[derive(Clone, Copy, Default)]
pub(super) struct Part {
    /// The number that its positions have.
    pub(super) file: u16,
    /// Keys and values of the files before it, which count against the same bound.
    pub(super) nodes_before: usize,
}

/// Parses `text`, replacing variables and aliases.
///
/// `None` after a mistake that leaves no tree; smaller ones leave
/// [`Value::Broken`] behind and are reported beside what decoding finds.
pub(super) fn parse(
    text: &str,
    part: Part,
    bounds: Bounds,
    expander: &mut Expander<'_>,
    problems: &mut Problems,
) -> Option<Node> {
    if text.len() > bounds.bytes {
        problems.push(Problem {
            position: None,
            path: String::new(),
            message: format!("the file is larger than {} KiB", bounds.bytes / 1024),
            help: Some("split it, or take out what is generated".to_owned()),
            warning: None,
        });
        return None;
    }
    let mut builder = Builder {
        expander,
        problems,
        open: Vec::new(),
        anchors: BTreeMap::new(),
        file: part.file,
        nodes: part.nodes_before,
        nodes_max: bounds.nodes,
        root: None,
    };
    let options = granit_parser::options! {
        emit_unresolved_aliases: true,
        block_nesting_limit: MAX_DEPTH + 1,
        flow_nesting_limit: MAX_DEPTH + 1,
    };
    for event in Parser::new_from_str_with_options(text, options) {
        match event {
            Ok((event, span)) => builder.take(event, &span).ok()?,
            Err(error) => {
                builder.syntax(&error, text);
                return None;
            }
        }
    }
    if builder.root.is_none() {
        let start = Position {
            file: part.file,
            line: 1,
            column: 1,
            length: 1,
        };
        let help = match part.file {
            0 => "write its required keys",
            _ => "write keys of the routes file, such as `routes:`",
        };
        builder.report(start, "the file is empty", help);
    }
    builder.root
}

/// A problem was reported that leaves no tree.
struct Stop;

struct Builder<'b, 'v> {
    expander: &'b mut Expander<'v>,
    problems: &'b mut Problems,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    file: u16,
    nodes: usize,
    nodes_max: usize,
    root: Option<Node>,
}

/// A list or map whose end has not come yet.
struct Open {
    position: Position,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        seen: BTreeMap<String, Position>,
        key: Key,
    },
}

/// Which half of a map's entry comes next.
enum Key {
    Awaited,
    Known(Node),
    /// The value is read, and then dropped.
    Refused,
}

impl Builder<'_, '_> {
    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), Stop> {
        let at = self.position(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), at);
                // The parser hands out `~` where nothing is written.
                let is_absent = style == ScalarStyle::Plain && span.is_empty();
                let text = if is_absent { "" } else { text.as_ref() };
                let value = self.scalar(text, style == ScalarStyle::Plain, at);
                self.add(value, anchor, at)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), at);
                self.open(Content::List(Vec::new()), anchor, at)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), at);
                let content = Content::Map {
                    entries: Vec::new(),
                    seen: BTreeMap::new(),
                    key: Key::Awaited,
                };
                self.open(content, anchor, at)
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => self.alias(anchor, at),
            Event::UnresolvedAlias(name) => {
                let message = format!("alias `*{}` has no anchor before it", quote(&name));
                let help = "write `&name` in front of the value that is meant, further up; or \
                            quote the text if it is no alias";
                self.report(at, message, help);
                self.add(Value::Broken, 0, at)
            }
            Event::DocumentStart(..) if self.root.is_some() => {
                let message = "a second document starts here";
                self.report(at, message, "keep one document in a file: remove the `---`");
                Err(Stop)
            }
            _ => Ok(()),
        }
    }

    fn scalar(&mut self, text: &str, is_plain: bool, at: Position) -> Value {
        // A key is taken as it stands: its path must not depend on variables.
        let is_key = matches!(
            self.open.last().map(|open| &open.content),
            Some(Content::Map {
                key: Key::Awaited,
                ..
            })
        );
        let expanded = if is_key {
            Ok(None)
        } else {
            self.expander.expand(text)
        };
        match expanded {
            Ok(expanded) => Value::Scalar(Scalar {
                written: expanded.is_some().then(|| text.to_owned()),
                text: expanded.unwrap_or_else(|| text.to_owned()),
                is_plain,
            }),
            Err(faults) => {
                for fault in faults {
                    self.report(at, fault.message, fault.help);
                }
                Value::Broken
            }
        }
    }

    fn open(&mut self, content: Content, anchor: usize, position: Position) -> Result<(), Stop> {
        self.check_depth(1, position)?;
        self.open.push(Open {
            position,
            anchor,
            content,
        });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Stop> {
        let open = self.open.pop().ok_or(Stop)?;
        let value = match open.content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, .. } => Value::Map(entries),
        };
        self.add(value, open.anchor, open.position)
    }

    fn alias(&mut self, anchor: usize, at: Position) -> Result<(), Stop> {
        let Some(target) = self.anchors.get(&anchor) else {
            let message = "an alias stands inside the value that it names";
            self.report(at, message, "write the value out");
            return self.add(Value::Broken, 0, at);
        };
        // Checked before the copy, and the copy is added to the count: aliases
        // of aliases cannot grow without bound.
        let (height, size) = (target.height(), target.size());
        self.check_depth(height, at)?;
        self.count(size, at)?;
        let value = self.anchors.get(&anchor).map(|node| node.value.clone());
        self.add(value.unwrap_or(Value::Broken), 0, at)
    }

    fn add(&mut self, value: Value, anchor: usize, position: Position) -> Result<(), Stop> {
        self.count(1, position)?;
        let node = Node { position, value };
        if anchor != 0 {
            self.count(node.size(), position)?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { entries, seen, key }) => {
                match std::mem::replace(key, Key::Awaited) {
                    Key::Known(key) => entries.push(Entry { key, value: node }),
                    Key::Refused => {}
                    Key::Awaited => {
                        if let Some((message, help)) = refuse_key(&node, seen) {
                            *key = Key::Refused;
                            self.report(position, message, help);
                        } else {
                            *key = Key::Known(node);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn refuse_tag(&mut self, tag: Option<&Tag>, at: Position) {
        if let Some(tag) = tag {
            let message = format!("tag `{}` is not supported", quote(&tag.original()));
            self.report(at, message, "take the tag out; quote what is to be text");
        }
    }

    fn check_depth(&mut self, height: usize, at: Position) -> Result<(), Stop> {
        if self.open.len() + height <= MAX_DEPTH {
            return Ok(());
        }
        let message = format!("lists and maps nest more than {MAX_DEPTH} deep");
        self.report(at, message, "close what is open further up, or flatten it");
        Err(Stop)
    }

    fn count(&mut self, nodes: usize, at: Position) -> Result<(), Stop> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes <= self.nodes_max {
            return Ok(());
        }
        let what = match self.file {
            0 => "the file has",
            _ => "this file and those before it have",
        };
        let message = format!("{what} more than {} keys and values", self.nodes_max);
        let help = "what an alias stands for counts each time; split the file";
        self.report(at, message, help);
        Err(Stop)
    }

    fn syntax(&mut self, error: &ScanError, text: &str) {
        let stopped = error.marker();
        let place = remedy::place(error.kind(), text, stopped);
        let (line, column) = place.unwrap_or((stopped.line(), stopped.col() + 1));
        let at = Position {
            file: self.file,
            line: clamp(line),
            column: clamp(column),
            length: 1,
        };
        let message = format!("this is not YAML: {}", error.info());
        self.report(at, message, remedy::remedy(error.kind(), text, line));
    }

    fn report(&mut self, at: Position, message: impl Into<String>, help: impl Into<String>) {
        self.problems.push(Problem {
            position: Some(at),
            path: self.path(),
            message: message.into(),
            help: Some(help.into()),
            warning: None,
        });
    }

    fn position(&self, span: &Span) -> Position {
        Position {
            file: self.file,
            line: clamp(span.start.line()).max(1),
            column: clamp(span.start.col() + 1),
            length: clamp(span.len()).max(1),
        }
    }

    /// The path of the value that comes next.
    fn path(&self) -> String {
        let mut path = String::new();
        for open in &self.open {
            path = match &open.content {
                Content::List(items) => item(&path, items.len()),
                Content::Map {
                    key: Key::Known(key),
                    ..
                } => join(&path, key.text()),
                Content::Map { .. } => path,
            };
        }
        path
    }
}

/// Why `key` cannot be a key of the map, and what to do.
fn refuse_key(key: &Node, seen: &mut BTreeMap<String, Position>) -> Option<(String, String)> {
    let Value::Scalar(scalar) = &key.value else {
        return match key.value {
            Value::Broken => Some((
                "an alias cannot be a key".to_owned(),
                "write the key out".to_owned(),
            )),
            _ => Some((
                format!("a key must be text, found {}", key.found()),
                "a `${…}` inside `[…]` or `{…}` needs quotes; a key is one word".to_owned(),
            )),
        };
    };
    let text = scalar.text.as_str();
    if text.is_empty() {
        return Some((
            "a key is empty".to_owned(),
            "write a key before the `:`".to_owned(),
        ));
    }
    if text == "<<" && scalar.is_plain {
        return Some((
            "merge keys (`<<`) are not part of YAML 1.2".to_owned(),
            "write the keys out, or use an alias for a whole value".to_owned(),
        ));
    }
    if text.contains("${") {
        return Some((
            format!("key `{}` holds a variable", quote(text)),
            "variables are replaced in values only".to_owned(),
        ));
    }
    if let Some(first) = seen.get(text) {
        return Some((
            format!("key `{}` is given twice", quote(text)),
            format!("it stands in line {} already; keep one of them", first.line),
        ));
    }
    seen.insert(text.to_owned(), key.position);
    None
}

fn clamp(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

//! Several files become one tree, before anything is decoded: every value keeps its own place.

use std::collections::BTreeMap;

use super::positions::join;
use super::problem::{Position, Problem, Problems};
use super::session::wrong_kind;
use super::tree::{Entry, Node, Value, quote};

/// What becomes of top-level keys that several files have. All others may stand in one file.
#[derive(Clone, Copy, Debug)]
pub struct Sections {
    /// Maps of names, which become one map; a name may stand in one file.
    pub joined: &'static [&'static str],
    /// Lists, which become one list in the order of the files.
    pub appended: &'static [&'static str],
    /// Keys that only the first file needs; others may repeat what it says, and nothing else.
    pub repeated: &'static [&'static str],
}

/// Makes one tree of the top levels of files, of which the first is the one that was asked for.
pub(super) fn merge(roots: Vec<Node>, sections: &Sections, problems: &mut Problems) -> Node {
    let mut roots = roots.into_iter();
    let Some(mut first) = roots.next() else {
        unreachable!("there is a first file");
    };
    // What is wrong with the first is said when it is decoded.
    let Value::Map(entries) = &mut first.value else {
        return first;
    };
    let mut merging = Merging {
        sections,
        problems,
        index: entries
            .iter()
            .enumerate()
            .map(|(index, entry)| (entry.key.text().to_owned(), index))
            .collect(),
        named: BTreeMap::new(),
    };
    for root in roots {
        if let Value::Map(more) = root.value {
            for entry in more {
                merging.add(entries, entry);
            }
        }
    }
    first
}

struct Merging<'m> {
    sections: &'m Sections,
    problems: &'m mut Problems,
    /// Where a key stands among the entries of the result.
    index: BTreeMap<String, usize>,
    /// The names of each section that several files have, and where they stand.
    named: BTreeMap<String, BTreeMap<String, Position>>,
}

impl Merging<'_> {
    fn add(&mut self, entries: &mut Vec<Entry>, entry: Entry) {
        let key = entry.key.text().to_owned();
        let is_in = |keys: &[&str]| keys.contains(&key.as_str());
        let found = self.index.get(&key).map(|index| &mut entries[*index]);
        let Some(earlier) = found else {
            // A file that is included does not say what the first one leaves out of these.
            if !is_in(self.sections.repeated) {
                self.index.insert(key, entries.len());
                entries.push(entry);
            }
            return;
        };
        if is_in(self.sections.joined) {
            self.join(&key, earlier, entry);
        } else if is_in(self.sections.appended) {
            self.append(&key, earlier, entry);
        } else if is_in(self.sections.repeated) {
            if earlier.value.text() != entry.value.text() {
                self.twice(&key, String::new(), &entry.key, earlier.key.position);
            }
        } else {
            self.twice(&key, String::new(), &entry.key, earlier.key.position);
        }
    }

    fn join(&mut self, section: &str, earlier: &mut Entry, entry: Entry) {
        let Some(Value::Map(more)) = self.wanted(section, earlier, entry, "a map", is_map) else {
            return;
        };
        let Value::Map(names) = &mut earlier.value.value else {
            return;
        };
        let mut known = self.named.remove(section).unwrap_or_else(|| {
            let names = names.iter().map(|it| &it.key);
            names
                .map(|key| (key.text().to_owned(), key.position))
                .collect()
        });
        for entry in more {
            let name = entry.key.text();
            if let Some(first) = known.get(name) {
                self.twice(name, join(section, name), &entry.key, *first);
                continue;
            }
            known.insert(name.to_owned(), entry.key.position);
            names.push(entry);
        }
        self.named.insert(section.to_owned(), known);
    }

    fn append(&mut self, section: &str, earlier: &mut Entry, entry: Entry) {
        let wanted = self.wanted(section, earlier, entry, "a list", is_list);
        if let (Some(Value::List(more)), Value::List(items)) = (wanted, &mut earlier.value.value) {
            items.extend(more);
        }
    }

    /// The value of an entry that is to become one with an earlier one. Of the two, one that is
    /// of another kind is reported and left out.
    fn wanted(
        &mut self,
        section: &str,
        earlier: &mut Entry,
        entry: Entry,
        expected: &str,
        is_wanted: fn(&Value) -> bool,
    ) -> Option<Value> {
        if !is_wanted(&entry.value.value) {
            self.wrong_kind(section, &entry.value, expected);
            return None;
        }
        if is_wanted(&earlier.value.value) {
            return Some(entry.value.value);
        }
        self.wrong_kind(section, &earlier.value, expected);
        *earlier = entry;
        None
    }

    fn wrong_kind(&mut self, section: &str, node: &Node, expected: &str) {
        if matches!(node.value, Value::Broken) {
            return;
        }
        self.problems.push(Problem {
            position: Some(node.position),
            path: section.to_owned(),
            message: format!("expected {expected}, found {}", node.found()),
            help: wrong_kind(node, expected)
                .or_else(|| Some(format!("write {expected}, or take `{section}` out"))),
            warning: None,
        });
    }

    fn twice(&mut self, name: &str, path: String, key: &Node, first: Position) {
        let name = quote(name);
        let what = match path.as_str() {
            "" => format!("`{name}` stands in two files"),
            _ => format!("`{name}` is defined in two files"),
        };
        let first = self.problems.shown_place(first);
        self.problems.push(Problem {
            position: Some(key.position),
            path,
            message: what,
            help: Some(format!("it stands at `{first}` already; keep one of them")),
            warning: None,
        });
    }
}

fn is_map(value: &Value) -> bool {
    matches!(value, Value::Map(_))
}

fn is_list(value: &Value) -> bool {
    matches!(value, Value::List(_))
}

//! From a path such as `routes[3].timeout` to its place in the file.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::OnceLock;

use super::problem::Position;
use super::tree::{Node, Value, quote};

/// Where every value of a decoded file stands.
///
/// Paths are written `routes[3].retries.attempts`; [`join`] and [`item`] build
/// them. The top level is the empty path.
#[derive(Clone, Debug, Default)]
pub struct Positions {
    root: Option<Node>,
    /// Made when the first path is looked up: a document without mistakes needs none.
    places: OnceLock<Places>,
}

/// A scalar that a file has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Its path.
    pub path: String,
    /// As it is written, variables unexpanded, and shortened.
    pub text: String,
    /// Where it stands.
    pub position: Position,
}

/// By path. A hostile file costs no more than an honest one: its keys cannot know the hasher's seed.
type Places = HashMap<String, Place, foldhash::fast::RandomState>;

#[derive(Clone, Copy, Debug)]
struct Place {
    key: Option<Position>,
    value: Position,
    is_collection: bool,
}

impl Positions {
    /// The position to underline for `path`: the value, or the key when the
    /// value is a map or a list, which may run over many lines.
    ///
    /// A path that the file does not have falls back to the nearest enclosing
    /// one, in the end to the start of the file. `None` only for an empty
    /// `Positions`.
    #[must_use]
    pub fn at(&self, path: &str) -> Option<Position> {
        self.nearest(path).map(|(_, place)| match place.key {
            Some(key) if place.is_collection => key,
            _ => place.value,
        })
    }

    /// The position of the key at `path`; falls back like [`Positions::at`].
    #[must_use]
    pub fn key(&self, path: &str) -> Option<Position> {
        match self.nearest(path)? {
            (true, place) => Some(place.key.unwrap_or(place.value)),
            (false, _) => self.at(path),
        }
    }

    /// Whether the file itself says something at `path`, so that it is not a
    /// default.
    #[must_use]
    pub fn is_given(&self, path: &str) -> bool {
        self.places().contains_key(path)
    }

    /// The scalars at `path` and below; lists and maps without any count as one.
    #[must_use]
    pub fn leaves(&self, path: &str) -> Vec<Leaf> {
        let mut leaves = Vec::new();
        if let Some(root) = &self.root {
            seek(root, String::new(), path, &mut leaves);
        }
        leaves
    }

    fn nearest(&self, path: &str) -> Option<(bool, Place)> {
        let mut prefix = path;
        loop {
            if let Some(place) = self.places().get(prefix) {
                return Some((prefix.len() == path.len(), *place));
            }
            if prefix.is_empty() {
                return None;
            }
            // A cut inside a quoted key gives a path that does not exist, so
            // the search goes on.
            prefix = &prefix[..prefix.rfind(['.', '[']).unwrap_or(0)];
        }
    }

    pub(super) fn of(root: Node) -> Self {
        Self {
            root: Some(root),
            places: OnceLock::new(),
        }
    }

    fn places(&self) -> &Places {
        self.places.get_or_init(|| {
            let mut places = Places::default();
            if let Some(root) = &self.root {
                places.reserve(root.size());
                walk(root, String::new(), None, &mut places);
            }
            places
        })
    }
}

fn walk(node: &Node, path: String, key: Option<Position>, places: &mut Places) {
    let is_collection = match &node.value {
        Value::List(items) => {
            for (index, value) in items.iter().enumerate() {
                walk(value, item(&path, index), None, places);
            }
            true
        }
        Value::Map(entries) => {
            for entry in entries {
                let path = join(&path, entry.key.text());
                walk(&entry.value, path, Some(entry.key.position), places);
            }
            true
        }
        Value::Scalar(_) | Value::Broken => false,
    };
    let place = Place {
        key,
        value: node.position,
        is_collection,
    };
    places.insert(path, place);
}

/// Collects what is at `wanted` and below, visiting nothing beside it.
fn seek(node: &Node, path: String, wanted: &str, leaves: &mut Vec<Leaf>) {
    let is_within = path == wanted || is_below(&path, wanted);
    if !is_within && !is_below(wanted, &path) {
        return;
    }
    let text = match &node.value {
        Value::List(items) if !items.is_empty() => {
            // One of thousands is asked for, commonly.
            let asked = wanted.get(path.len()..).filter(|_| !is_within);
            let asked = asked.and_then(|rest| rest.strip_prefix('[')?.split(']').next());
            let asked = asked.and_then(|index| index.parse::<usize>().ok());
            let range = asked.map_or(0..items.len(), |index| index..index.saturating_add(1));
            for index in range {
                if let Some(value) = items.get(index) {
                    seek(value, item(&path, index), wanted, leaves);
                }
            }
            return;
        }
        Value::Map(entries) if !entries.is_empty() => {
            for entry in entries {
                let path = join(&path, entry.key.text());
                seek(&entry.value, path, wanted, leaves);
            }
            return;
        }
        Value::List(_) => "[]".to_owned(),
        Value::Map(_) => "{}".to_owned(),
        Value::Scalar(scalar) => quote(scalar.written.as_ref().unwrap_or(&scalar.text)),
        Value::Broken => return,
    };
    if is_within {
        leaves.push(Leaf {
            path,
            text,
            position: node.position,
        });
    }
}

/// The path of the value under `key` in the map at `path`.
///
/// Keys that are not plain words are quoted, as in `claims["a.b"]`.
#[must_use]
pub fn join(path: &str, key: &str) -> String {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if key.is_empty() || !key.bytes().all(is_word) {
        return format!("{path}[{key:?}]");
    }
    // Made for every value of a file, so without the machinery of `format!`.
    let mut joined = String::with_capacity(path.len() + 1 + key.len());
    joined.push_str(path);
    if !path.is_empty() {
        joined.push('.');
    }
    joined.push_str(key);
    joined
}

/// The path of item `index` of the list at `path`.
#[must_use]
pub fn item(path: &str, index: usize) -> String {
    let mut item = String::with_capacity(path.len() + "[100000]".len());
    item.push_str(path);
    let _never_fails = write!(item, "[{index}]");
    item
}

/// Whether `path` lies below `ancestor`.
pub(super) fn is_below(path: &str, ancestor: &str) -> bool {
    match path.strip_prefix(ancestor) {
        Some(rest) => !rest.is_empty() && (ancestor.is_empty() || rest.starts_with(['.', '['])),
        None => false,
    }
}

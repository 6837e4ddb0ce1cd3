//! What another routes file changes, in meaning: formatting, remarks, the order of routes and
//! defaults that are written out make no difference.
//!
//! Two questions with an answer each. Whether an option means something else is asked of what the
//! files were compiled to (`meaning.rs`), so that the answer is the gateway's own. What to show
//! of it is taken from the files (`written.rs`), in their words, with file and line, and with the
//! name of a variable in place of what it holds. `replay.rs` asks which logged requests notice.

mod meaning;
mod replay;
#[cfg(test)]
mod tests;
mod written;

use std::collections::HashMap;

use serde::Serialize;

pub use replay::{Aspect, Counts, GROUPS_MAX, Group, Logged, Replay};

use crate::config::{Positions, item, join};
use crate::file::{Compiled, RoutesFile};
use meaning::{Meaning, Thing};
use written::Leaves;

/// Leaves of one option that are shown.
const LEAVES_MAX: usize = 20;

/// One of the two configurations.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// What it means.
    pub compiled: &'a Compiled,
    /// What it says.
    pub written: &'a RoutesFile,
    /// Where it says it.
    pub positions: &'a Positions,
}

/// All that one configuration changes.
#[derive(Debug, Serialize)]
pub struct Differences {
    /// By section in the order of the files, and by name.
    pub things: Vec<Difference>,
    /// Routes that stand elsewhere among those that both files have: this changes nothing.
    pub reordered: Vec<Box<str>>,
}

/// One route, upstream, provider, list of keys or setting that is another one.
#[derive(Debug, Serialize)]
pub struct Difference {
    /// `routes`, `upstreams`, `jwt_providers`, `api_keys` or `settings`.
    pub section: &'static str,
    /// Its name; of a setting, its key at the top level.
    pub name: Box<str>,
    /// What became of it.
    pub change: Change,
    /// Where it stood.
    pub before: Option<Place>,
    /// Where it stands.
    pub after: Option<Place>,
    /// What of it changed; empty for what is new or gone.
    pub options: Vec<OptionChange>,
}

/// What became of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Only the other file has it.
    Added,
    /// Only the first file has it.
    Removed,
    /// It means something else.
    Changed,
}

/// An option that means something else.
#[derive(Debug, Serialize)]
pub struct OptionChange {
    /// Its path within the thing, such as `retries.attempts`.
    pub option: String,
    /// What the files said; nothing where they leave it out.
    pub before: Option<Value>,
    /// What they say.
    pub after: Option<Value>,
    /// Whether `defaults` says it, and not the route.
    pub is_default: bool,
}

/// A value in the words of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Value {
    /// Shortened; a variable by its name; keys not at all.
    pub text: String,
    /// Where it stands.
    pub place: Place,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// What the file is called.
    pub file: Box<str>,
    /// From 1.
    pub line: u32,
}

/// Compares two configurations.
#[must_use]
pub fn compare(before: Side<'_>, after: Side<'_>) -> Differences {
    let comparison = Comparison {
        before: Indexed::of(before),
        after: Indexed::of(after),
    };
    let (old, new) = (Meaning::of(before), Meaning::of(after));
    let mut things = Vec::new();
    for ((section, old), (_, new)) in old.sections().into_iter().zip(new.sections()) {
        things.extend(comparison.section(section, old, new));
    }
    Differences {
        things,
        reordered: reordered(before.written, after.written),
    }
}

impl Differences {
    /// Whether both mean the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.things.is_empty()
    }
}

/// One side, and where its routes stand.
struct Indexed<'a> {
    side: Side<'a>,
    routes: HashMap<&'a str, usize>,
}

impl<'a> Indexed<'a> {
    fn of(side: Side<'a>) -> Self {
        let routes = side.written.routes.iter().enumerate();
        let routes = routes.map(|(index, route)| (route.name.as_str(), index));
        Self {
            side,
            routes: routes.collect(),
        }
    }

    /// The part of the file in which a setting or a thing of a section stands.
    fn path_of(&self, section: &str, name: &str) -> Option<String> {
        match section {
            "settings" => Some(name.to_owned()),
            "routes" => Some(item("routes", *self.routes.get(name)?)),
            section => Some(join(section, name)),
        }
    }
}

struct Comparison<'a> {
    before: Indexed<'a>,
    after: Indexed<'a>,
}

impl Comparison<'_> {
    fn section(&self, section: &'static str, old: &[Thing], new: &[Thing]) -> Vec<Difference> {
        let named = |things: &[Thing], name: &str| {
            let index = things.binary_search_by(|it| (*it.name).cmp(name));
            index.ok()
        };
        let mut found = Vec::new();
        for thing in old {
            match named(new, &thing.name) {
                None => found.push(self.one(section, thing, Change::Removed, Vec::new())),
                Some(index) => {
                    let changed = thing.changed_options(&new[index]);
                    if !changed.is_empty() {
                        let options = self.options(section, &thing.name, &changed);
                        found.push(self.one(section, thing, Change::Changed, options));
                    }
                }
            }
        }
        let added = new.iter().filter(|it| named(old, &it.name).is_none());
        found.extend(added.map(|it| self.one(section, it, Change::Added, Vec::new())));
        found
    }

    fn one(
        &self,
        section: &'static str,
        thing: &Thing,
        change: Change,
        options: Vec<OptionChange>,
    ) -> Difference {
        let place = |it: &Indexed<'_>| it.side.place(&it.path_of(section, &thing.name)?);
        Difference {
            section,
            name: thing.name.clone(),
            change,
            before: place(&self.before).filter(|_| change != Change::Added),
            after: place(&self.after).filter(|_| change != Change::Removed),
            options,
        }
    }

    /// What the files say of options that mean something else.
    fn options(&self, section: &str, name: &str, changed: &[&str]) -> Vec<OptionChange> {
        let below = |it: &Indexed<'_>| it.path_of(section, name).unwrap_or_default();
        let (old, new) = (below(&self.before), below(&self.after));
        let mut options = Vec::new();
        for option in changed {
            let mut found = match section {
                // A setting is its own option.
                "settings" => self.leaves(&old, &new, ""),
                _ => self.leaves(&old, &new, option),
            };
            if found.is_empty() && section == "routes" {
                found = self.leaves("defaults", "defaults", option);
                for change in &mut found {
                    change.is_default = true;
                }
            }
            if found.is_empty() {
                // By what it refers to, or by another spelling of several options.
                found.push(OptionChange {
                    option: (*option).to_owned(),
                    before: None,
                    after: None,
                    is_default: false,
                });
            }
            options.append(&mut found);
        }
        options
    }

    /// The leaves of an option that the files say differently.
    fn leaves(&self, old: &str, new: &str, option: &str) -> Vec<OptionChange> {
        // Several keys may mean one thing together, such as the source of an upstream.
        let keys = meaning::keys_of(option);
        let mut found = Vec::new();
        for key in keys {
            let old = Leaves::below(self.before.side, old, key);
            let new = Leaves::below(self.after.side, new, key);
            found.extend(old.changes_to(&new).take(LEAVES_MAX - found.len()));
            if found.len() == LEAVES_MAX {
                break;
            }
        }
        found
    }
}

impl Side<'_> {
    fn place(&self, path: &str) -> Option<Place> {
        let given = self.positions.is_given(path);
        let position = self.positions.key(path).filter(|_| given)?;
        Some(self.place_at(position))
    }

    fn place_at(&self, position: crate::config::Position) -> Place {
        let files = &self.compiled.plan.origins.files;
        let file = files.get(usize::from(position.file));
        Place {
            file: file.cloned().unwrap_or_default(),
            line: position.line,
        }
    }
}

/// The routes that must move for one order to become the other: all but a longest run that keeps
/// its order.
fn reordered(before: &RoutesFile, after: &RoutesFile) -> Vec<Box<str>> {
    let new = after.routes.iter().enumerate();
    let new: HashMap<_, _> = new
        .map(|(index, route)| (route.name.as_str(), index))
        .collect();
    let common: Vec<_> = before
        .routes
        .iter()
        .filter_map(|route| Some((route.name.as_str(), *new.get(route.name.as_str())?)))
        .collect();
    let kept = longest_rise(&common);
    let moved = common.iter().enumerate();
    let moved = moved.filter(|(index, _)| kept.binary_search(index).is_err());
    moved.map(|(_, (name, _))| (*name).into()).collect()
}

/// The indices of a longest subsequence whose numbers rise (patience sorting).
fn longest_rise(numbers: &[(&str, usize)]) -> Vec<usize> {
    // The last index of the best run of each length, and what comes before each index.
    let mut ends: Vec<usize> = Vec::new();
    let mut previous = vec![None; numbers.len()];
    for (index, (_, number)) in numbers.iter().enumerate() {
        let length = ends.partition_point(|end| numbers[*end].1 < *number);
        previous[index] = length.checked_sub(1).map(|shorter| ends[shorter]);
        match ends.get_mut(length) {
            Some(end) => *end = index,
            None => ends.push(index),
        }
    }
    let mut run = Vec::with_capacity(ends.len());
    let mut at = ends.last().copied();
    while let Some(index) = at {
        run.push(index);
        at = previous[index];
    }
    run.reverse();
    run
}

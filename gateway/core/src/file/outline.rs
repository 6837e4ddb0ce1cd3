//! What a routes file defines, by name: enough to say what another one changes.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Write as _};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde::Serialize;

use super::RoutesFile;

/// Names that one line of the log shows.
const NAMES_SHOWN_MAX: usize = 20;

/// The names of a file's sections, each with a digest of what it says there.
#[derive(Clone, Debug, Default)]
pub struct Outline {
    routes: Section,
    upstreams: Section,
    jwt_providers: Section,
    api_keys: Section,
}

type Section = BTreeMap<Box<str>, u64>;

/// What one file has that another one has not, by section.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// A change of `defaults` counts as one of each route.
    pub routes: Change,
    /// As written.
    pub upstreams: Change,
    /// As written.
    pub jwt_providers: Change,
    /// As written.
    pub api_keys: Change,
}

/// Names in the order of the alphabet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Those that are new.
    pub added: Vec<Box<str>>,
    /// Those that are gone.
    pub removed: Vec<Box<str>>,
    /// Those that say something else.
    pub changed: Vec<Box<str>>,
}

impl Outline {
    pub(super) fn of(file: &RoutesFile) -> Self {
        let mut digests = Digests::default();
        let defaults = digests.of(&file.defaults);
        let routes = file.routes.iter();
        Self {
            routes: routes
                .map(|route| (route.name.as_str().into(), digests.of(route) ^ defaults))
                .collect(),
            upstreams: section(&file.upstreams),
            jwt_providers: section(&file.jwt_providers),
            api_keys: section(&file.api_keys),
        }
    }

    /// From `previous` to this one.
    #[must_use]
    pub fn changes_since(&self, previous: &Self) -> Changes {
        Changes {
            routes: change(&previous.routes, &self.routes),
            upstreams: change(&previous.upstreams, &self.upstreams),
            jwt_providers: change(&previous.jwt_providers, &self.jwt_providers),
            api_keys: change(&previous.api_keys, &self.api_keys),
        }
    }
}

fn section(specs: &BTreeMap<String, impl Debug>) -> Section {
    let mut digests = Digests::default();
    let specs = specs.iter();
    specs
        .map(|(name, spec)| (name.as_str().into(), digests.of(spec)))
        .collect()
}

/// Makes digests of all that was written, for derived `Debug` leaves nothing out.
#[derive(Default)]
struct Digests {
    /// The specification as text; its room is used again.
    text: String,
}

impl Digests {
    fn of(&mut self, spec: &impl Debug) -> u64 {
        self.text.clear();
        write!(self.text, "{spec:?}").expect("a string takes all of it");
        let mut hasher = DefaultHasher::new();
        self.text.hash(&mut hasher);
        hasher.finish()
    }
}

impl fmt::Display for Change {
    /// `+added -removed ~changed`, for the log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            ('+', &self.added),
            ('-', &self.removed),
            ('~', &self.changed),
        ];
        let mut words = all
            .iter()
            .flat_map(|(sign, names)| names.iter().map(move |name| (sign, name)));
        for (sign, name) in words.by_ref().take(NAMES_SHOWN_MAX) {
            write!(f, "{sign}{name} ")?;
        }
        match words.count() {
            0 => Ok(()),
            rest => write!(f, "and {rest} more"),
        }
    }
}

fn change(before: &Section, after: &Section) -> Change {
    let names = |section: &Section, is_meant: &dyn Fn(&str, u64) -> bool| {
        let entries = section.iter().filter(|(name, it)| is_meant(name, **it));
        entries.map(|(name, _)| name.clone()).collect()
    };
    Change {
        added: names(after, &|name, _| !before.contains_key(name)),
        removed: names(before, &|name, _| !after.contains_key(name)),
        changed: names(after, &|name, it| {
            before.get(name).is_some_and(|earlier| *earlier != it)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;
    use crate::file::read;

    fn outline(upstreams: &str, routes: &str) -> Outline {
        let text = format!("version: 1\nupstreams: {{{upstreams}}}\nroutes:\n{routes}");
        let source = Source {
            name: "the test's file",
            text: &text,
        };
        let compiled = read(source, &|_| None);
        compiled
            .unwrap_or_else(|problems| panic!("{problems}"))
            .outline
    }

    #[test]
    fn what_is_added_removed_and_changed_is_named() {
        let route = |name: &str, status: u16| {
            format!(
                "  - {{name: {name}, match: {{path: /{name}}}, auth: none, respond: {{status: {status}}}}}\n"
            )
        };
        let upstream = |name: &str| format!("{name}: {{static: [\"127.0.0.1:1\"]}}");
        let before = outline(&upstream("a"), &(route("one", 200) + &route("two", 200)));
        let after = outline(
            &format!("{}, {}", upstream("a"), upstream("b")),
            &(route("three", 200) + &route("two", 204)),
        );
        let names = |names: &[&str]| names.iter().map(|name| Box::from(*name)).collect();
        let changes = after.changes_since(&before);
        assert_eq!(
            changes.routes,
            Change {
                added: names(&["three"]),
                removed: names(&["one"]),
                changed: names(&["two"]),
            }
        );
        assert_eq!(changes.upstreams.added, names(&["b"]));
        assert_eq!(before.changes_since(&before), Changes::default());
    }
}

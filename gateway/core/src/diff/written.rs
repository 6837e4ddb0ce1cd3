//! What files say, leaf by leaf, for people: nothing of it is compared to tell what it means.

use std::collections::BTreeMap;

use super::{OptionChange, Side, Value};
use crate::config::{Leaf, join};

/// What is shown of keys, which may be secret.
const HIDDEN: &str = "(hidden)";
/// Keys whose values are never shown: JWK sets in the file may hold secrets.
const SECRET_KEYS: &[&str] = &["jwks"];

/// The scalars below one key of a thing, by their paths within the thing.
pub(super) struct Leaves(BTreeMap<String, Value>);

impl Leaves {
    /// Below `key` of the thing at `thing`; all of the thing where `key` is empty.
    pub(super) fn below(side: Side<'_>, thing: &str, key: &str) -> Self {
        let root = match key {
            "" => thing.to_owned(),
            key => join(thing, key),
        };
        let leaves = side.positions.leaves(&root).into_iter();
        let leaves = leaves.map(|leaf| {
            let within = match key {
                // A setting is a thing of one option, which bears its name.
                "" => leaf.path.as_str(),
                _ => leaf.path[thing.len()..].trim_start_matches('.'),
            };
            let within = within.to_owned();
            let value = Value {
                text: shown(&within, &leaf),
                place: side.place_at(leaf.position),
            };
            (within, value)
        });
        Self(leaves.collect())
    }

    /// Those that another file leaves out, adds or says otherwise.
    pub(super) fn changes_to<'l>(
        &'l self,
        other: &'l Self,
    ) -> impl Iterator<Item = OptionChange> + 'l {
        let change =
            |option: &String, before: Option<&Value>, after: Option<&Value>| OptionChange {
                option: option.clone(),
                before: before.cloned(),
                after: after.cloned(),
                is_default: false,
            };
        let old = self.0.iter().filter_map(move |(option, before)| {
            let after = other.0.get(option);
            let is_same =
                after.is_some_and(|after| after.text == before.text && after.text != HIDDEN);
            (!is_same).then(|| change(option, Some(before), after))
        });
        let new = other
            .0
            .iter()
            .filter(|(option, _)| !self.0.contains_key(*option));
        old.chain(new.map(move |(option, after)| change(option, None, Some(after))))
    }
}

fn shown(path: &str, leaf: &Leaf) -> String {
    let is_secret = path
        .split(['.', '['])
        .any(|part| SECRET_KEYS.contains(&part));
    // RFC 3986 section 3.2.1: what stands before an `@` may be a password.
    let authority = leaf.text.split_once("://").map(|(_, rest)| rest);
    let authority = authority.and_then(|rest| rest.split('/').next());
    if is_secret || authority.is_some_and(|it| it.contains('@')) {
        return HIDDEN.to_owned();
    }
    leaf.text.clone()
}

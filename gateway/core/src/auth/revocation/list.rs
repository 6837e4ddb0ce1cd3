//! A deny list, as written.
//!
//! ```yaml
//! revoked:
//!   - {jti: 0b9c1f3e, until: 2026-08-01T12:00:00Z, reason: laptop lost}
//!   - {sub: alice}
//!   - {sub: bob, issued_before: 2026-07-31T09:30:00Z, reason: password changed}
//!   - {sid: 41f8}
//!   - {issued_before: 2026-07-01}
//! ```

use serde::Deserialize;

use super::{ENTRIES_MAX, LIST_BYTES_MAX, RULES_MAX, Revocations, Rule};
use crate::config::{Bounds, Problems, Source, decode_data, item};
use crate::words::time::Date;

/// Keys and values of one list: an entry has at most 9, and one of its own.
const BOUNDS: Bounds = Bounds {
    bytes: LIST_BYTES_MAX,
    nodes: 10 * ENTRIES_MAX + 10,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    revoked: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(try_from = "WrittenEntry")]
struct Entry {
    whose: Whose,
    rule: Rule,
}

enum Whose {
    Token(String),
    Subject(String),
    Session(String),
    All,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenEntry {
    jti: Option<String>,
    sub: Option<String>,
    sid: Option<String>,
    /// Only tokens that were issued before this second.
    issued_before: Option<Date>,
    /// The entry may be forgotten from this second on: its tokens have expired by then.
    until: Option<Date>,
    /// Why, for people.
    #[serde(rename = "reason")]
    _reason: Option<String>,
}

impl TryFrom<WrittenEntry> for Entry {
    type Error = &'static str;

    fn try_from(written: WrittenEntry) -> Result<Self, Self::Error> {
        let WrittenEntry { jti, sub, sid, .. } = written;
        let ids = [&jti, &sub, &sid];
        if ids.into_iter().flatten().any(String::is_empty) {
            return Err("an id is empty; write the token's own, or take the entry out");
        }
        let whose = match (jti, sub, sid) {
            (Some(jti), None, None) => Whose::Token(jti),
            (None, Some(sub), None) => Whose::Subject(sub),
            (None, None, Some(sid)) => Whose::Session(sid),
            (None, None, None) if written.issued_before.is_some() => Whose::All,
            (None, None, None) => {
                return Err(
                    "the entry would revoke every token there will ever be; add `jti`, `sub`, \
                     `sid` or `issued_before`",
                );
            }
            _ => {
                return Err(
                    "`jti`, `sub` and `sid` exclude each other; write an entry for each of them",
                );
            }
        };
        let rule = Rule {
            issued_before: written.issued_before.map(|date| date.0),
            until: written.until.map(|date| date.0),
        };
        Ok(Self { whose, rule })
    }
}

pub(super) fn parse(source: Source<'_>) -> Result<Revocations, Problems> {
    let (list, positions) = decode_data::<List>(source, BOUNDS)?;
    let mut problems = Problems::new(&source);
    let count = list.revoked.len();
    if count > ENTRIES_MAX {
        problems.add(
            &positions,
            "revoked",
            format!("{count} entries are more than {ENTRIES_MAX}"),
            Some("take out those whose `until` is over, or revoke by `issued_before`".into()),
        );
    }
    let mut revocations = Revocations {
        entries: count,
        ..Revocations::default()
    };
    for (index, Entry { whose, rule }) in list.revoked.into_iter().enumerate() {
        let rules = match whose {
            Whose::Token(jti) => revocations.tokens.entry(jti.into()).or_default(),
            Whose::Subject(sub) => revocations.subjects.entry(sub.into()).or_default(),
            Whose::Session(sid) => revocations.sessions.entry(sid.into()).or_default(),
            Whose::All => &mut revocations.all,
        };
        add(rules, rule);
        if rules.len() > RULES_MAX {
            problems.add(
                &positions,
                item("revoked", index),
                format!("more than {RULES_MAX} entries that differ revoke the same"),
                Some("keep the one with the latest `issued_before`, without `until`".into()),
            );
        }
    }
    problems.into_result()?;
    Ok(revocations)
}

/// Adds a rule, and drops those that say less than another one.
fn add(rules: &mut Vec<Rule>, rule: Rule) {
    if rules.iter().any(|other| other.covers(rule)) {
        return;
    }
    rules.retain(|other| !rule.covers(*other));
    rules.push(rule);
}

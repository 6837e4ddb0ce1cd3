//! Changes to a file of keys that leave the rest of its text, comments included, as it is.
//!
//! Each change is made to the text and then read back: what would not read as the old keys and
//! the change is refused, and the file stays as it was.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};
use thiserror::Error;

use super::file::{self, Written};
use super::{ApiKeys, KeyHash, KeyId};
use crate::config::{Problems, Source, item};
use crate::words::time::Date;

/// What a new entry is to say.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// The id of the key.
    pub id: KeyId,
    /// The hash of the key.
    pub hash: KeyHash,
    /// The subject, where it is not the id.
    pub subject: Option<String>,
    /// The scopes.
    pub scopes: Vec<String>,
    /// When it ends.
    pub expires: Option<Date>,
    /// More claims.
    pub attributes: BTreeMap<String, String>,
    /// Whose it is, for people.
    pub description: Option<String>,
}

/// Why a file was not changed.
#[derive(Debug, Error)]
pub enum EditError {
    /// It cannot be read as it is.
    #[error("the file of keys is broken, mend it first: {}", .0.brief(PROBLEMS_TOLD_MAX))]
    Broken(Problems),
    /// A key of this id is there.
    #[error("the file has a key `{0}` already; choose another id, or remove that one first")]
    Taken(KeyId),
    /// No key of this id is there.
    #[error("the file has no key `{0}`; `gateway api-key list` shows those that it has")]
    Unknown(KeyId),
    /// The new entry is not what a file may say.
    #[error("the entry cannot be written: {}", .0.brief(PROBLEMS_TOLD_MAX))]
    Entry(Problems),
    /// The list is written in a way that is not edited here.
    #[error("the file's list is not written as one block of entries; change it by hand")]
    Style,
}

/// Problems that a message names.
const PROBLEMS_TOLD_MAX: usize = 5;

impl NewEntry {
    /// The entry as YAML, indented to stand under `keys:`.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        self.indented("  ")
    }

    fn indented(&self, indentation: &str) -> String {
        let mut lines = String::new();
        for (index, (key, value)) in self.members().into_iter().enumerate() {
            let mark = if index == 0 { "- " } else { "  " };
            // JSON is YAML; an id and a hash need no quotes.
            let value = match (key, &value) {
                ("id" | "hash" | "expires", Value::String(text)) if text != "null" => text.clone(),
                _ => value.to_string(),
            };
            writeln!(lines, "{indentation}{mark}{key}: {value}").expect("text grows");
        }
        lines
    }

    fn members(&self) -> Vec<(&'static str, Value)> {
        let text = |text: &String| json!(text);
        let members = [
            ("id", Some(json!(self.id.as_str()))),
            ("hash", Some(json!(self.hash.to_string()))),
            ("subject", self.subject.as_ref().map(text)),
            (
                "scopes",
                (!self.scopes.is_empty()).then(|| json!(self.scopes)),
            ),
            ("expires", self.expires.map(|date| json!(date.to_string()))),
            (
                "attributes",
                (!self.attributes.is_empty()).then(|| json!(self.attributes)),
            ),
            ("description", self.description.as_ref().map(text)),
        ];
        let given = members.into_iter();
        given
            .filter_map(|(key, value)| Some((key, value?)))
            .collect()
    }

    /// Whether a file would take it.
    ///
    /// # Errors
    /// [`EditError::Entry`], naming the scope or attribute.
    pub fn check(&self) -> Result<(), EditError> {
        let text = format!("keys:\n{}", self.to_yaml());
        let parsed = ApiKeys::parse(source(&text));
        parsed.map(|_| ()).map_err(EditError::Entry)
    }
}

/// The text of a file with one more entry; an empty text becomes a file.
///
/// # Errors
/// Any [`EditError`] but `Unknown`.
pub fn append(text: &str, entry: &NewEntry) -> Result<String, EditError> {
    entry.check()?;
    if text.trim().is_empty() {
        return Ok(format!("keys:\n{}", entry.to_yaml()));
    }
    let written = read(text)?;
    if written.keys.get(&entry.id).is_some() {
        return Err(EditError::Taken(entry.id.clone()));
    }
    let changed = if let Some(mut document) = json_of(text) {
        let members = entry.members().into_iter();
        let members = members.map(|(key, value)| (key.to_owned(), value));
        list_of(&mut document)?.push(Value::Object(members.collect()));
        pretty(&document)
    } else {
        append_lines(text, &written, entry)
    };
    let read = |changed: &str| ApiKeys::parse(source(changed)).ok();
    let is_right = read(&changed).is_some_and(|after| {
        after.is_with(&written.keys, &entry.id)
            && after
                .get(&entry.id)
                .is_some_and(|key| key.hash == entry.hash)
    });
    is_right.then_some(changed).ok_or(EditError::Style)
}

/// The text of a file without the entry of this id.
///
/// # Errors
/// `Broken`, `Unknown` or `Style`.
pub fn remove(text: &str, id: &KeyId) -> Result<String, EditError> {
    let written = read(text)?;
    let index = written.ids.iter().position(|known| known == id);
    let index = index.ok_or_else(|| EditError::Unknown(id.clone()))?;
    let changed = if let Some(mut document) = json_of(text) {
        list_of(&mut document)?.remove(index);
        pretty(&document)
    } else {
        remove_lines(text, &written, index)
    };
    let after = ApiKeys::parse(source(&changed)).map_err(|_| EditError::Style)?;
    let is_right = written.keys.is_with(&after, id) && after.get(id).is_none();
    is_right.then_some(changed).ok_or(EditError::Style)
}

impl ApiKeys {
    /// Whether this is `other` and the key of one id more.
    fn is_with(&self, other: &Self, id: &KeyId) -> bool {
        let has_same = |key: &super::ApiKey| {
            let mine = self.get(&key.id);
            mine.is_some_and(|mine| mine.hash == key.hash && mine.claims == key.claims)
        };
        self.len() == other.len() + 1 && self.get(id).is_some() && other.iter().all(has_same)
    }
}

fn source(text: &str) -> Source<'_> {
    let name = "the file of keys";
    Source { name, text }
}

fn read(text: &str) -> Result<Written, EditError> {
    file::read(source(text)).map_err(EditError::Broken)
}

fn json_of(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

fn list_of(document: &mut Value) -> Result<&mut Vec<Value>, EditError> {
    let keys = document.get_mut("keys").and_then(Value::as_array_mut);
    keys.ok_or(EditError::Style)
}

fn pretty(document: &Value) -> String {
    let text = serde_json::to_string_pretty(document).expect("a document is JSON");
    text + "\n"
}

fn append_lines(text: &str, written: &Written, entry: &NewEntry) -> String {
    let mut changed = match written.ids.len() {
        0 => text.replacen("keys: []", "keys:", 1),
        _ => text.to_owned(),
    };
    if !changed.ends_with('\n') {
        changed.push('\n');
    }
    let first = written.line_of(0).and_then(|line| text.lines().nth(line));
    let indentation = first.map_or("  ", |line| {
        let dashed = line.find('-').unwrap_or(0);
        &line[..dashed]
    });
    changed + &entry.indented(indentation)
}

fn remove_lines(text: &str, written: &Written, index: usize) -> String {
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    let start = written.line_of(index).unwrap_or(lines.len());
    let mut end = written.line_of(index + 1).unwrap_or(lines.len());
    // What stands right before the next entry belongs to that one.
    let is_other = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    while end > start && is_other(lines[end - 1]) {
        end -= 1;
    }
    let rest = [&lines[..start], &lines[end.max(start)..]]
        .concat()
        .concat();
    match written.ids.len() {
        1 => rest.replacen("keys:", "keys: []", 1),
        _ => rest,
    }
}

impl Written {
    /// The line, from 0, on which an entry begins.
    fn line_of(&self, index: usize) -> Option<usize> {
        if index >= self.ids.len() {
            return None;
        }
        let at = self.positions.at(&item("keys", index))?;
        usize::try_from(at.line).ok()?.checked_sub(1)
    }
}

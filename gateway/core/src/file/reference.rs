//! `docs/routes-file.md`: every key of the routes file, made from the schema.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::schema::plain;

/// Where a doc comment names the default.
const DEFAULT: &str = "efault ";
const HEAD: &str = "# The routes file, key by key

Made from the types that read it (`gateway/core/src/file`). `gateway schema > routes-file.schema.json`
gives the same to editors; the file lies beside this page too. Begin a routes file with

```yaml
# yaml-language-server: $schema=routes-file.schema.json
```

and an editor with the YAML language server completes and explains its keys.

Durations are whole numbers with `ms`, `s`, `m`, `h`, `d`, such as `1m30s`; sizes are bytes, or have
`KiB`, `MiB`, `GiB`, `kB`, `MB`, `GB`. `${NAME}` and `${NAME:-default}` stand for variables in every
value. Keys that are not listed are refused.
";

/// The page, in Markdown.
#[must_use]
pub fn reference() -> String {
    let schema = plain().to_value();
    let mut page = Page {
        text: HEAD.to_owned(),
        definitions: schema["$defs"].as_object().cloned().unwrap_or_default(),
        told: Vec::new(),
        within: Vec::new(),
    };
    page.section("The top level", &schema);
    // Sections follow each other as their keys do; each type is told once.
    let mut next = 0;
    while let Some((place, name)) = page.told.get(next).cloned() {
        let definition = page.definitions[&name].clone();
        if !page.within.contains(&name) {
            page.section(&format!("`{place}`"), &definition);
        }
        next += 1;
    }
    page.text
}

struct Page {
    text: String,
    definitions: Map<String, Value>,
    /// The types that have or get a section, with the first place that they are used at.
    told: Vec<(String, String)>,
    /// Those of them that are told within the section of another, which may be written so.
    within: Vec<String>,
}

impl Page {
    fn section(&mut self, title: &str, schema: &Value) {
        let place = title.trim_matches('`');
        let place = if place.contains(' ') { "" } else { place };
        let forms = self.forms(schema, place);
        if forms.is_empty() {
            return;
        }
        let _ = write!(self.text, "\n## {title}\n\n");
        self.describe(schema);
        for (index, form) in forms.iter().enumerate() {
            if index > 0 {
                self.text += "\n";
            }
            match form["properties"].as_object() {
                Some(keys) => self.keys(place, form, keys),
                None => self.words(form),
            }
        }
    }

    /// What a type may be written as, where there is something to tell of it: words, or a map, or
    /// either.
    fn forms(&mut self, schema: &Value, place: &str) -> Vec<Value> {
        if schema["properties"].is_object() || schema["oneOf"].is_array() {
            return vec![schema.clone()];
        }
        let references = schema["anyOf"].as_array().into_iter().flatten();
        let names: Vec<_> = references
            .filter_map(|it| it["$ref"].as_str()?.rsplit('/').next())
            .filter(|name| self.told.iter().all(|(_, told)| told != name))
            .map(str::to_owned)
            .collect();
        let mut forms = Vec::new();
        for name in names {
            let definition = self.definitions[&name].clone();
            forms.extend(self.forms(&definition, place));
            self.told.push((place.to_owned(), name.clone()));
            self.within.push(name);
        }
        forms
    }

    fn keys(&mut self, place: &str, schema: &Value, keys: &Map<String, Value>) {
        self.text += "| Key | Value | Default | Meaning |\n|---|---|---|---|\n";
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for (key, value) in keys {
            let place = match place {
                "" => key.clone(),
                place => format!("{place}.{key}"),
            };
            let kind = self.kind(value, &place);
            let meaning = value["description"].as_str().unwrap_or_default();
            let default = if required.contains(&key.as_str().into()) {
                "required".to_owned()
            } else {
                default(meaning)
            };
            let meaning = meaning.replace("\n\n", " ").replace('|', "\\|");
            let _ = writeln!(self.text, "| `{key}` | {kind} | {default} | {meaning} |");
        }
    }

    /// A type of words, or of maps with one key.
    fn words(&mut self, schema: &Value) {
        for one in schema["oneOf"].as_array().into_iter().flatten() {
            let key = one["properties"]
                .as_object()
                .and_then(|it| it.keys().next());
            let word = one["const"].as_str().or(key.map(String::as_str));
            let meaning = one["description"].as_str().unwrap_or_default();
            let all = one["enum"].as_array().into_iter().flatten();
            let all: Vec<_> = all.filter_map(Value::as_str).collect();
            let shown = word.map_or_else(|| all.join("`, `"), str::to_owned);
            let _ = writeln!(self.text, "- `{shown}`: {meaning}");
        }
    }

    fn describe(&mut self, schema: &Value) {
        if let Some(text) = schema["description"].as_str() {
            let _ = write!(self.text, "{text}\n\n");
        }
    }

    /// What may stand at a key.
    fn kind(&mut self, value: &Value, place: &str) -> String {
        if let Some(reference) = value["$ref"].as_str() {
            return self.link(reference, place);
        }
        if let Some(alternatives) = value["anyOf"].as_array().or(value["oneOf"].as_array()) {
            let alternatives = alternatives.iter().filter(|it| it["type"] != "null");
            let kinds: Vec<_> = alternatives.map(|it| self.kind(it, place)).collect();
            return kinds.join(" or ");
        }
        if let Some(words) = value["enum"].as_array() {
            let words: Vec<_> = words.iter().filter_map(Value::as_str).collect();
            return format!("`{}`", words.join("`, `"));
        }
        let kind = match &value["type"] {
            Value::Array(several) => several.iter().find(|it| **it != "null"),
            one => Some(one),
        };
        match kind.and_then(Value::as_str) {
            Some("array") => {
                let items = self.kind(&value["items"], &format!("{place}[]"));
                format!("list of: {items}")
            }
            Some("object") if value["additionalProperties"].is_object() => {
                let each = self.kind(&value["additionalProperties"], &format!("{place}.NAME"));
                format!("by name: {each}")
            }
            Some("boolean") => "`true`, `false`".to_owned(),
            Some("integer") => match value["examples"].as_array() {
                Some(_) => "size".to_owned(),
                None => "whole number".to_owned(),
            },
            Some("string") => text_kind(value),
            _ => "anything".to_owned(),
        }
    }

    fn link(&mut self, reference: &str, place: &str) -> String {
        let name = reference.rsplit('/').next().unwrap_or(reference).to_owned();
        let known = self.told.iter().find(|(_, told)| *told == name);
        let place = known.map_or(place, |(place, _)| place).to_owned();
        if known.is_none() {
            self.told.push((place.clone(), name));
        }
        format!("[`{place}`](#{})", anchor(&place))
    }
}

/// As GitHub and mdBook make it of a heading.
fn anchor(place: &str) -> String {
    let kept = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    place
        .chars()
        .filter(kept)
        .collect::<String>()
        .to_lowercase()
}

/// Text, told apart by its first example.
fn text_kind(value: &Value) -> String {
    match value["examples"][0].as_str() {
        Some("250ms") => "duration".to_owned(),
        Some("64KiB") => "size".to_owned(),
        Some(example) => format!("text such as `{example}`"),
        None => "text".to_owned(),
    }
}

/// What a description says that the default is.
fn default(meaning: &str) -> String {
    let Some((_, rest)) = meaning.split_once(DEFAULT) else {
        return String::new();
    };
    let ends = ["; ", ". ", ": ", " ("]
        .iter()
        .filter_map(|end| rest.find(end));
    let end = ends.min().unwrap_or(rest.len());
    rest[..end].trim_end_matches('.').replace('|', "\\|")
}

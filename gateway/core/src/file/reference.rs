//! `docs/routes-file.md`: every key of the routes file, made from the schema.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::schema::plain;

/// Where a doc comment names the default.
const DEFAULT: &str = "efault ";
const HEAD: &str = "# The routes file, key by key

Made from the types that read it (`gateway/core/src/file`). `gateway schema > routes-file.schema.json`
gives the same to editors; the file lies beside this page too. Begin a routes file with

```yaml fragment
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
        written: Vec::new(),
    };
    page.section("The top level", &schema);
    // Sections follow each other as their keys do; each type is told once.
    let mut next = 0;
    while let Some((place, name)) = page.told.get(next).cloned() {
        if !page.written.contains(&name) {
            let definition = page.definitions[&name].clone();
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
    /// Those among them that stand within the section of another one.
    written: Vec<String>,
}

impl Page {
    fn section(&mut self, title: &str, schema: &Value) {
        let place = title.trim_matches('`');
        let place = if place.contains(' ') { "" } else { place };
        let _ = write!(self.text, "\n## {title}\n\n");
        self.describe(schema);
        self.body(place, schema);
    }

    fn body(&mut self, place: &str, schema: &Value) {
        if schema["properties"].is_object() {
            self.table(place, schema);
        } else if let Some(alternatives) = schema["anyOf"].as_array() {
            for one in alternatives {
                self.alternative(place, one);
            }
        } else if let Some(alternatives) = schema["oneOf"].as_array() {
            self.words(alternatives);
        } else {
            let kind = self.kind(schema, place);
            let _ = writeln!(self.text, "- {kind}");
        }
    }

    /// One of the forms that a value may have, within the section of all of them.
    fn alternative(&mut self, place: &str, schema: &Value) {
        let Some(name) = schema["$ref"].as_str().map(name_of) else {
            self.body(place, schema);
            return;
        };
        let definition = self.definitions[&name].clone();
        self.told.push((place.to_owned(), name.clone()));
        self.written.push(name);
        if definition["properties"].is_object() {
            self.text.push('\n');
            self.describe(&definition);
        }
        self.body(place, &definition);
    }

    fn table(&mut self, place: &str, schema: &Value) {
        self.text += "| Key | Value | Default | Meaning |\n|---|---|---|---|\n";
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for (key, value) in schema["properties"].as_object().into_iter().flatten() {
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

    /// Words, or maps with one key.
    fn words(&mut self, alternatives: &[Value]) {
        for one in alternatives {
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
        let name = name_of(reference);
        let known = self.told.iter().find(|(_, told)| *told == name);
        let place = known.map_or(place, |(place, _)| place).to_owned();
        if known.is_none() {
            self.told.push((place.clone(), name));
        }
        format!("[`{place}`](#{})", anchor(&place))
    }
}

/// The type that a reference within the schema leads to.
fn name_of(reference: &str) -> String {
    reference.rsplit('/').next().unwrap_or(reference).to_owned()
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
    let mut is_code = false;
    let outside = rest.char_indices().map(|(at, c)| {
        is_code ^= c == '`';
        (at, is_code)
    });
    let outside = outside.filter(|(_, is_code)| !is_code);
    let ends_at = |at: &usize| {
        ["; ", ". ", ": ", " ("]
            .iter()
            .any(|it| rest[*at..].starts_with(it))
    };
    let end = outside
        .map(|(at, _)| at)
        .find(ends_at)
        .unwrap_or(rest.len());
    rest[..end].trim_end_matches('.').replace('|', "\\|")
}

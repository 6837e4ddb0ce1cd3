//! The file as a tree whose every node knows its place.

use super::problem::Position;

/// Longest piece of a value that a message quotes, in characters.
const MAX_QUOTED: usize = 60;

/// One value of the file.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) position: Position,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// A problem was reported here already, so nothing more is said about it.
    Broken,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Always a scalar.
    pub(super) key: Node,
    pub(super) value: Node,
}

/// A scalar as text; what it means depends on what the type wants, so that
/// `version: 1.10` stays `1.10` where text is wanted.
#[derive(Clone, Debug)]
pub(super) struct Scalar {
    pub(super) text: String,
    /// Written without quotes, so it may stand for a number or a boolean.
    pub(super) is_plain: bool,
    /// What the file says, when a variable gave the text.
    pub(super) written: Option<String>,
}

/// What a plain scalar stands for: the core schema of YAML 1.2, section
/// 10.3.2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Meaning {
    /// Nothing was written, as in `key:`.
    Empty,
    Null,
    Boolean(bool),
    Integer(i128),
    /// Also integers that are too large for 128 bits.
    Float(f64),
    Text,
}

impl Node {
    /// The text of a scalar; empty for everything else.
    pub(super) fn text(&self) -> &str {
        match &self.value {
            Value::Scalar(scalar) => &scalar.text,
            Value::List(_) | Value::Map(_) | Value::Broken => "",
        }
    }

    pub(super) fn meaning(&self) -> Option<Meaning> {
        match &self.value {
            Value::Scalar(scalar) => Some(scalar.meaning()),
            Value::List(_) | Value::Map(_) | Value::Broken => None,
        }
    }

    /// How a message names this value after "found".
    pub(super) fn found(&self) -> String {
        let scalar = match &self.value {
            Value::List(_) => return "a list".to_owned(),
            Value::Map(_) => return "a map".to_owned(),
            Value::Broken => return "a broken value".to_owned(),
            Value::Scalar(scalar) => scalar,
        };
        // What a variable holds may be a secret, so only its name is shown.
        if let Some(written) = &scalar.written {
            let written = quote(written);
            return match scalar.meaning() {
                Meaning::Empty => format!("`{written}`, which is empty"),
                _ => format!("the value of `{written}`"),
            };
        }
        let text = quote(&scalar.text);
        match scalar.meaning() {
            Meaning::Empty => "nothing".to_owned(),
            Meaning::Null | Meaning::Boolean(_) => format!("`{text}`"),
            Meaning::Integer(_) | Meaning::Float(_) => format!("the number `{text}`"),
            Meaning::Text if scalar.text.is_empty() => "empty text".to_owned(),
            Meaning::Text => format!("the text `{text}`"),
        }
    }

    /// How many nodes there are from here on, this one included.
    pub(super) fn size(&self) -> usize {
        1 + match &self.value {
            Value::List(items) => items.iter().map(Self::size).sum(),
            Value::Map(entries) => entries.iter().map(|entry| 1 + entry.value.size()).sum(),
            Value::Scalar(_) | Value::Broken => 0,
        }
    }

    /// How many collections nest from here on.
    pub(super) fn height(&self) -> usize {
        match &self.value {
            Value::List(items) => 1 + items.iter().map(Self::height).max().unwrap_or(0),
            Value::Map(entries) => {
                let heights = entries.iter().map(|entry| entry.value.height());
                1 + heights.max().unwrap_or(0)
            }
            Value::Scalar(_) | Value::Broken => 0,
        }
    }
}

impl Scalar {
    pub(super) fn meaning(&self) -> Meaning {
        if !self.is_plain {
            return Meaning::Text;
        }
        match self.text.as_str() {
            "" => Meaning::Empty,
            "~" | "null" | "Null" | "NULL" => Meaning::Null,
            "true" | "True" | "TRUE" => Meaning::Boolean(true),
            "false" | "False" | "FALSE" => Meaning::Boolean(false),
            ".nan" | ".NaN" | ".NAN" => Meaning::Float(f64::NAN),
            text => number(text).unwrap_or(Meaning::Text),
        }
    }
}

fn number(text: &str) -> Option<Meaning> {
    let (is_negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    if matches!(digits, ".inf" | ".Inf" | ".INF") {
        let infinity = f64::INFINITY;
        return Some(Meaning::Float(if is_negative {
            -infinity
        } else {
            infinity
        }));
    }
    // The core schema knows these two without a sign.
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix) {
            let is_digits = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
            let value = i128::from_str_radix(digits, radix).ok();
            return value.filter(|_| is_digits).map(Meaning::Integer);
        }
    }
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    if digits.bytes().all(|byte| byte.is_ascii_digit())
        && let Ok(value) = text.parse()
    {
        return Some(Meaning::Integer(value));
    }
    let is_float = |byte: u8| byte.is_ascii_digit() || b".eE+-".contains(&byte);
    if !digits.bytes().all(is_float) {
        return None;
    }
    text.parse().ok().map(Meaning::Float)
}

/// At most [`MAX_QUOTED`] characters of `text`.
pub(super) fn quote(text: &str) -> String {
    match text.char_indices().nth(MAX_QUOTED) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Meaning, Scalar};

    #[test]
    fn plain_scalars_mean_what_the_core_schema_says() {
        use Meaning::{Boolean, Empty, Float, Integer, Null, Text};
        for (text, expected) in [
            ("", Empty),
            ("~", Null),
            ("null", Null),
            ("true", Boolean(true)),
            ("FALSE", Boolean(false)),
            ("yes", Text),
            ("off", Text),
            ("12", Integer(12)),
            ("-12", Integer(-12)),
            ("+12", Integer(12)),
            ("012", Integer(12)),
            ("0x1F", Integer(31)),
            ("0o17", Integer(15)),
            ("0x", Text),
            ("0x-1", Text),
            ("1_000", Text),
            ("1.5", Float(1.5)),
            (".5", Float(0.5)),
            ("1e3", Float(1000.0)),
            ("-.inf", Float(f64::NEG_INFINITY)),
            ("inf", Text),
            ("nan", Text),
            ("1.2.3", Text),
            (".", Text),
            ("-", Text),
            ("10s", Text),
        ] {
            let scalar = Scalar {
                text: text.to_owned(),
                is_plain: true,
                written: None,
            };
            assert_eq!(scalar.meaning(), expected, "{text}");
        }
    }
}

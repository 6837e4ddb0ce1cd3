//! JSON objects in which no name comes twice, at any depth.
//!
//! RFC 7519 section 4 lets a parser keep the last of several claims of one name, and RFC 8259
//! section 4 calls the outcome unpredictable: whoever reads the token after the gateway may keep
//! the first. So a repeated name is an error.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Value};

use super::printable;

/// Why a text is no such object.
#[derive(Debug, thiserror::Error)]
pub(super) enum ObjectError {
    /// It is no JSON object.
    #[error(transparent)]
    Malformed(serde_json::Error),
    /// A name comes twice.
    #[error("`{0}` comes twice")]
    Repeated(String),
}

/// Reads a JSON object without repeated names.
pub(super) fn parse(json: &[u8]) -> Result<Map<String, Value>, ObjectError> {
    let reader = Reader {
        repeated: &RefCell::default(),
    };
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let object = deserializer
        .deserialize_map(reader)
        .and_then(|object| deserializer.end().map(|()| object));
    object.map_err(|error| match reader.repeated.take() {
        Some(name) => ObjectError::Repeated(name),
        None => ObjectError::Malformed(error),
    })
}

/// Reads an object, or whatever stands in one.
#[derive(Clone, Copy)]
struct Reader<'a> {
    /// The name for which reading ended. serde's errors carry text alone.
    repeated: &'a RefCell<Option<String>>,
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            match object.entry(name) {
                Entry::Vacant(vacant) => {
                    vacant.insert(entries.next_value_seed(AnyValue(self))?);
                }
                Entry::Occupied(taken) => {
                    self.repeated.replace(Some(printable(taken.key())));
                    return Err(A::Error::custom("a name comes twice"));
                }
            }
        }
        Ok(object)
    }
}

/// Any JSON value whose objects have no repeated names.
#[derive(Clone, Copy)]
struct AnyValue<'a>(Reader<'a>);

impl<'de> DeserializeSeed<'de> for AnyValue<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for AnyValue<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<Value, A::Error> {
        self.0.visit_map(entries).map(Value::Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_repeated_name_is_read_as_serde_json_reads_it() {
        let depth = |depth: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        for json in [
            "{}",
            r#"{"a":null,"b":true,"c":-1,"d":18446744073709551615,"e":1.5e300,"f":"\u0041\ud83d\ude00"}"#,
            r#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]}"#,
            " {\t\"a\" : [ ] }\r\n",
            &depth(100),
        ] {
            let ours = parse(json.as_bytes()).expect(json);
            assert_eq!(
                ours,
                serde_json::from_str::<Map<String, Value>>(json).unwrap(),
                "{json}"
            );
        }
    }

    #[test]
    fn a_repeated_name_is_refused_at_any_depth_and_in_any_spelling() {
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(200), "]".repeat(200));
        for (json, message) in [
            (r#"{"a":1,"a":1}"#, "`a` comes twice"),
            (r#"{"a":1,"b":2,"\u0061":3}"#, "`a` comes twice"),
            (r#"{"x":{"a":1,"a":2}}"#, "`a` comes twice"),
            (r#"{"x":[1,{"a":{},"a":{}}]}"#, "`a` comes twice"),
            (r#"{"\u0007a":1,"\u0007a":2}"#, "`a` comes twice"),
            ("[]", "a JSON object"),
            (r#""a""#, "a JSON object"),
            ("null", "a JSON object"),
            (r#"{"a":1}{"a":1}"#, "trailing characters"),
            (r#"{"a":"\ud800"}"#, "hex escape"),
            (r#"{"a":01}"#, "invalid number"),
            (r#"{"a":1e999}"#, "out of range"),
            (r#"{"a":NaN}"#, "expected"),
            (r#"{"a":1,}"#, "trailing comma"),
            (deep.as_str(), "recursion limit"),
        ] {
            let error = parse(json.as_bytes()).expect_err(json);
            assert!(error.to_string().contains(message), "{json}: {error}");
        }
    }
}

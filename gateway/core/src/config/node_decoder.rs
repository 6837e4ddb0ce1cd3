//! A [`Node`] as a serde deserializer.

use std::fmt;

use serde::de::{Deserializer, Error as _, Expected, Visitor};

use super::access::{self, EnumContent, ListItems, MapEntries, TupleItems};
use super::error::Error;
use super::near::list;
use super::session::{BOOLEAN, Place, Session, one_of};
use super::text_or::TEXT_OR;
use super::tree::{Entry, Meaning, Node, Value};

#[derive(Clone, Copy)]
pub(super) struct NodeDecoder<'a, 's, 'p> {
    pub(super) session: &'s Session<'p>,
    pub(super) place: &'a Place<'a>,
}

/// What is expected, put into words when it is not there.
struct Lazily<F>(F);

impl<F: Fn() -> String> Expected for Lazily<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0())
    }
}

impl<'a, 's, 'p> NodeDecoder<'a, 's, 'p> {
    pub(super) fn new(session: &'s Session<'p>, place: &'a Place<'a>) -> Self {
        Self { session, place }
    }

    /// The text of a scalar that says something.
    fn text(&self, expected: &dyn Expected) -> Result<&'a str, Error> {
        match self.place.node.meaning() {
            None | Some(Meaning::Empty | Meaning::Null) => Err(self.wrong_kind(expected)),
            Some(_) => Ok(self.place.node.text()),
        }
    }

    fn list(&self, expected: &dyn Expected) -> Result<&'a [Node], Error> {
        match &self.place.node.value {
            Value::List(items) => Ok(items),
            _ => Err(self.wrong_kind(expected)),
        }
    }

    fn map(&self, expected: &dyn Expected) -> Result<&'a [Entry], Error> {
        match &self.place.node.value {
            Value::Map(entries) => Ok(entries),
            _ => Err(self.wrong_kind(expected)),
        }
    }

    fn wrong_kind(&self, expected: &dyn Expected) -> Error {
        match self.place.node.value {
            Value::Broken => Error::Hopeless,
            _ => Error::expected(expected),
        }
    }

    fn integer(
        &self,
        primitive: &str,
        range: std::ops::RangeInclusive<i128>,
        expected: &dyn Expected,
    ) -> Result<i128, Error> {
        match self.place.node.meaning() {
            Some(Meaning::Integer(value)) if range.contains(&value) => Ok(value),
            // "u16" is what serde's own visitor says; others know better.
            _ if expected.to_string() == primitive => {
                let (low, high) = (range.start(), range.end());
                let number = format!("a whole number from {low} to {high}");
                Err(self.wrong_kind(&number.as_str()))
            }
            _ => Err(self.wrong_kind(expected)),
        }
    }

    fn float(&self) -> Result<f64, Error> {
        match self.place.node.meaning() {
            Some(Meaning::Float(value)) if value.is_finite() => Ok(value),
            // Nothing that a file counts comes near the 53 bits of precision.
            #[expect(clippy::cast_precision_loss, reason = "the type asked for a float")]
            Some(Meaning::Integer(value)) => Ok(value as f64),
            _ => Err(self.wrong_kind(&"a finite number")),
        }
    }
}

macro_rules! integers {
    ($($method:ident $visit:ident $type:ident,)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let range = i128::from($type::MIN)..=i128::from($type::MAX);
            let value = self.integer(stringify!($type), range, &visitor)?;
            match $type::try_from(value) {
                Ok(value) => visitor.$visit(value),
                Err(_) => Err(self.wrong_kind(&visitor)),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for NodeDecoder<'_, '_, '_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Some(meaning) = self.place.node.meaning() else {
            return match self.place.node.value {
                Value::List(_) => self.deserialize_seq(visitor),
                _ => self.deserialize_map(visitor),
            };
        };
        match meaning {
            Meaning::Empty => Err(Error::expected("a value")),
            Meaning::Null => visitor.visit_unit(),
            Meaning::Boolean(value) => visitor.visit_bool(value),
            Meaning::Integer(value) => match (u64::try_from(value), i64::try_from(value)) {
                (Ok(value), _) => visitor.visit_u64(value),
                (_, Ok(value)) => visitor.visit_i64(value),
                _ => Err(Error::expected("a number of 64 bits")),
            },
            Meaning::Float(_) => visitor.visit_f64(self.float()?),
            Meaning::Text => visitor.visit_str(self.place.node.text()),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.place.node.meaning() {
            Some(Meaning::Boolean(value)) => visitor.visit_bool(value),
            _ => Err(self.wrong_kind(&BOOLEAN)),
        }
    }

    integers! {
        deserialize_i8 visit_i8 i8,
        deserialize_i16 visit_i16 i16,
        deserialize_i32 visit_i32 i32,
        deserialize_i64 visit_i64 i64,
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_f64(self.float()?)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let text = self.text(&visitor)?;
        visitor.visit_str(text)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let text = self.text(&visitor)?;
        visitor.visit_bytes(text.as_bytes())
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_bytes(visitor)
    }

    /// An empty value is refused: more often than not it lost its lines to
    /// wrong indentation, and nothing would then be the least safe reading.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.place.node.meaning() {
            Some(Meaning::Empty) => Err(Error::expected("a value")),
            Some(Meaning::Null) => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.place.node.meaning() {
            Some(Meaning::Empty | Meaning::Null) => visitor.visit_unit(),
            _ => Err(self.wrong_kind(&"no value")),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if name == TEXT_OR && self.place.node.meaning().is_some() {
            let text = self.text(&visitor)?;
            let value = visitor.visit_str(text);
            return value.map_err(|error: Error| error.or("a map is possible as well"));
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let items = self.list(&"a list")?;
        visitor.visit_seq(ListItems::new(self, items))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        let expected = Lazily(|| format!("a list of {length} items"));
        let items = self.list(&expected)?;
        if items.len() != length {
            let message = format!("expected {length} items, found {}", items.len());
            return Err(Error::fault(message, None));
        }
        visitor.visit_seq(TupleItems::new(self, items))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let entries = self.map(&"a map")?;
        visitor.visit_map(MapEntries::new(self, entries))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let expected = Lazily(|| format!("a map; its keys are {}", list(fields)));
        let entries = self.map(&expected)?;
        access::visit_struct(self, entries, fields, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let expected = Lazily(|| one_of(variants));
        let (word, content) = if let Value::Map(entries) = &self.place.node.value {
            let [entry] = entries.as_slice() else {
                let message = format!("expected a single key, found {}", entries.len());
                let help = format!("keep {}", one_of(variants));
                return Err(Error::fault(message, Some(help)));
            };
            (&entry.key, Some(entry))
        } else {
            self.text(&expected)?;
            (self.place.node, None)
        };
        if !variants.contains(&word.text()) {
            let unknown = match content {
                Some(_) => Error::unknown_field(word.text(), variants),
                None => Error::unknown_variant(word.text(), variants),
            };
            return Err(unknown.at(word.position));
        }
        visitor.visit_enum(EnumContent::new(self, word.text(), content))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }
}

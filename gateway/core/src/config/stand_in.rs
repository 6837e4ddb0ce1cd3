//! Harmless values in the place of bad or absent ones, so that decoding
//! reaches the problems behind them.

use serde::de::value::{SeqDeserializer, StrDeserializer};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::error::Error;

/// Texts that are tried for types that parse text. What else a type wants it
/// commonly names as an example in its message.
const TEXTS: [&str; 6] = ["", "1", "1s", "/", "127.0.0.1:1", "http://127.0.0.1/"];

/// Texts tried for one value, the examples of its messages included.
const MAX_ATTEMPTS: usize = 12;

/// Structs and enums that a stand-in nests; recursive types have no end.
const MAX_NESTING: usize = 8;

/// Which texts were tried in the place of one value.
#[derive(Debug)]
pub(super) struct Attempts {
    texts: Vec<String>,
    current: usize,
}

impl Attempts {
    pub(super) fn new() -> Self {
        Self {
            texts: TEXTS.map(str::to_owned).to_vec(),
            current: 0,
        }
    }

    /// For a value that nothing can take the place of.
    pub(super) fn none() -> Self {
        Self {
            texts: Vec::new(),
            current: 0,
        }
    }

    pub(super) fn current(&self) -> Option<&str> {
        self.texts.get(self.current).map(String::as_str)
    }

    /// Goes on to the next text, and learns from the examples in the message.
    pub(super) fn rule_out(&mut self, error: &Error) {
        self.current += 1;
        let message = error.to_string();
        for example in message.split('`').skip(1).step_by(2) {
            let is_new = self.texts.iter().all(|text| text != example);
            if is_new && self.texts.len() < MAX_ATTEMPTS {
                self.texts.push(example.to_owned());
            }
        }
    }
}

/// Decodes as almost anything: numbers are 1, lists are empty, options are
/// absent, enums are their first variant, and text is the given one.
#[derive(Clone, Copy)]
pub(super) struct StandIn<'t> {
    text: &'t str,
    nesting: usize,
}

impl<'t> StandIn<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, nesting: 0 }
    }

    fn nested(self) -> Result<Self, Error> {
        if self.nesting == MAX_NESTING {
            return Err(Error::Hopeless);
        }
        Ok(Self {
            nesting: self.nesting + 1,
            ..self
        })
    }
}

impl<'de> Deserializer<'de> for StandIn<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(self.text)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_bool(false)
    }

    fn deserialize_i8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_u64(1)
    }

    fn deserialize_i16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_u64(1)
    }

    fn deserialize_i32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_u64(1)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_u64(1)
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_u64(1)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_u64(1)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_u64(1)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_u64(1)
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_f64(1.0)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_f64(1.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_none()
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(SeqDeserializer::new(std::iter::empty::<u8>()))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Endless(self.nested()?))
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
        self.deserialize_struct("", &[], visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_map(Fields {
            fields: fields.iter(),
            value: self.nested()?,
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(First {
            variant: variants.first().ok_or(Error::Hopeless)?,
            value: self.nested()?,
        })
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { i128 u128 char str string bytes byte_buf identifier }
}

/// The elements of a tuple, whose visitor stops at its own length.
struct Endless<'t>(StandIn<'t>);

impl<'de> SeqAccess<'de> for Endless<'_> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        seed.deserialize(self.0).map(Some)
    }
}

struct Fields<'t> {
    fields: std::slice::Iter<'static, &'static str>,
    value: StandIn<'t>,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        let Some(field) = self.fields.next() else {
            return Ok(None);
        };
        let field: StrDeserializer<'_, Error> = (*field).into_deserializer();
        seed.deserialize(field).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(self.value)
    }
}

struct First<'t> {
    variant: &'static str,
    value: StandIn<'t>,
}

impl<'de, 't> EnumAccess<'de> for First<'t> {
    type Error = Error;
    type Variant = FirstContent<'t>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), Error> {
        let variant: StrDeserializer<'_, Error> = self.variant.into_deserializer();
        Ok((seed.deserialize(variant)?, FirstContent(self.value)))
    }
}

struct FirstContent<'t>(StandIn<'t>);

impl<'de> VariantAccess<'de> for FirstContent<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        seed.deserialize(self.0)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Error> {
        self.0.deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_struct("", fields, visitor)
    }
}

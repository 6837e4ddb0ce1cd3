//! A value that is written as one word or as a map.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// The name by which the decoder recognises a [`TextOr`].
pub(super) const TEXT_OR: &str = "gateway::config::TextOr";

/// A value that the file writes as text, `auth: none`, or as a map or list,
/// `auth: {jwt: main}`.
///
/// It stands in for serde's `untagged`, which loses positions and says only
/// that no variant matched. Text decodes as `T`, commonly an enum of unit
/// variants or a type of its own that parses text; everything else decodes as
/// `M`. A type that wants names of its own for the two derives from it:
///
/// ```
/// use gateway_core::config::TextOr;
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// #[serde(from = "TextOr<Open, Check>")]
/// enum Auth {
///     Open,
///     Check(Check),
/// }
///
/// #[derive(Deserialize)]
/// #[serde(rename_all = "snake_case")]
/// enum Open {
///     None,
/// }
///
/// #[derive(Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct Check {
///     jwt: String,
/// }
///
/// impl From<TextOr<Open, Check>> for Auth {
///     fn from(written: TextOr<Open, Check>) -> Self {
///         match written {
///             TextOr::Text(Open::None) => Self::Open,
///             TextOr::Other(check) => Self::Check(check),
///         }
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextOr<T, M> {
    /// Written as text, a number or a boolean.
    Text(T),
    /// Written as a map or a list.
    Other(M),
}

impl<'de, T, M> Deserialize<'de> for TextOr<T, M>
where
    T: Deserialize<'de>,
    M: Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(TEXT_OR, Either(PhantomData))
    }
}

struct Either<T, M>(PhantomData<(T, M)>);

impl<'de, T, M> Visitor<'de> for Either<T, M>
where
    T: Deserialize<'de>,
    M: Deserialize<'de>,
{
    type Value = TextOr<T, M>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or a map")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        T::deserialize(StrDeserializer::new(text)).map(TextOr::Text)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        T::deserialize(BorrowedStrDeserializer::new(text)).map(TextOr::Text)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, other: D) -> Result<Self::Value, D::Error> {
        M::deserialize(other).map(TextOr::Other)
    }
}

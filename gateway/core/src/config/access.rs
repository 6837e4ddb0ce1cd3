//! The inside of lists, maps, structs and enums.

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::error::Error;
use super::node_decoder::NodeDecoder;
use super::positions::{item, join};
use super::session::{Place, Session, Verdict};
use super::tree::{Entry, Meaning, Node};

/// The items of a list; bad ones are left out.
pub(super) struct ListItems<'a, 's, 'p> {
    parent: NodeDecoder<'a, 's, 'p>,
    items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
}

impl<'a, 's, 'p> ListItems<'a, 's, 'p> {
    pub(super) fn new(parent: NodeDecoder<'a, 's, 'p>, items: &'a [Node]) -> Self {
        Self {
            parent,
            items: items.iter().enumerate(),
        }
    }
}

impl<'de> SeqAccess<'de> for ListItems<'_, '_, '_> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        let session = self.parent.session;
        for (index, node) in self.items.by_ref() {
            let path = item(&self.parent.place.path, index);
            if matches!(session.verdict(&path), Verdict::Good) {
                let place = Place::new(node, None, path);
                return session.decode(seed, &place).map(Some);
            }
        }
        Ok(None)
    }
}

/// The items of a tuple; a stand-in keeps the place of a bad one.
pub(super) struct TupleItems<'a, 's, 'p>(ListItems<'a, 's, 'p>);

impl<'a, 's, 'p> TupleItems<'a, 's, 'p> {
    pub(super) fn new(parent: NodeDecoder<'a, 's, 'p>, items: &'a [Node]) -> Self {
        Self(ListItems::new(parent, items))
    }
}

impl<'de> SeqAccess<'de> for TupleItems<'_, '_, '_> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        let Some((index, node)) = self.0.items.next() else {
            return Ok(None);
        };
        let NodeDecoder { session, place } = self.0.parent;
        let place = Place::new(node, None, item(&place.path, index));
        session.decode(seed, &place).map(Some)
    }
}

/// The entries of a map with free keys; bad ones are left out.
pub(super) struct MapEntries<'a, 's, 'p> {
    parent: NodeDecoder<'a, 's, 'p>,
    entries: std::slice::Iter<'a, Entry>,
    current: Option<Place<'a>>,
}

impl<'a, 's, 'p> MapEntries<'a, 's, 'p> {
    pub(super) fn new(parent: NodeDecoder<'a, 's, 'p>, entries: &'a [Entry]) -> Self {
        Self {
            parent,
            entries: entries.iter(),
            current: None,
        }
    }
}

impl<'de> MapAccess<'de> for MapEntries<'_, '_, '_> {
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        let session = self.parent.session;
        for entry in self.entries.by_ref() {
            let path = join(&self.parent.place.path, entry.key.text());
            if matches!(session.verdict(&path), Verdict::Good) {
                let key = Place::new(&entry.key, None, path.clone());
                self.current = Some(Place::new(&entry.value, Some(entry.key.position), path));
                return session.decode(seed, &key).map(Some);
            }
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        match self.current.take() {
            Some(place) => self.parent.session.decode(seed, &place),
            None => Err(Error::Hopeless),
        }
    }
}

/// Visits a struct: unknown keys are reported and left out, misspelt ones are
/// taken for what was meant, and stand-ins fill the place of bad and absent
/// values.
pub(super) fn visit_struct<'de, V: Visitor<'de>>(
    parent: NodeDecoder<'_, '_, '_>,
    entries: &[Entry],
    known: &'static [&'static str],
    visitor: V,
) -> Result<V::Value, Error> {
    let NodeDecoder { session, place } = parent;
    let is_given = |key: &str| entries.iter().any(|entry| entry.key.text() == key);
    let mut free: Vec<_> = known.iter().copied().filter(|key| !is_given(key)).collect();
    let mut fields = Vec::with_capacity(entries.len());
    for entry in entries {
        let text = entry.key.text();
        let name = match known.iter().copied().find(|key| *key == text) {
            Some(name) => Some(name),
            None => session.unknown_key(&entry.key, &place.path, known, &free),
        };
        if let Some(name) = name {
            free.retain(|key| *key != name);
            let path = join(&place.path, text);
            let value = Place::new(&entry.value, Some(entry.key.position), path);
            fields.push(Field::Given(name, value));
        }
    }
    for name in free.into_iter().filter(|_| session.has_bad()) {
        let path = join(&place.path, name);
        if !matches!(session.verdict(&path), Verdict::Good) {
            fields.push(Field::Absent(name, path));
        }
    }
    let mut hopeless = Vec::new();
    fields.retain(|field| {
        let is_hopeless = matches!(session.verdict(field.path()), Verdict::Hopeless);
        if is_hopeless {
            hopeless.push(field.name());
        }
        !is_hopeless
    });
    let value = visitor.visit_map(StructFields {
        session,
        fields: fields.into_iter(),
        current: None,
    });
    value.map_err(|error| match error {
        Error::Missing(key) if hopeless.contains(&key) => Error::Hopeless,
        Error::Missing(key) => session.missing_key(place, key),
        error => error,
    })
}

enum Field<'a> {
    Given(&'static str, Place<'a>),
    /// Reported as missing before.
    Absent(&'static str, String),
}

impl Field<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Given(name, _) | Self::Absent(name, _) => name,
        }
    }

    fn path(&self) -> &str {
        match self {
            Self::Given(_, place) => &place.path,
            Self::Absent(_, path) => path,
        }
    }
}

struct StructFields<'a, 's, 'p> {
    session: &'s Session<'p>,
    fields: std::vec::IntoIter<Field<'a>>,
    current: Option<Field<'a>>,
}

impl<'de> MapAccess<'de> for StructFields<'_, '_, '_> {
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Error> {
        self.current = self.fields.next();
        let Some(field) = &self.current else {
            return Ok(None);
        };
        let name: StrDeserializer<'_, Error> = field.name().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        match self.current.take() {
            Some(Field::Given(_, place)) => self.session.decode(seed, &place),
            Some(Field::Absent(_, path)) => match self.session.verdict(&path) {
                Verdict::StandIn(text) => self.session.stand_in(seed, &path, &text),
                Verdict::Good | Verdict::Hopeless => Err(Error::Hopeless),
            },
            None => Err(Error::Hopeless),
        }
    }
}

/// A variant, and what stands below it.
pub(super) struct EnumContent<'a, 's, 'p> {
    session: &'s Session<'p>,
    variant: &'a str,
    content: Option<Place<'a>>,
}

impl<'a, 's, 'p> EnumContent<'a, 's, 'p> {
    pub(super) fn new(
        parent: NodeDecoder<'a, 's, 'p>,
        variant: &'a str,
        entry: Option<&'a Entry>,
    ) -> Self {
        let content = entry.map(|entry| {
            let path = join(&parent.place.path, variant);
            Place::new(&entry.value, Some(entry.key.position), path)
        });
        Self {
            session: parent.session,
            variant,
            content,
        }
    }

    fn decode<'de, S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        let variant = self.variant;
        match self.content {
            Some(place) => self.session.decode(seed, &place),
            None => Err(Error::fault(
                format!("`{variant}` needs a value"),
                Some(format!("write `{variant}: …`")),
            )),
        }
    }
}

impl<'de> EnumAccess<'de> for EnumContent<'_, '_, '_> {
    type Error = Error;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Error> {
        let variant: StrDeserializer<'_, Error> = self.variant.into_deserializer();
        Ok((seed.deserialize(variant)?, self))
    }
}

impl<'de> VariantAccess<'de> for EnumContent<'_, '_, '_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        let variant = self.variant;
        let meaning = self.content.map(|place| place.node.meaning());
        match meaning {
            None | Some(Some(Meaning::Empty | Meaning::Null)) => Ok(()),
            Some(_) => Err(Error::fault(
                format!("`{variant}` takes no value"),
                Some(format!("write `{variant}` alone")),
            )),
        }
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Error> {
        self.decode(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Error> {
        self.decode(Tuple { length, visitor })
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.decode(Struct { fields, visitor })
    }
}

/// The content of a tuple variant, as a seed so that its errors get its place.
struct Tuple<V> {
    length: usize,
    visitor: V,
}

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for Tuple<V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, content: D) -> Result<V::Value, D::Error> {
        content.deserialize_tuple(self.length, self.visitor)
    }
}

/// The content of a struct variant, as a seed like [`Tuple`].
struct Struct<V> {
    fields: &'static [&'static str],
    visitor: V,
}

impl<'de, V: Visitor<'de>> DeserializeSeed<'de> for Struct<V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, content: D) -> Result<V::Value, D::Error> {
        content.deserialize_struct("", self.fields, self.visitor)
    }
}

//! Methods: sets of them as bits, and the `Allow` of a 405.

use std::fmt;

use http::{HeaderValue, Method};

use super::spec::Problems;

/// Extension methods (`PROPFIND`, `PURGE`, …) that one table can name.
pub const MAX_EXTENSION_METHODS: usize = 23;

static STANDARD: [Method; 9] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
    Method::TRACE,
    Method::CONNECT,
];

/// A set of methods: a bit for each standard one, and one for each extension
/// method that the routes of a table name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MethodSet(u32);

impl MethodSet {
    pub(super) const GET: Self = Self(1);
    pub(super) const HEAD: Self = Self(1 << 1);
    /// A method that no route names; only routes for any method take it.
    pub(super) const UNNAMED: Self = Self(0);

    pub(super) fn overlaps(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// The methods of the set, one by one.
    pub(super) fn each(self) -> impl Iterator<Item = Self> {
        (0..u32::BITS)
            .map(|bit| Self(1 << bit))
            .filter(move |one| self.overlaps(*one))
    }
}

/// The methods that an entry of the table takes. The order is precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MethodRule {
    Named(MethodSet),
    /// `HEAD` of a route that names `GET` but not `HEAD`.
    HeadOfGet,
    Any,
}

impl MethodRule {
    pub(super) fn accepts(self, method: MethodSet) -> bool {
        match self {
            Self::Named(set) => set.overlaps(method),
            Self::HeadOfGet => method == MethodSet::HEAD,
            Self::Any => true,
        }
    }

    /// Lower wins.
    pub(super) fn rank(self) -> u8 {
        match self {
            Self::Named(_) => 0,
            Self::HeadOfGet => 1,
            Self::Any => 2,
        }
    }

    /// For rules of equal rank: whether one method fits both.
    pub(super) fn overlaps(self, other: Self) -> bool {
        match (self, other) {
            (Self::Named(one), Self::Named(other)) => one.overlaps(other),
            _ => true,
        }
    }
}

/// The extension methods named by a table; standard ones need no name.
#[derive(Clone, Debug, Default)]
pub(super) struct MethodNames {
    extensions: Vec<Method>,
}

impl MethodNames {
    pub(super) fn set_of(&self, method: &Method) -> MethodSet {
        let bit = match *method {
            Method::GET => 0,
            Method::HEAD => 1,
            Method::POST => 2,
            Method::PUT => 3,
            Method::PATCH => 4,
            Method::DELETE => 5,
            Method::OPTIONS => 6,
            Method::TRACE => 7,
            Method::CONNECT => 8,
            _ => match self.extensions.iter().position(|known| known == method) {
                Some(index) => STANDARD.len() + index,
                None => return MethodSet::UNNAMED,
            },
        };
        MethodSet(1 << bit)
    }

    /// `None` when the table names [`MAX_EXTENSION_METHODS`] already.
    fn intern(&mut self, method: Method) -> Option<MethodSet> {
        let known = self.set_of(&method);
        if known != MethodSet::UNNAMED {
            return Some(known);
        }
        if self.extensions.len() == MAX_EXTENSION_METHODS {
            return None;
        }
        self.extensions.push(method);
        self.extensions.last().map(|method| self.set_of(method))
    }

    fn names(&self, set: MethodSet) -> impl Iterator<Item = &Method> {
        STANDARD
            .iter()
            .chain(&self.extensions)
            .enumerate()
            .filter(move |(bit, _)| set.0 & (1 << bit) != 0)
            .map(|(_, method)| method)
    }
}

/// The methods that would have been routed, for the `Allow` header of a 405
/// (RFC 9110, section 10.2.1).
#[derive(Clone, Copy)]
pub struct Allow<'a> {
    pub(super) set: MethodSet,
    pub(super) names: &'a MethodNames,
}

impl<'a> Allow<'a> {
    /// The methods: the standard ones first, in a fixed order.
    pub fn methods(self) -> impl Iterator<Item = &'a Method> {
        self.names.names(self.set)
    }

    /// The value of the `Allow` header: `GET, HEAD`.
    #[must_use]
    pub fn header_value(self) -> HeaderValue {
        HeaderValue::from_str(&self.to_string()).expect("methods are tokens")
    }
}

impl fmt::Display for Allow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, method) in self.methods().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{method}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Allow<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Allow({self})")
    }
}

/// Compiles `methods`; one rule, or two where `GET` brings `HEAD` along.
pub(super) fn compile(
    spec: Option<&[String]>,
    names: &mut MethodNames,
    problems: &mut Problems,
) -> Vec<MethodRule> {
    let Some(methods) = spec else {
        return vec![MethodRule::Any];
    };
    if methods.is_empty() {
        problems.add(
            "methods",
            "no method is listed; leave `methods` out to match any",
        );
    }
    let mut set = MethodSet::default();
    for (index, text) in methods.iter().enumerate() {
        match parse(text, names) {
            Ok(method) if set.overlaps(method) => {
                problems.add(
                    format!("methods[{index}]"),
                    format!("`{text}` is given twice"),
                );
            }
            Ok(method) => set.insert(method),
            Err(message) => problems.add(format!("methods[{index}]"), message),
        }
    }
    let mut rules = vec![MethodRule::Named(set)];
    if set.overlaps(MethodSet::GET) && !set.overlaps(MethodSet::HEAD) {
        rules.push(MethodRule::HeadOfGet);
    }
    rules
}

fn parse(text: &str, names: &mut MethodNames) -> Result<MethodSet, String> {
    let method = Method::from_bytes(text.as_bytes())
        .map_err(|_| format!("`{text}` is not a method name"))?;
    if method == Method::CONNECT {
        return Err("`CONNECT` names no path and cannot be routed; remove it".to_owned());
    }
    let is_standard = STANDARD.contains(&method);
    if !is_standard && let Some(near) = near_standard(text) {
        return Err(format!(
            "`{text}` is not a known method; did you mean `{near}`? (methods are case-sensitive)"
        ));
    }
    names.intern(method).ok_or_else(|| {
        format!(
            "`{text}` is one extension method too many; all routes can name {MAX_EXTENSION_METHODS}"
        )
    })
}

/// The standard method that `text` is a misspelling of: another case, or one
/// slip of the finger. No registered method is that near to a standard one.
fn near_standard(text: &str) -> Option<&'static str> {
    let upper = text.to_ascii_uppercase();
    STANDARD
        .iter()
        .map(Method::as_str)
        .find(|standard| strsim::damerau_levenshtein(standard, &upper) <= 1)
}

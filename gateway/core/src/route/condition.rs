//! Conditions on headers and query parameters.

use std::iter;

use http::{HeaderMap, HeaderName, HeaderValue};
use regex::bytes::{Regex, RegexBuilder};

use super::spec::{HeaderMatchSpec, Problems, QueryMatchSpec};
use crate::path::hex_value;

/// Conditions of each kind (headers, query) that one route can have.
pub const MAX_CONDITIONS: usize = 16;

/// Largest compiled regular expression, in bytes.
const MAX_REGEX_BYTES: usize = 1 << 20;

/// What a condition is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Header(HeaderName),
    Query(Box<str>),
}

/// What must hold for the value of a target.
#[derive(Clone, Debug)]
pub(super) enum Predicate {
    Equals(Box<[u8]>),
    Prefix(Box<[u8]>),
    Matches { source: Box<str>, regex: Regex },
    Present(bool),
}

/// One condition of a route.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    pub(super) target: Target,
    pub(super) predicate: Predicate,
}

impl Condition {
    pub(super) fn holds(&self, headers: &HeaderMap, query: Option<&str>) -> bool {
        match &self.target {
            Target::Header(name) => {
                let values = headers.get_all(name).iter().map(HeaderValue::as_bytes);
                self.predicate.holds(values, Predicate::accepts)
            }
            Target::Query(name) => {
                let values = query_values(query.unwrap_or_default(), name);
                self.predicate.holds(values, Predicate::accepts_escaped)
            }
        }
    }
}

impl Predicate {
    /// A repeated value is present, and nothing else is known about it.
    fn holds<'v>(
        &self,
        mut values: impl Iterator<Item = &'v [u8]>,
        accepts: impl Fn(&Self, &[u8]) -> bool,
    ) -> bool {
        let first = values.next();
        match (self, first) {
            (Self::Present(expected), _) => first.is_some() == *expected,
            (_, Some(value)) => accepts(self, value) && values.next().is_none(),
            (_, None) => false,
        }
    }

    fn accepts(&self, value: &[u8]) -> bool {
        match self {
            Self::Equals(expected) => value == &**expected,
            Self::Prefix(prefix) => value.starts_with(prefix),
            Self::Matches { regex, .. } => regex.is_match(value),
            Self::Present(expected) => *expected,
        }
    }

    fn accepts_escaped(&self, raw: &[u8]) -> bool {
        if memchr::memchr2(b'%', b'+', raw).is_none() {
            return self.accepts(raw);
        }
        match self {
            Self::Equals(expected) => unescaped(raw).eq(expected.iter().copied()),
            _ => self.accepts(&unescaped(raw).collect::<Vec<u8>>()),
        }
    }

    /// Whether what satisfies `self` always satisfies `other`. `false` may also
    /// mean that this is not known.
    pub(super) fn implies(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Present(one), Self::Present(other)) => one == other,
            (Self::Present(_), _) => false,
            (_, Self::Present(present)) => *present,
            (Self::Equals(value), other) => other.accepts(value),
            (Self::Prefix(one), Self::Prefix(other)) => one.starts_with(other),
            (Self::Matches { source: one, .. }, Self::Matches { source: other, .. }) => {
                one == other
            }
            _ => false,
        }
    }

    /// Whether nothing satisfies both. `false` may also mean that this is not
    /// known, as for two regular expressions.
    pub(super) fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Present(one), Self::Present(other)) => one != other,
            (Self::Present(present), _) | (_, Self::Present(present)) => !present,
            (Self::Equals(value), other) | (other, Self::Equals(value)) => !other.accepts(value),
            (Self::Prefix(one), Self::Prefix(other)) => {
                !one.starts_with(other) && !other.starts_with(one)
            }
            _ => false,
        }
    }
}

/// The raw values of one parameter in a query.
fn query_values<'q>(query: &'q str, name: &str) -> impl Iterator<Item = &'q [u8]> {
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(move |(key, _)| unescaped(key.as_bytes()).eq(name.bytes()))
        .map(|(_, value)| value.as_bytes())
}

/// The bytes that a part of a query stands for, as the WHATWG URL standard
/// parses `application/x-www-form-urlencoded`: `+` is a space, and a broken
/// escape is literal.
fn unescaped(raw: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = raw;
    iter::from_fn(move || {
        let (&first, after) = rest.split_first()?;
        rest = after;
        if first == b'+' {
            return Some(b' ');
        }
        if first == b'%'
            && let [high, low, after @ ..] = after
            && let (Some(high), Some(low)) = (hex_value(*high), hex_value(*low))
        {
            rest = after;
            return Some(high << 4 | low);
        }
        Some(first)
    })
}

/// Compiles `headers`.
pub(super) fn compile_headers(
    specs: &[HeaderMatchSpec],
    problems: &mut Problems,
    conditions: &mut Vec<Condition>,
) {
    check_count("headers", specs.len(), problems);
    for (index, spec) in specs.iter().enumerate() {
        let at = format!("headers[{index}]");
        let target = match header_name(&spec.name) {
            Ok(name) => Some(Target::Header(name)),
            Err(message) => {
                problems.add(format!("{at}.name"), message);
                None
            }
        };
        for (key, text) in [("equals", &spec.equals), ("prefix", &spec.prefix)] {
            if let Some(text) = text
                && let Err(message) = check_header_text(text)
            {
                problems.add(format!("{at}.{key}"), message);
            }
        }
        let given = Given {
            keys: "`equals`, `prefix`, `matches` and `present`",
            equals: spec.equals.as_deref(),
            prefix: spec.prefix.as_deref(),
            matches: spec.matches.as_deref(),
            present: spec.present,
        };
        push(
            target,
            given.compile(&at, problems),
            &at,
            problems,
            conditions,
        );
    }
}

/// Compiles `query`.
pub(super) fn compile_query(
    specs: &[QueryMatchSpec],
    problems: &mut Problems,
    conditions: &mut Vec<Condition>,
) {
    check_count("query", specs.len(), problems);
    for (index, spec) in specs.iter().enumerate() {
        let at = format!("query[{index}]");
        if spec.name.is_empty() {
            problems.add(format!("{at}.name"), "the name is empty");
        }
        let given = Given {
            keys: "`equals`, `matches` and `present`",
            equals: spec.equals.as_deref(),
            prefix: None,
            matches: spec.matches.as_deref(),
            present: spec.present,
        };
        let target = Some(Target::Query(spec.name.as_str().into()));
        push(
            target,
            given.compile(&at, problems),
            &at,
            problems,
            conditions,
        );
    }
}

fn check_count(key: &str, count: usize, problems: &mut Problems) {
    if count > MAX_CONDITIONS {
        problems.add(
            key,
            format!("{count} conditions; at most {MAX_CONDITIONS} are allowed"),
        );
    }
}

fn push(
    target: Option<Target>,
    predicate: Option<Predicate>,
    at: &str,
    problems: &mut Problems,
    conditions: &mut Vec<Condition>,
) {
    let Some(target) = target else { return };
    if conditions.iter().any(|known| known.target == target) {
        let message = "this name has a condition already; say both in one `matches`";
        problems.add(format!("{at}.name"), message);
    }
    if let Some(predicate) = predicate {
        conditions.push(Condition { target, predicate });
    }
}

fn header_name(text: &str) -> Result<HeaderName, String> {
    if text.eq_ignore_ascii_case("host") || text == ":authority" {
        return Err("use `hosts`, which ignores case and port".to_owned());
    }
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| format!("`{text}` is not a header name"))
}

fn check_header_text(text: &str) -> Result<(), String> {
    if HeaderValue::from_str(text).is_err() {
        return Err("no header value has control characters; remove them".to_owned());
    }
    if text.starts_with([' ', '\t']) {
        return Err("no header value begins with white space; remove it".to_owned());
    }
    Ok(())
}

/// The ways to write a predicate, of which one must be taken.
struct Given<'s> {
    /// The keys that there are, for the problem.
    keys: &'static str,
    equals: Option<&'s str>,
    prefix: Option<&'s str>,
    matches: Option<&'s str>,
    present: Option<bool>,
}

impl Given<'_> {
    fn compile(&self, at: &str, problems: &mut Problems) -> Option<Predicate> {
        match (self.equals, self.prefix, self.matches, self.present) {
            (Some(text), None, None, None) => Some(Predicate::Equals(text.as_bytes().into())),
            (None, Some(""), None, None) => {
                problems.add(
                    format!("{at}.prefix"),
                    "the prefix is empty; use `present: true`",
                );
                None
            }
            (None, Some(text), None, None) => Some(Predicate::Prefix(text.as_bytes().into())),
            (None, None, Some(source), None) => match whole_regex(source) {
                Ok(regex) => Some(Predicate::Matches {
                    source: source.into(),
                    regex,
                }),
                Err(message) => {
                    problems.add(format!("{at}.matches"), message);
                    None
                }
            },
            (None, None, None, Some(present)) => Some(Predicate::Present(present)),
            _ => {
                problems.add(at, format!("give exactly one of {}", self.keys));
                None
            }
        }
    }
}

/// Anchored at both ends: a condition that a part of the value satisfies is a
/// condition that anybody can satisfy.
fn whole_regex(source: &str) -> Result<Regex, String> {
    let build = |pattern: &str| {
        RegexBuilder::new(pattern)
            .unicode(false)
            .size_limit(MAX_REGEX_BYTES)
            .build()
            .map_err(|error| regex_message(&error))
    };
    // By itself first: `a)|(?:b` would only be valid inside our group.
    build(source)?;
    build(&format!(r"\A(?:{source})\z"))
}

/// The last line: those before it draw the place, which needs a terminal.
fn regex_message(error: &regex::Error) -> String {
    let text = error.to_string();
    let cause = text.lines().last().unwrap_or_default();
    let cause = cause.strip_prefix("error: ").unwrap_or(cause);
    format!("not a regular expression: {cause}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_values_are_compared_decoded_and_only_once() {
        let condition = |predicate| Condition {
            target: Target::Query("a b".into()),
            predicate,
        };
        let equals = condition(Predicate::Equals(b"x y".as_slice().into()));
        let matches = condition(Predicate::Matches {
            source: "".into(),
            regex: whole_regex("x.y").expect("a regular expression"),
        });
        for (query, holds) in [
            ("a+b=x+y", true),
            ("a%20b=x%20y", true),
            ("z&a b=x y&=q", true),
            ("a+b=x+y&a%20b=x+y", false),
            ("a+b=x+y+z", false),
            ("a+b=zx+y", false),
            ("A+b=x+y", false),
            ("a+b=%", false),
            ("a+b", false),
            ("", false),
        ] {
            let headers = HeaderMap::new();
            assert_eq!(equals.holds(&headers, Some(query)), holds, "{query}");
            assert_eq!(matches.holds(&headers, Some(query)), holds, "{query}");
        }
    }

    #[test]
    fn a_regular_expression_is_whole_ascii_and_bounded() {
        let regex = whole_regex("(?i)a|b").expect("a regular expression");
        assert!(regex.is_match(b"A") && regex.is_match(b"b"));
        assert!(!regex.is_match(b"ab") && !regex.is_match(b"xa"));
        assert!(!whole_regex(r"\d").expect("valid").is_match("٣".as_bytes()));
        for source in ["(", "a)|(?:b", "(?x)a # comment", "(a{1000}){1000}"] {
            assert!(whole_regex(source).is_err(), "{source}");
        }
    }

    #[test]
    fn implication_and_exclusion_claim_only_what_is_certain() {
        let regex = |source: &str| Predicate::Matches {
            source: source.into(),
            regex: whole_regex(source).expect("a regular expression"),
        };
        let equals = |text: &str| Predicate::Equals(text.as_bytes().into());
        let prefix = |text: &str| Predicate::Prefix(text.as_bytes().into());
        let present = Predicate::Present;
        // One, other, one implies other, they exclude each other.
        for (one, other, implies, excludes) in [
            (equals("a"), equals("a"), true, false),
            (equals("a"), equals("b"), false, true),
            (equals("ab"), prefix("a"), true, false),
            (equals("ab"), prefix("b"), false, true),
            (equals("ab"), regex("a."), true, false),
            (equals("ab"), regex("b."), false, true),
            (prefix("ab"), prefix("a"), true, false),
            (prefix("a"), prefix("ab"), false, false),
            (prefix("a"), prefix("b"), false, true),
            (regex("a"), regex("a"), true, false),
            (regex("a"), regex("b"), false, false),
            (regex("a"), prefix("b"), false, false),
            (equals("a"), present(true), true, false),
            (regex("a"), present(false), false, true),
            (present(true), equals("a"), false, false),
            (present(false), present(false), true, false),
            (present(false), present(true), false, true),
        ] {
            assert_eq!(one.implies(&other), implies, "{one:?} {other:?}");
            assert_eq!(one.excludes(&other), excludes, "{one:?} {other:?}");
            assert_eq!(other.excludes(&one), excludes, "{one:?} {other:?}");
        }
    }
}

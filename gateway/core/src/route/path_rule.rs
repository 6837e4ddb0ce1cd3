//! The path of a route: exact, prefix or pattern, as segments.

use super::params::MAX_PARAMS;
use super::spec::{MatchSpec, Problems};
use crate::path::CleanPath;

/// Segments that the path of one route can have.
pub const MAX_SEGMENTS: usize = 32;

/// One segment of a route's path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    Literal(Box<str>),
    Parameter,
}

/// How a path ends. The order is precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Literals alone, and the path ends with them.
    Exact,
    /// Literals and parameters, and the path ends with them.
    Pattern,
    /// `{rest...}`: a slash must follow, then anything.
    Tail,
    /// Nothing or a slash follows, then anything.
    Prefix,
}

/// The compiled path of a route.
#[derive(Clone, Debug)]
pub(super) struct PathRule {
    pub(super) kind: Kind,
    pub(super) segments: Vec<Segment>,
    /// Names in order, that of the tail last.
    pub(super) params: Vec<Box<str>>,
}

/// Compiles the one of the three keys that is given.
pub(super) fn compile(spec: &MatchSpec, problems: &mut Problems) -> Option<PathRule> {
    let keys = (&spec.path, &spec.path_prefix, &spec.path_pattern);
    let result = match keys {
        (Some(text), None, None) => literal(text, Kind::Exact),
        (None, Some(text), None) => literal(text, Kind::Prefix),
        (None, None, Some(text)) => pattern(text),
        _ => {
            problems.add(
                "",
                "give exactly one of `path`, `path_prefix` and `path_pattern`",
            );
            return None;
        }
    };
    let checked = result.and_then(|rule| match rule.segments.len() {
        0..=MAX_SEGMENTS => Ok(rule),
        count => Err(format!(
            "{count} segments; at most {MAX_SEGMENTS} are allowed"
        )),
    });
    checked
        .map_err(|message| problems.add(spec.path_key(), message))
        .ok()
}

fn literal(text: &str, kind: Kind) -> Result<PathRule, String> {
    if text.contains(['{', '}']) {
        return Err(format!(
            "`{text}` has braces; parameters belong in `path_pattern`"
        ));
    }
    let mut segments = literals(text)?;
    // `/users/` and `/users` are the same prefix, and `/` is the empty one.
    if kind == Kind::Prefix && segments.last().is_some_and(String::is_empty) {
        segments.pop();
    }
    let segments = segments
        .into_iter()
        .map(|text| Segment::Literal(text.into()));
    Ok(PathRule {
        kind,
        segments: segments.collect(),
        params: Vec::new(),
    })
}

/// The segments of a path without parameters, in the form that is matched.
fn literals(text: &str) -> Result<Vec<String>, String> {
    for segment in text.split('/') {
        if matches!(segment, "*" | "**") {
            return Err(format!(
                "`{segment}` is no wildcard; use `path_prefix`, or `{{rest...}}` in \
                 `path_pattern` (a literal asterisk is `%2A`)"
            ));
        }
        if segment.len() > 1 && segment.starts_with(':') {
            let name = &segment[1..];
            return Err(format!(
                "`{segment}` is no parameter; write `{{{name}}}` in `path_pattern` (a literal \
                 colon is `%3A`)"
            ));
        }
    }
    let path = CleanPath::parse(text)
        .map_err(|error| format!("no request can have the path `{text}`: {error}"))?;
    Ok(path.matching()[1..].split('/').map(str::to_owned).collect())
}

fn pattern(text: &str) -> Result<PathRule, String> {
    let mut params: Vec<Box<str>> = Vec::new();
    let mut kind = Kind::Exact;
    let parts: Vec<&str> = text.split('/').collect();
    let mut is_parameter = vec![false; parts.len()];
    for (index, part) in parts.iter().enumerate() {
        let Some(name) = parameter_name(part)? else {
            continue;
        };
        is_parameter[index] = true;
        kind = Kind::Pattern;
        let name = match name.strip_suffix("...") {
            Some(name) if index + 1 == parts.len() => {
                kind = Kind::Tail;
                name
            }
            Some(_) => return Err(format!("`{part}` takes the rest of the path; put it last")),
            None => name,
        };
        check_name(name, part)?;
        if params.iter().any(|known| **known == *name) {
            return Err(format!("the parameter `{name}` is there twice; rename one"));
        }
        params.push(name.into());
    }
    if params.is_empty() {
        return Err(format!("`{text}` has no parameter; write it as `path`"));
    }
    if params.len() > MAX_PARAMS {
        let count = params.len();
        return Err(format!(
            "{count} parameters; at most {MAX_PARAMS} are allowed"
        ));
    }
    let segments = pattern_segments(&parts, &is_parameter, kind)?;
    Ok(PathRule {
        kind,
        segments,
        params,
    })
}

/// The literals are checked and normalised as one path, with a harmless word
/// where the parameters are.
fn pattern_segments(
    parts: &[&str],
    is_parameter: &[bool],
    kind: Kind,
) -> Result<Vec<Segment>, String> {
    let stand_ins: Vec<&str> = parts
        .iter()
        .zip(is_parameter)
        .map(|(part, is_parameter)| if *is_parameter { "parameter" } else { part })
        .collect();
    let mut segments: Vec<Segment> = literals(&stand_ins.join("/"))?
        .into_iter()
        .zip(&is_parameter[1..])
        .map(|(text, is_parameter)| match is_parameter {
            true => Segment::Parameter,
            false => Segment::Literal(text.into()),
        })
        .collect();
    if kind == Kind::Tail {
        segments.pop();
    }
    Ok(segments)
}

/// What is between the braces of a parameter; `None` for a literal segment.
fn parameter_name(part: &str) -> Result<Option<&str>, String> {
    if !part.contains(['{', '}']) {
        return Ok(None);
    }
    part.strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .map(Some)
        .ok_or_else(|| format!("`{part}`: a parameter is a whole segment, `{{id}}`"))
}

fn check_name(name: &str, part: &str) -> Result<(), String> {
    let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_name {
        Ok(())
    } else {
        Err(format!(
            "`{part}`: a name is letters, digits and `_`, and does not begin with a digit"
        ))
    }
}

//! What the routes file says under `match`, before it is checked.

use schemars::JsonSchema;
use serde::Deserialize;

use super::compile;
use super::method::MethodNames;

/// The `match` of a route: which requests are its own.
///
/// Exactly one of `path`, `path_prefix` and `path_pattern`; the rest narrows it
/// further, and everything given must hold. See `docs/routing.md`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MatchSpec {
    /// The whole path: `/status`. A trailing slash counts.
    #[serde(default)]
    pub path: Option<String>,
    /// Leading whole segments: `/users` is `/users`, `/users/` and `/users/7`,
    /// never `/usersx`. `/` is every path. A trailing slash does not count.
    #[serde(default)]
    pub path_prefix: Option<String>,
    /// Segments with parameters: `/users/{id}/orders`, `/files/{rest...}`.
    ///
    /// A parameter is one whole segment and never empty. `{rest...}` stands last
    /// and takes whatever follows its slash, nothing included.
    #[serde(default)]
    pub path_pattern: Option<String>,
    /// Hosts, without port and in any case: `api.example.com`, or
    /// `*.example.com` for one or more labels before `.example.com`. Default: any.
    #[serde(default)]
    pub hosts: Option<Vec<String>>,
    /// Methods. `GET` includes `HEAD`. Default: any.
    #[serde(default)]
    pub methods: Option<Vec<String>>,
    /// Conditions on headers, at most one for each name.
    #[serde(default)]
    pub headers: Vec<HeaderMatchSpec>,
    /// Conditions on query parameters, at most one for each name.
    #[serde(default)]
    pub query: Vec<QueryMatchSpec>,
}

/// A condition on one header: exactly one of the fields beside `name`.
///
/// `equals`, `prefix` and `matches` hold only if the header is there exactly
/// once: of a repeated header, upstreams take the first, the last or all joined.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HeaderMatchSpec {
    /// The header's name, in any case.
    pub name: String,
    /// The whole value, case-sensitive.
    #[serde(default)]
    pub equals: Option<String>,
    /// The beginning of the value, case-sensitive.
    #[serde(default)]
    pub prefix: Option<String>,
    /// A regular expression over the whole value; classes are ASCII.
    #[serde(default)]
    pub matches: Option<String>,
    /// Whether the header is there at all.
    #[serde(default)]
    pub present: Option<bool>,
}

/// A condition on one query parameter: exactly one of the fields beside `name`.
///
/// Name and value are compared decoded (`%20` and `+` are a space). `equals` and
/// `matches` hold only if the parameter is there exactly once, as for headers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueryMatchSpec {
    /// The parameter's name, case-sensitive, not escaped.
    pub name: String,
    /// The whole value, not escaped.
    #[serde(default)]
    pub equals: Option<String>,
    /// A regular expression over the whole decoded value; classes are ASCII.
    #[serde(default)]
    pub matches: Option<String>,
    /// Whether the parameter is there at all.
    #[serde(default)]
    pub present: Option<bool>,
}

/// What is wrong with one [`MatchSpec`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecProblem {
    /// Where, relative to the spec: `headers[1].matches`; empty for the whole.
    pub path: String,
    /// What is wrong, and the remedy.
    pub message: String,
}

impl MatchSpec {
    /// Everything that is wrong with this spec by itself; empty if nothing is.
    #[must_use]
    pub fn problems(&self) -> Vec<SpecProblem> {
        compile::compile(self, &mut MethodNames::default())
            .err()
            .unwrap_or_default()
    }

    /// The path as a template: as it is written, and `/*` for what may follow a prefix.
    #[must_use]
    pub fn template(&self) -> String {
        match (&self.path, &self.path_prefix, &self.path_pattern) {
            (Some(path), ..) | (.., Some(path)) => path.clone(),
            (_, Some(prefix), _) => format!("{}/*", prefix.trim_end_matches('/')),
            (None, None, None) => "/*".to_owned(),
        }
    }

    /// The key that says the path, for problems that concern the whole route.
    pub(super) fn path_key(&self) -> &'static str {
        match self {
            Self { path: Some(_), .. } => "path",
            Self {
                path_prefix: Some(_),
                ..
            } => "path_prefix",
            _ => "path_pattern",
        }
    }
}

/// Problems collected while one spec is compiled.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<SpecProblem>);

impl Problems {
    pub(super) fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(SpecProblem {
            path: path.into(),
            message: message.into(),
        });
    }

    pub(super) fn into_result<T>(self, value: Option<T>) -> Result<T, Vec<SpecProblem>> {
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            _ => Err(self.0),
        }
    }
}

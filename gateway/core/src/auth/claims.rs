//! Scopes, claim rules, and claims that become headers.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::words::reason::Reason;
use crate::words::rejection::Rejection;

/// Claims that hold scopes, in the order in which they are looked at.
///
/// `scope` is a space-separated string (RFC 8693 section 4.2); many providers use an array,
/// and some the name `scp`.
const SCOPE_CLAIMS: [&str; 2] = ["scope", "scp"];

/// `require:` of a route's `auth`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Requirements {
    /// Scopes the token must carry.
    pub scopes: ScopeRule,
    /// Rules on claims, by the claim's path.
    pub claims: BTreeMap<String, ClaimRule>,
}

/// Scopes the token must carry: all of one list, at least one of the other.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScopeRule {
    /// Every one of these.
    pub all: Vec<String>,
    /// At least one of these, where the list is not empty.
    pub any: Vec<String>,
}

/// A rule on one claim. Values compare by type: `"1"` is not `1`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimRule {
    /// The claim is this value.
    Equals(Value),
    /// The claim is one of these values.
    AnyOf(Vec<Value>),
    /// The claim is an array that holds this value.
    Contains(Value),
    /// The claim is there, or is not.
    Exists(bool),
}

impl Requirements {
    /// Checks scopes first, then claims.
    ///
    /// # Errors
    /// [`Reason::JwtScopeMissing`] or [`Reason::JwtClaimMismatch`], the detail naming which.
    pub fn check(&self, claims: &Map<String, Value>) -> Result<(), Rejection> {
        let missing = self
            .scopes
            .all
            .iter()
            .find(|scope| !has_scope(claims, scope));
        if let Some(scope) = missing {
            return Err(Rejection::with_detail(
                Reason::JwtScopeMissing,
                format!("the scope `{scope}` is missing"),
            ));
        }
        let any = &self.scopes.any;
        if !any.is_empty() && !any.iter().any(|scope| has_scope(claims, scope)) {
            return Err(Rejection::with_detail(
                Reason::JwtScopeMissing,
                format!("none of the scopes {} is there", any.join(", ")),
            ));
        }
        match self
            .claims
            .iter()
            .find(|(path, rule)| !rule.holds(find(claims, path)))
        {
            None => Ok(()),
            Some((path, _)) => Err(Rejection::with_detail(
                Reason::JwtClaimMismatch,
                format!("the claim `{path}` does not satisfy its rule"),
            )),
        }
    }
}

impl ClaimRule {
    fn holds(&self, claim: Option<&Value>) -> bool {
        match self {
            ClaimRule::Equals(value) => claim == Some(value),
            ClaimRule::AnyOf(values) => claim.is_some_and(|claim| values.contains(claim)),
            ClaimRule::Contains(value) => claim
                .and_then(Value::as_array)
                .is_some_and(|claims| claims.contains(value)),
            ClaimRule::Exists(exists) => claim.is_some() == *exists,
        }
    }
}

fn has_scope(claims: &Map<String, Value>, scope: &str) -> bool {
    SCOPE_CLAIMS.iter().any(|name| match claims.get(*name) {
        Some(Value::String(scopes)) => scopes.split(' ').any(|have| have == scope),
        Some(Value::Array(scopes)) => scopes.iter().any(|have| have.as_str() == Some(scope)),
        _ => false,
    })
}

/// All scopes of a token, divided by single spaces.
pub(super) fn scopes(claims: &Map<String, Value>) -> Box<str> {
    let values = SCOPE_CLAIMS.iter().filter_map(|name| claims.get(*name));
    let scopes = values.flat_map(|value| match value {
        Value::String(scopes) => scopes.split_whitespace().collect(),
        Value::Array(scopes) => scopes.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    });
    // One with a space in it would read as two.
    let is_one = |scope: &&str| !scope.is_empty() && !scope.contains(char::is_whitespace);
    scopes.filter(is_one).collect::<Vec<_>>().join(" ").into()
}

/// A claim by its name, or by a path of names joined with dots.
///
/// The whole text is tried as a name first, because namespaced claims
/// (`https://example.com/tenant`) hold dots.
fn find<'c>(claims: &'c Map<String, Value>, path: &str) -> Option<&'c Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let mut names = path.split('.');
    let first = claims.get(names.next()?)?;
    names.try_fold(first, |value, name| value.get(name))
}

/// `claims_to_headers:` of a route: claims that the upstream gets as headers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClaimsToHeaders(pub Vec<(String, HeaderName)>);

impl ClaimsToHeaders {
    /// The headers for one token. A claim that is absent gives no header.
    ///
    /// # Errors
    /// [`Reason::JwtClaimMismatch`] when a claim cannot stand in a header.
    pub fn render(
        &self,
        claims: &Map<String, Value>,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, Rejection> {
        let mut headers = Vec::with_capacity(self.0.len());
        for (path, name) in &self.0 {
            let Some(text) = find(claims, path).and_then(text) else {
                continue;
            };
            let value = HeaderValue::from_str(&text).map_err(|_| {
                Rejection::with_detail(
                    Reason::JwtClaimMismatch,
                    format!("the claim `{path}` holds characters that no header can carry"),
                )
            })?;
            headers.push((name.clone(), value));
        }
        Ok(headers)
    }
}

/// Strings as they are, numbers and booleans as JSON, arrays joined with commas.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Array(values) => {
            let texts: Option<Vec<_>> = values
                .iter()
                .map(|value| match value {
                    // A comma within would read as two values.
                    Value::String(text) if text.contains(',') => None,
                    Value::Array(_) => None,
                    value => text(value),
                })
                .collect();
            Some(texts?.join(","))
        }
        Value::Null | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(json: &str) -> Map<String, Value> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn scopes_come_as_string_or_array_under_two_names() {
        let table = [
            (r#"{"scope":"a b"}"#, true),
            (r#"{"scope":["a","b"]}"#, true),
            (r#"{"scp":"b a"}"#, true),
            (r#"{"scp":["a"],"scope":"b"}"#, true),
            (r#"{"scope":"a"}"#, false),
            (r#"{"scope":"ab"}"#, false),
            (r#"{"scope":["a b"]}"#, false),
            (r#"{"scope":7}"#, false),
            ("{}", false),
        ];
        let rule = Requirements {
            scopes: ScopeRule {
                all: vec!["a".into(), "b".into()],
                any: Vec::new(),
            },
            ..Requirements::default()
        };
        for (json, holds) in table {
            assert_eq!(rule.check(&claims(json)).is_ok(), holds, "{json}");
        }
    }

    #[test]
    fn all_scopes_are_told_divided_by_single_spaces() {
        let table = [
            (r#"{"scope":"a  b"}"#, "a b"),
            (r#"{"scp":["a","b c",7,""]}"#, "a"),
            (r#"{"scp":["a"],"scope":"b"}"#, "b a"),
            (r#"{"scope":7}"#, ""),
            ("{}", ""),
        ];
        for (json, expected) in table {
            assert_eq!(&*scopes(&claims(json)), expected, "{json}");
        }
    }

    #[test]
    fn any_wants_one_of_its_scopes() {
        let rule = Requirements {
            scopes: ScopeRule {
                all: Vec::new(),
                any: vec!["a".into(), "b".into()],
            },
            ..Requirements::default()
        };
        assert!(rule.check(&claims(r#"{"scope":"x b"}"#)).is_ok());
        let refused = rule.check(&claims(r#"{"scope":"x"}"#)).unwrap_err();
        assert_eq!(refused.reason, Reason::JwtScopeMissing);
    }

    #[test]
    fn claim_rules_compare_by_type_along_a_path() {
        let table = [
            ("tenant", ClaimRule::Equals("a".into()), true),
            (
                "tenant",
                ClaimRule::AnyOf(vec!["b".into(), "a".into()]),
                true,
            ),
            ("tenant", ClaimRule::AnyOf(vec!["b".into()]), false),
            ("level", ClaimRule::Equals(3.into()), true),
            ("level", ClaimRule::Equals("3".into()), false),
            ("realm.roles", ClaimRule::Contains("admin".into()), true),
            ("realm.roles", ClaimRule::Contains("adm".into()), false),
            ("https://e.example/t", ClaimRule::Equals(true.into()), true),
            ("missing", ClaimRule::Exists(false), true),
            ("tenant", ClaimRule::Exists(true), true),
            ("missing.deep", ClaimRule::Exists(true), false),
        ];
        let claims = claims(
            r#"{"tenant":"a","level":3,"realm":{"roles":["admin"]},"https://e.example/t":true}"#,
        );
        for (path, rule, holds) in table {
            assert_eq!(rule.holds(find(&claims, path)), holds, "{path} {rule:?}");
        }
    }

    #[test]
    fn claims_become_headers_or_the_request_is_refused() {
        let to =
            |claim: &str| ClaimsToHeaders(vec![(claim.into(), HeaderName::from_static("x-claim"))]);
        let claims = claims(r#"{"s":"a","n":7,"l":["a",1],"o":{},"bad":"a\nb","comma":["a,b"]}"#);
        let table = [
            ("s", Some("a")),
            ("n", Some("7")),
            ("l", Some("a,1")),
            ("o", None),
            ("absent", None),
            ("comma", None),
        ];
        for (claim, expected) in table {
            let headers = to(claim).render(&claims).unwrap();
            let got = headers.first().map(|(_, value)| value.to_str().unwrap());
            assert_eq!(got, expected, "{claim}");
        }
        assert!(to("bad").render(&claims).is_err());
    }
}

//! Scopes, claim rules, and claims that become headers.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderName, HeaderValue};
use regex::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

/// Claims that hold scopes, in the order in which they are looked at.
///
/// `scope` is a space-separated string (RFC 8693 section 4.2); many providers use an array,
/// and some the name `scp`.
const SCOPE_CLAIMS: [&str; 2] = ["scope", "scp"];
/// Bytes of a compiled pattern.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

/// What a token's claims must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Requirements {
    /// Scopes the token must carry.
    pub scopes: ScopeRule,
    /// Rules on claims, by the claim's path.
    pub claims: BTreeMap<String, ClaimRule>,
}

/// Scopes the token must carry: all of one list, at least one of the other.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScopeRule {
    /// Every one of these.
    pub all: Vec<String>,
    /// At least one of these, where the list is not empty.
    pub any: Vec<String>,
    /// The claim that holds them, by its path; default `scope` and `scp`, either of which will do.
    pub from: Option<String>,
}

/// A rule on one claim. Values compare by type: `"1"` is not `1`; numbers by what they mean:
/// `1.0` is `1`.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClaimRule {
    /// The claim is this value.
    Equals(Value),
    /// The claim is one of these values, or an array of which one item is.
    AnyOf(Vec<Value>),
    /// The claim is an array that holds this value, or every one of these.
    Contains(Value),
    /// The whole claim matches this regular expression, or an item of an array does. Numbers and
    /// booleans match as they are written in JSON.
    Matches(Pattern),
    /// The claim is there, or is not.
    Exists(bool),
}

/// A regular expression that has to match a whole text.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Pattern {
    written: String,
    regex: Regex,
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(written: String) -> Result<Self, String> {
        // A rule that a part could satisfy would let `a@example.com.evil.example` pass.
        let built = RegexBuilder::new(&format!("^(?:{written})$"))
            .size_limit(PATTERN_BYTES_MAX)
            .build();
        match built {
            Ok(regex) => Ok(Self { written, regex }),
            Err(_) => Err(format!(
                "`{written}` is not a regular expression; see the syntax of the regex crate"
            )),
        }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

/// Which requirement does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmet {
    /// A scope is missing.
    Scope(String),
    /// A claim is not as it must be.
    Claim(String),
}

/// One of the things that a token's claims must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requirement<'r> {
    /// The scopes.
    Scopes,
    /// The claim at this path.
    Claim(&'r str),
}

impl Requirements {
    /// Checks scopes first, then claims.
    ///
    /// # Errors
    /// What does not hold, in words for the log.
    pub fn check(&self, claims: &Map<String, Value>) -> Result<(), Unmet> {
        let mut outcomes = self.outcomes(claims).map(|(_, outcome)| outcome);
        outcomes.try_for_each(|outcome| outcome)
    }

    /// Each requirement that there is, in the order in which they are checked, and whether it
    /// holds.
    pub fn outcomes<'r>(
        &'r self,
        claims: &'r Map<String, Value>,
    ) -> impl Iterator<Item = (Requirement<'r>, Result<(), Unmet>)> {
        let asks_for_scopes = !self.scopes.all.is_empty() || !self.scopes.any.is_empty();
        let scopes = asks_for_scopes.then_some(()).into_iter().map(|()| {
            let outcome = self.scopes.check(claims).map_err(Unmet::Scope);
            (Requirement::Scopes, outcome)
        });
        let rules = self.claims.iter().map(|(path, rule)| {
            let outcome = rule.holds(find(claims, path)).then_some(()).ok_or_else(|| {
                Unmet::Claim(format!("the claim `{path}` does not satisfy its rule"))
            });
            (Requirement::Claim(path), outcome)
        });
        scopes.chain(rules)
    }
}

impl ScopeRule {
    fn check(&self, claims: &Map<String, Value>) -> Result<(), String> {
        let has = |scope: &&String| self.scopes(claims).any(|have| have == *scope);
        if let Some(scope) = self.all.iter().find(|scope| !has(scope)) {
            return Err(format!("the scope `{scope}` is missing"));
        }
        if !self.any.is_empty() && !self.any.iter().any(|scope| has(&scope)) {
            return Err(format!(
                "none of the scopes {} is there",
                self.any.join(", ")
            ));
        }
        Ok(())
    }

    /// The scopes of a token: a string with spaces, or an array.
    pub fn scopes<'c>(&self, claims: &'c Map<String, Value>) -> impl Iterator<Item = &'c str> {
        let places = match &self.from {
            Some(path) => [find(claims, path), None],
            None => SCOPE_CLAIMS.map(|name| claims.get(name)),
        };
        places.into_iter().flatten().flat_map(|value| {
            let (text, list) = match value {
                Value::String(scopes) => (Some(scopes.split(' ')), None),
                Value::Array(scopes) => (None, Some(scopes.iter().filter_map(Value::as_str))),
                _ => (None, None),
            };
            let text = text.into_iter().flatten();
            text.chain(list.into_iter().flatten())
        })
    }
}

impl ClaimRule {
    fn holds(&self, claim: Option<&Value>) -> bool {
        let Some(claim) = claim else {
            return *self == ClaimRule::Exists(false);
        };
        let is_any = |wanted: &[Value]| wanted.iter().any(|wanted| is_same(claim, wanted));
        match (self, claim) {
            (ClaimRule::Exists(exists), _) => *exists,
            (ClaimRule::Equals(wanted), _) => is_same(claim, wanted),
            (ClaimRule::AnyOf(wanted), Value::Array(items)) => {
                is_any(wanted) || wanted.iter().any(|wanted| holds_item(items, wanted))
            }
            (ClaimRule::AnyOf(wanted), _) => is_any(wanted),
            (ClaimRule::Contains(Value::Array(wanted)), Value::Array(items)) => {
                wanted.iter().all(|wanted| holds_item(items, wanted))
            }
            (ClaimRule::Contains(wanted), Value::Array(items)) => holds_item(items, wanted),
            (ClaimRule::Contains(_), _) => false,
            (ClaimRule::Matches(pattern), Value::Array(items)) => {
                items.iter().any(|item| pattern.matches(item))
            }
            (ClaimRule::Matches(pattern), _) => pattern.matches(claim),
        }
    }
}

impl Pattern {
    fn matches(&self, value: &Value) -> bool {
        match value {
            Value::String(text) => self.regex.is_match(text),
            Value::Number(_) | Value::Bool(_) => self.regex.is_match(&value.to_string()),
            _ => false,
        }
    }
}

fn holds_item(items: &[Value], wanted: &Value) -> bool {
    items.iter().any(|item| is_same(item, wanted))
}

/// JSON knows one kind of number.
fn is_same(claim: &Value, wanted: &Value) -> bool {
    match (claim, wanted) {
        (Value::Number(a), Value::Number(b)) => a == b || is_same_float(a.as_f64(), b.as_f64()),
        _ => claim == wanted,
    }
}

/// Integers that a float cannot tell apart were compared as integers before.
fn is_same_float(a: Option<f64>, b: Option<f64>) -> bool {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    matches!((a, b), (Some(a), Some(b)) if a.abs() <= EXACT_MAX && a.total_cmp(&b).is_eq())
}

/// A claim by its name, or by a path of names joined with dots.
///
/// The whole text is tried as a name first, because namespaced claims
/// (`https://example.com/tenant`) hold dots.
pub(super) fn find<'c>(claims: &'c Map<String, Value>, path: &str) -> Option<&'c Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let mut names = path.split('.');
    let first = claims.get(names.next()?)?;
    names.try_fold(first, |value, name| value.get(name))
}

/// What the upstream is told of a caller, in headers that no client can set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IdentityHeaders {
    /// Claims by their paths, and the header of each.
    pub claims: Vec<(String, HeaderName)>,
    /// The header that gets all claims, as a JSON object in base64url.
    pub payload: Option<HeaderName>,
}

impl IdentityHeaders {
    /// The headers for one caller. A claim that is absent gives no header. `payload` are the
    /// claims in base64url, where they have come so.
    ///
    /// # Errors
    /// [`Unmet::Claim`] when a claim cannot stand in a header.
    pub fn render(
        &self,
        claims: &Map<String, Value>,
        payload: Option<&str>,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, Unmet> {
        let mut headers = Vec::with_capacity(self.claims.len() + 1);
        for (path, name) in &self.claims {
            let Some(text) = find(claims, path).and_then(text) else {
                continue;
            };
            let value = HeaderValue::from_str(&text).ok();
            // Blanks at either end are no part of a header's value (RFC 9110 section 5.5): the
            // upstream would read ` root` as `root`.
            let is_whole = |value: &HeaderValue| value.as_bytes().trim_ascii().len() == text.len();
            let value = value.filter(is_whole).ok_or_else(|| {
                Unmet::Claim(format!(
                    "the claim `{path}` holds characters that no header can carry"
                ))
            })?;
            headers.push((name.clone(), value));
        }
        if let Some(name) = &self.payload {
            let value = match payload {
                Some(payload) => HeaderValue::from_str(payload),
                None => HeaderValue::from_str(&encode(claims)),
            };
            let value = value.expect("base64url is a header value");
            headers.push((name.clone(), value));
        }
        Ok(headers)
    }

    /// The names of all of them.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        let claims = self.claims.iter().map(|(_, name)| name);
        claims.chain(&self.payload)
    }
}

fn encode(claims: &Map<String, Value>) -> String {
    let json = serde_json::to_vec(claims).expect("JSON values can be written");
    URL_SAFE_NO_PAD.encode(json)
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
    use serde_json::json;

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
                ..ScopeRule::default()
            },
            ..Requirements::default()
        };
        for (json, holds) in table {
            assert_eq!(rule.check(&claims(json)).is_ok(), holds, "{json}");
        }
    }

    #[test]
    fn any_wants_one_of_its_scopes() {
        let rule = Requirements {
            scopes: ScopeRule {
                any: vec!["a".into(), "b".into()],
                ..ScopeRule::default()
            },
            ..Requirements::default()
        };
        assert!(rule.check(&claims(r#"{"scope":"x b"}"#)).is_ok());
        let refused = rule.check(&claims(r#"{"scope":"x"}"#)).unwrap_err();
        let why = "none of the scopes a, b is there";
        assert_eq!(refused, Unmet::Scope(why.into()));
    }

    #[test]
    fn scopes_may_lie_under_another_claim() {
        let rule = |from: &str| Requirements {
            scopes: ScopeRule {
                all: vec!["a".into()],
                from: Some(from.into()),
                ..ScopeRule::default()
            },
            ..Requirements::default()
        };
        let claims = claims(
            r#"{"scope":"a","realm":{"roles":["a"],"none":[]},"https://e.example/p":"b a"}"#,
        );
        for (from, holds) in [
            ("scope", true),
            ("realm.roles", true),
            ("https://e.example/p", true),
            ("realm.none", false),
            ("scp", false),
        ] {
            assert_eq!(rule(from).check(&claims).is_ok(), holds, "{from}");
        }
    }

    #[test]
    fn claim_rules_compare_by_type_along_a_path() {
        let pattern = |text: &str| ClaimRule::Matches(text.to_owned().try_into().unwrap());
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
            ("level", ClaimRule::Equals(3.0.into()), true),
            ("level", ClaimRule::AnyOf(vec![2.into(), 3.into()]), true),
            ("level", pattern("[0-9]"), true),
            ("tenant", pattern("[a-c]"), true),
            ("tenant", pattern("b|c"), false),
            ("mail", pattern(".*@e\\.example"), true),
            ("mail", pattern("@e"), false),
            ("mail", pattern("ann@e.exampl|x"), false),
            ("realm.roles", pattern("adm.*"), true),
            ("realm.roles", pattern("adm"), false),
            ("realm", pattern(".*"), false),
            ("missing", pattern(".*"), false),
            (
                "realm.roles",
                ClaimRule::AnyOf(vec!["x".into(), "dev".into()]),
                true,
            ),
            ("realm.roles", ClaimRule::AnyOf(vec!["x".into()]), false),
            (
                "realm.roles",
                ClaimRule::Contains(json!(["dev", "admin"])),
                true,
            ),
            (
                "realm.roles",
                ClaimRule::Contains(json!(["dev", "x"])),
                false,
            ),
            (
                "realm.roles",
                ClaimRule::Equals(json!(["admin", "dev"])),
                true,
            ),
            ("tenant", ClaimRule::Contains("a".into()), false),
            ("tenant", ClaimRule::Exists(false), false),
            ("realm.roles", ClaimRule::Contains("admin".into()), true),
            ("realm.roles", ClaimRule::Contains("adm".into()), false),
            ("https://e.example/t", ClaimRule::Equals(true.into()), true),
            ("missing", ClaimRule::Exists(false), true),
            ("tenant", ClaimRule::Exists(true), true),
            ("missing.deep", ClaimRule::Exists(true), false),
        ];
        let claims = claims(
            r#"{"tenant":"a","level":3,"realm":{"roles":["admin","dev"]},"mail":"ann@e.example",
                "https://e.example/t":true}"#,
        );
        for (path, rule, holds) in table {
            assert_eq!(rule.holds(find(&claims, path)), holds, "{path} {rule:?}");
        }
    }

    #[test]
    fn all_claims_go_on_as_they_came() {
        let all = IdentityHeaders {
            claims: Vec::new(),
            payload: Some(HeaderName::from_static("x-payload")),
        };
        let claims = claims(r#"{"a":1}"#);
        for (payload, expected) in [(Some("eyJh"), "eyJh"), (None, "eyJhIjoxfQ")] {
            let headers = all.render(&claims, payload).unwrap();
            assert_eq!(headers[0].1, expected);
        }
    }

    #[test]
    fn claims_become_headers_or_the_request_is_refused() {
        let to = |claim: &str| IdentityHeaders {
            claims: vec![(claim.into(), HeaderName::from_static("x-claim"))],
            payload: None,
        };
        let claims = claims(
            r#"{"s":"a b","n":7,"l":["a",1],"o":{},"bad":"a\nb","comma":["a,b"],"blank":" a"}"#,
        );
        let table = [
            ("s", Some("a b")),
            ("n", Some("7")),
            ("l", Some("a,1")),
            ("o", None),
            ("absent", None),
            ("comma", None),
        ];
        for (claim, expected) in table {
            let headers = to(claim).render(&claims, None).unwrap();
            let got = headers.first().map(|(_, value)| value.to_str().unwrap());
            assert_eq!(got, expected, "{claim}");
        }
        assert!(to("bad").render(&claims, None).is_err());
        assert!(to("blank").render(&claims, None).is_err());
    }
}

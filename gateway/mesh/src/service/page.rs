//! Keyset pagination: `?limit=` and `?after=`, and the `Link` to the next page.
//!
//! `after` is the id of the last row seen, so that a page costs the same wherever
//! it lies, and rows that come and go in between shift nothing.

use http::HeaderValue;

use super::Resource;
use super::fault::Fault;

/// Rows on a page, at most, and where the client does not say.
pub(super) const MAX_LIMIT: usize = 100;

/// Parts of the query string, decoded, in order.
pub(super) type Pairs = Vec<(String, String)>;

/// Which rows the client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// 1 to [`MAX_LIMIT`].
    pub(super) limit: usize,
    /// The row that the page follows; 0, which no row has, for the first page.
    pub(super) after: i64,
}

impl Page {
    /// Reads the query string.
    ///
    /// What is not known is refused: a misspelt `limt` would silently be answered
    /// with something else than was asked for.
    pub(super) fn parse(pairs: &Pairs) -> Result<Self, Fault> {
        let mut limit = None;
        let mut after = None;
        for (name, value) in pairs {
            let twice = match name.as_str() {
                "limit" => limit.replace(parse_limit(value)?).is_some(),
                "after" => after.replace(parse_after(value)?).is_some(),
                _ => return Err(unknown(name, "`limit` and `after`")),
            };
            if twice {
                return Err(invalid(format!("`{name}` is given twice; give it once")));
            }
        }
        Ok(Self {
            limit: limit.unwrap_or(MAX_LIMIT),
            after: after.unwrap_or(0),
        })
    }

    /// The value of `Link` (RFC 8288) that names the page after the row `last`.
    pub(super) fn link_to_next<R: Resource>(&self, last: i64) -> HeaderValue {
        let link = format!(
            "</{}?limit={}&after={last}>; rel=\"next\"",
            R::COLLECTION,
            self.limit
        );
        HeaderValue::try_from(link)
            .expect("a collection's name and two numbers are valid in a header")
    }
}

/// Refuses any query string, where there are no parameters.
pub(super) fn no_parameters(pairs: &Pairs) -> Result<(), Fault> {
    match pairs.first() {
        Some((name, _)) => Err(unknown(name, "no parameters")),
        None => Ok(()),
    }
}

/// An id in its only spelling: decimal digits, without sign or leading zero, so
/// that no row has two names.
pub(super) fn parse_id(text: &str) -> Option<i64> {
    let canonical = text == "0" || !text.starts_with(['0', '+', '-']);
    if canonical { text.parse().ok() } else { None }
}

fn parse_limit(value: &str) -> Result<usize, Fault> {
    match value.parse() {
        Ok(limit @ 1..=MAX_LIMIT) => Ok(limit),
        _ => Err(invalid(format!(
            "`limit` is `{value}`; it must be a number from 1 to {MAX_LIMIT}"
        ))),
    }
}

fn parse_after(value: &str) -> Result<i64, Fault> {
    parse_id(value).ok_or_else(|| {
        invalid(format!(
            "`after` is `{value}`; it must be the id of a row, a number from 0 to {}",
            i64::MAX
        ))
    })
}

fn unknown(name: &str, known: &str) -> Fault {
    invalid(format!(
        "`{name}` is not known here; this path takes {known}"
    ))
}

fn invalid(detail: String) -> Fault {
    Fault::InvalidParameter { detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<Page, String> {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let pairs = pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Page::parse(&pairs).map_err(|fault| match fault {
            Fault::InvalidParameter { detail } => detail,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn a_page_has_defaults_and_bounds() {
        for (query, limit, after) in [
            ("", 100, 0),
            ("limit=1", 1, 0),
            ("limit=100&after=7", 100, 7),
            ("after=0", 100, 0),
            ("after=9223372036854775807", 100, i64::MAX),
        ] {
            assert_eq!(parse(query), Ok(Page { limit, after }), "{query}");
        }
    }

    #[test]
    fn a_refusal_names_the_parameter_and_its_bounds() {
        let limit = "it must be a number from 1 to 100";
        let after = "it must be the id of a row, a number from 0 to 9223372036854775807";
        for (query, name, remedy) in [
            ("limit=0", "limit", limit),
            ("limit=101", "limit", limit),
            ("limit=-1", "limit", limit),
            ("limit=", "limit", limit),
            ("limit", "limit", limit),
            ("limit=ten", "limit", limit),
            ("after=-1", "after", after),
            ("after=+1", "after", after),
            ("after=01", "after", after),
            ("after=", "after", after),
            ("after=9223372036854775808", "after", after),
            ("limt=1", "limt", "takes `limit` and `after`"),
            ("Limit=1", "Limit", "takes `limit` and `after`"),
            ("limit=1&limit=1", "limit", "given twice"),
        ] {
            let detail = parse(query).unwrap_err();
            assert!(
                detail.starts_with(&format!("`{name}` is ")) && detail.contains(remedy),
                "{query}: {detail}"
            );
        }
    }
}

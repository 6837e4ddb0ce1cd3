//! What a line shows of a query. Queries hold what people search for, addresses that they confirm,
//! links that sign them in; so they are left out unless the file asks for them.

use std::borrow::Cow;

/// What a line shows of queries, those of URLs in `Referer` and `Location` included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Query {
    /// Nothing.
    #[default]
    Never,
    /// The names of parameters; their values are replaced.
    Keys,
    /// All of it but the values of parameters that are called like credentials.
    Full,
}

/// In place of a value.
const HIDDEN: &str = "*";

/// Parameters that hold credentials, by how their names begin or end once `-` is `_`: RFC 6749,
/// RFC 6750, RFC 7523, SAML, signed URLs of AWS, Google and Azure, and what people call such things.
const SECRET_ENDS: &[&str] = &[
    "token",
    "secret",
    "password",
    "passwd",
    "pwd",
    "signature",
    "credential",
    "assertion",
    "api_key",
    "apikey",
    "access_key",
    "session",
    "session_id",
    "otp",
];
/// The same, by their whole names.
const SECRET_NAMES: &[&str] = &[
    "code",
    "sig",
    "key",
    "auth",
    "jwt",
    "pin",
    "samlresponse",
    "sid",
];

impl Query {
    /// What is shown of a query; nothing where nothing is.
    #[must_use]
    pub fn shown(self, query: &str) -> Cow<'_, str> {
        match self {
            Self::Never => Cow::Borrowed(""),
            Self::Full if !query.split('&').any(is_secret) => Cow::Borrowed(query),
            Self::Keys | Self::Full => {
                let pairs = query.split('&').map(|pair| self.pair(pair));
                Cow::Owned(pairs.collect::<Vec<_>>().join("&"))
            }
        }
    }

    fn pair(self, pair: &str) -> Cow<'_, str> {
        if pair.is_empty() || (self == Self::Full && !is_secret(pair)) {
            return Cow::Borrowed(pair);
        }
        match pair.split_once('=') {
            Some((name, _)) => Cow::Owned(format!("{name}={HIDDEN}")),
            // A word alone may be the secret itself.
            None => Cow::Borrowed(HIDDEN),
        }
    }

    /// What is shown of a URL, such as that of `Referer`: no user, no fragment, and of the query
    /// what is shown of others.
    #[must_use]
    pub fn url(self, url: &str) -> Cow<'_, str> {
        let plain = url.split('#').next().unwrap_or_default();
        let (before, query) = plain.split_once('?').unwrap_or((plain, ""));
        let shown = self.shown(query);
        let place = without_user(before);
        if shown.is_empty() {
            return place;
        }
        Cow::Owned(format!("{place}?{shown}"))
    }
}

/// A URL up to its query, without `user:password@`.
fn without_user(url: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = url.split_once("//") else {
        return Cow::Borrowed(url);
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => Cow::Owned(format!("{scheme}//{host}{path}")),
        None => Cow::Borrowed(url),
    }
}

/// Whether a parameter is called like a credential. One whose name is spelt with escapes is taken
/// for one.
fn is_secret(pair: &str) -> bool {
    let name = pair.split('=').next().unwrap_or_default();
    if name.contains(['%', '+']) {
        return true;
    }
    let name = name.to_ascii_lowercase().replace(['-', '.'], "_");
    SECRET_NAMES.contains(&name.as_str()) || SECRET_ENDS.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_shown_as_far_as_the_log_shows_queries() {
        for (query, keys, full) in [
            ("", "", ""),
            ("a=1&b=2", "a=*&b=*", "a=1&b=2"),
            (
                "a=1&access_token=x",
                "a=*&access_token=*",
                "a=1&access_token=*",
            ),
            (
                "X-Amz-Signature=x&q=y",
                "X-Amz-Signature=*&q=*",
                "X-Amz-Signature=*&q=y",
            ),
            ("code=x&state=y", "code=*&state=*", "code=*&state=y"),
            ("acces%73_token=x", "acces%73_token=*", "acces%73_token=*"),
            ("eyJhbGciOi", "*", "eyJhbGciOi"),
            ("a=b=c&&d=", "a=*&&d=*", "a=b=c&&d="),
            (
                "apiKey=x&zipcode=1",
                "apiKey=*&zipcode=*",
                "apiKey=*&zipcode=1",
            ),
        ] {
            assert_eq!(Query::Never.shown(query), "", "{query}");
            assert_eq!(Query::Keys.shown(query), keys, "{query}");
            assert_eq!(Query::Full.shown(query), full, "{query}");
        }
    }

    #[test]
    fn a_url_loses_user_and_fragment() {
        for (url, never, full) in [
            (
                "https://a.example/b",
                "https://a.example/b",
                "https://a.example/b",
            ),
            (
                "https://a.example/b?c=d#e",
                "https://a.example/b",
                "https://a.example/b?c=d",
            ),
            (
                "https://me:pw@a.example/b@c",
                "https://a.example/b@c",
                "https://a.example/b@c",
            ),
            ("/login#access_token=x", "/login", "/login"),
            ("/cb?code=x&a=b", "/cb", "/cb?code=*&a=b"),
            ("?", "", ""),
        ] {
            assert_eq!(Query::Never.url(url), never, "{url}");
            assert_eq!(Query::Full.url(url), full, "{url}");
        }
    }
}

//! Where a request carries a credential, and how it is taken from there.

use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::words::reason::Reason;
use crate::words::rejection::Rejection;

/// A place for a credential. Never the query: it is in logs, histories and `Referer`
/// (RFC 9700 section 4.3.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `Authorization: Bearer TOKEN` (RFC 6750 section 2.1).
    Authorization,
    /// A header of this name that holds the credential alone.
    Header(HeaderName),
    /// A cookie of this name.
    Cookie(Box<str>),
}

/// The first of these places that has a token, and the token.
pub(super) fn token<'p, 'h>(
    places: &'p [Place],
    headers: &'h HeaderMap,
) -> Result<(&'p Place, &'h [u8]), Rejection> {
    let mut missing = Rejection::from(Reason::JwtMissing);
    for place in places {
        match place.token(headers) {
            Err(rejection) if rejection.reason == Reason::JwtMissing => {
                // Why the usual place has none says more than that a cookie is not there.
                missing.detail = missing.detail.or(rejection.detail);
            }
            found => return found.map(|token| (place, token)),
        }
    }
    Err(missing)
}

impl Place {
    fn token<'h>(&self, headers: &'h HeaderMap) -> Result<&'h [u8], Rejection> {
        match self {
            Place::Authorization => bearer(headers),
            Place::Header(name) => match alone(headers, name) {
                One::None => Err(Reason::JwtMissing.into()),
                One::Some(value) => Ok(value),
                One::Several => Err(Reason::JwtRepeated.into()),
            },
            Place::Cookie(name) => cookie(headers, name),
        }
    }

    /// Whether a header of this name has what is in this place, and ends here with it. Of cookies
    /// the others go on: [`cookies_without`].
    #[must_use]
    pub fn is_in(&self, name: &HeaderName) -> bool {
        match self {
            Place::Authorization => name == AUTHORIZATION,
            Place::Header(own) => name == own,
            Place::Cookie(_) => name == COOKIE,
        }
    }
}

/// The cookies that go on where some of them are withheld; nothing where none is, for then they go
/// on as they are.
#[must_use]
pub fn cookies_without(withheld: &[Place], headers: &HeaderMap) -> Option<HeaderValue> {
    let names = || {
        withheld.iter().filter_map(|place| match place {
            Place::Cookie(name) => Some(name),
            Place::Authorization | Place::Header(_) => None,
        })
    };
    names().next()?;
    let goes_on =
        |pair: &&[u8]| !pair.is_empty() && names().all(|name| value_of(pair, name).is_none());
    let pairs = headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|header| header.as_bytes().split(|&byte| byte == b';'))
        .map(<[u8]>::trim_ascii);
    let kept: Vec<_> = pairs.filter(goes_on).collect();
    if kept.is_empty() {
        return None;
    }
    HeaderValue::from_bytes(&kept.join(&b"; "[..])).ok()
}

/// How often a header is there.
pub(super) enum One<'h> {
    None,
    Some(&'h [u8]),
    Several,
}

/// The value of a header that may come once.
pub(super) fn alone<'h>(headers: &'h HeaderMap, name: &HeaderName) -> One<'h> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => One::Several,
        (Some(value), None) if !value.as_bytes().trim_ascii().is_empty() => {
            One::Some(value.as_bytes().trim_ascii())
        }
        _ => One::None,
    }
}

/// The token of exactly one `Authorization: Bearer` header.
fn bearer(headers: &HeaderMap) -> Result<&[u8], Rejection> {
    let value = match alone(headers, &AUTHORIZATION) {
        One::None => return Err(Reason::JwtMissing.into()),
        One::Several => return Err(Reason::JwtRepeated.into()),
        One::Some(value) => value,
    };
    // The scheme is case-insensitive (RFC 9110 section 11.1).
    match value.split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => Ok(token.trim_ascii()),
        _ => Err(Rejection::with_detail(
            Reason::JwtMissing,
            "the authorization scheme is not Bearer, or there is no token",
        )),
    }
}

/// The value of exactly one cookie of this name (RFC 6265 section 5.4).
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h [u8], Rejection> {
    let mut values = headers
        .get_all(COOKIE)
        .iter()
        .flat_map(|header| header.as_bytes().split(|&byte| byte == b';'))
        .filter_map(|pair| value_of(pair, name));
    match (values.next(), values.next()) {
        (None, _) | (Some(b""), None) => Err(Reason::JwtMissing.into()),
        (Some(value), None) => Ok(value),
        (Some(_), Some(_)) => Err(Reason::JwtRepeated.into()),
    }
}

/// The value in `name=value` or `name="value"`, if the name is this one.
fn value_of<'h>(pair: &'h [u8], name: &str) -> Option<&'h [u8]> {
    let rest = pair.trim_ascii().strip_prefix(name.as_bytes())?;
    let value = rest.strip_prefix(b"=")?;
    let unquoted = value.strip_prefix(b"\"");
    Some(
        unquoted
            .and_then(|value| value.strip_suffix(b"\""))
            .unwrap_or(value),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), value.parse().unwrap())
        };
        lines.iter().map(line).collect()
    }

    #[test]
    fn the_first_place_that_has_a_token_counts() {
        let places = [
            Place::Authorization,
            Place::Cookie("session".into()),
            Place::Header(HeaderName::from_static("x-token")),
        ];
        let table: &[(&[(&'static str, &str)], &str)] = &[
            (&[("authorization", "Bearer a")], "a"),
            (
                &[("authorization", "Bearer a"), ("cookie", "session=b")],
                "a",
            ),
            (
                &[("authorization", "Basic x"), ("cookie", "session=b")],
                "b",
            ),
            (&[("cookie", "a=1; session=b; c=2")], "b"),
            (&[("cookie", "a=1;session=\"b\"")], "b"),
            (&[("cookie", "a=1"), ("cookie", "session=b")], "b"),
            (&[("cookie", "session="), ("x-token", "c")], "c"),
            (&[("cookie", "xsession=b"), ("x-token", " c ")], "c"),
            (&[("cookie", "session=b; session=b")], "jwt_repeated"),
            (
                &[("cookie", "session=b"), ("cookie", "session=c")],
                "jwt_repeated",
            ),
            (&[("x-token", "a"), ("x-token", "a")], "jwt_repeated"),
            (
                &[("authorization", "Bearer a"), ("authorization", "Bearer a")],
                "jwt_repeated",
            ),
            (&[("x-token", "")], "jwt_missing"),
            (&[("cookie", "session")], "jwt_missing"),
            (&[("x-other", "a")], "jwt_missing"),
        ];
        for (lines, expected) in table {
            let headers = headers(lines);
            let found = match token(&places, &headers) {
                Ok((_, token)) => std::str::from_utf8(token).unwrap(),
                Err(rejection) => rejection.reason.code(),
            };
            assert_eq!(found, *expected, "{lines:?}");
        }
    }

    #[test]
    fn a_credential_that_stays_here_takes_nothing_else_with_it() {
        let withheld = [Place::Cookie("session".into()), Place::Authorization];
        for (cookies, expected) in [
            (&["a=1; session=b; c=2"][..], Some("a=1; c=2")),
            (&["session=b"], None),
            (&["a=1;b=2"], Some("a=1; b=2")),
            (&["a=1", "session=x", "b=2;"], Some("a=1; b=2")),
            (&["session=b; session=\"c\";"], None),
        ] {
            let lines: Vec<_> = cookies.iter().map(|cookie| ("cookie", *cookie)).collect();
            let left = cookies_without(&withheld, &headers(&lines));
            let left = left.as_ref().map(|value| value.to_str().unwrap());
            assert_eq!(left, expected, "{cookies:?}");
        }
        let headers = headers(&[("cookie", "a=1")]);
        assert_eq!(
            cookies_without(&withheld[1..], &headers),
            None,
            "they go on as they are"
        );
        for (place, name) in withheld.iter().zip([COOKIE, AUTHORIZATION]) {
            assert!(place.is_in(&name) && !place.is_in(&HeaderName::from_static("x-a")));
        }
    }
}

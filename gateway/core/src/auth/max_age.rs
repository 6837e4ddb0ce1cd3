//! For how long an answer says that it holds (RFC 9111).

use crate::words::time::Millis;

/// What `Cache-Control` and `Age` say of an answer's lifetime; `None` where they say nothing.
///
/// `no-store` and `no-cache` leave no lifetime. So does a `max-age` that is not a number (RFC
/// 9111 section 4.2.1); of several the shortest holds. `Age` is what caches on the way have used
/// up (section 5.1).
pub fn max_age<'v>(
    cache_control: impl IntoIterator<Item = &'v str>,
    age: Option<&str>,
) -> Option<Millis> {
    let lifetime_seconds = cache_control
        .into_iter()
        .flat_map(directives)
        .filter_map(lifetime_seconds)
        .min()?;
    let age_seconds: u64 = age.and_then(|age| age.trim().parse().ok()).unwrap_or(0);
    Some(
        lifetime_seconds
            .saturating_sub(age_seconds)
            .saturating_mul(1000),
    )
}

fn lifetime_seconds(directive: &str) -> Option<u64> {
    let (name, value) = match directive.split_once('=') {
        Some((name, value)) => (name.trim(), value.trim()),
        None => (directive.trim(), ""),
    };
    if name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("no-cache") {
        return Some(0);
    }
    if !name.eq_ignore_ascii_case("max-age") {
        return None;
    }
    // Both forms of an argument are accepted (RFC 9111 section 5.2).
    Some(value.trim_matches('"').parse().unwrap_or(0))
}

/// The parts between commas; a comma within quotes separates nothing.
fn directives(value: &str) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    value.split(move |character| {
        is_quoted ^= character == '"';
        character == ',' && !is_quoted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lifetime_is_what_the_headers_leave_of_it() {
        for (cache_control, age, seconds) in [
            (&[][..], None, None),
            (&[""], None, None),
            (&["public"], Some("5"), None),
            (&["max-age=60"], None, Some(60)),
            (
                &["public, Max-Age = \"60\" , must-revalidate"],
                None,
                Some(60),
            ),
            (&["max-age=60"], Some("20"), Some(40)),
            (&["max-age=60"], Some("80"), Some(0)),
            (&["max-age=60"], Some("soon"), Some(60)),
            (&["max-age=60", "max-age=30"], None, Some(30)),
            (&["max-age=60, no-cache"], None, Some(0)),
            (&["max-age=60", "NO-STORE"], None, Some(0)),
            (&["no-cache=\"set-cookie\""], None, Some(0)),
            (&["max-age=soon"], None, Some(0)),
            (&["max-age"], None, Some(0)),
            (&["max-age=-1"], None, Some(0)),
            (&["s-maxage=60, x-max-age=5"], None, None),
            (&["private=\"a, max-age=1\", max-age=60"], None, Some(60)),
        ] {
            let given = max_age(cache_control.iter().copied(), age);
            let expected = seconds.map(|seconds: u64| seconds * 1000);
            assert_eq!(given, expected, "{cache_control:?} {age:?}");
        }
        let longest = u64::MAX.to_string();
        let header = format!("max-age={longest}");
        assert_eq!(max_age([header.as_str()], None), Some(Millis::MAX));
    }
}

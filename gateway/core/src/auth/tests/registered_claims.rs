//! `exp`, `nbf`, `iss` and `aud` (RFC 7519 section 4.1).

use super::*;

/// [`NOW`] less and more the skew, to add fractions to.
const DATE: &str = "jwt_date_invalid";
const EXPIRES_MIN: f64 = 1_699_999_940.0;
const STARTS_MAX: f64 = 1_700_000_060.0;

#[test]
fn dates_are_seconds_with_the_clock_skew_on_either_side() {
    let table = [
        (json!({"exp": null}), "jwt_expiry_missing"),
        (json!({"exp": NOW - 1}), "ok"),
        (json!({"exp": NOW - SKEW_SECONDS + 1}), "ok"),
        (json!({"exp": NOW - SKEW_SECONDS}), "jwt_expired"),
        (json!({"exp": 0}), "jwt_expired"),
        (json!({"exp": EXPIRES_MIN + 0.5}), "jwt_expired"),
        (json!({"exp": EXPIRES_MIN + 1.5}), "ok"),
        (json!({"exp": 253_402_300_799_u64}), "ok"),
        (json!({"exp": 253_402_300_800_u64}), DATE),
        (json!({"exp": u64::MAX}), DATE),
        (json!({"exp": 1e300}), DATE),
        (json!({"exp": -1}), DATE),
        (json!({"exp": -0.5}), DATE),
        (json!({"exp": (NOW + 60).to_string()}), DATE),
        (json!({"exp": true}), DATE),
        (json!({"exp": [NOW + 60]}), DATE),
        (json!({"exp": {}}), DATE),
        (json!({"nbf": NOW + SKEW_SECONDS}), "ok"),
        (json!({"nbf": NOW + SKEW_SECONDS + 1}), "jwt_not_yet_valid"),
        (json!({"nbf": STARTS_MAX - 0.5}), "ok"),
        (json!({"nbf": STARTS_MAX + 0.5}), "jwt_not_yet_valid"),
        (json!({"nbf": 0}), "ok"),
        (json!({"nbf": -1}), DATE),
        (json!({"nbf": 1e300}), DATE),
        (json!({"nbf": NOW.to_string()}), DATE),
        (json!({"iat": NOW + 3600}), "ok"),
        (json!({"exp": NOW - 3600, "nbf": NOW + 3600}), "jwt_expired"),
    ];
    let (provider, ring) = (provider(), trust(ring()));
    for (more, expected) in table {
        let token = with_payload(claims(&more));
        assert_eq!(verdict(&provider, &ring, &token), expected, "{more}");
    }
    for literal in ["1E10", "17000000600e-1", "1.7000000600000000000000001e9"] {
        let payload = claims(&json!({"exp": 7})).replace(":7", &format!(":{literal}"));
        assert_eq!(
            verdict(&provider, &ring, &with_payload(payload)),
            "ok",
            "{literal}"
        );
    }
    let null = claims(&json!({"exp": 7})).replace(":7", ":null");
    assert_eq!(verdict(&provider, &ring, &with_payload(null)), DATE);
}

#[test]
fn without_skew_the_edges_are_those_of_the_token() {
    let mut provider = provider();
    provider.clock_skew_seconds = 0;
    for (more, expected) in [
        (json!({"exp": NOW}), "jwt_expired"),
        (json!({"exp": NOW + 1}), "ok"),
        (json!({"nbf": NOW}), "ok"),
        (json!({"nbf": NOW + 1}), "jwt_not_yet_valid"),
    ] {
        let token = with_payload(claims(&more));
        assert_eq!(
            verdict(&provider, &trust(ring()), &token),
            expected,
            "{more}"
        );
    }
}

#[test]
fn issuer_and_audience_are_compared_to_the_letter() {
    const ISS: &str = "jwt_issuer_mismatch";
    const AUD: &str = "jwt_audience_mismatch";
    let table = [
        (json!({"iss": null}), ISS),
        (json!({"iss": "https://issuer.example"}), ISS),
        (json!({"iss": "https://Issuer.example/"}), ISS),
        (json!({"iss": "https://issuer.example/\u{0}"}), ISS),
        (json!({"iss": "https://issuer.example//"}), ISS),
        (json!({"iss": ""}), ISS),
        (json!({"iss": [ISSUER]}), ISS),
        (json!({"iss": {"iss": ISSUER}}), ISS),
        (json!({"iss": 1}), ISS),
        (json!({"aud": null}), AUD),
        (json!({"aud": "api"}), "ok"),
        (json!({"aud": "other"}), "ok"),
        (json!({"aud": "API"}), AUD),
        (json!({"aud": "api "}), AUD),
        (json!({"aud": "api other"}), AUD),
        (json!({"aud": ""}), AUD),
        (json!({"aud": ["x", "api"]}), "ok"),
        (json!({"aud": ["x", "y"]}), AUD),
        (json!({"aud": [["api"]]}), AUD),
        (json!({"aud": [1, null, "api"]}), "ok"),
        (json!({"aud": []}), AUD),
        (json!({"aud": {"api": true}}), AUD),
        (json!({"aud": 1}), AUD),
        (json!({"iss": "x", "aud": "x"}), ISS),
    ];
    let (provider, ring) = (provider(), trust(ring()));
    for (more, expected) in table {
        let token = with_payload(claims(&more));
        assert_eq!(verdict(&provider, &ring, &token), expected, "{more}");
    }
}

//! The registered claims at their edges (RFC 7519 section 4.1, RFC 8725 sections 3.8 to 3.10).

use serde_json::{Value, json};

use super::case::{
    AUDIENCE, CLAIM, Case, DATE, EXPIRED, Expected, Family, ISSUER, MALFORMED, NO_EXPIRY, NOT_YET,
    PASSES,
};
use super::mint::Mint;

/// Seconds by which clocks may differ, as the routes file of the attacks says.
const SKEW: u64 = 60;
/// The last second of the year 9999.
const DATE_MAX: u64 = 253_402_300_799;

pub(super) fn cases(mint: &Mint) -> Vec<Case> {
    let mut cases = dates(mint);
    cases.extend(issuers(mint));
    cases.extend(audiences(mint));
    cases.extend(subjects(mint));
    cases.extend(first_defects(mint));
    cases
}

fn dates(mint: &Mint) -> Vec<Case> {
    let mut family = Family::new("dates");
    for claim in ["exp", "nbf", "iat"] {
        for (name, value) in not_dates() {
            let token = mint.with_claims(json!({claim: value}));
            family.token(format!("{claim} is {name}"), token, DATE);
        }
        for (name, number) in [
            ("1e400", "1e400".to_owned()),
            ("four hundred digits", "9".repeat(400)),
            ("NaN", "NaN".to_owned()),
            ("Infinity", "Infinity".to_owned()),
            ("a number with a leading zero", "01700000000".to_owned()),
        ] {
            let payload = mint.claims_without(claim, json!({}));
            let payload = payload.replacen('{', &format!("{{\"{claim}\":{number},"), 1);
            family.token(
                format!("{claim} is {name}"),
                mint.with_payload(payload),
                MALFORMED,
            );
        }
        let expected = if claim == "exp" { NO_EXPIRY } else { PASSES };
        let token = mint.with_payload(mint.claims_without(claim, json!({})));
        family.token(format!("{claim} is missing"), token, expected);
        let token = mint.with_claims(json!({claim: DATE_MAX}));
        let expected = if claim == "nbf" { NOT_YET } else { PASSES };
        family.token(
            format!("{claim} is the end of the year 9999"),
            token,
            expected,
        );
    }
    for (claim, offset, expected) in edges() {
        let date = mint.now.checked_add_signed(offset).expect("far from 0");
        let token = mint.with_claims(json!({claim: date}));
        family.token(format!("{claim} is now {offset:+}"), token, expected);
    }
    fractions(mint, &mut family);
    // Both edges at once, and a token that was never valid.
    let token = mint.with_claims(json!({"nbf": mint.now + SKEW, "exp": mint.now + SKEW + 1}));
    family.token(
        "nbf and exp a second apart, at the skew's end",
        token,
        PASSES,
    );
    let token = mint.with_claims(json!({"nbf": mint.now + 30, "exp": mint.now + 10}));
    family.token("nbf after exp, both within the skew", token, PASSES);
    let token = mint.with_claims(json!({"nbf": mint.now + 900, "exp": mint.now - 900}));
    family.token("expired and not yet valid", token, EXPIRED);
    let header = Mint::header("ES256", json!({"exp": mint.now + 600}));
    let token = mint.signed("ES256", header, mint.claims_without("exp", json!({})));
    family.token("exp in the header alone", token, NO_EXPIRY);
    let token = mint.with_payload(mint.claims_without("exp", json!({"EXP": mint.now + 600})));
    family.token("exp in capitals", token, NO_EXPIRY);
    family.into_cases()
}

fn not_dates() -> Vec<(&'static str, Value)> {
    vec![
        ("null", Value::Null),
        ("text", json!("never")),
        ("a number as text", json!("4102444800")),
        ("a date of ISO 8601", json!("2100-01-01T00:00:00Z")),
        ("empty text", json!("")),
        ("true", json!(true)),
        ("false", json!(false)),
        ("an array", json!([4_102_444_800_u64])),
        ("an empty array", json!([])),
        ("an object", json!({"$gt": 0})),
        ("-1", json!(-1)),
        ("-0.5", json!(-0.5)),
        ("a large negative number", json!(i64::MIN)),
        ("-1e308", json!(-1e308)),
        ("1e308", json!(1e308)),
        ("a second after the year 9999", json!(DATE_MAX + 1)),
        ("in milliseconds", json!(4_102_444_800_000_u64)),
        ("the largest of 64 bits", json!(u64::MAX)),
        ("the largest of 63 bits", json!(i64::MAX)),
    ]
}

/// Offsets from now, none of which changes its meaning within the time that the test takes: a
/// token that is dead at this second stays dead, one that is valid at this second stays valid.
fn edges() -> Vec<(&'static str, i64, Expected)> {
    let skew = SKEW.cast_signed();
    vec![
        // RFC 7519 section 4.1.4: "on or after" that second it is over.
        ("exp", -skew, EXPIRED),
        ("exp", -skew - 1, EXPIRED),
        ("exp", -skew + 30, PASSES),
        ("exp", -1, PASSES),
        ("exp", 0, PASSES),
        ("exp", 1, PASSES),
        ("exp", -86_400, EXPIRED),
        ("exp", 3_155_760_000, PASSES),
        ("nbf", skew, PASSES),
        ("nbf", skew + 120, NOT_YET),
        ("nbf", skew - 1, PASSES),
        ("nbf", 0, PASSES),
        ("nbf", -86_400, PASSES),
        ("nbf", 86_400, NOT_YET),
        // A date of issue refuses nothing: RFC 7519 section 4.1.6 gives it no such meaning.
        ("iat", 86_400, PASSES),
        ("iat", -315_576_000, PASSES),
        ("iat", 0, PASSES),
    ]
}

fn fractions(mint: &Mint, family: &mut Family) {
    let at = |claim: &str, number: String| {
        let payload = mint.claims_without(claim, json!({}));
        mint.with_payload(payload.replacen('{', &format!("{{\"{claim}\":{number},"), 1))
    };
    let now = mint.now;
    for (name, claim, number, expected) in [
        // The last tenths of a second do not count: `exp` is rounded down.
        (
            "exp of the edge and nine tenths",
            "exp",
            format!("{}.9", now - SKEW),
            EXPIRED,
        ),
        (
            "exp with a fraction",
            "exp",
            format!("{}.5", now + 600),
            PASSES,
        ),
        (
            "exp with a long fraction",
            "exp",
            format!("{}.{}", now + 600, "3".repeat(300)),
            PASSES,
        ),
        (
            "exp with an exponent",
            "exp",
            "4.1024448e9".to_owned(),
            PASSES,
        ),
        (
            "exp with a capital exponent",
            "exp",
            "41024448E2".to_owned(),
            PASSES,
        ),
        ("exp of 0", "exp", "0".to_owned(), EXPIRED),
        ("exp of -0", "exp", "-0".to_owned(), EXPIRED),
        ("exp of 0.0", "exp", "0.0".to_owned(), EXPIRED),
        ("exp of 1", "exp", "1".to_owned(), EXPIRED),
        ("exp of almost nothing", "exp", "1e-300".to_owned(), EXPIRED),
        (
            "nbf of the edge less a half",
            "nbf",
            format!("{}.5", now + SKEW - 1),
            PASSES,
        ),
        (
            "nbf with a fraction",
            "nbf",
            format!("{}.5", now + 900),
            NOT_YET,
        ),
        ("nbf of 0", "nbf", "0".to_owned(), PASSES),
        ("nbf of -0", "nbf", "-0".to_owned(), PASSES),
        ("iat of 0", "iat", "0".to_owned(), PASSES),
        ("iat with a fraction", "iat", format!("{now}.25"), PASSES),
        ("iat with an exponent", "iat", "1.7e9".to_owned(), PASSES),
    ] {
        family.token(name, at(claim, number), expected);
    }
}

fn issuers(mint: &Mint) -> Vec<Case> {
    let mut family = Family::new("iss");
    for (name, value) in [
        ("null", Value::Null),
        ("empty", json!("")),
        ("in capitals", json!("HTTPS://ISSUER.EXAMPLE/")),
        ("with a capital", json!("https://Issuer.example/")),
        (
            "with the scheme in capitals",
            json!("HTTPS://issuer.example/"),
        ),
        ("without its slash", json!("https://issuer.example")),
        ("with two slashes", json!("https://issuer.example//")),
        ("with a dot segment", json!("https://issuer.example/./")),
        ("with a port", json!("https://issuer.example:443/")),
        ("with userinfo", json!("https://x@issuer.example/")),
        ("with a query", json!("https://issuer.example/?")),
        ("with a fragment", json!("https://issuer.example/#")),
        (
            "with a dot at the host's end",
            json!("https://issuer.example./"),
        ),
        ("over http", json!("http://issuer.example/")),
        ("escaped", json!("https://issuer%2Eexample/")),
        ("with a blank before it", json!(" https://issuer.example/")),
        ("with a blank after it", json!("https://issuer.example/ ")),
        (
            "with a newline after it",
            json!("https://issuer.example/\n"),
        ),
        ("with a NUL after it", json!("https://issuer.example/\u{0}")),
        ("with more after it", json!("https://issuer.example/evil")),
        (
            "with a host after it",
            json!("https://issuer.example/.evil.example/"),
        ),
        (
            "with another alphabet's letter",
            json!("https://\u{456}ssuer.example/"),
        ),
        ("the host alone", json!("issuer.example")),
        ("a part of it", json!("https://issuer")),
        ("another provider's", json!(super::mint::SECRET_ISSUER)),
        ("a stranger's", json!("https://evil.example/")),
        ("an array of it", json!(["https://issuer.example/"])),
        (
            "an array of it and another",
            json!(["https://issuer.example/", "https://evil.example/"]),
        ),
        ("an empty array", json!([])),
        ("an object", json!({"https://issuer.example/": true})),
        ("a number", json!(1)),
        ("true", json!(true)),
        ("a pattern", json!("https://*.example/")),
    ] {
        family.token(name, mint.with_claims(json!({"iss": value})), ISSUER);
    }
    let token = mint.with_payload(mint.claims_without("iss", json!({})));
    family.token("missing", token, ISSUER);
    let header = Mint::header("ES256", json!({"iss": "https://issuer.example/"}));
    let token = mint.signed("ES256", header, mint.claims_without("iss", json!({})));
    family.token("in the header alone", token, ISSUER);
    let header = Mint::header("ES256", json!({"iss": "https://evil.example/"}));
    let token = mint.signed("ES256", header, mint.claims(json!({})));
    family.token("another one in the header", token, PASSES);
    family.into_cases()
}

fn audiences(mint: &Mint) -> Vec<Case> {
    let mut family = Family::new("aud");
    for (name, value, expected) in [
        ("the other one", json!("other"), PASSES),
        ("an array of one", json!(["api"]), PASSES),
        ("an array with ours last", json!(["x", "y", "api"]), PASSES),
        ("an array with ours twice", json!(["api", "api"]), PASSES),
        ("an array of both", json!(["api", "other"]), PASSES),
        // Elements that are no text are nobody's name; the issuer did name us beside them.
        (
            "an array with numbers and ours",
            json!([1, null, {"x": 1}, "api"]),
            PASSES,
        ),
        (
            "an array of many",
            json!(
                (0..100)
                    .map(|n| n.to_string())
                    .chain(["api".into()])
                    .collect::<Vec<_>>()
            ),
            PASSES,
        ),
        ("an array of others", json!(["x", "y"]), AUDIENCE),
        ("an empty array", json!([]), AUDIENCE),
        ("an array in an array", json!([["api"]]), AUDIENCE),
        ("an array of null", json!([null]), AUDIENCE),
        ("an array of an object", json!([{"api": true}]), AUDIENCE),
        ("an array of joined names", json!(["api other"]), AUDIENCE),
        ("null", Value::Null, AUDIENCE),
        ("empty", json!(""), AUDIENCE),
        ("true", json!(true), AUDIENCE),
        ("a number", json!(0), AUDIENCE),
        ("an object", json!({"api": true}), AUDIENCE),
        (
            "an object like an array",
            json!({"0": "api", "length": 1}),
            AUDIENCE,
        ),
        ("in capitals", json!("API"), AUDIENCE),
        ("with a capital", json!("Api"), AUDIENCE),
        ("a part of ours", json!("ap"), AUDIENCE),
        ("longer than ours", json!("api2"), AUDIENCE),
        ("with a slash after it", json!("api/"), AUDIENCE),
        ("with a blank before it", json!(" api"), AUDIENCE),
        ("with a blank after it", json!("api "), AUDIENCE),
        ("with a NUL after it", json!("api\u{0}"), AUDIENCE),
        ("two in one text", json!("api other"), AUDIENCE),
        ("two with a comma", json!("api,other"), AUDIENCE),
        ("JSON in text", json!("[\"api\"]"), AUDIENCE),
        ("a pattern", json!("*"), AUDIENCE),
        ("another alphabet's letter", json!("\u{430}pi"), AUDIENCE),
        ("the issuer", json!("https://issuer.example/"), AUDIENCE),
    ] {
        family.token(name, mint.with_claims(json!({"aud": value})), expected);
    }
    let token = mint.with_payload(mint.claims_without("aud", json!({})));
    family.token("missing", token, AUDIENCE);
    let payload = mint.claims_without("aud", json!({"azp": "api", "client_id": "api"}));
    family.token("missing, with azp", mint.with_payload(payload), AUDIENCE);
    family.into_cases()
}

/// `sub` decides nothing here; what the upstream is told must be what the issuer said.
fn subjects(mint: &Mint) -> Vec<Case> {
    let mut family = Family::new("sub");
    let told = |user| Expected::Passes(Some(user));
    let nobody = Expected::Passes(None);
    for (name, value, expected) in [
        ("another user", json!("user-2"), told("user-2")),
        (
            "an e-mail address",
            json!("a@b.example"),
            told("a@b.example"),
        ),
        (
            "a URL",
            json!("https://a.example/#x"),
            told("https://a.example/#x"),
        ),
        // HTTP takes any byte from 128 on (RFC 9110 section 5.5).
        ("a letter beyond ASCII", json!("\u{e4}"), told("\u{e4}")),
        ("two words", json!("a b"), told("a b")),
        ("markup", json!("<b>'\"&;--</b>"), told("<b>'\"&;--</b>")),
        ("a number", json!(7), told("7")),
        (
            "a large number",
            json!(u64::MAX),
            told("18446744073709551615"),
        ),
        ("a fraction", json!(1.5), told("1.5")),
        ("true", json!(true), told("true")),
        ("an array of names", json!(["a", "b"]), told("a,b")),
        ("null", Value::Null, nobody),
        ("an object", json!({"id": "root"}), nobody),
        ("an array of objects", json!([{"id": "root"}]), nobody),
        ("an array of names with commas", json!(["a,root"]), nobody),
        ("a line break", json!("a\r\nx-user-id: root"), CLAIM),
        ("a newline", json!("a\nb"), CLAIM),
        ("a carriage return", json!("a\rb"), CLAIM),
        ("a NUL", json!("a\u{0}b"), CLAIM),
        ("a delete", json!("a\u{7f}"), CLAIM),
        ("an escape", json!("\u{1b}[31m"), CLAIM),
        ("a line break in an array", json!(["a\nb"]), CLAIM),
        // HTTP takes blanks off both ends of a value, so this would arrive as another name.
        ("a blank before it", json!(" root"), CLAIM),
        ("a blank after it", json!("root "), CLAIM),
        ("a tab after it", json!("root\t"), CLAIM),
    ] {
        family.token(name, mint.with_claims(json!({"sub": value})), expected);
    }
    let token = mint.with_payload(mint.claims_without("sub", json!({})));
    family.token("missing", token, nobody);
    let token =
        mint.with_payload(mint.claims_without("sub", json!({"SUB": "root", "user": "root"})));
    family.token("under another name", token, nobody);
    family.into_cases()
}

/// Tokens with several defects: the first in the order of the checks is the reason.
fn first_defects(mint: &Mint) -> Vec<Case> {
    use super::case::{ALGORITHM, CRITICAL, KEY_UNKNOWN, UNENCODED};
    let mut family = Family::new("order of checks");
    // From the last check to the first: each token has all defects of those before it.
    let mut header = json!({"alg": "ES256", "typ": "JWT", "kid": "stranger"});
    let mut claims: Value = serde_json::from_str(&mint.claims(json!({}))).expect("claims");
    let mut step = |name: &str, part: char, member: &str, value: Value, expected| {
        let part = if part == 'h' {
            &mut header
        } else {
            &mut claims
        };
        part[member] = value;
        let token = super::mint::token(header.to_string(), claims.to_string(), |_| vec![1]);
        family.token(name, token, expected);
    };
    let now = mint.now;
    step(
        "a key that nobody knows",
        'c',
        "jti",
        json!("x"),
        KEY_UNKNOWN,
    );
    step("and not valid yet", 'c', "nbf", json!(now + 900), NOT_YET);
    step("and expired", 'c', "exp", json!(now - 900), EXPIRED);
    step("and issued at no date", 'c', "iat", json!("x"), DATE);
    step("and for another audience", 'c', "aud", json!("x"), AUDIENCE);
    step("and by another issuer", 'c', "iss", json!("x"), ISSUER);
    step("and under no name", 'h', "kid", json!(1), MALFORMED);
    step(
        "and by an algorithm not allowed",
        'h',
        "alg",
        json!("none"),
        ALGORITHM,
    );
    step("and by no algorithm", 'h', "alg", json!(1), MALFORMED);
    step("and unencoded", 'h', "b64", json!(false), UNENCODED);
    step("and with extensions", 'h', "crit", json!(["x"]), CRITICAL);
    family.into_cases()
}

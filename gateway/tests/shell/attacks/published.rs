//! The examples of the RFCs: as printed, and made again with our keys.

use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Value, json};

use super::case::{
    ALGORITHM, AUDIENCE, CRITICAL, Case, ENCRYPTED, Family, ISSUER, MALFORMED, PASSES, SIGNATURE,
};
use super::mint::{Mint, PUBLIC_ALGORITHMS, encoded, encoded_token, mac, token};

/// The claims of RFC 7515 appendices A.1 to A.3, line ends as printed.
const JOE: &str =
    "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}";
/// The key of RFC 7515 appendix A.1.1, base64url.
pub(super) const JOE_SECRET: &str =
    "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
const A1: &str = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4\
    MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1\
    gFWFOEjXk";
const A2_MODULUS: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrc\
    S2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpa\
    SHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJ\
    H7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
const A2: &str = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9\
    leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZ\
    mh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75v\
    RK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPq\
    vhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
const A3: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9\
    leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8I\
    SlSApmWQxfKTUJqPP3-Kg6NU1Q";
const A5: &str = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9l\
    eGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.";
/// RFC 8037 appendix A.4, whose payload is no object.
const ED25519: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0Jzln\
    LWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
/// RFC 7797 section 4.2.
const UNENCODED: &str = "eyJhbGciOiJIUzI1NiIsImI2NCI6ZmFsc2UsImNyaXQiOlsiYjY0Il19..A5dxf2s96_n5FLue\
    VuW1Z_vh161FwXZC4YLPff6dmDY";
/// What a search for "example JWT" finds first.
const JOHN_DOE: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6Ikpv\
    aG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c";
/// The payload of RFC 7520 section 4.
const BILBO: &str = "It\u{2019}s a dangerous business, Frodo, going out your door. You step onto the road, \
    and if you don't keep your feet, there\u{2019}s no knowing where you might be swept off to.";

/// The public keys of RFC 7515 appendices A.2 and A.3.
pub(super) fn key_set() -> String {
    json!({"keys": [a2_key(), a3_key()]}).to_string()
}

fn a2_key() -> Value {
    json!({"kty": "RSA", "n": A2_MODULUS, "e": "AQAB"})
}

fn a3_key() -> Value {
    json!({
        "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    })
}

/// The examples are what the RFC prints: their signatures hold.
fn check_originals() {
    for (token, key, algorithm) in [
        (A2, a2_key(), Algorithm::RS256),
        (A3, a3_key(), Algorithm::ES256),
    ] {
        let jwk = serde_json::from_value(key).expect("a key");
        let key = DecodingKey::from_jwk(&jwk).expect("a key");
        let (message, signature) = token.rsplit_once('.').expect("a token");
        let verdict = jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key, algorithm);
        assert!(verdict.expect("it can be checked"), "{token}");
    }
    let (message, signature) = A1.rsplit_once('.').expect("a token");
    let secret = base64::Engine::decode(
        &base64::engine::general_purpose::URL_SAFE_NO_PAD,
        JOE_SECRET,
    );
    let mac = mac("HS256", &secret.expect("base64url"), message.as_bytes());
    assert_eq!(encoded(mac), signature);
}

pub(super) fn cases(mint: &Mint) -> Vec<Case> {
    check_originals();
    let mut cases = originals();
    cases.extend(made_again(mint));
    cases
}

fn originals() -> Vec<Case> {
    let mut family = Family::new("RFC examples");
    let flipped = |token: &str| {
        let (message, signature) = token.rsplit_once('.').expect("a token");
        let first = if signature.starts_with('A') { 'B' } else { 'A' };
        format!("{message}.{first}{}", &signature[1..])
    };
    // They are for nobody, and long over: what is checked first is said.
    for (name, route, token, expected) in [
        ("RFC 7515 A.1", "/joe-secret", A1.to_owned(), AUDIENCE),
        ("RFC 7515 A.2", "/joe", A2.to_owned(), AUDIENCE),
        ("RFC 7515 A.3", "/joe", A3.to_owned(), AUDIENCE),
        (
            "RFC 7515 A.1, flipped",
            "/joe-secret",
            flipped(A1),
            AUDIENCE,
        ),
        ("RFC 7515 A.2, flipped", "/joe", flipped(A2), AUDIENCE),
        ("RFC 7515 A.3, flipped", "/joe", flipped(A3), AUDIENCE),
        (
            "RFC 7515 A.1 for another provider",
            "/secret",
            A1.to_owned(),
            ISSUER,
        ),
        (
            "RFC 7515 A.2 for another provider",
            "/main",
            A2.to_owned(),
            ISSUER,
        ),
        (
            "RFC 7515 A.3 for another provider",
            "/main",
            A3.to_owned(),
            ISSUER,
        ),
        (
            "RFC 7515 A.1 where HMAC is not allowed",
            "/joe",
            A1.to_owned(),
            ALGORITHM,
        ),
        (
            "RFC 7515 A.2 where only HMAC is allowed",
            "/joe-secret",
            A2.to_owned(),
            ALGORITHM,
        ),
        ("RFC 7515 A.5", "/joe", A5.to_owned(), ALGORITHM),
        ("RFC 8037 A.4", "/main", ED25519.to_owned(), MALFORMED),
        ("RFC 7797 4.2", "/secret", UNENCODED.to_owned(), CRITICAL),
        (
            "the example that everybody copies",
            "/secret",
            JOHN_DOE.to_owned(),
            ISSUER,
        ),
        (
            "the example that everybody copies, elsewhere",
            "/main",
            JOHN_DOE.to_owned(),
            ALGORITHM,
        ),
    ] {
        family.token_for(route, name, token, expected);
    }
    family.into_cases()
}

fn made_again(mint: &Mint) -> Vec<Case> {
    let mut family = Family::new("RFC examples made again");
    let signed =
        |algorithm: &str, header: &str, claims: &str| mint.signed(algorithm, header, claims);
    // RFC 7515 A.1 to A.3: the headers as printed, the claims for us.
    let claims = |algorithm: &str| mint.claims_for(algorithm).replace(',', ",\r\n ");
    for (name, route, algorithm, header) in [
        (
            "RFC 7515 A.1",
            "/secret",
            "HS256",
            "{\"typ\":\"JWT\",\r\n \"alg\":\"HS256\"}",
        ),
        ("RFC 7515 A.2", "/main", "RS256", "{\"alg\":\"RS256\"}"),
        ("RFC 7515 A.3", "/main", "ES256", "{\"alg\":\"ES256\"}"),
        ("RFC 8037 A.4", "/main", "EdDSA", "{\"alg\":\"EdDSA\"}"),
    ] {
        let token = signed(algorithm, header, &claims(algorithm));
        let (message, signature) = super::mint::split(&token);
        let mut flipped = signature.clone();
        flipped[7] ^= 4;
        let flipped = super::mint::joined(message, flipped);
        family.token_for(route, format!("{name}, flipped"), flipped, SIGNATURE);
        family.token_for(route, name, token, PASSES);
        let token = signed(algorithm, header, JOE);
        family.token_for(route, format!("{name} with its own claims"), token, ISSUER);
    }
    // RFC 7515 A.4 and RFC 7520 4.3: no P-521 here.
    let token = token("{\"alg\":\"ES512\"}", mint.claims(json!({})), |_| {
        vec![1; 132]
    });
    family.token("RFC 7515 A.4", token, ALGORITHM);
    // RFC 7520 section 4: a text is no set of claims.
    for (section, algorithm, kid) in [
        ("4.1", "RS256", "bilbo.baggins@hobbiton.example"),
        ("4.2", "PS384", "bilbo.baggins@hobbiton.example"),
        ("4.3", "ES256", "bilbo.baggins@hobbiton.example"),
    ] {
        let header = json!({"alg": algorithm, "kid": kid}).to_string();
        family.token(
            format!("RFC 7520 {section}"),
            signed(algorithm, &header, BILBO),
            MALFORMED,
        );
        let token = signed(algorithm, &header, &mint.claims(json!({})));
        let name = format!("RFC 7520 {section} with claims");
        family.token(name, token, super::case::KEY_UNKNOWN);
    }
    let header = json!({"alg": "HS256", "kid": "018c0ae5-4d9b-471b-bfd6-eef314bc7037"}).to_string();
    family.token_for(
        "/secret",
        "RFC 7520 4.4",
        signed("HS256", &header, BILBO),
        MALFORMED,
    );
    let token = signed("HS256", &header, &mint.claims_for("HS256"));
    family.token_for("/secret", "RFC 7520 4.4 with claims", token, PASSES);
    let detached = encoded_token(&encoded(&header), "", |_| {
        mac("HS256", b"", BILBO.as_bytes())
    });
    family.token_for("/secret", "RFC 7520 4.5", detached, MALFORMED);
    // Sections 4.6 to 4.8: parts of the header, or all of it, are not protected.
    let unprotected = encoded_token("", &encoded(mint.claims(json!({}))), |_| vec![1; 64]);
    family.token("RFC 7520 4.7", unprotected, MALFORMED);
    // Section 6: a signed token that is then encrypted.
    let header = json!({"alg": "RSA-OAEP", "cty": "JWT", "enc": "A128GCM"}).to_string();
    let five = [&header, "key", "nonce", "text", "tag"]
        .map(encoded)
        .join(".");
    family.token("RFC 7520 6", five, ENCRYPTED);
    profiles(mint, &mut family);
    family.into_cases()
}

/// Tokens of the profiles in use, as their RFCs and issuers print them.
fn profiles(mint: &Mint, family: &mut Family) {
    // RFC 9068 section 2.2.
    let access = json!({
        "aud": "other", "client_id": "s6BhdRkqt3", "jti": "dbe39bf3a3ba4238a513f51d6e1691c4",
        "scope": "openid profile reademail", "auth_time": mint.now,
    });
    let header = Mint::header("RS256", json!({"typ": "at+JWT"}));
    let token = mint.signed("RS256", header, mint.claims(access));
    family.token_for("/typed", "RFC 9068 2.2", &token, PASSES);
    family.token("RFC 9068 2.2 where no type is asked for", token, PASSES);
    // OpenID Connect Core section 2: an ID token is for the client, not for us.
    let identity = json!({"aud": "s6BhdRkqt3", "nonce": "n-0S6_WzA2Mj", "acr": "0"});
    family.token("an ID token", mint.with_claims(identity.clone()), AUDIENCE);
    let ours = super::mint::merged(identity, json!({"aud": "api"}));
    let token = mint.with_claims(ours);
    family.token_for("/typed", "an ID token for us", token, super::case::TYPE);
    // RFC 8417, OpenID Connect Back-Channel Logout section 2.4.
    let header = Mint::header("ES256", json!({"typ": "logout+jwt"}));
    let events = json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}});
    let token = mint.signed("ES256", header, mint.claims(events));
    family.token_for("/typed", "a logout token", token, super::case::TYPE);
    for algorithm in PUBLIC_ALGORITHMS {
        // Some issuers write `nonce` into the header after they signed another one (Entra ID's
        // tokens for Graph): the signature does not hold.
        let good = mint.good(algorithm);
        let (_, rest) = good.split_once('.').expect("a token");
        let header = Mint::header(algorithm, json!({"nonce": "changed"}));
        let token = format!("{}.{rest}", encoded(header));
        family.token(
            format!("{algorithm} with a nonce written in"),
            token,
            SIGNATURE,
        );
    }
}

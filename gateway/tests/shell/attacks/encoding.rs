//! Base64url that is not quite, and single bits of what was signed (RFC 7515 section 2, RFC 4648
//! section 3).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use serde_json::json;

use super::case::{Case, Expected, Family, MALFORMED, PASSES, SIGNATURE};
use super::mint::{
    Mint, PUBLIC_ALGORITHMS, SECRET_ALGORITHMS, encoded, encoded_token, joined, split,
};

pub(super) fn cases(mint: &Mint) -> Vec<Case> {
    let mut cases = spellings(mint);
    cases.extend(bits(mint));
    cases
}

/// What follows a claim so that every encoding shows its difference: `?>~` becomes characters
/// that the two alphabets spell differently.
const TELLING: &str = "?>~?>~??>>~~";

/// How a text is encoded.
type Variant = fn(&str) -> String;

fn spellings(mint: &Mint) -> Vec<Case> {
    let mut family = Family::new("base64url");
    // Two bytes beyond a multiple of three: one pad, and two loose bits in the last character.
    let filled = |text: &dyn Fn(&str) -> String| {
        (0..3)
            .map(|fill| text(&format!("{TELLING}{}", "x".repeat(fill))))
            .find(|text| text.len() % 3 == 2)
            .expect("one of three")
    };
    let header = filled(&|x| Mint::header("ES256", json!({"x": x})));
    let payload = filled(&|x| mint.claims(json!({"x": x})));
    let (head, body) = (encoded(&header), encoded(&payload));
    let sign = |message: &[u8]| mint.sign("ES256", message);
    family.token("as it should be", encoded_token(&head, &body, sign), PASSES);
    let variants: Vec<(&str, Variant)> = vec![
        ("padded", |text| URL_SAFE.encode(text)),
        ("in the standard alphabet", |text| {
            STANDARD_NO_PAD.encode(text)
        }),
        ("in the standard alphabet, padded", |text| {
            STANDARD.encode(text)
        }),
        ("padded twice", |text| encoded(text) + "=="),
        ("with a pad in front", |text| format!("={}", encoded(text))),
        ("with a blank in it", |text| {
            encoded(text).replacen('J', "J ", 1)
        }),
        ("with a tab in it", |text| {
            encoded(text).replacen('J', "J\t", 1)
        }),
        ("with a percent escape", |text| {
            encoded(text).replacen('J', "%4A", 1)
        }),
        ("with a pad as an escape", |text| encoded(text) + "%3D"),
        ("with loose bits", |text| loosened(&encoded(text))),
        ("with a character more", |text| encoded(text) + "AA"),
        ("with a letter of another alphabet", |text| {
            encoded(text).replacen('J', "\u{408}", 1)
        }),
        ("with a byte that is no text", |text| {
            encoded(text).replacen('J', "\u{80}", 1)
        }),
        ("with a comma in it", |text| {
            encoded(text).replacen('J', "J,", 1)
        }),
        ("in hexadecimal", |text| super::bignum::hex(text.as_bytes())),
        ("encoded twice", |text| encoded(encoded(text))),
        ("not encoded", |text| text.replace(['.', ' '], "_")),
        ("with a dollar in it", |text| {
            encoded(text).replacen('J', "J$", 1)
        }),
    ];
    for (name, variant) in variants {
        let token = encoded_token(&variant(&header), &body, sign);
        family.token(format!("the header {name}"), token, MALFORMED);
        let token = encoded_token(&head, &variant(&payload), sign);
        family.token(format!("the payload {name}"), token, MALFORMED);
    }
    signatures(mint, &mut family);
    for (name, token) in [
        ("nothing but dots", ".."),
        ("an empty header", ".e30."),
        ("dots and blanks", ". ."),
        ("text", "token"),
    ] {
        family.token(name, token, MALFORMED);
    }
    let empty = encoded_token("", &body, sign);
    family.token("a header of nothing, signed", empty, MALFORMED);
    let empty = encoded_token(&head, "", sign);
    family.token("a payload of nothing, signed", empty, MALFORMED);
    family.into_cases()
}

fn signatures(mint: &Mint, family: &mut Family) {
    for algorithm in ["ES256", "RS256", "EdDSA"] {
        let good = mint.good(algorithm);
        let (message, signature) = split(&good);
        let text = encoded(&signature);
        let variants = [
            ("padded", format!("{text}=="), MALFORMED),
            ("with one pad", format!("{text}="), MALFORMED),
            ("with loose bits", loosened(&text), MALFORMED),
            (
                "with a character less",
                text[..text.len() - 1].to_owned(),
                MALFORMED,
            ),
            (
                "with a byte less",
                encoded(&signature[..signature.len() - 1]),
                SIGNATURE,
            ),
            ("with a pad alone", "=".to_owned(), MALFORMED),
            (
                "with a blank in it",
                format!("{} {}", &text[..9], &text[9..]),
                MALFORMED,
            ),
            ("with a percent escape", format!("{text}%3D%3D"), MALFORMED),
            ("with a plus in it", format!("+{}", &text[1..]), MALFORMED),
            ("with a slash in it", format!("/{}", &text[1..]), MALFORMED),
            ("with a comma after it", format!("{text},"), MALFORMED),
            ("with a semicolon after it", format!("{text};"), MALFORMED),
            ("encoded twice", encoded(&text), SIGNATURE),
            ("in quotes", format!("\"{text}\""), MALFORMED),
        ];
        for (name, signature, expected) in variants {
            let token = format!("{message}.{signature}");
            family.token(format!("the {algorithm} signature {name}"), token, expected);
        }
    }
}

/// The same bytes with bits set where none belong (RFC 4648 section 3.5).
fn loosened(text: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    assert_ne!(text.len() % 4, 0, "all bits of the last character are used");
    let (rest, last) = text.split_at(text.len() - 1);
    let value = ALPHABET
        .iter()
        .position(|character| last.as_bytes()[0] == *character);
    // Both remainders leave the lowest bits unused.
    let other = char::from(ALPHABET[value.expect("base64url") | 1]);
    assert_ne!(last, other.to_string(), "the bit was unset");
    format!("{rest}{other}")
}

/// One bit of a good token, everywhere that leaves it well-formed: only the signature is in the way.
fn bits(mint: &Mint) -> Vec<Case> {
    let mut family = Family::new("flipped bit");
    for algorithm in PUBLIC_ALGORITHMS.into_iter().chain(SECRET_ALGORITHMS) {
        let route = if SECRET_ALGORITHMS.contains(&algorithm) {
            "/secret"
        } else {
            "/main"
        };
        let good = mint.good(algorithm);
        let (message, signature) = split(&good);
        let header = Mint::header(algorithm, json!({}));
        let claims = mint.claims_for(algorithm);
        let of_header = header.replace("\"JWT\"", "\"JWU\"");
        let of_claims = claims.replace("user-1", "user-0");
        for (name, header, claims) in [
            ("header", &of_header, &claims),
            ("claims", &header, &of_claims),
        ] {
            let message = format!("{}.{}", encoded(header), encoded(claims));
            let token = joined(&message, &signature);
            let name = format!("{algorithm}: a bit of the {name}");
            family.token_for(route, name, token, SIGNATURE);
        }
        let last = signature.len() - 1;
        for (place, at, bit) in [
            ("first", 0, 0x80),
            ("ninth", 1, 0x80),
            ("middle", last / 2, 0x10),
            ("second half's first", last / 2 + 1, 0x80),
            ("last", last, 1),
        ] {
            let mut flipped = signature.clone();
            flipped[at] ^= bit;
            let name = format!("{algorithm}: the {place} bit of the signature");
            family.token_for(route, name, joined(message, flipped), SIGNATURE);
        }
    }
    let good = mint.good("ES256");
    let (message, signature) = split(&good);
    let (header, payload) = message.split_once('.').expect("two parts");
    let header_bytes = |at: usize| {
        let mut bytes = Mint::header("ES256", json!({})).into_bytes();
        bytes[at] ^= 1;
        encoded(bytes)
    };
    let broken: [(&str, String, Expected); 2] = [
        (
            "the bit that opens the header",
            format!("{}.{payload}", header_bytes(0)),
            MALFORMED,
        ),
        (
            "the bit that opens the claims",
            format!(
                "{header}.{}",
                encoded(mint.claims(json!({})).replacen('{', "z", 1))
            ),
            MALFORMED,
        ),
    ];
    for (name, message, expected) in broken {
        family.token(name, joined(&message, &signature), expected);
    }
    family.into_cases()
}

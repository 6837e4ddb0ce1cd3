//! JSON that parsers read in different ways, or not at all (RFC 8259, RFC 8725 section 2.6).

use serde_json::json;

use super::case::{AUDIENCE, Case, DUPLICATE, Expected, Family, ISSUER, MALFORMED, PASSES};
use super::mint::{Mint, encoded, encoded_token};

pub(super) fn cases(mint: &Mint) -> Vec<Case> {
    let mut family = Family::new("JSON");
    for (name, change, expected) in changes() {
        let header = change(Mint::header("ES256", json!({})).as_bytes());
        let token = mint.signed("ES256", header, mint.claims(json!({})));
        family.token(format!("header: {name}"), token, expected);
        let payload = change(mint.claims(json!({})).as_bytes());
        family.token(
            format!("payload: {name}"),
            mint.with_payload(payload),
            expected,
        );
    }
    let mut cases = family.into_cases();
    cases.extend(members(mint));
    cases
}

type Change = Box<dyn Fn(&[u8]) -> Vec<u8>>;

/// What can be done to any object; its texts are those of the members that are put first.
fn changes() -> Vec<(String, Change, Expected)> {
    let mut all: Vec<(String, Change, Expected)> = Vec::new();
    for (name, before, after) in AROUND {
        let change = move |object: &[u8]| [*before, object, *after].concat();
        all.push(((*name).to_owned(), Box::new(change), MALFORMED));
    }
    let values = [
        (UNREADABLE, MALFORMED),
        (READABLE, PASSES),
        (REPEATED, DUPLICATE),
    ];
    for (members, expected) in values {
        for (name, member) in members {
            let change =
                move |object: &[u8]| [&b"{"[..], *member, &b","[..], &object[1..]].concat();
            all.push(((*name).to_owned(), Box::new(change), expected));
        }
    }
    for (depth, expected) in [(100, PASSES), (200, MALFORMED), (700, MALFORMED)] {
        for (name, open, close) in [("arrays", "[", "]"), ("objects", "{\"a\":", "}")] {
            let end = if name == "objects" { "1" } else { "" };
            let nested = format!(
                "{{\"x\":{}{end}{},",
                open.repeat(depth),
                close.repeat(depth)
            );
            // An object of 700 levels would be larger than the provider allows.
            if nested.len() > 2000 {
                continue;
            }
            let change = move |object: &[u8]| [nested.as_bytes(), &object[1..]].concat();
            all.push((
                format!("{depth} {name} in each other"),
                Box::new(change),
                expected,
            ));
        }
    }
    for &(name, whole) in WHOLES {
        let change = move |object: &[u8]| whole(std::str::from_utf8(object).expect("text"));
        all.push((name.to_owned(), Box::new(change), MALFORMED));
    }
    for text in [
        "null", "true", "0", "\"text\"", "[]", "\"\"", "NaN", " ", "{", "}", "\u{0}",
    ] {
        let change = move |_: &[u8]| text.as_bytes().to_vec();
        all.push((format!("{text:?} alone"), Box::new(change), MALFORMED));
    }
    all
}

/// Makes another text of an object.
type Whole = fn(&str) -> Vec<u8>;

/// Ways to write an object that is none then.
const WHOLES: &[(&str, Whole)] = &[
    ("cut before its end", |text| {
        text.as_bytes()[..text.len() - 1].to_vec()
    }),
    ("without its beginning", |text| {
        text.as_bytes()[1..].to_vec()
    }),
    ("a comma at the end", |text| {
        text.replace('}', ",}").into_bytes()
    }),
    ("a comma at the start", |text| {
        text.replacen('{', "{,", 1).into_bytes()
    }),
    ("two commas", |text| {
        text.replacen(',', ",,", 1).into_bytes()
    }),
    ("no commas", |text| text.replace(',', " ").into_bytes()),
    ("equals signs for colons", |text| {
        text.replace("\":", "\"=").into_bytes()
    }),
    ("single quotes", |text| text.replace('"', "'").into_bytes()),
    ("names without quotes", |text| {
        text.replacen("\"alg\"", "alg", 1)
            .replacen("\"aud\"", "aud", 1)
            .into_bytes()
    }),
    ("in an array", |text| format!("[{text}]").into_bytes()),
    ("in a string", |text| json!(text).to_string().into_bytes()),
    ("UTF-16, big-endian", |text| {
        text.encode_utf16().flat_map(u16::to_be_bytes).collect()
    }),
    ("UTF-16, little-endian", |text| {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }),
    ("UTF-16 with a mark", |text| {
        let text = format!("\u{feff}{text}");
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }),
    ("UTF-32", |text| {
        text.chars()
            .flat_map(|c| u32::from(c).to_be_bytes())
            .collect()
    }),
    ("its last quote lost", |text| {
        let at = text.rfind('"').expect("a string");
        [&text.as_bytes()[..at], &text.as_bytes()[at + 1..]].concat()
    }),
    ("a colon lost", |text| {
        text.replacen(':', "", 1).into_bytes()
    }),
    ("as YAML", |text| {
        text.replace(['{', '}', '"'], "")
            .replace(',', "\n")
            .into_bytes()
    }),
    ("written twice", |text| text.repeat(2).into_bytes()),
];

/// Texts before and after an object.
const AROUND: &[(&str, &[u8], &[u8])] = &[
    ("a byte order mark before it", b"\xef\xbb\xbf", b""),
    ("a byte order mark after it", b"", b"\xef\xbb\xbf"),
    ("a letter after it", b"", b"x"),
    ("a NUL after it", b"", b"\0"),
    ("a brace after it", b"", b"}"),
    ("a comma after it", b"", b","),
    ("an empty object after it", b"", b"{}"),
    ("an object before it", b"{}", b""),
    ("a comment after it", b"", b"//x"),
    ("a comment before it", b"/*x*/", b""),
    ("a guard before it", b")]}',\n", b""),
    ("a no-break space before it", b"\xc2\xa0", b""),
    ("a vertical tab before it", b"\x0b", b""),
    ("a record separator before it", b"\x1e", b""),
];

/// First members that no parser may read.
const UNREADABLE: &[(&str, &[u8])] = &[
    ("NaN", b"\"x\":NaN"),
    ("Infinity", b"\"x\":Infinity"),
    ("-Infinity", b"\"x\":-Infinity"),
    ("undefined", b"\"x\":undefined"),
    ("True", b"\"x\":True"),
    ("nul", b"\"x\":nul"),
    ("no value", b"\"x\":"),
    ("no colon", b"\"x\""),
    ("a number as name", b"1:1"),
    ("null as name", b"null:1"),
    ("a leading zero", b"\"x\":01"),
    ("a plus", b"\"x\":+1"),
    ("two minuses", b"\"x\":--1"),
    ("a point in front", b"\"x\":.5"),
    ("a point at the end", b"\"x\":1."),
    ("an exponent of nothing", b"\"x\":1e"),
    ("hexadecimal", b"\"x\":0x10"),
    ("an underscore", b"\"x\":1_000"),
    ("1e400", b"\"x\":1e400"),
    ("-1e400", b"\"x\":-1e400"),
    ("an array not closed", b"\"x\":[1"),
    ("a comma at an array's end", b"\"x\":[1,]"),
    ("brackets mixed", b"\"x\":[1}"),
    ("a comment inside", b"/*x*/\"x\":1"),
    ("a line comment inside", b"//x\n\"x\":1"),
    ("single quotes inside", b"'x':1"),
    ("a newline in a string", b"\"x\":\"\n\""),
    ("a tab in a string", b"\"x\":\"\t\""),
    ("a NUL in a string", b"\"x\":\"\0\""),
    ("an escape \\x", b"\"x\":\"\\x41\""),
    ("an escape \\'", b"\"x\":\"\\'\""),
    ("an escape cut", b"\"x\":\"\\u12\""),
    ("a lone high surrogate", b"\"x\":\"\\ud800\""),
    ("a lone low surrogate", b"\"x\":\"\\udc00\""),
    ("surrogates in the wrong order", b"\"x\":\"\\udc00\\ud800\""),
    ("a lone surrogate in a name", b"\"\\ud800\":1"),
    ("invalid UTF-8", b"\"x\":\"\xff\""),
    ("invalid UTF-8 in a name", b"\"\xff\":1"),
    ("UTF-8 cut", b"\"x\":\"\xc3\""),
    ("overlong UTF-8", b"\"x\":\"\xc0\xaf\""),
    ("a surrogate in UTF-8", b"\"x\":\"\xed\xa0\x80\""),
    ("beyond Unicode", b"\"x\":\"\xf4\x90\x80\x80\""),
];

/// First members that are odd and good; both parts have a use for neither.
const READABLE: &[(&str, &[u8])] = &[
    ("1e300", b"\"x\":1e300"),
    (
        "a number of thirty digits",
        b"\"x\":123456789012345678901234567890",
    ),
    ("minus zero", b"\"x\":-0"),
    ("an exponent with a plus", b"\"x\":1E+2"),
    ("a number that is almost 0", b"\"x\":1e-400"),
    ("a NUL as an escape", b"\"x\":\"\\u0000\""),
    ("a pair of surrogates", b"\"x\":\"\\ud83d\\ude00\""),
    ("an escaped slash", b"\"x\":\"\\/\""),
    ("an empty name", b"\"\":1"),
    ("a name with a NUL", b"\"alg\\u0000\":\"none\""),
    ("names that differ in case", b"\"x\":1,\"X\":2"),
    (
        "names that differ in form",
        b"\"\xc3\xa9\":1,\"e\xcc\x81\":2",
    ),
    ("the same name at two depths", b"\"x\":{\"x\":{\"x\":1}}"),
];

/// First members of which a name comes twice.
const REPEATED: &[(&str, &[u8])] = &[
    ("a name twice", b"\"x\":1,\"x\":2"),
    ("a name twice with one value", b"\"x\":1,\"x\":1"),
    ("a name three times", b"\"x\":1,\"x\":2,\"x\":3"),
    ("a name twice, once escaped", b"\"x\":1,\"\\u0078\":2"),
    (
        "a name twice, escaped twice",
        b"\"\\u00e9\":1,\"\\u00E9\":2",
    ),
    ("a name twice in an object", b"\"y\":{\"x\":1,\"x\":2}"),
    (
        "a name twice in an array's object",
        b"\"y\":[0,{\"x\":1,\"x\":2}]",
    ),
    ("an empty name twice", b"\"\":1,\"\":2"),
    ("null, then a value", b"\"x\":null,\"x\":1"),
];

/// Members that matter.
#[expect(clippy::too_many_lines, reason = "a table")]
fn members(mint: &Mint) -> Vec<Case> {
    let mut family = Family::new("JSON members");
    let claims = mint.claims(json!({}));
    let header = Mint::header("ES256", json!({}));
    for (name, first) in [
        ("alg none before the good one", "\"alg\":\"none\""),
        (
            "alg none before the good one, escaped",
            "\"\\u0061lg\":\"none\"",
        ),
        ("kid before the good one", "\"kid\":\"stranger\""),
        ("typ before the good one", "\"typ\":\"at+jwt\""),
        ("alg null before the good one", "\"alg\":null"),
    ] {
        let header = header.replacen('{', &format!("{{{first},"), 1);
        family.token(name, mint.signed("ES256", header, &claims), DUPLICATE);
        let last = Mint::header("ES256", json!({})).replace('}', &format!(",{first}}}"));
        let name = name.replace("before", "after");
        family.token(name, mint.signed("ES256", last, &claims), DUPLICATE);
    }
    for first in [
        "\"iss\":\"https://evil.example/\"",
        "\"aud\":\"other\"",
        "\"exp\":4102444800",
        "\"nbf\":0",
        "\"iat\":0",
        "\"sub\":\"root\"",
        "\"\\u0073ub\":\"root\"",
        "\"sub\":null",
    ] {
        // `nbf` is no claim of a good token, so it comes twice by itself.
        let first = if first.contains("nbf") {
            "\"nbf\":0,\"nbf\":1"
        } else {
            first
        };
        let payload = claims.replacen('{', &format!("{{{first},"), 1);
        family.token(
            format!("{first} before the claims"),
            mint.with_payload(payload),
            DUPLICATE,
        );
        let payload = claims.replace('}', &format!(",{first}}}"));
        family.token(
            format!("{first} after the claims"),
            mint.with_payload(payload),
            DUPLICATE,
        );
    }
    for (name, payload, expected) in [
        (
            "claims with an escaped name",
            claims.replace("\"iss\"", "\"\\u0069ss\""),
            PASSES,
        ),
        (
            "claims with an escaped value",
            claims.replace("\"api\"", "\"\\u0061pi\""),
            PASSES,
        ),
        (
            "an issuer with escaped slashes",
            claims.replace('/', "\\/"),
            PASSES,
        ),
        (
            "an issuer under a name in capitals",
            claims.replace("\"iss\"", "\"ISS\""),
            ISSUER,
        ),
        (
            "a name with a NUL for the issuer",
            claims.replace("\"iss\"", "\"iss\\u0000\""),
            ISSUER,
        ),
        (
            "a name with a blank for the audience",
            claims.replace("\"aud\"", "\"aud \""),
            AUDIENCE,
        ),
        ("an empty object", "{}".to_owned(), ISSUER),
        (
            "claims one level down",
            format!("{{\"claims\":{claims}}}"),
            ISSUER,
        ),
    ] {
        family.token(name, mint.with_payload(payload), expected);
    }
    let sign = |message: &[u8]| mint.sign("ES256", message);
    family.token(
        "an empty header",
        mint.signed("ES256", "{}", &claims),
        MALFORMED,
    );
    let swapped = encoded_token(&encoded(&claims), &encoded(&header), sign);
    family.token("header and payload swapped", swapped, MALFORMED);
    let twice = encoded_token(&encoded(&header), &encoded(&header), sign);
    family.token("the header in the payload's place", twice, ISSUER);
    let both = Mint::header("ES256", serde_json::from_str(&claims).expect("claims"));
    family.token(
        "all claims in the header",
        mint.signed("ES256", &both, "{}"),
        ISSUER,
    );
    family.token("all in both", mint.signed("ES256", &both, &both), PASSES);
    family.into_cases()
}

//! Where and how a token comes: header lines, sizes, other places (RFC 6750 section 2, RFC 9110
//! section 11).

use serde_json::json;

use super::case::{
    Case, Family, HEAD_TOO_LARGE, HEADER, MALFORMED, MISSING, PASSES, REPEATED, TOO_LARGE,
};
use super::mint::Mint;

/// Bytes of a token, as the routes file of the attacks says.
const TOKEN_BYTES_MAX: usize = 4096;

pub(super) fn cases(mint: &Mint) -> Vec<Case> {
    let mut cases = header_lines(mint);
    cases.extend(other_places(mint));
    cases.extend(chosen_places(mint));
    cases.extend(sizes(mint));
    cases
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn header_lines(mint: &Mint) -> Vec<Case> {
    let mut family = Family::new("authorization header");
    let good = mint.good("ES256");
    let other = mint.good("EdDSA");
    family.lines("/main", "none", "", MISSING);
    for (name, value, expected) in [
        ("empty", String::new(), MISSING),
        ("blank", "   ".to_owned(), MISSING),
        ("Bearer alone", "Bearer".to_owned(), MISSING),
        ("Bearer and a blank", "Bearer ".to_owned(), MISSING),
        ("Bearer and blanks", "Bearer     ".to_owned(), MISSING),
        ("Bearer and a tab", "Bearer\t".to_owned(), MISSING),
        ("the token alone", good.clone(), MISSING),
        ("no blank", format!("Bearer{good}"), MISSING),
        ("a colon", format!("Bearer:{good}"), MISSING),
        ("a colon and a blank", format!("Bearer: {good}"), MISSING),
        ("an equals sign", format!("Bearer={good}"), MISSING),
        ("a comma", format!("Bearer,{good}"), MISSING),
        // RFC 9110 section 11.4: a space, not any blank.
        ("a tab", format!("Bearer\t{good}"), MISSING),
        ("small letters", format!("bearer {good}"), PASSES),
        ("capitals", format!("BEARER {good}"), PASSES),
        ("both", format!("bEaReR {good}"), PASSES),
        ("two blanks", format!("Bearer  {good}"), PASSES),
        ("a blank after it", format!("Bearer {good} "), PASSES),
        ("a tab after it", format!("Bearer {good}\t"), PASSES),
        ("blanks around", format!("  Bearer {good}  "), PASSES),
        ("Bearer twice", format!("Bearer Bearer {good}"), MALFORMED),
        (
            "another scheme before",
            format!("Basic Bearer {good}"),
            MISSING,
        ),
        (
            "quotes around the token",
            format!("Bearer \"{good}\""),
            MALFORMED,
        ),
        ("quotes around all", format!("\"Bearer {good}\""), MISSING),
        ("brackets", format!("Bearer <{good}>"), MALFORMED),
        ("a parameter", format!("Bearer token={good}"), MALFORMED),
        (
            "a parameter after it",
            format!("Bearer {good};a=b"),
            MALFORMED,
        ),
        ("a comma after it", format!("Bearer {good},"), MALFORMED),
        ("a comma before it", format!("Bearer ,{good}"), MALFORMED),
        // One line has one credential (RFC 6750 section 2.1): all after the scheme is the token.
        ("two tokens", format!("Bearer {good} {other}"), MALFORMED),
        (
            "one token twice",
            format!("Bearer {good} {good}"),
            MALFORMED,
        ),
        (
            "two tokens with a comma",
            format!("Bearer {good},{other}"),
            MALFORMED,
        ),
        (
            "two credentials",
            format!("Bearer {good}, Bearer {other}"),
            MALFORMED,
        ),
        ("Basic", "Basic dXNlcjpwYXNzd29yZA==".to_owned(), MISSING),
        ("a token as Basic", format!("Basic {good}"), MISSING),
        ("Digest", "Digest username=\"a\"".to_owned(), MISSING),
        ("DPoP", format!("DPoP {good}"), MISSING),
        ("Token", format!("Token {good}"), MISSING),
        ("JWT", format!("JWT {good}"), MISSING),
        ("Negotiate", "Negotiate YII=".to_owned(), MISSING),
        (
            "a letter of another alphabet",
            format!("B\u{435}arer {good}"),
            MISSING,
        ),
        ("a no-break space", format!("Bearer\u{a0}{good}"), MISSING),
        (
            "bytes that are no ASCII",
            format!("Bearer \u{e4}{good}"),
            MALFORMED,
        ),
        (
            "a mark before the token",
            format!("Bearer \u{feff}{good}"),
            MALFORMED,
        ),
    ] {
        let line = format!("authorization: {value}\r\n");
        family.lines("/main", name, line, expected);
    }
    for (name, value, expected) in [
        (
            "a byte of Latin-1",
            [b"Bearer \xe4", good.as_bytes()].concat(),
            MALFORMED,
        ),
        (
            "bytes that are no text",
            [good.as_bytes(), b"\xff\xfe"].concat(),
            MISSING,
        ),
        (
            "a token and bytes that are no text",
            [b"Bearer ", good.as_bytes(), b"\xff\xfe"].concat(),
            MALFORMED,
        ),
        (
            "a NUL in the token",
            [b"Bearer ", good.as_bytes(), b"\0"].concat(),
            HEADER,
        ),
        (
            "a bare CR in the token",
            [b"Bearer ", good.as_bytes(), b"\rx"].concat(),
            HEADER,
        ),
        (
            "a bare LF in the token",
            [b"Bearer ", good.as_bytes(), b"\nx: y"].concat(),
            HEADER,
        ),
        (
            "a delete in the token",
            [b"Bearer ", good.as_bytes(), b"\x7f"].concat(),
            HEADER,
        ),
        (
            "a token folded",
            [b"Bearer\r\n ", good.as_bytes()].concat(),
            HEADER,
        ),
    ] {
        let line = [b"authorization: ", &*value, b"\r\n"].concat();
        family.lines("/main", name, line, expected);
    }
    let credential = format!("Bearer {good}");
    for (name, lines, expected) in [
        (
            "two lines",
            format!("authorization: {credential}\r\nauthorization: Bearer {other}\r\n"),
            REPEATED,
        ),
        (
            "one line twice",
            format!("authorization: {credential}\r\nauthorization: {credential}\r\n"),
            REPEATED,
        ),
        (
            "two lines in other letters",
            format!("Authorization: {credential}\r\nAUTHORIZATION: {credential}\r\n"),
            REPEATED,
        ),
        (
            "Bearer and Basic",
            format!("authorization: {credential}\r\nauthorization: Basic eDp5\r\n"),
            REPEATED,
        ),
        (
            "Basic and Bearer",
            format!("authorization: Basic eDp5\r\nauthorization: {credential}\r\n"),
            REPEATED,
        ),
        (
            "a line and an empty one",
            format!("authorization: {credential}\r\nauthorization:\r\n"),
            REPEATED,
        ),
        (
            "an empty line and one",
            format!("authorization:\r\nauthorization: {credential}\r\n"),
            REPEATED,
        ),
        (
            "a blank before the colon",
            format!("authorization : {credential}\r\n"),
            HEADER,
        ),
        (
            "a blank before the name",
            format!(" authorization: {credential}\r\n"),
            HEADER,
        ),
        (
            "no blank after the colon",
            format!("authorization:{credential}\r\n"),
            PASSES,
        ),
        (
            "the name in capitals",
            format!("AUTHORIZATION: {credential}\r\n"),
            PASSES,
        ),
    ] {
        family.lines("/main", name, lines, expected);
    }
    family.into_cases()
}

/// Places where a token does not count, whatever it is worth.
fn other_places(mint: &Mint) -> Vec<Case> {
    let mut family = Family::new("other places");
    let good = mint.good("ES256");
    for name in [
        "proxy-authorization",
        "x-authorization",
        "x-forwarded-authorization",
        "x-access-token",
        "x-original-authorization",
        "x-id-token",
        "x-amzn-oidc-data",
        "authorization_",
        "x_authorization",
        "authorizatio",
        "authorization2",
        "www-authenticate",
        "sec-websocket-protocol",
        "x-api-key",
        "token",
        "jwt",
    ] {
        let line = format!("{name}: Bearer {good}\r\n");
        family.lines("/main", name, line, MISSING);
    }
    for (name, line) in [
        ("a cookie", format!("cookie: session={good}\r\n")),
        (
            "a cookie named authorization",
            format!("cookie: authorization=Bearer {good}\r\n"),
        ),
        (
            "a cookie named access_token",
            format!("cookie: access_token={good}\r\n"),
        ),
    ] {
        family.lines("/main", name, line, MISSING);
    }
    for (name, target) in [
        (
            "access_token in the query",
            format!("/main?access_token={good}"),
        ),
        ("token in the query", format!("/main?token={good}")),
        (
            "authorization in the query",
            format!("/main?authorization=Bearer%20{good}"),
        ),
        ("the path", format!("/main/{good}")),
        (
            "a parameter of the path",
            format!("/main/x;access_token={good}"),
        ),
    ] {
        family.lines(&target, name, "", MISSING);
    }
    let body = format!("access_token={good}");
    let length = body.len();
    family.request(
        "a form (RFC 6750 section 2.2)",
        format!(
            "POST /main HTTP/1.1\r\nhost: gateway.example\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {length}\r\n\r\n{body}"
        ),
        MISSING,
    );
    family.request(
        "the target's userinfo",
        format!("GET http://{good}@gateway.example/main HTTP/1.1\r\nhost: gateway.example\r\n\r\n"),
        super::case::Expected::Refused(400, "host_invalid"),
    );
    // A good token in its own place beside one elsewhere: elsewhere is not looked at.
    let both = format!("authorization: Bearer {good}\r\ncookie: session=x\r\n");
    family.lines(
        "/main?access_token=x",
        "a bad one beside a good one",
        both,
        PASSES,
    );
    family.into_cases()
}

/// A route whose provider names a cookie and a header beside `Authorization`.
#[expect(clippy::too_many_lines, reason = "a table")]
fn chosen_places(mint: &Mint) -> Vec<Case> {
    let mut family = Family::new("chosen places");
    let good = mint.good("ES256");
    let bad = mint.with_claims(json!({"exp": mint.now - 900}));
    let expired = super::case::EXPIRED;
    for (name, lines, expected) in [
        (
            "authorization",
            format!("authorization: Bearer {good}\r\n"),
            PASSES,
        ),
        ("the cookie", format!("cookie: session={good}\r\n"), PASSES),
        (
            "the cookie among others",
            format!("cookie: a=b; session={good}; c=d\r\n"),
            PASSES,
        ),
        (
            "the cookie in a second line",
            format!("cookie: a=b\r\ncookie: session={good}\r\n"),
            PASSES,
        ),
        ("the header", format!("x-id-token: {good}\r\n"), PASSES),
        (
            "the header in capitals",
            format!("X-ID-TOKEN: {good}\r\n"),
            PASSES,
        ),
        ("none of them", "cookie: a=b\r\n".to_owned(), MISSING),
        (
            "an empty cookie",
            "cookie: session=\r\n".to_owned(),
            MISSING,
        ),
        ("an empty header", "x-id-token:\r\n".to_owned(), MISSING),
        (
            "the cookie's name in capitals",
            format!("cookie: SESSION={good}\r\n"),
            MISSING,
        ),
        (
            "a cookie whose name ends so",
            format!("cookie: xsession={good}\r\n"),
            MISSING,
        ),
        (
            "a cookie whose name begins so",
            format!("cookie: session2={good}\r\n"),
            MISSING,
        ),
        (
            "the cookie's name in another's value",
            format!("cookie: a=session={good}\r\n"),
            MISSING,
        ),
        (
            "the cookie twice",
            format!("cookie: session={good}; session={bad}\r\n"),
            REPEATED,
        ),
        (
            "the cookie twice in two lines",
            format!("cookie: session={bad}\r\ncookie: session={good}\r\n"),
            REPEATED,
        ),
        (
            "the header twice",
            format!("x-id-token: {good}\r\nx-id-token: {bad}\r\n"),
            REPEATED,
        ),
        (
            "a bad one first, a good cookie",
            format!("authorization: Bearer {bad}\r\ncookie: session={good}\r\n"),
            expired,
        ),
        (
            "a good one first, a bad cookie",
            format!("cookie: session={bad}\r\nauthorization: Bearer {good}\r\n"),
            PASSES,
        ),
        (
            "a bad cookie, a good header",
            format!("x-id-token: {good}\r\ncookie: session={bad}\r\n"),
            expired,
        ),
        (
            "a good cookie, a bad header",
            format!("x-id-token: {bad}\r\ncookie: session={good}\r\n"),
            PASSES,
        ),
        (
            "another scheme and a good cookie",
            format!("authorization: Basic eDp5\r\ncookie: session={good}\r\n"),
            PASSES,
        ),
        (
            "two credentials and a good cookie",
            format!(
                "authorization: Bearer {good}\r\nauthorization: Bearer {good}\r\ncookie: session={good}\r\n"
            ),
            REPEATED,
        ),
    ] {
        family.lines("/carried", name, lines, expected);
    }
    family.lines(
        &format!("/carried?session={good}"),
        "the cookie's name in the query",
        "",
        MISSING,
    );
    family.into_cases()
}

fn sizes(mint: &Mint) -> Vec<Case> {
    let mut family = Family::new("size");
    for (name, length, expected) in [
        ("a byte below the limit", TOKEN_BYTES_MAX - 1, PASSES),
        ("at the limit", TOKEN_BYTES_MAX, PASSES),
        ("a byte above the limit", TOKEN_BYTES_MAX + 1, TOO_LARGE),
        ("twice the limit", 2 * TOKEN_BYTES_MAX, TOO_LARGE),
        ("15 times the limit", 15 * TOKEN_BYTES_MAX, TOO_LARGE),
        (
            "larger than a head may be",
            17 * TOKEN_BYTES_MAX,
            HEAD_TOO_LARGE,
        ),
    ] {
        family.token(name, of_length(mint, length), expected);
    }
    for (name, token) in [
        (
            "no token, a byte above the limit",
            "x".repeat(TOKEN_BYTES_MAX + 1),
        ),
        (
            "dots, a byte above the limit",
            ".".repeat(TOKEN_BYTES_MAX + 1),
        ),
        (
            "a good token and blanks beyond the limit",
            format!("{}{}", mint.good("ES256"), "=".repeat(TOKEN_BYTES_MAX)),
        ),
    ] {
        family.token(name, token, TOO_LARGE);
    }
    let blanks = " ".repeat(TOKEN_BYTES_MAX);
    // Blanks are no part of the token.
    family.token(
        "a good token before 4,096 blanks",
        mint.good("ES256") + &blanks,
        PASSES,
    );
    for (name, token, expected) in [
        ("one byte", "x".to_owned(), MALFORMED),
        ("one dot", ".".to_owned(), MALFORMED),
        ("two dots", "..".to_owned(), MALFORMED),
        (
            "at the limit and no token",
            "x".repeat(TOKEN_BYTES_MAX),
            MALFORMED,
        ),
    ] {
        family.token(name, token, expected);
    }
    family.into_cases()
}

/// A good token of exactly this many bytes.
fn of_length(mint: &Mint, length: usize) -> String {
    // Base64 cannot have every length, so two parts grow.
    let found = (0..4).find_map(|header_fill| {
        let token = |fill: usize| {
            let header = Mint::header("ES256", json!({"x": "x".repeat(header_fill)}));
            let payload = mint.claims(json!({"x": "x".repeat(fill)}));
            mint.signed("ES256", header, payload)
        };
        let missing = length.checked_sub(token(0).len())?;
        let estimate = missing * 3 / 4;
        (estimate.saturating_sub(3)..estimate + 4)
            .map(token)
            .find(|token| token.len() == length)
    });
    found.unwrap_or_else(|| panic!("no token of {length} bytes"))
}

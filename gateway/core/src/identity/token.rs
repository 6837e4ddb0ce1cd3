//! One token up to its signature, in the compact form (RFC 7515 section 7.1).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use crate::words::time::UnixSeconds;

/// The token's `typ`: no token of an identity provider has it, so that neither can stand in for
/// the other (RFC 8725 section 3.11).
pub const TYPE: &str = "gateway+jwt";
/// The token's `alg`.
pub const ALGORITHM: &str = "ES256";
/// Bytes of a signature (RFC 7518 section 3.4).
const SIGNATURE_BYTES: usize = 64;
/// Characters of the dot and the signature that are still to come.
const ROOM: usize = 1 + (SIGNATURE_BYTES * 8).div_ceil(6);

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    kid: &'a str,
    typ: &'static str,
}

/// What a token says, in the words of RFC 7519 section 4.1 and RFC 8693 section 4.2.
#[derive(Clone, Debug, Serialize)]
pub struct Claims<'a> {
    /// The gateway.
    pub iss: &'a str,
    /// The upstream.
    pub aud: &'a str,
    /// The caller, where the route asks who it is and the credential names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<&'a str>,
    /// The same caller with the issuer that knows it by this name: of two issuers, each may have
    /// an `ann` (RFC 9493 section 3.2.3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_id: Option<SubjectId<'a>>,
    /// The caller's scopes, divided by spaces; left out when there are none.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub scope: &'a str,
    /// Now.
    pub iat: UnixSeconds,
    /// The second from which the token holds no more.
    pub exp: UnixSeconds,
    /// The request's id.
    pub jti: &'a str,
}

/// A subject of a token's issuer.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(tag = "format", rename = "iss_sub")]
pub struct SubjectId<'a> {
    /// The issuer.
    pub iss: &'a str,
    /// Its subject.
    pub sub: &'a str,
}

/// The first part of every token of one key, in base64url.
#[must_use]
pub fn header(key_id: &str) -> Box<str> {
    let header = Header {
        alg: ALGORITHM,
        kid: key_id,
        typ: TYPE,
    };
    URL_SAFE_NO_PAD.encode(to_json(&header)).into()
}

impl Claims<'_> {
    /// What is signed: `header`, a dot, the claims. There is room for the signature behind it.
    #[must_use]
    pub fn message(&self, header: &str) -> String {
        let json = to_json(self);
        let length = header.len() + 1 + (json.len() * 8).div_ceil(6);
        let mut message = String::with_capacity(length + ROOM);
        message.push_str(header);
        message.push('.');
        URL_SAFE_NO_PAD.encode_string(&json, &mut message);
        message
    }
}

/// The whole token, of what was signed and its signature.
#[must_use]
pub fn complete(mut message: String, signature: &[u8]) -> String {
    message.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut message);
    message
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("text and numbers become JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLAIMS: Claims<'_> = Claims {
        iss: "gateway",
        aud: "users",
        sub: Some("ann \"x\" ü\n"),
        sub_id: Some(SubjectId {
            iss: "https://issuer.example/",
            sub: "ann",
        }),
        scope: "users:read users:write",
        iat: 1_700_000_000,
        exp: 1_700_000_060,
        jti: "r-1",
    };

    fn decoded(part: &str) -> String {
        String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    }

    #[test]
    fn a_token_says_who_calls_whom_and_what_was_signed_is_its_beginning() {
        let header = header("key-1");
        assert_eq!(
            decoded(&header),
            r#"{"alg":"ES256","kid":"key-1","typ":"gateway+jwt"}"#
        );
        let message = CLAIMS.message(&header);
        let (first, claims) = message.split_once('.').unwrap();
        assert_eq!(first, &*header);
        assert_eq!(
            decoded(claims),
            r#"{"iss":"gateway","aud":"users","sub":"ann \"x\" ü\n","sub_id":{"format":"iss_sub","iss":"https://issuer.example/","sub":"ann"},"scope":"users:read users:write","iat":1700000000,"exp":1700000060,"jti":"r-1"}"#
        );
        let token = complete(message.clone(), &[0xff; SIGNATURE_BYTES]);
        assert_eq!(token.strip_prefix(&message).unwrap().len(), ROOM);
    }

    #[test]
    fn what_is_not_known_of_the_caller_is_left_out() {
        let open = Claims {
            sub: None,
            sub_id: None,
            scope: "",
            ..CLAIMS
        };
        let message = open.message("h");
        assert_eq!(
            decoded(message.strip_prefix("h.").unwrap()),
            r#"{"iss":"gateway","aud":"users","iat":1700000000,"exp":1700000060,"jti":"r-1"}"#
        );
    }

    #[test]
    fn the_signature_finds_room() {
        for subject in ["", "a", "ab", "abc", "abcd"] {
            let claims = Claims {
                sub: Some(subject),
                ..CLAIMS
            };
            let message = claims.message(&header("k"));
            let capacity = message.capacity();
            let token = complete(message, &[0; SIGNATURE_BYTES]);
            assert_eq!(token.capacity(), capacity, "{subject}");
        }
    }
}

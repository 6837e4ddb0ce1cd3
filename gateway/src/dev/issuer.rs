//! The development issuer: its keys, the tokens it mints, and the JWKS it serves.
//!
//! For this machine only. Its keys never leave the data directory, and
//! `gateway run` knows nothing of them.

mod keys;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{CACHE_CONTROL, HeaderValue};
use http::{Method, StatusCode};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, Header};
use serde::Serialize;
use serde_json::json;

pub use keys::KeysError;

use self::keys::{Keys, SigningKey};
use super::loopback::{Answer, Loopback, text, with_body};

/// `iss` of every token; a name, not an address, so that no port is part of it.
pub const ISSUER: &str = "https://dev.gateway.local/";
/// `aud` unless something else is asked for.
pub const DEFAULT_AUDIENCE: &str = "api";
/// `sub` unless something else is asked for.
pub const DEFAULT_SUBJECT: &str = "dev-user";
/// `scope` unless something else is asked for.
pub const DEFAULT_SCOPE: &str = "users:read products:read";
/// Life of a token unless something else is asked for.
pub const DEFAULT_TTL: Duration = Duration::from_hours(1);
/// Shortest life of a token.
pub const MIN_TTL: Duration = Duration::from_secs(1);
/// Longest life of a token.
pub const MAX_TTL: Duration = Duration::from_hours(24);
/// Longest subject, scope or audience, in bytes.
const MAX_CLAIM_BYTES: usize = 1_024;
/// Most audiences of one token.
const MAX_AUDIENCES: usize = 8;
const JWKS_PATH: &str = "/.well-known/jwks.json";
const METADATA_PATH: &str = "/.well-known/openid-configuration";

/// What signs a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum SigningAlgorithm {
    /// RSA, 2048 bits, SHA-256; what most issuers use.
    #[default]
    Rs256,
    /// ECDSA on P-256, SHA-256.
    Es256,
}

/// What a token says.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// `sub`: 1 to 1,024 bytes without control characters.
    pub subject: String,
    /// `scope`: words divided by single spaces (RFC 6749, section 3.3); empty leaves the claim out.
    pub scope: String,
    /// `aud`: 1 to 8 of them.
    pub audiences: Vec<String>,
    /// 1 s to 24 h.
    pub ttl: Duration,
    /// Default RS256.
    pub algorithm: SigningAlgorithm,
}

impl Default for TokenRequest {
    fn default() -> Self {
        Self {
            subject: DEFAULT_SUBJECT.to_owned(),
            scope: DEFAULT_SCOPE.to_owned(),
            audiences: vec![DEFAULT_AUDIENCE.to_owned()],
            ttl: DEFAULT_TTL,
            algorithm: SigningAlgorithm::default(),
        }
    }
}

impl TokenRequest {
    /// Whether everything is within its bounds.
    pub(super) fn check(&self) -> Result<(), MintError> {
        if !(MIN_TTL..=MAX_TTL).contains(&self.ttl) {
            return Err(MintError::Ttl(self.ttl));
        }
        if !is_text(&self.subject) {
            return Err(MintError::Text("subject"));
        }
        if !(1..=MAX_AUDIENCES).contains(&self.audiences.len()) {
            return Err(MintError::Audiences(self.audiences.len()));
        }
        if !self.audiences.iter().all(|audience| is_text(audience)) {
            return Err(MintError::Text("audience"));
        }
        let is_scope = self.scope.is_empty() || self.scope.split(' ').all(is_scope_word);
        if !is_scope || self.scope.len() > MAX_CLAIM_BYTES {
            return Err(MintError::Scope(self.scope.clone()));
        }
        Ok(())
    }
}

/// Why no token was minted.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// `ttl` is out of bounds.
    #[error("a token lives for 1s to 24h, not {}", humantime::format_duration(*.0))]
    Ttl(Duration),
    /// `scope` is not a list of scope words.
    #[error(
        "the scope `{0}` must be words of visible ASCII without \" and \\, divided by single spaces"
    )]
    Scope(String),
    /// A subject or an audience is empty, too long, or has control characters.
    #[error("the {0} must be 1 to {MAX_CLAIM_BYTES} bytes without control characters")]
    Text(&'static str),
    /// Too few or too many audiences.
    #[error("a token has 1 to {MAX_AUDIENCES} audiences, not {0}")]
    Audiences(usize),
    /// The machine's clock stands before 1970.
    #[error("the clock stands before 1970; set it")]
    Clock,
    /// The key refused to sign.
    #[error("the development key cannot sign")]
    Sign(#[source] jsonwebtoken::errors::Error),
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: Audience<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    scope: &'a str,
    iat: u64,
    nbf: u64,
    exp: u64,
    jti: String,
}

/// One audience is a string, several are an array (RFC 7519, section 4.1.3).
#[derive(Serialize)]
#[serde(untagged)]
enum Audience<'a> {
    One(&'a str),
    Several(&'a [String]),
}

/// The development issuer.
#[derive(Debug)]
pub struct Issuer {
    keys: Keys,
}

impl Issuer {
    /// Reads the keys in `directory`, and makes what is missing.
    ///
    /// The directory has mode 0700, each file 0600.
    ///
    /// # Errors
    /// When the files cannot be used, or others could read them.
    pub fn open(directory: &Path) -> Result<Self, KeysError> {
        Keys::load_or_create(directory).map(|keys| Self { keys })
    }

    /// A signed token that is valid from `now` on.
    ///
    /// # Errors
    /// When `request` is out of its bounds.
    pub fn mint(&self, request: &TokenRequest, now: SystemTime) -> Result<String, MintError> {
        request.check()?;
        let now = now
            .duration_since(UNIX_EPOCH)
            .map_err(|_| MintError::Clock)?
            .as_secs();
        let claims = Claims {
            iss: ISSUER,
            sub: &request.subject,
            aud: match &*request.audiences {
                [one] => Audience::One(one),
                several => Audience::Several(several),
            },
            scope: &request.scope,
            iat: now,
            nbf: now,
            exp: now + request.ttl.as_secs(),
            jti: format!("{:032x}", fastrand::u128(..)),
        };
        let (algorithm, key) = match request.algorithm {
            SigningAlgorithm::Rs256 => (Algorithm::RS256, &self.keys.rs256),
            SigningAlgorithm::Es256 => (Algorithm::ES256, &self.keys.es256),
        };
        let mut header = Header::new(algorithm);
        header.kid.clone_from(&key.public.common.key_id);
        jsonwebtoken::encode(&header, &claims, &key.private).map_err(MintError::Sign)
    }

    /// The public keys.
    #[must_use]
    pub fn jwks(&self) -> JwkSet {
        let public = |key: &SigningKey| key.public.clone();
        JwkSet {
            keys: vec![public(&self.keys.rs256), public(&self.keys.es256)],
        }
    }

    /// Serves the public keys and the issuer's metadata on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn serve(&self) -> io::Result<IssuerServer> {
        let jwks = json!(self.jwks()).to_string();
        let server = Loopback::start(move |call| {
            if call.method != Method::GET {
                return text(StatusCode::METHOD_NOT_ALLOWED, "GET only");
            }
            match call.path.as_str() {
                JWKS_PATH => document(jwks.clone()),
                METADATA_PATH => match call.headers.get(http::header::HOST) {
                    Some(host) => document(metadata(&String::from_utf8_lossy(host.as_bytes()))),
                    None => text(StatusCode::BAD_REQUEST, "no host"),
                },
                _ => text(StatusCode::NOT_FOUND, "nothing here"),
            }
        })
        .await?;
        Ok(IssuerServer { server })
    }
}

/// A running issuer; dropping it ends it.
#[derive(Debug)]
pub struct IssuerServer {
    server: Loopback,
}

impl IssuerServer {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// What a routes file's `jwks_uri` says.
    #[must_use]
    pub fn jwks_uri(&self) -> String {
        format!("http://{}{JWKS_PATH}", self.address())
    }
}

fn document(body: String) -> Answer {
    let mut answer = with_body(StatusCode::OK, "application/json", body);
    answer
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
    answer
}

/// `OpenID` Connect Discovery 1.0, section 3.
///
/// The issuer's name is fixed, so it differs from the address that serves this.
fn metadata(host: &str) -> String {
    json!({
        "issuer": ISSUER,
        "jwks_uri": format!("http://{host}{JWKS_PATH}"),
        "response_types_supported": ["token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256", "ES256"],
    })
    .to_string()
}

fn is_text(claim: &str) -> bool {
    (1..=MAX_CLAIM_BYTES).contains(&claim.len()) && !claim.chars().any(char::is_control)
}

/// A `scope-token` of RFC 6749, section 3.3.
fn is_scope_word(word: &str) -> bool {
    let is_scope_byte = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    !word.is_empty() && word.bytes().all(is_scope_byte)
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation};
    use serde_json::Value;

    use super::*;

    fn issuer() -> (tempfile::TempDir, Issuer) {
        let home = tempfile::tempdir().unwrap();
        let issuer = Issuer::open(&home.path().join("keys")).unwrap();
        (home, issuer)
    }

    /// The claims, checked by the library against the published key that the token names.
    fn verified(jwks: &JwkSet, token: &str) -> Value {
        let header = jsonwebtoken::decode_header(token).unwrap();
        let key = jwks.find(&header.kid.unwrap()).unwrap();
        assert_eq!(
            key.common
                .key_algorithm
                .map(|algorithm| algorithm.to_string()),
            Some(format!("{:?}", header.alg))
        );
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[DEFAULT_AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        validation.validate_nbf = true;
        let key = DecodingKey::from_jwk(key).unwrap();
        jsonwebtoken::decode(token, &key, &validation)
            .unwrap()
            .claims
    }

    #[test]
    fn tokens_of_both_algorithms_verify_with_the_published_keys() {
        let (_home, issuer) = issuer();
        for algorithm in [SigningAlgorithm::Rs256, SigningAlgorithm::Es256] {
            let request = TokenRequest {
                algorithm,
                ..TokenRequest::default()
            };
            let token = issuer.mint(&request, SystemTime::now()).unwrap();
            let claims = verified(&issuer.jwks(), &token);
            assert_eq!(claims["sub"], DEFAULT_SUBJECT);
            assert_eq!(claims["scope"], DEFAULT_SCOPE);
            assert_eq!(claims["aud"], DEFAULT_AUDIENCE);
            assert_eq!(claims["nbf"], claims["iat"]);
            let life = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
            assert_eq!(life, DEFAULT_TTL.as_secs());
        }
    }

    #[test]
    fn no_two_tokens_share_an_id() {
        let (_home, issuer) = issuer();
        let now = SystemTime::now();
        let id = || {
            let token = issuer.mint(&TokenRequest::default(), now).unwrap();
            verified(&issuer.jwks(), &token)["jti"].clone()
        };
        assert_ne!(id(), id());
    }

    #[test]
    fn several_audiences_are_an_array_and_no_scope_is_no_claim() {
        let (_home, issuer) = issuer();
        let request = TokenRequest {
            audiences: vec!["api".to_owned(), "other".to_owned()],
            scope: String::new(),
            ..TokenRequest::default()
        };
        let token = issuer.mint(&request, SystemTime::now()).unwrap();
        let claims = verified(&issuer.jwks(), &token);
        assert_eq!(claims["aud"], json!(["api", "other"]));
        assert_eq!(claims.get("scope"), None);
    }

    #[test]
    fn requests_out_of_bounds_are_refused() {
        let (_home, issuer) = issuer();
        let check = |request: TokenRequest, expected: &str| {
            let error = issuer.mint(&request, SystemTime::now()).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        };
        let request = TokenRequest::default;
        let many = vec!["a".to_owned(); MAX_AUDIENCES + 1];
        check(
            TokenRequest {
                ttl: Duration::ZERO,
                ..request()
            },
            "not 0s",
        );
        check(
            TokenRequest {
                ttl: MAX_TTL + MIN_TTL,
                ..request()
            },
            "not 1day 1s",
        );
        check(
            TokenRequest {
                subject: String::new(),
                ..request()
            },
            "subject",
        );
        check(
            TokenRequest {
                subject: "a\nb".to_owned(),
                ..request()
            },
            "subject",
        );
        check(
            TokenRequest {
                audiences: vec![],
                ..request()
            },
            "audiences, not 0",
        );
        check(
            TokenRequest {
                audiences: many,
                ..request()
            },
            "audiences, not 9",
        );
        check(
            TokenRequest {
                audiences: vec![String::new()],
                ..request()
            },
            "audience",
        );
        for scope in ["a  b", " a", "a\"", "a\\", "a\tb", "ä"] {
            check(
                TokenRequest {
                    scope: scope.to_owned(),
                    ..request()
                },
                "scope",
            );
        }
        let before = issuer.mint(&request(), UNIX_EPOCH - Duration::from_secs(1));
        assert!(matches!(before, Err(MintError::Clock)));
    }

    #[tokio::test]
    async fn the_server_publishes_public_keys_and_nothing_private() {
        let (_home, issuer) = issuer();
        let server = issuer.serve().await.unwrap();
        let get = |url: String| async move {
            let answer = reqwest::get(url).await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        };
        let (status, body) = get(server.jwks_uri()).await;
        assert_eq!(status, 200);
        let jwks: JwkSet = serde_json::from_str(&body).unwrap();
        assert_eq!(jwks, issuer.jwks());
        let raw: Value = serde_json::from_str(&body).unwrap();
        for key in raw["keys"].as_array().unwrap() {
            for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
                assert_eq!(key.get(private), None, "{private}");
            }
        }
        let base = format!("http://{}", server.address());
        let (status, body) = get(format!("{base}{METADATA_PATH}")).await;
        assert_eq!(status, 200);
        let metadata: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(metadata["issuer"], ISSUER);
        assert_eq!(metadata["jwks_uri"], server.jwks_uri());
        assert_eq!(get(format!("{base}/keys")).await.0, 404);
    }
}

//! Tokens made for one load, so that each request may come from another caller.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Map, Value};

use crate::cli::{MintAlgorithm, MintArgs};

/// Longer than any load, in seconds.
const LIFETIME_SECONDS: u64 = 24 * 60 * 60;

/// So many tokens as asked for, each with a `jti` of its own; none without a key.
///
/// # Errors
/// When the key or the claims are not what they should be.
pub(super) fn tokens(arguments: &MintArgs) -> anyhow::Result<Vec<String>> {
    let Some(path) = &arguments.key else {
        return Ok(Vec::new());
    };
    let pem =
        fs::read(path).with_context(|| format!("cannot read the key in `{}`", path.display()))?;
    let (algorithm, key) = match arguments.algorithm {
        MintAlgorithm::Rs256 => (Algorithm::RS256, EncodingKey::from_rsa_pem(&pem)),
        MintAlgorithm::Es256 => (Algorithm::ES256, EncodingKey::from_ec_pem(&pem)),
    };
    let key = key.with_context(|| {
        let path = path.display();
        format!(
            "`{path}` is no private key for {algorithm:?} as PEM (PKCS#8); see --mint-algorithm"
        )
    })?;
    let claims: Value =
        serde_json::from_str(&arguments.claims).context("--mint-claims is not JSON")?;
    let Value::Object(claims) = claims else {
        bail!("--mint-claims must be a JSON object, such as {{\"sub\": \"user-1\"}}");
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .context("the clock stands before 1970")?
        .as_secs();
    let mut header = Header::new(algorithm);
    header.kid.clone_from(&arguments.kid);
    (0..arguments.count)
        .map(|number| {
            let claims = complete(claims.clone(), now, number);
            encode(&header, &claims, &key).context("cannot sign a token")
        })
        .collect()
}

/// The claims as given, with those that every token needs where they are not given.
fn complete(mut claims: Map<String, Value>, now: u64, number: u32) -> Map<String, Value> {
    for (name, value) in [
        ("iat", now.into()),
        ("exp", (now + LIFETIME_SECONDS).into()),
        ("jti", number.to_string().into()),
    ] {
        claims.entry(name).or_insert(value);
    }
    claims
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    use super::*;

    fn arguments(key: &Path, algorithm: MintAlgorithm, claims: &str) -> MintArgs {
        MintArgs {
            key: Some(key.to_owned()),
            algorithm,
            claims: claims.to_owned(),
            kid: Some("key-1".to_owned()),
            count: 3,
        }
    }

    #[test]
    fn tokens_have_the_claims_given_and_differ() {
        let directory = tempfile::tempdir().unwrap();
        let path = &directory.path().join("key.pem");
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key = STANDARD.encode(key.as_ref());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n");
        fs::write(path, pem).unwrap();

        let made = tokens(&arguments(
            path,
            MintAlgorithm::Es256,
            r#"{"sub":"a","exp":7}"#,
        ));
        let made = made.unwrap();
        assert_eq!(made.len(), 3);
        let part = |token: &str, nth| -> Value {
            let part = token.split('.').nth(nth).unwrap();
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
        };
        for (number, token) in (0..).zip(&made) {
            let (header, claims) = (part(token, 0), part(token, 1));
            assert_eq!(
                (&header["alg"], &header["kid"]),
                (&"ES256".into(), &"key-1".into())
            );
            assert_eq!((&claims["sub"], &claims["exp"]), (&"a".into(), &7.into()));
            assert_eq!(claims["jti"], u32::to_string(&number));
        }

        for (algorithm, claims, expected) in [
            (MintAlgorithm::Rs256, "{}", "no private key for RS256"),
            (MintAlgorithm::Es256, "[]", "must be a JSON object"),
            (MintAlgorithm::Es256, "sub=a", "is not JSON"),
        ] {
            let error = tokens(&arguments(path, algorithm, claims)).unwrap_err();
            assert!(format!("{error:#}").contains(expected), "{error:#}");
        }
    }
}

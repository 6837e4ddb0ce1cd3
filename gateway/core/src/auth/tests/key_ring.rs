//! Which entries of a JWK set become keys, and when a ring counts as changed.

use std::fmt::Write as _;

use expect_test::expect;

use super::super::keys::{KEYS_MAX, KeyRingError};
use super::*;

/// The reason for which an entry alone is left out, or `taken`.
fn fate(entry: &Value) -> String {
    let document = json!({ "keys": [entry] }).to_string();
    match KeyRing::from_jwk_set(document.as_bytes()) {
        Ok(ring) => {
            assert_eq!((ring.keys().len(), ring.ignored.len()), (1, 0));
            "taken".into()
        }
        Err(KeyRingError::Empty(ignored)) => ignored.join("; "),
        Err(error) => panic!("{error}"),
    }
}

/// One line for each entry: what was changed in a good key, and what became of it.
fn fates(key: &Signer, changes: &[Value]) -> String {
    changes.iter().fold(String::new(), |mut report, change| {
        writeln!(report, "{change} {}", fate(&key.jwk(change))).unwrap();
        report
    })
}

#[test]
fn a_key_that_is_not_for_verifying_is_left_out_with_a_reason() {
    let changes = [
        json!({}),
        json!({"use": "sig"}),
        json!({"use": "enc"}),
        json!({"use": "SIG"}),
        json!({"use": null}),
        json!({"key_ops": ["sign", "verify"]}),
        json!({"key_ops": ["sign"]}),
        json!({"key_ops": []}),
        json!({"key_ops": "verify"}),
        json!({"alg": "PS384"}),
        json!({"alg": "ES256"}),
        json!({"alg": "HS256"}),
        json!({"alg": "RSA-OAEP"}),
        json!({"alg": "none"}),
        json!({"kid": 1}),
        json!({"kid": null}),
        json!({"d": "AAAA"}),
        json!({"x5c": ["AAAA"], "x5t": "AAAA", "x5t#S256": "AAAA"}),
        json!({"kty": null}),
        json!({"kty": "AKP"}),
        json!({"kty": "rsa"}),
        json!({"kty": "EC"}),
        json!({"kty": "oct", "k": "AAAA"}),
        json!({"n": null}),
        json!({"e": 65537}),
    ];
    expect![[r#"
        {} taken
        {"use":"sig"} taken
        {"use":"enc"} keys[0]: its use is not `sig`
        {"use":"SIG"} keys[0]: its use is not `sig`
        {"use":null} taken
        {"key_ops":["sign","verify"]} taken
        {"key_ops":["sign"]} keys[0]: its operations lack `verify`
        {"key_ops":[]} keys[0]: its operations lack `verify`
        {"key_ops":"verify"} keys[0]: invalid type: string "verify", expected a sequence
        {"alg":"PS384"} taken
        {"alg":"ES256"} keys[0]: its algorithm `ES256` does not fit it
        {"alg":"HS256"} keys[0]: its algorithm `HS256` does not fit it
        {"alg":"RSA-OAEP"} keys[0]: its algorithm `RSA-OAEP` is not supported
        {"alg":"none"} keys[0]: its algorithm `none` is not supported
        {"kid":1} keys[0]: invalid type: integer `1`, expected a string
        {"kid":null} taken
        {"d":"AAAA"} keys[0]: it shows its private half (`d`), so anybody could sign
        {"x5c":["AAAA"],"x5t":"AAAA","x5t#S256":"AAAA"} taken
        {"kty":null} keys[0]: it has no key type (`kty`)
        {"kty":"AKP"} keys[0]: its key type `AKP` is not supported
        {"kty":"rsa"} keys[0]: its key type `rsa` is not supported
        {"kty":"EC"} keys[0]: its `crv` is missing, or is not text
        {"k":"AAAA","kty":"oct"} keys[0]: a symmetric key in a public set
        {"n":null} keys[0]: its `n` is missing, or is not text
        {"e":65537} keys[0]: its `e` is missing, or is not text
    "#]]
    .assert_eq(&fates(&SIGNERS.rsa, &changes));
    let not_an_object = fate(&json!("key"));
    assert!(not_an_object.contains("invalid type"), "{not_an_object}");
}

#[test]
fn an_rsa_key_has_2048_to_8192_bits_and_an_odd_exponent() {
    let rsa = &SIGNERS.rsa;
    let modulus = rsa.public["n"].as_str().unwrap();
    let modulus = URL_SAFE_NO_PAD.decode(modulus).unwrap();
    let moduli = [
        ("2048 bits", modulus.clone()),
        ("2048 bits after zeros", [&[0, 0], &modulus[..]].concat()),
        ("2047 bits", [&[0x7f], &modulus[1..]].concat()),
        ("1024 bits", [&[0xff], &modulus[129..]].concat()),
        ("zeros", vec![0; 256]),
        ("nothing", Vec::new()),
        ("8192 bits", modulus.repeat(4)),
        ("16384 bits", modulus.repeat(8)),
    ];
    let exponents = [&[1, 0, 1][..], &[3], &[1], &[1, 0, 0], &[], &[0, 0, 3]];
    let long = [&[1, 0, 0, 0, 1][..], &[2, 0, 0, 0, 1]];
    let mut report = String::new();
    for (what, modulus) in moduli {
        let key = rsa.jwk(&json!({"n": base64url(modulus)}));
        writeln!(report, "{what}: {}", fate(&key)).unwrap();
    }
    for exponent in exponents.into_iter().chain(long) {
        let key = rsa.jwk(&json!({"e": base64url(exponent)}));
        writeln!(report, "{exponent:?}: {}", fate(&key)).unwrap();
    }
    let padded = format!("{}==", base64url(modulus));
    writeln!(report, "padded: {}", fate(&rsa.jwk(&json!({"n": padded})))).unwrap();
    expect![[r"
        2048 bits: taken
        2048 bits after zeros: taken
        2047 bits: keys[0]: an RSA key of 2047 bits is weaker than 2048
        1024 bits: keys[0]: an RSA key of 1024 bits is weaker than 2048
        zeros: keys[0]: an RSA key of 0 bits is weaker than 2048
        nothing: keys[0]: an RSA key of 0 bits is weaker than 2048
        8192 bits: taken
        16384 bits: keys[0]: an RSA key of 16384 bits is longer than 8192
        [1, 0, 1]: taken
        [3]: taken
        [1]: keys[0]: its exponent is not an odd number from 3 with at most 33 bits
        [1, 0, 0]: keys[0]: its exponent is not an odd number from 3 with at most 33 bits
        []: keys[0]: its exponent is not an odd number from 3 with at most 33 bits
        [0, 0, 3]: taken
        [1, 0, 0, 0, 1]: taken
        [2, 0, 0, 0, 1]: keys[0]: its exponent is not an odd number from 3 with at most 33 bits
        padded: keys[0]: its `n` is not base64url: Invalid padding
    "]]
    .assert_eq(&report);
}

#[test]
fn a_curve_is_known_and_its_coordinates_have_its_length() {
    let short = base64url([1; 31]);
    let p256 = [
        json!({}),
        json!({"alg": "ES256"}),
        json!({"alg": "ES384"}),
        json!({"crv": "secp256k1"}),
        json!({"crv": "P-521"}),
        json!({"crv": "P-384"}),
        json!({"crv": null}),
        json!({"x": short}),
        json!({"y": null}),
        json!({"y": "é"}),
    ];
    let ed25519 = [
        json!({}),
        json!({"x": short}),
        json!({"crv": "Ed448"}),
        json!({"crv": "X25519"}),
        json!({"alg": "ES256"}),
    ];
    let report = fates(&SIGNERS.p256, &p256) + &fates(&SIGNERS.ed25519, &ed25519);
    expect![[r#"
        {} taken
        {"alg":"ES256"} taken
        {"alg":"ES384"} keys[0]: its algorithm `ES384` does not fit it
        {"crv":"secp256k1"} keys[0]: its curve `secp256k1` is not supported
        {"crv":"P-521"} keys[0]: its curve `P-521` is not supported
        {"crv":"P-384"} keys[0]: its `x` has 32 bytes, not 48
        {"crv":null} keys[0]: its `crv` is missing, or is not text
        {"x":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ"} keys[0]: its `x` has 31 bytes, not 32
        {"y":null} keys[0]: its `y` is missing, or is not text
        {"y":"é"} keys[0]: its `y` is not base64url: Invalid symbol 195, offset 0.
        {} taken
        {"x":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ"} keys[0]: its `x` has 31 bytes, not 32
        {"crv":"Ed448"} keys[0]: its curve `Ed448` is not supported
        {"crv":"X25519"} keys[0]: its curve `X25519` is not supported
        {"alg":"ES256"} keys[0]: its algorithm `ES256` does not fit it
    "#]]
    .assert_eq(&report);
}

#[test]
fn a_bad_entry_does_not_spoil_the_others() {
    let ring = ring_of(&[
        json!({"kty": "oct", "k": "AAAA"}),
        SIGNERS.p256.jwk(&json!({"kid": "p256"})),
        json!(7),
    ]);
    assert_eq!(ring.keys().len(), 1);
    assert_eq!(ring.ignored.len(), 2);
    assert!(
        ring.ignored[1].starts_with("keys[2]: "),
        "{:?}",
        ring.ignored
    );
    let token = with_payload(claims(&json!({})));
    assert_eq!(verdict(&provider(), &trust(ring), &token), "ok");
}

#[test]
fn what_is_no_jwk_set_is_an_error_and_the_caller_keeps_what_it_had() {
    for document in [
        "",
        "{",
        "[]",
        "{}",
        "null",
        "<html>",
        r#"{"keys":{}}"#,
        r#"{"keys":null}"#,
        r#"{"Keys":[]}"#,
        r#"{"keys":[],"keys":[]}"#,
    ] {
        let error = KeyRing::from_jwk_set(document.as_bytes()).expect_err(document);
        assert!(
            matches!(error, KeyRingError::Malformed(_)),
            "{document}: {error}"
        );
        assert!(error.to_string().starts_with("not a JWK set: "), "{error}");
    }
    let error = KeyRing::from_jwk_set(br#"{"keys":[]}"#).unwrap_err();
    assert!(matches!(error, KeyRingError::Empty(_)), "{error}");
    let more = br#"{"issuer":"x","keys":[]}"#;
    assert!(matches!(
        KeyRing::from_jwk_set(more),
        Err(KeyRingError::Empty(_))
    ));
}

#[test]
fn entries_beyond_the_bound_are_not_read() {
    let key = |index: usize| SIGNERS.p256.jwk(&json!({"kid": format!("k{index}")}));
    let keys: Vec<_> = (0..KEYS_MAX).map(key).collect();
    let ring = ring_of(&keys);
    assert_eq!((ring.keys().len(), ring.ignored.len()), (KEYS_MAX, 0));

    let keys: Vec<_> = (0..3 * KEYS_MAX).map(key).collect();
    let ring = ring_of(&keys);
    assert_eq!(ring.keys().len(), KEYS_MAX);
    assert_eq!(ring.ignored, ["keys[100] and later: more than 100 keys"]);

    let mut bad = vec![json!({}); 3 * KEYS_MAX];
    bad[0] = key(0);
    assert_eq!(
        ring_of(&bad).ignored.len(),
        KEYS_MAX,
        "reasons are bounded too"
    );
}

#[test]
fn keys_of_one_id_are_all_tried() {
    let (p256, stranger, rsa) = (&SIGNERS.p256, &SIGNERS.stranger, &SIGNERS.rsa);
    let id = json!({"kid": "p256"});
    let (own, other) = (p256.jwk(&id), stranger.jwk(&id));
    let token = with_payload(claims(&json!({})));
    for keys in [
        vec![own.clone()],
        vec![other.clone(), own.clone()],
        vec![own.clone(), other.clone()],
        vec![rsa.jwk(&id), own.clone()],
    ] {
        assert_eq!(verdict(&provider(), &trust(ring_of(&keys)), &token), "ok");
    }
    let ring = trust(ring_of(&[rsa.jwk(&id), other]));
    assert_eq!(verdict(&provider(), &ring, &token), "jwt_signature_invalid");
}

#[test]
fn the_very_same_key_is_taken_once() {
    let key = SIGNERS.p256.jwk(&json!({"kid": "p256"}));
    let ring = ring_of(&vec![key; 3]);
    assert_eq!(ring.keys().len(), 1);
    assert_eq!(
        ring.ignored,
        ["keys[1]: it is there twice", "keys[2]: it is there twice"]
    );
}

#[test]
fn the_algorithm_of_a_key_rules_out_the_others() {
    let rsa = &SIGNERS.rsa;
    let ring = trust(ring_of(&[rsa.jwk(&json!({"kid": "rsa", "alg": "PS256"}))]));
    let token = |algorithm: Algorithm| {
        let header = json!({"alg": algorithm, "kid": "rsa"}).to_string();
        mint(header, claims(&json!({})), rsa, algorithm)
    };
    let verdict = |algorithm| verdict(&provider(), &ring, &token(algorithm));
    assert_eq!(verdict(Algorithm::PS256), "ok");
    assert_eq!(verdict(Algorithm::PS384), "jwt_key_unknown");
    assert_eq!(verdict(Algorithm::RS256), "jwt_key_unknown");
}

#[test]
fn a_ring_is_new_when_a_key_came_or_went_or_changed() {
    let a = SIGNERS.p256.jwk(&json!({"kid": "a"}));
    let b = SIGNERS.p384.jwk(&json!({"kid": "b"}));
    let b_renamed = SIGNERS.p384.jwk(&json!({"kid": "c"}));
    let a_replaced = SIGNERS.stranger.jwk(&json!({"kid": "a"}));
    let a_restricted = SIGNERS.p256.jwk(&json!({"kid": "a", "alg": "ES256"}));
    let junk = json!({"kty": "oct", "k": "AAAA"});
    for (what, before, after, is_new) in [
        ("the same", vec![&a, &b], vec![&a, &b], false),
        ("another order", vec![&a, &b], vec![&b, &a], false),
        ("an ignored entry", vec![&a, &b], vec![&a, &junk, &b], false),
        ("twice the same", vec![&a, &b], vec![&a, &b, &b], false),
        ("one more", vec![&a], vec![&a, &b], true),
        ("one less", vec![&a, &b], vec![&b], true),
        ("one for another", vec![&a], vec![&b], true),
        ("another id", vec![&a, &b], vec![&a, &b_renamed], true),
        (
            "another key by the same id",
            vec![&a, &b],
            vec![&a_replaced, &b],
            true,
        ),
        ("a restriction", vec![&a, &b], vec![&a_restricted, &b], true),
    ] {
        let ring =
            |keys: &[&Value]| ring_of(&keys.iter().map(|&key| key.clone()).collect::<Vec<_>>());
        let first = ring(&before).succeeding(&KeyRing::default());
        assert_eq!(first.generation(), 1, "{what}");
        let second = ring(&after).succeeding(&first);
        assert_eq!(second.generation(), 1 + u64::from(is_new), "{what}");
    }
}

#[test]
fn debug_output_holds_no_key() {
    let modulus = SIGNERS.rsa.public["n"].as_str().unwrap();
    let shown = format!("{:?}", ring());
    assert!(shown.contains("ed25519"), "{shown}");
    assert!(!shown.contains(&modulus[..20]), "{shown}");
}

#[test]
fn a_weak_secret_makes_no_ring() {
    use jsonwebtoken::Algorithm::{ES256, HS256, HS384, HS512};

    let random = b"0123456789abcdef0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOP";
    for (secret, algorithms, is_taken) in [
        (&random[..32], &[HS256][..], true),
        (&random[..31], &[HS256], false),
        (&random[..32], &[HS256, HS384], false),
        (&random[..48], &[HS256, HS384], true),
        (&random[..63], &[HS512], false),
        (&random[..64], &[HS512], true),
        (&[7; 64], &[HS256], false),
        (b"abababababababababababababababab", &[HS256], false),
        (b"", &[ES256], false),
    ] {
        let ring = KeyRing::from_secret(secret, algorithms);
        assert_eq!(ring.is_ok(), is_taken, "{secret:?} {algorithms:?}");
        if let Err(error) = ring {
            assert!(
                error.to_string().starts_with("the secret is too weak"),
                "{error}"
            );
        }
    }
}

#[test]
fn a_point_off_its_curve_makes_no_key() {
    let mut off = SIGNERS.p256.jwk(&json!({"kid": "p256"}));
    off["y"] = off["x"].clone();
    assert_eq!(fate(&off), "keys[0]: its numbers make no key");
}

#[test]
fn four_keys_may_share_an_id() {
    let keys: Vec<_> = (0..6)
        .map(|_| p256_signer().jwk(&json!({"kid": "same"})))
        .collect();
    let ring = ring_of(&keys);
    assert_eq!(ring.keys().len(), 4);
    assert_eq!(ring.ignored[0], "keys[4]: 4 others have its `kid`");
    assert_eq!(ring.ignored.len(), 2);
}

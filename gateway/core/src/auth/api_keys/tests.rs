//! Which keys are found, and what is said about those that are not.

use std::fmt::Write as _;

use expect_test::expect;

use super::*;

const NOW: UnixSeconds = 1_800_000_000;

fn parse(text: &str) -> Result<ApiKeys, Problems> {
    ApiKeys::parse(Source {
        name: "keys.yaml",
        text,
    })
}

fn keys(text: &str) -> ApiKeys {
    parse(text).unwrap_or_else(|problems| panic!("{problems}"))
}

fn new_key(id: &str, random: u8) -> NewKey {
    NewKey::compose(&id.parse().expect("an id"), &[random; SECRET_BYTES])
}

/// A file with one key, and more lines of its entry.
fn with(key: &NewKey, id: &str, more: &str) -> ApiKeys {
    keys(&format!("keys:\n- id: {id}\n  hash: {}\n{more}", key.hash))
}

#[test]
fn a_key_has_its_prefix_its_id_and_48_characters() {
    let key = new_key("partner-a", 7);
    expect!["gwk_partner-a_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwciqP7b"].assert_eq(&key.text);
    expect!["sha256:5effeaeedc1d1f1b3217402ca852fc85fc50331a43295a82a63d17630bfea224"]
        .assert_eq(&key.hash.to_string());
    assert_ne!(new_key("partner-a", 8).hash, key.hash);
    assert_ne!(new_key("partner-b", 7).hash, key.hash);
}

#[test]
fn what_was_made_is_found() {
    for random in [0, 1, 0x7f, 0xff] {
        for id in ["a", "partner-a", "9", "A9-", &"x".repeat(ID_BYTES_MAX)] {
            let key = new_key(id, random);
            let keys = with(&key, id, "");
            let found = keys.find(key.text.as_bytes(), NOW).expect(id);
            assert_eq!(found.id.as_str(), id);
        }
    }
}

#[test]
fn the_hash_is_that_of_sha256sum_in_either_writing() {
    // printf %s gwk_a_AAAA… | sha256sum
    let key = new_key("a", 0);
    let hex = key.hash.to_string();
    let bytes = digest(&SHA256, key.text.as_bytes());
    let base64 = format!("sha256:{}", URL_SAFE_NO_PAD.encode(bytes));
    for written in [
        hex.clone(),
        hex.to_uppercase().replace("SHA", "sha"),
        base64,
    ] {
        assert_eq!(written.parse(), Ok(key.hash), "{written}");
    }
    for written in [
        "",
        "sha256:",
        &hex[7..],
        &hex[..hex.len() - 1],
        &hex.replace("sha256", "sha512"),
        &format!("{hex}0"),
        &format!("sha256:{}", "g".repeat(64)),
        &format!("sha256:{}", "é".repeat(32)),
        &key.text,
    ] {
        assert_eq!(written.parse::<KeyHash>(), Err(KeyHashError), "{written}");
    }
}

#[test]
fn nothing_but_the_key_itself_is_found() {
    let key = new_key("partner-a", 7);
    let keys = with(&key, "partner-a", "");
    let text = key.text.as_str();
    let secret = &text["gwk_partner-a_".len()..];
    let checksum = "its checksum does not fit";
    let form = "it is not of the form";
    let short = "its secret is not 48 characters";
    for (presented, detail) in [
        (String::new(), form),
        ("partner-a".into(), form),
        ("gwk_".into(), form),
        ("gwk_partner-a".into(), form),
        (format!("gwk__{secret}"), form),
        (format!("gwk_-a_{secret}"), form),
        (format!("gwk_{}_{secret}", "x".repeat(65)), form),
        (format!("gwk_partner a_{secret}"), form),
        (format!(" {text}"), form),
        (format!("GWK{}", &text[3..]), form),
        (format!("{text} "), short),
        (format!("{text}A"), short),
        (format!("{text}="), short),
        (text[..text.len() - 1].into(), short),
        (
            format!("gwk_partner-a_{}", secret.replacen('B', "+", 1)),
            short,
        ),
        (text.replacen("Bwc", "Bwd", 1), checksum),
        (text.replace("partner-a", "partner-b"), checksum),
        (text.replace("partner-a", "Partner-a"), checksum),
        (
            new_key("partner-b", 7).text,
            "no key has the id `partner-b`",
        ),
        (
            new_key("partner-a", 8).text,
            "the key `partner-a` has another secret",
        ),
        (key.hash.to_string(), form),
    ] {
        let refused = keys.find(presented.as_bytes(), NOW).expect_err(&presented);
        assert_eq!(refused.reason, Reason::ApiKeyUnknown, "{presented}");
        let told = refused.detail.expect("it says why");
        assert!(told.contains(detail), "{presented}: {told}");
        assert!(!told.contains(&secret[..8]), "{told}");
    }
    let refused = keys.find(b"gwk_a_\xff", NOW).expect_err("not text");
    assert_eq!(refused.reason, Reason::ApiKeyUnknown);
    assert!(ApiKeys::default().find(text.as_bytes(), NOW).is_err());
}

#[test]
fn every_single_mistake_of_copying_is_told_from_a_wrong_key() {
    let key = new_key("a", 7);
    let keys = with(&key, "a", "");
    let start = "gwk_a_".len();
    for at in start..key.text.len() {
        for other in ["A", "B", "z", "_"] {
            let mut text = key.text.clone();
            text.replace_range(at..=at, other);
            if text != key.text {
                let told = keys.find(text.as_bytes(), NOW).expect_err("changed").detail;
                assert!(told.is_some_and(|told| told.contains("checksum")), "{text}");
            }
        }
    }
}

#[test]
fn a_key_ends_with_its_expiry() {
    let key = new_key("a", 7);
    for (expires, now, is_found) in [
        ("", NOW, true),
        ("  expires: 2027-01-15T08:00:01Z\n", NOW, true),
        ("  expires: 2027-01-15T08:00:00Z\n", NOW, false),
        ("  expires: 2027-01-15\n", NOW, false),
        ("  expires: 2027-01-16\n", NOW, true),
        ("  expires: \"2027-01-16\"\n", NOW, true),
    ] {
        let keys = with(&key, "a", expires);
        match keys.find(key.text.as_bytes(), now) {
            Ok(_) => assert!(is_found, "{expires}"),
            Err(refused) => {
                assert!(!is_found, "{expires}");
                assert_eq!(refused.reason, Reason::ApiKeyExpired);
            }
        }
    }
}

#[test]
fn claims_are_the_attributes_the_subject_and_the_scopes() {
    let key = new_key("a", 7);
    for (more, claims) in [
        ("", r#"{"sub":"a"}"#),
        ("  scopes: []\n", r#"{"sub":"a"}"#),
        (
            "  scopes: [\"users:read\", b]\n",
            r#"{"scope":"users:read b","sub":"a"}"#,
        ),
        (
            "  subject: acme\n  attributes: {tenant: a, level: 3, flags: [x, true], n: {m: ${X}}}\n",
            r#"{"flags":["x",true],"level":3,"n":{"m":"${X}"},"sub":"acme","tenant":"a"}"#,
        ),
    ] {
        let more = more.replace("${X}", "\"${X}\"");
        let keys = with(&key, "a", &more);
        let found = keys.find(key.text.as_bytes(), NOW).expect("found");
        let expected: Map<String, Value> = serde_json::from_str(claims).expect("JSON");
        assert_eq!(*found.claims, expected, "{more}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_its_place_and_remedy() {
    let good = new_key("a", 7).hash;
    let secret = new_key("a", 7).text;
    let many = format!(
        "keys:
- {{id: a b, hash: {good}}}
- {{id: b, hash: {secret}}}
- {{id: c}}
- {{id: d, hash: {good}, scope: [x]}}
- {{id: e, hash: {good}, scopes: [\"a b\", \"\"]}}
- {{id: f, hash: {good}, expires: soon}}
- {{id: g, hash: {good}, attributes: {{sub: x}}}}
- {{id: h, hash: {good}, attributes: {{scp: x}}}}
- {secret}
"
    );
    let twice = format!("keys:\n- {{id: a, hash: {good}}}\n- {{id: a, hash: {good}}}\n");
    let mut report = String::new();
    for text in ["", "[]", "keys: a", "key: []", &many, &twice] {
        let problems = parse(text).expect_err(text);
        let told = problems.brief(20).replace("; line", ";\nline");
        assert!(!told.contains(&secret[6..20]), "{told}");
        writeln!(report, "{told}").unwrap();
    }
    expect![[r"
        line 1: the file is empty
        line 1: expected a map, found a list
        line 1: keys: expected a list, found the text `a`
        line 1: unknown key `key`
        line 2: keys[0].id: an id has 1 to 64 letters, digits and `-`;
        line 3: keys[1].hash: this is not `sha256:` and 64 hexadecimal digits;
        line 4: keys[2]: missing key `hash`;
        line 5: keys[3]: unknown key `scope`;
        line 6: keys[4].scopes[0]: a scope is one word of visible ASCII characters without quotes and backslashes: `a b`;
        line 6: keys[4].scopes[1]: a scope is one word of visible ASCII characters without quotes and backslashes: ``;
        line 7: keys[5].expires: this is no date: `soon`;
        line 8: keys[6].attributes: an attribute cannot be named `sub`;
        line 9: keys[7].attributes: an attribute cannot be named `scp`;
        line 10: keys[8]: expected a map, found the text `…`
        line 3: keys[1].id: the id `a` is that of keys[0] too
    "]].assert_eq(&report);
}

#[test]
fn neither_keys_nor_hashes_are_shown() {
    let key = new_key("a", 7);
    let keys = with(&key, "a", "");
    let found = keys.find(key.text.as_bytes(), NOW).expect("found");
    let shown = format!("{key:?} {keys:?} {found:?} {:?}", key.hash);
    let hash = key.hash.to_string();
    assert!(
        !shown.contains(&hash[7..15]) && !shown.contains(&key.text[6..14]),
        "{shown}"
    );
    assert!(!shown.contains("[7, 7"), "{shown}");
}

#[test]
fn bounds_hold() {
    let hash = new_key("a", 7).hash;
    let entries = |count: usize| {
        let entry = |index| format!("{{\"id\":\"key-{index}\",\"hash\":\"{hash}\"}}");
        let entries: Vec<_> = (0..count).map(entry).collect();
        format!("{{\"keys\":[{}]}}", entries.join(","))
    };
    assert_eq!(keys(&entries(KEYS_MAX)).len(), KEYS_MAX);
    let told = parse(&entries(KEYS_MAX + 1))
        .expect_err("one too many")
        .brief(1);
    assert!(told.contains("100001 keys are more than 100000"), "{told}");
    let told = parse(&" ".repeat(FILE_BYTES_MAX + 1))
        .expect_err("too large")
        .brief(1);
    assert!(told.contains("larger than 16384 KiB"), "{told}");
}

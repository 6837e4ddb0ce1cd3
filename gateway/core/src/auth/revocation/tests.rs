//! What is on a list, and what is not.

use std::fmt::Write as _;

use expect_test::expect;

use super::*;

const NOW: UnixSeconds = 1_800_000_000;

fn parse(text: &str) -> Result<Revocations, Problems> {
    Revocations::parse(Source {
        name: "revoked.yaml",
        text,
    })
}

fn list(text: &str) -> Revocations {
    parse(text).unwrap_or_else(|problems| panic!("{problems}"))
}

const LIST: &str = "
revoked:
  - {jti: token-1}
  - {jti: token-2, until: 1800000001, reason: laptop lost}
  - {jti: token-3, until: 1800000000}
  - {sub: alice}
  - {sub: bob, issued_before: 1799999000}
  - {sub: carol, issued_before: 1799999000, until: 1800000000}
  - {sub: carol, issued_before: 1799998000}
  - {sid: session-1}
";

#[test]
fn a_token_is_revoked_by_its_id_its_subject_or_its_session() {
    let list = list(LIST);
    assert_eq!(list.len(), 8);
    let ids = |jti, sub, sid, issued_at| TokenIds {
        jti,
        sub,
        sid,
        issued_at,
    };
    for (token, expected) in [
        (TokenIds::default(), None),
        (ids(Some("token-1"), None, None, Some(NOW)), Some("`jti`")),
        (
            ids(Some("token-1"), Some("dave"), None, None),
            Some("`jti`"),
        ),
        (ids(Some("token-2"), None, None, None), Some("`jti`")),
        (ids(Some("token-3"), None, None, None), None),
        (ids(Some("token-9"), Some("dave"), Some("s"), None), None),
        (ids(None, Some("alice"), None, Some(NOW)), Some("`sub`")),
        (ids(Some("alice"), None, Some("alice"), None), None),
        (ids(None, Some("Alice"), None, None), None),
        (
            ids(None, Some("bob"), None, Some(1_799_998_999)),
            Some("`sub`"),
        ),
        (ids(None, Some("bob"), None, Some(1_799_999_000)), None),
        (ids(None, Some("bob"), None, None), Some("`sub`")),
        (ids(None, Some("carol"), None, Some(1_799_998_500)), None),
        (
            ids(None, Some("carol"), None, Some(1_799_997_999)),
            Some("`sub`"),
        ),
        (
            ids(None, Some("dave"), Some("session-1"), Some(NOW)),
            Some("`sid`"),
        ),
    ] {
        let found = list.check(&token, NOW).err();
        assert_eq!(found.is_some(), expected.is_some(), "{token:?}");
        if let (Some(rejection), Some(kind)) = (found, expected) {
            assert_eq!(rejection.reason, Reason::JwtRevoked);
            let detail = rejection.detail.expect("it names the kind of entry");
            assert!(detail.contains(kind), "{token:?}: {detail}");
            assert!(
                !detail.contains("alice") && !detail.contains("token-"),
                "{detail}"
            );
        }
    }
}

#[test]
fn a_date_alone_revokes_all_that_is_older_or_has_no_date() {
    let list = list("revoked: [{issued_before: 2027-01-01}]");
    let since = 1_798_761_600;
    for (issued_at, is_revoked) in [
        (Some(since - 1), true),
        (Some(since), false),
        (Some(NOW), false),
        (None, true),
    ] {
        let token = TokenIds {
            sub: Some("alice"),
            issued_at,
            ..TokenIds::default()
        };
        assert_eq!(
            list.check(&token, NOW).is_err(),
            is_revoked,
            "{issued_at:?}"
        );
    }
}

#[test]
fn an_empty_list_revokes_nothing() {
    for list in [
        Revocations::default(),
        list("revoked: []"),
        list(r#"{"revoked":[]}"#),
    ] {
        assert!(list.is_empty());
        let token = TokenIds {
            jti: Some("a"),
            ..TokenIds::default()
        };
        assert_eq!(list.check(&token, NOW), Ok(()));
    }
}

#[test]
fn json_is_read_too() {
    let list = list(r#"{"revoked": [{"jti": "a$${b}", "until": 1900000000, "reason": "lost"}]}"#);
    let token = TokenIds {
        jti: Some("a$${b}"),
        ..TokenIds::default()
    };
    assert!(list.check(&token, NOW).is_err());
}

#[test]
fn an_order_of_entries_changes_nothing() {
    let rules = [
        "{sub: a, issued_before: 1799990000}",
        "{sub: a, issued_before: 1799980000, until: 1900000000}",
        "{sub: a, issued_before: 1799995000, until: 1800000005}",
        "{sub: a, issued_before: 1799990000}",
    ];
    let seed = 11;
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..24 {
        let mut rules = rules;
        random.shuffle(&mut rules);
        let list = list(&format!("revoked: [{}]", rules.join(", ")));
        assert_eq!(list.subjects["a"].len(), 2, "what says less is dropped");
        for (now, issued_at, is_revoked) in [
            (NOW, 1_799_994_999, true),
            (NOW, 1_799_995_000, false),
            (NOW + 5, 1_799_994_999, false),
            (NOW + 5, 1_799_989_999, true),
        ] {
            let token = TokenIds {
                sub: Some("a"),
                issued_at: Some(issued_at),
                ..TokenIds::default()
            };
            assert_eq!(list.check(&token, now).is_err(), is_revoked, "{rules:?}");
        }
    }
}

#[test]
fn a_successor_has_another_generation() {
    let first = list("revoked: []");
    let second = list("revoked: []").succeeding(&first);
    assert_ne!(first.generation(), second.generation());
}

#[test]
fn what_makes_no_sense_is_refused_with_its_place_and_remedy() {
    let staircase = (0..9).fold("revoked:\n".to_owned(), |mut text, step| {
        let (before, until) = (1_700_000_000 + step, 1_900_000_000 - step);
        writeln!(
            text,
            "- {{sub: a, issued_before: {before}, until: {until}}}"
        )
        .unwrap();
        text
    });
    let mut report = String::new();
    for text in [
        "",
        "[]",
        "revoked: {}",
        "revokes: []",
        "revoked: [alice]",
        "revoked:\n- {reason: all}\n- {jti: a, sub: b}\n- {jti: ''}\n- {user: a}\n- {sub: a, until: soon}\n- {jti: a, issued_before: 20270131}\n",
        staircase.as_str(),
    ] {
        writeln!(
            report,
            "{}",
            parse(text)
                .expect_err(text)
                .brief(9)
                .replace("; line", ";\nline")
        )
        .unwrap();
    }
    expect![[r"
        line 1: the file is empty
        line 1: expected a map, found a list
        line 1: revoked: expected a list, found a map
        line 1: unknown key `revokes`
        line 1: revoked[0]: expected a map, found the text `alice`
        line 2: revoked[0]: the entry would revoke every token there will ever be;
        line 3: revoked[1]: `jti`, `sub` and `sid` exclude each other;
        line 4: revoked[2]: an id is empty;
        line 5: revoked[3]: unknown key `user`;
        line 6: revoked[4].until: this is no date: `soon`;
        line 7: revoked[5].issued_before: `20270131` is no date in seconds since 1970
        line 10: revoked[8]: more than 8 entries that differ revoke the same
    "]]
    .assert_eq(&report);
}

#[test]
fn bounds_hold() {
    let entries = |count: usize| {
        let entries: Vec<_> = (0..count)
            .map(|index| format!("{{\"jti\":\"{index}\"}}"))
            .collect();
        format!("{{\"revoked\":[{}]}}", entries.join(","))
    };
    assert_eq!(list(&entries(ENTRIES_MAX)).len(), ENTRIES_MAX);
    let told = parse(&entries(ENTRIES_MAX + 1))
        .expect_err("one too many")
        .brief(1);
    assert!(
        told.contains("100001 entries are more than 100000"),
        "{told}"
    );
    let told = parse(&" ".repeat(LIST_BYTES_MAX + 1))
        .expect_err("too large")
        .brief(1);
    assert!(told.contains("larger than 16384 KiB"), "{told}");
}

//! Changes to a file leave the rest of it alone, or are refused.

use expect_test::expect;

use super::super::edit::{EditError, NewEntry, append, remove};
use super::*;

fn entry(id: &str) -> NewEntry {
    NewEntry {
        id: id.parse().expect("an id"),
        hash: KeyHash::of(b"a key"),
        subject: None,
        scopes: Vec::new(),
        expires: None,
        attributes: [].into(),
        description: None,
    }
}

fn hash(of: &str) -> KeyHash {
    KeyHash::of(of.as_bytes())
}

/// A file as people write it.
fn written() -> String {
    let (a, b, c) = (hash("a"), hash("b"), hash("c"));
    format!(
        "# Who may call us.
keys:
# the import job
- id: a
  hash: {a}   # made in May
  scopes: [x]

# the export job
- {{id: b, hash: {b}}}
- hash: {c}
  id: c
# the end"
    )
}

#[test]
fn an_entry_says_what_was_asked_for_in_yaml() {
    let full = NewEntry {
        subject: Some("acme".into()),
        scopes: vec!["users:read".into(), "b".into()],
        expires: Some(Date(NOW)),
        attributes: [("tenant".into(), "a: \"b\" ${X}\n".into())].into(),
        description: Some("it's #1".into()),
        ..entry("partner-a")
    };
    expect![[r#"
        keys:
          - id: partner-a
            hash: sha256:8fa3aab2faa9b79e0a0398da5b5abd0780142442a5be80b9a64608d718cb1fcd
            subject: "acme"
            scopes: ["users:read","b"]
            expires: 2027-01-15T08:00:00Z
            attributes: {"tenant":"a: \"b\" ${X}\n"}
            description: "it's #1"
    "#]]
    .assert_eq(&format!("keys:\n{}", full.to_yaml()));
    let keys = keys(&append("", &full).expect("an empty file takes it"));
    let key = keys.get(&full.id).expect("it was added");
    assert_eq!(key.claims["tenant"], "a: \"b\" ${X}\n");
    assert_eq!(key.claims["scope"], "users:read b");
    assert_eq!(key.claims["sub"], "acme");
    assert_eq!(
        (key.expires, key.description.as_deref()),
        (Some(NOW), Some("it's #1"))
    );
}

#[test]
fn an_entry_is_appended_in_the_style_of_the_file() {
    let new = entry("new");
    let flat = append(&written(), &new).expect("a block");
    assert_eq!(
        flat,
        format!(
            "{}\n{}",
            written(),
            "- id: new\n  hash: HASH\n".replace("HASH", &new.hash.to_string())
        )
    );
    let json = format!(r#"{{"keys": [{{"id": "a", "hash": "{}"}}]}}"#, hash("a"));
    for text in [
        "",
        "\n",
        "keys: []",
        "keys: []\n",
        "# nobody yet\nkeys: []\n",
        r#"{"keys": []}"#,
        &json,
        &written(),
        &append("", &entry("first")).expect("an empty file"),
        &append(&json, &entry("second")).expect("JSON"),
    ] {
        let after = append(text, &new).expect(text);
        let count = if text.trim().is_empty() {
            0
        } else {
            keys(text).len()
        };
        assert_eq!(keys(&after).len(), count + 1, "{text}");
        assert_eq!(
            text.trim_start().starts_with('{'),
            after.starts_with('{'),
            "{text}"
        );
        let removed = remove(&after, &new.id).expect(&after);
        assert_eq!(keys(&removed).len(), count, "{after}");
        assert!(keys(&removed).get(&new.id).is_none(), "{after}");
    }
}

#[test]
fn an_entry_is_removed_with_its_lines_and_nothing_else() {
    let lines_without = |from: usize, to: usize| {
        let text = written();
        let lines = text.split_inclusive('\n').enumerate();
        let rest = lines.filter(|(index, _)| !(from..to).contains(index));
        rest.map(|(_, line)| line).collect::<String>()
    };
    for (id, from, to) in [("a", 3, 6), ("b", 8, 9), ("c", 9, 11)] {
        let after = remove(&written(), &id.parse().expect("an id")).expect(id);
        assert_eq!(after, lines_without(from, to), "{id}");
    }
}

#[test]
fn what_cannot_be_changed_rightly_is_not_changed() {
    let bad_scope = NewEntry {
        scopes: vec!["a b".into()],
        ..entry("new")
    };
    let bad_attribute = NewEntry {
        attributes: [("sub".into(), "x".into())].into(),
        ..entry("new")
    };
    let flow = format!("keys: [{{id: a, hash: {}}}]\n", hash("a"));
    let told = |outcome: Result<String, EditError>| outcome.expect_err("refused").to_string();
    for (told, expected) in [
        (
            told(append(&written(), &entry("b"))),
            "has a key `b` already",
        ),
        (told(append(&written(), &bad_scope)), "a scope is one word"),
        (told(append("", &bad_attribute)), "cannot be named `sub`"),
        (told(append("keys: [", &entry("new"))), "is broken"),
        (told(append(&flow, &entry("new"))), "change it by hand"),
        (
            told(remove(&flow, &"a".parse().expect("an id"))),
            "change it by hand",
        ),
        (
            told(remove(&written(), &"d".parse().expect("an id"))),
            "no key `d`",
        ),
        (told(remove("", &"d".parse().expect("an id"))), "is broken"),
    ] {
        assert!(told.contains(expected), "{told}");
    }
}

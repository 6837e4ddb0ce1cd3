//! Documents that are data: bounds of the caller's, no variables, short reports.

use std::collections::BTreeMap;

use expect_test::expect;

use super::super::{Bounds, Problems, Source, decode_data};

type Numbers = BTreeMap<String, Vec<u8>>;
type Texts = BTreeMap<String, String>;

const BOUNDS: Bounds = Bounds {
    bytes: Bounds::FILE.bytes + 64 * 1024,
    nodes: 30_000,
};

fn source(text: &str) -> Source<'_> {
    Source { name: "data", text }
}

fn refused(text: &str) -> Problems {
    decode_data::<Numbers>(source(text), BOUNDS).expect_err("it is wrong")
}

#[test]
fn a_dollar_is_a_dollar() {
    let (texts, _) = decode_data::<Texts>(source(r#"{"a": "${HOME}$$", "b": "${"}"#), BOUNDS)
        .expect("it is good");
    assert_eq!(texts["a"], "${HOME}$$");
    assert_eq!(texts["b"], "${");
}

#[test]
fn bounds_are_those_of_the_caller() {
    let list = |count: usize| format!("a: [{}]", vec!["1"; count].join(","));
    let text = format!("{}{}", list(20_000), " ".repeat(Bounds::FILE.bytes));
    let (numbers, positions) =
        decode_data::<Numbers>(source(&text), BOUNDS).expect("within the bounds");
    assert_eq!(numbers["a"].len(), 20_000);
    assert!(positions.is_given("a[7]") && !positions.is_given("b"));
    let told = refused(&list(BOUNDS.nodes)).brief(1);
    assert_eq!(
        told,
        "line 1: a[29999]: the file has more than 30000 keys and values"
    );
    let told = refused(&" ".repeat(BOUNDS.bytes + 1)).brief(1);
    assert_eq!(told, "the file is larger than 8256 KiB");
}

#[test]
fn a_brief_report_has_no_text_of_the_file() {
    let long = "s".repeat(40);
    let text = format!("a: {long}\nb: [300, x]\nc: [1, 2]\nd: [y]\n");
    let problems = refused(&text);
    expect!["line 1: a: expected a list, found the text `…`; and 3 more"]
        .assert_eq(&problems.brief(1));
    expect![[r"
        line 1: a: expected a list, found the text `…`; line 2: b[0]: expected a whole number from 0 to 255, found the number `300`; line 2: b[1]: expected a whole number from 0 to 255, found the text `x`; line 4: d[0]: expected a whole number from 0 to 255, found the text `y`"]]
    .assert_eq(&problems.brief(9));
}

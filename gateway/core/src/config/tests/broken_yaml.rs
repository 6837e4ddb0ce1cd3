//! Files that are not YAML, or more of it than a routes file may use.

use expect_test::expect;

use super::check;
use super::small::Small;

#[test]
fn text_that_is_not_yaml_names_the_remedy() {
    check::<Small>(
        &[
            "",
            "# only a comment\n",
            "\u{feff}",
            "name: [a\nport: 1",
            "name:\n\t- a",
            "name: a: b",
            "port: 1\n---\nport: 2",
            "name: \"x",
            "name: 'it's'",
            "name: @x",
            "name: a\u{1}b",
            "nested:\n  a: 1\n b: x",
            "- 1\nb: 2",
            "name: {x: ${SECRET}}",
            "list: [${SECRET}]",
            "name: \"\\d\"",
            "<<<<<<< HEAD\nport: 1\n=======\n",
            "port: 1}",
            "nested: {a: 1, b: x",
            "\0\u{1}\u{2}",
        ],
        &expect![[r##"
            ""
            1:1-1 : the file is empty | write its required keys

            "# only a comment\n"
            1:1-1 : the file is empty | write its required keys

            "\u{feff}"
            1:1-1 : the file is empty | write its required keys

            "name: [a\nport: 1"
            2:5-1 name[0]: this is not YAML: illegal placement of ':' indicator | close the `[` or `{` further up, and quote text that holds a `:`

            "name:\n\t- a"
            2:1-1 name: this is not YAML: tabs disallowed within this context (block indentation) | indent with spaces, not with tabs

            "name: a: b"
            1:8-1 : this is not YAML: mapping values are not allowed in this context | quote text that holds `: `, and indent a map below its key

            "port: 1\n---\nport: 2"
            2:1-3 : a second document starts here | keep one document in a file: remove the `---`

            "name: \"x"
            1:7-1 name: this is not YAML: unclosed quote | close the quote, and put the whole text inside it

            "name: 'it's'"
            1:11-1 name: this is not YAML: invalid trailing content after single-quoted scalar | close the quote, and put the whole text inside it

            "name: @x"
            1:7-1 name: this is not YAML: unexpected character: `@' | quote text that starts with this character

            "name: a\u{1}b"
            1:7-1 name: this is not YAML: unexpected character: `\u{1}' | remove the control character; the file must be plain UTF-8 text

            "nested:\n  a: 1\n b: x"
            3:2-1 : this is not YAML: while parsing a block mapping, did not find expected key | indent the keys of a map, and the `-` of a list, by the same number of spaces; each key ends with `: `

            "- 1\nb: 2"
            2:1-1 [1]: this is not YAML: while parsing a block collection, did not find expected '-' indicator | indent the keys of a map, and the `-` of a list, by the same number of spaces; each key ends with `: `

            "name: {x: ${SECRET}}"
            1:12-1 name: this is not YAML: while parsing a flow mapping, did not find expected ',' or '}' | inside `[…]` or `{…}` a `${…}` needs quotes: `"${NAME}"`

            "list: [${SECRET}]"
            1:9-1 list[1]: this is not YAML: while parsing a flow sequence, expected ',' or ']' | inside `[…]` or `{…}` a `${…}` needs quotes: `"${NAME}"`

            "name: \"\\d\""
            1:7-1 name: this is not YAML: while parsing a quoted scalar, found unknown escape character | use single quotes: they leave `\` alone

            "<<<<<<< HEAD\nport: 1\n=======\n"
            2:5-1 : this is not YAML: mapping values are not allowed in this context | resolve the merge conflict: take the `<<<<<<<` line and its companions out

            "port: 1}"
            1:7-2 port: expected a whole number from 0 to 65535, found the text `1}` | NONE

            "nested: {a: 1, b: x"
            1:9-1 nested: this is not YAML: unclosed bracket '{' | balance the brackets, and put a comma between two items

            "\0\u{1}\u{2}"
            1:1-1 : this is not YAML: unexpected character: `\u{0}' | remove the control character; the file must be plain UTF-8 text

        "##]],
    );
}

#[test]
fn what_yaml_allows_and_a_routes_file_does_not_is_refused() {
    check::<Small>(
        &[
            "name: !secret x\nport: !!str 5",
            "nested: &n {a: 1, b: x}\nmap:\n  <<: *n\n  k: 300",
            "name: *nobody\nport: x",
            "map: &m [*m]",
            "name: a\nport: 1\nname: b\nport: x",
            "? [1, 2]\n: x\nport: x",
            ": x\n~: 3",
            "${SECRET}: x",
            "port: 1\r\nport: 2\r\nprt: 3\r\n",
            "1: x\ntrue: y",
        ],
        &expect![[r#"
            "name: !secret x\nport: !!str 5"
            1:15-1 name: tag `!secret` is not supported | take the tag out; quote what is to be text
            2:13-1 port: tag `!!str` is not supported | take the tag out; quote what is to be text

            "nested: &n {a: 1, b: x}\nmap:\n  <<: *n\n  k: 300"
            1:1-6 nested: missing key `wait` | add `wait: …` here
            3:3-2 map: merge keys (`<<`) are not part of YAML 1.2 | write the keys out, or use an alias for a whole value
            4:6-3 map.k: expected a whole number from 0 to 255, found the number `300` | NONE

            "name: *nobody\nport: x"
            1:7-7 name: alias `*nobody` has no anchor before it | write `&name` in front of the value that is meant, further up; or quote the text if it is no alias
            2:7-1 port: expected a whole number from 0 to 65535, found the text `x` | NONE

            "map: &m [*m]"
            1:9-1 map: expected a map, found a list | NONE
            1:10-2 map[0]: an alias stands inside the value that it names | write the value out

            "name: a\nport: 1\nname: b\nport: x"
            3:1-4 : key `name` is given twice | it stands in line 1 already; keep one of them
            4:1-4 : key `port` is given twice | it stands in line 2 already; keep one of them

            "? [1, 2]\n: x\nport: x"
            1:3-1 : a key must be text, found a list | a `${…}` inside `[…]` or `{…}` needs quotes; a key is one word
            3:7-1 port: expected a whole number from 0 to 65535, found the text `x` | NONE

            ": x\n~: 3"
            1:1-1 : a key is empty | write a key before the `:`
            2:1-1 : unknown key `~` | known keys: `port`, `signed`, `ratio`, `flag`, `name`, `wait`, `size`, `list`, `map`, `ports`, `nested`, `pair`, `algorithm`, `balancer`, `auth`, `any`

            "${SECRET}: x"
            1:1-9 : key `${SECRET}` holds a variable | variables are replaced in values only

            "port: 1\r\nport: 2\r\nprt: 3\r\n"
            2:1-4 : key `port` is given twice | it stands in line 1 already; keep one of them
            3:1-3 : unknown key `prt` | did you mean `port`? / known keys: `port`, `signed`, `ratio`, `flag`, `name`, `wait`, `size`, `list`, `map`, `ports`, `nested`, `pair`, `algorithm`, `balancer`, `auth`, `any`

            "1: x\ntrue: y"
            1:1-1 : unknown key `1` | known keys: `port`, `signed`, `ratio`, `flag`, `name`, `wait`, `size`, `list`, `map`, `ports`, `nested`, `pair`, `algorithm`, `balancer`, `auth`, `any`
            2:1-4 : unknown key `true` | known keys: `port`, `signed`, `ratio`, `flag`, `name`, `wait`, `size`, `list`, `map`, `ports`, `nested`, `pair`, `algorithm`, `balancer`, `auth`, `any`

        "#]],
    );
}

#[test]
fn variables_are_named_and_never_shown() {
    check::<Small>(
        &[
            "name: ${NOBODY}\nport: ${NOBODY:-x}\nratio: ${1}\nlist: ['${', \"${A:-${B}}\"]",
            "port: ${SECRET}\nwait: ${SECRET}\nalgorithm: ${SECRET}\nauth: ${SECRET}\nflag: ${SECRET}",
            "port: \"${WORKERS}\"\nname: ${EMPTY}\nwait: ${EMPTY:-5}",
            "wait: ${LONG}\nsize: ${LONG}\nlist: {a: \"${LONG}\"}\nalgorithm: ${LONG}",
        ],
        &expect![[r#"
            "name: ${NOBODY}\nport: ${NOBODY:-x}\nratio: ${1}\nlist: ['${', \"${A:-${B}}\"]"
            1:7-9 name: variable `NOBODY` is not set | set it, or write `${NOBODY:-default}`
            2:7-12 port: expected a whole number from 0 to 65535, found the value of `${NOBODY:-x}` | look at what the variable holds, and at the quotes around it
            3:8-4 ratio: `1` is not the name of a variable | write `${NAME}` or `${NAME:-default}`; `$$` stands for a single `$`
            4:8-4 list[0]: `${` without its `}` | write `${NAME}` or `${NAME:-default}`; `$$` stands for a single `$`
            4:14-12 list[1]: the default of `A` holds another variable | write a plain default; variables do not nest

            "port: ${SECRET}\nwait: ${SECRET}\nalgorithm: ${SECRET}\nauth: ${SECRET}\nflag: ${SECRET}"
            1:7-9 port: expected a whole number from 0 to 65535, found the value of `${SECRET}` | look at what the variable holds, and at the quotes around it
            2:7-9 wait: `${SECRET}` is not a duration | write whole numbers with ms, s, m, h or d, such as `1m30s`
            3:12-9 algorithm: unknown value `${SECRET}` | known values: `RS256`, `ES256`
            4:7-9 auth: unknown value `${SECRET}` | known values: `none` / a map is possible as well
            5:7-9 flag: expected `true` or `false`, found the value of `${SECRET}` | look at what the variable holds, and at the quotes around it

            "port: \"${WORKERS}\"\nname: ${EMPTY}\nwait: ${EMPTY:-5}"
            1:7-12 port: expected a whole number from 0 to 65535, found the value of `${WORKERS}` | look at what the variable holds, and at the quotes around it
            2:7-8 name: expected a value, found `${EMPTY}`, which is empty | look at what the variable holds, and at the quotes around it
            3:7-11 wait: `${EMPTY:-5}` has no unit | write it with one, such as `10s` or `250ms`

            "wait: ${LONG}\nsize: ${LONG}\nlist: {a: \"${LONG}\"}\nalgorithm: ${LONG}"
            1:7-7 wait: `${LONG}` is not a duration | write whole numbers with ms, s, m, h or d, such as `1m30s`
            2:7-7 size: `${LONG}` is not a size | write a whole number of bytes, or with KiB, MiB, GiB, kB, MB or GB, such as `64KiB`
            3:7-1 list: expected a list, found a map | NONE
            4:12-7 algorithm: unknown value `${LONG}` | known values: `RS256`, `ES256`

        "#]],
    );
}

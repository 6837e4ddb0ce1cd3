//! Which routes and tables are refused, and in which words.

#![expect(
    clippy::needless_raw_string_hashes,
    reason = "as expect-test writes them"
)]

use std::collections::BTreeMap;

use expect_test::expect;

use super::super::{MAX_ARRANGEMENTS, MAX_EXTENSION_METHODS, MAX_ROUTES_PER_PATH, MatchSpec};
use super::{Routes, check, refused};

#[test]
fn all_problems_of_all_routes_are_reported_with_their_place() {
    refused(
        "
a: {path: /a, path_prefix: /b, hosts: [], methods: []}
b:
  path: '/a/../b'
  hosts: ['*', 'a*.example.com', 'h:80', 'https://h', 'h.', '-', 'a..b', 'H', 'h', 'ü']
  methods: [get, GTE, CONNECT, 'A B', PUT, PUT, PROPFIND]
c:
  path_pattern: '/x/{id}/{id}'
  headers:
    - {name: x a, equals: a}
    - {name: x-a}
    - {name: x-b, equals: a, prefix: b}
    - {name: x-c, matches: '('}
    - {name: host, equals: a}
    - {name: x-d, present: true}
    - {name: X-D, prefix: ''}
    - {name: x-e, equals: ' a'}
  query: [{name: '', present: true}, {name: q}]
d: {}
",
        expect![[r#"
            0. : give exactly one of `path`, `path_prefix` and `path_pattern`
            0. hosts: no host is listed; leave `hosts` out to match any
            0. methods: no method is listed; leave `methods` out to match any
            1. path: no request can have the path `/a/../b`: the path has a `.` or `..` segment; send it resolved
            1. hosts[0]: `*` is every host; leave `hosts` out instead
            1. hosts[1]: `a*.example.com`: a wildcard is the whole first label, `*.example.com`
            1. hosts[2]: `h:80` has a port, which is ignored in requests; remove it
            1. hosts[3]: `https://h` is a URL; give the host alone
            1. hosts[4]: `h.` ends with a dot; remove it, requests match with and without
            1. hosts[5]: `-` is not a host name
            1. hosts[6]: `a..b` is not a host name
            1. hosts[8]: `h` is given twice
            1. hosts[9]: `ü` is not ASCII; write it as sent, `xn--…`
            1. methods[0]: `get` is not a known method; did you mean `GET`? (methods are case-sensitive)
            1. methods[1]: `GTE` is not a known method; did you mean `GET`? (methods are case-sensitive)
            1. methods[2]: `CONNECT` names no path and cannot be routed; remove it
            1. methods[3]: `A B` is not a method name
            1. methods[5]: `PUT` is given twice
            2. path_pattern: the parameter `id` is there twice; rename one
            2. headers[0].name: `x a` is not a header name
            2. headers[1]: give exactly one of `equals`, `prefix`, `matches` and `present`
            2. headers[2]: give exactly one of `equals`, `prefix`, `matches` and `present`
            2. headers[3].matches: not a regular expression: unclosed group
            2. headers[4].name: use `hosts`, which ignores case and port
            2. headers[6].prefix: the prefix is empty; use `present: true`
            2. headers[6].name: this name has a condition already; say both in one `matches`
            2. headers[7].equals: no header value begins with white space; remove it
            2. query[0].name: the name is empty
            2. query[1]: give exactly one of `equals`, `matches` and `present`
            3. : give exactly one of `path`, `path_prefix` and `path_pattern`
        "#]],
    );
}

#[test]
fn paths_that_cannot_mean_what_they_look_like_are_refused() {
    refused(
        "
a: {path: '/users/{id}'}
b: {path_prefix: '/users/*'}
c: {path: '/users/:id'}
d: {path_pattern: '/users'}
e: {path_pattern: '/users/x{id}'}
f: {path_pattern: '/{rest...}/x'}
g: {path_pattern: '/{1a}'}
h: {path_pattern: '/{}'}
i: {path: users}
j: {path: '/a?b=c'}
k: {path_pattern: '/a//{id}'}
l: {path_pattern: '/{a}/{b}/{c}/{d}/{e}/{f}/{g}/{h}/{i...}'}
m: {path: '/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17/18/19/20/21/22/23/24/25/26/27/28/29/30/31/32/33'}
n: {path_pattern: 'x/{id}'}
",
        expect![[r#"
            0. path: `/users/{id}` has braces; parameters belong in `path_pattern`
            1. path_prefix: `*` is no wildcard; use `path_prefix`, or `{rest...}` in `path_pattern` (a literal asterisk is `%2A`)
            2. path: `:id` is no parameter; write `{id}` in `path_pattern` (a literal colon is `%3A`)
            3. path_pattern: `/users` has no parameter; write it as `path`
            4. path_pattern: `x{id}`: a parameter is a whole segment, `{id}`
            5. path_pattern: `{rest...}` takes the rest of the path; put it last
            6. path_pattern: `{1a}`: a name is letters, digits and `_`, and does not begin with a digit
            7. path_pattern: `{}`: a name is letters, digits and `_`, and does not begin with a digit
            8. path: no request can have the path `users`: the path does not begin with `/`
            9. path: no request can have the path `/a?b=c`: the path has a `?`; send a literal one as `%3F`
            10. path_pattern: no request can have the path `/a//parameter`: the path has an empty segment; send single slashes
            11. path_pattern: 9 parameters; at most 8 are allowed
            12. path: 33 segments; at most 32 are allowed
            13. path_pattern: no request can have the path `x/parameter`: the path does not begin with `/`
        "#]],
    );
}

#[test]
fn routes_that_tie_are_refused() {
    refused(
        "
a: {path: /same}
b: {path: /same}
c: {path_pattern: '/p/{x}', methods: [GET, POST]}
d: {path_pattern: '/p/{y}', methods: [POST, PUT]}
e: {path_prefix: /h, headers: [{name: x-a, equals: a}]}
f: {path_prefix: /h/, headers: [{name: x-b, equals: a}]}
g: {path: /r, headers: [{name: x-a, matches: 'a+'}]}
h: {path: /r, headers: [{name: x-a, matches: 'b+'}]}
i: {path: /m, hosts: [one.example.com, two.example.com]}
j: {path: /m, hosts: [two.example.com, '*.example.com']}
",
        expect![[r#"
            1. path: routes `a` and `b` match some of the same requests with equal precedence; give them different methods, or one of them another header or query condition
            3. path_pattern: routes `c` and `d` match some of the same requests with equal precedence; give them different methods, or one of them another header or query condition
            5. path_prefix: routes `e` and `f` match some of the same requests with equal precedence; give them different methods, or one of them another header or query condition
            7. path: routes `g` and `h` match some of the same requests with equal precedence; give them different methods, or one of them another header or query condition
            9. path: routes `i` and `j` match some of the same requests with equal precedence; give them different methods, or one of them another header or query condition
        "#]],
    );
}

#[test]
fn routes_that_exclude_each_other_do_not_tie() {
    check(
        "
a: {path: /a, methods: [GET]}
b: {path: /a, methods: [POST]}
c: {path: /b, headers: [{name: x-a, equals: a}]}
d: {path: /b, headers: [{name: x-a, prefix: b}]}
e: {path: /b, query: [{name: q, equals: '1'}]}
f: {path: /b, query: [{name: q, equals: '2'}]}
g: {path_pattern: '/p/{x}', hosts: [one.example.com]}
h: {path_pattern: '/p/{y}', hosts: [two.example.com]}
",
        &[("GET /b?q=2", "f"), ("GET two.example.com/p/1", "h y=1")],
    );
}

#[test]
fn shadowed_routes_are_refused() {
    refused(
        "
a: {path_prefix: /}
b: {path_pattern: '/{rest...}'}
c: {path_prefix: /files, hosts: [files.example.com]}
d: {path: /files, hosts: [files.example.com]}
e: {path_pattern: '/files/{name...}', hosts: [files.example.com]}
f: {path: /x, headers: [{name: x-a, present: true}]}
g: {path: /x, headers: [{name: x-a, present: false}]}
h: {path: /x}
i: {path_pattern: '/t/{rest...}'}
j: {path: /t/}
k: {path_pattern: '/t/{one}', methods: [GET]}
l: {path_pattern: '/t/{one}'}
m: {path_pattern: '/t/{one}/{rest...}'}
",
        expect![[r#"
            0. path_prefix: route `a` can never win, because all its requests go to `b`; remove it, or narrow the others
            2. path_prefix: route `c` can never win, because all its requests go to `d`, `e`; remove it, or narrow the others
            7. path: route `h` can never win, because all its requests go to `f`, `g`; remove it, or narrow the others
            8. path_pattern: route `i` can never win, because all its requests go to `j`, `l`, `m`; remove it, or narrow the others
        "#]],
    );
}

#[test]
fn a_route_that_keeps_some_requests_is_not_shadowed() {
    check(
        "
prefix: {path_prefix: /files}
tail: {path_pattern: '/files/{rest...}'}
exact: {path: /files, methods: [GET]}
with: {path: /x, headers: [{name: x-a, present: true}]}
without: {path: /x, headers: [{name: x-a, present: false}], methods: [GET]}
other: {path: /x}
",
        &[("POST /files", "prefix"), ("POST /x", "other")],
    );
}

#[test]
fn bounds_of_the_table_are_refused_by_name() {
    let tie: String = (0..=MAX_ROUTES_PER_PATH).fold(String::new(), |yaml, tenant| {
        format!("{yaml}t{tenant:03}: {{path: /a, headers: [{{name: x-t, equals: t{tenant}}}]}}\n")
    });
    refused(
        &tie,
        expect![[r#"
        256. path: 257 routes share this host and path; at most 256 are allowed
    "#]],
    );

    let arranged: String = (1..=MAX_ARRANGEMENTS).fold(String::new(), |yaml, places| {
        let path = (0..9).fold(String::new(), |path, at| match places >> at & 1 {
            1 => format!("{path}/{{p{at}}}"),
            _ => format!("{path}/l{places}"),
        });
        format!("{yaml}r{places:03}: {{path_pattern: '{path}'}}\n")
    });
    let problems = Routes::parse(&arranged).build().expect_err("too many");
    assert!(
        problems[0].message.contains("different arrangements"),
        "{problems:?}"
    );

    let methods =
        (0..=MAX_EXTENSION_METHODS).fold(String::new(), |list, n| format!("{list}X-{n},"));
    refused(
        &format!("a: {{path: /a, methods: [{methods}]}}"),
        expect![[r#"
            0. methods[23]: `X-23` is one extension method too many; all routes can name 23
        "#]],
    );
}

#[test]
fn unknown_keys_are_refused() {
    for yaml in [
        "a: {path: /a, method: GET}",
        "a: {path: /a, headers: [{name: x, equal: y}]}",
        "a: {path: /a, query: [{name: x, prefix: y}]}",
    ] {
        let parsed: Result<BTreeMap<String, MatchSpec>, _> = serde_saphyr::from_str(yaml);
        assert!(parsed.is_err(), "{yaml}");
    }
}

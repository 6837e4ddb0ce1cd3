//! Which route has the request.

use expect_test::expect;

use super::{Routes, check, with_request};

#[test]
fn a_prefix_is_whole_segments() {
    check(
        "users: {path_prefix: /users}\nslashed: {path_prefix: /orders/}",
        &[
            ("GET /users", "users"),
            ("GET /users/", "users"),
            ("GET /users/7/orders", "users"),
            ("GET /usersx", "404"),
            ("GET /Users", "404"),
            ("GET /", "404"),
            ("GET /orders", "slashed"),
            ("GET /orders/1", "slashed"),
        ],
    );
    check(
        "all: {path_prefix: /}",
        &[("GET /", "all"), ("GET /a/b/", "all")],
    );
}

#[test]
fn an_exact_path_counts_the_trailing_slash() {
    check(
        "a: {path: /a}\nb: {path: /b/}\nroot: {path: /}",
        &[
            ("GET /a", "a"),
            ("GET /a/", "404"),
            ("GET /b/", "b"),
            ("GET /b", "404"),
            ("GET /", "root"),
        ],
    );
}

#[test]
fn a_parameter_is_one_segment_with_text() {
    check(
        "orders: {path_pattern: '/users/{id}/orders'}\nuser: {path_pattern: '/users/{id}'}",
        &[
            ("GET /users/7", "user id=7"),
            ("GET /users/", "404"),
            ("GET /users/7/", "404"),
            ("GET /users/7/orders", "orders id=7"),
            ("GET /users/7/orders/1", "404"),
            ("GET /users/a%20b", "user id=a%20b"),
            ("GET /users/urn%3Ax", "user id=urn:x"),
        ],
    );
}

#[test]
fn a_tail_takes_what_follows_its_slash() {
    check(
        "files: {path_pattern: '/files/{rest...}'}\nby: {path_pattern: '/by/{id}/{rest...}'}",
        &[
            ("GET /files", "404"),
            ("GET /files/", "files rest="),
            ("GET /files/a", "files rest=a"),
            ("GET /files/a/b/", "files rest=a/b/"),
            ("GET /by/7", "404"),
            ("GET /by/7/", "by id=7 rest="),
            ("GET /by/7/x/y", "by id=7 rest=x/y"),
        ],
    );
}

#[test]
fn spellings_of_one_path_reach_one_route() {
    check(
        "batch: {path: '/v1/items:batch'}\nencoded: {path: '/%7euser/a b'}\nrest: {path_prefix: /}",
        &[
            ("GET /v1/items:batch", "batch"),
            ("GET /v1/items%3abatch", "batch"),
            ("GET /v1/%69tems:batch", "batch"),
            ("GET /~user/a%20b", "encoded"),
            ("GET /v1/items;x:batch", "rest"),
        ],
    );
}

const PATHS: &str = "
exact: {path: /users/me}
id: {path_pattern: '/users/{id}'}
id_orders: {path_pattern: '/users/{id}/orders'}
me_any: {path_pattern: '/users/me/{what}'}
tail: {path_pattern: '/users/{rest...}'}
deep_tail: {path_pattern: '/users/{id}/{rest...}'}
me: {path_prefix: /users/me}
users: {path_prefix: /users}
all: {path_prefix: /}
";

#[test]
fn exact_path_beats_pattern_beats_longer_prefix_beats_shorter() {
    check(
        PATHS,
        &[
            ("GET /users/me", "exact"),
            ("GET /users/7", "id id=7"),
            ("GET /users/7/orders", "id_orders id=7"),
            // Literal before parameter at the first segment that differs.
            ("GET /users/me/orders", "me_any what=orders"),
            // A whole pattern beats any prefix, however long.
            ("GET /users/me/x", "me_any what=x"),
            ("GET /users/me/x/y", "me"),
            ("GET /users/7/x/y", "deep_tail id=7 rest=x/y"),
            // The tail asks for a slash, so it is narrower than the prefix.
            ("GET /users/", "tail rest="),
            ("GET /users", "users"),
            ("GET /other", "all"),
        ],
    );
}

#[test]
fn host_beats_path() {
    check(
        "
exact: {path_prefix: /, hosts: [API.example.com]}
longer: {path_prefix: /, hosts: ['*.b.example.com']}
wildcard: {path_prefix: /, hosts: ['*.example.com', '*.example.org']}
any: {path: /users}
",
        &[
            ("GET api.example.com/users", "exact"),
            ("GET Api.Example.Com.:8080/users", "exact"),
            ("GET a.b.example.com/users", "longer"),
            ("GET x.a.b.example.com/users", "longer"),
            ("GET b.example.com/users", "wildcard"),
            ("GET a.b.example.org/users", "wildcard"),
            ("GET example.com/users", "any"),
            ("GET notexample.com/users", "any"),
            ("GET /users", "any"),
            ("GET example.com/", "404"),
        ],
    );
}

#[test]
fn a_host_without_a_matching_route_falls_back_to_wider_hosts() {
    check(
        "
api: {path: /a, hosts: [api.example.com]}
wild: {path: /b, hosts: ['*.example.com']}
any: {path: /c}
",
        &[
            ("GET api.example.com/a", "api"),
            ("GET api.example.com/b", "wild"),
            ("GET api.example.com/c", "any"),
            ("GET api.example.com/d", "404"),
        ],
    );
}

#[test]
fn named_method_beats_more_headers_beats_more_query() {
    check(
        "
method: {path: /a, methods: [GET]}
headers: {path: /a, headers: [{name: x-a, present: true}, {name: x-b, present: true}]}
header: {path: /a, headers: [{name: x-a, present: true}]}
query: {path: /a, query: [{name: q, present: true}]}
plain: {path: /a}
",
        &[
            ("GET /a?q | x-a: 1 | x-b: 1", "method"),
            ("PUT /a?q | x-a: 1 | x-b: 1", "headers"),
            ("PUT /a?q | x-a: 1", "header"),
            ("PUT /a?q", "query"),
            ("PUT /a", "plain"),
            ("BREW /a", "plain"),
        ],
    );
}

#[test]
fn get_includes_head_unless_another_route_names_it() {
    check(
        "get: {path: /a, methods: [GET]}\nany: {path: /a}",
        &[("HEAD /a", "get"), ("POST /a", "any")],
    );
    check(
        "get: {path: /a, methods: [GET]}\nhead: {path: /a, methods: [HEAD]}",
        &[
            ("HEAD /a", "head"),
            ("GET /a", "get"),
            ("PUT /a", "405 GET, HEAD"),
        ],
    );
}

#[test]
fn a_narrower_route_that_fails_gives_way_to_a_wider_one() {
    check(
        "
exact: {path: /users/me, methods: [POST]}
id: {path_pattern: '/users/{id}', headers: [{name: x-a, equals: b}]}
literal: {path_pattern: '/users/me/{x}', methods: [PUT]}
parameter: {path_pattern: '/users/{id}/x'}
users: {path_prefix: /users, methods: [GET, POST]}
",
        &[
            ("POST /users/me", "exact"),
            ("GET /users/me | x-a: b", "id id=me"),
            ("GET /users/me", "users"),
            ("GET /users/me/x", "parameter id=me"),
            ("PUT /users/me/x", "literal x=x"),
        ],
    );
}

#[test]
fn method_not_allowed_only_if_all_but_the_method_matches() {
    check(
        "
read: {path: /a, methods: [GET]}
write: {path: /a, methods: [POST, PURGE], headers: [{name: x-a, equals: b}]}
prefix: {path_prefix: /, methods: [OPTIONS], hosts: [h.example.com]}
",
        &[
            ("DELETE /a", "405 GET, HEAD"),
            ("DELETE /a | x-a: b", "405 GET, HEAD, POST, PURGE"),
            ("DELETE h.example.com/a", "405 GET, HEAD, OPTIONS"),
            ("purge /a | x-a: b", "405 GET, HEAD, POST, PURGE"),
            ("PURGE /a | x-a: b", "write"),
            ("POST /a", "405 GET, HEAD"),
            ("POST /b", "404"),
        ],
    );
}

#[test]
fn header_conditions_want_the_header_once() {
    check(
        "
equals: {path: /a, headers: [{name: X-A, equals: one}]}
prefix: {path: /a, headers: [{name: x-a, prefix: two-}]}
absent: {path: /a, headers: [{name: x-a, present: false}]}
other: {path: /a}
regex: {path: /b, headers: [{name: x-a, matches: '[0-9]+|x'}]}
",
        &[
            ("GET /a | x-a: one", "equals"),
            ("GET /a | x-a: One", "other"),
            ("GET /a | x-a: two-x", "prefix"),
            ("GET /a", "absent"),
            ("GET /a | x-a: one | x-a: one", "other"),
            ("GET /a | x-a: one | x-a: two-", "other"),
            ("GET /b | x-a: 12", "regex"),
            ("GET /b | x-a: 12x", "404"),
        ],
    );
}

#[test]
fn query_conditions_see_decoded_values() {
    check(
        "
equals: {path: /a, query: [{name: v, equals: 'a b'}]}
regex: {path: /b, query: [{name: w, matches: 'x/.*'}]}
absent: {path: /a, query: [{name: v, present: false}]}
",
        &[
            ("GET /a?v=a+b", "equals"),
            ("GET /a?x=1&%76=a%20b", "equals"),
            ("GET /a?v=a&v=a+b", "404"),
            ("GET /b?v=&w=x%2Fy", "regex"),
            ("GET /a", "absent"),
        ],
    );
}

#[test]
fn candidates_say_who_lost_and_why() {
    let routes = Routes::parse(
        "
a: {path: /a, methods: [POST]}
b: {path: /a, methods: [GET], headers: [{name: X-A, present: true}]}
c: {path_pattern: '/{x}', query: [{name: q, present: true}]}
d: {path_pattern: '/{x}', methods: [GET]}
e: {path_prefix: /}
f: {path: /other}
",
    );
    let table = routes.build().expect("a table without problems");
    let explain = |line: &str| {
        with_request(line, |request| {
            let candidates = table.candidates(request);
            candidates.iter().fold(String::new(), |text, candidate| {
                let name = &routes.names[candidate.route.get()];
                format!("{text}{name} {:?}\n", candidate.verdict)
            })
        })
    };
    expect![[r#"
        b Header("x-a")
        a Method
        d Wins
        c Query("q")
        e Outranked
    "#]]
    .assert_eq(&explain("GET /a"));
    expect![[r#"
        a Method
        b Wins
        d Outranked
        c Query("q")
        e Outranked
    "#]]
    .assert_eq(&explain("HEAD /a | x-a: 1"));
}

//! Files with one thing wrong. Every message names it and the remedy.

use expect_test::{expect, expect_file};

use super::*;

/// A good file; each case replaces one piece of it.
const GOOD: &str = r#"version: 1
listeners: [{address: "127.0.0.1:8080"}]
jwt_providers:
  main:
    issuer: https://issuer.example/
    audiences: [api]
    algorithms: [RS256]
    jwks_uri: https://issuer.example/jwks.json
upstreams:
  users: {static: ["127.0.0.1:9001"]}
  products: {cloud_map: {namespace: prod.internal, service: products}}
  byname: {dns: {name: api.internal, port: 80}}
defaults: {timeout: 10s}
routes:
  - name: users
    match: {path_prefix: /users, methods: [GET]}
    auth: {jwt: main, claims_to_headers: {sub: x-user-id}}
    retries: {attempts: 2}
    backends: [{upstream: users, weight: 1}]
  - name: status
    match: {path: /status}
    auth: none
    respond: {status: 200, body: ok}
api_keys:
  partners: {file: /etc/keys.yaml, header: x-partner-key}
"#;

/// Each case replaces a piece by one of the texts beside it; what is then said is in the file.
fn check(name: &str, cases: &[(&str, &[&str])]) {
    let mut report = String::new();
    for (piece, replacements) in cases {
        assert_eq!(GOOD.matches(piece).count(), 1, "{piece}");
        for replacement in *replacements {
            let problems = problems(&GOOD.replace(piece, replacement));
            writeln!(report, "{replacement:?}\n{problems}").unwrap();
        }
    }
    assert!(!report.contains("nothing is wrong"), "{report}");
    let has_remedy = |line: &str| !line.ends_with("NO REMEDY");
    assert!(report.lines().all(has_remedy), "{report}");
    expect_file![format!("broken/{name}.txt")].assert_eq(&report);
}

#[test]
fn what_the_cases_start_from_is_good() {
    compiled(GOOD);
}

#[test]
fn top_level() {
    let version: &[_] = &[
        "version: 2\n",
        "",
        "version: \"1\"\n",
        "version: 1\nlisteners_: []\n",
        "version: 1\nworkers: 0\n",
        "version: 1\nworkers: 1000\n",
        "version: 1\nversion: 1\n",
    ];
    let defaults: &[_] = &[
        "default: {timeout: 10s}",
        "defaults: {timeout: 2h}",
        "defaults: {retries: {attempts: 6}}",
        "defaults: {max_request_body: 2000GiB}",
    ];
    check(
        "top_level",
        &[
            ("version: 1\n", version),
            ("defaults: {timeout: 10s}", defaults),
        ],
    );
}

#[test]
fn settings() {
    let listeners: &[_] = &[
        "[]",
        "[{address: 8080}]",
        r#"[{address: "localhost:8080"}]"#,
        r#"[{adress: "127.0.0.1:8080"}]"#,
        r#"[{address: "127.0.0.1:80"}, {address: "127.0.0.1:80"}]"#,
        r#"[{address: "127.0.0.1:80"}, {address: "0.0.0.0:80"}]"#,
        r#"[{address: "0.0.0.0:80"}, {address: "[::]:80"}]"#,
        r#"[{address: "0.0.0.0:9090"}]"#,
    ];
    let others: &[_] = &[
        "version: 1\nadmin: {address: \"0.0.0.0:8080\"}\n",
        "version: 1\naccess_log: {format: jsn}\n",
        "version: 1\naccess_log: {output: stderr}\n",
        "version: 1\nlimits: {head_size: 100, headers: 0, target_size: 1MiB}\n",
        "version: 1\nlimits: {head_timeout: 10}\n",
        "version: 1\nlimits: {idle_timeout: 0s, send_timeout: 2h}\n",
        "version: 1\nlimits: {connections: 0, requests_per_connection: 0}\n",
        "version: 1\nlimits: {connection: 5}\n",
        "version: 1\nshutdown: {lame_duck: 100s, drain: 20s}\n",
        "version: 1\nshutdown: {drain: 1h}\n",
        "version: 1\nupgrade: {}\n",
        "version: 1\nupgrade: {socket: upgrade.sock, timeout: 0s}\n",
        "version: 1\nupgrade: {socket: /run/a-directory-whose-name-is-far-too-long-for-the-path-of-a-unix-socket-on-any-system-that-is-known/upgrade.sock}\n",
        "version: 1\nupgrade: {sockets: /run/upgrade.sock}\n",
        "version: 1\ndns: {servers: [ns.example, \"127.0.0.1:0\"], timeout: 3s}\n",
        "version: 1\ndns: {servers: [10.0.0.2, \"127.0.0.1:0\"]}\n",
        "version: 1\ndns: {server: 10.0.0.2}\n",
        "version: 1\ndns: {servers: [\"::1\", \"::1\", \"::1\", \"::1\", \"::1\", \"::1\", \"::1\", \"::1\", \"::1\"]}\n",
        "version: 1\nforwarded: {trusted_proxies: [10.0.0.0/33, here]}\n",
        "version: 1\nstate_directory: ''\n",
        "version: 1\nzone: eu west\n",
    ];
    check(
        "settings",
        &[
            (r#"[{address: "127.0.0.1:8080"}]"#, listeners),
            ("version: 1\n", others),
        ],
    );
}

#[test]
fn jwt_providers() {
    let place: &[_] = &[
        "clock_skew: 1s",
        "jwks_uri: https://issuer.example/jwks.json\n    jwks_file: keys.json",
        "jwks_url: https://issuer.example/jwks.json",
        "jwks_uri: http://issuer.example/jwks.json",
        "jwks_uri: http://127.0.0.1@issuer.example/jwks.json",
        "jwks_uri: http://localhost.issuer.example/jwks.json",
        "jwks_uri: /jwks.json",
        "jwks_uri: issuer.example/jwks.json",
        "jwks_uri: ftp://issuer.example/jwks.json",
        "jwks_uri: https://issuer example/jwks.json",
        "jwks_uri: ''",
        "jwks_file: ''",
        "jwks_file: keys.json\n    discovery: true\n    secret: {env: JWT_SECRET}",
        "discovery: maybe",
        "jwks: {keys: []}",
        "jwks: {keys: [{kty: oct, k: c2VjcmV0}]}",
        "jwks: keys.json",
    ];
    let options: &[_] = &[
        "jwks_file: keys.json\n    allow_http: true\n    refresh_interval: 1m\n    \
         min_refresh_interval: 1m\n    max_refresh_interval: 1h\n    max_stale: 1h\n    \
         unknown_key_wait: 1s",
        "jwks: {keys: [{kty: OKP, crv: Ed25519, x: 11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo}]}\n    \
         max_stale: 1h\n    unknown_key_wait: 1s",
        "discovery: true\n    min_refresh_interval: 10m",
        "discovery: true\n    max_refresh_interval: 1m",
        "discovery: true\n    max_stale: 1h\n    refresh_interval: 40m",
        "discovery: true\n    max_stale: 1h\n    max_refresh_interval: 40m",
        "discovery: true\n    max_refresh_interval: 20h",
        "discovery: true\n    refresh_interval: 20h",
        "discovery: true\n    min_refresh_interval: 1s\n    max_refresh_interval: 8d\n    \
         max_stale: 1s\n    unknown_key_wait: 1m",
        "discovery: true\n    refresh_interval: 2d\n    max_stale: 31d",
    ];
    let secrets: &[_] = &[
        "algorithms: [HS256]\n    secret: {}",
        "algorithms: [HS256]\n    secret: {env: A, file: b}",
        "algorithms: [HS256]\n    secret: hunter2",
        "algorithms: [HS256]\n    secret: {env: JWT_SECRT}",
        "algorithms: [HS256]\n    secret: {env: EMPTY}",
        "algorithms: [HS256]\n    secret: {env: JWT_SECRET_WEAK}",
        "algorithms: [HS384, HS512]\n    secret: {env: JWT_SECRET, encoding: hex}",
        "algorithms: [HS256]\n    secret: {env: JWT_SECRET_WEAK, encoding: base64}",
        "algorithms: [HS256]\n    secret: {env: JWT_SECRET, encoding: ascii}",
        "algorithms: [HS256]\n    secret: {file: ''}",
        "algorithms: [HS256, RS256]\n    secret: {env: JWT_SECRET}",
        "algorithms: [RS256, HS256]\n    discovery: true",
    ];
    let issuer: &[_] = &["issuer: ''\n", "isuer: https://issuer.example/\n"];
    let discovery = ["me", "http://issuer.example", "https://issuer.example/?a=b"];
    let audiences: &[_] = &[
        "audiences: []",
        "audiences: api",
        "audiences: [api, '']",
        "subject: api",
    ];
    let algorithms: &[_] = &[
        "algorithms: []",
        "algorithms: [RS255]",
        "algorithms: [none, HS256]",
        "algorithms: [RS256]\n    clock_skew: 1h",
        "algorithms: [RS256]\n    clock_skew: 60",
        "algorithms: [RS256]\n    refresh_interval: 1s",
        "algorithms: [RS256]\n    max_token_size: 1MiB",
    ];
    check(
        "jwt_providers",
        &[
            ("jwks_uri: https://issuer.example/jwks.json", place),
            ("issuer: https://issuer.example/\n", issuer),
            ("audiences: [api]", audiences),
            ("algorithms: [RS256]", algorithms),
            ("main:\n", &["my provider:\n"]),
        ],
    );
    let place = "jwks_uri: https://issuer.example/jwks.json";
    let issuers = discovery.map(|issuer| {
        format!(
            "issuer: {issuer}\n    audiences: [api]\n    algorithms: [RS256]\n    discovery: true"
        )
    });
    let last = "algorithms: [RS256]\n    jwks_uri: https://issuer.example/jwks.json";
    let whole = format!("issuer: https://issuer.example/\n    audiences: [api]\n    {last}");
    check(
        "jwt_keys",
        &[
            (place, options),
            (last, secrets),
            (&whole, &issuers.each_ref().map(String::as_str)),
        ],
    );
}

#[test]
fn api_keys() {
    let lists: &[_] = &[
        "{}",
        "/etc/keys.yaml",
        "{file: ''}",
        "{path: /etc/keys.yaml}",
        "{file: /etc/keys.yaml, header: 'x key'}",
        "{file: /etc/keys.yaml, header: Authorization}",
        "{file: /etc/keys.yaml, headers: [x-api-key]}",
    ];
    check(
        "api_keys",
        &[
            ("{file: /etc/keys.yaml, header: x-partner-key}", lists),
            ("  partners: {", &["  \"part ners\": {"]),
        ],
    );
}

#[test]
fn jwks_over_plain_http_is_for_loopback() {
    for host in [
        "localhost",
        "LOCALHOST",
        "127.0.0.1",
        "127.0.0.2:8000",
        "[::1]:8000",
    ] {
        let uri = format!("http://{host}/jwks");
        compiled(&GOOD.replace("https://issuer.example/jwks", &uri));
    }
}

#[test]
fn upstreams() {
    let addresses: &[_] = &[
        "{}",
        r#"{static: ["127.0.0.1:9001"], dns: {name: x, port: 1}}"#,
        "{static: []}",
        r#"{static: ["127.0.0.1"]}"#,
        r#"{static: ["users:80"]}"#,
        r#"{static: ["127.0.0.1:0"]}"#,
        r#"{static: ["127.0.0.1:1", "127.0.0.1:1"]}"#,
        r#"{statics: ["127.0.0.1:1"]}"#,
        r#"{static: ["127.0.0.1:1"], load_balancer: least_requests}"#,
        r#"{static: ["127.0.0.1:1"], load_balancer: {least_request: {}}}"#,
        r#"{static: ["127.0.0.1:1"], load_balancer: {consistent_hash: {}}}"#,
        r#"{static: ["127.0.0.1:1"], load_balancer: consistent_hash}"#,
        r#"{static: ["127.0.0.1:1"], load_balancer: {consistent_hash: {header: a, cookie: b}}}"#,
        r#"{static: ["127.0.0.1:1"], load_balancer: {consistent_hash: {header: "a b"}}}"#,
        r#"{static: ["127.0.0.1:1"], load_balancer: {consistent_hash: {cookie: "a=b"}}}"#,
        r#"{static: ["127.0.0.1:1"], load_balancer: {consistent_hash: {claim: tenant}}}"#,
        r#"{static: ["127.0.0.1:1"], load_balancer: {consistent_hash: {claim: sub, max_load_percent: 100}}}"#,
        r#"{static: ["127.0.0.1:1"], load_balancer: {policy: round_robin, consistent_hash: {header: a}, aperture: true}}"#,
        r#"{static: ["127.0.0.1:1"], load_balancer: {aperture: {min_endpoints: 7, width_percent: 0}}}"#,
        r#"{static: ["127.0.0.1:1"], load_balancer: {aperture: {min_endpoint: 64}}}"#,
        r#"{static: ["127.0.0.1:1"], load_balancer: {aperture: maybe}}"#,
        r#"{static: ["127.0.0.1:1"], load_balancer: {consistent_hash: {claim: sub}}, zone_aware: true, slow_start: 1s}"#,
        r#"{static: ["127.0.0.1:1"], zone_aware: yes}"#,
        r#"{static: ["127.0.0.1:1"], zone_aware: {spill_at: 200}}"#,
        r#"{static: ["127.0.0.1:1"], zone_aware: {spill_at_percent: 99}}"#,
        r#"{static: ["127.0.0.1:1"], slow_start: 2h}"#,
        r#"{static: ["127.0.0.1:1"], connect_timeout: 0s}"#,
        r#"{static: ["127.0.0.1:1"], connect_timeout: 2m}"#,
        r#"{static: ["127.0.0.1:1"], limits: {connections: 0, pending: 1000001, request: 1}}"#,
        r#"{static: [{address: "127.0.0.1:1", weight: 0}]}"#,
        r#"{static: [{address: "127.0.0.1:1", zone: "eu west", wieght: 1}]}"#,
        "{static: [{zone: eu-west-1a}]}",
        "{file: endpoints.yaml}",
        "{file: {path: ''}}",
        r#"{static: ["127.0.0.1:1"], connections: {idle: 20000, idle_timeout: 0s, lifetime: 2d}}"#,
        r#"{static: ["127.0.0.1:1"], connections: {user_timeout: 10ms, keep_alive: 3h, head_start: 3s}}"#,
        r#"{static: ["127.0.0.1:1"], connections: {idel: 2}}"#,
    ];
    let map: &[_] = &[
        "{namespace: '', service: ' '}",
        "{service: products}",
        "{namespace: a, service: b, interval: 0s, port: 0}",
        "{namespace: a, service: b, port: 65536}",
        "{namespace: a, service: b, endpoint: 'localhost:4566'}",
        "{namespace: a, service: b, attributes: {'': blue}}",
        "{namespace: a, service: b, revision_interval: 1ms}",
    ];
    let dns: &[_] = &[
        "{name: api.internal}",
        "{name: '', port: 0, min_ttl: 1d}",
        "{}",
        "{srv: ''}",
        "{srv: _http._tcp.a, port: 80}",
        "{srv: _http._tcp.a, name: a}",
        "{srv: _http._tcp.a, min_ttl: 20s, max_ttl: 10s}",
    ];
    check(
        "upstreams",
        &[
            (r#"{static: ["127.0.0.1:9001"]}"#, addresses),
            ("{namespace: prod.internal, service: products}", map),
            ("{name: api.internal, port: 80}", dns),
            ("  users: {", &["  \"us ers\": {"]),
        ],
    );
}

#[test]
fn internal_identity() {
    const USERS: &str = "  users: {static: [\"127.0.0.1:9001\"]}";
    let with = |section: &str, users: &str| {
        GOOD.replace(
            "defaults:",
            &format!("internal_identity: {section}\ndefaults:"),
        )
        .replace(
            "[\"127.0.0.1:9001\"]",
            &format!("[\"127.0.0.1:9001\"]{users}"),
        )
    };
    compiled(&with("{}", ", identity: users"));
    let mut report = String::new();
    for section in [
        "{issuer: ''}",
        "{lifetime: 1s}",
        "{lifetime: 11m}",
        "{rotation: 30s}",
        "{rotation: 31d}",
        "{lifetime: 10m, rotation: 5m}",
        "{header: 'x token'}",
        "{header: authorization}",
        "{header: x_request_id}",
        "{header: X_User-Id}",
        "{heder: x-token}",
        "",
        "on",
    ] {
        let problems = problems(&with(section, ", identity: users"));
        writeln!(report, "{section:?}\n{problems}").unwrap();
    }
    for (name, text) in [
        ("a section that nothing uses", with("{}", "")),
        (
            "an audience without a section",
            GOOD.replace(
                USERS,
                "  users: {static: [\"127.0.0.1:9001\"], identity: users}",
            ),
        ),
        ("an empty audience", with("{}", ", identity: ''")),
        (
            "a long audience",
            with("{}", &format!(", identity: {}", "x".repeat(257))),
        ),
        (
            "keys without a section",
            GOOD.replace("{status: 200, body: ok}", "internal_jwks"),
        ),
        (
            "a slip",
            GOOD.replace("{status: 200, body: ok}", "internal_jwk"),
        ),
    ] {
        writeln!(report, "{name}\n{}", problems(&text)).unwrap();
    }
    assert!(!report.contains("nothing is wrong"), "{report}");
    expect_file!["broken/internal_identity.txt"].assert_eq(&report);
}

#[test]
fn routes() {
    let route: &[_] = &[
        "name: status\n",
        "name: ''\n",
        "name: my users\n",
        "nam: users\n",
        "name: users\n    timout: 1s\n",
        "name: users\n    timeout: 0s\n",
        "name: users\n    timeout: 1\n",
        "name: users\n    max_request_body: 10X\n",
        "name: users\n    respond: {status: 200}\n",
    ];
    let retries: &[_] = &[
        "retries: {attempts: 4294967295}",
        "retries: {attempt: 2}",
        "retries: {per_try_timeout: 2h}",
        "retries: 2",
        "retries: {retry_on: [resets, 503]}",
        "retries: {retry_on: [404, 600]}",
        "retries: {retry_on: reset, status_methods: safe}",
        "retries: {budget_percent: 101, budget_reserve: 1001, max_body: 2MiB, hold_answers: {max_body: 2MiB, unknown_length: 11s}}",
        "retries: {backoff: {base: 11s, max: 2m}}",
        "retries: {backoff: {base: 1s, max: 500ms}}",
    ];
    let respond: &[_] = &[
        "respond: {status: 99, content_type: \"a\\nb\"}",
        "respond: {status: 204, body: ok}",
        "respond: {status: ok}",
        "respond: {body: ok}",
        "timeout: 1s",
    ];
    check(
        "routes",
        &[
            ("name: users\n", route),
            ("retries: {attempts: 2}", retries),
            ("respond: {status: 200, body: ok}", respond),
        ],
    );
    expect![[r"
        2:1 routes: there is no route: every request would be a 404 | add a route with `name`, `match`, `auth` and `backends`
    "]]
    .assert_eq(&problems("version: 1\nroutes: []\n"));
}

#[test]
fn backends() {
    let backends: &[_] = &[
        "[]",
        "[{upstream: user}]",
        "[{upstream: completely}]",
        "[{upsteam: users}]",
        "[{weight: 1}]",
        "[users]",
        "[{upstream: users, weight: 0}, {upstream: byname, weight: 0}]",
        "[{upstream: users, weight: 4294967295}, {upstream: byname, weight: 4294967295}]",
        "[{upstream: users, weight: -1}]",
        "[{upstream: users, subset: {}}]",
        "[{upstream: users, subset: v1}]",
        "[{upstream: users, subset: {a: 1, b: 2, c: 3, d: 4, e: 5, f: 6, g: 7, h: 8, i: 9}}]",
        "[{upstream: users, subset: {version: v1}, when_empty: any}]",
        "[{upstream: users, when_empty: fail}]",
        "[{upstream: users}]\n    sticky: {}",
        "[{upstream: users}]\n    sticky: {header: 'x y'}",
        "[{upstream: users}]\n    sticky: {claim: sub, cookie: a}",
    ];
    check("backends", &[("[{upstream: users, weight: 1}]", backends)]);
}

#[test]
fn match_() {
    let users: &[_] = &[
        "{}",
        "/users",
        "{path_prefix: /users, path: /users}",
        "{path_prefx: /users}",
        "{path_prefix: users}",
        "{path_prefix: /users/*}",
        "{path_pattern: '/users/{id'}",
        "{path_prefix: /users, methods: []}",
        "{path_prefix: /users, methods: [get]}",
        "{path_prefix: /users, method: [GET]}",
        "{path_prefix: /users, hosts: ['users.example:80']}",
        "{path_prefix: /users, headers: [{name: 'x y', equals: a}]}",
        "{path_prefix: /users, headers: [{name: x-a}]}",
        "{path_prefix: /users, query: [{name: a, matches: '['}]}",
        "{path: /status}",
        "{path: /status}\n    timeout: 0s",
    ];
    check("match", &[("{path_prefix: /users, methods: [GET]}", users)]);
}

#[test]
fn a_route_that_can_never_win_is_refused() {
    let route = |name: &str, matches: &str| {
        format!("  - {{name: {name}, match: {matches}, auth: none, respond: {{status: 200}}}}\n")
    };
    let text = [
        "version: 1\nroutes:\n",
        &route("all", "{path_prefix: /files}"),
        &route("one", "{path: /files}"),
        &route("rest", "{path_pattern: '/files/{rest...}'}"),
    ]
    .concat();
    expect![[r"
        3:38 routes[0].match.path_prefix: route `all` can never win, because all its requests go to `one`, `rest` | remove it, or narrow the others
    "]].assert_eq(&problems(&text));
}

#[test]
fn auth() {
    let open: &[_] = &[
        "auth: open",
        "auth: None",
        "auth:",
        "auth: {}",
        "auth: {none: true}",
        "auth: false",
        "timeout: 1s",
    ];
    let jwt: &[_] = &[
        "{jwt: mian}",
        "{jwt: somebody}",
        "{jtw: main}",
        "{jwt: main, requires: {}}",
        "{jwt: main, require: {scope: {all: [a]}}}",
        "{jwt: main, require: {scopes: [a]}}",
        "{jwt: main, require: {claims: {tenant: a}}}",
        "{jwt: main, require: {claims: {tenant: {equal: a}}}}",
        "{jwt: main, require: {claims: {tenant: {matches: \"(\"}}}}",
        "{jwt: main, require: {network: []}}",
        "{jwt: main, require: {network: [10.0.0.0]}}",
        "{jwt: main, network: [10.0.0.0/8]}",
        "{jwt: main, api_key: partners}",
        "{api_key: partner}",
        "{jwt: []}",
        "{jwt: [main, mian]}",
        "{jwt: [main, main]}",
        "{network: []}",
        "{network: [10.0.0.0/8], claims_to_headers: {sub: x-user-id}}",
        "{network: [10.0.0.0/8], require: {scopes: {all: [a]}}}",
        "{require: {scopes: {all: [a]}}}",
        "{any: []}",
        "{any: [{jwt: main}], jwt: main}",
        "{any: [{jwt: main}], require: {scopes: {all: [a]}}}",
        "{any: [{any: [{jwt: main}]}]}",
        "{any: [{jwt: main}, {require: {}}]}",
        "{jwt: main, payload_to_header: cookie}",
        "{jwt: main, payload_to_header: x-a, claims_to_headers: {sub: x_a}}",
    ];
    let headers: &[_] = &[
        "{sub: 'x user'}",
        "{sub: ''}",
        "{sub: Host}",
        "{sub: x_forwarded_for}",
        "{sub: x-user-id, name: X_User-Id}",
        "[sub]",
    ];
    check(
        "auth",
        &[
            ("auth: none", open),
            ("{jwt: main, claims_to_headers: {sub: x-user-id}}", jwt),
            ("{sub: x-user-id}", headers),
        ],
    );
}

#[test]
fn variables_that_are_not_set() {
    let service: &[_] = &[
        "service: \"${SERVICE}\"",
        "service: \"${SERVICE:-}\"",
        "service: \"${EMPTY}\"",
        "service: \"${SERVICE\"",
        "service: \"${NAMESPCE}\"",
    ];
    let workers: &[_] = &["version: 1\nworkers: ${WORKERS}\n"];
    check(
        "variables",
        &[("service: products", service), ("version: 1\n", workers)],
    );
}

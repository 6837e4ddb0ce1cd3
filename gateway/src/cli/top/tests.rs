#![expect(
    clippy::needless_raw_string_hashes,
    reason = "expect-test writes them with"
)]

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use expect_test::{Expect, expect};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;
use serde_json::{Value, json};

use super::draw;
use super::sheets::{Moments, Tone, duration, grouped, percent, quantile, short};
use super::snapshot::Snapshot;
use super::state::{Mode, Outcome, Section, State};

const BOUNDS: [f64; 3] = [0.001, 0.01, 0.1];

fn traffic(good: u64, bad: u64, buckets: [u64; 4]) -> Value {
    json!({
        "answers": {"1xx": 0, "2xx": good, "3xx": 0, "4xx": 0, "5xx": bad},
        "reasons": {},
        "latency": {"count": 0, "sum_seconds": 0.0, "buckets": buckets},
    })
}

fn endpoint(address: &str, ejected_for: Option<&str>, score: f64) -> Value {
    json!({
        "address": address, "zone": "eu-west-1a", "weight": 1, "ejected_for": ejected_for,
        "health": if ejected_for.is_some() { "ejected" } else { "healthy" },
        "ejections": u8::from(ejected_for.is_some()), "in_flight": 3, "expected_ms": 4.25,
        "score": score,
    })
}

fn upstream(name: &str, count: u64, endpoints: &[Value]) -> Value {
    let traffic = traffic(count, 0, [0, count, 0, 0]);
    json!({
        "name": name, "is_answered": true, "is_panicking": false,
        "endpoint_count": endpoints.len(), "endpoints": endpoints, "retries": count / 10,
        "retries_denied": 0, "connect_failures": 0, "answers": traffic["answers"],
        "latency": traffic["latency"],
    })
}

fn held(name: &str, adaptive: &Value) -> Value {
    json!({
        "upstream": name, "requests": {"now": 9, "max": 10},
        "connections": {"now": 12, "max": 10_000}, "pending": {"now": 0, "max": 2_000},
        "adaptive": adaptive, "shed": {"critical": 0, "low": 0},
    })
}

fn refusal(time_ms: u64, status: u64, reason: &str) -> Value {
    json!({
        "time_ms": time_ms, "reason": reason, "status": status, "route": "users",
        "method": "GET", "path": "/users/7", "client": "10.0.0.9",
    })
}

/// Keys that are good for so many seconds after they were last confirmed, of an hour.
fn provider(name: &str, ids: &[&str], age_seconds: Option<u64>) -> Value {
    let keys: Vec<_> = ids.iter().map(|id| json!({"kid": id})).collect();
    json!({
        "name": name, "issuer": "https://issuer.example/", "keys": keys, "revocations": null,
        "age_seconds": age_seconds,
        "seconds_until_stale": age_seconds.map(|age| 3_600_u64.saturating_sub(age)),
    })
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("as the admin API says it")
}

/// The gateway so many seconds after its first request: 100 good requests a second to `users`, one
/// in ten of those to `products` bad.
fn snapshot(seconds: u64) -> Snapshot {
    let count = seconds * 100;
    let routes = [
        json!({"name": "users", "upstreams": [{"name": "users"}], "traffic": traffic(count, 0, [count, 0, 0, 0])}),
        json!({
            "name": "products", "upstreams": [{"name": "products"}, {"name": "legacy"}],
            "traffic": traffic(seconds * 9, seconds, [0, seconds * 9, 0, seconds]),
        }),
    ];
    let ejected = endpoint("10.0.0.2:8080", Some("consecutive_5xx"), 0.0);
    Snapshot {
        at: Duration::from_secs(seconds),
        status: read(json!({
            "version": "0.1.0", "time": 1_000_060, "is_ready": true, "waiting_for": [],
            "workers": 2, "connections": 1_234, "connections_refused": 0, "requests_in_flight": 12,
        })),
        config: read(json!({
            "file": "routes.yaml",
            "reloads": {
                "generation": 2, "hash": "3f9a2c", "needs_restart": [], "read_at": 0,
                "applied": 1, "unchanged": 0, "refused": 0, "refused_last": null,
            },
        })),
        routes: read(json!({
            "bucket_bounds_seconds": BOUNDS, "routes": routes,
            "unmatched": traffic(0, 0, [0; 4]),
        })),
        upstreams: read(json!({
            "bucket_bounds_seconds": BOUNDS,
            "upstreams": [
                upstream("users", count, &[endpoint("10.0.0.1:8080", None, 1.25), ejected]),
                upstream("products", seconds * 10, &[endpoint("10.0.0.3:8080", None, 0.5)]),
            ],
        })),
        limits: read(json!({
            "upstreams": [held("users", &json!({"limit": 40})), held("products", &Value::Null)],
            "documents": [],
        })),
        refusals: read(json!({"refusals": [
            refusal(1_000_057_000, 401, "jwt_missing"),
            refusal(999_000_000, 503, "no_endpoint"),
        ]})),
        keys: read(json!({
            "jwt_providers": [
                provider("main", &["2026-01", "2026-02"], Some(75)),
                provider("fixed", &["k"], None),
            ],
            "api_keys": [{"name": "partners", "header": "x-api-key", "keys": 12}],
        })),
    }
}

fn state() -> State {
    let interval = Duration::from_secs(2);
    let mut state = State::new("http://127.0.0.1:9090", interval, false);
    state.told(snapshot(10));
    state.told(snapshot(12));
    state
}

fn screen(state: &State, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw::frame(state, frame)).unwrap();
    terminal
}

fn check(state: &State, (width, height): (u16, u16), expected: &Expect) {
    let terminal = screen(state, width, height);
    let buffer = terminal.backend().buffer();
    let lines = buffer.content().chunks(usize::from(width)).map(|cells| {
        let line: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        format!("{}\n", line.trim_end())
    });
    expected.assert_eq(&lines.collect::<String>());
}

fn press(state: &mut State, keys: &str) -> Outcome {
    let mut last = Outcome::Stay;
    for key in keys.chars() {
        let code = match key {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            '\u{1b}' => KeyCode::Esc,
            '\u{8}' => KeyCode::Backspace,
            '↓' => KeyCode::Down,
            letter => KeyCode::Char(letter),
        };
        last = state.press(KeyEvent::new(code, KeyModifiers::NONE));
    }
    last
}

fn firsts(state: &State) -> Vec<String> {
    let moments = state.moments().unwrap();
    let sheet = state.sheet(state.section, &moments);
    sheet.rows.iter().map(|row| row[0].text.clone()).collect()
}

#[test]
fn a_wide_terminal_shows_all_sections() {
    check(
        &state(),
        (120, 34),
        &expect![[r#"
            gateway 0.1.0  ready  http://127.0.0.1:9090  2 workers
            110 req/s  0.9 % 5xx  p50 1 ms  p99 10 ms  12 in flight  1,234 connections  0 refused
            routes.yaml  generation 2  3f9a2c  reloads: 1 applied, 0 refused
            Routes ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────
            Route        req/s     5xx    p50    p99   Total  Upstreams
            users          100   0.0 %   1 ms   1 ms   1,200  users
            products      10.0  10.0 %  10 ms  >10 s     120  products, legacy
            (no route)     0.0       –      –      –       0

            Upstreams ──────────────────────────────────────────────────────────────────────────────────────────────────────────────
            Upstream    req/s    5xx    p50    p99   Retries/s   Denied/s   No conn/s  Healthy
            users         100  0.0 %  10 ms  10 ms        10.0        0.0         0.0  1/2
            products     10.0  0.0 %  10 ms  10 ms         1.0        0.0         0.0  1/1

            Endpoints ──────────────────────────────────────────────────────────────────────────────────────────────────────────────
            Endpoint       Upstream   Health                      Score   In flight   Expected   Weight   Ejections  Zone
            10.0.0.1:8080  users      healthy                       1.2           3     4.2 ms        1           0  eu-west-1a
            10.0.0.2:8080  users      ejected (consecutive_5xx)     0.0           3     4.2 ms        1           1  eu-west-1a
            10.0.0.3:8080  products   healthy                       0.5           3     4.2 ms        1           0  eu-west-1a

            Limits ────────────────────────────────────────────────────  Refusals ──────────────────────────────────────────────────
            Upstream    Requests   Connections   Adaptive   Shed/s        Ago   Status  Reason       Route   Path      Client
            users           9/10     12/10,000         40      0.0         3s      401  jwt_missing  users   /users/7  10.0.0.9
            products        9/10     12/10,000          –      0.0        17m      503  no_endpoint  users   /users/7  10.0.0.9

            Keys ──────────────────────────────────────────────────────
            Keys of    Count   Age   Good for  Ids
            main           2    1m        58m  2026-01, 2026-02
            fixed          1     –          –  k
            partners      12     –          –



            q quit  Tab section  s sort  / filter  p hold  ? help
        "#]],
    );
}

#[test]
fn a_narrow_terminal_shows_one_section_and_leaves_out_columns() {
    let mut state = state();
    check(
        &state,
        (48, 10),
        &expect![[r#"
        gateway 0.1.0  ready  http://127.0.0.1:9090  2 w
        110 req/s  0.9 % 5xx  p50 1 ms  p99 10 ms  12 in
        routes.yaml  generation 2  3f9a2c  reloads: 1 ap
         1 Routes  2 Upstreams  3 Endpoints  4 Limits  5
        Routes ─────────────────────────────────────────
        Route        req/s     5xx    p50    p99   Total
        users          100   0.0 %   1 ms   1 ms   1,200
        products      10.0  10.0 %  10 ms  >10 s     120
        (no route)     0.0       –      –      –       0
        q quit  Tab section  s sort  / filter  p hold  ?
    "#]],
    );
    press(&mut state, "\t");
    check(
        &state,
        (48, 10),
        &expect![[r#"
        gateway 0.1.0  ready  http://127.0.0.1:9090  2 w
        110 req/s  0.9 % 5xx  p50 1 ms  p99 10 ms  12 in
        routes.yaml  generation 2  3f9a2c  reloads: 1 ap
         1 Routes  2 Upstreams  3 Endpoints  4 Limits  5
        Upstreams ──────────────────────────────────────
        Upstream    req/s    5xx    p99  Healthy
        users         100  0.0 %  10 ms  1/2
        products     10.0  0.0 %  10 ms  1/1

        q quit  Tab section  s sort  / filter  p hold  ?
    "#]],
    );
    press(&mut state, "5");
    check(
        &state,
        (80, 10),
        &expect![[r#"
            gateway 0.1.0  ready  http://127.0.0.1:9090  2 workers
            110 req/s  0.9 % 5xx  p50 1 ms  p99 10 ms  12 in flight  1,234 connections  0 re
            routes.yaml  generation 2  3f9a2c  reloads: 1 applied, 0 refused
             1 Routes  2 Upstreams  3 Endpoints  4 Limits  5 Refusals  6 Keys
            Refusals ───────────────────────────────────────────────────────────────────────
             Ago   Status  Reason       Route   Method   Path      Client
              3s      401  jwt_missing  users   GET      /users/7  10.0.0.9
             17m      503  no_endpoint  users   GET      /users/7  10.0.0.9

            q quit  Tab section  s sort  / filter  p hold  ? help
        "#]],
    );
}

#[test]
fn however_small_the_terminal_nothing_breaks() {
    let mut state = state();
    press(&mut state, "?");
    for width in 1..60 {
        for height in [1, 2, 3, 4, 5, 8, 40] {
            screen(&state, width, height);
        }
    }
}

#[test]
fn a_gateway_that_does_not_answer_is_told_of_beside_what_it_last_said() {
    let mut state = state();
    state.lost("cannot connect to 127.0.0.1:9090".into());
    check(
        &state,
        (100, 8),
        &expect![[r#"
            gateway 0.1.0  no answer, asking every 2s: cannot connect to 127.0.0.1:9090  http://127.0.0.1:9090
            110 req/s  0.9 % 5xx  p50 1 ms  p99 10 ms  12 in flight  1,234 connections  0 refused
            routes.yaml  generation 2  3f9a2c  reloads: 1 applied, 0 refused
             1 Routes  2 Upstreams  3 Endpoints  4 Limits  5 Refusals  6 Keys
            Routes ─────────────────────────────────────────────────────────────────────────────────────────────
            Route        req/s     5xx    p50    p99   Total  Upstreams
            users          100   0.0 %   1 ms   1 ms   1,200  users
            q quit  Tab section  s sort  / filter  p hold  ? help
        "#]],
    );
    // What is counted from the next answer on is not of the time when there was none.
    state.told(snapshot(100));
    assert_eq!(state.lost, None);
    assert_eq!(state.moments().unwrap().total().rate, None);
    let mut state = State::new("http://127.0.0.1:9090", Duration::from_secs(2), false);
    state.lost("cannot connect to 127.0.0.1:9090".into());
    check(
        &state,
        (100, 3),
        &expect![[r#"
        no answer, asking every 2s: cannot connect to 127.0.0.1:9090

        q quit  Tab section  s sort  / filter  p hold  ? help
    "#]],
    );
}

#[test]
fn a_refused_file_is_told_of() {
    let mut state = state();
    let mut next = snapshot(14);
    let problems = json!({"problems": [{"line": 7, "message": "unknown key `timout`"}]});
    next.config.reloads.refused_last = Some(read(problems));
    next.status.is_ready = false;
    next.status.waiting_for = vec!["keys of provider `main`".into()];
    state.told(next);
    check(
        &state,
        (100, 4),
        &expect![[r#"
        gateway 0.1.0  not ready: waits for keys of provider `main`  http://127.0.0.1:9090  2 workers
        110 req/s  0.9 % 5xx  p50 1 ms  p99 10 ms  12 in flight  1,234 connections  0 refused
        routes.yaml  generation 2  3f9a2c  reloads: 1 applied, 0 refused  the last file is refused: line 7:
        q quit  Tab section  s sort  / filter  p hold  ? help
    "#]],
    );
}

#[test]
fn keys_are_bad_once_no_token_can_be_checked_by_them_and_odd_before() {
    for (keys, [count, age, rest], [of_count, of_rest]) in [
        (
            provider("p", &["a"], Some(59)),
            ["1", "59s", "59m"],
            [Tone::Plain, Tone::Plain],
        ),
        (
            provider("p", &["a"], Some(1_800)),
            ["1", "30m", "30m"],
            [Tone::Plain, Tone::Odd],
        ),
        (
            provider("p", &["a"], Some(7_200)),
            ["1", "2h", "0s"],
            [Tone::Plain, Tone::Bad],
        ),
        (
            provider("p", &["a"], Some(400_000)),
            ["1", "4d", "0s"],
            [Tone::Plain, Tone::Bad],
        ),
        // Never read.
        (
            provider("p", &[], None),
            ["0", "–", "–"],
            [Tone::Bad, Tone::Plain],
        ),
    ] {
        let mut now = snapshot(1);
        now.keys = read(json!({"jwt_providers": [keys], "api_keys": []}));
        let sheet = Moments {
            before: None,
            now: &now,
        }
        .keys();
        let [row] = &sheet.rows[..] else {
            panic!("{sheet:?}");
        };
        let texts = [2, 3, 4].map(|column| &*row[column].text);
        assert_eq!(texts, [count, age, rest]);
        assert_eq!([row[2].tone, row[4].tone], [of_count, of_rest], "{texts:?}");
    }
}

#[test]
fn text_has_all_rows_and_no_end_of_line_spaces() {
    let text = draw::text(&state(), 100, 200);
    for words in ["users", "10.0.0.2:8080", "jwt_missing", "Limits", "2026-02"] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(text.lines().all(|line| line == line.trim_end()));
}

#[test]
fn colours_are_used_unless_they_are_not_wanted() {
    for has_colour in [true, false] {
        let mut state = state();
        state.has_colour = has_colour;
        let terminal = screen(&state, 120, 34);
        let cells = terminal.backend().buffer().content();
        let coloured = cells.iter().any(|cell| cell.fg != Color::Reset);
        assert_eq!(coloured, has_colour);
    }
}

#[test]
fn rates_are_over_the_time_between_two_answers_and_absent_before() {
    let (before, now) = (snapshot(10), snapshot(12));
    let both = Moments {
        before: Some(&before),
        now: &now,
    };
    let total = both.total();
    assert_eq!(total.rate, Some(110.0));
    assert_eq!(total.errors, Some(1.0 / 110.0));
    assert_eq!((total.p50, total.p99), (Some(0.001), Some(0.01)));
    let alone = Moments {
        before: None,
        now: &now,
    };
    assert_eq!(alone.total().rate, None);
    assert_eq!(alone.routes().rows[0][1].text, "–");
    // Another process counts from nothing.
    let restarted = Moments {
        before: Some(&now),
        now: &Snapshot {
            at: Duration::from_secs(13),
            ..snapshot(1)
        },
    };
    assert_eq!(restarted.total().rate, None);
    assert_eq!(restarted.upstreams().rows[0][1].text, "–");
}

#[test]
fn a_quantile_is_the_bound_of_its_bucket() {
    for (buckets, percent, expected) in [
        ([0, 0, 0, 0], 50, None),
        ([1, 0, 0, 0], 50, Some(0.001)),
        ([50, 49, 1, 0], 50, Some(0.001)),
        ([50, 49, 1, 0], 51, Some(0.01)),
        ([50, 49, 1, 0], 99, Some(0.01)),
        ([50, 49, 1, 0], 100, Some(0.1)),
        ([0, 0, 0, 1], 1, Some(f64::INFINITY)),
    ] {
        let found = quantile(&buckets, &BOUNDS, percent);
        assert_eq!(found, expected, "{buckets:?} {percent}");
    }
}

#[test]
fn numbers_have_as_many_figures_as_one_reads() {
    for (value, expected) in [
        (0.0, "0.0"),
        (99.94, "99.9"),
        (99.96, "100"),
        (1_234.5, "1,235"),
    ] {
        assert_eq!(short(value), expected);
    }
    for (seconds, expected) in [
        (0.0005, "0.5 ms"),
        (0.001, "1 ms"),
        (0.25, "250 ms"),
        (2.5, "2.5 s"),
        (10.0, "10 s"),
        (f64::INFINITY, ">10 s"),
    ] {
        assert_eq!(duration(seconds), expected);
    }
    assert_eq!(grouped(1_234_567), "1,234,567");
    assert_eq!(percent(0.1234), "12.3 %");
}

#[test]
fn rows_are_ordered_by_a_column_and_back_as_they_were() {
    let mut state = state();
    assert_eq!(firsts(&state), ["users", "products", "(no route)"]);
    press(&mut state, "s");
    assert_eq!(firsts(&state), ["users", "products", "(no route)"]);
    press(&mut state, "r");
    assert_eq!(firsts(&state), ["(no route)", "products", "users"]);
    // By rate, upwards.
    press(&mut state, "s");
    assert_eq!(firsts(&state), ["(no route)", "products", "users"]);
    press(&mut state, "r");
    assert_eq!(firsts(&state), ["users", "products", "(no route)"]);
    press(&mut state, "ssssss");
    assert_eq!(state.order(Section::Routes).column, None);
}

#[test]
fn a_filter_keeps_the_rows_that_contain_it() {
    let mut state = state();
    press(&mut state, "/LEGx\u{8}");
    assert_eq!(state.mode, Mode::Typing);
    assert_eq!(firsts(&state), ["products"], "by its upstream");
    // Letters that are commands elsewhere are letters here.
    assert_eq!(press(&mut state, "q"), Outcome::Stay);
    assert_eq!(firsts(&state), Vec::<String>::new());
    press(&mut state, "\u{8}\n");
    assert_eq!(state.mode, Mode::Looking);
    assert_eq!(firsts(&state), ["products"]);
    assert_eq!(press(&mut state, "\u{1b}"), Outcome::Stay);
    assert_eq!(firsts(&state).len(), 3);
}

#[test]
fn what_is_held_does_not_change_until_it_is_let_go() {
    let mut state = state();
    let rate = |state: &State| state.moments().unwrap().total().rate;
    press(&mut state, "p");
    state.told(snapshot(112));
    state.lost("no".into());
    assert_eq!(rate(&state), Some(110.0));
    state.told(snapshot(112));
    press(&mut state, " ");
    state.told(snapshot(112));
    assert_eq!(rate(&state), Some(110.0));
    assert_eq!(state.moments().unwrap().now.at, Duration::from_secs(112));
}

#[test]
fn keys_leave_help_and_scroll() {
    let mut state = state();
    press(&mut state, "?");
    assert_eq!(state.mode, Mode::Help);
    assert_eq!(press(&mut state, "\u{1b}"), Outcome::Stay);
    assert_eq!(state.mode, Mode::Looking);
    press(&mut state, "j↓j↓");
    assert_eq!(state.order(Section::Routes).first_row, 2, "the last row");
    press(&mut state, "k");
    assert_eq!(state.order(Section::Routes).first_row, 1);
    assert_eq!(press(&mut state, "q"), Outcome::Leave);
    assert_eq!(press(&mut state, "\u{1b}"), Outcome::Leave);
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(state.press(interrupt), Outcome::Leave);
    press(&mut state, "/");
    assert_eq!(state.press(interrupt), Outcome::Leave);
}

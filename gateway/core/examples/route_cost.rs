//! What finding a route costs, for tables of 10, 1,000 and 10,000 routes.
//!
//! `cargo run --release -p gateway-core --example route_cost`
//!
//! Each line is the fastest of several rounds; a round cycles through the paths
//! of many different routes, so that the whole table is in use and not only the
//! part that stays in the nearest cache.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use std::hint::black_box;
use std::time::Instant;

use gateway_core::path::CleanPath;
use gateway_core::route::{MatchSpec, NamedMatch, Outcome, Request, RouteTable};
use http::{HeaderMap, Method};

const ROUNDS: usize = 25;
const FINDS_PER_ROUND: u32 = 50_000;

/// Different paths asked for of each kind.
const PATHS: usize = 512;

/// What is asked: a name, the path for the n-th service, and the answer.
type Kind = (&'static str, fn(usize) -> String, &'static str);

const KINDS: [Kind; 6] = [
    ("exact path", |n| format!("/service-{n}/status"), "route"),
    ("prefix", |n| format!("/service-{n}/docs/a/b"), "route"),
    (
        "pattern",
        |n| format!("/service-{n}/items/42/orders"),
        "route",
    ),
    (
        "wider route",
        |n| format!("/service-{n}/items/42/other"),
        "route",
    ),
    ("405", |n| format!("/service-{n}/items/42"), "405"),
    ("404", |n| format!("/absent-{n}/items/42"), "404"),
];

fn main() {
    println!("{:>8}  {:<12} {:>8}", "routes", "request", "ns/find");
    for route_count in [10, 1_000, 10_000] {
        let table = table_of(route_count);
        for (name, path_of, expected) in KINDS {
            let services = (route_count / 5).max(1);
            let paths: Vec<String> = (0..PATHS).map(|n| path_of(n * 7919 % services)).collect();
            let cost_ns = find_cost_ns(&table, &paths, expected);
            println!("{route_count:>8}  {name:<12} {cost_ns:>8.0}");
        }
    }
    println!();
    for raw in ["/users/42/orders", "/users/%7e42/orders"] {
        let cost_ns = least_ns(|_| {
            black_box(CleanPath::parse(black_box(raw)).is_ok());
        });
        println!("parse {raw}: {cost_ns:.0} ns");
    }
}

/// Five routes for each service.
fn table_of(route_count: usize) -> RouteTable {
    let specs: Vec<MatchSpec> = (0..route_count)
        .map(|index| {
            let service = format!("/service-{}", index / 5);
            let mut spec = MatchSpec::default();
            match index % 5 {
                0 => spec.path = Some(format!("{service}/status")),
                1 => spec.path_prefix = Some(format!("{service}/docs")),
                2 => spec.path_pattern = Some(format!("{service}/items/{{id}}/orders")),
                3 => spec.path_pattern = Some(format!("{service}/items/{{id}}/{{rest...}}")),
                _ => {
                    spec.path_pattern = Some(format!("{service}/items/{{id}}"));
                    spec.methods = Some(vec!["PUT".to_owned()]);
                }
            }
            spec
        })
        .collect();
    let routes: Vec<NamedMatch<'_>> = specs
        .iter()
        .map(|spec| NamedMatch {
            name: "route",
            spec,
        })
        .collect();
    RouteTable::build(&routes).expect("the routes do not overlap")
}

fn find_cost_ns(table: &RouteTable, paths: &[String], expected: &str) -> f64 {
    let headers = HeaderMap::new();
    let paths: Vec<CleanPath<'_>> = paths
        .iter()
        .map(|path| CleanPath::parse(path).expect("a clean path"))
        .collect();
    let requests: Vec<Request<'_>> = paths
        .iter()
        .map(|path| Request {
            host: Some("api.example.com"),
            path,
            method: &Method::GET,
            headers: &headers,
            query: None,
        })
        .collect();
    for request in &requests {
        let found = match table.find(request) {
            Outcome::Route { .. } => "route",
            Outcome::MethodNotAllowed { .. } => "405",
            Outcome::NotFound => "404",
        };
        assert_eq!(found, expected, "{request:?}");
    }
    least_ns(|turn| {
        black_box(table.find(black_box(&requests[turn % PATHS])));
    })
}

/// Nanoseconds of one call in the fastest round: whatever else the machine does
/// can only slow a round down.
fn least_ns(mut call: impl FnMut(usize)) -> f64 {
    (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..FINDS_PER_ROUND as usize).for_each(&mut call);
            start.elapsed().as_secs_f64() * 1e9 / f64::from(FINDS_PER_ROUND)
        })
        .fold(f64::INFINITY, f64::min)
}

//! Tables: which route wins, and which tables are refused.

mod refused;
mod wins;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use expect_test::Expect;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::*;

/// Routes by name, as the routes file writes their `match`.
struct Routes {
    names: Vec<String>,
    specs: Vec<MatchSpec>,
}

impl Routes {
    fn parse(yaml: &str) -> Self {
        let routes: BTreeMap<String, MatchSpec> = serde_saphyr::from_str(yaml).expect(yaml);
        let (names, specs) = routes.into_iter().unzip();
        Self { names, specs }
    }

    fn build(&self) -> Result<RouteTable, Vec<RouteProblem>> {
        let named = self.names.iter().zip(&self.specs);
        let named: Vec<NamedMatch<'_>> = named
            .map(|(name, spec)| NamedMatch { name, spec })
            .collect();
        RouteTable::build(&named)
    }
}

/// `GET api.example.com/users?limit=1 | x-tenant: a`; host, query and headers
/// may be left out.
fn with_request<T>(line: &str, use_request: impl FnOnce(&Request<'_>) -> T) -> T {
    let mut parts = line.split(" | ");
    let (method, target) = parts.next().and_then(|p| p.split_once(' ')).expect(line);
    let (target, query) = match target.split_once('?') {
        Some((target, query)) => (target, Some(query)),
        None => (target, None),
    };
    let (host, path) = target.split_at(target.find('/').expect(line));
    let mut headers = HeaderMap::new();
    for header in parts {
        let (name, value) = header.split_once(": ").expect(line);
        let name: HeaderName = name.parse().expect(line);
        headers.append(name, HeaderValue::from_str(value).expect(line));
    }
    use_request(&Request {
        host: Some(host).filter(|host| !host.is_empty()),
        path: &CleanPath::parse(path).expect(line),
        method: &method.parse::<Method>().expect(line),
        headers: &headers,
        query,
    })
}

fn answer(routes: &Routes, table: &RouteTable, line: &str) -> String {
    with_request(line, |request| match table.find(request) {
        Outcome::NotFound => "404".to_owned(),
        Outcome::MethodNotAllowed { allow } => {
            let value = allow.header_value();
            format!("405 {}", value.to_str().expect("ASCII"))
        }
        Outcome::Route { index, params } => {
            let mut text = routes.names[index.get()].clone();
            for (name, value) in params.iter() {
                assert_eq!(params.get(name), Some(value));
                write!(text, " {name}={value}").expect("a String takes all");
            }
            text
        }
    })
}

fn check(yaml: &str, cases: &[(&str, &str)]) {
    let routes = Routes::parse(yaml);
    let table = routes.build().expect("a table without problems");
    for (line, expected) in cases {
        assert_eq!(answer(&routes, &table, line), *expected, "{line}");
    }
}

#[expect(clippy::needless_pass_by_value, reason = "reads well with expect![]")]
fn refused(yaml: &str, expected: Expect) {
    let problems = Routes::parse(yaml).build().expect_err("problems");
    let text = problems.iter().fold(String::new(), |text, problem| {
        format!(
            "{text}{}. {}: {}\n",
            problem.route, problem.path, problem.message
        )
    });
    expected.assert_eq(&text);
}

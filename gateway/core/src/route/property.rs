//! The index against a plain list: random tables, random requests, one answer.
//!
//! The reference reads the specs directly, tries every route, and sorts by the
//! documented precedence. It shares no code with the table.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use fastrand::Rng;
use http::{HeaderMap, HeaderValue, Method};

use super::*;

/// Random tables, each asked `REQUESTS` times: 30,000 comparisons.
const TABLES: usize = 1_000;
const REQUESTS: usize = 30;

#[test]
fn the_table_answers_as_a_sorted_list_does() {
    run(1);
    let seed = fastrand::u64(..);
    let tally = run(seed);
    // The generator must reach all that is compared.
    let context = format!("seed {seed}: {tally:?}");
    assert_eq!(tally.compared, TABLES * REQUESTS, "{context}");
    assert!(tally.routed > 1_000, "{context}");
    assert!(tally.not_allowed > 1_000, "{context}");
    assert!(tally.not_found > 1_000, "{context}");
    assert!(tally.shadowed > 100, "{context}");
    assert!(tally.conflicts > 100, "{context}");
}

#[derive(Debug, Default)]
struct Tally {
    compared: usize,
    routed: usize,
    not_allowed: usize,
    not_found: usize,
    shadowed: usize,
    conflicts: usize,
}

fn run(seed: u64) -> Tally {
    let mut random = Rng::with_seed(seed);
    let mut tally = Tally::default();
    for table in 0..TABLES {
        let is_dense = table % 2 == 0;
        let mut specs: Vec<MatchSpec> = (0..random.usize(1..16))
            .map(|_| {
                if is_dense {
                    dense_spec(&mut random)
                } else {
                    random_spec(&mut random)
                }
            })
            .collect();
        let table = build_acceptable(&mut specs, &mut random, &mut tally, seed);
        for _ in 0..REQUESTS {
            let asked = Asked::random(&mut random);
            compare(&table, &specs, &asked, &mut tally, seed);
        }
    }
    tally
}

/// Drops refused routes until the table is accepted; on the way, shadowed ones
/// are shown never to win.
fn build_acceptable(
    specs: &mut Vec<MatchSpec>,
    random: &mut Rng,
    tally: &mut Tally,
    seed: u64,
) -> RouteTable {
    loop {
        let named: Vec<NamedMatch<'_>> = specs
            .iter()
            .map(|spec| NamedMatch { name: "r", spec })
            .collect();
        let problems = match RouteTable::build(&named) {
            Ok(table) => return table,
            Err(problems) => problems,
        };
        let is_shadowed = |problem: &&RouteProblem| problem.message.contains("can never win");
        for problem in problems.iter().filter(is_shadowed) {
            tally.shadowed += 1;
            for _ in 0..50 {
                let asked = Asked::random(random);
                let won = best(specs, &asked).is_some_and(|(winner, _)| winner == problem.route);
                assert!(!won, "seed {seed}: {specs:#?} {asked:?} {problem:?}");
            }
        }
        tally.conflicts += problems.len() - problems.iter().filter(is_shadowed).count();
        let refused: BTreeSet<usize> = problems.iter().map(|problem| problem.route).collect();
        for index in refused.into_iter().rev() {
            specs.remove(index);
        }
    }
}

fn compare(table: &RouteTable, specs: &[MatchSpec], asked: &Asked, tally: &mut Tally, seed: u64) {
    let context = || format!("seed {seed}: {specs:#?} {asked:#?}");
    let path = CleanPath::parse(&asked.path).expect("a clean path");
    let request = Request {
        host: asked.host.as_deref(),
        path: &path,
        method: &asked.method,
        headers: &asked.headers,
        query: Some(&asked.query),
    };
    tally.compared += 1;
    let winner = table
        .candidates(&request)
        .into_iter()
        .find(|candidate| candidate.verdict == Verdict::Wins)
        .map(|candidate| candidate.route.get());
    match (table.find(&request), best(specs, asked)) {
        (Outcome::Route { index, params }, Some((expected, ties))) => {
            tally.routed += 1;
            assert_eq!(index.get(), expected, "{}", context());
            assert_eq!(winner, Some(expected), "{}", context());
            assert_eq!(ties, 1, "no two best routes; {}", context());
            let captured: Vec<&str> = params.iter().map(|(_, value)| value).collect();
            let expected = captures(&specs[expected], &asked.path).unwrap_or_default();
            assert_eq!(captured, expected, "{}", context());
        }
        (outcome, None) => {
            let allowed: BTreeSet<String> = match outcome {
                Outcome::MethodNotAllowed { allow } => {
                    allow.methods().map(ToString::to_string).collect()
                }
                _ => BTreeSet::new(),
            };
            let expected = allowed_methods(specs, asked);
            if expected.is_empty() {
                tally.not_found += 1;
            } else {
                tally.not_allowed += 1;
            }
            assert_eq!(allowed, expected, "{}", context());
            assert_eq!(winner, None, "{}", context());
        }
        (outcome, Some(expected)) => panic!("{outcome:?}, not {expected:?}: {}", context()),
    }
}

// The reference.

/// Smaller wins: host, path kind, path shape.
type PlaceRank = ((u8, Reverse<usize>), u8, Vec<u8>);

/// Smaller wins: host, path kind, path shape, method, headers, query.
type Rank = (
    (u8, Reverse<usize>),
    u8,
    Vec<u8>,
    u8,
    Reverse<usize>,
    Reverse<usize>,
);

/// The best route, and how many share its rank.
fn best(specs: &[MatchSpec], asked: &Asked) -> Option<(usize, usize)> {
    let ranks: Vec<(Rank, usize)> = specs
        .iter()
        .enumerate()
        .filter_map(|(index, spec)| Some((rank(spec, asked)?, index)))
        .collect();
    let (first, winner) = ranks.iter().min()?;
    let ties = ranks.iter().filter(|(rank, _)| rank == first).count();
    Some((*winner, ties))
}

fn rank(spec: &MatchSpec, asked: &Asked) -> Option<Rank> {
    let (host, kind, shape) = rank_without_method(spec, asked)?;
    let method = match &spec.methods {
        None => 2,
        Some(methods) if methods.iter().any(|name| name == asked.method.as_str()) => 0,
        Some(methods) if asked.method == Method::HEAD && methods.contains(&"GET".into()) => 1,
        Some(_) => return None,
    };
    let counts = (Reverse(spec.headers.len()), Reverse(spec.query.len()));
    Some((host, kind, shape, method, counts.0, counts.1))
}

fn rank_without_method(spec: &MatchSpec, asked: &Asked) -> Option<PlaceRank> {
    let host = host_rank(spec, asked.host.as_deref())?;
    captures(spec, &asked.path)?;
    let holds = spec.headers.iter().all(|condition| {
        let values = asked.headers.get_all(&condition.name).iter();
        let values: Vec<&str> = values.map(|v| v.to_str().expect("ASCII")).collect();
        let HeaderMatchSpec {
            equals,
            prefix,
            matches,
            present,
            ..
        } = condition;
        condition_holds(&values, [equals, prefix, matches], *present)
    }) && spec.query.iter().all(|condition| {
        let pairs = asked
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        let values: Vec<&str> = pairs
            .filter(|(name, _)| *name == condition.name)
            .map(|(_, value)| value)
            .collect();
        let QueryMatchSpec {
            equals,
            matches,
            present,
            ..
        } = condition;
        condition_holds(&values, [equals, &None, matches], *present)
    });
    let (kind, shape) = path_rank(spec);
    holds.then_some((host, kind, shape))
}

/// The generator writes but one regular expression: `b*`.
fn condition_holds(
    values: &[&str],
    [equals, prefix, matches]: [&Option<String>; 3],
    present: Option<bool>,
) -> bool {
    if let Some(present) = present {
        return present != values.is_empty();
    }
    let [value] = values else { return false };
    equals.as_ref().is_none_or(|text| value == text)
        && prefix.as_ref().is_none_or(|text| value.starts_with(text))
        && (matches.is_none() || value.chars().all(|c| c == 'b'))
}

fn host_rank(spec: &MatchSpec, host: Option<&str>) -> Option<(u8, Reverse<usize>)> {
    let Some(hosts) = &spec.hosts else {
        return Some((2, Reverse(0)));
    };
    let host = host?;
    let ranks = hosts
        .iter()
        .filter_map(|known| match known.strip_prefix('*') {
            Some(suffix) if host.ends_with(suffix) => Some((1, Reverse(suffix.len()))),
            None if host == known => Some((0, Reverse(0))),
            _ => None,
        });
    ranks.min()
}

fn path_rank(spec: &MatchSpec) -> (u8, Vec<u8>) {
    if spec.path.is_some() {
        return (0, Vec::new());
    }
    if let Some(prefix) = &spec.path_prefix {
        let segments = prefix.split('/').filter(|segment| !segment.is_empty());
        return (2, segments.map(|_| 0).chain([3]).collect());
    }
    let pattern = spec.path_pattern.as_deref().expect("one of the three");
    let shape = pattern[1..].split('/').map(|segment| match segment {
        _ if segment.ends_with("...}") => 2,
        _ if segment.starts_with('{') => 1,
        _ => 0,
    });
    let kind = if pattern.ends_with("...}") { 2 } else { 1 };
    (kind, shape.collect())
}

/// What the parameters capture; `None` if the path does not match.
fn captures<'a>(spec: &MatchSpec, path: &'a str) -> Option<Vec<&'a str>> {
    if let Some(exact) = &spec.path {
        return (path == exact).then(Vec::new);
    }
    if let Some(prefix) = &spec.path_prefix {
        let stem = prefix.trim_end_matches('/');
        let rest = path.strip_prefix(stem)?;
        return (rest.is_empty() || rest.starts_with('/')).then(Vec::new);
    }
    let mut captured = Vec::new();
    let mut rest = Some(&path[1..]);
    for part in spec.path_pattern.as_deref()?[1..].split('/') {
        let here = rest?;
        if part.ends_with("...}") {
            captured.push(here);
            return Some(captured);
        }
        let (segment, after) = match here.split_once('/') {
            Some((segment, after)) => (segment, Some(after)),
            None => (here, None),
        };
        match part.starts_with('{') {
            true if segment.is_empty() => return None,
            true => captured.push(segment),
            false if part != segment => return None,
            false => {}
        }
        rest = after;
    }
    rest.is_none().then_some(captured)
}

fn allowed_methods(specs: &[MatchSpec], asked: &Asked) -> BTreeSet<String> {
    let mut allowed = BTreeSet::new();
    for spec in specs {
        if rank_without_method(spec, asked).is_some() {
            allowed.extend(spec.methods.clone().into_iter().flatten());
        }
    }
    if allowed.contains("GET") {
        allowed.insert("HEAD".to_owned());
    }
    allowed
}

// The generator: few words, so that routes and requests meet.

#[derive(Debug)]
struct Asked {
    host: Option<String>,
    path: String,
    method: Method,
    headers: HeaderMap,
    query: String,
}

impl Asked {
    fn random(random: &mut Rng) -> Self {
        let hosts = ["", "a.test", "x.a.test", "y.x.a.test", "b.test", "test"];
        let methods = ["GET", "HEAD", "POST", "PURGE", "BREW"];
        let mut headers = HeaderMap::new();
        for name in ["x-a", "x-b"] {
            for _ in 0..random.usize(..3) {
                let value = HeaderValue::from_static(one_of(random, &VALUES));
                headers.append(name, value);
            }
        }
        let query: Vec<String> = (0..random.usize(..3))
            .map(|_| {
                let name = one_of(random, &["p", "q"]);
                format!("{name}={}", one_of(random, &VALUES))
            })
            .collect();
        Self {
            host: Some(one_of(random, &hosts).to_owned()).filter(|host| !host.is_empty()),
            path: random_path(random, 5),
            method: one_of(random, &methods).parse().expect("a method"),
            headers,
            query: query.join("&"),
        }
    }
}

const VALUES: [&str; 4] = ["a", "ab", "b", "bb"];

fn one_of<'v>(random: &mut Rng, values: &[&'v str]) -> &'v str {
    values[random.usize(..values.len())]
}

fn random_path(random: &mut Rng, most: usize) -> String {
    let segments: Vec<&str> = (0..random.usize(..most))
        .map(|_| one_of(random, &["a", "b", "c"]))
        .collect();
    if segments.is_empty() {
        return "/".to_owned();
    }
    let end = one_of(random, &["", "", "/"]);
    format!("/{}{end}", segments.join("/"))
}

fn random_spec(random: &mut Rng) -> MatchSpec {
    let mut spec = MatchSpec::default();
    match random.usize(..4) {
        0 => spec.path = Some(random_path(random, 3)),
        1 => spec.path_prefix = Some(random_path(random, 4)),
        _ => spec.path_pattern = Some(random_pattern(random)),
    }
    if random.usize(..4) == 0 {
        let hosts = ["a.test", "*.a.test", "*.test", "*.x.a.test", "x.a.test"];
        spec.hosts = Some(some_of(random, &hosts));
    }
    if random.usize(..2) == 0 {
        spec.methods = Some(some_of(random, &["GET", "HEAD", "POST", "PURGE"]));
    }
    if random.usize(..3) == 0 {
        for name in some_of(random, &["x-a", "x-b"]) {
            spec.headers.push(random_header(random, name));
        }
    }
    if random.usize(..5) == 0 {
        let name = one_of(random, &["p", "q"]).to_owned();
        let header = random_header(random, name);
        spec.query.push(QueryMatchSpec {
            name: header.name,
            equals: header.equals.or(header.prefix),
            matches: header.matches,
            present: header.present,
        });
    }
    spec
}

/// Few places and no hosts, so that routes tie and shadow each other often.
fn dense_spec(random: &mut Rng) -> MatchSpec {
    let mut spec = MatchSpec::default();
    match random.usize(..4) {
        0 => spec.path = Some(one_of(random, &["/a", "/a/"]).to_owned()),
        1 => spec.path_prefix = Some(one_of(random, &["/a", "/"]).to_owned()),
        _ => {
            let patterns = ["/a/{p}", "/a/{r...}", "/a/{p}/{r...}", "/a/{p}/", "/{r...}"];
            spec.path_pattern = Some(one_of(random, &patterns).to_owned());
        }
    }
    if random.usize(..4) == 0 {
        spec.methods = Some(some_of(random, &["GET", "HEAD", "POST"]));
    }
    if random.usize(..3) == 0 {
        spec.headers.push(HeaderMatchSpec {
            name: "x-a".to_owned(),
            present: Some(random.bool()),
            ..HeaderMatchSpec::default()
        });
    }
    spec
}

fn random_pattern(random: &mut Rng) -> String {
    let parameter = random.usize(..3);
    let mut pattern = String::new();
    for at in 0..=parameter + random.usize(..2) {
        let words = ["/a", "/b", "/c", ["/{q0}", "/{q1}", "/{q2}", "/{q3}"][at]];
        pattern += if at == parameter {
            "/{p}"
        } else {
            one_of(random, &words)
        };
    }
    pattern += one_of(random, &["", "", "/", "/{r...}", "/{r...}"]);
    if random.usize(..20) == 0 {
        "/{r...}".clone_into(&mut pattern);
    }
    pattern
}

fn random_header(random: &mut Rng, name: String) -> HeaderMatchSpec {
    let mut spec = HeaderMatchSpec {
        name,
        ..HeaderMatchSpec::default()
    };
    match random.usize(..5) {
        0 => spec.equals = Some(one_of(random, &VALUES).to_owned()),
        1 => spec.prefix = Some(one_of(random, &VALUES).to_owned()),
        2 => spec.matches = Some("b*".to_owned()),
        _ => spec.present = Some(random.bool()),
    }
    spec
}

/// One or more, each once.
fn some_of(random: &mut Rng, values: &[&str]) -> Vec<String> {
    let mut chosen: Vec<String> = values.iter().map(ToString::to_string).collect();
    random.shuffle(&mut chosen);
    chosen.truncate(random.usize(1..=2));
    chosen
}

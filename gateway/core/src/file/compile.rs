//! From what the file says to what it means; all problems at once.

mod included;
mod numbers;

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use super::load_balancers::Attributes;
use super::named_files::{NamedFile, named_files};
use super::origins::origins;
use super::settings::Sources;
use super::{Outline, RoutesFile, Settings, access_log, identity, lints, load_balancers, overload};
use crate::auth::api_keys::ApiKeyList;
use crate::auth::credential::Place;
use crate::auth::jwt::Provider;
use crate::cluster::Subset;
use crate::config::{
    Files, NoFiles, Partial, Positions, Problems, Source, decode_included, item, join, near,
};
use crate::plan::{Cluster, Forwarded, NameSet, Plan, Route};
use crate::route::{NamedMatch, RouteTable};
use crate::words::units::{ByteSize, HumanDuration};
use included::SECTIONS;
use numbers::{identity_headers, number_policies, number_providers};

/// The only version of the format so far.
const VERSION: u32 = 1;
/// Names that a message lists where none is near.
const NAMES_SHOWN_MAX: usize = 10;
/// Bytes of a name.
const NAME_BYTES_MAX: usize = 64;

/// What a routes file means.
#[derive(Debug)]
pub struct Compiled {
    /// What the proxy works by.
    pub plan: Plan,
    /// What the process works by.
    pub settings: Settings,
    /// What the file defines.
    pub outline: Outline,
}

/// Everything that can be said of a routes file without running it.
#[derive(Debug)]
pub struct Report {
    /// What it means, or all that is wrong with it.
    pub outcome: Result<Compiled, Problems>,
    /// What is legal but odd.
    pub warnings: Problems,
    /// The files that it names, as far as it could be read.
    pub files: Vec<NamedFile>,
    /// Where it says what.
    pub positions: Positions,
    /// What it says, as far as it could be read.
    pub written: Option<RoutesFile>,
}

/// Reads, checks and compiles a routes file.
///
/// # Errors
/// Everything that is wrong with it, each with its place and remedy.
pub fn read(
    source: Source<'_>,
    variables: &dyn Fn(&str) -> Option<String>,
) -> Result<Compiled, Problems> {
    check(source, variables).outcome
}

/// The same, with what else there is to say. The file cannot include others.
#[must_use]
pub fn check(source: Source<'_>, variables: &dyn Fn(&str) -> Option<String>) -> Report {
    check_included(source, &NoFiles, variables)
}

/// The same of a file that may include those that `files` finds and reads.
#[must_use]
pub fn check_included(
    source: Source<'_>,
    files: &dyn Files,
    variables: &dyn Fn(&str) -> Option<String>,
) -> Report {
    let partial = match decode_included::<RoutesFile>(source, files, &SECTIONS, variables) {
        Ok(partial) => partial,
        Err(problems) => {
            return Report {
                warnings: problems.clone().emptied(),
                outcome: Err(problems),
                files: Vec::new(),
                positions: Positions::default(),
                written: None,
            };
        }
    };
    let mut check = Checker::new(&partial, variables);
    let compiled = compile(&partial.value, &mut check);
    lints::lint(&partial.value, &mut check);
    let (problems, warnings) = check.into_problems();
    let outcome = match (compiled, problems.into_result()) {
        (Some(mut compiled), Ok(())) => {
            let (plan, positions) = (&compiled.plan, &partial.positions);
            compiled.plan.origins = Arc::new(origins(&warnings, plan, positions));
            Ok(compiled)
        }
        (_, Err(problems)) => Err(problems),
        (None, Ok(())) => unreachable!("a file that does not compile has a problem"),
    };
    Report {
        outcome,
        warnings,
        files: named_files(&partial.value),
        positions: partial.positions,
        written: Some(partial.value),
    }
}

/// The names that routes may refer to, in the order of their indices.
pub(super) struct Names<'a> {
    pub(super) providers: Vec<&'a str>,
    pub(super) upstreams: Vec<&'a str>,
    /// The subsets of each upstream.
    subsets: Vec<&'a [Subset]>,
    pub(super) api_keys: Vec<&'a str>,
    /// The headers of the API keys, by their indices.
    key_headers: Vec<HeaderName>,
    /// Where the providers' tokens are looked for, by their indices.
    places: Vec<Vec<Place>>,
}

impl Names<'_> {
    /// The index of a subset among those of its upstream.
    pub(super) fn subset(&self, upstream: usize, wanted: &Attributes) -> Option<usize> {
        let mut subsets = self.subsets.get(upstream)?.iter();
        subsets.position(|subset| subset.attributes == *wanted)
    }

    /// Where keys of this list are.
    pub(super) fn key_place(&self, list: usize) -> Option<Place> {
        self.key_headers.get(list).cloned().map(Place::Header)
    }

    /// All headers that carry credentials beside those that always do.
    pub(super) fn credential_headers(&self) -> impl Iterator<Item = &HeaderName> {
        let places = self.places.iter().flatten();
        let places = places.filter_map(|place| match place {
            Place::Header(name) => Some(name),
            Place::Authorization | Place::Cookie(_) => None,
        });
        self.key_headers.iter().chain(places)
    }

    /// Where tokens of these providers may be.
    pub(super) fn places(&self, providers: &[usize]) -> Vec<Place> {
        let mut all = Vec::new();
        for place in providers
            .iter()
            .filter_map(|&index| self.places.get(index))
            .flatten()
        {
            if !all.contains(place) {
                all.push(place.clone());
            }
        }
        all
    }
}

fn compile(file: &RoutesFile, check: &mut Checker<'_>) -> Option<Compiled> {
    if file.version != VERSION {
        check.problem(
            "version",
            format!("version {} is not known", file.version),
            Some(format!("write `version: {VERSION}`")),
        );
    }
    let (mut providers, key_sources): (Vec<Provider>, Vec<_>) = file
        .jwt_providers
        .iter()
        .map(|(name, spec)| spec.compile(name, check))
        .unzip();
    let (api_keys, api_key_files): (Vec<ApiKeyList>, Vec<_>) = file
        .api_keys
        .iter()
        .map(|(name, spec)| spec.compile(name, check))
        .unzip();
    let subsets = load_balancers::subsets(&file.routes, check);
    let (mut clusters, endpoint_sources): (Vec<Cluster>, _) = file
        .upstreams
        .iter()
        .map(|(name, spec)| spec.compile(name, subsets.get(name.as_str()), check))
        .unzip();
    let names = Names {
        providers: file.jwt_providers.keys().map(String::as_str).collect(),
        upstreams: file.upstreams.keys().map(String::as_str).collect(),
        subsets: clusters
            .iter()
            .map(|it| it.balancer.subsets.as_slice())
            .collect(),
        api_keys: file.api_keys.keys().map(String::as_str).collect(),
        key_headers: api_keys.iter().map(|list| list.header.clone()).collect(),
        places: providers.iter().map(|it| it.places.clone()).collect(),
    };
    let mut routes = routes(file, &names, check);
    let credentials: Vec<_> = names.credential_headers().cloned().collect();
    number_providers(&mut providers);
    let next_number = number_policies(&mut routes).max(providers.len() as u64);
    overload::share_limits(&mut clusters, &routes);
    let mut identity_headers = identity_headers(&routes);
    identity::check_uses(file, check);
    let internal_identity = file.internal_identity.as_ref().map(|spec| {
        let taken = NameSet::new(identity_headers.iter().cloned());
        spec.compile(&taken, check)
    });
    identity_headers.extend(internal_identity.iter().map(|it| it.header.clone()));
    let own_header = internal_identity.iter().map(|it| it.header.clone());
    let hidden = access_log::hidden(credentials.into_iter().chain(own_header));
    let access_log = file.access_log.compile(&hidden, check);
    access_log::share(access_log.as_ref(), file, &mut routes, check);
    let revocations = file.jwt_providers.iter();
    let revocations = revocations
        .map(|(name, spec)| spec.revocations(name, check))
        .collect();
    let health_checks = file.upstreams.iter().map(|(name, spec)| {
        let spec = spec.health_check.as_ref()?;
        Some(spec.compile(name, check))
    });
    let health_checks = health_checks.collect();
    let sources = Sources {
        revocations,
        keys: key_sources,
        api_keys: api_key_files,
        endpoints: endpoint_sources,
        health_checks,
    };
    let settings = Settings::compile(file, internal_identity, sources, check);
    let tracing = file.tracing.as_ref().map(super::TracingSpec::plan);
    let networks = &file.forwarded.trusted_proxies;
    // Last, because nothing is checked after the first `?`.
    let plan = Plan {
        origins: Arc::default(),
        table: table(file, check)?,
        access_log,
        identity_headers: NameSet::new(identity_headers),
        routes,
        providers,
        api_keys,
        clusters,
        forwarded: Forwarded {
            trusted_proxies: networks.iter().map(|network| network.0).collect(),
            is_standard_sent: file.forwarded.send_standard,
        },
        tracing,
        next_number,
    };
    Some(Compiled {
        plan,
        settings,
        outline: Outline::of(file),
    })
}

fn routes(file: &RoutesFile, names: &Names<'_>, check: &mut Checker<'_>) -> Vec<Route> {
    if file.routes.is_empty() {
        check.problem(
            "routes",
            "there is no route: every request would be a 404",
            Some("add a route with `name`, `match`, `auth` and `backends`".into()),
        );
    }
    file.defaults.check(check);
    let mut first = HashMap::with_capacity(file.routes.len());
    for (index, route) in file.routes.iter().enumerate() {
        let twin = *first.entry(route.name.as_str()).or_insert(index);
        if twin != index {
            check.problem(
                format!("routes[{index}].name"),
                format!(
                    "the name `{}` is that of routes[{twin}]{} too",
                    route.name,
                    check.place_of(&item("routes", twin))
                ),
                Some("give each route a name of its own: logs and metrics go by it".into()),
            );
        }
    }
    file.routes
        .iter()
        .enumerate()
        .map(|(index, route)| route.compile(index, &file.defaults, names, check))
        .collect()
}

fn table(file: &RoutesFile, check: &mut Checker<'_>) -> Option<RouteTable> {
    // A stand-in would clash with routes that are right.
    let sound: Vec<_> = (0..file.routes.len())
        .filter(|index| {
            let at = item("routes", *index);
            check.is_sound(&join(&at, "match")) && check.is_sound(&join(&at, "name"))
        })
        .collect();
    let matches: Vec<_> = sound
        .iter()
        .map(|index| &file.routes[*index])
        .map(|route| NamedMatch {
            name: &route.name,
            spec: &route.r#match,
        })
        .collect();
    let problems = match RouteTable::build(&matches) {
        Ok(table) => return Some(table),
        Err(problems) => problems,
    };
    for problem in problems {
        let mut path = format!("routes[{}].match", sound[problem.route]);
        if !problem.path.is_empty() {
            path = format!("{path}.{}", problem.path);
        }
        let (message, help) = split_help(&problem.message);
        check.problem(path, message, help);
    }
    None
}

/// The near miss among the names of a section, or else all of them.
fn suggest<'n>(section: &str, name: &str, known: impl Iterator<Item = &'n str> + Clone) -> String {
    if let Some(near) = near(name, known.clone()) {
        return format!("did you mean `{near}`?");
    }
    let shown = known.clone().take(NAMES_SHOWN_MAX);
    let shown: Vec<_> = shown.map(|name| format!("`{name}`")).collect();
    let shown = shown.join(", ");
    match known.count() {
        0 => "define it there".into(),
        1..=NAMES_SHOWN_MAX => format!("`{section}` has {shown}"),
        count => format!(
            "`{section}` has {shown} and {} more",
            count - NAMES_SHOWN_MAX
        ),
    }
}

/// What follows the first `; ` is the remedy.
pub(super) fn split_help(message: &str) -> (String, Option<String>) {
    match message.split_once("; ") {
        Some((message, help)) => (message.to_owned(), Some(help.to_owned())),
        None => (message.to_owned(), None),
    }
}

/// Collects problems while a file is compiled.
pub(super) struct Checker<'a> {
    partial: &'a Partial<RoutesFile>,
    problems: Problems,
    warnings: Problems,
    variables: &'a dyn Fn(&str) -> Option<String>,
}

impl<'a> Checker<'a> {
    /// Begins with the problems that are known already.
    pub(super) fn new(
        partial: &'a Partial<RoutesFile>,
        variables: &'a dyn Fn(&str) -> Option<String>,
    ) -> Self {
        Self {
            partial,
            problems: partial.problems.clone(),
            warnings: partial.problems.clone().emptied(),
            variables,
        }
    }

    /// All that is wrong, and all that is odd.
    pub(super) fn into_problems(self) -> (Problems, Problems) {
        (self.problems, self.warnings)
    }

    /// Adds a problem with what the file says at `path`, unless it is known already that
    /// something is wrong there: what follows from a mistake is not one more.
    pub(super) fn problem(
        &mut self,
        path: impl Into<String>,
        message: impl Into<String>,
        help: Option<String>,
    ) {
        let path = path.into();
        if self.is_sound(&path) {
            self.problems
                .add(&self.partial.positions, path, message, help);
        }
    }

    /// Adds what is legal but odd, unless something is wrong there anyhow.
    pub(super) fn warn(
        &mut self,
        code: &'static str,
        path: impl Into<String>,
        message: impl Into<String>,
        help: &str,
    ) {
        let path = path.into();
        if self.is_sound(&path) {
            let (positions, help) = (&self.partial.positions, Some(help.into()));
            self.warnings.warn(code, positions, path, message, help);
        }
    }

    /// Whether the value at `path` is what the file says there.
    pub(super) fn is_sound(&self, path: &str) -> bool {
        // Items that could not be read are left out, and the others move up.
        let is_moved = |bad: &String| {
            let list = bad.strip_suffix(']').and_then(|bad| bad.rsplit_once('['));
            list.is_some_and(|(list, index)| {
                index.parse::<usize>().is_ok()
                    && path
                        .strip_prefix(list)
                        .is_some_and(|rest| rest.starts_with('['))
            })
        };
        !self.partial.is_unsound(path) && !self.partial.unsound.iter().any(is_moved)
    }

    /// The index of a name that must be defined under `section`.
    pub(super) fn name<'n>(
        &mut self,
        path: impl Into<String>,
        section: &str,
        name: &str,
        known: impl Iterator<Item = &'n str> + Clone,
    ) -> Option<usize> {
        let found = known.clone().position(|known| known == name);
        // An entry that could not be read is defined all the same.
        if found.is_none() && self.is_sound(&join(section, name)) {
            let help = suggest(section, name, known);
            self.problem(
                path,
                format!("`{name}` is not defined under `{section}`"),
                Some(help),
            );
        }
        found
    }

    /// A name that logs and metrics go by.
    pub(super) fn plain_name(&mut self, path: impl Into<String>, name: &str) {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(is_plain) {
            self.problem(
                path,
                format!("`{name}` is not a name"),
                Some(format!(
                    "use 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_` and `.`"
                )),
            );
        }
    }

    /// Text that means nothing when it is empty.
    pub(super) fn not_empty(&mut self, path: &str, text: &str, help: &str) {
        if text.trim().is_empty() {
            let key = path.rsplit('.').next().unwrap_or(path);
            self.problem(path, format!("`{key}` is empty"), Some(help.into()));
        }
    }

    /// A URL of one of the schemes http and https.
    pub(super) fn url(&mut self, path: &str, text: &str, example: &str) -> Option<http::Uri> {
        let url = text.parse::<http::Uri>().ok().filter(|url| {
            matches!(url.scheme_str(), Some("http" | "https"))
                && url.host().is_some_and(|host| !host.is_empty())
        });
        if url.is_none() {
            self.problem(
                path,
                format!("`{text}` is not an http or https URL"),
                Some(format!("write it in full, such as `{example}`")),
            );
        }
        url
    }

    /// The value of an environment variable.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        (self.variables)(name)
    }

    /// Whether the file itself says something at `path`.
    pub(super) fn is_given(&self, path: &str) -> bool {
        self.partial.positions.is_given(path)
    }

    pub(super) fn range(
        &mut self,
        path: impl Into<String>,
        value: u64,
        range: RangeInclusive<u64>,
    ) {
        if range.contains(&value) {
            return;
        }
        let help = match *range.end() {
            u64::MAX => format!("write a number from {}", range.start()),
            end => format!("write a number from {} to {end}", range.start()),
        };
        self.problem(path, format!("{value} is out of range"), Some(help));
    }

    pub(super) fn count(
        &mut self,
        path: impl Into<String>,
        given: Option<u32>,
        default: usize,
        range: RangeInclusive<u64>,
    ) -> usize {
        let value = given.map_or(default, |given| given as usize);
        self.range(path, value as u64, range);
        value
    }

    pub(super) fn duration(
        &mut self,
        path: impl Into<String>,
        given: Option<HumanDuration>,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        let value = given.map_or(default, |given| given.0);
        if !range.contains(&value) {
            let show = |duration: &Duration| HumanDuration(*duration).to_string();
            self.problem(
                path,
                format!("{} is out of range", show(&value)),
                Some(format!(
                    "write a duration from {} to {}",
                    show(range.start()),
                    show(range.end())
                )),
            );
        }
        value
    }

    pub(super) fn size(
        &mut self,
        path: impl Into<String>,
        given: Option<ByteSize>,
        default: usize,
        range: RangeInclusive<usize>,
    ) -> usize {
        let value = given.map_or(default as u64, |given| given.0);
        let (start, end) = (*range.start() as u64, *range.end() as u64);
        if !(start..=end).contains(&value) {
            let show = |bytes: u64| ByteSize(bytes).to_string();
            self.problem(
                path,
                format!("{} is out of range", show(value)),
                Some(format!(
                    "write a size from {} to {}",
                    show(start),
                    show(end)
                )),
            );
        }
        usize::try_from(value).unwrap_or(usize::MAX)
    }
}

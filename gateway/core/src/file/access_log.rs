//! `access_log:` one line a request; see `docs/access-log.md`.

use std::time::Duration;

use http::HeaderName;
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SET_COOKIE};
use schemars::JsonSchema;
use serde::Deserialize;

use super::RoutesFile;
use super::compile::Checker;
use super::secrets::{SecretEncoding, Wanted};
use crate::access_log::{
    AccessLog, COMBINED, COMMON, Errors, FIELDS_MAX, Field, Format, Needs, Piece, Query, Sample,
    SubjectHash, parse,
};
use crate::config::{TextOr, item, join, near};
use crate::plan::{NameSet, Route};
use crate::words::rate::Rate;
use crate::words::units::HumanDuration;

/// The access log.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccessLogSpec {
    /// `json` (default), `common` or `combined` (the formats of Apache and nginx), `none`, or a
    /// template: text with fields such as `%{status}` in it, at most 4 KiB and 64 fields.
    pub format: AccessLogFormat,
    /// `stdout` (default) or a file's path, with at least one `/`. The file is opened anew on
    /// SIGUSR1, and within a second after it was moved or deleted.
    pub output: AccessLogOutput,
    /// What JSON lines say beyond the fields that all have, at most 64; default nothing.
    pub fields: Vec<String>,
    /// What lines show of queries: `none` (default), `keys` (the names of parameters) or `full`
    /// (all but values that are called like credentials).
    pub query: QuerySpec,
    /// Which requests get a line; default all.
    pub sample: SampleSpec,
    /// The key of `subject_hash`.
    pub hash_secret: Option<HashSecretSpec>,
}

/// A key by which names are hashed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HashSecretSpec {
    /// The name of an environment variable with at least 16 bytes.
    pub env: String,
    /// How the bytes are written; default `utf8`.
    #[serde(default)]
    pub encoding: SecretEncoding,
}

/// How a line is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum AccessLogFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// The Common Log Format.
    Common,
    /// The same with `Referer` and `User-Agent`.
    Combined,
    /// No log at all.
    None,
    /// Text with fields in it; a word that is none of the above as well.
    Template(String),
}

/// Where lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(from = "String")]
pub enum AccessLogOutput {
    /// Standard output.
    #[default]
    Stdout,
    /// A file, appended to.
    File(String),
}

/// What lines show of queries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum QuerySpec {
    /// Nothing.
    #[default]
    None,
    /// The names of parameters.
    Keys,
    /// All but values that are called like credentials.
    Full,
}

/// Which requests get a line.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SampleSpec {
    /// The share of requests, chosen by their trace ids; default 100%.
    pub rate: Option<Rate>,
    /// Requests that took longer always get one, 1 ms to 1 h; default 1 s.
    pub slower_than: Option<HumanDuration>,
    /// Errors that always get one, answers that broke off among them: `all` (statuses from 400;
    /// default) or `server` (from 500).
    pub errors: Option<LoggedErrors>,
}

/// Errors that always get a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoggedErrors {
    /// Statuses from 400.
    All,
    /// Statuses from 500.
    Server,
}

/// Which of a route's requests get a line: none of them, or another share.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(from = "TextOr<LogSwitch, SampleSpec>")]
pub struct RouteLogSpec(TextOr<LogSwitch, SampleSpec>);

/// Where a map may stand too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogSwitch {
    /// No line at all, not even for errors.
    Off,
}

impl From<TextOr<LogSwitch, SampleSpec>> for RouteLogSpec {
    fn from(written: TextOr<LogSwitch, SampleSpec>) -> Self {
        Self(written)
    }
}

impl From<String> for AccessLogOutput {
    fn from(text: String) -> Self {
        match text.as_str() {
            "stdout" => Self::Stdout,
            _ => Self::File(text),
        }
    }
}

impl From<String> for AccessLogFormat {
    fn from(text: String) -> Self {
        match text.as_str() {
            "json" => Self::Json,
            "common" => Self::Common,
            "combined" => Self::Combined,
            "none" => Self::None,
            _ => Self::Template(text),
        }
    }
}

impl AccessLogFormat {
    /// What stands for itself.
    pub const WORDS: [&str; 4] = ["json", "common", "combined", "none"];
}

impl From<QuerySpec> for Query {
    fn from(spec: QuerySpec) -> Self {
        match spec {
            QuerySpec::None => Self::Never,
            QuerySpec::Keys => Self::Keys,
            QuerySpec::Full => Self::Full,
        }
    }
}

/// Headers that are credentials wherever they come.
static CREDENTIALS: [HeaderName; 4] = [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE, SET_COOKIE];
/// The same by names that `http` does not know.
const MORE_CREDENTIALS: [&str; 6] = [
    "x-api-key",
    "x-auth-token",
    "x-csrf-token",
    "x-xsrf-token",
    "x-amz-security-token",
    "x-forwarded-access-token",
];
/// Time after which a request is slow unless the file says otherwise.
const SLOW: Duration = Duration::from_secs(1);
/// Bytes of a key that nobody guesses.
const HASH_SECRET_BYTES_MIN: usize = 16;

/// The headers that are never shown, those of the file's own credentials among them.
pub(super) fn hidden(own: impl Iterator<Item = HeaderName>) -> NameSet {
    let more = MORE_CREDENTIALS.map(HeaderName::from_static);
    NameSet::new(CREDENTIALS.iter().cloned().chain(more).chain(own))
}

/// Gives each route its share of lines.
pub(super) fn share(
    log: Option<&AccessLog>,
    file: &RoutesFile,
    routes: &mut [Route],
    check: &mut Checker<'_>,
) {
    for (index, (spec, route)) in file.routes.iter().zip(routes).enumerate() {
        let of_all = log.map(|log| log.sample);
        route.access_log = match &spec.access_log {
            None => of_all,
            Some(RouteLogSpec(TextOr::Text(LogSwitch::Off))) => None,
            Some(RouteLogSpec(TextOr::Other(own))) => {
                let at = join(&item("routes", index), "access_log");
                own.check(&at, check);
                of_all.map(|_| own.or(&file.access_log.sample).compile())
            }
        };
    }
}

impl SampleSpec {
    /// What a route leaves out is as for all.
    fn or(&self, all: &Self) -> Self {
        Self {
            rate: self.rate.or(all.rate),
            slower_than: self.slower_than.or(all.slower_than),
            errors: self.errors.or(all.errors),
        }
    }

    fn check(&self, at: &str, check: &mut Checker<'_>) {
        let range = Duration::from_millis(1)..=Duration::from_hours(1);
        check.duration(join(at, "slower_than"), self.slower_than, SLOW, range);
    }

    fn compile(&self) -> Sample {
        let slower_than = self.slower_than.map_or(SLOW, |it| it.0);
        let errors = match self.errors {
            None | Some(LoggedErrors::All) => Errors::All,
            Some(LoggedErrors::Server) => Errors::Server,
        };
        Sample::new(self.rate.unwrap_or(Rate::ALL), slower_than, errors)
    }
}

impl AccessLogSpec {
    /// Where lines go, if there are any.
    pub(super) fn output(&self, check: &mut Checker<'_>) -> Option<AccessLogOutput> {
        if self.format == AccessLogFormat::None {
            return None;
        }
        // `stderr` or a slip such as `stdot` would become a file of that name.
        if let AccessLogOutput::File(path) = &self.output
            && !path.contains('/')
        {
            check.problem(
                "access_log.output",
                format!("`{path}` is neither `stdout` nor a path"),
                Some("write `stdout`, or a path with a `/`, such as `./access.log`".into()),
            );
        }
        Some(self.output.clone())
    }

    /// How lines are written; `hidden` are the headers that no line may show.
    pub(super) fn compile(&self, hidden: &NameSet, check: &mut Checker<'_>) -> Option<AccessLog> {
        let query = self.query.into();
        self.sample.check("access_log.sample", check);
        let sample = self.sample.compile();
        let format = self.format(query, hidden, check)?;
        let fields: Vec<&Field> = match &format {
            Format::Json(fields) => fields.iter().map(|(field, _)| field).collect(),
            Format::Text(pieces) => pieces.iter().filter_map(Piece::field).collect(),
        };
        let wants_hash = fields.contains(&&Field::SubjectHash);
        let hash = self.hash(wants_hash, check);
        let needs = Needs::of(fields);
        Some(AccessLog {
            format,
            query,
            sample,
            needs,
            hash,
        })
    }

    fn format(&self, query: Query, hidden: &NameSet, check: &mut Checker<'_>) -> Option<Format> {
        if self.format != AccessLogFormat::Json && !self.fields.is_empty() {
            check.problem(
                "access_log.fields",
                "`fields` adds to JSON lines alone",
                Some("leave it out, or write `format: json`; a template names its fields".into()),
            );
        }
        let text = match &self.format {
            AccessLogFormat::None => return None,
            AccessLogFormat::Json => {
                return Some(Format::Json(self.json_fields(query, hidden, check)));
            }
            AccessLogFormat::Common => COMMON,
            AccessLogFormat::Combined => COMBINED,
            AccessLogFormat::Template(text) => text,
        };
        match parse(text) {
            Ok(pieces) => {
                for field in pieces.iter().filter_map(Piece::field) {
                    check_field(field, "access_log.format", query, hidden, check);
                }
                Some(Format::Text(pieces))
            }
            Err(_) if !text.contains('%') && !text.contains(' ') => {
                let message = format!("unknown value `{text}`");
                check.problem("access_log.format", message, Some(word_help(text)));
                None
            }
            Err(error) => {
                check.problem("access_log.format", error.to_string(), Some(error.help()));
                None
            }
        }
    }

    fn json_fields(
        &self,
        query: Query,
        hidden: &NameSet,
        check: &mut Checker<'_>,
    ) -> Box<[(Field, Box<str>)]> {
        const AT: &str = "access_log.fields";
        if self.fields.len() > FIELDS_MAX {
            let message = format!("{} fields are more than {FIELDS_MAX}", self.fields.len());
            check.problem(AT, message, Some("leave some out".into()));
        }
        let mut fields: Vec<Field> = Vec::new();
        for (index, name) in self.fields.iter().take(FIELDS_MAX).enumerate() {
            let at = item(AT, index);
            match Field::named(name) {
                Err(error) => check.problem(at, error.to_string(), Some(error.help())),
                Ok(field) if field.is_always_there() || fields.contains(&field) => {
                    let message = format!("`{name}` is in every line already");
                    check.problem(at, message, Some("leave it out".into()));
                }
                Ok(field) => {
                    check_field(&field, &at, query, hidden, check);
                    fields.push(field);
                }
            }
        }
        if query != Query::Never && !fields.contains(&Field::Query) {
            fields.push(Field::Query);
        }
        let named = fields.into_iter().map(|field| {
            let name = field.name().into();
            (field, name)
        });
        named.collect()
    }

    fn hash(&self, is_wanted: bool, check: &mut Checker<'_>) -> Option<SubjectHash> {
        const AT: &str = "access_log.hash_secret";
        let Some(spec) = &self.hash_secret else {
            if is_wanted {
                check.problem(
                    "access_log",
                    "`subject_hash` needs a key, and there is no `hash_secret`",
                    Some("make one with `openssl rand -hex 32`, and write `hash_secret: {env: NAME}`".into()),
                );
            }
            return None;
        };
        let wanted = Wanted {
            noun: "key",
            fault: &|key| {
                let fault = || {
                    format!(
                        "the key is shorter than {HASH_SECRET_BYTES_MIN} bytes; \
                         make one with `openssl rand -hex 32`"
                    )
                };
                (key.bytes().len() < HASH_SECRET_BYTES_MIN).then(fault)
            },
        };
        let key = wanted.of_variable(&join(AT, "env"), &spec.env, spec.encoding, check);
        key.map(|key| SubjectHash::new(key.bytes()))
    }
}

fn check_field(field: &Field, at: &str, query: Query, hidden: &NameSet, check: &mut Checker<'_>) {
    if let Some(header) = field.header().filter(|header| hidden.covers(header)) {
        check.problem(
            at,
            format!("`{header}` is never logged: it holds credentials"),
            Some("leave it out; `subject` or `subject_hash` says who the caller is".into()),
        );
    }
    if *field == Field::Query && query == Query::Never {
        check.problem(
            at,
            "`query` is not shown: queries may hold secrets",
            Some("write `query: keys` or `query: full` under `access_log` as well".into()),
        );
    }
}

fn word_help(word: &str) -> String {
    if let Some(near) = near(word, AccessLogFormat::WORDS) {
        return format!("did you mean `{near}`?");
    }
    let words = AccessLogFormat::WORDS
        .map(|word| format!("`{word}`"))
        .join(", ");
    format!("write {words} or a template, such as `\"%{{method}} %{{path}} %{{status}}\"`")
}

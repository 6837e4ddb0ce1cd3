//! The fields of a line, by their names.

use http::HeaderName;

use crate::config::near;

/// Something that a line may say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// When the line was made: RFC 3339 with microseconds.
    Time,
    /// The same as the Common Log Format has it: `10/Oct/2000:13:55:36 +0000`.
    TimeCommon,
    /// The request's method.
    Method,
    /// The target's path, without its query.
    Path,
    /// The query, as far as the log shows queries.
    Query,
    /// Path and query, the latter as far as the log shows queries.
    Target,
    /// The `Host` header.
    Host,
    /// `HTTP/1.0` or `HTTP/1.1`.
    Protocol,
    /// The answer's status.
    Status,
    /// The reason code of what was refused or broke off.
    Reason,
    /// What the reason code does not say, for people.
    Detail,
    /// The route's name.
    Route,
    /// The upstream's name.
    Upstream,
    /// The endpoint's address.
    Endpoint,
    /// Requests sent upstream for this one.
    Tries,
    /// From the request's head to the end of its answer.
    DurationMicros,
    /// From the last try's sending to its answer's head, or to its failure.
    UpstreamMicros,
    /// From the head's first byte to its last, where it came in pieces.
    HeadMillis,
    /// From the request's head to the decision: route, credential, declared body.
    AuthMicros,
    /// The time that the last try took to open its connection, where it opened one.
    ConnectMicros,
    /// From the request's head to the answer's head.
    FirstByteMicros,
    /// From the answer's head to its end.
    LastByteMicros,
    /// Bytes of the answer's body.
    BytesSent,
    /// Bytes of the request's body that went upstream, each once.
    BytesReceived,
    /// The client's address.
    Client,
    /// The address of the connection's other end: the client's, or that of the nearest proxy.
    Peer,
    /// The request's id.
    RequestId,
    /// The trace.
    TraceId,
    /// The span under which the request went upstream.
    SpanId,
    /// The caller's `sub` claim, or the API key's subject.
    Subject,
    /// A keyed hash of the same.
    SubjectHash,
    /// Who issued the caller's token.
    Issuer,
    /// The `User-Agent` header.
    UserAgent,
    /// The `Referer` header, its query as far as the log shows queries.
    Referer,
    /// Any header of the request.
    RequestHeader(HeaderName),
    /// Any header of the answer, as the client gets it.
    ResponseHeader(HeaderName),
}

/// Names of headers go behind these.
const REQUEST_HEADER: &str = "request_header.";
const RESPONSE_HEADER: &str = "response_header.";

/// Each name with its field, and whether every JSON line has it.
const NAMES: [(&str, Field, bool); 34] = [
    ("time", Field::Time, true),
    ("time_common", Field::TimeCommon, false),
    ("method", Field::Method, true),
    ("path", Field::Path, true),
    ("query", Field::Query, false),
    ("target", Field::Target, false),
    ("host", Field::Host, true),
    ("protocol", Field::Protocol, false),
    ("status", Field::Status, true),
    ("reason", Field::Reason, true),
    ("detail", Field::Detail, true),
    ("route", Field::Route, true),
    ("upstream", Field::Upstream, true),
    ("endpoint", Field::Endpoint, true),
    ("tries", Field::Tries, true),
    ("duration_us", Field::DurationMicros, true),
    ("upstream_us", Field::UpstreamMicros, true),
    ("head_ms", Field::HeadMillis, false),
    ("auth_us", Field::AuthMicros, false),
    ("connect_us", Field::ConnectMicros, false),
    ("first_byte_us", Field::FirstByteMicros, false),
    ("last_byte_us", Field::LastByteMicros, false),
    ("bytes_sent", Field::BytesSent, true),
    ("bytes_received", Field::BytesReceived, false),
    ("client", Field::Client, true),
    ("peer", Field::Peer, false),
    ("request_id", Field::RequestId, true),
    ("trace_id", Field::TraceId, true),
    ("span_id", Field::SpanId, false),
    ("subject", Field::Subject, false),
    ("subject_hash", Field::SubjectHash, false),
    ("issuer", Field::Issuer, false),
    ("user_agent", Field::UserAgent, false),
    ("referer", Field::Referer, false),
];

/// A name that no field has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownField {
    /// No field is called so; the second is the near miss.
    #[error("no field is called `{0}`")]
    Name(String, Option<&'static str>),
    /// What follows the dot names no header.
    #[error("`{0}` is not the name of a header")]
    Header(String),
}

impl UnknownField {
    /// What to write instead.
    #[must_use]
    pub fn help(&self) -> String {
        match self {
            Self::Name(_, Some(near)) => format!("did you mean `{near}`?"),
            Self::Name(_, None) => {
                let names: Vec<_> = Field::names().collect();
                format!(
                    "fields are {}, and `request_header.NAME` and `response_header.NAME`",
                    {
                        let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
                        names.join(", ")
                    }
                )
            }
            Self::Header(_) => "write it as in `request_header.x-forwarded-for`".into(),
        }
    }
}

impl Field {
    /// The field of this name.
    ///
    /// # Errors
    /// [`UnknownField`], with the near miss.
    pub fn named(name: &str) -> Result<Self, UnknownField> {
        if let Some((_, field, _)) = NAMES.iter().find(|(known, ..)| *known == name) {
            return Ok(field.clone());
        }
        let header = |prefix, field: fn(HeaderName) -> Self| {
            let header = name.strip_prefix(prefix)?;
            let parsed = HeaderName::from_bytes(header.as_bytes());
            Some(
                parsed
                    .map(field)
                    .map_err(|_| UnknownField::Header(header.into())),
            )
        };
        header(REQUEST_HEADER, Self::RequestHeader)
            .or_else(|| header(RESPONSE_HEADER, Self::ResponseHeader))
            .unwrap_or_else(|| {
                let known = Self::names().chain([REQUEST_HEADER, RESPONSE_HEADER]);
                Err(UnknownField::Name(name.into(), near(name, known)))
            })
    }

    /// All names but those of headers.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, ..)| *name)
    }

    /// Its name, which is its key in JSON.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::RequestHeader(name) => format!("{REQUEST_HEADER}{name}"),
            Self::ResponseHeader(name) => format!("{RESPONSE_HEADER}{name}"),
            field => {
                let mut names = NAMES.iter();
                let found = names.find(|(_, known, _)| known == field);
                found.map_or_else(String::new, |(name, ..)| (*name).to_owned())
            }
        }
    }

    /// Whether every JSON line has it.
    #[must_use]
    pub fn is_always_there(&self) -> bool {
        let mut names = NAMES.iter();
        names.any(|(_, known, is_always)| known == self && *is_always)
    }

    /// The header that it shows.
    #[must_use]
    pub fn header(&self) -> Option<&HeaderName> {
        match self {
            Self::RequestHeader(name) | Self::ResponseHeader(name) => Some(name),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_to_its_field_and_back() {
        for name in Field::names() {
            assert_eq!(Field::named(name).unwrap().name(), name);
        }
        for name in ["request_header.x-tenant", "response_header.content-type"] {
            assert_eq!(Field::named(name).unwrap().name(), name);
        }
        let upper = Field::named("request_header.X-Tenant").unwrap();
        assert_eq!(upper.name(), "request_header.x-tenant");
    }

    #[test]
    fn the_page_has_a_row_for_each_field() {
        let page = include_str!("../../../../docs/access-log.md");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
        let rows: Vec<_> = rows.filter_map(|row| row.split_once("` | ")).collect();
        for (name, _, is_always) in &NAMES {
            let row = rows.iter().find(|(known, _)| known == name);
            let (_, rest) = row.unwrap_or_else(|| panic!("docs/access-log.md lacks `{name}`"));
            assert_eq!(rest.starts_with("yes |"), *is_always, "`{name}`: {rest}");
        }
    }

    #[test]
    fn a_slip_is_told_with_its_near_miss() {
        for (name, told) in [
            ("statuss", "did you mean `status`?"),
            ("user-agent", "did you mean `user_agent`?"),
            ("durationus", "did you mean `duration_us`?"),
            (
                "request_header.a b",
                "as in `request_header.x-forwarded-for`",
            ),
            ("response_header.", "as in `request_header.x-forwarded-for`"),
            ("whatever", "fields are `time`, "),
        ] {
            let help = Field::named(name).unwrap_err().help();
            assert!(help.contains(told), "{name}: {help}");
        }
    }
}

//! One request's access line: whether there is one, and what it says.
//!
//! The fields that every JSON line has are known without any work, and written without detours.
//! What else the file asks for is looked up field by field, and noted on the way only where some
//! line wants it ([`Asked`]).

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use gateway_core::access_log::{AccessLog, Answered, Field, Format, Piece};
use gateway_core::words::reason::Reason;
use gateway_core::words::time::Millis;
use http::header::{HOST, LOCATION, REFERER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};

use super::record::Record;
use crate::clock::{Moment, micros};
use crate::telemetry::line::{LineWriter, TimeText, key};
use crate::telemetry::value::{TimeKind, Value};

/// Bytes that are shown of a value that only clients and upstreams bound.
const VALUE_BYTES_MAX: usize = 1024;
/// Ends a value that was longer.
const CUT: &str = "...";

/// What is noted of a request because its line is to say it.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Whether a line says what a connection took.
    times: bool,
    decided: Option<Moment>,
    sent: Option<Moment>,
    connect: Option<Duration>,
    head_began: Option<Millis>,
    answer_headers: HeaderMap,
    received: Option<Arc<AtomicU64>>,
}

/// How a request ended.
pub(super) struct Ending {
    pub(super) unix_micros: u64,
    pub(super) elapsed: Duration,
    pub(super) status: StatusCode,
    pub(super) reason: Option<Reason>,
}

impl Asked {
    /// For a request whose head began then, where it came in pieces.
    pub(super) fn of(log: &AccessLog, head_began: Option<Millis>) -> Box<Self> {
        Box::new(Self {
            times: log.needs.times,
            head_began,
            received: log.needs.bytes_received.then(Arc::default),
            ..Self::default()
        })
    }

    /// Counts the body's bytes, where the line is to say their number.
    pub(super) fn received(&self) -> Option<Arc<AtomicU64>> {
        self.received.clone()
    }

    /// Whether it is to be known what a connection took.
    pub(super) fn wants_times(&self) -> bool {
        self.times
    }

    /// A try that ended: when it was sent, and what its connection took.
    pub(super) fn note_try(&mut self, sent: Option<Moment>, connect: Option<Duration>) {
        self.sent = sent.or(self.sent);
        self.connect = connect;
    }
}

impl Record {
    /// It is decided what becomes of the request.
    pub(super) fn note_decided(&mut self) {
        let needs = self.pinned.live.plan.access_log.as_ref();
        if let Some(asked) = &mut self.asked
            && needs.is_some_and(|log| log.needs.auth_time)
        {
            asked.decided = Some(self.worker.clock.now());
        }
    }

    /// Those of the answer's headers that the line is to say.
    pub(super) fn note_answer(&mut self, headers: HeaderMap) {
        if let Some(asked) = &mut self.asked {
            asked.answer_headers = headers;
        }
    }

    /// Writes the line, if there is one.
    pub(super) fn write_access_line(&self, ending: &Ending) {
        let plan = &self.pinned.live.plan;
        let Some(log) = &plan.access_log else { return };
        let sample = match self.route {
            Some(route) => plan.routes[route].access_log.as_ref(),
            None => Some(&log.sample),
        };
        let answered = Answered {
            trace_id: self.trace.trace_id,
            status: ending.status,
            has_reason: ending.reason.is_some(),
            elapsed: ending.elapsed,
        };
        if !sample.is_some_and(|sample| sample.wants(&answered)) {
            self.worker.cells.access_lines_left_out.add(1);
            return;
        }
        match &log.format {
            Format::Json(more) => self.worker.log.write(|out, time| {
                let mut line = LineWriter::begin(out, time, ending.unix_micros);
                self.write_fixed(&mut line, ending);
                for (field, name) in more {
                    line.member(name, &self.value(field, log, ending));
                }
                line.end();
            }),
            Format::Text(pieces) => self.worker.log.write(|out, time| {
                self.write_text(pieces, log, ending, out, time);
            }),
        }
    }

    fn write_text(
        &self,
        pieces: &[Piece],
        log: &AccessLog,
        ending: &Ending,
        out: &mut Vec<u8>,
        time: &mut TimeText,
    ) {
        for piece in pieces {
            match piece {
                Piece::Literal(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Value { field, is_quoted } => {
                    self.value(field, log, ending).write(out, time, *is_quoted);
                }
            }
        }
        out.push(b'\n');
    }

    /// What every JSON line says.
    fn write_fixed(&self, line: &mut LineWriter<'_>, ending: &Ending) {
        let plan = &self.pinned.live.plan;
        line.constant(",\"level\":\"info\",\"message\":\"request\"");
        if !self.is_unread {
            line.text(key!("method"), self.parts.method.as_str());
            // Without the query, which may hold secrets.
            line.text(key!("path"), self.parts.uri.path());
            if let Some(Ok(host)) = self.parts.headers.get(HOST).map(HeaderValue::to_str) {
                line.text(key!("host"), host);
            }
        }
        line.number(key!("status"), ending.status.as_u16().into());
        if let Some(reason) = ending.reason {
            line.plain(key!("reason"), reason.code());
        }
        if let Some(detail) = self.rejection.as_ref().and_then(|it| it.detail.as_deref()) {
            line.text(key!("detail"), detail);
        }
        if let Some(route) = self.route {
            line.plain(key!("route"), &plan.routes[route].name);
        }
        if let Some((_, cluster)) = self.backend {
            line.text(key!("upstream"), &plan.clusters[cluster].name);
        }
        if let Some(lease) = &self.lease {
            line.plain(key!("endpoint"), &lease.endpoint().label);
        }
        line.number(key!("tries"), self.tries_made());
        line.number(key!("duration_us"), micros(ending.elapsed));
        if let Some(micros) = self.upstream_micros {
            line.number(key!("upstream_us"), micros);
        }
        line.number(key!("bytes_sent"), self.bytes_sent);
        if self.is_trusted {
            line.plain(key!("client"), &self.client());
        } else {
            line.plain(key!("client"), &self.connection.peer_text);
        }
        line.plain(key!("request_id"), self.request_id_text());
        line.hex(key!("trace_id"), self.trace.trace_id);
    }

    /// What a field is for this request.
    fn value<'r>(&'r self, field: &Field, log: &AccessLog, ending: &Ending) -> Value<'r> {
        let plan = &self.pinned.live.plan;
        let caller = self.caller.as_deref();
        match field {
            Field::Time => Value::Time(TimeKind::Rfc3339, ending.unix_micros),
            Field::TimeCommon => Value::Time(TimeKind::Common, ending.unix_micros),
            Field::Status => Value::Number(ending.status.as_u16().into()),
            Field::Reason => Value::of(ending.reason.map(Reason::code)),
            Field::Detail => Value::of(self.rejection.as_ref().and_then(|it| it.detail.as_deref())),
            Field::Route => Value::of(self.route.map(|index| &*plan.routes[index].name)),
            Field::Upstream => {
                let cluster = self.backend.map(|(_, cluster)| &plan.clusters[cluster]);
                Value::of(cluster.map(|cluster| &*cluster.name))
            }
            Field::Endpoint => {
                let lease = self.lease.as_ref();
                Value::of(lease.map(|lease| &*lease.endpoint().label))
            }
            Field::Tries => Value::Number(self.tries_made()),
            Field::BytesSent => Value::Number(self.bytes_sent),
            Field::Client => Value::Text(self.client()),
            Field::Peer => Value::text(&self.connection.peer_text),
            Field::RequestId => Value::text(self.request_id_text()),
            Field::TraceId => Value::Id(self.trace.trace_id),
            Field::SpanId => Value::Span(self.trace.parent_id),
            Field::Subject => Value::of(caller.and_then(|caller| caller.subject.as_deref())),
            Field::SubjectHash => {
                let subject = caller.and_then(|caller| caller.subject.as_deref());
                let hash = subject.zip(log.hash.as_ref());
                hash.map_or(Value::Absent, |(subject, hash)| Value::Id(hash.of(subject)))
            }
            Field::Issuer => Value::of(caller.and_then(|caller| caller.issuer.as_deref())),
            Field::ResponseHeader(name) => {
                let headers = self.asked.as_deref().map(|asked| &asked.answer_headers);
                headers.map_or(Value::Absent, |headers| header(headers, name, log))
            }
            Field::DurationMicros
            | Field::UpstreamMicros
            | Field::HeadMillis
            | Field::AuthMicros
            | Field::ConnectMicros
            | Field::FirstByteMicros
            | Field::LastByteMicros
            | Field::BytesReceived => Value::number(self.measured(field, ending)),
            _ if self.is_unread => Value::Absent,
            of_head => self.value_of_head(of_head, log),
        }
    }

    /// What a field is that says what the client sent.
    fn value_of_head<'r>(&'r self, field: &Field, log: &AccessLog) -> Value<'r> {
        let (uri, headers) = (&self.parts.uri, &self.parts.headers);
        match field {
            Field::Method => Value::text(self.parts.method.as_str()),
            Field::Path => Value::text(uri.path()),
            Field::Query => {
                let shown = uri.query().map(|query| log.query.shown(query));
                shown.map_or(Value::Absent, |shown| Value::Text(cut(shown)))
            }
            Field::Target => match uri.query().map(|query| log.query.shown(query)) {
                Some(query) if !query.is_empty() => {
                    Value::Text(format!("{}?{}", uri.path(), cut(query)).into())
                }
                _ => Value::text(uri.path()),
            },
            Field::Host => header(headers, &HOST, log),
            Field::Protocol => Value::text(match self.parts.version {
                Version::HTTP_10 => "HTTP/1.0",
                _ => "HTTP/1.1",
            }),
            Field::UserAgent => header(headers, &USER_AGENT, log),
            Field::Referer => header(headers, &REFERER, log),
            Field::RequestHeader(name) => header(headers, name, log),
            _ => Value::Absent,
        }
    }

    /// Times by phase, and bytes.
    fn measured(&self, field: &Field, ending: &Ending) -> Option<u64> {
        let since_head = |moment: Moment| micros(moment.since(self.began));
        let asked = self.asked.as_deref();
        let answered = || Some(since_head(asked?.sent?) + self.upstream_micros?);
        match field {
            Field::DurationMicros => Some(micros(ending.elapsed)),
            Field::UpstreamMicros => self.upstream_micros,
            Field::HeadMillis => {
                let began = asked?.head_began?;
                Some(self.began.to_ms().saturating_sub(began))
            }
            Field::AuthMicros => Some(since_head(asked?.decided?)),
            Field::ConnectMicros => Some(micros(asked?.connect?)),
            Field::FirstByteMicros => answered(),
            Field::LastByteMicros => Some(micros(ending.elapsed).saturating_sub(answered()?)),
            Field::BytesReceived => {
                let received = asked?.received.as_ref()?;
                Some(received.load(Ordering::Relaxed))
            }
            _ => None,
        }
    }

    fn tries_made(&self) -> u64 {
        let hedges = self.hedges.load(Ordering::Relaxed);
        (self.tries + hedges).into()
    }

    fn request_id_text(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }

    fn client(&self) -> Cow<'_, str> {
        if !self.is_trusted {
            return Cow::Borrowed(&self.connection.peer_text);
        }
        let forwarded = &self.pinned.live.plan.forwarded;
        let client = forwarded.client(self.connection.peer.ip(), &self.parts.headers);
        Cow::Owned(client.to_string())
    }
}

/// All values of a header, in its order; URLs as far as the log shows them.
fn header<'h>(headers: &'h HeaderMap, name: &HeaderName, log: &AccessLog) -> Value<'h> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else {
        return Value::Absent;
    };
    let mut text = String::from_utf8_lossy(first.as_bytes());
    for value in values {
        let more = String::from_utf8_lossy(value.as_bytes());
        text = Cow::Owned(format!("{text}, {more}"));
        if text.len() > VALUE_BYTES_MAX {
            break;
        }
    }
    let is_url = *name == REFERER || *name == LOCATION || *name == http::header::CONTENT_LOCATION;
    let text = match text {
        Cow::Borrowed(url) if is_url => log.query.url(url),
        Cow::Owned(url) if is_url => Cow::Owned(log.query.url(&url).into_owned()),
        text => text,
    };
    Value::Text(cut(text))
}

/// No more than a line may hold of one value.
fn cut(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.len() <= VALUE_BYTES_MAX {
        return text;
    }
    let end = text.floor_char_boundary(VALUE_BYTES_MAX);
    Cow::Owned(format!("{}{CUT}", &text[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_cut_between_characters() {
        let fits = "é".repeat(VALUE_BYTES_MAX / 2);
        assert_eq!(cut(fits.as_str().into()), fits);
        let long = format!("a{fits}");
        let shown = cut(long.as_str().into()).into_owned();
        assert!(shown.ends_with("é..."), "{shown}");
        assert!(shown.len() <= VALUE_BYTES_MAX + CUT.len());
    }
}

//! Tables of two snapshots. Nothing here knows of time, terminals or networks.

mod keys;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Duration;

use super::snapshot::{
    Answers, Endpoint, Held, Latency, Refusal, Share, Snapshot, Traffic, Upstream,
};

/// Shares of answers that are 5xx from which on they are odd, and bad.
const ERRORS_ODD: f64 = 0.001;
const ERRORS_BAD: f64 = 0.05;
/// Share of a limit from which on it is near.
const NEAR: f64 = 0.8;

/// How a cell is to be taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    #[default]
    Plain,
    Good,
    Odd,
    Bad,
}

/// A value: how it reads, and how it sorts.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cell {
    pub(super) text: String,
    /// What numbers sort by; texts sort by themselves.
    pub(super) number: Option<f64>,
    pub(super) tone: Tone,
}

impl Cell {
    fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            number: None,
            tone: Tone::Plain,
        }
    }

    fn number(text: String, number: f64) -> Self {
        Self {
            text,
            number: Some(number),
            tone: Tone::Plain,
        }
    }

    fn none() -> Self {
        Self::number("–".into(), -1.0)
    }

    #[expect(clippy::cast_precision_loss, reason = "it is sorted by, not shown")]
    fn count(count: u64) -> Self {
        Self::number(grouped(count), count as f64)
    }

    fn rate(rate: Option<f64>) -> Self {
        rate.map_or_else(Self::none, |rate| Self::number(short(rate), rate))
    }

    fn toned(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }

    /// As this one sorts against another.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        match (self.number, other.number) {
            (Some(own), Some(others)) => own.total_cmp(&others),
            _ => self.text.cmp(&other.text),
        }
    }
}

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) is_number: bool,
    /// Where there is no room for all, the highest go first; 0 stays.
    pub(super) rank: u8,
}

const fn text(name: &'static str, rank: u8) -> Column {
    Column {
        name,
        is_number: false,
        rank,
    }
}

const fn number(name: &'static str, rank: u8) -> Column {
    Column {
        name,
        is_number: true,
        rank,
    }
}

/// A table.
#[derive(Debug)]
pub(super) struct Sheet {
    pub(super) columns: &'static [Column],
    pub(super) rows: Vec<Vec<Cell>>,
}

pub(super) const ROUTES: &[Column] = &[
    text("Route", 0),
    number("req/s", 0),
    number("5xx", 0),
    number("p50", 1),
    number("p99", 0),
    number("Total", 2),
    text("Upstreams", 3),
];
pub(super) const UPSTREAMS: &[Column] = &[
    text("Upstream", 0),
    number("req/s", 0),
    number("5xx", 0),
    number("p50", 2),
    number("p99", 0),
    number("Retries/s", 1),
    number("Denied/s", 3),
    number("No conn/s", 3),
    text("Healthy", 0),
];
pub(super) const ENDPOINTS: &[Column] = &[
    text("Endpoint", 0),
    text("Upstream", 1),
    text("Health", 0),
    number("Score", 0),
    number("In flight", 1),
    number("Expected", 2),
    number("Weight", 3),
    number("Ejections", 2),
    text("Zone", 4),
];
pub(super) const LIMITS: &[Column] = &[
    text("Upstream", 0),
    number("Requests", 0),
    number("Connections", 1),
    number("Waiting", 2),
    number("Adaptive", 1),
    number("Shed/s", 0),
];
pub(super) const REFUSALS: &[Column] = &[
    number("Ago", 0),
    number("Status", 2),
    text("Reason", 0),
    text("Route", 1),
    text("Method", 3),
    text("Path", 0),
    text("Client", 2),
];

/// What all routes did together.
#[derive(Debug, Default)]
pub(super) struct Total {
    pub(super) rate: Option<f64>,
    pub(super) errors: Option<f64>,
    pub(super) p50: Option<f64>,
    pub(super) p99: Option<f64>,
}

/// What was counted between two moments.
struct Flow {
    seconds: f64,
    answers: u64,
    errors: u64,
    buckets: Vec<u64>,
}

impl Flow {
    /// Nothing, if there was no earlier moment or counters went back: those are of another process.
    fn between(
        seconds: Option<f64>,
        before: Option<(&Answers, &Latency)>,
        now: (&Answers, &Latency),
    ) -> Option<Self> {
        let (seconds, (answers, latency)) = (seconds?, before?);
        let mut flow = Self {
            seconds,
            answers: 0,
            errors: 0,
            buckets: Vec::new(),
        };
        for (class, count) in now.0 {
            let more = count.checked_sub(answers.get(class).copied().unwrap_or(0))?;
            flow.answers += more;
            if class == "5xx" {
                flow.errors += more;
            }
        }
        let earlier = latency.buckets.iter().copied().chain(std::iter::repeat(0));
        for (count, earlier) in now.1.buckets.iter().zip(earlier) {
            flow.buckets.push(count.checked_sub(earlier)?);
        }
        Some(flow)
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of seconds are small")]
    fn rate(&self) -> f64 {
        self.answers as f64 / self.seconds
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of seconds are small")]
    fn error_share(&self) -> Option<f64> {
        (self.answers > 0).then(|| self.errors as f64 / self.answers as f64)
    }
}

/// The upper bound, in seconds, of the bucket in which this percentage of the answers lies.
pub(super) fn quantile(buckets: &[u64], bounds: &[f64], percent: u64) -> Option<f64> {
    let total: u64 = buckets.iter().sum();
    let mut seen = 0;
    for (index, count) in buckets.iter().enumerate() {
        seen += count;
        if *count > 0 && seen * 100 >= total * percent {
            return Some(bounds.get(index).copied().unwrap_or(f64::INFINITY));
        }
    }
    None
}

/// Two moments of one gateway, or one of them.
pub(super) struct Moments<'s> {
    pub(super) before: Option<&'s Snapshot>,
    pub(super) now: &'s Snapshot,
}

impl Moments<'_> {
    fn seconds(&self) -> Option<f64> {
        let passed = self.now.at.checked_sub(self.before?.at)?;
        (passed > Duration::ZERO).then_some(passed.as_secs_f64())
    }

    pub(super) fn total(&self) -> Total {
        let bounds = &self.now.routes.bucket_bounds_seconds;
        let all = sum(self.now);
        let earlier = self.before.map(sum);
        let before = earlier.as_ref().map(|it| (&it.answers, &it.latency));
        let flow = Flow::between(self.seconds(), before, (&all.answers, &all.latency));
        flow.map_or_else(Total::default, |flow| Total {
            rate: Some(flow.rate()),
            errors: flow.error_share(),
            p50: quantile(&flow.buckets, bounds, 50),
            p99: quantile(&flow.buckets, bounds, 99),
        })
    }

    pub(super) fn routes(&self) -> Sheet {
        let earlier: BTreeMap<_, _> = self.before.map_or_else(BTreeMap::new, |before| {
            let routes = before.routes.matched.iter();
            routes.map(|it| (it.name.as_str(), &it.traffic)).collect()
        });
        let now = &self.now.routes;
        let row = |name: &str, traffic: &Traffic, before: Option<&Traffic>, targets: String| {
            let mut row = vec![Cell::text(name)];
            let before = before.map(|it| (&it.answers, &it.latency));
            let counts = (&traffic.answers, &traffic.latency);
            row.extend(self.flow(before, counts, &now.bucket_bounds_seconds));
            row.push(Cell::count(traffic.answers.values().sum()));
            row.push(Cell::text(targets));
            row
        };
        let rows = now.matched.iter().map(|route| {
            let targets: Vec<_> = route.upstreams.iter().map(|it| it.name.as_str()).collect();
            let before = earlier.get(route.name.as_str()).copied();
            row(&route.name, &route.traffic, before, targets.join(", "))
        });
        let unmatched = self.before.map(|before| &before.routes.unmatched);
        let last = row("(no route)", &now.unmatched, unmatched, String::new());
        Sheet {
            columns: ROUTES,
            rows: rows.chain([last]).collect(),
        }
    }

    /// The four cells of rate, errors, p50 and p99.
    fn flow(
        &self,
        before: Option<(&Answers, &Latency)>,
        now: (&Answers, &Latency),
        bounds: &[f64],
    ) -> [Cell; 4] {
        let Some(flow) = Flow::between(self.seconds(), before, now) else {
            return [(); 4].map(|()| Cell::none());
        };
        let [p50, p99] = [50, 99].map(|percent| {
            let found = quantile(&flow.buckets, bounds, percent);
            found.map_or_else(Cell::none, |it| Cell::number(duration(it), it))
        });
        let errors = flow.error_share().map_or_else(Cell::none, |share| {
            Cell::number(percent(share), share).toned(error_tone(share))
        });
        [Cell::rate(Some(flow.rate())), errors, p50, p99]
    }

    pub(super) fn upstreams(&self) -> Sheet {
        let now = &self.now.upstreams;
        let rows = now.all.iter().map(|upstream| {
            let before = self.before.and_then(|before| {
                let mut all = before.upstreams.all.iter();
                all.find(|it| it.name == upstream.name)
            });
            let rate = |pick: fn(&Upstream) -> u64| self.rate(before.map(pick), pick(upstream));
            let mut row = vec![Cell::text(&*upstream.name)];
            let counts = before.map(|it| (&it.answers, &it.latency));
            let counted = (&upstream.answers, &upstream.latency);
            row.extend(self.flow(counts, counted, &now.bucket_bounds_seconds));
            row.push(odd_above_zero(rate(|it| it.retries), Tone::Odd));
            row.push(odd_above_zero(rate(|it| it.retries_denied), Tone::Bad));
            row.push(odd_above_zero(rate(|it| it.connect_failures), Tone::Bad));
            row.push(healthy(upstream));
            row
        });
        Sheet {
            columns: UPSTREAMS,
            rows: rows.collect(),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of seconds are small")]
    fn rate(&self, before: Option<u64>, now: u64) -> Option<f64> {
        let more = now.checked_sub(before?)?;
        Some(more as f64 / self.seconds()?)
    }

    pub(super) fn endpoints(&self) -> Sheet {
        let upstreams = self.now.upstreams.all.iter();
        let rows = upstreams.flat_map(|upstream| {
            let endpoints = upstream.endpoints.iter();
            endpoints.map(|endpoint| endpoint_row(&upstream.name, endpoint))
        });
        Sheet {
            columns: ENDPOINTS,
            rows: rows.collect(),
        }
    }

    pub(super) fn limits(&self) -> Sheet {
        let shed = |held: &Held| held.shed.values().sum::<u64>();
        let rows = self.now.limits.upstreams.iter().map(|held| {
            let before = self.before.and_then(|before| {
                let mut all = before.limits.upstreams.iter();
                all.find(|it| it.upstream == held.upstream)
            });
            let adaptive = held.adaptive.map(|it| it.limit);
            vec![
                Cell::text(&*held.upstream),
                share(held.requests),
                share(held.connections),
                share(held.pending),
                adaptive.map_or_else(Cell::none, Cell::count),
                odd_above_zero(self.rate(before.map(shed), shed(held)), Tone::Bad),
            ]
        });
        Sheet {
            columns: LIMITS,
            rows: rows.collect(),
        }
    }

    pub(super) fn refusals(&self) -> Sheet {
        let now_ms = self.now.status.time.saturating_mul(1_000);
        let rows = self.now.refusals.newest.iter();
        Sheet {
            columns: REFUSALS,
            rows: rows.map(|refusal| refusal_row(refusal, now_ms)).collect(),
        }
    }
}

fn sum(snapshot: &Snapshot) -> Traffic {
    let mut all = snapshot.routes.unmatched.clone();
    for route in &snapshot.routes.matched {
        for (class, count) in &route.traffic.answers {
            *all.answers.entry(class.clone()).or_default() += count;
        }
        let buckets = all.latency.buckets.iter_mut();
        for (total, count) in buckets.zip(&route.traffic.latency.buckets) {
            *total += count;
        }
    }
    all
}

fn endpoint_row(upstream: &str, endpoint: &Endpoint) -> Vec<Cell> {
    let tone = match endpoint.health.as_str() {
        "healthy" => Tone::Good,
        "probing" => Tone::Odd,
        _ => Tone::Bad,
    };
    let health = match &endpoint.ejected_for {
        Some(reason) => format!("{} ({reason})", endpoint.health),
        None => endpoint.health.clone(),
    };
    let expected = endpoint
        .expected_ms
        .map_or_else(Cell::none, |it| Cell::number(duration(it / 1_000.0), it));
    vec![
        Cell::text(&*endpoint.address),
        Cell::text(upstream),
        Cell::text(health).toned(tone),
        Cell::number(short(endpoint.score), endpoint.score),
        Cell::count(endpoint.in_flight),
        expected,
        Cell::count(endpoint.weight),
        Cell::count(endpoint.ejections),
        Cell::text(endpoint.zone.as_deref().unwrap_or("–")),
    ]
}

fn refusal_row(refusal: &Refusal, now_ms: u64) -> Vec<Cell> {
    let or_none = |it: &Option<String>| Cell::text(it.as_deref().unwrap_or("–"));
    let ago = now_ms.saturating_sub(refusal.time_ms) / 1_000;
    let tone = if refusal.status >= 500 {
        Tone::Bad
    } else {
        Tone::Plain
    };
    vec![
        time_span(ago),
        Cell::count(refusal.status).toned(tone),
        Cell::text(&*refusal.reason),
        or_none(&refusal.route),
        or_none(&refusal.method),
        or_none(&refusal.path),
        Cell::text(&*refusal.client),
    ]
}

/// 7s, 17m, 3h, 12d: what is long is not told to the second.
fn time_span(seconds: u64) -> Cell {
    let text = match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    };
    Cell {
        text,
        ..Cell::count(seconds)
    }
}

fn healthy(upstream: &Upstream) -> Cell {
    let endpoints = upstream.endpoints.iter();
    let healthy = endpoints.filter(|it| it.health == "healthy").count() as u64;
    // At most a hundred endpoints are told of.
    let shown = upstream.endpoints.len() as u64;
    let (words, tone) = if !upstream.is_answered {
        ("not found yet".into(), Tone::Bad)
    } else if upstream.is_panicking {
        (format!("{healthy}/{shown} panic"), Tone::Bad)
    } else if healthy == 0 {
        (format!("0/{shown}"), Tone::Bad)
    } else if healthy < shown {
        (format!("{healthy}/{shown}"), Tone::Odd)
    } else {
        (format!("{healthy}/{shown}"), Tone::Good)
    };
    let more = upstream.endpoint_count.saturating_sub(shown);
    let words = if more > 0 {
        format!("{words} +{more}")
    } else {
        words
    };
    Cell::text(words).toned(tone)
}

#[expect(clippy::cast_precision_loss, reason = "limits are small")]
fn share(share: Share) -> Cell {
    let Share { now, max } = share;
    let part = now as f64 / max.max(1) as f64;
    let tone = match part {
        part if part >= 1.0 => Tone::Bad,
        part if part >= NEAR => Tone::Odd,
        _ => Tone::Plain,
    };
    Cell::number(format!("{}/{}", grouped(now), grouped(max)), part).toned(tone)
}

fn odd_above_zero(rate: Option<f64>, tone: Tone) -> Cell {
    let is_any = rate.is_some_and(|rate| rate > 0.0);
    Cell::rate(rate).toned(if is_any { tone } else { Tone::Plain })
}

/// How a share of errors is to be taken.
pub(super) fn error_tone(share: f64) -> Tone {
    match share {
        share if share >= ERRORS_BAD => Tone::Bad,
        share if share >= ERRORS_ODD => Tone::Odd,
        _ => Tone::Plain,
    }
}

/// 0.5, 12.3, 123, 45,678: three figures are enough.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative, and rounded"
)]
pub(super) fn short(value: f64) -> String {
    match value {
        value if value < 99.95 => format!("{value:.1}"),
        value => grouped(value.round() as u64),
    }
}

/// 1,234,567.
pub(super) fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// The bound of a bucket, or a time that was measured.
pub(super) fn duration(seconds: f64) -> String {
    match seconds {
        seconds if seconds.is_infinite() => ">10 s".into(),
        seconds if seconds < 0.1 => format!("{} ms", trimmed(seconds * 1_000.0)),
        seconds if seconds < 1.0 => format!("{:.0} ms", seconds * 1_000.0),
        seconds => format!("{} s", trimmed(seconds)),
    }
}

/// 2.5, and 5 rather than 5.0.
fn trimmed(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

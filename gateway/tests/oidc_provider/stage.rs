//! A gateway in front of a backend, with keys of a real provider and a load, scene by scene.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use http::HeaderValue;
use http::header::AUTHORIZATION;

use crate::issuer::{AUDIENCE, Issuer};
use crate::load::{Batch, Load, Outcome, refusal};
use crate::report::Report;
use crate::strangers::{Answers, Strangers};
use crate::support::backend::Backend;
use crate::support::gateway::TestGateway;
use crate::support::http_client::client;
use crate::support::{eventually, runtime};

const ROUTES: &str = r#"
workers: 2
jwt_providers:
  main:
    issuer: "${ISSUER}"
    discovery: true
    audiences: ["${AUDIENCE}"]
    algorithms: [RS256, ES256]
    token_type: at+jwt
    refresh_interval: 30s
upstreams: {backend: {static: ["${BACKEND}"]}}
routes:
  - name: all
    match: {path_prefix: /}
    auth: {jwt: main, require: {scopes: {all: ["users:read"]}}}
    backends: [{upstream: backend}]
"#;

/// Least and most time between two fetches for unknown keys: it doubles while they are in vain,
/// up to four fifths of `unknown_key_wait`.
pub(crate) const COOLDOWN: (Duration, Duration) =
    (Duration::from_secs(1), Duration::from_millis(2_500));
/// Least and most time between two fetches in the background while they fail: half of the pauses
/// in docs/keys.md may be left to chance. After a good answer it is `refresh_interval`.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(15));
/// How many fetches more there may be when such a doubling begins anew.
const RESET_FETCHES: u64 = 5;
/// Time that a request with an unknown key waits for a fetch: the default of `unknown_key_wait`.
const UNKNOWN_KEY_WAIT: Duration = Duration::from_secs(5);
/// What a busy machine may add to that, beside what it adds to other requests: all that wait are
/// answered at once.
pub(crate) const MARGIN: Duration = Duration::from_secs(3);

/// How often a gateway may fetch keys in a scene.
#[derive(Clone, Copy)]
pub(crate) struct Due {
    are_keys_wanted: bool,
    /// How often the pauses between fetches may begin anew: when keys change, or when answers are
    /// good again.
    resets: u64,
}

impl Due {
    /// As time goes by.
    pub(crate) fn by_time(resets: u64) -> Self {
        Self {
            are_keys_wanted: false,
            resets,
        }
    }

    /// That, and for requests whose keys are not there.
    pub(crate) fn for_unknown_keys(resets: u64) -> Self {
        Self {
            are_keys_wanted: true,
            resets,
        }
    }

    /// Fetches of one document in this time of the gateway's, whatever happens.
    pub(crate) fn fetches_max(self, length: Duration) -> u64 {
        let begun_anew = self.resets * RESET_FETCHES;
        let by_time = spaced(length, BACKOFF) + begun_anew;
        if self.are_keys_wanted {
            by_time + spaced(length, COOLDOWN) + begun_anew
        } else {
            by_time
        }
    }
}

/// Everything on it runs; only one stage at a time may use a provider, which counts requests.
pub(crate) struct Stage<'s> {
    pub(crate) issuer: &'s Issuer,
    pub(crate) report: &'s mut Report,
    /// How much faster than ours the gateway's time runs where keys are concerned.
    speed: u32,
    gateway: TestGateway,
    _backend: Backend,
    /// The number of the keys that sign.
    keys: u32,
    batch: Arc<Batch>,
    strangers: Answers,
}

impl<'s> Stage<'s> {
    /// Starts a gateway, and waits until it lets tokens of the keys with this number in.
    pub(crate) fn open(
        issuer: &'s Issuer,
        report: &'s mut Report,
        first_keys: u32,
        speed: u32,
    ) -> Self {
        let backend = Backend::replying("ok");
        issuer.publish(&[first_keys], first_keys);
        let gateway = TestGateway::start_accelerated(
            ROUTES,
            &[
                ("ISSUER", &issuer.url()),
                ("AUDIENCE", &AUDIENCE),
                ("BACKEND", &backend.address()),
            ],
            speed,
        );
        let stage = Self {
            batch: issuer.tokens(),
            issuer,
            report,
            speed,
            gateway,
            _backend: backend,
            keys: first_keys,
            strangers: Answers::default(),
        };
        stage.wait_until_accepted();
        stage
    }

    pub(crate) fn keys(&self) -> u32 {
        self.keys
    }

    /// A time of the gateway's, in ours.
    pub(crate) fn simulated(&self, time: Duration) -> Duration {
        time / self.speed
    }

    fn url(&self) -> String {
        format!("http://{}/users", self.gateway.address())
    }

    /// Plays a scene under load.
    pub(crate) fn play(
        &mut self,
        scenario: &str,
        due: Due,
        scene: impl FnOnce(&mut Self, &Load),
    ) -> Outcome {
        let before = self.issuer.counts();
        let started = Instant::now();
        let load = Load::start(self.url(), vec![Arc::clone(&self.batch)]);
        scene(self, &load);
        let outcome = load.finish();
        let fetches_max = due.fetches_max(started.elapsed() * self.speed);
        let fetched = self.issuer.counts() - before;
        let strangers = std::mem::take(&mut self.strangers);
        // They are answered as late as others are, on top of what they wait for.
        let latency_max = UNKNOWN_KEY_WAIT + outcome.quantile(100) + MARGIN;
        if strangers.latency_max > latency_max {
            self.report.complain(format!(
                "{scenario}: a request with an unknown key took {:?}; {UNKNOWN_KEY_WAIT:?} is \
                 what it may wait",
                strangers.latency_max
            ));
        }
        self.report.scenario(
            scenario,
            &outcome,
            fetched,
            fetches_max,
            &strangers.by_refusal,
        );
        outcome
    }

    /// Tokens of the present keys.
    pub(crate) fn batch(&self) -> &Arc<Batch> {
        &self.batch
    }

    /// New keys from one moment to the next; the tokens of the old ones are handed back.
    pub(crate) fn switch_keys(&mut self) -> Arc<Batch> {
        let old = Arc::clone(&self.batch);
        old.retire();
        self.keys += 1;
        self.issuer.publish(&[self.keys], self.keys);
        self.batch = self.issuer.tokens();
        old
    }

    /// New keys beside the old ones, which sign no more and leave after the load has gone on for
    /// `overlap` with tokens of both.
    pub(crate) fn switch_keys_with_overlap(&mut self, load: &Load, overlap: Duration) {
        let (old, new) = (self.keys, self.keys + 1);
        self.issuer.publish(&[old, new], old);
        load.goes_on_for(overlap);
        self.issuer.publish(&[new, old], new);
        let fresh = self.issuer.tokens();
        load.uses(&[&self.batch, &fresh]);
        load.goes_on_for(overlap);
        self.batch.retire();
        self.issuer.publish(&[new], new);
        load.uses(&[&fresh]);
        self.keys = new;
        self.batch = fresh;
    }

    /// Waits until the tokens of the present keys are accepted.
    pub(crate) fn wait_until_accepted(&self) {
        self.wait_for_refusal(&self.batch, None);
    }

    /// Waits until tokens of keys that are gone are refused as such.
    pub(crate) fn wait_until_refused(&self, batch: &Batch) {
        self.wait_for_refusal(batch, Some("401 jwt_key_unknown"));
    }

    fn wait_for_refusal(&self, batch: &Batch, wanted: Option<&str>) {
        eventually(&format!("all tokens of a batch get {wanted:?}"), || {
            // At once, so that one fetch answers for all.
            let requests = batch.authorization().iter().map(|token| {
                let request = client().get(self.url()).header(AUTHORIZATION, token);
                refusal(request)
            });
            let refusals = runtime().block_on(join_all(requests));
            let is_wanted = |refusal: &Option<String>| refusal.as_deref() == wanted;
            refusals.iter().all(is_wanted).then_some(())
        });
    }

    /// Readings of the keys that have failed so far.
    pub(crate) fn failed_readings(&self) -> u64 {
        let metrics = self.gateway.metrics();
        let readings = metrics.series("gateway_jwks_fetches_total");
        let failed = |(series, _): &&(&str, u64)| !series.contains("outcome=\"success\"");
        readings.iter().filter(failed).map(|(_, count)| count).sum()
    }

    /// Sends requests with keys that nobody knows.
    pub(crate) fn send_strangers(&self, tokens: Vec<HeaderValue>, connections: usize) -> Strangers {
        Strangers::start(&self.url(), tokens, connections)
    }

    /// Waits until the strangers are answered, each with one of these.
    pub(crate) fn check(&mut self, strangers: Strangers, allowed: &[&str]) {
        self.strangers = strangers.finish();
        for answer in self.strangers.by_refusal.keys() {
            if !allowed.contains(&answer.as_str()) {
                let complaint = format!("a stranger was answered {answer}, not one of {allowed:?}");
                self.report.complain(complaint);
            }
        }
    }
}

/// How often something happens in this time if it does at once, then after the least pause, which
/// doubles up to the most.
fn spaced(length: Duration, (least, most): (Duration, Duration)) -> u64 {
    let (mut times, mut at, mut pause) = (0, Duration::ZERO, least);
    while at <= length {
        times += 1;
        at += pause;
        pause = (pause * 2).min(most);
    }
    times
}

//! A gateway in front of a backend, with keys of a real provider and a load, scene by scene.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::AUTHORIZATION;

use crate::issuer::{AUDIENCE, Issuer};
use crate::load::{Batch, Load, Outcome, refusal};
use crate::report::Report;
use crate::strangers::{self, Answers, Strangers};
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

/// Least and most time between two fetches for unknown keys; it doubles after each that brings
/// nothing new.
const COOLDOWN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// Least and most time between two fetches in the background: the least after a failure, the most
/// as `refresh_interval` says.
const REFRESH: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Fetches that come earlier because the time between them began anew: 1, 2, 4 and 8 s instead of
/// the most.
const RESET_FETCHES: u64 = 4;
/// Jitter takes at most a tenth of each pause.
const JITTER: f64 = 0.9;
/// Time that a request with an unknown key waits for a fetch: the default of `unknown_key_wait`.
const UNKNOWN_KEY_WAIT: Duration = Duration::from_secs(5);
/// What a busy machine may add to any time.
const MARGIN: Duration = Duration::from_secs(1);

/// The longest that a request with a new key waits while others keep asking for unknown ones.
pub(crate) const NEW_KEY_LATENCY_MAX: Duration = COOLDOWN.1.saturating_add(MARGIN);

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
    strangers: BTreeMap<String, u64>,
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
            strangers: BTreeMap::new(),
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

    /// Plays a scene under load. The spacing of fetches may begin anew so many times in it.
    pub(crate) fn play(
        &mut self,
        scenario: &str,
        resets: u64,
        scene: impl FnOnce(&mut Self, &Load),
    ) -> Outcome {
        let before = self.issuer.counts();
        let started = Instant::now();
        let load = Load::start(self.url(), vec![Arc::clone(&self.batch)]);
        scene(self, &load);
        let outcome = load.finish();
        let fetches_max = fetches_max(started.elapsed() * self.speed, resets);
        let fetched = self.issuer.counts() - before;
        let strangers = std::mem::take(&mut self.strangers);
        self.report
            .scenario(scenario, &outcome, fetched, fetches_max, &strangers);
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
        for token in batch.authorization() {
            eventually(&format!("a token gets {wanted:?}"), || {
                let request = client().get(self.url()).header(AUTHORIZATION, token);
                let refusal = runtime().block_on(refusal(request));
                (refusal.as_deref() == wanted).then_some(())
            });
        }
    }

    /// Sends requests with keys that nobody knows.
    pub(crate) fn strangers(&self, count: usize, connections: usize) -> Strangers {
        let tokens = strangers::tokens(self.issuer.url(), count);
        Strangers::start(&self.url(), tokens, connections)
    }

    /// Waits until the strangers are answered: all of them in time, and each with one of these.
    pub(crate) fn check(&mut self, strangers: Strangers, allowed: &[&str]) {
        let Answers {
            by_refusal,
            latency_max,
        } = strangers.finish();
        for answer in by_refusal.keys() {
            if !allowed.contains(&answer.as_str()) {
                let complaint = format!("a stranger was answered {answer}, not one of {allowed:?}");
                self.report.complain(complaint);
            }
        }
        if latency_max > UNKNOWN_KEY_WAIT + MARGIN {
            let complaint = format!(
                "a stranger waited {latency_max:?}; `unknown_key_wait` is {UNKNOWN_KEY_WAIT:?}"
            );
            self.report.complain(complaint);
        }
        self.strangers = by_refusal;
    }
}

/// Fetches of one document that a gateway may make in this time of its own, whatever happens.
fn fetches_max(length: Duration, resets: u64) -> u64 {
    let length = length.div_f64(JITTER);
    spaced(length, COOLDOWN) + spaced(length, REFRESH) + 2 * resets * RESET_FETCHES
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

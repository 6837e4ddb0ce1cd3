//! The one loop a provider: when to read its keys, and what becomes of the answer.

use std::sync::Arc;

use arc_swap::ArcSwap;
use gateway_core::auth::keys::KeyRing;
use gateway_core::auth::refresh::Refresh;
use gateway_core::auth::stale::{Freshness, Stale};
use gateway_core::auth::trust::Trust;
use gateway_core::file::{KeyPlace, KeySource};
use gateway_core::words::time::Millis;

use super::error::{KeyError, Outcome};
use super::remembered::{Remembered, StateDirectory};
use super::source::{NewKeys, Reading, Source};
use super::stats::KeyStats;
use super::time::KeyClock;
use super::wanted::WantedKeys;
use crate::fetch::Fetcher;
use crate::lifecycle::Lifecycle;

/// Remembered keys are written anew after this time though they have not changed, so that their
/// age is right; sooner where they do not serve for long.
const SAVE_INTERVAL: Millis = 3_600_000;

/// Keeps one provider's keys current.
pub(crate) struct KeyWatch {
    provider: Box<str>,
    source: Source,
    trust: Arc<ArcSwap<Trust>>,
    wanted: Arc<WantedKeys>,
    stats: Arc<KeyStats>,
    clock: KeyClock,
    refresh: Refresh,
    freshness: Freshness,
    max_stale: Millis,
    remembered: Option<Remembered>,
    /// When remembered keys are to be written again.
    save_due: Millis,
    is_saving_broken: bool,
    random: fastrand::Rng,
}

/// What a provider's loop works on.
pub(crate) struct Shared {
    pub(crate) trust: Arc<ArcSwap<Trust>>,
    pub(crate) wanted: Arc<WantedKeys>,
}

impl KeyWatch {
    /// Prepares the loop. Keys that are to be had without waiting are there afterwards: those of
    /// the routes file and of files, and those that are remembered.
    ///
    /// # Errors
    /// A file that cannot be read, so that a wrong path ends the start.
    pub(crate) fn start(
        provider: &str,
        source: &KeySource,
        shared: Shared,
        clock: KeyClock,
        fetcher: &Fetcher,
        state: Option<&StateDirectory>,
    ) -> Result<Self, KeyError> {
        let max_stale = Millis::try_from(source.max_stale.as_millis()).unwrap_or(Millis::MAX);
        let place = Source::new(source, fetcher);
        let remembered = state
            .zip(place.url())
            .map(|(state, url)| state.provider(provider, &source.issuer, url));
        let mut watch = Self {
            provider: provider.into(),
            source: place,
            trust: shared.trust,
            wanted: shared.wanted,
            stats: Arc::new(KeyStats::new(clock.clone(), max_stale)),
            refresh: Refresh::new(source.refresh_policy(), clock.now()),
            freshness: Freshness::new(max_stale),
            max_stale,
            remembered,
            save_due: 0,
            is_saving_broken: false,
            random: fastrand::Rng::new(),
            clock,
        };
        watch.take_what_is_there(&source.place)?;
        Ok(watch)
    }

    pub(crate) fn stats(&self) -> Arc<KeyStats> {
        Arc::clone(&self.stats)
    }

    /// The keys at hand are those of another loop on the same place, and as old as they were there.
    pub(crate) fn inherit(&mut self, earlier: &KeyStats) {
        if self.freshness.confirmed_at().is_none()
            && let Some(at) = earlier.confirmed_at()
        {
            self.confirm(at);
        }
    }

    fn take_what_is_there(&mut self, place: &KeyPlace) -> Result<(), KeyError> {
        let keys = |source| KeyError::Keys {
            place: "the routes file".into(),
            source,
        };
        match (place, &mut self.source) {
            (KeyPlace::Inline(document), _) => {
                let ring = KeyRing::from_jwk_set(document.as_bytes()).map_err(keys)?;
                self.install(ring);
            }
            (KeyPlace::Secret(secret, algorithms), _) => {
                let ring = KeyRing::from_secret(secret.bytes(), algorithms).map_err(keys)?;
                self.install(ring);
            }
            (_, Source::File(file)) => {
                if let Reading::New(new) = file.read_now()? {
                    self.install(new.ring);
                }
                self.confirm(self.clock.now());
            }
            _ => self.take_remembered(),
        }
        Ok(())
    }

    fn take_remembered(&mut self) {
        let Some(remembered) = &self.remembered else {
            return;
        };
        let loaded = remembered.load(self.clock.unix_seconds(), self.max_stale / 1000);
        let Some((ring, age_seconds)) = loaded else {
            return;
        };
        let fetched_at = self.clock.seconds_ago(age_seconds);
        tracing::info!(provider = %self.provider, age_seconds, "remembered keys are used");
        self.install(ring);
        self.confirm(fetched_at);
    }

    /// Reads again and again until the runtime ends. Failures keep the keys that are there.
    pub(crate) async fn run(mut self, lifecycle: Arc<Lifecycle>) {
        if matches!(self.source, Source::Static) {
            return;
        }
        loop {
            let now = self.clock.now();
            let next = self.refresh.next_fetch().expect("nothing is under way");
            // First, so that remembered keys are no alarm before their place has been asked.
            if now >= next {
                self.read(&lifecycle).await;
                continue;
            }
            if let Some(stale) = self.freshness.check(now) {
                self.alarm(stale);
            }
            let look = self.freshness.next_check().unwrap_or(next);
            tokio::select! {
                () = self.clock.sleep_until(next.min(look)) => {}
                () = self.wanted.wished() => self.refresh.wanted(self.clock.now()),
            }
        }
    }

    async fn read(&mut self, lifecycle: &Lifecycle) {
        let trigger = self.refresh.begin(self.clock.now());
        self.wanted.begin_reading();
        let read = self.source.read(self.clock.now(), &self.stats).await;
        let now = self.clock.now();
        let (outcome, has_changed) = match read {
            Ok(reading) => {
                let taken = self.take(reading, now).await;
                lifecycle.arrived(&waiting_name(&self.provider));
                taken
            }
            Err(error) => {
                self.fail(&error, now);
                (error.outcome(), false)
            }
        };
        self.stats.count_fetch(trigger, outcome);
        let is_good = matches!(outcome, Outcome::Success | Outcome::NotModified);
        self.wanted.end_reading(is_good, has_changed);
    }

    async fn take(&mut self, reading: Reading, now: Millis) -> (Outcome, bool) {
        if self.refresh.failures() > 0 {
            let failures = self.refresh.failures();
            tracing::info!(provider = %self.provider, failures, "keys are read again");
        }
        let (outcome, has_changed, max_age) = match reading {
            Reading::Unchanged => (Outcome::NotModified, false, None),
            Reading::New(NewKeys {
                ring,
                max_age,
                document,
            }) => {
                let has_changed = self.install(ring);
                if let Some(document) = document {
                    self.save(document, has_changed, now).await;
                }
                (Outcome::Success, has_changed, max_age)
            }
        };
        self.confirm(now);
        self.refresh
            .fetched(now, max_age, has_changed, self.random.u64(..));
        (outcome, has_changed)
    }

    fn fail(&mut self, error: &KeyError, now: Millis) {
        if self.refresh.failures() == 0 {
            tracing::warn!(provider = %self.provider, %error, "keys cannot be read; those at hand stay");
        } else {
            tracing::debug!(provider = %self.provider, %error, "keys still cannot be read");
        }
        self.refresh.failed(now, self.random.u64(..));
    }

    fn confirm(&mut self, at: Millis) {
        self.freshness.confirmed(at);
        self.stats.confirmed(at);
    }

    /// Swaps a set in, if it is another one.
    fn install(&self, ring: KeyRing) -> bool {
        let previous = self.trust.load_full();
        let next = previous.with_keys(ring);
        if next.generation() == previous.generation() {
            return false;
        }
        let ring = next.keys();
        let keys = ring.keys().iter();
        let ids: Vec<_> = keys.filter_map(|key| key.id.as_deref()).collect();
        tracing::info!(
            provider = %self.provider,
            keys = ring.keys().len(),
            ids = ids.join(","),
            ignored = ring.ignored.join("; "),
            "keys installed"
        );
        // All that changes it runs on one thread, and nothing is awaited since it was loaded.
        self.trust.store(Arc::new(next));
        true
    }

    fn alarm(&self, stale: Stale) {
        self.stats.count_alarm(stale);
        let provider = &self.provider;
        match stale {
            Stale::Half => tracing::error!(
                %provider,
                "keys could not be read for half of `max_stale`; see the earlier warning for why"
            ),
            Stale::Reached => {
                let none = self.trust.load().with_keys(KeyRing::default());
                self.trust.store(Arc::new(none));
                tracing::error!(
                    %provider,
                    "keys could not be read for all of `max_stale`: tokens are refused until they can"
                );
            }
        }
    }

    /// Remembers a set, if it has changed or the last time is long ago.
    async fn save(&mut self, document: Vec<u8>, has_changed: bool, now: Millis) {
        let Some(remembered) = self.remembered.clone() else {
            return;
        };
        if !has_changed && now < self.save_due {
            return;
        }
        let fetched_at = self.clock.unix_seconds();
        let path = remembered.path().display().to_string();
        let saving = tokio::task::spawn_blocking(move || remembered.save(&document, fetched_at));
        let saved = saving.await.expect("writing a file does not panic");
        match saved {
            Ok(()) => {
                self.save_due = now + SAVE_INTERVAL.min(self.max_stale / 4);
                self.is_saving_broken = false;
            }
            // Said once; it is tried again with each reading.
            Err(error) if !self.is_saving_broken => {
                self.save_due = 0;
                self.is_saving_broken = true;
                tracing::warn!(provider = %self.provider, %error, path, "keys cannot be remembered");
            }
            Err(_) => self.save_due = 0,
        }
    }
}

/// What readiness calls a provider that has no keys yet.
pub(crate) fn waiting_name(provider: &str) -> String {
    format!("keys of jwt provider `{provider}`")
}

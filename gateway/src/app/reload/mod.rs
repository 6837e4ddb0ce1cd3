//! Another configuration for a running gateway: when it is read, and what becomes of it.
//!
//! | file | holds |
//! |---|---|
//! | `files.rs` | the files of a configuration, and whether they are others now |
//! | `source.rs` | the place of the configuration, and whether it says something else |
//! | `process.rs` | what a reload cannot change |
//!
//! It is read when its file has changed, on SIGHUP, and when the admin listener is asked to; all of
//! it is read, checked and compiled before anything changes, and then it takes the place of the
//! one before in one step (`running`). What cannot be used changes nothing.

mod files;
mod process;
mod source;

pub use source::ConfigSource;

pub(crate) use process::needs_restart;
pub(crate) use source::LoadError;

use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_core::file::{Changes, Compiled, Outline, Settings};
use gateway_core::plan::Plan;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval_at};

use super::Cause;
use super::aside::{aside, drop_aside};
use super::endpoints::runtime;
use super::log_output::LogOutput;
use super::running::Running;
use crate::admin::{Applied, Ask, InForce, Outcome, Place, Refused, Reloads};
use crate::cause::chain;
use crate::clock::Clock;
use files::Look;
use source::Held;

/// The place that a process read its first configuration from.
pub(super) struct Origin {
    source: ConfigSource,
    look: Look,
    pub(super) hash: Box<str>,
    /// Why the process serves by the last good text in place of that which is there.
    pub(super) error: Option<LoadError>,
    /// What is to be remembered once it serves.
    text: Vec<u8>,
}

impl Origin {
    /// Reads the configuration for a start.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(super) fn read(source: ConfigSource) -> Result<(Compiled, Self), LoadError> {
        let held = source.load_first();
        let (compiled, origin) = Self::of(source, held);
        Ok((compiled?, origin))
    }

    fn of(source: ConfigSource, held: Held) -> (Result<Compiled, LoadError>, Self) {
        held.warn();
        let Held {
            look,
            hash,
            compiled,
            text,
            ..
        } = held;
        let origin = Self {
            source,
            look,
            hash,
            text,
            error: None,
        };
        (compiled, origin)
    }

    /// The same; where it is bad, the last good one serves, if one is remembered.
    pub(super) fn read_or_last_good(source: ConfigSource) -> Result<(Compiled, Self), LoadError> {
        let held = source.load_first();
        let (error, origin) = match Self::of(source, held) {
            (Ok(compiled), origin) => return Ok((compiled, origin)),
            (Err(error), origin) => (error, origin),
        };
        // What is there goes on being looked at, so that it is taken once it has been mended.
        let Self { source, look, .. } = origin;
        let Some(Held {
            hash,
            compiled: Ok(compiled),
            ..
        }) = source.load_last_good()
        else {
            return Err(error);
        };
        let origin = Self {
            source,
            look,
            hash,
            error: Some(error),
            text: Vec::new(),
        };
        Ok((compiled, origin))
    }

    /// What scrapes and readiness say of a start by the last good configuration.
    pub(super) fn refused(&self, clock: &Clock) -> Option<Outcome> {
        let refused = refused(self.error.as_ref()?, clock);
        tracing::error!(
            problems = %refused.text,
            "the configuration is refused; the last good one serves"
        );
        Some(Outcome::Refused(refused))
    }
}

/// From here on SIGHUP does not end the process, though nobody listens for it yet: what it would
/// ask for is being done.
pub(super) fn survive_hangup() {
    let runtime = runtime();
    let _within = runtime.enter();
    // The handler stays when its first listener is gone.
    if let Err(error) = signal(SignalKind::hangup()) {
        tracing::warn!(%error, "SIGHUP cannot be received");
    }
}

/// Reads the configuration again whenever there is reason to.
pub(super) struct Reloader {
    pub(super) origin: Origin,
    pub(super) asked: mpsc::Receiver<Ask>,
    pub(super) reloads: Arc<Reloads>,
    /// Whether the process's SIGHUP is ours.
    pub(super) is_program: bool,
    pub(super) look_interval: Duration,
    /// As at the start of the process.
    pub(super) started: Settings,
    /// Of the configuration in force.
    pub(super) outline: Arc<Outline>,
    pub(super) log: LogOutput,
}

/// Why the configuration is read.
enum Trigger {
    /// Its place says that it is another one.
    Changed,
    Hangup,
    Asked(Ask),
    /// Nobody can ask any more.
    Over,
}

impl Reloader {
    /// Reads the configuration again and again, until the process leaves.
    pub(super) async fn run(mut self, running: &mut Running) {
        let mut hangup = self.hangup();
        let text = std::mem::take(&mut self.origin.text);
        self.remember(text).await;
        // It has just been read.
        let first = tokio::time::Instant::now() + self.look_interval;
        let mut looks = interval_at(first, self.look_interval);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let trigger = self.next(&mut looks, hangup.as_mut()).await;
            running.clear();
            if running.context.lifecycle.is_leaving() {
                return;
            }
            let mut asking = Vec::new();
            let (why, settles) = match trigger {
                None => continue,
                Some(Trigger::Over) => return,
                Some(Trigger::Changed) => ("the file has changed", true),
                Some(Trigger::Hangup) => ("SIGHUP", false),
                Some(Trigger::Asked(ask)) => {
                    asking.push(ask);
                    ("POST /reload", false)
                }
            };
            // Whoever asks from now on means a configuration that is read from now on.
            while let Ok(ask) = self.asked.try_recv() {
                asking.push(ask);
            }
            // Rare, and large: two plans are in it.
            let outcome = Box::pin(self.reload(running, settles, why)).await;
            for ask in asking {
                // It may have gone away, and the configuration is in force all the same.
                let _gone = ask.send(outcome.clone());
            }
        }
    }

    async fn remember(&self, text: Vec<u8>) {
        if text.is_empty() {
            return;
        }
        let source = self.origin.source.clone();
        let remembering = tokio::task::spawn_blocking(move || source.remember(&text));
        remembering.await.expect("writing a file does not panic");
    }

    fn hangup(&self) -> Option<Signal> {
        if !self.is_program {
            return None;
        }
        let hangup = signal(SignalKind::hangup());
        let warn = |error| tracing::warn!(%error, "SIGHUP cannot be received; the file is watched");
        hangup.map_err(warn).ok()
    }

    async fn next(&mut self, looks: &mut Interval, hangup: Option<&mut Signal>) -> Option<Trigger> {
        let hangup = async {
            match hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            asked = self.asked.recv() => Some(asked.map_or(Trigger::Over, Trigger::Asked)),
            _ = hangup => Some(Trigger::Hangup),
            _ = looks.tick() => self.has_changed().await.then_some(Trigger::Changed),
        }
    }

    async fn has_changed(&self) -> bool {
        let last = self.origin.look.clone();
        // A network file system may take its time; this thread has other things to do.
        let changed = tokio::task::spawn_blocking(move || last.again() != last);
        changed.await.expect("a look does not panic")
    }

    async fn reload(&mut self, running: &mut Running, settles: bool, why: &str) -> Outcome {
        let source = self.origin.source.clone();
        let since = self.origin.look.clone();
        let before = Arc::clone(&self.outline);
        let read = aside(move || {
            if settles {
                source.settle(&since);
            }
            let held = source.load();
            let compiled = held.compiled.as_ref().ok();
            let changes = compiled.map(|it| it.outline.changes_since(&before));
            (held, changes.unwrap_or_default())
        });
        let (held, changes) = read.await;
        self.origin.look.clone_from(&held.look);
        let is_known = !held.hash.is_empty() && held.hash == self.origin.hash;
        self.origin.hash.clone_from(&held.hash);
        if settles && is_known {
            // Touched, and the same as when it was read last, good or bad.
            return Outcome::Unchanged;
        }
        let hash = &self.origin.hash;
        let clock = running.context.clock.clone();
        let outcome = if *hash == self.reloads.in_force().hash {
            if self.reloads.is_refused() {
                tracing::info!(%hash, "the configuration is again the one in force");
            }
            Outcome::Unchanged
        } else {
            held.warn();
            match held.compiled {
                Ok(compiled) => {
                    let outcome = Box::pin(self.apply(running, compiled, changes, why)).await;
                    if let Outcome::Applied(_) = outcome {
                        self.remember(held.text).await;
                    }
                    outcome
                }
                Err(error) => Outcome::Refused(refused(&error, &clock)),
            }
        };
        if let Outcome::Refused(refused) = &outcome {
            let generation = self.reloads.in_force().generation;
            tracing::error!(
                why, generation, problems = %refused.text,
                "the configuration is refused; the one before it stays in force"
            );
        }
        let now = clock.to_unix_seconds(Instant::now());
        self.reloads.note(&outcome, now);
        outcome
    }

    async fn apply(
        &mut self,
        running: &mut Running,
        compiled: Compiled,
        changes: Changes,
        why: &str,
    ) -> Outcome {
        let Compiled {
            plan,
            settings,
            outline,
        } = compiled;
        let unanswered = match self.change(running, plan, &settings).await {
            Ok(unanswered) => unanswered,
            Err(cause) => {
                let text = chain(&cause);
                let at = running.context.clock.to_unix_seconds(Instant::now());
                let problems = vec![Place::without_line(&text)];
                return Outcome::Refused(Arc::new(Refused { text, problems, at }));
            }
        };
        let earlier = std::mem::replace(&mut self.outline, Arc::new(outline));
        drop_aside(earlier);
        let in_force = InForce {
            generation: self.reloads.in_force().generation + 1,
            hash: self.origin.hash.clone(),
            needs_restart: needs_restart(&self.started, &settings),
        };
        let applied = Applied {
            changes,
            unanswered,
        };
        tell(&in_force, &applied, why);
        self.reloads.put_in_force(in_force);
        Outcome::Applied(Arc::new(applied))
    }

    /// Puts a plan in force, and its access lines where they are to go.
    async fn change(
        &mut self,
        running: &mut Running,
        plan: Plan,
        settings: &Settings,
    ) -> Result<Vec<String>, Cause> {
        let opened = self.log.open(settings.access_log.as_ref()).await?;
        let unanswered = running.change(plan, settings).await?;
        self.log.put(opened);
        Ok(unanswered)
    }
}

fn tell(in_force: &InForce, applied: &Applied, why: &str) {
    let (generation, hash) = (in_force.generation, &in_force.hash);
    let changes = &applied.changes;
    tracing::info!(
        why, generation, %hash, routes = %changes.routes, upstreams = %changes.upstreams,
        jwt_providers = %changes.jwt_providers, api_keys = %changes.api_keys,
        "another configuration is in force"
    );
    if !in_force.needs_restart.is_empty() {
        let sections = in_force.needs_restart.join(", ");
        tracing::warn!(
            sections,
            "these sections have changed, and hold from the next start or `gateway upgrade` on; \
             everything else is in force"
        );
    }
    if !applied.unanswered.is_empty() {
        let waiting_for = applied.unanswered.join(", ");
        tracing::warn!(
            waiting_for,
            "something new has not been read in time; it goes on being read"
        );
    }
}

fn refused(error: &LoadError, clock: &Clock) -> Arc<Refused> {
    let text = error.to_string();
    let problems = match error {
        LoadError::Problems { problems, .. } => {
            let places = problems.iter();
            places.map(|it| Place::of(problems, it)).collect()
        }
        LoadError::Read(_) => vec![Place::without_line(&text)],
    };
    let at = clock.to_unix_seconds(Instant::now());
    Arc::new(Refused { text, problems, at })
}

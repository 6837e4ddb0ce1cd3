//! What is logged besides requests, changed for a while in a running process.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing_subscriber::EnvFilter;

/// Bytes of a filter.
const FILTER_BYTES_MAX: usize = 1024;
/// For how long another filter may hold.
pub(crate) const HOLDS_MIN: Duration = Duration::from_secs(1);
pub(crate) const HOLDS_MAX: Duration = Duration::from_hours(24);

/// Puts a filter in force.
type Apply = Box<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>;

/// The process's filter: that of its start, or another one until its time is over.
pub(crate) struct LogLevel {
    started_with: String,
    apply: Apply,
    other: Mutex<Option<Other>>,
}

/// A filter in place of that of the start.
#[derive(Clone, Debug)]
pub(crate) struct Other {
    pub(crate) filter: String,
    pub(crate) until: Instant,
}

/// Why a filter is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LogLevelError {
    #[error("`{0}` is not a log filter; write for example `info,gateway::upstream=debug`")]
    Filter(String),
    #[error("the filter is longer than {FILTER_BYTES_MAX} bytes")]
    TooLong,
    #[error(
        "a filter holds for {} s to {} h; then that of the start does again",
        HOLDS_MIN.as_secs(), HOLDS_MAX.as_secs() / 3600
    )]
    Holds,
    #[error("the filter cannot be changed: {0}")]
    Broken(String),
}

impl fmt::Debug for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogLevel")
            .field("started_with", &self.started_with)
            .finish_non_exhaustive()
    }
}

impl LogLevel {
    /// Of a process whose log was started with this filter.
    pub(crate) fn new(
        started_with: &str,
        apply: impl Fn(EnvFilter) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self {
            started_with: started_with.to_owned(),
            apply: Box::new(apply),
            other: Mutex::default(),
        }
    }

    pub(crate) fn started_with(&self) -> &str {
        &self.started_with
    }

    /// The filter in place of that of the start, where there is one.
    pub(crate) fn other(&self) -> Option<Other> {
        let other = self.other.lock().unwrap_or_else(PoisonError::into_inner);
        other.clone()
    }

    /// Puts another filter in force, for a while; that of the start ends an earlier one.
    ///
    /// # Errors
    /// What is wrong with the filter or its time; nothing has changed then.
    pub(crate) fn set(
        &self,
        filter: &str,
        holds: Duration,
        now: Instant,
    ) -> Result<(), LogLevelError> {
        if filter.len() > FILTER_BYTES_MAX {
            return Err(LogLevelError::TooLong);
        }
        if !(HOLDS_MIN..=HOLDS_MAX).contains(&holds) {
            return Err(LogLevelError::Holds);
        }
        let parsed = parse(filter).ok_or_else(|| LogLevelError::Filter(filter.to_owned()))?;
        let mut other = self.other.lock().unwrap_or_else(PoisonError::into_inner);
        (self.apply)(parsed).map_err(LogLevelError::Broken)?;
        let is_other = filter != self.started_with;
        *other = is_other.then(|| Other {
            filter: filter.to_owned(),
            until: now + holds,
        });
        let seconds = holds.as_secs();
        tracing::info!(filter, seconds, "another log filter is in force");
        Ok(())
    }

    /// Goes back to the filter of the start once the other one's time is over; called once a
    /// second.
    pub(crate) fn tick(&self, now: Instant) {
        let mut other = self.other.lock().unwrap_or_else(PoisonError::into_inner);
        if other.take_if(|other| other.until <= now).is_none() {
            return;
        }
        let filter = &*self.started_with;
        match parse(filter).map(|filter| (self.apply)(filter)) {
            Some(Ok(())) => tracing::info!(filter, "the log filter of the start is in force again"),
            Some(Err(error)) => tracing::warn!(error, "the log filter cannot be changed back"),
            None => {}
        }
    }
}

/// Without regular expressions, which nobody bounds.
fn parse(filter: &str) -> Option<EnvFilter> {
    let is_said = !filter.trim().is_empty();
    let parsed = EnvFilter::builder().with_regex(false).parse(filter);
    parsed.ok().filter(|_| is_said)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A level, and what was put in force.
    fn level() -> (LogLevel, Arc<Mutex<Vec<String>>>) {
        let applied = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&applied);
        let level = LogLevel::new("info", move |filter| {
            noted.lock().unwrap().push(filter.to_string());
            Ok(())
        });
        (level, applied)
    }

    #[test]
    fn another_filter_holds_for_its_time() {
        let (level, applied) = level();
        let (now, minute) = (Instant::now(), Duration::from_mins(1));
        level.set("warn", minute, now).unwrap();
        level.tick(now + minute / 2);
        assert_eq!(level.other().unwrap().filter, "warn");
        level.tick(now + minute);
        assert!(level.other().is_none());
        level.tick(now + minute * 2);
        assert_eq!(*applied.lock().unwrap(), ["warn", "info"]);
    }

    #[test]
    fn the_filter_of_the_start_ends_another_one() {
        let (level, applied) = level();
        let (now, minute) = (Instant::now(), Duration::from_mins(1));
        level.set("debug", minute, now).unwrap();
        level.set("info", minute, now).unwrap();
        assert!(level.other().is_none());
        level.tick(now + minute * 2);
        assert_eq!(*applied.lock().unwrap(), ["debug", "info"]);
    }

    #[test]
    fn what_makes_no_sense_changes_nothing() {
        let (level, applied) = level();
        let minute = Duration::from_mins(1);
        for (filter, holds) in [
            ("", minute),
            ("gateway=loud", minute),
            ("debug", Duration::ZERO),
            ("debug", HOLDS_MAX + minute),
            (&*"a".repeat(FILTER_BYTES_MAX + 1), minute),
        ] {
            let result = level.set(filter, holds, Instant::now());
            assert!(result.is_err(), "{filter} {holds:?}");
        }
        assert!(level.other().is_none());
        assert!(applied.lock().unwrap().is_empty());
    }
}

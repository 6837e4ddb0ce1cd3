//! Revocation: tokens that are refused although their signature is good and their time not over.
//!
//! A deny list names tokens (`jti`), callers (`sub`), sessions (`sid`), or everything that was
//! issued before a date. What it costs to check does not grow with the list.

mod list;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;

use crate::config::{Problems, Source};
use crate::words::reason::Reason;
use crate::words::rejection::Rejection;
use crate::words::time::UnixSeconds;

/// Entries of one list.
pub const ENTRIES_MAX: usize = 100_000;
/// Bytes of one list.
pub const LIST_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Rules on one id that each say something of their own; more of them would have to be tried one
/// after the other.
const RULES_MAX: usize = 8;

type Hasher = foldhash::fast::RandomState;

/// What a deny list looks at in a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenIds<'t> {
    /// The token's own id, `jti`.
    pub jti: Option<&'t str>,
    /// Whom it speaks for, `sub`.
    pub sub: Option<&'t str>,
    /// The session it belongs to, `sid`.
    pub sid: Option<&'t str>,
    /// When it was issued, `iat`.
    pub issued_at: Option<UnixSeconds>,
}

/// A snapshot of one deny list.
///
/// An entry never begins to hold while the snapshot lives, it can only end (`until`): so "not
/// revoked" is an answer for as long as the snapshot is the current one.
#[derive(Clone, Default)]
pub struct Revocations {
    generation: u64,
    entries: usize,
    tokens: Rules,
    subjects: Rules,
    sessions: Rules,
    /// What holds for every token.
    all: Vec<Rule>,
}

/// The rules on one kind of id.
type Rules = HashMap<Box<str>, Vec<Rule>, Hasher>;

/// Which tokens of an id are refused, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rule {
    /// Those that were issued before; `None` means all.
    issued_before: Option<UnixSeconds>,
    /// The first second in which it may be forgotten.
    until: Option<UnixSeconds>,
}

impl Rule {
    fn holds(self, issued_at: Option<UnixSeconds>, now: UnixSeconds) -> bool {
        // A token that does not say when it was issued cannot prove that it is newer.
        let is_old = |before| issued_at.is_none_or(|issued_at| issued_at < before);
        self.until.is_none_or(|until| now < until) && self.issued_before.is_none_or(is_old)
    }

    /// Whether it refuses whatever the other one refuses.
    fn covers(self, other: Self) -> bool {
        let is_as_late = |mine: Option<UnixSeconds>, others: Option<UnixSeconds>| {
            mine.is_none_or(|mine| others.is_some_and(|others| others <= mine))
        };
        is_as_late(self.issued_before, other.issued_before) && is_as_late(self.until, other.until)
    }
}

impl Revocations {
    /// Reads a deny list, YAML or JSON.
    ///
    /// # Errors
    /// Everything that is wrong with it; the caller keeps what it had.
    pub fn parse(source: Source<'_>) -> Result<Self, Problems> {
        list::parse(source)
    }

    /// Refuses a token that is on the list: at most three lookups.
    ///
    /// # Errors
    /// [`Reason::JwtRevoked`], the detail naming the kind of entry and nothing of the token.
    pub fn check(&self, token: &TokenIds<'_>, now: UnixSeconds) -> Result<(), Rejection> {
        if self.is_empty() {
            return Ok(());
        }
        let is_any = |rules: &[Rule]| rules.iter().any(|rule| rule.holds(token.issued_at, now));
        let is_listed = |rules: &Rules, id: Option<&str>| {
            let found = id.and_then(|id| rules.get(id));
            found.is_some_and(|rules| is_any(rules))
        };
        let kind = if is_listed(&self.tokens, token.jti) {
            "its `jti` is revoked"
        } else if is_listed(&self.subjects, token.sub) {
            "its `sub` is revoked"
        } else if is_listed(&self.sessions, token.sid) {
            "its `sid` is revoked"
        } else if is_any(&self.all) {
            "all tokens issued before a date are revoked, and this one is not newer"
        } else {
            return Ok(());
        };
        Err(Rejection::with_detail(Reason::JwtRevoked, kind))
    }

    /// How many entries the list has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries
    }

    /// Whether nothing is revoked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Differs between a snapshot and those it succeeds: what was concluded from an earlier one
    /// holds no more.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The same list as the successor of `previous`.
    #[must_use]
    pub fn succeeding(self, previous: &Self) -> Self {
        Self {
            generation: previous.generation + 1,
            ..self
        }
    }
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations")
            .field("generation", &self.generation)
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}

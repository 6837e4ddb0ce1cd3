//! Decoding again and again until every problem is known.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, DeserializeSeed};

use super::conceal::conceal;
use super::error::Error;
use super::near::{list, near, suggest};
use super::node_decoder::NodeDecoder;
use super::positions::{is_below, join};
use super::problem::{MAX_PROBLEMS, Position, Problem, Problems};
use super::stand_in::{Attempts, StandIn};
use super::tree::{Meaning, Node, Value, quote};

/// Passes over one file. Each pass finds a problem or rules out a stand-in, so
/// this is reached only by files that are wrong nearly everywhere.
const MAX_PASSES: usize = 500;

/// Values looked at in all passes over one file, so that a large one with many mistakes does
/// not take minutes: those of [`MAX_PASSES`] over the largest file that people write.
const MAX_VISITS: usize = MAX_PASSES * super::MAX_NODES;

/// Decodes the tree, adding every problem found.
///
/// Beside the value come the paths at which it does not hold what the file says: stand-ins,
/// and entries left out.
pub(super) fn decode<T: DeserializeOwned>(
    root: &Node,
    problems: &mut Problems,
) -> Option<(T, Vec<String>)> {
    let session = Session {
        state: RefCell::new(State {
            problems,
            bad: BTreeMap::new(),
            misspelt: BTreeSet::new(),
            has_progressed: false,
        }),
    };
    let passes = (MAX_VISITS / root.size()).clamp(1, MAX_PASSES);
    for _ in 0..passes {
        session.state.borrow_mut().has_progressed = false;
        let value = session.decode(PhantomData::<T>, &Place::root(root));
        let mut state = session.state.borrow_mut();
        match value {
            Ok(value) if state.bad.is_empty() => return Some((value, Vec::new())),
            Ok(value) => {
                state.report_at_least_one();
                return Some((value, state.bad.keys().cloned().collect()));
            }
            Err(_) if !state.has_progressed || state.bad.contains_key("") => {
                state.report_at_least_one();
                return None;
            }
            Err(_) if state.problems.len() == MAX_PROBLEMS => break,
            Err(_) => {}
        }
    }
    session.state.borrow_mut().problems.mark_more();
    None
}

/// A value, where it stands and how it is reached.
#[derive(Clone)]
pub(super) struct Place<'a> {
    pub(super) node: &'a Node,
    pub(super) key: Option<Position>,
    pub(super) path: String,
}

impl<'a> Place<'a> {
    pub(super) fn new(node: &'a Node, key: Option<Position>, path: String) -> Self {
        Self { node, key, path }
    }

    fn root(node: &'a Node) -> Self {
        Self::new(node, None, String::new())
    }

    /// A collection may run over many lines, so its key stands for it.
    fn position(&self) -> Position {
        match (&self.node.value, self.key) {
            (Value::List(_) | Value::Map(_), Some(key)) => key,
            _ => self.node.position,
        }
    }
}

/// What earlier passes found out about a value.
pub(super) enum Verdict {
    Good,
    /// Bad or absent; a stand-in takes its place in a struct.
    StandIn(String),
    /// Bad or absent, and its type accepts no stand-in.
    Hopeless,
}

pub(super) struct Session<'p> {
    state: RefCell<State<'p>>,
}

struct State<'p> {
    problems: &'p mut Problems,
    /// By path: values that are reported, and what was tried in their place.
    bad: BTreeMap<String, Attempts>,
    /// Values below a misspelt key, which are decoded as the near miss.
    misspelt: BTreeSet<String>,
    has_progressed: bool,
}

impl Session<'_> {
    pub(super) fn decode<'de, S: DeserializeSeed<'de>>(
        &self,
        seed: S,
        place: &Place<'_>,
    ) -> Result<S::Value, Error> {
        match self.verdict(&place.path) {
            Verdict::Good => {}
            Verdict::StandIn(text) => return self.stand_in(seed, &place.path, &text),
            Verdict::Hopeless => return Err(Error::Hopeless),
        }
        let value = seed.deserialize(NodeDecoder::new(self, place));
        value.map_err(|error| match error {
            Error::Retry => Error::Retry,
            error => self.state.borrow_mut().note(place, error),
        })
    }

    /// Puts a stand-in in the place of a bad or absent value.
    pub(super) fn stand_in<'de, S: DeserializeSeed<'de>>(
        &self,
        seed: S,
        path: &str,
        text: &str,
    ) -> Result<S::Value, Error> {
        seed.deserialize(StandIn::new(text)).map_err(|error| {
            let mut state = self.state.borrow_mut();
            if let Some(attempts) = state.bad.get_mut(path) {
                attempts.rule_out(&error);
            }
            state.has_progressed = true;
            Error::Retry
        })
    }

    /// Whether an earlier pass found anything bad or absent.
    pub(super) fn has_bad(&self) -> bool {
        !self.state.borrow().bad.is_empty()
    }

    pub(super) fn verdict(&self, path: &str) -> Verdict {
        match self.state.borrow().bad.get(path).map(Attempts::current) {
            None => Verdict::Good,
            Some(Some(text)) => Verdict::StandIn(text.to_owned()),
            Some(None) => Verdict::Hopeless,
        }
    }

    /// Reports a key that the struct does not know. Returns the key that was
    /// meant, when the file does not give that one as well.
    pub(super) fn unknown_key(
        &self,
        key: &Node,
        parent: &str,
        known: &[&'static str],
        free: &[&'static str],
    ) -> Option<&'static str> {
        let text = key.text();
        let mut state = self.state.borrow_mut();
        state.problems.push(Problem {
            position: Some(key.position),
            path: parent.to_owned(),
            message: format!("unknown key `{}`", quote(text)),
            help: suggest(text, known, "keys").or(Some("remove it".to_owned())),
            warning: None,
        });
        let meant = near(text, free.iter().copied());
        let meant = meant.and_then(|meant| free.iter().copied().find(|key| *key == meant));
        let path = join(parent, text);
        if meant.is_some() {
            state.misspelt.insert(path);
        } else {
            state.bad.entry(path).or_insert_with(Attempts::none);
        }
        meant
    }

    /// Reports a key that the struct needs and the file does not give.
    pub(super) fn missing_key(&self, place: &Place<'_>, key: &'static str) -> Error {
        let mut state = self.state.borrow_mut();
        let path = join(&place.path, key);
        if state.bad.contains_key(&path) {
            return Error::Hopeless;
        }
        state.problems.push(Problem {
            position: Some(place.position()),
            path: place.path.clone(),
            message: format!("missing key `{key}`"),
            help: Some(format!("add `{key}: …` here")),
            warning: None,
        });
        state.bad.insert(path, Attempts::new());
        state.has_progressed = true;
        Error::Retry
    }
}

impl State<'_> {
    /// Notes a bad value, and reports it unless it follows from another.
    fn note(&mut self, place: &Place<'_>, error: Error) -> Error {
        let is_consequence = matches!(error, Error::Hopeless)
            // Another kind of value than the near miss wants: perhaps that key
            // was not meant after all.
            || (matches!(error, Error::Expected { .. }) && self.misspelt.contains(&place.path))
            // "Weights must sum to 100" is moot when a weight is not a number.
            || self.bad.keys().any(|path| is_below(path, &place.path));
        if !is_consequence {
            self.problems.push(problem(place, error));
        }
        self.bad.insert(place.path.clone(), Attempts::new());
        self.has_progressed = true;
        Error::Retry
    }

    /// What is bad was reported, by construction. If not, the file is refused
    /// all the same.
    fn report_at_least_one(&mut self) {
        if self.problems.is_empty() {
            self.problems.push(Problem {
                position: None,
                path: String::new(),
                message: "the file cannot be decoded".to_owned(),
                help: Some("compare it with the reference of options".to_owned()),
                warning: None,
            });
        }
    }
}

fn problem(place: &Place<'_>, error: Error) -> Problem {
    let node = place.node;
    let (position, message, help) = match error {
        Error::Expected { expected, help } => {
            let message = format!("expected {expected}, found {}", node.found());
            let help = help.or_else(|| wrong_kind(node, &expected));
            // The value itself is the mistake, even when it is a collection.
            (node.position, message, help)
        }
        Error::Fault {
            message,
            help,
            position,
        } => {
            let message = match &node.value {
                // Errors of the standard library do not name the text.
                Value::Scalar(scalar) if !message.contains('`') => {
                    format!("{message}: `{}`", quote(&scalar.text))
                }
                _ => message,
            };
            (position.unwrap_or(place.position()), message, help)
        }
        other => (place.position(), other.to_string(), None),
    };
    Problem {
        position: Some(position),
        path: place.path.clone(),
        message: conceal(node, &message),
        help: help.map(|help| conceal(node, &help)),
        warning: None,
    }
}

/// The remedy for a scalar of the wrong kind.
pub(super) fn wrong_kind(node: &Node, expected: &str) -> Option<String> {
    let Value::Scalar(scalar) = &node.value else {
        return None;
    };
    if scalar.written.is_some() {
        return Some("look at what the variable holds, and at the quotes around it".to_owned());
    }
    let plain = super::tree::Scalar {
        is_plain: true,
        ..scalar.clone()
    };
    match (scalar.meaning(), plain.meaning()) {
        (Meaning::Empty, _) => Some("give it a value, or take the key out".to_owned()),
        (Meaning::Null, _) => Some("give it a value; quote the word if it is text".to_owned()),
        (Meaning::Text, Meaning::Integer(_) | Meaning::Float(_) | Meaning::Boolean(_)) => {
            Some("take the quotes away".to_owned())
        }
        (Meaning::Text, _) if expected == BOOLEAN => {
            match scalar.text.to_ascii_lowercase().as_str() {
                "yes" | "on" | "y" => Some("write `true`".to_owned()),
                "no" | "off" | "n" => Some("write `false`".to_owned()),
                _ => None,
            }
        }
        _ => None,
    }
}

/// What a message calls a boolean.
pub(super) const BOOLEAN: &str = "`true` or `false`";

/// What a message calls a value out of a closed set.
pub(super) fn one_of(known: &[&str]) -> String {
    format!("one of {}", list(known))
}

//! A provider of keys that does as a test says.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use http::{Response, StatusCode, header};

use super::backend::{AnswerBody, Backend, Gate, full};
use super::tokens::{Key, key_set};

const CONFIGURATION: &str = "/.well-known/openid-configuration";
/// More than the gateway takes.
const OVERSIZE_BYTES: usize = 600 * 1024;

/// How a provider answers.
#[derive(Clone)]
pub(crate) enum Mood {
    Good,
    /// With this header line beside the keys.
    Header(&'static str, &'static str),
    /// With this status.
    Status(u16),
    /// With this text.
    Text(&'static str),
    Oversize,
    /// Elsewhere.
    Redirect(String),
    /// With what it would have said at the time of the request, once it may.
    Held(Gate),
}

struct State {
    mood: Mood,
    keys: String,
    issuer: Option<String>,
    /// When which path was asked for.
    asked: Vec<(Instant, String)>,
}

/// A running provider: `/jwks.json`, `/moved` that redirects there, and an OIDC document.
pub(crate) struct KeyProvider {
    backend: Backend,
    state: Arc<Mutex<State>>,
}

impl KeyProvider {
    pub(crate) fn with(keys: &[&Key]) -> Self {
        let state = Arc::new(Mutex::new(State {
            mood: Mood::Good,
            keys: key_set(keys),
            issuer: None,
            asked: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        let backend = Backend::answering(move |request| {
            let path = request.uri().path().to_owned();
            let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
            state.asked.push((Instant::now(), path.clone()));
            let host = request.headers()[header::HOST].to_str().expect("text");
            let issuer = state.issuer.clone();
            let document = match path.as_str() {
                CONFIGURATION => {
                    let issuer = issuer.unwrap_or_else(|| format!("http://{host}"));
                    let uri = format!("http://{host}/jwks.json");
                    serde_json::json!({"issuer": issuer, "jwks_uri": uri}).to_string()
                }
                _ => state.keys.clone(),
            };
            let mood = match path.as_str() {
                "/moved" => Mood::Redirect("/jwks.json".into()),
                _ => state.mood.clone(),
            };
            answer(mood, document)
        });
        Self { backend, state }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.backend.address())
    }

    /// What the issuer's document calls it from now on.
    pub(crate) fn call_itself(&self, issuer: &str) {
        self.change(|state| state.issuer = Some(issuer.into()));
    }

    pub(crate) fn publish(&self, keys: &[&Key]) {
        self.change(|state| state.keys = key_set(keys));
    }

    pub(crate) fn be(&self, mood: Mood) {
        self.change(|state| state.mood = mood);
    }

    /// When its keys were asked for.
    pub(crate) fn asked_for_keys(&self) -> Vec<Instant> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = state.asked.iter().filter(|(_, path)| path != CONFIGURATION);
        asked.map(|(at, _)| *at).collect()
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

async fn answer(mood: Mood, document: String) -> Response<AnswerBody> {
    let mut response = Response::new(full(document));
    match mood {
        Mood::Good => {}
        Mood::Header(name, value) => {
            let value = http::HeaderValue::from_static(value);
            response.headers_mut().insert(name, value);
        }
        Mood::Status(status) => {
            *response.status_mut() = StatusCode::from_u16(status).expect("a status");
        }
        Mood::Text(text) => *response.body_mut() = full(text),
        Mood::Oversize => *response.body_mut() = full(" ".repeat(OVERSIZE_BYTES)),
        Mood::Redirect(to) => {
            *response.status_mut() = StatusCode::FOUND;
            let to = to.parse().expect("a header value");
            response.headers_mut().insert(header::LOCATION, to);
        }
        Mood::Held(gate) => gate.pass().await,
    }
    response
}

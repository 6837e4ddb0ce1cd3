//! Asking gateway processes for their keys.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use http::StatusCode;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::KeysUrl;
use super::keys::{self, Keys, Ring};
use crate::client::{Client, ClientError};

/// Time from one round to the next; shorter than a new key is published before it signs.
const INTERVAL: Duration = Duration::from_secs(30);
/// Part of the interval by which rounds are spread, so that services do not ask as one.
const JITTER: f64 = 0.1;
/// Shortest time from one round to the next, whatever is wanted.
const COOLDOWN: Duration = Duration::from_secs(1);
/// Time for the lookup of the host's name, and again for one process to answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Addresses asked in one round.
const ADDRESSES_MAX: usize = 32;

/// What is known after a round.
#[derive(Clone, Default)]
pub(super) struct Known {
    pub(super) ring: Arc<Ring>,
    /// When the round began; `None` before the first.
    pub(super) began: Option<Instant>,
    /// Whether every process was heard: a key that is not here is nobody's.
    pub(super) is_complete: bool,
}

/// Keeps the keys current, for as long as it runs.
pub struct Refresher {
    url: KeysUrl,
    keys: Keys,
    known: watch::Sender<Known>,
    wanted: Arc<Notify>,
    /// Whether a gateway answered in the last round; not known before the first.
    was_answered: Option<bool>,
}

/// Why a process's keys are not known.
#[derive(Debug, thiserror::Error)]
enum Silent {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("answered with {0}")]
    Status(StatusCode),
    #[error("what it answered is no JWK set: {0}")]
    Document(#[from] serde_json::Error),
}

impl Silent {
    /// Whether nobody listens there: no process that could sign.
    fn is_absence(&self) -> bool {
        matches!(self, Self::Client(ClientError::Connect { source, .. })
            if source.kind() == io::ErrorKind::ConnectionRefused)
    }
}

impl Refresher {
    pub(super) fn new(url: KeysUrl) -> (Self, watch::Receiver<Known>, Arc<Notify>) {
        let (sender, known) = watch::channel(Known::default());
        let wanted = Arc::new(Notify::new());
        let refresher = Self {
            url,
            keys: Keys::default(),
            known: sender,
            wanted: Arc::clone(&wanted),
            was_answered: None,
        };
        (refresher, known, wanted)
    }

    /// Asks every half minute, and at once when a key is wanted; never ends.
    pub async fn run(mut self) {
        let mut rng = Rng::new();
        loop {
            let began = Instant::now();
            let addresses = self.addresses().await;
            self.round(addresses, began).await;
            let jitter = 1.0 + JITTER * (2.0 * rng.f64() - 1.0);
            tokio::time::sleep_until(began + COOLDOWN).await;
            tokio::select! {
                () = self.wanted.notified() => {}
                () = tokio::time::sleep_until(began + INTERVAL.mul_f64(jitter)) => {}
            }
        }
    }

    async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let host = (self.url.host.as_str(), self.url.port);
        let found = tokio::time::timeout(TIMEOUT, tokio::net::lookup_host(host)).await;
        let mut addresses: Vec<_> = found??.collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(ADDRESSES_MAX);
        Ok(addresses)
    }

    /// Asks these processes, all at a time, and tells what is known then.
    async fn round(&mut self, addresses: io::Result<Vec<SocketAddr>>, began: Instant) {
        let mut is_complete = true;
        let mut answers = 0;
        let addresses = addresses.unwrap_or_else(|error| {
            tracing::debug!(url = self.url.text, %error, "the name of the gateway is not found");
            is_complete = false;
            Vec::new()
        });
        let mut asked = JoinSet::new();
        for address in addresses {
            let url = self.url.text.clone();
            asked.spawn(async move { (address, ask(address, &url).await) });
        }
        while let Some(answer) = asked.join_next().await {
            let (address, answer) = answer.expect("asking does not panic");
            match answer {
                Ok(keys) => {
                    answers += 1;
                    self.keys.learn(address, keys, began);
                }
                Err(error) => {
                    is_complete &= error.is_absence();
                    let error: &dyn std::error::Error = &error;
                    tracing::debug!(%address, error, "a gateway does not tell its keys");
                }
            }
        }
        self.keys.forget(began);
        self.tell(answers, began, is_complete);
    }

    fn tell(&mut self, answers: usize, began: Instant, is_complete: bool) {
        let ring = self.keys.ring();
        let url = &self.url.text;
        let keys = ring.len();
        // When something changes, and not with every round.
        match self.was_answered.replace(answers > 0) {
            // A service may well be up before its gateway.
            None if answers == 0 => tracing::info!(url, "no gateway tells its keys yet"),
            Some(true) if answers == 0 => {
                tracing::warn!(url, keys, "no gateway tells its keys; those known stay");
            }
            Some(false) if answers == 0 => {}
            _ if self.known.borrow().ring.len() == keys => {}
            _ => tracing::info!(url, gateways = answers, keys, "keys of the gateway"),
        }
        self.known.send_replace(Known {
            ring: Arc::new(ring),
            began: Some(began),
            is_complete: is_complete && answers > 0,
        });
    }
}

async fn ask(address: SocketAddr, url: &str) -> Result<Ring, Silent> {
    let answer = Client::new(TIMEOUT).get_at(address, url).await?;
    match answer.status() {
        StatusCode::OK => Ok(keys::read(answer.body())?),
        status => Err(Silent::Status(status)),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    const Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";

    fn key_set(id: &str) -> String {
        format!(r#"{{"keys":[{{"kty":"EC","crv":"P-256","kid":"{id}","x":"{X}","y":"{Y}"}}]}}"#)
    }

    /// Answers one request.
    async fn answer(listener: &TcpListener, status: &str, body: &str) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"GET /keys HTTP/1.1\r\nhost: gateway.test:"));
        let length = body.len();
        let text = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(text.as_bytes()).await.unwrap();
    }

    fn ids(known: &Known) -> Vec<String> {
        let mut ids: Vec<_> = known.ring.keys().map(ToString::to_string).collect();
        ids.sort();
        ids
    }

    /// One name with two addresses, as a fleet has it.
    #[tokio::test]
    async fn the_keys_of_all_processes_behind_a_name_are_known_and_stay_while_one_is_silent() {
        let one = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let two = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addresses = [&one, &two].map(|listener| listener.local_addr().unwrap());
        let url = "http://gateway.test:8080/keys".parse().unwrap();
        let (mut refresher, known, _wanted) = Refresher::new(url);

        let (a, b) = (key_set("a"), key_set("b"));
        tokio::join!(
            refresher.round(Ok(addresses.into()), Instant::now()),
            answer(&one, "200 OK", &a),
            answer(&two, "200 OK", &b),
        );
        assert_eq!(ids(&known.borrow()), ["a", "b"]);
        assert!(known.borrow().is_complete);

        let c = key_set("c");
        for (status, body) in [("503 No", ""), ("200 OK", "<html>"), ("SSH", "")] {
            tokio::join!(
                refresher.round(Ok(addresses.into()), Instant::now()),
                answer(&one, "200 OK", &c),
                answer(&two, status, body),
            );
            assert_eq!(ids(&known.borrow()), ["b", "c"], "{status}");
            assert!(!known.borrow().is_complete, "{status}");
        }

        // Nobody listens: no process that could sign.
        drop(two);
        tokio::join!(
            refresher.round(Ok(addresses.into()), Instant::now()),
            answer(&one, "200 OK", &c),
        );
        assert_eq!(ids(&known.borrow()), ["b", "c"]);
        assert!(known.borrow().is_complete);

        drop(one);
        refresher.round(Ok(addresses.into()), Instant::now()).await;
        assert_eq!(ids(&known.borrow()), ["b", "c"]);
        assert!(!known.borrow().is_complete, "nobody was heard");
        let not_found = Err(io::ErrorKind::NotFound.into());
        refresher.round(not_found, Instant::now()).await;
        assert_eq!(ids(&known.borrow()), ["b", "c"]);
    }
}

//! Requests that never end, for what must not refuse any.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::RwLock;
use tokio::task::JoinHandle;

use super::gateway::TestGateway;
use super::http_client::{client, fetch};
use super::{eventually, runtime};

/// Requests without end, some at a time, each with the token of the moment.
pub(crate) struct Load {
    token: Arc<RwLock<String>>,
    is_over: Arc<AtomicBool>,
    good: Arc<AtomicUsize>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    const CLIENTS: usize = 8;

    pub(crate) fn start(gateway: &TestGateway, first: String) -> Self {
        let token = Arc::new(RwLock::new(first));
        let is_over = Arc::new(AtomicBool::new(false));
        let good = Arc::new(AtomicUsize::new(0));
        let url = format!("http://{}/users", gateway.address());
        let clients = (0..Self::CLIENTS).map(|_| {
            let (token, url) = (Arc::clone(&token), url.clone());
            let (is_over, good) = (Arc::clone(&is_over), Arc::clone(&good));
            runtime().spawn(async move {
                let mut refused = Vec::new();
                while !is_over.load(Ordering::SeqCst) {
                    // Held to the end: when it is another token's turn, none of the last is
                    // under way.
                    let token = token.read().await;
                    let request = client().get(&url).bearer_auth(&*token);
                    match fetch(request).await {
                        Ok(reply) if reply.status() == 200 => {
                            good.fetch_add(1, Ordering::SeqCst);
                        }
                        Ok(reply) => refused.push(reply.verdict()),
                        Err(error) => refused.push(error.to_string()),
                    }
                    drop(token);
                }
                refused
            })
        });
        Self {
            clients: clients.collect(),
            token,
            is_over,
            good,
        }
    }

    /// From now on all requests have this token; `meanwhile` runs when none is under way.
    pub(crate) fn switch(&self, token: String, meanwhile: impl FnOnce()) {
        runtime().block_on(async {
            let mut current = self.token.write().await;
            meanwhile();
            *current = token;
        });
    }

    /// Waits until this many more requests were good.
    pub(crate) fn go_on_for(&self, count: usize) {
        let enough = self.good.load(Ordering::SeqCst) + count;
        eventually("requests are served", || {
            (self.good.load(Ordering::SeqCst) >= enough).then_some(())
        });
    }

    /// All refusals.
    pub(crate) fn end(self) -> Vec<String> {
        self.is_over.store(true, Ordering::SeqCst);
        let clients = self.clients.into_iter();
        let refused = clients.map(|client| runtime().block_on(client).expect("it ends"));
        refused.flatten().collect()
    }
}

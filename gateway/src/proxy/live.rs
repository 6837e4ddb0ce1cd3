//! The plan in force, and what changes beside it.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use gateway_core::auth::Snapshots;
use gateway_core::auth::api_keys::ApiKeys;
use gateway_core::auth::trust::Trust;
use gateway_core::cluster::{AdaptiveLimit, EndpointSet, Usage};
use gateway_core::plan::Plan;
use gateway_core::words::time::{Millis, UnixSeconds};

use crate::discovery::watch::Discovery;
use crate::documents::DocumentStats;
use crate::identity::Signer;
use crate::jwks::{KeyStats, WantedKeys};
use crate::telemetry::cells::Cells;
use crate::telemetry::ledger::Ledger;

/// A plan, and the snapshots of keys and endpoints that belong to it. A reload makes another one,
/// which shares with this one all that is the same in both.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) plan: Plan,
    /// What is believed of each provider, by its index.
    pub(crate) trusts: Vec<Arc<ArcSwap<Trust>>>,
    /// The API keys of each list, by its index.
    pub(crate) api_keys: Vec<Arc<ArcSwap<ApiKeys>>>,
    /// How requests ask a provider for a key, by its index.
    pub(crate) wanted: Vec<Arc<WantedKeys>>,
    /// By the cluster's index.
    pub(crate) endpoints: Vec<Arc<ArcSwap<EndpointSet>>>,
    /// The limits that find themselves, by the cluster's index.
    pub(crate) adaptive: Vec<Option<Arc<AdaptiveLimit>>>,
    /// There where the plan has an upstream that gets the gateway's own tokens.
    pub(crate) signer: Option<Arc<Signer>>,
    /// The availability zone that the gateway runs in, where it is known.
    pub(crate) zone: Option<Arc<str>>,
    /// By the worker's index.
    pub(crate) cells: Vec<Arc<Cells>>,
    /// The same counters by their names, and those of earlier plans.
    pub(crate) ledger: Ledger,
    pub(crate) watched: Watched,
}

/// What scrapes look at of the loops beside a plan.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    /// By the cluster's index; lists of addresses have none.
    pub(crate) discoveries: Vec<Option<Discovery>>,
    /// By the provider's index.
    pub(crate) keys: Vec<Arc<KeyStats>>,
    pub(crate) documents: Vec<Arc<DocumentStats>>,
}

impl Live {
    /// Lets the limits that find themselves move; whether there are any. Called some times in a
    /// tenth of a second, by one thread.
    pub(crate) fn adapt(&self, now: Millis, civil: UnixSeconds) -> bool {
        for (index, limit) in self.adaptive.iter().enumerate() {
            if let Some(limit) = limit {
                limit.tick(self.usages(index), now, civil);
            }
        }
        self.adaptive.iter().any(Option::is_some)
    }

    /// What the workers hold for an upstream.
    pub(crate) fn usages(&self, cluster: usize) -> impl Iterator<Item = &Usage> + Clone {
        let cells = self.cells.iter();
        cells.map(move |cells| &cells.upstreams[cluster].usage)
    }
}

impl Snapshots for Live {
    type Trust = Guard<Arc<Trust>>;
    type ApiKeys = Guard<Arc<ApiKeys>>;

    fn trust(&self, provider: usize) -> Self::Trust {
        self.trusts[provider].load()
    }

    fn api_keys(&self, list: usize) -> Self::ApiKeys {
        self.api_keys[list].load()
    }
}

/// What a request keeps for its life. Made once per worker and plan, so that the count of
/// its holders lies in memory that only one worker touches.
#[derive(Debug)]
pub(crate) struct Pinned {
    pub(crate) live: Arc<Live>,
    pub(crate) cells: Arc<Cells>,
}

impl Pinned {
    pub(super) fn new(live: Arc<Live>, worker: usize) -> Arc<Self> {
        let cells = Arc::clone(&live.cells[worker]);
        Arc::new(Self { live, cells })
    }
}

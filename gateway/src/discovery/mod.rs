//! Where an upstream's instances are found.
//!
//! A source answers one question, [`Discover::discover`]: which endpoints are
//! there now? When to ask, how long to wait, what to do with a failure and
//! what to keep is decided once, for all sources, in [`watch`].
//!
//! A new source is one file here, one variant of [`Source`] and its arm. Lists of addresses,
//! in the routes file or in one of their own, need no questions and are not here.

pub mod cloud_map;
pub mod dns;
pub(crate) mod own_zone;
pub mod watch;

use std::{
    cmp::Reverse, collections::BTreeMap, fmt, future, net::SocketAddr, sync::Arc, time::Duration,
};

use self::{
    cloud_map::{CloudMap, RevisionStats},
    dns::Dns,
};

/// A place that knows an upstream's endpoints.
///
/// A source neither retries, nor caches, nor bounds its time: the loop in
/// [`watch`] does. Dropping the future cancels the question.
pub trait Discover: Send + Sync {
    /// Asks once which endpoints there are now.
    ///
    /// # Errors
    /// Any [`DiscoverError`] but `Empty`, which only the loop can see.
    fn discover(&self) -> impl Future<Output = Result<Found, DiscoverError>> + Send;

    /// Waits until the source may be asked, where questions are rationed.
    ///
    /// This is not part of the time for one question.
    fn turn(&self) -> impl Future<Output = ()> + Send {
        future::ready(())
    }

    /// Completes when there is reason to ask before the interval has passed.
    ///
    /// It is dropped when the interval passes, and begun anew after the next answer.
    fn changed(&self) -> impl Future<Output = ()> + Send {
        future::pending()
    }

    /// What became of the looks at the source's revision, where it has one.
    fn revisions(&self) -> Option<Arc<RevisionStats>> {
        None
    }
}

/// The sources that a routes file can name.
#[derive(Debug)]
pub enum Source {
    /// AWS Cloud Map's `DiscoverInstances`.
    CloudMap(CloudMap),
    /// A and AAAA records of a name, or SRV records and those of their targets.
    Dns(Dns),
}

impl Discover for Source {
    async fn discover(&self) -> Result<Found, DiscoverError> {
        match self {
            Self::CloudMap(source) => source.discover().await,
            Self::Dns(source) => source.discover().await,
        }
    }

    async fn turn(&self) {
        match self {
            Self::CloudMap(source) => source.turn().await,
            Self::Dns(source) => source.turn().await,
        }
    }

    async fn changed(&self) {
        match self {
            Self::CloudMap(source) => source.changed().await,
            Self::Dns(source) => source.changed().await,
        }
    }

    fn revisions(&self) -> Option<Arc<RevisionStats>> {
        match self {
            Self::CloudMap(source) => source.revisions(),
            Self::Dns(source) => source.revisions(),
        }
    }
}

/// One answer of a source: endpoints sorted by address, each address once.
///
/// Equal sets have equal [`endpoints`](Self::endpoints), whatever order the
/// source gave them in.
#[derive(Clone, Debug, Default)]
pub struct Found {
    endpoints: Vec<FoundEndpoint>,
    skipped: usize,
    lifetime: Option<Duration>,
}

impl Found {
    /// Sorts and deduplicates what a source returned.
    ///
    /// Of two entries with one address the healthy one stays: a replaced
    /// instance may be listed for a while beside the one that took its address.
    #[must_use]
    pub fn new(endpoints: impl IntoIterator<Item = FoundEndpoint>) -> Self {
        let mut endpoints: Vec<_> = endpoints.into_iter().collect();
        endpoints.sort_by(|a, b| a.preference().cmp(&b.preference()));
        endpoints.dedup_by_key(|endpoint| endpoint.address);
        Self {
            endpoints,
            skipped: 0,
            lifetime: None,
        }
    }

    /// Notes how many entries of the answer could not be used.
    #[must_use]
    pub fn with_skipped(self, skipped: usize) -> Self {
        Self { skipped, ..self }
    }

    /// Notes how long the answer holds, by which the next question is due.
    #[must_use]
    pub fn with_lifetime(self, lifetime: Duration) -> Self {
        Self {
            lifetime: Some(lifetime),
            ..self
        }
    }

    /// How long the answer holds, where the source says so; otherwise for the interval.
    #[must_use]
    pub fn lifetime(&self) -> Option<Duration> {
        self.lifetime
    }

    /// The endpoints, sorted by address.
    #[must_use]
    pub fn endpoints(&self) -> &[FoundEndpoint] {
        &self.endpoints
    }

    /// Entries of the answer that could not be used, such as an instance
    /// without an address.
    #[must_use]
    pub fn skipped(&self) -> usize {
        self.skipped
    }
}

/// An endpoint as its source describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundEndpoint {
    /// Where to connect.
    pub address: SocketAddr,
    /// Where else, where the same host has an address of the other family.
    pub second_address: Option<SocketAddr>,
    /// The Availability Zone, such as `eu-west-1a`, where the source knows it.
    pub zone: Option<Arc<str>>,
    /// Share of the load relative to the others of the set; default 1.
    pub weight: u32,
    /// False where the source says that the instance fails its health check.
    /// A source without health says true.
    pub healthy: bool,
    /// The source's name of the instance, for logs.
    pub id: Option<Arc<str>>,
    /// What else the source knows of it, for subsets.
    pub attributes: Arc<BTreeMap<String, String>>,
}

impl FoundEndpoint {
    /// A healthy endpoint of weight 1, about which nothing else is known.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            second_address: None,
            zone: None,
            weight: 1,
            healthy: true,
            id: None,
            attributes: Arc::default(),
        }
    }

    /// The order of a set; of equal addresses the one to keep comes first.
    fn preference(&self) -> impl Ord + '_ {
        let Self {
            address,
            second_address,
            zone,
            weight,
            healthy,
            id,
            attributes,
        } = self;
        (
            address,
            Reverse(*healthy),
            id,
            second_address,
            zone,
            weight,
            attributes,
        )
    }
}

/// Why a source gave no answer.
///
/// `source_name` says which source was asked, in words for a person.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DiscoverError {
    /// The source works and says that the thing asked for does not exist.
    #[error(
        "{what} does not exist; check its spelling in the routes file, and that it is deployed"
    )]
    NotFound {
        /// The missing thing with its name.
        what: String,
    },
    /// The source is asked too often.
    #[error(
        "{source_name} throttles the account ({cause}); raise the interval or ask for a higher quota"
    )]
    Throttled {
        /// Which source.
        source_name: &'static str,
        /// What it said.
        cause: String,
    },
    /// No answer in time.
    #[error("no answer within {} ms; check the network path to the source", limit.as_millis())]
    Timeout {
        /// The limit that ran out.
        limit: Duration,
    },
    /// The source refuses us, or there are no credentials to ask with.
    #[error("{source_name} refuses access ({cause}); {remedy}")]
    Denied {
        /// Which source.
        source_name: &'static str,
        /// What it said.
        cause: String,
        /// What would help.
        remedy: &'static str,
    },
    /// The source cannot be reached or fails.
    #[error("{source_name} is not available ({cause}); the last good set stays in use meanwhile")]
    Outage {
        /// Which source.
        source_name: &'static str,
        /// What happened.
        cause: String,
    },
    /// There were endpoints, and now the source lists none.
    ///
    /// Not believed: a registry that forgets everything is likelier than an
    /// upstream that left all at once, and if it did leave, connecting fails
    /// just as well.
    #[error(
        "no endpoint is listed any more; the last good set stays in use until one is listed, check that the upstream is deployed"
    )]
    Empty,
    /// The question or the answer makes no sense.
    #[error("{source_name}: {cause}; {remedy}")]
    Invalid {
        /// Which source.
        source_name: &'static str,
        /// What is wrong.
        cause: String,
        /// What would help.
        remedy: &'static str,
    },
}

impl DiscoverError {
    /// The class of the failure, for metrics and for the choice of backoff.
    #[must_use]
    pub fn reason(&self) -> FailureReason {
        match self {
            Self::NotFound { .. } => FailureReason::NotFound,
            Self::Throttled { .. } => FailureReason::Throttled,
            Self::Timeout { .. } => FailureReason::Timeout,
            Self::Denied { .. } => FailureReason::Denied,
            Self::Outage { .. } => FailureReason::Outage,
            Self::Invalid { .. } => FailureReason::Invalid,
            Self::Empty => FailureReason::Empty,
        }
    }
}

/// A closed set of labels for what went wrong with a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureReason {
    /// [`DiscoverError::NotFound`].
    NotFound,
    /// [`DiscoverError::Throttled`].
    Throttled,
    /// [`DiscoverError::Timeout`].
    Timeout,
    /// [`DiscoverError::Denied`].
    Denied,
    /// [`DiscoverError::Outage`].
    Outage,
    /// [`DiscoverError::Invalid`].
    Invalid,
    /// [`DiscoverError::Empty`].
    Empty,
}

impl FailureReason {
    /// All reasons, in the order of their discriminants.
    pub const ALL: [Self; 7] = [
        Self::NotFound,
        Self::Throttled,
        Self::Timeout,
        Self::Denied,
        Self::Outage,
        Self::Invalid,
        Self::Empty,
    ];

    /// The metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Throttled => "throttled",
            Self::Timeout => "timeout",
            Self::Denied => "denied",
            Self::Outage => "outage",
            Self::Invalid => "invalid",
            Self::Empty => "empty",
        }
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(address: &str) -> FoundEndpoint {
        FoundEndpoint::new(address.parse().unwrap())
    }

    #[test]
    fn equal_sets_compare_equal_in_any_order() {
        let (a, b) = (endpoint("10.0.0.2:80"), endpoint("10.0.0.1:80"));
        let one = Found::new([a.clone(), b.clone(), a.clone()]);
        let other = Found::new([b.clone(), a.clone()]);
        assert_eq!(one.endpoints(), other.endpoints());
        assert_eq!(one.endpoints(), [b, a]);
    }

    #[test]
    fn the_healthy_one_of_two_equal_addresses_stays() {
        let healthy = FoundEndpoint {
            id: Some("z".into()),
            ..endpoint("10.0.0.1:80")
        };
        let stale = FoundEndpoint {
            id: Some("a".into()),
            healthy: false,
            ..endpoint("10.0.0.1:80")
        };
        for order in [[&healthy, &stale], [&stale, &healthy]] {
            assert_eq!(
                Found::new(order.map(Clone::clone)).endpoints(),
                std::slice::from_ref(&healthy)
            );
        }
    }

    #[test]
    fn reasons_are_listed_in_the_order_of_their_discriminants() {
        for (index, reason) in FailureReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }
}

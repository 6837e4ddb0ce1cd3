//! What the proxy works by: the routes file, checked and compiled.
//!
//! A plan never changes. A reload makes a new one; a request keeps the one it began with.

mod origins;
mod succession;
mod tracing;

pub use origins::{Line, Origins, WrittenAt};
pub use tracing::{Parents, SendB3, Tracing};

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use ipnet::IpNet;

use crate::access_log::{AccessLog, Sample};
use crate::auth::Auth;
use crate::auth::api_keys::ApiKeyList;
use crate::auth::jwt::Provider;
use crate::cluster::balance::{Balancer, SubsetChoice};
use crate::cluster::health::OutlierRules;
use crate::cluster::retry::RetryPolicy;
use crate::cluster::{AdaptiveRules, HashKey, Limits, Priority, PriorityShares};
use crate::route::RouteTable;

/// The compiled routes file.
#[derive(Debug)]
pub struct Plan {
    /// Which route a request belongs to, by index into `routes`.
    pub table: RouteTable,
    /// The routes, in the order of the file.
    pub routes: Vec<Route>,
    /// The token providers, by name.
    pub providers: Vec<Provider>,
    /// The lists of API keys, by name.
    pub api_keys: Vec<ApiKeyList>,
    /// The upstreams, by name.
    pub clusters: Vec<Cluster>,
    /// Headers that only the gateway may set: a client's copies never go upstream.
    pub identity_headers: NameSet,
    /// Whom to believe about earlier hops.
    pub forwarded: Forwarded,
    /// How access lines are written; `None` where none are.
    pub access_log: Option<AccessLog>,
    /// Which requests are traced; `None` where none are.
    pub tracing: Option<Tracing>,
    /// Where the file says all this.
    pub origins: Arc<Origins>,
    /// No provider and no policy has this number or a higher one.
    pub next_number: u64,
}

/// One route.
#[derive(Debug)]
pub struct Route {
    /// Its name in logs and metrics.
    pub name: Box<str>,
    /// What of its match says the path, as in `/users/{id}`: for names of few values.
    pub template: Box<str>,
    /// Who may use it.
    pub auth: Auth,
    /// What becomes of its requests.
    pub action: Action,
    /// From the request's head to the answer's head, all tries together.
    pub timeout: Duration,
    /// From the start of one try to the answer's head.
    pub per_try_timeout: Option<Duration>,
    /// Whether to try again.
    pub retries: RetryPolicy,
    /// Whether a second try begins while the first is slow.
    pub hedge: Option<Hedge>,
    /// Whether its requests are shed before others.
    pub priority: Priority,
    /// Bytes of a request body.
    pub body_bytes_max: u64,
    /// Which of its requests get an access line; `None` where none do.
    pub access_log: Option<Sample>,
}

/// When a second try begins while the first is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hedge {
    /// After this time without an answer's head.
    pub after: Duration,
}

impl Route {
    /// The whole milliseconds that a try has for its answer if it begins at once.
    #[must_use]
    pub fn usual_left_millis(&self) -> u64 {
        let millis = |it: Duration| it.as_secs() * 1_000 + u64::from(it.subsec_millis());
        // Less than a millisecond has gone by.
        let all = millis(self.timeout).saturating_sub(1);
        self.per_try_timeout.map_or(all, |it| all.min(millis(it)))
    }
}

/// What becomes of a route's requests.
#[derive(Debug)]
pub enum Action {
    /// They go to one of these upstreams.
    Forward(Backends),
    /// The gateway answers by itself.
    Respond(FixedResponse),
    /// The gateway answers with the public keys of its own tokens.
    RespondKeys,
}

/// Upstreams with weights.
#[derive(Debug)]
pub struct Backends {
    /// Where requests go, and the sum of the weights up to and with it.
    cumulative: Vec<(Target, u32)>,
    /// The key of requests that go the same way, where there is one.
    sticky: Option<HashKey>,
}

/// Where requests go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The cluster's index.
    pub cluster: usize,
    /// Those of its endpoints that may be chosen; `None` for all.
    pub subset: Option<SubsetChoice>,
}

impl Backends {
    /// Backends as pairs of target and weight; the weights' sum is at least 1.
    #[must_use]
    pub fn new(weighted: impl IntoIterator<Item = (Target, u32)>) -> Self {
        let mut sum = 0;
        let cumulative = weighted
            .into_iter()
            .map(|(target, weight)| {
                sum += weight;
                (target, sum)
            })
            .collect();
        Self {
            cumulative,
            sticky: None,
        }
    }

    /// The same, chosen by a key where requests have one.
    #[must_use]
    pub fn sticking_to(self, sticky: Option<HashKey>) -> Self {
        Self { sticky, ..self }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.cumulative.len()
    }

    /// Where each leads, with its weight.
    pub fn weighted(&self) -> impl Iterator<Item = (Target, u32)> + '_ {
        let before = [0].into_iter();
        let before = before.chain(self.cumulative.iter().map(|&(_, upto)| upto));
        let weights = self.cumulative.iter().zip(before);
        weights.map(|(&(target, upto), before)| (target, upto - before))
    }

    /// The cluster of each backend.
    pub fn clusters(&self) -> impl Iterator<Item = usize> + '_ {
        self.cumulative.iter().map(|(target, _)| target.cluster)
    }

    /// The key by which one is chosen, where there is a choice.
    #[must_use]
    pub fn sticky(&self) -> Option<&HashKey> {
        self.sticky.as_ref().filter(|_| self.count() > 1)
    }

    /// Takes one by weight: its position here, and where it leads. `random` is drawn only where
    /// there is a choice; the hash of a key in its place makes the same choice each time, and one
    /// that stays for most keys when weights change.
    #[must_use]
    pub fn choose(&self, random: impl FnOnce() -> u64) -> (usize, Target) {
        let [.., (_, sum)] = self.cumulative[..] else {
            unreachable!("a route has at least one backend, checked as it is compiled");
        };
        if self.cumulative.len() == 1 {
            return (0, self.cumulative[0].0);
        }
        let point = ((random() >> 32) * u64::from(sum)) >> 32;
        let position = self
            .cumulative
            .partition_point(|&(_, upto)| u64::from(upto) <= point);
        (position, self.cumulative[position].0)
    }
}

/// An answer of the gateway's own.
#[derive(Debug)]
pub struct FixedResponse {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Bytes,
    /// What its body is.
    pub content_type: HeaderValue,
}

/// One upstream.
#[derive(Debug)]
pub struct Cluster {
    /// Its name in logs and metrics.
    pub name: Box<str>,
    /// How an endpoint is chosen.
    pub balancer: Balancer,
    /// Time allowed to open a connection.
    pub connect_timeout: Duration,
    /// How much of the gateway it may hold.
    pub limits: Limits,
    /// How the limit on its requests finds itself, where it does.
    pub adaptive: Option<AdaptiveRules>,
    /// How much of its limits each priority may fill.
    pub priorities: PriorityShares,
    /// When an endpoint is left out.
    pub outliers: OutlierRules,
    /// What is kept open to its endpoints.
    pub connections: Connections,
    /// The audience of the gateway's own tokens for it, where it gets them.
    pub identity: Option<Box<str>>,
}

/// Bounds on the connections to an upstream's endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connections {
    /// Idle connections that a worker keeps to one endpoint.
    pub idle_max: usize,
    /// How long one may stay idle. Below the 60 s after which most servers close.
    pub idle_timeout: Duration,
    /// How old one may become, so that a fleet spreads again after it has grown.
    pub lifetime: Duration,
    /// Time in which the other host must acknowledge what it was sent.
    pub user_timeout: Duration,
    /// Silence after which the other host is asked whether it is still there.
    pub keep_alive: Duration,
    /// How long the first address of a host is tried alone, where it has one of each family.
    pub head_start: Duration,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            idle_max: 128,
            idle_timeout: Duration::from_secs(50),
            lifetime: Duration::from_mins(10),
            user_timeout: Duration::from_secs(20),
            keep_alive: Duration::from_secs(15),
            head_start: Duration::from_millis(250),
        }
    }
}

/// Whom to believe about earlier hops, and what to tell the next one.
#[derive(Debug, Default)]
pub struct Forwarded {
    /// Peers whose forwarding headers are true.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether the standard header (RFC 7239) is sent beside `X-Forwarded-*`.
    pub is_standard_sent: bool,
}

impl Forwarded {
    /// Whether a peer's forwarding headers and request id are believed.
    #[must_use]
    pub fn is_trusted(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        let networks = &mut self.trusted_proxies.iter();
        networks.any(|network| network.contains(&peer))
    }

    /// The address of the client: the nearest hop that is not a trusted proxy.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        if !self.is_trusted(client) {
            return client;
        }
        let hops = headers
            .get_all("x-forwarded-for")
            .iter()
            .rev()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.rsplit(','));
        for hop in hops {
            let Ok(address) = hop.trim().parse::<IpAddr>() else {
                break;
            };
            client = address.to_canonical();
            if !self.is_trusted(client) {
                break;
            }
        }
        client
    }
}

/// A few header names, told apart fast: most headers are dismissed by their length.
#[derive(Debug, Default)]
pub struct NameSet {
    names: Vec<HeaderName>,
    lengths: u64,
}

impl NameSet {
    /// A set of these names.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = HeaderName>) -> Self {
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        names.dedup();
        let lengths = names
            .iter()
            .fold(0, |lengths, name| lengths | length_bit(name.as_str()));
        Self { names, lengths }
    }

    /// Whether a client's header would be read as one of these names.
    ///
    /// An underscore counts as a dash, because CGI and its heirs make no difference
    /// (RFC 3875 section 4.1.18).
    #[must_use]
    pub fn covers(&self, name: &HeaderName) -> bool {
        let name = name.as_str();
        self.lengths & length_bit(name) != 0
            && self.names.iter().any(|known| is_same(known.as_str(), name))
    }
}

fn length_bit(name: &str) -> u64 {
    1 << (name.len() & 63)
}

fn is_same(known: &str, name: &str) -> bool {
    let dashed = |byte: u8| if byte == b'_' { b'-' } else { byte };
    known.len() == name.len()
        && known
            .bytes()
            .zip(name.bytes())
            .all(|(a, b)| dashed(a) == dashed(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(cluster: usize) -> Target {
        Target {
            cluster,
            subset: None,
        }
    }

    #[test]
    fn backends_are_chosen_by_weight() {
        let backends =
            Backends::new([(7, 90), (8, 0), (9, 10)].map(|(it, weight)| (to(it), weight)));
        let mut random = fastrand::Rng::with_seed(3);
        let mut hits = [0; 3];
        for _ in 0..10_000 {
            let (position, target) = backends.choose(|| random.u64(..));
            assert_eq!(target, to(7 + position));
            hits[position] += 1;
        }
        assert_eq!(hits[1], 0);
        assert!((8_800..9_200).contains(&hits[0]), "{hits:?}");
        assert_eq!(backends.choose(|| u64::MAX), (2, to(9)));
    }

    #[test]
    fn a_key_stays_with_its_backend_while_another_share_grows() {
        let split = |canary| Backends::new([(to(7), 100 - canary), (to(8), canary)]);
        let key = HashKey::Header(HeaderName::from_static("x-user"));
        let hashes = (0..10_000).map(|user| {
            let mut headers = HeaderMap::new();
            headers.insert("x-user", HeaderValue::from(user));
            key.hash(&headers, None).unwrap()
        });
        let mut moved = 0;
        for hash in hashes {
            let before = split(10).choose(|| hash);
            assert_eq!(before, split(10).choose(|| hash));
            let after = split(20).choose(|| hash);
            assert!(before.0 <= after.0, "nobody leaves the canary");
            moved += usize::from(before != after);
        }
        assert!((800..1_200).contains(&moved), "{moved}");
    }

    #[test]
    fn a_name_is_covered_in_every_spelling_that_cgi_confuses() {
        let set = NameSet::new([HeaderName::from_static("x-user-id")]);
        let table = [
            ("x-user-id", true),
            ("x_user-id", true),
            ("X_USER_ID", true),
            ("x-user-ix", false),
            ("x-user", false),
        ];
        for (name, expected) in table {
            let name: HeaderName = name.parse().unwrap();
            assert_eq!(set.covers(&name), expected, "{name}");
        }
    }

    #[test]
    fn the_client_is_the_first_hop_that_nobody_vouches_for() {
        let forwarded = Forwarded {
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            is_standard_sent: false,
        };
        let table = [
            ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
            ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
            (
                "10.0.0.1",
                "203.0.113.9, 198.51.100.7, 10.0.0.2",
                "198.51.100.7",
            ),
            ("10.0.0.1", "garbage", "10.0.0.1"),
            ("10.0.0.1", "198.51.100.7, garbage, 10.0.0.3", "10.0.0.3"),
            ("::ffff:10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ];
        for (peer, header, expected) in table {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", header.parse().unwrap());
            let client = forwarded.client(peer.parse().unwrap(), &headers);
            assert_eq!(client.to_string(), expected, "{peer} {header}");
        }
    }
}

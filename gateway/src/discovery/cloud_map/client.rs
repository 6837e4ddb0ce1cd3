//! The connection to Cloud Map that all upstreams share.

use std::{
    env,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_servicediscovery::{
    Client,
    config::{
        Builder, ConfigBag, Credentials, Intercept, RuntimeComponents,
        StalledStreamProtectionConfig,
    },
};
use aws_smithy_runtime_api::{
    box_error::BoxError,
    client::{
        endpoint::EndpointPrefix,
        interceptors::{context::BeforeTransmitInterceptorContextRef, dyn_dispatch_hint},
    },
};
use http::Uri;

use super::{CloudMap, CloudMapService, budget::Budgets, revision::RevisionWatch};

/// Time to find region, credentials' source and endpoint at the start.
///
/// Off AWS the search ends at an instance metadata address that may not answer.
const SETUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Time to open a connection, TLS included.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Time for a whole call. The discovery loop's own limit is usually shorter;
/// this one holds where that one is configured generously.
pub(super) const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);

/// Signs requests to an endpoint on loopback that does not care.
const PLACEHOLDER_REGION: &str = "us-east-1";

/// A client of Cloud Map, to be made once and shared; cloning is cheap.
///
/// Its clones share one budget of calls.
#[derive(Clone, Debug)]
pub struct CloudMapClient {
    pub(super) client: Client,
    pub(super) shared: Arc<Shared>,
}

/// What all sources of one client share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) budgets: Budgets,
    /// Set once `DiscoverInstancesRevision` turned out not to be allowed.
    is_revision_off: AtomicBool,
}

impl Shared {
    pub(super) fn is_revision_off(&self) -> bool {
        self.is_revision_off.load(Ordering::Relaxed)
    }

    /// Returns whether it was on until now.
    pub(super) fn turn_revision_off(&self) -> bool {
        !self.is_revision_off.swap(true, Ordering::Relaxed)
    }
}

impl CloudMapClient {
    /// Sets up the AWS SDK; sends nothing to Cloud Map yet.
    ///
    /// Region and credentials come from the SDK's default chain: environment,
    /// shared profile, web identity, ECS task role, EC2 instance role.
    ///
    /// `endpoint` replaces AWS's own, as do `AWS_ENDPOINT_URL_SERVICEDISCOVERY`
    /// and `AWS_ENDPOINT_URL` in this order. For an endpoint on loopback, a
    /// region and credentials that the environment does not name are made up,
    /// so that local development needs neither. That never happens for AWS or
    /// any other host.
    ///
    /// # Errors
    /// `Endpoint` when the endpoint is not an `http` or `https` URL, `Region`
    /// when no region is configured.
    pub async fn connect(endpoint: Option<&str>) -> Result<Self, ClientError> {
        let plan = Plan::make(endpoint, |name| env::var(name).ok())?;
        let mut loader = aws_config::defaults(BehaviorVersion::latest());
        if plan.placeholder_region {
            loader = loader.region(Region::from_static(PLACEHOLDER_REGION));
        }
        if plan.placeholder_credentials {
            loader = loader.credentials_provider(placeholder_credentials());
        }
        let shared = tokio::time::timeout(SETUP_TIMEOUT, loader.load())
            .await
            .map_err(|_| ClientError::Region)?;
        if shared.region().is_none() {
            return Err(ClientError::Region);
        }
        // A profile file may name an endpoint too, which only the loader reads.
        let endpoint = plan
            .endpoint
            .or_else(|| shared.endpoint_url().map(str::to_owned));
        Ok(Self::with_config(&shared, endpoint))
    }

    pub(super) fn with_config(shared: &SdkConfig, endpoint: Option<String>) -> Self {
        let mut config = Builder::from(shared)
            // The discovery loop owns when to ask again.
            .retry_config(RetryConfig::disabled())
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .operation_timeout(OPERATION_TIMEOUT)
                    .build(),
            )
            // Guards long streams; an answer here is small, and the whole call is bounded.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(endpoint) = endpoint {
            config = config.endpoint_url(endpoint).interceptor(KeepHost);
        }
        Self {
            client: Client::from_conf(config.build()),
            shared: Arc::default(),
        }
    }

    /// A source of one service's instances.
    #[must_use]
    pub fn service(&self, service: CloudMapService) -> CloudMap {
        CloudMap {
            client: self.clone(),
            revision: Arc::new(RevisionWatch::new(service.revision_interval)),
            service,
        }
    }
}

/// Why there is no client.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The custom endpoint is no URL.
    #[error(
        "cloud map endpoint `{url}` is not a URL such as `http://127.0.0.1:5000`; correct it or leave it out to use AWS"
    )]
    Endpoint {
        /// What was configured.
        url: String,
    },
    /// No region is known.
    #[error("no AWS region is known; set AWS_REGION, as Amazon ECS does for each task")]
    Region,
}

/// What is decided from configuration and environment alone.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    endpoint: Option<String>,
    placeholder_region: bool,
    placeholder_credentials: bool,
}

impl Plan {
    fn make(
        endpoint: Option<&str>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, ClientError> {
        let get = |name: &&str| env(name).filter(|value| !value.is_empty());
        let named = |names: &[&str]| names.iter().any(|name| get(name).is_some());
        let ignored = get(&"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
            .is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let endpoint = endpoint.map(str::to_owned).or_else(|| {
            ["AWS_ENDPOINT_URL_SERVICEDISCOVERY", "AWS_ENDPOINT_URL"]
                .iter()
                .filter(|_| !ignored)
                .find_map(get)
        });
        let on_loopback = match &endpoint {
            Some(url) => is_loopback(url)?,
            None => false,
        };
        // A profile may hold either; asking for one by name is asking for both.
        let profile = named(&["AWS_PROFILE"]);
        let region = profile || named(&["AWS_REGION", "AWS_DEFAULT_REGION"]);
        let credentials = profile
            || named(&[
                "AWS_ACCESS_KEY_ID",
                "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                "AWS_WEB_IDENTITY_TOKEN_FILE",
            ]);
        Ok(Self {
            endpoint,
            placeholder_region: on_loopback && !region,
            placeholder_credentials: on_loopback && !credentials,
        })
    }
}

fn is_loopback(url: &str) -> Result<bool, ClientError> {
    let invalid = || ClientError::Endpoint {
        url: url.to_owned(),
    };
    let uri: Uri = url.parse().map_err(|_| invalid())?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(invalid());
    }
    let host = uri.host().ok_or_else(invalid)?;
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse();
    Ok(host == "localhost" || ip.is_ok_and(|ip: IpAddr| ip.is_loopback()))
}

fn placeholder_credentials() -> Credentials {
    Credentials::new("local", "local", None, None, "placeholder for loopback")
}

/// Keeps a custom endpoint's host as it was configured.
///
/// The SDK puts `data-` before the host of both operations, custom endpoints
/// included: `127.0.0.1` would become `data-127.0.0.1`, which no resolver knows.
#[derive(Debug)]
struct KeepHost;

#[dyn_dispatch_hint]
impl Intercept for KeepHost {
    fn name(&self) -> &'static str {
        "KeepHost"
    }

    fn read_before_attempt(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().unset::<EndpointPrefix>();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Environment = &'static [(&'static str, &'static str)];

    /// Endpoint option, environment, and what comes of them: `region` and
    /// `credentials` stand for placeholders.
    const PLANS: &[(Option<&str>, Environment, &str)] = &[
        (None, &[], "aws"),
        (None, &[("AWS_ENDPOINT_URL", "")], "aws"),
        (
            Some("http://127.0.0.1:5"),
            &[],
            "http://127.0.0.1:5 region credentials",
        ),
        (
            Some("http://[::1]:5"),
            &[],
            "http://[::1]:5 region credentials",
        ),
        (
            Some("http://localhost:5"),
            &[("AWS_REGION", "eu-west-1")],
            "http://localhost:5 credentials",
        ),
        (
            Some("http://127.0.0.1:5"),
            &[("AWS_ACCESS_KEY_ID", "x")],
            "http://127.0.0.1:5 region",
        ),
        (
            Some("http://127.0.0.1:5"),
            &[("AWS_PROFILE", "x")],
            "http://127.0.0.1:5",
        ),
        (Some("https://10.0.0.9"), &[], "https://10.0.0.9"),
        (
            Some("https://127.0.0.1.example.com"),
            &[],
            "https://127.0.0.1.example.com",
        ),
        (
            Some("http://127.0.0.1:1"),
            &[("AWS_ENDPOINT_URL", "http://10.0.0.1")],
            "http://127.0.0.1:1 region credentials",
        ),
        (
            None,
            &[
                ("AWS_ENDPOINT_URL", "http://10.0.0.1"),
                ("AWS_ENDPOINT_URL_SERVICEDISCOVERY", "http://10.0.0.2"),
            ],
            "http://10.0.0.2",
        ),
        (
            None,
            &[("AWS_ENDPOINT_URL", "http://127.0.0.1:1")],
            "http://127.0.0.1:1 region credentials",
        ),
        (
            None,
            &[
                ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
                ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "TRUE"),
            ],
            "aws",
        ),
    ];

    #[test]
    fn only_loopback_gets_placeholders_and_only_for_what_is_missing() {
        for (endpoint, variables, expected) in PLANS {
            let env = |name: &str| {
                let found = variables.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            let plan = Plan::make(*endpoint, env).unwrap();
            let mut words = vec![plan.endpoint.as_deref().unwrap_or("aws")];
            words.extend(plan.placeholder_region.then_some("region"));
            words.extend(plan.placeholder_credentials.then_some("credentials"));
            assert_eq!(words.join(" "), *expected, "{endpoint:?} {variables:?}");
        }
    }

    #[test]
    fn an_endpoint_that_is_no_url_is_refused_by_name() {
        for url in [
            "127.0.0.1:5000",
            "ftp://127.0.0.1",
            "http://",
            "",
            "http://a b",
        ] {
            let error = Plan::make(Some(url), |_| None).unwrap_err();
            assert_eq!(error, ClientError::Endpoint { url: url.into() });
        }
    }
}

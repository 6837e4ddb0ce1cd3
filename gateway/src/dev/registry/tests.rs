//! The registry as the real AWS SDK sees it.

use aws_sdk_servicediscovery::Client;
use aws_sdk_servicediscovery::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_servicediscovery::config::{
    BehaviorVersion, ConfigBag, Credentials, Intercept, Region, RuntimeComponents,
};
use aws_sdk_servicediscovery::error::{BoxError, ProvideErrorMetadata as _};
use aws_sdk_servicediscovery::types::{CustomHealthStatus, HealthStatus, HealthStatusFilter};
use aws_smithy_runtime_api::client::endpoint::EndpointPrefix;

use super::*;

/// The SDK puts `data-` before the host, even before an address.
#[derive(Debug)]
struct NoHostPrefix;

impl Intercept for NoHostPrefix {
    fn name(&self) -> &'static str {
        "NoHostPrefix"
    }

    fn read_before_attempt(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        bag.interceptor_state().unset::<EndpointPrefix>();
        Ok(())
    }
}

fn client(registry: &Registry) -> Client {
    let config = aws_sdk_servicediscovery::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("dev", "dev", None, None, "test"))
        .endpoint_url(registry.url())
        .interceptor(NoHostPrefix)
        .build();
    Client::from_conf(config)
}

async fn registry() -> Registry {
    let services = [("srv-users", "users"), ("srv-products", "products")];
    let directory = Directory::new("test.local", &services, fastrand::Rng::with_seed(1));
    Registry::start(directory).await.unwrap()
}

async fn register(client: &Client, id: &str) {
    let registered = client
        .register_instance()
        .service_id("srv-users")
        .instance_id(id)
        .attributes("AWS_INSTANCE_IPV4", "127.0.0.1")
        .attributes("AWS_INSTANCE_PORT", "8081")
        .send()
        .await
        .unwrap();
    assert_eq!(registered.operation_id().map(str::len), Some(32));
}

#[tokio::test]
async fn the_real_sdk_registers_discovers_and_deregisters() {
    let registry = registry().await;
    let client = client(&registry);
    register(&client, "users-1").await;
    let discover = || {
        client
            .discover_instances()
            .namespace_name("test.local")
            .service_name("users")
    };

    let found = discover().send().await.unwrap();
    let revision = found.instances_revision().unwrap();
    let [instance] = found.instances() else {
        panic!("one instance, not {found:?}");
    };
    assert_eq!(instance.instance_id(), Some("users-1"));
    assert_eq!(instance.namespace_name(), Some("test.local"));
    assert_eq!(instance.service_name(), Some("users"));
    assert_eq!(instance.health_status(), Some(&HealthStatus::Healthy));
    let attributes = instance.attributes().unwrap();
    assert_eq!(attributes["AWS_INSTANCE_IPV4"], "127.0.0.1");
    assert_eq!(attributes["AWS_INSTANCE_PORT"], "8081");

    client
        .update_instance_custom_health_status()
        .service_id("srv-users")
        .instance_id("users-1")
        .status(CustomHealthStatus::Unhealthy)
        .send()
        .await
        .unwrap();
    let healthy = discover().send().await.unwrap();
    assert_eq!(healthy.instances(), []);
    let any = discover()
        .health_status(HealthStatusFilter::HealthyOrElseAll)
        .max_results(1)
        .query_parameters("AWS_INSTANCE_PORT", "8081")
        .send()
        .await
        .unwrap();
    assert_eq!(
        any.instances()[0].health_status(),
        Some(&HealthStatus::Unhealthy)
    );

    client
        .deregister_instance()
        .service_id("srv-users")
        .instance_id("users-1")
        .send()
        .await
        .unwrap();
    let later = client
        .discover_instances_revision()
        .namespace_name("test.local")
        .service_name("users")
        .send()
        .await
        .unwrap();
    assert!(later.instances_revision().unwrap() > revision);
}

#[tokio::test]
async fn the_real_sdk_knows_every_error_by_its_type() {
    let registry = registry().await;
    let client = client(&registry);
    let discover = |namespace, service, limit| {
        client
            .discover_instances()
            .namespace_name(namespace)
            .service_name(service)
            .max_results(limit)
            .send()
    };
    let error = |error| aws_sdk_servicediscovery::error::SdkError::into_service_error(error);

    let refused = error(discover("other.local", "users", 1).await.unwrap_err());
    assert!(refused.is_namespace_not_found(), "{refused:?}");
    let refused = error(discover("test.local", "orders", 1).await.unwrap_err());
    assert!(refused.is_service_not_found(), "{refused:?}");
    assert_eq!(
        refused.message(),
        Some("service `orders` is not known here")
    );
    let refused = error(discover("test.local", "users", 0).await.unwrap_err());
    assert!(refused.is_invalid_input(), "{refused:?}");

    let refused = client
        .deregister_instance()
        .service_id("srv-users")
        .instance_id("users-9")
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    assert!(refused.is_instance_not_found(), "{refused:?}");
    let refused = client.list_services().send().await.unwrap_err();
    assert_eq!(refused.code(), Some("UnknownOperationException"));
}

#[tokio::test]
async fn waiting_ends_when_the_last_instance_registers() {
    let directory = Directory::new(
        "test.local",
        &[("srv-users", "users")],
        fastrand::Rng::with_seed(1),
    );
    let registry = Registry::start(directory.clone()).await.unwrap();
    let client = client(&registry);
    let instances = ["users-1", "users-2"].map(|id| ("srv-users".to_owned(), id.to_owned()));
    register(&client, "users-1").await;
    assert_eq!(directory.missing(&instances), ["users-2"]);
    tokio::join!(
        directory.registered(&instances),
        register(&client, "users-2")
    );
    assert_eq!(directory.missing(&instances), [""; 0]);
}

#[test]
fn what_is_not_an_operation_is_refused() {
    let directory = Directory::new("test.local", &[], fastrand::Rng::with_seed(1));
    let check = |method: &str, path: &str, target: &'static str, body: &str, expected: u16| {
        let mut headers = http::HeaderMap::new();
        headers.insert(TARGET, HeaderValue::from_static(target));
        let call = Call {
            method: method.parse().unwrap(),
            path: path.to_owned(),
            headers,
            body: body.to_owned().into(),
        };
        let answer = answer(&directory, &call);
        assert_eq!(answer.status(), expected, "{method} {path} {target} {body}");
    };
    let discover = "Route53AutoNaming_v20170314.DiscoverInstances";
    check("GET", "/", discover, "", 404);
    check("POST", "/x", discover, "", 404);
    check("POST", "/", "", "{}", 400);
    check("POST", "/", "DiscoverInstances", "{}", 400);
    check("POST", "/", discover, "", 400);
    check("POST", "/", discover, "{}", 400);
    check("POST", "/", discover, "[]", 400);
    check(
        "POST",
        "/",
        discover,
        r#"{"NamespaceName": 1, "ServiceName": "users"}"#,
        400,
    );
}

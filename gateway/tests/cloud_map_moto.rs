//! Cloud Map through the real SDK, against an emulator that others wrote.

use std::time::Duration;

use aws_sdk_servicediscovery::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    types::{CustomHealthStatus, HealthCheckCustomConfig},
};
use gateway::discovery::{
    Discover, FailureReason, Found,
    cloud_map::{CloudMap, CloudMapClient, CloudMapService, Look},
    watch::{DiscoveryState, WatchOptions, Watcher},
};
use mesh::testing::parts::moto::Moto;

const NAMESPACE: &str = "test.shop.local";
const SERVICE: &str = "users";

/// Time for the loop to notice a change.
const DEADLINE: Duration = Duration::from_secs(20);

/// The registering side, as ECS plays it.
struct Registry {
    client: Client,
    service_id: String,
}

impl Registry {
    async fn create(moto: &Moto) -> Self {
        let config = aws_sdk_servicediscovery::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(moto.url())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .build();
        let client = Client::from_conf(config);
        client
            .create_private_dns_namespace()
            .name(NAMESPACE)
            .vpc("vpc-1")
            .send()
            .await
            .expect("moto makes a namespace");
        let namespaces = client
            .list_namespaces()
            .send()
            .await
            .expect("moto lists namespaces");
        let namespace_id = namespaces.namespaces()[0]
            .id()
            .expect("a namespace has an id");
        let service = client
            .create_service()
            .name(SERVICE)
            .namespace_id(namespace_id)
            .health_check_custom_config(HealthCheckCustomConfig::builder().build())
            .send()
            .await
            .expect("moto makes a service");
        Self {
            service_id: service
                .service()
                .expect("the new service is in the answer")
                .id()
                .expect("a service has an id")
                .to_owned(),
            client,
        }
    }

    async fn register(&self, id: &str, attributes: &[(&str, &str)]) {
        let mut request = self.client.register_instance().service_id(&self.service_id);
        for (key, value) in attributes {
            request = request.attributes(*key, *value);
        }
        request
            .instance_id(id)
            .send()
            .await
            .expect("moto registers an instance");
    }

    async fn register_task(&self, id: &str, address: &str, zone: &str, cluster: &str) {
        self.register(
            id,
            &[
                ("AWS_INSTANCE_IPV4", address),
                ("AWS_INSTANCE_PORT", "8080"),
                ("AVAILABILITY_ZONE", zone),
                ("ECS_CLUSTER_NAME", cluster),
            ],
        )
        .await;
    }

    async fn set_health(&self, id: &str, health: CustomHealthStatus) {
        self.client
            .update_instance_custom_health_status()
            .service_id(&self.service_id)
            .instance_id(id)
            .status(health)
            .send()
            .await
            .expect("moto sets health");
    }

    async fn deregister(&self, id: &str) {
        self.client
            .deregister_instance()
            .service_id(&self.service_id)
            .instance_id(id)
            .send()
            .await
            .expect("moto deregisters an instance");
    }
}

async fn source(moto: &Moto, change: impl FnOnce(&mut CloudMapService)) -> CloudMap {
    let mut service = CloudMapService::new(NAMESPACE, SERVICE);
    change(&mut service);
    let client = CloudMapClient::connect(Some(moto.url()))
        .await
        .expect("the endpoint is a URL");
    client.service(service)
}

/// One word for each endpoint: id, address, zone, and a mark when unhealthy.
fn words(found: &Found) -> Vec<String> {
    let word = |endpoint: &gateway::discovery::FoundEndpoint| {
        let mark = if endpoint.healthy { "" } else { "!" };
        let (id, zone) = (endpoint.id.as_deref(), endpoint.zone.as_deref());
        let (id, zone) = (id.unwrap_or("-"), zone.unwrap_or("-"));
        format!("{mark}{id}={}@{zone}", endpoint.address)
    };
    found.endpoints().iter().map(word).collect()
}

#[tokio::test]
async fn instances_come_change_health_and_go() {
    let moto = Moto::start().await;
    let registry = Registry::create(&moto).await;
    let source = source(&moto, |_| {}).await;
    assert!(words(&source.discover().await.unwrap()).is_empty());

    registry
        .register_task("b", "10.0.0.2", "eu-west-1b", "blue")
        .await;
    registry
        .register_task("a", "10.0.0.1", "eu-west-1a", "blue")
        .await;
    let both = ["a=10.0.0.1:8080@eu-west-1a", "b=10.0.0.2:8080@eu-west-1b"];
    assert_eq!(words(&source.discover().await.unwrap()), both);

    registry
        .set_health("a", CustomHealthStatus::Unhealthy)
        .await;
    assert_eq!(words(&source.discover().await.unwrap()), both[1..]);

    // None is healthy: all are better than none, and say what they are.
    registry
        .set_health("b", CustomHealthStatus::Unhealthy)
        .await;
    let unhealthy = both.map(|word| format!("!{word}"));
    assert_eq!(words(&source.discover().await.unwrap()), unhealthy);

    registry.set_health("a", CustomHealthStatus::Healthy).await;
    registry.deregister("b").await;
    assert_eq!(words(&source.discover().await.unwrap()), both[..1]);
}

#[tokio::test]
async fn attributes_filter_and_the_configured_port_wins() {
    let moto = Moto::start().await;
    let registry = Registry::create(&moto).await;
    registry
        .register_task("a", "10.0.0.1", "eu-west-1a", "blue")
        .await;
    registry
        .register_task("b", "10.0.0.2", "eu-west-1b", "green")
        .await;
    registry
        .register(
            "c",
            &[
                ("AWS_INSTANCE_IPV6", "fd00::3"),
                ("ECS_CLUSTER_NAME", "red"),
            ],
        )
        .await;

    let cases = [
        ("blue", None, "a=10.0.0.1:8080@eu-west-1a"),
        ("green", Some(9090), "b=10.0.0.2:9090@eu-west-1b"),
        ("red", Some(9090), "c=[fd00::3]:9090@-"),
    ];
    for (cluster, port, expected) in cases {
        let source = source(&moto, |service| {
            service.port = port.and_then(std::num::NonZeroU16::new);
            service
                .attributes
                .insert("ECS_CLUSTER_NAME".into(), cluster.into());
        })
        .await;
        assert_eq!(words(&source.discover().await.unwrap()), [expected]);
    }
}

#[tokio::test]
async fn other_attributes_are_carried_for_subsets() {
    let moto = Moto::start().await;
    let registry = Registry::create(&moto).await;
    registry
        .register_task("a", "10.0.0.1", "eu-west-1a", "blue")
        .await;
    let found = source(&moto, |_| {}).await.discover().await.unwrap();
    let attributes = &found.endpoints()[0].attributes;
    let pairs: Vec<_> = attributes
        .iter()
        .map(|(key, value)| (&**key, &**value))
        .collect();
    assert_eq!(pairs, [("ECS_CLUSTER_NAME", "blue")]);
}

#[tokio::test]
async fn the_revision_tells_of_comings_and_goings_before_the_interval_has_passed() {
    let moto = Moto::start().await;
    let registry = Registry::create(&moto).await;
    registry
        .register_task("a", "10.0.0.1", "eu-west-1a", "blue")
        .await;
    let options = WatchOptions {
        interval: Duration::from_hours(1),
        ..WatchOptions::default()
    };
    let source = source(&moto, |service| {
        service.revision_interval = Duration::from_millis(50);
    })
    .await;
    let rng = fastrand::Rng::with_seed(1);
    let (watcher, discovery) = Watcher::new(SERVICE.into(), source, options, rng);
    let mut states = discovery.subscribe();
    let loop_task = tokio::spawn(watcher.run(std::future::pending()));
    let mut wait_for = async |count: usize| {
        let reached = |state: &DiscoveryState| state.found.endpoints().len() == count;
        tokio::time::timeout(DEADLINE, states.wait_for(reached))
            .await
            .unwrap_or_else(|_| panic!("{count} endpoints within {DEADLINE:?}"))
            .expect("the loop runs");
    };
    wait_for(1).await;
    registry
        .register_task("b", "10.0.0.2", "eu-west-1b", "blue")
        .await;
    wait_for(2).await;
    registry.deregister("a").await;
    wait_for(1).await;
    let revisions = discovery.revisions().expect("cloud map has revisions");
    assert!(revisions.count(Look::Changed) >= 2);
    assert_eq!(revisions.count(Look::Failed), 0);
    loop_task.abort();
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let moto = Moto::start().await;
    let _registry = Registry::create(&moto).await;
    let no_service = source(&moto, |service| service.service = "nobody".into()).await;
    let no_namespace = source(&moto, |service| service.namespace = "nowhere".into()).await;
    for (source, name) in [(no_service, "`nobody`"), (no_namespace, "`nowhere`")] {
        let error = source.discover().await.unwrap_err();
        assert_eq!(error.reason(), FailureReason::NotFound, "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[tokio::test]
async fn the_loop_follows_the_registry_and_outlives_it() {
    let moto = Moto::start().await;
    let registry = Registry::create(&moto).await;
    let options = WatchOptions {
        interval: Duration::from_millis(100),
        ..WatchOptions::default()
    };
    let (watcher, discovery) = Watcher::new(
        SERVICE.into(),
        source(&moto, |_| {}).await,
        options,
        fastrand::Rng::with_seed(1),
    );
    let mut states = discovery.subscribe();
    let loop_task = tokio::spawn(watcher.run(std::future::pending()));
    let mut wait_until = async |what: &str, reached: fn(&DiscoveryState) -> bool| {
        tokio::time::timeout(DEADLINE, states.wait_for(reached))
            .await
            .unwrap_or_else(|_| panic!("{what} within {DEADLINE:?}"))
            .expect("the loop runs")
            .clone()
    };

    wait_until("an empty first answer", DiscoveryState::answered).await;
    registry
        .register_task("a", "10.0.0.1", "eu-west-1a", "blue")
        .await;
    let one = |state: &DiscoveryState| state.found.endpoints().len() == 1;
    wait_until("the instance", one).await;

    registry.deregister("a").await;
    let reason = |state: &DiscoveryState| state.failing.as_ref().map(|it| it.error.reason());
    let emptied = wait_until("the empty answer", |state| state.failing.is_some()).await;
    assert_eq!(reason(&emptied), Some(FailureReason::Empty));
    assert!(one(&emptied), "an empty answer does not empty the set");

    drop(moto);
    wait_until("the outage", |state| {
        let failing = state.failing.as_ref();
        failing.is_some_and(|it| it.error.reason() == FailureReason::Outage)
    })
    .await;
    assert!(one(&discovery.state()), "an outage does not empty the set");
    loop_task.abort();
}

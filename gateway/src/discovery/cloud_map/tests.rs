//! The real SDK against a fake server on loopback.

use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::{
    ProvideCredentials, SharedCredentialsProvider, error::CredentialsError, future,
};
use serde_json::json;

use super::{
    fake::{Behaviour, Fake},
    *,
};
use crate::discovery::{
    FailureReason,
    watch::{Discovery, MIN_DELAY, WatchOptions, Watcher},
};

fn users() -> CloudMapService {
    CloudMapService::new("test.shop.local", "users")
}

async fn source(fake: &Fake, service: CloudMapService) -> CloudMap {
    let client = CloudMapClient::connect(Some(&fake.url())).await.unwrap();
    client.service(service)
}

async fn ask(fake: &Fake) -> Result<Found, DiscoverError> {
    source(fake, users()).await.discover().await
}

#[tokio::test]
async fn the_question_is_cloud_maps_own_and_its_host_is_kept() {
    let fake = Fake::replying(200, r#"{"Instances":[]}"#).await;
    let service = CloudMapService {
        attributes: BTreeMap::from([("ECS_CLUSTER_NAME".into(), "blue".into())]),
        ..users()
    };
    source(&fake, service).await.discover().await.unwrap();

    let [seen] = &fake.seen()[..] else {
        panic!("one question is one request: {:?}", fake.seen());
    };
    assert_eq!((&*seen.method, &*seen.path), ("POST", "/"));
    assert_eq!(seen.host, fake.address, "without the prefix `data-`");
    assert_eq!(seen.target, "Route53AutoNaming_v20170314.DiscoverInstances");
    assert!(seen.signed);
    let expected = json!({
        "NamespaceName": "test.shop.local",
        "ServiceName": "users",
        "HealthStatus": "HEALTHY_OR_ELSE_ALL",
        "MaxResults": 1000,
        "QueryParameters": {"ECS_CLUSTER_NAME": "blue"},
    });
    assert_eq!(seen.body, expected);
}

#[tokio::test]
async fn an_answer_becomes_sorted_endpoints() {
    let body = json!({"Instances": [
        {"InstanceId": "b", "HealthStatus": "UNHEALTHY", "Attributes": {
            "AWS_INSTANCE_IPV4": "10.0.0.2", "AWS_INSTANCE_PORT": "8080",
            "AVAILABILITY_ZONE": "eu-west-1b", "ECS_SERVICE_NAME": "users"}},
        {"InstanceId": "a", "HealthStatus": "HEALTHY", "Attributes": {
            "AWS_INSTANCE_IPV4": "10.0.0.1", "AWS_INSTANCE_PORT": "8080",
            "AVAILABILITY_ZONE": "eu-west-1a"}},
    ]});
    let fake = Fake::replying(200, body.to_string()).await;
    let expected = [
        FoundEndpoint {
            zone: Some("eu-west-1a".into()),
            id: Some("a".into()),
            ..FoundEndpoint::new("10.0.0.1:8080".parse().unwrap())
        },
        FoundEndpoint {
            zone: Some("eu-west-1b".into()),
            id: Some("b".into()),
            healthy: false,
            attributes: Arc::new(BTreeMap::from([(
                "ECS_SERVICE_NAME".into(),
                "users".into(),
            )])),
            ..FoundEndpoint::new("10.0.0.2:8080".parse().unwrap())
        },
    ];
    assert_eq!(ask(&fake).await.unwrap().endpoints(), expected);
}

type Attributes = &'static [(&'static str, &'static str)];

#[test]
fn odd_attributes_are_used_or_skipped_by_rule() {
    // Attributes, the configured port or 0, and what comes of them.
    let cases: &[(Attributes, u16, Result<&str, Skip>)] = &[
        (&[("4", "10.0.0.1"), ("P", "80")], 0, Ok("10.0.0.1:80")),
        (&[("4", "10.0.0.1"), ("P", "80")], 81, Ok("10.0.0.1:81")),
        (&[("4", "10.0.0.1")], 81, Ok("10.0.0.1:81")),
        (&[("6", "fd00::1"), ("P", "80")], 0, Ok("[fd00::1]:80")),
        (
            &[("4", "10.0.0.1"), ("6", "fd00::1"), ("P", "80")],
            0,
            Ok("10.0.0.1:80|[fd00::1]:80"),
        ),
        (
            &[("4", "10.0.0.256"), ("6", "fd00::1"), ("P", "80")],
            0,
            Ok("[fd00::1]:80"),
        ),
        (&[("4", "10.0.0.1")], 0, Err(Skip::Port)),
        (&[("4", "10.0.0.1"), ("P", "0")], 0, Err(Skip::Port)),
        (&[("4", "10.0.0.1"), ("P", "65536")], 0, Err(Skip::Port)),
        (&[("4", "10.0.0.1"), ("P", "http")], 0, Err(Skip::Port)),
        (&[("4", "0.0.0.0"), ("P", "80")], 0, Err(Skip::Address)),
        (&[("4", "224.0.0.1"), ("P", "80")], 0, Err(Skip::Address)),
        (&[("4", "users.local"), ("P", "80")], 0, Err(Skip::Address)),
        (&[("4", ""), ("P", "80")], 0, Err(Skip::Address)),
        (&[("P", "80")], 0, Err(Skip::Address)),
        (&[], 80, Err(Skip::Address)),
    ];
    for (attributes, port, expected) in cases {
        let mut instance = HttpInstanceSummary::builder();
        for (key, value) in *attributes {
            let key = match *key {
                "4" => "AWS_INSTANCE_IPV4",
                "6" => "AWS_INSTANCE_IPV6",
                _ => "AWS_INSTANCE_PORT",
            };
            instance = instance.attributes(key, *value);
        }
        let got = endpoint(&instance.build(), NonZeroU16::new(*port));
        let got = got.map(|endpoint| match endpoint.second_address {
            Some(second) => format!("{}|{second}", endpoint.address),
            None => endpoint.address.to_string(),
        });
        assert_eq!(
            got.as_deref().map_err(|skip| *skip),
            *expected,
            "{attributes:?} {port}"
        );
    }
}

#[tokio::test]
async fn unusable_instances_are_skipped_beside_usable_ones() {
    let body = json!({"Instances": [
        {"InstanceId": "a", "Attributes": {"AWS_INSTANCE_IPV4": "10.0.0.1", "AWS_INSTANCE_PORT": "80"}},
        {"InstanceId": "b", "Attributes": {"AWS_INSTANCE_CNAME": "x.example.com"}},
        {"InstanceId": "c"},
        {},
    ]});
    let found = ask(&Fake::replying(200, body.to_string()).await)
        .await
        .unwrap();
    assert_eq!((found.endpoints().len(), found.skipped()), (1, 3));
    assert!(found.endpoints()[0].healthy, "no health is not bad health");
}

#[tokio::test]
async fn an_answer_with_unusable_instances_only_is_an_error_with_a_remedy() {
    let body = json!({"Instances": [{"InstanceId": "a", "Attributes": {"AWS_INSTANCE_IPV4": "10.0.0.1"}}]});
    let error = ask(&Fake::replying(200, body.to_string()).await)
        .await
        .unwrap_err();
    assert_eq!(error.reason(), FailureReason::Invalid);
    assert!(error.to_string().contains("set the upstream's `port`"));
}

#[tokio::test]
async fn each_failure_has_its_own_reason() {
    use FailureReason::{Denied, Invalid, NotFound, Outage, Throttled};
    let code = |code: &str| format!(r#"{{"__type":"{code}","message":"because"}}"#);
    let cases = [
        (400, code("RequestLimitExceeded"), Throttled),
        (400, code("ThrottlingException"), Throttled),
        (429, String::new(), Throttled),
        (400, code("ServiceNotFound"), NotFound),
        (400, code("NamespaceNotFound"), NotFound),
        (400, code("InvalidInput"), Invalid),
        (400, code("AccessDeniedException"), Denied),
        (400, code("UnrecognizedClientException"), Denied),
        (400, code("ExpiredTokenException"), Denied),
        (403, String::new(), Denied),
        (500, code("InternalServiceError"), Outage),
        (503, "<html>busy</html>".into(), Outage),
        (200, "<html>hello</html>".into(), Invalid),
        (200, r#"{"Instances":"#.into(), Invalid),
        (200, r#"{"Instances":7}"#.into(), Invalid),
        (404, "not here".into(), Invalid),
    ];
    for (status, body, expected) in cases {
        let fake = Fake::replying(status, body.clone()).await;
        let error = ask(&fake).await.expect_err(&body);
        assert_eq!(error.reason(), expected, "{status} {body}: {error}");
        assert_eq!(fake.seen().len(), 1, "the SDK does not retry: {error}");
    }
}

#[tokio::test]
async fn a_missing_service_is_named() {
    let body = r#"{"__type":"com.amazonaws.servicediscovery#ServiceNotFound"}"#;
    let error = ask(&Fake::replying(400, body).await).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cloud map service `users` in namespace `test.shop.local` does not exist; \
         check its spelling in the routes file, and that it is deployed"
    );
}

/// Has none, like a task without a role.
#[derive(Debug)]
struct NoCredentials;

impl ProvideCredentials for NoCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("no role")))
    }
}

#[tokio::test]
async fn missing_credentials_are_no_outage() {
    let fake = Fake::replying(200, r#"{"Instances":[]}"#).await;
    let shared = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static("eu-west-1"))
        .credentials_provider(SharedCredentialsProvider::new(NoCredentials))
        .build();
    let client = CloudMapClient::with_config(&shared, Some(fake.url()));
    let error = client.service(users()).discover().await.unwrap_err();
    assert_eq!(error.reason(), FailureReason::Denied, "{error}");
    assert!(error.to_string().contains("give the task a role"));
    assert!(fake.seen().is_empty(), "nothing is sent unsigned");
}

#[tokio::test]
async fn a_server_that_is_not_there_or_resets_is_an_outage() {
    let fake = Fake::start(Behaviour::Reset).await;
    let reset = ask(&fake).await.unwrap_err();
    assert_eq!(reset.reason(), FailureReason::Outage, "{reset}");

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = CloudMapClient::connect(Some(&url)).await.unwrap();
    let refused = client.service(users()).discover().await.unwrap_err();
    assert_eq!(refused.reason(), FailureReason::Outage, "{refused}");
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up() {
    let fake = Fake::start(Behaviour::Hang).await;
    let options = WatchOptions {
        call_timeout: Duration::from_millis(100),
        ..WatchOptions::default()
    };
    let (watcher, discovery) = Watcher::new(
        "users".into(),
        source(&fake, users()).await,
        options,
        fastrand::Rng::with_seed(1),
    );
    let mut states = discovery.subscribe();
    tokio::select! {
        () = watcher.run(std::future::pending()) => {}
        state = states.wait_for(|state| state.failing.is_some()) => {
            let failing = state.unwrap().failing.clone().unwrap();
            assert_eq!(failing.error.reason(), FailureReason::Timeout);
        }
    }
    assert_eq!(fake.seen().len(), 1);
}

#[test]
fn attributes_are_carried_within_their_bounds_and_without_those_of_the_place() {
    let mut instance = HttpInstanceSummary::builder()
        .attributes("AWS_INSTANCE_IPV4", "10.0.0.1")
        .attributes("AWS_INSTANCE_PORT", "80")
        .attributes("AVAILABILITY_ZONE", "eu-west-1a")
        .attributes("too_long", "x".repeat(MAX_ATTRIBUTE_BYTES + 1))
        .attributes("longest", "x".repeat(MAX_ATTRIBUTE_BYTES));
    for index in 0..MAX_ATTRIBUTES {
        instance = instance.attributes(format!("k{index:02}"), "v");
    }
    let attributes = endpoint(&instance.build(), None).unwrap().attributes;
    let keys: Vec<_> = attributes.keys().map(String::as_str).collect();
    assert_eq!(keys.len(), MAX_ATTRIBUTES);
    assert_eq!((keys[0], keys[47]), ("k00", "k47"));
}

const INSTANCES: &str = "DiscoverInstances";
const REVISION: &str = "DiscoverInstancesRevision";

fn reply(status: u16, body: impl Into<String>) -> Behaviour {
    let body = body.into();
    Behaviour::Reply { status, body }
}

/// One instance, at a revision.
fn one(revision: usize) -> Behaviour {
    let body = json!({"InstancesRevision": revision, "Instances": [
        {"InstanceId": "a", "Attributes": {"AWS_INSTANCE_IPV4": "10.0.0.1", "AWS_INSTANCE_PORT": "80"}},
    ]});
    reply(200, body.to_string())
}

fn at_revision(revision: usize) -> Behaviour {
    reply(200, json!({"InstancesRevision": revision}).to_string())
}

fn refusing(code: &str) -> Behaviour {
    reply(
        400,
        json!({"__type": code, "message": "because"}).to_string(),
    )
}

/// Questions that come only with the revision, and looks that come fast.
const EAGER: Duration = Duration::from_millis(2);

/// Runs the loop until a condition on the fake and the discovery holds.
async fn run_until(fake: &Fake, interval: Duration, is_reached: impl Fn(&Discovery) -> bool) {
    let service = CloudMapService {
        revision_interval: EAGER,
        ..users()
    };
    let options = WatchOptions {
        interval,
        ..WatchOptions::default()
    };
    let source = source(fake, service).await;
    let rng = fastrand::Rng::with_seed(1);
    let (watcher, discovery) = Watcher::new("users".into(), source, options, rng);
    let reached = async {
        while !is_reached(&discovery) {
            tokio::time::sleep(EAGER).await;
        }
    };
    tokio::select! {
        () = watcher.run(std::future::pending()) => {}
        reached = tokio::time::timeout(Duration::from_secs(20), reached) => {
            reached.expect("reached in time");
        }
    }
}

/// Longer than any of these tests lasts.
const NEVER: Duration = Duration::from_hours(1);

fn looks(discovery: &Discovery, look: Look) -> u64 {
    discovery.revisions().unwrap().count(look)
}

#[tokio::test]
async fn a_new_revision_is_a_reason_to_ask_before_the_interval_has_passed() {
    let fake = Fake::playing(|operation, nth| match operation {
        INSTANCES => one(1),
        // Two registrations, seen as one; later a look at it is the same.
        _ => at_revision(if nth < 3 { 1 } else { 3 }),
    })
    .await;
    run_until(&fake, NEVER, |discovery| looks(discovery, Look::Same) >= 6).await;
    assert_eq!(fake.calls(INSTANCES), 2);
    let expected = json!({"NamespaceName": "test.shop.local", "ServiceName": "users"});
    let seen = fake.seen();
    let look = seen.iter().find(|seen| seen.target.ends_with(REVISION));
    assert_eq!(look.unwrap().body, expected);
}

#[tokio::test]
async fn a_revision_that_filters_make_another_one_is_asked_for_once() {
    let fake = Fake::playing(|operation, _| match operation {
        INSTANCES => one(1),
        _ => at_revision(7),
    })
    .await;
    run_until(&fake, NEVER, |discovery| looks(discovery, Look::Same) >= 5).await;
    assert_eq!(fake.calls(INSTANCES), 2);
}

#[tokio::test]
async fn looks_end_where_they_are_not_allowed_and_questions_go_on() {
    for code in ["AccessDeniedException", "UnknownOperationException"] {
        let code = code.to_owned();
        let fake = Fake::playing(move |operation, _| match operation {
            INSTANCES => one(1),
            _ => refusing(&code),
        })
        .await;
        let asked_often = |discovery: &Discovery| discovery.stats().successes() >= 5;
        run_until(&fake, MIN_DELAY, asked_often).await;
        assert_eq!(fake.calls(REVISION), 1);
    }
}

#[tokio::test]
async fn expired_credentials_do_not_end_looks() {
    let fake = Fake::playing(|operation, nth| match (operation, nth) {
        (INSTANCES, _) => one(1),
        (_, 0) => refusing("ExpiredTokenException"),
        (_, 1) => Behaviour::Reset,
        (_, 2) => reply(500, ""),
        _ => at_revision(1),
    })
    .await;
    run_until(&fake, NEVER, |discovery| looks(discovery, Look::Same) >= 1).await;
    assert_eq!((fake.calls(INSTANCES), fake.calls(REVISION)), (1, 4));
}

#[tokio::test]
async fn a_throttled_look_is_followed_by_a_pause() {
    let fake = Fake::playing(|operation, _| match operation {
        INSTANCES => one(1),
        _ => refusing("RequestLimitExceeded"),
    })
    .await;
    let asked_often = |discovery: &Discovery| {
        discovery.stats().successes() >= 5 && looks(discovery, Look::Throttled) > 0
    };
    run_until(&fake, MIN_DELAY, asked_often).await;
    assert_eq!(fake.calls(REVISION), 1, "half of five seconds at least");
}

#[tokio::test]
async fn a_failing_source_is_not_looked_at() {
    let fake = Fake::playing(|operation, nth| match (operation, nth) {
        (INSTANCES, 0) => refusing("RequestLimitExceeded"),
        _ => one(1),
    })
    .await;
    run_until(&fake, MIN_DELAY, |discovery| discovery.state().answered()).await;
    let operations = fake.seen();
    let operations: Vec<_> = operations.iter().map(|seen| seen.target.as_str()).collect();
    let question = "Route53AutoNaming_v20170314.DiscoverInstances";
    assert_eq!(operations, [question, question]);
}

#[tokio::test(start_paused = true)]
async fn sources_of_one_client_keep_to_its_budget_together() {
    let fake = Fake::replying(200, "{}").await;
    let client = CloudMapClient::connect(Some(&fake.url())).await.unwrap();
    let sources = ["a", "b"].map(|name| client.service(CloudMapService::new("shop", name)));
    let start = Instant::now();
    for turn in 0..50 {
        sources[turn % 2].turn().await;
    }
    // Twenty at once, and ten a second: the timer rounds each wait up to a millisecond.
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(3), "{took:?}");
    assert!(took <= Duration::from_millis(3_100), "{took:?}");
}

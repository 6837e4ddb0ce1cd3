//! The directory's rules, one table or one story each.

use super::*;

const SEED: u64 = 7;

fn directory() -> Directory {
    Directory::new(
        "test.local",
        &[("srv-users", "users")],
        fastrand::Rng::with_seed(SEED),
    )
}

fn attributes(extra: &[(&str, &str)]) -> Attributes {
    [
        ("AWS_INSTANCE_IPV4", "127.0.0.1"),
        ("AWS_INSTANCE_PORT", "8081"),
    ]
    .iter()
    .chain(extra)
    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
    .collect()
}

fn users() -> Query {
    Query {
        namespace_name: "test.local".to_owned(),
        service_name: "users".to_owned(),
        ..Query::default()
    }
}

fn ids(directory: &Directory, query: &Query) -> Vec<String> {
    let (found, _) = directory.discover(query).unwrap();
    let mut ids: Vec<_> = found.into_iter().map(|found| found.instance_id).collect();
    ids.sort();
    ids
}

#[test]
fn health_selects_as_cloud_map_does() {
    use HealthFilter::{All, Healthy, HealthyOrElseAll, Unhealthy};
    let directory = directory();
    for id in ["a", "b"] {
        directory
            .register("srv-users", id, attributes(&[]))
            .unwrap();
    }
    directory
        .set_health("srv-users", "b", Health::Unhealthy)
        .unwrap();
    let check = |filter, expected: &[&str]| {
        let query = Query {
            health_status: filter,
            ..users()
        };
        assert_eq!(ids(&directory, &query), expected, "{filter:?}");
    };
    check(None, &["a"]);
    check(Some(Healthy), &["a"]);
    check(Some(Unhealthy), &["b"]);
    check(Some(All), &["a", "b"]);
    check(Some(HealthyOrElseAll), &["a"]);
    directory
        .set_health("srv-users", "a", Health::Unhealthy)
        .unwrap();
    check(Some(Healthy), &[]);
    check(Some(HealthyOrElseAll), &["a", "b"]);
}

#[test]
fn query_parameters_are_strict_and_optional_ones_are_not() {
    let directory = directory();
    for (id, zone) in [("a", "one"), ("b", "two")] {
        let attributes = attributes(&[("AVAILABILITY_ZONE", zone)]);
        directory.register("srv-users", id, attributes).unwrap();
    }
    let zone = |zone: &str| {
        Some(Attributes::from([(
            "AVAILABILITY_ZONE".to_owned(),
            zone.to_owned(),
        )]))
    };
    let strict = |name| {
        ids(
            &directory,
            &Query {
                query_parameters: zone(name),
                ..users()
            },
        )
    };
    let wished = |name| {
        ids(
            &directory,
            &Query {
                optional_parameters: zone(name),
                ..users()
            },
        )
    };
    assert_eq!(strict("two"), ["b"]);
    assert_eq!(strict("three"), [""; 0]);
    assert_eq!(wished("two"), ["b"]);
    assert_eq!(wished("three"), ["a", "b"]);
}

#[test]
fn the_revision_moves_on_register_and_deregister_but_not_on_health() {
    let directory = directory();
    let revision = || directory.revision("test.local", "users").unwrap();
    let start = revision();
    directory
        .register("srv-users", "a", attributes(&[]))
        .unwrap();
    assert_eq!(revision(), start + 1);
    directory
        .set_health("srv-users", "a", Health::Unhealthy)
        .unwrap();
    assert_eq!(revision(), start + 1);
    directory.deregister("srv-users", "a").unwrap();
    assert_eq!(revision(), start + 2);
}

#[test]
fn answers_come_in_random_order_and_never_beyond_the_limit() {
    let directory = directory();
    for id in 0..20 {
        directory
            .register("srv-users", &format!("i{id}"), attributes(&[]))
            .unwrap();
    }
    let order = |limit| {
        let query = Query {
            max_results: Some(limit),
            ..users()
        };
        let (found, _) = directory.discover(&query).unwrap();
        found
            .into_iter()
            .map(|found| found.instance_id)
            .collect::<Vec<_>>()
    };
    assert_ne!(order(20), order(20), "seed {SEED}");
    assert_eq!(order(3).len(), 3);
}

#[test]
fn a_service_holds_no_more_than_its_limit_and_a_known_instance_may_register_again() {
    let directory = directory();
    let register = |id: usize| directory.register("srv-users", &format!("i{id}"), attributes(&[]));
    for id in 0..MAX_INSTANCES {
        register(id).unwrap();
    }
    assert_eq!(
        register(MAX_INSTANCES).unwrap_err().code(),
        "ResourceLimitExceeded"
    );
    register(0).unwrap();
}

#[test]
fn bad_instances_are_refused() {
    let directory = directory();
    let long = "x".repeat(MAX_INSTANCE_ID_BYTES + 1);
    let check = |service, id: &str, extra: &[(&str, &str)], code| {
        let refused = directory
            .register(service, id, attributes(extra))
            .unwrap_err();
        assert_eq!(refused.code(), code, "{service} {id} {extra:?}");
    };
    check("srv-none", "a", &[], "ServiceNotFound");
    check("srv-users", "", &[], "InvalidInput");
    check("srv-users", "a b", &[], "InvalidInput");
    check("srv-users", &long, &[], "InvalidInput");
    for extra in [
        ("AWS_INSTANCE_IPV4", "localhost"),
        ("AWS_INSTANCE_IPV6", "127.0.0.1"),
        ("AWS_INSTANCE_PORT", "0"),
        ("AWS_INSTANCE_PORT", "65536"),
        ("AWS_INIT_HEALTH_STATUS", "fine"),
        ("with space", "v"),
        ("name", "two\nlines"),
    ] {
        check("srv-users", "a", &[extra], "InvalidInput");
    }
    let no_address = directory.register("srv-users", "a", Attributes::new());
    assert_eq!(no_address.unwrap_err().code(), "InvalidInput");
}

#[test]
fn questions_about_what_is_not_there_are_refused() {
    let directory = directory();
    let code = |query: Query| directory.discover(&query).unwrap_err().code();
    assert_eq!(
        code(Query {
            namespace_name: "x".to_owned(),
            ..users()
        }),
        "NamespaceNotFound"
    );
    assert_eq!(
        code(Query {
            service_name: "x".to_owned(),
            ..users()
        }),
        "ServiceNotFound"
    );
    assert_eq!(
        code(Query {
            max_results: Some(0),
            ..users()
        }),
        "InvalidInput"
    );
    assert_eq!(
        code(Query {
            max_results: Some(1_001),
            ..users()
        }),
        "InvalidInput"
    );
    let gone = directory.deregister("srv-users", "a").unwrap_err();
    assert_eq!(gone.code(), "InstanceNotFound");
}

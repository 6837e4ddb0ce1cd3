//! Instances found by an emulator of Cloud Map that others wrote.

use std::net::SocketAddr;

use aws_sdk_servicediscovery::Client;
use aws_sdk_servicediscovery::config::{BehaviorVersion, Config, Credentials, Region};
use mesh::testing::parts::moto::Moto;
use nix::sys::signal::Signal;

use super::{Scenario, row};
use crate::registry::{NAMESPACE, SERVICE};
use crate::report::Expected::AllServed;
use crate::report::Played;
use crate::stage::{Form, Stage};
use crate::support::runtime;

pub(super) const ROWS: &[Scenario] = &[
    row("moto: instances come and go", AllServed, come_and_go),
    row("moto: killed", AllServed, killed),
];

/// Time between two questions of the gateway, and some.
const INTERVALS: std::time::Duration = std::time::Duration::from_millis(1_500);

/// The registering side, as ECS plays it.
struct Namespace {
    moto: Moto,
    client: Client,
    service_id: String,
}

impl Namespace {
    async fn create() -> Self {
        let moto = Moto::start().await;
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(moto.url())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .build();
        let client = Client::from_conf(config);
        let namespace = client.create_private_dns_namespace().name(NAMESPACE);
        namespace
            .vpc("vpc-1")
            .send()
            .await
            .expect("moto makes a namespace");
        let namespaces = client.list_namespaces().send().await;
        let namespaces = namespaces.expect("moto lists namespaces");
        let id = namespaces.namespaces()[0].id().expect("it has an id");
        let service = client.create_service().name(SERVICE).namespace_id(id);
        let service = service.send().await.expect("moto makes a service");
        let service_id = service.service().and_then(|service| service.id());
        Self {
            service_id: service_id.expect("it has an id").to_owned(),
            client,
            moto,
        }
    }

    fn register(&self, address: SocketAddr) {
        let request = self.client.register_instance().service_id(&self.service_id);
        let request = request
            .instance_id(format!("task-{}", address.port()))
            .attributes("AWS_INSTANCE_IPV4", address.ip().to_string())
            .attributes("AWS_INSTANCE_PORT", address.port().to_string());
        let registered = runtime().block_on(request.send());
        registered.expect("moto registers an instance");
    }

    fn deregister(&self, address: SocketAddr) {
        let request = self.client.deregister_instance();
        let request = request.service_id(&self.service_id);
        let request = request.instance_id(format!("task-{}", address.port()));
        let deregistered = runtime().block_on(request.send());
        deregistered.expect("moto deregisters an instance");
    }
}

fn open(form: Form) -> (Stage, Namespace) {
    let mut stage = Stage::without_gateway(form);
    let namespace = runtime().block_on(Namespace::create());
    for address in stage.addresses() {
        namespace.register(address);
    }
    stage.start_gateway_by_cloud_map(namespace.moto.url());
    (stage, namespace)
}

fn come_and_go(form: Form) -> Played {
    let (stage, namespace) = open(form);
    stage.play(|stage, load| {
        let new = stage.start_instance();
        namespace.register(new.address());
        stage.instances.push(new);
        load.goes_on_for(INTERVALS);
        let mut old = stage.instances.remove(0);
        namespace.deregister(old.address());
        old.signal(Signal::SIGTERM);
        load.goes_on_for(INTERVALS);
        old.has_left();
    })
}

fn killed(form: Form) -> Played {
    let (stage, namespace) = open(form);
    stage.play(|stage, load| {
        drop(namespace);
        load.goes_on_for(stage.form.beat.max(INTERVALS));
    })
}

//! Where a scenario is played: upstream instances and gateways, each a process of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::instance::Instance;
use crate::journal::Notes;
use crate::load::Load;
use crate::name_server;
use crate::registry::{NAMESPACE, SERVICE};
use crate::report::Played;
use crate::support::eventually;
use crate::support::http_client::{Fetch as _, client};
use crate::support::process::Process;

/// How long and how hard a scenario is played.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    /// Requests a second.
    pub(crate) rate: u32,
    /// The time that a change is given to show its effect.
    pub(crate) beat: Duration,
}

/// Instances of the upstream at the start.
const INSTANCES: usize = 3;

/// Longer than `per_try_timeout` below: what hangs for so long must be noticed.
pub(crate) const HANGING: Duration = Duration::from_millis(1_500);

/// As somebody writes it who has read the documentation: what may be repeated gets two further
/// tries, none of them long, and what may not gets one with all the time there is. 503 is for what
/// it is said to be, and no answer is a stream, so each may be waited for to its end. The times for
/// leaving are short, because a run waits for them.
const ROUTES: &str = "\
version: 1
workers: 2
listeners: [{address: \"127.0.0.1:0\"}]
admin: {address: \"127.0.0.1:0\"}
access_log: {format: none}
shutdown: {lame_duck: 1s, drain: 5s}
routes:
  - name: read
    match: {path_prefix: /orders, methods: [GET]}
    auth: none
    timeout: 5s
    retries:
      attempts: 2
      per_try_timeout: 1s
      retry_on: [connect_failure, reset, timeout, invalid_answer, 503]
      hold_answers: {unknown_length: 500ms}
    backends: [{upstream: orders}]
  - name: write
    match: {path_prefix: /orders, methods: [POST]}
    auth: none
    timeout: 3s
    backends: [{upstream: orders}]
";

/// A gateway's process.
pub(crate) struct GatewayProcess {
    process: Process,
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
}

impl GatewayProcess {
    fn start(arguments: &[&str], routes: &Path) -> Self {
        let routes = routes.to_str().expect("a folder of the suite's own");
        let process = Process::start(&[&["run", "--config", routes], arguments].concat());
        let line = process.wait_for("listening");
        let address = |field: &str| line[field].as_str().and_then(|text| text.parse().ok());
        let gateway = Self {
            process,
            address: address("address").expect("an address"),
            admin: address("admin").expect("an address"),
        };
        eventually("the gateway is ready", || gateway.is_ready().then_some(()));
        gateway
    }

    /// Waits until it accepts in place of another process.
    fn has_taken_over(&self) {
        self.process
            .wait_for("taken over: the old process accepts no more");
    }

    /// What a load balancer's health check finds.
    pub(crate) fn is_ready(&self) -> bool {
        let reply = client()
            .get(format!("http://{}/readyz", self.admin))
            .try_fetch();
        reply.is_ok_and(|reply| reply.status() == 200)
    }

    /// Tells it to leave.
    pub(crate) fn terminate(&self) {
        self.process.signal(Signal::SIGTERM);
    }

    /// Has it read its routes file again, and waits for this line of its log.
    pub(crate) fn reload(&self, told: &str) {
        self.process.signal(Signal::SIGHUP);
        self.process.wait_for(told);
    }

    /// Waits until it has left in good order.
    pub(crate) fn has_left(self) {
        let (code, _) = self.process.ended();
        assert_eq!(code, Some(0), "the gateway's exit code");
    }
}

/// Instances and gateways of one scenario.
pub(crate) struct Stage {
    pub(crate) form: Form,
    pub(crate) instances: Vec<Instance>,
    pub(crate) gateways: Vec<GatewayProcess>,
    journals: Vec<PathBuf>,
    directory: TempDir,
}

impl Stage {
    /// Three instances, and no gateway yet.
    pub(crate) fn without_gateway(form: Form) -> Self {
        let mut stage = Self {
            form,
            instances: Vec::new(),
            gateways: Vec::new(),
            journals: Vec::new(),
            directory: tempfile::tempdir().expect("a folder can be made"),
        };
        for _ in 0..INSTANCES {
            let instance = stage.start_instance();
            stage.instances.push(instance);
        }
        stage
    }

    /// Three instances at addresses that a gateway's file names.
    pub(crate) fn with_static_instances(form: Form) -> Self {
        let mut stage = Self::without_gateway(form);
        let upstream = stage.static_upstream();
        stage.start_gateway(&upstream, "");
        stage
    }

    /// The same behind a gateway that another process may take over from.
    pub(crate) fn with_replaceable_gateway(form: Form) -> Self {
        let mut stage = Self::without_gateway(form);
        let socket = stage.directory.path().join("upgrade.sock");
        let upgrade = format!("upgrade: {{socket: \"{}\"}}\n", socket.display());
        let upstream = stage.static_upstream();
        stage.start_gateway(&upstream, &upgrade);
        stage
    }

    /// The upstream that lists all instances.
    pub(crate) fn static_upstream(&self) -> String {
        let addresses = self.addresses().map(|address| format!("\"{address}\""));
        let addresses = addresses.collect::<Vec<_>>().join(", ");
        format!("static: [{addresses}]")
    }

    /// A gateway that finds the instances by this Cloud Map.
    pub(crate) fn start_gateway_by_cloud_map(&mut self, url: &str) {
        let source = format!(
            "cloud_map: {{namespace: {NAMESPACE}, service: {SERVICE}, interval: 1s, \
             endpoint: \"{url}\"}}"
        );
        self.start_gateway(&source, "");
    }

    /// A gateway that finds the instances by asking this name server.
    pub(crate) fn start_gateway_by_name(&mut self, server: SocketAddr) {
        let source = format!("dns: {{srv: {}, min_ttl: 1s}}", name_server::SERVICE);
        let servers = format!("dns: {{servers: [\"{server}\"], timeout: 200ms}}\n");
        self.start_gateway(&source, &servers);
    }

    fn start_gateway(&mut self, source: &str, more: &str) {
        self.write_routes(source, more);
        self.start_another_gateway();
    }

    /// Writes the file for gateways; `more` comes after all else.
    pub(crate) fn write_routes(&self, upstream: &str, more: &str) {
        let text = format!("{ROUTES}{more}upstreams: {{orders: {{{upstream}}}}}\n");
        std::fs::write(self.routes(), text).expect("a folder of the suite's own");
    }

    /// One more by the same file.
    pub(crate) fn start_another_gateway(&mut self) {
        let gateway = GatewayProcess::start(&[], &self.routes());
        self.gateways.push(gateway);
    }

    /// Puts a new process in the place of the only gateway; gives the old one, which leaves.
    pub(crate) fn upgrade_gateway(&mut self) -> GatewayProcess {
        let new = GatewayProcess::start(&["--upgrade"], &self.routes());
        new.has_taken_over();
        assert_eq!(
            new.address, self.gateways[0].address,
            "it stays where it was"
        );
        std::mem::replace(&mut self.gateways[0], new)
    }

    fn routes(&self) -> PathBuf {
        self.directory.path().join("routes.yaml")
    }

    /// One more instance, which nobody knows yet.
    pub(crate) fn start_instance(&mut self) -> Instance {
        let name = format!("journal-{}", self.journals.len());
        let journal = self.directory.path().join(name);
        let instance = Instance::start(journal.clone());
        self.journals.push(journal);
        instance
    }

    /// Where the instances listen.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.instances.iter().map(Instance::address)
    }

    /// Plays a scene under load, between two half beats of rest.
    pub(crate) fn play(mut self, scene: impl FnOnce(&mut Self, &Load)) -> Played {
        let targets = self.gateways.iter().map(|gateway| gateway.address);
        let load = Load::start(targets.collect(), self.form.rate);
        load.goes_on_for(self.form.beat / 2);
        scene(&mut self, &load);
        load.goes_on_for(self.form.beat / 2);
        let outcome = load.finish();
        for gateway in &self.gateways {
            assert!(gateway.is_ready(), "a gateway is well at the end");
        }
        let notes = Notes::read(self.journals.iter().map(PathBuf::as_path));
        Played { outcome, notes }
    }
}

//! A gateway on free ports of the loopback interface.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use gateway::{ConfigSource, Gateway, Handle, Options};
use gateway_core::config::Source;
use gateway_core::file::{self, Settings};
use http::Method;
use mesh::shutdown::Signal;
use reqwest::RequestBuilder;
use serde_json::Value;
use tempfile::TempDir;

use super::backend::Backend;
use super::eventually;
use super::http_client::{Fetch as _, Reply, client};
use super::metrics::Metrics;
use super::wire::Wire;

/// What every file begins with; a test adds the rest, `workers` included where one is too few.
const PREAMBLE: &str = "\
version: 1
listeners: [{address: \"127.0.0.1:0\"}]
admin: {address: \"127.0.0.1:0\"}
access_log: {output: \"${ACCESS_LOG}\"}
";

/// The name of the file that a gateway reads again.
const ROUTES: &str = "routes.yaml";

/// One route for everything.
pub(crate) const ONE_ROUTE: &str = "
upstreams: {backend: {static: [\"${BACKEND}\"]}}
routes:
  - {name: all, match: {path_prefix: /}, auth: none, backends: [{upstream: backend}]}
";

/// A running gateway; it leaves when dropped.
pub(crate) struct TestGateway {
    handle: Handle,
    access_log: PathBuf,
    directory: TempDir,
}

impl TestGateway {
    /// Starts a gateway by a routes file with these variables.
    pub(crate) fn start(yaml: &str, variables: &[(&str, &dyn Display)]) -> Self {
        Self::start_accelerated(yaml, variables, 1)
    }

    /// The same, with a key engine whose hours pass `factor` times faster.
    pub(crate) fn start_accelerated(
        yaml: &str,
        variables: &[(&str, &dyn Display)],
        factor: u32,
    ) -> Self {
        Self::build(yaml, variables, Options::accelerated(factor), |_| {})
    }

    /// The same, with settings that no file may have: times that a test can wait for.
    pub(crate) fn start_changed(
        yaml: &str,
        variables: &[(&str, &dyn Display)],
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        Self::build(yaml, variables, Options::default(), change)
    }

    fn build(
        yaml: &str,
        variables: &[(&str, &dyn Display)],
        options: Options,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let access_log = directory.path().join("access.log");
        let text = whole(yaml);
        let source = Source {
            name: "the test's file",
            text: &text,
        };
        let look_up = |name: &str| {
            if name == "ACCESS_LOG" {
                return Some(access_log.display().to_string());
            }
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| value.to_string())
        };
        let compiled = file::read(source, &look_up);
        let mut compiled = compiled.unwrap_or_else(|problems| panic!("{problems}"));
        change(&mut compiled.settings);
        let gateway =
            Gateway::build_with(compiled, options).unwrap_or_else(|error| panic!("{error}"));
        Self {
            handle: gateway.spawn().expect("a thread can be started"),
            access_log,
            directory,
        }
    }

    /// A gateway that reads its file again when it is asked to: [`Self::routes`] is where it lies. Variables are put
    /// in as it is written.
    pub(crate) fn start_by_file(yaml: &str) -> Self {
        Self::start_by_file_with(yaml, Options::unwatched())
    }

    /// The same, and it looks by itself whether the file is another one.
    pub(crate) fn start_watching_file(yaml: &str) -> Self {
        Self::start_by_file_with(yaml, Options::default())
    }

    fn start_by_file_with(yaml: &str, options: Options) -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let access_log = directory.path().join("access.log");
        let path = directory.path().join(ROUTES);
        std::fs::write(&path, whole(yaml)).expect("a file can be written");
        let log = access_log.display().to_string();
        let source = ConfigSource::file_with(path, move |name| {
            (name == "ACCESS_LOG").then(|| log.clone())
        });
        let gateway = Gateway::build_from(source, options);
        let gateway = gateway.unwrap_or_else(|error| panic!("{error}"));
        Self {
            handle: gateway.spawn().expect("a thread can be started"),
            access_log,
            directory,
        }
    }

    /// The file of a gateway that reads it again.
    pub(crate) fn routes(&self) -> PathBuf {
        self.directory.path().join(ROUTES)
    }

    /// Writes that file anew, and has it read.
    pub(crate) fn reload(&self, yaml: &str) -> Reply {
        std::fs::write(self.routes(), whole(yaml)).expect("a file can be written");
        self.post_admin("/reload").fetch()
    }

    /// The same, where nothing may be wrong with it.
    pub(crate) fn reload_well(&self, yaml: &str) -> Value {
        let reply = self.reload(yaml);
        assert_eq!(reply.status(), 200, "{}", reply.text());
        reply.json()
    }

    /// Tells the admin listener.
    pub(crate) fn post_admin(&self, path: &str) -> RequestBuilder {
        client().post(format!("http://{}{path}", self.admin_address()))
    }

    /// One route for everything, to one upstream.
    pub(crate) fn in_front_of(backend: &Backend) -> Self {
        Self::with("", backend)
    }

    /// The same, with more settings.
    pub(crate) fn with(settings: &str, backend: &Backend) -> Self {
        let yaml = format!("{settings}\n{ONE_ROUTE}");
        Self::start(&yaml, &[("BACKEND", &backend.address())])
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.handle.addresses[0]
    }

    /// Where health, readiness and metrics are.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.handle.admin
    }

    /// A connection on which a test writes bytes.
    pub(crate) fn wire(&self) -> Wire {
        Wire::connect(self.address())
    }

    /// A request of the HTTP client.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        client().request(method, format!("http://{}{path}", self.address()))
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    /// A request of the HTTP client to the admin listener.
    pub(crate) fn admin_request(&self, method: Method, path: &str) -> RequestBuilder {
        client().request(method, format!("http://{}{path}", self.admin_address()))
    }

    /// Asks the admin listener.
    pub(crate) fn admin(&self, path: &str) -> Reply {
        client()
            .get(format!("http://{}{path}", self.admin_address()))
            .fetch()
    }

    pub(crate) fn metrics(&self) -> Metrics {
        Metrics::parse(&self.admin("/metrics").text())
    }

    /// Waits until a metric has a value.
    pub(crate) fn wait_for_metric(&self, series: &str, value: u64) {
        eventually(&format!("{series} is {value}"), || {
            (self.metrics().value(series) == value).then_some(())
        });
    }

    /// Waits until it says that it is ready.
    pub(crate) fn wait_until_ready(&self) {
        eventually("it is ready", || {
            (self.admin("/readyz").status() == 200).then_some(())
        });
    }

    /// Waits until discovery has failed at least once.
    pub(crate) fn wait_for_failed_discovery(&self) {
        eventually("discovery fails", || {
            let metrics = self.metrics();
            let outcomes = metrics.series("gateway_discovery_answers_total");
            let failed = |(series, count): &(&str, u64)| !series.contains("success") && *count > 0;
            outcomes.iter().any(failed).then_some(())
        });
    }

    /// Waits until the access log holds this many lines, and reads them.
    pub(crate) fn access_lines(&self, count: usize) -> Vec<Value> {
        access_lines(&self.access_log, count)
    }

    pub(crate) fn access_log(&self) -> &Path {
        &self.access_log
    }

    /// Asks it to leave, as the signal would.
    pub(crate) fn stop(&self, signal: Signal) {
        self.handle.stop(signal);
    }

    /// Waits until it has left.
    pub(crate) fn join(self) {
        self.handle.join();
    }
}

/// A whole file.
pub(crate) fn whole(yaml: &str) -> String {
    let workers = if yaml.contains("workers:") {
        ""
    } else {
        "workers: 1\n"
    };
    let is_own = |line: &str| {
        let section = line.split_once(':').map(|(section, _)| section);
        let own = |section| move |line: &str| line.split(':').next() == Some(section);
        section.is_some_and(|section| yaml.lines().any(own(section)))
    };
    let preamble = PREAMBLE.split_inclusive('\n');
    let preamble = preamble.filter(|line| !is_own(line));
    format!("{}{workers}{yaml}", preamble.collect::<String>())
}

/// The same of a log that is not JSON.
pub(crate) fn text_lines(path: &Path, count: usize) -> Vec<String> {
    eventually(&format!("{count} lines"), || {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        (lines.len() >= count).then_some(lines)
    })
}

/// Waits until an access log holds this many lines, and reads them.
pub(crate) fn access_lines(path: &Path, count: usize) -> Vec<Value> {
    eventually(&format!("{count} access lines"), || {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines = text.lines().map(|line| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
        });
        let lines: Vec<Value> = lines.collect();
        (lines.len() >= count).then_some(lines)
    })
}

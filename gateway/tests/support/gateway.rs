//! A gateway on free ports of the loopback interface.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use gateway::{Gateway, Handle, Options};
use gateway_core::config::Source;
use gateway_core::file;
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
    _directory: TempDir,
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
        let directory = tempfile::tempdir().expect("a directory can be made");
        let access_log = directory.path().join("access.log");
        let workers = if yaml.contains("workers:") {
            ""
        } else {
            "workers: 1\n"
        };
        let text = format!("{PREAMBLE}{workers}{yaml}");
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
        let compiled = file::read(source, &look_up).unwrap_or_else(|problems| panic!("{problems}"));
        let gateway = Gateway::build_with(compiled, Options::accelerated(factor))
            .unwrap_or_else(|error| panic!("{error}"));
        Self {
            handle: gateway.spawn().expect("a thread can be started"),
            access_log,
            _directory: directory,
        }
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

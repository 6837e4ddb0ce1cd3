//! Who watches which upstream's endpoints: sources that are alike are watched once.

use std::env;
use std::sync::Arc;
use std::time::Duration;

use gateway_core::cluster::Instance;
use gateway_core::file::{CloudMap, Dns, DnsName, EndpointSource, NameServers, Settings};
use gateway_core::words::time::Millis;
use tokio::runtime::{Builder, Runtime};

use super::Cause;
use crate::discovery::cloud_map::{ClientError, CloudMapClient, CloudMapService};
use crate::discovery::dns::{DnsError, DnsResolver, TtlBounds};
use crate::discovery::own_zone::{METADATA_VARIABLE, own_zone};
use crate::discovery::watch::{Discovery, WatchOptions, Watcher};
use crate::discovery::{FoundEndpoint, Source};
use crate::fetch::Fetcher;
use crate::proxy::Live;

/// What asks for endpoints, and who listens.
#[derive(Default)]
pub(super) struct Watches {
    /// One for each source that differs from the others.
    pub(super) watchers: Vec<Watcher<Source>>,
    /// By the cluster's index; none for lists in files.
    pub(super) discoveries: Vec<Option<Discovery>>,
}

/// Prepares discovery; static upstreams get their endpoints here and now.
pub(super) fn watches(live: &Live, settings: &Settings, now: Millis) -> Result<Watches, Cause> {
    let mut sources = Sources::new(&settings.name_servers);
    let mut prepared = Watches::default();
    let mut known: Vec<(&EndpointSource, Discovery)> = Vec::new();
    let clusters = live.plan.clusters.iter().enumerate();
    for ((index, cluster), wanted) in clusters.zip(&settings.endpoint_sources) {
        if let EndpointSource::Static(instances) = wanted {
            live.publish(index, instances.iter().cloned(), now);
        }
        if let Some((_, discovery)) = known.iter().find(|(source, _)| is_shared(source, wanted)) {
            prepared.discoveries.push(Some(discovery.clone()));
            continue;
        }
        let Some((source, interval)) = sources.source(&cluster.name, wanted)? else {
            prepared.discoveries.push(None);
            continue;
        };
        let options = WatchOptions {
            interval,
            ..WatchOptions::default()
        };
        let names = sharing(live, settings, wanted);
        let (watcher, discovery) = Watcher::new(names, source, options, fastrand::Rng::new());
        known.push((wanted, discovery.clone()));
        prepared.watchers.push(watcher);
        prepared.discoveries.push(Some(discovery));
    }
    Ok(prepared)
}

/// Whether one watch does for both. A port or an interval of its own makes another question.
fn is_shared(one: &EndpointSource, other: &EndpointSource) -> bool {
    match one {
        EndpointSource::CloudMap(_) | EndpointSource::Dns(_) => one == other,
        EndpointSource::Static(_) | EndpointSource::File(_) => false,
    }
}

/// The upstreams of one watch, as its log lines name them.
fn sharing(live: &Live, settings: &Settings, source: &EndpointSource) -> Arc<str> {
    let clusters = live.plan.clusters.iter().zip(&settings.endpoint_sources);
    let names = clusters.filter(|(_, other)| is_shared(source, other));
    let names: Vec<_> = names.map(|(cluster, _)| &*cluster.name).collect();
    names.join(", ").into()
}

/// What core is to know of an endpoint.
pub(super) fn instance(endpoint: &FoundEndpoint) -> Instance {
    Instance {
        address: endpoint.address,
        second_address: endpoint.second_address,
        zone: endpoint.zone.clone(),
        weight: endpoint.weight,
        attributes: Arc::clone(&endpoint.attributes),
    }
}

/// Clients that several upstreams share; each is made when the first upstream wants it.
struct Sources<'a> {
    cloud_map: Vec<(Option<String>, CloudMapClient)>,
    name_servers: &'a NameServers,
    dns: Option<DnsResolver>,
}

impl<'a> Sources<'a> {
    fn new(name_servers: &'a NameServers) -> Self {
        Self {
            cloud_map: Vec::new(),
            name_servers,
            dns: None,
        }
    }

    /// What to ask, and how often; none for lists in files.
    fn source(
        &mut self,
        upstream: &str,
        wanted: &EndpointSource,
    ) -> Result<Option<(Source, Duration)>, Cause> {
        let upstream = || upstream.to_owned();
        Ok(match wanted {
            EndpointSource::Static(_) | EndpointSource::File(_) => None,
            EndpointSource::CloudMap(wanted) => {
                let client = self.cloud_map(wanted.endpoint.as_deref());
                let client = client.map_err(|source| Cause::CloudMap {
                    upstream: upstream(),
                    source,
                })?;
                let service = client.service(service(wanted));
                Some((Source::CloudMap(service), wanted.interval))
            }
            EndpointSource::Dns(wanted) => {
                let source = self.name(wanted).map_err(|source| Cause::Dns {
                    upstream: upstream(),
                    source,
                })?;
                // The interval holds where there is no time to live: after a failure.
                Some((source, wanted.min_ttl))
            }
        })
    }

    fn cloud_map(&mut self, endpoint: Option<&str>) -> Result<&CloudMapClient, ClientError> {
        let known = self
            .cloud_map
            .iter()
            .position(|(known, _)| known.as_deref() == endpoint);
        let index = known.unwrap_or(self.cloud_map.len());
        if known.is_none() {
            // Region and credentials are looked up once, before anything is served.
            let client = runtime().block_on(CloudMapClient::connect(endpoint))?;
            self.cloud_map.push((endpoint.map(str::to_owned), client));
        }
        Ok(&self.cloud_map[index].1)
    }

    fn name(&mut self, wanted: &Dns) -> Result<Source, DnsError> {
        if self.dns.is_none() {
            self.dns = Some(DnsResolver::new(self.name_servers)?);
        }
        let resolver = self.dns.as_ref().expect("made above");
        let ttl = TtlBounds {
            min: wanted.min_ttl,
            max: wanted.max_ttl,
        };
        let source = match &wanted.name {
            DnsName::Addresses { name, port } => resolver.name(name, *port, ttl)?,
            DnsName::Srv(name) => resolver.srv(name, ttl)?,
        };
        Ok(Source::Dns(source))
    }
}

fn service(wanted: &CloudMap) -> CloudMapService {
    CloudMapService {
        port: wanted.port,
        attributes: wanted.attributes.clone(),
        revision_interval: wanted.revision_interval,
        ..CloudMapService::new(&*wanted.namespace, &*wanted.service)
    }
}

/// The gateway's own zone: the file's word, or else that of ECS, which is asked here and now.
pub(super) fn zone(settings: &Settings, fetcher: &Fetcher) -> Option<Arc<str>> {
    let metadata = || env::var(METADATA_VARIABLE).ok();
    let said = settings.zone.clone();
    let zone = said.or_else(|| {
        let metadata = metadata().filter(|base| !base.is_empty())?;
        match runtime().block_on(own_zone(&metadata, fetcher)) {
            Ok(zone) => Some(zone),
            Err(error) => {
                tracing::warn!(%error, "the gateway's zone is not known; write `zone` into the routes file");
                None
            }
        }
    })?;
    tracing::info!(%zone, "the gateway's zone");
    Some(zone)
}

/// A runtime for what is asked before anything is served.
fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_all().build();
    runtime.expect("a runtime can be made at the start")
}

#[cfg(test)]
mod tests {
    use gateway_core::config::Source as Text;
    use gateway_core::file;

    use super::*;

    #[test]
    fn upstreams_with_one_source_make_one_watch() {
        let cloud_map = |more: &str| {
            let url = "http://127.0.0.1:1";
            format!("{{cloud_map: {{namespace: n, service: s, endpoint: \"{url}\"{more}}}}}")
        };
        let upstreams = [
            ("a", cloud_map("")),
            ("b", cloud_map(", attributes: {version: \"2\"}")),
            ("c", cloud_map("")),
            ("d", "{static: [\"127.0.0.1:1\"]}".to_owned()),
            ("e", cloud_map(", attributes: {version: \"2\"}")),
            ("f", cloud_map(", port: 81")),
            ("g", "{file: {path: /nowhere}}".to_owned()),
        ];
        let lines = upstreams.map(|(name, source)| format!("  {name}: {source}\n"));
        let text = format!(
            "version: 1\nupstreams:\n{}routes: [{{name: all, match: {{path_prefix: /}}, auth: none, \
             respond: {{status: 204}}}}]\n",
            lines.concat()
        );
        let source = Text {
            name: "the test's file",
            text: &text,
        };
        let compiled =
            file::read(source, &|_| None).unwrap_or_else(|problems| panic!("{problems}"));
        let live = Live::new(compiled.plan, 1, Vec::new());
        let watches = watches(&live, &compiled.settings, 0).unwrap();
        assert_eq!(watches.watchers.len(), 3);
        let shown = watches.discoveries.iter().map(|discovery| {
            let names = discovery.as_ref().map(Discovery::upstream);
            names.unwrap_or("-").to_owned()
        });
        let shown: Vec<_> = shown.collect();
        assert_eq!(shown, ["a, c", "b, e", "a, c", "-", "b, e", "f", "-"]);
        assert_eq!(live.endpoints[3].load().endpoints().len(), 1);
    }
}

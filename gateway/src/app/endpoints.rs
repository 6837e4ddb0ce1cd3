//! Who watches which upstream's endpoints: sources that are alike are watched once, by as many
//! upstreams as want them, and from one plan to the next.

use std::env;
use std::sync::Arc;

use gateway_core::cluster::Instance;
use gateway_core::file::{
    CloudMap, Dns, DnsName, DocumentSource, EndpointFile, EndpointSource, NameServers, Settings,
};
use gateway_core::plan::Plan;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::Cause;
use super::documents::DocumentPart;
use super::parts::Context;
use super::task::Task;
use crate::discovery::cloud_map::{ClientError, CloudMapClient, CloudMapService};
use crate::discovery::dns::{DnsError, DnsResolver, TtlBounds};
use crate::discovery::own_zone::{METADATA_VARIABLE, own_zone};
use crate::discovery::watch::{Discovery, WatchOptions, Watcher};
use crate::discovery::{FoundEndpoint, Source};
use crate::fetch::Fetcher;

/// Where the endpoints of one upstream come from.
#[derive(Clone)]
pub(super) enum Feed {
    /// The routes file itself.
    Fixed(Vec<Instance>),
    /// A source that is asked again and again.
    Asked(Arc<Asked>),
    /// A file of their own.
    File(Arc<FileFeed>),
}

/// A source, and the loop that asks it.
pub(super) struct Asked {
    source: EndpointSource,
    /// Who is asked for a name.
    name_servers: Option<NameServers>,
    pub(super) discovery: Discovery,
    task: Task,
}

/// What a file of endpoints said last; `None` before it is installed.
pub(super) type FileFound = watch::Receiver<Option<Arc<[Instance]>>>;

/// A file of endpoints of one upstream.
pub(super) struct FileFeed {
    pub(super) document: DocumentPart,
    pub(super) found: FileFound,
}

impl Feed {
    /// The endpoints of the moment; `None` before the first answer.
    pub(super) fn current(&self) -> Option<Vec<Instance>> {
        match self {
            Self::Fixed(instances) => Some(instances.clone()),
            Self::Asked(asked) => {
                let state = asked.discovery.state();
                let found = state.answered().then(|| state.found.endpoints().iter());
                found.map(|found| found.map(instance).collect())
            }
            Self::File(file) => Some(file.found.borrow().as_ref()?.to_vec()),
        }
    }

    pub(super) fn discovery(&self) -> Option<&Discovery> {
        match self {
            Self::Asked(asked) => Some(&asked.discovery),
            Self::Fixed(_) | Self::File(_) => None,
        }
    }

    /// Begins to ask, where there is anybody to ask.
    pub(super) fn fetch(&self) {
        if let Self::Asked(asked) = self {
            asked.task.start();
        }
    }

    pub(super) fn start(&self) {
        match self {
            Self::Fixed(_) => {}
            Self::Asked(asked) => asked.task.start(),
            Self::File(file) => file.document.start(),
        }
    }

    /// Whether it is one and the same.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Asked(one), Self::Asked(other)) => Arc::ptr_eq(one, other),
            (Self::File(one), Self::File(other)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }
}

/// Prepares what feeds each upstream of a plan; what is among `before` goes on as it is.
pub(super) async fn feeds(
    plan: &Plan,
    settings: &Settings,
    before: &[Feed],
    sources: &mut Sources,
    context: &Context,
) -> Result<Vec<Feed>, Cause> {
    let mut feeds: Vec<Feed> = Vec::with_capacity(plan.clusters.len());
    for (cluster, wanted) in plan.clusters.iter().zip(&settings.endpoint_sources) {
        let feed = match wanted {
            EndpointSource::Static(instances) => Feed::Fixed(instances.clone()),
            EndpointSource::File(path) => {
                let kept = before
                    .iter()
                    .find(|feed| is_file_of(feed, &cluster.name, path));
                match kept {
                    Some(kept) => kept.clone(),
                    None => Feed::File(Arc::new(file(&cluster.name, path, context).await?)),
                }
            }
            EndpointSource::CloudMap(_) | EndpointSource::Dns(_) => {
                let mut known = feeds.iter().chain(before);
                let name_servers = &settings.name_servers;
                if let Some(known) = known.find(|feed| is_asked_for(feed, wanted, name_servers)) {
                    known.clone()
                } else {
                    let names = sharing(plan, settings, wanted);
                    let asked = sources
                        .ask(&cluster.name, names, wanted, name_servers)
                        .await?;
                    Feed::Asked(Arc::new(asked))
                }
            }
        };
        feeds.push(feed);
    }
    Ok(feeds)
}

/// Whether one watch does for both. A port or an interval of its own makes another question.
fn is_asked_for(feed: &Feed, wanted: &EndpointSource, name_servers: &NameServers) -> bool {
    let Feed::Asked(asked) = feed else {
        return false;
    };
    let by_same = asked
        .name_servers
        .as_ref()
        .is_none_or(|by| by == name_servers);
    asked.source == *wanted && by_same
}

fn is_file_of(feed: &Feed, upstream: &str, path: &str) -> bool {
    matches!(feed, Feed::File(file) if file.document.is_of(upstream, path))
}

async fn file(upstream: &str, path: &str, context: &Context) -> Result<FileFeed, Cause> {
    let (sender, found) = watch::channel(None);
    let install = move |file: EndpointFile| {
        sender.send_replace(Some(file.instances.into()));
    };
    let source = DocumentSource::File(path.to_owned());
    let document = DocumentPart::read(upstream, &source, install, context).await?;
    Ok(FileFeed { document, found })
}

/// The upstreams of one watch, as its log lines name them.
fn sharing(plan: &Plan, settings: &Settings, source: &EndpointSource) -> Arc<str> {
    let clusters = plan.clusters.iter().zip(&settings.endpoint_sources);
    let names = clusters.filter(|(_, other)| *other == source);
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
#[derive(Default)]
pub(super) struct Sources {
    cloud_map: Vec<(Option<String>, CloudMapClient)>,
    dns: Option<(NameServers, DnsResolver)>,
}

impl Sources {
    /// Prepares the loop that asks a source; `names` are the upstreams that share it.
    async fn ask(
        &mut self,
        upstream: &str,
        names: Arc<str>,
        wanted: &EndpointSource,
        name_servers: &NameServers,
    ) -> Result<Asked, Cause> {
        let upstream = || upstream.to_owned();
        let (source, interval) = match wanted {
            EndpointSource::CloudMap(wanted) => {
                let client = self.cloud_map(wanted.endpoint.as_deref()).await;
                let client = client.map_err(|source| Cause::CloudMap {
                    upstream: upstream(),
                    source,
                })?;
                let service = client.service(service(wanted));
                (Source::CloudMap(service), wanted.interval)
            }
            EndpointSource::Dns(wanted) => {
                let source = self
                    .name(wanted, name_servers)
                    .map_err(|source| Cause::Dns {
                        upstream: upstream(),
                        source,
                    })?;
                // The interval holds where there is no time to live: after a failure.
                (source, wanted.min_ttl)
            }
            EndpointSource::Static(_) | EndpointSource::File(_) => {
                unreachable!("lists are not asked")
            }
        };
        let options = WatchOptions {
            interval,
            ..WatchOptions::default()
        };
        let (watcher, discovery) = Watcher::new(names, source, options, fastrand::Rng::new());
        let is_name = matches!(wanted, EndpointSource::Dns(_));
        Ok(Asked {
            source: wanted.clone(),
            name_servers: is_name.then(|| name_servers.clone()),
            discovery,
            task: Task::new(watcher.run(std::future::pending())),
        })
    }

    async fn cloud_map(&mut self, endpoint: Option<&str>) -> Result<&CloudMapClient, ClientError> {
        let known = self
            .cloud_map
            .iter()
            .position(|(known, _)| known.as_deref() == endpoint);
        let index = known.unwrap_or(self.cloud_map.len());
        if known.is_none() {
            // Region and credentials are looked up once, before anything is served by them.
            let client = CloudMapClient::connect(endpoint).await?;
            self.cloud_map.push((endpoint.map(str::to_owned), client));
        }
        Ok(&self.cloud_map[index].1)
    }

    fn name(&mut self, wanted: &Dns, servers: &NameServers) -> Result<Source, DnsError> {
        let known = self.dns.take().filter(|(known, _)| known == servers);
        let known = match known {
            Some(known) => known,
            None => (servers.clone(), DnsResolver::new(servers)?),
        };
        let (_, resolver) = self.dns.insert(known);
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
pub(super) fn runtime() -> Runtime {
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
        let directory = tempfile::tempdir().unwrap();
        let list = directory.path().join("list");
        std::fs::write(&list, "[\"127.0.0.1:9\"]").unwrap();
        let upstreams = [
            ("a", cloud_map("")),
            ("b", cloud_map(", attributes: {version: \"2\"}")),
            ("c", cloud_map("")),
            ("d", "{static: [\"127.0.0.1:1\"]}".to_owned()),
            ("e", cloud_map(", attributes: {version: \"2\"}")),
            ("f", cloud_map(", port: 81")),
            ("g", format!("{{file: {{path: {}}}}}", list.display())),
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
        let context = Context::for_tests();
        let mut sources = Sources::default();
        let runtime = runtime();
        let mut feeds = |before: &[Feed]| {
            let (plan, settings) = (&compiled.plan, &compiled.settings);
            let feeds = feeds(plan, settings, before, &mut sources, &context);
            runtime
                .block_on(feeds)
                .unwrap_or_else(|error| panic!("{error}"))
        };
        let first = feeds(&[]);
        let shown = first.iter().map(|feed| {
            let names = feed.discovery().map(Discovery::upstream);
            names.unwrap_or("-")
        });
        let shown: Vec<_> = shown.collect();
        assert_eq!(shown, ["a, c", "b, e", "a, c", "-", "b, e", "f", "-"]);
        assert!(first[0].is(&first[2]) && first[1].is(&first[4]));
        assert_eq!(first[3].current().map(|found| found.len()), Some(1));
        for (one, other) in first.iter().zip(&feeds(&first)) {
            assert!(one.is(other) || matches!(one, Feed::Fixed(_)), "it goes on");
        }
    }
}

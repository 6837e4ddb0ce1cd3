//! What runs beside a plan: the loops that keep keys, documents and endpoints current.
//!
//! What two plans have in common is one and the same part of both, so that a reload disturbs
//! nothing that it does not change. A part ends with the last plan that has it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use gateway_core::auth::api_keys::ApiKeys;
use gateway_core::auth::revocation::Revocations;
use gateway_core::auth::trust::Trust;
use gateway_core::file::{DocumentSource, KeySource, Settings};
use gateway_core::identity::InternalIdentity;
use gateway_core::plan::Plan;

use super::Cause;
use super::documents::DocumentPart;
use super::endpoints::{Feed, Sources, feeds};
use super::task::Task;
use crate::clock::Clock;
use crate::fetch::Fetcher;
use crate::identity::{Rotator, Signer};
use crate::jwks::{KeyClock, KeyStats, KeyWatch, Shared, StateDirectory, WantedKeys, waiting_name};
use crate::lifecycle::Lifecycle;
use crate::proxy::Watched;

/// What all parts of all plans have in common.
pub(super) struct Context {
    pub(super) fetcher: Fetcher,
    pub(super) clock: Clock,
    pub(super) key_clock: KeyClock,
    pub(super) state: Option<StateDirectory>,
    pub(super) lifecycle: Arc<Lifecycle>,
    /// The availability zone that the gateway runs in, where it is known.
    pub(super) zone: Option<Arc<str>>,
}

#[cfg(test)]
impl Context {
    /// Nothing special.
    pub(super) fn for_tests() -> Self {
        let clock = Clock::new();
        Self {
            fetcher: Fetcher::new().expect("a client can be made"),
            key_clock: KeyClock::new(clock.clone(), 1),
            clock,
            state: None,
            lifecycle: Arc::default(),
            zone: None,
        }
    }
}

/// The parts of one plan.
#[derive(Default)]
pub(super) struct Parts {
    /// By the provider's index.
    pub(super) keys: Vec<Arc<KeyPart>>,
    /// By the provider's index.
    revocations: Vec<Option<Arc<RevocationPart>>>,
    /// By the list's index.
    pub(super) api_keys: Vec<Arc<ApiKeyPart>>,
    /// By the cluster's index.
    pub(super) feeds: Vec<Feed>,
    identity: Option<Arc<IdentityPart>>,
}

/// The keys of one provider.
pub(super) struct KeyPart {
    name: Box<str>,
    source: KeySource,
    pub(super) trust: Arc<ArcSwap<Trust>>,
    pub(super) wanted: Arc<WantedKeys>,
    stats: Arc<KeyStats>,
    task: Task,
}

/// The deny list of one provider.
struct RevocationPart {
    trust: Arc<ArcSwap<Trust>>,
    document: DocumentPart,
}

/// One list of API keys.
pub(super) struct ApiKeyPart {
    pub(super) current: Arc<ArcSwap<ApiKeys>>,
    document: DocumentPart,
}

/// The keys of the gateway's own tokens.
struct IdentityPart {
    settings: InternalIdentity,
    signer: Arc<Signer>,
    task: Task,
}

impl Parts {
    /// Prepares the parts of a plan, and takes over those of `before` that are the same.
    ///
    /// Nothing of `before` is changed. An error leaves no trace.
    pub(super) async fn prepare(
        plan: &Plan,
        settings: &Settings,
        before: &Self,
        sources: &mut Sources,
        context: &Context,
    ) -> Result<Self, Cause> {
        let providers = plan.providers.iter().zip(&settings.key_sources);
        let keys = providers.map(|(provider, source)| before.key(&provider.name, source, context));
        let keys = keys.collect::<Result<Vec<_>, Cause>>()?;
        let mut revocations = Vec::with_capacity(keys.len());
        for (key, source) in keys.iter().zip(&settings.revocations) {
            revocations.push(match source {
                Some(source) => Some(before.revocations(key, source, context).await?),
                None => None,
            });
        }
        let mut api_keys = Vec::with_capacity(plan.api_keys.len());
        for (list, path) in plan.api_keys.iter().zip(&settings.api_key_files) {
            api_keys.push(before.api_keys(&list.name, path, context).await?);
        }
        let identity = settings.internal_identity.as_ref();
        let identity = identity.map(|identity| before.identity(identity, &context.clock));
        Ok(Self {
            keys,
            revocations,
            api_keys,
            feeds: feeds(plan, settings, &before.feeds, sources, context).await?,
            identity: identity.transpose()?,
        })
    }

    fn key(
        &self,
        name: &str,
        source: &KeySource,
        context: &Context,
    ) -> Result<Arc<KeyPart>, Cause> {
        let earlier = self.keys.iter().find(|part| *part.name == *name);
        if let Some(earlier) = earlier.filter(|part| part.source == *source) {
            return Ok(Arc::clone(earlier));
        }
        // Of the same place only when to read it is new: the keys at hand are good.
        let is_same_place = |part: &&Arc<KeyPart>| {
            part.source.place == source.place && part.source.issuer == source.issuer
        };
        let earlier = earlier.filter(is_same_place);
        let part = KeyPart::prepare(name, source, earlier.map(Arc::as_ref), context);
        let part = part.map_err(|source| Cause::Keys {
            provider: name.to_owned(),
            source,
        })?;
        Ok(Arc::new(part))
    }

    async fn revocations(
        &self,
        key: &KeyPart,
        source: &DocumentSource,
        context: &Context,
    ) -> Result<Arc<RevocationPart>, Cause> {
        let mut earlier = self.revocations.iter().flatten();
        let kept = earlier
            .find(|part| Arc::ptr_eq(&part.trust, &key.trust) && part.document.source() == source);
        if let Some(kept) = kept {
            return Ok(Arc::clone(kept));
        }
        let trust = Arc::clone(&key.trust);
        // Keys are swapped in on the same thread, so that neither undoes the other.
        let install = move |revoked: Revocations| {
            let next = trust.load().with_revocations(revoked);
            trust.store(Arc::new(next));
        };
        Ok(Arc::new(RevocationPart {
            trust: Arc::clone(&key.trust),
            document: DocumentPart::read(&key.name, source, install, context).await?,
        }))
    }

    async fn api_keys(
        &self,
        name: &str,
        path: &str,
        context: &Context,
    ) -> Result<Arc<ApiKeyPart>, Cause> {
        let mut earlier = self.api_keys.iter();
        if let Some(kept) = earlier.find(|part| part.document.is_of(name, path)) {
            return Ok(Arc::clone(kept));
        }
        let current: Arc<ArcSwap<ApiKeys>> = Arc::default();
        let target = Arc::clone(&current);
        let install = move |keys: ApiKeys| target.store(Arc::new(keys));
        let source = DocumentSource::File(path.to_owned());
        let document = DocumentPart::read(name, &source, install, context).await?;
        Ok(Arc::new(ApiKeyPart { current, document }))
    }

    fn identity(
        &self,
        settings: &InternalIdentity,
        clock: &Clock,
    ) -> Result<Arc<IdentityPart>, Cause> {
        let earlier = self.identity.as_ref();
        if let Some(kept) = earlier.filter(|part| part.settings == *settings) {
            return Ok(Arc::clone(kept));
        }
        let rotator = Rotator::new(settings, clock.clone())?;
        Ok(Arc::new(IdentityPart {
            settings: settings.clone(),
            signer: rotator.signer(),
            task: Task::new(rotator.run()),
        }))
    }

    /// Begins to ask for what has to be fetched, so that it is there when the plan comes into
    /// force. What the plan before goes by is not changed, but for newer lists at a URL.
    pub(super) fn fetch(&self) {
        self.keys.iter().for_each(|part| part.task.start());
        self.feeds.iter().for_each(Feed::fetch);
        let fetched = self.documents().filter(|document| !document.is_file());
        for document in fetched {
            document.install();
            document.start();
        }
    }

    /// Swaps in what was read of files, and takes out what is there no more.
    pub(super) fn install(&self) {
        self.documents().for_each(DocumentPart::install);
        for (key, revocations) in self.keys.iter().zip(&self.revocations) {
            let trust = key.trust.load();
            if revocations.is_none() && trust.has_revocations() {
                key.trust.store(Arc::new(trust.without_revocations()));
            }
        }
    }

    /// Begins what has not begun.
    pub(super) fn start(&self) {
        self.keys.iter().for_each(|part| part.task.start());
        self.documents().for_each(DocumentPart::start);
        self.feeds.iter().for_each(Feed::start);
        self.identity.iter().for_each(|part| part.task.start());
    }

    fn documents(&self) -> impl Iterator<Item = &DocumentPart> {
        let api_keys = self.api_keys.iter().map(|part| &part.document);
        let revocations = self.revocations.iter().flatten();
        let files = self.feeds.iter().filter_map(|feed| match feed {
            Feed::File(file) => Some(&file.document),
            Feed::Fixed(_) | Feed::Asked(_) => None,
        });
        api_keys
            .chain(revocations.map(|part| &part.document))
            .chain(files)
    }

    /// What has not been read yet, of what `before` has not: the first answer about each upstream,
    /// each provider's keys, and documents that are not files.
    pub(super) fn unanswered(&self, plan: &Plan, before: &Self) -> Vec<String> {
        let clusters = plan.clusters.iter().zip(&self.feeds);
        let upstreams = clusters
            .filter(|(_, feed)| !before.feeds.iter().any(|earlier| earlier.is(feed)))
            .filter(|(_, feed)| feed.discovery().is_some_and(|it| !it.state().answered()))
            .map(|(cluster, _)| upstream_waiting_name(&cluster.name));
        let is_new = |part: &&Arc<KeyPart>| !before.keys.iter().any(|it| Arc::ptr_eq(it, part));
        let keys = self.keys.iter().filter(is_new);
        let keys = keys
            .filter(|part| part.trust.load().keys().is_empty())
            .map(|part| waiting_name(&part.name));
        let is_new =
            |document: &&DocumentPart| !before.documents().any(|it| std::ptr::eq(it, *document));
        let documents = self.documents().filter(is_new);
        let documents = documents.filter_map(DocumentPart::unanswered);
        upstreams.chain(keys).chain(documents).collect()
    }

    /// Whether a provider's keys and deny list are those of `before`.
    pub(super) fn is_trust_of(&self, before: &Self, provider: &str) -> bool {
        let trust = |parts: &Self| {
            let mut parts = parts.keys.iter().filter(|part| *part.name == *provider);
            parts.next().map(|part| Arc::clone(&part.trust))
        };
        matches!((trust(self), trust(before)), (Some(own), Some(earlier)) if Arc::ptr_eq(&own, &earlier))
    }

    pub(super) fn signer(&self) -> Option<Arc<Signer>> {
        self.identity.as_ref().map(|part| Arc::clone(&part.signer))
    }

    /// What scrapes look at.
    pub(super) fn watched(&self) -> Watched {
        let discoveries = self.feeds.iter().map(|feed| feed.discovery().cloned());
        Watched {
            discoveries: discoveries.collect(),
            keys: self.keys.iter().map(|it| Arc::clone(&it.stats)).collect(),
            documents: self.documents().map(|it| Arc::clone(&it.stats)).collect(),
        }
    }
}

impl KeyPart {
    /// Prepares the loop; begins with the keys of `earlier`, where they are of the same place.
    fn prepare(
        name: &str,
        source: &KeySource,
        earlier: Option<&Self>,
        context: &Context,
    ) -> Result<Self, crate::jwks::KeyError> {
        let trust = earlier.map(|part| ArcSwap::new(part.trust.load_full()));
        let trust = Arc::new(trust.unwrap_or_default());
        let wanted = Arc::new(WantedKeys::new(source, context.key_clock.clone()));
        let shared = Shared {
            trust: Arc::clone(&trust),
            wanted: Arc::clone(&wanted),
        };
        let mut watch = KeyWatch::start(
            name,
            source,
            shared,
            context.key_clock.clone(),
            &context.fetcher,
            context.state.as_ref(),
        )?;
        if let Some(earlier) = earlier {
            watch.inherit(&earlier.stats);
        }
        Ok(Self {
            name: name.into(),
            source: source.clone(),
            trust,
            wanted,
            stats: watch.stats(),
            task: Task::new(watch.run(Arc::clone(&context.lifecycle))),
        })
    }
}

/// What readiness calls an upstream that no source has said anything of.
pub(super) fn upstream_waiting_name(upstream: &str) -> String {
    format!("endpoints of upstream `{upstream}`")
}

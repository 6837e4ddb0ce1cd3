//! A configuration without a running gateway: what its files say, and nothing else.

use std::sync::Arc;

use gateway_core::file::{
    Compiled, DocumentSource, ENDPOINT_FILE_BYTES_MAX, EndpointSource, KeyPlace, Settings,
};
use gateway_core::plan::Plan;
use tempfile::NamedTempFile;

use super::running::Running;
use super::{Options, StartError, context};
use crate::files::read_file;
use crate::lifecycle::Lifecycle;
use crate::proxy::{Live, Moment};

/// Bytes of a file of keys.
const KEY_FILE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A list of API keys in which there is none.
const NO_API_KEYS: &str = "keys: []\n";

/// A plan with the keys and endpoints that files and the routes file itself hold.
pub(crate) struct Offline {
    pub(crate) live: Arc<Live>,
    pub(crate) now: Moment,
    /// What only a running gateway knows.
    pub(crate) unknown: Vec<String>,
}

impl Offline {
    /// Prepares a configuration as a start would; nothing is bound, asked or sent.
    ///
    /// # Errors
    /// A file of keys or endpoints that is there and cannot be used.
    pub(crate) fn prepare(compiled: Compiled) -> Result<Self, StartError> {
        let Compiled {
            plan, mut settings, ..
        } = compiled;
        let mut unknown = Vec::new();
        let no_keys = NamedTempFile::new().map_err(super::Cause::from)?;
        std::fs::write(no_keys.path(), NO_API_KEYS).map_err(super::Cause::from)?;
        forget_sources(&plan, &mut settings, &mut unknown);
        forget_keys(&plan, &mut settings, &mut unknown);
        forget_documents(&plan, &mut settings, no_keys.path(), &mut unknown);
        let lifecycle = Arc::new(Lifecycle::default());
        let context = context(&settings, Options::default(), &lifecycle)?;
        let clock = context.clock.clone();
        let running = Running::begin(plan, &settings, 1, context)?;
        let at = std::time::Instant::now();
        Ok(Self {
            live: running.live().load_full(),
            now: Moment {
                civil: clock.to_unix_seconds(at),
                millis: clock.to_ms(at),
            },
            unknown,
        })
    }
}

fn is_there(path: &str, bytes_max: usize) -> bool {
    read_file(path, bytes_max).is_ok()
}

/// Sources that would have to be asked, and the process's own places.
fn forget_sources(plan: &Plan, settings: &mut Settings, unknown: &mut Vec<String>) {
    // What is remembered there is the running gateway's.
    settings.state_directory = None;
    settings.zone = Some(settings.zone.clone().unwrap_or_else(|| "".into()));
    for (cluster, source) in plan.clusters.iter().zip(&mut settings.endpoint_sources) {
        let why = match source {
            EndpointSource::Static(_) => continue,
            EndpointSource::File(path) if is_there(path, ENDPOINT_FILE_BYTES_MAX) => continue,
            EndpointSource::File(path) => format!("the file `{path}` cannot be read here"),
            EndpointSource::CloudMap(_) => "AWS Cloud Map is not asked".into(),
            EndpointSource::Dns(_) => "no name server is asked".into(),
        };
        unknown.push(format!("endpoints of upstream `{}`: {why}", cluster.name));
        *source = EndpointSource::Static(Vec::new());
    }
}

fn forget_keys(plan: &Plan, settings: &mut Settings, unknown: &mut Vec<String>) {
    for (provider, source) in plan.providers.iter().zip(&mut settings.key_sources) {
        let why = match &source.place {
            KeyPlace::Inline(_) | KeyPlace::Secret(..) => continue,
            KeyPlace::File(path) | KeyPlace::SecretFile { path, .. }
                if is_there(path, KEY_FILE_BYTES_MAX) =>
            {
                continue;
            }
            KeyPlace::File(path) | KeyPlace::SecretFile { path, .. } => {
                format!("the file `{path}` cannot be read here")
            }
            KeyPlace::Url(_) | KeyPlace::Discovery(_) => {
                "they are fetched only by a gateway".into()
            }
        };
        unknown.push(format!(
            "keys of JWT provider `{}`: {why}; signatures are not checked",
            provider.name
        ));
        // Nobody reads it: what is prepared here is never started.
        source.place = KeyPlace::Url(source.issuer.clone());
    }
}

fn forget_documents(
    plan: &Plan,
    settings: &mut Settings,
    no_keys: &std::path::Path,
    unknown: &mut Vec<String>,
) {
    for (provider, source) in plan.providers.iter().zip(&mut settings.revocations) {
        let why = match source {
            None => continue,
            Some(DocumentSource::File(path)) if is_there(path, KEY_FILE_BYTES_MAX) => continue,
            Some(DocumentSource::File(path)) => format!("the file `{path}` cannot be read here"),
            Some(DocumentSource::Url { .. }) => "it is fetched only by a gateway".into(),
        };
        unknown.push(format!(
            "deny list of JWT provider `{}`: {why}; nothing counts as revoked",
            provider.name
        ));
        *source = None;
    }
    for (list, path) in plan.api_keys.iter().zip(&mut settings.api_key_files) {
        if !is_there(path, KEY_FILE_BYTES_MAX) {
            unknown.push(format!(
                "API keys `{}`: the file `{path}` cannot be read here; every key counts as unknown",
                list.name
            ));
            *path = no_keys.display().to_string();
        }
    }
}

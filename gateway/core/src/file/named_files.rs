//! The files that a routes file names, for checks before anything runs.

use super::secrets::SecretSpec;
use super::{RoutesFile, revocations::RevocationsSpec};
use crate::config::join;

/// A file that must be there when the gateway starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// Where the routes file names it, such as `api_keys.partners.file`.
    pub path: String,
    /// Its own path, relative to the directory that the gateway is started in.
    pub file: String,
    /// What is to be in it.
    pub holds: Holds,
}

/// What a named file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Hashes of API keys.
    ApiKeys,
    /// Endpoints of an upstream.
    Endpoints,
    /// A JWK set.
    Keys,
    /// A shared secret, the admin listener's token, or a header's value.
    Secret,
    /// A deny list.
    Revocations,
}

/// All of them, in the order of the sections.
pub(super) fn named_files(file: &RoutesFile) -> Vec<NamedFile> {
    let mut files = Vec::new();
    let mut add = |path: String, named: Option<&String>, holds| {
        // That it is empty is said elsewhere.
        let named = named.filter(|named| !named.trim().is_empty());
        files.extend(named.map(|named| NamedFile {
            path,
            file: named.clone(),
            holds,
        }));
    };
    let of_secret = |secret: &Option<SecretSpec>| secret.as_ref().and_then(|it| it.file.clone());
    add(
        "admin.token.file".to_owned(),
        of_secret(&file.admin.token).as_ref(),
        Holds::Secret,
    );
    let headers = file.tracing.iter().flat_map(|spec| &spec.headers);
    for (name, spec) in headers {
        let path = format!("{}.file", join("tracing.headers", name));
        add(path, spec.file.as_ref(), Holds::Secret);
    }
    for (name, spec) in &file.jwt_providers {
        let at = join("jwt_providers", name);
        let secret = of_secret(&spec.secret);
        let deny_list = |spec: &RevocationsSpec| spec.file.clone();
        let deny_list = spec.revocations.as_ref().and_then(deny_list);
        add(join(&at, "jwks_file"), spec.jwks_file.as_ref(), Holds::Keys);
        add(format!("{at}.secret.file"), secret.as_ref(), Holds::Secret);
        add(
            format!("{at}.revocations.file"),
            deny_list.as_ref(),
            Holds::Revocations,
        );
    }
    for (name, spec) in &file.api_keys {
        let path = join(&join("api_keys", name), "file");
        add(path, Some(&spec.file), Holds::ApiKeys);
    }
    for (name, spec) in &file.upstreams {
        let path = format!("{}.file.path", join("upstreams", name));
        let named = spec.file.as_ref().map(|spec| &spec.path);
        add(path, named, Holds::Endpoints);
    }
    files
}

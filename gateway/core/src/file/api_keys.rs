//! `api_keys:` lists of keys, and where clients send them.

use http::HeaderName;
use schemars::JsonSchema;
use serde::Deserialize;

use super::auth::RESERVED_HEADERS;
use super::compile::Checker;
use crate::auth::api_keys::ApiKeyList;
use crate::config::join;

/// The header that carries a key unless the file says otherwise.
const DEFAULT_HEADER: HeaderName = HeaderName::from_static("x-api-key");

/// One list of keys, as written.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeysSpec {
    /// The file that holds the hashes of the keys; read again when it changes.
    pub file: String,
    /// The header that carries a key; default `x-api-key`.
    #[serde(default)]
    pub header: Option<String>,
}

impl ApiKeysSpec {
    /// The list as the plan has it, and the path of its file.
    pub(super) fn compile(&self, name: &str, check: &mut Checker<'_>) -> (ApiKeyList, String) {
        let at = join("api_keys", name);
        check.plain_name(&at, name);
        let help = "write the path of a file with keys; `gateway api-key new --file` makes one";
        check.not_empty(&join(&at, "file"), &self.file, help);
        let list = ApiKeyList {
            name: name.into(),
            header: self.header(&join(&at, "header"), check),
        };
        (list, self.file.clone())
    }

    fn header(&self, at: &str, check: &mut Checker<'_>) -> HeaderName {
        let Some(written) = &self.header else {
            return DEFAULT_HEADER;
        };
        let Ok(header) = written.parse::<HeaderName>() else {
            check.problem(
                at,
                format!("`{written}` is not a header name"),
                Some("use letters, digits and `-`, such as `x-api-key`".into()),
            );
            return DEFAULT_HEADER;
        };
        if RESERVED_HEADERS.contains(&header.as_str()) {
            check.problem(
                at,
                format!("the header `{written}` has a meaning of its own"),
                Some("choose another name, such as `x-api-key`".into()),
            );
        }
        header
    }
}

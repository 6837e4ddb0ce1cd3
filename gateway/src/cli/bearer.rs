//! The token that opens the admin listener, as a header.

use anyhow::anyhow;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

/// The header for this token; none for none.
pub(super) fn headers(token: Option<&str>) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    if let Some(token) = token {
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| anyhow!("the `--admin-token` has characters that no header can carry"))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

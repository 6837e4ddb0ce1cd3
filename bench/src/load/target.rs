//! From the command line to an address that answers and a request to repeat.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use http::{HeaderValue, Uri, header};

use crate::cli::LoadArgs;
use crate::client::{Connection, Failure, Request};

/// What to load.
pub(super) struct Target {
    /// The first of the host's addresses that took a connection.
    pub(super) address: SocketAddr,
    /// The request to repeat.
    pub(super) request: Request,
}

impl Target {
    /// Checks the URL and the token, and tries one connection, so that what
    /// cannot work is said at once.
    ///
    /// # Errors
    /// When the URL, the token or a header is unusable, or nobody answers.
    pub(super) async fn prepare(arguments: &LoadArgs) -> anyhow::Result<Self> {
        let uri = parse_url(&arguments.url)?;
        let mut headers = arguments.headers.clone();
        if let Some(token) = token(arguments)? {
            headers.push((header::AUTHORIZATION, bearer(&token)?));
        }
        let request = Request::new(&arguments.method, &uri, &headers)?;
        let host = uri.host().unwrap_or_default();
        let port = uri.port_u16().unwrap_or(80);
        let address = reach(host, port, arguments.timeout).await?;
        Ok(Self { address, request })
    }
}

fn parse_url(text: &str) -> anyhow::Result<Uri> {
    let uri: Uri = text.parse().with_context(|| {
        format!("`{text}` is not a URL; write it such as http://127.0.0.1:8080/users")
    })?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => bail!(
            "`{text}`: this client speaks plain HTTP/1.1 only; point it at a listener without TLS"
        ),
        _ => bail!("`{text}` must begin with http:// and name a host"),
    }
    if uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        bail!("credentials do not belong in the URL; use --token-file or --header");
    }
    Ok(uri)
}

fn token(arguments: &LoadArgs) -> anyhow::Result<Option<String>> {
    let Some(path) = &arguments.token_file else {
        return Ok(arguments.token.clone());
    };
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the token from `{}`", path.display()))?;
    let token = text.trim();
    if token.is_empty() {
        bail!("`{}` holds no token", path.display());
    }
    Ok(Some(token.to_owned()))
}

fn bearer(token: &str) -> anyhow::Result<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
        .context("the token has characters that no header may carry")?;
    value.set_sensitive(true);
    Ok(value)
}

/// The first address of `host` that takes a connection.
async fn reach(host: &str, port: u16, timeout: Duration) -> anyhow::Result<SocketAddr> {
    let bare_host = host.trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<_> = tokio::net::lookup_host((bare_host, port))
        .await
        .with_context(|| format!("cannot resolve `{host}`; check the host in --url"))?
        .collect();
    let mut last = None;
    for address in addresses {
        match tokio::time::timeout(timeout, Connection::open(address)).await {
            Ok(Ok(_)) => return Ok(address),
            Ok(Err(failure)) => last = Some((address, failure)),
            Err(_elapsed) => last = Some((address, Failure::ConnectTimeout)),
        }
    }
    match last {
        Some((address, Failure::ConnectRefused)) => {
            bail!("nothing listens on {address}; start the server, or check the port in --url")
        }
        Some((address, Failure::ConnectTimeout)) => bail!(
            "{address} did not take a connection within {}; check the address and the firewall",
            humantime::format_duration(timeout)
        ),
        Some((address, _)) => bail!("cannot connect to {address}; check the host in --url"),
        None => bail!("`{host}` has no address; check the host in --url"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusable_urls_are_refused_with_a_remedy() {
        for (text, expected) in [
            ("", "is not a URL"),
            ("http://", "is not a URL"),
            ("http://a b/", "is not a URL"),
            ("localhost:8080", "must begin with http://"),
            ("/users", "must begin with http://"),
            ("ftp://a/", "must begin with http://"),
            ("https://a/", "without TLS"),
            ("http://me:secret@a/", "do not belong in the URL"),
        ] {
            let error = format!("{:#}", parse_url(text).expect_err(text));
            assert!(error.contains(expected), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn ordinary_urls_are_taken() {
        for text in [
            "http://127.0.0.1:8080/users?limit=2",
            "http://[::1]:8080/",
            "http://api.example",
        ] {
            parse_url(text).expect(text);
        }
    }
}

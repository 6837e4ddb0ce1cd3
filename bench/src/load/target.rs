//! From the command line to an address that answers and a request to repeat.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use http::{HeaderValue, Uri, header};

use super::mint;
use crate::cli::LoadArgs;
use crate::client::{Connection, Failure, Request, Requests};

/// Paths that one load asks for, at most.
const MAX_PATHS: usize = 100;

/// Tokens that one load sends, at most: each makes a request of its own, which is kept.
const MAX_TOKENS: usize = 100_000;

/// What to load.
pub(super) struct Target {
    /// The first of the host's addresses that took a connection.
    pub(super) address: SocketAddr,
    /// What to send.
    pub(super) requests: Requests,
}

impl Target {
    /// Checks the URL and the token, and tries one connection, so that what
    /// cannot work is said at once.
    ///
    /// # Errors
    /// When the URL, the token or a header is unusable, or nobody answers.
    pub(super) async fn prepare(arguments: &LoadArgs) -> anyhow::Result<Self> {
        let uri = parse_url(&arguments.url)?;
        let requests = requests(arguments, &uri)?;
        let host = uri.host().unwrap_or_default();
        let port = uri.port_u16().unwrap_or(80);
        let address = reach(host, port, arguments.timeout).await?;
        Ok(Self { address, requests })
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

/// Every path in its share with every token in turn: all of it is made before the load.
fn requests(arguments: &LoadArgs, uri: &Uri) -> anyhow::Result<Requests> {
    if arguments.paths.len() > MAX_PATHS {
        bail!("there are more than {MAX_PATHS} --path");
    }
    let mut uris = Vec::new();
    for (_, path) in &arguments.paths {
        let mut parts = uri.clone().into_parts();
        let target = path.parse();
        parts.path_and_query = Some(target.with_context(|| format!("`{path}` is not a path"))?);
        uris.push(Uri::from_parts(parts)?);
    }
    let weights: Vec<u16> = arguments.paths.iter().map(|(weight, _)| *weight).collect();
    let order = in_shares(&weights);
    if order.is_empty() {
        uris.push(uri.clone());
    }
    let tokens = tokens(arguments)?;
    let slots = order.len().max(1);
    let count = tokens.len().max(1).div_ceil(slots) * slots;
    let mut requests = Vec::with_capacity(count);
    for nth in 0..count {
        let mut headers = arguments.headers.clone();
        if !tokens.is_empty() {
            let token = bearer(&tokens[nth % tokens.len()])?;
            headers.push((header::AUTHORIZATION, token));
        }
        let uri = &uris[order.get(nth % slots).copied().unwrap_or_default()];
        requests.push(Request::new(&arguments.method, uri, &headers)?);
    }
    Requests::in_turn(requests).context("there is nothing to send")
}

/// Indices in the shares of their weights, spread out: 2 and 1 are 0, 1, 0. It is the smooth
/// round robin of nginx.
fn in_shares(weights: &[u16]) -> Vec<usize> {
    let total: i64 = weights.iter().map(|&weight| i64::from(weight)).sum();
    let mut credits = vec![0; weights.len()];
    let mut order = Vec::new();
    for _ in 0..total {
        for (credit, &weight) in credits.iter_mut().zip(weights) {
            *credit += i64::from(weight);
        }
        let most = credits.iter().copied().max().unwrap_or_default();
        let Some(index) = credits.iter().position(|&credit| credit == most) else {
            break;
        };
        credits[index] -= total;
        order.push(index);
    }
    order
}

/// Those of the file, one a line, or those minted, or the one of the command line.
fn tokens(arguments: &LoadArgs) -> anyhow::Result<Vec<String>> {
    let Some(path) = &arguments.token_file else {
        let minted = mint::tokens(&arguments.mint)?;
        return Ok(arguments.token.iter().cloned().chain(minted).collect());
    };
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the token from `{}`", path.display()))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let tokens: Vec<String> = lines.map(ToOwned::to_owned).collect();
    match tokens.len() {
        0 => bail!("`{}` holds no token", path.display()),
        1..=MAX_TOKENS => Ok(tokens),
        _ => bail!("`{}` holds more than {MAX_TOKENS} tokens", path.display()),
    }
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

    #[test]
    fn paths_come_in_their_shares_and_spread_out() {
        for (weights, expected) in [
            (&[][..], &[][..]),
            (&[1], &[0]),
            (&[2, 1], &[0, 1, 0]),
            (&[3, 1, 1], &[0, 1, 0, 2, 0]),
        ] {
            assert_eq!(in_shares(weights), expected, "{weights:?}");
        }
    }
}

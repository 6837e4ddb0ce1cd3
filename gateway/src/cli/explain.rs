//! `gateway explain`: why a request gets the answer that it gets.

mod text;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use http::header::{CONTENT_TYPE, HOST};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use mesh::client::Client;
use serde_json::{Value, json};

use super::{bearer, load, tell};
use crate::app::Offline;
use crate::proxy::{Question, explain};

/// Bytes of an explanation: 50 routes and a few hundred endpoints.
const EXPLANATION_BYTES_MAX: usize = 4 * 1024 * 1024;

#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The routes file. Keys are taken from files and from the routes file itself; nothing is
    /// fetched, and what would have to be is named.
    #[arg(
        long,
        short,
        env = "GATEWAY_CONFIG",
        value_name = "FILE",
        required_unless_present = "admin"
    )]
    config: Option<PathBuf>,
    /// Ask a running gateway at the URL of its admin listener, such as `http://127.0.0.1:9090`:
    /// it knows its keys, and the health and load of endpoints.
    #[arg(long, value_name = "URL")]
    admin: Option<String>,
    /// The token of `admin.token`, where the gateway asks for one.
    #[arg(
        long,
        env = "GATEWAY_ADMIN_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    admin_token: Option<String>,
    /// The method.
    #[arg(value_name = "METHOD")]
    method: Method,
    /// The path with its query, or a whole `http://` URL.
    #[arg(value_name = "PATH")]
    target: Uri,
    /// A header, as in `-H 'authorization: Bearer …'`; may be given several times.
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The address at the other end of the connection.
    #[arg(long, default_value = "127.0.0.1", value_name = "IP")]
    peer: IpAddr,
    /// Bytes of the request's body.
    #[arg(long, value_name = "COUNT")]
    body_bytes: Option<u64>,
    /// How the explanation is written.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// How long to wait for the running gateway.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    /// For people.
    #[default]
    Text,
    /// As the admin API has it.
    Json,
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("write `name: value`, with a colon between")?;
    let name = name.trim().parse();
    // What was written may be a credential, so that it is not repeated.
    let value = value.trim().parse();
    match (name, value) {
        (Ok(name), Ok(value)) => Ok((name, value)),
        (Err(_), _) => Err("the part before the colon is not a header name".into()),
        (_, Err(_)) => Err("the value has characters that no header can carry".into()),
    }
}

pub(super) fn run(args: &ExplainArgs) -> anyhow::Result<()> {
    let explanation = match (&args.admin, &args.config) {
        (Some(url), _) => ask(args, url)?,
        (None, Some(config)) => {
            let compiled = load(config)?;
            offline(args, compiled)?
        }
        (None, None) => bail!("give `--config FILE` or `--admin URL`"),
    };
    match args.format {
        Format::Text => tell(text::render(&explanation).trim_end()),
        Format::Json => tell(&serde_json::to_string_pretty(&explanation)?),
    }
    Ok(())
}

fn offline(args: &ExplainArgs, compiled: gateway_core::file::Compiled) -> anyhow::Result<Value> {
    let offline = Offline::prepare(compiled)?;
    let mut request = Request::new(());
    *request.method_mut() = args.method.clone();
    *request.uri_mut() = args.target.clone();
    *request.headers_mut() = args.all_headers();
    let question = Question {
        parts: request.into_parts().0,
        body_bytes: args.body_bytes,
        peer: args.peer,
    };
    let mut explanation = explain(&offline.live, &question, offline.now);
    explanation.unknown = offline.unknown;
    Ok(serde_json::to_value(explanation)?)
}

impl ExplainArgs {
    fn all_headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(name, value.clone());
        }
        if !headers.contains_key(HOST) {
            // As clients do (RFC 9112 section 3.2).
            let named = self.target.authority().map(Authority::as_str);
            let host = HeaderValue::from_str(named.unwrap_or("localhost"));
            headers.insert(HOST, host.expect("an authority is a header value"));
        }
        headers
    }
}

fn ask(args: &ExplainArgs, url: &str) -> anyhow::Result<Value> {
    let headers = args.all_headers();
    let headers = headers.iter().map(|(name, value)| {
        let value = value.to_str().context("a header's value is not ASCII")?;
        Ok(json!({"name": name.as_str(), "value": value}))
    });
    let question = json!({
        "method": args.method.as_str(),
        "target": args.target.to_string(),
        "headers": headers.collect::<anyhow::Result<Vec<_>>>()?,
        "peer": args.peer,
        "body_bytes": args.body_bytes,
    });
    let mut headers = bearer::headers(args.admin_token.as_deref())?;
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let client = Client {
        timeout: args.timeout,
        max_body_bytes: EXPLANATION_BYTES_MAX,
    };
    let url = format!("{}/api/v1/explain", url.trim_end_matches('/'));
    let body = Bytes::from(question.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let answer = runtime.block_on(client.post(&url, headers, body))?;
    let body: Value = serde_json::from_slice(answer.body())
        .with_context(|| format!("{url} answered {} and no JSON", answer.status()))?;
    if !answer.status().is_success() {
        let detail = body["detail"].as_str().unwrap_or_default();
        bail!("{url} answered {}: {detail}", answer.status());
    }
    Ok(body)
}

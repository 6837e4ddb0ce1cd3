//! The thread that sends spans to the collector: no worker ever waits for it.

use std::io;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use gateway_core::file::{SecretPlace, TraceExport, TraceProtocol};
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use mesh::otlp::{self, Exporter, PostError, Protocol, Queue, Resource, Transport};
use reqwest::redirect::Policy;

/// Bytes of a collector's answer, which says little.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Time to open a connection, within the time of the whole export.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Why spans cannot be exported.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    #[error("tracing: header `{name}`: `{path}` cannot be read: {source}")]
    HeaderFile {
        name: HeaderName,
        path: String,
        source: io::Error,
    },
    #[error("tracing: header `{name}`: `{path}` holds no header value; put one line of text there")]
    HeaderValue { name: HeaderName, path: String },
    #[error("the HTTP client for spans cannot be made: {0}")]
    HttpClient(#[from] reqwest::Error),
    #[error("the thread that exports spans cannot be started: {0}")]
    Thread(#[from] io::Error),
}

/// Joins the exporter's thread once every queue is gone.
pub(crate) struct ExportThread(JoinHandle<()>);

impl ExportThread {
    /// Waits until what was queued is sent, within the exporter's bound.
    pub(crate) fn join(self) {
        if self.0.join().is_err() {
            tracing::error!("the exporter of spans broke down");
        }
    }
}

/// Starts the exporter.
pub(crate) fn start(export: &TraceExport) -> Result<(Queue, ExportThread), ExportError> {
    let settings = settings(export)?;
    let transport = Collector::new(export)?;
    let (queue, exporter) = otlp::channel(settings);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let thread = std::thread::Builder::new()
        .name("trace-export".into())
        .spawn(move || run(&runtime, exporter, transport))?;
    Ok((queue, ExportThread(thread)))
}

fn run(runtime: &tokio::runtime::Runtime, exporter: Exporter, transport: Collector) {
    runtime.block_on(exporter.run(transport));
}

fn settings(export: &TraceExport) -> Result<otlp::Settings, ExportError> {
    let mut resource = Resource::new(&export.service_name, env!("CARGO_PKG_VERSION"));
    resource.set_all(&export.resource_of_environment);
    // The name has a setting and a variable of its own, which come first.
    resource.set("service.name", &export.service_name);
    for (name, value) in &export.resource {
        resource.set(name, value);
    }
    Ok(otlp::Settings {
        protocol: match export.protocol {
            TraceProtocol::HttpProtobuf => Protocol::HttpProtobuf,
            TraceProtocol::HttpJson => Protocol::HttpJson,
        },
        headers: headers(&export.headers)?,
        resource,
        queue_max: export.queue_max,
        batch_max: export.batch_max,
        interval: export.interval,
    })
}

fn headers(secrets: &[(HeaderName, SecretPlace)]) -> Result<HeaderMap, ExportError> {
    let mut headers = HeaderMap::with_capacity(secrets.len());
    for (name, secret) in secrets {
        let (path, read) = match secret {
            SecretPlace::Value(secret) => ("", Some(secret.clone())),
            SecretPlace::File { path, encoding } => {
                let text = std::fs::read(path).map_err(|source| ExportError::HeaderFile {
                    name: name.clone(),
                    path: path.clone(),
                    source,
                })?;
                (&**path, encoding.decode(&text).ok())
            }
        };
        let value = read.and_then(|secret| HeaderValue::from_bytes(secret.bytes()).ok());
        let mut value = value.ok_or_else(|| ExportError::HeaderValue {
            name: name.clone(),
            path: path.to_owned(),
        })?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

/// Where batches are posted.
struct Collector {
    client: reqwest::Client,
    url: String,
}

impl Collector {
    fn new(export: &TraceExport) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(export.timeout)
            // A credential goes to nobody else.
            .redirect(Policy::none())
            .referer(false)
            .pool_max_idle_per_host(1)
            .user_agent(concat!("gateway/", env!("CARGO_PKG_VERSION")));
        // A proxy of the environment sees nothing of https, and all of http.
        let client = if export.url.starts_with("https:") {
            client.https_only(true)
        } else {
            client.no_proxy()
        };
        Ok(Self {
            client: client.build()?,
            url: export.url.clone(),
        })
    }
}

impl Transport for Collector {
    async fn post(&self, headers: HeaderMap, body: Bytes) -> Result<Response<Bytes>, PostError> {
        let request = self.client.post(&self.url).headers(headers).body(body);
        let send = async {
            let mut answer = request.send().await?;
            let mut body = Vec::new();
            while let Some(chunk) = answer.chunk().await? {
                // What is cut cannot be read, and then says nothing.
                if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                    break;
                }
                body.extend_from_slice(&chunk);
            }
            let mut response = Response::new(Bytes::from(body));
            *response.status_mut() = answer.status();
            *response.headers_mut() = std::mem::take(answer.headers_mut());
            Ok(response)
        };
        // Without the URL, whose query may hold a credential.
        Ok(send.await.map_err(reqwest::Error::without_url)?)
    }
}

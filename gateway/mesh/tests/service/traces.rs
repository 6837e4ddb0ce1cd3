//! The export of spans: what is counted of it, and whom it trusts.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use mesh::client::Client;
use mesh::headers::TRACEPARENT;
use mesh::otlp::{self, Https, PlainHttp, Protocol, Resource, TRACES_PATH, Transport as _};
use mesh::service::{Collector, Command, Tracing, parse};
use mesh::testing::{PATIENCE, Running, seeded_store, settings};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::notes::{Note, text};

/// The authority that has signed the certificate beside it, which is for 127.0.0.1 alone. Both are
/// good for a hundred years.
const AUTHORITY: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/service/tls/authority.pem"
);
const CERTIFICATE: &[u8] = include_bytes!("tls/collector.der");
const KEY: &[u8] = include_bytes!("tls/collector.key.der");
const SETTING: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";

const CARGO_TOML: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");

/// A collector that answers each export with this status; with none it never answers.
async fn collector(status: Option<StatusCode>, tls: Option<TlsAcceptor>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("port 0");
    let address = listener.local_addr().expect("it listens");
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let tls = tls.clone();
            tokio::spawn(async move {
                match tls {
                    None => answer(stream, status).await,
                    Some(tls) => {
                        // A client that does not trust us leaves.
                        if let Ok(stream) = tls.accept(stream).await {
                            answer(stream, status).await;
                        }
                    }
                }
            });
        }
    });
    address
}

async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, status: Option<StatusCode>) {
    let service = service_fn(async |request: Request<Incoming>| {
        assert_eq!(request.uri().path(), TRACES_PATH);
        let Some(status) = status else {
            return std::future::pending().await;
        };
        let mut answer = Response::new(Empty::<Bytes>::new());
        *answer.status_mut() = status;
        Ok::<_, Infallible>(answer)
    });
    let serving = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    serving.await.expect("the client speaks HTTP");
}

fn acceptor() -> TlsAcceptor {
    let key = PrivateKeyDer::try_from(KEY).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the defaults")
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(CERTIFICATE)], key)
        .expect("they belong together");
    Arc::new(config).into()
}

/// A service that exports so, spans one by one.
async fn notes(collector: Collector, queue_max: usize) -> Running {
    let mut settings = settings();
    settings.tracing = Some(Tracing {
        export: otlp::Settings {
            protocol: Protocol::HttpProtobuf,
            headers: HeaderMap::new(),
            resource: Resource::new("notes-svc", "1"),
            queue_max,
            batch_max: 1,
            interval: Duration::ZERO,
        },
        collector,
        root_ratio: 0.0,
    });
    Running::start(settings, seeded_store::<Note>()).await
}

fn plain(address: SocketAddr) -> Collector {
    Collector::Plain(PlainHttp {
        client: Client::new(PATIENCE),
        url: format!("http://{address}{TRACES_PATH}"),
    })
}

fn over_tls(host: &str, address: SocketAddr, ca: Option<&str>) -> Https {
    let url = format!("https://{host}:{}{TRACES_PATH}", address.port());
    let https = Https::new(Client::new(PATIENCE), url, ca.map(Path::new), SETTING);
    https.expect("there are roots")
}

/// A request that its sender traces: a span for it, one for the database.
async fn traced(service: &Running) {
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let headers = HeaderMap::from_iter([(TRACEPARENT, HeaderValue::from_static(parent))]);
    let answer = service.send(Method::GET, "/notes/1", headers).await;
    assert_eq!(answer.status(), StatusCode::OK);
}

async fn metrics(service: &Running) -> String {
    text(&service.get("/metrics").await).to_owned()
}

fn spans(metrics: &str, outcome: &str) -> u64 {
    let name = format!("service_trace_spans_total{{outcome=\"{outcome}\"}} ");
    let count = metrics.lines().find_map(|line| line.strip_prefix(&name));
    let count = count.unwrap_or_else(|| panic!("{name}: {metrics}"));
    count.parse().expect("a number")
}

async fn wait_for(service: &Running, outcome: &str, count: u64) {
    let counted = async { while spans(&metrics(service).await, outcome) < count {} };
    let counted = tokio::time::timeout(PATIENCE, counted).await;
    counted.unwrap_or_else(|_| panic!("{count} spans are not {outcome}"));
}

#[tokio::test]
async fn spans_are_counted_by_what_became_of_them() {
    for (status, outcome, other) in [
        (StatusCode::OK, "exported", "failed"),
        (StatusCode::BAD_REQUEST, "failed", "exported"),
    ] {
        let service = notes(plain(collector(Some(status), None).await), 64).await;
        traced(&service).await;
        wait_for(&service, outcome, 2).await;
        let metrics = metrics(&service).await;
        assert_eq!(spans(&metrics, outcome), 2);
        assert_eq!(spans(&metrics, other), 0);
        assert_eq!(spans(&metrics, "dropped"), 0);
        assert!(metrics.contains("\nservice_trace_export_retries_total 0\n"));
        assert!(metrics.ends_with("# EOF\n") && metrics.matches("# EOF").count() == 1);
    }
    let service = Running::seeded::<Note>().await;
    let untold = metrics(&service).await;
    assert!(!untold.contains("service_trace"), "none are made: {untold}");
}

#[tokio::test]
async fn what_finds_the_queue_full_is_dropped_and_counted() {
    let service = notes(plain(collector(None, None).await), 1).await;
    for _ in 0..10 {
        traced(&service).await;
    }
    // One may be on its way and one in the queue.
    let dropped = spans(&metrics(&service).await, "dropped");
    assert!((18..=20).contains(&dropped), "{dropped}");
}

#[tokio::test]
async fn a_collector_is_reached_over_tls_if_its_certificate_is_trusted_and_for_its_host() {
    let address = collector(Some(StatusCode::OK), Some(acceptor())).await;
    let trusted = over_tls("127.0.0.1", address, Some(AUTHORITY));
    let service = notes(Collector::Tls(trusted), 64).await;
    traced(&service).await;
    wait_for(&service, "exported", 2).await;
    for (host, ca, why) in [
        ("127.0.0.1", None, "UnknownIssuer"),
        ("localhost", Some(AUTHORITY), "NotValidForName"),
    ] {
        let https = over_tls(host, address, ca);
        let posted = https.post(HeaderMap::new(), Bytes::new()).await;
        let refused = format!("{:?}", posted.expect_err("it is not trusted"));
        assert!(refused.contains(why), "{host}: {refused}");
    }
}

#[test]
fn the_endpoint_is_plain_or_over_tls_and_what_cannot_be_asked_is_refused() {
    let parse = |arguments: &[&str]| {
        let all = ["notes-svc"].iter().chain(arguments);
        parse::<Note>(all.map(Into::into))
    };
    for (endpoint, expected) in [
        ("", None),
        ("http://127.0.0.1:4318/", Some(false)),
        ("https://collector.example", Some(true)),
    ] {
        let arguments = ["--otlp-endpoint", endpoint, "--otlp-certificate", AUTHORITY];
        let Ok(Command::Serve(settings)) = parse(&arguments) else {
            panic!("{endpoint}")
        };
        let tracing = settings.tracing.as_ref();
        let is_tls = tracing.map(|it| matches!(it.collector, Collector::Tls(_)));
        assert_eq!(is_tls, expected, "{endpoint}");
    }
    for (endpoint, ca, part) in [
        ("127.0.0.1:4318", AUTHORITY, "write http://HOST:PORT"),
        ("grpc://collector:4317", AUTHORITY, "write http://HOST:PORT"),
        ("https://me:pw@collector", AUTHORITY, "into --otlp-headers"),
        ("https://collector", "/nowhere.pem", SETTING),
        ("https://collector", CARGO_TOML, "has no certificate in it"),
    ] {
        let arguments = ["--otlp-endpoint", endpoint, "--otlp-certificate", ca];
        let error = parse(&arguments).err();
        let error = error.unwrap_or_else(|| panic!("{endpoint}")).to_string();
        assert!(error.contains(part), "{endpoint}: {error}");
        assert!(!error.contains("me:pw"), "{error}");
    }
}

//! Checks a service's OpenAPI document against what the service does.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{HeaderName, Method, Response};
use serde_json::{Map, Value};

use super::{Running, seeded_store, settings};
use crate::identity;
use crate::service::store::{PoolState, Record, Store, StoreError};
use crate::service::{Endpoint, Resource};

/// A store whose database is gone.
#[derive(Clone, Copy, Debug)]
pub struct Failing;

impl<R: Resource> Store<R> for Failing {
    async fn list(&self, _after: i64, _limit: usize) -> Result<Vec<R>, StoreError> {
        Err(StoreError::Failed("the disk is on fire".into()))
    }

    async fn get(&self, _id: i64) -> Result<Option<R>, StoreError> {
        Err(StoreError::Failed("the disk is on fire".into()))
    }

    async fn ready(&self) -> Result<(), StoreError> {
        Err(StoreError::Failed("the disk is on fire".into()))
    }

    fn pool(&self) -> PoolState {
        PoolState::default()
    }
}

/// What to append to an endpoint's path, and the status that it leads to.
fn requests(endpoint: Endpoint) -> &'static [(&'static str, u16)] {
    match endpoint {
        Endpoint::List => &[("", 200), ("?limit=1", 200), ("?limit=0", 400)],
        Endpoint::Get => &[("1", 200), ("x", 400), ("9999", 404)],
        Endpoint::Root
        | Endpoint::Healthy
        | Endpoint::Ready
        | Endpoint::OpenApi
        | Endpoint::Metrics => &[("", 200)],
    }
}

/// Fails unless every route is documented, every documented path is a route, each
/// answers with the statuses, media types and schemas that are documented for it,
/// and no status is documented that cannot be brought about.
pub async fn check<R: Record>() {
    let document: Value = serde_json::from_str(R::OPENAPI).expect("the document is JSON");
    assert!(
        document["openapi"]
            .as_str()
            .is_some_and(|version| version.starts_with("3."))
    );
    assert_eq!(document["info"]["version"], R::VERSION, "info.version");
    let documented: BTreeSet<_> = object(&document["paths"]).keys().cloned().collect();
    let routes: BTreeSet<_> = Endpoint::ALL
        .iter()
        .map(|endpoint| endpoint.path::<R>())
        .collect();
    assert_eq!(documented, routes, "documented paths, routes");

    let healthy = Running::seeded::<R>().await;
    let guarded = guarded::<R>().await;
    let failing = Running::start::<R, _>(settings(), Failing).await;
    for endpoint in Endpoint::ALL {
        let path = endpoint.path::<R>();
        let operation = &document["paths"][&path]["get"];
        let mut seen = BTreeSet::new();
        for (suffix, status) in requests(endpoint) {
            let url = path.replace("{id}", "") + suffix;
            let answer = healthy.get(&url).await;
            assert_eq!(answer.status().as_u16(), *status, "GET {url}");
            check_answer(&document, operation, &answer, &url);
            check_head(&healthy, &url, &answer).await;
            seen.insert(status.to_string());
        }
        let url = path.replace("{id}", "1");
        let answer = failing.get(&url).await;
        check_answer(&document, operation, &answer, &url);
        seen.insert(answer.status().as_u16().to_string());
        let answer = guarded.get(&url).await;
        check_answer(&document, operation, &answer, &url);
        seen.insert(answer.status().as_u16().to_string());
        let documented: BTreeSet<_> = object(&operation["responses"]).keys().cloned().collect();
        assert_eq!(
            documented, seen,
            "{path}: documented statuses, statuses seen"
        );
    }
}

/// The service as it is where requests must come through a gateway.
async fn guarded<R: Record>() -> Running {
    let mut settings = settings();
    settings.require_gateway = Some(identity::Options {
        // What has no token is refused before any key is looked for.
        keys: "http://127.0.0.1:1/".parse().expect("a URL"),
        issuer: identity::ISSUER.into(),
        audience: R::SERVICE.into(),
        header: HeaderName::from_static(identity::HEADER),
    });
    Running::start::<R, _>(settings, seeded_store()).await
}

/// HEAD answers as GET does, without the body (RFC 9110, section 9.3.2).
async fn check_head(server: &Running, url: &str, get: &Response<Bytes>) {
    let head = server.send(Method::HEAD, url, http::HeaderMap::new()).await;
    assert_eq!(head.status(), get.status(), "HEAD {url}");
    assert!(head.body().is_empty(), "HEAD {url}");
    for name in ["content-type", "link"] {
        assert_eq!(
            head.headers().get(name),
            get.headers().get(name),
            "HEAD {url}: {name}"
        );
    }
}

fn check_answer(document: &Value, operation: &Value, answer: &Response<Bytes>, url: &str) {
    let responses = object(&operation["responses"]);
    let response = responses.get(answer.status().as_str());
    let response = resolve(
        document,
        response.unwrap_or_else(|| panic!("{url}: {} is not documented", answer.status())),
    );
    let media_type = answer.headers()["content-type"].to_str().expect("ASCII");
    let schema = &response["content"][media_type]["schema"];
    assert!(
        schema.is_object(),
        "{url}: {} as {media_type} is not documented",
        answer.status()
    );
    let body = if media_type.contains("json") {
        serde_json::from_slice(answer.body()).expect("the body is JSON")
    } else {
        Value::String(String::from_utf8(answer.body().to_vec()).expect("the body is text"))
    };
    conforms(document, schema, &body, url);
}

/// Fails unless `value` is as `schema` says, as far as our documents use JSON Schema.
fn conforms(document: &Value, schema: &Value, value: &Value, at: &str) {
    let schema = resolve(document, schema);
    let fits = match schema["type"].as_str().expect("every schema has a type") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64(),
        other => panic!("{at}: type `{other}` is not known here"),
    };
    assert!(fits, "{at}: {value} is not {}", schema["type"]);
    for item in value.as_array().into_iter().flatten() {
        conforms(document, &schema["items"], item, &format!("{at}[]"));
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().expect("a name");
        assert!(value.get(name).is_some(), "{at}: {value} has no `{name}`");
    }
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    for (name, value) in value.as_object().into_iter().flatten() {
        let property = properties.get(name);
        let property = property.unwrap_or_else(|| panic!("{at}: `{name}` is not documented"));
        conforms(document, property, value, &format!("{at}.{name}"));
    }
}

fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let Some(reference) = value["$ref"].as_str() else {
        return value;
    };
    let pointer = reference.trim_start_matches('#');
    document
        .pointer(pointer)
        .unwrap_or_else(|| panic!("{reference} leads nowhere"))
}

fn object(value: &Value) -> &Map<String, Value> {
    value.as_object().expect("an object")
}

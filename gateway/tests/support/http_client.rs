//! A real HTTP client, for everything but the odd bytes.

use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use reqwest::{Client, RequestBuilder};
use serde_json::Value;

use super::{PATIENCE, runtime};

/// One client with one pool for all tests; addresses keep them apart.
pub(crate) fn client() -> &'static Client {
    static CLIENT: LazyLock<Client> = LazyLock::new(|| {
        Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("a client can be made")
    });
    &CLIENT
}

/// An answer with its whole body.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Sends a request and waits for the whole answer.
pub(crate) trait Fetch {
    fn fetch(self) -> Reply;

    /// An error where the answer breaks off.
    fn try_fetch(self) -> Result<Reply, reqwest::Error>;
}

impl Fetch for RequestBuilder {
    fn fetch(self) -> Reply {
        self.try_fetch()
            .unwrap_or_else(|error| panic!("no answer: {error:?}"))
    }

    fn try_fetch(self) -> Result<Reply, reqwest::Error> {
        runtime().block_on(fetch(self))
    }
}

/// The same within the runtime.
pub(crate) async fn fetch(request: RequestBuilder) -> Result<Reply, reqwest::Error> {
    let response = request.send().await?;
    Ok(Reply {
        status: response.status(),
        headers: response.headers().clone(),
        body: response.bytes().await?,
    })
}

impl Reply {
    pub(crate) fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// A header's value; several of the same name joined as RFC 9110 section 5.3 allows.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        header(&self.headers, name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// `200`, or the status and the reason of a refusal.
    pub(crate) fn verdict(&self) -> String {
        match self.status() {
            200 => "200".into(),
            status => format!("{status} {}", self.reason()),
        }
    }

    /// The reason code of a refusal that is well-formed in every way.
    pub(crate) fn reason(&self) -> String {
        reason(self.status(), &self.headers, &self.body)
    }
}

pub(crate) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let values = headers.get_all(name).iter();
    let values: Vec<_> = values
        .map(|value| String::from_utf8_lossy(value.as_bytes()))
        .collect();
    (!values.is_empty()).then(|| values.join(", "))
}

/// The reason code in problem+json (RFC 9457), whose other members must agree with the answer.
pub(crate) fn reason(status: u16, headers: &HeaderMap, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    assert_eq!(
        header(headers, "content-type").as_deref(),
        Some("application/problem+json"),
        "{status} {text}"
    );
    let problem: Value =
        serde_json::from_slice(body).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(problem["status"], status, "{text}");
    assert!(problem["title"].is_string(), "{text}");
    let id = header(headers, "x-request-id");
    assert_eq!(problem["request_id"].as_str(), id.as_deref(), "{text}");
    let code = problem["code"]
        .as_str()
        .unwrap_or_else(|| panic!("no code: {text}"));
    assert_eq!(problem["type"], format!("urn:problem:{code}"));
    code.to_owned()
}

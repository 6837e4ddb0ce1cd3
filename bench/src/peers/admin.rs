//! What the gateway says at its admin listener.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Bound on one exchange: a reload of 10,000 routes takes some tenths of a second.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of an answer that are taken: one that lists 10,000 routes has 0.2 MB.
const ANSWER_BYTES_MAX: u64 = 8 << 20;

/// The body of an answer with status 200.
///
/// # Errors
/// When there is none in time, or one with another status.
pub(super) async fn exchange(
    address: SocketAddr,
    method: &str,
    path: &str,
) -> anyhow::Result<Vec<u8>> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        // HTTP/1.0 has no chunks: the body ends with the connection (RFC 9112, section 6.3).
        let request = format!("{method} {path} HTTP/1.0\r\nhost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        let mut limited = stream.take(ANSWER_BYTES_MAX);
        limited.read_to_end(&mut answer).await?;
        body(answer)
    };
    let answer = tokio::time::timeout(TIMEOUT, exchange).await;
    let answer = answer.unwrap_or_else(|_elapsed| bail!("there was no answer in time"));
    answer.with_context(|| format!("{method} {path} of the admin listener"))
}

/// The value of a metric without labels, in the text that Prometheus reads.
pub(super) fn metric(text: &str, name: &str) -> Option<u64> {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
    text.lines().find_map(value)
}

fn body(mut answer: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head_bytes) = head.parse(&answer)? else {
        bail!("the answer has no whole head");
    };
    let status = head.code.unwrap_or_default();
    let body = answer.split_off(head_bytes);
    if status != 200 {
        let body = String::from_utf8_lossy(&body);
        bail!("it was answered with {status}: {}", body.trim_end());
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_body_of_a_good_answer_is_taken() {
        for (answer, expected) in [
            ("HTTP/1.0 200 OK\r\n\r\nbody", Ok("body")),
            (
                "HTTP/1.0 422 No\r\n\r\nwhy\n",
                Err("it was answered with 422: why"),
            ),
            ("HTTP/1.0 200 OK\r\n", Err("the answer has no whole head")),
        ] {
            let found = body(answer.into()).map_err(|error| error.to_string());
            let expected = expected
                .map(|text| text.as_bytes().to_vec())
                .map_err(str::to_owned);
            assert_eq!(found, expected, "{answer}");
        }
    }

    #[test]
    fn metric_is_found_by_its_whole_name() {
        let text = "# TYPE a gauge\nab 1\na{b=\"c\"} 2\na 3\n";
        assert_eq!(metric(text, "a"), Some(3));
        assert_eq!(metric(text, "b"), None);
    }
}

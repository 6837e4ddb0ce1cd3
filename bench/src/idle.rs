//! `bench idle`: what idle client connections cost a server in memory.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::cli::IdleArgs;
use crate::output;
use crate::peers::procfs;

/// Bound on connecting, and on each answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer that are taken.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Requests before anything is measured, so that what the first ones bring is nobody's.
const WARMING: usize = 20;

/// Resident memory of the server's processes, in bytes for each connection.
#[derive(Debug, Serialize)]
struct Report {
    connections: u64,
    /// Before the first of them.
    resident_bytes_before: u64,
    /// Opened; nothing was ever sent.
    silent_bytes_each: u64,
    /// One request each, just now.
    served_bytes_each: u64,
    /// The same, idle since for the settling time.
    idle_bytes_each: u64,
}

/// Opens the connections and prints the report.
///
/// # Errors
/// When the server cannot be reached, answers with an error, or has no memory that can be read.
pub(crate) async fn run(arguments: IdleArgs) -> anyhow::Result<ExitCode> {
    let server = Server::new(&arguments)?;
    for _ in 0..WARMING {
        server.ask(&mut server.connect().await?).await?;
    }
    tokio::time::sleep(arguments.settle).await;
    let connections = u64::from(arguments.connections);
    let before = server.resident_bytes()?;
    let each = |now: u64| now.saturating_sub(before) / connections;

    let mut open = Vec::with_capacity(arguments.connections.into());
    for _ in 0..connections {
        open.push(server.connect().await?);
    }
    tokio::time::sleep(arguments.settle).await;
    let silent = server.resident_bytes()?;
    for connection in &mut open {
        server.ask(connection).await?;
    }
    let after_one = server.resident_bytes()?;
    tokio::time::sleep(arguments.settle).await;
    let report = Report {
        connections,
        resident_bytes_before: before,
        silent_bytes_each: each(silent),
        served_bytes_each: each(after_one),
        idle_bytes_each: each(server.resident_bytes()?),
    };
    output::report(&format!(
        "{} connections; resident memory before: {}\n\
         {:>9} bytes each that never sent anything\n\
         {:>9} bytes each, served one request\n\
         {:>9} bytes each, idle for {} since\n",
        output::grouped(connections),
        output::bytes(before),
        output::grouped(report.silent_bytes_each),
        output::grouped(report.served_bytes_each),
        output::grouped(report.idle_bytes_each),
        humantime::format_duration(arguments.settle),
    ))?;
    if let Some(path) = &arguments.json {
        output::write_json(path, &report)?;
    }
    Ok(ExitCode::SUCCESS)
}

struct Server {
    address: String,
    request: String,
    processes: BTreeSet<i32>,
}

impl Server {
    fn new(arguments: &IdleArgs) -> anyhow::Result<Self> {
        let uri: http::Uri = arguments.url.parse().context("--url")?;
        ensure!(
            uri.scheme_str() == Some("http"),
            "--url must begin with http://"
        );
        let host = uri.host().context("--url has no host")?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            address: format!("{host}:{}", uri.port_u16().unwrap_or(80)),
            request: format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n"),
            processes: procfs::process_tree(arguments.pid).context("--pid")?,
        })
    }

    fn resident_bytes(&self) -> anyhow::Result<u64> {
        procfs::resident_bytes(&self.processes).context("the memory of --pid cannot be read")
    }

    async fn connect(&self) -> anyhow::Result<TcpStream> {
        let connecting = TcpStream::connect(&self.address);
        let connected = tokio::time::timeout(TIMEOUT, connecting).await;
        let connected = connected.with_context(|| format!("{} does not accept", self.address))?;
        connected.with_context(|| format!("cannot connect to {}", self.address))
    }

    async fn ask(&self, connection: &mut TcpStream) -> anyhow::Result<()> {
        connection.write_all(self.request.as_bytes()).await?;
        let answer = tokio::time::timeout(TIMEOUT, read_answer(connection));
        answer.await.context("no answer in time")?
    }
}

/// Reads one answer whose length its head tells; leaves the connection between two messages.
async fn read_answer(connection: &mut TcpStream) -> anyhow::Result<()> {
    let mut bytes = Vec::with_capacity(4096);
    loop {
        if connection.read_buf(&mut bytes).await? == 0 {
            bail!("the server closed the connection");
        }
        if let Some(length) = answer_length(&bytes)? {
            ensure!(length <= ANSWER_BYTES_MAX, "an answer of {length} bytes");
            if bytes.len() >= length {
                return Ok(());
            }
        }
    }
}

/// Bytes of an answer, head and body; `None` before its head is whole.
fn answer_length(bytes: &[u8]) -> anyhow::Result<Option<usize>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut head = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head_length) = head.parse(bytes)? else {
        return Ok(None);
    };
    let status = head.code.unwrap_or_default();
    ensure!((200..400).contains(&status), "the server answers {status}");
    let named = |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case("content-length");
    let length = head.headers.iter().find(named);
    let length = length.context("the answer has no content-length")?;
    let length: usize = std::str::from_utf8(length.value)?.trim().parse()?;
    Ok(Some(head_length + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_as_long_as_its_head_says() {
        for (text, expected) in [
            ("HTTP/1.1 200 OK\r\n", Ok(None)),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
                Ok(Some(43)),
            ),
            (
                "HTTP/1.1 500 Oh\r\ncontent-length: 5\r\n\r\n",
                Err("the server answers 500"),
            ),
            (
                "HTTP/1.1 200 OK\r\n\r\n",
                Err("the answer has no content-length"),
            ),
        ] {
            let found = answer_length(text.as_bytes()).map_err(|error| error.to_string());
            assert_eq!(found, expected.map_err(str::to_owned), "{text}");
        }
    }
}

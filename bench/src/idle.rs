//! What idle client connections cost a server in memory: `bench idle`, and the scenario of
//! `bench peers` with that name.

use std::collections::BTreeSet;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};
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

/// What connections weigh: resident memory of the server's processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Weights {
    pub(crate) connections: u64,
    /// Before the first of them.
    pub(crate) resident_bytes_before: u64,
    /// For each, opened; nothing was ever sent.
    pub(crate) silent_bytes_each: u64,
    /// One request each, just now.
    pub(crate) served_bytes_each: u64,
    /// The same, idle since for the settling time.
    pub(crate) idle_bytes_each: u64,
    /// How many of them the server has closed by then.
    pub(crate) closed: u64,
}

/// A server, and what its connections ask for once.
pub(crate) struct Server {
    /// `HOST:PORT`.
    pub(crate) address: String,
    /// The whole request, which has no body.
    pub(crate) request: Vec<u8>,
    pub(crate) processes: BTreeSet<i32>,
}

/// Opens the connections and prints what they weigh.
///
/// # Errors
/// When the server cannot be reached, answers with an error, or has no memory that can be read.
pub(crate) async fn run(arguments: IdleArgs) -> anyhow::Result<ExitCode> {
    let server = Server::of(&arguments)?;
    let weights = server
        .weigh(arguments.connections, arguments.settle)
        .await?;
    ensure!(
        weights.closed == 0,
        "the server closed {} of the connections within --settle",
        weights.closed
    );
    output::report(&format!(
        "{} connections; resident memory before: {}\n\
         {:>9} bytes each that never sent anything\n\
         {:>9} bytes each, served one request\n\
         {:>9} bytes each, idle for {} since\n",
        output::grouped(weights.connections),
        output::bytes(weights.resident_bytes_before),
        output::grouped(weights.silent_bytes_each),
        output::grouped(weights.served_bytes_each),
        output::grouped(weights.idle_bytes_each),
        humantime::format_duration(arguments.settle),
    ))?;
    if let Some(path) = &arguments.json {
        output::write_json(path, &weights)?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Server {
    fn of(arguments: &IdleArgs) -> anyhow::Result<Self> {
        let uri: http::Uri = arguments.url.parse().context("--url")?;
        ensure!(
            uri.scheme_str() == Some("http"),
            "--url must begin with http://"
        );
        let host = uri.host().context("--url has no host")?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            address: format!("{host}:{}", uri.port_u16().unwrap_or(80)),
            request: format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n").into_bytes(),
            processes: procfs::process_tree(arguments.pid).context("--pid")?,
        })
    }

    /// Opens so many connections, has each served once, and reads the memory before, in between
    /// and after, each time when `settle` has passed.
    ///
    /// # Errors
    /// When the server cannot be reached, answers with an error, or has no memory that can be
    /// read.
    pub(crate) async fn weigh(
        &self,
        connections: u16,
        settle: Duration,
    ) -> anyhow::Result<Weights> {
        for _ in 0..WARMING {
            self.ask(&mut self.connect().await?).await?;
        }
        tokio::time::sleep(settle).await;
        let connections = u64::from(connections);
        let before = self.resident_bytes()?;
        let each = |now: u64| now.saturating_sub(before) / connections;

        let mut open = Vec::new();
        for _ in 0..connections {
            open.push(self.connect().await?);
        }
        tokio::time::sleep(settle).await;
        let silent = self.resident_bytes()?;
        for connection in &mut open {
            self.ask(connection).await?;
        }
        let after_one = self.resident_bytes()?;
        tokio::time::sleep(settle).await;
        Ok(Weights {
            connections,
            resident_bytes_before: before,
            silent_bytes_each: each(silent),
            served_bytes_each: each(after_one),
            idle_bytes_each: each(self.resident_bytes()?),
            closed: open.iter().map(|it| u64::from(is_closed(it))).sum(),
        })
    }

    fn resident_bytes(&self) -> anyhow::Result<u64> {
        procfs::resident_bytes(&self.processes).context("the server's memory cannot be read")
    }

    async fn connect(&self) -> anyhow::Result<TcpStream> {
        let connecting = TcpStream::connect(&self.address);
        let connected = tokio::time::timeout(TIMEOUT, connecting).await;
        let connected = connected.with_context(|| format!("{} does not accept", self.address))?;
        connected.with_context(|| format!("cannot connect to {}", self.address))
    }

    async fn ask(&self, connection: &mut TcpStream) -> anyhow::Result<()> {
        connection.write_all(&self.request).await?;
        let answer = tokio::time::timeout(TIMEOUT, read_answer(connection));
        answer.await.context("no answer in time")?
    }
}

/// Whether the other side has ended the connection, on which nothing is under way.
fn is_closed(connection: &TcpStream) -> bool {
    let nothing_yet = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
    !connection
        .try_read(&mut [0])
        .is_err_and(|error| nothing_yet(&error))
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
    ensure!(
        (200..400).contains(&status),
        "the server answers {status}: {}",
        String::from_utf8_lossy(&bytes[head_length..]).trim()
    );
    let named = |header: &&httparse::Header<'_>| header.name.eq_ignore_ascii_case("content-length");
    let length = head.headers.iter().find(named);
    let length = length.context("the answer has no content-length")?;
    let length: usize = std::str::from_utf8(length.value)?.trim().parse()?;
    Ok(Some(head_length + length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_is_closed_when_the_other_side_has_ended_it() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connection = TcpStream::connect(listener.local_addr().unwrap()).await;
        let connection = connection.unwrap();
        let (other_side, _) = listener.accept().await.unwrap();
        assert!(!is_closed(&connection));
        drop(other_side);
        connection.readable().await.unwrap();
        assert!(is_closed(&connection));
    }

    #[test]
    fn an_answer_is_as_long_as_its_head_says() {
        for (text, expected) in [
            ("HTTP/1.1 200 OK\r\n", Ok(None)),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
                Ok(Some(43)),
            ),
            (
                "HTTP/1.1 500 Oh\r\ncontent-length: 5\r\n\r\nwhy\r\n",
                Err("the server answers 500: why"),
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

//! One JSON line a request: formatted into a worker's buffer, written by a thread of its own.
//!
//! A worker never waits for the log. When the writer falls behind by more than
//! [`BUFFERS_QUEUED_MAX`] buffers, whole buffers are dropped and counted.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;

/// Bytes of a worker's buffer at which it is handed to the writer.
const BUFFER_BYTES: usize = 32 * 1024;
/// Buffers that may wait for the writer: 8 MiB.
const BUFFERS_QUEUED_MAX: usize = 256;

/// What one line holds. Absent fields are left out.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    pub(crate) time: Timestamp,
    pub(crate) level: &'static str,
    pub(crate) message: &'static str,
    pub(crate) method: &'a str,
    /// Without the query, which may hold secrets.
    pub(crate) path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<&'a str>,
    pub(crate) status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upstream: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<&'a str>,
    pub(crate) tries: u32,
    pub(crate) duration_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upstream_us: Option<u64>,
    pub(crate) bytes_sent: u64,
    pub(crate) client: IpAddr,
    pub(crate) request_id: &'a str,
    pub(crate) trace_id: TraceId,
}

/// Written as 32 hexadecimal digits.
pub(crate) struct TraceId(pub(crate) u128);

impl Serialize for TraceId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:032x}", self.0))
    }
}

/// Microseconds since 1970, written as RFC 3339.
pub(crate) struct Timestamp(pub(crate) u64);

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let time = UNIX_EPOCH + Duration::from_micros(self.0);
        serializer.collect_str(&humantime::format_rfc3339_micros(time))
    }
}

/// Where the lines go.
pub(crate) enum Output {
    Stdout,
    File(std::fs::File),
}

impl Output {
    /// Opens a file for appending.
    pub(crate) fn file(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self::File(file))
    }
}

/// The writing end of the log, shared by the workers.
pub(crate) struct AccessLog {
    sender: SyncSender<Vec<u8>>,
    lines_dropped: AtomicU64,
}

/// Joins the writer's thread once every sender is gone.
pub(crate) struct WriterThread(JoinHandle<()>);

impl WriterThread {
    /// Waits until what was queued is written.
    pub(crate) fn join(self) {
        if self.0.join().is_err() {
            tracing::error!("the access log's writer broke down");
        }
    }
}

impl AccessLog {
    /// Starts the writer.
    pub(crate) fn start(output: Output) -> io::Result<(Arc<Self>, WriterThread)> {
        let (sender, receiver) = sync_channel(BUFFERS_QUEUED_MAX);
        let thread = std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || write_all(output, &receiver))?;
        let log = Self {
            sender,
            lines_dropped: AtomicU64::new(0),
        };
        Ok((Arc::new(log), WriterThread(thread)))
    }

    /// Lines lost because the output could not keep up.
    pub(crate) fn lines_dropped(&self) -> u64 {
        self.lines_dropped.load(Ordering::Relaxed)
    }

    fn send(&self, buffer: Vec<u8>) {
        match self.sender.try_send(buffer) {
            Ok(()) => {}
            Err(TrySendError::Full(buffer) | TrySendError::Disconnected(buffer)) => {
                let lines = memchr::memchr_iter(b'\n', &buffer).count() as u64;
                self.lines_dropped.fetch_add(lines, Ordering::Relaxed);
            }
        }
    }
}

fn write_all(output: Output, receiver: &Receiver<Vec<u8>>) {
    let mut output: Box<dyn Write> = match output {
        Output::Stdout => Box::new(io::stdout()),
        Output::File(file) => Box::new(file),
    };
    let mut is_failing = false;
    for buffer in receiver {
        let result = output.write_all(&buffer).and_then(|()| output.flush());
        match result {
            Ok(()) => is_failing = false,
            Err(error) if !is_failing => {
                is_failing = true;
                tracing::warn!(%error, "the access log cannot be written; lines are lost");
            }
            Err(_) => {}
        }
    }
}

/// A worker's buffer. Only its worker comes here, so the lock is never waited for.
pub(crate) struct Buffer {
    log: Option<Arc<AccessLog>>,
    bytes: Mutex<Vec<u8>>,
}

impl Buffer {
    /// A buffer in front of a log; without a log, lines are never formatted.
    pub(crate) fn new(log: Option<Arc<AccessLog>>) -> Self {
        Self {
            log,
            bytes: Mutex::default(),
        }
    }

    /// Adds a line, formatting it only if somebody wants it.
    pub(crate) fn write<'a>(&self, line: impl FnOnce() -> Line<'a>) {
        let Some(log) = &self.log else { return };
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes.capacity() == 0 {
            bytes.reserve(BUFFER_BYTES + BUFFER_BYTES / 8);
        }
        let before = bytes.len();
        if serde_json::to_writer(&mut *bytes, &line()).is_err() {
            bytes.truncate(before);
            return;
        }
        bytes.push(b'\n');
        if bytes.len() >= BUFFER_BYTES {
            log.send(std::mem::take(&mut *bytes));
        }
    }

    /// Hands over what has gathered; called every [`super::super::server::TICK`].
    pub(crate) fn flush(&self) {
        let Some(log) = &self.log else { return };
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if !bytes.is_empty() {
            log.send(std::mem::take(&mut *bytes));
        }
    }
}

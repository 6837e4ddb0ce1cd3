//! One JSON line a request: formatted into a worker's buffer, written by a thread of its own.
//!
//! A worker never waits for the log. When the writer falls behind by more than
//! [`BUFFERS_QUEUED_MAX`] buffers, whole buffers are dropped and counted.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::line::{LineWriter, TimeText};

/// Bytes of a worker's buffer at which it is handed to the writer.
const BUFFER_BYTES: usize = 32 * 1024;
/// Buffers that may wait for the writer: 8 MiB.
const BUFFERS_QUEUED_MAX: usize = 256;

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
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    time: TimeText,
}

impl Buffer {
    /// A buffer in front of a log; without a log, lines are never formatted.
    pub(crate) fn new(log: Option<Arc<AccessLog>>) -> Self {
        Self {
            log,
            state: Mutex::default(),
        }
    }

    /// Adds a line, formatting it only if somebody wants it.
    pub(crate) fn write(&self, unix_micros: u64, fields: impl FnOnce(&mut LineWriter<'_>)) {
        let Some(log) = &self.log else { return };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { bytes, time } = &mut *state;
        if bytes.capacity() == 0 {
            bytes.reserve(BUFFER_BYTES + BUFFER_BYTES / 8);
        }
        let mut line = LineWriter::begin(bytes, time, unix_micros);
        fields(&mut line);
        line.end();
        if bytes.len() >= BUFFER_BYTES {
            log.send(std::mem::take(bytes));
        }
    }

    /// Hands over what has gathered; called some times a second.
    pub(crate) fn flush(&self) {
        let Some(log) = &self.log else { return };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.bytes.is_empty() {
            log.send(std::mem::take(&mut state.bytes));
        }
    }
}

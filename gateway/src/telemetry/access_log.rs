//! One line a request: formatted into a worker's buffer, written by a thread of its own.
//!
//! A worker never waits for the log. When the writer falls behind by more than
//! [`BUFFERS_QUEUED_MAX`] buffers, whole buffers are dropped and counted. What the thread does with
//! them is in `log_writer.rs`.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::line::TimeText;
use super::log_writer::{Message, Order, Output, Shared, Writer, lines};

/// Bytes of a worker's buffer at which it is handed to the writer.
const BUFFER_BYTES: usize = 64 * 1024;
/// Buffers that may wait for the writer: 16 MiB.
const BUFFERS_QUEUED_MAX: usize = 256;

/// The writing end of the log, shared by the workers.
pub(crate) struct AccessLog {
    sender: SyncSender<Message>,
    lines_dropped: AtomicU64,
    shared: Arc<Shared>,
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

/// What has become of lines, and of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogCounts {
    /// Lost because the output could not keep up.
    pub(crate) lines_dropped: u64,
    /// Lost because the output refused them.
    pub(crate) lines_unwritten: u64,
    /// Times that the file was opened anew.
    pub(crate) reopened: u64,
    /// Whether the output refuses what it is given, or the file cannot be opened anew.
    pub(crate) is_failing: bool,
}

impl AccessLog {
    /// Starts the writer; without an output it waits for one.
    pub(crate) fn start(output: Option<Output>) -> io::Result<(Arc<Self>, WriterThread)> {
        let (sender, receiver) = sync_channel(BUFFERS_QUEUED_MAX);
        let shared = Arc::new(Shared::default());
        let writer = Writer::new(output, Arc::clone(&shared));
        let thread = std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || writer.run(&receiver))?;
        let log = Self {
            sender,
            lines_dropped: AtomicU64::new(0),
            shared,
        };
        Ok((Arc::new(log), WriterThread(thread)))
    }

    /// Lines go there from now on; those that are queued may too.
    pub(crate) fn change(&self, output: Output) {
        self.order(Order::Change(output));
    }

    /// Opens the file anew.
    pub(crate) fn reopen(&self) {
        self.order(Order::Reopen);
    }

    fn order(&self, order: Order) {
        self.shared.give(order);
        // Where the queue is full, the writer is awake.
        let _woken = self.sender.try_send(Message::Look);
    }

    pub(crate) fn counts(&self) -> LogCounts {
        LogCounts {
            lines_dropped: self.lines_dropped.load(Ordering::Relaxed),
            lines_unwritten: self.shared.lines_unwritten.load(Ordering::Relaxed),
            reopened: self.shared.reopened.load(Ordering::Relaxed),
            is_failing: self.shared.is_failing.load(Ordering::Relaxed),
        }
    }

    fn send(&self, buffer: Vec<u8>) {
        match self.sender.try_send(Message::Lines(buffer)) {
            Ok(()) => {}
            Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) => {
                let Message::Lines(buffer) = message else {
                    return;
                };
                self.lines_dropped
                    .fetch_add(lines(&buffer), Ordering::Relaxed);
            }
        }
    }
}

/// A worker's buffer. Only its worker comes here, so the lock is never waited for.
pub(crate) struct Buffer {
    log: Arc<AccessLog>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    time: TimeText,
}

impl Buffer {
    /// A buffer in front of a log.
    pub(crate) fn new(log: Arc<AccessLog>) -> Self {
        Self {
            log,
            state: Mutex::default(),
        }
    }

    /// Adds a line, its end included.
    pub(crate) fn write(&self, line: impl FnOnce(&mut Vec<u8>, &mut TimeText)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { bytes, time } = &mut *state;
        if bytes.capacity() == 0 {
            bytes.reserve(BUFFER_BYTES + BUFFER_BYTES / 8);
        }
        line(bytes, time);
        if bytes.len() >= BUFFER_BYTES {
            self.log.send(std::mem::take(bytes));
        }
    }

    /// Hands over what has gathered; called some times a second.
    pub(crate) fn flush(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.bytes.is_empty() {
            self.log.send(std::mem::take(&mut state.bytes));
        }
    }
}

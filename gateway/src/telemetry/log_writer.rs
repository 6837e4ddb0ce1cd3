//! The thread that writes access lines, and the file that is taken away under it.
//!
//! Rotation works from outside: whoever rotates moves the file and makes a new one or none, and the
//! writer opens the path anew, when it is told to or when it sees that the path is another file.
//! Until then it goes on with the one that was moved, so that no line is lost. An output that
//! refuses what it is given costs those lines, which are counted; it is said once, and once more
//! when it works again.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two looks whether the path is still the open file.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Where the lines go.
#[derive(Debug)]
pub(crate) struct Output {
    /// Not buffered: what comes is whole lines, many at a time.
    file: File,
    /// There where it can be opened anew.
    path: Option<PathBuf>,
}

impl Output {
    /// Standard output.
    pub(crate) fn stdout() -> io::Result<Self> {
        let descriptor = io::stdout().as_fd().try_clone_to_owned()?;
        Ok(Self {
            file: descriptor.into(),
            path: None,
        })
    }

    /// Opens a file for appending.
    pub(crate) fn file(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: open(path)?,
            path: Some(path.to_owned()),
        })
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// The lines of a buffer.
pub(super) fn lines(buffer: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', buffer).count() as u64
}

/// What the writer gets.
pub(super) enum Message {
    Lines(Vec<u8>),
    /// There is an order.
    Look,
}

/// What the writer is told to do.
pub(super) enum Order {
    Change(Output),
    Reopen,
}

/// What the writer and others look at.
#[derive(Debug, Default)]
pub(super) struct Shared {
    orders: Mutex<Orders>,
    pub(super) lines_unwritten: AtomicU64,
    pub(super) reopened: AtomicU64,
    pub(super) is_failing: AtomicBool,
}

/// The last of each kind that has not been carried out.
#[derive(Debug, Default)]
struct Orders {
    change: Option<Output>,
    reopen: bool,
}

impl Shared {
    pub(super) fn give(&self, order: Order) {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        match order {
            Order::Change(output) => orders.change = Some(output),
            Order::Reopen => orders.reopen = true,
        }
    }

    fn take(&self) -> Orders {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut orders)
    }
}

/// Writes lines until nobody sends any more.
pub(super) struct Writer {
    output: Option<Output>,
    shared: Arc<Shared>,
    looked_at: Instant,
    /// The last line was written in part.
    is_torn: bool,
    refuses: bool,
    cannot_reopen: bool,
}

impl Writer {
    pub(super) fn new(output: Option<Output>, shared: Arc<Shared>) -> Self {
        Self {
            output,
            shared,
            looked_at: Instant::now(),
            is_torn: false,
            refuses: false,
            cannot_reopen: false,
        }
    }

    pub(super) fn run(mut self, receiver: &Receiver<Message>) {
        loop {
            let message = receiver.recv_timeout(LOOK_INTERVAL);
            if matches!(message, Err(RecvTimeoutError::Disconnected)) {
                return;
            }
            self.obey();
            self.look();
            if let Ok(Message::Lines(buffer)) = message {
                self.write(&buffer);
            }
            let is_failing = self.refuses || self.cannot_reopen;
            self.shared.is_failing.store(is_failing, Ordering::Relaxed);
        }
    }

    fn obey(&mut self) {
        let orders = self.shared.take();
        if let Some(output) = orders.change {
            self.output = Some(output);
            (self.is_torn, self.cannot_reopen) = (false, false);
        }
        if orders.reopen {
            self.reopen();
        }
    }

    /// Whether somebody has moved or deleted the file.
    fn look(&mut self) {
        if self.looked_at.elapsed() < LOOK_INTERVAL {
            return;
        }
        self.looked_at = Instant::now();
        let Some(Output {
            file,
            path: Some(path),
        }) = &self.output
        else {
            return;
        };
        let is_gone = match (file.metadata(), std::fs::metadata(path)) {
            (Ok(open), Ok(named)) => !is_same(&open, &named),
            (_, Err(error)) => error.kind() == ErrorKind::NotFound,
            (Err(_), Ok(_)) => false,
        };
        if is_gone {
            self.reopen();
        }
    }

    /// Goes on with the file that is open where the path cannot be opened.
    fn reopen(&mut self) {
        let Some(output) = &mut self.output else {
            return;
        };
        let Some(path) = &output.path else { return };
        match open(path) {
            Ok(file) => {
                output.file = file;
                (self.is_torn, self.cannot_reopen) = (false, false);
                self.shared.reopened.fetch_add(1, Ordering::Relaxed);
                tracing::info!(path = %path.display(), "the access log's file is opened anew");
            }
            Err(error) => {
                if !self.cannot_reopen {
                    tracing::warn!(
                        %error, path = %path.display(),
                        "the access log's file cannot be opened anew; lines go on into the one \
                         that was moved or deleted"
                    );
                }
                self.cannot_reopen = true;
            }
        }
    }

    fn write(&mut self, buffer: &[u8]) {
        let Some(output) = &self.output else {
            self.count_lost(buffer);
            return;
        };
        let mut file = &output.file;
        let ended = if self.is_torn {
            file.write_all(b"\n")
        } else {
            Ok(())
        };
        let mut rest = buffer;
        let written = ended.and_then(|()| write_lines(&mut file, &mut rest));
        match written {
            Ok(()) => {
                self.is_torn = false;
                if self.refuses {
                    tracing::info!("the access log can be written again");
                }
                self.refuses = false;
            }
            Err(error) => {
                let is_within = rest.len() < buffer.len();
                if is_within {
                    self.is_torn = buffer[buffer.len() - rest.len() - 1] != b'\n';
                }
                self.count_lost(rest);
                if !self.refuses {
                    tracing::warn!(%error, "the access log cannot be written; lines are lost");
                }
                self.refuses = true;
            }
        }
    }

    fn count_lost(&self, buffer: &[u8]) {
        let lost = &self.shared.lines_unwritten;
        lost.fetch_add(lines(buffer), Ordering::Relaxed);
    }
}

/// Writes until nothing is left or nothing goes; `rest` is what did not go.
fn write_lines(file: &mut impl io::Write, rest: &mut &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match file.write(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => *rest = &rest[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_same(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a number of bytes, and then nothing more.
    struct Full {
        left: usize,
        taken: Vec<u8>,
    }

    impl io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.left);
            if taken == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            self.left -= taken;
            self.taken.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_did_not_go_is_known_to_the_byte() {
        for (left, rest_lines) in [(0, 3), (1, 3), (2, 2), (5, 1), (6, 0), (9, 0)] {
            let mut file = Full {
                left,
                taken: Vec::new(),
            };
            let mut rest: &[u8] = b"a\nb\nc\n";
            let result = write_lines(&mut file, &mut rest);
            assert_eq!(result.is_ok(), rest_lines == 0, "{left}");
            assert_eq!(lines(rest), rest_lines, "{left}");
            assert_eq!(file.taken.len() + rest.len(), 6);
        }
    }

    fn writer(path: &Path) -> Writer {
        Writer::new(Some(Output::file(path).unwrap()), Arc::default())
    }

    #[test]
    fn a_file_that_was_moved_is_opened_anew_and_until_then_written() {
        let directory = tempfile::tempdir().unwrap();
        let (path, moved) = (
            directory.path().join("access.log"),
            directory.path().join("access.log.1"),
        );
        let mut writer = writer(&path);
        writer.write(b"1\n");
        std::fs::rename(&path, &moved).unwrap();
        writer.look();
        writer.write(b"2\n");
        assert!(!path.exists(), "no look before its time");
        writer.looked_at = Instant::now().checked_sub(LOOK_INTERVAL).unwrap();
        writer.look();
        writer.write(b"3\n");
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "1\n2\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "3\n");
        assert_eq!(writer.shared.reopened.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_path_that_cannot_be_opened_costs_no_line() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("logs");
        let moved = directory.path().join("moved");
        std::fs::create_dir(&folder).unwrap();
        let mut writer = writer(&folder.join("access.log"));
        std::fs::rename(&folder, &moved).unwrap();
        writer.reopen();
        assert!(writer.cannot_reopen);
        writer.write(b"1\n");
        let text = std::fs::read_to_string(moved.join("access.log")).unwrap();
        assert_eq!(text, "1\n");
        std::fs::create_dir(&folder).unwrap();
        writer.reopen();
        assert!(!writer.cannot_reopen);
    }

    #[test]
    fn an_output_that_refuses_costs_its_lines_and_is_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = writer(Path::new("/dev/full"));
        writer.write(b"1\n2\n");
        assert!(writer.refuses);
        let lost = |writer: &Writer| writer.shared.lines_unwritten.load(Ordering::Relaxed);
        assert_eq!(lost(&writer), 2);
        let output = Output::file(&directory.path().join("a")).unwrap();
        writer.shared.give(Order::Change(output));
        writer.obey();
        writer.write(b"3\n");
        assert!(!writer.refuses);
        assert_eq!(lost(&writer), 2);
    }
}

//! The one place that writes the children's lines.

use std::io::Write;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::mpsc;

/// Lines that wait for the terminal; beyond that the children wait.
const MAX_WAITING_LINES: usize = 1_024;
/// Time for the last lines at the end: the terminal may be stopped.
const FINISH_TIMEOUT: Duration = Duration::from_millis(500);

/// Writes lines, whole and one after the other.
#[derive(Debug)]
pub(super) struct Output {
    lines: mpsc::Sender<String>,
    writer: JoinHandle<()>,
}

impl Output {
    /// A thread of its own writes to `sink`, which may block.
    pub(super) fn to(mut sink: impl Write + Send + 'static) -> Self {
        let (lines, mut waiting) = mpsc::channel::<String>(MAX_WAITING_LINES);
        let writer = thread::spawn(move || {
            while let Some(mut line) = waiting.blocking_recv() {
                line.push('\n');
                // A terminal that is gone must not stop the children.
                let _ = sink.write_all(line.as_bytes());
            }
        });
        Self { lines, writer }
    }

    /// Where lines go in.
    pub(super) fn lines(&self) -> &mpsc::Sender<String> {
        &self.lines
    }

    /// Waits, not for long, until everything is written.
    pub(super) async fn finish(self) {
        let Self { lines, writer } = self;
        drop(lines);
        let written = tokio::task::spawn_blocking(move || writer.join());
        // Too late, or the writer panicked: nothing is left to be done for the lines.
        let _ = tokio::time::timeout(FINISH_TIMEOUT, written).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn finishing_waits_for_every_line() {
        let memory = Memory::default();
        let output = Output::to(memory.clone());
        for line in 0..500 {
            output.lines().send(line.to_string()).await.unwrap();
        }
        output.finish().await;
        let written = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
        let expected: Vec<_> = (0..500).map(|line| line.to_string()).collect();
        assert_eq!(written.lines().collect::<Vec<_>>(), expected);
    }
}

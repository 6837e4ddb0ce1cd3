//! A child's output, cut into lines of bounded length.

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};
use tokio::sync::mpsc;

/// Longest line that is shown, in bytes; the rest of it is left out.
const MAX_LINE_BYTES: usize = 16 * 1024;
const CUT_MARK: &str = " … (cut)";

/// Sends each line of `from` to `lines`, with `prefix` before it, until it ends.
///
/// A reader that does not keep up slows the child down: nothing is lost, nothing piles up.
pub(super) async fn forward(
    mut from: impl AsyncBufRead + Unpin,
    prefix: String,
    lines: mpsc::Sender<String>,
) {
    let mut cutter = Cutter::default();
    loop {
        let chunk = match from.fill_buf().await {
            Ok(chunk) if !chunk.is_empty() => chunk,
            // A pipe that breaks has ended, too.
            Ok(_) | Err(_) => break,
        };
        let (used, line) = cutter.take(chunk);
        from.consume(used);
        if let Some(line) = line
            && lines.send(format!("{prefix}{line}")).await.is_err()
        {
            return;
        }
    }
    if let Some(line) = cutter.finish() {
        // Nobody reads any more: there is nobody to tell either.
        let _ = lines.send(format!("{prefix}{line}")).await;
    }
}

/// Collects one line.
#[derive(Default)]
struct Cutter {
    line: Vec<u8>,
    is_cut: bool,
}

impl Cutter {
    /// Takes the bytes up to the end of the line; says how many, and the line once it is whole.
    fn take(&mut self, chunk: &[u8]) -> (usize, Option<String>) {
        let end = memchr::memchr(b'\n', chunk);
        let part = &chunk[..end.unwrap_or(chunk.len())];
        let room = MAX_LINE_BYTES - self.line.len();
        self.is_cut |= part.len() > room;
        self.line.extend_from_slice(&part[..part.len().min(room)]);
        match end {
            Some(end) => (end + 1, Some(self.emit())),
            None => (chunk.len(), None),
        }
    }

    /// The last line, when it has no end.
    fn finish(mut self) -> Option<String> {
        (!self.line.is_empty()).then(|| self.emit())
    }

    fn emit(&mut self) -> String {
        let mut line = String::from_utf8_lossy(&self.line)
            .trim_end_matches('\r')
            .to_owned();
        if self.is_cut {
            line.push_str(CUT_MARK);
        }
        *self = Self::default();
        line
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::BufReader;

    use super::*;

    async fn forwarded(output: &[u8], buffer: usize) -> Vec<String> {
        let (sender, mut receiver) = mpsc::channel(1_000);
        let from = BufReader::with_capacity(buffer, output);
        forward(from, "a | ".to_owned(), sender).await;
        let mut lines = Vec::new();
        while let Some(line) = receiver.recv().await {
            lines.push(line);
        }
        lines
    }

    #[tokio::test]
    async fn every_line_gets_the_prefix_whatever_the_chunks_are() {
        for buffer in [1, 3, 4, 1_024] {
            let lines = forwarded("one\n\nzwölf\r\nlast".as_bytes(), buffer).await;
            assert_eq!(
                lines,
                ["a | one", "a | ", "a | zwölf", "a | last"],
                "{buffer}"
            );
        }
    }

    #[tokio::test]
    async fn a_line_beyond_the_limit_is_cut_and_the_next_one_is_whole() {
        let mut output = vec![b'x'; MAX_LINE_BYTES];
        output.push(b'\n');
        output.extend(vec![b'y'; MAX_LINE_BYTES + 1]);
        output.extend(b"\nnext\n");
        let lines = forwarded(&output, 1_024).await;
        assert_eq!(lines[0].len(), "a | ".len() + MAX_LINE_BYTES);
        assert!(lines[1].ends_with("yy … (cut)"), "the cut is said");
        assert_eq!(lines[1].len(), lines[0].len() + CUT_MARK.len());
        assert_eq!(lines[2], "a | next");
    }

    #[tokio::test]
    async fn bytes_that_are_no_text_are_replaced() {
        assert_eq!(forwarded(b"\xff\n", 16).await, ["a | \u{fffd}"]);
    }
}

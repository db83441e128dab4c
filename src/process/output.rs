//! What a program prints, a chunk of whole lines at a time.

use std::{future::Future, io, pin::pin, sync::Arc, time::Duration};

use pty_process::OwnedReadPty;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{ChildStderr, ChildStdout},
    time::Instant,
};

use super::{
    command::Program,
    lines::{LONGEST_LINE, Lines, Text},
    spec::OutputFormat,
};

/// How many bytes a JSON object may have.
const LONGEST_OBJECT: usize = 4 << 20;
/// How many bytes are read at once: with what lines become in JSON, an event of them has less than 32 KiB, and is stored in one
/// row.
const READ: usize = 30 << 10;
/// How much text makes a chunk.
const CHUNK: usize = 16 << 10;
/// How long a chunk waits for more.
const LINGER: Duration = Duration::from_millis(20);
/// How often, and how long each time, is read what is left at the end: more than a pipe holds.
const LAST_READS: u32 = 64;
const LAST_WAIT: Duration = Duration::from_millis(10);

/// Whole lines that a program has printed.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Chunk {
    pub(super) out: Text,
    pub(super) err: Text,
}

impl Chunk {
    /// Its standard output, or what it has written to its terminal. Each line has a line feed at its end.
    pub fn text(&self) -> &str {
        &self.out.text
    }

    /// Its standard error.
    pub fn errors(&self) -> &str {
        &self.err.text
    }

    fn is_empty(&self) -> bool {
        self.out.lines == 0 && self.err.lines == 0
    }

    const fn is_full(&self) -> bool {
        self.out.text.len() + self.err.text.len() >= CHUNK
    }
}

/// The reading ends of what a program prints.
pub(super) struct Output {
    out: Stream,
    err: Stream,
    chunk: Chunk,
    /// When the chunk is given out, if there is anything in it.
    due: Option<Instant>,
    /// How often is read yet, where the end has come: what is in the pipe belongs to the output.
    last_reads: Option<u32>,
    /// Nothing more is read.
    is_over: bool,
}

struct Stream {
    /// `None` at its end.
    reader: Option<Box<dyn AsyncRead + Send + Unpin>>,
    buffer: Vec<u8>,
    lines: Lines,
}

impl Output {
    pub(super) fn pipes(
        out: Option<ChildStdout>,
        err: Option<ChildStderr>,
        program: &Program,
    ) -> Self {
        Self::new(out.map(|out| Box::new(out) as _), err.map(|err| Box::new(err) as _), program)
    }

    pub(super) fn terminal(terminal: OwnedReadPty, program: &Program) -> Self {
        Self::new(Some(Box::new(terminal)), None, program)
    }

    fn new(
        out: Option<Box<dyn AsyncRead + Send + Unpin>>,
        err: Option<Box<dyn AsyncRead + Send + Unpin>>,
        program: &Program,
    ) -> Self {
        let stream = |reader, longest| Stream {
            reader,
            buffer: Vec::new(),
            lines: Lines::new(Arc::clone(&program.redactor), longest),
        };
        let longest = match program.output {
            OutputFormat::Lines => LONGEST_LINE,
            OutputFormat::JsonLines => LONGEST_OBJECT,
        };
        Self {
            out: stream(out, longest),
            err: stream(err, LONGEST_LINE),
            chunk: Chunk::default(),
            due: None,
            last_reads: None,
            is_over: false,
        }
    }

    /// The next chunk. Cancel safe: what was read is kept. Reading ends where both streams do, or soon after `end`. It is
    /// told whenever something was read.
    pub(super) async fn next(
        &mut self,
        end: impl Future<Output = ()>,
        on_read: impl Fn(),
    ) -> Option<Chunk> {
        let mut end = pin!(end);
        while !self.is_over && !self.chunk.is_full() {
            let is_at_end = self.out.reader.is_none() && self.err.reader.is_none();
            if is_at_end || self.last_reads == Some(0) {
                self.finish();
                break;
            }
            let is_ending = self.last_reads.is_some();
            let due = self.due;
            let linger = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = &mut end, if !is_ending => {
                    self.last_reads = Some(LAST_READS);
                    continue;
                }
                () = self.out.fill() => self.out.split(&mut self.chunk.out),
                () = self.err.fill() => self.err.split(&mut self.chunk.err),
                () = linger => break,
                () = tokio::time::sleep(LAST_WAIT), if is_ending => {
                    self.finish();
                    break;
                }
            }
            on_read();
            self.last_reads = self.last_reads.map(|left| left - 1);
            if self.due.is_none() && !self.chunk.is_empty() {
                self.due = Some(Instant::now() + LINGER);
            }
        }
        self.due = None;
        let chunk = std::mem::take(&mut self.chunk);
        (!self.is_over || !chunk.is_empty()).then_some(chunk)
    }

    fn finish(&mut self) {
        self.is_over = true;
        self.out.reader = None;
        self.err.reader = None;
        self.out.lines.finish(&mut self.chunk.out);
        self.err.lines.finish(&mut self.chunk.err);
    }
}

impl Stream {
    /// Reads what there is. Waits for ever at the end.
    async fn fill(&mut self) {
        let Some(reader) = &mut self.reader else {
            return std::future::pending().await;
        };
        self.buffer.reserve(READ);
        match reader.read_buf(&mut self.buffer).await {
            Ok(0) => self.reader = None,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A terminal ends with an error; from a pipe there is none, and nothing to be done about it.
            Err(_) => self.reader = None,
        }
    }

    fn split(&mut self, text: &mut Text) {
        self.lines.push(&self.buffer, text);
        self.buffer.clear();
    }
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Output").field("is_over", &self.is_over).finish_non_exhaustive()
    }
}

//! What a program reads.

use std::io;

use pty_process::OwnedWritePty;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    process::ChildStdin,
    sync::Mutex,
    task::JoinHandle,
};

use super::spec::Stdin;

/// The writing end of what a program reads.
pub(super) struct Input {
    end: Mutex<Option<End>>,
    /// Writes the text that the program is given. One that does not read it keeps nobody waiting.
    text: Option<JoinHandle<()>>,
}

enum End {
    Pipe(ChildStdin),
    Terminal(OwnedWritePty),
}

/// What a terminal takes for the end of the file.
const END_OF_FILE: &[u8] = &[4];

impl Input {
    pub(super) fn pipe(pipe: Option<ChildStdin>, stdin: &Stdin) -> Self {
        Self::new(pipe.map(End::Pipe), stdin)
    }

    pub(super) fn terminal(terminal: OwnedWritePty, stdin: &Stdin) -> Self {
        Self::new(Some(End::Terminal(terminal)), stdin)
    }

    fn new(end: Option<End>, stdin: &Stdin) -> Self {
        match (end, stdin) {
            (Some(end), Stdin::Text(text)) => {
                let text = text.clone();
                let writing = async move {
                    let mut end = end;
                    // A program that does not read to the end is none the worse for it.
                    let _ = end.write(text.as_bytes()).await;
                    let _ = end.finish().await;
                    // The terminal is open as long as the program runs: it would hang up otherwise.
                    match end {
                        End::Pipe(_) => {}
                        End::Terminal(terminal) => {
                            std::future::pending::<()>().await;
                            drop(terminal);
                        }
                    }
                };
                Self { end: Mutex::new(None), text: Some(tokio::spawn(writing)) }
            }
            (end, Stdin::Open | Stdin::Closed) => Self { end: Mutex::new(end), text: None },
            (None, Stdin::Text(_)) => Self { end: Mutex::new(None), text: None },
        }
    }

    /// Writes a line; the error of one that is read no more.
    pub(super) async fn write_line(&self, line: &str) -> Result<(), Option<io::Error>> {
        let mut end = self.end.lock().await;
        let open = end.as_mut().ok_or(None)?;
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        open.write(&bytes).await.map_err(Some)
    }

    /// Says that nothing follows.
    pub(super) async fn close(&self) {
        if let Some(text) = &self.text {
            text.abort();
        }
        if let Some(mut end) = self.end.lock().await.take() {
            // A program that is gone needs not be told.
            let _ = end.finish().await;
        }
    }
}

impl End {
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let writer: &mut (dyn AsyncWrite + Send + Unpin) = match self {
            Self::Pipe(pipe) => pipe,
            Self::Terminal(terminal) => terminal,
        };
        writer.write_all(bytes).await?;
        writer.flush().await
    }

    async fn finish(&mut self) -> io::Result<()> {
        match self {
            Self::Pipe(pipe) => pipe.shutdown().await,
            Self::Terminal(terminal) => terminal.write_all(END_OF_FILE).await,
        }
    }
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input").finish_non_exhaustive()
    }
}

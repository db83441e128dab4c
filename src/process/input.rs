//! What a program reads.

use std::{io, sync::Arc};

use pty_process::OwnedWritePty;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    process::ChildStdin,
    sync::Mutex,
    task::JoinHandle,
};

use super::spec::Stdin;

/// The writing end of what a program reads. A line that was begun is written to its end, whoever waits for it or does
/// not any more.
pub(super) struct Input {
    end: Arc<Mutex<Option<End>>>,
    /// Writes the text that the program is given. One that does not read it keeps nobody waiting.
    text: Option<JoinHandle<()>>,
}

enum End {
    Pipe(ChildStdin),
    Terminal(OwnedWritePty),
}

/// What a terminal takes for the end of the file, at the beginning of a line.
const END_OF_FILE: u8 = 4;

impl Input {
    pub(super) fn pipe(pipe: Option<ChildStdin>, stdin: &Stdin) -> Self {
        Self::new(pipe.map(End::Pipe), stdin)
    }

    pub(super) fn terminal(terminal: OwnedWritePty, stdin: &Stdin) -> Self {
        Self::new(Some(End::Terminal(terminal)), stdin)
    }

    fn new(end: Option<End>, stdin: &Stdin) -> Self {
        let text = match stdin {
            Stdin::Open => return Self { end: Arc::new(Mutex::new(end)), text: None },
            Stdin::Text(text) => text.clone(),
            Stdin::Closed => String::new(),
        };
        let writing = end.map(|mut end| {
            tokio::spawn(async move {
                // A program that does not read to the end is none the worse for it.
                let _ = end.write(text.as_bytes()).await;
                if !text.is_empty() && !text.ends_with('\n') {
                    end.end_line().await;
                }
                let _ = end.finish().await;
            })
        });
        Self { end: Arc::default(), text: writing }
    }

    /// Writes a line; the error of one that is read no more.
    pub(super) async fn write_line(&self, line: &str) -> Result<(), Option<io::Error>> {
        let mut bytes = Vec::with_capacity(line.len() + 1);
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        let mut end = Arc::clone(&self.end).lock_owned().await;
        let writing = tokio::spawn(async move {
            let open = end.as_mut().ok_or(None)?;
            open.write(&bytes).await.map_err(Some)
        });
        writing.await.unwrap_or_else(|error| Err(Some(io::Error::other(error))))
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
            Self::Terminal(terminal) => terminal.write_all(&[END_OF_FILE]).await,
        }
    }

    /// A terminal gives out what is on a line that has no end where its sign is written in it.
    async fn end_line(&mut self) {
        match self {
            Self::Pipe(_) => {}
            Self::Terminal(terminal) => drop(terminal.write_all(&[END_OF_FILE]).await),
        }
    }
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Input").finish_non_exhaustive()
    }
}

//! A child process, seen by its parent.

use std::{
    fs::OpenOptions,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{ChildStdout, Command},
    time::timeout,
};

use super::{
    child::{MODE, Mode},
    line::{Line, MARK, Phase},
};

/// No child needs this long for anything; one that does is stuck.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running child. It is killed where this is dropped.
pub(crate) struct Child {
    process: tokio::process::Child,
    out: BufReader<ChildStdout>,
    /// What it said, as far as it was read.
    pub(crate) lines: Vec<Line>,
}

impl Child {
    /// Starts a child. What it has to say to people is added to a file.
    pub(crate) fn spawn(mode: &Mode, log: &Path) -> Self {
        Self::spawn_with(mode, log, |command| command)
    }

    pub(crate) fn spawn_with(
        mode: &Mode,
        log: &Path,
        set: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Self {
        let log = OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "process::child::child", "--ignored", "--nocapture"])
            .args(["--test-threads", "1"])
            .env(MODE, serde_json::to_string(mode).unwrap())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true);
        let mut process = set(&mut command).spawn().unwrap();
        let out = BufReader::new(process.stdout.take().unwrap());
        Self { process, out, lines: Vec::new() }
    }

    /// The next line; nothing when there is no more. A line that was cut off does not count.
    pub(crate) async fn next(&mut self) -> Option<Line> {
        loop {
            let mut bytes = Vec::new();
            let reading = self.out.read_until(b'\n', &mut bytes);
            timeout(PATIENCE, reading).await.expect("a child that says something").unwrap();
            if !bytes.ends_with(b"\n") {
                return None;
            }
            let text = String::from_utf8(bytes).unwrap();
            if let Some((_, line)) = text.split_once(MARK) {
                let line: Line = serde_json::from_str(line).unwrap();
                self.lines.push(line.clone());
                return Some(line);
            }
        }
    }

    /// Reads on until a line is said that is looked for. `false`: it ended before.
    pub(crate) async fn until(&mut self, mut found: impl FnMut(&Line) -> bool) -> bool {
        while let Some(line) = self.next().await {
            if found(&line) {
                return true;
            }
        }
        false
    }

    pub(crate) async fn until_reached(&mut self, phase: Phase) -> bool {
        self.until(|line| *line == Line::Reached(phase)).await
    }

    /// How far it came, by what was read.
    pub(crate) fn phase(&self) -> Phase {
        let reached =
            |line: &Line| if let Line::Reached(phase) = line { Some(*phase) } else { None };
        self.lines.iter().filter_map(reached).max().unwrap_or(Phase::Spawned)
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let id = self.process.id().and_then(|id| i32::try_from(id).ok());
        if let Some(id) = id.and_then(Pid::from_raw) {
            // One that has just ended by itself is no error.
            let _ = kill_process(id, signal);
        }
    }

    /// Reads what is left and waits for the end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        while self.next().await.is_some() {}
        timeout(PATIENCE, self.process.wait()).await.expect("a child that ends").unwrap()
    }

    /// Kills it, and reads what it had said.
    pub(crate) async fn kill(&mut self) -> ExitStatus {
        self.signal(Signal::KILL);
        self.ended().await
    }
}

//! A workload on real input: it reads every file of a folder and sums up what is in them.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use sessionkeeper::{Context, Outcome, Run, SessionId, Workload, WorkloadError};
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;

/// Which files a session counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Part {
    /// Everything below a folder.
    Whole(PathBuf),
    /// The files that lie in a folder itself.
    Loose(PathBuf),
}

/// What is counted, as `wc` does, and a digest that shows that each file was counted once and in
/// order: it is made from the one before it, the name of the file and the SHA-256 of its content.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Totals {
    pub(crate) files: u64,
    pub(crate) lines: u64,
    pub(crate) words: u64,
    pub(crate) bytes: u64,
    pub(crate) digest: String,
}

impl Totals {
    pub(crate) fn add(&mut self, name: &str, file: &FileCount) {
        self.files += 1;
        self.lines += file.lines;
        self.words += file.words;
        self.bytes += file.bytes;
        let chained = format!("{}\n{name}\n{}", self.digest, file.sha256);
        self.digest = hex(&Sha256::digest(chained));
    }
}

/// The state of a session: all that survives a pause, a crash or `kill -9`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) part: Part,
    /// How many files there are, once that is known.
    pub(crate) found: u64,
    /// The name of the file that was counted last.
    pub(crate) last: Option<String>,
    pub(crate) totals: Totals,
    /// How many files were counted when each run began: where it carried on.
    pub(crate) began_at: Vec<u64>,
}

impl Progress {
    pub(crate) fn of(part: Part) -> Self {
        Self { part, found: 0, last: None, totals: Totals::default(), began_at: Vec::new() }
    }
}

/// Something that goes wrong the first time a certain file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "nothing goes wrong on purpose in the worker example")]
pub(crate) enum Mishap {
    /// Reading it takes this long, but it goes on: every piece of it is a sign of life.
    Slow(Duration),
    /// The workload panics.
    Panic,
    /// Nothing ever comes back.
    Silence,
}

/// The workload. One value serves every session of its kind.
#[derive(Debug, Default)]
pub(crate) struct FolderCount {
    /// How long each file takes on purpose, so that a person can watch.
    pace: Duration,
    heartbeats: Heartbeats,
    /// What goes wrong, and after how many files.
    mishap: Option<(Mishap, u64)>,
    happened: AtomicBool,
}

impl Workload for FolderCount {
    const KIND: &'static str = "folder-count";
    const STATE_VERSION: u32 = 1;
    type State = Progress;
    /// All there is to do is in the state from the start, so there is nothing to send.
    type Input = ();

    async fn run(&self, cx: &mut Context<Self>) -> Result<Outcome, WorkloadError> {
        // A large folder takes a while to list, and gives no sign of life meanwhile.
        let part = cx.state().part.clone();
        let files = cx.busy(TEN_MINUTES, files_of(part)).await??;

        let progress = cx.state_mut();
        progress.found = files.len() as u64;
        progress.began_at.push(progress.totals.files);
        let last = progress.last.clone();

        for file in files.iter().filter(|file| Some(&file.name) > last.as_ref()) {
            if cx.is_yield_requested() {
                return Ok(Outcome::Yielded);
            }
            let counted = self.read(cx.run(), file, cx.state().totals.files).await?;
            let progress = cx.state_mut();
            progress.totals.add(&file.name, &counted);
            progress.last = Some(file.name.clone());
            cx.checkpoint().await?;
        }
        Ok(Outcome::Completed)
    }
}

/// How the message of a planned panic begins.
pub(crate) const PLANNED_PANIC: &str = "a bug that shows at";
const TEN_MINUTES: Duration = Duration::from_secs(600);
/// The longest that a run that is well goes without a sign of life.
const BEAT: Duration = Duration::from_millis(100);

impl FolderCount {
    pub(crate) fn new(pace: Duration, heartbeats: Heartbeats) -> Self {
        Self { pace, heartbeats, ..Self::default() }
    }

    #[allow(dead_code, reason = "nothing goes wrong on purpose in the worker example")]
    pub(crate) fn with_mishap(mut self, mishap: Mishap, after: u64) -> Self {
        self.mishap = Some((mishap, after));
        self
    }

    async fn read(&self, run: &Run, file: &File, index: u64) -> anyhow::Result<FileCount> {
        match self.mishap {
            Some((mishap, at)) if at == index && !self.happened.swap(true, Ordering::Relaxed) => {
                match mishap {
                    Mishap::Slow(span) => self.dawdle(run, span).await,
                    Mishap::Panic => panic!("{PLANNED_PANIC} {}", file.name),
                    Mishap::Silence => std::future::pending().await,
                }
            }
            Some(_) | None => {}
        }
        self.dawdle(run, self.pace).await;
        count(&file.path, || self.heartbeats.give(run)).await
    }

    /// Takes its time, and shows that it is alive.
    async fn dawdle(&self, run: &Run, span: Duration) {
        let end = tokio::time::Instant::now() + span;
        while tokio::time::Instant::now() < end {
            let next = tokio::time::Instant::now() + BEAT;
            tokio::time::sleep_until(next.min(end)).await;
            self.heartbeats.give(run);
        }
    }
}

/// How many signs of life each session gave, to be shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heartbeats(Arc<Mutex<HashMap<SessionId, u64>>>);

impl Heartbeats {
    fn give(&self, run: &Run) {
        run.heartbeat();
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(run.session()).or_default() += 1;
    }

    pub(crate) fn of(&self, session: SessionId) -> u64 {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(&session).copied().unwrap_or_default()
    }
}

/// A file to be counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    /// Its path below the folder: the order of the work.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

/// What one file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FileCount {
    lines: u64,
    words: u64,
    bytes: u64,
    sha256: String,
}

/// A digest as it is written.
pub(crate) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a file piece by piece.
pub(crate) async fn count(path: &Path, alive: impl Fn()) -> anyhow::Result<FileCount> {
    let unreadable = || format!("{} cannot be read", path.display());
    let mut file = tokio::fs::File::open(path).await.with_context(unreadable)?;
    let mut piece = vec![0; 64 << 10];
    let mut sha = Sha256::new();
    let mut counted = FileCount::default();
    let mut in_word = false;
    loop {
        let length = file.read(&mut piece).await.with_context(unreadable)?;
        alive();
        let bytes = piece.get(..length).unwrap_or_default();
        if bytes.is_empty() {
            counted.sha256 = hex(&sha.finalize());
            return Ok(counted);
        }
        sha.update(bytes);
        counted.bytes += length as u64;
        for byte in bytes {
            counted.lines += u64::from(*byte == b'\n');
            let space = byte.is_ascii_whitespace();
            counted.words += u64::from(!space && !in_word);
            in_word = !space;
        }
    }
}

/// The files of a part in the order of their names. Hidden ones and symbolic links are left out.
pub(crate) async fn files_of(part: Part) -> anyhow::Result<Vec<File>> {
    let list = move || {
        let (top, deep) = match &part {
            Part::Whole(top) => (top, true),
            Part::Loose(top) => (top, false),
        };
        let mut found = Vec::new();
        let mut folders = vec![top.clone()];
        while let Some(folder) = folders.pop() {
            let unreadable = || format!("the folder {} cannot be read", folder.display());
            for entry in std::fs::read_dir(&folder).with_context(unreadable)? {
                let entry = entry.with_context(unreadable)?;
                if entry.file_name().as_encoded_bytes().starts_with(b".") {
                    continue;
                }
                let (kind, path) = (entry.file_type().with_context(unreadable)?, entry.path());
                if kind.is_file() {
                    let name = path.strip_prefix(top).unwrap_or(&path);
                    let name = name.to_string_lossy().into_owned();
                    found.push(File { name, path });
                } else if kind.is_dir() && deep {
                    folders.push(path);
                }
            }
        }
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    };
    tokio::task::spawn_blocking(list).await?
}

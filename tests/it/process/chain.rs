//! Children that work in one folder, one after the other, and what they said.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use tokio::process::Command;

use super::{
    child::{Mode, Work},
    line::{Line, Phase},
    parent::Child,
};
use crate::{oracle::ledger::Entry, support::number};

const SEED: &str = "SESSIONKEEPER_SEED";

/// What has to be known to run a test again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Story {
    test: &'static str,
    variable: &'static str,
    count: u64,
    seed: u64,
}

impl Story {
    pub(crate) fn new(test: &'static str, variable: &'static str, count: u64) -> Self {
        Self { test, variable, count, seed: number(SEED).unwrap_or(7) }
    }

    pub(crate) fn rng(&self) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed)
    }
}

/// Children that work in one folder.
pub(crate) struct Chain {
    story: Story,
    folder: TempDir,
    store: PathBuf,
    generations: u64,
    told: u64,
}

impl Chain {
    pub(crate) fn new(story: Story) -> Self {
        let folder = tempfile::Builder::new().prefix("sessionkeeper-crash-").tempdir().unwrap();
        let store = folder.path().join("store");
        Self::of(story, folder, store)
    }

    /// With its store on another disk than its lines.
    pub(crate) fn on(story: Story, disk: &Path) -> Self {
        let folder = tempfile::Builder::new().prefix("sessionkeeper-crash-").tempdir().unwrap();
        Self::of(story, folder, disk.join("store"))
    }

    fn of(story: Story, folder: TempDir, store: PathBuf) -> Self {
        File::create(folder.path().join("journal")).unwrap();
        Self { story, folder, store, generations: 0, told: 0 }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the next child is to do.
    pub(crate) fn next(&mut self, rng: &mut fastrand::Rng) -> Work {
        self.generations += 1;
        Work {
            folder: self.store.clone(),
            journal: self.path("journal"),
            seed: rng.u64(..),
            generation: self.generations,
            synced: true,
            largest: if rng.u32(0..4) == 0 { 300_000 } else { 2_000 },
            steps: 1000,
            kill_at: None,
            panic_at: None,
        }
    }

    pub(crate) fn spawn(&self, work: &Work) -> Child {
        self.spawn_with(work, |command| command)
    }

    pub(crate) fn spawn_with(
        &self,
        work: &Work,
        set: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Child {
        Child::spawn_with(&Mode::Work(work.clone()), &self.path("stderr"), set)
    }

    /// The folder of the store.
    pub(crate) fn store(&self) -> &Path {
        &self.store
    }

    /// Keeps what a child said for those after it. Fails if it found something broken.
    pub(crate) fn keep(mut self, work: &Work, child: &Child) -> Self {
        match self.take(child) {
            None => self,
            Some(broken) => self.fail(work, &broken),
        }
    }

    /// Keeps what a child said for those after it; gives what it found broken.
    pub(crate) fn take(&mut self, child: &Child) -> Option<String> {
        let mut journal = OpenOptions::new().append(true).open(self.path("journal")).unwrap();
        let mut text = String::new();
        let mut broken = None;
        for line in &child.lines {
            match line {
                Line::Broken(what) => broken = Some(what.clone()),
                Line::Reached(_)
                | Line::Standing(_)
                | Line::Report { .. }
                | Line::LeftOver { .. }
                | Line::Programs(_) => {}
                Line::Entry(entry) => {
                    let is_answer = matches!(entry, Entry::Answered { .. } | Entry::Run { .. });
                    self.told += u64::from(is_answer);
                    text += &entry.to_line();
                }
            }
        }
        text += &Entry::Lost.to_line();
        journal.write_all(text.as_bytes()).unwrap();
        broken
    }

    pub(crate) fn fail(self, work: &Work, what: &str) -> ! {
        let Story { test, variable, count, seed } = self.story;
        panic!(
            "{what}\n\nseed {seed}, generation {}, killed at {:?}; its lines are kept in {}, its \
             store was {}\nagain: {SEED}={seed} {variable}={count} cargo test --test it {test}",
            work.generation,
            work.kill_at,
            self.folder.keep().display(),
            self.store.display(),
        )
    }

    /// A last child looks at what there is, and goes on to its end. Gives how many promises were
    /// made.
    pub(crate) async fn close(mut self, rng: &mut fastrand::Rng) -> u64 {
        let work = Work { steps: 2, ..self.next(rng) };
        let mut child = self.spawn(&work);
        let ended = child.ended().await;
        let phase = child.phase();
        let chain = self.keep(&work, &child);
        if phase != Phase::ShutDown || !ended.success() {
            chain.fail(&work, &format!("a child that nobody killed got no further than {phase:?}"));
        }
        chain.told
    }
}
